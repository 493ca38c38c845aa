//! The configuration as the decision core sees it: names, numbers and policies; no addresses, no secrets.

use std::collections::BTreeSet;
use std::time::Duration;

use super::check::{Check, Probe};
use super::model::{Follows, PostgresProbe, Root, Route, Server, Service, Timing};
use super::word::OnImpaired;
use failover_core::id::{ServerId, ServiceId};
use failover_core::model::{
    CheckModel, FenceModel, FollowModel, Model, PostgresModel, RouteModel, ServerModel, ServiceModel, SyncModel, TriggerModel,
};
use failover_core::switchover::GateModel;
use failover_core::time::Span;

/// Where fewer services can be moved, any number may fail over at once.
const FEW: usize = 10;

impl Root {
    /// The same configuration in the core's words. Services, servers and checks keep their places: a server's place in
    /// [`Service::servers`] is its `ServerId`, a check's place in [`Service::all_checks`] its `CheckId`.
    #[must_use]
    pub fn model(&self) -> Model {
        let services: Vec<ServiceModel> = self.services.iter().map(|service| service_model(self, service)).collect();
        let moved = services.iter().filter(|service| service.is_moved()).count();
        let tenth = (moved >= FEW).then(|| u32::try_from(moved.div_ceil(10)).unwrap_or(u32::MAX));
        Model { seed: self.engine.seed, max_concurrent_failovers: self.engine.max_concurrent_failovers.or(tenth), services }
    }

    /// What checks of kind `host` ask the embedding program for: their `function`, or their own name.
    #[must_use]
    pub fn host_functions(&self) -> BTreeSet<String> {
        let checks = self.services.iter().flat_map(|service| &service.checks);
        let asked = checks.filter_map(|check| match &check.probe {
            Probe::Host(probe) => Some(probe.function.as_ref().unwrap_or(&check.name).clone()),
            _ => None,
        });
        asked.collect()
    }
}

impl Service {
    /// Every check of the service: of a `postgres` service first the implicit `SERVER/postgres` of each server, then the
    /// configured ones, each in the order of the file.
    #[must_use]
    pub fn all_checks(&self) -> Vec<Check> {
        let implicit = self.servers.iter().filter(|_| self.kind.holds_data()).map(Server::implicit_check);
        implicit.chain(self.checks.iter().cloned()).collect()
    }

    /// Its names are the only way to its servers that the engine moves.
    #[must_use]
    pub fn names_are_route(&self) -> bool {
        !self.dns.is_empty() && self.route.is_empty()
    }

    /// The server of this name and its place.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<(usize, &Server)> {
        self.servers.iter().enumerate().find(|(_, server)| server.name == name)
    }
}

impl Route {
    /// Nothing in it moves traffic.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.haproxy.is_empty() && self.pgbouncer.is_empty() && self.command.is_empty()
    }
}

impl Server {
    /// The check that every server of a `postgres` service has.
    fn implicit_check(&self) -> Check {
        let probe = PostgresProbe { query: self.check.query.clone(), write_probe: self.check.write_probe };
        Check {
            name: format!("{}/postgres", self.name),
            server: self.name.clone(),
            probe: Probe::Postgres(probe),
            timing: self.check.timing.clone(),
        }
    }
}

