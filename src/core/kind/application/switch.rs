//! The steps of a failover that only an application has: choosing by health, trying the next one, and what is said at its end.

use crate::candidate::{self, Candidate, Waiver};
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Field, Severity};
use crate::id::ServerId;
use crate::output::Failure;
use crate::plan::{Phase, Plan};
use crate::refusal::{CandidateRefusal, Refusal};
use crate::service::Service;
use crate::time::{Mono, Span};

/// Between the first two looks through the route at who answers; then longer and longer, up to the second.
const LOOK_AGAIN: Span = Span::from_millis(100);
const LOOK_SELDOM: Span = Span::from_millis(1_000);
/// For the last change of the route, where the failover's time is over.
const STAY_FOR: Span = Span::from_millis(10_000);

impl Service {
    /// The best standby whose checks pass now and that has not failed in this failover.
    pub(super) fn choose_application(&mut self, fx: &mut Effects) {
        let Some(plan) = &self.run.plan else { return };
        let (old, waiver, refused) = (plan.old, plan.waiver, plan.refused.clone());
        let mut able: Vec<Candidate> = Vec::new();
        let mut reasons: Vec<(ServerId, CandidateRefusal)> = Vec::new();
        for server in self.server_ids().filter(|server| *server != old) {
            match self.examine_application(server, &waiver, &refused, fx.now) {
                Ok(candidate) => able.push(candidate),
                Err(reason) => reasons.push((server, reason)),
            }
        }
        let best = candidate::best(&able);
        let name = best.map(|best| self.server_name(best.server));
        let refusal = Refusal::NoCandidate { reasons };
        let sentence = self.sentence(&refusal);
        let Some(plan) = &mut self.run.plan else { return };
        if let (Some(best), Some(name)) = (best, name) {
            plan.chosen = Some(best);
            plan.evidence.push(format!("chosen: {name}"));
            plan.phase = Phase::RouteIn;
        } else {
            plan.chosen = None;
            self.detection.refusal = Some(refusal);
            if !self.stay(&sentence, fx) {
                self.undo(sentence, fx);
            }
        }
    }

    /// Nobody could be seen through the route, and going back would be no better: the old one is confirmed dead, and of those that got the
    /// traffic one passes its checks. That one keeps it, and a person is called.
    pub(super) fn stay(&mut self, why: &str, fx: &mut Effects) -> bool {
        let Some(plan) = &self.run.plan else { return false };
        if plan.stop_asked || plan.stays.is_some() || plan.reason.is_ordered() {
            return false;
        }
        let dead = self.is_dead_now(plan.old, fx.now);
        let well = |server: &ServerId| self.examine_application(*server, &Waiver::default(), &[], fx.now).ok();
        let last = plan.chosen.filter(|_| plan.times.routed.is_some()).map(|chosen| chosen.server);
        let able: Vec<Candidate> = plan.unverified.iter().chain(&last).filter_map(well).collect();
        let Some(best) = candidate::best(&able).filter(|_| dead) else { return false };
        let (name, old) = (self.server_name(best.server), self.server_name(plan.old));
        let Some(plan) = &mut self.run.plan else { return false };
        plan.stays = Some(format!("{why}; {old} is dead and the checks of {name} pass, so {name} keeps the traffic"));
        plan.chosen = Some(best);
        plan.phase = Phase::RouteIn;
        plan.deadline = plan.deadline.max(fx.now + STAY_FOR);
        true
    }

    /// Through the route somebody else answered, or nobody: the route may have lost its state and gets it again, for a while.
    pub(super) fn application_unverified(&mut self, failure: &Failure, fx: &mut Effects) {
        let patience = self.model.route.verify_for;
        let Some(plan) = &mut self.run.plan else { return };
        let line = format!("verify_traffic: {}", failure.message);
        if plan.warnings.last() != Some(&line) && plan.warnings.len() < 64 {
            plan.warnings.push(line);
        }
        let tried = plan.times.entered.map_or(patience, |entered| fx.now.since(entered));
        if tried < patience {
            plan.phase = Phase::RouteIn;
            plan.retry_at = Some(fx.now + tried.max(LOOK_AGAIN).min(LOOK_SELDOM));
            return;
        }
        if let Some(chosen) = &plan.chosen {
            plan.unverified.push(chosen.server);
        }
        self.next_candidate(failure.message.clone(), fx);
    }

    /// Through some of the route it answers, through the rest nobody does. Where an instance could not be told, that is all there is to
    /// be had, and more than going back to a server that failed: it is told as such, and that instance gets the wanted state later.
    pub(super) fn application_in_part(&mut self, message: String, fx: &mut Effects) {
        let patience = self.model.route.verify_for;
        let Some(plan) = &mut self.run.plan else { return };
        let tried = plan.times.entered.map_or(patience, |entered| fx.now.since(entered));
        if !plan.route_in_part || tried < patience {
            self.application_unverified(&Failure::no_effect(message, ""), fx);
            return;
        }
        plan.warnings.push(format!("verify_traffic: in part: {message}"));
        plan.times.verified = Some(fx.now);
        plan.phase = Phase::Over;
        plan.taken_over();
    }

    /// This one did not work: the next one, or everything goes back.
    pub(super) fn next_candidate(&mut self, why: String, fx: &mut Effects) {
        let Some(plan) = &mut self.run.plan else { return };
        if let Some(chosen) = plan.chosen.take() {
            plan.refused.push((chosen.server, why.clone()));
        }
        plan.times.routed = None;
        plan.times.entered = None;
        plan.phase = Phase::Choose;
        if plan.stop_asked || plan.resumed {
            // What the earlier engine had found out about the others is not known here.
            self.undo(why, fx);
        }
    }

    pub(super) fn application_completed(&self, plan: &Plan, new: ServerId, end: Mono, fx: &mut Effects) {
        let (old, new_name) = (self.server_name(plan.old), self.server_name(new));
        let span = |from: Option<Mono>, to: Option<Mono>| match (from, to) {
            (Some(from), Some(to)) => Field::Span(to.since(from)),
            _ => Field::Text(String::new()),
        };
        let times = plan.times;
        let note = if plan.warnings.is_empty() { "" } else { "; not everything went well, see the warnings" };
        fx.emit(
            EventKind::FailoverCompleted,
            Severity::Warning,
            self.about_server(new),
            format!(
                "{}: {new_name} has taken over from {old} within {} of the first bad sign{note}",
                self.model.name,
                plan.since_first_bad(end)
            ),
            vec![
                ("old_primary", text(old)),
                ("new_primary", text(&new_name)),
                ("class", text(plan.reason.word())),
                ("detected_at_ns", Field::Int(times.detected.as_nanos())),
                ("confirm_ms", Field::Span(times.confirmed.since(times.detected))),
                ("route_ms", span(Some(times.confirmed), times.routed)),
                ("verify_ms", span(times.routed, times.verified)),
                ("total_ms", Field::Span(plan.since_first_bad(end))),
                ("verified", Field::Bool(times.verified.is_some())),
                ("warnings", texts(plan.warnings.clone())),
                ("evidence", texts(plan.evidence.clone())),
            ],
        );
    }
}
