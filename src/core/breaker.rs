//! A circuit breaker as a pure state machine: who keeps failing is left alone for a while, then tried with a few requests.
//!
//! Time is given in, so that it can be tested and simulated. `failover::breaker::CircuitBreaker` is the same behind a lock and
//! a clock, for threads.
//!
//! - *closed*: every request is permitted; `failure_threshold` failures in a row open it.
//! - *open*: none is permitted until `recovery_timeout` has passed.
//! - *half-open*: `half_open_requests` are permitted, in flight and succeeded together. One failure opens it again; when all of them
//!   have succeeded it closes.
//!
//! A permit belongs to the state it was given in: what is reported for it after a change of state is of no consequence. One of the
//! half-open state that is never reported comes back after `recovery_timeout`.

use super::time::{Mono, Span};

/// The numbers of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; zero is read as one.
    pub failure_threshold: u32,
    /// How long it stays open, and after which a half-open permit that was never reported comes back.
    pub recovery_timeout: Span,
    /// Requests that are permitted while half-open, and successes that close it; zero is read as one.
    pub half_open_requests: u32,
}

impl Default for BreakerSettings {
    /// 5 failures, 30 s, 3 requests.
    fn default() -> BreakerSettings {
        BreakerSettings { failure_threshold: 5, recovery_timeout: Span::from_millis(30_000), half_open_requests: 3 }
    }
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BreakerState {
    /// Every request is permitted.
    Closed,
    /// No request is permitted.
    Open,
    /// A few requests are permitted.
    HalfOpen,
}

impl BreakerState {
    /// The word used in status, events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// The permission for one request, as a number that is never zero and never given twice: it can be handed through C.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The token with this number; one that was never given is of no consequence.
    #[must_use]
    pub fn of_number(number: u64) -> Token {
        Token(number)
    }
}

/// A request is not permitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// After this much time it is worth asking again: the rest of `recovery_timeout`, or until a half-open permit comes back.
    pub retry_after: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Mono },
    HalfOpen { in_flight: Vec<(Token, Mono)>, succeeded: u32 },
}

/// A circuit breaker. `now` may go nowhere or backward: it is then read as the latest moment seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    settings: BreakerSettings,
    phase: Phase,
    now: Mono,
    /// The next token, and the first of the present state: older ones are of no consequence.
    next: u64,
    first: u64,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Breaker {
        let settings = BreakerSettings {
            failure_threshold: settings.failure_threshold.max(1),
            half_open_requests: settings.half_open_requests.max(1),
            ..settings
        };
        Breaker { settings, phase: Phase::Closed { failures: 0 }, now: Mono::ZERO, next: 1, first: 1 }
    }

    /// Its numbers.
    #[must_use]
    pub fn settings(&self) -> BreakerSettings {
        self.settings
    }

    /// The state at `now`.
    pub fn state(&mut self, now: Mono) -> BreakerState {
        self.advance(now);
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Failures in a row while closed; the threshold while it is not.
    #[must_use]
    pub fn failures(&self) -> u32 {
        match self.phase {
            Phase::Closed { failures } => failures,
            _ => self.settings.failure_threshold,
        }
    }

    /// Permits a request, whose end is to be reported with [`success`](Breaker::success), [`failure`](Breaker::failure) or
    /// [`cancel`](Breaker::cancel).
    ///
    /// # Errors
    /// [`Denied`] while open, and while half-open with every permit given.
    pub fn permit(&mut self, now: Mono) -> Result<Token, Denied> {
        self.advance(now);
        let token = Token(self.next);
        match &mut self.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } => return Err(Denied { retry_after: until.since(self.now) }),
            Phase::HalfOpen { in_flight, succeeded } => {
                let given = u32::try_from(in_flight.len()).unwrap_or(u32::MAX).saturating_add(*succeeded);
                if given >= self.settings.half_open_requests {
                    let back = in_flight.iter().map(|(_, back)| *back).min().unwrap_or(self.now);
                    return Err(Denied { retry_after: back.since(self.now) });
                }
                in_flight.push((token, self.now + self.settings.recovery_timeout));
            }
        }
        self.next += 1;
        Ok(token)
    }

    /// A permitted request succeeded.
    pub fn success(&mut self, now: Mono, token: Token) {
        self.advance(now);
        if !self.is_current(token) {
            return;
        }
        let needed = self.settings.half_open_requests;
        match &mut self.phase {
            Phase::Closed { failures } => *failures = 0,
            Phase::Open { .. } => {}
            Phase::HalfOpen { in_flight, succeeded } => {
                if take(in_flight, token) {
                    *succeeded += 1;
                    if *succeeded >= needed {
                        self.enter(Phase::Closed { failures: 0 });
                    }
                }
            }
        }
    }

    /// A permitted request failed.
    pub fn failure(&mut self, now: Mono, token: Token) {
        self.advance(now);
        if !self.is_current(token) {
            return;
        }
        let threshold = self.settings.failure_threshold;
        let opens = match &mut self.phase {
            Phase::Closed { failures } => {
                *failures += 1;
                *failures >= threshold
            }
            Phase::Open { .. } => false,
            Phase::HalfOpen { in_flight, .. } => take(in_flight, token),
        };
        if opens {
            self.enter(Phase::Open { until: self.now + self.settings.recovery_timeout });
        }
    }

    /// A permitted request was not made, or says nothing about the other side: the permit comes back at once.
    pub fn cancel(&mut self, now: Mono, token: Token) {
        self.advance(now);
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase {
            take(in_flight, token);
        }
    }

    /// Closes it, because the program knows that something has changed.
    pub fn reset(&mut self) {
        self.enter(Phase::Closed { failures: 0 });
    }

    fn is_current(&self, token: Token) -> bool {
        (self.first..self.next).contains(&token.0)
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.first = self.next;
    }

    fn advance(&mut self, now: Mono) {
        self.now = self.now.max(now);
        let now = self.now;
        match &mut self.phase {
            Phase::Open { until } if now >= *until => self.enter(Phase::HalfOpen { in_flight: Vec::new(), succeeded: 0 }),
            Phase::HalfOpen { in_flight, .. } => in_flight.retain(|(_, back)| now < *back),
            Phase::Open { .. } | Phase::Closed { .. } => {}
        }
    }
}

