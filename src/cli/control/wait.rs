//! An order that is waited for: one request, answered when its failover has begun, by what happens, and by how it ended. Nothing can
//! happen between two questions, and whoever goes away is waited for no longer.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use failover::{CommandReply, Engine, EngineError, EngineEvent, EventKind, FailoverStatus, RejoinStatus};
use serde_json::json;

use super::super::history::Filter;
use super::super::protocol::{DEADLINE, Kind, Line, Refused};
use super::{HEARTBEAT, Shared, gone_away, send};

/// Beyond the rest of `failover_timeout`: for a step behind the promotion that is finished, or for the compensations.
const EXTRA: Duration = Duration::from_secs(30);

/// Carries the order out, and tells what comes of it until its failover is over.
pub(super) fn begun(
    shared: &Shared,
    stream: &UnixStream,
    service: &str,
    order: impl FnOnce(&Engine) -> Result<CommandReply, EngineError>,
) -> io::Result<()> {
    let last = |line: &Line| send(stream, &line.encode(), Instant::now() + DEADLINE);
    // Before it begins, so that no step is missed.
    let next = shared.engine.status_of(service).map_or(0, |status| status.events.published);
    let reply = match order(&shared.engine) {
        Ok(reply) => reply,
        Err(error) => return last(&Line::Error(error.into())),
    };
    let Some(generation) = reply.generation else {
        return last(&Line::Error(unknown(service, "no failover is named")));
    };
    // It may be over already: then nothing is left of its time, and the events tell its end at once.
    let left_ms = failover_of(&shared.engine, service, generation).and_then(|failover| failover.left_ms).unwrap_or(0);
    let until = Instant::now() + Duration::from_millis(left_ms) + EXTRA;
    last(&Line::Result(json!({ "message": reply.message, "generation": generation, "left_ms": left_ms })))?;
    let end = End {
        is_told: &|event| is_its_end(event, service, generation),
        is_reached: &|| is_over(&shared.engine, service, generation),
        answer: &|| ended(&shared.engine, service, generation),
        unknown: &|what| unknown(service, what),
        until: Some(until),
    };
    until_its_end(shared, stream, service, next, &end)
}

/// Carries the order out, and tells what comes of it until the return is over. A rewind or a copy takes as long as it takes: what ends the waiting is
/// the end, the daemon's, or that of the client.
pub(super) fn rejoin(
    shared: &Shared,
    stream: &UnixStream,
    service: &str,
    server: &str,
    order: impl FnOnce(&Engine) -> Result<CommandReply, EngineError>,
) -> io::Result<()> {
    let last = |line: &Line| send(stream, &line.encode(), Instant::now() + DEADLINE);
    let next = shared.engine.status_of(service).map_or(0, |status| status.events.published);
    let reply = match order(&shared.engine) {
        Ok(reply) => reply,
        Err(error) => return last(&Line::Error(error.into())),
    };
    last(&Line::Result(json!({ "message": reply.message })))?;
    let end = End {
        is_told: &|event| event.kind == EventKind::RejoinEnded && event.server.as_deref() == Some(server),
        is_reached: &|| rejoin_of(&shared.engine, service, server).is_none_or(|rejoin| rejoin.outcome != "in_progress"),
        answer: &|| match rejoin_of(&shared.engine, service, server) {
            Some(rejoin) => Line::Result(json!({ "service": service, "rejoin": rejoin })),
            None => Line::Error(unknown_rejoin(service, "it is not known any more")),
        },
        unknown: &|what| unknown_rejoin(service, what),
        until: None,
    };
    until_its_end(shared, stream, service, next, &end)
}

/// What ends the waiting for one order.
struct End<'a> {
    /// The event is its end, or comes after it.
    is_told: &'a dyn Fn(&EngineEvent) -> bool,
    /// The state says that it is over.
    is_reached: &'a dyn Fn() -> bool,
    /// The last line of one that is over.
    answer: &'a dyn Fn() -> Line,
    /// The last line of one whose end is not known, and why.
    unknown: &'a dyn Fn(&str) -> Refused,
    until: Option<Instant>,
}

