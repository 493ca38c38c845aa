//! Deaths in a quiet world, one after the other, with a person who mends everything in between: what was foretold right before each
//! comes to pass, and what cannot be done is said by name, to a person who can do something about it.

use failover_core::input::Command;
use failover_core::model::ServiceKind;
use failover_core::sample::FenceLevel;
use failover_core::time::Mono;

use super::super::dice::Dice;
use super::super::replication::Rule;
use super::super::swarm::{Fault, Link, Moment};
use super::promises::Death;
use super::{Sim, ms, server_id};

/// So many deaths at the end of each seed.
const BLOWS: usize = 3;

/// Refusals that wait for somebody who knows of them, or for a time that is set.
const WAITING: [&str; 9] = [
    "too_many_at_once",
    "paused",
    "awaiting_confirmation",
    "confirmation_timed_out",
    "journal_unwritable",
    "second_engine",
    "two_primaries",
    "restart_grace",
    "watched_only",
];

impl Sim {
    pub(super) fn last_blows(&mut self) {
        let mut dice = Dice::new(self.seed ^ 0xB10B);
        for round in 0..BLOWS {
            let service = round % self.clusters.len();
            if self.watch.broken.is_some() || self.setup.model.services[service].kind != ServiceKind::Postgres {
                return;
            }
            if round > 0 {
                self.mend(service, &mut dice);
                self.hinder(service, &mut dice);
            }
            self.blow(service, &mut dice, round == 0);
        }
    }

    /// A person puts everything right, and tells the engine.
    fn mend(&mut self, service: usize, dice: &mut Dice) {
        self.calm();
        self.await_plans();
        if self.watch.is_stopping() {
            self.exit(ms(0));
        }
        self.run_for(1_500);
        self.rejoin(service);
        let cluster = &mut self.clusters[service];
        (cluster.meddled, cluster.returned) = (false, false);
        for at in 0..cluster.servers.len() {
            let rule = self.setup.replication[service].rule.clone();
            if cluster.servers[at].settings.rule != rule && dice.percent(80) {
                cluster.set_rule(at, rule);
            }
        }
        self.deaths[service] = None;
        self.disturb();
        self.run_for(3_000);
        self.operator(service, Command::Resume);
        self.operator(service, Command::Reset);
        for server in self.watch.cordoned(service) {
            if dice.percent(80) {
                self.operator(service, Command::Uncordon { server });
            }
        }
        let rest = if dice.percent(70) { 13_000 } else { 3_500 };
        self.run_for(rest);
    }

    pub(super) fn run_for(&mut self, millis: u64) {
        let end = self.now + ms(millis);
        self.run_until(end);
    }

    /// Something that stands in the way of a failover, and is known when the primary dies.
    fn hinder(&mut self, service: usize, dice: &mut Dice) {
        if !dice.percent(50) {
            return;
        }
        let Some(primary) = self.clusters[service].leader() else { return };
        let fault = match dice.between(0, 12) {
            0 => Fault::Delayed,
            1 => Fault::ReplayPaused,
            2 => Fault::Replication,
            3 | 4 => Fault::Flicker,
            5 => Fault::Kill { orphans: false },
            6 => Fault::Lag(64_000_000),
            7 => Fault::OtherCluster,
            8 => Fault::Host,
            9 => Fault::Instance,
            10 => Fault::Operator(Command::pause()),
            _ => {
                let names = vec!["elsewhere".into(), self.clusters[service].servers[primary].called.clone(), "*".into()];
                Fault::Rule(Some(Rule { first: dice.percent(70), required: 1, names }))
            }
        };
        let of_primary = matches!(fault, Fault::Host | Fault::Instance | Fault::Operator(_) | Fault::Rule(_));
        let all = dice.percent(70);
        let standbys: Vec<usize> = (0..self.clusters[service].servers.len()).filter(|at| *at != primary).collect();
        let whom = if of_primary {
            vec![primary]
        } else if all {
            standbys
        } else {
            vec![dice.one(&standbys)]
        };
        for server in whom {
            self.begin(&Moment { at: 1, span: 600_000, service, server, fault: fault.clone() });
        }
        self.run_for(dice.one(&[1_200, 13_000, 13_000]));
    }

