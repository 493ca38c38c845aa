//! What only the old primary's disk has is carried to a standby, once the fence is proven and before anybody is chosen: with asynchronous
//! replication that is what a client was told of and no standby has received.

use super::task::Task;
use super::{Next, Outcome};
use crate::candidate::{self, Candidate};
use crate::effects::{Effects, text};
use crate::event::{Fact, Severity};
use crate::id::ServerId;
use crate::model::OnSalvage;
use crate::output::{Action, Report, Step};
use crate::plan::{Phase, Plan};
use crate::refusal::CandidateRefusal;
use crate::salvage::Salvaged;
use crate::sample::{FenceLevel, Lsn, Position};
use crate::service::Service;
use crate::time::{Mono, Span};

/// With less than this left another standby is not tried.
const WORTH: Span = Span::from_millis(200);
/// Behind its own time limit the action says how far it came.
const ANSWERS_WITHIN: Span = Span::from_millis(250);

pub(super) fn salvage(_: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let (server, from, patience) = plan.salvage.target?;
    let (old, system_id, timeline) = (plan.old, plan.system_id, plan.old_timeline);
    Some((Action::Salvage { server, old, system_id, timeline, from, patience }, patience + ANSWERS_WITHIN))
}

pub(super) fn salvaged(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    let Some((server, ..)) = plan.salvage.target.take() else { return Next::To(Phase::Choose) };
    if let Some(began) = plan.salvage.began.take() {
        plan.salvage.took = Some(plan.salvage.took.unwrap_or_default() + fx.now.since(began));
    }
    let what = match outcome {
        Ok(Report::Salvaged(salvaged)) => service.believed(plan, salvaged),
        Ok(_) => Err("the action returned an answer that does not fit it".to_owned()),
        Err(failure) => Err(failure.message),
    };
    let name = service.server_name(server);
    match &what {
        Ok(Salvaged { failed: Some(why), .. }) | Err(why) => plan.course.warn(format!("salvage {name}: {why}")),
        Ok(_) => {}
    }
    let nothing_moved = matches!(&what, Ok(Salvaged { missing: 0, .. }));
    plan.salvage.tried.push((server, what));
    let positions = std::mem::take(&mut plan.salvage.positions);
    // Where nothing was missing, what was read of the standbys a moment ago is what they have.
    if nothing_moved && !positions.is_empty() { service.choose(plan, &positions, fx) } else { Next::To(Phase::Choose) }
}

impl Service {
    /// Before anybody is chosen who may lack something: the end of the old log is carried to the furthest standby that can take it.
    pub(super) fn salvage_first(
        &self,
        plan: &mut Plan,
        positions: &[Position],
        able: &[Candidate],
        reasons: &[(ServerId, CandidateRefusal)],
        now: Mono,
    ) -> Option<Next<Phase>> {
        plan.salvage.hindered = None;
        plan.salvage.off = self.model.postgres.salvage == OnSalvage::Off;
        let has_all = candidate::best(able).is_some_and(|best| best.holds_acknowledged);
        if has_all || plan.salvage.off {
            return None;
        }
        let target = match self.salvage_target(plan, positions, able, reasons, now) {
            Ok(target) => target,
            Err(why) => {
                plan.salvage.hindered = why;
                return None;
            }
        };
        let (server, from) = target;
        let patience = plan.salvage.patience(self.model.postgres.salvage_timeout, now);
        plan.salvage.target = Some((server, from, patience));
        plan.salvage.positions = positions.to_vec();
        Some(Next::To(if plan.is_proof_owed(now) { Phase::ProveAgain } else { Phase::Salvage }))
    }

    /// Who gets the end of the old log, and what it has; or why nobody does. `None`: it was tried.
    fn salvage_target(
        &self,
        plan: &Plan,
        positions: &[Position],
        able: &[Candidate],
        reasons: &[(ServerId, CandidateRefusal)],
        now: Mono,
    ) -> Result<(ServerId, Lsn), Option<String>> {
        if plan.fence_level() != FenceLevel::ProvenStopped {
            return Err(Some(format!(
                "the disk of {} is read only where its host has proven that no process of it is left",
                self.server_name(plan.old)
            )));
        }
        if self.log.is_none() {
            return Err(Some(format!("nothing is known of the log of {}", self.server_name(plan.old))));
        }
        if plan.salvage.until.is_some_and(|until| now + WORTH > until) {
            return Err(None);
        }
        let fit = |server: ServerId| {
            able.iter().any(|one| one.server == server)
                || reasons.iter().any(|(other, reason)| *other == server && reason.is_lack())
        };
        let mut why = None;
        let mut best: Option<(Lsn, u32, std::cmp::Reverse<ServerId>)> = None;
        for position in positions.iter().filter(|one| fit(one.server) && !plan.salvage.is_tried(one.server)) {
            let Ok(sample) = &position.sample else { continue };
            let Some(own) = candidate::position(sample) else { continue };
            match self.can_take_salvage(plan.old, position.server, sample) {
                Ok(()) => {
                    let priority = self.model.servers[usize::from(position.server.0)].priority;
                    best = best.max(Some((own, priority, std::cmp::Reverse(position.server))));
                }
                Err(said) => why = why.or(Some(said)),
            }
        }
        best.map(|(own, _, server)| (server.0, own)).ok_or(why)
    }

    /// The answer, where nothing that is known speaks against it: a log that ends before what its primary had said of it, or before what a
    /// standby has received, is damaged.
    fn believed(&self, plan: &Plan, salvaged: Salvaged) -> Result<Salvaged, String> {
        let said = self.log.as_ref().map(|log| log.flush.max(log.heard.map_or(Lsn::default(), |heard| heard.end)));
        let received = plan.salvage.positions.iter().filter_map(|position| {
            let sample =
                position.sample.as_ref().ok().filter(|sample| sample.in_recovery && sample.system_id == plan.system_id)?;
            candidate::position(sample).filter(|_| self.timeline_of(position.server, sample) == plan.old_timeline)
        });
        let known = said.into_iter().chain(received).max();
        match known.filter(|known| *known > salvaged.end) {
            Some(known) => Err(format!(
                "the log that could be read ends at {}, and it had gone up to {known}: the rest of it cannot be read",
                salvaged.end
            )),
            None => Ok(salvaged),
        }
    }

    /// The fence was climbed again: what was read of the old log may not be its end any more.
    pub(super) fn forget_salvaged(&mut self, plan: &mut Plan) {
        if plan.salvage.end().is_some() {
            self.detection.log_end = None;
        }
        plan.salvage.forget();
    }

    /// The failover is over: what was put on the standbys' hosts for it is not needed any more.
    pub(super) fn empty_spools(&mut self, plan: &Plan, fx: &mut Effects) {
        for server in &plan.salvage.spooled {
            self.begin_task(Task::EmptySpool(*server), fx);
        }
    }

    pub(super) fn spool_emptied(&mut self, server: ServerId, outcome: Outcome, fx: &mut Effects) {
        let Err(failure) = outcome else { return };
        let (target, detail) = (self.server_name(server), failure.message);
        let message = format!("{} {target}: {detail}", Step::EmptySpool);
        let fact = Fact::StepFinished { step: Step::EmptySpool, target, ok: false, detail };
        fx.emit_fact(Severity::Warning, self.about_server(server), message, fact, vec![("remedy", text(failure.remedy))]);
    }
}
