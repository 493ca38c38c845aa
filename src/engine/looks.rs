//! The looks that a program takes beside its engine ([`Engine::check_all`](super::Engine::check_all)): one at a time, ended by a stop, and
//! their threads are waited for like the engine's own.

use std::time::Duration;

use crate::deadline::{Cancel, Deadline};
use crate::sync::{Condvar, Mutex};

use super::error::EngineError;
use super::threads::Threads;

/// So many looks may have left a thread behind, in a function of the host program that does not come back. Then no other one begins.
const LEFT: usize = 8;

/// The looks of one engine.
#[derive(Default)]
pub(crate) struct Looks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The engine was asked to stop.
    over: bool,
    /// One is under way that others wait for.
    busy: bool,
    /// The number of the last one.
    last: u64,
    /// Those under way, and those that left threads behind.
    begun: Vec<Begun>,
}

struct Begun {
    number: u64,
    cancel: Cancel,
    threads: Threads,
    ended: bool,
}

/// One look: by when it is over, what ends it before, and its threads.
pub(crate) struct Look {
    number: u64,
    pub(crate) deadline: Deadline,
    pub(crate) cancel: Cancel,
    pub(crate) threads: Threads,
}

impl Look {
    /// Whether it was left in peace to the end. `of_all`: it was one at every service.
    ///
    /// # Errors
    /// [`EngineError::State`] where the engine was stopped meanwhile, [`EngineError::Timeout`] where its time was not enough.
    pub(crate) fn was_whole(&self, of_all: bool, timeout: Duration) -> Result<(), EngineError> {
        if self.cancel.is_cancelled() {
            return Err(stopped());
        }
        if self.deadline.is_over() {
            let fewer = if of_all { ", or look at one service alone (doctor)" } else { "" };
            let why = format!("not every server, host and route has answered: give it more time{fewer}");
            return Err(EngineError::Timeout(timeout, why));
        }
        Ok(())
    }
}

/// While it lives, no other look begins.
pub(crate) struct Turn<'a>(&'a Looks);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state.lock().busy = false;
        self.0.changed.notify_one();
    }
}

impl Looks {
    /// Waits for its turn.
    ///
    /// # Errors
    /// [`EngineError::State`] where the engine was stopped, or too many looks have not ended; [`EngineError::Timeout`].
    pub(crate) fn turn(&self, deadline: Deadline, timeout: Duration) -> Result<Turn<'_>, EngineError> {
        let mut state = self.state.lock();
        loop {
            if state.over {
                return Err(stopped());
            }
            if !state.busy {
                break;
            }
            let late;
            (state, late) = self.changed.wait_until(state, deadline.instant());
            if late && state.busy {
                return Err(EngineError::Timeout(timeout, "another check of this engine was under way all the time".to_owned()));
            }
        }
        state.forget_ended();
        if state.begun.len() >= LEFT {
            let why =
                "functions of the host program have not come back from the checks before: mend them, and restart the engine";
            return Err(EngineError::State(why.to_owned()));
        }
        state.busy = true;
        Ok(Turn(self))
    }

    /// A look that a stop will end.
    ///
    /// # Errors
    /// [`EngineError::System`] without descriptors.
    pub(crate) fn begin(&self, deadline: Deadline) -> Result<Look, EngineError> {
        let cancel = Cancel::new().map_err(|error| EngineError::system("cannot make a cancel signal", error))?;
        let threads = Threads::default();
        let mut state = self.state.lock();
        state.forget_ended();
        if state.over {
            cancel.cancel();
        }
        state.last += 1;
        let number = state.last;
        state.begun.push(Begun { number, cancel: cancel.clone(), threads: threads.clone(), ended: false });
        Ok(Look { number, deadline, cancel, threads })
    }

    /// It is over; threads that it left behind are remembered.
    pub(crate) fn end(&self, look: &Look) {
        let mut state = self.state.lock();
        state.begun.iter_mut().filter(|begun| begun.number == look.number).for_each(|begun| begun.ended = true);
        state.forget_ended();
    }

    /// Ends every look, and lets no other one begin.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.over = true;
        for begun in &state.begun {
            begun.cancel.cancel();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// True on a thread of a look.
    pub(crate) fn is_mine(&self) -> bool {
        self.all().iter().any(Threads::is_mine)
    }

    /// Waits until every thread of a look has ended.
    ///
    /// # Errors
    /// The names of those that had not, at the deadline.
    pub(crate) fn join(&self, deadline: Deadline) -> Result<(), Vec<String>> {
        self.all().iter().try_for_each(|threads| threads.join(deadline))
    }

    fn all(&self) -> Vec<Threads> {
        self.state.lock().begun.iter().map(|begun| begun.threads.clone()).collect()
    }
}

impl State {
    fn forget_ended(&mut self) {
        self.begun.retain(|begun| !begun.ended || !begun.threads.names().is_empty());
    }
}

fn stopped() -> EngineError {
    EngineError::State("the engine was stopped: make a new one".to_owned())
}
