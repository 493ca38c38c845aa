//! What is remembered of every change of the primary, so that it can be said later whether a commit survived it.

use super::Service;
use crate::id::ServerId;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::survival::{Fork, Known, remember};

impl Service {
    /// What is known of it, for the question whether a commit survived.
    pub(crate) fn survival(&self) -> Known {
        let cluster = &self.durable.cluster;
        Known {
            primary: self.durable.primary,
            system_id: cluster.system_id,
            forks: cluster.forks.clone(),
            changing: self.run.plan.is_some() || self.two_primaries,
        }
    }

    /// The promoted server is the primary from here on.
    pub(crate) fn remember_fork(&mut self, plan: &Plan) {
        let Some(timeline) = plan.timeline.filter(|_| self.holds_data()) else { return };
        let fork = Fork { from: plan.old_timeline, to: timeline, seen: plan.forked };
        remember(&mut self.durable.cluster.forks, fork);
    }

    /// Another server is the primary, or the same one on another timeline, and the engine did not promote it: it may have left any timeline.
    pub(super) fn remember_change(&mut self, server: ServerId, sample: &Sample) {
        let seen = self.log.as_ref().map(|log| log.timeline);
        let cluster = &mut self.durable.cluster;
        if cluster.system_id.is_some_and(|known| known != sample.system_id) {
            cluster.forks.clear();
            return;
        }
        let recorded = cluster.position.map(|(timeline, _)| timeline);
        let known = cluster.forks.iter().map(|fork| fork.to).max().max(recorded).max(seen);
        let another = self.durable.primary.is_some_and(|before| before != server);
        if another || known.is_some_and(|known| known != sample.timeline) {
            let from = known.unwrap_or_default();
            remember(&mut cluster.forks, Fork { from, to: sample.timeline, seen: None });
        }
    }
}
