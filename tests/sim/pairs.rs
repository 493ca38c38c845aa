//! Faults in twos: every pair of kinds meets in some seeds, whatever the dice of the swarm say, and most often in the middle of a failure.

use failover_core::id::ServerId;
use failover_core::input::Command;
use failover_core::model::ServiceKind;
use failover_core::observation::{CloseCause, Impairment};
use failover_core::sample::SyncCommit;
use failover_core::time::Span;

use super::dice::Dice;
use super::meetings::Meetings;
use super::replication::Rule;
use super::settings;
use super::swarm::{ACTIONS, Change, Damage, Fault, Link, Moment, Setup, any_wrong};

/// So many seeds of a hundred have pairs.
const SHARE: u64 = 50;

/// So many read other configurations.
const RELOADS: u64 = 12;

/// This seed throws faults in twos, or reads other configurations: what else is thrown there has to leave them be.
pub fn has(seed: u64) -> bool {
    Dice::new(seed ^ 0x9A12).percent(SHARE) || Dice::new(seed ^ 0x4E10).percent(RELOADS)
}

pub fn add(setup: &mut Setup, seed: u64) {
    let mut dice = Dice::new(seed ^ 0x9A12);
    if !dice.percent(SHARE) {
        return;
    }
    if dice.percent(60) {
        setup.moments.clear();
    }
    let all: Vec<(&str, &str)> = Meetings::all().collect();
    let count = all.len() as u64;
    let pairs = [seed % count, (seed.wrapping_mul(7_919) + 31) % count];
    let service = dice.index(setup.model.services.len());
    let at = dice.between(6_500, 6_500 + setup.chaos / 2);
    for pair in pairs {
        let (one, other) = all[usize::try_from(pair).unwrap_or(0)];
        for kind in [one, other] {
            let when = at + dice.between(0, 3_500);
            throw(kind, setup, service, when, &mut dice);
        }
    }
    if dice.percent(60) {
        let when = at + dice.between(0, 6_000);
        let fault = match dice.between(0, 6) {
            0 => Fault::Freeze,
            1 => Fault::PowerOff,
            2 => Fault::Restart { announced: true, down: dice.one(&[2_000, 30_000]) },
            _ => Fault::Kill { orphans: false },
        };
        setup.moments.push(Moment { at: when, span: 60_000, service, server: 0, fault });
    }
}

/// One fault of a kind at a moment, with what it needs to come to anything.
fn throw(kind: &str, setup: &mut Setup, service: usize, at: u64, dice: &mut Dice) {
    let servers = setup.model.services[service].servers.len();
    let standby = 1 + dice.index(servers - 1);
    let any = dice.index(servers);
    let longest = dice.one(&[700, 4_000, 9_000, 20_000]);
    let span = dice.between(longest / 2, longest);
    prepare(kind, setup, service, at, dice);
    let called = setup.replication[service].called.clone();
    let (server, fault) = match kind {
        "replication" | "flicker" | "delayed" | "replay_paused" | "hidden_receiver" | "other_cluster" | "restored"
        | "promoted_by_hand" | "lag" => (standby, of_standby(kind, dice)),
        "kill" | "orphans" | "freeze" | "power_off" | "impair" | "port" | "reject" | "host" | "session_ends" | "flaky"
        | "restart" | "resolver" | "slow" | "damaged" => (if dice.percent(60) { 0 } else { any }, of_server(kind, dice)),
        "demoted_by_hand" => (0, Fault::Demoted),
        "old_returns" => (0, Fault::OldReturns),
        "wake" => (0, Fault::Wake),
        "second_engine" => (any, Fault::SecondEngine),
        "other_checks" => (0, Fault::OtherChecks),
        "burst" => (0, Fault::Burst(dice.one(&[10_000_000, 100_000_000]))),
        "rejoin" => (0, Fault::Rejoin),
        "instance" => (0, Fault::Instance),
        "instance_restarts" => (0, Fault::InstanceRestarts),
        "stranger" => (0, Fault::Stranger(dice.one(&["walreceiver", "pg_receivewal"]))),
        "commit" => (0, Fault::Commit(dice.one(&[SyncCommit::On, SyncCommit::Local, SyncCommit::RemoteWrite]))),
        "rule" => {
            let rule = Rule { first: dice.percent(50), required: 1, names: called[1..].to_vec() };
            (0, Fault::Rule(dice.percent(60).then_some(rule)))
        }
        _ => (0, of_engine(kind, servers, dice)),
    };
    // In the middle of a failover, most often of an operator.
    let waits = dice.percent(if matches!(fault, Fault::Operator(_) | Fault::Suspend | Fault::Reload(_)) { 35 } else { 12 });
    let step = dice.one(&ACTIONS);
    let fault = match (waits, dice.percent(50)) {
        (true, true) => Fault::At(step, Box::new(fault)),
        (true, false) => Fault::After(step, Box::new(fault)),
        (false, _) => fault,
    };
    setup.moments.push(Moment { at, span, service, server, fault });
}

