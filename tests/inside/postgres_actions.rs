//! The SQL side of a failover against real servers: positions, promotion, verification, the synchronous gate, the route.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::action::postgres::traffic::Way;
use crate::action::postgres::{Around, Cluster, Place, Promotion, Server};
use crate::clock::Clock;
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::postgres::{Endpoint, KeptKeys, SessionSettings, Target, Tls};
use crate::wire::resolve::{Addresses, Literals};
use failover_core::finding::FindingCode;
use failover_core::id::ServerId;
use failover_core::output::{Failure, FailureKind, Report};
use failover_core::sample::Position;
use failover_core::time::Span;

use super::support;
use super::support::lab::wait_until;
use super::support::postgres::ENGINE_ROLE;
use super::support::saturation::Clients;
use super::support::{Haproxy, HaproxyOptions, Lab, PgOptions, PgServer};

pub(super) const DB1: ServerId = ServerId(0);
pub(super) const DB2: ServerId = ServerId(1);
const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'failover'";
/// Far beyond anything that takes its normal course.
pub(super) const AMPLE: Duration = Duration::from_secs(30);
/// Shorter than the 5 s of `wal_retrieve_retry_interval`: a promotion that stalls does not make it.
const BELOW_THE_STALL: Duration = Duration::from_millis(4_500);

fn target(port: u16, user: &str, password: Option<&str>) -> Target {
    Target {
        endpoint: Endpoint::Tcp { host: "127.0.0.1".into(), port },
        user: user.into(),
        password: password.map(Secret::new),
        database: "postgres".into(),
        tls: Tls::disabled(),
        application_name: "libfailover".into(),
        keys: KeptKeys::default(),
        settings: SessionSettings::default(),
    }
}

pub(super) fn engine_target(server: &PgServer, port: u16) -> Target {
    target(port, ENGINE_ROLE, Some(&server.secrets().engine))
}

pub(super) fn cluster_of(servers: &[(ServerId, &PgServer)]) -> Cluster {
    cluster_with(servers.iter().map(|(id, server)| (*id, server.name().to_owned(), engine_target(server, server.port()))))
}

fn cluster_with(servers: impl IntoIterator<Item = (ServerId, String, Target)>) -> Cluster {
    let servers: BTreeMap<_, _> = servers.into_iter().map(|(id, name, target)| (id, place(name, target))).collect();
    Cluster::new(servers, Arc::new(Literals), Clock::start())
}

fn place(name: String, target: Target) -> Server {
    let replication = match &target.endpoint {
        Endpoint::Tcp { host, port } => Place { host: host.clone(), port: *port },
        Endpoint::Unix { directory, port } => Place { host: directory.display().to_string(), port: *port },
    };
    Server { name, target, replication }
}

pub(super) fn pair(lab: &Lab) -> (PgServer, PgServer) {
    let db1 = PgServer::primary(lab, &PgOptions::quick("db1")).unwrap();
    let db2 = PgServer::standby_of(&db1, &PgOptions::quick("db2")).unwrap();
    (db1, db2)
}

pub(super) fn system_id(server: &PgServer) -> u64 {
    server.value("SELECT system_identifier FROM pg_control_system()").unwrap().parse().unwrap()
}

pub(super) fn ample() -> Deadline {
    Deadline::after(AMPLE)
}

pub(super) fn cancel() -> Cancel {
    Cancel::new().unwrap()
}

pub(super) fn message(report: &Report) -> &str {
    match report {
        Report::Promoted { message, .. }
        | Report::Written { message, .. }
        | Report::Traffic { message }
        | Report::Done { message } => message,
        other => panic!("no message in {other:?}"),
    }
}

pub(super) fn around(replay_stands: bool) -> Around {
    Around {
        followers: false,
        keeps_sync_set: false,
        primary: Some(DB1),
        candidates: 1,
        checks: 1,
        replay_stands,
        candidate: true,
        delay_allowed: false,
        salvage: Some(false),
    }
}

fn refused(outcome: Result<Report, Failure>) -> Failure {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
    failure
}

pub(super) fn positions(cluster: &Cluster, servers: &[ServerId]) -> Vec<Position> {
    match cluster.read_positions(servers, Span::from_millis(500), ample(), &cancel()).unwrap() {
        Report::Positions(positions) => positions,
        other => panic!("{other:?}"),
    }
}

fn promote(cluster: &Cluster, server: ServerId, system: u64) -> Result<Report, Failure> {
    cluster.promote(server, Promotion::Sql, system, 1, Deadline::after(BELOW_THE_STALL), &cancel())
}

