//! More of what can happen to a cluster of three servers: who acknowledged, who was promoted by hand, and what ends in the middle of
//! something else.

mod support;
mod ways_out;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::cluster::{Cluster, ClusterOptions, Replication};
use support::lab::wait_until;
use support::postgres::{PgServer, WRITER_DATABASE, WRITER_ROLE, bin_dir};
use support::recording::Event;
use support::replication::Stopped;
use support::saturation::Storm;
use support::session::{Login, Session};
use support::trial::{Account, End, LONGEST, MIB, SELDOM_ASKED, Trial, acknowledged_by, assert_honest, lasts, turn};

/// A cluster whose standbys do not give up on a sender that stands still while a test lasts.
fn cluster(options: &ClusterOptions) -> Cluster {
    let settings = vec!["wal_receiver_timeout = 30s".to_owned()];
    Cluster::start(&ClusterOptions { settings, ..options.clone() }, |_| {}).unwrap()
}

/// A pair where commits wait for nobody.
fn asynchronous_pair() -> ClusterOptions {
    ClusterOptions { standbys: 1, ..ClusterOptions::new(Replication::Async) }
}

/// A pair where commits wait for the standby.
fn pair() -> ClusterOptions {
    ClusterOptions { standbys: 1, ..ClusterOptions::new(Replication::First) }
}

fn begins(step: &str) -> impl Fn(&Event) -> bool + '_ {
    move |event| event.kind == "step_started" && event.step() == Some(step)
}

/// Of a failover that went through: who was promoted, and nothing that was acknowledged is missing.
fn assert_whole(end: &End, account: &Account, right: &str) {
    let told = format!("{}\n{}", end.event().message, account.story);
    assert_eq!(end.promoted(), Some(right), "{told}");
    assert_eq!((account.writable.as_slice(), account.lost()), (&[right.to_owned()][..], Some(0)), "{told}");
}

// Who acknowledged.

#[test]
fn of_two_that_change_places_under_first_the_one_that_acknowledged_last_is_promoted() {
    let _turn = turn();
    let cluster = cluster(&ClusterOptions { config_tail: SELDOM_ASKED.to_owned(), ..ClusterOptions::new(Replication::First) });
    cluster.log_questions().unwrap();
    let trial = Trial::with(cluster).unwrap();
    // The answer to the engine's next question does not come.
    let db1 = trial.cluster.db(1);
    let _unanswered = trial.change_places(|| Stopped::stop([db1.kept_backend().unwrap()]), |_| ()).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db3");
}

#[test]
fn where_commits_wait_for_both_one_behind_has_all_of_them() {
    let _turn = turn();
    let cluster = cluster(&ClusterOptions::new(Replication::Async));
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let changed = text.replace("name = \"db3\"\n", "name = \"db3\"\n  candidate = false\n");
    assert_ne!(text, changed, "db3 has a place in the configuration");
    cluster.lab.write(&cluster.config, changed, 0o600).unwrap();
    cluster.db(1).set("synchronous_standby_names = 'ANY 2 (db2, db3)'").unwrap();
    let trial = Trial::with(cluster).unwrap();
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    let _deaf = db1.stop_sending_to(db2).unwrap();
    // What nobody was told of; db3 has it, and may not be promoted.
    let much = "SELECT pg_logical_emit_message(false, 'lab', repeat('x', 1000)) FROM generate_series(1, 50)";
    db1.query(&format!("SET synchronous_commit = local; {much}")).unwrap();
    db3.wait_following(db1).unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db2");
}

// A load that is more than `max_lag_bytes` between two samples.

/// Inserts of 20 MB each until the server ends: those that were acknowledged.
fn load(mut session: support::Session, acknowledged: &mpsc::Sender<u64>) {
    for n in 0.. {
        let sql = format!("INSERT INTO bulk SELECT {n}, repeat(md5(i::text), 3125) FROM generate_series(1, 200) i");
        if session.query(&sql, LONGEST).is_err() || acknowledged.send(n).is_err() {
            return;
        }
    }
}

