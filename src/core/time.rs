//! Time as the decision core knows it: a number it is handed, never a clock it reads.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};

/// A moment on the engine's monotonic clock, in nanoseconds since the engine was made.
///
/// The standard library's `Instant` cannot be made from a number, so it could be neither replayed nor
/// simulated. All arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mono(u64);

/// A span of time in nanoseconds. All arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span(u64);

impl Mono {
    /// The moment the engine was made.
    pub const ZERO: Mono = Mono(0);
    /// Later than every moment that will be reached: a deadline that never comes.
    pub const NEVER: Mono = Mono(u64::MAX);

    /// The moment `nanos` nanoseconds after the engine was made.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Mono {
        Mono(nanos)
    }

    /// Nanoseconds since the engine was made.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was, or zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Mono) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// A span of `millis` milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(1_000_000))
    }

    /// A span of `nanos` nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Span {
        Span(nanos)
    }

    /// The span in nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span in whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The span `factor` times over.
    #[must_use]
    pub const fn times(self, factor: u64) -> Span {
        Span(self.0.saturating_mul(factor))
    }

    /// The `divisor`-th part of the span; a divisor of zero is read as one.
    #[must_use]
    pub const fn part(self, divisor: u64) -> Span {
        Span(self.0 / if divisor == 0 { 1 } else { divisor })
    }
}

impl Add<Span> for Mono {
    type Output = Mono;
    fn add(self, span: Span) -> Mono {
        Mono(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Mono {
    type Output = Mono;
    fn sub(self, span: Span) -> Mono {
        Mono(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl From<std::time::Duration> for Span {
    fn from(duration: std::time::Duration) -> Span {
        Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for std::time::Duration {
    fn from(span: Span) -> std::time::Duration {
        std::time::Duration::from_nanos(span.0)
    }
}

impl fmt::Display for Span {
    /// Milliseconds below ten seconds, seconds above: what a person reads in an event.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.as_millis();
        if millis == 0 && self.0 > 0 {
            write!(f, "{} µs", self.0 / 1_000)
        } else if millis < 10_000 {
            write!(f, "{millis} ms")
        } else if millis < 120_000 {
            write!(f, "{}.{} s", millis / 1_000, millis % 1_000 / 100)
        } else {
            write!(f, "{} min", millis / 60_000)
        }
    }
}
