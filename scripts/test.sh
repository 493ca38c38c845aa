#!/usr/bin/env bash
# Everything that must hold: format, lints, documentation, and every test against real servers. Ends with the totals.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
scripts/lint.sh || status=$?
[ "$status" = 0 ] || echo 'the lints failed; the tests run all the same'
echo '== cargo test'
scripts/cargo.sh test --locked --no-fail-fast --features capi 2>&1 | tee "$log" || status=$?
echo '== simulator'
SEEDS=${SEEDS:-2000} scripts/simulate.sh || status=$?
echo '== schedules of threads'
SCHEDULES=${SCHEDULES:-50} scripts/schedules.sh 2>&1 | tee -a "$log" || status=$?
scripts/bindings.sh || status=$?
# The totals of every test program, in one line.
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$log"
exit "$status"
