//! What must hold whatever happens. Each has a name; the first one broken ends the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use failover_core::durable::Durable;
use failover_core::event::{Event, EventKind, Field};
use failover_core::handover::{Receipt, Stopped};
use failover_core::id::ServerId;
use failover_core::input::Command;
use failover_core::model::{Model, OnLoss, ServiceKind};
use failover_core::output::{Action, EndedHow, Failure, FailureKind, Output, Record, Report, Step};
use failover_core::reason::Reason;
use failover_core::sample::{FenceLevel, Lsn};
use failover_core::time::{Mono, Span};

use super::cluster::{Cluster, SYSTEM_ID};
use super::swarm::Link;

/// `FORGIVE=a,b`: what is broken with one of these words in its name or its reason is passed over, to see what is behind it.
static FORGIVEN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let words = std::env::var("FORGIVE").unwrap_or_default();
    words.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
});

/// A primary that was well for this long, seen on one clean way for as long, has no business being failed over.
const LONG: Span = Span::from_millis(20_000);

#[derive(Clone, Debug, Default)]
struct ServiceWatch {
    generation: u64,
    begun: u64,
    open: Option<u64>,
    /// The one in flight was begun by an earlier engine.
    inherited: bool,
    /// When that engine had seen the death.
    seen_before: Option<Mono>,
    step: Option<(u64, Step)>,
    class: String,
    /// When the last failover began.
    started_at: Mono,
    detected: Mono,
    old: usize,
    route_out: BTreeMap<u64, bool>,
    fence: BTreeMap<u64, FenceLevel>,
    /// Of each generation: to whom, and whether it was proven to have had no effect.
    promotions: BTreeMap<u64, Vec<(ServerId, bool)>>,
    done: Vec<(u64, &'static str)>,
    took_over: Option<u64>,
    cooldown_from: Option<Mono>,
    /// The one in flight answers no failure: it begins no cooldown.
    planned: bool,
    /// The last one ended by a stop, with nothing left to undo.
    only_stopped: bool,
    paused: bool,
    pause_ends: Option<Mono>,
    /// When a failover of its own accord began last.
    began: Option<Mono>,
    cordoned: BTreeSet<ServerId>,
    confirmed: bool,
    state: String,
    announced: Option<Mono>,
    announced_by: Option<ServerId>,
    accept_loss: Option<u64>,
    forced_to: Option<ServerId>,
    /// Of each generation: where the log of a primary ended that was stopped in an orderly way, as its host said.
    receipts: BTreeMap<u64, Lsn>,
    /// The old primary was well for long when the failover began.
    was_well: bool,
    old_returned: bool,
    asserted: bool,
    answered: Vec<Mono>,
    sampled: Vec<Mono>,
}

/// Watches everything that goes in and out of the core.
#[derive(Clone, Debug)]
pub struct Watch {
    pub broken: Option<(&'static str, String)>,
    /// Invariants whose premise was true in this run.
    pub exercised: BTreeSet<&'static str>,
    services: Vec<ServiceWatch>,
    sequence: u64,
    in_doubt: bool,
    journal_writable: bool,
    stopped: bool,
    restarted: bool,
    gap_at: Option<Mono>,
    instant: (Mono, u32),
    ticks: (Mono, u32),
}

fn field<'a>(event: &'a Event, name: &str) -> &'a str {
    event
        .fields
        .iter()
        .find_map(|(key, value)| match value {
            Field::Text(text) if *key == name => Some(text.as_str()),
            _ => None,
        })
        .unwrap_or_default()
}

fn of_leader(cluster: &Cluster, event: &Event) -> bool {
    // It may be gone already: what its data directory says counts.
    let primaries = (0..cluster.servers.len()).filter(|at| !cluster.servers[*at].recovery);
    let leader = primaries.max_by_key(|at| cluster.servers[*at].timeline);
    leader.is_some_and(|leader| event.server == u16::try_from(leader).ok().map(ServerId))
}

impl Watch {
    pub fn new(model: &Model) -> Watch {
        let services = model
            .services
            .iter()
            .map(|service| ServiceWatch {
                state: "normal".into(),
                answered: vec![Mono::ZERO; service.servers.len()],
                sampled: vec![Mono::ZERO; service.servers.len()],
                ..ServiceWatch::default()
            })
            .collect();
        Watch {
            broken: None,
            exercised: BTreeSet::new(),
            services,
            sequence: 0,
            in_doubt: false,
            journal_writable: true,
            stopped: false,
            restarted: false,
            gap_at: None,
            instant: (Mono::ZERO, 0),
            ticks: (Mono::ZERO, 0),
        }
    }

