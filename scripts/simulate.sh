#!/usr/bin/env bash
# The simulator, optimised: the core has no dependency, so it is built alone and in seconds.
#
#   SEEDS=100000 scripts/simulate.sh
#   SEED=7 scripts/simulate.sh                      one seed, with its trace
#   CORE=/elsewhere/src/core scripts/simulate.sh    another core (scripts/mutations.sh)
set -euo pipefail
cd "$(dirname "$0")/.."

core=${CORE:-$PWD/src/core}
out=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$out"' EXIT
export TOOL=rustc
printf '//! The core alone.\n#[path = "%s/mod.rs"]\npub mod core;\n' "$core" >"$out/core.rs"
optimised=(--edition 2024 -C opt-level=2 -C debug-assertions=on --out-dir "$out")
scripts/cargo.sh "${optimised[@]}" -A warnings --crate-type rlib --crate-name failover "$out/core.rs"
scripts/cargo.sh "${optimised[@]}" --test --crate-name simulator --extern failover="$out/libfailover.rlib" tests/simulator.rs
"$out/simulator" --nocapture
