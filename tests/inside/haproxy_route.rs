//! The managed route against real HAProxy processes, and against a fake one for answers no real one gives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::action::route::{HaproxyTarget, Route, ServerSeen};
use crate::deadline::{Cancel, Deadline};
use crate::wire::haproxy::{AdminState, Client, Command, Endpoint, Error};
use crate::wire::resolve::Literals;
use failover_core::output::FailureKind;
use failover_core::route::findings;
use failover_core::sample::{ReadinessFinding, RouteInstance};

/// Longer than anything here takes: it ends a hung test.
const WATCHDOG: Duration = Duration::from_secs(30);

pub(super) fn deadline() -> Deadline {
    Deadline::after(WATCHDOG)
}

pub(super) fn cancel() -> Cancel {
    Cancel::new().unwrap()
}

/// Asks until the answer is yes.
pub(super) fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = deadline();
    while !is() {
        assert!(!until.is_over(), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server that greets with its name and then says back what it hears.
pub(super) struct Backend {
    pub(super) port: u16,
}

impl Backend {
    pub(super) fn start(name: &'static str) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let _ = client.write_all(format!("{name}\n").as_bytes());
                    let _ = std::io::copy(&mut client.try_clone().unwrap(), &mut client);
                });
            }
        });
        Backend { port }
    }
}

/// A client through the HAProxy, with its session open.
struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    /// Who answered, or nothing where HAProxy has no server to give.
    fn open(port: u16) -> (Session, String) {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        let mut session = Session { stream: BufReader::new(stream) };
        let mut name = String::new();
        let _ = session.stream.read_line(&mut name);
        (session, name.trim().to_owned())
    }

    fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the session was not ended"),
        }
    }

    fn is_alive(&mut self) -> bool {
        let mut line = String::new();
        self.stream.get_mut().write_all(b"ping\n").is_ok() && self.stream.read_line(&mut line).is_ok() && line == "ping\n"
    }
}

fn as_nobody(program: &str) -> Process {
    if !rustix::process::geteuid().is_root() {
        return Process::new(program);
    }
    let mut process = Process::new("setpriv");
    process.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", program]);
    process
}

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder that the unprivileged user may write to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

pub(super) struct Haproxy {
    folder: tempfile::TempDir,
    process: Option<Child>,
    pub(super) front: u16,
    admin: u16,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Haproxy {
    /// `servers` are the lines of the backend `pg`, without the word `server`.
    pub(super) fn start(servers: &[String]) -> Haproxy {
        Haproxy::start_with(|haproxy| haproxy.config(servers))
    }

    /// With a configuration that depends on its folder and ports.
    pub(super) fn start_with(config: impl Fn(&Haproxy) -> String) -> Haproxy {
        let folder = folder();
        let mut haproxy = Haproxy { folder, process: None, front: 0, admin: 0 };
        // A port that was free a moment ago may be taken by now.
        for _ in 0..5 {
            haproxy.front = free_port();
            haproxy.admin = free_port();
            std::fs::write(haproxy.path("haproxy.cfg"), config(&haproxy)).unwrap();
            haproxy.launch();
            if haproxy.wait_until_up() {
                return haproxy;
            }
        }
        panic!("haproxy did not start");
    }

    pub(super) fn config(&self, servers: &[String]) -> String {
        let folder = self.folder.path().display();
        let servers = servers.join("\n  server ");
        format!(
            "global\n  maxconn 100\n  stats socket {folder}/admin.sock mode 666 level admin\n  \
             stats socket {folder}/operator.sock mode 666 level operator\n  \
             stats socket ipv4@127.0.0.1:{} level admin\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             frontend pg\n  bind 127.0.0.1:{}\n  default_backend pg\n\
             backend pg\n  server {servers}\n",
            self.admin, self.front
        )
    }

    pub(super) fn launch(&mut self) {
        let mut process = as_nobody("haproxy");
        process.arg("-db").arg("-q").arg("-f").arg(self.path("haproxy.cfg")).stdin(Stdio::null()).stderr(Stdio::null());
        self.process = Some(process.spawn().expect("haproxy is installed"));
    }

    pub(super) fn wait_until_up(&mut self) -> bool {
        let until = deadline();
        while UnixStream::connect(self.path("admin.sock")).is_err() {
            if until.is_over() || self.process.as_mut().is_none_or(|process| process.try_wait().unwrap().is_some()) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// A new process, as after a reload: every state set before is forgotten.
    pub(super) fn restart(&mut self) {
        self.kill();
        self.launch();
        assert!(self.wait_until_up());
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.process.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
        // It may go on for a moment on the other processor.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        while signal == rustix::process::Signal::STOP && !state().rsplit_once(") ").unwrap().1.starts_with('T') {
            std::thread::yield_now();
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn unix(&self, name: &str) -> HaproxyTarget {
        target(name, Endpoint::Unix(self.path("admin.sock")))
    }

    fn operator(&self, name: &str) -> HaproxyTarget {
        target(name, Endpoint::Unix(self.path("operator.sock")))
    }

    fn tcp(&self, name: &str) -> HaproxyTarget {
        target(name, Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: self.admin })
    }

    /// Sends commands of the test's own.
    fn tell(&self, commands: &[Command<'_>]) {
        let endpoint = Endpoint::Unix(self.path("admin.sock"));
        Client { endpoint: &endpoint, addresses: &Literals, deadline: deadline(), cancel: &cancel() }.run(commands).unwrap();
    }

    fn seen(&self) -> BTreeMap<String, ServerSeen> {
        let mut seen = route(vec![self.unix("seen")]).look(deadline(), &cancel());
        seen.remove(0).servers.unwrap().into_iter().map(|server| (server.server.clone(), server)).collect()
    }
}

fn target(name: &str, endpoint: Endpoint) -> HaproxyTarget {
    HaproxyTarget {
        name: name.to_owned(),
        endpoint,
        backend: "pg".to_owned(),
        servers: [("alpha", "db1"), ("beta", "db2")].map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())).into(),
        weight: None,
        ramped: false,
        places: BTreeMap::new(),
    }
}

pub(super) fn route(targets: Vec<HaproxyTarget>) -> Route {
    Route::new(targets, Arc::new(Literals))
}

/// Two servers: the primary takes the traffic, the standby is in maintenance.
fn pair(first: &Backend, second: &Backend) -> Vec<String> {
    vec![format!("db1 127.0.0.1:{}", first.port), format!("db2 127.0.0.1:{} disabled", second.port)]
}

fn ok(instances: &[RouteInstance]) -> Vec<bool> {
    instances.iter().map(|instance| instance.result.is_ok()).collect()
}

fn error_of(instance: &RouteInstance) -> &str {
    instance.result.as_ref().unwrap_err()
}

#[test]
fn a_failover_ends_old_sessions_and_moves_new_ones_on_every_instance() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (one, two) = (Haproxy::start(&pair(&alpha, &beta)), Haproxy::start(&pair(&alpha, &beta)));
    let route = route(vec![one.unix("one"), two.tcp("two")]);
    let mut sessions: Vec<Session> = [one.front, one.front, two.front]
        .into_iter()
        .map(|port| {
            let (session, name) = Session::open(port);
            assert_eq!(name, "alpha");
            session
        })
        .collect();

    let out = route.take_out("alpha", deadline(), &cancel()).unwrap();
    assert_eq!(ok(&out), [true, true], "{out:?}");
    sessions.iter_mut().for_each(Session::wait_for_end);
    for haproxy in [&one, &two] {
        let seen = haproxy.seen();
        assert_eq!((seen["alpha"].admin, seen["alpha"].sessions, seen["alpha"].up), (AdminState::Maint, 0, false));
        let (_, nobody) = Session::open(haproxy.front);
        assert_eq!(nobody, "", "no server takes traffic");
    }
    // Again: the work is found done.
    assert_eq!(ok(&route.take_out("alpha", deadline(), &cancel()).unwrap()), [true, true]);

    let moved = route.bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(ok(&moved), [true, true], "{moved:?}");
    for haproxy in [&one, &two] {
        let (mut session, name) = Session::open(haproxy.front);
        assert_eq!(name, "beta");
        // Again, with traffic: the sessions of the server that serves are left alone.
        assert_eq!(ok(&route.bring_in("beta", None, deadline(), &cancel()).unwrap()), [true, true]);
        assert!(session.is_alive());
    }
}

#[test]
fn bringing_in_takes_the_others_out_and_ends_their_sessions() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    let (mut old, name) = Session::open(haproxy.front);
    assert_eq!(name, "alpha");
    route(vec![haproxy.unix("one")]).bring_in("beta", None, deadline(), &cancel()).unwrap();
    old.wait_for_end();
    let seen = haproxy.seen();
    assert_eq!((seen["alpha"].admin, seen["beta"].admin), (AdminState::Maint, AdminState::Ready));
    assert_eq!(Session::open(haproxy.front).1, "beta");
}

