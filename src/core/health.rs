//! What the answers of a check mean: health by consecutive failures and successes.

use super::observation::Verdict;
use serde::{Deserialize, Serialize};

/// The health of a check or a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Health {
    /// Not enough answers yet, or the last ones could not be asked.
    #[default]
    Unknown,
    /// `success_threshold` successes in a row.
    Healthy,
    /// At least one failure, or alive without serving.
    Degraded,
    /// `failure_threshold` failures in a row.
    Unhealthy,
}

impl Health {
    /// The word used in events and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Unhealthy => "unhealthy",
        }
    }

    /// The health of a server from those of its checks: the worst one that is known.
    #[must_use]
    pub fn of_server(checks: impl Iterator<Item = Health>) -> Health {
        checks.max().unwrap_or_default()
    }
}

/// Counts answers in a row. `Unknown` answers move nothing: we could not ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    health: Health,
    failures: u32,
    successes: u32,
}

impl Counter {
    /// The health now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes one answer into account and returns the health before it.
    pub fn observe(&mut self, verdict: &Verdict, failure_threshold: u32, success_threshold: u32) -> Health {
        let before = self.health;
        match verdict {
            Verdict::Up => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                if self.successes >= success_threshold {
                    self.health = Health::Healthy;
                }
            }
            Verdict::Impaired(_) => {
                // Alive: ends a row of failures, and is no success either.
                self.failures = 0;
                self.successes = 0;
                self.health = Health::Degraded;
            }
            Verdict::Down(_) => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                self.health = if self.failures >= failure_threshold { Health::Unhealthy } else { Health::Degraded };
            }
            Verdict::Unknown(_) => {}
        }
        before
    }

    /// True while the next answers may change the health.
    #[must_use]
    pub fn is_changing(&self, success_threshold: u32) -> bool {
        match self.health {
            Health::Degraded => self.failures > 0 || self.successes > 0,
            Health::Unhealthy | Health::Unknown => self.successes > 0 && self.successes < success_threshold,
            Health::Healthy => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{DownCause, Impairment, UnknownCause};

    const UP: Verdict = Verdict::Up;
    const DOWN: Verdict = Verdict::Down(DownCause::Refused);
    const IMPAIRED: Verdict = Verdict::Impaired(Impairment::Saturated);
    const UNKNOWN: Verdict = Verdict::Unknown(UnknownCause::Resolver);

    fn after(verdicts: &[Verdict]) -> Health {
        let mut counter = Counter::default();
        for verdict in verdicts {
            counter.observe(verdict, 3, 2);
        }
        counter.health()
    }

    #[test]
    fn health_by_rows_of_answers() {
        for (verdicts, health) in [
            (&[][..], Health::Unknown),
            (&[UP], Health::Unknown),
            (&[UP, UP], Health::Healthy),
            (&[UP, UP, DOWN], Health::Degraded),
            (&[UP, UP, DOWN, DOWN], Health::Degraded),
            (&[UP, UP, DOWN, DOWN, DOWN], Health::Unhealthy),
            (&[DOWN, DOWN, UP, DOWN], Health::Degraded),
            (&[DOWN, DOWN, DOWN, UP], Health::Unhealthy),
            (&[DOWN, DOWN, DOWN, UP, UP], Health::Healthy),
            (&[DOWN, DOWN, IMPAIRED, DOWN], Health::Degraded),
            (&[UP, UP, IMPAIRED], Health::Degraded),
            (&[UP, UP, UNKNOWN, UNKNOWN, UNKNOWN], Health::Healthy),
            (&[DOWN, DOWN, UNKNOWN, DOWN], Health::Unhealthy),
            (&[UNKNOWN], Health::Unknown),
        ] {
            assert_eq!(after(verdicts), health, "{verdicts:?}");
        }
    }
}
