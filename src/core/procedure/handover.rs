//! The steps of an ordered failover away from a primary that lives: it is stopped in an orderly way, and promoted is who has received
//! its whole log. Where that cannot be proven it is started again, unless a loss was accepted.

use super::failover::somebody_was_promoted;
use super::{Next, Outcome, describe};
use crate::candidate::{self, Candidate, Ended, Reference, View, Waiver};
use crate::effects::Effects;
use crate::handover::{Receipt, Stopped};
use crate::id::ServerId;
use crate::output::{Action, Report};
use crate::plan::{End, Phase, Plan};
use crate::refusal::{CandidateRefusal, Refusal};
use crate::sample::{FenceLevel, FenceReport, LogEnd, Lsn, Position};
use crate::service::Service;
use crate::time::{Mono, Span};

/// So long a standby may take to receive the rest of a log that has ended. One whose receiver stands still never does.
const RECEIPT: Span = Span::from_millis(2_000);
/// So long it is tried to start a stopped primary again: one that is still on its way down has to come to its end first.
const START_FOR: Span = Span::from_millis(60_000);
/// After so many starts in vain, some eight seconds, nobody waits any more for a shutdown to end: what was committed is on its disk.
const OVERDUE: u32 = 4;
/// Before a start is asked for again, at most.
const START_AGAIN: Span = Span::from_millis(15_000);
/// Between two tries of a step that may be tried again.
const AGAIN: Span = Span::from_millis(200);
/// So often a question about the receipt that nobody answered is asked again.
const QUESTIONS: u8 = 3;
/// The processes of a server whose log has ended may take this long to go: for an archiver, or a sender to a standby that hangs.
const LEAVES_WITHIN: Span = Span::from_millis(60_000);

/// Its clients are still there, and a stop would have to write the same pages with nobody there.
pub(super) fn checkpoint(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let timeout = service.model.trigger.failover_timeout;
    Some((Action::Checkpoint { server: plan.old }, Span::from_nanos(timeout.as_nanos() / 4)))
}

pub(super) fn checkpoint_written(_: &mut Service, plan: &mut Plan, outcome: Outcome, _: &mut Effects) -> Next<Phase> {
    if let Err(failure) = outcome {
        plan.course.warnings.push(format!("checkpoint: {}", failure.message));
    }
    Next::Onward
}

pub(super) fn stop_server(_: &Service, plan: &Plan) -> Option<(Action, Span)> {
    Some((Action::StopServer { server: plan.old }, Span::from_millis(5_000)))
}

pub(super) fn stop_ordered(service: &mut Service, plan: &mut Plan, outcome: Outcome, _: &mut Effects) -> Next<Phase> {
    match outcome {
        Ok(Report::Done { .. }) => Next::Onward,
        Ok(_) => Next::Undo("the action returned an answer that does not fit it".into()),
        Err(failure) => {
            let untouched = failure.had_no_effect();
            if let Some(handover) = plan.handover.as_mut().filter(|_| untouched) {
                handover.stop_tried = false;
            }
            let what = if untouched { "was not asked to stop" } else { "may or may not have been asked to stop" };
            let name = service.server_name(plan.old);
            Next::Undo(format!("{name} {what}: {}", failure.message))
        }
    }
}

pub(super) fn receipt(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let (system_id, timeline) = (plan.system_id, plan.old_timeline);
    let standbys = service.receivers(plan);
    let action = Action::ReadReceipt { server: plan.old, standbys, system_id, timeline, patience: RECEIPT };
    Some((action, service.model.trigger.failover_timeout))
}

pub(super) fn receipt_read(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    let name = service.server_name(plan.old);
    let receipt = match outcome {
        Ok(Report::Receipt(receipt)) => receipt,
        other => {
            let why = other
                .err()
                .map_or_else(|| "the action returned an answer that does not fit it".to_owned(), |failure| failure.message);
            let Some(handover) = &mut plan.handover else { return Next::To(plan.course.phase) };
            handover.unanswered += 1;
            if handover.unanswered < QUESTIONS {
                return Next::At(plan.course.phase, fx.now + AGAIN);
            }
            let why = format!("it is not known whether a standby has the whole log of {name}: {why}");
            return service.not_received(plan, &why);
        }
    };
    service.heard_meanwhile(plan, &receipt.positions);
    if let Some(next) = somebody_was_promoted(service, plan, &receipt.positions, fx) {
        return next;
    }
    match receipt.stopped {
        Stopped::InOrder(end) => service.log_ended(plan, end, &receipt.positions, fx),
        Stopped::Crashed { state } => {
            fence_instead(plan, format!("{name} crashed while it was stopped (\"{state}\"): it is replaced as a dead one"))
        }
        Stopped::Frozen => {
            fence_instead(plan, format!("{name} is frozen and cannot obey the order to stop: the engine fences it"))
        }
        Stopped::NotYet { state } => {
            let held = "a WAL sender whose standby does not answer holds the shutdown up";
            service.not_received(plan, &format!("{name} did not stop in time (\"{state}\"; {held})"))
        }
    }
}

