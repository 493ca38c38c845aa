//! What to do, in which order, and how to undo it. A plan is data: the service asks it for the next action and tells it the outcome.

use super::candidate::{Candidate, Waiver};
use super::handover::Handover;
use super::id::{ActionId, Generation, ServerId};
use super::kind::ServiceKind;
use super::output::Action;
use super::reason::Reason;
use super::sample::{FenceLevel, FenceReport, Lsn};
use super::service::VERIFIED_WITHIN;
use super::stats::{Judgement, Need};
use super::sync_set::Acknowledging;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// Where a plan stands. The order is that of FAILOVER rules 33 and 34.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// The configured checks before anything is changed.
    PreChecks,
    /// A primary that lives and is to hand over writes a checkpoint.
    Checkpoint,
    /// The old primary leaves the route.
    RouteOut,
    /// A primary that lives is asked to stop.
    StopServer,
    /// It is waited for the end of its log, and for a standby that has received all of it.
    Receipt,
    /// The old primary of a `postgres` service is fenced.
    Fence,
    /// A standby is chosen; for `postgres` by positions that are read now, for an application by its checks.
    Choose,
    /// The proof of the fence is taken again: it is not of this moment any more.
    ProveAgain,
    /// The standby is promoted: the point of no return.
    Promote,
    /// The promotion's outcome is unknown: look.
    FindOut,
    /// A committed write is proven.
    VerifyData,
    /// Commits are released from a synchronous standby that is not there.
    OpenSyncGate,
    /// The route gets the new primary.
    RouteIn,
    /// The route answers with the new primary.
    VerifyTraffic,
    /// Undo, by another engine than the one that stopped the old primary: whether somebody was promoted meanwhile.
    LookAround,
    /// Undo: the guard is removed.
    UndoFence,
    /// Undo: the old primary is started again.
    UndoStop,
    /// Undo: the route gets the old primary back.
    UndoRoute,
    /// Nothing is left to do.
    Over,
}

impl Phase {
    /// From here on nothing is undone (rule 40), if the service is a database.
    #[must_use]
    pub fn is_past_no_return(self) -> bool {
        matches!(
            self,
            Phase::Promote | Phase::FindOut | Phase::VerifyData | Phase::OpenSyncGate | Phase::RouteIn | Phase::VerifyTraffic
        )
    }

    /// The plan is undoing what it did.
    #[must_use]
    pub fn is_undoing(self) -> bool {
        matches!(self, Phase::LookAround | Phase::UndoFence | Phase::UndoStop | Phase::UndoRoute)
    }
}

/// When each part of a failover was done. Unset where it was not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The first bad sign.
    pub detected: Mono,
    /// The last moment at which the old primary was known to serve: not before the first bad sign.
    #[serde(default)]
    pub lived: Mono,
    /// The failure was confirmed and the plan began.
    pub confirmed: Mono,
    /// The fence was proven.
    pub fenced: Option<Mono>,
    /// The standby was writable.
    pub promoted: Option<Mono>,
    /// A committed write was proven.
    pub written: Option<Mono>,
    /// The route was first told to send the traffic to the standby that was chosen last.
    #[serde(default)]
    pub entered: Option<Mono>,
    /// The route had the new primary.
    pub routed: Option<Mono>,
    /// The route answered with it.
    pub verified: Option<Mono>,
    /// The plan ended, one way or the other.
    pub ended: Option<Mono>,
}

/// So old the proof of a fence may be when a standby is promoted.
const PROOF_FRESH: Span = Span::from_millis(2_000);

/// Between two tries of a phase: the first pause, which doubles after the third try.
const TRY_AGAIN: Span = Span::from_millis(200);

/// Compensations are tried again for so long.
const UNDO_FOR: Span = Span::from_millis(30_000);

/// What a step came to the last time: what comes to the same again is told once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// In which phase.
    pub phase: Phase,
    /// Of which server.
    pub server: Option<ServerId>,
    /// It worked.
    pub ok: bool,
    /// As it was told.
    pub message: String,
}

