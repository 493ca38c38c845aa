//! Random overlapping faults on real clusters, each a run of its own: `make test-chaos`.
//!
//! A seed decides the cluster, the faults and their moments. The judge asks the servers, HAProxy and the writers, and holds what the
//! engine says against that.

mod support;

#[path = "sim/dice.rs"]
mod dice;
#[path = "chaos/judge.rs"]
mod judge;
#[path = "chaos/plan.rs"]
mod plan;
#[path = "chaos/reason.rs"]
mod reason;
#[path = "chaos/rest.rs"]
mod rest;
#[path = "chaos/run.rs"]
mod run;
#[path = "chaos/watch.rs"]
mod watch;
#[path = "chaos/world.rs"]
mod world;

#[test]
fn two_clusters_whose_primary_is_killed_break_nothing() {
    let broken = run::two().unwrap();
    assert!(broken.is_none_or(|broken| broken.is_empty()), "the logs are in target/chaos");
}

#[test]
#[ignore = "hours; `make test-chaos`"]
fn no_overlap_of_faults_breaks_what_must_hold() {
    let broken = run::all().unwrap();
    assert!(broken.is_empty(), "seeds that broke something: {broken:?}");
}
