#!/usr/bin/env python3
"""Does any test find anything? Plants one bug at a time (tests/planted/*.toml) and asks the test that has to catch it.

    scripts/planted.py --check              is each text still there, and once? Plants nothing, takes a second
    scripts/planted.py                      all bugs
    scripts/planted.py pause_ignored ...    these, or whole files: route.toml
    scripts/planted.py --shard 2/5          every fifth, from the second one on
    scripts/planted.py --who pause_ignored  everything in the core that notices, not only the catcher that is named

A bug is a text of the sources and what stands there instead, wherever it stands: it outlives a move, and any other wrapping of its
lines. `caught` names what has to notice, by itself:

    unit NAME          a test beside the code of the core
    core NAME          a test of tests/core
    scenario FILE      a file of tests/scenarios
    simulator NAME     an invariant of the simulator, in 4,000 seeds at most (SEEDS)
    lib NAME           a test beside the code of the library
    test TARGET NAME   a test of tests/TARGET.rs; `test failover-cli/TARGET NAME` of another package
    c NAME             a test of tests/c/suite.c

Needs Python 3.11. The core is built apart and incrementally in target/planted, so that one bug takes seconds; the rest is copied there
as well, so that the sources are never touched.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "planted"
SEEDS = int(os.environ.get("SEEDS", "4000"))
LIMIT = int(os.environ.get("LIMIT", "600"))
KINDS = {"unit": 1, "core": 1, "scenario": 1, "simulator": 1, "lib": 1, "test": 2, "c": 1}
# Worlds of random histories: minutes without optimisation, so they are run by name only.
SLOW = ["application::an_application_keeps", "follow::in_every_world", "properties::"]


def sources():
    """Every text in which a bug may be planted, by its path."""
    paths = sorted((ROOT / "src").rglob("*.rs")) + [ROOT / "contrib" / "failover-host"]
    return {path.relative_to(ROOT): path.read_text() for path in paths}


def folded(text):
    return " ".join(text.split())


def bugs():
    for path in sorted((ROOT / "tests" / "planted").glob("*.toml")):
        for bug in tomllib.loads(path.read_text()).get("bug", []):
            yield {**bug, "file": path.name}


def functions():
    """The names of all tests, of every file of tests and sources."""
    names = set()
    for path in [*(ROOT / "src").rglob("*.rs"), *(ROOT / "tests").rglob("*.rs")]:
        names.update(re.findall(r"\bfn ([a-z0-9_]+)\(", path.read_text()))
    names.update(re.findall(r"\b(\w+)\(void\)", (ROOT / "tests" / "c" / "suite.c").read_text()))
    return names


def check(every):
    """What is wrong with the list itself."""
    wrong = []
    texts = {path: folded(text) for path, text in sources().items()}
    rules = set(re.findall(r"^\*\*(\d+)\. ", (ROOT / "docs" / "RULES.md").read_text(), re.M))
    known, names, covered = functions(), set(), set()
    invariants = (ROOT / "tests" / "sim").glob("*.rs")
    invariants = set(re.findall(r'"([a-z_]+)"', "".join(path.read_text() for path in invariants)))
    for bug in every:
        place = f"{bug['file']}: {bug.get('name')}"
        missing = [key for key in ("name", "what", "text", "by", "caught") if not isinstance(bug.get(key), str)]
        if missing or "rules" not in bug and "words" not in bug:
            wrong.append(f"{place}: has no {', '.join(missing) or 'rules, nor words'}")
            continue
        if bug["name"] in names:
            wrong.append(f"{place}: two bugs have this name")
        names.add(bug["name"])
        for rule in bug.get("rules", []):
            covered.add(str(rule))
            if str(rule) not in rules:
                wrong.append(f"{place}: rule {rule} is not in docs/RULES.md")
        text = folded(bug["text"])
        times = sum(whole.count(text) for whole in texts.values())
        if times != 1:
            wrong.append(f"{place}: its text is in the sources {times} times, and has to be there once: {text}")
        if text == folded(bug["by"]):
            wrong.append(f"{place}: changes nothing")
        kind, *rest = bug["caught"].split()
        if len(rest) != KINDS.get(kind):
            wrong.append(f"{place}: `{bug['caught']}` names no catcher (see the head of scripts/planted.py)")
        elif kind == "scenario" and not (ROOT / "tests" / "scenarios" / rest[0]).exists():
            wrong.append(f"{place}: there is no scenario {rest[0]}")
        elif kind == "simulator" and rest[0] not in invariants and rest[0] not in known:
            wrong.append(f"{place}: the simulator has no invariant {rest[0]}")
        elif kind in ("unit", "core", "lib", "test", "c") and rest[-1] not in known:
            wrong.append(f"{place}: there is no test {rest[-1]}")
    if len(every) == len(list(bugs())):
        left = sorted(rules - covered, key=int)
        if left:
            wrong.append(f"no bug is planted against these rules of docs/RULES.md: {', '.join(left)}")
    return wrong


def planted(bug):
    """The file that changes, and its text with the bug."""
    pattern = re.compile(r"\s+".join(re.escape(word) for word in bug["text"].split()))
    for path, text in sources().items():
        if pattern.search(text):
            return path, pattern.sub(lambda _: bug["by"].strip("\n"), text, count=1)
    raise SystemExit(f"{bug['name']}: its text is nowhere")


def run(command, limit=None, **environment):
    """How a command ended, and everything it said. One that does not end is stopped, and has no code."""
    # Into a file: what a test leaves running would hold a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=environment.pop("cwd", ROOT),
            env={**os.environ, "RUST_BACKTRACE": "0", **environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=limit or LIMIT)
        except subprocess.TimeoutExpired:
            code = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        said.seek(0)
        return code, said.read()


def failed(code, said):
    """The names of the tests that failed, of what a test program says; and what it came to where it says nothing of one."""
    names = [name.split("::")[-1] for name in re.findall(r"^test (\S+) \.\.\. FAILED", said, re.M)]
    return names or ([] if code == 0 else ["(no end)" if code is None else f"(ended with {code})"])


def libraries(line):
    """The crate that a line of cargo tells of, and its file."""
    if not line.startswith('{"reason":"compiler-artifact"'):
        return
    told = json.loads(line)
    for file in told["filenames"]:
        if file.endswith(".rlib"):
            yield told["target"]["name"].replace("-", "_"), file


class Core:
    """The core with a bug, built with rustc alone: its dependencies are those that cargo has built for the tests."""

    def __init__(self):
        tool = [ROOT / "scripts" / "cargo.sh"]
        code, said = run([*tool, "test", "--locked", "--package", "failover-core", "--no-run", "--message-format", "json-render-diagnostics"])
        if code != 0:
            raise SystemExit(f"the core does not build as it is:\n{said}")
        # Other builds leave crates of the same names there, with other features.
        built = dict(artifact for line in said.splitlines() for artifact in libraries(line))
        dependencies = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "deps"
        self.base = [*tool, "--edition", "2024", "-A", "warnings", "-L", f"dependency={dependencies}"]
        for name in ("serde", "serde_json", "proptest", "expect_test", "humantime"):
            self.base += ["--extern", f"{name}={built[name]}"]
        self.home = WORK / "core"
        self.home.mkdir(parents=True, exist_ok=True)

    def take(self, path=None, text=None):
        """Copies the core, with one file as it is with the bug. What is the same keeps its place in the incremental build."""
        for source in (ROOT / "src" / "core").rglob("*.rs"):
            here = source.relative_to(ROOT)
            target = self.home / here.relative_to("src/core")
            target.parent.mkdir(parents=True, exist_ok=True)
            wanted = text if here == path else source.read_text()
            if not target.exists() or target.read_text() != wanted:
                target.write_text(wanted)

    def build(self, name, level, source, *flags):
        """A program or the library, optimised so far; what two levels build does not meet."""
        home = WORK / f"optimised-{level}"
        options = [f"opt-level={level}", "debug-assertions=on", "codegen-units=64", f"incremental={home}/{name}.incremental"]
        flags = [*flags, *(word for option in options for word in ("-C", option)), "--out-dir", home]
        if name in ("core_tests", "simulator"):
            flags += ["--test", "--extern", f"failover_core={home / 'libfailover_core.rlib'}"]
        environment = {"TOOL": "rustc", "CARGO_MANIFEST_DIR": str(ROOT / "src" / "core")}
        code, said = run([*self.base, *flags, "--crate-name", name, source], **environment)
        return home / name, None if code == 0 else said

    def library(self, level):
        return self.build("failover_core", level, self.home / "lib.rs", "--crate-type", "rlib")[1]

    def unit(self, wanted):
        """The tests beside the code that fail."""
        program, error = self.build("unit", 0, self.home / "lib.rs", "--test")
        return (None, error) if error else (failed(*run([program, *wanted])), "")

    def core(self, wanted, skip=()):
        """The tests of tests/core that fail, and the scenarios that say something else."""
        error = self.library(0)
        if not error:
            program, error = self.build("core_tests", 0, ROOT / "tests" / "core" / "tests.rs")
        if error:
            return None, error
        skipped = [word for name in skip for word in ("--skip", name)]
        code, said = run([program, *wanted, *skipped], cwd=ROOT / "src" / "core")
        return failed(code, said) + re.findall(r"/tests/scenarios/([a-z_0-9]+\.txt):", said), ""

    def simulator(self, wanted):
        """The invariants that break, until the wanted one does."""
        error = self.library(1)
        if not error:
            program, error = self.build("simulator", 1, ROOT / "tests" / "core" / "simulator.rs")
        if error:
            return None, error
        found, first, count = [], 1, 100
        while first <= SEEDS:
            count = min(count, SEEDS - first + 1)
            environment = {"FIRST": str(first), "SEEDS": str(count), "ALL": "1"}
            code, said = run([program, "--nocapture"], **environment)
            for name in re.findall(r"^(?:.*')?seed \d+ breaks ([a-z_]+)", said, re.M):
                if name not in found:
                    found.append(name)
            if code != 0 and not found:
                found.append("(" + (re.findall(r"^(reached, .*|.*panicked.*)", said, re.M) or ["no end"])[0] + ")")
            if wanted in found or not wanted and found:
                break
            first, count = first + count, count * 2
        return found, ""


class Whole:
    """The whole repository with a bug, built by cargo."""

    def __init__(self):
        self.home = WORK / "whole"
        self.home.mkdir(parents=True, exist_ok=True)
        for beside in ROOT.iterdir():
            link = self.home / beside.name
            if beside.name in ("src", "contrib", "target", ".git"):
                continue
            if not link.is_symlink():
                link.symlink_to(beside)

    def take(self, path=None, text=None):
        for folder in ("src", "contrib"):
            for source in (ROOT / folder).rglob("*"):
                if not source.is_file():
                    continue
                here = source.relative_to(ROOT)
                target = self.home / here
                target.parent.mkdir(parents=True, exist_ok=True)
                wanted = text.encode() if here == path else source.read_bytes()
                if not target.exists() or target.read_bytes() != wanted:
                    target.write_bytes(wanted)
                    shutil.copymode(source, target)

    def test(self, kind, rest):
        environment = {"CARGO_TARGET_DIR": str(WORK / "cargo"), "CARGO_BUILD_JOBS": os.environ.get("CARGO_BUILD_JOBS", "2")}
        if kind == "c":
            quick = {"VALGRIND": "0", "ASAN": "0"}
            code, said = run([self.home / "tests" / "c" / "run.sh"], limit=1800, cwd=self.home, **environment, **quick)
            return (rest if code != 0 and rest[0] in said else []), said
        package, _, target = rest[0].rpartition("/") if kind == "test" else ("", "", "")
        what = ["--lib"] if kind == "lib" else ["--test", target]
        what += ["--package", package] if package else []
        command = [self.home / "scripts" / "cargo.sh", "test", "--locked", *what, "--", rest[-1]]
        code, said = run(command, limit=1800, cwd=self.home, **environment)
        if "error: could not compile" in said:
            return None, said
        return failed(code, said), said


def asked(bug, core, whole):
    """What noticed, of what is named; None and why where it does not build."""
    path, text = planted(bug)
    kind, *rest = bug["caught"].split()
    if kind in ("lib", "test", "c"):
        whole().take(path, text)
        return whole().test(kind, rest)
    core().take(path, text)
    if kind == "unit":
        return core().unit([rest[0]])
    if kind == "core":
        return core().core([rest[0]])
    if kind == "scenario":
        return core().core(["every_scenario_says_what_its_file_says"])
    return core().simulator(rest[0])


def who(bug, core):
    """Everything in the core that notices."""
    core().take(*planted(bug))
    lists = [core().unit([]), core().core([], SLOW), core().simulator("")]
    error = next((error for _, error in lists if error), "")
    return error or "; ".join(
        f"{kind} {' '.join(name for name in found if name != 'every_scenario_says_what_its_file_says')}"
        for kind, (found, _) in zip(("unit:", "core:", "simulator:"), lists)
        if found
    )


def main(words):
    every = list(bugs())
    wrong = check(every)
    if wrong:
        print("\n".join(wrong))
        return 1
    if "--check" in words:
        print(f"{len(every)} planted bugs, each text once in the sources, against every rule")
        return 0
    everybody = "--who" in words
    words = [word for word in words if word != "--who"]
    if "--shard" in words:
        at = words.index("--shard")
        which, of = (int(number) for number in words[at + 1].split("/"))
        del words[at : at + 2]
        every = every[which - 1 :: of]
    unknown = set(words) - {bug["name"] for bug in every} - {bug["file"] for bug in every}
    if unknown:
        print(f"no such bug: {', '.join(sorted(unknown))}")
        return 2
    every = [bug for bug in every if not words or bug["name"] in words or bug["file"] in words]
    core, whole = functools.cache(Core), functools.cache(Whole)
    away = []
    print(f"{'PLANTED':36} {'CAUGHT BY':70} SECONDS", flush=True)
    for bug in every:
        began = time.monotonic()
        if everybody:
            print(f"{bug['name']:36} {who(bug, core) or 'NOBODY'}", flush=True)
            continue
        found, error = asked(bug, core, whole)
        wanted = bug["caught"].split()[-1]
        spent = time.monotonic() - began
        if found is None:
            lines = [line for line in error.splitlines() if line.startswith("error")]
            print(f"{bug['name']:36} DOES NOT BUILD: {'; '.join(lines[:2])}", flush=True)
            away.append(bug["name"])
        elif wanted in found:
            print(f"{bug['name']:36} {bug['caught']:70} {spent:.0f}", flush=True)
        else:
            others = " ".join(found)
            if bug["caught"].split()[0] not in ("lib", "test", "c"):
                others = who(bug, core)
            print(f"{bug['name']:36} GOT AWAY from {bug['caught']}; caught by {others or 'nobody'}", flush=True)
            away.append(bug["name"])
    if not everybody:
        print(f"{len(every) - len(away)} of {len(every)} caught")
    return 1 if away else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
