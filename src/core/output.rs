//! Everything the core can ask the shell to do.

use super::candidate::Candidate;
use super::copy::{CopyOrder, CopyReport};
use super::durable::Durable;
use super::event::Event;
use super::handover::Receipt;
use super::id::{ActionId, CheckId, Generation, RunId, ServerId, ServiceId};
use super::plan::Intent;
use super::rejoin::{Divergence, Rewound};
use super::salvage::Salvaged;
use super::sample::{FenceLevel, FenceReport, HostReport, LogEnd, Lsn, Position, RouteInstance};
use super::survival::Forked;
use super::switchover::PreflightLine;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// One output of [`Core::step`](super::Core::step). The shell carries them out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write and sync this before any later output is carried out.
    Journal(Record),
    /// Run a check on the pool.
    RunCheck {
        /// Carried by the result.
        run: RunId,
        /// The service.
        service: ServiceId,
        /// The check.
        check: CheckId,
        /// It should also bring a sample of the server's state: no kept session does.
        sample: bool,
        /// The overall deadline.
        deadline: Mono,
    },
    /// Open the kept session of a server on the pool and hand it to the watcher.
    OpenSession {
        /// Carried by the result.
        run: RunId,
        /// The service.
        service: ServiceId,
        /// The server.
        server: ServerId,
        /// The overall deadline.
        deadline: Mono,
    },
    /// Close the kept session of a server.
    CloseSession {
        /// The service.
        service: ServiceId,
        /// The server.
        server: ServerId,
    },
    /// Nobody waits for this run any more.
    CancelRun(RunId),
    /// Carry out an action on the executor.
    RunAction {
        /// Carried by the outcome.
        id: ActionId,
        /// The service.
        service: ServiceId,
        /// The failover it belongs to.
        generation: Generation,
        /// What to do.
        action: Action,
        /// The overall deadline.
        deadline: Mono,
    },
    /// Nobody waits for this action any more; stop it if it can be stopped.
    CancelAction(ActionId),
    /// Let the survey look at a server, and at the route of its service, before their turn: what it is or whether it answers has
    /// changed.
    Survey {
        /// The service.
        service: ServiceId,
        /// The server.
        server: ServerId,
    },
    /// Tell the world.
    Emit(Event),
    /// The answer to an operator's command.
    Reply {
        /// From the command.
        token: u64,
        /// What was done, or why not.
        result: Result<Answer, String>,
    },
}

/// What an operator's command did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Answer {
    /// One sentence for people.
    pub message: String,
    /// The number of the failover that began by this very command.
    pub generation: Option<Generation>,
    /// What was looked at before a switchover, in order.
    pub preflight: Vec<PreflightLine>,
}

