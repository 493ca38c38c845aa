#!/usr/bin/env bash
# The wheel of the Python binding with the shared library inside, into target/wheels, and a trial of it in a fresh environment.
#   scripts/python-wheel.sh
# FAILOVER_LIBRARY=: the library (target/capi/release/libfailover.so.0, by scripts/library.sh). PYTHON=: python3.
# FAILOVER_PLATFORM=: the platform of the wheel's tag, such as manylinux_2_36_x86_64, where it is not simply this one.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
library=${FAILOVER_LIBRARY:-$PWD/target/capi/release/libfailover.so.0}
if [ ! -e "$library" ]; then
    echo "python-wheel.sh: $library is missing: run scripts/library.sh, or name the library in FAILOVER_LIBRARY" >&2
    exit 1
fi
FAILOVER_LIBRARY=$(realpath "$library")
export FAILOVER_LIBRARY

tools=target/venv/wheel
if [ ! -x "$tools/bin/hatchling" ]; then
    "$python" -m venv "$tools"
    "$tools/bin/pip" --quiet --disable-pip-version-check install 'build>=1.2' 'hatchling>=1.25'
fi
rm -rf target/wheels
"$tools/bin/python" -m build --quiet --wheel --no-isolation --outdir target/wheels bindings/python
wheel=$(echo target/wheels/failover-*-py3-none-*.whl)
[ -f "$wheel" ] || { echo "python-wheel.sh: no wheel for every Python came of it" >&2; exit 1; }

# The library inside has to be the one that is used.
unset FAILOVER_LIBRARY
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
"$python" -m venv "$trial/venv"
"$trial/venv/bin/pip" --quiet --disable-pip-version-check install --no-index "$wheel"
mkdir -m 700 "$trial/state"
(cd "$trial" && venv/bin/python -X dev - "$trial/state" << 'EOF'
import importlib.metadata
import sys

import failover

assert failover.version() == importlib.metadata.version("failover"), failover.version()
check = {"name": "page", "server": "web1", "kind": "host"}
server = {"name": "web1", "role": "primary", "host": "127.0.0.1"}
service = {"name": "site", "kind": "application", "servers": [server], "checks": [check]}
engine = failover.Engine({"version": 1, "state_dir": sys.argv[1], "services": [service]})


@engine.check("page")
def page(task: failover.Task) -> bool:
    return True


with engine:
    engine.wait(failover.EventKind.OBSERVED, timeout=60)
EOF
)
echo "$wheel"
