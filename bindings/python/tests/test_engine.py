"""An engine's life, its commands, errors and status."""

from __future__ import annotations

import json
import pickle
import threading
import unittest
from ctypes import byref
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Callable, List

from failover import (
    CircuitBreaker,
    Code,
    ConfigError,
    Done,
    Engine,
    EventKind,
    FailoverError,
    InvalidArgument,
    Outcome,
    Rejected,
    StateError,
    Status,
    Timeout,
)
from failover._library import lib
from failover._signatures import StatusHandle

from .support import FLAPS, HOST, LONG, UP, Case, descriptors, settle, threads_of_package, switchable, threads_of_process


class Life(Case):
    def test_events_come_in_order_and_end(self) -> None:
        seen = []
        healths = 0
        with Engine(self.config(FLAPS)) as engine:
            for event in engine.events():
                seen.append(event)
                healths += event.kind == "health_changed"
                if healths == 3:
                    engine.request_stop()
        self.assertEqual([event.kind for event in seen if event.kind.startswith("engine_")], ["engine_started", "engine_stopped"])
        numbers = [event.seq for event in seen]
        self.assertEqual(numbers, list(range(1, len(seen) + 1)))
        change = next(event for event in seen if event.kind is EventKind.HEALTH_CHANGED)
        self.assertEqual((change.service, change.server, change.generation), ("site", "web1", 0))
        self.assertEqual(change.fields["to"], "healthy")
        self.assertGreater(change.mono_ns, 0)
        self.assertIsNotNone(change.time.tzinfo)
        self.assertEqual(pickle.loads(pickle.dumps(change)), change)
        self.assertEqual(hash(change), hash(pickle.loads(pickle.dumps(change))))

    def test_a_configuration_is_a_dict_a_text_or_a_path(self) -> None:
        as_dict = self.config(UP)
        as_dict["state_dir"] = Path(as_dict["state_dir"])
        text = json.dumps(self.config(UP))
        json_file, toml_file = self.folder / "failover.json", self.folder / "failover.toml"
        json_file.write_text(json.dumps(self.config(UP)))
        toml_file.write_text(
            f'version = 1\nstate_dir = "{self.config(UP)["state_dir"]}"\n[[services]]\nname = "site"\nkind = "application"\n'
            'servers = [{ name = "web1", role = "primary", host = "127.0.0.1" }]\n'
            'checks = [{ name = "page", server = "web1", kind = "scripted", answers = ["up"] }]\n'
        )
        engines = [Engine(as_dict), Engine(text), Engine(json_file), Engine(toml_file), Engine.from_file(str(toml_file))]
        for engine in engines[:4]:
            with engine:
                self.assertEqual(engine.status().service("site").kind, "application")
        engines[4].close()
        with self.assertRaises(TypeError):
            Engine(7)  # type: ignore[arg-type]

    def test_an_engine_starts_once_and_stops_again_and_again(self) -> None:
        engine = Engine(self.config(UP))
        with self.assertRaises(StateError):
            engine.confirm("site")
        engine.start()
        with self.assertRaises(StateError):
            engine.start()
        engine.stop()
        engine.stop(0)
        with self.assertRaises(StateError):
            engine.start()
        with self.assertRaises(StateError):
            engine.pause()
        self.assertEqual(engine.status().engine, "stopped")
        engine.close()
        engine.close()
        engine.request_stop()
        with self.assertRaisesRegex(StateError, "closed"):
            engine.status()
        # What was not read before can be read afterwards.
        self.assertEqual([event.kind for event in engine.events()][-1], "engine_stopped")
        self.assertEqual(threads_of_package(), [])

    def test_stopped_before_the_start(self) -> None:
        engine = Engine(self.config(UP))
        engine.stop()
        self.assertEqual(list(engine.events()), [])
        engine.close()

    def test_one_state_directory_has_one_engine(self) -> None:
        config = self.config(UP)
        one, two = Engine(config), Engine(config)
        with one:
            with self.assertRaises(StateError) as caught:
                two.start()
            self.assertTrue(caught.exception.retriable)
        with two:
            two.wait(EventKind.OBSERVED, timeout=LONG)

    def test_two_engines_in_one_process(self) -> None:
        with Engine(self.config(UP)) as one, Engine(self.config(FLAPS)) as two:
            one.wait("health_changed", timeout=LONG)
            two.wait("health_changed", timeout=LONG)
            one.stop()
            two.wait("observed", service="site", timeout=LONG)

    def test_cycles_leave_nothing_behind(self) -> None:
        config = self.config(HOST)

        def cycle() -> None:
            engine = Engine(config)
            engine.check("page")(lambda task: True)
            with engine:
                engine.wait("observed", timeout=LONG)

        for _ in range(5):
            cycle()
        threads, files = threads_of_process(), descriptors()
        for _ in range(200):
            cycle()
        # A thread of the last cycle before may have been counted while it was ending.
        settle(lambda: threads_of_process() <= threads and descriptors() <= files)
        self.assertEqual(threads_of_package(), [])

    def test_a_stop_that_takes_too_long_says_so(self) -> None:
        engine = Engine(self.config(UP))
        inside, leave = threading.Event(), threading.Event()

        @engine.on_event
        def handler(event: object) -> None:
            inside.set()
            leave.wait(LONG)

        engine.start()
        self.assertTrue(inside.wait(LONG))
        with self.assertRaisesRegex(Timeout, "handler"):
            engine.stop(0.1)
        self.assertIsInstance(Timeout(Code.TIMEOUT, "x"), TimeoutError)
        leave.set()
        engine.close()


