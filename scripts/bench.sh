#!/usr/bin/env bash
# Every benchmark. They print numbers, each beside its floor in the same run, and assert nothing.
#   KILLS=10 HANGS=5 FREEZES=50 RESTARTS=20 APPLICATIONS=10 make bench
set -euo pipefail
cd "$(dirname "$0")/.."

echo '== the release library and command line'
scripts/cargo.sh build --release --locked --quiet
size=$(stat -c %s target/release/failover)
printf 'failover, stripped: %s bytes\n' "$size"
library=$PWD/$(scripts/library.sh release)/libfailover.so.0
bare=$(FEATURES='' scripts/library.sh release target/capi/bare)
printf 'libfailover.so, stripped: %s bytes; without optional features %s (aim: below 5 MB)\n' \
    "$(stat -L -c %s "$library")" "$(stat -L -c %s "$bare/libfailover.so.0")"

echo '== what it costs a host program'
go=$(scripts/go.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O2 -Iinclude benches/host.c -o "$work/host" -ldl
"$work/host" "$PWD/$bare/libfailover.so.0" "$work"
FAILOVER_LIBRARY=$library PYTHONPATH=bindings/python/src python3 benches/host.py
(cd bindings/go && PKG_CONFIG_PATH=${library%/*} LD_LIBRARY_PATH=${library%/*} "$go" test -run '^$' -bench . -benchtime 4000x)

echo '== one decision'
scripts/cargo.sh bench --locked --quiet --package failover-core --bench step

echo '== outage at the writer, and the idle engine'
scripts/cargo.sh bench --locked --quiet --bench outage

echo '== an application: its clients, with the engine and with HAProxy alone'
scripts/cargo.sh bench --locked --quiet --bench application
