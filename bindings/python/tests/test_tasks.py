"""Checks and actions that the program answers."""

from __future__ import annotations

import json
import threading
import unittest
from typing import Any, List

from failover import Answer, Done, Engine, InvalidArgument, NoEffect, Reentrant, StateError, Task, Unknown, UnknownTask
from failover.tasks import TaskResult, action_answer, check_answer

from .support import HOST, LONG, UP, Case


class Answers(unittest.TestCase):
    def test_only_a_good_answer_is_good(self) -> None:
        self.assertEqual(check_answer(True), Answer.up())
        self.assertEqual(check_answer(False), Answer.down())
        self.assertEqual(check_answer(Answer.impaired("x")), Answer(TaskResult.IMPAIRED, "x"))
        for odd in (None, 1, "up", object(), [True]):
            self.assertEqual(check_answer(odd).result, TaskResult.UNKNOWN)
        self.assertEqual(action_answer(Done), Answer(TaskResult.DONE))
        self.assertEqual(action_answer(Done("it was")), Answer(TaskResult.DONE, "it was"))
        self.assertEqual(action_answer(NoEffect("no")), Answer(TaskResult.NO_EFFECT, "no"))
        self.assertEqual(action_answer(Unknown).result, TaskResult.UNKNOWN)
        for odd in (None, True, 5, Answer.up()):
            self.assertEqual(action_answer(odd).result, TaskResult.UNKNOWN)


