//! From release 0.1 to this one and back, on a real pair: the program of that release, built from the history by
//! `scripts/release-0.1.sh`, ends in some state, and this one goes on from there on the same state directory.
//!
//! `UPDATE_EXPECT=1` leaves the journals that release 0.1 wrote in `tests/journals/0.1`. The tests of the journal alone read those, and
//! every beginning of them: each is what an engine leaves that is killed there.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::engine::{Engine, Origin};
use support::lab::wait_until;
use support::pair::{Pair, PairOptions};
use support::recording::Event;
use support::trial::turn;

const LONG: Duration = Duration::from_secs(60);

/// A file of release 0.1; `None`, and why is said, where it was not built.
fn of_release(name: &str) -> Option<PathBuf> {
    let path = support::root().join("target/0.1").join(name);
    if !path.exists() {
        println!("SKIPPED: {} is not there: scripts/release-0.1.sh builds it", path.display());
        return None;
    }
    Some(path)
}

fn pair(synchronous: bool) -> Pair {
    Pair::start(&PairOptions { fsync: false, synchronous, ..PairOptions::default() }, |_| {}).unwrap()
}

/// Waits for the first event that fits, from place `from` on.
fn wait_for(engine: &Engine, what: &str, from: usize, fits: impl Fn(&Event) -> bool) -> Event {
    engine.first_event(what, LONG, from, fits)
}

fn state_dir(pair: &Pair) -> &Path {
    pair.control.parent().expect("the socket lies in the state directory")
}

fn journal(pair: &Pair) -> Vec<u8> {
    std::fs::read(state_dir(pair).join("journal.jsonl")).unwrap()
}

