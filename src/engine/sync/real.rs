//! The real thing.

pub(crate) use std::sync::atomic;
use std::time::Instant;

pub(crate) use parking_lot::{Condvar, Mutex, RwLock};
pub(crate) use rustix::event::poll;

pub(crate) mod thread {
    pub(crate) use std::thread::{Builder, JoinHandle, ThreadId, current, sleep};
}

pub(crate) mod channel {
    pub use crossbeam_channel::{Receiver, Sender};
    pub(crate) use crossbeam_channel::{RecvTimeoutError, TrySendError, bounded};
}

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}
