//! The host's own traffic as one more observer.

use std::ffi::c_char;

use super::code::{FAILOVER_INVALID_ARG, FAILOVER_OK};
use super::engine::{failover_engine, on};
use super::error::{Fault, failover_error};
use super::text;
use failover_core::traffic::Outcome;

/// The call was served as it should be.
pub const FAILOVER_OUTCOME_OK: i32 = 1;
/// No answer came within the host's own time.
pub const FAILOVER_OUTCOME_TIMEOUT: i32 = 2;
/// The connection was refused.
pub const FAILOVER_OUTCOME_REFUSED: i32 = 3;
/// The connection ended in the middle of the call.
pub const FAILOVER_OUTCOME_RESET: i32 = 4;
/// The server answered that it does not serve now: starting, stopping, no slot left, read-only.
pub const FAILOVER_OUTCOME_REJECTED: i32 = 5;
/// Anything else: an error of the statement, of the host. It says nothing about the server.
pub const FAILOVER_OUTCOME_ERROR: i32 = 6;

/// Reports how a call of the host program to `server` of `service` ended (FAILOVER_OUTCOME_*); server NULL is the primary. One more
/// observer: a call that timed out, was refused or reset makes the engine look at once and stands for one observation of its own; served
/// calls double what a failure needs to be believed. Neither decides alone. It may be called for every call: the engine counts reports, and
/// evaluates them at most ten times a second.
///
/// Errors: FAILOVER_INVALID_ARG for an unknown name or outcome, FAILOVER_STATE when the engine does not run.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_report_outcome(
    engine: *const failover_engine,
    service: *const c_char,
    server: *const c_char,
    outcome: i32,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let service = text::string(service, "service")?;
            let server = text::optional(server, "server")?;
            let outcome = match outcome {
                FAILOVER_OUTCOME_OK => Outcome::Ok,
                FAILOVER_OUTCOME_TIMEOUT => Outcome::Timeout,
                FAILOVER_OUTCOME_REFUSED => Outcome::Refused,
                FAILOVER_OUTCOME_RESET => Outcome::Reset,
                FAILOVER_OUTCOME_REJECTED => Outcome::Rejected,
                FAILOVER_OUTCOME_ERROR => Outcome::Error,
                other => return Err(Fault::new(FAILOVER_INVALID_ARG, format!("{other} is no FAILOVER_OUTCOME_*"))),
            };
            engine.engine.report_outcome(service, server, outcome)?;
            Ok(FAILOVER_OK)
        })
    }
}
