//! Salvage against real servers, over a real OpenSSH server: what only the disk of a dead primary has is there on the standby afterwards, or
//! it is known exactly what is not.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::action::application::Verification;
use crate::action::dns::names::Names;
use crate::action::host::{HostControl, HostParams};
use crate::action::route::Route;
use crate::action::{EmbedderActions, Server, ServiceActions, command::Subject};
use crate::clock::Clock;
use crate::config::PromoteMethod;
use crate::deadline::{Cancel, Deadline};
use crate::wire::resolve::Literals;
use crate::wire::ssh::{SshHost, SshTarget};
use failover_core::candidate;
use failover_core::id::Generation;
use failover_core::output::{Action, Failure, FailureKind, Report};
use failover_core::salvage::Salvaged;
use failover_core::sample::Lsn;
use failover_core::time::Span;

use super::postgres_actions::{AMPLE, DB1, DB2, ample, cancel, cluster_of, positions, system_id};
use super::support::lab::{mounting_impossible, wait_until};
use super::support::postgres::{PREPARED, bin_dir};
use super::support::process::{processes, signal_all};
use super::support::sshd::{Sshd, SshdOptions};
use super::support::{Lab, PgOptions, PgServer};

const SEGMENT: u64 = 16 << 20;

struct Nobody;

impl EmbedderActions for Nobody {
    fn takes(&self, _: &str) -> bool {
        false
    }

    fn carry_out(&self, _: &str, _: &Subject, _: Deadline, _: &Cancel) -> Result<String, Failure> {
        Err(Failure::no_effect("nobody", ""))
    }
}

/// A primary and a prepared standby, and the actions of an engine that reaches both hosts.
struct Scene {
    actions: ServiceActions,
    db1: PgServer,
    db2: PgServer,
    system: u64,
    _sshd: Sshd,
    lab: Lab,
}

fn options(name: &str) -> PgOptions {
    PgOptions::quick(name).with("wal_keep_size = 512MB").with("max_wal_size = 1GB").with(PREPARED)
}

pub(super) fn control(lab: &Lab, sshd: &Sshd, server: &PgServer, wrapper: bool, source_file: Option<String>) -> HostControl {
    let target = SshTarget {
        host: "127.0.0.1".to_owned(),
        port: sshd.port(),
        user: lab.user().name.clone(),
        keys: vec![sshd.key().to_path_buf()],
        passphrase: None,
        password: None,
        agent: false,
        known_hosts: sshd.known_hosts().to_path_buf(),
    };
    let params = HostParams {
        data_dir: server.data_dir().display().to_string(),
        bin_dir: Some(bin_dir().unwrap().display().to_string()),
        port: server.port(),
        wrapper,
        source_file,
        ..HostParams::default()
    };
    HostControl::new(Arc::new(SshHost::new(target, Arc::new(Literals))), params, Clock::start())
}

pub(super) fn actions(db1: &PgServer, db2: &PgServer, controls: [HostControl; 2]) -> ServiceActions {
    let server = |server: &PgServer, control| Server {
        name: server.name().to_owned(),
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        control: Some(control),
    };
    let [first, second] = controls;
    ServiceActions {
        service: "orders".to_owned(),
        servers: vec![server(db1, first), server(db2, second)],
        cluster: cluster_of(&[(DB1, db1), (DB2, db2)]),
        route: Route::new(Vec::new(), Arc::new(Literals)),
        poolers: Vec::new(),
        names: Names::new(Vec::new(), Arc::new(Literals)),
        names_are_route: false,
        route_commands: Vec::new(),
        memory: None,
        verify: Vec::new(),
        verification: Verification::default(),
        addresses: Arc::new(Literals),
        clock: Clock::start(),
        promote: PromoteMethod::PgPromote,
        promote_command: Vec::new(),
        fence_command: Vec::new(),
        fence_command_timeout: AMPLE,
        pre_checks: Vec::new(),
        follow: None,
        embedder: Arc::new(Nobody),
    }
}

impl Scene {
    fn start() -> Scene {
        Scene::with(&options("db1"), &options("db2"))
    }

