//! One run from a quiet service through a fault to its outcome, recorded.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::engine::{Engine, Origin};
pub use super::fault::Fault;
use super::inject::inject;
use super::judge::{Role, finding, judge};
use super::lab::{interrupted, wait_until};
use super::orphan::{self, Acknowledged};
use super::pair::{Pair, PairOptions};
use super::postgres::{PgServer, bin_dir};
use super::recording::{Event, FindingLine, Member, Outcome, Recording, rfc3339, shown_config};
use super::writer::{Writer, WriterOptions, compare};

/// A failover that has not ended by then has failed.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
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
    told: usize,
    findings: Vec<FindingLine>,
    /// Events of an engine that was killed.
    earlier: Vec<Event>,
    /// Rows acknowledged by sessions that outlived their postmaster.
    pub(super) orphaned: Vec<Acknowledged>,
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
        let mut writing = WriterOptions::to(pair.haproxy.way_in());
        if options.slow {
            // A session begins with several questions, and each is answered late.
            writing.timeout = Duration::from_secs(5);
        }
        let writer = Writer::start(writing, origin.instant)?;
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
            told: 0,
            findings: Vec::new(),
            earlier: Vec::new(),
            orphaned: Vec::new(),
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
        inject(self, fault, listen)
    }

    /// The fault begins: everything is counted from here.
    pub(super) fn struck(&mut self, at: Instant, listen: &mut dyn FnMut(News)) {
        self.fault_at = self.origin.nanos(at);
        if let Some(fault) = self.fault {
            listen(News::Note(self.fault_at, fault.deed()));
        }
    }

    /// Something else was done or seen, now.
    pub(super) fn note(&self, words: &str, listen: &mut dyn FnMut(News)) {
        listen(News::Note(self.writer.now(), words));
    }

    /// A moment of the recording on the wall clock.
    pub(super) fn wall(&self, at: u64) -> SystemTime {
        self.origin.wall + Duration::from_nanos(at)
    }

    /// SIGKILL of the engine, and another one with the same configuration and state.
    pub(super) fn replace_engine(&mut self) -> io::Result<()> {
        self.engine.kill();
        self.earlier.extend(self.engine.events());
        self.engine = self.pair.engine(self.origin)?;
        self.told = 0;
        Ok(())
    }

    /// Something that must be true besides what is judged of every run.
    pub(super) fn found(&mut self, ok: bool, text: impl Into<String>) {
        self.findings.push(finding(ok, text));
    }

    /// Waits for the first event from moment `from` on that is as wanted; `None` when it does not come in time.
    pub(super) fn await_event(
        &mut self,
        from: u64,
        wanted: impl Fn(&Event) -> bool,
        listen: &mut dyn FnMut(News),
    ) -> io::Result<Option<Event>> {
        let until = Instant::now() + LONGEST;
        while Instant::now() < until {
            if let Some(event) = self.engine.events().into_iter().find(|event| event.at >= from && wanted(event)) {
                return Ok(Some(event));
            }
            self.listen(Duration::from_millis(20), listen)?;
        }
        Ok(None)
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

    pub(super) fn await_failover(&mut self, listen: &mut dyn FnMut(News)) -> io::Result<()> {
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

    pub(super) fn over(&mut self, at: u64, what: &str, listen: &mut dyn FnMut(News)) -> io::Result<()> {
        self.fault_over = Some(at);
        listen(News::Note(at, what));
        self.quiet(AFTERWARDS, listen)
    }

    /// Stops the writer and the engine, compares the table with what was acknowledged, and judges.
    pub fn finish(mut self) -> io::Result<(Recording, Pair)> {
        let fault = self.fault.ok_or_else(|| io::Error::other("no fault was injected"))?;
        let attempts = self.writer.stop();
        let clean = self.engine.stop();
        let ended = self.origin.nanos(Instant::now());
        let Pair { db1, db2, .. } = &self.pair;
        let role = |server: &PgServer| match server.is_primary() {
            Ok(true) => Role::Primary,
            Ok(false) => Role::Standby,
            Err(_) => Role::Down,
        };
        let roles = (role(db1), role(db2));
        let survivor = if roles.1 == Role::Primary || roles.0 == Role::Down { db2 } else { db1 };
        let table = compare(survivor, &attempts);
        if !self.orphaned.is_empty() {
            let account = account(&self.orphaned, &attempts, db1, db2)?;
            self.findings.extend(account);
        }
        let mut recording = Recording {
            fault: fault.as_str().to_owned(),
            synchronous: self.synchronous,
            began: rfc3339(self.origin.wall),
            fault_at: self.fault_at,
            fault_over: self.fault_over,
            ended,
            servers: [db1, db2].map(|server| Member { name: server.name().to_owned(), port: server.port() }).to_vec(),
            attempts,
            events: [std::mem::take(&mut self.earlier), self.engine.events()].concat(),
            config: shown_config(&self.pair.config, &failover::Process)?,
            table: table.as_ref().ok().cloned(),
            findings: Vec::new(),
            environment: environment(),
        };
        recording.findings = judge(fault, &recording, roles, table.err().as_ref());
        recording.findings.append(&mut self.findings);
        recording.findings.push(finding(clean, "the engine stopped cleanly on SIGTERM"));
        Ok((recording, self.pair))
    }
}

/// Where every row is that the old primary acknowledged: all of them on its own disk, and how many of those on the new one.
fn account(
    orphaned: &[Acknowledged],
    attempts: &[super::recording::Attempt],
    old: &PgServer,
    new: &PgServer,
) -> io::Result<Vec<FindingLine>> {
    // The fence has left standby.signal: it comes up read-only, with nobody to follow.
    old.start()?;
    let kept = orphan::rows(old)?;
    let on_old: Vec<_> = attempts.iter().filter(|attempt| attempt.port == old.port()).copied().collect();
    let table = compare(old, &on_old)?;
    old.kill_all();
    let arrived = orphan::rows(new)?;
    let absent = orphaned.iter().filter(|row| !kept.contains(&row.n)).count();
    let lost = orphaned.iter().filter(|row| !arrived.contains(&row.n)).count();
    let all = orphaned.len();
    Ok(vec![
        finding(
            absent == 0 && table.missing.is_empty(),
            format!(
                "acknowledged rows that are not on the old primary's own disk: {absent} of {all}, and {} of the writer's; wanted: 0",
                table.missing.len()
            ),
        ),
        finding(true, format!("of these {all} rows {} are on the new primary, {lost} only on the old one", all - lost)),
    ])
}

/// Where it ran: versions, kernel, processors.
pub fn environment() -> Vec<(String, String)> {
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