#[test]
fn positions_settle_after_the_primary_was_killed() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    db1.query("CREATE TABLE t AS SELECT generate_series(1, 50000) AS n").unwrap();
    let flushed = db1.value("SELECT pg_current_wal_flush_lsn()").unwrap();
    db1.kill_all();

    let read = positions(&cluster, &[DB1, DB2]);
    assert_eq!(read[0].server, DB1);
    assert!(read[0].sample.is_err(), "a dead server has a reason instead of a position");
    assert!(read[1].settled, "{read:?}");
    let sample = read[1].sample.as_ref().unwrap();
    assert!(sample.in_recovery);
    assert_eq!(sample.system_id, system_id(&db2));
    let received = sample.receive.unwrap();
    assert!(db2.value(&format!("SELECT '{received}'::pg_lsn <= '{flushed}'::pg_lsn")).unwrap() == "t");
    // The second read, over the session that the first one left, agrees with the first.
    let again = positions(&cluster, &[DB2]);
    assert_eq!(again[0].sample.as_ref().unwrap().receive, Some(received));
}

#[test]
fn a_silent_standby_takes_no_time_from_the_others() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    // The kernel completes the handshake, and nobody answers: as a frozen server does.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let cluster = cluster_with([
        (DB1, "silent".to_owned(), target(port, "anybody", None)),
        (DB2, "db2".to_owned(), engine_target(&db2, db2.port())),
    ]);
    db1.kill_all();
    // Far less than the deadline: a watchdog would end a test that waited for the silent one.
    let read = positions(&cluster, &[DB1, DB2]);
    assert!(read[0].sample.is_err());
    assert!(read[1].settled, "{read:?}");
}

#[test]
fn a_promotion_right_after_a_kill_never_stalls() {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    for round in 0..12u64 {
        let db2 = PgServer::standby_of(&db1, &PgOptions::quick(&format!("standby{round}"))).unwrap();
        let cluster = cluster_of(&[(DB2, &db2)]);
        // The session is open, as it is after the positions were read: the request comes within milliseconds of the receiver's end.
        cluster.read_role(DB2, ample(), &cancel()).unwrap();
        let system = system_id(&db2);
        // The request comes at different distances from the receiver's end: after it, or while it is under way.
        let report = if round % 2 == 0 {
            db1.kill_all();
            std::thread::sleep(Duration::from_millis(round * 3 % 13));
            promote(&cluster, DB2, system)
        } else {
            std::thread::scope(|scope| {
                scope.spawn(|| db1.kill_all());
                std::thread::sleep(Duration::from_millis(round));
                promote(&cluster, DB2, system)
            })
        };
        let report = report.unwrap();
        println!("{}", message(&report));
        let Report::Promoted { timeline, .. } = report else { panic!("{report:?}") };
        assert_eq!(timeline, 2);
        assert!(db2.is_primary().unwrap());
        drop(db2);
        db1.start().unwrap();
    }
}

#[test]
fn a_role_that_sees_and_may_little_is_not_stalled_either() {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    // Neither pg_monitor nor pg_reload_conf: nothing to wait by, and only a second request to nudge with.
    db1.query("CREATE ROLE bare LOGIN PASSWORD 'x'").unwrap();
    db1.query("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO bare").unwrap();
    for round in 0..4u64 {
        let db2 = PgServer::standby_of(&db1, &PgOptions::quick(&format!("standby{round}"))).unwrap();
        let cluster = cluster_with([(DB2, db2.name().to_owned(), target(db2.port(), "bare", Some("x")))]);
        cluster.read_role(DB2, ample(), &cancel()).unwrap();
        let system = system_id(&db2);
        db1.kill_all();
        std::thread::sleep(Duration::from_millis(round * 4));
        println!("{}", message(&promote(&cluster, DB2, system).unwrap()));
        // What a second request may leave behind is removed by the next start, which does not promote anybody.
        db2.stop(support::StopMode::Fast).unwrap();
        db2.start().unwrap();
        assert!(!db2.data_dir().join("promote").exists());
        drop(db2);
        db1.start().unwrap();
    }
}

#[test]
fn asked_again_a_promoted_server_says_so() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    db1.kill_all();
    let first = promote(&cluster, DB2, system).unwrap();
    let again = promote(&cluster, DB2, system).unwrap();
    assert!(message(&again).contains("already promoted"), "{again:?}");
    let (Report::Promoted { timeline: one, .. }, Report::Promoted { timeline: two, .. }) = (&first, &again) else {
        panic!("{first:?} {again:?}")
    };
    assert_eq!(one, two);
    let role = cluster.read_role(DB2, ample(), &cancel()).unwrap();
    assert_eq!(role, Report::Role { in_recovery: false, timeline: 2, system_id: system });
}

