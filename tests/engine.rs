//! The life of an engine, without a server in sight: scripted checks and a program that answers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::queue;
use failover::{
    ActionAnswer, CommandReply, Config, Engine, EngineError, EngineEvent, EventKind, EventQueue, ForceOptions, HostAnswer,
    PauseOptions, TaskAnswer,
};

const LONG: Duration = Duration::from_secs(60);

/// An application service with one scripted check.
fn config(state: &Path, answers: &str) -> Config {
    let text = format!(
        r#"
version = 1
state_dir = "{}"
[[services]]
name = "web"
kind = "application"
[[services.servers]]
name = "web1"
role = "primary"
host = "127.0.0.1"
[[services.checks]]
name = "page"
server = "web1"
kind = "scripted"
answers = [{answers}]
interval = "50ms"
timeout = "30s"
"#,
        state.display()
    );
    Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The same with a check that the program answers.
fn host_config(state: &Path) -> Config {
    let text = format!(
        r#"
version = 1
state_dir = "{}"
[[services]]
name = "web"
kind = "application"
[[services.servers]]
name = "web1"
role = "primary"
host = "127.0.0.1"
[[services.checks]]
name = "page"
server = "web1"
kind = "host"
interval = "50ms"
timeout = "30s"
"#,
        state.display()
    );
    Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A PostgreSQL pair on ports where nobody listens.
fn pair(state: &Path) -> Config {
    Config::parse_toml(&pair_text(state)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn pair_text(state: &Path) -> String {
    format!(
        r#"
version = 1
state_dir = "{}"
[[services]]
name = "orders"
[services.connection]
user = "nobody"
[[services.servers]]
name = "db1"
role = "primary"
host = "127.0.0.1"
port = 1
[[services.servers]]
name = "db2"
host = "127.0.0.1"
port = 2
"#,
        state.display()
    )
}

fn wait_for(queue: &EventQueue, wanted: EventKind) -> Arc<EngineEvent> {
    queue::wait_for(queue, wanted.as_str(), LONG, |event| event.kind == wanted)
}

/// The threads of this process that belong to engines, by their names.
fn engine_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("fo-")).collect();
    names.sort();
    names
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whoever lost the state directory has lost pauses and cordons, and the engine that starts afterwards cannot know which.
#[test]
fn an_engine_that_finds_no_journal_says_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let said = |engine: &Engine| {
        let (queue, receiver) = (engine.queue().unwrap(), engine.events());
        engine.start().unwrap();
        wait_for(&queue, EventKind::Observed);
        engine.pause(None).unwrap();
        engine.stop(LONG).unwrap();
        let is_said = |text: &str| text.contains("has no journal") && text.contains("repeat that now");
        receiver.iter().any(|event| event.kind == EventKind::Log && is_said(&event.message))
    };
    let make = || Engine::new(config(&state, r#""up""#)).unwrap();
    assert!(said(&make()), "a first start");
    let second = make();
    assert!(!said(&second), "the journal is there");
    assert!(second.status().services[0].paused);
    std::fs::remove_dir_all(&state).unwrap();
    let third = make();
    assert!(said(&third), "the directory was deleted");
}

#[test]
fn a_life_has_a_beginning_and_an_end_and_says_so() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), r#""up""#)).unwrap();
    assert_eq!(engine.status().engine, "new");
    assert!(matches!(engine.confirm("web"), Err(EngineError::State(_))));
    let queue = engine.queue().unwrap();
    let receiver = engine.events();
    engine.start().unwrap();
    assert!(matches!(engine.start(), Err(EngineError::State(_))));
    wait_for(&queue, EventKind::Observed);
    let status = engine.status();
    assert_eq!((status.engine.as_str(), status.services[0].name.as_str()), ("running", "web"));
    assert!(status.journal.writable, "{:?}", status.journal);
    assert_eq!(status.threads.alive as usize, status.threads.names.len());
    assert!(status.threads.names.iter().all(|name| name.starts_with("fo-") && name.len() <= 15), "{:?}", status.threads.names);
    engine.stop(LONG).unwrap();
    engine.stop(LONG).unwrap();
    assert_eq!(engine.status().engine, "stopped");
    assert!(engine.status().threads.names.is_empty());
    assert!(matches!(engine.start(), Err(EngineError::State(_))));
    assert!(matches!(engine.pause(None), Err(EngineError::State(_))));
    let all: Vec<Arc<EngineEvent>> = receiver.iter().collect();
    assert_eq!(all.first().unwrap().kind, EventKind::EngineStarted);
    assert_eq!(all.last().unwrap().kind, EventKind::EngineStopped);
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let mut last = None;
    while let Some(event) = queue.next(Duration::ZERO) {
        last = Some(event.kind);
    }
    assert_eq!(last, Some(EventKind::EngineStopped));
    assert!(queue.is_over());
    assert!(engine.queue().is_err());
    assert!(engine.events().recv().is_err(), "a receiver made after the end is disconnected");
}

/// True in a process that runs this one test and nothing else; otherwise runs it in such a process.
fn is_alone(test: &str) -> bool {
    if std::env::var_os("FAILOVER_TEST_ALONE").is_some() {
        return true;
    }
    let me = std::env::current_exe().unwrap();
    let alone = std::process::Command::new(me)
        .args(["--exact", &format!("engine::{test}"), "--nocapture"])
        .env("FAILOVER_TEST_ALONE", "1")
        .status()
        .unwrap();
    assert!(alone.success());
    false
}

#[test]
fn a_paused_process_doubts_itself() {
    if !is_alone("a_paused_process_doubts_itself") {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), r#""up""#)).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    wait_for(&queue, EventKind::Observed);
    let me = std::process::id();
    let pause = format!("kill -STOP {me}; sleep 3; kill -CONT {me}");
    let mut pauser = std::process::Command::new("sh").args(["-c", &pause]).spawn().unwrap();
    let doubt = wait_for(&queue, EventKind::DoubtRaised);
    assert_eq!(doubt.fields["cause"], "gap");
    assert!(engine.status().doubt.is_some());
    pauser.wait().unwrap();
    engine.stop(LONG).unwrap();
}

#[test]
fn a_hundred_lives_leave_no_thread_and_no_descriptor() {
    // Other tests of this file have engines of their own in this process.
    if !is_alone("a_hundred_lives_leave_no_thread_and_no_descriptor") {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let live = |round: usize| {
        let config = if round.is_multiple_of(2) { config(state.path(), r#""up", "hang""#) } else { pair(state.path()) };
        let engine = Engine::new(config).unwrap();
        engine.on_event(|_| {}).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        wait_for(&queue, EventKind::Observed);
        engine.stop(LONG).unwrap();
    };
    live(0);
    live(1);
    let before = descriptors();
    for round in 0..100 {
        live(round);
        // The kernel shows a thread for a moment after it was joined.
        let until = Instant::now() + LONG;
        while !engine_threads().is_empty() {
            assert!(Instant::now() < until, "round {round}: {:?}", engine_threads());
            std::thread::yield_now();
        }
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn stop_is_prompt_while_checks_hang() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), r#""hang""#)).unwrap();
    engine.start().unwrap();
    while engine.status().threads.busy == 0 {
        std::thread::yield_now();
    }
    // The check's own timeout is thirty seconds; a stop that waited for it would not be over in ten.
    engine.stop(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_callback_may_ask_for_everything_but_the_end() {
    let state = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::new(config(state.path(), r#""up""#)).unwrap());
    let (sender, answers) = crossbeam_channel::bounded(1);
    let inside = Arc::downgrade(&engine);
    engine
        .on_event(move |event| {
            if event.kind == EventKind::Observed {
                let Some(engine) = inside.upgrade() else { return };
                let status = engine.status();
                let paused = engine.pause(None);
                let stopped = engine.stop(LONG);
                engine.request_stop();
                let _ = sender.try_send((status.engine, paused.is_ok(), matches!(stopped, Err(EngineError::Reentrant))));
            }
        })
        .unwrap();
    engine.start().unwrap();
    let (phase, paused, reentrant) = answers.recv_timeout(LONG).unwrap();
    assert!(phase == "running" && paused && reentrant);
    engine.stop(LONG).unwrap();
}

#[test]
fn an_engine_dropped_by_its_own_callback_ends_by_itself() {
    let state = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::new(config(state.path(), r#""up""#)).unwrap());
    let place = Arc::new(parking_lot::Mutex::new(Some(Arc::clone(&engine))));
    let taken = Arc::clone(&place);
    engine
        .on_event(move |event| {
            if event.kind == EventKind::Observed {
                drop(taken.lock().take());
            }
        })
        .unwrap();
    let events = engine.events();
    engine.start().unwrap();
    drop(engine);
    let last = events.iter().last().expect("events");
    assert_eq!(last.kind, EventKind::EngineStopped);
}

#[test]
fn a_panicking_callback_harms_nobody() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), r#""up""#)).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    engine
        .on_event(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            panic!("planted");
        })
        .unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    wait_for(&queue, EventKind::Observed);
    engine.stop(LONG).unwrap();
    assert!(count.load(Ordering::SeqCst) > 2);
    assert_eq!(engine.status().faulted, None);
}

#[test]
fn a_second_engine_on_the_same_state_is_refused_by_name() {
    let state = tempfile::tempdir().unwrap();
    let first = Engine::new(config(state.path(), r#""up""#)).unwrap();
    first.start().unwrap();
    let second = Engine::new(config(state.path(), r#""up""#)).unwrap();
    match second.start() {
        Err(EngineError::AlreadyRunning { path, pid }) => {
            assert_eq!((path, pid), (state.path().join("lock"), Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    first.stop(LONG).unwrap();
    second.start().unwrap();
    second.stop(LONG).unwrap();
}

#[test]
fn without_a_writable_journal_it_observes_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::write(&state, "a file where the folder should be").unwrap();
    let engine = Engine::new(config(&state, r#""up""#)).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let log = wait_for(&queue, EventKind::Log);
    assert!(log.message.contains("state"), "{}", log.message);
    let told = wait_for(&queue, EventKind::JournalState);
    assert_eq!(told.severity, failover::Severity::Alarm);
    wait_for(&queue, EventKind::Observed);
    let status = engine.status();
    assert!(!status.journal.writable && status.journal.reason.is_some());
    engine.stop(LONG).unwrap();
}

#[test]
fn operators_are_answered_with_the_cores_own_words() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(pair(state.path())).unwrap();
    engine.start().unwrap();
    assert!(engine.pause(Some("orders")).unwrap().message.contains("paused"));
    assert!(engine.status().services[0].paused);
    assert!(engine.resume(None).unwrap().message.contains("resumed"));
    assert!(matches!(engine.confirm("orders"), Err(EngineError::Rejected(why)) if why.contains("does not wait")));
    assert!(matches!(engine.reset("orders"), Err(EngineError::Rejected(_))));
    assert!(matches!(engine.confirm("nothing"), Err(EngineError::InvalidArgument(_))));
    let mut nobody = ForceOptions::default();
    nobody.to = Some("db9".to_owned());
    assert!(matches!(engine.force("orders", nobody), Err(EngineError::InvalidArgument(_))));
    let never_seen = engine.force("orders", ForceOptions::default());
    assert!(matches!(never_seen, Err(EngineError::Rejected(why)) if why.contains("no primary was seen")));
    engine.stop(LONG).unwrap();
}

#[test]
fn a_pause_outlives_the_engine_that_was_told() {
    let state = tempfile::tempdir().unwrap();
    let life = |was_paused: bool, command: fn(&Engine) -> Result<CommandReply, EngineError>| {
        let engine = Engine::new(pair(state.path())).unwrap();
        engine.start().unwrap();
        assert_eq!(engine.status().services[0].paused, was_paused);
        command(&engine).unwrap();
        engine.stop(LONG).unwrap();
    };
    life(false, |engine| engine.pause(None));
    life(true, |engine| engine.resume(Some("orders")));
    life(false, |engine| engine.pause(Some("orders")));
}

#[test]
fn a_pause_ends_by_itself_and_at_that_moment_also_under_another_engine() {
    let state = tempfile::tempdir().unwrap();
    let for_this = |reason: &str, lasts| {
        let mut options = PauseOptions::default();
        (options.reason, options.lasts) = (Some(reason.to_owned()), Some(lasts));
        options
    };
    let engine = Engine::new(pair(state.path())).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    for wrong in [
        for_this("two\nlines", LONG),
        for_this(&"x".repeat(501), LONG),
        for_this("", Duration::ZERO),
        for_this("", Duration::MAX),
    ] {
        assert!(matches!(engine.pause_with(None, wrong), Err(EngineError::InvalidArgument(_))));
    }
    engine.pause_with(Some("orders"), for_this("the disk of db1 is swapped", LONG)).unwrap();
    let pause = |engine: &Engine| engine.status().services.remove(0).pause;
    let told = pause(&engine).unwrap();
    assert_eq!(told.reason.as_deref(), Some("the disk of db1 is swapped"));
    assert!(told.left_ms.is_some_and(|left| left <= 60_000) && told.until.is_some());
    engine.stop(LONG).unwrap();

    let engine = Engine::new(pair(state.path())).unwrap();
    engine.start().unwrap();
    let again = pause(&engine).unwrap();
    assert!(again.reason == told.reason && again.left_ms.is_some_and(|left| left <= 60_000), "{again:?}");
    engine.pause_with(None, for_this("a moment", Duration::from_millis(1))).unwrap();
    engine.stop(LONG).unwrap();

    let engine = Engine::new(pair(state.path())).unwrap();
    let queue_of_next = engine.queue().unwrap();
    engine.start().unwrap();
    // Over before, or as soon as this one runs: its journal knows whole seconds.
    while engine.status().services[0].paused {
        let _ = queue_of_next.next(Duration::from_millis(50));
    }
    assert_eq!(pause(&engine), None);
    engine.stop(LONG).unwrap();
    drop(queue);
}

#[test]
fn a_cordon_outlives_the_engine_that_was_told_and_the_reload_of_its_configuration() {
    let state = tempfile::tempdir().unwrap();
    let cordoned = |engine: &Engine| {
        let servers = engine.status().services.remove(0).servers;
        servers.iter().filter(|server| server.cordoned).map(|server| server.name.clone()).collect::<Vec<_>>()
    };
    let engine = Engine::new(pair(state.path())).unwrap();
    engine.start().unwrap();
    assert!(matches!(engine.cordon("orders", "db9"), Err(EngineError::InvalidArgument(_))));
    assert!(engine.cordon("orders", "db2").unwrap().message.contains("db2 is cordoned"));
    engine.reload(pair(state.path())).unwrap();
    assert_eq!(cordoned(&engine), ["db2"]);
    let more = format!("{}[[services.servers]]\nname = \"db3\"\nhost = \"127.0.0.1\"\nport = 3\n", pair_text(state.path()));
    engine.reload(Config::parse_toml(&more).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
    assert_eq!(cordoned(&engine), ["db2"]);
    engine.stop(LONG).unwrap();

    let engine = Engine::new(pair(state.path())).unwrap();
    let known = |engine: &Engine| {
        let standbys = engine.check_ready().services.remove(0);
        format!("{standbys:?}").contains("cordoned")
    };
    assert!(known(&engine), "what is checked without an engine knows it");
    engine.start().unwrap();
    assert_eq!(cordoned(&engine), ["db2"]);
    engine.uncordon("orders", "db2").unwrap();
    assert!(matches!(engine.uncordon("orders", "db2"), Err(EngineError::Rejected(_))));
    engine.stop(LONG).unwrap();
    let engine = Engine::new(pair(state.path())).unwrap();
    assert!(!known(&engine));
    engine.start().unwrap();
    assert!(cordoned(&engine).is_empty());
    engine.stop(LONG).unwrap();
}

#[test]
fn a_dead_pair_that_never_lived_is_observed_and_not_touched() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(pair(state.path())).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    loop {
        let event = wait_for(&queue, EventKind::Observed);
        if event.server.as_deref() == Some("db1") && event.fields["reason"] == "refused" {
            break;
        }
    }
    let status = engine.status();
    let orders = &status.services[0];
    assert_eq!(orders.primary, None);
    assert!(!orders.forecast.would_fail_over);
    assert!(!orders.forecast.reasons.is_empty());
    assert_eq!(orders.servers[0].checks[0].verdict.as_deref(), Some("down"));
    engine.stop(LONG).unwrap();
    assert_eq!(engine.status().services[0].generation, 0);
}

/// Applications without checks of their own network: each is called by its number.
fn many(state: &Path, names: &[String]) -> Config {
    let service = |name: &String| {
        format!(
            "[[services]]\nname = \"{name}\"\nkind = \"application\"\n[[services.servers]]\nname = \"of-{name}\"\nrole = \"primary\"\n\
             host = \"127.0.0.1\"\n[[services.checks]]\nname = \"page\"\nserver = \"of-{name}\"\nkind = \"scripted\"\nanswers = [\"up\"]\n"
        )
    };
    let text = format!("version = 1\nstate_dir = \"{}\"\n{}", state.display(), names.iter().map(service).collect::<String>());
    Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_status_has_every_service_once_and_in_order_also_while_they_become_others() {
    let state = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100).map(|number| format!("web{number}")).collect();
    let others: Vec<String> = names.iter().rev().step_by(2).cloned().collect();
    let engine = Engine::new(many(state.path(), &names)).unwrap();
    engine.start().unwrap();
    let of = |engine: &Engine| -> Vec<String> { engine.status().services.into_iter().map(|service| service.name).collect() };
    assert_eq!(of(&engine), names);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut seen = [0; 2];
            while seen.iter().any(|count| *count < 20) {
                let status = engine.status();
                assert!(status.services.iter().all(|service| service.servers[0].name == format!("of-{}", service.name)));
                let now: Vec<String> = status.services.into_iter().map(|service| service.name).collect();
                assert!(now == names || now == others, "{now:?}");
                seen[usize::from(now == others)] += 1;
            }
        });
        let mut turn = [&others, &names].into_iter().cycle();
        while !asks.is_finished() {
            engine.reload(many(state.path(), turn.next().unwrap())).unwrap();
        }
        asks.join().unwrap();
    });
    engine.reload(many(state.path(), &names)).unwrap();
    let one = engine.status_of("web42").unwrap();
    assert_eq!((one.services.len(), one.services[0].name.as_str(), one.engine.as_str()), (1, "web42", "running"));
    assert!(matches!(engine.status_of("nobody"), Err(EngineError::InvalidArgument(_))));
    engine.stop(LONG).unwrap();
}

/// EMBEDDING.md: a signal of the host program comes to its own threads.
#[test]
fn the_threads_of_an_engine_block_every_signal_but_those_of_a_fault_of_their_own() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), r#""up""#)).unwrap();
    // Of a thread that has ended meanwhile there is none.
    let blocked = |task: &std::path::Path| {
        let status = std::fs::read_to_string(task.join("status")).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        Some(u64::from_str_radix(mask.trim(), 16).unwrap())
    };
    let own = std::path::Path::new("/proc/thread-self");
    let before = blocked(own);
    engine.start().unwrap();
    assert_eq!(blocked(own), before, "the mask of whoever starts it is as it was");
    let mut seen = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if !name.starts_with("fo-") {
            continue;
        }
        let Some(mask) = blocked(&task) else { continue };
        let is_blocked = |signal: u32| mask >> (signal - 1) & 1 == 1;
        // HUP, INT, USR1, TERM, CHLD; SEGV stays.
        assert!([1, 2, 10, 15, 17].into_iter().all(is_blocked) && !is_blocked(11), "{name}: {mask:x}");
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
    engine.stop(LONG).unwrap();
}

#[test]
fn a_reload_changes_services_and_a_bad_one_changes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(state.path(), r#""up""#)).unwrap();
    let queue = engine.queue().unwrap();
    assert!(matches!(engine.reload(pair(state.path())), Err(EngineError::State(_))), "not before the start");
    engine.start().unwrap();
    wait_for(&queue, EventKind::Observed);
    assert!(matches!(engine.reload(pair(elsewhere.path())), Err(EngineError::State(why)) if why.contains("state_dir")));
    assert!(matches!(engine.reload(config(state.path(), r#""sideways""#)), Err(EngineError::InvalidArgument(_))));
    assert_eq!(engine.status().services[0].name, "web");
    engine.reload(pair(state.path())).unwrap();
    wait_for(&queue, EventKind::ConfigReloaded);
    assert_eq!(engine.status().services[0].name, "orders");
    let event = wait_for(&queue, EventKind::Observed);
    assert_eq!(event.service.as_deref(), Some("orders"));
    for _ in 0..20 {
        engine.reload(config(state.path(), r#""up""#)).unwrap();
        engine.reload(pair(state.path())).unwrap();
    }
    engine.stop(LONG).unwrap();
}

#[test]
fn a_reload_that_changes_the_servers_forgets_nothing_that_is_in_the_journal() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(pair(state.path())).unwrap();
    engine.start().unwrap();
    engine.pause(Some("orders")).unwrap();
    let more = format!("{}[[services.servers]]\nname = \"db3\"\nhost = \"127.0.0.1\"\nport = 3\n", pair_text(state.path()));
    engine.reload(Config::parse_toml(&more).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
    let orders = engine.status().services.remove(0);
    assert!(orders.servers.len() == 3 && orders.paused, "{orders:?}");
    engine.stop(LONG).unwrap();
}

#[test]
fn what_an_earlier_engine_saw_and_nobody_can_read_is_said_and_stops_nothing() {
    let state = tempfile::tempdir().unwrap();
    for text in ["{\"sum\":\"", "", "hello\n"] {
        std::fs::write(state.path().join("knowledge.json"), text).unwrap();
        let engine = Engine::new(config(state.path(), r#""up""#)).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        // The log that begins with the journal's own words.
        queue::wait_for(&queue, "it is said", LONG, |event| {
            event.kind == EventKind::Log && event.message.contains("knowledge.json is ignored")
        });
        wait_for(&queue, EventKind::Observed);
        engine.stop(LONG).unwrap();
    }
}

#[test]
fn the_program_answers_its_checks_by_a_function() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(host_config(state.path())).unwrap();
    assert!(matches!(engine.register_check("nothing", |_| HostAnswer::Up(String::new())), Err(EngineError::InvalidArgument(_))));
    engine.register_check("page", |check| HostAnswer::Down(format!("{} says no", check.server))).unwrap();
    assert!(matches!(
        engine.register_action("dance", |_| ActionAnswer::Done(String::new())),
        Err(EngineError::InvalidArgument(_))
    ));
    engine.offer_action("fence").unwrap();
    let once = engine.check_once();
    assert_eq!((once[0].verdict.as_str(), once[0].message.as_str()), ("down", "web1 says no"));
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    assert!(matches!(engine.register_check("page", |_| HostAnswer::Up(String::new())), Err(EngineError::State(_))));
    let event = wait_for(&queue, EventKind::Observed);
    assert_eq!((event.fields["verdict"].as_str(), event.fields["detail"].as_str()), (Some("down"), Some("web1 says no")));
    engine.stop(LONG).unwrap();
}

#[test]
fn the_program_answers_its_checks_by_tasks() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(host_config(state.path())).unwrap();
    assert_eq!(engine.check_once()[0].verdict, "unknown");
    engine.offer_check("page").unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    engine.offer_check("page").unwrap();
    let task = wait_for(&queue, EventKind::TaskCheck).fields["task_id"].as_u64().unwrap();
    let wrong = engine.complete_task(task, TaskAnswer::Action(ActionAnswer::Done(String::new())));
    assert!(matches!(wrong, Err(EngineError::InvalidArgument(_))));
    let answer = || TaskAnswer::Check(HostAnswer::Up("all is well".to_owned()));
    engine.complete_task(task, answer()).unwrap();
    assert!(matches!(engine.complete_task(task, answer()), Err(EngineError::UnknownTask(_))));
    let event = wait_for(&queue, EventKind::Observed);
    assert_eq!(event.fields["detail"], "all is well");
    let open = wait_for(&queue, EventKind::TaskCheck).fields["task_id"].as_u64().unwrap();
    engine.stop(LONG).unwrap();
    assert!(matches!(engine.complete_task(open, answer()), Err(EngineError::UnknownTask(_))));
}

#[test]
fn a_check_that_nobody_answers_is_refused_by_the_start_and_the_reload_that_brings_it() {
    let state = tempfile::tempdir().unwrap();
    let refused = |outcome: Result<(), EngineError>| match outcome {
        Err(EngineError::InvalidArgument(why)) => assert!(why.contains("page"), "{why}"),
        other => panic!("{other:?}"),
    };
    let engine = Engine::new(host_config(state.path())).unwrap();
    assert_eq!(engine.status().host_functions[0].answered_by, None);
    refused(engine.start());
    engine.offer_check("page").unwrap();
    assert_eq!(engine.status().host_functions[0].answered_by.as_deref(), Some("tasks"));
    engine.start().unwrap();
    engine.stop(LONG).unwrap();

    let engine = Engine::new(config(state.path(), r#""up""#)).unwrap();
    let queue = engine.queue().unwrap();
    assert!(matches!(engine.offer_check("page"), Err(EngineError::InvalidArgument(_))), "no check of kind host");
    engine.start().unwrap();
    refused(engine.reload(host_config(state.path())));
    assert_eq!(engine.status().services[0].servers[0].checks[0].kind, "scripted");
    engine.register_check("page", |_| HostAnswer::Up("registered late".to_owned())).unwrap();
    engine.reload(host_config(state.path())).unwrap();
    while wait_for(&queue, EventKind::Observed).fields["detail"] != "registered late" {}
    assert!(matches!(engine.register_check("page", |_| HostAnswer::Up(String::new())), Err(EngineError::State(_))));
    engine.stop(LONG).unwrap();
    assert!(matches!(engine.offer_check("other"), Err(EngineError::State(_))));
}

#[test]
fn a_panic_in_a_check_is_unknown_and_the_next_run_comes() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(host_config(state.path())).unwrap();
    engine.register_check("page", |_| panic!("planted")).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    for _ in 0..3 {
        let event = wait_for(&queue, EventKind::Observed);
        assert_eq!((event.fields["verdict"].as_str(), event.fields["reason"].as_str()), (Some("unknown"), Some("internal")));
    }
    assert_eq!(engine.status().faulted, None);
    engine.stop(LONG).unwrap();
}
