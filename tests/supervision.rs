//! Code of the embedding program that panics, blocks for ever or never takes its events: seen, told, and never mistaken for a dead
//! server.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use failover::{Config, Engine, EngineEvent, EventKind, EventQueue, HostAnswer};

const LONG: Duration = Duration::from_secs(60);

/// An application service with checks that the program answers.
fn config(state: &Path, checks: &[&str], timeout: &str) -> Config {
    let check = |name: &&str| {
        format!(
            "[[services.checks]]\nname = \"{name}\"\nserver = \"web1\"\nkind = \"host\"\ninterval = \"50ms\"\ntimeout = \"{timeout}\"\n"
        )
    };
    let text = format!(
        "version = 1\nstate_dir = \"{}\"\n[[services]]\nname = \"web\"\nkind = \"application\"\n[[services.servers]]\nname = \"web1\"\n\
         role = \"primary\"\nhost = \"127.0.0.1\"\n{}",
        state.display(),
        checks.iter().map(check).collect::<String>()
    );
    Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn wait_for(queue: &EventQueue, what: &str, fits: impl Fn(&EngineEvent) -> bool) -> Arc<EngineEvent> {
    let mut told = Vec::new();
    loop {
        let Some(event) = queue.next(LONG) else { panic!("{what} did not come: {told:#?}") };
        if fits(&event) {
            return event;
        }
        told.push(format!("{} {}", event.kind.as_str(), event.message));
    }
}

fn text<'a>(event: &'a EngineEvent, field: &str) -> Option<&'a str> {
    event.fields.get(field)?.as_str()
}

/// Where a function of the program hangs until the test lets it go, also when the test fails.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

struct OpenAtLast(Gate);

impl Drop for OpenAtLast {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[test]
fn a_check_that_panics_is_unknown_and_alarmed_by_name_until_it_is_mended() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), &["page"], "30s")).unwrap();
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    engine
        .register_check("page", move |_| {
            assert!(is_mended.load(Ordering::SeqCst), "planted");
            HostAnswer::Up(String::new())
        })
        .unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let told = wait_for(&queue, "the alarm", |event| event.kind == EventKind::Log && event.message.contains("planted"));
    assert_eq!(told.severity.as_str(), "alarm");
    assert!(told.message.contains("check \"page\""), "{}", told.message);
    // It is the program's own: what our own checks see is believed as before.
    assert_eq!(engine.status().doubt, None);
    assert_eq!(engine.status().services[0].servers[0].health, "unknown");
    mended.store(true, Ordering::SeqCst);
    wait_for(&queue, "a good answer", |event| event.kind == EventKind::Observed && text(event, "verdict") == Some("up"));
    assert_eq!(engine.status().faulted, None);
    engine.stop(LONG).unwrap();
}

#[test]
fn a_check_that_never_comes_back_is_unknown_costs_one_thread_and_is_seen() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), &["page", "login", "health"], "300ms")).unwrap();
    let gate = OpenAtLast(Gate::default());
    let calls = Arc::new(AtomicUsize::new(0));
    let (stuck, counted) = (gate.0.clone(), Arc::clone(&calls));
    engine
        .register_check("page", move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            stuck.pass();
            HostAnswer::Up("at last".to_owned())
        })
        .unwrap();
    for name in ["login", "health"] {
        engine.register_check(name, |_| HostAnswer::Up(String::new())).unwrap();
    }
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let of = |event: &EngineEvent, check: &str| event.kind == EventKind::Observed && text(event, "check") == Some(check);
    for _ in 0..3 {
        let event = wait_for(&queue, "an answer about page", |event| of(event, "page"));
        assert_eq!((text(&event, "verdict"), text(&event, "reason")), (Some("unknown"), Some("internal")), "{}", event.message);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1, "called again while it was out");
    for check in ["login", "health"] {
        wait_for(&queue, "the other checks go on", |event| of(event, check) && text(event, "verdict") == Some("up"));
    }
    // It is past its deadline by now, but counts only from a second later on.
    while engine.status().threads.stuck == 0 {
        wait_for(&queue, "time", |event| event.kind == EventKind::Observed);
    }
    gate.0.open();
    wait_for(&queue, "its next answer", |event| of(event, "page") && text(event, "verdict") == Some("up"));
    engine.stop(LONG).unwrap();
}

#[test]
fn a_function_that_hangs_is_alarmed_by_name_and_stops_nobody_else() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), &["page"], "300ms")).unwrap();
    let gate = OpenAtLast(Gate::default());
    let stuck = gate.0.clone();
    engine
        .register_check("page", move |_| {
            stuck.pass();
            HostAnswer::Up(String::new())
        })
        .unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let named = |event: &EngineEvent| event.kind == EventKind::Log && event.message.contains("check \"page\"");
    let told = wait_for(&queue, "the alarm", named);
    assert_eq!(told.severity.as_str(), "alarm");
    while engine.status().threads.stuck == 0 {
        wait_for(&queue, "time", |event| event.kind == EventKind::Observed);
    }
    assert_eq!(engine.status().doubt, None);
    gate.0.open();
    wait_for(&queue, "its answer", |event| event.kind == EventKind::Observed && text(event, "verdict") == Some("up"));
    engine.stop(LONG).unwrap();
}

#[test]
fn a_callback_that_panics_is_told_once_and_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), &["page"], "30s")).unwrap();
    engine.register_check("page", |_| HostAnswer::Up(String::new())).unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    engine
        .on_event(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            panic!("planted in the callback");
        })
        .unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let told = |event: &EngineEvent| event.kind == EventKind::Log && event.message.contains("planted in the callback");
    assert_eq!(wait_for(&queue, "the alarm", told).severity.as_str(), "alarm");
    while seen.load(Ordering::SeqCst) < 10 {
        let event = queue.next(LONG).expect("the engine goes on");
        assert!(!told(&event), "told twice");
    }
    assert_eq!(engine.status().faulted, None);
    engine.stop(LONG).unwrap();
}

#[test]
fn a_consumer_that_blocks_delays_nobody_and_hears_how_much_it_missed() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), &["page"], "30s")).unwrap();
    engine.register_check("page", |_| HostAnswer::Up(String::new())).unwrap();
    let gate = OpenAtLast(Gate::default());
    let (shut, taken) = (gate.0.clone(), Arc::new(Mutex::new((0u64, 0u64))));
    let count = Arc::clone(&taken);
    engine
        .on_event(move |event| {
            shut.pass();
            let mut count = count.lock().unwrap();
            match event.kind {
                EventKind::Overflow => count.1 += event.fields["dropped"].as_u64().unwrap(),
                _ => count.0 += 1,
            }
        })
        .unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let mut last = 0;
    let mut taken_here = 0;
    // More events than a queue holds, answered while nobody takes them over there.
    for _ in 0..700 {
        engine.pause(Some("web")).unwrap();
        engine.resume(Some("web")).unwrap();
        while let Some(event) = queue.next(Duration::ZERO) {
            assert_eq!(event.seq, last + 1, "a consumer that takes everything misses nothing");
            (last, taken_here) = (event.seq, taken_here + 1);
        }
    }
    let status = engine.status();
    assert!(taken_here > 1_100, "{taken_here}");
    assert!(status.events.dropped > 0);
    assert_eq!(status.engine, "running");
    gate.0.open();
    engine.stop(LONG).unwrap();
    let (delivered, missed) = *taken.lock().unwrap();
    assert_eq!(delivered + missed, engine.status().events.published);
    assert_eq!(missed, engine.status().events.dropped);
}