super::words::words! {
    /// A step of a failover, by its name in events, journal and reports.
    pub enum Step {
        /// A host is asked about a server's processes.
        AskHost = "ask_host",
        /// The configured checks before anything is changed.
        PreChecks = "pre_checks",
        /// The clients of a primary that hands over wait.
        CloseGate = "close_gate",
        /// A server is taken out of the route.
        RouteOut = "route_out",
        /// A primary writes a checkpoint, so that it stops sooner.
        Checkpoint = "checkpoint",
        /// A primary is asked to stop in an orderly way.
        StopServer = "stop_server",
        /// It is found out who has received the whole log of a primary that was asked to stop.
        ReadReceipt = "read_receipt",
        /// A primary that was asked to stop is started again.
        StartServer = "start_server",
        /// The route of one server is put back.
        RouteRestore = "route_restore",
        /// The whole route is put back.
        RouteRollback = "route_rollback",
        /// A server is fenced.
        Fence = "fence",
        /// A fence is taken back.
        FenceUndo = "fence_undo",
        /// A fence is proven again.
        ProveFence = "prove_fence",
        /// The history of a timeline is read.
        ReadHistory = "read_history",
        /// Positions of standbys are read.
        ReadPositions = "read_positions",
        /// The end of a fenced primary's log is carried to a standby.
        Salvage = "salvage",
        /// What an old primary's log has that the new primary lacks is read.
        ReadDivergence = "read_divergence",
        /// The slot that an old primary uses by its settings is made on the new one.
        MakeSlot = "make_slot",
        /// That log is copied to a folder where nobody removes it.
        KeepLog = "keep_log",
        /// `pg_rewind` of an old primary is begun.
        Rewind = "rewind",
        /// It is asked how far that is.
        ReadRewind = "read_rewind",
        /// An old primary gets the settings of a standby.
        FollowPrimary = "follow_primary",
        /// A server that has its guard is started as a standby.
        StartStandby = "start_standby",
        /// It is read how much a copy of the primary needs.
        MeasureData = "measure_data",
        /// What stands in the way of a copy is read.
        FindCopy = "find_copy",
        /// A new copy of the primary's data is begun.
        CopyData = "copy_data",
        /// It is asked how far that is.
        ReadCopy = "read_copy",
        /// It takes the place of the data directory.
        SwapData = "swap_data",
        /// What was left of that on the standby's host is removed.
        EmptySpool = "empty_spool",
        /// A standby is promoted.
        Promote = "promote",
        /// The role of a server is read.
        ReadRole = "read_role",
        /// A write on the new primary is proven.
        VerifyData = "verify_data",
        /// Standbys that the old primary left behind are pointed to the new one.
        RepointStandbys = "repoint_standbys",
        /// Commits stop waiting for synchronous standbys.
        OpenSyncGate = "open_sync_gate",
        /// They wait for those again that they waited for before.
        RestoreSyncNames = "restore_sync_names",
        /// A server gets another set of standbys that its commits wait for.
        SetSyncNames = "set_sync_names",
        /// A slot that the engine created, and that nobody uses any more, is dropped.
        DropSlot = "drop_slot",
        /// The traffic is sent to a server.
        RouteIn = "route_in",
        /// The weight of a server is changed.
        RouteWeight = "route_weight",
        /// Names are pointed to a server.
        PointNames = "point_names",
        /// The command of a service that follows another one.
        Follow = "follow",
        /// It is asked through the route who answers.
        VerifyTraffic = "verify_traffic",
    }
}

super::words::words! {
    /// How a failover ended.
    pub enum EndedHow {
        /// Another server is the primary.
        Completed = "completed",
        /// Nothing is left changed: the failure may be decided afresh, or the primary serves on as before.
        Stopped = "stopped",
        /// What had been changed was undone.
        RolledBack = "rolled_back",
        /// A person has to come.
        ManualIntervention = "manual_intervention",
    }
}

/// What goes into the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A failover is about to begin.
    Intent {
        /// The service.
        service: ServiceId,
        /// Its number.
        generation: Generation,
        /// The whole reasoning, one line each.
        evidence: Vec<String>,
        /// What the next engine needs if this one ends before the failover does.
        begun: Box<Intent>,
    },
    /// A step is about to be carried out.
    StepBegun {
        /// The service.
        service: ServiceId,
        /// The failover.
        generation: Generation,
        /// The step.
        step: Step,
        /// What it acts on.
        target: String,
        /// Of a promotion: the standby that was chosen.
        chosen: Option<Candidate>,
    },
    /// A step ended.
    StepEnded {
        /// The service.
        service: ServiceId,
        /// The failover.
        generation: Generation,
        /// The step.
        step: Step,
        /// It did what it should.
        ok: bool,
        /// One line.
        message: String,
    },
    /// A failover ended.
    Ended {
        /// The service.
        service: ServiceId,
        /// The failover.
        generation: Generation,
        /// How.
        how: EndedHow,
    },
    /// Facts that must outlive the engine changed.
    Facts {
        /// The service.
        service: ServiceId,
        /// All of them.
        durable: Box<Durable>,
    },
}

