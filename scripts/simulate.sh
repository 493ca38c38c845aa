#!/usr/bin/env bash
# The simulator, optimised: the core depends on serde alone, so it is built alone and in seconds.
#
#   SEEDS=100000 scripts/simulate.sh
#   SEED=7 scripts/simulate.sh                      one seed, with its trace
#   FIRST=5001 SEEDS=5000 ALL=1 scripts/simulate.sh  others, and every failing one
#   CORE=/elsewhere/src/core scripts/simulate.sh    another core
set -euo pipefail
cd "$(dirname "$0")/.."

core=${CORE:-$PWD/src/core}
out=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$out"' EXIT
# serde as cargo has built it for the tests.
scripts/cargo.sh build --locked --quiet --lib --package failover-core
deps=${CARGO_TARGET_DIR:-$PWD/target}/debug/deps
serde=''
for built in "$deps"/libserde-*.rlib; do
	if [ -z "$serde" ] || [ "$built" -nt "$serde" ]; then serde=$built; fi
done
export TOOL=rustc
optimised=(--edition 2024 -C opt-level=2 -C debug-assertions=on --out-dir "$out" --extern serde="$serde" -L dependency="$deps")
scripts/cargo.sh "${optimised[@]}" -A warnings --crate-type rlib --crate-name failover_core "$core/lib.rs"
scripts/cargo.sh "${optimised[@]}" --test --crate-name simulator --extern failover_core="$out/libfailover_core.rlib" tests/core/simulator.rs
"$out/simulator" --nocapture
