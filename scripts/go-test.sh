#!/usr/bin/env bash
# The Go binding: format, vet, its tests with the race detector and with cgo's strictest checks.
#   scripts/go-test.sh [GO-TEST-FLAG…]
# FAILOVER_LIBDIR=: the folder with the library and failover.pc (target/capi/dev, by scripts/library.sh dev).
set -euo pipefail
cd "$(dirname "$0")/.."

libdir=$(realpath "${FAILOVER_LIBDIR:-target/capi/dev}")
if [ ! -e "$libdir/failover.pc" ]; then
    echo "go-test.sh: $libdir/failover.pc is missing: run scripts/library.sh dev, or name the folder in FAILOVER_LIBDIR" >&2
    exit 1
fi
export PKG_CONFIG_PATH=$libdir LD_LIBRARY_PATH=$libdir GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=1
go=$(scripts/go.sh)
echo "== $("$go" version)"
export PATH="${go%/*}:$PATH"
unformatted=$(gofmt -l bindings/go examples/go)
if [ -n "$unformatted" ]; then
    printf 'go-test.sh: not formatted by gofmt:\n%s\n' "$unformatted" >&2
    exit 1
fi
cd bindings/go
echo '== go vet'
go vet ./...
echo '== go test -race'
go test -race -timeout 300s "$@" ./...
echo '== go test, cgocheck2'
GOEXPERIMENT=cgocheck2 go test -timeout 300s "$@" ./...
