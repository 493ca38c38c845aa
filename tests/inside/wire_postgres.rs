//! Sessions, samples, the watcher and the PostgreSQL check against real servers, and against peers that misbehave.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::check::postgres::{PostgresCheck, WRITE_SQL};
use crate::check::{Check, Context};
use crate::clock::Clock;
use crate::deadline::{Cancel, Deadline};
use crate::engine::watcher::Watcher;
use crate::secret::Secret;
use crate::wire::postgres::{Endpoint, Error, KeptKeys, Session, SessionSettings, SslMode, Target, Tls, TlsSettings, sample};
use crate::wire::resolve::{Addresses, Literals};
use crossbeam_channel::Receiver as Channel;
use failover_core::id::{ServerId, ServiceId};
use failover_core::input::Input;
use failover_core::observation::{Close, CloseCause, DownCause, Finding, Impairment, UnknownCause, Verdict};
use failover_core::sample::{Receiver, Replica, Sample, SyncCommit};
use failover_core::time::Mono;

const BIN: &str = "/usr/lib/postgresql/15/bin";
/// Long enough that only a test that hangs reaches it.
const WATCHDOG: Duration = Duration::from_secs(60);
/// For what must time out.
const SHORT: Duration = Duration::from_millis(300);

// Servers

/// A command run as a user that PostgreSQL accepts.
fn unprivileged(program: &str) -> Command {
    if rustix::process::getuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", program]);
        command
    } else {
        Command::new(program)
    }
}

fn run(command: &mut Command) {
    let output = command.current_dir("/").output().expect("the program is installed");
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{words}");
}

/// Hands a folder to the user that the servers run as.
fn give_away(path: &Path) {
    if rustix::process::getuid().is_root() {
        run(Command::new("chown").args(["-R", "nobody:nogroup"]).arg(path));
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("wirepg").tempdir_in("/tmp").expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    give_away(folder.path());
    folder
}

/// A fresh cluster, made once and copied.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        // Beside the program, where cargo has `target/tmp` for other tests.
        let program = std::env::current_exe().unwrap();
        let kept = program.ancestors().nth(3).unwrap().join("tmp/wire-postgres-template");
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        if !kept.join("PG_VERSION").exists() {
            let made = folder();
            let data = made.path().join("data");
            let initdb = format!("{BIN}/initdb");
            run(unprivileged(&initdb)
                .args(["--no-sync", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-D"])
                .arg(&data));
            // Whole or not at all, also when two runs come here together.
            let partial = kept.with_extension(std::process::id().to_string());
            run(Command::new("cp").arg("-a").arg(&data).arg(&partial));
            if fs::rename(&partial, &kept).is_err() {
                fs::remove_dir_all(&partial).unwrap();
            }
        }
        kept
    })
}

struct Server {
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// A running primary with these lines in its configuration.
    fn start(settings: &str) -> Server {
        let server = Server { folder: folder(), port: free_port() };
        run(Command::new("cp").arg("-a").arg(template()).arg(server.data()));
        server.configure(settings);
        server.pg_ctl(&["start", "-w"]);
        server
    }

    /// A standby of `primary` whose start has been ordered.
    fn standby_of(primary: &Server, name: &str, settings: &str) -> Server {
        let server = Server { folder: folder(), port: free_port() };
        let upstream = primary.folder.path().display();
        run(unprivileged(&format!("{BIN}/pg_basebackup"))
            .args([
                "--no-sync",
                "-c",
                "fast",
                "-R",
                "-U",
                "postgres",
                "-h",
                &upstream.to_string(),
                "-p",
                &primary.port.to_string(),
                "-D",
            ])
            .arg(server.data()));
        server.configure(settings);
        // The last setting of a file wins, and -R writes into this one, which is read last.
        server.append(
            "postgresql.auto.conf",
            &format!("primary_conninfo = 'host={upstream} port={} user=postgres application_name={name}'", primary.port),
        );
        server.pg_ctl(&["start", "-W"]);
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn append(&self, file: &str, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.data().join(file)).unwrap();
        writeln!(file, "{text}").unwrap();
    }

    fn configure(&self, settings: &str) {
        let (port, folder) = (self.port, self.folder.path().display());
        self.append(
            "postgresql.conf",
            &format!(
                "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\nfsync = off\n{settings}"
            ),
        );
    }

    /// Puts rules before those of the template, which let everybody in.
    fn rules(&self, rules: &str) {
        let file = self.data().join("pg_hba.conf");
        let old = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{rules}\n{old}")).unwrap();
        self.pg_ctl(&["reload"]);
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let log = self.folder.path().join("log");
        let mut command = unprivileged(&format!("{BIN}/pg_ctl"));
        command.arg("-s").arg("-D").arg(self.data()).arg("-l").arg(&log).args(arguments);
        // The server inherits what pg_ctl has open: a captured pipe would stay open with it.
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").status().unwrap();
        assert!(status.success(), "{arguments:?}\n{}", fs::read_to_string(log).unwrap_or_default());
    }

    fn postmaster(&self) -> i32 {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        text.lines().next().unwrap().trim().parse().unwrap()
    }

    /// Every process of this server: those whose working directory is the data directory.
    fn processes(&self) -> Vec<i32> {
        let Ok(data) = fs::metadata(self.data()) else { return Vec::new() };
        let is_ours = |pid: &i32| {
            fs::metadata(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (data.dev(), data.ino()))
        };
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
    }

    fn target(&self, user: &str) -> Target {
        Target {
            endpoint: Endpoint::new("127.0.0.1", self.port),
            user: user.into(),
            password: None,
            database: "postgres".into(),
            tls: Tls::disabled(),
            application_name: "libfailover/tests".into(),
            keys: KeptKeys::default(),
            settings: SessionSettings::default(),
        }
    }

    fn session(&self, user: &str) -> Session {
        connect(&self.target(user)).unwrap()
    }

