//! Properties of `Core::step`: no input at any moment makes it panic, spin, promote twice or promote without a fence.

use crate::world::{Mode, World, model, ms};
use failover_core::event::EventKind;
use failover_core::input::{Command, SelfHealth};
use failover_core::observation::{CloseCause, Impairment};
use failover_core::output::{Action, Failure};
use failover_core::sample::{LocalAnswer, ProcessState};
use failover_core::time::Span;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Move {
    Run(u64),
    Sleep(u64),
    Mode(usize, Mode),
    Host(usize, u8),
    Close(usize, u8),
    Operator(u8),
    Fail(u8, u8),
    Heal,
    Health(u32, bool),
    Streaming(usize, bool),
    Route(bool),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let mode = prop_oneof![
        3 => Just(Mode::Up),
        3 => Just(Mode::Refused),
        2 => Just(Mode::Silent),
        1 => Just(Mode::Impaired(Impairment::Saturated)),
        1 => Just(Mode::Impaired(Impairment::Starting)),
        1 => Just(Mode::Unknown),
    ];
    let one = prop_oneof![
        6 => (1u64..6_000).prop_map(Move::Run),
        1 => (1u64..20_000).prop_map(Move::Sleep),
        4 => (0usize..3, mode).prop_map(|(node, mode)| Move::Mode(node, mode)),
        2 => (0usize..3, 0u8..5).prop_map(|(node, word)| Move::Host(node, word)),
        3 => (0usize..3, 0u8..5).prop_map(|(node, cause)| Move::Close(node, cause)),
        2 => (0u8..7).prop_map(Move::Operator),
        2 => (0u8..12, 0u8..4).prop_map(|(action, kind)| Move::Fail(action, kind)),
        1 => Just(Move::Heal),
        1 => (0u32..4, any::<bool>()).prop_map(|(stuck, journal)| Move::Health(stuck, journal)),
        2 => (0usize..3, any::<bool>()).prop_map(|(node, streaming)| Move::Streaming(node, streaming)),
        1 => any::<bool>().prop_map(Move::Route),
    ];
    proptest::collection::vec(one, 1..40)
}

const ACTIONS: [&str; 12] = [
    "ask_host",
    "route_out",
    "fence",
    "read_positions",
    "promote",
    "read_role",
    "verify_data",
    "route_in",
    "verify_traffic",
    "stop_server",
    "read_receipt",
    "start_server",
];

fn play(world: &mut World, one: &Move) {
    match one {
        Move::Run(millis) => world.run(ms(*millis)),
        Move::Sleep(millis) => world.sleep(ms(*millis)),
        Move::Mode(node, mode) => world.nodes[*node].mode = *mode,
        Move::Host(node, word) => {
            world.nodes[*node].host = match word {
                0 => None,
                1 => Some((ProcessState::Gone, LocalAnswer::Silent)),
                2 => Some((ProcessState::Stopped, LocalAnswer::Silent)),
                3 => Some((ProcessState::Running, LocalAnswer::Accepting)),
                _ => Some((ProcessState::Uninterruptible, LocalAnswer::Silent)),
            }
        }
        Move::Close(node, cause) => {
            let cause = [
                CloseCause::DeathHint,
                CloseCause::Announced,
                CloseCause::CrashRecovery,
                CloseCause::Unclassified,
                CloseCause::Ours,
            ][usize::from(*cause)];
            world.close(*node, cause, "by the property");
        }
        Move::Operator(command) => world.command(match command {
            0 => Command::Confirm,
            1 => Command::pause(),
            2 => Command::Resume,
            3 => Command::Reset,
            4 => Command::Force { to: None, accept_loss: None },
            5 => Command::Force { to: None, accept_loss: Some(u64::MAX) },
            _ => Command::Stop,
        }),
        Move::Fail(action, kind) => {
            let name = ACTIONS[usize::from(*action)].to_owned();
            match kind {
                0 => drop(world.failing.insert(name, Failure::no_effect("no", ""))),
                1 => drop(world.failing.insert(name, Failure::unknown("perhaps", ""))),
                2 => drop(world.failing.insert(name, Failure::timed_out("late", ""))),
                _ => drop(world.silent_actions.insert(name)),
            }
        }
        Move::Heal => {
            world.failing.clear();
            world.silent_actions.clear();
            for node in &mut world.nodes {
                if node.host.is_none() {
                    node.host = Some((ProcessState::Running, LocalAnswer::Accepting));
                }
            }
        }
        Move::Health(stuck, journal_writable) => {
            world.self_health(SelfHealth {
                gap: Span::ZERO,
                suspended: Span::ZERO,
                stuck_workers: *stuck,
                workers: 3,
                stuck_loops: 0,
                journal_writable: *journal_writable,
            });
        }
        Move::Streaming(node, streaming) => {
            if !world.nodes[*node].writable {
                world.nodes[*node].streaming = *streaming;
            }
        }
        Move::Route(works) => world.route_works = *works,
    }
}

