"""Puts the shared library into the wheel, and tags that for the platform and for every Python: nothing in it knows CPython's own ABI."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any, Dict

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE_NAME = "libfailover.so.0"


class LibraryHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: Dict[str, Any]) -> None:
        if version == "editable":
            # The library is found by FAILOVER_LIBRARY or by the system.
            return
        built = Path(self.root).parents[1] / "target" / "capi" / "release" / FILE_NAME
        library = Path(os.environ.get("FAILOVER_LIBRARY") or built)
        if not library.is_file():
            raise FileNotFoundError(
                f"{library} is missing: build the library first (scripts/library.sh), or name it in FAILOVER_LIBRARY"
            )
        platform = os.environ.get("FAILOVER_PLATFORM") or sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["force_include"][str(library.resolve())] = f"failover/{FILE_NAME}"
        licences = os.environ.get("FAILOVER_LICENCES")
        if licences:
            build_data["force_include"][str(Path(licences).resolve())] = "failover/THIRD-PARTY.txt"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
