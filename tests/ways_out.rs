//! Troubles that need a way out: a server that nobody can use as it is, and what a person does about it.

use std::time::{Duration, Instant};

use crate::support::StopMode;
use crate::support::cluster::{Cluster, ClusterOptions, Replication};
use crate::support::lab::wait_until;
use crate::support::orphan::Orphans;
use crate::support::postgres::{ENGINE_ROLE, PgServer, WRITER_DATABASE, WRITER_ROLE};
use crate::support::recording::Event;
use crate::support::trial::{End, LONGEST, Trial, acknowledged_by, assert_honest, lasts, turn};
use crate::support::writer::TABLE;

const KIB: u64 = 1 << 10;

fn pair() -> ClusterOptions {
    ClusterOptions { standbys: 1, ..ClusterOptions::new(Replication::Async) }
}

/// The same with other lines of `services.trigger` and more tables.
fn pair_with(trigger: &str) -> ClusterOptions {
    ClusterOptions { config_tail: format!("\n  [services.trigger]\n  {trigger}\n"), ..pair() }
}

fn of(kind: &str, server: &str) -> impl Fn(&Event) -> bool {
    move |event| event.kind == kind && event.server.as_deref() == Some(server)
}

fn wait_state(trial: &Trial, what: &str, state: &str) {
    let seen = wait_until(what, LONGEST, || Ok((trial.engine.status()?["services"][0]["state"] == state).then_some(())));
    seen.map_err(|error| trial.explain(&error)).unwrap();
}

fn succeeds(trial: &Trial, arguments: &[&str]) {
    let (code, told) = trial.command(arguments).unwrap();
    assert_eq!(code, 0, "{arguments:?}: {told}\n{}", trial.story());
}

/// It is started again by something that takes its guard away first.
fn start_without_guard(server: &PgServer) {
    std::fs::remove_file(server.data_dir().join("standby.signal")).unwrap();
    server.launch().unwrap();
}

#[test]
fn a_smart_shutdown_ends_and_a_failover_follows() {
    let _turn = turn();
    let trial = Trial::start(&pair_with("restart_grace = \"2s\"")).unwrap();
    let db1 = trial.cluster.db(1);
    let mut last = db1.session().unwrap();
    let from = trial.now();
    let stop = db1.begin_stop(StopMode::Smart).unwrap();
    wait_until("db1 takes no more sessions", LONGEST, || Ok(db1.session().err())).unwrap();
    // Every session but the engine's ends.
    let sql = format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{WRITER_ROLE}'");
    last.query(&sql, LONGEST).unwrap();
    drop(last);
    let ended = wait_until("the shutdown ends", LONGEST, || Ok(stop.wait(Duration::from_millis(50))));
    let ended = ended.map_err(|error| trial.explain(&error)).unwrap();
    assert!(ended.success(), "{}\n{}", db1.log_tail(), trial.story());
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some("db2"), "{}\n{}", end.event().message, trial.story());
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "{}", account.story);
}

#[test]
fn a_primary_that_is_started_as_a_standby_is_told_and_promoting_it_ends_that() {
    let _turn = turn();
    let trial = Trial::start(&pair_with("restart_grace = \"20s\"")).unwrap();
    let db1 = trial.cluster.db(1);
    let from = trial.now();
    db1.stop(StopMode::Fast).unwrap();
    std::fs::write(db1.data_dir().join("standby.signal"), "").unwrap();
    db1.start().unwrap();
    let wrong = |event: &Event| {
        event.kind == "observed" && event.server.as_deref() == Some("db1") && event.text("reason") == Some("wrong_role")
    };
    let told = trial.await_event("it is told", from, wrong).unwrap();
    assert!(told.message.contains("it is in recovery, and nobody takes writes"), "{}", told.message);
    let status = trial.engine.status().unwrap()["services"][0].clone();
    assert_ne!(status["state"], "normal", "{status:#}");
    let (_, told) = trial.command(&["status"]).unwrap();
    assert!(told.contains("remedy: promote it (SELECT pg_promote())"), "{told}");
    db1.query("SELECT pg_promote()").unwrap();
    wait_state(&trial, "all is well again", "normal");
    trial.await_rows(10).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!((account.writable.as_slice(), account.lost()), (&["db1".to_owned()][..], Some(0)), "{}", account.story);
}

