//! What an embedded engine tells, awaited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use failover::{EngineEvent, EventKind, EventQueue};

/// The next event that fits. What came instead is in the complaint of one that does not come.
pub fn wait_for(queue: &EventQueue, what: &str, within: Duration, fits: impl Fn(&EngineEvent) -> bool) -> Arc<EngineEvent> {
    let until = Instant::now() + within;
    let mut told = Vec::new();
    while Instant::now() < until {
        let Some(event) = queue.next(Duration::from_secs(1)) else { continue };
        if fits(&event) {
            return event;
        }
        if event.kind != EventKind::Observed {
            told.push(format!("{} {}", event.kind.as_str(), event.message));
        }
    }
    panic!("{what} did not come:\n{}", told.join("\n"));
}
