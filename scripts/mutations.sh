#!/usr/bin/env bash
# Does the simulator find anything? Breaks one rule of the core at a time (tests/sim/mutations/*.patch, applied to a copy) and prints
# which invariant noticed, at which seed. Fails if one got away, or if a patch does not fit the core any more.
#
#   scripts/mutations.sh [NAME ...]
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${SEEDS:-6000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -gt 0 ]; then
    patches=("${@/%/.patch}")
    patches=("${patches[@]/#/tests/sim/mutations/}")
else
    patches=(tests/sim/mutations/*.patch)
fi
away=0
printf '%-28s %-40s %s\n' MUTATION 'NOTICED BY' SEED
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    rm -rf "$work/src"
    mkdir -p "$work/src"
    cp -r src/core "$work/src/core"
    if ! (cd "$work" && git apply "$OLDPWD/$patch") 2>"$work/log"; then
        printf '%-28s does not fit the core any more: %s\n' "$name" "$(head -n 1 "$work/log")"
        away=$((away + 1))
        continue
    fi
    status=0
    CORE=$work/src/core SEEDS=$seeds RUST_BACKTRACE=0 scripts/simulate.sh >"$work/log" 2>&1 || status=$?
    found=$(grep -m 1 -oE '^seed [0-9]+ breaks [a-z_]+' "$work/log" || true)
    if [ "$status" != 0 ] && [ -n "$found" ]; then
        read -r _ seed _ invariant <<<"$found"
        printf '%-28s %-40s %s\n' "$name" "$invariant" "$seed"
    else
        printf '%-28s GOT AWAY\n' "$name"
        grep -m 3 -E '^error|never reached' "$work/log" || true
        away=$((away + 1))
    fi
done
echo "$((${#patches[@]} - away)) of ${#patches[@]} noticed"
[ "$away" = 0 ]
