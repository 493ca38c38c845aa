//! Whom a step concerns. An input concerns the service that it is about, and those that follow that one where it changed for them;
//! time concerns those whose moment has come. Nobody else is looked at, so what a step costs does not grow with the number of services.
//!
//! All of it but the moments follows from the services and is found again from them: only the moments are written down.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::{ActionId, RunId};
use super::schedule;
use super::service::follow::Followed;
use super::service::limit::RecentFailovers;
use super::service::{Service, Surroundings};
use super::time::Mono;

/// When a service has to be looked at again if no input is about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moments {
    /// Something has to happen then: the engine is to be woken.
    wake: Mono,
    /// From then on it may be seen otherwise, and nothing has to happen: the next step looks, whatever it is about.
    look: Mono,
}

impl Moments {
    const NOW: Moments = Moments { wake: Mono::ZERO, look: Mono::ZERO };

    fn are_due(self, now: Mono) -> bool {
        self.wake <= now || self.look <= now
    }
}

/// Whom the next step concerns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Due {
    /// Of each service.
    moments: Vec<Moments>,
    #[serde(skip)]
    index: Option<Index>,
    /// Services are searched, not found, and all of them looked at: see [`Core::exhaustive`](super::Core::exhaustive).
    #[serde(skip)]
    exhaustive: bool,
}

/// What is found by it, instead of searched in all services.
#[derive(Clone, Debug, Default)]
struct Index {
    wakes: BTreeSet<(Mono, usize)>,
    looks: BTreeSet<(Mono, usize)>,
    runs: BTreeMap<RunId, usize>,
    actions: BTreeMap<ActionId, usize>,
    /// Its runs and actions that are out.
    out: Vec<(Vec<RunId>, Vec<ActionId>)>,
    /// Its silent servers, and when the next one will be so if nothing comes of it.
    silent: Vec<(usize, Mono)>,
    silences: BTreeSet<(Mono, usize)>,
    silent_servers: usize,
    servers: usize,
    /// Those whose failover began lately.
    lately: BTreeSet<usize>,
    /// Those whose failover waits because others began.
    held: BTreeSet<usize>,
    /// Those that want to know how the one is that they follow.
    asking: BTreeSet<usize>,
    /// Their followers, and what those saw last.
    followers: Vec<Vec<usize>>,
    followed: Vec<Option<Followed>>,
    /// Its place among all, each behind the one that it follows; and the draws of the jitter that are made before its own.
    ranks: Vec<usize>,
    draws: Vec<u64>,
    all_draws: u64,
    /// Whom this step concerns, by rank.
    touched: BTreeSet<(usize, usize)>,
    /// The rank that is looked at.
    at: Option<usize>,
}

impl Due {
    /// Every service is due.
    pub(crate) fn of(services: &[Service], now: Mono) -> Due {
        let mut due = Due::default();
        due.prepare(services, now);
        due
    }

    pub(crate) fn exhaustive(&mut self) {
        self.exhaustive = true;
    }

    /// After a reload every service may be another one.
    pub(crate) fn start_over(&mut self, services: &[Service], now: Mono) {
        *self = Due { exhaustive: self.exhaustive, ..Due::of(services, now) };
    }

    /// Finds again what is not written down.
    pub(crate) fn prepare(&mut self, services: &[Service], now: Mono) {
        if self.index.is_some() {
            return;
        }
        if self.moments.len() != services.len() {
            self.moments = vec![Moments::NOW; services.len()];
        }
        let count = services.len();
        let mut index = Index {
            out: vec![<(Vec<RunId>, Vec<ActionId>)>::default(); count],
            silent: vec![(0, Mono::NEVER); count],
            followers: vec![Vec::new(); count],
            followed: vec![None; count],
            ranks: vec![0; count],
            draws: vec![0; count],
            servers: services.iter().map(|service| service.model.servers.len()).sum(),
            ..Index::default()
        };
        for (rank, at) in order(services).into_iter().enumerate() {
            index.ranks[at] = rank;
            index.draws[at] = index.all_draws;
            index.all_draws += services[at].model.checks.iter().map(schedule::draws).sum::<u64>();
            if let Some(other) = followed_by(services, at) {
                index.followers[other].push(at);
            }
        }
        for (at, service) in services.iter().enumerate() {
            index.wakes.insert((self.moments[at].wake, at));
            index.looks.insert((self.moments[at].look, at));
            index.note(at, service, now);
            index.note_out(at, service);
            index.note_followed(at, service);
        }
        self.index = Some(index);
    }