/// A phase that did not come to its end and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// Which.
    pub phase: Phase,
    /// How often it was tried.
    pub tries: u32,
    /// When the last try ended.
    pub at: Mono,
    /// Why it is tried again.
    pub why: String,
}

/// How a plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Traffic is verified on the new primary.
    Completed,
    /// Stopped before the point of no return; what was changed was undone (or not: which).
    Undone {
        /// Why it stopped.
        why: String,
        /// Compensations that failed.
        left: Vec<String>,
    },
    /// Stopped before anybody was promoted, and nothing may be undone.
    Left {
        /// Why.
        why: String,
    },
    /// Stopped after the point of no return.
    Stuck {
        /// Why.
        why: String,
    },
}

/// A failover in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Of which kind the service is.
    #[serde(default)]
    pub kind: ServiceKind,
    /// Its number.
    pub generation: Generation,
    /// Why it was begun.
    pub reason: Reason,
    /// The old primary.
    pub old: ServerId,
    /// The cluster's identity.
    pub system_id: u64,
    /// The timeline to leave.
    pub old_timeline: u32,
    /// Where it stands.
    pub phase: Phase,
    /// The action under way and its deadline.
    pub action: Option<(ActionId, Action, Mono)>,
    /// When to try the phase again.
    pub retry_at: Option<Mono>,
    /// The phase that is tried again, until another one begins.
    #[serde(default)]
    pub repeat: Option<Repeat>,
    /// What each step came to, as it was told last.
    #[serde(default)]
    pub told: Vec<Told>,
    /// Until then compensations are tried again.
    #[serde(default)]
    pub undo_until: Mono,
    /// The end of `failover_timeout`.
    pub deadline: Mono,
    /// What an operator waived.
    pub waiver: Waiver,
    /// What is required of the fence.
    pub require: FenceLevel,
    /// The old primary's host does not answer: only `fence.command` or level 1 is left.
    pub host_silent: bool,
    /// What the fence proved.
    pub fence: Option<FenceReport>,
    /// The route was touched.
    pub route_touched: bool,
    /// Some instance did not send the traffic where it should go, the last time that they were asked to.
    #[serde(default)]
    pub route_in_part: bool,
    /// The fence was tried.
    pub fence_tried: bool,
    /// Of a primary that lived when the failover was ordered: it is stopped in an orderly way, and loses nothing.
    #[serde(default)]
    pub handover: Option<Handover>,
    /// The chosen standby.
    pub chosen: Option<Candidate>,
    /// Standbys whose promotion had no effect, with the reason.
    pub refused: Vec<(ServerId, String)>,
    /// Of those, whom the request most likely never reached: they may be asked again where there is no better one.
    #[serde(default)]
    pub unreached: Vec<ServerId>,
    /// Of an application: who got the traffic and was not seen through the route.
    #[serde(default)]
    pub unverified: Vec<ServerId>,
    /// Of an application: one of those keeps the traffic, and why.
    #[serde(default)]
    pub stays: Option<String>,
    /// The new timeline.
    pub timeline: Option<u32>,
    /// The synchronous gate was opened.
    pub gate_opened: bool,
    /// Why the plan is being undone.
    pub undoing: Option<String>,
    /// Compensations that failed.
    pub undo_failures: Vec<String>,
    /// Warnings on the way: things that went wrong and did not stop it.
    pub warnings: Vec<String>,
    /// The engine wants to stop: undo before the point of no return.
    pub stop_asked: bool,
    /// The old primary answered again before it was fenced.
    #[serde(default)]
    pub lives: bool,
    /// Its host had said, before anything was done, that none of its processes is left.
    #[serde(default)]
    pub nobody_left: bool,
    /// Nobody can have been told of a commit after that, by what was known before anything was done.
    #[serde(default)]
    pub ended: Option<Mono>,
    /// The promotion of this server was asked for and may take effect at any time: no other one is promoted, and nothing is undone.
    #[serde(default)]
    pub committed: Option<ServerId>,
    /// When the fence was last proven; `None`: not in this engine's own time, or the engine did not run since.
    #[serde(default)]
    pub proved_at: Option<Mono>,
    /// The engine did not run while the action was under way: what it found may be of before.
    #[serde(default)]
    pub slept: bool,
    /// An earlier engine began it.
    pub resumed: bool,
    /// When each part was done.
    pub times: Times,
    /// The first bad sign lies this much before `times.detected`: an earlier engine saw it. `None`: it is not known how much.
    pub lead: Option<Span>,
    /// How far the old primary's log can have come by the first bad sign.
    pub furthest: Option<Lsn>,
    /// What is known of the old primary: whether this failover was needed.
    pub judgement: Judgement,
    /// The whole reasoning behind it.
    pub evidence: Vec<String>,
}