#[test]
fn a_primary_is_not_promoted() {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let cluster = cluster_of(&[(DB1, &db1)]);
    let failure = refused(promote(&cluster, DB1, system_id(&db1)));
    assert!(failure.message.contains("not a standby"), "{failure:?}");
}

#[test]
fn a_standby_of_another_cluster_is_not_touched() {
    let lab = Lab::new().unwrap();
    let ours = PgServer::primary(&lab, &PgOptions::quick("ours")).unwrap();
    let theirs = PgServer::primary(&lab, &PgOptions { own_identity: true, ..PgOptions::quick("theirs") }).unwrap();
    let standby = PgServer::standby_of(&theirs, &PgOptions::quick("standby")).unwrap();
    let cluster = cluster_of(&[(DB2, &standby)]);
    let failure = refused(promote(&cluster, DB2, system_id(&ours)));
    assert!(failure.message.contains("another cluster"), "{failure:?}");
    assert!(!standby.is_primary().unwrap());
    let failure = refused(cluster.verify_data(DB2, system_id(&ours), 1, ample(), &cancel()));
    assert!(failure.message.contains("another cluster"), "{failure:?}");
}

#[test]
fn a_frozen_standby_cannot_stretch_a_deadline() {
    let lab = Lab::new().unwrap();
    let (_db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    cluster.read_role(DB2, ample(), &cancel()).unwrap();
    let frozen = db2.freeze().unwrap();
    let short = || Deadline::after(Duration::from_millis(400));
    // The kernel still completes handshakes for it; nothing of the promotion was sent.
    refused(cluster.promote(DB2, Promotion::Sql, system, 1, short(), &cancel()));
    refused(cluster.read_role(DB2, short(), &cancel()));
    let Report::Positions(read) = cluster.read_positions(&[DB2], Span::from_millis(500), short(), &cancel()).unwrap() else {
        panic!()
    };
    assert!(read[0].sample.is_err());
    db2.thaw(&frozen);
    assert!(!db2.is_primary().unwrap());
}

#[test]
fn a_standby_that_freezes_after_the_request_leaves_the_effect_unknown() {
    let lab = Lab::new().unwrap();
    let (_db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    let freeze = |_: Deadline, _: &Cancel| {
        db2.freeze().map(|_| "frozen".to_owned()).map_err(|error| Failure::unknown(error.to_string(), ""))
    };
    let failure = cluster
        .promote(DB2, Promotion::Command(&freeze), system, 1, Deadline::after(Duration::from_secs(2)), &cancel())
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");
    assert!(failure.message.contains("last seen"), "{failure:?}");
}

#[test]
fn a_cancelled_promotion_ends_at_once() {
    let lab = Lab::new().unwrap();
    let (_db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    let stop = cancel();
    let given = stop.clone();
    // The command gives the signal itself: from then on nobody waits for a promotion that never comes.
    let command = move |_: Deadline, _: &Cancel| {
        given.cancel();
        Ok(String::new())
    };
    let failure = cluster.promote(DB2, Promotion::Command(&command), system, 1, ample(), &stop).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled, "{failure:?}");
}

#[cfg(feature = "ssh")]
#[test]
fn pg_ctl_promotes_over_ssh_right_after_a_kill() {
    use crate::action::host::{HostControl, HostParams};
    use crate::wire::ssh::{SshHost, SshTarget};

    let lab = Lab::new().unwrap();
    let sshd = support::Sshd::start(&lab, &support::SshdOptions::new("db2")).unwrap();
    let ssh = Arc::new(SshHost::new(
        SshTarget {
            host: "127.0.0.1".to_owned(),
            port: sshd.port(),
            user: sshd.user().to_owned(),
            keys: vec![sshd.key().to_owned()],
            passphrase: None,
            password: None,
            agent: false,
            known_hosts: sshd.known_hosts().to_owned(),
        },
        Arc::new(Literals),
    ));
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    for round in 0..4u64 {
        let db2 = PgServer::standby_of(&db1, &PgOptions::quick(&format!("standby{round}"))).unwrap();
        let params = HostParams {
            data_dir: db2.data_dir().display().to_string(),
            bin_dir: Some(support::postgres::bin_dir().unwrap().display().to_string()),
            port: db2.port(),
            ..HostParams::default()
        };
        let host = HostControl::new(Arc::clone(&ssh), params, Clock::start());
        host.report(false, ample(), &cancel()).unwrap();
        let cluster = cluster_of(&[(DB2, &db2)]);
        cluster.read_role(DB2, ample(), &cancel()).unwrap();
        let system = system_id(&db2);
        db1.kill_all();
        let promotion = Promotion::PgCtl(&host);
        let report = cluster.promote(DB2, promotion, system, 1, Deadline::after(BELOW_THE_STALL), &cancel()).unwrap();
        println!("{}", message(&report));
        assert!(db2.is_primary().unwrap());
        drop(db2);
        db1.start().unwrap();
    }
}

#[test]
fn a_command_promotes_and_its_exit_is_not_believed() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    db1.kill_all();
    let command = |_: Deadline, _: &Cancel| {
        db2.promote().map_err(|error| Failure::unknown(error.to_string(), ""))?;
        Err(Failure::unknown("exit code 1", ""))
    };
    let report = cluster.promote(DB2, Promotion::Command(&command), system, 1, ample(), &cancel()).unwrap();
    println!("{}", message(&report));
    assert!(db2.is_primary().unwrap());
}

#[test]
fn a_broken_connection_is_not_a_no() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    db1.kill_all();
    let command = |_: Deadline, _: &Cancel| {
        db2.query(END_SESSIONS).map_err(|error| Failure::unknown(error.to_string(), ""))?;
        db2.promote().map_err(|error| Failure::unknown(error.to_string(), ""))?;
        Ok("sessions ended".to_owned())
    };
    let report = cluster.promote(DB2, Promotion::Command(&command), system, 1, ample(), &cancel()).unwrap();
    println!("{}", message(&report));
    assert!(message(&report).contains("anew"), "{report:?}");
}

