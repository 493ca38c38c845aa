//! A cluster with its engine and a writer, what came of a fault, and an account of the rows.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cluster::{Cluster, ClusterOptions};
use super::engine::{Engine, Origin, program};
use super::lab::wait_until;
use super::postgres::PgServer;
use super::process::Process;
use super::recording::{Attempt, Event, Outcome};
use super::replication::WalSender;
use super::service::SERVICE;
use super::writer::{Writer, WriterOptions, compare};

/// Nothing here is waited for longer.
pub const LONGEST: Duration = Duration::from_secs(30);
/// The default of `max_lag_bytes`.
pub const MIB: u64 = 1 << 20;
/// Nothing that is done within it is seen while it is done.
pub const SELDOM_ASKED: &str = "
  [services.trigger]
  ping_interval = \"800ms\"
  [services.check_defaults]
  interval = \"4s\"
";
const ENOUGH_ROWS: usize = 40;
/// An inserted row and its commit take more than this in the log.
const ROW_BYTES: u64 = 100;

/// One at a time: a cluster, its engine and its writer want a machine for themselves.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that runs.
pub struct Trial {
    /// The engine; ended before its servers are.
    pub engine: Engine,
    /// The writer.
    pub writer: Writer,
    /// The servers.
    pub cluster: Cluster,
    origin: Origin,
    /// Events of engines that are gone.
    earlier: Vec<Event>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub enum End {
    /// A failover was completed.
    Completed(Event),
    /// A person was called.
    Person(Event),
    /// What was done was taken back.
    RolledBack(Event),
}

impl End {
    /// Its event.
    pub fn event(&self) -> &Event {
        match self {
            End::Completed(event) | End::Person(event) | End::RolledBack(event) => event,
        }
    }

    /// Who was promoted.
    pub fn promoted(&self) -> Option<&str> {
        match self {
            End::Completed(event) => event.server.as_deref(),
            _ => None,
        }
    }
}

/// What is where at the end.
#[derive(Clone, Debug)]
pub struct Account {
    /// Whoever takes writes.
    pub writable: Vec<String>,
    /// Acknowledged rows that are not there, for each of those.
    pub missing: BTreeMap<String, usize>,
    /// What the writer did.
    pub attempts: Vec<Attempt>,
    /// What was said, for a failed test.
    pub story: String,
}

impl Account {
    /// The rows that are missing on the only server that takes writes; `None` where there is none.
    pub fn lost(&self) -> Option<usize> {
        assert!(self.writable.len() < 2, "two servers take writes: {:?}\n{}", self.writable, self.story);
        self.missing.values().next().copied()
    }
}

impl Trial {
    /// Starts everything and waits until the engine is ready and the writer writes.
    pub fn start(options: &ClusterOptions) -> io::Result<Trial> {
        Trial::with(Cluster::start(options, |_| {})?)
    }

    /// The same with a cluster to which something was done before.
    pub fn with(cluster: Cluster) -> io::Result<Trial> {
        let trial = Trial::not_ready(cluster)?;
        trial.engine.wait_ready(LONGEST)?;
        Ok(trial)
    }

    /// The same where no failover would go through yet.
    pub fn not_ready(cluster: Cluster) -> io::Result<Trial> {
        let origin = Origin::now();
        let writer = Writer::start(WriterOptions::to(cluster.haproxy.way_in()), origin.instant)?;
        let engine = cluster.engine(origin)?;
        let trial = Trial { engine, writer, cluster, origin, earlier: Vec::new() };
        trial.await_rows(ENOUGH_ROWS)?;
        Ok(trial)
    }

    /// Now, in nanoseconds of the trial.
    pub fn now(&self) -> u64 {
        self.writer.now()
    }

    /// Waits until the writer was acknowledged so many more rows.
    pub fn await_rows(&self, count: usize) -> io::Result<()> {
        let before = self.writer.acknowledged().1;
        wait_until("the writer writes", LONGEST, || Ok((self.writer.acknowledged().1 >= before + count).then_some(())))
            .map_err(|error| self.explain(&error))
    }

