"""The state of the engine and its services at one moment. The fields that most programs need are typed; `raw` has all of them, as
`failover status --json` prints them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

__all__ = [
    "CheckStatus",
    "Finding",
    "Forecast",
    "LastFailover",
    "Pause",
    "PlannedSwitchover",
    "Reason",
    "ServerStatus",
    "ServiceStatus",
    "Status",
    "SyncSet",
]


@dataclass(frozen=True)
class Reason:
    """A stable name, and the evidence in one sentence. remedy: the remedy, empty if the sentence says it or only time helps."""

    code: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that would hurt at failover time. server: whose; None of the route and of the engine. code: a FindingCode. blocking: a
    failover would not work; otherwise it would be slower or riskier. why: why it matters at failover time. remedy: what mends it.
    asked_ms: how long ago it was found. service: of a finding of Engine.check_all, whose; None in a status, and of the engine itself."""

    code: str
    server: Optional[str]
    blocking: bool
    message: str
    why: str
    remedy: str
    asked_ms: int
    service: Optional[str] = None


@dataclass(frozen=True)
class CheckStatus:
    """One check. health: "unknown", "healthy", "degraded" or "unhealthy". verdict: the last answer, "up", "impaired", "down" or
    "unknown"; None before the first. remedy: what mends it, empty where nothing is known. latency_ms, age_ms: how long its last run
    took, and how long ago that ended."""

    name: str
    kind: str
    health: str
    verdict: Optional[str]
    message: str
    remedy: str
    latency_ms: float
    age_ms: int
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)


@dataclass(frozen=True)
class ServerStatus:
    """One server. role: "primary", "standby", "writable", "foreign" or "unknown". answers: something answers there that only a living
    server gives. deposed: a former primary that has not been rejoined. cordoned: an operator keeps it from being promoted. not_promotable: of a standby, why it could not be
    promoted now. lag_bytes: of a PostgreSQL standby, bytes behind the primary; None where it is not known. to_replay_bytes: what
    it has received and not yet replayed; a promotion replays that first. host, port: by configuration; a host that begins with "/"
    is the folder of a UNIX socket."""

    name: str
    role: str
    health: str
    answers: bool
    deposed: bool
    not_promotable: Optional[Reason]
    lag_bytes: Optional[int]
    checks: List[CheckStatus]
    cordoned: bool = False
    to_replay_bytes: Optional[int] = None
    host: str = ""
    port: int = 0
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)


@dataclass(frozen=True)
class Forecast:
    """What would happen if the primary died now. loss_bytes: how much of the log could be missing, read where loss_exact, else estimated;
    None when it is not known. holds_acknowledged: no acknowledged commit that waited for a
    standby can be missing; sessions that set synchronous_commit to off or local do not wait. loss: the same in the words in which the
    record of a failover would say it. salvage: log that only the primary's disk has would be carried to the standby before its promotion,
    while the primary's host answers: then nothing is lost; salvage_hindered: why that would not be done.
    preferred: why this standby and not the next best one."""

    would_fail_over: bool
    candidate: Optional[str]
    loss_bytes: Optional[int]
    message: str
    reasons: List[Reason]
    loss_exact: bool = False
    loss: Optional[str] = None
    holds_acknowledged: bool = False
    salvage: bool = False
    salvage_hindered: Optional[str] = None
    preferred: Optional[str] = None


@dataclass(frozen=True)
class LastFailover:
    """The failover in flight, or the last one. outcome: "in_progress", "completed", "rolled_back" or "manual_intervention".
    source, target: the old primary and the new one. loss_bytes: how much of the log may be missing, read where loss_exact, else
    estimated; None when it is not known, also where the estimate is 0. holds_acknowledged: no acknowledged commit can be
    missing. loss: the same in the words of the record. salvage: what came of carrying over log that only the old primary's disk had: "off",
    "not_needed", "not_tried", "failed", "nothing_missing", "part" or "all"; the numbers beside it are None where the end of that log was not
    read. total_ms: from the first failed observation to the end."""

    generation: int
    outcome: str
    reason: str
    step: Optional[str]
    source: Optional[str]
    target: Optional[str]
    loss_bytes: Optional[int]
    total_ms: Optional[float]
    loss_exact: bool = False
    loss: Optional[str] = None
    holds_acknowledged: bool = False
    salvage: Optional[str] = None
    missing_bytes: Optional[int] = None
    salvaged_bytes: Optional[int] = None
    still_missing_bytes: Optional[int] = None
    salvaged_commits: Optional[int] = None
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)


