//! What one `Core::step` costs with 16 services of a pair each: 32 servers. Prints numbers, asserts nothing.

#[path = "../tests/sim/world.rs"]
mod world;

use std::hint::black_box;
use std::time::Instant;

use failover_core::Core;
use failover_core::id::{RunId, ServerId, ServiceId};
use failover_core::input::Input;
use failover_core::observation::{Finding, Verdict};
use failover_core::output::Output;
use failover_core::time::{Mono, Span};

fn main() {
    let mut model = world::model(2);
    let one = model.services.remove(0);
    model.services = (0..16).map(|n| failover_core::model::ServiceModel { name: format!("service{n}"), ..one.clone() }).collect();
    let mut core = Core::new(model);
    let mut now = Mono::ZERO;
    let mut runs: Vec<RunId> = Vec::new();
    for output in core.step(now, Input::Tick) {
        if let Output::RunCheck { run, .. } = output {
            runs.push(run);
        }
    }
    let up =
        |began| Finding { verdict: Verdict::Up, message: "1 row".into(), began, latency: Span::from_millis(2), sample: None };
    let mut spent: Vec<u64> = Vec::with_capacity(200_000);
    while spent.len() < 200_000 {
        now = now + Span::from_millis(2);
        let input = if let Some(run) = runs.pop() { Input::CheckFinished { run, finding: up(now) } } else { Input::Tick };
        let began = Instant::now();
        let outputs = black_box(core.step(now, input));
        spent.push(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        for output in outputs {
            match output {
                Output::RunCheck { run, .. } => runs.push(run),
                Output::OpenSession { run, .. } => drop(black_box(core.step(now, Input::SessionOpened { run }))),
                _ => {}
            }
        }
        black_box((ServiceId(0), ServerId(0)));
    }
    spent.sort_unstable();
    let at = |part: usize| spent[spent.len() * part / 1000];
    println!("Core::step, 32 servers: median {} ns, p99 {} ns, p99.9 {} ns (aim: below 10000 ns)", at(500), at(990), at(999));
}
