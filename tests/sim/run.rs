//! One run of one seed: the real core, a shell that loses, delays and lies as the seed says, and the clusters around them, in one
//! thread on a virtual clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use failover::core::Core;
use failover::core::event::EventKind;
use failover::core::handover::Receipt;
use failover::core::id::{ActionId, RunId, ServerId, ServiceId};
use failover::core::input::{Command, Facts, Input, SelfHealth};
use failover::core::model::{CheckKind, ServiceKind};
use failover::core::observation::{Close, CloseCause, DownCause, Verdict};
use failover::core::output::{Action, EndedHow, Failure, Output, Record, Report, Step};
use failover::core::plan::Begun;
use failover::core::route::{InstanceKind, InstanceTrouble, InstanceView, RouteState, RouteSurvey, ServerView};
use failover::core::sample::{FenceLevel, FenceReport, Lsn, Position, ProcessState, Readiness, RouteInstance, Rung, RungName};
use failover::core::time::{Mono, Span};

use super::cluster::{Cluster, Process};
use super::coverage::Coverage;
use super::dice::Dice;
use super::invariants::Watch;
use super::swarm::{Fault, Link, Moment, Setup, Wrong, setup};

const WORKERS: u32 = 4;
/// Between two looks at the route of a service that was failed over.
const ROUTE_LOOK: Span = Span::from_millis(250);

fn ms(millis: u64) -> Span {
    Span::from_millis(millis)
}

fn at_millis(millis: u64) -> Mono {
    Mono::ZERO + ms(millis)
}

fn server_id(at: usize) -> ServerId {
    ServerId(u16::try_from(at).unwrap_or(u16::MAX))
}

fn service_id(at: usize) -> ServiceId {
    ServiceId(u16::try_from(at).unwrap_or(u16::MAX))
}

/// What a run came to.
pub struct Outcome {
    pub broken: Option<(&'static str, String)>,
    pub digest: u64,
    pub steps: u64,
    pub promotions: u64,
    pub coverage: Coverage,
    pub trace: Vec<String>,
}

struct Asked {
    due: Mono,
    deadline: Mono,
    run: RunId,
    input: Option<Input>,
    /// The session that is open from then on.
    opens: Option<(usize, usize)>,
    sampled: Option<Mono>,
    about: (usize, usize),
    alive: bool,
}

struct Doing {
    due: Mono,
    deadline: Mono,
    id: ActionId,
    service: usize,
    generation: u64,
    action: Action,
    /// Its outcome, or none while the effect is still to come.
    outcome: Option<Result<Report, Failure>>,
    wrong: Option<Wrong>,
}

/// What the journal on disk would tell the next engine.
#[derive(Clone, Debug, Default)]
struct Known {
    facts: Option<Facts>,
    generation: u64,
    unfinished: Option<String>,
    begun: Option<Begun>,
    ended: Option<Mono>,
}

struct Sim {
    setup: Setup,
    clusters: Vec<Cluster>,
    core: Option<Core>,
    /// When this engine was made: its clock begins there.
    seed: u64,
    base: Mono,
    now: Mono,
    awake_at: Mono,
    dice: Dice,
    /// What came in while the engine did not run.
    inbox: VecDeque<Input>,
    asked: Vec<Asked>,
    doing: Vec<Doing>,
    moments: Vec<(Mono, Moment)>,
    ends: Vec<(Mono, Moment)>,
    surveys: Vec<(Mono, usize, Option<usize>)>,
    /// Of each service: when its route is looked at next, once it was failed over.
    route_looks: Vec<Mono>,
    known: Vec<Known>,
    /// Ends of failovers that this engine could not write yet.
    owed: BTreeMap<usize, Record>,
    journal_writable: bool,
    stuck: bool,
    crash_at_record: bool,
    crash_now: bool,
    at_step: Vec<(&'static str, Moment)>,
    down_for: Span,
    wrong: BTreeMap<&'static str, Wrong>,
    watch: Watch,
    coverage: Coverage,
    token: u64,
    commands: BTreeMap<u64, (usize, Command)>,
    digest: u64,
    steps: u64,
    promotions: u64,
    completed: BTreeSet<usize>,
    told: bool,
    trace: Vec<String>,
}

/// Runs a seed to its end, or to the first broken invariant. A panic of the core is one.
pub fn run(seed: u64, told: bool) -> Outcome {
    let mut sim = Sim::new(seed, told);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| sim.play())) {
        let why = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        sim.watch.fail("the_core_never_panics", why);
    }
    Outcome {
        broken: sim.watch.broken.take(),
        digest: sim.digest,
        steps: sim.steps,
        promotions: sim.promotions,
        coverage: sim.coverage,
        trace: sim.trace,
    }
}

impl Sim {
    fn new(seed: u64, told: bool) -> Sim {
        let setup = setup(seed);
        let clusters: Vec<Cluster> = setup
            .model
            .services
            .iter()
            .enumerate()
            .map(|(at, service)| {
                let names: Vec<String> = service.servers.iter().map(|server| server.name.clone()).collect();
                let policy = &service.postgres;
                let mut cluster = Cluster::new(
                    &names,
                    service.route.instances,
                    policy.route_exclusive,
                    setup.synchronous[at],
                    setup.write_rate[at],
                );
                if setup.asynchronous[at] {
                    let last = cluster.servers.len() - 1;
                    cluster.asynchronous = Some(last);
                    cluster.servers[last].lag = cluster.write_rate;
                }
                cluster
            })
            .collect();
        let moments = setup.moments.iter().rev().map(|moment| (at_millis(moment.at), moment.clone())).collect();
        let mut sim = Sim {
            watch: Watch::new(&setup.model),
            known: vec![Known::default(); clusters.len()],
            owed: BTreeMap::new(),
            route_looks: vec![Mono::ZERO; clusters.len()],
            clusters,
            core: None,
            seed,
            base: Mono::ZERO,
            now: Mono::ZERO,
            awake_at: Mono::ZERO,
            dice: Dice::new(seed ^ 0x5EED),
            inbox: VecDeque::new(),
            asked: Vec::new(),
            doing: Vec::new(),
            moments,
            ends: Vec::new(),
            surveys: Vec::new(),
            journal_writable: true,
            stuck: false,
            crash_at_record: false,
            crash_now: false,
            at_step: Vec::new(),
            down_for: Span::ZERO,
            wrong: BTreeMap::new(),
            coverage: Coverage::default(),
            token: 0,
            commands: BTreeMap::new(),
            digest: 0,
            steps: 0,
            promotions: 0,
            completed: BTreeSet::new(),
            told,
            trace: Vec::new(),
            setup,
        };
        if told {
            sim.note(format!("model {:?}", sim.setup.model));
            sim.note(format!("synchronous {:?}, write rate {:?}", sim.setup.synchronous, sim.setup.write_rate));
        }
        sim
    }

    fn note(&mut self, line: impl Into<String>) {
        let millis = self.now.as_nanos() / 1_000_000;
        self.trace.push(format!("{:>4}.{:03} {}", millis / 1_000, millis % 1_000, line.into()));
    }