@dataclass(frozen=True)
class Pause:
    """The present pause. reason: the operator's text. left_ms: the time that is left; None: until resume. withheld: what the engine
    does not do because of the pause: "unfinished_failover", "route", "names", "weight", "old_primary", "follow"."""

    reason: Optional[str]
    left_ms: Optional[int]
    withheld: List[Reason] = field(default_factory=list)


@dataclass(frozen=True)
class SyncSet:
    """The set of standbys that commits wait for (data.synchronous = "maintain"). wanted: how many a commit is to wait for. names:
    synchronous_standby_names of the primary. members: who may have acknowledged a commit. short: fewer than wanted can. changing: a change
    is not confirmed yet. problem: why the engine cannot keep the set; None: it can."""

    wanted: int
    names: str
    members: List[str]
    short: bool
    changing: bool
    problem: Optional[str] = None


@dataclass(frozen=True)
class PlannedSwitchover:
    """A switchover that begins later. to: the standby; None: the best one at that moment. at: RFC 3339, UTC."""

    to: Optional[str]
    at: str
    left_ms: int


@dataclass(frozen=True)
class Slot:
    """A replication slot. kind: "physical" or "logical". held_bytes: how much log it holds; None: none, or not known. wal_status: "reserved",
    "extended", "unreserved" or "lost"."""

    name: str
    kind: str
    active: bool
    held_bytes: Optional[int]
    wal_status: Optional[str]


@dataclass(frozen=True)
class TopologyNode:
    """A server in the tree of who streams from whom. upstream: from whom it receives; depth: how many are above it. replication: "primary",
    "writable", "streaming", "not_streaming", "hidden" or "unknown". sync_state: "sync", "quorum", "potential" or "async". doing: what it is
    doing now, for people. What is not known is None, never 0: also of a server that does not answer."""

    server: str
    upstream: Optional[str]
    depth: int
    replication: str
    sync_state: Optional[str]
    timeline: Optional[int]
    lag_bytes: Optional[int]
    lag_ms: Optional[int]
    doing: Optional[str]
    seen_ms: Optional[int]
    slots: Optional[List[Slot]]


@dataclass(frozen=True)
class Death:
    """What would happen when so many primaries have died one after the other, each after the failover before it has settled. candidate: who
    would take over; None: nobody."""

    deaths: int
    candidate: Optional[str]
    message: str


@dataclass(frozen=True)
class ServiceStatus:
    """One service. state: "normal", "degraded", "failing", "failover_in_progress", "failed_over" or "manual_intervention"; reason: why,
    in one sentence. primary: once it is known. generation: the number of the last failover or switch by hand; 0 before the first. health: that of the
    primary. refusals: why no failover would start now. pause: why and for how long it is paused; None while it is not.
    planned_switchover: one that begins later; None: none.
    topology: the servers of a database, each behind the one from which it receives. tolerates: what the cluster still bears.
    missing: what the service lacks although its primary is healthy, so that it is "degraded": "no_standby", or a finding of the
    route.
    readiness: the findings, those that block a failover first."""

    name: str
    kind: str
    state: str
    reason: str
    paused: bool
    awaiting_confirmation: bool
    primary: Optional[str]
    generation: int
    health: str
    servers: List[ServerStatus]
    refusals: List[Reason]
    forecast: Forecast
    failover: Optional[LastFailover]
    pause: Optional[Pause] = None
    missing: List[Reason] = field(default_factory=list)
    readiness: List[Finding] = field(default_factory=list)
    planned_switchover: Optional[PlannedSwitchover] = None
    sync_set: Optional[SyncSet] = None
    topology: List[TopologyNode] = field(default_factory=list)
    tolerates: List[Death] = field(default_factory=list)
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def server(self, name: str) -> ServerStatus:
        """The server of that name. Errors: KeyError."""
        return {server.name: server for server in self.servers}[name]


