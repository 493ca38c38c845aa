//! Effects on the world, each step idempotent. The [`ServiceActions`] of a service knows which part carries out which action.

pub(crate) mod application;
pub(crate) mod command;
#[cfg(feature = "ssh")]
mod copy;
pub(crate) mod dns;
#[cfg(feature = "ssh")]
mod handover;
#[cfg(feature = "ssh")]
pub(crate) mod host;
pub(crate) mod memory;
pub(crate) mod notify;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
#[cfg(feature = "ssh")]
mod rejoin;
pub(crate) mod route;
#[cfg(feature = "ssh")]
mod salvage;
pub(crate) mod server_identity;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::check::Context;
use crate::clock::Clock;
use crate::config::PromoteMethod;
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::Endpoint;
use crate::wire::resolve::Addresses;
use failover_core::id::{Generation, ServerId};
use failover_core::output::{Action, Failure, FailureKind, Report};
use failover_core::route::{InstanceView, RouteState, ServerView};
use failover_core::sample::{FenceLevel, FenceReport, ReadinessFinding, RouteInstance, Rung, RungName};
use failover_core::time::Span;

use application::{Verification, Who};
use command::{FollowCommand, PreCheck, RouteCommand, Subject};
use dns::names::{Found, Names};
#[cfg(feature = "ssh")]
use host::HostControl;
use memory::Memory;
use pgbouncer::Pooler;
use pgbouncer::gate::{Open, Order};
use postgres::{Cluster, Promotion};
use route::Route;

/// A step that the embedding program carries out itself.
pub(crate) trait EmbedderActions: Send + Sync {
    /// True when the program wants to carry out this step.
    fn takes(&self, step: &str) -> bool;

