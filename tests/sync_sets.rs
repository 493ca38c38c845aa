//! A real cluster of three servers in which the engine keeps the set of standbys that commits wait for.

mod support;

use support::cluster::{Cluster, ClusterOptions, Replication};
use support::lab::wait_until;
use support::postgres::StopMode;
use support::trial::{LONGEST, Trial, turn};

/// Three servers whose commits wait for one standby, and an engine that keeps the set.
fn start() -> Trial {
    let settings = ["wal_receiver_timeout = 30s", "wal_sender_timeout = 3s"].map(str::to_owned).to_vec();
    let cluster = Cluster::start(&ClusterOptions { settings, ..ClusterOptions::new(Replication::Any) }, |_| {}).unwrap();
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let before = "  on_no_sync_standby = \"async\"";
    assert!(text.contains(before), "{text}");
    let kept = format!("  synchronous = \"maintain\"\n  synchronous_timeout = \"1s\"\n{before}");
    std::fs::write(&cluster.config, text.replacen(before, &kept, 1)).unwrap();
    Trial::with(cluster).unwrap()
}

/// The primary has these names, and the engine has confirmed them.
fn await_names(trial: &Trial, primary: usize, names: &str) {
    let shown = |value: &str| value.replace('"', "") == names;
    let waited = wait_until(&format!("names are {names}"), LONGEST, || {
        let now = trial.cluster.db(primary).value("SELECT current_setting('synchronous_standby_names')")?;
        let (_, status) = trial.command(&["status", "--json"])?;
        // An engine that is about to answer prints something else.
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        let set = &status["services"][0]["sync_set"];
        Ok((shown(&now) && shown(set["names"].as_str().unwrap_or_default()) && set["changing"] == false).then_some(()))
    });
    waited.map_err(|error| trial.explain(&error)).unwrap();
}

/// A member dies, comes back, and dies again: the set follows. The primary dies then, and nothing that was acknowledged is missing. Of
/// the one that is left it is told that nobody acknowledges.
#[test]
fn the_set_follows_its_members_and_a_second_death_is_decided_without_loss() {
    let _turn = turn();
    let trial = start();
    await_names(&trial, 1, "ANY 1 (db2, db3)");
    let db3 = trial.cluster.db(3);
    db3.stop(StopMode::Immediate).unwrap();
    await_names(&trial, 1, "ANY 1 (db2)");
    db3.start().unwrap();
    await_names(&trial, 1, "ANY 1 (db2, db3)");
    db3.stop(StopMode::Immediate).unwrap();
    await_names(&trial, 1, "ANY 1 (db2)");
    trial.await_rows(50).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some("db2"), "{}\n{}", end.event().message, trial.story());
    trial.await_event("nobody acknowledges", from, |event| event.kind == "sync_set_short").unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "{}", account.story);
}

/// An engine that ends while a change is due, and one that finds other names than it had set: the next one goes on.
#[test]
fn the_next_engine_goes_on_and_names_that_somebody_changed_are_told_and_set_back() {
    let _turn = turn();
    let mut trial = start();
    await_names(&trial, 1, "ANY 1 (db2, db3)");
    trial.cluster.db(3).stop(StopMode::Immediate).unwrap();
    trial.end_engine(false);
    trial.start_engine().unwrap();
    await_names(&trial, 1, "ANY 1 (db2)");
    let from = trial.now();
    let db1 = trial.cluster.db(1);
    db1.query("ALTER SYSTEM SET synchronous_standby_names = ''").unwrap();
    db1.query("SELECT pg_reload_conf()").unwrap();
    let told = trial.await_event("it is told", from, |event| event.kind == "sync_set_changed" && event.severity == "warning");
    assert!(told.unwrap().message.contains("somebody changed"), "{}", trial.story());
    await_names(&trial, 1, "ANY 1 (db2)");
}
