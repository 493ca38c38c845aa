//! What the events told of each service, as far as the status shows it again: since when its state is what it is, and the steps of
//! its last failover. Only kinds and facts are taken from an event: its sentence and its fields are words for others.

use std::collections::BTreeMap;

use failover_core::event::{Event, EventKind, Fact};
use failover_core::output::Step;
use failover_core::time::{Mono, Span};

use super::render::millis;
use super::status::{ServiceStatus, StepStatus};
use crate::clock::Clock;
use crate::sync::Mutex;

/// Steps kept of one failover.
const STEPS: usize = 100;

/// The stories of all services, by name.
#[derive(Default)]
pub(crate) struct Stories(Mutex<BTreeMap<String, Story>>);

#[derive(Default)]
struct Story {
    since: Mono,
    steps: Vec<Told>,
}

/// One step that was told.
struct Told {
    began: Mono,
    step: Step,
    target: String,
    /// Once it is over: whether it did what it should, how long it took, and one line for people.
    ended: Option<(bool, Span, String)>,
}

impl Stories {
    /// Takes note of an event about a service.
    pub(crate) fn note(&self, service: &str, event: &Event) {
        if event.fact.is_none() && !matches!(event.kind, EventKind::StateChanged | EventKind::FailoverStarted) {
            return;
        }
        let mut stories = self.0.lock();
        let story = stories.entry(service.to_owned()).or_default();
        match event.kind {
            EventKind::StateChanged => story.since = event.at,
            EventKind::FailoverStarted => story.steps.clear(),
            _ => {}
        }
        match &event.fact {
            Some(Fact::StepStarted { step, target, .. }) if story.steps.len() < STEPS => {
                story.steps.push(Told { began: event.at, step: *step, target: target.clone(), ended: None });
            }
            Some(Fact::StepFinished { step, ok, detail, .. }) => {
                let running = story.steps.iter_mut().rfind(|told| told.step == *step && told.ended.is_none());
                if let Some(told) = running {
                    told.ended = Some((*ok, event.at.since(told.began), detail.clone()));
                }
            }
            Some(Fact::StepStarted { .. }) | None => {}
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
            if let (Some(story), Some(failover)) = (story, &mut service.failover) {
                failover.steps = story.steps.iter().map(Told::status).collect();
            }
        }
    }
}

impl Told {
    fn status(&self) -> StepStatus {
        let (outcome, took_ms, message) = match &self.ended {
            None => ("running", None, ""),
            Some((ok, took, message)) => (if *ok { "ok" } else { "failed" }, Some(millis(*took)), message.as_str()),
        };
        StepStatus {
            name: self.step.as_str().to_owned(),
            target: self.target.clone(),
            outcome: outcome.to_owned(),
            took_ms,
            message: message.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::status::FailoverStatus;
    use failover_core::event::{Field, Severity};
    use failover_core::id::{Generation, Seq, ServiceId};

    fn event(at: u64, kind: EventKind, fact: Option<Fact>) -> Event {
        Event {
            seq: Seq(at),
            at: Mono::from_nanos(at * 1_000_000),
            kind,
            severity: Severity::Info,
            service: Some(ServiceId(0)),
            server: None,
            generation: Generation(1),
            message: "said in other words".to_owned(),
            fields: vec![("renamed", Field::Text("in other words too".to_owned()))],
            fact,
        }
    }

    fn steps_after(events: &[Event]) -> Vec<StepStatus> {
        let stories = Stories::default();
        for event in events {
            stories.note("orders", event);
        }
        let failover = Some(FailoverStatus::default());
        let mut services = [ServiceStatus { name: "orders".to_owned(), failover, ..ServiceStatus::default() }];
        stories.complete(&Clock::start(), &mut services);
        services[0].failover.take().unwrap().steps
    }

    #[test]
    fn a_story_does_not_hang_on_the_words_of_an_event() {
        let started =
            |step, target: &str| Fact::StepStarted { step, target: target.into(), undoing: false, past_no_return: false };
        let finished = |step, ok| Fact::StepFinished { step, target: "db1".into(), ok, detail: "level 3 proven".into() };
        let of = |at, fact: Fact| event(at, fact.kind(), Some(fact));
        let first = event(1, EventKind::FailoverStarted, None);
        let told = [
            of(0, started(Step::AskHost, "db1")),
            first,
            of(2, started(Step::Fence, "db1")),
            of(7, finished(Step::Fence, true)),
            of(7, started(Step::Promote, "db2")),
        ];
        let step = |name: &str, target: &str, outcome: &str, took_ms, message: &str| StepStatus {
            name: name.into(),
            target: target.into(),
            outcome: outcome.into(),
            took_ms,
            message: message.into(),
        };
        let expected = [step("fence", "db1", "ok", Some(5.0), "level 3 proven"), step("promote", "db2", "running", None, "")];
        assert_eq!(steps_after(&told), expected);
        let failed = steps_after(&[of(1, started(Step::Promote, "db2")), of(2, finished(Step::Promote, false))]);
        assert_eq!(failed[0].outcome, "failed");
        // What only looks like a step is none.
        let mut words = event(3, EventKind::StepStarted, None);
        words.fields = vec![("step", Field::Text("fence".to_owned())), ("target", Field::Text("db1".to_owned()))];
        assert_eq!(steps_after(&[words]), []);
    }

    #[test]
    fn a_story_has_an_end() {
        let started = || Fact::StepStarted { step: Step::Fence, target: "db1".into(), undoing: false, past_no_return: false };
        let many: Vec<Event> = (0..2 * STEPS as u64).map(|at| event(at, EventKind::StepStarted, Some(started()))).collect();
        assert_eq!(steps_after(&many).len(), STEPS);
    }
}