/// One thing to do in the world. Each is idempotent: asked again with the same generation it finds its work done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Ask the host of a server about its processes. Changes nothing. Answer: [`Report::Host`].
    AskHost {
        /// The server.
        server: ServerId,
        /// Also run `pg_isready` on the host.
        ask_local: bool,
    },
    /// Run the configured pre-failover checks. Changes nothing. Answer: [`Report::Done`].
    PreChecks,
    /// Take a server out of every instance of the route and end its sessions there. Answer: [`Report::Route`].
    RouteOut {
        /// The server.
        server: ServerId,
    },
    /// Let the clients of a server wait in every pooler, and wait until none of their transactions runs. `RouteIn` and `RouteRestore` let
    /// them go on. Answer: [`Report::Gate`].
    CloseGate {
        /// The server.
        server: ServerId,
        /// So long transactions may take to end.
        patience: Span,
        /// Clients wait on where they have not ended; else they go on.
        keep: bool,
        /// From then on the clients go on also without an engine.
        hold: Span,
    },
    /// The compensation of `RouteOut`: every instance back to what it was before. Answer: [`Report::Route`].
    RouteRestore {
        /// The server.
        server: ServerId,
    },
    /// Every instance back to what it was before this failover changed it, server by server: state and weight. Where nothing is
    /// remembered, after a restart of the engine, this server gets the traffic and the others go to maintenance. Answer:
    /// [`Report::Route`].
    RouteRollback {
        /// The server that had the traffic.
        server: ServerId,
    },
    /// Fence a server: the ladder of rule 87 over SSH, then `fence.command` if the level asks for it. Answer: [`Report::Fence`].
    Fence {
        /// The server.
        server: ServerId,
        /// The level to reach; stop climbing there.
        require: FenceLevel,
        /// Its processes may be stopped (state T): skip what a stopped process cannot hear.
        hung: bool,
        /// Only `fence.command` can reach it: the host does not answer.
        unreachable: bool,
        /// The host's view of the processes was confirmed while the server lived, so "no process" is a proof.
        view_confirmed: bool,
    },
    /// The compensation of `Fence`: remove the `standby.signal` that the fence placed. Answer: [`Report::Done`].
    FenceUndo {
        /// The server.
        server: ServerId,
    },
    /// Prove again that nothing of a fenced server came back. Answer: [`Report::Fence`].
    ProveFence {
        /// The server.
        server: ServerId,
        /// As in `Fence`.
        view_confirmed: bool,
    },
    /// Read the history of a timeline on the host of a server that writes on it. Changes nothing. Answer: [`Report::History`].
    ReadHistory {
        /// The server.
        server: ServerId,
        /// The timeline.
        timeline: u32,
    },
    /// Let a primary write a checkpoint, so that its stop takes less time. Answer: [`Report::Done`].
    Checkpoint {
        /// The server.
        server: ServerId,
    },
    /// Ask a primary to stop in an orderly way, with a guard that keeps it from starting as one; nothing is waited for, and nobody is
    /// killed. Answer: [`Report::Done`].
    StopServer {
        /// The server.
        server: ServerId,
    },
    /// Wait until a server that was asked to stop has ended its log, and until a standby has received all of it. Changes nothing.
    /// Answer: [`Report::Receipt`].
    ReadReceipt {
        /// The server.
        server: ServerId,
        /// Whose positions are read. The first one's receipt is waited for; that of another one counts a moment later.
        standbys: Vec<ServerId>,
        /// The cluster's identity.
        system_id: u64,
        /// The timeline on which the log has to end.
        timeline: u32,
        /// At most this long for the receipt, once the log has ended.
        patience: Span,
    },
    /// The compensation of `StopServer`: remove its guard and start the server. What is left of one that had ended its log is ended
    /// before that. Answer: [`Report::Done`].
    StartServer {
        /// The server.
        server: ServerId,
        /// As in `Fence`.
        view_confirmed: bool,
        /// Its shutdown has had its time: a server that serves nobody and does not come to its end is ended too.
        overdue: bool,
    },
    /// Read the positions of standbys until two in a row are equal. Changes nothing. Answer: [`Report::Positions`].
    ReadPositions {
        /// Whose.
        servers: Vec<ServerId>,
        /// At most this long for two equal receive positions; then the last one, marked as not settled.
        settle: Span,
    },
    /// Carry the end of a fenced server's log to a standby, and wait until that has replayed it. An answer says where the log ends, so
    /// what is lost is known exactly; a failure says nothing about it. Answer: [`Report::Salvaged`].
    Salvage {
        /// The standby.
        server: ServerId,
        /// The server whose log is read: fenced, and no process of it is left.
        old: ServerId,
        /// The cluster's identity: the log of another one is not touched.
        system_id: u64,
        /// The timeline on which the log has to end.
        timeline: u32,
        /// What the standby has: received or replayed, the larger.
        from: Lsn,
        /// At most this long for all of it.
        patience: Span,
    },
    /// Empty the folder of a standby in which salvaged log was put, once its failover is over. Answer: [`Report::Done`].
    EmptySpool {
        /// The standby.
        server: ServerId,
    },
    /// Read what the log of a stopped server has behind the place where the present primary's timeline left it. Changes nothing.
    /// Answer: [`Report::Divergence`].
    ReadDivergence {
        /// The server.
        server: ServerId,
        /// Whom it is to follow: whether its host could reach that one is looked at as well.
        primary: ServerId,
        /// The cluster's identity.
        system_id: u64,
        /// The present primary's timeline.
        timeline: u32,
        /// The timelines before that, and where each was left.
        switches: Vec<(u32, Lsn)>,
    },
    /// Make the slot of a primary that an old one uses by its settings, where it is not there. It holds no log before it is used. Answer:
    /// [`Report::SlotMade`].
    MakeSlot {
        /// The primary.
        server: ServerId,
        /// Its name.
        slot: String,
    },
    /// Copy that log, and the settings of the server, to a folder beside its data directory. Answer: [`Report::Done`].
    KeepLog {
        /// The server.
        server: ServerId,
        /// The cluster's identity.
        system_id: u64,
        /// The timeline that it wrote last.
        timeline: u32,
        /// Where that was left.
        fork: Lsn,
    },
    /// Begin `pg_rewind` of a stopped server, detached from the session that asks for it. At most once for each failover: asked again it
    /// only says so. Answer: [`Report::Done`].
    Rewind {
        /// The server.
        server: ServerId,
        /// Whose data it gets.
        primary: ServerId,
    },
    /// Read how far that is. Answer: [`Report::Rewind`].
    ReadRewind {
        /// The server.
        server: ServerId,
    },
    /// What concerns a new copy of the primary's data. Answer: [`Report::Copy`].
    Copy {
        /// The server on whose host it is done.
        server: ServerId,
        /// What.
        order: CopyOrder,
    },
    /// Give a stopped server its own settings back, and those of a standby of the present primary; its guard stays as its
    /// `standby.signal`. Answer: [`Report::Done`].
    FollowPrimary {
        /// The server.
        server: ServerId,
        /// Whom it is to follow.
        primary: ServerId,
        /// How it calls itself there, where its host does not say it.
        alias: String,
    },
    /// Start a stopped server that has its guard, as a standby. One that runs already is left as it is. Answer: [`Report::Done`].
    StartStandby {
        /// The server.
        server: ServerId,
    },
    /// Promote a standby and wait until it is writable on a new timeline: the point of no return. Answer: [`Report::Promoted`].
    Promote {
        /// The standby.
        server: ServerId,
        /// The cluster's identity: a server with another one is not touched.
        system_id: u64,
        /// The timeline to leave.
        old_timeline: u32,
    },
    /// Find out, without changing anything, whether a standby was promoted. Answer: [`Report::Role`].
    ReadRole {
        /// The server.
        server: ServerId,
    },
    /// Prove a committed write on the new primary, and whether ordinary commits go through (rules 94, 95). Answer: [`Report::Written`].
    VerifyData {
        /// The server.
        server: ServerId,
        /// The cluster's identity.
        system_id: u64,
        /// The timeline that was left.
        old_timeline: u32,
    },
    /// Let standbys that streamed from a former primary stream from the present one, and wait until they do. One that streams from it
    /// already, or from another standby, is left as it is. Answer: [`Report::Repointed`].
    RepointStandbys {
        /// Which.
        standbys: Vec<ServerId>,
        /// The present primary.
        primary: ServerId,
        /// The cluster's identity: a server with another one is not touched.
        system_id: u64,
        /// The primary's timeline.
        timeline: u32,
        /// Former primaries that have not come back as standbys.
        former: Vec<ServerId>,
    },
    /// Clear `synchronous_standby_names` so that commits stop waiting for nobody. Answer: [`Report::Done`].
    OpenSyncGate {
        /// The server.
        server: ServerId,
    },
    /// Put `synchronous_standby_names` back, where it is still empty. Answer: [`Report::Done`].
    RestoreSyncNames {
        /// The server.
        server: ServerId,
        /// As it was before the engine cleared it.
        names: String,
    },
    /// Set `synchronous_standby_names`, where it is still what it was seen to be, and wait until it is in force. Answer: [`Report::Done`].
    SetSyncNames {
        /// The server.
        server: ServerId,
        /// The cluster it must be.
        system_id: u64,
        /// It must be a standby, else a primary.
        standby: bool,
        /// The value that was seen.
        from: String,
        /// The value that it gets.
        names: String,
    },
    /// Drop a physical slot that the engine created, where nobody uses it. Answer: [`Report::Done`].
    DropSlot {
        /// The server that has it.
        server: ServerId,
        /// Its name.
        slot: String,
    },
    /// Send the route's traffic to a server on every instance. Answer: [`Report::Route`].
    RouteIn {
        /// The server.
        server: ServerId,
        /// So much of its full weight is it given, in percent; `None`: the weight is not ours to ramp.
        #[serde(default)]
        share: Option<u8>,
    },
    /// The weight of a server that has the traffic, on every instance. Answer: [`Report::Route`].
    RouteWeight {
        /// The server.
        server: ServerId,
        /// In percent of its full weight.
        share: u8,
    },
    /// Ask through the route who answers, and whether an ordinary commit goes through. Answer: [`Report::Traffic`], or
    /// [`Report::TrafficFull`].
    VerifyTraffic {
        /// The server that should answer.
        server: ServerId,
        /// The cluster's identity.
        system_id: u64,
        /// The new timeline.
        timeline: u32,
    },
    /// Point the names of the service to a server, and wait until those who speak for their zones have it. Answer:
    /// [`Report::Route`], an instance for each name.
    PointNames {
        /// The server.
        server: ServerId,
    },
    /// Run the command of a service that follows another one, for a new primary of that. Answer: [`Report::Done`].
    Follow {
        /// The other service.
        service: ServiceId,
        /// Its new primary.
        server: ServerId,
        /// The number of its last failover.
        generation: Generation,
    },
    /// Ask through the route of an application which server answers, and whether it serves. Answer: [`Report::Traffic`].
    VerifyService {
        /// The server that should answer.
        server: ServerId,
    },
}

