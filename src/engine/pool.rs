//! A fixed number of threads that run bounded jobs: checks on the checkers, child processes and host code on lanes of their own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deadline::{Cancel, Deadline};
use failover_core::id::{RunId, ServerId, ServiceId};
use failover_core::input::Input;
use failover_core::observation::{Finding, UnknownCause, Verdict};

use super::delay::Delays;
use super::error::EngineError;
use super::threads::{Threads, panic_text};
use crate::clock::Clock;
use crate::sync::{Condvar, Mutex, now};

/// A job this long past its deadline that is still not back is stuck: it should have ended by itself.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// Texts of caught panics that wait to be told, at most.
const BUGS: usize = 8;

/// What a job asks, and so the shape of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// One run of a check.
    Check,
    /// The opening of a kept session.
    Session,
}

/// What a job does: asks, within its deadline, and answers with an input for the core.
pub(crate) type Work = dyn FnOnce(Deadline, &Cancel) -> Input + Send;

/// One job.
pub(crate) struct Job {
    pub(crate) run: RunId,
    pub(crate) kind: JobKind,
    /// What it is for people: `check "page"`.
    pub(crate) name: String,
    /// Whom it asks: jobs of one target share a fate.
    pub(crate) target: (ServiceId, ServerId),
    pub(crate) deadline: Deadline,
    /// So much later than it was due it is handed over.
    pub(crate) late: Duration,
    pub(crate) work: Box<Work>,
}

impl JobKind {
    /// The answer of a job that could not be carried out.
    pub(crate) fn lost(self, run: RunId, clock: &Clock, cause: UnknownCause, message: impl Into<String>) -> Input {
        let began = clock.now();
        let finding = Finding {
            verdict: Verdict::Unknown(cause),
            message: message.into(),
            began,
            latency: failover_core::time::Span::ZERO,
            sample: None,
        };
        match self {
            JobKind::Check => Input::CheckFinished { run, finding },
            JobKind::Session => Input::SessionFailed { run, finding },
        }
    }
}

/// How a pool is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolNumbers {
    pub(crate) workers: u32,
    pub(crate) busy: u32,
    pub(crate) waiting: u32,
    pub(crate) oldest_wait: Duration,
    pub(crate) stuck: u32,
    /// Targets whose last job was ended by a bug.
    pub(crate) broken: u32,
    pub(crate) delays: Delays,
}

/// A fixed pool. Clones share it.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    clock: Clock,
    sink: Box<dyn Fn(Input) + Send + Sync>,
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    workers: usize,
    /// How many workers may be in the hands of targets that timed out last time.
    slow_limit: usize,
    slow_targets: BTreeSet<(ServiceId, ServerId)>,
    slow_running: usize,
    queue: VecDeque<Waiting>,
    running: BTreeMap<RunId, Running>,
    /// Targets whose last job panicked, and what was said.
    broken: BTreeSet<(ServiceId, ServerId)>,
    bugs: Vec<String>,
    /// How late checks began.
    delays: Delays,
    /// Its jobs are not the engine's own code: nobody can rely on them to come back.
    foreign: bool,
    closed: bool,
}

struct Waiting {
    job: Job,
    since: Instant,
}

struct Running {
    kind: JobKind,
    name: String,
    deadline: Deadline,
    cancel: Cancel,
    /// Its answer was given for it, as late: what it returns itself is not used any more.
    given_up: bool,
}

impl Pool {
    /// Starts `workers` threads `fo-<role>-<n>` for at most `jobs` different jobs; answers go to `sink`.
    ///
    /// # Errors
    /// [`EngineError::System`] when the operating system has no thread left.
    pub(crate) fn start(
        threads: &Threads,
        role: &str,
        workers: usize,
        jobs: usize,
        clock: Clock,
        sink: impl Fn(Input) + Send + Sync + 'static,
    ) -> Result<Pool, EngineError> {
        let state = State { workers, slow_limit: slow_limit(workers, jobs), ..State::default() };
        let pool = Pool(Arc::new(Shared { clock, sink: Box::new(sink), state: Mutex::new(state), ready: Condvar::new() }));
        for n in 0..workers {
            let shared = Arc::clone(&pool.0);
            if let Err(error) = threads.spawn(role, n, move || shared.work()) {
                pool.close();
                return Err(error);
            }
        }
        Ok(pool)
    }

    /// Another number of different jobs is to be expected.
    pub(crate) fn expect(&self, jobs: usize) {
        let mut state = self.0.state.lock();
        state.slow_limit = slow_limit(state.workers, jobs);
    }