    fn own(&self, moment: Mono) -> Mono {
        Mono::ZERO + moment.since(self.base)
    }

    fn world(&self, moment: Mono) -> Mono {
        if moment == Mono::NEVER { moment } else { self.base + moment.since(Mono::ZERO) }
    }

    // ---- the engine -----------------------------------------------------------------------------

    fn start_engine(&mut self) {
        self.base = self.now;
        self.awake_at = self.now;
        self.core = Some(Core::new(self.setup.model.clone()));
        for (at, known) in self.known.iter().enumerate() {
            let begun = known.begun.as_ref().map(|begun| begun.generation.0);
            self.watch.new_life(at, known.facts.as_ref().is_some_and(|facts| facts.paused), known.generation, begun);
        }
        self.feed(Input::SelfHealth(self.health(Span::ZERO)));
        for at in 0..self.clusters.len() {
            let known = self.known[at].clone();
            if known.facts.is_some() || known.generation > 0 {
                let age = known.ended.map(|ended| self.now.since(ended));
                let facts = Facts {
                    generation: failover::core::id::Generation(known.generation),
                    last_failover_age: age,
                    unfinished: known.unfinished.clone(),
                    begun: known.begun.clone(),
                    ..known.facts.unwrap_or_default()
                };
                self.feed(Input::Restored { service: service_id(at), facts: Box::new(facts) });
            }
            for server in 0..self.clusters[at].servers.len() {
                self.surveys.push((self.now + ms(900), at, Some(server)));
            }
            self.surveys.push((self.now + ms(950), at, None));
            self.route_looks[at] = self.now;
        }
    }

    fn crash(&mut self, down: Span) {
        if self.told {
            self.note("the engine is killed");
        }
        self.core = None;
        self.asked.clear();
        self.inbox.clear();
        self.surveys.clear();
        self.commands.clear();
        self.owed.clear();
        // What was on its way to be done is done, or not.
        for doing in std::mem::take(&mut self.doing) {
            if doing.outcome.is_none() && self.dice.percent(50) {
                let _ = self.effect(doing.service, &doing.action);
            }
        }
        for cluster in &mut self.clusters {
            for server in &mut cluster.servers {
                server.session = false;
            }
        }
        self.awake_at = self.now + down;
        self.crash_now = false;
        self.crash_at_record = false;
    }

    fn health(&self, gap: Span) -> SelfHealth {
        SelfHealth {
            gap,
            // Either is reason enough, and half of the seeds have the one.
            stuck_workers: if self.stuck && self.seed.is_multiple_of(2) { WORKERS - 1 } else { 0 },
            workers: WORKERS,
            stuck_loops: u32::from(self.stuck && !self.seed.is_multiple_of(2)),
            journal_writable: self.journal_writable,
        }
    }

    fn feed(&mut self, input: Input) {
        let now = self.own(self.now);
        if self.core.is_some() && self.now < self.awake_at {
            self.inbox.push_back(input);
            return;
        }
        let Some(core) = &mut self.core else { return };
        if let Input::SelfHealth(health) = &input {
            self.watch.told_health(self.now, health.gap, health.journal_writable);
        }
        let outputs = core.step(now, input);
        self.after(outputs);
    }

    fn after(&mut self, outputs: Vec<Output>) {
        self.steps += 1;
        self.watch.step(self.now);
        if self.steps > 150_000 {
            self.watch.fail("never_spins", format!("{} steps", self.steps));
        }
        let mut unwritten: BTreeSet<usize> = BTreeSet::new();
        let mut refused = Vec::new();
        for output in outputs {
            self.absorb(&output);
            if let Some(action) = self.carry_out(output, &mut unwritten) {
                refused.push(action);
            }
            if self.crash_now {
                self.crash(self.down_for);
                return;
            }
        }
        if self.steps.is_multiple_of(64) {
            self.look();
        }
        for (service, generation, id, action) in refused {
            let outcome = Err(Failure::no_effect("not begun, because it could not be written down before", ""));
            self.watch.outcome(service, generation, &action, &outcome);
            self.feed(Input::ActionFinished { action: id, outcome });
        }
    }

    fn look(&mut self) {
        if let Some(core) = &self.core {
            self.coverage.snapshot(&core.snapshot());
        }
    }

    /// The trace of what the core said, as a number: two runs of a seed have to agree on it.
    fn absorb(&mut self, output: &Output) {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        self.digest.hash(&mut hasher);
        self.now.hash(&mut hasher);
        match output {
            Output::Emit(event) => (event.seq, event.kind, event.generation, &event.message).hash(&mut hasher),
            Output::RunAction { id, service, generation, action, deadline } => {
                (id, service, generation, action.name(), action.server(), deadline).hash(&mut hasher);
            }
            Output::RunCheck { run, deadline, .. } | Output::OpenSession { run, deadline, .. } => {
                (run, deadline).hash(&mut hasher);
            }
            Output::CancelRun(run) => run.hash(&mut hasher),
            Output::CancelAction(id) => id.hash(&mut hasher),
            Output::Journal(Record::Facts { .. }) => 1.hash(&mut hasher),
            Output::Journal(_) => 2.hash(&mut hasher),
            Output::Survey { server, .. } => server.hash(&mut hasher),
            Output::Reply { token, result } => (token, result).hash(&mut hasher),
        }
        self.digest = hasher.finish();
    }

    fn carry_out(&mut self, output: Output, unwritten: &mut BTreeSet<usize>) -> Option<(usize, u64, ActionId, Action)> {
        self.coverage.output(&output);
        let (now, model) = (self.now, &self.setup.model);
        self.watch.output(now, model, &self.clusters, &output);
        if self.told {
            self.tell(&output);
        }
        match output {
            Output::Journal(record) => self.write(record, unwritten),
            Output::RunCheck { run, service, check, sample, deadline } => {
                self.check(run, usize::from(service.0), usize::from(check.0), sample, deadline);
            }
            Output::OpenSession { run, service, server, deadline } => {
                let (service, server) = (usize::from(service.0), usize::from(server.0));
                let timeout = deadline.since(self.own(now));
                let (latency, verdict) = self.clusters[service].probe(server, timeout, &mut self.dice);
                let up = verdict == Verdict::Up;
                let finding = Cluster::finding(verdict, self.own(now), latency, None);
                let input = if up { Input::SessionOpened { run } } else { Input::SessionFailed { run, finding } };
                let alive = up;
                self.ask(run, (service, server), latency, deadline, input, up.then_some((service, server)), None, alive);
            }
            Output::CancelRun(run) => self.asked.retain(|asked| asked.run != run),
            Output::RunAction { id, service, generation, action, deadline } => {
                let service = usize::from(service.0);
                let needs = matches!(
                    action,
                    Action::PreChecks
                        | Action::RouteOut { .. }
                        | Action::StopServer { .. }
                        | Action::Fence { .. }
                        | Action::Promote { .. }
                );
                if needs && unwritten.contains(&service) {
                    return Some((service, generation.0, id, action));
                }
                if let Some(at) = self.at_step.iter().position(|(name, _)| *name == action.name()) {
                    let (_, moment) = self.at_step.remove(at);
                    self.moments.push((now, moment));
                }
                self.promotions += u64::from(matches!(action, Action::Promote { .. }));
                self.act(id, service, generation.0, action, deadline);
            }
            Output::CancelAction(id) => self.doing.retain(|doing| doing.id != id),
            Output::Survey { service, server } => {
                let due = now + ms(600);
                let (service, server) = (usize::from(service.0), usize::from(server.0));
                self.surveys.push((due, service, Some(server)));
                self.surveys.push((due, service, None));
            }
            Output::Emit(event) => {
                if let (EventKind::FailoverCompleted, Some(service)) = (event.kind, event.service) {
                    self.completed.insert(usize::from(service.0));
                }
            }
            Output::Reply { token, result } => {
                if let Some((service, command)) = self.commands.remove(&token) {
                    self.watch.command(service, &command, result.is_ok());
                    if result.is_ok() && command == Command::Reset && self.journal_writable {
                        self.known[service].unfinished = None;
                        self.known[service].begun = None;
                    }
                }
            }
        }
        None
    }

