//! A small fake world around the real core, in one thread and on a virtual clock: servers that live, refuse, hang or lie, hosts
//! that answer or not, actions that succeed, fail or stay away. For the scenarios and the properties.

#![allow(dead_code, reason = "each test binary uses its own part of the world")]

use std::collections::{BTreeMap, BTreeSet};

use failover_core::Core;
use failover_core::event::{Event, EventKind};
use failover_core::handover::{Receipt, Stopped};
use failover_core::id::{ActionId, RunId, ServerId, ServiceId};
use failover_core::input::{Command, Facts, Input, SelfHealth};
use failover_core::model::{
    CheckKind, CheckModel, FenceModel, Model, OnLoss, OnNewPrimary, OnNoSyncStandby, OnSalvage, Policy, PostgresModel, Role,
    RouteModel, ServerModel, ServiceKind, ServiceModel, TriggerModel,
};
use failover_core::observation::{Close, CloseCause, DownCause, Finding, Impairment, UnknownCause, Verdict};
use failover_core::output::{Action, Answer, EndedHow, Failure, Output, Record, Repointed, Report, Step};
use failover_core::route::{InstanceView, RouteSurvey};
use failover_core::salvage::Salvaged;
use failover_core::sample::{
    FenceLevel, FenceReport, HostReport, LocalAnswer, LogEnd, Lsn, Position, ProcessState, Readiness, Receiver, Replica,
    RouteInstance, Rung, RungName, Sample, Source, SyncCommit,
};
use failover_core::survival::Forked;
use failover_core::switchover::SwitchoverFacts;
use failover_core::time::{Mono, Span};

pub const SYSTEM_ID: u64 = 7_000_000_000_000_000_001;
const SERVICE: ServiceId = ServiceId(0);
/// The record with which a log ends.
const CHECKPOINT: u64 = 120;

pub fn ms(millis: u64) -> Span {
    Span::from_millis(millis)
}

/// The settings of one service with the defaults of the documentation.
pub fn model(servers: usize) -> Model {
    let name = |at: usize| format!("db{}", at + 1);
    let check = |at| CheckModel { kind: CheckKind::Postgres, ..check(format!("{}/postgres", name(at)), at) };
    let orders = ServiceModel {
        kind: ServiceKind::Postgres,
        servers: (0..servers).map(|at| ServerModel { ssh: true, ..server(name(at), at) }).collect(),
        checks: (0..servers).map(check).collect(),
        postgres: postgres(),
        ..application("orders", Vec::new())
    };
    Model { max_concurrent_failovers: None, seed: 1, services: vec![orders] }
}

/// An application of these servers, the first of them the primary, each with one check of its name.
pub fn application(name: impl Into<String>, servers: Vec<String>) -> ServiceModel {
    ServiceModel {
        name: name.into(),
        kind: ServiceKind::Application,
        checks: servers.iter().enumerate().map(|(at, name)| check(name.clone(), at)).collect(),
        servers: servers.into_iter().enumerate().map(|(at, name)| server(name, at)).collect(),
        trigger: trigger(),
        fence: fence(),
        postgres: PostgresModel { max_lag_bytes: 0, ..postgres() },
        route: RouteModel { instances: 1, verify: true, ..RouteModel::none() },
        pre_checks: false,
        follows: None,
    }
}

/// The server at this place: the first one is the primary.
pub fn server(name: impl Into<String>, at: usize) -> ServerModel {
    ServerModel {
        name: name.into(),
        role: if at == 0 { Role::Primary } else { Role::Standby },
        priority: 100,
        candidate: true,
        ssh: false,
        fence_command: false,
        replication_name: None,
    }
}

/// A check of the server at this place.
pub fn check(name: impl Into<String>, server: usize) -> CheckModel {
    CheckModel {
        name: name.into(),
        server: u16::try_from(server).unwrap(),
        kind: CheckKind::Http,
        interval: ms(1_000),
        fast_interval: ms(25),
        timeout: ms(1_500),
        failure_threshold: 3,
        success_threshold: 2,
    }
}

/// When a failure counts, by the defaults of the configuration.
pub fn trigger() -> TriggerModel {
    TriggerModel {
        failure_threshold: 3,
        failure_window: ms(60_000),
        policy: Policy::Count,
        cooldown: ms(300_000),
        require_confirmation: false,
        confirm_timeout: ms(300_000),
        failover_timeout: ms(120_000),
        hang_after: ms(3_400),
        ping_interval: ms(250),
        restart_grace: ms(10_000),
        on_impaired: None,
    }
}

/// What a database's failover has to prove, by the defaults.
pub fn fence() -> FenceModel {
    FenceModel { require: FenceLevel::ProvenStopped, timeout: ms(10_000) }
}

/// What a database's failover may cost, by the defaults.
pub fn postgres() -> PostgresModel {
    PostgresModel {
        max_lag_bytes: 1_048_576,
        on_loss: OnLoss::Refuse,
        promotion_timeout: ms(60_000),
        on_no_sync_standby: OnNoSyncStandby::Async,
        allow_delayed: false,
        salvage: OnSalvage::Auto,
        salvage_timeout: ms(2_000),
        followers: OnNewPrimary::Off,
        rejoin: failover_core::model::OnRejoin::Manual,
        sync: failover_core::model::SyncModel::default(),
    }
}

/// How a server behaves towards new connections and kept sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Up,
    Refused,
    Silent,
    /// The kept session is answered, new connections are not: its postmaster hangs.
    KeptOnly,
    Impaired(Impairment),
    Unknown,
}

/// What a standby says it has received: its position, nothing since its postmaster was started, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Position,
    Nothing,
    UpTo(u64),
}