    /// Queues a job; never waits. The core's single flight bounds the queue by the number of checks.
    pub(crate) fn submit(&self, job: Job) {
        let mut state = self.0.state.lock();
        if state.closed {
            return;
        }
        state.queue.push_back(Waiting { job, since: now() });
        drop(state);
        self.0.ready.notify_one();
    }

    /// Nobody waits for this run any more: it is taken out of the queue, or told to end.
    pub(crate) fn cancel(&self, run: RunId) {
        let mut state = self.0.state.lock();
        state.queue.retain(|waiting| waiting.job.run != run);
        if let Some(running) = state.running.get(&run) {
            running.cancel.cancel();
        }
    }

    /// Ends and forgets everything that waits or runs, and goes on.
    pub(crate) fn cancel_all(&self) {
        let mut state = self.0.state.lock();
        state.queue.clear();
        for running in state.running.values() {
            running.cancel.cancel();
        }
        state.slow_targets.clear();
        state.broken.clear();
    }

    /// From now on every job that keeps its thread past its deadline is answered for: whoever asked hears that it could not ask.
    pub(crate) fn distrust(&self) {
        self.0.state.lock().foreign = true;
    }

    /// What was caught since the last call.
    pub(crate) fn bugs(&self) -> Vec<String> {
        std::mem::take(&mut self.0.state.lock().bugs)
    }

    /// Takes out the jobs whose deadline passed before a worker was free, and answers for those that do not come back: the answer
    /// is "could not ask", not a time-out.
    pub(crate) fn expire(&self) -> Vec<Input> {
        let mut answers = self.give_up();
        answers.extend(self.expire_waiting());
        answers
    }

    fn give_up(&self) -> Vec<Input> {
        let mut state = self.0.state.lock();
        if !state.foreign {
            return Vec::new();
        }
        let State { running, bugs, .. } = &mut *state;
        let stuck = running.iter_mut().filter(|(_, running)| !running.given_up && running.deadline.is_over());
        let lost = |(run, running): (&RunId, &mut Running)| {
            running.given_up = true;
            let message = "the host program's function did not come back by its deadline";
            if bugs.len() < BUGS {
                bugs.push(format!("{}: {message}", running.name));
            }
            running.kind.lost(*run, &self.0.clock, UnknownCause::Internal, message)
        };
        stuck.map(lost).collect()
    }

    fn expire_waiting(&self) -> Vec<Input> {
        let mut state = self.0.state.lock();
        if !state.queue.iter().any(|waiting| waiting.job.deadline.is_over()) {
            return Vec::new();
        }
        let (over, rest): (VecDeque<Waiting>, VecDeque<Waiting>) =
            std::mem::take(&mut state.queue).into_iter().partition(|waiting| waiting.job.deadline.is_over());
        state.queue = rest;
        let workers = state.workers;
        drop(state);
        let lost = |Waiting { job, .. }: Waiting| {
            let message = format!("not asked: all {workers} workers were busy until the deadline");
            job.kind.lost(job.run, &self.0.clock, UnknownCause::OwnResources, message)
        };
        over.into_iter().map(lost).collect()
    }

    /// No more jobs: those that wait are forgotten, those that run are told to end, and the threads end.
    pub(crate) fn close(&self) {
        self.cancel_all();
        self.0.state.lock().closed = true;
        self.0.ready.notify_all();
    }

    /// How the pool is doing.
    pub(crate) fn numbers(&self) -> PoolNumbers {
        let state = self.0.state.lock();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        PoolNumbers {
            workers: count(state.workers),
            busy: count(state.running.len()),
            waiting: count(state.queue.len()),
            oldest_wait: state
                .queue
                .iter()
                .map(|waiting| now().saturating_duration_since(waiting.since))
                .max()
                .unwrap_or_default(),
            stuck: count(
                state
                    .running
                    .values()
                    .filter(|running| now().saturating_duration_since(running.deadline.instant()) > STUCK_AFTER)
                    .count(),
            ),
            broken: count(state.broken.len()),
            delays: state.delays,
        }
    }
}

/// Workers that silence never holds, where there are many: so many checks that are answered can be under way.
const FOR_OTHERS: usize = 32;

/// How many workers may be held by silence: with a worker for everybody nobody is in the way; otherwise a quarter of them, or all but those
/// that the others need.
fn slow_limit(workers: usize, jobs: usize) -> usize {
    if workers >= jobs { workers } else { (workers / 4).max(workers.saturating_sub(FOR_OTHERS)).max(1) }
}

