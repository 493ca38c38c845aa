//! The state of the core as plain data, for the status. The shell renders it; nothing here is serialised.

use super::candidate::{Candidate, Preference, View, Waiver};
use super::doubt::{Doubt, DoubtCause};
use super::evidence::FailureClass;
use super::health::Health;
use super::id::{Generation, ServerId, ServiceId};
use super::input::SelfHealth;
use super::model::ServiceKind;
use super::observation::Finding;
use super::plan::Plan;
use super::reason::Reason;
use super::refusal::{CandidateRefusal, Refusal};
use super::rejoin::{Divergence, RejoinEnded};
use super::replay_pace::ReplayPace;
use super::route::RouteReadiness;
use super::sample::{FenceLevel, Lsn, Readiness, Sample};
use super::service::Service;
use super::service::Surroundings;
use super::service::gate::Act;
use super::service::limit::RecentFailovers;
pub use super::service::pause::Pause;
pub use super::service::{FRESH, LastFailover, RecentFailure, Remark};
use super::stats::Stats;
use super::switchover::PlannedSwitchover;
use super::time::{Mono, Span};
use super::traffic::Traffic;
use super::trigger::State;

/// The whole core at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When.
    pub at: Mono,
    /// Why our own view is in doubt, if it is.
    pub doubt: Option<DoubtCause>,
    /// How the shell is doing.
    pub health: SelfHealth,
    /// Each service.
    pub services: Vec<ServiceSnapshot>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSnapshot {
    /// Its number.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ServiceKind,
    /// The trigger's state.
    pub state: State,
    /// Paused by an operator.
    pub paused: bool,
    /// What is known of that pause.
    pub pause: Pause,
    /// Waiting for an operator's confirmation of this class, until then.
    pub awaiting: Option<(FailureClass, Mono)>,
    /// A failover waits for one because of those of other services.
    pub held: bool,
    /// Why a person has to look, in `manual_intervention`.
    pub manual_reason: Option<String>,
    /// The last generation that was begun.
    pub generation: Generation,
    /// The primary, once one was seen.
    pub primary: Option<ServerId>,
    /// The primary was seen by this engine, and not read in the journal only.
    pub primary_seen: bool,
    /// Two servers take writes.
    pub two_primaries: bool,
    /// What it does without although its primary is well: why it is `degraded` then.
    pub missing: Vec<Remark>,
    /// What would be done and is left undone, because it is paused.
    pub withheld: Vec<Remark>,
    /// What is seen instead, while none was seen and the configuration names one that is in recovery; else empty.
    pub no_primary_because: String,
    /// The cluster's identity.
    pub system_id: Option<u64>,
    /// The primary's last known flush position, its timeline, and when it was sampled.
    pub position: Option<(Lsn, u32, Mono)>,
    /// Commits wait for a synchronous standby.
    pub synchronous: bool,
    /// The failure class that the evidence shows now, or the reason why there is none.
    pub failing: Result<FailureClass, Refusal>,
    /// The first bad sign, while there is a suspicion.
    pub suspected_since: Option<Mono>,
    /// The evidence gathered since then.
    pub evidence: Vec<String>,
    /// Failed observations of the primary in the window.
    pub failures_in_window: u32,
    /// How many make the threshold.
    pub failure_threshold: u32,
    /// The last failed observations of the primary.
    pub recent_failures: Vec<RecentFailure>,
    /// Why no failover is under way now.
    pub refusal: Option<Refusal>,
    /// What would happen if the primary died now.
    pub forecast: Forecast,
    /// Who would take over at each death in turn; the last one says why nobody would, or all servers have had their turn.
    pub tolerates: Vec<Result<ServerId, Vec<Refusal>>>,
    /// The failover in flight.
    pub plan: Option<Plan>,
    /// The last one.
    pub last_failover: Option<LastFailover>,
    /// How long the cooldown still runs.
    pub cooldown_left: Span,
    /// A switchover that begins later.
    pub planned: Option<PlannedSwitchover>,
    /// Each server.
    pub servers: Vec<ServerSnapshot>,
    /// Each check.
    pub checks: Vec<CheckSnapshot>,
    /// The route as last surveyed; `None` without one.
    pub route: Option<RouteReadiness>,
    /// What a client would see on its way, and what the names say, as last surveyed; `None` before.
    pub asked_route: Option<RouteReadiness>,
    /// What the primary has of its full weight in the route, in percent, while that grows.
    pub share: Option<u8>,
    /// The service that it follows, where it follows one.
    pub follows: Option<FollowSnapshot>,
    /// The set of standbys that commits wait for, where the engine keeps it.
    pub sync_set: Option<SyncSetSnapshot>,
    /// An old primary that is on its way back.
    pub rejoin: Option<RejoinSnapshot>,
    /// How the last one ended.
    pub last_rejoin: Option<RejoinEnded>,
    /// The numbers about failovers.
    pub stats: Stats,
    /// Refusals that were told since the engine was started, by name.
    pub refusals: std::collections::BTreeMap<String, u64>,
}