#[test]
fn restoring_gives_back_state_and_weight_as_they_were() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    let route = route(vec![haproxy.unix("one")]);
    let server = "db1";
    for (state, weight) in [(AdminState::Ready, 7), (AdminState::Drain, 1), (AdminState::Maint, 250)] {
        haproxy.tell(&[
            Command::SetWeight { backend: "pg", server, weight },
            Command::SetState { backend: "pg", server, state: AdminState::Ready },
            Command::SetState { backend: "pg", server, state },
        ]);
        // Twice: the second time must not take its own work for what was before.
        for _ in 0..2 {
            route.take_out("alpha", deadline(), &cancel()).unwrap();
            assert_eq!(haproxy.seen()["alpha"].admin, AdminState::Maint);
        }
        haproxy.tell(&[Command::SetWeight { backend: "pg", server, weight: 3 }]);
        for _ in 0..2 {
            route.restore("alpha", deadline(), &cancel()).unwrap();
            let seen = haproxy.seen();
            assert_eq!((seen["alpha"].admin, seen["alpha"].weight), (state, weight));
        }
    }
}

#[test]
fn a_server_that_was_never_taken_out_is_made_ready() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    let restored = route(vec![haproxy.unix("one")]).restore("beta", deadline(), &cancel()).unwrap();
    assert!(restored[0].result.as_ref().unwrap().contains("nothing remembered"));
    assert_eq!(haproxy.seen()["beta"].admin, AdminState::Ready);
}

#[test]
fn a_server_with_weight_zero_gets_a_weight_that_takes_traffic() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    haproxy.tell(&[Command::SetWeight { backend: "pg", server: "db2", weight: 0 }]);
    // Configured as 0 is as good as not configured: it would be ready and take nothing.
    let none = HaproxyTarget { weight: Some(0), ..haproxy.tcp("one") };
    route(vec![none]).bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(haproxy.seen()["beta"].weight, 1);
    haproxy.tell(&[Command::SetWeight { backend: "pg", server: "db2", weight: 0 }]);
    route(vec![haproxy.unix("one")]).bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(haproxy.seen()["beta"].weight, 1);
    let heavy = HaproxyTarget { weight: Some(77), ..haproxy.tcp("one") };
    route(vec![heavy]).bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(haproxy.seen()["beta"].weight, 77);
    assert_eq!(Session::open(haproxy.front).1, "beta");
}

#[test]
fn a_balance_that_takes_no_weights_gets_the_traffic_all_the_same() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let servers: Vec<String> = pair(&alpha, &beta).into_iter().map(|line| format!("{line} weight 40")).collect();
    let fixed = |haproxy: &Haproxy| haproxy.config(&servers).replace("backend pg\n", "backend pg\n  balance static-rr\n");
    let (still, other) = (Haproxy::start_with(fixed), Haproxy::start(&servers));
    let heavy = |target| HaproxyTarget { weight: Some(77), ..target };
    let both = route(vec![heavy(still.unix("still")), heavy(other.unix("other"))]);
    let weights = || (still.seen()["beta"].weight, other.seen()["beta"].weight);
    let said = |instances: &[RouteInstance]| instances[0].result.clone().unwrap();
    // With a part of its weight at first, then with all of it: what the one refuses is no reason to leave the traffic where it was.
    for (share, weight) in [(Some(10), 7), (None, 77)] {
        let moved = both.bring_in("beta", share, deadline(), &cancel()).unwrap();
        assert!(said(&moved).contains("weight 40, which its balance does not let change"), "{moved:?}");
        assert_eq!((ok(&moved), weights()), (vec![true, true], (40, weight)));
        assert_eq!((Session::open(still.front).1, Session::open(other.front).1), ("beta".into(), "beta".into()));
    }
    let grown = both.weigh("beta", 50, deadline(), &cancel()).unwrap();
    assert_eq!((ok(&grown), weights()), (vec![true, true], (40, 38)));
    assert!(said(&grown).contains("does not let change"), "{grown:?}");
    // It was out of the way by its weight, which may be all or nothing: it gets all of it.
    still.tell(&[Command::SetWeight { backend: "pg", server: "db2", weight: 0 }]);
    both.bring_in("beta", Some(10), deadline(), &cancel()).unwrap();
    assert_eq!(weights(), (40, 7));
    both.roll_back("alpha", deadline(), &cancel()).unwrap();
    assert_eq!((Session::open(still.front).1, Session::open(other.front).1), ("alpha".into(), "alpha".into()));
}