/// On by the rules of any other failover.
fn fence_instead(plan: &mut Plan, why: String) -> Next<Phase> {
    if let Some(handover) = &mut plan.handover {
        handover.given_up = true;
    }
    plan.course.evidence.push(why.clone());
    plan.course.warnings.push(why);
    Next::To(Phase::Fence)
}

pub(super) fn look_around(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let servers = service.server_ids().filter(|server| *server != plan.old).collect();
    Some((Action::ReadPositions { servers, settle: Span::ZERO }, Span::from_millis(3_000)))
}

/// Another engine stopped it, and promoted nobody: started again it must be the only one.
pub(super) fn looked_around(service: &mut Service, plan: &mut Plan, outcome: Outcome, _: &mut Effects) -> Next<Phase> {
    let system_id = plan.system_id;
    let positions = match outcome {
        Ok(Report::Positions(positions)) => positions,
        _ => Vec::new(),
    };
    let writable = positions
        .iter()
        .find(|position| position.sample.as_ref().is_ok_and(|sample| !sample.in_recovery && sample.system_id == system_id));
    let other = writable.map(|position| service.server_name(position.server));
    let name = service.server_name(plan.old);
    if let Some(other) = other {
        let why = format!("{other} takes writes; {name} was stopped by an earlier engine, and is not started beside it");
        return Next::End(End::Left { why });
    }
    Next::Onward
}

pub(super) fn start_server(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let view_confirmed = service.servers[usize::from(plan.old.0)].view_confirmed;
    let overdue = plan.handover.as_ref().is_some_and(|handover| handover.starts >= OVERDUE);
    Some((Action::StartServer { server: plan.old, view_confirmed, overdue }, Span::from_millis(20_000)))
}

pub(super) fn started_again(service: &mut Service, plan: &mut Plan, outcome: Outcome, fx: &mut Effects) -> Next<Phase> {
    let now = fx.now;
    let Some(handover) = &mut plan.handover else { return Next::Onward };
    let until = *handover.start_until.get_or_insert(now + START_FOR);
    let why = match outcome {
        Ok(Report::Done { .. }) => {
            handover.started = true;
            service.detection.log_end = None;
            return Next::Onward;
        }
        Ok(_) => "the action returned an answer that does not fit it".to_owned(),
        Err(failure) => failure.message,
    };
    // A supervisor that refuses may count the orders, as systemd does: five in ten seconds.
    handover.starts += 1;
    if now < until {
        let again = now + AGAIN.times(3_u64.pow(handover.starts.min(5) - 1)).min(START_AGAIN);
        return Next::At(plan.course.phase, again);
    }
    plan.course.undo_failures.push(format!("start_server: {why}"));
    Next::Onward
}

impl Service {
    /// Whose receipt is asked for: the intended one first, then those that answer. One that is silent would hold up all.
    fn receivers(&self, plan: &Plan) -> Vec<ServerId> {
        let first = plan.committed.or(plan.handover.as_ref().and_then(|handover| handover.to));
        let others = || self.server_ids().filter(|server| *server != plan.old && Some(*server) != first);
        let answering: Vec<ServerId> = others().filter(|server| self.servers[usize::from(server.0)].session_open).collect();
        first.into_iter().chain(if first.is_none() && answering.is_empty() { others().collect() } else { answering }).collect()
    }

