"""The package as a command: python -m failover."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unittest

import failover

from .support import LONG, ROOT, UP, Case, environment


class Command(Case):
    def ask(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-X", "dev", "-m", "failover", *arguments]
        answer = subprocess.run(command, env=environment(), cwd=self.folder, capture_output=True, text=True, timeout=LONG)
        self.assertNotIn("Traceback", answer.stderr)
        return answer

    def test_the_version_is_that_of_the_library(self) -> None:
        told = re.search(r'^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
        assert told is not None
        self.assertEqual(failover.__version__, told[1])
        self.assertEqual(failover.__version__, failover.version())
        self.assertEqual(self.ask("--version").stdout, f"failover {told[1]}\n")
        lines = self.ask("version").stdout.splitlines()
        self.assertEqual(lines[0], f"failover {told[1]}")
        self.assertRegex(lines[1], r"^library .*libfailover")
        self.assertEqual(lines[2], "C interface {}.{}".format(*failover.abi_version()))

    def test_a_configuration_is_validated(self) -> None:
        (self.folder / "good.json").write_text(json.dumps(self.config(UP)))
        good = self.ask("validate", "good.json")
        self.assertEqual((good.returncode, good.stdout), (0, "good.json: valid\n"), good.stderr)
        (self.folder / "bad.toml").write_text('version = 1\nstate_dir = "/var/lib/failover"\n[[servces]]\nname = "a"\n')
        bad = self.ask("validate", "bad.toml")
        self.assertEqual((bad.returncode, bad.stdout), (2, ""))
        self.assertIn("error: /servces", bad.stderr)
        self.assertIn('remedy: did you mean "services"?', bad.stderr)
        self.assertTrue(bad.stderr.endswith("bad.toml: 2 errors\n"), bad.stderr)

    def test_what_is_no_configuration_is_told(self) -> None:
        absent = self.ask("validate", "absent.toml")
        self.assertNotEqual(absent.returncode, 0)
        self.assertIn("absent.toml", absent.stderr)

    def test_without_a_command_it_says_what_there_is(self) -> None:
        nothing = self.ask()
        self.assertEqual(nothing.returncode, 2)
        self.assertIn("COMMAND", nothing.stderr)
        self.assertIn("validate", self.ask("--help").stdout)


if __name__ == "__main__":
    unittest.main()
