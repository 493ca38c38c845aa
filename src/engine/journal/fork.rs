//! A change of the primary, in the journal's words.

use serde::{Deserialize, Serialize};

use failover_core::sample::Lsn;
use failover_core::survival::{Fork, Forked};

/// One change of the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KnownFork {
    /// The timeline before.
    from: u32,
    /// The one that began.
    to: u32,
    /// The engine promoted the server.
    promoted: bool,
    /// Where the old timeline ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// The next transaction number, read before the promotion.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<u64>,
    /// And after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u64>,
}

impl KnownFork {
    pub(super) fn of(fork: &Fork) -> KnownFork {
        let seen = fork.seen.unwrap_or_default();
        KnownFork {
            from: fork.from,
            to: fork.to,
            promoted: fork.seen.is_some(),
            at: seen.at.map(|at| at.to_string()),
            next_before: seen.next_before,
            next_after: seen.next_after,
        }
    }

    pub(super) fn read(&self) -> Fork {
        let at = self.at.as_deref().and_then(Lsn::parse);
        let seen = Forked { at, next_before: self.next_before, next_after: self.next_after };
        Fork { from: self.from, to: self.to, seen: self.promoted.then_some(seen) }
    }
}
