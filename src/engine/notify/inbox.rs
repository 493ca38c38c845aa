//! Where the events wait that somebody may have to be told: filled while they are published, which waits for nothing here.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::render::EngineEvent;
use crate::sync::{Condvar, Mutex, bound};

use super::select::is_for_people;

/// Events at most; a disk that stands still for longer than they last costs the newest.
const CAPACITY: usize = bound(4_096, 12);

/// The inbox.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<Arc<EngineEvent>>,
    dropped: u64,
    closed: bool,
}

/// What was taken out.
pub(super) struct Taken {
    pub(super) events: Vec<Arc<EngineEvent>>,
    /// So many found no place since the last time.
    pub(super) dropped: u64,
}

impl Inbox {
    /// Takes in an event. Never waits.
    pub(crate) fn offer(&self, event: &Arc<EngineEvent>) {
        if !is_for_people(event) {
            return;
        }
        let mut state = self.state.lock();
        if state.events.len() >= CAPACITY {
            state.dropped += 1;
            return;
        }
        state.events.push_back(Arc::clone(event));
        drop(state);
        self.filled.notify_one();
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }

    /// Waits for events; `None` when no more come and all were taken.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut state = self.state.lock();
        while state.events.is_empty() && state.dropped == 0 {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state);
        }
        let dropped = std::mem::take(&mut state.dropped);
        Some(Taken { events: state.events.drain(..).collect(), dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use failover_core::event::{EventKind, Severity};

    fn event(seq: u64, kind: EventKind, severity: Severity) -> Arc<EngineEvent> {
        Arc::new(EngineEvent::blank(seq, kind, severity))
    }

    #[test]
    fn it_is_bounded_and_what_found_no_place_is_counted() {
        let inbox = Inbox::default();
        inbox.offer(&event(1, EventKind::Observed, Severity::Debug));
        for seq in 0..CAPACITY as u64 + 7 {
            inbox.offer(&event(seq, EventKind::FailoverStarted, Severity::Warning));
        }
        inbox.close();
        let taken = inbox.take().unwrap();
        assert_eq!((taken.events.len(), taken.dropped), (CAPACITY, 7));
        assert_eq!(taken.events[0].kind, EventKind::FailoverStarted);
        assert!(inbox.take().is_none());
    }
}