    fn tell(&mut self, output: &Output) {
        let line = match output {
            Output::Emit(event) if event.kind == EventKind::Observed && event.message.contains(" up") => return,
            Output::Emit(event) => {
                let service = event.service.map_or_else(String::new, |service| format!("s{service} "));
                format!("{service}{} {}: {}", event.severity.word(), event.kind.word(), event.message)
            }
            Output::Journal(Record::Facts { .. })
            | Output::RunCheck { .. }
            | Output::Survey { .. }
            | Output::OpenSession { .. }
            | Output::CancelRun(_) => return,
            Output::Journal(record) => format!("journal {record:?}").chars().take(120).collect(),
            Output::RunAction { id, service, generation, action, .. } => {
                format!("s{service} action {id} of {generation}: {action:?}")
            }
            other => format!("{other:?}"),
        };
        self.note(line);
    }

    fn write(&mut self, record: Record, unwritten: &mut BTreeSet<usize>) {
        let mut written = self.journal_writable;
        if self.crash_at_record && !matches!(record, Record::Facts { .. }) {
            // Killed while it wrote: the record is whole, or torn and gone.
            written = written && self.dice.percent(50);
            self.crash_now = true;
        }
        let service = match &record {
            Record::Intent { service, .. }
            | Record::StepBegun { service, .. }
            | Record::StepEnded { service, .. }
            | Record::Ended { service, .. }
            | Record::Facts { service, .. } => usize::from(service.0),
        };
        if !written {
            if matches!(record, Record::Ended { .. }) {
                self.owed.insert(service, record);
            } else if matches!(record, Record::Intent { .. } | Record::StepBegun { .. }) {
                unwritten.insert(service);
            }
            return;
        }
        self.write_owed();
        self.learn(service, record);
    }

    fn write_owed(&mut self) {
        for (service, end) in std::mem::take(&mut self.owed) {
            self.learn(service, end);
        }
    }

    fn learn(&mut self, service: usize, record: Record) {
        let now = self.now;
        let known = &mut self.known[service];
        match record {
            Record::Intent { generation, begun, .. } => {
                known.generation = known.generation.max(generation.0);
                known.unfinished = Some("intent".into());
                known.begun = Some(*begun);
            }
            Record::StepBegun { step, chosen, .. } => {
                known.unfinished = Some(step.word().into());
                if let Some(begun) = &mut known.begun {
                    begun.route_touched |= step == Step::RouteOut;
                    begun.fence_tried |= step == Step::Fence;
                    begun.stop_tried |= step == Step::StopServer;
                    begun.chosen = chosen.or(begun.chosen);
                }
            }
            Record::StepEnded { .. } => {}
            Record::Ended { how, .. } => {
                known.begun = None;
                known.unfinished = (!matches!(how, EndedHow::Completed | EndedHow::Stopped)).then(|| how.word().to_owned());
                known.ended = Some(now);
            }
            Record::Facts { facts, .. } => {
                known.generation = known.generation.max(facts.generation.0);
                known.facts = Some(*facts);
            }
        }
    }

    // ---- checks and sessions ------------------------------------------------------------------

    #[expect(clippy::too_many_arguments, reason = "one place where a question is put on its way")]
    fn ask(
        &mut self,
        run: RunId,
        about: (usize, usize),
        latency: Span,
        deadline: Mono,
        input: Input,
        opens: Option<(usize, usize)>,
        sampled: Option<Mono>,
        alive: bool,
    ) {
        let deadline = self.world(deadline);
        // A stuck thread brings nothing back: the core has to give its question up.
        let lost = self.stuck && self.dice.percent(75);
        let due = if lost { Mono::NEVER } else { self.now + latency };
        self.asked.push(Asked { due, deadline, run, input: Some(input), opens, sampled, about, alive });
    }

    fn check(&mut self, run: RunId, service: usize, check: usize, sample: bool, deadline: Mono) {
        let model = &self.setup.model.services[service].checks[check];
        let (server, kind) = (usize::from(model.server), model.kind);
        let began = self.own(self.now);
        let timeout = deadline.since(began);
        let (latency, mut verdict) = self.clusters[service].probe(server, timeout, &mut self.dice);
        if kind != CheckKind::Postgres && self.clusters[service].servers[server].others_fail {
            verdict = Verdict::Down(DownCause::WrongAnswer);
        }
        let mut told = None;
        if sample && kind == CheckKind::Postgres && verdict == Verdict::Up {
            told = Some(self.clusters[service].sample(server, began, self.now));
        }
        let alive = kind == CheckKind::Postgres && verdict.is_sign_of_life();
        let sampled = told.as_ref().map(|_| self.now);
        let finding = Cluster::finding(verdict, began, latency, told);
        self.ask(run, (service, server), latency, deadline, Input::CheckFinished { run, finding }, None, sampled, alive);
    }

    fn close_sessions(&mut self, service: usize, server: usize, cause: CloseCause) {
        if !std::mem::take(&mut self.clusters[service].servers[server].session) {
            return;
        }
        let close = Close { cause, message: "by the simulator".into() };
        self.feed(Input::SessionClosed { service: service_id(service), server: server_id(server), close });
    }

    fn ping(&mut self, service: usize, server: usize) {
        let interval = self.setup.model.services[service].trigger.ping_interval;
        self.clusters[service].servers[server].next_ping = self.now + interval;
        let one = &self.clusters[service].servers[server];
        let answers = one.port == Link::Open && one.power && one.process == Process::Running && !self.dice.percent(one.flaky);
        if answers {
            let sample = Box::new(self.clusters[service].sample(server, self.own(self.now), self.now));
            self.watch.answered(service, server, self.now, Some(self.now));
            self.feed(Input::SessionAnswered { service: service_id(service), server: server_id(server), sample });
        }
    }

    // ---- actions --------------------------------------------------------------------------------

