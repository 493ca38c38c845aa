//! Recurring probes of one server each. One file per kind, one method to run it.

pub(crate) mod embedder;
pub(crate) mod exec;
pub(crate) mod http;
pub(crate) mod postgres;
pub(crate) mod scripted;
pub(crate) mod tcp;

use crate::clock::Clock;
use crate::deadline::{Cancel, Deadline};
use crate::wire::resolve::Addresses;
use failover_core::observation::{Finding, Verdict};
use failover_core::sample::Sample;
use failover_core::time::Mono;

/// A probe. `run` must be over by the deadline and at once when cancelled, whatever the server does.
pub(crate) trait Check: Send + Sync {
    /// Asks once.
    fn run(&self, context: &Context<'_>) -> Finding;
}

/// What a run is given.
pub(crate) struct Context<'a> {
    /// The overall deadline of this run.
    pub deadline: Deadline,
    /// Ends the run early.
    pub cancel: &'a Cancel,
    /// Turns moments into the core's numbers.
    pub clock: &'a Clock,
    /// A sample of the server's state is wanted on the way.
    pub sample: bool,
    /// The last known addresses of names.
    pub addresses: &'a dyn Addresses,
}

impl Context<'_> {
    /// A finding about a question that was begun at `began`.
    #[must_use]
    pub(crate) fn finding(&self, began: Mono, verdict: Verdict, message: impl Into<String>, sample: Option<Sample>) -> Finding {
        Finding { verdict, message: message.into(), began, latency: self.clock.now().since(began), sample: sample.map(Box::new) }
    }
}
