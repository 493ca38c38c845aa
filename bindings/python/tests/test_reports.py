"""What check, doctor, validate and replay say, without a server; test_failover asks real ones."""

from __future__ import annotations

import json
import socket
import threading
import unittest
from typing import Any, List

import failover
from failover import Answer, ConfigError, Engine, InvalidArgument, StateError, Timeout

from .support import HOST, LONG, UP, Case, run, switchable, threads_of_package

DOWN = {"kind": "scripted", "answers": ["down refused: nobody there"]}


class Reports(Case):
    def test_a_check_of_everything(self) -> None:
        with Engine(self.config(UP)) as engine:
            summary = engine.check_all(LONG)
            self.assertTrue(summary.all_up and summary.ready and summary.passed)
            (check,) = summary.checks
            self.assertEqual((check.service, check.server, check.check, check.verdict), ("site", "web1", "page", "up"))
            self.assertEqual(summary.raw["checks"][0], check.raw)
            self.assertEqual(failover.CheckSummary.from_json(summary.raw), summary)
        self.assertEqual(threads_of_package(), [])
        with self.assertRaises(StateError):
            engine.check_all()

    def test_before_the_start_and_for_one_service(self) -> None:
        document = self.config(DOWN)
        other = json.loads(json.dumps(document["services"][0]).replace("site", "shop"))
        document["services"].append({**other, "checks": [{**other["checks"][0], **UP}]})
        engine = Engine(document)
        self.addCleanup(engine.close)
        report = engine.doctor("site", timeout=LONG)
        (finding,) = [finding for finding in report.findings if finding.code == "check_not_up"]
        self.assertEqual((report.ready, finding.blocking, finding.server), (False, True, "web1"))
        self.assertIn("nobody there", finding.message)
        self.assertTrue(finding.why and report.forecast is None)
        self.assertTrue(engine.doctor("shop").ready)
        for name in (None, "nobody"):
            with self.assertRaisesRegex(InvalidArgument, "name one of: site, shop"):
                engine.doctor(name)
        self.assertFalse(engine.check_all(None).passed)

    def test_of_what_the_program_answers_counts_the_last_answer(self) -> None:
        engine = Engine(self.config(HOST))
        engine.check("page")(lambda task: Answer.down("it says no"))
        before = engine.check_all()
        self.assertEqual((before.checks[0].verdict, before.passed), ("unknown", True))
        with engine:
            engine.wait("observed", timeout=LONG)
            summary = engine.check_all()
        self.assertEqual((summary.checks[0].verdict, summary.checks[0].message, summary.passed), ("down", "it says no", False))

    def silent(self) -> socket.socket:
        """A server that takes connections and never says a word."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        return server

    def test_no_time_and_no_half_report(self) -> None:
        url = f"http://127.0.0.1:{self.silent().getsockname()[1]}/"
        engine = Engine(self.config({"kind": "http", "url": url}, timeout="60s"))
        self.addCleanup(engine.close)
        with self.assertRaises(Timeout) as raised:
            engine.check_all(0.05)
        self.assertTrue(raised.exception.retriable)

    def test_a_stop_ends_it(self) -> None:
        server = self.silent()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        engine = Engine(self.config({"kind": "http", "url": url}, timeout="60s"))
        raised: List[BaseException] = []

        def ask() -> None:
            try:
                engine.doctor(timeout=None)
            except BaseException as wrong:
                raised.append(wrong)

        asker = threading.Thread(target=ask)
        asker.start()
        connection, _ = server.accept()
        with connection:
            engine.close()
            asker.join(LONG)
        self.assertEqual([type(wrong) for wrong in raised], [StateError])

    def test_ctrl_c_is_seen_meanwhile(self) -> None:
        script = """
import signal, socket
server = socket.create_server(("127.0.0.1", 0))
url = f"http://127.0.0.1:{server.getsockname()[1]}/"
engine = make({"kind": "http", "url": url, "timeout": "60s"})
def interrupt():
    kept = server.accept()
    os.kill(os.getpid(), signal.SIGINT)
    kept[0].recv(1000)
threading.Thread(target=interrupt, daemon=True).start()
try:
    engine.check_all(None)
except KeyboardInterrupt:
    print("interrupted")
engine.close()
"""
        done = run(self.folder, script)
        self.assertEqual((done.returncode, done.stdout), (0, "interrupted\n"), done.stderr)


class Configurations(Case):
    def test_mistakes_and_warnings(self) -> None:
        good = failover.validate(self.config(UP))
        self.assertTrue(good.valid and good.file is None and good.errors == [])
        bad = failover.validate({"version": 1, "servces": []})
        self.assertFalse(bad.valid)
        self.assertIn("/servces", [problem.path for problem in bad.errors])
        self.assertTrue(all(problem.reason and problem.remedy for problem in bad.errors))
        path = self.folder / "failover.toml"
        path.write_text("version = 1\nservces = 1\n")
        of_file = failover.validate(path)
        self.assertEqual((of_file.valid, of_file.file), (False, str(path)))
        self.assertIn(2, [problem.line for problem in of_file.errors])
        self.assertIn("cannot be read", failover.validate(self.folder / "nowhere.toml").errors[0].reason)
        with self.assertRaises(TypeError):
            failover.validate(5)  # type: ignore[arg-type]

    def test_with_every_default_and_no_secret(self) -> None:
        document = self.config(UP)
        document["services"][0]["checks"].append(
            {
                "name": "door",
                "server": "web1",
                "kind": "http",
                "url": "http://127.0.0.1:1/",
                "headers": {"Authorization": "hunter-of-two"},
            }
        )
        effective = failover.effective_config(document)
        self.assertIn("success_threshold", json.dumps(effective))
        self.assertNotIn("hunter-of-two", json.dumps(effective))
        engine = Engine(document)
        self.addCleanup(engine.close)
        self.assertEqual(engine.config(), effective)
        self.assertNotIn("hunter-of-two", json.dumps([engine.check_all().raw, engine.doctor().raw]))
        with self.assertRaises(ConfigError):
            failover.effective_config({"version": 1})


class Addresses(Case):
    def test_of_servers_in_status_events_and_tasks_and_a_replay(self) -> None:
        document = switchable(self.folder)
        document["services"][0]["servers"][1]["port"] = 8002
        asked: List[Any] = []
        engine = Engine(document)

        @engine.action("route_in")
        def follow(task: failover.Task) -> failover.Done:
            asked.append((task.server, task.host, task.port))
            return failover.Done("it does")

        with engine:
            while not engine.status().services[0].forecast.would_fail_over:
                engine.wait("observed", timeout=LONG)
            engine.force("site", to="web2")
            done = engine.wait("failover_completed", timeout=LONG)
            web2 = engine.status().services[0].server("web2")
        self.assertEqual((done.server, done.host, done.port), ("web2", "127.0.0.2", 8002))
        self.assertEqual((web2.host, web2.port), ("127.0.0.2", 8002))
        self.assertEqual(asked, [("web2", "127.0.0.2", 8002)])
        (record,) = (self.folder / "switchable" / "evidence").glob("*.json")
        report = failover.replay(record)
        self.assertEqual((report.same, report.service, report.kind, report.differences), (True, "site", "failover", []))
        with self.assertRaisesRegex(InvalidArgument, "cannot be opened"):
            failover.replay(self.folder / "nowhere.json")


if __name__ == "__main__":
    unittest.main()
