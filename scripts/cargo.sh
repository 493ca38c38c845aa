#!/usr/bin/env bash
# cargo, of at least the version that Cargo.toml asks for, wherever it is installed: on the PATH, by rustup, or by a package that
# names its toolchain by version (/usr/lib/rust-1.91/bin on Ubuntu). Ends with 127 when there is none.
#
#   scripts/cargo.sh build --release
#   TOOL=rustc scripts/cargo.sh --version
set -euo pipefail

minimum=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")

new_enough() { # new_enough DIRECTORY
    [ -x "$1/cargo" ] && [ -x "$1/rustc" ] || return 1
    local version
    version=$("$1/rustc" --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$minimum" "$version" | sort -V | head -n 1)" = "$minimum" ]
}

IFS=: read -r -a places <<<"$PATH"
places+=("${CARGO_HOME:-${HOME:-/root}/.cargo}/bin")
mapfile -t versioned <<<"$(compgen -G '/usr/lib/rust-*/bin' | sort -rV || true)"
places+=("${versioned[@]}")
for place in "${places[@]}"; do
    if new_enough "$place"; then
        PATH=$place:$PATH exec "${TOOL:-cargo}" "$@"
    fi
done
echo "no cargo of version $minimum or newer: run 'make setup'" >&2
exit 127
