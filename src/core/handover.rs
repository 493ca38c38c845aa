//! An ordered failover away from a primary that lives: it is stopped in an orderly way, and promoted is who has received its whole
//! log. Where that cannot be proven it is started again, unless a loss was accepted.

use super::candidate::{self, Candidate, Ended, Reference, View, Waiver};
use super::effects::Effects;
use super::failover::describe;
use super::id::ServerId;
use super::output::{Action, Failure, Report};
use super::plan::{End, Phase, Plan};
use super::refusal::{CandidateRefusal, Refusal};
use super::sample::{FenceLevel, FenceReport, LogEnd, Position};
use super::service::Service;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

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

/// How far a primary that lived is with handing over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The standby that was the best one when it began.
    pub to: Option<ServerId>,
    /// The primary was asked to stop, or may have been.
    pub stop_tried: bool,
    /// Where its log ends.
    pub end: Option<LogEnd>,
    /// The receipt is not waited for any more: the primary is fenced, and a loss is judged as in any other failover.
    pub given_up: bool,
    /// A standby that has all of the log was chosen.
    pub proven: bool,
    /// Questions about the receipt without an answer.
    pub unanswered: u8,
    /// Until when it is tried to start the primary again.
    pub start_until: Option<Mono>,
    /// So often its start was asked for without success.
    #[serde(default)]
    pub starts: u32,
    /// It was started again.
    pub started: bool,
}

/// What became of a primary that was asked to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stopped {
    /// It was shut down in an orderly way: its log ends here, and no more can be written. Its processes may still be there.
    InOrder(LogEnd),
    /// No process is left, and it was not shut down in an orderly way.
    Crashed {
        /// What its control file says.
        state: String,
    },
    /// Its postmaster stands still, and hears nothing.
    Frozen,
    /// It is still on its way.
    NotYet {
        /// What its control file says.
        state: String,
    },
}

/// What became of an orderly stop, and how far the standbys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The primary.
    pub stopped: Stopped,
    /// The standbys.
    pub positions: Vec<Position>,
}

impl Plan {
    /// The old primary was asked to stop and was not started again since.
    #[must_use]
    pub fn is_stop_owed(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| handover.stop_tried && !handover.started)
    }

    /// The old primary lives and is being stopped in an orderly way.
    #[must_use]
    pub fn hands_over(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| !handover.given_up)
    }

    /// The old primary serves as it did before an order that was not carried out.
    pub(super) fn is_handed_back(&self, left: &[String]) -> bool {
        self.handover.is_some() && left.is_empty() && !self.is_stop_owed() && (self.fence.is_none() || self.is_started_again())
    }

    /// It was stopped, and started again.
    pub(super) fn is_started_again(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| handover.started)
    }

    /// Where the log of a primary ended that was stopped in an orderly way.
    pub(super) fn log_end(&self) -> Option<LogEnd> {
        self.handover.as_ref().and_then(|handover| handover.end)
    }
}

impl Service {
    /// What is done next in a phase of the handover, and how long it may take.
    pub(super) fn handover_action(&self, plan: &Plan) -> Option<(Action, Span)> {
        let timeout = self.model.trigger.failover_timeout;
        let old = plan.old;
        let view_confirmed = self.servers[usize::from(old.0)].view_confirmed;
        Some(match plan.phase {
            // Its clients are still there, and a stop would have to write the same pages with nobody there.
            Phase::Checkpoint => (Action::Checkpoint { server: old }, Span::from_nanos(timeout.as_nanos() / 4)),
            Phase::StopServer => (Action::StopServer { server: old }, Span::from_millis(5_000)),
            Phase::Receipt => {
                let (system_id, timeline) = (plan.system_id, plan.old_timeline);
                let standbys = self.receivers(plan);
                (Action::ReadReceipt { server: old, standbys, system_id, timeline, patience: RECEIPT }, timeout)
            }
            Phase::LookAround => {
                let servers = self.server_ids().filter(|server| *server != old).collect();
                (Action::ReadPositions { servers, settle: Span::ZERO }, Span::from_millis(3_000))
            }
            Phase::UndoStop => {
                let overdue = plan.handover.as_ref().is_some_and(|handover| handover.starts >= OVERDUE);
                (Action::StartServer { server: old, view_confirmed, overdue }, Span::from_millis(20_000))
            }
            _ => return None,
        })
    }

