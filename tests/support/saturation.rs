//! Every slot for sessions of a server taken, the engine's own included.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lab::wait_until;
use super::postgres::{PgServer, WRITER_DATABASE, WRITER_ROLE};
use super::session::{Address, Login, Rows, Session};

const LONG: Duration = Duration::from_secs(5);

/// The sessions that take the slots. Whoever had one before keeps it, but for the engine.
pub struct Saturation {
    administrator: Session,
    held: Vec<Session>,
}

impl Saturation {
    /// Takes every slot, and ends the engine's sessions until it has none left.
    pub fn start(server: &PgServer) -> io::Result<Saturation> {
        let mut saturation = Saturation { administrator: server.session()?, held: Vec::new() };
        saturation.refill(server);
        let at = Instant::now();
        // What keeps a session open keeps its slot, so the engine's are taken from it.
        wait_until("the engine has no session", Duration::from_secs(60), || {
            let ended = saturation
                .administrator
                .value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'failover'", LONG)?;
            saturation.refill(server);
            Ok((ended == "0" || at.elapsed() > Duration::from_secs(50)).then_some(()))
        })?;
        Ok(saturation)
    }

    /// Takes what has become free: an ordinary role's slots first, then those that are kept for superusers.
    pub fn refill(&mut self, server: &PgServer) {
        let own = Address::Unix(server.socket_dir().to_owned(), server.port());
        let logins = [(server.address(), Login::new(WRITER_ROLE, WRITER_DATABASE)), (own, Login::new("postgres", "postgres"))];
        for (address, login) in logins {
            while let Ok(session) = Session::connect(&address, &login, LONG) {
                self.held.push(session);
            }
        }
    }

    /// A statement of the administrator, who is in already.
    pub fn query(&mut self, sql: &str) -> io::Result<Rows> {
        Ok(self.administrator.query(sql, LONG)?)
    }

    /// How many slots are taken.
    pub fn slots(&self) -> usize {
        self.held.len() + 1
    }
}

/// The sessions of clients that take every place an ordinary role can have. Whoever has one keeps it.
pub struct Clients {
    held: Vec<Session>,
}

impl Clients {
    /// Takes what is free.
    pub fn take_all(server: &PgServer) -> io::Result<Clients> {
        let login = Login::new(WRITER_ROLE, WRITER_DATABASE);
        let mut held = vec![Session::connect(&server.address(), &login, LONG)?];
        while let Ok(session) = Session::connect(&server.address(), &login, LONG) {
            held.push(session);
        }
        Ok(Clients { held })
    }

    /// So many of them leave.
    pub fn leave(&mut self, count: usize) {
        self.held.truncate(self.held.len().saturating_sub(count));
    }
}

/// Clients that connect again at once and stay, more than there is room for: a pool after a failover.
pub struct Storm {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Storm {
    /// So many clients of whatever answers there.
    pub fn start(address: &Address, clients: usize) -> io::Result<Storm> {
        let over = Arc::new(AtomicBool::new(false));
        let mut storm = Storm { over: Arc::clone(&over), threads: Vec::new() };
        for client in 0..clients {
            let (address, over) = (address.clone(), Arc::clone(&over));
            let thread = std::thread::Builder::new().name(format!("client-{client}"));
            storm.threads.push(thread.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if let Ok(mut session) = Session::connect(&address, &Login::new(WRITER_ROLE, WRITER_DATABASE), LONG) {
                        while !over.load(Ordering::Relaxed) && session.query("SELECT 1", LONG).is_ok() {
                            std::thread::sleep(Duration::from_millis(50));
                        }
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            })?);
        }
        Ok(storm)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
