//! The engine's state as the world sees it: cloned under the lock, rendered outside of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use failover_core::Core;
use failover_core::candidate::{Candidate, MUCH_TO_REPLAY, Preference, to_replay};
use failover_core::finding::FindingCode;
use failover_core::health::Health;
use failover_core::id::ServerId;
use failover_core::kind::ServiceKind;
use failover_core::model::{CheckKind, Model, Role, ServiceModel};
use failover_core::observation::{DownCause, Finding, Verdict};
use failover_core::output::Action;
use failover_core::plan::{Plan, Times};
use failover_core::refusal::{CandidateRefusal, Refusal, of_deposed};
use failover_core::rejoin::Divergence;
use failover_core::sample::{FenceLevel, Lsn, ReadinessFinding, Receiver, Sample};
use failover_core::snapshot::{FRESH, Forecast, LastFailover, Remark, ServerSnapshot, ServiceSnapshot, Snapshot};
use failover_core::stats::{Need, Spans};
use failover_core::time::{Mono, Span};
use failover_core::traffic::Traffic;

use super::remedy;
use super::render::{millis, rfc3339};
pub use super::topology::{DeathStatus, SlotStatus, TopologyStatus};
use crate::clock::Clock;
use crate::sync::Mutex;

/// The state of the engine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The version of the library.
    pub version: String,
    /// The time of this status: RFC 3339, UTC.
    pub time: String,
    /// Milliseconds since the engine was started; 0 before.
    pub uptime_ms: u64,
    /// `new`, `running`, `stopping` or `stopped`.
    pub engine: String,
    /// The bug that froze all decisions, if there was one.
    pub faulted: Option<String>,
    /// Why the engine cannot trust its own view now; empty if it can.
    pub doubt: Option<String>,
    /// The threads.
    pub threads: ThreadStatus,
    /// The journal.
    pub journal: JournalStatus,
    /// The event queues.
    pub events: EventStatus,
    /// The services in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// The circuit breakers of the survey, one for each host, server and route that it has asked.
    #[serde(default)]
    pub breakers: Vec<BreakerStatus>,
    /// The address on which the role endpoint listens; empty without one.
    #[serde(default)]
    pub role_endpoint: Option<String>,
    /// The functions that checks of kind `host` ask the program for, by name; also before the start.
    #[serde(default)]
    pub host_functions: Vec<HostFunctionStatus>,
    /// The receivers of notifications.
    #[serde(default)]
    pub notify: Vec<NotifyStatus>,
}

/// A receiver of notifications. The numbers are those since the start of the engine; what waits may be from before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotifyStatus {
    /// Its name.
    pub name: String,
    /// `webhook`, `email` or `command`.
    pub kind: String,
    /// Events that wait to be told.
    pub waiting: u64,
    /// Events that were delivered.
    pub delivered: u64,
    /// Messages that were delivered; each has one event or more.
    pub messages: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Events that were given up: nobody was told.
    pub given_up: u64,
    /// Events that were not told because they had been told before.
    pub repeated: u64,
    /// Consecutive attempts that failed; 0 if the last one succeeded.
    pub failures: u32,
    /// Its circuit breaker: `closed`, `open` or `half_open`.
    pub breaker: String,
    /// What it answered last, or why there was no answer.
    pub answer: String,
    /// The time of the last delivery: RFC 3339, UTC; null before the first.
    pub delivered_at: Option<String>,
}

/// What came of a test message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotifyTestStatus {
    /// The receiver.
    pub name: String,
    /// `webhook`, `email` or `command`.
    pub kind: String,
    /// True if the receiver took it.
    pub delivered: bool,
    /// What it answered, or why there was no answer.
    pub answer: String,
    /// How long that took, in milliseconds.
    pub took_ms: f64,
}

/// A function that checks of kind `host` ask the embedding program for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostFunctionStatus {
    /// The name under which it is registered or offered: the `function` of the checks, or their own name.
    pub name: String,
    /// `function` (a registered function), `tasks` (the program answers the tasks itself), or none: then the engine does not start.
    pub answered_by: Option<String>,
}

/// One circuit breaker of the survey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BreakerStatus {
    /// The service.
    pub service: String,
    /// The server; null for the route.
    pub server: Option<String>,
    /// The dependency: `ssh`, `sql` or `route`.
    pub dependency: String,
    /// `closed`, `open` or `half_open`.
    pub state: String,
    /// Consecutive failures; the threshold while the circuit breaker is not closed.
    pub failures: u32,
    /// Why the last request failed; empty if it succeeded.
    pub reason: String,
    /// Time since the last request, in milliseconds.
    pub asked_ms: u64,
}

/// The metrics about the failovers of one service, as rule 82 defines them. The journal keeps them across restarts; refusals are
/// counted since the start of the engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricsStatus {
    /// Failovers by outcome: `completed`, `rolled_back`, `manual_intervention`, `stopped`.
    pub failovers: BTreeMap<String, u64>,
    /// Failovers forced by an operator, or caused by a followed service. `failovers` counts them; the metrics below do not.
    pub forced: u64,
    /// Switchovers. `failovers` counts them; the metrics below do not.
    #[serde(default)]
    pub switchovers: u64,
    /// Failovers that completed with new connections, data and traffic verified.
    pub verified: u64,
    /// Failovers that completed without a route to verify the traffic: neither a success nor a failure.
    pub unverifiable: u64,
    /// Verified failovers divided by all that ended, from 0 to 1; null before the first.
    pub success_rate: Option<f64>,
    /// From the first bad observation to the confirmation.
    pub mttd: SpansStatus,
    /// From the first bad observation to verified traffic.
    pub mttr: SpansStatus,
    /// Failovers by the judgement about their old primary: `justified`, `false_positive`, `unknown`.
    pub judged: BTreeMap<String, u64>,
    /// False positives divided by all failovers that were judged, from 0 to 1; null before the first.
    pub false_positive_rate: Option<f64>,
    /// The judgement of the last failover.
    pub last: Option<JudgedStatus>,
    /// Refusals that were reported since the start of the engine, by name.
    pub refusals: BTreeMap<String, u64>,
}

/// Durations of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpansStatus {
    /// Their number.
    pub count: u64,
    /// Their mean, in milliseconds; null without any.
    pub mean_ms: Option<f64>,
    /// The longest, in milliseconds.
    pub longest_ms: f64,
    /// The last one, in milliseconds.
    pub last_ms: Option<f64>,
    /// Their sum, in milliseconds.
    pub sum_ms: f64,
}

/// Whether the last failover was needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JudgedStatus {
    /// Its number.
    pub generation: u64,
    /// Its old primary.
    pub old_primary: String,
    /// `justified`, `false_positive`, `unknown`, `forced` or `planned`.
    pub verdict: String,
    /// The evidence for the verdict.
    pub why: String,
}