/// Tells the events of a service from `next` on, until the end of what was ordered, or that of the daemon or the client.
fn until_its_end(shared: &Shared, stream: &UnixStream, service: &str, mut next: u64, end: &End<'_>) -> io::Result<()> {
    let last = |line: &Line| send(stream, &line.encode(), Instant::now() + DEADLINE);
    let filter = Filter { service: Some(service.to_owned()), verbose: false };
    let mut was_over = false;
    loop {
        let batch = shared.history.after(next, &filter, HEARTBEAT);
        let silent = batch.next == next;
        next = batch.next;
        let mut text = Vec::new();
        let mut told = false;
        for event in &batch.events {
            text.extend(Line::Event(event.to_json()).encode());
            told = (end.is_told)(event);
            if told {
                break;
            }
        }
        send(stream, &text, Instant::now() + DEADLINE)?;
        if told || silent && was_over {
            return last(&(end.answer)());
        }
        // The event of its end may have been pushed out by others. Else it is on its way, and comes with the next look.
        was_over = silent && (end.is_reached)();
        if batch.over {
            return last(&Line::Error((end.unknown)("the daemon ended")));
        }
        if end.until.is_some_and(|until| Instant::now() >= until) {
            return last(&Line::Error((end.unknown)("it took longer than it may")));
        }
        if !shared.stopping.load(Ordering::SeqCst) && gone_away(stream) {
            return Ok(());
        }
    }
}

fn rejoin_of(engine: &Engine, service: &str, server: &str) -> Option<RejoinStatus> {
    engine.status_of(service).ok()?.services.pop()?.rejoin.filter(|rejoin| rejoin.server == server)
}

fn unknown_rejoin(service: &str, what: &str) -> Refused {
    Refused::new(Kind::UnknownOutcome, format!("{service}: {what}: how the return of the old primary ended is not known"))
        .remedy(format!("failover status {service}; the next engine goes on with it"))
}

/// The last event of a failover, or one of a later failover. Two of its ends are told after the state has changed.
fn is_its_end(event: &EngineEvent, service: &str, generation: u64) -> bool {
    if event.service.as_deref() != Some(service) || event.generation != generation {
        return event.service.as_deref() == Some(service) && event.generation > generation;
    }
    let word = |name: &str| event.fields.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    match event.kind {
        EventKind::FailoverCompleted | EventKind::ManualIntervention => true,
        EventKind::StateChanged => {
            word("from") == "failover_in_progress" && !matches!(word("to"), "failed_over" | "manual_intervention")
        }
        _ => false,
    }
}

fn is_over(engine: &Engine, service: &str, generation: u64) -> bool {
    let service = engine.status_of(service).ok().and_then(|mut status| status.services.pop());
    service.is_none_or(|service| {
        service.generation > generation || service.failover.is_none_or(|failover| failover.outcome != "in_progress")
    })
}

fn failover_of(engine: &Engine, service: &str, generation: u64) -> Option<FailoverStatus> {
    engine.status_of(service).ok()?.services.pop()?.failover.filter(|failover| failover.generation == generation)
}

fn ended(engine: &Engine, service: &str, generation: u64) -> Line {
    match failover_of(engine, service, generation) {
        Some(failover) => Line::Result(json!({ "service": service, "failover": failover })),
        None => Line::Error(unknown(service, "another failover came after it")),
    }
}

fn unknown(service: &str, what: &str) -> Refused {
    Refused::new(Kind::UnknownOutcome, format!("{service}: {what}: how the failover ended is not known"))
        .remedy(format!("failover status {service}; an engine that was killed takes it up again when it is started"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use failover::Severity;

    #[test]
    fn a_failover_is_waited_for_until_its_last_event() {
        let event = |kind, generation: u64| {
            let mut event = EngineEvent::blank(1, kind, Severity::Info);
            (event.service, event.generation) = (Some("orders".to_owned()), generation);
            event
        };
        let changed = |from: &str, to: &str, generation| {
            let mut event = event(EventKind::StateChanged, generation);
            event.fields.insert("from".to_owned(), from.into());
            event.fields.insert("to".to_owned(), to.into());
            event
        };
        let ends = |event: &EngineEvent| is_its_end(event, "orders", 3);
        assert!(!ends(&changed("normal", "failover_in_progress", 3)));
        assert!(!ends(&changed("failover_in_progress", "degraded", 2)), "of an earlier one");
        assert!(ends(&changed("failover_in_progress", "degraded", 3)));
        assert!(!ends(&changed("failover_in_progress", "failed_over", 3)) && ends(&event(EventKind::FailoverCompleted, 3)));
        assert!(
            !ends(&changed("failover_in_progress", "manual_intervention", 3)) && ends(&event(EventKind::ManualIntervention, 3))
        );
        assert!(ends(&changed("normal", "failing", 4)), "a later one has begun");
        assert!(!ends(&event(EventKind::StepFinished, 3)));
        let mut other = event(EventKind::FailoverCompleted, 4);
        other.service = Some("stock".to_owned());
        assert!(!ends(&other));
    }

    #[test]
    fn an_end_that_is_not_known_is_no_failure() {
        let refused = unknown("orders", "the daemon ended");
        assert_eq!(refused.message, "orders: the daemon ended: how the failover ended is not known");
        assert_eq!(crate::exit::Trouble::from(refused).code as i32, crate::exit::Code::Unreachable as i32);
    }
}
