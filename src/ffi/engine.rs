//! The engine: made, started, asked, told, stopped, freed.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use super::code::{FAILOVER_EMPTY, FAILOVER_FORKED, FAILOVER_OK, FAILOVER_STATE};
use super::error::{Fault, failover_error};
use super::event::failover_event;
use super::status::failover_status;
use super::{call, quiet, text};
use failover::{
    CloneOptions, Config, Engine, EngineError, EventQueue, ForceOptions, PauseOptions, RejoinOptions, SwitchoverOptions,
};

/// The version of this interface: the major number in the upper 16 bits, the minor in the lower. Within one major number things are
/// only added, and each addition raises the minor one.
pub const FAILOVER_ABI_VERSION: u32 = 2;
/// The version of the library that this header came with: major * 1000000 + minor * 1000 + patch.
pub const FAILOVER_VERSION_NUMBER: u32 = 1000;
/// For timeout_ms: without end.
pub const FAILOVER_FOREVER: u32 = u32::MAX;
/// For failover_engine_force: nothing of a primary that lives, else the configured limit (data.max_lag_bytes).
pub const FAILOVER_LOSS_CONFIGURED: u64 = u64::MAX;

/// An engine. Any thread may call any function on it at any time.
pub struct failover_engine {
    pub(super) engine: Engine,
    process: u32,
    events: Mutex<Consumer>,
    stop: Arc<StopCall>,
    /// A thread of the engine waits for the stop.
    is_stop_served: Mutex<bool>,
}

/// Who takes the events.
enum Consumer {
    /// A queue that fills from the beginning, until it is known who takes them.
    Queue(Arc<EventQueue>, bool),
    Callback(Arc<Slot>),
}

/// A stop that may be asked for from a signal handler: nothing but a store and a write.
struct StopCall {
    asked: AtomicBool,
    wake: OwnedFd,
}

impl StopCall {
    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        // A full counter wakes as well.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// A function for events. One thread of the engine calls it for each event, one at a time.
pub type failover_event_fn = Option<unsafe extern "C" fn(userdata: *mut c_void, event: *const failover_event)>;
/// The library calls it once when it needs the userdata no more. May be NULL.
pub type failover_free_fn = Option<unsafe extern "C" fn(userdata: *mut c_void)>;

/// Userdata of the host, let go of exactly once.
pub(super) struct Userdata {
    pub(super) pointer: *mut c_void,
    free: failover_free_fn,
}

// SAFETY: the header demands that functions and userdata given to the engine may be used on its threads.
unsafe impl Send for Userdata {}
// SAFETY: as above.
unsafe impl Sync for Userdata {}

impl Userdata {
    pub(super) fn new(pointer: *mut c_void, free: failover_free_fn) -> Userdata {
        Userdata { pointer, free }
    }
}

impl Drop for Userdata {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: registered for this pointer, and this is the only call.
            unsafe { free(self.pointer) };
        }
    }
}

struct Callback {
    function: unsafe extern "C" fn(*mut c_void, *const failover_event),
    userdata: Userdata,
}

/// The callback that is registered now.
struct Slot(Mutex<Option<Arc<Callback>>>);

