//! Hands on replication: who follows whom, who has heard how much, and single processes that stand still.

use std::fs;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use super::lab::wait_until;
use super::postgres::PgServer;
use super::process::signal_all;

const LONG: Duration = Duration::from_secs(30);
/// A standby whose log has gone its own way never streams; one that can, does so at once.
const REJOINS_WITHIN: Duration = Duration::from_secs(8);

/// Processes that stand still until this is dropped.
#[derive(Debug)]
pub struct Stopped(Vec<i32>);

impl Stopped {
    /// SIGSTOP to each.
    pub fn stop(pids: impl IntoIterator<Item = i32>) -> Stopped {
        let pids: Vec<i32> = pids.into_iter().collect();
        signal_all(pids.iter().copied(), Signal::STOP);
        Stopped(pids)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal_all(self.0.iter().copied(), Signal::CONT);
    }
}

/// A process that mostly stands still, until this is dropped.
pub struct Slow {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Slow {
    /// It rests for a time, runs for a moment, and rests again.
    pub fn make(pid: i32, rest: Duration, awake: Duration) -> io::Result<Slow> {
        let (over, ended) = mpsc::channel();
        let first = Stopped::stop([pid]);
        let thread = std::thread::Builder::new().name("slow".to_owned()).spawn(move || {
            let mut stopped = Some(first);
            while ended.recv_timeout(if stopped.is_some() { rest } else { awake }) == Err(RecvTimeoutError::Timeout) {
                stopped = if stopped.is_some() { None } else { Some(Stopped::stop([pid])) };
            }
        })?;
        Ok(Slow { over: Some(over), thread: Some(thread) })
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.over = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A row of `pg_stat_replication` that certainly belongs to one standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalSender {
    /// The WAL sender's process.
    pub pid: i32,
    /// `async`, `potential`, `sync`, `quorum`.
    pub sync_state: String,
}

impl PgServer {
    /// The process id of this standby's WAL receiver, if it has one.
    pub fn receiver(&self) -> io::Result<Option<i32>> {
        Ok(self.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'")?.parse().ok())
    }

    /// The WAL sender that serves a standby, found by the two ends of one connection: names may be equal.
    pub fn sender_to(&self, standby: &PgServer) -> io::Result<WalSender> {
        wait_until(&format!("{} sends to {}", self.name(), standby.name()), LONG, || {
            let Some(receiver) = standby.receiver()? else { return Ok(None) };
            let Some(port) = port_of(receiver, self.port()) else { return Ok(None) };
            let sql =
                format!("SELECT pid, sync_state FROM pg_stat_replication WHERE client_port = {port} AND state = 'streaming'");
            let rows = self.query(&sql)?;
            let text = |place: usize| rows.first().and_then(|row| row.get(place).cloned().flatten());
            let pid = text(0).and_then(|pid| pid.parse().ok());
            Ok(pid.map(|pid| WalSender { pid, sync_state: text(1).unwrap_or_default() }))
        })
    }

    /// A standby hears nothing more from here, and does not know it: its sender stands still.
    pub fn stop_sending_to(&self, standby: &PgServer) -> io::Result<Stopped> {
        Ok(Stopped::stop([self.sender_to(standby)?.pid]))
    }

    /// This standby's receiver stands still: what arrives waits in its socket.
    pub fn stop_receiver(&self) -> io::Result<Stopped> {
        Ok(Stopped::stop([self.receiver_there()?]))
    }

    /// This standby's receiver gets little done: it rests for a time, and runs for a moment.
    pub fn slow_receiver(&self, rest: Duration, awake: Duration) -> io::Result<Slow> {
        Slow::make(self.receiver_there()?, rest, awake)
    }

    fn receiver_there(&self) -> io::Result<i32> {
        self.receiver()?.ok_or_else(|| io::Error::other(format!("{} has no receiver", self.name())))
    }

    /// Ends this standby's reception for good: it follows nobody.
    pub fn end_reception(&self) -> io::Result<()> {
        self.set_upstream("")?;
        wait_until(&format!("{} has no receiver", self.name()), LONG, || Ok(self.receiver()?.is_none().then_some(())))
    }

    /// Makes this standby follow another server, or follow again, without a restart; `wait_following` says when it does.
    pub fn follow(&self, upstream: &PgServer) -> io::Result<()> {
        self.set_upstream(&self.conninfo(upstream)?)
    }

    fn set_upstream(&self, conninfo: &str) -> io::Result<()> {
        let mut session = self.session()?;
        // Never in a transaction, so one statement at a time.
        session.query(&format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'"), LONG)?;
        session.query("SELECT pg_reload_conf()", LONG)?;
        Ok(())
    }

    /// Waits until this standby streams from `upstream` and has everything that was there when the wait began.
    pub fn wait_following(&self, upstream: &PgServer) -> io::Result<()> {
        self.followed_within(upstream, LONG)
    }

    fn followed_within(&self, upstream: &PgServer, longest: Duration) -> io::Result<()> {
        let end = upstream.value("SELECT pg_current_wal_flush_lsn()")?;
        let sql = format!(
            "SELECT count(*) FROM pg_stat_wal_receiver
             WHERE status = 'streaming' AND sender_port = {} AND flushed_lsn >= '{end}' AND pg_last_wal_replay_lsn() >= '{end}'",
            upstream.port()
        );
        wait_until(&format!("{} follows {}", self.name(), upstream.name()), longest, || {
            Ok((self.value(&sql)? == "1").then_some(()))
        })
    }

    /// Makes a server that was ended a standby of `upstream`: with its own data where its log did not go another way (true), else
    /// from a new copy.
    pub fn rejoin(&self, upstream: &PgServer) -> io::Result<bool> {
        self.kill_all();
        let data = self.data_dir();
        let auto = data.join("postgresql.auto.conf");
        let settings = format!("{}primary_conninfo = '{}'\n", fs::read_to_string(&auto)?, self.conninfo(upstream)?);
        self.write_own(&auto, &settings)?;
        self.write_own(&data.join("standby.signal"), "")?;
        self.start()?;
        if self.followed_within(upstream, REJOINS_WITHIN).is_ok() {
            return Ok(true);
        }
        self.rebuild_from(upstream)?;
        Ok(false)
    }

    /// `pg_ctl restart`, of the immediate kind: it comes back through recovery.
    pub fn restart_at_once(&self) -> io::Result<()> {
        self.stop(super::postgres::StopMode::Immediate)?;
        self.launch()
    }

    /// The startup process stands still: nothing more is replayed.
    pub fn stop_startup(&self) -> Stopped {
        let startup = |pid: &i32| title(*pid).contains("startup");
        Stopped::stop(self.processes().iter().map(|seen| seen.pid).filter(startup))
    }

    /// The processes of WAL senders that are left, also where no postmaster is.
    pub fn senders_left(&self) -> usize {
        self.processes().iter().filter(|seen| title(seen.pid).contains("walsender")).count()
    }

    /// The backend of the session in which the engine samples. Those of its checks end within moments, and that of its survey asks
    /// something else.
    pub fn kept_backend(&self) -> io::Result<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'libfailover/%'
                   AND query LIKE 'SELECT s.recovering AS in_recovery%'
                   AND backend_start < now() - interval '2 seconds'
                   AND state_change > now() - interval '1 second' ORDER BY backend_start LIMIT 1";
        wait_until("the engine keeps a session", LONG, || Ok(self.value(sql)?.parse().ok()))
    }
}

/// How a process calls itself.
fn title(pid: i32) -> String {
    fs::read(format!("/proc/{pid}/cmdline")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The TCP connections of a process, as the fields of `/proc/net/tcp`.
fn connections(pid: i32) -> Option<Vec<Vec<String>>> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    Some(rows.filter(|row| row.get(9).is_some_and(|inode| sockets.contains(inode))).collect())
}

/// The local port of a process's TCP connection to a port of this machine.
fn port_of(pid: i32, to: u16) -> Option<u16> {
    let port = |address: &String| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    let rows = connections(pid)?;
    rows.iter().find(|row| row.get(2).and_then(port) == Some(to)).and_then(|row| row.get(1).and_then(port))
}

/// Waits until something has arrived for a process that it has not read.
pub fn wait_unread(pid: i32) -> io::Result<()> {
    let waits =
        |row: &Vec<String>| row.get(4).and_then(|queues| queues.rsplit_once(':')).is_some_and(|(_, unread)| unread != "00000000");
    wait_until(&format!("something waits for process {pid}"), LONG, || {
        Ok(connections(pid).is_some_and(|rows| rows.iter().any(waits)).then_some(()))
    })
}
