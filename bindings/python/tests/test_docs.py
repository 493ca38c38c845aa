"""The code in the documentation runs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import unittest

from .support import HOST, LONG, ROOT, UP, Case, environment

BLOCK = re.compile(r"^```python(?P<how>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Documentation(Case):
    def test_the_blocks_of_the_guide_run(self) -> None:
        blocks = list(BLOCK.finditer((ROOT / "docs" / "python.md").read_text()))
        runnable = [block for block in blocks if "runnable" in block["how"]]
        self.assertGreater(len(runnable), 5)
        actions = 0
        for block in runnable:
            with self.subTest(block["code"].splitlines()[0]):
                # One with a check of its own answers it; for the others there is a script.
                config = self.config(HOST if "@engine.check" in block["code"] else UP)
                is_action = "@engine.action" in block["code"]
                if is_action:
                    # Its primary fails after a while, and another server is there.
                    action = (ROOT / "tests" / "bindings" / "action.json").read_text()
                    config = json.loads(action.replace("@STATE@", config["state_dir"]))
                (self.folder / "failover.json").write_text(json.dumps(config))
                process = subprocess.Popen(
                    [sys.executable, "-X", "dev", "-c", block["code"]],
                    cwd=self.folder,
                    env=environment(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                wanted = 0
                if "interrupt" in block["how"]:
                    assert process.stdout is not None
                    self.assertTrue(process.stdout.readline())
                    process.send_signal(signal.SIGINT)
                    wanted = -signal.SIGINT
                out, err = process.communicate(timeout=LONG)
                self.assertEqual(process.returncode, wanted, err)
                self.assertNotIn("Warning", err)
                if is_action:
                    self.assertEqual(out, "failover 1: clients go to web2 at 127.0.0.2:8002\n")
                    actions += 1
        self.assertEqual(actions, 1)


if __name__ == "__main__":
    unittest.main()