#[test]
fn a_synchronous_pair_under_a_bulk_load_fails_over_and_loses_nothing_acknowledged() {
    let _turn = turn();
    let trial = Trial::with(cluster(&pair())).unwrap();
    let db1 = trial.cluster.db(1);
    let table = "CREATE TABLE bulk (n bigint, x text); ALTER TABLE bulk ALTER x SET STORAGE EXTERNAL";
    db1.session_in(WRITER_DATABASE).unwrap().query(table, LONGEST).unwrap();
    let (told, acknowledged) = mpsc::channel();
    let session = db1.session_in(WRITER_DATABASE).unwrap();
    let loader = std::thread::spawn(move || load(session, &told));
    let mut there: BTreeSet<u64> = (0..3).map(|_| acknowledged.recv_timeout(LONGEST).unwrap()).collect();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    loader.join().unwrap();
    there.extend(acknowledged.try_iter());
    let mut session = trial.cluster.db(2).session_in(WRITER_DATABASE).unwrap();
    let rows = session.query("SELECT n FROM bulk GROUP BY n HAVING count(*) = 200", LONGEST).unwrap();
    for row in rows {
        there.remove(&row[0].as_deref().unwrap().parse().unwrap());
    }
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db2");
    assert!(there.is_empty(), "acknowledged and missing: {there:?}\n{}", account.story);
}

// By hand.

