#!/usr/bin/env bash
# Every benchmark. They print numbers, each beside its floor in the same run, and assert nothing.
#   KILLS=10 HANGS=5 FREEZES=50 RESTARTS=20 make bench
set -euo pipefail
cd "$(dirname "$0")/.."

echo '== the release library and command line'
scripts/cargo.sh build --release --locked --quiet
size=$(stat -c %s target/release/failover)
printf 'failover, stripped: %s bytes (aim: below 5 MB)\n' "$size"

echo '== one decision'
scripts/cargo.sh bench --locked --quiet --bench step

echo '== outage at the writer, and the idle engine'
scripts/cargo.sh bench --locked --quiet --bench outage
