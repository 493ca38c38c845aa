//! Facts about servers and their hosts, as they were read: positions, roles, processes, proofs.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::finding::FindingCode;
use super::id::ServerId;
use super::streams::Streams;
use super::switchover::SwitchoverFacts;
use super::time::{Mono, Span};

/// A position in the write-ahead log, in bytes. Shown as PostgreSQL shows it: `0/3000148`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Bytes from `other` up to here; zero if `other` is further.
    #[must_use]
    pub fn bytes_after(self, other: Lsn) -> u64 {
        self.0.saturating_sub(other.0)
    }

    /// Reads PostgreSQL's notation, `0/3000148`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Lsn> {
        let (high, low) = text.trim().split_once('/')?;
        let high = u32::from_str_radix(high, 16).ok()?;
        let low = u32::from_str_radix(low, 16).ok()?;
        Some(Lsn(u64::from(high) << 32 | u64::from(low)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// What a PostgreSQL server said about itself in one statement. Sampled while it lives, because at failover time the primary
/// cannot be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When the question was sent: the facts are at least this fresh.
    pub asked: Mono,
    /// How long ago its postmaster was started, by its own clock, where it says so.
    pub age: Option<Span>,
    /// When its postmaster was started, in microseconds of its own clock: only to tell one postmaster from the next.
    #[serde(default)]
    pub started: Option<i64>,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// `pg_control_system().system_identifier`.
    pub system_id: u64,
    /// The timeline: of the WAL being written on a primary (rule 96), of the receiver or the last checkpoint on a standby.
    pub timeline: u32,
    /// `pg_current_wal_flush_lsn()`; only on a primary.
    pub flush: Option<Lsn>,
    /// `pg_last_wal_receive_lsn()` and, where visible, the receiver's written position (rules 60, 63); only on a standby. `None`
    /// until the receiver has streamed since the postmaster was started: then local log may still be on its way to being replayed.
    pub receive: Option<Lsn>,
    /// `pg_last_wal_replay_lsn()`; only on a standby.
    pub replay: Option<Lsn>,
    /// The WAL receiver; only on a standby.
    pub receiver: Receiver,
    /// The startup process waits for more log: all that is on its disk is replayed. Also `false` where the role may not see it.
    #[serde(default)]
    pub at_end: bool,
    /// The startup process waits for sessions of the standby to let it go on: for a lock, for an old snapshot, for a pinned buffer. Also
    /// `false` where the role may not see it.
    #[serde(default)]
    pub replay_conflict: bool,
    /// `pg_is_wal_replay_paused()`.
    pub replay_paused: bool,
    /// `recovery_min_apply_delay` is above zero.
    pub delayed: bool,
    /// `restore_command`, as the running server has it, looks into the folder where salvaged log is put; `None`: not known.
    #[serde(default)]
    pub spool: Option<bool>,
    /// `synchronous_standby_names`; empty when replication is asynchronous.
    pub sync_names: String,
    /// `synchronous_commit`, as a session of the engine has it.
    #[serde(default)]
    pub sync_commit: SyncCommit,
    /// The weakest `synchronous_commit` that a role or a database has of its own; `None`: none has one.
    #[serde(default)]
    pub sync_commit_overridden: Option<SyncCommit>,
    /// `pg_conf_load_time()` in microseconds of the server's clock: only to tell one reading of the settings from the next.
    #[serde(default)]
    pub settings_loaded: Option<i64>,
    /// The rows of `pg_stat_replication`: who streams from this server, a standby as well. `None` when the role may not see them (rule 92).
    pub replicas: Option<Vec<Replica>>,
    /// Who replicates from whom, for people alone.
    #[serde(default)]
    pub streams: Streams,
    /// The names of its physical slots. `None`: it does not say.
    #[serde(default)]
    pub slots: Option<Vec<String>>,
    /// `primary_slot_name`: the slot that it uses as a standby.
    #[serde(default)]
    pub uses_slot: Option<String>,
    /// Names of other engines connected to this server (`application_name` `libfailover`), by their instance id.
    pub other_engines: Vec<String>,
}

/// The WAL receiver of a standby as `pg_stat_wal_receiver` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receiver {
    /// Not a standby, or the view has no row.
    #[default]
    Absent,
    /// The view has a row whose columns the role may not read (rule 92): hidden is not down.
    Hidden,
    /// The receiver's own words.
    Seen {
        /// `status` is `streaming`.
        streaming: bool,
        /// The end of the primary's WAL as last reported by the primary (`latest_end_lsn`).
        latest_end: Option<Lsn>,
        /// How long ago the last message came, by the standby's own clock.
        last_message_age: Span,
        /// `application_name` in its connection string: its name in the primary's `pg_stat_replication`.
        application_name: Option<String>,
        /// `slot_name`: the slot of the primary that it uses.
        slot: Option<String>,
    },
}

