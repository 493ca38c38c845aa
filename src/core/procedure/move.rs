//! The move of an application: the traffic goes from a failed server to one whose checks pass, and on to the next one until it answers
//! through the route. There is nothing to fence and nothing to lose, so all of it can be undone.

use super::drive::compensated;
use super::failover::{PRE_CHECKS, enter, route_failures, route_in, route_out};
use super::{Compensation, Next, OnStop, Outcome, Step, Table, When, nothing};
use crate::candidate::{self, Candidate, Waiver};
use crate::effects::Effects;
use crate::id::ServerId;
use crate::output::{Action, Failure, Report};
use crate::plan::{End, Phase, Plan, Takeover};
use crate::refusal::{CandidateRefusal, Refusal};
use crate::service::Service;
use crate::time::{Mono, Span};

/// Between the first two looks through the route at who answers; then longer and longer, up to the second.
const LOOK_AGAIN: Span = Span::from_millis(100);
const LOOK_SELDOM: Span = Span::from_millis(1_000);
/// For the last change of the route, where the failover's time is over.
const STAY_FOR: Span = Span::from_millis(10_000);
const PAUSE: Span = super::course::PAUSE;

/// The steps of a move.
pub(crate) static TABLE: Table<Plan> = Table {
    steps: &[
        PRE_CHECKS,
        Step {
            phase: Phase::RouteOut,
            when: When::If(|service, _, _| service.model.route.is_managed()),
            action: route_out,
            outcome: route_left,
            without: nothing,
            pause: PAUSE,
            undone_by: Some(Compensation {
                phase: Phase::UndoRoute,
                owed: |plan| plan.route_touched,
                action: |service, plan| {
                    let limit = Span::from_millis(5_000).max(service.model.route.commands_in);
                    Some((Action::RouteRollback { server: plan.old }, limit))
                },
                outcome: compensated,
            }),
        },
        Step {
            phase: Phase::Choose,
            when: When::Always,
            action: |_, _| None,
            outcome: |_, _, _, _| Next::To(Phase::Choose),
            without: choose,
            pause: PAUSE,
            undone_by: None,
        },
        Step {
            phase: Phase::RouteIn,
            when: When::Always,
            action: route_in,
            outcome: route_entered,
            without: nothing,
            pause: PAUSE,
            undone_by: None,
        },
        Step {
            phase: Phase::VerifyTraffic,
            when: When::If(|service, _, _| service.model.route.verify),
            action: |_, plan| Some((Action::VerifyService { server: plan.chosen?.server }, Span::from_millis(2_000))),
            outcome: traffic_verified,
            without: nothing,
            pause: PAUSE,
            undone_by: None,
        },
    ],
    no_return: None,
    goes_on: Some(Phase::RouteIn),
    on_stop: OnStop::Undone,
};

/// The move of an application.
pub(crate) struct Move;

impl Takeover for Move {
    fn table(&self) -> &'static Table<Plan> {
        &TABLE
    }

    fn names_chosen(&self, action: &Action) -> bool {
        matches!(action, Action::RouteIn { .. })
    }

    fn stops_before(&self) -> &'static str {
        ""
    }

    fn stuck(&self) -> &'static str {
        "without having seen who answers"
    }

    fn out_of_time(&self, service: &mut Service, plan: &mut Plan, why: String, fx: &mut Effects) -> Next<Phase> {
        service.stay(plan, &why, fx.now).unwrap_or(Next::Undo(why))
    }

    fn deposed(&self, _: &mut Service, _: &Plan) {}

    fn completed(&self, service: &Service, plan: &Plan, chosen: &Candidate, end: Mono, fx: &mut Effects) {
        service.tell_moved(plan, chosen.server, end, fx);
    }

    fn resumes_at(&self) -> (&'static str, Phase) {
        ("the traffic was being sent to the standby: that is finished, or undone", Phase::RouteIn)
    }
}

/// Disabling a server that is gone is a courtesy: what counts is where the traffic goes next.
fn route_left(_: &mut Service, plan: &mut Plan, outcome: Outcome, _: &mut Effects) -> Next<Phase> {
    let (failed, _) = route_failures(outcome);
    if !failed.is_empty() {
        plan.course.warnings.push(format!("route_out: {}", failed.join("; ")));
    }
    Next::Onward
}

