#!/usr/bin/env bash
# The library's threads under random schedules (src/engine/schedules.rs): its own tests, built with shuttle in the place of locks,
# threads, channels and time.
#
#   SCHEDULES=2000 scripts/schedules.sh [TEST ...]    so many schedules for each test, more or less; LIMIT= seconds
#   SEED=7 scripts/schedules.sh                       other schedules
#   REPLAY=9103... scripts/schedules.sh TEST          the one that a failure printed
#   ROOT=/elsewhere scripts/schedules.sh              other sources (scripts/schedule-mutations.sh)
set -euo pipefail
cd "$(dirname "$0")/.."

export SCHEDULES=${SCHEDULES:-100}
root=${ROOT:-$PWD}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
# Only this one build is another: what it depends on is what the other tests have built.
built=$(scripts/cargo.sh rustc --locked --quiet --manifest-path "$root/Cargo.toml" --lib --features ssh,route53,rfc2136,email --profile test --message-format json \
	-- --cfg shuttle -A warnings | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
[ -n "$built" ] || { echo 'schedules.sh: nothing was built' >&2; exit 1; }
cd "$root"
if [ $# -eq 0 ]; then set -- engine::schedules; fi
# A test that goes round and round without an end has found something as well: 124.
timeout "${LIMIT:-3000}" "$built" "$@"
