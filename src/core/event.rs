//! What the core tells the world.

use super::id::{Generation, Seq, ServerId, ServiceId};
use super::output::Step;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// One event. The shell adds the wall clock and the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the one order of events.
    pub seq: Seq,
    /// When.
    pub at: Mono,
    /// What happened.
    pub kind: EventKind,
    /// How loud it is.
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
                ("step", text(step.word())),
                ("target", text(target)),
                ("undoing", Field::Bool(*undoing)),
                ("past_no_return", Field::Bool(*past_no_return)),
            ],
            Fact::StepFinished { step, target, ok, detail } => {
                vec![("step", text(step.word())), ("target", text(target)), ("ok", Field::Bool(*ok)), ("detail", text(detail))]
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

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// For those who watch closely: single observations.
    Debug,
    /// Normal life.
    Info,
    /// Somebody should know.
    Warning,
    /// Somebody should come.
    Alarm,
}

impl Severity {
    /// The word used in events and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Alarm => "alarm",
        }
    }
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $name,)*
        }

        impl EventKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$name,)*];

            /// The word used in JSON, logs and the command line.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(EventKind::$name => $word,)* }
            }
        }
    };
}

event_kinds! {
    /// The engine runs.
    EngineStarted = "engine_started",
    /// The engine stopped; always the last event.
    EngineStopped = "engine_stopped",
    /// A reload took effect.
    ConfigReloaded = "config_reloaded",
    /// One finished check (severity debug; coalesced under pressure).
    Observed = "observed",
    /// The health of a check or a server changed.
    HealthChanged = "health_changed",
    /// The state of a service's trigger changed.
    StateChanged = "state_changed",
    /// A kept-open session was closed by the other side.
    SessionClosed = "session_closed",
    /// A round of fresh evidence began.
    ConfirmationStarted = "confirmation_started",
    /// A piece of evidence came in during a confirmation (host's word, standby's word).
    EvidenceGathered = "evidence_gathered",
    /// The failure is confirmed: class, evidence, thresholds.
    FailureConfirmed = "failure_confirmed",
    /// The primary proved to be alive, or came back, before anything was done.
    FailoverSuppressed = "failover_suppressed",
    /// A failover would have begun but for a named reason.
    FailoverRefused = "failover_refused",
    /// A failover waits for an operator.
    AwaitingConfirmation = "awaiting_confirmation",
    /// A failover began.
    FailoverStarted = "failover_started",
    /// A failover that an earlier engine began is taken up again, or is undone because the primary lives.
    FailoverResumed = "failover_resumed",
    /// A step began.
    StepStarted = "step_started",
    /// A step ended.
    StepFinished = "step_finished",
    /// From here on nothing is undone.
    PointOfNoReturn = "point_of_no_return",
    /// A failover completed: phases, loss, fence, candidate.
    FailoverCompleted = "failover_completed",
    /// A failover failed: at which step, why, what was undone.
    FailoverFailed = "failover_failed",
    /// Everything that had been changed was undone.
    RolledBack = "rolled_back",
    /// A person has to come: why, with the evidence.
    ManualIntervention = "manual_intervention",
    /// Who is primary became known or changed.
    PrimaryKnown = "primary_known",
    /// A standby cannot be promoted any more: why.
    StandbyNotReady = "standby_not_ready",
    /// A standby can be promoted.
    StandbyReady = "standby_ready",
    /// Two servers of one service take writes.
    TwoPrimaries = "two_primaries",
    /// A server belongs to another cluster (system identifier).
    WrongCluster = "wrong_cluster",
    /// A server takes writes on a newer timeline that does not continue the primary's log: a clone, or a restored backup.
    OtherBranch = "other_branch",
    /// A load balancer had forgotten what a failover moved (a reload, a restart): the traffic is moved again.
    RouteAsserted = "route_asserted",
    /// A former primary was seen again.
    OldPrimaryReturned = "old_primary_returned",
    /// A failover was not needed: its old primary is shown to have been serving.
    FalsePositive = "false_positive",
    /// Our own view may not be trusted: why.
    DoubtRaised = "doubt_raised",
    /// Our own view may be trusted again.
    DoubtCleared = "doubt_cleared",
    /// Something that would hurt at failover time was found, or is mended.
    ReadinessChanged = "readiness_changed",
    /// A circuit breaker of the survey opened, or closed again.
    BreakerChanged = "breaker_changed",
    /// An operator's command was carried out or rejected.
    OperatorCommand = "operator_command",
    /// The journal cannot be written, or can be again.
    JournalState = "journal_state",
    /// The host program is asked to run a check.
    TaskCheck = "task_check",
    /// The host program is asked to carry out an action.
    TaskAction = "task_action",
    /// Events were dropped because nobody took them.
    Overflow = "overflow",
    /// A bug was caught: decisions are frozen.
    Faulted = "faulted",
    /// A log line of the engine.
    Log = "log",
}
