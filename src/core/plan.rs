//! What is known of a failover in flight: why it was begun, what was done, who was chosen. Its steps stand in `procedure`.

use super::candidate::{Candidate, Waiver};
use super::effects::{Effects, text};
use super::event::{EventKind, Field, Severity};
use super::handover::Handover;
use super::id::{Generation, ServerId};
use super::kind::ServiceKind;
use super::output::Action;
pub use super::procedure::course::{Course, Repeat, Told};
use super::procedure::{Next, Procedure, Table};
use super::reason::Reason;
use super::salvage::Salvage;
use super::sample::{FenceLevel, FenceReport, Lsn};
use super::service::{Service, VERIFIED_WITHIN};
use super::stats::{Judgement, Need};
use super::survival::Forked;
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
    /// The clients of a primary that hands over wait, and their transactions come to their end.
    CloseGate,
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
    /// What only the old primary's disk has is carried to a standby.
    Salvage,
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
    /// The other standbys are pointed to the new primary before commits stop waiting for them.
    RepointStandbys,
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

impl crate::procedure::Phase for Phase {
    const OVER: Phase = Phase::Over;
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
    /// How far it is.
    pub course: Course<Phase>,
    /// Of which kind the service is.
    #[serde(default)]
    pub kind: ServiceKind,
    /// Why it was begun.
    pub reason: Reason,
    /// The old primary.
    pub old: ServerId,
    /// The cluster's identity.
    pub system_id: u64,
    /// The timeline to leave.
    pub old_timeline: u32,
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
    /// What is carried over from the old primary's disk.
    #[serde(default)]
    pub salvage: Salvage,
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
    /// What its promotion showed; `None`: it was not the engine that promoted it.
    #[serde(default)]
    pub forked: Option<Forked>,
    /// The synchronous gate was opened.
    pub gate_opened: bool,
    /// The other standbys were pointed to the new primary, because its commits wait for them.
    #[serde(default)]
    pub repointed: bool,
    /// Those that were seen to stream from it, and when.
    #[serde(default)]
    pub following: Vec<(ServerId, Mono)>,
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
    /// When each part was done.
    pub times: Times,
    /// The first bad sign lies this much before `times.detected`: an earlier engine saw it. `None`: it is not known how much.
    pub lead: Option<Span>,
    /// How far the old primary's log can have come by the first bad sign.
    pub furthest: Option<Lsn>,
    /// What is known of the old primary: whether this failover was needed.
    pub judgement: Judgement,
}

/// What the journal keeps of a plan while it is carried out: enough for the next engine to finish it, to undo it, or to say to a
/// person where it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
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

