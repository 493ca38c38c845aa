//! Checks and actions that the host program carries out itself: as events to be answered, or by functions.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::code::FAILOVER_OK;
use super::engine::{Userdata, failover_engine, failover_free_fn, on};
use super::error::{Fault, failover_error};
use super::event::failover_event;
use super::text;
use failover::{ActionAnswer, HostAnswer, TaskAnswer};

/// For a check: it answered, and the answer was right.
pub const FAILOVER_TASK_UP: i32 = 1;
/// For a check: it is proven to be alive, and does not serve.
pub const FAILOVER_TASK_IMPAIRED: i32 = 2;
/// For a check: it did not answer, or not as a healthy server does. Only this answer counts as a failure.
pub const FAILOVER_TASK_DOWN: i32 = 3;
/// For a check: it could not be asked. For an action: it failed, and may have had a part of its effect. Every number that is not in this
/// list means the same.
pub const FAILOVER_TASK_UNKNOWN: i32 = 4;
/// For an action: it did its work, and this is proven; for "fence" this means that power or volume was cut.
pub const FAILOVER_TASK_DONE: i32 = 5;
/// For an action: it failed, and it is proven that it had no effect.
pub const FAILOVER_TASK_NO_EFFECT: i32 = 6;

/// Room for the detail that a task function may write.
pub const FAILOVER_DETAIL_SIZE: usize = 1024;

/// A check or an action of the host: returns FAILOVER_TASK_*, and may write one NUL-terminated line into `detail`, which has room for
/// FAILOVER_DETAIL_SIZE bytes and is empty before. `task` is an event of kind FAILOVER_EVENT_TASK_CHECK or _ACTION, valid during the
/// call. Called on threads of the engine that are kept for this, several at once; never on those that check or decide.
pub type failover_task_fn =
    Option<unsafe extern "C" fn(userdata: *mut c_void, task: *const failover_event, detail: *mut c_char) -> i32>;

struct TaskFunction {
    function: unsafe extern "C" fn(*mut c_void, *const failover_event, *mut c_char) -> i32,
    userdata: Userdata,
}

impl TaskFunction {
    fn run(&self, event: &failover_event) -> (i32, String) {
        let mut detail = [0u8; FAILOVER_DETAIL_SIZE];
        // SAFETY: function and userdata were registered together; event and buffer outlive the call.
        let code = unsafe { (self.function)(self.userdata.pointer, event, detail.as_mut_ptr().cast()) };
        let end = detail.iter().position(|byte| *byte == 0).unwrap_or(detail.len());
        (code, String::from_utf8_lossy(&detail[..end]).into_owned())
    }
}

fn check_answer(code: i32, detail: String) -> HostAnswer {
    match code {
        FAILOVER_TASK_UP => HostAnswer::Up(detail),
        FAILOVER_TASK_IMPAIRED => HostAnswer::Impaired(detail),
        FAILOVER_TASK_DOWN => HostAnswer::Down(detail),
        FAILOVER_TASK_UNKNOWN => HostAnswer::Unknown(detail),
        other => HostAnswer::Unknown(format!("{other} is no answer of a check; {detail}")),
    }
}

fn action_answer(code: i32, detail: String) -> ActionAnswer {
    match code {
        FAILOVER_TASK_DONE => ActionAnswer::Done(detail),
        FAILOVER_TASK_NO_EFFECT => ActionAnswer::NoEffect(detail),
        FAILOVER_TASK_UNKNOWN => ActionAnswer::Unknown(detail),
        other => ActionAnswer::Unknown(format!("{other} is no answer of an action; {detail}")),
    }
}

