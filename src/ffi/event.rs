//! Events: typed accessors for what every host needs, JSON for the rest.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use std::ffi::{CString, c_char};
use std::ptr::null;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{quiet, text};
use failover::EngineEvent;
use failover_core::event::{EventKind, Severity};

/// One event of the engine. Owned by the caller: failover_event_free; in a callback borrowed for the call. Used by one thread at a
/// time.
pub struct failover_event {
    event: Arc<EngineEvent>,
    service: Option<CString>,
    server: Option<CString>,
    host: Option<CString>,
    message: CString,
    json: OnceLock<CString>,
}

// A number is never used again for something else; new kinds get new numbers. The lines come from the table in src/core/event.rs:
// UPDATE_EXPECT=1 cargo test --test main reference
// generated: kinds
/// The engine runs.
pub const FAILOVER_EVENT_ENGINE_STARTED: i32 = 1;
/// The engine stopped. This is always the last event.
pub const FAILOVER_EVENT_ENGINE_STOPPED: i32 = 2;
/// A reload took effect.
pub const FAILOVER_EVENT_CONFIG_RELOADED: i32 = 3;
/// A check finished (severity debug; coalesced under pressure).
pub const FAILOVER_EVENT_OBSERVED: i32 = 4;
/// The health of a check or a server changed.
pub const FAILOVER_EVENT_HEALTH_CHANGED: i32 = 5;
/// The state of a service's trigger changed.
pub const FAILOVER_EVENT_STATE_CHANGED: i32 = 6;
/// The other side closed a kept-open session.
pub const FAILOVER_EVENT_SESSION_CLOSED: i32 = 7;
/// The engine began to collect fresh evidence.
pub const FAILOVER_EVENT_CONFIRMATION_STARTED: i32 = 8;
/// A piece of evidence came in during a confirmation (from the host or from a standby).
pub const FAILOVER_EVENT_EVIDENCE_GATHERED: i32 = 9;
/// The failure is confirmed, with class, evidence and thresholds.
pub const FAILOVER_EVENT_FAILURE_CONFIRMED: i32 = 10;
/// The primary proved to be alive, or came back, before anything was changed.
pub const FAILOVER_EVENT_FAILOVER_SUPPRESSED: i32 = 11;
/// A named reason prevented a failover.
pub const FAILOVER_EVENT_FAILOVER_REFUSED: i32 = 12;
/// A failover waits for an operator.
pub const FAILOVER_EVENT_AWAITING_CONFIRMATION: i32 = 13;
/// A failover began.
pub const FAILOVER_EVENT_FAILOVER_STARTED: i32 = 14;
/// The engine resumes a failover that an earlier engine began, or undoes it because the primary is alive.
pub const FAILOVER_EVENT_FAILOVER_RESUMED: i32 = 15;
/// A step began.
pub const FAILOVER_EVENT_STEP_STARTED: i32 = 16;
/// A step ended.
pub const FAILOVER_EVENT_STEP_FINISHED: i32 = 17;
/// From here on the engine undoes nothing.
pub const FAILOVER_EVENT_POINT_OF_NO_RETURN: i32 = 18;
/// A failover completed, with phases, loss, fence, candidate.
pub const FAILOVER_EVENT_FAILOVER_COMPLETED: i32 = 19;
/// A failover failed, with the step, the reason, and what was undone.
pub const FAILOVER_EVENT_FAILOVER_FAILED: i32 = 20;
/// The engine undid everything that it had changed.
pub const FAILOVER_EVENT_ROLLED_BACK: i32 = 21;
/// The engine calls a person, with the reason and the evidence.
pub const FAILOVER_EVENT_MANUAL_INTERVENTION: i32 = 22;
/// The primary became known or changed.
pub const FAILOVER_EVENT_PRIMARY_KNOWN: i32 = 23;
/// A standby cannot be promoted any more, with the reason.
pub const FAILOVER_EVENT_STANDBY_NOT_READY: i32 = 24;
/// A standby can be promoted.
pub const FAILOVER_EVENT_STANDBY_READY: i32 = 25;
/// Two servers of one service take writes.
pub const FAILOVER_EVENT_TWO_PRIMARIES: i32 = 26;
/// A server belongs to another cluster (system identifier).
pub const FAILOVER_EVENT_WRONG_CLUSTER: i32 = 27;
/// A load balancer lost what a failover had changed (a reload, a restart), and the engine moves the traffic again.
pub const FAILOVER_EVENT_ROUTE_ASSERTED: i32 = 28;
/// A former primary, or another server on an older timeline, takes writes.
pub const FAILOVER_EVENT_OLD_PRIMARY_RETURNED: i32 = 29;
/// The engine cannot trust its own view, with the reason.
pub const FAILOVER_EVENT_DOUBT_RAISED: i32 = 30;
/// The engine can trust its own view again.
pub const FAILOVER_EVENT_DOUBT_CLEARED: i32 = 31;
/// A problem that would hurt a failover was found, or is over.
pub const FAILOVER_EVENT_READINESS_CHANGED: i32 = 32;
/// An operator's command was carried out or rejected.
pub const FAILOVER_EVENT_OPERATOR_COMMAND: i32 = 33;
/// The journal cannot be written, or can be written again.
pub const FAILOVER_EVENT_JOURNAL_STATE: i32 = 34;
/// The engine asks the host program to run a check.
pub const FAILOVER_EVENT_TASK_CHECK: i32 = 35;
/// The engine asks the host program to carry out an action.
pub const FAILOVER_EVENT_TASK_ACTION: i32 = 36;
/// Events were dropped because the program did not take them.
pub const FAILOVER_EVENT_OVERFLOW: i32 = 37;
/// A bug was detected. All decisions are frozen.
pub const FAILOVER_EVENT_FAULTED: i32 = 38;
/// A line of the engine's log.
pub const FAILOVER_EVENT_LOG: i32 = 39;
/// A failover was not needed: evidence shows that its old primary was serving.
pub const FAILOVER_EVENT_FALSE_POSITIVE: i32 = 40;
/// A circuit breaker of the survey opened or closed.
pub const FAILOVER_EVENT_BREAKER_CHANGED: i32 = 41;
/// A server takes writes on a newer timeline that does not continue the primary's log: a clone, or a restored backup.
pub const FAILOVER_EVENT_OTHER_BRANCH: i32 = 42;
/// A standby streams from the new primary: the engine changed its configuration.
pub const FAILOVER_EVENT_STANDBY_REPOINTED: i32 = 43;
/// A standby does not stream from the new primary, and the engine could not make it.
pub const FAILOVER_EVENT_STANDBY_NOT_REPOINTED: i32 = 44;
/// `synchronous_standby_names`, which the engine had cleared, is put back.
pub const FAILOVER_EVENT_SYNC_NAMES_RESTORED: i32 = 45;
/// An old primary begins to come back as a standby.
pub const FAILOVER_EVENT_REJOIN_STARTED: i32 = 46;
/// A step of that ended.
pub const FAILOVER_EVENT_REJOIN_STEP: i32 = 47;
/// An old primary has log that the new primary lacks. Nothing has been touched yet.
pub const FAILOVER_EVENT_LOST_TRANSACTIONS: i32 = 48;
/// The return of an old primary ended.
pub const FAILOVER_EVENT_REJOIN_ENDED: i32 = 49;
/// The set of standbys that commits wait for is another one.
pub const FAILOVER_EVENT_SYNC_SET_CHANGED: i32 = 50;
/// Fewer standbys are well than commits are to wait for, or there are enough again.
pub const FAILOVER_EVENT_SYNC_SET_SHORT: i32 = 51;
/// The engine cannot keep the set of standbys that commits wait for.
pub const FAILOVER_EVENT_SYNC_SET_NOT_KEPT: i32 = 52;
/// A new copy of the primary's data is so far. Told for each tenth.
pub const FAILOVER_EVENT_COPY_PROGRESS: i32 = 53;
/// A new copy has taken the place of a data directory, which is kept.
pub const FAILOVER_EVENT_OLD_DATA_KEPT: i32 = 54;
/// A receiver of notifications does not take them, or takes them again.
pub const FAILOVER_EVENT_NOTIFY_STATE: i32 = 55;
/// Events were not told to a receiver of notifications, and will not be.
pub const FAILOVER_EVENT_NOTIFY_LOST: i32 = 56;
/// A test message was sent to a receiver of notifications.
pub const FAILOVER_EVENT_NOTIFY_TEST: i32 = 57;
// end

