//! The failover of a database: the old primary leaves the route and is fenced, with proof; then a standby is chosen by positions that are
//! read now, promoted, and seen to write; then it gets the traffic.

use super::drive::compensated;
use super::handover::{
    checkpoint, checkpoint_written, look_around, looked_around, receipt, receipt_read, start_server, started_again, stop_ordered,
    stop_server,
};
use super::salvage::{salvage, salvaged};
use super::switchover::{close_gate, gate_closed};
use super::{Compensation, Next, OnStop, Outcome, Step, Table, When, describe, nothing};
use crate::candidate::{self, Candidate, Ended, View};
use crate::effects::Effects;
use crate::evidence::FailureClass;
use crate::id::ServerId;
use crate::model::{OnNewPrimary, OnNoSyncStandby};
use crate::output::{Action, Failure, FailureKind, Report};
use crate::plan::{End, Phase, Plan, Takeover};
use crate::refusal::{CandidateRefusal, Refusal};
use crate::sample::{FenceLevel, FenceReport, LogEnd, Lsn, Position, RouteInstance, RungName, Sample};
use crate::service::{FRESH, LogTrack, STREAM_GRACE, Service};
use crate::survival::Forked;
use crate::time::{Mono, Span};

/// How long two equal receive positions are waited for: the receiver may still drain its buffer (rule 90).
const SETTLE: Span = Span::from_millis(500);
/// Between two tries, at most.
const PAUSE: Span = super::course::PAUSE;
const CHOOSE_AGAIN: Span = Span::from_millis(1_000);
/// Behind the promotion clients wait for nothing else.
const SOON: Span = Span::from_millis(400);

/// The configured checks come first, whatever is replaced.
pub(super) const PRE_CHECKS: Step<Plan> = Step {
    phase: Phase::PreChecks,
    when: When::If(|service, _, _| service.model.pre_checks),
    action: pre_checks,
    outcome: pre_checked,
    without: nothing,
    pause: PAUSE,
    undone_by: None,
};

/// The steps of a failover.
pub(crate) static TABLE: Table<Plan> = Table {
    steps: &[
        PRE_CHECKS,
        Step {
            phase: Phase::Checkpoint,
            when: When::If(|_, plan, _| plan.hands_over()),
            action: checkpoint,
            outcome: checkpoint_written,
            without: nothing,
            pause: PAUSE,
            undone_by: None,
        },
        Step {
            phase: Phase::CloseGate,
            when: When::If(|service, plan, _| plan.closes_gate(service)),
            action: close_gate,
            outcome: gate_closed,
            without: nothing,
            pause: CHOOSE_AGAIN,
            // With the route: see below.
            undone_by: None,
        },
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
                    Some((Action::RouteRestore { server: plan.old }, seconds(5).max(service.model.route.commands_in)))
                },
                outcome: compensated,
            }),
        },
        Step {
            phase: Phase::StopServer,
            when: When::If(|_, plan, _| plan.hands_over()),
            action: stop_server,
            outcome: stop_ordered,
            without: nothing,
            pause: PAUSE,
            undone_by: Some(Compensation {
                phase: Phase::UndoStop,
                owed: Plan::is_stop_owed,
                action: start_server,
                outcome: started_again,
            }),
        },
        Step {
            phase: Phase::Receipt,
            when: When::If(|_, plan, _| plan.hands_over()),
            action: receipt,
            outcome: receipt_read,
            without: nothing,
            pause: PAUSE,
            undone_by: None,
        },
        Step {
            phase: Phase::Fence,
            when: When::Always,
            action: fence,
            outcome: fenced,
            without: fenced_by_the_route,
            pause: PAUSE,
            undone_by: Some(Compensation {
                phase: Phase::UndoFence,
                owed: |plan| plan.fence_tried,
                action: |_, plan| Some((Action::FenceUndo { server: plan.old }, seconds(5))),
                outcome: compensated,
            }),
        },
        Step {
            phase: Phase::Choose,
            when: When::Always,
            action: positions,
            outcome: positions_read,
            without: nothing,
            pause: CHOOSE_AGAIN,
            undone_by: None,
        },
        Step {
            phase: Phase::Salvage,
            when: When::Sent,
            action: salvage,
            outcome: salvaged,
            without: nothing,
            pause: PAUSE,
            undone_by: None,
        },
        Step {
            phase: Phase::ProveAgain,
            when: When::If(|_, plan, now| plan.is_proof_owed(now)),
            action: prove_again,
            outcome: proven_again,
            without: nothing,
            pause: PAUSE,
            undone_by: None,
        },
        Step {
            phase: Phase::Promote,
            when: When::Always,
            action: promote,
            outcome: promoted,
            without: nothing,
            pause: SOON,
            undone_by: None,
        },
        Step {
            phase: Phase::FindOut,
            when: When::Sent,
            action: |_, plan| Some((Action::ReadRole { server: plan.chosen?.server }, seconds(3))),
            outcome: found_out,
            without: nothing,
            pause: SOON,
            undone_by: None,
        },
        Step {
            phase: Phase::VerifyData,
            when: When::Always,
            action: verify_data,
            outcome: written,
            without: nothing,
            pause: SOON,
            undone_by: None,
        },
        Step {
            phase: Phase::RepointStandbys,
            when: When::Sent,
            action: repoint_standbys,
            outcome: standbys_repointed,
            without: |_, _, _| Next::To(Phase::VerifyData),
            pause: SOON,
            undone_by: None,
        },
        Step {
            phase: Phase::OpenSyncGate,
            when: When::Sent,
            action: |_, plan| Some((Action::OpenSyncGate { server: plan.chosen?.server }, seconds(5))),
            outcome: gate_opened,
            without: nothing,
            pause: SOON,
            undone_by: None,
        },
        Step {
            phase: Phase::RouteIn,
            when: When::If(|service, _, _| service.model.route.is_managed()),
            action: route_in,
            outcome: route_entered,
            without: nothing,
            pause: SOON,
            undone_by: None,
        },
        Step {
            phase: Phase::VerifyTraffic,
            when: When::If(|service, _, _| service.model.route.verify),
            action: verify_traffic,
            outcome: traffic_verified,
            without: nothing,
            pause: SOON,
            undone_by: None,
        },
        // Of one that is undone by another engine than the one that stopped the old primary.
        Step {
            phase: Phase::LookAround,
            when: When::Sent,
            action: look_around,
            outcome: looked_around,
            without: nothing,
            pause: PAUSE,
            undone_by: None,
        },
    ],
    no_return: Some(Phase::Promote),
    goes_on: Some(Phase::Promote),
    on_stop: OnStop::Undone,
};