@dataclass(frozen=True)
class Status:
    """Everything. engine: "new", "running", "stopping" or "stopped". faulted: the bug that froze all decisions, where there was one.
    doubt: why the engine may not trust its own view now. uptime_ms: since the start. host_functions: what checks of kind "host" ask the
    program for, and who answers, "function" or "tasks"; None: nobody, and the engine does not start."""

    version: str
    engine: str
    uptime_ms: int
    faulted: Optional[str]
    doubt: Optional[str]
    services: List[ServiceStatus]
    host_functions: Dict[str, Optional[str]] = field(default_factory=dict)
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def service(self, name: str) -> ServiceStatus:
        """The service of that name. Errors: KeyError."""
        return {service.name: service for service in self.services}[name]

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Status:
        """From what `failover status --json` prints, or `raw`."""
        return cls(
            version=raw["version"],
            engine=raw["engine"],
            uptime_ms=raw["uptime_ms"],
            faulted=raw.get("faulted"),
            doubt=raw.get("doubt"),
            services=[_service(service) for service in raw["services"]],
            host_functions={one["name"]: one.get("answered_by") for one in raw.get("host_functions", [])},
            raw=dict(raw),
        )


def _reason(raw: Optional[Mapping[str, Any]]) -> Optional[Reason]:
    return None if raw is None else Reason(code=raw["code"], message=raw["message"], remedy=raw.get("remedy", ""))


def finding_of(raw: Mapping[str, Any]) -> Finding:
    """From the JSON of a finding."""
    return Finding(
        code=raw["code"],
        server=raw.get("server"),
        blocking=raw["blocking"],
        message=raw["message"],
        why=raw.get("why", ""),
        remedy=raw.get("remedy", ""),
        asked_ms=raw.get("asked_ms", 0),
        service=raw.get("service"),
    )


def forecast_of(raw: Mapping[str, Any]) -> Forecast:
    """From the JSON of a forecast."""
    return Forecast(
        would_fail_over=raw["would_fail_over"],
        candidate=raw.get("candidate"),
        loss_bytes=raw.get("loss_bytes"),
        message=raw["message"],
        reasons=_reasons(raw["reasons"]),
        loss_exact=raw.get("loss_exact", False),
        loss=raw.get("loss"),
        holds_acknowledged=raw.get("holds_acknowledged", False),
        salvage=raw.get("salvage", False),
        salvage_hindered=raw.get("salvage_hindered"),
        preferred=raw.get("preferred"),
    )


def _reasons(raw: List[Mapping[str, Any]]) -> List[Reason]:
    return [Reason(code=one["code"], message=one["message"], remedy=one.get("remedy", "")) for one in raw]


def _check(raw: Dict[str, Any]) -> CheckStatus:
    return CheckStatus(
        name=raw["name"],
        kind=raw["kind"],
        health=raw["health"],
        verdict=raw.get("verdict"),
        message=raw["message"],
        remedy=raw.get("remedy", ""),
        latency_ms=raw["latency_ms"],
        age_ms=raw["age_ms"],
        raw=raw,
    )


def _server(raw: Dict[str, Any]) -> ServerStatus:
    sample = raw.get("sample") or {}
    return ServerStatus(
        name=raw["name"],
        role=raw["role"],
        health=raw["health"],
        answers=bool(raw.get("answers")),
        deposed=raw["deposed"],
        not_promotable=_reason(raw.get("not_promotable")),
        lag_bytes=sample.get("lag_bytes"),
        checks=[_check(check) for check in raw["checks"]],
        cordoned=bool(raw.get("cordoned")),
        to_replay_bytes=sample.get("to_replay_bytes"),
        host=raw.get("host", ""),
        port=raw.get("port", 0),
        raw=raw,
    )