    fn with(first: &PgOptions, second: &PgOptions) -> Scene {
        let lab = Lab::new().unwrap();
        let db1 = PgServer::primary(&lab, first).unwrap();
        let db2 = PgServer::standby_of(&db1, second).unwrap();
        let sshd = Sshd::start(&lab, &SshdOptions::new("hosts")).unwrap();
        let controls = [control(&lab, &sshd, &db1, false, None), control(&lab, &sshd, &db2, false, None)];
        let actions = actions(&db1, &db2, controls);
        let system = system_id(&db1);
        db1.query("CREATE TABLE t (i int)").unwrap();
        let scene = Scene { actions, db1, db2, system, _sshd: sshd, lab };
        scene.caught_up();
        scene
    }

    fn caught_up(&self) {
        let at = self.db1.value("SELECT pg_current_wal_flush_lsn()").unwrap();
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{at}'::pg_lsn");
        wait_until("the standby has all", AMPLE, || Ok((self.db2.value(&sql)? == "t").then_some(()))).unwrap();
    }

    /// Rows that the primary acknowledges one by one.
    fn insert(&self, count: usize) {
        let sql = format!("DO $$ BEGIN FOR i IN 1..{count} LOOP INSERT INTO t VALUES (i); COMMIT; END LOOP; END $$");
        self.db1.query(&sql).unwrap();
    }

    /// Rows of one transaction that make so many MiB of log.
    fn insert_much(&self, mebibytes: u64) -> u64 {
        let rows = mebibytes * 16_000;
        self.db1.query(&format!("INSERT INTO t SELECT generate_series(1, {rows})")).unwrap();
        rows
    }

    /// What the standby has, by its own word, when its position rests.
    fn from(&self) -> Lsn {
        let positions = positions(&self.actions.cluster, &[DB2]);
        candidate::position(positions[0].sample.as_ref().unwrap()).unwrap()
    }

    fn order(&self, from: Lsn, patience: Duration) -> Action {
        let patience = Span::from(patience);
        Action::Salvage { server: DB2, old: DB1, system_id: self.system, timeline: 1, from, patience }
    }

    fn perform(&self, action: &Action) -> Result<Salvaged, Failure> {
        match self.actions.perform(action, Generation(1), ample(), &cancel())? {
            Report::Salvaged(salvaged) => Ok(salvaged),
            other => panic!("{other:?}"),
        }
    }

    fn salvage(&self) -> Result<Salvaged, Failure> {
        self.perform(&self.order(self.from(), AMPLE))
    }

    /// All of it is there, and the spool is empty.
    fn salvages(&self) -> Salvaged {
        let from = self.from();
        let began = std::time::Instant::now();
        let salvaged = self.perform(&self.order(from, AMPLE)).unwrap();
        println!("salvaged in {} ms: {salvaged:?}", began.elapsed().as_millis());
        assert_eq!((salvaged.failed.as_deref(), salvaged.salvaged), (None, salvaged.missing), "{salvaged:?}");
        assert_eq!(salvaged.missing, salvaged.end.bytes_after(from));
        assert_eq!(salvaged.replayed, salvaged.end, "the end of the old log is that of the new one, to the byte");
        self.spool_is_empty();
        salvaged
    }