/// The truth about one server.
#[derive(Clone, Debug)]
pub struct Node {
    pub mode: Mode,
    pub writable: bool,
    pub system_id: u64,
    pub timeline: u32,
    pub lsn: u64,
    pub streaming: bool,
    pub delayed: bool,
    /// Its `restore_command` looks into the spool; `None`: it does not say.
    pub spool: Option<bool>,
    pub replay_paused: bool,
    /// Its startup process waits for sessions of the standby.
    pub replay_conflict: bool,
    /// Where its timeline left the one before; `None`: nobody can say.
    pub fork: Option<u64>,
    pub host: Option<(ProcessState, LocalAnswer)>,
    pub session: bool,
    pub next_ping: Mono,
    /// When its postmaster was started.
    pub started: Option<Mono>,
    /// What it says it has received.
    pub receive: Received,
    /// Where its replay is, where that is not its position.
    pub replay: Option<u64>,
    /// All that is on its disk is replayed; `None`: it does not say.
    pub at_end: bool,
    /// Its `application_name` as a standby, where that is not the server's name, and its slot.
    pub called: Option<String>,
    pub slot: Option<String>,
    /// The timeline in its control file: what it shows without a receiver.
    pub control_timeline: Option<u32>,
    /// `pg_conf_load_time()`, by a counter.
    pub settings_loaded: Option<i64>,
    /// `synchronous_standby_names` of a standby, where it has its own.
    pub names: Option<String>,
    /// It follows this standby, whoever is the primary.
    pub upstream: Option<usize>,
    /// Its receiver streams again then.
    pub streams_at: Option<Mono>,
    /// What the primary's list says about it, while it streams.
    pub row: Row,
    /// Other engines that have sessions there.
    pub engines: Vec<String>,
    /// Its host can say that its shared memory is gone with it: what it says of a death is a proof then.
    pub memory_gone: bool,
    /// It was stopped by somebody's order: its pid file is gone with it.
    pub stopped_by_order: bool,
    /// What its shutdown waits for, as its host tells.
    pub holds: Vec<String>,
}

impl Node {
    /// The checkpoint of its shutdown is done before these are waited for.
    fn has_ended(&self) -> bool {
        self.holds.iter().any(|what| what == "archiver" || what == "walsender")
    }
}

/// A standby in its primary's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    Streams,
    CatchesUp,
    /// It streams, has flushed no more than this, and last replied so long ago.
    Replied(u64, Span),
}

/// Where a replay begins, every input since, and what the core said to each.
pub type Tape = (Core, Vec<(Mono, Input, String)>);

pub struct World {
    pub core: Core,
    pub now: Mono,
    pub nodes: Vec<Node>,
    /// Bytes per second that clients write.
    pub write_rate: u64,
    /// The primary writes and its standbys receive although we cannot reach it.
    pub partitioned: bool,
    pub sync_names: String,
    pub sync_commit: SyncCommit,
    pub sync_commit_overridden: Option<SyncCommit>,
    /// The list of standbys is hidden from us.
    pub list_hidden: bool,
    /// Receivers that are no configured servers, by their names.
    pub strangers: Vec<String>,
    pub route_works: bool,
    /// Clients wait at the gate.
    pub gate_closed: bool,
    /// Transactions of clients do not end by themselves.
    pub transactions_run: bool,
    /// What the survey sees of each server for planned work.
    pub facts: Vec<SwitchoverFacts>,
    /// What is wrong with the file that says how a host reaches the other servers.
    pub source_trouble: std::collections::BTreeMap<usize, String>,
    /// Servers that the survey was asked to look at before their turn.
    pub unsurveyed: std::collections::BTreeSet<ServerId>,
    pub failing: BTreeMap<String, Failure>,
    pub silent_actions: BTreeSet<String>,
    /// Actions that take this long, by name.
    pub slow_actions: BTreeMap<String, Span>,
    pub commits_wait: bool,
    /// Clients take every place of a new primary.
    pub full: bool,
    pub trace: Vec<String>,
    pub events: Vec<Event>,
    /// What the last command did that was not rejected.
    pub answer: Option<Answer>,
    pub actions: Vec<Action>,
    runs: Vec<(Mono, RunId, Finding)>,
    sessions: Vec<(Mono, RunId, usize, Finding)>,
    pending: Vec<(Mono, ActionId, Result<Report, Failure>)>,
    model: Model,
    last_growth: Mono,
    token: u64,
    pub show_actions: bool,
    /// What became of the server that was asked to stop last.
    stopped: Option<Stopped>,
    /// One that is asked to stop crashes.
    pub crashes_when_stopped: bool,
    /// Standbys that do not receive the end of a log.
    pub deaf: BTreeSet<usize>,
    /// Whoever looks whether the old primary is still stopped finds that it is not.
    pub proof_fails: bool,
    /// So many bytes at most are carried from an old primary's disk, and why not more.
    pub salvage_stops: Option<(u64, String)>,
    /// What an old primary's log ends before its real end: the rest cannot be read, and nobody notices.
    pub log_torn: u64,
    /// The route has a second instance, which cannot be told anything.
    pub second_instance_fails: bool,
    /// What the journal comes to.
    pub journal: Facts,
    /// When its facts were written.
    journal_at: Mono,
    /// How long ago, by the journal, the last failover ended when another engine starts.
    pub last_failover_age: Option<Span>,
    /// The engine dies before it carries out this journal record or action, counted from the start of the world.
    pub dies_at: Option<usize>,
    /// Journal records and actions so far.
    pub deeds: usize,
    /// It has died and was not started again.
    pub dead: bool,
    stepping: bool,
    next: Vec<Input>,
    /// Where a replay begins, every input since, and what the core said to each.
    pub tape: Option<Tape>,
}

impl Node {
    /// Who has a session is served.
    fn answers_sessions(&self) -> bool {
        matches!(self.mode, Mode::Up | Mode::KeptOnly)
    }
}

