//! Faults as they begin and end, and what persons do.

use failover_core::input::{Command, Input};
use failover_core::model::ServiceKind;
use failover_core::observation::CloseCause;
use failover_core::sample::SyncCommit;
use failover_core::time::Span;

use super::super::cluster::{Process, SYSTEM_ID};
use super::super::replication::Stranger;
use super::super::swarm::{Fault, Link, Moment};
use super::{Sim, When, ms, server_id, service_id};

/// What happens so many milliseconds after the beginning of a fault meets it.
const AFTERMATH: u64 = 8_000;

/// What a fault did, and how the kept session ended by it.
enum Struck {
    /// Nothing that ends.
    Not,
    Once(Option<CloseCause>),
    /// It ends after its span.
    For(Option<CloseCause>),
}

impl Sim {
    pub(super) fn begin(&mut self, moment: &Moment) {
        if self.told {
            self.note(format!("FAULT {moment:?}"));
        }
        self.note_salvage_fault(&moment.fault);
        let death = self.foretell(moment);
        if !death {
            self.disturb();
            self.clusters[moment.service].servers[moment.server].changed_at = self.now;
        }
        let close = match self.strike(moment) {
            Struck::Not => None,
            Struck::Once(close) => {
                self.note_fault(moment, 0);
                close
            }
            Struck::For(close) => {
                self.note_fault(moment, moment.span);
                self.ends.push((self.now + ms(moment.span), moment.clone()));
                close
            }
        };
        let (service, at) = (moment.service, moment.server);
        if let Some(cause) = close {
            self.clusters[service].pass(self.now);
            if matches!(moment.fault, Fault::Port(_) | Fault::SessionEnds(_))
                || self.clusters[service].servers[at].port == Link::Open
            {
                self.last_words(service, at, &moment.fault);
                self.close_sessions(service, at, cause);
            }
        }
        if matches!(moment.fault, Fault::Stuck | Fault::Journal | Fault::DiskFull) {
            let health = self.health(Span::ZERO);
            self.feed(Input::SelfHealth(health));
        }
    }

    /// The fault is there for so long, and what it began goes on for a while.
    pub(super) fn note_fault(&mut self, moment: &Moment, span: u64) {
        if let Some(kind) = super::super::meetings::kind(&moment.fault) {
            self.met.push((kind, self.now, self.now + ms(span.max(AFTERMATH))));
        }
    }

    /// Whether the primary dies of it: then what the engine foretold is noted.
    fn foretell(&mut self, moment: &Moment) -> bool {
        let (service, at) = (moment.service, moment.server);
        let cluster = &self.clusters[service];
        let kills = matches!(moment.fault, Fault::Kill { orphans: false } | Fault::KillIfPrimary);
        let dies = kills && cluster.leader() == Some(at) && cluster.servers[at].process == Process::Running;
        if dies {
            self.struck(service, at);
        }
        dies
    }

    /// The last backend of a killed server may answer once more, when no sender is left.
    fn last_words(&mut self, service: usize, at: usize, fault: &Fault) {
        let kills = matches!(fault, Fault::Kill { .. } | Fault::KillIfPrimary);
        let server = &self.clusters[service].servers[at];
        if kills && server.session && !server.recovery && self.now >= self.awake_at && self.dice.percent(25) {
            let mut sample = self.clusters[service].sample(at, self.own(self.now), self.now);
            sample.replicas = Some(Vec::new());
            if self.told {
                self.note(format!(
                    "s{service} {} answers once more, without its senders",
                    self.clusters[service].servers[at].name
                ));
            }
            self.watch.answered(service, at, self.now, Some(self.now));
            self.hear(service, at, &sample);
            let sample = Box::new(sample);
            self.feed(Input::SessionAnswered { service: service_id(service), server: server_id(at), sample });
        }
    }

    fn strike(&mut self, moment: &Moment) -> Struck {
        match &moment.fault {
            Fault::Sleep
            | Fault::GapTold
            | Fault::Stuck
            | Fault::Journal
            | Fault::DiskFull
            | Fault::Crash { .. }
            | Fault::CleanStop
            | Fault::Executor(..)
            | Fault::Operator(_)
            | Fault::Reload(_)
            | Fault::Suspend
            | Fault::WallClock(_)
            | Fault::Surveyless
            | Fault::Before(..)
            | Fault::At(..)
            | Fault::After(..) => self.strike_engine(moment),
            Fault::Kill { .. }
            | Fault::KillIfPrimary
            | Fault::Freeze
            | Fault::Wake
            | Fault::PowerOff
            | Fault::Restart { .. }
            | Fault::Impair(_)
            | Fault::Port(_)
            | Fault::Host
            | Fault::SessionEnds(_)
            | Fault::Flaky(_)
            | Fault::Resolver
            | Fault::OtherCluster
            | Fault::SecondEngine
            | Fault::Slow(_)
            | Fault::Damaged(_)
            | Fault::Unreadable
            | Fault::SpoolTakes(_)
            | Fault::OtherChecks => self.strike_server(moment),
            _ => self.strike_service(moment),
        }
    }

