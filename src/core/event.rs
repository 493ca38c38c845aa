//! The events of the core.

use super::id::{Generation, Seq, ServerId, ServiceId};
use super::output::Step;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// One event. The shell adds the wall-clock time and the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the one order of events.
    pub seq: Seq,
    /// When.
    pub at: Mono,
    /// What happened.
    pub kind: EventKind,
    /// Its severity.
    pub severity: Severity,
    /// The service, where it belongs to one.
    pub service: Option<ServiceId>,
    /// The server, where it belongs to one.
    pub server: Option<ServerId>,
    /// The failover it belongs to, or the service's last one.
    pub generation: Generation,
    /// One sentence for people.
    pub message: String,
    /// The same for machines.
    pub fields: Vec<(&'static str, Field)>,
    /// What the engine itself takes from it: fields and sentence are words for others.
    pub fact: Option<Fact>,
}

/// What an event says, in types. Its kind and its first fields follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A step began.
    StepStarted {
        /// The step.
        step: Step,
        /// What it acts on, by name; empty: on the whole service.
        target: String,
        /// It takes something back.
        undoing: bool,
        /// Nothing is undone any more.
        past_no_return: bool,
    },
    /// A step ended.
    StepFinished {
        /// The step.
        step: Step,
        /// What it acted on, by name; empty: on the whole service.
        target: String,
        /// It did what it should.
        ok: bool,
        /// One line for people.
        detail: String,
    },
}

impl Fact {
    /// The kind of the event that says it.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Fact::StepStarted { .. } => EventKind::StepStarted,
            Fact::StepFinished { .. } => EventKind::StepFinished,
        }
    }

    /// The fields of that event.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Field)> {
        let text = |value: &str| Field::Text(value.to_owned());
        match self {
            Fact::StepStarted { step, target, undoing, past_no_return } => vec![
                ("step", text(step.as_str())),
                ("target", text(target)),
                ("undoing", Field::Bool(*undoing)),
                ("past_no_return", Field::Bool(*past_no_return)),
            ],
            Fact::StepFinished { step, target, ok, detail } => {
                vec![("step", text(step.as_str())), ("target", text(target)), ("ok", Field::Bool(*ok)), ("detail", text(detail))]
            }
        }
    }
}

/// A value in an event's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A word or a text.
    Text(String),
    /// A number.
    Int(u64),
    /// Yes or no.
    Bool(bool),
    /// A span of time; rendered in milliseconds with fractions under a name ending in `_ms`.
    Span(Span),
    /// A list.
    List(Vec<Field>),
    /// A group of named values.
    Group(Vec<(&'static str, Field)>),
}

/// The severity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Details: single observations.
    Debug,
    /// Normal operation.
    Info,
    /// Somebody should know.
    Warning,
    /// Somebody should come.
    Alarm,
}

impl Severity {
    /// The word used in events and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Alarm => "alarm",
        }
    }
}

/// Where an event stands in the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The engine itself.
    Engine,
    /// Observations of servers and routes.
    Seen,
    /// From the first bad sign to a decision.
    Decision,
    /// A failover.
    Failover,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A word or a text.
    Text,
    /// A number without a sign.
    Int,
    /// Yes or no.
    Bool,
    /// Milliseconds with fractions.
    Ms,
    /// A list of texts.
    Texts,
    /// A list of groups.
    Groups,
}

impl FieldKind {
    /// Whether a value is of this kind.
    #[must_use]
    pub fn holds(self, value: &Field) -> bool {
        match (self, value) {
            (FieldKind::Text, Field::Text(_))
            | (FieldKind::Int, Field::Int(_))
            | (FieldKind::Bool, Field::Bool(_))
            | (FieldKind::Ms, Field::Span(_)) => true,
            (FieldKind::Texts, Field::List(items)) => items.iter().all(|item| matches!(item, Field::Text(_))),
            (FieldKind::Groups, Field::List(items)) => items.iter().all(|item| matches!(item, Field::Group(_))),
            _ => false,
        }
    }
}

/// One field of a kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRow {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// What the value describes, or which words it can be; empty if the name is enough.
    pub about: &'static str,
}

