//! Whom a step concerns: a core that finds says what a core that searches everywhere says, and wants to be woken at the same moments;
//! also when it was written down and read again in between, as for a replay. Seeds decide how many services there are, who follows whom,
//! what their servers do, and what operators order. `FLEETS=` seeds.

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::world::{application, check, ms, postgres, server, trigger};
use failover_core::Core;
use failover_core::durable::Durable;
use failover_core::event::EventKind;
use failover_core::id::{ActionId, Generation, RunId, ServerId, ServiceId};
use failover_core::input::{Command, Facts, Input, SelfHealth};
use failover_core::model::{
    CheckKind, CheckModel, FollowModel, Model, Policy, RouteModel, ServerModel, ServiceKind, ServiceModel, TriggerModel,
};
use failover_core::observation::{Close, CloseCause, DownCause, Finding, Impairment, UnknownCause, Verdict};
use failover_core::output::{Action, Failure, Output, Report};
use failover_core::sample::{Lsn, Receiver, RouteInstance, Sample};
use failover_core::time::{Mono, Span};

const FLEETS: u64 = 60;
const STEPS: usize = 2_500;

fn service(number: usize, dice: &mut Dice) -> ServiceModel {
    let is_postgres = dice.percent(30);
    let servers = dice.between(2, 4);
    let server =
        |place: u64| ServerModel { ssh: is_postgres, ..server(format!("s{number}x{place}"), usize::try_from(place).unwrap()) };
    let check = |place: u64| CheckModel {
        kind: if is_postgres { CheckKind::Postgres } else { CheckKind::Tcp },
        timeout: ms(500),
        ..check(format!("c{place}"), usize::try_from(place % servers).unwrap())
    };
    let checks = if is_postgres { servers } else { servers + dice.between(0, 2) };
    ServiceModel {
        kind: if is_postgres { ServiceKind::Postgres } else { ServiceKind::Application },
        servers: (0..servers).map(server).collect(),
        checks: (0..checks).map(check).collect(),
        trigger: TriggerModel {
            cooldown: ms(dice.one(&[0, 3_000, 60_000])),
            failure_window: ms(dice.one(&[3_000, 60_000])),
            require_confirmation: dice.percent(10),
            confirm_timeout: ms(4_000),
            failover_timeout: ms(dice.one(&[5_000, 120_000])),
            policy: if dice.percent(20) { Policy::All } else { Policy::Count },
            on_impaired: dice.percent(20).then_some(ms(2_000)),
            ..trigger()
        },
        postgres: postgres(),
        route: RouteModel {
            instances: 1,
            verify: dice.percent(50),
            ramp: ms(dice.one(&[0, 0, 2_000])),
            names: dice.percent(20).then_some(ms(2_000)),
            ..RouteModel::none()
        },
        ..application(format!("service{number}"), Vec::new())
    }
}

fn fleet(dice: &mut Dice) -> Model {
    let mut services: Vec<ServiceModel> = (0..dice.between(1, 7)).map(|at| service(usize::try_from(at).unwrap(), dice)).collect();
    for at in 0..services.len() {
        let other = dice.index(services.len());
        // Also one that comes later in the configuration, and no circle.
        let follows = services[at].kind == ServiceKind::Application && services[other].follows.is_none();
        let is_followed = services.iter().any(|one| one.follows.as_ref().is_some_and(|model| usize::from(model.service.0) == at));
        if follows && !is_followed && other != at && dice.percent(60) {
            services[at].follows = Some(FollowModel {
                service: ServiceId(u16::try_from(other).unwrap()),
                name: services[other].name.clone(),
                servers: services[other].servers.iter().map(|server| server.name.clone()).collect(),
                command: dice.percent(50),
                timeout: ms(1_000),
                with: if dice.percent(50) { vec![(ServerId(0), ServerId(0)), (ServerId(1), ServerId(1))] } else { Vec::new() },
                hold: ms(30_000),
            });
        }
    }
    Model { seed: dice.next(), services, max_concurrent_failovers: dice.percent(50).then_some(dice.one(&[1, 2])) }
}

/// What a server does when it is asked.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Up,
    Refused,
    Silent,
    Busy,
    Unasked,
}

/// A core, the one that searches, and what both are told.
struct Twins {
    dice: Dice,
    model: Model,
    finds: Core,
    searches: Core,
    now: Mono,
    modes: Vec<Vec<Mode>>,
    open: Vec<Vec<bool>>,
    coming: BTreeMap<(Mono, u64), Input>,
    count: u64,
    failovers: u64,
    held: u64,
    followed: u64,
    doubts: u64,
    last: Vec<String>,
}

