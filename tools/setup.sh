#!/bin/sh
# Lays down .venv from one lock and makes .venv/bin/headgate work: tools/setup.sh requirements-embedded.txt
# Called by make, which knows by its stamps whether there is anything to do. PYTHON names another interpreter.
set -eu
lock=$1
cd "$(dirname "$0")/.."

new_enough='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'

find_python() {
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
        if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$new_enough" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
}

if [ -e .venv ] && ! .venv/bin/python -c "$new_enough" >/dev/null 2>&1; then
    echo "setup: .venv does not run, or its Python is none of 3.11 to 3.13; making it anew"
    rm -rf .venv
fi
if [ ! -e .venv ]; then
    python=$(find_python)
    if [ -z "$python" ]; then
        found=$("${PYTHON:-python3}" --version 2>&1 || true)
        echo "setup: Headgate needs Python 3.11 to 3.13; found: ${found:-none}." >&2
        echo "setup: install one (for example the package python3.11 with python3.11-venv), or name it: make setup PYTHON=/path/to/python3.11" >&2
        exit 1
    fi
    echo "setup: making .venv with $("$python" --version 2>&1)"
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "setup: $python cannot make a virtual environment; install its venv module (Debian and Ubuntu: apt install python3-venv)." >&2
        exit 1
    fi
fi

pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }

# On a terminal pip shows its progress bars, which --quiet would hide; in a log they are noise.
quiet=--quiet
[ -t 1 ] && quiet=
echo "setup: installing what $lock pins"
pip install $quiet --require-hashes --no-deps -r "$lock"
# The build backend is in the lock, so nothing is fetched here. The path entry is static: mypy and editors follow it.
pip install --quiet --no-build-isolation --no-deps --no-index -e .
