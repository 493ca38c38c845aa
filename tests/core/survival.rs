//! What an engine remembers of every change of the primary, so that it can be said later whether a commit survived.

use crate::world::{Mode, World, model, ms};
use failover_core::id::{ServerId, ServiceId};
use failover_core::observation::CloseCause;
use failover_core::sample::{LocalAnswer, ProcessState};
use failover_core::survival::Fork;

fn warm() -> World {
    let mut world = World::new(model(3));
    world.run(ms(2_500));
    world.survey();
    world.run(ms(500));
    world
}

fn kill(world: &mut World, node: usize) {
    world.nodes[node].mode = Mode::Refused;
    world.nodes[node].host = Some((ProcessState::Gone, LocalAnswer::Silent));
    world.close(node, CloseCause::DeathHint, "FATAL 57P01 secure_read");
}

fn forks(world: &World) -> Vec<Fork> {
    world.core.survival(ServiceId(0)).forks
}

/// Rule 238: what the promotion showed is remembered, by the next engine too.
#[test]
fn a_promotion_is_remembered_with_what_it_showed() {
    let mut world = warm();
    assert_eq!(forks(&world), []);
    kill(&mut world, 0);
    world.run(ms(5_000));
    let known = world.core.survival(ServiceId(0));
    let [Fork { from: 1, to: 2, seen: Some(seen) }] = known.forks[..] else { panic!("{known:?}\n{}", world.trace.join("\n")) };
    assert!(seen.at.is_some() && seen.next_before.is_some() && seen.next_before <= seen.next_after, "{seen:?}");
    assert_ne!(known.primary, Some(ServerId(0)));
    world.kill_engine();
    world.start_engine();
    world.run(ms(1_000));
    assert_eq!(forks(&world), known.forks);
}

/// Rule 238: a server that somebody else promoted may have left any timeline.
#[test]
fn a_promotion_by_another_hand_is_remembered_as_unseen() {
    let mut world = warm();
    world.nodes[0].mode = Mode::Unknown;
    world.run(ms(3_000));
    let now = world.now;
    let fork = world.nodes[1].lsn;
    let node = &mut world.nodes[1];
    (node.writable, node.started, node.timeline, node.fork) = (true, Some(now), 2, Some(fork));
    world.run(ms(3_000));
    let known = world.core.survival(ServiceId(0));
    assert_eq!(known.primary, Some(ServerId(1)), "{}", world.trace.join("\n"));
    assert_eq!(known.forks, [Fork { from: 1, to: 2, seen: None }]);
}

/// While a failover is in progress nobody can be asked.
#[test]
fn a_failover_in_progress_is_said() {
    let mut world = warm();
    assert!(!world.core.survival(ServiceId(0)).changing);
    world.failing.insert("fence".into(), failover_core::output::Failure::unknown("no answer", ""));
    kill(&mut world, 0);
    world.run(ms(500));
    assert!(world.core.survival(ServiceId(0)).changing, "{}", world.trace.join("\n"));
}
