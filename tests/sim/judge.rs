//! One seed from its beginning to its end: faults, quiet, and deaths in a quiet world.

use failover_core::model::ServiceKind;

use super::super::cluster::{Process, Server};
use super::super::swarm::{Fault, Link};
use super::{Sim, at_millis, ms};

impl Sim {
    pub(super) fn play(&mut self) {
        self.start_engine();
        self.run_until(at_millis(4_500 + self.setup.chaos));
        self.calm();
        // Whoever stopped or killed the engine starts it again.
        let quiet = self.now.max(self.awake_at) + ms(35_000);
        self.run_until(quiet);
        self.await_plans();
        self.look();
        self.judge_quiet();
        self.judge_stopped();
        self.judge_gates();
        self.judge_unfinished();
        self.judge_followers();
        self.last_blows();
    }

    /// A failover that is still on its way has its own limit.
    pub(super) fn await_plans(&mut self) {
        let limits = self.setup.model.services.iter().map(|service| service.trigger.failover_timeout).max().unwrap_or_default();
        let end = self.now + limits + ms(75_000);
        let busy = |sim: &Sim| {
            sim.core.as_ref().is_some_and(|core| core.snapshot().services.iter().any(|service| service.plan.is_some()))
        };
        while busy(self) && self.now < end && self.watch.broken.is_none() {
            let next = (self.now + ms(1_000)).min(end);
            self.run_until(next);
        }
        if busy(self) {
            self.watch.fail("a_failover_ends_in_time", format!("still in flight {limits} after everything was well"));
        }
    }

    /// What an earlier engine began is finished, undone, or in a person's hands, within the failover's own limit.
    pub(super) fn judge_unfinished(&mut self) {
        let open = |sim: &Sim, at: usize| {
            let waits = sim.known[at].facts.as_ref().is_some_and(|facts| facts.pause.is_some()) || sim.watch.is_stopping();
            let person = sim.core.as_ref().is_some_and(|core| core.snapshot().services[at].manual_reason.is_some());
            sim.known[at].begun.is_some() && sim.watch.is_open(at) && !waits && !person
        };
        for at in 0..self.known.len() {
            let limit = self.setup.model.services[at].trigger.failover_timeout + ms(60_000);
            let end = self.now + limit;
            // Most are settled by now.
            if self.unfinished[at] {
                self.watch.exercise("an_unfinished_failover_is_settled");
            }
            while open(self, at) && self.now < end && self.watch.broken.is_none() {
                let next = (self.now + ms(1_000)).min(end);
                self.run_until(next);
            }
            if open(self, at) && self.watch.broken.is_none() {
                let why = format!("still open {limit} after everything was well: {:?}", self.known[at].begun);
                self.watch.fail("an_unfinished_failover_is_settled", why);
            }
        }
    }

    pub(super) fn in_flight(&self, service: usize) -> bool {
        self.core.as_ref().is_none_or(|core| core.snapshot().services[service].plan.is_some())
    }

    /// Every fault that time or a person mends is mended. Who is dead stays dead.
    pub(super) fn calm(&mut self) {
        if self.told {
            self.note("CALM");
        }
        self.settle_promises();
        if self.core.as_ref().is_some_and(|core| !core.is_quiet()) {
            self.watch.exercise("a_failover_ends_in_time");
        }
        self.moments.clear();
        self.at_step.clear();
        let ends = std::mem::take(&mut self.ends);
        for (_, moment) in ends {
            if !matches!(moment.fault, Fault::Kill { .. } | Fault::PowerOff) {
                self.end(&moment);
            }
        }
        self.wrong.clear();
        self.crash_at_record = false;
    }

    /// Whom the engine stopped while it was well, and replaced by nobody, runs again, or a person knows.
    pub(super) fn judge_stopped(&mut self) {
        let Some(core) = &self.core else { return };
        let snapshot = core.snapshot();
        for (cluster, service) in self.clusters.iter().zip(&snapshot.services) {
            let nobody = cluster.leader().is_none() && service.plan.is_none() && service.manual_reason.is_none();
            // Whoever has taken over may die as well: that one was replaced.
            let replaced = |server: &Server| cluster.servers.iter().any(|other| other.timeline > server.timeline);
            let owed = |server: &&Server| server.stopped_by_us && server.power && server.host && !server.recovery;
            let left = cluster.servers.iter().find(|server| owed(server) && !replaced(server));
            if let Some(server) = left.filter(|_| nobody && !self.watch.is_stopping() && !cluster.lied && !cluster.meddled) {
                let why = format!("{} is down, {} is {}", server.name, service.name, service.state.as_str());
                self.watch.fail("a_living_primary_is_never_left_stopped", why);
                return;
            }
        }
    }