#[test]
fn what_no_instance_will_ever_do_is_refused_for_good() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    let elsewhere = HaproxyTarget { backend: "nothing".to_owned(), ..haproxy.unix("elsewhere") };
    for target in [haproxy.operator("operator"), elsewhere.clone()] {
        let failure = route(vec![target]).take_out("alpha", deadline(), &cancel()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{}", failure.message);
    }
    let silent = target("silent", Endpoint::Unix(haproxy.path("nobody.sock")));
    let failure = route(vec![silent, elsewhere]).take_out("alpha", deadline(), &cancel()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect, "the one may answer again: {}", failure.message);
}

#[test]
fn a_share_is_one_of_the_full_weight_and_not_of_the_present_one() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let servers: Vec<String> = pair(&alpha, &beta).into_iter().map(|line| format!("{line} weight 40")).collect();
    let haproxy = Haproxy::start(&servers);
    let plain = route(vec![haproxy.unix("one")]);
    plain.bring_in("beta", Some(10), deadline(), &cancel()).unwrap();
    assert_eq!((haproxy.seen()["beta"].weight, haproxy.seen()["alpha"].admin), (4, AdminState::Maint));
    for (share, weight) in [(50, 20), (50, 20), (10, 4), (100, 40), (1, 1)] {
        assert_eq!(ok(&plain.weigh("beta", share, deadline(), &cancel()).unwrap()), [true]);
        assert_eq!(haproxy.seen()["beta"].weight, weight);
    }
    let heavy = route(vec![HaproxyTarget { weight: Some(200), ..haproxy.tcp("one") }]);
    heavy.weigh("beta", 20, deadline(), &cancel()).unwrap();
    assert_eq!(haproxy.seen()["beta"].weight, 40);
    assert!(plain.weigh("gamma", 20, deadline(), &cancel()).is_err());
}

#[test]
fn a_server_that_starts_slowly_serves() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let servers: Vec<String> =
        pair(&alpha, &beta).into_iter().map(|line| format!("{line} weight 40 check inter 20ms slowstart 600s")).collect();
    let haproxy = Haproxy::start(&servers);
    let route = route(vec![haproxy.unix("one")]);
    route.bring_in("beta", None, deadline(), &cancel()).unwrap();
    route.bring_in("alpha", None, deadline(), &cancel()).unwrap();
    let said = route.bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(ok(&said), [true]);
    assert_eq!(Session::open(haproxy.front).1, "beta");
}

#[test]
fn a_server_that_haproxys_own_check_holds_down_is_set_up() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let closed = free_port();
    let haproxy = Haproxy::start(&[
        format!("db1 127.0.0.1:{}", alpha.port),
        format!("db2 127.0.0.1:{} check port {closed} inter 500ms fall 1 rise 1000", beta.port),
    ]);
    eventually("HAProxy's check fails", || haproxy.seen()["beta"].status.starts_with("DOWN"));
    let moved = route(vec![haproxy.unix("one")]).bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert!(moved[0].result.as_ref().unwrap().contains("against HAProxy's own check"), "{moved:?}");
}

#[test]
fn a_socket_without_level_admin_is_named_before_and_at_the_failover() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    let both = route(vec![haproxy.operator("poor"), haproxy.unix("rich")]);

    let surveyed = both.survey(deadline(), &cancel());
    assert_eq!(ok(&surveyed), [false, true], "{surveyed:?}");
    assert!(error_of(&surveyed[0]).contains("level admin"));
    assert!(surveyed[1].result.as_ref().unwrap().contains("alpha no check (ready)"), "{surveyed:?}");
    assert_eq!(haproxy.seen()["alpha"].admin, AdminState::Ready, "a survey changes nothing");

    let out = both.take_out("alpha", deadline(), &cancel()).unwrap();
    assert_eq!(ok(&out), [false, true]);
    assert!(error_of(&out[0]).contains("permission denied"));

    let poor = route(vec![haproxy.operator("poor")]);
    for failure in [
        poor.take_out("alpha", deadline(), &cancel()).unwrap_err(),
        poor.bring_in("alpha", None, deadline(), &cancel()).unwrap_err(),
        poor.restore("alpha", deadline(), &cancel()).unwrap_err(),
    ] {
        assert_eq!(failure.kind, FailureKind::Refused, "{failure:?}");
        assert!(failure.remedy.contains("level admin"), "{failure:?}");
    }
}

#[test]
fn an_instance_that_dies_costs_only_itself() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (one, mut two) = (Haproxy::start(&pair(&alpha, &beta)), Haproxy::start(&pair(&alpha, &beta)));
    let route = route(vec![one.unix("one"), two.unix("two")]);
    route.take_out("alpha", deadline(), &cancel()).unwrap();
    two.kill();
    let moved = route.bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(ok(&moved), [true, false]);
    assert!(error_of(&moved[1]).contains("no HAProxy listens"), "{moved:?}");
    assert_eq!(Session::open(one.front).1, "beta");

    std::fs::remove_file(two.path("admin.sock")).unwrap();
    let surveyed = route.survey(deadline(), &cancel());
    assert_eq!(ok(&surveyed), [true, false]);
    assert!(error_of(&surveyed[1]).contains("no such socket"), "{surveyed:?}");
}

