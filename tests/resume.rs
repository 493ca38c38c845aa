//! The engine is killed in the middle of a real failover, at each step in turn, and started again on the same journal; and HAProxy
//! is restarted after a failover, with the old primary on its way back.

use std::time::Duration;

use crate::support::engine::{Engine, Origin};
use crate::support::lab::wait_until;
use crate::support::pair::{Pair, PairOptions};
use crate::support::recording::Event;
use rustix::process::Signal;

const LONG: Duration = Duration::from_secs(60);

fn ready() -> (Pair, Engine) {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
    let engine = pair.engine(Origin::now()).unwrap();
    engine.wait_ready(LONG).unwrap();
    (pair, engine)
}

/// Waits for the first event that fits, from place `from` on.
fn wait_for(engine: &Engine, what: &str, from: usize, fits: impl Fn(&Event) -> bool) -> Event {
    engine.first_event(what, LONG, from, fits)
}

/// The engine is killed when it says `kind` of `step`; the next one has to end the failover.
fn dies_at(kind: &str, step: &str) {
    let (pair, engine) = ready();
    let from = engine.events().len();
    pair.db1.kill_postmaster().unwrap();
    let death = wait_for(&engine, &format!("{kind} {step}"), from, |event| event.kind == kind && event.message.starts_with(step));
    engine.process().signal(Signal::KILL);
    engine.process().wait(LONG).expect("a killed process ends");
    let first = engine.story();

    let second = pair.engine(Origin::now()).unwrap();
    wait_for(&second, "failover_resumed", 0, |event| event.kind == "failover_resumed");
    wait_for(&second, "failover_completed", 0, |event| event.kind == "failover_completed");
    let told = format!("{kind} {step} ({}):\n{first}\n--- the second engine\n{}", death.message, second.story());
    assert!(pair.db2.is_primary().unwrap(), "{told}");
    assert!(pair.db1.processes().is_empty(), "the old primary still has processes; {told}");
    let shown = |server: &str| pair.haproxy.stat(server, "status").unwrap();
    assert!(shown("db2").starts_with("UP") || shown("db2") == "no check", "{}; {told}", shown("db2"));
    assert_eq!(shown("db1"), "MAINT", "{told}");
    let timeline = pair.db2.value("SELECT timeline_id FROM pg_control_checkpoint()").unwrap();
    assert!(["1", "2"].contains(&timeline.as_str()), "promoted more than once, timeline {timeline}; {told}");
    // Both engines have confirmed the death, or only the first: it is one failover.
    let metrics = second.status().unwrap()["services"][0]["metrics"].take();
    let counts = [&metrics["mttd"]["count"], &metrics["mttr"]["count"], &metrics["judged"]["justified"]];
    assert_eq!(counts, [1, 1, 1], "{metrics:#}\n{told}");
    assert!(second.stop(), "{}", second.log_tail());
}

#[test]
fn an_engine_killed_before_the_promotion_is_followed_by_one_that_fails_over() {
    for step in ["route_out", "fence", "read_positions"] {
        dies_at("step_started", step);
    }
    dies_at("step_finished", "fence");
}

#[test]
fn an_engine_killed_after_the_promotion_began_is_followed_by_one_that_finishes() {
    for step in ["promote", "verify_data", "route_in", "verify_traffic"] {
        dies_at("step_started", step);
    }
    dies_at("step_finished", "promote");
}

#[test]
fn a_restarted_haproxy_never_gives_the_old_primary_a_session() {
    let (mut pair, engine) = ready();
    pair.db1.kill_postmaster().unwrap();
    wait_for(&engine, "failover_completed", 0, |event| event.kind == "failover_completed");
    // Its configuration still names db1 first and holds db2 in maintenance.
    let from = engine.events().len();
    pair.haproxy.restart(&pair.lab).unwrap();
    wait_for(&engine, "route_asserted", from, |event| event.kind == "route_asserted");
    wait_until("the route leads to db2", LONG, || {
        let shown = |server: &str| pair.haproxy.stat(server, "status");
        Ok((shown("db1")? == "MAINT" && shown("db2")? != "MAINT").then_some(()))
    })
    .unwrap();
    assert_eq!(pair.haproxy.stat("db1", "stot").unwrap(), "0", "db1 had a session; {}", engine.story());
    assert!(engine.stop(), "{}", engine.log_tail());
}

