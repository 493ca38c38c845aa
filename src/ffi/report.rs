//! Reports: what the command line finds by `check`, `doctor`, `validate` and `replay`, as the JSON that it prints.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use std::ffi::{CString, c_char};
use std::path::Path;
use std::ptr::null;
use std::time::Duration;

use serde_json::{Value, json};

use super::code::{FAILOVER_INVALID_ARG, FAILOVER_OK};
use super::engine::{failover_engine, on};
use super::error::{Fault, failover_error};
use super::{call, quiet, text};
use failover::{CommitId, Config, ConfigErrors, DecisionRecord, SwitchoverOptions, Validation};

/// A report. It does not change, and holds no secret. Owned by the caller: failover_report_free. Used by one thread at a
/// time.
pub struct failover_report {
    json: CString,
    passed: bool,
}

/// Gives a report out.
///
/// # Safety
/// `out` is NULL or valid for a write.
unsafe fn give(out: *mut *mut failover_report, report: &Value, passed: bool) -> Result<i32, Fault> {
    // SAFETY: the caller's promise.
    unsafe { give_text(out, &report.to_string(), passed) }
}

/// # Safety
/// `out` is NULL or valid for a write.
unsafe fn give_text(out: *mut *mut failover_report, json: &str, passed: bool) -> Result<i32, Fault> {
    is_there(out)?;
    let report = failover_report { json: text::owned(json), passed };
    // SAFETY: the caller's promise.
    unsafe { out.write(Box::into_raw(Box::new(report))) };
    Ok(FAILOVER_OK)
}

fn is_there(out: *mut *mut failover_report) -> Result<(), Fault> {
    if out.is_null() { Err(Fault::null("out")) } else { Ok(()) }
}

/// # Safety
/// As for [`give`].
unsafe fn validated(
    out: *mut *mut failover_report,
    read: &Result<Config, ConfigErrors>,
    file: Option<&str>,
) -> Result<i32, Fault> {
    // SAFETY: the caller's promise.
    unsafe { give(out, &json!(Validation::of(read, file.map(str::to_owned))), read.is_ok()) }
}

/// Every check once, and then whether a failover of each service would go through: what `failover check --json` prints (docs/STATUS.md,
/// CheckSummary). Asks each server over SQL and its checks, each host over SSH, each load balancer, and who answers through the route. Works
/// before the start and beside a running engine, and changes nothing. Checks that are registered (failover_engine_register_check) are asked;
/// of those that are offered as events counts what was last answered, and before the start they are unknown. failover_report_passed: everything is up, and nothing would stop a failover.
///
/// An engine runs one report at a time: a second call waits for the first. failover_engine_stop and failover_engine_request_stop end it.
///
/// Errors: FAILOVER_TIMEOUT when timeout_ms was not enough for all of it, and there is no report: give it more, nothing goes on meanwhile;
/// FAILOVER_STATE when the engine was stopped, also meanwhile; FAILOVER_REENTRANT on a thread of the engine; FAILOVER_SYSTEM.
///
/// Thread: any but the engine's own.
/// Blocks: up to timeout_ms; for seconds where servers or hosts do not answer.
/// In callback: no.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_check_all(
    engine: *const failover_engine,
    timeout_ms: u32,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            is_there(out)?;
            engine.serve_stop()?;
            let report = engine.engine.check_all(Duration::from_millis(timeout_ms.into()))?;
            give(out, &json!(report.summary()), report.all_up() && report.is_ready())
        })
    }
}

/// What would hurt a failover of one service, why, and what mends it: what `failover doctor --json` prints (docs/STATUS.md, DoctorReport).
/// It asks what failover_engine_check_all asks, of `service` alone, or with NULL of the one service that there is.
/// failover_report_passed: nothing is blocking.
///
/// Errors: as for failover_engine_check_all; FAILOVER_INVALID_ARG for an unknown name, and for NULL where there are several services.
///
/// Thread: any but the engine's own.
/// Blocks: up to timeout_ms; for seconds where servers or hosts do not answer.
/// In callback: no.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_doctor(
    engine: *const failover_engine,
    service: *const c_char,
    timeout_ms: u32,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            is_there(out)?;
            let service = text::optional(service, "service")?;
            engine.serve_stop()?;
            let report = engine.engine.doctor(service, Duration::from_millis(timeout_ms.into()))?;
            give(out, &json!(report), report.ready)
        })
    }
}

/// The preflight of a switchover of `service` to the server `to`, or with NULL to the best standby: what
/// `failover switchover --dry-run --json` prints (docs/SWITCHOVER.md). Changes nothing. failover_report_passed: it would begin.
///
/// Errors: as for failover_engine_confirm.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_switchover_preflight(
    engine: *const failover_engine,
    service: *const c_char,
    to: *const c_char,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            is_there(out)?;
            let mut options = SwitchoverOptions::default();
            options.to = text::optional(to, "to")?.map(str::to_owned);
            options.dry_run = true;
            let reply = engine.engine.switchover(text::string(service, "service")?, options)?;
            let passed = reply.preflight.iter().all(|line| line.level != "refused");
            give(out, &json!(reply), passed)
        })
    }
}