/// Answers of a check since the engine was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerdictCounts {
    /// The check got the right answer.
    pub up: u64,
    /// The server is alive, but does not serve.
    pub impaired: u64,
    /// The check got no answer, or a wrong one.
    pub down: u64,
    /// The check could not ask.
    pub unknown: u64,
}

/// The engine's threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
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
    /// Threads for checks of any kind whose job has not returned by its deadline.
    pub stuck: u32,
    /// The names of other threads that are overdue, sorted.
    #[serde(default)]
    pub overdue: Vec<String>,
    /// The delay with which checks begin.
    #[serde(default)]
    pub start_delay: DelayStatus,
}

/// The delay with which the engine's own checks have begun since its start: from the time at which a check was due until a thread began it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DelayStatus {
    /// Runs that began.
    pub count: u64,
    /// The sum of their delays, in microseconds.
    pub sum_us: u64,
    /// The number of runs that began within each bound (cumulative).
    pub buckets: Vec<DelayBucket>,
}

/// Runs that began within a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DelayBucket {
    /// The bound, in milliseconds.
    pub le_ms: u32,
    /// Their number.
    pub count: u64,
}

/// The journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalStatus {
    /// Its path.
    pub path: String,
    /// True if it can be written. While it cannot, no failover starts.
    pub writable: bool,
    /// Why it cannot be written, or what was found at start.
    pub reason: Option<String>,
    /// The number of its last record.
    pub sequence: u64,
}

/// The event queues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventStatus {
    /// Events published since the start: the last sequence number.
    pub published: u64,
    /// The number of queues that receive events.
    pub consumers: u32,
    /// Events dropped because a consumer did not take them, in all queues.
    pub dropped: u64,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `postgres` or `application`.
    pub kind: String,
    /// `normal`, `degraded`, `failing`, `failover_in_progress`, `failed_over` or `manual_intervention`.
    pub state: String,
    /// Time in this state, in milliseconds; if the state never changed, the time since the start of the engine.
    pub state_age_ms: u64,
    /// Why it is in this state, in one sentence.
    pub reason: String,
    /// Why the service is `degraded` although its primary is healthy: `no_standby`, or a finding of the route.
    #[serde(default)]
    pub missing: Vec<ReasonStatus>,
    /// True if an operator paused the service: the engine observes it and decides nothing.
    pub paused: bool,
    /// The reason and the end of the pause.
    #[serde(default)]
    pub pause: Option<PauseStatus>,
    /// True if a failover waits for an operator's confirmation.
    pub awaiting_confirmation: bool,
    /// The remaining time of this wait, in milliseconds.
    pub confirmation_left_ms: Option<u64>,
    /// The primary, once it is known.
    pub primary: Option<String>,
    /// The number of the last failover or switch by hand; 0 before the first.
    pub generation: u64,
    /// The failure class that the evidence shows now: `dead`, `hung`, `unreachable`, `saturated`, `starting`, `stopping`, `misconfigured`.
    pub class: Option<String>,
    /// Time since the first bad sign, in milliseconds, while the primary is suspected.
    pub suspected_ms: Option<u64>,
    /// The evidence collected since the first bad sign.
    pub evidence: Vec<String>,
    /// Failed observations of the primary within the failure window.
    pub failures: u32,
    /// The number of failures that starts a confirmation.
    pub failure_threshold: u32,
    /// The last failed observations, oldest first.
    pub recent_failures: Vec<FailureStatus>,
    /// The servers in the order of the configuration.
    pub servers: Vec<ServerStatus>,
    /// The reasons why no failover would start now.
    pub refusals: Vec<ReasonStatus>,
    /// What would happen if the primary died now.
    pub forecast: ForecastStatus,
    /// The remaining cooldown, in milliseconds; 0 when it is over.
    pub cooldown_ms: u64,
    /// A switchover that begins later (`failover switchover --at`).
    #[serde(default)]
    pub planned_switchover: Option<PlannedSwitchoverStatus>,
    /// The failover in progress, or the last one.
    pub failover: Option<FailoverStatus>,
    /// The progress of following another service, if `follows` is configured.
    #[serde(default)]
    pub follows: Option<FollowStatus>,
    /// The return of an old primary as a standby: the one under way, else the last one since the engine was started.
    #[serde(default)]
    pub rejoin: Option<RejoinStatus>,
    /// The set of standbys that commits wait for, if the engine keeps it (`data.synchronous = "maintain"`).
    #[serde(default)]
    pub sync_set: Option<SyncSetStatus>,
    /// The present weight of the primary in HAProxy, in percent of its full weight, while it grows (`route.weight_ramp`).
    #[serde(default)]
    pub weight_percent: Option<u8>,
    /// The servers of a database as a tree of who streams from whom: each behind the one from which it receives.
    #[serde(default)]
    pub topology: Vec<TopologyStatus>,
    /// What the cluster still bears: who would take over at the next death of a primary, at the one after it, and so on until nobody would.
    #[serde(default)]
    pub tolerates: Vec<DeathStatus>,
    /// Problems that would hurt a failover, with their remedies.
    pub readiness: Vec<ReadinessStatus>,
    /// The metrics about its failovers.
    #[serde(default)]
    pub metrics: MetricsStatus,
}

impl ServiceStatus {
    /// True if the servers of this kind of service hold data. False for a kind that this version does not know.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        ServiceKind::named(&self.kind).is_some_and(ServiceKind::holds_data)
    }

    /// What happens to a server of this kind of service that becomes the primary: `be promoted` or `take over`.
    #[must_use]
    pub fn takes_over_by(&self) -> &'static str {
        ServiceKind::named(&self.kind).map_or("take over", ServiceKind::takes_over_by)
    }
}

/// The set of standbys that commits wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SyncSetStatus {
    /// The number of standbys that a commit is to wait for (`data.synchronous_count`).
    pub wanted: u32,
    /// `synchronous_standby_names` of the primary; empty: commits wait for no standby.
    pub names: String,
    /// The standbys that may have acknowledged a commit. During a change also those of before.
    pub members: Vec<String>,
    /// True if fewer than `wanted` standbys can acknowledge. `on_no_sync_standby` says what commits do then.
    pub short: bool,
    /// True if a change is not confirmed yet.
    pub changing: bool,
    /// Why the engine cannot keep the set; null: it can.
    pub problem: Option<String>,
}

/// The present pause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PauseStatus {
    /// The operator's reason.
    pub reason: Option<String>,
    /// The remaining time, in milliseconds; null: until `resume`.
    pub left_ms: Option<u64>,
    /// The time at which it ends by itself: RFC 3339, UTC.
    pub until: Option<String>,
    /// What the engine does not do during the pause, although it would: `unfinished_failover`, `route`, `names`, `weight`, `old_primary`, `follow`. `refusals`
    /// says that no failover would start.
    #[serde(default)]
    pub withheld: Vec<ReasonStatus>,
}