impl World {
    pub fn new(model: Model) -> World {
        let count = model.services[0].servers.len();
        let nodes = (0..count)
            .map(|at| Node {
                mode: Mode::Up,
                writable: at == 0,
                system_id: SYSTEM_ID,
                timeline: 1,
                lsn: 0x300_0000,
                streaming: at != 0,
                delayed: false,
                spool: None,
                replay_paused: false,
                replay_conflict: false,
                fork: None,
                host: Some((ProcessState::Running, LocalAnswer::NotAsked)),
                session: false,
                next_ping: Mono::NEVER,
                started: Some(Mono::ZERO),
                receive: Received::Position,
                replay: None,
                at_end: false,
                called: None,
                slot: None,
                control_timeline: None,
                settings_loaded: None,
                names: None,
                upstream: None,
                streams_at: None,
                row: Row::Streams,
                engines: Vec::new(),
                memory_gone: false,
                stopped_by_order: false,
                holds: Vec::new(),
            })
            .collect();
        World {
            core: Core::new(model.clone()),
            now: Mono::ZERO,
            nodes,
            write_rate: 20_000,
            partitioned: false,
            sync_names: String::new(),
            sync_commit: SyncCommit::On,
            sync_commit_overridden: None,
            list_hidden: false,
            strangers: Vec::new(),
            salvage_stops: None,
            log_torn: 0,
            route_works: true,
            gate_closed: false,
            transactions_run: false,
            facts: vec![SwitchoverFacts { max_prepared: 10, ..SwitchoverFacts::default() }; count],
            source_trouble: std::collections::BTreeMap::new(),
            unsurveyed: std::collections::BTreeSet::new(),
            failing: BTreeMap::new(),
            silent_actions: BTreeSet::new(),
            slow_actions: BTreeMap::new(),
            commits_wait: false,
            full: false,
            trace: Vec::new(),
            events: Vec::new(),
            answer: None,
            actions: Vec::new(),
            runs: Vec::new(),
            sessions: Vec::new(),
            pending: Vec::new(),
            model,
            last_growth: Mono::ZERO,
            token: 0,
            show_actions: true,
            stopped: None,
            crashes_when_stopped: false,
            deaf: BTreeSet::new(),
            proof_fails: false,
            second_instance_fails: false,
            journal: Facts::default(),
            journal_at: Mono::ZERO,
            last_failover_age: None,
            dies_at: None,
            deeds: 0,
            dead: false,
            stepping: false,
            next: Vec::new(),
            tape: None,
        }
    }

    /// The engine is killed: what is on its way is lost, what was done is done.
    pub fn kill_engine(&mut self) {
        self.dead = true;
        self.next.clear();
        self.runs.clear();
        self.sessions.clear();
        self.pending.clear();
        for node in &mut self.nodes {
            node.session = false;
        }
        self.note("the engine dies");
    }

    /// The same configuration once more: every session is opened anew.
    pub fn reload(&mut self) {
        for node in &mut self.nodes {
            node.session = false;
        }
        let outputs = self.core.reload(self.now, self.model.clone()).expect("no failover is in flight");
        self.note("the configuration is reloaded");
        for output in outputs {
            self.carry_out(output);
        }
    }

    /// The configuration once more, with one more standby; what the journal knows of the service is told again.
    pub fn reload_with_another_server(&mut self) {
        let (at, service) = (self.nodes.len(), &mut self.model.services[0]);
        let (name, id) = (format!("db{}", at + 1), u16::try_from(at).unwrap());
        service.servers.push(ServerModel { name: name.clone(), ..service.servers[at - 1].clone() });
        service.checks.push(CheckModel { name: format!("{name}/postgres"), server: id, ..service.checks[at - 1].clone() });
        self.nodes.push(Node { session: false, ..self.nodes[at - 1].clone() });
        self.reload();
        let facts = self.facts();
        self.feed(Input::Restored { service: SERVICE, facts: Box::new(facts) });
    }

    /// What the journal tells an engine now.
    fn facts(&self) -> Facts {
        let passed = self.now.since(self.journal_at);
        let durable = self.journal.durable.clone().aged(passed);
        let age = self.last_failover_age.or(durable.recorded_age());
        Facts { durable: durable.with_failover_age(age), ..self.journal.clone() }
    }

    /// Another engine on the same journal.
    pub fn start_engine(&mut self) {
        self.start_engine_dying_at(usize::MAX);
    }

    /// Another engine on the same journal, which dies in its turn.
    pub fn start_engine_dying_at(&mut self, deed: usize) {
        self.dead = false;
        self.dies_at = Some(deed);
        self.core = Core::new(self.model.clone());
        self.note("another engine starts");
        let facts = self.facts();
        self.feed(Input::Restored { service: SERVICE, facts: Box::new(facts) });
    }

    pub fn index(&self, name: &str) -> usize {
        self.model.services[0].servers.iter().position(|server| server.name == name).unwrap_or_else(|| panic!("no server {name}"))
    }

    /// Feeds one input at the present moment.
    pub fn feed(&mut self, input: Input) {
        if self.dead {
            return;
        }
        // What an action brings about comes after the rest of the step that asked for it.
        if self.stepping {
            self.next.push(input);
            return;
        }
        self.stepping = true;
        self.step(input);
        self.stepping = false;
        if !self.next.is_empty() {
            let input = self.next.remove(0);
            self.feed(input);
        }
    }

    fn step(&mut self, input: Input) {
        let taped = self.tape.is_some().then(|| input.clone());
        let outputs = self.core.step(self.now, input);
        if let (Some((_, inputs)), Some(input)) = (&mut self.tape, taped) {
            inputs.push((self.now, input, format!("{outputs:?}")));
        }
        for output in outputs {
            if matches!(output, Output::Journal(_) | Output::RunAction { .. }) {
                if self.dies_at == Some(self.deeds) {
                    self.kill_engine();
                    return;
                }
                self.deeds += 1;
            }
            self.carry_out(output);
        }
    }

    pub fn command(&mut self, command: Command) {
        self.token += 1;
        let token = self.token;
        self.feed(Input::Operator { service: None, command, token });
    }

