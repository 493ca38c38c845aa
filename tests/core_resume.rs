//! The engine dies before each record and each action of a failover in turn; another one on the same journal takes it up.

#[path = "sim/world.rs"]
mod world;

use failover::core::event::EventKind;
use failover::core::observation::CloseCause;
use failover::core::output::Action;
use failover::core::sample::{LocalAnswer, ProcessState};
use failover::core::trigger::State;
use world::{Mode, World, model, ms};

fn warm() -> World {
    let mut world = World::new(model(3));
    world.run(ms(2_500));
    world.survey();
    world.run(ms(500));
    world
}

fn kill(world: &mut World) {
    world.nodes[0].mode = Mode::Refused;
    world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
    for node in &mut world.nodes {
        node.streaming = false;
    }
    world.close(0, CloseCause::DeathHint, "FATAL 57P01");
}

fn revive(world: &mut World) {
    world.nodes[0].mode = Mode::Up;
    world.nodes[0].host = Some((ProcessState::Running, LocalAnswer::Accepting));
}

fn state(world: &World) -> State {
    world.core.snapshot().services[0].state
}

fn promoted(world: &World) -> Vec<u16> {
    let of = |action: &Action| match action {
        Action::Promote { server, .. } => Some(server.0),
        _ => None,
    };
    world.actions.iter().filter_map(of).collect()
}

/// How many records and actions a failover without a death has.
fn length() -> usize {
    let mut world = warm();
    let before = world.deeds;
    kill(&mut world);
    assert!(world.run_until(EventKind::FailoverCompleted, ms(10_000)), "{}", world.trace.join("\n"));
    world.deeds - before
}

/// Kills the engine before its `n`-th deed and lets `meanwhile` happen before another one is started.
fn with_a_death(n: usize, meanwhile: impl Fn(&mut World)) -> World {
    let mut world = warm();
    world.dies_at = Some(world.deeds + n);
    kill(&mut world);
    world.run(ms(5_000));
    assert!(world.dead, "the engine lived on at {n}");
    meanwhile(&mut world);
    world.start_engine();
    world.run(ms(30_000));
    world
}

#[test]
fn a_failover_is_finished_wherever_the_engine_died() {
    let length = length();
    assert!(length > 15, "{length}");
    for n in 0..length {
        let world = with_a_death(n, |_| {});
        let story = world.trace.join("\n");
        let writable: Vec<usize> = (0..3).filter(|at| world.nodes[*at].writable && world.nodes[*at].mode == Mode::Up).collect();
        if world.journal.begun.is_none() && promoted(&world).is_empty() {
            // It died before it had promised anything: nothing is known of a primary that lived (no_primary_seen).
            assert_eq!(state(&world), State::Failing, "{n}\n{story}");
            assert!(story.contains("no_primary_seen") || story.contains("no primary was seen"), "{n}\n{story}");
            continue;
        }
        assert_eq!(state(&world), State::FailedOver, "{n}\n{story}");
        let promotions = promoted(&world);
        assert!(promotions.iter().all(|server| *server == promotions[0]), "{n}: {promotions:?}\n{story}");
        assert_eq!(writable, [usize::from(promotions[0])], "{n}\n{story}");
    }
}

#[test]
fn what_was_changed_is_undone_where_the_primary_lives_again() {
    for n in 0..length() {
        let world = with_a_death(n, |world| {
            if promoted(world).is_empty() {
                revive(world);
                for node in &mut world.nodes[1..] {
                    node.streaming = true;
                }
            }
        });
        let story = world.trace.join("\n");
        if promoted(&world).is_empty() {
            assert_eq!(state(&world), State::Normal, "{n}\n{story}");
            let undone = |name: &str, by: &str| {
                let at = |name: &str| world.actions.iter().rposition(|action| action.name() == name);
                assert!(at(name).is_none_or(|done| at(by).is_some_and(|undone| undone > done)), "{n}: {name}\n{story}");
            };
            undone("route_out", "route_restore");
            undone("fence", "fence_undo");
        } else {
            assert_eq!(state(&world), State::FailedOver, "{n}\n{story}");
        }
    }
}

#[test]
fn a_second_death_changes_nothing() {
    let length = length();
    for n in (0..length).step_by(2) {
        for m in (0..length).step_by(3) {
            let mut world = with_a_death(n, |_| {});
            if promoted(&world).is_empty() {
                continue;
            }
            // The same again, with the second engine dying too.
            world = warm();
            world.dies_at = Some(world.deeds + n);
            kill(&mut world);
            world.run(ms(5_000));
            let first = world.deeds;
            world.start_engine_dying_at(first + m);
            world.run(ms(10_000));
            if world.dead {
                world.start_engine();
                world.run(ms(30_000));
            }
            let story = world.trace.join("\n");
            let promotions = promoted(&world);
            assert!(promotions.iter().all(|server| *server == promotions[0]), "{n}, {m}: {promotions:?}\n{story}");
            assert!(matches!(state(&world), State::FailedOver | State::Normal), "{n}, {m}: {:?}\n{story}", state(&world));
        }
    }
}

#[test]
fn what_had_begun_does_not_wait_for_the_cooldown() {
    let mut world = warm();
    // The route is changed, the fence is about to begin.
    world.dies_at = Some(world.deeds + 8);
    kill(&mut world);
    world.run(ms(5_000));
    assert!(world.dead && promoted(&world).is_empty(), "{}", world.trace.join("\n"));
    // An operator had forced it shortly after another one.
    world.last_failover_age = Some(ms(10_000));
    world.start_engine();
    world.run(ms(30_000));
    assert_eq!(state(&world), State::FailedOver, "{}", world.trace.join("\n"));
}
