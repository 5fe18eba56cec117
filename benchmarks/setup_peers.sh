#!/bin/sh
# Lays down .venv-peers, the environment of the peers, when it is missing or older than its lock; `python -m benchmarks`
# calls it. `setup_peers.sh lock` pins them anew. Their pins (pydantic, confluent-kafka) are not ours: hence their own.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
stamp=.venv-peers/.installed

if [ "${1:-}" = lock ]; then
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS "${UV:-uv}" pip compile requirements-peers.in --quiet --python-version 3.11 \
        --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file requirements-peers.txt
    echo "peers: requirements-peers.txt pins $(grep -c '==' requirements-peers.txt) packages"
    exit 0
fi
if [ -e "$stamp" ] && [ ! requirements-peers.txt -nt "$stamp" ]; then
    exit 0
fi
[ -e .venv-peers/bin/python ] || "$python" -m venv .venv-peers
echo "peers: installing what requirements-peers.txt pins"
.venv-peers/bin/python -m pip install --disable-pip-version-check --no-input --quiet --require-hashes --no-deps \
    -r requirements-peers.txt
touch "$stamp"
