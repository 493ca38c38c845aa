#!/usr/bin/env bash
# The shared and the static library with their links, and failover.pc for use in place.
#   scripts/library.sh [release|dev] [FOLDER]        FOLDER: target/capi/release
# FEATURES=ssh,route53,rfc2136,email: what is in it besides the C interface. RUSTFLAGS and CARGO_FLAGS are passed on.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
folder=${2:-target/capi/$profile}
features=${FEATURES-ssh,route53,rfc2136,email}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
abi=$(sed -n 's/^#define FAILOVER_ABI_VERSION \([0-9]*\)$/\1/p' include/failover.h)
major=$((abi >> 16))

read -ra more <<< "${CARGO_FLAGS:-}"
mkdir -p "$folder"
said=$(mktemp)
part=$(mktemp -d -p "$folder")
trap 'rm -rf "$said" "$part"' EXIT
# Under a name that goes with what is in it: another list is another build.
versions=$PWD/$folder/failover-$(cksum < packaging/failover.map | cut -d ' ' -f 1).map
cp packaging/failover.map "$versions"
# Dropped from memory, a library with thread-locals would leave their destructors behind: it stays, whatever dlclose says.
if ! scripts/cargo.sh rustc --locked --profile "$profile" --package failover-capi --lib --crate-type cdylib,staticlib \
    --no-default-features --features "$features" --message-format short ${more[0]+"${more[@]}"} \
    -- --print native-static-libs -C "link-arg=-Wl,-soname,libfailover.so.$major" -C link-arg=-Wl,-z,nodelete \
    -C linker-flavor=gcc -C "linker=$PWD/scripts/link-versioned.sh" -C "link-arg=-Wl,--version-script=$versions" 2> "$said"; then
    cat "$said" >&2
    exit 1
fi
built=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}$([ "$profile" = dev ] && echo debug || echo "$profile")

libs=$(sed -n 's/^note: native-static-libs: //p' "$said" | tail -n 1)
[ -n "$libs" ] || { echo 'library.sh: the compiler did not say what the static library needs' >&2; exit 1; }

# Under its name it is whole at any moment: a program that loads it beside this script would end by SIGBUS in half a file.
place() { # place MODE FROM TO
    cmp -s "$2" "$3" && return
    install -m "$1" "$2" "$3.$$"
    mv -f "$3.$$" "$3"
}
place 755 "$built/libfailover_capi.so" "$folder/libfailover.so.$version"
# A program may link another Rust library, or one with functions of the same names: of ours it sees failover_* only. One object of all
# that those need, and every other name in it is its own.
mapfile -t wanted < <(nm --defined-only --extern-only "$built/libfailover_capi.a" 2> /dev/null |
    sed -n 's/^[0-9a-f]* T \(failover_.*\)$/--undefined=\1/p')
ld -r --gc-sections "${wanted[@]}" -o "$part/all.o" "$built/libfailover_capi.a"
# The compiler's own notes in the standard library are no longer whole, and tools that read them would stumble.
objcopy --wildcard --keep-global-symbol='failover_*' --remove-section=.llvmbc --remove-section=.llvmcmd "$part/all.o" "$part/libfailover.o"
ar rcsD "$part/libfailover.a" "$part/libfailover.o"
place 644 "$part/libfailover.a" "$folder/libfailover.a"
ln -sf "libfailover.so.$version" "$folder/libfailover.so.$major"
ln -sf "libfailover.so.$major" "$folder/libfailover.so"
sed -e "s|@PREFIX@|$PWD|" -e "s|@LIBDIR@|$PWD/$folder|" -e "s|@VERSION@|$version|" -e "s|@LIBS@|$libs|" \
    packaging/failover.pc.in > "$folder/failover.pc"
# For `make install`, which knows where the header will be.
for file in failover-config.cmake failover-config-version.cmake; do
    sed -e "s|@VERSION@|$version|" -e "s|@MAJOR@|$major|" -e "s|@LIBS@|${libs// /;}|" "packaging/$file.in" > "$folder/$file"
done
echo "$folder"
