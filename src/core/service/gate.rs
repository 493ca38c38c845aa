//! The one gate: whoever is about to act asks here, and hears what stands in the way.
//!
//! An [`Act`] is what is to be done; a [`Bar`] is one reason against it, whatever the evidence of a failure says. Which bars hold for
//! which act stands in one table, [`Act::row`], in the order in which a person would ask. An order of an operator waives the soft bars, and
//! its record names each; the hard ones nobody lifts, and that is their type.
//!
//! No bars are: what the evidence says, a way to fence, who could take over, and whether a thing is due. A core that panicked is asked
//! nothing any more: that bar (`faulted`) is the shell's.

#[cfg(test)]
mod tests;

use super::{Service, Surroundings};
use crate::refusal::Refusal;
use crate::time::{Mono, Span};
use crate::trigger::State;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// To say what would come of a failure.
    Foretell,
    // A failover of its own accord comes through these four, one after the other.
    /// To watch for a failure.
    Watch,
    /// To weigh what was seen of one.
    Weigh,
    /// To fail over, once a class of failure is established.
    FailOver,
    /// To begin it, once it is clear that somebody can take over.
    Begin,
    /// To begin a failover that was ordered. What is hard for one of its own accord is so for an order as well; what is soft is waived.
    Order,
    /// To put another server into the primary's place by an order.
    Replace,
    /// To have a primary that is well hand over: planned work waives nothing but that somebody paused the engine, or that the last
    /// failover is recent.
    Switchover,
    /// To move a service that follows another one, as by an order. No failure is answered, so the last one's cooldown says nothing.
    Switch,
    // What is done beside a failover.
    /// To go on with what an earlier engine began, or to undo it.
    TakeUp,
    /// To follow another service's new primary.
    Follow,
    /// To point the names to the primary.
    PointNames,
    /// To point standbys to a new primary, and to put right what that leaves behind.
    Repoint,
    /// To change the set of standbys that commits wait for.
    KeepSyncSet,
    /// To let the weight of the primary grow.
    ChangeWeight,
    /// To put the route right.
    AssertRoute,
    /// To take a server that writes beside the primary out of the route, and to fence one that was deposed.
    StopReturned,
    /// To bring an old primary back as a standby. An order may during a pause.
    Rejoin,
    /// To do so without an order.
    RejoinAlone,
    /// To prove a fence once more.
    ProveAgain,
    // Only a look.
    /// To ask servers: checks, sessions, histories.
    Ask,
    // Commands that change what survives. Resume, uncordon, reset and confirm are barred by nothing.
    /// To pause.
    Pause,
    /// To cordon a server.
    Cordon,
    /// To take a server for the primary.
    Adopt,
    /// To take another configuration.
    Reload,
    /// To take one with other servers.
    ReloadServers,
}

/// What a failover of its own accord comes through, one after the other.
const AUTOMATIC: [Act; 4] = [Act::Watch, Act::Weigh, Act::FailOver, Act::Begin];

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bar {
    /// Nobody lifts it.
    Hard(HardBar),
    /// An operator's order waives it.
    Soft(SoftBar),
}

/// What no order waives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HardBar {
    /// The engine is stopping.
    Stopping,
    /// A failover of this service is in flight.
    InFlight,
    /// What an earlier engine began is not settled yet.
    Unsettled,
    /// It is watched only: its traffic cannot be moved.
    WatchedOnly,
    /// No primary is known that another server could replace.
    NobodyToReplace,
    /// The journal cannot be written.
    JournalUnwritable,
    /// A server that is not the primary said that it takes writes (rule 158).
    Rival,
    /// Of the tests.
    #[cfg(test)]
    Shut,
}

/// What an order waives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SoftBar {
    /// A person was called.
    ManualIntervention,
    /// Two servers take writes.
    TwoPrimaries,
    /// An operator paused it.
    Paused,
    /// Our own view is in doubt.
    Doubt,
    /// No primary was ever seen (rule 10).
    NoPrimarySeen,
    /// Not every check has answered yet.
    NotWarmedUp,
    /// Another engine watches it.
    SecondEngine,
    /// The last failover is too recent.
    Cooldown,
    /// As many others have failed over as may.
    TooManyAtOnce,
}

/// What bars a change of other servers that nobody ordered.
const REPOINT: &[Bar] = &[
    Bar::Soft(SoftBar::ManualIntervention),
    Bar::Soft(SoftBar::TwoPrimaries),
    Bar::Soft(SoftBar::Paused),
    Bar::Soft(SoftBar::Doubt),
    Bar::Soft(SoftBar::SecondEngine),
    Bar::Hard(HardBar::Stopping),
    Bar::Hard(HardBar::InFlight),
    Bar::Hard(HardBar::Unsettled),
];

