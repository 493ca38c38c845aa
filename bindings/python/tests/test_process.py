"""The process around an engine: its end, Ctrl-C, fork, the garbage collector."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import threading
import unittest
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List

from failover import Engine, Forked, Task

from .support import HOST, LONG, UP, Case, config, run, settle, start, threads_of_package, threads_of_process

# Fewer for those who have less time.
RUNS = int(os.environ.get("RUNS", "100"))
BUSY = """
engine = make(HOST)
@engine.check("page")
def page(task):
    return True
"""
ENDINGS = {
    "simply": (BUSY + "engine.start()\nengine.wait('observed')", 0, RUNS),
    "never started": ("engine = make()", 0, 5),
    "with an exception": (BUSY + "engine.start()\nengine.next_event()\nraise ValueError('mine')", 1, 20),
    "in a with block": (BUSY + "with engine:\n    engine.next_event()\n    sys.exit(3)", 3, 10),
    "sys.exit": (BUSY + "engine.start()\nengine.next_event()\nsys.exit(3)", 3, 20),
    "os._exit": (BUSY + "engine.start()\nengine.next_event()\nos._exit(4)", 4, 20),
    "with a handler": (BUSY + "engine.on_event(lambda event: print(event.kind))\nengine.start()\ntime.sleep(0.05)", 0, 20),
    "with daemon readers": (
        BUSY
        + "engine.start()\n"
        + "for _ in range(3):\n"
        + "    threading.Thread(target=lambda: [None for event in engine.events()], daemon=True).start()\n"
        + "time.sleep(0.05)",
        0,
        20,
    ),
    "with a hanging check": (
        "engine = make(HOST)\nengine.check('page')(lambda task: time.sleep(3600))\nengine.start()\nengine.wait('task_check')",
        0,
        2,
    ),
    "two engines in cycles": (
        "one, two = make(), make()\none.other, two.other = two, one\none.start(); two.start()\none.wait('observed')",
        0,
        10,
    ),
    "logging until the end": (
        "import logging\nlogging.basicConfig(level=logging.DEBUG)\n" + BUSY + "engine.start()\nengine.wait('observed')",
        0,
        10,
    ),
}


class Ends(Case):
    def test_a_script_that_ends_without_stop_ends_cleanly(self) -> None:
        for name, (script, code, runs) in ENDINGS.items():
            with self.subTest(name), ThreadPoolExecutor(2) as pool:
                options = [("-X", "faulthandler") if at % 2 else () for at in range(runs)]
                for done in pool.map(lambda option: run(self.folder, script, *option), options):
                    self.assertEqual(done.returncode, code, done.stderr)
                    for bad in ("Fatal", "ResourceWarning", "Aborted", "panicked", "Exception ignored"):
                        self.assertNotIn(bad, done.stderr)

    def test_ctrl_c_ends_every_wait(self) -> None:
        waits = {
            "iterating": "for event in engine.events(): told(event)",
            "one event": "told(engine.next_event())\nengine.wait('two_primaries')",
            "asyncio": (
                "import asyncio\nasync def main():\n    async for event in engine.events(): told(event)\nasyncio.run(main())"
            ),
            # Python looks for signals before a sleep and not in its first moment: one that comes there waits for the sleep's end.
            "handlers": "engine.on_event(told)\nwhile True: time.sleep(0.1)",
        }
        for name, wait in waits.items():
            script = (
                "def told(event):\n    print('waiting', flush=True)\n"
                "def main():\n    engine = make(dict(UP, interval='1h'))\n    with engine:\n"
                + "\n".join("        " + line for line in wait.splitlines())
                + "\nmain()"
            )
            with self.subTest(name):
                process = start(self.folder, script)
                assert process.stdout is not None
                self.assertEqual(process.stdout.readline(), "waiting\n")
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=LONG)
                self.assertIn("KeyboardInterrupt", err)
                self.assertEqual(process.returncode, -signal.SIGINT)

    def test_a_signal_handler_may_ask_for_the_stop(self) -> None:
        script = (
            "engine = make()\nsignal.signal(signal.SIGTERM, lambda *_: engine.request_stop())\n"
            "with engine:\n    for event in engine.events():\n        print(event.kind, flush=True)"
        )
        process = start(self.folder, script)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "engine_started\n")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LONG)
        self.assertEqual((process.returncode, out.splitlines()[-1]), (0, "engine_stopped"), err)

    def test_the_hosts_signals_are_untouched(self) -> None:
        before = [signal.getsignal(number) for number in signal.valid_signals()]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        with Engine(self.config(UP)) as engine:
            engine.next_event()
            self.assertEqual([signal.getsignal(number) for number in signal.valid_signals()], before)
            self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, []), mask)


def child_uses(engine: Any, results: Any) -> None:
    try:
        engine.status()
    except Forked as error:
        results.put(str(error))


def child_makes(folder: str, results: Any) -> None:
    with Engine(config(folder, UP)) as engine:
        results.put(engine.wait("observed", timeout=LONG).kind)


class Forks(Case):
    def test_a_child_is_refused_at_once_and_ends(self) -> None:
        engine = Engine(self.config(HOST))
        engine.check("page")(lambda task: True)
        breaker_calls: List[Any] = [
            engine.status,
            engine.start,
            engine.stop,
            engine.pause,
            engine.next_event,
            lambda: next(iter(engine.events())),
            lambda: engine.on_event(print),
            lambda: engine.check("page")(lambda task: True),
            lambda: engine.complete_task(1, None),  # type: ignore[arg-type]
        ]
        with engine:
            engine.wait("observed", timeout=LONG)
            child = os.fork()
            if child == 0:
                refused = 0
                for call in breaker_calls:
                    try:
                        call()
                    except Forked:
                        refused += 1
                engine.request_stop()
                engine.close()
                del engine
                gc.collect()
                os._exit(0 if refused == len(breaker_calls) else 1)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            engine.wait("observed", timeout=LONG)

    def test_a_child_that_ends_like_a_program(self) -> None:
        script = (
            BUSY
            + "engine.start()\nengine.wait('observed')\n"
            + "child = os.fork()\n"
            + "if child:\n    assert os.waitpid(child, 0)[1] == 0\n    engine.wait('observed')\n    engine.close()\n    print('parent')\n"
            + "else:\n    own = make()\n    with own:\n        own.wait('observed')\n    print('child')\n"
        )
        for ending in ("", "sys.exit(0)"):
            done = run(self.folder, script + ending)
            self.assertEqual((done.returncode, sorted(done.stdout.split())), (0, ["child", "parent"]), done.stderr)

    def test_while_other_threads_are_inside(self) -> None:
        script = (
            BUSY
            + "engine.start()\n"
            + "def ask():\n    while True:\n        engine.status(); engine.next_event(0)\n"
            + "for _ in range(3): threading.Thread(target=ask, daemon=True).start()\n"
            + "for _ in range(20):\n"
            + "    child = os.fork()\n"
            + "    if child == 0:\n"
            + "        try: engine.status()\n"
            + "        except failover.Forked: sys.exit(0)\n"
            + "        sys.exit(1)\n"
            + "    assert os.waitpid(child, 0)[1] == 0\n"
        )
        done = run(self.folder, script)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_multiprocessing(self) -> None:
        fork, spawn = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
        with Engine(self.config(UP)) as engine:
            engine.next_event()
            forked = fork.Queue()
            process = fork.Process(target=child_uses, args=(engine, forked))
            process.start()
            self.assertIn("make the engine after it", forked.get(timeout=LONG))
            process.join(LONG)
            self.assertEqual(process.exitcode, 0)
            for at, context in enumerate((fork, spawn)):
                own = self.folder / f"own-{at}"
                own.mkdir(mode=0o700)
                results = context.Queue()
                worker = context.Process(target=child_makes, args=(str(own), results))  # type: ignore[attr-defined]
                worker.start()
                self.assertEqual(results.get(timeout=LONG), "observed")
                worker.join(LONG)
                self.assertEqual(worker.exitcode, 0)
            engine.wait("observed", timeout=LONG)

    def test_a_child_that_outlives_its_parent_holds_no_state_directory(self) -> None:
        document = self.config(UP)
        script = (
            "import json\nengine = Engine(json.loads(sys.stdin.readline()))\nengine.start()\n"
            "child = os.fork()\n"
            "if child == 0:\n    sys.stdin.read()\n    os._exit(0)\n"
            "print(child, flush=True)\ntime.sleep(3600)"
        )
        process = start(self.folder, script, stdin=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        try:
            process.stdin.write(json.dumps(document) + "\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            process.kill()
            process.wait(LONG)
            os.kill(child, 0)
            # The next engine of that directory.
            with Engine(document) as engine:
                engine.wait("engine_started", timeout=LONG)
            os.kill(child, 0)
        finally:
            process.kill()
            process.wait(LONG)
            # Its end of file is the child's end.
            for stream in (process.stdin, process.stdout, process.stderr):
                stream.close()

    def test_a_preforking_server(self) -> None:
        script = (
            "children = []\n"
            "for _ in range(3):\n"
            "    child = os.fork()\n"
            "    if child == 0:\n"
            "        with make() as engine:\n"
            "            engine.wait('observed')\n"
            "        sys.exit(7)\n"
            "    children.append(child)\n"
            "assert [os.waitpid(child, 0)[1] >> 8 for child in children] == [7, 7, 7]\n"
        )
        done = run(self.folder, script)
        self.assertEqual(done.returncode, 0, done.stderr)


class Collected(Case):
    def test_a_dropped_engine_is_stopped_and_complained_about(self) -> None:
        threads = threads_of_process()
        engine = Engine(self.config(HOST))
        engine.check("page")(lambda task: True)
        engine.start()
        engine.wait("observed", timeout=LONG)
        core = engine._core
        gone = weakref.ref(engine)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del engine
        self.assertIsNone(gone())
        self.assertEqual([warning.category for warning in caught], [ResourceWarning])
        for thread in [core._poller, *core._served, *core._check_pool.threads]:
            assert thread is not None
            thread.join(LONG)
            self.assertFalse(thread.is_alive())
        settle(lambda: threads_of_process() == threads)
        self.assertEqual(core._owned, [])

    def test_a_check_that_outlives_it_hurts_nobody(self) -> None:
        def hangs(task: Task) -> bool:
            inside.set()
            return leave.wait(LONG)

        for stopped in (False, True):
            engine = Engine(self.config(HOST))
            inside, leave = threading.Event(), threading.Event()
            engine.check("page")(hangs)
            engine.start()
            self.assertTrue(inside.wait(LONG))
            core = engine._core
            with warnings.catch_warnings(record=True):
                warnings.simplefilter("always")
                if stopped:
                    engine.stop()
                del engine
            assert core._poller is not None
            core._poller.join(LONG)
            self.assertEqual(core._owned, [])
            leave.set()
            self.assertTrue(core._check_pool.join(LONG))

    def test_one_that_does_not_run_is_simply_freed(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            never = Engine(self.config(UP))
            core = never._core
            del never
            self.assertEqual(core._owned, [])
            stopped = Engine(self.config(UP))
            stopped.start()
            stopped.stop()
            core = stopped._core
            del stopped
            self.assertEqual(core._owned, [])
        self.assertEqual(threads_of_package(), [])

    def test_iterating_keeps_it(self) -> None:
        def engine() -> Engine:
            made = Engine(self.config(UP))
            made.start()
            return made

        seen = 0
        events = engine().events()
        for _ in events:
            seen += 1
            if seen == 3:
                break
        events._engine.close()
        self.assertEqual(seen, 3)

    def test_in_a_cycle(self) -> None:
        engine = Engine(self.config(UP))
        core = engine._core
        engine.me = engine  # type: ignore[attr-defined]
        engine.start()
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            del engine
            gc.collect()
        self.assertTrue(core._polled.wait(LONG))


if __name__ == "__main__":
    unittest.main()
