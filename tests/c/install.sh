#!/usr/bin/env bash
# `make install` and `make uninstall`, and a C program built by pkg-config with what was installed, shared and static.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
library=$(scripts/library.sh dev)
scripts/cargo.sh build --locked --quiet --bin failover
built=(BINARY=target/debug/failover LIBRARY="$library")

make --no-print-directory --silent install PREFIX=/opt/fo DESTDIR="$work/package" LIBDIR=lib64 "${built[@]}"
grep -qx 'prefix=/opt/fo' "$work/package/opt/fo/lib64/pkgconfig/failover.pc"
if grep -rlF "$work" "$work/package"; then echo 'install: a file tells where it was packaged'; exit 1; fi

make --no-print-directory --silent install PREFIX="$work/usr" "${built[@]}"
pages=$work/usr/share/doc/failover
grep -noE '\]\([^)#:]+[)#]' "$pages"/*.md | sed -E 's@^(.*/)?([^/]*\.md):([0-9]+):\]\((.*).$@\2 \3 \4@' | while read -r page line link; do
    [ -e "$pages/$link" ] || { echo "install: $page line $line links to $link, which is not installed"; exit 1; }
done
export PKG_CONFIG_PATH=$work/usr/lib/pkgconfig
cat > "$work/app.c" <<'C'
#include <failover.h>
#include <string.h>
int main(void)
{
    return strcmp(failover_version(), "") == 0 || failover_abi_version() != FAILOVER_ABI_VERSION;
}
C
read -ra cflags <<< "$(pkg-config --cflags failover)"
read -ra libs <<< "$(pkg-config --libs failover)"
cc "$work/app.c" "${cflags[@]}" "${libs[@]}" -o "$work/shared"
LD_LIBRARY_PATH=$work/usr/lib "$work/shared"
[[ $(ldd "$work/shared") == *libfailover.so.* ]] || { echo 'install: the program does not use the shared library'; exit 1; }
read -ra libs <<< "$(pkg-config --static --libs failover | sed 's/-lfailover/-l:libfailover.a/')"
cc "$work/app.c" "${cflags[@]}" "${libs[@]}" -o "$work/static"
"$work/static"
[[ $(ldd "$work/static") != *libfailover* ]] || { echo 'install: the static program needs the shared library'; exit 1; }
[[ $("$work/usr/bin/failover" --version) == *"$(pkg-config --modversion failover)"* ]] || { echo 'install: another version'; exit 1; }

make --no-print-directory --silent uninstall PREFIX="$work/usr"
left=$(find "$work/usr" -type f -o -type l)
[ -z "$left" ] || { printf 'uninstall left:\n%s\n' "$left"; exit 1; }
echo 'install: shared and static programs built by pkg-config, and nothing left by uninstall'
