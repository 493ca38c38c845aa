//! What the servers themselves say while the faults happen: asked over their UNIX sockets, past every link and past the engine.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::PgServer;
use crate::support::haproxy::open_servers;
use crate::support::session::{Address, Login, Session};

const EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(400);
/// A new session comes with each such glance: a server without a postmaster answers the old ones only.
const NEW_SESSION_EACH: usize = 4;

/// What a server was seen to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saw {
    /// It takes writes, and new sessions.
    Writable,
    /// It is in recovery.
    Recovery,
    /// It does not answer.
    Silent,
}

impl Saw {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Saw::Writable => "writable",
            Saw::Recovery => "recovery",
            Saw::Silent => "silent",
        }
    }
}

/// From this moment on a server was seen so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Nanoseconds of the run.
    pub at: u64,
    /// Which server.
    pub server: usize,
    /// What it was.
    pub saw: Saw,
}

/// From this moment on HAProxy sent new sessions there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Nanoseconds of the run.
    pub at: u64,
    /// To whom; `None`: it does not answer.
    pub to: Option<Vec<String>>,
}

/// What was seen so far: changes only.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of the servers.
    pub glances: Vec<Glance>,
    /// Of the route.
    pub routes: Vec<Route>,
}

impl Seen {
    /// What a server was at a moment.
    pub fn at(&self, server: usize, moment: u64) -> Option<Saw> {
        self.glances.iter().rfind(|glance| glance.server == server && glance.at <= moment).map(|glance| glance.saw)
    }

    /// A server was nothing else from one moment to another.
    pub fn was_all_the_time(&self, server: usize, saw: Saw, from: u64, until: u64) -> bool {
        let changed = |glance: &Glance| glance.server == server && (from..=until).contains(&glance.at) && glance.saw != saw;
        self.at(server, from) == Some(saw) && !self.glances.iter().any(changed)
    }

    /// Two servers took writes at the same moment.
    pub fn two_writable(&self) -> bool {
        let writable = |at: u64| {
            let servers: std::collections::BTreeSet<usize> = self.glances.iter().map(|glance| glance.server).collect();
            servers.into_iter().filter(|server| self.at(*server, at) == Some(Saw::Writable)).count()
        };
        self.glances.iter().any(|glance| writable(glance.at) > 1)
    }
}

/// The threads that look.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Looks at the servers, and at HAProxy by its admin socket.
    pub fn start(servers: &[PgServer], haproxy: &Path, backend: &str, origin: Instant) -> std::io::Result<Watch> {
        let mut watch = Watch { seen: Arc::default(), over: Arc::default(), threads: Vec::new() };
        for (place, server) in servers.iter().enumerate() {
            let address = Address::Unix(server.socket_dir().to_owned(), server.port());
            let (seen, over) = (Arc::clone(&watch.seen), Arc::clone(&watch.over));
            watch.begin(format!("watch-{}", server.name()), move || look(place, &address, origin, &seen, &over))?;
        }
        let (seen, over) = (Arc::clone(&watch.seen), Arc::clone(&watch.over));
        let (socket, backend) = (haproxy.to_owned(), backend.to_owned());
        watch.begin("watch-route".to_owned(), move || follow(&socket, &backend, origin, &seen, &over))?;
        Ok(watch)
    }

    fn begin(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        Ok(())
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // Each of their questions has a deadline.
            let _ = thread.join();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn look(server: usize, address: &Address, origin: Instant, seen: &Mutex<Seen>, over: &AtomicBool) {
    let login = Login { application: "watch".to_owned(), ..Login::new("postgres", "postgres") };
    let mut session: Option<Session> = None;
    let mut last = None;
    for turn in 0.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let began = Instant::now();
        if session.is_none() || turn % NEW_SESSION_EACH == 0 {
            session = Session::connect(address, &login, PATIENCE).ok();
        }
        let answer = session.as_mut().map(|session| session.value("SELECT pg_is_in_recovery()", PATIENCE));
        let saw = match answer {
            Some(Ok(standby)) if standby == "f" => Saw::Writable,
            Some(Ok(_)) => Saw::Recovery,
            _ => {
                session = None;
                Saw::Silent
            }
        };
        if last != Some(saw) {
            last = Some(saw);
            lock(seen).glances.push(Glance { at: nanos(origin), server, saw });
        }
        std::thread::sleep(EVERY.saturating_sub(began.elapsed()));
    }
}

fn follow(socket: &Path, backend: &str, origin: Instant, seen: &Mutex<Seen>, over: &AtomicBool) {
    let mut last = None;
    while !over.load(Ordering::SeqCst) {
        let to = open_servers(socket, backend, PATIENCE).ok();
        if last.as_ref() != Some(&to) {
            lock(seen).routes.push(Route { at: nanos(origin), to: to.clone() });
            last = Some(to);
        }
        std::thread::sleep(EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(glances: &[(u64, usize, Saw)]) -> Seen {
        let glances = glances.iter().map(|(at, server, saw)| Glance { at: *at, server: *server, saw: *saw }).collect();
        Seen { glances, routes: Vec::new() }
    }

    #[test]
    fn a_moment_has_what_was_seen_last() {
        let seen = seen(&[(0, 0, Saw::Writable), (0, 1, Saw::Recovery), (50, 0, Saw::Silent), (60, 1, Saw::Writable)]);
        assert_eq!((seen.at(0, 49), seen.at(0, 50), seen.at(2, 50)), (Some(Saw::Writable), Some(Saw::Silent), None));
        assert!(seen.was_all_the_time(0, Saw::Writable, 10, 49) && !seen.was_all_the_time(0, Saw::Writable, 10, 50));
        assert!(!seen.two_writable());
    }

    #[test]
    fn two_that_take_writes_at_once_are_seen() {
        let seen = seen(&[(0, 0, Saw::Writable), (0, 1, Saw::Recovery), (60, 1, Saw::Writable), (70, 0, Saw::Silent)]);
        assert!(seen.two_writable());
    }
}
