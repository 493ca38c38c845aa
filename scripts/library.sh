#!/usr/bin/env bash
# The shared and the static library with their links, and failover.pc for use in place.
#   scripts/library.sh [release|dev] [FOLDER]        FOLDER: target/capi/release
# FEATURES=ssh,route53,rfc2136: what is in it besides the C interface. RUSTFLAGS and CARGO_FLAGS are passed on.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
folder=${2:-target/capi/$profile}
features=${FEATURES-ssh,route53,rfc2136}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
abi=$(sed -n 's/^#define FAILOVER_ABI_VERSION \([0-9]*\)$/\1/p' include/failover.h)
major=$((abi >> 16))

read -ra more <<< "${CARGO_FLAGS:-}"
said=$(mktemp)
trap 'rm -f "$said"' EXIT
# Dropped from memory, a library with thread-locals would leave their destructors behind: it stays, whatever dlclose says.
if ! scripts/cargo.sh rustc --locked --profile "$profile" --package failover-capi --lib --crate-type cdylib,staticlib \
    --no-default-features --features "$features" --message-format short ${more[0]+"${more[@]}"} \
    -- --print native-static-libs -C "link-arg=-Wl,-soname,libfailover.so.$major" -C link-arg=-Wl,-z,nodelete 2> "$said"; then
    cat "$said" >&2
    exit 1
fi
built=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}$([ "$profile" = dev ] && echo debug || echo "$profile")

mkdir -p "$folder"
libs=$(sed -n 's/^note: native-static-libs: //p' "$said" | tail -n 1)
[ -n "$libs" ] || { echo 'library.sh: the compiler did not say what the static library needs' >&2; exit 1; }

# Under its name it is whole at any moment: a program that loads it beside this script would end by SIGBUS in half a file.
place() { # place MODE FROM TO
    cmp -s "$2" "$3" && return
    install -m "$1" "$2" "$3.$$"
    mv -f "$3.$$" "$3"
}
place 755 "$built/libfailover_capi.so" "$folder/libfailover.so.$version"
place 644 "$built/libfailover_capi.a" "$folder/libfailover.a"
ln -sf "libfailover.so.$version" "$folder/libfailover.so.$major"
ln -sf "libfailover.so.$major" "$folder/libfailover.so"
sed -e "s|@PREFIX@|$PWD|" -e "s|@LIBDIR@|$PWD/$folder|" -e "s|@VERSION@|$version|" -e "s|@LIBS@|$libs|" \
    packaging/failover.pc.in > "$folder/failover.pc"
echo "$folder"
