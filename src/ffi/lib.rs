//! The C ABI: the only place that exports symbols and the only `unsafe` of the crate. `include/failover.h` is made from it; the
//! comments of the exported functions are the manual of the header.
//!
//! Every function goes through `call`: a child of `fork` is turned away, a panic becomes [`FAILOVER_PANIC`] and freezes the engine's
//! decisions. Nothing here writes to stdout or stderr, and no lock is held while the host's code runs.

#![allow(unsafe_code, reason = "this is the boundary")]
#![allow(clippy::missing_safety_doc, reason = "the comments are those of the C header")]

mod breaker;
mod code;
mod engine;
mod error;
mod event;
mod report;
mod status;
mod task;
mod text;
mod traffic;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use breaker::*;
pub use code::*;
pub use engine::*;
pub use error::*;
pub use event::*;
pub use report::*;
pub use status::*;
pub use task::*;
pub use traffic::*;

use error::Fault;

// A host must not die of a caught bug: the guard below is void without unwinding.
#[cfg(not(panic = "unwind"))]
compile_error!("the C ABI needs panic = \"unwind\": a caught bug must not end the host program");

/// Runs the body of an exported function: its result as a code, its failure as an error object.
///
/// # Safety
/// `err` is NULL or valid for a write.
unsafe fn call(err: *mut *mut failover_error, body: impl FnOnce() -> Result<i32, Fault>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let text = failover::panic_text(&*payload);
        Err(Fault::new(FAILOVER_PANIC, format!("a bug was caught: {text}; decisions of this engine are frozen")))
    });
    match result {
        Ok(code) => code,
        Err(fault) => {
            let code = fault.code;
            if !err.is_null() {
                // SAFETY: not NULL, so valid for a write, as every function of the header demands.
                unsafe { err.write(failover_error::new(fault)) };
            }
            code
        }
    }
}

/// As [`call`] where there is no error to tell: the fallback instead.
fn quiet<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}
