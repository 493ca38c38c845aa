//! Events: typed accessors for what every host needs, JSON for the rest.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use std::ffi::{CStr, CString, c_char};
use std::ptr::null;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{quiet, text};
use crate::core::event::{EventKind, Severity};
use crate::engine::EngineEvent;

/// One event of the engine. Owned by the caller: failover_event_free; in a callback borrowed for the call. Used by one thread at a
/// time.
pub struct failover_event {
    event: Arc<EngineEvent>,
    service: Option<CString>,
    server: Option<CString>,
    message: CString,
    json: OnceLock<CString>,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $constant:ident = $value:literal, $kind:ident, $word:literal;)+) => {
        $($(#[doc = $doc])+ pub const $constant: i32 = $value;)+

        fn number(kind: EventKind) -> i32 {
            match kind { $(EventKind::$kind => $constant,)+ }
        }

        const KINDS: &[(i32, &CStr)] = &[$(($constant, $word),)+];
    };
}

// A number is never used again for something else; new kinds get new numbers.
kinds! {
    /// The engine runs.
    FAILOVER_EVENT_ENGINE_STARTED = 1, EngineStarted, c"engine_started";
    /// The engine stopped; always the last event.
    FAILOVER_EVENT_ENGINE_STOPPED = 2, EngineStopped, c"engine_stopped";
    /// A reload took effect.
    FAILOVER_EVENT_CONFIG_RELOADED = 3, ConfigReloaded, c"config_reloaded";
    /// One finished check (severity debug; coalesced under pressure).
    FAILOVER_EVENT_OBSERVED = 4, Observed, c"observed";
    /// The health of a check or a server changed.
    FAILOVER_EVENT_HEALTH_CHANGED = 5, HealthChanged, c"health_changed";
    /// The state of a service's trigger changed.
    FAILOVER_EVENT_STATE_CHANGED = 6, StateChanged, c"state_changed";
    /// A kept-open session was closed by the other side.
    FAILOVER_EVENT_SESSION_CLOSED = 7, SessionClosed, c"session_closed";
    /// A round of fresh evidence began.
    FAILOVER_EVENT_CONFIRMATION_STARTED = 8, ConfirmationStarted, c"confirmation_started";
    /// A piece of evidence came in during a confirmation (host's word, standby's word).
    FAILOVER_EVENT_EVIDENCE_GATHERED = 9, EvidenceGathered, c"evidence_gathered";
    /// The failure is confirmed: class, evidence, thresholds.
    FAILOVER_EVENT_FAILURE_CONFIRMED = 10, FailureConfirmed, c"failure_confirmed";
    /// The primary proved to be alive, or came back, before anything was done.
    FAILOVER_EVENT_FAILOVER_SUPPRESSED = 11, FailoverSuppressed, c"failover_suppressed";
    /// A failover would have begun but for a named reason.
    FAILOVER_EVENT_FAILOVER_REFUSED = 12, FailoverRefused, c"failover_refused";
    /// A failover waits for an operator.
    FAILOVER_EVENT_AWAITING_CONFIRMATION = 13, AwaitingConfirmation, c"awaiting_confirmation";
    /// A failover began.
    FAILOVER_EVENT_FAILOVER_STARTED = 14, FailoverStarted, c"failover_started";
    /// A failover that an earlier engine began is taken up again, or is undone because the primary lives.
    FAILOVER_EVENT_FAILOVER_RESUMED = 15, FailoverResumed, c"failover_resumed";
    /// A step began.
    FAILOVER_EVENT_STEP_STARTED = 16, StepStarted, c"step_started";
    /// A step ended.
    FAILOVER_EVENT_STEP_FINISHED = 17, StepFinished, c"step_finished";
    /// From here on nothing is undone.
    FAILOVER_EVENT_POINT_OF_NO_RETURN = 18, PointOfNoReturn, c"point_of_no_return";
    /// A failover completed: phases, loss, fence, candidate.
    FAILOVER_EVENT_FAILOVER_COMPLETED = 19, FailoverCompleted, c"failover_completed";
    /// A failover failed: at which step, why, what was undone.
    FAILOVER_EVENT_FAILOVER_FAILED = 20, FailoverFailed, c"failover_failed";
    /// Everything that had been changed was undone.
    FAILOVER_EVENT_ROLLED_BACK = 21, RolledBack, c"rolled_back";
    /// A person has to come: why, with the evidence.
    FAILOVER_EVENT_MANUAL_INTERVENTION = 22, ManualIntervention, c"manual_intervention";
    /// Who is primary became known or changed.
    FAILOVER_EVENT_PRIMARY_KNOWN = 23, PrimaryKnown, c"primary_known";
    /// A standby cannot be promoted any more: why.
    FAILOVER_EVENT_STANDBY_NOT_READY = 24, StandbyNotReady, c"standby_not_ready";
    /// A standby can be promoted.
    FAILOVER_EVENT_STANDBY_READY = 25, StandbyReady, c"standby_ready";
    /// Two servers of one service take writes.
    FAILOVER_EVENT_TWO_PRIMARIES = 26, TwoPrimaries, c"two_primaries";
    /// A server belongs to another cluster (system identifier).
    FAILOVER_EVENT_WRONG_CLUSTER = 27, WrongCluster, c"wrong_cluster";
    /// A load balancer had forgotten what a failover moved (a reload, a restart): the traffic is moved again.
    FAILOVER_EVENT_ROUTE_ASSERTED = 28, RouteAsserted, c"route_asserted";
    /// A former primary was seen again.
    FAILOVER_EVENT_OLD_PRIMARY_RETURNED = 29, OldPrimaryReturned, c"old_primary_returned";
    /// Our own view may not be trusted: why.
    FAILOVER_EVENT_DOUBT_RAISED = 30, DoubtRaised, c"doubt_raised";
    /// Our own view may be trusted again.
    FAILOVER_EVENT_DOUBT_CLEARED = 31, DoubtCleared, c"doubt_cleared";
    /// Something that would hurt at failover time was found, or is mended.
    FAILOVER_EVENT_READINESS_CHANGED = 32, ReadinessChanged, c"readiness_changed";
    /// An operator's command was carried out or rejected.
    FAILOVER_EVENT_OPERATOR_COMMAND = 33, OperatorCommand, c"operator_command";
    /// The journal cannot be written, or can be again.
    FAILOVER_EVENT_JOURNAL_STATE = 34, JournalState, c"journal_state";
    /// The host program is asked to run a check.
    FAILOVER_EVENT_TASK_CHECK = 35, TaskCheck, c"task_check";
    /// The host program is asked to carry out an action.
    FAILOVER_EVENT_TASK_ACTION = 36, TaskAction, c"task_action";
    /// Events were dropped because nobody took them.
    FAILOVER_EVENT_OVERFLOW = 37, Overflow, c"overflow";
    /// A bug was caught: decisions are frozen.
    FAILOVER_EVENT_FAULTED = 38, Faulted, c"faulted";
    /// A log line of the engine.
    FAILOVER_EVENT_LOG = 39, Log, c"log";
}

/// Of interest when searching for a cause: single observations.
pub const FAILOVER_SEVERITY_DEBUG: i32 = 0;
/// Something ordinary happened.
pub const FAILOVER_SEVERITY_INFO: i32 = 1;
/// Something is not as it should be.
pub const FAILOVER_SEVERITY_WARNING: i32 = 2;
/// A person should look.
pub const FAILOVER_SEVERITY_ALARM: i32 = 3;

impl failover_event {
    pub(super) fn new(event: Arc<EngineEvent>) -> failover_event {
        failover_event {
            service: event.service.as_deref().map(text::owned),
            server: event.server.as_deref().map(text::owned),
            message: text::owned(&event.message),
            json: OnceLock::new(),
            event,
        }
    }

    fn field(&self, field: &str) -> u64 {
        self.event.fields.get(field).and_then(Value::as_u64).unwrap_or(0)
    }
}

/// What kind of event it is: FAILOVER_EVENT_*. A newer library may have kinds that are not in this header: ignore or log them.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: a plain value; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_kind(event: *const failover_event) -> i32 {
    // SAFETY: NULL or an event of this library, as the header demands.
    unsafe { event.as_ref() }.map_or(0, |event| number(event.event.kind))
}

