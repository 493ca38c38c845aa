//! What the events told of each service, as far as the status shows it again: since when its state is what it is, the steps of
//! its last failover, and the causes of its last failed observations.

use std::collections::{BTreeMap, VecDeque};

use failover_core::event::{Event, EventKind, Field};
use failover_core::time::Mono;

use super::render::{millis, rfc3339};
use super::status::{ServiceStatus, StepStatus};
use crate::clock::Clock;
use crate::sync::Mutex;

/// Steps kept of one failover.
const STEPS: usize = 100;
/// Failed observations kept: more than the core shows.
const FAILURES: usize = 64;

/// The stories of all services, by name.
#[derive(Default)]
pub(crate) struct Stories(Mutex<BTreeMap<String, Story>>);

#[derive(Default)]
struct Story {
    since: Mono,
    steps: Vec<(Mono, StepStatus)>,
    /// When, which check, and the cause.
    failures: VecDeque<(Mono, String, String)>,
}

impl Stories {
    /// Takes note of an event about a service.
    pub(crate) fn note(&self, service: &str, event: &Event) {
        let told = match event.kind {
            EventKind::StateChanged | EventKind::FailoverStarted | EventKind::StepStarted | EventKind::StepFinished => true,
            EventKind::Observed => text(event, "verdict") == "down",
            _ => false,
        };
        if !told {
            return;
        }
        let mut stories = self.0.lock();
        let story = stories.entry(service.to_owned()).or_default();
        match event.kind {
            EventKind::StateChanged => story.since = event.at,
            EventKind::FailoverStarted => story.steps.clear(),
            EventKind::Observed => {
                if story.failures.len() == FAILURES {
                    story.failures.pop_front();
                }
                story.failures.push_back((event.at, text(event, "check"), text(event, "reason")));
            }
            EventKind::StepStarted if story.steps.len() < STEPS => {
                let step = StepStatus {
                    name: text(event, "step"),
                    target: text(event, "target"),
                    outcome: "running".to_owned(),
                    took_ms: None,
                    message: String::new(),
                };
                story.steps.push((event.at, step));
            }
            EventKind::StepFinished => {
                let name = text(event, "step");
                let ok = event.fields.contains(&("ok", Field::Bool(true)));
                if let Some((began, step)) =
                    story.steps.iter_mut().rfind(|(_, step)| step.name == name && step.outcome == "running")
                {
                    step.outcome = String::from(if ok { "ok" } else { "failed" });
                    step.took_ms = Some(millis(event.at.since(*began)));
                    step.message = text(event, "detail");
                }
            }
            _ => {}
        }
    }

    /// Completes the status by what was noted.
    pub(crate) fn complete(&self, clock: &Clock, services: &mut [ServiceStatus]) {
        let now = clock.now();
        for service in services {
            // One at a time: whoever tells an event waits for it.
            let stories = self.0.lock();
            let story = stories.get(&service.name);
            service.state_age_ms = now.since(story.map_or(Mono::ZERO, |story| story.since)).as_millis();
            for failure in &mut service.recent_failures {
                let same = |(at, check, _): &&(Mono, String, String)| {
                    *check == failure.check && rfc3339(clock.wall(*at)) == failure.time
                };
                let found = story.and_then(|story| story.failures.iter().rfind(same));
                failure.cause = found.map_or_else(String::new, |(_, _, cause)| cause.clone());
            }
            if let (Some(story), Some(failover)) = (story, &mut service.failover) {
                failover.steps = story.steps.iter().map(|(_, step)| step.clone()).collect();
            }
        }
    }
}

fn text(event: &Event, name: &str) -> String {
    event.fields.iter().find(|(field, _)| *field == name).map_or_else(String::new, |(_, value)| match value {
        Field::Text(text) => text.clone(),
        _ => String::new(),
    })
}
