//! The host program's reports of its own calls, on their way to the core: counted here, and told a few times a second, so that a
//! program may report every call it makes.

use std::collections::BTreeMap;

use failover_core::id::{ServerId, ServiceId};
use failover_core::time::{Mono, Span};
use failover_core::traffic::Outcome;

use crate::sync::Mutex;

/// One kind of outcome of one server is told at most this often.
const EVERY: Span = Span::from_millis(100);

/// Whose outcomes: `None` is the primary, whoever that is.
pub(super) type Key = (ServiceId, Option<ServerId>, Outcome);

/// What was reported and not told yet.
#[derive(Default)]
pub(super) struct Reports(Mutex<BTreeMap<Key, Tally>>);

struct Tally {
    count: u32,
    told: Mono,
}

impl Reports {
    /// Counts one call. The number to be told now, or `None` while the last time is too short ago.
    pub(super) fn count(&self, key: Key, now: Mono) -> Option<u32> {
        let mut all = self.0.lock();
        let fresh = !all.contains_key(&key);
        let tally = all.entry(key).or_insert(Tally { count: 0, told: now });
        tally.count = tally.count.saturating_add(1);
        if !fresh && now.since(tally.told) < EVERY {
            return None;
        }
        tally.told = now;
        Some(std::mem::take(&mut tally.count))
    }

    /// The engine had no room: told with the next one.
    pub(super) fn put_back(&self, key: Key, count: u32) {
        if let Some(tally) = self.0.lock().get_mut(&key) {
            tally.count = tally.count.saturating_add(count);
        }
    }

    /// Numbers mean something else after a reload.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_is_told_and_not_every_one_at_once() {
        let reports = Reports::default();
        let key = (ServiceId(0), None, Outcome::Ok);
        let at = |millis| Mono::ZERO + Span::from_millis(millis);
        assert_eq!(reports.count(key, at(0)), Some(1));
        assert_eq!(reports.count(key, at(1)), None);
        assert_eq!(reports.count((ServiceId(0), None, Outcome::Timeout), at(1)), Some(1), "another outcome is news");
        assert_eq!(reports.count(key, at(99)), None);
        assert_eq!(reports.count(key, at(100)), Some(3));
        reports.put_back(key, 3);
        assert_eq!(reports.count(key, at(200)), Some(4));
        reports.forget();
        assert_eq!(reports.count(key, at(201)), Some(1));
    }
}
