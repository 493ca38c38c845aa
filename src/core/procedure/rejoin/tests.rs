//! A host with an old primary, and an engine that brings it back: every step fails in every way, the engine is killed at each, and a failover
//! comes in between. Whatever happens, it never runs without its guard, nothing is rewound twice or before it is kept and told, and it ends.

mod copy;

use std::collections::BTreeMap;

use crate::Core;
use crate::durable::Durable;
use crate::event::EventKind;
use crate::id::{ActionId, ServerId, ServiceId};
use crate::input::{Command, Facts, Input};
use crate::kind::ServiceKind;
use crate::kind::tests::model;
use crate::model::{Model, OnRejoin};
use crate::output::{Action, Failure, FailureKind, Output, Record, Report};
use crate::rejoin::{Divergence, RejoinHow, RejoinOutcome, RejoinStage, Rewound};
use crate::sample::{FenceLevel, FenceReport, Lsn, Position, Receiver, Sample};
use crate::service::{LogTrack, Service, sync};
use crate::time::{Mono, Span};

const OLD: ServerId = ServerId(0);
const NEW: ServerId = ServerId(1);
const SYSTEM: u64 = 7;
const FORK: Lsn = Lsn(0x0300_0000);
const STEPS: [&str; 10] = [
    "prove_fence",
    "checkpoint",
    "read_history",
    "read_divergence",
    "keep_log",
    "rewind",
    "read_rewind",
    "follow_primary",
    "start_standby",
    "read_positions",
];

/// How a step goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It is proven that nothing was done.
    Undone(FailureKind),
    /// It was done, and nobody knows.
    DoneUnheard,
    /// It was not done, and nobody knows.
    UndoneUnheard,
    /// No answer ever comes.
    Silent,
}

const WRONGS: [Wrong; 5] = [
    Wrong::Undone(FailureKind::NoEffect),
    Wrong::Undone(FailureKind::Refused),
    Wrong::DoneUnheard,
    Wrong::UndoneUnheard,
    Wrong::Silent,
];

/// The truth about the old primary's host.
#[derive(Clone, Debug)]
struct Host {
    guard: bool,
    runs: bool,
    follows: bool,
    kept: bool,
    /// Looks until the rewind ends.
    rewinding: Option<u8>,
    rewound: bool,
    rewinds: u32,
    broken: bool,
    ahead: u64,
    hindrance: Option<&'static str>,
    slot: Option<&'static str>,
    proven: bool,
    copy: copy::Place,
}

struct World {
    core: Core,
    now: Mono,
    inputs: Vec<Input>,
    host: Host,
    durable: Option<Durable>,
    steps: Vec<&'static str>,
    wrong: BTreeMap<&'static str, (Wrong, u32)>,
    /// The engine ends when this step is asked for: with or without its effect.
    kill: Option<(&'static str, bool)>,
    kills: u32,
    told: Vec<EventKind>,
    ended: Vec<RejoinOutcome>,
    stop_at: Option<&'static str>,
    /// What is changed in the sample of the one that came back.
    streams: Option<fn(&mut Sample)>,
    /// The engine was started a moment ago: the kept session to the old primary is not open yet, though it answered.
    unasked: bool,
}

fn configuration() -> Model {
    let mut model = model(ServiceKind::Postgres);
    model.services[0].servers.iter_mut().for_each(|server| server.ssh = true);
    model.services[0].checks.clear();
    model
}

impl World {
    fn new(ahead: u64) -> World {
        let host = Host {
            guard: true,
            runs: false,
            follows: false,
            kept: false,
            rewinding: None,
            rewound: false,
            rewinds: 0,
            broken: false,
            ahead,
            hindrance: None,
            slot: None,
            proven: true,
            copy: copy::Place::default(),
        };
        let mut world = World {
            core: Core::exhaustive(configuration()),
            now: Mono::ZERO,
            inputs: vec![Input::Tick],
            host,
            durable: None,
            steps: Vec::new(),
            wrong: BTreeMap::new(),
            kill: None,
            kills: 0,
            told: Vec::new(),
            ended: Vec::new(),
            stop_at: None,
            streams: None,
            unasked: false,
        };
        let durable = Durable {
            generation: crate::id::Generation(1),
            primary: Some(NEW),
            cluster: crate::durable::Cluster {
                system_id: Some(SYSTEM),
                deposed: [(OLD, 1)].into(),
                seen: [OLD].into(),
                ..crate::durable::Cluster::default()
            },
            ..Durable::default()
        };
        world.restart(durable);
        world.until(Span::from_millis(2_000));
        world
    }