impl State {
    /// The next job a worker may take: in order, but for targets whose part of the pool is used up.
    fn take(&mut self) -> Option<(Job, bool)> {
        let full = self.slow_running >= self.slow_limit;
        let next = self.queue.iter().position(|waiting| !(full && self.slow_targets.contains(&waiting.job.target)))?;
        let Waiting { job, since } = self.queue.remove(next)?;
        if job.kind == JobKind::Check {
            self.delays.add(now().saturating_duration_since(since) + job.late);
        }
        let slow = self.slow_targets.contains(&job.target);
        self.slow_running += usize::from(slow);
        Some((job, slow))
    }
}

impl Shared {
    fn work(&self) {
        let mut spare: Option<Cancel> = None;
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return;
            }
            let Some((job, slow)) = state.take() else {
                state = self.ready.wait(state);
                continue;
            };
            let cancel = match spare.take().map_or_else(Cancel::new, Ok) {
                Ok(cancel) => cancel,
                Err(error) => {
                    state.slow_running -= usize::from(slow);
                    drop(state);
                    let message = format!("the engine has no file descriptor left: {error}");
                    (self.sink)(job.kind.lost(job.run, &self.clock, UnknownCause::OwnResources, message));
                    state = self.state.lock();
                    continue;
                }
            };
            let running = Running {
                kind: job.kind,
                name: job.name.clone(),
                deadline: job.deadline,
                cancel: cancel.clone(),
                given_up: false,
            };
            state.running.insert(job.run, running);
            drop(state);
            let Job { run, kind, name, target, deadline, work, .. } = job;
            let mut bug = None;
            let answer = catch_unwind(AssertUnwindSafe(|| work(deadline, &cancel))).unwrap_or_else(|payload| {
                let message = format!("a bug in the check: {}", panic_text(&*payload));
                bug = Some(format!("{name}: {message}"));
                kind.lost(run, &self.clock, UnknownCause::Internal, message)
            });
            let silent = match &answer {
                Input::CheckFinished { finding, .. } | Input::SessionFailed { finding, .. } => finding.verdict.is_silence(),
                _ => false,
            };
            state = self.state.lock();
            // Out of `running` nobody can give it any more.
            let given_up = state.running.remove(&run).is_some_and(|running| running.given_up);
            state.slow_running -= usize::from(slow);
            match bug {
                None => drop(state.broken.remove(&target)),
                Some(bug) => {
                    state.broken.insert(target);
                    if state.bugs.len() < BUGS {
                        state.bugs.push(bug);
                    }
                }
            }
            if silent {
                state.slow_targets.insert(target);
            } else {
                state.slow_targets.remove(&target);
            }
            if state.closed {
                return;
            }
            drop(state);
            spare = Some(cancel).filter(Cancel::is_as_new);
            if !given_up {
                (self.sink)(answer);
            }
            // A freed place in the slow part may be what another worker waits for.
            if slow {
                self.ready.notify_one();
            }
            state = self.state.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, unbounded};
    use failover_core::observation::DownCause;
    use failover_core::time::Span;

    const LONG: Duration = Duration::from_secs(60);

    fn pool(workers: usize, jobs: usize) -> (Pool, Threads, Receiver<Input>) {
        let threads = Threads::default();
        let (sender, receiver) = unbounded();
        let sink = move |input| {
            let _ = sender.send(input);
        };
        let pool = Pool::start(&threads, "check", workers, jobs, Clock::start(), sink).unwrap();
        (pool, threads, receiver)
    }

    fn job(run: u64, target: u16, work: impl FnOnce(Deadline, &Cancel) -> Verdict + Send + 'static) -> Job {
        Job {
            run: RunId(run),
            kind: JobKind::Check,
            name: "check".to_owned(),
            target: (ServiceId(0), ServerId(target)),
            deadline: Deadline::after(LONG),
            late: Duration::ZERO,
            work: Box::new(move |deadline, cancel| {
                let verdict = work(deadline, cancel);
                let began = failover_core::time::Mono::ZERO;
                let finding = Finding { verdict, message: String::new(), began, latency: Span::ZERO, sample: None };
                Input::CheckFinished { run: RunId(run), finding }
            }),
        }
    }

    fn hang(deadline: Deadline, cancel: &Cancel) -> Verdict {
        let _ = cancel.pause(LONG, deadline);
        Verdict::Down(DownCause::AnswerTimedOut)
    }

    fn answer(receiver: &Receiver<Input>) -> (u64, Verdict) {
        match receiver.recv_timeout(LONG).expect("no answer") {
            Input::CheckFinished { run, finding } => (run.0, finding.verdict),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hung_targets_do_not_delay_healthy_ones_though_they_outnumber_the_workers() {
        let (pool, threads, answers) = pool(4, 20);
        // Everybody is known to be silent once.
        for target in 0..10 {
            pool.submit(job(u64::from(target), target, |_, _| Verdict::Down(DownCause::AnswerTimedOut)));
        }
        for _ in 0..10 {
            answer(&answers);
        }
        // Now ten hang for good: one worker is all they get.
        for target in 0..10 {
            pool.submit(job(100 + u64::from(target), target, hang));
        }
        for round in 0..50 {
            pool.submit(job(1_000 + round, 15, |_, _| Verdict::Up));
            assert_eq!(answer(&answers), (1_000 + round, Verdict::Up));
        }
        assert_eq!(pool.numbers().busy, 1);
        assert_eq!(pool.numbers().waiting, 9);
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }

    #[test]
    fn a_panicking_check_is_unknown_and_costs_no_worker() {
        let (pool, threads, answers) = pool(1, 1);
        for run in 0..3 {
            pool.submit(job(run, 0, |_, _| panic!("planted")));
            assert_eq!(answer(&answers), (run, Verdict::Unknown(UnknownCause::Internal)));
        }
        pool.submit(job(3, 0, |_, _| Verdict::Up));
        assert_eq!(answer(&answers), (3, Verdict::Up));
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }

    #[test]
    fn what_was_caught_is_told_and_forgotten_when_the_target_is_asked_without_it() {
        let (pool, threads, answers) = pool(1, 1);
        pool.submit(job(1, 0, |_, _| panic!("planted")));
        answer(&answers);
        assert_eq!(pool.numbers().broken, 1);
        assert_eq!(pool.bugs(), ["check: a bug in the check: planted"]);
        assert!(pool.bugs().is_empty());
        pool.submit(job(2, 0, |_, _| Verdict::Up));
        answer(&answers);
        assert_eq!(pool.numbers().broken, 0);
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }

    #[test]
    fn foreign_code_that_does_not_come_back_is_answered_for_once() {
        let (pool, threads, answers) = pool(1, 1);
        pool.distrust();
        let (open, shut) = crossbeam_channel::bounded::<()>(0);
        let mut stuck = job(1, 0, move |_, _| {
            let _ = shut.recv();
            Verdict::Down(DownCause::WrongAnswer)
        });
        stuck.deadline = Deadline::after(Duration::ZERO);
        pool.submit(stuck);
        let given_up = loop {
            let given_up = pool.give_up();
            if !given_up.is_empty() {
                break given_up;
            }
            std::thread::yield_now();
        };
        assert!(matches!(&given_up[..], [Input::CheckFinished { run: RunId(1), finding }]
            if finding.verdict == Verdict::Unknown(UnknownCause::Internal)));
        assert!(pool.expire().is_empty());
        drop(open);
        pool.submit(job(2, 0, |_, _| Verdict::Up));
        assert_eq!(answer(&answers).0, 2, "what it said at last is not passed on");
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }

    #[test]
    fn stop_is_prompt_while_every_worker_hangs() {
        let (pool, threads, answers) = pool(4, 8);
        for run in 0..8 {
            pool.submit(job(run, u16::try_from(run).unwrap(), hang));
        }
        pool.close();
        // A hang of sixty seconds each would not be over in less than two rounds of them.
        threads.join(Deadline::after(LONG)).unwrap();
        assert!(answers.try_recv().is_err(), "nothing comes after the close");
    }

    #[test]
    fn a_job_no_worker_was_free_for_is_not_a_failure() {
        let (pool, threads, answers) = pool(1, 2);
        pool.submit(job(1, 0, hang));
        let mut late = job(2, 1, |_, _| Verdict::Up);
        late.deadline = Deadline::after(Duration::ZERO);
        // Only once the first one is in hand is the second one sure to wait.
        while pool.numbers().busy == 0 {
            std::thread::yield_now();
        }
        pool.submit(late);
        let expired = pool.expire();
        assert!(matches!(&expired[..], [Input::CheckFinished { run: RunId(2), finding }]
            if finding.verdict == Verdict::Unknown(UnknownCause::OwnResources)));
        pool.cancel(RunId(1));
        assert_eq!(answer(&answers).0, 1);
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }

    #[test]
    fn a_cancelled_job_that_waits_is_forgotten() {
        let (pool, threads, answers) = pool(1, 2);
        pool.submit(job(1, 0, hang));
        while pool.numbers().busy == 0 {
            std::thread::yield_now();
        }
        pool.submit(job(2, 1, |_, _| Verdict::Up));
        pool.cancel(RunId(2));
        pool.cancel(RunId(1));
        assert_eq!(answer(&answers).0, 1);
        pool.submit(job(3, 1, |_, _| Verdict::Up));
        assert_eq!(answer(&answers).0, 3);
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    }
}
