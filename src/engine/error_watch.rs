//! One thread that asks the load balancers of applications what went wrong between them and each server: where clients get errors, the
//! core looks at once instead of at its next turn. What a load balancer counts decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::deadline::{Cancel, Deadline};
use failover_core::id::{ServerId, ServiceId};
use failover_core::input::Input;

use super::Shell;
use super::builder::Parts;
use super::threads::Duty;

/// Of the shortest time between two checks of a service: asked less often there is nothing to gain, and more often little.
const OF_INTERVAL: u32 = 5;
/// Between two questions at least, and at most.
const SHORTEST: Duration = Duration::from_millis(40);
const LONGEST: Duration = Duration::from_millis(500);
/// While there is no load balancer of an application.
const IDLE: Duration = Duration::from_secs(1);
/// For one question to every instance of a service.
const QUESTION: Duration = Duration::from_millis(250);

/// Service, instance and server, and what the instance counted of it last.
type Counted = BTreeMap<(usize, usize, String), u64>;

/// The body of the thread; ends when cancelled.
pub(crate) fn run(shell: &Shell, duty: &Duty, cancel: &Cancel, sink: &(dyn Fn(Input) + Send + Sync)) {
    let mut counted = Counted::new();
    let mut last: Option<Arc<Parts>> = None;
    loop {
        let parts = shell.parts();
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &parts)) {
            counted.clear();
        }
        let mut every = IDLE;
        for (place, service) in parts.services.iter().enumerate() {
            let (Ok(number), Some(pause)) = (u16::try_from(place), pause(&parts, place)) else { continue };
            every = every.min(pause);
            if cancel.is_cancelled() {
                return;
            }
            duty.begin(QUESTION * 10);
            let asked = shell.clock.now();
            let instances = service.actions.route_errors(Deadline::after(QUESTION), cancel);
            for server in grown(&mut counted, place, instances) {
                let servers = &service.actions.servers;
                let id = servers.iter().position(|known| known.name == server).and_then(|at| u16::try_from(at).ok());
                if let Some(id) = id.filter(|_| !shell.are_stale(&parts)) {
                    sink(Input::RouteErrors { service: ServiceId(number), server: ServerId(id), asked });
                }
            }
        }
        duty.rest();
        last = Some(parts);
        if cancel.pause(every, Deadline::after(every * 2)).is_err() {
            return;
        }
    }
}

/// Between two questions to the load balancers of a service; `None`: what its clients see is looked at in other ways, or it has none.
fn pause(parts: &Parts, place: usize) -> Option<Duration> {
    let model = parts.model.services.get(place).filter(|service| !service.kind.holds_data())?;
    let actions = &parts.services.get(place)?.actions;
    let interval = model.checks.iter().map(|check| check.interval).min().filter(|_| actions.has_balancers())?;
    Some((Duration::from(interval) / OF_INTERVAL).clamp(SHORTEST, LONGEST))
}

/// Servers of which an instance counts more than when it was last asked. One that was restarted begins at nothing.
fn grown(counted: &mut Counted, service: usize, instances: Vec<BTreeMap<String, u64>>) -> Vec<String> {
    let mut grown = Vec::new();
    for (instance, servers) in instances.into_iter().enumerate() {
        for (server, now) in servers {
            let before = counted.insert((service, instance, server.clone()), now);
            if before.is_some_and(|before| now > before) && !grown.contains(&server) {
                grown.push(server);
            }
        }
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told() {
        let mut counted = Counted::new();
        let mut ask = |one: u64, other: u64| {
            let seen = |errors| BTreeMap::from([("a".to_owned(), errors), ("b".to_owned(), 7)]);
            grown(&mut counted, 0, vec![seen(one), seen(other)])
        };
        assert_eq!(ask(5, 0), Vec::<String>::new(), "from before the engine");
        assert_eq!(ask(5, 0), Vec::<String>::new());
        assert_eq!(ask(6, 1), ["a"]);
        assert_eq!(ask(0, 1), Vec::<String>::new(), "a restart of the load balancer");
        assert_eq!(ask(1, 1), ["a"]);
    }
}
