//! The procedures of docs/RUNBOOK.md on real servers: each command as it stands on the page, in the order of the page.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::engine::{Engine, Origin};
use crate::support::haproxy::BACKEND;
use crate::support::lab::wait_until;
use crate::support::pair::{Pair, PairOptions};
use crate::support::postgres::PgServer;

const LONG: Duration = Duration::from_secs(60);

/// The page, and a pair to which its commands are given.
struct Runbook {
    text: String,
    pair: Pair,
    engine: Option<Engine>,
}

impl Runbook {
    fn start() -> Runbook {
        Runbook::with("")
    }

    /// With more lines in its configuration.
    fn with(config_tail: &str) -> Runbook {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/RUNBOOK.md");
        // A line of the page may end inside of a command.
        let text = fs::read_to_string(path).unwrap().replace('\n', " ");
        let options = PairOptions { config_tail: config_tail.to_owned(), ..PairOptions::default() };
        let pair = Pair::start(&options, |_| {}).unwrap();
        let mut runbook = Runbook { text, pair, engine: None };
        runbook.begin();
        runbook
    }

    fn begin(&mut self) {
        let engine = self.pair.engine(Origin::now()).unwrap();
        engine.wait_ready(LONG).unwrap();
        self.engine = Some(engine);
    }

    /// The command of the page that begins so, as it stands there.
    fn command(&self, begins: &str) -> &str {
        let spans = self.text.split('`').skip(1).step_by(2);
        let found = spans.filter(|span| span.starts_with(begins)).min_by_key(|span| span.len());
        found.unwrap_or_else(|| panic!("the runbook has no command `{begins}`"))
    }

