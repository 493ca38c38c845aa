//! The bounded event queues.

use std::sync::Arc;
use std::time::Duration;

use super::render::EngineEvent;

/// A bounded queue of events, never blocking the engine.
pub struct EventQueue {}

impl EventQueue {
    /// The next event; `None` when none came in time, after [`EventQueue::wake`], or when the engine has stopped.
    pub fn next(&self, timeout: Duration) -> Option<Arc<EngineEvent>> {
        let _ = timeout;
        None
    }

    /// Makes a waiting [`EventQueue::next`] return `None`.
    pub fn wake(&self) {}
}