    fn restart(&mut self, durable: Durable) {
        self.core = Core::exhaustive(configuration());
        let facts = Facts { durable, ..Facts::default() };
        self.inputs = vec![Input::Tick, Input::Restored { service: ServiceId(0), facts: Box::new(facts) }];
    }

    fn order(&mut self, how: RejoinHow) {
        let command = Command::Rejoin { server: OLD, how };
        self.inputs.push(Input::Operator { service: Some(ServiceId(0)), command, token: 1 });
    }

    /// What the kept sessions would tell.
    fn look(&mut self) {
        let (now, runs) = (self.now, self.host.runs);
        let service = &mut self.core.services[0];
        let primary = Sample { flush: Some(Lsn(FORK.0 + 500)), ..sample(2, false) };
        service.servers[1].sample = Some((now, primary));
        service.servers[1].session_open = true;
        service.servers[1].last_answer = Some(now);
        service.primary_seen = true;
        service.servers[0].session_open = runs && !self.unasked;
        service.servers[0].last_answer = runs.then_some(now);
        service.servers[0].deposed &= !runs || self.unasked;
        service.log = Some(LogTrack {
            flush: Lsn(FORK.0 + 500),
            at: now,
            lead: Span::ZERO,
            rates: [None; 5],
            measured: (Lsn(FORK.0 + 500), now),
            timeline: 2,
            heard: None,
            sync: sync::SyncTrack::default(),
        });
    }

    fn until(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            self.look();
            let input = self.inputs.pop().unwrap_or(Input::Tick);
            for output in self.core.step(self.now, input) {
                if !self.carry_out(output) {
                    break;
                }
            }
            if self.inputs.is_empty() {
                self.now = self.core.next_deadline().min(self.now + Span::from_millis(1_000));
            }
        }
    }

    /// `false`: the engine is killed, and nothing that it wanted after this is done.
    fn carry_out(&mut self, output: Output) -> bool {
        match output {
            Output::RunAction { id, action, .. } => return self.asked(id, &action),
            Output::Journal(Record::Facts { durable, .. }) => self.durable = Some(*durable),
            Output::Journal(Record::StepBegun { .. } | Record::StepEnded { .. }) => {
                panic!("a return is no failover in the journal");
            }
            Output::Emit(event) => {
                if event.kind == EventKind::RejoinEnded {
                    let ended = self.core.services[0].background.last_rejoin.as_ref().expect("it is known how it ended");
                    self.ended.push(ended.outcome);
                }
                self.told.push(event.kind);
            }
            _ => {}
        }
        true
    }

    fn is_touched(&self) -> bool {
        self.host.kept || self.host.rewinds > 0 || self.host.follows || self.host.runs
    }

    fn asked(&mut self, id: ActionId, action: &Action) -> bool {
        let name = action.name();
        if self.stop_at == Some(name) {
            self.stop_at = None;
            self.inputs.insert(0, Input::Operator { service: Some(ServiceId(0)), command: Command::Stop, token: 9 });
        }
        if let Some((step, with_effect)) = self.kill
            && step == name
            && self.kills == 0
        {
            self.kills += 1;
            if with_effect {
                let _ = self.act(action);
            }
            self.check();
            let durable = self.durable.clone().expect("something is journaled");
            self.restart(durable);
            return false;
        }
        self.steps.push(name);
        let wrong = self.wrong.get_mut(name).filter(|(_, times)| *times > 0).map(|(wrong, times)| {
            *times -= 1;
            *wrong
        });
        let outcome = match wrong {
            None => self.act(action),
            Some(Wrong::Undone(kind)) => Err(Failure { kind, message: format!("{name} refuses"), remedy: String::new() }),
            Some(Wrong::DoneUnheard) => {
                let _ = self.act(action);
                Err(Failure::unknown("the session was cut", ""))
            }
            Some(Wrong::UndoneUnheard) => Err(Failure::unknown("the session was cut", "")),
            Some(Wrong::Silent) => return true,
        };
        self.check();
        self.inputs.insert(0, Input::ActionFinished { action: id, outcome });
        true
    }

