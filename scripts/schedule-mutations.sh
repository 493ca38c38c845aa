#!/usr/bin/env bash
# Do the random schedules find anything? Plants one fault of threads at a time (tests/schedules/mutations/*.patch, applied to a copy) and
# prints which test noticed. Fails if one got away, or if a patch does not fit the sources any more.
#
#   scripts/schedule-mutations.sh [NAME ...]
set -euo pipefail
cd "$(dirname "$0")/.."

export SCHEDULES=${SCHEDULES:-200}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -gt 0 ]; then
    patches=("${@/%/.patch}")
    patches=("${patches[@]/#/tests/schedules/mutations/}")
else
    patches=(tests/schedules/mutations/*.patch)
fi
# What cargo wants to see beside the sources.
for beside in Cargo.toml Cargo.lock README.md benches examples tests scripts contrib docs packaging; do
    ln -s "$PWD/$beside" "$work/$beside"
done
away=0
printf '%-36s %s\n' MUTATION 'NOTICED BY'
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    rm -rf "$work/src"
    cp -r src "$work/src"
    if ! (cd "$work" && git apply "$OLDPWD/$patch") 2>"$work/log"; then
        printf '%-36s does not fit the sources any more: %s\n' "$name" "$(head -n 1 "$work/log")"
        away=$((away + 1))
        continue
    fi
    status=0
    ROOT=$work RUST_BACKTRACE=0 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} LIMIT=120 scripts/schedules.sh >"$work/log" 2>&1 || status=$?
    found=$(grep -m 1 -oE '^test engine::schedules::[a-z_]+ \.\.\. FAILED' "$work/log" || true)
    if [ -n "$found" ]; then
        found=${found#test engine::schedules::}
        printf '%-36s %s\n' "$name" "${found% ... FAILED}"
    elif [ "$status" = 124 ]; then
        # A test that does not end has noticed as well; which one is the one without a result.
        printf '%-36s %s\n' "$name" 'a test did not end within two minutes'
    else
        printf '%-36s GOT AWAY\n' "$name"
        grep -m 3 -E '^error' "$work/log" || true
        away=$((away + 1))
    fi
done
echo "$((${#patches[@]} - away)) of ${#patches[@]} noticed"
[ "$away" = 0 ]
