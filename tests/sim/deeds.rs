//! Actions: what they do to the world, and what the executor says of them.

use failover_core::handover::Receipt;
use failover_core::id::{ActionId, ServerId};
use failover_core::observation::CloseCause;
use failover_core::output::{Action, Failure, Report};
use failover_core::sample::{FenceLevel, FenceReport, Lsn, Position, ProcessState, RouteInstance, Rung, RungName};
use failover_core::survival::Forked;
use failover_core::time::Mono;

use super::super::cluster::Process;
use super::super::swarm::{Fault, Link, Moment, Wrong};
use super::tail::Wanted;
use super::{Doing, Sim, ms};

impl Sim {
    pub(super) fn act(&mut self, id: ActionId, service: usize, generation: u64, action: Action, deadline: Mono) {
        let wrong = self.wrong.get(action.name()).copied();
        let deadline = self.world(deadline);
        let mut due = self.now + ms(self.dice.between(5, 150));
        let mut early = self.dice.percent(50);
        match wrong {
            Some(Wrong::Late(millis)) => due = self.now + ms(millis),
            Some(Wrong::Silent(done)) => {
                due = Mono::NEVER;
                early = done;
            }
            Some(Wrong::TimedOut(_)) => due = deadline,
            _ => {}
        }
        let mut doing = Doing { due, deadline, id, service, generation, action, outcome: None, wrong };
        if early {
            doing.outcome = Some(self.attempt(&doing));
        }
        self.doing.push(doing);
    }

    pub(super) fn attempt(&mut self, doing: &Doing) -> Result<Report, Failure> {
        let (service, action) = (doing.service, &doing.action);
        match action {
            Action::Fence { .. } | Action::ProveFence { .. } => self.proved[service] = self.now,
            Action::ReadPositions { .. } => self.positioned[service] = self.now,
            Action::ReadReceipt { .. } => (self.proved[service], self.positioned[service]) = (self.now, self.now),
            _ => {}
        }
        match doing.wrong {
            None | Some(Wrong::Late(_) | Wrong::Silent(_)) => self.effect(service, action),
            // Each second one is refused for good.
            Some(Wrong::NoEffect) if doing.id.0.is_multiple_of(2) => Err(Failure::refused("refused by the simulator", "")),
            Some(Wrong::NoEffect) => Err(Failure::no_effect("no effect, says the simulator", "")),
            Some(Wrong::Unknown(done)) => {
                if done {
                    let _ = self.effect(service, action);
                } else if let Action::SetSyncNames { server, names, .. } = action {
                    // It is in the file, and whoever loads that next brings it into force.
                    self.clusters[service].write_names(usize::from(server.0), names);
                }
                Err(Failure::unknown("broken off by the simulator", ""))
            }
            Some(Wrong::TimedOut(done)) => {
                if done {
                    let _ = self.effect(service, action);
                }
                Err(Failure::timed_out("kept back by the simulator", ""))
            }
            Some(Wrong::OtherKind) => match action {
                // What only counts as done or not has no other kind.
                Action::RouteOut { .. }
                | Action::PreChecks
                | Action::Checkpoint { .. }
                | Action::VerifyTraffic { .. }
                | Action::OpenSyncGate { .. }
                | Action::RestoreSyncNames { .. }
                | Action::SetSyncNames { .. }
                | Action::DropSlot { .. } => Err(Failure::unknown("nonsense", "")),
                Action::Fence { .. } => Ok(Report::Done { message: "nonsense".into() }),
                _ => Ok(Report::Traffic { message: "nonsense".into() }),
            },
            Some(Wrong::Lie) => self.lie(service, action),
        }
    }

    pub(super) fn lie(&mut self, service: usize, action: &Action) -> Result<Report, Failure> {
        self.clusters[service].lied = true;
        let instances = self.clusters[service].instances.len();
        let all = |_| RouteInstance { name: "lb".into(), result: Ok("done, it says".into()) };
        match action {
            Action::Fence { require, .. } => Ok(Report::Fence(FenceReport {
                level: *require,
                guard_placed: true,
                rungs: Vec::new(),
                proof: "a lie".into(),
                end: None,
            })),
            Action::Promote { .. } => {
                if self.dice.percent(50) {
                    return Ok(Report::Promoted {
                        timeline: 9,
                        flush: Lsn(0),
                        forked: Forked::default(),
                        message: "a lie".into(),
                    });
                }
                let _ = self.effect(service, action);
                Err(Failure::no_effect("a lie", ""))
            }
            Action::RouteOut { .. } | Action::RouteIn { .. } | Action::RouteRestore { .. } => {
                Ok(Report::Route((0..instances).map(all).collect()))
            }
            Action::AskHost { server, .. } => match self.effect(service, action) {
                Ok(Report::Host(mut word)) => {
                    word.postmaster =
                        if word.postmaster == ProcessState::Gone { ProcessState::Running } else { ProcessState::Gone };
                    word.message = format!("a lie about {server}");
                    Ok(Report::Host(word))
                }
                other => other,
            },
            Action::ReadRole { .. } => Ok(Report::Role { in_recovery: self.dice.percent(50), timeline: 9, system_id: 1 }),
            _ => self.effect(service, action),
        }
    }

