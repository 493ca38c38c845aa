//! The engine inside a program, on real servers: the program takes part in a failover, and ends it in the middle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::haproxy::BACKEND;
use crate::support::pair::{Pair, PairOptions};
use crate::support::queue;
use failover::{ActionAnswer, Config, Engine, EngineError, EngineEvent, EventKind, EventQueue, TaskAnswer};

const LONG: Duration = Duration::from_secs(60);

fn wait_for(queue: &EventQueue, what: &str, fits: impl Fn(&EngineEvent) -> bool) -> Arc<EngineEvent> {
    queue::wait_for(queue, what, LONG, fits)
}

fn wait_until_ready(engine: &Engine) {
    let until = Instant::now() + LONG;
    loop {
        let status = engine.status();
        let forecast = &status.services[0].forecast;
        if forecast.would_fail_over {
            return;
        }
        assert!(Instant::now() < until, "never ready: {forecast:#?} {:#?}", status.services[0].readiness);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_program_holds_a_failover_up_stops_it_in_the_middle_and_the_next_engine_does_it() {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| ()).unwrap();
    let config = || Config::load(&pair.config).unwrap_or_else(|errors| panic!("{errors}"));

    let engine = Engine::new(config()).unwrap();
    engine.offer_action("pre_checks").unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    wait_until_ready(&engine);
    pair.db1.kill_postmaster().unwrap();
    let task = wait_for(&queue, "the task", |event| event.kind == EventKind::TaskAction);
    assert_eq!((task.fields["step"].as_str(), task.generation), (Some("pre_checks"), 1));
    let status = engine.status();
    let orders = &status.services[0];
    assert_eq!(orders.state, "failover_in_progress");
    let failover = orders.failover.as_ref().unwrap();
    assert_eq!((failover.outcome.as_str(), failover.step.as_deref()), ("in_progress", Some("pre_checks")));
    assert_eq!((failover.steps[0].name.as_str(), failover.steps[0].outcome.as_str()), ("pre_checks", "running"));
    assert!(matches!(engine.reload(config()), Err(EngineError::Rejected(why)) if why.contains("in flight")));
    // Nothing was changed yet, so the stop takes it back, and is not held up by a program that never answers.
    engine.stop(LONG).unwrap();
    wait_for(&queue, "the way back", |event| event.kind == EventKind::RolledBack);
    let task = task.fields["task_id"].as_u64().unwrap();
    let late = engine.complete_task(task, TaskAnswer::Action(ActionAnswer::Done(String::new())));
    assert!(matches!(late, Err(EngineError::UnknownTask(_))));
    assert!(!pair.db2.is_primary().unwrap());
    drop(engine);

    // The next engine saw no primary live: it knows who it was from the journal, and touches nothing without an operator.
    let second = Engine::new(config()).unwrap();
    second.start().unwrap();
    let status = second.status();
    assert_eq!((status.services[0].generation, status.services[0].primary.as_deref()), (1, Some("db1")));
    second.stop(LONG).unwrap();
    drop(second);

    // With the primary back, and an engine that may go all the way, the failover is the second one.
    pair.db1.kill_all();
    pair.db1.start().unwrap();
    pair.db1.wait_streaming("db2").unwrap();
    let third = Engine::new(config()).unwrap();
    let queue = third.queue().unwrap();
    third.register_action("pre_checks", |action| ActionAnswer::Done(format!("generation {}", action.generation))).unwrap();
    third.offer_action("route_in").unwrap();
    third.start().unwrap();
    // The stopped failover still counts for the cooldown: an operator ends it.
    let until = Instant::now() + LONG;
    while third.status().services[0].primary.is_none() {
        assert!(Instant::now() < until);
    }
    let _ = third.reset(&status.services[0].name);
    let forced = loop {
        match third.switchover(&status.services[0].name, failover::SwitchoverOptions::default()) {
            Ok(said) => break said,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(forced.message.contains("has begun") && forced.generation == Some(2), "{forced:?}");
    // While the new primary waits for its traffic nothing advises to stop it, as for a standby that takes writes.
    let task = wait_for(&queue, "the task", |event| {
        event.kind == EventKind::TaskAction && event.fields["step"] == "route_in" && event.generation == 2
    });
    let status = third.status();
    let db2 = status.services[0].servers.iter().find(|server| server.name == "db2").unwrap();
    assert!(db2.not_promotable.is_none(), "{db2:#?}");
    assert!(pair.db2.is_primary().unwrap());
    pair.haproxy.command(&format!("set server {BACKEND}/db2 state ready")).unwrap();
    third.complete_task(task.fields["task_id"].as_u64().unwrap(), TaskAnswer::Action(ActionAnswer::Done(String::new()))).unwrap();
    let end = wait_for(&queue, "the end", |event| {
        matches!(event.kind, EventKind::FailoverCompleted | EventKind::FailoverFailed | EventKind::ManualIntervention)
    });
    assert_eq!((end.kind, end.generation), (EventKind::FailoverCompleted, 2), "{}", end.message);
    assert!(pair.db2.is_primary().unwrap());
    let status = third.status();
    let failover = status.services[0].failover.as_ref().unwrap();
    assert_eq!(failover.to.as_deref(), Some("db2"));
    assert!(failover.steps.iter().all(|step| step.outcome == "ok"), "{:#?}", failover.steps);
    assert!(failover.steps.iter().any(|step| step.name == "pre_checks" && step.message.contains("generation 2")));
    third.stop(LONG).unwrap();
}

/// A state directory that was deleted takes pauses and cordons with it: the next engine says so by itself.
#[test]
fn an_engine_whose_state_directory_was_deleted_says_what_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let text = format!(
        "version = 1\nstate_dir = \"{}\"\n[[services]]\nname = \"web\"\nkind = \"application\"\n\
         [[services.servers]]\nname = \"web1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\n[[services.checks]]\nname = \"page\"\n\
         server = \"web1\"\nkind = \"scripted\"\nanswers = [\"up\"]\n",
        state.display()
    );
    // What it says of a lost journal, and whether the service is paused and the server cordoned.
    let run = |then: &dyn Fn(&Engine)| {
        let engine = Engine::new(Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        let web = engine.status().services[0].clone();
        then(&engine);
        engine.stop(LONG).unwrap();
        let said = std::iter::from_fn(|| queue.next(LONG)).find(|event| event.message.contains("knows of no pause, no cordon"));
        (said.map(|event| (event.severity.as_str(), event.message.contains("was lost. "))), web.paused, web.servers[0].cordoned)
    };
    let order = |engine: &Engine| {
        engine.pause(Some("web")).unwrap();
        engine.cordon("web", "web1").unwrap();
    };
    assert_eq!(run(&order), (Some(("info", false)), false, false));
    assert_eq!(run(&|_| ()), (None, true, true));
    std::fs::remove_dir_all(&state).unwrap();
    assert_eq!(run(&|_| ()), (Some(("info", false)), false, false));
}
