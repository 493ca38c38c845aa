//! Courses of events that dice would hardly ever throw: several faults in an order that once cost somebody acknowledged rows, with
//! their moments by chance.

use failover_core::input::Command;
use failover_core::observation::{CloseCause, Impairment};
use failover_core::sample::SyncCommit;
use failover_core::switchover::SwitchoverOrder;

use super::dice::Dice;
use super::replication::Rule;
use super::swarm::{Fault, Link, Moment, Replication, Setup, Wrong};

/// How standbys are called, and whom the primary waits for, where it waits for `required` of them.
pub fn replication(servers: &[String], required: usize, asynchronous: bool, dice: &mut Dice) -> Replication {
    let shared = dice.percent(30);
    let other = dice.percent(20);
    let called: Vec<String> = servers
        .iter()
        .map(|name| {
            if shared {
                "walreceiver".into()
            } else if other {
                format!("Standby-{name}")
            } else {
                name.clone()
            }
        })
        .collect();
    let members = servers.len() - usize::from(asynchronous);
    let rule = (required > 0).then(|| {
        let first = dice.percent(35);
        let some = dice.percent(20) && members > 2 && required == 1;
        let listed: Vec<String> = called[1..members - usize::from(some)].to_vec();
        let names = match dice.between(0, 10) {
            0..2 => vec!["*".into()],
            _ if shared => vec!["walreceiver".into()],
            2 => listed.into_iter().chain(["elsewhere".into()]).collect(),
            _ => listed,
        };
        Rule { first, required, names }
    });
    let spool = vec![false; servers.len()];
    Replication {
        cascade: None,
        spool,
        rule,
        commit: if dice.percent(6) { dice.one(&[SyncCommit::Local, SyncCommit::RemoteWrite]) } else { SyncCommit::On },
        called,
        slots: dice.percent(50),
        asynchronous,
        checkpoint: dice.one(&[2_000, 30_000, 300_000]),
        replay: dice.one(&[5, 300, 2_000, 8_000]),
    }
}

struct Plot<'a> {
    moments: Vec<Moment>,
    service: usize,
    at: u64,
    servers: usize,
    dice: &'a mut Dice,
}

impl Plot<'_> {
    fn then(&mut self, at: u64, span: u64, server: usize, fault: Fault) {
        self.moments.push(Moment { at, span, service: self.service, server, fault });
    }

    fn kill(&mut self, at: u64) {
        self.then(at, 60_000, 0, Fault::Kill { orphans: false });
    }
}

/// Adds one to a seed, in most seeds that have one instead of everything else.
pub fn add(setup: &mut Setup, dice: &mut Dice) {
    if !dice.percent(50) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    let servers = setup.model.services[service].servers.len();
    let at = dice.between(9_000, 4_500 + setup.chaos);
    if dice.percent(70) {
        setup.moments.clear();
    }
    let replication = &mut setup.replication[service];
    let mut plot = Plot { moments: Vec::new(), service, at, servers, dice };
    match plot.dice.between(0, 15) {
        0 => quorum_race(&mut plot, replication),
        1 => one_name_for_all(&mut plot, replication),
        2 => names_cleared_unseen(&mut plot, replication),
        3 | 4 => second_failover(&mut plot),
        5 => wrote_on_meanwhile(&mut plot),
        6 | 7 => engine_away(&mut plot),
        8 => promoted_by_hand(&mut plot),
        9 => wakes_before_its_fence(&mut plot),
        10 => half_replayed(&mut plot, replication),
        11 => stranger(&mut plot, replication),
        12 => restored_elsewhere(&mut plot),
        13 => rule_changed(&mut plot, replication),
        _ => forced_while_it_lives(&mut plot),
    }
    setup.moments.append(&mut plot.moments);
}

/// One member is away, comes back as the other one's receiver ends, and the primary dies before anybody looks.
fn quorum_race(plot: &mut Plot, replication: &mut Replication) {
    let Some((one, other)) = (plot.servers > 2).then_some((1, 2)) else { return engine_away(plot) };
    let first = plot.dice.percent(30);
    if plot.dice.percent(70) {
        replication.asynchronous = false;
        replication.rule = Some(Rule { first, required: 1, names: replication.called[1..].to_vec() });
        replication.commit = SyncCommit::On;
    }
    let away = plot.dice.between(600, 5_000);
    let overlap = plot.dice.between(5, 200);
    let (one, other) = if plot.dice.percent(50) { (one, other) } else { (other, one) };
    plot.then(plot.at - away, away, other, Fault::Flicker);
    plot.then(plot.at + overlap, 60_000, one, Fault::Flicker);
    let strike = plot.at + overlap + plot.dice.between(1, 900);
    plot.kill(strike);
}

