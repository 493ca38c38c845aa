//! Errors as objects: no thread keeps a last error.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use std::ffi::{CString, c_char};
use std::ptr::null;

use serde_json::json;

use super::code::{
    FAILOVER_CONFIG, FAILOVER_FAULTED, FAILOVER_INVALID_ARG, FAILOVER_NULL_ARG, FAILOVER_REENTRANT, FAILOVER_REJECTED,
    FAILOVER_STATE, FAILOVER_SYSTEM, FAILOVER_TIMEOUT, FAILOVER_UNKNOWN_TASK,
};
use super::{quiet, text};
use failover::{ConfigErrors, EngineError};

/// Why a call failed. Owned by the caller: failover_error_free. Used by one thread at a time.
pub struct failover_error {
    code: i32,
    message: CString,
    path: Option<CString>,
    json: CString,
    retriable: bool,
}

/// A failure on its way out.
pub(super) struct Fault {
    pub(super) code: i32,
    message: String,
    path: Option<String>,
    details: Option<serde_json::Value>,
    retriable: bool,
}

impl Fault {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), path: None, details: None, retriable: false }
    }

    /// The same call may succeed later.
    pub(super) fn again(self) -> Fault {
        Fault { retriable: true, ..self }
    }

    /// One more member of the error's JSON.
    pub(super) fn with(mut self, name: &str, value: serde_json::Value) -> Fault {
        let details = self.details.get_or_insert_with(|| json!({ "errors": [] }));
        if let Some(details) = details.as_object_mut() {
            details.insert(name.to_owned(), value);
        }
        self
    }

    pub(super) fn null(what: &str) -> Fault {
        Fault::new(FAILOVER_NULL_ARG, format!("{what} is NULL"))
    }
}

impl From<ConfigErrors> for Fault {
    fn from(errors: ConfigErrors) -> Fault {
        let first = errors.errors.first();
        let message = match first {
            Some(problem) if errors.errors.len() > 1 => format!("{problem} (and {} more)", errors.errors.len() - 1),
            Some(problem) => problem.to_string(),
            None => errors.to_string(),
        };
        let path = first.map(|problem| problem.path.clone());
        let details = serde_json::to_value(&errors).ok();
        Fault { path, details, ..Fault::new(FAILOVER_CONFIG, message) }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Fault {
        let code = match &error {
            EngineError::Config(_) => FAILOVER_CONFIG,
            EngineError::InvalidArgument(_) => FAILOVER_INVALID_ARG,
            EngineError::State(_) | EngineError::AlreadyRunning { .. } => FAILOVER_STATE,
            EngineError::Rejected(_) => FAILOVER_REJECTED,
            EngineError::Reentrant => FAILOVER_REENTRANT,
            EngineError::Timeout(..) => FAILOVER_TIMEOUT,
            EngineError::UnknownTask(_) => FAILOVER_UNKNOWN_TASK,
            EngineError::Faulted(_) => FAILOVER_FAULTED,
            // Or a kind that is newer than this interface.
            EngineError::System { .. } | _ => FAILOVER_SYSTEM,
        };
        let retriable = error.is_retriable();
        match error {
            EngineError::Config(errors) => errors.into(),
            other => Fault { retriable, ..Fault::new(code, other.to_string()) },
        }
    }
}

impl failover_error {
    pub(super) fn new(fault: Fault) -> *mut failover_error {
        let Fault { code, message, path, details, retriable } = fault;
        let name = super::code::name_of(code);
        let mut object = json!({ "code": name, "number": code, "message": message, "path": path, "retriable": retriable });
        let details = details.unwrap_or_else(|| json!({ "errors": [] }));
        if let (Some(object), serde_json::Value::Object(details)) = (object.as_object_mut(), details) {
            object.extend(details);
        }
        let error = failover_error {
            code,
            message: text::owned(&message),
            path: path.as_deref().map(text::owned),
            json: text::owned(&object.to_string()),
            retriable,
        };
        Box::into_raw(Box::new(error))
    }
}

/// The code of an error; FAILOVER_NULL_ARG for NULL.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_error_code(error: *const failover_error) -> i32 {
    // SAFETY: NULL or an error of this library, as the header demands.
    unsafe { error.as_ref() }.map_or(FAILOVER_NULL_ARG, |error| error.code)
}

/// What went wrong and what to do, in one line.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the error; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_error_message(error: *const failover_error) -> *const c_char {
    // SAFETY: as above.
    unsafe { error.as_ref() }.map_or(null(), |error| error.message.as_ptr())
}

/// Of a configuration error: the JSON pointer to the first value that is wrong, such as "/services/0/name".
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the error; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_error_path(error: *const failover_error) -> *const c_char {
    // SAFETY: as above.
    unsafe { error.as_ref() }.and_then(|error| error.path.as_ref()).map_or(null(), |path| path.as_ptr())
}

/// The whole error as one JSON object: code, message, path, retriable, and under "errors" every mistake of a configuration, each with
/// path, value, reason and remedy.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the error; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_error_json(error: *const failover_error) -> *const c_char {
    // SAFETY: as above.
    unsafe { error.as_ref() }.map_or(null(), |error| error.json.as_ptr())
}

/// True if the same call may succeed later without a change.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_error_is_retriable(error: *const failover_error) -> bool {
    // SAFETY: as above.
    unsafe { error.as_ref() }.is_some_and(|error| error.retriable)
}

/// Frees an error. NULL is allowed.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: takes the error; its strings die with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_error_free(error: *mut failover_error) {
    if !error.is_null() {
        quiet((), || {
            // SAFETY: made by `failover_error::new` and not freed before, as the header demands.
            drop(unsafe { Box::from_raw(error) });
        });
    }
}