/// What bars a change of the set that commits wait for.
const KEEP_SYNC_SET: &[Bar] = &[
    Bar::Soft(SoftBar::ManualIntervention),
    Bar::Soft(SoftBar::TwoPrimaries),
    Bar::Soft(SoftBar::Paused),
    Bar::Soft(SoftBar::Doubt),
    Bar::Soft(SoftBar::SecondEngine),
    Bar::Hard(HardBar::Stopping),
    Bar::Hard(HardBar::InFlight),
    Bar::Hard(HardBar::Unsettled),
    Bar::Hard(HardBar::JournalUnwritable),
    Bar::Hard(HardBar::Rival),
];

/// What bars the return of an old primary that nobody ordered.
const REJOIN_ALONE: &[Bar] = &[
    Bar::Hard(HardBar::InFlight),
    Bar::Hard(HardBar::Unsettled),
    Bar::Hard(HardBar::Stopping),
    Bar::Hard(HardBar::JournalUnwritable),
    Bar::Hard(HardBar::Rival),
    Bar::Soft(SoftBar::ManualIntervention),
    Bar::Soft(SoftBar::TwoPrimaries),
    Bar::Soft(SoftBar::Paused),
    Bar::Soft(SoftBar::Doubt),
    Bar::Soft(SoftBar::SecondEngine),
];

impl Act {
    /// What bars it.
    #[allow(clippy::match_same_arms)] // A table: rows may be alike.
    const fn row(self) -> &'static [Bar] {
        use Bar::{Hard, Soft};
        use HardBar::{InFlight, JournalUnwritable, NobodyToReplace, Rival, Stopping, Unsettled, WatchedOnly};
        use SoftBar::{
            Cooldown, Doubt, ManualIntervention, NoPrimarySeen, NotWarmedUp, Paused, SecondEngine, TooManyAtOnce, TwoPrimaries,
        };
        match self {
            Act::Foretell => &[Hard(WatchedOnly), Hard(InFlight)],
            Act::Watch => &[Soft(ManualIntervention)],
            Act::Weigh => &[Hard(Stopping), Hard(WatchedOnly)],
            Act::FailOver => &[
                Soft(TwoPrimaries),
                Soft(Paused),
                Soft(Doubt),
                Soft(NoPrimarySeen),
                Soft(NotWarmedUp),
                Hard(JournalUnwritable),
                Soft(SecondEngine),
                Soft(Cooldown),
                #[cfg(test)]
                Hard(HardBar::Shut),
            ],
            Act::Begin => &[Soft(TooManyAtOnce)],
            Act::Order => &[Hard(InFlight), Hard(Stopping), Hard(WatchedOnly), Hard(NobodyToReplace)],
            Act::Replace => &[Hard(Rival)],
            Act::Switchover => &[
                Hard(InFlight),
                Hard(Unsettled),
                Hard(Stopping),
                Hard(WatchedOnly),
                Hard(NobodyToReplace),
                Hard(JournalUnwritable),
                Hard(Rival),
                Soft(ManualIntervention),
                Soft(TwoPrimaries),
                Soft(Doubt),
                Soft(NoPrimarySeen),
                Soft(NotWarmedUp),
                Soft(SecondEngine),
                #[cfg(test)]
                Hard(HardBar::Shut),
            ],
            // But for the cooldown: see `bars`.
            Act::Switch => Act::FailOver.row(),
            Act::TakeUp => &[Soft(ManualIntervention), Soft(Paused), Hard(Stopping)],
            Act::Follow => &[Soft(ManualIntervention), Soft(Paused), Hard(Stopping), Hard(InFlight), Hard(Unsettled)],
            Act::PointNames | Act::ChangeWeight => &[
                Soft(Paused),
                Hard(Stopping),
                Hard(InFlight),
                #[cfg(test)]
                Hard(HardBar::Shut),
            ],
            Act::Repoint => REPOINT,
            Act::KeepSyncSet => KEEP_SYNC_SET,
            Act::AssertRoute => &[Soft(TwoPrimaries), Soft(Paused), Hard(Stopping), Hard(InFlight)],
            Act::StopReturned => &[Soft(Paused)],
            Act::Rejoin => {
                &[Hard(InFlight), Hard(Unsettled), Hard(Stopping), Hard(JournalUnwritable), Hard(Rival), Soft(TwoPrimaries)]
            }
            Act::RejoinAlone => REJOIN_ALONE,
            Act::ProveAgain => &[Hard(InFlight)],
            Act::Ask => &[Hard(Stopping)],
            Act::Pause | Act::Cordon | Act::Adopt | Act::Reload => &[Hard(InFlight)],
            Act::ReloadServers => &[Hard(JournalUnwritable)],
        }
    }

    /// The same; for an order also what is hard for a failover of its own accord, and for a switch without the cooldown.
    fn bars(self) -> impl Iterator<Item = Bar> {
        let also: &[Act] = if self == Act::Order { &AUTOMATIC } else { &[] };
        let hard = also.iter().flat_map(|act| act.row()).filter(|bar| matches!(bar, Bar::Hard(_)));
        let waits = move |bar: &Bar| self != Act::Switch || *bar != Bar::Soft(SoftBar::Cooldown);
        self.row().iter().chain(hard).copied().filter(waits)
    }
}

