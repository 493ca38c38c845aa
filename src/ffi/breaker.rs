//! The circuit breaker for the host's own calls.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use serde_json::json;

use super::code::{FAILOVER_FORKED, FAILOVER_INVALID_ARG, FAILOVER_OK, FAILOVER_REJECTED};
use super::error::{Fault, failover_error};
use super::{call, quiet};
use failover::{BreakerSettings, BreakerState, CircuitBreaker};
use failover_core::breaker::Token;
use failover_core::time::Span;

/// Every request is permitted.
pub const FAILOVER_BREAKER_CLOSED: i32 = 1;
/// No request is permitted until recovery_ms have passed.
pub const FAILOVER_BREAKER_OPEN: i32 = 2;
/// A few requests are permitted, to see whether it works again.
pub const FAILOVER_BREAKER_HALF_OPEN: i32 = 3;

/// The request succeeded.
pub const FAILOVER_BREAKER_SUCCESS: i32 = 1;
/// The request failed.
pub const FAILOVER_BREAKER_FAILURE: i32 = 2;
/// The request was not made after all.
pub const FAILOVER_BREAKER_CANCELLED: i32 = 3;

/// A circuit breaker for the host program's own calls. It needs no engine. Any thread may call any function on it at any time.
pub struct failover_breaker {
    breaker: CircuitBreaker,
    process: u32,
}

/// # Safety
/// NULL or a breaker of this library that was not freed, as the header demands.
unsafe fn breaker_of<'a>(breaker: *const failover_breaker) -> Result<&'a failover_breaker, Fault> {
    // SAFETY: the caller's promise.
    let breaker = unsafe { breaker.as_ref() }.ok_or_else(|| Fault::null("breaker"))?;
    if breaker.process != std::process::id() {
        let message = format!("this breaker belongs to process {}: make one after fork", breaker.process);
        return Err(Fault::new(FAILOVER_FORKED, message));
    }
    Ok(breaker)
}

/// Makes a closed breaker: it opens after `failure_threshold` failures in a row (usual: 5), permits nothing for `recovery_ms`
/// milliseconds (usual: 30000), then `half_open_requests` requests (usual: 3); when all of those succeed it closes, and one that
/// fails opens it again.
///
/// Errors: FAILOVER_INVALID_ARG when one of them is 0.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_breaker_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_breaker_new(
    failure_threshold: u32,
    recovery_ms: u32,
    half_open_requests: u32,
    out: *mut *mut failover_breaker,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            if out.is_null() {
                return Err(Fault::null("out"));
            }
            let given = [
                ("failure_threshold", failure_threshold),
                ("recovery_ms", recovery_ms),
                ("half_open_requests", half_open_requests),
            ];
            if let Some((name, _)) = given.iter().find(|(_, value)| *value == 0) {
                return Err(Fault::new(FAILOVER_INVALID_ARG, format!("{name} is 0; it has to be 1 at least")));
            }
            let recovery_timeout = Span::from_millis(recovery_ms.into());
            let breaker = CircuitBreaker::new(BreakerSettings { failure_threshold, recovery_timeout, half_open_requests });
            out.write(Box::into_raw(Box::new(failover_breaker { breaker, process: std::process::id() })));
            Ok(FAILOVER_OK)
        })
    }
}

/// Asks whether a request may be made now. With FAILOVER_OK it may: give `*token` to failover_breaker_settle afterwards, once. A
/// half-open one that is not given back comes back after recovery_ms.
///
/// Errors: FAILOVER_REJECTED (retriable): not now; failover_error_json has "retry_after_ms".
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_breaker_permit(
    breaker: *const failover_breaker,
    token: *mut u64,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            let breaker = breaker_of(breaker)?;
            if token.is_null() {
                return Err(Fault::null("token"));
            }
            match breaker.breaker.token() {
                Ok(given) => {
                    token.write(given.number());
                    Ok(FAILOVER_OK)
                }
                Err(denied) => {
                    let after = denied.retry_after;
                    let fault = Fault::new(FAILOVER_REJECTED, format!("the breaker is open; ask again in {after}"));
                    Err(fault.again().with("retry_after_ms", json!(after.as_millis())))
                }
            }
        })
    }
}

/// Reports how a permitted request ended: FAILOVER_BREAKER_SUCCESS, _FAILURE or _CANCELLED. Unknown and late tokens have no effect.
///
/// Errors: FAILOVER_INVALID_ARG for any other result.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_breaker_settle(
    breaker: *const failover_breaker,
    token: u64,
    result: i32,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            let breaker = breaker_of(breaker)?;
            let success = match result {
                FAILOVER_BREAKER_SUCCESS => Some(true),
                FAILOVER_BREAKER_FAILURE => Some(false),
                FAILOVER_BREAKER_CANCELLED => None,
                other => return Err(Fault::new(FAILOVER_INVALID_ARG, format!("{other} is no result of a request"))),
            };
            breaker.breaker.settle(Token::of_number(token), success);
            Ok(FAILOVER_OK)
        })
    }
}

/// FAILOVER_BREAKER_CLOSED, _OPEN or _HALF_OPEN; 0 for NULL and in a child of fork.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_breaker_state(breaker: *const failover_breaker) -> i32 {
    // SAFETY: the promises of the header.
    let Ok(breaker) = (unsafe { breaker_of(breaker) }) else { return 0 };
    quiet(0, || match breaker.breaker.state() {
        BreakerState::Closed => FAILOVER_BREAKER_CLOSED,
        BreakerState::Open => FAILOVER_BREAKER_OPEN,
        BreakerState::HalfOpen => FAILOVER_BREAKER_HALF_OPEN,
    })
}

/// Closes a breaker, because the program knows that something has changed. NULL is allowed.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_breaker_reset(breaker: *const failover_breaker) {
    // SAFETY: the promises of the header.
    if let Ok(breaker) = unsafe { breaker_of(breaker) } {
        quiet((), || breaker.breaker.reset());
    }
}

/// Frees a breaker. NULL is allowed.
///
/// Thread: any, once, with no other call on it.
/// Blocks: no.
/// In callback: yes.
/// Ownership: takes the breaker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_breaker_free(breaker: *mut failover_breaker) {
    if !breaker.is_null() {
        quiet((), || {
            // SAFETY: made by `failover_breaker_new` and not freed before, as the header demands.
            drop(unsafe { Box::from_raw(breaker) });
        });
    }
}
