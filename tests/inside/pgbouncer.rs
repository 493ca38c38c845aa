//! PgBouncer in front of the databases, the real one: its clients wait while the primary is replaced, and go on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support;
use super::support::pgbouncer::{ADMIN, STATS};
use super::support::queue;
use super::support::recording::Outcome;
use super::support::session::{Address, Login, Session};
use super::support::{Lab, Pair, PairOptions, PgBouncer, Writer, WriterOptions};
use crate::action::pgbouncer::Pooler;
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::postgres::{Endpoint, KeptKeys, SessionSettings, SslMode, Target, Tls, TlsSettings};
use crate::wire::resolve::Literals;
use crate::{Config, Engine, EngineEvent, EventKind, EventQueue};
use failover_core::finding::FindingCode;
use failover_core::output::{Failure, FailureKind};
use failover_core::route::{RouteState, findings};

const LONG: Duration = Duration::from_secs(90);
/// Short enough to wait for.
const SOON: Duration = Duration::from_millis(800);
/// Ports where db1 and db2 would be.
const DB1: u16 = 1;
const DB2: u16 = 2;

fn console(port: u16, user: &str, password: &str) -> Target {
    Target {
        endpoint: Endpoint::new("127.0.0.1", port),
        user: user.to_owned(),
        password: Some(Secret::new(password)),
        database: "pgbouncer".to_owned(),
        tls: Tls::new(TlsSettings { mode: SslMode::Disable, ..TlsSettings::default() }),
        application_name: "libfailover/test".to_owned(),
        keys: KeptKeys::default(),
        settings: SessionSettings::default(),
    }
}

fn pooler(console: Target, databases: &[&str], file: &Path) -> Pooler {
    let servers = [("db1", DB1), ("db2", DB2)].map(|(server, port)| (server.to_owned(), ("127.0.0.1".to_owned(), port)));
    let databases = databases.iter().map(|database| (*database).to_owned()).collect();
    Pooler::new("pool".to_owned(), console, databases, file.to_owned(), BTreeMap::from(servers), Arc::new(Literals))
}

fn step_within(pooler: &Pooler, step: &str, server: &str, span: Duration) -> Result<String, Failure> {
    pooler.step(step, server, 1, Deadline::after(span), &Cancel::new().unwrap())
}

fn step(pooler: &Pooler, step: &str, server: &str) -> Result<String, Failure> {
    step_within(pooler, step, server, LONG)
}

fn states(pooler: &Pooler) -> Vec<RouteState> {
    let view = pooler.view(Deadline::after(LONG), &Cancel::new().unwrap());
    view.servers.unwrap().into_iter().map(|server| server.state).collect()
}

/// One without servers behind it: its console is all that is asked.
fn alone(lab: &Lab) -> PgBouncer {
    PgBouncer::start(lab, "pool", &["app", "reports"], DB1, &[]).unwrap()
}

#[test]
fn paused_pointed_elsewhere_resumed_and_back_as_it_was() {
    let lab = Lab::new().unwrap();
    let real = alone(&lab);
    let pooler = pooler(console(real.port(), ADMIN, real.password()), &["app", "reports"], real.file());
    let text = std::fs::read_to_string(real.file()).unwrap();
    let before = real.shown().unwrap();
    assert_eq!(before, ["app 1 0", "reports 1 0"]);
    assert_eq!(states(&pooler), [RouteState::Takes, RouteState::Maint]);
    for _ in 0..2 {
        assert_eq!(step(&pooler, "route_out", "db1").unwrap(), "app is paused, reports is paused");
        assert_eq!(real.shown().unwrap(), ["app 1 1", "reports 1 1"]);
    }
    assert_eq!(states(&pooler), [RouteState::Drain, RouteState::Maint]);
    for _ in 0..2 {
        assert_eq!(step(&pooler, "route_in", "db2").unwrap(), "app, reports points to 127.0.0.1:2");
        assert_eq!(real.shown().unwrap(), ["app 2 0", "reports 2 0"]);
    }
    assert_eq!(states(&pooler), [RouteState::Maint, RouteState::Takes]);
    assert_eq!(std::fs::read_to_string(real.file()).unwrap(), text.replace("port=1 ", "port=2 "));
    // One that does not point to the failed server is left alone.
    assert_eq!(step(&pooler, "route_out", "db1").unwrap(), "app points to 127.0.0.1:2, reports points to 127.0.0.1:2");
    for _ in 0..2 {
        let said = step(&pooler, "route_restore", "db1").unwrap();
        assert!(said.ends_with("as before"), "{said}");
        assert_eq!((real.shown().unwrap(), std::fs::read_to_string(real.file()).unwrap()), (before.clone(), text.clone()));
    }
    // Nothing is remembered by another engine: then the server that had the traffic gets it.
    step(&pooler, "route_out", "db1").unwrap();
    let another = self::pooler(console(real.port(), ADMIN, real.password()), &["app", "reports"], real.file());
    step(&another, "route_rollback", "db1").unwrap();
    assert_eq!(real.shown().unwrap(), before);
}

