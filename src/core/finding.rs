//! What would hurt at failover time. Each kind of finding has a stable name, and one line of the table: what it means, whether it stands in
//! the way of a failover, and why that matters. What is wrong in numbers, and what mends it, depends on the server and stands in the
//! finding itself.

use serde::{Deserialize, Serialize};

use super::sample::ReadinessFinding;

/// Where a finding is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingGroup {
    /// What a server says over SQL.
    Server,
    /// What its host says over SSH.
    Host,
    /// What the route says, and who answers through it.
    Route,
    /// What the engine finds out about itself.
    Engine,
}

/// Whether a failover would not work (it blocks), or would be slower or riskier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// In any case.
    Always,
    /// It is a warning.
    Never,
    /// Where this holds; a warning otherwise.
    Where(&'static str),
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FindingRow {
    /// The kind.
    pub code: FindingCode,
    /// Where it is made.
    pub group: FindingGroup,
    /// What it means.
    pub means: &'static str,
    /// Whether it stands in the way.
    pub blocks: Blocks,
    /// Why it matters at failover time: a clause.
    pub why: &'static str,
}

/// The table: for each kind its name, where it is made, whether it blocks, why it matters.
macro_rules! findings {
    ($(#[doc = $means:literal] $name:ident = $word:literal ($group:ident, $blocks:expr): $why:literal,)*) => {
        /// The stable name of a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FindingCode {
            $(#[doc = $means] $name,)*
        }

        impl FindingCode {
            /// The table, in the order of the reference.
            pub const TABLE: &'static [FindingRow] = &[$(FindingRow {
                code: FindingCode::$name,
                group: FindingGroup::$group,
                means: $means.trim_ascii(),
                blocks: $blocks,
                why: $why,
            },)*];

            /// The name in events, status and the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(FindingCode::$name => $word,)* }
            }

            /// Its line of the table.
            #[must_use]
            pub fn row(self) -> &'static FindingRow {
                // In the order in which they are declared.
                &FindingCode::TABLE[self as usize]
            }
        }
    };
}

