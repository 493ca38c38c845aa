"""Finds and loads the shared library: the file named by FAILOVER_LIBRARY, else the one inside this package, else the system's."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Tuple

from ._signatures import ABI_VERSION, SIGNATURES

FILE_NAME = "libfailover.0.dylib" if sys.platform == "darwin" else "libfailover.so.0"


class LibraryError(ImportError):
    """The shared library cannot be loaded, or does not fit this package."""


def _split(abi: int) -> Tuple[int, int]:
    return abi >> 16, abi & 0xFFFF


def _candidate() -> str:
    named = os.environ.get("FAILOVER_LIBRARY")
    if named:
        return named
    inside = Path(__file__).with_name(FILE_NAME)
    # A bare name is looked for where the system keeps its libraries.
    return str(inside) if inside.exists() else FILE_NAME


def load() -> ctypes.CDLL:
    """Loads the library and declares every function.

    Errors: LibraryError, which says what was tried and what to do.
    """
    path = _candidate()
    try:
        # Never PyDLL: calls that wait must let other threads of the interpreter run.
        library = ctypes.CDLL(path)
    except OSError as error:
        raise LibraryError(
            f"cannot load {path}: {error}; install a wheel that has the library inside, install {FILE_NAME} where the system "
            "looks for libraries, or name the file in FAILOVER_LIBRARY"
        ) from error
    try:
        abi_version = library.failover_abi_version
        abi_version.restype, abi_version.argtypes = SIGNATURES["failover_abi_version"]
        check_abi(path, int(abi_version()))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
    except AttributeError as error:
        raise LibraryError(f"{path} is no libfailover, or a broken one: {error}") from error
    return library


def check_abi(path: str, found: int) -> None:
    """Refuses a library with another major number of the interface, or a lower minor one."""
    (major, minor), (wanted_major, wanted_minor) = _split(found), _split(ABI_VERSION)
    if major != wanted_major or minor < wanted_minor:
        raise LibraryError(
            f"{path} has interface {major}.{minor}; this package needs {wanted_major}.{wanted_minor} or a later one of "
            f"{wanted_major}: use the library that belongs to it"
        )


lib = load()


def version() -> str:
    """The version of the library, such as "1.2.3". Any thread; does not block."""
    text: bytes = lib.failover_version()
    return text.decode()


def abi_version() -> Tuple[int, int]:
    """The version of the library's C interface: major and minor number. Any thread; does not block."""
    return _split(int(lib.failover_abi_version()))