    fn act(&mut self, id: ActionId, service: usize, generation: u64, action: Action, deadline: Mono) {
        let wrong = self.wrong.get(action.name()).copied();
        let deadline = self.world(deadline);
        let mut due = self.now + ms(self.dice.between(5, 150));
        let mut early = self.dice.percent(50);
        match wrong {
            Some(Wrong::Late(millis)) => due = self.now + ms(millis),
            Some(Wrong::Silent(done)) => {
                due = Mono::NEVER;
                early = done;
            }
            Some(Wrong::TimedOut(_)) => due = deadline,
            _ => {}
        }
        let mut doing = Doing { due, deadline, id, service, generation, action, outcome: None, wrong };
        if early {
            doing.outcome = Some(self.attempt(&doing));
        }
        self.doing.push(doing);
    }

    fn attempt(&mut self, doing: &Doing) -> Result<Report, Failure> {
        let (service, action) = (doing.service, &doing.action);
        match doing.wrong {
            None | Some(Wrong::Late(_) | Wrong::Silent(_)) => self.effect(service, action),
            Some(Wrong::NoEffect) => Err(Failure::no_effect("refused by the simulator", "")),
            Some(Wrong::Unknown(done)) => {
                if done {
                    let _ = self.effect(service, action);
                }
                Err(Failure::unknown("broken off by the simulator", ""))
            }
            Some(Wrong::TimedOut(done)) => {
                if done {
                    let _ = self.effect(service, action);
                }
                Err(Failure::timed_out("kept back by the simulator", ""))
            }
            Some(Wrong::OtherKind) => match action {
                // What only counts as done or not has no other kind.
                Action::RouteOut { .. }
                | Action::PreChecks
                | Action::Checkpoint { .. }
                | Action::VerifyTraffic { .. }
                | Action::OpenSyncGate { .. } => Err(Failure::unknown("nonsense", "")),
                Action::Fence { .. } => Ok(Report::Done { message: "nonsense".into() }),
                _ => Ok(Report::Traffic { message: "nonsense".into() }),
            },
            Some(Wrong::Lie) => self.lie(service, action),
        }
    }

    fn lie(&mut self, service: usize, action: &Action) -> Result<Report, Failure> {
        self.clusters[service].lied = true;
        let instances = self.clusters[service].instances.len();
        let all = |_| RouteInstance { name: "lb".into(), result: Ok("done, it says".into()) };
        match action {
            Action::Fence { require, .. } => {
                Ok(Report::Fence(FenceReport { level: *require, guard_placed: true, rungs: Vec::new(), proof: "a lie".into() }))
            }
            Action::Promote { .. } => {
                if self.dice.percent(50) {
                    return Ok(Report::Promoted { timeline: 9, flush: Lsn(0), message: "a lie".into() });
                }
                let _ = self.effect(service, action);
                Err(Failure::no_effect("a lie", ""))
            }
            Action::RouteOut { .. } | Action::RouteIn { .. } | Action::RouteRestore { .. } => {
                Ok(Report::Route((0..instances).map(all).collect()))
            }
            Action::AskHost { server, .. } => match self.effect(service, action) {
                Ok(Report::Host(mut word)) => {
                    word.postmaster =
                        if word.postmaster == ProcessState::Gone { ProcessState::Running } else { ProcessState::Gone };
                    word.message = format!("a lie about {server}");
                    Ok(Report::Host(word))
                }
                other => other,
            },
            Action::ReadRole { .. } => Ok(Report::Role { in_recovery: self.dice.percent(50), timeline: 9, system_id: 1 }),
            _ => self.effect(service, action),
        }
    }

    fn route(&self, service: usize, done: &str) -> Report {
        let each = self.clusters[service].instances.iter().enumerate().map(|(at, instance)| RouteInstance {
            name: format!("lb{}", at + 1),
            result: if instance.reachable { Ok(done.to_owned()) } else { Err("connection refused".to_owned()) },
        });
        Report::Route(each.collect())
    }

    fn effect(&mut self, service: usize, action: &Action) -> Result<Report, Failure> {
        let own = self.own(self.now);
        self.clusters[service].pass(self.now);
        let cluster = &mut self.clusters[service];
        let done = || Ok(Report::Done { message: "done".into() });
        let target = action.server().map_or(0, |server| usize::from(server.0));
        let speaks = {
            let server = &cluster.servers[target];
            server.power && server.process == Process::Running && server.port == Link::Open && server.resolver
        };
        match action {
            Action::AskHost { ask_local, .. } => cluster
                .host_word(target, own, *ask_local)
                .map(Report::Host)
                .ok_or_else(|| Failure::timed_out("no answer from the host", "")),
            Action::PreChecks => done(),
            Action::OpenSyncGate { .. } => {
                if !speaks {
                    return Err(Failure::no_effect("no connection", ""));
                }
                cluster.synchronous = 0;
                done()
            }
            Action::RouteOut { .. } => {
                for instance in cluster.instances.iter_mut().filter(|instance| instance.reachable) {
                    instance.saved.get_or_insert_with(|| instance.serves.clone());
                    instance.serves[target] = false;
                }
                cluster.forgot = false;
                Ok(self.route(service, "maintenance, no sessions"))
            }
            Action::RouteRestore { .. } | Action::RouteRollback { .. } => {
                for instance in cluster.instances.iter_mut().filter(|instance| instance.reachable) {
                    if let Some(saved) = instance.saved.take() {
                        instance.serves = saved;
                    }
                }
                Ok(self.route(service, "as before"))
            }
            Action::RouteIn { .. } => {
                for instance in cluster.instances.iter_mut().filter(|instance| instance.reachable) {
                    instance.saved = None;
                    instance.serves.iter_mut().enumerate().for_each(|(at, serves)| *serves = at == target);
                }
                Ok(self.route(service, "ready"))
            }
            Action::RouteWeight { .. } => Ok(self.route(service, "weighted")),
            Action::Fence { require, unreachable, view_confirmed, .. } => {
                self.fence(service, target, Some((*require, *unreachable)), *view_confirmed)
            }
            Action::ProveFence { view_confirmed, .. } => self.fence(service, target, None, *view_confirmed),
            Action::FenceUndo { .. } => {
                let server = &mut cluster.servers[target];
                if !server.power || !server.host {
                    return Err(Failure::timed_out("no answer from the host", ""));
                }
                server.guard = false;
                done()
            }
            Action::Checkpoint { .. } if speaks => done(),
            Action::Checkpoint { .. } => Err(Failure::no_effect("no connection", "")),
            Action::StopServer { .. } => self.stop_server(service, target),
            Action::StartServer { .. } => self.start_server(service, target),
            Action::ReadReceipt { standbys, .. } => {
                let Some(stopped) = cluster.stopped(target) else {
                    return Err(Failure::timed_out("no answer from the host", ""));
                };
                let read = Action::ReadPositions { servers: standbys.clone(), settle: Span::ZERO };
                match self.effect(service, &read)? {
                    Report::Positions(positions) => Ok(Report::Receipt(Receipt { stopped, positions })),
                    _ => Err(Failure::no_effect("no positions", "")),
                }
            }
            Action::ReadPositions { servers, .. } => {
                let now = self.now;
                let read = |server: &ServerId| {
                    let at = usize::from(server.0);
                    let one = &cluster.servers[at];
                    let up = one.power
                        && one.process == Process::Running
                        && one.port == Link::Open
                        && one.resolver
                        && one.impaired.is_none();
                    Position {
                        server: *server,
                        sample: if up { Ok(cluster.sample(at, own, now)) } else { Err("no answer".to_owned()) },
                        settled: true,
                    }
                };
                Ok(Report::Positions(servers.iter().map(read).collect()))
            }
            Action::Promote { system_id, old_timeline, .. } => {
                let server = &cluster.servers[target];
                if !speaks || server.system_id != *system_id {
                    return Err(Failure::no_effect("it could not be asked, or is another one", ""));
                }
                if server.recovery {
                    if server.timeline != *old_timeline {
                        return Err(Failure::no_effect("another timeline", ""));
                    }
                    cluster.promote(target);
                }
                let server = &cluster.servers[target];
                Ok(Report::Promoted { timeline: server.timeline, flush: Lsn(server.lsn), message: "writable".into() })
            }
            Action::ReadRole { .. } => {
                if !speaks {
                    return Err(Failure::timed_out("no answer", ""));
                }
                let server = &cluster.servers[target];
                Ok(Report::Role { in_recovery: server.recovery, timeline: server.timeline, system_id: server.system_id })
            }
            Action::VerifyData { old_timeline, .. } => {
                let server = &cluster.servers[target];
                if !speaks || server.recovery || server.timeline <= *old_timeline {
                    return Err(Failure::timed_out("no write went through", ""));
                }
                let commits = cluster.commits_go_through();
                Ok(Report::Written { flush: Lsn(server.lsn), commits, message: "a write is flushed".into() })
            }
            Action::VerifyService { .. } | Action::PointNames { .. } | Action::Follow { .. } => {
                Err(Failure::no_effect("this world has no application", ""))
            }
            Action::VerifyTraffic { .. } => {
                let routed = cluster.instances.iter().all(|instance| instance.serves[target]);
                if routed && cluster.is_writable(target) {
                    Ok(Report::Traffic { message: "it answers".into() })
                } else {
                    Err(Failure::unknown("somebody else answers, or nobody", ""))
                }
            }
        }
    }