    fn act(&mut self, action: &Action) -> Result<Report, Failure> {
        let host = &mut self.host;
        let done = || Ok(Report::Done { message: "done".to_owned() });
        match action {
            Action::ProveFence { server, .. } => {
                assert_eq!(*server, OLD);
                let level = if host.proven && !host.runs { FenceLevel::ProvenStopped } else { FenceLevel::None };
                Ok(Report::Fence(FenceReport {
                    level,
                    guard_placed: false,
                    rungs: Vec::new(),
                    proof: "seen".to_owned(),
                    end: None,
                }))
            }
            Action::Checkpoint { .. } => done(),
            Action::ReadHistory { timeline, .. } => Ok(Report::History { timeline: *timeline, switches: vec![(1, FORK)] }),
            Action::ReadDivergence { .. } => {
                let rewound = match (host.broken, host.rewinding, host.rewound) {
                    (true, ..) => Rewound::Failed,
                    (_, Some(_), _) => Rewound::Running { done: 1, all: 9 },
                    (_, _, true) => Rewound::Done,
                    _ => Rewound::Not,
                };
                Ok(Report::Divergence(Divergence {
                    timeline: 1,
                    fork: FORK,
                    end: Lsn(FORK.0 + host.ahead),
                    commits: Some(host.ahead / 100),
                    hindrances: host.hindrance.iter().map(|why| (*why).to_owned()).collect(),
                    rewound,
                    slot: host.slot.map(str::to_owned),
                    ..Divergence::default()
                }))
            }
            Action::MakeSlot { server, .. } => {
                assert_eq!(*server, NEW);
                done()
            }
            Action::ReadPositions { servers, .. } => {
                let of = |server: &ServerId| {
                    let sample = match *server {
                        NEW => Ok(Sample { flush: Some(Lsn(FORK.0 + 500)), ..sample(2, false) }),
                        _ if self.host.runs => {
                            let mut sample = sample(2, true);
                            self.streams.iter().for_each(|change| change(&mut sample));
                            Ok(sample)
                        }
                        _ => Err("no answer".to_owned()),
                    };
                    Position { server: *server, sample, settled: true }
                };
                Ok(Report::Positions(servers.iter().map(of).collect()))
            }
            other => self.change(other),
        }
    }

    /// What changes something on the host.
    fn change(&mut self, action: &Action) -> Result<Report, Failure> {
        let host = &mut self.host;
        let done = || Ok(Report::Done { message: "done".to_owned() });
        match action {
            Action::KeepLog { .. } => {
                let known = self.durable.as_ref().and_then(|durable| durable.rejoin.clone()).expect("it is journaled");
                assert!(known.divergence.is_some_and(|known| known.bytes() > 0), "what is lost is journaled first");
                assert!(self.told.contains(&EventKind::LostTransactions), "and told");
                host.kept = true;
                done()
            }
            Action::Rewind { .. } => {
                assert!(host.kept && !host.runs, "{host:?}");
                let known = self.durable.as_ref().and_then(|durable| durable.rejoin.clone()).expect("it is journaled");
                assert_eq!(known.stage, RejoinStage::Rewind, "the journal says so before it begins");
                assert!(known.divergence.is_some(), "and what is lost as well");
                // The host begins it once.
                if host.rewinds == 0 {
                    (host.rewinds, host.rewinding) = (1, Some(3));
                }
                done()
            }
            Action::ReadRewind { .. } => {
                let state = match &mut host.rewinding {
                    _ if host.broken => Rewound::Failed,
                    Some(0) => {
                        (host.rewinding, host.rewound, host.ahead) = (None, true, 0);
                        Rewound::Done
                    }
                    Some(left) => {
                        *left -= 1;
                        Rewound::Running { done: u64::from(3 - *left), all: 9 }
                    }
                    None if host.rewound => Rewound::Done,
                    None => Rewound::Not,
                };
                Ok(Report::Rewind { state, message: "as it is".to_owned() })
            }
            Action::FollowPrimary { primary, .. } => {
                assert_eq!(*primary, NEW);
                if host.runs {
                    return Err(Failure::no_effect("it lives", ""));
                }
                assert!(host.rewinding.is_none() && !host.broken && host.ahead == 0, "{host:?}");
                host.follows = true;
                done()
            }
            Action::StartStandby { .. } => {
                if host.runs {
                    return Err(Failure::no_effect("it runs", ""));
                }
                assert!(host.guard && host.follows, "{host:?}");
                host.runs = true;
                done()
            }
            Action::Copy { server, order } => self.copy(*server, order),
            other => panic!("a return does not ask for {other:?}"),
        }
    }

