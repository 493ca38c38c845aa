//! A procedure that only the tests have, of the long sort: a standby is copied anew. It takes hours or a moment, says how far it is, goes
//! on beside a failover, and outlives the engine.

use serde::{Deserialize, Serialize};

use super::course::Course;
use super::drive::compensated;
use super::{Compensation, Next, OnStop, Outcome, Phase, Procedure, Step, Table, When, nothing};
use crate::Core;
use crate::effects::Effects;
use crate::id::{ActionId, ServerId, ServiceId};
use crate::input::{Command, Facts, Input};
use crate::kind::ServiceKind;
use crate::kind::tests::model;
use crate::observation::{DownCause, Finding, Verdict};
use crate::output::{Action, Failure, Output, Record, Report};
use crate::plan::End;
use crate::sample::{Lsn, RouteInstance};
use crate::service::Service;
use crate::time::{Mono, Span};

/// A standby that is copied anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copying {
    course: Course<Stage>,
    server: ServerId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    Empty,
    Copy,
    Start,
    Restore,
    Over,
}

/// What the next engine has to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    server: ServerId,
    stage: Stage,
}

impl Phase for Stage {
    const OVER: Stage = Stage::Over;
}

const PATIENCE: Span = Span::from_millis(60_000);
const LOOK_AGAIN: Span = Span::from_millis(10_000);

static TABLE: Table<Copying> = Table {
    steps: &[
        Step {
            phase: Stage::Empty,
            when: When::Always,
            action: |_, run| Some((Action::RouteOut { server: run.server }, PATIENCE)),
            outcome: emptied,
            without: nothing,
            pause: PATIENCE,
            undone_by: Some(Compensation {
                phase: Stage::Restore,
                owed: |_| true,
                action: |_, run| Some((Action::RouteRestore { server: run.server }, PATIENCE)),
                outcome: compensated,
            }),
        },
        Step {
            phase: Stage::Copy,
            when: When::Always,
            action: |_, run| Some((Action::ReadRole { server: run.server }, PATIENCE)),
            outcome: copied,
            without: nothing,
            pause: PATIENCE,
            undone_by: None,
        },
        Step {
            phase: Stage::Start,
            when: When::Always,
            action: |_, run| Some((Action::Checkpoint { server: run.server }, PATIENCE)),
            outcome: started,
            without: nothing,
            pause: PATIENCE,
            undone_by: None,
        },
    ],
    no_return: None,
    goes_on: None,
    on_stop: OnStop::LeftToTheNext,
};

fn emptied(service: &mut Service, run: &mut Copying, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(_) => {
            run.remember(Stage::Copy, service, fx);
            Next::Onward
        }
        Err(failure) => Next::Undo(failure.message),
    }
}

fn copied(_: &mut Service, run: &mut Copying, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    let Ok(Report::Written { flush: Lsn(done), .. }) = outcome else {
        return Next::Again(Stage::Copy, "how far it is cannot be read".to_owned());
    };
    run.course.progressed(done, 100, PATIENCE, fx.now);
    if done < 100 { Next::At(Stage::Copy, fx.now + LOOK_AGAIN) } else { Next::Onward }
}

fn started(_: &mut Service, _: &mut Copying, outcome: Outcome, _: &mut Effects) -> Next<Stage> {
    outcome.map_or_else(|failure| Next::Undo(failure.message), |_| Next::Onward)
}

impl Procedure for Copying {
    type Phase = Stage;

    fn slot(service: &mut Service) -> &mut Option<Copying> {
        &mut service.background.copying
    }

    fn course(&self) -> &Course<Stage> {
        &self.course
    }

    fn course_mut(&mut self) -> &mut Course<Stage> {
        &mut self.course
    }

    fn table(&self) -> &'static Table<Copying> {
        &TABLE
    }

    fn limit(&self, _: &Service) -> String {
        format!("the patience ({PATIENCE})")
    }

    fn ended(self, service: &mut Service, end: End, fx: &mut Effects) {
        service.durable.copied = None;
        service.background.copy_ended = Some(end);
        service.journal_facts(fx);
    }
}

impl Copying {
    fn new(server: ServerId, stage: Stage, service: &Service, now: Mono) -> Copying {
        Copying { course: Course::new(service.durable.generation, stage, PATIENCE, now), server }
    }

    fn remember(&self, stage: Stage, service: &mut Service, fx: &mut Effects) {
        service.durable.copied = Some(Copied { server: self.server, stage });
        service.journal_facts(fx);
    }

    /// One that an earlier engine began goes on where that one was.
    pub(crate) fn resume(service: &mut Service, fx: &Effects) {
        if let Some(Copied { server, stage }) = service.durable.copied {
            service.background.copying = Some(Copying::new(server, stage, service, fx.now));
        }
    }
}

/// Two servers and a standby that is copied; the first one's checks fail from `dies` on.
struct World {
    core: Core,
    now: Mono,
    inputs: Vec<Input>,
    dies: Mono,
    /// So much of the copy is there after each look.
    looks: Vec<u64>,
    steps: Vec<&'static str>,
    acted: Mono,
    facts: Option<Facts>,
    fails: Option<&'static str>,
}

impl World {
    fn new(looks: &[u64]) -> World {
        let core = Core::exhaustive(model(ServiceKind::Bare));
        let mut world = World {
            core,
            now: Mono::ZERO,
            inputs: vec![Input::Tick],
            dies: Mono::NEVER,
            looks: looks.iter().rev().copied().collect(),
            steps: Vec::new(),
            acted: Mono::ZERO,
            facts: None,
            fails: None,
        };
        world.until(Span::from_millis(10_000));
        world
    }

