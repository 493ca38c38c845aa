//! The truth about one service: which processes run, who takes writes, how far every log is, what clients were promised, and which
//! paths are open. The engine sees of it only what comes back over a path.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use failover_core::handover::Stopped;
use failover_core::observation::Impairment;
use failover_core::output::{Failure, Repointed, Report};
use failover_core::sample::{LogEnd, Lsn, SyncCommit};
use failover_core::time::{Mono, Span};

use super::replication::{Branch, Rule, Settings, Strange, Stranger};
use super::swarm::{Damage, Link, Replication};

pub const SYSTEM_ID: u64 = 7_000_000_000_000_000_001;
pub const START: u64 = 0x300_0000;
/// The record with which a log ends.
const CHECKPOINT: u64 = 120;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Running,
    Frozen,
    Gone,
}

/// A rule of names in a configuration file; `None`: commits wait for nobody.
#[derive(Clone, Debug)]
pub struct InFile(pub Option<Rule>);

#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    /// Its `application_name` as a standby, and the slot it uses.
    pub called: String,
    pub slot: Option<String>,
    pub process: Process,
    /// When the postmaster that runs was started.
    pub started: Mono,
    /// Children outlive the postmaster, write and replicate.
    pub orphans: bool,
    /// It was stopped by somebody's order: it has removed its own pid file.
    pub by_order: bool,
    pub power: bool,
    /// Switched off by a fence: what had been wrong with its power before does not switch it on again.
    pub cut: bool,
    pub recovery: bool,
    /// `standby.signal` of a fence: it would start as a standby.
    pub guard: bool,
    /// Its data were made those of another server, by pg_rewind.
    pub rewound: bool,
    /// It was stopped in an orderly way, at the engine's order; and where its log ended then.
    pub stopped_by_us: bool,
    pub log_end: Option<u64>,
    pub system_id: u64,
    /// Since when it has been another one.
    pub other_since: Mono,
    pub timeline: u32,
    /// The timeline in its control file, and when the next restartpoint brings that up to date.
    pub control: u32,
    restartpoint_at: Mono,
    pub branch: Branch,
    /// What is on its disk: flushed.
    pub lsn: u64,
    /// It has streamed since its postmaster was started. Until then it replays what is on its disk.
    pub received: bool,
    pub replay_from: u64,
    pub lag: u64,
    pub delayed: bool,
    pub replay_paused: bool,
    /// As a standby it looks into the spool; that takes so much, where it is full at some time; and what it has cannot be read.
    pub spool: bool,
    pub spool_takes: Option<u64>,
    pub unreadable: bool,
    pub hidden: bool,
    pub impaired: Option<Impairment>,
    pub port: Link,
    pub host: bool,
    pub resolver: bool,
    pub flaky: u64,
    /// Its answers take so many milliseconds longer.
    pub slow: u64,
    /// What its samples lack, and when they last lacked anything.
    pub damage: Option<Damage>,
    pub damaged_at: Mono,
    /// Its link to the primary brings nothing, and it has not noticed.
    pub upstream: bool,
    /// It has no receiver.
    pub receiverless: bool,
    /// Its `primary_conninfo` leads to this server, whoever is the primary; `None`: to the primary of its timeline.
    pub under: Option<usize>,
    pub other_engine: bool,
    pub others_fail: bool,
    pub session: bool,
    pub next_ping: Mono,
    pub connected: Option<usize>,
    pub last_message: Mono,
    pub settings: Settings,
    /// What was written into its file, and what it has not loaded.
    pub in_file: Option<InFile>,
    /// Somebody else than the engine set its rule last.
    pub rule_by_hand: bool,
    /// When its rule was last another one.
    pub settings_changed: Mono,
    /// Since then commits wait for standbys, whoever that is.
    pub promised_since: Mono,
    /// The furthest position of which its clients were told that it is committed, and when they were last told anything.
    pub acknowledged: u64,
    pub acknowledged_at: Mono,
    /// Promoted by somebody else than the engine; restored from an old backup, on a timeline of its own.
    pub by_hand: bool,
    pub restored: bool,
    /// When it last was not well, its paths were not open, it did not receive, it did receive.
    pub unwell_at: Mono,
    pub port_shut_at: Mono,
    pub host_shut_at: Mono,
    pub dry_at: Mono,
    /// It receives without a break since then.
    pub streams_since: Mono,
    pub connected_at: Mono,
    pub streamed_at: Mono,
    /// When it was last made to follow another primary.
    pub joined_at: Mono,
    /// When it last had no power, and when it last would have taken writes.
    pub powered_at: Mono,
    pub open_at: Mono,
    /// A receiver that is no server of ours was last connected to it so.
    pub strange: Option<Strange>,
    /// When a fault last began or ended here.
    pub changed_at: Mono,
    history: VecDeque<(Mono, u64)>,
    part: u128,
}

