//! Findings: problems that would hurt at failover time. Each kind of finding has a stable name, and one line of the table: what it means,
//! whether it blocks a failover, and why it matters. The numbers and the remedy depend on the server and are in the finding itself.

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
    /// What the engine detects about itself.
    Engine,
}

/// Whether a finding blocks a failover. If not, it is a warning: the failover would be slower or riskier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// It always blocks.
    Always,
    /// It is always a warning.
    Never,
    /// It blocks if this condition holds, and is a warning otherwise.
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
    /// Whether it blocks a failover.
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

            /// It hurts planned work alone: the service lacks nothing for it.
            #[must_use]
            pub fn is_of_planned_work(self) -> bool {
                matches!(self, FindingCode::GateKeeperMissing | FindingCode::PoolerSessionMode)
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
        "the engine promotes with one call of pg_promote; without the right the call fails after the old primary was fenced, and no server takes writes",
    /// The engine's role may not call `pg_reload_conf` on this server.
    ReloadRightMissing = "reload_right_missing" (Server, Blocks::Never):
        "a standby can miss its promotion request and sleep for wal_retrieve_retry_interval; a reload wakes it at once, and without the reload this sleep is outage",
    /// The engine's role is not a member of `pg_monitor`.
    MonitorRightMissing = "monitor_right_missing" (Server, Blocks::Never):
        "a standby that still receives WAL proves that the primary is alive; if the engine cannot see this, it detects a false alarm later and the promotion waits without knowing for what",
    /// The standby notices a dead connection to its primary late, or never.
    WalReceiverTimeoutLong = "wal_receiver_timeout_long" (Server, Blocks::Never):
        "before a failover the engine asks whether the standby still receives from the primary; with a long timeout its `streaming` proves nothing for that long",
    /// `default_transaction_read_only` is on.
    ReadOnlyByDefault = "read_only_by_default" (Server, Blocks::Where("it is set for the server, not for a role or a database")):
        "if it is set for the server, the write verification fails after the promotion, and the engine calls a person",
    /// All connection slots of this server are in use, and the engine cannot connect.
    NoPlaceLeft = "no_place_left" (Server, Blocks::Where("it is a standby that may be promoted (`candidate`), and the engine has no session to it")):
        "the engine does not promote a standby that it cannot ask; the session that the engine has may end",
    /// The connection limit of the engine's role, or of its database, is lower than the engine needs.
    ConnectionLimitLow = "connection_limit_low" (Server, Blocks::Where("a failover has no connection left for its steps")):
        "checks, watch and survey use the connections, and the steps of a failover get none when they need one",
    /// The server does not flush its WAL to disk (`fsync` is off).
    FsyncOff = "fsync_off" (Server, Blocks::Never):
        "after a crash of its host the server may come back with lost or torn data, and a standby may follow torn data",
    /// Neither `wal_log_hints` nor data checksums are on.
    RewindImpossible = "rewind_impossible" (Server, Blocks::Never):
        "the failover itself works; but until the former primary is copied again, there is no standby for the next one",
    /// The last attempt to archive a WAL file failed.
    ArchiveFailing = "archive_failing" (Server, Blocks::Never):
        "a clean stop waits for the archive, retained WAL fills the disk, and point-in-time recovery lacks what was not archived",
    /// Many completed WAL files wait to be archived.
    ArchiveBacklog = "archive_backlog" (Server, Blocks::Never):
        "a clean stop waits for the archive, retained WAL fills the disk, and point-in-time recovery lacks what was not archived",
    /// The present primary archives, and this standby would archive nothing as the primary.
    ArchiveEnds = "archive_ends" (Server, Blocks::Never):
        "no archive has what is written after the failover: a backup from before cannot be recovered beyond that moment",
    /// This standby and its primary archive the same files to the same place.
    ArchivedTwice = "archived_twice" (Server, Blocks::Never):
        "an overwritten file may be torn when it is needed; if the second archiver fails instead, WAL accumulates on that server",
    /// An unused replication slot retains more WAL than `max_wal_size`.
    SlotHoldsWal = "slot_holds_wal" (Server, Blocks::Never):
        "a primary whose disk is full stops, and the next failover begins with a full disk; at its limit the slot is lost, and its standby with it",
    /// A replication slot has lost the WAL that its standby needs next.
    SlotLost = "slot_lost" (Server, Blocks::Never):
        "that standby cannot follow any more: it falls behind with every commit and is not promoted",
    /// `primary_conninfo` holds a password that the engine's role can read.
    ReplicationPasswordReadable = "replication_password_readable" (Server, Blocks::Never):
        "everybody who can read the statistics can read the replication password, and can copy the whole cluster with it",
    /// Salvage cannot give this standby the end of a dead primary's log: `restore_command` does not look into `failover-spool`.
    SalvageNotPrepared = "salvage_not_prepared" (Server, Blocks::Where("salvage is required (`data.salvage`)")):
        "with asynchronous replication the last commits may be on the disk of the dead primary only; without the spool the promoted standby does not have them",
    /// The engine could not point this standby to a new primary after a failover, or not as it should.
    RepointNotPrepared = "repoint_not_prepared" (Server, Blocks::Never):
        "the failover itself works; but this standby goes on waiting for the old primary, so it has nothing new and cannot take over when the new primary fails too",
    /// The primary has logical replication slots.
    LogicalSlots = "logical_slots" (Server, Blocks::Never):
        "the slots stay on the old primary: subscribers stop, and they miss the changes between the failover and new slots",
    /// Only one standby can acknowledge the commits of the primary.
    SyncGate = "sync_gate" (Server, Blocks::Never):
        "after the promotion no standby is left to acknowledge: every commit waits, and the service is down although the server is up",
    /// The engine's role may not clear `synchronous_standby_names`.
    SyncGateRightMissing = "sync_gate_right_missing" (Server, Blocks::Never):
        "the engine cannot release waiting commits after the promotion: they wait until a person does",
    /// The engine could not change `synchronous_standby_names` on this server, and is to keep it (`data.synchronous`).
    SyncSetNotPrepared = "sync_set_not_prepared" (Server, Blocks::Never):
        "a standby that is gone stays in the set: commits wait for it, or the next failover is refused because it cannot be asked",
    /// `synchronous_standby_names` has a value that the engine cannot parse.
    SyncNamesUnreadable = "sync_names_unreadable" (Server, Blocks::Never):
        "a standby that has acknowledged a commit and does not answer may hold data that no other server has: then the engine promotes no standby, and calls a person",
    /// A receiver that is not a standby of this service can acknowledge commits.
    SyncByStrangers = "sync_by_strangers" (Server, Blocks::Never):
        "an acknowledged commit may be on no standby that can be promoted: the engine can promise nothing about it",
    /// With this value of `synchronous_commit`, commits do not wait until a standby has them.
    SyncCommitWaitsForNobody = "sync_commit_waits_for_nobody" (Server, Blocks::Never):
        "an acknowledged commit may be on no standby that can be promoted: the engine can promise nothing about it",
    /// A role, a database or a function has its own `synchronous_commit`.
    SyncCommitOverridden = "sync_commit_overridden" (Server, Blocks::Never):
        "an acknowledged commit may be on no standby that can be promoted: the engine can promise nothing about it",
    /// Several WAL receivers have the same name.
    ReplicationNamesEqual = "replication_names_equal" (Server, Blocks::Never):
        "a standby that has acknowledged a commit and does not answer may hold data that no other server has: then the engine promotes no standby, and calls a person",
    /// A standby that is named in `synchronous_standby_names` is not connected.
    SyncStandbyAbsent = "sync_standby_absent" (Server, Blocks::Never):
        "a standby that has acknowledged a commit and does not answer may hold data that no other server has: then the engine promotes no standby, and calls a person",
    /// Replay is paused on this standby.
    ReplayPaused = "replay_paused" (Server, Blocks::Where("the standby may be promoted (`candidate`)")):
        "a promotion ends the pause and replays what somebody wanted to stop; so the engine does not promote this standby",
    /// Replay does not advance although there is WAL to replay.
    ReplayHeld = "replay_held" (Server, Blocks::Never):
        "a promotion replays first: it waits as long as replay is blocked, without a limit if max_standby_streaming_delay is -1",
    /// `recovery_min_apply_delay` delays replay on this standby.
    ApplyDelayed = "apply_delayed" (Server, Blocks::Always):
        "a promotion first replays all delayed WAL, and the protection against a mistake is lost; so the engine does not promote this standby",
    /// No WAL receiver runs on this standby.
    NotReceiving = "not_receiving" (Server, Blocks::Never):
        "a failover to this standby would lose every commit from now on, so the engine does not promote it automatically",
    /// A setting that must not be lower on a standby than on its primary is lower.
    SettingLowerThanPrimary = "setting_lower_than_primary" (Server, Blocks::Where("the standby may be promoted (`candidate`)")):
        "hot standby stops replay when the primary changes the setting, and a server with fewer connections rejects clients when it takes the load",
    /// `reserved_connections` reserves connection slots, and the engine's role may not use them.
    ReservedPlacesClosed = "reserved_places_closed" (Server, Blocks::Never):
        "after a failover all clients reconnect at once; without a reserved slot the engine cannot see which server answers through the route",
    /// The server's TLS certificate has expired.
    CertificateExpired = "certificate_expired" (Server, Blocks::Never):
        "verified TLS connections fail: the engine cannot see the server, and clients that verify cannot connect after a failover",
    /// The server's TLS certificate expires soon.
    CertificateExpires = "certificate_expires" (Server, Blocks::Never):
        "from that moment verified connections fail, for clients and for the engine, which then cannot see the server and does not fail over",
    /// The engine's own TLS certificate has expired, or expires soon.
    ClientCertificateExpires = "client_certificate_expires" (Server, Blocks::Never):
        "from that moment the server refuses the engine's login: the engine cannot see the server and does not fail over",
    /// The engine cannot ask the host of this server over SSH.
    HostNotAsked = "host_not_asked" (Host, Blocks::Always):
        "the engine must prove that the old primary has ended before it promotes a standby; it cannot fence a host that it cannot reach",
    /// The data directory on the host belongs to another server than the one that answers over SQL.
    HostOtherServer = "host_other_server" (Host, Blocks::Always):
        "a fence there would stop the wrong server, and prove nothing about this one",
    /// The account on the host may not signal the server's processes.
    HostCannotSignal = "host_cannot_signal" (Host, Blocks::Always):
        "the fence kills every process of the old primary; without the right the fence is not proven, and no standby is promoted",
    /// The server's shared memory is not visible on the host.
    HostSegmentHidden = "host_segment_hidden" (Host, Blocks::Always):
        "the proof requires that the shared memory of the old primary is gone; if it is not visible, nothing is promoted",
    /// The `failover-host` that is installed on the host is older than the engine.
    HostScriptOutdated = "host_script_outdated" (Host, Blocks::Where("it cannot fence by its generation")):
        "the installed script refuses requests that it does not know, and the fence is such a request",
    /// The `failover-host` that is installed on the host is of a later version than the engine.
    HostScriptNewer = "host_script_newer" (Host, Blocks::Where("it cannot fence by its generation")):
        "the script is made for a later engine, and is tested with that one",
    /// The account on the host may not write into the data directory.
    HostDataDirNotWritable = "host_data_dir_not_writable" (Host, Blocks::Never):
        "if a supervisor restarts the fenced server, there are two primaries: only standby.signal prevents this",
    /// `pg_ctl` is not where the host's account looks for it.
    HostPgCtlMissing = "host_pg_ctl_missing" (Host, Blocks::Never):
        "promote.method = \"pg_ctl\" needs it, and so does the gentle part of the fence",
    /// `pg_isready` is not where the host's account looks for it.
    HostPgIsreadyMissing = "host_pg_isready_missing" (Host, Blocks::Never):
        "with it the host distinguishes a hung server from a cut network: without it the engine waits in more doubtful cases",
    /// `pg_waldump` is not where the host's account looks for it.
    HostPgWaldumpMissing = "host_pg_waldump_missing" (Host, Blocks::Never):
        "it tells where the log of a dead primary ends: without it nothing is salvaged from this server, and the loss is only bounded",
    /// The host has no `timeout` command.
    HostTimeoutMissing = "host_timeout_missing" (Host, Blocks::Never):
        "a command that hangs there outlives its step, and may act after the failover has continued",
    /// The engine logs in as root.
    HostRootLogin = "host_root_login" (Host, Blocks::Never):
        "one stolen key controls the host, and pg_ctl refuses to run as root when it is needed",
    /// The file system of the data directory is nearly full.
    HostDiskNearlyFull = "host_disk_nearly_full" (Host, Blocks::Never):
        "a promotion writes a new timeline and a checkpoint, and the new primary retains WAL for absent standbys: a full disk stops it",
    /// `recovery.signal` is in the data directory.
    HostRecoverySignal = "host_recovery_signal" (Host, Blocks::Never):
        "a standby that leaves recovery by itself is a second primary",
    /// A server runs whose data directory holds `failover.fenced` of an earlier fence.
    HostFenceMarker = "host_fence_marker" (Host, Blocks::Never):
        "the next fence of this server mistakes files of the earlier fence for its own",
    /// The engine cannot ask an instance of the route.
    RouteNotReady = "route_not_ready" (Route, Blocks::Always):
        "the new primary would run, but the clients of this instance would not reach it: their outage continues until a person moves them",
    /// An instance of the route does not have the backend.
    RouteBackendMissing = "route_backend_missing" (Route, Blocks::Always):
        "the new primary would run, but the clients of this instance would not reach it: their outage continues until a person moves them",
    /// An instance of the route does not have a server of the service.
    RouteServerMissing = "route_server_missing" (Route, Blocks::Always):
        "the new primary would run, but the clients of this instance would not reach it: their outage continues until a person moves them",
    /// An instance of the route keeps a server out of service itself, and the engine cannot change that.
    RouteServerHeld = "route_server_held" (Route, Blocks::Always):
        "the new primary would run, but the clients of this instance would not reach it: their outage continues until a person moves them",
    /// An instance of the route cannot give a server the configured weight.
    RouteWeightFixed = "route_weight_fixed" (Route, Blocks::Where("the server's weight is 0 and stays so")):
        "the failover continues with the weight that is possible: with weight 0 the new primary would get no traffic",
    /// A line of an instance of the route has the address of another server.
    RouteAddressWrong = "route_address_wrong" (Route, Blocks::Always):
        "a failover would send the clients to a server that is not the one it promoted: they reach nobody, or one that cannot write",
    /// An instance's own check holds a standby down that answers the engine.
    RouteCheckFails = "route_check_fails" (Route, Blocks::Where("the check does not even get a connection")):
        "the engine can set the server up in HAProxy, but the next checks of HAProxy take it down again: the clients' outage would continue",
    /// A standby takes fewer sessions at a time than the primary.
    RouteLimitLow = "route_limit_low" (Route, Blocks::Never):
        "after a failover only so many clients are served at a time: the others wait in HAProxy's queue and get an error when they have waited too long",
    /// An instance of the route has a line, or a database, that takes sessions and that the route does not name.
    RouteLineUnnamed = "route_line_unnamed" (Route, Blocks::Where("the standby's line is a backup and gets no session beside it")):
        "the engine moves only the lines that it knows: after a failover some clients still go where this line leads",
    /// An instance of the route sends new sessions to a server that is not the primary.
    RouteToStandby = "route_to_standby" (Route, Blocks::Never):
        "clients reach a server that is not the primary: on a database they cannot write there, and after a restart of HAProxy they may reach the old one",
    /// An instance of the route sends no new session to the primary.
    RoutePrimaryOut = "route_primary_out" (Route, Blocks::Never):
        "clients cannot reach a healthy primary, and no failover corrects that",
    /// The engine finds no program that could hold the deadline of a closed gate.
    GateKeeperMissing = "gate_keeper_missing" (Route, Blocks::Never):
        "a switchover lets the clients of PgBouncer wait, and refuses to do so if nobody would let them go on after the engine was killed",
    /// A pool of PgBouncer belongs to a whole session (`pool_mode = session`).
    PoolerSessionMode = "pooler_session_mode" (Route, Blocks::Never):
        "a switchover lets clients wait between two transactions; such a pool waits for the end of their sessions, so these are cut or the switchover is refused",
    /// No server answers at an address of the route.
    VerifyUnreachable = "verify_unreachable" (Route, Blocks::Where("no address of the route answers")):
        "the engine verifies a failover through this address: if it reaches no address, it calls a person after the failover of a database, and undoes the failover of an application",
    /// All connection slots behind an address of the route are in use.
    VerifyFull = "verify_full" (Route, Blocks::Never):
        "a failover is complete when the engine has seen through the route which server answers; if clients use all connections, the engine cannot see this",
    /// An address of the route refuses the engine's login.
    VerifyRefused = "verify_refused" (Route, Blocks::Where("no address of the route answers")):
        "a failover counts as complete when a commit went through this address: without a login the engine calls a person",
    /// An address of the route does not show which server answers.
    VerifyUnidentified = "verify_unidentified" (Route, Blocks::Always):
        "a failover counts as complete when the engine has seen the new server through this address: otherwise the failover is undone",
    /// An address of the route leads to a server that is not the primary.
    VerifyOtherServer = "verify_other_server" (Route, Blocks::Never):
        "some clients do not reach the primary that the engine watches, and its death would move traffic that goes elsewhere",
    /// An address of the route leads to another cluster.
    VerifyForeign = "verify_foreign" (Route, Blocks::Always):
        "a commit through it would prove the health of another cluster, so the engine refuses the verification and calls a person",
    /// An address of the route leads to a server in recovery.
    VerifyStandby = "verify_standby" (Route, Blocks::Never):
        "clients of this address cannot write now, and the verification through it would fail",
    /// The engine cannot read a DNS name that a failover would change.
    NameUnreadable = "name_unreadable" (Route, Blocks::Where("the names are the route")):
        "the engine cannot change what it cannot read: clients that use this name stay with the old server",
    /// A DNS name is not in the zone in which a failover would change it.
    NameElsewhere = "name_elsewhere" (Route, Blocks::Where("the names are the route")):
        "a change in that zone is refused or has no effect: clients that use this name stay with the old server",
    /// A server, host or route did not answer several times, and the survey does not ask it for a while.
    BreakerOpen = "breaker_open" (Engine, Blocks::Never):
        "the data that is shown is as old as the last answer; a failover asks again, and may get no answer either",
    /// No server lets the engine log in.
    LoginRefused = "login_refused" (Engine, Blocks::Always):
        "without a login the engine sees neither the primary nor its death: it does not fail over",
    /// The engine cannot use the `state_dir`.
    StateDirUnusable = "state_dir_unusable" (Engine, Blocks::Where("it is certain that it cannot be used")):
        "the engine cannot resume or undo what is not recorded: without its journal it starts no failover",
    /// The engine cannot use the control socket.
    ControlSocketUnusable = "control_socket_unusable" (Engine, Blocks::Where("it is certain that it cannot be used")):
        "the daemon does not start without it, or nobody can query, pause or force it",
    /// A check of a server is not up.
    CheckNotUp = "check_not_up" (Engine, Blocks::Always):
        "the engine cannot judge at failover time what it cannot ask now: it does not promote a standby that it cannot see",
    /// A warning about the configuration.
    Configuration = "configuration" (Engine, Blocks::Never):
        "the setting is already in force, and takes effect when it is needed",
}

impl FindingCode {
    /// Creates a finding of this kind. `blocking` must agree with the table.
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

/// There is no finding with this name.
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