    fn spool_is_empty(&self) {
        let left: Vec<_> = fs::read_dir(self.db2.data_dir().join("failover-spool")).into_iter().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn promote(&self) {
        let action = Action::Promote { server: DB2, system_id: self.system, old_timeline: 1 };
        match self.actions.perform(&action, Generation(1), ample(), &cancel()).unwrap() {
            Report::Promoted { timeline, .. } => assert_eq!(timeline, 2),
            other => panic!("{other:?}"),
        }
    }

    /// The segment of a position in the old log, and the position in it.
    fn segment(&self, at: Lsn) -> (PathBuf, u64) {
        (self.db1.data_dir().join(format!("pg_wal/0000000100000000{:08X}", at.0 / SEGMENT)), at.0 % SEGMENT)
    }

    fn end_of_primary(&self) -> Lsn {
        Lsn::parse(&self.db1.value("SELECT pg_current_wal_flush_lsn()").unwrap()).unwrap()
    }
}

fn rows(server: &PgServer) -> u64 {
    server.value("SELECT count(*) FROM t").unwrap().parse().unwrap()
}

/// Nobody sees a process of the dead server any more.
fn dead(server: &PgServer) {
    server.kill_all();
    wait_until("it is gone", AMPLE, || Ok(server.processes().is_empty().then_some(()))).unwrap();
}

/// 300 commits behind a receiver that stands still, and never moves again by itself.
#[test]
fn commits_behind_a_frozen_receiver_are_salvaged_and_the_old_one_comes_back_without_a_rewind() {
    let scene = Scene::start();
    let frozen = scene.db2.stop_receiver().unwrap();
    scene.insert(300);
    dead(&scene.db1);
    let salvaged = scene.salvages();
    // What the server does by itself is no commit of ours.
    assert!(salvaged.commits.is_some_and(|commits| commits >= 300), "{salvaged:?}");
    drop(frozen);
    assert_eq!(rows(&scene.db2), 300);
    scene.promote();
    assert_eq!(rows(&scene.db2), 300);
    // The fork lies behind its last record: it is a standby of the new primary by a start alone.
    scene.lab.write(scene.db1.data_dir().join("standby.signal"), "", 0o600).unwrap();
    let auto = scene.db1.data_dir().join("postgresql.auto.conf");
    let conninfo = scene.db1.follower_conninfo(&scene.db2).unwrap();
    let text = format!("{}primary_conninfo = '{conninfo}'\n", fs::read_to_string(&auto).unwrap());
    scene.lab.write(&auto, text, 0o600).unwrap();
    scene.db1.start().unwrap();
    scene.db2.query("INSERT INTO t VALUES (0)").unwrap();
    scene.db1.wait_following(&scene.db2).unwrap();
    wait_until("it has what the new primary has", AMPLE, || Ok((rows(&scene.db1) == 301).then_some(()))).unwrap();
}

/// The primary raised a setting and died, and the standby has not heard of it: its replay pauses at the record that says so.
#[test]
fn a_setting_raised_in_the_unsent_tail_pauses_the_replay_and_the_reason_says_so() {
    let scene = Scene::start();
    let frozen = scene.db2.stop_receiver().unwrap();
    let most: u32 = scene.db1.value("SHOW max_connections").unwrap().parse().unwrap();
    scene.db1.query(&format!("ALTER SYSTEM SET max_connections = {}", most + 50)).unwrap();
    // An orderly stop would wait for the frozen receiver.
    dead(&scene.db1);
    scene.db1.start().unwrap();
    scene.insert(10);
    dead(&scene.db1);
    let from = scene.from();
    let salvaged = scene.perform(&scene.order(from, Duration::from_secs(3))).unwrap();
    let why = salvaged.failed.clone().unwrap_or_default();
    println!("{why}");
    assert!(why.contains("its replay is paused") && why.contains("max_connections"), "{salvaged:?}");
    assert!(salvaged.salvaged < salvaged.missing && from < salvaged.end, "{salvaged:?}");
    drop(frozen);
    // What the reason asks for.
    scene.db2.query(&format!("ALTER SYSTEM SET max_connections = {}", most + 50)).unwrap();
    scene.db2.restart().unwrap();
    assert_eq!(scene.db2.value("SELECT pg_is_wal_replay_paused()").unwrap(), "f");
    let salvaged = scene.salvage().unwrap();
    assert_eq!((salvaged.failed.as_deref(), salvaged.missing, salvaged.replayed), (None, 0, salvaged.end), "{salvaged:?}");
    assert_eq!(rows(&scene.db2), 10);
}

/// A relay that from some moment on moves nothing, and closes nothing: the network between two hosts that both live.
struct Relay {
    port: u16,
    cut: Arc<AtomicBool>,
}

impl Relay {
    fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay { port: listener.local_addr().unwrap().port(), cut: Arc::default() };
        let cut = Arc::clone(&relay.cut);
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for near in listener.incoming().map_while(Result::ok) {
                if !cut.load(Ordering::SeqCst)
                    && let Ok(far) = TcpStream::connect(("127.0.0.1", port))
                {
                    for (from, to) in [(&near, &far), (&far, &near)] {
                        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                        let cut = Arc::clone(&cut);
                        std::thread::spawn(move || {
                            let mut buffer = vec![0; 65536];
                            while let Ok(count) = from.read(&mut buffer) {
                                // Who is cut off hears of no end either.
                                if cut.load(Ordering::SeqCst) {
                                    std::mem::forget((from, to));
                                    return;
                                }
                                if count == 0 || to.write_all(&buffer[..count]).is_err() {
                                    break;
                                }
                            }
                            let _ = to.shutdown(Shutdown::Both);
                        });
                    }
                    kept.push(far);
                }
                // Nothing that came in is closed.
                kept.push(near);
            }
        });
        relay
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

