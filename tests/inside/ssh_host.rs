//! SSH and everything done over it on a database host, against a real OpenSSH server and a real PostgreSQL.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::action::host::{HostControl, HostParams, StopOrder};
use crate::clock::Clock;
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::resolve::Literals;
use crate::wire::ssh::{ExecOutput, LONGEST_OUTPUT, SshError, SshErrorKind, SshHost, SshTarget};
use failover_core::id::Generation;
use failover_core::output::FailureKind;
use failover_core::sample::{ControlState, FenceLevel, FenceReport, LocalAnswer, Lsn, ProcessState};

/// Ends a test that hangs; nothing here takes nearly as long.
const WATCHDOG: Duration = Duration::from_secs(60);

pub(super) fn far() -> Deadline {
    Deadline::after(WATCHDOG)
}

fn soon(millis: u64) -> Deadline {
    Deadline::after(Duration::from_millis(millis))
}

pub(super) fn never() -> Cancel {
    Cancel::new().unwrap()
}

/// Asks again and again until the answer is there.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let watchdog = far();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(!watchdog.is_over(), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// The account, its folder, its processes.

/// The unprivileged account the servers run as: `postgres` when the tests run as root, ourselves otherwise.
pub(super) fn account() -> String {
    let ours = output(Command::new("id").arg("-un"));
    if ours == "root" { "postgres".to_owned() } else { ours }
}

pub(super) fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A command that will run as the account.
fn as_account(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    if !is_root() {
        return Command::new(program);
    }
    let account = account();
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={account}"), &format!("--regid={account}")]).args(["--init-groups", "--"]).arg(program);
    command
}

fn output(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A folder that belongs to the account.
pub(super) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    give(folder.path());
    folder
}

pub(super) fn give(path: &Path) {
    if is_root() {
        let id = |which: &str| output(Command::new("id").args([which, &account()])).parse().unwrap();
        chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
    }
}

/// A port nobody listens on at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn signal(pid: u32, name: &str) -> bool {
    Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut rest = text.rsplit_once(") ")?.1.split(' ');
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}

fn is_named(pid: u32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
}

fn processes() -> Vec<u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Every process that works in a directory: the test's own look, independent of the script's.
fn working_in(directory: &Path) -> Vec<u32> {
    let works = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == directory);
    processes().into_iter().filter(works).collect()
}

// sshd.

/// An OpenSSH server run by the account, which lets only the account in.
pub(super) struct Sshd {
    folder: tempfile::TempDir,
    process: Child,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let served = self.served();
        let _ = self.process.kill();
        let _ = self.process.wait();
        for pid in served {
            signal(pid, "KILL");
        }
    }
}