    /// Whose receipt is asked for: the intended one first, then those that answer. One that is silent would hold up all.
    fn receivers(&self, plan: &Plan) -> Vec<ServerId> {
        let first = plan.committed.or(plan.handover.as_ref().and_then(|handover| handover.to));
        let others = || self.server_ids().filter(|server| *server != plan.old && Some(*server) != first);
        let answering: Vec<ServerId> = others().filter(|server| self.servers[usize::from(server.0)].session_open).collect();
        first.into_iter().chain(if first.is_none() && answering.is_empty() { others().collect() } else { answering }).collect()
    }

    /// From the outcome of a step of the handover to the next phase.
    pub(super) fn handover_advanced(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let settings = self.settings();
        let Some(plan) = &mut self.run.plan else { return };
        match plan.phase {
            Phase::Checkpoint => {
                if let Err(failure) = outcome {
                    plan.warnings.push(format!("checkpoint: {}", failure.message));
                }
                plan.phase = Plan::after_checkpoint(settings);
            }
            Phase::StopServer => self.stop_ordered(outcome, fx),
            Phase::Receipt => self.receipt_read(outcome, fx),
            Phase::LookAround => self.looked_around(outcome, fx),
            Phase::UndoStop => self.started_again(outcome, fx.now),
            _ => {}
        }
    }

    fn stop_ordered(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some(plan) = &mut self.run.plan else { return };
        match outcome {
            Ok(Report::Done { .. }) => plan.phase = Phase::Receipt,
            Ok(_) => self.undo("the order to stop was answered with something else".into(), fx),
            Err(failure) => {
                let untouched = failure.had_no_effect();
                if let Some(handover) = plan.handover.as_mut().filter(|_| untouched) {
                    handover.stop_tried = false;
                }
                let what = if untouched { "was not asked to stop" } else { "may or may not have been asked to stop" };
                let name = self.old_name();
                self.undo(format!("{name} {what}: {}", failure.message), fx);
            }
        }
    }

    fn receipt_read(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some(handover) = self.run.plan.as_mut().and_then(|plan| plan.handover.as_mut()) else { return };
        let receipt = match outcome {
            Ok(Report::Receipt(receipt)) => receipt,
            other => {
                let why = other.err().map_or_else(|| "an answer of another kind came".to_owned(), |failure| failure.message);
                handover.unanswered += 1;
                let again = handover.unanswered < QUESTIONS;
                if let Some(plan) = self.run.plan.as_mut().filter(|_| again) {
                    plan.retry_at = Some(fx.now + AGAIN);
                } else {
                    let why = format!("whether a standby has the whole log of {} is not known: {why}", self.old_name());
                    self.not_received(&why, fx);
                }
                return;
            }
        };
        self.heard_meanwhile(&receipt.positions);
        if self.somebody_was_promoted(&receipt.positions, fx) {
            return;
        }
        let name = self.old_name();
        match receipt.stopped {
            Stopped::InOrder(end) => self.log_ended(end, &receipt.positions, fx),
            Stopped::Crashed { state } => {
                self.fence_instead(format!("{name} crashed while it was stopped (\"{state}\"): it is replaced as a dead one"));
            }
            Stopped::Frozen => self.fence_instead(format!("{name} stands still and hears no order to stop: it is fenced")),
            Stopped::NotYet { state } => {
                let held = "a sender to a standby that does not hear it holds a shutdown";
                self.not_received(&format!("{name} did not stop in time (\"{state}\"; {held})"), fx);
            }
        }
    }

    /// The log has ended: whoever has all of it may be promoted.
    fn log_ended(&mut self, end: LogEnd, positions: &[Position], fx: &mut Effects) {
        self.detection.log_end = Some(end);
        let (able, reasons) = self.who_received(end, positions, fx.now);
        let name = self.old_name();
        let Some(plan) = &mut self.run.plan else { return };
        let wanted = plan.handover.as_mut().and_then(|handover| {
            handover.end = Some(end);
            handover.to
        });
        let best = able.iter().find(|one| Some(one.server) == wanted).copied().or_else(|| candidate::best(&able));
        let Some(best) = best else {
            let refusal = Refusal::NoCandidate { reasons };
            let sentence = self.sentence(&refusal);
            self.detection.refusal = Some(refusal);
            self.not_received(&sentence, fx);
            return;
        };
        let proof =
            format!("{name} is shut down in an orderly way: its log ends at {}, and no more of it can be written", end.at);
        plan.evidence.push(proof.clone());
        plan.evidence.push(format!("chosen with the whole log: {}", describe(&best)));
        plan.fence = Some(FenceReport { level: FenceLevel::None, guard_placed: true, rungs: Vec::new(), proof, end: Some(end) });
        plan.times.fenced = Some(fx.now);
        if let Some(handover) = &mut plan.handover {
            handover.proven = true;
        }
        plan.chosen = Some(best);
        plan.assert_fenced();
        plan.assert_no_other(best.server);
        plan.phase = Phase::Promote;
    }

