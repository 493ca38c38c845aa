//! PostgreSQL: one primary that takes writes, and standbys that receive them. What is decided wrongly here loses data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Examined, Kind};
use crate::candidate::{Ended, View, Waiver};
use crate::effects::Effects;
use crate::evidence::{FailureClass, Suspicion, classify};
use crate::id::ServerId;
use crate::kept_set::KeptSet;
use crate::model::{CheckKind, CheckModel};
use crate::observation::{Finding, Impairment, Verdict};
use crate::plan::{Intent, Takeover};
use crate::procedure::failover::Failover;
use crate::reason::Reason;
use crate::refusal::{CandidateRefusal, Refusal};
use crate::route::InstanceView;
use crate::sample::{FenceLevel, Lsn};
use crate::service::gate::Act;
use crate::service::{Service, Surroundings};
use crate::stats::Judgement;
use crate::survival::Fork;
use crate::time::Mono;

/// What survives of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its system identifier.
    pub system_id: Option<u64>,
    /// The primary's timeline and the last position known on it. Its age is unknown after a restart, so it bounds nothing by itself.
    pub position: Option<(u32, Lsn)>,
    /// Standbys that acknowledged synchronous commits when the primary was last asked: for the status only.
    pub synchronous: BTreeSet<ServerId>,
    /// Former primaries, and the timeline from which a failover of ours took each: should it take writes there again, it is fenced again.
    pub deposed: BTreeMap<ServerId, u32>,
    /// Primaries that handed over in a switchover, until they stream again: they come back as standbys by themselves.
    #[serde(default)]
    pub handed_over: BTreeSet<ServerId>,
    /// The last promotion: the timeline that began with it, and how far the promoted standby had received the log before.
    #[serde(default)]
    pub fork: Option<(u32, Lsn)>,
    /// Every change of the primary that is remembered, oldest first: whether a commit survived them.
    #[serde(default)]
    pub forks: Vec<Fork>,
    /// `synchronous_standby_names` of servers as it was before the engine cleared it.
    #[serde(default)]
    pub sync_names: BTreeMap<ServerId, String>,
    /// The set of standbys that the primary's commits wait for, where the engine keeps it.
    #[serde(default)]
    pub kept_set: Option<KeptSet>,
    /// Slots that the engine created for standbys: on which server, and its name.
    #[serde(default)]
    pub slots: BTreeSet<(ServerId, String)>,
    /// Those of them whose processes had been seen on their host while they lived: that none is seen there proves that none is left.
    #[serde(default)]
    pub seen: BTreeSet<ServerId>,
}

impl Cluster {
    /// The same with other server numbers. A server that is gone is forgotten.
    pub(crate) fn mapped(self, server: &dyn Fn(ServerId) -> Option<ServerId>) -> Cluster {
        Cluster {
            synchronous: self.synchronous.into_iter().filter_map(server).collect(),
            seen: self.seen.into_iter().filter_map(server).collect(),
            deposed: self.deposed.into_iter().filter_map(|(old, timeline)| Some((server(old)?, timeline))).collect(),
            handed_over: self.handed_over.into_iter().filter_map(server).collect(),
            sync_names: self.sync_names.into_iter().filter_map(|(of, names)| Some((server(of)?, names))).collect(),
            slots: self.slots.into_iter().filter_map(|(on, slot)| Some((server(on)?, slot))).collect(),
            kept_set: self.kept_set.and_then(|kept| kept.mapped(server)),
            ..self
        }
    }
}

pub(crate) struct Postgres;

