//! The failover in flight, the one that an earlier engine began, and the last one.

use serde::{Deserialize, Serialize};

use super::{LastFailover, STEADY};
use crate::plan::{Begun, Plan};
use crate::stats::Mark;
use crate::time::{Mono, Span};

/// What is done about the primary's failure, and what lets it through.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) plan: Option<Plan>,
    /// A failover that an earlier engine began, until it is clear how the primary is, and when a person is called instead.
    pub(crate) begun: Option<Begun>,
    pub(crate) begun_until: Mono,
    /// When it was taken up.
    pub(crate) begun_at: Mono,
    pub(crate) last_failover: Option<LastFailover>,
    /// When it last began a failover of its own accord.
    pub(crate) began_at: Option<Mono>,
    /// The end of the last failover of an earlier engine.
    pub(crate) began_before: Option<Mark>,
    /// Its failover waits for a person, because others began; until one answers, or it lives.
    pub(crate) held: bool,
    pub(crate) confirmed_by_operator: bool,
    /// A person was called because nothing could be done, and nothing was: it ends when the primary serves again.
    pub(crate) called_in_vain: bool,
    /// While a person is called: the primary serves since then.
    pub(crate) well_since: Option<Mono>,
    /// While a person was called, somebody made another server the primary: the traffic follows it.
    pub(crate) switched_in_call: bool,
}

impl Run {
    /// When it has to go on even if no outcome comes.
    pub(crate) fn next(&self, now: Mono) -> Mono {
        let well = self.well_since.map(|since| since + STEADY);
        // Once it has passed, the step that saw it has done what there is to do: the rest waits for the action.
        let deadline = self.plan.as_ref().map(|plan| plan.course.deadline).filter(|deadline| *deadline > now);
        let action = self.plan.as_ref().and_then(|plan| plan.course.action.as_ref());
        let late = action.map(|(_, _, deadline)| *deadline + Span::from_millis(1_000));
        let retry = self.plan.as_ref().and_then(|plan| plan.course.retry_at);
        [well, deadline, late, retry].into_iter().flatten().min().unwrap_or(Mono::NEVER)
    }
}