/// What an action that did its work has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Nothing but that it is done.
    Done {
        /// One line for people.
        message: String,
    },
    /// The host's word.
    Host(HostReport),
    /// The host's word about a server that was stopped in an orderly way, and where its log ends.
    HostShutDown {
        /// Its word.
        word: HostReport,
        /// The end of the log.
        end: LogEnd,
    },
    /// Each instance of the route. The action succeeded if at least one instance did what was asked.
    Route(Vec<RouteInstance>),
    /// Each pooler, and whether clients wait.
    Gate {
        /// As of a route.
        instances: Vec<RouteInstance>,
        /// Nothing failed but that transactions run on.
        running: bool,
    },
    /// The fence, with the level that is proven.
    Fence(FenceReport),
    /// Positions.
    Positions(Vec<Position>),
    /// The history of a timeline.
    History {
        /// Which.
        timeline: u32,
        /// The timelines before it, oldest first, and where each was left.
        switches: Vec<(u32, Lsn)>,
    },
    /// What became of an orderly stop, and who has received what.
    Receipt(Receipt),
    /// What became of the end of the old primary's log.
    Salvaged(Salvaged),
    /// What became of each standby that was to follow another primary.
    Repointed(Vec<(ServerId, Result<Repointed, Failure>)>),
    /// What an old log has that the new primary lacks.
    Divergence(Divergence),
    /// A primary has the slot that was asked for.
    SlotMade {
        /// It was not there before.
        created: bool,
        /// One line for people.
        message: String,
    },
    /// How far a rewind is.
    Rewind {
        /// How far.
        state: Rewound,
        /// One line for people.
        message: String,
    },
    /// What a host says of a copy.
    Copy(CopyReport),
    /// The new primary.
    Promoted {
        /// Its timeline.
        timeline: u32,
        /// Where the new timeline's log stood when it was seen.
        flush: Lsn,
        /// What the promotion showed of the fork.
        forked: Forked,
        /// One line for people: how, how long, how often asked.
        message: String,
    },
    /// The role of a server.
    Role {
        /// Still in recovery.
        in_recovery: bool,
        /// Its timeline.
        timeline: u32,
        /// Its identity.
        system_id: u64,
    },
    /// A write.
    Written {
        /// The position that is proven flushed.
        flush: Lsn,
        /// Ordinary commits go through; `false`: they wait for a synchronous standby.
        commits: bool,
        /// One line for people.
        message: String,
    },
    /// The route answers.
    Traffic {
        /// One line for people: each address and who answered.
        message: String,
    },
    /// Some addresses of the route answer with the server that should answer, the others with nobody: an error or silence. No other
    /// server answers.
    TrafficInPart {
        /// One line for people: each address and who answered.
        message: String,
    },
    /// The route sends all sessions to the server that should answer, and that has no place left for one that looks who answers.
    TrafficFull {
        /// One line for people: each address and what it said, and who else says where it leads.
        message: String,
    },
}