/// The remedy for what an event reports. Events without a problem have no remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing needs a remedy, or the events around this one have it.
    No,
    /// These words, with `{service}` and `{server}` for names.
    Text(&'static str),
    /// The remedy of the refusal with this name.
    Refusal(&'static str),
    /// The remedy differs each time: that of the refusal or the finding that a field names, or its own.
    Named,
}

/// One line of the table of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The kind.
    pub kind: EventKind,
    /// Its number in the C interface. A number is never reused for another kind.
    pub number: i32,
    /// Where it stands in the reference.
    pub group: Group,
    /// The severities that it can have.
    pub severities: &'static [Severity],
    /// What it means, as a sentence.
    pub means: &'static str,
    /// When it is published.
    pub when: &'static str,
    /// Its fields. An event of this kind need not have all of them.
    pub fields: &'static [FieldRow],
    /// Its remedy.
    pub remedy: Remedy,
}

impl EventRow {
    /// What is wrong with a field by this table; `None`: it is declared, and of its kind. What was told again and again has `repeated` and
    /// `within_ms` and `last_ago_ms` beside its own, and any event may bring its `remedy`.
    #[must_use]
    pub fn disagrees(&self, name: &str, value: &Field) -> Option<String> {
        let kind = match name {
            "repeated" => FieldKind::Int,
            "within_ms" | "last_ago_ms" => FieldKind::Ms,
            "remedy" => FieldKind::Text,
            _ => match self.fields.iter().find(|field| field.name == name) {
                Some(field) => field.kind,
                None => return Some(format!("{} has no field {name}", self.kind.as_str())),
            },
        };
        (!kind.holds(value)).then(|| format!("{}: {name} is no {kind:?}: {value:?}", self.kind.as_str()))
    }
}

macro_rules! event_kinds {
    ($(
        #[doc = $means:literal]
        $name:ident($number:literal) = $word:literal {
            $group:ident, [$($severity:ident),*], $when:literal,
            [$($field:literal: $field_kind:ident $(($about:literal))?,)*],
            $remedy:expr,
        }
    )*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum EventKind {
            $(#[doc = $means] $name,)*
        }

        impl EventKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$name,)*];

            /// The table: what each kind says, and what it brings.
            pub const TABLE: &'static [EventRow] = &[$(EventRow {
                kind: EventKind::$name,
                number: $number,
                group: Group::$group,
                severities: &[$(Severity::$severity),*],
                means: $means.trim_ascii(),
                when: $when,
                fields: &[$(FieldRow { name: $field, kind: FieldKind::$field_kind, about: concat!($($about)?) },)*],
                remedy: $remedy,
            },)*];

            /// The word used in JSON, logs and the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(EventKind::$name => $word,)* }
            }

            /// Its number in the C interface.
            #[must_use]
            pub fn number(self) -> i32 {
                match self { $(EventKind::$name => $number,)* }
            }

            /// Its line of the table.
            #[must_use]
            pub fn row(self) -> &'static EventRow {
                // Both are written by the same lines, in the same order.
                &EventKind::TABLE[self as usize]
            }
        }
    };
}

