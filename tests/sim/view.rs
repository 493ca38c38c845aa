//! What comes back over a path that is open: answers to new connections, samples, the word of a host.

use failover_core::observation::{DownCause, Finding, Impairment, UnknownCause, Verdict};
use failover_core::sample::{HostReport, LocalAnswer, Lsn, ProcessState, Receiver, Replica, Sample};
use failover_core::time::{Mono, Span};

use super::cluster::{Cluster, Process};
use super::dice::Dice;
use super::swarm::{Damage, Link};

impl Cluster {
    pub fn sample(&self, at: usize, asked: Mono, now: Mono) -> Sample {
        let server = &self.servers[at];
        let receiver = match server.connected {
            Some(_) if server.hidden => Receiver::Hidden,
            Some(_) => Receiver::Seen {
                streaming: true,
                latest_end: Some(Lsn(server.lsn)),
                last_message_age: now.since(server.last_message),
                application_name: Some(server.called.clone()),
                slot: server.slot.clone(),
            },
            None => Receiver::Absent,
        };
        // Without a receiver the control file speaks, and that knows the timeline of the last restartpoint.
        let streamed = !server.recovery || matches!(receiver, Receiver::Seen { .. });
        let mut sample = Sample {
            asked,
            started: Some(i64::try_from(server.started.as_nanos() / 1_000).unwrap_or(i64::MAX)),
            in_recovery: server.recovery,
            system_id: server.system_id,
            timeline: if streamed { server.timeline } else { server.control },
            flush: (!server.recovery).then_some(Lsn(server.lsn)),
            receive: (server.recovery && server.received).then_some(Lsn(server.lsn)),
            replay: server.recovery.then_some(Lsn(self.replayed(at, now))),
            receiver,
            at_end: server.recovery && self.is_at_end(at, now),
            replay_paused: server.replay_paused,
            delayed: server.delayed,
            spool: server.recovery.then_some(server.spool),
            sync_names: server.settings.rule.as_ref().map(super::replication::Rule::text).unwrap_or_default(),
            sync_commit: server.settings.commit,
            settings_loaded: Some(server.settings.loaded),
            replicas: Some(self.replicas(at)),
            slots: Some(self.slots.iter().filter(|(on, _)| *on == server.name).map(|(_, slot)| slot.clone()).collect()),
            uses_slot: server.slot.clone(),
            other_engines: if server.other_engine { vec!["another".into()] } else { Vec::new() },
            ..Sample::default()
        };
        if let Some(damage) = server.damage {
            damaged(&mut sample, damage);
        }
        sample
    }

    fn replicas(&self, primary: usize) -> Vec<Replica> {
        let connected = self.connected_to(primary);
        let rule = self.servers[primary].settings.rule.as_ref().filter(|_| !self.servers[primary].recovery);
        let slots = self.standbys_of(primary).map(|at| self.servers[at].slot.clone()).chain([None]);
        let row = |(at, slot): (usize, Option<String>)| Replica {
            application_name: connected[at].0.to_owned(),
            streaming: true,
            synchronous: rule.is_some_and(|rule| rule.is_synchronous(at, &connected)),
            flush: Some(Lsn(connected[at].1)),
            slot,
            reply_age: None,
        };
        (0..connected.len()).zip(slots).map(row).collect()
    }

    /// A new connection: what comes back, and after how long.
    pub fn probe(&self, at: usize, timeout: Span, dice: &mut Dice) -> (Span, Verdict) {
        let server = &self.servers[at];
        let quick = Span::from_millis(dice.between(1, 20) + server.slow);
        if !server.resolver {
            return (quick, Verdict::Unknown(UnknownCause::Resolver));
        }
        if dice.percent(server.flaky) || server.port == Link::Drop {
            return (timeout, Verdict::Down(DownCause::ConnectTimedOut));
        }
        if !server.power {
            return (timeout, Verdict::Down(DownCause::HostUnreachable));
        }
        if server.port == Link::Reject {
            return (quick, Verdict::Down(DownCause::Refused));
        }
        if server.process == Process::Running && quick >= timeout {
            return (timeout, Verdict::Down(DownCause::AnswerTimedOut));
        }
        match server.process {
            Process::Gone => (quick, Verdict::Down(if dice.percent(10) { DownCause::Reset } else { DownCause::Refused })),
            Process::Frozen => (timeout, Verdict::Down(DownCause::AnswerTimedOut)),
            Process::Running => match server.impaired {
                Some(impairment) => (quick, Verdict::Impaired(impairment)),
                None => (quick, Verdict::Up),
            },
        }
    }

    /// It can be asked over SQL: by a read of the positions, by whoever asks for a promotion.
    pub fn speaks(&self, at: usize) -> bool {
        let server = &self.servers[at];
        server.power && server.process == Process::Running && server.port == Link::Open && server.resolver
    }

    pub fn host_word(&self, at: usize, asked: Mono, ask_local: bool) -> Option<HostReport> {
        let server = &self.servers[at];
        if !server.power || !server.host {
            return None;
        }
        let postmaster = match server.process {
            Process::Running => ProcessState::Running,
            Process::Frozen => ProcessState::Stopped,
            Process::Gone => ProcessState::Gone,
        };
        let local_answer = match (ask_local, server.process, server.impaired) {
            (false, ..) => LocalAnswer::NotAsked,
            (_, Process::Running, Some(Impairment::Starting | Impairment::Recovering | Impairment::Stopping)) => {
                LocalAnswer::Rejecting
            }
            (_, Process::Running, _) => LocalAnswer::Accepting,
            _ => LocalAnswer::Silent,
        };
        let attached = u32::from(server.process != Process::Gone || server.orphans);
        Some(HostReport {
            asked,
            postmaster,
            others: attached,
            stopped: u32::from(server.process == Process::Frozen),
            shm_attached: Some(attached),
            local_answer,
            stopped_by_order: server.process == Process::Gone && server.by_order,
            holds: Vec::new(),
            message: format!("postmaster {postmaster:?}, local {local_answer:?}").to_lowercase(),
        })
    }

    pub fn finding(verdict: Verdict, began: Mono, latency: Span, sample: Option<Sample>) -> Finding {
        let message = format!("{} {}", verdict.as_str(), verdict.reason());
        Finding { verdict, message, began, latency, sample: sample.map(Box::new) }
    }
}

/// A field is missing, or cannot be read.
fn damaged(sample: &mut Sample, damage: Damage) {
    match damage {
        Damage::Flush => sample.flush = None,
        Damage::Receive => sample.receive = None,
        Damage::Replay => sample.replay = None,
        Damage::Started => sample.started = None,
        Damage::Loaded => sample.settings_loaded = None,
        Damage::Replicas => sample.replicas = None,
        Damage::LatestEnd => {
            if let Receiver::Seen { latest_end, application_name, .. } = &mut sample.receiver {
                (*latest_end, *application_name) = (None, None);
            }
        }
        Damage::AtEnd => sample.at_end = false,
        Damage::Names => sample.sync_names = "ANY 1 (db2".into(),
        // Nothing is left to be read: see `Sim::ping` and `Sim::check`.
        Damage::All => {}
    }
}
