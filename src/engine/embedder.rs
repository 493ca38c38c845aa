//! Checks and actions written by the embedding program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use serde_json::Value;

use crate::action::EmbedderActions;
use crate::action::command::Subject;
use crate::check::embedder::{HostAnswer, HostCheck, HostFunction};
use crate::deadline::{Cancel, Deadline, Interrupted};
use failover_core::event::{EventKind, Severity};
use failover_core::id::{RunId, ServerId, ServiceId};
use failover_core::input::Input;
use failover_core::observation::Finding;
use failover_core::output::Failure;
use failover_core::time::Mono;

use super::error::EngineError;
use super::pool::{Job, JobKind, Pool};
use super::render::{EngineEvent, rfc3339};
use crate::clock::Clock;
use crate::sync::Mutex;

/// The steps that a host program may carry out itself.
pub(crate) const STEPS: [&str; 6] = ["pre_checks", "route_out", "route_restore", "fence", "promote", "route_in"];

/// An action that the engine asks the host program to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostAction {
    /// The task number for [`Engine::complete_task`](super::Engine::complete_task). It is never reused.
    pub task: u64,
    /// The service.
    pub service: String,
    /// The server that the action acts on, if there is one.
    pub server: Option<String>,
    /// The host of that server by configuration.
    pub host: Option<String>,
    /// The port of that server by configuration.
    pub port: Option<u16>,
    /// The step: `pre_checks`, `route_out`, `route_restore`, `fence`, `promote` or `route_in`.
    pub step: String,
    /// The number of the failover. Together with `step` it is the idempotency key. A repeated request with the same key must find
    /// the work done. Refuse a request with a lower number than the highest one seen.
    pub generation: u64,
    /// The remaining time until its deadline.
    pub remaining: Duration,
}

/// The outcome of a host action.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActionAnswer {
    /// The action is proven to be done. For `fence` this means that power or volume is cut (level 4).
    Done(String),
    /// The action is proven to have had no effect.
    NoEffect(String),
    /// The action failed, and may have had part of its effect.
    Unknown(String),
}

/// The answer to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskAnswer {
    /// The answer to a `task_check` event.
    Check(HostAnswer),
    /// The answer to a `task_action` event.
    Action(ActionAnswer),
}

impl ActionAnswer {
    fn into_outcome(self, step: &str) -> Result<String, Failure> {
        let remedy = format!("see the host program's own action \"{step}\"");
        match self {
            ActionAnswer::Done(message) => Ok(message),
            ActionAnswer::NoEffect(message) => Err(Failure::no_effect(message, remedy)),
            ActionAnswer::Unknown(message) => Err(Failure::unknown(message, remedy)),
        }
    }
}

/// What a host program registers for a step.
pub(crate) type ActionFunction = dyn Fn(&HostAction) -> ActionAnswer + Send + Sync;
/// Tells the host program about a task: a check or an action.
pub(crate) type Announce = dyn Fn(&Task) + Send + Sync;

/// A task for the host program.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Check(HostCheck),
    Action(HostAction),
}

/// A check as the event that asks for it.
#[doc(hidden)]
pub fn check_event(check: &HostCheck, clock: &Clock) -> EngineEvent {
    let fields = [
        ("task_id", Value::from(check.task)),
        ("deadline_ms", millis(check.remaining)),
        ("check", Value::from(check.check.as_str())),
        ("function", Value::from(check.function.as_str())),
    ];
    EngineEvent {
        service: Some(check.service.clone()),
        server: Some(check.server.clone()),
        host: Some(check.host.clone()),
        port: Some(check.port),
        message: format!("the host program is asked to answer check {}", check.check),
        ..task_event(EventKind::TaskCheck, Severity::Debug, fields, clock)
    }
}

/// An action as the event that asks for it.
#[doc(hidden)]
pub fn action_event(action: &HostAction, clock: &Clock) -> EngineEvent {
    let fields = [
        ("task_id", Value::from(action.task)),
        ("deadline_ms", millis(action.remaining)),
        ("step", Value::from(action.step.as_str())),
    ];
    EngineEvent {
        generation: action.generation,
        service: Some(action.service.clone()),
        server: action.server.clone(),
        host: action.host.clone(),
        port: action.port,
        message: format!("the host program is asked to carry out {}", action.step),
        ..task_event(EventKind::TaskAction, Severity::Info, fields, clock)
    }
}