/// The word for a kind, such as "failover_completed", as in JSON and logs; "unknown" for any other number.
///
/// Thread: any. Blocks: no. In callback: yes. Ownership: a static string.
#[unsafe(no_mangle)]
pub extern "C" fn failover_event_kind_name(kind: i32) -> *const c_char {
    KINDS.iter().find(|(number, _)| *number == kind).map_or(c"unknown", |(_, word)| word).as_ptr()
}

/// The kind at a place in the list of all, from 0; 0, which is no kind, behind the last.
///
/// Thread: any. Blocks: no. In callback: yes. Ownership: a plain value.
#[unsafe(no_mangle)]
pub extern "C" fn failover_event_kind_at(index: usize) -> i32 {
    KINDS.get(index).map_or(0, |(number, _)| *number)
}

/// How loud it is: FAILOVER_SEVERITY_*.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: a plain value; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_severity(event: *const failover_event) -> i32 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| match event.event.severity {
        Severity::Debug => FAILOVER_SEVERITY_DEBUG,
        Severity::Info => FAILOVER_SEVERITY_INFO,
        Severity::Warning => FAILOVER_SEVERITY_WARNING,
        Severity::Alarm => FAILOVER_SEVERITY_ALARM,
    })
}

/// Its place in the one order of events: strictly increasing from 1. A gap means that events were dropped; an event of kind
/// FAILOVER_EVENT_OVERFLOW stands in it.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: a plain value; 0 for NULL and for the event of a task function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_seq(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.event.seq)
}

