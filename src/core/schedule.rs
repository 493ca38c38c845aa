//! When each check runs next: single-flight, jitter from a seed, and the deadline that the core itself keeps.

use super::id::RunId;
use super::model::CheckModel;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// How long after its deadline a run may still report before the core gives it up: covers a busy machine, no more.
const LATE: Span = Span::from_millis(150);

/// So many checks are asked at once at the start. With more, the first runs are spread, or all would be due together for minutes.
pub(super) const AT_ONCE: usize = 64;

/// The first runs of a large fleet are spread over one interval, and over no more than this: a primary has to be known soon.
const SPREAD: Span = Span::from_millis(5_000);

/// How its state goes on with each draw.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Small deterministic random numbers for jitter (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jitter(u64);

impl Jitter {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// As it will be after so many draws.
    #[must_use]
    pub(super) fn after(&self, draws: u64) -> Jitter {
        Jitter(self.0.wrapping_add(STEP.wrapping_mul(draws)))
    }

    /// `span` less up to a tenth, so that many checks do not march in step.
    pub fn shorten(&mut self, span: Span) -> Span {
        let tenth = span.as_nanos() / 10;
        if tenth == 0 {
            return span;
        }
        span - Span::from_nanos(self.next() % tenth)
    }
}

/// One run that is not back yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Its number.
    pub run: RunId,
    /// When it was asked for.
    pub began: Mono,
    /// When it has to be over.
    pub deadline: Mono,
}

/// When one check, or one attempt to open a kept session, runs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    flight: Option<Flight>,
    due: Mono,
}

impl Slot {
    /// Due at `due`.
    #[must_use]
    pub fn due_at(due: Mono) -> Slot {
        Slot { flight: None, due }
    }

    /// The run that is not back yet.
    #[must_use]
    pub fn flight(&self) -> Option<Flight> {
        self.flight
    }

    /// True if a run should start now. Never while one is out: a hung target costs one worker, not the pool.
    #[must_use]
    pub fn is_due(&self, now: Mono) -> bool {
        self.flight.is_none() && now >= self.due
    }

    /// A run starts.
    pub fn start(&mut self, run: RunId, now: Mono, timeout: Span) -> Flight {
        debug_assert!(self.flight.is_none(), "single-flight");
        let flight = Flight { run, began: now, deadline: now + timeout };
        self.flight = Some(flight);
        flight
    }

    /// A run is back: the next one is due at `due`. False if it is not the run we wait for.
    pub fn finish(&mut self, run: RunId, due: Mono) -> bool {
        if self.flight.is_none_or(|flight| flight.run != run) {
            return false;
        }
        self.flight = None;
        self.due = due;
        true
    }

    /// Gives up a run that is past its deadline and returns it.
    pub fn expire(&mut self, now: Mono, due: Mono) -> Option<Flight> {
        let flight = self.flight?;
        if now < flight.deadline + LATE {
            return None;
        }
        self.flight = None;
        self.due = due;
        Some(flight)
    }

    /// Forgets the run that is out, if any, and returns it.
    pub fn abandon(&mut self, due: Mono) -> Option<Flight> {
        self.due = due;
        self.flight.take()
    }

    /// Holds the first run back by `span`.
    pub(super) fn hold_back(&mut self, span: Span) {
        self.due = self.due + span;
    }

    /// Brings the next run forward to `due`, never back.
    pub fn hasten(&mut self, due: Mono) {
        self.due = self.due.min(due);
    }

    /// The moment at which something has to happen here.
    #[must_use]
    pub fn next(&self) -> Mono {
        self.flight.map_or(self.due, |flight| flight.deadline + LATE)
    }
}

/// The pause before the next run of a check.
#[must_use]
pub fn pause(model: &CheckModel, fast: bool, doubt: bool, jitter: &mut Jitter) -> Span {
    match (fast, doubt) {
        // In doubt, hammering tells nothing new about the servers and loads whatever hurts us.
        (true, true) => jitter.shorten(model.fast_interval.times(4).max(Span::from_millis(100)).min(model.interval)),
        (true, false) => model.fast_interval.min(model.interval),
        (false, _) => jitter.shorten(model.interval),
    }
}

/// How long the first run of the check with this number is held back in a large fleet: steps of the golden ratio fill the interval
/// evenly, whatever the number of checks is, and for neighbours too.
#[must_use]
pub(super) fn held_back(interval: Span, number: usize) -> Span {
    let share = STEP.wrapping_mul(number as u64) >> 32;
    let spread = u128::from(interval.min(SPREAD).as_nanos());
    Span::from_nanos(u64::try_from((spread * u128::from(share)) >> 32).unwrap_or_default())
}

/// The draws that [`pause`] makes for a check in quiet times.
#[must_use]
pub(super) fn draws(model: &CheckModel) -> u64 {
    u64::from(model.interval.as_nanos() >= 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_out_is_not_started_again() {
        let mut slot = Slot::due_at(Mono::ZERO);
        assert!(slot.is_due(Mono::ZERO));
        slot.start(RunId(1), Mono::ZERO, Span::from_millis(100));
        assert!(!slot.is_due(Mono::from_nanos(u64::MAX - 1)));
    }

    #[test]
    fn a_late_result_carries_an_old_run_and_is_discarded() {
        let mut slot = Slot::due_at(Mono::ZERO);
        slot.start(RunId(1), Mono::ZERO, Span::from_millis(100));
        let later = Mono::ZERO + Span::from_millis(100) + LATE;
        assert_eq!(slot.expire(later, later).map(|flight| flight.run), Some(RunId(1)));
        assert!(!slot.finish(RunId(1), later));
    }

    #[test]
    fn the_first_runs_of_a_large_fleet_fill_the_interval_evenly() {
        let interval = Span::from_millis(1_000);
        for checks in [65, 1_000, 3_000] {
            let mut tenths = [0; 10];
            for number in 0..checks {
                let held = held_back(interval, number);
                assert!(held < interval);
                tenths[usize::try_from(held.as_nanos() / 100_000_000).unwrap()] += 1;
            }
            let (least, most) = (tenths.iter().min().unwrap(), tenths.iter().max().unwrap());
            assert!(most - least <= 3, "{checks} checks: {tenths:?}");
        }
        assert!(held_back(Span::from_millis(600_000), 3) < SPREAD);
    }

    #[test]
    fn the_same_seed_gives_the_same_jitter() {
        let (mut one, mut two) = (Jitter::new(7), Jitter::new(7));
        for _ in 0..100 {
            let span = one.shorten(Span::from_millis(1000));
            assert_eq!(span, two.shorten(Span::from_millis(1000)));
            assert!(span > Span::from_millis(899) && span <= Span::from_millis(1000));
        }
    }
}
