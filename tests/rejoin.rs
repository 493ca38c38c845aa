//! An old primary comes back as a standby, through the whole engine: what it has and the new primary lacks is counted and told, no row is lost
//! by it, and the next failover goes back to it.

mod support;

use support::cluster::{Cluster, ClusterOptions, Replication};
use support::lab::wait_until;
use support::postgres::{ENGINE_ROLE, PREPARED, PgServer, WRITER_DATABASE};
use support::recording::Event;
use support::service::SERVICE;
use support::trial::{LONGEST, Trial, acknowledged_by, turn};
use support::writer::{TABLE, compare};

fn pair(salvage: bool) -> ClusterOptions {
    let mut settings =
        vec!["wal_receiver_timeout = 30s".to_owned(), "wal_keep_size = 256MB".to_owned(), "wal_log_hints = on".to_owned()];
    if salvage {
        settings.push(PREPARED.to_owned());
    }
    ClusterOptions { standbys: 1, settings, fsync: true, rejoin: true, ..ClusterOptions::new(Replication::Async) }
}

fn number(event: &Event, field: &str) -> u64 {
    event.fields.get(field).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("no {field}: {event:?}"))
}

/// Brings it back, waits for it, and says what was printed.
fn rejoin(trial: &Trial, old: &PgServer) -> String {
    let said = trial.command(&["rejoin", SERVICE, old.name(), "--wait"]);
    let (code, text) = said.unwrap_or_else(|error| {
        let started = std::fs::read_to_string(old.data_dir().join("failover.log")).unwrap_or_default();
        panic!("{error}\n{}\n{started}", old.log_tail())
    });
    assert_eq!(code, 0, "{text}\n{}\n{}", trial.story(), old.log_tail());
    assert!(text.contains("completed"), "{text}");
    text
}

fn assert_follows(trial: &Trial, old: &PgServer, new: &PgServer) {
    assert!(!old.is_primary().unwrap());
    old.wait_following(new).unwrap();
    wait_until("the engine takes it for a standby", LONGEST, || {
        let status = trial.engine.status()?;
        let servers = status["services"][0]["servers"].as_array().cloned().unwrap_or_default();
        let found = servers.iter().find(|server| server["name"] == old.name());
        Ok(found.is_some_and(|server| server["deposed"] == false && server["role"] == "standby").then_some(()))
    })
    .unwrap();
}

/// Nothing of it is missing: it is started as it is, and the next failover goes back to it. Then the other one comes back.
#[test]
fn a_killed_primary_comes_back_as_it_is_and_takes_over_again() {
    let _turn = turn();
    let trial = Trial::start(&pair(true)).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    for (old, new) in [(db1, db2), (db2, db1)] {
        let from = trial.kill(old);
        let end = trial.end(from).unwrap();
        assert_eq!(end.promoted(), Some(new.name()), "{}", trial.story());
        let (code, text) = trial.command(&["rejoin", SERVICE, old.name(), "--dry-run"]).unwrap();
        assert!(code == 0 && text.contains("dry_run"), "{code} {text}\n{}", trial.story());
        assert!(old.session().is_err(), "a dry run starts nothing");
        rejoin(&trial, old);
        assert_follows(&trial, old, new);
        trial.await_rows(20).unwrap();
        trial.ready_again().unwrap();
    }
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "{}", account.story);
}