/// Every standby goes by `walreceiver`, and one is behind.
fn one_name_for_all(plot: &mut Plot, replication: &mut Replication) {
    replication.called.fill("walreceiver".into());
    replication.rule = Some(Rule { first: plot.dice.percent(50), required: 1, names: vec!["walreceiver".into()] });
    replication.commit = SyncCommit::On;
    let behind = 1 + plot.dice.index(plot.servers - 1);
    let lag = Fault::Lag(plot.dice.one(&[20_000, 4_000_000]));
    plot.then(plot.at - 4_000, 60_000, behind, lag);
    let lost = plot.dice.percent(40);
    for server in (1..plot.servers).filter(|server| lost && *server != behind) {
        let when = plot.at - plot.dice.between(0, 600);
        plot.then(when, 60_000, server, Fault::Kill { orphans: false });
    }
    plot.kill(plot.at);
}

/// The primary cannot be asked, its standbys hear nothing, an administrator clears the names, and writes go on.
fn names_cleared_unseen(plot: &mut Plot, replication: &mut Replication) {
    let names = replication.called[1..].to_vec();
    replication.rule.get_or_insert(Rule { first: false, required: 1, names });
    let before = plot.dice.between(300, 4_000);
    let full = plot.dice.percent(70);
    if full {
        plot.then(plot.at - before, 60_000, 0, Fault::SessionEnds(CloseCause::Unclassified));
        plot.then(plot.at - before, 60_000, 0, Fault::Impair(Impairment::Saturated));
    }
    for server in 1..plot.servers {
        plot.then(plot.at - before, 60_000, server, Fault::Replication);
    }
    let cleared = plot.at - plot.dice.between(1, before);
    plot.then(cleared, 0, 0, Fault::Rule(None));
    plot.kill(plot.at);
}

/// A failover, the old primary back without pg_rewind, and another death before the next restartpoint.
fn second_failover(plot: &mut Plot) {
    let at = plot.dice.between(6_000, 12_000);
    plot.then(at, 60_000, 0, Fault::Kill { orphans: false });
    let back = at + plot.dice.between(3_000, 10_000);
    plot.then(back, 0, 0, Fault::Rejoin);
    plot.then(back + 100, 0, 0, Fault::Operator(Command::Reset));
    let again = back + plot.dice.between(3_000, 9_000);
    for server in 1..plot.servers {
        // Whoever is not the primary by then is left alone.
        plot.then(again, 60_000, server, Fault::KillIfPrimary);
    }
    if plot.dice.percent(35) {
        // The engine is away, and an operator helps himself with the server that was deposed before.
        let away = plot.dice.between(500, 6_000);
        let start = again - plot.dice.between(1, 400);
        plot.then(start, away, 0, Fault::Crash { at_record: false });
        let when = again + plot.dice.between(100, away + 3_000);
        plot.then(when, 0, 0, Fault::PromotedElsewhere);
        return;
    }
    if plot.dice.percent(40) {
        let flicker = again - plot.dice.between(1, 400);
        plot.then(flicker, 60_000, 0, Fault::Flicker);
    }
}

/// The engine dies in mid-failover; the old primary is started, writes, and dies again before the next engine comes.
fn wrote_on_meanwhile(plot: &mut Plot) {
    let at = plot.at;
    plot.kill(at);
    let step = plot.dice.one(&["route_out", "fence", "read_positions"]);
    let down = plot.dice.between(3_000, 20_000);
    let at_record = plot.dice.percent(50);
    plot.then(at - 1, down, 0, Fault::At(step, Box::new(Fault::Crash { at_record })));
    for server in 1..plot.servers {
        plot.then(at + 100, 40_000, server, Fault::Replication);
    }
    let back = at + plot.dice.between(600, 1_500);
    plot.then(back, 0, 0, Fault::OldReturns);
    let again = back + plot.dice.between(200, 1_200);
    plot.kill(again);
}