/// What would keep clients from waiting in a switchover ends by its remedy.
#[test]
fn what_is_said_of_a_gate_that_could_not_be_closed_ends_it() {
    const MARK: &str = "GATE_TEST_FOLDER";
    let Some(place) = std::env::var_os(MARK).map(PathBuf::from) else {
        // In a process of its own: its PATH begins with an empty folder, and has no program failover.
        let place = tempfile::tempdir().unwrap();
        let usual = std::env::var_os("PATH").unwrap();
        let others = std::env::split_paths(&usual).filter(|folder| !folder.join("failover").exists());
        let path = std::env::join_paths(std::iter::once(place.path().to_owned()).chain(others)).unwrap();
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        super::again(&mut program, module_path!(), "what_is_said_of_a_gate_that_could_not_be_closed_ends_it");
        assert!(program.env(MARK, place.path()).env("PATH", path).status().unwrap().success());
        return;
    };
    let lab = Lab::new().unwrap();
    let real = alone(&lab);
    let pooler = pooler(console(real.port(), ADMIN, real.password()), &["app", "reports"], real.file());
    let found = || findings(&[pooler.view(Deadline::after(LONG), &Cancel::new().unwrap())], Some("db1"), |_| true, true);
    let shown = |code: FindingCode, words: &str| {
        let found = found().into_iter().find(|finding| finding.code == code).unwrap();
        println!("{code}: {} | {}", found.message, found.remedy);
        assert!(!found.blocking && found.remedy.contains(words), "{found:?}");
    };
    let gone = |code: FindingCode| assert!(found().iter().all(|finding| finding.code != code), "{code}: {:?}", found());
    shown(FindingCode::PoolerSessionMode, "set pool_mode = transaction");
    real.set_pool_mode("transaction").unwrap();
    gone(FindingCode::PoolerSessionMode);

    shown(FindingCode::GateKeeperMissing, "install the program failover where PATH of the engine finds it");
    std::fs::copy("/bin/true", place.join("failover")).unwrap();
    gone(FindingCode::GateKeeperMissing);
}

#[test]
fn what_was_half_done_is_undone_value_by_value() {
    let lab = Lab::new().unwrap();
    let real = alone(&lab);
    // The second line is missing from the file, so the second database cannot be pointed elsewhere.
    let text = std::fs::read_to_string(real.file()).unwrap();
    let pooler = pooler(console(real.port(), ADMIN, real.password()), &["app", "reports"], real.file());
    let before = real.shown().unwrap();
    std::fs::write(real.file(), text.replace("reports", "; reports")).unwrap();
    step(&pooler, "route_out", "db1").unwrap();
    let failure = step(&pooler, "route_in", "db2").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unknown, "{failure:?}");
    assert!(failure.message.contains("no line \"reports = …\"") && !failure.remedy.is_empty(), "{failure:?}");
    std::fs::write(real.file(), std::fs::read_to_string(real.file()).unwrap().replace("; reports", "reports")).unwrap();
    step(&pooler, "route_rollback", "db1").unwrap();
    assert_eq!((real.shown().unwrap(), std::fs::read_to_string(real.file()).unwrap()), (before, text));
}