    /// What holds at any moment.
    fn check(&self) {
        let host = &self.host;
        assert!(!host.runs || host.guard, "it runs without its guard: {host:?}");
        host.copy.check(host.runs);
        assert!(host.rewinds <= 1 && (host.rewinds == 0 || host.kept), "{host:?}");
        assert!(!host.runs || host.rewinding.is_none() && !host.broken && host.ahead == 0, "{host:?}");
    }

    /// It ends, and how.
    fn settle(&mut self) -> Option<RejoinOutcome> {
        for _ in 0..4 * 60 {
            self.until(Span::from_millis(60_000));
            let service = &self.core.services[0];
            if !self.ended.is_empty() && service.background.rejoin.is_none() && service.durable.rejoin.is_none() {
                break;
            }
        }
        let service = &self.core.services[0];
        assert!(service.background.rejoin.is_none(), "it ends: {:?}", service.background.rejoin);
        assert!(service.durable.rejoin.is_none(), "and nothing is left of it");
        self.check();
        self.ended.last().copied()
    }
}

fn sample(timeline: u32, in_recovery: bool) -> Sample {
    Sample {
        in_recovery,
        system_id: SYSTEM,
        timeline,
        replay: in_recovery.then_some(Lsn(FORK.0 + 500)),
        receiver: if in_recovery { Receiver::Hidden } else { Receiver::Absent },
        ..Sample::default()
    }
}

#[test]
fn one_that_lacks_nothing_is_started_as_it_is() {
    let mut world = World::new(0);
    world.order(RejoinHow::Clean);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    assert_eq!(
        world.steps,
        ["prove_fence", "checkpoint", "read_history", "read_divergence", "follow_primary", "start_standby", "read_positions"]
    );
    assert!(!world.told.contains(&EventKind::LostTransactions), "there is nothing to tell");
}

#[test]
fn one_that_has_more_is_told_of_kept_rewound_and_started() {
    let mut world = World::new(700);
    world.order(RejoinHow::Rewind);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    assert!(world.told.contains(&EventKind::LostTransactions));
    assert_eq!(world.steps[3..6], ["read_divergence", "keep_log", "rewind"]);
    assert_eq!(world.host.rewinds, 1);
}

#[test]
fn a_clean_return_never_rewinds() {
    let mut world = World::new(700);
    world.order(RejoinHow::Clean);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert!(!world.is_touched() && world.told.contains(&EventKind::LostTransactions));
}

#[test]
fn what_could_not_be_rewound_is_refused_before_anything_is_touched() {
    let mut world = World::new(700);
    world.host.hindrance = Some("no_hints");
    world.order(RejoinHow::Rewind);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert!(!world.is_touched());
}

/// Without it, it would never stream: so it is there before anything is touched.
#[test]
fn a_slot_that_cannot_be_made_ends_it_before_anything_is_touched() {
    let mut world = World::new(700);
    world.host.slot = Some("db1");
    world.wrong.insert("make_slot", (Wrong::Undone(FailureKind::NoEffect), u32::MAX));
    world.order(RejoinHow::Rewind);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert!(!world.is_touched());
    let mut world = World::new(0);
    world.host.slot = Some("db1");
    world.order(RejoinHow::Rewind);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    assert_eq!(world.steps[4], "make_slot");
}

#[test]
fn a_dry_run_changes_nothing() {
    for ahead in [0, 700] {
        let mut world = World::new(ahead);
        world.order(RejoinHow::DryRun);
        assert_eq!(world.settle(), Some(RejoinOutcome::DryRun));
        assert_eq!(world.steps, ["prove_fence", "read_history", "read_divergence"]);
        assert!(world.durable.as_ref().is_none_or(|durable| durable.rejoin.is_none()));
    }
}

#[test]
fn without_proof_nothing_is_looked_at() {
    let mut world = World::new(0);
    world.host.proven = false;
    world.order(RejoinHow::Rewind);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert_eq!(world.steps, ["prove_fence"]);
}

#[test]
fn a_rewind_that_failed_is_not_repeated() {
    let mut world = World::new(700);
    world.host.broken = true;
    world.host.rewinds = 1;
    world.host.kept = true;
    world.order(RejoinHow::Rewind);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert!(!world.steps.contains(&"rewind"));
}

/// It has log of its own again, whoever did that.
#[test]
fn one_that_was_rewound_is_not_rewound_again() {
    let mut world = World::new(700);
    (world.host.rewound, world.host.rewinds, world.host.kept) = (true, 1, true);
    world.order(RejoinHow::Rewind);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert!(!world.steps.contains(&"rewind"));
}

