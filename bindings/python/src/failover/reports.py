"""What `failover check`, `doctor`, `validate` and `replay` find. What most programs need is typed; `raw` has the rest, as --json prints it."""

from __future__ import annotations

import json
import os
from ctypes import byref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Union

from ._arguments import Config, document, path_of
from ._library import lib
from ._signatures import ReportHandle
from .errors import call
from .status import Finding, Forecast, finding_of, forecast_of

__all__ = [
    "CheckResult",
    "CheckSummary",
    "DoctorReport",
    "Preflight",
    "PreflightLine",
    "Problem",
    "ReplayReport",
    "Survived",
    "Validation",
    "effective_config",
    "replay",
    "validate",
]


@dataclass(frozen=True)
class CheckResult:
    """One check that was run once. verdict: "up", "impaired", "down" or "unknown"; reason: behind the verdict, empty for "up". remedy: what
    mends it, empty where nothing is known."""

    service: str
    server: str
    check: str
    kind: str
    verdict: str
    reason: str
    message: str
    remedy: str
    latency_ms: float
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)


@dataclass(frozen=True)
class CheckSummary:
    """The result of Engine.check_all. all_up: every check is "up", but for those that the program itself answers. ready: no finding
    is blocking. readiness: what would hurt at failover time; the `service` of a finding is None where it is of the engine itself.
    forecasts: what would happen if a primary died now, by service; sentences: the same in one sentence, which knows the
    findings."""

    all_up: bool
    ready: bool
    checks: List[CheckResult]
    readiness: List[Finding]
    forecasts: Dict[str, Forecast]
    sentences: Dict[str, str]
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def passed(self) -> bool:
        """Everything is up, and nothing would stop a failover."""
        return self.all_up and self.ready

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> CheckSummary:
        """From what `failover check --json` prints, or `raw`."""
        return cls(
            all_up=raw["all_up"],
            ready=raw["ready"],
            checks=[_check(one) for one in raw["checks"]],
            readiness=[finding_of(one) for one in raw["readiness"]],
            forecasts={one["service"]: forecast_of(one["forecast"]) for one in raw["forecasts"]},
            sentences={one["service"]: one.get("sentence", "") for one in raw["forecasts"]},
            raw=dict(raw),
        )


@dataclass(frozen=True)
class DoctorReport:
    """The result of Engine.doctor. ready: no finding is blocking. sentence, forecast: what would happen if the primary died now;
    None of a service that cannot be failed over. findings: what would hurt at failover time, what would stop it first, with `why`
    and `remedy`."""

    service: str
    ready: bool
    sentence: str
    forecast: Optional[Forecast]
    findings: List[Finding]
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> DoctorReport:
        """From what `failover doctor --json` prints, or `raw`."""
        forecast = raw.get("forecast")
        return cls(
            service=raw["service"],
            ready=raw["ready"],
            sentence=raw.get("sentence", ""),
            forecast=None if forecast is None else forecast_of(forecast),
            findings=[finding_of(one) for one in raw["findings"]],
            raw=dict(raw),
        )


@dataclass(frozen=True)
class PreflightLine:
    """One thing that was looked at before a switchover. level: "ok", "warning" or "refused". remedy: what mends it; empty where nothing
    has to be mended."""

    name: str
    level: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Preflight:
    """The result of Engine.switchover_preflight. ready: a switchover would begin."""

    ready: bool
    lines: List[PreflightLine]
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Preflight:
        """From what `failover switchover --dry-run --json` prints, or `raw`."""
        lines = [
            PreflightLine(name=one["name"], level=one["level"], message=one["message"], remedy=one["remedy"])
            for one in raw.get("preflight", [])
        ]
        return cls(ready=all(line.level != "refused" for line in lines), lines=lines, raw=dict(raw))


@dataclass(frozen=True)
class Survived:
    """What Engine.survived found out. survived: "yes", "no" or "unknown". reason: why, in one word; message: in one sentence. primary: the
    server that was asked; timeline: the one on which it writes, None where it was not asked."""

    survived: str
    reason: str
    message: str
    primary: Optional[str] = None
    timeline: Optional[int] = None
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Survived:
        """From what `failover survived --json` prints, or `raw`."""
        return cls(
            survived=raw["survived"],
            reason=raw["reason"],
            message=raw["message"],
            primary=raw.get("primary"),
            timeline=raw.get("timeline"),
            raw=dict(raw),
        )


