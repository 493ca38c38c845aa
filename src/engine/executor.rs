//! The threads that carry out actions: never behind checks, each action with a deadline and a cancel signal of its own.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::deadline::{Cancel, Deadline};
use failover_core::id::{ActionId, Generation, ServiceId};
use failover_core::input::Input;
use failover_core::output::{Action, Failure, Report};

use super::error::EngineError;
use super::threads::{Duty, Threads, panic_text};
use crate::sync::{Condvar, Mutex};

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
    perform: Box<Perform>,
    sink: Box<dyn Fn(Input) + Send + Sync>,
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Task>,
    running: BTreeMap<ActionId, Cancel>,
    closed: bool,
}

impl Executor {
    /// Starts `threads_wanted` threads `fo-act-<n>`.
    ///
    /// # Errors
    /// [`EngineError::System`] when the operating system has no thread left.
    pub(crate) fn start(
        threads: &Threads,
        threads_wanted: usize,
        perform: Box<Perform>,
        sink: impl Fn(Input) + Send + Sync + 'static,
    ) -> Result<Executor, EngineError> {
        let shared = Shared { perform, sink: Box::new(sink), state: Mutex::default(), ready: Condvar::new() };
        let executor = Executor(Arc::new(shared));
        for n in 0..threads_wanted {
            let shared = Arc::clone(&executor.0);
            let duty = threads.duty("act", n);
            if let Err(error) = threads.spawn("act", n, move || shared.work(&duty)) {
                executor.close();
                return Err(error);
            }
        }
        Ok(executor)
    }

    /// Queues an action; never waits. The core has a bounded number of actions in flight per service.
    pub(crate) fn submit(&self, task: Task) {
        self.0.state.lock().queue.push_back(task);
        self.0.ready.notify_one();
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

impl Shared {
    fn work(&self, duty: &Duty) {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return;
            }
            let Some(task) = state.queue.pop_front() else {
                state = self.ready.wait(state);
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
                    let message = format!("no file descriptor left on our side: {error}");
                    Err(Failure::no_effect(message, "raise the limit of open files (ulimit -n, LimitNOFILE=)"))
                }
            };
            duty.rest();
            state = self.state.lock();
            state.running.remove(&task.id);
            drop(state);
            (self.sink)(Input::ActionFinished { action: task.id, outcome });
            state = self.state.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;
    use failover_core::id::ServerId;
    use failover_core::output::FailureKind;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_panic_is_an_unknown_effect_a_cancel_ends_a_step_and_both_threads_go_on() {
        let threads = Threads::default();
        let (sender, outcomes) = unbounded();
        let perform = |task: &Task, cancel: &Cancel| match &task.action {
            Action::PreChecks => panic!("planted"),
            Action::RouteOut { .. } => {
                let _ = cancel.pause(LONG, task.deadline);
                Err(Failure::cancelled("told to end"))
            }
            _ => Ok(Report::Done { message: String::new() }),
        };
        let sink = move |input| {
            let _ = sender.send(input);
        };
        let executor = Executor::start(&threads, 2, Box::new(perform), sink).unwrap();
        let task = |id, action| Task {
            id: ActionId(id),
            service: ServiceId(0),
            generation: Generation(1),
            action,
            deadline: Deadline::after(LONG),
        };
        let server = ServerId(0);
        let next = || match outcomes.recv_timeout(LONG).unwrap() {
            Input::ActionFinished { action, outcome } => (action.0, outcome.map_err(|failure| failure.kind)),
            other => panic!("{other:?}"),
        };
        executor.submit(task(1, Action::RouteOut { server }));
        executor.submit(task(2, Action::PreChecks));
        assert_eq!(next(), (2, Err(FailureKind::Unknown)));
        executor.submit(task(3, Action::FenceUndo { server }));
        assert!(matches!(next(), (3, Ok(_))));
        executor.cancel(ActionId(1));
        assert_eq!(next(), (1, Err(FailureKind::Cancelled)));
        executor.submit(task(4, Action::RouteOut { server }));
        executor.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }
}