/// The standby refuses the engine's role: it is no candidate, and a primary that hangs is fenced for nobody.
fn login_refused(refuse: impl FnOnce(&Cluster)) {
    let _turn = turn();
    let trial = Trial::start(&pair()).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let from = trial.now();
    refuse(&trial.cluster);
    let told = trial.await_event("it is told", from, of("standby_not_ready", "db2")).unwrap();
    assert!(told.message.contains("it refuses the login of the engine's role"), "{}", told.message);
    let forecast = trial.engine.status().unwrap()["services"][0]["forecast"].clone();
    assert_eq!(forecast["would_fail_over"], false, "{forecast:#}");
    let from = trial.now();
    let frozen = db1.freeze().unwrap();
    let refused = |event: &Event| event.kind == "failover_refused" && event.text("refusal") == Some("no_candidate");
    let refused = trial.await_event("nobody can take over", from, refused);
    let left = db1.thaw(&frozen);
    refused.unwrap();
    assert_eq!(left, frozen.pids.len(), "some of db1 was ended; {}", trial.story());
    trial.await_rows(10).unwrap();
    assert!(!db2.is_primary().unwrap(), "{}", trial.story());
}

#[test]
fn for_a_standby_that_does_not_take_an_expired_password_nobody_is_fenced() {
    login_refused(|cluster| {
        let [db1, db2] = [1, 2].map(|number| cluster.db(number));
        db1.query(&format!("ALTER ROLE {ENGINE_ROLE} VALID UNTIL '2000-01-01'")).unwrap();
        db2.wait_following(db1).unwrap();
    });
}

#[test]
fn for_a_standby_whose_rules_reject_the_engine_nobody_is_fenced() {
    login_refused(|cluster| reject_engine(cluster.db(2)));
}

/// Its pg_hba.conf has no place for the engine any more.
fn reject_engine(server: &PgServer) {
    let path = server.data_dir().join("pg_hba.conf");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("host all {ENGINE_ROLE} all reject\n{text}")).unwrap();
    server.query("SELECT pg_reload_conf()").unwrap();
}

/// Sessions outlive their postmaster and go on committing while its host cannot be asked. What they wrote counts against the limit,
/// although the first bad sign of the primary came before it.
#[test]
fn what_orphans_write_while_the_host_is_away_counts_against_the_limit() {
    let _turn = turn();
    let limit = 64 * KIB;
    let mut trial = Trial::start(&ClusterOptions { max_lag: "64KiB".to_owned(), ..pair() }).unwrap();
    let db1 = trial.cluster.db(1);
    let orphans = Orphans::start(db1).unwrap();
    // The engine has seen how fast the log grows.
    lasts(Instant::now(), Duration::from_secs(1));
    trial.cluster.hosts[0].kill_all();
    let from = trial.now();
    db1.kill_postmaster().unwrap();
    let before = orphans.acknowledged().len();
    let away = |event: &Event| event.kind == "failover_refused" && event.text("refusal") == Some("fence_unavailable");
    let refused = trial.await_event("the host is away", from, away).unwrap();
    // For longer than a host may take to answer, and more than the limit.
    wait_until("the orphans write", LONGEST, || {
        let much = orphans.acknowledged().len() - before > 3_000;
        Ok((much && trial.now() > refused.at + 3_000_000_000).then_some(()))
    })
    .unwrap();
    db1.kill_all();
    let written = orphans.end().len() - before;
    let (lab, from) = (trial.cluster.lab.clone(), trial.now());
    trial.cluster.hosts[0].restart(&lab).unwrap();
    let end = trial.end(from).unwrap();
    assert!(
        matches!(end, End::Person(_)) && end.event().message.contains("could be lost"),
        "{written} rows, and the limit is {limit}: {}\n{}",
        end.event().message,
        trial.story()
    );
    assert!(!trial.cluster.db(2).is_primary().unwrap(), "{}", trial.story());
}

/// db2 is promoted by accident beside the living primary, which acknowledges more, and dies. `reset` does not give the traffic to it.
#[test]
fn a_server_promoted_by_accident_gets_no_traffic_after_a_reset() {
    let _turn = turn();
    let trial = Trial::start(&ClusterOptions::new(Replication::Async)).unwrap();
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    let from = trial.now();
    db2.promote().unwrap();
    trial.await_event("two take writes", from, |event| event.kind == "two_primaries").unwrap();
    trial.await_rows(100).unwrap();
    db3.wait_following(db1).unwrap();
    let from = trial.kill(db1);
    let other = |event: &Event| event.kind == "other_branch" && event.server.as_deref() == Some("db2");
    trial.await_event("the accident is told", from, other).unwrap();
    let from = trial.now();
    succeeds(&trial, &["reset", "orders"]);
    let end = trial.end(from).unwrap();
    let shown = trial.cluster.haproxy.stat("db2", "status").unwrap();
    let port = db2.port();
    let (account, _cluster) = trial.account().unwrap();
    let told = format!("{}\n{}", end.event().message, account.story);
    assert_eq!((acknowledged_by(&account.attempts, 0, port), shown.as_str()), (0, "MAINT"), "{told}");
    assert!(matches!(end.promoted(), None | Some("db3")), "{told}");
    assert!(account.missing.get("db3").is_none_or(|missing| *missing == 0), "{told}");
}