    pub fn self_health(&mut self, health: SelfHealth) {
        self.feed(Input::SelfHealth(health));
    }

    /// The other side closes the kept session.
    pub fn close(&mut self, node: usize, cause: CloseCause, message: &str) {
        self.nodes[node].session = false;
        self.feed(Input::SessionClosed {
            service: SERVICE,
            server: ServerId(u16::try_from(node).unwrap()),
            close: Close { cause, message: message.into() },
        });
    }

    /// How a host reaches the other servers.
    fn sources(&self, at: usize) -> Vec<Source> {
        match self.source_trouble.get(&at) {
            Some(why) => vec![Source { server: String::new(), trouble: Some(why.clone()) }],
            None => (0..self.nodes.len()).map(|to| Source { server: format!("db{}", to + 1), trouble: None }).collect(),
        }
    }

    /// The survey confirms the host's view of each living server.
    pub fn survey(&mut self) {
        for at in 0..self.nodes.len() {
            let word = self.host_word(at, false);
            let readiness = Readiness {
                asked: self.now,
                ssh: Some(word.map_err(|failure| failure.message)),
                findings: Vec::new(),
                earlier: Vec::new(),
                switchover: Some(self.facts[at].clone()),
                sources: Some(self.sources(at)),
            };
            self.feed(Input::Surveyed { service: SERVICE, server: ServerId(u16::try_from(at).unwrap()), readiness });
        }
    }

    /// The survey looks at the route.
    #[allow(dead_code, reason = "not every test that takes this world has a route")]
    pub fn see_route(&mut self, instance: InstanceView) {
        self.feed(Input::RouteSurveyed { service: SERVICE, survey: RouteSurvey { asked: self.now, instances: vec![instance] } });
    }

    /// Lets virtual time pass; everything due happens in order.
    pub fn run(&mut self, span: Span) {
        let end = self.now + span;
        // Bounded: a core that spins without moving time would otherwise hang the test.
        for _ in 0..200_000 {
            let next = self.next_moment();
            if next > end {
                self.now = end;
                self.grow();
                return;
            }
            self.now = next.max(self.now);
            self.grow();
            self.happen();
        }
        let tail = self.trace.iter().rev().take(12).rev().cloned().collect::<Vec<_>>().join("\n");
        panic!("the core spins at {:?}, next {:?}:\n{tail}", self.now, self.core.next_deadline());
    }

    /// Runs until an event of this kind, at most `span`.
    pub fn run_until(&mut self, kind: EventKind, span: Span) -> bool {
        let end = self.now + span;
        let seen = self.events.len();
        while self.now < end {
            if self.events[seen..].iter().any(|event| event.kind == kind) {
                return true;
            }
            let next = self.next_moment().min(end);
            self.run(next.since(self.now).max(Span::from_nanos(1)));
        }
        self.events[seen..].iter().any(|event| event.kind == kind)
    }

    /// A long pause of the engine itself: time passes, nothing is fed.
    pub fn sleep(&mut self, span: Span) {
        self.now = self.now + span;
        self.grow();
        self.feed(Input::Tick);
    }

    fn grow(&mut self) {
        let span = self.now.since(self.last_growth);
        self.last_growth = self.now;
        for node in self.nodes.iter_mut().filter(|node| node.streams_at.is_some_and(|at| at <= self.now)) {
            (node.streaming, node.streams_at) = (true, None);
        }
        let Some(primary) = self.nodes.iter().position(|node| node.writable) else { return };
        let alive = self.nodes[primary].answers_sessions() || self.partitioned;
        if !alive {
            return;
        }
        let bytes = self.write_rate.saturating_mul(span.as_nanos()) / 1_000_000_000;
        self.nodes[primary].lsn += bytes;
        let lsn = self.nodes[primary].lsn;
        for node in &mut self.nodes {
            if node.streaming && !node.writable {
                node.lsn = lsn;
            }
        }
    }

    fn next_moment(&self) -> Mono {
        let mut next = if self.dead { Mono::NEVER } else { self.core.next_deadline() };
        next = self.runs.iter().map(|(at, ..)| *at).min().unwrap_or(Mono::NEVER).min(next);
        next = self.sessions.iter().map(|(at, ..)| *at).min().unwrap_or(Mono::NEVER).min(next);
        next = self.pending.iter().map(|(at, ..)| *at).min().unwrap_or(Mono::NEVER).min(next);
        next = self.nodes.iter().filter_map(|node| node.streams_at).min().unwrap_or(Mono::NEVER).min(next);
        self.nodes.iter().filter(|node| node.session).map(|node| node.next_ping).min().unwrap_or(Mono::NEVER).min(next)
    }

    fn happen(&mut self) {
        let now = self.now;
        if let Some(at) = self.runs.iter().position(|(at, ..)| *at <= now) {
            let (_, run, mut finding) = self.runs.remove(at);
            finding.latency = now.since(finding.began);
            self.feed(Input::CheckFinished { run, finding });
        } else if let Some(at) = self.sessions.iter().position(|(at, ..)| *at <= now) {
            let (_, run, node, finding) = self.sessions.remove(at);
            if finding.verdict == Verdict::Up {
                self.nodes[node].session = true;
                self.nodes[node].next_ping = now + ms(200);
                self.feed(Input::SessionOpened { run });
            } else {
                self.feed(Input::SessionFailed { run, finding });
            }
        } else if let Some(at) = self.pending.iter().position(|(at, ..)| *at <= now) {
            let (_, action, outcome) = self.pending.remove(at);
            self.feed(Input::ActionFinished { action, outcome });
        } else if let Some(at) = self.nodes.iter().position(|node| node.session && node.next_ping <= now) {
            self.nodes[at].next_ping = now + ms(200);
            if self.nodes[at].answers_sessions() {
                let sample = self.sample(at);
                let server = ServerId(u16::try_from(at).unwrap());
                self.feed(Input::SessionAnswered { service: SERVICE, server, sample: Box::new(sample) });
            }
        } else {
            self.feed(Input::Tick);
        }
    }