/// What became of a standby that was to follow another primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repointed {
    /// It streams from that primary; `false`: it is left as it is, for it follows another standby, or nobody.
    pub streams: bool,
    /// Its configuration was changed.
    pub changed: bool,
    /// The slot that was created on the primary for it.
    pub slot: Option<String>,
    /// One line for people.
    pub message: String,
}

/// Why an action did not do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What and where, in one line. Never holds a secret.
    pub message: String,
    /// What to do about it, where that is known.
    pub remedy: String,
}

/// Kinds of failed actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// Proven to have had no effect (refused, denied, wrong server, precondition not met).
    NoEffect,
    /// The same, and for good: the same request would be refused again.
    Refused,
    /// Ended, and part of the effect may have happened.
    Unknown,
    /// The deadline passed; the effect is unknown.
    TimedOut,
    /// Cancelled by us; the effect is unknown.
    Cancelled,
}

impl Action {
    /// The step's name in events, journal and reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.step().as_str()
    }

    /// Which step it is.
    #[must_use]
    pub fn step(&self) -> Step {
        match self {
            Action::AskHost { .. } => Step::AskHost,
            Action::PreChecks => Step::PreChecks,
            Action::CloseGate { .. } => Step::CloseGate,
            Action::RouteOut { .. } => Step::RouteOut,
            Action::RouteRestore { .. } => Step::RouteRestore,
            Action::RouteRollback { .. } => Step::RouteRollback,
            Action::Fence { .. } => Step::Fence,
            Action::FenceUndo { .. } => Step::FenceUndo,
            Action::ProveFence { .. } => Step::ProveFence,
            Action::ReadHistory { .. } => Step::ReadHistory,
            Action::Checkpoint { .. } => Step::Checkpoint,
            Action::StopServer { .. } => Step::StopServer,
            Action::ReadReceipt { .. } => Step::ReadReceipt,
            Action::StartServer { .. } => Step::StartServer,
            Action::ReadPositions { .. } => Step::ReadPositions,
            Action::Salvage { .. } => Step::Salvage,
            Action::EmptySpool { .. } => Step::EmptySpool,
            Action::ReadDivergence { .. } => Step::ReadDivergence,
            Action::MakeSlot { .. } => Step::MakeSlot,
            Action::KeepLog { .. } => Step::KeepLog,
            Action::Rewind { .. } => Step::Rewind,
            Action::ReadRewind { .. } => Step::ReadRewind,
            Action::Copy { order, .. } => order.step(),
            Action::FollowPrimary { .. } => Step::FollowPrimary,
            Action::StartStandby { .. } => Step::StartStandby,
            Action::Promote { .. } => Step::Promote,
            Action::ReadRole { .. } => Step::ReadRole,
            Action::VerifyData { .. } => Step::VerifyData,
            Action::RepointStandbys { .. } => Step::RepointStandbys,
            Action::OpenSyncGate { .. } => Step::OpenSyncGate,
            Action::RestoreSyncNames { .. } => Step::RestoreSyncNames,
            Action::SetSyncNames { .. } => Step::SetSyncNames,
            Action::DropSlot { .. } => Step::DropSlot,
            Action::RouteIn { .. } => Step::RouteIn,
            Action::RouteWeight { .. } => Step::RouteWeight,
            Action::PointNames { .. } => Step::PointNames,
            Action::Follow { .. } => Step::Follow,
            Action::VerifyTraffic { .. } | Action::VerifyService { .. } => Step::VerifyTraffic,
        }
    }

    /// The server it acts on, where it is one of the service.
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        match self {
            Action::PreChecks | Action::ReadPositions { .. } | Action::Follow { .. } => None,
            Action::RepointStandbys { standbys, .. } => match standbys[..] {
                [standby] => Some(standby),
                _ => None,
            },
            Action::AskHost { server, .. }
            | Action::CloseGate { server, .. }
            | Action::RouteOut { server }
            | Action::RouteRestore { server }
            | Action::RouteRollback { server }
            | Action::Fence { server, .. }
            | Action::FenceUndo { server }
            | Action::ProveFence { server, .. }
            | Action::ReadHistory { server, .. }
            | Action::Checkpoint { server }
            | Action::StopServer { server }
            | Action::ReadReceipt { server, .. }
            | Action::StartServer { server, .. }
            | Action::Salvage { server, .. }
            | Action::EmptySpool { server }
            | Action::ReadDivergence { server, .. }
            | Action::MakeSlot { server, .. }
            | Action::KeepLog { server, .. }
            | Action::Rewind { server, .. }
            | Action::ReadRewind { server }
            | Action::Copy { server, .. }
            | Action::FollowPrimary { server, .. }
            | Action::StartStandby { server }
            | Action::Promote { server, .. }
            | Action::ReadRole { server }
            | Action::VerifyData { server, .. }
            | Action::OpenSyncGate { server }
            | Action::RestoreSyncNames { server, .. }
            | Action::SetSyncNames { server, .. }
            | Action::DropSlot { server, .. }
            | Action::RouteIn { server, .. }
            | Action::RouteWeight { server, .. }
            | Action::PointNames { server }
            | Action::VerifyService { server }
            | Action::VerifyTraffic { server, .. } => Some(*server),
        }
    }
}

impl Failure {
    /// A failure that is proven to have changed nothing.
    #[must_use]
    pub fn no_effect(message: impl Into<String>, remedy: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::NoEffect, message: message.into(), remedy: remedy.into() }
    }

    /// A refusal for good: nothing was changed, and asking again would be refused again.
    #[must_use]
    pub fn refused(message: impl Into<String>, remedy: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Refused, message: message.into(), remedy: remedy.into() }
    }

    /// Proven to have changed nothing.
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        matches!(self.kind, FailureKind::NoEffect | FailureKind::Refused)
    }

    /// A failure whose effect is not known.
    #[must_use]
    pub fn unknown(message: impl Into<String>, remedy: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Unknown, message: message.into(), remedy: remedy.into() }
    }

    /// The deadline passed.
    #[must_use]
    pub fn timed_out(message: impl Into<String>, remedy: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::TimedOut, message: message.into(), remedy: remedy.into() }
    }

    /// Cancelled by the engine.
    #[must_use]
    pub fn cancelled(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Cancelled, message: message.into(), remedy: String::new() }
    }
}