/// 20,000 commits behind a network that swallows everything: the standby's receiver hears neither log nor end, and a new one no answer.
#[test]
fn commits_behind_a_cut_network_are_salvaged() {
    let scene = Scene::with(&options("db1"), &options("db2").with("wal_receiver_timeout = 60s"));
    let relay = Relay::to(scene.db1.port());
    let conninfo = scene.db2.follower_conninfo(&scene.db1).unwrap();
    let through = conninfo.replace(&format!("port={} ", scene.db1.port()), &format!("port={} ", relay.port));
    assert_ne!(conninfo, through);
    scene.db2.query(&format!("ALTER SYSTEM SET primary_conninfo = '{through}'")).unwrap();
    let before = scene.db2.receiver().unwrap();
    scene.db2.query("SELECT pg_reload_conf()").unwrap();
    wait_until("another receiver", AMPLE, || Ok(scene.db2.receiver()?.filter(|now| Some(*now) != before))).unwrap();
    scene.insert(1);
    scene.caught_up();
    relay.cut();
    scene.insert(20_000);
    dead(&scene.db1);
    assert!(scene.db2.receiver().unwrap().is_some(), "it believes in its primary");
    let salvaged = scene.salvages();
    assert!(salvaged.commits.is_some_and(|commits| commits >= 20_000), "{salvaged:?}");
    assert_eq!(rows(&scene.db2), 20_001);
    scene.promote();
    assert_eq!(rows(&scene.db2), 20_001);
}

/// After a restart the standby does not say what it has received, and a part of its log lies on its disk.
#[test]
fn a_standby_that_was_restarted_meanwhile_takes_what_it_lacks() {
    let scene = Scene::start();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    scene.insert(300);
    dead(&scene.db1);
    drop(stopped);
    scene.db2.restart_at_once().unwrap();
    scene.db2.wait_accepting().unwrap();
    assert_eq!(rows(&scene.db2), 0);
    scene.salvages();
    assert_eq!(rows(&scene.db2), 300);
    scene.promote();
}

#[test]
fn a_tail_over_several_segments_is_salvaged_and_a_second_time_there_is_nothing_missing() {
    let scene = Scene::start();
    let frozen = scene.db2.stop_receiver().unwrap();
    let count = scene.insert_much(48);
    dead(&scene.db1);
    let salvaged = scene.salvages();
    assert!(salvaged.missing > 40 << 20, "{salvaged:?}");
    drop(frozen);
    assert_eq!(rows(&scene.db2), count);
    // An engine that begins anew asks from where the standby is by then; one whose answer came late, from where it was.
    let again = scene.salvage().unwrap();
    assert_eq!((again.missing, again.end, again.replayed), (0, salvaged.end, salvaged.end));
    let late = scene.perform(&scene.order(Lsn(salvaged.end.0 - 2 * SEGMENT), AMPLE)).unwrap();
    assert_eq!((late.end, late.salvaged, late.failed), (salvaged.end, late.missing, None));
    scene.spool_is_empty();
    scene.promote();
    assert_eq!(rows(&scene.db2), count);
}

