//! What is suspected of the primary and not confirmed. To start over is to forget it whole: `Detection::default()`.

use serde::{Deserialize, Serialize};

use super::FAST_FOR;
use crate::evidence::{FailureClass, Suspicion};
use crate::id::ServerId;
use crate::refusal::Refusal;
use crate::sample::LogEnd;
use crate::static_word::Word;
use crate::time::{Mono, Span};
use crate::trigger::{State, Window};

/// The evidence since the first bad sign, and what was said of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Detection {
    pub(crate) suspicion: Option<Suspicion>,
    /// The failures that count against the threshold.
    pub(crate) window: Window,
    /// Why no failover is under way now.
    pub(crate) refusal: Option<Refusal>,
    /// Refusals already told since the first bad sign: each is told once, however the evidence swings.
    #[serde(with = "crate::static_word::set")]
    pub(crate) told: std::collections::BTreeSet<Word>,
    /// An operator is asked to confirm this class, until then.
    pub(crate) awaiting: Option<(FailureClass, Mono)>,
    /// Where the primary's log ended, as its host told after an orderly stop; until it gives a sign of life.
    pub(crate) log_end: Option<LogEnd>,
    /// When the primary last gave a sign of life after a first bad sign.
    pub(crate) recovered_at: Option<Mono>,
    /// Bad signs and recoveries follow each other closely: `degraded` lasts until then.
    pub(crate) unsteady_until: Option<Mono>,
    /// When its host was asked last, and whether it was to ask the server on its own side.
    pub(crate) host_asked: Option<(Mono, bool)>,
}

impl Detection {
    /// The same with other server numbers. What was said of a server that is gone is not said any more.
    pub(crate) fn mapped(self, server: &dyn Fn(ServerId) -> Option<ServerId>) -> Detection {
        Detection { refusal: self.refusal.and_then(|refusal| refusal.mapped(server)), ..self }
    }

    /// When it has to be looked at again. `watched`: no failover is in flight.
    pub(crate) fn next(&self, state: State, failure_window: Span, watched: bool, now: Mono) -> Mono {
        let pace = self.suspicion.as_ref().map(|suspicion| {
            let fast = now.since(suspicion.since) < FAST_FOR && state != State::ManualIntervention;
            now + Span::from_millis(if fast { 20 } else { 500 })
        });
        let out_of_window = self.window.next(failure_window).filter(|_| watched);
        let steady = self.unsteady_until.filter(|until| state == State::Degraded && now < *until);
        [pace, out_of_window, steady].into_iter().flatten().min().unwrap_or(Mono::NEVER)
    }
}

/// The primary's trouble until it gives a sign of life: outlives a start-over, a pause and a confirmation that timed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// The first bad sign.
    pub(crate) bad: Option<Mono>,
    /// A stop of the primary was announced then.
    pub(crate) leaving: Option<Mono>,
    /// The threshold was reached: only newer answers confirm it.
    pub(crate) failing: Option<Mono>,
}
