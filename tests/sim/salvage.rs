//! Courses in which what only the dead primary's disk has is carried to a standby, and what goes wrong with that. Seeds that broke
//! something before this could be done go on meaning what they meant.

use failover_core::input::Command;
use failover_core::model::{OnLoss, OnSalvage, ServiceKind};
use failover_core::sample::FenceLevel;
use failover_core::switchover::SwitchoverOrder;
use failover_core::time::Span;

use super::dice::Dice;
use super::pairs;
use super::swarm::{Fault, Moment, Setup, any_wrong};

/// How the engine ends at the step.
const ENDS: u64 = 6;

struct Course<'a> {
    setup: &'a mut Setup,
    service: usize,
    servers: usize,
    at: u64,
    dice: Dice,
}

pub fn add(setup: &mut Setup, seed: u64) {
    let mut dice = Dice::new(seed ^ 0x5A1F);
    // Where the engine is to end at a step of its own, that has to be reached.
    let swept = setup.moments.iter().any(|moment| matches!(moment.fault, Fault::Before(..) | Fault::After(..)));
    if swept || !dice.percent(45) {
        return;
    }
    for (service, replication) in setup.model.services.iter_mut().zip(&mut setup.replication) {
        service.postgres.salvage = dice.one(&[OnSalvage::Auto, OnSalvage::Auto, OnSalvage::Auto, OnSalvage::Require]);
        service.postgres.salvage_timeout = Span::from_millis(dice.one(&[500, 2_000, 2_000, 5_000]));
        if service.postgres.salvage == OnSalvage::Require {
            service.postgres.on_loss = OnLoss::Refuse;
        }
        replication.spool = replication.called.iter().map(|_| dice.percent(85)).collect();
    }
    let service = dice.index(setup.model.services.len());
    // In the others it meets whatever else happens.
    if setup.model.services[service].kind != ServiceKind::Postgres || pairs::has(seed) || dice.percent(20) {
        return;
    }
    let servers = setup.model.services[service].servers.len();
    let at = dice.between(13_500, 18_000);
    setup.moments.clear();
    let mut course = Course { setup, service, servers, at, dice };
    course.ready();
    course.behind();
    course.trouble(seed);
    course.death();
}

impl Course<'_> {
    fn then(&mut self, at: u64, span: u64, server: usize, fault: Fault) {
        self.setup.moments.push(Moment { at, span, service: self.service, server, fault });
    }

    fn ready(&mut self) {
        let model = &mut self.setup.model.services[self.service];
        model.trigger.require_confirmation = false;
        model.fence.require = FenceLevel::ProvenStopped;
        model.pre_checks = false;
        for server in &mut model.servers {
            (server.ssh, server.candidate) = (true, true);
        }
        if self.dice.percent(80) {
            self.setup.replication[self.service].rule = None;
        }
        if self.dice.percent(70) {
            self.setup.replication[self.service].spool.iter_mut().for_each(|spool| *spool = true);
        }
    }

    /// Standbys that lack something at the death.
    fn behind(&mut self) {
        for server in 1..self.servers {
            let before = self.dice.between(50, 6_000);
            match self.dice.between(0, 8) {
                0 | 1 => self.then(self.at - before, 60_000, server, Fault::Replication),
                2 => self.then(self.at - before, 60_000, server, Fault::Flicker),
                3 => {
                    let lag = self.dice.one(&[900, 40_000, 4_000_000]);
                    self.then(self.at - before, 60_000, server, Fault::Lag(lag));
                }
                4 => self.then(self.at - before / 4, 60_000, server, Fault::Restart { announced: false, down: 300 }),
                5 if self.dice.percent(40) => self.then(self.at - before, 60_000, server, Fault::Kill { orphans: false }),
                _ => {}
            }
        }
    }

    fn trouble(&mut self, seed: u64) {
        const STEP: &str = "salvage";
        if self.dice.percent(35) {
            return;
        }
        let (before, standby) = (self.at - 2, 1 + self.dice.index(self.servers - 1));
        let killed = Fault::Crash { at_record: false };
        let down = self.dice.one(&[50, 900, 3_000, 15_000]);
        let takes = self.dice.one(&[0, 100, 3_000, 100_000]);
        match self.dice.between(0, 12) {
            0..4 => {
                let ends = match seed % ENDS {
                    0 => Fault::Before(STEP, Box::new(killed)),
                    1 => Fault::At(STEP, Box::new(killed)),
                    2 => Fault::After(STEP, Box::new(killed)),
                    3 => Fault::At(STEP, Box::new(Fault::Crash { at_record: true })),
                    4 => Fault::At(STEP, Box::new(Fault::CleanStop)),
                    _ => Fault::After(STEP, Box::new(Fault::CleanStop)),
                };
                self.then(before, down, 0, ends);
            }
            4 | 5 => {
                let wrong = any_wrong(&mut self.dice);
                self.then(before, 60_000, 0, Fault::Executor(STEP, wrong));
            }
            6 => self.then(before, 60_000, 0, Fault::Unreadable),
            7 | 8 => self.then(before, 60_000, standby, Fault::SpoolTakes(takes)),
            9 => {
                let lost = match self.dice.between(0, 4) {
                    0 => Fault::Host,
                    1 => Fault::Kill { orphans: false },
                    2 => Fault::ReplayPaused,
                    _ => Fault::OtherCluster,
                };
                self.then(before, 20_000, standby, Fault::At(STEP, Box::new(lost)));
            }
            10 => {
                let lost = if self.dice.percent(50) { Fault::Host } else { Fault::PowerOff };
                self.then(before, 20_000, 0, Fault::At(STEP, Box::new(lost)));
            }
            _ => {
                // The engine or its machine sleeps over it, and the old primary is started, or somebody promotes another one.
                let sleeps = if self.dice.percent(50) { Fault::Suspend } else { Fault::Sleep };
                let span = self.dice.between(3_000, 12_000);
                self.then(before, span, 0, Fault::At(STEP, Box::new(sleeps)));
                let fault = if self.dice.percent(60) { Fault::OldReturns } else { Fault::PromotedElsewhere };
                let (when, server) =
                    (self.at + self.dice.between(400, 3_000), if fault == Fault::OldReturns { 0 } else { standby });
                self.then(when, 0, server, fault);
            }
        }
    }

    fn death(&mut self) {
        let (at, span) = (self.at, 60_000);
        let accept_loss = self.dice.one(&[None, Some(1_000), Some(u64::MAX)]);
        match self.dice.between(0, 10) {
            0..5 => self.then(at, span, 0, Fault::Kill { orphans: false }),
            5 => self.then(at, span, 0, Fault::Kill { orphans: true }),
            6 | 7 => self.then(at, span, 0, Fault::Freeze),
            8 => {
                self.then(at, span, 0, Fault::Kill { orphans: false });
                self.then(at + 300, 0, 0, Fault::Operator(Command::Force { to: None, accept_loss }));
            }
            _ => {
                // It crashes while it is stopped.
                self.then(at - 1, span, 0, Fault::At("stop_server", Box::new(Fault::Kill { orphans: false })));
                let order = match accept_loss {
                    None => Command::Switchover { to: None, order: SwitchoverOrder::Begin },
                    accept_loss => Command::Force { to: None, accept_loss },
                };
                self.then(at, 0, 0, Fault::Operator(order));
            }
        }
    }
}
