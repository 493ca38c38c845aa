"""Configurations, paths and times on their way into the library."""

from __future__ import annotations

import json
import math
import os
import threading
from numbers import Integral, Real
from typing import Any, Mapping, Optional, Union

from .errors import Code, error

Config = Union[Mapping[str, Any], str, "os.PathLike[str]"]


def document(config: Union[Mapping[str, Any], str]) -> bytes:
    """A configuration as JSON. Errors: InvalidArgument for a text that is no UTF-8; TypeError."""
    if isinstance(config, str):
        try:
            return config.encode()
        except UnicodeEncodeError as wrong:
            raise error(Code.INVALID_ARG, f"config is no UTF-8: {wrong}") from None
    if not isinstance(config, Mapping):
        raise TypeError(f"config is a dict, a str in JSON or a path, not {type(config).__name__}")
    return json.dumps(dict(config), default=os.fspath).encode()


def path_of(path: "os.PathLike[str]") -> bytes:
    """A path. Errors: InvalidArgument for one that C cannot carry."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise error(Code.INVALID_ARG, "the path has a NUL character in it")
    return encoded


def seconds(value: object, name: str) -> float:
    """A time in seconds. Errors: TypeError for what is no number; InvalidArgument for one that is no time."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {type(value).__name__}")
    try:
        given = float(value)
    except OverflowError:
        given = math.inf
    if not math.isfinite(given) or given < 0:
        raise error(Code.INVALID_ARG, f"{name} is {given}; it is a number of seconds from 0 on")
    return given


def whole(value: object, name: str, least: int, most: int) -> int:
    """A whole number. Errors: TypeError for what is none; InvalidArgument for one out of range."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is a whole number, not {type(value).__name__}")
    number = int(value)
    if not least <= number <= most:
        raise error(Code.INVALID_ARG, f"{name} is {number}; it is from {least} to {most}")
    return number


def timeout_of(value: object) -> Optional[float]:
    """How long to wait, in seconds; None: without end. Errors: as for seconds()."""
    # Python's own waits take no more than TIMEOUT_MAX, and somebody may add to it.
    return None if value is None else min(seconds(value, "timeout"), threading.TIMEOUT_MAX / 2)
