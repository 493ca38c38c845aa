//! The engine's own threads, interleaved at random: pool, executor, event queue, trigger, commands and stop, all of them the real
//! code. `scripts/schedules.sh` runs these; a failure prints the schedule that shows it, which `REPLAY` plays again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};

use crate::config::Config;
use crate::deadline::{Cancel, Deadline};
use failover_core::event::{EventKind, Severity};
use failover_core::id::{ActionId, Generation, RunId, ServerId, ServiceId};
use failover_core::input::Input;
use failover_core::observation::{DownCause, Finding, UnknownCause, Verdict};
use failover_core::output::{Action, Failure, Report};
use failover_core::time::{Mono, Span};

use super::executor::{Executor, Task};
use super::pool::{Job, JobKind, Pool};
use super::queue::{CAPACITY, EventQueue, Hub};
use super::render::EngineEvent;
use super::threads::Threads;
use super::{Engine, EngineError};
use crate::check::embedder::HostAnswer;
use crate::clock::Clock;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::channel::{Receiver, bounded};
use crate::sync::model::{any, begin};
use crate::sync::thread::{spawn, yield_now};
use crate::sync::{Condvar, Mutex};

/// Longer than any execution.
const LONG: Duration = Duration::from_secs(1_000_000);

/// Tries a body under many schedules: `SCHEDULES` times the share of the test, half of them with few preemptions at the worst places
/// (PCT), half at random. `time`: whether limits of time may be reached.
fn under_schedules(share: usize, time: bool, body: impl Fn() + Send + Sync + 'static) {
    let wanted: usize = std::env::var("SCHEDULES").ok().map_or(10, |text| text.parse().expect("SCHEDULES is a number"));
    let runs = (wanted * share / 10).max(2);
    let body = Arc::new(move || {
        begin(time);
        body();
    });
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let mut config = shuttle::Config::new();
        config.stack_size = 512 * 1024;
        config.max_steps = shuttle::MaxSteps::FailAfter(3_000_000);
        config.silence_warnings = true;
        let body = Arc::clone(&body);
        shuttle::Runner::new(scheduler, config).run(move || body());
    };
    if let Ok(schedule) = std::env::var("REPLAY") {
        run(Box::new(ReplayScheduler::new_from_encoded(&schedule)));
        return;
    }
    // Another seed finds other things, but a test that fails today has to fail tomorrow.
    let seed = std::env::var("SEED").ok().map_or(1, |text| text.parse().expect("SEED is a number"));
    // Where waits with a limit go round and round, a scheduler that prefers somebody for long gets nowhere.
    let random = if time { runs } else { runs / 2 };
    run(Box::new(RandomScheduler::new_from_seed(seed, random)));
    if !time {
        run(Box::new(PctScheduler::new_from_seed(seed, 3, runs - random)));
    }
}

/// A door that stays shut until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let mut open = self.0.0.lock();
        while !*open {
            open = self.0.1.wait(open);
        }
    }

    fn open(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }
}

// ---- the pool ------------------------------------------------------------------------------------

fn finding(verdict: Verdict) -> Finding {
    Finding { verdict, message: String::new(), began: Mono::ZERO, latency: Span::ZERO, sample: None }
}

fn job(run: u64, target: u16, work: impl FnOnce() -> Verdict + Send + 'static) -> Job {
    Job {
        run: RunId(run),
        kind: JobKind::Check,
        name: "check".to_owned(),
        target: (ServiceId(0), ServerId(target)),
        deadline: Deadline::after(LONG),
        late: Duration::ZERO,
        work: Box::new(move |_, _| Input::CheckFinished { run: RunId(run), finding: finding(work()) }),
    }
}

fn pool(workers: usize, jobs: usize) -> (Pool, Threads, Receiver<Input>) {
    let threads = Threads::default();
    let (sender, receiver) = bounded(64);
    let sink = move |input| drop(sender.send(input));
    (Pool::start(&threads, "check", workers, jobs, Clock::start(), sink).unwrap(), threads, receiver)
}