/// Where 127.0.0.1 leads changes in mid-promotion.
struct Moving(AtomicU16);

impl Addresses for Moving {
    fn addresses(&self, host: &str, _port: u16) -> Result<Vec<SocketAddr>, String> {
        Literals.addresses(host, self.0.load(Ordering::SeqCst))
    }
}

#[test]
fn a_name_that_leads_elsewhere_in_mid_promotion_promotes_nobody_there() {
    let lab = Lab::new().unwrap();
    let (_db1, db2) = pair(&lab);
    let theirs = PgServer::primary(&lab, &PgOptions { own_identity: true, ..PgOptions::quick("theirs") }).unwrap();
    theirs.query(&format!("ALTER ROLE {ENGINE_ROLE} PASSWORD '{}'", db2.secrets().engine)).unwrap();
    let standby = PgServer::standby_of(&theirs, &PgOptions::quick("standby")).unwrap();
    let moving = Arc::new(Moving(AtomicU16::new(db2.port())));
    let servers = BTreeMap::from([(DB2, place("db2".into(), engine_target(&db2, db2.port())))]);
    let cluster = Cluster::new(servers, Arc::clone(&moving) as Arc<dyn Addresses>, Clock::start());
    let command = |_: Deadline, _: &Cancel| {
        moving.0.store(standby.port(), Ordering::SeqCst);
        db2.query(END_SESSIONS).map_err(|error| Failure::unknown(error.to_string(), ""))?;
        Ok(String::new())
    };
    let deadline = Deadline::after(Duration::from_secs(3));
    let failure = cluster.promote(DB2, Promotion::Command(&command), system_id(&db2), 1, deadline, &cancel()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");
    assert!(failure.message.contains("another cluster"), "{failure:?}");
    assert!(!standby.is_primary().unwrap());
}

#[test]
fn a_command_that_proves_to_have_done_nothing_ends_the_promotion() {
    let lab = Lab::new().unwrap();
    let (_db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB2, &db2)]);
    let command = |_: Deadline, _: &Cancel| Err(Failure::no_effect("no such command", "install it"));
    let failure = refused(cluster.promote(DB2, Promotion::Command(&command), system_id(&db2), 1, ample(), &cancel()));
    assert_eq!(failure.message, "no such command");
    assert!(!db2.is_primary().unwrap());
}

