//! What the status says of the next deaths is what the engine then does.

use crate::dice::Dice;
use crate::world::{Mode, World, model, ms};
use failover_core::id::ServerId;
use failover_core::model::OnNewPrimary;
use failover_core::observation::CloseCause;
use failover_core::refusal::Refusal;
use failover_core::sample::{LocalAnswer, ProcessState};
use failover_core::snapshot::ServiceSnapshot;

const SEEDS: u64 = 60;

/// A cluster in which anything may be wrong that lasts: who may be promoted, who is preferred, who does not receive, who is behind.
fn world(dice: &mut Dice) -> World {
    let count = usize::try_from(dice.between(2, 5)).unwrap();
    let mut model = model(count);
    let service = &mut model.services[0];
    service.postgres.followers = if dice.percent(85) { OnNewPrimary::Auto } else { OnNewPrimary::Off };
    service.trigger.cooldown = ms(0);
    for server in service.servers.iter_mut().skip(1) {
        server.candidate = dice.percent(80);
        server.priority = u32::try_from(dice.between(0, 2)).unwrap();
    }
    let mut world = World::new(model);
    if dice.percent(40) {
        let names: Vec<String> = (1..=count).map(|number| format!("db{number}")).collect();
        let method = dice.one(&["ANY", "FIRST"]);
        world.sync_names = format!("{method} 1 ({})", names.join(", "));
    }
    world.run(ms(2_500));
    for at in 1..count {
        if dice.percent(15) {
            world.nodes[at].streaming = false;
            world.deaf.insert(at);
        }
        if dice.percent(10) {
            world.nodes[at].replay_paused = true;
        }
    }
    world.run(ms(4_000));
    world.survey();
    world.run(ms(4_000));
    world
}

fn kill(world: &mut World, node: usize) {
    world.nodes[node].mode = Mode::Refused;
    world.nodes[node].host = Some((ProcessState::Gone, LocalAnswer::Silent));
    world.close(node, CloseCause::DeathHint, "FATAL 57P01 secure_read");
}

fn service(world: &World) -> ServiceSnapshot {
    world.core.snapshot().services.remove(0)
}

fn who(outcome: &Result<ServerId, Vec<Refusal>>) -> Option<ServerId> {
    outcome.as_ref().ok().copied()
}

/// Rule 241.
#[test]
fn the_next_deaths_go_as_they_were_foretold() {
    let (mut foretold, mut nobody) = (0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let mut world = world(&mut dice);
        let mut said = service(&world).tolerates;
        for _ in 0..6 {
            let before = service(&world);
            let story =
                |world: &World| format!("seed {seed}: foretold {said:?}, now {:?}\n{}", before.tolerates, world.trace.join("\n"));
            let names = |deaths: &[Result<ServerId, Vec<Refusal>>]| deaths.iter().map(who).collect::<Vec<_>>();
            // Where commits wait for standbys, what two samples of different moments leave open is refused beforehand, and found out afterwards.
            if world.sync_names.is_empty() {
                assert_eq!(names(&before.tolerates), names(&said), "{}", story(&world));
            }
            let primary = before.primary.unwrap();
            kill(&mut world, usize::from(primary.0));
            world.run(ms(20_000));
            let after = service(&world).primary.filter(|after| *after != primary);
            let expected = said.first().and_then(who);
            assert!(after == expected || expected.is_none() && !world.sync_names.is_empty(), "{}", story(&world));
            if expected.is_none() && after.is_some() {
                break;
            }
            if after.is_none() {
                nobody += 1;
                break;
            }
            foretold += 1;
            let _ = said.remove(0);
            world.survey();
            world.run(ms(4_000));
        }
    }
    assert!(foretold > 30 && nobody > 20, "{foretold} {nobody}");
}