#[test]
fn a_server_promoted_by_hand_during_a_pause_is_left_alone_when_it_ends() {
    let _turn = turn();
    let trial = Trial::with(cluster(&asynchronous_pair())).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let (code, told) = trial.command(&["pause", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    let from = trial.kill(db1);
    db2.promote().unwrap();
    let (code, told) = trial.command(&["resume", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    let adopted = |event: &Event| event.kind == "primary_known" && event.server.as_deref() == Some("db2");
    trial.await_event("the engine follows db2", from, adopted).unwrap();
    let harms =
        |event: &Event| event.kind == "point_of_no_return" || begins("fence")(event) && event.text("target") == Some("db2");
    let harmed = trial.watch(from, Duration::from_secs(1), harms);
    assert!(harmed.is_none(), "{harmed:?}\n{}", trial.story());
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.writable, ["db2"], "{}", account.story);
}

#[test]
fn what_a_server_promoted_by_hand_in_the_middle_of_a_failover_lacks_is_told() {
    let _turn = turn();
    let held = ClusterOptions { fence_can_be_held: true, ..ClusterOptions::new(Replication::Any) };
    let trial = Trial::with(cluster(&held)).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let deaf = db1.stop_sending_to(db2).unwrap();
    trial.await_rows(100).unwrap();
    trial.cluster.hold_fence().unwrap();
    let from = trial.kill(db1);
    drop(deaf);
    trial.await_event("the fence begins", from, begins("fence")).unwrap();
    db2.promote().unwrap();
    trial.cluster.release_fence().unwrap();
    let end = trial.end(from).unwrap();
    trial.watch(trial.now(), Duration::from_secs(1), |event| event.kind == "point_of_no_return");
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.writable, ["db2"], "{}", account.story);
    assert!(account.lost() >= Some(100), "db2 had heard nothing; {}", account.story);
    assert_honest(&end, &account, MIB);
}

// The engine, the primary and the standby end at the wrong moment.

#[test]
fn an_engine_that_is_killed_as_it_asks_for_the_promotion_finishes_it_when_it_is_started() {
    let _turn = turn();
    let mut trial = Trial::with(cluster(&pair())).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    trial.await_event("the promotion is asked for", from, begins("promote")).unwrap();
    trial.end_engine(false);
    let from = trial.now();
    trial.start_engine().unwrap();
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db2");
}

#[test]
fn a_primary_that_crashes_while_nobody_has_the_end_of_its_log_is_replaced_and_that_is_told() {
    let _turn = turn();
    let trial = Trial::with(cluster(&asynchronous_pair())).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let _deaf = db1.stop_sending_to(db2).unwrap();
    trial.await_rows(100).unwrap();
    let from = trial.now();
    let (code, told) = trial.command(&["switchover", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    trial.await_event("the receipt is waited for", from, begins("read_receipt")).unwrap();
    trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert!(account.lost() >= Some(100), "nobody had heard anything; {}", account.story);
    assert_honest(&end, &account, MIB);
}

#[test]
fn the_only_standby_restarts_as_the_primary_dies() {
    let _turn = turn();
    let trial = Trial::with(cluster(&pair())).unwrap();
    trial.await_rows(50).unwrap();
    trial.cluster.db(2).restart_at_once().unwrap();
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db2");
}

#[test]
fn the_only_standby_is_frozen_for_long_as_the_primary_dies() {
    let _turn = turn();
    let held = ClusterOptions { fence_can_be_held: true, ..pair() };
    let trial = Trial::with(cluster(&held)).unwrap();
    trial.await_rows(50).unwrap();
    trial.cluster.hold_fence().unwrap();
    let from = trial.kill(trial.cluster.db(1));
    trial.await_event("the fence begins", from, begins("fence")).unwrap();
    let db2 = trial.cluster.db(2);
    let frozen = db2.freeze().unwrap();
    trial.cluster.release_fence().unwrap();
    let unread = |event: &Event| event.kind == "step_finished" && event.message.contains("cannot be asked");
    trial.await_event("its position cannot be read", from, unread).unwrap();
    db2.thaw(&frozen);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db2");
}

#[test]
fn a_primary_that_wakes_up_right_before_its_fence_writes_nothing_behind_it() {
    let _turn = turn();
    let held = ClusterOptions { fence_can_be_held: true, ..pair() };
    let trial = Trial::with(cluster(&held)).unwrap();
    let db1 = trial.cluster.db(1);
    trial.cluster.hold_fence().unwrap();
    let from = trial.now();
    let frozen = db1.freeze().unwrap();
    trial.await_event("the fence begins", from, begins("fence")).unwrap();
    db1.thaw(&frozen);
    wait_until("db1 answers", LONGEST, || Ok(db1.is_primary().ok())).unwrap();
    trial.cluster.release_fence().unwrap();
    let end = trial.end(from).unwrap();
    let promoted = trial.now();
    trial.await_rows(10).unwrap();
    let old = db1.port();
    let (account, _cluster) = trial.account().unwrap();
    assert!(matches!(end, End::Completed(_)), "{}\n{}", end.event().message, account.story);
    assert_eq!((acknowledged_by(&account.attempts, promoted, old), account.lost()), (0, Some(0)), "{}", account.story);
}

// Orders.

/// A supervisor beside the server: what it was asked to do, and how it does it.
fn supervise(cluster: &Cluster) -> PathBuf {
    let (data, bin) = (cluster.db(1).data_dir(), bin_dir().unwrap());
    let calls = cluster.lab.path("calls");
    let start = format!("echo called >>{}\nexec {}/pg_ctl -D {} start -w", calls.display(), bin.display(), data.display());
    let program = cluster.lab.write("bin/supervisor", format!("#!/bin/sh\n{start}\n"), 0o700).unwrap();
    let keys = cluster.lab.path("ssh/db1_authorized_keys");
    let text = std::fs::read_to_string(&keys).unwrap();
    let pinned = text.replacen(" --data-dir ", &format!(" --start-command {} --data-dir ", program.display()), 1);
    assert_ne!(text, pinned, "the key has a forced command");
    cluster.lab.write(&keys, pinned, 0o600).unwrap();
    calls
}

#[test]
fn an_order_that_is_taken_back_starts_the_server_once_by_its_supervisor() {
    let _turn = turn();
    let cluster = cluster(&asynchronous_pair());
    let calls = supervise(&cluster);
    let trial = Trial::with(cluster).unwrap();
    let frozen = trial.cluster.db(2).stop_receiver().unwrap();
    trial.await_rows(50).unwrap();
    let (code, told) = trial.command(&["switchover", "orders", "--wait"]).unwrap();
    drop(frozen);
    assert!(code == 1 && told.contains("and db1 is started again"), "{code}: {told}");
    trial.await_rows(10).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!((account.writable[0].as_str(), account.lost()), ("db1", Some(0)), "{told}\n{}", account.story);
    assert_eq!(std::fs::read_to_string(calls).unwrap(), "called\n", "{told}");
}

// Timelines.

/// Three standbys; each time those that are left follow the new primary, and there is no pause.
#[test]
fn three_failovers_in_a_row_go_through_without_a_word_of_an_operator() {
    let _turn = turn();
    let hasty = "\n  [services.trigger]\n  cooldown = \"0s\"\n".to_owned();
    let options = ClusterOptions { standbys: 3, config_tail: hasty, ..ClusterOptions::new(Replication::Async) };
    let trial = Trial::with(cluster(&options)).unwrap();
    let mut left: Vec<&PgServer> = trial.cluster.servers.iter().collect();
    let mut primary = left.remove(0);
    while !left.is_empty() {
        let from = trial.kill(primary);
        let end = trial.end(from).unwrap();
        let told = format!("{}\n{}", end.event().message, trial.story());
        primary = trial.cluster.named(end.promoted().expect(&told)).expect(&told);
        trial.await_rows(10).unwrap();
        left.retain(|server| server.name() != primary.name());
        for standby in &left {
            standby.follow(primary).unwrap();
            standby.wait_following(primary).unwrap();
        }
        let ready = wait_until("another failover would go through", LONGEST, || {
            let would = trial.engine.status()?["services"][0]["forecast"]["would_fail_over"] == true;
            Ok((left.is_empty() || would).then_some(()))
        });
        ready.map_err(|error| trial.explain(&error)).unwrap();
    }
    let last = primary.name().to_owned();
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.writable, [last], "{}", account.story);
}

// What the record admits, and what a person is called for.

#[test]
fn an_order_that_is_held_up_by_one_sender_does_not_take_the_service_away_for_long() {
    let _turn = turn();
    let trial = Trial::with(cluster(&ClusterOptions::new(Replication::Async))).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let _held = db1.stop_sending_to(db2).unwrap();
    trial.await_rows(20).unwrap();
    let from = trial.now();
    let (code, told) = trial.command(&["switchover", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    trial
        .await_event("it is stopped", from, |event| event.kind == "step_started" && event.step() == Some("read_receipt"))
        .unwrap();
    // Somebody serves again, or a person is called.
    trial.await_rows(10).unwrap();
}

/// A pause, the primary stopped, a standby promoted by hand at once, the pause over: only one server ever took writes.
#[test]
fn a_switch_by_hand_during_a_pause_is_not_called_two_primaries() {
    let _turn = turn();
    let trial = Trial::start(&ClusterOptions::new(Replication::Async)).unwrap();
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    let from = trial.now();
    let (code, told) = trial.command(&["pause", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    db1.stop(support::StopMode::Fast).unwrap();
    db3.promote().unwrap();
    db2.follow(db3).unwrap();
    db2.wait_following(db3).unwrap();
    let (code, told) = trial.command(&["resume", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    let adopted = |event: &Event| event.kind == "primary_known" && event.server.as_deref() == Some("db3");
    trial.await_event("the engine follows db3", from, adopted).unwrap();
    let called = trial
        .watch(from, Duration::from_secs(3), |event| ["two_primaries", "manual_intervention"].contains(&event.kind.as_str()));
    assert!(called.is_none(), "{called:?}\n{}", trial.story());
    // And the traffic follows.
    trial.await_rows(10).unwrap();
    let well = wait_until("all is well again", LONGEST, || {
        let state = trial.engine.status()?["services"][0]["state"].clone();
        // It followed db3, or found it promoted in a failover of its own.
        Ok((state == "normal" || state == "failed_over").then_some(()))
    });
    assert!(well.is_ok(), "{}", trial.story());
}

/// A hung primary wakes up before its fence and acknowledges rows; then somebody promotes a standby that has heard nothing of them.
#[test]
fn what_was_written_after_the_first_bad_sign_counts_also_where_somebody_else_promoted() {
    let _turn = turn();
    let held = ClusterOptions { fence_can_be_held: true, ..ClusterOptions::new(Replication::Async) };
    let trial = Trial::with(cluster(&held)).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    db1.session_in(WRITER_DATABASE).unwrap().query("CREATE TABLE direct (n int)", LONGEST).unwrap();
    db2.wait_following(db1).unwrap();
    trial.cluster.hold_fence().unwrap();
    let from = trial.now();
    let frozen = db1.freeze().unwrap();
    trial
        .await_event("the fence begins", from, |event: &Event| event.kind == "step_started" && event.step() == Some("fence"))
        .unwrap();
    db1.thaw(&frozen);
    let deaf = [2, 3].map(|number| db1.stop_sending_to(trial.cluster.db(number)).unwrap());
    let mut session = db1.session_in(WRITER_DATABASE).unwrap();
    for n in 0..400 {
        session.query(&format!("INSERT INTO direct VALUES ({n})"), LONGEST).unwrap();
    }
    db2.promote().unwrap();
    trial.cluster.release_fence().unwrap();
    let end = trial.end(from).unwrap();
    drop(deaf);
    let there = db2.session_in(WRITER_DATABASE).unwrap().value("SELECT count(*) FROM direct", LONGEST).unwrap();
    let event = end.event();
    let admitted = event.fields.get("loss_bytes").and_then(serde_json::Value::as_u64);
    let told = admitted.is_some_and(|bytes| bytes >= 400 * 60)
        || event.message.contains("were not seen")
        || event.message.contains("not known")
        // Or it is not followed: another standby was seen with more.
        || matches!(end, End::Person(_));
    assert!(told, "400 rows were acknowledged, {there} are there; it said: {} ({admitted:?})\n{}", event.message, trial.story());
}

/// The engine has found `sync_commit_overridden` ("the engine promises nothing about them") and promises all the same.
#[test]
fn commits_of_a_role_that_waits_for_nobody_are_not_promised() {
    let _turn = turn();
    let cluster = cluster(&pair());
    cluster.db(1).script(&format!("ALTER ROLE {WRITER_ROLE} SET synchronous_commit = false")).unwrap();
    let trial = Trial::with(cluster).unwrap();
    trial.await_event("the override is found", 0, |event| event.message.contains("sync_commit_overridden")).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let _deaf = db1.stop_sending_to(db2).unwrap();
    trial.await_rows(100).unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_honest(&end, &account, MIB);
}

/// The same beyond `max_lag_bytes`: it is not asked about at all.
#[test]
fn commits_of_a_role_that_waits_for_nobody_are_judged_by_the_limit() {
    let _turn = turn();
    let cluster = cluster(&pair());
    cluster.db(1).script(&format!("ALTER ROLE {WRITER_ROLE} SET synchronous_commit = local")).unwrap();
    let trial = Trial::with(cluster).unwrap();
    trial.await_event("the override is found", 0, |event| event.message.contains("sync_commit_overridden")).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let _deaf = db1.stop_sending_to(db2).unwrap();
    let mut session = Session::connect(&db1.address(), &Login::new(WRITER_ROLE, WRITER_DATABASE), LONGEST).unwrap();
    session.query("CREATE TABLE big (x text)", LONGEST).unwrap();
    for _ in 0..40 {
        let row = "INSERT INTO big SELECT string_agg(md5(random()::text || i), '') FROM generate_series(1, 8000) i";
        session.query(row, LONGEST).unwrap();
    }
    // The engine has seen how far the log is: 10 MB further than db2.
    lasts(Instant::now(), Duration::from_secs(1));
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert!(matches!(end, End::Person(_)), "max_lag_bytes is {MIB}: {}\n{}", end.event().message, account.story);
}

/// `ANY 1 (db2, db3)`: db2 has connected anew, and its former sender has not noticed yet (wal_sender_timeout: 60 s). Both standbys stream and
/// have everything.
#[test]
fn a_sender_that_its_standby_has_left_keeps_nobody_from_being_promoted() {
    let _turn = turn();
    // The standbys' wal_receiver_timeout is 2 s.
    let trial = Trial::start(&ClusterOptions::new(Replication::Any)).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let left = db1.sender_to(db2).unwrap().pid;
    let _stale = Stopped::stop([left]);
    wait_until("db2 has connected anew", LONGEST, || Ok((db1.sender_to(db2)?.pid != left).then_some(()))).unwrap();
    db2.wait_following(db1).unwrap();
    trial.await_rows(300).unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert!(matches!(end, End::Completed(_)), "{}\n{}", end.event().message, account.story);
}

// Whose promotion would be held up, and who takes the places afterwards.

/// db2 would be first by the order of the configuration. A query there holds its replay for good; both standbys have the same log.
#[test]
fn of_two_that_have_the_same_the_one_whose_replay_is_held_is_not_promoted() {
    let _turn = turn();
    let held = ClusterOptions {
        settings: vec!["max_standby_streaming_delay = -1".to_owned(), "autovacuum = off".to_owned()],
        ..ClusterOptions::new(Replication::Async)
    };
    let trial = Trial::start(&held).unwrap();
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    db1.query("CREATE TABLE held (i int)").unwrap();
    db2.wait_following(db1).unwrap();
    let reads = || {
        let mut reader = db2.session().ok()?;
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ", LONGEST).ok()?;
        reader.query("SELECT * FROM held", LONGEST).ok()?;
        Some(reader)
    };
    let _reader = wait_until("a query on db2", LONGEST, || Ok(reads())).unwrap();
    let from = trial.now();
    db1.query("ALTER TABLE held ADD one int").unwrap();
    let told =
        trial.await_event("it is told who holds the replay", from, |event| event.text("code") == Some("replay_held")).unwrap();
    assert!(told.message.contains("SELECT pg_terminate_backend("), "{}", told.message);
    // No more is written, so both have the same.
    db1.query(&format!("ALTER ROLE {WRITER_ROLE} CONNECTION LIMIT 0")).unwrap();
    db1.query(&format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{WRITER_ROLE}'")).unwrap();
    wait_until("both have the same", LONGEST, || {
        let end = db1.value("SELECT pg_current_wal_lsn()")?;
        let has_all = |standby: &PgServer| standby.value(&format!("SELECT pg_last_wal_receive_lsn() = '{end}'"));
        Ok((has_all(db2)? == "t" && has_all(db3)? == "t").then_some(()))
    })
    .unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some("db3"), "{}\n{}", end.event().message, trial.story());
}

/// More clients than places, and all of them come back at once: whether the engine gets in before them or not, no person is called.
#[test]
fn clients_that_take_every_place_call_no_person() {
    let _turn = turn();
    let few = ClusterOptions { settings: vec!["max_connections = 30".to_owned()], ..asynchronous_pair() };
    let trial = Trial::start(&few).unwrap();
    let _storm = Storm::start(&trial.cluster.haproxy.way_in(), 60).unwrap();
    let db1 = trial.cluster.db(1);
    let mut looks = db1.session().unwrap();
    wait_until("every place is taken", LONGEST, || {
        let sql = "SELECT count(*) >= 26 FROM pg_stat_activity WHERE backend_type = 'client backend'";
        Ok((looks.value(sql, LONGEST)? == "t").then_some(()))
    })
    .unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some("db2"), "{}\n{}", end.event().message, trial.story());
    let told = trial.story();
    let verified = told.contains("a commit went through");
    let in_part = told.contains("could not log in through it to see which server answers")
        && end.event().message.contains("did not see who answers");
    assert!(verified || in_part, "{told}");
}

/// Rule 251. The priority speaks for db3, which follows db2.
#[test]
fn of_two_with_the_same_log_the_upstream_of_the_other_is_promoted() {
    let _turn = turn();
    let cluster = cluster(&ClusterOptions::new(Replication::Async));
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let changed = text.replace("name = \"db3\"\n", "name = \"db3\"\n  priority = 900\n");
    assert_ne!(text, changed, "db3 has a place in the configuration");
    cluster.lab.write(&cluster.config, changed, 0o600).unwrap();
    let (db2, db3) = (cluster.db(2), cluster.db(3));
    db3.set(&format!("primary_conninfo = '{}'", db3.follower_conninfo(db2).unwrap())).unwrap();
    db3.query("ALTER SYSTEM RESET primary_conninfo").unwrap();
    db3.query("SELECT pg_reload_conf()").unwrap();
    let below = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    wait_until("db3 streams from db2", LONGEST, || Ok((db2.value(below)? == "1").then_some(()))).unwrap();
    let before = db3.value("SELECT current_setting('primary_conninfo')").unwrap();
    let trial = Trial::with(cluster).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some("db2"), "{}", trial.story());
    let (db2, db3) = (trial.cluster.db(2), trial.cluster.db(3));
    db3.wait_following(db2).map_err(|error| trial.explain(&error)).unwrap();
    assert_eq!(db3.value("SELECT current_setting('primary_conninfo')").unwrap(), before, "it is as it was");
    let (account, _cluster) = trial.account().unwrap();
    assert_honest(&end, &account, MIB);
}