#[test]
fn a_role_without_rights_is_told_what_to_grant() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    db1.query("CREATE ROLE \"we\"\"ak\" LOGIN PASSWORD 'x'").unwrap();
    db1.wait_streaming("db2").unwrap();
    let cluster = cluster_with([
        (DB1, "db1".to_owned(), target(db1.port(), "we\"ak", Some("x"))),
        (DB2, "db2".to_owned(), target(db2.port(), "we\"ak", Some("x"))),
    ]);
    let failure = refused(promote(&cluster, DB2, system_id(&db2)));
    assert_eq!(failure.remedy, "GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO \"we\"\"ak\"");
    assert!(!db2.is_primary().unwrap());
    // The remedy works as it stands.
    db1.query(&failure.remedy).unwrap();
    db1.wait_streaming("db2").unwrap();

    db1.set("synchronous_standby_names = 'nobody'").unwrap();
    let failure = refused(cluster.open_sync_gate(DB1, ample(), &cancel()));
    assert!(failure.remedy.contains("pg_reload_conf"), "{failure:?}");
    db1.query(&format!("SET synchronous_commit = local; {}", failure.remedy)).unwrap();
    let failure = refused(cluster.open_sync_gate(DB1, ample(), &cancel()));
    assert_eq!(failure.remedy, "GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO \"we\"\"ak\"");
    db1.query(&format!("SET synchronous_commit = local; {}", failure.remedy)).unwrap();
    cluster.open_sync_gate(DB1, ample(), &cancel()).unwrap();
    promote(&cluster, DB2, system_id(&db2)).unwrap();
}

#[test]
fn commits_that_wait_are_found_out_and_released() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    db1.kill_all();
    promote(&cluster, DB2, system).unwrap();

    let report = cluster.verify_data(DB2, system, 1, ample(), &cancel()).unwrap();
    println!("{}", message(&report));
    assert!(matches!(report, Report::Written { commits: true, .. }), "{report:?}");

    db2.set("synchronous_standby_names = 'nobody'").unwrap();
    db2.value("SELECT pg_sleep(0.1)").unwrap();
    let report = cluster.verify_data(DB2, system, 1, ample(), &cancel()).unwrap();
    println!("{}", message(&report));
    assert!(matches!(report, Report::Written { commits: false, .. }), "{report:?}");
    // The commit that waited was cancelled, not abandoned.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    support::lab::wait_until("nobody waits", AMPLE, || Ok((db2.value(waiting)? == "0").then_some(()))).unwrap();

    // A client that waits is released, not only the next one.
    let client = std::thread::scope(|scope| {
        let client = scope.spawn(|| db2.query("CREATE TABLE t (n int)"));
        support::lab::wait_until("a client waits", AMPLE, || Ok((db2.value(waiting)? == "1").then_some(()))).unwrap();
        let report = cluster.open_sync_gate(DB2, ample(), &cancel()).unwrap();
        println!("{}", message(&report));
        assert!(message(&report).contains("'nobody'"), "{report:?}");
        client.join().unwrap()
    });
    client.unwrap();
    let report = cluster.open_sync_gate(DB2, ample(), &cancel()).unwrap();
    assert!(message(&report).contains("already empty"), "{report:?}");
    let report = cluster.verify_data(DB2, system, 1, ample(), &cancel()).unwrap();
    assert!(matches!(report, Report::Written { commits: true, .. }), "{report:?}");
}

/// Rule 67: PostgreSQL ends a commit whose wait was cancelled with success and a warning.
#[test]
fn a_commit_whose_wait_was_cancelled_is_no_acknowledgement() {
    let lab = Lab::new().unwrap();
    let (db1, _db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1)]);
    let system = system_id(&db1);
    // A standby is attached, so the commit is tried; and it is not the one that is waited for.
    db1.set("synchronous_standby_names = 'nobody'").unwrap();
    db1.value("SELECT pg_sleep(0.1)").unwrap();
    let report = cluster.verify_data(DB1, system, 0, ample(), &cancel()).unwrap();
    assert!(matches!(report, Report::Written { commits: false, .. }), "{report:?}");
    assert!(message(&report).contains("ordinary commits wait for a synchronous standby"), "{report:?}");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    support::lab::wait_until("nobody waits", AMPLE, || Ok((db1.value(waiting)? == "0").then_some(()))).unwrap();
}

#[test]
fn a_read_only_or_unpromoted_server_does_not_pass_for_the_new_primary() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    let system = system_id(&db1);
    refused(cluster.verify_data(DB2, system, 1, ample(), &cancel()));
    // The old primary is writable, on the timeline that was to be left.
    refused(cluster.verify_data(DB1, system, 1, ample(), &cancel()));
    db1.query("ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
    db1.query("SELECT pg_reload_conf()").unwrap();
    support::lab::wait_until("read-only", AMPLE, || Ok((db1.value("SHOW default_transaction_read_only")? == "on").then_some(())))
        .unwrap();
    let failure = refused(cluster.verify_data(DB1, system, 0, ample(), &cancel()));
    assert!(failure.message.contains("read-only"), "{failure:?}");
}

