"""The declarations of the package against the header and the library."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import unittest
from ctypes import POINTER
from enum import IntEnum
from typing import Any, Dict, List, Tuple, Type

import failover
from failover import BreakerState, Code, EventKind, Outcome, Severity, TaskResult, _library, breaker
from failover._library import lib
from failover._signatures import (
    ABI_VERSION,
    SIGNATURES,
    BreakerHandle,
    EngineHandle,
    ErrorHandle,
    EventHandle,
    ReportHandle,
    StatusHandle,
)
from failover.errors import CLASSES

from .support import HEADER, Case, environment

HANDLES = {
    "failover_engine": EngineHandle,
    "failover_event": EventHandle,
    "failover_status": StatusHandle,
    "failover_report": ReportHandle,
    "failover_error": ErrorHandle,
    "failover_breaker": BreakerHandle,
}
VALUES: Dict[str, Any] = {
    "int32_t": ctypes.c_int32,
    "uint16_t": ctypes.c_uint16,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "int": ctypes.c_int,
    "bool": ctypes.c_bool,
    "void": None,
    "failover_event_fn": ctypes.c_void_p,
    "failover_task_fn": ctypes.c_void_p,
    "failover_free_fn": ctypes.c_void_p,
}


def header() -> str:
    # Without comments: the ones of C++ and those of C.
    text = HEADER.read_text()
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def ctype(words: str) -> Any:
    """The ctypes type for one of C, without the name of an argument."""
    base = words.replace("const", "").replace("*", "").strip()
    stars = words.count("*")
    if base == "char" and stars == 1:
        return ctypes.c_char_p
    if base == "void" and stars == 1:
        return ctypes.c_void_p
    if base in HANDLES:
        handle = HANDLES[base]
        return handle if stars == 1 else POINTER(handle)
    value = VALUES[base]
    return value if stars == 0 else POINTER(value)


def declared() -> Dict[str, Tuple[Any, Tuple[Any, ...]]]:
    found = {}
    for result, name, arguments in re.findall(r"FAILOVER_API\s+([^;()]*?)(failover_\w+)\s*\(([^)]*)\)\s*;", header()):
        types: List[Any] = []
        if arguments.strip() != "void":
            for argument in arguments.split(","):
                match = re.fullmatch(r"\s*(.*?)(\w+)\s*", argument, re.DOTALL)
                assert match, argument
                types.append(ctype(match.group(1)))
        found[name] = (ctype(result), tuple(types))
    return found


def defined() -> Dict[str, int]:
    pairs = re.findall(r"^#define (FAILOVER_\w+) (-?\d+)$", header(), re.MULTILINE)
    return {name: int(value) for name, value in pairs}


class Interface(Case):
    def test_every_function_is_declared_as_in_the_header(self) -> None:
        found = declared()
        self.assertGreater(len(found), 50)
        self.assertEqual(set(SIGNATURES), set(found))
        for name, signature in found.items():
            with self.subTest(name):
                self.assertEqual(SIGNATURES[name], signature)
                function = getattr(lib, name)
                self.assertEqual((function.restype, tuple(function.argtypes)), signature)

    def test_the_constants_are_those_of_the_header(self) -> None:
        constants = defined()
        self.assertEqual(ABI_VERSION, constants["FAILOVER_ABI_VERSION"])

        def with_prefix(prefix: str, values: Type[IntEnum]) -> None:
            wanted = {name[len(prefix) :]: value for name, value in constants.items() if name.startswith(prefix)}
            self.assertEqual({one.name: one.value for one in values}, wanted)

        with_prefix("FAILOVER_SEVERITY_", Severity)
        with_prefix("FAILOVER_TASK_", TaskResult)
        with_prefix("FAILOVER_OUTCOME_", Outcome)
        states = {name: value for name, value in constants.items() if name.startswith("FAILOVER_BREAKER_")}
        results = {"SUCCESS": breaker._SUCCESS, "FAILURE": breaker._FAILURE, "CANCELLED": breaker._CANCELLED}
        self.assertEqual(
            {**{state.name: state.value for state in BreakerState}, **results},
            {name[len("FAILOVER_BREAKER_") :]: value for name, value in states.items()},
        )
        for kind in EventKind:
            self.assertEqual(lib.failover_event_kind_name(constants[f"FAILOVER_EVENT_{kind.name}"]).decode(), kind)

    def test_the_kinds_are_those_of_the_library(self) -> None:
        words: List[str] = []
        while lib.failover_event_kind_at(len(words)) != 0:
            words.append(lib.failover_event_kind_name(lib.failover_event_kind_at(len(words))).decode())
        self.assertEqual(sorted(words), sorted(kind.value for kind in EventKind))
        self.assertEqual(str(EventKind.LOG), "log")
        self.assertEqual(f"{EventKind.LOG}", "log")

    def test_every_code_has_its_class(self) -> None:
        codes: List[int] = []
        while lib.failover_code_at(len(codes)) <= 0:
            codes.append(lib.failover_code_at(len(codes)))
        self.assertEqual(sorted(codes), sorted(Code))
        for code in codes:
            self.assertEqual(lib.failover_code_name(code).decode(), Code(code).name.lower())
            self.assertTrue(code in (Code.OK, Code.EMPTY) or code in CLASSES)

    def test_versions(self) -> None:
        self.assertRegex(failover.version(), r"^\d+\.\d+\.\d+")
        self.assertEqual(failover.abi_version(), (ABI_VERSION >> 16, ABI_VERSION & 0xFFFF))

    def test_another_interface_is_refused(self) -> None:
        _library.check_abi("it", ABI_VERSION + 1)
        for other in (ABI_VERSION - 1, ABI_VERSION + (1 << 16)):
            with self.assertRaisesRegex(failover.LibraryError, "needs"):
                _library.check_abi("it", other)

    def test_a_missing_or_wrong_library_is_named(self) -> None:
        cases = [("/nowhere/libfailover.so.0", "FAILOVER_LIBRARY"), ("libc.so.6", "no libfailover")]
        for named, words in cases:
            command = [sys.executable, "-c", "import failover"]
            done = subprocess.run(command, env={**environment(), "FAILOVER_LIBRARY": named}, capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("LibraryError", done.stderr)
            self.assertIn(words, done.stderr)

    def test_everything_public_is_documented(self) -> None:
        for name in failover.__all__:
            thing = getattr(failover, name)
            if name == "Config":
                continue
            self.assertTrue(thing.__doc__, name)
            if isinstance(thing, type):
                for member, value in vars(thing).items():
                    if callable(value) and not member.startswith("_"):
                        self.assertTrue(value.__doc__, f"{name}.{member}")


if __name__ == "__main__":
    unittest.main()