fn task_event<const N: usize>(kind: EventKind, severity: Severity, fields: [(&str, Value); N], clock: &Clock) -> EngineEvent {
    let now = clock.now();
    EngineEvent {
        time: rfc3339(clock.wall(now)),
        mono_ns: now.as_nanos(),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..EngineEvent::blank(0, kind, severity)
    }
}

fn millis(span: Duration) -> Value {
    Value::from(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// The tasks given to the host program, and the functions it registered.
#[derive(Default)]
pub(crate) struct EmbedderLane(Mutex<State>);

#[derive(Default)]
struct State {
    last: u64,
    open: BTreeMap<u64, Open>,
    /// By the name that checks ask for; `None`: the host program answers their tasks itself.
    checks: BTreeMap<String, Option<Arc<HostFunction>>>,
    actions: BTreeMap<String, Option<Arc<ActionFunction>>>,
    /// The threads that run registered functions; there are none where nothing is registered.
    pool: Option<Pool>,
    announce: Option<Arc<Announce>>,
}

enum Open {
    Check { run: RunId, began: Mono },
    Action { answer: Arc<Mutex<Option<ActionAnswer>>>, answered: Cancel },
}

impl EmbedderLane {
    /// `None`: checks of this name become task events.
    pub(crate) fn register_check(&self, name: &str, function: Option<Arc<HostFunction>>) {
        self.0.lock().checks.insert(name.to_owned(), function);
    }

    /// Who answers the checks of this name, in the word of the status; `None`: nobody.
    pub(crate) fn answered_by(&self, name: &str) -> Option<&'static str> {
        self.0.lock().checks.get(name).map(|function| if function.is_some() { "function" } else { "tasks" })
    }

    /// `None`: the step becomes a task event.
    pub(crate) fn register_action(&self, step: &str, function: Option<Arc<ActionFunction>>) -> Result<(), EngineError> {
        if !STEPS.contains(&step) {
            let known = STEPS.join(", ");
            return Err(EngineError::InvalidArgument(format!("\"{step}\" is no step a host program can take over: {known}")));
        }
        self.0.lock().actions.insert(step.to_owned(), function);
        Ok(())
    }

    /// The function registered for checks of this name.
    pub(crate) fn function(&self, name: &str) -> Option<Arc<HostFunction>> {
        self.0.lock().checks.get(name).cloned().flatten()
    }

    /// The steps that were taken over.
    pub(crate) fn steps(&self) -> BTreeSet<String> {
        self.0.lock().actions.keys().cloned().collect()
    }

    /// How many functions are registered.
    pub(crate) fn functions(&self) -> usize {
        let state = self.0.lock();
        state.checks.values().flatten().count() + state.actions.values().flatten().count()
    }

    /// From now on tasks are announced by `announce`, and functions run on `pool`.
    pub(crate) fn open(&self, pool: Option<Pool>, announce: Arc<Announce>) {
        let mut state = self.0.lock();
        state.pool = pool;
        state.announce = Some(announce);
    }

    /// Every open task is cancelled, and no more are given out.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.announce = None;
        state.pool = None;
        for open in std::mem::take(&mut state.open).into_values() {
            if let Open::Action { answered, .. } = open {
                answered.cancel();
            }
        }
    }

    /// Gives a check for which no function is registered to the host program as a task.
    pub(crate) fn announce_check(&self, run: RunId, began: Mono, question: HostCheck) {
        let mut state = self.0.lock();
        let Some(announce) = state.announce.clone() else { return };
        let task = state.take_number();
        state.open.insert(task, Open::Check { run, began });
        drop(state);
        announce(&Task::Check(HostCheck { task, ..question }));
    }

    /// Nobody waits for this run any more.
    pub(crate) fn cancel(&self, run: RunId) {
        self.0.lock().open.retain(|_, open| !matches!(open, Open::Check { run: open, .. } if *open == run));
    }

    /// What kind of answer an open task wants.
    pub(crate) fn is_check(&self, task: u64) -> Result<bool, EngineError> {
        let state = self.0.lock();
        state.open.get(&task).map(|open| matches!(open, Open::Check { .. })).ok_or(EngineError::UnknownTask(task))
    }

    /// The host program's answer to a task: an input for the core, if it is one.
    pub(crate) fn complete(&self, task: u64, answer: TaskAnswer, clock: &Clock) -> Result<Option<Input>, EngineError> {
        let mut state = self.0.lock();
        let open = state.open.remove(&task).ok_or(EngineError::UnknownTask(task))?;
        match (open, answer) {
            (Open::Check { run, began }, TaskAnswer::Check(answer)) => {
                let (verdict, message) = answer.into_verdict();
                let finding = Finding { verdict, message, began, latency: clock.now().since(began), sample: None };
                Ok(Some(Input::CheckFinished { run, finding }))
            }
            (Open::Action { answer: place, answered }, TaskAnswer::Action(answer)) => {
                *place.lock() = Some(answer);
                answered.cancel();
                Ok(None)
            }
            (open, _) => {
                let kind = if matches!(open, Open::Check { .. }) { "a check" } else { "an action" };
                state.open.insert(task, open);
                Err(EngineError::InvalidArgument(format!("task {task} is {kind}: this answer is of the other kind")))
            }
        }
    }

    /// Has a step carried out by the host program and waits for its answer, no longer than the deadline. The host's own code
    /// runs on its lane: if it never comes back, only that lane has lost a thread.
    fn perform(&self, action: HostAction, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let step = action.step.clone();
        let closed = || Failure::cancelled(format!("the engine is stopping: \"{step}\" was not asked of the host program"));
        let answered = Cancel::new().map_err(|error| {
            let message = format!("the engine has no file descriptor left: {error}");
            Failure::no_effect(message, "raise the limit of open files (ulimit -n, LimitNOFILE=)")
        })?;
        let answer = Arc::new(Mutex::new(None));
        let mut state = self.0.lock();
        let announce = state.announce.clone().ok_or_else(closed)?;
        let function = state.actions.get(&step).cloned().flatten();
        let pool = state.pool.clone();
        let task = state.take_number();
        let action = HostAction { task, ..action };
        if let Some((function, pool)) = function.zip(pool) {
            drop(state);
            let (place, done) = (Arc::clone(&answer), answered.clone());
            pool.submit(Job {
                // Tasks and runs are numbered apart; this one is never looked up.
                run: RunId(u64::MAX - task),
                kind: JobKind::Check,
                name: format!("action \"{step}\""),
                target: (ServiceId(u16::MAX), ServerId(u16::MAX)),
                deadline,
                late: Duration::ZERO,
                work: Box::new(move |_, _| {
                    let give = Give { place, done };
                    let answer = function(&action);
                    give.answer(answer);
                    Input::Tick
                }),
            });
        } else {
            state.open.insert(task, Open::Action { answer: Arc::clone(&answer), answered: answered.clone() });
            drop(state);
            announce(&Task::Action(action));
        }
        let waited = cancel.wait_for(std::os::fd::AsFd::as_fd(&answered), PollFlags::IN, deadline);
        self.0.lock().open.remove(&task);
        let answer = answer.lock().take();
        match (answer, waited) {
            (Some(answer), _) => answer.into_outcome(&step),
            (None, Err(Interrupted::TimedOut)) => {
                let message = format!("the host program gave no answer to \"{step}\" in time");
                Err(Failure::timed_out(message, "answer the task, or allow the step more time"))
            }
            (None, _) => Err(Failure::cancelled(format!("\"{step}\" was cancelled while the host program was at it"))),
        }
    }
}

