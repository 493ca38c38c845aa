//! Courses in which the standbys that a failover leaves behind follow the new primary, and one death comes after the other. Seeds that broke
//! something before this could be done go on meaning what they meant.

use failover_core::model::{OnNewPrimary, OnNoSyncStandby, OnRejoin, ServiceKind};
use failover_core::sample::FenceLevel;

use super::dice::Dice;
use super::pairs;
use super::replication::Rule;
use super::swarm::{Fault, Moment, Setup, any_wrong};

/// What is done for the standbys of a new primary.
pub const STEPS: [&str; 3] = [REPOINT, "restore_sync_names", "drop_slot"];
pub const REPOINT: &str = "repoint_standbys";

struct Course<'a> {
    setup: &'a mut Setup,
    service: usize,
    servers: usize,
    dice: Dice,
}

pub fn add(setup: &mut Setup, seed: u64, cascades: bool) {
    let mut dice = Dice::new(seed ^ 0xF0110);
    if !dice.percent(70) {
        return;
    }
    for service in &mut setup.model.services {
        service.postgres.followers = OnNewPrimary::Auto;
        service.postgres.rejoin = dice.one(&[OnRejoin::Manual, OnRejoin::Clean, OnRejoin::Auto]);
    }
    let service = dice.index(setup.model.services.len());
    let model = &setup.model.services[service];
    let (servers, holds_data) = (model.servers.len(), model.kind == ServiceKind::Postgres);
    let swept = setup.moments.iter().any(|moment| matches!(moment.fault, Fault::Before(..) | Fault::After(..)));
    // In the others it meets whatever else happens.
    if !holds_data || swept || pairs::has(seed) || servers < 3 || dice.percent(70) {
        return;
    }
    setup.moments.clear();
    let mut course = Course { setup, service, servers, dice };
    course.ready();
    let mut own = Dice::new(seed ^ 0xCA5C_ADE0);
    if cascades && own.percent(40) {
        course.cascade(&mut own);
    } else {
        course.deaths(seed);
    }
}

impl Course<'_> {
    fn then(&mut self, at: u64, span: u64, server: usize, fault: Fault) {
        self.setup.moments.push(Moment { at, span, service: self.service, server, fault });
    }

    fn ready(&mut self) {
        let model = &mut self.setup.model.services[self.service];
        model.trigger.require_confirmation = false;
        model.trigger.cooldown = failover_core::time::Span::ZERO;
        model.fence.require = FenceLevel::ProvenStopped;
        model.pre_checks = false;
        for server in &mut model.servers {
            (server.ssh, server.candidate) = (true, true);
        }
        let replication = &mut self.setup.replication[self.service];
        if self.dice.percent(50) {
            model.postgres.on_no_sync_standby = OnNoSyncStandby::Async;
            let names = replication.called.clone();
            replication.rule = Some(Rule { first: self.dice.percent(30), required: 1, names });
            replication.asynchronous = false;
        } else {
            replication.rule = None;
        }
    }

    /// A standby under a standby: the primary dies, or the upstream does, one before the other or both.
    fn cascade(&mut self, own: &mut Dice) {
        let upstream = 1 + own.index(self.servers - 1);
        let below = 1 + (upstream + own.index(self.servers - 2)) % (self.servers - 1);
        let replication = &mut self.setup.replication[self.service];
        (replication.cascade, replication.asynchronous) = (Some((below, upstream)), false);
        // The priority speaks for the one below.
        self.setup.model.services[self.service].servers[below].priority = 10_000;
        let at = own.between(9_000, 12_000);
        let kill = || Fault::Kill { orphans: false };
        let later = at + own.one(&[1_500, 4_000, 14_000]);
        match own.between(0, 10) {
            0..5 => self.then(at, 60_000, 0, kill()),
            5 | 6 => {
                self.then(at, own.one(&[2_000, 60_000]), upstream, kill());
                self.then(later, 60_000, 0, kill());
            }
            7 => {
                self.then(at, 60_000, below, kill());
                self.then(later, 60_000, 0, kill());
            }
            8 => self.then(at, 8_000, upstream, Fault::Replication),
            _ => self.then(at, 60_000, 0, Fault::Freeze),
        }
        if own.percent(50) {
            for server in 1..self.servers {
                self.then(later + 12_000, 60_000, server, Fault::KillIfPrimary);
            }
        }
    }

    /// The primary dies, and then whoever has taken over; in between something happens to what is done for the others.
    fn deaths(&mut self, seed: u64) {
        let at = self.dice.between(9_000, 12_000);
        self.then(at, 60_000, 0, Fault::Kill { orphans: false });
        let step = self.dice.one(&STEPS);
        let killed = Fault::Crash { at_record: false };
        let down = self.dice.one(&[50, 900, 3_000]);
        match self.dice.between(0, 8) {
            0..3 => {
                // In a plan it is a step that an engine may end at.
                let step = REPOINT;
                let ends = match seed % 5 {
                    0 => Fault::Before(step, Box::new(killed)),
                    1 => Fault::At(step, Box::new(killed)),
                    2 => Fault::After(step, Box::new(killed)),
                    3 => Fault::At(step, Box::new(Fault::CleanStop)),
                    _ => Fault::After(step, Box::new(Fault::CleanStop)),
                };
                self.then(at - 1, down, 0, ends);
            }
            3 => {
                let wrong = any_wrong(&mut self.dice);
                self.then(at - 1, 8_000, 0, Fault::Executor(step, wrong));
            }
            4 => {
                let server = 1 + self.dice.index(self.servers - 1);
                self.then(at - 1, 6_000, server, Fault::At(step, Box::new(Fault::Replication)));
            }
            _ => {}
        }
        let next = at + self.dice.one(&[1_500, 4_000, 9_000, 14_000]);
        if self.dice.percent(60) {
            for server in 1..self.servers {
                self.then(next, 60_000, server, Fault::KillIfPrimary);
            }
        }
    }
}