/// The standby has all up to the edge of a segment; then the log ends there, or goes on in the next one.
#[test]
fn the_edge_of_a_segment_is_the_end_or_the_begin() {
    for goes_on in [false, true] {
        let scene = Scene::start();
        scene.insert(10);
        scene.db1.switch_wal().unwrap();
        let edge = Lsn(scene.end_of_primary().0.div_ceil(SEGMENT) * SEGMENT);
        wait_until("the standby is at the edge", AMPLE, || {
            Ok((scene.db2.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{edge}'::pg_lsn"))? == "t").then_some(()))
        })
        .unwrap();
        let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
        if goes_on {
            scene.insert(10);
        }
        dead(&scene.db1);
        drop(stopped);
        let salvaged = scene.salvages();
        assert_eq!(salvaged.missing == 0, !goes_on && scene.from() == salvaged.end, "{salvaged:?}");
        assert_eq!(rows(&scene.db2), if goes_on { 20 } else { 10 });
        scene.promote();
    }
}

/// The switch to the next segment is the last record: what it left is zeros, without the headers of pages.
#[test]
fn a_segment_that_was_ended_early_is_salvaged() {
    let scene = Scene::start();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    for _ in 0..2 {
        scene.insert(10);
        scene.db1.switch_wal().unwrap();
    }
    dead(&scene.db1);
    drop(stopped);
    let salvaged = scene.salvages();
    assert!(salvaged.missing > SEGMENT, "{salvaged:?}");
    assert_eq!(rows(&scene.db2), 20);
    scene.promote();
}

#[test]
fn a_torn_last_record_ends_the_log_before_it() {
    let scene = Scene::start();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    scene.insert(300);
    let before = scene.end_of_primary();
    scene.insert(1);
    dead(&scene.db1);
    drop(stopped);
    // Into the transaction's own record, which is the first one after the position.
    let (path, at) = scene.segment(before);
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[0x55; 4], at + 40).unwrap();
    let salvaged = scene.salvages();
    assert!(salvaged.end <= before, "{salvaged:?}");
    assert_eq!(rows(&scene.db2), 300);
    scene.promote();
}

/// A disk that has lost its last writes, as one that lied about them does: the standby has more than it, and nobody knows what else there was.
#[test]
fn a_log_that_ends_before_the_standby_is_not_one_that_lacks_nothing() {
    let scene = Scene::start();
    // On one page with what follows.
    while scene.end_of_primary().0 % 8192 > 4096 {
        scene.insert(1);
    }
    let before = scene.end_of_primary();
    scene.insert(3);
    scene.caught_up();
    dead(&scene.db1);
    let from = scene.from();
    let whole = scene.perform(&scene.order(from, AMPLE)).unwrap();
    assert_eq!(whole.missing, 0, "{whole:?}");
    let (path, at) = scene.segment(before);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; usize::try_from(8192 - at % 8192).unwrap()], at).unwrap();
    let lost = scene.perform(&scene.order(from, AMPLE)).unwrap_err();
    assert!(lost.had_no_effect() && lost.message.contains("ends before"), "{lost:?}");
}

/// What the disk does not give is not known: a failure, and not a small loss.
#[test]
fn a_log_that_cannot_be_read_is_not_taken_for_one_that_ends() {
    let scene = Scene::start();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    let from = scene.from();
    scene.insert_much(40);
    dead(&scene.db1);
    drop(stopped);
    let unknown = |what: &str| {
        let failure = scene.perform(&scene.order(from, AMPLE)).unwrap_err();
        println!("{what}: {failure:?}");
        assert!(failure.had_no_effect() && !failure.remedy.is_empty(), "{failure:?}");
        failure.message
    };
    // As its first segment, in the middle, and as a whole.
    let [first, second] = [0, 1].map(|ahead| scene.segment(Lsn(from.0 + ahead * SEGMENT)).0);
    for path in [&first, &second, &scene.db1.data_dir().join("pg_wal")] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
        let said = unknown("closed");
        assert!(said.contains("ermission denied") || said.contains("read"), "{said}");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for path in [&first, &second] {
        let away = path.with_extension("away");
        fs::rename(path, &away).unwrap();
        assert!(unknown("missing").contains("is missing"));
        fs::rename(&away, path).unwrap();
    }
    // Somebody has cut the file.
    let whole = fs::read(&second).unwrap();
    fs::OpenOptions::new().write(true).open(&second).unwrap().set_len(100_000).unwrap();
    unknown("short");
    fs::write(&second, whole).unwrap();
    // Good again, it is salvaged.
    scene.salvages();
    scene.promote();
}