    pub fn fail(&mut self, name: &'static str, why: String) {
        let forgiven = FORGIVEN.iter().any(|word| name.contains(word.as_str()) || why.contains(word.as_str()));
        if self.broken.is_none() && !forgiven {
            self.broken = Some((name, why));
        }
    }

    fn hold(&mut self, holds: bool, name: &'static str, why: impl FnOnce() -> String) {
        if !holds {
            self.fail(name, why());
        }
    }

    /// As [`Watch::hold`], and counted where the premise is true.
    fn where_so(&mut self, premise: bool, holds: bool, name: &'static str, why: impl FnOnce() -> String) {
        if premise {
            self.exercise(name);
        }
        self.hold(holds, name, why);
    }

    /// The primary serves nobody: what would hold a failover back is put to the test.
    pub fn stricken(&mut self, service: usize, now: Mono, model: &Model) {
        let (settings, watch) = (&model.services[service], &self.services[service]);
        let lately = |other: &ServiceWatch| other.began.is_some_and(|at| now.since(at) < Span::from_millis(60_000));
        let others = self.services.iter().enumerate().filter(|(at, other)| *at != service && lately(other)).count();
        let premises = [
            ("no_failover_while_paused", self.is_paused(service, now)),
            ("no_failover_in_doubt", self.in_doubt),
            ("cooldown_is_kept", watch.cooldown_from.is_some_and(|from| now.since(from) < settings.trigger.cooldown)),
            ("confirmation_is_waited_for", settings.trigger.require_confirmation && !watch.confirmed),
            ("a_person_comes_first", watch.state == "manual_intervention"),
            ("restart_grace_is_kept", watch.announced.is_some()),
            ("no_failover_without_journal", !self.journal_writable),
            ("nothing_after_stopped", self.stopped),
            ("one_failover_in_flight", watch.open.is_some()),
            ("only_databases_are_failed_over", settings.kind == ServiceKind::Application),
            (
                "beyond_the_limit_a_person_is_asked",
                model.max_concurrent_failovers.is_some_and(|most| others >= usize::try_from(most).unwrap_or(0)),
            ),
        ];
        let so: Vec<&'static str> = premises.iter().filter(|(_, so)| *so).map(|(name, _)| *name).collect();
        self.exercised.extend(so);
    }

    /// A new engine begins with what the journal knows.
    pub fn new_life(&mut self, service: usize, now: Mono, facts: Option<&Durable>, generation: u64, unfinished: Option<u64>) {
        self.sequence = 0;
        self.in_doubt = false;
        self.journal_writable = true;
        self.stopped = false;
        // The first engine begins with the world.
        self.restarted |= now > Mono::ZERO;
        self.gap_at = None;
        let watch = &mut self.services[service];
        watch.open = unfinished;
        watch.inherited = unfinished.is_some();
        watch.step = None;
        watch.paused = facts.is_some_and(|facts| facts.pause.is_some());
        // What an earlier engine began and brought to no end it does not count.
        watch.began = None;
        watch.pause_ends = facts.and_then(|facts| facts.pause.as_ref()?.left(Mono::ZERO)).map(|left| now + left);
        watch.cordoned = facts.map(|facts| facts.cordoned.iter().copied().collect()).unwrap_or_default();
        watch.confirmed = false;
        watch.state = "normal".into();
        watch.announced = None;
        watch.generation = generation;
        // What began and was not written down was not done: its number may come again.
        watch.begun = watch.begun.min(generation);
    }

    /// The service has one more server, which the engine does not know yet.
    pub fn one_more(&mut self, service: usize) {
        self.services[service].answered.push(Mono::ZERO);
        self.services[service].sampled.push(Mono::ZERO);
    }

    /// The journal is read once more for a service.
    pub fn told_again(&mut self, service: usize, now: Mono, facts: &Durable) {
        let watch = &mut self.services[service];
        watch.cordoned = facts.cordoned.iter().copied().collect();
        if let Some(pause) = &facts.pause {
            (watch.paused, watch.pause_ends) = (true, pause.left(Mono::ZERO).map(|left| now + left));
        }
    }

    /// This failover was begun before that, by this engine.
    pub fn began_before(&self, service: usize, generation: u64, moment: Mono) -> bool {
        let watch = &self.services[service];
        watch.open == Some(generation) && watch.started_at < moment
    }

    /// Its promotion rests on the proof that the old primary has stopped.
    pub fn is_proven_stopped(&self, service: usize, generation: u64) -> bool {
        let watch = &self.services[service];
        watch.fence.get(&generation) == Some(&FenceLevel::ProvenStopped) || watch.receipts.contains_key(&generation)
    }

