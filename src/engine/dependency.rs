//! What the survey asks, each behind a circuit breaker: a host that swallows every connection costs the one survey thread seconds
//! each round, and the others' rounds come late.
//!
//! Nothing that a failover does goes through here: no check, no question of a confirmation, no fence, no promotion, no step of the
//! route. What has failed before says nothing about whether it works now, and to be refused by a memory is the worst way to miss
//! a failover.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::config::Config;
use failover_core::finding::FindingCode;
use failover_core::time::Span;

use super::breaker::{BreakerSettings, BreakerState, CircuitBreaker, Permit};
use super::status::{BreakerStatus, ReadinessStatus, readiness};
use crate::clock::Clock;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// A host over SSH.
    Ssh,
    /// A server over SQL.
    Sql,
    /// Every instance of a route.
    Route,
}

impl Way {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Way::Ssh => "ssh",
            Way::Sql => "sql",
            Way::Route => "route",
        }
    }
}

/// One dependency, by names: numbers change with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dependency {
    pub(super) service: String,
    pub(super) server: Option<String>,
    pub(super) way: Way,
}

impl Dependency {
    /// In a sentence.
    fn named(&self) -> String {
        match (self.way, &self.server) {
            (Way::Ssh, Some(server)) => format!("{}: the host of {server}, over SSH", self.service),
            (_, Some(server)) => format!("{}: {server}, over SQL", self.service),
            (_, None) => format!("{}: the route", self.service),
        }
    }
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) open: bool,
    pub(super) message: String,
}

/// The breakers of one engine.
#[derive(Debug)]
pub(crate) struct Dependencies {
    clock: Clock,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    settings: BreakerSettings,
    each: BTreeMap<Dependency, One>,
}

#[derive(Debug)]
struct One {
    breaker: CircuitBreaker,
    told_open: bool,
    why: String,
    asked: failover_core::time::Mono,
}

impl Dependencies {
    pub(super) fn new(clock: Clock) -> Dependencies {
        Dependencies { clock, known: Mutex::default() }
    }

    /// Takes the settings of a configuration and forgets what is not in it any more.
    pub(super) fn configure(&self, config: &Config) {
        let settings = BreakerSettings::from(&config.engine.breaker);
        let mut known = self.known.lock();
        if known.settings != settings {
            *known = Known { settings, each: BTreeMap::new() };
        }
        known.each.retain(|dependency, _| {
            let service = config.services.iter().find(|service| service.name == dependency.service);
            let server = dependency.server.as_ref();
            service.is_some_and(|service| server.is_none_or(|server| service.server(server).is_some()))
        });
    }

    /// May it be asked now?
    pub(super) fn permit(&self, dependency: &Dependency) -> Option<Permit> {
        let mut known = self.known.lock();
        let settings = known.settings;
        let now = self.clock.now();
        let one = known.each.entry(dependency.clone()).or_insert_with(|| One {
            breaker: CircuitBreaker::new(settings),
            told_open: false,
            why: String::new(),
            asked: now,
        });
        let permit = one.breaker.permit().ok()?;
        one.asked = now;
        Some(permit)
    }

    /// What came of it. The news, where it is left alone from now on or is asked as before.
    pub(super) fn report(&self, dependency: &Dependency, permit: Permit, outcome: Result<(), String>) -> Option<News> {
        permit.report(outcome.is_ok());
        let mut known = self.known.lock();
        let settings = known.settings;
        let one = known.each.get_mut(dependency)?;
        let answered = outcome.is_ok();
        one.why = outcome.err().unwrap_or_default();
        let open = one.breaker.state() == BreakerState::Open;
        // A change closes it too, and says nothing about whether it helped.
        let closed = answered && one.breaker.state() == BreakerState::Closed;
        let message = if open && !one.told_open {
            format!(
                "{} failed {} times in a row and is not surveyed for {} ({}); a failover asks it all the same",
                dependency.named(),
                settings.failure_threshold,
                settings.recovery_timeout,
                one.why
            )
        } else if closed && one.told_open {
            format!("{} answers again and is surveyed as before", dependency.named())
        } else {
            return None;
        };
        one.told_open = open;
        Some(News { open, message })
    }