    /// Kills the primary: what could be promoted is, or a named reason stands in the way.
    fn blow(&mut self, service: usize, dice: &mut Dice, first: bool) {
        let Some(core) = &self.core else { return };
        let snapshot = core.snapshot();
        let Some(primary) = snapshot.services[service].primary.map(|primary| usize::from(primary.0)) else { return };
        let cluster = &self.clusters[service];
        let there = cluster.is_writable(primary) && cluster.servers[primary].port == Link::Open;
        if self.watch.broken.is_some() || !there {
            return;
        }
        let busy = snapshot.services[service].plan.is_some();
        self.completed.clear();
        if snapshot.services[service].manual_reason.is_none() {
            self.people.remove(&service);
        }
        let kill = Moment { at: 1, span: 600_000, service, server: primary, fault: Fault::Kill { orphans: false } };
        if first || dice.percent(70) {
            self.begin(&kill);
        } else {
            self.blow_in_trouble(&kill, dice);
        }
        let confirms = self.setup.model.services[service].trigger.require_confirmation;
        let due = self.deaths[service].as_ref().and_then(|death| death.due);
        let patience = self.setup.model.services[service].trigger.restart_grace + ms(25_000);
        let mut end = due.unwrap_or(Mono::ZERO).max(self.now + patience);
        let mut paused = false;
        while self.now < end && self.watch.broken.is_none() && !self.completed.contains(&service) {
            let next = (self.now + ms(250)).min(end);
            self.run_until(next);
            // A pause that ends by itself: every check is asked afresh, so all of it begins anew.
            let still = self.core.as_ref().is_some_and(|core| core.snapshot().services[service].paused);
            if std::mem::replace(&mut paused, still) && !still {
                end = end.max(self.now + patience);
            }
            if confirms && self.now < end {
                self.operator(service, Command::Confirm);
            }
            if self.people.contains(&service) && self.now >= self.awake_at {
                break;
            }
        }
        if self.watch.broken.is_none() && !busy {
            self.settle_promises();
            self.look();
            self.judge_blow(service);
        }
    }

    /// The engine is away as the primary dies, or something happens right before it that nobody has seen yet.
    fn blow_in_trouble(&mut self, kill: &Moment, dice: &mut Dice) {
        let (service, primary) = (kill.service, kill.server);
        let standbys: Vec<usize> = (0..self.clusters[service].servers.len()).filter(|at| *at != primary).collect();
        let standby = dice.one(&standbys);
        let begin = |sim: &mut Sim, server: usize, span: u64, fault: Fault| {
            sim.begin(&Moment { at: 1, span, service, server, fault });
        };
        match dice.between(0, 10) {
            0..5 => return self.blow_while_away(kill, dice),
            5 => begin(self, standby, 30_000, Fault::Flicker),
            6 => begin(self, standby, 0, Fault::Restart { announced: false, down: dice.between(1, 400) }),
            7 => begin(self, primary, 0, Fault::Rule(None)),
            8 => {
                begin(self, standby, dice.between(50, 3_000), Fault::Flicker);
                self.run_for(dice.between(3_000, 6_000));
            }
            _ => begin(self, standby, 30_000, Fault::Lag(8_000)),
        }
        self.run_for(dice.between(1, 1_500));
        self.begin(kill);
    }

    fn blow_while_away(&mut self, kill: &Moment, dice: &mut Dice) {
        let service = kill.service;
        let Some(core) = &self.core else { return };
        let snapshot = core.snapshot();
        let (seen, quiet) = (&snapshot.services[service], self.is_undisturbed(service));
        let promised = seen.forecast.outcome.as_ref().ok().map(|candidate| usize::from(candidate.server.0));
        // Another engine does not know whether the failover of another service a moment ago was an order.
        let alone = self.setup.model.max_concurrent_failovers.is_none();
        let quiet = quiet && seen.state.as_str() == "normal" && !self.watch.is_stopping() && alone;
        let longest = dice.one(&[100, 2_900, 2_900, 20_000, 60_000]);
        let away = dice.between(20, longest);
        let before = dice.between(0, away.min(900));
        let fault = match dice.between(0, 3) {
            0 => Fault::Crash { at_record: false },
            1 => Fault::CleanStop,
            _ => Fault::Sleep,
        };
        self.begin(&Moment { at: 1, span: away, service, server: kill.server, fault });
        self.run_for(before);
        self.begin(kill);
        // What was known grows old while nobody looks: where it is still fresh, the promise is kept.
        let settings = &self.setup.model.services[service];
        let fresh = away < 3_000 && settings.postgres.max_lag_bytes >= self.clusters[service].write_rate.saturating_mul(8);
        let back = self.now + ms(away) + settings.trigger.restart_grace + ms(35_000);
        let due = (quiet && fresh && promised.is_some()).then_some(back);
        self.deaths[service] = Some(Death { at: self.now, promised, due, away: true });
        if promised.is_some() {
            self.with_promise += 1;
        } else {
            self.without_promise += 1;
        }
        self.run_for(away + 300);
    }

