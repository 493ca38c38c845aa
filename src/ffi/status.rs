//! The state of everything at one moment.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use std::ffi::{CString, c_char};
use std::ptr::null;
use std::sync::OnceLock;

use super::{quiet, text};
use failover::{Status, metrics_details, metrics_text};

/// A copy of the engine's state. It does not change. Owned by the caller: failover_status_free. Used by one thread at a time.
pub struct failover_status {
    status: Status,
    services: Vec<Service>,
    json: OnceLock<CString>,
    metrics: [OnceLock<CString>; 2],
}

struct Service {
    name: CString,
    state: CString,
    primary: Option<CString>,
    /// Of the primary.
    host: Option<CString>,
    port: u16,
    generation: u64,
    health: CString,
    would_fail_over: bool,
}

impl failover_status {
    pub(super) fn new(status: Status) -> failover_status {
        let services = status.services.iter().map(|service| {
            let at = service.primary.as_ref().and_then(|primary| service.servers.iter().find(|server| server.name == *primary));
            let health = at.map_or("unknown", |server| server.health.as_str());
            Service {
                name: text::owned(&service.name),
                state: text::owned(&service.state),
                primary: service.primary.as_deref().map(text::owned),
                host: at.map(|server| text::owned(&server.host)),
                port: at.map_or(0, |server| server.port),
                generation: service.generation,
                health: text::owned(health),
                would_fail_over: service.forecast.would_fail_over,
            }
        });
        failover_status { services: services.collect(), json: OnceLock::new(), metrics: Default::default(), status }
    }
}

/// The service called `name`, or with NULL the first.
///
/// # Safety
/// As the header demands of every function here.
unsafe fn find<'a>(status: *const failover_status, name: *const c_char) -> Option<&'a Service> {
    // SAFETY: NULL or a status of this library.
    let status = unsafe { status.as_ref() }?;
    // SAFETY: NULL or a NUL-terminated string.
    match unsafe { text::optional(name, "service") }.ok()? {
        Some(name) => status.services.iter().find(|service| service.name.as_bytes() == name.as_bytes()),
        None => status.services.first(),
    }
}

/// The whole status as one JSON object: the output of `failover status --json`.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the status; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_json(status: *const failover_status) -> *const c_char {
    // SAFETY: NULL or a status of this library, as the header demands.
    let Some(status) = (unsafe { status.as_ref() }) else { return null() };
    quiet(null(), || {
        let render = || text::owned(&serde_json::to_string(&status.status).unwrap_or_default());
        status.json.get_or_init(render).as_ptr()
    })
}

/// Its numbers in Prometheus' text format, as `failover metrics` prints them; with `details` also what each server, each check and each
/// circuit breaker says by itself.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the status; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_metrics(status: *const failover_status, details: bool) -> *const c_char {
    // SAFETY: as above.
    let Some(status) = (unsafe { status.as_ref() }) else { return null() };
    quiet(null(), || {
        let render = if details { metrics_details } else { metrics_text };
        let text = || text::owned(&render(&status.status));
        status.metrics[usize::from(details)].get_or_init(text).as_ptr()
    })
}

/// How many services there are.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 for NULL and before the start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_service_count(status: *const failover_status) -> usize {
    // SAFETY: as above.
    unsafe { status.as_ref() }.map_or(0, |status| status.services.len())
}

/// The name of the service at a place, from 0, in the order of the configuration.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the status; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_service(status: *const failover_status, index: usize) -> *const c_char {
    // SAFETY: as above.
    unsafe { status.as_ref() }.and_then(|status| status.services.get(index)).map_or(null(), |service| service.name.as_ptr())
}

/// The state of a service (NULL: the first): "normal", "degraded", "failing", "failover_in_progress", "failed_over" or
/// "manual_intervention".
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the status; NULL where there is no such service.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_state(status: *const failover_status, service: *const c_char) -> *const c_char {
    // SAFETY: as above.
    unsafe { find(status, service) }.map_or(null(), |service| service.state.as_ptr())
}

/// The name of the primary of a service (NULL: the first), once it is known.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the status; NULL where it is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_primary(status: *const failover_status, service: *const c_char) -> *const c_char {
    // SAFETY: as above.
    let service = unsafe { find(status, service) };
    service.and_then(|service| service.primary.as_ref()).map_or(null(), |primary| primary.as_ptr())
}

/// The host of the primary of a service (NULL: the first) by configuration: a name, an address, or the folder of its UNIX socket, which
/// begins with '/'.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the status; NULL where the primary is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_primary_host(status: *const failover_status, service: *const c_char) -> *const c_char {
    // SAFETY: as above.
    unsafe { find(status, service) }.and_then(|service| service.host.as_ref()).map_or(null(), |host| host.as_ptr())
}

/// The port of the primary of a service (NULL: the first) by configuration.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 where the primary is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_primary_port(status: *const failover_status, service: *const c_char) -> u16 {
    // SAFETY: as above.
    unsafe { find(status, service) }.map_or(0, |service| service.port)
}

/// The number of the last failover of a service (NULL: the first); 0 before the first.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; 0 where there is no such service.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_generation(status: *const failover_status, service: *const c_char) -> u64 {
    // SAFETY: as above.
    unsafe { find(status, service) }.map_or(0, |service| service.generation)
}

/// The health of the primary of a service (NULL: the first): "unknown", "healthy", "degraded" or "unhealthy".
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: borrowed from the status; NULL where there is no such service.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_health(status: *const failover_status, service: *const c_char) -> *const c_char {
    // SAFETY: as above.
    unsafe { find(status, service) }.map_or(null(), |service| service.health.as_ptr())
}

/// True while a failover of a service (NULL: the first) would go through if its primary died now, as far as it can be known
/// beforehand. failover_status_json says under "forecast" to whom and with what loss, or exactly why not.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: a plain value; false where there is no such service.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_would_fail_over(status: *const failover_status, service: *const c_char) -> bool {
    // SAFETY: as above.
    unsafe { find(status, service) }.is_some_and(|service| service.would_fail_over)
}

/// Frees a status. NULL is allowed.
///
/// Thread: one at a time.
/// Blocks: no.
/// In callback: yes.
/// Ownership: takes the status; its strings die with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failover_status_free(status: *mut failover_status) {
    if !status.is_null() {
        quiet((), || {
            // SAFETY: made by this library and not freed before, as the header demands.
            drop(unsafe { Box::from_raw(status) });
        });
    }
}
