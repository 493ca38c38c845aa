#!/usr/bin/env bash
# Everything that must hold: format, lints, documentation, and every test against real servers. Ends with the totals.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
beside=$(mktemp)
trap 'rm -f "$log" "$beside"' EXIT
status=0
scripts/lint.sh || status=$?
[ "$status" = 0 ] || echo 'the lints failed; the tests run all the same'
tests=(scripts/cargo.sh test --locked --no-fail-fast)
# They wait more than they work, one test at a time: beside all the others.
slow=(faults salvage rejoin rebuild switchover three_servers three_servers_more sync_sets)
others=()
# Every test program that a package names.
while read -r name; do
    [[ " ${slow[*]} " = *" $name "* ]] || others+=(--test "$name")
done < <(sed -n '/^\[\[test\]\]$/ { n; s/^name = "\(.*\)"$/\1/p; }' Cargo.toml src/*/Cargo.toml)
echo '== cargo test'
"${tests[@]}" --no-run 2>&1 | tee "$log" || status=$?
# Without the history the tests of an upgrade are skipped; a release that does not build is a failure.
release=0
scripts/release-0.1.sh || release=$?
if [ "$release" != 0 ] && [ "$release" != 77 ]; then
    echo 'release 0.1 does not build: the tests of an upgrade are skipped, which is a failure'
    status=1
fi
"${tests[@]}" "${slow[@]/#/--test=}" >"$beside" 2>&1 &
waiting=$!
"${tests[@]}" --lib --bins --examples "${others[@]}" 2>&1 | tee -a "$log" || status=$?
"${tests[@]}" --doc 2>&1 | tee -a "$log" || status=$?
echo "== ${slow[*]}, begun beside them"
wait "$waiting" || status=$?
tee -a "$log" <"$beside"
echo '== simulator'
SEEDS=${SEEDS:-2000} scripts/simulate.sh || status=$?
echo '== schedules of threads'
SCHEDULES=${SCHEDULES:-50} scripts/schedules.sh 2>&1 | tee -a "$log" || status=$?
scripts/bindings.sh || status=$?
# The totals of every test program, in one line.
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$log"
exit "$status"