/// Wall-clock time in nanoseconds since 1970 (CLOCK_REALTIME), to a microsecond; for people only.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: a plain value; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_time_ns(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| {
        let at = OffsetDateTime::parse(&event.event.time, &Rfc3339).ok();
        at.and_then(|at| u64::try_from(at.unix_timestamp_nanos()).ok()).unwrap_or(0)
    })
}

/// Nanoseconds on the engine's monotonic clock, since the engine was made.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: a plain value; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_mono_ns(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.event.mono_ns)
}

/// The number of the failover it belongs to, or of the service's last one; 0 before the first.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: a plain value; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_generation(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.event.generation)
}

/// The service it belongs to.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: borrowed from the event; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_service(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    unsafe { event.as_ref() }.and_then(|event| event.service.as_ref()).map_or(null(), |name| name.as_ptr())
}

/// The server it belongs to.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: borrowed from the event; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_server(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    unsafe { event.as_ref() }.and_then(|event| event.server.as_ref()).map_or(null(), |name| name.as_ptr())
}

/// One sentence for people.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: borrowed from the event; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_message(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(null(), |event| event.message.as_ptr())
}

/// The whole event as one JSON object: seq, time, mono_ns, generation, kind, severity, service, server, message, and under "fields"
/// what belongs to its kind.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: borrowed from the event; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_json(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    let Some(event) = (unsafe { event.as_ref() }) else { return null() };
    quiet(null(), || event.json.get_or_init(|| text::owned(&event.event.to_json().to_string())).as_ptr())
}

/// Of FAILOVER_EVENT_TASK_CHECK and FAILOVER_EVENT_TASK_ACTION: the number for failover_task_complete. Never used again.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: a plain value; 0 for every other event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_task_id(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.field("task_id"))
}

/// Of a task: what was left of its deadline when the event was made, in milliseconds. A later answer changes nothing.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: a plain value; 0 for every other event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_deadline_ms(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.field("deadline_ms"))
}

/// Another object for the same event, to keep it beyond a callback or to give it to another thread.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: the caller's, to be freed; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_ref(event: *const failover_event) -> *mut failover_event {
    // SAFETY: as above.
    let Some(event) = (unsafe { event.as_ref() }) else { return std::ptr::null_mut() };
    quiet(std::ptr::null_mut(), || Box::into_raw(Box::new(failover_event::new(Arc::clone(&event.event)))))
}

/// Frees an event that was given out by failover_engine_next_event or failover_event_ref, never one of a callback. NULL is allowed.
///
/// Thread: one at a time. Blocks: no. In callback: yes. Ownership: takes the event; its strings die with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_free(event: *mut failover_event) {
    if !event.is_null() {
        quiet((), || {
            // SAFETY: made by this library and not freed before, as the header demands.
            drop(unsafe { Box::from_raw(event) });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_number_and_its_word() {
        assert_eq!(KINDS.len(), EventKind::ALL.len());
        for kind in EventKind::ALL {
            let (_, word) = KINDS.iter().find(|(one, _)| *one == number(*kind)).expect("a number");
            assert_eq!(word.to_str(), Ok(kind.word()));
        }
    }
}