/// What has to be so before the fault can strike.
fn prepare(kind: &str, setup: &mut Setup, service: usize, at: u64, dice: &mut Dice) {
    let model = &mut setup.model.services[service];
    let mut before = |earlier: u64, fault: Fault| {
        setup.moments.push(Moment { at: at.saturating_sub(earlier), span: 60_000, service, server: 0, fault });
    };
    let postgres = model.kind == ServiceKind::Postgres;
    match kind {
        "wake" => before(dice.between(50, 3_000), Fault::Freeze),
        "old_returns" => before(dice.between(300, 5_000), Fault::Kill { orphans: false }),
        "adopt" => before(dice.between(300, 5_000), Fault::Demoted),
        "resume" => before(dice.between(50, 5_000), Fault::Operator(Command::pause())),
        "other_checks" if postgres => {
            let names: Vec<String> = model.servers.iter().map(|server| server.name.clone()).collect();
            model.checks = settings::checks(&names, true);
        }
        "instance" | "instance_restarts" if postgres => model.route.instances = model.route.instances.max(1),
        "confirm" => model.trigger.require_confirmation |= dice.percent(60),
        _ => {}
    }
}

fn of_standby(kind: &str, dice: &mut Dice) -> Fault {
    match kind {
        "replication" => Fault::Replication,
        "flicker" => Fault::Flicker,
        "delayed" => Fault::Delayed,
        "replay_paused" => Fault::ReplayPaused,
        "hidden_receiver" => Fault::HiddenReceiver,
        "other_cluster" => Fault::OtherCluster,
        "restored" => Fault::Restored,
        "promoted_by_hand" => Fault::PromotedElsewhere,
        _ => Fault::Lag(dice.one(&[10_000, 500_000, 64_000_000])),
    }
}

fn of_server(kind: &str, dice: &mut Dice) -> Fault {
    match kind {
        "kill" => Fault::Kill { orphans: false },
        "orphans" => Fault::Kill { orphans: true },
        "freeze" => Fault::Freeze,
        "power_off" => Fault::PowerOff,
        "restart" => Fault::Restart { announced: dice.percent(70), down: dice.one(&[500, 2_000, 6_000, 15_000]) },
        "impair" => Fault::Impair(dice.one(&[
            Impairment::Saturated,
            Impairment::Starting,
            Impairment::Recovering,
            Impairment::Stopping,
            Impairment::QueryRefused,
        ])),
        "port" => Fault::Port(Link::Drop),
        "reject" => Fault::Port(Link::Reject),
        "host" => Fault::Host,
        "session_ends" => Fault::SessionEnds(dice.one(&[CloseCause::DeathHint, CloseCause::Announced, CloseCause::Ours])),
        "flaky" => Fault::Flaky(dice.one(&[5, 20, 60])),
        "resolver" => Fault::Resolver,
        "slow" => Fault::Slow(dice.one(&[80, 400, 900, 1_300, 1_600, 4_000])),
        _ => Fault::Damaged(dice.one(&Damage::ALL)),
    }
}

