//! One run from a quiet service through a fault to its outcome, recorded.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::engine::{Engine, Origin};
use super::lab::{interrupted, wait_until};
use super::pair::{Pair, PairOptions};
use super::postgres::{Frozen, WRITER_DATABASE, WRITER_ROLE, bin_dir};
use super::recording::{Event, FindingLine, Member, Outcome, Recording, Table, rfc3339};
use super::session::{Login, Session, SqlError};
use super::writer::{Writer, WriterOptions, compare};

/// What happens to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of the postmaster.
    Kill,
    /// SIGSTOP of all its processes, for good.
    Hang,
    /// SIGSTOP of all its processes, for three seconds.
    Freeze,
    /// `pg_ctl restart -m fast`.
    Restart,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 4] = [Fault::Kill, Fault::Hang, Fault::Freeze, Fault::Restart];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Hang => "hang",
            Fault::Freeze => "freeze",
            Fault::Restart => "restart",
        }
    }

    /// The fault of that name.
    pub fn named(word: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.word() == word)
    }

    /// What is done, for people.
    pub fn deed(self) -> &'static str {
        match self {
            Fault::Kill => "SIGKILL of db1's postmaster",
            Fault::Hang => "SIGSTOP of all processes of db1",
            Fault::Freeze => "SIGSTOP of all processes of db1, for 3 s",
            Fault::Restart => "pg_ctl restart -m fast of db1",
        }
    }

    /// Whether a failover is the right answer.
    pub fn calls_for_failover(self) -> bool {
        matches!(self, Fault::Kill | Fault::Hang)
    }
}

const FREEZE: Duration = Duration::from_secs(3);
/// A failover that has not ended by then has failed.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a fault that calls for no failover is watched after it is over.
const AFTERWARDS: Duration = Duration::from_secs(6);
const ENOUGH_ROWS: usize = 40;

/// A service with a fault ahead of it.
pub struct Scenario {
    /// The engine; ended before its servers are.
    pub engine: Engine,
    /// The writer.
    pub writer: Writer,
    /// The servers.
    pub pair: Pair,
    origin: Origin,
    synchronous: bool,
    fault: Option<Fault>,
    fault_at: u64,
    fault_over: Option<u64>,
    frozen: Option<Frozen>,
    told: usize,
    findings: Vec<FindingLine>,
}

