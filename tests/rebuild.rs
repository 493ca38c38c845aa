//! A server gets a new copy of the primary's data, through the whole engine: one whose rewind failed, and one where nothing is. And a cluster that
//! runs is taken over without a change on it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use support::cluster::{Cluster, ClusterOptions, Replication};
use support::lab::wait_until;
use support::postgres::PgServer;
use support::recording::Event;
use support::service::SERVICE;
use support::trial::{LONGEST, Trial, turn};

fn options(standbys: usize) -> ClusterOptions {
    let settings =
        vec!["wal_receiver_timeout = 30s".to_owned(), "wal_keep_size = 256MB".to_owned(), "wal_log_hints = on".to_owned()];
    ClusterOptions { standbys, settings, fsync: true, rejoin: true, ..ClusterOptions::new(Replication::Async) }
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

fn beside(server: &PgServer, what: &str) -> PathBuf {
    server.data_dir().with_extension(what)
}

/// The engine is killed while it is copied: the next one goes on. Then it is torn down to nothing and cloned.
#[test]
fn one_whose_rewind_failed_is_rebuilt_and_one_where_nothing_is_is_cloned() {
    let _turn = turn();
    let mut trial = Trial::start(&options(1)).unwrap();
    trial.await_rows(100).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    trial.end(from).unwrap();
    let lab = trial.cluster.lab.clone();
    lab.folder("db1.failover-keep/1").unwrap();
    lab.write("db1.failover-keep/1/rewind.begun", "", 0o600).unwrap();
    let (code, text) = trial.command(&["rejoin", SERVICE, "db1", "--wait"]).unwrap();
    assert!(code == 1 && text.contains("failover-keep/1/rewind.begun") && text.contains("--rebuild"), "{code} {text}");
    let (code, text) = trial.command(&["rejoin", SERVICE, "db1", "--rebuild", "--dry-run"]).unwrap();
    assert!(code == 0 && text.contains("MiB would be copied"), "{code} {text}\n{}", trial.story());
    let (code, text) = trial.command(&["clone", SERVICE, "db1", "--dry-run"]).unwrap();
    assert!(code == 1 && text.contains("not_empty"), "{code} {text}");
    let asked = trial.now();
    let (code, text) = trial.command(&["rejoin", SERVICE, "db1", "--rebuild"]).unwrap();
    assert_eq!(code, 0, "{text}");
    let begun = |event: &Event| event.kind == "rejoin_step" && event.step() == Some("copy_data");
    trial.await_event("the copy has begun", asked, begun).unwrap();
    trial.end_engine(false);
    let killed = trial.now();
    trial.start_engine().unwrap();
    let ended = trial.await_event("it is back", killed, |event| event.kind == "rejoin_ended").unwrap();
    assert_eq!(ended.text("outcome"), Some("completed"), "{}\n{}", trial.story(), trial.cluster.db(1).log_tail());
    let [db1, db2] = [1, 2].map(|number| trial.cluster.db(number));
    assert_follows(&trial, db1, db2);
    let kept = trial.await_event("where the old directory is is told", killed, |event| event.kind == "old_data_kept").unwrap();
    assert_eq!(kept.text("path"), beside(db1, "failover-old-1").to_str(), "{kept:?}");
    assert!(beside(db1, "failover-old-1").join("standby.signal").exists());
    // What was written once.
    let copies = fs::read_dir(beside(db1, "failover-copy")).unwrap().count();
    assert_eq!(copies, 1, "it was begun once");

    // Nothing is left of it but its settings.
    db1.stop(support::postgres::StopMode::Fast).unwrap();
    lab.folder("db1.failover-conf").unwrap();
    lab.write("db1.failover-conf/postgresql.conf", fs::read(db1.data_dir().join("postgresql.conf")).unwrap(), 0o600).unwrap();
    fs::rename(db1.data_dir(), beside(db1, "gone")).unwrap();
    wait_until("the engine sees that it is gone", LONGEST, || {
        let (code, _) = trial.command(&["clone", SERVICE, "db1", "--dry-run"])?;
        Ok((code == 0).then_some(()))
    })
    .unwrap();
    let (code, text) = trial.command(&["clone", SERVICE, "db1", "--wait"]).unwrap();
    assert!(code == 0 && text.contains("completed"), "{code} {text}\n{}\n{}", trial.story(), db1.log_tail());
    assert_follows(&trial, db1, db2);
    trial.await_rows(20).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.writable.len(), 1, "{}", account.story);
}

/// Every setting, slot and standby of a server, and every file of its configuration.
fn picture(server: &PgServer) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for (what, sql) in [
        (
            "settings",
            "SELECT string_agg(name || '=' || setting || ' from ' || source || coalesce(sourcefile, ''), E'\\n' ORDER BY name) FROM pg_settings",
        ),
        (
            "slots",
            "SELECT coalesce(string_agg(slot_name || slot_type || active, ' ' ORDER BY slot_name), 'none') FROM pg_replication_slots",
        ),
        (
            "standbys",
            "SELECT coalesce(string_agg(pid || application_name || state || sync_state, ' ' ORDER BY pid), 'none') FROM pg_stat_replication",
        ),
        ("receiver", "SELECT coalesce((SELECT pid || status || conninfo FROM pg_stat_wal_receiver), 'none')"),
        ("role", "SELECT pg_is_in_recovery()::text || pg_postmaster_start_time() || pg_conf_load_time()"),
        ("roles", "SELECT string_agg(r::text, ' ' ORDER BY rolname) FROM pg_roles r"),
        ("relations", "SELECT string_agg(oid::text || relname, ' ' ORDER BY oid) FROM pg_class WHERE oid >= 16384"),
    ] {
        seen.insert(what.to_owned(), server.value(sql).unwrap());
    }
    files(server.data_dir(), &mut seen);
    seen
}

/// The content of what a server does not write by itself, and the names of the rest.
fn files(dir: &Path, seen: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let content = if entry.path().extension().is_some_and(|kind| kind == "conf") {
            fs::read_to_string(entry.path()).unwrap()
        } else {
            String::new()
        };
        seen.insert(format!("file {name}"), content);
    }
    let around =
        fs::read_dir(dir.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let own = dir.file_name().unwrap().to_string_lossy().into_owned();
    let mut beside: Vec<String> = around.filter(|name| name.starts_with(&own)).collect();
    beside.sort();
    seen.insert("beside".to_owned(), beside.join(" "));
}

/// Slots, names and settings of its own stay as they are.
#[test]
fn a_cluster_that_runs_is_taken_over_without_a_change_on_it() {
    let _turn = turn();
    let cluster = Cluster::start(&ClusterOptions { replication: Replication::Any, ..options(2) }, |_| {}).unwrap();
    let db1 = cluster.db(1);
    db1.query("SELECT pg_create_physical_replication_slot('mine', true)").unwrap();
    let sql = "ALTER SYSTEM SET work_mem = '5MB'";
    db1.query(sql).unwrap();
    let before: Vec<_> = cluster.servers.iter().map(picture).collect();
    let trial = Trial::with(cluster).unwrap();
    trial.await_rows(100).unwrap();
    trial.engine.wait_ready(LONGEST).map_err(|error| trial.explain(&error)).unwrap();
    for (server, before) in trial.cluster.servers.iter().zip(before) {
        let after = picture(server);
        for (what, value) in &before {
            assert_eq!(after.get(what), Some(value), "{what} of {} changed", server.name());
        }
        assert_eq!(after.len(), before.len(), "{}: {:?}", server.name(), after.keys());
    }
}