impl State {
    fn take_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Hands an answer over, also when the function that owed it panicked.
struct Give {
    place: Arc<Mutex<Option<ActionAnswer>>>,
    done: Cancel,
}

impl Give {
    fn answer(self, answer: ActionAnswer) {
        *self.place.lock() = Some(answer);
    }
}

impl Drop for Give {
    fn drop(&mut self) {
        self.place.lock().get_or_insert_with(|| ActionAnswer::Unknown("the host program's function panicked".to_owned()));
        self.done.cancel();
    }
}

impl EmbedderActions for EmbedderLane {
    fn takes(&self, step: &str) -> bool {
        self.0.lock().actions.contains_key(step)
    }

    fn carry_out(&self, step: &str, subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let is_one = !subject.server.is_empty();
        let action = HostAction {
            task: 0,
            service: subject.service.clone(),
            server: is_one.then(|| subject.server.clone()),
            host: is_one.then(|| subject.host.clone()),
            port: is_one.then_some(subject.port),
            step: step.to_owned(),
            generation: subject.generation,
            remaining: deadline.remaining(),
        };
        self.perform(action, deadline, cancel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::threads::Threads;
    use crossbeam_channel::unbounded;

    const LONG: Duration = Duration::from_secs(60);

    fn subject() -> Subject {
        Subject { service: "orders".into(), server: "db1".into(), host: "h".into(), port: 1, generation: 7 }
    }

    fn question() -> HostCheck {
        HostCheck {
            task: 0,
            service: "orders".into(),
            server: "db1".into(),
            host: "h".into(),
            port: 1,
            check: "mine".into(),
            function: "mine".into(),
            remaining: LONG,
        }
    }

    #[test]
    fn a_check_task_is_answered_once_and_only_in_time() {
        let lane = EmbedderLane::default();
        let (sender, tasks) = unbounded();
        let announce = move |task: &Task| {
            let _ = sender.send(task.clone());
        };
        lane.open(None, Arc::new(announce));
        let clock = Clock::start();
        let next = || match tasks.try_recv().unwrap() {
            Task::Check(check) => check.task,
            Task::Action(action) => panic!("{action:?}"),
        };
        lane.announce_check(RunId(1), Mono::ZERO, question());
        let task = next();
        let wrong = lane.complete(task, TaskAnswer::Action(ActionAnswer::Done(String::new())), &clock);
        assert!(matches!(wrong, Err(EngineError::InvalidArgument(_))));
        let answer = || TaskAnswer::Check(HostAnswer::Down("no".into()));
        let input = lane.complete(task, answer(), &clock).unwrap();
        assert!(matches!(input, Some(Input::CheckFinished { run: RunId(1), finding }) if finding.verdict.is_failure()));
        assert!(matches!(lane.complete(task, answer(), &clock), Err(EngineError::UnknownTask(_))));
        lane.announce_check(RunId(2), Mono::ZERO, question());
        let late = next();
        assert_ne!(late, task);
        lane.cancel(RunId(2));
        assert!(matches!(lane.complete(late, answer(), &clock), Err(EngineError::UnknownTask(_))));
    }

    #[test]
    fn an_offered_action_waits_for_its_answer_its_deadline_or_a_cancel() {
        let lane = Arc::new(EmbedderLane::default());
        assert!(lane.register_action("make_tea", None).is_err());
        lane.register_action("fence", None).unwrap();
        let (sender, tasks) = unbounded();
        let announce = move |task: &Task| {
            let _ = sender.send(task.clone());
        };
        lane.open(None, Arc::new(announce));
        let cancel = Cancel::new().unwrap();
        let carry_out = |deadline| {
            let (lane, cancel) = (Arc::clone(&lane), cancel.clone());
            std::thread::spawn(move || lane.carry_out("fence", &subject(), deadline, &cancel))
        };
        let answered = carry_out(Deadline::after(LONG));
        let Task::Action(action) = tasks.recv_timeout(LONG).unwrap() else { panic!() };
        assert_eq!((action.step.as_str(), action.generation, action.server.as_deref()), ("fence", 7, Some("db1")));
        assert_eq!((action.host.as_deref(), action.port), (Some("h"), Some(1)));
        let done = TaskAnswer::Action(ActionAnswer::Done("power is off".into()));
        lane.complete(action.task, done, &Clock::start()).unwrap();
        assert_eq!(answered.join().unwrap().unwrap(), "power is off");

        let late = carry_out(Deadline::after(Duration::from_millis(1))).join().unwrap().unwrap_err();
        assert_eq!(late.kind, failover_core::output::FailureKind::TimedOut);
        let stopped = carry_out(Deadline::after(LONG));
        let _ = tasks.recv_timeout(LONG).unwrap();
        let _ = tasks.recv_timeout(LONG).unwrap();
        cancel.cancel();
        assert_eq!(stopped.join().unwrap().unwrap_err().kind, failover_core::output::FailureKind::Cancelled);
    }

    #[test]
    fn a_function_that_panics_is_an_unknown_effect() {
        let lane = EmbedderLane::default();
        lane.register_action("promote", Some(Arc::new(|_: &HostAction| panic!("planted")))).unwrap();
        lane.register_action("fence", Some(Arc::new(|a: &HostAction| ActionAnswer::Done(format!("{}", a.generation))))).unwrap();
        let threads = Threads::default();
        let pool = Pool::start(&threads, "host", 1, 1, Clock::start(), |_| {}).unwrap();
        lane.open(Some(pool.clone()), Arc::new(|_| {}));
        let cancel = Cancel::new().unwrap();
        let run = |step| lane.carry_out(step, &subject(), Deadline::after(LONG), &cancel);
        assert_eq!(run("promote").unwrap_err().kind, failover_core::output::FailureKind::Unknown);
        assert_eq!(run("fence").unwrap(), "7");
        lane.close();
        assert!(run("fence").is_err());
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }
}
