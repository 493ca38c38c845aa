//! Numbers about failovers, each defined once (rule 82):
//!
//! - *MTTD*: from the first bad observation to the confirmation.
//! - *MTTR*: from the first bad observation to the moment the traffic was verified.
//! - *success*: all three verdicts hold at the end: new connections, data, traffic (rule 43).
//! - *false positive*: a failover whose old primary is shown, then or later, to have been serving: its log advanced after the first
//!   bad observation, or somebody saw it serve.
//!
//! A forced failover and a switchover are an operator's: each is counted by itself, and is in none of the four. One that was only stopped, because the engine was
//! told to stop or the primary lived when the next engine came, is none that succeeded or failed. Where there is nothing to verify the
//! traffic through, a completed failover has only two verdicts: it is counted by itself and is in neither MTTR nor the success rate.

use super::evidence::{FailureClass, Suspicion};
use super::id::{Generation, ServerId};
use super::output::EndedHow;
use super::plan::{Intent, Plan};
use super::reason::Reason;
use super::sample::{LocalAnswer, Lsn, ProcessState};
use super::time::{Mono, Span};
use super::words::UnknownWord;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A moment that may lie before the engine was started, where its clock has no number for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What is remembered of it: itself, or when an earlier engine's memory of it was read.
    pub at: Mono,
    /// It lies this much before that.
    pub lead: Span,
}

impl Mark {
    /// How long ago it was.
    #[must_use]
    pub fn age(self, now: Mono) -> Span {
        now.since(self.at) + self.lead
    }
}

/// Spans of one kind: how many, their sum, the longest and the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    /// How many.
    pub count: u64,
    /// Together.
    pub sum: Span,
    /// The longest.
    pub longest: Span,
    /// The last one.
    pub last: Option<Span>,
}

impl Spans {
    /// One more.
    pub fn add(&mut self, span: Span) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum + span;
        self.longest = self.longest.max(span);
        self.last = Some(span);
    }

    /// Their mean; `None` without any.
    #[must_use]
    pub fn mean(&self) -> Option<Span> {
        (self.count > 0).then(|| self.sum.part(self.count))
    }
}

/// Whether a failover was needed, by what is known of the old primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Need {
    /// Nothing shows whether the old primary was serving.
    #[default]
    Unknown,
    /// The old primary was shown not to be serving.
    Justified,
    /// The old primary was shown to have been serving: a false positive.
    FalsePositive,
    /// An operator wanted it, or the service that it follows moved.
    Forced,
    /// It was planned work.
    Planned,
}

impl Need {
    /// The word used in status, events, journal and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Need::Unknown => "unknown",
            Need::Justified => "justified",
            Need::FalsePositive => "false_positive",
            Need::Forced => "forced",
            Need::Planned => "planned",
        }
    }

    /// Nobody asks whether it was needed: somebody ordered it.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        matches!(self, Need::Forced | Need::Planned)
    }
}

impl FromStr for Need {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Need, UnknownWord> {
        let every = [Need::Unknown, Need::Justified, Need::FalsePositive, Need::Forced, Need::Planned];
        every.into_iter().find(|need| need.as_str() == word).ok_or(UnknownWord)
    }
}

/// What is known of the old primary of one failover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether the failover was needed.
    pub need: Need,
    /// What shows it, in one sentence.
    pub why: String,
    /// Its process was said to be gone: one that turns up again contradicts that.
    pub gone: bool,
}

impl Judgement {
    /// What a server of an application showed of itself: nobody asks its host.
    #[must_use]
    pub fn of_application(reason: Reason) -> Judgement {
        let (need, why) = match reason {
            Reason::Forced => (Need::Forced, "an operator forced it"),
            Reason::Switchover => (Need::Planned, "an operator ordered a switchover"),
            Reason::Followed => (Need::Forced, "the service that it follows has a new primary"),
            Reason::Failed(FailureClass::Dead) => (Need::Justified, "it refused every connection, or broke it off"),
            Reason::Failed(FailureClass::Unusable) => (Need::Justified, "its own answers said that it did not serve"),
            Reason::Failed(_) => (Need::Unknown, "it gave no answer, and nobody knows whether it served others"),
        };
        Judgement { need, why: why.to_owned(), gone: false }
    }