impl Twins {
    fn new(seed: u64) -> Twins {
        let mut dice = Dice::new(seed);
        let model = fleet(&mut dice);
        let each = |of: &ServiceModel| of.servers.len();
        Twins {
            finds: Core::new(model.clone()),
            searches: Core::exhaustive(model.clone()),
            now: Mono::ZERO,
            modes: model.services.iter().map(|of| vec![Mode::Up; each(of)]).collect(),
            open: model.services.iter().map(|of| vec![false; each(of)]).collect(),
            coming: BTreeMap::new(),
            count: 0,
            failovers: 0,
            held: 0,
            followed: 0,
            doubts: 0,
            last: Vec::new(),
            model,
            dice,
        }
    }

    fn feed(&mut self, input: &Input) {
        self.last.push(format!("{:?} {input:?}", self.now));
        let found = self.finds.step(self.now, input.clone());
        let searched = self.searches.step(self.now, input.clone());
        self.compare(&found, &searched);
        self.take(found);
    }

    fn compare(&self, found: &[Output], searched: &[Output]) {
        let story = || self.last[self.last.len().saturating_sub(12)..].join("\n");
        assert_eq!(found, searched, "found and searched, after\n{}", story());
        assert_eq!(self.finds.next_deadline(), self.searches.next_deadline(), "when next, after\n{}", story());
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.last.push(format!("    {output:?}"));
            match output {
                Output::RunCheck { run, service, check, sample, deadline } => {
                    let place = usize::from(service.0);
                    let server = self.model.services[place].checks[usize::from(check.0)].server;
                    self.ask(run, place, usize::from(server), sample, deadline);
                }
                Output::OpenSession { run, service, server, deadline } => {
                    let (place, at) = (usize::from(service.0), usize::from(server.0));
                    match self.modes[place][at] {
                        Mode::Up | Mode::Busy => self.comes(ms(3), Input::SessionOpened { run }),
                        Mode::Silent => {}
                        mode => {
                            let finding = self.finding(mode, deadline);
                            self.comes(ms(3), Input::SessionFailed { run, finding });
                        }
                    }
                    self.open[place][at] = true;
                }
                Output::RunAction { id, action, .. } => self.act(id, &action),
                Output::Emit(event) => match event.kind {
                    EventKind::FailoverStarted => self.failovers += 1,
                    EventKind::AwaitingConfirmation => self.held += 1,
                    EventKind::DoubtRaised => self.doubts += 1,
                    EventKind::EvidenceGathered if event.message.contains("has followed") => self.followed += 1,
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn comes(&mut self, after: Span, input: Input) {
        self.count += 1;
        self.coming.insert((self.now + after, self.count), input);
    }

    fn finding(&mut self, mode: Mode, deadline: Mono) -> Finding {
        let verdict = match mode {
            Mode::Up => Verdict::Up,
            Mode::Refused => Verdict::Down(DownCause::Refused),
            Mode::Silent => Verdict::Down(DownCause::AnswerTimedOut),
            Mode::Busy => Verdict::Impaired(Impairment::Saturated),
            Mode::Unasked => Verdict::Unknown(UnknownCause::OwnResources),
        };
        let latency = if mode == Mode::Silent { deadline.since(self.now) } else { ms(2) };
        Finding { verdict, message: "as it is".into(), began: self.now, latency, sample: None }
    }

    fn ask(&mut self, run: RunId, service: usize, server: usize, sample: bool, deadline: Mono) {
        let mode = self.modes[service][server];
        let mut finding = self.finding(mode, deadline);
        if sample && mode == Mode::Up && self.model.services[service].kind == ServiceKind::Postgres {
            finding.sample = Some(Box::new(self.sample(service, server)));
        }
        // One in a hundred does not come back.
        let span = if mode == Mode::Silent { deadline.since(self.now) } else { ms(self.dice.between(1, 9)) };
        if self.dice.percent(99) {
            self.comes(span, Input::CheckFinished { run, finding });
        }
    }

    fn sample(&self, service: usize, server: usize) -> Sample {
        let primary = self.finds.snapshot().services[service].primary.map_or(0, |server| usize::from(server.0));
        let position = Some(Lsn(1_000_000 + self.now.as_nanos() / 1_000_000));
        let standby = server != primary;
        Sample {
            asked: self.now,
            age: None,
            started: Some(1),
            in_recovery: standby,
            system_id: 7,
            timeline: 1,
            flush: position.filter(|_| !standby),
            receive: position.filter(|_| standby),
            replay: position.filter(|_| standby),
            receiver: if standby { Receiver::Hidden } else { Receiver::Absent },
            at_end: true,
            replay_paused: false,
            replay_conflict: false,
            delayed: false,
            spool: None,
            sync_names: String::new(),
            sync_commit: failover_core::sample::SyncCommit::default(),
            settings_loaded: None,
            sync_commit_overridden: None,
            replicas: None,
            streams: failover_core::streams::Streams::default(),
            slots: None,
            uses_slot: None,
            other_engines: Vec::new(),
        }
    }

    fn act(&mut self, id: ActionId, action: &Action) {
        let route = || vec![RouteInstance { name: "lb".into(), result: Ok("done".into()) }];
        let outcome = match self.dice.between(0, 20) {
            0 => return,
            1 => Err(Failure::no_effect("no", "")),
            2 => Err(Failure::unknown("perhaps", "")),
            _ if action.name().starts_with("route") || action.name() == "point_names" => Ok(Report::Route(route())),
            _ => Ok(Report::Done { message: "done".into() }),
        };
        let after = ms(self.dice.between(1, 400));
        self.comes(after, Input::ActionFinished { action: id, outcome });
    }

    /// Something that nobody asked for.
    fn surprise(&mut self) {
        let service = self.dice.index(self.model.services.len());
        let server = self.dice.index(self.modes[service].len());
        let (place, at) = (ServiceId(u16::try_from(service).unwrap()), ServerId(u16::try_from(server).unwrap()));
        let modes = [Mode::Up, Mode::Up, Mode::Refused, Mode::Silent, Mode::Busy, Mode::Unasked];
        match self.dice.between(0, 100) {
            0..40 => self.modes[service][server] = self.dice.one(&modes),
            40..45 => self.modes.iter_mut().flatten().for_each(|mode| *mode = Mode::Up),
            45..47 => {
                let mode = self.dice.one(&modes);
                self.modes.iter_mut().flatten().for_each(|one| *one = mode);
            }
            // Whoever is first, everywhere at once: the trouble of many at one moment.
            47..50 => self.modes.iter_mut().for_each(|of| of[0] = Mode::Refused),
            50..62 => {
                let (whom, to) = (self.dice.percent(80).then_some(place), Some(at));
                let command = self.command(to);
                self.feed(&Input::Operator { service: whom, command, token: 1 });
            }
            62..68 => {
                let cause = self.dice.one(&[CloseCause::DeathHint, CloseCause::Announced, CloseCause::Unclassified]);
                let close = Close { cause, message: "closed".into() };
                self.feed(&Input::SessionClosed { service: place, server: at, close });
            }
            68..74 => {
                let health = SelfHealth {
                    gap: ms(self.dice.one(&[0, 0, 0, 0, 0, 1_500])),
                    suspended: ms(self.dice.one(&[0, 0, 2_000])),
                    stuck_workers: self.dice.one(&[0, 0, 0, 0, 2]),
                    workers: 3,
                    stuck_loops: 0,
                    journal_writable: self.dice.percent(80),
                };
                self.feed(&Input::SelfHealth(health));
            }
            74..77 => self.now = self.now + ms(self.dice.between(1, 4_000)),
            77..80 => self.feed(&Input::CheckFinished { run: RunId(u64::MAX), finding: self.finds_nothing() }),
            80..84 => {
                let durable = Durable { generation: Generation(1), primary: Some(at), ..Durable::default() };
                let facts = Facts { durable, ..Facts::default() };
                self.feed(&Input::Restored { service: place, facts: Box::new(facts) });
            }
            84..88 => self.reload(service),
            // The one that finds is written down and read again.
            88..92 => {
                let text = serde_json::to_string(&self.finds).expect("it can be written");
                self.finds = serde_json::from_str(&text).expect("it can be read");
                self.compare(&[], &[]);
            }
            _ => self.feed(&Input::Tick),
        }
    }

    /// A kept session of a database says how far it is.
    fn answer(&mut self) {
        let service = self.dice.index(self.model.services.len());
        let server = self.dice.index(self.modes[service].len());
        let answers = self.open[service][server] && self.modes[service][server] == Mode::Up;
        if answers && self.model.services[service].kind == ServiceKind::Postgres {
            let sample = Box::new(self.sample(service, server));
            let (service, server) = (ServiceId(u16::try_from(service).unwrap()), ServerId(u16::try_from(server).unwrap()));
            self.feed(&Input::SessionAnswered { service, server, sample });
        }
    }

    fn finds_nothing(&self) -> Finding {
        Finding { verdict: Verdict::Up, message: "late".into(), began: self.now, latency: ms(1), sample: None }
    }

    fn command(&mut self, to: Option<ServerId>) -> Command {
        match self.dice.between(0, 9) {
            0 | 1 => Command::Confirm,
            2 => Command::Pause { reason: None, lasts: Some(ms(2_500)) },
            3 => Command::Resume,
            4 | 5 => Command::Reset,
            6 => Command::Force { to, accept_loss: None },
            7 => Command::Cordon { server: to.unwrap_or_default() },
            _ => Command::Uncordon { server: to.unwrap_or_default() },
        }
    }

    fn reload(&mut self, service: usize) {
        let one = &mut self.model.services[service];
        match self.dice.between(0, 3) {
            0 => one.trigger.failure_threshold = self.dice.one(&[2, 3]),
            1 => one.servers[0].name.push('n'),
            _ => one.name.push('n'),
        }
        let found = self.finds.reload(self.now, self.model.clone());
        let searched = self.searches.reload(self.now, self.model.clone());
        assert_eq!(found, searched, "a reload");
        self.last.push(format!("{:?} reload", self.now));
        // What is under way is of the configuration before, and of no consequence.
        self.take(found.unwrap_or_default());
    }

    fn go_on(&mut self) {
        let next = self.finds.next_deadline();
        if self.dice.percent(2) {
            self.surprise();
            return;
        }
        if self.dice.percent(8) {
            self.answer();
        }
        let early = self.dice.percent(5);
        match self.coming.first_key_value().map(|((at, _), _)| *at) {
            _ if early => {
                self.now = self.now + Span::from_nanos(self.dice.between(0, 3_000_000));
                self.feed(&Input::Tick);
            }
            Some(at) if at <= next => {
                self.now = self.now.max(at);
                if let Some((_, input)) = self.coming.pop_first() {
                    self.feed(&input);
                }
            }
            _ => {
                self.now = self.now.max(next);
                self.feed(&Input::Tick);
            }
        }
    }
}

#[test]
fn who_is_found_is_who_is_concerned() {
    let fleets = std::env::var("FLEETS").ok().and_then(|fleets| fleets.parse().ok()).unwrap_or(FLEETS);
    let mut seen = [0, 0, 0, 0];
    for seed in 0..fleets {
        let outcome = std::panic::catch_unwind(|| {
            let mut twins = Twins::new(seed);
            (0..STEPS).for_each(|_| twins.go_on());
            [twins.failovers, twins.held, twins.followed, twins.doubts]
        });
        let Ok(more) = outcome else { panic!("seed {seed}: as is said above") };
        seen.iter_mut().zip(more).for_each(|(all, more)| *all += more);
    }
    println!("{fleets} fleets: failovers, waiting for others, followed, doubts: {seen:?}");
    assert!(fleets < FLEETS || seen.iter().all(|times| *times >= fleets / 10), "too little happens: {seen:?}");
}

/// The checks that a new core asks for at the start, and those that it has asked for when each second of the interval is over.
fn asked_for(services: usize, interval: Span) -> (usize, Vec<usize>) {
    let service = |number: usize| {
        let checks = vec![CheckModel { interval, ..check("page".to_owned(), 0) }];
        ServiceModel { checks, servers: vec![server("s0".to_owned(), 0)], ..application(format!("web{number}"), Vec::new()) }
    };
    let services = (0..services).map(service).collect();
    let mut core = Core::new(Model { seed: 1, services, max_concurrent_failovers: None });
    let mut asked = |at: Mono| {
        let outputs = core.step(at, Input::Tick);
        outputs.iter().filter(|output| matches!(output, Output::RunCheck { .. })).count()
    };
    let first = asked(Mono::ZERO);
    let tenths = (1..=10).map(|tenth| asked(Mono::ZERO + Span::from_nanos(interval.as_nanos() / 10 * tenth)));
    (first, tenths.collect())
}

#[test]
fn the_first_checks_of_a_large_fleet_are_spread_over_one_interval() {
    let interval = Span::from_millis(1_000);
    assert_eq!(asked_for(64, interval).0, 64, "a small fleet is asked at once");
    let (first, tenths) = asked_for(1_000, interval);
    assert!(first <= 1, "{first} at the start");
    assert!(tenths.iter().all(|count| (95..=105).contains(count)), "{tenths:?}");
    assert_eq!(first + tenths.iter().sum::<usize>(), 1_000, "each is asked once within its interval");
}