impl Sshd {
    /// Everything that was started by a session of this server, also what the session left behind.
    fn served(&self) -> Vec<u32> {
        let mark = format!(" 127.0.0.1 {}\0", self.port);
        let marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(mark.len()).any(|window| window == mark.as_bytes())
        };
        self.descendants().into_iter().chain(processes().into_iter().filter(marked)).collect()
    }

    /// Starts one that takes the key `key` in its folder, with `options` before it in `authorized_keys`.
    pub(super) fn start(options: &str) -> Sshd {
        Sshd::start_by(options, as_account("/usr/sbin/sshd"))
    }

    /// The same, run by root, so that it lets root and the account in. It sees a /run of its own: sshd wants a folder there.
    pub(super) fn start_by_root(options: &str) -> Sshd {
        let mut command = Command::new("unshare");
        let start = "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd \"$@\"";
        command.args(["--mount", "--", "sh", "-c", start, "sshd"]);
        Sshd::start_by(options, command)
    }

    fn start_by(options: &str, mut command: Command) -> Sshd {
        let folder = folder();
        let path = folder.path();
        keygen(path, "host_ed25519", "ed25519", "");
        keygen(path, "host_rsa", "rsa", "");
        keygen(path, "key", "ed25519", "");
        let public = fs::read_to_string(path.join("key.pub")).unwrap();
        fs::write(path.join("authorized_keys"), format!("{options} {public}")).unwrap();
        let port = free_port();
        let shown = path.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host_ed25519\nHostKey {shown}/host_rsa\nPidFile none\n\
             UsePAM no\nStrictModes no\nAuthorizedKeysFile {shown}/authorized_keys\nPasswordAuthentication yes\n\
             KbdInteractiveAuthentication no\nMaxStartups 100\nMaxAuthTries 20\n"
        );
        fs::write(path.join("sshd_config"), config).unwrap();
        command.args(["-D", "-e", "-f"]).arg(path.join("sshd_config"));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line.contains("Server listening") => break,
                Some(Ok(line)) => log.push(line),
                _ => panic!("sshd did not start: {log:?}"),
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        let sshd = Sshd { folder, process, port };
        sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{port}"));
        sshd
    }

    /// Reads its configuration again: the next connection is served by it.
    fn reload(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let mut process = as_account("/usr/sbin/sshd");
        process.args(["-D", "-e", "-f"]).arg(self.path("sshd_config")).stdin(Stdio::null()).stdout(Stdio::null());
        self.process = process.stderr(Stdio::null()).spawn().unwrap();
        eventually("sshd listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `known_hosts` with one of the keys.
    pub(super) fn know(&self, key: &str, name: &str) {
        let key = fs::read_to_string(self.path(key)).unwrap();
        fs::write(self.path("known_hosts"), format!("# a comment\n{name} {key}")).unwrap();
    }

    pub(super) fn target(&self) -> SshTarget {
        SshTarget {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: account(),
            keys: vec![self.path("key")],
            passphrase: None,
            password: None,
            agent: false,
            known_hosts: self.path("known_hosts"),
        }
    }

    pub(super) fn host(&self) -> Arc<SshHost> {
        host(self.target())
    }

    /// The processes that serve sessions, and what they run.
    fn descendants(&self) -> Vec<u32> {
        let mut found = BTreeSet::from([self.process.id()]);
        loop {
            let child = |pid: &u32| !found.contains(pid) && stat(*pid).is_some_and(|(_, parent)| found.contains(&parent));
            let more: Vec<u32> = processes().into_iter().filter(child).collect();
            if more.is_empty() {
                found.remove(&self.process.id());
                return found.into_iter().collect();
            }
            found.extend(more);
        }
    }

    /// The `timeout` of a command that runs.
    fn running_command(&self) -> Option<u32> {
        self.descendants().into_iter().find(|pid| is_named(*pid, "timeout"))
    }
}

pub(super) fn host(target: SshTarget) -> Arc<SshHost> {
    Arc::new(SshHost::new(target, Arc::new(Literals)))
}

fn keygen(folder: &Path, name: &str, kind: &str, passphrase: &str) {
    output(as_account("ssh-keygen").args(["-q", "-t", kind, "-C", "test", "-N", passphrase, "-f"]).arg(folder.join(name)));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn run(host: &SshHost, argv: &[&str]) -> Result<ExecOutput, SshError> {
    host.exec(argv, &[], far(), &never())
}

fn refused(host: &SshHost) -> SshError {
    let error = run(host, &["true"]).unwrap_err();
    assert!(!error.sent, "{error}");
    error
}

// PostgreSQL.

fn pg(program: &str) -> PathBuf {
    let fixed = Path::new("/usr/lib/postgresql/15/bin").join(program);
    if fixed.exists() { fixed } else { PathBuf::from(program) }
}

/// A server of the account's, the child of this test: what is killed stays a zombie until the test reaps it.
pub(super) struct Server {
    folder: tempfile::TempDir,
    process: Option<Child>,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let segment = self.pidfile(7).and_then(|line| line.split_whitespace().nth(1).map(str::to_owned));
        let data = self.data();
        eventually("the end of the server's processes", || {
            let left = working_in(&data);
            for pid in &left {
                signal(*pid, "KILL");
            }
            left.is_empty().then_some(())
        });
        if let Some(process) = &mut self.process {
            let _ = process.wait();
        }
        if let Some(segment) = segment {
            let _ = Command::new("ipcrm").args(["-m", &segment]).stderr(Stdio::null()).status();
        }
    }
}

impl Server {
    pub(super) fn start() -> Server {
        Server::start_in(folder())
    }

    /// With its data directory in this folder, which belongs to the account.
    pub(super) fn start_in(folder: tempfile::TempDir) -> Server {
        let data = folder.path().join("data");
        output(as_account(pg("initdb")).args(["--no-sync", "-A", "trust", "-U", "postgres", "-D"]).arg(&data));
        let mut server = Server { folder, process: None, port: free_port() };
        server.launch();
        server
    }

    fn launch(&mut self) {
        self.spawn();
        eventually("the server's first answer", || self.query("SELECT 1"));
    }

    fn spawn(&mut self) {
        if let Some(mut ended) = self.process.take() {
            ended.wait().unwrap();
        }
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let socket_dir = format!("unix_socket_directories={}", self.folder.path().display());
        let process = as_account(pg("postgres"))
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", &socket_dir])
            .args(["-c", "fsync=off", "-c", "hot_standby=on", "-c", "shared_buffers=8MB"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// The resolved data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data").canonicalize().unwrap_or_default()
    }

    fn postmaster(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    fn pidfile(&self, line: usize) -> Option<String> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().nth(line - 1).map(str::to_owned)
    }

    fn connect(&self) -> Option<postgres::Client> {
        let parameters = format!("host=127.0.0.1 port={} user=postgres dbname=postgres connect_timeout=10", self.port);
        postgres::Client::connect(&parameters, postgres::NoTls).ok()
    }

    /// The first value of the first row.
    fn query(&self, sql: &str) -> Option<String> {
        let rows = self.connect()?.simple_query(sql).ok()?;
        rows.iter().find_map(|row| match row {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    }

    pub(super) fn params(&self) -> HostParams {
        HostParams {
            data_dir: self.folder.path().join("data").display().to_string(),
            bin_dir: pg("pg_ctl").parent().filter(|place| place.is_absolute()).map(|place| place.display().to_string()),
            port: self.port,
            ..HostParams::default()
        }
    }

    pub(super) fn control(&self, ssh: &Arc<SshHost>) -> HostControl {
        HostControl::new(Arc::clone(ssh), self.params(), Clock::start())
    }

    pub(super) fn place(&self, name: &str, content: &str) -> PathBuf {
        let path = self.data().join(name);
        fs::write(&path, content).unwrap();
        give(&path);
        path
    }

    fn stop_all(&self) {
        for pid in working_in(&self.data()) {
            signal(pid, "STOP");
        }
        let stopped = |pid: &u32| stat(*pid).is_some_and(|(state, _)| state == 'T');
        eventually("all stopped", || working_in(&self.data()).iter().all(stopped).then_some(()));
    }

    fn kill_postmaster(&self) {
        signal(self.postmaster(), "KILL");
        eventually("the postmaster's end", || stat(self.postmaster()).is_none_or(|(state, _)| state == 'Z').then_some(()));
    }
}

/// A client that sends commits without waiting for their answers, so that its backend always has the next one at hand and
/// never notices that its postmaster has died.
struct Writer {
    stream: TcpStream,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn start(server: &Server) -> Writer {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let mut hello = Vec::from(196_608u32.to_be_bytes());
        hello.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
        stream.write_all(&u32::try_from(hello.len() + 4).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&hello).unwrap();
        let sql = b"INSERT INTO written SELECT generate_series(1, 100)\0";
        let mut query = Vec::from(*b"Q");
        query.extend_from_slice(&u32::try_from(sql.len() + 4).unwrap().to_be_bytes());
        query.extend_from_slice(sql);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut sender = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            let many = query.repeat(256);
            while sender.write_all(&many).is_ok() {}
        });
        let mut receiver = BufReader::new(stream.try_clone().unwrap());
        let count = Arc::clone(&acknowledged);
        let receiving = std::thread::spawn(move || {
            let mut head = [0; 5];
            while receiver.read_exact(&mut head).is_ok() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                let mut body = vec![0; length - 4];
                if receiver.read_exact(&mut body).is_err() {
                    break;
                }
                if head[0] == b'C' {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Writer { stream, acknowledged, threads: vec![sending, receiving] }
    }

    fn count(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// The server's side is closed, and everything that it had sent is read.
    fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until the server's side is closed and everything that it had sent before is read: there is no more to come.
    fn ended(mut self) {
        for thread in self.threads.drain(..) {
            eventually("the end of a client's connection", || thread.is_finished().then_some(()));
            thread.join().unwrap();
        }
    }
}

fn writers(server: &Server, count: usize) -> Vec<Writer> {
    server.connect().unwrap().batch_execute("CREATE TABLE IF NOT EXISTS written (number int)").unwrap();
    let writers: Vec<Writer> = (0..count).map(|_| Writer::start(server)).collect();
    for writer in &writers {
        eventually("a hundred commits", || (writer.count() >= 100).then_some(()));
    }
    writers
}

/// New connections all the time, so that a postmaster that can still fork does.
struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    fn start(port: u16) -> Storm {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let _ = TcpStream::connect(("127.0.0.1", port));
            }
        });
        Storm { stop, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

fn names(report: &FenceReport) -> Vec<&str> {
    report.rungs.iter().map(|rung| rung.name.as_str()).collect()
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn tell(what: &str, report: &FenceReport, took: Duration) {
    eprintln!("{what}: {:.1} ms, level {}: {}", millis(took), report.level.number(), report.proof);
    for rung in &report.rungs {
        let ok = if rung.ok { "ok" } else { "FAILED" };
        eprintln!("    {:18} {ok:6} {:7.1} ms  {}", rung.name, millis(rung.took.into()), rung.note);
    }
}

// SSH alone.

#[test]
fn a_command_brings_back_what_it_said_and_how_it_ended() {
    let sshd = Sshd::start("");
    let host = sshd.host();
    assert!(!host.is_open());
    let argument = "it's a \"test\" $HOME";
    let done = host.exec(&["sh", "-c", "cat; echo \"$1\" >&2; exit 7", "sh", argument], b"fed", far(), &never()).unwrap();
    assert_eq!((done.code, done.signal.as_deref(), text(&done.stdout).as_str()), (Some(7), None, "fed"));
    assert_eq!(text(&done.stderr), argument);
    assert!(host.is_open(), "the session is kept");
    assert_eq!(text(&run(&host, &["pwd"]).unwrap().stdout), "/");

    let killed = run(&host, &["sh", "-c", "kill -KILL $$"]).unwrap();
    assert_eq!((killed.code, killed.signal.as_deref()), (None, Some("KILL")), "a killed command has not succeeded");
    assert_eq!(run(&host, &["true"]).unwrap().code, Some(0));
    host.close();
    assert!(!host.is_open());
    assert_eq!(run(&host, &["a\0b"]).unwrap_err().kind, SshErrorKind::BadArgument);
}

#[test]
fn megabytes_both_ways_do_not_deadlock() {
    let sshd = Sshd::start("");
    let host = sshd.host();
    let script = "head -c 4194304 /dev/zero >&2 & head -c 4194304 /dev/zero; wait";
    let done = run(&host, &["sh", "-c", script]).unwrap();
    assert_eq!((done.code, done.truncated), (Some(0), true));
    assert_eq!((done.stdout.len(), done.stderr.len()), (LONGEST_OUTPUT, LONGEST_OUTPUT));

    let input = vec![b'x'; 4 * 1024 * 1024];
    let echoed = host.exec(&["sh", "-c", "tee /dev/stderr"], &input, far(), &never()).unwrap();
    assert_eq!((echoed.code, echoed.truncated), (Some(0), true));
    // A command that does not read its input is no error.
    let deaf = host.exec(&["echo", "done"], &input, far(), &never()).unwrap();
    assert_eq!((deaf.code, text(&deaf.stdout).as_str()), (Some(0), "done"));
    assert_eq!(run(&host, &["true"]).unwrap().code, Some(0), "the session still works");
}

/// Both streams, with pauses of all lengths around that between the client's reads of the two: the last words come with the end of the
/// command, so a word that is overlooked is waited for until the deadline. ROUNDS= plays it for longer.
#[test]
fn output_in_any_rhythm_is_never_waited_for_in_vain() {
    let sshd = Sshd::start("");
    let host = sshd.host();
    let rounds: u32 = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60);
    for round in 0..rounds {
        // Busy, not asleep: a process that sleeps wakes no earlier than some 50 microseconds later.
        let script = format!(
            "spin() {{ i=0; while [ $i -lt $1 ]; do i=$((i + 1)); done; }}; \
             printf a; spin {0}; printf b >&2; spin {1}; printf c; spin {0}; printf d >&2; printf e",
            round * 7 % 300,
            round * 13 % 500,
        );
        let said = host.exec(&["sh", "-c", &script], b"", soon(20_000), &never()).unwrap();
        assert_eq!(
            (text(&said.stdout), text(&said.stderr), said.code),
            ("ace".to_owned(), "bd".to_owned(), Some(0)),
            "round {round}"
        );
    }
}

#[test]
fn a_deadline_ends_the_wait_here_and_the_command_there() {
    let sshd = Sshd::start("");
    let host = sshd.host();
    host.keep_alive(far(), &never()).unwrap();
    let late = host.exec(&["sh", "-c", "while :; do echo drip; sleep 0.05; done"], &[], soon(500), &never()).unwrap_err();
    assert_eq!((late.kind, late.sent), (SshErrorKind::TimedOut, true), "{late}");
    eventually("the remote command's end", || sshd.running_command().is_none().then_some(()));

    let cancel = never();
    let waiting = {
        let (host, cancel) = (Arc::clone(&host), cancel.clone());
        std::thread::spawn(move || host.exec(&["sleep", "600"], &[], far(), &cancel))
    };
    eventually("the command's start", || sshd.running_command());
    cancel.cancel();
    let cancelled = waiting.join().unwrap().unwrap_err();
    assert_eq!((cancelled.kind, cancelled.sent), (SshErrorKind::Cancelled, true));
}

#[test]
fn a_slow_command_does_not_hold_up_another_one() {
    let sshd = Sshd::start("");
    let host = sshd.host();
    let cancel = never();
    let slow = {
        let (host, cancel) = (Arc::clone(&host), cancel.clone());
        std::thread::spawn(move || host.exec(&["sleep", "600"], &[], far(), &cancel))
    };
    eventually("the slow command's start", || sshd.running_command());
    assert_eq!(run(&host, &["true"]).unwrap().code, Some(0));
    host.keep_alive(far(), &never()).unwrap();
    let hasty = host.exec(&["true"], &[], soon(20), &never()).unwrap_err();
    assert_eq!((hasty.kind, hasty.sent), (SshErrorKind::TimedOut, false), "a waiting caller keeps its own deadline: {hasty}");
    cancel.cancel();
    assert_eq!(slow.join().unwrap().unwrap_err().kind, SshErrorKind::Cancelled);
}

#[test]
fn a_lost_session_is_replaced_before_the_command_is_sent() {
    let sshd = Sshd::start("");
    let host = sshd.host();
    host.keep_alive(far(), &never()).unwrap();
    let before = sshd.descendants();
    assert!(!before.is_empty());
    for pid in &before {
        signal(*pid, "KILL");
    }
    eventually("the session's end", || (!host.is_open()).then_some(()));
    assert_eq!(run(&host, &["true"]).unwrap().code, Some(0));
    // One that is only silent is replaced too, within the caller's deadline.
    for pid in sshd.descendants() {
        signal(pid, "STOP");
    }
    assert!(host.is_open(), "nobody can know yet");
    assert_eq!(run(&host, &["true"]).unwrap().code, Some(0));
    // One that dies under a running command is not tried again: its effect is unknown.
    let running = {
        let host = Arc::clone(&host);
        std::thread::spawn(move || host.exec(&["sleep", "600"], &[], far(), &never()))
    };
    let command = eventually("the command's start", || sshd.running_command());
    let (_, session) = stat(command).unwrap();
    signal(session, "KILL");
    let lost = running.join().unwrap().unwrap_err();
    assert_eq!((lost.kind, lost.sent), (SshErrorKind::Protocol, true), "{lost}");
    signal(command, "KILL");
}

#[test]
fn a_stopped_or_dripping_server_cannot_stretch_the_deadline() {
    let sshd = Sshd::start("");
    signal(sshd.process.id(), "STOP");
    let error = sshd.host().exec(&["true"], &[], soon(200), &never()).unwrap_err();
    signal(sshd.process.id(), "CONT");
    assert_eq!((error.kind, error.sent), (SshErrorKind::TimedOut, false), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dripping = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for byte in b"SSH-2.0-slow".iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let error = host(SshTarget { port, ..sshd.target() }).exec(&["true"], &[], soon(200), &never()).unwrap_err();
    assert!(matches!(error.kind, SshErrorKind::TimedOut | SshErrorKind::Handshake), "{error}");
    dripping.join().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let babbling = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&vec![b'x'; 4 * 1024 * 1024]);
    });
    let error = refused(&host(SshTarget { port, ..sshd.target() }));
    assert_eq!(error.kind, SshErrorKind::Handshake, "{error}");
    babbling.join().unwrap();

    let error = refused(&host(SshTarget { port: free_port(), ..sshd.target() }));
    assert_eq!(error.kind, SshErrorKind::Connect, "{error}");
    let error = refused(&host(SshTarget { host: "db1.example".to_owned(), ..sshd.target() }));
    assert_eq!(error.kind, SshErrorKind::Resolve, "{error}");
}

#[test]
fn only_a_host_with_the_right_key_is_talked_to() {
    let sshd = Sshd::start("");
    let name = format!("[127.0.0.1]:{}", sshd.port);
    let hash = || output(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(sshd.path("known_hosts")));

    sshd.know("key.pub", &name);
    let changed = refused(&sshd.host());
    assert_eq!(changed.kind, SshErrorKind::HostKeyMismatch);
    let fingerprint = output(Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host_ed25519.pub")));
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    assert!(changed.message.contains(fingerprint), "{changed}");
    assert!(changed.remedy.contains("ssh-keygen") && changed.remedy.contains(&name), "{}", changed.remedy);

    sshd.know("host_ed25519.pub", "[127.0.0.1]:1");
    let unknown = refused(&sshd.host());
    assert_eq!(unknown.kind, SshErrorKind::HostKeyUnknown);
    assert!(unknown.message.contains(fingerprint) && unknown.remedy.contains("ssh-keyscan"), "{unknown}: {}", unknown.remedy);

    fs::remove_file(sshd.path("known_hosts")).unwrap();
    assert_eq!(refused(&sshd.host()).kind, SshErrorKind::KnownHosts);

    // Hashed, and with the RSA key only: the server must be asked for that one, not for the one it likes best.
    sshd.know("host_rsa.pub", &name);
    hash();
    assert!(fs::read_to_string(sshd.path("known_hosts")).unwrap().contains("|1|"));
    assert_eq!(run(&sshd.host(), &["true"]).unwrap().code, Some(0));
    sshd.know("key.pub", &name);
    hash();
    assert_eq!(refused(&sshd.host()).kind, SshErrorKind::HostKeyMismatch);

    let key = fs::read_to_string(sshd.path("host_ed25519.pub")).unwrap();
    fs::write(sshd.path("known_hosts"), format!("@revoked * {key}{name} {key}")).unwrap();
    assert_eq!(refused(&sshd.host()).kind, SshErrorKind::HostKeyRevoked);
}

#[test]
fn keys_with_passphrases_and_every_refusal_is_named() {
    let sshd = Sshd::start("");
    keygen(sshd.folder.path(), "locked", "ed25519", "open sesame");
    output(
        as_account("ssh-keygen").args(["-q", "-t", "rsa", "-m", "PEM", "-N", "open sesame", "-f"]).arg(sshd.path("locked_pem")),
    );
    keygen(sshd.folder.path(), "stranger", "ed25519", "");
    let mut authorized = fs::read_to_string(sshd.path("authorized_keys")).unwrap();
    for key in ["locked.pub", "locked_pem.pub"] {
        authorized.push_str(&fs::read_to_string(sshd.path(key)).unwrap());
    }
    fs::write(sshd.path("authorized_keys"), authorized).unwrap();

    for key in ["locked", "locked_pem"] {
        let keys = vec![sshd.path(key)];
        let right = SshTarget { keys: keys.clone(), passphrase: Some(Secret::new("open sesame")), ..sshd.target() };
        assert_eq!(run(&host(right), &["true"]).unwrap().code, Some(0), "{key}");
        let wrong = SshTarget { keys, passphrase: Some(Secret::new("open barley")), ..sshd.target() };
        let error = refused(&host(wrong));
        assert_eq!(error.kind, SshErrorKind::Authentication);
        assert!(error.message.contains(key) && !error.message.contains("barley"), "{error}");
        assert!(error.message.contains("it is encrypted, and the passphrase does not open it"), "{error}");
    }
    // Without a passphrase nobody is asked: the listener would hear of it.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    nobody.set_nonblocking(true).unwrap();
    let keys = vec![sshd.path("locked"), sshd.path("locked_pem"), sshd.path("missing")];
    let closed = SshTarget { keys, port: nobody.local_addr().unwrap().port(), ..sshd.target() };
    let error = refused(&host(closed.clone()));
    assert_eq!(error.kind, SshErrorKind::Authentication);
    for part in
        ["locked: it is encrypted, and no passphrase is configured", "locked_pem: it is encrypted", "missing: No such file"]
    {
        assert!(error.message.contains(part) && error.remedy.contains("ssh.passphrase"), "{error:?}");
    }
    assert_eq!(nobody.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // Where another way is left, it is taken.
    let keys = vec![sshd.path("locked"), sshd.path("key")];
    assert_eq!(run(&host(SshTarget { keys, ..sshd.target() }), &["true"]).unwrap().code, Some(0));
    let all = SshTarget {
        keys: vec![sshd.path("missing"), sshd.path("stranger")],
        password: Some(Secret::new("not the password")),
        ..sshd.target()
    };
    let error = refused(&host(all));
    assert_eq!(error.kind, SshErrorKind::Authentication);
    for part in ["missing: No such file", "stranger", "password:"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert!(!error.message.contains("not the password"), "{error}");
    let nothing = refused(&host(SshTarget { keys: Vec::new(), ..sshd.target() }));
    assert!(nothing.message.contains("no way to log in"), "{nothing}");
    // What fails is not the end: the next key is tried on the same connection.
    let second = SshTarget { keys: vec![sshd.path("stranger"), sshd.path("key")], ..sshd.target() };
    assert_eq!(run(&host(second), &["true"]).unwrap().code, Some(0));
}

/// The environment names the agent, and a test may not change its own: it runs this one again as a child.
/// An sshd with more lines in front of its configuration, which count before its own.
fn sshd_with(lines: impl Fn(&Path) -> String) -> Sshd {
    let mut sshd = Sshd::start("");
    let config = sshd.path("sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{}\n{text}", lines(sshd.folder.path()))).unwrap();
    sshd.reload();
    sshd
}

#[test]
fn what_a_server_refuses_by_its_configuration_is_named() {
    let cases: [(&str, SshErrorKind, &str, &str); 6] = [
        ("KexAlgorithms sntrup761x25519-sha512@openssh.com", SshErrorKind::Handshake, "no algorithm in common", "KexAlgorithms "),
        ("MACs umac-64@openssh.com\nCiphers aes128-ctr", SshErrorKind::Handshake, "no algorithm in common", "MACs hmac-"),
        ("AuthenticationMethods publickey,publickey", SshErrorKind::Authentication, "not enough", "AuthenticationMethods"),
        ("AuthenticationMethods publickey,password", SshErrorKind::Authentication, "not enough", "AuthenticationMethods"),
        ("DenyUsers *", SshErrorKind::Authentication, "not accepted for this account", "not locked"),
        ("Banner FOLDER/banner", SshErrorKind::Authentication, "longer than can be read", "Banner"),
    ];
    for (lines, kind, message, remedy) in cases {
        let sshd = sshd_with(|folder| {
            fs::write(folder.join("banner"), format!("{}\n", "x".repeat(79)).repeat(2_500)).unwrap();
            lines.replace("FOLDER", &folder.display().to_string())
        });
        let error = refused(&sshd.host());
        assert_eq!(error.kind, kind, "{lines}: {error:?}");
        assert!(error.message.contains(message) && error.remedy.contains(remedy), "{lines}: {error:?}");
    }
}

#[test]
fn the_agent_is_asked_and_a_stuck_one_is_passed_over() {
    const PORT: &str = "FAILOVER_TEST_AGENT_PORT";
    const KNOWN_HOSTS: &str = "FAILOVER_TEST_KNOWN_HOSTS";
    if let Ok(port) = std::env::var(PORT) {
        let target = SshTarget {
            host: "127.0.0.1".to_owned(),
            port: port.parse().unwrap(),
            user: account(),
            keys: Vec::new(),
            passphrase: None,
            password: None,
            agent: true,
            known_hosts: std::env::var(KNOWN_HOSTS).unwrap().into(),
        };
        match host(target).exec(&["true"], &[], soon(5000), &never()) {
            Ok(done) => println!("answer: code {:?}", done.code),
            Err(error) => println!("answer: {error}"),
        }
        return;
    }
    let sshd = Sshd::start("");
    let ask = |socket: &Path| {
        let mut program = Command::new(std::env::current_exe().unwrap());
        super::again(&mut program, module_path!(), "the_agent_is_asked_and_a_stuck_one_is_passed_over");
        output(program.env(PORT, sshd.port.to_string()).env(KNOWN_HOSTS, sshd.path("known_hosts")).env("SSH_AUTH_SOCK", socket))
    };
    struct Agent(Child);
    impl Drop for Agent {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let socket = sshd.path("agent");
    let agent = Agent(
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(),
    );
    eventually("the agent's socket", || socket.exists().then_some(()));
    let empty = ask(&socket);
    output(Command::new("ssh-add").arg("-q").arg(sshd.path("key")).env("SSH_AUTH_SOCK", &socket));
    let answered = ask(&socket);
    signal(agent.0.id(), "STOP");
    let stuck = ask(&socket);
    drop(agent);
    let gone = ask(&socket);
    assert!(empty.contains("it holds no key"), "{empty}");
    assert!(answered.contains("answer: code Some(0)"), "{answered}");
    assert!(stuck.contains("the agent does not answer"), "{stuck}");
    assert!(gone.contains("agent: "), "{gone}");
}

// The database host.

#[test]
fn the_host_tells_running_stopped_and_dead_apart() {
    let sshd = Sshd::start("");
    let mut server = Server::start();
    let control = server.control(&sshd.host());

    let running = control.report(true, far(), &never()).unwrap();
    assert_eq!((running.postmaster, running.stopped), (ProcessState::Running, 0), "{running:?}");
    assert_eq!(running.local_answer, LocalAnswer::Accepting);
    assert!(running.others >= 4 && running.shm_attached.unwrap() >= 4, "{running:?}");
    let alive = control.prove(true, far(), &never()).unwrap();
    assert_eq!((alive.level, alive.guard_placed), (FenceLevel::None, false), "{alive:?}");

    let behind = HostParams { sudo: vec!["env".to_owned(), "-i".to_owned(), "A=it's".to_owned()], ..server.params() };
    let behind = HostControl::new(sshd.host(), behind, Clock::start());
    let said = behind.readiness(far(), &never()).unwrap();
    assert_eq!(said.report.postmaster, ProcessState::Running);
    let shown = said.shown.unwrap();
    assert!(shown.system_id.is_some() && shown.port.is_some() && shown.checkpointer.is_some(), "{shown:?}");
    let findings = said.findings;
    assert!(!findings.iter().any(|finding| finding.blocking), "{findings:?}");

    server.stop_all();
    let stopped = control.report(true, far(), &never()).unwrap();
    assert_eq!((stopped.postmaster, stopped.local_answer), (ProcessState::Stopped, LocalAnswer::Silent), "{stopped:?}");
    assert_eq!(stopped.stopped, stopped.others + 1);
    for pid in working_in(&server.data()) {
        signal(pid, "CONT");
    }

    server.kill_postmaster();
    eventually("the children's own end", || working_in(&server.data()).is_empty().then_some(()));
    let ssh = sshd.host();
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let began = Instant::now();
            run(&ssh, &["true"]).unwrap();
            began.elapsed()
        })
        .collect();
    eprintln!("connecting and one command: {:.1} ms", millis(times.remove(0)));
    times.sort();
    eprintln!("a command over a kept session: median {:.1} ms, best {:.1} ms", millis(times[10]), millis(times[0]));
    times.clear();
    for _ in 0..20 {
        let began = Instant::now();
        let dead = control.report(false, far(), &never()).unwrap();
        times.push(began.elapsed());
        assert_eq!((dead.postmaster, dead.others, dead.shm_attached), (ProcessState::Gone, 0, Some(0)), "{dead:?}");
    }
    times.sort();
    eprintln!("word over a kept session: median {:.1} ms, best {:.1} ms", millis(times[10]), millis(times[0]));
    assert_eq!(control.report(true, far(), &never()).unwrap().local_answer, LocalAnswer::Silent);

    server.launch();
    assert_eq!(control.report(false, far(), &never()).unwrap().postmaster, ProcessState::Running);
    assert_eq!(control.report_and_end(false, far(), &never()).unwrap().1, None);

    // Only an orderly stop says where the log ends; an immediate one leaves no postmaster.pid either.
    for (how, orderly) in [("INT", true), ("QUIT", false)] {
        signal(server.postmaster(), how);
        eventually("the server's end", || working_in(&server.data()).is_empty().then_some(()));
        let (word, end) = control.report_and_end(false, far(), &never()).unwrap();
        assert_eq!(word.postmaster, ProcessState::Gone, "{how}: {word:?}");
        assert_eq!(end.is_some_and(|end| end.at > Lsn(0) && end.timeline == 1), orderly, "{how}: {end:?}");
        server.launch();
    }
}

#[test]
fn a_fence_under_load_ends_every_commit_and_can_be_told_again() {
    let sshd = Sshd::start("");
    let mut server = Server::start();
    let control = server.control(&sshd.host());
    let writers = writers(&server, 4);
    let storm = Storm::start(server.port);
    control.report(false, far(), &never()).unwrap();

    let began = Instant::now();
    let report = control.fence(Generation(1), FenceLevel::ProvenStopped, false, false, far(), &never()).unwrap();
    tell("fence of a running server under load", &report, began.elapsed());
    assert_eq!((report.level, report.guard_placed), (FenceLevel::ProvenStopped, true), "{report:?}");
    assert_eq!(working_in(&server.data()), Vec::<u32>::new());
    assert_eq!((names(&report)[0], *names(&report).last().unwrap()), ("guard", "proof"));
    drop(storm);
    for writer in writers {
        writer.ended();
    }

    let again = control.fence(Generation(1), FenceLevel::ProvenStopped, false, true, far(), &never()).unwrap();
    assert_eq!((again.level, again.guard_placed), (FenceLevel::ProvenStopped, true), "{again:?}");
    assert_eq!(names(&again), ["guard", "proof"]);
    let proof = control.prove(true, far(), &never()).unwrap();
    assert_eq!(proof.level, FenceLevel::ProvenStopped, "{proof:?}");

    // Whoever starts it now gets a standby, and the proof is gone.
    server.launch();
    assert_eq!(server.query("SELECT pg_is_in_recovery()").as_deref(), Some("t"));
    let proof = control.prove(true, far(), &never()).unwrap();
    assert_eq!(proof.level, FenceLevel::None, "{proof:?}");
}

/// A server whose postmaster was killed, and clients whose commits go on. A backend notices the death as soon as it has to wait for
/// its client, and then there is nothing to see: on a busy machine it takes another try.
fn orphans() -> (Server, Vec<Writer>) {
    for _ in 0..10 {
        let server = Server::start();
        let writers = writers(&server, 3);
        server.kill_postmaster();
        // The reason for all this: dead, refused, and committing.
        assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err());
        let before: Vec<u64> = writers.iter().map(Writer::count).collect();
        let go_on = || writers.iter().zip(&before).any(|(writer, before)| writer.count() >= before + 200);
        let over = || writers.iter().all(Writer::is_over);
        if eventually("commits without a postmaster, or their end", || (go_on() || over()).then(go_on)) {
            return (server, writers);
        }
    }
    panic!("no backend outlived its postmaster in ten tries");
}

#[test]
fn the_orphans_of_a_killed_postmaster_are_ended() {
    let sshd = Sshd::start("");
    let (server, writers) = orphans();
    let control = server.control(&sshd.host());
    let word = control.report(false, far(), &never()).unwrap();
    assert_eq!(word.postmaster, ProcessState::Gone);
    assert!(word.others >= 1 && word.shm_attached.unwrap() >= 1, "{word:?}");

    let began = Instant::now();
    let report = control.fence(Generation(1), FenceLevel::ProvenStopped, false, true, far(), &never()).unwrap();
    tell("fence of a dead postmaster's orphans", &report, began.elapsed());
    assert_eq!(report.level, FenceLevel::ProvenStopped, "{report:?}");
    assert!(!names(&report).contains(&"stop_fast"));
    assert_eq!(working_in(&server.data()), Vec::<u32>::new());
    for writer in writers {
        writer.ended();
    }
}

/// Rule 86: no process of the data directory is left, and somebody still has the server's memory.
#[test]
fn a_segment_that_somebody_is_attached_to_is_no_proof() {
    let sshd = Sshd::start("");
    let server = Server::start();
    let control = server.control(&sshd.host());
    control.report(false, far(), &never()).unwrap();
    let segment = server.pidfile(7).and_then(|line| line.split_whitespace().nth(1).map(str::to_owned)).expect("a segment");
    let attach = "import ctypes, sys; c = ctypes.CDLL(None, use_errno=True); c.shmat.restype = ctypes.c_void_p; \
                  at = c.shmat(int(sys.argv[1]), None, 0); print(at != ctypes.c_void_p(-1).value, flush=True); sys.stdin.read()";
    let mut holder = as_account("/usr/bin/python3")
        .args(["-c", attach, &segment])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "True");
    for pid in working_in(&server.data()) {
        signal(pid, "KILL");
    }
    eventually("the end of the server's processes", || working_in(&server.data()).is_empty().then_some(()));

    let proof = control.prove(true, far(), &never()).unwrap();
    assert_eq!(proof.level, FenceLevel::None, "{proof:?}");
    assert!(proof.proof.contains(&format!("segment {segment} still has 1 attachments")), "{proof:?}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(control.prove(true, far(), &never()).unwrap().level, FenceLevel::ProvenStopped);
}

#[test]
fn a_hung_server_cannot_be_woken_after_the_fence() {
    let sshd = Sshd::start("");
    let server = Server::start();
    let control = server.control(&sshd.host());
    let writers = writers(&server, 2);
    server.stop_all();
    let pids = working_in(&server.data());
    let word = control.report(false, far(), &never()).unwrap();
    assert_eq!(word.stopped, word.others + 1);

    let began = Instant::now();
    // Not told that it hangs: it sees the state itself.
    let report = control.fence(Generation(1), FenceLevel::ProvenStopped, false, true, far(), &never()).unwrap();
    tell("fence of a hung server", &report, began.elapsed());
    assert_eq!(report.level, FenceLevel::ProvenStopped, "{report:?}");
    assert_eq!(names(&report), ["guard", "freeze_postmaster", "kill_children", "kill_postmaster", "proof"]);
    for pid in pids {
        signal(pid, "CONT");
    }
    for writer in writers {
        writer.ended();
    }
    assert_eq!(control.prove(true, far(), &never()).unwrap().level, FenceLevel::ProvenStopped);
}

#[test]
fn a_dead_server_is_fenced_and_taken_back_again_and_again() {
    let sshd = Sshd::start("");
    let mut server = Server::start();
    let control = server.control(&sshd.host());
    control.report(false, far(), &never()).unwrap();
    for _ in 0..4 {
        server.kill_postmaster();
        let began = Instant::now();
        let report = control.fence(Generation(1), FenceLevel::ProvenStopped, false, true, far(), &never()).unwrap();
        tell("fence of a killed postmaster", &report, began.elapsed());
        assert_eq!(report.level, FenceLevel::ProvenStopped, "{report:?}");
        assert_eq!(control.undo(Generation(1), far(), &never()).unwrap(), "standby.signal removed; the server is not running");
        server.launch();
        assert_eq!(server.query("SELECT pg_is_in_recovery()").as_deref(), Some("f"), "the guard is gone again");
    }
    let began = Instant::now();
    let report = control.fence(Generation(1), FenceLevel::ProvenStopped, true, true, far(), &never()).unwrap();
    tell("fence of a running server told to be hung", &report, began.elapsed());
    assert_eq!(report.level, FenceLevel::ProvenStopped);
    assert!(!names(&report).contains(&"stop_fast"));
    assert!(control.fence(Generation(1), FenceLevel::TrafficRemoved, true, true, far(), &never()).unwrap().rungs.is_empty());
}

#[test]
fn an_unfinished_fence_is_taken_back() {
    let sshd = Sshd::start("");
    let server = Server::start();
    let control = server.control(&sshd.host());
    assert_eq!(control.undo(Generation(1), far(), &never()).unwrap(), "no fence had been begun here");

    // As a fence leaves it that was cut off after it froze the postmaster.
    let marker = server.place("failover.fenced", &format!("guard=placed\nfrozen={}\n", server.postmaster()));
    let signal_file = server.place("standby.signal", "");
    signal(server.postmaster(), "STOP");
    assert_eq!(control.undo(Generation(1), far(), &never()).unwrap(), "standby.signal removed; the frozen postmaster runs on");
    assert!(!signal_file.exists() && !marker.exists());
    assert_eq!(server.query("SELECT 1").as_deref(), Some("1"));

    // What was there before stays, before and after.
    server.place("standby.signal", "");
    let report = control.fence(Generation(1), FenceLevel::ProvenStopped, false, false, far(), &never()).unwrap();
    assert_eq!((report.level, report.guard_placed), (FenceLevel::ProvenStopped, false), "{report:?}");
    let said = control.undo(Generation(1), far(), &never()).unwrap();
    assert!(said.starts_with("standby.signal was there before the fence, and stays"), "{said}");
    assert!(signal_file.exists() && !marker.exists());
}

#[test]
fn a_wrong_data_directory_is_refused_and_an_unseen_server_is_not_proven_dead() {
    let sshd = Sshd::start("");
    let ssh = sshd.host();
    let other = folder();
    let control = |data_dir: &str| {
        let params = HostParams { data_dir: data_dir.to_owned(), ..HostParams::default() };
        HostControl::new(Arc::clone(&ssh), params, Clock::start())
    };
    let place = other.path().display().to_string();
    for (data_dir, words) in [
        (place.as_str(), "not a PostgreSQL data directory"),
        ("/nonexistent/data", "there is no directory"),
        ("relative/data", "absolute"),
        ("", "absolute"),
        ("/", "not a PostgreSQL data directory"),
        ("/a\nb", "line break"),
        ("/tmp/'; touch /tmp/x; '", "there is no directory"),
    ] {
        let failure =
            control(data_dir).fence(Generation(1), FenceLevel::ProvenStopped, false, true, far(), &never()).unwrap_err();
        assert!(failure.had_no_effect(), "{failure:?}");
        assert!(failure.message.contains(words) && failure.remedy.contains("data_dir"), "{failure:?}");
    }
    // A data directory whose server was never seen here.
    for strange in ["plain", "with * and ? and [x] and \\ in it"] {
        let data = other.path().join(strange);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("PG_VERSION"), "15\n").unwrap();
        give(&data);
        let control = control(&data.display().to_string());
        let unseen = control.fence(Generation(1), FenceLevel::ProvenStopped, false, false, far(), &never()).unwrap();
        assert_eq!((unseen.level, unseen.guard_placed), (FenceLevel::None, true));
        assert!(unseen.proof.contains("never seen on this host"), "{unseen:?}");
        assert_eq!(control.prove(true, far(), &never()).unwrap().level, FenceLevel::ProvenStopped);
        // Anything that works there counts, whatever it is.
        let mut sleeper = as_account("sleep").arg("600").current_dir(&data).spawn().unwrap();
        eventually("the sleeper's start", || is_named(sleeper.id(), "sleep").then_some(()));
        let alive = control.prove(true, far(), &never()).unwrap();
        assert!(alive.proof.contains(&sleeper.id().to_string()), "{alive:?}");
        let ended = control.fence(Generation(1), FenceLevel::ProvenStopped, false, false, far(), &never()).unwrap();
        assert_eq!(ended.level, FenceLevel::ProvenStopped, "{ended:?}");
        sleeper.wait().unwrap();
    }
    if is_root() {
        // Somebody else's directory: nothing could be proven, so nothing is begun.
        let foreign = tempfile::tempdir().unwrap();
        fs::write(foreign.path().join("PG_VERSION"), "15\n").unwrap();
        fs::set_permissions(foreign.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(foreign.path().metadata().unwrap().uid(), 0);
        let failure = control(&foreign.path().display().to_string()).report(false, far(), &never()).unwrap_err();
        assert!(failure.message.contains("another account") && failure.remedy.contains("owner"), "{failure:?}");
    }
}

#[test]
fn a_standby_is_promoted_and_a_primary_is_not() {
    let sshd = Sshd::start("");
    let mut server = Server::start();
    let control = server.control(&sshd.host());
    let refused = control.promote(far(), &never()).unwrap_err();
    assert!(refused.had_no_effect(), "{refused:?}");
    assert!(refused.message.contains("not in standby mode"), "{refused:?}");

    signal(server.postmaster(), "INT");
    server.process.as_mut().unwrap().wait().unwrap();
    server.place("standby.signal", "");
    server.launch();
    assert_eq!(server.query("SELECT pg_is_in_recovery()").as_deref(), Some("t"));
    control.promote(far(), &never()).unwrap();
    eventually("the end of recovery", || server.query("SELECT pg_is_in_recovery()").filter(|answer| answer == "f"));
}

#[test]
fn a_forced_command_allows_its_verbs_on_its_directory_and_nothing_else() {
    let server = Server::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/failover-host");
    let copy = server.folder.path().join("failover-host");
    fs::copy(script, &copy).unwrap();
    give(&copy);
    let params = server.params();
    let bin_dir = params.bin_dir.as_ref().map(|place| format!("--bin-dir {place}")).unwrap_or_default();
    let command = format!("{} --data-dir {} {bin_dir}", copy.display(), server.data().display());
    let sshd = Sshd::start(&format!("command=\"{command}\",restrict"));
    let ssh = sshd.host();

    let plain = server.control(&ssh).report(false, far(), &never()).unwrap_err();
    assert!(plain.message.contains("may run only failover-host") && plain.remedy.contains("wrapper"), "{plain:?}");

    // What the caller believes about the directory does not matter.
    let wrapped = HostParams { wrapper: true, data_dir: "/elsewhere".to_owned(), ..params };
    let control = HostControl::new(Arc::clone(&ssh), wrapped, Clock::start());
    let word = control.report(true, far(), &never()).unwrap();
    assert_eq!((word.postmaster, word.local_answer), (ProcessState::Running, LocalAnswer::Accepting));
    for line in [
        &["id"][..],
        &["word", "--data-dir", "-tmp"],
        &["word", "--data-dir", "/tmp"],
        &["word", ";", "id"],
        &["word", "$(id)"],
        &["word", "--limit"],
        &["word", "--limit", "x"],
        &["--data-dir", "x", "word"],
        &["word\nid"],
        &["stop"],
        &["start", "--generation", "x"],
        &["fence", "--generation", "9999999999999999999"],
        &["history"],
        &["history", "--timeline", "../../x"],
        &["history", "--timeline", "08"],
        &["control", "--data-dir", "/tmp"],
        &["verb_control"],
    ] {
        let done = ssh.exec_forced(line, &[], far(), &never(), &mut |_| {}).unwrap();
        let said = text(&done.stdout);
        assert_eq!(done.code, Some(2), "{line:?}: {said}");
        assert!(said.starts_with("failover-host=1\nerror=") && !said.contains("uid="), "{line:?}: {said}");
    }
    let report = control.fence(Generation(1), FenceLevel::ProvenStopped, false, false, far(), &never()).unwrap();
    assert_eq!((report.level, report.guard_placed), (FenceLevel::ProvenStopped, true));
    assert!(control.undo(Generation(1), far(), &never()).unwrap().starts_with("standby.signal removed"));

    // A key for looking only.
    let public = fs::read_to_string(sshd.path("key.pub")).unwrap();
    fs::write(sshd.path("authorized_keys"), format!("command=\"{command} --allow word,ready\",restrict {public}")).unwrap();
    let looking = HostControl::new(sshd.host(), HostParams { wrapper: true, ..server.params() }, Clock::start());
    assert_eq!(looking.report(false, far(), &never()).unwrap().postmaster, ProcessState::Gone);
    let refused = looking.fence(Generation(1), FenceLevel::ProvenStopped, false, true, far(), &never()).unwrap_err();
    assert!(refused.kind == FailureKind::Refused && refused.message.contains("may not run"), "{refused:?}");
    let refused = looking.stop(Generation(1), far(), &never()).unwrap_err();
    assert!(refused.kind == FailureKind::Refused && refused.message.contains("may not run"), "{refused:?}");
    assert!(looking.start(Generation(1), far(), &never()).is_err() && looking.control(far(), &never()).is_err());
}

/// Without a marker nobody could tell later whose guard it is, and the way back would leave a standby where there was a primary.
#[test]
fn an_orderly_stop_is_not_begun_where_its_marker_cannot_be_written() {
    let server = Server::start();
    let sshd = Sshd::start("");
    let control = server.control(&sshd.host());
    fs::create_dir(server.data().join("failover.fenced")).unwrap();
    let refused = control.stop(Generation(1), far(), &never()).unwrap_err();
    assert!(refused.message.contains("was not asked to stop, because failover.fenced"), "{refused:?}");
    assert!(refused.had_no_effect(), "it was taken back");
    assert!(refused.remedy.contains("writable"), "{refused:?}");
    assert!(!server.has("standby.signal"), "the guard was taken back");
    assert_eq!(server.query("SELECT pg_is_in_recovery()").as_deref(), Some("f"), "it was not asked to stop");
    fs::remove_dir(server.data().join("failover.fenced")).unwrap();
    assert!(control.stop(Generation(1), far(), &never()).unwrap().guard_placed);
}

/// A standby.signal that somebody left in the data directory of a running primary would make a standby of it at its next start.
#[test]
fn an_orderly_stop_is_not_begun_where_the_way_back_would_be_a_standby() {
    let server = Server::start();
    let sshd = Sshd::start("");
    let control = server.control(&sshd.host());
    fs::write(server.data().join("standby.signal"), "").unwrap();
    let refused = control.stop(Generation(1), far(), &never()).unwrap_err();
    assert!(refused.had_no_effect(), "{refused:?}");
    assert!(refused.message.contains("would not come back as a primary"), "{refused:?}");
    assert!(!server.has("failover.fenced"), "nothing was written");
    assert_eq!(server.query("SELECT pg_is_in_recovery()").as_deref(), Some("f"), "it was not asked to stop");
    // The remedy.
    assert!(refused.remedy.starts_with("remove standby.signal"), "{refused:?}");
    fs::remove_file(server.data().join("standby.signal")).unwrap();
    assert!(control.stop(Generation(1), far(), &never()).unwrap().guard_placed);
}

#[test]
fn an_answer_that_is_none_of_ours_is_named() {
    let params = HostParams { data_dir: "/tmp".to_owned(), wrapper: true, ..HostParams::default() };
    let sshd = Sshd::start("");
    let public = fs::read_to_string(sshd.path("key.pub")).unwrap();
    for (command, words) in [
        ("echo This account is currently not available.", "This account is currently not available."),
        ("echo failover-host=2", "speaks protocol 2, and this engine 1"),
        ("true", "said nothing"),
        ("echo welcome >&2; echo bash: failover-host: command not found >&2; exit 127", "failover-host: command not found"),
        ("printf 'welcome '; printf 'failover-host=1\\nend=ok\\n'", "makes no sense"),
        ("echo failover-host=1", "ends too early"),
        ("head -c 3000000 /dev/urandom", "did not answer as failover-host"),
        ("printf 'failover-host=1\\nend=ok\\n'", "makes no sense"),
        ("printf 'failover-host=1\\nproof=perhaps\\npostmaster=asleep\\nend=ok\\n'", "makes no sense"),
        ("printf 'failover-host=1\\nrung=melt ok x\\nproof=ok\\nview=killed\\nend=ok\\n'", "makes no sense: rung=melt"),
        ("printf 'failover-host=1\\nrung=guard ok placed\\n'; kill -KILL $$", "SIGKILL"),
    ] {
        fs::write(sshd.path("authorized_keys"), format!("command=\"{command}\" {public}")).unwrap();
        let control = HostControl::new(sshd.host(), params.clone(), Clock::start());
        let failure = control.fence(Generation(1), FenceLevel::ProvenStopped, false, true, far(), &never()).unwrap_err();
        assert!(failure.message.contains(words), "{command}: {failure:?}");
        let word = control.report(false, far(), &never()).unwrap_err();
        if command.ends_with("=2") {
            // What it did with the order is not known, and the same question would get the same answer.
            assert_eq!((failure.kind, word.kind), (FailureKind::Unknown, FailureKind::Refused));
        }
    }
}

// A server that begins anew.

impl Server {
    /// As after a loss of power, but for its segment.
    fn crash(&self) {
        for pid in working_in(&self.data()) {
            signal(pid, "KILL");
        }
        eventually("the end of all", || working_in(&self.data()).is_empty().then_some(()));
    }

    fn is_unguarded(&self) {
        for name in ["standby.signal", "failover.fenced"] {
            let _ = fs::remove_file(self.data().join(name));
        }
    }

    fn much_log(&self) {
        let sql = "CREATE TABLE IF NOT EXISTS much (number int); INSERT INTO much SELECT generate_series(1, 200000)";
        self.connect().unwrap().batch_execute(sql).unwrap();
    }
}

/// The segment of shared memory is another one after a crash, and postmaster.pid tells so a moment later.
#[test]
fn a_server_in_crash_recovery_is_fenced_and_proven_at_whatever_moment_of_it() {
    let mut server = Server::start();
    let sshd = Sshd::start("");
    let ssh = sshd.host();
    let control = server.control(&ssh);
    for round in 0..6 {
        server.much_log();
        if round % 2 == 0 {
            // Somebody's supervisor starts it again.
            server.crash();
            server.spawn();
            eventually("a postmaster", || server.pidfile(1).filter(|pid| *pid == server.postmaster().to_string()));
        } else {
            // One of its sessions crashes, and it starts itself again.
            let session: u32 =
                server.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'").unwrap().parse().unwrap();
            signal(session, "KILL");
        }
        let hung = round % 3 == 0;
        let report = control.fence(Generation(1), FenceLevel::ProvenStopped, hung, true, far(), &never()).unwrap();
        assert_eq!(report.level, FenceLevel::ProvenStopped, "{round}: {report:?}");
        assert_eq!(working_in(&server.data()), [0; 0], "{round}");
        server.is_unguarded();
        server.launch();
    }
}

/// What postmaster.pid names is not there yet, or not any more, while the server is alive: it is looked at again before anything is done.
#[test]
fn a_segment_that_changes_while_it_is_read_is_looked_at_again() {
    for line in ["  5432001  99999999", ""] {
        let server = Server::start();
        let pidfile = server.data().join("postmaster.pid");
        let right = server.place("right.pid", &fs::read_to_string(&pidfile).unwrap());
        let torn: Vec<String> = fs::read_to_string(&pidfile)
            .unwrap()
            .lines()
            .enumerate()
            .map(|(at, old)| if at == 6 { line.to_owned() } else { old.to_owned() })
            .collect();
        fs::write(&pidfile, torn.join("\n") + "\n").unwrap();
        // Its first wait is the moment at which the server has written the rest.
        let tools = folder();
        let sleep = tools.path().join("sleep");
        let once = format!("[ ! -e {0} ] || {{ cat {0} >{1}; rm {0}; }}", right.display(), pidfile.display());
        fs::write(&sleep, format!("#!/bin/sh\n{once}\nexec /usr/bin/sleep \"$@\"\n")).unwrap();
        fs::set_permissions(&sleep, fs::Permissions::from_mode(0o755)).unwrap();
        give(&sleep);
        let mut script = as_account("sh");
        script.env("PATH", format!("{}:/usr/bin:/bin", tools.path().display()));
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/failover-host")).arg("--data-dir").arg(server.data());
        script.args(["fence", "--generation", "1"]);
        let said = text(&script.output().unwrap().stdout);
        assert!(said.contains("\nproof=ok\n") && said.contains("rung=stop_fast ok"), "{line:?}: {said}");
    }
}

// A planned change of places.

/// The two ways in: the script that is sent, and the same one installed as a forced command, with `pinned` in `authorized_keys`.
fn both_ways(server: &Server, pinned: &str) -> [(Sshd, Arc<SshHost>, HostParams); 2] {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/failover-host");
    let copy = server.folder.path().join("failover-host");
    fs::copy(script, &copy).unwrap();
    give(&copy);
    let params = server.params();
    let bin_dir = params.bin_dir.as_ref().map(|place| format!("--bin-dir {place}")).unwrap_or_default();
    let command = format!("{} --data-dir {} {bin_dir} {pinned}", copy.display(), server.data().display());
    [("", false), (&format!("command=\"{command}\",restrict"), true)].map(|(options, wrapper)| {
        let sshd = Sshd::start(options);
        let ssh = sshd.host();
        (sshd, ssh, HostParams { wrapper, ..params.clone() })
    })
}

impl Server {
    /// Waits for the end of the server that this test started.
    fn reap(&mut self) {
        self.process.take().unwrap().wait().unwrap();
    }

    /// Starts it again with other settings.
    fn reconfigure(&mut self, settings: &[&str]) {
        for setting in settings {
            self.connect().unwrap().batch_execute(&format!("ALTER SYSTEM SET {setting}")).unwrap();
        }
        signal(self.postmaster(), "INT");
        self.launch();
    }

    fn has(&self, name: &str) -> bool {
        self.data().join(name).exists()
    }

    fn marker(&self) -> String {
        fs::read_to_string(self.data().join("failover.fenced")).unwrap()
    }
}

#[test]
fn pg_control_is_read_while_the_server_runs_and_before_its_processes_are_gone() {
    let mut server = Server::start();
    let go = server.folder.path().join("go");
    let archive = format!("archive_command = 'while [ ! -e {} ]; do sleep 0.01; done'", go.display());
    server.reconfigure(&["archive_mode = 'on'", &archive]);
    for (sshd, ssh, params) in both_ways(&server, "") {
        let control = HostControl::new(ssh, params, Clock::start());
        let data = control.control(far(), &never()).unwrap();
        assert_eq!((&data.state, data.timeline), (&ControlState::InProduction, 1));
        let of_server = |what: &str| server.query(&format!("SELECT {what} FROM pg_control_checkpoint(), pg_control_system()"));
        assert_eq!(of_server("system_identifier"), Some(data.system_id.to_string()));
        assert_eq!(of_server("checkpoint_lsn"), Some(data.checkpoint.to_string()));
        assert_eq!(of_server("redo_lsn"), Some(data.redo.to_string()));

        // A segment that the archiver does not get rid of keeps the server from its end, and not from its last checkpoint.
        server.query("SELECT pg_logical_emit_message(false, 'x', 'x')").unwrap();
        server.query("SELECT pg_switch_wal()").unwrap();
        let order = control.stop(Generation(4), far(), &never()).unwrap();
        assert_eq!(order, StopOrder { guard_placed: true, postmaster: Some(server.postmaster()) });
        let ended = eventually("the last checkpoint", || {
            Some(control.control(far(), &never()).unwrap()).filter(|data| data.state == ControlState::ShutDown)
        });
        assert!(stat(server.postmaster()).is_some_and(|(state, _)| state != 'Z'), "the archiver still holds it");
        assert!(ended.checkpoint > data.checkpoint && ended.redo == ended.checkpoint);
        fs::write(&go, "").unwrap();
        server.reap();
        let (_, end) = control.report_and_end(false, far(), &never()).unwrap();
        assert_eq!(end.map(|end| (end.at, end.timeline)), Some((ended.checkpoint, 1)));
        assert_eq!(control.control(far(), &never()).unwrap(), ended);
        fs::remove_file(&go).unwrap();
        fs::remove_file(server.data().join("standby.signal")).unwrap();
        fs::remove_file(server.data().join("failover.fenced")).unwrap();
        server.launch();
        drop(sshd);
    }
    fs::write(&go, "").unwrap();
}

/// Rules 84 and 91: what pg_isready ends with there is told as it is.
#[test]
fn what_pg_isready_ends_with_there_is_told() {
    let server = Server::start();
    let tools = server.folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    give(&tools);
    fs::set_permissions(&tools, fs::Permissions::from_mode(0o755)).unwrap();
    let sshd = Sshd::start("");
    let params = HostParams { bin_dir: Some(tools.display().to_string()), ..server.params() };
    let control = HostControl::new(sshd.host(), params, Clock::start());
    for (code, expected) in
        [(0, LocalAnswer::Accepting), (1, LocalAnswer::Rejecting), (2, LocalAnswer::Silent), (3, LocalAnswer::NotAsked)]
    {
        let program = tools.join("pg_isready");
        fs::write(&program, format!("#!/bin/sh\nexit {code}\n")).unwrap();
        give(&program);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(control.report(true, far(), &never()).unwrap().local_answer, expected, "{code}");
    }
}

/// It is written while it is read: what pg_controldata warns of is not believed.
#[test]
fn pg_control_that_is_torn_is_read_again() {
    let server = Server::start();
    let tools = server.folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let program = tools.join("pg_controldata");
    let script = format!(
        "#!/bin/sh\nif [ ! -e {0}/asked ]; then : >{0}/asked; echo 'WARNING: Calculated CRC checksum does not match value stored in file.'; \
         {1} \"$@\" | sed \"s/in production/shut down/; s/TimeLineID: *[0-9]*/TimeLineID: 9/\"; exit 0; fi\nexec {1} \"$@\"\n",
        tools.display(),
        pg("pg_controldata").display()
    );
    fs::write(&program, script).unwrap();
    for path in [&tools, &program] {
        give(path);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let sshd = Sshd::start("");
    let params = HostParams { bin_dir: Some(tools.display().to_string()), ..server.params() };
    let control = HostControl::new(sshd.host(), params, Clock::start());
    let data = control.control(far(), &never()).unwrap();
    assert_eq!((&data.state, data.timeline), (&ControlState::InProduction, 1));
    assert!(tools.join("asked").exists());
}

#[test]
fn a_stop_asks_and_never_kills_and_a_start_brings_the_primary_back() {
    let mut server = Server::start();
    for (sshd, ssh, params) in both_ways(&server, "") {
        let control = HostControl::new(Arc::clone(&ssh), params, Clock::start());
        let postmaster: u32 = server.pidfile(1).unwrap().parse().unwrap();
        // A backend that hears nothing holds the shutdown up.
        let mut holding = server.connect().unwrap();
        let backend: i32 = holding.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        let backend = u32::try_from(backend).unwrap();
        signal(backend, "STOP");
        let order = StopOrder { guard_placed: true, postmaster: Some(postmaster) };
        assert_eq!(control.stop(Generation(3), far(), &never()).unwrap(), order);
        assert!(server.has("standby.signal") && server.marker().contains("\ngeneration=3\n"), "{}", server.marker());
        eventually("nobody is let in", || server.connect().is_none().then_some(()));
        assert_eq!(control.stop(Generation(3), far(), &never()).unwrap(), order, "asked again, and no more");
        let word = control.report(false, far(), &never()).unwrap();
        assert_eq!((word.postmaster, word.stopped), (ProcessState::Running, 1), "{word:?}");
        let refused = control.start(Generation(3), far(), &never()).unwrap_err();
        assert!(refused.had_no_effect());
        assert!(refused.message.contains("still runs") && server.has("standby.signal"), "{refused:?}");
        signal(backend, "CONT");
        eventually("the end", || stat(postmaster).is_none_or(|(state, _)| state == 'Z').then_some(()));
        let state = control.control(far(), &never()).unwrap().state;
        assert_eq!(state, ControlState::ShutDown, "in an orderly way: nobody was killed");
        let nobody = StopOrder { guard_placed: true, postmaster: None };
        assert_eq!(control.stop(Generation(3), far(), &never()).unwrap(), nobody);
        if let Some(mut process) = server.process.take() {
            process.wait().unwrap();
        }

        // Somebody's shell in the data directory is no server.
        let mut shell = as_account("sleep").arg("600").current_dir(server.data()).spawn().unwrap();
        eventually("the sleeper's start", || is_named(shell.id(), "sleep").then_some(()));
        let said = control.start(Generation(3), far(), &never()).unwrap();
        assert_eq!(said, "standby.signal removed; pg_ctl start has ended well");
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(!server.has("standby.signal") && !server.has("failover.fenced"));
        ssh.close();
        eventually("the end of the session", || sshd.descendants().is_empty().then_some(()));
        drop(sshd);
        assert_eq!(server.query("SELECT pg_is_in_recovery()").as_deref(), Some("f"));
        // With the options of its last start: the port is one of them.
        assert!(server.has("failover.log"));
        let again = server.pidfile(1).unwrap().parse::<u32>().unwrap();
        assert_ne!(again, postmaster);
        let environment = fs::read(format!("/proc/{again}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("SSH_"), "nothing of the session is left");
    }
}

#[test]
fn a_start_command_is_run_instead_of_pg_ctl() {
    let mut server = Server::start();
    let told = server.folder.path().join("told");
    let words = ["sh", "-c", &format!("echo \"it's $0\" >> {}", told.display()), "me  too"].map(str::to_owned);
    let pinned = format!("--start-command 'echo it is me too >> {}'", told.display());
    signal(server.postmaster(), "INT");
    server.reap();
    for ((_sshd, ssh, params), expected) in both_ways(&server, &pinned).into_iter().zip(["it's me  too", "it is me too"]) {
        let wrapper = params.wrapper;
        let params = HostParams { start_command: words.to_vec(), ..params };
        let control = HostControl::new(Arc::clone(&ssh), params.clone(), Clock::start());
        control.stop(Generation(7), far(), &never()).unwrap();
        let said = control.start(Generation(7), far(), &never()).unwrap();
        assert_eq!(said, "standby.signal removed; ssh.start_command has ended well");
        assert_eq!(fs::read_to_string(&told).unwrap().trim(), expected);
        assert_eq!(working_in(&server.data()), Vec::<u32>::new(), "nobody else started anything");
        fs::remove_file(&told).unwrap();
        if wrapper {
            let line = ["start", "--generation", "7", "--start-command", "id"];
            let done = ssh.exec_forced(&line, &[], far(), &never(), &mut |_| {}).unwrap();
            let said = text(&done.stdout);
            assert!(done.code == Some(2) && said.contains("unknown option") && !told.exists(), "{said}");
        } else {
            let failing = HostParams { start_command: vec!["false".to_owned()], ..params };
            let failure = HostControl::new(ssh, failing, Clock::start()).start(Generation(7), far(), &never()).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unknown);
            assert!(failure.message.contains("ssh.start_command ended with 1"), "{failure:?}");
        }
    }
}

#[test]
fn the_guard_belongs_to_the_latest_failover_that_placed_it() {
    let mut server = Server::start();
    signal(server.postmaster(), "INT");
    server.reap();
    for (_sshd, ssh, params) in both_ways(&server, "") {
        let control = HostControl::new(ssh, params, Clock::start());
        let fence = |generation| {
            let report = control.fence(Generation(generation), FenceLevel::ProvenStopped, false, true, far(), &never()).unwrap();
            assert!(report.guard_placed, "{report:?}");
        };
        let kept = |generation: u64, owner: u64| {
            let said = control.undo(Generation(generation), far(), &never()).unwrap();
            assert!(said.contains(&format!("the later failover {owner} has fenced this server")), "{said}");
            let refused = control.start(Generation(generation), far(), &never()).unwrap_err();
            assert!(refused.had_no_effect());
            assert!(refused.message.contains(&format!("failover {owner}")), "{refused:?}");
            assert!(server.has("standby.signal") && server.marker().contains(&format!("\ngeneration={owner}\n")));
        };
        fence(2);
        kept(1, 2);
        // A straggler does not get it, a later one does.
        fence(1);
        kept(1, 2);
        fence(3);
        kept(2, 3);
        assert!(control.undo(Generation(3), far(), &never()).unwrap().starts_with("standby.signal removed"));
        assert!(!server.has("standby.signal") && !server.has("failover.fenced"));
        // What was left unfinished is taken back by who takes it up, under a number of its own.
        fence(3);
        assert!(control.undo(Generation(4), far(), &never()).unwrap().starts_with("standby.signal removed"));
        // A marker without its guard is a left-over, whatever its number.
        let marker = server.place("failover.fenced", "guard=placed\nfrozen=\ngeneration=9\n");
        fence(5);
        assert!(control.undo(Generation(5), far(), &never()).unwrap().starts_with("standby.signal removed"));
        assert!(!marker.exists());
        // An older version wrote no number.
        server.place("failover.fenced", "guard=placed\nfrozen=\n");
        server.place("standby.signal", "");
        assert!(control.undo(Generation(1), far(), &never()).unwrap().starts_with("standby.signal removed"));
    }
}

#[test]
fn the_history_of_a_timeline_is_read_from_its_file() {
    let mut server = Server::start();
    signal(server.postmaster(), "INT");
    server.reap();
    server.place("standby.signal", "");
    server.launch();
    let ways = both_ways(&server, "");
    let controls = ways.each_ref().map(|(_, ssh, params)| HostControl::new(Arc::clone(ssh), params.clone(), Clock::start()));
    controls[0].promote(far(), &never()).unwrap();
    eventually("the end of recovery", || server.query("SELECT pg_is_in_recovery()").filter(|answer| answer == "f"));
    let file = fs::read_to_string(server.data().join("pg_wal/00000002.history")).unwrap();
    let switched = Lsn::parse(file.split_whitespace().nth(1).unwrap()).unwrap();
    for control in controls {
        assert_eq!(control.history(2, far(), &never()).unwrap(), [(1, switched)]);
        assert_eq!(control.history(1, far(), &never()).unwrap(), []);
        let none = control.history(u32::MAX, far(), &never()).unwrap_err();
        assert!(none.had_no_effect());
        assert!(none.message.contains("FFFFFFFF.history"), "{none:?}");
    }
}

// The rights.

#[test]
fn the_role_may_do_what_a_failover_needs_and_nothing_else() {
    let server = Server::start();
    let role = "fail over's";
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/rights.sql");
    let copy = server.folder.path().join("rights.sql");
    fs::copy(script, &copy).unwrap();
    give(&copy);
    let mut owner = server.connect().unwrap();
    owner.batch_execute("CREATE TABLE orders (id int)").unwrap();
    for time in ["first", "second"] {
        let said = output(
            as_account(pg("psql"))
                .args(["-X", "-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "postgres", "-d", "postgres"])
                .args(["-v", &format!("role={role}"), "-f"])
                .arg(&copy),
        );
        let told = format!("Granted to role \"{role}\" in database \"postgres\"");
        assert!(said.contains(&told) && said.contains("EXECUTE on pg_promote"), "{time}: {said}");
        assert!(!said.contains("ERROR") && !said.contains("WARNING"), "{time}: {said}");
    }
    let mut config = postgres::Config::new();
    config.host("127.0.0.1").port(server.port).user(role).dbname("postgres");
    let mut client = config.connect(postgres::NoTls).unwrap();
    for allowed in [
        "SELECT * FROM pg_stat_replication",
        "SELECT * FROM pg_stat_wal_receiver",
        "SELECT system_identifier FROM pg_control_system()",
        "SELECT pg_current_wal_flush_lsn(), pg_walfile_name(pg_current_wal_lsn())",
        "BEGIN; SET LOCAL synchronous_commit = local; SELECT pg_logical_emit_message(true, 'libfailover', 'x'); COMMIT",
        "SELECT setting FROM pg_settings WHERE name = 'data_directory' AND setting IS NOT NULL",
        "ALTER SYSTEM SET synchronous_standby_names = ''",
        "ALTER SYSTEM RESET synchronous_standby_names",
        "ALTER SYSTEM SET primary_conninfo = ''",
        "ALTER SYSTEM SET primary_slot_name = ''",
        "SELECT pg_reload_conf()",
        "CHECKPOINT",
    ] {
        client.batch_execute(allowed).unwrap_or_else(|error| panic!("{allowed}: {error:?}"));
    }
    // Not in recovery: the error is the server's state, not the lack of a right.
    let refused = client.batch_execute("SELECT pg_promote(false)").unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "55000", "{refused:?}");
    let seen = client.query_one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE TABLE orders%'", &[]);
    assert_eq!(seen.unwrap().get::<_, i64>(0), 1, "what other sessions do is visible");
    for forbidden in [
        "SELECT * FROM orders",
        "CREATE TABLE mine (id int)",
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET restore_command = ''",
        "SELECT pg_create_physical_replication_slot('x')",
        "SELECT pg_read_file('PG_VERSION')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "CREATE ROLE another",
        "SELECT pg_switch_wal()",
        "CREATE DATABASE another",
    ] {
        let Err(refused) = client.batch_execute(forbidden) else { panic!("{forbidden} was allowed") };
        assert_eq!(refused.code().unwrap().code(), "42501", "{forbidden}: {refused:?}");
    }
}

/// A number with leading zeros is a decimal one.
#[test]
fn a_time_with_leading_zeros_is_taken_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let said = |name: &str, value: &str| {
        let mut script = Command::new("sh");
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/failover-host")).arg("--data-dir").arg(folder.path());
        let output = script.args(["fence", "--generation", "1", name, value]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name} {value}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (name, value) in [("--fast-ms", "08"), ("--fast-ms", "0"), ("--kill-ms", "0090"), ("--limit", "008")] {
        // Taken: what it says next is that this folder holds no cluster.
        assert!(said(name, value).contains("error=not_a_data_dir"), "{name} {value}");
    }
    for (name, value) in [("--fast-ms", "8x"), ("--fast-ms", ""), ("--limit", "00"), ("--kill-ms", "600001")] {
        assert!(said(name, value).contains("error=bad_request"), "{name} {value}");
    }
}
