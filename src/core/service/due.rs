//! When a service has to be looked at, and what of it is out.

use super::{FRESH, READINESS_HOLD, Service};
use crate::id::{ActionId, RunId};
use crate::schedule::{Slot, held_back};
use crate::time::{Mono, Span};
use crate::trigger::State;

/// The resolution of moments.
const TICK: Span = Span::from_nanos(1);

impl Service {
    /// With every moment it may be seen otherwise: a failure that is being confirmed, the position of a database, a primary elsewhere
    /// that is to be followed. It is looked at when something is heard of it, and at its own moments; not whenever another service is.
    pub(crate) fn is_restless(&self) -> bool {
        self.holds_data()
            || self.detection.suspicion.is_some()
            || self.state == State::Failing
            || self.background.follow.target.is_some()
    }

    /// From when on a look may show something else although nothing was heard of it, and nobody has to be woken for it.
    pub(crate) fn next_look(&self, now: Mono) -> Mono {
        if self.is_restless() {
            return now + self.model.trigger.ping_interval;
        }
        let answers = self.model.checks.iter().zip(&self.checks).filter_map(|(model, check)| {
            let (at, _) = check.last.as_ref()?;
            Some(*at + model.stale_after() + TICK)
        });
        let servers = self.servers.iter().flat_map(|state| {
            let sample = state.sample.as_ref().map(|(at, _)| *at + FRESH);
            sample.into_iter().chain(state.unready_since.map(|since| since + READINESS_HOLD))
        });
        let begun = self.run.begun.as_ref().map(|_| self.run.begun_until);
        answers.chain(servers).chain(begun).filter(|moment| *moment > now).min().unwrap_or(Mono::NEVER)
    }

    /// Its silent servers, and when the next one will be so if nothing comes of it.
    pub(crate) fn silence(&self, now: Mono) -> (usize, Mono) {
        let (mut silent, mut next) = (0, Mono::NEVER);
        for server in self.server_ids() {
            if self.is_silent(server, now) {
                silent += 1;
                continue;
            }
            let state = &self.servers[usize::from(server.0)];
            if let Some(at) = state.last_answer.filter(|_| state.session_open) {
                next = next.min(at + self.notice().times(2) + TICK);
            }
        }
        (silent, next)
    }

    /// Holds the first run of each check back by its part of the interval: this is one of many services, and `numbers` counts the checks of
    /// all.
    pub(crate) fn spread_checks(&mut self, numbers: &mut impl Iterator<Item = usize>) {
        for ((model, check), number) in self.model.checks.iter().zip(&mut self.checks).zip(numbers) {
            check.slot.hold_back(held_back(model.interval, number));
        }
    }

    /// Its runs that are not back.
    pub(crate) fn runs_out(&self) -> impl Iterator<Item = RunId> {
        let checks = self.checks.iter().map(|check| &check.slot);
        let sessions = self.servers.iter().map(|state| &state.session);
        checks.chain(sessions).filter_map(Slot::flight).map(|flight| flight.run)
    }

    /// Its actions that are not back.
    pub(crate) fn actions_out(&self) -> impl Iterator<Item = ActionId> {
        self.steps_out().chain(self.background.tasks.iter().map(|(id, _, _)| *id))
    }
}
