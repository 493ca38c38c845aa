//! How fast a standby replays: measured while it had something to replay, for what a promotion would take.

use super::sample::{Lsn, Sample};
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// Shorter than this says nothing: the position moves in steps.
const SHORTEST: Span = Span::from_millis(200);

/// The pace of one standby.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayPace {
    /// Where it was while there was more to replay, and when it was asked.
    from: Option<(Lsn, Mono)>,
    /// Bytes a second; the last answers count most.
    per_second: Option<u64>,
}

impl ReplayPace {
    /// `behind`: there is more to replay, and nothing holds it up on purpose.
    pub(crate) fn sampled(&mut self, sample: &Sample, behind: bool) {
        let Some(replay) = sample.replay else { return };
        if let Some((from, at)) = self.from {
            let took = sample.asked.since(at);
            if took < SHORTEST && replay >= from {
                return;
            }
            // One that has gone back was made anew: its pace is another.
            if replay < from {
                self.per_second = None;
            } else if replay > from {
                let now = u128::from(replay.bytes_after(from)) * 1_000_000_000 / u128::from(took.as_nanos().max(1));
                let now = u64::try_from(now).unwrap_or(u64::MAX);
                self.per_second = Some(self.per_second.map_or(now, |before| before / 2 + now / 2));
            }
        }
        self.from = behind.then_some((replay, sample.asked));
    }

    /// What so many bytes take; `None` while it was never seen to replay with more to come.
    #[must_use]
    pub fn time_for(&self, bytes: u64) -> Option<Span> {
        let pace = self.per_second.filter(|pace| *pace > 0)?;
        let millis = u128::from(bytes) * 1_000 / u128::from(pace);
        Some(Span::from_millis(u64::try_from(millis).unwrap_or(u64::MAX).min(MOST_MILLIS)))
    }
}

/// Beyond a month nobody waits.
const MOST_MILLIS: u64 = 30 * 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64, replay: u64) -> Sample {
        Sample { asked: Mono::ZERO + Span::from_millis(millis), replay: Some(Lsn(replay)), ..Sample::default() }
    }

    #[test]
    fn the_pace_is_what_was_replayed_while_more_was_there() {
        let mut pace = ReplayPace::default();
        assert_eq!(pace.time_for(1), None);
        pace.sampled(&at(0, 1_000), true);
        pace.sampled(&at(50, 1_000), true);
        pace.sampled(&at(1_000, 11_000), true);
        assert_eq!(pace.time_for(20_000), Some(Span::from_millis(2_000)));
        // It stood for a while, and nothing was waited for: neither is its pace.
        pace.sampled(&at(2_000, 11_000), false);
        pace.sampled(&at(9_000, 11_500), true);
        assert_eq!(pace.time_for(20_000), Some(Span::from_millis(2_000)));
        pace.sampled(&at(10_000, 41_500), false);
        assert_eq!(pace.time_for(20_000), Some(Span::from_millis(1_000)), "the last answer counts half");
        // Made anew.
        pace.sampled(&at(11_000, 41_500), true);
        pace.sampled(&at(12_000, 500), true);
        assert_eq!(pace.time_for(1), None);
    }

    #[test]
    fn no_number_is_too_large() {
        let mut pace = ReplayPace::default();
        pace.sampled(&at(0, 0), true);
        pace.sampled(&at(1_000, 1), true);
        assert_eq!(pace.time_for(u64::MAX), Some(Span::from_millis(MOST_MILLIS)));
        pace.sampled(&at(1_000, u64::MAX), true);
        pace.sampled(&at(1_300, u64::MAX), true);
        assert!(pace.time_for(u64::MAX).is_some());
    }
}