/// Whether a commit of `service` whose answer nobody received survived the last failovers: what `failover survived --json` prints
/// (docs/SURVIVED.md). xid: what pg_current_xact_id() said inside the transaction; timeline: the one on which it ran, or 0 where that is not
/// known. failover_report_passed: it survived; read "survived" for the other two answers, "no" and "unknown".
///
/// Errors: FAILOVER_INVALID_ARG for an unknown service, one that is no database, and a number that no transaction has; FAILOVER_STATE when the
/// engine was never started; FAILOVER_REENTRANT on a thread of the engine; FAILOVER_SYSTEM.
///
/// Since: 0.2.
///
/// Thread: any but the engine's own.
/// Blocks: for milliseconds; up to 5 s where the primary does not answer.
/// In callback: no.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_survived_xid(
    engine: *const failover_engine,
    service: *const c_char,
    xid: u64,
    timeline: u32,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            is_there(out)?;
            let commit = CommitId::Xid { xid, timeline: Some(timeline).filter(|timeline| *timeline > 0) };
            let answer = engine.engine.survived(text::string(service, "service")?, &commit)?;
            give(out, &json!(answer), answer.survived == "yes")
        })
    }
}

/// The same of everything in the log before the position `lsn` ("0/3000148") of `timeline`.
///
/// Errors: as for failover_engine_survived_xid; FAILOVER_INVALID_ARG also for a text that is no position.
///
/// Since: 0.2.
///
/// Thread: any but the engine's own.
/// Blocks: for milliseconds; up to 5 s where the primary does not answer.
/// In callback: no.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_survived_lsn(
    engine: *const failover_engine,
    service: *const c_char,
    lsn: *const c_char,
    timeline: u32,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            is_there(out)?;
            let commit = CommitId::Lsn { lsn: text::string(lsn, "lsn")?.to_owned(), timeline };
            let answer = engine.engine.survived(text::string(service, "service")?, &commit)?;
            give(out, &json!(answer), answer.survived == "yes")
        })
    }
}

/// The configuration in force, that of the last reload, with every default filled in: what `failover validate --print-effective --json`
/// prints. Secrets are masked, or named by where they are found. failover_report_passed: true.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_config(
    engine: *const failover_engine,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe { on(engine, err, |engine| give_text(out, &engine.engine.config().effective_json(), true)) }
}

/// Everything that is wrong with a configuration in JSON of `len` bytes, and what it is warned of: what `failover validate --json` prints
/// (docs/STATUS.md, Validation). A configuration with mistakes is no error of this call: failover_report_passed is false then.
///
/// Errors: FAILOVER_INVALID_ARG when it is no UTF-8.
///
/// Thread: any.
/// Blocks: while files named by the configuration are read.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_report_free; config is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_config_validate(
    config: *const c_char,
    len: usize,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            is_there(out)?;
            let config = text::bytes(config, len, "config")?;
            validated(out, &Config::parse_json(config), None)
        })
    }
}

/// As failover_config_validate, of a file in TOML or JSON. One that cannot be read is a mistake in the report.
///
/// Errors: FAILOVER_INVALID_ARG when the path is no UTF-8.
///
/// Thread: any.
/// Blocks: while files are read.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_config_validate_from_file(
    path: *const c_char,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            is_there(out)?;
            let path = text::string(path, "path")?;
            validated(out, &Config::load(Path::new(path)), Some(path))
        })
    }
}

/// A configuration in JSON of `len` bytes with every default filled in, as failover_engine_config gives that of an engine.
///
/// Errors: FAILOVER_CONFIG (failover_error_json tells every mistake at once), FAILOVER_INVALID_ARG.
///
/// Thread: any.
/// Blocks: while files named by the configuration are read.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_report_free; config is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_config_effective(
    config: *const c_char,
    len: usize,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            is_there(out)?;
            let config = text::bytes(config, len, "config")?;
            give_text(out, &Config::parse_json(config)?.effective_json(), true)
        })
    }
}

/// As failover_config_effective, of a file in TOML or JSON.
///
/// Errors: as for failover_config_effective; FAILOVER_CONFIG also when the file cannot be read.
///
/// Thread: any.
/// Blocks: while files are read.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_config_effective_from_file(
    path: *const c_char,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            is_there(out)?;
            let path = text::string(path, "path")?;
            give_text(out, &Config::load(Path::new(path))?.effective_json(), true)
        })
    }
}

/// Replays the record of a decision: what `failover replay --json` prints (docs/STATUS.md, ReplayReport). Engines leave a
/// record of every failover that begins or is refused in evidence/ of their state_dir. failover_report_passed: this version comes to the same
/// decision, bit for bit.
///
/// Errors: FAILOVER_INVALID_ARG when the file cannot be read, or is no record that this version understands.
///
/// Thread: any.
/// Blocks: while the file is read, and for some milliseconds of work.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_replay(
    path: *const c_char,
    out: *mut *mut failover_report,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            is_there(out)?;
            let path = text::string(path, "path")?;
            let record = DecisionRecord::load(Path::new(path)).map_err(|why| Fault::new(FAILOVER_INVALID_ARG, why))?;
            let report = record.report();
            give(out, &json!(report), report.same)
        })
    }
}

/// The report as one JSON object; each function that gives one says which.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the report; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_report_json(report: *const failover_report) -> *const c_char {
    // SAFETY: NULL or a report of this library, as the header demands.
    unsafe { report.as_ref() }.map_or(null(), |report| report.json.as_ptr())
}

/// True if the report is good, as the exit code of the command line shows it. Each function that gives a report says what this means.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; false for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_report_passed(report: *const failover_report) -> bool {
    // SAFETY: as above.
    unsafe { report.as_ref() }.is_some_and(|report| report.passed)
}

/// Frees a report. NULL is allowed.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: takes the report; its text dies with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_report_free(report: *mut failover_report) {
    if !report.is_null() {
        quiet((), || {
            // SAFETY: made by this library and not freed before, as the header demands.
            drop(unsafe { Box::from_raw(report) });
        });
    }
}