/// The failover of a database.
pub(crate) struct Failover;

impl Takeover for Failover {
    fn table(&self) -> &'static Table<Plan> {
        &TABLE
    }

    fn names_chosen(&self, action: &Action) -> bool {
        matches!(action, Action::Promote { .. })
    }

    fn stops_before(&self) -> &'static str {
        " before the promotion"
    }

    fn stuck(&self) -> &'static str {
        "after the promotion began"
    }

    fn out_of_time(&self, _: &mut Service, _: &mut Plan, why: String, _: &mut Effects) -> Next<Phase> {
        Next::Undo(why)
    }

    fn deposed(&self, service: &mut Service, plan: &Plan) {
        service.durable.cluster.deposed.insert(plan.old, plan.old_timeline);
        if service.servers[usize::from(plan.old.0)].view_confirmed {
            service.durable.cluster.seen.insert(plan.old);
        }
    }

    fn completed(&self, service: &Service, plan: &Plan, chosen: &Candidate, end: Mono, fx: &mut Effects) {
        service.tell_promoted(plan, chosen, end, fx);
    }

    fn resumes_at(&self) -> (&'static str, Phase) {
        ("its promotion had begun: the engine asks the chosen server how it ended", Phase::FindOut)
    }
}

const fn seconds(n: u64) -> Span {
    Span::from_millis(n * 1_000)
}

/// Each has a deadline of its own; all of them, that of the failover.
fn pre_checks(service: &Service, _: &Plan) -> Option<(Action, Span)> {
    Some((Action::PreChecks, service.model.trigger.failover_timeout))
}

fn pre_checked(_: &mut Service, _: &mut Plan, outcome: Outcome, _: &mut Effects) -> Next<Phase> {
    match outcome {
        Ok(_) => Next::Onward,
        Err(failure) => Next::Undo(format!("a pre-failover check failed: {}", failure.message)),
    }
}

/// Where a stronger fence follows, sessions that HAProxy cannot end at once are ended with the server itself; and where none is asked for,
/// nobody waits for a proof.
pub(super) fn route_out(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let proves = plan.require == FenceLevel::TrafficRemoved;
    let limit = if proves { seconds(3) } else { Span::from_millis(200) };
    Some((Action::RouteOut { server: plan.old }, limit.max(service.model.route.commands_out)))
}