/// The set of standbys that commits wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSetSnapshot {
    /// Acknowledgements that a commit is to wait for.
    pub wanted: u32,
    /// `synchronous_standby_names` of the primary, as it was seen last.
    pub names: String,
    /// Whoever may acknowledge.
    pub members: Vec<ServerId>,
    /// Too few standbys are well.
    pub short: bool,
    /// A change is under way: what was in force before counts too.
    pub changing: bool,
    /// Why the engine cannot keep it.
    pub problem: Option<String>,
}

/// An old primary that is on its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejoinSnapshot {
    /// Which.
    pub server: ServerId,
    /// What it is doing, in one word.
    pub doing: &'static str,
    /// How far a rewind or a copy is: kilobytes of kilobytes.
    pub progress: Option<(u64, u64)>,
    /// What its log has that the new primary lacks, once it was read.
    pub divergence: Option<Divergence>,
}

/// How far a service is with following another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowSnapshot {
    /// The other service's name.
    pub service: String,
    /// The primary of it that was followed last, or was found at first contact.
    pub followed: Option<String>,
    /// The primary of it that is being followed now.
    pub following: Option<String>,
    /// Why the last try to follow did not work.
    pub why: Option<String>,
}

/// "What if the primary died now?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The standby that would be promoted, or every reason why none would be.
    pub outcome: Result<Candidate, Vec<Refusal>>,
    /// The fence level that would be required, if it can be reached.
    pub fence: Option<FenceLevel>,
    /// What that standby lacks would be carried over from the primary's disk, while its host answers; or why not. `None`: nobody would be
    /// promoted, or it is switched off.
    pub salvage: Option<Result<(), String>>,
    /// Which standby comes after that one, and why it does.
    pub preferred: Option<(ServerId, Preference)>,
    /// Each standby by itself.
    pub standbys: Vec<(ServerId, Result<Candidate, CandidateRefusal>)>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSnapshot {
    /// Its number.
    pub id: ServerId,
    /// Its name.
    pub name: String,
    /// The worst health of its checks.
    pub health: Health,
    /// A kept session is open.
    pub session_open: bool,
    /// Its last answer.
    pub last_answer: Option<Mono>,
    /// What it last said about itself.
    pub sample: Option<(Mono, Sample)>,
    /// What the survey last found.
    pub readiness: Option<Readiness>,
    /// A former primary that was deposed by a failover.
    pub deposed: bool,
    /// An operator cordoned it.
    pub cordoned: bool,
    /// It belongs to another cluster.
    pub wrong_cluster: bool,
    /// How fast it replays.
    pub replay_pace: ReplayPace,
    /// Among those that acknowledge synchronous commits.
    pub synchronous: bool,
    /// What the host program reported of its own calls to it.
    pub traffic: Traffic,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSnapshot {
    /// Its name.
    pub name: String,
    /// Its server.
    pub server: ServerId,
    /// Its health.
    pub health: Health,
    /// Failures in a row.
    pub failures: u32,
    /// Its last answer.
    pub last: Option<(Mono, Finding)>,
    /// Its answers since the engine was started: up, impaired, down, unknown.
    pub verdicts: [u64; 4],
}

/// `wanted`: of these alone.
pub(super) fn take<'a>(
    now: Mono,
    services: &[Service],
    wanted: impl Iterator<Item = &'a Service>,
    doubt: &Doubt,
    health: &SelfHealth,
    most: Option<u32>,
) -> Snapshot {
    let begun = most.map(|most| (most, RecentFailovers::count(services.iter(), now)));
    let around = |service: &Service| Surroundings {
        doubt: doubt.cause(),
        journal_writable: health.journal_writable,
        together: begun.as_ref().map(|(most, begun)| begun.beside(service, *most, now)),
        followed: None,
    };
    Snapshot {
        at: now,
        doubt: doubt.cause(),
        health: health.clone(),
        services: wanted.map(|service| take_service(now, service, around(service))).collect(),
    }
}

