//! The engine ends at each step, in each way: it is killed right before, in the middle or right after, or is asked to stop then, and
//! another one comes.

use failover_core::input::Command;
use failover_core::model::{OnLoss, OnNoSyncStandby, ServiceKind};
use failover_core::sample::{FenceLevel, SyncCommit};
use failover_core::switchover::SwitchoverOrder;

use super::coverage::ACTIONS;
use super::dice::Dice;
use super::replication::Rule;
use super::swarm::{Change, Fault, Moment, Setup, Wrong};

pub fn add(setup: &mut Setup, seed: u64) {
    let mut dice = Dice::new(seed ^ 0x57E9);
    if !dice.percent(20) {
        return;
    }
    let count = ACTIONS.len() as u64;
    let step = ACTIONS[usize::try_from(seed % count).unwrap_or(0)];
    let down = dice.one(&[50, 900, 3_000, 15_000]);
    let killed = Fault::Crash { at_record: false };
    let ends = match seed / count % 6 {
        0 => Fault::Before(step, Box::new(killed)),
        1 => Fault::At(step, Box::new(killed)),
        2 => Fault::After(step, Box::new(killed)),
        3 => Fault::At(step, Box::new(Fault::Crash { at_record: true })),
        4 => Fault::At(step, Box::new(Fault::CleanStop)),
        _ => Fault::After(step, Box::new(Fault::CleanStop)),
    };
    let service = dice.index(setup.model.services.len());
    if setup.model.services[service].kind != ServiceKind::Postgres {
        return;
    }
    let at = dice.between(12_500, 16_000);
    setup.moments.clear();
    ready(setup, service, step);
    lead_to(step, setup, service, at, &mut dice);
    setup.moments.push(Moment { at: at - 2, span: down, service, server: 0, fault: ends });
    // The next engine does not find everything as it was.
    if dice.percent(25) {
        let change = if dice.percent(50) { Change::Reordered(dice.next()) } else { Change::Nothing };
        let when = at + down + dice.between(500, 6_000);
        setup.moments.push(Moment { at: when, span: 0, service, server: 0, fault: Fault::Reload(change) });
    }
}

/// The engine, or its machine, sleeps when a step is done and it has not heard of it; meanwhile a person starts the old primary, or promotes
/// another server.
pub fn asleep(setup: &mut Setup, seed: u64) {
    const STEPS: [&str; 6] = ["fence", "prove_fence", "read_positions", "read_receipt", "stop_server", "route_out"];
    let mut dice = Dice::new(seed ^ 0x51EE);
    if !dice.percent(12) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    if setup.model.services[service].kind != ServiceKind::Postgres {
        return;
    }
    let servers = setup.model.services[service].servers.len();
    let step = dice.one(&STEPS);
    let at = dice.between(12_500, 16_000);
    let span = dice.between(3_000, 20_000);
    setup.moments.clear();
    ready(setup, service, step);
    let leads = if matches!(step, "read_receipt" | "stop_server") { "checkpoint" } else { "fence" };
    lead_to(leads, setup, service, at, &mut dice);
    let sleeps = Box::new(if dice.percent(60) { Fault::Suspend } else { Fault::Sleep });
    let mut then = |at: u64, span: u64, server: usize, fault: Fault| {
        setup.moments.push(Moment { at, span, service, server, fault });
    };
    if step == "prove_fence" {
        // The proof is taken again, because the positions came late.
        then(at - 3, 20_000, 0, Fault::Executor("read_positions", Wrong::Late(2_500)));
    }
    if dice.percent(50) {
        then(at - 2, span, 0, Fault::After(step, sleeps));
    } else {
        then(at - 2, span, 0, Fault::At(step, sleeps));
    }
    let when = at + dice.between(300, 3_000);
    if dice.percent(50) {
        then(when, 0, 0, Fault::OldReturns);
    } else {
        then(when, 0, 1 + dice.index(servers - 1), Fault::PromotedElsewhere);
    }
}

/// Settings with which the step comes to be made.
fn ready(setup: &mut Setup, service: usize, step: &str) {
    let model = &mut setup.model.services[service];
    model.route.instances = model.route.instances.max(1);
    model.route.verify = true;
    model.pre_checks |= step == "pre_checks";
    model.trigger.require_confirmation = false;
    model.fence.require = FenceLevel::ProvenStopped;
    model.route.exclusive = false;
    model.postgres.on_loss = OnLoss::Proceed;
    for server in &mut model.servers {
        (server.ssh, server.candidate) = (true, true);
    }
    if step == "open_sync_gate" {
        model.postgres.on_no_sync_standby = OnNoSyncStandby::Async;
        let replication = &mut setup.replication[service];
        let names = replication.called[1..].to_vec();
        replication.rule = Some(Rule { first: false, required: 1, names });
        replication.commit = SyncCommit::On;
        replication.asynchronous = false;
    }
}

fn lead_to(step: &'static str, setup: &mut Setup, service: usize, at: u64, dice: &mut Dice) {
    let servers = setup.model.services[service].servers.len();
    let mut then = |at: u64, span: u64, server: usize, fault: Fault| {
        setup.moments.push(Moment { at, span, service, server, fault });
    };
    match step {
        "checkpoint" | "stop_server" | "read_receipt" | "start_server" => {
            if step == "start_server" {
                // Nobody receives the end of its log.
                for server in 1..servers {
                    then(at - 1, 60_000, server, Fault::At("stop_server", Box::new(Fault::Lag(40_000))));
                }
            }
            then(at, 0, 0, Fault::Operator(Command::Switchover { to: None, order: SwitchoverOrder::Begin }));
            return;
        }
        "fence_undo" | "route_restore" => {
            for server in 1..servers {
                then(at - 1, 60_000, server, Fault::At("route_out", Box::new(Fault::ReplayPaused)));
            }
        }
        "read_role" => then(at - 1, 20_000, 0, Fault::Executor("promote", Wrong::Unknown(dice.percent(50)))),
        "read_history" => {
            then(at - 3_000, 60_000, 1, Fault::Lag(200_000));
            then(at - 500, 0, 0, Fault::Operator(Command::pause()));
            then(at + 1_500, 0, 1, Fault::PromotedElsewhere);
        }
        _ => {}
    }
    then(at, 60_000, 0, Fault::Kill { orphans: false });
}
