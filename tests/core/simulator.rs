//! The simulator: the real core in a world that lies, loses and breaks as a seed says. Each seed runs twice and has to say the same.
//!
//! `SEEDS=100000` for more, `FIRST=1` for another beginning, `SEED=7` for one with its trace. `make test` and `make test-long` run it
//! optimised (`scripts/simulate.sh`).

#![allow(clippy::too_many_lines, reason = "a table, or one story told from its beginning to its end")]

#[path = "../sim/cluster.rs"]
mod cluster;
#[path = "../sim/coverage.rs"]
mod coverage;
#[path = "../sim/dice.rs"]
mod dice;
#[path = "../sim/followers.rs"]
mod followers;
#[path = "../sim/invariants.rs"]
mod invariants;
#[path = "../sim/meetings.rs"]
mod meetings;
#[path = "../sim/pairs.rs"]
mod pairs;
#[path = "../sim/plots.rs"]
mod plots;
#[path = "../sim/rare.rs"]
mod rare;
#[path = "../sim/replication.rs"]
mod replication;
#[path = "../sim/run.rs"]
mod run;
#[path = "../sim/salvage.rs"]
mod salvage;
#[path = "../sim/settings.rs"]
mod settings;
#[path = "../sim/swarm.rs"]
mod swarm;
#[path = "../sim/sweep.rs"]
mod sweep;
#[path = "../sim/sync_sets.rs"]
mod sync_sets;
#[path = "../sim/tally.rs"]
mod tally;
#[path = "../sim/view.rs"]
mod view;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use coverage::Coverage;
use meetings::Meetings;
use tally::Tally;

/// So many seeds reach everything that can be reached.
const ENOUGH: u64 = 2_000;

/// The premise of each invariant is true in at least one run of so many.
const ONE_IN: u64 = 100;

/// In so many every pair of faults has met.
const ALL_MEET: u64 = 10_000;

/// So many primaries die in them at least, with a failover foretold, and as many without.
const DEATHS: u64 = 1_000;

/// For `cargo test`, which does not optimise.
const FEW: u64 = 40;

/// Seeds that failed once; each line begins with one.
const REGRESSIONS: &str = include_str!("../sim/regressions.txt");

fn regressions() -> impl Iterator<Item = u64> {
    regressions_before("the end of the file")
}

/// Those above a line of the file.
fn regressions_before(mark: &str) -> impl Iterator<Item = u64> {
    let lines = REGRESSIONS.lines().take_while(move |line| *line != mark).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()).map(|seed| seed.parse().expect("a seed"))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

#[derive(Default)]
struct Found {
    coverage: Coverage,
    steps: u64,
    promotions: u64,
    /// Primaries that died with a failover foretold, and without.
    promised: u64,
    unpromised: u64,
    meetings: Meetings,
    tally: Tally,
    failures: BTreeMap<u64, (&'static str, String)>,
}

fn one(seed: u64, found: &Mutex<Found>) -> bool {
    let first = run::run(seed, false);
    let broken = first.broken.clone().or_else(|| {
        let second = run::run(seed, false);
        let same = second.digest == first.digest && second.steps == first.steps;
        (!same).then(|| ("the_same_seed_says_the_same", format!("{} and {} steps", first.steps, second.steps)))
    });
    let mut found = found.lock().expect("no run panics here");
    found.coverage.merge(&first.coverage);
    found.meetings.merge(&first.meetings);
    found.tally.add(&first.exercised);
    found.steps += first.steps;
    found.promotions += first.promotions;
    found.promised += first.with_promise;
    found.unpromised += first.without_promise;
    let holds = broken.is_none();
    if let Some(broken) = broken {
        found.failures.insert(seed, broken);
    }
    holds
}

fn replay(seed: u64) {
    let outcome = run::run(seed, true);
    println!("{}", outcome.trace.join("\n"));
    if let Some((name, why)) = outcome.broken {
        panic!("seed {seed} breaks {name}: {why}");
    }
    println!("seed {seed} holds: {} steps, {} promotions", outcome.steps, outcome.promotions);
}

#[test]
fn whatever_happens_the_invariants_hold() {
    if let Some(seed) = setting("SEED") {
        return replay(seed);
    }
    let began = Instant::now();
    let count = setting("SEEDS").unwrap_or(FEW);
    let start = setting("FIRST").unwrap_or(1);
    // A core that panics is a finding, told once and with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let found = Mutex::new(Found::default());
    for seed in regressions() {
        one(seed, &found);
    }
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let keep_on = setting("ALL").is_some();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(8) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    if !one(start + at, &found) && !keep_on {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let found = found.into_inner().expect("no run panics here");
    let mut lines: Vec<String> =
        found.failures.iter().map(|(seed, (name, why))| format!("seed {seed} breaks {name}: {why}")).collect();
    if let Some((seed, _)) = found.failures.first_key_value() {
        let trace = run::run(*seed, true).trace;
        let tail = trace.iter().skip(trace.len().saturating_sub(60)).cloned().collect::<Vec<_>>().join("\n");
        lines.push(format!("the end of seed {seed}:\n{tail}\nreplay: SEED={seed} cargo test --test simulator -- --nocapture"));
    }
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    let reached = found.coverage.all().len();
    println!(
        "{count} seeds twice, {} steps, {} promotions, {} deaths with a promise and {} without, {reached} states, refusals, events and actions reached in {:.1} s",
        found.steps,
        found.promotions,
        found.promised,
        found.unpromised,
        began.elapsed().as_secs_f64()
    );
    println!("{}", found.meetings.summary());
    println!("{}", found.tally.table());
    let unlisted = found.tally.unlisted();
    assert!(unlisted.is_empty(), "not in the list of tests/sim/tally.rs: {}", unlisted.join(", "));
    let surprising = found.coverage.surprising();
    assert!(surprising.is_empty(), "reached, and not in the lists of tests/sim/coverage.rs: {}", surprising.join(", "));
    let deaths = found.promised.min(found.unpromised);
    assert!(count < ENOUGH || deaths >= DEATHS, "only {} deaths with a promise and {} without", found.promised, found.unpromised);
    let missing = found.coverage.missing();
    if count >= ENOUGH && !missing.is_empty() {
        println!("not reached: {}", missing.join(", "));
    }
    assert!(count < ALL_MEET || missing.is_empty(), "{count} seeds never reached: {}", missing.join(", "));
    let few = found.tally.below(count / ONE_IN);
    assert!(count < ENOUGH || few.is_empty(), "the premise was true too seldom: {}", few.join(", "));
    let apart = found.meetings.missing();
    assert!(count < ALL_MEET || apart.is_empty(), "{} pairs of faults never met: {}", apart.len(), apart.join(", "));
}
