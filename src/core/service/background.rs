//! What is done beside a failover, and after it: tasks, names, weights, the route, the service that is followed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gate::Act;
use super::keep_sync::Keeping;
use super::repoint::LeftBehind;
use super::{follow, ramp};
use crate::id::{ActionId, Generation, ServerId};
use crate::procedure::drive::LATE;
use crate::procedure::rejoin::Rejoin;
use crate::procedure::task::Task;
use crate::rejoin::RejoinEnded;
use crate::time::Mono;

/// Nothing here is waited for by a decision.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Background {
    /// Under way, each with its deadline.
    pub(crate) tasks: Vec<(ActionId, Task, Mono)>,
    /// The fence of this server is to be proven once more then.
    pub(crate) prove_at: Option<(Mono, ServerId)>,
    /// Names that are to be pointed to the primary: when next, and how often it was tried.
    pub(crate) names_due: Option<(Mono, u32)>,
    /// The weight of the primary is still growing.
    pub(crate) ramp: Option<ramp::Ramp>,
    /// How far it is with following another service.
    pub(crate) follow: follow::Follow,
    /// Standbys that are not known to stream from the present primary.
    #[serde(default)]
    pub(crate) left_behind: Vec<LeftBehind>,
    /// Slots that were written down on this server for this standby, which is pointed there now: what comes of it is not known yet.
    #[serde(default)]
    pub(crate) noted_slots: Vec<(ServerId, ServerId, String)>,
    /// Since when as many standbys stream as the names ask for that the engine cleared.
    #[serde(default)]
    pub(crate) sync_met: Option<Mono>,
    /// When the names are put back at the earliest, or a slot is dropped: the last time was of no use.
    #[serde(default)]
    pub(crate) tidy_after: Mono,
    /// What is seen of the standbys that commits may wait for.
    #[serde(default)]
    pub(crate) keeping: Keeping,
    /// When the route was put right last, and how often in a row that was of no use.
    pub(crate) route_asserted_at: Option<(Mono, u32)>,
    /// An old primary comes back as a standby.
    #[serde(default)]
    pub(crate) rejoin: Option<Rejoin>,
    /// How the last one ended.
    #[serde(default)]
    pub(crate) last_rejoin: Option<RejoinEnded>,
    /// Who came back, or could not: after which failover, when it may be tried again without an order, and how often it was.
    #[serde(default)]
    pub(crate) rejoin_again: BTreeMap<ServerId, (Generation, Mono, u32)>,
    #[cfg(test)]
    pub(crate) copying: Option<crate::procedure::tests::Copying>,
    #[cfg(test)]
    #[serde(skip)]
    pub(crate) copy_ended: Option<crate::plan::End>,
}

impl Background {
    /// When something of it is due that may be done.
    pub(crate) fn next(&self, may: impl Fn(Act) -> bool) -> Mono {
        let proof = self.prove_at.map(|(at, _)| at).filter(|_| may(Act::ProveAgain));
        let names = self.names_due.map(|(at, _)| at).filter(|_| may(Act::PointNames));
        let weight = self.ramp.map(ramp::Ramp::next).filter(|_| may(Act::ChangeWeight));
        let late = self.tasks.iter().map(|(_, _, deadline)| *deadline + LATE).min();
        [proof, names, weight, late].into_iter().flatten().min().unwrap_or(Mono::NEVER)
    }
}
