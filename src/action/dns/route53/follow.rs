//! Health checks of Route 53 that follow the active server, each with the version that was just read.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{HealthCheck, HealthCheckSettings, Route53};
use crate::action::dns::Companions;
use crate::deadline::{Cancel, Deadline};
use failover_core::output::Failure;
use failover_core::sample::RouteInstance;

/// The health checks of a service's servers. Thread-safe; every operation may be repeated.
pub(crate) struct HealthChecks {
    account: Route53,
    /// The ID of each server's, by our name of it.
    ids: BTreeMap<String, String>,
    /// What that of the active server is put to.
    active: HealthCheckSettings,
    /// What those of all others are put to.
    inactive: HealthCheckSettings,
    /// What each was before this failover: the first look counts.
    before: Mutex<BTreeMap<String, HealthCheck>>,
}

impl HealthChecks {
    /// These checks, reached by the account of a record. Nothing is asked yet.
    #[must_use]
    pub(crate) fn new(
        account: Route53,
        ids: BTreeMap<String, String>,
        active: HealthCheckSettings,
        inactive: HealthCheckSettings,
    ) -> HealthChecks {
        HealthChecks { account, ids, active, inactive, before: Mutex::default() }
    }

    fn put(&self, id: &str, wanted: &HealthCheckSettings, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let now = self.account.health_check(id, deadline, cancel)?;
        self.before.lock().entry(id.to_owned()).or_insert(now);
        self.account.update_health_check(id, wanted, deadline, cancel)
    }

    fn put_back(&self, id: &str, wanted: &HealthCheckSettings, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let before = self.before.lock().get(id).cloned();
        match before {
            Some(before) => {
                let said = self.account.restore_health_check(id, &before, deadline, cancel)?;
                self.before.lock().remove(id);
                Ok(said)
            }
            None => self.account.update_health_check(id, wanted, deadline, cancel),
        }
    }

    fn each(&self, server: &str, work: impl Fn(&str, &HealthCheckSettings) -> Result<String, Failure>) -> Vec<RouteInstance> {
        let told = self.ids.iter().filter_map(|(owner, id)| {
            let wanted = if owner == server { &self.active } else { &self.inactive };
            // Nothing is wanted of it: it is not even looked at.
            (*wanted != HealthCheckSettings::default()).then(|| told(owner, id, work(id, wanted)))
        });
        told.collect()
    }
}

impl Companions for HealthChecks {
    fn begin(&self) {
        self.before.lock().clear();
    }

    fn follow(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        self.each(server, |id, wanted| self.put(id, wanted, deadline, cancel))
    }

    fn roll_back(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        self.each(server, |id, wanted| self.put_back(id, wanted, deadline, cancel))
    }

    fn look(&self, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        let looked = |id: &str| self.account.health_check(id, deadline, cancel).map(|_| String::new());
        self.ids.iter().map(|(owner, id)| told(owner, id, looked(id))).collect()
    }
}

fn told(owner: &str, id: &str, outcome: Result<String, Failure>) -> RouteInstance {
    let name = format!("health check {id} of {owner}");
    match outcome {
        Ok(said) => RouteInstance { name, result: Ok(said) },
        Err(failure) => RouteInstance::failed(&name, &failure),
    }
}
