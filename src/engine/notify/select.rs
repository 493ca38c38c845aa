//! What concerns a person, what is the same as before, and what ends what.

use failover_core::event::{EventKind, Severity};
use serde_json::Value;

use crate::action::notify::Line;
use crate::config::Delivery;
use crate::engine::render::EngineEvent;

/// What a receiver is told that names no kinds: what somebody has to know or do, and no single steps of it.
const CONCERNS: &[EventKind] = &[
    EventKind::ConfigReloaded,
    EventKind::FailoverSuppressed,
    EventKind::FailoverRefused,
    EventKind::AwaitingConfirmation,
    EventKind::FailoverStarted,
    EventKind::FailoverResumed,
    EventKind::FailoverCompleted,
    EventKind::FailoverFailed,
    EventKind::RolledBack,
    EventKind::ManualIntervention,
    EventKind::StandbyNotReady,
    EventKind::TwoPrimaries,
    EventKind::WrongCluster,
    EventKind::OtherBranch,
    EventKind::RouteAsserted,
    EventKind::StandbyNotRepointed,
    EventKind::SyncNamesRestored,
    EventKind::OldPrimaryReturned,
    EventKind::FalsePositive,
    EventKind::LostTransactions,
    EventKind::RejoinEnded,
    EventKind::DoubtRaised,
    EventKind::ReadinessChanged,
    EventKind::JournalState,
    EventKind::NotifyState,
    EventKind::NotifyLost,
    EventKind::Faulted,
];

/// Whose end another event tells.
const ENDS: &[EventKind] = &[
    EventKind::HealthChanged,
    EventKind::StateChanged,
    EventKind::ConfirmationStarted,
    EventKind::FailureConfirmed,
    EventKind::FailoverRefused,
    EventKind::AwaitingConfirmation,
    EventKind::FailoverStarted,
    EventKind::FailoverResumed,
    EventKind::FailoverFailed,
    EventKind::ManualIntervention,
    EventKind::StandbyNotReady,
    EventKind::TwoPrimaries,
    EventKind::WrongCluster,
    EventKind::OtherBranch,
    EventKind::StandbyNotRepointed,
    EventKind::SyncNamesRestored,
    EventKind::SyncSetShort,
    EventKind::SyncSetNotKept,
    EventKind::OldPrimaryReturned,
    EventKind::RejoinEnded,
    EventKind::DoubtRaised,
    EventKind::ReadinessChanged,
    EventKind::BreakerChanged,
    EventKind::JournalState,
    EventKind::NotifyState,
    EventKind::Faulted,
];

/// Over as soon as the service is well again.
const TROUBLE: [&str; 10] = [
    "state_changed",
    "confirmation_started",
    "failure_confirmed",
    "failover_refused",
    "awaiting_confirmation",
    "failover_started",
    "failover_resumed",
    "failover_failed",
    "manual_intervention",
    "two_primaries",
];

/// Over as soon as the server can be promoted.
const OF_STANDBY: [&str; 6] =
    ["standby_not_ready", "standby_not_repointed", "old_primary_returned", "wrong_cluster", "other_branch", "rejoin_ended"];

/// A receiver may want to be told this: what it never is need not be looked at.
pub(crate) fn is_for_people(event: &EngineEvent) -> bool {
    event.severity > Severity::Debug
        && !matches!(event.kind, EventKind::Observed | EventKind::TaskCheck | EventKind::TaskAction | EventKind::NotifyTest)
}

/// Whether a receiver of this name is told it.
pub(super) fn wants(delivery: &Delivery, name: &str, event: &EngineEvent) -> bool {
    // Its own troubles are for the others.
    let own = matches!(event.kind, EventKind::NotifyState | EventKind::NotifyLost) && field(event, "receiver") == name;
    let kind = event.kind.as_str();
    let of_kind = if delivery.events.is_empty() {
        CONCERNS.contains(&event.kind) || event.severity == Severity::Alarm
    } else {
        delivery.events.iter().any(|wanted| wanted == kind)
    };
    let service = event.service.as_ref();
    let of_service = delivery.services.is_empty() || service.is_none_or(|service| delivery.services.contains(service));
    !own && of_kind && of_service && event.severity >= delivery.severity.severity()
}