    /// The end of a stopped server's log is carried to a standby.
    fn salvage(&mut self, server: ServerId, old: ServerId, system_id: u64, from: Lsn) -> Result<Report, Failure> {
        let (torn, stops) = (self.log_torn, self.salvage_stops.clone());
        let from_node = &self.nodes[usize::from(old.0)];
        match from_node.host {
            None => return Err(Failure::timed_out("no answer from the host of the old primary", "")),
            Some((ProcessState::Gone, _)) => {}
            Some(_) => return Err(Failure::no_effect("a process of the old primary lives", "")),
        }
        if from_node.system_id != system_id {
            return Err(Failure::no_effect("the log there is another cluster's", ""));
        }
        let end = Lsn(from_node.lsn - torn);
        let missing = end.bytes_after(from);
        let most = stops.as_ref().map_or(u64::MAX, |(most, _)| *most);
        let salvaged = missing.min(most);
        let failed = stops.map(|(_, why)| why).filter(|_| salvaged < missing);
        let node = &mut self.nodes[usize::from(server.0)];
        node.lsn = node.lsn.max(from.0 + salvaged);
        node.replay = None;
        let commits = (salvaged > 0).then_some(salvaged / 100);
        Ok(Report::Salvaged(Salvaged { end, missing, salvaged, commits, replayed: Lsn(node.lsn), failed }))
    }

    /// What a server is called as a standby.
    fn called(&self, at: usize) -> String {
        self.nodes[at].called.clone().unwrap_or_else(|| self.model.services[0].servers[at].name.clone())
    }

    /// The last backend of a killed primary answers once more, when no sender is left.
    pub fn last_words(&mut self, at: usize) {
        let mut sample = self.sample(at);
        sample.replicas = Some(Vec::new());
        let server = ServerId(u16::try_from(at).unwrap());
        self.feed(Input::SessionAnswered { service: SERVICE, server, sample: Box::new(sample) });
    }

    fn sample(&self, at: usize) -> Sample {
        let node = &self.nodes[at];
        // A frozen primary leaves its standby's receiver "streaming" (rule 91); a dead one ends it within milliseconds.
        let primary_alive = self.nodes.iter().any(|other| other.writable && (other.mode != Mode::Refused || self.partitioned));
        let talking = self.nodes.iter().any(|other| other.writable && (other.answers_sessions() || self.partitioned));
        let source_alive = node.upstream.map_or(primary_alive, |upstream| self.nodes[upstream].mode != Mode::Refused);
        let receiver = if node.writable || !node.streaming || !source_alive {
            Receiver::Absent
        } else {
            Receiver::Seen {
                streaming: true,
                latest_end: Some(Lsn(node.lsn)),
                last_message_age: if talking && self.write_rate > 0 { ms(5) } else { ms(20_000) },
                application_name: Some(self.called(at)),
                slot: node.slot.clone(),
            }
        };
        let replicas = (!self.list_hidden).then(|| self.rows(at));
        Sample {
            asked: self.now,
            age: node.started.map(|started| self.now.since(started)),
            started: node.started.map(|started| i64::try_from(started.as_nanos() / 1_000).unwrap_or(i64::MAX)),
            in_recovery: !node.writable,
            system_id: node.system_id,
            timeline: node.control_timeline.filter(|_| receiver == Receiver::Absent && !node.writable).unwrap_or(node.timeline),
            flush: node.writable.then_some(Lsn(node.lsn)),
            receive: match node.receive {
                _ if node.writable => None,
                Received::Position => Some(Lsn(node.lsn)),
                Received::Nothing => None,
                Received::UpTo(lsn) => Some(Lsn(lsn)),
            },
            replay: (!node.writable).then_some(Lsn(node.replay.unwrap_or(node.lsn))),
            receiver,
            at_end: node.at_end && !node.writable,
            replay_paused: node.replay_paused,
            replay_conflict: node.replay_conflict && !node.writable,
            delayed: node.delayed,
            spool: node.spool.filter(|_| !node.writable),
            sync_names: node.names.clone().filter(|_| !node.writable).unwrap_or_else(|| self.sync_names.clone()),
            sync_commit: self.sync_commit,
            sync_commit_overridden: self.sync_commit_overridden,
            settings_loaded: node.settings_loaded,
            replicas,
            slots: None,
            uses_slot: node.slot.clone(),
            other_engines: node.engines.clone(),
            ..Sample::default()
        }
    }

    /// Whom the primary lists.
    fn rows(&self, primary: usize) -> Vec<Replica> {
        let row = |application_name: String, slot, flush: u64| Replica {
            application_name,
            streaming: true,
            synchronous: !self.sync_names.is_empty(),
            flush: Some(Lsn(flush)),
            slot,
            reply_age: None,
        };
        let of_node = |(at, node): (usize, &Node)| {
            let seen = row(self.called(at), node.slot.clone(), node.lsn);
            match node.row {
                Row::Streams => seen,
                Row::CatchesUp => Replica { streaming: false, synchronous: false, ..seen },
                Row::Replied(flush, ago) => Replica { flush: Some(Lsn(flush)), reply_age: Some(ago), ..seen },
            }
        };
        let writable = self.nodes[primary].writable;
        let is_its = |upstream: Option<usize>| upstream.map_or(writable, |upstream| upstream == primary);
        let nodes = self.nodes.iter().enumerate();
        let nodes = nodes.filter(|(at, node)| *at != primary && node.streaming && is_its(node.upstream));
        let strangers = self.strangers.iter().filter(|_| writable).map(|name| row(name.clone(), None, self.nodes[primary].lsn));
        nodes.map(of_node).chain(strangers).collect()
    }

