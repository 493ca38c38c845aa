//! Why not. Every reason against a failover has a name, so "why did it not fail over?" always has an answer.

use super::doubt::DoubtCause;
use super::finding::FindingCode;
use super::id::ServerId;
use super::static_word::Word;
use super::time::Span;
use serde::{Deserialize, Serialize};

/// One line of a table of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stable name used in events, status and the command line.
    pub name: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Why it matters; empty where there is nothing to add.
    pub why: &'static str,
    /// What mends it, with `{service}` and `{standby}` for names; empty where the sentence says it, or only time can.
    pub remedy: &'static str,
}

impl Row {
    /// The remedy with names in it.
    #[must_use]
    pub fn remedy(&self, service: &str, standby: &str) -> String {
        self.remedy.replace("{service}", service).replace("{standby}", standby)
    }
}

/// What mends a former primary that is stopped. To start it by hand makes no standby of it.
#[must_use]
pub fn of_deposed(service: &str, server: &str, ssh: bool) -> String {
    if ssh {
        format!("failover rejoin {service} {server} brings it back as a standby; do not start it by hand (docs/REJOIN.md)")
    } else {
        format!(
            "bring {server} back as a standby of the present primary, by pg_rewind or pg_basebackup; do not start it as it is (contrib/README.md)"
        )
    }
}