    /// The log has ended: a standby that has all of it may be promoted.
    fn log_ended(&mut self, plan: &mut Plan, end: LogEnd, positions: &[Position], fx: &Effects) -> Next<Phase> {
        self.detection.log_end = Some(end);
        let (able, reasons) = self.who_received(plan, end, positions, fx.now);
        let name = self.server_name(plan.old);
        let wanted = plan.handover.as_mut().and_then(|handover| {
            handover.end = Some(end);
            handover.to
        });
        let best = able.iter().find(|one| Some(one.server) == wanted).copied().or_else(|| candidate::best(&able));
        let Some(best) = best else {
            let refusal = Refusal::NoCandidate { reasons };
            let sentence = self.sentence(&refusal);
            self.detection.refusal = Some(refusal);
            return self.not_received(plan, &sentence);
        };
        let proof =
            format!("{name} is shut down in an orderly way: its log ends at {}, and no more of it can be written", end.at);
        plan.course.evidence.push(proof.clone());
        plan.course.evidence.push(format!("chosen with the whole log: {}", describe(&best)));
        plan.fence = Some(FenceReport { level: FenceLevel::None, guard_placed: true, rungs: Vec::new(), proof, end: Some(end) });
        plan.times.fenced = Some(fx.now);
        if let Some(handover) = &mut plan.handover {
            handover.proven = true;
        }
        plan.chosen = Some(best);
        plan.assert_fenced();
        plan.assert_no_other(best.server);
        Next::To(Phase::Promote)
    }

    /// Those that have a log to its end, and why the others cannot be promoted.
    fn who_received(
        &self,
        plan: &Plan,
        end: LogEnd,
        positions: &[Position],
        now: Mono,
    ) -> (Vec<Candidate>, Vec<(ServerId, CandidateRefusal)>) {
        // Who has the whole log has every commit, whoever acknowledged it: nothing else is asked about.
        let reference = Reference {
            system_id: plan.system_id,
            timeline: plan.old_timeline,
            flush: end.at,
            at: now,
            lead: Span::ZERO,
            heard: None,
            growth: None,
            ended: Ended::at(now),
            exact: true,
            sync: None,
            sync_fresh: false,
            acknowledged_before: Lsn::default(),
            acknowledged: Vec::new(),
            unpromised_before: Lsn::default(),
        };
        let waiver = Waiver { to: plan.committed.or(plan.waiver.to), accept_loss: Some(u64::MAX) };
        let samples = positions
            .iter()
            .map(|position| (position.server, position.sample.as_ref().map_err(Clone::clone), position.settled))
            .collect();
        let verdicts = self.choose_among(samples, Some(&reference), &waiver, &plan.refused, View::Decision);
        let (mut able, mut reasons) = (Vec::new(), Vec::new());
        for (server, verdict) in verdicts {
            match verdict {
                // The checkpoint with which a log ends begins at its end.
                Ok(one) if one.position > end.at => able.push(one),
                Ok(one) => reasons.push((server, CandidateRefusal::NotReceived { bytes: end.at.bytes_after(one.position) })),
                Err(reason) => reasons.push((server, reason)),
            }
        }
        (able, reasons)
    }

    /// Without a proof nobody is promoted, unless a loss was accepted: then within that.
    fn not_received(&self, plan: &mut Plan, why: &str) -> Next<Phase> {
        let accepted = plan.waiver.accept_loss.is_some();
        if accepted {
            fence_instead(plan, format!("{why}; a loss was accepted"))
        } else {
            let name = self.server_name(plan.old);
            Next::Undo(format!("{why}; nobody is promoted, and {name} is started again"))
        }
    }

    /// The processes of a server that has handed over may still be on their way out.
    pub(crate) fn is_still_leaving(&self, server: ServerId, now: Mono) -> bool {
        self.run.last_failover.as_ref().is_some_and(|last| {
            last.plan.old == server
                && last.plan.handover.as_ref().is_some_and(|handover| handover.proven)
                && last.plan.times.ended.is_some_and(|ended| now.since(ended) < LEAVES_WITHIN)
        })
    }

    /// A receipt in one line, and whether the log has ended in an orderly way.
    pub(crate) fn describe_receipt(&self, receipt: &Receipt) -> (bool, String) {
        let (ok, what) = match &receipt.stopped {
            Stopped::InOrder(end) => (true, format!("shut down, its log ends at {}", end.at)),
            Stopped::Crashed { state } => (false, format!("no process is left, and it was not shut down (\"{state}\")")),
            Stopped::Frozen => (false, "its postmaster is frozen".to_owned()),
            Stopped::NotYet { state } => (false, format!("not shut down yet (\"{state}\")")),
        };
        // Whether they rest is not asked: what they have counts.
        let read = receipt.positions.iter().map(|position| Position { settled: true, ..position.clone() });
        let (_, positions, _) = self.describe_report(&Report::Positions(read.collect()), FenceLevel::None);
        (ok, format!("{what}; {positions}"))
    }
}
