#!/usr/bin/env bash
# The C interface, Python and Go from the outside, and their examples with a real failover each.
#   scripts/bindings.sh [test|examples]        both
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
status=0
step() { # step NAME COMMAND…
    local began=$SECONDS
    echo "== $1"
    "${@:2}" || { status=1; echo "bindings: FAILED: $1" >&2; }
    echo "   $((SECONDS - began)) s"
}

scripts/library.sh dev >/dev/null
scripts/cargo.sh build --locked --quiet --example lab
if [ "$what" != examples ]; then
    step 'C' tests/c/run.sh
    step 'make install' tests/c/install.sh
    step 'Python' scripts/python-test.sh
    step 'Go' scripts/go-test.sh
fi
if [ "$what" != test ]; then
    step 'examples in C' scripts/c-examples.sh
    step 'examples in Python' scripts/python-examples.sh
    step 'examples in Go' scripts/go-examples.sh
fi
exit "$status"
