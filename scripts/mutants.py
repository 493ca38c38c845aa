#!/usr/bin/env python3
"""Which small changes of the core does no test of it notice? Takes the list of cargo-mutants (`cargo install --locked cargo-mutants`) and
tries each with the incremental build of scripts/planted.py: seconds for one, where cargo needs minutes.

    scripts/mutants.py candidate.rs service/resume.rs     every mutant of these files of src/core
    scripts/mutants.py --shard 3/20                       every twentieth of all, from the third one on

A mutant is noticed by the tests beside the code or by those of tests/core, without the worlds of random histories and without the
simulator. What is left is printed; tests/planted/mutants.md says of each why it is none.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = [
    "candidate.rs", "sync_set.rs", "procedure/failover.rs", "procedure/handover.rs", "plan.rs", "knowledge.rs", "handover.rs",
    "service/resume.rs", "service/standbys.rs", "service/sync.rs", "service/branch.rs",
]  # fmt: skip


def planted():
    place = importlib.util.spec_from_file_location("planted", ROOT / "scripts" / "planted.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    module.WORK = ROOT / "target" / "mutants"
    module.LIMIT = 60
    return module


def mutants(files):
    wanted = [word for file in files for word in ("--file", f"src/core/{file}")]
    command = ["cargo", "mutants", "--list", "--json", "--diff", "--package", "failover-core", *wanted]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def changed(mutant):
    """The file with the mutant."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / mutant["file"]
        here.parent.mkdir(parents=True)
        here.write_text((ROOT / mutant["file"]).read_text())
        patch = subprocess.run(["patch", "-s", str(here)], input=mutant["diff"], text=True, capture_output=True, check=False)
        return here.read_text() if patch.returncode == 0 else None


def main(words):
    shard = None
    if "--shard" in words:
        at = words.index("--shard")
        shard = tuple(int(number) for number in words[at + 1].split("/"))
        del words[at : at + 2]
    module = planted()
    core = module.Core()
    every = mutants(words or FILES)
    if shard:
        every = every[shard[0] - 1 :: shard[1]]
    counts = {"noticed": 0, "not viable": 0, "left": 0}
    for mutant in every:
        text = changed(mutant)
        core.take(Path(mutant["file"]), text)
        found, error = core.core([], module.SLOW)
        if not error and not found:
            found, error = core.unit([])
        how = "not viable" if error or text is None else "noticed" if found else "left"
        counts[how] += 1
        if how == "left":
            print(mutant["name"], flush=True)
    viable = counts["noticed"] + counts["left"]
    print(f"{len(every)} mutants, {counts['not viable']} not viable, {counts['noticed']} of {viable} noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