/// What the journal keeps of a plan while it is carried out: enough for the next engine to finish it, to undo it, or to say to a
/// person where it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Its number.
    pub generation: Generation,
    /// Why it was begun.
    pub reason: Reason,
    /// The old primary.
    pub old: ServerId,
    /// The cluster's identity.
    pub system_id: u64,
    /// The timeline to leave.
    pub old_timeline: u32,
    /// What is required of the fence.
    pub require: FenceLevel,
    /// The furthest that the old primary's log can have come; `None`: it was not known.
    pub furthest: Option<Lsn>,
    /// Whose acknowledgements commits waited for.
    #[serde(default)]
    pub sync: Option<Acknowledging>,
    /// Up to here others than those may have acknowledged them.
    #[serde(default)]
    pub acknowledged_before: Lsn,
    /// Standbys that were receiving when it began.
    pub streaming: Vec<ServerId>,
    /// The old primary was to leave the route.
    pub route_touched: bool,
    /// The fence was begun.
    pub fence_tried: bool,
    /// The old primary, which lived, was asked to stop.
    #[serde(default)]
    pub stop_tried: bool,
    /// What the old primary's host shows was matched with the server while it lived.
    pub view_confirmed: bool,
    /// The standby whose promotion was begun: from there on nothing is undone.
    pub chosen: Option<Candidate>,
    /// How long ago the first bad sign was, when this is written or read; `None` from a journal that does not say.
    pub first_bad: Option<Span>,
    /// What was known of the old primary when it began; `None` from a journal that does not say.
    pub judgement: Option<Judgement>,
}

impl Begun {
    /// Whether it was needed, as far as the engine that began it knew.
    #[must_use]
    pub fn judged(&self) -> Judgement {
        self.judgement.clone().unwrap_or_else(|| Judgement {
            need: if self.reason.is_ordered() { Need::Forced } else { Need::Unknown },
            why: "an earlier engine began it, and this one did not ask".to_owned(),
            gone: false,
        })
    }

    /// The same, where its failure is confirmed once more. What is seen now counts only where nothing was known, and nobody had
    /// tried to fence it: a process that is gone may have been stopped by that fence.
    #[must_use]
    pub fn judged_again(&self, now: Judgement) -> Judgement {
        let then = self.judged();
        if then.need == Need::Unknown && !self.fence_tried { now } else { then }
    }
}

/// What the rest of a failed or finished plan needs to know of the settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of which kind the service is.
    pub kind: ServiceKind,
    /// The old primary lives and hands over.
    pub handover: bool,
    /// Pre-failover checks are configured.
    pub pre_checks: bool,
    /// The engine moves traffic.
    pub routed: bool,
    /// Traffic can be verified.
    pub verify: bool,
}

impl Plan {
    /// The first phase.
    #[must_use]
    pub fn first(settings: Settings) -> Phase {
        if settings.pre_checks { Phase::PreChecks } else { Plan::after_pre_checks(settings) }
    }

    /// The phase after the pre-failover checks.
    #[must_use]
    pub fn after_pre_checks(settings: Settings) -> Phase {
        if settings.handover { Phase::Checkpoint } else { Plan::after_checkpoint(settings) }
    }

    /// The phase after the checkpoint of a primary that hands over, with its clients still there.
    #[must_use]
    pub fn after_checkpoint(settings: Settings) -> Phase {
        match settings {
            Settings { routed: true, .. } => Phase::RouteOut,
            _ => Plan::after_route_out(settings),
        }
    }