#[test]
fn traffic_is_verified_through_the_route_and_a_wrong_server_behind_it_is_not() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let stranger = PgServer::primary(&lab, &PgOptions { own_identity: true, ..PgOptions::quick("stranger") }).unwrap();
    stranger.query(&format!("ALTER ROLE {ENGINE_ROLE} PASSWORD '{}'", db2.secrets().engine)).unwrap();
    let options = HaproxyOptions::new("haproxy");
    let haproxy =
        Haproxy::start(&lab, &options, &[("db1", db1.port()), ("db2", db2.port()), ("stranger", stranger.port())]).unwrap();
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    let front = |port: u16| Endpoint::new("127.0.0.1", port);
    let route = [front(haproxy.front())];
    promote(&cluster, DB2, system).unwrap();
    let verify = |route: &[Endpoint], deadline: Deadline| {
        let way = Way { endpoints: route, addresses: &Literals, sends_all: &|_| Err("nobody says".to_owned()) };
        cluster.verify_traffic(DB2, system, 2, way, deadline, &cancel())
    };
    let short = || Deadline::after(Duration::from_secs(3));
    let state = |server: &str, state: &str| haproxy.command(&format!("set server pg_write/{server} state {state}")).unwrap();

    // The old primary is still there, same cluster, writable: only the identity tells them apart.
    let failure = refused(verify(&route, short()));
    assert!(failure.message.contains("another server"), "{failure:?}");
    // Nobody behind the route.
    state("db1", "maint");
    let failure = refused(verify(&route, short()));
    assert!(failure.message.contains("no answer"), "{failure:?}");
    // Another cluster: no need to try until the deadline.
    state("stranger", "ready");
    let failure = refused(verify(&route, ample()));
    assert!(failure.message.contains("another cluster"), "{failure:?}");
    state("stranger", "maint");
    // The route comes up while we try.
    let report = std::thread::scope(|scope| {
        let verifier = scope.spawn(|| verify(&route, ample()));
        state("db2", "ready");
        verifier.join().unwrap()
    });
    println!("{}", message(&report.unwrap()));
    // One load balancer of two is gone.
    let two = [route[0].clone(), front(support::lab::free_port().unwrap())];
    let report = verify(&two, ample()).unwrap();
    println!("{}", message(&report));
    assert!(message(&report).contains("no answer"), "{report:?}");
}

#[test]
fn the_survey_names_what_would_hurt() {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1").with("max_connections = 60").with("wal_level = logical")).unwrap();
    let db2 =
        PgServer::standby_of(&db1, &PgOptions::quick("db2").with("max_connections = 60").with("wal_receiver_timeout = 60s"))
            .unwrap();
    db1.query("CREATE ROLE weak LOGIN PASSWORD 'x'").unwrap();
    db1.query("SELECT pg_create_logical_replication_slot('orders_out', 'test_decoding')").unwrap();
    db1.set("synchronous_standby_names = 'db2'").unwrap();
    db2.wait_following(&db1).unwrap();
    db2.query("SELECT pg_wal_replay_pause()").unwrap();

    let codes = |cluster: &Cluster, server: ServerId| -> Vec<String> {
        let findings = cluster.survey(server, around(false), ample(), &cancel()).unwrap().findings;
        for finding in &findings {
            println!("{} {} | {} | {}", if finding.blocking { "!" } else { "-" }, finding.code, finding.message, finding.remedy);
        }
        findings.into_iter().map(|finding| finding.code.to_string()).collect()
    };
    let full = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    assert_eq!(codes(&full, DB2), ["wal_receiver_timeout_long", "fsync_off", "replay_paused"]);
    support::lab::wait_until("names", AMPLE, || Ok((db1.value("SHOW synchronous_standby_names")? == "db2").then_some(())))
        .unwrap();
    assert_eq!(codes(&full, DB1), ["fsync_off", "logical_slots", "sync_gate"]);
    #[cfg(feature = "ssh")]
    {
        let failure = full.make_slot(DB1, "orders_out", ample(), &cancel()).unwrap_err();
        assert!(failure.had_no_effect() && failure.message.contains("logical slot"), "{failure:?}");
    }
    let cluster_of_weak = || {
        cluster_with([
            (DB1, "db1".to_owned(), target(db1.port(), "weak", Some("x"))),
            (DB2, "db2".to_owned(), target(db2.port(), "weak", Some("x"))),
        ])
    };
    assert_eq!(
        codes(&cluster_of_weak(), DB1),
        [
            "promote_right_missing",
            "reload_right_missing",
            "monitor_right_missing",
            "fsync_off",
            "logical_slots",
            "sync_gate",
            "sync_gate_right_missing"
        ]
    );
    // The right to call pg_promote is needed by one method of promotion, not by the others.
    for (cluster, needed) in [(cluster_of_weak(), true), (cluster_of_weak().promoted_otherwise(), false)] {
        let findings = cluster.survey(DB2, around(false), ample(), &cancel()).unwrap().findings;
        let finding = findings.iter().find(|finding| finding.code.as_str() == "promote_right_missing").unwrap();
        assert_eq!(finding.blocking, needed, "{finding:?}");
    }
}

