"""Configurations and paths on their way into the library."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, Union

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