#[test]
fn every_refusal_has_a_name_and_changes_nothing() {
    let lab = Lab::new().unwrap();
    let real = alone(&lab);
    let nobody = support::lab::free_port().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let babble = TcpListener::bind("127.0.0.1:0").unwrap();
    let (silent_port, babble_port) = (silent.local_addr().unwrap().port(), babble.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for client in babble.incoming().flatten().take(8) {
            let _ = (&client).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nthis is no pooler");
        }
    });
    let good = || console(real.port(), ADMIN, real.password());
    let elsewhere: PathBuf =
        lab.write("other.ini", "app = host=127.0.0.1 port=1\nreports = host=127.0.0.1 port=1\n", 0o600).unwrap();
    let none = lab.path("not-there.ini");
    let own = real.file();
    let all: &[&str] = &["app", "reports"];
    let cases: Vec<(Pooler, FailureKind, &str, &str)> = vec![
        (
            pooler(console(real.port(), ADMIN, "wrong"), all, own),
            FailureKind::NoEffect,
            "authentication failed",
            "correct user and password",
        ),
        (pooler(console(real.port(), STATS, real.password()), all, own), FailureKind::NoEffect, "admin access", "admin_users"),
        (pooler(console(nobody, ADMIN, ""), all, own), FailureKind::NoEffect, "refused", "start PgBouncer"),
        (pooler(console(silent_port, ADMIN, ""), all, own), FailureKind::NoEffect, "", ""),
        (pooler(console(babble_port, ADMIN, ""), all, own), FailureKind::NoEffect, "not a proper answer", ""),
        (pooler(good(), &["apps"], own), FailureKind::NoEffect, "no database \"apps\"", "[databases]"),
        (pooler(good(), all, &none), FailureKind::NoEffect, "cannot be found", "let the engine's user write"),
        (pooler(good(), all, lab.dir()), FailureKind::NoEffect, "no regular file", "let the engine's user write"),
        (pooler(good(), all, &elsewhere), FailureKind::NoEffect, "and not from", "route.pgbouncer.file"),
    ];
    let before = real.shown().unwrap();
    for (pooler, kind, message, remedy) in &cases {
        let failure = step_within(pooler, "route_in", "db2", SOON).unwrap_err();
        assert_eq!(failure.kind, *kind, "{failure:?}");
        assert!(failure.message.contains(message) && failure.remedy.contains(remedy), "{failure:?}");
        assert!(failure.message.starts_with("pgbouncer pool: "), "{failure:?}");
        assert!(!format!("{failure:?}").contains(real.password()), "{failure:?}");
        assert_eq!(real.shown().unwrap(), before, "{failure:?}");
    }
    // The survey sees beforehand what it can see.
    for (pooler, _, message, _) in
        cases.iter().filter(|(_, kind, message, _)| *kind == FailureKind::NoEffect && !message.is_empty())
    {
        if message.contains("regular file") {
            continue;
        }
        let view = pooler.view(Deadline::after(LONG), &Cancel::new().unwrap());
        let found = findings(&[view], Some("db1"), |_| true, true);
        assert_eq!((found[0].code.as_str(), found[0].blocking), ("route_not_ready", true), "{found:?}");
        assert!(found[0].message.contains(message), "{found:?}");
    }
    let stranger = step(&cases[8].0, "route_in", "db3").unwrap_err();
    assert!(stranger.message.contains("\"db3\""), "{stranger:?}");
}

