//! The harness of the real servers is itself tested: it must start what it says, and leave nothing.

mod support;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::lab::{Lab, wait_until};
use support::pair::{Pair, PairOptions};
use support::postgres::{PgOptions, PgServer, StopMode, bin_dir};
use support::process::{Seen, processes, signal_all, working_in};
use support::recording::Outcome;
use support::session::{Login, Session, SqlError};
use support::sshd::{Sshd, SshdOptions};
use support::writer::{Writer, WriterOptions, compare};

const WATCHDOG: Duration = Duration::from_secs(60);

fn quick() -> PairOptions {
    PairOptions { fsync: false, ..PairOptions::default() }
}

#[test]
fn a_pair_streams_takes_writes_through_the_route_and_leaves_nothing() {
    let pair = Pair::start(&quick(), |_| {}).unwrap();
    let dir = pair.lab.dir().to_owned();
    assert!(pair.db1.is_primary().unwrap());
    assert!(!pair.db2.is_primary().unwrap());
    assert_eq!(
        pair.db1.value("SELECT system_identifier FROM pg_control_system()").unwrap(),
        pair.db2.value("SELECT system_identifier FROM pg_control_system()").unwrap()
    );
    assert_eq!(pair.haproxy.stat("db1", "status").unwrap(), "no check");
    assert_eq!(pair.haproxy.stat("db2", "status").unwrap(), "MAINT");

    let engine = Login { password: Some(pair.db1.secrets().engine.clone()), ..Login::new("failover", "postgres") };
    let mut session = pair.db1.session_as(&engine).unwrap();
    assert_eq!(session.value("SELECT has_function_privilege('pg_promote(boolean,integer)', 'execute')", WATCHDOG).unwrap(), "t");
    let wrong = Login { password: Some("wrong".to_owned()), ..engine };
    assert!(
        matches!(Session::connect(&pair.db1.address(), &wrong, WATCHDOG), Err(SqlError::Server { code, .. }) if code == "28P01")
    );

    let writer = Writer::start(WriterOptions::new(pair.haproxy.front()), Instant::now()).unwrap();
    wait_until("the writer writes", WATCHDOG, || Ok((writer.acknowledged().1 >= 20).then_some(()))).unwrap();
    let attempts = writer.stop();
    let table = compare(&pair.db1, &attempts).unwrap();
    assert!(table.missing.is_empty() && table.doubled.is_empty());
    assert!(attempts.iter().all(|attempt| attempt.outcome == Outcome::Acknowledged && attempt.port == pair.db1.port()));

    let text = std::fs::read_to_string(&pair.config).unwrap();
    toml::from_str::<toml::Table>(&text).unwrap();
    drop(pair);
    assert_nothing_left(&dir);
}

#[test]
fn a_killed_primary_and_a_bare_promotion_are_an_outage_that_the_writer_sees() {
    let pair = Pair::start(&quick(), |_| {}).unwrap();
    let writer = Writer::start(WriterOptions::new(pair.haproxy.front()), Instant::now()).unwrap();
    wait_until("the writer writes", WATCHDOG, || Ok((writer.acknowledged().1 >= 20).then_some(()))).unwrap();
    let killed = writer.now();
    pair.db1.kill_postmaster().unwrap();
    pair.db1.kill_all();
    pair.db2.promote().unwrap();
    pair.haproxy.command("set server pg_write/db1 state maint").unwrap();
    pair.haproxy.command("set server pg_write/db2 state ready").unwrap();
    let port = pair.db2.port();
    wait_until("the writer writes to db2", WATCHDOG, || Ok((writer.acknowledged_since(killed, port) >= 20).then_some(())))
        .unwrap();
    let attempts = writer.stop();
    let table = compare(&pair.db2, &attempts).unwrap();
    assert_eq!(table.server, "db2");
    assert!(attempts.iter().any(|attempt| attempt.outcome != Outcome::Acknowledged));
    assert!(pair.db2.is_primary().unwrap());
}

#[test]
fn synchronous_pairs_wait_for_each_other() {
    let pair = Pair::start(&PairOptions { synchronous: true, ..quick() }, |_| {}).unwrap();
    assert_eq!(pair.db1.value("SELECT sync_state FROM pg_stat_replication").unwrap(), "sync");
    assert_eq!(pair.db2.value("SHOW synchronous_standby_names").unwrap(), "db1");
}

#[test]
fn a_frozen_server_is_silent_and_goes_on_after_the_thaw() {
    let lab = Lab::new().unwrap();
    let server = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let mut kept = server.session().unwrap();
    let frozen = server.freeze().unwrap();
    assert!(server.processes().iter().all(|seen| seen.state == 'T'));
    assert!(matches!(kept.query("SELECT 1", Duration::from_millis(50)), Err(SqlError::TimedOut)));
    let login = Login::new("app", "app");
    assert!(matches!(Session::connect(&server.address(), &login, Duration::from_millis(50)), Err(SqlError::TimedOut)));
    assert!(server.thaw(&frozen) > 0);
    assert_eq!(server.value("SELECT 1").unwrap(), "1");
}

#[test]
fn a_server_survives_a_restart_and_a_stop() {
    let lab = Lab::new().unwrap();
    let server = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let before = server.postmaster_pid().unwrap();
    server.restart().unwrap();
    assert_ne!(server.postmaster_pid().unwrap(), before);
    assert_eq!(server.value("SELECT 1").unwrap(), "1");
    server.stop(StopMode::Fast).unwrap();
    wait_until("it is gone", WATCHDOG, || Ok(server.processes().is_empty().then_some(()))).unwrap();
    server.start().unwrap();
    server.set("work_mem = '5MB'").unwrap();
    wait_until("the setting is read", WATCHDOG, || Ok((server.value("SHOW work_mem")? == "5MB").then_some(()))).unwrap();
}