    /// One server, its host, and the ways to it.
    fn strike_server(&mut self, moment: &Moment) -> Struck {
        let server = &mut self.clusters[moment.service].servers[moment.server];
        let lives = server.power && server.process == Process::Running;
        match &moment.fault {
            Fault::Kill { orphans } if lives => {
                server.process = Process::Gone;
                server.orphans = *orphans;
                return Struck::For(Some(CloseCause::DeathHint));
            }
            Fault::KillIfPrimary if lives && !server.recovery => {
                server.process = Process::Gone;
                return Struck::For(Some(CloseCause::DeathHint));
            }
            Fault::Freeze if lives => server.process = Process::Frozen,
            Fault::Wake if server.process == Process::Frozen => {
                server.process = Process::Running;
                return Struck::Once(None);
            }
            Fault::PowerOff => {
                if server.recovery && server.settings.commit == SyncCommit::RemoteWrite {
                    // Written, and not flushed: the memory of the machine is gone.
                    server.lose_unflushed();
                }
                server.power = false;
                server.process = Process::Gone;
                server.orphans = false;
            }
            Fault::Restart { announced, down } if lives => {
                server.process = Process::Gone;
                server.by_order = *announced;
                self.ends.push((self.now + ms(*down), moment.clone()));
                return Struck::Once(Some(if *announced { CloseCause::Announced } else { CloseCause::DeathHint }));
            }
            Fault::Impair(impairment) if lives => {
                use failover_core::observation::Impairment::{Recovering, Starting, Stopping};
                server.impaired = Some(*impairment);
                let closes = matches!(impairment, Starting | Recovering | Stopping);
                let cause = if *impairment == Recovering { CloseCause::CrashRecovery } else { CloseCause::Announced };
                return Struck::For(closes.then_some(cause));
            }
            Fault::Port(link) => {
                server.port = *link;
                let hint = *link == Link::Reject && self.dice.percent(50);
                return Struck::For(hint.then_some(CloseCause::DeathHint));
            }
            Fault::Host => server.host = false,
            Fault::SessionEnds(cause) => return Struck::For(Some(*cause)),
            Fault::Flaky(percent) => server.flaky = *percent,
            Fault::Resolver => server.resolver = false,
            Fault::OtherCluster if server.recovery => {
                server.system_id = 99;
                server.other_since = self.now;
            }
            Fault::OtherCluster => {}
            Fault::SecondEngine => server.other_engine = true,
            Fault::OtherChecks => server.others_fail = true,
            Fault::Slow(millis) => server.slow = *millis,
            Fault::Damaged(damage) => server.damage = Some(*damage),
            Fault::Unreadable => server.unreadable = true,
            Fault::SpoolTakes(bytes) => server.spool_takes = Some(*bytes),
            _ => return Struck::Not,
        }
        Struck::For(None)
    }

    /// Replication, roles and the route.
    fn strike_service(&mut self, moment: &Moment) -> Struck {
        let (service, at) = (moment.service, moment.server);
        let postgres = self.setup.model.services[service].kind == ServiceKind::Postgres;
        let in_flight = self.core.is_some() && self.in_flight(service);
        let cluster = &mut self.clusters[service];
        let server = &mut cluster.servers[at];
        let lives = server.power && server.process == Process::Running;
        match &moment.fault {
            Fault::Replication => server.upstream = false,
            Fault::Flicker => server.receiverless = true,
            Fault::Lag(bytes) => server.lag = *bytes,
            Fault::Delayed => server.delayed = true,
            Fault::ReplayPaused => server.replay_paused = true,
            Fault::HiddenReceiver => server.hidden = true,
            Fault::Rule(rule) => cluster.set_rule(at, rule.clone()),
            Fault::Commit(commit) => cluster.set_commit(at, *commit),
            Fault::Stranger(name) => cluster.stranger = Some(Stranger { name: (*name).into() }),
            Fault::Burst(rate) => cluster.burst = *rate,
            Fault::Instance => {
                if let Some(instance) = cluster.instances.first_mut() {
                    instance.reachable = false;
                }
            }
            Fault::InstanceRestarts => {
                cluster.forget_route();
                return Struck::Once(None);
            }
            Fault::PromotedElsewhere if lives && server.recovery && postgres => {
                cluster.promote(at);
                cluster.servers[at].by_hand = true;
                cluster.meddled = true;
            }
            Fault::Restored if lives && server.recovery && postgres => {
                cluster.restore(at);
                cluster.meddled = true;
                self.watch.exercise("only_our_own_history_is_followed");
            }
            Fault::OldReturns if server.power && server.process == Process::Gone && !server.recovery => {
                server.guard = false;
                cluster.start(at);
                cluster.meddled = true;
                cluster.returned |= in_flight;
            }
            Fault::OldReturns => {}
            Fault::Demoted if lives && !server.recovery && postgres => {
                server.process = Process::Gone;
                server.guard = true;
                cluster.start(at);
                cluster.meddled = true;
                return Struck::Once(Some(CloseCause::Announced));
            }
            Fault::Rejoin => self.rejoin(service),
            _ => return Struck::Not,
        }
        Struck::For(None)
    }