/// The return of an old primary as a standby, or the first copy of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RejoinStatus {
    /// The old primary.
    pub server: String,
    /// `in_progress`, `completed`, `refused`, `failed` or `dry_run`.
    pub outcome: String,
    /// What it is doing: `proving_fence`, `writing_checkpoint`, `reading_history`, `reading_log`, `keeping_log`, `rewinding`, `preparing_copy`,
    /// `rebuilding`, `cloning`, `swapping`, `writing_settings`, `starting` or `catching_up`; null when it is over.
    pub doing: Option<String>,
    /// How far a rewind or a copy is, in percent.
    pub percent: Option<u8>,
    /// How it ended, in one sentence; empty while it is under way.
    pub message: String,
    /// Bytes in its log that the new primary does not have; null until that was read.
    pub lost_bytes: Option<u64>,
    /// Commits in them; null also where they could not be counted.
    pub lost_commits: Option<u64>,
    /// Transaction and time of the first of these commits.
    pub lost_first: Option<String>,
    /// Transaction and time of the last of them.
    pub lost_last: Option<String>,
}

/// A switchover that begins later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedSwitchoverStatus {
    /// The standby to promote; null: the best one at that moment.
    pub to: Option<String>,
    /// When it begins: RFC 3339, UTC.
    pub at: String,
    /// The remaining time, in milliseconds.
    pub left_ms: u64,
}

/// The progress of a service that follows another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FollowStatus {
    /// The other service.
    pub service: String,
    /// The primary of the other service that was followed last, or was found at first contact.
    pub followed: Option<String>,
    /// The primary of the other service that is being followed now; `null` if nothing is left to do.
    pub following: Option<String>,
    /// Why the last attempt to follow failed. The engine tries again.
    pub error: Option<String>,
}

/// One failed observation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureStatus {
    /// The time: RFC 3339, UTC.
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
#[non_exhaustive]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// `primary`, `standby`, `writable` (not in recovery, but not the primary), `foreign` (of another cluster) or `unknown`: one that
    /// has not answered yet, or does not answer any more and is not the primary.
    pub role: String,
    /// True if the server has answered lately, or gives an answer that only a living server gives. While this is `false`, the other members show how it was last seen.
    #[serde(default)]
    pub answers: bool,
    /// If the server does not answer: the role in which it was last seen.
    #[serde(default)]
    pub last_role: Option<String>,
    /// Its role in the configuration.
    pub configured_role: String,
    /// Its host by configuration: a name, an address, or the folder of its UNIX socket, which begins with `/`.
    #[serde(default)]
    pub host: String,
    /// Its port by configuration.
    #[serde(default)]
    pub port: u16,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub health: String,
    /// True if its kept-open session is up.
    pub session: bool,
    /// True for a former primary that a failover deposed and that has not rejoined.
    pub deposed: bool,
    /// True if an operator cordoned the server: the engine observes it as before, and does not promote it until an operator uncordons it.
    #[serde(default)]
    pub cordoned: bool,
    /// True if the last failover fenced the server and it is still deposed.
    pub fenced: bool,
    /// True if the server is among those that acknowledge synchronous commits.
    pub synchronous: bool,
    /// Time since its last answer, in milliseconds.
    pub last_answer_ms: Option<u64>,
    /// For a standby: the reason why it cannot be promoted now.
    pub not_promotable: Option<ReasonStatus>,
    /// Its checks.
    pub checks: Vec<CheckStatus>,
    /// The last data that the server reported about itself.
    pub sample: Option<SampleStatus>,
    /// What the host program reported of its own calls to it ([`Engine::report_outcome`](super::Engine::report_outcome)); absent
    /// without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficStatus>,
}

/// What the host program reported of its own calls to one server since the engine was started. A report counts within 100 ms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrafficStatus {
    /// Successful calls.
    pub ok: u64,
    /// Calls that were not answered in the program's own time.
    pub timeout: u64,
    /// Refused connections.
    pub refused: u64,
    /// Connections that ended in the middle.
    pub reset: u64,
    /// Answers that say that the server does not serve now.
    pub rejected: u64,
    /// All other failed calls.
    pub error: u64,
    /// Time since the last report of a successful call, in milliseconds.
    pub served_ms: Option<u64>,
    /// Time since the last report of a call that timed out, was refused or reset, in milliseconds.
    pub failed_ms: Option<u64>,
}

/// One check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// `postgres`, `tcp`, `http`, `exec`, `host` or `scripted`.
    pub kind: String,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub health: String,
    /// The last verdict: `up`, `impaired`, `down` or `unknown`; null before the first.
    pub verdict: Option<String>,
    /// The reason for the verdict; empty for `up`.
    pub reason: String,
    /// One line for people.
    pub message: String,
    /// The remedy; empty if none is known.
    #[serde(default)]
    pub remedy: String,
    /// The duration of the last run, in milliseconds.
    pub latency_ms: f64,
    /// Time since the end of the last run, in milliseconds.
    pub age_ms: u64,
    /// Consecutive failures.
    pub failures: u32,
    /// The number of its answers since the start of the engine.
    #[serde(default)]
    pub answers: VerdictCounts,
}

/// The last data that a PostgreSQL server reported about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SampleStatus {
    /// The age of this data, in milliseconds.
    pub age_ms: u64,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// The cluster's system identifier, as decimal text, because not every JSON parser reads such a large number.
    pub system_id: String,
    /// The timeline.
    pub timeline: u32,
    /// The flush position of a primary.
    pub flush: Option<String>,
    /// The receive position of a standby.
    pub receive: Option<String>,
    /// The replay position of a standby.
    pub replay: Option<String>,
    /// `absent`, `hidden`, `streaming` or `not_streaming`.
    pub receiver: String,
    /// The lag behind the primary's last known position, in bytes.
    pub lag_bytes: Option<u64>,
    /// Bytes that a standby has received but not yet replayed. A promotion replays them first.
    #[serde(default)]
    pub to_replay_bytes: Option<u64>,
    /// `synchronous_standby_names` of a primary.
    pub sync_names: String,
}

/// A named reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReasonStatus {
    /// A stable name.
    pub code: String,
    /// The evidence in one sentence.
    pub message: String,
    /// The remedy; empty if the message contains it, or if only time helps.
    #[serde(default)]
    pub remedy: String,
}