findings! {
    /// The server is older than every version that the engine works with.
    VersionNotSupported = "version_not_supported" (Server, Blocks::Always):
        "what the engine asks came with later versions: it sees neither role nor position of such a server, so nothing is promoted",
    /// The server is newer than every version that this release was tried with.
    VersionNotTried = "version_not_tried" (Server, Blocks::Never):
        "what such a version does differently shows only in a failover, and none was seen",
    /// The engine's role may not call `pg_promote` on this server.
    PromoteRightMissing = "promote_right_missing" (Server, Blocks::Where("promotion is by SQL (`promote.method`)")):
        "the promotion is one call of pg_promote; without the right it fails after the old primary was fenced, and nobody takes writes",
    /// The engine's role may not call `pg_reload_conf` on this server.
    ReloadRightMissing = "reload_right_missing" (Server, Blocks::Never):
        "a standby can overhear its promotion and sleep for wal_retrieve_retry_interval; a reload wakes it at once, and that sleep is outage",
    /// The engine's role is no member of `pg_monitor`.
    MonitorRightMissing = "monitor_right_missing" (Server, Blocks::Never):
        "a standby that still receives WAL proves a live primary; unseen, a false alarm is caught later and the promotion waits blindly",
    /// A standby notices a dead link to its primary late, or never.
    WalReceiverTimeoutLong = "wal_receiver_timeout_long" (Server, Blocks::Never):
        "whether the standby still hears the primary is asked before it is replaced; with a long timeout its `streaming` proves nothing for that long",
    /// `default_transaction_read_only` is on.
    ReadOnlyByDefault = "read_only_by_default" (Server, Blocks::Where("it is set for the server, not for a role or a database")):
        "set for the server, the write verification fails after the promotion, and the failover ends with a person being called",
    /// Every place of this server is taken, and the engine does not get in.
    NoPlaceLeft = "no_place_left" (Server, Blocks::Where("it is a standby that may be promoted (`candidate`), and the engine has no session to it")):
        "a standby that cannot be asked is not promoted; the session that the engine has may end",
    /// The engine's role, or its database, may have fewer sessions than the engine needs.
    ConnectionLimitLow = "connection_limit_low" (Server, Blocks::Where("a failover has no place for its steps")):
        "while checks, watch and survey take the places, the steps of a failover find none, at the moment at which each needs one",
    /// The server does not write its log through to the disk.
    FsyncOff = "fsync_off" (Server, Blocks::Never):
        "the host that crashes is the one that would come back; without fsync its data may be gone or torn, and a standby may follow torn data",
    /// Neither `wal_log_hints` nor data checksums are on.
    RewindImpossible = "rewind_impossible" (Server, Blocks::Never):
        "the failover itself works; until the former primary is copied anew, there is no standby for the next one",
    /// The last attempt to archive a file of the log failed.
    ArchiveFailing = "archive_failing" (Server, Blocks::Never):
        "a clean stop waits for the archive, WAL that is kept fills the disk, and what was not archived is lost to a recovery in time",
    /// Many finished files of the log wait for the archive.
    ArchiveBacklog = "archive_backlog" (Server, Blocks::Never):
        "a clean stop waits for the archive, WAL that is kept fills the disk, and what was not archived is lost to a recovery in time",
    /// This standby would archive nothing as the primary, and the present one archives.
    ArchiveEnds = "archive_ends" (Server, Blocks::Never):
        "what is written after the failover is in no archive: a backup that was made before cannot be brought further than that moment",
    /// This standby and its primary archive the same files to the same place.
    ArchivedTwice = "archived_twice" (Server, Blocks::Never):
        "a file that is overwritten may be torn when it is needed; where the second one fails instead, WAL piles up on that server",
    /// A replication slot that nobody uses holds more log than `max_wal_size`.
    SlotHoldsWal = "slot_holds_wal" (Server, Blocks::Never):
        "a primary whose disk is full stops, and the next failover begins with a full disk; at its limit the slot is lost, and its standby with it",
    /// A replication slot has lost the log that its standby needs next.
    SlotLost = "slot_lost" (Server, Blocks::Never):
        "that standby cannot follow any more: it falls behind with every commit and is not promoted",
    /// `primary_conninfo` holds a password that the engine's role can read.
    ReplicationPasswordReadable = "replication_password_readable" (Server, Blocks::Never):
        "whoever reads statistics can read the password of replication, and with it copy the whole cluster",
    /// The primary has logical replication slots.
    LogicalSlots = "logical_slots" (Server, Blocks::Never):
        "the slots stay on the old primary: subscribers stop, and changes between the failover and new slots are missed",
    /// One standby alone can acknowledge what the primary waits for.
    SyncGate = "sync_gate" (Server, Blocks::Never):
        "after the promotion nobody is left to acknowledge: every commit waits, and the service is down although the server is up",
    /// The engine's role may not clear `synchronous_standby_names`.
    SyncGateRightMissing = "sync_gate_right_missing" (Server, Blocks::Never):
        "the engine could not let commits through after the promotion: they wait until a person does",
    /// `synchronous_standby_names` holds what the engine cannot read.
    SyncNamesUnreadable = "sync_names_unreadable" (Server, Blocks::Never):
        "who has acknowledged a commit and does not answer may hold what nobody else has: then nobody is promoted, and a person is called",
    /// Somebody who is no standby of this service can acknowledge commits.
    SyncByStrangers = "sync_by_strangers" (Server, Blocks::Never):
        "a commit of which a client was told may be on no standby that could be promoted: nothing can be promised about it",
    /// `synchronous_commit` lets commits go before a standby has them.
    SyncCommitWaitsForNobody = "sync_commit_waits_for_nobody" (Server, Blocks::Never):
        "a commit of which a client was told may be on no standby that could be promoted: nothing can be promised about it",
    /// A role, a database or a function has its own `synchronous_commit`.
    SyncCommitOverridden = "sync_commit_overridden" (Server, Blocks::Never):
        "a commit of which a client was told may be on no standby that could be promoted: nothing can be promised about it",
    /// Several receivers have the same name.
    ReplicationNamesEqual = "replication_names_equal" (Server, Blocks::Never):
        "who has acknowledged a commit and does not answer may hold what nobody else has: then nobody is promoted, and a person is called",
    /// A standby that is named in `synchronous_standby_names` is not connected.
    SyncStandbyAbsent = "sync_standby_absent" (Server, Blocks::Never):
        "who has acknowledged a commit and does not answer may hold what nobody else has: then nobody is promoted, and a person is called",
    /// Replay is paused on this standby.
    ReplayPaused = "replay_paused" (Server, Blocks::Where("the standby may be promoted (`candidate`)")):
        "a promotion ends the pause and replays what somebody wanted to stop; so this standby is refused",
    /// Replay stands still although there is log to replay.
    ReplayHeld = "replay_held" (Server, Blocks::Never):
        "a promotion replays first: it takes as long as what holds replay up, without an end where max_standby_streaming_delay is -1",
    /// `recovery_min_apply_delay` holds replay back on this standby.
    ApplyDelayed = "apply_delayed" (Server, Blocks::Always):
        "all that was held back is replayed before the promotion ends, and what protected against a mistake is gone; so this standby is refused",
    /// No WAL receiver runs on this standby.
    NotReceiving = "not_receiving" (Server, Blocks::Never):
        "every commit from now on would be lost by a failover to it, so it is not promoted by itself",
    /// A setting that a standby must not have lower than its primary is lower.
    SettingLowerThanPrimary = "setting_lower_than_primary" (Server, Blocks::Where("the standby may be promoted (`candidate`)")):
        "hot standby stops replay at the primary's change, and a server with fewer connections turns clients away when it takes the load",
    /// Places are kept by `reserved_connections`, and the engine's role may not use them.
    ReservedPlacesClosed = "reserved_places_closed" (Server, Blocks::Never):
        "after a failover all clients come back at once; without a place of its own the engine cannot see who answers through the route",
    /// The server's TLS certificate has expired.
    CertificateExpired = "certificate_expired" (Server, Blocks::Never):
        "TLS that is verified is refused: the engine is blind, and clients that verify cannot connect after a failover",
    /// The server's TLS certificate expires soon.
    CertificateExpires = "certificate_expires" (Server, Blocks::Never):
        "from that moment verified connections are refused, by clients and by the engine, which is then blind and fails nothing over",
    /// The engine's own TLS certificate has expired, or expires soon.
    ClientCertificateExpires = "client_certificate_expires" (Server, Blocks::Never):
        "from that moment the server refuses the engine's login: it is blind and fails nothing over",
    /// The host of this server cannot be asked over SSH.
    HostNotAsked = "host_not_asked" (Host, Blocks::Always):
        "the old primary's end must be proven before another is made; what cannot be reached cannot be fenced",
    /// The data directory on the host belongs to another server than the one that answers over SQL.
    HostOtherServer = "host_other_server" (Host, Blocks::Always):
        "a fence there would stop somebody else, and prove nothing about this server",
    /// The account on the host may not signal the server's processes.
    HostCannotSignal = "host_cannot_signal" (Host, Blocks::Always):
        "the fence kills every process of the old primary; without the right it is not proven, and no standby is promoted",
    /// The server's shared memory does not show on the host.
    HostSegmentHidden = "host_segment_hidden" (Host, Blocks::Always):
        "the proof needs the shared memory of the old primary to be gone; where it does not show, nothing is promoted",
    /// The `failover-host` that is installed on the host is older than the engine.
    HostScriptOutdated = "host_script_outdated" (Host, Blocks::Where("it cannot fence by its generation")):
        "a request that the installed script does not know is refused, and the fence is such a request",
    /// The `failover-host` that is installed on the host is of a later version.
    HostScriptNewer = "host_script_newer" (Host, Blocks::Where("it cannot fence by its generation")):
        "it is meant for a later engine, and is tested with that one",
    /// The account on the host may not write into the data directory.
    HostDataDirNotWritable = "host_data_dir_not_writable" (Host, Blocks::Never):
        "a supervisor that restarts the fenced server makes two primaries: standby.signal is what holds it back",
    /// `pg_ctl` is not where the host's account looks for it.
    HostPgCtlMissing = "host_pg_ctl_missing" (Host, Blocks::Never):
        "promote.method = \"pg_ctl\" needs it, and so does the gentle part of the fence",
    /// `pg_isready` is not where the host's account looks for it.
    HostPgIsreadyMissing = "host_pg_isready_missing" (Host, Blocks::Never):
        "it is how a host tells a hung server from a cut network: without it more doubts end in a wait",
    /// The host has no `timeout` command.
    HostTimeoutMissing = "host_timeout_missing" (Host, Blocks::Never):
        "a command that hangs there outlives its step, and may act after the failover has gone on",
    /// The engine logs in as root.
    HostRootLogin = "host_root_login" (Host, Blocks::Never):
        "one stolen key owns the host, and pg_ctl refuses to work as root at the moment it is needed",
    /// The file system of the data directory is nearly full.
    HostDiskNearlyFull = "host_disk_nearly_full" (Host, Blocks::Never):
        "a promotion writes a new timeline and a checkpoint, and the new primary keeps WAL for absent standbys: a full disk stops it",
    /// `recovery.signal` lies in the data directory.
    HostRecoverySignal = "host_recovery_signal" (Host, Blocks::Never):
        "a standby that leaves recovery by itself is a second primary",
    /// `failover.fenced` of an earlier fence lies in the data directory of a server that runs.
    HostFenceMarker = "host_fence_marker" (Host, Blocks::Never):
        "the next fence of this server takes what an earlier one left for its own",
    /// An instance of the route cannot be asked.
    RouteNotReady = "route_not_ready" (Route, Blocks::Always):
        "the new primary would run, and the clients of this instance would not be sent to it: their outage goes on until a person moves them",
    /// An instance of the route does not have the backend.
    RouteBackendMissing = "route_backend_missing" (Route, Blocks::Always):
        "the new primary would run, and the clients of this instance would not be sent to it: their outage goes on until a person moves them",
    /// An instance of the route does not have a server of the service.
    RouteServerMissing = "route_server_missing" (Route, Blocks::Always):
        "the new primary would run, and the clients of this instance would not be sent to it: their outage goes on until a person moves them",
    /// An instance of the route keeps a server out by itself, whatever it is told.
    RouteServerHeld = "route_server_held" (Route, Blocks::Always):
        "the new primary would run, and the clients of this instance would not be sent to it: their outage goes on until a person moves them",
    /// An instance of the route cannot give a server the weight that is wanted.
    RouteWeightFixed = "route_weight_fixed" (Route, Blocks::Where("the server's weight is 0 and stays so")):
        "the failover goes on with the weight that is possible: with none at all the new primary would get no traffic",
    /// An instance of the route sends new sessions to a server that is not the primary.
    RouteToStandby = "route_to_standby" (Route, Blocks::Never):
        "clients come out at a server that is not the primary: on a database they cannot write there, and after a restart of HAProxy they may land on the old one",
    /// An instance of the route sends no new session to the primary.
    RoutePrimaryOut = "route_primary_out" (Route, Blocks::Never):
        "clients are cut off from a healthy primary, which no failover mends",
    /// Nobody answers at an address of the route.
    VerifyUnreachable = "verify_unreachable" (Route, Blocks::Where("no address of the route answers")):
        "a failover is verified through this address: where none is reached, a database's ends with a person being called, and an application's is taken back",
    /// Every place behind an address of the route is taken.
    VerifyFull = "verify_full" (Route, Blocks::Never):
        "a failover is done when somebody was seen to answer through the route; where every place is taken by clients, nobody can look",
    /// An address of the route does not let the engine in.
    VerifyRefused = "verify_refused" (Route, Blocks::Where("no address of the route answers")):
        "the failover counts as complete once a commit went through this address: not let in, it ends with a person being called",
    /// An address of the route does not show which server answers.
    VerifyUnidentified = "verify_unidentified" (Route, Blocks::Always):
        "a failover counts as complete once the new server is seen through this address: unseen, it is undone",
    /// An address of the route leads to a server that is not the primary.
    VerifyOtherServer = "verify_other_server" (Route, Blocks::Never):
        "some clients do not reach the server that is watched, and its death would move traffic that is elsewhere",
    /// An address of the route leads to another cluster.
    VerifyForeign = "verify_foreign" (Route, Blocks::Always):
        "a commit through it would prove another cluster's health, so the verification is refused and a person called",
    /// An address of the route leads to a server in recovery.
    VerifyStandby = "verify_standby" (Route, Blocks::Never):
        "clients of this address cannot write now, and the verification through it would fail",
    /// A name that a failover would change cannot be read.
    NameUnreadable = "name_unreadable" (Route, Blocks::Where("the names are the route")):
        "what cannot be read cannot be changed either: clients that go by this name stay with the old server",
    /// A name is not in the zone where a failover would change it.
    NameElsewhere = "name_elsewhere" (Route, Blocks::Where("the names are the route")):
        "a change of it there is refused or seen by nobody: clients that go by this name stay with the old server",
    /// A server, host or route did not answer several times and is left alone for a while.
    BreakerOpen = "breaker_open" (Engine, Blocks::Never):
        "what is shown of it is as old as the last answer; a failover asks afresh, and may find it as broken as the survey did",
    /// No server lets the engine log in.
    LoginRefused = "login_refused" (Engine, Blocks::Always):
        "an engine that cannot log in sees neither a primary nor its death: it fails nothing over",
    /// The `state_dir` cannot be used.
    StateDirUnusable = "state_dir_unusable" (Engine, Blocks::Where("it is certain that it cannot be used")):
        "what is not written down cannot be resumed or undone: without its journal the engine starts no failover",
    /// The control socket cannot be used.
    ControlSocketUnusable = "control_socket_unusable" (Engine, Blocks::Where("it is certain that it cannot be used")):
        "the daemon does not start without it, or nobody could ask, pause or force it",
    /// A check of a server is not up.
    CheckNotUp = "check_not_up" (Engine, Blocks::Always):
        "what cannot be asked now is not judged at failover time: a standby that is not seen is not promoted",
    /// A warning about the configuration.
    Configuration = "configuration" (Engine, Blocks::Never):
        "it is in force already, and shows when it is needed",
}