#[test]
fn another_cluster_or_a_server_that_lives_is_refused() {
    let scene = Scene::start();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    scene.insert(30);
    let from = scene.from();
    let order =
        |system_id, timeline| Action::Salvage { server: DB2, old: DB1, system_id, timeline, from, patience: Span::from(AMPLE) };
    let alive = scene.perform(&order(scene.system, 1)).unwrap_err();
    assert!(alive.message.contains("may live") && alive.had_no_effect(), "{alive:?}");
    // The postmaster is dead, and a child of it lives on.
    let child = scene.db1.processes().into_iter().find(|seen| seen.pid != scene.db1.postmaster_pid().unwrap()).unwrap().pid;
    signal_all([child], Signal::STOP);
    let rest = processes().into_iter().filter(|seen| seen.works_in(scene.db1.data_dir()) && seen.pid != child);
    signal_all(rest.map(|seen| seen.pid), Signal::KILL);
    let orphan = scene.perform(&order(scene.system, 1)).unwrap_err();
    assert!(orphan.message.contains("may live"), "{orphan:?}");
    dead(&scene.db1);
    drop(stopped);
    let other = scene.perform(&order(scene.system + 1, 1)).unwrap_err();
    assert!(other.kind == FailureKind::Refused && other.message.contains("another cluster"), "{other:?}");
    let later = scene.perform(&order(scene.system, 2)).unwrap_err();
    assert!(later.message.contains("timeline 2"), "{later:?}");
    // A segment that somebody has put there from another cluster: its first page says so.
    let (path, _) = scene.segment(from);
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut own = [0; 8];
    file.read_exact_at(&mut own, 24).unwrap();
    file.write_all_at(&(scene.system + 1).to_le_bytes(), 24).unwrap();
    let foreign = scene.perform(&order(scene.system, 1)).unwrap_err();
    assert!(foreign.message.contains("another cluster"), "{foreign:?}");
    file.write_all_at(&own, 24).unwrap();
    assert_eq!(rows(&scene.db2), 0);
    scene.salvages();
}

/// The loss is known to the byte although nothing could be carried over.
#[test]
fn a_full_spool_is_told_with_the_exact_loss() {
    if let Some(why) = mounting_impossible() {
        println!("skipped: {why}");
        return;
    }
    let scene = Scene::start();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    scene.insert(300);
    let end = scene.end_of_primary();
    scene.lab.mount("db2/failover-spool", 8).unwrap();
    dead(&scene.db1);
    drop(stopped);
    let from = scene.from();
    let full = scene.perform(&scene.order(from, AMPLE)).unwrap();
    let why = full.failed.clone().unwrap();
    assert!(why.contains("8 MiB are free") || why.contains("7 MiB are free"), "{full:?}");
    assert_eq!((full.end >= end, full.missing, full.salvaged), (true, full.end.bytes_after(from), 0), "{full:?}");
    assert_eq!(full.commits, None);
    assert_eq!(full.replayed, from);
    scene.spool_is_empty();
}

/// A replay that somebody holds ends with the time for it; what could not be replayed is known. It lies in the spool, and the promotion
/// replays it.
#[test]
fn the_time_out_ends_it_with_what_is_known_by_then() {
    let scene = Scene::start();
    scene.insert(10);
    scene.caught_up();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    scene.insert(300);
    dead(&scene.db1);
    drop(stopped);
    let from = scene.from();
    let held = scene.db2.stop_startup();
    let late = scene.perform(&scene.order(from, Duration::from_secs(6))).unwrap();
    assert_eq!((late.salvaged, late.missing), (0, late.end.bytes_after(from)), "{late:?}");
    assert!(late.failed.as_ref().is_some_and(|why| why.contains("has replayed up to")), "{late:?}");
    drop(held);
    let none = scene.perform(&scene.order(from, Duration::ZERO)).unwrap_err();
    assert!(none.had_no_effect(), "{none:?}");
    scene.promote();
    assert_eq!(rows(&scene.db2), 310);
    scene.actions.perform(&Action::EmptySpool { server: DB2 }, Generation(1), ample(), &cancel()).unwrap();
    scene.spool_is_empty();
}