    fn sql(&self, sql: &str) -> Option<String> {
        let target = Target { settings: SessionSettings::nothing(), ..self.target("postgres") };
        ask(&mut connect(&target).unwrap(), sql).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed processes take a moment to go, and a postmaster may still fork one.
        for _ in 0..500 {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            signal(&processes, "KILL");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn signal(processes: &[i32], signal: &str) {
    let pids = processes.iter().map(ToString::to_string);
    let _ = Command::new("kill").arg(format!("-{signal}")).args(pids).stderr(Stdio::null()).status();
}

fn never() -> Cancel {
    Cancel::new().unwrap()
}

fn watchdog() -> Deadline {
    Deadline::after(WATCHDOG)
}

fn connect(target: &Target) -> Result<Session, Error> {
    Session::connect(target, &Literals, watchdog(), &never())
}

fn verdict_of(target: &Target) -> Verdict {
    connect(target).map_or_else(|error| error.verdict(), |_| Verdict::Up)
}

fn ask(session: &mut Session, sql: &str) -> Result<Option<String>, Error> {
    session.query(sql, watchdog(), &never()).map(|rows| rows.first().map(str::to_owned))
}

fn sample_of(session: &mut Session) -> Sample {
    sample(session, Mono::from_nanos(5), watchdog(), &never()).unwrap()
}

/// Looks again and again until there is something to see.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = watchdog();
    while !deadline.is_over() {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what}: not within {WATCHDOG:?}")
}

fn probe(check: &PostgresCheck, span: Duration) -> Finding {
    let (clock, cancel) = (Clock::start(), never());
    check.run(&Context { deadline: Deadline::after(span), cancel: &cancel, clock: &clock, sample: true, addresses: &Literals })
}

// Samples

fn roles(primary: &Server) {
    primary.sql("CREATE ROLE nothing LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor");
}

#[test]
fn a_primary_and_its_standby_are_sampled_with_and_without_rights() {
    let primary = Server::start("");
    roles(&primary);
    let standby = Server::standby_of(&primary, "db2", "recovery_min_apply_delay = '1ms'");
    eventually("replication", || {
        (primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn IS NOT NULL")? == "1")
            .then_some(())
    });

    let seen = sample_of(&mut primary.session("monitor"));
    let system_id = primary.sql("SELECT system_identifier FROM pg_control_system()").unwrap();
    assert_eq!(seen.system_id.to_string(), system_id);
    assert_eq!((seen.asked, seen.in_recovery, seen.timeline), (Mono::from_nanos(5), false, 1));
    assert!(seen.flush.is_some() && seen.receive.is_none() && seen.replay.is_none());
    assert_eq!(seen.receiver, Receiver::Absent);
    assert!(seen.started.is_some() && seen.settings_loaded.is_some() && !seen.at_end, "{seen:?}");
    assert_eq!((seen.sync_commit, seen.sync_commit_overridden), (SyncCommit::On, None));
    // The server keeps what was typed.
    for (typed, weakest) in
        [("'Remote_Write'", SyncCommit::RemoteWrite), ("0", SyncCommit::Local), ("'LOCAL'", SyncCommit::Local)]
    {
        primary.sql(&format!("ALTER ROLE nothing SET synchronous_commit = {typed}"));
        let overridden = sample_of(&mut primary.session("monitor")).sync_commit_overridden;
        assert_eq!(overridden, Some(weakest), "{typed}");
    }
    primary.sql("ALTER ROLE nothing RESET synchronous_commit; ALTER ROLE nothing SET Synchronous_Commit = remote_apply");
    assert_eq!(sample_of(&mut primary.session("monitor")).sync_commit_overridden, Some(SyncCommit::RemoteApply));
    // Set for the engine's own role or database, it hides what the server's other clients have: a stronger one promises nothing of theirs.
    for (set, reset) in [
        ("ALTER ROLE monitor SET synchronous_commit = remote_apply", "ALTER ROLE monitor RESET synchronous_commit"),
        ("ALTER DATABASE postgres SET synchronous_commit = remote_apply", "ALTER DATABASE postgres RESET synchronous_commit"),
    ] {
        primary.sql(set);
        assert_eq!(sample_of(&mut primary.session("monitor")).sync_commit, SyncCommit::Local, "{set}");
        primary.sql(reset);
        assert_eq!(sample_of(&mut primary.session("monitor")).sync_commit, SyncCommit::On, "{reset}");
    }
    primary.sql("ALTER ROLE nothing RESET ALL");
    let [Replica { application_name, streaming: true, synchronous: false, flush: Some(_), slot: None, reply_age: Some(_) }] =
        &seen.replicas.as_ref().unwrap()[..]
    else {
        panic!("{seen:?}")
    };
    assert_eq!(application_name, "db2");
    assert!(seen.other_engines.is_empty(), "our own sessions are not another engine");
    assert_eq!((seen.slots, seen.uses_slot), (Some(Vec::new()), None));
    primary.sql("SELECT pg_create_physical_replication_slot('of_db2')");
    let any_role = sample_of(&mut primary.session("nothing"));
    assert_eq!(any_role.slots, Some(vec!["of_db2".to_owned()]));
    primary.sql("SELECT pg_drop_replication_slot('of_db2')");

    let blind = sample_of(&mut primary.session("nothing"));
    assert_eq!((blind.system_id, blind.timeline), (seen.system_id, 1));
    assert_eq!(blind.replicas, None, "rule 92: hidden is not empty");
    assert!(blind.flush.is_some());

    // The receiver learns the end of the primary's log only with the first piece of it.
    primary.sql("CREATE TABLE something ()");
    let seen = eventually("the standby has replayed", || {
        let sample = sample_of(&mut connect(&standby.target("monitor")).ok()?);
        let has_heard = matches!(sample.receiver, Receiver::Seen { latest_end: Some(_), .. });
        (has_heard && sample.replay == sample.receive).then_some(sample)
    });
    assert_eq!((seen.system_id.to_string(), seen.in_recovery, seen.timeline), (system_id, true, 1));
    assert!(seen.flush.is_none() && seen.receive.is_some() && seen.delayed && !seen.replay_paused);
    assert_eq!((&seen.replicas, &seen.slots), (&Some(Vec::new()), &Some(Vec::new())), "nobody streams from it");
    assert!(seen.at_end && seen.started.is_some(), "it waits for what the primary will write: {seen:?}");
    let Receiver::Seen { streaming: true, latest_end: Some(_), application_name: Some(name), .. } = &seen.receiver else {
        panic!("{seen:?}")
    };
    assert_eq!(name, "db2");

    let blind = sample_of(&mut standby.session("nothing"));
    assert_eq!(blind.receiver, Receiver::Hidden);
    assert!(blind.receive.is_some() && blind.in_recovery && blind.timeline == 1);

    standby.sql("SELECT pg_wal_replay_pause()");
    assert!(sample_of(&mut standby.session("nothing")).replay_paused);
    standby.sql("SELECT pg_wal_replay_resume()");

    primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (db2, db3)'");
    primary.sql("SELECT pg_reload_conf()");
    let synchronous = eventually("the standby is synchronous", || {
        let sample = sample_of(&mut primary.session("monitor"));
        sample.replicas.as_ref().unwrap().iter().any(|replica| replica.synchronous).then_some(sample)
    });
    assert_eq!(synchronous.sync_names, "ANY 1 (db2, db3)");

    let other = Target { application_name: "libfailover/elsewhere".into(), ..primary.target("monitor") };
    let _other = connect(&other).unwrap();
    let _unrelated = connect(&Target { application_name: "psql".into(), ..other }).unwrap();
    assert_eq!(sample_of(&mut primary.session("nothing")).other_engines, ["elsewhere"], "any role sees another engine");

    drop(primary);
    eventually("the receiver is gone", || {
        (sample_of(&mut standby.session("nothing")).receiver == Receiver::Absent).then_some(())
    });
    let mut kept = standby.session("monitor");
    standby.sql("SELECT pg_promote()");
    let promoted = sample_of(&mut kept);
    assert_eq!((promoted.in_recovery, promoted.timeline), (false, 2), "rule 96: the new timeline is seen at once");
    assert!(promoted.flush.is_some() && promoted.receive.is_none(), "rule 60: the old receive position is not told");
}

// Closed sessions

const SERVICE: ServiceId = ServiceId(3);
const SERVER: ServerId = ServerId(1);

fn watch() -> (Watcher, Channel<Input>) {
    let (sender, receiver) = crossbeam_channel::unbounded();
    (Watcher::start(Clock::start(), move |input| drop(sender.send(input))).unwrap(), receiver)
}

fn answer(news: &Channel<Input>) -> Box<Sample> {
    match news.recv_timeout(WATCHDOG).expect("the session answers") {
        Input::SessionAnswered { service: SERVICE, server: SERVER, sample } => sample,
        other => panic!("{other:?}"),
    }
}

fn close(news: &Channel<Input>) -> Close {
    loop {
        match news.recv_timeout(WATCHDOG).expect("the session ends") {
            Input::SessionAnswered { .. } => {}
            Input::SessionClosed { service: SERVICE, server: SERVER, close } => return close,
            other => panic!("{other:?}"),
        }
    }
}

/// What becomes of a watched session when `event` happens to its server.
fn close_after(event: impl FnOnce(&Server)) -> Close {
    let server = Server::start("");
    let (watcher, news) = watch();
    watcher.add(SERVICE, SERVER, server.session("postgres"), Duration::from_millis(20));
    answer(&news);
    event(&server);
    let close = close(&news);
    watcher.stop();
    assert!(news.try_iter().next().is_none(), "an end is reported once");
    close
}

#[test]
fn rule_83_a_killed_postmaster_is_a_death_hint() {
    let close = close_after(|server| signal(&[server.postmaster()], "KILL"));
    assert_eq!(close.cause, CloseCause::DeathHint, "{close:?}");
}

#[test]
fn rule_83_killing_everything_is_a_death_hint() {
    let close = close_after(|server| {
        // Stopped first, so that the postmaster cannot tell the others.
        signal(&[server.postmaster()], "STOP");
        signal(&server.processes(), "KILL");
    });
    assert_eq!(close.cause, CloseCause::DeathHint, "{close:?}");
}

#[test]
fn rule_83_a_fast_stop_is_announced() {
    let close = close_after(|server| server.pg_ctl(&["stop", "-m", "fast", "-W"]));
    assert_eq!(close.cause, CloseCause::Announced, "{close:?}");
}

/// A backend that dies of SIGQUIT says why, but not always: about one immediate stop in ten ends a session without a word.
/// That reads as a death hint, which only begins a round of fresh probes; five times in a row it would be our fault.
fn last_words_of(event: impl Fn(&Server)) -> CloseCause {
    for _ in 0..5 {
        let close = close_after(&event);
        match close.cause {
            CloseCause::DeathHint => assert!(close.message.contains("closed the connection"), "{close:?}"),
            spoken => return spoken,
        }
    }
    CloseCause::DeathHint
}

#[test]
fn rule_83_an_immediate_stop_is_announced() {
    assert_eq!(last_words_of(|server| server.pg_ctl(&["stop", "-m", "immediate", "-W"])), CloseCause::Announced);
}

#[test]
fn rule_83_a_killed_backend_is_crash_recovery() {
    let killed = |server: &Server| signal(&[server.session("postgres").process_id().unwrap()], "KILL");
    assert_eq!(last_words_of(killed), CloseCause::CrashRecovery);
}

#[test]
fn rule_83_one_terminated_session_reads_as_announced() {
    let close = close_after(|server| {
        server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
    });
    assert_eq!(close.cause, CloseCause::Announced, "{close:?}");
}

#[test]
fn a_stopped_server_is_silent_and_answers_again() {
    let server = Server::start("");
    let (watcher, news) = watch();
    watcher.add(SERVICE, SERVER, server.session("postgres"), Duration::from_millis(10));
    answer(&news);
    let processes = server.processes();
    signal(&processes, "STOP");
    // New probes end at their deadline, and neither they nor the kept session call it an end.
    let finding = probe(&PostgresCheck::plain(server.target("postgres")), SHORT);
    assert_eq!(finding.verdict, Verdict::Down(DownCause::AnswerTimedOut), "{}", finding.message);
    while news.try_recv().is_ok() {}
    signal(&processes, "CONT");
    answer(&news);
    watcher.remove(SERVICE, SERVER);
    watcher.stop();
    assert!(!watcher.is_running());
    let closed = news.try_iter().any(|input| matches!(input, Input::SessionClosed { .. }));
    assert!(!closed, "what we drop ourselves is no news");
}

#[test]
fn a_session_whose_server_is_stopped_in_mid_query_is_dropped_without_a_wait() {
    let server = Server::start("");
    let mut session = server.session("postgres");
    signal(&server.processes(), "STOP");
    let error = session.query("SELECT 1", Deadline::after(SHORT), &never()).unwrap_err();
    assert!(error.is_timeout() && error.verdict() == Verdict::Down(DownCause::AnswerTimedOut), "{error}");
    drop(session);
}

// Sessions

#[test]
fn queries_have_rows_errors_and_second_chances() {
    let server = Server::start("");
    let socket = Endpoint::new(server.folder.path().to_str().unwrap(), server.port);
    let unix = Target { endpoint: socket, ..server.target("postgres") };
    let mut session = connect(&unix).unwrap();
    assert!(session.parameter("server_version").unwrap().starts_with("15"));
    let sql = "SELECT 1 AS a; SET work_mem = '1MB'; SELECT 'é' AS b, NULL AS c UNION ALL SELECT 'x', 'y'; SET work_mem = '2MB'";
    let rows = session.query(sql, watchdog(), &never()).unwrap();
    assert_eq!((rows.columns.clone(), rows.len()), (vec!["b".to_owned(), "c".to_owned()], 2));
    assert_eq!((rows.get(0, "b"), rows.get(0, "c"), rows.get(1, "c"), rows.get(0, "d")), (Some("é"), None, Some("y"), None));

    let error = ask(&mut session, "SELECT 1; SELECT broken; SELECT 2").unwrap_err();
    assert_eq!(error.server().unwrap().sqlstate, "42703");
    assert_eq!(ask(&mut session, "SELECT 3").unwrap().as_deref(), Some("3"), "an error leaves the session usable");
    assert_eq!(ask(&mut session, "").unwrap(), None);
    assert!(matches!(ask(&mut session, "SELECT '\0'").unwrap_err(), Error::Local(_)));
    assert_eq!(ask(&mut session, "DO $$BEGIN RAISE WARNING 'mind'; END$$; SELECT 4").unwrap().as_deref(), Some("4"));
    assert_eq!(session.notices()[0].message, "mind");

    // Rule 94: a wait that statement_timeout does not bound is ended by a CancelRequest, and the session goes on.
    let error = session.query("SELECT pg_sleep(600)", Deadline::after(SHORT), &never()).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    session.cancel_query(watchdog(), &never()).unwrap();
    assert_eq!(ask(&mut session, "SELECT 5").unwrap().as_deref(), Some("5"));

    let cancel = never();
    cancel.cancel();
    let error = session.query("SELECT 6", watchdog(), &cancel).unwrap_err();
    assert_eq!((error.is_cancelled(), error.verdict()), (true, Verdict::Unknown(UnknownCause::NoAnswerFromHost)));

    for sql in [
        "SELECT repeat('x', 2000000)",
        "SELECT repeat('x', 500000) FROM generate_series(1, 100)",
        "SELECT generate_series(1, 20000)",
        "COPY pg_class TO STDOUT",
    ] {
        let mut session = connect(&unix).unwrap();
        let error = ask(&mut session, sql).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{sql}: {error}");
        assert!(matches!(ask(&mut session, "SELECT 1").unwrap_err(), Error::Broken(_)));
    }
}

#[test]
fn passwords_are_proven_in_every_way_and_never_printed() {
    let server = Server::start("");
    server
        .sql("CREATE ROLE scram LOGIN PASSWORD 'Grüße 1'; CREATE ROLE plain LOGIN PASSWORD 'Grüße 1'; CREATE ROLE banned LOGIN");
    server.sql("SET password_encryption = md5; CREATE ROLE md5 LOGIN PASSWORD 'Grüße 1'");
    server.rules(
        "host all scram all scram-sha-256\nhost all md5 all md5\nhost all plain all password\nhost all banned all reject\n",
    );
    eventually("the rules are in force", || connect(&server.target("banned")).err());
    let authentication = Verdict::Impaired(Impairment::Authentication);
    for user in ["scram", "md5", "plain"] {
        let with = |password: Option<&str>| Target { password: password.map(Secret::new), ..server.target(user) };
        assert_eq!(verdict_of(&with(Some("Grüße 1"))), Verdict::Up, "{user}");
        for password in [None, Some("not the hunter2")] {
            let error = connect(&with(password)).unwrap_err();
            assert_eq!(error.verdict(), authentication, "{user}: {error}");
            assert!(!format!("{error} {error:?} {:?}", with(password)).contains("hunter2"));
        }
    }
    for user in ["banned", "nobody_of_that_name"] {
        assert_eq!(verdict_of(&server.target(user)), authentication, "{user}");
    }
    let elsewhere = Target { database: "nowhere".into(), ..server.target("postgres") };
    assert_eq!(verdict_of(&elsewhere), Verdict::Impaired(Impairment::QueryRefused));
}

#[test]
fn rule_2_a_full_server_is_saturated_not_down() {
    let server = Server::start("max_connections = 5\nsuperuser_reserved_connections = 1\nmax_wal_senders = 0");
    server.sql("CREATE ROLE nothing LOGIN");
    // The session that made the role may take a moment to go.
    let _held: Vec<Session> = (0..4).map(|_| eventually("a slot", || connect(&server.target("nothing")).ok())).collect();
    assert_eq!(verdict_of(&server.target("nothing")), Verdict::Impaired(Impairment::Saturated));
    // The refused one may take a moment to give its place back.
    let _last = eventually("the last slot", || connect(&server.target("postgres")).ok());
    assert_eq!(verdict_of(&server.target("postgres")), Verdict::Impaired(Impairment::Saturated));
}

/// A postmaster that cannot start a process answers in a form of its own, before it has read anything.
#[test]
fn rule_2_a_server_that_cannot_start_a_process_is_saturated_not_down() {
    let server = Server::start("ssl = off");
    let postmaster = server.postmaster().to_string();
    let limit = |processes: &str| run(unprivileged("prlimit").args(["--pid", &postmaster, processes]));
    let tls = Tls::new(TlsSettings { mode: SslMode::Prefer, ..TlsSettings::default() });
    limit("--nproc=1:");
    let said = connect(&server.target("postgres")).expect_err("no process can be started");
    assert_eq!(said.verdict(), Verdict::Impaired(Impairment::Saturated), "{said}");
    assert!(said.to_string().contains("could not fork new process"), "{said}");
    assert_eq!(verdict_of(&Target { tls, ..server.target("postgres") }), Verdict::Impaired(Impairment::Saturated));
    limit("--nproc=2000:");
    eventually("a session again", || connect(&server.target("postgres")).ok());
}

#[test]
fn rule_2_starting_recovering_and_stopping_are_told_apart() {
    let server = Server::start("");
    let cold = Server::standby_of(&server, "db2", "hot_standby = off");
    let starting = eventually("a socket", || match verdict_of(&cold.target("postgres")) {
        Verdict::Down(_) => None,
        other => Some(other),
    });
    assert_eq!(starting, Verdict::Impaired(Impairment::Starting));
    drop(cold);

    // A stopped backend keeps a crashing or stopping server from getting on.
    let held = server.session("postgres");
    signal(&[held.process_id().unwrap()], "STOP");
    let victim = server.session("postgres");
    signal(&[victim.process_id().unwrap()], "KILL");
    let not_now = |target: &Target| match connect(target) {
        Err(error) if error.server().is_some_and(|said| said.sqlstate == "57P03") => Some(error.verdict()),
        _ => None,
    };
    let recovering = eventually("crash recovery", || not_now(&server.target("postgres")));
    assert_eq!(recovering, Verdict::Impaired(Impairment::Recovering));
    signal(&[held.process_id().unwrap()], "CONT");

    let held = eventually("service again", || connect(&server.target("postgres")).ok());
    signal(&[held.process_id().unwrap()], "STOP");
    server.pg_ctl(&["stop", "-m", "fast", "-W"]);
    let stopping = eventually("shutdown", || not_now(&server.target("postgres")));
    assert_eq!(stopping, Verdict::Impaired(Impairment::Stopping));
    signal(&[held.process_id().unwrap()], "CONT");
    let gone = eventually("the end", || match verdict_of(&server.target("postgres")) {
        Verdict::Impaired(_) => None,
        other => Some(other),
    });
    assert!(matches!(gone, Verdict::Down(DownCause::Refused | DownCause::Reset)), "{gone:?}");
    let socket = Endpoint::new(server.folder.path().to_str().unwrap(), server.port);
    let unix = Target { endpoint: socket, ..server.target("postgres") };
    eventually("no socket", || (verdict_of(&unix) == Verdict::Down(DownCause::Refused)).then_some(()));
}

// The check

#[test]
fn the_check_asks_samples_and_writes() {
    let server = Server::start("");
    roles(&server);
    let mut check = PostgresCheck::plain(server.target("monitor"));
    let finding = probe(&check, WATCHDOG);
    assert_eq!(finding.verdict, Verdict::Up);
    assert!(finding.message.starts_with("PostgreSQL 15") && finding.message.contains("primary on timeline 1"), "{finding:?}");
    assert!(finding.sample.is_some());

    check.query = "SELECT 1 WHERE false".into();
    assert_eq!(probe(&check, WATCHDOG).verdict, Verdict::Down(DownCause::WrongAnswer));
    check.query = "SELECT * FROM nothing_here".into();
    assert_eq!(probe(&check, WATCHDOG).verdict, Verdict::Impaired(Impairment::QueryRefused));
    check.query = "SELECT 1".into();

    // Rule 95: it reaches the WAL, also while ordinary commits wait for a standby that is not there.
    check.write = Some(WRITE_SQL);
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'absent'");
    server.sql("SELECT pg_reload_conf()");
    let flushed = |finding: Finding| {
        assert_eq!(finding.verdict, Verdict::Up, "{}", finding.message);
        finding.sample.unwrap().flush.unwrap()
    };
    let before = flushed(probe(&check, WATCHDOG));
    assert!(flushed(probe(&check, WATCHDOG)) > before, "the first write is in the WAL");
    server.sql("ALTER SYSTEM RESET synchronous_standby_names");
    server.sql("SELECT pg_reload_conf()");
    eventually("asynchronous again", || (server.sql("SHOW synchronous_standby_names")?.is_empty()).then_some(()));

    // A write that hangs while reads work: impaired, and the stuck statement is cancelled.
    check.write = Some("SELECT pg_catalog.pg_sleep(600)");
    let finding = probe(&check, Duration::from_secs(1));
    assert_eq!(finding.verdict, Verdict::Impaired(Impairment::WriteBlocked), "{}", finding.message);
    assert!(finding.message.contains("it was cancelled") && finding.sample.is_some(), "{}", finding.message);
    eventually("nothing is left behind", || {
        (server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'monitor' AND state = 'active'")? == "0").then_some(())
    });
    check.write = Some(WRITE_SQL);
    server.sql("REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC");
    let finding = probe(&check, WATCHDOG);
    assert_eq!(finding.verdict, Verdict::Impaired(Impairment::WriteBlocked), "{}", finding.message);

    // A right that somebody took away makes the sample impossible, not the server dead.
    server.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    let finding = probe(&check, WATCHDOG);
    assert!(finding.verdict == Verdict::Up && finding.sample.is_none(), "{}", finding.message);

    let gone = Target { endpoint: Endpoint::new("127.0.0.1", free_port()), ..server.target("monitor") };
    assert_eq!(probe(&PostgresCheck::plain(gone), WATCHDOG).verdict, Verdict::Down(DownCause::Refused));
    let named = Target { endpoint: Endpoint::new("db.example", 5432), ..server.target("monitor") };
    assert_eq!(probe(&PostgresCheck::plain(named), WATCHDOG).verdict, Verdict::Unknown(UnknownCause::Resolver));
}

// TLS

struct Loopback;

impl Addresses for Loopback {
    fn addresses(&self, _: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

/// An authority of our own, and a certificate that it signed for each name.
fn authority(folder: &Path, names: &[&str]) {
    authority_for(folder, names, 2);
}

/// Its certificates are good for `days`; -1: they ended yesterday.
fn authority_for(folder: &Path, names: &[&str], days: i32) {
    let openssl = |arguments: &str| {
        run(Command::new("sh").args(["-c", &format!("cd {} && openssl {arguments}", folder.display())]));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -days 2 -subj '/CN=test authority' -keyout ca.key -out ca.crt"));
    for name in names {
        fs::write(folder.join(format!("{name}.ext")), format!("subjectAltName=DNS:{name}\n")).unwrap();
        openssl(&format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile {name}.ext -out {name}.crt"
        ));
    }
}

#[test]
fn tls_is_agreed_trusted_and_refused_as_sslmode_says() {
    let certificates = folder();
    let place = certificates.path();
    authority(place, &["db.internal", "watcher"]);
    let stranger = folder();
    authority(stranger.path(), &["watcher"]);
    fs::set_permissions(place.join("db.internal.key"), fs::Permissions::from_mode(0o600)).unwrap();
    give_away(place);
    let server = Server::start(&format!(
        "ssl = on\nssl_cert_file = '{0}/db.internal.crt'\nssl_key_file = '{0}/db.internal.key'\nssl_ca_file = '{0}/ca.crt'",
        place.display()
    ));
    server.sql("CREATE ROLE watcher LOGIN; CREATE ROLE bound LOGIN PASSWORD 'secret'; CREATE ROLE bare LOGIN");
    server.rules(
        "hostssl all watcher all cert\nhostssl all bound all scram-sha-256\nhostnossl all bound all reject\nhostssl all bare all reject",
    );
    eventually("the rules are in force", || connect(&server.target("bound")).err());

    let settings = |mode, roots: Option<&Path>| TlsSettings {
        mode,
        root_certificates: roots.map(|folder| folder.join("ca.crt")),
        ..TlsSettings::default()
    };
    let target = |host: &str, user: &str, settings| Target {
        endpoint: Endpoint::new(host, server.port),
        password: Some(Secret::new("secret")),
        tls: Tls::new(settings),
        ..server.target(user)
    };
    let verdict = |target: &Target| match Session::connect(target, &Loopback, watchdog(), &never()) {
        Ok(mut session) => {
            let encrypted = ask(&mut session, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").unwrap();
            assert_eq!(encrypted.as_deref(), Some(if target.user == "bare" { "f" } else { "t" }));
            Verdict::Up
        }
        // The check connects; a refused client certificate shows only when the first answer is awaited.
        Err(error) => {
            eprintln!("{error}");
            error.verdict()
        }
    };
    let tls = Verdict::Impaired(Impairment::Tls);
    let authentication = Verdict::Impaired(Impairment::Authentication);
    let table = [
        ("db.internal", SslMode::VerifyFull, Some(place), &Verdict::Up),
        ("db.elsewhere", SslMode::VerifyFull, Some(place), &tls),
        ("127.0.0.1", SslMode::VerifyFull, Some(place), &tls),
        ("db.elsewhere", SslMode::VerifyCa, Some(place), &Verdict::Up),
        ("db.internal", SslMode::VerifyFull, Some(stranger.path()), &tls),
        ("db.internal", SslMode::VerifyCa, Some(stranger.path()), &tls),
        ("db.internal", SslMode::VerifyCa, None, &tls),
        ("db.internal", SslMode::Require, Some(stranger.path()), &tls),
        ("db.elsewhere", SslMode::Require, None, &Verdict::Up),
        ("db.elsewhere", SslMode::Prefer, None, &Verdict::Up),
        ("db.elsewhere", SslMode::Allow, None, &Verdict::Up),
        ("db.elsewhere", SslMode::Disable, None, &authentication),
    ];
    for (host, mode, roots, expected) in table {
        // A role with a password: over TLS its proof is bound to the server's certificate.
        assert_eq!(&verdict(&target(host, "bound", settings(mode, roots))), expected, "{host} {mode:?} {roots:?}");
    }
    assert_eq!(verdict(&target("db.internal", "bare", settings(SslMode::Prefer, None))), Verdict::Up, "prefer falls back");

    let ours = |signed: &Path| TlsSettings {
        client_certificate: Some(signed.join("watcher.crt")),
        client_key: Some(signed.join("watcher.key")),
        ..settings(SslMode::VerifyFull, Some(place))
    };
    assert_eq!(verdict(&target("db.internal", "watcher", ours(place))), Verdict::Up);
    assert_eq!(
        verdict(&target("db.internal", "watcher", ours(stranger.path()))),
        tls,
        "a certificate that the server does not trust"
    );
    assert_eq!(verdict(&target("db.internal", "watcher", settings(SslMode::Require, None))), authentication);
    for broken in [
        TlsSettings { client_key: None, ..ours(place) },
        TlsSettings { client_key: Some(place.join("watcher.crt")), ..ours(place) },
        TlsSettings { root_certificates: Some(place.join("ca.key")), ..ours(place) },
        TlsSettings { root_certificates: Some(place.join("none")), ..ours(place) },
    ] {
        let target = target("db.internal", "watcher", broken);
        assert!(target.tls.check().is_err());
        assert_eq!(verdict(&target), Verdict::Unknown(UnknownCause::Internal));
    }

    // A server without TLS.
    let plain = Server::start("");
    for (mode, expected) in [(SslMode::Require, tls), (SslMode::Prefer, Verdict::Up)] {
        let target = Target { tls: Tls::new(settings(mode, None)), ..plain.target("postgres") };
        assert_eq!(verdict_of(&target), expected);
    }

    // Large answers, a time-out and a kept session over TLS, and its end without a good-bye.
    let (watcher, news) = watch();
    let target = target("db.internal", "bound", settings(SslMode::VerifyFull, Some(place)));
    let mut session = Session::connect(&target, &Loopback, watchdog(), &never()).unwrap();
    let rows = session.query("SELECT repeat('x', 300000) FROM generate_series(1, 10)", watchdog(), &never()).unwrap();
    assert!(rows.len() == 10 && rows.first().unwrap().len() == 300_000);
    let error = session.query("SELECT pg_sleep(600)", Deadline::after(SHORT), &never()).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    session.cancel_query(watchdog(), &never()).unwrap();
    assert_eq!(ask(&mut session, "SELECT 1").unwrap().as_deref(), Some("1"));
    watcher.add(SERVICE, SERVER, session, Duration::from_millis(20));
    answer(&news);
    answer(&news);
    signal(&[server.postmaster()], "STOP");
    signal(&server.processes(), "KILL");
    assert_eq!(close(&news).cause, CloseCause::DeathHint);
}

#[test]
fn expired_certificates_and_servers_without_tls_are_refused_where_that_is_demanded() {
    let (good, expired) = (folder(), folder());
    authority(good.path(), &["db.internal"]);
    authority_for(expired.path(), &["db.internal", "watcher"], -1);
    for place in [&good, &expired] {
        fs::set_permissions(place.path().join("db.internal.key"), fs::Permissions::from_mode(0o600)).unwrap();
        give_away(place.path());
    }
    let start = |place: &Path| {
        Server::start(&format!(
            "ssl = on\nssl_cert_file = '{0}/db.internal.crt'\nssl_key_file = '{0}/db.internal.key'\nssl_ca_file = '{1}/ca.crt'",
            place.display(),
            expired.path().display()
        ))
    };
    let settings = |mode, roots: Option<&Path>| TlsSettings {
        mode,
        root_certificates: roots.map(|folder| folder.join("ca.crt")),
        ..TlsSettings::default()
    };
    let connect = |server: &Server, settings| {
        let endpoint = Endpoint::new("db.internal", server.port);
        let target = Target { endpoint, tls: Tls::new(settings), ..server.target("postgres") };
        Session::connect(&target, &Loopback, watchdog(), &never())
    };
    let tls = Verdict::Impaired(Impairment::Tls);

    let server = start(expired.path());
    for mode in [SslMode::VerifyFull, SslMode::VerifyCa, SslMode::Require] {
        let error = connect(&server, settings(mode, Some(expired.path()))).unwrap_err();
        assert!(error.verdict() == tls && error.to_string().contains("expired"), "{mode:?}: {error}");
    }
    // As in libpq nothing is verified without a root certificate; the survey still sees that it has expired.
    let mut session = connect(&server, settings(SslMode::Require, None)).unwrap();
    assert_eq!(ask(&mut session, "SELECT 1").unwrap().as_deref(), Some("1"));
    assert!(session.certificate_left().is_some_and(|left| left < -80_000), "{:?}", session.certificate_left());

    // A client certificate that has expired is refused by the server.
    let server = start(good.path());
    server.sql("CREATE ROLE watcher LOGIN");
    server.rules("hostssl all watcher all cert\nhostssl all postgres all trust");
    let ours = TlsSettings {
        client_certificate: Some(expired.path().join("watcher.crt")),
        client_key: Some(expired.path().join("watcher.key")),
        ..settings(SslMode::VerifyFull, Some(good.path()))
    };
    assert!(Tls::new(ours.clone()).client_certificate_left().is_some_and(|left| left < 0));
    eventually("the rules are in force", || {
        let endpoint = Endpoint::new("db.internal", server.port);
        let target = Target { endpoint, tls: Tls::new(ours.clone()), ..server.target("watcher") };
        let outcome = Session::connect(&target, &Loopback, watchdog(), &never());
        outcome.err().filter(|error| error.verdict() == tls)
    });
    let session = connect(&server, settings(SslMode::VerifyFull, Some(good.path()))).unwrap();
    assert!(session.certificate_left().is_some_and(|left| (80_000..=172_800).contains(&left)));

    // A downgrade: whoever answers says that there is no TLS.
    let plain = Server::start("");
    for mode in [SslMode::VerifyFull, SslMode::VerifyCa, SslMode::Require] {
        let error = connect(&plain, settings(mode, Some(good.path()))).unwrap_err();
        assert!(error.verdict() == tls && error.to_string().contains("no TLS"), "{mode:?}: {error}");
    }
    assert_eq!(connect(&plain, settings(SslMode::Prefer, None)).unwrap().certificate_left(), None);
}

// Peers that misbehave

/// A peer that takes one connection and does what it is told with it.
fn peer(behave: impl FnOnce(&mut TcpStream) + Send + 'static) -> (Target, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target {
        endpoint: Endpoint::new("127.0.0.1", listener.local_addr().unwrap().port()),
        user: "x".into(),
        password: Some(Secret::new("x")),
        database: "x".into(),
        tls: Tls::disabled(),
        application_name: "libfailover/tests".into(),
        keys: KeptKeys::default(),
        settings: SessionSettings::default(),
    };
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 512]);
        behave(&mut stream);
        // Whatever is still sent is read, so that the end is an end and not a reset, which may overtake what was said.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    (target, thread)
}

/// One message of a server.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn welcome() -> Vec<u8> {
    [message(b'R', &[0; 4]), message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]), message(b'Z', b"I")].concat()
}

/// What a session says when its peer sends these bytes, before it is made or, after a welcome, in answer to a query.
fn said_to(bytes: Vec<u8>) -> Error {
    let (target, thread) = peer(move |stream| drop(stream.write_all(&bytes)));
    let outcome = connect(&target).and_then(|mut session| ask(&mut session, "SELECT 1"));
    let error = outcome.expect_err("no server answers like this");
    thread.join().unwrap();
    error
}

#[test]
fn strange_answers_are_named_and_never_kept() {
    let wrong = &Verdict::Down(DownCause::WrongAnswer);
    let reset = &Verdict::Down(DownCause::Reset);
    let impaired = &Verdict::Impaired(Impairment::Authentication);
    let after = |parts: &[Vec<u8>]| [&[welcome()], parts].concat().concat();
    let column = message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    let row = message(b'D', b"\0\x01\0\0\0\x011");
    let large_row = message(b'D', &[b"\0\x01\0\x08\0\0".to_vec(), vec![b'x'; 1 << 19]].concat());
    let notice = message(b'N', b"SNOTICE\0\0");
    let sasl = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let table: Vec<(&str, Vec<u8>, &Verdict)> = vec![
        ("nothing", vec![], reset),
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), wrong),
        ("an ssh banner", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), wrong),
        ("zeros", vec![0; 100_000], wrong),
        ("half a header", b"R\0\0".to_vec(), reset),
        ("half a message", b"R\0\0\0\x08\0\0".to_vec(), reset),
        ("a length below four", b"R\0\0\0\x03\0\0".to_vec(), wrong),
        ("an enormous length", b"R\xff\xff\xff\xff".to_vec(), wrong),
        ("a megabyte before anything is known", message(b'N', &vec![b'x'; 1 << 20]), wrong),
        ("an unknown way to authenticate", message(b'R', &[0, 0, 0, 99]), wrong),
        ("Kerberos", message(b'R', &[0, 0, 0, 7]), impaired),
        ("no way that we know", message(b'R', b"\0\0\0\x0aSCRAM-MD4\0\0"), impaired),
        ("ways without an end", message(b'R', b"\0\0\0\x0aSCRAM-SHA-256"), wrong),
        ("SASL out of turn", message(b'R', b"\0\0\0\x0bx"), wrong),
        ("SASL with a foreign nonce", [sasl.clone(), message(b'R', b"\0\0\0\x0br=x,s=YQ==,i=1")].concat(), impaired),
        ("SASL without a proof", [sasl, message(b'R', &[0; 4])].concat(), impaired),
        ("ready without a word", message(b'Z', b"I"), wrong),
        ("an error without fields", message(b'E', b"\0"), &Verdict::Unknown(UnknownCause::Unclassified)),
        ("an error that is cut off", message(b'E', b"SFATAL\0C57P03"), wrong),
        ("endless notices at the start", notice.repeat(30_000), wrong),
        ("endless parameters", message(b'S', b"name\0value\0").repeat(30_000), wrong),
        ("silence after the welcome", after(&[]), reset),
        ("an answer that ends half-way", after(&[column[..20].to_vec()]), reset),
        ("rows without end", after(&[column.clone(), row.repeat(30_000)]), wrong),
        ("megabytes of rows", after(&[column.clone(), large_row.repeat(12)]), wrong),
        ("a row that overruns its message", after(&[column.clone(), message(b'D', b"\0\x01\0\0\xff\xff1")]), wrong),
        ("columns that overrun their message", after(&[message(b'T', b"\xff\xffa\0")]), wrong),
        ("a message that nobody knows", after(&[column, message(b'X', b"")]), wrong),
        ("authentication in the middle", after(&[message(b'R', &[0; 4])]), wrong),
        ("the end of a copy", after(&[message(b'c', b"")]), wrong),
        (
            "last words",
            after(&[message(b'N', b"SWARNING\0VWARNING\0C57P01\0Mbye\0Rquickdie\0\0")]),
            &Verdict::Impaired(Impairment::Stopping),
        ),
    ];
    for (what, bytes, verdict) in table {
        let error = said_to(bytes);
        assert_eq!(&error.verdict(), verdict, "{what}: {error}");
        let text = error.to_string();
        assert!(text.len() < 500 && !text.contains('\n'), "{what}: {text}");
    }
}