    /// The orderly stop: guard and SIGINT, and the log ends, if it can.
    fn stop_server(&mut self, service: usize, target: usize) -> Result<Report, Failure> {
        let ssh = self.setup.model.services[service].servers[target].ssh;
        let cluster = &mut self.clusters[service];
        let server = &cluster.servers[target];
        if !ssh || !server.power || !server.host {
            return Err(Failure::no_effect("no answer from the host", ""));
        }
        let open = server.port == Link::Open;
        if cluster.stop_in_order(target) && open {
            let fault = Fault::SessionEnds(CloseCause::Announced);
            self.ends.push((self.now, Moment { at: 0, span: 0, service, server: target, fault }));
        }
        Ok(Report::Done { message: "SIGINT".into() })
    }

    /// Its way back.
    fn start_server(&mut self, service: usize, target: usize) -> Result<Report, Failure> {
        let ssh = self.setup.model.services[service].servers[target].ssh;
        let cluster = &mut self.clusters[service];
        let server = &mut cluster.servers[target];
        if !ssh || !server.power || !server.host {
            return Err(Failure::no_effect("no answer from the host", ""));
        }
        if server.process == Process::Frozen {
            return Err(Failure::no_effect("a server still runs there", ""));
        }
        server.guard = false;
        cluster.start(target);
        Ok(Report::Done { message: "started".into() })
    }

    /// With a level to reach it acts, without one it only looks.
    fn fence(
        &mut self,
        service: usize,
        target: usize,
        act: Option<(FenceLevel, bool)>,
        view_confirmed: bool,
    ) -> Result<Report, Failure> {
        let command = self.setup.model.services[service].servers[target].fence_command;
        let ssh = self.setup.model.services[service].servers[target].ssh;
        let server = &mut self.clusters[service].servers[target];
        let report = |level, guard_placed| {
            Ok(Report::Fence(FenceReport {
                level,
                guard_placed,
                rungs: vec![Rung { name: RungName::Proof, ok: true, took: ms(5), note: String::new() }],
                proof: "what the simulator knows".into(),
            }))
        };
        if let Some((FenceLevel::PowerOff, unreachable)) = act
            && (command || unreachable)
        {
            if !command {
                return Err(Failure::no_effect("there is no fence.command", ""));
            }
            server.power = false;
            server.cut = true;
            server.process = Process::Gone;
            server.orphans = false;
            return report(FenceLevel::PowerOff, false);
        }
        if !ssh || !server.power || !server.host {
            return Err(Failure::timed_out("no answer from the host", ""));
        }
        let seen = server.process != Process::Gone || server.orphans;
        if act.is_none() {
            return report(if seen || !view_confirmed { FenceLevel::None } else { FenceLevel::ProvenStopped }, false);
        }
        server.process = Process::Gone;
        server.orphans = false;
        server.guard = true;
        let open = server.port == Link::Open;
        let level = if seen || view_confirmed { FenceLevel::ProvenStopped } else { FenceLevel::None };
        if open {
            // Heard by the watcher after this step.
            self.ends.push((
                self.now,
                Moment { at: 0, span: 0, service, server: target, fault: Fault::SessionEnds(CloseCause::DeathHint) },
            ));
        }
        report(level, true)
    }

    // ---- the world ------------------------------------------------------------------------------

