//! What a failover is said to cost, once nothing more can be written.

use crate::world::{Mode, World, model, ms};
use failover_core::Core;
use failover_core::id::{Generation, ServiceId};
use failover_core::input::{Command, Input};
use failover_core::observation::CloseCause;
use failover_core::output::{Action, Answer, EndedHow, Failure, Output, Report};
use failover_core::refusal::CandidateRefusal;
use failover_core::sample::{FenceLevel, HostReport, LocalAnswer, LogEnd, Lsn, ProcessState};
use failover_core::time::{Mono, Span};

const BUSY: u64 = 40_000_000;

/// A busy primary that was stopped in an orderly way and whose host could not be asked yet; and where its log ended.
fn stopped() -> (World, Lsn) {
    let mut world = World::new(model(2));
    world.write_rate = BUSY;
    world.run(ms(2_500));
    world.survey();
    world.run(ms(600));
    // The load ends just before the stop, which nobody is told: an estimate goes on with it.
    world.write_rate = 0;
    world.run(ms(120));
    world.failing.insert("ask_host".into(), Failure::no_effect("not now", ""));
    for node in &mut world.nodes {
        node.streaming = false;
    }
    let end = Lsn(world.nodes[0].lsn);
    // What the standby has received is the whole log: the primary waits for that before it goes.
    world.nodes[1].lsn = end.0;
    world.nodes[0].mode = Mode::Refused;
    world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
    world.close(0, CloseCause::Announced, "FATAL 57P01 ProcessInterrupts");
    world.run(ms(900));
    (world, end)
}

fn report(now: Mono) -> HostReport {
    HostReport {
        asked: now,
        postmaster: ProcessState::Gone,
        others: 0,
        stopped: 0,
        shm_attached: Some(0),
        local_answer: LocalAnswer::NotAsked,
        stopped_by_order: false,
        holds: Vec::new(),
        message: "no postmaster.pid".into(),
    }
}

/// The core after its next question to the host was answered, and when that was.
fn answered(world: &World, answer: impl Fn(HostReport) -> Report) -> (Core, Mono) {
    let (mut core, mut now) = (world.core.clone(), world.now);
    for _ in 0..200 {
        now = now + ms(10);
        for output in core.step(now, Input::Tick) {
            if let Output::RunAction { id, action: Action::AskHost { .. }, .. } = output {
                core.step(now, Input::ActionFinished { action: id, outcome: Ok(answer(report(now))) });
                return (core, now);
            }
        }
    }
    panic!("the host was not asked again");
}

fn loss(core: &Core) -> Result<Option<u64>, CandidateRefusal> {
    core.snapshot().services[0].forecast.standbys[0].1.clone().map(|candidate| candidate.loss)
}

#[test]
fn after_an_orderly_stop_the_loss_is_exact() {
    let (world, end) = stopped();
    let (core, _) = answered(&world, Report::Host);
    let estimate = match loss(&core) {
        Ok(loss) => loss.unwrap(),
        Err(CandidateRefusal::LossTooHigh { loss, .. }) => loss,
        Err(other) => panic!("{other:?}"),
    };
    assert!(estimate > 0, "without the host's word about the end of the log it is an estimate");
    let (core, _) = answered(&world, |word| Report::HostShutDown { word, end: LogEnd { at: end, timeline: 1 } });
    assert_eq!(loss(&core), Ok(Some(0)));
    let (core, _) = answered(&world, |word| Report::HostShutDown { word, end: LogEnd { at: Lsn(end.0 + 4_711), timeline: 1 } });
    assert_eq!(loss(&core), Ok(Some(4_711)));
    // Of another timeline: somebody promoted it and stopped it again. It is not compared.
    let (core, _) = answered(&world, |word| Report::HostShutDown { word, end: LogEnd { at: end, timeline: 2 } });
    assert_ne!(loss(&core), Ok(Some(0)));
}

/// It refuses us, and its standby too, and goes on for its clients: what it wrote until it was seen to be dead may be missing.
#[test]
fn what_is_written_between_the_first_bad_sign_and_the_death_counts() {
    let died_after = |span| {
        let mut world = World::new(model(2));
        world.write_rate = BUSY / 1_000;
        world.run(ms(2_500));
        world.survey();
        world.run(ms(600));
        world.nodes[1].streaming = false;
        world.nodes[0].mode = Mode::Refused;
        world.close(0, CloseCause::DeathHint, "end of stream");
        world.run(span);
        world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
        world.run(ms(5_000));
        let snapshot = world.core.snapshot();
        let last = snapshot.services[0].last_failover.as_ref().unwrap();
        last.plan.chosen.unwrap().loss.unwrap()
    };
    let (at_once, late) = (died_after(ms(0)), died_after(ms(3_000)));
    assert!(late >= at_once + 3 * BUSY / 1_000, "{late} after 3 s, {at_once} at once");
}

#[test]
fn a_forced_failover_from_a_dead_primary_is_judged_by_its_death() {
    // Longer ago than a sample of the primary is worth anything for a primary that might still write. Its host was heard a second late.
    let (mut world, _) = stopped();
    world.failing.clear();
    world.command(Command::pause());
    world.run(Span::from_millis(15_000));
    let accept = Command::Force { to: None, accept_loss: Some(64 << 20) };
    let outputs = world.core.clone().step(world.now, Input::Operator { service: Some(ServiceId(0)), command: accept, token: 1 });
    let reply = outputs.iter().find_map(|output| match output {
        Output::Reply { result, .. } => Some(result.clone()),
        _ => None,
    });
    assert_eq!(
        reply,
        Some(Ok(Answer { message: "orders: failover 1 has begun".into(), generation: Some(Generation(1)), ..Answer::default() }))
    );
}

/// Where no fence is asked for, none is claimed, and a load balancer that cannot be told stops nothing.
#[test]
fn without_a_fence_nothing_is_said_to_be_proven() {
    for (require, works, expected) in [
        (FenceLevel::None, true, Some(FenceLevel::None)),
        (FenceLevel::None, false, Some(FenceLevel::None)),
        (FenceLevel::TrafficRemoved, true, Some(FenceLevel::TrafficRemoved)),
        (FenceLevel::TrafficRemoved, false, None),
    ] {
        let mut model = model(2);
        model.services[0].fence.require = require;
        let mut world = World::new(model);
        world.run(ms(2_500));
        world.survey();
        world.run(ms(600));
        if !works {
            world.failing.insert("route_out".into(), Failure::no_effect("refused", ""));
        }
        world.nodes[0].mode = Mode::Refused;
        world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
        world.nodes[1].streaming = false;
        world.close(0, CloseCause::DeathHint, "end of stream");
        world.run(ms(130_000));
        let snapshot = world.core.snapshot();
        let last = snapshot.services[0].last_failover.as_ref().unwrap();
        let level = (last.how == EndedHow::Completed).then(|| last.plan.fence_level());
        assert_eq!(level, expected, "{require:?} {works}: {} {}", last.how, last.why);
        if expected == Some(FenceLevel::None) {
            assert!(
                last.plan.fence.as_ref().is_some_and(|report| report.proof.contains("nothing proves")),
                "{:?}",
                last.plan.fence
            );
        }
    }
}