/// What could not be told to which instance of the route, and whether the others were.
pub(super) fn route_failures(outcome: Outcome) -> (Vec<String>, bool) {
    match outcome {
        Ok(Report::Route(instances)) => {
            let failed: Vec<String> = instances.iter().filter_map(RouteInstance::failure).collect();
            let some = failed.len() < instances.len();
            (failed, some)
        }
        Ok(_) => (Vec::new(), false),
        Err(failure) => (vec![failure.message], false),
    }
}

fn route_left(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    let (failed, _) = route_failures(outcome);
    if !failed.is_empty() {
        let what = failed.join("; ");
        if plan.require == FenceLevel::TrafficRemoved && !plan.hands_over() {
            let why = format!("the route is the only fence and could not be proven closed: {what}");
            return service.fence_again(plan, why, fx.now);
        }
        plan.course.warnings.push(format!("route_out: {what}"));
    }
    Next::Onward
}

fn fence(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    if plan.require <= FenceLevel::TrafficRemoved {
        return None;
    }
    let fence = service.fence_action(plan.old, plan.require, plan.reason.is(FailureClass::Hung), plan.host_silent);
    Some((fence, service.model.fence.timeout))
}

/// Level 1: the route is the fence, and every instance has proven it. Where none is asked for, none is claimed.
fn fenced_by_the_route(_: &mut Service, plan: &mut Plan, fx: &mut Effects) -> Next<Phase> {
    let (level, proof) = if plan.require == FenceLevel::TrafficRemoved && plan.route_touched {
        (FenceLevel::TrafficRemoved, "the old primary was taken out of every instance of the route")
    } else {
        (FenceLevel::None, "no fence is asked for: nothing proves that the old primary has stopped")
    };
    plan.fence = Some(FenceReport { level, guard_placed: false, rungs: Vec::new(), proof: proof.into(), end: None });
    plan.times.fenced = Some(fx.now);
    Next::Onward
}

fn fenced(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    match outcome {
        Ok(Report::Fence(report)) => {
            let enough = report.level >= plan.require;
            // All that the host can prove: only its power is missing.
            let all = report.level >= FenceLevel::ProvenStopped;
            if let Some(rung) = report.rungs.iter().find(|rung| rung.name == RungName::Guard && !rung.ok) {
                plan.course.warnings.push(format!(
                    "the old primary has no guard ({}): whoever starts it starts a second primary; keep it stopped",
                    rung.note
                ));
            }
            let what = format!("fence level {} of {} is proven: {}", report.level.number(), plan.require.number(), report.proof);
            plan.fence = Some(report);
            // Whatever was read of the old log: something may have run since.
            service.forget_salvaged(plan);
            if enough {
                plan.times.fenced = Some(fx.now);
                plan.proved_at = (!plan.course.slept).then_some(fx.now);
                Next::Onward
            } else if all {
                Next::Undo(format!("the old primary is not fenced: only {what}"))
            } else {
                service.fence_again(plan, format!("the old primary is not fenced: only {what}"), fx.now)
            }
        }
        Ok(_) => Next::Undo("the action returned an answer that does not fit it".into()),
        Err(Failure { kind: FailureKind::Refused, message, .. }) => {
            Next::Undo(format!("the old primary is not fenced: {message}"))
        }
        Err(failure) => service.fence_again(plan, format!("the old primary is not fenced: {}", failure.message), fx.now),
    }
}

fn positions(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let servers = service.server_ids().filter(|server| *server != plan.old).collect();
    Some((Action::ReadPositions { servers, settle: SETTLE }, Span::from_millis(3_000)))
}

fn positions_read(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    match outcome {
        Ok(Report::Positions(positions)) => service.choose(plan, &positions, fx),
        Ok(_) => Next::Undo("the action returned an answer that does not fit it".into()),
        Err(failure) => Next::Again(Phase::Choose, format!("the standbys' positions could not be read: {}", failure.message)),
    }
}

