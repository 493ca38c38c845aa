//! What one `Core::step` costs with few services and with many, all due, none paused: inputs are recorded from a fleet whose checks
//! answer, then a fresh core takes them again against the clock. Prints numbers, asserts nothing.

#![allow(clippy::too_many_lines, reason = "a table, or one story told from its beginning to its end")]

#[path = "../tests/sim/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use failover_core::Core;
use failover_core::id::{RunId, ServiceId};
use failover_core::input::Input;
use failover_core::model::{CheckKind, CheckModel, Model, ServiceModel};
use failover_core::observation::{DownCause, Finding, Verdict};
use failover_core::output::Output;
use failover_core::time::{Mono, Span};
use world::ms;

/// Inputs of one run.
const INPUTS: usize = 60_000;

/// Applications of three servers, each with one check a second.
fn applications(count: usize) -> Model {
    let check = |check| CheckModel { kind: CheckKind::Tcp, timeout: ms(500), ..check };
    let one = |number: usize| {
        let service = world::application(format!("service{number}"), (0..3).map(|place| format!("app{place}")).collect());
        ServiceModel { checks: service.checks.into_iter().map(check).collect(), ..service }
    };
    Model { max_concurrent_failovers: None, seed: 1, services: (0..count).map(one).collect() }
}

/// Pairs of PostgreSQL, whose sessions are kept open and say nothing.
fn pairs(count: usize) -> Model {
    let mut model = world::model(2);
    let one = model.services.remove(0);
    model.services = (0..count).map(|n| ServiceModel { name: format!("service{n}"), ..one.clone() }).collect();
    model
}

/// The inputs of a fleet from its start on, in the order of time. Every answer takes 2 ms; `silent`: of so many services one, a standby
/// does not answer.
fn record(model: &Model, silent: Option<u16>) -> Vec<(Mono, Input)> {
    let mut core = Core::new(model.clone());
    let mut inputs = vec![(Mono::ZERO, Input::Tick)];
    let mut coming: BTreeMap<(Mono, u64), Input> = BTreeMap::new();
    let mut at = 0;
    while at < inputs.len() && inputs.len() < INPUTS {
        let (now, input) = inputs[at].clone();
        at += 1;
        for output in core.step(now, input) {
            let (Output::RunCheck { run, .. } | Output::OpenSession { run, .. }) = &output else { continue };
            let (after, input) = answer(&output, now, *run, silent);
            coming.insert((now + after, run.0), input);
        }
        let next = core.next_deadline();
        match coming.first_key_value() {
            Some(((moment, _), _)) if *moment <= next => {
                if let Some(((moment, _), input)) = coming.pop_first() {
                    inputs.push((moment, input));
                }
            }
            _ => inputs.push((next, Input::Tick)),
        }
    }
    inputs
}

fn answer(output: &Output, began: Mono, run: RunId, silent: Option<u16>) -> (Span, Input) {
    let finding = |verdict, span| Finding { verdict, message: "1 row".into(), began, latency: span, sample: None };
    match output {
        Output::RunCheck { service: ServiceId(service), check, .. }
            if check.0 == 1 && silent.is_some_and(|one_of| service % one_of == 0) =>
        {
            (ms(500), Input::CheckFinished { run, finding: finding(Verdict::Down(DownCause::ConnectTimedOut), ms(500)) })
        }
        Output::OpenSession { .. } => (ms(2), Input::SessionOpened { run }),
        _ => (ms(2), Input::CheckFinished { run, finding: finding(Verdict::Up, ms(2)) }),
    }
}

/// Nanoseconds of each step, sorted, without those of the first three seconds.
fn measure(model: Model, inputs: &[(Mono, Input)]) -> Vec<u64> {
    let mut core = Core::new(model);
    let mut spent = Vec::with_capacity(inputs.len());
    for (now, input) in inputs.iter().cloned() {
        let began = Instant::now();
        let outputs = black_box(core.step(now, input));
        let took = began.elapsed();
        drop(outputs);
        if now > Mono::ZERO + ms(3_000) {
            spent.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    spent.sort_unstable();
    spent
}

fn main() {
    println!("Core::step by services, in µs (aim: p50 at most 3 at both)");
    println!("{:<44} {:>8} {:>8} {:>8} {:>8}", "", "p50", "p99", "p99.9", "max");
    type Fleet = fn(usize) -> Model;
    let kinds: [(&str, Fleet, Option<u16>); 3] = [
        ("applications, 3 checks a second", applications, None),
        ("the same, a standby of every tenth silent", applications, Some(10)),
        ("PostgreSQL pairs", pairs, None),
    ];
    for (name, fleet, silent) in kinds {
        for services in [10, 1_000] {
            let model = fleet(services);
            let inputs = record(&model, silent);
            let spent = measure(model, &inputs);
            let at = |part: usize| micros(spent.get(spent.len() * part / 1_000).copied().unwrap_or_default());
            let max = micros(spent.last().copied().unwrap_or_default());
            println!("{:<44} {:>8} {:>8} {:>8} {max:>8}", format!("{services} {name}"), at(500), at(990), at(999));
        }
    }
}

fn micros(nanos: u64) -> String {
    format!("{}.{}", nanos / 1_000, nanos % 1_000 / 100)
}
