//! The truth about one service: which processes run, who takes writes, how far every log is, what clients were promised, and which
//! paths are open. The engine sees of it only what comes back over a path.

use std::collections::VecDeque;

use failover::core::handover::Stopped;
use failover::core::observation::{DownCause, Finding, Impairment, UnknownCause, Verdict};
use failover::core::sample::{HostWord, LocalAnswer, LogEnd, Lsn, ProcessState, Receiver, Replica, Sample};
use failover::core::time::{Mono, Span};

use super::dice::Dice;
use super::swarm::Link;

pub const SYSTEM_ID: u64 = 7_000_000_000_000_000_001;
const START: u64 = 0x300_0000;
/// The record with which a log ends.
const CHECKPOINT: u64 = 120;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Running,
    Frozen,
    Gone,
}

#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub process: Process,
    /// Children outlive the postmaster, write and replicate.
    pub orphans: bool,
    pub power: bool,
    /// Switched off by a fence: what had been wrong with its power before does not switch it on again.
    pub cut: bool,
    pub recovery: bool,
    /// `standby.signal` of a fence: it would start as a standby.
    pub guard: bool,
    /// It was stopped in an orderly way, at the engine's order; and where its log ended then.
    pub stopped_by_us: bool,
    pub log_end: Option<u64>,
    pub system_id: u64,
    /// Since when it has been another one.
    pub other_since: Mono,
    pub timeline: u32,
    pub lsn: u64,
    pub lag: u64,
    pub delayed: bool,
    pub replay_paused: bool,
    pub hidden: bool,
    pub impaired: Option<Impairment>,
    pub port: Link,
    pub host: bool,
    pub resolver: bool,
    pub flaky: u64,
    pub upstream: bool,
    pub other_engine: bool,
    pub others_fail: bool,
    pub session: bool,
    pub next_ping: Mono,
    connected: Option<usize>,
    last_message: Mono,
    /// When it last was not well, its paths were not open, it did not receive.
    pub unwell_at: Mono,
    pub port_shut_at: Mono,
    pub host_shut_at: Mono,
    pub dry_at: Mono,
    pub connected_at: Mono,
    history: VecDeque<(Mono, u64)>,
    part: u128,
}

#[derive(Clone, Debug)]
pub struct Instance {
    pub serves: Vec<bool>,
    pub saved: Option<Vec<bool>>,
    pub reachable: bool,
}

#[derive(Clone, Debug)]
pub struct Cluster {
    pub servers: Vec<Server>,
    pub instances: Vec<Instance>,
    pub exclusive: bool,
    pub synchronous: u32,
    /// A standby that never acknowledges, and runs behind.
    pub asynchronous: Option<usize>,
    pub write_rate: u64,
    pub burst: u64,
    /// The furthest position of which a client was told that a standby has it.
    pub acknowledged: u64,
    /// When a standby last joined those that acknowledge.
    pub members_grew_at: Mono,
    members: Vec<usize>,
    /// Somebody else changed roles, or the executor said what is not true: the engine answers no more for the outcome.
    pub meddled: bool,
    pub lied: bool,
    /// A load balancer was started anew since the old primary was last taken out of it: no proof outlives that.
    pub forgot: bool,
    at: Mono,
}

impl Cluster {
    pub fn new(names: &[String], instances: u32, exclusive: bool, synchronous: u32, write_rate: u64) -> Cluster {
        let servers: Vec<Server> = names
            .iter()
            .enumerate()
            .map(|(at, name)| Server {
                name: name.clone(),
                process: Process::Running,
                orphans: false,
                power: true,
                cut: false,
                other_since: Mono::ZERO,
                recovery: at != 0,
                guard: false,
                stopped_by_us: false,
                log_end: None,
                system_id: SYSTEM_ID,
                timeline: 1,
                lsn: START,
                lag: 0,
                delayed: false,
                replay_paused: false,
                hidden: false,
                impaired: None,
                port: Link::Open,
                host: true,
                resolver: true,
                flaky: 0,
                upstream: true,
                other_engine: false,
                others_fail: false,
                session: false,
                next_ping: Mono::NEVER,
                connected: None,
                last_message: Mono::ZERO,
                unwell_at: Mono::ZERO,
                port_shut_at: Mono::ZERO,
                host_shut_at: Mono::ZERO,
                dry_at: Mono::ZERO,
                connected_at: Mono::ZERO,
                history: VecDeque::new(),
                part: 0,
            })
            .collect();
        let serves: Vec<bool> = (0..servers.len()).map(|at| at == 0).collect();
        let instances = (0..instances).map(|_| Instance { serves: serves.clone(), saved: None, reachable: true }).collect();
        Cluster {
            servers,
            instances,
            exclusive,
            synchronous,
            asynchronous: None,
            write_rate,
            burst: 0,
            acknowledged: 0,
            members_grew_at: Mono::ZERO,
            members: Vec::new(),
            meddled: false,
            forgot: false,
            lied: false,
            at: Mono::ZERO,
        }
    }