/// The kinds by their numbers, with their words.
fn kinds() -> &'static [(i32, CString)] {
    static KINDS: OnceLock<Vec<(i32, CString)>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let mut kinds: Vec<_> = EventKind::ALL.iter().map(|kind| (kind.number(), text::owned(kind.as_str()))).collect();
        kinds.sort();
        kinds
    })
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
            host: event.host.as_deref().map(text::owned),
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
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_kind(event: *const failover_event) -> i32 {
    // SAFETY: NULL or an event of this library, as the header demands.
    unsafe { event.as_ref() }.map_or(0, |event| event.event.kind.number())
}

/// The word for a kind, such as "failover_completed", as in JSON and logs; "unknown" for any other number.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a static string.
#[unsafe(no_mangle)]
pub extern "C" fn failover_event_kind_name(kind: i32) -> *const c_char {
    kinds().iter().find(|(number, _)| *number == kind).map_or(c"unknown", |(_, word)| word).as_ptr()
}

/// The kind at a place in the list of all, from 0; 0, which is no kind, behind the last.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value.
#[unsafe(no_mangle)]
pub extern "C" fn failover_event_kind_at(index: usize) -> i32 {
    kinds().get(index).map_or(0, |(number, _)| *number)
}

/// Its severity: FAILOVER_SEVERITY_*.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for NULL.
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