class Checks(Case):
    def verdict(self, function: Any, **options: Any) -> Any:
        """What the engine observed when its check was answered by `function`."""
        engine = Engine(self.config(HOST, **options))
        engine.check("page")(function)
        with engine:
            return engine.wait("observed", timeout=LONG)

    def test_answers_arrive(self) -> None:
        cases = [
            (lambda task: True, "up", ""),
            (lambda task: False, "down", ""),
            (lambda task: Answer.down("äöü"), "down", "äöü"),
            (lambda task: Answer.impaired("full"), "impaired", "full"),
            (lambda task: Answer.unknown("dark"), "unknown", "dark"),
            (lambda task: None, "unknown", "returned nothing"),
            (lambda task: Answer.up("x" * 5000), "up", "x" * 1000),
        ]
        for function, verdict, detail in cases:
            seen = self.verdict(function)
            self.assertEqual(seen.fields["verdict"], verdict)
            self.assertIn(detail, seen.message)

    def test_an_exception_is_unknown_and_says_why(self) -> None:
        def raises(task: Task) -> bool:
            raise ConnectionError("no way there")

        def exits(task: Task) -> bool:
            raise SystemExit(1)

        with self.assertLogs("failover", "WARNING"):
            seen = self.verdict(raises)
            self.assertEqual(seen.fields["verdict"], "unknown")
            self.assertIn("ConnectionError: no way there", seen.message)
            self.assertIn("SystemExit", self.verdict(exits).message)

    def test_the_task_tells_what_is_asked(self) -> None:
        tasks: List[Task] = []

        def check(task: Task) -> bool:
            tasks.append(task)
            return 0 < task.remaining < LONG

        self.assertEqual(self.verdict(check).fields["verdict"], "up")
        task = tasks[0]
        self.assertEqual((task.name, task.service, task.server, task.generation), ("page", "site", "web1", 0))

    def test_one_that_hangs_is_unknown_and_holds_nothing_up(self) -> None:
        leave = threading.Event()
        calls: List[Task] = []

        def hangs(task: Task) -> bool:
            calls.append(task)
            leave.wait(LONG)
            return True

        engine = Engine(self.config(HOST, timeout="50ms"))
        engine.check("page")(hangs)
        with engine:
            for _ in range(3):
                self.assertEqual(engine.wait("observed", timeout=LONG).fields["verdict"], "unknown")
            # Asked again and again, it is called once.
            self.assertEqual(len(calls), 1)
            leave.set()
            while engine.wait("observed", timeout=LONG).fields["verdict"] != "up":
                pass

    def test_a_stop_does_not_wait_for_one_that_hangs(self) -> None:
        leave, inside = threading.Event(), threading.Event()

        def hangs(task: Task) -> bool:
            inside.set()
            return leave.wait(LONG)

        engine = Engine(self.config(HOST))
        engine.check("page")(hangs)
        with engine:
            self.assertTrue(inside.wait(LONG))
        leave.set()

    def test_unanswered_ones_are_the_programs_to_answer(self) -> None:
        engine = Engine(self.config(HOST))
        self.assertEqual(engine.status().host_functions, {"page": None})
        engine.offer_check("page")
        self.assertEqual(engine.status().host_functions, {"page": "tasks"})
        with self.assertLogs("failover", "WARNING") as logged, engine:
            task = engine.wait("task_check", timeout=LONG)
            number = task.fields["task_id"]
            engine.complete_task(number, Answer.up("by hand"))
            self.assertIn("by hand", engine.wait("observed", timeout=LONG).message)
            for wrong in (number, 2**64 - 1):
                with self.assertRaises(UnknownTask):
                    engine.complete_task(wrong, Answer.up())
        self.assertIn("complete_task", logged.output[0])

    def test_registered_late(self) -> None:
        engine = Engine(self.config(HOST, timeout="50ms"))
        engine.offer_check("page")
        with self.assertLogs("failover", "WARNING"), engine:
            engine.wait("task_check", timeout=LONG)

            @engine.check("page")
            def page(task: Task) -> bool:
                return True

            while engine.wait("observed", timeout=LONG).fields["verdict"] != "up":
                pass

    def test_a_wrong_name_is_refused(self) -> None:
        for check in (HOST, UP, {"kind": "host", "function": "mine"}):
            file = self.folder / "failover.json"
            file.write_text(json.dumps(self.config(check)))
            for engine in (Engine(self.config(check)), Engine(file)):
                with self.assertRaisesRegex(InvalidArgument, "pgae"):
                    engine.check("pgae")(lambda task: True)
                engine.close()

    def test_what_nobody_answers_is_refused_at_start_and_reload(self) -> None:
        engine = Engine(self.config({"kind": "host", "function": "mine"}))
        with self.assertRaisesRegex(InvalidArgument, "mine"):
            engine.start()
        engine.close()
        before = self.config(UP)
        after = dict(self.config(HOST), state_dir=before["state_dir"])
        with Engine(before) as engine:
            with self.assertRaisesRegex(InvalidArgument, "page"):
                engine.reload(after)
            engine.check("page")(lambda task: Answer.up("a late one"))
            engine.reload(after)
            while "a late one" not in engine.wait("observed", timeout=LONG).message:
                pass

    def test_a_right_name_is_called(self) -> None:
        engine = Engine(self.config({"kind": "host", "function": "mine"}))
        engine.check("mine")(lambda task: True)
        with engine:
            self.assertEqual(engine.wait("observed", timeout=LONG).fields["verdict"], "up")

    def test_what_cannot_be_called_is_refused(self) -> None:
        engine = Engine(self.config(HOST))

        async def waits(task: Task) -> bool:
            return True

        for wrong in (lambda: True, lambda a, b: True, 7, waits):
            with self.assertRaises(TypeError):
                engine.check("page")(wrong)  # type: ignore[type-var]
            with self.assertRaises(TypeError):
                engine.action("fence")(wrong)  # type: ignore[type-var]
        engine.close()

    def test_stop_is_refused_inside(self) -> None:
        caught: List[BaseException] = []

        def stops(task: Task) -> bool:
            try:
                engine.stop()
            except Reentrant as error:
                caught.append(error)
            engine.request_stop()
            return True

        engine = Engine(self.config(HOST))
        engine.check("page")(stops)
        with engine:
            engine.wait("engine_stopped", timeout=LONG)
        self.assertEqual(len(caught), 1)


class Actions(Case):
    def test_registration(self) -> None:
        engine = Engine(self.config(UP))
        with self.assertRaises(InvalidArgument):
            engine.action("dance")(lambda task: Done)
        with self.assertRaises(InvalidArgument):
            engine.offer_action("dance")
        for step in ("pre_checks", "route_out", "route_restore", "fence", "promote", "route_in"):
            engine.action(step)(lambda task: Done)
        engine.offer_action("fence")
        with engine:
            with self.assertRaises(StateError):
                engine.action("fence")(lambda task: Done)


if __name__ == "__main__":
    unittest.main()