    /// Waits for an event from this moment on.
    pub fn await_event(&self, what: &str, from: u64, fits: impl Fn(&Event) -> bool) -> io::Result<Event> {
        let mut seen = 0;
        let found = wait_until(what, LONGEST, || {
            let news = self.engine.events_from(seen, Duration::from_millis(100));
            seen += news.len();
            Ok(news.into_iter().find(|event| event.at >= from && fits(event)))
        });
        found.map_err(|error| self.explain(&error))
    }

    /// As `await_event`, for what must not come: `None` when it has not within this time.
    pub fn watch(&self, from: u64, span: Duration, fits: impl Fn(&Event) -> bool) -> Option<Event> {
        let until = Instant::now() + span;
        let mut seen = 0;
        while Instant::now() < until {
            let news = self.engine.events_from(seen, Duration::from_millis(100));
            seen += news.len();
            if let Some(event) = news.into_iter().find(|event| event.at >= from && fits(event)) {
                return Some(event);
            }
        }
        None
    }

    /// Waits for how it ends.
    pub fn end(&self, from: u64) -> io::Result<End> {
        let kinds = ["failover_completed", "manual_intervention", "rolled_back"];
        let event = self.await_event("an end", from, |event| kinds.contains(&event.kind.as_str()))?;
        println!("{}: {}", event.kind, event.message);
        if event.kind == "rolled_back" {
            // Whoever is called for it is called in the same moment.
            let person = self.watch(event.at, Duration::from_secs(1), |next| next.kind == "manual_intervention");
            return Ok(person.map_or(End::RolledBack(event), End::Person));
        }
        Ok(if event.kind == "failover_completed" { End::Completed(event) } else { End::Person(event) })
    }

    /// An error with everything that was said.
    pub fn explain(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{error}\n{}\n{}", self.story(), self.engine.log_tail()))
    }

    /// What was said so far, but for single observations.
    pub fn story(&self) -> String {
        let all = self.earlier.iter().cloned().chain(self.engine.events());
        let told = all.filter(|event| event.kind != "observed");
        let line = |event: Event| format!("{:>8} ms {} {}", event.at / 1_000_000, event.kind, event.message);
        told.map(line).collect::<Vec<_>>().join("\n")
    }

    /// Runs the command line to its end against this engine: its exit code and what it printed. That it does not come to an end
    /// in time is an error.
    pub fn command(&self, arguments: &[&str]) -> io::Result<(i32, String)> {
        let lab = &self.cluster.lab;
        let mut command = std::process::Command::new(program()?);
        command.args(arguments).arg("--socket").arg(&self.cluster.control);
        let name = format!("command-{}", arguments[0]);
        let before = std::fs::read_to_string(lab.log_path(&name)).unwrap_or_default().len();
        let process: Process = lab.spawn(&name, command)?;
        let status = wait_until(&name, LONGEST, || Ok(process.wait(Duration::from_millis(50))));
        let status = status.map_err(|error| self.explain(&error))?;
        let text = std::fs::read_to_string(lab.log_path(&name))?;
        Ok((status.code().unwrap_or(-1), text.get(before..).unwrap_or_default().to_owned()))
    }

    /// Ends the pause after a failover, and waits until another one would go through.
    pub fn ready_again(&self) -> io::Result<()> {
        let (code, text) = self.command(&["reset", SERVICE])?;
        if code != 0 {
            return Err(self.explain(&io::Error::other(format!("reset: {code} {text}"))));
        }
        self.engine.wait_ready(LONGEST).map_err(|error| self.explain(&error))
    }

    /// The engine is ended by SIGTERM, or where it may not even notice, by SIGKILL.
    pub fn end_engine(&mut self, clean: bool) {
        if clean {
            self.engine.stop();
        } else {
            self.engine.kill();
        }
        self.earlier.extend(self.engine.events());
    }