#[test]
fn when_every_instance_is_gone_nothing_was_changed_and_it_says_so() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let mut haproxy = Haproxy::start(&pair(&alpha, &beta));
    let route = route(vec![haproxy.unix("unix"), haproxy.tcp("tcp")]);
    haproxy.kill();
    let failure = route.take_out("alpha", deadline(), &cancel()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
    assert!(failure.message.contains("unix: ") && failure.message.contains("tcp: "), "{failure:?}");
    assert!(failure.remedy.contains("start HAProxy"));
}

#[test]
fn an_instance_that_hangs_costs_only_itself() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (one, two) = (Haproxy::start(&pair(&alpha, &beta)), Haproxy::start(&pair(&alpha, &beta)));
    two.signal(rustix::process::Signal::STOP);
    let both = route(vec![two.tcp("hung"), one.unix("one")]);
    let out = both.take_out("alpha", Deadline::after(Duration::from_millis(300)), &cancel()).unwrap();
    assert_eq!(ok(&out), [false, true]);
    assert!(error_of(&out[0]).contains("deadline"), "{out:?}");

    // All of them: the effect is not known, for the command may be carried out when it wakes up.
    let failure =
        route(vec![two.unix("hung")]).take_out("alpha", Deadline::after(Duration::from_millis(200)), &cancel()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");

    let signal = cancel();
    let waiter = {
        let signal = signal.clone();
        let hung = route(vec![two.unix("hung")]);
        std::thread::spawn(move || hung.bring_in("beta", None, deadline(), &signal).unwrap_err())
    };
    signal.cancel();
    assert_eq!(waiter.join().unwrap().kind, FailureKind::Cancelled);

    two.signal(rustix::process::Signal::CONT);
    assert_eq!(ok(&both.take_out("alpha", deadline(), &cancel()).unwrap()), [true, true]);
}

#[test]
fn unknown_names_are_named_and_change_nothing() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    let mut no_server = haproxy.unix("one");
    no_server.servers.insert("alpha".to_owned(), "db9".to_owned());
    let no_backend = HaproxyTarget { backend: "nope".to_owned(), ..haproxy.unix("one") };
    let bad_name = HaproxyTarget { backend: "pg;quit".to_owned(), ..haproxy.unix("one") };
    let mut unmapped = haproxy.unix("one");
    unmapped.servers.remove("alpha");
    for (target, words) in
        [(no_server, "db9"), (no_backend, "Can't find backend"), (bad_name, "';'"), (unmapped, "no HAProxy server is configured")]
    {
        let route = route(vec![target]);
        for failure in [
            route.take_out("alpha", deadline(), &cancel()).unwrap_err(),
            route.bring_in("alpha", None, deadline(), &cancel()).unwrap_err(),
        ] {
            assert_eq!(failure.kind, FailureKind::Refused, "{failure:?}");
            assert!(failure.message.contains(words) || failure.message.contains("No such"), "{failure:?}");
            assert!(!failure.remedy.is_empty());
        }
    }
    assert_eq!(haproxy.seen()["alpha"].admin, AdminState::Ready);
}

#[test]
fn a_haproxy_that_forgot_everything_in_a_reload_is_noticed_and_told_again() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let mut haproxy = Haproxy::start(&pair(&alpha, &beta));
    let route = route(vec![haproxy.unix("one")]);
    route.bring_in("beta", None, deadline(), &cancel()).unwrap();
    haproxy.restart();
    let seen = route.look(deadline(), &cancel()).remove(0).servers.unwrap();
    assert!(seen.iter().any(|server| server.server == "alpha" && server.up), "{seen:?}");
    route.bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(Session::open(haproxy.front).1, "beta");
}

#[test]
fn a_socket_that_is_gone_for_the_moment_of_a_reload_is_tried_again() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    let socket = haproxy.path("admin.sock");
    let fake = Fake::start(move |nth, line, stream| {
        // Twice as HAProxy dies: once at once, once in the middle of the answer. Then the new one is there.
        match nth {
            0 => {}
            1 => drop(stream.write_all(b"1\n# be_id")),
            _ => {
                let mut real = UnixStream::connect(&socket).unwrap();
                real.write_all(line.as_bytes()).unwrap();
                std::io::copy(&mut real, stream).unwrap();
            }
        }
    });
    let out = route(vec![fake.target()]).take_out("alpha", deadline(), &cancel()).unwrap();
    assert_eq!(ok(&out), [true], "{out:?}");
}

#[test]
fn who_is_in_a_hurry_waits_for_no_second_try() {
    for (deadline, expected) in [(deadline(), 3), (Deadline::after(Duration::from_millis(200)), 1)] {
        let tries = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&tries);
        let fake = Fake::start(move |_, _, _| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        route(vec![fake.target()]).take_out("alpha", deadline, &cancel()).unwrap_err();
        assert_eq!(tries.load(std::sync::atomic::Ordering::Relaxed), expected);
    }
}

#[test]
fn a_route_without_instances_has_nothing_to_do() {
    let route = route(vec![]);
    assert_eq!(route.take_out("alpha", deadline(), &cancel()), Ok(vec![]));
    assert_eq!(route.bring_in("alpha", None, deadline(), &cancel()), Ok(vec![]));
    assert!(route.survey(deadline(), &cancel()).is_empty());
}

/// Something that listens on a UNIX socket and answers as the test says. The connection is closed after the answer.
struct Fake {
    folder: tempfile::TempDir,
    lines: Receiver<String>,
}

impl Fake {
    fn start(mut answer: impl FnMut(usize, &str, &mut UnixStream) + Send + 'static) -> Fake {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("fake.sock")).unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for (nth, mut stream) in listener.incoming().flatten().enumerate() {
                let mut line = String::new();
                if BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).is_ok() {
                    let _ = sender.send(line.clone());
                    answer(nth, &line, &mut stream);
                }
            }
        });
        Fake { folder, lines }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.folder.path().join("fake.sock"))
    }

    fn target(&self) -> HaproxyTarget {
        target("fake", self.endpoint())
    }

    fn ask(&self, commands: &[Command<'_>], deadline: Deadline) -> Result<Vec<String>, Error> {
        let endpoint = self.endpoint();
        Client { endpoint: &endpoint, addresses: &Literals, deadline, cancel: &cancel() }.run(commands)
    }
}