    /// Carries it out, within the deadline.
    ///
    /// # Errors
    /// Why it was not done, and whether an effect is excluded.
    fn carry_out(&self, step: &str, subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure>;
}

/// A server as its actions see it.
pub(crate) struct Server {
    /// Its name in the configuration.
    pub name: String,
    /// Its host, for commands.
    pub host: String,
    /// Its port, for commands.
    pub port: u16,
    /// Its host over SSH, where that is configured.
    #[cfg(feature = "ssh")]
    pub control: Option<HostControl>,
}

/// Carries out the actions of one service.
pub(crate) struct ServiceActions {
    /// The service's name.
    pub service: String,
    /// Its servers, by their places.
    pub servers: Vec<Server>,
    /// The same servers over SQL.
    pub cluster: Cluster,
    /// Where its traffic goes through.
    pub route: Route,
    /// Every PgBouncer in front of it.
    pub poolers: Vec<Pooler>,
    /// Names that follow the active server.
    pub names: Names,
    /// The names are the only route: they are moved by its steps.
    pub names_are_route: bool,
    /// Commands that move traffic in other ways.
    pub route_commands: Vec<RouteCommand>,
    /// What the route was before a failover, across engines; of an application.
    pub memory: Option<Memory>,
    /// Addresses through which the traffic is verified.
    pub verify: Vec<Endpoint>,
    /// The same of an application.
    pub verification: Verification,
    /// Where names become addresses.
    pub addresses: Arc<dyn Addresses>,
    /// Turns moments into the core's numbers.
    pub clock: Clock,
    /// How a standby is promoted.
    pub promote: PromoteMethod,
    /// The command of [`PromoteMethod::Command`].
    pub promote_command: Vec<String>,
    /// `fence.command`; empty where there is none.
    pub fence_command: Vec<String>,
    /// Its own deadline.
    pub fence_command_timeout: Duration,
    /// What must succeed before anything is changed.
    pub pre_checks: Vec<PreCheck>,
    /// What is run when the service that it follows has a new primary.
    pub follow: Option<FollowCommand>,
    /// What the embedding program does itself.
    pub embedder: Arc<dyn EmbedderActions>,
}

/// What moves traffic beside HAProxy.
enum Beside<'a> {
    Command(&'a RouteCommand),
    Pooler(&'a Pooler),
    /// The program that embeds the engine, with the name of its step.
    Program(&'a str),
}

impl Beside<'_> {
    fn name(&self) -> &str {
        match self {
            Beside::Command(command) => &command.name,
            Beside::Pooler(pooler) => &pooler.name,
            Beside::Program(_) => "host program",
        }
    }
}

const RELOADED: &str = "the configuration was reloaded meanwhile: try again";

impl ServiceActions {
    /// Carries out one action. Over by the deadline, and at once when cancelled.
    ///
    /// # Errors
    /// What failed, where, what to do about it, and whether an effect is excluded.
    pub(crate) fn perform(
        &self,
        action: &Action,
        generation: Generation,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let subject = self.subject(action.server(), generation);
        let step = action.name();
        match action {
            Action::AskHost { server, ask_local } => self.ask_host(*server, *ask_local, deadline, cancel),
            Action::PreChecks => self.pre_check(step, &subject, deadline, cancel),
            Action::CloseGate { patience, keep, hold, .. } => {
                let order = Order { patience: (*patience).into(), keep: *keep, hold: (*hold).into() };
                Ok(self.close_gate(&subject, order, deadline, cancel))
            }
            Action::RouteOut { server } => self
                .route(step, &subject, deadline, cancel, |route| route.take_out(&self.server(*server)?.name, deadline, cancel)),
            Action::RouteRestore { server } => {
                self.route(step, &subject, deadline, cancel, |route| route.restore(&self.server(*server)?.name, deadline, cancel))
            }
            Action::RouteRollback { server } => self
                .route(step, &subject, deadline, cancel, |route| route.roll_back(&self.server(*server)?.name, deadline, cancel)),
            Action::RouteIn { server, share } => self.route(step, &subject, deadline, cancel, |route| {
                route.bring_in(&self.server(*server)?.name, *share, deadline, cancel)
            }),
            Action::RouteWeight { server, share } => {
                self.route.weigh(&self.server(*server)?.name, *share, deadline, cancel).map(Report::Route)
            }
            Action::Fence { server, require, hung, unreachable, view_confirmed } => {
                let (require, view_confirmed) = (*require, *view_confirmed);
                let want = Want { generation, require, hung: *hung, unreachable: *unreachable, view_confirmed };
                self.fence(*server, want, &subject, deadline, cancel).map(Report::Fence)
            }
            Action::FenceUndo { server } => self.fence_undo(*server, generation, deadline, cancel),
            Action::ProveFence { server, view_confirmed } => self.prove(*server, *view_confirmed, deadline, cancel),
            Action::ReadHistory { server, timeline } => self.history(*server, *timeline, deadline, cancel),
            Action::Checkpoint { server } => self.cluster.checkpoint(*server, deadline, cancel),
            Action::StopServer { .. } => {
                self.poolers.iter().for_each(Pooler::is_stopping);
                self.on_hosts(action, generation, deadline, cancel)
            }
            Action::ReadReceipt { .. }
            | Action::StartServer { .. }
            | Action::Salvage { .. }
            | Action::EmptySpool { .. }
            | Action::ReadDivergence { .. }
            | Action::MakeSlot { .. }
            | Action::KeepLog { .. }
            | Action::Rewind { .. }
            | Action::ReadRewind { .. }
            | Action::Copy { .. }
            | Action::FollowPrimary { .. }
            | Action::StartStandby { .. } => self.on_hosts(action, generation, deadline, cancel),
            Action::ReadPositions { servers, settle } => self.cluster.read_positions(servers, *settle, deadline, cancel),
            Action::Promote { server, system_id, old_timeline } => {
                self.promote(*server, *system_id, *old_timeline, &subject, deadline, cancel)
            }
            Action::ReadRole { server } => self.cluster.read_role(*server, deadline, cancel),
            Action::VerifyData { server, system_id, old_timeline } => {
                self.cluster.verify_data(*server, *system_id, *old_timeline, deadline, cancel)
            }
            Action::RepointStandbys { .. }
            | Action::OpenSyncGate { .. }
            | Action::RestoreSyncNames { .. }
            | Action::SetSyncNames { .. }
            | Action::DropSlot { .. } => self.on_replication(action, deadline, cancel),
            Action::PointNames { server } => {
                self.names.begin(subject.generation);
                Ok(Report::Route(self.names.point_to(&self.server(*server)?.name, deadline, cancel)))
            }
            Action::Follow { server, generation, .. } => self.follow(*server, *generation, deadline, cancel),
            Action::VerifyService { server } => {
                let found = self.found(&mut self.verification.hosts(), deadline, cancel);
                let context = Context { deadline, cancel, clock: &self.clock, sample: false, addresses: &found };
                self.verification.verify(*server, &subject, &context)
            }
            Action::VerifyTraffic { server, system_id, timeline } => {
                let found = self.found(&mut self.hosts_to_verify(), deadline, cancel);
                let name = &self.server(*server)?.name;
                let sends_all = |deadline| self.sends_all_to(name, deadline, cancel);
                let route = postgres::traffic::Way { endpoints: &self.verify, addresses: &found, sends_all: &sends_all };
                self.cluster.verify_traffic(*server, *system_id, *timeline, route, deadline, cancel)
            }
        }
    }

    /// Lets the clients wait in every pooler, one after the other: most have one.
    fn close_gate(&self, subject: &Subject, order: Order, deadline: Deadline, cancel: &Cancel) -> Report {
        let (mut instances, mut running) = (Vec::new(), true);
        for pooler in &self.poolers {
            let closed = pooler.close_gate(&subject.server, subject.generation, order, deadline, cancel);
            instances.push(match closed {
                Ok(said) => RouteInstance { name: pooler.name.clone(), result: Ok(said) },
                Err(Open::Running(why)) => RouteInstance { name: pooler.name.clone(), result: Err(why) },
                Err(Open::Failed(failure)) => {
                    running = false;
                    RouteInstance::failed(&pooler.name, &failure)
                }
            });
        }
        Report::Gate { instances, running }
    }

    /// What concerns who receives from whom, and whom commits wait for.
    fn on_replication(&self, action: &Action, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        match action {
            Action::RepointStandbys { standbys, primary, system_id, timeline, former } => {
                let (primary, system_id, timeline) = (*primary, *system_id, *timeline);
                let order = postgres::Repoint { standbys, primary, system_id, timeline, former };
                self.cluster.repoint_standbys(order, deadline, cancel)
            }
            Action::OpenSyncGate { server } => self.cluster.open_sync_gate(*server, deadline, cancel),
            Action::RestoreSyncNames { server, names } => self.cluster.restore_sync_names(*server, names, deadline, cancel),
            Action::SetSyncNames { server, system_id, standby, from, names } => {
                let (server, system_id, standby) = (*server, *system_id, *standby);
                let order = postgres::SyncOrder { server, system_id, standby, from, names };
                self.cluster.set_sync_names(order, deadline, cancel)
            }
            Action::DropSlot { server, slot } => self.cluster.drop_slot(*server, slot, deadline, cancel),
            _ => Err(Failure::no_effect(format!("{} does not concern replication", action.name()), "")),
        }
    }

    /// What is done on the hosts of the databases alone.
    #[cfg(feature = "ssh")]
    fn on_hosts(&self, action: &Action, generation: Generation, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        match action {
            Action::StopServer { server } => self.stop_server(*server, generation, deadline, cancel),
            Action::ReadReceipt { server, standbys, system_id, timeline, patience } => {
                let log = handover::Log { server: *server, system_id: *system_id, timeline: *timeline };
                self.read_receipt(log, standbys, (*patience).into(), deadline, cancel)
            }
            Action::StartServer { server, view_confirmed, overdue } => {
                self.start_server(*server, generation, *view_confirmed, *overdue, deadline, cancel)
            }
            Action::Salvage { server, old, system_id, timeline, from, patience } => {
                let log = host::Log { system_id: *system_id, timeline: *timeline };
                let order = salvage::Order { server: *server, old: *old, log, from: *from, patience: (*patience).into() };
                self.salvage(order, deadline, cancel)
            }
            Action::EmptySpool { server } => {
                self.control(*server)?.unspool(deadline, cancel)?;
                Ok(Report::Done { message: "failover-spool is empty".to_owned() })
            }
            Action::Copy { server, order } => self.copy(*server, order, generation, deadline, cancel),
            _ => self.rejoin(action, generation, deadline, cancel),
        }
    }

    #[cfg(not(feature = "ssh"))]
    fn on_hosts(&self, action: &Action, _: Generation, _: Deadline, _: &Cancel) -> Result<Report, Failure> {
        let name = action.server().map(|server| self.server(server)).transpose()?.map_or("", |server| &server.name);
        Err(no_ssh(name))
    }

    /// Who answers at each address of the route of an application now. Changes nothing.
    #[must_use]
    pub(crate) fn who(&self, deadline: Deadline, cancel: &Cancel) -> Vec<(String, Who)> {
        let found = self.found(&mut self.verification.hosts(), deadline, cancel);
        self.verification.who(&Context { deadline, cancel, clock: &self.clock, sample: false, addresses: &found })
    }

    /// What hurts at the addresses of the route of a database now, as [`Cluster::look_through`] sees it. Changes nothing.
    #[must_use]
    pub(crate) fn look_through(
        &self,
        server: ServerId,
        system_id: Option<u64>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Vec<ReadinessFinding> {
        let found = self.found(&mut self.hosts_to_verify(), deadline, cancel);
        self.cluster.look_through(server, system_id, (&self.verify, &found), deadline, cancel)
    }

    fn hosts_to_verify(&self) -> impl Iterator<Item = &str> {
        self.verify.iter().filter_map(|endpoint| match endpoint {
            Endpoint::Tcp { host, .. } => Some(host.as_str()),
            Endpoint::Unix { .. } => None,
        })
    }

    /// Where the addresses of the route are: through names that are the route, as their zones have them now. Beside another route they
    /// follow later, and lead to the old server until then.
    fn found<'a>(&'a self, hosts: &mut dyn Iterator<Item = &str>, deadline: Deadline, cancel: &Cancel) -> Found<'a> {
        let nobody = &mut std::iter::empty();
        let hosts = if self.names_are_route { hosts } else { nobody };
        self.names.found(hosts, &*self.addresses, deadline.at_most(deadline.remaining() / 2), cancel)
    }

    fn follow(&self, server: ServerId, generation: Generation, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let none = || Failure::no_effect(format!("{} follows no other service", self.service), RELOADED);
        let follow = self.follow.as_ref().ok_or_else(none)?;
        command::follow(follow, &self.service, usize::from(server.0), generation.0, deadline, cancel)
            .map(|message| Report::Done { message })
    }

    fn subject(&self, server: Option<ServerId>, generation: Generation) -> Subject {
        let server = server.and_then(|id| self.servers.get(usize::from(id.0)));
        Subject {
            service: self.service.clone(),
            server: server.map_or_else(String::new, |server| server.name.clone()),
            host: server.map_or_else(String::new, |server| server.host.clone()),
            port: server.map_or(0, |server| server.port),
            generation: generation.0,
        }
    }

    fn server(&self, id: ServerId) -> Result<&Server, Failure> {
        self.servers
            .get(usize::from(id.0))
            .ok_or_else(|| Failure::no_effect(format!("there is no server number {id} in {}", self.service), RELOADED))
    }

    #[cfg(feature = "ssh")]
    fn control(&self, id: ServerId) -> Result<&HostControl, Failure> {
        let server = self.server(id)?;
        server.control.as_ref().ok_or_else(|| no_ssh(&server.name))
    }

    fn route(
        &self,
        step: &str,
        subject: &Subject,
        deadline: Deadline,
        cancel: &Cancel,
        run: impl FnOnce(&Route) -> Result<Vec<RouteInstance>, Failure>,
    ) -> Result<Report, Failure> {
        // What a program knows of undoing has one name.
        let of_program = if step == "route_rollback" { "route_restore" } else { step };
        let mut beside: Vec<Beside<'_>> = Vec::new();
        if self.embedder.takes(of_program) {
            beside.push(Beside::Program(of_program));
        }
        beside.extend(self.route_commands.iter().map(Beside::Command));
        beside.extend(self.poolers.iter().map(Beside::Pooler));
        let names = self.names_are_route;
        let forgetful = self.remember(step, subject.generation, deadline, cancel);
        if beside.is_empty() && self.route.instances() > 0 {
            self.route.begin(subject.generation);
            let mut instances = run(&self.route)?;
            instances.extend(forgetful);
            return Ok(Report::Route(instances));
        }
        if let ([Beside::Program(step)], false, 0) = (beside.as_slice(), names, self.route.instances()) {
            let said = self.embedder.carry_out(step, subject, deadline, cancel)?;
            return Ok(Report::Route(vec![RouteInstance { name: beside[0].name().to_owned(), result: Ok(said) }]));
        }
        if beside.is_empty() && !names {
            let message = format!("{} has no managed route", self.service);
            return Err(Failure::no_effect(message, "configure services.route.haproxy"));
        }
        let mut instances = self.run_beside(&beside, step, subject, deadline, cancel, || {
            if names {
                self.step_of_names(step, subject, deadline, cancel)
            } else if self.route.instances() > 0 {
                self.route.begin(subject.generation);
                run(&self.route).unwrap_or_else(|failure| vec![RouteInstance::failed("haproxy", &failure)])
            } else {
                Vec::new()
            }
        });
        instances.extend(forgetful);
        Ok(Report::Route(instances))
    }

    /// Before the first change, what is there goes to disk; after a restart, it comes from there. An instance that failed says that it
    /// could not be written.
    fn remember(&self, step: &str, generation: u64, deadline: Deadline, cancel: &Cancel) -> Option<RouteInstance> {
        let memory = self.memory.as_ref().filter(|memory| !memory.knows_all(generation))?;
        self.route.begin(generation);
        self.names.begin(generation);
        if !memory.knows(generation)
            && let Some(found) = memory.recall(generation)
        {
            self.route.recall(&found.route);
            self.names.recall(&found.names);
            return None;
        }
        if !matches!(step, "route_out" | "route_in") {
            return None;
        }
        let deadline = deadline.at_most(deadline.remaining() / 2);
        // Again before the next step where somebody did not answer: what a step changed since, it kept itself.
        let (route, mut whole) = self.route.note(deadline, cancel);
        let mut names = crate::action::memory::NamesBefore::new();
        if self.names_are_route {
            let (noted, all) = self.names.note(deadline, cancel);
            (names, whole) = (noted, whole && all);
        }
        let failed = memory.keep(&crate::action::memory::Found { generation, route, names }, whole).err()?;
        let why = format!("{failed}; an engine that is killed now could not go back to what was");
        Some(RouteInstance { name: "previous values".to_owned(), result: Err(why) })
    }

    /// A step of names that are the only route beside what a program moves.
    fn step_of_names(&self, step: &str, subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        self.names.begin(subject.generation);
        match step {
            "route_in" => self.names.point_to(&subject.server, deadline, cancel),
            "route_rollback" => self.names.roll_back(&subject.server, deadline, cancel),
            _ => vec![RouteInstance {
                name: "names".to_owned(),
                result: Ok("nothing is changed before another server is chosen".into()),
            }],
        }
    }

    /// What the host program and the commands of the configuration say beforehand.
    fn pre_check(&self, step: &str, subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let mut said = Vec::new();
        if self.embedder.takes(step) {
            said.push(self.embedder.carry_out(step, subject, deadline, cancel)?);
        }
        said.push(command::pre_checks(&self.pre_checks, subject, deadline, cancel)?);
        Ok(Report::Done { message: said.join("; ") })
    }

    /// What a server is called; empty for none of this service.
    #[must_use]
    pub(crate) fn name_of(&self, id: ServerId) -> String {
        self.servers.get(usize::from(id.0)).map_or_else(String::new, |server| server.name.clone())
    }

    /// There is something whose state can be seen: a HAProxy, a PgBouncer.
    #[must_use]
    pub(crate) fn has_instances(&self) -> bool {
        self.route.instances() > 0 || !self.poolers.is_empty()
    }

    /// Who gets new sessions from each instance, for [`findings`](failover_core::route::findings). Changes nothing.
    #[must_use]
    pub(crate) fn view_route(&self, deadline: Deadline, cancel: &Cancel) -> Vec<InstanceView> {
        let mut views = if self.route.instances() > 0 { self.route.view(deadline, cancel) } else { Vec::new() };
        views.extend(self.poolers.iter().map(|pooler| pooler.view(deadline, cancel)));
        views
    }

    /// By the instances' own state all new sessions go to this server, and to no other: which instances said so, or who says otherwise. One
    /// that cannot be asked is left out while another one says it.
    fn sends_all_to(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Result<String, String> {
        let mut said = Vec::new();
        for instance in self.view_route(deadline, cancel) {
            let Ok(servers) = instance.servers else { continue };
            let takes = |view: &&ServerView| matches!(view.state, RouteState::Takes | RouteState::Backup);
            let taking: Vec<&str> = servers.iter().filter(takes).map(|view| view.server.as_str()).collect();
            let its_own = servers.iter().any(|view| view.server == server && view.state == RouteState::Takes);
            if !its_own || taking.len() != 1 {
                return Err(format!(
                    "{} sends sessions to {}",
                    instance.name,
                    if taking.is_empty() { "nobody".to_owned() } else { taking.join(", ") }
                ));
            }
            said.push(instance.name);
        }
        if said.is_empty() {
            Err("no instance of the route says where it sends sessions".to_owned())
        } else {
            Ok(said.join(", "))
        }
    }

    /// There is a HAProxy.
    #[must_use]
    pub(crate) fn has_balancers(&self) -> bool {
        self.route.instances() > 0
    }

    /// What went wrong between the load balancers and each server: [`Route::errors`].
    #[must_use]
    pub(crate) fn route_errors(&self, deadline: Deadline, cancel: &Cancel) -> Vec<BTreeMap<String, u64>> {
        self.route.errors(deadline, cancel)
    }

    /// The program's own step, commands and poolers, each in a thread of its own, while `meanwhile` is done: what one of them cannot
    /// do, or is slow to do, keeps nobody else from it.
    fn run_beside(
        &self,
        all: &[Beside<'_>],
        step: &str,
        subject: &Subject,
        deadline: Deadline,
        cancel: &Cancel,
        meanwhile: impl FnOnce() -> Vec<RouteInstance>,
    ) -> Vec<RouteInstance> {
        let run = |beside: &Beside<'_>| {
            let outcome = match beside {
                Beside::Command(command) => command::route(command, step, subject, deadline, cancel)?,
                Beside::Pooler(pooler) => pooler.step(step, &subject.server, subject.generation, deadline, cancel),
                Beside::Program(step) => self.embedder.carry_out(step, subject, deadline, cancel),
            };
            Some(match outcome {
                Ok(said) => RouteInstance { name: beside.name().to_owned(), result: Ok(said) },
                Err(failure) => RouteInstance::failed(beside.name(), &failure),
            })
        };
        let run = &run;
        std::thread::scope(|scope| {
            let started: Vec<_> = all
                .iter()
                .enumerate()
                .map(|(at, beside)| {
                    let name = format!("fo-route-cmd-{at}");
                    std::thread::Builder::new().name(name).spawn_scoped(scope, move || run(beside)).map_err(|_| beside)
                })
                .collect();
            let mut instances = meanwhile();
            instances.extend(started.into_iter().zip(all).filter_map(|(thread, beside)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| {
                    Some(RouteInstance::failed(beside.name(), &Failure::unknown("an internal error (panic)", "")))
                }),
                // No thread to be had: later is better than never.
                Err(beside) => run(beside),
            }));
            instances
        })
    }

