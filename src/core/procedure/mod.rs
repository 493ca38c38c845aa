//! Procedures: what is done in several steps, each with its time limit, what its outcomes mean, and how it is undone.
//!
//! A procedure is one file with its table ([`Table`]); [`drive`] carries out any of them: it starts the action of the present step, gives
//! up what is late, tries again while there is time, undoes in reverse order, stops, and writes each step into the journal before it is
//! done.

#![allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value, reason = "the functions of a table have one shape")]

mod begin;
pub(crate) mod course;
pub(crate) mod drive;
mod end;
pub(crate) mod failover;
pub(crate) mod handover;
pub(crate) mod r#move;
pub(crate) mod rejoin;
mod report;
mod salvage;
mod slots;
mod switchover;
pub(crate) mod task;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use begin::describe;

use std::fmt::Debug;

use super::candidate::Candidate;
use super::effects::Effects;
use super::output::{Action, Failure, Report};
use super::plan::End;
use super::sample::FenceLevel;
use super::service::Service;
use super::time::{Mono, Span};
use course::Course;

/// What came of an action.
pub(crate) type Outcome = Result<Report, Failure>;

/// The names of a procedure's steps.
pub(crate) trait Phase: Copy + Eq + Debug + 'static {
    /// Nothing is left to do.
    const OVER: Self;
}

/// What is carried out by a table of steps.
pub(crate) trait Procedure: Sized + 'static {
    /// The names of its steps.
    type Phase: Phase;

    /// Where the one that is under way is kept.
    fn slot(service: &mut Service) -> &mut Option<Self>;
    /// How far it is.
    fn course(&self) -> &Course<Self::Phase>;
    /// How far it is.
    fn course_mut(&mut self) -> &mut Course<Self::Phase>;
    /// Its steps.
    fn table(&self) -> &'static Table<Self>;

    /// An action begins: what must be known of it whatever comes of it.
    fn begins(&mut self, _: &Action, _: Mono) {}
    /// Whom the next engine has to know from this action on.
    fn names_chosen(&self, _: &Action) -> Option<Candidate> {
        None
    }
    /// The engine did not run while the action was under way, and what it saw may be of before: the step that is done again.
    fn look_again(&mut self, _: &Action) -> Option<Self::Phase> {
        None
    }
    /// It is a failover: its steps are told, and written into the journal, as those of one.
    fn is_recorded(&self) -> bool {
        true
    }
    /// Something more important came: no further step is begun, and [`Step::without`] says what follows.
    fn hindered(&self, _: &Service) -> bool {
        false
    }
    /// Its present step is about to begin: what the next engine has to know before that.
    fn enters(&mut self, _: &mut Service, _: &mut Effects) {}
    /// Its time is over before the point of no return.
    fn out_of_time(&mut self, _: &mut Service, why: String, _: &mut Effects) -> Next<Self::Phase> {
        Next::Undo(why)
    }
    /// The time that it may take, for people.
    fn limit(&self, service: &Service) -> String;
    /// The fence that is asked for, where one is.
    fn required_fence(&self) -> FenceLevel {
        FenceLevel::None
    }
    /// It waits for its next try.
    fn waits(&self, _: &mut Service, _: &mut Effects) {}
    /// What was done may be undone.
    fn may_turn_round(&self) -> bool {
        true
    }
    /// It stops, and what was done is undone from here on.
    fn turns_round(&self, _: &Service, _why: &str, _: &mut Effects) {}
    /// It is over.
    fn ended(self, service: &mut Service, end: End, fx: &mut Effects);
}

/// Carries the outcome of a step's action to what is done next.
pub(crate) type Judge<P> = fn(&mut Service, &mut P, Outcome, &mut Effects) -> Next<<P as Procedure>::Phase>;

/// One step of a procedure.
pub(crate) struct Step<P: Procedure> {
    /// Its name.
    pub phase: P::Phase,
    /// Whether it is taken.
    pub when: When<P>,
    /// Its action and the time limit of that; `None`: [`Step::without`] says what follows.
    pub action: fn(&Service, &P) -> Option<(Action, Span)>,
    /// What the outcomes of the action mean.
    pub outcome: Judge<P>,
    /// What follows where there is no action.
    pub without: fn(&mut Service, &mut P, &mut Effects) -> Next<P::Phase>,
    /// Between two tries, at most.
    pub pause: Span,
    /// How it is undone.
    pub undone_by: Option<Compensation<P>>,
}

/// Whether a step is taken when its turn comes.
pub(crate) enum When<P: Procedure> {
    /// In every run.
    Always,
    /// Where that holds when the step before it is done.
    If(fn(&Service, &P, Mono) -> bool),
    /// Only where another step sends there.
    Sent,
}