    fn begin(&mut self, moment: &Moment) {
        if self.told {
            self.note(format!("FAULT {moment:?}"));
        }
        let end = self.now + ms(moment.span);
        let (service, at) = (moment.service, moment.server);
        let mut ends = true;
        let writable = self.setup.model.services[service].kind == ServiceKind::Postgres;
        let server = &mut self.clusters[service].servers[at];
        let lives = server.power && server.process == Process::Running;
        let mut close = None;
        match &moment.fault {
            Fault::Kill { orphans } if lives => {
                server.process = Process::Gone;
                server.orphans = *orphans;
                close = Some(CloseCause::DeathHint);
            }
            Fault::Freeze if lives => server.process = Process::Frozen,
            Fault::PowerOff => {
                server.power = false;
                server.process = Process::Gone;
                server.orphans = false;
            }
            Fault::Restart { announced, down } if lives => {
                server.process = Process::Gone;
                close = Some(if *announced { CloseCause::Announced } else { CloseCause::DeathHint });
                self.ends.push((self.now + ms(*down), moment.clone()));
                ends = false;
            }
            Fault::Impair(impairment) if lives => {
                use failover::core::observation::Impairment::{Recovering, Starting, Stopping};
                server.impaired = Some(*impairment);
                if matches!(impairment, Starting | Recovering | Stopping) {
                    close = Some(if *impairment == Recovering { CloseCause::CrashRecovery } else { CloseCause::Announced });
                }
            }
            Fault::Port(link) => {
                server.port = *link;
                if *link == Link::Reject && self.dice.percent(50) {
                    close = Some(CloseCause::DeathHint);
                }
            }
            Fault::Host => server.host = false,
            Fault::Replication => server.upstream = false,
            Fault::Lag(bytes) => server.lag = *bytes,
            Fault::SessionEnds(cause) => close = Some(*cause),
            Fault::Flaky(percent) => server.flaky = *percent,
            Fault::Resolver => server.resolver = false,
            Fault::Instance => {
                if let Some(instance) = self.clusters[service].instances.first_mut() {
                    instance.reachable = false;
                }
            }
            Fault::InstanceRestarts => {
                self.clusters[service].forget_route();
                ends = false;
            }
            Fault::Sleep => {
                if self.core.is_some() {
                    let wakes = end.min(self.now + ms(12_000));
                    self.awake_at = self.awake_at.max(wakes);
                    // A promise may lie a second ahead.
                    if wakes.since(self.now) > ms(2_600) {
                        self.watch.slept(wakes);
                    }
                }
            }
            Fault::GapTold => {
                let health = self.health(ms(moment.span.max(1_000)));
                self.feed(Input::SelfHealth(health));
            }
            Fault::Stuck => self.stuck = true,
            Fault::Journal => self.journal_writable = false,
            Fault::Crash { at_record } => {
                self.down_for = ms(moment.span.min(20_000));
                if *at_record {
                    self.crash_at_record = true;
                } else if self.core.is_some() {
                    self.crash(self.down_for);
                }
            }
            Fault::Executor(name, wrong) => {
                self.wrong.insert(name, *wrong);
            }
            Fault::Operator(command) => self.operator(service, command.clone()),
            Fault::Reload => self.reload(),
            Fault::PromotedElsewhere if lives && server.recovery && writable => {
                self.clusters[service].promote(at);
                self.clusters[service].meddled = true;
            }
            Fault::OldReturns => {
                let server = &mut self.clusters[service].servers[at];
                if server.power && server.process == Process::Gone && !server.recovery {
                    server.guard = false;
                    self.clusters[service].start(at);
                    self.clusters[service].meddled = true;
                }
            }
            Fault::OtherCluster if server.recovery => {
                server.system_id = 99;
                server.other_since = self.now;
            }
            Fault::OtherCluster => {}
            Fault::Delayed => server.delayed = true,
            Fault::ReplayPaused => server.replay_paused = true,
            Fault::HiddenReceiver => server.hidden = true,
            Fault::SecondEngine => server.other_engine = true,
            Fault::OtherChecks => server.others_fail = true,
            Fault::Burst(rate) => self.clusters[service].burst = *rate,
            Fault::Rejoin => self.rejoin(service),
            Fault::At(name, fault) => {
                self.at_step.push((name, Moment { fault: (**fault).clone(), ..moment.clone() }));
                ends = false;
            }
            _ => ends = false,
        }
        if ends {
            self.ends.push((end, moment.clone()));
        }
        if let Some(cause) = close {
            self.clusters[service].pass(self.now);
            if matches!(moment.fault, Fault::Port(_) | Fault::SessionEnds(_))
                || self.clusters[service].servers[at].port == Link::Open
            {
                self.close_sessions(service, at, cause);
            }
        }
        if matches!(moment.fault, Fault::Stuck | Fault::Journal) {
            let health = self.health(Span::ZERO);
            self.feed(Input::SelfHealth(health));
        }
    }

    fn end(&mut self, moment: &Moment) {
        let (service, at) = (moment.service, moment.server);
        if matches!(moment.fault, Fault::PowerOff) && self.clusters[service].servers[at].cut && self.in_flight(service) {
            // Whoever switches it on waits until the failover is over.
            self.ends.push((self.now + ms(1_000), moment.clone()));
            return;
        }
        let server = &mut self.clusters[service].servers[at];
        match &moment.fault {
            Fault::Kill { .. } | Fault::Restart { .. } if server.power => self.clusters[service].start(at),
            Fault::Freeze if server.process == Process::Frozen => server.process = Process::Running,
            Fault::PowerOff if !server.power => {
                server.power = true;
                server.cut = false;
                let stale = std::mem::take(&mut server.session);
                self.clusters[service].start(at);
                if stale {
                    // The machine knows nothing of the old connection.
                    self.clusters[service].servers[at].session = true;
                    self.close_sessions(service, at, CloseCause::DeathHint);
                }
            }
            Fault::Impair(_) => server.impaired = None,
            Fault::Port(_) => server.port = Link::Open,
            Fault::Host => server.host = true,
            Fault::Replication => server.upstream = true,
            Fault::Lag(_) => {
                let behind = self.clusters[service].asynchronous == Some(at);
                self.clusters[service].servers[at].lag = if behind { self.clusters[service].write_rate } else { 0 };
            }
            Fault::Flaky(_) => server.flaky = 0,
            Fault::Resolver => server.resolver = true,
            Fault::Instance => {
                if let Some(instance) = self.clusters[service].instances.first_mut() {
                    instance.reachable = true;
                }
            }
            Fault::Stuck => self.stuck = false,
            Fault::Journal => {
                self.journal_writable = true;
                self.write_owed();
            }
            Fault::Executor(name, _) => {
                self.wrong.remove(name);
            }
            Fault::Delayed => server.delayed = false,
            Fault::ReplayPaused => server.replay_paused = false,
            Fault::HiddenReceiver => server.hidden = false,
            Fault::SecondEngine => server.other_engine = false,
            Fault::OtherChecks => server.others_fail = false,
            Fault::Burst(_) => self.clusters[service].burst = 0,
            Fault::SessionEnds(cause @ (CloseCause::DeathHint | CloseCause::Announced)) if moment.at == 0 => {
                self.close_sessions(service, at, *cause);
            }
            _ => {}
        }
        if matches!(moment.fault, Fault::Stuck | Fault::Journal) {
            let health = self.health(Span::ZERO);
            self.feed(Input::SelfHealth(health));
        }
    }

    fn operator(&mut self, service: usize, command: Command) {
        if self.core.is_none() {
            return;
        }
        self.token += 1;
        self.commands.insert(self.token, (service, command.clone()));
        self.watch.asked(service, &command);
        let wanted = if command == Command::Stop { None } else { Some(service_id(service)) };
        self.feed(Input::Operator { service: wanted, command, token: self.token });
    }

    fn reload(&mut self) {
        let now = self.own(self.now);
        let Some(core) = self.core.as_mut().filter(|_| self.now >= self.awake_at) else { return };
        if let Ok(outputs) = core.reload(now, self.setup.model.clone()) {
            self.watch.forget();
            for cluster in &mut self.clusters {
                for server in &mut cluster.servers {
                    server.session = false;
                }
            }
            self.after(outputs);
        }
    }

    fn rejoin(&mut self, service: usize) {
        let busy = self.core.as_ref().is_some_and(|core| !core.is_quiet());
        if !busy && self.setup.model.services[service].kind == ServiceKind::Postgres {
            self.clusters[service].pass(self.now);
            for server in 0..self.clusters[service].servers.len() {
                if !self.clusters[service].could_write(server) {
                    self.close_sessions(service, server, CloseCause::DeathHint);
                }
            }
            self.clusters[service].rejoin();
        }
    }