impl Server {
    fn new(name: &str, recovery: bool) -> Server {
        Server {
            name: name.into(),
            called: name.into(),
            slot: None,
            process: Process::Running,
            started: Mono::ZERO,
            orphans: false,
            by_order: false,
            power: true,
            cut: false,
            other_since: Mono::ZERO,
            recovery,
            guard: false,
            rewound: false,
            stopped_by_us: false,
            log_end: None,
            system_id: SYSTEM_ID,
            timeline: 1,
            control: 1,
            restartpoint_at: Mono::NEVER,
            branch: Branch::default(),
            lsn: START,
            received: recovery,
            replay_from: START,
            lag: 0,
            delayed: false,
            replay_paused: false,
            spool: false,
            spool_takes: None,
            unreadable: false,
            hidden: false,
            impaired: None,
            port: Link::Open,
            host: true,
            resolver: true,
            flaky: 0,
            slow: 0,
            damage: None,
            damaged_at: Mono::ZERO,
            upstream: true,
            receiverless: false,
            under: None,
            other_engine: false,
            others_fail: false,
            session: false,
            next_ping: Mono::NEVER,
            connected: None,
            last_message: Mono::ZERO,
            settings: Settings::default(),
            in_file: None,
            rule_by_hand: true,
            settings_changed: Mono::ZERO,
            promised_since: Mono::ZERO,
            acknowledged: START,
            acknowledged_at: Mono::ZERO,
            by_hand: false,
            restored: false,
            unwell_at: Mono::ZERO,
            port_shut_at: Mono::ZERO,
            host_shut_at: Mono::ZERO,
            dry_at: Mono::ZERO,
            streams_since: Mono::ZERO,
            connected_at: Mono::ZERO,
            streamed_at: Mono::ZERO,
            joined_at: Mono::ZERO,
            powered_at: Mono::ZERO,
            open_at: Mono::ZERO,
            strange: None,
            changed_at: Mono::ZERO,
            history: VecDeque::new(),
            part: 0,
        }
    }

    /// What it has written lately was in memory alone.
    pub fn lose_unflushed(&mut self) {
        self.lsn = self.lsn.saturating_sub(8_192).max(START);
    }

    fn lives(&self) -> bool {
        self.power && (self.process == Process::Running || (self.process == Process::Gone && self.orphans))
    }
}

#[derive(Clone, Debug)]
pub struct Instance {
    pub serves: Vec<bool>,
    pub saved: Option<Vec<bool>>,
    pub reachable: bool,
}

/// What a promotion found: for the record to be judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promotion {
    pub server: usize,
    /// Whose clients were told more than it has, how much more, how far that one's promises went, and when it last made one.
    pub old: usize,
    pub missing: u64,
    /// How much more that one has, whatever clients were told.
    pub lacks: u64,
    pub acknowledged: u64,
    pub acknowledged_at: Mono,
    /// The old one's rule was another one shortly before that.
    pub settings_changed: Mono,
    /// The old one still takes writes.
    pub rival: bool,
}