    /// Who has this run.
    pub(crate) fn of_run(&self, run: RunId, services: &[Service]) -> Option<usize> {
        if self.exhaustive {
            return services
                .iter()
                .position(|service| service.check_of_run(run).is_some() || service.session_of_run(run).is_some());
        }
        self.index.as_ref()?.runs.get(&run).copied()
    }

    /// Who has this action.
    pub(crate) fn of_action(&self, action: ActionId, services: &[Service]) -> Option<usize> {
        if self.exhaustive {
            return services.iter().position(|service| service.actions_out().any(|out| out == action));
        }
        self.index.as_ref()?.actions.get(&action).copied()
    }

    /// An input was about this service, or something of it was changed from elsewhere.
    pub(crate) fn touch(&mut self, at: usize, service: &Service, now: Mono) {
        let Some(index) = &mut self.index else { return };
        index.note(at, service, now);
        index.touched.insert((index.ranks[at], at));
    }

    /// Something changed that concerns each of them.
    pub(crate) fn touch_all(&mut self, services: &[Service], now: Mono) {
        for (at, service) in services.iter().enumerate() {
            self.touch(at, service, now);
        }
    }

    /// Those whose moment has come.
    pub(crate) fn touch_due(&mut self, services: &[Service], now: Mono) {
        let Some(index) = &mut self.index else { return };
        index.at = None;
        if self.exhaustive {
            for (at, service) in services.iter().enumerate() {
                if self.moments[at].are_due(now) || !service.is_restless() {
                    index.touched.insert((index.ranks[at], at));
                }
            }
            return;
        }
        for (_, at) in index.wakes.range(..=(now, usize::MAX)).chain(index.looks.range(..=(now, usize::MAX))) {
            index.touched.insert((index.ranks[*at], *at));
        }
    }

    /// The next one to be looked at in this step, and the draws of the jitter that come before its own.
    pub(crate) fn pop(&mut self) -> Option<(usize, u64)> {
        let index = self.index.as_mut()?;
        let (rank, at) = index.touched.pop_first()?;
        index.at = Some(rank);
        Some((at, index.draws[at]))
    }

    /// One was looked at: when next, what is out, and whom it concerns beside itself. `told`: something came of it, and more may come of
    /// a second look.
    pub(crate) fn looked_at(&mut self, at: usize, services: &[Service], told: bool, around: Surroundings, now: Mono) {
        let Some(index) = &mut self.index else { return };
        let service = &services[at];
        let look = if told { now } else { service.next_look(now) };
        let before = std::mem::replace(&mut self.moments[at], Moments { wake: service.next(around, now), look });
        index.moved(at, before, self.moments[at]);
        index.note(at, service, now);
        index.note_out(at, service);
        let asked_anew = match index.note_followed(at, service) {
            Changed::Nothing => return,
            Changed::Answers => true,
            Changed::All => false,
        };
        for place in 0..index.followers[at].len() {
            let follower = index.followers[at][place];
            // What it answers now matters to who holds it for the cause of a failure.
            if asked_anew && services[follower].detection.suspicion.is_none() {
                continue;
            }
            let rank = index.ranks[follower];
            if index.at.is_none_or(|at| rank > at) {
                index.touched.insert((rank, follower));
            } else {
                // Services that follow each other in a circle are looked at once in a step.
                let before = self.moments[follower];
                self.moments[follower].look = now;
                index.moved(follower, before, self.moments[follower]);
            }
        }
    }

    /// Those that want to know how the one is that they follow.
    pub(crate) fn asking(&mut self, services: &[Service]) -> Vec<usize> {
        if self.exhaustive {
            return (0..services.len()).filter(|at| services[*at].background.follow.ask).collect();
        }
        self.index.as_mut().map(|index| std::mem::take(&mut index.asking)).unwrap_or_default().into_iter().collect()
    }

    /// How many servers are silent, of how many.
    pub(crate) fn silent(&mut self, services: &[Service], now: Mono) -> (usize, usize) {
        let Some(index) = &mut self.index else { return (0, 0) };
        if self.exhaustive {
            return (services.iter().map(|service| service.silence(now).0).sum(), index.servers);
        }
        while let Some((_, at)) = index.silences.first().copied().filter(|(moment, _)| *moment <= now) {
            index.note_silence(at, &services[at], now);
        }
        (index.silent_servers, index.servers)
    }

