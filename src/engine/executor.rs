//! The threads that carry out actions: never behind checks, each action with a deadline and a cancel signal of its own.
//!
//! Two for each service, so that a fence of one that takes half a minute, and a question of it that hangs, stand in nobody's way. Few of
//! them are there all the time; the others begin when there is more to do than threads that rest, and end when they have rested for a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::deadline::{Cancel, Deadline};
use failover_core::id::{ActionId, Generation, ServiceId};
use failover_core::input::Input;
use failover_core::output::{Action, Failure, Report};

use super::error::EngineError;
use super::threads::{Duty, Threads, panic_text};
use crate::sync::{self, Condvar, Mutex, now};

/// Actions of one service that need no other's leave: a question that hangs must not stand in the way of the next step.
const OF_EACH: usize = 2;
/// Threads that are there all the time, at most: for a failover on a machine that has no thread left.
const KEPT: usize = sync::bound(8, 2);
/// Threads at most, however many services there are.
const MOST: usize = 512;
/// One of the others that had nothing to do for this long ends.
const RESTS: Duration = Duration::from_secs(30);
/// An action this long past its deadline that is still not back is named.
const OVERDUE: Duration = Duration::from_secs(2);

/// One action to carry out.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) id: ActionId,
    pub(crate) service: ServiceId,
    pub(crate) generation: Generation,
    pub(crate) action: Action,
    pub(crate) deadline: Deadline,
}

/// Carries out one action.
pub(crate) type Perform = dyn Fn(&Task, &Cancel) -> Result<Report, Failure> + Send + Sync;

/// The executor. Clones share it.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Shared>);

struct Shared {
    threads: Threads,
    /// Threads below this number never end; another one ends once it had nothing to do for this long.
    kept: usize,
    rests: Duration,
    perform: Box<Perform>,
    sink: Box<dyn Fn(Input) + Send + Sync>,
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Task>,
    running: BTreeMap<ActionId, Cancel>,
    /// Of each service: so many threads have an action of it in hand.
    at_work: BTreeMap<ServiceId, usize>,
    /// The numbers of the threads, and how many of them rest.
    numbers: BTreeSet<usize>,
    resting: usize,
    most: usize,
    /// Why there is no thread more, until somebody asks.
    trouble: Option<String>,
    closed: bool,
}

/// How many threads so many services may have.
fn most(services: usize) -> usize {
    (OF_EACH * services).clamp(1, MOST)
}

impl Executor {
    /// Starts the threads `fo-act-<n>` that are there all the time, for so many services.
    ///
    /// # Errors
    /// [`EngineError::System`] when the operating system has no thread left.
    pub(crate) fn start(
        threads: &Threads,
        services: usize,
        perform: Box<Perform>,
        sink: impl Fn(Input) + Send + Sync + 'static,
    ) -> Result<Executor, EngineError> {
        Executor::start_with(threads, services, RESTS, perform, sink)
    }

    fn start_with(
        threads: &Threads,
        services: usize,
        rests: Duration,
        perform: Box<Perform>,
        sink: impl Fn(Input) + Send + Sync + 'static,
    ) -> Result<Executor, EngineError> {
        let most = most(services);
        let kept = most.min(KEPT);
        let state = State { most, numbers: (0..kept).collect(), ..State::default() };
        let shared = Shared {
            threads: threads.clone(),
            kept,
            rests,
            perform,
            sink: Box::new(sink),
            state: Mutex::new(state),
            ready: Condvar::new(),
        };
        let executor = Executor(Arc::new(shared));
        for number in 0..kept {
            if let Err(error) = executor.0.begin(number) {
                executor.close();
                return Err(error);
            }
        }
        Ok(executor)
    }

    /// Another number of services is to be expected.
    pub(crate) fn expect(&self, services: usize) {
        self.0.state.lock().most = most(services).max(self.0.kept);
    }

    /// Queues an action; never waits. The core has a bounded number of actions in flight per service.
    pub(crate) fn submit(&self, task: Task) {
        let mut state = self.0.state.lock();
        if state.closed {
            return;
        }
        state.queue.push_back(task);
        let number = state.number_of_one_more();
        drop(state);
        self.0.ready.notify_one();
        if let Some(number) = number
            && let Err(error) = self.0.begin(number)
        {
            // It waits for one of those that are there.
            let mut state = self.0.state.lock();
            state.numbers.remove(&number);
            state.trouble = Some(error.to_string());
        }
    }

