//! The engine's state as the world sees it: cloned under the lock, rendered outside of it.

use serde::{Deserialize, Serialize};

/// Everything about the engine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the library.
    pub version: String,
    /// When this was taken: RFC 3339, UTC.
    pub time: String,
    /// Milliseconds since the engine was started; 0 before.
    pub uptime_ms: u64,
    /// `new`, `running`, `stopping` or `stopped`.
    pub engine: String,
    /// The bug that froze all decisions, where there was one.
    pub faulted: Option<String>,
    /// Why the engine may not trust its own view now; empty when it may.
    pub doubt: Option<String>,
    /// The threads.
    pub threads: ThreadStatus,
    /// The journal.
    pub journal: JournalStatus,
    /// The event queues.
    pub events: EventStatus,
    /// The services in the order of the configuration.
    pub services: Vec<ServiceStatus>,
}

/// The engine's threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// All threads of the engine that are alive.
    pub alive: u32,
    /// Their names, sorted.
    pub names: Vec<String>,
    /// Checker threads.
    pub workers: u32,
    /// Checker threads with a job in hand.
    pub busy: u32,
    /// Jobs that wait for a checker thread.
    pub waiting: u32,
    /// The longest present wait, in milliseconds.
    pub oldest_wait_ms: u64,
    /// Checker threads whose job is past its deadline and has not come back.
    pub stuck: u32,
}

/// The journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Where it is.
    pub path: String,
    /// It can be written. While it cannot, no failover starts.
    pub writable: bool,
    /// Why it cannot be written, or what was found at start.
    pub reason: Option<String>,
    /// The number of its last record.
    pub sequence: u64,
}

/// The event queues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStatus {
    /// Events published since the start: the last sequence number.
    pub published: u64,
    /// Queues that take them.
    pub consumers: u32,
    /// Events dropped because a consumer did not take them, over all queues.
    pub dropped: u64,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `postgres` or `application`.
    pub kind: String,
    /// `normal`, `degraded`, `failing`, `failover_in_progress`, `failed_over` or `manual_intervention`.
    pub state: String,
    /// Since when, in milliseconds.
    pub state_age_ms: u64,
    /// Why it is in this state, in one sentence.
    pub reason: String,
    /// An operator paused it: observed, nothing decided.
    pub paused: bool,
    /// A failover waits for an operator's confirmation.
    pub awaiting_confirmation: bool,
    /// The primary, once it is known.
    pub primary: Option<String>,
    /// The number of the last failover; 0 before the first.
    pub generation: u64,
    /// What the evidence says about the primary now: `dead`, `hung`, `unreachable`, `saturated`, `starting`, `stopping`, `misconfigured`.
    pub class: Option<String>,
    /// Failed observations of the primary inside the window.
    pub failures: u32,
    /// How many of them start a confirmation.
    pub failure_threshold: u32,
    /// The last failed observations, oldest first.
    pub recent_failures: Vec<FailureStatus>,
    /// The servers in the order of the configuration.
    pub servers: Vec<ServerStatus>,
    /// Why no failover would start now, each with its name.
    pub refusals: Vec<ReasonStatus>,
    /// What would happen if the primary died now.
    pub forecast: ForecastStatus,
    /// What the cooldown still lasts, in milliseconds; 0 when it is over.
    pub cooldown_ms: u64,
    /// The failover in flight or the last one.
    pub failover: Option<FailoverStatus>,
    /// What would hurt at failover time, with its remedy.
    pub readiness: Vec<ReadinessStatus>,
}

/// One failed observation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailureStatus {
    /// When: RFC 3339, UTC.
    pub time: String,
    /// The check.
    pub check: String,
    /// The server.
    pub server: String,
    /// The cause: `refused`, `reset`, `connect_timed_out`, …
    pub cause: String,
    /// One line for people.
    pub message: String,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// `primary`, `standby` or `unknown`, as it was last seen.
    pub role: String,
    /// Its role by configuration.
    pub configured_role: String,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub health: String,
    /// Its kept-open session is up.
    pub session: bool,
    /// It was fenced by this engine and has not been rejoined.
    pub fenced: bool,
    /// Its checks.
    pub checks: Vec<CheckStatus>,
    /// What it last said about itself.
    pub sample: Option<SampleStatus>,
}

