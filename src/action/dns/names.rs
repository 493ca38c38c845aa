//! The names of a service: each points to the active server, and back where a failover is undone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::action::memory::{NamesBefore, RecordBefore};
use crate::deadline::{Cancel, Deadline};
use crate::wire::dns;
use crate::wire::resolve::Addresses;
use failover_core::output::{Failure, FailureKind};
use failover_core::sample::RouteInstance;

use super::verify::{Asked, NameServer, Role, verify};
use super::{Companions, Record, RecordSet, RecordType};

/// Between two looks at authoritative servers that do not have a new value yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One name.
#[allow(clippy::struct_field_names, reason = "a name has a name")]
pub(crate) struct Name {
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
    /// All servers of the zone that can be asked, the one where it is changed among them.
    pub zone: Vec<NameServer>,
    /// Resolvers that are asked what they remember; they are told of, and hold nobody up.
    pub resolvers: Vec<NameServer>,
    /// What follows the active server beside it.
    pub companions: Option<Box<dyn Companions>>,
    /// The longest a change of it may take.
    pub timeout: Duration,
}

/// All names of a service. Thread-safe; every operation may be repeated.
pub(crate) struct Names {
    list: Vec<Name>,
    addresses: Arc<dyn Addresses>,
    /// What each held before this failover, by its place: the first look counts.
    before: Mutex<BTreeMap<usize, Before>>,
    /// The failover that `before` belongs to.
    generation: AtomicU64,
}

/// What a name held before this failover.
#[derive(Clone)]
struct Before {
    held: Option<RecordSet>,
    /// A change was asked for, and it is not proven that it had no effect.
    touched: bool,
}

impl Names {
    /// These names; nothing is asked or changed yet.
    #[must_use]
    pub(crate) fn new(list: Vec<Name>, addresses: Arc<dyn Addresses>) -> Names {
        Names { list, addresses, before: Mutex::new(BTreeMap::new()), generation: AtomicU64::new(0) }
    }

    /// There are none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What names held before an earlier failover is of the past: this one looks anew.
    pub(crate) fn begin(&self, generation: u64) {
        if self.generation.swap(generation, Ordering::Relaxed) != generation {
            self.before.lock().clear();
            self.list.iter().filter_map(|name| name.companions.as_ref()).for_each(|companions| companions.begin());
        }
    }

    /// What every name holds now, kept as what it held before; and whether all could be read. Changes nothing.
    pub(crate) fn note(&self, deadline: Deadline, cancel: &Cancel) -> (NamesBefore, bool) {
        let looked = self.each(|place, name| {
            vec![match name.record.read(deadline.at_most(name.timeout), cancel) {
                Ok(now) => {
                    self.remember(place, now);
                    RouteInstance { name: name.name.clone(), result: Ok(String::new()) }
                }
                Err(failure) => RouteInstance::failed(&name.name, &failure),
            }]
        });
        let before = self.before.lock();
        let noted = before.iter().filter_map(|(place, before)| {
            let held = before.held.as_ref().map(|held| RecordBefore { values: held.values.clone(), ttl: held.ttl });
            Some((self.list.get(*place)?.name.clone(), held))
        });
        (noted.collect(), looked.iter().all(|one| one.result.is_ok()))
    }

    /// What an earlier engine noted.
    pub(crate) fn recall(&self, noted: &NamesBefore) {
        let mut before = self.before.lock();
        for (place, name) in self.list.iter().enumerate() {
            if let Some(held) = noted.get(&name.name) {
                let held = held.as_ref().map(|held| RecordSet { values: held.values.clone(), ttl: held.ttl });
                // It may have changed it.
                before.insert(place, Before { held, touched: true });
            }
        }
    }