    #[cfg(feature = "ssh")]
    fn ask_host(&self, server: ServerId, ask_local: bool, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        self.control(server)?.report_and_end(ask_local, deadline, cancel).map(|(word, end)| match end {
            Some(end) => Report::HostShutDown { word, end },
            None => Report::Host(word),
        })
    }

    #[cfg(feature = "ssh")]
    fn prove(&self, server: ServerId, view_confirmed: bool, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        self.control(server)?.prove(view_confirmed, deadline, cancel).map(Report::Fence)
    }

    #[cfg(feature = "ssh")]
    fn fence_undo(
        &self,
        server: ServerId,
        generation: Generation,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let message = match &self.server(server)?.control {
            Some(control) => control.undo(generation, deadline, cancel)?,
            None => NOTHING_TO_UNDO.to_owned(),
        };
        Ok(Report::Done { message })
    }

    #[cfg(not(feature = "ssh"))]
    fn ask_host(&self, server: ServerId, _: bool, _: Deadline, _: &Cancel) -> Result<Report, Failure> {
        Err(no_ssh(&self.server(server)?.name))
    }

    #[cfg(feature = "ssh")]
    fn history(&self, server: ServerId, timeline: u32, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let switches = self.control(server)?.history(timeline, deadline, cancel)?;
        Ok(Report::History { timeline, switches })
    }

