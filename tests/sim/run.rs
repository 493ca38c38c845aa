//! One run of one seed: the real core, a shell that loses, delays and lies as the seed says, and the clusters around them, in one
//! thread on a virtual clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use failover_core::Core;
use failover_core::durable::Durable;
use failover_core::id::{ActionId, RunId, ServerId, ServiceId};
use failover_core::input::{Command, Input, SelfHealth};
use failover_core::knowledge::Knowledge;
use failover_core::model::ServerModel;
use failover_core::observation::{DownCause, Verdict};
use failover_core::output::{Action, Answer, Failure, Record, Report};
use failover_core::plan::Intent;
use failover_core::sample::Sample;
use failover_core::time::{Mono, Span};

use super::cluster::{Cluster, Process};
use super::coverage::Coverage;
use super::dice::Dice;
use super::invariants::Watch;
use super::meetings::Meetings;
use super::swarm::{Fault, Moment, Setup, Wrong, setup};
use promises::{Death, Heard};

#[path = "blows.rs"]
mod blows;
#[path = "cascades.rs"]
mod cascades;
#[path = "deeds.rs"]
mod deeds;
#[path = "engine.rs"]
mod engine;
#[path = "heals.rs"]
mod heals;
#[path = "judge.rs"]
mod judge;
#[path = "kept.rs"]
mod kept;
#[path = "paths.rs"]
mod paths;
#[path = "promises.rs"]
mod promises;
#[path = "reloads.rs"]
mod reloads;
#[path = "returns.rs"]
mod returns;
#[path = "strikes.rs"]
mod strikes;
#[path = "tail.rs"]
mod tail;

const WORKERS: u32 = 4;
/// Between two looks at the route of a service that was failed over.
const ROUTE_LOOK: Span = Span::from_millis(250);
/// Between two surveys where nothing asks for one.
const SURVEY: Span = Span::from_millis(10_000);

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
    /// Primaries that died while a failover was foretold, and while none was.
    pub with_promise: u64,
    pub without_promise: u64,
    pub coverage: Coverage,
    pub meetings: Meetings,
    pub exercised: BTreeSet<&'static str>,
    pub trace: Vec<String>,
}

/// When something happens at a step of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    During,
    After,
}

impl When {
    fn as_str(self) -> &'static str {
        match self {
            When::Before => "before",
            When::During => "during",
            When::After => "after",
        }
    }
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

/// A moment, and how far the wall clock was from the truth then, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    at: Mono,
    wall: i64,
}

impl Stamp {
    /// So many milliseconds have passed since an earlier one, by the wall clock.
    fn since(self, earlier: Stamp) -> i64 {
        i64::try_from(self.at.since(earlier.at).as_millis()).unwrap_or(i64::MAX).saturating_add(self.wall - earlier.wall)
    }
}

/// What the journal on disk would tell the next engine.
#[derive(Clone, Debug, Default)]
struct Known {
    facts: Option<Durable>,
    /// When those were written.
    written: Stamp,
    generation: u64,
    unfinished: Option<String>,
    begun: Option<Intent>,
    intended: Stamp,
    /// How long ago the last failover ended, when that was written.
    ended: Option<(Stamp, Span)>,
}

