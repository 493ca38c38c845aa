#!/usr/bin/env bash
# Everything that must hold: format, lints, documentation, and every test against real servers.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/lint.sh
echo '== cargo test'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
# The totals of every test binary, in one line.
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"
exit "$status"