/// A server that takes writes although nobody of ours promoted it: whoever did it has decided. It is followed if it alone
/// continues what the old primary wrote; otherwise a person has to look. Nobody else is promoted, and nothing is given back to the
/// old primary.
pub(super) fn somebody_was_promoted(
    service: &mut Service,
    plan: &mut Plan,
    positions: &[Position],
    fx: &mut Effects,
) -> Option<Next<Phase>> {
    let writable: Vec<(ServerId, Sample)> = positions
        .iter()
        .filter_map(|position| Some((position.server, position.sample.as_ref().ok()?.clone())))
        .filter(|(_, sample)| !sample.in_recovery && sample.system_id == plan.system_id)
        .collect();
    let old_timeline = plan.old_timeline;
    match &writable[..] {
        [] => None,
        [(server, sample)]
            if sample.timeline > old_timeline && service.is_ours(*server, sample, old_timeline, service.may_lack(*server)) =>
        {
            service.take_over_promoted(plan, *server, sample, fx.now);
            Some(Next::To(Phase::VerifyData))
        }
        many => {
            let names: Vec<String> = many
                .iter()
                .map(|(server, sample)| format!("{} takes writes on timeline {}", service.server_name(*server), sample.timeline))
                .collect();
            let why = format!("{}; nobody is promoted beside it, and the old primary stays fenced", names.join(", "));
            Some(Next::End(End::Left { why }))
        }
    }
}

fn prove_again(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let view_confirmed = service.servers[usize::from(plan.old.0)].view_confirmed;
    Some((Action::ProveFence { server: plan.old, view_confirmed }, seconds(2)))
}

/// The proof of the fence right before the promotion.
fn proven_again(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    let promoted = service.writes_meanwhile(plan, &[], fx.now);
    match outcome {
        Ok(Report::Fence(report)) if report.level >= plan.require => {
            plan.proved_at = Some(fx.now);
            plan.assert_fenced();
            if promoted.is_some() {
                plan.chosen = None;
                return Next::To(Phase::Choose);
            }
            // It was the proof for reading the old log.
            return if plan.salvage.target.is_some() { Next::To(Phase::Salvage) } else { Next::Onward };
        }
        // Something runs there again, or nobody can say: the ladder is climbed once more.
        Ok(_) => {}
        Err(failure) => plan.course.warn(format!("prove_fence: {}", failure.message)),
    }
    plan.chosen = None;
    plan.salvage.target = None;
    Next::Again(Phase::Fence, "the fence could not be proven again right before the promotion".to_owned())
}

fn promote(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let (system_id, old_timeline) = (plan.system_id, plan.old_timeline);
    let action = Action::Promote { server: plan.chosen?.server, system_id, old_timeline };
    Some((action, service.model.postgres.promotion_timeout))
}

fn promoted(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    match outcome {
        Ok(Report::Promoted { timeline, forked, .. }) => {
            plan.forked = Some(forked);
            plan.timeline = Some(timeline);
            plan.times.promoted = Some(fx.now);
            Next::Onward
        }
        // A request before this one may still take effect: this server and no other may be asked again.
        Err(failure) if failure.had_no_effect() && plan.committed.is_some() => {
            let why = format!("promote: {}", failure.message);
            plan.course.warn(why.clone());
            Next::Again(Phase::FindOut, why)
        }
        // Proven to have had no effect: the only failure after which another one may be tried (rules 37, 47).
        Err(failure) if failure.had_no_effect() => {
            if let Some(chosen) = plan.chosen.take() {
                if failure.kind == FailureKind::NoEffect {
                    plan.unreached.push(chosen.server);
                }
                plan.refused.push((chosen.server, failure.message));
            }
            // Who is asked next has to have the whole log as well.
            Next::To(if plan.hands_over() { Phase::Receipt } else { Phase::Choose })
        }
        outcome => {
            if let Err(failure) = outcome {
                let remedy = if failure.remedy.is_empty() { String::new() } else { format!(" ({})", failure.remedy) };
                plan.course.warn(format!("promote: {}{remedy}", failure.message));
            }
            plan.committed = plan.chosen.map(|chosen| chosen.server);
            service.asked_for_promotion = plan.committed;
            Next::To(Phase::FindOut)
        }
    }
}

fn found_out(_: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    match outcome {
        Ok(Report::Role { in_recovery: false, timeline, system_id })
            if timeline > plan.old_timeline && system_id == plan.system_id =>
        {
            // It is the chosen one, which had the old timeline; what the fork looked like nobody saw.
            plan.forked = Some(Forked::default());
            plan.timeline = Some(timeline);
            plan.times.promoted = Some(fx.now);
            Next::Onward
        }
        // The engine that was to ask for it ended; this server and no other may be asked again, behind a fresh fence.
        Ok(Report::Role { in_recovery: true, system_id, .. }) if plan.course.resumed && system_id == plan.system_id => {
            plan.waiver.to = plan.committed;
            if plan.hands_over() { Next::To(Phase::Receipt) } else { Next::From(Phase::Checkpoint) }
        }
        Ok(_) => {
            let why = "it is not known whether the promotion took effect: the server is still in recovery";
            Next::Again(Phase::FindOut, why.to_owned())
        }
        Err(failure) => {
            plan.course.warn(format!("find_out: {}", failure.message));
            Next::Again(Phase::FindOut, format!("it is not known whether the promotion took effect: {}", failure.message))
        }
    }
}