#[derive(Clone, Debug)]
pub struct Cluster {
    pub servers: Vec<Server>,
    /// So many of them are configured, the first ones; the others live on, and the engine knows nothing of them.
    pub configured: usize,
    /// When others were configured last.
    pub arranged_at: Mono,
    pub instances: Vec<Instance>,
    pub exclusive: bool,
    /// A standby that nobody names, and that runs behind.
    pub asynchronous: Option<usize>,
    pub stranger: Option<Stranger>,
    pub write_rate: u64,
    pub burst: u64,
    /// Between two restartpoints, and how long a restarted standby replays what it has on its disk.
    checkpoint: Span,
    replay: Span,
    pub promoted: Option<Promotion>,
    /// Slots that were created for standbys, by the names of their servers; and the rules of servers before they were cleared.
    pub slots: BTreeSet<(String, String)>,
    pub cleared: BTreeMap<String, Rule>,
    /// Those that were created while the engine could not see what was there before: one of which it never heard might be somebody's.
    pub unheard: BTreeSet<(String, String)>,
    branches: u64,
    /// Somebody else changed roles, or the executor said what is not true: the engine answers no more for the outcome.
    pub meddled: bool,
    pub lied: bool,
    /// Its clients wait at the gate of a switchover.
    pub gate_closed: bool,
    /// An old primary was started by hand while its failover was under way.
    pub returned: bool,
    /// A load balancer was started anew since the old primary was last taken out of it: no proof outlives that.
    pub forgot: bool,
    at: Mono,
}

impl Cluster {
    /// The pooler is the first instance of the route.
    pub fn open_gate(&mut self) {
        self.gate_closed &= self.instances.first().is_some_and(|instance| !instance.reachable);
    }

    pub fn new(names: &[String], instances: u32, exclusive: bool, write_rate: u64, replication: &Replication) -> Cluster {
        let mut servers: Vec<Server> = names.iter().enumerate().map(|(at, name)| Server::new(name, at != 0)).collect();
        for (at, server) in servers.iter_mut().enumerate() {
            server.called.clone_from(&replication.called[at]);
            server.spool = replication.spool[at];
            server.slot = replication.slots.then(|| format!("slot_{}", server.name));
            server.under = replication.cascade.and_then(|(below, upstream)| (below == at).then_some(upstream));
            server.settings = Settings { rule: replication.rule.clone(), commit: replication.commit, loaded: 1 };
        }
        let asynchronous = replication.asynchronous.then(|| servers.len() - 1);
        if let Some(last) = asynchronous {
            servers[last].lag = write_rate;
        }
        let serves: Vec<bool> = (0..servers.len()).map(|at| at == 0).collect();
        let instances = (0..instances).map(|_| Instance { serves: serves.clone(), saved: None, reachable: true }).collect();
        Cluster {
            configured: servers.len(),
            arranged_at: Mono::ZERO,
            servers,
            instances,
            exclusive,
            asynchronous,
            stranger: None,
            write_rate,
            burst: 0,
            checkpoint: Span::from_millis(replication.checkpoint),
            replay: Span::from_millis(replication.replay),
            promoted: None,
            slots: BTreeSet::new(),
            cleared: BTreeMap::new(),
            unheard: BTreeSet::new(),
            branches: 0,
            meddled: false,
            lied: false,
            gate_closed: false,
            returned: false,
            forgot: false,
            at: Mono::ZERO,
        }
    }

    /// The moment up to which time has passed.
    pub fn now(&self) -> Mono {
        self.at
    }

    /// Takes writes from whoever reaches it.
    pub fn is_writable(&self, at: usize) -> bool {
        let server = &self.servers[at];
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
        server.lives() && !server.recovery && !blocked
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
        let able = server.recovery && server.upstream && !server.receiverless && server.power;
        // A receiver is started when all that is on its own disk is replayed.
        if !able || server.process != Process::Running || !(server.received || self.is_at_end(at, self.at)) {
            return None;
        }
        let sends = |other: usize| {
            let upstream = &self.servers[other];
            other != at && upstream.lives() && upstream.system_id == server.system_id && upstream.timeline == server.timeline
        };
        match server.under {
            Some(upstream) => Some(upstream).filter(|upstream| sends(*upstream)),
            None => (0..self.servers.len()).find(|other| !self.servers[*other].recovery && sends(*other)),
        }
    }

