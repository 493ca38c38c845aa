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
	// FindingMonitorRightMissing: The engine's role is no member of `pg_monitor`.
	FindingMonitorRightMissing = "monitor_right_missing"
	// FindingWalReceiverTimeoutLong: A standby notices a dead link to its primary late, or never.
	FindingWalReceiverTimeoutLong = "wal_receiver_timeout_long"
	// FindingReadOnlyByDefault: `default_transaction_read_only` is on.
	FindingReadOnlyByDefault = "read_only_by_default"
	// FindingNoPlaceLeft: Every place of this server is taken, and the engine does not get in.
	FindingNoPlaceLeft = "no_place_left"
	// FindingConnectionLimitLow: The engine's role, or its database, may have fewer sessions than the engine needs.
	FindingConnectionLimitLow = "connection_limit_low"
	// FindingFsyncOff: The server does not write its log through to the disk.
	FindingFsyncOff = "fsync_off"
	// FindingRewindImpossible: Neither `wal_log_hints` nor data checksums are on.
	FindingRewindImpossible = "rewind_impossible"
	// FindingArchiveFailing: The last attempt to archive a file of the log failed.
	FindingArchiveFailing = "archive_failing"
	// FindingArchiveBacklog: Many finished files of the log wait for the archive.
	FindingArchiveBacklog = "archive_backlog"
	// FindingArchiveEnds: This standby would archive nothing as the primary, and the present one archives.
	FindingArchiveEnds = "archive_ends"
	// FindingArchivedTwice: This standby and its primary archive the same files to the same place.
	FindingArchivedTwice = "archived_twice"
	// FindingSlotHoldsWal: A replication slot that nobody uses holds more log than `max_wal_size`.
	FindingSlotHoldsWal = "slot_holds_wal"
	// FindingSlotLost: A replication slot has lost the log that its standby needs next.
	FindingSlotLost = "slot_lost"
	// FindingReplicationPasswordReadable: `primary_conninfo` holds a password that the engine's role can read.
	FindingReplicationPasswordReadable = "replication_password_readable"
	// FindingLogicalSlots: The primary has logical replication slots.
	FindingLogicalSlots = "logical_slots"
	// FindingSyncGate: One standby alone can acknowledge what the primary waits for.
	FindingSyncGate = "sync_gate"
	// FindingSyncGateRightMissing: The engine's role may not clear `synchronous_standby_names`.
	FindingSyncGateRightMissing = "sync_gate_right_missing"
	// FindingSyncNamesUnreadable: `synchronous_standby_names` holds what the engine cannot read.
	FindingSyncNamesUnreadable = "sync_names_unreadable"
	// FindingSyncByStrangers: Somebody who is no standby of this service can acknowledge commits.
	FindingSyncByStrangers = "sync_by_strangers"
	// FindingSyncCommitWaitsForNobody: `synchronous_commit` lets commits go before a standby has them.
	FindingSyncCommitWaitsForNobody = "sync_commit_waits_for_nobody"
	// FindingSyncCommitOverridden: A role, a database or a function has its own `synchronous_commit`.
	FindingSyncCommitOverridden = "sync_commit_overridden"
	// FindingReplicationNamesEqual: Several receivers have the same name.
	FindingReplicationNamesEqual = "replication_names_equal"
	// FindingSyncStandbyAbsent: A standby that is named in `synchronous_standby_names` is not connected.
	FindingSyncStandbyAbsent = "sync_standby_absent"
	// FindingReplayPaused: Replay is paused on this standby.
	FindingReplayPaused = "replay_paused"
	// FindingReplayHeld: Replay stands still although there is log to replay.
	FindingReplayHeld = "replay_held"
	// FindingApplyDelayed: `recovery_min_apply_delay` holds replay back on this standby.
	FindingApplyDelayed = "apply_delayed"
	// FindingNotReceiving: No WAL receiver runs on this standby.
	FindingNotReceiving = "not_receiving"
	// FindingSettingLowerThanPrimary: A setting that a standby must not have lower than its primary is lower.
	FindingSettingLowerThanPrimary = "setting_lower_than_primary"
	// FindingReservedPlacesClosed: Places are kept by `reserved_connections`, and the engine's role may not use them.
	FindingReservedPlacesClosed = "reserved_places_closed"
	// FindingCertificateExpired: The server's TLS certificate has expired.
	FindingCertificateExpired = "certificate_expired"
	// FindingCertificateExpires: The server's TLS certificate expires soon.
	FindingCertificateExpires = "certificate_expires"
	// FindingClientCertificateExpires: The engine's own TLS certificate has expired, or expires soon.
	FindingClientCertificateExpires = "client_certificate_expires"
	// FindingHostNotAsked: The host of this server cannot be asked over SSH.
	FindingHostNotAsked = "host_not_asked"
	// FindingHostOtherServer: The data directory on the host belongs to another server than the one that answers over SQL.
	FindingHostOtherServer = "host_other_server"
	// FindingHostCannotSignal: The account on the host may not signal the server's processes.
	FindingHostCannotSignal = "host_cannot_signal"
	// FindingHostSegmentHidden: The server's shared memory does not show on the host.
	FindingHostSegmentHidden = "host_segment_hidden"
	// FindingHostScriptOutdated: The `failover-host` that is installed on the host is older than the engine.
	FindingHostScriptOutdated = "host_script_outdated"
	// FindingHostScriptNewer: The `failover-host` that is installed on the host is of a later version.
	FindingHostScriptNewer = "host_script_newer"
	// FindingHostDataDirNotWritable: The account on the host may not write into the data directory.
	FindingHostDataDirNotWritable = "host_data_dir_not_writable"
	// FindingHostPgCtlMissing: `pg_ctl` is not where the host's account looks for it.
	FindingHostPgCtlMissing = "host_pg_ctl_missing"
	// FindingHostPgIsreadyMissing: `pg_isready` is not where the host's account looks for it.
	FindingHostPgIsreadyMissing = "host_pg_isready_missing"
	// FindingHostTimeoutMissing: The host has no `timeout` command.
	FindingHostTimeoutMissing = "host_timeout_missing"
	// FindingHostRootLogin: The engine logs in as root.
	FindingHostRootLogin = "host_root_login"
	// FindingHostDiskNearlyFull: The file system of the data directory is nearly full.
	FindingHostDiskNearlyFull = "host_disk_nearly_full"
	// FindingHostRecoverySignal: `recovery.signal` lies in the data directory.
	FindingHostRecoverySignal = "host_recovery_signal"
	// FindingHostFenceMarker: `failover.fenced` of an earlier fence lies in the data directory of a server that runs.
	FindingHostFenceMarker = "host_fence_marker"
	// FindingRouteNotReady: An instance of the route cannot be asked.
	FindingRouteNotReady = "route_not_ready"
	// FindingRouteBackendMissing: An instance of the route does not have the backend.
	FindingRouteBackendMissing = "route_backend_missing"
	// FindingRouteServerMissing: An instance of the route does not have a server of the service.
	FindingRouteServerMissing = "route_server_missing"
	// FindingRouteServerHeld: An instance of the route keeps a server out by itself, whatever it is told.
	FindingRouteServerHeld = "route_server_held"
	// FindingRouteWeightFixed: An instance of the route cannot give a server the weight that is wanted.
	FindingRouteWeightFixed = "route_weight_fixed"
	// FindingRouteToStandby: An instance of the route sends new sessions to a server that is not the primary.
	FindingRouteToStandby = "route_to_standby"
	// FindingRoutePrimaryOut: An instance of the route sends no new session to the primary.
	FindingRoutePrimaryOut = "route_primary_out"
	// FindingVerifyUnreachable: Nobody answers at an address of the route.
	FindingVerifyUnreachable = "verify_unreachable"
	// FindingVerifyFull: Every place behind an address of the route is taken.
	FindingVerifyFull = "verify_full"
	// FindingVerifyRefused: An address of the route does not let the engine in.
	FindingVerifyRefused = "verify_refused"
	// FindingVerifyUnidentified: An address of the route does not show which server answers.
	FindingVerifyUnidentified = "verify_unidentified"
	// FindingVerifyOtherServer: An address of the route leads to a server that is not the primary.
	FindingVerifyOtherServer = "verify_other_server"
	// FindingVerifyForeign: An address of the route leads to another cluster.
	FindingVerifyForeign = "verify_foreign"
	// FindingVerifyStandby: An address of the route leads to a server in recovery.
	FindingVerifyStandby = "verify_standby"
	// FindingNameUnreadable: A name that a failover would change cannot be read.
	FindingNameUnreadable = "name_unreadable"
	// FindingNameElsewhere: A name is not in the zone where a failover would change it.
	FindingNameElsewhere = "name_elsewhere"
	// FindingBreakerOpen: A server, host or route did not answer several times and is left alone for a while.
	FindingBreakerOpen = "breaker_open"
	// FindingLoginRefused: No server lets the engine log in.
	FindingLoginRefused = "login_refused"
	// FindingStateDirUnusable: The `state_dir` cannot be used.
	FindingStateDirUnusable = "state_dir_unusable"
	// FindingControlSocketUnusable: The control socket cannot be used.
	FindingControlSocketUnusable = "control_socket_unusable"
	// FindingCheckNotUp: A check of a server is not up.
	FindingCheckNotUp = "check_not_up"
	// FindingConfiguration: A warning about the configuration.
	FindingConfiguration = "configuration"
	// RefusalPrimaryHealthy: The primary is not failing.
	RefusalPrimaryHealthy = "primary_healthy"
	// RefusalThresholdNotReached: Not enough failed observations in the window yet.
	RefusalThresholdNotReached = "threshold_not_reached"
	// RefusalPolicyNotMet: The policy over the checks (`all`, `quorum`) is not met.
	RefusalPolicyNotMet = "policy_not_met"
	// RefusalDatabaseAnswers: Other checks fail while the database itself answers (rule 6).
	RefusalDatabaseAnswers = "database_answers"
	// RefusalEvidenceIncomplete: Evidence is still on its way: which.
	RefusalEvidenceIncomplete = "evidence_incomplete"
	// RefusalImpaired: The primary is alive and not serving: which way.
	RefusalImpaired = "impaired"
	// RefusalShutdownHeld: An announced shutdown has not come to its end within its grace.
	RefusalShutdownHeld = "shutdown_held"
	// RefusalRestartGrace: An announced shutdown may still come back.
	RefusalRestartGrace = "restart_grace"
	// RefusalHostSaysServing: The host says that the server runs and serves: only our path is broken.
	RefusalHostSaysServing = "host_says_serving"
	// RefusalHostSaysRunning: The host says that the postmaster runs although its port refuses.
	RefusalHostSaysRunning = "host_says_running"
	// RefusalStandbySeesPrimary: A standby goes on receiving from the primary: it is alive and only our path is broken.
	RefusalStandbySeesPrimary = "standby_sees_primary"
	// RefusalPaused: An operator paused the service.
	RefusalPaused = "paused"
	// RefusalDoubt: Our own view is in doubt.
	RefusalDoubt = "doubt"
	// RefusalNotWarmedUp: The engine has not yet seen every check answer since it started, resumed or reloaded.
	RefusalNotWarmedUp = "not_warmed_up"
	// RefusalNoPrimarySeen: No primary was ever seen (rule 10).
	RefusalNoPrimarySeen = "no_primary_seen"
	// RefusalJournalUnwritable: The journal cannot be written.
	RefusalJournalUnwritable = "journal_unwritable"
	// RefusalCooldown: The last failover is too recent.
	RefusalCooldown = "cooldown"
	// RefusalAwaitingConfirmation: An operator has to confirm.
	RefusalAwaitingConfirmation = "awaiting_confirmation"
	// RefusalConfirmationTimedOut: Nobody confirmed in time.
	RefusalConfirmationTimedOut = "confirmation_timed_out"
	// RefusalTooManyAtOnce: As many other failovers have begun within a minute as may: a person is asked.
	RefusalTooManyAtOnce = "too_many_at_once"
	// RefusalFailoverInFlight: A failover is in flight.
	RefusalFailoverInFlight = "failover_in_flight"
	// RefusalManualIntervention: A person has to come first.
	RefusalManualIntervention = "manual_intervention"
	// RefusalFenceUnavailable: The required fence level cannot be reached on any way that is configured.
	RefusalFenceUnavailable = "fence_unavailable"
	// RefusalReceiptUnprovable: The primary lives, and it could not be proven that a standby has all that it acknowledged.
	RefusalReceiptUnprovable = "receipt_unprovable"
	// RefusalNoCandidate: No standby can be promoted: the reason for each.
	RefusalNoCandidate = "no_candidate"
	// RefusalNotReady: Something that the survey found would keep a failover from its end: said beforehand only.
	RefusalNotReady = "not_ready"
	// RefusalTwoPrimaries: Two servers take writes.
	RefusalTwoPrimaries = "two_primaries"
	// RefusalRival: A server that is not the primary said that it takes writes, and has said or shown nothing else since.
	RefusalRival = "rival"
	// RefusalWrongCluster: A server belongs to another cluster.
	RefusalWrongCluster = "wrong_cluster"
	// RefusalSecondEngine: Another engine watches this service.
	RefusalSecondEngine = "second_engine"
	// RefusalDependencyFailing: The service that it follows is in trouble, or has a new primary that is not followed yet: the failures may be its.
	RefusalDependencyFailing = "dependency_failing"
	// RefusalWatchedOnly: Services of this kind are watched only.
	RefusalWatchedOnly = "watched_only"
	// RefusalStopping: The engine is stopping.
	RefusalStopping = "stopping"
	// StandbyRefusalNotACandidate: The configuration says so.
	StandbyRefusalNotACandidate = "not_a_candidate"
	// StandbyRefusalCordoned: An operator cordoned it.
	StandbyRefusalCordoned = "cordoned"
	// StandbyRefusalNoNewSessions: It answers its kept session and no new connection.
	StandbyRefusalNoNewSessions = "no_new_sessions"
	// StandbyRefusalLoginRefused: It refuses the login of the engine's role: a promotion could not be asked for.
	StandbyRefusalLoginRefused = "login_refused"
	// StandbyRefusalNotChosen: An operator chose another one.
	StandbyRefusalNotChosen = "not_chosen"
	// StandbyRefusalAnotherAsked: Another one was asked to become the primary in this failover.
	StandbyRefusalAnotherAsked = "another_asked"
	// StandbyRefusalNotReadable: It could not be asked, or its last answer is too old.
	StandbyRefusalNotReadable = "not_readable"
	// StandbyRefusalNotInRecovery: It takes writes itself.
	StandbyRefusalNotInRecovery = "not_in_recovery"
	// StandbyRefusalOtherCluster: It belongs to another cluster (system identifier).
	StandbyRefusalOtherCluster = "other_cluster"
	// StandbyRefusalOtherTimeline: It is not on the primary's timeline.
	StandbyRefusalOtherTimeline = "other_timeline"
	// StandbyRefusalReplayPaused: Replay is paused: by an operator, or by PostgreSQL itself where a setting is lower than on the primary.
	StandbyRefusalReplayPaused = "replay_paused"
	// StandbyRefusalDelayed: It is a delayed standby.
	StandbyRefusalDelayed = "delayed"
	// StandbyRefusalNotStreaming: It was not receiving from the primary while that lived.
	StandbyRefusalNotStreaming = "not_streaming"
	// StandbyRefusalBehind: Another server that cannot be promoted has log that this one lacks (rule 21).
	StandbyRefusalBehind = "behind"
	// StandbyRefusalMayBeBehind: Another server that cannot be promoted may acknowledge commits that this one lacks: said beforehand only.
	StandbyRefusalMayBeBehind = "may_be_behind"
	// StandbyRefusalNotReceived: The primary was stopped in an orderly way, and it has not received the whole log.
	StandbyRefusalNotReceived = "not_received"
	// StandbyRefusalQuorumUnanswered: Too few of those that could have acknowledged a commit said how far they are, so one it lacks may exist (rule 21).
	StandbyRefusalQuorumUnanswered = "quorum_unanswered"
	// StandbyRefusalLossTooHigh: It could lack more than the limit.
	StandbyRefusalLossTooHigh = "loss_too_high"
	// StandbyRefusalLossUnknown: How much it could lack is not known (rule 20): unknown is not zero.
	StandbyRefusalLossUnknown = "loss_unknown"
	// StandbyRefusalNotHealthy: Of an application: its checks do not pass.
	StandbyRefusalNotHealthy = "not_healthy"
	// StandbyRefusalSwitchFailed: Of an application: the traffic was sent to it in this failover, and it did not serve.
	StandbyRefusalSwitchFailed = "switch_failed"
	// StandbyRefusalPromotionRefused: Its promotion was tried and had no effect.
	StandbyRefusalPromotionRefused = "promotion_refused"
	// end
)
