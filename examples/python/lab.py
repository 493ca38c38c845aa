"""Real servers for the examples: `--lab PATH` names the program that starts them (cargo build --example lab): a PostgreSQL pair behind
HAProxy, or with "application" two web servers behind two."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Optional, Type


class Lab:
    """The servers, for as long as the block lasts: where they are, and what can be done to them."""

    def __init__(self, program: str, *arguments: str) -> None:
        self._command = [program, *arguments]

    def __enter__(self) -> Lab:
        # In a group of its own: Ctrl-C is for the example, which then closes the lab's input, and that ends the servers.
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        line = self._line()
        if not line:
            raise SystemExit("the lab did not start")
        place: Dict[str, Any] = json.loads(line)
        self.config = Path(place["config"])
        self.service = str(place["service"])
        fronts = place["fronts"] if "fronts" in place else [place["front"]]
        self.fronts = [(str(front["host"]), int(front["port"])) for front in fronts]
        self.front = self.fronts[0]
        self.servers = {str(server["name"]): (str(server["host"]), int(server["port"])) for server in place["servers"]}
        self.user = str(place.get("user", ""))
        self.database = str(place.get("database", ""))
        self._folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], raised: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def command(self, line: str) -> str:
        """One command: kill, stop, freeze or primary, and the name of a server; of an application also errors, and answers alone."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._line().strip()

    def config_with(self, more: str) -> Path:
        """The pair's configuration with more of the service's tables."""
        path = Path(self._folder.name) / "failover.toml"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(self.config.read_text(encoding="utf-8") + more)
        return path

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