/// One check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// `postgres`, `tcp`, `http`, `exec`, `host` or `scripted`.
    pub kind: String,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub health: String,
    /// The last verdict: `up`, `impaired`, `down` or `unknown`; `None` before the first.
    pub verdict: Option<String>,
    /// The reason behind the verdict; empty for `up`.
    pub reason: String,
    /// One line for people.
    pub message: String,
    /// How long the last run took, in milliseconds.
    pub latency_ms: f64,
    /// How long ago it ended, in milliseconds.
    pub age_ms: u64,
    /// Failures in a row.
    pub failures: u32,
}

/// What a PostgreSQL server last said about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleStatus {
    /// How old it is, in milliseconds.
    pub age_ms: u64,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// The cluster's identity, as a decimal text: it does not fit a JSON number everywhere.
    pub system_id: String,
    /// The timeline.
    pub timeline: u32,
    /// Flushed position of a primary.
    pub flush: Option<String>,
    /// Received position of a standby.
    pub receive: Option<String>,
    /// Replayed position of a standby.
    pub replay: Option<String>,
    /// `absent`, `hidden`, `streaming` or `not_streaming`.
    pub receiver: String,
    /// Bytes behind the primary's last known position.
    pub lag_bytes: Option<u64>,
    /// `synchronous_standby_names` of a primary.
    pub sync_names: String,
}

/// A named reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonStatus {
    /// A stable name.
    pub code: String,
    /// The evidence in one sentence.
    pub message: String,
}

/// What would happen if the primary died now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForecastStatus {
    /// A failover would go through, as far as it can be known beforehand.
    pub would_fail_over: bool,
    /// The standby that would be promoted.
    pub candidate: Option<String>,
    /// The most bytes that could be lost; `None` when it cannot be bounded.
    pub loss_bytes: Option<u64>,
    /// The fence level that would be reached, by number.
    pub fence_level: Option<u8>,
    /// One sentence for people.
    pub message: String,
    /// Exactly why not, where it would not.
    pub reasons: Vec<ReasonStatus>,
}

/// One failover.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailoverStatus {
    /// Its number.
    pub generation: u64,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// `in_progress`, `completed`, `rolled_back`, `manual_intervention`.
    pub outcome: String,
    /// The old primary.
    pub from: Option<String>,
    /// The new one.
    pub to: Option<String>,
    /// The failure class that was confirmed.
    pub class: Option<String>,
    /// The most bytes that may have been lost; `None` when it could not be bounded.
    pub loss_bytes: Option<u64>,
    /// The fence level that was proven, by number.
    pub fence_level: Option<u8>,
    /// From the first failed observation to the end, in milliseconds.
    pub total_ms: Option<f64>,
    /// The phases in their order.
    pub phases: Vec<PhaseStatus>,
    /// The steps in their order.
    pub steps: Vec<StepStatus>,
    /// The reasoning, one line each.
    pub evidence: Vec<String>,
}

/// One phase of a failover: `detect`, `confirm`, `fence`, `promote`, `route`, `verify`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseStatus {
    /// Its name.
    pub name: String,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// One step of a failover.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// What it acted on.
    pub target: String,
    /// `running`, `ok`, `failed` or `undone`.
    pub outcome: String,
    /// How long it took, in milliseconds.
    pub took_ms: Option<f64>,
    /// One line for people.
    pub message: String,
}

/// One thing that would hurt at failover time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessStatus {
    /// The server, or `None` for the route and the service itself.
    pub server: Option<String>,
    /// A stable name.
    pub code: String,
    /// A failover would not work (true) or would be slower or riskier (false).
    pub blocking: bool,
    /// What is wrong, and why it matters.
    pub message: String,
    /// What mends it.
    pub remedy: String,
}

/// The result of one check run by [`Engine::check_once`](super::Engine::check_once).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The service.
    pub service: String,
    /// The server.
    pub server: String,
    /// The check.
    pub check: String,
    /// `postgres`, `tcp`, `http`, `exec`, `host` or `scripted`.
    pub kind: String,
    /// `up`, `impaired`, `down` or `unknown`.
    pub verdict: String,
    /// The reason behind the verdict; empty for `up`.
    pub reason: String,
    /// One line for people.
    pub message: String,
    /// How long it took, in milliseconds.
    pub latency_ms: f64,
    /// What the server said about itself, where the check asks that.
    pub sample: Option<SampleStatus>,
}