    /// Those that have a log to its end, and why the others cannot be promoted.
    fn who_received(
        &self,
        end: LogEnd,
        positions: &[Position],
        now: Mono,
    ) -> (Vec<Candidate>, Vec<(ServerId, CandidateRefusal)>) {
        let Some(plan) = &self.run.plan else { return (Vec::new(), Vec::new()) };
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
            acknowledged_before: super::sample::Lsn::default(),
            acknowledged: Vec::new(),
            unpromised_before: super::sample::Lsn::default(),
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
    fn not_received(&mut self, why: &str, fx: &mut Effects) {
        let accepted = self.run.plan.as_ref().is_some_and(|plan| plan.waiver.accept_loss.is_some());
        if accepted {
            self.fence_instead(format!("{why}; a loss was accepted"));
        } else {
            let name = self.old_name();
            self.undo(format!("{why}; nobody is promoted, and {name} is started again"), fx);
        }
    }

    /// On by the rules of any other failover.
    fn fence_instead(&mut self, why: String) {
        let Some(plan) = &mut self.run.plan else { return };
        if let Some(handover) = &mut plan.handover {
            handover.given_up = true;
        }
        plan.evidence.push(why.clone());
        plan.warnings.push(why);
        plan.phase = Phase::Fence;
    }

    /// Another engine stopped it, and promoted nobody: started again it must be the only one.
    fn looked_around(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some(plan) = &self.run.plan else { return };
        let system_id = plan.system_id;
        let positions = match outcome {
            Ok(Report::Positions(positions)) => positions,
            _ => Vec::new(),
        };
        let writable = positions
            .iter()
            .find(|position| position.sample.as_ref().is_ok_and(|sample| !sample.in_recovery && sample.system_id == system_id));
        let other = writable.map(|position| self.server_name(position.server));
        let name = self.old_name();
        if let Some(other) = other {
            let why = format!("{other} takes writes; {name} was stopped by an earlier engine, and is not started beside it");
            self.finish(End::Left { why }, fx);
            return;
        }
        if let Some(plan) = &mut self.run.plan {
            plan.phase = plan.first_undo();
        }
    }

    fn started_again(&mut self, outcome: Result<Report, Failure>, now: Mono) {
        let Some(plan) = &mut self.run.plan else { return };
        let Some(handover) = &mut plan.handover else { return };
        let until = *handover.start_until.get_or_insert(now + START_FOR);
        let why = match outcome {
            Ok(Report::Done { .. }) => {
                handover.started = true;
                self.detection.log_end = None;
                plan.phase = plan.after_undo_stop();
                return;
            }
            Ok(_) => "an answer of another kind came".to_owned(),
            Err(failure) => failure.message,
        };
        // A supervisor that refuses may count the orders, as systemd does: five in ten seconds.
        handover.starts += 1;
        if now < until {
            plan.retry_at = Some(now + AGAIN.times(3_u64.pow(handover.starts.min(5) - 1)).min(START_AGAIN));
        } else {
            plan.undo_failures.push(format!("start_server: {why}"));
            plan.phase = plan.after_undo_stop();
        }
    }

    /// The processes of a server that has handed over may still be on their way out.
    pub(super) fn is_still_leaving(&self, server: ServerId, now: Mono) -> bool {
        self.run.last_failover.as_ref().is_some_and(|last| {
            last.plan.old == server
                && last.plan.handover.as_ref().is_some_and(|handover| handover.proven)
                && last.plan.times.ended.is_some_and(|ended| now.since(ended) < LEAVES_WITHIN)
        })
    }

    /// A receipt in one line, and whether the log has ended in an orderly way.
    pub(super) fn describe_receipt(&self, receipt: &Receipt) -> (bool, String) {
        let (ok, what) = match &receipt.stopped {
            Stopped::InOrder(end) => (true, format!("shut down, its log ends at {}", end.at)),
            Stopped::Crashed { state } => (false, format!("no process is left, and it was not shut down (\"{state}\")")),
            Stopped::Frozen => (false, "its postmaster stands still".to_owned()),
            Stopped::NotYet { state } => (false, format!("not shut down yet (\"{state}\")")),
        };
        // Whether they rest is not asked: what they have counts.
        let read = receipt.positions.iter().map(|position| Position { settled: true, ..position.clone() });
        let (_, positions, _) = self.describe_report(&Report::Positions(read.collect()));
        (ok, format!("{what}; {positions}"))
    }

    fn old_name(&self) -> String {
        self.run.plan.as_ref().map_or_else(String::new, |plan| self.server_name(plan.old))
    }
}