/// What a listener of a run is told.
pub enum News<'a> {
    /// An event of the engine.
    Event(&'a Event),
    /// Something the harness did or saw, at this moment.
    Note(u64, &'a str),
}

impl Scenario {
    /// Starts everything and waits until the engine is ready and the writer writes.
    pub fn start(options: &PairOptions, mut progress: impl FnMut(&str)) -> io::Result<Scenario> {
        let pair = Pair::start(options, &mut progress)?;
        progress("a writer that commits a numbered row every 5 ms through HAProxy");
        let origin = Origin::now();
        let writer = Writer::start(WriterOptions::new(pair.haproxy.front()), origin.instant)?;
        progress("the engine: failover run failover.toml");
        let engine = pair.engine(origin)?;
        engine.wait_ready(Duration::from_secs(60))?;
        wait_until("the writer writes", Duration::from_secs(20), || Ok((writer.acknowledged().1 >= ENOUGH_ROWS).then_some(())))?;
        Ok(Scenario {
            engine,
            writer,
            pair,
            origin,
            synchronous: options.synchronous,
            fault: None,
            fault_at: 0,
            fault_over: None,
            frozen: None,
            told: 0,
            findings: Vec::new(),
        })
    }

    /// Lets time pass.
    pub fn quiet(&mut self, span: Duration, listen: &mut dyn FnMut(News)) -> io::Result<()> {
        let until = Instant::now() + span;
        while Instant::now() < until {
            self.listen(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)), listen)?;
        }
        Ok(())
    }

    /// When the fault was injected, in nanoseconds of the recording.
    pub fn fault_at(&self) -> u64 {
        self.fault_at
    }

    /// Injects a fault and waits for its outcome. That there was none in time is not an error here: `finish` says so.
    pub fn suffer(&mut self, fault: Fault, listen: &mut dyn FnMut(News)) -> io::Result<()> {
        self.fault = Some(fault);
        let db1 = &self.pair.db1;
        let at = match fault {
            Fault::Kill => db1.kill_postmaster()?,
            Fault::Hang | Fault::Freeze => {
                let frozen = db1.freeze()?;
                let at = frozen.at;
                self.frozen = Some(frozen);
                at
            }
            Fault::Restart => Instant::now(),
        };
        self.fault_at = self.origin.nanos(at);
        listen(News::Note(self.fault_at, fault.deed()));
        match fault {
            Fault::Kill | Fault::Hang => self.await_failover(listen)?,
            Fault::Freeze => {
                self.quiet(FREEZE.saturating_sub(at.elapsed()), listen)?;
                let over = self.writer.now();
                if let Some(frozen) = &self.frozen {
                    self.pair.db1.thaw(frozen);
                }
                self.over(over, "SIGCONT: db1 runs again", listen)?;
            }
            Fault::Restart => {
                let restart = self.pair.db1.begin_restart()?;
                while restart.is_running() && at.elapsed() < LONGEST {
                    self.quiet(Duration::from_millis(10), listen)?;
                }
                let text = match restart.status() {
                    Some(status) if status.success() => "pg_ctl says that db1 is back".to_owned(),
                    status => format!("pg_ctl restart FAILED ({status:?}): {}", self.pair.db1.log_tail()),
                };
                self.over(self.writer.now(), &text, listen)?;
            }
        }
        if fault == Fault::Hang {
            self.wake_the_dead(listen)?;
        }
        Ok(())
    }

    fn listen(&mut self, longest: Duration, listen: &mut dyn FnMut(News)) -> io::Result<()> {
        if interrupted() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        let events = self.engine.events_from(self.told, longest);
        self.told += events.len();
        for event in &events {
            listen(News::Event(event));
        }
        if let Some(status) = self.engine.process().status() {
            return Err(io::Error::other(format!("the engine ended ({status}): {}", self.engine.log_tail())));
        }
        Ok(())
    }

    fn await_failover(&mut self, listen: &mut dyn FnMut(News)) -> io::Result<()> {
        const ENDS: [&str; 3] = ["failover_completed", "rolled_back", "manual_intervention"];
        let until = Instant::now() + LONGEST;
        let fault_at = self.fault_at;
        let port = self.pair.db2.port();
        let mut served = false;
        let mut ended = false;
        while Instant::now() < until && !(served && ended) {
            self.listen(Duration::from_millis(20), &mut |news| {
                if let News::Event(event) = &news {
                    ended |= event.at >= fault_at && ENDS.contains(&event.kind.as_str());
                }
                listen(news);
            })?;
            if !served && self.writer.acknowledged_since(fault_at, port) > 0 {
                served = true;
                let first = self.writer.attempts().into_iter().find(|attempt| attempt.port == port);
                listen(News::Note(first.map_or(0, |attempt| attempt.done), "the writer's first commit on db2"));
            }
            // Without a new primary the writer cannot be waited for.
            if ended && !served && self.engine.events().iter().all(|event| event.kind != "failover_completed") {
                break;
            }
        }
        self.quiet(Duration::from_millis(1500), listen)
    }

    fn over(&mut self, at: u64, what: &str, listen: &mut dyn FnMut(News)) -> io::Result<()> {
        self.fault_over = Some(at);
        listen(News::Note(at, what));
        self.quiet(AFTERWARDS, listen)
    }

    /// What was stopped is continued: nothing of it may be there to write.
    fn wake_the_dead(&mut self, listen: &mut dyn FnMut(News)) -> io::Result<()> {
        let db1 = &self.pair.db1;
        let before = newest_write(db1.data_dir());
        let woken = self.frozen.as_ref().map_or(0, |frozen| db1.thaw(frozen));
        let stopped = self.frozen.as_ref().map_or(0, |frozen| frozen.pids.len());
        listen(News::Note(
            self.writer.now(),
            &format!("SIGCONT to the {stopped} stopped processes of db1: {woken} are left to hear it"),
        ));
        self.quiet(Duration::from_secs(1), listen)?;
        let db1 = &self.pair.db1;
        let login = Login::new(WRITER_ROLE, WRITER_DATABASE);
        let refused = match Session::connect(&db1.address(), &login, Duration::from_secs(1)) {
            Err(SqlError::Io(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
            _ => false,
        };
        let still = newest_write(db1.data_dir()) == before;
        let ok = woken == 0 && refused && still && db1.processes().is_empty();
        let text = format!(
            "SIGCONT to the {stopped} processes that were stopped: {woken} still existed, db1 {}, its files {}",
            if refused { "refuses connections" } else { "DOES NOT REFUSE connections" },
            if still { "did not change" } else { "CHANGED" }
        );
        self.findings.push(FindingLine { ok, text });
        Ok(())
    }

    /// Stops the writer and the engine, compares the table with what was acknowledged, and judges.
    pub fn finish(mut self) -> io::Result<(Recording, Pair)> {
        let fault = self.fault.ok_or_else(|| io::Error::other("no fault was injected"))?;
        let attempts = self.writer.stop();
        let clean = self.engine.stop();
        let ended = self.origin.nanos(Instant::now());
        let Pair { db1, db2, .. } = &self.pair;
        let state = |server: &super::postgres::PgServer| match server.is_primary() {
            Ok(true) => "primary",
            Ok(false) => "standby",
            Err(_) => "down",
        };
        let states = (state(db1), state(db2));
        let survivor = if states.1 == "primary" { db2 } else { db1 };
        let table = compare(survivor, &attempts);
        let mut recording = Recording {
            fault: fault.word().to_owned(),
            synchronous: self.synchronous,
            began: rfc3339(self.origin.wall),
            fault_at: self.fault_at,
            fault_over: self.fault_over,
            ended,
            servers: [db1, db2].map(|server| Member { name: server.name().to_owned(), port: server.port() }).to_vec(),
            attempts,
            events: self.engine.events(),
            config: fs::read_to_string(&self.pair.config)?,
            table: table.as_ref().ok().cloned(),
            findings: Vec::new(),
            environment: environment(),
        };
        recording.findings = judge(fault, &recording, states, table.err().as_ref());
        recording.findings.append(&mut self.findings);
        recording.findings.push(finding(clean, "the engine stopped cleanly on SIGTERM"));
        Ok((recording, self.pair))
    }
}

fn finding(ok: bool, text: impl Into<String>) -> FindingLine {
    FindingLine { ok, text: text.into() }
}

/// What must be true at the end, for this fault.
fn judge(fault: Fault, run: &Recording, states: (&str, &str), unread: Option<&io::Error>) -> Vec<FindingLine> {
    let mut list = Vec::new();
    let count = |kind: &str| run.events.iter().filter(|event| event.kind == kind && event.at >= run.fault_at).count();
    let (began, completed) = (count("failover_started"), count("failover_completed"));
    let port = |place: usize| run.servers.get(place).map_or(0, |member| member.port);
    let acknowledged_by = |port: u16, after: u64| run.acknowledged().filter(|a| a.sent >= after && a.port == port).count();
    if fault.calls_for_failover() {
        list.push(finding(
            began == 1 && completed == 1,
            format!("failovers begun: {began}, completed: {completed}; wanted: one of each"),
        ));
        list.push(finding(states.1 == "primary" && states.0 == "down", format!("db1 is {}, db2 is {}", states.0, states.1)));
        let level = run.fence_level();
        let level_text = level.map_or("none".to_owned(), |level| level.to_string());
        list.push(finding(
            level >= Some(3),
            format!("fence level proven before the promotion: {level_text}; wanted: at least 3"),
        ));
        let rows = acknowledged_by(port(1), run.fault_at);
        list.push(finding(rows > 0, format!("rows acknowledged by db2 through the route: {rows}")));
        let promoted = run.events.iter().find(|event| event.kind == "point_of_no_return" && event.at >= run.fault_at);
        if let Some(promoted) = promoted {
            let late = run.acknowledged().filter(|a| a.done > promoted.at && a.port == port(0)).count();
            list.push(finding(late == 0, format!("rows acknowledged by db1 after the promotion began: {late}")));
        }
    } else {
        list.push(finding(began == 0, format!("failovers begun: {began}; wanted: none")));
        list.push(finding(states == ("primary", "standby"), format!("db1 is {}, db2 is {}", states.0, states.1)));
        let rows = acknowledged_by(port(0), run.fault_over.unwrap_or(run.fault_at));
        list.push(finding(rows > 0, format!("rows acknowledged by db1 after the fault: {rows}")));
    }
    match (&run.table, unread) {
        (Some(table), _) => {
            let missing = table.missing.len();
            let must = run.synchronous || !fault.calls_for_failover();
            list.push(finding(missing == 0 || !must, missing_sentence(table, must)));
            list.push(finding(table.doubled.is_empty(), format!("rows that are there twice: {}", table.doubled.len())));
        }
        (None, error) => {
            list.push(finding(
                false,
                format!("the table could not be read: {}", error.map_or_else(String::new, ToString::to_string)),
            ));
        }
    }
    list
}

fn missing_sentence(table: &Table, must: bool) -> String {
    let missing = table.missing.len();
    if must {
        format!("acknowledged rows missing on {}: {missing}; wanted: 0", table.server)
    } else {
        format!("acknowledged rows missing on {}: {missing} (asynchronous replication promises nothing here)", table.server)
    }
}

/// The newest change of any file below a data directory.
fn newest_write(dir: &Path) -> Option<SystemTime> {
    let mut newest = None;
    let mut folders = vec![dir.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() && seen.insert(entry.path()) {
                folders.push(entry.path());
            }
            newest = newest.max(meta.modified().ok());
        }
    }
    newest
}