    /// What the host said of the old process before anything was done to it.
    #[must_use]
    pub fn at_first(reason: Reason, suspicion: &Suspicion) -> Judgement {
        let judged = |need, why: &str| Judgement { need, why: why.to_owned(), gone: false };
        if reason.is_ordered() {
            return Judgement::of_application(reason);
        }
        let Some(report) = suspicion.report() else {
            return judged(Need::Unknown, "its host did not report its state");
        };
        match (report.postmaster, report.local_answer) {
            (ProcessState::Gone, _) => {
                Judgement { gone: true, ..judged(Need::Justified, "its host said that its postmaster was gone") }
            }
            (ProcessState::Stopped, _) => judged(Need::Justified, "its host showed its postmaster stopped (state T)"),
            (ProcessState::Running, LocalAnswer::Accepting) => judged(Need::FalsePositive, "it answered on its own host"),
            (ProcessState::Running, LocalAnswer::Silent) => judged(Need::Justified, "it did not answer on its own host either"),
            (ProcessState::Running | ProcessState::Uninterruptible, _) => {
                judged(Need::Unknown, "its postmaster was there, and nobody knows whether it served")
            }
        }
    }
}

/// The last failover that ended, as long as its old primary may still say something about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Its number.
    pub generation: Generation,
    /// The old primary.
    pub old: ServerId,
    /// What is known of it.
    pub judgement: Judgement,
    /// The first bad observation.
    pub since: Mark,
    /// The timeline that was left.
    pub timeline: u32,
    /// How far the old primary's log can have come by then; `None`: not known.
    pub furthest: Option<Lsn>,
}

impl Judged {
    /// What a former primary says when it takes writes again on its old timeline, `age` after its start: only a process that was
    /// there all the time says something about that time.
    pub fn returned(&mut self, flush: Option<Lsn>, timeline: u32, age: Option<Span>, now: Mono) -> bool {
        let lived_on = age.is_some_and(|age| age > self.since.age(now) + CLOCKS);
        if !lived_on
            || timeline != self.timeline
            || self.judgement.need.is_ordered()
            || self.judgement.need == Need::FalsePositive
        {
            return false;
        }
        // A process that was stopped, and is not any more, has written since: that is no service at the time.
        let was_away = self.judgement.need == Need::Justified && !self.judgement.gone;
        let advanced = flush.zip(self.furthest).filter(|(flush, furthest)| flush > furthest);
        match advanced {
            Some((flush, furthest)) if !was_away => {
                let why = format!(
                    "it came back as the process that it was, and its log had gone on: from at most {furthest} at the first bad sign to {flush}"
                );
                self.judgement = Judgement { need: Need::FalsePositive, why, gone: false };
                true
            }
            _ => false,
        }
    }
}

/// Clocks run apart by less than this between a failover and the return of its old primary.
const CLOCKS: Span = Span::from_millis(1_000);

/// The numbers of one service. They outlive the engine in its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Failovers that ended with every step done.
    pub completed: u64,
    /// Those of them after which the traffic was verified: all three verdicts.
    pub verified: u64,
    /// Failovers that ended before the promotion, and were undone.
    pub rolled_back: u64,
    /// Failovers that a person has to finish.
    pub manual_intervention: u64,
    /// Failovers that were only stopped.
    pub stopped: u64,
    /// Those of the ended that an operator forced.
    pub forced: u64,
    /// Those of the forced that completed.
    pub forced_completed: u64,
    /// Those of the ended that were switchovers.
    pub planned: u64,
    /// Those of the switchovers that completed.
    pub planned_completed: u64,
    /// Those of the completed, and not ordered, whose traffic could not be verified: there was nothing to verify it through.
    pub unverifiable: u64,
    /// First bad observation to confirmation.
    pub detect: Spans,
    /// First bad observation to verified traffic.
    pub repair: Spans,
    /// Failovers whose old primary was shown not to be serving.
    pub justified: u64,
    /// Failovers whose old primary was shown to have been serving.
    pub false_positives: u64,
    /// Failovers of which neither is known.
    pub unjudged: u64,
    /// The last one.
    pub last: Option<Judged>,
}

