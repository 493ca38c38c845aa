//! The status of an engine, put together from all its parts.
//!
//! The core's services are copied some at a time: the trigger thread waits for the copy of a few and never for that of a thousand, and
//! what was copied is rendered while nobody holds the core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use failover_core::doubt::DoubtCause;

use super::status::{self, EventStatus, HostFunctionStatus, ServiceStatus, Status, ThreadStatus};
use super::trigger::Lanes;
use super::{Phase, Shell, dependency, render, topology};
use crate::config::{Config, Service};
use crate::sync;

/// Services that are copied at a time.
const PART: usize = sync::bound(16, 1);
/// A reload in between begins it anew; so often.
const TRIES: usize = 3;

/// What the core knows, each service as it was at one moment.
#[derive(Debug, Default)]
struct Copied {
    doubt: Option<DoubtCause>,
    services: Vec<ServiceStatus>,
}

/// Of every service.
pub(super) fn all(shell: &Shell) -> Status {
    let copied = (0..TRIES).find_map(|_| copy(shell, PART));
    // Whoever reloads that often is waited for, and not for ever.
    let copied = copied.unwrap_or_else(|| copy(shell, usize::MAX).unwrap_or_default());
    status(shell, copied, None)
}

/// Of one service alone, or of none if there is none of that name.
pub(super) fn of(shell: &Shell, name: &str) -> Status {
    let copied = shell.with_core(|core, parts| (core.snapshot_of(name), parts)).map(|(snapshot, parts)| Copied {
        doubt: snapshot.doubt,
        services: status::services(&snapshot, &parts.model, &shell.clock),
    });
    status(shell, copied.unwrap_or_default(), Some(name))
}

/// So many at a time; nothing before the start. `None`: they became others meanwhile.
fn copy(shell: &Shell, part: usize) -> Option<Copied> {
    let mut copied = Copied::default();
    let mut before = None;
    loop {
        let place = copied.services.len();
        let Some((snapshot, parts)) = shell.with_core(|core, parts| (core.snapshot_part(place, part), parts)) else {
            return Some(copied);
        };
        copied.doubt = snapshot.doubt;
        copied.services.extend(status::services(&snapshot, &parts.model, &shell.clock));
        if !Arc::ptr_eq(before.get_or_insert_with(|| Arc::clone(&parts)), &parts) {
            return None;
        }
        if snapshot.services.len() < part {
            return Some(copied);
        }
    }
}

fn status(shell: &Shell, copied: Copied, only: Option<&str>) -> Status {
    let parts = shell.parts();
    let Copied { doubt, mut services } = copied;
    shell.stories.complete(&shell.clock, &mut services);
    let breakers = shell.dependencies.status(only);
    let recovery = parts.config.engine.breaker.recovery_timeout.into();
    let places: BTreeMap<String, usize> =
        services.iter().enumerate().map(|(place, service)| (service.name.clone(), place)).collect();
    for breaker in &breakers {
        let service = places.get(&breaker.service).and_then(|place| services.get_mut(*place));
        if let (Some(service), Some(finding)) = (service, dependency::finding(breaker, recovery)) {
            service.readiness.push(finding);
        }
    }
    address(&parts.config, &mut services, &places);
    for service in services.iter_mut().filter(|service| service.failover.is_none()) {
        let earlier = shell.summaries.lock().get(&service.name).cloned();
        service.failover = earlier.filter(|earlier| earlier.generation == service.generation);
    }
    let (phase, started) = {
        let life = shell.life.lock();
        (life.phase, life.started)
    };
    let (published, consumers, dropped) = shell.hub.numbers();
    let answered_by = |name: String| {
        let answered_by = shell.embedder.answered_by(&name).map(str::to_owned);
        HostFunctionStatus { name, answered_by }
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: render::rfc3339(SystemTime::now()),
        uptime_ms: started.map_or(0, |at| millis(sync::now().saturating_duration_since(at))),
        engine: match phase {
            Phase::New => "new",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
        .to_owned(),
        faulted: shell.fault(),
        doubt: doubt.map(|cause| cause.as_str().to_owned()),
        threads: threads(shell),
        journal: shell.journal.lock().clone(),
        events: EventStatus { published, consumers: count(consumers), dropped },
        services,
        breakers,
        role_endpoint: shell.role_endpoint.lock().map(|address| address.to_string()),
        host_functions: parts.config.host_functions().into_iter().map(answered_by).collect(),
        notify: shell.notifier.status(),
    }
}

/// Where each server is: the core knows names alone.
fn address(config: &Config, services: &mut [ServiceStatus], places: &BTreeMap<String, usize>) {
    for configured in &config.services {
        let Some(service) = places.get(&configured.name).and_then(|place| services.get_mut(*place)) else { continue };
        for server in &mut service.servers {
            if let Some(at) = configured.servers.iter().find(|at| at.name == server.name) {
                (server.host, server.port) = (at.host.clone(), at.port);
            }
        }
        topology::by_address(&mut service.topology, &addresses_of(configured));
    }
}

/// Where the standbys of each server may be connected to, by the configuration.
fn addresses_of(service: &Service) -> Vec<(String, String)> {
    let mut addresses = Vec::new();
    for server in &service.servers {
        let text = |host: &str, port: u16| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let own = text(&server.host, server.port);
        let other =
            text(server.replication_host.as_deref().unwrap_or(&server.host), server.replication_port.unwrap_or(server.port));
        if other != own {
            addresses.push((server.name.clone(), other));
        }
        addresses.push((server.name.clone(), own));
    }
    addresses
}

fn threads(shell: &Shell) -> ThreadStatus {
    let (pool, stuck) = {
        let life = shell.life.lock();
        let pool = life.lanes.as_ref().map(|lanes| lanes.check.numbers()).unwrap_or_default();
        (pool, life.lanes.as_ref().map_or(0, Lanes::stuck))
    };
    let mut names = shell.threads.names();
    if shell.watcher.lock().as_ref().is_some_and(|watcher| watcher.is_running()) {
        names.push("fo-watch-0".to_owned());
    }
    ThreadStatus {
        alive: count(names.len()),
        names,
        workers: pool.workers,
        busy: pool.busy,
        waiting: pool.waiting,
        oldest_wait_ms: millis(pool.oldest_wait),
        stuck,
        overdue: shell.threads.overdue(),
        start_delay: pool.delays.status(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
