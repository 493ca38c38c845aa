//! A configuration that is read again: the same one, one with other settings, or one with other servers of a service.

use failover_core::id::ServerId;
use failover_core::input::{Command, Input};
use failover_core::model::{CheckKind, Role, ServerModel};
use failover_core::plan::Intent;

use super::super::dice::Dice;
use super::super::settings;
use super::super::swarm::{Change, Fault};
use super::{Sim, service_id};

impl Sim {
    /// False: nothing came of it.
    pub(super) fn reload_with(&mut self, service: usize, change: Change) -> bool {
        let ready = self.core.is_some() && self.now >= self.awake_at && !self.watch.is_stopping();
        if !ready || self.untold > failover_core::time::Span::ZERO {
            return false;
        }
        let mut model = self.setup.model.clone();
        let order = match change {
            Change::Nothing => None,
            Change::Settings(seed) => {
                let mut other = settings::service(service, &mut Dice::new(seed));
                let one = &mut model.services[service];
                // The policy counts checks, and those stay.
                other.trigger.policy = one.trigger.policy;
                one.trigger = other.trigger;
                one.postgres = other.postgres;
                one.pre_checks = other.pre_checks;
                None
            }
            Change::Added(seed) => self.added(service, &mut Dice::new(seed)),
            Change::Removed(seed) => self.removed(service, &mut Dice::new(seed)),
            Change::Reordered(seed) => Some(self.reordered(service, &mut Dice::new(seed))),
        };
        let other_servers = matches!(change, Change::Added(_) | Change::Removed(_) | Change::Reordered(_));
        if other_servers && order.is_none() {
            return false;
        }
        let all = self.all_servers(service);
        if let Some((order, configured)) = &order {
            let servers: Vec<ServerModel> = order[..*configured].iter().map(|at| all[*at].clone()).collect();
            let others = model.services[service].checks.iter().any(|check| check.kind == CheckKind::Exec);
            let names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
            let one = &mut model.services[service];
            (one.servers, one.checks) = (servers, settings::checks(&names, others));
        }
        if !self.journal_writable || self.disk_full {
            self.feed(Input::SelfHealth(self.health(failover_core::time::Span::ZERO)));
        }
        let now = self.own(self.now);
        let Some(core) = &mut self.core else { return false };
        let before = format!("{core:?}");
        let outputs = match core.reload(now, model.clone()) {
            Ok(outputs) => outputs,
            Err(why) => {
                let same = format!("{core:?}") == before;
                let unwritable = !self.journal_writable || self.disk_full;
                let orphaned = matches!(change, Change::Removed(_)) && why.contains("is the primary");
                let busy = !core.is_quiet() || other_servers && unwritable || orphaned;
                if !same || !busy {
                    self.watch.fail("a_refused_reload_changes_nothing", why);
                }
                self.watch.exercise("a_refused_reload_changes_nothing");
                return true;
            }
        };
        self.setup.model = model;
        if let Some((order, configured)) = order {
            self.spares[service] = order[configured..].iter().map(|at| all[*at].clone()).collect();
            self.arrange(service, &order, configured);
        }
        self.watch.forget();
        for server in self.clusters.iter_mut().flat_map(|cluster| &mut cluster.servers) {
            server.session = false;
        }
        // What was asked under the old configuration comes back as nothing.
        self.late_words.clear();
        self.inbox.retain(|input| matches!(input, Input::Operator { .. } | Input::SelfHealth(_)));
        self.after(outputs);
        if other_servers && self.core.is_some() {
            self.age_pauses();
            if let Some(facts) = self.facts(service) {
                self.watch.told_again(service, self.now, &facts.durable);
                self.feed(Input::Restored { service: service_id(service), facts: Box::new(facts) });
            }
            self.surveys.retain(|(_, of, server)| *of != service || server.is_none());
            self.begin_surveys(service);
        }
        true
    }

    /// The configured servers, and then those that are not any more.
    fn all_servers(&self, service: usize) -> Vec<ServerModel> {
        let configured = &self.setup.model.services[service].servers;
        configured.iter().chain(&self.spares[service]).cloned().collect()
    }

