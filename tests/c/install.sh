#!/usr/bin/env bash
# `make install` and `make uninstall`, and C programs built by pkg-config and by CMake with what was installed, shared and static.
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
scripts/links.py "$work/usr/share/doc/failover"
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

# The same by find_package, also where everything was moved and the libraries lie deeper.
make --no-print-directory --silent install PREFIX=/opt/fo DESTDIR="$work/moved" LIBDIR=lib/deeper "${built[@]}"
cat > "$work/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.16)
project(app C)
find_package(failover 0.1 REQUIRED)
add_executable(by_shared app.c)
target_link_libraries(by_shared PRIVATE failover::failover)
add_executable(by_static app.c)
target_link_libraries(by_static PRIVATE failover::failover_static)
CMAKE
for place in "CMAKE_PREFIX_PATH=$work/usr" "failover_DIR=$work/moved/opt/fo/lib/deeper/cmake/failover"; do
    if ! { cmake -S "$work" -B "$work/build" -D"$place" && cmake --build "$work/build"; } \
        > "$work/said" 2>&1; then
        cat "$work/said"
        exit 1
    fi
    "$work/build/by_shared"
    "$work/build/by_static"
    root=${place#*=}
    [[ $(ldd "$work/build/by_shared") == *"${root%/cmake/failover}"/*libfailover.so.* ]] || { echo "install: CMake uses another library than that of $place"; exit 1; }
    [[ $(ldd "$work/build/by_static") != *libfailover* ]] || { echo 'install: the static program of CMake needs the shared library'; exit 1; }
    rm -rf "$work/build"
done
for other in 0.2 1.0 0.1.99; do
    sed -i "s/find_package(failover [0-9.]*/find_package(failover $other/" "$work/CMakeLists.txt"
    if cmake -S "$work" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/usr" > "$work/said" 2>&1; then
        echo "install: CMake takes this version for $other"
        exit 1
    fi
    grep -q 'considered but not accepted' "$work/said" || { cat "$work/said"; exit 1; }
    rm -rf "$work/build"
done

[[ $("$work/usr/bin/failover" --version) == *"$(pkg-config --modversion failover)"* ]] || { echo 'install: another version'; exit 1; }

make --no-print-directory --silent uninstall PREFIX="$work/usr"
left=$(find "$work/usr" -type f -o -type l)
[ -z "$left" ] || { printf 'uninstall left:\n%s\n' "$left"; exit 1; }
echo 'install: shared and static programs built by pkg-config and CMake, no dead link in the documents, and nothing left by uninstall'