fn environment() -> Vec<(String, String)> {
    let first_line = |program: &Path, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok();
        output.and_then(|output| String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)).unwrap_or_default()
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let postgres = bin_dir().map(|dir| first_line(&dir.join("postgres"), "--version")).unwrap_or_default();
    let haproxy = first_line(Path::new("haproxy"), "-v");
    let haproxy = haproxy.split(" - ").next().unwrap_or_default();
    let system = read("/etc/os-release")
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned()));
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    vec![
        ("libfailover".to_owned(), format!("{} ({build})", env!("CARGO_PKG_VERSION"))),
        ("PostgreSQL".to_owned(), postgres.trim_start_matches("postgres (PostgreSQL) ").to_owned()),
        ("HAProxy".to_owned(), haproxy.trim_start_matches("HAProxy version ").to_owned()),
        ("System".to_owned(), system.unwrap_or_default()),
        ("Kernel".to_owned(), read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("Processors".to_owned(), std::thread::available_parallelism().map_or(0, std::num::NonZero::get).to_string()),
    ]
}

/// Rows by what came of them.
pub fn tally(run: &Recording) -> [(Outcome, usize); 4] {
    [Outcome::Acknowledged, Outcome::InDoubt, Outcome::Refused, Outcome::NotSent]
        .map(|outcome| (outcome, run.attempts.iter().filter(|attempt| attempt.outcome == outcome).count()))
}