struct Sim {
    setup: Setup,
    clusters: Vec<Cluster>,
    core: Option<Core>,
    seed: u64,
    /// When this engine was made: its clock begins there.
    base: Mono,
    /// When its machine was suspended since, and until when: its clock stood still.
    suspends: Vec<(Mono, Mono)>,
    /// So much of that the engine was not told yet.
    untold: Span,
    /// How far the wall clock is from the truth, in milliseconds.
    wall: i64,
    /// No survey comes back.
    surveyless: bool,
    /// Words of slow servers that are on their way.
    late_words: Vec<(Mono, usize, usize, Box<Sample>)>,
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
    /// Of each service: servers that were taken out of the configuration, and live on.
    spares: Vec<Vec<ServerModel>>,
    /// Of each service: when its route is looked at next, once it was failed over.
    route_looks: Vec<Mono>,
    known: Vec<Known>,
    /// Ends of failovers that this engine could not write yet.
    owed: Vec<(usize, Record)>,
    /// Failovers whose intent is not on disk.
    unintended: BTreeMap<usize, u64>,
    /// Services whose last facts could not be written.
    unfacted: BTreeSet<usize>,
    /// The file of what was seen, and when it was written.
    seen: (Mono, Vec<Option<Knowledge>>),
    /// The present engine was told of it.
    restored: bool,
    journal_writable: bool,
    stuck: bool,
    crash_at_record: bool,
    crash_now: bool,
    at_step: Vec<(&'static str, When, Moment)>,
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
    /// When the engine last came round from a sleep of its own that it has to notice: those of this engine, in order.
    woken: Vec<Mono>,
    /// Of each service: when what was said last of the old primary's fence, and of the standbys' positions, was looked at.
    proved: Vec<Mono>,
    positioned: Vec<Mono>,
    /// Of each service: an engine took up a failover that an earlier one had begun.
    unfinished: Vec<bool>,
    /// Whom an operator made the primary, and nobody else has become it since.
    adopted: Vec<Option<usize>>,
    /// The faults of this run: which, since when, until when.
    met: Vec<(&'static str, Mono, Mono)>,
    /// Services for which a person was called in this step.
    called: BTreeSet<usize>,
    /// Services for which a person was called and did not come yet.
    people: BTreeSet<usize>,
    replies: BTreeMap<u64, Result<Answer, String>>,
    /// The disk is full.
    disk_full: bool,
    /// The engine was asked to stop, and is to be started again so long after it did.
    stops: Option<Span>,
    /// When anything but a death last changed.
    disturbed_at: Mono,
    heard: Vec<Vec<Heard>>,
    deaths: Vec<Option<Death>>,
    /// When the last failover of each service that did not promote anybody was turned round.
    turned: Vec<Mono>,
    /// Of each service: the failover under way moves a primary that is well, and no loss was accepted.
    moved_alive: Vec<bool>,
    with_promise: u64,
    without_promise: u64,
    /// The executor went wrong in this run, or the old log could not be read, or not be written; an answer about it came late.
    met_executor: bool,
    late_salvage: bool,
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
        with_promise: sim.with_promise,
        without_promise: sim.without_promise,
        coverage: sim.coverage,
        meetings: Meetings::of(&sim.met),
        exercised: sim.watch.exercised,
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
                Cluster::new(
                    &names,
                    service.route.instances,
                    service.route.exclusive,
                    setup.write_rate[at],
                    &setup.replication[at],
                )
            })
            .collect();
        let moments = setup.moments.iter().rev().map(|moment| (at_millis(moment.at), moment.clone())).collect();
        let mut sim = Sim {
            watch: Watch::new(&setup.model),
            known: vec![Known::default(); clusters.len()],
            owed: Vec::new(),
            unintended: BTreeMap::new(),
            unfacted: BTreeSet::new(),
            seen: (Mono::ZERO, Vec::new()),
            restored: false,
            route_looks: vec![Mono::ZERO; clusters.len()],
            spares: vec![Vec::new(); clusters.len()],
            clusters,
            core: None,
            seed,
            base: Mono::ZERO,
            suspends: Vec::new(),
            untold: Span::ZERO,
            wall: 0,
            surveyless: false,
            late_words: Vec::new(),
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
            met: Vec::new(),
            woken: Vec::new(),
            proved: vec![Mono::ZERO; setup.model.services.len()],
            positioned: vec![Mono::ZERO; setup.model.services.len()],
            adopted: vec![None; setup.model.services.len()],
            unfinished: vec![false; setup.model.services.len()],
            called: BTreeSet::new(),
            people: BTreeSet::new(),
            replies: BTreeMap::new(),
            disk_full: false,
            stops: None,
            disturbed_at: Mono::ZERO,
            heard: setup.model.services.iter().map(|service| vec![Heard::default(); service.servers.len()]).collect(),
            deaths: vec![None; setup.model.services.len()],
            turned: vec![Mono::ZERO; setup.model.services.len()],
            moved_alive: vec![false; setup.model.services.len()],
            with_promise: 0,
            without_promise: 0,
            met_executor: false,
            late_salvage: false,
            told,
            trace: Vec::new(),
            setup,
        };
        if told {
            sim.note(format!("model {:?}", sim.setup.model));
            sim.note(format!("{:?}, write rate {:?}", sim.setup.replication, sim.setup.write_rate));
        }
        sim
    }

    fn stamp(&self) -> Stamp {
        Stamp { at: self.now, wall: self.wall }
    }

    fn note(&mut self, line: impl Into<String>) {
        let millis = self.now.as_nanos() / 1_000_000;
        self.trace.push(format!("{:>4}.{:03} {}", millis / 1_000, millis % 1_000, line.into()));
    }

    /// A moment by the engine's clock.
    fn own(&self, moment: Mono) -> Mono {
        let still = self.suspends.iter().map(|(from, until)| moment.min(*until).since(*from));
        Mono::ZERO + (moment.since(self.base) - still.fold(Span::ZERO, |all, span| all + span))
    }

    /// The moment that the engine's clock calls this one.
    fn world(&self, moment: Mono) -> Mono {
        if moment == Mono::NEVER {
            return moment;
        }
        let awake = self.base + moment.since(Mono::ZERO);
        let later = |world: Mono, (from, until): &(Mono, Mono)| if world > *from { world + until.since(*from) } else { world };
        self.suspends.iter().fold(awake, later)
    }

    /// The engine's machine is suspended until then: nothing that it waits for has come any nearer by its clock.
    fn suspend(&mut self, until: Mono) {
        let from = self.suspends.last().map_or(self.now, |(_, before)| self.now.max(*before));
        if until <= from {
            return;
        }
        let span = until.since(from);
        self.suspends.push((from, until));
        self.untold = self.untold + span;
        self.asked.iter_mut().for_each(|asked| asked.deadline = asked.deadline + span);
        self.doing.iter_mut().for_each(|doing| doing.deadline = doing.deadline + span);
        self.awake_at = self.awake_at.max(until);
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
        engine = self.late_words.iter().map(|(at, ..)| *at).min().unwrap_or(Mono::NEVER).min(engine);
        if self.untold > Span::ZERO {
            engine = self.awake_at;
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
        if self.untold > Span::ZERO {
            // Told before anything that waited meanwhile is believed.
            let suspended = std::mem::take(&mut self.untold);
            let health = SelfHealth { suspended, ..self.health(suspended) };
            self.feed(Input::SelfHealth(health));
            return true;
        }
        if let Some(input) = self.inbox.pop_front() {
            self.feed(input);
            return true;
        }
        if let Some(down) = self.stops.filter(|_| core.is_quiet()) {
            self.exit(down);
            return true;
        }
        if let Some(at) = self.asked.iter().position(|asked| asked.due <= now) {
            self.answer(at);
            return true;
        }
        if let Some(at) = self.doing.iter().position(|doing| doing.due <= now) {
            let mut doing = self.doing.remove(at);
            let outcome = match doing.outcome.take() {
                Some(outcome) => outcome,
                None => self.attempt(&doing),
            };
            if let Some(moment) = self.take_step(doing.action.name(), When::After) {
                match moment.fault {
                    Fault::Crash { at_record: false } => self.reach_step("killed", When::After, doing.action.name()),
                    Fault::CleanStop | Fault::Operator(Command::Stop) => {
                        self.reach_step("stopped", When::After, doing.action.name());
                    }
                    _ => {}
                }
                self.begin(&moment);
                if self.core.is_none() {
                    return true;
                }
            }
            if let (Action::AskHost { server, .. }, Err(_)) = (&doing.action, &outcome) {
                self.clusters[doing.service].servers[usize::from(server.0)].host_shut_at = now;
            }
            if self.told {
                let line: String = format!("outcome {} {}: {outcome:?}", doing.id, doing.action.name());
                self.note(line);
            }
            self.watch.outcome(doing.service, doing.generation, &doing.action, &outcome);
            if let Ok(Report::Positions(positions)) = &outcome {
                self.hear_positions(doing.service, positions);
            }
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
        if let Some(at) = self.late_words.iter().position(|(at, ..)| *at <= now) {
            let (_, service, server, sample) = self.late_words.remove(at);
            self.heard_late(service, server, sample);
            return true;
        }
        if let Some(at) = self.surveys.iter().position(|(at, ..)| *at <= now) {
            let (_, service, server) = self.surveys.remove(at);
            if !self.surveys.iter().any(|(_, other, one)| (*other, *one) == (service, server)) {
                self.surveys.push((now + SURVEY, service, server));
            }
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

    /// What is to happen at this step.
    fn take_step(&mut self, name: &str, when: When) -> Option<Moment> {
        let at = self.at_step.iter().position(|(step, at, _)| *step == name && *at == when)?;
        Some(self.at_step.remove(at).2)
    }

    /// What was asked comes back.
    fn answer(&mut self, at: usize) {
        let now = self.now;
        let asked = &mut self.asked[at];
        // It answered: by then the core may have forgotten it, which is its right.
        let (input, opens, sampled, about, alive) = (asked.input.take(), asked.opens, asked.sampled, asked.about, asked.alive);
        self.asked.remove(at);
        if let Some((service, server)) = opens {
            let one = &mut self.clusters[service].servers[server];
            if one.process != Process::Running || !one.power {
                // It died in between; the opening fails as such things do.
                if let Some(Input::SessionOpened { run }) = input {
                    let finding = Cluster::finding(Verdict::Down(DownCause::Reset), self.own(now), Span::ZERO, None);
                    self.feed(Input::SessionFailed { run, finding });
                }
                return;
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
        if let Some(Input::CheckFinished { finding, .. }) = &input
            && let Some(sample) = finding.sample.clone()
        {
            self.hear(about.0, about.1, &sample);
        }
        if let Some(input) = input {
            self.feed(input);
        }
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
        if self.doing.iter().any(|doing| doing.due == Mono::NEVER) || self.asked.iter().any(|asked| asked.due == Mono::NEVER) {
            self.watch.exercise("every_output_is_answered_or_given_up");
        }
        if let Some(what) = asked.or(done) {
            self.watch.fail("every_output_is_answered_or_given_up", format!("{what} is long past its deadline"));
        }
    }
}