/// The engine is killed, stopped or asleep around the death.
fn engine_away(plot: &mut Plot) {
    let away = plot.dice.one(&[60, 900, 2_500, 6_000, 30_000]);
    let away = plot.dice.between(20, away.max(21));
    let fault = match plot.dice.between(0, 3) {
        0 => Fault::Crash { at_record: false },
        1 => Fault::CleanStop,
        _ => Fault::Sleep,
    };
    let start = plot.at - plot.dice.between(0, away.min(4_000));
    let start = if plot.dice.percent(20) { plot.at + plot.dice.between(1, 300) } else { start };
    plot.then(start, away, 0, fault);
    if plot.dice.percent(30) {
        for server in 1..plot.servers {
            plot.then(start, 60_000, server, Fault::Replication);
        }
    }
    plot.kill(plot.at);
}

/// Somebody promotes a standby while the failover is under way, or while the engine is away.
fn promoted_by_hand(plot: &mut Plot) {
    plot.kill(plot.at);
    let server = 1 + plot.dice.index(plot.servers - 1);
    if plot.dice.percent(60) {
        let step = plot.dice.one(&["route_out", "fence", "fence", "read_positions", "promote"]);
        let at = plot.at - 1;
        plot.then(at, 0, server, Fault::At(step, Box::new(Fault::PromotedElsewhere)));
        return;
    }
    if plot.dice.percent(40) {
        // One that was behind, under a pause, while the engine looks on.
        let lag = plot.dice.between(100, 400_000);
        let (start, end) = (plot.at - plot.dice.between(1, 5_000), plot.at + plot.dice.between(500, 8_000));
        plot.then(start, 60_000, server, Fault::Lag(lag));
        plot.then(plot.at - 500, 0, 0, Fault::Operator(Command::pause()));
        plot.then(end, 0, server, Fault::PromotedElsewhere);
        return;
    }
    let away = plot.dice.between(2_000, 20_000);
    let start = plot.at - plot.dice.between(1, 500);
    plot.then(start, away, 0, Fault::Crash { at_record: false });
    let when = plot.at + plot.dice.between(100, away + 8_000);
    plot.then(when, 0, server, Fault::PromotedElsewhere);
}

/// A primary that hung goes on, and acknowledges more, before its fence.
fn wakes_before_its_fence(plot: &mut Plot) {
    for server in 1..plot.servers {
        let fault = if plot.dice.percent(60) { Fault::Replication } else { Fault::Lag(2_000) };
        let start = plot.at - plot.dice.between(1, 1_500);
        plot.then(start, 60_000, server, fault);
    }
    let step = plot.dice.one(&["route_out", "fence", "fence"]);
    plot.then(plot.at - 1, 0, 0, Fault::At(step, Box::new(Fault::Wake)));
    plot.then(plot.at, 60_000, 0, Fault::Freeze);
}

/// A member that has acknowledged is restarted, and has not replayed its own log when the primary dies.
fn half_replayed(plot: &mut Plot, replication: &mut Replication) {
    if plot.dice.percent(70) {
        replication.asynchronous = false;
        replication.rule = Some(Rule { first: plot.dice.percent(30), required: 1, names: replication.called[1..].to_vec() });
        replication.commit = SyncCommit::On;
    }
    let server = 1 + plot.dice.index(plot.servers - 1);
    let before = plot.dice.between(20, 1_500);
    let down = plot.dice.between(10, before.max(11));
    plot.then(plot.at - before, 0, server, Fault::Restart { announced: false, down });
    for other in (1..plot.servers).filter(|other| *other != server) {
        let (fault, earlier) = if plot.dice.percent(50) { (Fault::Flicker, 900) } else { (Fault::Lag(300_000), 6_000) };
        let start = plot.at - plot.dice.between(before.min(earlier), earlier + 600);
        plot.then(start, 60_000, other, fault);
    }
    plot.kill(plot.at);
}

/// Somebody archives with `pg_receivewal`, and it acknowledges.
fn stranger(plot: &mut Plot, replication: &mut Replication) {
    let name = if plot.dice.percent(50) { "walreceiver" } else { "pg_receivewal" };
    if plot.dice.percent(60) {
        let names = vec![plot.dice.one(&["*", name]).to_owned()];
        replication.rule = Some(Rule { first: plot.dice.percent(30), required: 1, names });
    }
    let start = plot.at - plot.dice.between(1, 5_000);
    plot.then(start, 60_000, 0, Fault::Stranger(name));
    for server in 1..plot.servers {
        if plot.dice.percent(60) {
            let lag = plot.dice.one(&[4_000, 400_000]);
            plot.then(plot.at - 4_000, 60_000, server, Fault::Lag(lag));
        }
    }
    plot.kill(plot.at);
}

