"""What the tests share. None of them needs a server, but for test_failover."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
HEADER = ROOT / "include" / "failover.h"

# Of a wait that is expected to end at once: only a broken test waits this long.
LONG = 60.0

UP: Dict[str, Any] = {"kind": "scripted", "answers": ["up"]}
FLAPS: Dict[str, Any] = {"kind": "scripted", "answers": ["up", "up", "down", "down", "down", "up", "up"]}
HOST: Dict[str, Any] = {"kind": "host"}


def config(state_dir: str, check: Dict[str, Any], interval: str = "50ms", timeout: str = "1.5s") -> Dict[str, Any]:
    """One application on one server with one check, called "page"."""
    return {
        "version": 1,
        "state_dir": state_dir,
        "services": [
            {
                "name": "site",
                "kind": "application",
                "servers": [{"name": "web1", "role": "primary", "host": "127.0.0.1"}],
                "checks": [{"name": "page", "server": "web1", "interval": interval, "timeout": timeout, **check}],
            }
        ],
    }


def switchable(state_dir: Path) -> Dict[str, Any]:
    """One application on two servers, both well, with a route that a command moves."""
    document = config(str(state_dir / "switchable"), UP)
    (state_dir / "switchable").mkdir(mode=0o700)
    site = document["services"][0]
    site["servers"].append({"name": "web2", "host": "127.0.0.2"})
    site["checks"].append({**site["checks"][0], "name": "page2", "server": "web2"})
    site["route"] = {"command": [{"name": "balancer", "command": ["/bin/true"]}]}
    return document


class Case(unittest.TestCase):
    """A test with a folder of its own for state directories."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="failover-python-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self._states = 0

    def config(self, check: Dict[str, Any], **times: str) -> Dict[str, Any]:
        self._states += 1
        state = self.folder / f"state-{self._states}"
        state.mkdir(mode=0o700)
        return config(str(state), check, **times)


def threads_of_package() -> List[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("failover-"))


def threads_of_process() -> int:
    return len(os.listdir("/proc/self/task"))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# What a script of `run` begins with: `make(check)` gives an engine with a state directory of its own.
PREAMBLE = """
import os, signal, sys, tempfile, threading, time
from tests.support import UP, FLAPS, HOST, config
import failover
from failover import Engine, EventKind
def make(check=UP):
    return Engine(config(tempfile.mkdtemp(dir=sys.argv[1]), check))
"""


def environment() -> Dict[str, str]:
    paths = [str(HERE.parent), *(path for path in sys.path if path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def start(folder: Path, script: str, *options: str, stdin: Optional[int] = None) -> "subprocess.Popen[str]":
    """A Python of its own with this script; its first argument is a folder."""
    command = [sys.executable, *options, "-c", PREAMBLE + script, str(folder)]
    return subprocess.Popen(
        command, env=environment(), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder: Path, script: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """The same, waited for."""
    process = start(folder, script, *options)
    try:
        out, err = process.communicate(timeout=LONG)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it hangs; so far: {out}{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def settle(condition: Callable[[], bool]) -> None:
    """Waits for what the system does by itself: a thread that was joined is listed for a moment longer."""
    end = time.monotonic() + LONG
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it never came to that")
        os.sched_yield()
