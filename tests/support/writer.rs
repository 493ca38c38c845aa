//! A program that commits numbered rows through the route and remembers every acknowledgement.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::postgres::{PgServer, WRITER_DATABASE, WRITER_ROLE};
use super::recording::{Attempt, Outcome, Table};
use super::session::{Address, Login, Session};

/// How the writer works.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Where: the front of the route, or servers, of which the first that takes writes is written to.
    pub addresses: Vec<Address>,
    /// Who writes.
    pub role: String,
    /// Its `application_name`.
    pub application: String,
    /// The number of the row before the first one.
    pub after: u64,
    /// Each row comes in a session of its own.
    pub new_sessions: bool,
    /// One row every so often.
    pub interval: Duration,
    /// The deadline of each operation: a connect, or a row.
    pub timeout: Duration,
}

impl WriterOptions {
    /// One row every 5 ms, each operation at most 1 s.
    pub fn new(port: u16) -> WriterOptions {
        WriterOptions::to(Address::loopback(port))
    }

    /// The same to any address.
    pub fn to(address: Address) -> WriterOptions {
        WriterOptions {
            addresses: vec![address],
            role: WRITER_ROLE.to_owned(),
            application: "writer".to_owned(),
            after: 0,
            new_sessions: false,
            interval: Duration::from_millis(5),
            timeout: Duration::from_secs(1),
        }
    }

    fn connect(&self) -> Option<Session> {
        let login = Login { application: self.application.clone(), ..Login::new(&self.role, WRITER_DATABASE) };
        let open = |address| Session::connect(address, &login, self.timeout).ok();
        if let [only] = self.addresses.as_slice() {
            return open(only);
        }
        self.addresses.iter().filter_map(open).find_map(|mut session| {
            let standby = session.value("SELECT pg_is_in_recovery()", self.timeout).ok()?;
            (standby == "f").then_some(session)
        })
    }
}

/// The table.
pub const TABLE: &str = "numbers";

/// A running writer.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    origin: Instant,
    stop: AtomicBool,
    attempts: Mutex<Vec<Attempt>>,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Makes the writer's table. Without a key or constraint, so that a row that arrives twice is seen twice.
pub fn create_table(primary: &PgServer) -> io::Result<()> {
    let mut session = primary.session_in(WRITER_DATABASE)?;
    let sql = format!("SET ROLE {WRITER_ROLE}; CREATE TABLE {TABLE} (n bigint NOT NULL)");
    session.query(&sql, Duration::from_secs(30))?;
    Ok(())
}

impl Writer {
    /// Starts writing. Moments are counted from `origin`.
    pub fn start(options: WriterOptions, origin: Instant) -> io::Result<Writer> {
        let shared = Arc::new(Shared { origin, stop: AtomicBool::new(false), attempts: Mutex::default() });
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || write(&options, &mine))?;
        Ok(Writer { shared, thread: Some(thread) })
    }

    /// Nanoseconds since the origin.
    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// When the last row was acknowledged, and how many have been.
    pub fn acknowledged(&self) -> (Option<u64>, usize) {
        let attempts = self.shared.attempts();
        let last = attempts.iter().rev().find(|attempt| attempt.outcome == Outcome::Acknowledged).map(|attempt| attempt.done);
        (last, attempts.iter().filter(|attempt| attempt.outcome == Outcome::Acknowledged).count())
    }

    /// Acknowledged rows sent at or after a moment, by the server on this port.
    pub fn acknowledged_since(&self, at: u64, port: u16) -> usize {
        let attempts = self.shared.attempts();
        attempts
            .iter()
            .rev()
            .take_while(|attempt| attempt.done >= at)
            .filter(|a| a.outcome == Outcome::Acknowledged && a.sent >= at && a.port == port)
            .count()
    }

    /// What was done so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.shared.attempts().clone()
    }

    /// Stops writing and hands out what was done.
    pub fn stop(mut self) -> Vec<Attempt> {
        self.end();
        std::mem::take(&mut *self.shared.attempts())
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Every operation of the thread has a deadline.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

fn write(options: &WriterOptions, shared: &Shared) {
    let mut session: Option<Session> = None;
    let mut due = Instant::now();
    let mut n = options.after;
    while !shared.stop.load(Ordering::SeqCst) {
        let now = Instant::now();
        if now < due {
            std::thread::sleep(due - now);
        }
        // Rows that fell due during an outage are not sent in a burst afterwards.
        due = (due + options.interval).max(Instant::now());
        let sent = shared.now();
        if session.is_none() || options.new_sessions {
            session = options.connect();
        }
        n += 1;
        let mut attempt = Attempt { n, sent, done: 0, outcome: Outcome::NotSent, port: 0 };
        if let Some(open) = session.as_mut() {
            attempt.sent = shared.now();
            let sql = format!("INSERT INTO {TABLE} VALUES ({n}) RETURNING current_setting('port')");
            match open.value(&sql, options.timeout) {
                Ok(port) => {
                    attempt.outcome = Outcome::Acknowledged;
                    attempt.port = port.parse().unwrap_or(0);
                }
                Err(error) if error.is_refusal() => {
                    attempt.outcome = Outcome::Refused;
                    // Of several servers another one may take writes by now.
                    session = session.filter(|_| options.addresses.len() == 1);
                }
                Err(_) => {
                    attempt.outcome = Outcome::InDoubt;
                    session = None;
                }
            }
        }
        attempt.done = shared.now();
        shared.attempts().push(attempt);
    }
}

/// Compares what was acknowledged with what is there.
pub fn compare(server: &PgServer, attempts: &[Attempt]) -> io::Result<Table> {
    // As the superuser, who gets in also where stuck clients have taken every ordinary slot.
    let mut session = server.session_in(WRITER_DATABASE)?;
    let rows = session.query(&format!("SELECT n, count(*) FROM {TABLE} GROUP BY n"), Duration::from_secs(60))?;
    let mut counts = std::collections::BTreeMap::new();
    for row in rows {
        let number = |place: usize| row.get(place).cloned().flatten().and_then(|text| text.parse::<u64>().ok());
        if let (Some(n), Some(count)) = (number(0), number(1)) {
            counts.insert(n, count);
        }
    }
    let pick = |outcome: Outcome, there: bool| -> Vec<u64> {
        attempts.iter().filter(|a| a.outcome == outcome && counts.contains_key(&a.n) == there).map(|a| a.n).collect()
    };
    Ok(Table {
        server: server.name().to_owned(),
        rows: counts.values().sum(),
        missing: pick(Outcome::Acknowledged, false),
        in_doubt_present: pick(Outcome::InDoubt, true),
        in_doubt_absent: pick(Outcome::InDoubt, false),
        doubled: counts.iter().filter(|(_, count)| **count > 1).map(|(n, _)| *n).collect(),
    })
}
