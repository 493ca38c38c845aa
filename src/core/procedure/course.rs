//! How far a run is: what every procedure has, whatever it does.

use serde::{Deserialize, Serialize};

use crate::id::{ActionId, Generation, ServerId};
use crate::output::Action;
use crate::time::{Mono, Span};

/// Between two tries of a step: the first pause, which doubles after the third try.
const TRY_AGAIN: Span = Span::from_millis(200);
/// And at most, where the step says nothing else.
pub(crate) const PAUSE: Span = Span::from_millis(2_000);
/// Compensations are tried again for so long.
const UNDO_FOR: Span = Span::from_millis(30_000);
/// Lines kept of warnings.
const LINES: usize = 64;

/// What a step came to the last time: what comes to the same again is told once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told<S> {
    /// In which step.
    pub phase: S,
    /// Of which server.
    pub server: Option<ServerId>,
    /// It worked.
    pub ok: bool,
    /// As it was told.
    pub message: String,
}

/// A step that did not come to its end and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat<S> {
    /// Which.
    pub phase: S,
    /// How often it was tried.
    pub tries: u32,
    /// When the last try ended.
    pub at: Mono,
    /// Why it is tried again.
    pub why: String,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course<S> {
    /// Its number.
    pub generation: Generation,
    /// Where it stands.
    pub phase: S,
    /// The action under way and its deadline.
    pub action: Option<(ActionId, Action, Mono)>,
    /// When to try the step again.
    pub retry_at: Option<Mono>,
    /// The step that is tried again, until another one begins.
    pub repeat: Option<Repeat<S>>,
    /// What each step came to, as it was told last.
    pub told: Vec<Told<S>>,
    /// The end of the time that it may take.
    pub deadline: Mono,
    /// How far a long step is: done, and of how much in all.
    #[serde(default)]
    pub progress: Option<(u64, u64)>,
    /// Why it is being undone.
    pub undoing: Option<String>,
    /// Until then compensations are tried again.
    pub undo_until: Mono,
    /// Compensations that failed.
    pub undo_failures: Vec<String>,
    /// Warnings on the way: things that went wrong and did not stop it.
    pub warnings: Vec<String>,
    /// The engine wants to stop: undo before the point of no return.
    pub stop_asked: bool,
    /// The engine did not run while the action was under way: what it found may be of before.
    pub slept: bool,
    /// An earlier engine began it.
    pub resumed: bool,
    /// The whole reasoning behind it.
    pub evidence: Vec<String>,
}

impl<S: Copy + Eq> Course<S> {
    /// One that begins, and may take so long.
    pub(crate) fn new(generation: Generation, phase: S, limit: Span, now: Mono) -> Course<S> {
        Course {
            generation,
            phase,
            action: None,
            retry_at: None,
            repeat: None,
            told: Vec::new(),
            deadline: now + limit,
            progress: None,
            undoing: None,
            undo_until: now,
            undo_failures: Vec::new(),
            warnings: Vec::new(),
            stop_asked: false,
            slept: false,
            resumed: false,
            evidence: Vec::new(),
        }
    }

    /// This step is tried again: soon at first, then with growing pauses, `longest` at most.
    pub(crate) fn try_again(&mut self, phase: S, why: String, longest: Span, now: Mono) {
        self.phase = phase;
        let tries = self.repeated().map_or(0, |repeat| repeat.tries) + 1;
        self.repeat = Some(Repeat { phase, tries, at: now, why });
        let pause = TRY_AGAIN.times(1 << tries.saturating_sub(3).min(8)).min(longest);
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

    /// The last time that this was done in this step did not work, or was not enough.
    #[must_use]
    pub fn is_retry(&self, server: Option<ServerId>) -> bool {
        let failed = |told: &Told<S>| told.phase == self.phase && told.server == server && !told.ok;
        self.repeated().is_some() || self.told.iter().any(failed)
    }

    /// The tries of the present step, where it is not the first.
    #[must_use]
    pub fn repeated(&self) -> Option<&Repeat<S>> {
        self.repeat.as_ref().filter(|repeat| repeat.phase == self.phase)
    }

    /// What is given back is given back from here on, for a while also where that does not work at once.
    pub(crate) fn turn_round(&mut self, why: String, first: S, now: Mono) {
        self.phase = first;
        self.undoing = Some(why);
        self.retry_at = None;
        self.undo_until = now + UNDO_FOR;
    }

    /// A long step is so far. While it gets on it has `patience` to get on further.
    pub(crate) fn progressed(&mut self, done: u64, all: u64, patience: Span, now: Mono) {
        if self.progress.is_none_or(|(before, _)| done > before) {
            self.deadline = now + patience;
        }
        self.progress = Some((done, all));
    }

    pub(crate) fn warn(&mut self, line: String) {
        note_once(&mut self.warnings, line);
    }
}

fn note_once(list: &mut Vec<String>, line: String) {
    if list.len() < LINES && !list.contains(&line) {
        list.push(line);
    }
}