/// What it alone has is counted before anything is touched, kept, and rewound.
#[test]
fn what_a_diverged_primary_alone_has_is_counted_and_kept_and_it_is_rewound() {
    let _turn = turn();
    let trial = Trial::start(&pair(false)).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let port = db1.port();
    let _deaf = db1.stop_sending_to(db2).unwrap();
    let unheard = trial.now();
    trial.await_rows(100).unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some("db2"), "{}", trial.story());
    rejoin(&trial, db1);
    assert_follows(&trial, db1, db2);
    let told = trial.await_event("what is lost is told", from, |event| event.kind == "lost_transactions").unwrap();
    let kept = std::fs::read_dir(db1.data_dir().with_extension("failover-keep")).unwrap().count();
    assert_eq!(kept, 1, "its log is kept");
    trial.await_rows(20).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    let (lost, acknowledged) = (account.lost().unwrap(), acknowledged_by(&account.attempts, unheard, port));
    let commits = usize::try_from(number(&told, "commits")).unwrap();
    // The writer knows what was acknowledged; the last commit may be one whose answer it did not get.
    assert!(commits >= lost && commits <= lost + 2, "{commits} counted, {lost} lost of {acknowledged}: {}", account.story);
}

/// The engine is killed while it is rewound: the next one goes on, and nothing is done twice.
#[test]
fn an_engine_that_is_killed_meanwhile_is_followed_by_one_that_goes_on() {
    let _turn = turn();
    let mut trial = Trial::start(&pair(false)).unwrap();
    let deaf = trial.cluster.db(1).stop_sending_to(trial.cluster.db(2)).unwrap();
    trial.await_rows(100).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    drop(deaf);
    trial.end(from).unwrap();
    let (code, text) = trial.command(&["rejoin", SERVICE, "db1"]).unwrap();
    assert_eq!(code, 0, "{text}");
    let begun = |event: &Event| event.kind == "rejoin_step" && event.step() == Some("rewind");
    trial.await_event("the rewind has begun", from, begun).unwrap();
    trial.end_engine(false);
    let killed = trial.now();
    trial.start_engine().unwrap();
    let ended = trial.await_event("it is back", killed, |event| event.kind == "rejoin_ended").unwrap();
    assert_eq!(ended.text("outcome"), Some("completed"), "{}\n{}", trial.story(), trial.cluster.db(1).log_tail());
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    assert_follows(&trial, db1, db2);
    let log = std::fs::read_to_string(db1.data_dir().with_extension("failover-keep").join("1/rewind.log")).unwrap();
    assert_eq!(log.matches("Done!").count(), 1, "{log}");
}

/// Nobody gives an order.
#[test]
fn by_itself_it_comes_back_also_by_a_rewind_where_that_is_configured() {
    let _turn = turn();
    let cluster = Cluster::start(&pair(false), |_| {}).unwrap();
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let automatic = text.replace("max_lag_bytes", "rejoin = \"auto\"\n  max_lag_bytes");
    assert_ne!(text, automatic);
    cluster.lab.write(&cluster.config, automatic, 0o600).unwrap();
    let trial = Trial::with(cluster).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let deaf = db1.stop_sending_to(db2).unwrap();
    trial.await_rows(100).unwrap();
    let from = trial.kill(db1);
    drop(deaf);
    trial.end(from).unwrap();
    let ended = trial.await_event("it is back", from, |event| event.kind == "rejoin_ended").unwrap();
    assert_eq!(ended.text("outcome"), Some("completed"), "{}\n{}", trial.story(), db1.log_tail());
    trial.await_event("what is lost is told", from, |event| event.kind == "lost_transactions").unwrap();
    assert_follows(&trial, db1, db2);
}

