//! The queue of one receiver, on disk and in memory, between the thread that fills it and the thread that delivers.

use std::path::Path;
use std::time::Instant;

use crate::config::Delivery;
use crate::engine::render::EngineEvent;
use crate::sync::{Condvar, Mutex};

use super::outbox::{Cause, Gone, Outbox, Record};
use super::spool::Spool;

/// The mailbox of one receiver. It outlives a change of the receiver's settings.
pub(super) struct Mailbox {
    pub(super) name: String,
    state: Mutex<State>,
    changed: Condvar,
}

/// What it holds.
#[derive(Default)]
pub(super) struct State {
    pub(super) outbox: Outbox,
    spool: Option<Spool>,
    pub(super) numbers: Numbers,
    /// Why it cannot be written to disk.
    unsaved: Option<String>,
}

/// What is counted since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) delivered: u64,
    pub(super) messages: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) answer: String,
    pub(super) answered: Option<String>,
}

/// Events that are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) events: usize,
    pub(super) cause: Cause,
}

/// What came of a change.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) loss: Option<Loss>,
    /// What is to be said about the disk: it does not take what waits any more, or it does again (empty).
    pub(super) disk: Option<String>,
}

impl Mailbox {
    /// With what an earlier engine left. `None`: there is nowhere to write. The second part: what is to be said.
    pub(super) fn open(state_dir: Option<&Path>, name: &str, now: u64) -> (Mailbox, Outcome) {
        let mut state = State::default();
        let mut outcome = Outcome::default();
        match state_dir.map(|folder| Spool::open(folder, name)) {
            Some(Ok((spool, left))) => {
                (state.outbox, state.spool) = (left.outbox, Some(spool));
                state.outbox.not_after(now);
                if left.damaged > 0 {
                    state.numbers.lost += left.damaged as u64;
                    outcome.loss = Some(Loss { events: left.damaged, cause: Cause::Damaged });
                }
            }
            Some(Err(error)) => {
                state.unsaved = Some(error.to_string());
                outcome.disk = Some(error.to_string());
            }
            None => {
                let why = "the state directory cannot be used".to_owned();
                (state.unsaved, outcome.disk) = (Some(why.clone()), Some(why));
            }
        }
        (Mailbox { name: name.to_owned(), state: Mutex::new(state), changed: Condvar::new() }, outcome)
    }

    /// Looks at it, or changes what is in memory alone.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock())
    }

    /// Takes events in. What was taken in is on disk when this returns, if a disk takes it.
    pub(super) fn take_in(&self, delivery: &Delivery, events: &[(String, &EngineEvent)], now: u64) -> Outcome {
        let mut state = self.state.lock();
        let mut records = Vec::new();
        for (id, event) in events {
            let (changes, repeated) = state.outbox.offer(delivery, &self.name, event, id, now);
            state.numbers.repeated += u64::from(repeated);
            for change in &changes {
                state.outbox.apply(change);
            }
            records.extend(changes);
        }
        let mut outcome = Outcome::default();
        if let Some(gone) = state.outbox.too_many() {
            outcome.loss = state.lose(gone, Cause::QueueFull, &mut records);
        }
        if records.is_empty() {
            return outcome;
        }
        outcome.disk = state.save(&records);
        drop(state);
        self.changed.notify_all();
        outcome
    }

    /// What was being sent is there.
    pub(super) fn delivered(&self, answer: &str, time: String) -> Outcome {
        let mut state = self.state.lock();
        let gone = state.outbox.delivered();
        state.numbers.delivered += gone.ids.len() as u64;
        state.numbers.messages += 1;
        answer.clone_into(&mut state.numbers.answer);
        state.numbers.answered = Some(time);
        let record = Record::Gone(gone);
        state.outbox.apply(&record);
        Outcome { loss: None, disk: state.save(&[record]) }
    }

    /// It is not.
    pub(super) fn failed(&self, delivery: &Delivery, why: &str, refused: bool, now: u64, random: f64) -> Outcome {
        let mut state = self.state.lock();
        state.numbers.failed += 1;
        why.clone_into(&mut state.numbers.answer);
        let mut records = Vec::new();
        let mut outcome = Outcome::default();
        if let Some((gone, cause)) = state.outbox.failed(delivery, refused, now, random) {
            outcome.loss = state.lose(gone, cause, &mut records);
            outcome.disk = state.save(&records);
        }
        outcome
    }

    /// Waits until something changes, or until this moment. `is_over`: nobody waits any more.
    pub(super) fn wait(&self, until: Option<Instant>, is_over: impl Fn() -> bool, is_same: impl Fn(&State) -> bool) {
        let state = self.state.lock();
        if is_over() || !is_same(&state) {
            return;
        }
        match until {
            Some(until) => drop(self.changed.wait_until(state, until)),
            None => drop(self.changed.wait(state)),
        }
    }

    /// Somebody who waits looks again.
    pub(super) fn wake(&self) {
        // Under the lock: whoever has looked and does not wait yet is not missed.
        let state = self.state.lock();
        self.changed.notify_all();
        drop(state);
    }
}

impl State {
    fn lose(&mut self, gone: Gone, cause: Cause, records: &mut Vec<Record>) -> Option<Loss> {
        let events = gone.ids.len();
        if events == 0 {
            return None;
        }
        self.numbers.lost += events as u64;
        let record = Record::Gone(gone);
        self.outbox.apply(&record);
        records.push(record);
        Some(Loss { events, cause })
    }

    /// What is to be said about the disk, where that has changed.
    fn save(&mut self, records: &[Record]) -> Option<String> {
        let spool = self.spool.as_mut()?;
        let outcome = spool.write(records, &self.outbox).map_err(|error| error.to_string()).err();
        let changed = outcome.is_some() != self.unsaved.is_some();
        self.unsaved.clone_from(&outcome);
        changed.then(|| outcome.unwrap_or_default())
    }
}