    fn survey(&mut self, service: usize, server: Option<usize>) {
        let asked = self.own(self.now);
        let cluster = &self.clusters[service];
        if let Some(server) = server {
            if !self.setup.model.services[service].servers[server].ssh {
                return;
            }
            let word = cluster.host_word(server, asked, false).ok_or_else(|| "no answer from the host".to_owned());
            let readiness = Readiness { asked, ssh: Some(word), findings: Vec::new(), earlier: Vec::new() };
            self.feed(Input::Surveyed { service: service_id(service), server: server_id(server), readiness });
            return;
        }
        self.look_at_route(service);
    }

    /// What the surveys see of the load balancers, and the watch over a route that was moved.
    fn look_at_route(&mut self, service: usize) {
        let asked = self.own(self.now);
        let cluster = &self.clusters[service];
        let view = |instance: &super::cluster::Instance| InstanceView {
            name: "lb".into(),
            backend: "db".into(),
            servers: if instance.reachable {
                Ok(cluster
                    .servers
                    .iter()
                    .zip(&instance.serves)
                    .map(|(server, serves)| ServerView {
                        server: server.name.clone(),
                        name: server.name.clone(),
                        state: if *serves { RouteState::Takes } else { RouteState::Maint },
                    })
                    .collect())
            } else {
                Err(InstanceTrouble { no_backend: false, message: "refused".into(), remedy: String::new() })
            },
            kind: InstanceKind::Haproxy,
        };
        let instances = cluster.instances.iter().map(view).collect();
        self.feed(Input::RouteSurveyed { service: service_id(service), survey: RouteSurvey { asked, instances } });
    }

    // ---- time -----------------------------------------------------------------------------------

    fn run_until(&mut self, end: Mono) {
        while self.now < end && self.watch.broken.is_none() {
            let next = self.next().min(end);
            if next > self.now {
                self.now = next;
                for cluster in &mut self.clusters {
                    cluster.pass(next);
                }
            }
            if !self.happen() && next >= end {
                return;
            }
        }
    }

    fn next(&self) -> Mono {
        let world = self.moments.last().map_or(Mono::NEVER, |(at, _)| *at);
        let world = self.ends.iter().map(|(at, _)| *at).min().unwrap_or(Mono::NEVER).min(world);
        let Some(core) = &self.core else { return world.min(self.awake_at) };
        let mut engine = self.world(core.next_deadline());
        if !self.inbox.is_empty() {
            engine = self.awake_at;
        }
        engine = self.asked.iter().map(|asked| asked.due).min().unwrap_or(Mono::NEVER).min(engine);
        engine = self.doing.iter().map(|doing| doing.due).min().unwrap_or(Mono::NEVER).min(engine);
        engine = self.surveys.iter().map(|(at, ..)| *at).min().unwrap_or(Mono::NEVER).min(engine);
        engine = (0..self.clusters.len())
            .filter(|service| self.watches_route(*service))
            .map(|service| self.route_looks[service])
            .fold(engine, Mono::min);
        for cluster in &self.clusters {
            for server in &cluster.servers {
                if server.session {
                    engine = engine.min(server.next_ping);
                }
            }
        }
        world.min(engine.max(self.awake_at))
    }

