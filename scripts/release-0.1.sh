#!/usr/bin/env bash
# The program of release 0.1, and its failover-host, built from the history: target/0.1/failover, target/0.1/failover-host. The tests of
# an upgrade run them (tests/upgrade.rs).
#
# Built once, in less than a minute behind a build of the tests; afterwards this takes no time. Ends with 77 where the history is not
# there (a source archive, a shallow clone): then those tests are skipped. Any other end but 0 is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=5085af877dd46de4734549bd5e869a63691b16d8
place=target/0.1

if [ "$(cat "$place/commit" 2>/dev/null)" = "$commit" ] && [ -x "$place/failover" ] && [ -x "$place/failover-host" ]; then
    exit 0
fi
if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
    echo "SKIPPED: the commit of release 0.1 is not in this repository's history, so the tests of an upgrade do not run" >&2
    exit 77
fi
echo '== release 0.1 (built once, about a minute)'
rm -rf "$place"
mkdir -p "$place/source"
git archive "$commit" | tar -x -C "$place/source"
# Below target it would be taken for a part of this workspace.
printf '\n[workspace]\n' >>"$place/source/Cargo.toml"
# What both have in common is built already; and nothing of Route 53 or signed DNS is needed.
mkdir -p "$place/build/debug"
for part in build deps .fingerprint; do
    [ ! -d "target/debug/$part" ] || cp -al "target/debug/$part" "$place/build/debug/"
done
scripts/cargo.sh build --locked --quiet --no-default-features --features cli,ssh --bin failover --manifest-path "$place/source/Cargo.toml" --target-dir "$place/build"
cp "$place/build/debug/failover" "$place/source/contrib/failover-host" "$place/"
# A gigabyte that nobody needs any more.
rm -rf "$place/source" "$place/build"
echo "$commit" >"$place/commit"
