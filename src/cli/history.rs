//! The last events of the daemon, kept for whoever asks later and for whoever follows.
//!
//! Followers read from here at their own pace: the ring is their bounded queue, and one that is too slow misses events (and is
//! told how many), while the engine never waits for anybody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use failover::{EngineEvent, EventKind, Severity};
use parking_lot::{Condvar, Mutex};

/// Single observations and log lines that are kept.
const FREQUENT: usize = 512;
/// Other events that are kept.
const OTHERS: usize = 4_096;
/// Events handed out at a time.
const BATCH: usize = 256;

/// The last events.
#[derive(Default)]
pub struct History {
    ring: Mutex<Ring>,
    more: Condvar,
}

#[derive(Default)]
struct Ring {
    frequent: VecDeque<Arc<EngineEvent>>,
    others: VecDeque<Arc<EngineEvent>>,
    last: u64,
    /// The newest event that was pushed out of each part.
    gone_frequent: u64,
    gone_others: u64,
    closed: bool,
}

/// What somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only events of this service and of the engine itself.
    pub service: Option<String>,
    /// Single observations too.
    pub verbose: bool,
}

impl Filter {
    /// True when the event is wanted.
    pub fn takes(&self, event: &EngineEvent) -> bool {
        let loud = self.verbose || event.severity > Severity::Debug;
        let here = match (&self.service, &event.service) {
            (Some(wanted), Some(service)) => wanted == service,
            _ => true,
        };
        loud && here
    }
}

/// Some events from the history.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, oldest first.
    pub events: Vec<Arc<EngineEvent>>,
    /// Some events after the reader's place and up to this one are gone.
    pub gone: Option<u64>,
    /// Where to go on.
    pub next: u64,
    /// Nothing will come after these.
    pub over: bool,
}

impl History {
    /// Keeps an event.
    pub fn push(&self, event: Arc<EngineEvent>) {
        let mut ring = self.ring.lock();
        ring.last = ring.last.max(event.seq);
        if matches!(event.kind, EventKind::Observed | EventKind::Log) {
            ring.frequent.push_back(event);
            if ring.frequent.len() > FREQUENT {
                ring.gone_frequent = ring.frequent.pop_front().map_or(0, |event| event.seq);
            }
        } else {
            ring.others.push_back(event);
            if ring.others.len() > OTHERS {
                ring.gone_others = ring.others.pop_front().map_or(0, |event| event.seq);
            }
        }
        drop(ring);
        self.more.notify_all();
    }

    /// No event will come any more.
    pub fn close(&self) {
        self.ring.lock().closed = true;
        self.more.notify_all();
    }

    /// Events after `since`, at most some hundred; waits up to `patience` for the first one.
    pub fn after(&self, since: u64, filter: &Filter, patience: Duration) -> Batch {
        let until = Instant::now() + patience;
        let mut ring = self.ring.lock();
        while ring.last <= since && !ring.closed {
            if self.more.wait_until(&mut ring, until).timed_out() {
                break;
            }
        }
        ring.after(since, filter)
    }
}

impl Ring {
    fn after(&self, since: u64, filter: &Filter) -> Batch {
        let gone = if filter.verbose { self.gone_frequent.max(self.gone_others) } else { self.gone_others };
        let mut batch = Batch { gone: (gone > since).then_some(gone), next: since, ..Batch::default() };
        let mut frequent = tail(&self.frequent, since).peekable();
        let mut others = tail(&self.others, since).peekable();
        while batch.events.len() < BATCH {
            let event = match (frequent.peek(), others.peek()) {
                (Some(one), Some(other)) if one.seq < other.seq => frequent.next(),
                (_, Some(_)) => others.next(),
                (Some(_), None) => frequent.next(),
                (None, None) => break,
            };
            let Some(event) = event else { break };
            batch.next = event.seq;
            if filter.takes(event) {
                batch.events.push(Arc::clone(event));
            }
        }
        batch.over = self.closed && batch.next >= self.last;
        batch
    }
}

fn tail(events: &VecDeque<Arc<EngineEvent>>, since: u64) -> impl Iterator<Item = &Arc<EngineEvent>> {
    let from = events.partition_point(|event| event.seq <= since);
    events.range(from..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, kind: EventKind, service: Option<&str>) -> Arc<EngineEvent> {
        let severity = if kind == EventKind::Observed { Severity::Debug } else { Severity::Info };
        let mut event = EngineEvent::blank(seq, kind, severity);
        event.service = service.map(str::to_owned);
        Arc::new(event)
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn both_parts_come_in_one_order() {
        let history = History::default();
        for seq in 1..=6 {
            let kind = if seq % 2 == 0 { EventKind::Observed } else { EventKind::StateChanged };
            history.push(event(seq, kind, Some("orders")));
        }
        let all = Filter { verbose: true, ..Filter::default() };
        let batch = history.after(0, &all, Duration::ZERO);
        assert_eq!(numbers(&batch), [1, 2, 3, 4, 5, 6]);
        assert_eq!((batch.gone, batch.next, batch.over), (None, 6, false));
        let quiet = history.after(2, &Filter::default(), Duration::ZERO);
        assert_eq!(numbers(&quiet), [3, 5]);
        assert_eq!(quiet.next, 6);
    }

    #[test]
    fn the_frequent_ones_push_nothing_else_out_and_what_is_gone_is_told() {
        let history = History::default();
        history.push(event(1, EventKind::StateChanged, None));
        for seq in 2..=2_000 {
            history.push(event(seq, EventKind::Observed, Some("orders")));
        }
        let all = Filter { verbose: true, ..Filter::default() };
        let batch = history.after(0, &all, Duration::ZERO);
        assert_eq!(batch.events[0].seq, 1);
        assert_eq!(batch.gone, Some(2_000 - 512));
        let mut since = batch.next;
        let mut seen = batch.events.len();
        loop {
            let batch = history.after(since, &all, Duration::ZERO);
            assert_eq!(batch.gone, None);
            seen += batch.events.len();
            if batch.events.is_empty() {
                break;
            }
            since = batch.next;
        }
        assert_eq!(seen, 513);
        assert_eq!(numbers(&history.after(0, &Filter::default(), Duration::ZERO)), [1]);
    }

    #[test]
    fn a_service_is_shown_with_the_engine_itself() {
        let history = History::default();
        history.push(event(1, EventKind::EngineStarted, None));
        history.push(event(2, EventKind::StateChanged, Some("orders")));
        history.push(event(3, EventKind::StateChanged, Some("stock")));
        let filter = Filter { service: Some("stock".into()), verbose: false };
        assert_eq!(numbers(&history.after(0, &filter, Duration::ZERO)), [1, 3]);
    }

    #[test]
    fn a_waiting_reader_is_woken_by_an_event_and_by_the_end() {
        let history = Arc::new(History::default());
        let waiter = |since| {
            let history = Arc::clone(&history);
            std::thread::spawn(move || history.after(since, &Filter::default(), Duration::from_secs(600)))
        };
        let one = waiter(0);
        history.push(event(1, EventKind::StateChanged, None));
        assert_eq!(numbers(&one.join().unwrap()), [1]);
        let two = waiter(1);
        history.close();
        let batch = two.join().unwrap();
        assert!(batch.over && batch.events.is_empty());
    }
}
