//! The set of standbys that commits wait for, where the engine keeps it: the journal has whoever may acknowledge, before the server does.

use failover_core::model::OnSynchronous;

use super::Sim;

const NAME: &str = "the_journal_has_whoever_may_acknowledge";

impl Sim {
    /// Whatever is in force on a primary whose set the journal has: the journal's is as wide, and asks for no more.
    pub(super) fn judge_kept(&mut self) {
        for service in 0..self.clusters.len() {
            let keeps = self.setup.model.services[service].postgres.sync.keep == OnSynchronous::Maintain;
            let facts = self.known[service].facts.as_ref().filter(|_| keeps);
            let Some(kept) = facts.and_then(|facts| facts.cluster.kept_set.clone()) else { continue };
            let (cluster, at) = (&self.clusters[service], usize::from(kept.primary.0));
            let primary = &cluster.servers[at];
            // What somebody else sets the journal cannot know.
            if at >= cluster.configured || primary.rule_by_hand || primary.recovery || cluster.lied {
                continue;
            }
            self.watch.exercise(NAME);
            let Some(rule) = &primary.settings.rule else {
                if !kept.open {
                    self.watch.fail(NAME, format!("commits of {} wait for nobody, and the journal has {kept:?}", primary.name));
                    return;
                }
                continue;
            };
            let called = |other: usize| cluster.servers[other].called.to_lowercase();
            // Of equal names nobody can tell whose it is before both were seen.
            let alone = |other: usize| (0..cluster.servers.len()).all(|one| one == other || called(one) != called(other));
            let may = |other: &usize| *other != at && alone(*other) && rule.place(&cluster.servers[*other].called).is_some();
            let known = |other: &usize| kept.members.iter().any(|member| usize::from(member.0) == *other) || kept.strangers > 0;
            let missing = (0..cluster.configured).filter(may).find(|other| !known(other));
            let fewer = rule.required < usize::try_from(kept.required).unwrap_or(usize::MAX);
            if let Some(other) = missing {
                let why =
                    format!("{} may acknowledge ({}), and the journal has {kept:?}", cluster.servers[other].name, rule.text());
                self.watch.fail(NAME, why);
                return;
            }
            if fewer {
                self.watch.fail(NAME, format!("{} is enough, and the journal has {kept:?}", rule.text()));
                return;
            }
        }
    }

    /// As many standbys as are wanted stream, and commits do not wait for so many.
    pub(super) fn unkept(&self, service: usize, primary: usize) -> Option<String> {
        let (model, cluster) = (&self.setup.model.services[service], &self.clusters[service]);
        let snapshot = self.core.as_ref()?.snapshot();
        let shown = snapshot.services[service].sync_set.as_ref()?;
        let able = |at: &usize| {
            let one = &cluster.servers[*at];
            let member = model.servers[*at].candidate && !self.watch.cordoned(service).contains(&super::server_id(*at));
            *at != primary && member && cluster.is_receiving(*at) && cluster.speaks(*at) && one.damage.is_none() && !one.hidden
        };
        let able = (0..cluster.configured).filter(able).count();
        let wanted = usize::try_from(shown.wanted).unwrap_or(usize::MAX);
        let one = &cluster.servers[primary];
        let waits = one.settings.rule.as_ref().map_or(0, |rule| rule.required);
        let spared = shown.problem.is_some() || cluster.stranger.is_some() || !self.journal_writable || self.disk_full;
        (able >= wanted && waits != wanted && !spared).then(|| {
            format!("{able} standbys of {} stream, commits are to wait for {wanted}, and wait for {waits}: {shown:?}", one.name)
        })
    }

    /// A change of the set is under way, or an engine that has ended may have made one: both sets have to answer.
    pub(super) fn is_changing(&self, service: usize) -> bool {
        let kept = self.known[service].facts.as_ref().and_then(|facts| facts.cluster.kept_set.as_ref());
        kept.is_some_and(|kept| kept.pending.is_some() || kept.strangers > 0)
    }
}