fn verify_data(_: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let (system_id, old_timeline) = (plan.system_id, plan.old_timeline);
    Some((Action::VerifyData { server: plan.chosen?.server, system_id, old_timeline }, seconds(5)))
}

fn written(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    let open = service.model.postgres.on_no_sync_standby == OnNoSyncStandby::Async;
    match outcome {
        Ok(Report::Written { commits, flush, .. }) => {
            if let Some((chosen, had)) = plan.went_back(flush) {
                return Next::End(End::Stuck { why: service.chosen_went_back(chosen, had, flush) });
            }
            plan.times.written.get_or_insert(fx.now);
            if !commits && !plan.repointed && service.has_followers(plan) {
                plan.repointed = true;
                if let Some(chosen) = plan.chosen {
                    let standbys: Vec<_> = service.server_ids().filter(|server| service.may_follow(plan, *server)).collect();
                    service.note_slots(chosen.server, &standbys, fx);
                }
                return Next::To(Phase::RepointStandbys);
            }
            if !commits && open && !plan.gate_opened {
                service.note_sync_names(plan.chosen.map(|chosen| chosen.server).unwrap_or_default(), fx);
                return Next::To(Phase::OpenSyncGate);
            }
            if !commits {
                plan.course.warnings.push("ordinary commits wait for a synchronous standby (on_no_sync_standby)".into());
            }
            Next::Onward
        }
        Ok(_) => Next::Again(Phase::VerifyData, "verify_data: the action returned an answer that does not fit it".to_owned()),
        Err(failure) => {
            plan.course.warn(format!("verify_data: {}", failure.message));
            Next::Again(Phase::VerifyData, format!("verify_data: {}", failure.message))
        }
    }
}

/// Clients wait meanwhile: a standby that does not stream within this time is pointed to the new primary behind the failover.
const REPOINT: Span = Span::from_millis(1_000);

/// Commits wait for standbys, and those stream from nobody: they are pointed to the new primary before anything else is given up.
fn repoint_standbys(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let standbys = service.server_ids().filter(|server| service.may_follow(plan, *server)).collect();
    let (chosen, timeline) = (plan.chosen?.server, plan.timeline?);
    Some((service.repoint_action(standbys, chosen, plan.old, timeline)?, REPOINT))
}

fn standbys_repointed(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    match outcome {
        Ok(Report::Repointed(each)) => {
            for (standby, result) in each {
                if let Some(chosen) = plan.chosen {
                    service.slot_created_or_not(chosen.server, standby, &result, fx);
                }
                match result {
                    Ok(repointed) => {
                        if repointed.streams {
                            plan.following.push((standby, fx.now));
                        }
                        service.standby_repointed(plan.chosen.map(|chosen| chosen.server), standby, repointed, fx);
                    }
                    Err(failure) => {
                        let name = service.server_name(standby);
                        plan.course.warn(format!("repoint_standbys: {name}: {}", failure.message));
                    }
                }
            }
        }
        Ok(_) => plan.course.warn("repoint_standbys: the action returned an answer that does not fit it".into()),
        Err(failure) => plan.course.warn(format!("repoint_standbys: {}", failure.message)),
    }
    Next::To(Phase::VerifyData)
}

/// Nobody is there who could acknowledge commits, and they go on without.
const GATE_OPENED: &str = "synchronous_standby_names was emptied, because too few standbys could acknowledge commits: they wait for nobody until \
                           enough standbys stream from the new primary; then the engine puts it back";

fn gate_opened(_: &mut Service, plan: &mut Plan, outcome: Outcome, _: &mut Effects) -> Next<Phase> {
    plan.gate_opened = true;
    if let Err(failure) = outcome {
        let why = failure.message;
        plan.course.warnings.push(format!("commits wait for a synchronous standby that is not there: {why}"));
        return Next::Onward;
    }
    plan.course.warnings.push(GATE_OPENED.into());
    Next::To(Phase::VerifyData)
}

pub(super) fn route_in(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let action = Action::RouteIn { server: plan.chosen?.server, share: service.first_share() };
    Some((action, seconds(3).max(service.model.route.commands_in)))
}