def _failover(raw: Optional[Dict[str, Any]]) -> Optional[LastFailover]:
    if raw is None:
        return None
    return LastFailover(
        generation=raw["generation"],
        outcome=raw["outcome"],
        reason=raw["reason"],
        step=raw.get("step"),
        source=raw.get("from"),
        target=raw.get("to"),
        loss_bytes=raw.get("loss_bytes"),
        total_ms=raw.get("total_ms"),
        loss_exact=raw.get("loss_exact", False),
        loss=raw.get("loss"),
        holds_acknowledged=raw.get("holds_acknowledged", False),
        salvage=raw.get("salvage"),
        missing_bytes=raw.get("missing_bytes"),
        salvaged_bytes=raw.get("salvaged_bytes"),
        still_missing_bytes=raw.get("still_missing_bytes"),
        salvaged_commits=raw.get("salvaged_commits"),
        raw=raw,
    )


def _pause(raw: Optional[Mapping[str, Any]]) -> Optional[Pause]:
    return None if raw is None else Pause(
        reason=raw.get("reason"), left_ms=raw.get("left_ms"), withheld=_reasons(raw.get("withheld", []))
    )


def _sync_set(raw: Optional[Mapping[str, Any]]) -> Optional[SyncSet]:
    return None if raw is None else SyncSet(
        wanted=raw["wanted"],
        names=raw["names"],
        members=list(raw["members"]),
        short=bool(raw["short"]),
        changing=bool(raw["changing"]),
        problem=raw.get("problem"),
    )


def _planned(raw: Optional[Mapping[str, Any]]) -> Optional[PlannedSwitchover]:
    return None if raw is None else PlannedSwitchover(to=raw.get("to"), at=raw["at"], left_ms=raw["left_ms"])


def _node(raw: Mapping[str, Any]) -> TopologyNode:
    slots = raw.get("slots")
    return TopologyNode(
        server=raw["server"],
        upstream=raw.get("upstream"),
        depth=raw["depth"],
        replication=raw["replication"],
        sync_state=raw.get("sync_state"),
        timeline=raw.get("timeline"),
        lag_bytes=raw.get("lag_bytes"),
        lag_ms=raw.get("lag_ms"),
        doing=raw.get("doing"),
        seen_ms=raw.get("seen_ms"),
        slots=None if slots is None else [
            Slot(one["name"], one["kind"], one["active"], one.get("held_bytes"), one.get("wal_status")) for one in slots
        ],
    )


def _service(raw: Dict[str, Any]) -> ServiceStatus:
    servers = [_server(server) for server in raw["servers"]]
    primary = raw.get("primary")
    health = next((server.health for server in servers if server.name == primary), "unknown")
    return ServiceStatus(
        name=raw["name"],
        kind=raw["kind"],
        state=raw["state"],
        reason=raw["reason"],
        paused=raw["paused"],
        awaiting_confirmation=raw["awaiting_confirmation"],
        primary=primary,
        generation=raw["generation"],
        health=health,
        servers=servers,
        refusals=_reasons(raw["refusals"]),
        forecast=forecast_of(raw["forecast"]),
        failover=_failover(raw.get("failover")),
        pause=_pause(raw.get("pause")),
        missing=_reasons(raw.get("missing", [])),
        readiness=[finding_of(one) for one in raw.get("readiness", [])],
        planned_switchover=_planned(raw.get("planned_switchover")),
        sync_set=_sync_set(raw.get("sync_set")),
        topology=[_node(one) for one in raw.get("topology", [])],
        tolerates=[Death(one["deaths"], one.get("candidate"), one["message"]) for one in raw.get("tolerates", [])],
        raw=raw,
    )
