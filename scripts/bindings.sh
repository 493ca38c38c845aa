#!/usr/bin/env bash
# The C interface, Python and Go from the outside, and their examples with a real failover each.
#   scripts/bindings.sh [test|examples]        both
# ASAN=1: the C interface under AddressSanitizer too, which builds everything once more. PYTHONS=: as for python-test.sh (python3). RUNS=: of
# scripts that end without a stop (30).
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
export ASAN=${ASAN:-0} PYTHONS=${PYTHONS:-python3} RUNS=${RUNS:-30}
status=0
step() { # step NAME COMMAND…
    local began=$SECONDS
    echo "== $1"
    "${@:2}" || { status=1; echo "bindings: FAILED: $1" >&2; }
    echo "   $1: $((SECONDS - began)) s"
}
in_c() {
    step 'C' tests/c/run.sh
    step 'make install' tests/c/install.sh
    FAILOVER_LIBRARY=target/capi/dev/libfailover.so.0 step 'wheel' scripts/python-wheel.sh
    return "$status"
}

scripts/library.sh dev >/dev/null
scripts/cargo.sh build --locked --quiet --example lab --bin failover
if [ "$what" != examples ]; then
    # Beside the others, which wait a lot; told when they are done.
    said=$(mktemp)
    trap 'rm -f "$said"' EXIT
    in_c > "$said" 2>&1 &
    c=$!
    step 'Python' scripts/python-test.sh
    step 'Go' scripts/go-test.sh
    wait "$c" || status=1
    cat "$said"
fi
if [ "$what" != test ]; then
    # Each waits for servers of its own; told one after the other.
    told=$(mktemp -d)
    trap 'rm -rf "${said:-}" "$told"' EXIT
    waiting=()
    for language in c python go; do
        (
            step "examples in $language" "scripts/$language-examples.sh"
            exit "$status"
        ) > "$told/$language" 2>&1 &
        waiting+=($!)
    done
    for process in "${waiting[@]}"; do
        wait "$process" || status=1
    done
    cat "$told"/*
fi
exit "$status"