#[test]
fn a_dripping_peer_cannot_stretch_the_deadline_of_any_stage() {
    let demanded = Tls::new(TlsSettings { mode: SslMode::Require, ..TlsSettings::default() });
    // What comes at once, and what drips afterwards, again and again.
    let stages = [
        (vec![], message(b'N', b"SNOTICE\0\0"), Tls::disabled()),
        (welcome(), message(b'N', b"SNOTICE\0\0"), Tls::disabled()),
        (b"S".to_vec(), [b"\x16\x03\x03\x40\0\x02\0\x3f\xfc".to_vec(), vec![0; 16_000]].concat(), demanded),
    ];
    for (start, drip, tls) in stages {
        let (target, thread) = peer(move |stream| {
            let _ = stream.write_all(&start);
            for byte in drip.iter().cycle() {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let target = Target { tls, ..target };
        let deadline = Deadline::after(SHORT);
        let error = Session::connect(&target, &Literals, deadline, &never())
            .and_then(|mut session| session.query("SELECT 1", deadline, &never()))
            .unwrap_err();
        assert!(error.is_timeout() && error.verdict() == Verdict::Down(DownCause::AnswerTimedOut), "{error}");
        thread.join().unwrap();
    }
}

#[test]
fn an_answer_to_the_request_for_tls_that_is_none_is_named() {
    for (bytes, verdict) in [
        (&b""[..], Verdict::Down(DownCause::Reset)),
        (b"X", Verdict::Down(DownCause::WrongAnswer)),
        (b"S", Verdict::Down(DownCause::Reset)),
        (b"Ecould not fork new process for connection: no\n\0", Verdict::Impaired(Impairment::Saturated)),
        (b"Sgarbage that is not TLS", Verdict::Impaired(Impairment::Tls)),
    ] {
        let (target, thread) = peer(move |stream| drop(stream.write_all(bytes)));
        let target = Target { tls: Tls::new(TlsSettings { mode: SslMode::Require, ..TlsSettings::default() }), ..target };
        assert_eq!(verdict_of(&target), verdict, "{}", String::from_utf8_lossy(bytes));
        thread.join().unwrap();
    }
}

#[test]
fn a_watched_session_that_speaks_nonsense_is_closed_by_us_and_the_others_go_on() {
    let server = Server::start("");
    let (watcher, news) = watch();
    for (bytes, cause) in [
        (message(b'?', b""), CloseCause::Ours),
        (message(b'N', b"SNOTICE\0\0").repeat(30_000), CloseCause::Ours),
        (b"Z\0\0".to_vec(), CloseCause::DeathHint),
        (message(b'E', b"SFATAL\0VFATAL\0C57P05\0Midle\0RProcessInterrupts\0\0"), CloseCause::Unclassified),
    ] {
        let (target, thread) = peer(move |stream| {
            stream.write_all(&welcome()).unwrap();
            let _ = stream.read(&mut [0; 8]);
            let _ = stream.write_all(&bytes);
        });
        watcher.add(SERVICE, SERVER, connect(&target).unwrap(), Duration::from_millis(20));
        let close = close(&news);
        assert_eq!(close.cause, cause, "{close:?}");
        thread.join().unwrap();
    }
    for id in [SERVER, ServerId(2)] {
        watcher.add(SERVICE, id, server.session("postgres"), Duration::from_millis(20));
    }
    let mut heard = BTreeSet::new();
    while heard.len() < 2 {
        match news.recv_timeout(WATCHDOG).unwrap() {
            Input::SessionAnswered { server, .. } => heard.insert(server),
            other => panic!("{other:?}"),
        };
    }
    watcher.set_pace(SERVICE, SERVER, Duration::from_millis(10));
    watcher.stop();
    watcher.stop();
}