/// What a commit waits for where replication is synchronous (`synchronous_commit`); the greatest is the weakest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SyncCommit {
    /// `remote_apply`: the standby has replayed it.
    RemoteApply,
    /// `on`: the standby has flushed it.
    #[default]
    On,
    /// `remote_write`: the standby has it in memory; a crash of its host may lose it.
    RemoteWrite,
    /// `local` or `off`: no standby is waited for.
    Local,
}

impl SyncCommit {
    /// The setting's value in any spelling that the server takes: of a role or a database it keeps what was typed.
    #[must_use]
    pub fn parse(text: &str) -> Option<SyncCommit> {
        match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Some(SyncCommit::On),
            "remote_apply" => Some(SyncCommit::RemoteApply),
            "remote_write" => Some(SyncCommit::RemoteWrite),
            "local" | "off" | "false" | "no" | "0" => Some(SyncCommit::Local),
            _ => None,
        }
    }
}

impl Receiver {
    /// By the receiver's own words.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        matches!(self, Receiver::Seen { streaming: true, .. })
    }
}

/// One row of `pg_stat_replication`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// `application_name`.
    pub application_name: String,
    /// `state` is `streaming`: one in catch-up does not count as synchronous (rule 66).
    pub streaming: bool,
    /// `sync_state` is `sync` or `quorum`.
    pub synchronous: bool,
    /// `flush_lsn`.
    pub flush: Option<Lsn>,
    /// The slot that its sender holds.
    #[serde(default)]
    pub slot: Option<String>,
    /// How long ago its last reply came, by the primary's clock.
    #[serde(default)]
    pub reply_age: Option<Span>,
}

impl Replica {
    /// Its standby has left it, and the sender has not noticed yet (`wal_sender_timeout`): it replies to nothing, although there is log to
    /// reply to, or for longer than `wal_receiver_status_interval`. It acknowledges nothing beyond what it shows.
    #[must_use]
    pub fn is_left(&self, flush: Option<Lsn>) -> bool {
        let owes = flush.is_some() && self.flush < flush;
        self.reply_age.is_some_and(|age| age > Span::from_millis(if owes { 1_000 } else { 11_000 }))
    }
}

/// A standby's position read for the choice of a candidate, after the fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Whose.
    pub server: ServerId,
    /// What it said, or why it could not be asked.
    pub sample: Result<Sample, String>,
    /// Two reads in a row gave the same receive position, so the receiver has drained its buffer.
    pub settled: bool,
}

/// What the host of a server says about the processes of its data directory (rules 86, 91).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// When the question was sent.
    pub asked: Mono,
    /// The postmaster named by `postmaster.pid`.
    pub postmaster: ProcessState,
    /// Processes other than the postmaster, not zombies, whose working directory is the data directory.
    pub others: u32,
    /// How many of all these are stopped (state T).
    pub stopped: u32,
    /// Attachments of the System V segment on line 7 of `postmaster.pid`: `Some(0)` also when the segment is gone.
    pub shm_attached: Option<u32>,
    /// What `pg_isready` on the host itself got, if it was asked.
    pub local_answer: LocalAnswer,
    /// There is no `postmaster.pid`: the server has removed it itself, as it does when it is stopped by an order, and not when it is killed.
    #[serde(default)]
    pub stopped_by_order: bool,
    /// Of a server that is shutting down: the processes that it waits for, by what they are (`archiver`, `walsender`, `checkpointer`, `session`).
    pub holds: Vec<String>,
    /// One line for people.
    pub message: String,
}