/// What would happen if the primary died now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ForecastStatus {
    /// True if a failover would succeed, as far as this can be known beforehand.
    pub would_fail_over: bool,
    /// The standby that would be promoted.
    pub candidate: Option<String>,
    /// Bytes of log that could be missing: read if `loss_exact` is true, else estimated (the estimate can be 0); null if it is not known.
    pub loss_bytes: Option<u64>,
    /// True if `loss_bytes` is read and not estimated.
    #[serde(default)]
    pub loss_exact: bool,
    /// True if no acknowledged commit that waited for a standby can be missing. A session that sets `synchronous_commit` to `off` or `local` does not wait: `loss_bytes` may include its commits.
    #[serde(default)]
    pub holds_acknowledged: bool,
    /// The possible loss, in the same words as in the record of a failover; null for an application.
    #[serde(default)]
    pub loss: Option<String>,
    /// True if log that only the primary's disk has would be carried to the standby before its promotion, while the primary's host answers: then nothing is lost.
    #[serde(default)]
    pub salvage: bool,
    /// Why that would not be done; null if it would, and if it is switched off (`data.salvage`).
    #[serde(default)]
    pub salvage_hindered: Option<String>,
    /// Why this standby and not the next best one; null if there is no other, and for an application.
    #[serde(default)]
    pub preferred: Option<String>,
    /// Bytes of log that the standby has and would replay before it takes writes; null for an application.
    #[serde(default)]
    pub to_replay_bytes: Option<u64>,
    /// The time for this at the replay speed that was last seen, in milliseconds; null if the speed is not known.
    #[serde(default)]
    pub replay_ms: Option<u64>,
    /// The maximum delay of clients that use a DNS name, in seconds; null without names.
    #[serde(default)]
    pub names_ttl_s: Option<u32>,
    /// The number of the fence level that would be reached.
    pub fence_level: Option<u8>,
    /// One sentence for people.
    pub message: String,
    /// The exact reasons, if there would be no failover.
    pub reasons: Vec<ReasonStatus>,
}

/// One failover.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailoverStatus {
    /// Its number.
    pub generation: u64,
    /// The time at which it began: RFC 3339, UTC.
    pub started: String,
    /// `in_progress`, `completed`, `rolled_back`, `manual_intervention`.
    pub outcome: String,
    /// The reason, if it was not completed.
    pub reason: String,
    /// The present step.
    pub step: Option<String>,
    /// The remaining time of `failover_timeout`, in milliseconds, while the failover is in progress.
    #[serde(default)]
    pub left_ms: Option<u64>,
    /// The old primary.
    pub from: Option<String>,
    /// The new primary.
    pub to: Option<String>,
    /// The failure class that was confirmed.
    pub class: Option<String>,
    /// Bytes of log that may be missing: read if `loss_exact` is true, else estimated; null if it is not known, and also if the
    /// estimate is 0.
    pub loss_bytes: Option<u64>,
    /// True if `loss_bytes` is read and not estimated.
    #[serde(default)]
    pub loss_exact: bool,
    /// True if no acknowledged commit that waited for a standby can be missing. A session that sets `synchronous_commit` to `off` or `local` does not wait: `loss_bytes` may include its commits.
    #[serde(default)]
    pub holds_acknowledged: bool,
    /// The possible loss, in the words of the record; null for an application, and while no standby is chosen.
    #[serde(default)]
    pub loss: Option<String>,
    /// What came of carrying over log that only the old primary's disk had: `off`, `not_needed`, `not_tried`, `failed`, `nothing_missing`, `part`, `all`; null for an application, and while no standby is chosen.
    #[serde(default)]
    pub salvage: Option<String>,
    /// Bytes of log that only the old primary had; null if the end of its log was not read.
    #[serde(default)]
    pub missing_bytes: Option<u64>,
    /// Bytes of these that the new primary has.
    #[serde(default)]
    pub salvaged_bytes: Option<u64>,
    /// Bytes of these that are lost.
    #[serde(default)]
    pub still_missing_bytes: Option<u64>,
    /// Commits in the salvaged bytes; null if they could not be counted.
    #[serde(default)]
    pub salvaged_commits: Option<u64>,
    /// The number of the fence level that was proven.
    pub fence_level: Option<u8>,
    /// The evidence of the fence's proof.
    pub fence_proof: Option<String>,
    /// The new timeline.
    pub timeline: Option<u32>,
    /// From the first failed observation to the end, in milliseconds.
    pub total_ms: Option<f64>,
    /// The phases in their order.
    pub phases: Vec<PhaseStatus>,
    /// The steps in their order.
    pub steps: Vec<StepStatus>,
    /// Problems that did not stop the failover.
    pub warnings: Vec<String>,
    /// Why the failover is being undone, or was undone.
    pub undone: Option<String>,
    /// Undo steps that failed.
    pub not_undone: Vec<String>,
    /// The evidence for the decision, one line each.
    pub evidence: Vec<String>,
}

/// One phase of a failover: `confirm` (from the first bad sign), `fence`, `promote`, `write`, `route`, `verify`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseStatus {
    /// Its name.
    pub name: String,
    /// Its duration, in milliseconds.
    pub took_ms: f64,
}

/// One step of a failover.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// Its target.
    pub target: String,
    /// `running`, `ok` or `failed`.
    pub outcome: String,
    /// Its duration, in milliseconds.
    pub took_ms: Option<f64>,
    /// One line for people.
    pub message: String,
}

/// One problem that would hurt a failover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReadinessStatus {
    /// The server; null for the route and the service itself.
    pub server: Option<String>,
    /// A stable name.
    pub code: String,
    /// True: a failover would not work. False: a failover would be slower or riskier.
    pub blocking: bool,
    /// What is wrong.
    pub message: String,
    /// Why it matters at failover time.
    #[serde(default)]
    pub why: String,
    /// The remedy.
    pub remedy: String,
    /// Time since it was last seen, in milliseconds.
    pub asked_ms: u64,
}

/// The result of one check run by [`Engine::check_once`](super::Engine::check_once).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
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
    /// The reason for the verdict; empty for `up`.
    pub reason: String,
    /// One line for people.
    pub message: String,
    /// The remedy; empty if none is known.
    #[serde(default)]
    pub remedy: String,
    /// Its duration, in milliseconds.
    pub latency_ms: f64,
    /// The data that the server reported about itself, if the check asks for it.
    pub sample: Option<SampleStatus>,
}

impl CheckReport {
    /// True if a database refused the engine's login.
    #[must_use]
    pub fn is_login_refused(&self) -> bool {
        self.kind == "postgres" && self.verdict == "impaired" && self.reason == "authentication"
    }
}

/// What [`Engine::check_ready`](super::Engine::check_ready) found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReadyReport {
    /// Each check.
    pub checks: Vec<CheckReport>,
    /// Each service that can be failed over.
    pub services: Vec<ServiceReadiness>,
    /// Problems that would prevent the engine itself from working.
    #[serde(default)]
    pub engine: Vec<ReadinessStatus>,
}