/// Some of the route has the new primary, what could not be told is a warning; or why none of it has.
pub(super) fn enter(plan: &mut Plan, outcome: Outcome, now: Mono) -> Result<(), String> {
    let (failed, some) = match outcome {
        Ok(report) if !matches!(report, Report::Route(_)) => {
            (vec!["the action returned an answer that does not fit it".to_owned()], false)
        }
        outcome => route_failures(outcome),
    };
    if some {
        plan.route_in_part = !failed.is_empty();
        plan.times.routed = Some(now);
        for why in failed {
            plan.course.warn(format!("route_in: {why}"));
        }
        return Ok(());
    }
    let failed = failed.join("; ");
    plan.course.warn(format!("route_in: {failed}"));
    Err(failed)
}

fn route_entered(_: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    match enter(plan, outcome, fx.now) {
        Ok(()) => Next::Onward,
        Err(failed) => Next::Again(Phase::RouteIn, format!("route_in: {failed}")),
    }
}

fn verify_traffic(_: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let server = plan.chosen?.server;
    let action = Action::VerifyTraffic { server, system_id: plan.system_id, timeline: plan.timeline? };
    Some((action, Span::from_millis(5_000)))
}

fn traffic_verified(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    match outcome {
        // Clients took every place before anybody could look: that is no reason to call a person, and no proof either.
        Ok(Report::TrafficFull { message }) => {
            plan.course.warn(format!("verify_traffic: {message}"));
            Next::Onward
        }
        Ok(_) => {
            plan.times.verified = Some(fx.now);
            Next::Onward
        }
        Err(failure) => {
            // The route may have lost its state (a reload): assert it again, inside the one failover_timeout.
            plan.course.warn(format!("verify_traffic: {}", failure.message));
            let step = if service.model.route.is_managed() { Phase::RouteIn } else { Phase::VerifyTraffic };
            Next::Again(step, format!("verify_traffic: {}", failure.message))
        }
    }
}

impl Service {
    /// Some standby may follow the promoted one.
    fn has_followers(&self, plan: &Plan) -> bool {
        self.model.postgres.followers == OnNewPrimary::Auto && self.server_ids().any(|server| self.may_follow(plan, server))
    }

    fn may_follow(&self, plan: &Plan, server: ServerId) -> bool {
        let chosen = plan.chosen.map(|chosen| chosen.server);
        let standby = self.servers[usize::from(server.0)]
            .sample
            .as_ref()
            .is_some_and(|(_, sample)| sample.in_recovery && sample.system_id == plan.system_id);
        server != plan.old && Some(server) != chosen && standby
    }

    /// The fence is not proven: its host may be out of reach for a moment, or what was killed is still leaving. The primary of an order
    /// lives, and its clients wait: there it is tried once.
    fn fence_again(&mut self, plan: &Plan, why: String, now: Mono) -> Next<Phase> {
        if plan.reason.is_ordered() && !plan.nobody_left {
            return Next::Undo(why);
        }
        // If it serves after all, that shows before the next try.
        let old = plan.old;
        for (model, check) in self.model.checks.iter().zip(&mut self.checks) {
            if model.server == old.0 {
                check.slot.hasten(now);
            }
        }
        Next::Again(plan.course.phase, why)
    }