/// Its sequence number, strictly increasing from 1. A gap means that events were dropped; an event of kind FAILOVER_EVENT_OVERFLOW fills
/// it.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for NULL and for the event of a task function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_seq(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.event.seq)
}

/// Wall-clock time in nanoseconds since 1970 (CLOCK_REALTIME), to a microsecond; for people only.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for NULL.
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
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_mono_ns(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.event.mono_ns)
}

/// The number of the failover it belongs to, or of the service's last one; 0 before the first.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_generation(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.event.generation)
}

/// The service it belongs to.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the event; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_service(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    unsafe { event.as_ref() }.and_then(|event| event.service.as_ref()).map_or(null(), |name| name.as_ptr())
}

/// The server it belongs to.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the event; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_server(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    unsafe { event.as_ref() }.and_then(|event| event.server.as_ref()).map_or(null(), |name| name.as_ptr())
}

/// The host of that server by configuration: a name, an address, or the folder of its UNIX socket, which begins with '/'.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the event; NULL where there is no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_host(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    unsafe { event.as_ref() }.and_then(|event| event.host.as_ref()).map_or(null(), |host| host.as_ptr())
}

/// The port of that server by configuration.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 where there is no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_port(event: *const failover_event) -> u16 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.and_then(|event| event.event.port).unwrap_or(0)
}

/// One sentence for people.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the event; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_message(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(null(), |event| event.message.as_ptr())
}

/// The whole event as one JSON object: seq, time, mono_ns, generation, kind, severity, service, server, its host and port, message, and
/// under "fields" the fields of its kind.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the event; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_json(event: *const failover_event) -> *const c_char {
    // SAFETY: as above.
    let Some(event) = (unsafe { event.as_ref() }) else { return null() };
    quiet(null(), || event.json.get_or_init(|| text::owned(&event.event.to_json().to_string())).as_ptr())
}

/// For FAILOVER_EVENT_TASK_CHECK and FAILOVER_EVENT_TASK_ACTION: the number for failover_task_complete. It is never reused.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for every other event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_task_id(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.field("task_id"))
}

/// For a task: the time that was left until its deadline when the event was made, in milliseconds. A later answer changes nothing.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for every other event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_deadline_ms(event: *const failover_event) -> u64 {
    // SAFETY: as above.
    unsafe { event.as_ref() }.map_or(0, |event| event.field("deadline_ms"))
}

/// Another object for the same event, to keep it beyond a callback or to give it to another thread.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: the caller's, to be freed; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_event_ref(event: *const failover_event) -> *mut failover_event {
    // SAFETY: as above.
    let Some(event) = (unsafe { event.as_ref() }) else { return std::ptr::null_mut() };
    quiet(std::ptr::null_mut(), || Box::into_raw(Box::new(failover_event::new(Arc::clone(&event.event)))))
}

/// Frees an event that was given out by failover_engine_next_event or failover_event_ref, never one of a callback. NULL is allowed.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: takes the event; its strings die with it.
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
        assert_eq!(kinds().len(), EventKind::ALL.len());
        for kind in EventKind::ALL {
            let (_, word) = kinds().iter().find(|(one, _)| *one == kind.number()).expect("a number");
            assert_eq!(word.to_str(), Ok(kind.as_str()));
        }
    }
}
