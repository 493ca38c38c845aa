#!/usr/bin/env bash
# The C interface from the outside: header, symbols, suite, scenario, rubbish; by the shared and the static library; under valgrind
# and AddressSanitizer. VALGRIND=0 and ASAN=0 leave those out; CYCLES and FUZZ_CALLS make it longer.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
library=$(scripts/library.sh dev)
library=$PWD/$library
export PKG_CONFIG_PATH=$library
read -ra cflags <<< "$(pkg-config --cflags failover)"
read -ra libs <<< "$(pkg-config --libs failover)"
read -ra static <<< "$(pkg-config --static --libs failover)"
strict=(-Wall -Wextra -pedantic -Werror)
say() { printf 'c: %s\n' "$*"; }

# The header alone, twice, in both languages.
printf '#include <failover.h>\n' > "$work/once.c"
printf '#include <failover.h>\n#include <failover.h>\nint main(void) { return FAILOVER_OK; }\n' > "$work/twice.c"
for source in once twice; do
    cc -std=c99 "${strict[@]}" -Wstrict-prototypes "${cflags[@]}" -c "$work/$source.c" -o "$work/$source.o"
    c++ -std=c++11 "${strict[@]}" "${cflags[@]}" -x c++ -c "$work/$source.c" -o "$work/$source.o"
done
say 'the header compiles alone and twice, as C99 and C++11'

# The guide's programs: every block of C is one.
awk -v to="$work/guide" '/^```c$/ { at++; inside = 1; next } /^```/ { inside = 0 } inside { print > (to at ".c") }' docs/c.md
for source in "$work"/guide*.c; do
    cc -std=c99 "${strict[@]}" "${cflags[@]}" "$source" -o "${source%.c}" "${libs[@]}"
done
[[ $(LD_LIBRARY_PATH=$library "$work/guide2") == *'"/servces"'* ]] || { say 'the second program of docs/c.md says something else'; exit 1; }
sed "s|@STATE@|$work/action|" tests/bindings/action.json > "$work/action.json"
mkdir -m 700 "$work/action"
LD_LIBRARY_PATH=$library timeout 60 "$work/guide4" "$work/action.json" > "$work/said" || { cat "$work/said"; exit 1; }
grep -q '^failover 1: clients go to web2 at 127.0.0.2:8002$' "$work/said" || { cat "$work/said"; say 'the action of docs/c.md was not carried out'; exit 1; }
LD_LIBRARY_PATH=$library timeout 60 "$work/guide5" "$work/action.json" > "$work/said" || { cat "$work/said"; exit 1; }
grep -q '"service":"site"' "$work/said" || { cat "$work/said"; say 'the report of docs/c.md says nothing'; exit 1; }
say 'the programs of docs/c.md, of which its action was carried out'

# Types and numbers, pinned by two compilers; then every symbol is asked of the linker.
cc -std=c99 "${strict[@]}" "${cflags[@]}" tests/c/abi_pin.c -o "$work/pin" "${libs[@]}" 
LD_LIBRARY_PATH=$library "$work/pin"
c++ -std=c++11 "${strict[@]}" -Wno-address "${cflags[@]}" -x c++ -c tests/c/abi_pin.c -o "$work/pin.o"
# Those of the shared library have a version, which is a symbol itself (of kind A); those of the static one are all that it shows.
nm -D --defined-only "$library/libfailover.so" | awk '$2 != "A" { print $3 }' | LC_ALL=C sort > "$work/versioned"
if grep -v '^failover_[a-z_]*@@FAILOVER_[0-9.]*$' "$work/versioned"; then say 'a symbol has no version, or is not ours'; exit 1; fi
sed 's/@@.*//' "$work/versioned" > "$work/symbols"
diff tests/c/symbols.txt "$work/symbols" || { say 'the exported symbols are not those of tests/c/symbols.txt'; exit 1; }
nm --defined-only --extern-only "$library/libfailover.a" | awk 'NF == 3 { print $3 }' | LC_ALL=C sort > "$work/symbols"
diff tests/c/symbols.txt "$work/symbols" || { say 'the static library shows other symbols than those of tests/c/symbols.txt'; exit 1; }
while IFS=@ read -r symbol _ since; do
    grep -qx "| \`$symbol\` | ${since#FAILOVER_} |" docs/ABI.md || { say "$symbol: docs/ABI.md does not say since $since"; exit 1; }
done < "$work/versioned"
say "$(wc -l < tests/c/symbols.txt) symbols, as listed, shared and static, each with its version, as docs/ABI.md says"

readelf -d "$library/libfailover.so" > "$work/dynamic"
major=$(($(sed -n 's/^#define FAILOVER_ABI_VERSION //p' include/failover.h) >> 16))
grep -q "SONAME.*\[libfailover.so.$major\]" "$work/dynamic" || { say 'wrong soname'; exit 1; }
grep -q NODELETE "$work/dynamic" || { say 'not marked NODELETE'; exit 1; }
needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic")
for name in $needed; do
    case $name in
    libssl.so.* | libcrypto.so.* | libz.so.* | libgcc_s.so.* | libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux*) ;;
    *) say "needs $name: not expected"; exit 1 ;;
    esac
