//! The one place the engine takes its locks, threads, channels and waits from: std, crossbeam-channel and poll(2).
//!
//! The library's own tests, built with `--cfg shuttle` (`scripts/schedules.sh`), get the same names on top of a scheduler that
//! interleaves the threads at random and decides how fast time passes.

#[cfg(all(test, shuttle))]
pub(crate) mod model;
#[cfg(not(all(test, shuttle)))]
mod real;

#[cfg(all(test, shuttle))]
pub(crate) use model::{Condvar, Mutex, RwLock, atomic, channel, now, poll, thread};
#[cfg(not(all(test, shuttle)))]
pub(crate) use real::{Condvar, Mutex, RwLock, atomic, channel, now, poll, thread};

/// A bound of a queue: small where schedules are tried, so that they reach it.
pub(crate) const fn bound(real: usize, tried: usize) -> usize {
    if cfg!(all(test, shuttle)) { tried } else { real }
}