/// Where the log of a server ended that was stopped in an orderly way: read from its control file on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// Where the shutdown checkpoint begins: every commit is before it, and nothing but itself is after it.
    pub at: Lsn,
    /// Its timeline.
    pub timeline: u32,
}

/// The state of a process as its host shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessState {
    /// Running or sleeping.
    Running,
    /// Stopped by a signal or a debugger (T): kernel sockets stay alive, only SIGKILL is heard.
    Stopped,
    /// In an uninterruptible wait (D).
    Uninterruptible,
    /// No such process, or a zombie.
    Gone,
}

/// What `pg_isready` got on the server's own host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalAnswer {
    /// It was not asked, or is not installed there.
    NotAsked,
    /// The server accepts connections.
    Accepting,
    /// The server answers and rejects (starting up, shutting down).
    Rejecting,
    /// No answer.
    Silent,
}

/// How surely the old primary can acknowledge nothing any more. Ordered: a higher level includes the lower ones' promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FenceLevel {
    /// Level 0: nothing.
    #[default]
    None,
    /// Level 1: traffic removed from every managed route.
    TrafficRemoved,
    /// Level 2: no standby can acknowledge synchronous commits.
    NoAcknowledgement,
    /// Level 3: every process of the data directory proven gone.
    ProvenStopped,
    /// Level 4: power or volume cut.
    PowerOff,
}

impl FenceLevel {
    /// The level as a number: 0 to 4 (rule 18).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            FenceLevel::None => 0,
            FenceLevel::TrafficRemoved => 1,
            FenceLevel::NoAcknowledgement => 2,
            FenceLevel::ProvenStopped => 3,
            FenceLevel::PowerOff => 4,
        }
    }

    /// The level with this number.
    #[must_use]
    pub fn of_number(number: u8) -> Option<FenceLevel> {
        use FenceLevel::{NoAcknowledgement, None, PowerOff, ProvenStopped, TrafficRemoved};
        [None, TrafficRemoved, NoAcknowledgement, ProvenStopped, PowerOff].into_iter().find(|level| level.number() == number)
    }
}

/// What the fence did and proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceReport {
    /// The level that is proven; a command that was merely accepted proves nothing (rule 26).
    pub level: FenceLevel,
    /// `standby.signal` was placed by this fence (and must be removed by the compensation).
    pub guard_placed: bool,
    /// The rungs of the ladder that were tried, in order.
    pub rungs: Vec<Rung>,
    /// One line for people: what the proof saw.
    pub proof: String,
    /// Where the log ends, if the server's last deed was the checkpoint of a shutdown: read when nothing of it was left.
    pub end: Option<LogEnd>,
}

super::words::words! {
    /// Which rung of the fence ladder (rule 87).
    pub enum RungName {
        /// `standby.signal` is placed.
        Guard = "guard",
        /// SIGINT to the postmaster.
        StopFast = "stop_fast",
        /// SIGQUIT to the postmaster.
        StopImmediate = "stop_immediate",
        /// SIGSTOP to the postmaster.
        FreezePostmaster = "freeze_postmaster",
        /// SIGKILL to every other process of the data directory.
        KillChildren = "kill_children",
        /// SIGKILL to the postmaster.
        KillPostmaster = "kill_postmaster",
        /// The proof that nothing is left.
        Proof = "proof",
        /// `fence.command`, or the host program: power or volume.
        Command = "command",
        /// The ladder as a whole, where it could not be climbed.
        Ssh = "ssh",
    }
}

/// One rung of the fence ladder (rule 87).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Which one.
    pub name: RungName,
    /// It did what it should.
    pub ok: bool,
    /// How long it took.
    pub took: Span,
    /// One line for people.
    pub note: String,
}

/// What `pg_control` says a server is doing. It outlives the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlState {
    /// A server is being initialised.
    StartingUp,
    /// It was stopped in an orderly way: the log ends at its checkpoint, and no more is written. Its processes may still be there.
    ShutDown,
    /// A standby was stopped in an orderly way.
    ShutDownInRecovery,
    /// The checkpoint of the shutdown is being written.
    ShuttingDown,
    /// It recovers from a crash.
    InCrashRecovery,
    /// A standby, or a server that recovers from an archive.
    InArchiveRecovery,
    /// It takes writes, or did until it crashed.
    InProduction,
    /// A word that this version does not know.
    Unknown(String),
}