    fn judge_blow(&mut self, service: usize) {
        let Some(core) = self.core.as_ref().filter(|_| self.now >= self.awake_at) else { return };
        let snapshot = core.snapshot();
        let after = &snapshot.services[service];
        let dead = !self.clusters[service].servers.iter().enumerate().any(|(at, _)| self.clusters[service].could_write(at));
        self.watch.exercised.extend(["a_death_is_failed_over_or_a_person_is_called", "every_no_has_a_name"]);
        if self.completed.contains(&service) || self.watch.is_stopping() || !dead || after.plan.is_some() {
            return;
        }
        let waits = after.refusal.as_ref().is_some_and(|refusal| WAITING.contains(&refusal.name())) || after.paused;
        if after.refusal.is_none() && after.manual_reason.is_none() {
            let why = format!("{} and neither failed over nor refused by name", after.state.as_str());
            self.watch.fail("every_no_has_a_name", why);
        } else if after.manual_reason.is_none() && !self.people.contains(&service) && !waits {
            let why = format!("{} for good: {:?}", after.state.as_str(), after.refusal);
            self.watch.fail("a_death_is_failed_over_or_a_person_is_called", why);
        } else if after.manual_reason.is_some() {
            self.judge_command(service, after.primary.map_or(0, |primary| usize::from(primary.0)));
        }
    }

    /// A person who accepts every loss, and knows a standby that is fit, gets the service back by a command.
    fn judge_command(&mut self, service: usize, old: usize) {
        let cluster = &self.clusters[service];
        let settings = &self.setup.model.services[service];
        let fit = |at: &usize| {
            let one = &cluster.servers[*at];
            cluster.speaks(*at)
                && one.recovery
                && one.impaired.is_none()
                && !one.delayed
                && !one.replay_paused
                && settings.servers[*at].candidate
                && cluster.has_followed(*at, old)
                // Behind its receiver's end its control file may show an older timeline.
                && self.heard[service][*at].has_streamed(cluster.servers[old].timeline)
                && self.now.since(one.port_shut_at.max(one.unwell_at)) > ms(5_000)
        };
        let Some(fit) = (0..cluster.configured).filter(|at| *at != old).find(fit) else { return };
        let server = &cluster.servers[old];
        let strong = settings.fence.require <= FenceLevel::ProvenStopped || settings.servers[old].fence_command;
        let fenced = strong && settings.servers[old].ssh && server.host && server.power;
        let well = self.wrong.is_empty() && self.journal_writable && !self.disk_full && !self.stuck && !cluster.lied;
        if !(fenced && well && cluster.instances.iter().all(|instance| instance.reachable)) || cluster.meddled {
            return;
        }
        let name = cluster.servers[fit].name.clone();
        self.watch.exercise("a_person_has_a_command_that_works");
        let to = Some(server_id(fit));
        for server in self.watch.cordoned(service).into_iter().filter(|server| Some(*server) == to) {
            self.operator(service, Command::Uncordon { server });
        }
        self.operator(service, Command::Force { to, accept_loss: Some(u64::MAX) });
        let token = self.token;
        let end = self.now + ms(20_000);
        while self.now < end && self.watch.broken.is_none() && !self.completed.contains(&service) {
            let next = self.now + ms(500);
            self.run_until(next);
        }
        if self.watch.broken.is_none() && !self.completed.contains(&service) {
            let why = format!("force to {name} with every loss accepted: {:?}", self.replies.get(&token));
            self.watch.fail("a_person_has_a_command_that_works", why);
        }
    }
}