impl Kind for Postgres {
    fn as_str(&self) -> &'static str {
        "postgres"
    }

    fn holds_data(&self) -> bool {
        true
    }

    fn keeps_sessions(&self) -> bool {
        true
    }

    fn moves_without_route(&self) -> bool {
        true
    }

    fn takes_over_by(&self) -> &'static str {
        "be promoted"
    }

    fn checked(&self, _: &mut Service, _: ServerId, _: &mut Effects) {}

    fn primary_checked(&self, service: &mut Service, model: &CheckModel, finding: &Finding, fx: &mut Effects) {
        if model.kind != CheckKind::Postgres {
            return;
        }
        if finding.verdict.is_sign_of_life() && finding.verdict != Verdict::Impaired(Impairment::Stopping) {
            service.detection.log_end = None;
        }
        match &finding.verdict {
            Verdict::Up => {
                service.trouble.bad = service.trouble.bad.filter(|_| service.detection.suspicion.is_some());
                let fresh = service.detection.suspicion.as_ref().is_some_and(|suspicion| suspicion.is_ended_by(finding.began));
                if fresh {
                    service.recovered("a new connection is served", fx);
                }
            }
            Verdict::Unknown(_) => {}
            Verdict::Impaired(_) | Verdict::Down(_) => {
                service.suspect(finding.began.max(service.last_answer_of_subject()), fx);
                if let Some(suspicion) = &mut service.detection.suspicion {
                    suspicion.probe(fx.now, finding);
                }
            }
        }
    }

    fn suspected(&self, service: &mut Service, now: Mono) {
        let Some(subject) = service.subject() else { return };
        for (model, check) in service.model.checks.iter().zip(&mut service.checks) {
            if model.server == subject.0 && matches!(model.kind, CheckKind::Postgres | CheckKind::Tcp) {
                check.slot.hasten(now);
            }
        }
    }

    fn confirming(&self, _: &mut Service, _: Mono) {}

    fn route_seen(&self, _: &mut Service, _: &[InstanceView], _: &mut Effects) {}

    fn serves(&self, service: &Service, server: ServerId, now: Mono) -> bool {
        // One that broke off and is back may be a standby now: what it said before says nothing.
        let said = service.servers[usize::from(server.0)].sample.as_ref().map(|(at, _)| *at);
        let spoke = service.detection.recovered_at.is_none_or(|back| said.is_some_and(|at| at >= back));
        service.is_writable_now(server, now) && spoke
    }

    fn may_be_adopted(&self, _: &Service, _: ServerId) -> Result<(), String> {
        Ok(())
    }

    fn silence_decides(&self, service: &Service, now: Mono) -> bool {
        // Rule 93.
        let silent = |suspicion: &Suspicion| suspicion.refused == 0 && suspicion.impaired.is_none();
        service.detection.suspicion.as_ref().is_some_and(silent)
            && now.since(service.last_answer_of_subject()) >= service.model.trigger.hang_after
    }

    fn failing(&self, service: &Service, now: Mono) -> Result<FailureClass, Refusal> {
        let suspicion = service.detection.suspicion.as_ref().ok_or(Refusal::PrimaryHealthy)?;
        classify(suspicion, &service.limits(now), now)
    }

    fn failing_again(&self, service: &mut Service, _: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        let suspicion = service.detection.suspicion.as_ref().ok_or(Refusal::PrimaryHealthy)?;
        service.uncontradicted(suspicion, now)
    }

    fn may_fail_over(&self, service: &Service, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        let suspicion = service.detection.suspicion.as_ref().ok_or(Refusal::DatabaseAnswers)?;
        let class = service.uncontradicted(suspicion, now)?;
        service.gate(Act::FailOver, around, now)?;
        service.fence_way(class == FailureClass::Unreachable)?;
        let candidate = service.some_candidate(service.ended(Some(class), suspicion, now), &Waiver::default(), now);
        candidate.map_err(|refusal| service.unless_one_comes(refusal, suspicion.since, now))?;
        Ok(class)
    }

    fn may_come(&self, service: &Service, reasons: &[(ServerId, CandidateRefusal)]) -> bool {
        reasons.iter().any(|(server, reason)| service.may_pass(*server, reason))
    }

    fn fence_way(&self, service: &Service, reason: Reason, host_silent: bool) -> Result<(FenceLevel, bool), Refusal> {
        service.fence_way(reason.is(FailureClass::Unreachable) || reason.is_ordered() && host_silent)
    }

    fn examine(&self, service: &Service, old: Option<ServerId>, end: Ended, waiver: &Waiver, view: View, now: Mono) -> Examined {
        service.examine_by_samples(old, end, waiver, view, now)
    }

    fn takeover(&self) -> &'static dyn Takeover {
        &Failover
    }

    fn evidence_at_once(&self, _: &Service, _: Reason, _: &Waiver, _: Mono) -> Option<Vec<String>> {
        None
    }

    fn evidence(
        &self,
        service: &Service,
        (reason, require): (Reason, FenceLevel),
        suspicion: &Suspicion,
        waiver: &Waiver,
        now: Mono,
    ) -> Vec<String> {
        service.evidence(reason, suspicion, require, waiver, now)
    }

    fn judgement(&self, reason: Reason, suspicion: &Suspicion) -> Judgement {
        Judgement::at_first(reason, suspicion)
    }

    /// The old primary serves new connections and takes writes.
    fn is_alive_again(&self, service: &Service, begun: &Intent) -> bool {
        let serves = service.model.checks.iter().zip(&service.checks).any(|(model, state)| {
            model.server == begun.old.0
                && model.kind == CheckKind::Postgres
                && state.last.as_ref().is_some_and(|(_, finding)| finding.verdict == Verdict::Up)
        });
        let sample = service.servers[usize::from(begun.old.0)].sample.as_ref();
        serves && service.detection.suspicion.is_none() && sample.is_some_and(|(_, sample)| !sample.in_recovery)
    }
}