    /// Takes writes from whoever reaches it.
    pub fn is_writable(&self, at: usize) -> bool {
        let server = &self.servers[at];
        let lives = server.process == Process::Running || (server.process == Process::Gone && server.orphans);
        let blocked = matches!(
            server.impaired,
            Some(
                Impairment::Starting
                    | Impairment::Recovering
                    | Impairment::Stopping
                    | Impairment::WriteBlocked
                    | Impairment::WrongRole
            )
        );
        server.power && lives && !server.recovery && !blocked
    }

    /// A postmaster that is there, perhaps frozen, and would take writes.
    pub fn could_write(&self, at: usize) -> bool {
        let server = &self.servers[at];
        server.power && (server.process != Process::Gone || server.orphans) && !server.recovery
    }

    /// A load balancer is started anew, with what its file says: the first server is the primary.
    pub fn forget_route(&mut self) {
        if let Some(instance) = self.instances.first_mut() {
            instance.serves.iter_mut().enumerate().for_each(|(at, serves)| *serves = at == 0);
            self.forgot = true;
        }
    }

    pub fn is_routed(&self, at: usize) -> bool {
        self.instances.iter().any(|instance| instance.serves[at])
    }

    pub fn reached_by_clients(&self, at: usize) -> bool {
        self.is_routed(at) || !self.exclusive || self.instances.is_empty()
    }

    fn source(&self, at: usize) -> Option<usize> {
        let server = &self.servers[at];
        if !(server.recovery && server.upstream && server.power && server.process == Process::Running) {
            return None;
        }
        (0..self.servers.len()).find(|other| {
            let primary = &self.servers[*other];
            let lives = primary.process == Process::Running || (primary.process == Process::Gone && primary.orphans);
            *other != at
                && primary.power
                && lives
                && !primary.recovery
                && primary.system_id == server.system_id
                && primary.timeline == server.timeline
        })
    }

    pub fn is_receiving(&self, at: usize) -> bool {
        self.source(at).is_some()
    }

    /// Lets time pass up to `now`: clients write, standbys receive, promises are made.
    pub fn pass(&mut self, now: Mono) {
        let span = u128::from(now.since(self.at).as_nanos());
        self.at = now;
        for at in 0..self.servers.len() {
            if self.is_writable(at) && self.reached_by_clients(at) {
                let server = &mut self.servers[at];
                let due = server.part + u128::from(self.write_rate + self.burst) * span;
                server.part = due % 1_000_000_000;
                server.lsn += u64::try_from(due / 1_000_000_000).unwrap_or(0);
                if server.history.back().is_none_or(|(when, _)| now.since(*when) >= Span::from_millis(20)) {
                    if server.history.len() == 4_000 {
                        server.history.pop_front();
                    }
                    server.history.push_back((now, server.lsn));
                }
            }
        }
        let mut members = Vec::new();
        for at in 0..self.servers.len() {
            if let Some(primary) = self.source(at) {
                let reached = self.servers[primary].lsn.saturating_sub(self.servers[at].lag);
                let server = &mut self.servers[at];
                server.lsn = server.lsn.max(reached);
                server.connected = Some(primary);
                server.last_message = now;
                if self.asynchronous != Some(at) {
                    members.push(at);
                }
            } else {
                let server = &self.servers[at];
                let cut = server.connected.is_some_and(|primary| {
                    let other = &self.servers[primary];
                    other.power && other.process == Process::Gone && !other.orphans && server.upstream
                });
                let over = now.since(server.last_message) > Span::from_millis(60_000)
                    || server.process == Process::Gone
                    || !server.recovery;
                let server = &mut self.servers[at];
                server.dry_at = now;
                if cut || over {
                    server.connected = None;
                }
            }
        }
        if self.synchronous > 0 {
            let mut positions: Vec<u64> = members.iter().map(|at| self.servers[*at].lsn).collect();
            positions.sort_unstable_by(|a, b| b.cmp(a));
            if let Some(position) = positions.get(self.synchronous as usize - 1) {
                self.acknowledged = self.acknowledged.max(*position);
            }
        }
        if members.iter().any(|member| !self.members.contains(member)) {
            self.members_grew_at = now;
        }
        self.members = members;
        for server in &mut self.servers {
            if server.connected.is_some() {
                server.connected_at = now;
            }
            if server.process != Process::Running || !server.power || server.impaired.is_some() {
                server.unwell_at = now;
            }
            if server.port != Link::Open || server.flaky > 0 || !server.resolver {
                server.port_shut_at = now;
            }
            if !server.host {
                server.host_shut_at = now;
            }
        }
    }