    /// The engine, its executor, its operators.
    fn strike_engine(&mut self, moment: &Moment) -> Struck {
        let end = self.now + ms(moment.span);
        let service = moment.service;
        let away = matches!(
            moment.fault,
            Fault::Sleep | Fault::Suspend | Fault::GapTold | Fault::Stuck | Fault::Crash { .. } | Fault::CleanStop
        );
        if self.suspends.last().is_some_and(|(_, until)| self.now < *until) && matches!(moment.fault, Fault::Crash { .. }) {
            // Nothing runs there that could die.
            return Struck::Not;
        }
        self.deaths.iter_mut().flatten().for_each(|death| death.away |= away);
        match &moment.fault {
            Fault::Sleep => {
                if self.core.is_some() {
                    let wakes = end.min(self.now + ms(60_000));
                    self.awake_at = self.awake_at.max(wakes);
                    // A promise may lie a second ahead.
                    if wakes.since(self.now) > ms(2_600) {
                        self.watch.slept(wakes);
                        self.woken.push(wakes);
                    }
                }
            }
            Fault::Suspend => {
                if self.core.is_none() {
                    return Struck::Not;
                }
                let wakes = end.min(self.now + ms(60_000)).max(self.now + ms(300));
                self.suspend(wakes);
                if wakes.since(self.now) >= ms(1_000) {
                    self.watch.slept(wakes);
                    self.woken.push(wakes);
                }
            }
            Fault::WallClock(seconds) => self.wall += seconds * 1_000,
            Fault::Surveyless => self.surveyless = true,
            Fault::GapTold => {
                let health = self.health(ms(moment.span.max(1_000)));
                self.feed(Input::SelfHealth(health));
            }
            Fault::Stuck => self.stuck = true,
            Fault::Journal => self.journal_writable = false,
            Fault::DiskFull => self.disk_full = true,
            Fault::Crash { at_record } => {
                self.down_for = ms(moment.span.min(60_000));
                if *at_record {
                    self.crash_at_record = true;
                } else if self.core.is_some() {
                    self.crash(self.down_for);
                }
            }
            Fault::CleanStop if self.core.is_some() => {
                self.stops = Some(ms(moment.span.min(60_000)));
                self.operator(service, Command::Stop);
            }
            Fault::Executor(name, wrong) => {
                self.wrong.insert(name, *wrong);
            }
            Fault::Operator(command) => self.operator(service, command.clone()),
            Fault::Reload(change) => {
                if !self.reload_with(service, *change) {
                    return Struck::Not;
                }
            }
            Fault::Before(name, fault) => return self.awaits(When::Before, name, fault, moment),
            Fault::At(name, fault) => return self.awaits(When::During, name, fault, moment),
            Fault::After(name, fault) => return self.awaits(When::After, name, fault, moment),
            _ => return Struck::Not,
        }
        Struck::For(None)
    }

    fn awaits(&mut self, when: When, step: &'static str, fault: &Fault, moment: &Moment) -> Struck {
        self.at_step.push((step, when, Moment { fault: fault.clone(), ..moment.clone() }));
        Struck::Not
    }