/// Rule 161: a lock of a query, an old snapshot, and what a person does about each. The promotion says the same.
#[test]
fn who_holds_a_replay_is_named_by_the_survey_and_by_the_promotion_and_the_remedy_ends_it() {
    let lab = Lab::new().unwrap();
    let options = |name| PgOptions::quick(name).with("max_standby_streaming_delay = -1").with("autovacuum = off");
    let db1 = PgServer::primary(&lab, &options("db1")).unwrap();
    db1.query("CREATE TABLE held AS SELECT generate_series(1, 1000) AS i").unwrap();
    let db2 = PgServer::standby_of(&db1, &options("db2")).unwrap();
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    let held = || {
        let found = cluster.survey(DB2, around(true), ample(), &cancel()).unwrap().findings;
        found.into_iter().find(|finding| finding.code.as_str() == "replay_held")
    };
    let reads = |how: &str| {
        let mut reader = db2.session().unwrap();
        for sql in [how, "SELECT count(*) FROM held"] {
            reader.query(sql, AMPLE).unwrap();
        }
        reader
    };
    let waits = |expected: bool| {
        let at_its_end = || {
            let Report::Positions(positions) =
                cluster.read_positions(&[DB2], Span::from_millis(500), ample(), &cancel()).unwrap()
            else {
                panic!("no positions")
            };
            let sample = positions[0].sample.clone().unwrap();
            let seen = sample.replay_conflict && failover_core::candidate::to_replay(&sample) > 0;
            Ok((if expected { seen } else { sample.at_end }).then_some(()))
        };
        support::lab::wait_until("what replay waits for", AMPLE, at_its_end).unwrap();
    };
    assert_eq!(held(), None, "nothing is held, whoever says that it stands");
    for (isolation, deed) in [
        ("BEGIN", &["ALTER TABLE held ADD one int"][..]),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", &["DELETE FROM held", "VACUUM held"][..]),
    ] {
        let reader = reads(isolation);
        for sql in deed {
            db1.query(sql).unwrap();
        }
        waits(true);
        let finding = held().expect("a finding");
        println!("{} ({})", finding.message, finding.remedy);
        assert!(!finding.blocking && finding.remedy.starts_with("SELECT pg_terminate_backend("), "{finding:?}");
        db2.query(&finding.remedy).unwrap();
        waits(false);
        assert_eq!(held(), None);
        drop(reader);
    }

    let _reader = reads("BEGIN");
    db1.query("ALTER TABLE held ADD two int").unwrap();
    waits(true);
    let system = system_id(&db1);
    let short = Deadline::after(Duration::from_secs(3));
    let failure = cluster.promote(DB2, Promotion::Sql, system, 1, short, &cancel()).unwrap_err();
    println!("{} ({})", failure.message, failure.remedy);
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.message.contains("its replay is held") && failure.message.contains("postgres in postgres"), "{failure:?}");
    let remedy = failure.remedy.strip_prefix("on db2: ").and_then(|remedy| remedy.split_once(';')).expect("a statement").0;
    db2.query(remedy).unwrap();
    promote(&cluster, DB2, system).unwrap();
}

