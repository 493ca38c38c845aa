//! Many services that fail together: some are failed over, and a person is asked once about all the others.

use crate::world::{application, ms, trigger};
use failover_core::Core;
use failover_core::event::{Event, EventKind, Severity};
use failover_core::id::{ServerId, ServiceId};
use failover_core::input::{Command, Facts, Input, SelfHealth};
use failover_core::model::{Model, ServiceModel, TriggerModel};
use failover_core::observation::{DownCause, Finding, Verdict};
use failover_core::output::{Action, Output, Report};
use failover_core::sample::RouteInstance;
use failover_core::time::{Mono, Span};

fn service(number: usize) -> ServiceModel {
    let service = application(format!("web{number}"), vec![format!("a{number}"), format!("b{number}")]);
    ServiceModel { trigger: TriggerModel { cooldown: Span::ZERO, ..trigger() }, ..service }
}

struct World {
    core: Core,
    now: Mono,
    /// Of each service: its first server answers as it should.
    well: Vec<bool>,
    inputs: Vec<Input>,
    events: Vec<Event>,
    facts: Vec<Facts>,
}

impl World {
    fn new(services: usize, most: Option<u32>, facts: Vec<Facts>) -> World {
        let services = (1..=services).map(service).collect::<Vec<_>>();
        let well = vec![true; services.len()];
        let known = vec![Facts::default(); services.len()];
        let core = Core::new(Model { seed: 1, services, max_concurrent_failovers: most });
        let restored = facts
            .into_iter()
            .enumerate()
            .map(|(at, facts)| Input::Restored { service: ServiceId(u16::try_from(at).unwrap()), facts: Box::new(facts) });
        let health = Input::SelfHealth(SelfHealth { workers: 4, journal_writable: true, ..SelfHealth::default() });
        let inputs = restored.chain([health]).collect();
        let mut world = World { core, now: Mono::ZERO, well, inputs, events: Vec::new(), facts: known };
        world.run(ms(5_000));
        world.events.clear();
        world
    }

    fn run(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            for input in std::mem::take(&mut self.inputs) {
                for output in self.core.step(self.now, input) {
                    self.take(output);
                }
            }
            if self.inputs.is_empty() {
                self.now = self.core.next_deadline().min(end);
                self.inputs.push(Input::Tick);
            } else {
                self.now = self.now + ms(1);
            }
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::RunCheck { run, service, check, .. } => {
                let fails = check.0 == 0 && !self.well[usize::from(service.0)];
                let verdict = if fails { Verdict::Down(DownCause::Refused) } else { Verdict::Up };
                let finding = Finding { verdict, message: String::new(), began: self.now, latency: ms(1), sample: None };
                self.inputs.push(Input::CheckFinished { run, finding });
            }
            Output::RunAction { id, action, .. } => {
                let report = match action {
                    Action::VerifyService { .. } => Report::Traffic { message: "it answers".into() },
                    _ => Report::Route(vec![RouteInstance { name: "lb".into(), result: Ok("done".into()) }]),
                };
                self.inputs.push(Input::ActionFinished { action: id, outcome: Ok(report) });
            }
            Output::Journal(failover_core::output::Record::Facts { service, durable }) => {
                self.facts[usize::from(service.0)].durable = *durable;
            }
            Output::Emit(event) => self.events.push(event),
            _ => {}
        }
    }

    fn operator(&mut self, service: Option<usize>, command: Command) {
        let service = service.map(|at| ServiceId(u16::try_from(at).unwrap()));
        self.inputs.push(Input::Operator { service, command, token: 1 });
        self.run(ms(200));
    }

    /// The services whose second server has the traffic, by number.
    fn moved(&self) -> Vec<usize> {
        let services = self.core.snapshot().services;
        let moved = services.iter().enumerate().filter(|(_, service)| service.primary == Some(ServerId(1)));
        moved.map(|(at, _)| at).collect()
    }

    fn held(&self) -> Vec<usize> {
        let services = self.core.snapshot().services;
        services.iter().enumerate().filter(|(_, service)| service.held).map(|(at, _)| at).collect()
    }

    fn alarms(&self) -> usize {
        let is_one = |event: &&Event| event.kind == EventKind::AwaitingConfirmation && event.severity == Severity::Alarm;
        self.events.iter().filter(is_one).count()
    }
}

#[test]
fn beyond_the_limit_a_person_is_asked_once_for_all_and_answers_for_one_or_all() {
    let mut world = World::new(5, Some(2), Vec::new());
    world.well.fill(false);
    world.run(ms(600_000));
    let (moved, held) = (world.moved(), world.held());
    assert_eq!((moved.len(), held.len(), world.alarms()), (2, 3, 1), "however long it takes");
    let refused = |event: &Event| event.kind == EventKind::FailoverRefused && event.severity == Severity::Alarm;
    assert!(!world.events.iter().any(refused), "the one alarm is for all");
    let [one, other, last] = held[..] else { panic!("{held:?}") };
    let waiting = &world.core.snapshot().services[one];
    assert_eq!(waiting.refusal.as_ref().unwrap().name(), "too_many_at_once");
    world.operator(Some(one), Command::Confirm);
    assert!(world.moved().contains(&one) && world.held() == [other, last], "{:?}", world.moved());
    world.operator(Some(moved[0]), Command::Confirm);
    assert_eq!(world.held(), [other, last], "that one does not wait");
    // It answers again: there is nothing to be said any more.
    world.well[other] = true;
    world.run(ms(5_000));
    assert_eq!(world.held(), [last]);
    world.operator(None, Command::Confirm);
    assert!(world.moved().len() == 4 && world.held().is_empty() && world.alarms() == 1, "{:?}", world.moved());
    // The next failure is another one.
    world.run(ms(60_000));
    world.well[other] = false;
    world.run(ms(5_000));
    assert!(world.moved().len() == 5 && world.held().is_empty(), "{:?}", world.moved());
}

#[test]
fn without_a_limit_all_are_failed_over_and_an_order_passes_one() {
    let mut world = World::new(5, None, Vec::new());
    world.well.fill(false);
    world.run(ms(10_000));
    assert_eq!((world.moved(), world.alarms()), (vec![0, 1, 2, 3, 4], 0));

    let mut world = World::new(3, Some(1), Vec::new());
    world.well[0] = false;
    world.run(ms(5_000));
    assert_eq!(world.moved(), [0]);
    let forecast = world.core.snapshot().services[1].forecast.outcome.clone();
    assert_eq!(forecast.unwrap_err()[0].name(), "too_many_at_once", "said beforehand");
    world.operator(Some(1), Command::Force { to: None, accept_loss: None });
    assert_eq!(world.moved(), [0, 1]);
    // An order is none of those that are counted, and a minute later the number has fallen.
    world.run(ms(60_000));
    assert!(world.core.snapshot().services[2].forecast.outcome.is_ok());
    world.well[2] = false;
    world.run(ms(5_000));
    assert_eq!((world.moved(), world.alarms()), (vec![0, 1, 2], 0));
}

#[test]
fn another_engine_counts_the_failovers_of_the_one_before() {
    let mut world = World::new(3, Some(1), Vec::new());
    world.well[0] = false;
    world.run(ms(5_000));
    assert_eq!(world.moved(), [0]);
    let aged = |facts: &Facts| Facts { durable: facts.durable.clone().aged(ms(2_000)), ..facts.clone() };
    let mut next = World::new(3, Some(1), world.facts.iter().map(aged).collect());
    next.well[1] = false;
    next.run(ms(5_000));
    assert_eq!((next.moved(), next.held(), next.alarms()), (vec![0], vec![1], 1));
}