    /// Runs it in a shell, as a person types it. `yes`: what a person answers, where nobody can be asked.
    fn run(&self, begins: &str, yes: &str) -> String {
        let line = format!("{} {yes}", self.command(begins));
        let mut command = self.pair.lab.command("sh");
        let path = format!("{}:/usr/bin:/bin", self.pair.lab.path("bin").display());
        command.arg("-c").arg(&line).env("PATH", path).env("FAILOVER_SOCKET", &self.pair.control);
        println!("$ {line}");
        self.pair.lab.run("failover", command, LONG).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn service(&self) -> Value {
        self.engine.as_ref().unwrap().status().unwrap()["services"][0].clone()
    }

    fn wait(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let seen = wait_until(what, LONG, || {
            let service = self.service();
            Ok(fits(&service).then_some(service))
        });
        seen.unwrap_or_else(|error| panic!("{error}: {:#}", self.service()))
    }

    fn server(service: &Value, name: &str) -> Value {
        service["servers"].as_array().unwrap().iter().find(|server| server["name"] == name).unwrap().clone()
    }

    fn is_ready(service: &Value) -> bool {
        service["forecast"]["would_fail_over"] == true
    }

    /// A row through the route.
    fn writes(&self, wanted: &PgServer) {
        let open = wait_until("the route leads to the primary", LONG, || {
            let open = crate::support::haproxy::open_servers(self.pair.haproxy.socket(), BACKEND, LONG)?;
            Ok((open == [wanted.name().to_owned()]).then_some(()))
        });
        open.unwrap();
        assert!(wanted.is_primary().unwrap());
    }
}

#[test]
fn a_standbys_host_is_patched() {
    let runbook = Runbook::start();
    let (db1, db2) = (&runbook.pair.db1, &runbook.pair.db2);
    runbook.run("failover cordon orders db2", "");
    assert_eq!(Runbook::server(&runbook.service(), "db2")["cordoned"], true);
    assert!(!Runbook::is_ready(&runbook.service()), "nobody is promoted meanwhile");
    db2.restart().unwrap();
    db2.wait_following(db1).unwrap();
    let streams = |service: &Value| Runbook::server(service, "db2")["sample"]["receiver"] == "streaming";
    runbook.wait("db2 streams again", streams);
    assert!(runbook.run("failover status orders", "").contains("streaming"));
    runbook.run("failover uncordon orders db2", "");
    runbook.wait("a failover would go through", Runbook::is_ready);
}

#[test]
fn the_primarys_host_is_patched_with_an_outage() {
    let runbook = Runbook::start();
    let db1 = &runbook.pair.db1;
    let pause = runbook.command("failover pause orders").to_owned();
    assert!(pause.contains("--reason") && pause.contains("--for"), "{pause}");
    runbook.run("failover pause orders", "");
    assert_eq!(runbook.service()["paused"], true);
    db1.kill_all();
    runbook.wait("its death is seen", |service| Runbook::server(service, "db1")["health"] == "unhealthy");
    db1.start().unwrap();
    runbook.wait("it works again", |service| Runbook::server(service, "db1")["health"] == "healthy");
    runbook.run("failover resume orders", "");
    runbook.wait("a failover would go through", Runbook::is_ready);
    assert_eq!(runbook.service()["generation"], 0, "nobody was promoted");
    runbook.writes(db1);
}

#[test]
fn the_primarys_host_is_patched_after_a_switchover() {
    let runbook = Runbook::start();
    let db2 = &runbook.pair.db2;
    let looked = runbook.run("failover switchover orders --to db2 --dry-run", "");
    assert!(looked.contains("a switchover would begin"), "{looked}");
    let told = runbook.run("failover switchover orders --to db2 --wait", "");
    assert!(told.contains("db2"), "{told}");
    runbook.writes(db2);
    assert_eq!(runbook.service()["primary"], "db2");
}

/// None takes writes, and a standby is usable: what the engine would not do by itself a person orders.
#[test]
fn a_person_is_called_and_a_standby_is_usable() {
    // The engine promotes nobody by itself.
    let runbook = Runbook::with("\n  [services.trigger]\n  require_confirmation = true\n");
    let (db1, db2) = (&runbook.pair.db1, &runbook.pair.db2);
    db1.kill_all();
    runbook.wait("it waits for a person", |service| service["awaiting_confirmation"] == true);
    let told = runbook.run("failover status orders --evidence", "");
    assert!(told.contains("orders"), "{told}");
    assert!(!db2.is_primary().unwrap());
    runbook.run("failover force orders --to db2 --wait", "--yes");
    runbook.writes(db2);
    runbook.run("failover reset orders", "");
    assert_eq!(runbook.wait("it watches", |service| service["state"] != "failed_over")["primary"], "db2");
}

/// One server that somebody promoted by hand: followed where it has the whole log, and else adopted.
#[test]
fn a_person_promoted_by_hand_and_the_engine_follows_or_adopts_it() {
    for lacks in [false, true] {
        let runbook = Runbook::start();
        let (db1, db2) = (&runbook.pair.db1, &runbook.pair.db2);
        runbook.run("failover pause orders", "");
        if lacks {
            // What is written from here on db2 never gets, and the engine sees it.
            db2.query("ALTER SYSTEM SET primary_conninfo = ''").unwrap();
            db2.query("SELECT pg_reload_conf()").unwrap();
            let gone = || Ok((db1.value("SELECT count(*) FROM pg_stat_replication")? == "0").then_some(()));
            wait_until("db2 receives no more", LONG, gone).unwrap();
            db1.query("SELECT pg_logical_emit_message(false, 'test', repeat('x', 100000))").unwrap();
            let at = db1.value("SELECT pg_switch_wal()").unwrap();
            let sampled = format!("SELECT pg_current_wal_flush_lsn() > '{at}'");
            assert_eq!(db1.value(&sampled).unwrap(), "t");
            let lsn = |text: &str| u64::from_str_radix(&text.replace('/', ""), 16).unwrap_or(0);
            runbook.wait("the engine has seen it", |service| {
                lsn(Runbook::server(service, "db1")["sample"]["flush"].as_str().unwrap_or("0/0")) > lsn(&at)
            });
        }
        db1.kill_all();
        runbook.wait("its death is seen", |service| Runbook::server(service, "db1")["health"] == "unhealthy");
        db2.promote().unwrap();
        if lacks {
            let told = |event: &crate::support::recording::Event| event.kind == "other_branch";
            runbook.engine.as_ref().unwrap().first_event("it lacks some of the log", LONG, 0, told);
            assert_ne!(runbook.service()["primary"], "db2");
            runbook.run("failover adopt orders db2", "");
        }
        runbook.wait("db2 is the primary", |service| service["primary"] == "db2");
        runbook.run("failover resume orders", "");
        runbook.writes(db2);
    }
}

/// The engine's host is lost while the primary is dead: a failover by hand, and a new engine that knows nothing.
#[test]
fn the_engines_host_is_lost_and_the_primary_died() {
    let mut runbook = Runbook::start();
    runbook.engine.take().unwrap().kill();
    let state = runbook.pair.lab.path("state");
    for left in fs::read_dir(&state).unwrap().flatten() {
        let path = left.path();
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
    let (db1, db2) = (&runbook.pair.db1, &runbook.pair.db2);
    db1.kill_all();
    assert!(db1.processes().is_empty(), "no process of it is left");
    db2.query(runbook.command("SELECT pg_promote()")).unwrap();
    wait_until("db2 takes writes", LONG, || Ok(db2.is_primary()?.then_some(()))).unwrap();
    for begins in ["disable server orders/db1", "enable server orders/db2"] {
        // The page's backend is `orders`.
        let command = runbook.command(begins).replace("orders/", &format!("{BACKEND}/"));
        let answer = runbook.pair.haproxy.command(&command).unwrap();
        assert_eq!(answer.trim(), "", "{command}");
    }
    runbook.writes(db2);
    assert!(runbook.text.contains("with `role = \"primary\"` at the server that takes writes"), "the page says so");
    let text = fs::read_to_string(&runbook.pair.config).unwrap();
    let exchanged = text.replace("role = \"primary\"", "role = \"\"").replace("role = \"standby\"", "role = \"primary\"");
    fs::write(&runbook.pair.config, exchanged.replace("role = \"\"", "role = \"standby\"")).unwrap();
    let engine = runbook.pair.engine(Origin::now()).unwrap();
    runbook.engine = Some(engine);
    // Until it listens there is no status.
    let knows =
        || Ok(runbook.engine.as_ref().unwrap().status().ok().filter(|all| all["services"][0]["primary"] == "db2").map(drop));
    wait_until("the new engine knows its primary", LONG, knows).unwrap();
    assert!(runbook.run("failover status", "").contains("Primary: db2"));
    runbook.writes(&runbook.pair.db2);
}