    /// What is proven of the old primary's fence in this failover.
    pub fn fence_level(&self, service: usize, generation: u64) -> FenceLevel {
        self.services[service].fence.get(&generation).copied().unwrap_or_default()
    }

    /// The same, within a condition.
    pub fn counts(&mut self, name: &'static str) -> bool {
        self.exercise(name);
        true
    }

    /// The premise of this invariant holds, and now it counts.
    pub fn exercise(&mut self, name: &'static str) {
        self.exercised.insert(name);
    }

    /// It is over for the next engine, by the wall clock.
    pub fn cooldown_over(&mut self, service: usize) {
        self.services[service].cooldown_from = None;
    }

    /// The service has other servers, or the same ones in another order: `place` has the new place of each. Everything but what is in the
    /// journal is as after a start.
    pub fn rearranged(&mut self, service: usize, place: &dyn Fn(usize) -> usize, servers: usize) {
        let watch = &mut self.services[service];
        let map = |server: &mut ServerId| {
            server.0 = u16::try_from(place(usize::from(server.0))).unwrap_or(u16::MAX);
        };
        watch.old = place(watch.old);
        for list in [&mut watch.answered, &mut watch.sampled] {
            let before = std::mem::take(list);
            *list = vec![Mono::ZERO; servers];
            for (at, moment) in before.into_iter().enumerate() {
                list[place(at)] = moment;
            }
        }
        watch.announced_by.iter_mut().for_each(map);
        watch.forced_to.iter_mut().for_each(map);
        watch.promotions.values_mut().flatten().for_each(|(server, _)| map(server));
        watch.cordoned = std::mem::take(&mut watch.cordoned)
            .into_iter()
            .map(|mut server| {
                map(&mut server);
                server
            })
            .collect();
        watch.announced = None;
        watch.state = "normal".into();
        watch.inherited |= watch.open.is_some();
    }

    pub fn told_health(&mut self, now: Mono, gap: Span, journal_writable: bool) {
        self.journal_writable = journal_writable;
        if gap >= Span::from_millis(1_000) {
            self.gap_at = Some(now);
        }
    }

    pub fn slept(&mut self, now: Mono) {
        self.gap_at = Some(now);
        self.forget();
    }

    pub fn old_primary(&self, service: usize) -> usize {
        self.services[service].old
    }

    pub fn accepts_loss(&self, service: usize) -> bool {
        self.services[service].accept_loss.is_some()
    }

    /// An operator has said who may be promoted, or that this one may not.
    pub fn is_decided_by_a_person(&self, service: usize, server: ServerId) -> bool {
        let watch = &self.services[service];
        watch.forced_to.is_some() || watch.cordoned.contains(&server)
    }

    /// An operator's pause holds now.
    fn is_paused(&self, service: usize, now: Mono) -> bool {
        let watch = &self.services[service];
        watch.paused && watch.pause_ends.is_none_or(|ends| now < ends)
    }

    /// What the engine shows of it.
    pub fn paused(&mut self, service: usize, now: Mono, shown: bool) {
        let paused = self.is_paused(service, now);
        let ends = self.services[service].pause_ends;
        let timed = self.services[service].paused && ends.is_some();
        self.where_so(timed, shown == paused, "a_pause_ends_when_it_was_to_and_not_before", || {
            format!("paused {shown}, and should be {paused}: it ends at {ends:?}")
        });
    }

    /// Whom operators have cordoned.
    pub fn cordoned(&self, service: usize) -> Vec<ServerId> {
        self.services[service].cordoned.iter().copied().collect()
    }

    /// This engine is not the first one.
    pub fn has_restarted(&self) -> bool {
        self.restarted
    }

    pub fn is_stopping(&self) -> bool {
        self.stopped
    }

    /// A failover was begun and has not ended, though its end may not have been written down.
    pub fn is_open(&self, service: usize) -> bool {
        self.services[service].open.is_some()
    }

    /// The core observes afresh: what was announced before counts no more.
    pub fn forget(&mut self) {
        for service in &mut self.services {
            service.announced = None;
        }
    }

    pub fn answered(&mut self, service: usize, server: usize, now: Mono, asked_sample: Option<Mono>) {
        let watch = &mut self.services[service];
        watch.answered[server] = now;
        if let Some(asked) = asked_sample {
            watch.sampled[server] = watch.sampled[server].max(asked);
        }
    }

