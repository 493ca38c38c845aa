//! The codes: few, by what the caller does next.

use std::ffi::{CStr, c_char};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal, $word:literal, $text:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: i32 = $value;)+

        const CODES: &[(i32, &CStr, &CStr)] = &[$(($name, $word, $text),)+];
    };
}

codes! {
    /// It was done.
    FAILOVER_OK = 0, c"ok", c"it was done";
    /// Nothing came within the time given, or failover_engine_wake was called.
    FAILOVER_EMPTY = -1, c"empty", c"nothing came in the time given: ask again";
    /// It is not over yet; the engine goes on with it. Calling again waits again.
    FAILOVER_TIMEOUT = -2, c"timeout", c"not over in the time given: call again to wait again";
    /// A pointer is NULL where an object is required.
    FAILOVER_NULL_ARG = -3, c"null_arg", c"a pointer is NULL where an object is required";
    /// An argument is out of range, no UTF-8, or names something that does not exist.
    FAILOVER_INVALID_ARG = -4, c"invalid_arg", c"an argument is out of range, no UTF-8, or names nothing that exists";
    /// The configuration cannot be used. failover_error_json tells every mistake.
    FAILOVER_CONFIG = -5, c"config", c"the configuration cannot be used";
    /// The call does not fit the engine's present state.
    FAILOVER_STATE = -6, c"state", c"the call does not fit the engine's present state";
    /// The call would wait for the thread it runs on. Use failover_engine_request_stop there.
    FAILOVER_REENTRANT = -7, c"reentrant", c"the call would wait for the thread it runs on";
    /// The engine was made by a parent process: make it after fork.
    FAILOVER_FORKED = -8, c"forked", c"the engine belongs to the parent process: make one after fork";
    /// The operating system refused something.
    FAILOVER_SYSTEM = -9, c"system", c"the operating system refused something";
    /// The task was answered already, was cancelled, or is past its deadline.
    FAILOVER_UNKNOWN_TASK = -10, c"unknown_task", c"the task is not open: answered, cancelled, or past its deadline";
    /// A bug was caught earlier: decisions are frozen. Status, stop and free still work.
    FAILOVER_FAULTED = -11, c"faulted", c"a bug was caught: decisions are frozen";
    /// A bug was caught in this call.
    FAILOVER_PANIC = -12, c"panic", c"a bug was caught in this call";
    /// This build of the library cannot do it.
    FAILOVER_UNSUPPORTED = -13, c"unsupported", c"this build of the library cannot do it";
    /// The engine understood the command and says no. The message says why.
    FAILOVER_REJECTED = -14, c"rejected", c"the engine says no to the command";
}

/// The word of a code.
pub(super) fn word(code: i32) -> &'static str {
    CODES.iter().find(|(known, ..)| *known == code).and_then(|(_, name, _)| name.to_str().ok()).unwrap_or("unknown")
}

/// The name of a code, such as "invalid_arg"; "unknown" for any other number.
///
/// Thread: any. Blocks: no. In callback: yes. Ownership: a static string.
#[unsafe(no_mangle)]
pub extern "C" fn failover_code_name(code: i32) -> *const c_char {
    CODES.iter().find(|(known, ..)| *known == code).map_or(c"unknown", |(_, name, _)| name).as_ptr()
}

/// What a code means, in one sentence; also for numbers that are no code.
///
/// Thread: any. Blocks: no. In callback: yes. Ownership: a static string.
#[unsafe(no_mangle)]
pub extern "C" fn failover_code_description(code: i32) -> *const c_char {
    CODES.iter().find(|(known, ..)| *known == code).map_or(c"no code of this library", |(.., text)| text).as_ptr()
}

/// The code at a place in the list of all, from 0, so that bindings can make their tables; 1, which is no code, behind the last.
///
/// Thread: any. Blocks: no. In callback: yes. Ownership: a plain value.
#[unsafe(no_mangle)]
pub extern "C" fn failover_code_at(index: usize) -> i32 {
    CODES.get(index).map_or(1, |(code, ..)| *code)
}