    /// Where a server's log stood at a moment.
    pub fn position_at(&self, at: usize, when: Mono) -> u64 {
        let history = &self.servers[at].history;
        history.iter().rev().find(|(moment, _)| *moment <= when).map_or(START, |(_, lsn)| *lsn)
    }

    pub fn commits_go_through(&self) -> bool {
        self.synchronous == 0 || self.members.len() >= self.synchronous as usize
    }

    pub fn sample(&self, at: usize, asked: Mono, now: Mono) -> Sample {
        let server = &self.servers[at];
        let receiver = match server.connected {
            Some(_) if server.hidden => Receiver::Hidden,
            Some(_) => Receiver::Seen {
                streaming: true,
                latest_end: Some(Lsn(server.lsn)),
                last_message_age: now.since(server.last_message),
                application_name: Some(server.name.clone()),
                slot: None,
            },
            None => Receiver::Absent,
        };
        let replicas = (!server.recovery).then(|| {
            (0..self.servers.len())
                .filter(|other| self.source(*other) == Some(at))
                .map(|other| Replica {
                    application_name: self.servers[other].name.clone(),
                    streaming: true,
                    synchronous: self.synchronous > 0 && self.asynchronous != Some(other),
                    flush: Some(Lsn(self.servers[other].lsn)),
                    ..Replica::default()
                })
                .collect()
        });
        Sample {
            asked,
            in_recovery: server.recovery,
            system_id: server.system_id,
            timeline: server.timeline,
            flush: (!server.recovery).then_some(Lsn(server.lsn)),
            receive: server.recovery.then_some(Lsn(server.lsn)),
            replay: server.recovery.then_some(Lsn(server.lsn)),
            receiver,
            replay_paused: server.replay_paused,
            delayed: server.delayed,
            sync_names: if self.synchronous > 0 && !server.recovery {
                format!("ANY {} (*)", self.synchronous)
            } else {
                String::new()
            },
            replicas,
            other_engines: if server.other_engine { vec!["another".into()] } else { Vec::new() },
            ..Sample::default()
        }
    }

    /// A new connection: what comes back, and after how long.
    pub fn probe(&self, at: usize, timeout: Span, dice: &mut Dice) -> (Span, Verdict) {
        let server = &self.servers[at];
        let quick = Span::from_millis(dice.between(1, 20));
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
        match server.process {
            Process::Gone => (quick, Verdict::Down(if dice.percent(10) { DownCause::Reset } else { DownCause::Refused })),
            Process::Frozen => (timeout, Verdict::Down(DownCause::AnswerTimedOut)),
            Process::Running => match server.impaired {
                Some(impairment) => (quick, Verdict::Impaired(impairment)),
                None => (quick, Verdict::Up),
            },
        }
    }

    pub fn host_word(&self, at: usize, asked: Mono, ask_local: bool) -> Option<HostWord> {
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
        Some(HostWord {
            asked,
            postmaster,
            others: attached,
            stopped: u32::from(server.process == Process::Frozen),
            shm_attached: Some(attached),
            local_answer,
            message: format!("postmaster {postmaster:?}, local {local_answer:?}").to_lowercase(),
        })
    }

