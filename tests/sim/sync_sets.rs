//! Courses in which the engine keeps the set of standbys that commits wait for: members come and go, the engine ends at a change, a change
//! has an outcome that nobody knows, and then primaries die.

use failover_core::model::{OnNoSyncStandby, OnSynchronous, ServiceKind, SyncModel};
use failover_core::sample::FenceLevel;

use super::dice::Dice;
use super::replication::Rule;
use super::swarm::{Fault, Moment, Setup, any_wrong};

const SET: &str = "set_sync_names";

pub fn add(setup: &mut Setup, seed: u64) {
    let mut dice = Dice::new(seed ^ 0x5E75);
    if !dice.percent(40) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    let model = &mut setup.model.services[service];
    let servers = model.servers.len();
    let candidates = model.servers.iter().filter(|server| server.candidate).count();
    if model.kind != ServiceKind::Postgres || candidates < 2 {
        return;
    }
    let count = if candidates > 2 && dice.percent(30) { 2 } else { 1 };
    let timeout = failover_core::time::Span::from_millis(dice.one(&[1_000, 2_000, 5_000]));
    model.postgres.sync = SyncModel { keep: OnSynchronous::Maintain, count, timeout };
    let swept = setup.moments.iter().any(|moment| matches!(moment.fault, Fault::Before(..) | Fault::After(..)));
    if swept || servers < 3 || dice.percent(40) {
        return;
    }
    // Nothing but the set, and deaths.
    setup.moments.clear();
    model.trigger.require_confirmation = false;
    model.trigger.cooldown = failover_core::time::Span::ZERO;
    model.fence.require = FenceLevel::ProvenStopped;
    model.pre_checks = false;
    model.postgres.on_no_sync_standby = dice.one(&[OnNoSyncStandby::Async, OnNoSyncStandby::Async, OnNoSyncStandby::Block]);
    for server in &mut model.servers {
        (server.ssh, server.candidate) = (true, true);
    }
    let replication = &mut setup.replication[service];
    replication.asynchronous = false;
    let names = replication.called.clone();
    replication.rule = dice.percent(80).then(|| Rule { first: dice.percent(20), required: 1, names });
    let mut then = |at, span, server, fault| setup.moments.push(Moment { at, span, service, server, fault });
    let at = dice.between(9_000, 14_000);
    for n in 0..dice.between(1, 4) {
        let server = 1 + dice.index(servers - 1);
        let away = match dice.between(0, 6) {
            0 => Fault::Host,
            1 => Fault::Flicker,
            2 => Fault::Kill { orphans: false },
            3 => Fault::Lag(dice.one(&[20_000, 400_000])),
            _ => Fault::Replication,
        };
        then(at + n * dice.one(&[300, 2_500, 6_000]), dice.one(&[400, 3_000, 9_000, 20_000]), server, away);
    }
    let down = dice.one(&[50, 900, 3_000]);
    let killed = Box::new(Fault::Crash { at_record: false });
    match dice.between(0, 8) {
        0 => then(at - 1, down, 0, Fault::Before(SET, killed)),
        1 => then(at - 1, down, 0, Fault::At(SET, killed)),
        2 => then(at - 1, down, 0, Fault::After(SET, killed)),
        3 | 4 => {
            let wrong = any_wrong(&mut dice);
            then(at - 1, dice.one(&[3_000, 9_000]), 0, Fault::Executor(SET, wrong));
        }
        5 => then(at, dice.one(&[2_000, 9_000]), 0, Fault::Journal),
        6 => then(at, 4_000, 0, Fault::Rule(None)),
        _ => {}
    }
    let death = at + dice.one(&[1_500, 4_000, 6_100, 7_300, 9_000, 14_000]);
    let step = dice.percent(30);
    if step {
        let dies = Box::new(Fault::KillIfPrimary);
        for server in 0..servers {
            let dies = dies.clone();
            then(at - 1, 60_000, server, if dice.percent(50) { Fault::After(SET, dies) } else { Fault::At(SET, dies) });
        }
    }
    for server in 0..servers {
        then(death, 60_000, server, Fault::KillIfPrimary);
        if dice.percent(50) {
            then(death + 14_000, 60_000, server, Fault::KillIfPrimary);
        }
    }
}