/// Whether a failover of one service would succeed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceReadiness {
    /// The service.
    pub service: String,
    /// `postgres` or `application`.
    #[serde(default)]
    pub kind: String,
    /// What would happen if the primary died now, in one sentence.
    #[serde(default)]
    pub sentence: String,
    /// The forecast in detail.
    pub forecast: ForecastStatus,
    /// Findings, and reasons against a failover. Those that block a failover come first.
    pub findings: Vec<ReadinessStatus>,
}

/// One finding, as it is shown.
pub(crate) fn readiness(server: Option<&str>, asked_ms: u64, finding: &ReadinessFinding) -> ReadinessStatus {
    ReadinessStatus {
        server: server.map(str::to_owned),
        code: finding.code.to_string(),
        blocking: finding.blocking,
        message: finding.message.clone(),
        why: finding.code.row().why.to_owned(),
        remedy: finding.remedy.clone(),
        asked_ms,
    }
}

impl ReadinessStatus {
    /// What a program found out itself. `blocking`: a failover would not work.
    #[must_use]
    pub fn found(code: FindingCode, blocking: bool, message: impl Into<String>, remedy: impl Into<String>) -> ReadinessStatus {
        readiness(None, 0, &code.found(blocking, message, remedy))
    }
}

/// What rendering a service needs to know.
struct View<'a> {
    now: Mono,
    clock: &'a Clock,
    model: &'a ServiceModel,
    service: &'a ServiceSnapshot,
}

/// Renders the services of a snapshot, those that this configuration has.
pub(crate) fn services(snapshot: &Snapshot, model: &Model, clock: &Clock) -> Vec<ServiceStatus> {
    let now = clock.now().max(snapshot.at);
    let views = snapshot.services.iter().filter_map(|service| {
        let here = model.services.get(usize::from(service.id.0)).filter(|model| model.name == service.name);
        let model = here.or_else(|| model.services.iter().find(|model| model.name == service.name))?;
        Some(View { now, clock, model, service }.render())
    });
    views.collect()
}

/// The same of one service, by its name.
pub(crate) fn service(core: &Mutex<Option<Core>>, name: &str, model: &Model, clock: &Clock) -> Option<ServiceStatus> {
    let snapshot = core.lock().as_ref().map(|core| core.snapshot_of(name))?;
    services(&snapshot, model, clock).pop()
}

/// Renders the result of a check that was run by itself.
pub(crate) fn check_report(
    model: &ServiceModel,
    check: usize,
    finding: Option<&Finding>,
    why: &str,
    clock: &Clock,
) -> CheckReport {
    let check = &model.checks[check];
    let server = model.servers.get(usize::from(check.server)).map_or_else(String::new, |server| server.name.clone());
    let base = CheckReport {
        service: model.name.clone(),
        server,
        check: check.name.clone(),
        kind: check_kind(check.kind).to_owned(),
        ..CheckReport::default()
    };
    match finding {
        Some(finding) => CheckReport {
            verdict: finding.verdict.as_str().to_owned(),
            reason: finding.verdict.reason().to_owned(),
            message: finding.message.clone(),
            remedy: super::remedy::of_check(check.kind, &finding.verdict, &finding.message).into_owned(),
            latency_ms: millis(finding.latency),
            sample: finding.sample.as_ref().map(|sample| sample_status(sample, clock.now(), None)),
            ..base
        },
        None => CheckReport { verdict: "unknown".to_owned(), reason: "internal".to_owned(), message: why.to_owned(), ..base },
    }
}