/// Leaves a journal for the tests of the journal alone, where that is asked for.
fn record(pair: &Pair, name: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_none() {
        return;
    }
    let folder = support::root().join("tests/journals/0.1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name).with_extension("jsonl"), journal(pair)).unwrap();
}

/// A command to the running daemon, by the program of this release: its exit code and what it said.
fn command(pair: &Pair, arguments: &[&str]) -> (Option<i32>, String) {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_failover"));
    let output = program.args(arguments).arg("--socket").arg(&pair.control).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// The first status of the service that fits.
fn wait_status(engine: &Engine, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = wait_until(what, LONG, || {
        // It may have no socket yet.
        last = engine.status().unwrap_or_default();
        Ok(fits(&last["services"][0]).then(|| last.clone()))
    });
    found.unwrap_or_else(|error| panic!("{error}\n{last:#}\n{}", engine.story()))
}

#[test]
fn an_engine_takes_over_from_release_0_1_and_that_one_refuses_to_go_back() {
    let Some(old) = of_release("failover") else { return };
    let _turn = turn();
    let pair = pair(false);
    let first = pair.engine_of(&old, Origin::now()).unwrap();
    first.wait_ready(LONG).unwrap();
    // By the helper of this release, which is installed first.
    pair.db1.kill_postmaster().unwrap();
    wait_for(&first, "failover_completed", 0, |event| event.kind == "failover_completed");
    let (code, said) = command(&pair, &["pause", "orders"]);
    assert_eq!(code, Some(0), "{said}");
    record(&pair, "failed_over_and_paused");
    assert!(first.stop(), "{}", first.log_tail());
    let written = journal(&pair);

    let second = pair.engine(Origin::now()).unwrap();
    let shown = wait_status(&second, "what release 0.1 left", |orders| {
        orders["primary"] == "db2" && orders["servers"][1]["answers"] == true
    });
    let orders = &shown["services"][0];
    assert_eq!((&orders["paused"], &orders["generation"]), (&true.into(), &1.into()), "{orders:#}");
    assert!(orders["cooldown_ms"].as_f64().is_some_and(|left| left > 0.0), "{orders:#}");
    assert_eq!((&orders["failover"]["outcome"], &orders["failover"]["from"]), (&"completed".into(), &"db1".into()), "{orders:#}");
    assert_eq!(orders["servers"][0]["deposed"], true, "{orders:#}");
    assert_eq!(shown["journal"]["writable"], true, "{shown:#}");
    let kept = std::fs::read(state_dir(&pair).join("journal.1.jsonl")).expect("the journal of release 0.1 is kept");
    assert_eq!(kept, written);
    let (code, said) = command(&pair, &["resume", "orders"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(second.stop(), "{}", second.log_tail());

    let written = journal(&pair);
    let back = pair.engine_of(&old, Origin::now()).unwrap();
    let shown = wait_status(&back, "the refusal of release 0.1", |orders| orders["name"] == "orders");
    let reason = shown["journal"]["reason"].as_str().unwrap_or_default();
    assert!(shown["journal"]["writable"] == false && reason.contains("in format 2, newer than 1"), "{shown:#}");
    wait_status(&back, "its refusal of a failover", |orders| orders["forecast"].to_string().contains("journal"));
    let (_, said) = command(&pair, &["force", "orders", "--yes"]);
    assert!(said.contains("journal"), "{said}");
    assert!(back.stop(), "{}", back.log_tail());
    assert_eq!(journal(&pair), written, "nothing of it is touched");
}

/// Release 0.1 is killed when it begins `step`; this one has to end the failover.
fn dies_at(old: &Path, step: &str, synchronous: bool) {
    let pair = pair(synchronous);
    let first = pair.engine_of(old, Origin::now()).unwrap();
    first.wait_ready(LONG).unwrap();
    let from = first.events().len();
    pair.db1.kill_postmaster().unwrap();
    wait_for(&first, step, from, |event| event.kind == "step_started" && event.message.starts_with(step));
    first.process().signal(Signal::KILL);
    first.process().wait(LONG).expect("a killed process ends");
    if synchronous {
        record(&pair, &format!("synchronous_{step}"));
    }

    let second = pair.engine(Origin::now()).unwrap();
    wait_for(&second, "failover_resumed", 0, |event| event.kind == "failover_resumed");
    wait_for(&second, "failover_completed", 0, |event| event.kind == "failover_completed");
    let told = format!("{step}:\n{}\n--- the second engine\n{}", first.story(), second.story());
    assert!(pair.db2.is_primary().unwrap(), "{told}");
    assert!(pair.db1.processes().is_empty(), "the old primary still has processes; {told}");
    assert_eq!(pair.haproxy.stat("db1", "status").unwrap(), "MAINT", "{told}");
    let metrics = second.status().unwrap()["services"][0]["metrics"].take();
    let counts = [&metrics["mttd"]["count"], &metrics["mttr"]["count"], &metrics["judged"]["justified"]];
    assert_eq!(counts, [1, 1, 1], "{metrics:#}\n{told}");
    assert!(second.stop(), "{}", second.log_tail());
}

#[test]
fn a_failover_that_release_0_1_began_is_ended() {
    let Some(old) = of_release("failover") else { return };
    let _turn = turn();
    dies_at(&old, "fence", true);
    dies_at(&old, "promote", false);
}

#[test]
fn a_person_whom_release_0_1_called_stays_called() {
    let Some(old) = of_release("failover") else { return };
    let _turn = turn();
    let pair = pair(false);
    let first = pair.engine_of(&old, Origin::now()).unwrap();
    first.wait_ready(LONG).unwrap();
    pair.db2.kill_all();
    wait_for(&first, "standby_not_ready", 0, |event| event.kind == "standby_not_ready");
    pair.db1.kill_postmaster().unwrap();
    wait_for(&first, "manual_intervention", 0, |event| event.kind == "manual_intervention");
    assert!(first.stop(), "{}", first.log_tail());
    record(&pair, "manual_intervention");
    let second = pair.engine(Origin::now()).unwrap();
    let told = wait_for(&second, "manual_intervention", 0, |event| event.kind == "manual_intervention");
    assert!(told.message.contains("no standby can take over"), "{}", told.message);
    assert!(second.stop(), "{}", second.log_tail());
}

/// The helper that is installed is that of release 0.1: the engine says so before a failover needs it.
#[test]
fn the_helper_of_release_0_1_is_refused_by_name_before_it_is_needed() {
    let Some(helper) = of_release("failover-host") else { return };
    let _turn = turn();
    let pair = pair(false);
    pair.lab.copy_in(&helper, "bin/failover-host", 0o700).unwrap();
    let engine = pair.engine(Origin::now()).unwrap();
    wait_status(&engine, "a failover that would be refused by what the helper is", |orders| {
        let blocked = orders["forecast"]["would_fail_over"] == false;
        blocked && orders["forecast"].to_string().contains("host_script_outdated")
    });
    assert!(engine.stop(), "{}", engine.log_tail());
}