    /// Clients that wait are let through again, or a person knows; a pooler that could not be told is let go by the child that guards it.
    pub(super) fn judge_gates(&mut self) {
        let Some(core) = &self.core else { return };
        let snapshot = core.snapshot();
        for (cluster, service) in self.clusters.iter().zip(&snapshot.services) {
            let told = service.manual_reason.is_some() || service.plan.is_some() || self.watch.is_stopping() || cluster.lied;
            if cluster.gate_closed && !told {
                self.watch.fail("no_gate_is_left_closed", format!("{} is {}", service.name, service.state.as_str()));
                return;
            }
        }
    }

    pub(super) fn judge_quiet(&mut self) {
        let Some(core) = &self.core else {
            return self.watch.fail("it_settles", "the engine was not started again".into());
        };
        if self.watch.broken.is_some() {
            return;
        }
        let snapshot = core.snapshot();
        let speaks = |one: &Server| one.power && one.process != Process::Frozen && one.port == Link::Open;
        if snapshot.doubt.is_some()
            && !self.watch.is_stopping()
            && self.clusters.iter().all(|cluster| cluster.servers.iter().all(speaks))
        {
            self.watch.fail("doubt_decays", format!("{:?} after half a minute of quiet", snapshot.doubt));
        }
        for (at, service) in snapshot.services.iter().enumerate() {
            let cluster = &self.clusters[at];
            let moved = self.known[at].generation > 0 && service.manual_reason.is_none() && service.plan.is_none();
            let paused = self.known[at].facts.as_ref().is_some_and(|facts| facts.pause.is_some());
            if let Some(primary) = service.primary.map(|primary| usize::from(primary.0))
                && moved
                && !paused
                && !self.watch.is_stopping()
                && cluster.leader() == Some(primary)
                && cluster.is_writable(primary)
                && self.now.since(cluster.servers[primary].unwell_at.max(cluster.servers[primary].port_shut_at)) > ms(10_000)
                && self.watch.counts("traffic_goes_to_the_primary_alone")
                && let Some(astray) = (0..cluster.configured)
                    .find(|other| *other != primary && cluster.instances.iter().any(|one| one.reachable && one.serves[*other]))
            {
                let why = format!(
                    "{} still gets sessions, {} is the primary",
                    cluster.servers[astray].name, cluster.servers[primary].name
                );
                self.watch.fail("traffic_goes_to_the_primary_alone", why);
                return;
            }
            let Some(primary) = service.primary.map(|primary| usize::from(primary.0)) else { continue };
            let well = cluster.is_writable(primary)
                && cluster.servers[primary].impaired.is_none()
                && self.now.since(cluster.servers[primary].unwell_at) > ms(20_000)
                && self.now.since(cluster.servers[primary].port_shut_at) > ms(20_000);
            let missing = service.state.as_str() == "degraded" && !service.missing.is_empty();
            let settled = missing || matches!(service.state.as_str(), "normal" | "failed_over" | "manual_intervention");
            let lost = service.missing.iter().any(|missing| missing.code == "no_standby");
            if lost && service.forecast.outcome.is_ok() {
                self.watch.fail("what_is_missing_is_missing", format!("{} has a standby to promote", service.name));
                return;
            }
            let others = service.checks.iter().all(|check| check.failures == 0);
            let stopping = self.watch.is_stopping();
            if well && service.kind == ServiceKind::Postgres {
                self.watch.exercise("it_settles");
            }
            if well && others && !settled && !stopping && service.kind == ServiceKind::Postgres {
                let why = format!("{} is {} though its primary is well", service.name, service.state.as_str());
                self.watch.fail("it_settles", why);
                return;
            }
        }
    }
}