impl View<'_> {
    fn name(&self, id: ServerId) -> String {
        self.service.servers.get(usize::from(id.0)).map_or_else(|| format!("server {id}"), |server| server.name.clone())
    }

    fn time(&self, at: Mono) -> String {
        rfc3339(self.clock.wall(at))
    }

    fn age(&self, at: Mono) -> u64 {
        self.now.since(at).as_millis()
    }

    fn reason(&self, refusal: &Refusal) -> ReasonStatus {
        let mut message = refusal.sentence(&|id| self.name(id));
        if *refusal == Refusal::NoPrimarySeen && !self.service.no_primary_because.is_empty() {
            message = format!("{}: {message}", self.service.no_primary_because);
        }
        if *refusal == Refusal::Paused {
            message = self.service.pause.sentence(&message);
        }
        let remedy = remedy::of_refusal(refusal.name(), &self.service.name);
        ReasonStatus { code: refusal.name().to_owned(), message, remedy }
    }

    /// Why a standby cannot be promoted.
    fn not_promotable(&self, standby: ServerId, refusal: &CandidateRefusal) -> ReasonStatus {
        let primary = self.primary_in_recovery();
        let remedy = self.remedy_of_deposed(standby).filter(|_| matches!(refusal, CandidateRefusal::NotReadable { .. }));
        let remedy =
            remedy.unwrap_or_else(|| remedy::of_standby(refusal, &self.service.name, &self.name(standby), primary.as_deref()));
        ReasonStatus { code: refusal.name().to_owned(), message: refusal.sentence(), remedy }
    }

    /// What mends a server that does not answer because a failover stopped it, or it handed over.
    fn remedy_of_deposed(&self, server: ServerId) -> Option<String> {
        let state = self.service.servers.iter().find(|state| state.id == server)?;
        let stopped = state.deposed && !state.session_open && self.service.kind.holds_data();
        let ssh = self.model.servers.get(usize::from(server.0)).is_some_and(|server| server.ssh);
        stopped.then(|| of_deposed(&self.service.name, &self.name(server), ssh))
    }

    /// The server that is taken for the primary, where it is in recovery and so is no reason to give up one that takes writes.
    fn primary_in_recovery(&self) -> Option<String> {
        let primary = self.service.servers.iter().find(|server| Some(server.id) == self.service.primary)?;
        primary.sample.as_ref().is_some_and(|(_, sample)| sample.in_recovery).then(|| self.name(primary.id))
    }

    fn render(&self) -> ServiceStatus {
        let service = self.service;
        let refusals: Vec<ReasonStatus> = service.refusal.iter().map(|refusal| self.reason(refusal)).collect();
        ServiceStatus {
            name: service.name.clone(),
            kind: service.kind.as_str().to_owned(),
            state: service.state.as_str().to_owned(),
            // Known to the events only: see the stories.
            state_age_ms: 0,
            reason: service
                .manual_reason
                .clone()
                .or_else(|| refusals.first().map(|refusal| refusal.message.clone()))
                .unwrap_or_else(|| {
                    service.missing.iter().map(|missing| missing.sentence.as_str()).collect::<Vec<_>>().join("; ")
                }),
            missing: service.missing.iter().map(remark).collect(),
            paused: service.paused,
            pause: service.paused.then(|| PauseStatus {
                reason: service.pause.reason.clone(),
                left_ms: service.pause.ends.map(|ends| ends.since(self.now).as_millis()),
                until: service.pause.ends.map(|ends| self.time(ends)),
                withheld: service.withheld.iter().map(remark).collect(),
            }),
            planned_switchover: service.planned.map(|planned| PlannedSwitchoverStatus {
                to: planned.to.map(|to| self.name(to)),
                at: super::render::rfc3339(std::time::UNIX_EPOCH + std::time::Duration::from_millis(planned.at_ms)),
                left_ms: planned.at.since(self.now).as_millis(),
            }),
            awaiting_confirmation: service.awaiting.is_some() || service.held,
            confirmation_left_ms: service.awaiting.map(|(_, until)| until.since(self.now).as_millis()),
            primary: service.primary.map(|id| self.name(id)),
            generation: service.generation.0,
            class: service.failing.as_ref().ok().map(|class| class.as_str().to_owned()),
            suspected_ms: service.suspected_since.map(|since| self.age(since)),
            evidence: service.evidence.clone(),
            failures: service.failures_in_window,
            failure_threshold: service.failure_threshold,
            recent_failures: service
                .recent_failures
                .iter()
                .map(|failure| {
                    let check = service.checks.get(usize::from(failure.check.0));
                    FailureStatus {
                        time: self.time(failure.at),
                        check: check.map_or_else(String::new, |check| check.name.clone()),
                        server: check.map_or_else(String::new, |check| self.name(check.server)),
                        cause: failure.cause.as_str().to_owned(),
                        message: failure.message.clone(),
                    }
                })
                .collect(),
            servers: service.servers.iter().map(|server| self.server(server)).collect(),
            refusals,
            forecast: self.forecast(&service.forecast),
            cooldown_ms: service.cooldown_left.as_millis(),
            failover: match (&service.plan, &service.last_failover) {
                (Some(plan), _) => Some(self.failover(plan, "in_progress", "")),
                (None, Some(LastFailover { plan, how, why })) => Some(self.failover(plan, how.as_str(), why)),
                (None, None) => None,
            },
            follows: service.follows.as_ref().map(|follows| FollowStatus {
                service: follows.service.clone(),
                followed: follows.followed.clone(),
                following: follows.following.clone(),
                error: follows.why.clone(),
            }),
            rejoin: self.rejoin(),
            sync_set: service.sync_set.as_ref().map(|set| SyncSetStatus {
                wanted: set.wanted,
                names: set.names.clone(),
                members: set.members.iter().map(|member| self.name(*member)).collect(),
                short: set.short,
                changing: set.changing,
                problem: set.problem.clone(),
            }),
            weight_percent: service.share,
            topology: super::topology::of(service, &|server| self.answers(server), self.now),
            tolerates: self.tolerates(),
            readiness: self.readiness(),
            metrics: self.metrics(),
        }
    }

    fn tolerates(&self) -> Vec<DeathStatus> {
        let deaths = self.service.tolerates.iter().filter(|_| self.service.kind.holds_data()).zip(1u32..);
        let death = |(outcome, deaths): (&Result<ServerId, Vec<Refusal>>, u32)| match outcome {
            Ok(next) => {
                let name = self.name(*next);
                DeathStatus { deaths, message: format!("{name} would take over"), candidate: Some(name) }
            }
            Err(refusals) => {
                let why: Vec<String> = refusals.iter().map(|refusal| self.reason(refusal).message).collect();
                DeathStatus { deaths, candidate: None, message: format!("nobody would take over: {}", why.join("; ")) }
            }
        };
        deaths.map(death).collect()
    }

    fn rejoin(&self) -> Option<RejoinStatus> {
        let lost = |divergence: Option<&Divergence>| {
            let known = divergence.cloned().unwrap_or_default();
            let (bytes, commits) = (divergence.map(Divergence::bytes), known.commits);
            RejoinStatus {
                lost_bytes: bytes,
                lost_commits: commits,
                lost_first: known.first,
                lost_last: known.last,
                ..RejoinStatus::default()
            }
        };
        if let Some(run) = &self.service.rejoin {
            let percent = run.progress.filter(|(_, all)| *all > 0);
            let percent = percent.and_then(|(done, all)| u8::try_from(done.saturating_mul(100) / all).ok());
            return Some(RejoinStatus {
                server: self.name(run.server),
                outcome: "in_progress".to_owned(),
                doing: Some(run.doing.to_owned()),
                percent,
                ..lost(run.divergence.as_ref())
            });
        }
        self.service.last_rejoin.as_ref().map(|ended| RejoinStatus {
            server: self.name(ended.server),
            outcome: ended.outcome.as_str().to_owned(),
            message: ended.message.clone(),
            ..lost(ended.divergence.as_ref())
        })
    }

    fn metrics(&self) -> MetricsStatus {
        let stats = &self.service.stats;
        let counts = |list: &[(&str, u64)]| list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        MetricsStatus {
            failovers: counts(&[
                ("completed", stats.completed),
                ("rolled_back", stats.rolled_back),
                ("manual_intervention", stats.manual_intervention),
                ("stopped", stats.stopped),
            ]),
            forced: stats.forced,
            switchovers: stats.planned,
            verified: stats.verified,
            unverifiable: stats.unverifiable,
            success_rate: rate(stats.success()),
            mttd: spans(&stats.detect),
            mttr: spans(&stats.repair),
            judged: counts(&[
                (Need::Justified.as_str(), stats.justified),
                (Need::FalsePositive.as_str(), stats.false_positives),
                (Need::Unknown.as_str(), stats.unjudged),
            ]),
            false_positive_rate: rate(stats.false_positive()),
            last: stats.last.as_ref().map(|last| JudgedStatus {
                generation: last.generation.0,
                old_primary: self.name(last.old),
                verdict: last.judgement.need.as_str().to_owned(),
                why: last.judgement.why.clone(),
            }),
            refusals: self.service.refusals.clone(),
        }
    }

    fn traffic(&self, traffic: &Traffic) -> Option<TrafficStatus> {
        let [ok, timeout, refused, reset, rejected, error] = traffic.reported;
        (traffic.reported != [0; 6]).then(|| TrafficStatus {
            ok,
            timeout,
            refused,
            reset,
            rejected,
            error,
            served_ms: traffic.served_at.map(|at| self.age(at)),
            failed_ms: traffic.failed_at.map(|(at, _)| self.age(at)),
        })
    }

    fn server(&self, server: &ServerSnapshot) -> ServerStatus {
        let service = self.service;
        let configured = self.model.servers.get(usize::from(server.id.0));
        let seen = match &server.sample {
            _ if server.wrong_cluster => "foreign",
            // Servers without data do not say what they are: who has the traffic is the engine's knowledge.
            _ if !service.kind.holds_data() => match service.primary {
                Some(primary) if primary == server.id => "primary",
                Some(_) => "standby",
                None => "unknown",
            },
            Some((_, sample)) if sample.in_recovery => "standby",
            Some(_) if service.primary == Some(server.id) => "primary",
            Some(_) => "writable",
            None => "unknown",
        };
        let answers = self.answers(server);
        // The primary stays the primary until another one is; of anybody else an old word is worth nothing.
        let role = if answers || seen == "primary" || !service.kind.holds_data() { seen } else { "unknown" };
        let fenced =
            service.last_failover.as_ref().and_then(|last| (last.plan.fence_level() > FenceLevel::None).then_some(last.plan.old));
        let verdict = service.forecast.standbys.iter().find(|(id, _)| *id == server.id);
        // Whom the failover in flight has promoted is the new primary: what would mend a standby would end it.
        let promoted = service.plan.as_ref().filter(|plan| plan.times.promoted.is_some()).and_then(|plan| plan.chosen);
        let verdict = verdict.filter(|_| promoted.is_none_or(|chosen| chosen.server != server.id));
        let position = service.position.map(|(flush, _, _)| flush);
        ServerStatus {
            name: server.name.clone(),
            role: role.to_owned(),
            answers,
            last_role: (!answers && service.kind.holds_data() && seen != "unknown").then(|| seen.to_owned()),
            configured_role: match configured.map(|server| server.role) {
                Some(Role::Primary) => "primary",
                _ => "standby",
            }
            .to_owned(),
            // Known to nobody who decides: filled in by `overview`.
            host: String::new(),
            port: 0,
            health: health(server.health).to_owned(),
            session: server.session_open,
            deposed: server.deposed,
            cordoned: server.cordoned,
            fenced: server.deposed && fenced == Some(server.id),
            synchronous: server.synchronous,
            last_answer_ms: server.last_answer.map(|at| self.age(at)),
            traffic: self.traffic(&server.traffic),
            not_promotable: verdict
                .and_then(|(_, verdict)| verdict.as_ref().err())
                .map(|refusal| self.not_promotable(server.id, refusal)),
            checks: service
                .checks
                .iter()
                .zip(&self.model.checks)
                .filter(|(check, _)| check.server == server.id)
                .map(|(check, model)| {
                    let last = check.last.as_ref();
                    CheckStatus {
                        name: check.name.clone(),
                        kind: check_kind(model.kind).to_owned(),
                        health: health(check.health).to_owned(),
                        verdict: last.map(|(_, finding)| finding.verdict.as_str().to_owned()),
                        reason: last.map_or_else(String::new, |(_, finding)| finding.verdict.reason().to_owned()),
                        message: last.map_or_else(String::new, |(_, finding)| finding.message.clone()),
                        remedy: last.map_or_else(String::new, |(_, finding)| {
                            let refused = finding.verdict == Verdict::Down(DownCause::Refused);
                            let deposed = self.remedy_of_deposed(server.id).filter(|_| refused);
                            deposed.unwrap_or_else(|| {
                                super::remedy::of_check(model.kind, &finding.verdict, &finding.message).into_owned()
                            })
                        }),
                        latency_ms: last.map_or(0.0, |(_, finding)| millis(finding.latency)),
                        age_ms: last.map_or(0, |(at, _)| self.age(*at)),
                        failures: check.failures,
                        answers: {
                            let [up, impaired, down, unknown] = check.verdicts;
                            VerdictCounts { up, impaired, down, unknown }
                        },
                    }
                })
                .collect(),
            sample: server.sample.as_ref().map(|(_, sample)| sample_status(sample, self.now, position)),
        }
    }

    /// It has answered lately, or its last check got an answer that only a living server gives.
    fn answers(&self, server: &ServerSnapshot) -> bool {
        let lately = server.last_answer.is_some_and(|at| self.now.since(at) < FRESH);
        let checks = self.service.checks.iter().filter(|check| check.server == server.id);
        lately || checks.filter_map(|check| check.last.as_ref()).any(|(_, finding)| finding.verdict.is_sign_of_life())
    }

    fn forecast(&self, forecast: &Forecast) -> ForecastStatus {
        let fence_level = forecast.fence.map(failover_core::sample::FenceLevel::number);
        let names_ttl_s = self.model.route.names_ttl;
        let follow =
            names_ttl_s.map_or_else(String::new, |ttl| format!("; clients that go by name follow at most {ttl} s later"));
        match &forecast.outcome {
            Ok(candidate) => {
                let name = self.name(candidate.server);
                if !self.service.kind.holds_data() {
                    return ForecastStatus {
                        would_fail_over: true,
                        message: format!("{name} would take over{follow}"),
                        candidate: Some(name),
                        names_ttl_s,
                        ..ForecastStatus::default()
                    };
                }
                let loss = candidate.loss_sentence();
                let (replay_ms, replay) = self.replay_first(candidate);
                let why = forecast.preferred.map(|(other, why)| (why, why.sentence(&self.name(other))));
                // That is seen nowhere else.
                let along = why.as_ref().filter(|(why, _)| matches!(why, Preference::Followers(..)));
                let along = along.map_or_else(String::new, |(_, sentence)| format!("; {sentence}"));
                ForecastStatus {
                    would_fail_over: true,
                    message: format!("{name} would be promoted; {loss}{along}{replay}{follow}"),
                    preferred: why.map(|(_, sentence)| sentence),
                    to_replay_bytes: Some(candidate.to_replay),
                    replay_ms,
                    names_ttl_s,
                    candidate: Some(name),
                    loss_bytes: candidate.loss,
                    loss_exact: candidate.exact,
                    holds_acknowledged: candidate.holds_acknowledged,
                    loss: Some(loss),
                    salvage: forecast.salvage == Some(Ok(())),
                    salvage_hindered: forecast.salvage.clone().and_then(Result::err),
                    fence_level,
                    reasons: Vec::new(),
                }
            }
            Err(refusals) => {
                let reasons: Vec<ReasonStatus> = refusals.iter().map(|refusal| self.reason(refusal)).collect();
                let why: Vec<&str> = reasons.iter().map(|reason| reason.message.as_str()).collect();
                ForecastStatus {
                    would_fail_over: false,
                    candidate: None,
                    loss_bytes: None,
                    loss_exact: false,
                    holds_acknowledged: false,
                    loss: None,
                    salvage: false,
                    salvage_hindered: None,
                    preferred: None,
                    to_replay_bytes: None,
                    replay_ms: None,
                    names_ttl_s,
                    fence_level,
                    message: format!("there would be no failover: {}", why.join("; ")),
                    reasons,
                }
            }
        }
    }

    /// What a promotion would have to replay first: its time in milliseconds, and a clause where that is worth a word.
    fn replay_first(&self, candidate: &Candidate) -> (Option<u64>, String) {
        let server = self.service.servers.iter().find(|server| server.id == candidate.server);
        let time = server.and_then(|server| server.replay_pace.time_for(candidate.to_replay));
        let clause = match time {
            _ if candidate.to_replay < MUCH_TO_REPLAY => String::new(),
            Some(time) => format!(
                "; before it takes writes it replays {} bytes, some {} s at its present pace",
                candidate.to_replay,
                time.as_millis().div_ceil(1_000)
            ),
            None => format!("; before it takes writes it replays {} bytes", candidate.to_replay),
        };
        (time.map(Span::as_millis), clause)
    }

    fn failover(&self, plan: &Plan, outcome: &str, why: &str) -> FailoverStatus {
        let times = &plan.times;
        let chosen = plan.chosen.filter(|_| plan.kind.holds_data());
        let carried = chosen.and_then(|candidate| candidate.carried);
        FailoverStatus {
            generation: plan.course.generation.0,
            started: self.time(times.confirmed),
            outcome: outcome.to_owned(),
            reason: why.to_owned(),
            step: plan.course.action.as_ref().map(|(_, action, _): &(_, Action, _)| action.name().to_owned()),
            left_ms: (outcome == "in_progress").then(|| plan.course.deadline.since(self.now).as_millis()),
            from: Some(self.name(plan.old)),
            to: plan.chosen.map(|candidate| self.name(candidate.server)),
            class: Some(plan.reason.as_str().to_owned()),
            loss_bytes: chosen.and_then(|candidate| candidate.recorded_loss()),
            loss_exact: chosen.is_some_and(|candidate| candidate.exact),
            holds_acknowledged: chosen.is_some_and(|candidate| candidate.holds_acknowledged),
            loss: chosen.map(|candidate| candidate.loss_sentence()),
            salvage: chosen.map(|chosen| plan.salvage.word(chosen.server, chosen.carried, chosen.holds_acknowledged).to_owned()),
            missing_bytes: carried.map(|carried| carried.missing),
            salvaged_bytes: carried.map(|carried| carried.salvaged),
            still_missing_bytes: carried.map(|carried| carried.left()),
            salvaged_commits: carried.and_then(|carried| carried.commits),
            fence_level: plan.fence.as_ref().map(|fence| fence.level.number()),
            fence_proof: plan.fence.as_ref().map(|fence| fence.proof.clone()),
            timeline: plan.timeline,
            total_ms: times.ended.map(|ended| millis(plan.since_first_bad(ended))),
            phases: phases(times, !plan.kind.holds_data()),
            steps: Vec::new(),
            warnings: plan.course.warnings.clone(),
            undone: plan.course.undoing.clone(),
            not_undone: plan.course.undo_failures.clone(),
            evidence: plan.course.evidence.clone(),
        }
    }

    fn readiness(&self) -> Vec<ReadinessStatus> {
        let mut list = Vec::new();
        for server in &self.service.servers {
            let Some(readiness) = &server.readiness else { continue };
            let now = readiness.findings.iter().map(|finding| (readiness.asked, finding));
            let mut found: Vec<_> = now.chain(readiness.earlier.iter().map(|(asked, finding)| (*asked, finding))).collect();
            found.sort_by(|one, other| one.1.cmp(other.1));
            list.extend(found.into_iter().map(|(asked, finding)| self.finding(Some(&server.name), asked, finding)));
        }
        for route in self.service.route.iter().chain(&self.service.asked_route) {
            list.extend(route.findings.iter().map(|finding| self.finding(None, route.asked, finding)));
        }
        // What stops a failover first, otherwise in the order of the servers.
        list.sort_by_key(|finding| !finding.blocking);
        list
    }

    fn finding(&self, server: Option<&String>, asked: Mono, finding: &ReadinessFinding) -> ReadinessStatus {
        readiness(server.map(String::as_str), self.age(asked), finding)
    }
}