/// A table of refusals: an enum, and for each of its reasons the name, what it means, why it matters and what mends it.
macro_rules! refusals {
    ($(#[$about:meta])* pub enum $type:ident { $(
        #[doc = $means:literal]
        $(#[$cfg:meta])*
        $name:ident $({ $($(#[$attribute:meta])* $field:ident: $kind:ty,)* })? = $word:literal { why: $why:literal, remedy: $remedy:literal, }
    )* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $type {
            $(#[doc = $means] $(#[$cfg])* $name $({ $($(#[$attribute])* $field: $kind,)* })?,)*
        }

        impl $type {
            /// The table.
            pub const TABLE: &'static [Row] = &[$($(#[$cfg])* Row { name: $word, means: $means.trim_ascii(), why: $why, remedy: $remedy },)*];

            /// The stable name used in events, status and the command line.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $($(#[$cfg])* $type::$name { .. } => $word,)* }
            }

            /// The line of the table that has that name.
            #[must_use]
            pub fn row(name: &str) -> Option<&'static Row> {
                $type::TABLE.iter().find(|row| row.name == name)
            }
        }
    };
}

refusals! {
    /// One reason against failing over now.
    pub enum Refusal {
        /// The primary is not failing.
        PrimaryHealthy = "primary_healthy" {
            why: "",
            remedy: "",
        }
        /// The number of failed observations in the window has not reached the threshold.
        ThresholdNotReached {
            /// Failed observations in the window.
            failures: u32,
            /// Needed.
            threshold: u32,
        } = "threshold_not_reached" {
            why: "",
            remedy: "",
        }
        /// The policy over the checks (`all`, `quorum`) is not met.
        PolicyNotMet {
            /// Checks at their failure threshold.
            failing: u32,
            /// Needed.
            needed: u32,
        } = "policy_not_met" {
            why: "",
            remedy: "",
        }
        /// Other checks fail, but the database itself answers (rule 6).
        DatabaseAnswers = "database_answers" {
            why: "",
            remedy: "",
        }
        /// The engine still waits for evidence.
        EvidenceIncomplete {
            /// What is waited for.
            #[serde(with = "super::static_word")]
            waiting_for: Word,
        } = "evidence_incomplete" {
            why: "",
            remedy: "",
        }
        /// The primary is alive, but does not serve.
        Impaired {
            /// The failure class.
            #[serde(with = "super::static_word")]
            class: Word,
        } = "impaired" {
            why: "",
            remedy: "",
        }
        /// An announced shutdown has not ended within its grace time.
        ShutdownHeld {
            /// The processes that it waits for, by what they are; empty where nobody knows.
            by: Vec<String>,
            /// Until a failover begins by `on_impaired`, if one does.
            left: Option<Span>,
        } = "shutdown_held" {
            why: "",
            remedy: "",
        }
        /// The server may still come back after an announced shutdown.
        RestartGrace {
            /// How much of the grace is left.
            left: Span,
        } = "restart_grace" {
            why: "",
            remedy: "",
        }
        /// The host reports that the server runs and serves: only the engine's path to it is broken.
        HostSaysServing = "host_says_serving" {
            why: "",
            remedy: "",
        }
        /// The host reports that the postmaster runs, although its port refuses connections.
        HostSaysRunning = "host_says_running" {
            why: "",
            remedy: "",
        }
        /// A standby still receives from the primary: the primary is alive, and only the engine's path to it is broken.
        StandbySeesPrimary {
            /// Which standby.
            server: ServerId,
        } = "standby_sees_primary" {
            why: "",
            remedy: "",
        }
        /// An operator paused the service.
        Paused = "paused" {
            why: "during a pause the engine only watches: it does not replace a dead primary",
            remedy: "failover resume {service}",
        }
        /// The engine cannot trust its own view.
        Doubt {
            /// Why.
            cause: DoubtCause,
        } = "doubt" {
            why: "",
            remedy: "do nothing: the doubt ends by itself. If it stays, look at the load and the network of this machine",
        }
        /// The engine has not yet seen every check answer since it started, resumed or reloaded.
        NotWarmedUp = "not_warmed_up" {
            why: "",
            remedy: "",
        }
        /// The engine has never seen a primary (rule 10).
        NoPrimarySeen = "no_primary_seen" {
            why: "the engine cannot call a server dead that it has never seen alive, so it promotes nothing",
            remedy: "if its checks get no answer, start the primary, or correct its address and login in the configuration; if they get an answer, read it: a server older than PostgreSQL 13 is not supported and has to be upgraded",
        }
        /// The journal cannot be written.
        JournalUnwritable = "journal_unwritable" {
            why: "after a crash the engine cannot resume or undo a failover that is not in its journal, so it starts none",
            remedy: "see the reason in `journal` of the status: give the engine's user write access to the state directory, free space on its disk, or put back what was deleted",
        }
        /// The last failover is too recent.
        Cooldown {
            /// How much of it is left.
            left: Span,
        } = "cooldown" {
            why: "a second failover soon after the first may have the same cause, so it waits",
            remedy: "wait, or failover reset {service}",
        }
        /// The failover waits for an operator's confirmation.
        AwaitingConfirmation {
            /// How long the engine goes on waiting.
            left: Span,
        } = "awaiting_confirmation" {
            why: "the outage lasts until an operator answers",
            remedy: "failover confirm {service}",
        }
        /// No operator confirmed in time.
        ConfirmationTimedOut = "confirmation_timed_out" {
            why: "the outage lasts until an operator answers",
            remedy: "failover force {service}, if the failover is needed",
        }
        /// The maximum number of failovers has begun within a minute: the engine asks a person.
        TooManyAtOnce {
            /// So many may.
            most: u32,
        } = "too_many_at_once" {
            why: "the outage lasts until an operator answers",
            remedy: "look at the network of this machine, and at what the services have in common; then failover confirm {service}, or --all",
        }
        /// A failover is in progress.
        FailoverInFlight = "failover_in_flight" {
            why: "",
            remedy: "",
        }
        /// A person must act first.
        ManualIntervention = "manual_intervention" {
            why: "the engine called a person and cannot know whether the trouble is over: only a person can say that the next failover is safe",
            remedy: "look at `failover events --service {service}`, repair what it names, then failover reset {service}",
        }
        /// The engine cannot reach the required fence level by any configured method.
        FenceUnavailable {
            /// What is missing.
            why: String,
        } = "fence_unavailable" {
            why: "two primaries lose data: without the proof that the old primary has ended, the engine promotes nothing",
            remedy: "make the primary's host reachable over SSH (`ssh`, `data_dir`), or configure `fence.command`; `route.exclusive` only if it is true",
        }
        /// The primary is alive, and the engine could not prove that a standby has everything that the primary acknowledged.
        ReceiptUnprovable {
            /// What is missing.
            why: String,
        } = "receipt_unprovable" {
            why: "",
            remedy: "make the primary's host reachable over SSH (`ssh`, `data_dir`), or accept a loss: failover force --accept-loss",
        }
        /// The primary is healthy: a switchover replaces it, and loses nothing.
        HandOver {
            /// Of which service.
            service: String,
        } = "hand_over" {
            why: "`force` is for a primary that is in trouble: planned work has a preflight, and a way back",
            remedy: "failover switchover {service}",
        }
        /// No standby can be promoted. Each standby has its reason.
        NoCandidate {
            /// By server.
            reasons: Vec<(ServerId, CandidateRefusal)>,
        } = "no_candidate" {
            why: "no standby can be promoted: if the primary dies, the service is down",
            remedy: "bring a standby back, or allow one to be promoted (candidate = true); `readiness` and the lines about each standby say what is missing",
        }
        /// A finding of the survey would prevent the completion of a failover (shown only beforehand).
        NotReady {
            /// The finding's code.
            code: FindingCode,
            /// What is wrong.
            message: String,
        } = "not_ready" {
            why: "the failover would start and not complete: the route, a missing right or a host would stop it",
            remedy: "failover doctor {service}",
        }
        /// Two servers take writes.
        TwoPrimaries = "two_primaries" {
            why: "only a person can decide which data is right, so the engine promotes nothing",
            remedy: "stop or rebuild the server that must not take writes",
        }
        /// A server that is not the primary reported that it takes writes, and nothing since then contradicts this.
        Rival {
            /// Which.
            server: ServerId,
            /// Of which service.
            service: String,
        } = "rival" {
            why: "",
            remedy: "",
        }
        /// A server belongs to another cluster.
        WrongCluster {
            /// Which.
            server: ServerId,
        } = "wrong_cluster" {
            why: "only a person can decide which data is right, so the engine promotes nothing",
            remedy: "correct the address of that server in the configuration, or rebuild it from the primary",
        }
        /// Another engine watches this service.
        SecondEngine {
            /// Its instance name.
            name: String,
        } = "second_engine" {
            why: "two engines fence and promote against each other",
            remedy: "stop the other engine: two engines on one service act against each other",
        }
        /// The followed service is in trouble, or has a new primary that is not followed yet: it may have caused the failures.
        DependencyFailing {
            /// Which.
            service: String,
            /// How much longer that is a reason.
            left: Span,
        } = "dependency_failing" {
            why: "an application whose database is away gains nothing from a switch, and would switch again when the database is back",
            remedy: "repair the service that it follows; after `follows.hold` this service fails over by itself",
        }
        /// The engine only watches services of this kind.
        WatchedOnly = "watched_only" {
            why: "",
            remedy: "",
        }
        /// The engine is stopping.
        Stopping = "stopping" {
            why: "",
            remedy: "",
        }
        /// Of the tests.
        #[cfg(test)]
        Shut = "shut" {
            why: "",
            remedy: "",
        }
    }
}

refusals! {
    /// Why a standby cannot be promoted.
    pub enum CandidateRefusal {
        /// The configuration excludes this server (`candidate = false`).
        NotACandidate = "not_a_candidate" {
            why: "",
            remedy: "",
        }
        /// An operator cordoned the server.
        Cordoned = "cordoned" {
            why: "",
            remedy: "failover uncordon {service} {standby}, once it may be promoted",
        }
        /// The server answers its kept-open session, but no new connection.
        NoNewSessions = "no_new_sessions" {
            why: "",
            remedy: "",
        }
        /// The server refuses the login of the engine's role: the engine could not request a promotion.
        LoginRefused {
            /// What it says.
            why: String,
        } = "login_refused" {
            why: "",
            remedy: "",
        }
        /// An operator chose another standby.
        NotChosen = "not_chosen" {
            why: "",
            remedy: "",
        }
        /// The engine has asked another standby in this failover to become the primary.
        AnotherAsked = "another_asked" {
            why: "",
            remedy: "",
        }
        /// The engine could not ask the server, or its last answer is too old.
        NotReadable {
            /// What was seen.
            why: String,
        } = "not_readable" {
            why: "",
            remedy: "start it, or correct its address and login in the configuration",
        }
        /// The server takes writes itself.
        NotInRecovery = "not_in_recovery" {
            why: "",
            remedy: "if another server is the primary, stop this one and rebuild it as a standby of that server",
        }
        /// The server belongs to another cluster (system identifier).
        OtherCluster = "other_cluster" {
            why: "",
            remedy: "correct its address in the configuration, or rebuild it from the primary",
        }
        /// The server is not on the primary's timeline.
        OtherTimeline {
            /// Its timeline.
            timeline: u32,
            /// The primary's.
            expected: u32,
        } = "other_timeline" {
            why: "",
            remedy: "point its primary_conninfo to the primary and reload it (recovery_target_timeline = 'latest'), or else rebuild it from the primary",
        }
        /// Replay is paused, by an operator or by PostgreSQL itself because a setting is lower than on the primary.
        ReplayPaused = "replay_paused" {
            why: "",
            remedy: "where the survey finds setting_lower_than_primary on {standby}: raise that setting and restart it, for a resume would shut it down; else SELECT pg_wal_replay_resume() on it",
        }
        /// The server is a delayed standby.
        Delayed = "delayed" {
            why: "",
            remedy: "set data.allow_delayed = true, if the standby may replay what it holds back",
        }
        /// The standby did not receive from the primary while the primary was alive.
        NotStreaming = "not_streaming" {
            why: "",
            remedy: "look at the log of {standby}: primary_conninfo, the password, the slot, and WAL that the primary has removed; if the primary is dead and you accept the loss: failover force {service} --to {standby} --accept-loss SIZE",
        }
        /// Another server, which cannot be promoted, has log that this standby lacks (rule 21).
        Behind {
            /// The other one's name; `None`: others that acknowledged commits before those who do it now.
            by: Option<String>,
            /// How much.
            bytes: u64,
            /// How much of it may be lost; 0 where commits wait for standbys.
            limit: u64,
        } = "behind" {
            why: "",
            remedy: "repair the other server so that it can be promoted, or wait until this one has caught up; if the primary is dead and you accept the loss: failover force {service} --to {standby} --accept-loss SIZE",
        }
        /// Another server, which cannot be promoted, may acknowledge commits that this standby lacks (shown only beforehand).
        MayBeBehind {
            /// The other one's name.
            by: String,
        } = "may_be_behind" {
            why: "",
            remedy: "repair the other server so that it can be promoted, or let commits wait for this one: change synchronous_standby_names on the primary",
        }
        /// The primary was stopped in an orderly way, and the standby has not received the whole log.
        NotReceived {
            /// So much of it is missing.
            bytes: u64,
        } = "not_received" {
            why: "",
            remedy: "",
        }
        /// Too few standbys that may have acknowledged a commit reported their position: this standby may lack one (rule 21).
        QuorumUnanswered {
            /// Those who may acknowledge, and said it.
            answered: u32,
            /// Acknowledgements a commit waits for.
            required: u32,
            /// Size of the set.
            size: u32,
        } = "quorum_unanswered" {
            why: "",
            remedy: "bring the other standbys of synchronous_standby_names back; if the primary is dead and you accept the loss: failover force {service} --to {standby} --accept-loss SIZE",
        }
        /// The standby could lack more log than the limit allows.
        LossTooHigh {
            /// Bytes that may be lost.
            loss: u64,
            /// The limit.
            limit: u64,
        } = "loss_too_high" {
            why: "",
            remedy: "wait until it has caught up, or raise data.max_lag_bytes; if the primary is dead and you accept the loss: failover force {service} --to {standby} --accept-loss SIZE",
        }
        /// The engine does not know how much log the standby could lack (rule 20): unknown is not zero.
        LossUnknown {
            /// Why.
            #[serde(with = "super::static_word")]
            why: Word,
        } = "loss_unknown" {
            why: "",
            remedy: "let the engine reach the primary again, or accept any loss: failover force {service} --to {standby} --accept-loss any",
        }
        /// `data.salvage` requires that nothing is lost, and what only the old primary's disk has could not be carried over.
        NotSalvaged {
            /// Why not.
            why: String,
        } = "not_salvaged" {
            why: "",
            remedy: "prepare salvage, as `failover doctor {service}` says; if what is missing may be lost: failover force {service} --to {standby} --accept-loss SIZE, or data.salvage = \"auto\"",
        }
        /// For an application: the checks of the server do not pass.
        NotHealthy {
            /// What was seen.
            why: String,
        } = "not_healthy" {
            why: "",
            remedy: "",
        }
        /// For an application: in this failover the server got the traffic, and did not serve.
        SwitchFailed {
            /// What was seen.
            why: String,
        } = "switch_failed" {
            why: "",
            remedy: "",
        }
        /// The promotion of the server was tried and had no effect.
        PromotionRefused {
            /// What was said.
            why: String,
        } = "promotion_refused" {
            why: "",
            remedy: "",
        }
    }
}

refusals! {
    /// What only a switchover is refused for.
    pub enum SwitchoverRefusal {
        /// The primary is not healthy, or not known.
        PrimaryNotHealthy {
            /// What was seen.
            why: String,
        } = "primary_not_healthy" {
            why: "a switchover is for a primary that is well: it has to hand over in an orderly way",
            remedy: "see failover status {service}; a primary that is in trouble is replaced by failover force {service}",
        }
        /// The server that was named is the primary.
        PrimaryAlready {
            /// Which.
            server: String,
        } = "primary_already" {
            why: "",
            remedy: "name a standby, or none",
        }
        /// The standby does not receive from the primary itself, but from another standby.
        NotDirect {
            /// Which.
            server: String,
            /// The primary.
            primary: String,
        } = "not_direct" {
            why: "the stop of the primary waits for its own standbys, and not for theirs",
            remedy: "point its primary_conninfo to the primary, or name a standby that receives from it",
        }
        /// The standby has too much of the log to receive.
        LagTooHigh {
            /// Which.
            server: String,
            /// So much.
            bytes: u64,
            /// The limit.
            limit: u64,
        } = "lag_too_high" {
            why: "the rest of the log has to arrive within two seconds after the stop",
            remedy: "wait until it has caught up, then give the order again",
        }
        /// Replay on the standby does not move.
        ReplayHeld {
            /// Which.
            server: String,
        } = "replay_held" {
            why: "a promotion waits until all is replayed",
            remedy: "end what holds it: failover doctor {service} names it",
        }
        /// Logical slots of the primary would be lost.
        SlotsLost {
            /// The primary.
            server: String,
            /// Which.
            slots: String,
        } = "slots_lost" {
            why: "their subscribers would break: a slot exists on the new primary only where PostgreSQL 17 has synchronised it",
            remedy: "with PostgreSQL 17: failover = true on the slots, sync_replication_slots = on on the standby; before: drop them, and create them again after the switchover",
        }
        /// The standby has no room for the prepared transactions of the primary.
        PreparedTransactions {
            /// So many are open.
            open: u64,
            /// `max_prepared_transactions` of the standby.
            room: u64,
        } = "prepared_transactions" {
            why: "the standby could not take them over",
            remedy: "commit or roll them back, or raise max_prepared_transactions of the standby",
        }
        /// A standby does not answer its WAL sender, which waits for it without a limit.
        SenderHangs {
            /// The primary.
            server: String,
        } = "sender_hangs" {
            why: "its shutdown would wait for that sender and never end",
            remedy: "set wal_sender_timeout above zero on the primary, or end the standby that hangs",
        }
    }
}

impl SwitchoverRefusal {
    /// One sentence for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            SwitchoverRefusal::PrimaryNotHealthy { why } => why.clone(),
            SwitchoverRefusal::PrimaryAlready { server } => format!("{server} is the primary already"),
            SwitchoverRefusal::NotDirect { server, primary } => {
                format!("{server} receives by way of another standby, and not from {primary}")
            }
            SwitchoverRefusal::LagTooHigh { server, bytes, limit } => {
                format!("{server} has {bytes} bytes of the log to receive, and the limit is {limit}")
            }
            SwitchoverRefusal::ReplayHeld { server } => format!("replay on {server} does not move, and there is log to replay"),
            SwitchoverRefusal::SlotsLost { server, slots } => {
                format!("logical slots of {server} are not ready on the standby: {slots}")
            }
            SwitchoverRefusal::PreparedTransactions { open, room } => {
                format!("{open} prepared transactions are open, and the standby has room for {room}")
            }
            SwitchoverRefusal::SenderHangs { server } => {
                format!("a standby of {server} does not answer its WAL sender, and wal_sender_timeout is 0")
            }
        }
    }
}

impl Refusal {
    /// The same with other server numbers; `None` where the server it is about is gone. A reason against one that is gone is left out.
    #[must_use]
    pub fn mapped(self, id: &dyn Fn(ServerId) -> Option<ServerId>) -> Option<Refusal> {
        Some(match self {
            Refusal::StandbySeesPrimary { server } => Refusal::StandbySeesPrimary { server: id(server)? },
            Refusal::Rival { server, service } => Refusal::Rival { server: id(server)?, service },
            Refusal::WrongCluster { server } => Refusal::WrongCluster { server: id(server)? },
            Refusal::NoCandidate { reasons } => {
                let mut reasons: Vec<_> =
                    reasons.into_iter().filter_map(|(server, reason)| Some((id(server)?, reason))).collect();
                reasons.sort_by_key(|(server, _)| *server);
                Refusal::NoCandidate { reasons }
            }
            other => other,
        })
    }

    /// One sentence for people.
    #[must_use]
    pub fn sentence(&self, server_name: &dyn Fn(ServerId) -> String) -> String {
        match self {
            Refusal::PrimaryHealthy => "the primary is not failing".into(),
            Refusal::ThresholdNotReached { failures, threshold } => {
                let noun = if *failures == 1 { "observation" } else { "observations" };
                format!("{failures} failed {noun} in the window (threshold {threshold})")
            }
            Refusal::PolicyNotMet { failing, needed } => format!("{failing} checks have failed, and the policy needs {needed}"),
            Refusal::DatabaseAnswers => {
                "other checks fail, but the database itself answers: a live primary is never deposed".into()
            }
            Refusal::EvidenceIncomplete { waiting_for } => format!("waiting for {waiting_for}"),
            Refusal::Impaired { class } => impaired(class),
            Refusal::ShutdownHeld { by, left } => shutdown_held(by, *left),
            Refusal::RestartGrace { left } => format!("the primary announced its shutdown and has {left} left to come back"),
            Refusal::HostSaysServing => "the primary answers on its own host: only the path from here is broken".into(),
            Refusal::HostSaysRunning => {
                "the primary's port refuses connections, but its host reports that the postmaster runs".into()
            }
            Refusal::StandbySeesPrimary { server } => {
                format!(
                    "{} still receives from the primary: the primary is alive, and the path from here to it, or its way in, is broken",
                    server_name(*server)
                )
            }
            Refusal::Paused => "paused by an operator; `failover resume` ends it".into(),
            Refusal::Doubt { cause } => cause.sentence().into(),
            Refusal::NotWarmedUp => "not every check has answered often enough yet since the engine began to watch".into(),
            Refusal::NoPrimarySeen => "no primary was seen yet; a cluster without a known primary is never promoted".into(),
            Refusal::JournalUnwritable => {
                "the journal cannot be written, and no failover starts without a record of it; see the state directory".into()
            }
            Refusal::Cooldown { left } => format!("the last failover was less than the cooldown ago ({left} left)"),
            Refusal::AwaitingConfirmation { left } => format!("waiting {left} for `failover confirm`"),
            Refusal::ConfirmationTimedOut => "nobody confirmed in time".into(),
            Refusal::TooManyAtOnce { most } => format!(
                "{most} other failovers began within a minute, which is the limit (engine.max_concurrent_failovers): `failover confirm` starts this one too"
            ),
            Refusal::FailoverInFlight => "a failover is in flight".into(),
            Refusal::ManualIntervention => "a person must act first; `failover reset` resumes the automatic failover".into(),
            Refusal::FenceUnavailable { why } => format!("the old primary cannot be fenced: {why}"),
            Refusal::NotReady { code, message } => format!("{code}: {message}"),
            Refusal::ReceiptUnprovable { why } => format!(
                "the primary is alive, and only its host can prove that a standby has its whole log: {why}; mend that, or accept a loss (--accept-loss)"
            ),
            Refusal::HandOver { service } => {
                format!("the primary is healthy: run `failover switchover {service}`, which loses nothing")
            }
            Refusal::NoCandidate { reasons } if reasons.is_empty() => "there is no standby".into(),
            Refusal::NoCandidate { reasons } => {
                let each: Vec<String> =
                    reasons.iter().map(|(server, reason)| format!("{}: {}", server_name(*server), reason.sentence())).collect();
                format!("no standby can take over ({})", each.join("; "))
            }
            Refusal::TwoPrimaries => "two servers take writes; nothing is touched until a person decides".into(),
            Refusal::Rival { server, service } => format!(
                "{} reported that it takes writes, and no later report says that it has stopped: stop or rebuild it; if it is certain that it is gone for \
                 good, run failover reset {service}, then give the order again",
                server_name(*server)
            ),
            Refusal::WrongCluster { server } => format!("{} belongs to another cluster", server_name(*server)),
            Refusal::SecondEngine { name } => format!("another engine ({name}) watches this service"),
            Refusal::DependencyFailing { service, left } => {
                format!(
                    "{service}, which it follows, is in trouble or has just failed over: its failures start nothing here for {left} more"
                )
            }
            Refusal::WatchedOnly => "it is watched only: an application without a route cannot be failed over".into(),
            Refusal::Stopping => "the engine is stopping".into(),
            #[cfg(test)]
            Refusal::Shut => "a test has shut the gate".into(),
        }
    }
}

fn impaired(class: &str) -> String {
    let what = if class == "no_new_sessions" {
        "the primary serves the sessions that it has and answers no new connection"
    } else {
        "the primary is alive but not serving"
    };
    format!(
        "{what} ({class}); the primary is not dead: trigger.on_impaired decides when this starts a failover, and failover force starts one"
    )
}

fn shutdown_held(by: &[String], left: Option<Span>) -> String {
    let what = if by.is_empty() {
        "something that its host does not report".to_owned()
    } else {
        format!("its {}", by.join(" and its "))
    };
    let then = match left {
        Some(left) => format!("a failover begins in {left} if that lasts (trigger.on_impaired)"),
        None => {
            "the engine does nothing (trigger.on_impaired = \"never\"): end what it waits for, or run `failover force`".to_owned()
        }
    };
    format!("the primary announced its shutdown, has not ended within its grace, and waits for {what}; {then}")
}

impl CandidateRefusal {
    /// It is refused for nothing but log that it lacks, or may lack.
    #[must_use]
    pub fn is_lack(&self) -> bool {
        matches!(
            self,
            CandidateRefusal::NotStreaming
                | CandidateRefusal::Behind { .. }
                | CandidateRefusal::MayBeBehind { .. }
                | CandidateRefusal::QuorumUnanswered { .. }
                | CandidateRefusal::LossTooHigh { .. }
                | CandidateRefusal::LossUnknown { .. }
                | CandidateRefusal::NotSalvaged { .. }
        )
    }

    /// One sentence for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            CandidateRefusal::NotACandidate => "the configuration says candidate = false".into(),
            CandidateRefusal::Cordoned => "an operator cordoned it; `failover uncordon` ends that".into(),
            CandidateRefusal::NoNewSessions => {
                "it answers its kept session and no new connection: its postmaster hangs and could not carry out a promotion"
                    .into()
            }
            CandidateRefusal::LoginRefused { why } => {
                format!("it refuses the login of the engine's role, so the engine could not ask for a promotion: {why}")
            }
            CandidateRefusal::NotChosen => "the operator chose another server".into(),
            CandidateRefusal::AnotherAsked => {
                "another server was asked to become the primary in this failover, and may have begun to".into()
            }
            CandidateRefusal::NotReadable { why } => format!("it cannot be asked ({why})"),
            CandidateRefusal::NotInRecovery => "it is not in recovery".into(),
            CandidateRefusal::OtherCluster => "it has another system identifier".into(),
            CandidateRefusal::OtherTimeline { timeline, expected } => {
                format!("it is on timeline {timeline}, the primary was on {expected}")
            }
            CandidateRefusal::ReplayPaused => "replay is paused".into(),
            CandidateRefusal::Delayed => "it is a delayed standby (recovery_min_apply_delay)".into(),
            CandidateRefusal::NotStreaming => "it was not receiving from the primary".into(),
            CandidateRefusal::MayBeBehind { by } => {
                format!("{by} may acknowledge commits before this one has them, and cannot be promoted itself")
            }
            CandidateRefusal::Behind { by: Some(by), bytes, limit: 0 } => {
                format!("{by} has {bytes} bytes of log that it lacks, and cannot be promoted itself")
            }
            CandidateRefusal::Behind { by: Some(by), bytes, limit } => format!(
                "{by} has {bytes} bytes of log that it lacks, and cannot be promoted itself; the limit is {limit} (max_lag_bytes or --accept-loss)"
            ),
            CandidateRefusal::Behind { by: None, bytes, .. } => {
                format!(
                    "it lacks {bytes} bytes of log, and standbys that acknowledged before the present ones may have acknowledged commits in them"
                )
            }
            CandidateRefusal::NotReceived { bytes: 0 } => {
                "it has not received the last record of the stopped primary's log".into()
            }
            CandidateRefusal::NotReceived { bytes } => {
                format!("it has not received the last {bytes} bytes of the stopped primary's log")
            }
            CandidateRefusal::QuorumUnanswered { answered, required, size } => format!(
                "only {answered} of {size} standbys that may acknowledge commits reported their positions, and commits wait for {required}: another standby may have more"
            ),
            CandidateRefusal::LossTooHigh { loss, limit } => {
                format!("about {loss} bytes could be lost, the limit is {limit} (max_lag_bytes or --accept-loss)")
            }
            CandidateRefusal::LossUnknown { why } => format!("it is not known how much could be lost: {why}"),
            CandidateRefusal::NotSalvaged { why } => {
                format!(
                    "salvage could not carry over what it may lack from the old primary, and data.salvage requires this: {why}"
                )
            }
            CandidateRefusal::NotHealthy { why } => format!("its checks do not pass ({why})"),
            CandidateRefusal::SwitchFailed { why } => format!("the switch to it did not succeed: {why}"),
            CandidateRefusal::PromotionRefused { why } => format!("its promotion had no effect: {why}"),
        }
    }
}