    /// Something has changed there: the past says nothing any more.
    pub(super) fn changed(&self, dependency: &Dependency) {
        if let Some(one) = self.known.lock().each.get(dependency) {
            one.breaker.reset();
        }
    }

    /// Every breaker, or those of one service, for the status.
    pub(super) fn status(&self, only: Option<&str>) -> Vec<BreakerStatus> {
        let known = self.known.lock();
        known
            .each
            .iter()
            .filter(|(dependency, _)| only.is_none_or(|only| dependency.service == only))
            .map(|(dependency, one)| BreakerStatus {
                service: dependency.service.clone(),
                server: dependency.server.clone(),
                dependency: dependency.way.as_str().to_owned(),
                state: one.breaker.state().as_str().to_owned(),
                failures: one.breaker.failures(),
                reason: one.why.clone(),
                asked_ms: self.clock.now().since(one.asked).as_millis(),
            })
            .collect()
    }
}

/// What an open breaker means for the readiness of its service: what is shown of it is old.
pub(super) fn finding(breaker: &BreakerStatus, recovery: Span) -> Option<ReadinessStatus> {
    if breaker.state == BreakerState::Closed.as_str() {
        return None;
    }
    let what = match (breaker.dependency.as_str(), &breaker.server) {
        ("ssh", Some(server)) => format!("the host of {server} is not asked over SSH"),
        (_, Some(server)) => format!("{server} is not asked over SQL"),
        (_, None) => "the route is not looked at".to_owned(),
    };
    let message =
        format!("{what} by the survey at every turn: {} questions in a row failed ({})", breaker.failures, breaker.reason);
    let remedy = format!("mend what failed; it is tried again every {recovery}, and at once when its server changes");
    let found = FindingCode::BreakerOpen.found(false, message, remedy);
    Some(readiness(breaker.server.as_deref(), breaker.asked_ms, &found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Dependency {
        Dependency { service: "orders".to_owned(), server: Some("db1".to_owned()), way: Way::Ssh }
    }

    #[test]
    fn it_is_told_once_that_it_opens_and_once_that_it_closes() {
        let all = Dependencies::new(Clock::start());
        let fails = || {
            let permit = all.permit(&host())?;
            Some(all.report(&host(), permit, Err("no route to host".to_owned())))
        };
        for _ in 0..4 {
            assert_eq!(fails(), Some(None));
        }
        let told = fails().flatten().unwrap();
        assert!(told.open);
        assert_eq!(
            told.message,
            "orders: the host of db1, over SSH failed 5 times in a row and is not surveyed for 30.0 s (no route to host); \
             a failover asks it all the same"
        );
        assert_eq!(fails(), None, "it is left alone");
        let status = all.status(None);
        assert_eq!((status.len(), status[0].state.as_str(), status[0].dependency.as_str()), (1, "open", "ssh"));
        let found = finding(&status[0], Span::from_millis(30_000)).unwrap();
        assert_eq!((found.code.as_str(), found.blocking), ("breaker_open", false));
        assert!(found.message.contains("no route to host") && !found.why.is_empty(), "{found:?}");

        all.changed(&host());
        let permit = all.permit(&host()).unwrap();
        let told = all.report(&host(), permit, Ok(())).unwrap();
        assert_eq!(told.message, "orders: the host of db1, over SSH answers again and is surveyed as before");
        assert_eq!(finding(&all.status(None)[0], Span::ZERO), None);
    }

    #[test]
    fn a_change_that_does_not_help_leads_to_the_same_without_another_word() {
        let all = Dependencies::new(Clock::start());
        let mut told = 0;
        for _ in 0..3 {
            while let Some(permit) = all.permit(&host()) {
                told += usize::from(all.report(&host(), permit, Err("refused".to_owned())).is_some());
            }
            all.changed(&host());
        }
        assert_eq!(told, 1);
    }
}