/// What PgBouncer says is so; a file that says it twice, or elsewhere, is refused by name, beforehand and at failover time.
#[test]
fn a_database_that_is_defined_twice_is_refused_by_name() {
    let lab = Lab::new().unwrap();
    let real = alone(&lab);
    let pooler = pooler(console(real.port(), ADMIN, real.password()), &["app", "reports"], real.file());
    let good = std::fs::read_to_string(real.file()).unwrap();
    let more = lab.write("more.ini", "app = host=127.0.0.1 port=1\n", 0o644).unwrap();
    let main = std::fs::read_to_string(real.config()).unwrap();
    let twice = format!("{good}app = host=127.0.0.1 port=1 dbname=app\n");
    for (own, around, told) in [
        (twice.clone(), main.clone(), "databases.ini:4"),
        (format!("%include {}\n{good}", more.display()), main.clone(), "more.ini:1"),
        (good.clone(), main.replace("\n\n[pgbouncer]", "\napp = host=127.0.0.1 port=1\n\n[pgbouncer]"), "pgbouncer.ini:3"),
        (
            good.clone(),
            main.replace("%include", "app = host=127.0.0.1 port=1\nreports = host=127.0.0.1 port=1\n;"),
            "and not from",
        ),
        (good.replace("port=1 ", "port=2 "), main.clone(), "points to 127.0.0.1:1, and to 127.0.0.1:2"),
    ] {
        std::fs::write(real.file(), &own).unwrap();
        std::fs::write(real.config(), &around).unwrap();
        if !told.contains("points to") {
            real.console("RELOAD").unwrap();
        }
        let view = pooler.view(Deadline::after(LONG), &Cancel::new().unwrap());
        let found = findings(&[view], Some("db1"), |_| true, true);
        assert_eq!((found[0].code.as_str(), found[0].blocking), ("route_not_ready", true), "{found:?}");
        assert!(found[0].message.contains(told) && found[0].remedy.contains("RELOAD"), "{found:?}");
        if told.contains("points to") {
            continue;
        }
        let failure = step(&pooler, "route_in", "db2").unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
        assert!(failure.message.contains(told), "{failure:?}");
        assert_eq!(std::fs::read_to_string(real.file()).unwrap(), own);
        // Whoever was paused goes on where nothing has moved.
        step(&pooler, "route_out", "db1").unwrap();
        step(&pooler, "route_rollback", "db1").unwrap();
        assert!(real.shown().unwrap().iter().all(|shown| shown.ends_with(" 1 0")), "{:?}", real.shown());
    }
    std::fs::write(real.file(), &good).unwrap();
    std::fs::write(real.config(), &main).unwrap();
    real.console("RELOAD").unwrap();
    step(&pooler, "route_in", "db2").unwrap();
    assert_eq!(states(&pooler), [RouteState::Maint, RouteState::Takes]);
}

/// A database that leads to the primary and that nobody moves is told, as PgBouncer says it, and the remedy ends that.
#[test]
fn another_database_that_leads_to_the_primary_is_told() {
    let lab = Lab::new().unwrap();
    let real = alone(&lab);
    let main = std::fs::read_to_string(real.config()).unwrap();
    let found = |databases: &[&str], primary: &str| {
        let pooler = pooler(console(real.port(), ADMIN, real.password()), databases, real.file());
        let found = findings(&[pooler.view(Deadline::after(LONG), &Cancel::new().unwrap())], Some(primary), |_| true, true);
        // Its pools are those of sessions: that hurts a switchover alone.
        found.into_iter().filter(|one| !one.code.is_of_planned_work()).collect::<Vec<_>>()
    };
    let around = |lines: &str| {
        std::fs::write(real.config(), main.replace("\n\n[pgbouncer]", &format!("\n{lines}\n\n[pgbouncer]"))).unwrap();
        real.console("RELOAD").unwrap();
    };
    assert_eq!(found(&["app", "reports"], "db1"), []);
    let line = "billing = host=127.0.0.1 port=1 dbname=billing";
    // A file with a section that does not count, and a database of the standby, which readers are meant to have.
    around(&format!("{line}\nreaders = host=127.0.0.1 port=2\nelsewhere = host=127.0.0.1 port=3\n; off = host=127.0.0.1 port=1"));
    let told = found(&["app", "reports"], "db1");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].code.as_str(), told[0].blocking), ("route_line_unnamed", false));
    assert!(told[0].message.contains("pool: billing of PgBouncer") && told[0].message.contains("db1"), "{told:?}");
    assert!(told[0].remedy.contains("name billing in route.pgbouncer.databases, and move the line"), "{told:?}");
    real.console("DISABLE billing").unwrap();
    assert_eq!(found(&["app", "reports"], "db1"), []);
    real.console("ENABLE billing").unwrap();
    // The remedy.
    let own = std::fs::read_to_string(real.file()).unwrap();
    std::fs::write(real.file(), format!("{own}{line}\n")).unwrap();
    around("readers = host=127.0.0.1 port=2");
    assert_eq!(found(&["app", "reports", "billing"], "db1"), []);
}