#[test]
fn a_forced_failover_is_waited_for_and_remembered_by_the_next_engine() {
    let (pair, engine) = ready();
    let command = |arguments: &[&str]| {
        let program = std::process::Command::new(env!("CARGO_BIN_EXE_failover"));
        let output = { program }.args(arguments).arg("--socket").arg(&pair.control).output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, told, steps) = command(&["force", "orders", "--accept-loss", "16MiB", "--yes", "--wait"]);
    assert_eq!(code, Some(0), "{told}{steps}");
    assert!(told.contains("db1 -> db2, completed in "), "{told}");
    assert!(steps.contains("step_finished: promote db2: "), "{steps}");
    let (code, _, refused) = command(&["force", "orders", "--to", "db2", "--yes", "--wait"]);
    assert_eq!(code, Some(4), "{refused}");
    assert!(engine.stop(), "{}", engine.log_tail());

    let next = pair.engine(Origin::now()).unwrap();
    let seen = wait_until("the status", LONG, || {
        let (code, shown, _) = command(&["status", "--json"]);
        let shown: Option<serde_json::Value> = serde_json::from_str(&shown).ok().filter(|_| code == Some(0));
        // Both have been asked.
        let asked = |shown: &serde_json::Value| {
            let servers = shown["services"][0]["servers"].as_array().into_iter().flatten();
            servers.flat_map(|server| server["checks"].as_array().into_iter().flatten()).all(|check| !check["verdict"].is_null())
        };
        Ok(shown.filter(asked))
    });
    let shown = seen.unwrap_or_else(|error| panic!("{error}\n{}", next.log_tail()));
    let last = &shown["services"][0]["failover"];
    assert_eq!((&last["generation"], &last["outcome"], &last["to"]), (&1.into(), &"completed".into(), &"db2".into()), "{last:#}");
    assert!(last["steps"].as_array().is_some_and(|steps| steps.len() >= 5), "{last:#}");
    let role = &shown["services"][0]["servers"][0];
    assert!(role["role"] != "writable" && role["answers"] == false, "{role:#}");
    assert!(next.stop(), "{}", next.log_tail());
}

/// What the engine left of `orders`, and the moment to which it belongs, in nanoseconds since the machine was started.
fn left(pair: &Pair) -> Option<(u64, serde_json::Value)> {
    let state = pair.control.parent().expect("the socket lies in the state directory");
    let text = std::fs::read_to_string(state.join("knowledge.json")).ok()?;
    let left: serde_json::Value = serde_json::from_str(&text).expect("it is replaced as a whole");
    Some((left["boot_ns"].as_u64()?, left["services"]["orders"].clone()))
}

fn boottime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

#[test]
fn what_was_seen_is_left_by_an_engine_that_stops_and_by_one_that_is_killed() {
    let (pair, engine) = ready();
    let begins = wait_until("what was seen", LONG, || Ok(left(&pair).filter(|(_, orders)| !orders.is_null()))).unwrap();
    assert_eq!(begins.1["servers"], serde_json::json!(["db1", "db2"]), "{begins:?}");
    wait_until("more of it", LONG, || Ok(left(&pair).filter(|(at, _)| *at > begins.0))).unwrap();
    let before_stop = boottime();
    assert!(engine.stop(), "{}", engine.log_tail());
    let stopped = left(&pair).expect("a stop leaves it");
    assert!(stopped.0 >= before_stop && !stopped.1.is_null(), "{before_stop} {stopped:?}");

    let second = pair.engine(Origin::now()).unwrap();
    second.wait_ready(LONG).unwrap();
    wait_until("what the second one saw", LONG, || Ok(left(&pair).filter(|(at, _)| *at > stopped.0))).unwrap();
    second.process().signal(Signal::KILL);
    second.process().wait(LONG).expect("a killed process ends");
    assert!(left(&pair).is_some_and(|(at, orders)| at > stopped.0 && !orders.is_null()));
    let ignored = |event: &Event| event.message.contains("is ignored");
    assert!(!second.events().iter().any(ignored), "{}", second.story());
}