#[test]
fn a_haproxy_with_columns_in_another_order_that_drips_its_answers_is_understood() {
    let mut maint = false;
    let fake = Fake::start(move |_, line, stream| {
        let mut answer = String::new();
        for command in line.trim().split(';') {
            match command {
                "show servers state pg" => {
                    let admin = u8::from(maint);
                    answer.push_str("1\n# srv_new srv_iweight srv_uweight srv_admin_state srv_op_state srv_name be_name\n");
                    let _ = write!(answer, "- 1 9 {admin} 2 db1 pg\n- 1 1 1 0 db2 pg\n\n");
                }
                "show stat pg 4 -1" => {
                    let status = if maint { "MAINT" } else { "UP" };
                    answer.push_str("# scur,new,status,svname,pxname\n");
                    let _ = write!(answer, "0,\"a, \"\"b\"\"\",{status},db1,pg\n0,,MAINT,db2,pg\n\n");
                }
                "set server pg/db1 state maint" => {
                    maint = true;
                    answer.push('\n');
                }
                "shutdown sessions server pg/db1" => answer.push('\n'),
                other => panic!("{other}"),
            }
        }
        for byte in answer.as_bytes() {
            let _ = stream.write_all(&[*byte]);
        }
    });
    let out = route(vec![fake.target()]).take_out("alpha", deadline(), &cancel()).unwrap();
    assert_eq!(ok(&out), [true], "{out:?}");
    assert_eq!(
        fake.lines.recv().unwrap(),
        "show servers state pg;set server pg/db1 state maint;shutdown sessions server pg/db1;show stat pg 4 -1\n"
    );
}

#[test]
fn answers_no_haproxy_gives_are_errors_with_a_name() {
    let state = "1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\npg db1 2 0 1 1\n\n";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a banner", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), "closed in the middle"),
        ("a web page", b"HTTP/1.0 400 Bad Request\n\n<html>\n\n<p>\n\nx\n\ny\n\n".to_vec(), "more than one reply"),
        ("binary", vec![0, 255, 10, 10, 7, 10, 10, 10, 10], "without the header"),
        ("nothing", Vec::new(), "closed without an answer"),
        ("half an answer", state.as_bytes()[..40].to_vec(), "closed in the middle"),
        ("one reply of four", state.as_bytes().to_vec(), "1 of 4 commands"),
        ("an unknown command", format!("{state}Unknown command.\n\n\n\n").into_bytes(), "Unknown command."),
        ("no table at last", format!("{state}\n\nno table\n\n").into_bytes(), "without the header"),
    ];
    for (name, bytes, words) in cases {
        let answer = bytes.clone();
        let fake = Fake::start(move |_, _, stream| drop(stream.write_all(&answer)));
        let failure = route(vec![fake.target()]).take_out("alpha", deadline(), &cancel()).unwrap_err();
        assert!(failure.message.contains(words), "{name}: {failure:?}");
        assert!(!failure.message.chars().any(char::is_control), "{name}: {failure:?}");
    }
}

#[test]
fn an_endless_answer_is_cut_off() {
    let fake = Fake::start(|_, _, stream| while stream.write_all(&[b'x'; 8192]).is_ok() {});
    assert!(matches!(fake.ask(&[Command::ShowLevel], deadline()), Err(Error::TooLong { .. })));
}