    /// One thing that is due. False: there is none.
    fn happen(&mut self) -> bool {
        let now = self.now;
        if let Some(at) = self.ends.iter().position(|(at, _)| *at <= now) {
            let (_, moment) = self.ends.remove(at);
            self.end(&moment);
            return true;
        }
        if self.moments.last().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, moment)) = self.moments.pop() {
                self.begin(&moment);
            }
            return true;
        }
        if now < self.awake_at {
            return false;
        }
        let Some(core) = &self.core else {
            self.start_engine();
            return true;
        };
        if let Some(input) = self.inbox.pop_front() {
            self.feed(input);
            return true;
        }
        if let Some(at) = self.asked.iter().position(|asked| asked.due <= now) {
            let asked = &mut self.asked[at];
            // It answered: by then the core may have forgotten it, which is its right.
            let (input, opens, sampled, about, alive) =
                (asked.input.take(), asked.opens, asked.sampled, asked.about, asked.alive);
            self.asked.remove(at);
            if let Some((service, server)) = opens {
                let one = &mut self.clusters[service].servers[server];
                if one.process != Process::Running || !one.power {
                    // It died in between; the opening fails as such things do.
                    if let Some(Input::SessionOpened { run }) = input {
                        let finding = Cluster::finding(Verdict::Down(DownCause::Reset), self.own(now), Span::ZERO, None);
                        self.feed(Input::SessionFailed { run, finding });
                    }
                    return true;
                }
                one.session = true;
                one.next_ping = now + self.setup.model.services[service].trigger.ping_interval;
            }
            if alive {
                self.watch.answered(about.0, about.1, now, sampled);
            }
            if let Some(Input::CheckFinished { finding, .. }) = input.as_ref().filter(|_| alive)
                && finding.verdict == Verdict::Up
            {
                self.watch.served(about.0, server_id(about.1), self.world(finding.began));
            }
            if let Some(input) = input {
                self.feed(input);
            }
            return true;
        }
        if let Some(at) = self.doing.iter().position(|doing| doing.due <= now) {
            let mut doing = self.doing.remove(at);
            let outcome = match doing.outcome.take() {
                Some(outcome) => outcome,
                None => self.attempt(&doing),
            };
            if let (Action::AskHost { server, .. }, Err(_)) = (&doing.action, &outcome) {
                self.clusters[doing.service].servers[usize::from(server.0)].host_shut_at = now;
            }
            if self.told {
                let line: String = format!("outcome {} {}: {outcome:?}", doing.id, doing.action.name());
                self.note(line);
            }
            self.watch.outcome(doing.service, doing.generation, &doing.action, &outcome);
            self.feed(Input::ActionFinished { action: doing.id, outcome });
            return true;
        }
        if self.world(core.next_deadline()) <= now {
            self.watch.tick(now);
            self.feed(Input::Tick);
            self.expired();
            return true;
        }
        for service in 0..self.clusters.len() {
            for server in 0..self.clusters[service].servers.len() {
                let one = &self.clusters[service].servers[server];
                if one.session && one.next_ping <= now {
                    self.ping(service, server);
                    return true;
                }
            }
        }
        if let Some(at) = self.surveys.iter().position(|(at, ..)| *at <= now) {
            let (_, service, server) = self.surveys.remove(at);
            self.survey(service, server);
            return true;
        }
        let route = (0..self.clusters.len()).find(|at| self.watches_route(*at) && self.route_looks[*at] <= now);
        if let Some(service) = route {
            self.route_looks[service] = now + ROUTE_LOOK;
            self.look_at_route(service);
            return true;
        }
        false
    }

    /// The engine looks at the route of every service that was failed over.
    fn watches_route(&self, service: usize) -> bool {
        self.known[service].generation > 0 && !self.clusters[service].instances.is_empty()
    }

    fn expired(&mut self) {
        let late = ms(1_200);
        let now = self.now;
        let asked = self.asked.iter().find(|asked| now > asked.deadline + late).map(|asked| format!("run {}", asked.run));
        let done = self.doing.iter().find(|doing| now > doing.deadline + late);
        let done = done.map(|doing| format!("action {} ({})", doing.id, doing.action.name()));
        if let Some(what) = asked.or(done) {
            self.watch.fail("every_output_is_answered_or_given_up", format!("{what} is long past its deadline"));
        }
    }

    fn play(&mut self) {
        self.start_engine();
        self.run_until(at_millis(4_500 + self.setup.chaos));
        self.calm();
        let quiet = self.now + ms(35_000);
        self.run_until(quiet);
        self.await_plans();
        self.look();
        self.judge_quiet();
        self.judge_stopped();
        self.judge_unfinished();
        self.last_blow();
    }

    /// A failover that is still on its way has its own limit.
    fn await_plans(&mut self) {
        let limits = self.setup.model.services.iter().map(|service| service.trigger.failover_timeout).max().unwrap_or_default();
        let end = self.now + limits + ms(10_000);
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
    fn judge_unfinished(&mut self) {
        let open = |sim: &Sim, at: usize| {
            let waits = sim.known[at].facts.as_ref().is_some_and(|facts| facts.paused) || sim.watch.is_stopping();
            let person = sim.core.as_ref().is_some_and(|core| core.snapshot().services[at].manual_reason.is_some());
            sim.known[at].begun.is_some() && sim.watch.is_open(at) && !waits && !person
        };
        for at in 0..self.known.len() {
            let limit = self.setup.model.services[at].trigger.failover_timeout + ms(60_000);
            let end = self.now + limit;
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

    fn in_flight(&self, service: usize) -> bool {
        self.core.as_ref().is_none_or(|core| core.snapshot().services[service].plan.is_some())
    }

    /// Every fault that time or a person mends is mended. Who is dead stays dead.
    fn calm(&mut self) {
        if self.told {
            self.note("CALM");
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
    fn judge_stopped(&mut self) {
        let Some(core) = &self.core else { return };
        let snapshot = core.snapshot();
        for (cluster, service) in self.clusters.iter().zip(&snapshot.services) {
            let nobody = cluster.leader().is_none() && service.plan.is_none() && service.manual_reason.is_none();
            let left =
                cluster.servers.iter().find(|server| server.stopped_by_us && server.power && server.host && !server.recovery);
            if let Some(server) = left.filter(|_| nobody && !self.watch.is_stopping() && !cluster.lied && !cluster.meddled) {
                let why = format!("{} is down, {} is {}", server.name, service.name, service.state.word());
                self.watch.fail("a_living_primary_is_never_left_stopped", why);
                return;
            }
        }
    }

    fn judge_quiet(&mut self) {
        let Some(core) = &self.core else {
            return self.watch.fail("it_settles", "the engine was not started again".into());
        };
        if self.watch.broken.is_some() {
            return;
        }
        let snapshot = core.snapshot();
        let speaks = |one: &super::cluster::Server| one.power && one.process != Process::Frozen && one.port == Link::Open;
        if snapshot.doubt.is_some()
            && !self.watch.is_stopping()
            && self.clusters.iter().all(|cluster| cluster.servers.iter().all(speaks))
        {
            self.watch.fail("doubt_decays", format!("{:?} after half a minute of quiet", snapshot.doubt));
        }
        for (at, service) in snapshot.services.iter().enumerate() {
            let cluster = &self.clusters[at];
            let moved = self.known[at].generation > 0 && service.manual_reason.is_none() && service.plan.is_none();
            let paused = self.known[at].facts.as_ref().is_some_and(|facts| facts.paused);
            if let Some(primary) = service.primary.map(|primary| usize::from(primary.0))
                && moved
                && !paused
                && !self.watch.is_stopping()
                && cluster.leader() == Some(primary)
                && cluster.is_writable(primary)
                && self.now.since(cluster.servers[primary].unwell_at.max(cluster.servers[primary].port_shut_at)) > ms(10_000)
                && let Some(astray) = (0..cluster.servers.len())
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
            let settled = matches!(service.state.word(), "normal" | "failed_over" | "manual_intervention");
            let others = service.checks.iter().all(|check| check.failures == 0);
            let stopping = self.watch.is_stopping();
            if well && others && !settled && !stopping && service.kind == ServiceKind::Postgres {
                let why = format!("{} is {} though its primary is well", service.name, service.state.word());
                self.watch.fail("it_settles", why);
                return;
            }
        }
    }

    /// Kills the primary in a quiet world: what could be promoted is, or a named reason stands in the way.
    fn last_blow(&mut self) {
        let Some(core) = &self.core else { return };
        if self.watch.broken.is_some() {
            return;
        }
        let snapshot = core.snapshot();
        let Some(service) = snapshot.services.first() else { return };
        let settings = self.setup.model.services[0].clone();
        let Some(primary) = service.primary.map(|primary| usize::from(primary.0)) else { return };
        let cluster = &self.clusters[0];
        if !(cluster.is_writable(primary) && cluster.servers[primary].port == Link::Open) {
            return;
        }
        let promising = service.state.word() == "normal"
            && service.forecast.outcome.is_ok()
            && settings.servers[primary].ssh
            && cluster.servers[primary].host
            && cluster.instances.iter().all(|instance| instance.reachable)
            && !settings.trigger.require_confirmation
            && settings.trigger.failure_threshold <= 3
            && !settings.pre_checks
            && settings.postgres.max_lag_bytes >= cluster.write_rate
            && service.servers[primary].readiness.as_ref().is_some_and(|readiness| matches!(readiness.ssh, Some(Ok(_))))
            && (settings.postgres.fence_require <= FenceLevel::ProvenStopped || settings.servers[primary].fence_command);
        let busy = service.plan.is_some();
        self.completed.clear();
        let blow = Moment { at: 1, span: 600_000, service: 0, server: primary, fault: Fault::Kill { orphans: false } };
        self.begin(&blow);
        let end = self.now + settings.trigger.restart_grace + ms(15_000);
        while self.now < end && self.watch.broken.is_none() && !self.completed.contains(&0) {
            let next = (self.now + ms(250)).min(end);
            self.run_until(next);
        }
        if self.watch.broken.is_some() || busy {
            return;
        }
        self.look();
        let Some(core) = &self.core else { return };
        let snapshot = core.snapshot();
        let after = &snapshot.services[0];
        let stopping = self.watch.is_stopping();
        if promising && !stopping && !self.completed.contains(&0) {
            let why = format!("forecast {:?}, but: {} {:?}", service.forecast.outcome, after.state.word(), after.refusal);
            self.watch.fail("a_dead_primary_is_failed_over", why);
        } else if !stopping
            && !self.completed.contains(&0)
            && after.refusal.is_none()
            && after.manual_reason.is_none()
            && after.plan.is_none()
        {
            let why = format!("{} and neither failed over nor refused by name", after.state.word());
            self.watch.fail("every_no_has_a_name", why);
        }
    }
}
