#!/bin/sh
# Pins all dependencies anew: `make lock`. The smaller locks take the versions of the largest, so that they never differ.
# Which index is asked is the machine's configuration; no address of one gets into a lock.
set -eu
cd "$(dirname "$0")/.."

compile() {
    output=$1
    shift
    # Without what the machine adds to the index (a folder of wheels, say): a lock must hold for every machine.
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS "${UV:-uv}" pip compile pyproject.toml --quiet --python-version 3.11 --universal \
        --generate-hashes --no-emit-index-url --no-header --no-annotate --extra build "$@" --output-file "$output"
    echo "lock: $output pins $(grep -c '==' "$output") packages"
}

compile requirements-dev.txt --extra dev ${UPGRADE:+--upgrade}
compile requirements-embedded.txt --extra connectors --extra dev-broker --constraint requirements-dev.txt
compile requirements.txt --extra connectors --constraint requirements-dev.txt