impl Bar {
    /// It is of the engine's own moment, or an operator's, and says nothing about a new primary.
    pub(super) fn passes(self) -> bool {
        match self {
            Bar::Hard(HardBar::JournalUnwritable) | Bar::Soft(SoftBar::Paused | SoftBar::Doubt | SoftBar::NotWarmedUp) => true,
            Bar::Hard(
                HardBar::Stopping
                | HardBar::InFlight
                | HardBar::Unsettled
                | HardBar::WatchedOnly
                | HardBar::NobodyToReplace
                | HardBar::Rival,
            )
            | Bar::Soft(
                SoftBar::ManualIntervention
                | SoftBar::TwoPrimaries
                | SoftBar::NoPrimarySeen
                | SoftBar::SecondEngine
                | SoftBar::Cooldown
                | SoftBar::TooManyAtOnce,
            ) => false,
            #[cfg(test)]
            Bar::Hard(HardBar::Shut) => false,
        }
    }
}

impl Service {
    /// Whether this may be done now; if not, the first reason.
    pub(crate) fn gate(&self, act: Act, around: Surroundings, now: Mono) -> Result<(), Refusal> {
        self.closed(act, around, now).next().map_or(Ok(()), |(_, refusal)| Err(refusal))
    }

    /// The same, where nobody is told why not.
    pub(crate) fn may(&self, act: Act, around: Surroundings, now: Mono) -> bool {
        self.gate(act, around, now).is_ok()
    }

    /// All that stands in its way, in order.
    pub(super) fn closed(&self, act: Act, around: Surroundings, now: Mono) -> impl Iterator<Item = (Bar, Refusal)> {
        act.bars().filter_map(move |bar| {
            let refusal = match bar {
                Bar::Hard(hard) => self.is_barred(hard, around),
                Bar::Soft(soft) => self.is_barred_but_for_orders(soft, around, now),
            };
            refusal.map(|refusal| (bar, refusal))
        })
    }

    /// What an order waives now. That a person was called is no more: he is here.
    pub(super) fn waived(&self, around: Surroundings, now: Mono) -> Vec<(SoftBar, Refusal)> {
        let closed = [Act::FailOver, Act::Begin].into_iter().flat_map(|act| self.closed(act, around, now));
        closed.filter_map(|(bar, refusal)| if let Bar::Soft(bar) = bar { Some((bar, refusal)) } else { None }).collect()
    }

    fn is_barred(&self, bar: HardBar, around: Surroundings) -> Option<Refusal> {
        let (closed, refusal) = match bar {
            HardBar::Stopping => (self.stopping, Refusal::Stopping),
            HardBar::InFlight => (self.run.plan.is_some(), Refusal::FailoverInFlight),
            HardBar::Unsettled => (self.run.begun.is_some(), Refusal::FailoverInFlight),
            HardBar::WatchedOnly => (!self.model.is_moved(), Refusal::WatchedOnly),
            HardBar::NobodyToReplace => {
                let unknown = self.subject().is_none() || self.holds_data() && self.durable.cluster.system_id.is_none();
                (unknown, Refusal::NoPrimarySeen)
            }
            HardBar::JournalUnwritable => (!around.journal_writable, Refusal::JournalUnwritable),
            HardBar::Rival => {
                let service = || self.model.name.clone();
                return self.rival().map(|server| Refusal::Rival { server, service: service() });
            }
            #[cfg(test)]
            HardBar::Shut => (self.model.name == tests::SHUT, Refusal::Shut),
        };
        closed.then_some(refusal)
    }

    fn is_barred_but_for_orders(&self, bar: SoftBar, around: Surroundings, now: Mono) -> Option<Refusal> {
        let (closed, refusal) = match bar {
            SoftBar::ManualIntervention => (self.state == State::ManualIntervention, Refusal::ManualIntervention),
            SoftBar::TwoPrimaries => (self.two_primaries, Refusal::TwoPrimaries),
            SoftBar::Paused => (self.is_paused(), Refusal::Paused),
            SoftBar::Doubt => return around.doubt.map(|cause| Refusal::Doubt { cause }),
            SoftBar::NoPrimarySeen => (!self.primary_seen, Refusal::NoPrimarySeen),
            SoftBar::NotWarmedUp => (!self.is_warm(), Refusal::NotWarmedUp),
            SoftBar::SecondEngine => return self.second_engine(now).map(|name| Refusal::SecondEngine { name }),
            SoftBar::Cooldown => {
                let left = self.cooldown_left(now);
                // One that an earlier engine had begun was let through, or forced, when it began; its fence may have stopped the primary.
                (self.run.begun.is_none() && left > Span::ZERO, Refusal::Cooldown { left })
            }
            SoftBar::TooManyAtOnce => return self.waits_in_line(around),
        };
        closed.then_some(refusal)
    }
}
