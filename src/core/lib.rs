//! The decision: pure. No I/O, no threads, no clock, no logging, no `unsafe`.
//!
//! [`Core::step`] holds every decision of the engine. The same inputs at the same moments give the same outputs, so whatever
//! it decided can be replayed, simulated and tested without a socket. The shell feeds it observations and outcomes, carries out
//! its outputs in order, and calls it again at [`Core::next_deadline`] at the latest.

use serde::{Deserialize, Serialize};
pub mod breaker;
pub mod candidate;
pub mod copy;
mod damping;
pub mod doubt;
mod due;
pub mod durable;
mod effects;
pub mod event;
pub mod evidence;
pub mod finding;
pub mod handover;
pub mod health;
pub mod id;
pub mod input;
pub mod kept_set;
pub mod kind;
pub mod knowledge;
pub mod model;
pub mod observation;
pub mod output;
pub mod plan;
mod procedure;
pub mod reason;
pub mod refusal;
pub mod rejoin;
pub mod replay_pace;
pub mod route;
pub mod salvage;
pub mod sample;
pub mod schedule;
mod service;
pub mod snapshot;
mod static_word;
pub mod stats;
pub mod streams;
pub mod survival;
pub mod switchover;
pub mod sync_set;
pub mod time;
pub mod traffic;
pub mod trigger;
pub mod words;

use doubt::{Doubt, DoubtCause, DoubtChange, GAP, too_silent};
use due::Due;
use effects::{About, Effects, text, texts};
use event::{EventKind, Field, Severity};
use id::ServiceId;
use input::{Command, Input, SelfHealth};
use model::Model;
use output::{Answer, Output};
use schedule::Jitter;
use service::gate::Act;
use service::{Service, Surroundings};
use snapshot::Snapshot;
use switchover::SwitchoverOrder;
use time::{Mono, Span};

/// The decision core of one engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Core {
    services: Vec<Service>,
    jitter: Jitter,
    doubt: Doubt,
    health: SelfHealth,
    effects: Effects,
    promised: Mono,
    started: bool,
    /// So many failovers may begin within a minute.
    #[serde(default)]
    most: Option<u32>,
    /// A person was asked about those that wait.
    #[serde(default)]
    asked: bool,
    /// The journal has yet to tell of some what it knows.
    #[serde(default)]
    unread: bool,
    #[serde(default)]
    due: Due,
}

impl Core {
    /// A core that has seen nothing yet. It decides nothing before its first step.
    #[must_use]
    pub fn new(model: Model) -> Core {
        let services = services_of(model.services, Mono::ZERO);
        Core {
            due: Due::of(&services, Mono::ZERO),
            services,
            jitter: Jitter::new(model.seed),
            doubt: Doubt::default(),
            health: SelfHealth { journal_writable: true, ..SelfHealth::default() },
            effects: Effects::default(),
            promised: Mono::NEVER,
            started: false,
            most: model.max_concurrent_failovers,
            asked: false,
            unread: false,
        }
    }

    /// One that searches what [`new`](Core::new) finds, and looks at every service at rest in every step: it decides the same, and each step
    /// costs more with every service. The tests hold the two together.
    #[must_use]
    pub fn exhaustive(model: Model) -> Core {
        let mut core = Core::new(model);
        core.due.exhaustive();
        core
    }

    /// Takes one input into account at `now` and returns what is to be done, in order.
    ///
    /// `now` must not go back; an earlier moment is read as the latest one seen.
    pub fn step(&mut self, now: Mono, input: Input) -> Vec<Output> {
        let now = now.max(self.effects.now);
        self.effects.now = now;
        self.due.prepare(&self.services, now);
        let before = self.surroundings();
        if !matches!(input, Input::Restored { .. }) && std::mem::take(&mut self.unread) {
            // What the journal knows of other servers comes at once after a reload, or there is nothing.
            self.services.iter_mut().for_each(|service| service.unread = false);
            self.due.touch_all(&self.services, now);
        }
        self.notice_gap(now, &input);
        self.take(input);
        self.weigh_doubt();
        if self.surroundings().differ_from(&before) {
            self.due.touch_all(&self.services, now);
        }
        self.evaluate();
        self.tell_repeated(false);
        self.started = true;
        self.promised = self.next_deadline();
        self.effects.take()
    }

