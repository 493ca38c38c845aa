//! What the decision core knows of the configuration: names, numbers and policies; no addresses, no secrets.

use super::id::{ServerId, ServiceId};
pub use super::kind::ServiceKind;
use super::sample::FenceLevel;
use super::switchover::GateModel;
use super::time::Span;
use serde::{Deserialize, Serialize};

/// Everything the core was told at start or at a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Seeds the jitter of the schedule. The same seed and the same inputs give the same decisions.
    pub seed: u64,
    /// The services, each with its own trigger.
    pub services: Vec<ServiceModel>,
    /// So many failovers may begin of their own accord within a minute; `None`: any number.
    #[serde(default)]
    pub max_concurrent_failovers: Option<u32>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceModel {
    /// Its name.
    pub name: String,
    /// What kind of thing it is.
    pub kind: ServiceKind,
    /// Its servers.
    pub servers: Vec<ServerModel>,
    /// Its checks, each of one server.
    pub checks: Vec<CheckModel>,
    /// When to act.
    pub trigger: TriggerModel,
    /// What is required before another server may take its place.
    pub fence: FenceModel,
    /// How a PostgreSQL service fails over.
    pub postgres: PostgresModel,
    /// Where its traffic goes through.
    pub route: RouteModel,
    /// Names of checks or commands that must pass before anything is changed.
    pub pre_checks: bool,
    /// The service that it follows.
    #[serde(default)]
    pub follows: Option<FollowModel>,
}

/// How a service follows another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowModel {
    /// The other service.
    pub service: ServiceId,
    /// Its name.
    pub name: String,
    /// The names of its servers, by their places.
    pub servers: Vec<String>,
    /// A command is run when it has a new primary.
    pub command: bool,
    /// The longest that the command may take.
    pub timeout: Span,
    /// Beside which of its servers which of our own is to be active.
    pub with: Vec<(ServerId, ServerId)>,
    /// So long its trouble holds our own trigger.
    pub hold: Span,
}

impl FollowModel {
    /// The name of one of its servers.
    #[must_use]
    pub fn server_name(&self, server: ServerId) -> String {
        self.servers.get(usize::from(server.0)).map_or_else(|| format!("server {server}"), Clone::clone)
    }

    /// Which of our own servers belongs beside one of its.
    #[must_use]
    pub fn beside(&self, server: ServerId) -> Option<ServerId> {
        self.with.iter().find(|(theirs, _)| *theirs == server).map(|(_, own)| *own)
    }
}

/// A server's role. In the configuration only the first hint: recovery flag, timeline and journal decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Takes the writes.
    Primary,
    /// Follows a primary.
    Standby,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerModel {
    /// Its name.
    pub name: String,
    /// Its role by configuration.
    pub role: Role,
    /// Among equally good candidates the higher one is chosen.
    pub priority: u32,
    /// A standby that may be promoted.
    pub candidate: bool,
    /// Its host can be asked over SSH.
    pub ssh: bool,
    /// `fence.command` is configured for it (level 4).
    pub fence_command: bool,
    /// Its name in `pg_stat_replication` where that cannot be read from the standby itself.
    pub replication_name: Option<String>,
}

/// One check of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckModel {
    /// Its name, unique in the service.
    pub name: String,
    /// The server it asks, by its place in `servers`.
    pub server: u16,
    /// What it does.
    pub kind: CheckKind,
    /// Between the starts of two runs while all is well.
    pub interval: Span,
    /// Between two runs while a verdict is changing.
    pub fast_interval: Span,
    /// The overall deadline of one run.
    pub timeout: Span,
    /// Failures in a row until its health is `unhealthy`.
    pub failure_threshold: u32,
    /// Successes in a row until its health is `healthy`.
    pub success_threshold: u32,
}

impl CheckModel {
    /// An answer older than this says nothing about now: two turns and a time-out.
    pub(crate) fn stale_after(&self) -> Span {
        self.interval.times(2) + self.timeout + Span::from_millis(500)
    }
}