    /// Points every name to a server, all at the same time, and waits until the servers of its zone have it.
    #[must_use]
    pub(crate) fn point_to(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        self.each(|place, name| {
            let deadline = deadline.at_most(name.timeout);
            let pointed = || {
                let wanted = name.wanted(server)?;
                let now = name.record.read(deadline, cancel)?;
                self.remember(place, now);
                let said = self.write(place, wanted, deadline, cancel)?;
                let seen = self.seen(name, Some(wanted), deadline, cancel)?;
                Ok(if seen.is_empty() { said } else { format!("{said}; {seen}") })
            };
            // A name that did not move takes nothing along.
            let moved = pointed().map(|said| (said, |beside: &dyn Companions| beside.follow(server, deadline, cancel)));
            name.told(moved)
        })
    }

    /// Every name holds again what it held before this failover: values and TTL, or nothing. What was not looked at by this engine
    /// gets the value of `server`; where no change had an effect, nothing is asked for.
    #[must_use]
    pub(crate) fn roll_back(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        self.each(|place, name| {
            let deadline = deadline.at_most(name.timeout);
            let before = self.before.lock().get(&place).cloned();
            if before.as_ref().is_some_and(|before| !before.touched) {
                return vec![RouteInstance { name: name.name.clone(), result: Ok("was not changed".into()) }];
            }
            let put_back = || {
                let wanted = match &before {
                    Some(before) => before.held.clone(),
                    None => Some(name.wanted(server)?.clone()),
                };
                let said = name.record.write(wanted.as_ref(), deadline, cancel)?;
                self.before.lock().remove(&place);
                Ok(said)
            };
            let moved = put_back().map(|said| (said, |beside: &dyn Companions| beside.roll_back(server, deadline, cancel)));
            name.told(moved)
        })
    }

    /// Reads every name, and what is beside it, where it is changed. Changes nothing.
    #[must_use]
    pub(crate) fn look(&self, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        self.each(|_, name| {
            let deadline = deadline.at_most(name.timeout);
            let holds = |set: Option<RecordSet>| set.map_or_else(|| "no record".to_owned(), |set| set.to_string());
            let read = name.record.read(deadline, cancel).map(holds);
            name.told(read.map(|said| (said, |beside: &dyn Companions| beside.look(deadline, cancel))))
        })
    }

    /// The names that are in another zone than the one where they would be changed, and whose. Changes nothing.
    #[must_use]
    pub(crate) fn elsewhere(&self, deadline: Deadline, cancel: &Cancel) -> Vec<(String, Failure)> {
        let failed = Mutex::new(Vec::new());
        self.each(|_, name| {
            if let Err(failure) = name.record.in_its_zone(deadline.at_most(name.timeout), cancel) {
                failed.lock().push((name.name.clone(), failure));
            }
            Vec::new()
        });
        let mut failed = failed.into_inner();
        failed.sort_by(|(one, _), (other, _)| one.cmp(other));
        failed
    }

    /// Where these hosts are that are names of ours, as the servers of their zones have it now: what a cache remembers is not what
    /// clients will get. Other hosts, and names whose zone nobody can be asked of, are found as everywhere.
    #[must_use]
    pub(crate) fn found<'a>(
        &self,
        hosts: &mut dyn Iterator<Item = &str>,
        others: &'a dyn Addresses,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Found<'a> {
        let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        let mut own = BTreeMap::new();
        for host in hosts {
            let name = self.list.iter().find(|name| plain(&name.name) == plain(host) && !name.zone.is_empty());
            if let Some(name) = name
                && !own.contains_key(host)
            {
                own.insert(host.to_owned(), self.held_by_zone(name, deadline, cancel));
            }
        }
        Found { own, others }
    }