impl failover_engine {
    fn of(engine: Engine) -> Result<*mut failover_engine, Fault> {
        let queue = engine.queue()?;
        let wake =
            eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| EngineError::system("cannot make an event descriptor", error))?;
        let handle = failover_engine {
            engine,
            process: std::process::id(),
            events: Mutex::new(Consumer::Queue(Arc::new(queue), false)),
            stop: Arc::new(StopCall { asked: AtomicBool::new(false), wake }),
            is_stop_served: Mutex::new(false),
        };
        Ok(Arc::into_raw(Arc::new(handle)).cast_mut())
    }

    /// The queue, for a host that polls.
    fn queue(&self) -> Result<Arc<EventQueue>, Fault> {
        match &mut *self.events.lock() {
            Consumer::Queue(queue, taken) => {
                *taken = true;
                Ok(Arc::clone(queue))
            }
            Consumer::Callback(_) => Err(Fault::new(
                FAILOVER_STATE,
                "the events go to a callback (failover_engine_on_event): an engine has one consumer of events",
            )),
        }
    }

    fn listen(&self, callback: Callback) -> Result<(), Fault> {
        let mut events = self.events.lock();
        let before = match &*events {
            Consumer::Queue(_, true) => {
                let why = "the events are taken by failover_engine_next_event: an engine has one consumer of events";
                // Let go of without the lock: it is the host's code that runs then.
                drop(events);
                drop(callback);
                return Err(Fault::new(FAILOVER_STATE, why));
            }
            Consumer::Callback(slot) => slot.0.lock().replace(Arc::new(callback)),
            Consumer::Queue(_, false) => {
                let slot = Arc::new(Slot(Mutex::new(Some(Arc::new(callback)))));
                let served = Arc::clone(&slot);
                self.engine.on_event(move |event| {
                    let callback = served.0.lock().clone();
                    if let Some(callback) = callback {
                        let event = failover_event::new(Arc::new(event.clone()));
                        // SAFETY: function and userdata were registered together, and the event outlives the call.
                        unsafe { (callback.function)(callback.userdata.pointer, &raw const event) };
                    }
                })?;
                *events = Consumer::Callback(slot);
                None
            }
        };
        drop(events);
        drop(before);
        Ok(())
    }

    fn start(&self) -> Result<(), Fault> {
        if self.stop.asked.load(Ordering::SeqCst) {
            self.engine.request_stop();
        }
        self.engine.start()?;
        self.serve_stop().inspect_err(|_| {
            let _ = self.engine.stop(Duration::from_secs(5));
        })
    }

    /// From now on a stop that is asked for reaches the engine, also before its start.
    pub(super) fn serve_stop(&self) -> Result<(), Fault> {
        let mut served = self.is_stop_served.lock();
        if *served {
            return Ok(());
        }
        let stop = Arc::clone(&self.stop);
        self.engine.serve_stop(move || {
            // Woken by failover_engine_request_stop, and by every other way to stop.
            while !stop.asked.load(Ordering::SeqCst) {
                let _ = rustix::io::read(&stop.wake, &mut [0u8; 8]);
            }
        })?;
        *served = true;
        Ok(())
    }
}

/// The engine behind a handle: there, and of this process.
///
/// # Safety
/// NULL or an engine of this library that was not freed, as the header demands.
pub(super) unsafe fn engine_of<'a>(engine: *const failover_engine) -> Result<&'a failover_engine, Fault> {
    // SAFETY: the caller's promise.
    let engine = unsafe { engine.as_ref() }.ok_or_else(|| Fault::null("engine"))?;
    if engine.process != std::process::id() {
        return Err(Fault::new(
            FAILOVER_FORKED,
            format!("this engine belongs to process {}: threads do not survive fork; make an engine after it", engine.process),
        ));
    }
    Ok(engine)
}

/// Runs the body of a function on an engine; a bug that it meets freezes the engine's decisions.
///
/// # Safety
/// `engine` as for [`engine_of`]; `err` is NULL or valid for a write.
pub(super) unsafe fn on<'a>(
    engine: *const failover_engine,
    err: *mut *mut failover_error,
    body: impl FnOnce(&'a failover_engine) -> Result<i32, Fault>,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        call(err, || {
            let engine = engine_of(engine)?;
            // A callback may free it while another thread is still inside the start that it was registered for.
            Arc::increment_strong_count(engine);
            let _held = Arc::from_raw(engine);
            match catch_unwind(AssertUnwindSafe(|| body(engine))) {
                Ok(result) => result,
                Err(payload) => {
                    engine.engine.freeze(&failover::panic_text(&*payload));
                    std::panic::resume_unwind(payload)
                }
            }
        })
    }
}

/// The version of the interface that the library has: FAILOVER_ABI_VERSION of the header it was built with. A program needs the same
/// major number and at least the minor one of its own header.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value.
#[unsafe(no_mangle)]
pub extern "C" fn failover_abi_version() -> u32 {
    FAILOVER_ABI_VERSION
}