/// Every step goes wrong in every way, once and for ever.
#[test]
fn whatever_goes_wrong_it_ends_and_is_safe() {
    for ahead in [0, 700] {
        for step in STEPS {
            for wrong in WRONGS {
                for times in [1, u32::MAX] {
                    let mut world = World::new(ahead);
                    world.wrong.insert(step, (wrong, times));
                    world.order(RejoinHow::Rewind);
                    let ended = world.settle();
                    let how = format!("{ahead} {step} {wrong:?} {times}: {ended:?} {:?}", world.host);
                    assert!(ended.is_some(), "{how}");
                    if ended == Some(RejoinOutcome::Completed) {
                        assert!(world.host.runs && world.host.follows, "{how}");
                    }
                    if ended == Some(RejoinOutcome::Refused) {
                        assert!(!world.host.follows && !world.host.runs, "{how}");
                    }
                }
            }
        }
    }
}

/// The engine is killed at each step, before its effect and behind it: the next one goes on, or says why not.
#[test]
fn an_engine_that_is_killed_is_followed_by_one_that_goes_on() {
    for ahead in [0, 700] {
        for step in STEPS {
            for with_effect in [false, true] {
                let mut world = World::new(ahead);
                world.kill = Some((step, with_effect));
                world.order(RejoinHow::Rewind);
                let ended = world.settle();
                let how = format!("{ahead} {step} {with_effect}: {ended:?} {:?} {:?}", world.host, world.steps);
                let lost = step == "rewind" && !with_effect && ahead > 0;
                let expected = if lost { RejoinOutcome::Refused } else { RejoinOutcome::Completed };
                assert_eq!(ended, Some(expected), "{how}");
                assert_eq!(world.host.runs, !lost, "{how}");
            }
        }
    }
}

/// A stopping engine leaves it to the next one.
#[test]
fn a_stopping_engine_leaves_it_to_the_next_one() {
    for step in STEPS {
        let mut world = World::new(700);
        world.stop_at = Some(step);
        world.order(RejoinHow::Rewind);
        world.until(Span::from_millis(60_000));
        assert!(world.core.services[0].background.rejoin.is_none(), "{step}");
        if let Some(durable) = world.durable.clone().filter(|durable| durable.rejoin.is_some()) {
            world.restart(durable);
            let ended = world.settle();
            assert!(world.host.runs && ended == Some(RejoinOutcome::Completed), "{step}: {ended:?} {:?}", world.steps);
        }
    }
}

/// Another server is the primary now: it stops between two steps, and what it had done can be taken up by another order.
#[test]
fn a_change_of_the_primary_ends_it_between_two_steps() {
    let mut world = World::new(700);
    world.order(RejoinHow::Rewind);
    world.wrong.insert("read_rewind", (Wrong::Undone(FailureKind::NoEffect), 1));
    world.until(Span::from_millis(300));
    assert_eq!(world.host.rewinds, 1);
    world.core.services[0].two_primaries = true;
    world.until(Span::from_millis(1));
    world.core.services[0].two_primaries = true;
    assert_eq!(world.settle(), Some(RejoinOutcome::Failed));
    assert!(!world.host.runs);
    world.ended.clear();
    world.core.services[0].two_primaries = false;
    world.order(RejoinHow::Rewind);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    assert_eq!(world.host.rewinds, 1, "the rewind went on meanwhile, and is not repeated");
}

fn by_itself(rejoin: OnRejoin, ahead: u64, change: impl Fn(&mut World)) -> World {
    let mut world = World::new(ahead);
    change(&mut world);
    world.core.services[0].model.postgres.rejoin = rejoin;
    world.until(Span::from_millis(20 * 60_000));
    world
}

/// Rule 210.
#[test]
fn by_itself_it_does_what_the_configuration_says_and_once() {
    let ended = |rejoin, ahead| by_itself(rejoin, ahead, |_| {}).ended;
    assert_eq!(ended(OnRejoin::Manual, 0), []);
    assert_eq!(ended(OnRejoin::Clean, 0), [RejoinOutcome::Completed]);
    assert_eq!(ended(OnRejoin::Clean, 700), [RejoinOutcome::Refused], "told once");
    assert_eq!(ended(OnRejoin::Auto, 700), [RejoinOutcome::Completed]);
    let broken =
        by_itself(OnRejoin::Auto, 700, |world| (world.host.kept, world.host.broken, world.host.rewinds) = (true, true, 1));
    assert_eq!((broken.ended.as_slice(), broken.host.rewinds), (&[RejoinOutcome::Refused][..], 1));
}