/// Whoever names other programs gets their server, and no other in silence.
#[test]
fn a_server_is_of_the_version_whose_programs_are_named() {
    let bin = bin_dir().unwrap();
    if let Some(named) = std::env::var_os("FAILOVER_POSTGRES_BIN") {
        assert_eq!(bin, named);
    }
    let told = Command::new(bin.join("postgres")).arg("--version").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let lab = Lab::new().unwrap();
    let server = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let runs = server.value("SHOW server_version").unwrap();
    assert_eq!(told.trim_start_matches("postgres (PostgreSQL) ").trim_end(), runs);
    println!("version: {runs}");
}

#[test]
fn own_identity_is_another_cluster() {
    let lab = Lab::new().unwrap();
    let identity = |name: &str, own_identity: bool| {
        let server = PgServer::primary(&lab, &PgOptions { own_identity, ..PgOptions::quick(name) }).unwrap();
        server.value("SELECT system_identifier FROM pg_control_system()").unwrap()
    };
    assert_ne!(identity("a", false), identity("b", true));
}

#[test]
fn ssh_runs_commands_or_only_the_forced_one() {
    let lab = Lab::new().unwrap();
    let free = Sshd::start(&lab, &SshdOptions::new("free")).unwrap();
    assert_eq!(free.client(&lab, "echo $((6 * 7))").unwrap().trim(), "42");
    let forced =
        SshdOptions { forced_command: Some("echo asked for $SSH_ORIGINAL_COMMAND".to_owned()), ..SshdOptions::new("forced") };
    let forced = Sshd::start(&lab, &forced).unwrap();
    assert_eq!(forced.client(&lab, "rm everything").unwrap().trim(), "asked for rm everything");
}

#[test]
fn nothing_is_left_of_a_lab_with_frozen_servers_and_orphans() {
    let lab = Lab::new().unwrap();
    let dir = lab.dir().to_owned();
    let server = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let _busy = server.session().unwrap();
    server.freeze().unwrap();
    // An orphan: its shell has ended, it works in the lab and its group is unknown.
    let mut orphan = lab.command("setsid");
    orphan.args(["--fork", "sleep", "1000"]);
    lab.run("orphan", orphan, WATCHDOG).unwrap();
    let there = || working_in(&dir).iter().any(|seen| seen.name == "sleep").then_some(());
    wait_until("the orphan runs", WATCHDOG, || Ok(there())).unwrap();
    drop(server);
    drop(lab);
    assert_nothing_left(&dir);
}

/// Not a test by itself: what `even_a_killed_program_leaves_nothing` runs and kills.
#[test]
fn stays_until_it_is_killed() {
    if std::env::var_os("FAILOVER_HARNESS_VICTIM").is_none() {
        return;
    }
    let lab = Lab::new().unwrap();
    let server = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let _sshd = Sshd::start(&lab, &SshdOptions::new("db1")).unwrap();
    server.freeze().unwrap();
    println!("\nLAB {}", lab.dir().display());
    std::thread::sleep(WATCHDOG);
}

#[test]
fn even_a_killed_program_leaves_nothing() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stays_until_it_is_killed", "--nocapture"])
        .env("FAILOVER_HARNESS_VICTIM", "1")
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let lines = io::BufRead::lines(io::BufReader::new(victim.stdout.take().unwrap()));
    let dir = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("LAB ").map(std::path::PathBuf::from)).unwrap();
    assert!(!working_in(&dir).is_empty());
    let before: Vec<Seen> = descendants(i32::try_from(victim.id()).unwrap());
    assert!(before.iter().any(|seen| seen.name == "sshd"));
    signal_all([i32::try_from(victim.id()).unwrap()], Signal::KILL);
    victim.wait().unwrap();
    wait_until("the watchdog has ended everything", WATCHDOG, || Ok((!dir.exists()).then_some(()))).unwrap();
    assert_nothing_left(&dir);
    // By start time too: the number of an ended process may be in use again.
    wait_until("sshd is gone", WATCHDOG, || {
        Ok((!processes().iter().any(|seen| before.iter().any(|old| old.pid == seen.pid && old.name == seen.name))).then_some(()))
    })
    .unwrap();
}

fn descendants(of: i32) -> Vec<Seen> {
    let all = processes();
    let mut family = vec![of];
    let mut found = Vec::new();
    while let Some(parent) = family.pop() {
        for seen in all.iter().filter(|seen| seen.parent == parent) {
            family.push(seen.pid);
            found.push(seen.clone());
        }
    }
    found
}

fn assert_nothing_left(dir: &std::path::Path) {
    assert!(!dir.exists(), "{} is still there", dir.display());
    assert_eq!(working_in(dir), []);
    // Nor anything that was started with a path in it, such as HAProxy and sshd.
    let mentions = |pid: i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*dir.to_string_lossy()))
    };
    let left = wait_until("no process mentions the lab", WATCHDOG, || {
        let left: Vec<Seen> = processes().into_iter().filter(|seen| seen.name != "sh" && mentions(seen.pid)).collect();
        Ok(left.is_empty().then_some(left))
    });
    assert!(left.is_ok(), "{left:?}");
}
