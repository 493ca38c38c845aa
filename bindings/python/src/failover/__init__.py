"""libfailover: automatic failover, embedded in a Python program. docs/python.md is the guide.

from pathlib import Path
from failover import Engine

with Engine(Path("failover.toml")) as engine:
    for event in engine.events():
        print(event.kind, event.message)
"""

from ._arguments import Config
from ._library import LibraryError, abi_version, version
from .breaker import BreakerState, CircuitBreaker
from .codes import FindingCode, RefusalCode, StandbyRefusalCode
from .engine import Engine, Events
from .errors import (
    Code,
    ConfigError,
    FailoverError,
    Faulted,
    Forked,
    HandlerError,
    InvalidArgument,
    Panic,
    Reentrant,
    Rejected,
    StateError,
    SystemFault,
    Timeout,
    UnknownTask,
    Unsupported,
)
from .events import Event, EventKind, Severity
from .reports import (
    CheckResult,
    CheckSummary,
    DoctorReport,
    Preflight,
    PreflightLine,
    Problem,
    ReplayReport,
    Survived,
    Validation,
    effective_config,
    replay,
    validate,
)
from .status import (
    CheckStatus,
    Death,
    Finding,
    Forecast,
    LastFailover,
    Pause,
    PlannedSwitchover,
    Reason,
    ServerStatus,
    ServiceStatus,
    Slot,
    Status,
    SyncSet,
    TopologyNode,
)
from .tasks import Answer, Done, NoEffect, Outcome, Task, TaskResult, Unknown

__version__ = version()

__all__ = [
    "Answer",
    "BreakerState",
    "CheckResult",
    "CheckStatus",
    "CheckSummary",
    "CircuitBreaker",
    "Code",
    "Config",
    "ConfigError",
    "Death",
    "DoctorReport",
    "Done",
    "Engine",
    "Event",
    "EventKind",
    "Events",
    "FailoverError",
    "Faulted",
    "Finding",
    "FindingCode",
    "Forecast",
    "Forked",
    "HandlerError",
    "InvalidArgument",
    "LastFailover",
    "LibraryError",
    "NoEffect",
    "Outcome",
    "Panic",
    "Pause",
    "PlannedSwitchover",
    "Preflight",
    "PreflightLine",
    "Problem",
    "Reason",
    "Reentrant",
    "RefusalCode",
    "Rejected",
    "ReplayReport",
    "ServerStatus",
    "ServiceStatus",
    "Severity",
    "Slot",
    "StandbyRefusalCode",
    "StateError",
    "Status",
    "Survived",
    "SyncSet",
    "SystemFault",
    "Task",
    "TaskResult",
    "Timeout",
    "TopologyNode",
    "Unknown",
    "UnknownTask",
    "Unsupported",
    "Validation",
    "__version__",
    "abi_version",
    "effective_config",
    "replay",
    "validate",
    "version",
]