    /// The phase in which the old primary of a database is stopped, one way or the other; of another kind, the next one.
    #[must_use]
    pub fn after_route_out(settings: Settings) -> Phase {
        settings.kind.rules().after_route_out(settings)
    }

    /// The phase after a proven write.
    #[must_use]
    pub fn after_write(settings: Settings) -> Phase {
        if settings.routed { Phase::RouteIn } else { Plan::after_route(settings) }
    }

    /// The phase after the route.
    #[must_use]
    pub fn after_route(settings: Settings) -> Phase {
        if settings.verify { Phase::VerifyTraffic } else { Phase::Over }
    }

    /// The phase after the choice: a proof of the fence that is not of this moment is taken again before anybody is promoted.
    #[must_use]
    pub fn before_promotion(&self, now: Mono) -> Phase {
        let is_fresh = self.proved_at.is_some_and(|at| now.since(at) <= PROOF_FRESH);
        if self.fence_level() == FenceLevel::ProvenStopped && !is_fresh { Phase::ProveAgain } else { Phase::Promote }
    }

    /// The engine did not run for a while. A person may have started the old primary meanwhile, or promoted a standby: what was looked at
    /// before is looked at again.
    pub(super) fn slept(&mut self) {
        self.proved_at = None;
        self.slept = self.action.is_some();
    }

    /// An action that looked at something is back, and the engine did not run meanwhile: the phase in which it is done again. `None`: it counts.
    #[must_use]
    pub fn look_again(&self, action: &Action) -> Option<Phase> {
        match action {
            _ if !self.slept || self.undoing.is_some() && self.phase != Phase::LookAround => None,
            // Who was chosen before may be another one now.
            Action::ProveFence { .. } => Some(Phase::Choose),
            Action::ReadPositions { .. } | Action::ReadReceipt { .. } => Some(self.phase),
            _ => None,
        }
    }

    /// Nobody is promoted but behind the fence that is required, or where its settings ask for none: said where that is established and
    /// once more right before the deed. A panic freezes decisions, and frozen beats two primaries.
    pub(super) fn assert_fenced(&self) {
        let waived = self.require <= FenceLevel::TrafficRemoved && (self.require == FenceLevel::None || !self.route_touched);
        let handed_over = self.handover.as_ref().is_some_and(|handover| handover.proven);
        let fenced = self.fence.as_ref().is_some_and(|report| report.level >= self.require || waived || handed_over);
        assert!(
            fenced,
            "{:?} is promoted without the fence that is required: {:?} of {:?}",
            self.chosen, self.fence, self.require
        );
    }

    /// Once it was asked to become the primary, nobody else is in this failover.
    pub(super) fn assert_no_other(&self, chosen: ServerId) {
        let other = self.committed.filter(|committed| *committed != chosen);
        assert!(other.is_none(), "{chosen} is promoted, and {other:?} may have been");
    }

    /// The present phase is tried again: soon at first, then with growing pauses.
    pub fn try_again(&mut self, now: Mono, why: impl Into<String>) {
        let tries = self.repeated().map_or(0, |repeat| repeat.tries) + 1;
        self.repeat = Some(Repeat { phase: self.phase, tries, at: now, why: why.into() });
        // Behind the promotion clients wait for nothing else.
        let longest = match self.phase {
            Phase::Choose => 1_000,
            phase if phase.is_past_no_return() => 400,
            _ => 2_000,
        };
        let pause = TRY_AGAIN.times(1 << tries.saturating_sub(3).min(8)).min(Span::from_millis(longest));
        self.retry_at = Some(now + pause);
    }

    /// What became of a step; `false` where it was told already.
    pub fn is_news(&mut self, server: Option<ServerId>, ok: bool, message: &str) -> bool {
        let told = Told { phase: self.phase, server, ok, message: message.to_owned() };
        match self.told.iter_mut().find(|before| before.phase == told.phase && before.server == server) {
            Some(before) if *before == told => false,
            Some(before) => {
                *before = told;
                true
            }
            None => {
                self.told.push(told);
                true
            }
        }
    }