impl FindingCode {
    /// A finding of this kind. `blocking` as its line of the table says.
    #[must_use]
    pub fn found(self, blocking: bool, message: impl Into<String>, remedy: impl Into<String>) -> ReadinessFinding {
        debug_assert!(
            match self.row().blocks {
                Blocks::Always => blocking,
                Blocks::Never => !blocking,
                Blocks::Where(_) => true,
            },
            "{self}: blocking {blocking}"
        );
        ReadinessFinding { code: self, blocking, message: message.into(), remedy: remedy.into() }
    }
}

/// Findings are shown in the order of their names.
impl Ord for FindingCode {
    fn cmp(&self, other: &FindingCode) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for FindingCode {
    fn partial_cmp(&self, other: &FindingCode) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// No kind of finding has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFinding;

impl std::str::FromStr for FindingCode {
    type Err = UnknownFinding;

    fn from_str(name: &str) -> Result<FindingCode, UnknownFinding> {
        FindingCode::TABLE.iter().map(|row| row.code).find(|code| code.as_str() == name).ok_or(UnknownFinding)
    }
}

impl std::fmt::Display for FindingCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_by_its_name_and_says_why_it_matters() {
        for row in FindingCode::TABLE {
            assert_eq!(row.code.row(), row);
            assert_eq!(row.code.as_str().parse(), Ok(row.code));
            assert_eq!(serde_json::to_value(row.code).unwrap(), row.code.as_str(), "the name in records is the same");
            assert!(row.means.ends_with('.') && !row.why.is_empty() && !row.why.ends_with('.'), "{}", row.code);
        }
    }
}