    fn added(&mut self, service: usize, dice: &mut Dice) -> Option<(Vec<usize>, usize)> {
        let configured = self.clusters[service].configured;
        if configured >= 5 {
            return None;
        }
        if self.spares[service].is_empty() {
            let name = format!("db{}", self.clusters[service].servers.len() + 1);
            if !self.clusters[service].add(&name) {
                return None;
            }
            let model = &self.setup.model.services[service].servers[0];
            self.spares[service].push(ServerModel { name, role: Role::Standby, replication_name: None, ..model.clone() });
            self.heard[service].push(super::promises::Heard::default());
            self.watch.one_more(service);
        }
        let mut order: Vec<usize> = (0..self.clusters[service].servers.len()).collect();
        let one = order.remove(configured + dice.index(self.spares[service].len()));
        order.insert(dice.index(configured + 1), one);
        Some((order, configured + 1))
    }

    fn removed(&self, service: usize, dice: &mut Dice) -> Option<(Vec<usize>, usize)> {
        let configured = self.clusters[service].configured;
        if configured < 3 {
            return None;
        }
        let mut order: Vec<usize> = (0..self.clusters[service].servers.len()).collect();
        let one = order.remove(dice.index(configured));
        order.insert(configured - 1, one);
        Some((order, configured - 1))
    }

    fn reordered(&self, service: usize, dice: &mut Dice) -> (Vec<usize>, usize) {
        let configured = self.clusters[service].configured;
        let mut order: Vec<usize> = (0..self.clusters[service].servers.len()).collect();
        for at in 1..configured {
            order.swap(at, dice.index(at + 1));
        }
        (order, configured)
    }

    /// Every place by which anything is called is another one from here on.
    fn arrange(&mut self, service: usize, order: &[usize], configured: usize) {
        let place = |old: usize| order.iter().position(|at| *at == old).unwrap_or(old);
        let id = |server: ServerId| {
            let new = place(usize::from(server.0));
            u16::try_from(new).ok().filter(|_| new < configured).map(ServerId)
        };
        self.clusters[service].arrange(order, configured);
        self.heard[service] = order.iter().map(|at| self.heard[service][*at]).collect();
        self.watch.rearranged(service, &place, order.len());
        // It may know the primary's log only from before.
        self.deaths[service].iter_mut().for_each(|death| death.away = true);
        self.adopted[service] = self.adopted[service].map(place);
        if let Some(death) = &mut self.deaths[service] {
            death.promised = death.promised.map(place);
        }
        let moments = self.moments.iter_mut().chain(&mut self.ends).map(|(_, moment)| moment);
        let waiting = self.at_step.iter_mut().map(|(_, _, moment)| moment);
        for moment in moments.chain(waiting).filter(|moment| moment.service == service) {
            moment.server = place(moment.server);
            renumber(&mut moment.fault, &place);
        }
        self.asked.retain(|asked| asked.about.0 != service);
        for (_, command) in self.commands.values_mut().filter(|(of, _)| *of == service) {
            renumber_command(command, &place);
        }
        let known = &mut self.known[service];
        known.facts = known.facts.take().map(|facts| facts.mapped(&id, &|followed| Some(followed)));
        known.begun = known.begun.take().and_then(|begun| renumbered(begun, &id));
        let seen = self.seen.1.get_mut(service);
        if let Some(seen) = seen {
            *seen = seen.take().and_then(|knowledge| knowledge.mapped(&id));
        }
    }
}

fn renumber(fault: &mut Fault, place: &dyn Fn(usize) -> usize) {
    match fault {
        Fault::Operator(command) => renumber_command(command, place),
        Fault::Before(_, fault) | Fault::At(_, fault) | Fault::After(_, fault) => renumber(fault, place),
        _ => {}
    }
}

fn renumber_command(command: &mut Command, place: &dyn Fn(usize) -> usize) {
    let new = |server: &mut ServerId| server.0 = u16::try_from(place(usize::from(server.0))).unwrap_or(u16::MAX);
    match command {
        Command::Force { to: Some(server), .. }
        | Command::Switchover { to: Some(server), .. }
        | Command::Adopt { server }
        | Command::Cordon { server }
        | Command::Uncordon { server } => new(server),
        _ => {}
    }
}

fn renumbered(mut begun: Intent, id: &dyn Fn(ServerId) -> Option<ServerId>) -> Option<Intent> {
    begun.old = id(begun.old)?;
    if let Some(chosen) = &mut begun.chosen {
        chosen.server = id(chosen.server)?;
    }
    begun.streaming = begun.streaming.iter().copied().filter_map(id).collect();
    if let Some(sync) = &mut begun.sync {
        sync.members = sync.members.iter().copied().filter_map(id).collect();
    }
    Some(begun)
}