    /// The record's values, from the first server of the zone that answers.
    fn held_by_zone(&self, name: &Name, deadline: Deadline, cancel: &Cancel) -> Result<Vec<String>, String> {
        let mut why = String::new();
        for server in &name.zone {
            for address in server.find(&*self.addresses).unwrap_or_default() {
                // One that does not answer leaves time for the next.
                let deadline = deadline.at_most(deadline.remaining() / 2);
                match dns::ask(address, &name.name, name.record_type, false, deadline, cancel) {
                    Ok(answer) => match answer.record {
                        Some(record) => return Ok(record.values),
                        None => why = format!("{server} has no record of {}", name.name),
                    },
                    Err(error) => why = format!("{server}: {error}"),
                }
            }
        }
        Err(format!("no server reports the present values of {}: {why}", name.name))
    }

    /// The first look counts.
    fn remember(&self, place: usize, now: Option<RecordSet>) {
        self.before.lock().entry(place).or_insert(Before { held: now, touched: false });
    }

    /// Changes a name that was looked at, and keeps whether that can have had an effect.
    fn write(&self, place: usize, wanted: &RecordSet, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let touch = |touched| self.before.lock().get_mut(&place).map(|before| std::mem::replace(&mut before.touched, touched));
        let earlier = touch(true).unwrap_or(true);
        let outcome = self.list[place].record.write(Some(wanted), deadline, cancel);
        if outcome.as_ref().is_err_and(|failure| failure.kind == FailureKind::NoEffect) {
            touch(earlier);
        }
        outcome
    }

    fn each(&self, work: impl Fn(usize, &Name) -> Vec<RouteInstance> + Sync) -> Vec<RouteInstance> {
        let work = &work;
        if let [name] = self.list.as_slice() {
            return work(0, name);
        }
        std::thread::scope(|scope| {
            let started: Vec<_> = self
                .list
                .iter()
                .enumerate()
                .map(|(place, name)| {
                    let thread = std::thread::Builder::new().name(format!("fo-name-{place}"));
                    (place, name, thread.spawn_scoped(scope, move || work(place, name)))
                })
                .collect();
            started
                .into_iter()
                .flat_map(|(place, name, thread)| match thread {
                    Ok(thread) => thread.join().unwrap_or_else(|_| {
                        vec![RouteInstance::failed(&name.name, &Failure::unknown("an internal error (panic)", ""))]
                    }),
                    // No thread to be had: later is better than never.
                    Err(_) => work(place, name),
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
                let message =
                    format!("{} was changed, and some authoritative servers do not have the change yet: {lagging}", name.name);
                return Err(Failure::unknown(message, lagging.remedy()));
            }
        }
    }
}

/// Where hosts are, those first whose zones were asked.
pub(crate) struct Found<'a> {
    own: BTreeMap<String, Result<Vec<String>, String>>,
    others: &'a dyn Addresses,
}

impl Addresses for Found<'_> {
    fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let Some(held) = self.own.get(host) else { return self.others.addresses(host, port) };
        let mut all = Vec::new();
        for value in held.as_ref().map_err(Clone::clone)? {
            match value.parse::<IpAddr>() {
                Ok(ip) => all.push(SocketAddr::new(ip, port)),
                // A CNAME: where it leads is somebody else's.
                Err(_) => all.extend(self.others.addresses(value.trim_end_matches('.'), port)?),
            }
        }
        Ok(all)
    }
}

impl Name {
    /// How it went, and how it goes with what is beside it where there is more to be done.
    fn told(&self, outcome: Result<(String, impl FnOnce(&dyn Companions) -> Vec<RouteInstance>), Failure>) -> Vec<RouteInstance> {
        match outcome {
            Ok((said, beside)) => {
                let mut all = vec![RouteInstance { name: self.name.clone(), result: Ok(said) }];
                all.extend(self.companions.as_deref().map(beside).unwrap_or_default());
                all
            }
            Err(failure) => vec![RouteInstance::failed(&self.name, &failure)],
        }
    }

    fn wanted(&self, server: &str) -> Result<&RecordSet, Failure> {
        self.values.get(server).ok_or_else(|| {
            Failure::no_effect(format!("{}: nothing says what it holds for {server}", self.name), "add it to dns.values")
        })
    }
}