/// What a check does, as far as the core cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// A new PostgreSQL connection, a query, an answer: the probe whose refusals and silence decide.
    Postgres,
    /// A TCP connection.
    Tcp,
    /// An HTTP request.
    Http,
    /// A command's exit code.
    Exec,
    /// The host program answers.
    Host,
    /// Answers from a script (tests, bindings).
    Scripted,
}

/// When to act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerModel {
    /// Failed observations of the primary within the window.
    pub failure_threshold: u32,
    /// The window.
    pub failure_window: Span,
    /// How the checks of the primary are weighed together.
    pub policy: Policy,
    /// From the end of one failover to the earliest start of the next.
    pub cooldown: Span,
    /// Wait for an operator.
    pub require_confirmation: bool,
    /// How long to wait for the operator.
    pub confirm_timeout: Span,
    /// For the whole failover, up to "traffic verified".
    pub failover_timeout: Span,
    /// Silence this long since the last answer of any probe is `hung` (rule 93).
    pub hang_after: Span,
    /// Between two pings of a kept-open session.
    pub ping_interval: Span,
    /// How long an announced shutdown may take to come back.
    pub restart_grace: Span,
    /// A primary impaired for this long counts as failed; `None`: never, alarm only.
    pub on_impaired: Option<Span>,
}

/// How the checks of the primary are weighed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// Failed observations across the checks are added up.
    Count,
    /// Every check must be at its failure threshold.
    All,
    /// At least so many checks must be at their failure threshold.
    Quorum(u32),
}

/// What is required before another server may take the primary's place, of a service whose servers hold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceModel {
    /// The level to reach for a dead or hung primary.
    pub require: FenceLevel,
    /// For all rungs of the fence together.
    pub timeout: Span,
}

/// How a PostgreSQL service fails over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresModel {
    /// More possible loss than this refuses the failover.
    pub max_lag_bytes: u64,
    /// What to do when the loss is above the limit or unknown.
    pub on_loss: OnLoss,
    /// For the new primary to leave recovery.
    pub promotion_timeout: Span,
    /// What to do when the new primary waits for a synchronous standby that is not there.
    pub on_no_sync_standby: OnNoSyncStandby,
    /// Allow a standby with `recovery_min_apply_delay`.
    pub allow_delayed: bool,
    /// What only the old primary's disk has is carried to the standby before its promotion.
    #[serde(default)]
    pub salvage: OnSalvage,
    /// The longest that may take.
    #[serde(default)]
    pub salvage_timeout: Span,
    /// What becomes of the other standbys when there is a new primary.
    #[serde(default)]
    pub followers: OnNewPrimary,
    /// Whether an old primary comes back as a standby by itself.
    #[serde(default)]
    pub rejoin: OnRejoin,
    /// Who keeps `synchronous_standby_names`, and how.
    #[serde(default)]
    pub sync: SyncModel,
}

/// How the set of standbys is kept that commits wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncModel {
    /// Who keeps it.
    pub keep: OnSynchronous,
    /// Acknowledgements that a commit waits for.
    pub count: u32,
    /// A standby that does not stream for so long is taken out.
    pub timeout: Span,
}

/// Who keeps `synchronous_standby_names`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnSynchronous {
    /// An administrator. Also what records from before it could be kept mean.
    #[default]
    Manual,
    /// The engine.
    Maintain,
}

/// What becomes of a standby that streamed from the old primary when there is a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnNewPrimary {
    /// Its configuration stays as it is. Also what records from before it could be changed mean.
    #[default]
    Off,
    /// It is pointed to the new primary.
    Auto,
}

/// Whether the end of the old primary's log, which no standby has, is carried over before the promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnSalvage {
    /// Never. Also what records from before it could be done mean.
    #[default]
    Off,
    /// Where it is possible; what is not carried over is judged as a loss.
    Auto,
    /// Where it does not come to its end, a person is called instead of promoting with a loss.
    Require,
}