    /// Another engine with the same configuration and state.
    pub fn start_engine(&mut self) -> io::Result<()> {
        self.engine = self.cluster.engine(self.origin)?;
        Ok(())
    }

    /// When the engine asked last, db3 was away and db2 the one that acknowledged; a moment later it is the other way round. `meanwhile`
    /// comes right after that question, `back` when db3 receives again. Needs questions that are logged, and [`SELDOM_ASKED`].
    pub fn change_places<T>(&self, meanwhile: impl Fn() -> T, back: impl Fn(&WalSender)) -> io::Result<T> {
        let [db1, db2, db3] = [1, 2, 3].map(|number| self.cluster.db(number));
        for _ in 0..20 {
            db3.end_reception()?;
            // Longer than a receiver counts as there that was there a moment ago.
            lasts(Instant::now(), Duration::from_millis(2_500));
            let before = self.cluster.samples(db1);
            wait_until("the engine asks db1", LONGEST, || Ok((self.cluster.samples(db1) > before).then_some(())))?;
            let seen = self.cluster.samples(db1);
            let done = meanwhile();
            db3.follow(db1)?;
            back(&db1.sender_to(db3)?);
            db2.end_reception()?;
            self.await_rows(12)?;
            if self.cluster.samples(db1) == seen {
                return Ok(done);
            }
            // It has seen it: once more from the start.
            drop(done);
            db2.follow(db1)?;
            db2.wait_following(db1)?;
        }
        Err(io::Error::other(format!("the engine saw it each time\n{}", self.story())))
    }

    /// SIGKILL of everything that works in a server's data directory, at once.
    pub fn kill(&self, server: &PgServer) -> u64 {
        let at = self.now();
        server.kill_all();
        at
    }

    /// Stops the writer, and compares what it was told with what is there.
    pub fn account(self) -> io::Result<(Account, Cluster)> {
        let story = self.story();
        let attempts = self.writer.stop();
        let mut account = Account { writable: Vec::new(), missing: BTreeMap::new(), attempts, story };
        for server in self.cluster.writable() {
            account.writable.push(server.name().to_owned());
            account.missing.insert(server.name().to_owned(), compare(server, &account.attempts)?.missing.len());
        }
        Ok((account, self.cluster))
    }
}

/// The record of a failover says no less than what is missing: no claim of zero loss beside lost rows, no figure below theirs.
pub fn assert_honest(end: &End, account: &Account, limit: u64) {
    let End::Completed(event) = end else { return };
    let lost = account.lost().unwrap_or(0);
    if lost == 0 {
        return;
    }
    let told = format!("{lost} acknowledged rows are missing; it said: {}\n{}", event.message, account.story);
    assert!(!event.message.contains("no acknowledged commit can be missing"), "{told}");
    assert!(!event.message.contains("nothing is missing"), "{told}");
    assert_ne!(event.fields.get("holds_acknowledged").and_then(serde_json::Value::as_bool), Some(true), "{told}");
    let bytes = u64::try_from(lost).unwrap_or(u64::MAX) * ROW_BYTES;
    assert!(bytes <= limit, "more than max_lag_bytes; {told}");
    if let Some(admitted) = event.fields.get("loss_bytes").and_then(serde_json::Value::as_u64) {
        // An estimate goes by the rates of the last second: what comes faster in the last moment is not in it.
        let admits = if event.message.contains("; about ") { admitted + admitted / 4 } else { admitted };
        assert!(bytes <= admits, "more than the record admits; {told}");
    }
}

/// The acknowledged rows among what a writer did, from a moment on, by the server on a port.
pub fn acknowledged_by(attempts: &[Attempt], from: u64, port: u16) -> usize {
    let by = |attempt: &&Attempt| attempt.outcome == Outcome::Acknowledged && attempt.sent >= from && attempt.port == port;
    attempts.iter().filter(by).count()
}

/// Waits until a moment that depends on a clock; only for faults that last a time.
pub fn lasts(since: Instant, span: Duration) {
    std::thread::sleep(span.saturating_sub(since.elapsed()));
}