    pub(super) fn choose(&mut self, plan: &mut Plan, positions: &[Position], fx: &mut Effects) -> Next<Phase> {
        self.heard_meanwhile(plan, positions);
        if let Some(next) = somebody_was_promoted(self, plan, positions, fx) {
            return next;
        }
        if let Some(server) = self.writes_meanwhile(plan, positions, fx.now) {
            let why = format!("{} takes writes since its position was read", self.server_name(server));
            return Next::Again(Phase::Choose, why);
        }
        // A server that somebody started meanwhile may have written on behind the checkpoint of its shutdown: what was read when nothing
        // of it was left is what counts.
        let read = plan.fence.as_ref().and_then(|report| report.end);
        let salvaged = plan.salvage.end().map(|at| LogEnd { at, timeline: plan.old_timeline });
        if salvaged.is_some() || read.is_some() || !fence_found_nothing(plan) {
            self.detection.log_end = salvaged.or(plan.log_end()).or(read);
        }
        let (able, mut reasons) = self.judged_for_choice(plan, positions);
        if let Some(next) = self.salvage_first(plan, positions, &able, &reasons, fx.now) {
            return next;
        }
        plan.salvage.explain(&mut reasons);
        let comes = self.a_standby_comes(plan, positions, &reasons);
        let refusal = Refusal::NoCandidate { reasons };
        let sentence = self.sentence(&refusal);
        if let Some(best) = candidate::best(&able) {
            let carried = plan.salvage.carried(best.server, best.loss.filter(|_| best.exact));
            let best = best.with_carried(carried, self.flushes_commits(plan.old));
            plan.chosen = Some(best);
            plan.assert_fenced();
            plan.assert_no_other(best.server);
            plan.course.evidence.push(format!("chosen after the fence: {}", describe(&best)));
            if let Some((other, why)) = candidate::runner_up(&able) {
                plan.course.evidence.push(why.sentence(&self.server_name(other.server)));
            }
            if let Some(why) = plan.salvage.hindered.take() {
                plan.course.evidence.push(format!("salvage was not tried: {why}"));
            }
            Next::Onward
        } else if comes {
            plan.course.warn(format!("waited for a standby: {sentence}"));
            Next::Again(Phase::Choose, sentence)
        } else if !plan.unreached.is_empty() {
            // No better one is there, and what was asked of these had no effect: they are asked again.
            let tried = std::mem::take(&mut plan.unreached);
            plan.refused.retain(|(server, _)| !tried.contains(server));
            Next::Again(Phase::Choose, sentence)
        } else {
            self.detection.refusal = Some(refusal);
            Next::Undo(sentence)
        }
    }

    /// Who may be promoted by what was read of each, and why the others may not.
    fn judged_for_choice(&self, plan: &Plan, positions: &[Position]) -> (Vec<Candidate>, Vec<(ServerId, CandidateRefusal)>) {
        let reference = self.reference(ended(plan));
        let samples = positions
            .iter()
            .map(|position| (position.server, position.sample.as_ref().map_err(Clone::clone), position.settled))
            .collect();
        let mut verdicts = self.choose_among(samples, reference.as_ref(), &plan.waiver, &plan.refused, View::Decision);
        if plan.committed.is_some() {
            let others = verdicts.iter_mut().filter(|(_, verdict)| *verdict == Err(CandidateRefusal::NotChosen));
            others.for_each(|(_, verdict)| *verdict = Err(CandidateRefusal::AnotherAsked));
        }
        let able: Vec<Candidate> = verdicts.iter().filter_map(|(_, verdict)| verdict.as_ref().ok().copied()).collect();
        let reasons = verdicts.into_iter().filter_map(|(server, verdict)| verdict.err().map(|reason| (server, reason))).collect();
        (able, reasons)
    }

    /// Nobody may be promoted yet, only because one that was there a moment ago is starting, or replays what it has: then it is waited
    /// for, as long as the failover may take.
    fn a_standby_comes(&self, plan: &Plan, positions: &[Position], reasons: &[(ServerId, CandidateRefusal)]) -> bool {
        let wanted = reasons.iter().any(|(_, reason)| {
            matches!(reason, CandidateRefusal::QuorumUnanswered { .. } | CandidateRefusal::NotReadable { .. })
        });
        wanted
            && positions.iter().any(|position| match &position.sample {
                Ok(sample) => {
                    let held = sample.replay_paused || sample.delayed;
                    sample.in_recovery && !held && !(position.settled && candidate::is_complete(sample))
                }
                Err(_) => self.was_there(position.server, plan.times.confirmed),
            })
    }

    /// So much of the old primary's log may be missing on a server that somebody promoted: what a failover may lose, if nobody else had more
    /// when both were last seen to receive, and nothing if it took writes while the primary did.
    fn may_lack(&self, server: ServerId) -> u64 {
        let state = &self.servers[usize::from(server.0)];
        let (Some(own), Some(seen)) = (state.streamed, state.streamed_at) else { return 0 };
        // Where nobody knows how the log grew, a moment says nothing.
        let growth = self.log.as_ref().and_then(LogTrack::growth).unwrap_or(u64::MAX);
        let has_more = self.servers.iter().any(|other| {
            let (Some(theirs), Some(later)) = (other.streamed, other.streamed_at) else { return false };
            // Who was asked a moment later has what came in that moment.
            let gap = later.since(seen);
            let came = if gap <= STREAM_GRACE { growth.saturating_mul(gap.as_millis()) / 1_000 } else { 0 };
            theirs.timeline == own.timeline && theirs.position.bytes_after(own.position) > came
        });
        if state.other_branch || state.wrote_beside || has_more { 0 } else { self.model.postgres.max_lag_bytes }
    }