fn take_service(now: Mono, service: &Service, around: Surroundings) -> ServiceSnapshot {
    let forecast = service.forecast(around, now);
    ServiceSnapshot {
        id: service.id,
        name: service.model.name.clone(),
        kind: service.model.kind,
        state: service.state,
        paused: service.is_paused(),
        pause: service.durable.pause.clone().unwrap_or_default(),
        awaiting: service.detection.awaiting,
        held: service.run.held,
        manual_reason: service.durable.attention.clone(),
        generation: service.durable.generation,
        primary: service.durable.primary,
        primary_seen: service.primary_seen,
        two_primaries: service.two_primaries,
        missing: service.missing(),
        withheld: service.withheld(now),
        no_primary_because: service.no_primary_because(),
        system_id: service.durable.cluster.system_id,
        position: service.log.as_ref().map(|log| (log.flush, log.timeline, log.at)),
        sync_set: service.shown_sync_set(),
        synchronous: service.log.as_ref().is_some_and(|log| log.sync.named),
        failing: service.failing(now),
        suspected_since: service.detection.suspicion.as_ref().map(|suspicion| suspicion.since),
        evidence: service.suspicion_record(),
        failures_in_window: service.detection.window.count(),
        failure_threshold: service.model.trigger.failure_threshold,
        recent_failures: service.recent.iter().cloned().collect(),
        refusal: service.detection.refusal.clone().or_else(|| service.run.plan.as_ref().map(|_| Refusal::FailoverInFlight)),
        tolerates: service.tolerates(&forecast.outcome, around, now),
        forecast,
        plan: service.run.plan.clone(),
        last_failover: service.run.last_failover.clone(),
        cooldown_left: service.cooldown_left(now),
        planned: service.durable.planned,
        servers: service.server_ids().map(|server| take_server(service, server)).collect(),
        checks: service
            .model
            .checks
            .iter()
            .zip(&service.checks)
            .map(|(model, state)| CheckSnapshot {
                name: model.name.clone(),
                server: ServerId(model.server),
                health: state.counter.health(),
                failures: state.counter.failures(),
                last: state.last.clone(),
                verdicts: state.verdicts,
            })
            .collect(),
        route: service.route.clone(),
        asked_route: service.asked_route.clone(),
        share: service.growing_share(now),
        follows: service.model.follows.as_ref().map(|model| FollowSnapshot {
            service: model.name.clone(),
            followed: service.durable.followed.map(|server| model.server_name(server)),
            following: service.background.follow.target.as_ref().map(|target| model.server_name(target.server)),
            why: service.background.follow.target.as_ref().and_then(|target| target.why.clone()),
        }),
        rejoin: service.background.rejoin.as_ref().map(|run| {
            let (server, doing, progress, divergence) = run.doing();
            RejoinSnapshot { server, doing, progress, divergence: divergence.cloned() }
        }),
        last_rejoin: service.background.last_rejoin.clone(),
        stats: service.durable.stats.clone(),
        refusals: service.refusals.clone(),
    }
}

fn take_server(service: &Service, server: ServerId) -> ServerSnapshot {
    let state = &service.servers[usize::from(server.0)];
    ServerSnapshot {
        id: server,
        name: service.server_name(server),
        health: service.server_health(server),
        session_open: state.session_open,
        last_answer: state.last_answer,
        sample: state.sample.clone(),
        readiness: state.readiness.clone(),
        deposed: state.deposed,
        cordoned: service.durable.cordoned.contains(&server),
        wrong_cluster: state.wrong_cluster,
        replay_pace: state.replay_pace,
        synchronous: service.durable.cluster.synchronous.contains(&server),
        traffic: state.traffic.clone(),
    }
}

impl Service {
    /// The class that the evidence shows now, or why there is none.
    fn failing(&self, now: Mono) -> Result<FailureClass, Refusal> {
        self.kind().failing(self, now)
    }

    /// What would happen if the primary died now: every guard, the fence, and each standby.
    pub(crate) fn forecast(&self, around: Surroundings, now: Mono) -> Forecast {
        let standbys = if self.model.is_moved() {
            self.examine_standbys(
                self.subject(),
                if matches!(self.state, State::Failing | State::ManualIntervention) {
                    self.ends_now(now)
                } else {
                    self.ended_by(now)
                },
                &Waiver::default(),
                View::Forecast,
                now,
            )
        } else {
            Vec::new()
        };
        let first = |act| self.gate(act, around, now).err();
        let mut refusals: Vec<Refusal> = first(Act::Foretell).into_iter().collect();
        if refusals.is_empty() {
            refusals.extend([Act::Watch, Act::FailOver, Act::Begin].into_iter().filter_map(first));
        }
        let fence = match self.kind().fence_way(self, Reason::Failed(FailureClass::Dead), false) {
            Ok((level, _)) => Some(level).filter(|_| self.holds_data()),
            Err(refusal) => {
                if self.primary_seen && refusal != Refusal::NoPrimarySeen {
                    refusals.push(refusal);
                }
                None
            }
        };
        let able: Vec<Candidate> = standbys.iter().filter_map(|(_, result)| result.as_ref().ok().copied()).collect();
        let best = super::candidate::best(&able);
        if best.is_none() && self.model.is_moved() {
            let reasons = standbys
                .iter()
                .filter_map(|(server, result)| result.as_ref().err().map(|reason| (*server, reason.clone())))
                .collect();
            refusals.push(Refusal::NoCandidate { reasons });
        }
        if let Some(best) = best.filter(|_| refusals.is_empty()) {
            refusals.extend(self.hindrances(best.server));
        }
        let outcome = match best {
            Some(best) if refusals.is_empty() => Ok(best),
            _ => Err(refusals),
        };
        let salvage = outcome.as_ref().ok().and_then(|best| self.salvage_forecast(best.server));
        let preferred = super::candidate::runner_up(&able).map(|(other, why)| (other.server, why)).filter(|_| outcome.is_ok());
        Forecast { outcome, fence, salvage, preferred, standbys }
    }
}