impl Stats {
    /// A failover ended as `how`. One that was counted before, by an engine that ended in the same moment, is not counted again.
    pub(crate) fn ended(&mut self, plan: &Plan, how: EndedHow) {
        if self.last.as_ref().is_some_and(|last| last.generation >= plan.course.generation) {
            return;
        }
        // Also where the fence of an earlier engine stopped the primary, and its death was confirmed then.
        let need = plan.judgement.need;
        let ordered = need.is_ordered();
        let verified = how == EndedHow::Completed && plan.times.verified.is_some() && plan.times.written.is_some();
        self.count(how, need);
        if how == EndedHow::Completed && !ordered {
            self.verified += u64::from(verified);
            self.unverifiable += u64::from(!verified);
        }
        if let (Some(end), Some(lead)) = (plan.times.verified.filter(|_| verified && !ordered), plan.lead) {
            self.repair.add(end.since(plan.times.detected) + lead);
        }
        self.judge(how, need);
        let since = Mark { at: plan.times.detected, lead: plan.lead.unwrap_or_default() };
        let last = Judged {
            generation: plan.course.generation,
            old: plan.old,
            judgement: plan.judgement.clone(),
            since,
            timeline: plan.old_timeline,
            // One that was only stopped is not judged, whatever comes.
            furthest: plan.furthest.filter(|_| how != EndedHow::Stopped && plan.lead.is_some()),
        };
        self.last = Some(last);
    }

    /// A failover that an earlier engine began, as read at `at`, ended with a call for a person.
    pub(crate) fn given_up(&mut self, begun: &Intent, at: Mono) {
        if self.last.as_ref().is_some_and(|last| last.generation >= begun.generation) {
            return;
        }
        let judgement = begun.judged();
        self.count(EndedHow::ManualIntervention, judgement.need);
        self.judge(EndedHow::ManualIntervention, judgement.need);
        self.last = Some(Judged {
            generation: begun.generation,
            old: begun.old,
            judgement,
            since: Mark { at, lead: begun.first_bad.unwrap_or_default() },
            timeline: begun.old_timeline,
            // Without the moment of the first bad sign nobody can say what its log did since.
            furthest: begun.furthest.filter(|_| begun.first_bad.is_some()),
        });
    }

    fn count(&mut self, how: EndedHow, need: Need) {
        let counter = match how {
            EndedHow::Completed => &mut self.completed,
            EndedHow::RolledBack => &mut self.rolled_back,
            EndedHow::Stopped => &mut self.stopped,
            EndedHow::ManualIntervention => &mut self.manual_intervention,
        };
        *counter = counter.saturating_add(1);
        let (ended, completed) = match need {
            _ if how == EndedHow::Stopped => return,
            Need::Forced => (&mut self.forced, &mut self.forced_completed),
            Need::Planned => (&mut self.planned, &mut self.planned_completed),
            Need::Unknown | Need::Justified | Need::FalsePositive => return,
        };
        *ended += 1;
        *completed += u64::from(how == EndedHow::Completed);
    }

    fn judge(&mut self, how: EndedHow, need: Need) {
        let counter = match need {
            _ if how == EndedHow::Stopped => return,
            Need::Forced | Need::Planned => return,
            Need::Unknown => &mut self.unjudged,
            Need::Justified => &mut self.justified,
            Need::FalsePositive => &mut self.false_positives,
        };
        *counter = counter.saturating_add(1);
    }

    /// A former primary is back: true if that shows that the last failover was not needed.
    pub(crate) fn old_primary_said(
        &mut self,
        server: ServerId,
        flush: Option<Lsn>,
        timeline: u32,
        age: Option<Span>,
        now: Mono,
    ) -> bool {
        let Some(last) = self.last.as_mut().filter(|last| last.old == server) else { return false };
        let before = last.judgement.need;
        if !last.returned(flush, timeline, age, now) {
            return false;
        }
        let counter = if before == Need::Unknown { &mut self.unjudged } else { &mut self.justified };
        *counter = counter.saturating_sub(1);
        self.false_positives = self.false_positives.saturating_add(1);
        true
    }

    /// Failovers that succeeded, and those that could have: the rate is their quotient.
    #[must_use]
    pub fn success(&self) -> (u64, u64) {
        let ended = self.completed + self.rolled_back + self.manual_intervention;
        (self.verified, ended.saturating_sub(self.forced + self.planned).saturating_sub(self.unverifiable))
    }

    /// False positives, and all failovers that could have been one: the rate is their quotient.
    #[must_use]
    pub fn false_positive(&self) -> (u64, u64) {
        (self.false_positives, self.false_positives + self.justified + self.unjudged)
    }
}