fn field<'e>(event: &'e EngineEvent, name: &str) -> &'e str {
    event.fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn flag(event: &EngineEvent, name: &str) -> bool {
    event.fields.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// What tells an event from others of its kind about the same server.
fn reason(event: &EngineEvent) -> String {
    match event.kind {
        // Findings about the route have no server; two load balancers may have the same one.
        EventKind::ReadinessChanged if event.server.is_none() && event.fields.contains_key("findings") => event.message.clone(),
        EventKind::ReadinessChanged => field(event, "code").to_owned(),
        EventKind::StandbyNotReady => field(event, "reason").to_owned(),
        EventKind::FailoverRefused => field(event, "refusal").to_owned(),
        EventKind::BreakerChanged => field(event, "dependency").to_owned(),
        EventKind::DoubtRaised => field(event, "cause").to_owned(),
        // What became worse is news.
        EventKind::SyncSetShort => event.fields.get("there").map(Value::to_string).unwrap_or_default(),
        EventKind::SyncSetNotKept | EventKind::StandbyNotRepointed => field(event, "why").to_owned(),
        EventKind::StateChanged | EventKind::HealthChanged => field(event, "to").to_owned(),
        EventKind::NotifyState | EventKind::NotifyLost => field(event, "receiver").to_owned(),
        EventKind::Log => event.message.clone(),
        // Somebody did something: that is news each time.
        EventKind::OperatorCommand | EventKind::ConfigReloaded | EventKind::EngineStarted | EventKind::EngineStopped => {
            event.time.clone()
        }
        // Each failover is news, whatever was told of the one before.
        _ if event.generation > 0 => event.generation.to_string(),
        _ => String::new(),
    }
}

/// The line of an event.
pub(super) fn line(event: &EngineEvent, id: &str) -> Line {
    let reason = reason(event);
    let kind = event.kind.as_str();
    let of = |name: &Option<String>| name.clone().unwrap_or_default();
    let json = event.to_json().as_object().cloned().unwrap_or_default();
    Line {
        id: id.to_owned(),
        key: format!("{}/{}/{kind}/{reason}", of(&event.service), of(&event.server)),
        over: false,
        ends: event.severity > Severity::Info && ENDS.contains(&event.kind),
        severity: event.severity,
        kind: kind.to_owned(),
        reason,
        service: event.service.clone(),
        server: event.server.clone(),
        event: json,
    }
}

/// That it is over.
pub(super) fn over(told: &Line, event: &EngineEvent, id: &str) -> Line {
    let this = line(event, id);
    Line { id: id.to_owned(), over: true, ends: false, event: this.event, ..told.clone() }
}

/// Whether an event is the end of what was told.
pub(super) fn is_end(event: &EngineEvent, told: &Line) -> bool {
    let same_service = event.service == told.service;
    let same_server = same_service && event.server == told.server;
    let kind = told.kind.as_str();
    let said = |name: &str| field(event, name);
    match event.kind {
        EventKind::StateChanged => {
            same_service && TROUBLE.contains(&kind) && matches!(said("to"), "normal" | "degraded" | "failed_over")
        }
        EventKind::HealthChanged => same_server && kind == "health_changed" && said("to") == "healthy",
        EventKind::StandbyReady => same_server && OF_STANDBY.contains(&kind),
        EventKind::StandbyRepointed => same_server && kind == "standby_not_repointed",
        EventKind::SyncSetShort => same_service && kind == "sync_set_short" && !flag(event, "short"),
        // It changed the set by itself: it can keep it.
        EventKind::SyncSetChanged => same_service && kind == "sync_set_not_kept" && !flag(event, "by_others"),
        EventKind::SyncNamesRestored => same_service && kind == "sync_names_restored" && flag(event, "restored"),
        EventKind::RejoinEnded => same_server && OF_STANDBY.contains(&kind) && said("outcome") == "completed",
        EventKind::EvidenceGathered => same_server && kind == "old_primary_returned" && event.fields.contains_key("timeline"),
        EventKind::DoubtCleared => kind == "doubt_raised",
        EventKind::JournalState => kind == "journal_state" && flag(event, "writable"),
        EventKind::BreakerChanged => {
            same_server && kind == "breaker_changed" && !flag(event, "open") && told.reason == said("dependency")
        }
        EventKind::NotifyState => kind == "notify_state" && flag(event, "delivers") && told.reason == said("receiver"),
        EventKind::ReadinessChanged => {
            same_server && kind == "readiness_changed" && event.severity == Severity::Info && is_finding_over(event, told)
        }
        // What froze was the one before.
        EventKind::EngineStarted => matches!(kind, "faulted" | "doubt_raised"),
        _ => false,
    }
}

fn is_finding_over(event: &EngineEvent, told: &Line) -> bool {
    match event.fields.get("ended").and_then(Value::as_array) {
        Some(ended) => ended.iter().filter_map(Value::as_str).any(|ended| told.message().contains(ended)),
        None => field(event, "code").split(", ").any(|code| code == told.reason),
    }
}
