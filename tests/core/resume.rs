//! The engine dies before each record and each action of a failover in turn; another one on the same journal takes it up.

use crate::world::{Mode, World, model, ms};
use failover_core::event::EventKind;
use failover_core::input::{Command, SelfHealth};
use failover_core::observation::CloseCause;
use failover_core::output::Action;
use failover_core::sample::{LocalAnswer, ProcessState};
use failover_core::stats::{Need, Stats};
use failover_core::switchover::SwitchoverOrder;
use failover_core::trigger::State;

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
            // The others do not follow it, so that nobody could take over.
            let well = matches!(state(&world), State::FailedOver | State::Normal | State::Degraded);
            assert!(well, "{n}, {m}: {:?}\n{story}", state(&world));
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

fn stats(world: &World) -> Stats {
    world.core.snapshot().services[0].stats.clone()
}

fn hang(world: &mut World, host: ProcessState) {
    world.nodes[0].mode = Mode::Silent;
    world.nodes[0].host = Some((host, LocalAnswer::Silent));
}

/// The engine is killed when the step is about to begin, and another one ends the failover.
fn dies_before(world: &mut World, action: &str) {
    let before = |world: &World| world.actions.iter().filter(|done| done.name() == action).count();
    let so_far = before(world);
    while before(world) == so_far {
        assert!(world.run_until(EventKind::StepStarted, ms(20_000)), "{}", world.trace.join("\n"));
        world.run(ms(1));
    }
    world.kill_engine();
    world.start_engine();
    world.run(ms(1_000));
    world.survey();
    world.run(ms(30_000));
    assert_eq!(state(world), State::FailedOver, "{}", world.trace.join("\n"));
}

#[test]
fn a_failover_is_counted_once_and_judged_wherever_the_engine_died() {
    let mut taken_up = 0;
    for n in 0..length() {
        let world = with_a_death(n, |_| {});
        let story = world.trace.join("\n");
        if state(&world) != State::FailedOver {
            continue;
        }
        taken_up += usize::from(story.contains("failover_resumed"));
        let stats = stats(&world);
        assert_eq!((stats.detect.count, stats.repair.count), (1, 1), "{n}: {stats:#?}\n{story}");
        assert_eq!((stats.completed, stats.success(), stats.false_positive()), (1, (1, 1), (0, 1)), "{n}: {stats:#?}\n{story}");
        assert_eq!((stats.justified, stats.unjudged), (1, 0), "{n}: {stats:#?}\n{story}");
        let why = stats.last.map(|last| last.judgement.why).unwrap_or_default();
        assert_eq!(why, "its host said that its postmaster was gone", "{n}\n{story}");
    }
    assert!(taken_up > 10, "{taken_up}");
}

#[test]
fn what_the_fence_of_an_earlier_engine_did_says_nothing_about_the_need() {
    for step in ["read_positions", "promote"] {
        let mut world = warm();
        // Nobody knows whether it serves; after the fence its process is gone.
        hang(&mut world, ProcessState::Uninterruptible);
        dies_before(&mut world, step);
        let (stats, story) = (stats(&world), world.trace.join("\n"));
        assert_eq!((stats.detect.count, stats.repair.count, stats.completed), (1, 1, 1), "{step}: {stats:#?}\n{story}");
        assert_eq!((stats.unjudged, stats.justified), (1, 0), "{step}: {stats:#?}\n{story}");
    }
}

#[test]
fn what_an_operator_forced_stays_forced() {
    for (step, accept_loss) in [("promote", None), ("promote", Some(1 << 20))] {
        let mut world = warm();
        // Where no standby receives the end of the log, a loss has to be accepted.
        world.deaf.extend([1, 2].into_iter().filter(|_| accept_loss.is_some()));
        world.command(match accept_loss {
            None => Command::Switchover { to: None, order: SwitchoverOrder::Begin },
            accept_loss => Command::Force { to: None, accept_loss },
        });
        dies_before(&mut world, step);
        let (stats, story) = (stats(&world), world.trace.join("\n"));
        // A switchover is planned work; an order that accepts a loss is forced.
        let (planned, forced) = (u64::from(accept_loss.is_none()), u64::from(accept_loss.is_some()));
        let counted = (stats.planned, stats.planned_completed, stats.forced, stats.forced_completed, stats.completed);
        assert_eq!(counted, (planned, planned, forced, forced, 1), "{step}: {stats:#?}\n{story}");
        assert_eq!((stats.detect.count, stats.repair.count), (0, 0), "{step}: {stats:#?}\n{story}");
        assert_eq!((stats.success(), stats.false_positive()), ((0, 0), (0, 0)), "{step}: {stats:#?}\n{story}");
        assert_eq!(
            stats.last.map(|last| last.judgement.need),
            Some(if accept_loss.is_none() { Need::Planned } else { Need::Forced }),
            "{step}\n{story}"
        );
    }
}

#[test]
fn a_primary_that_comes_back_as_it_was_is_a_false_positive_of_whoever_ended_the_failover() {
    for step in ["read_positions", "promote"] {
        let mut exclusive = model(3);
        exclusive.services[0].route.exclusive = true;
        exclusive.services[0].servers.iter_mut().for_each(|server| server.ssh = false);
        let mut world = World::new(exclusive);
        world.run(ms(3_000));
        // Cut off from us alone, with its process left alone.
        world.nodes[0].mode = Mode::Silent;
        world.nodes[0].host = None;
        dies_before(&mut world, step);
        assert_eq!((stats(&world).detect.count, stats(&world).unjudged), (1, 1), "{step}\n{}", world.trace.join("\n"));
        world.nodes[0].lsn += 50_000_000;
        world.nodes[0].writable = true;
        world.nodes[0].mode = Mode::Up;
        world.run(ms(5_000));
        let (stats, story) = (stats(&world), world.trace.join("\n"));
        assert_eq!((stats.false_positives, stats.unjudged), (1, 0), "{step}: {stats:#?}\n{story}");
    }
}

