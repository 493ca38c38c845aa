#!/usr/bin/env python3
"""The licences of everything that is linked into the library, as one text for whoever passes the library on.

    scripts/licences.py [FILE…] > THIRD-PARTY.txt        FILE: more licences, such as those of system libraries that lie beside it
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = re.compile(r"^(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)
# Sources of others that a package has inside and links.
INSIDE = {"libssh2-sys": "libssh2"}
# Its texts are in the packages of every licence that it names.
OWN = "the Rust standard library (https://www.rust-lang.org), MIT OR Apache-2.0, the Rust Project contributors"


def run(*command):
    environment = {**os.environ, "CARGO_TERM_COLOR": "never"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def packages():
    """Those of the C interface's own build, without what only builds or tests it."""
    tree = run("scripts/cargo.sh", "tree", "--locked", "--package", "failover-capi", "--edges", "no-build,no-dev,no-proc-macro",
               "--prefix", "none", "--format", "{p}")
    linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    every = json.loads(run("scripts/cargo.sh", "metadata", "--locked", "--format-version", "1"))["packages"]
    for package in sorted(every, key=lambda package: package["name"]):
        if (package["name"], "v" + package["version"]) in linked and package["source"]:
            yield package


def texts(package):
    folder = Path(package["manifest_path"]).parent
    for place in (folder, folder / INSIDE.get(package["name"], ".")):
        for file in sorted(place.iterdir()):
            if NAMES.match(file.name) and file.is_file():
                yield file.read_text(errors="replace").strip()


def main():
    lines, seen, bare = [], {}, []
    for package in packages():
        name = f"{package['name']} {package['version']}, {package['license']}"
        found = list(dict.fromkeys(texts(package)))
        if not found:
            bare.append(name)
        for text in found:
            seen.setdefault(text, []).append(name)
    for file in map(Path, sys.argv[1:]):
        seen.setdefault(file.read_text(errors="replace").strip(), []).append(str(file.parent.name))
    if len(seen) < 10:
        sys.exit("licences.py: hardly any licence was found: are the sources of the packages there (cargo fetch)?")
    lines.append("What is linked into libfailover, or lies beside it, with its licences.\n")
    for name in [OWN, *bare]:
        lines.append(f"- {name}")
    for text, names in seen.items():
        lines.append("\n" + "-" * 78 + "\n" + "\n".join(f"- {name}" for name in names) + "\n\n" + text)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