fn spans(spans: &Spans) -> SpansStatus {
    SpansStatus {
        count: spans.count,
        mean_ms: spans.mean().map(millis),
        longest_ms: millis(spans.longest),
        last_ms: spans.last.map(millis),
        sum_ms: millis(spans.sum),
    }
}

/// A part of a whole; `None` of nothing.
fn remark(remark: &Remark) -> ReasonStatus {
    ReasonStatus { code: remark.code.clone(), message: remark.sentence.clone(), remedy: String::new() }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 failovers")]
fn rate((part, whole): (u64, u64)) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The phases that were reached, each from the end of the one before it. Nothing of an application is fenced, promoted or written.
fn phases(times: &Times, application: bool) -> Vec<PhaseStatus> {
    let ends = [
        ("confirm", Some(times.confirmed)),
        ("fence", times.fenced),
        ("promote", times.promoted.filter(|_| !application)),
        ("write", times.written.filter(|_| !application)),
        ("route", times.routed),
        ("verify", times.verified),
    ];
    let mut from = times.detected;
    let mut phases = Vec::new();
    for (name, end) in ends {
        if let Some(end) = end {
            phases.push(PhaseStatus { name: name.to_owned(), took_ms: millis(end.since(from)) });
            from = end;
        }
    }
    phases
}

fn sample_status(sample: &Sample, now: Mono, primary: Option<Lsn>) -> SampleStatus {
    let text = |lsn: Option<Lsn>| lsn.map(|lsn| lsn.to_string());
    SampleStatus {
        age_ms: now.since(sample.asked).as_millis(),
        in_recovery: sample.in_recovery,
        system_id: sample.system_id.to_string(),
        timeline: sample.timeline,
        flush: text(sample.flush),
        receive: text(sample.receive),
        replay: text(sample.replay),
        receiver: match &sample.receiver {
            Receiver::Absent => "absent",
            Receiver::Hidden => "hidden",
            Receiver::Seen { streaming: true, .. } => "streaming",
            Receiver::Seen { .. } => "not_streaming",
        }
        .to_owned(),
        lag_bytes: primary
            .filter(|_| sample.in_recovery)
            .zip(sample.receive)
            .map(|(primary, receive)| primary.bytes_after(receive)),
        to_replay_bytes: sample.receive.filter(|_| sample.in_recovery).map(|_| to_replay(sample)),
        sync_names: sample.sync_names.clone(),
    }
}

fn health(health: Health) -> &'static str {
    health.as_str()
}

fn check_kind(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Postgres => "postgres",
        CheckKind::Tcp => "tcp",
        CheckKind::Http => "http",
        CheckKind::Exec => "exec",
        CheckKind::Host => "host",
        CheckKind::Scripted => "scripted",
    }
}
