package failover

// The names of findings and refusals. A newer library may have more: show those as they are.
const (
	// generated: codes
	// FindingVersionNotSupported: The server is older than every version that the engine works with.
	FindingVersionNotSupported = "version_not_supported"
	// FindingVersionNotTried: The server is newer than every version that this release was tried with.
	FindingVersionNotTried = "version_not_tried"
	// FindingPromoteRightMissing: The engine's role may not call `pg_promote` on this server.
	FindingPromoteRightMissing = "promote_right_missing"
	// FindingReloadRightMissing: The engine's role may not call `pg_reload_conf` on this server.
	FindingReloadRightMissing = "reload_right_missing"
	// FindingMonitorRightMissing: The engine's role is not a member of `pg_monitor`.
	FindingMonitorRightMissing = "monitor_right_missing"
	// FindingWalReceiverTimeoutLong: The standby notices a dead connection to its primary late, or never.
	FindingWalReceiverTimeoutLong = "wal_receiver_timeout_long"
	// FindingReadOnlyByDefault: `default_transaction_read_only` is on.
	FindingReadOnlyByDefault = "read_only_by_default"
	// FindingNoPlaceLeft: All connection slots of this server are in use, and the engine cannot connect.
	FindingNoPlaceLeft = "no_place_left"
	// FindingConnectionLimitLow: The connection limit of the engine's role, or of its database, is lower than the engine needs.
	FindingConnectionLimitLow = "connection_limit_low"
	// FindingFsyncOff: The server does not flush its WAL to disk (`fsync` is off).
	FindingFsyncOff = "fsync_off"
	// FindingRewindImpossible: Neither `wal_log_hints` nor data checksums are on.
	FindingRewindImpossible = "rewind_impossible"
	// FindingArchiveFailing: The last attempt to archive a WAL file failed.
	FindingArchiveFailing = "archive_failing"
	// FindingArchiveBacklog: Many completed WAL files wait to be archived.
	FindingArchiveBacklog = "archive_backlog"
	// FindingArchiveEnds: The present primary archives, and this standby would archive nothing as the primary.
	FindingArchiveEnds = "archive_ends"
	// FindingArchivedTwice: This standby and its primary archive the same files to the same place.
	FindingArchivedTwice = "archived_twice"
	// FindingSlotHoldsWal: An unused replication slot retains more WAL than `max_wal_size`.
	FindingSlotHoldsWal = "slot_holds_wal"
	// FindingSlotLost: A replication slot has lost the WAL that its standby needs next.
	FindingSlotLost = "slot_lost"
	// FindingReplicationPasswordReadable: `primary_conninfo` holds a password that the engine's role can read.
	FindingReplicationPasswordReadable = "replication_password_readable"
	// FindingSalvageNotPrepared: Salvage cannot give this standby the end of a dead primary's log: `restore_command` does not look into `failover-spool`.
	FindingSalvageNotPrepared = "salvage_not_prepared"
	// FindingRepointNotPrepared: The engine could not point this standby to a new primary after a failover, or not as it should.
	FindingRepointNotPrepared = "repoint_not_prepared"
	// FindingLogicalSlots: The primary has logical replication slots.
	FindingLogicalSlots = "logical_slots"
	// FindingSyncGate: Only one standby can acknowledge the commits of the primary.
	FindingSyncGate = "sync_gate"
	// FindingSyncGateRightMissing: The engine's role may not clear `synchronous_standby_names`.
	FindingSyncGateRightMissing = "sync_gate_right_missing"
	// FindingSyncSetNotPrepared: The engine could not change `synchronous_standby_names` on this server, and is to keep it (`data.synchronous`).
	FindingSyncSetNotPrepared = "sync_set_not_prepared"
	// FindingSyncNamesUnreadable: `synchronous_standby_names` has a value that the engine cannot parse.
	FindingSyncNamesUnreadable = "sync_names_unreadable"
	// FindingSyncByStrangers: A receiver that is not a standby of this service can acknowledge commits.
	FindingSyncByStrangers = "sync_by_strangers"
	// FindingSyncCommitWaitsForNobody: With this value of `synchronous_commit`, commits do not wait until a standby has them.
	FindingSyncCommitWaitsForNobody = "sync_commit_waits_for_nobody"
	// FindingSyncCommitOverridden: A role, a database or a function has its own `synchronous_commit`.
	FindingSyncCommitOverridden = "sync_commit_overridden"
	// FindingReplicationNamesEqual: Several WAL receivers have the same name.
	FindingReplicationNamesEqual = "replication_names_equal"
	// FindingSyncStandbyAbsent: A standby that is named in `synchronous_standby_names` is not connected.
	FindingSyncStandbyAbsent = "sync_standby_absent"
	// FindingReplayPaused: Replay is paused on this standby.
	FindingReplayPaused = "replay_paused"
	// FindingReplayHeld: Replay does not advance although there is WAL to replay.
	FindingReplayHeld = "replay_held"
	// FindingApplyDelayed: `recovery_min_apply_delay` delays replay on this standby.
	FindingApplyDelayed = "apply_delayed"
	// FindingNotReceiving: No WAL receiver runs on this standby.
	FindingNotReceiving = "not_receiving"
	// FindingSettingLowerThanPrimary: A setting that must not be lower on a standby than on its primary is lower.
	FindingSettingLowerThanPrimary = "setting_lower_than_primary"
	// FindingReservedPlacesClosed: `reserved_connections` reserves connection slots, and the engine's role may not use them.
	FindingReservedPlacesClosed = "reserved_places_closed"
	// FindingCertificateExpired: The server's TLS certificate has expired.
	FindingCertificateExpired = "certificate_expired"
	// FindingCertificateExpires: The server's TLS certificate expires soon.
	FindingCertificateExpires = "certificate_expires"
	// FindingClientCertificateExpires: The engine's own TLS certificate has expired, or expires soon.
	FindingClientCertificateExpires = "client_certificate_expires"
	// FindingHostNotAsked: The engine cannot ask the host of this server over SSH.
	FindingHostNotAsked = "host_not_asked"
	// FindingHostOtherServer: The data directory on the host belongs to another server than the one that answers over SQL.
	FindingHostOtherServer = "host_other_server"
	// FindingHostCannotSignal: The account on the host may not signal the server's processes.
	FindingHostCannotSignal = "host_cannot_signal"
	// FindingHostSegmentHidden: The server's shared memory is not visible on the host.
	FindingHostSegmentHidden = "host_segment_hidden"
	// FindingHostScriptOutdated: The `failover-host` that is installed on the host is older than the engine.
	FindingHostScriptOutdated = "host_script_outdated"
	// FindingHostScriptNewer: The `failover-host` that is installed on the host is of a later version than the engine.
	FindingHostScriptNewer = "host_script_newer"
	// FindingHostDataDirNotWritable: The account on the host may not write into the data directory.
	FindingHostDataDirNotWritable = "host_data_dir_not_writable"
	// FindingHostPgCtlMissing: `pg_ctl` is not where the host's account looks for it.
	FindingHostPgCtlMissing = "host_pg_ctl_missing"
	// FindingHostPgIsreadyMissing: `pg_isready` is not where the host's account looks for it.
	FindingHostPgIsreadyMissing = "host_pg_isready_missing"
	// FindingHostPgWaldumpMissing: `pg_waldump` is not where the host's account looks for it.
	FindingHostPgWaldumpMissing = "host_pg_waldump_missing"
	// FindingHostTimeoutMissing: The host has no `timeout` command.
	FindingHostTimeoutMissing = "host_timeout_missing"
	// FindingHostRootLogin: The engine logs in as root.
	FindingHostRootLogin = "host_root_login"
	// FindingHostDiskNearlyFull: The file system of the data directory is nearly full.
	FindingHostDiskNearlyFull = "host_disk_nearly_full"
	// FindingHostRecoverySignal: `recovery.signal` is in the data directory.
	FindingHostRecoverySignal = "host_recovery_signal"
	// FindingHostFenceMarker: A server runs whose data directory holds `failover.fenced` of an earlier fence.
	FindingHostFenceMarker = "host_fence_marker"
	// FindingRouteNotReady: The engine cannot ask an instance of the route.
	FindingRouteNotReady = "route_not_ready"
	// FindingRouteBackendMissing: An instance of the route does not have the backend.
	FindingRouteBackendMissing = "route_backend_missing"
	// FindingRouteServerMissing: An instance of the route does not have a server of the service.
	FindingRouteServerMissing = "route_server_missing"
	// FindingRouteServerHeld: An instance of the route keeps a server out of service itself, and the engine cannot change that.
	FindingRouteServerHeld = "route_server_held"
	// FindingRouteWeightFixed: An instance of the route cannot give a server the configured weight.
	FindingRouteWeightFixed = "route_weight_fixed"
	// FindingRouteAddressWrong: A line of an instance of the route has the address of another server.
	FindingRouteAddressWrong = "route_address_wrong"
	// FindingRouteCheckFails: An instance's own check holds a standby down that answers the engine.
	FindingRouteCheckFails = "route_check_fails"
	// FindingRouteLimitLow: A standby takes fewer sessions at a time than the primary.
	FindingRouteLimitLow = "route_limit_low"
	// FindingRouteLineUnnamed: An instance of the route has a line, or a database, that takes sessions and that the route does not name.
	FindingRouteLineUnnamed = "route_line_unnamed"
	// FindingRouteToStandby: An instance of the route sends new sessions to a server that is not the primary.
	FindingRouteToStandby = "route_to_standby"
	// FindingRoutePrimaryOut: An instance of the route sends no new session to the primary.
	FindingRoutePrimaryOut = "route_primary_out"
	// FindingGateKeeperMissing: The engine finds no program that could hold the deadline of a closed gate.
	FindingGateKeeperMissing = "gate_keeper_missing"
	// FindingPoolerSessionMode: A pool of PgBouncer belongs to a whole session (`pool_mode = session`).
	FindingPoolerSessionMode = "pooler_session_mode"
	// FindingVerifyUnreachable: No server answers at an address of the route.
	FindingVerifyUnreachable = "verify_unreachable"
	// FindingVerifyFull: All connection slots behind an address of the route are in use.
	FindingVerifyFull = "verify_full"
	// FindingVerifyRefused: An address of the route refuses the engine's login.
	FindingVerifyRefused = "verify_refused"
	// FindingVerifyUnidentified: An address of the route does not show which server answers.
	FindingVerifyUnidentified = "verify_unidentified"
	// FindingVerifyOtherServer: An address of the route leads to a server that is not the primary.
	FindingVerifyOtherServer = "verify_other_server"
	// FindingVerifyForeign: An address of the route leads to another cluster.
	FindingVerifyForeign = "verify_foreign"
	// FindingVerifyStandby: An address of the route leads to a server in recovery.
	FindingVerifyStandby = "verify_standby"
	// FindingNameUnreadable: The engine cannot read a DNS name that a failover would change.
	FindingNameUnreadable = "name_unreadable"
	// FindingNameElsewhere: A DNS name is not in the zone in which a failover would change it.
	FindingNameElsewhere = "name_elsewhere"
	// FindingBreakerOpen: A server, host or route did not answer several times, and the survey does not ask it for a while.
	FindingBreakerOpen = "breaker_open"
	// FindingLoginRefused: No server lets the engine log in.
	FindingLoginRefused = "login_refused"
	// FindingStateDirUnusable: The engine cannot use the `state_dir`.
	FindingStateDirUnusable = "state_dir_unusable"
	// FindingControlSocketUnusable: The engine cannot use the control socket.
	FindingControlSocketUnusable = "control_socket_unusable"
	// FindingCheckNotUp: A check of a server is not up.
	FindingCheckNotUp = "check_not_up"
	// FindingConfiguration: A warning about the configuration.
	FindingConfiguration = "configuration"
	// RefusalPrimaryHealthy: The primary is not failing.
	RefusalPrimaryHealthy = "primary_healthy"
	// RefusalThresholdNotReached: The number of failed observations in the window has not reached the threshold.
	RefusalThresholdNotReached = "threshold_not_reached"
	// RefusalPolicyNotMet: The policy over the checks (`all`, `quorum`) is not met.
	RefusalPolicyNotMet = "policy_not_met"
	// RefusalDatabaseAnswers: Other checks fail, but the database itself answers (rule 6).
	RefusalDatabaseAnswers = "database_answers"
	// RefusalEvidenceIncomplete: The engine still waits for evidence.
	RefusalEvidenceIncomplete = "evidence_incomplete"
	// RefusalImpaired: The primary is alive, but does not serve.
	RefusalImpaired = "impaired"
	// RefusalShutdownHeld: An announced shutdown has not ended within its grace time.
	RefusalShutdownHeld = "shutdown_held"
	// RefusalRestartGrace: The server may still come back after an announced shutdown.
	RefusalRestartGrace = "restart_grace"
	// RefusalHostSaysServing: The host reports that the server runs and serves: only the engine's path to it is broken.
	RefusalHostSaysServing = "host_says_serving"
	// RefusalHostSaysRunning: The host reports that the postmaster runs, although its port refuses connections.
	RefusalHostSaysRunning = "host_says_running"
	// RefusalStandbySeesPrimary: A standby still receives from the primary: the primary is alive, and only the engine's path to it is broken.
	RefusalStandbySeesPrimary = "standby_sees_primary"
	// RefusalPaused: An operator paused the service.
	RefusalPaused = "paused"
	// RefusalDoubt: The engine cannot trust its own view.
	RefusalDoubt = "doubt"
	// RefusalNotWarmedUp: The engine has not yet seen every check answer since it started, resumed or reloaded.
	RefusalNotWarmedUp = "not_warmed_up"
	// RefusalNoPrimarySeen: The engine has never seen a primary (rule 10).
	RefusalNoPrimarySeen = "no_primary_seen"
	// RefusalJournalUnwritable: The journal cannot be written.
	RefusalJournalUnwritable = "journal_unwritable"
	// RefusalCooldown: The last failover is too recent.
	RefusalCooldown = "cooldown"
	// RefusalAwaitingConfirmation: The failover waits for an operator's confirmation.
	RefusalAwaitingConfirmation = "awaiting_confirmation"
	// RefusalConfirmationTimedOut: No operator confirmed in time.
	RefusalConfirmationTimedOut = "confirmation_timed_out"
	// RefusalTooManyAtOnce: The maximum number of failovers has begun within a minute: the engine asks a person.
	RefusalTooManyAtOnce = "too_many_at_once"
	// RefusalFailoverInFlight: A failover is in progress.
	RefusalFailoverInFlight = "failover_in_flight"
	// RefusalManualIntervention: A person must act first.
	RefusalManualIntervention = "manual_intervention"
	// RefusalFenceUnavailable: The engine cannot reach the required fence level by any configured method.
	RefusalFenceUnavailable = "fence_unavailable"
	// RefusalReceiptUnprovable: The primary is alive, and the engine could not prove that a standby has everything that the primary acknowledged.
	RefusalReceiptUnprovable = "receipt_unprovable"
	// RefusalHandOver: The primary is healthy: a switchover replaces it, and loses nothing.
	RefusalHandOver = "hand_over"
	// RefusalNoCandidate: No standby can be promoted. Each standby has its reason.
	RefusalNoCandidate = "no_candidate"
	// RefusalNotReady: A finding of the survey would prevent the completion of a failover (shown only beforehand).
	RefusalNotReady = "not_ready"
	// RefusalTwoPrimaries: Two servers take writes.
	RefusalTwoPrimaries = "two_primaries"
	// RefusalRival: A server that is not the primary reported that it takes writes, and nothing since then contradicts this.
	RefusalRival = "rival"
	// RefusalWrongCluster: A server belongs to another cluster.
	RefusalWrongCluster = "wrong_cluster"
	// RefusalSecondEngine: Another engine watches this service.
	RefusalSecondEngine = "second_engine"
	// RefusalDependencyFailing: The followed service is in trouble, or has a new primary that is not followed yet: it may have caused the failures.
	RefusalDependencyFailing = "dependency_failing"
	// RefusalWatchedOnly: The engine only watches services of this kind.
	RefusalWatchedOnly = "watched_only"
	// RefusalStopping: The engine is stopping.
	RefusalStopping = "stopping"
	// StandbyRefusalNotACandidate: The configuration excludes this server (`candidate = false`).
	StandbyRefusalNotACandidate = "not_a_candidate"
	// StandbyRefusalCordoned: An operator cordoned the server.
	StandbyRefusalCordoned = "cordoned"
	// StandbyRefusalNoNewSessions: The server answers its kept-open session, but no new connection.
	StandbyRefusalNoNewSessions = "no_new_sessions"
	// StandbyRefusalLoginRefused: The server refuses the login of the engine's role: the engine could not request a promotion.
	StandbyRefusalLoginRefused = "login_refused"
	// StandbyRefusalNotChosen: An operator chose another standby.
	StandbyRefusalNotChosen = "not_chosen"
	// StandbyRefusalAnotherAsked: The engine has asked another standby in this failover to become the primary.
	StandbyRefusalAnotherAsked = "another_asked"
	// StandbyRefusalNotReadable: The engine could not ask the server, or its last answer is too old.
	StandbyRefusalNotReadable = "not_readable"
	// StandbyRefusalNotInRecovery: The server takes writes itself.
	StandbyRefusalNotInRecovery = "not_in_recovery"
	// StandbyRefusalOtherCluster: The server belongs to another cluster (system identifier).
	StandbyRefusalOtherCluster = "other_cluster"
	// StandbyRefusalOtherTimeline: The server is not on the primary's timeline.
	StandbyRefusalOtherTimeline = "other_timeline"
	// StandbyRefusalReplayPaused: Replay is paused, by an operator or by PostgreSQL itself because a setting is lower than on the primary.
	StandbyRefusalReplayPaused = "replay_paused"
	// StandbyRefusalDelayed: The server is a delayed standby.
	StandbyRefusalDelayed = "delayed"
	// StandbyRefusalNotStreaming: The standby did not receive from the primary while the primary was alive.
	StandbyRefusalNotStreaming = "not_streaming"
	// StandbyRefusalBehind: Another server, which cannot be promoted, has log that this standby lacks (rule 21).
	StandbyRefusalBehind = "behind"
	// StandbyRefusalMayBeBehind: Another server, which cannot be promoted, may acknowledge commits that this standby lacks (shown only beforehand).
	StandbyRefusalMayBeBehind = "may_be_behind"
	// StandbyRefusalNotReceived: The primary was stopped in an orderly way, and the standby has not received the whole log.
	StandbyRefusalNotReceived = "not_received"
	// StandbyRefusalQuorumUnanswered: Too few standbys that may have acknowledged a commit reported their position: this standby may lack one (rule 21).
	StandbyRefusalQuorumUnanswered = "quorum_unanswered"
	// StandbyRefusalLossTooHigh: The standby could lack more log than the limit allows.
	StandbyRefusalLossTooHigh = "loss_too_high"
	// StandbyRefusalLossUnknown: The engine does not know how much log the standby could lack (rule 20): unknown is not zero.
	StandbyRefusalLossUnknown = "loss_unknown"
	// StandbyRefusalNotSalvaged: `data.salvage` requires that nothing is lost, and what only the old primary's disk has could not be carried over.
	StandbyRefusalNotSalvaged = "not_salvaged"
	// StandbyRefusalNotHealthy: For an application: the checks of the server do not pass.
	StandbyRefusalNotHealthy = "not_healthy"
	// StandbyRefusalSwitchFailed: For an application: in this failover the server got the traffic, and did not serve.
	StandbyRefusalSwitchFailed = "switch_failed"
	// StandbyRefusalPromotionRefused: The promotion of the server was tried and had no effect.
	StandbyRefusalPromotionRefused = "promotion_refused"
	// end
)