/// The version of the library, such as "1.2.3".
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a static string.
#[unsafe(no_mangle)]
pub extern "C" fn failover_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Makes an engine from a configuration in JSON of `len` bytes (docs/CONFIG.md; the schema is failover.schema.json). It starts nothing: no
/// thread, no connection. The engine keeps events from here on until the program takes them.
///
/// Errors: FAILOVER_CONFIG (failover_error_json tells every mistake at once), FAILOVER_INVALID_ARG, FAILOVER_SYSTEM.
///
/// Thread: any.
/// Blocks: while files named by the configuration are read.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_engine_free; config is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_new(
    config: *const c_char,
    len: usize,
    out: *mut *mut failover_engine,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            if out.is_null() {
                return Err(Fault::null("out"));
            }
            let text = text::bytes(config, len, "config")?;
            let config = Config::parse_json(text)?;
            out.write(failover_engine::of(Engine::new(config)?)?);
            Ok(FAILOVER_OK)
        })
    }
}

/// As failover_engine_new, from a file in TOML or JSON: what `failover run` reads.
///
/// Thread: any.
/// Blocks: while files are read.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_engine_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_new_from_file(
    path: *const c_char,
    out: *mut *mut failover_engine,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        call(err, || {
            if out.is_null() {
                return Err(Fault::null("out"));
            }
            let path = text::string(path, "path")?;
            let config = Config::load(Path::new(path))?;
            out.write(failover_engine::of(Engine::new(config)?)?);
            Ok(FAILOVER_OK)
        })
    }
}

/// Takes the state directory, starts the threads and begins to watch. An engine starts once. Its threads block every signal; the
/// caller's mask is as before.
///
/// Errors: FAILOVER_STATE when it was started before, when a stop was asked for, and when another engine holds the state directory (then
/// retriable); FAILOVER_INVALID_ARG when a check of kind "host" asks for a function that was neither registered
/// (failover_engine_register_check) nor offered (failover_engine_offer_check); FAILOVER_SYSTEM when threads cannot be made. A journal that
/// cannot be written is no error here: the engine watches, begins no failover, and reports why.
///
/// Thread: any.
/// Blocks: for milliseconds.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_start(engine: *const failover_engine, err: *mut *mut failover_error) -> i32 {
    // SAFETY: the promises of the header.
    unsafe { on(engine, err, |engine| engine.start().map(|()| FAILOVER_OK)) }
}

/// Stops: a failover before its point of no return is undone, one behind it finishes its step; then every thread ends. With
/// FAILOVER_OK no thread of the engine exists, no callback runs or will run, and engine_stopped was the last event. Stopping again is
/// FAILOVER_OK.
///
/// Errors: FAILOVER_TIMEOUT: it is still stopping; call again to wait again. FAILOVER_REENTRANT on a thread of the engine.
///
/// Thread: any but the engine's own.
/// Blocks: up to timeout_ms (0: not at all; FAILOVER_FOREVER).
/// In callback: no, use failover_engine_request_stop.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_stop(
    engine: *const failover_engine,
    timeout_ms: u32,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            // First, so that nobody waits for the thread that waits for it; on an engine's own thread it is no more than a request.
            if !engine.engine.is_own_thread() {
                engine.stop.ask();
            }
            engine.engine.stop(Duration::from_millis(timeout_ms.into()))?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Begins to stop and returns at once. The only function that a signal handler may call. On NULL, and in a child of fork, nothing
/// happens. Before the start it makes the start fail.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_request_stop(engine: *const failover_engine) {
    // SAFETY: NULL or an engine that was not freed, as the header demands.
    if let Some(engine) = unsafe { engine.as_ref() }
        && engine.process == std::process::id()
    {
        engine.stop.ask();
    }
}