/// The best standby whose checks pass now and that has not failed in this failover.
fn choose(service: &mut Service, plan: &mut Plan, fx: &mut Effects) -> Next<Phase> {
    let mut able: Vec<Candidate> = Vec::new();
    let mut reasons: Vec<(ServerId, CandidateRefusal)> = Vec::new();
    for server in service.server_ids().filter(|server| *server != plan.old) {
        match service.examine_application(server, &plan.waiver, &plan.refused, fx.now) {
            Ok(candidate) => able.push(candidate),
            Err(reason) => reasons.push((server, reason)),
        }
    }
    plan.chosen = candidate::best(&able);
    if let Some(best) = &plan.chosen {
        plan.course.evidence.push(format!("chosen: {}", service.server_name(best.server)));
        return Next::Onward;
    }
    let refusal = Refusal::NoCandidate { reasons };
    let sentence = service.sentence(&refusal);
    service.detection.refusal = Some(refusal);
    service.stay(plan, &sentence, fx.now).unwrap_or(Next::Undo(sentence))
}

fn route_entered(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    if let Err(failed) = enter(plan, outcome, fx.now) {
        return next_candidate(plan, format!("no instance of the route could send it the traffic: {failed}"));
    }
    if let Some(why) = plan.stays.clone() {
        plan.taken_over();
        return Next::End(End::Stuck { why });
    }
    if !service.model.route.verify {
        plan.taken_over();
    }
    Next::Onward
}

fn traffic_verified(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    match outcome {
        Ok(Report::TrafficInPart { message }) => in_part(service, plan, message, fx.now),
        Ok(_) => {
            plan.times.verified = Some(fx.now);
            plan.taken_over();
            Next::Onward
        }
        Err(failure) => unverified(service, plan, &failure, fx.now),
    }
}

/// Through the route somebody else answered, or nobody: the route may have lost its state and gets it again, for a while.
fn unverified(service: &Service, plan: &mut Plan, failure: &Failure, now: Mono) -> Next<Phase> {
    let patience = service.model.route.verify_for;
    let line = format!("verify_traffic: {}", failure.message);
    if plan.course.warnings.last() != Some(&line) && plan.course.warnings.len() < 64 {
        plan.course.warnings.push(line);
    }
    let tried = plan.times.entered.map_or(patience, |entered| now.since(entered));
    if tried < patience {
        return Next::At(Phase::RouteIn, now + tried.max(LOOK_AGAIN).min(LOOK_SELDOM));
    }
    if let Some(chosen) = &plan.chosen {
        plan.unverified.push(chosen.server);
    }
    next_candidate(plan, failure.message.clone())
}

/// Through some of the route it answers, through the rest nobody does. Where an instance could not be told, that is all there is to
/// be had, and more than going back to a server that failed: it is told as such, and that instance gets the wanted state later.
fn in_part(service: &Service, plan: &mut Plan, message: String, now: Mono) -> Next<Phase> {
    let patience = service.model.route.verify_for;
    let tried = plan.times.entered.map_or(patience, |entered| now.since(entered));
    if !plan.route_in_part || tried < patience {
        return unverified(service, plan, &Failure::no_effect(message, ""), now);
    }
    plan.course.warnings.push(format!("verify_traffic: in part: {message}"));
    plan.times.verified = Some(now);
    plan.taken_over();
    Next::Onward
}

/// This one did not work: the next one, or everything goes back.
fn next_candidate(plan: &mut Plan, why: String) -> Next<Phase> {
    if let Some(chosen) = plan.chosen.take() {
        plan.refused.push((chosen.server, why.clone()));
    }
    plan.times.routed = None;
    plan.times.entered = None;
    if plan.course.stop_asked || plan.course.resumed {
        // What the earlier engine had found out about the others is not known here.
        return Next::Undo(why);
    }
    Next::To(Phase::Choose)
}

impl Service {
    /// Nobody could be seen through the route, and going back would be no better: the old one is confirmed dead, and of those that got the
    /// traffic one passes its checks. That one keeps it, and a person is called.
    fn stay(&self, plan: &mut Plan, why: &str, now: Mono) -> Option<Next<Phase>> {
        if plan.course.stop_asked || plan.stays.is_some() || plan.reason.is_ordered() {
            return None;
        }
        let dead = self.is_dead_now(plan.old, now);
        let well = |server: &ServerId| self.examine_application(*server, &Waiver::default(), &[], now).ok();
        let last = plan.chosen.filter(|_| plan.times.routed.is_some()).map(|chosen| chosen.server);
        let able: Vec<Candidate> = plan.unverified.iter().chain(&last).filter_map(well).collect();
        let best = candidate::best(&able).filter(|_| dead)?;
        let (name, old) = (self.server_name(best.server), self.server_name(plan.old));
        plan.stays = Some(format!("{why}; {old} is dead and the checks of {name} pass, so {name} keeps the traffic"));
        plan.chosen = Some(best);
        plan.course.deadline = plan.course.deadline.max(now + STAY_FOR);
        Some(Next::To(Phase::RouteIn))
    }
}