    /// So many stream from this one, also by way of another one.
    pub fn below(&self, at: usize) -> usize {
        self.standbys_of(at).map(|below| 1 + self.below(below)).sum()
    }

    /// One below another standby goes on where that one's log goes on.
    fn follow_upstream(&mut self, at: usize, now: Mono) {
        let Some(upstream) = self.servers[at].under.filter(|_| self.servers[at].recovery) else { return };
        let (one, other) = (&self.servers[at], &self.servers[upstream]);
        if !other.lives() || other.timeline <= one.timeline || !self.shares_history(at, upstream) {
            return;
        }
        let (timeline, branch) = (other.timeline, other.branch.clone());
        self.join(at, timeline, branch, now);
    }

    fn join(&mut self, at: usize, timeline: u32, branch: Branch, now: Mono) {
        let checkpoint = self.checkpoint;
        let server = &mut self.servers[at];
        (server.timeline, server.branch, server.connected) = (timeline, branch, None);
        server.joined_at = now;
        server.restartpoint_at = now + checkpoint;
    }

    pub fn is_receiving(&self, at: usize) -> bool {
        self.source(at).is_some()
    }

    pub fn standbys_of(&self, primary: usize) -> impl Iterator<Item = usize> {
        (0..self.servers.len()).filter(move |at| self.source(*at) == Some(primary))
    }

    /// Whoever receives from a primary: what it is called, and what it has flushed.
    pub fn connected_to(&self, primary: usize) -> Vec<(&str, u64)> {
        let standbys = self.standbys_of(primary).map(|at| (self.servers[at].called.as_str(), self.servers[at].lsn));
        let stranger = self
            .stranger
            .iter()
            .filter(|_| !self.servers[primary].recovery)
            .map(|stranger| (stranger.name.as_str(), self.servers[primary].lsn));
        standbys.chain(stranger).collect()
    }