/// An old backup is restored at a configured address, and takes writes on a higher timeline.
fn restored_elsewhere(plot: &mut Plot) {
    let server = 1 + plot.dice.index(plot.servers - 1);
    let after = plot.dice.percent(60);
    let when = if after { plot.at + plot.dice.between(1, 4_000) } else { plot.at - plot.dice.between(1, 3_000) };
    plot.then(when, 0, server, Fault::Restored);
    let fault = match plot.dice.between(0, 3) {
        0 => Fault::Port(Link::Drop),
        1 => Fault::Freeze,
        _ => Fault::Kill { orphans: false },
    };
    plot.then(plot.at, 30_000, 0, fault);
}

/// Other standbys are named than before, and the primary dies soon after.
fn rule_changed(plot: &mut Plot, replication: &mut Replication) {
    let Some(called) = (plot.servers > 2).then(|| replication.called.clone()) else { return engine_away(plot) };
    replication.rule = Some(Rule { first: false, required: 1, names: vec![called[1].clone()] });
    let other = Rule { first: plot.dice.percent(50), required: 1, names: vec![called[2].clone()] };
    let before = plot.dice.between(1, 4_000);
    plot.then(plot.at - 6_000, 60_000, 2, Fault::Lag(500_000));
    if plot.dice.percent(50) {
        plot.then(plot.at - before, 60_000, 1, Fault::Kill { orphans: false });
    }
    let rule = if plot.dice.percent(70) { Some(other) } else { None };
    plot.then(plot.at - before, 0, 0, Fault::Rule(rule));
    plot.kill(plot.at);
}

/// An operator moves the role away from a primary that is well, while a standby receives slowly.
fn forced_while_it_lives(plot: &mut Plot) {
    for server in 1..plot.servers {
        let fault = if plot.dice.percent(50) { Fault::Lag(plot.dice.one(&[900, 40_000])) } else { Fault::Replication };
        let start = plot.at - plot.dice.between(1, 900);
        plot.then(start, 60_000, server, fault);
    }
    plot.then(plot.at, 0, 0, Fault::Operator(Command::Switchover { to: None, order: SwitchoverOrder::Begin }));
}

/// Courses that came later, with dice of their own: the seeds that broke something once go on meaning what they meant.
pub fn add_later(setup: &mut Setup, dice: &mut Dice) {
    if !dice.percent(20) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    let servers = setup.model.services[service].servers.len();
    if servers < 3 {
        return;
    }
    let at = dice.between(16_000, 20_000 + setup.chaos);
    setup.moments.clear();
    let replication = &mut setup.replication[service];
    replication.asynchronous = false;
    let mut plot = Plot { moments: Vec::new(), service, at, servers, dice };
    match plot.dice.between(0, 8) {
        0 | 1 => further_and_unfit(&mut plot, replication),
        2 => written_only(&mut plot, replication),
        3 => half_replayed(&mut plot, replication),
        4 => may_outrun(&mut plot, replication),
        5 => promoted_without_effect(&mut plot),
        6 => copy_of_a_member(&mut plot, replication),
        _ => named_another(&mut plot, replication),
    }
    setup.moments.append(&mut plot.moments);
}

/// One standby has the most and cannot be promoted, or is restarting; the others are behind, or lost their receivers shortly before the
/// death.
fn further_and_unfit(plot: &mut Plot, replication: &mut Replication) {
    let waits = plot.dice.percent(50);
    let names = replication.called[1..].to_vec();
    replication.rule = waits.then_some(Rule { first: plot.dice.percent(30), required: 1, names });
    replication.commit = SyncCommit::On;
    let further = 1 + plot.dice.index(plot.servers - 1);
    let before = plot.dice.between(20, 400);
    for server in (1..plot.servers).filter(|server| *server != further) {
        if waits {
            let lag = plot.dice.one(&[2_000, 50_000, 400_000]);
            plot.then(plot.at - 8_000, 60_000, server, Fault::Lag(lag));
        } else {
            plot.then(plot.at - before, 60_000, server, Fault::Flicker);
        }
    }
    if !waits {
        let rate = plot.dice.one(&[1_000_000, 100_000_000]);
        let start = plot.at - plot.dice.between(1, before.min(400));
        plot.then(start, 2_000, 0, Fault::Burst(rate));
    }
    if plot.dice.percent(60) {
        let start = plot.at - plot.dice.between(before, before + 8_000);
        plot.then(start, 60_000, further, Fault::ReplayPaused);
    } else {
        let start = plot.at - plot.dice.between(10, 400);
        plot.then(start, 0, further, Fault::Restart { announced: false, down: 5 });
    }
    plot.kill(plot.at);
}