/// Has checks of kind "host" called `name` (their "function", or their own name) answered by `function`. One that has not returned by
/// the deadline is unknown, with an alarm that names it, and is not called again before it is back; it counts for nothing.
///
/// Every name that checks ask for has to be registered or offered (failover_engine_offer_check) before the start, which fails
/// otherwise. Once the engine runs, what a later configuration asks for can be registered for failover_engine_reload. The status has
/// the names of the present one under "host_functions", also before the start.
///
/// Errors: before the start FAILOVER_INVALID_ARG when no check has that name; then FAILOVER_STATE when the name is answered already, and
/// after the stop.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: userdata is the host's; userdata_free (may be NULL) is called exactly once: when the function is replaced, when
///   the engine is freed, or here if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_register_check(
    engine: *const failover_engine,
    name: *const c_char,
    function: failover_task_fn,
    userdata: *mut c_void,
    userdata_free: failover_free_fn,
    err: *mut *mut failover_error,
) -> i32 {
    let userdata = Userdata::new(userdata, userdata_free);
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let function = function.ok_or_else(|| Fault::null("function"))?;
            let name = text::string(name, "name")?;
            let task = Arc::new(TaskFunction { function, userdata });
            let clock = engine.engine.clock();
            engine.engine.register_check(name, move |check| {
                let event = failover_event::new(Arc::new(failover::check_event(check, &clock)));
                let (code, detail) = task.run(&event);
                check_answer(code, detail)
            })?;
            Ok(FAILOVER_OK)
        })
    }
}

/// As failover_engine_register_check, but each run of such a check is an event of kind FAILOVER_EVENT_TASK_CHECK, to be answered by
/// failover_task_complete. One that is not answered by its deadline is unknown, and counts for nothing.
///
/// Errors: as for failover_engine_register_check; offering again what was offered is none.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_offer_check(
    engine: *const failover_engine,
    name: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.offer_check(text::string(name, "name")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Has the step `step` of every service carried out by `function`: "promote" instead of the engine's own way; "fence" where
/// fence.command would be asked, so it must cut power or volume; "pre_checks" before what is configured, and "route_out",
/// "route_restore", "route_in" beside it. An action may be asked again with the same generation: (generation, step) is its idempotency
/// key, and one with a lower generation than the highest seen must be refused.
///
/// One that has not returned by its deadline (failover_event_deadline_ms) has failed: the failover_timeout of the service for
/// "pre_checks" (usual: 120 s), fence.command_timeout for "fence" (10 s), promote.timeout for "promote" (60 s), 3 s for the steps of the
/// route, 0.2 s for "route_out" before a fence.
///
/// Errors: FAILOVER_STATE once started; FAILOVER_INVALID_ARG for any other step.
///
/// Thread: any, before the start.
/// Blocks: no.
/// In callback: yes.
/// Ownership: as for failover_engine_register_check.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_register_action(
    engine: *const failover_engine,
    step: *const c_char,
    function: failover_task_fn,
    userdata: *mut c_void,
    userdata_free: failover_free_fn,
    err: *mut *mut failover_error,
) -> i32 {
    let userdata = Userdata::new(userdata, userdata_free);
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let function = function.ok_or_else(|| Fault::null("function"))?;
            let step = text::string(step, "step")?;
            let task = Arc::new(TaskFunction { function, userdata });
            let clock = engine.engine.clock();
            engine.engine.register_action(step, move |action| {
                let event = failover_event::new(Arc::new(failover::action_event(action, &clock)));
                let (code, detail) = task.run(&event);
                action_answer(code, detail)
            })?;
            Ok(FAILOVER_OK)
        })
    }
}

/// As failover_engine_register_action, but the step is an event of kind FAILOVER_EVENT_TASK_ACTION, to be answered by
/// failover_task_complete.
///
/// Errors: FAILOVER_STATE once started; FAILOVER_INVALID_ARG for any other step.
///
/// Thread: any, before the start.
/// Blocks: no.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_offer_action(
    engine: *const failover_engine,
    step: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.offer_action(text::string(step, "step")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Answers a task: `result` is FAILOVER_TASK_*, `detail` one line of `len` bytes (NULL with 0: none). No answer by the deadline: a check is
/// unknown, which counts for nothing; of an action the step failed.
///
/// Errors: FAILOVER_UNKNOWN_TASK for a late, repeated or invented task: without any effect.
///
/// Thread: any, at any time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: detail is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_task_complete(
    engine: *const failover_engine,
    task_id: u64,
    result: i32,
    detail: *const c_char,
    len: usize,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let detail = if detail.is_null() && len == 0 { "" } else { text::bytes(detail, len, "detail")? };
            let detail: String = detail.chars().take(FAILOVER_DETAIL_SIZE).collect();
            let answer = if engine.engine.is_check_task(task_id)? {
                TaskAnswer::Check(check_answer(result, detail))
            } else {
                TaskAnswer::Action(action_answer(result, detail))
            };
            engine.engine.complete_task(task_id, answer)?;
            Ok(FAILOVER_OK)
        })
    }
}