    /// How far a standby has replayed its log.
    pub fn replayed(&self, at: usize, now: Mono) -> u64 {
        let server = &self.servers[at];
        if server.received || server.replay_paused {
            return if server.received { server.lsn } else { server.replay_from };
        }
        let (done, all) = (now.since(server.started).as_nanos(), self.replay.as_nanos().max(1));
        let whole = u128::from(server.lsn.saturating_sub(server.replay_from));
        let part = whole * u128::from(done.min(all)) / u128::from(all);
        server.replay_from + u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// All that is on its disk is replayed.
    pub fn is_at_end(&self, at: usize, now: Mono) -> bool {
        !self.servers[at].replay_paused && self.replayed(at, now) == self.servers[at].lsn
    }

    /// Lets time pass up to `now`: clients write, standbys receive, promises are made.
    pub fn pass(&mut self, now: Mono) {
        let span = u128::from(now.since(self.at).as_nanos());
        self.at = now;
        for at in 0..self.servers.len() {
            if self.is_writable(at) && self.reached_by_clients(at) {
                self.write(at, span, now);
            }
        }
        for at in (0..self.servers.len()).filter(|at| self.servers[*at].under.is_none()).collect::<Vec<_>>() {
            self.receive(at, now);
        }
        for at in (0..self.servers.len()).filter(|at| self.servers[*at].under.is_some()).collect::<Vec<_>>() {
            self.follow_upstream(at, now);
            self.receive(at, now);
        }
        for at in 0..self.servers.len() {
            if self.is_writable(at) && self.reached_by_clients(at) {
                self.acknowledge(at, now);
            }
        }
        for at in 0..self.servers.len() {
            if self.could_write(at) {
                self.servers[at].open_at = now;
                self.note_stranger(at);
            }
        }
        for server in &mut self.servers {
            if !server.power {
                server.powered_at = now;
            }
            if server.connected.is_some() {
                server.connected_at = now;
            }
            if server.process != Process::Running || !server.power || server.impaired.is_some() {
                server.unwell_at = now;
            }
            // So slow is as good as shut.
            if server.port != Link::Open || server.flaky > 0 || !server.resolver || server.slow >= 1_400 {
                server.port_shut_at = now;
            }
            if server.damage.is_some() {
                server.damaged_at = now;
            }
            if !server.host {
                server.host_shut_at = now;
            }
            if now >= server.restartpoint_at && server.process == Process::Running {
                server.control = server.timeline;
            }
        }
    }

    fn write(&mut self, at: usize, span: u128, now: Mono) {
        // Where commits wait for nobody's answer, clients wait too, and little is written.
        let slower = if self.commits_go_through(at) { 1 } else { 20 };
        let server = &mut self.servers[at];
        let due = server.part + u128::from((self.write_rate + self.burst) / slower) * span;
        server.part = due % 1_000_000_000;
        server.lsn += u64::try_from(due / 1_000_000_000).unwrap_or(0);
        if server.history.back().is_none_or(|(when, _)| now.since(*when) >= Span::from_millis(20)) {
            if server.history.len() == 4_000 {
                server.history.pop_front();
            }
            server.history.push_back((now, server.lsn));
        }
    }

    fn receive(&mut self, at: usize, now: Mono) {
        if let Some(primary) = self.source(at) {
            let reached = self.servers[primary].lsn.saturating_sub(self.servers[at].lag);
            let server = &mut self.servers[at];
            server.lsn = server.lsn.max(reached);
            server.connected = Some(primary);
            server.last_message = now;
            if server.dry_at > server.streamed_at {
                server.streams_since = now;
            }
            server.streamed_at = now;
            server.received = true;
            return;
        }
        let server = &self.servers[at];
        let cut = server.connected.is_some_and(|primary| {
            let other = &self.servers[primary];
            other.power && other.process == Process::Gone && !other.orphans && server.upstream
        });
        let over = now.since(server.last_message) > Span::from_millis(60_000)
            || server.process == Process::Gone
            || !server.recovery
            || server.receiverless;
        let server = &mut self.servers[at];
        server.dry_at = now;
        if cut || over {
            server.connected = None;
        }
    }

    fn acknowledge(&mut self, at: usize, now: Mono) {
        let server = &self.servers[at];
        let position = match server.settings.in_force() {
            None => Some(server.lsn),
            Some(rule) => rule.acknowledged(&self.connected_to(at)),
        };
        let server = &mut self.servers[at];
        if let Some(position) = position.filter(|position| *position > server.acknowledged) {
            server.acknowledged = position.min(server.lsn);
            server.acknowledged_at = now;
        }
    }

    fn note_stranger(&mut self, at: usize) {
        let Some(stranger) = &self.stranger else { return };
        let server = &mut self.servers[at];
        let named = server.settings.in_force().is_some_and(|rule| rule.place(&stranger.name).is_some());
        let before = server.strange.map_or(0, |strange| strange.acknowledges);
        let acknowledges = if named { server.lsn } else { before };
        server.strange = Some(Strange { loaded: server.settings.loaded, acknowledges });
    }

    /// Where a server's log stood at a moment.
    pub fn position_at(&self, at: usize, when: Mono) -> u64 {
        let history = &self.servers[at].history;
        history.iter().rev().find(|(moment, _)| *moment <= when).map_or(START, |(_, lsn)| *lsn)
    }

    pub fn commits_go_through(&self, at: usize) -> bool {
        let rule = self.servers[at].settings.in_force();
        rule.is_none_or(|rule| rule.acknowledged(&self.connected_to(at)).is_some())
    }

    /// An administrator changes the setting, and it is read again.
    pub fn set_rule(&mut self, at: usize, rule: Option<Rule>) {
        (self.servers[at].in_file, self.servers[at].rule_by_hand) = (None, true);
        self.change_settings(at, |settings| settings.rule = rule);
    }

    /// The engine sets the names, where they are still what it saw. That is no surprise to it: nothing is excused by such a change.
    pub fn set_names(&mut self, at: usize, standby: bool, from: &str, names: &str) -> Result<Report, Failure> {
        let server = &self.servers[at];
        let shown = server.settings.rule.as_ref().map(Rule::text).unwrap_or_default();
        if !self.speaks(at) || server.recovery != standby || shown != from && shown != names {
            return Err(Failure::no_effect("it cannot be asked, has another role, or other names", ""));
        }
        self.servers[at].rule_by_hand = false;
        self.write_names(at, names);
        self.load(at);
        Ok(Report::Done { message: format!("synchronous_standby_names is '{names}'") })
    }

    /// They are in the file of the server, and not in force.
    pub fn write_names(&mut self, at: usize, names: &str) {
        self.servers[at].in_file = Some(InFile(Rule::read(names)));
    }

    /// The server loads its file.
    fn load(&mut self, at: usize) {
        let now = self.at;
        let server = &mut self.servers[at];
        let Some(InFile(rule)) = server.in_file.take() else { return };
        if rule.is_some() && server.settings.in_force().is_none() {
            server.promised_since = now;
        }
        server.settings.rule = rule;
        server.settings.loaded += 1;
    }

    pub fn set_commit(&mut self, at: usize, commit: SyncCommit) {
        self.change_settings(at, |settings| settings.commit = commit);
    }

    fn change_settings(&mut self, at: usize, change: impl FnOnce(&mut Settings)) {
        let (now, server) = (self.at, &mut self.servers[at]);
        let before = server.settings.clone();
        change(&mut server.settings);
        server.settings.loaded += 1;
        if before.in_force() != server.settings.in_force() {
            server.settings_changed = now;
            if before.in_force().is_none() {
                server.promised_since = now;
            }
        }
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

    /// It has streamed from that primary, or from one that this one followed on the same branch.
    pub fn has_followed(&self, standby: usize, primary: usize) -> bool {
        let (one, other) = (&self.servers[standby], &self.servers[primary]);
        one.system_id == other.system_id && one.branch.number == other.branch.number && one.streamed_at > one.joined_at
    }

    /// What a standby has is part of what that primary wrote.
    pub fn shares_history(&self, standby: usize, primary: usize) -> bool {
        let (one, other) = (&self.servers[standby], &self.servers[primary]);
        one.system_id == other.system_id && other.branch.holds(&one.branch, one.lsn)
    }

    /// A postmaster starts, as what its data directory says.
    pub fn start(&mut self, at: usize) {
        let now = self.at;
        let server = &mut self.servers[at];
        if server.process == Process::Gone {
            server.process = Process::Running;
            server.rewound = false;
            server.stopped_by_us = false;
            server.log_end = None;
            server.orphans = false;
            server.by_order = false;
            server.impaired = None;
            if server.guard {
                server.recovery = true;
            }
            self.load(at);
            self.replay_again(at, now);
        }
    }

    /// A standby begins at its last restartpoint.
    fn replay_again(&mut self, at: usize, now: Mono) {
        let behind = self.write_rate.saturating_mul(3).max(40_000);
        let server = &mut self.servers[at];
        server.started = now;
        server.received = false;
        server.connected = None;
        server.replay_from = server.lsn.saturating_sub(behind).max(START).min(server.lsn);
    }

    pub fn promote(&mut self, at: usize) {
        let timeline = self.servers.iter().map(|server| server.timeline).max().unwrap_or(1) + 1;
        self.branches += 1;
        let target = &self.servers[at];
        // Whose clients were told of something that is not here.
        let old = (0..self.servers.len())
            .filter(|other| *other != at && self.servers[*other].branch.number == target.branch.number)
            .filter(|other| self.servers[*other].system_id == target.system_id)
            .max_by_key(|other| (self.servers[*other].acknowledged, !self.servers[*other].recovery, usize::MAX - other));
        self.promoted = old.map(|old| {
            let other = &self.servers[old];
            Promotion {
                server: at,
                old,
                missing: other.acknowledged.saturating_sub(target.lsn),
                lacks: other.lsn.saturating_sub(target.lsn),
                acknowledged: other.acknowledged,
                acknowledged_at: other.acknowledged_at,
                settings_changed: other.settings_changed,
                rival: self.could_write(old),
            }
        });
        let (now, branch) = (self.at, self.branches);
        let server = &mut self.servers[at];
        server.branch.fork(branch, server.timeline, server.lsn);
        server.promised_since = now;
        server.recovery = false;
        server.connected = None;
        // When it comes back, its way is written anew.
        server.under = None;
        server.timeline = timeline;
        server.control = timeline;
        server.acknowledged = server.lsn;
        server.acknowledged_at = now;
        server.history.clear();
    }

    /// A standby is pointed to a primary. It streams from it where its own log goes on in that one's. One that follows a server which never
    /// was the primary stays with that.
    pub fn repoint(&mut self, at: usize, primary: usize, former: &[usize]) -> Result<Repointed, Failure> {
        let server = &self.servers[at];
        if !self.speaks(at) || !server.recovery || server.system_id != self.servers[primary].system_id {
            return Err(Failure::no_effect("it cannot be asked, or is no standby of this cluster", ""));
        }
        let is_there = self.is_receiving(at) && server.timeline == self.servers[primary].timeline;
        let stays = server.under.is_some_and(|upstream| upstream != primary && !former.contains(&upstream));
        if stays && !is_there {
            return Ok(Repointed { streams: false, changed: false, slot: None, message: "it stays with its upstream".into() });
        }
        let is_there = server.under.is_none() && server.timeline == self.servers[primary].timeline || is_there;
        if !is_there && !self.shares_history(at, primary) {
            return Err(Failure::timed_out("its log and the primary's have diverged", "rebuild it"));
        }
        let slot = server.slot.clone().filter(|_| !is_there);
        let on = self.servers[primary].name.clone();
        let heard = self.servers[primary].session && self.servers[primary].damage.is_none();
        let slot = slot.filter(|slot| self.slots.insert((on.clone(), slot.clone())));
        if let Some(slot) = slot.clone().filter(|_| !heard) {
            self.unheard.insert((on, slot));
        }
        if !is_there {
            let (timeline, branch) = (self.servers[primary].timeline, self.servers[primary].branch.clone());
            self.servers[at].under = None;
            self.join(at, timeline, branch, self.at);
        }
        if !self.is_receiving(at) {
            return Err(Failure::timed_out("it does not stream", "read its log"));
        }
        Ok(Repointed { streams: true, changed: !is_there, slot, message: "it streams".into() })
    }

    /// What it has beyond the primary's log is gone, and its own goes on in that one's.
    pub fn rewind(&mut self, at: usize, primary: usize) {
        let (timeline, lsn, branch) =
            (self.servers[primary].timeline, self.servers[primary].lsn, self.servers[primary].branch.clone());
        let server = &mut self.servers[at];
        (server.timeline, server.control, server.branch, server.rewound) = (timeline, timeline, branch, true);
        (server.lsn, server.replay_from, server.acknowledged) = (lsn, lsn, 0);
    }

    /// An old backup of the cluster is restored here, and takes writes on a timeline of its own.
    pub fn restore(&mut self, at: usize) {
        let timeline = self.servers.iter().map(|server| server.timeline).max().unwrap_or(1) + 1;
        self.branches += 1;
        let (now, number) = (self.at, self.branches);
        let server = &mut self.servers[at];
        server.branch = Branch { number, earlier: vec![(0, START - 1)], switches: vec![(1, START - 1)] };
        (server.recovery, server.restored, server.by_hand) = (false, true, true);
        (server.connected, server.timeline, server.control) = (None, timeline, timeline);
        (server.lsn, server.acknowledged, server.started) = (START - 1, START - 1, now);
        server.history.clear();
    }

    /// A new standby is made of the leader. False: there is none.
    pub fn add(&mut self, name: &str) -> bool {
        let Some(leader) = self.leader() else { return false };
        let mut server = Server::new(name, true);
        let of = &self.servers[leader];
        (server.timeline, server.control, server.lsn, server.replay_from) = (of.timeline, of.timeline, of.lsn, of.lsn);
        (server.branch, server.settings) = (of.branch.clone(), of.settings.clone());
        (server.started, server.joined_at, server.acknowledged) = (self.at, self.at, 0);
        self.servers.push(server);
        for instance in &mut self.instances {
            instance.serves.push(false);
            if let Some(saved) = &mut instance.saved {
                saved.push(false);
            }
        }
        true
    }

    /// The same servers in another order: `order` has the present places.
    pub fn arrange(&mut self, order: &[usize], configured: usize) {
        let place = |old: usize| order.iter().position(|at| *at == old).unwrap_or(old);
        self.servers = order.iter().map(|at| self.servers[*at].clone()).collect();
        for server in &mut self.servers {
            server.connected = server.connected.map(place);
            server.under = server.under.map(place);
        }
        for instance in &mut self.instances {
            instance.serves = order.iter().map(|at| instance.serves[*at]).collect();
            instance.saved = instance.saved.take().map(|saved| order.iter().map(|at| saved[*at]).collect());
        }
        self.asynchronous = self.asynchronous.map(place);
        if let Some(promoted) = &mut self.promoted {
            (promoted.server, promoted.old) = (place(promoted.server), place(promoted.old));
        }
        self.configured = configured;
        self.arranged_at = self.at;
    }

    /// A person makes a standby of everything that is not the leader, and a leader of the furthest where there is none.
    pub fn rejoin(&mut self) {
        for server in &mut self.servers {
            server.power = true;
            server.cut = false;
        }
        let ours = |server: &Server| server.system_id == SYSTEM_ID && !server.restored;
        let by_log = |at: &usize| (self.servers[*at].timeline, self.servers[*at].lsn, usize::MAX - at);
        let of = |alive: bool| {
            (0..self.servers.len()).filter(|at| ours(&self.servers[*at]) && (!alive || self.could_write(*at))).max_by_key(by_log)
        };
        let leader = of(true).or_else(|| of(false)).unwrap_or(0);
        let serves: Vec<bool> = (0..self.servers.len()).map(|at| at == leader).collect();
        for instance in &mut self.instances {
            instance.serves.clone_from(&serves);
        }
        self.stranger = None;
        for at in 0..self.servers.len() {
            self.rejoin_one(at, leader);
        }
    }

    fn rejoin_one(&mut self, at: usize, leader: usize) {
        let (now, checkpoint) = (self.at, self.checkpoint);
        let follows = self.shares_history(at, leader);
        let (timeline, lsn, branch) =
            (self.servers[leader].timeline, self.servers[leader].lsn, self.servers[leader].branch.clone());
        let server = &mut self.servers[at];
        let restarted = server.process != Process::Running || (at != leader && !server.recovery);
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
        server.by_hand = false;
        server.restored = false;
        if at == leader {
            return;
        }
        server.acknowledged = 0;
        server.strange = None;
        server.receiverless = false;
        server.under = None;
        if server.timeline != timeline || !follows {
            server.timeline = timeline;
            server.joined_at = now;
            server.connected = None;
            // Its own log goes on in the leader's: only the next restartpoint writes the new timeline down.
            server.restartpoint_at = now + checkpoint;
            if !follows {
                // A new copy, with a postmaster of its own.
                server.lsn = lsn;
                server.replay_from = lsn;
                server.started = now;
                server.control = timeline;
            }
            server.branch = branch;
        }
        if restarted {
            self.replay_again(at, now);
        }
    }
}