/// Frees an engine. One that runs is stopped first, for five seconds at most: call failover_engine_stop before. On a thread of the
/// engine (a callback) it does not wait: the last of its threads to end frees what is left. In a child of fork it frees no memory, on
/// purpose, and lets go of the lock on the state directory, which the child would hold beyond its parent's death: a program that forks and
/// does not execute calls it there, for example by pthread_atfork. NULL is allowed.
///
/// Thread: any, once, with no other call on it.
/// Blocks: up to five seconds if it runs.
/// In callback: yes.
/// Ownership: takes the engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_free(engine: *mut failover_engine) {
    // SAFETY: NULL or an engine that was not freed, as the header demands.
    let Some(handle) = (unsafe { engine.as_ref() }) else { return };
    if handle.process != std::process::id() {
        quiet((), || handle.engine.let_go());
        return;
    }
    quiet((), || {
        handle.stop.ask();
        // SAFETY: made by `failover_engine::of`, and nobody else uses it any more.
        drop(unsafe { Arc::from_raw(engine) });
    });
}

/// The present state of the engine and all services.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_status_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_status(
    engine: *const failover_engine,
    out: *mut *mut failover_status,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            if out.is_null() {
                return Err(Fault::null("out"));
            }
            out.write(Box::into_raw(Box::new(failover_status::new(engine.engine.status()))));
            Ok(FAILOVER_OK)
        })
    }
}

/// As failover_engine_status, for this service alone: the cost does not grow with the number of services.
///
/// Errors: FAILOVER_INVALID_ARG for an unknown name.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: *out is the caller's, to be given to failover_status_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_status_of(
    engine: *const failover_engine,
    service: *const c_char,
    out: *mut *mut failover_status,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            if out.is_null() {
                return Err(Fault::null("out"));
            }
            let status = engine.engine.status_of(text::string(service, "service")?)?;
            out.write(Box::into_raw(Box::new(failover_status::new(status))));
            Ok(FAILOVER_OK)
        })
    }
}

/// The next event, waiting for it up to timeout_ms (0: not at all; FAILOVER_FOREVER). The queue is bounded, and the engine never waits for
/// it: a slow reader loses single observations and log lines first, and an event of kind FAILOVER_EVENT_OVERFLOW reports this.
///
/// Errors: FAILOVER_EMPTY when none came in time or failover_engine_wake was called; FAILOVER_STATE after the last event of a stopped
/// engine, and when the events go to a callback.
///
/// Thread: any.
/// Blocks: up to timeout_ms.
/// In callback: not of the events; yes in a task function.
/// Ownership: *out is the caller's, to be given to failover_event_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_next_event(
    engine: *const failover_engine,
    timeout_ms: u32,
    out: *mut *mut failover_event,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            if out.is_null() {
                return Err(Fault::null("out"));
            }
            let queue = engine.queue()?;
            match queue.next(Duration::from_millis(timeout_ms.into())) {
                Some(event) => {
                    out.write(Box::into_raw(Box::new(failover_event::new(event))));
                    Ok(FAILOVER_OK)
                }
                None if queue.is_over() => Err(Fault::new(FAILOVER_STATE, "the engine has stopped: that was the last event")),
                None => Ok(FAILOVER_EMPTY),
            }
        })
    }
}

/// A file descriptor that is readable while an event waits, and for ever once the engine has stopped: for poll, epoll, or a loop of
/// one's own. Take events with failover_engine_next_event and timeout 0 until it says FAILOVER_EMPTY.
///
/// Errors: FAILOVER_STATE when the events go to a callback.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: the engine's, until it is freed: never read, write or close it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_event_fd(
    engine: *const failover_engine,
    out: *mut c_int,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            if out.is_null() {
                return Err(Fault::null("out"));
            }
            out.write(engine.queue()?.as_fd().as_raw_fd());
            Ok(FAILOVER_OK)
        })
    }
}

/// Makes a waiting failover_engine_next_event return FAILOVER_EMPTY; if no call waits, the next one.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_wake(engine: *const failover_engine, err: *mut *mut failover_error) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.queue()?.wake();
            Ok(FAILOVER_OK)
        })
    }
}

