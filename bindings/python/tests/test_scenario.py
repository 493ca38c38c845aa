"""The scenario that every binding plays: the same events, whatever the language."""

from __future__ import annotations

import json
import unittest
from typing import List

from failover import Engine

from .support import ROOT, Case

SCENARIO = ROOT / "tests" / "bindings" / "scenario.json"


class Scenario(Case):
    @unittest.skipUnless(SCENARIO.exists(), "there is none")
    def test_the_events_are_those_of_every_language(self) -> None:
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        scenario = json.loads(SCENARIO.read_text().replace("@STATE@", str(state)))
        kinds, expected = scenario["kinds"], scenario["expected"]
        lines: List[str] = []
        with Engine(scenario["config"]) as engine:
            for event in engine.events():
                if event.kind in kinds:
                    lines.append(f"{event.kind} {event.service or '-'} {event.server or '-'} {event.message}")
                    # The last line is the stop itself.
                    if len(lines) == len(expected) - (expected[-1].startswith("engine_stopped ")):
                        engine.request_stop()
        self.assertEqual(lines, expected)


if __name__ == "__main__":
    unittest.main()
