//! The bounded event queues. Each consumer has its own with the same rules, so that a slow one starves nobody else.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use serde_json::{Map, Value};

use crate::deadline::Deadline;
use failover_core::event::{EventKind, Severity};

use super::error::EngineError;
use super::notify::Inbox;
use super::remedy;
use super::render::{EngineEvent, rfc3339};
use crate::clock::Clock;
use crate::sync::{Condvar, Mutex, bound};

/// Events a queue holds at most.
pub(crate) const CAPACITY: usize = bound(1024, 12);
/// What single observations and log lines may take of it: the rest is reserved for everything else.
const ORDINARY: usize = bound(768, 8);
/// From here on an observation replaces an older one of the same check that still waits.
const PRESSURE: usize = bound(256, 4);
/// Consumers at most.
const CONSUMERS: usize = 32;

/// A bounded queue of events. The engine never waits for it. When the queue is full, it first drops the oldest single
/// observations and log lines. All other events have reserved space, and events about the primary and the outcome of a failover
/// are dropped last. Dropped events show as a gap in `seq`, and the queue puts one `overflow` event with their number into the
/// gap.
///
/// Its file descriptor is readable while an event waits, for the program's own poll loop. Never read from it.
pub struct EventQueue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    ready: Option<OwnedFd>,
    clock: Clock,
}

struct State {
    events: VecDeque<Arc<EngineEvent>>,
    ordinary: usize,
    /// The sequence number of the event handed out last.
    delivered: u64,
    /// Of the event published last, whether it found a place here or not.
    published: u64,
    important_dropped: u64,
    woken: bool,
    closed: bool,
    abandoned: bool,
}

impl EventQueue {
    /// Returns the next event, and waits `timeout` for it at most. Returns `None` if none came, after [`EventQueue::wake`], or
    /// when the last event was taken and the engine has stopped ([`EventQueue::is_over`]).
    pub fn next(&self, timeout: Duration) -> Option<Arc<EngineEvent>> {
        let deadline = Deadline::after(timeout);
        let mut state = self.0.state.lock();
        loop {
            if let Some(event) = self.0.pop(&mut state) {
                return Some(event);
            }
            // Who only looks does not go to sleep: even for no time that takes a timer's slack.
            if std::mem::take(&mut state.woken) || state.closed || timeout.is_zero() {
                return None;
            }
            let timed_out;
            (state, timed_out) = self.0.filled.wait_until(state, deadline.instant());
            if timed_out {
                return self.0.pop(&mut state);
            }
        }
    }

    /// Makes one waiting [`EventQueue::next`] return, or the next call if none waits.
    pub fn wake(&self) {
        self.0.state.lock().woken = true;
        self.0.filled.notify_all();
    }

    /// True if the engine has stopped and every event was taken.
    pub fn is_over(&self) -> bool {
        let state = self.0.state.lock();
        state.closed && state.is_empty()
    }

    /// True if the engine has stopped, even if events still wait here.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.state.lock().closed
    }
}

impl AsFd for EventQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_ref().expect("every queue handed to the host is made with a descriptor").as_fd()
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.abandoned = true;
        state.events = VecDeque::new();
        state.ordinary = 0;
    }
}

impl State {
    /// Neither an event waits nor the news that some were dropped.
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.delivered == self.published
    }
}

impl Shared {
    fn pop(&self, state: &mut State) -> Option<Arc<EngineEvent>> {
        // What was dropped last has no event behind it that would show the gap.
        let front = state.events.front().map_or(state.published + 1, |event| event.seq);
        let lost = front - state.delivered - 1;
        if lost > 0 {
            state.delivered = front - 1;
            self.calm(state);
            let important = std::mem::take(&mut state.important_dropped);
            return Some(Arc::new(self.overflow(front - 1, lost, important)));
        }
        let event = state.events.pop_front()?;
        state.delivered = event.seq;
        state.ordinary -= usize::from(is_ordinary(&event));
        self.calm(state);
        Some(event)
    }

    /// Nothing waits any more.
    fn calm(&self, state: &State) {
        if state.is_empty() && !state.closed {
            self.set_ready(false);
        }
    }

    fn overflow(&self, seq: u64, lost: u64, important: u64) -> EngineEvent {
        let now = self.clock.now();
        let mut fields = Map::new();
        fields.insert("dropped".to_owned(), Value::from(lost));
        fields.insert("important_dropped".to_owned(), Value::from(important));
        let severity = if important > 0 { Severity::Alarm } else { Severity::Warning };
        EngineEvent {
            time: rfc3339(self.clock.wall(now)),
            mono_ns: now.as_nanos(),
            message: format!("{lost} events were dropped here because they were not taken in time"),
            remedy: remedy::of_kind(EventKind::Overflow, Severity::Warning),
            fields,
            ..EngineEvent::blank(seq, EventKind::Overflow, severity)
        }
    }

