//! It heals: in a quiet world every living standby streams from the primary, commits wait for whom they waited for before, and no slot is
//! left behind.

use failover_core::id::ServerId;
use failover_core::model::{OnNewPrimary, OnSynchronous, ServiceKind};

use super::super::cluster::Cluster;
use super::{Sim, ms};

/// A standby that was tried often in the time of faults is tried again within this.
const HEALS_WITHIN: u64 = 120_000;

impl Sim {
    pub(super) fn judge_followers(&mut self) {
        for service in 0..self.clusters.len() {
            if !self.has_to_heal(service) {
                continue;
            }
            let moved = self.known[service].generation > 0;
            if self.setup.model.services[service].postgres.sync.keep == OnSynchronous::Maintain {
                self.watch.exercise("the_set_is_kept");
            }
            for name in ["every_living_standby_streams_from_the_primary", "what_a_failover_left_behind_is_put_right"] {
                if moved {
                    self.watch.exercise(name);
                }
            }
            let end = self.now + ms(HEALS_WITHIN);
            while self.now < end && self.watch.broken.is_none() && self.has_to_heal(service) && self.unhealed(service).is_some() {
                self.run_for(1_000);
            }
            if self.watch.broken.is_some() || !self.has_to_heal(service) {
                continue;
            }
            if let Some((name, why)) = self.unhealed(service) {
                self.watch.fail(name, why);
            }
        }
    }

    /// Nothing stands in the way: the engine runs, may act, and knows a primary that is well and the only one.
    fn has_to_heal(&self, service: usize) -> bool {
        let Some(core) = &self.core else { return false };
        let (snapshot, cluster) = (core.snapshot(), &self.clusters[service]);
        let model = &self.setup.model.services[service];
        let seen = &snapshot.services[service];
        let asked = model.kind == ServiceKind::Postgres && model.postgres.followers == OnNewPrimary::Auto;
        let free = seen.manual_reason.is_none() && seen.plan.is_none() && !seen.paused && snapshot.doubt.is_none();
        let alone = cluster.servers.iter().filter(|one| !one.recovery && one.power).count() == 1
            && !cluster.servers.iter().any(|one| one.other_engine || one.restored);
        let well = |primary: usize| {
            let one = &cluster.servers[primary];
            cluster.leader() == Some(primary) && cluster.is_writable(primary) && cluster.speaks(primary) && one.impaired.is_none()
        };
        let primary = seen.primary.map(|primary| usize::from(primary.0));
        let stopping = self.watch.is_stopping();
        let spared = cluster.lied || cluster.meddled || stopping || !self.wrong.is_empty() || self.now < self.awake_at;
        asked && free && alone && !spared && primary.is_some_and(well)
    }

    fn unhealed(&self, service: usize) -> Option<(&'static str, String)> {
        let (core, cluster) = (self.core.as_ref()?, &self.clusters[service]);
        let seen = &core.snapshot().services[service];
        let primary = usize::from(seen.primary?.0);
        let former: Vec<usize> = (0..cluster.configured).filter(|at| seen.servers[*at].deposed).collect();
        let follows = |at: usize| can_follow(cluster, at, primary, &former);
        let left = (0..cluster.configured).find(|at| *at != primary && follows(*at) && !cluster.is_receiving(*at));
        if let Some(at) = left.filter(|at| !seen.servers[*at].deposed) {
            let why = format!("{} does not stream from {}", cluster.servers[at].name, cluster.servers[primary].name);
            return Some(("every_living_standby_streams_from_the_primary", why));
        }
        let name = "what_a_failover_left_behind_is_put_right";
        let of = |name: &str| (0..cluster.configured).find(|at| cluster.servers[*at].name == name);
        let owes = |at: usize| cluster.speaks(at) && cluster.servers[at].impaired.is_none() && !cluster.servers[at].hidden;
        // Of one that no engine wrote down before, and of which none heard, nobody knows whose it is.
        let ours = |on: &str, slot: &str| {
            let facts = self.known[service].facts.as_ref();
            let is_it = |known: &(ServerId, String)| of(on) == Some(usize::from(known.0.0)) && known.1 == slot;
            facts.is_some_and(|durable| durable.cluster.slots.iter().any(is_it))
                || !cluster.unheard.contains(&(on.to_owned(), slot.to_owned()))
        };
        let slot = cluster.slots.iter().filter(|(on, slot)| ours(on, slot)).find(|(on, _)| {
            of(on).is_some_and(|at| at != primary && owes(at) && cluster.servers[at].recovery && !seen.servers[at].deposed)
        });
        if let Some((on, slot)) = slot {
            return Some((name, format!("the slot {slot} is left on {on}")));
        }
        if let Some(why) = self.unkept(service, primary) {
            return Some(("the_set_is_kept", why));
        }
        if self.setup.model.services[service].postgres.sync.keep == OnSynchronous::Maintain {
            return None;
        }
        let cleared = cluster.cleared.get(&cluster.servers[primary].name);
        let met = cleared.is_some_and(|rule| rule.acknowledged(&cluster.connected_to(primary)).is_some());
        let empty = cluster.servers[primary].settings.rule.is_none();
        (met && empty).then(|| (name, format!("commits of {} wait for nobody", cluster.servers[primary].name)))
    }
}

/// A standby that is well, and whose log goes on in the primary's.
fn can_follow(cluster: &Cluster, at: usize, primary: usize, former: &[usize]) -> bool {
    let one = &cluster.servers[at];
    let open = one.upstream && !one.receiverless && !one.hidden && one.damage.is_none() && one.flaky == 0 && one.slow == 0;
    // One whose upstream is away waits for it.
    let stays = one.under.is_some_and(|upstream| upstream != primary && !former.contains(&upstream));
    cluster.speaks(at)
        && open
        && !stays
        && one.impaired.is_none()
        && one.recovery
        && !one.replay_paused
        && cluster.is_at_end(at, cluster.now())
        && cluster.shares_history(at, primary)
}
