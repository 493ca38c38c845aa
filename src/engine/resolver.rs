//! One thread that turns names into addresses; everybody else reads what it last got.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::resolve::{Addresses, Literals};

use super::error::EngineError;
use super::threads::{Duty, Threads};
use crate::sync::{Condvar, Mutex, now};

/// Between two looks at a name that is known.
const REFRESH: Duration = Duration::from_secs(30);
/// Between two looks at a name that is not.
const RETRY: Duration = Duration::from_secs(3);
/// A look that takes longer is named: three servers that do not answer, asked twice.
const SLOW: Duration = Duration::from_secs(35);
/// Names it keeps at most.
const NAMES: usize = 1024;
/// How long somebody may wait for a name that was never looked up.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The resolver. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Resolver(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Entry>,
    closed: bool,
}

struct Entry {
    /// What it last resolved to; kept when a later look fails.
    known: Vec<IpAddr>,
    /// Why the last look failed.
    failure: Option<String>,
    due: Instant,
    looked: bool,
}

impl Resolver {
    /// A resolver that will look after these names too; the others it learns when they are asked for.
    pub(crate) fn learn<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut state = self.0.state.lock();
        for name in names {
            state.want(name);
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// [`EngineError::System`] when the operating system has no thread left.
    pub(crate) fn start(&self, threads: &Threads) -> Result<(), EngineError> {
        self.start_as(threads, 0)
    }

    /// The same with a number of its own.
    ///
    /// # Errors
    /// As for [`Resolver::start`].
    pub(crate) fn start_as(&self, threads: &Threads, number: usize) -> Result<(), EngineError> {
        let shared = Arc::clone(&self.0);
        let duty = threads.aside_duty("resolve", number);
        threads.spawn("resolve", number, move || shared.run(&duty))
    }

    /// Ends the thread, after the look it may be in.
    pub(crate) fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Addresses for Resolver {
    fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(literal) = Literals.addresses(host, port) {
            return Ok(literal);
        }
        let mut state = self.0.state.lock();
        if state.want(host) {
            self.0.changed.notify_all();
        }
        let until = now() + FIRST_WAIT;
        loop {
            let Some(entry) = state.names.get(host) else {
                return Err(format!("\"{host}\" is not looked up: {NAMES} names are the most"));
            };
            if !entry.known.is_empty() {
                return Ok(entry.known.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
            }
            let mut timed_out = entry.looked || state.closed;
            if !timed_out {
                (state, timed_out) = self.0.changed.wait_until(state, until);
            }
            if timed_out {
                let failure = state.names.get(host).and_then(|entry| entry.failure.clone());
                return Err(failure.unwrap_or_else(|| format!("\"{host}\" has not been resolved yet")));
            }
        }
    }
}

impl State {
    fn want(&mut self, name: &str) -> bool {
        if self.names.contains_key(name) || self.names.len() >= NAMES || Literals.addresses(name, 0).is_ok() {
            return false;
        }
        self.names.insert(name.to_owned(), Entry { known: Vec::new(), failure: None, due: now(), looked: false });
        true
    }
}

impl Entry {
    /// Takes what a look found. What is known stays where it found nothing.
    fn learn(&mut self, name: &str, looked: std::io::Result<Vec<IpAddr>>) {
        self.looked = true;
        match looked {
            Ok(mut known) => {
                known.dedup();
                self.due = now() + if known.is_empty() { RETRY } else { REFRESH };
                self.failure = known.is_empty().then(|| format!("\"{name}\" has no address"));
                if !known.is_empty() {
                    self.known = known;
                }
            }
            Err(error) => {
                self.due = now() + RETRY;
                self.failure = Some(format!("\"{name}\" does not resolve: {error}"));
            }
        }
    }
}

impl Shared {
    fn run(&self, duty: &Duty) {
        let mut state = self.state.lock();
        while !state.closed {
            let Some((name, due)) = state.names.iter().map(|(name, entry)| (name, entry.due)).min_by_key(|(_, due)| *due) else {
                state = self.changed.wait(state);
                continue;
            };
            if due > now() {
                (state, _) = self.changed.wait_until(state, due);
                continue;
            }
            let name = name.clone();
            drop(state);
            // The one call in the engine that nobody can bound; that is why it has a thread of its own.
            duty.begin(SLOW);
            let looked = (name.as_str(), 0).to_socket_addrs();
            duty.rest();
            state = self.state.lock();
            if let Some(entry) = state.names.get_mut(&name) {
                entry.learn(&name, looked.map(|addresses| addresses.map(|address| address.ip()).collect()));
            }
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;

    #[test]
    fn names_resolve_literals_need_no_thread_and_nonsense_is_named() {
        let resolver = Resolver::default();
        assert_eq!(resolver.addresses("::1", 5).unwrap(), ["[::1]:5".parse().unwrap()]);
        let threads = Threads::default();
        resolver.learn(["localhost", "127.0.0.1"]);
        resolver.start(&threads).unwrap();
        while resolver.0.state.lock().names.get("localhost").is_some_and(|entry| !entry.looked) {
            std::thread::yield_now();
        }
        let found = resolver.addresses("localhost", 80).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
        assert_eq!(resolver.0.state.lock().names.len(), 1, "a literal is not looked up");
        resolver.close();
        threads.join(Deadline::after(Duration::from_secs(60))).unwrap();
    }

    #[test]
    fn the_last_known_address_outlives_a_failing_look() {
        let resolver = Resolver::default();
        let known: IpAddr = "192.0.2.7".parse().unwrap();
        let mut entry = Entry { known: Vec::new(), failure: None, due: now(), looked: false };
        entry.learn("db1", Ok(vec![known, known]));
        assert!(entry.failure.is_none() && entry.due > now());
        for (nothing, why) in
            [(Err(std::io::Error::other("no server answers")), "no server answers"), (Ok(Vec::new()), "no address")]
        {
            entry.learn("db1", nothing);
            assert!(entry.failure.as_ref().is_some_and(|failure| failure.contains(why)), "{:?}", entry.failure);
            assert_eq!(entry.known, [known]);
        }
        resolver.0.state.lock().names.insert("db1".to_owned(), entry);
        assert_eq!(resolver.addresses("db1", 1).unwrap(), ["192.0.2.7:1".parse().unwrap()]);
    }
}