done
say "libfailover.so.$major, NODELETE, needs $(tr '\n' ' ' <<< "$needed")"

compile() { # compile NAME FLAGS… : the program of tests/c/NAME.c
    local name=$1
    shift
    cc -std=gnu11 -Wall -Wextra -Werror -g "${cflags[@]}" "tests/c/$name.c" -o "$work/$name" "$@" -pthread
}
run() { # run COMMAND… : with a folder of its own
    local code=0
    mkdir -p "$work/states"
    LD_LIBRARY_PATH=$library timeout 600 "$@" || code=$?
    rm -rf "$work/states"
    return "$code"
}

compile suite "${static[@]:0:1}" -l:libfailover.a "${static[@]:2}"
mkdir -p "$work/states"
timeout 300 "$work/suite" "$work/states" lifecycle checks_of_the_host callbacks > "$work/said" || { cat "$work/said"; exit 1; }
[[ $(ldd "$work/suite") != *libfailover* ]] || { say 'the static program needs the shared library'; exit 1; }
say 'the same from the static library'
# A program may have a function with the name of one that is linked in.
printf 'int libssh2_init(int flags) { return flags; }\nvoid *rust_eh_personality(void) { return 0; }\n' > "$work/same.c"
cc -c "$work/same.c" -o "$work/same.o"
compile suite "$work/same.o" "${static[@]:0:1}" -l:libfailover.a "${static[@]:2}"
timeout 300 "$work/suite" "$work/states" lifecycle > "$work/said" || { cat "$work/said"; exit 1; }
say 'the same beside functions of the same names as in it'

compile suite "${libs[@]}"
run "$work/suite" "$work/states"
compile fuzz "${libs[@]}"
run "$work/fuzz" "$work/states" "${FUZZ_CALLS:-20000}" "${SEED:-$RANDOM}"

compile scenario "${libs[@]}"
mkdir -p "$work/states"
python3 - "$work/states" > "$work/scenario.json" <<'PY'
import json, sys
print(json.dumps(json.load(open("tests/bindings/scenario.json"))["config"]).replace("@STATE@", sys.argv[1]))
PY
python3 -c 'import json; [print(line) for line in json.load(open("tests/bindings/scenario.json"))["expected"]]' > "$work/expected"
mapfile -t kinds < <(python3 -c 'import json; [print(kind) for kind in json.load(open("tests/bindings/scenario.json"))["kinds"]]')
LD_LIBRARY_PATH=$library timeout 120 "$work/scenario" "$work/scenario.json" "$(($(wc -l < "$work/expected") - 1))" "${kinds[@]}" > "$work/seen"
diff "$work/expected" "$work/seen" || { say 'the scenario went another way'; exit 1; }
say 'the scenario of all bindings'

if [ "${VALGRIND:-1}" = 1 ]; then
    # Leaks that grow are found by the cycles; what OpenSSL keeps to the end of the process is reachable. A child of fork leaves its
    # parent's engine alone on purpose.
    SKIP=forked CYCLES=3 run valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite \
        --errors-for-leak-kinds=definite "$work/suite" "$work/states" > "$work/said" || { cat "$work/said"; exit 1; }
    say 'the suite under valgrind'
fi

if [ "${ASAN:-1}" = 1 ]; then
    triple=$(TOOL=rustc scripts/cargo.sh -vV | sed -n 's/^host: //p')
    # -Z needs a compiler that takes unstable options; a released one does when it is told so.
    asan=$(RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address' CARGO_BUILD_TARGET=$triple CARGO_TARGET_DIR=$PWD/target/asan \
        scripts/library.sh dev target/capi/asan)
    asan=$PWD/$asan
    address=(-fsanitize=address -L"$asan" -lfailover)
    # Proof that it is on, on both sides of the boundary: a string that outlives its error is caught where the library freed it.
    cat > "$work/after.c" <<'C'
#include <failover.h>
#include <stdio.h>
int main(void)
{
    failover_error *error = NULL;
    failover_engine *engine = NULL;
    (void)failover_engine_new("{}", 2, &engine, &error);
    const char *message = failover_error_message(error);
    failover_error_free(error);
    return message[0] == 'x';
}
C
    cc -g "${cflags[@]}" "$work/after.c" -o "$work/after" "${address[@]}"
    if LD_LIBRARY_PATH=$asan "$work/after" > "$work/said" 2>&1; then say 'AddressSanitizer is not on'; exit 1; fi
    if ! grep -q 'heap-use-after-free' "$work/said" || ! grep -q failover_error_free "$work/said"; then
        cat "$work/said"
        say 'AddressSanitizer does not see what the library frees'
        exit 1
    fi
    library=$asan
    # Freed memory that is kept back would look like growth to the cycles.
    export ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=1
    compile suite "${address[@]}"
    SKIP=forked CYCLES=10 run "$work/suite" "$work/states" > "$work/said" 2>&1 || { cat "$work/said"; exit 1; }
    compile fuzz "${address[@]}"
    run "$work/fuzz" "$work/states" "${FUZZ_CALLS:-20000}" "${SEED:-$RANDOM}"
    say 'the suite and the rubbish under AddressSanitizer, which was seen to be on'
fi