    #[cfg(not(feature = "ssh"))]
    fn history(&self, server: ServerId, _: u32, _: Deadline, _: &Cancel) -> Result<Report, Failure> {
        Err(no_ssh(&self.server(server)?.name))
    }

    #[cfg(not(feature = "ssh"))]
    fn prove(&self, server: ServerId, _: bool, _: Deadline, _: &Cancel) -> Result<Report, Failure> {
        Err(no_ssh(&self.server(server)?.name))
    }

    #[cfg(not(feature = "ssh"))]
    fn fence_undo(&self, server: ServerId, _: Generation, _: Deadline, _: &Cancel) -> Result<Report, Failure> {
        self.server(server)?;
        Ok(Report::Done { message: NOTHING_TO_UNDO.to_owned() })
    }

    #[cfg(feature = "ssh")]
    fn ladder(&self, server: ServerId, want: Want, deadline: Deadline, cancel: &Cancel) -> Result<FenceReport, Failure> {
        self.control(server)?.fence(want.generation, want.require, want.hung, want.view_confirmed, deadline, cancel)
    }

    #[cfg(not(feature = "ssh"))]
    fn ladder(&self, server: ServerId, _: Want, _: Deadline, _: &Cancel) -> Result<FenceReport, Failure> {
        Err(no_ssh(&self.server(server)?.name))
    }

