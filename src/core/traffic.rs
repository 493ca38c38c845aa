//! What the host program's own calls to a server say: one more observer, weighed and never decisive alone.
//!
//! A failed call stands for one observation of our own and makes us look at once; a served one, while we see a failure, doubles
//! what is needed to believe in it. A program can be wrong about its own traffic (a pool, a cache, a time-out of its own), so its
//! failures begin no failover and its successes prevent none.

use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// A report says something about now for this long.
const FRESH: Span = Span::from_millis(1_000);
/// What was served this soon after the first bad sign may have been on its way before it.
const SETTLED: Span = Span::from_millis(300);
/// Failed calls make us look at most this often.
pub(super) const LOOK_AGAIN: Span = Span::from_millis(500);

/// How one call of the host program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Served as it should be.
    Ok,
    /// No answer in the program's own time.
    Timeout,
    /// The connection was refused.
    Refused,
    /// The connection ended in the middle.
    Reset,
    /// The server answered that it does not serve now: starting, stopping, no slot left, read-only.
    Rejected,
    /// Anything else; says nothing about the server.
    Error,
}

impl Outcome {
    /// Each of them.
    pub const ALL: [Outcome; 6] =
        [Outcome::Ok, Outcome::Timeout, Outcome::Refused, Outcome::Reset, Outcome::Rejected, Outcome::Error];

    /// The word used in events and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Timeout => "timeout",
            Outcome::Refused => "refused",
            Outcome::Reset => "reset",
            Outcome::Rejected => "rejected",
            Outcome::Error => "error",
        }
    }

    /// A sign that the server may be gone.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Outcome::Timeout | Outcome::Refused | Outcome::Reset)
    }
}

/// What the host program has reported about one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Calls reported since the engine was started, in the order of [`Outcome::ALL`].
    pub reported: [u64; 6],
    /// When a served call was last reported.
    pub served_at: Option<Mono>,
    /// When a failed one was, and how it had failed.
    pub failed_at: Option<(Mono, Outcome)>,
    pub(super) looked_at: Option<Mono>,
}

/// What the reports weigh now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Weight {
    /// There are none, or old ones.
    #[default]
    None,
    /// Calls are served.
    Served,
    /// Calls fail.
    Failed(Outcome),
}

impl Traffic {
    pub(super) fn report(&mut self, now: Mono, outcome: Outcome, count: u32) {
        if let Some(at) = Outcome::ALL.iter().position(|each| *each == outcome) {
            self.reported[at] = self.reported[at].saturating_add(count.into());
        }
        if outcome == Outcome::Ok {
            self.served_at = Some(now);
        } else if outcome.is_failure() {
            self.failed_at = Some((now, outcome));
        }
    }

    /// What the reports weigh against, or for, a failure whose first sign was at `since`. A served call outweighs a failed one:
    /// single calls fail everywhere.
    #[must_use]
    pub fn weight(&self, since: Mono, now: Mono) -> Weight {
        if self.served_at.is_some_and(|at| at >= since + SETTLED && now.since(at) < FRESH) {
            return Weight::Served;
        }
        match self.failed_at {
            Some((at, outcome)) if now.since(at) < FRESH => Weight::Failed(outcome),
            _ => Weight::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn reports_weigh_while_they_are_fresh() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.weight(at(0), at(0)), Weight::None);
        traffic.report(at(1_000), Outcome::Timeout, 3);
        assert_eq!(traffic.weight(at(1_000), at(1_999)), Weight::Failed(Outcome::Timeout));
        assert_eq!(traffic.weight(at(1_000), at(2_000)), Weight::None);
        traffic.report(at(2_000), Outcome::Rejected, 1);
        traffic.report(at(2_000), Outcome::Error, 1);
        assert_eq!(traffic.weight(at(1_000), at(2_000)), Weight::None);
        assert_eq!(traffic.reported, [0, 3, 0, 0, 1, 1]);
    }

    #[test]
    fn what_was_served_before_the_failure_settled_is_no_contradiction() {
        let mut traffic = Traffic::default();
        traffic.report(at(1_299), Outcome::Ok, 1);
        traffic.report(at(1_300), Outcome::Reset, 1);
        assert_eq!(traffic.weight(at(1_000), at(1_300)), Weight::Failed(Outcome::Reset));
        traffic.report(at(1_300), Outcome::Ok, 1);
        assert_eq!(traffic.weight(at(1_000), at(1_400)), Weight::Served);
        assert_eq!(traffic.weight(at(1_000), at(2_300)), Weight::None);
    }
}