/// PgBouncer looks for a relative name in its working directory, not beside the file that names it.
#[test]
fn a_relative_include_is_followed_as_pgbouncer_does() {
    let lab = Lab::new().unwrap();
    let real = alone(&lab);
    let pooler = pooler(console(real.port(), ADMIN, real.password()), &["app", "reports"], real.file());
    let main = std::fs::read_to_string(real.config()).unwrap();
    let found = |around: String| {
        std::fs::write(real.config(), around).unwrap();
        real.console("RELOAD").unwrap();
        let view = pooler.view(Deadline::after(LONG), &Cancel::new().unwrap());
        // Its pools are those of sessions: that hurts a switchover alone.
        let mut found = findings(&[view], Some("db1"), |_| true, true).into_iter();
        found.find(|one| !one.code.is_of_planned_work()).map(|one| (one.message, one.remedy))
    };
    let relative = main.replace(&lab.dir().display().to_string(), ".");
    assert!(relative.contains("%include ./pool/databases.ini"), "{relative}");
    assert_eq!(found(relative.clone()), None);
    step(&pooler, "route_in", "db2").unwrap();
    assert_eq!(real.shown().unwrap(), ["app 2 0", "reports 2 0"]);
    step(&pooler, "route_rollback", "db1").unwrap();

    // The same name beside the file is one that it never reads, and the one in its directory is one that it obeys.
    let more = relative.replace("\n\n[pgbouncer]", "\n%include more.ini\n\n[pgbouncer]");
    lab.write("pool/more.ini", "app = host=127.0.0.1 port=1\n", 0o644).unwrap();
    lab.write("more.ini", "; nothing\n", 0o644).unwrap();
    assert_eq!(found(more.clone()), None);
    lab.write("more.ini", "app = host=127.0.0.1 port=1\n", 0o644).unwrap();
    let (message, remedy) = found(more.clone()).unwrap();
    assert!(message.contains("/more.ini:1") && remedy.contains("one line for each database"), "{message} {remedy}");

    // Where nobody says which directory that is, the file is refused by its name, and nothing is changed.
    std::fs::remove_file(lab.path("pool/pid")).unwrap();
    let own = std::fs::read_to_string(real.file()).unwrap();
    let (message, remedy) = found(main.replace("\n\n[pgbouncer]", "\n%include more.ini\n\n[pgbouncer]")).unwrap();
    assert!(message.contains("pgbouncer.ini:3 includes more.ini") && remedy.contains("the whole path"), "{message} {remedy}");
    let failure = step(&pooler, "route_in", "db2").unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
    assert_eq!(
        (std::fs::read_to_string(real.file()).unwrap(), real.shown().unwrap()),
        (own, vec!["app 1 0".into(), "reports 1 0".into()])
    );
    // What the remedy says ends it.
    let whole = main.replace("\n\n[pgbouncer]", &format!("\n%include {}\n\n[pgbouncer]", lab.path("pool/none.ini").display()));
    lab.write("pool/none.ini", "; nothing\n", 0o644).unwrap();
    assert_eq!(found(whole), None);
    step(&pooler, "route_in", "db2").unwrap();
}

struct Pooled {
    first: PgBouncer,
    second: PgBouncer,
    pair: Pair,
}