    fn can_cut_power(&self) -> bool {
        !self.fence_command.is_empty() || self.embedder.takes("fence")
    }

    /// Level 4: by the host program, or by `fence.command`.
    fn cut_power(&self, subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Result<FenceReport, Failure> {
        let deadline = deadline.at_most(self.fence_command_timeout);
        if !self.embedder.takes("fence") {
            return command::fence(&self.fence_command, subject, deadline, cancel);
        }
        let before = deadline.remaining();
        let note = self.embedder.carry_out("fence", subject, deadline, cancel)?;
        let took = Span::from(before.saturating_sub(deadline.remaining()));
        let proof = format!("the host program says that {} is cut off: {note}", subject.server);
        let rungs = vec![Rung { name: RungName::Command, ok: true, took, note }];
        Ok(FenceReport { level: FenceLevel::PowerOff, guard_placed: false, rungs, proof, end: None })
    }

    /// The ladder over SSH, and power or volume where that is not enough (rules 26, 31).
    fn fence(
        &self,
        server: ServerId,
        want: Want,
        subject: &Subject,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<FenceReport, Failure> {
        let name = &self.server(server)?.name;
        if !self.can_cut_power() {
            if want.unreachable {
                return Err(Failure::no_effect(
                    format!("the host of {name} does not answer, and no fence.command is configured"),
                    "configure services.fence.command, or cut the server off by hand and then force the failover",
                ));
            }
            return self.ladder(server, want, deadline, cancel);
        }
        if want.unreachable || want.require >= FenceLevel::PowerOff {
            return self.cut_power(subject, deadline, cancel);
        }
        // The command keeps its time whatever the ladder takes, up to a half of it all.
        let all = deadline.remaining();
        let kept = self.fence_command_timeout.min(all / 2);
        let climbed = self.ladder(server, want, deadline.at_most(all.saturating_sub(kept)), cancel);
        match climbed {
            Ok(report) if report.level >= want.require => Ok(report),
            Err(failure) if failure.kind == FailureKind::Cancelled => Err(failure),
            climbed => {
                let mut report = self.cut_power(subject, deadline, cancel).map_err(|failure| after(&climbed, failure))?;
                match climbed {
                    Ok(ladder) => {
                        report.guard_placed = ladder.guard_placed;
                        report.rungs.splice(0..0, ladder.rungs);
                    }
                    Err(failure) => {
                        // Whether the guard was placed is not known; its removal finds out.
                        report.guard_placed = !failure.had_no_effect();
                        let rung = Rung { name: RungName::Ssh, ok: false, took: Span::ZERO, note: failure.message };
                        report.rungs.insert(0, rung);
                    }
                }
                Ok(report)
            }
        }
    }

    fn promote(
        &self,
        server: ServerId,
        system_id: u64,
        old_timeline: u32,
        subject: &Subject,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let by_program = |deadline: Deadline, cancel: &Cancel| self.embedder.carry_out("promote", subject, deadline, cancel);
        let by_command = |deadline: Deadline, cancel: &Cancel| command::promote(&self.promote_command, subject, deadline, cancel);
        let promotion = if self.embedder.takes("promote") {
            Promotion::Command(&by_program)
        } else {
            match self.promote {
                PromoteMethod::PgPromote => Promotion::Sql,
                #[cfg(feature = "ssh")]
                PromoteMethod::PgCtl => Promotion::PgCtl(self.control(server)?),
                #[cfg(not(feature = "ssh"))]
                PromoteMethod::PgCtl => return Err(no_ssh(&self.server(server)?.name)),
                PromoteMethod::Command => Promotion::Command(&by_command),
            }
        };
        self.cluster.promote(server, promotion, system_id, old_timeline, deadline, cancel)
    }
}

/// What is wanted of a fence.
#[derive(Clone, Copy)]
struct Want {
    #[cfg_attr(not(feature = "ssh"), expect(dead_code))]
    generation: Generation,
    require: FenceLevel,
    #[cfg_attr(not(feature = "ssh"), expect(dead_code))]
    hung: bool,
    unreachable: bool,
    #[cfg_attr(not(feature = "ssh"), expect(dead_code))]
    view_confirmed: bool,
}

const NOTHING_TO_UNDO: &str = "no SSH is configured, so the fence left nothing on the host";

fn no_ssh(name: &str) -> Failure {
    Failure::refused(format!("no SSH is configured for {name}: its host cannot be asked"), "configure services.ssh and data_dir")
}

/// A failure of the last resort, with what was tried before it. If anything may have had an effect, the whole may have.
fn after(climbed: &Result<FenceReport, Failure>, last: Failure) -> Failure {
    let (before, first) = match climbed {
        Ok(report) => (format!("level {} by SSH ({})", report.level.number(), report.proof), FailureKind::Unknown),
        Err(failure) => (failure.message.clone(), failure.kind),
    };
    let kind = match (first, last.kind) {
        (FailureKind::NoEffect | FailureKind::Refused, FailureKind::Refused) => first,
        (FailureKind::NoEffect | FailureKind::Refused, last) => last,
        (_, FailureKind::NoEffect | FailureKind::Refused) => FailureKind::Unknown,
        (_, last) => last,
    };
    Failure { kind, message: format!("{before}; then {}", last.message), remedy: last.remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::wire::resolve::Literals;
    use parking_lot::Mutex;
    use std::collections::BTreeMap;

    /// A host program that takes over some steps and remembers what it was asked.
    #[derive(Default)]
    struct Program {
        steps: Vec<&'static str>,
        refuses: bool,
        asked: Mutex<Vec<String>>,
    }

    impl EmbedderActions for Program {
        fn takes(&self, step: &str) -> bool {
            self.steps.contains(&step)
        }

        fn carry_out(&self, step: &str, subject: &Subject, _: Deadline, _: &Cancel) -> Result<String, Failure> {
            self.asked.lock().push(subject.idempotency_key(step));
            if self.refuses { Err(Failure::unknown("no idea", "")) } else { Ok("done by the program".to_owned()) }
        }
    }

    fn actions(program: Program, fence_command: &[&str]) -> (ServiceActions, Arc<Program>) {
        let program = Arc::new(program);
        let server = |name: &str| Server {
            name: name.to_owned(),
            host: "192.0.2.1".to_owned(),
            port: 5432,
            #[cfg(feature = "ssh")]
            control: None,
        };
        let actions = ServiceActions {
            service: "orders".to_owned(),
            servers: vec![server("db1"), server("db2")],
            cluster: Cluster::new(BTreeMap::new(), Arc::new(Literals), Clock::start()),
            route: Route::new(Vec::new(), Arc::new(Literals)),
            poolers: Vec::new(),
            names: Names::new(Vec::new(), Arc::new(Literals)),
            names_are_route: false,
            route_commands: Vec::new(),
            memory: None,
            verify: Vec::new(),
            verification: Verification::default(),
            addresses: Arc::new(Literals),
            clock: Clock::start(),
            promote: PromoteMethod::PgCtl,
            promote_command: Vec::new(),
            fence_command: fence_command.iter().map(|word| (*word).to_owned()).collect(),
            fence_command_timeout: Duration::from_secs(10),
            pre_checks: Vec::new(),
            follow: None,
            embedder: Arc::clone(&program) as Arc<dyn EmbedderActions>,
        };
        (actions, program)
    }

    fn perform(actions: &ServiceActions, action: &Action) -> Result<Report, Failure> {
        let cancel = Cancel::new().unwrap();
        actions.perform(action, Generation(3), Deadline::after(Duration::from_secs(30)), &cancel)
    }

    fn fence(require: FenceLevel, unreachable: bool) -> Action {
        Action::Fence { server: ServerId(0), require, hung: false, unreachable, view_confirmed: true }
    }

    fn level(outcome: Result<Report, Failure>) -> FenceLevel {
        match outcome {
            Ok(Report::Fence(report)) => report.level,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_part_is_named_with_a_remedy_and_has_no_effect() {
        let (actions, _) = actions(Program::default(), &[]);
        let server = ServerId(0);
        let each = [
            Action::AskHost { server, ask_local: true },
            Action::RouteOut { server },
            Action::RouteRestore { server },
            Action::RouteIn { server, share: None },
            fence(FenceLevel::ProvenStopped, false),
            fence(FenceLevel::ProvenStopped, true),
            Action::ProveFence { server, view_confirmed: true },
            Action::ReadRole { server },
            Action::Promote { server, system_id: 1, old_timeline: 1 },
            Action::VerifyTraffic { server, system_id: 1, timeline: 2 },
            Action::RouteOut { server: ServerId(9) },
        ];
        for action in each {
            let failure = perform(&actions, &action).unwrap_err();
            assert!(failure.had_no_effect(), "{action:?}: {failure:?}");
            assert!(!failure.remedy.is_empty(), "{action:?}: {failure:?}");
        }
        // Nothing to undo and nothing to check is success.
        assert!(perform(&actions, &Action::FenceUndo { server }).is_ok());
        assert!(perform(&actions, &Action::PreChecks).is_ok());
    }

    #[test]
    fn power_is_cut_where_the_ladder_cannot_prove_its_level() {
        let (by_command, _) = actions(Program::default(), &["true"]);
        for (require, unreachable) in
            [(FenceLevel::ProvenStopped, false), (FenceLevel::ProvenStopped, true), (FenceLevel::PowerOff, false)]
        {
            assert_eq!(level(perform(&by_command, &fence(require, unreachable))), FenceLevel::PowerOff);
        }
        let (by_program, program) = actions(Program { steps: vec!["fence"], ..Program::default() }, &["false"]);
        assert_eq!(level(perform(&by_program, &fence(FenceLevel::ProvenStopped, true))), FenceLevel::PowerOff);
        assert_eq!(*program.asked.lock(), ["orders/3/fence/db1"]);
    }

    #[test]
    fn a_failed_last_resort_tells_what_was_tried_before_it() {
        let (actions, _) = actions(Program::default(), &["false"]);
        let failure = perform(&actions, &fence(FenceLevel::ProvenStopped, false)).unwrap_err();
        assert!(failure.message.contains("no SSH is configured for db1") && failure.message.contains("; then fence.command"));
        assert_ne!(failure.kind, FailureKind::NoEffect);
    }

    #[test]
    fn the_program_takes_over_the_steps_it_asked_for_and_no_others() {
        let steps = vec!["route_out", "pre_checks"];
        let (willing, program) = actions(Program { steps, ..Program::default() }, &[]);
        let server = ServerId(1);
        match perform(&willing, &Action::RouteOut { server }).unwrap() {
            Report::Route(instances) => assert_eq!(instances[0].result.as_deref(), Ok("done by the program")),
            other => panic!("{other:?}"),
        }
        perform(&willing, &Action::PreChecks).unwrap();
        assert!(perform(&willing, &Action::RouteIn { server, share: None }).is_err());
        assert_eq!(*program.asked.lock(), ["orders/3/route_out/db2", "orders/3/pre_checks/"]);
        let (unwilling, _) = actions(Program { steps: vec!["route_out"], refuses: true, ..Program::default() }, &[]);
        assert_eq!(perform(&unwilling, &Action::RouteOut { server }).unwrap_err().kind, FailureKind::Unknown);
    }
}
