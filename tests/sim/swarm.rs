//! What one seed decides before its run: the settings, and which faults happen when. A seed turns most kinds of faults off and a few
//! on, strongly: two faults that need each other meet far more often than with all of them on, weakly.

use std::sync::LazyLock;

use failover_core::id::ServerId;
use failover_core::input::Command;
use failover_core::model::{Model, ServiceKind, ServiceModel};
use failover_core::observation::{CloseCause, Impairment};
use failover_core::sample::SyncCommit;
use failover_core::switchover::{GateModel, OnPauseTimeout, SwitchoverOrder};
use failover_core::time::Span;

use super::dice::Dice;
use super::followers;
use super::pairs;
use super::plots;
use super::rare;
use super::replication::Rule;
use super::salvage;
use super::settings::service;
use super::sweep;
use super::sync_sets;

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
    Reload(Change),
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
    /// The receiver of a standby ends, and streams again later.
    Flicker,
    /// An administrator names others, or nobody, in `synchronous_standby_names`; or changes `synchronous_commit`.
    Rule(Option<Rule>),
    Commit(SyncCommit),
    /// A receiver of this name that is no configured standby.
    Stranger(&'static str),
    /// An old backup is restored at a standby's address, and takes writes.
    Restored,
    /// The engine is stopped in an orderly way, and started again after the fault's span.
    CleanStop,
    /// What was frozen goes on.
    Wake,
    /// The disk is full: what a failover has reserved can be written, and nothing else.
    DiskFull,
    KillIfPrimary,
    /// The next time an action of this name is asked for, this happens: right before it is begun, while it is under way, or when it is
    /// done and the engine has not heard of it.
    Before(&'static str, Box<Fault>),
    At(&'static str, Box<Fault>),
    After(&'static str, Box<Fault>),
    /// The engine's machine is suspended: its monotonic clock stands still.
    Suspend,
    /// The wall clock of the engine's machine is set, by so many seconds.
    WallClock(i64),
    /// Every answer of a server takes so many milliseconds longer.
    Slow(u64),
    Damaged(Damage),
    /// What the survey finds never comes.
    Surveyless,
    /// A person makes a standby of the primary.
    Demoted,
    /// What a server's disk has cannot be read by its host's helper.
    Unreadable,
    /// The disk of a standby takes so much of another one's log, and no more.
    SpoolTakes(u64),
}

/// What is different in the configuration that is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// Thresholds, limits and what is required, as these dice decide.
    Settings(u64),
    /// One more server: one that had been taken out, or a new standby.
    Added(u64),
    Removed(u64),
    Reordered(u64),
}

/// What a server's sample lacks, or says in a way that nobody can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Flush,
    Receive,
    Replay,
    Started,
    Loaded,
    Replicas,
    LatestEnd,
    AtEnd,
    Names,
    /// The whole of it.
    All,
}

impl Damage {
    pub const ALL: [Damage; 10] = [
        Damage::Flush,
        Damage::Receive,
        Damage::Replay,
        Damage::Started,
        Damage::Loaded,
        Damage::Replicas,
        Damage::LatestEnd,
        Damage::AtEnd,
        Damage::Names,
        Damage::All,
    ];
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

/// How the standbys of a service receive.
#[derive(Clone, Debug)]
pub struct Replication {
    pub rule: Option<Rule>,
    pub commit: SyncCommit,
    /// What each server is called as a standby.
    pub called: Vec<String>,
    pub slots: bool,
    /// The last standby is named nowhere.
    pub asynchronous: bool,
    /// The first of these follows the second one, which is a standby itself.
    pub cascade: Option<(usize, usize)>,
    /// Milliseconds between two restartpoints, and for the replay of what a restarted standby has on its disk.
    pub checkpoint: u64,
    pub replay: u64,
    /// Of each server: as a standby it looks into the spool.
    pub spool: Vec<bool>,
}

#[derive(Clone, Debug)]
pub struct Setup {
    pub model: Model,
    pub moments: Vec<Moment>,
    pub replication: Vec<Replication>,
    pub write_rate: Vec<u64>,
    pub chaos: u64,
}

/// These broke something before faults were thrown in pairs: they go on meaning what they meant.
const KEPT: [u64; 26] = [
    3, 62, 6, 2, 95, 102, 20, 112, 117, 133, 146, 149, 195, 274, 387, 521, 647, 913, 644, 1003, 484, 2102, 3802, 2320, 3617, 5669,
];

/// So do these, from before the end of a dead primary's log could be carried over.
static SALVAGE_IS_NEWER: LazyLock<Vec<u64>> =
    LazyLock::new(|| crate::regressions_before("# From here on with salvage.").collect());

/// And these, from before one standby could follow another one.
static CASCADES_ARE_NEWER: LazyLock<Vec<u64>> =
    LazyLock::new(|| crate::regressions_before("# From here on with cascades.").collect());

/// And these, from before the other standbys were pointed to a new primary.
static FOLLOWERS_ARE_NEWER: LazyLock<Vec<u64>> =
    LazyLock::new(|| crate::regressions_before("# From here on with followers.").collect());

/// And these, from before the engine kept the set that commits wait for.
static SYNC_SETS_ARE_NEWER: LazyLock<Vec<u64>> =
    LazyLock::new(|| crate::regressions_before("# From here on with sync sets.").collect());

pub const ACTIONS: [&str; 14] = [
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

pub fn setup(seed: u64) -> Setup {
    let mut dice = Dice::new(seed);
    let count = if dice.percent(20) { 2 } else { 1 };
    let services: Vec<ServiceModel> = (0..count).map(|at| service(at, &mut dice)).collect();
    let synchronous: Vec<usize> = services
        .iter()
        .map(|one| if one.servers.len() > 2 && dice.percent(15) { 2 } else { usize::from(dice.percent(30)) })
        .collect();
    let write_rate = services.iter().map(|_| dice.one(&[1_000, 20_000, 200_000, 2_000_000])).collect();
    let asynchronous: Vec<bool> = services.iter().map(|one| one.servers.len() > 2 && dice.percent(40)).collect();
    let chaos = dice.between(8_000, 40_000);
    let mut names = Dice::new(seed ^ 0x0E0E);
    let replication = services
        .iter()
        .zip(synchronous.iter().zip(&asynchronous))
        .map(|(one, (required, asynchronous))| {
            let servers: Vec<String> = one.servers.iter().map(|server| server.name.clone()).collect();
            plots::replication(&servers, *required, *asynchronous, &mut names)
        })
        .collect();
    let mut setup = Setup {
        model: Model { seed: dice.next(), services, max_concurrent_failovers: None },
        moments: Vec::new(),
        replication,
        write_rate,
        chaos,
    };
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
    let members = setup.model.services[service].servers.len() - usize::from(setup.replication[service].asynchronous);
    let one = setup.replication[service].rule.as_ref().is_some_and(|rule| rule.required == 1);
    if more.percent(10) && one && members > 2 {
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
    gates(seed, &mut setup);
    cordons(&mut setup, &mut Dice::new(seed ^ 0x0CC0), if CASCADES_ARE_NEWER.contains(&seed) { 20 } else { 50 });
    // Where two services may fail together.
    if setup.model.services.len() > 1 && Dice::new(seed ^ 0x0CC2).percent(50) {
        setup.model.max_concurrent_failovers = Some(1);
    }
    timed_pauses(&mut setup, &mut Dice::new(seed ^ 0x0CC1));
    come_and_go(&mut setup, &mut Dice::new(seed ^ 0x0F0F));
    plots::add(&mut setup, &mut Dice::new(seed ^ 0x0A0A));
    plots::add_later(&mut setup, &mut Dice::new(seed ^ 0x0D39));
    if !KEPT.contains(&seed) {
        pairs::add(&mut setup, seed);
        pairs::reloads(&mut setup, seed);
        sweep::add(&mut setup, seed);
        sweep::asleep(&mut setup, seed);
        rare::add(&mut setup, seed);
    }
    if !SALVAGE_IS_NEWER.contains(&seed) {
        salvage::add(&mut setup, seed);
    }
    if !FOLLOWERS_ARE_NEWER.contains(&seed) {
        followers::add(&mut setup, seed, !CASCADES_ARE_NEWER.contains(&seed));
    }
    if !SYNC_SETS_ARE_NEWER.contains(&seed) {
        sync_sets::add(&mut setup, seed);
    }
    name_in_model(&mut setup, &mut Dice::new(seed ^ 0x0909));
    setup.moments.sort_by_key(|moment| moment.at);
    setup
}

/// Servers that an operator cordons for a while, or for good, also in the middle of a failover.
fn cordons(setup: &mut Setup, dice: &mut Dice, often: u64) {
    if !dice.percent(often) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    let servers = setup.model.services[service].servers.len();
    for _ in 0..dice.between(1, 3) {
        let server = ServerId(u16::try_from(dice.index(servers)).unwrap_or(0));
        let at = dice.between(4_500, 10_000 + setup.chaos);
        let cordon = Fault::Operator(Command::Cordon { server });
        let fault = if dice.percent(30) { Fault::At(dice.one(&ACTIONS), Box::new(cordon)) } else { cordon };
        setup.moments.push(Moment { at, span: 0, service, server: 0, fault });
        if dice.percent(60) {
            let fault = Fault::Operator(Command::Uncordon { server });
            setup.moments.push(Moment { at: at + dice.between(100, 20_000), span: 0, service, server: 0, fault });
        }
    }
}

/// Pauses that end by themselves.
fn timed_pauses(setup: &mut Setup, dice: &mut Dice) {
    if !dice.percent(20) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    for _ in 0..dice.between(1, 3) {
        let lasts = Some(Span::from_millis(dice.one(&[1, 300, 2_000, 10_000, 60_000])));
        let reason = dice.percent(50).then(|| "by the simulator".to_owned());
        let at = dice.between(4_500, 10_000 + setup.chaos);
        let fault = Fault::Operator(Command::Pause { reason, lasts });
        setup.moments.push(Moment { at, span: 0, service, server: 0, fault });
    }
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
    let order = match dice.one(&[None, None, None, Some(1_000), Some(u64::MAX)]) {
        None => Command::Switchover { to: None, order: SwitchoverOrder::Begin },
        accept_loss => Command::Force { to: None, accept_loss },
    };
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

/// Poolers in front, planned work, and what goes wrong at the gate.
fn gates(seed: u64, setup: &mut Setup) {
    const STEPS: [&str; 6] = ["close_gate", "close_gate", "route_out", "stop_server", "read_receipt", "route_in"];
    type Ends = fn(&'static str, Box<Fault>) -> Fault;
    let mut dice = Dice::new(seed ^ 0x6A7E);
    if !dice.percent(12) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    let model = &mut setup.model.services[service];
    if model.kind != ServiceKind::Postgres {
        return;
    }
    model.route.instances = model.route.instances.max(1);
    model.route.gate = Some(GateModel {
        pause_timeout: Span::from_millis(dice.one(&[200, 1_000])),
        on_timeout: dice.one(&[OnPauseTimeout::Abort, OnPauseTimeout::Cut, OnPauseTimeout::Wait]),
    });
    model.servers.iter_mut().for_each(|server| server.ssh = true);
    let at = dice.between(6_000, 6_000 + setup.chaos);
    let mut happens = |fault: Fault, span: u64| setup.moments.push(Moment { at: at - 1, span, service, server: 0, fault });
    if dice.percent(60) {
        let step = dice.one(&STEPS);
        // Before it, in its course, or right after it.
        let when = dice.one(&[Fault::Before as Ends, Fault::At, Fault::After]);
        match dice.between(0, 6) {
            0 | 1 => happens(when(step, Box::new(Fault::Crash { at_record: dice.percent(50) })), 2_000),
            2 => happens(Fault::At(step, Box::new(Fault::Kill { orphans: false })), 60_000),
            3 => happens(dice.one(&[Fault::At as Ends, Fault::After])(step, Box::new(Fault::CleanStop)), 2_000),
            4 => happens(Fault::At(step, Box::new(Fault::Instance)), 3_000),
            _ => {
                let wrong = dice.one(&[Wrong::NoEffect, Wrong::Unknown(true), Wrong::Unknown(false), Wrong::Silent(true)]);
                happens(Fault::Executor(step, wrong), 9_000);
            }
        }
    }
    // Now, or planned a moment before.
    let order = if dice.percent(70) {
        SwitchoverOrder::Begin
    } else {
        SwitchoverOrder::Plan { after: Span::from_millis(900), at_ms: at }
    };
    let fault = Fault::Operator(Command::Switchover { to: None, order });
    setup.moments.push(Moment { at, span: 0, service, server: 0, fault });
}

/// Members that flicker and restart, settings that change, strangers.
fn come_and_go(setup: &mut Setup, dice: &mut Dice) {
    if !dice.percent(40) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    let servers = setup.model.services[service].servers.len();
    let called = setup.replication[service].called.clone();
    for _ in 0..dice.between(1, 5) {
        let at = dice.between(4_500, 4_500 + setup.chaos);
        let standby = 1 + dice.index(servers - 1);
        let span = dice.between(50, 3_000);
        let (server, fault) = match dice.between(0, 20) {
            8..12 => (standby, Fault::Restart { announced: false, down: span }),
            12 => (0, Fault::Rule(None)),
            13 | 14 => {
                let names = if dice.percent(20) { vec!["*".into()] } else { called[1..].to_vec() };
                (0, Fault::Rule(Some(Rule { first: dice.percent(50), required: 1, names })))
            }
            15 => (0, Fault::Commit(dice.one(&[SyncCommit::On, SyncCommit::Local, SyncCommit::RemoteWrite]))),
            16 => (0, Fault::Stranger(dice.one(&["walreceiver", "pg_receivewal"]))),
            17 => (0, Fault::DiskFull),
            18 => (0, Fault::CleanStop),
            _ => (standby, Fault::Flicker),
        };
        setup.moments.push(Moment { at, span, service, server, fault });
    }
}

/// Where the configuration says what a standby is called: it has to where the receiver is hidden.
fn name_in_model(setup: &mut Setup, dice: &mut Dice) {
    for (service, replication) in setup.model.services.iter_mut().zip(&setup.replication) {
        if dice.percent(40) {
            for (server, called) in service.servers.iter_mut().zip(&replication.called) {
                server.replication_name = Some(called.clone());
            }
        }
    }
}

const KINDS: usize = 35;

pub fn any_wrong(dice: &mut Dice) -> Wrong {
    match dice.between(0, 8) {
        0 => Wrong::NoEffect,
        1 => Wrong::Unknown(dice.percent(50)),
        2 => Wrong::TimedOut(dice.percent(50)),
        3 => Wrong::Silent(dice.percent(50)),
        4 => Wrong::OtherKind,
        5 => Wrong::Lie,
        _ => Wrong::Late(dice.one(&[500, 2_500, 8_000, 30_000])),
    }
}

fn fault(kind: usize, servers: usize, dice: &mut Dice) -> Fault {
    let wrong = any_wrong(dice);
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
            0 | 1 => Command::pause(),
            2 => Command::Resume,
            3 | 4 => Command::Reset,
            5 => Command::Confirm,
            6 => Command::Stop,
            _ => Command::Force {
                to: dice.percent(50).then(|| ServerId(u16::try_from(dice.index(servers)).unwrap_or(0))),
                accept_loss: dice.one(&[None, Some(1_000), Some(u64::MAX)]),
            },
        }),
        27 => Fault::Reload(Change::Nothing),
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