impl Pooled {
    /// A pair without HAProxy, behind two PgBouncer.
    fn start() -> Pooled {
        let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
        let logins = [("app", "app"), ("failover", pair.db1.secrets().engine.as_str())];
        let start = |name| PgBouncer::start(&pair.lab, name, &["app", "postgres"], pair.db1.port(), &logins).unwrap();
        let (first, second) = (start("pool1"), start("pool2"));
        let text = std::fs::read_to_string(&pair.config).unwrap();
        let (text, _) = text.split_once("    [[services.route.haproxy]]").unwrap();
        let (head, tail) = text.split_once("  verify = [").unwrap();
        let (_, tail) = tail.split_once(']').unwrap();
        let mut text = format!("{head}  verify = [\"127.0.0.1:{}\"]{tail}", first.port());
        for (name, pool) in [("pool1", &first), ("pool2", &second)] {
            let _ = write!(
                text,
                "\n[[services.route.pgbouncer]]\nname = \"{name}\"\nport = {}\nuser = \"{ADMIN}\"\npassword = \"{}\"\n\
                 databases = [\"app\", \"postgres\"]\nfile = \"{}\"\n",
                pool.port(),
                pool.password(),
                pool.file().display()
            );
        }
        std::fs::write(&pair.config, text).unwrap();
        Pooled { first, second, pair }
    }
}

fn wait(queue: &EventQueue, what: &str, fits: impl Fn(&EngineEvent) -> bool) -> Arc<EngineEvent> {
    queue::wait_for(queue, what, LONG, fits)
}

#[test]
fn clients_of_the_pooler_survive_the_death_of_the_primary() {
    let pooled = Pooled::start();
    let Pooled { first, second, pair } = &pooled;
    let (old, new) = (pair.db1.port(), pair.db2.port());
    let engine = Engine::new(Config::load(&pair.config).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let until = Instant::now() + LONG;
    while !engine.status().services[0].forecast.would_fail_over {
        assert!(Instant::now() < until, "never ready: {:#?}", engine.status());
        std::thread::sleep(Duration::from_millis(20));
    }
    let origin = Instant::now();
    let options = WriterOptions { timeout: Duration::from_secs(30), ..WriterOptions::new(first.port()) };
    let writer = Writer::start(options, origin).unwrap();
    let until = Instant::now() + LONG;
    while writer.acknowledged().1 < 20 {
        assert!(Instant::now() < until, "the writer does not write: {:?}", writer.attempts().last());
        std::thread::sleep(Duration::from_millis(5));
    }
    second.kill();
    pair.db1.kill_all();
    wait(&queue, "the pooler is paused", |event| {
        event.kind == EventKind::StepFinished && event.fields["step"] == "route_out" && event.message.contains("app is paused")
    });
    // Whoever comes now waits for the new primary.
    let mut late = Session::connect(&Address::loopback(first.port()), &Login::new("app", "app"), LONG).unwrap();
    assert_eq!(late.value("SELECT pg_is_in_recovery()", LONG).unwrap(), "f");
    let done = wait(&queue, "the failover", |event| event.kind == EventKind::FailoverCompleted);
    let warnings = done.fields["warnings"].to_string();
    assert!(warnings.contains("pool2") && !warnings.contains("pool1"), "{warnings}");
    assert_eq!(first.shown().unwrap(), [format!("app {new} 0"), format!("postgres {new} 0")]);
    let from = writer.now();
    let until = Instant::now() + LONG;
    while writer.acknowledged_since(from, new) < 20 {
        assert!(Instant::now() < until, "the writer does not go on: {:?}", writer.attempts().last());
        std::thread::sleep(Duration::from_millis(5));
    }
    let lost = writer.stop().into_iter().filter(|attempt| attempt.outcome != Outcome::Acknowledged).count();
    assert!(lost <= 2, "one row was on its way and one reconnection may have met the old server: {lost}");

    // The one that was away, back with its old file, is put right; so is what somebody changes by hand.
    let mut pooled = pooled;
    pooled.second.restart().unwrap();
    wait(&queue, "pool2 is put right", |event| {
        event.kind == EventKind::EvidenceGathered && event.message.contains("every instance of the route")
    });
    assert_eq!(pooled.second.shown().unwrap(), [format!("app {new} 0"), format!("postgres {new} 0")]);
    let file = pooled.first.file();
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replace(&format!("port={new}"), &format!("port={old}"))).unwrap();
    pooled.first.console("RELOAD").unwrap();
    wait(&queue, "pool1 is put right", |event| {
        event.kind == EventKind::EvidenceGathered && event.message.contains("every instance of the route")
    });
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
    engine.stop(LONG).unwrap();
}
