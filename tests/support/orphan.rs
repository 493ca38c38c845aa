//! Sessions that go on committing when their postmaster is dead (rule 85), and an exact account of what they were told.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::lab::wait_until;
use super::postgres::{PgServer, WRITER_DATABASE, WRITER_ROLE};
use super::session::{Login, Session};

/// The table they write to: beside the writer's, so that its picture stays legible.
const TABLE: &str = "orphans";
const LONG: Duration = Duration::from_secs(60);
/// Far more than a session gets through until it is killed.
const PIPELINED: u64 = 60_000;

/// The sessions.
pub struct Orphans {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    threads: Vec<JoinHandle<()>>,
}

/// One acknowledged row.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// Its number.
    pub n: u64,
    /// When the server did it, by the clock of this machine: what waits in a socket is not made later by being read late.
    pub at: SystemTime,
}

impl Orphans {
    /// One session commits in a loop of its own, another has its input waiting; both are at it when this returns.
    pub fn start(server: &PgServer) -> io::Result<Orphans> {
        let sql = format!("SET ROLE {WRITER_ROLE}; CREATE TABLE {TABLE} (n bigint NOT NULL)");
        server.session_in(WRITER_DATABASE)?.query(&sql, LONG)?;
        let acknowledged = Arc::default();
        let login = Login { application: "orphan".to_owned(), ..Login::new(WRITER_ROLE, WRITER_DATABASE) };
        let mut looping = server.session_as(&login)?;
        looping.begin(&format!(
            "DO $$ DECLARE n bigint := 0; BEGIN LOOP n := n + 1; INSERT INTO {TABLE} VALUES (n); COMMIT;
             RAISE NOTICE '% %', n, {STAMP}; END LOOP; END $$"
        ))?;
        let pipelined = server.session_as(&login)?;
        let mut input = pipelined.second_writer()?;
        let feeder = std::thread::Builder::new().name("orphan-input".to_owned()).spawn(move || {
            for n in 1..=PIPELINED {
                let mut text = String::new();
                let _ = write!(text, "INSERT INTO {TABLE} VALUES ({}) RETURNING n || ' ' || {STAMP}\0", FIRST_PIPELINED + n);
                let mut packet = vec![b'Q'];
                packet.extend_from_slice(&u32::try_from(text.len() + 4).unwrap_or(0).to_be_bytes());
                packet.extend_from_slice(text.as_bytes());
                if input.write_all(&packet).is_err() {
                    break;
                }
            }
        })?;
        let mut threads = vec![feeder];
        for session in [looping, pipelined] {
            let mine = Arc::clone(&acknowledged);
            threads.push(std::thread::Builder::new().name("orphan".to_owned()).spawn(move || listen(session, &mine))?);
        }
        let orphans = Orphans { acknowledged, threads };
        wait_until("both sessions commit", LONG, || {
            let list = orphans.acknowledged();
            let (looped, pipelined) = list.iter().partition::<Vec<&Acknowledged>, _>(|row| row.n < FIRST_PIPELINED);
            Ok((looped.len() > 20 && pipelined.len() > 20).then_some(()))
        })?;
        Ok(orphans)
    }

    /// What was acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the end of the sessions, and hands out what was acknowledged.
    pub fn end(self) -> Vec<Acknowledged> {
        for thread in self.threads {
            // Each ends with its connection, or at its deadline.
            let _ = thread.join();
        }
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The rows of the table on a server.
pub fn rows(server: &PgServer) -> io::Result<std::collections::BTreeSet<u64>> {
    let rows = server.session_in(WRITER_DATABASE)?.query(&format!("SELECT n FROM {TABLE}"), LONG)?;
    Ok(rows.into_iter().filter_map(|row| row.first().cloned().flatten()?.parse().ok()).collect())
}

const STAMP: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
const FIRST_PIPELINED: u64 = 1_000_000_000;

fn listen(mut session: Session, acknowledged: &Mutex<Vec<Acknowledged>>) {
    let parsed = |text: &str| {
        let (n, micros) = text.trim().split_once(' ')?;
        Some(Acknowledged { n: n.parse().ok()?, at: SystemTime::UNIX_EPOCH + Duration::from_micros(micros.parse().ok()?) })
    };
    let mut row = None;
    while let Ok((tag, body)) = session.message(LONG) {
        match tag {
            // A notice comes after its commit.
            b'N' => {
                let text = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&b'M')).map(|field| &field[1..]);
                row = text.and_then(|text| parsed(&String::from_utf8_lossy(text)));
            }
            b'D' => {
                row = body.get(6..).and_then(|text| parsed(&String::from_utf8_lossy(text)));
                continue;
            }
            // A row comes before its commit, and the end of the statement after it.
            b'C' => {}
            _ => continue,
        }
        if let Some(row) = row.take() {
            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        }
    }
}
