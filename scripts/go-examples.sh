#!/usr/bin/env bash
# The Go examples, each against servers of its own with a real failover.
#   scripts/go-examples.sh
# FAILOVER_LIBDIR=: the folder with the library and failover.pc (target/capi/dev, by scripts/library.sh dev). FAILOVER_LAB=: the program
# that starts the pair (target/debug/examples/lab, by cargo build --example lab).
set -euo pipefail
cd "$(dirname "$0")/.."

libdir=$(realpath "${FAILOVER_LIBDIR:-target/capi/dev}")
lab=$(realpath "${FAILOVER_LAB:-target/debug/examples/lab}")
for file in "$libdir/failover.pc" "$lab"; do
    if [ ! -e "$file" ]; then
        echo "go-examples.sh: $file is missing: run scripts/library.sh dev and cargo build --example lab" >&2
        exit 1
    fi
done
export PKG_CONFIG_PATH=$libdir LD_LIBRARY_PATH=$libdir GOTOOLCHAIN=local CGO_ENABLED=1
go=$(scripts/go.sh)
out=$PWD/target/go
mkdir -p "$out"
cd examples/go
# The driver as the distribution packages it, where it is there; otherwise it comes by Go's own ways.
packaged=/usr/share/gocode/src/github.com/lib/pq
cp go.mod "$out/examples.mod"
cp go.sum "$out/examples.sum"
if [ -e "$packaged/go.mod" ]; then
    GOFLAGS='' "$go" mod edit -replace "github.com/lib/pq=$packaged" -replace \
        "github.com/libfailover/libfailover/bindings/go=$PWD/../../bindings/go" "$out/examples.mod"
    export GOFLAGS="-mod=mod -modfile=$out/examples.mod" GOPROXY=off GONOSUMDB='*'
fi
"$go" vet ./...
for example in preflight pool health application; do
    echo "== examples/go/$example"
    "$go" build -o "$out/$example" "./$example"
    timeout 300 "$out/$example" -lab "$lab"
done