    pub(super) fn route(&self, service: usize, done: &str) -> Report {
        let each = self.clusters[service].instances.iter().enumerate().map(|(at, instance)| RouteInstance {
            name: format!("lb{}", at + 1),
            result: if instance.reachable { Ok(done.to_owned()) } else { Err("connection refused".to_owned()) },
        });
        Report::Route(each.collect())
    }

    pub(super) fn effect(&mut self, service: usize, action: &Action) -> Result<Report, Failure> {
        let own = self.own(self.now);
        self.clusters[service].pass(self.now);
        let cluster = &mut self.clusters[service];
        let done = || Ok(Report::Done { message: "done".into() });
        let target = action.server().map_or(0, |server| usize::from(server.0));
        let speaks = {
            let server = &cluster.servers[target];
            server.power && server.process == Process::Running && server.port == Link::Open && server.resolver
        };
        match action {
            Action::AskHost { ask_local, .. } => cluster
                .host_word(target, own, *ask_local)
                .map(Report::Host)
                .ok_or_else(|| Failure::timed_out("no answer from the host", "")),
            Action::PreChecks | Action::EmptySpool { .. } | Action::KeepLog { .. } => done(),
            Action::MakeSlot { slot, .. } if speaks => {
                let created = cluster.slots.insert((cluster.servers[target].name.clone(), slot.clone()));
                Ok(Report::SlotMade { created, message: "it is there".into() })
            }
            Action::ReadDivergence { .. }
            | Action::Rewind { .. }
            | Action::ReadRewind { .. }
            | Action::Copy { .. }
            | Action::FollowPrimary { .. }
            | Action::StartStandby { .. } => self.bring_back(service, target, action),
            Action::OpenSyncGate { .. } => {
                if !speaks {
                    return Err(Failure::no_effect("no connection", ""));
                }
                if let Some(rule) = cluster.servers[target].settings.rule.clone() {
                    cluster.cleared.insert(cluster.servers[target].name.clone(), rule);
                }
                cluster.set_rule(target, None);
                done()
            }
            Action::RepointStandbys { standbys, primary, timeline, former, .. } => {
                let primary = usize::from(primary.0);
                if !cluster.speaks(primary) || cluster.servers[primary].recovery || cluster.servers[primary].timeline != *timeline
                {
                    return Err(Failure::no_effect("this is not the primary", ""));
                }
                let former: Vec<usize> = former.iter().map(|server| usize::from(server.0)).collect();
                let each = standbys.iter().map(|standby| (*standby, cluster.repoint(usize::from(standby.0), primary, &former)));
                Ok(Report::Repointed(each.collect()))
            }
            Action::RestoreSyncNames { names, .. } => {
                if !speaks {
                    return Err(Failure::no_effect("no connection", ""));
                }
                let rule = cluster.cleared.remove(&cluster.servers[target].name);
                let Some(rule) = rule.filter(|rule| rule.text() == *names && cluster.servers[target].settings.rule.is_none())
                else {
                    return done();
                };
                cluster.set_rule(target, Some(rule));
                done()
            }
            Action::SetSyncNames { standby, from, names, .. } => cluster.set_names(target, *standby, from, names),
            Action::DropSlot { slot, .. } => {
                if !speaks {
                    return Err(Failure::no_effect("no connection", ""));
                }
                let on = cluster.servers[target].name.clone();
                cluster.slots.remove(&(on, slot.clone()));
                done()
            }
            Action::CloseGate { keep, .. } => {
                let reachable = cluster.instances.first().is_some_and(|instance| instance.reachable);
                let running = reachable && self.dice.percent(15);
                let cluster = &mut self.clusters[service];
                cluster.gate_closed |= reachable;
                if running && !keep {
                    cluster.gate_closed = false;
                }
                let result = match (reachable, running) {
                    (false, _) => Err("connection refused".to_owned()),
                    (true, true) => Err("transactions run on".to_owned()),
                    (true, false) => Ok("it is paused".to_owned()),
                };
                Ok(Report::Gate { instances: vec![RouteInstance { name: "pool".into(), result }], running })
            }
            Action::RouteOut { .. } => {
                for instance in cluster.instances.iter_mut().filter(|instance| instance.reachable) {
                    instance.saved.get_or_insert_with(|| instance.serves.clone());
                    instance.serves[target] = false;
                }
                cluster.forgot = false;
                Ok(self.route(service, "maintenance, no sessions"))
            }
            Action::RouteRestore { .. } | Action::RouteRollback { .. } => {
                cluster.open_gate();
                for instance in cluster.instances.iter_mut().filter(|instance| instance.reachable) {
                    if let Some(saved) = instance.saved.take() {
                        instance.serves = saved;
                    }
                }
                Ok(self.route(service, "as before"))
            }
            Action::RouteIn { .. } => {
                cluster.open_gate();
                for instance in cluster.instances.iter_mut().filter(|instance| instance.reachable) {
                    instance.saved = None;
                    instance.serves.iter_mut().enumerate().for_each(|(at, serves)| *serves = at == target);
                }
                Ok(self.route(service, "ready"))
            }
            Action::RouteWeight { .. } => Ok(self.route(service, "weighted")),
            Action::Fence { require, unreachable, view_confirmed, .. } => {
                self.fence(service, target, Some((*require, *unreachable)), *view_confirmed)
            }
            Action::ProveFence { view_confirmed, .. } => self.fence(service, target, None, *view_confirmed),
            Action::FenceUndo { .. } => {
                let server = &mut cluster.servers[target];
                if !server.power || !server.host {
                    return Err(Failure::timed_out("no answer from the host", ""));
                }
                server.guard = false;
                done()
            }
            Action::Checkpoint { .. } if speaks => done(),
            Action::Checkpoint { .. } | Action::MakeSlot { .. } => Err(Failure::no_effect("no connection", "")),
            Action::StopServer { .. } => self.stop_server(service, target),
            Action::StartServer { .. } => self.start_server(service, target),
            Action::ReadReceipt { standbys, .. } => {
                let Some(stopped) = cluster.stopped(target) else {
                    return Err(Failure::timed_out("no answer from the host", ""));
                };
                match self.positions(service, standbys) {
                    Report::Positions(positions) => Ok(Report::Receipt(Receipt { stopped, positions })),
                    _ => Err(Failure::no_effect("no positions", "")),
                }
            }
            Action::ReadPositions { servers, .. } => Ok(self.positions(service, servers)),
            Action::Salvage { old, system_id, timeline, from, .. } => {
                let old = usize::from(old.0);
                self.salvage(service, Wanted { target, old, system_id: *system_id, timeline: *timeline, from: from.0 })
            }
            Action::Promote { system_id, old_timeline, .. } => self.promote(service, target, *system_id, *old_timeline),
            Action::ReadHistory { timeline, .. } => self.history(service, target, *timeline),
            Action::ReadRole { .. } => {
                if !speaks {
                    return Err(Failure::timed_out("no answer", ""));
                }
                let server = &cluster.servers[target];
                Ok(Report::Role { in_recovery: server.recovery, timeline: server.timeline, system_id: server.system_id })
            }
            Action::VerifyData { old_timeline, .. } => {
                let server = &cluster.servers[target];
                if !speaks || server.recovery || server.timeline <= *old_timeline {
                    return Err(Failure::timed_out("no write went through", ""));
                }
                let commits = cluster.commits_go_through(target);
                Ok(Report::Written { flush: Lsn(server.lsn), commits, message: "a write is flushed".into() })
            }
            Action::VerifyService { .. } | Action::PointNames { .. } | Action::Follow { .. } => {
                Err(Failure::no_effect("this world has no application", ""))
            }
            Action::VerifyTraffic { .. } => {
                let routed = cluster.instances.iter().all(|instance| instance.serves[target]);
                if routed && cluster.is_writable(target) {
                    Ok(Report::Traffic { message: "it answers".into() })
                } else {
                    Err(Failure::unknown("somebody else answers, or nobody", ""))
                }
            }
        }
    }

