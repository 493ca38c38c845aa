//! Text across the boundary: borrowed in, NUL-terminated out.

use std::ffi::{CString, c_char};

use super::code::{FAILOVER_INVALID_ARG, FAILOVER_NULL_ARG};
use super::error::Fault;

/// Longer texts are not taken: a configuration has a limit of its own below this.
const LONGEST: usize = 64 * 1024 * 1024;

/// A NUL-terminated argument.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that outlives the result.
pub(super) unsafe fn string<'a>(text: *const c_char, what: &str) -> Result<&'a str, Fault> {
    // SAFETY: the caller's promise.
    unsafe { optional(text, what) }?.ok_or_else(|| Fault::new(FAILOVER_NULL_ARG, format!("{what} is NULL")))
}

/// A NUL-terminated argument that may be NULL.
///
/// # Safety
/// As for [`string`].
pub(super) unsafe fn optional<'a>(text: *const c_char, what: &str) -> Result<Option<&'a str>, Fault> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and NUL-terminated by the caller's promise.
    let text = unsafe { std::ffi::CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| Fault::new(FAILOVER_INVALID_ARG, format!("{what} is no UTF-8 text")))
}

/// An argument of a given length, without a terminator.
///
/// # Safety
/// `text` is NULL or valid for `len` bytes that outlive the result.
pub(super) unsafe fn bytes<'a>(text: *const c_char, len: usize, what: &str) -> Result<&'a str, Fault> {
    if text.is_null() {
        return Err(Fault::new(FAILOVER_NULL_ARG, format!("{what} is NULL")));
    }
    if len > LONGEST {
        return Err(Fault::new(FAILOVER_INVALID_ARG, format!("{what} has {len} bytes; {LONGEST} are the limit")));
    }
    // SAFETY: not NULL, valid for `len` bytes by the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
    std::str::from_utf8(bytes).map_err(|_| Fault::new(FAILOVER_INVALID_ARG, format!("{what} is no UTF-8 text")))
}

/// A text to be borrowed by the host. A NUL inside, which ours never have, becomes a space.
pub(super) fn owned(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| CString::new(text.replace('\0', " ")).unwrap_or_default())
}