#[test]
fn what_became_known_while_nothing_could_be_written_is_written_as_soon_as_it_can_be() {
    let mut world = warm();
    let before = world.journal.clone();
    world.self_health(SelfHealth { journal_writable: false, ..SelfHealth::default() });
    world.command(Command::pause());
    // It reached no disk.
    world.journal = before;
    world.self_health(SelfHealth { journal_writable: true, ..SelfHealth::default() });
    world.kill_engine();
    world.start_engine();
    assert!(world.core.snapshot().services[0].paused);
}

#[test]
fn no_force_promotes_a_standby_of_another_cluster_also_where_only_the_journal_knows_the_cluster() {
    let mut powered = model(3);
    powered.services[0].servers.iter_mut().for_each(|server| server.fence_command = true);
    let mut world = World::new(powered);
    world.run(ms(2_500));
    world.kill_engine();
    kill(&mut world);
    world.start_engine();
    for node in &mut world.nodes[1..] {
        node.system_id = 99;
    }
    world.run(ms(2_500));
    world.command(Command::Force { to: None, accept_loss: Some(u64::MAX) });
    world.run(ms(20_000));
    assert!(promoted(&world).is_empty(), "{}", world.trace.join("\n"));
    assert_eq!(state(&world), State::Failing);
}

/// As [`with_a_death`], and only the old primary's disk has the end of its log.
fn with_a_tail(n: usize) -> World {
    let mut world = warm();
    for node in &mut world.nodes {
        node.spool = Some(true);
        node.streaming = false;
    }
    world.run(ms(300));
    world.dies_at = Some(world.deeds + n);
    kill(&mut world);
    world.run(ms(5_000));
    if world.dead {
        world.start_engine();
        world.run(ms(30_000));
    }
    world
}

#[test]
fn rule_188_what_only_the_old_disk_has_is_carried_over_wherever_the_engine_died() {
    let (mut died, mut in_one, mut carried_before) = (0, 0, 0);
    for n in 0..60 {
        let world = with_a_tail(n);
        let story = world.trace.join("\n");
        if story.split("the engine dies").next().is_some_and(|before| before.contains("failover_completed")) {
            break;
        }
        died += usize::from(story.contains("begun by an earlier engine"));
        if world.journal.begun.is_none() && promoted(&world).is_empty() {
            continue;
        }
        assert_eq!(state(&world), State::FailedOver, "{n}\n{story}");
        let [first, rest @ ..] = &promoted(&world)[..] else { panic!("{n}: nobody is promoted\n{story}") };
        assert!(rest.iter().all(|server| server == first), "{n}\n{story}");
        let (old, new) = (&world.nodes[0], &world.nodes[usize::from(*first)]);
        assert!(new.lsn >= old.lsn, "{n}: {} of {}\n{story}", new.lsn, old.lsn);
        let record = world.events.iter().rev().find(|event| event.kind == EventKind::FailoverCompleted).expect("a record");
        let word = record.fields.iter().find(|(name, _)| *name == "salvage").map(|(_, word)| word.clone());
        let text = |word: &str| Some(failover_core::event::Field::Text(word.to_owned()));
        // One that goes on behind the promotion has it from the journal; one that begins afresh finds nothing missing.
        assert!([text("all"), text("nothing_missing")].contains(&word), "{n}: {word:?}\n{story}");
        in_one += usize::from(word == text("all"));
        carried_before += usize::from(word == text("nothing_missing"));
    }
    assert!(died > 15 && in_one > 10 && carried_before > 2, "{died} {in_one} {carried_before}");
}

/// A switchover in which the engine dies before deed `n`, and another one takes over; the standbys hear the end of the log or not.
fn with_a_death_by_order(n: usize, deaf: bool) -> World {
    let mut world = warm();
    world.deaf.extend([1, 2].into_iter().filter(|_| deaf));
    world.dies_at = Some(world.deeds + n);
    world.command(Command::Switchover { to: None, order: SwitchoverOrder::Begin });
    world.run(ms(5_000));
    if world.dead {
        world.start_engine();
        world.run(ms(1_000));
        world.survey();
        world.run(ms(30_000));
    }
    world
}

#[test]
fn an_order_is_carried_out_or_taken_back_wherever_the_engine_died() {
    let (mut carried_out, mut taken_back) = (0, 0);
    for (n, deaf) in (0..40).flat_map(|n| [(n, false), (n, true)]) {
        let world = with_a_death_by_order(n, deaf);
        let story = world.trace.join("\n");
        let serving: Vec<usize> = (0..3).filter(|at| world.nodes[*at].writable && world.nodes[*at].mode == Mode::Up).collect();
        let promotions = promoted(&world);
        if let Some(first) = promotions.first() {
            assert!(!deaf && promotions.iter().all(|server| server == first), "{n} {deaf}: {promotions:?}\n{story}");
            assert_eq!(serving, [usize::from(*first)], "{n} {deaf}\n{story}");
            assert!(matches!(state(&world), State::FailedOver | State::Normal | State::Degraded), "{n} {deaf}\n{story}");
            carried_out += 1;
        } else {
            assert_eq!((serving, state(&world)), (vec![0], State::Normal), "{n} {deaf}\n{story}");
            let of = |name: &str| world.actions.iter().rposition(|action| action.name() == name);
            assert!(of("route_out") < of("route_restore") || of("route_out").is_none(), "{n} {deaf}\n{story}");
            taken_back += 1;
        }
    }
    assert!(carried_out > 10 && taken_back > 40, "{carried_out} {taken_back}");
}
