#!/bin/sh
# Lays down the peers when they are missing or older than their locks; `python -m benchmarks` calls it.
#   setup_peers.sh           .venv-peers: what throughput and latency are measured against
#   setup_peers.sh durable   .venv-durable-peers, Restate's server from npm, PostgreSQL from Debian's packages
#   setup_peers.sh lock      pins all of them anew
# Their pins (pydantic, confluent-kafka, croniter) are neither ours nor each other's: hence environments of their own.
set -eu
cd "$(dirname "$0")/.."
npm=benchmarks/npm

compile() {
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS "${UV:-uv}" pip compile "$1.in" --quiet --python-version 3.11 \
        --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file "$1.txt"
    echo "peers: $1.txt pins $(grep -c '==' "$1.txt") packages"
}

# An environment and its lock: nothing is done while the stamp in it is newer.
environment() {
    stamp=$1/.installed
    if [ -e "$stamp" ] && [ ! "$2" -nt "$stamp" ]; then
        return
    fi
    [ -e "$1/bin/python" ] || .venv/bin/python -m venv "$1"
    echo "peers: installing what $2 pins"
    "$1/bin/python" -m pip install --disable-pip-version-check --no-input --quiet --require-hashes --no-deps -r "$2"
    touch "$stamp"
}

# No scripts of the packages are run: one of them would report the installation to a third party.
restate() {
    stamp=$npm/node_modules/.installed
    if [ -e "$stamp" ] && [ ! $npm/package-lock.json -nt "$stamp" ]; then
        return
    fi
    if ! command -v npm >/dev/null 2>&1; then
        echo "peers: Restate's server is an npm package; install Node.js with npm, or leave it out: --durable-sides headgate,dbos" >&2
        exit 1
    fi
    echo "peers: installing what $npm/package-lock.json pins"
    npm ci --prefix $npm --ignore-scripts --no-audit --no-fund --loglevel error
    touch "$stamp"
}

# Only the programs are wanted: the harness starts a private cluster in a temporary folder.
postgresql() {
    if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1; then
        return
    fi
    word="DBOS needs PostgreSQL: apt-get install postgresql (as root), or leave it out: --durable-sides headgate,restate"
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "peers: $word" >&2
        exit 1
    fi
    echo "peers: installing postgresql from the packages of the system"
    # Debian would start a cluster of its own at once.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } >&2; then
        echo "peers: apt-get could not install it. $word" >&2
        exit 1
    fi
}

case "${1:-}" in
lock)
    compile requirements-peers
    compile requirements-durable-peers
    npm install --prefix $npm --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund
    ;;
durable)
    shift
    environment .venv-durable-peers requirements-durable-peers.txt
    for peer in "$@"; do
        case $peer in
        restate) restate ;;
        dbos) postgresql ;;
        esac
    done
    ;;
*)
    environment .venv-peers requirements-peers.txt
    ;;
esac