    /// Queues an event. Returns how many were dropped for it.
    fn push(&self, event: &Arc<EngineEvent>) -> u64 {
        let mut state = self.state.lock();
        if state.abandoned {
            return 0;
        }
        state.published = event.seq;
        let mut dropped = 0;
        if is_ordinary(event) {
            if state.events.len() >= PRESSURE
                && let Some(older) = state.events.iter().rposition(|other| is_ordinary(other) && same_subject(other, event))
            {
                state.events.remove(older);
                state.ordinary -= 1;
                dropped += 1;
            }
            if state.ordinary >= ORDINARY || state.events.len() >= CAPACITY {
                dropped += 1;
                if !drop_oldest_ordinary(&mut state) {
                    return dropped;
                }
            }
            state.ordinary += 1;
        } else if state.events.len() >= CAPACITY {
            dropped += 1;
            if !drop_oldest_ordinary(&mut state) {
                drop_oldest_of_the_rest(&mut state);
                state.important_dropped += 1;
            }
        }
        if state.events.is_empty() {
            self.set_ready(true);
        }
        state.events.push_back(Arc::clone(event));
        drop(state);
        self.filled.notify_one();
        dropped
    }

    fn set_ready(&self, ready: bool) {
        let Some(fd) = &self.ready else { return };
        // Neither can fail but by "would block", and then the descriptor already says what it should.
        if ready {
            let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
        } else {
            let _ = rustix::io::read(fd, &mut [0u8; 8]);
        }
    }
}

/// Single observations and log lines: what may be dropped first.
fn is_ordinary(event: &EngineEvent) -> bool {
    matches!(event.kind, EventKind::Observed | EventKind::Log)
}

/// Who is primary, and what a failover came to: what a consumer that looks away for long has to find when it looks again.
fn is_of_roles(event: &EngineEvent) -> bool {
    matches!(
        event.kind,
        EventKind::PrimaryKnown
            | EventKind::FailoverStarted
            | EventKind::PointOfNoReturn
            | EventKind::FailoverCompleted
            | EventKind::FailoverFailed
            | EventKind::RolledBack
            | EventKind::ManualIntervention
            | EventKind::TwoPrimaries
            | EventKind::OldPrimaryReturned
            | EventKind::Faulted
    )
}

fn same_subject(one: &EngineEvent, other: &EngineEvent) -> bool {
    one.kind == other.kind
        && one.service == other.service
        && one.server == other.server
        && one.fields.get("check") == other.fields.get("check")
}

fn drop_oldest_ordinary(state: &mut State) -> bool {
    let Some(oldest) = state.events.iter().position(|event| is_ordinary(event)) else { return false };
    state.events.remove(oldest);
    state.ordinary -= 1;
    true
}

/// Makes room among the important ones: first of what is asked of the host program, which is long over, then of all but roles.
fn drop_oldest_of_the_rest(state: &mut State) {
    let oldest = |wanted: &dyn Fn(&EngineEvent) -> bool| state.events.iter().position(|event| wanted(event));
    let place = oldest(&|event| event.kind == EventKind::TaskCheck).or_else(|| oldest(&|event| !is_of_roles(event))).unwrap_or(0);
    state.events.remove(place);
}

/// Gives every event its number and puts it into every queue.
pub(crate) struct Hub {
    state: Mutex<HubState>,
    clock: Clock,
}

struct HubState {
    seq: u64,
    dropped: u64,
    consumers: Vec<Arc<Shared>>,
    /// Takes in what receivers of notifications are told; no consumer, because it wants no single observations.
    inbox: Option<Arc<Inbox>>,
    closed: bool,
}

impl Hub {
    pub(crate) fn new(clock: Clock) -> Hub {
        Hub { state: Mutex::new(HubState { seq: 0, dropped: 0, consumers: Vec::new(), inbox: None, closed: false }), clock }
    }