    pub(super) fn end(&mut self, moment: &Moment) {
        let (service, at) = (moment.service, moment.server);
        if matches!(moment.fault, Fault::PowerOff) && self.clusters[service].servers[at].cut && self.in_flight(service) {
            // Whoever switches it on waits until the failover is over.
            self.ends.push((self.now + ms(1_000), moment.clone()));
            return;
        }
        let over = matches!(
            moment.fault,
            Fault::Sleep
                | Fault::Suspend
                | Fault::WallClock(_)
                | Fault::Crash { .. }
                | Fault::CleanStop
                | Fault::GapTold
                | Fault::Operator(_)
                | Fault::SessionEnds(_)
        );
        if !over {
            self.disturb();
            self.clusters[service].servers[at].changed_at = self.now;
        }
        let server = &mut self.clusters[service].servers[at];
        match &moment.fault {
            Fault::Kill { .. } | Fault::KillIfPrimary | Fault::Restart { .. } if server.power => self.clusters[service].start(at),
            Fault::Freeze if server.process == Process::Frozen => server.process = Process::Running,
            Fault::PowerOff if !server.power => {
                server.power = true;
                server.cut = false;
                let stale = std::mem::take(&mut server.session);
                self.clusters[service].start(at);
                if stale {
                    // The machine knows nothing of the old connection.
                    self.clusters[service].servers[at].session = true;
                    self.close_sessions(service, at, CloseCause::DeathHint);
                }
            }
            Fault::Impair(_) => server.impaired = None,
            Fault::Port(_) => server.port = Link::Open,
            Fault::Host => server.host = true,
            Fault::Replication => server.upstream = true,
            Fault::Flicker => server.receiverless = false,
            Fault::Stranger(_) => self.clusters[service].stranger = None,
            Fault::DiskFull => {
                self.disk_full = false;
                self.write_owed();
            }
            Fault::Lag(_) => {
                let behind = self.clusters[service].asynchronous == Some(at);
                self.clusters[service].servers[at].lag = if behind { self.clusters[service].write_rate } else { 0 };
            }
            Fault::Flaky(_) => server.flaky = 0,
            Fault::Resolver => server.resolver = true,
            Fault::Instance => {
                if let Some(instance) = self.clusters[service].instances.first_mut() {
                    instance.reachable = true;
                }
            }
            Fault::Stuck => self.stuck = false,
            Fault::Journal => {
                self.journal_writable = true;
                self.write_owed();
            }
            Fault::Executor(name, _) => {
                self.wrong.remove(name);
            }
            Fault::Delayed => server.delayed = false,
            Fault::ReplayPaused => server.replay_paused = false,
            Fault::HiddenReceiver => server.hidden = false,
            Fault::SecondEngine => server.other_engine = false,
            Fault::OtherChecks => server.others_fail = false,
            Fault::Slow(_) => server.slow = 0,
            Fault::Damaged(_) => server.damage = None,
            Fault::Unreadable => server.unreadable = false,
            Fault::SpoolTakes(_) => server.spool_takes = None,
            Fault::Surveyless => self.surveyless = false,
            Fault::Burst(_) => self.clusters[service].burst = 0,
            Fault::SessionEnds(cause @ (CloseCause::DeathHint | CloseCause::Announced)) if moment.at == 0 => {
                self.close_sessions(service, at, *cause);
            }
            _ => {}
        }
        if matches!(moment.fault, Fault::Stuck | Fault::Journal | Fault::DiskFull) {
            let health = self.health(Span::ZERO);
            self.feed(Input::SelfHealth(health));
        }
    }

    pub(super) fn operator(&mut self, service: usize, command: Command) {
        let configured = self.clusters[service].configured;
        let named = match command {
            Command::Force { to, .. } | Command::Switchover { to, .. } => to,
            Command::Adopt { server } | Command::Cordon { server } | Command::Uncordon { server } => Some(server),
            _ => None,
        };
        // Nobody can name a server that the configuration does not have.
        if self.core.is_none() || named.is_some_and(|server| usize::from(server.0) >= configured) {
            return;
        }
        self.token += 1;
        self.commands.insert(self.token, (service, command.clone()));
        self.watch.asked(service, &command);
        let wanted = if command == Command::Stop { None } else { Some(service_id(service)) };
        self.feed(Input::Operator { service: wanted, command, token: self.token });
    }

    pub(super) fn rejoin(&mut self, service: usize) {
        let busy = self.core.as_ref().is_some_and(|core| !core.is_quiet());
        if !busy && self.setup.model.services[service].kind == ServiceKind::Postgres {
            self.clusters[service].pass(self.now);
            for server in 0..self.clusters[service].servers.len() {
                // Whoever only follows somebody else from now on is not restarted.
                let one = &self.clusters[service].servers[server];
                let stays = one.power && one.process == Process::Running && one.recovery && one.system_id == SYSTEM_ID;
                if !self.clusters[service].could_write(server) && !stays {
                    self.close_sessions(service, server, CloseCause::DeathHint);
                }
            }
            self.clusters[service].rejoin();
        }
    }
}