    fn finding(&self, at: usize, deadline: Mono) -> (Mono, Finding) {
        let (delay, verdict, message) = match self.nodes[at].mode {
            Mode::Up => (ms(2), Verdict::Up, "1 row"),
            Mode::Refused => (ms(1), Verdict::Down(DownCause::Refused), "connection refused"),
            Mode::Silent | Mode::KeptOnly => {
                (deadline.since(self.now), Verdict::Down(DownCause::AnswerTimedOut), "no answer in time")
            }
            Mode::Impaired(impairment) => (ms(2), Verdict::Impaired(impairment), "alive, not serving"),
            Mode::Unknown => (ms(1), Verdict::Unknown(UnknownCause::Resolver), "the name does not resolve"),
        };
        (self.now + delay, Finding { verdict, message: message.into(), began: self.now, latency: Span::ZERO, sample: None })
    }

    fn host_word(&self, at: usize, ask_local: bool) -> Result<HostReport, Failure> {
        let Some((postmaster, local)) = self.nodes[at].host else {
            return Err(Failure::timed_out("no answer from the host", ""));
        };
        let local_answer = if ask_local { local } else { LocalAnswer::NotAsked };
        Ok(HostReport {
            asked: self.now,
            postmaster,
            others: 0,
            stopped: u32::from(postmaster == ProcessState::Stopped),
            shm_attached: if postmaster == ProcessState::Gone { self.nodes[at].memory_gone.then_some(0) } else { Some(1) },
            local_answer,
            stopped_by_order: postmaster == ProcessState::Gone && self.nodes[at].stopped_by_order,
            holds: self.nodes[at].holds.clone(),
            message: format!("postmaster {postmaster:?}, local {local_answer:?}").to_lowercase(),
        })
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::RunCheck { run, check, deadline, .. } => {
                let server = usize::from(self.model.services[0].checks[usize::from(check.0)].server);
                let (at, finding) = self.finding(server, deadline);
                self.runs.push((at, run, finding));
            }
            Output::OpenSession { run, server, deadline, .. } => {
                let node = usize::from(server.0);
                let (at, finding) = self.finding(node, deadline);
                self.sessions.push((at, run, node, finding));
            }
            Output::CloseSession { server, .. } => {
                self.nodes[usize::from(server.0)].session = false;
                self.note(&format!("close the session of db{}", server.0 + 1));
            }
            Output::CancelRun(run) => {
                self.runs.retain(|(_, other, _)| *other != run);
                self.sessions.retain(|(_, other, ..)| *other != run);
            }
            Output::RunAction { id, action, deadline, .. } => self.act(id, action, deadline),
            Output::CancelAction(id) => {
                self.note(&format!("cancel action {id}"));
                self.pending.retain(|(_, other, _)| *other != id);
            }
            Output::Survey { server, .. } => {
                self.unsurveyed.insert(server);
            }
            Output::Emit(event) => {
                for (name, value) in &event.fields {
                    assert_eq!(event.kind.row().disagrees(name, value), None, "{event:?}");
                }
                assert!(event.kind.row().severities.contains(&event.severity), "{event:?}");
                if event.kind != EventKind::Observed {
                    self.note(&format!("{} {}: {}", event.severity.as_str(), event.kind.as_str(), event.message));
                }
                self.events.push(event);
            }
            Output::Reply { result, .. } => match result {
                Ok(answer) => {
                    self.note(&format!("reply ok: {}", answer.message));
                    self.answer = Some(answer);
                }
                Err(message) => self.note(&format!("reply error: {message}")),
            },
            Output::Journal(record) => {
                self.remember(&record);
                let line = match record {
                    Record::Intent { generation, .. } => format!("journal intent {generation}"),
                    Record::Ended { generation, how, .. } => format!("journal ended {generation} {how}"),
                    Record::StepBegun { .. } | Record::StepEnded { .. } | Record::Facts { .. } => return,
                };
                self.note(&line);
            }
        }
    }

    fn remember(&mut self, record: &Record) {
        let journal = &mut self.journal;
        match record {
            Record::Facts { durable, .. } => {
                self.journal_at = self.now;
                journal.durable = (**durable).clone();
            }
            Record::Intent { generation, begun, .. } => {
                journal.durable.generation = *generation;
                journal.begun = Some((**begun).clone());
            }
            Record::StepBegun { step, chosen, .. } => {
                if let Some(begun) = &mut journal.begun {
                    begun.route_touched |= matches!(step, Step::CloseGate | Step::RouteOut);
                    begun.fence_tried |= *step == Step::Fence;
                    begun.stop_tried |= *step == Step::StopServer;
                    begun.chosen = chosen.or(begun.chosen);
                }
            }
            Record::StepEnded { .. } => {}
            Record::Ended { how, .. } => {
                journal.begun = None;
                journal.unfinished = (!matches!(how, EndedHow::Completed | EndedHow::Stopped)).then(|| how.as_str().to_owned());
            }
        }
    }

    fn act(&mut self, id: ActionId, action: Action, deadline: Mono) {
        let name = action.name().to_owned();
        if self.show_actions {
            let server = action.server().map_or_else(String::new, |server| format!(" db{}", server.0 + 1));
            self.note(&format!("action {name}{server}"));
        }
        self.actions.push(action.clone());
        if self.silent_actions.contains(&name) {
            return;
        }
        let slow = match &action {
            Action::AskHost { server, .. } if self.nodes[usize::from(server.0)].host.is_none() => deadline.since(self.now),
            Action::AskHost { server, ask_local: true }
                if self.nodes[usize::from(server.0)].host.is_some_and(|(_, local)| local == LocalAnswer::Silent) =>
            {
                ms(1_000)
            }
            _ => self.slow_actions.get(&name).copied().unwrap_or(ms(10)),
        };
        let outcome = match self.failing.get(&name) {
            Some(failure) => Err(failure.clone()),
            None => self.effect(action),
        };
        self.pending.push((self.now + slow, id, outcome));
    }

    fn effect(&mut self, action: Action) -> Result<Report, Failure> {
        let second = self.second_instance_fails;
        let route = |works: bool, done: &str| {
            let result = if works { Ok(done.to_owned()) } else { Err("connection refused".to_owned()) };
            let second = second.then(|| RouteInstance { name: "lb2".into(), result: Err("no such socket".into()) });
            Report::Route([RouteInstance { name: "lb1".into(), result }].into_iter().chain(second).collect())
        };
        match action {
            Action::AskHost { server, ask_local } => {
                let node = &self.nodes[usize::from(server.0)];
                let word = self.host_word(usize::from(server.0), ask_local);
                let ended = node.has_ended();
                let end = LogEnd { at: Lsn(node.lsn), timeline: node.timeline };
                word.map(|word| if ended { Report::HostShutDown { word, end } } else { Report::Host(word) })
            }
            Action::PreChecks | Action::FenceUndo { .. } | Action::OpenSyncGate { .. } => {
                if matches!(action, Action::OpenSyncGate { .. }) {
                    self.commits_wait = false;
                    self.sync_names.clear();
                }
                Ok(Report::Done { message: "done".into() })
            }
            Action::RepointStandbys { standbys, primary, timeline, .. } => Ok(Report::Repointed(
                standbys.into_iter().map(|standby| (standby, self.repoint(standby, primary, timeline))).collect(),
            )),
            Action::RestoreSyncNames { names, .. } => {
                self.sync_names = names;
                Ok(Report::Done { message: "put back".into() })
            }
            Action::SetSyncNames { server, standby, from, names, .. } => {
                self.set_names(usize::from(server.0), standby, &from, names)
            }
            Action::DropSlot { slot, .. } => Ok(Report::Done { message: format!("{slot} dropped") }),
            Action::Checkpoint { .. } => Ok(Report::Done { message: "written".into() }),
            Action::StopServer { server } => {
                self.stop_in_order(usize::from(server.0));
                Ok(Report::Done { message: "standby.signal placed; SIGINT to the postmaster".into() })
            }
            Action::ReadReceipt { standbys, .. } => {
                let stopped = self.stopped.clone().unwrap_or(Stopped::NotYet { state: "in production".into() });
                Ok(Report::Receipt(Receipt { stopped, positions: self.positions(standbys) }))
            }
            Action::StartServer { server, .. } => {
                let node = &mut self.nodes[usize::from(server.0)];
                node.mode = Mode::Up;
                node.host = Some((ProcessState::Running, LocalAnswer::Accepting));
                node.started = Some(self.now);
                self.stopped = None;
                // Whoever followed it does so again.
                for node in self.nodes.iter_mut().filter(|node| !node.writable) {
                    node.streaming = true;
                }
                Ok(Report::Done { message: "standby.signal removed; it takes writes".into() })
            }
            Action::Follow { .. } => Err(Failure::no_effect("nothing follows here", "")),
            Action::CloseGate { keep, .. } => {
                self.gate_closed = self.route_works && (keep || !self.transactions_run);
                let result = match (self.route_works, self.transactions_run) {
                    (true, false) => Ok("orders is paused".to_owned()),
                    (true, true) => Err("transactions run on".to_owned()),
                    (false, _) => Err("connection refused".to_owned()),
                };
                let running = self.route_works && self.transactions_run;
                Ok(Report::Gate { instances: vec![RouteInstance { name: "lb1".into(), result }], running })
            }
            Action::RouteOut { .. } => Ok(route(self.route_works, "maintenance, no sessions")),
            Action::RouteRestore { .. } | Action::RouteRollback { .. } => {
                self.gate_closed &= !self.route_works;
                Ok(route(self.route_works, "as before"))
            }
            Action::RouteIn { .. } => {
                self.gate_closed &= !self.route_works;
                Ok(route(self.route_works, "ready"))
            }
            Action::RouteWeight { .. } | Action::PointNames { .. } => Ok(route(self.route_works, "ready")),
            Action::ProveFence { .. } if self.proof_fails => Ok(Report::Fence(FenceReport {
                level: FenceLevel::None,
                guard_placed: true,
                rungs: vec![Rung { name: RungName::Proof, ok: false, took: ms(5), note: String::new() }],
                proof: "not proven: alive in the data directory".into(),
                end: None,
            })),
            Action::Fence { server, .. } | Action::ProveFence { server, .. } => {
                let by_command = matches!(action, Action::Fence { require: FenceLevel::PowerOff, unreachable: true, .. });
                let node = &mut self.nodes[usize::from(server.0)];
                if by_command {
                    return Ok(Report::Fence(FenceReport {
                        level: FenceLevel::PowerOff,
                        guard_placed: false,
                        rungs: vec![Rung { name: RungName::Command, ok: true, took: ms(5), note: String::new() }],
                        proof: "fence.command ended with 0".into(),
                        end: None,
                    }));
                }
                if node.host.is_none() {
                    return Err(Failure::timed_out("no answer from the host", ""));
                }
                node.host = Some((ProcessState::Gone, LocalAnswer::Silent));
                node.mode = Mode::Refused;
                let rung = |name| Rung { name, ok: true, took: ms(5), note: String::new() };
                let end = node.has_ended().then_some(LogEnd { at: Lsn(node.lsn), timeline: node.timeline });
                // What held its shutdown was ended.
                let killed = (!std::mem::take(&mut node.holds).is_empty()).then_some(RungName::KillChildren);
                Ok(Report::Fence(FenceReport {
                    level: FenceLevel::ProvenStopped,
                    guard_placed: true,
                    rungs: killed.into_iter().chain([RungName::Proof]).map(rung).collect(),
                    proof: "no process left, shared memory gone".into(),
                    end,
                }))
            }
            Action::ReadPositions { servers, .. } => Ok(Report::Positions(self.positions(servers))),
            Action::Salvage { server, old, system_id, from, .. } => self.salvage(server, old, system_id, from),
            Action::EmptySpool { .. } => Ok(Report::Done { message: "the spool is empty".into() }),
            Action::ReadDivergence { .. }
            | Action::MakeSlot { .. }
            | Action::KeepLog { .. }
            | Action::Rewind { .. }
            | Action::ReadRewind { .. }
            | Action::Copy { .. }
            | Action::FollowPrimary { .. }
            | Action::StartStandby { .. } => Err(Failure::refused("this world brings nobody back", "")),
            Action::Promote { server, .. } => {
                let timeline = self.nodes.iter().map(|node| node.timeline).max().unwrap_or(1) + 1;
                let node = &mut self.nodes[usize::from(server.0)];
                if let Some(names) = node.names.take() {
                    self.sync_names = names;
                }
                node.writable = true;
                node.streaming = false;
                node.timeline = timeline;
                let flush = Lsn(node.lsn);
                for (at, other) in self.nodes.iter_mut().enumerate() {
                    if other.upstream == Some(usize::from(server.0)) {
                        other.timeline = timeline;
                    } else if at != usize::from(server.0) {
                        other.writable = false;
                        other.streaming = false;
                    }
                }
                let next = Some(u64::from(timeline) * 1_000);
                let forked = Forked { at: Some(flush), next_before: next, next_after: next };
                Ok(Report::Promoted { timeline, flush, forked, message: format!("writable on timeline {timeline}") })
            }
            Action::ReadHistory { server, timeline } => match self.nodes[usize::from(server.0)].fork {
                Some(fork) => Ok(Report::History { timeline, switches: vec![(timeline - 1, Lsn(fork))] }),
                None => Err(Failure::no_effect("no answer from the host", "")),
            },
            Action::ReadRole { server } => {
                let node = &self.nodes[usize::from(server.0)];
                Ok(Report::Role { in_recovery: !node.writable, timeline: node.timeline, system_id: node.system_id })
            }
            Action::VerifyData { server, .. } => Ok(Report::Written {
                flush: Lsn(self.nodes[usize::from(server.0)].lsn),
                commits: !self.commits_wait,
                message: "a write is flushed".into(),
            }),
            Action::VerifyTraffic { server, .. } if self.full => {
                Ok(Report::TrafficFull { message: format!("lb1: db{} has no place left", server.0 + 1) })
            }
            Action::VerifyTraffic { server, .. } | Action::VerifyService { server } => {
                Ok(Report::Traffic { message: format!("lb1: db{} answered", server.0 + 1) })
            }
        }
    }

    fn positions(&self, servers: Vec<ServerId>) -> Vec<Position> {
        let position = |server: ServerId| {
            let at = usize::from(server.0);
            let sample = if self.nodes[at].answers_sessions() { Ok(self.sample(at)) } else { Err("no answer".into()) };
            Position { server, sample, settled: true }
        };
        servers.into_iter().map(position).collect()
    }

    /// A standby streams from the primary; commits go through again where they waited for it.
    fn repoint(&mut self, standby: ServerId, primary: ServerId, timeline: u32) -> Result<Repointed, Failure> {
        let at = usize::from(standby.0);
        if self.nodes[at].mode != Mode::Up || self.deaf.contains(&at) {
            return Err(Failure::timed_out("it does not stream", "read its log"));
        }
        let node = &mut self.nodes[at];
        let followed = node.upstream == Some(usize::from(primary.0));
        (node.timeline, node.streaming) = (timeline, true);
        if followed {
            return Ok(Repointed { streams: true, changed: false, slot: None, message: "it streams already".into() });
        }
        if self.sync_names.contains(node.called.as_ref().unwrap_or(&self.model.services[0].servers[at].name)) {
            self.commits_wait = false;
        }
        let slot = node.slot.clone();
        Ok(Repointed { streams: true, changed: true, slot, message: format!("pointed to db{}", primary.0 + 1) })
    }

    /// A server's `synchronous_standby_names`, where it is still what was seen.
    fn set_names(&mut self, at: usize, standby: bool, from: &str, names: String) -> Result<Report, Failure> {
        let (node, before) = (&self.nodes[at], self.sample(at).sync_names);
        if node.mode != Mode::Up || node.writable == standby || before != from {
            return Err(Failure::no_effect("it cannot be asked, has another role, or other names", "look at it"));
        }
        let message = format!("synchronous_standby_names is '{names}'");
        let node = &mut self.nodes[at];
        node.settings_loaded = Some(node.settings_loaded.unwrap_or_default() + 1);
        if standby {
            node.names = Some(names);
        } else {
            self.sync_names = names;
        }
        Ok(Report::Done { message })
    }

    /// What SIGINT comes to: the end of the log, which those receive that are not deaf, or a crash.
    fn stop_in_order(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.host.is_none_or(|(postmaster, _)| postmaster == ProcessState::Gone) {
            self.stopped = Some(Stopped::Crashed { state: "in production".into() });
            return;
        }
        if node.host.is_some_and(|(postmaster, _)| postmaster == ProcessState::Stopped) {
            self.stopped = Some(Stopped::Frozen);
            return;
        }
        let end = Lsn(node.lsn);
        node.lsn += CHECKPOINT;
        node.mode = Mode::Refused;
        node.host = Some((ProcessState::Gone, LocalAnswer::Silent));
        let (crashes, after) = (self.crashes_when_stopped, node.lsn);
        self.stopped = Some(if crashes {
            Stopped::Crashed { state: "in production".into() }
        } else {
            Stopped::InOrder(LogEnd { at: end, timeline: node.timeline })
        });
        for (other, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| node.streaming && !node.writable) {
            if !crashes && !self.deaf.contains(&other) {
                node.lsn = after;
            }
            node.streaming = false;
        }
        self.close(at, CloseCause::Announced, "FATAL 57P01 ProcessInterrupts");
    }

    pub fn note(&mut self, line: &str) {
        let millis = self.now.as_nanos() / 1_000_000;
        self.trace.push(format!("{:>4}.{:03} {line}", millis / 1_000, millis % 1_000));
    }
}