fn service_model(root: &Root, service: &Service) -> ServiceModel {
    let trigger = &service.trigger;
    let names = service.dns.iter().map(|name| span(name.timeout)).max();
    let names_are_route = service.names_are_route();
    let instances =
        service.route.haproxy.len() + service.route.pgbouncer.len() + service.route.command.len() + usize::from(names_are_route);
    let poolers = service.route.pgbouncer.iter().map(|pooler| span(pooler.timeout)).max().unwrap_or_default();
    let commands = service.route.command.iter().map(|command| span(command.timeout)).max().unwrap_or_default();
    ServiceModel {
        name: service.name.clone(),
        kind: service.kind,
        servers: service.servers.iter().map(|server| server_model(service, server)).collect(),
        checks: service.all_checks().iter().map(|check| check_model(service, check)).collect(),
        trigger: TriggerModel {
            failure_threshold: trigger.failure_threshold,
            failure_window: trigger.failure_window.into(),
            policy: trigger.policy,
            cooldown: trigger.cooldown.into(),
            require_confirmation: trigger.require_confirmation,
            confirm_timeout: trigger.confirm_timeout.into(),
            failover_timeout: trigger.failover_timeout.into(),
            hang_after: trigger.hang_after.into(),
            ping_interval: trigger.ping_interval.into(),
            restart_grace: trigger.restart_grace.into(),
            on_impaired: match trigger.on_impaired {
                OnImpaired::Never => None,
                OnImpaired::After(duration) => Some(span(duration)),
            },
        },
        fence: FenceModel { require: service.fence.require, timeout: service.fence.timeout.into() },
        postgres: PostgresModel {
            max_lag_bytes: service.data.max_lag_bytes.bytes(),
            on_loss: service.data.on_loss,
            promotion_timeout: service.promote.timeout.into(),
            on_no_sync_standby: service.data.on_no_sync_standby,
            allow_delayed: service.data.allow_delayed,
            salvage: service.data.salvage,
            salvage_timeout: service.data.salvage_timeout.into(),
            followers: service.data.followers,
            rejoin: service.data.rejoin,
            sync: SyncModel {
                keep: service.data.synchronous,
                count: service.data.synchronous_count,
                timeout: service.data.synchronous_timeout.into(),
            },
        },
        route: RouteModel {
            instances: u32::try_from(instances).unwrap_or(u32::MAX),
            exclusive: service.route.exclusive,
            names: names.filter(|_| !names_are_route),
            names_ttl: service.dns.iter().map(|name| name.ttl).max(),
            commands_in: commands.max(poolers).max(names.filter(|_| names_are_route).unwrap_or_default()),
            commands_out: service
                .route
                .command
                .iter()
                .filter(|command| !command.out.is_empty())
                .map(|command| span(command.timeout))
                .max()
                .unwrap_or_default()
                .max(poolers.min(Span::from_millis(1_000))),
            verify: !service.route.verify.is_empty() || !service.route.verify_command.is_empty(),
            ramp: service.route.weight_ramp.map_or(Span::ZERO, Into::into),
            gate: (!service.route.pgbouncer.is_empty()).then(|| GateModel {
                pause_timeout: service.switchover.pause_timeout.into(),
                on_timeout: service.switchover.on_pause_timeout,
            }),
            verify_for: service.route.verify_timeout.into(),
        },
        pre_checks: !service.pre_checks.is_empty(),
        follows: service.follows.as_ref().and_then(|follows| follow_model(root, service, follows)),
    }
}

/// Validation has seen that everything it names is there.
fn follow_model(root: &Root, service: &Service, follows: &Follows) -> Option<FollowModel> {
    let place = root.services.iter().position(|other| other.name == follows.service)?;
    let other = &root.services[place];
    let id = |service: &Service, name: &str| u16::try_from(service.server(name)?.0).ok().map(ServerId);
    Some(FollowModel {
        service: ServiceId(u16::try_from(place).ok()?),
        name: other.name.clone(),
        servers: other.servers.iter().map(|server| server.name.clone()).collect(),
        command: !follows.command.is_empty(),
        timeout: follows.timeout.into(),
        with: follows.with.iter().filter_map(|(theirs, own)| Some((id(other, theirs)?, id(service, own)?))).collect(),
        hold: follows.hold.into(),
    })
}

fn server_model(service: &Service, server: &Server) -> ServerModel {
    ServerModel {
        name: server.name.clone(),
        role: server.role,
        priority: server.priority,
        candidate: server.candidate,
        ssh: server.ssh.is_some(),
        fence_command: !service.fence.command.is_empty(),
        replication_name: server.replication_name.clone(),
    }
}

fn check_model(service: &Service, check: &Check) -> CheckModel {
    let Timing { interval, fast_interval, timeout, failure_threshold, success_threshold } = check.timing;
    // Validation has seen the server and that there are not more than fit.
    let server = service.server(&check.server).and_then(|(place, _)| u16::try_from(place).ok()).unwrap_or_default();
    CheckModel {
        name: check.name.clone(),
        server,
        kind: check.probe.kind(),
        interval: interval.into(),
        fast_interval: fast_interval.into(),
        timeout: timeout.into(),
        failure_threshold,
        success_threshold,
    }
}

fn span(duration: Duration) -> Span {
    Span::from(duration)
}
