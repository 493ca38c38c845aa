//! A primary that is told to stop and does not come to its end, because its archiver never does: it is told what the stop waits for, and
//! `on_impaired` decides.

use std::time::Duration;

use crate::support::engine::{Engine, Origin};
use crate::support::pair::{Pair, PairOptions};
use crate::support::recording::Event;
use rustix::process::{Pid, Signal, kill_process};

const LONG: Duration = Duration::from_secs(60);

/// The first event that fits.
fn wait_for(engine: &Engine, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
    engine.first_event(what, LONG, 0, fits)
}

/// A pair whose primary archives for ever, and has been told to stop while it does.
fn held(on_impaired: &str) -> (Pair, Engine) {
    let settings = ["archive_mode = on", "archive_command = 'sleep 1000'"].map(str::to_owned).to_vec();
    let config_tail = format!("\n  [services.trigger]\n  restart_grace = \"2s\"\n  on_impaired = \"{on_impaired}\"\n");
    let pair = Pair::start(&PairOptions { fsync: false, settings, config_tail, ..PairOptions::default() }, |_| {}).unwrap();
    let engine = pair.engine(Origin::now()).unwrap();
    engine.wait_ready(LONG).unwrap();
    pair.db1.switch_wal().unwrap();
    let postmaster = Pid::from_raw(pair.db1.postmaster_pid().unwrap()).unwrap();
    kill_process(postmaster, Signal::INT).unwrap();
    (pair, engine)
}

#[test]
fn what_a_stop_waits_for_is_told_after_the_grace_and_nothing_is_done() {
    let (pair, engine) = held("never");
    let told = wait_for(&engine, "the alarm", |event| {
        event.kind == "failover_refused" && event.text("refusal") == Some("shutdown_held")
    });
    assert!(told.message.contains("waits for its archiver"), "{}\n{}", told.message, engine.story());
    assert_eq!(told.severity, "alarm");
    assert!(!pair.db2.is_primary().unwrap());
    assert!(!engine.events().iter().any(|event| event.kind == "failover_started"), "{}", engine.story());
    assert!(engine.stop(), "{}", engine.log_tail());
}

#[test]
fn a_stop_that_is_held_is_failed_over_after_on_impaired_and_no_row_is_missing() {
    // Longer than what was heard of its log is worth anything: only that its end was read says that nothing is missing.
    let (pair, engine) = held("8s");
    let completed = wait_for(&engine, "failover_completed", |event| event.kind == "failover_completed");
    assert!(completed.message.contains("nothing is missing: it has the log up to its end"), "{}", engine.story());
    let confirmed = wait_for(&engine, "the class", |event| event.kind == "failure_confirmed");
    assert!(confirmed.message.contains("unusable"), "{}", engine.story());
    assert!(pair.db2.is_primary().unwrap());
    assert!(pair.db1.processes().is_empty(), "the old primary still has processes; {}", engine.story());
    assert!(engine.stop(), "{}", engine.log_tail());
}