    fn begin(&mut self) {
        let now = self.now;
        let service = &mut self.core.services[0];
        service.background.copying = Some(Copying::new(ServerId(1), Stage::Empty, service, now));
        self.inputs.push(Input::Tick);
    }

    fn until(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            let input = self.inputs.pop().unwrap_or(Input::Tick);
            for output in self.core.step(self.now, input) {
                self.carry_out(output);
            }
            if self.inputs.is_empty() {
                self.now = self.core.next_deadline();
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::RunCheck { run, check, .. } => {
                let down = check.0 == 0 && self.now >= self.dies;
                let verdict = if down { Verdict::Down(DownCause::Refused) } else { Verdict::Up };
                let finding =
                    Finding { verdict, message: "as it is".to_owned(), began: self.now, latency: Span::ZERO, sample: None };
                self.inputs.push(Input::CheckFinished { run, finding });
            }
            Output::RunAction { id, action, .. } => self.act(id, &action),
            Output::Journal(Record::Facts { durable, .. }) => {
                self.facts = Some(Facts { durable: *durable, ..Facts::default() });
            }
            _ => {}
        }
    }

    fn act(&mut self, action: ActionId, wanted: &Action) {
        self.steps.push(wanted.name());
        self.acted = self.now;
        let outcome = match wanted {
            _ if self.fails == Some(wanted.name()) => Err(Failure::no_effect("it does not", "")),
            Action::ReadRole { .. } => {
                let Some(done) = self.looks.pop() else { return };
                Ok(Report::Written { flush: Lsn(done), commits: true, message: String::new() })
            }
            _ => Ok(Report::Route(vec![RouteInstance { name: "lb".to_owned(), result: Ok(String::new()) }])),
        };
        self.inputs.push(Input::ActionFinished { action, outcome });
    }

    fn ended(&self) -> Option<&End> {
        self.core.services[0].background.copy_ended.as_ref()
    }
}

#[test]
fn a_long_procedure_may_take_as_long_as_it_gets_on() {
    let mut world = World::new(&[10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    world.begin();
    world.until(Span::from_millis(80_000));
    assert!(world.ended().is_none(), "it is far beyond its patience, and gets on");
    let progress = world.core.services[0].background.copying.as_ref().and_then(|run| run.course.progress);
    assert!(progress.is_some_and(|(done, all)| done > 50 && all == 100), "{progress:?}");
    world.until(Span::from_millis(30_000));
    assert_eq!(world.ended(), Some(&End::Completed));
    assert_eq!(world.steps.iter().filter(|step| **step == "read_role").count(), 10);
}

#[test]
fn a_short_one_takes_a_moment() {
    let mut world = World::new(&[100]);
    let began = world.now;
    world.begin();
    world.until(Span::from_millis(1_000));
    assert_eq!(world.ended(), Some(&End::Completed));
    assert!(world.acted.since(began) < Span::from_millis(100));
}

#[test]
fn one_that_stands_still_ends_and_is_undone() {
    let mut world = World::new(&[10; 100]);
    world.begin();
    world.until(Span::from_millis(120_000));
    assert!(matches!(world.ended(), Some(End::Undone { why, left }) if why.contains("patience") && left.is_empty()));
    assert_eq!(world.steps.last(), Some(&"route_restore"));
}

#[test]
fn a_step_that_fails_is_undone() {
    let mut world = World::new(&[100]);
    world.fails = Some("checkpoint");
    world.begin();
    world.until(Span::from_millis(60_000));
    assert!(matches!(world.ended(), Some(End::Undone { why, .. }) if why == "it does not"));
    assert_eq!(world.steps, ["route_out", "read_role", "checkpoint", "route_restore"]);
}

#[test]
fn beside_it_the_primary_is_replaced_and_it_goes_on() {
    let mut world = World::new(&[10, 20, 30, 40, 50, 60, 100]);
    world.begin();
    world.until(Span::from_millis(15_000));
    world.dies = world.now;
    world.until(Span::from_millis(100_000));
    assert_eq!(world.core.snapshot().services[0].primary, Some(ServerId(1)));
    assert_eq!(world.ended(), Some(&End::Completed));
}

#[test]
fn the_next_engine_goes_on_where_it_was() {
    let mut world = World::new(&[10, 20]);
    world.begin();
    world.until(Span::from_millis(15_000));
    let facts = world.facts.take().expect("what is durable was written down");
    let mut next = World::new(&[60, 100]);
    next.inputs.push(Input::Restored { service: ServiceId(0), facts: Box::new(facts) });
    next.until(Span::from_millis(30_000));
    assert_eq!(next.ended(), Some(&End::Completed));
    assert_eq!(next.steps, ["read_role", "read_role", "checkpoint"], "nothing is begun a second time");
}

#[test]
fn a_stopping_engine_leaves_it_to_the_next_one() {
    let mut world = World::new(&[10, 20, 30, 40]);
    world.begin();
    world.until(Span::from_millis(15_000));
    world.inputs.push(Input::Operator { service: Some(ServiceId(0)), command: Command::Stop, token: 1 });
    world.until(Span::from_millis(30_000));
    let service = &world.core.services[0];
    assert!(service.background.copying.is_none() && service.durable.copied.is_some(), "and nothing is undone");
    assert!(world.ended().is_none() && !world.steps.contains(&"route_restore"));
}