/// Registers `callback` for every event. One thread of the engine calls it, one event at a time, in order, never under a lock. If it is
/// registered before the start, it misses no event. Calling it again replaces the callback. The callback may call everything but
/// failover_engine_stop, failover_engine_check_all, failover_engine_doctor, failover_engine_survived_xid, failover_engine_survived_lsn and
/// failover_engine_next_event, and must not throw or longjmp. While it does not return, events pile up as for a slow reader of the queue, and a stop waits for it.
///
/// Errors: FAILOVER_STATE when the events are taken by failover_engine_next_event or failover_engine_event_fd, and after the stop.
///
/// Thread: any.
/// Blocks: no.
/// In callback: yes.
/// Ownership: userdata is the host's; userdata_free (may be NULL) is called exactly once: when the callback is replaced, when
///   the engine is freed, or here if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_on_event(
    engine: *const failover_engine,
    callback: failover_event_fn,
    userdata: *mut c_void,
    userdata_free: failover_free_fn,
    err: *mut *mut failover_error,
) -> i32 {
    let userdata = Userdata::new(userdata, userdata_free);
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let function = callback.ok_or_else(|| Fault::null("callback"))?;
            engine.listen(Callback { function, userdata })?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Confirms the failover of `service` that waits for an operator.
///
/// Errors of every command: FAILOVER_REJECTED (the message says why), FAILOVER_INVALID_ARG for an unknown name, FAILOVER_STATE when
/// the engine does not run, FAILOVER_FAULTED, FAILOVER_TIMEOUT after ten seconds without an answer.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_confirm(
    engine: *const failover_engine,
    service: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.confirm(text::string(service, "service")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Confirms every failover that waits for an operator.
///
/// Errors: as for failover_engine_confirm.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_confirm_all(engine: *const failover_engine, err: *mut *mut failover_error) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.confirm_all()?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Pauses one service, or with NULL all: the engine watches and decides nothing. A pause outlives a restart.
///
/// Errors: as for failover_engine_confirm.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_pause(
    engine: *const failover_engine,
    service: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.pause(text::optional(service, "service")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// As failover_engine_pause, with a `reason` (one line of at most 500 characters, for status, events and journal; NULL: none) and with a
/// time after which the pause ends by itself: `for_ms` from 1 to 2592000000 (30 days), or FAILOVER_FOREVER. Then an event of kind
/// FAILOVER_EVENT_OPERATOR_COMMAND reports it, and the engine first observes everything again. The pause ends at that moment also after a
/// restart. Another pause replaces reason and time.
///
/// Errors: as for failover_engine_confirm. FAILOVER_INVALID_ARG also for a reason or a time out of bounds.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_pause_with(
    engine: *const failover_engine,
    service: *const c_char,
    reason: *const c_char,
    for_ms: u32,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let mut options = PauseOptions::default();
            options.reason = text::optional(reason, "reason")?.map(str::to_owned);
            options.lasts = (for_ms != FAILOVER_FOREVER).then(|| Duration::from_millis(for_ms.into()));
            engine.engine.pause_with(text::optional(service, "service")?, options)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Ends the pause of one service, or with NULL of all. The engine first observes everything again.
///
/// Errors: as for failover_engine_confirm.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_resume(
    engine: *const failover_engine,
    service: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.resume(text::optional(service, "service")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Returns `service` from manual_intervention or failed_over to watching, and ends its cooldown.
///
/// Errors: as for failover_engine_confirm.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_reset(
    engine: *const failover_engine,
    service: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.reset(text::string(service, "service")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Begins a failover of `service` now, from every state except during a failover. For a healthy primary of a database it needs an accepted
/// loss: see failover_engine_switchover. To the server `to`, or with NULL to the best one, losing `accept_loss` bytes at most
/// (FAILOVER_LOSS_CONFIGURED: nothing of a primary that lives, else the configured limit; 2^50 and more: any loss, also an unknown one).
/// Returns when it has begun; events report the rest.
///
/// Errors: as for failover_engine_confirm.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_force(
    engine: *const failover_engine,
    service: *const c_char,
    to: *const c_char,
    accept_loss: u64,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.force(text::string(service, "service")?, force_options(to, accept_loss)?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// As failover_engine_force, and writes the number of the failover that began to `generation`: that of its events, and of the status
/// once it is over. Written with FAILOVER_OK alone.
///
/// Errors: as for failover_engine_confirm. FAILOVER_NULL_ARG also for `generation`.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_force_with(
    engine: *const failover_engine,
    service: *const c_char,
    to: *const c_char,
    accept_loss: u64,
    generation: *mut u64,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            if generation.is_null() {
                return Err(Fault::null("generation"));
            }
            let reply = engine.engine.force(text::string(service, "service")?, force_options(to, accept_loss)?)?;
            generation.write(reply.generation.unwrap_or(0));
            Ok(FAILOVER_OK)
        })
    }
}

/// Lets a healthy primary of `service` hand over to the server `to`, or with NULL to the best standby. Nothing is waived and no committed
/// row is lost: where it cannot be proven that the standby has the whole log, nobody is promoted and the primary is started again.
/// `at_ms`: 0 begins it now; else it begins at that moment, in milliseconds since 1970, within the next 30 days. One whose moment passes
/// while no engine runs is reported as missed and does not begin later. Writes the number of the failover that began to `generation`, or 0
/// for one that begins later; it may be NULL. Written with FAILOVER_OK alone.
///
/// Errors: as for failover_engine_confirm. FAILOVER_REJECTED with everything that prevents it.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_switchover(
    engine: *const failover_engine,
    service: *const c_char,
    to: *const c_char,
    at_ms: u64,
    generation: *mut u64,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let mut options = SwitchoverOptions::default();
            options.to = text::optional(to, "to")?.map(str::to_owned);
            options.at = (at_ms > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms));
            let reply = engine.engine.switchover(text::string(service, "service")?, options)?;
            if !generation.is_null() {
                generation.write(reply.generation.unwrap_or(0));
            }
            Ok(FAILOVER_OK)
        })
    }
}

