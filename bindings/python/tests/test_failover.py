"""A real failover. Needs the program that starts a PostgreSQL pair: FAILOVER_LAB is its path (cargo build --example lab)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import unittest
from typing import Any, Dict, List

from failover import Answer, Done, Engine, Event, Task

from .support import LONG, Case

LAB = os.environ.get("FAILOVER_LAB")


class Failover(Case):
    @unittest.skipUnless(LAB, "FAILOVER_LAB is not set")
    def test_the_primary_is_killed(self) -> None:
        assert LAB is not None
        lab = subprocess.Popen([LAB], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            self.follow(lab)
        finally:
            lab.communicate(timeout=LONG)

    def real_reports(self, engine: Engine, ports: Dict[str, int]) -> None:
        """Of a pair that is well, beside the engine that watches it."""
        summary = engine.check_all(LONG)
        self.assertTrue(summary.passed, summary)
        verdicts = {check.check: check.verdict for check in summary.checks}
        self.assertEqual((verdicts["db1/postgres"], verdicts["db2/postgres"]), ("up", "up"))
        self.assertEqual(summary.forecasts["orders"].candidate, "db2")
        report = engine.doctor(timeout=LONG)
        self.assertTrue(report.ready and report.forecast is not None and report.forecast.would_fail_over, report)
        self.assertIn("db2 would be promoted", report.sentence)
        db1 = engine.status().service("orders").server("db1")
        self.assertEqual((db1.host, db1.port), ("127.0.0.1", ports["db1"]))

    def follow(self, lab: "subprocess.Popen[str]") -> None:
        assert lab.stdin is not None and lab.stdout is not None
        place: Dict[str, Any] = json.loads(lab.stdout.readline())
        service = place["service"]
        ports = {server["name"]: server["port"] for server in place["servers"]}
        config = self.folder / "failover.toml"
        with open(place["config"], encoding="utf-8") as file:
            # One more check of the primary, answered here.
            check = '\n[[services.checks]]\nname = "door"\nserver = "db1"\nkind = "host"\n'
            config.write_text(file.read() + check)
        config.chmod(0o600)
        engine = Engine(config)
        asked: List[Task] = []
        seen: List[Event] = []

        @engine.check("door")
        def door(task: Task) -> Answer:
            try:
                socket.create_connection(("127.0.0.1", ports["db1"]), timeout=task.remaining).close()
            except ConnectionRefusedError as refused:
                return Answer.down(str(refused))
            return Answer.up()

        @engine.action("pre_checks")
        def allowed(task: Task) -> Done:
            asked.append(task)
            return Done("the host has nothing against it")

        with engine:
            for event in engine.events():
                # Asked at every event: it changes with them.
                if engine.status().service(service).forecast.would_fail_over and door_is_up(engine, service):
                    break
            self.assertEqual(engine.status().service(service).primary, "db1")
            self.real_reports(engine, ports)
            lab.stdin.write("kill db1\n")
            lab.stdin.flush()
            self.assertEqual(lab.stdout.readline(), "ok\n")
            for event in engine.events():
                seen.append(event)
                self.assertNotIn(event.kind, ("failover_failed", "manual_intervention", "rolled_back"))
                if event.kind == "failover_completed":
                    break
            now = engine.status().service(service)
            for event in engine.events():
                if event.kind == "observed" and event.fields["check"] == "door" and event.fields["verdict"] == "down":
                    break
        self.assertEqual((now.primary, now.generation, now.server("db1").deposed), ("db2", 1, True))
        assert now.failover is not None
        self.assertEqual((now.failover.outcome, now.failover.source, now.failover.target), ("completed", "db1", "db2"))
        beside = Engine(config)
        self.addCleanup(beside.close)
        after = beside.doctor(timeout=LONG)
        self.assertFalse(after.ready)
        self.assertIn(("check_not_up", "db1"), [(finding.code, finding.server) for finding in after.findings])
        self.assertEqual([(task.name, task.service, task.generation) for task in asked], [("pre_checks", service, 1)])
        kinds = [event.kind for event in seen]
        order = ["failure_confirmed", "failover_started", "point_of_no_return", "failover_completed"]
        self.assertEqual([kind for kind in kinds if kind in order], order)
        lab.stdin.write("primary db2\n")
        lab.stdin.flush()
        self.assertEqual(lab.stdout.readline(), "yes\n")


def door_is_up(engine: Engine, service: str) -> bool:
    checks = engine.status().service(service).server("db1").checks
    return any(check.name == "door" and check.verdict == "up" for check in checks)


if __name__ == "__main__":
    unittest.main()