fn of_engine(kind: &str, servers: usize, dice: &mut Dice) -> Fault {
    let server = ServerId(u16::try_from(dice.index(servers)).unwrap_or(0));
    match kind {
        "sleep" => Fault::Sleep,
        "suspend" => Fault::Suspend,
        "gap_told" => Fault::GapTold,
        "wall_clock" => Fault::WallClock(dice.one(&[-86_400, -3_600, -5, 5, 3_600, 86_400])),
        "stuck" => Fault::Stuck,
        "journal" => Fault::Journal,
        "disk_full" => Fault::DiskFull,
        "crash" => Fault::Crash { at_record: dice.percent(40) },
        "clean_stop" => Fault::CleanStop,
        "executor" => Fault::Executor(dice.one(&ACTIONS), any_wrong(dice)),
        "reload" => Fault::Reload(Change::Nothing),
        "reload_settings" => Fault::Reload(Change::Settings(dice.next())),
        "reload_servers" => other_servers(dice),
        "surveyless" => Fault::Surveyless,
        "pause" => Fault::Operator(Command::pause()),
        "timed_pause" => {
            let lasts = Some(Span::from_millis(dice.one(&[300, 2_000, 10_000])));
            Fault::Operator(Command::Pause { reason: None, lasts })
        }
        "resume" => Fault::Operator(Command::Resume),
        "reset" => Fault::Operator(Command::Reset),
        "confirm" => Fault::Operator(Command::Confirm),
        "adopt" => Fault::Operator(Command::Adopt { server }),
        "cordon" => Fault::Operator(Command::Cordon { server }),
        "uncordon" => Fault::Operator(Command::Uncordon { server }),
        "stop" => Fault::Operator(Command::Stop),
        _ => Fault::Operator(Command::Force {
            to: dice.percent(50).then_some(server),
            accept_loss: dice.one(&[None, Some(1_000), Some(u64::MAX)]),
        }),
    }
}

fn other_servers(dice: &mut Dice) -> Fault {
    let seed = dice.next();
    Fault::Reload(match dice.between(0, 3) {
        0 => Change::Added(seed),
        1 => Change::Removed(seed),
        _ => Change::Reordered(seed),
    })
}

/// A reload while the primary fails: suspected, in its grace, confirmed, waiting for a person, about to be replaced.
pub fn reloads(setup: &mut Setup, seed: u64) {
    let mut dice = Dice::new(seed ^ 0x4E10);
    if !dice.percent(RELOADS) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    let at = dice.between(7_000, 7_000 + setup.chaos);
    let model = &mut setup.model.services[service];
    model.trigger.require_confirmation |= dice.percent(25);
    let fault = match dice.between(0, 6) {
        0 | 1 => Fault::Kill { orphans: dice.percent(20) },
        2 => Fault::Freeze,
        3 => Fault::PowerOff,
        4 => Fault::Restart { announced: true, down: dice.one(&[1_500, 8_000, 40_000]) },
        _ => Fault::Port(Link::Drop),
    };
    if dice.percent(60) {
        setup.moments.clear();
    }
    setup.moments.push(Moment { at, span: 60_000, service, server: 0, fault });
    for _ in 0..dice.between(1, 4) {
        let longest = dice.one(&[60, 400, 4_000, 12_000]);
        let when = at + dice.between(0, longest);
        let change = match dice.between(0, 5) {
            0 => Fault::Reload(Change::Nothing),
            1 => Fault::Reload(Change::Settings(dice.next())),
            _ => other_servers(&mut dice),
        };
        setup.moments.push(Moment { at: when, span: 0, service, server: 0, fault: change });
    }
    if setup.model.services[service].trigger.require_confirmation {
        let when = at + dice.between(500, 14_000);
        setup.moments.push(Moment { at: when, span: 0, service, server: 0, fault: Fault::Operator(Command::Confirm) });
    }
}
