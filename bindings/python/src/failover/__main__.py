"""The command line of the package: python -m failover version, python -m failover validate FILE."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Optional

from . import ConfigError, Engine, FailoverError, __version__, abi_version, validate
from ._library import lib

# Those of the command line: a wrong configuration, and what could not be looked at.
WRONG = 2
FAILED = 5


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m failover",
        description="Automatic failover, embedded: the binding of libfailover. It changes nothing and connects to nothing.",
    )
    parser.add_argument("--version", action="version", version=f"failover {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("version", help="the package, the library that it uses, and the number of the C interface")
    validate = commands.add_parser("validate", help="every mistake of a configuration at once, with its place and its remedy")
    validate.add_argument("file", type=Path, metavar="FILE", help="TOML or JSON")
    return parser


def _version() -> int:
    major, minor = abi_version()
    print(f"failover {__version__}\nlibrary {lib._name}\nC interface {major}.{minor}")
    return 0


def _validate(file: Path) -> int:
    try:
        # Nothing begins before it is started.
        Engine(file).close()
    except ConfigError as error:
        for mistake in error.details:
            print(f"error: {mistake['path']}\n  {mistake['reason']}\n  remedy: {mistake['remedy']}", file=sys.stderr)
        count = len(error.details)
        told = f"{count} error{'s' if count > 1 else ''}" if count else error.message
        print(f"{file}: {told}", file=sys.stderr)
        return WRONG
    except FailoverError as error:
        print(f"{file}: {error.message}", file=sys.stderr)
        return FAILED
    for warning in validate(file).warnings:
        print(f"warning: {warning.path}\n  {warning.reason}\n  remedy: {warning.remedy}", file=sys.stderr)
    print(f"{file}: valid")
    return 0


def main(arguments: Optional[List[str]] = None) -> int:
    """Carries out the arguments and returns the exit code."""
    given = _arguments().parse_args(arguments)
    return _version() if given.command == "version" else _validate(given.file)


if __name__ == "__main__":
    sys.exit(main())
