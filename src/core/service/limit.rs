//! Many services that fail together more often have one cause than many: a path of ours, a deployment, a machine room. Beyond a number
//! of failovers within a minute the others wait for a person (rule 53).

use super::gate::Act;
use super::{Service, Surroundings};
use crate::refusal::Refusal;
use crate::time::{Mono, Span};

/// Failovers that begin within this have one cause as far as anybody can know.
pub const TOGETHER: Span = Span::from_millis(60_000);

/// How many failovers have begun within [`TOGETHER`], and how many may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Together {
    /// Of other services.
    pub begun: u32,
    /// At most so many.
    pub most: u32,
}

/// How many services failed over lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecentFailovers(u32);

impl RecentFailovers {
    pub(crate) fn count<'a>(services: impl Iterator<Item = &'a Service>, now: Mono) -> RecentFailovers {
        let lately = services.filter(|service| service.began_lately(now)).count();
        RecentFailovers(u32::try_from(lately).unwrap_or(u32::MAX))
    }

    /// Beside this one.
    pub(crate) fn beside(self, service: &Service, most: u32, now: Mono) -> Together {
        Together { begun: self.0 - u32::from(self.0 > 0 && service.began_lately(now)), most }
    }

    /// One of the services was looked at.
    pub(crate) fn changed(&mut self, before: bool, after: bool) {
        self.0 = self.0.saturating_add(u32::from(after && !before)).saturating_sub(u32::from(before && !after));
    }
}

impl Service {
    /// It failed over of its own accord so recently that another failure may have the same cause.
    pub(crate) fn began_lately(&self, now: Mono) -> bool {
        let lately = |at: Mono| now.since(at) < TOGETHER;
        let before = self.run.began_before.is_some_and(|before| before.age(now) < TOGETHER);
        self.run.began_at.is_some_and(lately) || before || self.run.begun.as_ref().is_some_and(|begun| !begun.reason.is_ordered())
    }

    /// Why this failover waits for a person, although nothing else stands in its way. Once it does, that others are over changes nothing:
    /// a person was asked.
    pub(crate) fn waits_in_line(&self, around: Surroundings) -> Option<Refusal> {
        // What an earlier engine had begun was let through then; its fence may have stopped the primary.
        let let_through = self.run.confirmed_by_operator || self.run.begun.is_some();
        let together = around.together.filter(|_| !let_through)?;
        (self.run.held || together.begun >= together.most).then_some(Refusal::TooManyAtOnce { most: together.most })
    }

    pub(super) fn within_limit(&mut self, around: Surroundings, now: Mono) -> Result<(), Refusal> {
        let open = self.gate(Act::Begin, around, now);
        self.run.held = matches!(open, Err(Refusal::TooManyAtOnce { .. }));
        open
    }
}