#[test]
fn a_dripping_answer_ends_at_the_deadline() {
    let fake = Fake::start(|_, _, stream| {
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let answer = fake.ask(&[Command::ShowLevel], Deadline::after(Duration::from_millis(200)));
    assert!(matches!(answer, Err(Error::TimedOut { during: "the answer", .. })), "{answer:?}");
}

#[test]
fn a_server_that_never_reaches_the_state_is_not_proven() {
    // It accepts everything and does nothing: the state read back stays what it was.
    let fake = Fake::start(|_, line, stream| {
        let mut answer = String::new();
        for command in line.trim().split(';') {
            answer.push_str(match command {
                "show servers state pg" => {
                    "1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\npg db1 2 0 1 1\npg db2 0 1 1 1\n\n"
                }
                "show stat pg 4 -1" => "# pxname,svname,scur,status\npg,db1,4,UP\npg,db2,0,MAINT\n\n",
                _ => "\n",
            });
        }
        drop(stream.write_all(answer.as_bytes()));
    });
    let route = route(vec![fake.target()]);
    let failure = route.take_out("alpha", Deadline::after(Duration::from_millis(200)), &cancel()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.message.contains("read back as pg/db1 UP, 4 sessions"), "{failure:?}");
    let failure = route.bring_in("beta", None, Deadline::after(Duration::from_millis(200)), &cancel()).unwrap_err();
    assert!(failure.message.contains("read back as pg/db2 MAINT"), "{failure:?}");
}

/// A HAProxy that does what it is told, but for what the test says; and every line that it was sent.
fn obedient(maint_stays_up: bool, ready_stays_maint: bool) -> Fake {
    let mut maint = [false, true];
    let mut weights = [1, 1];
    Fake::start(move |_, line, stream| {
        let mut answer = String::new();
        for command in line.trim().split(';') {
            let words: Vec<&str> = command.split(' ').collect();
            let at = |name: &str| usize::from(name == "pg/db2");
            match words.as_slice() {
                ["show", "servers", "state", ..] => {
                    answer.push_str("1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\n");
                    for (place, name) in ["db1", "db2"].iter().enumerate() {
                        // Told to be ready it may stay in maintenance, and say all the same that it is up.
                        let admin = u8::from(maint[place] || ready_stays_maint && place == 1);
                        let _ = writeln!(answer, "pg {name} 2 {admin} {} 1", weights[place]);
                    }
                    answer.push('\n');
                }
                ["show", "stat", ..] => {
                    answer.push_str("# pxname,svname,scur,status\n");
                    for (place, name) in ["db1", "db2"].iter().enumerate() {
                        let status = if maint[place] && !(maint_stays_up && place == 0) { "MAINT" } else { "UP" };
                        let _ = writeln!(answer, "pg,{name},0,{status}");
                    }
                    answer.push('\n');
                }
                ["set", "server", name, "state", state] => {
                    maint[at(name)] = *state == "maint";
                    answer.push('\n');
                }
                ["set", "server" | "weight", name, rest @ ..] => {
                    if let Some(weight) = rest.last().and_then(|word| word.parse().ok()) {
                        weights[at(name)] = weight;
                    }
                    answer.push('\n');
                }
                _ => answer.push('\n'),
            }
        }
        drop(stream.write_all(answer.as_bytes()));
    })
}

/// The lines that change something.
fn orders(fake: &Fake) -> Vec<String> {
    let lines: Vec<String> = fake.lines.try_iter().collect();
    let words = lines.iter().flat_map(|line| line.trim().split(';'));
    words.filter(|command| command.starts_with("set") || command.starts_with("shutdown")).map(str::to_owned).collect()
}

#[test]
fn the_others_are_told_to_go_before_the_new_one_is_told_to_serve() {
    let fake = obedient(false, false);
    let done = route(vec![fake.target()]).bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(ok(&done), [true], "{done:?}");
    let expected = ["set server pg/db1 state maint", "shutdown sessions server pg/db1", "set server pg/db2 state ready"];
    assert_eq!(orders(&fake)[..3], expected);
}

#[test]
fn a_new_one_is_in_only_where_it_is_ready_and_the_others_are_out() {
    for (fake, words) in [(obedient(true, false), "db1 UP"), (obedient(false, true), "pg/db2")] {
        let route = route(vec![fake.target()]);
        let failure = route.bring_in("beta", None, Deadline::after(Duration::from_millis(200)), &cancel()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
    }
}

#[test]
fn a_server_is_out_only_where_it_is_read_back_as_out() {
    let fake = obedient(true, false);
    let failure =
        route(vec![fake.target()]).take_out("alpha", Deadline::after(Duration::from_millis(200)), &cancel()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");
    assert!(failure.message.contains("pg/db1 UP, 0 sessions"), "{failure:?}");
}

/// What a server was is of one failover; and what an earlier engine left half done is not what was before.
#[test]
fn what_was_before_belongs_to_one_failover_and_to_who_noted_it() {
    let fake = obedient(false, false);
    let route = route(vec![fake.target()]);
    route.begin(1);
    route.take_out("alpha", deadline(), &cancel()).unwrap();
    route.begin(1);
    assert!(route.restore("alpha", deadline(), &cancel()).unwrap()[0].result.as_ref().unwrap().ends_with("as before"));
    route.take_out("alpha", deadline(), &cancel()).unwrap();
    route.begin(2);
    assert!(route.restore("alpha", deadline(), &cancel()).unwrap()[0].result.as_ref().unwrap().ends_with("nothing remembered"));

    // An earlier engine noted one server only; this one finds the other half changed.
    let (noted, whole) = route.note(deadline(), &cancel());
    assert!(whole);
    let mut only_alpha = noted.clone();
    only_alpha.get_mut("fake").unwrap().remove("beta");
    let next = self::route(vec![fake.target()]);
    next.begin(3);
    next.recall(&only_alpha);
    next.bring_in("beta", None, deadline(), &cancel()).unwrap();
    drop(orders(&fake));
    next.roll_back("alpha", deadline(), &cancel()).unwrap();
    let back = orders(&fake);
    assert!(back.iter().all(|order| !order.contains("db2")), "{back:?}");
}

#[test]
fn a_file_that_is_no_socket_is_an_unreachable_instance() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let long = Path::new("/tmp").join("x".repeat(200));
    for path in [file, long, folder.path().to_owned()] {
        let failure = route(vec![target("one", Endpoint::Unix(path))]).take_out("alpha", deadline(), &cancel()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
    }
    let named = target("one", Endpoint::Tcp { host: "lb.example".to_owned(), port: 1 });
    let failure = route(vec![named]).take_out("alpha", deadline(), &cancel()).unwrap_err();
    assert!(failure.message.contains("lb.example"), "{failure:?}");
}

// ---- what the survey makes of it ---------------------------------------------------------------

/// The findings about the route, with `alpha` as the primary.
pub(super) fn found(route: &Route) -> Vec<ReadinessFinding> {
    findings(&route.view(deadline(), &cancel()), Some("alpha"), |_| true, true)
}

fn codes(route: &Route) -> Vec<String> {
    found(route).into_iter().map(|finding| finding.code.to_string()).collect()
}

#[test]
fn a_standby_that_takes_sessions_is_found_and_the_remedy_helps() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let both_up = vec![format!("db1 127.0.0.1:{}", alpha.port), format!("db2 127.0.0.1:{}", beta.port)];
    let (one, two) = (Haproxy::start(&both_up), Haproxy::start(&pair(&alpha, &beta)));
    let names: Vec<String> = (0..2).map(|_| Session::open(one.front).1).collect();
    assert!(names.contains(&"beta".to_owned()), "HAProxy gives every second session to the standby: {names:?}");

    let route = route(vec![one.unix("one"), two.unix("two")]);
    let seen = found(&route);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].code.as_str(), seen[0].blocking), ("route_to_standby", false));
    assert!(seen[0].message.contains("instance one: pg/db2"), "{seen:?}");

    let remedy = seen[0].remedy.split_once(": ").unwrap().1.split(';').next().unwrap();
    assert_eq!(remedy, "disable server pg/db2");
    let mut admin = UnixStream::connect(one.path("admin.sock")).unwrap();
    admin.write_all(format!("{remedy}\n").as_bytes()).unwrap();
    let mut reply = String::new();
    admin.read_to_string(&mut reply).unwrap();
    assert_eq!(reply.trim(), "");
    assert!(found(&route).is_empty(), "{:?}", found(&route));
    // And it does not stand in the way of a failover.
    route.bring_in("beta", None, deadline(), &cancel()).unwrap();
    assert_eq!(Session::open(one.front).1, "beta");
}

