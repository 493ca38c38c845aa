"""Errors: one class for what a caller does next, each with code, message, path and whether the same call may succeed later."""

from __future__ import annotations

import json
from ctypes import ArgumentError, byref
from enum import IntEnum
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type

from ._library import LibraryError, lib
from ._signatures import ErrorHandle

__all__ = [
    "Code",
    "ConfigError",
    "FailoverError",
    "Faulted",
    "Forked",
    "HandlerError",
    "InvalidArgument",
    "LibraryError",
    "Panic",
    "Reentrant",
    "Rejected",
    "StateError",
    "SystemFault",
    "Timeout",
    "UnknownTask",
    "Unsupported",
]


class Code(IntEnum):
    """The codes of the C interface."""

    OK = 0
    EMPTY = -1
    TIMEOUT = -2
    NULL_ARG = -3
    INVALID_ARG = -4
    CONFIG = -5
    STATE = -6
    REENTRANT = -7
    FORKED = -8
    SYSTEM = -9
    UNKNOWN_TASK = -10
    FAULTED = -11
    PANIC = -12
    UNSUPPORTED = -13
    REJECTED = -14


class FailoverError(Exception):
    """What every failure of the engine is.

    code: its number (Code). name: its word, such as "invalid_arg". message: what went wrong and what to do, in one line.
    path: of a configuration, the JSON pointer to the first value that is wrong. retriable: the same call may succeed later without
    anything being changed. details: of a configuration, every mistake as a dict with path, value, reason and remedy.
    info: the whole error as a dict.
    """

    code: int
    name: str
    message: str
    path: Optional[str]
    retriable: bool
    details: List[Dict[str, Any]]
    info: Dict[str, Any]

    def __init__(self, code: int, message: str, info: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(message)
        self.info = dict(info or {})
        self.code = code
        self.name = code_name(code)
        self.message = message
        self.path = self.info.get("path")
        self.retriable = bool(self.info.get("retriable"))
        self.details = list(self.info.get("errors") or [])

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Tuple[Any, ...]:
        # So that it passes from process to process.
        return type(self), (self.code, self.message, self.info)


class ConfigError(FailoverError, ValueError):
    """The configuration cannot be used: `details` has every mistake."""


class InvalidArgument(FailoverError, ValueError):
    """An argument is out of range, no text, or names something that does not exist."""


class StateError(FailoverError, RuntimeError):
    """The call does not fit the engine's present state."""


class Rejected(FailoverError):
    """The engine or a breaker rejected the call; the message says why."""

    @property
    def retry_after(self) -> Optional[float]:
        """Of an open breaker: seconds until it permits again."""
        millis = self.info.get("retry_after_ms")
        return None if millis is None else float(millis) / 1000


class Timeout(FailoverError, TimeoutError):
    """The call did not end in time; the engine continues with it. Call again to wait again."""


class Forked(FailoverError, RuntimeError):
    """The object was made by a parent process: make it after fork."""


class Reentrant(FailoverError, RuntimeError):
    """The call would wait for the thread that it runs on: use request_stop there."""


class UnknownTask(FailoverError, LookupError):
    """The task was answered already, was cancelled, or is past its deadline."""


class Faulted(FailoverError):
    """A bug was caught earlier: the engine's decisions are frozen. Status, stop and close still work."""


class SystemFault(FailoverError):
    """The operating system refused something."""


class Panic(FailoverError):
    """A bug of the library was caught in this call."""


class Unsupported(FailoverError):
    """This build of the library cannot do it."""


class HandlerError(Exception):
    """Event handlers raised exceptions. Each was logged when it happened; `errors` has the first ones, oldest first, and `count`
    their number."""

    def __init__(self, errors: Sequence[BaseException], count: int) -> None:
        first = errors[0]
        more = f" (and {count - 1} more)" if count > 1 else ""
        super().__init__(f"a handler of events raised {type(first).__name__}: {first}{more}")
        self.errors = tuple(errors)
        self.count = count

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.errors, self.count)


CLASSES: Dict[int, Type[FailoverError]] = {
    Code.TIMEOUT: Timeout,
    Code.NULL_ARG: InvalidArgument,
    Code.INVALID_ARG: InvalidArgument,
    Code.CONFIG: ConfigError,
    Code.STATE: StateError,
    Code.REENTRANT: Reentrant,
    Code.FORKED: Forked,
    Code.SYSTEM: SystemFault,
    Code.UNKNOWN_TASK: UnknownTask,
    Code.FAULTED: Faulted,
    Code.PANIC: Panic,
    Code.UNSUPPORTED: Unsupported,
    Code.REJECTED: Rejected,
}


def code_name(code: int) -> str:
    """The word for a code, such as "invalid_arg"; "unknown" for any other number."""
    word: bytes = lib.failover_code_name(code)
    return word.decode()


def error(code: int, message: str) -> FailoverError:
    """An error that this package found itself, as the library would tell it."""
    return CLASSES.get(code, FailoverError)(code, message, {"code": code_name(code), "number": int(code), "message": message})


def call(function: Any, *arguments: Any) -> None:
    """Calls a function of the library that can fail. Errors: the class that belongs to its code."""
    handle = ErrorHandle()
    try:
        code = int(function(*arguments, byref(handle)))
    except ArgumentError as wrong:
        # ctypes names neither the function nor what it wants.
        raise TypeError(f"{function.__name__} was given an argument of a wrong type: {wrong}") from None
    if code != Code.OK:
        raise _taken(code, handle)


def _taken(code: int, handle: ErrorHandle) -> FailoverError:
    if not handle:
        return error(code, lib.failover_code_description(code).decode())
    try:
        info: Dict[str, Any] = json.loads(lib.failover_error_json(handle))
        message: str = lib.failover_error_message(handle).decode()
    finally:
        lib.failover_error_free(handle)
    return CLASSES.get(code, FailoverError)(code, message, info)


def text(value: Optional[str], what: str) -> Optional[bytes]:
    """A name on its way into the library. Errors: InvalidArgument for one that C cannot carry."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as wrong:
        raise error(Code.INVALID_ARG, f"{what} is no UTF-8: {wrong}") from None
    if b"\0" in encoded:
        raise error(Code.INVALID_ARG, f"{what} has a NUL character in it")
    return encoded
