//! A standby under a standby: of two that have the same log, the one is promoted whom more standbys follow without a change (rule 251).

use failover_core::id::ServerId;

use super::super::cluster::{Cluster, SYSTEM_ID};
use super::super::swarm::Link;
use super::Sim;

const NAME: &str = "whom_most_standbys_follow_is_promoted";

impl Sim {
    pub(super) fn judge_whom_it_takes_along(&mut self, service: usize, target: usize, old: usize) {
        let cluster = &self.clusters[service];
        let spared = cluster.lied || cluster.meddled || self.watch.has_restarted() || !self.wrong.is_empty();
        let below = |at: usize| (0..cluster.servers.len()).find(|one| *one != old && cluster.servers[*one].under == Some(at));
        let Some((own, read)) = self.heard[service][target].told.filter(|_| !spared && plain(cluster, target)) else { return };
        let models = &self.setup.model.services[service].servers;
        let equal = (0..cluster.configured).filter(|at| {
            let told = self.heard[service][*at].told == Some((own, read));
            let server = ServerId(u16::try_from(*at).expect("few"));
            let able = models[*at].candidate && plain(cluster, *at) && !self.watch.is_decided_by_a_person(service, server);
            told && able && ![target, old].contains(at)
        });
        let equal: Vec<usize> = equal.collect();
        if !equal.iter().chain([&target]).any(|at| below(*at).is_some()) || equal.is_empty() {
            return;
        }
        self.watch.exercise(NAME);
        if let Some(at) = equal.into_iter().find(|at| cluster.below(*at) > cluster.below(target)) {
            let (other, chosen) = (&cluster.servers[at].name, &cluster.servers[target].name);
            let why = format!("{chosen} is promoted, and {other} has the same log and {} standbys below it", cluster.below(at));
            self.watch.fail(NAME, why);
        }
    }
}

/// A standby of which nothing speaks against its promotion, and whose samples say all.
fn plain(cluster: &Cluster, at: usize) -> bool {
    let one = &cluster.servers[at];
    let whole = one.damage.is_none() && !one.hidden && one.received && one.impaired.is_none();
    let free = !one.delayed && !one.replay_paused && one.port == Link::Open && one.flaky == 0 && one.slow == 0;
    one.recovery && whole && free && one.system_id == SYSTEM_ID && cluster.speaks(at) && one.session
}