    fn history(&self, service: usize, target: usize, timeline: u32) -> Result<Report, Failure> {
        let server = &self.clusters[service].servers[target];
        if !self.setup.model.services[service].servers[target].ssh || !server.power || !server.host {
            return Err(Failure::timed_out("no answer from the host", ""));
        }
        Ok(Report::History { timeline, switches: server.branch.switches.iter().map(|(of, at)| (*of, Lsn(*at))).collect() })
    }

    fn positions(&self, service: usize, servers: &[ServerId]) -> Report {
        let (own, cluster) = (self.own(self.now), &self.clusters[service]);
        let read = |server: &ServerId| {
            let at = usize::from(server.0);
            let up = cluster.speaks(at) && cluster.servers[at].impaired.is_none();
            let sample = if up { Ok(cluster.sample(at, own, self.now)) } else { Err("no answer".to_owned()) };
            Position { server: *server, sample, settled: true }
        };
        Report::Positions(servers.iter().map(read).collect())
    }

    fn promote(&mut self, service: usize, target: usize, system_id: u64, old_timeline: u32) -> Result<Report, Failure> {
        let cluster = &mut self.clusters[service];
        if !cluster.speaks(target) || cluster.servers[target].system_id != system_id {
            return Err(Failure::no_effect("it could not be asked, or is another one", ""));
        }
        if cluster.servers[target].recovery {
            if cluster.servers[target].timeline != old_timeline {
                return Err(Failure::no_effect("another timeline", ""));
            }
            // What is on its disk is replayed first.
            cluster.promote(target);
        }
        let server = &cluster.servers[target];
        let (timeline, flush, forked) = (server.timeline, Lsn(server.lsn), Forked::default());
        Ok(Report::Promoted { timeline, flush, forked, message: "writable".into() })
    }