#[test]
fn by_itself_it_is_not_begun_where_a_person_has_to_look() {
    let never = |change: &dyn Fn(&mut Service)| by_itself(OnRejoin::Auto, 0, |world| change(&mut world.core.services[0])).steps;
    assert_eq!(never(&|service| service.asked_for_promotion = Some(NEW)), [""; 0]);
    assert_eq!(never(&|service| service.state = crate::trigger::State::ManualIntervention), [""; 0]);
    assert_eq!(never(&|service| service.durable.pause = Some(crate::durable::Pause::default())), [""; 0]);
}

/// A host that does not answer is asked again, and what was looked at is not.
#[test]
fn a_host_that_did_not_answer_is_asked_again() {
    let silent = |world: &mut World| {
        world.wrong.insert("prove_fence", (Wrong::Undone(FailureKind::NoEffect), 5));
    };
    let world = by_itself(OnRejoin::Clean, 0, silent);
    assert_eq!(world.ended, [RejoinOutcome::Refused, RejoinOutcome::Completed]);
}

/// What is missing on the host is said by a dry run as well, and it may come.
#[test]
fn without_a_way_to_the_primary_it_is_refused_beforehand_and_tried_again() {
    const WHY: &str = "no_source how this host reaches the new primary is not known here";
    let mut world = World::new(0);
    world.host.hindrance = Some(WHY);
    world.order(RejoinHow::DryRun);
    assert_eq!((world.settle(), world.is_touched()), (Some(RejoinOutcome::Refused), false));
    let again = by_itself(OnRejoin::Clean, 0, |world| world.host.hindrance = Some(WHY));
    assert!(again.ended.len() > 2 && again.ended.iter().all(|one| *one == RejoinOutcome::Refused), "{:?}", again.ended);
}

fn receiver(streaming: bool) -> Receiver {
    Receiver::Seen { streaming, latest_end: None, last_message_age: Span::ZERO, application_name: None, slot: None }
}

/// Its new primary may die before the kept session of the one that came back has been answered once.
#[test]
fn one_that_came_back_is_on_the_timeline_on_which_it_was_seen_to_stream() {
    let timeline = |streams: fn(&mut Sample)| {
        let mut world = World::new(0);
        world.streams = Some(streams);
        world.order(RejoinHow::Clean);
        world.settle();
        // Without its receiver it shows what its control file says.
        let alone = Sample { receiver: Receiver::Absent, timeline: 1, ..sample(2, true) };
        world.core.services[0].timeline_of(OLD, &alone)
    };
    assert_eq!(timeline(|sample| sample.receiver = receiver(true)), 2);
    assert_eq!(timeline(|sample| sample.receiver = receiver(false)), 1);
    assert_eq!(timeline(|sample| (sample.receiver, sample.system_id) = (receiver(true), SYSTEM + 1)), 1);
    assert_eq!(timeline(|sample| (sample.receiver, sample.timeline) = (receiver(true), 1)), 1);
}

#[test]
fn one_that_handed_over_comes_back_without_an_order() {
    let world = by_itself(OnRejoin::Manual, 0, |world| {
        world.core.services[0].durable.cluster.handed_over.insert(OLD);
    });
    assert_eq!(world.ended, [RejoinOutcome::Completed]);
}

/// Rule 244: after a start of the engine one that is back answers before its session is open.
#[test]
fn one_that_is_back_is_not_brought_back_again_after_a_start_of_the_engine() {
    let back = |world: &mut World| {
        world.core.services[0].durable.cluster.handed_over.insert(OLD);
        (world.host.runs, world.host.proven, world.unasked) = (true, false, true);
    };
    let world = by_itself(OnRejoin::Manual, 0, back);
    assert_eq!((world.ended, world.steps), (vec![], vec![]));
    let unheard = by_itself(OnRejoin::Manual, 0, |world| {
        let service = &mut world.core.services[0];
        service.durable.cluster.handed_over.insert(OLD);
        let (checks, states) = (
            model(ServiceKind::Postgres).services.remove(0).checks,
            Service::new(ServiceId(0), model(ServiceKind::Postgres).services.remove(0), Mono::ZERO).checks,
        );
        (service.model.checks, service.checks) = (checks, states);
    });
    assert_eq!(unheard.ended, [], "no check has answered yet");
}
