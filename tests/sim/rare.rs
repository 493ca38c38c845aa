//! Courses for what dice seldom bring about: a rule whose premise is never true holds nothing.

use failover_core::id::ServerId;
use failover_core::input::Command;
use failover_core::model::{OnLoss, ServiceKind};
use failover_core::switchover::SwitchoverOrder;

use super::dice::Dice;
use super::swarm::{Change, Fault, Link, Moment, Setup, Wrong};

struct Course<'a> {
    setup: &'a mut Setup,
    service: usize,
    servers: usize,
    at: u64,
    dice: Dice,
}

pub fn add(setup: &mut Setup, seed: u64) {
    let mut dice = Dice::new(seed ^ 0x4A4E);
    if !dice.percent(16) {
        return;
    }
    let service = dice.index(setup.model.services.len());
    if setup.model.services[service].kind != ServiceKind::Postgres {
        return;
    }
    let servers = setup.model.services[service].servers.len();
    let at = dice.between(12_500, 18_000);
    setup.moments.clear();
    let mut course = Course { setup, service, servers, at, dice };
    match course.dice.between(0, 10) {
        0..3 => course.adopted(),
        3 => course.cordoned(),
        4 => course.another_cluster(),
        5 => course.forgetful_route(),
        7 => course.order(),
        6 | 8 => course.trouble_behind_the_promotion(),
        _ => course.reloaded_in_a_plan(),
    }
}

impl Course<'_> {
    fn then(&mut self, at: u64, span: u64, server: usize, fault: Fault) {
        self.setup.moments.push(Moment { at, span, service: self.service, server, fault });
    }

    fn operator(&mut self, at: u64, command: Command) {
        self.then(at, 0, 0, Fault::Operator(command));
    }

    fn kill(&mut self) {
        self.then(self.at, 60_000, 0, Fault::Kill { orphans: false });
    }

    fn standby(&mut self) -> usize {
        1 + self.dice.index(self.servers - 1)
    }

    /// A standby that lacks something is promoted by hand, an operator says that it is the primary, and the engine is started again, or reads
    /// its configuration again.
    fn adopted(&mut self) {
        let standby = self.standby();
        let server = ServerId(u16::try_from(standby).unwrap_or(0));
        self.then(self.at - 6_000, 20_000, standby, Fault::Lag(400_000));
        match self.dice.between(0, 3) {
            // An earlier engine's failover is unfinished.
            0 => {
                let step = self.dice.one(&["route_out", "fence", "read_positions"]);
                let down = self.dice.between(500, 3_000);
                self.then(self.at - 1, down, 0, Fault::At(step, Box::new(Fault::Crash { at_record: false })));
            }
            1 => self.operator(self.at - 500, Command::pause()),
            // A person had to look already.
            _ => {
                for other in 1..self.servers {
                    self.then(self.at - 3_000, 4_000, other, Fault::ReplayPaused);
                }
            }
        }
        self.kill();
        let promoted = self.at + self.dice.between(600, 2_500);
        self.then(promoted, 0, standby, Fault::PromotedElsewhere);
        for again in [2_000, 5_000, 9_000] {
            self.operator(promoted + again, Command::Adopt { server });
        }
        self.operator(promoted + 9_500, Command::Resume);
        let later = promoted + 9_500 + self.dice.between(100, 4_000);
        let fault = match self.dice.between(0, 4) {
            0 | 1 => Fault::Crash { at_record: false },
            2 => Fault::CleanStop,
            _ => Fault::Reload(Change::Reordered(self.dice.next())),
        };
        self.then(later, 1_000, 0, fault);
    }

    fn cordoned(&mut self) {
        let server = ServerId(u16::try_from(self.standby()).unwrap_or(0));
        self.operator(self.at - 3_000, Command::Cordon { server });
        self.kill();
    }

    fn another_cluster(&mut self) {
        let standby = self.standby();
        self.then(self.at - 3_000, 60_000, standby, Fault::OtherCluster);
        self.kill();
    }

    /// A load balancer forgets the failover, once and again.
    fn forgetful_route(&mut self) {
        let model = &mut self.setup.model.services[self.service];
        model.route.instances = model.route.instances.max(1);
        if self.dice.percent(50) {
            self.kill();
        } else {
            self.operator(self.at, Command::Switchover { to: None, order: SwitchoverOrder::Begin });
        }
        for _ in 0..2 {
            let when = self.at + self.dice.between(2_000, 12_000);
            self.then(when, 0, 0, Fault::InstanceRestarts);
        }
    }

    fn order(&mut self) {
        let model = &mut self.setup.model.services[self.service];
        model.postgres.on_loss = OnLoss::Refuse;
        model.servers.iter_mut().for_each(|server| server.ssh = true);
        for server in 1..self.servers {
            if self.dice.percent(30) {
                self.then(self.at - 500, 60_000, server, Fault::Lag(900));
            }
        }
        self.operator(self.at, Command::Switchover { to: None, order: SwitchoverOrder::Begin });
    }

    /// The new primary, or the way to it, is lost when it has been promoted.
    fn trouble_behind_the_promotion(&mut self) {
        let model = &mut self.setup.model.services[self.service];
        model.trigger.failover_timeout = failover_core::time::Span::from_millis(15_000);
        self.kill();
        let step = self.dice.one(&["verify_data", "route_in", "verify_traffic", "read_role"]);
        let wrong = self.dice.one(&[Wrong::NoEffect, Wrong::Unknown(false), Wrong::Silent(false)]);
        self.then(self.at - 1, 60_000, 0, Fault::Executor(step, wrong));
        if step == "read_role" {
            self.then(self.at - 1, 60_000, 0, Fault::Executor("promote", Wrong::Unknown(true)));
        }
        if self.dice.percent(40) {
            let standby = self.standby();
            self.then(self.at - 1, 60_000, standby, Fault::At("verify_data", Box::new(Fault::Port(Link::Drop))));
        }
    }

    /// The configuration is read again in the middle of a failover: that is refused.
    fn reloaded_in_a_plan(&mut self) {
        let step = self.dice.one(&["route_out", "fence", "read_positions", "promote", "verify_data", "route_in"]);
        let change = match self.dice.between(0, 3) {
            0 => Change::Settings(self.dice.next()),
            1 => Change::Reordered(self.dice.next()),
            _ => Change::Added(self.dice.next()),
        };
        self.then(self.at - 1, 0, 0, Fault::At(step, Box::new(Fault::Reload(change))));
        self.kill();
    }
}