#[test]
fn a_primary_that_gets_no_sessions_is_found() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let mut servers = pair(&alpha, &beta);
    let haproxy = Haproxy::start(&servers);
    let only = route(vec![haproxy.unix("one")]);
    assert!(found(&only).is_empty());
    for state in [AdminState::Maint, AdminState::Drain] {
        haproxy.tell(&[Command::SetState { backend: "pg", server: "db1", state }]);
        assert_eq!(codes(&only), ["route_primary_out"]);
    }
    haproxy.tell(&[Command::SetState { backend: "pg", server: "db1", state: AdminState::Ready }]);
    haproxy.tell(&[Command::SetWeight { backend: "pg", server: "db1", weight: 0 }]);
    assert_eq!(codes(&only), ["route_primary_out"]);

    // Held down by HAProxy's own check, and the standby a backup that then serves.
    servers = vec![
        format!("db1 127.0.0.1:{} check port {} inter 20ms fall 1", alpha.port, free_port()),
        format!("db2 127.0.0.1:{} backup", beta.port),
    ];
    let haproxy = Haproxy::start(&servers);
    let only = route(vec![haproxy.unix("one")]);
    eventually("the backup serves", || codes(&only) == ["route_primary_out", "route_to_standby"]);
    assert_eq!(Session::open(haproxy.front).1, "beta");
}

#[test]
fn a_backend_or_server_that_haproxy_does_not_know_blocks() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let haproxy = Haproxy::start(&pair(&alpha, &beta));
    let no_backend = HaproxyTarget { backend: "nope".to_owned(), ..haproxy.unix("one") };
    let mut no_server = haproxy.unix("one");
    no_server.servers.insert("beta".to_owned(), "db9".to_owned());
    let gone = target("one", Endpoint::Unix(haproxy.path("gone.sock")));
    for (target, code) in [
        (no_backend, "route_backend_missing"),
        (no_server, "route_server_missing"),
        (haproxy.operator("one"), "route_not_ready"),
        (gone, "route_not_ready"),
    ] {
        let seen = found(&route(vec![target]));
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!((seen[0].code.as_str(), seen[0].blocking), (code, true));
        assert!(seen[0].message.contains("one") && !seen[0].remedy.is_empty(), "{seen:?}");
    }
}

/// HAProxy itself holds a server out, by what `set server .. state ready` does not end.
#[test]
fn a_server_that_haproxy_itself_holds_out_blocks() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let first = format!("db1 127.0.0.1:{}", alpha.port);
    let other = |words: &str| format!("backend other\n  server db2 127.0.0.1:{} {words}\n", beta.port);
    let tracking = |words: &str| format!("db2 127.0.0.1:{} track other/db2 {words}", beta.port);
    for (second, more, word) in [
        ("db2 db2.invalid:5432 init-addr none".to_owned(), String::new(), "no address"),
        ("db2 db2.invalid:5432 init-addr none disabled".to_owned(), String::new(), "no address"),
        (tracking(""), other("check disabled"), "other/db2"),
        (tracking("disabled"), other("check disabled"), "other/db2"),
    ] {
        let servers = [first.clone(), second];
        let haproxy = Haproxy::start_with(|haproxy| format!("{}{more}", haproxy.config(&servers)));
        let only = route(vec![haproxy.unix("one")]);
        let seen = found(&only);
        assert_eq!(codes(&only), ["route_server_held"], "{seen:?}");
        assert!(seen[0].blocking && seen[0].message.contains(word) && seen[0].message.contains("pg/db2"), "{seen:?}");
        assert!(
            !seen[0].remedy.contains("state ready") || seen[0].remedy.contains("set server other/db2 state ready"),
            "{seen:?}"
        );
        let failure = only.bring_in("beta", None, Deadline::after(Duration::from_millis(700)), &cancel()).unwrap_err();
        assert!(failure.message.contains(word) && !failure.remedy.is_empty(), "{failure:?}");
    }
    // A drain that is inherited, and a primary that is held: no failover is needed to see that, and none is hindered by it.
    let drained = [first.clone(), tracking("")];
    let haproxy = Haproxy::start_with(|haproxy| format!("{}{}", haproxy.config(&drained), other("check")));
    let only = route(vec![haproxy.unix("one")]);
    haproxy.tell(&[Command::SetState { backend: "other", server: "db2", state: AdminState::Drain }]);
    assert_eq!(codes(&only), ["route_server_held"], "{:?}", found(&only));
    let as_primary = findings(&only.view(deadline(), &cancel()), Some("beta"), |_| true, true);
    let of_primary = as_primary.iter().find(|finding| finding.code.as_str() == "route_primary_out").unwrap();
    assert!(of_primary.remedy.contains("set server other/db2 state ready"), "{as_primary:?}");
    haproxy.tell(&[Command::SetState { backend: "other", server: "db2", state: AdminState::Ready }]);
    assert_eq!(codes(&only), ["route_to_standby"]);
}

#[test]
fn a_weight_that_cannot_be_given_is_told_beforehand() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let with = |balance: &str, weight: u32| {
        let servers: Vec<String> = pair(&alpha, &beta).into_iter().map(|line| format!("{line} weight {weight}")).collect();
        Haproxy::start_with(|haproxy| {
            haproxy.config(&servers).replace("backend pg\n", &format!("backend pg\n  balance {balance}\n"))
        })
    };
    let heavy = |haproxy: &Haproxy| route(vec![HaproxyTarget { weight: Some(77), ..haproxy.unix("one") }]);
    for (balance, fixed) in [("static-rr", true), ("source", true), ("roundrobin", false), ("leastconn", false)] {
        let haproxy = with(balance, 40);
        let expected: &[&str] = if fixed { &["route_weight_fixed"; 2] } else { &[] };
        assert!(found(&route(vec![haproxy.unix("one")])).is_empty(), "{balance}: no other weight is wanted");
        let ramped = route(vec![HaproxyTarget { ramped: true, ..haproxy.unix("one") }]);
        for (route, word) in [(heavy(&haproxy), "given 77"), (ramped, "weight_ramp")] {
            let seen = found(&route);
            assert_eq!(codes(&route), expected, "{balance}: {seen:?}");
            assert!(seen.iter().all(|seen| !seen.blocking && seen.message.contains(word)), "{seen:?}");
        }
        heavy(&haproxy).bring_in("beta", None, deadline(), &cancel()).unwrap();
        assert_eq!(Session::open(haproxy.front).1, "beta", "the failover goes on");
    }
    // A hash that is consistent takes weights: what it has taken shows it.
    let consistent = with("source\n  hash-type consistent", 40);
    for server in ["db1", "db2"] {
        consistent.tell(&[Command::SetWeight { backend: "pg", server, weight: 7 }]);
    }
    assert!(found(&heavy(&consistent)).is_empty());

    let nothing = Haproxy::start_with(|haproxy| {
        let servers = [format!("db1 127.0.0.1:{}", alpha.port), format!("db2 127.0.0.1:{} weight 0 disabled", beta.port)];
        haproxy.config(&servers).replace("backend pg\n", "backend pg\n  balance source\n")
    });
    let only = route(vec![nothing.unix("one")]);
    let seen = found(&only);
    assert_eq!((seen.len(), seen[0].code.as_str(), seen[0].blocking), (1, "route_weight_fixed", true), "{seen:?}");
    let failure = only.bring_in("beta", None, Deadline::after(Duration::from_millis(700)), &cancel()).unwrap_err();
    assert!(failure.message.contains("weight 0") && failure.remedy.contains("at least 1"), "{failure:?}");
}

