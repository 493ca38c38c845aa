#!/usr/bin/env bash
# The Python examples, each against servers of its own with a real failover.
#   scripts/python-examples.sh
# FAILOVER_LIBRARY=: the library (target/capi/dev/libfailover.so.0, by scripts/library.sh dev). FAILOVER_LAB=: the program that starts
# the pair (target/debug/examples/lab, by cargo build --example lab). PYTHON=: python3.
set -euo pipefail
cd "$(dirname "$0")/.."

FAILOVER_LIBRARY=$(realpath "${FAILOVER_LIBRARY:-target/capi/dev/libfailover.so.0}")
export FAILOVER_LIBRARY
lab=$(realpath "${FAILOVER_LAB:-target/debug/examples/lab}")
for file in "$FAILOVER_LIBRARY" "$lab"; do
    if [ ! -e "$file" ]; then
        echo "python-examples.sh: $file is missing: run scripts/library.sh dev and cargo build --example lab" >&2
        exit 1
    fi
done
tools=target/venv/examples
if ! "$tools/bin/python" -c 'import psycopg' 2> /dev/null; then
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/pip" --quiet --disable-pip-version-check install 'psycopg[binary]>=3.1'
fi
export PYTHONPATH=$PWD/bindings/python/src PYTHONDONTWRITEBYTECODE=1
for example in web_pool watch_asyncio preflight application; do
    echo "== examples/python/$example.py"
    timeout 300 "$tools/bin/python" -X dev "examples/python/$example.py" --lab "$lab"
done