    pub fn command(&mut self, service: usize, now: Mono, command: &Command, accepted: bool) {
        if !accepted {
            return;
        }
        let watch = &mut self.services[service];
        match command {
            Command::Pause { lasts, .. } => (watch.paused, watch.pause_ends) = (true, lasts.map(|lasts| now + lasts)),
            Command::Resume => (watch.paused, watch.announced) = (false, None),
            Command::Reset => (watch.cooldown_from, watch.announced) = (None, None),
            Command::Confirm => watch.confirmed = true,
            Command::Stop => self.stopped = true,
            Command::Cordon { server } => drop(watch.cordoned.insert(*server)),
            Command::Uncordon { server } => drop(watch.cordoned.remove(server)),
            Command::Force { .. } | Command::Switchover { .. } | Command::Adopt { .. } | Command::Rejoin { .. } => {}
        }
    }

    /// A new connection that was tried at `asked` was served: what was announced before has not come.
    pub fn served(&mut self, service: usize, server: ServerId, asked: Mono) {
        let watch = &mut self.services[service];
        watch.announced = watch.announced.filter(|at| *at >= asked || watch.announced_by != Some(server));
    }

    /// What an operator asks for, before the core sees it.
    pub fn asked(&mut self, service: usize, command: &Command) {
        if let Command::Force { to, accept_loss } = command
            && self.services[service].open.is_none()
        {
            self.services[service].accept_loss = *accept_loss;
            self.services[service].forced_to = *to;
        }
        if let Command::Switchover { to, .. } = command
            && self.services[service].open.is_none()
        {
            self.services[service].accept_loss = None;
            self.services[service].forced_to = *to;
        }
    }

    /// The core is called because it wanted to be, and nothing else came: a suspicion wants fifty a second.
    pub fn tick(&mut self, now: Mono) {
        if now.since(self.ticks.0) >= Span::from_millis(1_000) {
            self.ticks = (now, 0);
        }
        self.ticks.1 += 1;
        let count = self.ticks.1;
        self.where_so(true, count < 300, "never_spins", || format!("{count} calls within a second without anything to do"));
    }

    pub fn step(&mut self, now: Mono) {
        if self.instant.0 == now {
            self.instant.1 += 1;
            let count = self.instant.1;
            self.hold(count < 400, "never_spins", || format!("{count} steps at one moment"));
        } else {
            self.instant = (now, 0);
        }
        for service in &mut self.services {
            service.step = None;
            service.old_returned = false;
            service.asserted = false;
        }
    }

    pub fn outcome(&mut self, service: usize, generation: u64, action: &Action, outcome: &Result<Report, Failure>) {
        let watch = &mut self.services[service];
        match (action, outcome) {
            (Action::RouteOut { .. }, Ok(Report::Route(instances))) => {
                watch.route_out.insert(generation, instances.iter().all(|instance| instance.result.is_ok()));
            }
            (Action::Fence { .. }, Ok(Report::Fence(report))) => {
                watch.fence.insert(generation, report.level);
            }
            (Action::ReadReceipt { .. }, Ok(Report::Receipt(Receipt { stopped: Stopped::InOrder(end), .. }))) => {
                watch.receipts.insert(generation, end.at);
            }
            (Action::CloseGate { .. }, Ok(Report::Gate { .. })) => self.exercise("no_gate_is_left_closed"),
            // Then there is nothing to take back.
            (Action::StopServer { .. }, Err(Failure { kind: FailureKind::NoEffect | FailureKind::Refused, .. })) => {
                watch.done.retain(|done| *done != (generation, "stop_server"));
            }
            (Action::Promote { server, .. }, Err(Failure { kind: FailureKind::NoEffect | FailureKind::Refused, .. })) => {
                if let Some((last, without)) = watch.promotions.entry(generation).or_default().last_mut()
                    && last == server
                {
                    *without = true;
                }
            }
            (Action::Promote { .. }, Ok(Report::Promoted { .. }))
            | (Action::ReadRole { .. }, Ok(Report::Role { in_recovery: false, .. })) => watch.took_over = Some(generation),
            _ => {}
        }
    }

    pub fn output(&mut self, now: Mono, model: &Model, clusters: &[Cluster], output: &Output) {
        match output {
            Output::Emit(event) => self.event(now, model, clusters, event),
            Output::Journal(record) => self.record(now, record),
            Output::RunAction { service, generation, action, .. } => {
                self.action(now, model, clusters, usize::from(service.0), generation.0, action);
            }
            Output::RunCheck { .. } | Output::OpenSession { .. } => {
                let stopped = self.stopped;
                self.hold(!stopped, "nothing_after_stopped", || "a stopping engine asks a server".into());
            }
            _ => {}
        }
    }