    /// Why an action had to wait for a thread, since the last call.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.state.lock().trouble.take()
    }

    /// Nobody waits for this action any more.
    pub(crate) fn cancel(&self, id: ActionId) {
        let mut state = self.0.state.lock();
        state.queue.retain(|task| task.id != id);
        if let Some(cancel) = state.running.get(&id) {
            cancel.cancel();
        }
    }

    /// No more actions; what runs is told to end, and the threads end.
    pub(crate) fn close(&self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        state.queue.clear();
        for cancel in state.running.values() {
            cancel.cancel();
        }
        drop(state);
        self.0.ready.notify_all();
    }
}

impl State {
    /// The number of a thread to begin, where there is more to do than threads that rest.
    fn number_of_one_more(&mut self) -> Option<usize> {
        if self.queue.len() <= self.resting || self.numbers.len() >= self.most {
            return None;
        }
        let number = (0..self.most).find(|number| !self.numbers.contains(number))?;
        self.numbers.insert(number);
        Some(number)
    }

    /// The next action, of each service in its order: first what is within the share of its service.
    fn take(&mut self) -> Option<Task> {
        let is_within = |task: &Task| self.at_work.get(&task.service).is_none_or(|count| *count < OF_EACH);
        let place = self.queue.iter().position(is_within).unwrap_or(0);
        let task = self.queue.remove(place)?;
        *self.at_work.entry(task.service).or_default() += 1;
        Some(task)
    }

    fn is_back(&mut self, task: &Task) {
        self.running.remove(&task.id);
        if let Some(count) = self.at_work.get_mut(&task.service) {
            *count -= 1;
            if *count == 0 {
                self.at_work.remove(&task.service);
            }
        }
    }
}

impl Shared {
    fn begin(self: &Arc<Shared>, number: usize) -> Result<(), EngineError> {
        let shared = Arc::clone(self);
        let duty = self.threads.duty("act", number);
        self.threads.spawn("act", number, move || shared.work(number, &duty))
    }

