//! Salvage through the whole engine: with asynchronous replication no acknowledged row is lost while the host of the dead primary answers.

mod support;

use support::cluster::{Cluster, ClusterOptions, Replication};
use support::lab::wait_until;
use support::postgres::{PREPARED, bin_dir};
use support::recording::Event;
use support::trial::{Account, End, LONGEST, Trial, acknowledged_by, assert_honest, turn};

/// Rows that the standby does not hear of.
const UNHEARD: usize = 300;

fn pair() -> ClusterOptions {
    let settings = vec![PREPARED.to_owned(), "wal_receiver_timeout = 30s".to_owned(), "wal_keep_size = 256MB".to_owned()];
    // What was never flushed may be on no disk: with fsync off nothing is salvaged.
    ClusterOptions { standbys: 1, settings, fsync: true, ..ClusterOptions::new(Replication::Async) }
}

/// Some packages have no pg_waldump: then the end of a log is not told, and nothing is salvaged.
fn impossible() -> Option<String> {
    let bin = bin_dir().unwrap();
    (!bin.join("pg_waldump").exists()).then(|| format!("there is no pg_waldump in {}", bin.display()))
}

/// The rows that only the primary had are on the new one.
fn assert_salvaged(end: &End, account: &Account, at_least: usize, from: u64, port: u16) {
    let told = format!("{}\n{}", end.event().message, account.story);
    assert_eq!((end.promoted(), account.lost()), (Some("db2"), Some(0)), "{told}");
    assert_eq!(end.event().text("salvage"), Some("all"), "{told}");
    let unheard = acknowledged_by(&account.attempts, from, port);
    assert!(unheard >= at_least, "only {unheard} rows were acknowledged unheard: {told}");
}

fn number(event: &Event, field: &str) -> u64 {
    event.fields.get(field).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("no {field}: {event:?}"))
}

#[test]
fn what_only_a_killed_primary_has_is_salvaged() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let _turn = turn();
    let trial = Trial::start(&pair()).unwrap();
    let (db1, port) = (trial.cluster.db(1), trial.cluster.db(1).port());
    let _deaf = db1.stop_sending_to(trial.cluster.db(2)).unwrap();
    let unheard = trial.now();
    trial.await_rows(UNHEARD).unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_salvaged(&end, &account, UNHEARD / 2, unheard, port);
    assert!(number(end.event(), "salvaged_bytes") > 0);
}

/// The receiver stands still and stays so; the primary hangs, and is killed by the fence.
#[test]
fn what_only_a_hung_primary_has_is_salvaged_past_a_frozen_receiver() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let _turn = turn();
    let trial = Trial::start(&pair()).unwrap();
    let (db1, port) = (trial.cluster.db(1), trial.cluster.db(1).port());
    let _frozen = trial.cluster.db(2).stop_receiver().unwrap();
    let unheard = trial.now();
    trial.await_rows(UNHEARD).unwrap();
    let from = trial.now();
    let hung = db1.freeze().unwrap();
    let end = trial.end(from).unwrap();
    db1.thaw(&hung);
    let (account, _cluster) = trial.account().unwrap();
    assert_salvaged(&end, &account, UNHEARD / 2, unheard, port);
}

/// More than `max_lag_bytes` is missing: the standby could not be promoted without.
#[test]
fn twenty_thousand_commits_are_salvaged_although_the_standby_lags_too_far() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let _turn = turn();
    let cluster = Cluster::start(&pair(), |_| {}).unwrap();
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let patient = text.replace("max_lag_bytes", "salvage_timeout = \"10s\"\n  max_lag_bytes");
    assert_ne!(text, patient);
    cluster.lab.write(&cluster.config, patient, 0o600).unwrap();
    let trial = Trial::with(cluster).unwrap();
    let db1 = trial.cluster.db(1);
    db1.query("CREATE TABLE many (i int)").unwrap();
    db1.wait_streaming("db2").unwrap();
    let _deaf = db1.stop_sending_to(trial.cluster.db(2)).unwrap();
    db1.query("DO $$ BEGIN FOR i IN 1..20000 LOOP INSERT INTO many VALUES (i); COMMIT; END LOOP; END $$").unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, cluster) = trial.account().unwrap();
    let told = format!("{}\n{}", end.event().message, account.story);
    assert_eq!((end.promoted(), account.lost()), (Some("db2"), Some(0)), "{told}");
    assert_eq!(cluster.db(2).value("SELECT count(*) FROM many").unwrap(), "20000", "{told}");
}

/// A standby that is not prepared: as before, and the record says so.
#[test]
fn without_preparation_the_loss_is_what_it_was_and_is_told() {
    let _turn = turn();
    let settings = vec!["wal_receiver_timeout = 30s".to_owned()];
    let trial = Trial::start(&ClusterOptions { settings, ..pair() }).unwrap();
    let db1 = trial.cluster.db(1);
    let _deaf = db1.stop_sending_to(trial.cluster.db(2)).unwrap();
    trial.await_rows(UNHEARD).unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(end.event().text("salvage"), Some("not_tried"), "{}\n{}", end.event().message, account.story);
    assert!(account.lost().is_some_and(|lost| lost > 0), "{}", account.story);
    assert_honest(&end, &account, 1 << 20);
}

/// The engine is killed as the salvage begins: the next one takes it up, and nothing is lost.
#[test]
fn an_engine_that_is_killed_meanwhile_is_followed_by_one_that_salvages() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let _turn = turn();
    let mut trial = Trial::start(&pair()).unwrap();
    let (db1, port) = (trial.cluster.db(1), trial.cluster.db(1).port());
    let deaf = db1.stop_sending_to(trial.cluster.db(2)).unwrap();
    let unheard = trial.now();
    trial.await_rows(UNHEARD).unwrap();
    let from = trial.kill(db1);
    drop(deaf);
    trial
        .await_event("the salvage begins", from, |event| event.kind == "step_started" && event.step() == Some("salvage"))
        .unwrap();
    trial.end_engine(false);
    trial.start_engine().unwrap();
    let end = trial.end(from).unwrap();
    wait_until("the spool is empty", LONGEST, || {
        let spool = trial.cluster.db(2).data_dir().join("failover-spool");
        Ok(std::fs::read_dir(spool).into_iter().flatten().next().is_none().then_some(()))
    })
    .unwrap();
    let (account, _cluster) = trial.account().unwrap();
    let told = format!("{}\n{}", end.event().message, account.story);
    assert_eq!((end.promoted(), account.lost()), (Some("db2"), Some(0)), "{told}");
    assert!(acknowledged_by(&account.attempts, unheard, port) >= UNHEARD / 2, "{told}");
}

/// A standby that hears all lacks the last moment, or nothing.
#[test]
fn a_primary_that_is_killed_under_load_loses_no_row() {
    let _turn = turn();
    let trial = Trial::start(&pair()).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    let salvage = end.event().text("salvage").map(str::to_owned);
    let (account, _cluster) = trial.account().unwrap();
    let told = format!("{}\n{}", end.event().message, account.story);
    assert_eq!((end.promoted(), account.lost()), (Some("db2"), Some(0)), "{told}");
    if impossible().is_none() {
        assert!(matches!(salvage.as_deref(), Some("nothing_missing" | "all" | "not_needed")), "{salvage:?}: {told}");
    }
}
