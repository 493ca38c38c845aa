//! How late checks begin: from the moment at which one was due to the moment at which a thread has it in hand. A machine, or a number of
//! workers, that is too small for its services shows here first.

use std::time::Duration;

use super::status::{DelayBucket, DelayStatus};

/// Upper bounds of what is told apart, in milliseconds.
const BOUNDS: [u32; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000];

/// The delays of all runs since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delays {
    /// By bound; what is beyond the last one is in `count` alone.
    within: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Delays {
    pub(crate) fn add(&mut self, delay: Duration) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(delay);
        let place = BOUNDS.iter().position(|bound| delay <= Duration::from_millis(u64::from(*bound)));
        if let Some(within) = place.and_then(|place| self.within.get_mut(place)) {
            *within = within.saturating_add(1);
        }
    }

    /// As the status shows it: each bucket with those before it.
    pub(crate) fn status(&self) -> DelayStatus {
        let mut all = 0u64;
        let buckets = BOUNDS.iter().zip(self.within).map(|(bound, within)| {
            all = all.saturating_add(within);
            DelayBucket { le_ms: *bound, count: all }
        });
        DelayStatus {
            buckets: buckets.collect(),
            count: self.count,
            sum_us: u64::try_from(self.sum.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_has_those_before_it_and_the_last_ones_are_in_none() {
        let mut delays = Delays::default();
        for micros in [0, 1_000, 1_001, 7_000, 6_000_000] {
            delays.add(Duration::from_micros(micros));
        }
        let status = delays.status();
        let counts: Vec<(u32, u64)> = status.buckets.iter().map(|bucket| (bucket.le_ms, bucket.count)).collect();
        assert_eq!(counts[..4], [(1, 2), (2, 3), (5, 3), (10, 4)]);
        assert_eq!((counts.last().map(|(_, count)| *count), status.count), (Some(4), 5));
        assert_eq!(status.sum_us, 6_009_001);
    }
}