    /// When [`step`](Core::step) wants to be called at the latest, with [`Input::Tick`] if nothing else came.
    #[must_use]
    pub fn next_deadline(&self) -> Mono {
        let now = self.effects.now;
        let services = self.due.next(&self.services, self.surroundings(), now);
        let doubt = self.doubt.until().unwrap_or(Mono::NEVER);
        // Never in the past: what is overdue was done in the step just made, and time has to move before the next.
        services.min(doubt).min(self.effects.next_repeated()).max(now + Span::from_millis(1))
    }

    /// The state, for the status: plain data, rendered by the shell.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_where(self.services.iter())
    }

    /// The same with so many services at most, from this place on: a copy of a thousand is long for whoever waits to decide.
    #[must_use]
    pub fn snapshot_part(&self, place: usize, most: usize) -> Snapshot {
        self.snapshot_where(self.services.iter().skip(place).take(most))
    }

    /// The same with one service alone; with none if there is none of this name.
    #[must_use]
    pub fn snapshot_of(&self, name: &str) -> Snapshot {
        self.snapshot_where(self.services.iter().find(|service| service.model.name == name).into_iter())
    }

    fn snapshot_where<'a>(&'a self, wanted: impl Iterator<Item = &'a Service>) -> Snapshot {
        snapshot::take(self.effects.now, &self.services, wanted, &self.doubt, &self.health, self.most)
    }

    /// When the survey asked each server of a service last.
    #[must_use]
    pub fn surveyed(&self, service: ServiceId) -> Vec<Option<Mono>> {
        let service = self.services.get(usize::from(service.0));
        let servers = service.into_iter().flat_map(|service| &service.servers);
        servers.map(|state| state.readiness.as_ref().map(|readiness| readiness.asked)).collect()
    }

    /// The primary of each service, as far as one is known.
    #[must_use]
    pub fn primaries(&self) -> Vec<Option<id::ServerId>> {
        self.services.iter().map(|service| service.durable.primary).collect()
    }

    /// What is known of a service, for the question whether a commit survived.
    #[must_use]
    pub fn survival(&self, service: ServiceId) -> survival::Known {
        self.services.get(usize::from(service.0)).map(Service::survival).unwrap_or_default()
    }

    /// Takes a new configuration. A service keeps its state if its name and its servers' names are unchanged; its counters
    /// restart and it observes afresh before it acts (rule 7).
    ///
    /// # Errors
    /// The reason why this configuration cannot be taken now; nothing has changed then.
    pub fn reload(&mut self, now: Mono, model: Model) -> Result<Vec<Output>, String> {
        if let Some(refused) = self.no_reload(&model) {
            return Err(refused);
        }
        self.effects.now = now.max(self.effects.now);
        // Services may have other numbers afterwards.
        self.tell_repeated(true);
        self.most = model.max_concurrent_failovers;
        let mut old = std::mem::take(&mut self.services);
        let fresh = services_of(model.services, self.effects.now);
        let effects = &mut self.effects;
        let inherits = |mut service: Service| {
            let Some(at) = old.iter().position(|before| before.model.name == service.model.name) else { return service };
            if old[at].has_servers_of(&service) {
                return service.continuing(old.swap_remove(at), effects);
            }
            service.inherit_from_other_servers(&old[at]);
            service
        };
        self.services = fresh.into_iter().map(inherits).collect();
        for gone in &mut old {
            gone.start_over(&mut self.effects);
            gone.let_go(&mut self.effects);
        }
        self.effects.emit(
            EventKind::ConfigReloaded,
            Severity::Info,
            About::default(),
            "the configuration was reloaded; every check is asked afresh before anything is decided".into(),
            Vec::new(),
        );
        self.unread = self.services.iter().any(|service| service.unread);
        self.due.start_over(&self.services, self.effects.now);
        self.evaluate();
        self.promised = self.next_deadline();
        Ok(self.effects.take())
    }

    /// Why this configuration cannot be taken now.
    fn no_reload(&self, model: &Model) -> Option<String> {
        let (around, now) = (self.surroundings(), self.effects.now);
        let first = |act| move |service: &Service| service.no_reload(act, around, now);
        let changed = |service: &&Service| !service.is_kept_in(model);
        let loses = |service: &Service| service.loses_its_primary_in(model, now);
        let refused = self.services.iter().find_map(first(Act::Reload));
        let refused = refused.or_else(|| self.services.iter().filter(changed).find_map(first(Act::ReloadServers)));
        refused.or_else(|| self.services.iter().find_map(loses))
    }

    /// How many services there are.
    #[must_use]
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// The number of each service's last failover; 0 before the first.
    #[must_use]
    pub fn generations(&self) -> Vec<id::Generation> {
        self.services.iter().map(|service| service.durable.generation).collect()
    }

    /// The replay of this standby has not moved for some seconds, while there is log to replay.
    #[must_use]
    pub fn replay_stands(&self, service: id::ServiceId, server: id::ServerId) -> bool {
        let service = self.services.get(usize::from(service.0));
        service.and_then(|service| service.servers.get(usize::from(server.0))).is_some_and(|server| server.replay_stands)
    }

    /// True while no service has a failover in flight.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.services.iter().all(|service| service.run.plan.is_none())
    }

    fn tell_repeated(&mut self, all: bool) {
        let services = &self.services;
        let of = |id: Option<ServiceId>| id.and_then(|id| services.get(usize::from(id.0)));
        let readiness = |kind| matches!(kind, EventKind::StandbyReady | EventKind::StandbyNotReady);
        self.effects.tell_repeated(
            all,
            |id| of(Some(id)).map(|service| service.durable.generation),
            |kind, about| readiness(kind) && of(about.service).is_some_and(|service| service.durable.primary == about.server),
        );
    }

    fn notice_gap(&mut self, now: Mono, input: &Input) {
        let late = if self.started && self.promised != Mono::NEVER { now.since(self.promised) } else { Span::ZERO };
        let (told, suspended) = match input {
            Input::SelfHealth(health) => (health.gap, health.suspended),
            _ => (Span::ZERO, Span::ZERO),
        };
        if suspended > Span::ZERO {
            self.services.iter_mut().for_each(|service| service.was_suspended(suspended));
            self.due.touch_all(&self.services, now);
        }
        let gap = late.max(told);
        if gap < GAP {
            return;
        }
        for service in &mut self.services {
            service.slept();
            if service.run.plan.is_none() {
                // It may have lived while nobody looked.
                service.trouble.bad = None;
                service.start_over(&mut self.effects);
            }
        }
        self.due.touch_all(&self.services, now);
        self.raise(DoubtCause::Gap, format!("the engine did not run for {gap}; it drops the questions in flight and asks again"));
    }

    fn raise(&mut self, cause: DoubtCause, message: String) {
        if self.doubt.raise(cause, self.effects.now) == DoubtChange::Raised {
            self.effects.emit(
                EventKind::DoubtRaised,
                Severity::Alarm,
                About::default(),
                message,
                vec![("cause", text(cause.as_str()))],
            );
        }
    }

    fn weigh_doubt(&mut self) {
        let now = self.effects.now;
        if self.health.workers > 0 && self.health.stuck_workers * 2 > self.health.workers {
            let (stuck, all) = (self.health.stuck_workers, self.health.workers);
            self.raise(DoubtCause::StuckWorkers, format!("{stuck} of {all} checker threads are stuck"));
        }
        if self.health.stuck_loops > 0 {
            let stuck = self.health.stuck_loops;
            let message = format!(
                "{stuck} of the threads that survey, act or watch have not come back in time; the status names them \
                 (threads.overdue)"
            );
            self.raise(DoubtCause::StuckWorkers, message);
        }
        let (silent, servers) = self.due.silent(&self.services, now);
        if too_silent(silent, servers) {
            self.raise(
                DoubtCause::EverythingSilent,
                format!("{silent} of {servers} servers are silent: the fault is probably on this side"),
            );
        }
        if self.doubt.decay(now) == DoubtChange::Cleared {
            self.effects.emit(
                EventKind::DoubtCleared,
                Severity::Info,
                About::default(),
                "our own view may be trusted again".into(),
                Vec::new(),
            );
        }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings { doubt: self.doubt.cause(), journal_writable: self.health.journal_writable, ..Surroundings::default() }
    }

    /// Looks at everybody whom this step concerns.
    fn evaluate(&mut self) {
        let (around, now) = (self.surroundings(), self.effects.now);
        self.effects.around = around;
        self.ask_the_followed();
        self.due.touch_due(&self.services, now);
        let mut begun = self.due.begun(&self.services, now);
        while let Some((at, draws)) = self.due.pop() {
            let followed = due::followed_by(&self.services, at).map(|other| self.services[other].as_followed());
            let service = &mut self.services[at];
            let together = self.most.map(|most| begun.beside(service, most, now));
            let (before, mark) = (service.began_lately(now), self.effects.mark());
            service.evaluate(Surroundings { together, followed, ..around }, &mut self.effects);
            begun.changed(before, service.began_lately(now));
            // Each has its own part of the draws of a step, whoever else is looked at in it.
            service.schedule(around.doubt.is_some(), &mut self.jitter.after(draws), &mut self.effects);
            self.due.looked_at(at, &self.services, self.effects.told_since(mark), around, now);
        }
        self.jitter = self.jitter.after(self.due.draws());
        self.ask_for_all();
    }

    /// A person is asked once for all failovers that wait because of others.
    fn ask_for_all(&mut self) {
        let held = self.due.held(&self.services);
        let held: Vec<&str> = held.into_iter().map(|at| self.services[at].model.name.as_str()).collect();
        if held.is_empty() || std::mem::replace(&mut self.asked, true) {
            self.asked &= !held.is_empty();
            return;
        }
        let most = self.most.unwrap_or_default();
        let message = format!(
            "{most} failovers began within a minute, which is the limit (engine.max_concurrent_failovers): {} waits, and so does every other service that fails now. If the network of this machine works: failover confirm SERVICE, or failover confirm --all",
            held.join(", ")
        );
        let fields = vec![
            ("services", texts(held.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())),
            ("limit", Field::Int(most.into())),
        ];
        self.effects.emit(EventKind::AwaitingConfirmation, Severity::Alarm, About::default(), message, fields);
    }

    /// At the first bad sign of a service, the one that it follows is asked afresh: the cause may be there.
    fn ask_the_followed(&mut self) {
        let now = self.effects.now;
        for at in self.due.asking(&self.services) {
            if std::mem::take(&mut self.services[at].background.follow.ask)
                && let Some(other) = due::followed_by(&self.services, at)
            {
                self.services[other].ask_everything(now);
                self.due.touch(other, &self.services[other], now);
            }
        }
    }

    /// The place of the service that an input is about.
    fn place_of(&self, input: &Input) -> Option<usize> {
        match input {
            Input::Tick | Input::Operator { .. } | Input::SelfHealth(_) => None,
            Input::CheckFinished { run, .. } | Input::SessionOpened { run } | Input::SessionFailed { run, .. } => {
                self.due.of_run(*run, &self.services)
            }
            Input::ActionFinished { action, .. } => self.due.of_action(*action, &self.services),
            Input::SessionAnswered { service, .. }
            | Input::SessionClosed { service, .. }
            | Input::Surveyed { service, .. }
            | Input::RouteSurveyed { service, .. }
            | Input::RouteAsked { service, .. }
            | Input::RouteErrors { service, .. }
            | Input::OutcomeReported { service, .. }
            | Input::Restored { service, .. } => Some(usize::from(service.0)),
        }
    }

    fn take(&mut self, input: Input) {
        self.effects.around = self.surroundings();
        match input {
            Input::Operator { service, command, token } => return self.operator(service, &command, token),
            Input::SelfHealth(health) => return self.self_health(health),
            _ => {}
        }
        let place = self.place_of(&input);
        let doubt = self.doubt.cause().is_some();
        if let Some((at, service)) = place.and_then(|at| Some((at, self.services.get_mut(at)?))) {
            service.take(input, &mut self.jitter, doubt, &mut self.effects);
            self.due.touch(at, &self.services[at], self.effects.now);
        }
    }

    fn self_health(&mut self, health: SelfHealth) {
        let changed = health.journal_writable != self.health.journal_writable;
        if changed {
            let (severity, message) = if health.journal_writable {
                (Severity::Info, "the journal can be written again")
            } else {
                (Severity::Alarm, "the journal cannot be written: no failover will be started")
            };
            self.effects.emit(
                EventKind::JournalState,
                severity,
                About::default(),
                message.into(),
                vec![("writable", Field::Bool(health.journal_writable))],
            );
        }
        if changed && health.journal_writable {
            // What became known meanwhile (a pause, a primary, a synchronous standby) is nowhere yet.
            for service in &self.services {
                service.journal_facts(&mut self.effects);
            }
        }
        self.health = health;
    }

    fn operator(&mut self, service: Option<ServiceId>, command: &Command, token: u64) {
        let around = self.surroundings();
        let (now, most) = (self.effects.now, self.most);
        let begun = self.due.begun(&self.services, now);
        let to_all =
            service.is_none() && *command == Command::Confirm && self.services.iter().any(Service::waits_for_an_operator);
        let fx = &mut self.effects;
        let mut done = Vec::new();
        let mut failed = Vec::new();
        let mut generation = None;
        let mut preflight = Vec::new();
        for (at, one) in self.services.iter_mut().enumerate() {
            if service.is_some_and(|wanted| wanted != one.id) {
                continue;
            }
            // A yes to all is one to those that wait for it.
            if to_all && !one.waits_for_an_operator() {
                continue;
            }
            let together = most.map(|most| begun.beside(one, most, now));
            let before = one.last_begun();
            let around = Surroundings { together, ..around };
            if let Command::Switchover {
                to,
                order: SwitchoverOrder::Begin | SwitchoverOrder::Look | SwitchoverOrder::Plan { .. },
            } = command
            {
                preflight.extend(one.preflight(*to, around, now).lines);
            }
            let result = one.command(command, around, fx);
            generation = generation.or_else(|| one.last_begun().filter(|last| before != Some(*last)));
            let (severity, message) = match &result {
                Ok(message) => (Severity::Info, message),
                Err(message) => (Severity::Warning, message),
            };
            if *command != Command::Stop {
                fx.emit(
                    EventKind::OperatorCommand,
                    severity,
                    one.about(),
                    format!("operator: {}: {message}", command.as_str()),
                    vec![
                        ("command", text(command.as_str())),
                        ("accepted", Field::Bool(result.is_ok())),
                        ("detail", text(message)),
                    ],
                );
            }
            match result {
                Ok(message) => done.push(message),
                Err(message) => failed.push(message),
            }
            self.due.touch(at, one, now);
        }
        let result = if done.is_empty() && failed.is_empty() {
            Err("there is no such service".to_owned())
        } else if done.is_empty() {
            Err(failed.join("; "))
        } else {
            done.extend(failed);
            Ok(Answer { message: done.join("; "), generation, preflight })
        };
        fx.push(Output::Reply { token, result });
    }
}

fn services_of(models: Vec<model::ServiceModel>, now: Mono) -> Vec<Service> {
    let checks = models.iter().map(|model| model.checks.len()).sum::<usize>();
    let mut services: Vec<Service> = models
        .into_iter()
        .enumerate()
        .map(|(at, model)| Service::new(ServiceId(u16::try_from(at).unwrap_or(u16::MAX)), model, now))
        .collect();
    if checks > schedule::AT_ONCE {
        let mut number = 0..;
        for service in &mut services {
            service.spread_checks(&mut number);
        }
    }
    services
}