/// Whether an old primary comes back as a standby by itself, once its failover is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnRejoin {
    /// By an order only.
    #[default]
    Manual,
    /// Where it can follow as it is.
    Clean,
    /// Also by a rewind.
    Auto,
}

/// What to do when the possible loss is above the limit, or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLoss {
    /// Stop and call a person.
    Refuse,
    /// Go on, and say so in the record.
    Proceed,
}

/// What to do when commits on the new primary wait for a synchronous standby that is not there (rule 94).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnNoSyncStandby {
    /// Clear `synchronous_standby_names`, reported and journaled.
    Async,
    /// Leave commits waiting.
    Block,
}

/// The managed route of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteModel {
    /// How many instances (HAProxy processes, commands) are addressed; zero: the engine moves no traffic.
    pub instances: u32,
    /// Every client comes through it, so level 1 is enough for an unreachable host.
    #[serde(default)]
    pub exclusive: bool,
    /// Names that follow the primary, beside another route: the longest that their change may take. Names that are the only route
    /// are its instances.
    #[serde(default)]
    pub names: Option<Span>,
    /// The longest that a resolver may go on giving the old address of a name, in seconds; `None`: no names.
    #[serde(default)]
    pub names_ttl: Option<u32>,
    /// The longest that a command, or a name, may take to send the traffic to a server.
    #[serde(default)]
    pub commands_in: Span,
    /// The longest that a command may take to take a server out.
    #[serde(default)]
    pub commands_out: Span,
    /// So long the weight of a server that got the traffic grows to its full one, in tenths; zero: it has it at once.
    #[serde(default)]
    pub ramp: Span,
    /// Poolers let the clients wait while a primary that lives hands over; `None`: there is none.
    #[serde(default)]
    pub gate: Option<GateModel>,
    /// An address through which the traffic can be verified is configured.
    pub verify: bool,
    /// Of an application: so long after it got the traffic a standby may take to be seen through the route.
    #[serde(default = "verify_for")]
    pub verify_for: Span,
}

impl RouteModel {
    /// The engine moves the traffic.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.instances > 0
    }

    /// No managed route.
    #[must_use]
    pub fn none() -> RouteModel {
        RouteModel {
            instances: 0,
            exclusive: false,
            names: None,
            names_ttl: None,
            commands_in: Span::ZERO,
            commands_out: Span::ZERO,
            ramp: Span::ZERO,
            gate: None,
            verify: false,
            verify_for: verify_for(),
        }
    }
}

/// That of records from before it could be set.
fn verify_for() -> Span {
    Span::from_millis(5_000)
}

impl ServiceModel {
    /// Its traffic can be moved. An application without a route is watched, and nothing else.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.kind.rules().moves_without_route() || self.route.instances > 0
    }
}

/// Where the servers of one configuration of a service are in another one, by their names.
pub(crate) struct Places<'a> {
    /// The one that their numbers are of.
    pub before: &'a ServiceModel,
    /// The other one.
    pub now: &'a ServiceModel,
}

impl Places<'_> {
    /// One of its own servers.
    pub(crate) fn server(&self, server: ServerId) -> Option<ServerId> {
        let name = &self.before.servers.get(usize::from(server.0))?.name;
        place(self.now.servers.iter().map(|server| &server.name), name)
    }

    /// One of the service that it follows, where that is the same.
    pub(crate) fn followed(&self, server: ServerId) -> Option<ServerId> {
        let (before, now) = (self.before.follows.as_ref()?, self.now.follows.as_ref()?);
        let name = before.servers.get(usize::from(server.0)).filter(|_| before.name == now.name)?;
        place(now.servers.iter(), name)
    }
}

fn place<'a>(mut names: impl Iterator<Item = &'a String>, name: &String) -> Option<ServerId> {
    u16::try_from(names.position(|other| other == name)?).ok().map(ServerId)
}