#[test]
fn an_old_primary_that_is_started_twice_without_its_guard_is_fenced_twice() {
    let _turn = turn();
    let trial = Trial::start(&pair()).unwrap();
    let db1 = trial.cluster.db(1);
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some("db2"), "{}\n{}", end.event().message, trial.story());
    for _ in 0..2 {
        let from = trial.now();
        start_without_guard(db1);
        let told = trial.await_event("it is told", from, of("old_primary_returned", "db1")).unwrap();
        assert!(told.message.ends_with("it is taken out of the route and fenced again"), "{}", told.message);
        let ended = wait_until("it is fenced", LONGEST, || Ok(db1.processes().is_empty().then_some(())));
        ended.map_err(|error| trial.explain(&error)).unwrap();
        let proven = |event: &Event| event.kind == "evidence_gathered" && event.message.contains("still proven stopped");
        trial.await_event("that is proven", told.at, proven).unwrap();
    }
    let person = trial.engine.events().into_iter().find(|event| event.kind == "manual_intervention");
    assert!(person.is_none(), "{person:?}\n{}", trial.story());
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.writable, ["db2"], "{}", account.story);
    assert_honest(&end, &account, 1024 * KIB);
}

/// No way of asking for the promotion works, so the failover ends with a person, who promotes the standby by hand.
#[test]
fn whom_a_person_promotes_after_a_failed_failover_gets_the_sessions() {
    let _turn = turn();
    let short = "failover_timeout = \"8s\"\n\n  [services.promote]\n  timeout = \"1s\"\n\n  [services.fence]\n  timeout = \"5s\"";
    let trial = Trial::start(&pair_with(short)).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let revoke = format!("REVOKE EXECUTE ON FUNCTION pg_promote(boolean, integer) FROM PUBLIC, {ENGINE_ROLE}");
    db1.query(&revoke).unwrap();
    // db2 has all that was seen of db1: nothing more is written.
    let mut lock = db1.session_in(WRITER_DATABASE).unwrap();
    lock.query(&format!("BEGIN; LOCK TABLE {TABLE}"), LONGEST).unwrap();
    db2.wait_following(db1).unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    assert!(matches!(end, End::Person(_)), "{}\n{}", end.event().message, trial.story());
    db2.promote().unwrap();
    trial.await_rows(10).unwrap();
    let status = trial.engine.status().unwrap();
    assert_eq!(status["services"][0]["state"], "manual_intervention", "nobody has said that it is over: {status:#}");
    succeeds(&trial, &["adopt", "orders", "db2"]);
    trial.await_rows(10).unwrap();
    let status = trial.engine.status().unwrap();
    assert_ne!(status["services"][0]["state"], "manual_intervention", "{status:#}");
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.writable, ["db2"], "{}", account.story);
    assert_honest(&end, &account, 1024 * KIB);
}

/// What a promotion would have to replay first is in the forecast, before anybody needs it.
#[test]
fn what_a_promotion_would_replay_first_is_in_the_forecast() {
    let _turn = turn();
    let trial = Trial::start(&pair_with("restart_grace = \"20s\"")).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    db2.wait_following(db1).unwrap();
    let forecast = || trial.engine.status().map(|status| status["services"][0]["forecast"].clone());
    let stopped = db2.stop_startup();
    let much = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 1 << 20)) FROM generate_series(1, 48)";
    db1.query(&format!("SET synchronous_commit = local; {much}")).unwrap();
    let told = wait_until("it is told", LONGEST, || {
        let forecast = forecast()?;
        Ok((forecast["to_replay_bytes"].as_u64() >= Some(48 << 20)).then_some(forecast))
    });
    let told = told.unwrap();
    assert!(told["message"].as_str().unwrap().contains("; before it takes writes it replays "), "{told:#}");
    assert_eq!(told["candidate"], "db2", "{told:#}");
    drop(stopped);
    let gone = wait_until("it is gone", LONGEST, || {
        let forecast = forecast()?;
        Ok((forecast["to_replay_bytes"] == 0).then_some(forecast))
    });
    let gone = gone.unwrap();
    assert!(!gone["message"].as_str().unwrap().contains("replays"), "{gone:#}");
}