    /// A standby whose kept session said after the fence, and after its position was read, that it takes writes: somebody promoted it.
    fn writes_meanwhile(&self, plan: &Plan, positions: &[Position], now: Mono) -> Option<ServerId> {
        let asked_before = |server: ServerId| {
            let asked = positions.iter().find(|position| position.server == server)?.sample.as_ref().ok()?.asked;
            Some(asked)
        };
        self.server_ids().filter(|server| *server != plan.old).find(|server| {
            self.servers[usize::from(server.0)].sample.as_ref().is_some_and(|(at, sample)| {
                !sample.in_recovery
                    && sample.system_id == plan.system_id
                    && now.since(*at) < FRESH
                    && plan.times.fenced.is_none_or(|fenced| sample.asked > fenced)
                    && asked_before(*server).is_none_or(|asked| sample.asked > asked)
            })
        })
    }

    /// Goes on with a server that somebody else promoted, as if this failover had done it.
    fn take_over_promoted(&self, plan: &mut Plan, server: ServerId, sample: &Sample, now: Mono) {
        let name = self.server_name(server);
        let began = self.servers[usize::from(server.0)].streamed.map(|streamed| streamed.position).unwrap_or_default();
        // The old primary may have gone on until it was fenced, or goes on.
        let ended = if plan.times.fenced.is_some() { ended(plan) } else { Ended::fenced(plan.times.lived, now) };
        let reference = self.reference(ended);
        let furthest = reference.as_ref().and_then(|reference| reference.furthest(now)).max(plan.furthest);
        let loss = furthest.map(|furthest| furthest.bytes_after(began));
        let unseen = reference.map(|reference| reference.unseen()).unwrap_or_default();
        let line = format!("{name} takes writes on timeline {}: somebody else promoted it, and it is followed", sample.timeline);
        plan.course.evidence.push(line.clone());
        plan.course.warnings.push(line);
        let mut chosen = Candidate::chosen_before(server, began, loss, false);
        chosen.unseen = unseen;
        plan.chosen = Some(chosen);
        plan.committed = Some(server);
        plan.timeline = Some(sample.timeline);
        plan.times.promoted = Some(now);
    }

    fn chosen_went_back(&self, chosen: ServerId, had: Lsn, flush: Lsn) -> String {
        format!(
            "{} writes at {flush}, and it had replayed the log up to {had} when it was chosen: this is not the data that was chosen; it gets no \
             traffic",
            self.server_name(chosen)
        )
    }

    /// The old primary answered a question that was asked after the decision, and nothing has touched it yet: it is left alone.
    pub(crate) fn stop_before_the_fence(&mut self, server: ServerId, asked: Mono, how: &str, fx: &mut Effects) {
        let name = self.server_name(server);
        let Some(plan) = &mut self.run.plan else { return };
        if plan.old != server
            || !plan.is_untouched(asked)
            || !plan.kind.holds_data()
            || plan.reason.is_ordered()
            || asked < plan.times.confirmed
        {
            return;
        }
        plan.lives = true;
        let message = format!("{name} answers again");
        let cancelled = Failure { kind: FailureKind::Cancelled, message, remedy: String::new() };
        self.give_up::<Plan>(cancelled, format!("{name} answers again: {how}, and it is not fenced yet"), fx);
    }
}

/// How long the old primary went on: whatever it looked like, it may have gone on, or woken up, until its fence was proven (rule 85). One
/// that was found dead, with nobody left to end, acknowledged nothing after that was seen.
fn ended(plan: &Plan) -> Ended {
    let (lived, proven) = (plan.times.lived, plan.times.fenced.unwrap_or(plan.times.confirmed));
    // Where no ladder was climbed, its host's word is all there is.
    let nobody = fence_found_nothing(plan) || (plan.nobody_left && plan.fence_level() < FenceLevel::ProvenStopped);
    let stayed_so = plan.reason.is(FailureClass::Unusable) || nobody;
    plan.ended.filter(|_| stayed_so).map_or(Ended::fenced(lived, proven), |ended| Ended::gone(lived, ended))
}

/// The ladder was climbed, and there was no process to stop.
fn fence_found_nothing(plan: &Plan) -> bool {
    plan.fence.as_ref().is_some_and(|report| {
        report.level == FenceLevel::ProvenStopped
            && report.rungs.iter().all(|rung| matches!(rung.name, RungName::Guard | RungName::Proof))
    })
}
