//! The codes: few, by what the caller does next.

use std::ffi::{CStr, c_char};

/// It was done.
pub const FAILOVER_OK: i32 = 0;
/// Nothing came within the time given, or failover_engine_wake was called.
pub const FAILOVER_EMPTY: i32 = -1;
/// The call did not end in time; the engine continues with it. Call again to wait again.
pub const FAILOVER_TIMEOUT: i32 = -2;
/// A pointer is NULL where an object is required.
pub const FAILOVER_NULL_ARG: i32 = -3;
/// An argument is out of range, no UTF-8, or names something that does not exist.
pub const FAILOVER_INVALID_ARG: i32 = -4;
/// The configuration cannot be used. failover_error_json tells every mistake.
pub const FAILOVER_CONFIG: i32 = -5;
/// The call does not fit the engine's present state.
pub const FAILOVER_STATE: i32 = -6;
/// The call would wait for the thread it runs on. Use failover_engine_request_stop there.
pub const FAILOVER_REENTRANT: i32 = -7;
/// The engine was made by a parent process: make it after fork.
pub const FAILOVER_FORKED: i32 = -8;
/// The operating system refused something.
pub const FAILOVER_SYSTEM: i32 = -9;
/// The task was answered already, was cancelled, or is past its deadline.
pub const FAILOVER_UNKNOWN_TASK: i32 = -10;
/// A bug was caught earlier: decisions are frozen. Status, stop and free still work.
pub const FAILOVER_FAULTED: i32 = -11;
/// A bug was caught in this call.
pub const FAILOVER_PANIC: i32 = -12;
/// This build of the library cannot do it.
pub const FAILOVER_UNSUPPORTED: i32 = -13;
/// The engine understood the command and says no. The message says why.
pub const FAILOVER_REJECTED: i32 = -14;

const CODES: &[(i32, &CStr, &CStr)] = &[
    (FAILOVER_OK, c"ok", c"it was done"),
    (FAILOVER_EMPTY, c"empty", c"nothing came in the time given: ask again"),
    (FAILOVER_TIMEOUT, c"timeout", c"not over in the time given: call again to wait again"),
    (FAILOVER_NULL_ARG, c"null_arg", c"a pointer is NULL where an object is required"),
    (FAILOVER_INVALID_ARG, c"invalid_arg", c"an argument is out of range, no UTF-8, or names nothing that exists"),
    (FAILOVER_CONFIG, c"config", c"the configuration cannot be used"),
    (FAILOVER_STATE, c"state", c"the call does not fit the engine's present state"),
    (FAILOVER_REENTRANT, c"reentrant", c"the call would wait for the thread it runs on"),
    (FAILOVER_FORKED, c"forked", c"the engine belongs to the parent process: make one after fork"),
    (FAILOVER_SYSTEM, c"system", c"the operating system refused something"),
    (FAILOVER_UNKNOWN_TASK, c"unknown_task", c"the task is not open: answered, cancelled, or past its deadline"),
    (FAILOVER_FAULTED, c"faulted", c"a bug was caught: decisions are frozen"),
    (FAILOVER_PANIC, c"panic", c"a bug was caught in this call"),
    (FAILOVER_UNSUPPORTED, c"unsupported", c"this build of the library cannot do it"),
    (FAILOVER_REJECTED, c"rejected", c"the engine says no to the command"),
];

/// The name of a code.
pub(super) fn name_of(code: i32) -> &'static str {
    CODES.iter().find(|(known, ..)| *known == code).and_then(|(_, name, _)| name.to_str().ok()).unwrap_or("unknown")
}

/// The name of a code, such as "invalid_arg"; "unknown" for any other number.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a static string.
#[unsafe(no_mangle)]
pub extern "C" fn failover_code_name(code: i32) -> *const c_char {
    CODES.iter().find(|(known, ..)| *known == code).map_or(c"unknown", |(_, name, _)| name).as_ptr()
}

/// The meaning of a code in one sentence. A number that is no code has a sentence too.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a static string.
#[unsafe(no_mangle)]
pub extern "C" fn failover_code_description(code: i32) -> *const c_char {
    CODES.iter().find(|(known, ..)| *known == code).map_or(c"no code of this library", |(.., text)| text).as_ptr()
}

/// The code at a place in the list of all, from 0, so that bindings can make their tables; 1, which is no code, behind the last.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value.
#[unsafe(no_mangle)]
pub extern "C" fn failover_code_at(index: usize) -> i32 {
    CODES.get(index).map_or(1, |(code, ..)| *code)
}