    /// How many failovers began lately.
    pub(crate) fn begun(&mut self, services: &[Service], now: Mono) -> RecentFailovers {
        let Some(index) = self.index.as_mut().filter(|_| !self.exhaustive) else {
            return RecentFailovers::count(services.iter(), now);
        };
        index.lately.retain(|at| services[*at].began_lately(now));
        RecentFailovers::count(index.lately.iter().map(|at| &services[*at]), now)
    }

    /// Those whose failover waits because others began, in their order.
    pub(crate) fn held(&self, services: &[Service]) -> Vec<usize> {
        match &self.index {
            Some(index) if !self.exhaustive => index.held.iter().copied().collect(),
            _ => (0..services.len()).filter(|at| services[*at].run.held).collect(),
        }
    }

    /// Draws of the jitter in one step.
    pub(crate) fn draws(&self) -> u64 {
        self.index.as_ref().map_or(0, |index| index.all_draws)
    }

    /// When the first of them has to be looked at.
    pub(crate) fn next(&self, services: &[Service], around: Surroundings, now: Mono) -> Mono {
        let searched = || {
            let each = services.iter().zip(&self.moments);
            each.map(|(service, moments)| if service.is_restless() { moments.wake } else { service.next(around, now) }).min()
        };
        let first = match &self.index {
            Some(index) if !self.exhaustive => index.wakes.first().map(|(wake, _)| *wake),
            _ if self.moments.len() == services.len() => searched(),
            _ => services.iter().map(|service| service.next(around, now)).min(),
        };
        first.unwrap_or(Mono::NEVER)
    }
}

/// What a service is to its followers now, beside what it was.
enum Changed {
    Nothing,
    /// Only that its checks have answered again.
    Answers,
    All,
}

impl Index {
    fn moved(&mut self, at: usize, before: Moments, after: Moments) {
        if before.wake != after.wake {
            self.wakes.remove(&(before.wake, at));
            self.wakes.insert((after.wake, at));
        }
        if before.look != after.look {
            self.looks.remove(&(before.look, at));
            self.looks.insert((after.look, at));
        }
    }

    /// What the other services, and the doubt, have to know of it.
    fn note(&mut self, at: usize, service: &Service, now: Mono) {
        self.note_silence(at, service, now);
        keep(&mut self.lately, at, service.began_lately(now));
        keep(&mut self.held, at, service.run.held);
        keep(&mut self.asking, at, service.background.follow.ask);
    }

    fn note_silence(&mut self, at: usize, service: &Service, now: Mono) {
        let after = service.silence(now);
        let before = std::mem::replace(&mut self.silent[at], after);
        self.silent_servers = self.silent_servers - before.0 + after.0;
        if before.1 != after.1 {
            self.silences.remove(&(before.1, at));
            if after.1 != Mono::NEVER {
                self.silences.insert((after.1, at));
            }
        }
    }

    fn note_out(&mut self, at: usize, service: &Service) {
        let (runs, actions) = &mut self.out[at];
        if !service.runs_out().eq(runs.iter().copied()) {
            for run in runs.drain(..) {
                self.runs.remove(&run);
            }
            runs.extend(service.runs_out());
            self.runs.extend(runs.iter().map(|run| (*run, at)));
        }
        if !service.actions_out().eq(actions.iter().copied()) {
            for action in actions.drain(..) {
                self.actions.remove(&action);
            }
            actions.extend(service.actions_out());
            self.actions.extend(actions.iter().map(|action| (*action, at)));
        }
    }

    fn note_followed(&mut self, at: usize, service: &Service) -> Changed {
        if self.followers[at].is_empty() {
            return Changed::Nothing;
        }
        let after = service.as_followed();
        match self.followed[at].replace(after) {
            Some(before) if before == after => Changed::Nothing,
            Some(before) if before.is_but_for_answers(&after) => Changed::Answers,
            _ => Changed::All,
        }
    }
}

fn keep(set: &mut BTreeSet<usize>, at: usize, is_in: bool) {
    if is_in {
        set.insert(at);
    } else {
        set.remove(&at);
    }
}

/// The place of the service that one follows.
pub(crate) fn followed_by(services: &[Service], at: usize) -> Option<usize> {
    let other = usize::from(services[at].model.follows.as_ref()?.service.0);
    (other < services.len() && other != at).then_some(other)
}

/// Each service after the one that it follows, so that it sees in the same step what became of it.
fn order(services: &[Service]) -> Vec<usize> {
    // The configuration has no circles; were there one, this ends all the same.
    let depth = |at: &usize| std::iter::successors(Some(*at), |at| followed_by(services, *at)).take(services.len()).count();
    let mut order: Vec<usize> = (0..services.len()).collect();
    order.sort_by_cached_key(depth);
    order
}
