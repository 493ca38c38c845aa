//! The core is pure: its state written down and read back, the same inputs lead to the same outputs, bit for bit; and the records
//! that a real engine writes of its decisions can be replayed.

#[path = "sim/world.rs"]
mod world;

use std::time::Duration;

use crate::support::engine::Origin;
use crate::support::lab::wait_until;
use crate::support::pair::{Pair, PairOptions};
use failover::DecisionRecord;
use failover_core::Core;
use failover_core::observation::CloseCause;
use failover_core::sample::{LocalAnswer, ProcessState};
use world::{Mode, Tape, World, model, ms};

/// A life with a failover in it, taped from `from` on.
fn taped(from: u64) -> Tape {
    let mut world = World::new(model(3));
    let mut at = 0;
    let mut until = |world: &mut World, to: u64| {
        if world.tape.is_none() && from <= to {
            world.run(ms(from - at));
            world.tape = Some((world.core.clone(), Vec::new()));
            at = from;
        }
        world.run(ms(to - at));
        at = to;
    };
    until(&mut world, 2_500);
    world.survey();
    until(&mut world, 3_000);
    world.nodes[0].mode = Mode::Refused;
    world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
    for node in &mut world.nodes {
        node.streaming = false;
    }
    world.close(0, CloseCause::DeathHint, "FATAL 57P01");
    until(&mut world, 6_000);
    assert!(world.trace.iter().any(|line| line.contains("failover_completed")), "{}", world.trace.join("\n"));
    world.tape.take().expect("a tape")
}

#[test]
fn a_state_that_was_written_down_goes_on_as_if_it_had_not_been() {
    // Beginnings all over the life: before the first answer, in quiet times, in the suspicion, in each step of the failover.
    let mut inputs_seen = 0;
    for from in (0..2_900).step_by(290).chain((3_000..3_200).step_by(5)) {
        let (core, tape) = taped(from);
        let written = serde_json::to_string(&core).unwrap();
        let mut core: Core = serde_json::from_str(&written).unwrap();
        assert_eq!(serde_json::to_string(&core).unwrap(), written, "{from}");
        for (place, (now, input, said)) in tape.into_iter().enumerate() {
            let input = serde_json::from_str(&serde_json::to_string(&input).unwrap()).unwrap();
            assert_eq!(format!("{:?}", core.step(now, input)), said, "input {place} after {from} ms");
            inputs_seen += 1;
        }
    }
    assert!(inputs_seen > 1_000, "{inputs_seen}");
}

#[test]
fn the_record_of_a_refusal_is_replayed_bit_for_bit() {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
    let engine = pair.engine(Origin::now()).unwrap();
    engine.wait_ready(Duration::from_secs(60)).unwrap();
    // A standby that is gone first: the death of the primary is refused.
    pair.db2.kill_all();
    let folder = pair.lab.path("state/evidence");
    pair.db1.kill_postmaster().unwrap();
    let records = || -> Vec<DecisionRecord> {
        let files = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        let whole = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        whole.map(|path| DecisionRecord::load(&path).unwrap()).collect()
    };
    let no_candidate = |record: &DecisionRecord| record.why.contains("no standby can take over");
    wait_until("a record of the refusal", Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_millis(100));
        Ok(records().iter().any(no_candidate).then_some(()))
    })
    .unwrap();
    assert!(engine.stop(), "{}", engine.log_tail());
    for record in records() {
        assert_eq!((record.service.as_str(), record.generation), ("orders", 0), "{}", record.why);
        let replay = record.replay();
        assert_eq!(replay.differences, Vec::<String>::new(), "{}", record.why);
        assert!(replay.inputs > 10 && !replay.events.is_empty());
    }
}

#[test]
fn the_record_of_a_failover_is_replayed_bit_for_bit() {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
    let engine = pair.engine(Origin::now()).unwrap();
    engine.wait_ready(Duration::from_secs(60)).unwrap();
    pair.db1.kill_postmaster().unwrap();
    wait_until("the failover", Duration::from_secs(60), || {
        let events = engine.events_from(0, Duration::from_secs(1));
        Ok(events.into_iter().find(|event| event.kind == "failover_completed"))
    })
    .unwrap();
    assert!(engine.stop(), "{}", engine.log_tail());
    let files: Vec<_> = std::fs::read_dir(pair.lab.path("state/evidence")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let record = DecisionRecord::load(file).unwrap();
    assert_eq!((record.kind.as_str(), record.generation), ("failover", 1));
    let replay = record.replay();
    assert_eq!(replay.differences, Vec::<String>::new());
    assert!(replay.events.iter().any(|event| event.contains("is dead, confirmed")), "{:?}", replay.events);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_failover")).arg("replay").arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("the same decision, bit for bit"), "{output:?}");
}