/// Ten switchovers in a row: who has handed over comes back by itself, the third server follows, and no row is lost.
#[test]
fn ten_switchovers_in_a_row_leave_every_server_streaming_and_lose_nothing() {
    let _turn = turn();
    let options = ClusterOptions { standbys: 2, ..pair(false) };
    let trial = Trial::start(&options).unwrap();
    let mut primary = 1;
    for round in 0..10 {
        let target = primary % 3 + 1;
        let third = target % 3 + 1;
        let [old, new, other] = [primary, target, third].map(|number| trial.cluster.db(number));
        let from = trial.now();
        let (code, text) = trial.command(&["switchover", SERVICE, "--to", new.name(), "--wait"]).unwrap();
        assert_eq!(code, 0, "round {round}: {text}\n{}", trial.story());
        let ended = trial.await_event("it comes back", from, |event| event.kind == "rejoin_ended").unwrap();
        assert_eq!(ended.text("outcome"), Some("completed"), "round {round}: {}\n{}", trial.story(), old.log_tail());
        let followed = other.wait_following(new);
        followed.map_err(|error| trial.explain(&error)).unwrap();
        assert_follows(&trial, old, new);
        trial.await_rows(20).unwrap();
        trial.engine.wait_ready(LONGEST).map_err(|error| trial.explain(&error)).unwrap();
        primary = target;
    }
    let story = trial.story();
    assert!(!story.contains("standby_not_repointed"), "{story}");
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!((account.lost(), account.writable.len()), (Some(0), 1), "{}", account.story);
}

/// Rule 246: who would be left alone is told before the order, and nothing of it stops the order.
#[test]
fn a_switchover_says_beforehand_who_would_be_left_alone() {
    let _turn = turn();
    let trial = Trial::start(&ClusterOptions { standbys: 2, ..pair(false) }).unwrap();
    let look = || trial.command(&["switchover", SERVICE, "--to", "db2", "--dry-run"]).unwrap();
    let (code, told) = look();
    assert_eq!(code, 0, "{told}");
    for line in ["ok       way_back: the host of db1 knows how it reaches db2", "ok       followers: db3 follows db2"] {
        assert!(told.contains(line), "{line}: {told}");
    }
    std::fs::remove_file(trial.cluster.sources_of(1)).unwrap();
    trial.cluster.db(1).query(&format!("REVOKE ALTER SYSTEM ON PARAMETER primary_conninfo FROM {ENGINE_ROLE}")).unwrap();
    trial.cluster.db(3).wait_following(trial.cluster.db(1)).unwrap();
    let (code, told) = look();
    assert_eq!(code, 0, "{told}");
    for line in ["warning  way_back: db1 would stay stopped", "warning  followers: db3 would not follow db2"] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

/// What is in the writer's table, in one word.
fn checksum(server: &PgServer) -> String {
    let mut session = server.session_in(WRITER_DATABASE).unwrap();
    session.value(&format!("SELECT count(*) || ' ' || md5(string_agg(n::text, ',' ORDER BY n)) FROM {TABLE}"), LONGEST).unwrap()
}

/// Deaths in a row of three servers: the best standby takes over, the other one follows, the dead one is brought back. `ROUNDS`: how many.
#[test]
fn kill_and_rejoin_in_a_row_lose_nothing_and_leave_all_servers_equal() {
    let _turn = turn();
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    let trial = Trial::start(&ClusterOptions { standbys: 2, ..pair(true) }).unwrap();
    let mut primary = "db1".to_owned();
    for round in 1..=rounds {
        let old = trial.cluster.named(&primary).unwrap();
        let from = trial.kill(old);
        let end = trial.end(from).unwrap();
        let promoted = end.promoted().unwrap_or_else(|| panic!("round {round}: {end:?}\n{}", trial.story())).to_owned();
        let new = trial.cluster.named(&promoted).unwrap();
        for other in trial.cluster.servers.iter().filter(|other| ![old.name(), new.name()].contains(&other.name())) {
            other.wait_following(new).map_err(|error| trial.explain(&error)).unwrap();
        }
        rejoin(&trial, old);
        assert_follows(&trial, old, new);
        trial.await_rows(20).unwrap();
        trial.ready_again().unwrap();
        primary = promoted;
    }
    let (account, cluster) = trial.account().unwrap();
    assert_eq!((account.lost(), account.writable.as_slice()), (Some(0), [primary.clone()].as_slice()), "{}", account.story);
    let new = cluster.named(&primary).unwrap();
    let table = compare(new, &account.attempts).unwrap();
    assert!(table.doubled.is_empty(), "{table:?}");
    let wanted = checksum(new);
    for other in cluster.servers.iter().filter(|other| other.name() != primary) {
        other.wait_following(new).unwrap();
        assert_eq!(checksum(other), wanted, "{}\n{}", other.name(), account.story);
    }
}

/// A command of the runbook that begins so, as it stands there, carried out to a good end.
fn by_the_page(trial: &Trial, begins: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/RUNBOOK.md");
    let page = std::fs::read_to_string(path).unwrap().replace('\n', " ");
    let spans = page.split('`').skip(1).step_by(2);
    let command = spans.filter(|span| span.starts_with(begins)).min_by_key(|span| span.len());
    let command = command.unwrap_or_else(|| panic!("the runbook has no command `{begins}`"));
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    let (code, text) = trial.command(&arguments).unwrap();
    assert_eq!(code, 0, "{command}: {text}\n{}", trial.story());
    text
}

/// The runbook, "A host is patched": the primary hands over, comes back by itself, is patched as a standby, and is the primary again.
#[test]
fn the_runbook_patches_the_primarys_host_and_leaves_it_as_it_was() {
    let _turn = turn();
    let trial = Trial::start(&pair(true)).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let looked = by_the_page(&trial, "failover switchover orders --to db2 --dry-run");
    assert!(looked.contains("ok       way_back"), "{looked}");
    let from = trial.now();
    by_the_page(&trial, "failover switchover orders --to db2 --wait");
    trial.await_event("it comes back by itself", from, |event| event.kind == "rejoin_ended").unwrap();
    assert_follows(&trial, db1, db2);
    let story = trial.story();
    for alarm in ["standby_not_ready", "rejoin_ended the return of db1: refused", "no guard was there"] {
        assert!(!story.contains(alarm), "{alarm}\n{story}");
    }
    db1.restart().unwrap();
    assert_follows(&trial, db1, db2);
    trial.engine.wait_ready(LONGEST).map_err(|error| trial.explain(&error)).unwrap();
    let from = trial.now();
    by_the_page(&trial, "failover switchover orders --to db1 --wait");
    trial.await_event("the other one comes back", from, |event| event.kind == "rejoin_ended").unwrap();
    assert_follows(&trial, db2, db1);
    // Planned work has a number of its own.
    let status = trial.engine.status().unwrap();
    let numbers = &status["services"][0]["metrics"];
    assert_eq!((numbers["switchovers"].as_u64(), numbers["forced"].as_u64()), (Some(2), Some(0)), "{numbers:#}");
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "{}", account.story);
}

