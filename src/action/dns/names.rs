//! The names of a service: each points to the active server, and back where a failover is undone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::action::memory::{NamesBefore, RecordBefore};
use crate::core::output::Failure;
use crate::core::sample::RouteInstance;
use crate::wire::deadline::{Cancel, Deadline};
use crate::wire::resolve::Addresses;

use super::verify::{Asked, NameServer, Role, verify};
use super::{Record, RecordSet, RecordType};

/// Between two looks at authoritative servers that do not have a new value yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One name.
pub struct Name {
    /// What it is called in the configuration.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
    /// Where it is changed.
    pub record: Box<dyn Record>,
    /// What it holds while a server, by our name, is active.
    pub values: BTreeMap<String, RecordSet>,
    /// Servers that speak for the zone: each has to have a new value before it counts.
    pub authoritative: Vec<NameServer>,
    /// Resolvers that are asked what they remember; they are told of, and hold nobody up.
    pub resolvers: Vec<NameServer>,
    /// The longest a change of it may take.
    pub timeout: Duration,
}

/// All names of a service. Thread-safe; every operation may be repeated.
pub struct Names {
    list: Vec<Name>,
    addresses: Arc<dyn Addresses>,
    /// What each held before this failover, by its place: the first look counts.
    before: Mutex<BTreeMap<usize, Option<RecordSet>>>,
    /// The failover that `before` belongs to.
    generation: AtomicU64,
}

impl Names {
    /// These names; nothing is asked or changed yet.
    #[must_use]
    pub fn new(list: Vec<Name>, addresses: Arc<dyn Addresses>) -> Names {
        Names { list, addresses, before: Mutex::new(BTreeMap::new()), generation: AtomicU64::new(0) }
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What names held before an earlier failover is of the past: this one looks anew.
    pub fn begin(&self, generation: u64) {
        if self.generation.swap(generation, Ordering::Relaxed) != generation {
            self.before.lock().clear();
        }
    }

    /// What every name holds now, kept as what it held before; and whether all could be read. Changes nothing.
    pub fn note(&self, deadline: Deadline, cancel: &Cancel) -> (NamesBefore, bool) {
        let looked = self.each(|place, name| {
            let now = name.record.read(deadline.at_most(name.timeout), cancel)?;
            self.before.lock().entry(place).or_insert(now);
            Ok(String::new())
        });
        let before = self.before.lock();
        let noted = before.iter().filter_map(|(place, held)| {
            let held = held.as_ref().map(|held| RecordBefore { values: held.values.clone(), ttl: held.ttl });
            Some((self.list.get(*place)?.name.clone(), held))
        });
        (noted.collect(), looked.iter().all(|one| one.result.is_ok()))
    }

    /// What an earlier engine noted.
    pub fn recall(&self, noted: &NamesBefore) {
        let mut before = self.before.lock();
        for (place, name) in self.list.iter().enumerate() {
            if let Some(held) = noted.get(&name.name) {
                let held = held.as_ref().map(|held| RecordSet { values: held.values.clone(), ttl: held.ttl });
                before.insert(place, held);
            }
        }
    }

    /// Points every name to a server, all at the same time, and waits until the servers of its zone have it.
    #[must_use]
    pub fn point_to(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        self.each(|place, name| {
            let deadline = deadline.at_most(name.timeout);
            let wanted = name.wanted(server)?;
            let now = name.record.read(deadline, cancel)?;
            self.before.lock().entry(place).or_insert(now);
            let said = name.record.write(Some(wanted), deadline, cancel)?;
            let seen = self.seen(name, Some(wanted), deadline, cancel)?;
            Ok(if seen.is_empty() { said } else { format!("{said}; {seen}") })
        })
    }

    /// Every name holds again what it held before this failover: values and TTL, or nothing. What was not looked at by this engine
    /// gets the value of `server`.
    #[must_use]
    pub fn roll_back(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        self.each(|place, name| {
            let deadline = deadline.at_most(name.timeout);
            let before = self.before.lock().get(&place).cloned();
            let wanted = match before {
                Some(before) => before,
                None => Some(name.wanted(server)?.clone()),
            };
            let said = name.record.write(wanted.as_ref(), deadline, cancel)?;
            self.before.lock().remove(&place);
            Ok(said)
        })
    }

    fn each(&self, work: impl Fn(usize, &Name) -> Result<String, Failure> + Sync) -> Vec<RouteInstance> {
        let work = &work;
        let told = |place: usize, name: &Name| match work(place, name) {
            Ok(said) => RouteInstance { name: name.name.clone(), result: Ok(said) },
            Err(failure) => RouteInstance::failed(&name.name, &failure),
        };
        let told = &told;
        if let [name] = self.list.as_slice() {
            return vec![told(0, name)];
        }
        std::thread::scope(|scope| {
            let started: Vec<_> = self
                .list
                .iter()
                .enumerate()
                .map(|(place, name)| {
                    let thread = std::thread::Builder::new().name(format!("fo-name-{place}"));
                    (place, name, thread.spawn_scoped(scope, move || told(place, name)))
                })
                .collect();
            started
                .into_iter()
                .map(|(place, name, thread)| match thread {
                    Ok(thread) => thread.join().unwrap_or_else(|_| {
                        RouteInstance::failed(&name.name, &Failure::unknown("an internal error (panic)", ""))
                    }),
                    // No thread to be had: later is better than never.
                    Err(_) => told(place, name),
                })
                .collect()
        })
    }

    /// Waits until everybody who speaks for the zone has it, and says what the resolvers remember.
    fn seen(&self, name: &Name, wanted: Option<&RecordSet>, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let mut asked = Vec::new();
        for (servers, role) in [(&name.authoritative, Role::Authoritative), (&name.resolvers, Role::Resolver)] {
            for server in servers {
                match server.find(&*self.addresses) {
                    Ok(addresses) => asked.push(Asked { name: server.to_string(), addresses, role }),
                    Err(why) if role == Role::Authoritative => {
                        return Err(Failure::unknown(format!("{server}: {why}"), "write its address"));
                    }
                    Err(_) => {}
                }
            }
        }
        if asked.is_empty() {
            return Ok(String::new());
        }
        loop {
            let seen = verify(&asked, &name.name, name.record_type, wanted, deadline, cancel);
            let lagging = seen.iter().find(|seen| seen.role == Role::Authoritative && !seen.is_expected());
            let Some(lagging) = lagging else {
                return Ok(seen.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
            };
            if cancel.pause(LOOK_AGAIN, deadline).is_err() || deadline.is_over() {
                let message = format!("{} was changed, and not everybody who speaks for its zone has it: {lagging}", name.name);
                return Err(Failure::unknown(message, lagging.remedy()));
            }
        }
    }
}

impl Name {
    fn wanted(&self, server: &str) -> Result<&RecordSet, Failure> {
        self.values.get(server).ok_or_else(|| {
            Failure::no_effect(format!("{}: nothing says what it holds for {server}", self.name), "add it to dns.values")
        })
    }
}
