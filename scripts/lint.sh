#!/usr/bin/env bash
# Format, lints and documentation; every warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=scripts/cargo.sh

echo '== cargo fmt'
$cargo fmt --all --check
echo '== cargo clippy'
$cargo clippy --locked --quiet --all-targets -- -D warnings
echo '== cargo clippy, no features'
$cargo clippy --locked --quiet --no-default-features --lib -- -D warnings
echo '== cargo clippy, the tests of schedules'
$cargo clippy --locked --quiet --lib --profile test -- --cfg shuttle -D warnings
echo '== cargo doc'
RUSTDOCFLAGS='-D warnings' $cargo doc --locked --quiet --no-deps --lib
# Not an apt package: run where somebody has installed it. The advisories need the network: `make audit`.
if $cargo deny --version >/dev/null 2>&1; then
    echo '== cargo deny'
    $cargo deny --log-level error check --hide-inclusion-graph bans licenses sources
fi
echo '== shellcheck'
# Every shell script, whatever its name: found by its first line.
mapfile -t shells <<<"$(grep -lrIE --exclude-dir=target --exclude-dir=.git -m 1 '^#!/(usr/)?bin/(env )?(ba)?sh' . | sort)"
shellcheck "${shells[@]}"
