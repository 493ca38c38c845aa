//! One overall deadline and one cancel signal for everything that can block.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{now, poll};

/// The moment by which a job has to be over, however many reads and writes it takes.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// `span` from now.
    #[must_use]
    pub fn after(span: Duration) -> Deadline {
        let now = now();
        Deadline(now.checked_add(span).unwrap_or(now + Duration::from_secs(86_400 * 365)))
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// True when nothing is left.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of this and `span` from now: for a part of a job.
    #[must_use]
    pub fn at_most(self, span: Duration) -> Deadline {
        Deadline(self.0.min(Deadline::after(span).0))
    }

    /// The moment itself.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }
}

/// Ends waits from another thread. Clones share one signal; once given it stays given.
#[derive(Clone, Debug)]
pub(crate) struct Cancel(Arc<Signal>);

#[derive(Debug)]
struct Signal {
    given: AtomicBool,
    fd: OwnedFd,
}

/// Why a wait ended without what it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The deadline passed.
    TimedOut,
    /// The cancel signal was given.
    Cancelled,
}

impl Cancel {
    /// A signal that has not been given.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub(crate) fn new() -> std::io::Result<Cancel> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Cancel(Arc::new(Signal { given: AtomicBool::new(false), fd })))
    }

    /// Gives the signal: every wait on it returns at once.
    pub(crate) fn cancel(&self) {
        self.0.given.store(true, Ordering::SeqCst);
        // An eventfd write of 1 fails only when the counter is full, and then it is readable anyway.
        let _ = rustix::io::write(&self.0.fd, &1u64.to_ne_bytes());
    }

    /// True once the signal was given.
    #[must_use]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.given.load(Ordering::SeqCst)
    }

    /// Nobody else holds it, and it was not given: it can serve once more, and saves a file descriptor.
    #[must_use]
    pub(crate) fn is_as_new(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && !self.is_cancelled()
    }

    /// Sleeps for `span`, less if the deadline or the signal comes first.
    ///
    /// # Errors
    /// [`Interrupted`] when the deadline or the signal came before the span was over.
    pub(crate) fn pause(&self, span: Duration, deadline: Deadline) -> Result<(), Interrupted> {
        let until = Deadline::after(span);
        loop {
            if self.is_cancelled() {
                return Err(Interrupted::Cancelled);
            }
            if deadline.is_over() {
                return Err(Interrupted::TimedOut);
            }
            let left = until.remaining();
            if left.is_zero() {
                return Ok(());
            }
            let mut fds = [PollFd::new(&self.0.fd, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&timespec(left.min(deadline.remaining()))));
        }
    }

    /// Waits until `fd` is ready for `wanted` (errors and hang-ups count as ready).
    ///
    /// # Errors
    /// [`Interrupted`] when the deadline or the signal came first.
    pub(crate) fn wait_for(&self, fd: BorrowedFd<'_>, wanted: PollFlags, deadline: Deadline) -> Result<(), Interrupted> {
        loop {
            if self.is_cancelled() {
                return Err(Interrupted::Cancelled);
            }
            let left = deadline.remaining();
            if left.is_zero() {
                return Err(Interrupted::TimedOut);
            }
            let mut fds = [PollFd::from_borrowed_fd(fd, wanted), PollFd::new(&self.0.fd, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
                _ => {}
            }
        }
    }
}

impl Cancel {
    /// Waits until one of `fds` is ready for what is wanted of it, or the deadline. `true`: the signal was given.
    #[must_use]
    pub(crate) fn wait_for_any(&self, fds: &[(BorrowedFd<'_>, PollFlags)], deadline: Deadline) -> bool {
        let mut all: Vec<PollFd<'_>> = fds.iter().map(|(fd, wanted)| PollFd::from_borrowed_fd(*fd, *wanted)).collect();
        all.push(PollFd::new(&self.0.fd, PollFlags::IN));
        // An error here is a signal of the system's; the caller looks at every one anyway.
        let _ = poll(&mut all, Some(&timespec(deadline.remaining())));
        self.is_cancelled()
    }
}

impl AsFd for Cancel {
    /// Readable once the signal was given: for a poll set of one's own.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        // A wait of less than a nanosecond must not become a busy loop, and cannot: the caller re-reads the clock.
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_signal_ends_a_long_pause() {
        let cancel = Cancel::new().unwrap();
        let other = cancel.clone();
        let waiter = std::thread::spawn(move || other.pause(Duration::from_secs(600), Deadline::after(Duration::from_secs(600))));
        cancel.cancel();
        assert_eq!(waiter.join().unwrap(), Err(Interrupted::Cancelled));
    }

    #[test]
    fn a_deadline_ends_a_longer_pause() {
        let cancel = Cancel::new().unwrap();
        assert_eq!(cancel.pause(Duration::from_secs(600), Deadline::after(Duration::from_millis(5))), Err(Interrupted::TimedOut));
    }

    #[test]
    fn an_endless_span_does_not_overflow() {
        assert!(!Deadline::after(Duration::MAX).is_over());
    }
}