/// The last record has a text that looks like an earlier record, written by somebody who may only log in: it is not believed.
#[test]
fn the_end_of_the_log_is_not_what_the_text_of_a_record_says() {
    let scene =
        Scene::with(&options("db1").with("max_prepared_transactions = 5"), &options("db2").with("max_prepared_transactions = 5"));
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    scene.insert(20);
    let early = scene.end_of_primary();
    scene.insert(20);
    for lines in [
        format!("rmgr: A len (rec/tot): 24/ 24, tx: 0, lsn: {}, prev 0/0, desc: C", Lsn(early.0 - 24)),
        "rmgr: XLOG len (rec/tot): 24/ 24, tx: 0, lsn: FF/28, prev 0/0, desc: SWITCH".to_owned(),
        format!("last={early} 24 XLOG SWITCH\nsaid=\ncommit"),
    ] {
        let text = lines.replace('\n', "\\n");
        scene.db1.query(&format!("SELECT pg_logical_emit_message(false, E'x\\n{text}', '')")).unwrap();
        scene.db1.query("INSERT INTO t VALUES (0)").unwrap();
    }
    let forged = format!("rmgr: A len (rec/tot): 24/ 24, tx: 0, lsn: {early}, prev 0/0, desc: C");
    let sql = format!("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION E'x\\n{forged}'");
    scene.db1.query(&sql).unwrap();
    let end = scene.end_of_primary();
    dead(&scene.db1);
    drop(stopped);
    let salvaged = scene.salvages();
    assert!(salvaged.end >= end, "{salvaged:?}, and the log ends at {end}");
    assert_eq!(rows(&scene.db2), 43);
}

/// pg_waldump waits five seconds for a segment that is missing. Where the log fills its last one, none is there behind it.
#[test]
fn a_log_that_fills_its_last_segment_is_told_without_waiting_for_the_next_one() {
    let scene = Scene::start();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    scene.insert(100);
    scene.db1.switch_wal().unwrap();
    let edge = Lsn(scene.end_of_primary().0.div_ceil(SEGMENT) * SEGMENT);
    dead(&scene.db1);
    drop(stopped);
    for number in edge.0 / SEGMENT..edge.0 / SEGMENT + 40 {
        let _ = fs::remove_file(scene.segment(Lsn(number * SEGMENT)).0);
    }
    let from = scene.from();
    let salvaged = scene.perform(&scene.order(from, Duration::from_secs(4))).unwrap();
    assert_eq!((salvaged.end, salvaged.failed.as_deref()), (edge, None), "{salvaged:?}");
    assert_eq!(rows(&scene.db2), 100);
}

/// Somebody else made the folder of the spool: that is the reason that is told, and the receiver is let go all the same.
#[test]
fn a_spool_of_somebody_else_is_told_by_its_name() {
    let scene = Scene::start();
    let frozen = scene.db2.stop_receiver().unwrap();
    scene.insert(10);
    let spool = scene.db2.data_dir().join("failover-spool");
    fs::create_dir_all(&spool).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o755)).unwrap();
    rustix::fs::chown(&spool, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT)).unwrap();
    dead(&scene.db1);
    let salvaged = scene.salvage().unwrap();
    assert!(
        salvaged.failed.as_ref().is_some_and(|why| why.contains("failover-spool") && why.contains("could not be")),
        "{salvaged:?}"
    );
    scene.promote();
    drop(frozen);
}

/// With the script installed as a forced command only words travel, and the bytes behind them.
#[test]
fn a_forced_command_salvages_with_its_default_allowance() {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &options("db1")).unwrap();
    let db2 = PgServer::standby_of(&db1, &options("db2")).unwrap();
    let script = lab.copy_in(&super::support::root().join("contrib/failover-host"), "failover-host", 0o755).unwrap();
    let hosts = [("host1", &db1), ("host2", &db2)].map(|(name, server)| {
        let command =
            format!("{} --data-dir {} --bin-dir {}", script.display(), server.data_dir().display(), bin_dir().unwrap().display());
        Sshd::start(&lab, &SshdOptions { forced_command: Some(command), ..SshdOptions::new(name) }).unwrap()
    });
    let controls = [control(&lab, &hosts[0], &db1, true, None), control(&lab, &hosts[1], &db2, true, None)];
    let actions = actions(&db1, &db2, controls);
    db1.query("CREATE TABLE t (i int)").unwrap();
    let system = system_id(&db1);
    let [sshd, other] = hosts;
    let scene = Scene { actions, db1, db2, system, _sshd: sshd, lab };
    scene.caught_up();
    let stopped = scene.db1.stop_sending_to(&scene.db2).unwrap();
    scene.insert(300);
    dead(&scene.db1);
    drop(stopped);
    scene.salvages();
    assert_eq!(rows(&scene.db2), 300);
    scene.promote();
    drop(other);
}