class Commands(Case):
    def test_commands_are_answered(self) -> None:
        with Engine(self.config(UP)) as engine:
            engine.pause("site")
            self.assertEqual(engine.wait("operator_command", timeout=LONG).service, "site")
            self.assertTrue(engine.status().service("site").paused)
            engine.pause(reason="a disk is swapped", duration=3600)
            pause = engine.status().service("site").pause
            assert pause is not None and pause.left_ms is not None
            self.assertEqual((pause.reason, 0 < pause.left_ms <= 3_600_000), ("a disk is swapped", True))
            engine.pause("site", duration=0.001)
            while engine.status().service("site").paused:
                engine.wait("observed", timeout=LONG)
            for reason, duration in (("two\nlines", None), (None, 0), (None, -1), (None, 1e9)):
                with self.assertRaises(InvalidArgument):
                    engine.pause(reason=reason, duration=duration)
            engine.pause("site")
            self.assertIsNotNone(engine.status().service("site").pause)
            engine.resume()
            self.assertIsNone(engine.status().service("site").pause)
            with self.assertRaises(Rejected):
                engine.confirm("site")
            with self.assertRaises(Rejected):
                engine.confirm_all()
            with self.assertRaises(Rejected):
                engine.force("site")
            with self.assertRaises(InvalidArgument):
                engine.force("site", to="nobody", accept_loss=0)
            with self.assertRaises(Rejected):
                engine.switchover("site")
            self.assertFalse(engine.switchover_preflight("site").ready)
            # An application has no commits.
            for wrong in ({"xid": 742}, {"xid": 2}, {"lsn": "0/3000148"}, {}, {"xid": 742, "lsn": "0/1", "timeline": 1}):
                with self.assertRaises(InvalidArgument):
                    engine.survived("site", **wrong)
            with self.assertRaises(InvalidArgument):
                engine.switchover("site", at=datetime.now() - timedelta(hours=1))
            with self.assertRaises(Rejected):
                engine.switchover_cancel("site")
            self.assertEqual(engine.switchover("site", at=datetime.now() + timedelta(hours=1)), 0)
            planned = engine.status().service("site").planned_switchover
            self.assertTrue(planned is not None and planned.to is None and planned.left_ms > 3_000_000)
            engine.switchover_cancel("site")
            self.assertIsNone(engine.status().service("site").planned_switchover)
            with self.assertRaises(InvalidArgument):
                engine.reset("nobody")
            with self.assertRaises(Rejected):
                engine.uncordon("site", "web1")
            engine.cordon("site", "web1")
            self.assertTrue(engine.status().service("site").server("web1").cordoned)
            with self.assertRaises(Rejected):
                engine.rejoin("site", "web1", dry_run=True)
            with self.assertRaises(Rejected):
                engine.rejoin("site", "web1", rebuild=True)
            with self.assertRaises(Rejected):
                engine.clone("site", "web1")
            engine.uncordon("site", "web1")
            self.assertFalse(engine.status().service("site").server("web1").cordoned)
            # An application has no primary to adopt.
            with self.assertRaises(Rejected):
                engine.adopt("site", "web1")
            for service, server in (("site", "nobody"), ("nobody", "web1")):
                with self.assertRaises(InvalidArgument):
                    engine.adopt(service, server)
                with self.assertRaises(InvalidArgument):
                    engine.cordon(service, server)

    def test_an_order_says_which_failover_it_began(self) -> None:
        with Engine(switchable(self.folder)) as engine:
            events = engine.events()
            for event in events:
                if engine.status().service("site").forecast.would_fail_over:
                    break
            engine.cordon("site", "web2")
            refused = next(event for event in events if event.kind == "standby_not_ready")
            self.assertEqual(refused.remedy, "failover uncordon site web2, once it may be promoted")
            server = engine.status().service("site").server("web2")
            self.assertTrue(server.not_promotable is not None and server.not_promotable.remedy == refused.remedy)
            engine.uncordon("site", "web2")
            preflight = engine.switchover_preflight("site")
            self.assertTrue(preflight.ready and [line.name for line in preflight.lines] == ["primary", "standby"], preflight)
            generation = engine.switchover("site")
            self.assertEqual(generation, 1)
            done = next(event for event in events if event.kind == "failover_completed")
            self.assertEqual((done.generation, engine.status().service("site").primary), (generation, "web2"))

    def test_wrong_arguments_are_refused(self) -> None:
        with Engine(self.config(UP)) as engine:
            for name in ("nobody", "a\0b", "\udc80", "x" * (1 << 20)):
                with self.assertRaises(InvalidArgument):
                    engine.confirm(name)
                with self.assertRaises(InvalidArgument):
                    engine.adopt("site", name)
            with self.assertRaises(TypeError):
                engine.confirm(b"site")  # type: ignore[arg-type]
            for loss in (-1, 2**64):
                with self.assertRaises(InvalidArgument):
                    engine.force("site", accept_loss=loss)
            with self.assertRaises(InvalidArgument):
                engine.report_outcome("site", 99)  # type: ignore[arg-type]
            with self.assertRaises(InvalidArgument):
                engine.report_outcome("site", Outcome.OK, "nobody")
        with self.assertRaises(InvalidArgument):
            Engine(self.config(UP), workers=0)
        for path in ("/nowhere/failover.toml", "/"):
            with self.assertRaises(ConfigError):
                Engine.from_file(path)
        for path in ("a\0b",):
            with self.assertRaises(InvalidArgument):
                Engine.from_file(path)
        for text in ("", "{", "x" * 100000):
            with self.assertRaises(ConfigError):
                Engine(text)
        with self.assertRaises(InvalidArgument):
            Engine("\udc80")

    def test_an_action_without_its_step_is_refused(self) -> None:
        engine = Engine(self.config(UP))
        self.addCleanup(engine.close)
        for wrong in (print, 3, None):
            with self.assertRaisesRegex(TypeError, "an action needs its step: @engine.action"):
                engine.action(wrong)  # type: ignore[arg-type]

    def test_a_time_that_is_none_is_refused_by_its_name(self) -> None:
        engine = Engine(self.config(UP))
        self.addCleanup(engine.close)
        calls: List[Callable[[Any], object]] = [
            engine.stop,
            engine.close,
            engine.next_event,
            lambda timeout: engine.wait(timeout=timeout),
            engine.check_all,
            lambda timeout: engine.doctor(timeout=timeout),
        ]
        for call in calls:
            for wrong in (float("nan"), float("inf"), float("-inf"), -1, -0.001, 10**400):
                with self.assertRaisesRegex(InvalidArgument, "timeout is .*a number of seconds from 0 on"):
                    call(wrong)
                with self.assertRaises(ValueError):
                    call(wrong)
            for no_number in ("3", [], True, b"1", object()):
                with self.assertRaisesRegex(TypeError, f"timeout is a number of seconds, not {type(no_number).__name__}"):
                    call(no_number)
        for wrong in (float("nan"), float("inf"), -1):
            with self.assertRaisesRegex(InvalidArgument, "duration"):
                engine.pause("site", duration=wrong)
            with self.assertRaisesRegex(InvalidArgument, "recovery"):
                CircuitBreaker(recovery=wrong)
        text: Any = "3"
        with self.assertRaisesRegex(TypeError, "duration is a number of seconds, not str"):
            engine.pause("site", duration=text)
        with self.assertRaisesRegex(TypeError, "recovery is a number of seconds, not str"):
            CircuitBreaker(recovery=text)
        # Longer than any wait of Python's is as good as without end.
        engine.stop(1e300)

    def test_a_wrong_type_names_the_argument_and_what_it_is(self) -> None:
        engine = Engine(self.config(UP))
        self.addCleanup(engine.close)
        wrong: Any
        for wrong in ("3", 1.5, None, True, b"1", object()):
            is_what = f"is a whole number, not {type(wrong).__name__}"
            with self.assertRaisesRegex(TypeError, f"task {is_what}"):
                engine.complete_task(wrong, Done())
            with self.assertRaisesRegex(TypeError, f"outcome {is_what}"):
                engine.report_outcome("site", wrong)
            with self.assertRaisesRegex(TypeError, f"failure_threshold {is_what}"):
                CircuitBreaker(wrong)
            with self.assertRaisesRegex(TypeError, f"workers {is_what}"):
                Engine({}, workers=wrong)
            if wrong is not None:
                with self.assertRaisesRegex(TypeError, f"accept_loss {is_what}"):
                    engine.force("site", accept_loss=wrong)
        for number in (-1, 2**64):
            with self.assertRaisesRegex(InvalidArgument, f"accept_loss is {number}; it is from 0 to"):
                engine.force("site", accept_loss=number)
            with self.assertRaisesRegex(InvalidArgument, f"task is {number}; it is from 0 to"):
                engine.complete_task(number, Done())
        for wrong in (1, b"site", ["site"]):
            commands: List[Callable[[Any], object]] = [
                engine.confirm,
                engine.reset,
                engine.resume,
                engine.status,
                engine.force,
                engine.offer_check,
            ]
            for command in commands:
                with self.assertRaisesRegex(TypeError, f"is a str, not {type(wrong).__name__}"):
                    command(wrong)
        # What is left to ctypes says the function.
        with self.assertRaisesRegex(TypeError, "failover_engine_confirm was given an argument of a wrong type"):
            engine._core.call(lib.failover_engine_confirm, 1)

    def test_a_configuration_error_tells_every_mistake(self) -> None:
        wrong = {"version": 1, "state_dir": "relative", "servces": [], "services": [{"name": "a b"}]}
        with self.assertRaises(ConfigError) as caught:
            Engine(wrong)
        error = caught.exception
        self.assertEqual((error.code, error.name, error.retriable), (Code.CONFIG, "config", False))
        self.assertIsInstance(error, ValueError)
        self.assertTrue(error.path and error.path.startswith("/"))
        self.assertGreater(len(error.details), 2)
        for detail in error.details:
            self.assertEqual({"path", "reason", "remedy"} - set(detail), set())
        self.assertTrue(any("line" in detail for detail in error.details))
        self.assertIn("a b", [str(detail.get("value", "")).strip('"') for detail in error.details])
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(again), again.message, again.details), (ConfigError, error.message, error.details))

    def test_reload(self) -> None:
        config = self.config(UP)
        with Engine(config) as engine:
            config["services"][0]["checks"][0]["name"] = "other"
            engine.reload(config)
            engine.wait("config_reloaded", timeout=LONG)
            self.assertEqual(engine.status().service("site").server("web1").checks[0].name, "other")
            file = self.folder / "new.json"
            file.write_text(json.dumps(config))
            engine.reload(file)
            with self.assertRaises(ConfigError):
                engine.reload("{}")
            with self.assertRaises(StateError):
                engine.reload(self.config(UP))
            # TOML, whatever the version of Python; what is wrong is told with its line.
            toml = self.folder / "new.toml"
            for text, line in [("version = 1\n", 1), ("version = 1\nversion = 2\n", 2)]:
                toml.write_text(text)
                with self.assertRaises(ConfigError) as wrong:
                    engine.reload(toml)
                self.assertIn(f"line {line}", str(wrong.exception))
            answers, state = json.dumps(UP["answers"]), json.dumps(config["state_dir"])
            toml.write_text(
                f"version = 1\nstate_dir = {state}\n"
                '[[services]]\nname = "site"\nkind = "application"\n'
                '[[services.servers]]\nname = "web1"\nrole = "primary"\nhost = "127.0.0.1"\n'
                f'[[services.checks]]\nname = "by-toml"\nserver = "web1"\nkind = "scripted"\nanswers = {answers}\n'
            )
            engine.reload(toml)
            self.assertEqual(engine.status().service("site").server("web1").checks[0].name, "by-toml")
            with self.assertRaises(ConfigError):
                engine.reload(self.folder / "nowhere.toml")

    def test_the_programs_own_traffic_is_counted(self) -> None:
        with Engine(self.config(UP)) as engine:
            engine.report_outcome("site", Outcome.TIMEOUT, "web1")
            for event in engine.events():
                traffic = engine.status().service("site").server("web1").raw.get("traffic")
                if traffic and traffic["timeout"] == 1:
                    break

    def test_the_status_is_that_of_the_library(self) -> None:
        with Engine(self.config(UP)) as engine:
            engine.wait("health_changed", timeout=LONG)
            handle = StatusHandle()
            engine._core.call(lib.failover_engine_status, byref(handle))
            status = Status.from_json(json.loads(lib.failover_status_json(handle)))
            self.assertEqual(lib.failover_status_service_count(handle), len(status.services))
            for at, service in enumerate(status.services):
                name = lib.failover_status_service(handle, at)
                self.assertEqual(name.decode(), service.name)
                self.assertEqual(lib.failover_status_state(handle, name).decode(), service.state)
                self.assertEqual(lib.failover_status_health(handle, name).decode(), service.health)
                self.assertEqual(lib.failover_status_generation(handle, name), service.generation)
                self.assertEqual(lib.failover_status_would_fail_over(handle, name), service.forecast.would_fail_over)
                primary = lib.failover_status_primary(handle, name)
                self.assertEqual(primary and primary.decode(), service.primary)
            lib.failover_status_free(handle)
            self.assertEqual([service.name for service in engine.status("site").services], ["site"])
            with self.assertRaises(InvalidArgument):
                engine.status("nobody")
            self.assertIn('failover_checks_total{service="site"', engine.metrics_text())
            self.assertNotIn("failover_check_answers_total", engine.metrics_text("site"))
            self.assertIn("failover_check_answers_total", engine.metrics_text("site", details=True))
            self.assertEqual(status.engine, "running")
            server = status.service("site").server("web1")
            self.assertEqual((server.health, server.checks[0].name, server.checks[0].verdict), ("healthy", "page", "up"))
            self.assertEqual(status.raw["services"][0]["name"], "site")
            with self.assertRaises(KeyError):
                status.service("nobody")

    def test_many_threads_at_once(self) -> None:
        wrong: List[BaseException] = []

        def hammer() -> None:
            try:
                for _ in range(100):
                    engine.status()
                    engine.report_outcome("site", Outcome.OK, "web1")
                    for command in (engine.pause, engine.resume):
                        try:
                            command("site")
                        except Rejected:
                            # Another thread was faster.
                            continue
            except FailoverError as error:
                wrong.append(error)

        with Engine(self.config(UP)) as engine:
            threads = [threading.Thread(target=hammer) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])

    def test_close_while_other_threads_call(self) -> None:
        for _ in range(20):
            engine = Engine(self.config(UP))
            engine.start()
            began = threading.Barrier(5)
            ended: List[str] = []

            def ask() -> None:
                began.wait(LONG)
                try:
                    while True:
                        engine.status()
                except StateError:
                    ended.append("closed")

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            began.wait(LONG)
            engine.close()
            for thread in threads:
                thread.join(LONG)
            self.assertEqual(ended, ["closed"] * 4)


if __name__ == "__main__":
    unittest.main()