fn take(in_flight: &mut Vec<(Token, Mono)>, token: Token) -> bool {
    let at = in_flight.iter().position(|(one, _)| *one == token);
    at.map(|at| in_flight.swap_remove(at)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(millis: u64) -> Mono {
        Mono::ZERO + Span::from_millis(millis)
    }

    fn settings(failure_threshold: u32, half_open_requests: u32) -> BreakerSettings {
        BreakerSettings { failure_threshold, recovery_timeout: Span::from_millis(1_000), half_open_requests }
    }

    /// One that has just opened at this moment.
    fn opened(threshold: u32, half_open: u32, now: u64) -> Breaker {
        let mut breaker = Breaker::new(settings(threshold, half_open));
        for _ in 0..threshold {
            let token = breaker.permit(at(now)).unwrap();
            breaker.failure(at(now), token);
        }
        assert_eq!(breaker.state(at(now)), BreakerState::Open);
        breaker
    }

    #[test]
    fn the_way_round() {
        let mut breaker = opened(5, 2, 10);
        assert_eq!(breaker.permit(at(400)), Err(Denied { retry_after: Span::from_millis(610) }));
        assert_eq!(breaker.state(at(1_009)), BreakerState::Open);
        assert_eq!(breaker.state(at(1_010)), BreakerState::HalfOpen);
        let (one, two) = (breaker.permit(at(1_010)).unwrap(), breaker.permit(at(1_020)).unwrap());
        assert_eq!(breaker.permit(at(1_110)), Err(Denied { retry_after: Span::from_millis(900) }));
        breaker.success(at(1_120), one);
        assert!(breaker.permit(at(1_130)).is_err(), "a success is a trial that is used up");
        breaker.success(at(1_140), two);
        assert_eq!(breaker.state(at(1_140)), BreakerState::Closed);
        assert_eq!(breaker.failures(), 0);
    }

    #[test]
    fn a_failed_trial_opens_it_again_and_late_words_about_others_change_nothing() {
        let mut breaker = opened(1, 2, 0);
        let (one, two) = (breaker.permit(at(1_000)).unwrap(), breaker.permit(at(1_000)).unwrap());
        breaker.failure(at(1_500), one);
        assert_eq!(breaker.state(at(1_500)), BreakerState::Open);
        breaker.success(at(1_600), two);
        breaker.failure(at(1_600), two);
        assert_eq!(breaker.state(at(2_499)), BreakerState::Open);
        assert_eq!(breaker.state(at(2_500)), BreakerState::HalfOpen);
        breaker.success(at(2_500), one);
        assert!(breaker.permit(at(2_500)).is_ok() && breaker.permit(at(2_500)).is_ok());
    }

    #[test]
    fn a_trial_that_is_never_reported_comes_back_and_a_cancelled_one_at_once() {
        let mut breaker = opened(1, 1, 0);
        let lost = breaker.permit(at(1_000)).unwrap();
        assert!(breaker.permit(at(1_999)).is_err());
        let next = breaker.permit(at(2_000)).unwrap();
        breaker.failure(at(2_001), lost);
        assert_eq!(breaker.state(at(2_001)), BreakerState::HalfOpen, "nobody waits for the lost one any more");
        breaker.cancel(at(2_002), next);
        let last = breaker.permit(at(2_002)).unwrap();
        breaker.success(at(2_003), last);
        assert_eq!(breaker.state(at(2_003)), BreakerState::Closed);
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew_and_a_reset_closes() {
        let mut breaker = Breaker::new(settings(2, 1));
        for fails in [true, false, true, false, true] {
            let token = breaker.permit(at(0)).unwrap();
            if fails { breaker.failure(at(0), token) } else { breaker.success(at(0), token) }
        }
        assert_eq!((breaker.state(at(0)), breaker.failures()), (BreakerState::Closed, 1));
        let mut breaker = opened(2, 1, 0);
        breaker.reset();
        assert_eq!((breaker.state(at(0)), breaker.failures()), (BreakerState::Closed, 0));
        let zero = Breaker::new(settings(0, 0)).settings();
        assert_eq!((zero.failure_threshold, zero.half_open_requests), (1, 1));
    }

    #[derive(Clone, Debug)]
    enum Deed {
        Permit,
        Report(usize, u8),
        Time(i64),
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            4 => Just(Deed::Permit),
            4 => (any::<usize>(), 0u8..3).prop_map(|(which, how)| Deed::Report(which, how)),
            2 => (-500i64..1_500).prop_map(Deed::Time),
        ]
    }

    proptest! {
        #[test]
        fn its_promises_hold_whatever_is_done_and_however_time_goes(
            threshold in 1u32..6, half_open in 1u32..4, deeds in prop::collection::vec(deed(), 0..200),
        ) {
            let mut breaker = Breaker::new(settings(threshold, half_open));
            let mut clock = 10_000i64;
            let mut held: Vec<Token> = Vec::new();
            let mut seen = BTreeSet::new();
            // The model: failures in a row while closed, trials in flight while half-open.
            let mut in_a_row = 0;
            let mut latest = 0i64;
            let mut trials: Vec<(Token, i64)> = Vec::new();
            let mut state = BreakerState::Closed;
            let mut epoch: BTreeSet<Token> = BTreeSet::new();
            for deed in deeds {
                if let Deed::Time(by) = deed {
                    clock = (clock + by).max(0);
                }
                latest = latest.max(clock);
                let now = at(u64::try_from(clock).unwrap());
                let before = breaker.state(now);
                if before != state {
                    prop_assert_eq!((state, before), (BreakerState::Open, BreakerState::HalfOpen), "only time opens half");
                    trials.clear();
                    epoch.clear();
                }
                trials.retain(|(_, back)| latest < *back);
                match deed {
                    Deed::Time(_) => {}
                    Deed::Permit => match breaker.permit(now) {
                        Ok(token) => {
                            prop_assert!(before != BreakerState::Open);
                            prop_assert!(token.number() != 0 && seen.insert(token), "never twice");
                            held.push(token);
                            epoch.insert(token);
                            if before == BreakerState::HalfOpen {
                                trials.push((token, latest + 1_000));
                                prop_assert!(trials.len() <= half_open as usize, "more trials than allowed");
                            }
                        }
                        Err(denied) => {
                            prop_assert!(before != BreakerState::Closed, "a closed one permits everything");
                            prop_assert!(denied.retry_after <= Span::from_millis(1_000));
                        }
                    },
                    Deed::Report(..) if held.is_empty() => {}
                    Deed::Report(which, how) => {
                        let token = held.swap_remove(which % held.len());
                        let counts = epoch.contains(&token)
                            && (before == BreakerState::Closed || trials.iter().any(|(one, _)| *one == token));
                        trials.retain(|(one, _)| *one != token);
                        match how {
                            0 => breaker.success(now, token),
                            1 => breaker.failure(now, token),
                            _ => breaker.cancel(now, token),
                        }
                        let after = breaker.state(now);
                        match (before, how) {
                            (BreakerState::Closed, 1) if counts => {
                                in_a_row += 1;
                                prop_assert_eq!(after == BreakerState::Open, in_a_row == threshold, "exactly at the threshold");
                            }
                            (BreakerState::Closed, 0) if counts => in_a_row = 0,
                            (BreakerState::HalfOpen, 1) if counts => prop_assert_eq!(after, BreakerState::Open),
                            (BreakerState::HalfOpen, 0) if counts => prop_assert!(after != BreakerState::Open),
                            _ => prop_assert_eq!(before, after, "of no consequence"),
                        }
                        if before != after {
                            in_a_row = 0;
                            trials.clear();
                            epoch.clear();
                        }
                    }
                }
                state = breaker.state(now);
            }
        }

        #[test]
        fn every_trial_a_success_closes_it(half_open in 1u32..10) {
            let mut breaker = opened(3, half_open, 0);
            for n in 1..=half_open {
                prop_assert_eq!(breaker.state(at(1_000)), BreakerState::HalfOpen, "before success {}", n);
                let token = breaker.permit(at(1_000)).unwrap();
                breaker.success(at(1_000), token);
            }
            prop_assert_eq!(breaker.state(at(1_000)), BreakerState::Closed);
        }
    }
}
