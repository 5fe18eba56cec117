#!/bin/sh
# Lays down what the connectors are tested against, when it is missing or older than its lock: .venv-connector-peers.
#   connector_peers.sh        moto, a GCS emulator, client libraries of vendors, and Google's in-memory Pub/Sub server
#   connector_peers.sh lock   pins them anew
# HEADGATE_PEERS names another folder. Their pins (botocore, pydantic) are not ours: hence an environment of their own.
set -eu
cd "$(dirname "$0")/.."
lock=requirements-connector-peers
home=${HEADGATE_PEERS:-.venv-connector-peers}
pstest=tests/peers/pstest

# Nothing is done while the stamp is newer than what it stands for.
fresh() {
    stamp=$1
    shift
    for source in "$@"; do
        [ -e "$stamp" ] && [ ! "$source" -nt "$stamp" ] || return 1
    done
}

python_peers() {
    fresh "$home/.installed" $lock.txt && return
    [ -e "$home/bin/python" ] || .venv/bin/python -m venv "$home"
    echo "peers: installing what $lock.txt pins"
    "$home/bin/python" -m pip install --disable-pip-version-check --no-input --quiet --require-hashes --no-deps -r $lock.txt
    touch "$home/.installed"
}

# The server is a package of Go's; its versions and their sums are in go.mod and go.sum.
pubsub() {
    fresh "$home/bin/pstest" $pstest/main.go $pstest/go.mod $pstest/go.sum && return
    if ! command -v go >/dev/null 2>&1; then
        echo "peers: the Pub/Sub server needs Go; without it tests/peers/test_pubsub.py is skipped" >&2
        return
    fi
    echo "peers: building $pstest"
    target=$(cd "$home/bin" && pwd)/pstest
    (cd $pstest && GOTOOLCHAIN=local CGO_ENABLED=0 go build -mod=readonly -trimpath -o "$target" .)
    touch "$target"
}

case "${1:-}" in
lock)
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS "${UV:-uv}" pip compile $lock.in --quiet --python-version 3.11 \
        --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file $lock.txt
    echo "peers: $lock.txt pins $(grep -c '==' $lock.txt) packages"
    ;;
*)
    python_peers
    pubsub
    ;;
esac