    /// The orderly stop: guard and SIGINT, and the log ends, if it can.
    fn stop_server(&mut self, service: usize, target: usize) -> Result<Report, Failure> {
        let ssh = self.setup.model.services[service].servers[target].ssh;
        let cluster = &mut self.clusters[service];
        let server = &cluster.servers[target];
        if !ssh || !server.power || !server.host {
            return Err(Failure::no_effect("no answer from the host", ""));
        }
        let open = server.port == Link::Open;
        if cluster.stop_in_order(target) && open {
            let fault = Fault::SessionEnds(CloseCause::Announced);
            self.ends.push((self.now, Moment { at: 0, span: 0, service, server: target, fault }));
        }
        Ok(Report::Done { message: "SIGINT".into() })
    }

    /// Its way back.
    fn start_server(&mut self, service: usize, target: usize) -> Result<Report, Failure> {
        let ssh = self.setup.model.services[service].servers[target].ssh;
        let cluster = &mut self.clusters[service];
        let server = &mut cluster.servers[target];
        if !ssh || !server.power || !server.host {
            return Err(Failure::no_effect("no answer from the host", ""));
        }
        if server.process == Process::Frozen {
            return Err(Failure::no_effect("a server still runs there", ""));
        }
        server.guard = false;
        cluster.start(target);
        Ok(Report::Done { message: "started".into() })
    }

    /// With a level to reach it acts, without one it only looks.
    pub(super) fn fence(
        &mut self,
        service: usize,
        target: usize,
        act: Option<(FenceLevel, bool)>,
        view_confirmed: bool,
    ) -> Result<Report, Failure> {
        let command = self.setup.model.services[service].servers[target].fence_command;
        let ssh = self.setup.model.services[service].servers[target].ssh;
        let server = &mut self.clusters[service].servers[target];
        let report = |level, guard_placed| {
            Ok(Report::Fence(FenceReport {
                level,
                guard_placed,
                rungs: vec![Rung { name: RungName::Proof, ok: true, took: ms(5), note: String::new() }],
                proof: "what the simulator knows".into(),
                end: None,
            }))
        };
        if let Some((FenceLevel::PowerOff, unreachable)) = act
            && (command || unreachable)
        {
            if !command {
                return Err(Failure::no_effect("there is no fence.command", ""));
            }
            server.power = false;
            server.cut = true;
            server.process = Process::Gone;
            server.orphans = false;
            return report(FenceLevel::PowerOff, false);
        }
        if !ssh || !server.power || !server.host {
            return Err(Failure::timed_out("no answer from the host", ""));
        }
        let seen = server.process != Process::Gone || server.orphans;
        if act.is_none() {
            return report(if seen || !view_confirmed { FenceLevel::None } else { FenceLevel::ProvenStopped }, false);
        }
        server.process = Process::Gone;
        server.orphans = false;
        server.guard = true;
        let open = server.port == Link::Open;
        let level = if seen || view_confirmed { FenceLevel::ProvenStopped } else { FenceLevel::None };
        if open {
            // Heard by the watcher after this step.
            self.ends.push((
                self.now,
                Moment { at: 0, span: 0, service, server: target, fault: Fault::SessionEnds(CloseCause::DeathHint) },
            ));
        }
        report(level, true)
    }
}
