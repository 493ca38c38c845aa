//! The weight of a server that got the traffic grows to its full one, in tenths: nothing waits for it, and nothing is undone for it.

use serde::{Deserialize, Serialize};

use super::Service;
use super::gate::Act;
use crate::effects::{Effects, texts};
use crate::event::{EventKind, Field, Severity};
use crate::id::ServerId;
use crate::output::{Failure, Report};
use crate::procedure::task::Task;
use crate::sample::RouteInstance;
use crate::time::{Mono, Span};

/// Steps after the first one, each a tenth of the full weight.
const STEPS: u64 = 9;
/// For one step on every instance.
pub(crate) const STEP: Span = Span::from_millis(3_000);
/// Between two tries of the last one.
const AGAIN: Span = Span::from_millis(10_000);

/// A weight that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ramp {
    server: ServerId,
    /// When it has all of it.
    until: Mono,
    /// When to go on.
    at: Mono,
    /// Steps that failed since one went well.
    failed: u32,
}

impl Ramp {
    /// Steps that are left at a moment: `STEPS` at the start, none at the end.
    fn left(self, ramp: Span, now: Mono) -> u64 {
        let (remaining, whole) = (self.until.since(now).as_nanos(), ramp.as_nanos().max(1));
        (remaining.saturating_mul(STEPS)).div_ceil(whole).min(STEPS)
    }

    pub(super) fn next(self) -> Mono {
        self.at
    }

    fn share(self, ramp: Span, now: Mono) -> u8 {
        share_with(self.left(ramp, now))
    }
}

impl Service {
    /// What a server is given when it gets the traffic.
    pub(crate) fn first_share(&self) -> Option<u8> {
        (self.model.route.ramp > Span::ZERO).then_some(10)
    }

    /// What the primary has by now.
    pub(crate) fn present_share(&self, now: Mono) -> Option<u8> {
        let ramp = self.model.route.ramp;
        (ramp > Span::ZERO).then(|| self.background.ramp.map_or(100, |growing| growing.share(ramp, now)))
    }

    /// The same, while it grows.
    pub(crate) fn growing_share(&self, now: Mono) -> Option<u8> {
        self.present_share(now)
            .filter(|_| self.background.ramp.is_some_and(|growing| Some(growing.server) == self.durable.primary))
    }

    pub(crate) fn begin_ramp(&mut self, server: ServerId, now: Mono) {
        let ramp = self.model.route.ramp;
        self.grow((ramp > Span::ZERO).then(|| Ramp { server, until: now + ramp, at: now + ramp.part(STEPS), failed: 0 }));
    }

    /// An earlier engine ended in the middle of it.
    pub(super) fn resume_ramp(&mut self, now: Mono) {
        let age = self.durable.failover_age(self.model.trigger.cooldown, now);
        let rest = age.map_or(Span::ZERO, |age| self.model.route.ramp - age);
        let growing = |server| Ramp { server, until: now + rest, at: now, failed: 0 };
        self.grow(self.durable.primary.filter(|_| self.durable.ramping).map(growing));
    }

    /// The weight grows from here on, or has all of it.
    fn grow(&mut self, ramp: Option<Ramp>) {
        self.durable.ramping = ramp.is_some();
        self.background.ramp = ramp;
    }

    /// The next step, once it is due.
    pub(super) fn climb(&mut self, fx: &mut Effects) {
        let Some(growing) = self.background.ramp else { return };
        if !self.may(Act::ChangeWeight, fx.around, fx.now) {
            return;
        }
        if self.durable.primary != Some(growing.server) {
            self.grow(None);
            self.journal_facts(fx);
            return;
        }
        if fx.now < growing.at || self.is_at(|task| matches!(task, Task::Climb(..))) {
            return;
        }
        // A reload may have taken the setting away: then it has all of its weight now.
        let ramp = self.model.route.ramp;
        let left = if ramp > Span::ZERO { growing.left(ramp, fx.now) } else { 0 };
        let at = match left {
            0 => fx.now + STEP + AGAIN,
            left => growing.until - ramp.part(STEPS).times(left - 1),
        };
        self.grow(Some(Ramp { at, ..growing }));
        let (server, share) = (growing.server, share_with(left));
        self.begin_task(Task::Climb(server, share), fx);
    }

    pub(crate) fn climbed(&mut self, server: ServerId, share: u8, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some(growing) = self.background.ramp.filter(|growing| growing.server == server) else { return };
        let failed: Vec<String> = match outcome {
            Ok(Report::Route(instances)) => instances.iter().filter_map(RouteInstance::failure).collect(),
            Ok(_) => vec!["the action returned an answer that does not fit it".into()],
            Err(failure) => vec![failure.message],
        };
        let name = self.server_name(server);
        let whole = share == 100;
        let (severity, message) = if failed.is_empty() {
            self.grow((!whole).then_some(Ramp { failed: 0, ..growing }));
            let severity = if whole { Severity::Info } else { Severity::Debug };
            (severity, format!("{name} has {share} % of its weight on every instance of the route"))
        } else {
            let at = if whole { fx.now + AGAIN } else { growing.at };
            self.grow(Some(Ramp { at, failed: growing.failed.saturating_add(1), ..growing }));
            // Told loudly once; the next step, or the last one again, puts it right.
            let severity = if growing.failed == 0 { Severity::Alarm } else { Severity::Debug };
            (severity, format!("{name} could not be given {share} % of its weight everywhere: {}", failed.join("; ")))
        };
        let fields = vec![("share_percent", Field::Int(u64::from(share))), ("failed", texts(failed))];
        fx.emit(EventKind::EvidenceGathered, severity, self.about_server(server), message, fields);
        if self.background.ramp.is_none() {
            self.journal_facts(fx);
        }
    }
}

/// The share in percent with so many steps left.
fn share_with(left: u64) -> u8 {
    100 - 10 * u8::try_from(left.min(STEPS)).unwrap_or(9)
}
