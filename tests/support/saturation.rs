//! Every slot for sessions of a server taken, the engine's own included.

use std::io;
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