    fn event(&mut self, now: Mono, model: &Model, clusters: &[Cluster], event: &Event) {
        let expected = self.sequence + 1;
        self.sequence = event.seq.0;
        self.where_so(true, event.seq.0 == expected, "sequence_without_holes", || {
            format!("event {} after {}", event.seq, expected - 1)
        });
        match event.kind {
            EventKind::DoubtRaised => self.in_doubt = true,
            EventKind::DoubtCleared => {
                self.exercise("doubt_decays");
                self.in_doubt = false;
            }
            _ => {}
        }
        let Some(service) = event.service.map(|service| usize::from(service.0)) else { return };
        let before = self.services[service].generation;
        self.where_so(before > 0, event.generation.0 >= before, "generation_never_falls", || {
            format!("{} after {before}", event.generation)
        });
        let watch = &mut self.services[service];
        watch.generation = event.generation.0;
        match event.kind {
            EventKind::StateChanged => {
                field(event, "to").clone_into(&mut watch.state);
                if watch.state == "normal" {
                    watch.announced = None;
                    watch.confirmed = false;
                }
            }
            EventKind::SessionClosed if field(event, "cause") == "announced" && of_leader(&clusters[service], event) => {
                watch.announced.get_or_insert(now);
                watch.announced_by = event.server;
            }
            EventKind::OldPrimaryReturned => {
                watch.old_returned = true;
                let by_hand = event.server.is_some_and(|at| clusters[service].servers[usize::from(at.0)].by_hand);
                if by_hand {
                    self.exercise("who_was_promoted_by_hand_is_not_fenced");
                }
            }
            EventKind::RolledBack => {
                let clean = event.fields.iter().any(|(key, value)| *key == "left" && *value == Field::List(Vec::new()));
                watch.only_stopped = clean && field(event, "why") == "the engine is stopping";
            }
            EventKind::ManualIntervention => {
                let person = watch.only_stopped && field(event, "why") == "the engine is stopping";
                self.hold(!person, "a_person_only_with_a_reason_that_was_true", || "an engine that was stopped calls one".into());
            }
            EventKind::RouteAsserted => watch.asserted = true,
            EventKind::FailureConfirmed => {
                let detect = event.fields.iter().find_map(|(key, value)| match value {
                    Field::Span(span) if *key == "detect_ms" => Some(*span),
                    _ => None,
                });
                watch.detected = now - detect.unwrap_or_default();
                watch.detected = watch.seen_before.map_or(watch.detected, |before| before.min(watch.detected));
            }
            EventKind::FailoverStarted => self.started(now, model, clusters, service, event),
            _ => {}
        }
    }

