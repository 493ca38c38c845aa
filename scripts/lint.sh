#!/usr/bin/env bash
# Format, lints and documentation; every warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

echo '== cargo fmt'
cargo fmt --all --check
echo '== cargo clippy, default features'
cargo clippy --quiet --all-targets -- -D warnings
echo '== cargo clippy, no features'
cargo clippy --quiet --no-default-features --lib -- -D warnings
echo '== cargo doc'
RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --lib
echo '== shellcheck'
git ls-files -z -- '*.sh' '.ci/run' 'contrib/failover-host' | xargs -0 shellcheck
