#!/usr/bin/env bash
# The linker of the shared library, called by rustc for scripts/library.sh. rustc gives it a list of symbols without a version, beside which
# the linker takes no list with versions: that one is left out, ours (failover-….map) stays.
set -euo pipefail

arguments=()
for argument in "$@"; do
    case $argument in
    *--version-script=*/failover-*.map) arguments+=("$argument") ;;
    *--version-script=*) ;;
    *) arguments+=("$argument") ;;
    esac
done
exec "${CC:-cc}" "${arguments[@]}"