fn check(world: &World) -> Result<(), TestCaseError> {
    for pair in world.events.windows(2) {
        prop_assert_eq!(pair[1].seq.0, pair[0].seq.0 + 1, "the order of events has a hole");
        prop_assert!(pair[1].at >= pair[0].at, "time went back");
    }
    let generations: Vec<_> = world.events.iter().filter(|event| event.service.is_some()).map(|event| event.generation).collect();
    prop_assert!(generations.is_sorted(), "the generation fell");
    // A promotion is announced once per generation and target, and never before a fence step of the same failover ended well.
    let mut fenced = None;
    let mut promoted: Vec<(u64, String)> = Vec::new();
    for event in &world.events {
        let field = |name: &str| event.fields.iter().find(|(key, _)| *key == name).map(|(_, value)| format!("{value:?}"));
        match event.kind {
            // A primary that has ended its log is as good as fenced.
            EventKind::StepFinished
                if ["Text(\"fence\")", "Text(\"read_receipt\")"].contains(&field("step").unwrap_or_default().as_str())
                    && field("ok").as_deref() == Some("Bool(true)") =>
            {
                fenced = Some(event.generation);
            }
            EventKind::PointOfNoReturn => {
                prop_assert_eq!(fenced, Some(event.generation), "promoted without a proven fence");
                let once = (event.generation.0, field("target").unwrap_or_default());
                prop_assert!(!promoted.contains(&once), "promoted twice in one failover");
                promoted.push(once);
            }
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn safety_holds_whatever_happens(moves in moves()) {
        let mut world = World::new(model(3));
        world.run(ms(3_000));
        world.survey();
        for one in &moves {
            play(&mut world, one);
            check(&world)?;
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_decisions(moves in moves()) {
        let run = || {
            let mut world = World::new(model(3));
            for one in &moves {
                play(&mut world, one);
            }
            world.trace
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn a_healthy_primary_is_never_failed_over(loss in 0u64..3_000, times in 1usize..8, pause in 300u64..3_000) {
        // Silence shorter than hang_after, as often as you like.
        let mut world = World::new(model(2));
        world.run(ms(3_000));
        for _ in 0..times {
            world.nodes[0].mode = Mode::Silent;
            world.run(ms(loss));
            world.nodes[0].mode = Mode::Up;
            world.run(ms(pause));
        }
        let acted = world.actions.iter().any(|action| matches!(action, Action::Fence { .. } | Action::Promote { .. }));
        prop_assert!(!acted);
    }

    #[test]
    fn a_dead_primary_with_a_ready_standby_is_failed_over(after in 2_700u64..9_000) {
        let mut world = World::new(model(2));
        world.run(ms(2_600));
        world.survey();
        world.run(ms(after));
        world.nodes[0].mode = Mode::Refused;
        world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
        world.close(0, CloseCause::DeathHint, "FATAL 57P01 secure_read");
        prop_assert!(world.run_until(EventKind::FailoverCompleted, ms(2_000)), "{}", world.trace.join("\n"));
    }
}