/// The runbook, "The old primary is to come back": after a crash.
#[test]
fn the_runbook_brings_a_crashed_primary_back() {
    let _turn = turn();
    let trial = Trial::start(&pair(true)).unwrap();
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    let from = trial.kill(db1);
    assert_eq!(trial.end(from).unwrap().promoted(), Some("db2"), "{}", trial.story());
    // What the status names as a remedy is the page's command, and not a start by hand.
    let remedy = wait_until("the remedy is shown", LONGEST, || {
        let status = trial.engine.status()?;
        let servers = status["services"][0]["servers"].as_array().cloned().unwrap_or_default();
        let found = servers.iter().find(|server| server["name"] == "db1");
        Ok(found.and_then(|server| server["not_promotable"]["remedy"].as_str().map(str::to_owned)))
    });
    assert!(remedy.as_ref().is_ok_and(|remedy| remedy.contains("failover rejoin orders db1")), "{remedy:?}");
    let told = by_the_page(&trial, "failover rejoin orders db1 --dry-run");
    assert!(told.contains("dry_run"), "{told}");
    by_the_page(&trial, "failover rejoin orders db1 --wait");
    assert_follows(&trial, db1, db2);
    by_the_page(&trial, "failover reset orders");
    trial.engine.wait_ready(LONGEST).map_err(|error| trial.explain(&error)).unwrap();
}