    fn started(&mut self, now: Mono, model: &Model, clusters: &[Cluster], service: usize, event: &Event) {
        let class = field(event, "class").to_owned();
        let settings = &model.services[service];
        let cluster = &clusters[service];
        let old = settings.servers.iter().position(|server| server.name == field(event, "old_primary")).unwrap_or(0);
        let stopped = self.stopped;
        self.hold(!stopped, "nothing_after_stopped", || "a stopping engine begins a failover".into());
        let writable = self.journal_writable;
        self.hold(writable, "no_failover_without_journal", || "the journal could not be written".into());
        let watch = &mut self.services[service];
        watch.class.clone_from(&class);
        watch.old = old;
        watch.started_at = now;
        let watch = watch.clone();
        self.where_so(true, watch.open == Some(event.generation.0), "intent_is_journaled_first", || {
            "no intent was written".into()
        });
        let postgres = settings.kind == ServiceKind::Postgres;
        self.hold(postgres, "only_databases_are_failed_over", || "an application was failed over".into());
        let well = |at: &super::cluster::Server| {
            [at.unwell_at, at.port_shut_at, at.host_shut_at].iter().all(|moment| now.since(*moment) >= LONG) && !at.recovery
        };
        self.services[service].was_well = cluster.is_writable(old) && well(&cluster.servers[old]) && now > Mono::ZERO + LONG;
        if class == "forced" || class == "switchover" {
            return;
        }
        self.services[service].accept_loss = None;
        self.services[service].forced_to = None;
        // What an order stopped, an earlier engine's too, is started again; it is not failed over as one that died.
        let did = |name: &'static str| watch.done.contains(&(event.generation.0, name));
        let owed = watch.seen_before.is_some() && did("stop_server") && !did("start_server");
        self.hold(!(owed && cluster.servers[old].stopped_by_us), "a_living_primary_is_never_left_stopped", || {
            format!("{} was stopped by an order, and is failed over as a dead one", cluster.servers[old].name)
        });
        let doubt = self.in_doubt || self.gap_at.is_some_and(|at| now.since(at) < Span::from_millis(1_900));
        self.hold(!doubt, "no_failover_in_doubt", || "the engine doubted its own view, or should have".into());
        let paused = self.is_paused(service, now);
        self.hold(!paused, "no_failover_while_paused", || "an operator had paused it".into());
        let cooling = watch.cooldown_from.map(|from| now.since(from)).filter(|age| *age < settings.trigger.cooldown);
        // A journal keeps whole seconds.
        let cooling = cooling.filter(|age| settings.trigger.cooldown - *age > Span::from_millis(1_100));
        // One that is taken over from an earlier engine was let through when it began.
        let cooling = cooling.filter(|_| watch.seen_before.is_none());
        self.hold(cooling.is_none(), "cooldown_is_kept", || {
            format!("{} after the last one of {}", cooling.unwrap_or_default(), settings.trigger.cooldown)
        });
        // What is taken over from an earlier engine was let through when it began.
        let confirmed = watch.confirmed || watch.seen_before.is_some();
        let together = self
            .services
            .iter()
            .enumerate()
            .filter(|(at, other)| *at != service && other.began.is_some_and(|at| now.since(at) < Span::from_millis(60_000)));
        let many = model.max_concurrent_failovers.is_some_and(|most| together.count() >= usize::try_from(most).unwrap_or(0));
        self.hold(!many || confirmed, "beyond_the_limit_a_person_is_asked", || "another one began within a minute".into());
        self.services[service].began = Some(now);
        let unconfirmed = settings.trigger.require_confirmation && !watch.confirmed;
        self.hold(!unconfirmed, "confirmation_is_waited_for", || "nobody had confirmed".into());
        self.hold(watch.state != "manual_intervention", "a_person_comes_first", || "in manual intervention".into());
        let grace = watch.announced.filter(|at| class == "dead" && now < *at + settings.trigger.restart_grace);
        self.hold(grace.is_none(), "restart_grace_is_kept", || format!("the shutdown was announced at {grace:?}"));
        let silence = now.since(watch.answered[old]);
        let silent = !matches!(class.as_str(), "hung" | "unreachable") || silence >= settings.trigger.hang_after;
        let of_silence = matches!(class.as_str(), "hung" | "unreachable");
        self.where_so(of_silence, silent, "silence_lasts_hang_after", || format!("it had answered {silence} before"));
        if cluster.lied || cluster.meddled {
            return;
        }
        let long = |at: Mono| at == Mono::ZERO || now.since(at) >= LONG;
        let server = &cluster.servers[old];
        let well = cluster.is_writable(old) && long(server.unwell_at);
        let by_port = long(server.port_shut_at);
        let by_host = settings.servers[old].ssh && long(server.host_shut_at);
        let by_standby = cluster.servers.iter().enumerate().find(|(at, standby)| {
            *at != old
                && cluster.is_receiving(*at)
                && standby.session
                && standby.port == Link::Open
                && long(standby.port_shut_at)
                && long(standby.dry_at)
                && long(standby.unwell_at)
                && !standby.hidden
                && standby.system_id == SYSTEM_ID
        });
        let seen = by_port || by_host || by_standby.is_some();
        self.hold(!(well && seen), "a_healthy_primary_is_left_alone", || {
            format!(
                "{} is well and could be seen (port {by_port}, host {by_host}, standby {:?}); class {class}",
                server.name,
                by_standby.map(|(_, standby)| &standby.name)
            )
        });
    }

