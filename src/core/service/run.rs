//! The failover in flight, the one that an earlier engine began, and the last one.

use serde::{Deserialize, Serialize};

use super::{LastFailover, STEADY};
use crate::plan::{Intent, Plan};
use crate::stats::Mark;
use crate::time::Mono;

/// What is done about the primary's failure, and what lets it through.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) plan: Option<Plan>,
    /// A failover that an earlier engine began, until it is clear how the primary is, and when a person is called instead.
    pub(crate) begun: Option<Intent>,
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
    /// When a call for a person may be over.
    pub(crate) fn next(&self) -> Mono {
        let well = self.well_since.map(|since| since + STEADY);
        well.unwrap_or(Mono::NEVER)
    }
}
