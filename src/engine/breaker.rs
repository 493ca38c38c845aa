//! A circuit breaker for threads: [`Breaker`] behind a lock and a clock.
//!
//! The engine has one around each outward dependency of its survey, and none around checks, confirmation, fence, promotion and the
//! steps of the route: a failover is decided by what is seen now, and never refused because something failed before. Host programs
//! may use it around whatever they call themselves.

use std::sync::Arc;

use parking_lot::Mutex;

use failover_core::breaker::Breaker;
pub use failover_core::breaker::{BreakerSettings, BreakerState, Denied, Token};

use crate::clock::Clock;

/// A circuit breaker. Clones share its state. Every method may be called from any thread and returns at once.
///
/// ```
/// use failover::{BreakerSettings, CircuitBreaker};
///
/// let breaker = CircuitBreaker::new(BreakerSettings::default());
/// match breaker.permit() {
///     Ok(permit) => {
///         let answer: Result<(), std::io::Error> = Ok(()); // the request
///         permit.report(answer.is_ok());
///     }
///     Err(denied) => println!("not asked; again in {}", denied.retry_after),
/// }
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreaker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    breaker: Mutex<Breaker>,
}

impl CircuitBreaker {
    /// Creates a closed circuit breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> CircuitBreaker {
        CircuitBreaker(Arc::new(Inner { clock: Clock::start(), breaker: Mutex::new(Breaker::new(settings)) }))
    }

    /// Permits one request. Report the result to the permit. A permit that is dropped without a report counts as a request that
    /// was not made.
    ///
    /// # Errors
    /// [`Denied`] while open, and while half-open with every permit given.
    pub fn permit(&self) -> Result<Permit, Denied> {
        let token = self.token()?;
        Ok(Permit { inner: Arc::clone(&self.0), token: Some(token) })
    }

    /// Like [`permit`](CircuitBreaker::permit), for callers that cannot keep a value. Give the token to
    /// [`settle`](CircuitBreaker::settle) once. A half-open token that is not given back returns after `recovery_timeout`.
    ///
    /// # Errors
    /// As for [`permit`](CircuitBreaker::permit).
    pub fn token(&self) -> Result<Token, Denied> {
        self.0.breaker.lock().permit(self.0.clock.now())
    }

    /// Reports the result of the request that was permitted by [`token`](CircuitBreaker::token): a success, a failure, or `None`
    /// if it was not made. Unknown and late tokens have no effect.
    pub fn settle(&self, token: Token, success: Option<bool>) {
        self.0.settle(token, success);
    }

    /// Its present state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.0.breaker.lock().state(self.0.clock.now())
    }

    /// Consecutive failures while closed; the threshold while not closed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.0.breaker.lock().failures()
    }

    /// Closes the circuit breaker, because the caller knows that something has changed.
    pub fn reset(&self) {
        self.0.breaker.lock().reset();
    }
}

impl Inner {
    fn settle(&self, token: Token, success: Option<bool>) {
        let now = self.clock.now();
        let mut breaker = self.breaker.lock();
        match success {
            Some(true) => breaker.success(now, token),
            Some(false) => breaker.failure(now, token),
            None => breaker.cancel(now, token),
        }
    }
}

/// The permission for one request.
#[derive(Debug)]
#[must_use = "what became of the request is to be reported"]
pub struct Permit {
    inner: Arc<Inner>,
    token: Option<Token>,
}

impl Permit {
    /// The request succeeded.
    pub fn success(self) {
        self.report(true);
    }

    /// The request failed.
    pub fn failure(self) {
        self.report(false);
    }

    /// The request succeeded, or failed.
    pub fn report(mut self, success: bool) {
        if let Some(token) = self.token.take() {
            self.inner.settle(token, Some(success));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.inner.settle(token, None);
        }
    }
}

impl From<&crate::config::Breaker> for BreakerSettings {
    fn from(config: &crate::config::Breaker) -> BreakerSettings {
        BreakerSettings {
            failure_threshold: config.failure_threshold,
            recovery_timeout: config.recovery_timeout.into(),
            half_open_requests: config.half_open_requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use failover_core::time::Span;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    fn breaker(recovery: Duration) -> CircuitBreaker {
        let recovery_timeout = Span::from(recovery);
        CircuitBreaker::new(BreakerSettings { failure_threshold: 2, recovery_timeout, half_open_requests: 3 })
    }

    #[test]
    fn many_threads_get_three_trials_between_them() {
        // With no time to recover it is half-open as soon as it has opened; a trial is held until all have asked.
        let breaker = breaker(Duration::from_secs(3_600));
        for _ in 0..2 {
            breaker.permit().unwrap().failure();
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.permit().is_err());
        let breaker = CircuitBreaker(Arc::new(Inner {
            clock: Clock::start(),
            breaker: Mutex::new({
                let mut inner = breaker.0.breaker.lock().clone();
                inner.state(failover_core::time::Mono::from_nanos(u64::MAX / 2));
                inner
            }),
        }));
        let given = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..16).map(|_| scope.spawn(|| breaker.permit().ok())).collect();
            let permits: Vec<Permit> = asked.into_iter().filter_map(|asked| asked.join().unwrap()).collect();
            given.store(u32::try_from(permits.len()).unwrap(), Ordering::SeqCst);
            permits.into_iter().for_each(Permit::success);
        });
        assert_eq!(given.into_inner(), 3);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_dropped_permit_is_no_verdict_and_a_token_is_settled_by_its_number() {
        let breaker = breaker(Duration::from_secs(3_600));
        drop(breaker.permit().unwrap());
        assert_eq!(breaker.failures(), 0);
        for _ in 0..2 {
            let number = breaker.token().unwrap().number();
            breaker.settle(Token::of_number(number), Some(false));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.settle(Token::of_number(0), Some(true));
        breaker.settle(Token::of_number(u64::MAX), Some(true));
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.reset();
        assert!(breaker.permit().is_ok());
    }
}