/// Cancels the planned switchover of `service`.
///
/// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also when none is planned.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_switchover_cancel(
    engine: *const failover_engine,
    service: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.cancel_switchover(text::string(service, "service")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// # Safety
/// `to` is NULL or a string.
unsafe fn force_options(to: *const c_char, accept_loss: u64) -> Result<ForceOptions, Fault> {
    let mut options = ForceOptions::default();
    // SAFETY: the caller's promise.
    options.to = unsafe { text::optional(to, "to") }?.map(str::to_owned);
    options.accept_loss = (accept_loss != FAILOVER_LOSS_CONFIGURED).then_some(accept_loss);
    Ok(options)
}

/// Declares `server` of `service`, which takes writes, the primary: use it after FAILOVER_EVENT_OTHER_BRANCH. The engine promotes, stops
/// and fences nothing, and moves the traffic to this server.
///
/// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also while the server takes no writes, or another one takes them as well;
/// FAILOVER_INVALID_ARG also for an unknown server.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_adopt(
    engine: *const failover_engine,
    service: *const c_char,
    server: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.adopt(text::string(service, "service")?, text::string(server, "server")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// No failover and no order promotes `server` of `service` from here on, until failover_engine_uncordon. The engine observes it as before,
/// and its log counts. A cordon outlives restart and reload.
///
/// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also while a failover is in flight; FAILOVER_INVALID_ARG also for an unknown
/// server.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_cordon(
    engine: *const failover_engine,
    service: *const c_char,
    server: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.cordon(text::string(service, "service")?, text::string(server, "server")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Ends a cordon: the engine may promote `server` of `service` again.
///
/// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also when it is not cordoned; FAILOVER_INVALID_ARG also for an unknown
/// server.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_uncordon(
    engine: *const failover_engine,
    service: *const c_char,
    server: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            engine.engine.uncordon(text::string(service, "service")?, text::string(server, "server")?)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Begins to bring `server` of `service`, a former primary that is stopped, back as a standby of the present primary: as it is where its log
/// has nothing that the new primary lacks, else by pg_rewind, once for each failover. What only its log has is counted, reported
/// (FAILOVER_EVENT_LOST_TRANSACTIONS) and kept before anything is changed. FAILOVER_EVENT_REJOIN_ENDED and the status report how it ends.
/// With `dry_run` other than 0 it changes nothing: it only finds out what it would do and what prevents it.
///
/// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also while a failover is in flight, while the server runs or is the primary, and
/// without SSH to both hosts; FAILOVER_INVALID_ARG also for an unknown server.
///
/// Since: 0.2.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_rejoin(
    engine: *const failover_engine,
    service: *const c_char,
    server: *const c_char,
    dry_run: i32,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let mut options = RejoinOptions::default();
            options.dry_run = dry_run != 0;
            engine.engine.rejoin(text::string(service, "service")?, text::string(server, "server")?, options)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Begins to bring `server` of `service`, a former primary that is stopped, back as a standby by a new copy of the present primary's data. Its
/// own configuration is kept, and its data directory under another name (FAILOVER_EVENT_OLD_DATA_KEPT). FAILOVER_EVENT_COPY_PROGRESS tells how
/// far it is, FAILOVER_EVENT_REJOIN_ENDED and the status how it ends. With `dry_run` other than 0 nothing is changed: it is only found out what
/// would be done and what stands in the way.
///
/// Errors: as for failover_engine_rejoin.
///
/// Since: 0.2.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_rebuild(
    engine: *const failover_engine,
    service: *const c_char,
    server: *const c_char,
    dry_run: i32,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let mut options = RejoinOptions::default();
            (options.dry_run, options.rebuild) = (dry_run != 0, true);
            engine.engine.rejoin(text::string(service, "service")?, text::string(server, "server")?, options)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Begins to make `server` of `service`, in whose data directory nothing is, a standby of the present primary by a first copy of its data.
/// FAILOVER_EVENT_COPY_PROGRESS tells how far it is, FAILOVER_EVENT_REJOIN_ENDED and the status how it ends. With `dry_run` other than 0 nothing
/// is changed: it is only found out what would be done and what stands in the way.
///
/// Errors: as for failover_engine_rejoin.
///
/// Since: 0.2.
///
/// Thread: any.
/// Blocks: for milliseconds, ten seconds at most.
/// In callback: yes.
/// Ownership: nothing changes hands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_clone(
    engine: *const failover_engine,
    service: *const c_char,
    server: *const c_char,
    dry_run: i32,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let mut options = CloneOptions::default();
            options.dry_run = dry_run != 0;
            engine.engine.clone_server(text::string(service, "service")?, text::string(server, "server")?, options)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// Takes another configuration in JSON while the engine runs. Counters restart. A configuration with mistakes changes nothing. Register or
/// offer before what its checks of kind "host" ask for.
///
/// Errors: FAILOVER_CONFIG; FAILOVER_INVALID_ARG when a check asks for a function that nobody answers; FAILOVER_STATE when something differs that is fixed at start (state_dir) or the engine does not run;
/// FAILOVER_REJECTED while a failover is in flight.
///
/// Thread: any.
/// Blocks: while files are read, and for milliseconds.
/// In callback: yes.
/// Ownership: config is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_reload(
    engine: *const failover_engine,
    config: *const c_char,
    len: usize,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let config = Config::parse_json(text::bytes(config, len, "config")?)?;
            engine.engine.reload(config)?;
            Ok(FAILOVER_OK)
        })
    }
}

/// As failover_engine_reload, from a file in TOML or JSON: what `failover run` reads at SIGHUP. A relative path is one of the process.
///
/// Errors: as for failover_engine_reload; FAILOVER_CONFIG also when the file cannot be read.
///
/// Thread: any.
/// Blocks: while files are read, and for milliseconds.
/// In callback: yes.
/// Ownership: path is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_engine_reload_from_file(
    engine: *const failover_engine,
    path: *const c_char,
    err: *mut *mut failover_error,
) -> i32 {
    // SAFETY: the promises of the header.
    unsafe {
        on(engine, err, |engine| {
            let config = Config::load(Path::new(text::string(path, "path")?))?;
            engine.engine.reload(config)?;
            Ok(FAILOVER_OK)
        })
    }
}
