#!/bin/sh
# Lays down what the connectors are tested against, when it is missing or older than its lock: .venv-connector-peers.
#   connector_peers.sh         moto, a GCS emulator, vendors' libraries from PyPI and npm, Google's in-memory Pub/Sub server,
#                              feedparser's corpus of feeds
#   connector_peers.sh system  also redis-server, nginx and PostgreSQL, from Debian's packages, where that can be done
#   connector_peers.sh lock    pins them anew
# CONNECTOR_PEERS names another folder. Their pins (botocore, pydantic) are not ours: hence an environment of their own.
# What cannot be had is said; the tests that need it are skipped.
set -eu
cd "$(dirname "$0")/.."
lock=requirements-connector-peers
home=${CONNECTOR_PEERS:-.venv-connector-peers}
pstest=tests/peers/pstest
npm=tests/peers/npm

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

# No scripts of the packages are run.
npm_peers() {
    fresh "$home/node_modules/.installed" $npm/package.json $npm/package-lock.json && return
    if ! command -v npm >/dev/null 2>&1; then
        echo "peers: there is no npm; tests against Slack's, GitHub's and other libraries in JavaScript are skipped" >&2
        return
    fi
    echo "peers: installing what $npm/package-lock.json pins"
    cp $npm/package.json $npm/package-lock.json "$home/"
    npm ci --prefix "$home" --ignore-scripts --no-audit --no-fund --loglevel error
    touch "$home/node_modules/.installed"
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

# The corpus of feedparser is in its source archive alone, of the version and hash that our own lock pins.
feeds() {
    pin=$(sed -n '/^feedparser==/,/[^\\]$/p' requirements-dev.txt)
    [ -e "$home/feeds/.installed" ] && [ "$pin" = "$(cat "$home/feeds/.installed")" ] && return
    echo "peers: unpacking feedparser's corpus"
    rm -rf "$home/feeds" && mkdir -p "$home/feeds"
    printf '%s\n' "$pin" >"$home/feeds/pin.txt"
    if ! .venv/bin/python -m pip download --disable-pip-version-check --no-input --quiet --no-deps --no-build-isolation \
        --no-binary feedparser --require-hashes -r "$home/feeds/pin.txt" -d "$home/feeds"; then
        echo "peers: feedparser's source archive cannot be had; tests/peers/test_feeds_corpus.py is skipped" >&2
        return
    fi
    tar -xzf "$home"/feeds/feedparser-*.tar.gz -C "$home/feeds" --strip-components=1
    printf '%s\n' "$pin" >"$home/feeds/.installed"
}

# Only the programs are wanted: the tests start servers of their own. Debian would start some at once.
system() {
    missing=
    command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null 2>&1 || missing="$missing nginx-light"
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "peers: missing are$missing (apt-get install$missing, as root); their tests are skipped" >&2
        return
    fi
    echo "peers: installing$missing from the packages of the system"
    if ! apt 90 update; then
        echo "peers: apt-get has no lists of packages; tests with$missing are skipped" >&2
        return
    fi
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f "$policy"' EXIT
    fi
    # Each by itself: one that is missing or too slow keeps no other away.
    for package in $missing; do
        apt 120 install -y --no-install-recommends "$package" ||
            echo "peers: apt-get could not install $package; its tests are skipped" >&2
    done
}

# So many seconds at most, also where another apt-get has the lock, or no mirror answers.
apt() {
    seconds=$1
    shift
    DEBIAN_FRONTEND=noninteractive timeout "$seconds" apt-get -qq -o DPkg::Lock::Timeout=30 -o Acquire::Retries=1 \
        -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@" </dev/null >&2
}

case "${1:-}" in
lock)
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS "${UV:-uv}" pip compile $lock.in --quiet --python-version 3.11 \
        --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file $lock.txt
    echo "peers: $lock.txt pins $(grep -c '==' $lock.txt) packages"
    npm install --prefix $npm --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund
    ;;
*)
    python_peers
    npm_peers
    pubsub
    feeds
    [ "${1:-}" != system ] || system
    ;;
esac