/// What one backend inherits from another of the same route is ended by the failover itself.
#[test]
fn a_server_that_follows_another_one_of_the_route_is_not_held() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let servers: Vec<String> = pair(&alpha, &beta).into_iter().map(|line| format!("{line} check")).collect();
    let tracking = format!(
        "backend read\n  server db1 127.0.0.1:{} track pg/db1\n  server db2 127.0.0.1:{} track pg/db2\n",
        alpha.port, beta.port
    );
    let haproxy = Haproxy::start_with(|haproxy| format!("{}{tracking}", haproxy.config(&servers)));
    let read = HaproxyTarget { backend: "read".to_owned(), ..haproxy.unix("read") };
    let both = route(vec![haproxy.unix("write"), read.clone()]);
    assert!(found(&both).is_empty(), "{:?}", found(&both));
    assert_eq!(codes(&route(vec![read])), ["route_server_held"], "alone it is");
    assert_eq!(ok(&both.take_out("alpha", deadline(), &cancel()).unwrap()), [true, true]);
    assert_eq!(ok(&both.bring_in("beta", None, deadline(), &cancel()).unwrap()), [true, true]);
    assert_eq!(Session::open(haproxy.front).1, "beta");
    assert_eq!(ok(&both.roll_back("alpha", deadline(), &cancel()).unwrap()), [true, true]);
    assert_eq!(Session::open(haproxy.front).1, "alpha");
}

// ---- contrib/haproxy.cfg ------------------------------------------------------------------------

/// The shipped file as a lab can run it: other addresses, other accounts, everything else as it is.
fn shipped(folder: &Path, front: u16, servers: [u16; 2], switched_on: &[&str]) -> String {
    let mut text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/haproxy.cfg")).unwrap();
    for switch in switched_on {
        assert!(text.contains(switch), "{switch}");
        text = text.replace(&format!("#{switch}: "), "");
    }
    let folder = folder.display();
    for (from, to) in [
        ("    user haproxy\n    group haproxy\n", String::new()),
        ("/run/haproxy/admin.sock user haproxy group failover mode 660", format!("{folder}/admin.sock mode 666")),
        ("/var/lib/haproxy/server-state", format!("{folder}/server-state")),
        ("bind :5432", format!("bind 127.0.0.1:{front}")),
        ("10.0.0.11:5432", format!("127.0.0.1:{}", servers[0])),
        ("10.0.0.12:5432", format!("127.0.0.1:{}", servers[1])),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to);
    }
    text
}

/// The shipped file's own names.
fn shipped_target(haproxy: &Haproxy) -> HaproxyTarget {
    HaproxyTarget {
        backend: "orders".to_owned(),
        servers: [("alpha", "db1"), ("beta", "db2")].map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())).into(),
        ..haproxy.unix("lb1")
    }
}

#[test]
fn the_shipped_configuration_is_valid_in_every_variant() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    for switched_on in [&[][..], &["check"], &["state"], &["check", "state"]] {
        let folder = folder();
        let path = folder.path().join("haproxy.cfg");
        std::fs::write(&path, shipped(folder.path(), free_port(), [alpha.port, beta.port], switched_on)).unwrap();
        let output = as_nobody("haproxy").arg("-c").arg("-f").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{switched_on:?}: {said}");
        // With a state file that is not there yet it says so, and starts.
        let warned = said.contains("WARNING") && !switched_on.contains(&"state");
        assert!(!warned, "{switched_on:?}: {said}");
    }
}

#[test]
fn the_shipped_configuration_serves_a_failover_and_what_it_forgets_is_found() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    for keeps_state in [false, true] {
        let switches: &[&str] = if keeps_state { &["state"] } else { &[] };
        let mut haproxy =
            Haproxy::start_with(|haproxy| shipped(haproxy.folder.path(), haproxy.front, [alpha.port, beta.port], switches));
        let route = route(vec![shipped_target(&haproxy)]);
        assert!(found(&route).is_empty(), "{:?}", found(&route));
        let (mut old, name) = Session::open(haproxy.front);
        assert_eq!(name, "alpha");
        route.take_out("alpha", deadline(), &cancel()).unwrap();
        old.wait_for_end();
        route.bring_in("beta", None, deadline(), &cancel()).unwrap();
        assert_eq!(Session::open(haproxy.front).1, "beta");

        let after = |route: &Route| -> Vec<String> {
            let seen = findings(&route.view(deadline(), &cancel()), Some("beta"), |_| true, true);
            seen.into_iter().map(|finding| finding.code.to_string()).collect()
        };
        assert!(after(&route).is_empty());
        if keeps_state {
            let mut admin = UnixStream::connect(haproxy.path("admin.sock")).unwrap();
            admin.write_all(b"show servers state\n").unwrap();
            let mut state = String::new();
            admin.read_to_string(&mut state).unwrap();
            std::fs::write(haproxy.path("server-state"), state).unwrap();
        }
        haproxy.restart();
        if keeps_state {
            assert!(after(&route).is_empty(), "{:?}", after(&route));
            assert_eq!(Session::open(haproxy.front).1, "beta");
        } else {
            assert_eq!(after(&route), ["route_to_standby", "route_primary_out"]);
        }
    }
}
