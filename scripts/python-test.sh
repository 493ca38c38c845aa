#!/usr/bin/env bash
# The Python binding: types, then its tests with python3, and with the oldest other Python (from 3.9) at hand.
#   scripts/python-test.sh [TEST…]        test_engine, tests.test_events.Queue, …; all of them
# FAILOVER_LIBRARY=: the library (target/capi/dev/libfailover.so.0, by scripts/library.sh dev). FAILOVER_LAB=: the program that starts
# a PostgreSQL pair (cargo build --example lab), for the test with a real failover. PYTHONS=: the interpreters, instead of a search.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

FAILOVER_LIBRARY=$(realpath "${FAILOVER_LIBRARY:-target/capi/dev/libfailover.so.0}")
export FAILOVER_LIBRARY
if [ ! -e "$FAILOVER_LIBRARY" ]; then
    echo "python-test.sh: $FAILOVER_LIBRARY is missing: run scripts/library.sh dev, or name the library in FAILOVER_LIBRARY" >&2
    exit 1
fi
lab=${FAILOVER_LAB:-target/debug/examples/lab}
if [ -x "$lab" ]; then
    FAILOVER_LAB=$(realpath "$lab")
    export FAILOVER_LAB
fi
export PYTHONDONTWRITEBYTECODE=1

minor() { # minor PYTHON: "3.11", or nothing
    "$1" -c 'import sys; sys.version_info >= (3, 9) and print("%d.%d" % sys.version_info[:2])' 2> /dev/null || true
}

declare -A pythons=()
order=()
offer() { # offer PYTHON: used if it works and is the first of its version
    local version
    version=$(minor "$1")
    if [ -n "$version" ] && [ -z "${pythons[$version]:-}" ]; then
        pythons[$version]=$1
        order+=("$version")
    fi
}
if [ -n "${PYTHONS:-}" ]; then
    read -ra wanted <<< "$PYTHONS"
else
    wanted=(python3)
    for version in 3.9 3.10 3.11 3.12 3.13 3.14; do
        wanted+=("python$version")
    done
    shopt -s nullglob
    wanted+=("${HOME:-/root}"/.pyenv/versions/3.*/bin/python3)
    shopt -u nullglob
fi
for python in "${wanted[@]}"; do
    offer "$python"
done
if [ -z "${PYTHONS:-}" ] && [ ${#order[@]} -gt 2 ]; then
    mapfile -t others < <(printf '%s\n' "${order[@]:1}" | sort -V)
    order=("${order[0]}" "${others[0]}")
fi
[ ${#order[@]} -gt 0 ] || { echo 'python-test.sh: no Python of version 3.9 or newer' >&2; exit 1; }

tools=target/venv/types
if [ ! -x "$tools/bin/mypy" ]; then
    # mypy needs a newer Python than it checks for; 2.0 no longer checks for 3.9.
    "${pythons[${order[0]}]}" -m venv "$tools"
    "$tools/bin/pip" --quiet --disable-pip-version-check install 'mypy>=1.11,<2'
fi
for version in 3.9 3.13; do
    echo "== mypy --strict, Python $version"
    (cd bindings/python && MYPYPATH=src "$root/$tools/bin/mypy" --strict --python-version "$version" --explicit-package-bases \
        --cache-dir "$root/target/mypy" src tests)
    (cd examples/python && MYPYPATH="$root/bindings/python/src" "$root/$tools/bin/mypy" --strict --python-version "$version" \
        --cache-dir "$root/target/mypy" --disable-error-code import-not-found ./*.py)
done

names=(discover -t . -s tests)
if [ $# -gt 0 ]; then
    names=()
    for name in "$@"; do names+=("tests.${name#tests.}"); done
fi
# Without an answer the whole is ended; each test has its own, shorter patience.
for version in "${order[@]}"; do
    echo "== tests, Python $version"
    (cd bindings/python && PYTHONPATH=src timeout 900 "${pythons[$version]}" -X dev -m unittest "${names[@]}")
done
