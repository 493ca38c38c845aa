//! What one seed decides before its run: the settings, and which faults happen when. A seed turns most kinds of faults off and a few
//! on, strongly: two faults that need each other meet far more often than with all of them on, weakly.

use failover::core::id::ServerId;
use failover::core::input::Command;
use failover::core::model::{
    CheckKind, CheckModel, Model, OnLoss, OnNoSyncStandby, Policy, PostgresModel, Role, RouteModel, ServerModel, ServiceKind,
    ServiceModel, TriggerModel,
};
use failover::core::observation::{CloseCause, Impairment};
use failover::core::sample::FenceLevel;
use failover::core::time::Span;

use super::dice::Dice;

/// A path that may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Open,
    /// Nothing comes back.
    Drop,
    /// Refused by something in between.
    Reject,
}

/// How the executor goes wrong with one kind of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    NoEffect,
    /// Fails with an unknown outcome; the effect was there, or not.
    Unknown(bool),
    TimedOut(bool),
    /// Never comes back.
    Silent(bool),
    /// Answers with something else.
    OtherKind,
    /// Says what is not true.
    Lie,
    /// Answers after so many milliseconds.
    Late(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The postmaster is killed; its children may live on.
    Kill {
        orphans: bool,
    },
    Freeze,
    PowerOff,
    /// A shutdown that comes back after so long, announced or not.
    Restart {
        announced: bool,
        down: u64,
    },
    Impair(Impairment),
    Port(Link),
    Host,
    Replication,
    Lag(u64),
    SessionEnds(CloseCause),
    Flaky(u64),
    Resolver,
    Instance,
    /// A load balancer is restarted, and goes by its file again.
    InstanceRestarts,
    Sleep,
    GapTold,
    Stuck,
    Journal,
    /// The engine is killed, and started again after the fault's span; with a record half written or not.
    Crash {
        at_record: bool,
    },
    Executor(&'static str, Wrong),
    Operator(Command),
    Reload,
    PromotedElsewhere,
    OldReturns,
    OtherCluster,
    Delayed,
    ReplayPaused,
    HiddenReceiver,
    SecondEngine,
    OtherChecks,
    Burst(u64),
    /// A person makes standbys of all that is not primary.
    Rejoin,
    /// The next time an action of this name is asked for, this happens.
    At(&'static str, Box<Fault>),
}

/// One fault: when, how long, where.
#[derive(Clone, Debug)]
pub struct Moment {
    pub at: u64,
    pub span: u64,
    pub service: usize,
    pub server: usize,
    pub fault: Fault,
}

#[derive(Clone, Debug)]
pub struct Setup {
    pub model: Model,
    pub moments: Vec<Moment>,
    /// Commits wait for so many standbys; zero: none.
    pub synchronous: Vec<u32>,
    pub write_rate: Vec<u64>,
    /// The last standby never acknowledges.
    pub asynchronous: Vec<bool>,
    pub chaos: u64,
}

const ACTIONS: [&str; 14] = [
    "ask_host",
    "pre_checks",
    "route_out",
    "route_restore",
    "fence",
    "fence_undo",
    "prove_fence",
    "read_positions",
    "promote",
    "read_role",
    "verify_data",
    "open_sync_gate",
    "route_in",
    "verify_traffic",
];

fn ms(millis: u64) -> Span {
    Span::from_millis(millis)
}

pub fn setup(seed: u64) -> Setup {
    let mut dice = Dice::new(seed);
    let count = if dice.percent(20) { 2 } else { 1 };
    let services: Vec<ServiceModel> = (0..count).map(|at| service(at, &mut dice)).collect();
    let synchronous = services
        .iter()
        .map(|one| if one.servers.len() > 2 && dice.percent(15) { 2 } else { u32::from(dice.percent(30)) })
        .collect();
    let write_rate = services.iter().map(|_| dice.one(&[1_000, 20_000, 200_000, 2_000_000])).collect();
    let asynchronous = services.iter().map(|one| one.servers.len() > 2 && dice.percent(40)).collect();
    let chaos = dice.between(8_000, 40_000);
    let mut setup =
        Setup { model: Model { seed: dice.next(), services }, moments: Vec::new(), synchronous, write_rate, asynchronous, chaos };
    let kinds: Vec<usize> = (0..dice.between(1, 6)).map(|_| dice.index(KINDS)).collect();
    for kind in kinds {
        let times = dice.between(1, 4);
        for _ in 0..times {
            let service = dice.index(setup.model.services.len());
            let servers = setup.model.services[service].servers.len();
            // Mostly the primary: that is where the decisions are.
            let primary = dice.percent(60) && !matches!(kind, 10..=13);
            let server = if primary { 0 } else { dice.index(servers) };
            let at = if dice.percent(5) { dice.between(0, 4_000) } else { dice.between(4_500, 4_500 + setup.chaos) };
            let span = dice.one(&[150, 600, 1_800, 4_000, 9_000, 20_000, 60_000]);
            let span = dice.between(span / 2, span);
            let fault = fault(kind, servers, &mut dice);
            if kind == REPEAT {
                // A second failover needs standbys again.
                let again = Fault::At("prove_fence", Box::new(Fault::Rejoin));
                setup.moments.push(Moment { at: at / 2, span, service, server: 0, fault: again });
            }
            if let Fault::Operator(Command::Force { to: Some(to), .. }) = &fault
                && dice.percent(40)
            {
                // Whom the operator chose is lost on the way.
                let server = usize::from(to.0);
                let lost = Fault::At(dice.one(&["fence", "route_out"]), Box::new(Fault::Freeze));
                setup.moments.push(Moment { at, span: 20_000, service, server, fault: lost });
            }
            setup.moments.push(Moment { at, span, service, server, fault });
        }
    }
    // Where something is tried, something has to be broken: in most seeds the primary dies once, one way or the other.
    if dice.percent(70) {
        let service = dice.index(setup.model.services.len());
        let fault = match dice.between(0, 10) {
            0..5 => Fault::Kill { orphans: dice.percent(20) },
            5..7 => Fault::Freeze,
            7..9 => Fault::PowerOff,
            _ => Fault::Port(Link::Drop),
        };
        let at = dice.between(6_000, 4_500 + setup.chaos);
        setup.moments.push(Moment { at, span: 60_000, service, server: 0, fault });
    }
    if dice.percent(40) {
        let at = dice.between(10_000, 10_000 + setup.chaos);
        for service in 0..setup.model.services.len() {
            setup.moments.push(Moment { at, span: 0, service, server: 0, fault: Fault::Rejoin });
        }
    }
    // Dice of their own: the seeds that broke something once go on meaning what they meant.
    let mut more = Dice::new(seed ^ 0x0B0B);
    if more.percent(30) {
        let service = more.index(setup.model.services.len());
        for _ in 0..more.between(1, 3) {
            let at = more.between(4_500, 14_500 + setup.chaos);
            let restarts = Fault::InstanceRestarts;
            let fault = if more.percent(30) { Fault::At(more.one(&ACTIONS), Box::new(restarts)) } else { restarts };
            setup.moments.push(Moment { at, span: 0, service, server: 0, fault });
        }
    }
    let mut more = Dice::new(seed ^ 0x0C0C);
    let service = more.index(setup.model.services.len());
    let members = setup.model.services[service].servers.len() - usize::from(setup.asynchronous[service]);
    if more.percent(10) && setup.synchronous[service] == 1 && members > 2 {
        // Who acknowledged is lost with the primary, or shortly before it, or cannot be promoted; who is left was behind.
        let (behind, at) = (1 + more.index(members - 1), more.between(8_000, 8_000 + setup.chaos));
        let lag = Fault::Lag(more.one(&[4_000_000, 64_000_000]));
        setup.moments.push(Moment { at: at - more.between(500, 3_000), span: 60_000, service, server: behind, fault: lag });
        let earlier = more.one(&[40, 700]);
        let lost = if more.percent(50) { Fault::Kill { orphans: false } } else { Fault::ReplayPaused };
        for server in (1..members).filter(|server| *server != behind) {
            let at = at - more.between(0, earlier);
            setup.moments.push(Moment { at, span: 60_000, service, server, fault: lost.clone() });
        }
        setup.moments.push(Moment { at, span: 60_000, service, server: 0, fault: Fault::Kill { orphans: false } });
    }
    orders(seed, &mut setup);
    setup.moments.sort_by_key(|moment| moment.at);
    setup
}

/// Orders away from a primary that lives, and what goes wrong with them.
fn orders(seed: u64, setup: &mut Setup) {
    const STEPS: [&str; 6] = ["checkpoint", "route_out", "stop_server", "read_receipt", "start_server", "promote"];
    let mut dice = Dice::new(seed ^ 0x0D0D);
    if !dice.percent(15) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    let servers = setup.model.services[service].servers.len();
    let at = dice.between(6_000, 6_000 + setup.chaos);
    let order = Command::Force { to: None, accept_loss: dice.one(&[None, None, None, Some(1_000), Some(u64::MAX)]) };
    let mut happens = |server: usize, fault: Fault, span: u64| {
        setup.moments.push(Moment { at: at - 1, span, service, server, fault });
    };
    for _ in 0..dice.between(0, 3) {
        let step = dice.one(&STEPS);
        let standby = 1 + dice.index(servers - 1);
        match dice.between(0, 8) {
            0 => happens(0, Fault::At(step, Box::new(Fault::Crash { at_record: dice.percent(50) })), 2_000),
            1 => happens(0, Fault::At(step, Box::new(Fault::Kill { orphans: false })), 60_000),
            2 => happens(0, Fault::At(step, Box::new(Fault::Freeze)), 4_000),
            3 => happens(0, Fault::At(step, Box::new(Fault::Host)), 4_000),
            4 => happens(0, Fault::At(step, Box::new(Fault::Operator(Command::Stop))), 0),
            5 | 6 => happens(standby, Fault::Lag(dice.one(&[1, 10_000, 500_000])), 60_000),
            7 => happens(standby, Fault::At(step, Box::new(Fault::Kill { orphans: false })), 60_000),
            _ => {
                let wrong = dice.one(&[Wrong::NoEffect, Wrong::Unknown(true), Wrong::Unknown(false), Wrong::Silent(true)]);
                happens(0, Fault::Executor(step, wrong), 9_000);
            }
        }
    }
    setup.moments.push(Moment { at, span: 0, service, server: 0, fault: Fault::Operator(order) });
}

const KINDS: usize = 35;

fn fault(kind: usize, servers: usize, dice: &mut Dice) -> Fault {
    let wrong = match dice.between(0, 8) {
        0 => Wrong::NoEffect,
        1 => Wrong::Unknown(dice.percent(50)),
        2 => Wrong::TimedOut(dice.percent(50)),
        3 => Wrong::Silent(dice.percent(50)),
        4 => Wrong::OtherKind,
        5 => Wrong::Lie,
        _ => Wrong::Late(dice.one(&[500, 2_500, 8_000, 30_000])),
    };
    match kind {
        0 => Fault::Kill { orphans: dice.percent(30) },
        1 => Fault::Freeze,
        2 => Fault::PowerOff,
        3 => Fault::Restart { announced: dice.percent(70), down: dice.one(&[500, 2_000, 6_000, 15_000]) },
        4 => Fault::Impair(dice.one(&[
            Impairment::Saturated,
            Impairment::Starting,
            Impairment::Recovering,
            Impairment::Stopping,
            Impairment::Authentication,
            Impairment::Tls,
            Impairment::QueryRefused,
            Impairment::WriteBlocked,
            Impairment::WrongRole,
        ])),
        5 => Fault::Port(Link::Drop),
        6 => Fault::Port(Link::Reject),
        7 => Fault::Host,
        8 | 10 => Fault::Replication,
        9 => Fault::SessionEnds(dice.one(&[
            CloseCause::DeathHint,
            CloseCause::Announced,
            CloseCause::CrashRecovery,
            CloseCause::Unclassified,
            CloseCause::Ours,
        ])),
        11 => Fault::Lag(dice.one(&[10_000, 500_000, 4_000_000, 64_000_000])),
        12 => dice.one(&[0, 1, 2]).pick([Fault::Delayed, Fault::ReplayPaused, Fault::HiddenReceiver]),
        13 => dice.one(&[0, 1, 1]).pick([Fault::OtherCluster, Fault::PromotedElsewhere, Fault::OtherCluster]),
        14 => Fault::Flaky(dice.one(&[5, 20, 60])),
        15 => Fault::Resolver,
        16 => Fault::Instance,
        17 => Fault::Sleep,
        18 => dice.one(&[0, 1, 2]).pick([Fault::GapTold, Fault::Stuck, Fault::Stuck]),
        19 | 20 => Fault::Journal,
        21 | 22 => Fault::Crash { at_record: dice.percent(70) },
        23..=25 => Fault::Executor(dice.one(&ACTIONS), wrong),
        REPEAT => match dice.between(0, 3) {
            0 => Fault::Crash { at_record: false },
            _ => Fault::Operator(Command::Force { to: None, accept_loss: Some(u64::MAX) }),
        },
        // The steps that matter most go wrong more often.
        33 => Fault::Executor(dice.one(&["promote", "promote", "fence", "route_in", "verify_data"]), wrong),
        26 => Fault::Operator(match dice.between(0, 9) {
            0 | 1 => Command::Pause,
            2 => Command::Resume,
            3 | 4 => Command::Reset,
            5 => Command::Confirm,
            6 => Command::Stop,
            _ => Command::Force {
                to: dice.percent(50).then(|| ServerId(u16::try_from(dice.index(servers)).unwrap_or(0))),
                accept_loss: dice.one(&[None, Some(1_000), Some(u64::MAX)]),
            },
        }),
        27 => Fault::Reload,
        28 => dice.one(&[0, 1, 2]).pick([Fault::OldReturns, Fault::SecondEngine, Fault::OtherChecks]),
        29 => Fault::Burst(dice.one(&[10_000_000, 100_000_000])),
        _ => {
            let what = match dice.between(0, 6) {
                0 | 1 => Fault::Operator(Command::Stop),
                2 => fault(26, servers, dice),
                _ => {
                    let kind = dice.index(30);
                    fault(kind, servers, dice)
                }
            };
            Fault::At(dice.one(&ACTIONS), Box::new(what))
        }
    }
}

/// The kind that asks for a second failover.
const REPEAT: usize = 34;

trait Pick {
    fn pick<T>(self, of: [T; 3]) -> T;
}

impl Pick for usize {
    fn pick<T>(self, of: [T; 3]) -> T {
        of.into_iter().nth(self).expect("three")
    }
}

fn service(at: usize, dice: &mut Dice) -> ServiceModel {
    let servers = dice.one(&[2, 2, 3, 3, 4]);
    let name = format!("s{at}");
    let ssh = dice.percent(85);
    let fence_command = dice.percent(30);
    let others = dice.percent(40);
    let policy = if others { dice.one(&[Policy::Count, Policy::All, Policy::Quorum(2)]) } else { Policy::Count };
    let check = |server: usize, kind: CheckKind, word: &str| CheckModel {
        name: format!("db{}/{word}", server + 1),
        server: u16::try_from(server).unwrap_or(0),
        kind,
        interval: ms(1_000),
        fast_interval: ms(50),
        timeout: ms(1_500),
        failure_threshold: 3,
        success_threshold: 2,
    };
    let mut checks: Vec<CheckModel> = (0..servers).map(|server| check(server, CheckKind::Postgres, "postgres")).collect();
    if others {
        for server in 0..servers {
            checks.push(check(server, CheckKind::Exec, "exec"));
            checks.push(check(server, CheckKind::Scripted, "scripted"));
        }
    }
    let instances = dice.one(&[0, 1, 1, 2]);
    let mut model = ServiceModel {
        name,
        kind: if dice.percent(3) { ServiceKind::Application } else { ServiceKind::Postgres },
        servers: (0..servers)
            .map(|server| ServerModel {
                name: format!("db{}", server + 1),
                role: if server == 0 { Role::Primary } else { Role::Standby },
                priority: 100,
                candidate: server == 0 || dice.percent(90),
                ssh,
                fence_command,
                replication_name: None,
            })
            .collect(),
        checks,
        trigger: TriggerModel {
            failure_threshold: dice.one(&[1, 3, 3, 5]),
            failure_window: ms(dice.one(&[10_000, 60_000])),
            policy,
            cooldown: ms(dice.one(&[0, 5_000, 5_000, 300_000])),
            require_confirmation: dice.percent(12),
            confirm_timeout: ms(dice.one(&[5_000, 300_000])),
            failover_timeout: ms(dice.one(&[15_000, 120_000])),
            hang_after: ms(dice.one(&[2_500, 3_400, 10_000])),
            ping_interval: ms(dice.one(&[250, 500])),
            restart_grace: ms(dice.one(&[3_000, 10_000])),
            on_impaired: dice.percent(25).then(|| ms(5_000)),
        },
        postgres: PostgresModel {
            max_lag_bytes: dice.one(&[0, 65_536, 1_048_576, 16_777_216]),
            on_loss: if dice.percent(15) { OnLoss::Proceed } else { OnLoss::Refuse },
            fence_require: if dice.percent(12) {
                dice.one(&[FenceLevel::None, FenceLevel::TrafficRemoved, FenceLevel::PowerOff])
            } else {
                FenceLevel::ProvenStopped
            },
            route_exclusive: dice.percent(35),
            promotion_timeout: ms(dice.one(&[10_000, 60_000])),
            fence_timeout: ms(10_000),
            on_no_sync_standby: if dice.percent(70) { OnNoSyncStandby::Async } else { OnNoSyncStandby::Block },
            allow_delayed: dice.percent(10),
        },
        route: RouteModel { instances, verify: instances > 0 && dice.percent(80), ..RouteModel::none() },
        pre_checks: dice.percent(15),
        follows: None,
    };
    if model.kind == ServiceKind::Application {
        // Watched only: what an application with a route does is tried in tests/core_application.rs.
        model.route = RouteModel::none();
    }
    model
}