    fn record(&mut self, now: Mono, record: &Record) {
        match record {
            Record::Intent { service, generation, begun, .. } => {
                let at = usize::from(service.0);
                self.services[at].planned = begun.reason == Reason::Switchover;
                let (open, last) = (self.services[at].open, self.services[at].begun);
                let inherited = self.services[at].inherited;
                let had_effect = |all: &Vec<(ServerId, bool)>| all.iter().any(|(_, without)| !without);
                let promoted = open.is_some_and(|open| self.services[at].promotions.get(&open).is_some_and(had_effect));
                // A promotion that had begun is found out about before anything else begins.
                let free = open.is_none() || (inherited && !promoted);
                self.hold(free, "one_failover_in_flight", || format!("{generation} begins while {open:?} runs"));
                self.hold(generation.0 > last, "generation_never_falls", || format!("{generation} begins after {last}"));
                let watch = &mut self.services[at];
                watch.done.retain(|(of, _)| inherited && Some(*of) == open);
                // What the earlier engine changed is owed by the one that takes over.
                watch.done.iter_mut().for_each(|(of, _)| *of = generation.0);
                watch.open = Some(generation.0);
                watch.seen_before = watch.inherited.then_some(watch.detected);
                watch.inherited = false;
                watch.begun = generation.0;
            }
            Record::StepBegun { service, generation, step, .. } => {
                self.services[usize::from(service.0)].step = Some((generation.0, *step));
            }
            Record::Ended { service, generation, how } => {
                let at = usize::from(service.0);
                let watch = self.services[at].clone();
                let promoted = watch.promotions.get(&generation.0).is_some_and(|all| all.iter().any(|(_, without)| !without));
                if promoted && *how == EndedHow::ManualIntervention {
                    // Something went wrong behind the promotion.
                    self.exercise("nothing_is_undone_after_the_promotion");
                }
                if watch.done.contains(&(generation.0, "stop_server")) {
                    self.exercise("a_living_primary_is_never_left_stopped");
                }
                self.services[at].open = None;
                if watch.took_over == Some(generation.0) && !watch.planned {
                    self.services[at].cooldown_from = Some(now);
                }
                if matches!(how, EndedHow::RolledBack | EndedHow::Stopped) {
                    for (done, undo) in [
                        ("close_gate", "route_restore"),
                        ("route_out", "route_restore"),
                        ("fence", "fence_undo"),
                        ("stop_server", "start_server"),
                    ] {
                        let owed = watch.done.contains(&(generation.0, done));
                        let paid = watch.done.contains(&(generation.0, undo));
                        self.where_so(owed, !owed || paid, "what_was_done_is_undone", || format!("{done} without {undo}"));
                    }
                }
            }
            Record::Facts { durable, .. } => {
                let stats = &durable.stats;
                let ended = stats.completed + stats.rolled_back + stats.manual_intervention;
                let judged = stats.forced + stats.planned + stats.justified + stats.false_positives + stats.unjudged;
                let (succeeded, tried) = stats.success();
                let holds = ended == judged && succeeded <= tried && stats.repair.count <= stats.verified;
                self.where_so(ended > 0, holds, "numbers_add_up", || format!("{stats:?}"));
            }
            Record::StepEnded { .. } => {}
        }
    }

    fn action(&mut self, now: Mono, model: &Model, clusters: &[Cluster], service: usize, generation: u64, action: &Action) {
        let watch = self.services[service].clone();
        let name = action.name();
        let errand = match action {
            Action::AskHost { .. }
            | Action::ProveFence { .. }
            | Action::ReadHistory { .. }
            | Action::EmptySpool { .. }
            | Action::RestoreSyncNames { .. }
            | Action::SetSyncNames { .. }
            | Action::DropSlot { .. }
            | Action::ReadDivergence { .. }
            | Action::MakeSlot { .. }
            | Action::KeepLog { .. }
            | Action::Rewind { .. }
            | Action::ReadRewind { .. }
            | Action::Copy { .. }
            | Action::FollowPrimary { .. }
            | Action::StartStandby { .. } => true,
            Action::RepointStandbys { .. } | Action::Checkpoint { .. } | Action::ReadPositions { .. } => {
                watch.open != Some(generation)
            }
            Action::RouteOut { .. } | Action::Fence { .. } => watch.old_returned,
            Action::RouteIn { .. } => watch.asserted,
            _ => false,
        };
        if let (true, Action::RouteIn { server, .. }) = (errand, action) {
            let target = &clusters[service].servers[usize::from(server.0)];
            let meddled = clusters[service].lied || clusters[service].meddled;
            self.where_so(!meddled, meddled || !target.recovery, "a_standby_is_never_given_the_traffic", || target.name.clone());
        }
        if let (true, Action::Fence { server, .. }) = (errand, action) {
            let target = &clusters[service].servers[usize::from(server.0)];
            self.where_so(true, !target.by_hand, "who_was_promoted_by_hand_is_not_fenced", || target.name.clone());
        }
        if errand {
            return;
        }
        self.hold(watch.open == Some(generation), "intent_is_journaled_first", || format!("{name} of {generation}"));
        self.where_so(true, watch.step == Some((generation, action.step())), "step_is_journaled_first", || {
            format!("{name} of {generation}")
        });
        self.services[service].step = None;
        self.services[service].done.push((generation, name));
        if name == "read_role" {
            // Whether the promotion took effect is not known: nobody else may be asked.
            self.exercise("one_promotion_per_generation");
        }
        if matches!(action, Action::RouteRestore { .. } | Action::FenceUndo { .. } | Action::StartServer { .. }) {
            let promoted = watch.promotions.get(&generation).is_some_and(|all| all.iter().any(|(_, without)| !without));
            self.where_so(promoted, !promoted, "nothing_is_undone_after_the_promotion", || format!("{name} of {generation}"));
        }
        if let Action::Promote { server, .. } = action {
            self.promotion(now, model, clusters, service, generation, *server);
        }
    }

