#!/usr/bin/env bash
# moto's server, a stand-in for Route 53 that checks signatures: from PyPI in target/venv/moto. Prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."

server=target/venv/moto/bin/moto_server
# Tests may ask at the same time, and an installation that was broken off is none.
mkdir -p target/venv
exec 9> target/venv/moto.lock
flock 9
if [ ! -e target/venv/moto/complete ] || ! "$server" --help > /dev/null 2>&1; then
    echo 'moto.sh: moto from PyPI into target/venv/moto' >&2
    rm -rf target/venv/moto
    python3 -m venv target/venv/moto
    target/venv/moto/bin/pip --quiet --disable-pip-version-check install 'moto[server]>=5.2,<6'
    touch target/venv/moto/complete
fi
realpath -s "$server"