/// Every standby refuses to be promoted: nobody is left, and everything goes back.
fn promoted_without_effect(plot: &mut Plot) {
    plot.then(plot.at - 10, 60_000, 0, Fault::Executor("promote", Wrong::NoEffect));
    plot.kill(plot.at);
}

/// A copy of a standby acknowledges under its name, and the standby itself receives nothing any more.
fn copy_of_a_member(plot: &mut Plot, replication: &mut Replication) {
    let name = "walreceiver";
    let member = 1 + plot.dice.index(plot.servers - 1);
    replication.called[member] = name.into();
    let everybody = plot.dice.percent(30);
    replication.rule =
        Some(Rule { first: plot.dice.percent(50), required: 1, names: vec![if everybody { "*" } else { name }.into()] });
    replication.commit = SyncCommit::On;
    let ended = plot.at - plot.dice.between(500, 9_000);
    plot.then(ended, 60_000, member, Fault::Flicker);
    let start = plot.at - plot.dice.between(400, 9_000);
    plot.then(start, 60_000, 0, Fault::Stranger(name));
    if plot.dice.percent(50) {
        let start = plot.at - plot.dice.between(300, 3_000);
        plot.then(start, 3_000, 0, Fault::Burst(50_000_000));
    }
    plot.kill(plot.at);
}

/// Commits wait until a standby has written them, and its machine loses power with the primary.
fn written_only(plot: &mut Plot, replication: &mut Replication) {
    replication.rule = Some(Rule { first: plot.dice.percent(30), required: 1, names: replication.called[1..].to_vec() });
    replication.commit = SyncCommit::RemoteWrite;
    let server = 1 + plot.dice.index(plot.servers - 1);
    let before = plot.dice.between(1, 300);
    for other in (1..plot.servers).filter(|other| *other != server) {
        let start = plot.at - before - plot.dice.between(1, 900);
        plot.then(start, 60_000, other, Fault::Flicker);
    }
    let down = plot.dice.between(before, before + 3_000);
    plot.then(plot.at - before, down, server, Fault::PowerOff);
    plot.kill(plot.at);
}

/// Another standby is named than before, and those who acknowledged until then are gone; the new one lacks little.
fn named_another(plot: &mut Plot, replication: &mut Replication) {
    let called = replication.called.clone();
    replication.rule = Some(Rule { first: false, required: 1, names: vec![called[1].clone()] });
    replication.commit = SyncCommit::On;
    for server in 2..plot.servers {
        let lag = plot.dice.one(&[60_000, 800_000]);
        plot.then(plot.at - 9_000, 60_000, server, Fault::Lag(lag));
    }
    let before = plot.dice.between(2_200, 6_000);
    plot.then(plot.at - before, 0, 0, Fault::Rule(Some(Rule { first: false, required: 1, names: called[2..].to_vec() })));
    let gone = plot.at - before - plot.dice.between(0, 50);
    plot.then(gone, 60_000, 1, Fault::Kill { orphans: false });
    plot.kill(plot.at);
}

/// One who acknowledges cannot be promoted, and is a little further than the others, for long before the death.
fn may_outrun(plot: &mut Plot, replication: &mut Replication) {
    replication.rule = Some(Rule { first: false, required: 1, names: replication.called[1..].to_vec() });
    replication.commit = SyncCommit::On;
    let further = 1 + plot.dice.index(plot.servers - 1);
    plot.then(1_000, 90_000, further, Fault::ReplayPaused);
    for server in (1..plot.servers).filter(|server| *server != further) {
        plot.then(1_000, 90_000, server, Fault::Lag(2_000));
    }
    plot.kill(plot.at);
}