    fn work(&self, number: usize, duty: &Duty) {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return;
            }
            let Some(task) = state.take() else {
                let mut is_over = false;
                state.resting += 1;
                if number < self.kept {
                    state = self.ready.wait(state);
                } else {
                    (state, is_over) = self.ready.wait_until(state, now() + self.rests);
                }
                state.resting -= 1;
                // It may have been woken for work and come too late to notice.
                if is_over && state.queue.is_empty() {
                    state.numbers.remove(&number);
                    return;
                }
                continue;
            };
            let cancel = Cancel::new();
            if let Ok(cancel) = &cancel {
                state.running.insert(task.id, cancel.clone());
            }
            drop(state);
            duty.begin(task.deadline.remaining() + OVERDUE);
            let outcome = match &cancel {
                Ok(cancel) => catch_unwind(AssertUnwindSafe(|| (self.perform)(&task, cancel))).unwrap_or_else(|payload| {
                    let message = format!("a bug in the step {}: {}", task.action.name(), panic_text(&*payload));
                    Err(Failure::unknown(message, "look at the servers by hand, and report the bug"))
                }),
                Err(error) => {
                    let message = format!("the engine has no file descriptor left: {error}");
                    Err(Failure::no_effect(message, "raise the limit of open files (ulimit -n, LimitNOFILE=)"))
                }
            };
            duty.rest();
            state = self.state.lock();
            state.is_back(&task);
            drop(state);
            (self.sink)(Input::ActionFinished { action: task.id, outcome });
            state = self.state.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, Sender, unbounded};
    use failover_core::id::ServerId;
    use failover_core::output::FailureKind;

    const LONG: Duration = Duration::from_secs(60);
    const OUT: Action = Action::RouteOut { server: ServerId(0) };

    fn task(id: u64, service: u16, action: Action) -> Task {
        let deadline = Deadline::after(LONG);
        Task { id: ActionId(id), service: ServiceId(service), generation: Generation(1), action, deadline }
    }

    /// An executor whose `route_out` lasts until it is cancelled, what it begins, and what comes of it.
    fn executor(threads: &Threads, services: usize, rests: Duration) -> (Executor, Receiver<u64>, Receiver<Input>) {
        let (begins, begun): (Sender<u64>, _) = unbounded();
        let (sender, outcomes) = unbounded();
        let perform = move |task: &Task, cancel: &Cancel| {
            let _ = begins.send(task.id.0);
            match &task.action {
                Action::PreChecks => panic!("planted"),
                Action::RouteOut { .. } => {
                    let _ = cancel.pause(LONG, task.deadline);
                    Err(Failure::cancelled("told to end"))
                }
                _ => Ok(Report::Done { message: String::new() }),
            }
        };
        let sink = move |input| drop(sender.send(input));
        (Executor::start_with(threads, services, rests, Box::new(perform), sink).unwrap(), begun, outcomes)
    }

    fn next(outcomes: &Receiver<Input>) -> (u64, Result<Report, FailureKind>) {
        match outcomes.recv_timeout(LONG).unwrap() {
            Input::ActionFinished { action, outcome } => (action.0, outcome.map_err(|failure| failure.kind)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_panic_is_an_unknown_effect_a_cancel_ends_a_step_and_both_threads_go_on() {
        let threads = Threads::default();
        let (executor, _begun, outcomes) = executor(&threads, 1, RESTS);
        executor.submit(task(1, 0, OUT));
        executor.submit(task(2, 0, Action::PreChecks));
        assert_eq!(next(&outcomes), (2, Err(FailureKind::Unknown)));
        executor.submit(task(3, 0, Action::FenceUndo { server: ServerId(0) }));
        assert!(matches!(next(&outcomes), (3, Ok(_))));
        executor.cancel(ActionId(1));
        assert_eq!(next(&outcomes), (1, Err(FailureKind::Cancelled)));
        executor.submit(task(4, 0, OUT));
        executor.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }

    #[test]
    fn what_takes_long_in_a_hundred_services_holds_up_no_other_and_its_threads_end() {
        let threads = Threads::default();
        let (executor, begun, outcomes) = executor(&threads, 101, Duration::from_millis(1));
        assert_eq!(threads.names().len(), KEPT);
        let slow: Vec<(u64, u16)> = (0..200).map(|id| (id, u16::try_from(id / 2).unwrap())).collect();
        for (id, service) in &slow {
            executor.submit(task(*id, *service, OUT));
        }
        let mut at_work: Vec<u64> = slow.iter().map(|_| begun.recv_timeout(LONG).unwrap()).collect();
        at_work.sort_unstable();
        assert_eq!(at_work, slow.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        executor.submit(task(1_000, 100, Action::FenceUndo { server: ServerId(0) }));
        assert!(matches!(next(&outcomes), (1_000, Ok(_))));
        assert!(threads.names().len() <= most(101), "{:?}", threads.names());
        for (id, _) in &slow {
            executor.cancel(ActionId(*id));
        }
        for _ in &slow {
            drop(next(&outcomes));
        }
        let until = Deadline::after(LONG);
        while threads.names().len() > KEPT && !until.is_over() {
            std::thread::yield_now();
        }
        assert_eq!(threads.names().len(), KEPT);
        assert_eq!((executor.trouble(), executor.0.state.lock().at_work.len()), (None, 0));
        executor.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }

    #[test]
    fn of_each_service_in_order_and_first_who_has_not_its_share() {
        let threads = Threads::default();
        // Four threads for two services, and one of these has more to do than its share.
        let (executor, begun, outcomes) = executor(&threads, 2, RESTS);
        for id in 1..=4 {
            executor.submit(task(id, 0, OUT));
            assert_eq!(begun.recv_timeout(LONG).unwrap(), id);
        }
        executor.submit(task(5, 0, OUT));
        executor.submit(task(6, 1, OUT));
        for (over, then) in [(1, 6), (2, 5)] {
            executor.cancel(ActionId(over));
            assert_eq!((next(&outcomes).0, begun.recv_timeout(LONG).unwrap()), (over, then));
        }
        executor.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }
}