impl ControlState {
    /// The state by what `pg_controldata` calls it.
    #[must_use]
    pub fn parse(text: &str) -> ControlState {
        match text {
            "starting up" => ControlState::StartingUp,
            "shut down" => ControlState::ShutDown,
            "shut down in recovery" => ControlState::ShutDownInRecovery,
            "shutting down" => ControlState::ShuttingDown,
            "in crash recovery" => ControlState::InCrashRecovery,
            "in archive recovery" => ControlState::InArchiveRecovery,
            "in production" => ControlState::InProduction,
            other => ControlState::Unknown(other.to_owned()),
        }
    }

    /// What `pg_controldata` calls it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            ControlState::StartingUp => "starting up",
            ControlState::ShutDown => "shut down",
            ControlState::ShutDownInRecovery => "shut down in recovery",
            ControlState::ShuttingDown => "shutting down",
            ControlState::InCrashRecovery => "in crash recovery",
            ControlState::InArchiveRecovery => "in archive recovery",
            ControlState::InProduction => "in production",
            ControlState::Unknown(word) => word,
        }
    }
}

/// What `pg_control` of a server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlData {
    /// What the server is doing, or did last.
    pub state: ControlState,
    /// Where its latest checkpoint begins in the log.
    pub checkpoint: Lsn,
    /// Where a recovery from it would begin.
    pub redo: Lsn,
    /// The timeline of that checkpoint.
    pub timeline: u32,
    /// The identity of its cluster.
    pub system_id: u64,
}

/// What the survey found out about a server's readiness for a failover, besides what its SQL samples say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// When it was asked.
    pub asked: Mono,
    /// `None` where no SSH is configured.
    pub ssh: Option<Result<HostReport, String>>,
    /// Each thing that would hurt at failover time, with its remedy.
    pub findings: Vec<ReadinessFinding>,
    /// What could not be asked this time, as it was found when it could.
    pub earlier: Vec<(Mono, ReadinessFinding)>,
    /// Of a database: what planned work asks about; `None`: it could not be asked.
    #[serde(default)]
    pub switchover: Option<SwitchoverFacts>,
    /// How its host reaches the other servers; `None`: the host was not asked, or does not say.
    #[serde(default)]
    pub sources: Option<Vec<Source>>,
}

/// A line of the file that says how a host reaches the other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Which server it leads to; empty: the whole file.
    pub server: String,
    /// What is wrong with it.
    pub trouble: Option<String>,
}

impl Readiness {
    /// The host was seen to have another server in the data directory: nothing it says is about this one, and it must not be
    /// fenced there.
    #[must_use]
    pub fn is_of_another_server(&self) -> bool {
        self.findings.iter().any(|finding| finding.code == FindingCode::HostOtherServer)
    }

    /// All findings, whenever they were made.
    #[must_use]
    pub fn all(&self) -> Vec<ReadinessFinding> {
        let mut all: Vec<ReadinessFinding> =
            self.findings.iter().chain(self.earlier.iter().map(|(_, finding)| finding)).cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}

/// One thing that would hurt at failover time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReadinessFinding {
    /// Its kind.
    pub code: FindingCode,
    /// A failover would not work (true) or would be slower or riskier (false).
    pub blocking: bool,
    /// What is wrong, and why it matters at failover time.
    pub message: String,
    /// The command or setting that mends it.
    pub remedy: String,
}

/// One instance of a route (a HAProxy), as a step or the survey found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteInstance {
    /// Its name in the configuration.
    pub name: String,
    /// What was done or seen there, or why not.
    pub result: Result<String, String>,
}

impl RouteInstance {
    /// One that did not do what was asked.
    #[must_use]
    pub fn failed(name: &str, failure: &super::output::Failure) -> RouteInstance {
        let why = match failure.remedy.as_str() {
            "" => failure.message.clone(),
            remedy => format!("{} ({remedy})", failure.message),
        };
        RouteInstance { name: name.to_owned(), result: Err(why) }
    }

    /// Its name and why it did not do what was asked; `None` where it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.result.as_ref().err().map(|why| format!("{}: {why}", self.name))
    }
}