    pub fn finding(verdict: Verdict, began: Mono, latency: Span, sample: Option<Sample>) -> Finding {
        let message = format!("{} {}", verdict.word(), verdict.reason());
        Finding { verdict, message, began, latency, sample: sample.map(Box::new) }
    }

    /// The server that clients should be on: of those that would take writes the one on the highest timeline.
    pub fn leader(&self) -> Option<usize> {
        (0..self.servers.len())
            .filter(|at| self.could_write(*at) && self.servers[*at].system_id == SYSTEM_ID)
            .max_by_key(|at| (self.servers[*at].timeline, self.servers[*at].lsn))
    }

    /// SIGINT, with a guard. True: it stops.
    pub fn stop_in_order(&mut self, at: usize) -> bool {
        self.servers[at].guard = true;
        if self.servers[at].process != Process::Running {
            return false;
        }
        let receiving: Vec<usize> =
            (0..self.servers.len()).filter(|other| self.source(*other) == Some(at) && self.servers[*other].lag == 0).collect();
        let server = &mut self.servers[at];
        server.log_end = (!server.recovery).then_some(server.lsn);
        server.stopped_by_us = true;
        server.lsn += CHECKPOINT;
        server.process = Process::Gone;
        let lsn = server.lsn;
        for other in receiving {
            self.servers[other].lsn = lsn;
        }
        true
    }

    /// What its host shows of a server that was asked to stop.
    pub fn stopped(&self, at: usize) -> Option<Stopped> {
        let server = &self.servers[at];
        if !server.power || !server.host {
            return None;
        }
        Some(match (server.process, server.log_end) {
            (Process::Gone, Some(end)) => Stopped::InOrder(LogEnd { at: Lsn(end), timeline: server.timeline }),
            (Process::Gone, None) => Stopped::Crashed { state: "in production".into() },
            (Process::Frozen, _) => Stopped::Frozen,
            (Process::Running, _) => Stopped::NotYet { state: "in production".into() },
        })
    }

    /// A postmaster starts, as what its data directory says.
    pub fn start(&mut self, at: usize) {
        let server = &mut self.servers[at];
        if server.process == Process::Gone {
            server.process = Process::Running;
            server.stopped_by_us = false;
            server.log_end = None;
            server.orphans = false;
            server.impaired = None;
            if server.guard {
                server.recovery = true;
            }
        }
    }

    pub fn promote(&mut self, at: usize) {
        let timeline = self.servers.iter().map(|server| server.timeline).max().unwrap_or(1) + 1;
        let server = &mut self.servers[at];
        server.recovery = false;
        server.connected = None;
        server.timeline = timeline;
        server.history.clear();
    }

    /// A person makes a standby of everything that is not the leader, and a leader of the furthest where there is none.
    pub fn rejoin(&mut self) {
        for server in &mut self.servers {
            server.power = true;
            server.cut = false;
        }
        let leader = self.leader().unwrap_or_else(|| {
            (0..self.servers.len())
                .filter(|at| self.servers[*at].system_id == SYSTEM_ID)
                .max_by_key(|at| (self.servers[*at].timeline, self.servers[*at].lsn, usize::MAX - at))
                .unwrap_or(0)
        });
        let serves: Vec<bool> = (0..self.servers.len()).map(|at| at == leader).collect();
        for instance in &mut self.instances {
            instance.serves.clone_from(&serves);
        }
        let (timeline, lsn) = (self.servers[leader].timeline, self.servers[leader].lsn);
        for (at, server) in self.servers.iter_mut().enumerate() {
            server.process = Process::Running;
            server.stopped_by_us = false;
            server.log_end = None;
            server.orphans = false;
            server.guard = false;
            server.impaired = None;
            server.recovery = at != leader;
            server.system_id = SYSTEM_ID;
            server.delayed = false;
            server.replay_paused = false;
            if at != leader && server.timeline != timeline {
                server.timeline = timeline;
                server.lsn = lsn;
                server.connected = None;
            }
        }
    }
}