fn answer(answers: &Receiver<Input>) -> u64 {
    match answers.recv().expect("the pool is there") {
        Input::CheckFinished { run, .. } => run.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_job_is_answered_whoever_submits_it_and_whatever_is_slow() {
    under_schedules(20, false, || {
        let (pool, threads, answers) = pool(2, 6);
        // One target is known to be silent: from now on it gets one worker.
        pool.submit(job(0, 0, || Verdict::Down(DownCause::AnswerTimedOut)));
        assert_eq!(answer(&answers), 0);
        let submitters: Vec<_> = (0..3u64)
            .map(|number| {
                let pool = pool.clone();
                spawn(move || {
                    for run in [1 + 2 * number, 2 + 2 * number] {
                        let target = u16::try_from(run % 3).unwrap();
                        pool.submit(job(run, target, move || {
                            if target == 0 { Verdict::Down(DownCause::AnswerTimedOut) } else { Verdict::Up }
                        }));
                    }
                })
            })
            .collect();
        let mut answered: Vec<u64> = (0..6).map(|_| answer(&answers)).collect();
        answered.sort_unstable();
        assert_eq!(answered, [1, 2, 3, 4, 5, 6]);
        for submitter in submitters {
            submitter.join().unwrap();
        }
        let numbers = pool.numbers();
        assert_eq!((numbers.waiting, numbers.stuck), (0, 0));
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    });
}

#[test]
fn a_job_is_answered_cancelled_or_forgotten_by_the_close_and_never_twice() {
    under_schedules(20, false, || {
        let (pool, threads, answers) = pool(2, 4);
        let other = pool.clone();
        let canceller = spawn(move || {
            other.cancel(RunId(1));
            other.cancel(RunId(2));
        });
        for run in 0..4 {
            pool.submit(job(run, u16::try_from(run).unwrap(), || Verdict::Up));
        }
        if any(2) == 0 {
            // What nobody cancels is answered.
            let mut seen = Vec::new();
            while !(seen.contains(&0) && seen.contains(&3)) {
                seen.push(answer(&answers));
            }
        }
        pool.close();
        // A close takes no more, and says nothing more.
        pool.submit(job(9, 9, || panic!("run after the close")));
        canceller.join().unwrap();
        threads.join(Deadline::after(LONG)).unwrap();
        drop(pool);
        let mut rest: Vec<u64> = std::iter::from_fn(|| answers.recv().ok())
            .map(|input| match input {
                Input::CheckFinished { run, .. } => run.0,
                other => panic!("{other:?}"),
            })
            .collect();
        let all = rest.len();
        rest.sort_unstable();
        rest.dedup();
        assert_eq!(rest.len(), all, "answered twice");
    });
}

#[test]
fn a_stuck_worker_delays_nobody_else_and_ends_with_its_job() {
    under_schedules(20, false, || {
        let (pool, threads, answers) = pool(2, 2);
        let gate = Gate::default();
        let stuck = gate.clone();
        pool.submit(job(1, 1, move || {
            stuck.pass();
            Verdict::Unknown(UnknownCause::Internal)
        }));
        for run in 2..5 {
            pool.submit(job(run, 2, || Verdict::Up));
        }
        let mut others: Vec<u64> = (0..3).map(|_| answer(&answers)).collect();
        others.sort_unstable();
        assert_eq!(others, [2, 3, 4]);
        pool.close();
        gate.open();
        threads.join(Deadline::after(LONG)).unwrap();
    });
}

#[test]
fn a_panicking_job_is_answered_and_its_worker_takes_the_next() {
    under_schedules(2, false, || {
        let (pool, threads, answers) = pool(1, 2);
        pool.submit(job(1, 1, || std::panic::resume_unwind(Box::new("planted"))));
        pool.submit(job(2, 2, || Verdict::Up));
        match answers.recv().unwrap() {
            Input::CheckFinished { run: RunId(1), finding } => {
                assert_eq!(finding.verdict, Verdict::Unknown(UnknownCause::Internal));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(answer(&answers), 2);
        pool.close();
        threads.join(Deadline::after(LONG)).unwrap();
    });
}

// ---- the executor --------------------------------------------------------------------------------

#[test]
fn an_action_is_answered_unless_it_was_cancelled_before_it_began_or_the_engine_stops() {
    under_schedules(20, false, || {
        let threads = Threads::default();
        let (sender, outcomes) = bounded(8);
        let perform = |task: &Task, cancel: &Cancel| -> Result<Report, Failure> {
            if task.id == ActionId(2) && !cancel.is_cancelled() {
                yield_now();
            }
            Ok(Report::Done { message: String::new() })
        };
        let executor = Executor::start(&threads, 3, Box::new(perform), move |input| drop(sender.send(input))).unwrap();
        let other = executor.clone();
        let canceller = spawn(move || other.cancel(ActionId(2)));
        for id in 1..4 {
            executor.submit(Task {
                id: ActionId(id),
                service: ServiceId(0),
                generation: Generation(1),
                action: Action::PreChecks,
                deadline: Deadline::after(LONG),
            });
        }
        let mut seen = Vec::new();
        while !(seen.contains(&1) && seen.contains(&3)) {
            match outcomes.recv().expect("the executor is there") {
                Input::ActionFinished { action, outcome } => {
                    assert!(outcome.is_ok());
                    assert!(!seen.contains(&action.0), "answered twice");
                    seen.push(action.0);
                }
                other => panic!("{other:?}"),
            }
        }
        executor.close();
        canceller.join().unwrap();
        threads.join(Deadline::after(LONG)).unwrap();
    });
}

#[test]
fn a_thread_that_ends_for_want_of_work_leaves_none_undone() {
    under_schedules(20, true, || {
        let threads = Threads::default();
        let (sender, outcomes) = bounded(8);
        let perform = |_: &Task, _: &Cancel| -> Result<Report, Failure> {
            yield_now();
            Ok(Report::Done { message: String::new() })
        };
        let executor = Executor::start(&threads, 3, Box::new(perform), move |input| drop(sender.send(input))).unwrap();
        for id in 1..7 {
            executor.submit(Task {
                id: ActionId(id),
                service: ServiceId(u16::try_from(id % 3).unwrap()),
                generation: Generation(1),
                action: Action::PreChecks,
                deadline: Deadline::after(LONG),
            });
            if id % 2 == 0 {
                outcomes.recv().expect("the executor is there");
                outcomes.recv().expect("the executor is there");
            }
        }
        executor.close();
        threads.join(Deadline::after(LONG)).unwrap();
    });
}

// ---- the event queue -----------------------------------------------------------------------------

fn event(kind: EventKind, number: u64) -> EngineEvent {
    let mut fields = Map::new();
    fields.insert("number".to_owned(), Value::from(number));
    EngineEvent {
        service: Some("orders".to_owned()),
        server: Some("db1".to_owned()),
        fields,
        ..EngineEvent::blank(0, kind, Severity::Debug)
    }
}

/// Takes everything until the end, and checks that each event was delivered or counted.
fn take_all(queue: &EventQueue) -> (Vec<Arc<EngineEvent>>, u64) {
    let mut events = Vec::new();
    let mut lost = 0;
    let mut last = 0;
    while let Some(event) = queue.next(LONG) {
        assert!(event.seq > last, "in order");
        if event.kind == EventKind::Overflow {
            let dropped = event.fields["dropped"].as_u64().unwrap();
            assert_eq!(event.seq, last + dropped, "a gap is told by its length");
            lost += dropped;
        } else {
            assert_eq!(event.seq, last + 1, "a gap is told");
            events.push(Arc::clone(&event));
        }
        last = event.seq;
    }
    (events, lost)
}

#[test]
fn overflow_is_counted_and_never_takes_a_role_change() {
    under_schedules(20, false, || {
        let hub = Arc::new(Hub::new(Clock::start()));
        let queues: Vec<EventQueue> = (0..2).map(|_| hub.subscribe(false).unwrap()).collect();
        let consumers: Vec<_> = queues.into_iter().map(|queue| spawn(move || take_all(&queue))).collect();
        let publishers: Vec<_> = (0..2u64)
            .map(|publisher| {
                let hub = Arc::clone(&hub);
                spawn(move || {
                    for number in 0..(CAPACITY as u64) {
                        hub.publish(event(if number % 3 == 0 { EventKind::HealthChanged } else { EventKind::Observed }, number));
                        if number % 4 == 0 {
                            hub.publish(event(EventKind::PrimaryKnown, publisher * 100 + number));
                        }
                    }
                })
            })
            .collect();
        for publisher in publishers {
            publisher.join().unwrap();
        }
        hub.close();
        let (published, _, counted) = hub.numbers();
        let mut told = 0;
        for consumer in consumers {
            let (events, lost) = consumer.join().unwrap();
            let roles = |publisher: u64| -> Vec<u64> {
                let numbers = events.iter().filter(|event| event.kind == EventKind::PrimaryKnown);
                let numbers = numbers.map(|event| event.fields["number"].as_u64().unwrap());
                numbers.filter(|number| number / 100 == publisher).map(|number| number % 100).collect()
            };
            assert_eq!((roles(0), roles(1)), (vec![0, 4, 8], vec![0, 4, 8]), "every role change, in order");
            assert_eq!(events.len() as u64 + lost, published);
            told += lost;
        }
        assert_eq!(told, counted);
    });
}

#[test]
fn whoever_waits_for_an_event_is_woken_by_it_by_wake_and_by_the_end() {
    under_schedules(20, false, || {
        let hub = Arc::new(Hub::new(Clock::start()));
        let queue = Arc::new(hub.subscribe(false).unwrap());
        // Two consumers of one queue: each event wakes one of them, the end both.
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                spawn(move || {
                    let mut taken = 0;
                    while !queue.is_over() {
                        taken += usize::from(queue.next(LONG).is_some());
                    }
                    taken
                })
            })
            .collect();
        for number in 0..3 {
            hub.publish(event(EventKind::PrimaryKnown, number));
        }
        let woken = hub.subscribe(false).unwrap();
        woken.wake();
        assert!(woken.next(LONG).is_none());
        hub.close();
        let taken: usize = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
        assert_eq!(taken, 3);
    });
}

// ---- the whole engine ----------------------------------------------------------------------------

/// An application with two checks of its own and no place for a journal.
fn config(kind: &str) -> Config {
    let answers = if kind == "scripted" { "answers = [\"up\"]\n" } else { "" };
    let check = |name: &str| {
        format!("[[services.checks]]\nname = \"{name}\"\nserver = \"web1\"\nkind = \"{kind}\"\ninterval = \"1s\"\n{answers}")
    };
    let text = format!(
        "version = 1\nstate_dir = \"/dev/null/nowhere\"\n[engine]\nworkers = 2\n[[services]]\nname = \"web\"\nkind = \"application\"\n\
         [[services.servers]]\nname = \"web1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\n{}{}",
        check("page"),
        check("login"),
    );
    Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn is_an_end(error: &EngineError) -> bool {
    matches!(error, EngineError::State(_)) || matches!(error, EngineError::Rejected(why) if why.contains("stop"))
}

#[test]
fn status_events_commands_and_stop_never_wait_for_each_other() {
    under_schedules(3, true, || {
        let engine = Arc::new(Engine::new(config("scripted")).unwrap());
        let queue = engine.queue().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let (inside, seen) = (Arc::downgrade(&engine), Arc::clone(&stopped));
        engine
            .on_event(move |event| {
                // A callback may ask for anything but the end of itself.
                if let Some(engine) = inside.upgrade() {
                    engine.status();
                    assert!(matches!(engine.stop(LONG), Err(EngineError::Reentrant)));
                    if event.kind == EventKind::EngineStarted {
                        engine.pause(None).map_or_else(|error| assert!(is_an_end(&error), "{error}"), drop);
                    }
                }
                if event.kind == EventKind::EngineStopped {
                    seen.store(true, Ordering::SeqCst);
                }
            })
            .unwrap();
        engine.start().unwrap();
        let commander = {
            let engine = Arc::clone(&engine);
            spawn(move || {
                for _ in 0..2 {
                    engine.pause(Some("web")).map_or_else(|error| assert!(is_an_end(&error), "{error}"), drop);
                    engine.resume(None).map_or_else(|error| assert!(is_an_end(&error), "{error}"), drop);
                    engine.status();
                }
            })
        };
        let consumer = spawn(move || {
            let mut last = None;
            while !queue.is_over() {
                last = queue.next(LONG).map(|event| event.kind).or(last);
            }
            last
        });
        if any(2) == 0 {
            commander.join().unwrap();
            engine.stop(LONG).unwrap();
        } else {
            engine.stop(LONG).unwrap();
            commander.join().unwrap();
        }
        assert_eq!(consumer.join().unwrap(), Some(EventKind::EngineStopped));
        assert!(stopped.load(Ordering::SeqCst), "the callback saw the last event before stop returned");
        assert!(engine.status().threads.names.is_empty(), "{:?}", engine.status().threads.names);
    });
}

#[test]
fn a_stop_asked_for_in_a_callback_ends_the_engine_while_its_inputs_are_full() {
    under_schedules(3, true, || {
        let engine = Arc::new(Engine::new(config("host")).unwrap());
        engine.offer_check("page").unwrap();
        engine.offer_check("login").unwrap();
        let tasks = engine.queue().unwrap();
        let inside = Arc::downgrade(&engine);
        engine
            .on_event(move |event| {
                if event.kind == EventKind::TaskCheck
                    && let Some(engine) = inside.upgrade()
                {
                    engine.request_stop();
                }
            })
            .unwrap();
        engine.start().unwrap();
        let flooders: Vec<_> = (0..3)
            .map(|_| {
                let shell = Arc::clone(&engine.shell);
                spawn(move || {
                    // What a storm of answers looks like to the trigger thread.
                    let sender = shell.life.lock().inputs.clone();
                    for _ in 0..20 {
                        if sender.as_ref().is_none_or(|to| to.send(super::trigger::Message::Input(Input::Tick)).is_err()) {
                            break;
                        }
                    }
                })
            })
            .collect();
        while tasks.next(LONG).is_some_and(|event| event.kind != EventKind::EngineStopped) {}
        engine.stop(LONG).unwrap();
        for flooder in flooders {
            flooder.join().unwrap();
        }
    });
}

#[test]
fn a_stop_waits_for_a_stuck_check_names_it_and_ends_when_it_does() {
    under_schedules(3, true, || {
        let engine = Engine::new(config("host")).unwrap();
        let (gate, entered) = (Gate::default(), Gate::default());
        let (stuck, inside) = (gate.clone(), entered.clone());
        engine
            .register_check("page", move |_| {
                inside.open();
                stuck.pass();
                HostAnswer::Down("too late to matter".to_owned())
            })
            .unwrap();
        engine.register_check("login", |_| HostAnswer::Up(String::new())).unwrap();
        engine.start().unwrap();
        entered.pass();
        match engine.stop(Duration::from_secs(2)) {
            Err(EngineError::Timeout(_, names)) => assert!(names.contains("fo-host-"), "{names}"),
            other => panic!("{other:?}"),
        }
        engine.status();
        gate.open();
        engine.stop(LONG).unwrap();
    });
}
