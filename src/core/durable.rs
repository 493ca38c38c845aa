//! What survives a restart, a reload and a take-over: the journal's fact about one service.
//!
//! It is copied whole. What is added here is remembered wherever the rest is; only the journal's own words for it are written beside.

use super::id::{Generation, ServerId};
pub use super::kind::postgres::Cluster;
use super::rejoin::Rejoining;
pub use super::service::pause::Pause;
use super::stats::{Mark, Stats};
use super::switchover::PlannedSwitchover;
use super::time::{Mono, Span};
use super::trigger::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What must outlive the engine. In a record its moments count from the record: [`Mono::ZERO`] is when that was written, or read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durable {
    /// The last generation that was begun.
    pub generation: Generation,
    /// The server that was primary last.
    pub primary: Option<ServerId>,
    /// Of a database: which one it is, and how far.
    pub cluster: Cluster,
    /// The end of the last failover, however it ended. To follow another service is none.
    pub last_ended: Option<Mark>,
    /// The end of the last failover that began a cooldown, unless an operator has ended it. How long it lasts, the present configuration says.
    pub cooldown_from: Option<Mark>,
    /// An operator paused the service and has not resumed it.
    pub pause: Option<Pause>,
    /// Why a person has to look, where nobody has reset it since.
    pub attention: Option<String>,
    /// The numbers about failovers.
    pub stats: Stats,
    /// The primary of the service that it follows, as it was followed last, or was found at first contact.
    pub followed: Option<ServerId>,
    /// The primary has not its full weight in the route yet.
    pub ramping: bool,
    /// A switchover that begins later.
    pub planned: Option<PlannedSwitchover>,
    /// Servers that an operator cordoned: each is observed as before, and never promoted.
    pub cordoned: BTreeSet<ServerId>,
    /// An old primary is on its way back as a standby.
    #[serde(default)]
    pub rejoin: Option<Rejoining>,
    #[cfg(test)]
    #[serde(default)]
    pub(crate) copied: Option<crate::procedure::tests::Copied>,
}

impl Durable {
    /// How long the cooldown still runs.
    #[must_use]
    pub fn cooldown_left(&self, cooldown: Span, now: Mono) -> Span {
        self.cooldown_from.map_or(Span::ZERO, |ended| cooldown - ended.age(now))
    }

    /// How old the last failover is. Where an operator ended its cooldown, it is older than that: so it is over for the next engine too.
    #[must_use]
    pub fn failover_age(&self, cooldown: Span, now: Mono) -> Option<Span> {
        self.last_ended.map(|ended| ended.age(now).max(cooldown - self.cooldown_left(cooldown, now)))
    }

    /// The last failover ended so long before the record.
    #[must_use]
    pub fn with_failover_age(self, age: Option<Span>) -> Durable {
        let ended = age.map(|lead| Mark { at: Mono::ZERO, lead });
        Durable { last_ended: ended, cooldown_from: ended, ..self }
    }

    /// By the record, so long ago.
    #[must_use]
    pub fn recorded_age(&self) -> Option<Span> {
        self.last_ended.map(|ended| ended.age(Mono::ZERO))
    }

    /// The same record so much later.
    #[must_use]
    pub fn aged(self, by: Span) -> Durable {
        self.counted(Mono::ZERO + by, Mono::ZERO)
    }

    /// As the record says it that is written now.
    #[must_use]
    pub(crate) fn recorded(&self, cooldown: Span, now: Mono) -> Durable {
        let age = self.failover_age(cooldown, now);
        self.clone().counted(now, Mono::ZERO).with_failover_age(age)
    }

    /// As the engine has it that reads the record now.
    #[must_use]
    pub(crate) fn read(self, now: Mono) -> Durable {
        self.counted(Mono::ZERO, now)
    }

    /// The same, with its moments counted by another clock: `from` is there what `to` is here.
    fn counted(mut self, from: Mono, to: Mono) -> Durable {
        let counted = |mark: Mark| Mark { at: to, lead: mark.age(from) };
        self.last_ended = self.last_ended.map(counted);
        self.cooldown_from = self.cooldown_from.map(counted);
        self.pause = self.pause.map(|pause| pause.counted(from, to));
        self.planned = self.planned.map(|planned| planned.counted(from, to));
        if let Some(last) = &mut self.stats.last {
            last.since = counted(last.since);
        }
        self
    }

    /// When a pause ends by itself, or a cooldown that is waited for.
    pub(crate) fn next(&self, state: State, cooldown: Span, now: Mono) -> Mono {
        let pause = self.pause.as_ref().and_then(|pause| pause.ends);
        let left = self.cooldown_left(cooldown, now);
        let cooled = (state == State::FailedOver && left > Span::ZERO).then(|| now + left);
        [pause, cooled].into_iter().flatten().min().unwrap_or(Mono::NEVER)
    }

    /// The same with the numbers that servers have now, its own and those of the service that it follows. A server that is gone is
    /// forgotten.
    #[must_use]
    pub fn mapped(
        mut self,
        server: &dyn Fn(ServerId) -> Option<ServerId>,
        followed: &dyn Fn(ServerId) -> Option<ServerId>,
    ) -> Durable {
        self.primary = self.primary.and_then(server);
        self.cluster = self.cluster.mapped(server);
        // One to a server that is gone is not begun to another one.
        self.planned = self.planned.and_then(|planned| match planned.to {
            Some(to) => Some(PlannedSwitchover { to: Some(server(to)?), ..planned }),
            None => Some(planned),
        });
        self.cordoned = self.cordoned.into_iter().filter_map(server).collect();
        // Of a server that is not configured any more nothing will be heard.
        self.stats.last = self.stats.last.take().and_then(|mut last| {
            last.old = server(last.old)?;
            Some(last)
        });
        self.followed = self.followed.and_then(followed);
        self.rejoin = self.rejoin.and_then(|rejoin| Some(Rejoining { server: server(rejoin.server)?, ..rejoin }));
        self
    }
}