/// How a step is undone.
pub(crate) struct Compensation<P: Procedure> {
    /// Its name.
    pub phase: P::Phase,
    /// There is something to undo.
    pub owed: fn(&P) -> bool,
    /// Its action and the time limit of that.
    pub action: fn(&Service, &P) -> Option<(Action, Span)>,
    /// What the outcomes of the action mean.
    pub outcome: Judge<P>,
}

/// The steps of a procedure, in their order.
pub(crate) struct Table<P: Procedure> {
    /// In this order; undone in reverse order.
    pub steps: &'static [Step<P>],
    /// From this step on nothing is undone; its action is the point of no return. `None`: all can be undone.
    pub no_return: Option<P::Phase>,
    /// From this step on it goes on where the engine is to stop, as long as it gets on. `None`: a stop turns it round everywhere.
    pub goes_on: Option<P::Phase>,
    /// What a stop does to it before that.
    pub on_stop: OnStop,
}

/// What becomes of a run where the engine is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnStop {
    /// What was done is undone.
    Undone,
    /// It stays as it is, and the next engine goes on with it: what is durable says where.
    LeftToTheNext,
}

/// What is done next.
pub(crate) enum Next<S> {
    /// The next step that is to be taken; while it is undone, the next compensation that is owed.
    Onward,
    /// This step.
    To(S),
    /// The first step from this one on that is to be taken.
    From(S),
    /// This step, at this moment.
    At(S, Mono),
    /// This step, for the reason given: soon at first, then with growing pauses.
    Again(S, String),
    /// Stop, and undo what was done.
    Undo(String),
    /// It is over.
    End(End),
}

impl<P: Procedure> Table<P> {
    fn at(&self, phase: P::Phase) -> Option<usize> {
        self.steps.iter().position(|step| step.phase == phase)
    }

    fn step(&self, phase: P::Phase) -> Option<&Step<P>> {
        self.steps.iter().find(|step| step.phase == phase)
    }

    fn compensation(&self, phase: P::Phase) -> Option<&Compensation<P>> {
        self.steps.iter().filter_map(|step| step.undone_by.as_ref()).find(|undo| undo.phase == phase)
    }

    fn is_from(&self, first: Option<P::Phase>, phase: P::Phase) -> bool {
        let first = first.and_then(|first| self.at(first));
        first.zip(self.at(phase)).is_some_and(|(first, at)| at >= first)
    }

    /// Nothing is undone any more.
    pub(crate) fn is_past_no_return(&self, phase: P::Phase) -> bool {
        self.is_from(self.no_return, phase)
    }

    /// A stopping engine carries it on.
    pub(crate) fn goes_on(&self, phase: P::Phase) -> bool {
        self.is_from(self.goes_on, phase)
    }

    /// The first step from `at` on that is to be taken.
    fn taken_from(&self, at: usize, service: &Service, run: &P, now: Mono) -> P::Phase {
        let taken = |step: &&Step<P>| match step.when {
            When::Always => true,
            When::If(holds) => holds(service, run, now),
            When::Sent => false,
        };
        self.steps.iter().skip(at).find(taken).map_or(P::Phase::OVER, |step| step.phase)
    }

    /// The first step of a run.
    pub(crate) fn first(&self, service: &Service, run: &P, now: Mono) -> P::Phase {
        self.taken_from(0, service, run, now)
    }

    /// The compensation that is owed next, in reverse order of the steps: the first one, or the one after `done`.
    pub(crate) fn owed(&self, run: &P, done: Option<P::Phase>) -> P::Phase {
        let compensations = || self.steps.iter().rev().filter_map(|step| step.undone_by.as_ref());
        let skipped = done.and_then(|done| compensations().position(|undo| undo.phase == done)).map_or(0, |at| at + 1);
        compensations().skip(skipped).find(|undo| (undo.owed)(run)).map_or(P::Phase::OVER, |undo| undo.phase)
    }

    /// Between two tries of a step, at most.
    fn pause(&self, phase: P::Phase) -> Span {
        self.step(phase).map_or(course::PAUSE, |step| step.pause)
    }
}

/// There is nothing to do in this step, and there should be.
pub(crate) fn nothing<P: Procedure>(_: &mut Service, run: &mut P, _: &mut Effects) -> Next<P::Phase> {
    let phase = run.course().phase;
    let why = format!("nothing to act on in {phase:?}");
    if run.table().is_past_no_return(phase) { Next::End(End::Stuck { why }) } else { Next::Undo(why) }
}