event_kinds! {
    /// The engine runs.
    EngineStarted(1) = "engine_started" {
        Engine, [Info], "the engine runs",
        [],
        Remedy::No,
    }
    /// The engine stopped. This is always the last event.
    EngineStopped(2) = "engine_stopped" {
        Engine, [Info], "the engine stopped; this is always the last event",
        [],
        Remedy::No,
    }
    /// A reload took effect.
    ConfigReloaded(3) = "config_reloaded" {
        Engine, [Info, Warning], "a reload took effect; a warning if the reload removed the route of a service",
        ["changes": Texts("the changed settings"),],
        Remedy::Text("put services.route back, and reload, where the clients of that service are to follow a failover"),
    }
    /// A check finished (severity debug; coalesced under pressure).
    Observed(4) = "observed" {
        Seen, [Debug], "a check finished",
        [
            "check": Text,
            "verdict": Text("`up`, `impaired`, `down`, `unknown`"),
            "reason": Text,
            "latency_ms": Ms,
            "detail": Text,
        ],
        Remedy::No,
    }
    /// The health of a check or a server changed.
    HealthChanged(5) = "health_changed" {
        Seen, [Info, Warning], "the health of a server or a check changed",
        [
            "from": Text,
            "to": Text("`unknown`, `healthy`, `degraded`, `unhealthy`"),
            "detail": Text,
        ],
        Remedy::No,
    }
    /// The state of a service's trigger changed.
    StateChanged(6) = "state_changed" {
        Decision, [Info, Warning, Alarm], "the state of a service changed",
        [
            "from": Text,
            "to": Text("`normal`, `degraded`, `failing`, `failover_in_progress`, `failed_over`, `manual_intervention`"),
            "why": Text,
        ],
        Remedy::No,
    }
    /// The other side closed a kept-open session.
    SessionClosed(7) = "session_closed" {
        Seen, [Warning], "the other side closed a kept-open session",
        [
            "cause": Text,
            "detail": Text,
        ],
        Remedy::No,
    }
    /// The engine began to collect fresh evidence.
    ConfirmationStarted(8) = "confirmation_started" {
        Decision, [Warning], "the failure threshold is reached, and the engine collects fresh evidence",
        [
            "evidence": Texts,
        ],
        Remedy::No,
    }
    /// A piece of evidence came in during a confirmation (from the host or from a standby).
    EvidenceGathered(9) = "evidence_gathered" {
        Decision, [Debug, Info, Warning, Alarm], "evidence from the host, a fence proven again, a corrected route, DNS names that follow, a growing weight in the route, or progress of following another service",
        [
            "why": Text,
            "timeline": Int("timeline of an old primary that has rejoined"),
            "failed": Texts,
            "fence_level": Int,
            "proof": Text,
            "share_percent": Int("share of the full weight, while it grows"),
            "follows": Text("the service that this service follows"),
            "primary": Text("the primary of that service"),
            "followed": Text("the primary of that service, once following it is complete"),
        ],
        Remedy::No,
    }
    /// The failure is confirmed, with class, evidence and thresholds.
    FailureConfirmed(10) = "failure_confirmed" {
        Decision, [Warning], "the failure is confirmed",
        [
            "class": Text,
            "detect_ms": Ms("since the first bad sign"),
            "evidence": Texts,
        ],
        Remedy::No,
    }
    /// The primary proved to be alive, or came back, before anything was changed.
    FailoverSuppressed(11) = "failover_suppressed" {
        Decision, [Info, Warning], "the primary proved to be alive before anything was changed",
        [
            "why": Text,
            "refusal": Text,
            "detail": Text,
            "evidence": Texts,
        ],
        Remedy::Named,
    }
    /// A named reason prevented a failover.
    FailoverRefused(12) = "failover_refused" {
        Decision, [Warning, Alarm], "a named reason prevented a failover",
        [
            "refusal": Text,
            "detail": Text,
            "evidence": Texts,
        ],
        Remedy::Named,
    }
    /// A failover waits for an operator.
    AwaitingConfirmation(13) = "awaiting_confirmation" {
        Decision, [Alarm], "a failover waits for an operator; without a service: the maximum number of failovers has begun within a minute, and others wait",
        [
            "class": Text,
            "evidence": Texts,
            "limit": Int("the maximum within a minute"),
            "services": Texts("the first services that wait"),
        ],
        Remedy::Refusal("awaiting_confirmation"),
    }
    /// A failover began.
    FailoverStarted(14) = "failover_started" {
        Failover, [Warning], "a failover begins",
        [
            "class": Text,
            "old_primary": Text,
            "fence_required": Int("the required level"),
            "evidence": Texts,
        ],
        Remedy::No,
    }
    /// The engine resumes a failover that an earlier engine began, or undoes it because the primary is alive.
    FailoverResumed(15) = "failover_resumed" {
        Failover, [Warning], "the engine resumes a failover that an earlier engine began",
        [
            "class": Text,
            "old_primary": Text,
            "promotion_begun": Bool,
            "detail": Text,
        ],
        Remedy::No,
    }
    /// A step began.
    StepStarted(16) = "step_started" {
        Failover, [Info], "a step began",
        [
            "step": Text,
            "target": Text,
            "undoing": Bool,
            "past_no_return": Bool,
        ],
        Remedy::No,
    }
    /// A step ended.
    StepFinished(17) = "step_finished" {
        Failover, [Info, Warning], "a step ended",
        [
            "step": Text,
            "target": Text,
            "ok": Bool,
            "detail": Text,
            "failure": Text("if the step failed: `no_effect`, `refused`, `unknown`, `timed_out`, `cancelled`"),
            "fence_level": Int("for a fence"),
            "guard_placed": Bool("for a fence"),
            "rungs": Groups("for a fence, each `name`, `ok`, `took_ms`, `note`"),
            "proof": Text("for a fence"),
            "timeline": Int("for a promotion"),
            "flush": Text("for a promotion or a write"),
            "commits": Bool("for a write"),
            "log_end": Text("for a salvage: where the log of the old primary ends"),
            "missing_bytes": Int("for a salvage: bytes of that log that the standby lacked"),
            "salvaged_bytes": Int("for a salvage: bytes of these that the standby has replayed"),
            "still_missing_bytes": Int("for a salvage: bytes that are lost if this standby is promoted"),
            "salvaged_commits": Int("for a salvage, if they could be counted"),
        ],
        Remedy::Named,
    }
    /// From here on the engine undoes nothing.
    PointOfNoReturn(18) = "point_of_no_return" {
        Failover, [Warning], "from here on the engine undoes nothing",
        [
            "target": Text,
        ],
        Remedy::No,
    }
    /// A failover completed, with phases, loss, fence, candidate.
    FailoverCompleted(19) = "failover_completed" {
        Failover, [Warning], "another server is the primary",
        [
            "old_primary": Text,
            "new_primary": Text,
            "class": Text,
            "detected_at_ns": Int("on the clock of `mono_ns`"),
            "confirm_ms": Ms,
            "fence_ms": Ms("for a database"),
            "promote_ms": Ms("for a database"),
            "write_ms": Ms("for a database"),
            "route_ms": Ms,
            "verify_ms": Ms,
            "total_ms": Ms,
            "timeline": Int("for a database"),
            "fence_level": Int("for a database"),
            "position": Text("for a database"),
            "loss_bytes": Int("for a database, if it is known"),
            "loss_exact": Bool("true: the loss is read, false: it is estimated"),
            "holds_acknowledged": Bool("for a database"),
            "sync_gate_opened": Bool("for a database"),
            "salvage": Text("for a database: `off`, `not_needed`, `not_tried`, `failed`, `nothing_missing`, `part`, `all`"),
            "salvage_ms": Ms("how long the salvage took, if it was tried"),
            "missing_bytes": Int("bytes of log that only the old primary had, if its end was read"),
            "salvaged_bytes": Int("bytes of these that the new primary has"),
            "still_missing_bytes": Int("bytes of these that are lost"),
            "salvaged_commits": Int("commits in the salvaged bytes, if they could be counted"),
            "verified": Bool("for an application"),
            "warnings": Texts,
            "evidence": Texts,
        ],
        Remedy::No,
    }
    /// A failover failed, with the step, the reason, and what was undone.
    FailoverFailed(20) = "failover_failed" {
        Failover, [Alarm], "a failover failed and stopped",
        [
            "why": Text,
            "promoted": Bool,
            "warnings": Texts,
        ],
        Remedy::No,
    }
    /// The engine undid everything that it had changed.
    RolledBack(21) = "rolled_back" {
        Failover, [Warning, Alarm], "the engine undid the changes of a failover",
        [
            "why": Text,
            "left": Texts("what was not undone"),
        ],
        Remedy::No,
    }
    /// The engine calls a person, with the reason and the evidence.
    ManualIntervention(22) = "manual_intervention" {
        Failover, [Alarm], "the engine calls a person",
        [
            "why": Text,
            "automatic": Bool("false: the engine does nothing until `reset`; true: it continues by itself as soon as the missing information is there"),
            "evidence": Texts,
        ],
        Remedy::Refusal("manual_intervention"),
    }
    /// The primary became known or changed.
    PrimaryKnown(23) = "primary_known" {
        Seen, [Info], "the primary became known or changed",
        [
            "primary": Text,
            "why": Text,
            "system_id": Text("for a database"),
            "timeline": Int("for a database"),
        ],
        Remedy::No,
    }
    /// A standby cannot be promoted any more, with the reason.
    StandbyNotReady(24) = "standby_not_ready" {
        Seen, [Warning, Alarm], "a standby cannot be promoted any more",
        [
            "reason": Text,
            "detail": Text,
        ],
        Remedy::Named,
    }
    /// A standby can be promoted.
    StandbyReady(25) = "standby_ready" {
        Seen, [Info], "a standby can be promoted",
        [
            "blocked_by": Texts("what else blocks a failover"),
        ],
        Remedy::No,
    }
    /// Two servers of one service take writes.
    TwoPrimaries(26) = "two_primaries" {
        Seen, [Alarm], "two servers take writes; the engine changes nothing",
        [
            "servers": Texts,
        ],
        Remedy::Refusal("two_primaries"),
    }
    /// A server belongs to another cluster (system identifier).
    WrongCluster(27) = "wrong_cluster" {
        Seen, [Alarm], "a server belongs to another cluster",
        [
            "system_id": Text,
            "expected": Text,
        ],
        Remedy::Refusal("wrong_cluster"),
    }
    /// A server takes writes on a newer timeline that does not continue the primary's log: a clone, or a restored backup.
    OtherBranch(42) = "other_branch" {
        Seen, [Alarm], "a server takes writes on a newer timeline that does not continue the primary's log (a clone, a restored backup)",
        [
            "timeline": Int,
            "why": Text,
        ],
        Remedy::Text("failover adopt {service} {server}, if it is the right primary; else stop it"),
    }
    /// A load balancer lost what a failover had changed (a reload, a restart), and the engine moves the traffic again.
    RouteAsserted(28) = "route_asserted" {
        Seen, [Warning], "a load balancer lost what a failover had changed, and the engine moves the traffic again",
        [
            "instance": Text,
            "astray": Text,
            "primary": Text,
        ],
        Remedy::No,
    }
    /// A standby streams from the new primary: the engine changed its configuration.
    StandbyRepointed(43) = "standby_repointed" {
        Failover, [Info], "a standby that the old primary left behind streams from the new one; the engine changed its `primary_conninfo`",
        [
            "primary": Text,
            "slot": Text("the slot that the engine created for it on the primary; empty: none"),
        ],
        Remedy::No,
    }
    /// A standby does not stream from the new primary, and the engine could not make it.
    StandbyNotRepointed(44) = "standby_not_repointed" {
        Failover, [Alarm], "a standby does not stream from the new primary, and the engine could not make it",
        [
            "primary": Text,
            "why": Text,
            "again": Bool("it is tried again, with growing pauses"),
        ],
        Remedy::Named,
    }
    /// `synchronous_standby_names`, which the engine had cleared, is put back.
    SyncNamesRestored(45) = "sync_names_restored" {
        Failover, [Info, Alarm], "`synchronous_standby_names`, which the engine had cleared, is put back; an alarm if that failed",
        [
            "names": Text,
            "restored": Bool,
            "why": Text("why not"),
        ],
        Remedy::Named,
    }
    /// A former primary, or another server on an older timeline, takes writes.
    OldPrimaryReturned(29) = "old_primary_returned" {
        Seen, [Alarm], "a former primary, or another server on an older timeline, takes writes; the engine takes it out of the route, and fences it again if this engine deposed it; during a pause it changes nothing",
        [
            "timeline": Int,
        ],
        Remedy::Text("stop it, and rebuild it as a standby of the primary"),
    }
    /// A failover was not needed: evidence shows that its old primary was serving.
    FalsePositive(40) = "false_positive" {
        Failover, [Alarm], "evidence shows that the old primary was serving",
        [
            "old_primary": Text,
            "why": Text,
        ],
        Remedy::No,
    }
    /// An old primary begins to come back as a standby.
    RejoinStarted(46) = "rejoin_started" {
        Failover, [Info], "an old primary begins to come back as a standby, or an engine goes on with that",
        [
            "primary": Text("whom it is to follow"),
            "why": Text,
            "dry_run": Bool("nothing is changed: the events only report what would be done"),
        ],
        Remedy::No,
    }
    /// A step of that ended.
    RejoinStep(47) = "rejoin_step" {
        Failover, [Info, Warning], "a step of an old primary's return ended",
        [
            "step": Text,
            "target": Text,
            "ok": Bool,
            "detail": Text,
        ],
        Remedy::No,
    }
    /// An old primary has log that the new primary lacks. Nothing has been touched yet.
    LostTransactions(48) = "lost_transactions" {
        Failover, [Info, Alarm], "what stands in the log of an old primary and not in the new one's, acknowledged or not, before anything is touched",
        [
            "commits": Int("absent if they could not be counted"),
            "bytes": Int,
            "timeline": Int("the timeline that it wrote last"),
            "fork": Text("where the new primary's timeline left that"),
            "log_end": Text,
            "first": Text("transaction and time of the first commit"),
            "last": Text("transaction and time of the last commit"),
        ],
        Remedy::Text("its log is kept beside its data directory (docs/REJOIN.md): get back from there what has to be got back"),
    }
    /// A new copy of the primary's data is so far. Told for each tenth.
    CopyProgress(53) = "copy_progress" {
        Failover, [Info], "a new copy of the primary's data, for a server that is rebuilt or cloned, is so far; told for each tenth",
        [
            "percent": Int,
            "bytes": Int,
            "of_bytes": Int,
        ],
        Remedy::No,
    }
    /// A new copy has taken the place of a data directory, which is kept.
    OldDataKept(54) = "old_data_kept" {
        Failover, [Warning], "a new copy has taken the place of a data directory; the old one is kept under another name",
        [
            "path": Text("where it is on the server's host"),
            "bytes": Int("its size, absent if it could not be read"),
        ],
        Remedy::Text("remove it when nobody needs it any more"),
    }
    /// The return of an old primary ended.
    RejoinEnded(49) = "rejoin_ended" {
        Failover, [Info, Warning, Alarm], "the return of an old primary ended",
        [
            "outcome": Text("`completed`, `refused`, `failed`, `dry_run`"),
            "detail": Text,
        ],
        Remedy::Text("see docs/REJOIN.md"),
    }
    /// The set of standbys that commits wait for is another one.
    SyncSetChanged(50) = "sync_set_changed" {
        Seen, [Info, Warning], "the set of standbys that commits wait for is another one (`data.synchronous`); a warning if fewer acknowledgements are waited for, or if somebody else changed it",
        [
            "names": Text("`synchronous_standby_names` of the primary now"),
            "before": Text,
            "by_others": Bool("somebody else changed it; the engine sets it again"),
            "away": Texts("standbys that do not stream, or do not answer the engine"),
        ],
        Remedy::No,
    }
    /// Fewer standbys are well than commits are to wait for, or there are enough again.
    SyncSetShort(51) = "sync_set_short" {
        Seen, [Info, Alarm], "fewer standbys are well than commits are to wait for (`data.synchronous_count`); info: there are enough again",
        [
            "there": Int("standbys that can acknowledge"),
            "wanted": Int,
            "short": Bool,
            "commits_wait": Bool("false: commits wait for `there` standbys only"),
        ],
        Remedy::Text("bring a standby back: `failover status` says what each lacks"),
    }
    /// The engine cannot keep the set of standbys that commits wait for.
    SyncSetNotKept(52) = "sync_set_not_kept" {
        Seen, [Alarm], "the engine cannot keep the set of standbys that commits wait for (`data.synchronous`)",
        [
            "why": Text,
        ],
        Remedy::Named,
    }
    /// The engine cannot trust its own view, with the reason.
    DoubtRaised(30) = "doubt_raised" {
        Engine, [Alarm], "the engine cannot trust its own view, and decides nothing",
        [
            "cause": Text("`gap`, `stuck_workers`, `everything_silent`"),
        ],
        Remedy::Refusal("doubt"),
    }
    /// The engine can trust its own view again.
    DoubtCleared(31) = "doubt_cleared" {
        Engine, [Info], "the engine can trust its own view again",
        [],
        Remedy::No,
    }
    /// A problem that would hurt a failover was found, or is over.
    ReadinessChanged(32) = "readiness_changed" {
        Seen, [Info, Warning, Alarm], "a problem that would hurt a failover was found, or is over",
        [
            "code": Text,
            "findings": Texts,
            "ended": Texts,
        ],
        Remedy::Named,
    }
    /// A circuit breaker of the survey opened or closed.
    BreakerChanged(41) = "breaker_changed" {
        Seen, [Info, Warning], "the survey stops asking for a while what does not answer, or asks it again",
        [
            "dependency": Text,
            "open": Bool,
        ],
        Remedy::No,
    }
    /// An operator's command was carried out or rejected.
    OperatorCommand(33) = "operator_command" {
        Engine, [Info, Warning], "a command was carried out or rejected, or a pause ended by itself (`resume`)",
        [
            "command": Text,
            "accepted": Bool,
            "detail": Text,
            "by": Text("the caller, if known: `uid 1000` over the control socket"),
        ],
        Remedy::No,
    }
    /// The journal cannot be written, or can be written again.
    JournalState(34) = "journal_state" {
        Engine, [Info, Alarm], "the journal cannot be written, or can be written again",
        [
            "writable": Bool,
        ],
        Remedy::Refusal("journal_unwritable"),
    }
    /// A receiver of notifications does not take them, or takes them again.
    NotifyState(55) = "notify_state" {
        Engine, [Info, Warning], "a receiver of notifications does not take them, or takes them again",
        [
            "receiver": Text("its name in `notify`"),
            "delivers": Bool,
            "waiting": Int("events that wait for it"),
            "why": Text("what its last answer was"),
        ],
        Remedy::Text("ask it: failover notify test RECEIVER; then mend the receiver, the way to it, or its settings (docs/NOTIFY.md)"),
    }
    /// Events were not told to a receiver of notifications, and will not be.
    NotifyLost(56) = "notify_lost" {
        Engine, [Alarm], "events were not told to a receiver of notifications, and will not be",
        [
            "receiver": Text("its name in `notify`; empty: all of them"),
            "events": Int("how many"),
            "cause": Text("`too_old`, `refused`, `queue_full`, `damaged`"),
            "why": Text,
        ],
        Remedy::Text("read what happened meanwhile: failover events; ask the receiver: failover notify test RECEIVER (docs/NOTIFY.md)"),
    }
    /// A test message was sent to a receiver of notifications.
    NotifyTest(57) = "notify_test" {
        Engine, [Info, Warning], "a test message was sent to a receiver of notifications",
        [
            "receiver": Text("its name in `notify`"),
            "delivered": Bool,
            "answer": Text("what it answered"),
        ],
        Remedy::No,
    }
    /// The engine asks the host program to run a check.
    TaskCheck(35) = "task_check" {
        Engine, [Debug], "the engine asks the host program to run a check",
        [
            "task_id": Int,
            "deadline_ms": Int,
            "check": Text,
            "function": Text,
        ],
        Remedy::No,
    }
    /// The engine asks the host program to carry out an action.
    TaskAction(36) = "task_action" {
        Engine, [Info], "the engine asks the host program to carry out an action",
        [
            "task_id": Int,
            "deadline_ms": Int,
            "step": Text,
        ],
        Remedy::No,
    }
    /// Events were dropped because the program did not take them.
    Overflow(37) = "overflow" {
        Engine, [Warning, Alarm], "events were dropped because the program did not take them",
        [
            "dropped": Int,
            "important_dropped": Int,
        ],
        Remedy::Text("take events sooner; what is true now is in the status"),
    }
    /// A bug was detected. All decisions are frozen.
    Faulted(38) = "faulted" {
        Engine, [Alarm], "a bug was detected, and all decisions are frozen",
        [],
        Remedy::Text("restart the engine: what it had begun is in its journal, and is taken up again"),
    }
    /// A line of the engine's log.
    Log(39) = "log" {
        Engine, [Debug, Info, Warning, Alarm], "a line of the engine's log",
        [],
        Remedy::No,
    }
}
