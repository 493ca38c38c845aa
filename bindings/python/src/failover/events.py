"""Events: what happened, in one order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import Any, Dict, Optional, Union

from ._library import lib
from ._signatures import EventHandle

__all__ = ["Event", "EventKind", "Severity"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class EventKind(str, Enum):
    """The kinds of events. A newer library may have more: they arrive as plain strings."""

    # generated: kinds
    ENGINE_STARTED = "engine_started"
    ENGINE_STOPPED = "engine_stopped"
    CONFIG_RELOADED = "config_reloaded"
    OBSERVED = "observed"
    HEALTH_CHANGED = "health_changed"
    STATE_CHANGED = "state_changed"
    SESSION_CLOSED = "session_closed"
    CONFIRMATION_STARTED = "confirmation_started"
    EVIDENCE_GATHERED = "evidence_gathered"
    FAILURE_CONFIRMED = "failure_confirmed"
    FAILOVER_SUPPRESSED = "failover_suppressed"
    FAILOVER_REFUSED = "failover_refused"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    FAILOVER_STARTED = "failover_started"
    FAILOVER_RESUMED = "failover_resumed"
    STEP_STARTED = "step_started"
    STEP_FINISHED = "step_finished"
    POINT_OF_NO_RETURN = "point_of_no_return"
    FAILOVER_COMPLETED = "failover_completed"
    FAILOVER_FAILED = "failover_failed"
    ROLLED_BACK = "rolled_back"
    MANUAL_INTERVENTION = "manual_intervention"
    PRIMARY_KNOWN = "primary_known"
    STANDBY_NOT_READY = "standby_not_ready"
    STANDBY_READY = "standby_ready"
    TWO_PRIMARIES = "two_primaries"
    WRONG_CLUSTER = "wrong_cluster"
    ROUTE_ASSERTED = "route_asserted"
    OLD_PRIMARY_RETURNED = "old_primary_returned"
    DOUBT_RAISED = "doubt_raised"
    DOUBT_CLEARED = "doubt_cleared"
    READINESS_CHANGED = "readiness_changed"
    OPERATOR_COMMAND = "operator_command"
    JOURNAL_STATE = "journal_state"
    TASK_CHECK = "task_check"
    TASK_ACTION = "task_action"
    OVERFLOW = "overflow"
    FAULTED = "faulted"
    LOG = "log"
    FALSE_POSITIVE = "false_positive"
    BREAKER_CHANGED = "breaker_changed"
    OTHER_BRANCH = "other_branch"
    STANDBY_REPOINTED = "standby_repointed"
    STANDBY_NOT_REPOINTED = "standby_not_repointed"
    SYNC_NAMES_RESTORED = "sync_names_restored"
    REJOIN_STARTED = "rejoin_started"
    REJOIN_STEP = "rejoin_step"
    LOST_TRANSACTIONS = "lost_transactions"
    REJOIN_ENDED = "rejoin_ended"
    SYNC_SET_CHANGED = "sync_set_changed"
    SYNC_SET_SHORT = "sync_set_short"
    SYNC_SET_NOT_KEPT = "sync_set_not_kept"
    COPY_PROGRESS = "copy_progress"
    OLD_DATA_KEPT = "old_data_kept"
    NOTIFY_STATE = "notify_state"
    NOTIFY_LOST = "notify_lost"
    NOTIFY_TEST = "notify_test"
    # end

    def __str__(self) -> str:
        return str(self.value)


class Severity(IntEnum):
    """The severity of an event."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ALARM = 3


@dataclass(frozen=True)
class Event:
    """One event. It does not change and may be shared between threads.

    kind: a word (EventKind, or a plain str that a newer library knows). severity: 0 to 3 (Severity). seq: its place in the one order,
    from 1; a gap means that events were dropped, and one of kind "overflow" stands in it. time: wall clock, UTC, for people.
    mono_ns: nanoseconds on the engine's monotonic clock since it was made. generation: the number of the failover it belongs to, or
    of the service's last one; 0 before the first. message: one sentence for people. fields: what belongs to its kind.
    number: the number of its kind in the C interface. remedy: what mends what it tells; empty where nothing is to be mended, or how is
    not known. host, port: those of `server` by configuration: "failover_completed" and "primary_known" are about the new primary.
    """

    kind: Union[EventKind, str]
    severity: int
    seq: int
    time: datetime
    mono_ns: int
    generation: int
    service: Optional[str]
    server: Optional[str]
    message: str
    fields: Dict[str, Any] = field(default_factory=dict, hash=False)
    number: int = 0
    remedy: str = ""
    host: Optional[str] = None
    port: Optional[int] = None


_WORDS: Dict[str, EventKind] = {kind.value: kind for kind in EventKind}


def _word(word: str, number: int) -> Union[EventKind, str]:
    known = _WORDS.get(word)
    if known is not None:
        return known
    return str(number) if word in ("", "unknown") else word


def _severity(number: int) -> int:
    try:
        return Severity(number)
    except ValueError:
        return number


def take(handle: EventHandle) -> Event:
    """The event behind a handle, which is freed."""
    try:
        number = int(lib.failover_event_kind(handle))
        whole: Dict[str, Any] = json.loads(lib.failover_event_json(handle))
        return Event(
            kind=_word(whole.get("kind", ""), number),
            severity=_severity(int(lib.failover_event_severity(handle))),
            seq=int(whole.get("seq", 0)),
            time=_EPOCH + timedelta(microseconds=int(lib.failover_event_time_ns(handle)) // 1000),
            mono_ns=int(whole.get("mono_ns", 0)),
            generation=int(whole.get("generation", 0)),
            service=whole.get("service"),
            server=whole.get("server"),
            message=whole.get("message", ""),
            fields=whole.get("fields") or {},
            number=number,
            remedy=whole.get("remedy", ""),
            host=whole.get("host"),
            port=whole.get("port"),
        )
    finally:
        lib.failover_event_free(handle)