    /// The last time that this was done in this phase did not work, or was not enough.
    #[must_use]
    pub fn is_retry(&self, server: Option<ServerId>) -> bool {
        let failed = |told: &Told| told.phase == self.phase && told.server == server && !told.ok;
        self.repeated().is_some() || self.told.iter().any(failed)
    }

    /// The tries of the present phase, where it is not the first.
    #[must_use]
    pub fn repeated(&self) -> Option<&Repeat> {
        self.repeat.as_ref().filter(|repeat| repeat.phase == self.phase)
    }

    /// The promoted server could not be verified for long, and why.
    pub fn long_unverified(&self, now: Mono) -> Option<String> {
        let promoted = self.times.promoted.filter(|at| now.since(*at) >= VERIFIED_WITHIN)?;
        let repeat = self.repeated()?;
        Some(format!("the promotion was {} ago, and tried {} times since: {}", now.since(promoted), repeat.tries, repeat.why))
    }

    /// What is given back is given back from here on, for a while also where that does not work at once.
    pub fn turn_round(&mut self, why: String, now: Mono) {
        self.phase = self.first_undo();
        self.undoing = Some(why);
        self.retry_at = None;
        self.undo_until = now + UNDO_FOR;
    }

    /// Nothing was done yet to the old primary, or nothing came of it: if it serves by an answer that was asked for at `asked`, it can be
    /// left alone.
    #[must_use]
    pub fn is_untouched(&self, asked: Mono) -> bool {
        match self.phase {
            Phase::PreChecks | Phase::RouteOut => !self.fence_tried,
            Phase::Fence => {
                self.action.is_none() && self.fence.is_none() && self.repeated().is_some_and(|repeat| repeat.at <= asked)
            }
            _ => false,
        }
    }

    /// The first compensation that is owed, in reverse order of what was done.
    #[must_use]
    pub fn first_undo(&self) -> Phase {
        if self.fence_tried { Phase::UndoFence } else { self.after_undo_fence() }
    }

    /// The compensation after the fence's.
    #[must_use]
    pub fn after_undo_fence(&self) -> Phase {
        if self.is_stop_owed() { Phase::UndoStop } else { self.after_undo_stop() }
    }

    /// The compensation after the stop's.
    #[must_use]
    pub fn after_undo_stop(&self) -> Phase {
        if self.route_touched { Phase::UndoRoute } else { Phase::Over }
    }

    /// Of an application: the standby serves. What a database calls promoted and written is one with it.
    pub(super) fn taken_over(&mut self) {
        self.times.promoted = self.times.routed;
        self.times.written = self.times.routed;
    }

    /// Behind its promotion the chosen server writes before a position that it had replayed then: it is not the one that was chosen. Who,
    /// and how far that one was.
    pub(crate) fn went_back(&self, flush: Lsn) -> Option<(ServerId, Lsn)> {
        let (chosen, replayed) =
            self.chosen.filter(|_| self.kind.holds_data()).and_then(|chosen| Some((chosen.server, chosen.replayed?)))?;
        (flush < replayed).then_some((chosen, replayed))
    }

    /// From here on nothing is undone.
    #[must_use]
    pub fn is_past_no_return(&self) -> bool {
        self.kind.holds_data() && self.phase.is_past_no_return()
    }

    /// A stop does not turn round what is this far: a database that is promoted, an application whose standby gets the traffic.
    #[must_use]
    pub fn goes_on_when_stopped(&self) -> bool {
        self.kind.rules().goes_on_when_stopped(self.phase)
    }

    /// From the first bad sign to `at`, as far as it is known.
    #[must_use]
    pub fn since_first_bad(&self, at: Mono) -> Span {
        at.since(self.times.detected) + self.lead.unwrap_or_default()
    }

    /// The fence level that is proven now. With every instance of an exclusive route proven, level 1.
    #[must_use]
    pub fn fence_level(&self) -> FenceLevel {
        self.fence.as_ref().map_or(FenceLevel::None, |report| report.level)
    }
}