@dataclass(frozen=True)
class Problem:
    """A mistake in a configuration, or what looks like one. path: the JSON pointer to the value. value: as it was read; a secret is masked.
    line, column: from 1, where they are known."""

    path: str
    reason: str
    remedy: str
    value: Optional[str] = None
    line: Optional[int] = None
    column: Optional[int] = None


@dataclass(frozen=True)
class Validation:
    """The result of validate(). valid: an engine can be made of it. errors: every mistake at once; warnings: what looks wrong but
    does not stop the engine. file: None of a dict or a text."""

    valid: bool
    file: Optional[str]
    errors: List[Problem]
    warnings: List[Problem]
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)


@dataclass(frozen=True)
class ReplayReport:
    """The result of replay(). same: this version comes to the same decision, bit for bit; else differences says what differs. kind:
    "failover", or the name of the event that says why there is none. why: the decision in one sentence. events: what was told on
    the way."""

    same: bool
    version: str
    time: str
    service: str
    kind: str
    generation: int
    why: str
    inputs: int
    span_ms: int
    differences: List[str]
    events: List[str]
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)


def validate(config: Config) -> Validation:
    """Everything that is wrong with a configuration, and what it is warned of: what `failover validate` says. config: as of Engine(). Makes no
    engine; blocks while files are read.

    Errors: InvalidArgument where it is no text. A configuration with mistakes is none: `valid` is False then.
    """
    if isinstance(config, os.PathLike):
        raw = taken(lib.failover_config_validate_from_file, path_of(config))
    else:
        text = document(config)
        raw = taken(lib.failover_config_validate, text, len(text))
    return Validation(
        valid=raw["valid"],
        file=raw.get("file"),
        errors=[_problem(one) for one in raw["errors"]],
        warnings=[_problem(one) for one in raw["warnings"]],
        raw=raw,
    )


def effective_config(config: Config) -> Dict[str, Any]:
    """A configuration with every default filled in, secrets masked or named by where they are found: what `failover validate
    --print-effective --json` prints. Engine.config() has that of an engine. Blocks while files are read. Errors: ConfigError, InvalidArgument.
    """
    if isinstance(config, os.PathLike):
        return taken(lib.failover_config_effective_from_file, path_of(config))
    text = document(config)
    return taken(lib.failover_config_effective, text, len(text))


def replay(path: Union[str, "os.PathLike[str]"]) -> ReplayReport:
    """Replays the record of a decision: a file from evidence/ of an engine's state_dir. Blocks for some milliseconds.

    Errors: InvalidArgument when it cannot be read, or is no record that this version understands.
    """
    raw = taken(lib.failover_replay, path_of(Path(path)))
    known = {name: raw[name] for name in ReplayReport.__dataclass_fields__ if name != "raw"}
    return ReplayReport(**known, raw=raw)


def taken(function: Any, *arguments: Any) -> Dict[str, Any]:
    """Calls a function of the library that gives a report, and reads it."""
    handle = ReportHandle()
    call(function, *arguments, byref(handle))
    return read(handle)


def read(handle: ReportHandle) -> Dict[str, Any]:
    """The report behind a handle, which is freed."""
    try:
        report: Dict[str, Any] = json.loads(lib.failover_report_json(handle))
        return report
    finally:
        lib.failover_report_free(handle)


def _check(raw: Dict[str, Any]) -> CheckResult:
    known = {name: raw[name] for name in CheckResult.__dataclass_fields__ if name != "raw"}
    return CheckResult(**known, raw=raw)


def _problem(raw: Mapping[str, Any]) -> Problem:
    return Problem(
        path=raw["path"],
        reason=raw["reason"],
        remedy=raw["remedy"],
        value=raw.get("value"),
        line=raw.get("line"),
        column=raw.get("column"),
    )