    /// A new queue with everything from now on. `pollable`: with a file descriptor.
    ///
    /// # Errors
    /// [`EngineError::State`] with too many consumers or after the last event, [`EngineError::System`] without descriptors.
    pub(crate) fn subscribe(&self, pollable: bool) -> Result<EventQueue, EngineError> {
        let ready = if pollable {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            Some(eventfd(0, flags).map_err(|error| EngineError::system("cannot make an event queue", error))?)
        } else {
            None
        };
        let mut hub = self.state.lock();
        hub.consumers.retain(|consumer| !consumer.state.lock().abandoned);
        if hub.closed {
            return Err(EngineError::State("the engine has stopped: there are no more events".to_owned()));
        }
        if hub.consumers.len() >= CONSUMERS {
            return Err(EngineError::State(format!("{CONSUMERS} consumers of events are there already: drop one of them first")));
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                events: VecDeque::new(),
                ordinary: 0,
                delivered: hub.seq,
                published: hub.seq,
                important_dropped: 0,
                woken: false,
                closed: false,
                abandoned: false,
            }),
            filled: Condvar::new(),
            ready,
            clock: self.clock,
        });
        hub.consumers.push(Arc::clone(&shared));
        Ok(EventQueue(shared))
    }

    /// Publishes an event and returns it with its number; `None` after the last one.
    pub(crate) fn publish(&self, mut event: EngineEvent) -> Option<Arc<EngineEvent>> {
        let mut hub = self.state.lock();
        if hub.closed {
            return None;
        }
        hub.seq += 1;
        event.seq = hub.seq;
        let event = Arc::new(event);
        // Pushed under the hub's lock: the order in every queue is the order of the numbers. A push never waits.
        let dropped: u64 = hub.consumers.iter().map(|consumer| consumer.push(&event)).sum();
        hub.dropped += dropped;
        if let Some(inbox) = &hub.inbox {
            inbox.offer(&event);
        }
        Some(event)
    }

    /// From now on what receivers of notifications may be told is taken in here too.
    pub(super) fn listen(&self, inbox: &Arc<Inbox>) {
        let mut hub = self.state.lock();
        if hub.closed {
            inbox.close();
        }
        hub.inbox = Some(Arc::clone(inbox));
    }

    /// Nobody listens: what only listeners would see need not be rendered.
    pub(crate) fn is_deaf(&self) -> bool {
        self.state.lock().consumers.is_empty()
    }

    /// The last event was published: queues end when they are empty.
    pub(crate) fn close(&self) {
        let mut hub = self.state.lock();
        hub.closed = true;
        if let Some(inbox) = hub.inbox.take() {
            inbox.close();
        }
        for consumer in hub.consumers.drain(..) {
            consumer.state.lock().closed = true;
            consumer.set_ready(true);
            consumer.filled.notify_all();
        }
    }

    /// Published, consumers, dropped.
    pub(crate) fn numbers(&self) -> (u64, usize, u64) {
        let hub = self.state.lock();
        (hub.seq, hub.consumers.len(), hub.dropped)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    pub(crate) fn an_event(kind: EventKind, server: &str, number: u64) -> EngineEvent {
        let mut fields = Map::new();
        fields.insert("number".to_owned(), Value::from(number));
        EngineEvent {
            service: Some("orders".to_owned()),
            server: Some(server.to_owned()),
            fields,
            ..EngineEvent::blank(0, kind, Severity::Debug)
        }
    }

    fn take_all(queue: &EventQueue) -> Vec<Arc<EngineEvent>> {
        std::iter::from_fn(|| queue.next(Duration::ZERO)).collect()
    }

    #[test]
    fn overflow_never_loses_role_changes() {
        let hub = Hub::new(Clock::start());
        let queue = hub.subscribe(false).unwrap();
        for number in 0..200 {
            hub.publish(an_event(EventKind::PrimaryKnown, "db1", number));
            for other in 0..100 {
                hub.publish(an_event(EventKind::Observed, &format!("db{other}"), number));
                hub.publish(an_event(EventKind::Log, &format!("db{other}"), number));
            }
        }
        let events = take_all(&queue);
        let roles: Vec<u64> =
            events.iter().filter(|e| e.kind == EventKind::PrimaryKnown).map(|e| e.fields["number"].as_u64().unwrap()).collect();
        assert_eq!(roles, (0..200).collect::<Vec<_>>());
        assert!(events.len() <= 2 * CAPACITY);
        assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        let told: u64 =
            events.iter().filter(|e| e.kind == EventKind::Overflow).map(|e| e.fields["dropped"].as_u64().unwrap()).sum();
        let delivered = events.iter().filter(|e| e.kind != EventKind::Overflow).count() as u64;
        assert_eq!(told + delivered, 200 * 201, "every event was delivered or counted");
        assert_eq!(hub.numbers().2, told);
    }

    #[test]
    fn under_pressure_the_newest_observation_of_a_server_is_the_one_that_stays() {
        let hub = Hub::new(Clock::start());
        let queue = hub.subscribe(false).unwrap();
        for number in 0..10_000 {
            hub.publish(an_event(EventKind::Observed, if number % 2 == 0 { "db1" } else { "db2" }, number));
        }
        let events = take_all(&queue);
        let last = |server: &str| {
            let event = events.iter().rfind(|e| e.kind == EventKind::Observed && e.server.as_deref() == Some(server)).unwrap();
            event.fields["number"].as_u64().unwrap()
        };
        assert_eq!((last("db1"), last("db2")), (9_998, 9_999));
    }

    #[test]
    fn the_queue_is_bounded_even_by_important_events_and_says_what_it_lost() {
        let hub = Hub::new(Clock::start());
        let queue = hub.subscribe(false).unwrap();
        for number in 0..5_000 {
            hub.publish(an_event(EventKind::StateChanged, "db1", number));
        }
        hub.publish(an_event(EventKind::EngineStopped, "", 0));
        let events = take_all(&queue);
        assert_eq!(events[0].kind, EventKind::Overflow);
        assert_eq!(events[0].severity, Severity::Alarm);
        assert_eq!(events.len(), CAPACITY + 1);
        assert_eq!(events.last().unwrap().kind, EventKind::EngineStopped);
    }

    #[test]
    fn a_consumer_that_never_takes_anything_still_finds_every_role_change() {
        let hub = Hub::new(Clock::start());
        let queue = hub.subscribe(false).unwrap();
        for number in 0..20_000 {
            let kind = match number % 1_000 {
                0 => EventKind::PrimaryKnown,
                1..500 => EventKind::TaskCheck,
                500..900 => EventKind::HealthChanged,
                _ => EventKind::Observed,
            };
            hub.publish(an_event(kind, "db1", number));
        }
        let events = take_all(&queue);
        let roles = events.iter().filter(|event| event.kind == EventKind::PrimaryKnown);
        let roles: Vec<u64> = roles.map(|event| event.fields["number"].as_u64().unwrap()).collect();
        assert_eq!(roles, (0..20).map(|round| round * 1_000).collect::<Vec<_>>());
        let delivered = events.iter().filter(|event| event.kind != EventKind::Overflow).count() as u64;
        let told = |field: &str| -> u64 { events.iter().filter_map(|event| event.fields.get(field)?.as_u64()).sum() };
        assert_eq!(delivered + told("dropped"), 20_000, "every event was delivered or counted");
        assert!(told("important_dropped") > 0 && told("important_dropped") < told("dropped"));
    }

    #[test]
    fn a_slow_consumer_starves_nobody_else() {
        let hub = Hub::new(Clock::start());
        let slow = hub.subscribe(false).unwrap();
        let fast = hub.subscribe(false).unwrap();
        for number in 0..5_000 {
            hub.publish(an_event(EventKind::Observed, "db1", number));
            assert_eq!(fast.next(Duration::ZERO).unwrap().kind, EventKind::Observed);
        }
        assert!(take_all(&slow).iter().any(|event| event.kind == EventKind::Overflow));
    }

    #[test]
    fn the_descriptor_is_readable_exactly_while_events_wait() {
        let hub = Hub::new(Clock::start());
        let queue = hub.subscribe(true).unwrap();
        let readable = || {
            let mut fds = [PollFd::new(&queue, PollFlags::IN)];
            poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() == 1
        };
        assert!(!readable());
        hub.publish(an_event(EventKind::Observed, "db1", 0));
        hub.publish(an_event(EventKind::Observed, "db1", 1));
        assert!(readable());
        queue.next(Duration::ZERO).unwrap();
        assert!(readable());
        queue.next(Duration::ZERO).unwrap();
        assert!(!readable());
        hub.close();
        assert!(readable(), "the end wakes a poll loop too");
        assert!(queue.is_over());
    }

    #[test]
    fn waiting_ends_by_an_event_by_wake_and_by_the_end() {
        let hub = Arc::new(Hub::new(Clock::start()));
        let queue = Arc::new(hub.subscribe(false).unwrap());
        let long = Duration::from_secs(600);
        let waiter = |queue: &Arc<EventQueue>| {
            let queue = Arc::clone(queue);
            std::thread::spawn(move || queue.next(long).map(|event| event.kind))
        };
        let one = waiter(&queue);
        hub.publish(an_event(EventKind::Log, "db1", 0));
        assert_eq!(one.join().unwrap(), Some(EventKind::Log));
        let two = waiter(&queue);
        queue.wake();
        assert_eq!(two.join().unwrap(), None);
        let three = waiter(&queue);
        hub.close();
        assert_eq!(three.join().unwrap(), None);
        assert!(hub.subscribe(false).is_err());
        assert!(hub.publish(an_event(EventKind::Log, "db1", 0)).is_none());
    }

    #[test]
    fn a_dropped_queue_costs_nothing_more_and_frees_its_place() {
        let hub = Hub::new(Clock::start());
        for _ in 0..100 {
            drop(hub.subscribe(false).unwrap());
        }
        let kept: Vec<EventQueue> = (0..CONSUMERS).map(|_| hub.subscribe(false).unwrap()).collect();
        assert!(hub.subscribe(false).is_err());
        drop(kept);
        assert!(hub.subscribe(false).is_ok());
    }
}