/// Rule 162: clients take every place of the new primary; whether that is so is asked of itself and of the route, and neither alone is believed.
#[test]
fn a_primary_without_a_place_is_verified_in_part_where_it_and_the_route_say_so() {
    let lab = Lab::new().unwrap();
    let options = |name| PgOptions::quick(name).with("max_connections = 20");
    let db1 = PgServer::primary(&lab, &options("db1")).unwrap();
    let db2 = PgServer::standby_of(&db1, &options("db2")).unwrap();
    let haproxy = Haproxy::start(&lab, &HaproxyOptions::new("haproxy"), &[("db1", db1.port()), ("db2", db2.port())]).unwrap();
    let cluster = cluster_of(&[(DB2, &db2)]);
    let system = system_id(&db2);
    promote(&cluster, DB2, system).unwrap();
    let route = [Endpoint::new("127.0.0.1", haproxy.front())];
    let state = |server: &str, state: &str| haproxy.command(&format!("set server pg_write/{server} state {state}")).unwrap();
    let verify = |says: Result<&str, &str>| {
        let sends_all = |_| says.map(str::to_owned).map_err(str::to_owned);
        let way = Way { endpoints: &route, addresses: &Literals, sends_all: &sends_all };
        cluster.verify_traffic(DB2, system, 2, way, Deadline::after(Duration::from_secs(3)), &cancel())
    };
    state("db1", "maint");
    state("db2", "ready");
    // Its own session, which it has from the promotion, stays.
    let mut clients = support::saturation::Clients::take_all(&db2).unwrap();
    let report = verify(Ok("lb1")).unwrap();
    println!("{report:?}");
    assert!(
        matches!(&report, Report::TrafficFull { message } if message.contains("53300") && message.contains("lb1")),
        "{report:?}"
    );
    let failure = refused(verify(Err("lb1 sends sessions to db1")));
    assert!(failure.message.contains("lb1 sends sessions to db1") && failure.remedy.contains("max_connections"), "{failure:?}");
    // A place is left there, and none behind the route: it may lead elsewhere.
    state("db2", "maint");
    state("db1", "ready");
    let _others = support::saturation::Clients::take_all(&db1).unwrap();
    clients.leave(3);
    let failure = refused(verify(Ok("lb1")));
    assert!(failure.message.contains("db2 itself has a connection slot left"), "{failure:?}");
    // And where there is one behind the route, it is used.
    state("db1", "maint");
    state("db2", "ready");
    assert!(matches!(verify(Err("nobody is asked")), Ok(Report::Traffic { .. })));
}

/// Who answers at an address of the route, found before a failover asks; and what its remedy says ends it.
#[test]
fn what_stands_at_an_address_of_the_route_is_found_beforehand() {
    let lab = Lab::new().unwrap();
    let options = |name| PgOptions::quick(name).with("max_connections = 20");
    let db1 = PgServer::primary(&lab, &options("db1")).unwrap();
    let db2 = PgServer::standby_of(&db1, &options("db2")).unwrap();
    let stranger = PgServer::primary(&lab, &PgOptions { own_identity: true, ..PgOptions::quick("stranger") }).unwrap();
    stranger.query(&format!("ALTER ROLE {ENGINE_ROLE} PASSWORD '{}'", db1.secrets().engine)).unwrap();
    let (cluster, system) = (cluster_of(&[(DB1, &db1)]), system_id(&db1));
    let silent = support::lab::free_port().unwrap();
    let found = |ports: &[u16]| {
        let route: Vec<Endpoint> = ports.iter().map(|port| Endpoint::new("127.0.0.1", *port)).collect();
        let findings = cluster.look_through(DB1, Some(system), (&route, &Literals), ample(), &cancel());
        findings.into_iter().map(|finding| (finding.code, finding.blocking)).collect::<Vec<_>>()
    };
    assert_eq!(found(&[db1.port()]), []);
    assert_eq!(found(&[db2.port()]), [(FindingCode::VerifyStandby, false)]);
    assert_eq!(found(&[stranger.port()]), [(FindingCode::VerifyForeign, true)]);
    assert_eq!(found(&[silent]), [(FindingCode::VerifyUnreachable, true)]);
    assert_eq!(found(&[silent, db1.port()]), [(FindingCode::VerifyUnreachable, false)], "one address that answers is enough");
    let clients = Clients::take_all(&db1).unwrap();
    assert_eq!(found(&[db1.port()]), [(FindingCode::VerifyFull, false)]);
    drop(clients);
    wait_until("places are free", AMPLE, || Ok(found(&[db1.port()]).is_empty().then_some(()))).unwrap();
    db1.query(&format!("ALTER ROLE {ENGINE_ROLE} PASSWORD 'another'")).unwrap();
    assert_eq!(found(&[db1.port()]), [(FindingCode::VerifyRefused, true)]);
    db1.query(&format!("ALTER ROLE {ENGINE_ROLE} PASSWORD '{}'", db1.secrets().engine)).unwrap();
    assert_eq!(found(&[db1.port()]), []);
}
