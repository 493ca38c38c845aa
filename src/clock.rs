//! The one place where the engine reads a clock for the core.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::deadline::Deadline;
use failover_core::time::{Mono, Span};

use crate::sync;

/// Since this machine was started, the time included in which it slept.
pub(crate) fn boottime() -> Duration {
    read(ClockId::Boottime)
}

/// How long this machine has been suspended since it was started.
pub(crate) fn suspended() -> Duration {
    let awake = read(ClockId::Monotonic);
    boottime().saturating_sub(awake)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Turns moments of the operating system's monotonic clock into the core's numbers and back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    wall: SystemTime,
}

impl Clock {
    /// A clock whose zero is now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { origin: sync::now(), wall: SystemTime::now() }
    }

    /// Now, in the core's numbers.
    #[must_use]
    pub fn now(&self) -> Mono {
        self.mono(sync::now())
    }

    /// A moment in the core's numbers.
    #[must_use]
    pub fn mono(&self, instant: Instant) -> Mono {
        Mono::ZERO + Span::from(instant.saturating_duration_since(self.origin))
    }

    /// A moment of the core as a deadline for the shell.
    #[must_use]
    pub fn deadline(&self, at: Mono) -> Deadline {
        Deadline::after(Duration::from(at.since(self.now())))
    }

    /// A moment of the core as wall-clock time, only for people: the wall clock at start plus what has passed since.
    #[must_use]
    pub fn wall(&self, at: Mono) -> SystemTime {
        self.wall + Duration::from(at.since(Mono::ZERO))
    }
}