impl Intent {
    /// Whether it was needed, as far as the engine that began it knew.
    #[must_use]
    pub fn judged(&self) -> Judgement {
        self.judgement.clone().unwrap_or_else(|| Judgement {
            need: match self.reason {
                Reason::Failed(_) => Need::Unknown,
                Reason::Forced | Reason::Followed => Need::Forced,
                Reason::Switchover => Need::Planned,
            },
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

impl Plan {
    /// One of which nothing is done yet.
    pub(crate) fn new(course: Course<Phase>, kind: ServiceKind, reason: Reason, old: ServerId, require: FenceLevel) -> Plan {
        Plan {
            course,
            kind,
            reason,
            old,
            system_id: 0,
            old_timeline: 0,
            waiver: Waiver::default(),
            require,
            host_silent: false,
            fence: None,
            route_touched: false,
            route_in_part: false,
            fence_tried: false,
            handover: None,
            salvage: Salvage::default(),
            chosen: None,
            refused: Vec::new(),
            unreached: Vec::new(),
            unverified: Vec::new(),
            stays: None,
            timeline: None,
            forked: None,
            gate_opened: false,
            repointed: false,
            following: Vec::new(),
            lives: false,
            nobody_left: false,
            ended: None,
            committed: None,
            proved_at: None,
            times: Times::default(),
            lead: None,
            furthest: None,
            judgement: Judgement::default(),
        }
    }

    /// The proof of the fence is not of this moment: it is taken again before anybody is promoted.
    #[must_use]
    pub fn is_proof_owed(&self, now: Mono) -> bool {
        let is_fresh = self.proved_at.is_some_and(|at| now.since(at) <= PROOF_FRESH);
        self.fence_level() == FenceLevel::ProvenStopped && !is_fresh
    }

    /// The engine did not run for a while. A person may have started the old primary meanwhile, or promoted a standby: what was looked at
    /// before is looked at again.
    pub(super) fn slept(&mut self) {
        self.proved_at = None;
        self.course.slept = self.course.action.is_some();
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

    /// The promoted server could not be verified for long, and why.
    pub fn long_unverified(&self, now: Mono) -> Option<String> {
        let promoted = self.times.promoted.filter(|at| now.since(*at) >= VERIFIED_WITHIN)?;
        let repeat = self.course.repeated()?;
        Some(format!("the promotion was {} ago, and tried {} times since: {}", now.since(promoted), repeat.tries, repeat.why))
    }

    /// Nothing was done yet to the old primary, or nothing came of it: if it serves by an answer that was asked for at `asked`, it can be
    /// left alone.
    #[must_use]
    pub fn is_untouched(&self, asked: Mono) -> bool {
        match self.course.phase {
            Phase::PreChecks | Phase::RouteOut => !self.fence_tried,
            Phase::Fence => {
                self.course.action.is_none()
                    && self.fence.is_none()
                    && self.course.repeated().is_some_and(|repeat| repeat.at <= asked)
            }
            _ => false,
        }
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

/// What a kind of service does its own way when its primary is replaced: a table of steps, and what is said at its ends.
pub(crate) trait Takeover: Sync {
    /// The steps.
    fn table(&self) -> &'static Table<Plan>;
    /// From the choice on the next engine has to know whom: this action begins to change who has the traffic, or the data.
    fn names_chosen(&self, action: &Action) -> bool;
    /// Until when it can be undone, for people.
    fn stops_before(&self) -> &'static str;
    /// One that cannot be undone stops: where it stands, for people.
    fn stuck(&self) -> &'static str;
    /// Its time is over, and it can still be undone.
    fn out_of_time(&self, service: &mut Service, plan: &mut Plan, why: String, fx: &mut Effects) -> Next<Phase>;
    /// A standby has taken over: what its old primary is from now on.
    fn deposed(&self, service: &mut Service, plan: &Plan);
    /// Says that it is completed.
    fn completed(&self, service: &Service, plan: &Plan, chosen: &Candidate, end: Mono, fx: &mut Effects);
    /// One whose standby was chosen by an earlier engine goes on: how it is told, and where.
    fn resumes_at(&self) -> (&'static str, Phase);
}

impl Procedure for Plan {
    type Phase = Phase;

    fn slot(service: &mut Service) -> &mut Option<Plan> {
        &mut service.run.plan
    }

    fn course(&self) -> &Course<Phase> {
        &self.course
    }

    fn course_mut(&mut self) -> &mut Course<Phase> {
        &mut self.course
    }

    fn table(&self) -> &'static Table<Plan> {
        self.takeover().table()
    }

    fn begins(&mut self, action: &Action, now: Mono) {
        match action {
            Action::CloseGate { .. } | Action::RouteOut { .. } => self.route_touched = true,
            Action::RouteIn { .. } => {
                self.route_touched = true;
                self.times.entered.get_or_insert(now);
            }
            Action::Fence { .. } => self.fence_tried = true,
            Action::Salvage { server, patience, .. } => {
                assert!(
                    self.fence_level() == FenceLevel::ProvenStopped,
                    "the log of {} is read, and its fence is {:?}",
                    self.old,
                    self.fence
                );
                if !self.salvage.spooled.contains(server) {
                    self.salvage.spooled.push(*server);
                }
                self.salvage.until.get_or_insert(now + *patience);
                self.salvage.began = Some(now);
            }
            Action::Promote { server, .. } => {
                self.assert_fenced();
                self.assert_no_other(*server);
                let generation = self.course.generation;
                assert!(self.course.undoing.is_none(), "{server} is promoted while failover {generation} is undone");
            }
            Action::RouteRestore { .. } | Action::FenceUndo { .. } | Action::StartServer { .. } => {
                assert!(self.committed.is_none(), "{action:?}, and a promotion may have begun");
            }
            Action::StopServer { .. } => {
                if let Some(handover) = &mut self.handover {
                    handover.stop_tried = true;
                }
            }
            _ => {}
        }
    }

    fn names_chosen(&self, action: &Action) -> Option<Candidate> {
        self.chosen.filter(|_| self.takeover().names_chosen(action))
    }

    fn look_again(&mut self, action: &Action) -> Option<Phase> {
        let phase = match action {
            _ if !self.course.slept || self.course.undoing.is_some() && self.course.phase != Phase::LookAround => return None,
            // Who was chosen before may be another one now.
            Action::ProveFence { .. } => Phase::Choose,
            // Somebody may have started the old primary meanwhile.
            Action::Salvage { .. } => {
                self.salvage.forget();
                Phase::Choose
            }
            Action::ReadPositions { .. } | Action::ReadReceipt { .. } => self.course.phase,
            _ => return None,
        };
        if phase == Phase::Choose {
            self.chosen = None;
        }
        Some(phase)
    }

    fn out_of_time(&mut self, service: &mut Service, why: String, fx: &mut Effects) -> Next<Phase> {
        self.takeover().out_of_time(service, self, why, fx)
    }

    fn limit(&self, service: &Service) -> String {
        format!("failover_timeout ({})", service.model.trigger.failover_timeout)
    }

    fn required_fence(&self) -> FenceLevel {
        self.require
    }

    fn waits(&self, service: &mut Service, fx: &mut Effects) {
        if let Some(why) = self.long_unverified(fx.now) {
            service.call_for_help(&why, fx);
        }
    }

    /// A promotion that was begun, by this engine or an earlier one, may still take effect: nothing may be given back to the old primary.
    fn may_turn_round(&self) -> bool {
        self.committed.is_none()
    }

    fn turns_round(&self, service: &Service, why: &str, fx: &mut Effects) {
        let (generation, before) = (self.course.generation, self.takeover().stops_before());
        assert!(self.committed.is_none(), "failover {generation} is undone, and a promotion may have begun");
        fx.emit(
            EventKind::FailoverFailed,
            Severity::Alarm,
            service.about(),
            format!("{}: failover {generation} stops{before}: {why}", service.model.name),
            vec![("why", text(why)), ("promoted", Field::Bool(false))],
        );
    }

    fn ended(self, service: &mut Service, end: End, fx: &mut Effects) {
        service.finish(self, end, fx);
    }
}

impl Plan {
    pub(crate) fn takeover(&self) -> &'static dyn Takeover {
        self.kind.rules().takeover()
    }
}