    fn promotion(&mut self, now: Mono, model: &Model, clusters: &[Cluster], service: usize, generation: u64, server: ServerId) {
        let settings = &model.services[service];
        let policy = &settings.postgres;
        let watch = self.services[service].clone();
        let before = watch.promotions.get(&generation).cloned().unwrap_or_default();
        let once = before.iter().all(|(other, without)| *without || (self.restarted && *other == server));
        self.where_so(!before.is_empty(), once, "one_promotion_per_generation", || format!("{before:?}, and now {server}"));
        self.services[service].promotions.entry(generation).or_default().push((server, false));
        self.where_so(
            !watch.cordoned.is_empty(),
            !watch.cordoned.contains(&server),
            "a_cordoned_server_is_never_promoted",
            || settings.servers[usize::from(server.0)].name.clone(),
        );

        let level = watch.fence.get(&generation).copied().unwrap_or_default();
        let route = settings.route.instances > 0 && watch.route_out.get(&generation) == Some(&true);
        let by_route = route && (settings.route.exclusive || settings.fence.require == FenceLevel::TrafficRemoved);
        let unrouted = settings.fence.require == FenceLevel::TrafficRemoved && settings.route.instances == 0;
        // Whoever is shut down in an orderly way writes no more.
        let end = watch.receipts.get(&generation).copied();
        let by_fence = end.is_some() || level >= settings.fence.require && settings.fence.require > FenceLevel::TrafficRemoved;
        let none = settings.fence.require == FenceLevel::None;
        self.where_so(!none && !unrouted, none || by_route || unrouted || by_fence, "no_promotion_without_fence", || {
            format!("level {level:?} of {:?} is proven, the route is closed: {route}", settings.fence.require)
        });
        let chosen = watch.forced_to == Some(server);
        let may = settings.servers[usize::from(server.0)].candidate || chosen;
        let some_may_not = settings.servers.iter().any(|server| !server.candidate);
        self.where_so(some_may_not, may, "only_candidates_are_promoted", || "candidate = false".into());

        let cluster = &clusters[service];
        if cluster.lied || cluster.meddled {
            return;
        }
        let target = &cluster.servers[usize::from(server.0)];
        // What became another one after its position was read is found out by the promotion itself.
        let same = target.system_id == SYSTEM_ID || now.since(target.other_since) < Span::from_millis(1_000);
        let strange = cluster.servers.iter().any(|server| server.system_id != SYSTEM_ID);
        self.where_so(strange, same, "same_cluster", || format!("{} is of another cluster", target.name));
        if !none && !unrouted {
            let rival = (0..cluster.servers.len()).find(|at| {
                *at != usize::from(server.0)
                    && cluster.could_write(*at)
                    && cluster.servers[*at].system_id == SYSTEM_ID
                    && (by_fence || (cluster.is_routed(*at) && !cluster.forgot))
            });
            self.where_so(true, rival.is_none(), "never_two_primaries", || {
                format!("server {rival:?} still takes writes while {} is promoted", target.name)
            });
        }
        if matches!(watch.class.as_str(), "forced" | "switchover") && watch.accept_loss.is_none() {
            let old = &cluster.servers[watch.old];
            let lost = old.log_end.map_or(0, |end| end.saturating_sub(target.lsn));
            self.hold(lost == 0, "force_loses_nothing_without_accept_loss", || {
                format!("{} lacks {lost} bytes of the log of {}, which was stopped", target.name, old.name)
            });
            let asked = watch.done.contains(&(generation, "stop_server"));
            self.where_so(true, asked || !watch.was_well, "force_loses_nothing_without_accept_loss", || {
                format!("{} was well, and it was not stopped in an orderly way", old.name)
            });
        }
        let any = policy.on_loss == OnLoss::Proceed || watch.accept_loss == Some(u64::MAX);
        if any {
            return;
        }
        let sampled = watch.sampled[watch.old].min(watch.detected);
        // Where commits wait for standbys, no limit is put on bytes that nobody was told of: the record is judged by what is missing.
        // What was changed right before the death cannot be known.
        let settings = &cluster.servers[watch.old].settings;
        let changed = cluster.servers[watch.old].settings_changed;
        if settings.rule.is_some() || changed + Span::from_millis(1_000) > watch.detected && changed > Mono::ZERO {
            return;
        }
        let limit = watch.accept_loss.unwrap_or(policy.max_lag_bytes);
        let loss = cluster.position_at(watch.old, sampled).saturating_sub(target.lsn);
        self.where_so(true, loss <= limit, "candidate_within_max_lag", || {
            format!("{} lacks {loss} bytes of what was seen at {sampled:?}, the limit is {limit} (now {now:?})", target.name)
        });
    }
}
