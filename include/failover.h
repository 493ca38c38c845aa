/*
 * libfailover: automatic failover, embedded.
 *
 * A program makes an engine from a configuration (failover_engine_new), starts it, and from then on the engine watches
 * servers, decides when the primary has failed, fences it, promotes a standby, moves the traffic, verifies the result,
 * and reports what happened and why. docs/EMBEDDING.md is the guide; this header is the manual.
 *
 *     failover_engine *engine = NULL;
 *     failover_error *error = NULL;
 *     if (failover_engine_new_from_file("failover.toml", &engine, &error) != FAILOVER_OK ||
 *         failover_engine_start(engine, &error) != FAILOVER_OK) {
 *         fprintf(stderr, "%s\n", failover_error_message(error));
 *         failover_error_free(error);
 *         failover_engine_free(engine);
 *         return 1;
 *     }
 *     for (;;) {
 *         failover_event *event = NULL;
 *         int32_t code = failover_engine_next_event(engine, 1000, &event, NULL);
 *         if (code == FAILOVER_EMPTY) continue;
 *         if (code != FAILOVER_OK) break;
 *         if (failover_event_severity(event) >= FAILOVER_SEVERITY_INFO) puts(failover_event_message(event));
 *         failover_event_free(event);
 *     }
 *     failover_engine_free(engine);
 *
 * Rules for every function:
 * - A function that can fail returns a code: FAILOVER_OK, or a negative FAILOVER_* . It writes its results only with
 *   FAILOVER_OK. `err` may be NULL; otherwise, with every code but FAILOVER_OK and FAILOVER_EMPTY, it receives an error
 *   object: free it with failover_error_free. The function overwrites a pointer that is already set, and does not free
 *   it.
 * - Strings in are UTF-8 and copied before the function returns. Strings out are NUL-terminated UTF-8, belong to the
 *   object that they come from and are valid as long as it is; never free one.
 * - Six kinds of objects, each with one function that frees it. All of those allow NULL.
 * - After fork, a child that touches an engine of its parent gets FAILOVER_FORKED: make the engine after fork.
 * - The library never exits or aborts the program, sets no signal handler, changes no environment, and writes to no
 *   standard stream.
 *   Its threads are called fo-<role>-<n> and block signals. Callbacks must not throw C++ exceptions through it, nor
 *   longjmp.
 * - Each comment ends with four lines: Thread (who may call it), Blocks, In callback (whether it may be called there),
 *   Ownership.
 */


#ifndef FAILOVER_H
#define FAILOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FAILOVER_API __attribute__((visibility("default")))
#else
#define FAILOVER_API
#endif

// The names in the JSON of the status and of events. A newer library may have more: show them as they are.

// The server is older than every version that the engine works with.
#define FAILOVER_FINDING_VERSION_NOT_SUPPORTED "version_not_supported"

// The server is newer than every version that this release was tried with.
#define FAILOVER_FINDING_VERSION_NOT_TRIED "version_not_tried"

// The engine's role may not call `pg_promote` on this server.
#define FAILOVER_FINDING_PROMOTE_RIGHT_MISSING "promote_right_missing"

// The engine's role may not call `pg_reload_conf` on this server.
#define FAILOVER_FINDING_RELOAD_RIGHT_MISSING "reload_right_missing"

// The engine's role is not a member of `pg_monitor`.
#define FAILOVER_FINDING_MONITOR_RIGHT_MISSING "monitor_right_missing"

// The standby notices a dead connection to its primary late, or never.
#define FAILOVER_FINDING_WAL_RECEIVER_TIMEOUT_LONG "wal_receiver_timeout_long"

// `default_transaction_read_only` is on.
#define FAILOVER_FINDING_READ_ONLY_BY_DEFAULT "read_only_by_default"

// All connection slots of this server are in use, and the engine cannot connect.
#define FAILOVER_FINDING_NO_PLACE_LEFT "no_place_left"

// The connection limit of the engine's role, or of its database, is lower than the engine needs.
#define FAILOVER_FINDING_CONNECTION_LIMIT_LOW "connection_limit_low"

// The server does not flush its WAL to disk (`fsync` is off).
#define FAILOVER_FINDING_FSYNC_OFF "fsync_off"

// Neither `wal_log_hints` nor data checksums are on.
#define FAILOVER_FINDING_REWIND_IMPOSSIBLE "rewind_impossible"

// The last attempt to archive a WAL file failed.
#define FAILOVER_FINDING_ARCHIVE_FAILING "archive_failing"

// Many completed WAL files wait to be archived.
#define FAILOVER_FINDING_ARCHIVE_BACKLOG "archive_backlog"

// The present primary archives, and this standby would archive nothing as the primary.
#define FAILOVER_FINDING_ARCHIVE_ENDS "archive_ends"

// This standby and its primary archive the same files to the same place.
#define FAILOVER_FINDING_ARCHIVED_TWICE "archived_twice"

// An unused replication slot retains more WAL than `max_wal_size`.
#define FAILOVER_FINDING_SLOT_HOLDS_WAL "slot_holds_wal"

// A replication slot has lost the WAL that its standby needs next.
#define FAILOVER_FINDING_SLOT_LOST "slot_lost"

// `primary_conninfo` holds a password that the engine's role can read.
#define FAILOVER_FINDING_REPLICATION_PASSWORD_READABLE "replication_password_readable"

// Salvage cannot give this standby the end of a dead primary's log: `restore_command` does not look into
// `failover-spool`.
#define FAILOVER_FINDING_SALVAGE_NOT_PREPARED "salvage_not_prepared"

// The engine could not point this standby to a new primary after a failover, or not as it should.
#define FAILOVER_FINDING_REPOINT_NOT_PREPARED "repoint_not_prepared"

// The primary has logical replication slots.
#define FAILOVER_FINDING_LOGICAL_SLOTS "logical_slots"

// Only one standby can acknowledge the commits of the primary.
#define FAILOVER_FINDING_SYNC_GATE "sync_gate"

// The engine's role may not clear `synchronous_standby_names`.
#define FAILOVER_FINDING_SYNC_GATE_RIGHT_MISSING "sync_gate_right_missing"

// The engine could not change `synchronous_standby_names` on this server, and is to keep it (`data.synchronous`).
#define FAILOVER_FINDING_SYNC_SET_NOT_PREPARED "sync_set_not_prepared"

// `synchronous_standby_names` has a value that the engine cannot parse.
#define FAILOVER_FINDING_SYNC_NAMES_UNREADABLE "sync_names_unreadable"

// A receiver that is not a standby of this service can acknowledge commits.
#define FAILOVER_FINDING_SYNC_BY_STRANGERS "sync_by_strangers"

// With this value of `synchronous_commit`, commits do not wait until a standby has them.
#define FAILOVER_FINDING_SYNC_COMMIT_WAITS_FOR_NOBODY "sync_commit_waits_for_nobody"

// A role, a database or a function has its own `synchronous_commit`.
#define FAILOVER_FINDING_SYNC_COMMIT_OVERRIDDEN "sync_commit_overridden"

// Several WAL receivers have the same name.
#define FAILOVER_FINDING_REPLICATION_NAMES_EQUAL "replication_names_equal"

// A standby that is named in `synchronous_standby_names` is not connected.
#define FAILOVER_FINDING_SYNC_STANDBY_ABSENT "sync_standby_absent"

// Replay is paused on this standby.
#define FAILOVER_FINDING_REPLAY_PAUSED "replay_paused"

// Replay does not advance although there is WAL to replay.
#define FAILOVER_FINDING_REPLAY_HELD "replay_held"

// `recovery_min_apply_delay` delays replay on this standby.
#define FAILOVER_FINDING_APPLY_DELAYED "apply_delayed"

// No WAL receiver runs on this standby.
#define FAILOVER_FINDING_NOT_RECEIVING "not_receiving"

// A setting that must not be lower on a standby than on its primary is lower.
#define FAILOVER_FINDING_SETTING_LOWER_THAN_PRIMARY "setting_lower_than_primary"

// `reserved_connections` reserves connection slots, and the engine's role may not use them.
#define FAILOVER_FINDING_RESERVED_PLACES_CLOSED "reserved_places_closed"

// The server's TLS certificate has expired.
#define FAILOVER_FINDING_CERTIFICATE_EXPIRED "certificate_expired"

// The server's TLS certificate expires soon.
#define FAILOVER_FINDING_CERTIFICATE_EXPIRES "certificate_expires"

// The engine's own TLS certificate has expired, or expires soon.
#define FAILOVER_FINDING_CLIENT_CERTIFICATE_EXPIRES "client_certificate_expires"

// The engine cannot ask the host of this server over SSH.
#define FAILOVER_FINDING_HOST_NOT_ASKED "host_not_asked"

// The data directory on the host belongs to another server than the one that answers over SQL.
#define FAILOVER_FINDING_HOST_OTHER_SERVER "host_other_server"

// The account on the host may not signal the server's processes.
#define FAILOVER_FINDING_HOST_CANNOT_SIGNAL "host_cannot_signal"

// The server's shared memory is not visible on the host.
#define FAILOVER_FINDING_HOST_SEGMENT_HIDDEN "host_segment_hidden"

// The `failover-host` that is installed on the host is older than the engine.
#define FAILOVER_FINDING_HOST_SCRIPT_OUTDATED "host_script_outdated"

// The `failover-host` that is installed on the host is of a later version than the engine.
#define FAILOVER_FINDING_HOST_SCRIPT_NEWER "host_script_newer"

// The account on the host may not write into the data directory.
#define FAILOVER_FINDING_HOST_DATA_DIR_NOT_WRITABLE "host_data_dir_not_writable"

// `pg_ctl` is not where the host's account looks for it.
#define FAILOVER_FINDING_HOST_PG_CTL_MISSING "host_pg_ctl_missing"

// `pg_isready` is not where the host's account looks for it.
#define FAILOVER_FINDING_HOST_PG_ISREADY_MISSING "host_pg_isready_missing"

// `pg_waldump` is not where the host's account looks for it.
#define FAILOVER_FINDING_HOST_PG_WALDUMP_MISSING "host_pg_waldump_missing"

// The host has no `timeout` command.
#define FAILOVER_FINDING_HOST_TIMEOUT_MISSING "host_timeout_missing"

// The engine logs in as root.
#define FAILOVER_FINDING_HOST_ROOT_LOGIN "host_root_login"

// The file system of the data directory is nearly full.
#define FAILOVER_FINDING_HOST_DISK_NEARLY_FULL "host_disk_nearly_full"

// `recovery.signal` is in the data directory.
#define FAILOVER_FINDING_HOST_RECOVERY_SIGNAL "host_recovery_signal"

// A server runs whose data directory holds `failover.fenced` of an earlier fence.
#define FAILOVER_FINDING_HOST_FENCE_MARKER "host_fence_marker"

// The engine cannot ask an instance of the route.
#define FAILOVER_FINDING_ROUTE_NOT_READY "route_not_ready"

// An instance of the route does not have the backend.
#define FAILOVER_FINDING_ROUTE_BACKEND_MISSING "route_backend_missing"

// An instance of the route does not have a server of the service.
#define FAILOVER_FINDING_ROUTE_SERVER_MISSING "route_server_missing"

// An instance of the route keeps a server out of service itself, and the engine cannot change that.
#define FAILOVER_FINDING_ROUTE_SERVER_HELD "route_server_held"

// An instance of the route cannot give a server the configured weight.
#define FAILOVER_FINDING_ROUTE_WEIGHT_FIXED "route_weight_fixed"

// A line of an instance of the route has the address of another server.
#define FAILOVER_FINDING_ROUTE_ADDRESS_WRONG "route_address_wrong"

// An instance's own check holds a standby down that answers the engine.
#define FAILOVER_FINDING_ROUTE_CHECK_FAILS "route_check_fails"

// A standby takes fewer sessions at a time than the primary.
#define FAILOVER_FINDING_ROUTE_LIMIT_LOW "route_limit_low"

// An instance of the route has a line, or a database, that takes sessions and that the route does not name.
#define FAILOVER_FINDING_ROUTE_LINE_UNNAMED "route_line_unnamed"

// An instance of the route sends new sessions to a server that is not the primary.
#define FAILOVER_FINDING_ROUTE_TO_STANDBY "route_to_standby"

// An instance of the route sends no new session to the primary.
#define FAILOVER_FINDING_ROUTE_PRIMARY_OUT "route_primary_out"

// The engine finds no program that could hold the deadline of a closed gate.
#define FAILOVER_FINDING_GATE_KEEPER_MISSING "gate_keeper_missing"

// A pool of PgBouncer belongs to a whole session (`pool_mode = session`).
#define FAILOVER_FINDING_POOLER_SESSION_MODE "pooler_session_mode"

// No server answers at an address of the route.
#define FAILOVER_FINDING_VERIFY_UNREACHABLE "verify_unreachable"

// All connection slots behind an address of the route are in use.
#define FAILOVER_FINDING_VERIFY_FULL "verify_full"

// An address of the route refuses the engine's login.
#define FAILOVER_FINDING_VERIFY_REFUSED "verify_refused"

// An address of the route does not show which server answers.
#define FAILOVER_FINDING_VERIFY_UNIDENTIFIED "verify_unidentified"

// An address of the route leads to a server that is not the primary.
#define FAILOVER_FINDING_VERIFY_OTHER_SERVER "verify_other_server"

// An address of the route leads to another cluster.
#define FAILOVER_FINDING_VERIFY_FOREIGN "verify_foreign"

// An address of the route leads to a server in recovery.
#define FAILOVER_FINDING_VERIFY_STANDBY "verify_standby"

// The engine cannot read a DNS name that a failover would change.
#define FAILOVER_FINDING_NAME_UNREADABLE "name_unreadable"

// A DNS name is not in the zone in which a failover would change it.
#define FAILOVER_FINDING_NAME_ELSEWHERE "name_elsewhere"

// A server, host or route did not answer several times, and the survey does not ask it for a while.
#define FAILOVER_FINDING_BREAKER_OPEN "breaker_open"

// No server lets the engine log in.
#define FAILOVER_FINDING_LOGIN_REFUSED "login_refused"

// The engine cannot use the `state_dir`.
#define FAILOVER_FINDING_STATE_DIR_UNUSABLE "state_dir_unusable"

// The engine cannot use the control socket.
#define FAILOVER_FINDING_CONTROL_SOCKET_UNUSABLE "control_socket_unusable"

// A check of a server is not up.
#define FAILOVER_FINDING_CHECK_NOT_UP "check_not_up"

// A warning about the configuration.
#define FAILOVER_FINDING_CONFIGURATION "configuration"

// The primary is not failing.
#define FAILOVER_REFUSAL_PRIMARY_HEALTHY "primary_healthy"

// The number of failed observations in the window has not reached the threshold.
#define FAILOVER_REFUSAL_THRESHOLD_NOT_REACHED "threshold_not_reached"

// The policy over the checks (`all`, `quorum`) is not met.
#define FAILOVER_REFUSAL_POLICY_NOT_MET "policy_not_met"

// Other checks fail, but the database itself answers (rule 6).
#define FAILOVER_REFUSAL_DATABASE_ANSWERS "database_answers"

// The engine still waits for evidence.
#define FAILOVER_REFUSAL_EVIDENCE_INCOMPLETE "evidence_incomplete"

// The primary is alive, but does not serve.
#define FAILOVER_REFUSAL_IMPAIRED "impaired"

// An announced shutdown has not ended within its grace time.
#define FAILOVER_REFUSAL_SHUTDOWN_HELD "shutdown_held"

// The server may still come back after an announced shutdown.
#define FAILOVER_REFUSAL_RESTART_GRACE "restart_grace"

// The host reports that the server runs and serves: only the engine's path to it is broken.
#define FAILOVER_REFUSAL_HOST_SAYS_SERVING "host_says_serving"

// The host reports that the postmaster runs, although its port refuses connections.
#define FAILOVER_REFUSAL_HOST_SAYS_RUNNING "host_says_running"

// A standby still receives from the primary: the primary is alive, and only the engine's path to it is broken.
#define FAILOVER_REFUSAL_STANDBY_SEES_PRIMARY "standby_sees_primary"

// An operator paused the service.
#define FAILOVER_REFUSAL_PAUSED "paused"

// The engine cannot trust its own view.
#define FAILOVER_REFUSAL_DOUBT "doubt"

// The engine has not yet seen every check answer since it started, resumed or reloaded.
#define FAILOVER_REFUSAL_NOT_WARMED_UP "not_warmed_up"

// The engine has never seen a primary (rule 10).
#define FAILOVER_REFUSAL_NO_PRIMARY_SEEN "no_primary_seen"

// The journal cannot be written.
#define FAILOVER_REFUSAL_JOURNAL_UNWRITABLE "journal_unwritable"

// The last failover is too recent.
#define FAILOVER_REFUSAL_COOLDOWN "cooldown"

// The failover waits for an operator's confirmation.
#define FAILOVER_REFUSAL_AWAITING_CONFIRMATION "awaiting_confirmation"

// No operator confirmed in time.
#define FAILOVER_REFUSAL_CONFIRMATION_TIMED_OUT "confirmation_timed_out"

// The maximum number of failovers has begun within a minute: the engine asks a person.
#define FAILOVER_REFUSAL_TOO_MANY_AT_ONCE "too_many_at_once"

// A failover is in progress.
#define FAILOVER_REFUSAL_FAILOVER_IN_FLIGHT "failover_in_flight"

// A person must act first.
#define FAILOVER_REFUSAL_MANUAL_INTERVENTION "manual_intervention"

// The engine cannot reach the required fence level by any configured method.
#define FAILOVER_REFUSAL_FENCE_UNAVAILABLE "fence_unavailable"

// The primary is alive, and the engine could not prove that a standby has everything that the primary acknowledged.
#define FAILOVER_REFUSAL_RECEIPT_UNPROVABLE "receipt_unprovable"

// The primary is healthy: a switchover replaces it, and loses nothing.
#define FAILOVER_REFUSAL_HAND_OVER "hand_over"

// No standby can be promoted. Each standby has its reason.
#define FAILOVER_REFUSAL_NO_CANDIDATE "no_candidate"

// A finding of the survey would prevent the completion of a failover (shown only beforehand).
#define FAILOVER_REFUSAL_NOT_READY "not_ready"

// Two servers take writes.
#define FAILOVER_REFUSAL_TWO_PRIMARIES "two_primaries"

// A server that is not the primary reported that it takes writes, and nothing since then contradicts this.
#define FAILOVER_REFUSAL_RIVAL "rival"

// A server belongs to another cluster.
#define FAILOVER_REFUSAL_WRONG_CLUSTER "wrong_cluster"

// Another engine watches this service.
#define FAILOVER_REFUSAL_SECOND_ENGINE "second_engine"

// The followed service is in trouble, or has a new primary that is not followed yet: it may have caused the failures.
#define FAILOVER_REFUSAL_DEPENDENCY_FAILING "dependency_failing"

// The engine only watches services of this kind.
#define FAILOVER_REFUSAL_WATCHED_ONLY "watched_only"

// The engine is stopping.
#define FAILOVER_REFUSAL_STOPPING "stopping"

// The configuration excludes this server (`candidate = false`).
#define FAILOVER_STANDBY_REFUSAL_NOT_A_CANDIDATE "not_a_candidate"

// An operator cordoned the server.
#define FAILOVER_STANDBY_REFUSAL_CORDONED "cordoned"

// The server answers its kept-open session, but no new connection.
#define FAILOVER_STANDBY_REFUSAL_NO_NEW_SESSIONS "no_new_sessions"

// The server refuses the login of the engine's role: the engine could not request a promotion.
#define FAILOVER_STANDBY_REFUSAL_LOGIN_REFUSED "login_refused"

// An operator chose another standby.
#define FAILOVER_STANDBY_REFUSAL_NOT_CHOSEN "not_chosen"

// The engine has asked another standby in this failover to become the primary.
#define FAILOVER_STANDBY_REFUSAL_ANOTHER_ASKED "another_asked"

// The engine could not ask the server, or its last answer is too old.
#define FAILOVER_STANDBY_REFUSAL_NOT_READABLE "not_readable"

// The server takes writes itself.
#define FAILOVER_STANDBY_REFUSAL_NOT_IN_RECOVERY "not_in_recovery"

// The server belongs to another cluster (system identifier).
#define FAILOVER_STANDBY_REFUSAL_OTHER_CLUSTER "other_cluster"

// The server is not on the primary's timeline.
#define FAILOVER_STANDBY_REFUSAL_OTHER_TIMELINE "other_timeline"

// Replay is paused, by an operator or by PostgreSQL itself because a setting is lower than on the primary.
#define FAILOVER_STANDBY_REFUSAL_REPLAY_PAUSED "replay_paused"

// The server is a delayed standby.
#define FAILOVER_STANDBY_REFUSAL_DELAYED "delayed"

// The standby did not receive from the primary while the primary was alive.
#define FAILOVER_STANDBY_REFUSAL_NOT_STREAMING "not_streaming"

// Another server, which cannot be promoted, has log that this standby lacks (rule 21).
#define FAILOVER_STANDBY_REFUSAL_BEHIND "behind"

// Another server, which cannot be promoted, may acknowledge commits that this standby lacks (shown only beforehand).
#define FAILOVER_STANDBY_REFUSAL_MAY_BE_BEHIND "may_be_behind"

// The primary was stopped in an orderly way, and the standby has not received the whole log.
#define FAILOVER_STANDBY_REFUSAL_NOT_RECEIVED "not_received"

// Too few standbys that may have acknowledged a commit reported their position: this standby may lack one (rule 21).
#define FAILOVER_STANDBY_REFUSAL_QUORUM_UNANSWERED "quorum_unanswered"

// The standby could lack more log than the limit allows.
#define FAILOVER_STANDBY_REFUSAL_LOSS_TOO_HIGH "loss_too_high"

// The engine does not know how much log the standby could lack (rule 20): unknown is not zero.
#define FAILOVER_STANDBY_REFUSAL_LOSS_UNKNOWN "loss_unknown"

// `data.salvage` requires that nothing is lost, and what only the old primary's disk has could not be carried over.
#define FAILOVER_STANDBY_REFUSAL_NOT_SALVAGED "not_salvaged"

// For an application: the checks of the server do not pass.
#define FAILOVER_STANDBY_REFUSAL_NOT_HEALTHY "not_healthy"

// For an application: in this failover the server got the traffic, and did not serve.
#define FAILOVER_STANDBY_REFUSAL_SWITCH_FAILED "switch_failed"

// The promotion of the server was tried and had no effect.
#define FAILOVER_STANDBY_REFUSAL_PROMOTION_REFUSED "promotion_refused"


// It was done.
#define FAILOVER_OK 0

// Nothing came within the time given, or failover_engine_wake was called.
#define FAILOVER_EMPTY -1

// The call did not end in time; the engine continues with it. Call again to wait again.
#define FAILOVER_TIMEOUT -2

// A pointer is NULL where an object is required.
#define FAILOVER_NULL_ARG -3

// An argument is out of range, no UTF-8, or names something that does not exist.
#define FAILOVER_INVALID_ARG -4

// The configuration cannot be used. failover_error_json tells every mistake.
#define FAILOVER_CONFIG -5

// The call does not fit the engine's present state.
#define FAILOVER_STATE -6

// The call would wait for the thread it runs on. Use failover_engine_request_stop there.
#define FAILOVER_REENTRANT -7

// The engine was made by a parent process: make it after fork.
#define FAILOVER_FORKED -8

// The operating system refused something.
#define FAILOVER_SYSTEM -9

// The task was answered already, was cancelled, or is past its deadline.
#define FAILOVER_UNKNOWN_TASK -10

// A bug was caught earlier: decisions are frozen. Status, stop and free still work.
#define FAILOVER_FAULTED -11

// A bug was caught in this call.
#define FAILOVER_PANIC -12

// This build of the library cannot do it.
#define FAILOVER_UNSUPPORTED -13

// The engine understood the command and says no. The message says why.
#define FAILOVER_REJECTED -14

// The version of this interface: the major number in the upper 16 bits, the minor in the lower. Within one major number
// things are only added, and each addition raises the minor one.
#define FAILOVER_ABI_VERSION 2

// The version of the library that this header came with: major * 1000000 + minor * 1000 + patch.
#define FAILOVER_VERSION_NUMBER 1000

// For timeout_ms: without end.
#define FAILOVER_FOREVER UINT32_MAX

// For failover_engine_force: nothing of a primary that lives, else the configured limit (data.max_lag_bytes).
#define FAILOVER_LOSS_CONFIGURED UINT64_MAX

// The engine runs.
#define FAILOVER_EVENT_ENGINE_STARTED 1

// The engine stopped. This is always the last event.
#define FAILOVER_EVENT_ENGINE_STOPPED 2

// A reload took effect.
#define FAILOVER_EVENT_CONFIG_RELOADED 3

// A check finished (severity debug; coalesced under pressure).
#define FAILOVER_EVENT_OBSERVED 4

// The health of a check or a server changed.
#define FAILOVER_EVENT_HEALTH_CHANGED 5

// The state of a service's trigger changed.
#define FAILOVER_EVENT_STATE_CHANGED 6

// The other side closed a kept-open session.
#define FAILOVER_EVENT_SESSION_CLOSED 7

// The engine began to collect fresh evidence.
#define FAILOVER_EVENT_CONFIRMATION_STARTED 8

// A piece of evidence came in during a confirmation (from the host or from a standby).
#define FAILOVER_EVENT_EVIDENCE_GATHERED 9

// The failure is confirmed, with class, evidence and thresholds.
#define FAILOVER_EVENT_FAILURE_CONFIRMED 10

// The primary proved to be alive, or came back, before anything was changed.
#define FAILOVER_EVENT_FAILOVER_SUPPRESSED 11

// A named reason prevented a failover.
#define FAILOVER_EVENT_FAILOVER_REFUSED 12

// A failover waits for an operator.
#define FAILOVER_EVENT_AWAITING_CONFIRMATION 13

// A failover began.
#define FAILOVER_EVENT_FAILOVER_STARTED 14

// The engine resumes a failover that an earlier engine began, or undoes it because the primary is alive.
#define FAILOVER_EVENT_FAILOVER_RESUMED 15

// A step began.
#define FAILOVER_EVENT_STEP_STARTED 16

// A step ended.
#define FAILOVER_EVENT_STEP_FINISHED 17

// From here on the engine undoes nothing.
#define FAILOVER_EVENT_POINT_OF_NO_RETURN 18

// A failover completed, with phases, loss, fence, candidate.
#define FAILOVER_EVENT_FAILOVER_COMPLETED 19

// A failover failed, with the step, the reason, and what was undone.
#define FAILOVER_EVENT_FAILOVER_FAILED 20

// The engine undid everything that it had changed.
#define FAILOVER_EVENT_ROLLED_BACK 21

// The engine calls a person, with the reason and the evidence.
#define FAILOVER_EVENT_MANUAL_INTERVENTION 22

// The primary became known or changed.
#define FAILOVER_EVENT_PRIMARY_KNOWN 23

// A standby cannot be promoted any more, with the reason.
#define FAILOVER_EVENT_STANDBY_NOT_READY 24

// A standby can be promoted.
#define FAILOVER_EVENT_STANDBY_READY 25

// Two servers of one service take writes.
#define FAILOVER_EVENT_TWO_PRIMARIES 26

// A server belongs to another cluster (system identifier).
#define FAILOVER_EVENT_WRONG_CLUSTER 27

// A load balancer lost what a failover had changed (a reload, a restart), and the engine moves the traffic again.
#define FAILOVER_EVENT_ROUTE_ASSERTED 28

// A former primary, or another server on an older timeline, takes writes.
#define FAILOVER_EVENT_OLD_PRIMARY_RETURNED 29

// The engine cannot trust its own view, with the reason.
#define FAILOVER_EVENT_DOUBT_RAISED 30

// The engine can trust its own view again.
#define FAILOVER_EVENT_DOUBT_CLEARED 31

// A problem that would hurt a failover was found, or is over.
#define FAILOVER_EVENT_READINESS_CHANGED 32

// An operator's command was carried out or rejected.
#define FAILOVER_EVENT_OPERATOR_COMMAND 33

// The journal cannot be written, or can be written again.
#define FAILOVER_EVENT_JOURNAL_STATE 34

// The engine asks the host program to run a check.
#define FAILOVER_EVENT_TASK_CHECK 35

// The engine asks the host program to carry out an action.
#define FAILOVER_EVENT_TASK_ACTION 36

// Events were dropped because the program did not take them.
#define FAILOVER_EVENT_OVERFLOW 37

// A bug was detected. All decisions are frozen.
#define FAILOVER_EVENT_FAULTED 38

// A line of the engine's log.
#define FAILOVER_EVENT_LOG 39

// A failover was not needed: evidence shows that its old primary was serving.
#define FAILOVER_EVENT_FALSE_POSITIVE 40

// A circuit breaker of the survey opened or closed.
#define FAILOVER_EVENT_BREAKER_CHANGED 41

// A server takes writes on a newer timeline that does not continue the primary's log: a clone, or a restored backup.
#define FAILOVER_EVENT_OTHER_BRANCH 42

// A standby streams from the new primary: the engine changed its configuration.
#define FAILOVER_EVENT_STANDBY_REPOINTED 43

// A standby does not stream from the new primary, and the engine could not make it.
#define FAILOVER_EVENT_STANDBY_NOT_REPOINTED 44

// `synchronous_standby_names`, which the engine had cleared, is put back.
#define FAILOVER_EVENT_SYNC_NAMES_RESTORED 45

// An old primary begins to come back as a standby.
#define FAILOVER_EVENT_REJOIN_STARTED 46

// A step of that ended.
#define FAILOVER_EVENT_REJOIN_STEP 47

// An old primary has log that the new primary lacks. Nothing has been touched yet.
#define FAILOVER_EVENT_LOST_TRANSACTIONS 48

// The return of an old primary ended.
#define FAILOVER_EVENT_REJOIN_ENDED 49

// The set of standbys that commits wait for is another one.
#define FAILOVER_EVENT_SYNC_SET_CHANGED 50

// Fewer standbys are well than commits are to wait for, or there are enough again.
#define FAILOVER_EVENT_SYNC_SET_SHORT 51

// The engine cannot keep the set of standbys that commits wait for.
#define FAILOVER_EVENT_SYNC_SET_NOT_KEPT 52

// A new copy of the primary's data is so far. Told for each tenth.
#define FAILOVER_EVENT_COPY_PROGRESS 53

// A new copy has taken the place of a data directory, which is kept.
#define FAILOVER_EVENT_OLD_DATA_KEPT 54

// A receiver of notifications does not take them, or takes them again.
#define FAILOVER_EVENT_NOTIFY_STATE 55

// Events were not told to a receiver of notifications, and will not be.
#define FAILOVER_EVENT_NOTIFY_LOST 56

// A test message was sent to a receiver of notifications.
#define FAILOVER_EVENT_NOTIFY_TEST 57

// Of interest when searching for a cause: single observations.
#define FAILOVER_SEVERITY_DEBUG 0

// Something ordinary happened.
#define FAILOVER_SEVERITY_INFO 1

// Something is not as it should be.
#define FAILOVER_SEVERITY_WARNING 2

// A person should look.
#define FAILOVER_SEVERITY_ALARM 3

// For a check: it answered, and the answer was right.
#define FAILOVER_TASK_UP 1

// For a check: it is proven to be alive, and does not serve.
#define FAILOVER_TASK_IMPAIRED 2

// For a check: it did not answer, or not as a healthy server does. Only this answer counts as a failure.
#define FAILOVER_TASK_DOWN 3

// For a check: it could not be asked. For an action: it failed, and may have had a part of its effect. Every number
// that is not in this list means the same.
#define FAILOVER_TASK_UNKNOWN 4

// For an action: it did its work, and this is proven; for "fence" this means that power or volume was cut.
#define FAILOVER_TASK_DONE 5

// For an action: it failed, and it is proven that it had no effect.
#define FAILOVER_TASK_NO_EFFECT 6

// Room for the detail that a task function may write.
#define FAILOVER_DETAIL_SIZE 1024

// The call was served as it should be.
#define FAILOVER_OUTCOME_OK 1

// No answer came within the host's own time.
#define FAILOVER_OUTCOME_TIMEOUT 2

// The connection was refused.
#define FAILOVER_OUTCOME_REFUSED 3

// The connection ended in the middle of the call.
#define FAILOVER_OUTCOME_RESET 4

// The server answered that it does not serve now: starting, stopping, no slot left, read-only.
#define FAILOVER_OUTCOME_REJECTED 5

// Anything else: an error of the statement, of the host. It says nothing about the server.
#define FAILOVER_OUTCOME_ERROR 6

// Every request is permitted.
#define FAILOVER_BREAKER_CLOSED 1

// No request is permitted until recovery_ms have passed.
#define FAILOVER_BREAKER_OPEN 2

// A few requests are permitted, to see whether it works again.
#define FAILOVER_BREAKER_HALF_OPEN 3

// The request succeeded.
#define FAILOVER_BREAKER_SUCCESS 1

// The request failed.
#define FAILOVER_BREAKER_FAILURE 2

// The request was not made after all.
#define FAILOVER_BREAKER_CANCELLED 3

// A circuit breaker for the host program's own calls. It needs no engine. Any thread may call any function on it at any
// time.
typedef struct failover_breaker failover_breaker;

// An engine. Any thread may call any function on it at any time.
typedef struct failover_engine failover_engine;

// Why a call failed. Owned by the caller: failover_error_free. Used by one thread at a time.
typedef struct failover_error failover_error;

// One event of the engine. Owned by the caller: failover_event_free; in a callback borrowed for the call. Used by one
// thread at a time.
typedef struct failover_event failover_event;

// A report. It does not change, and holds no secret. Owned by the caller: failover_report_free. Used by one thread at a
// time.
typedef struct failover_report failover_report;

// A copy of the engine's state. It does not change. Owned by the caller: failover_status_free. Used by one thread at a
// time.
typedef struct failover_status failover_status;

// A function for events. One thread of the engine calls it for each event, one at a time.
typedef void (*failover_event_fn)(void *userdata, const failover_event *event);

// The library calls it once when it needs the userdata no more. May be NULL.
typedef void (*failover_free_fn)(void *userdata);

// A check or an action of the host: returns FAILOVER_TASK_*, and may write one NUL-terminated line into `detail`, which
// has room for FAILOVER_DETAIL_SIZE bytes and is empty before. `task` is an event of kind FAILOVER_EVENT_TASK_CHECK or
// _ACTION, valid during the call. Called on threads of the engine that are kept for this, several at once; never on
// those that check or decide.
typedef int32_t (*failover_task_fn)(void *userdata, const failover_event *task, char *detail);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The name of a code, such as "invalid_arg"; "unknown" for any other number.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a static string.
FAILOVER_API const char *failover_code_name(int32_t code);

// The meaning of a code in one sentence. A number that is no code has a sentence too.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a static string.
FAILOVER_API const char *failover_code_description(int32_t code);

// The code at a place in the list of all, from 0, so that bindings can make their tables; 1, which is no code, behind
// the last.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value.
FAILOVER_API int32_t failover_code_at(size_t index);

// The code of an error; FAILOVER_NULL_ARG for NULL.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value.
FAILOVER_API int32_t failover_error_code(const failover_error *error);

// What went wrong and what to do, in one line.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the error; NULL for NULL.
FAILOVER_API const char *failover_error_message(const failover_error *error);

// Of a configuration error: the JSON pointer to the first value that is wrong, such as "/services/0/name".
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the error; NULL where there is none.
FAILOVER_API const char *failover_error_path(const failover_error *error);

// The whole error as one JSON object: code, message, path, retriable, and under "errors" every mistake of a
// configuration, each with path, value, reason and remedy.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the error; NULL for NULL.
FAILOVER_API const char *failover_error_json(const failover_error *error);

// True if the same call may succeed later without a change.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value.
FAILOVER_API bool failover_error_is_retriable(const failover_error *error);

// Frees an error. NULL is allowed.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: takes the error; its strings die with it.
FAILOVER_API void failover_error_free(failover_error *error);

// The version of the interface that the library has: FAILOVER_ABI_VERSION of the header it was built with. A program
// needs the same major number and at least the minor one of its own header.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value.
FAILOVER_API uint32_t failover_abi_version(void);

// The version of the library, such as "1.2.3".
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a static string.
FAILOVER_API const char *failover_version(void);

// Makes an engine from a configuration in JSON of `len` bytes (docs/CONFIG.md; the schema is failover.schema.json). It
// starts nothing: no thread, no connection. The engine keeps events from here on until the program takes them.
//
// Errors: FAILOVER_CONFIG (failover_error_json tells every mistake at once), FAILOVER_INVALID_ARG, FAILOVER_SYSTEM.
//
// Thread: any.
// Blocks: while files named by the configuration are read.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_engine_free; config is copied.
FAILOVER_API int32_t failover_engine_new(const char *config, size_t len, failover_engine **out, failover_error **err);

// As failover_engine_new, from a file in TOML or JSON: what `failover run` reads.
//
// Thread: any.
// Blocks: while files are read.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_engine_free.
FAILOVER_API int32_t failover_engine_new_from_file(const char *path, failover_engine **out, failover_error **err);

// Takes the state directory, starts the threads and begins to watch. An engine starts once. Its threads block every
// signal; the caller's mask is as before.
//
// Errors: FAILOVER_STATE when it was started before, when a stop was asked for, and when another engine holds the state
// directory (then retriable); FAILOVER_INVALID_ARG when a check of kind "host" asks for a function that was neither
// registered (failover_engine_register_check) nor offered (failover_engine_offer_check); FAILOVER_SYSTEM when threads
// cannot be made. A journal that cannot be written is no error here: the engine watches, begins no failover, and
// reports why.
//
// Thread: any.
// Blocks: for milliseconds.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_start(const failover_engine *engine, failover_error **err);

// Stops: a failover before its point of no return is undone, one behind it finishes its step; then every thread ends.
// With FAILOVER_OK no thread of the engine exists, no callback runs or will run, and engine_stopped was the last event.
// Stopping again is FAILOVER_OK.
//
// Errors: FAILOVER_TIMEOUT: it is still stopping; call again to wait again. FAILOVER_REENTRANT on a thread of the
// engine.
//
// Thread: any but the engine's own.
// Blocks: up to timeout_ms (0: not at all; FAILOVER_FOREVER).
// In callback: no, use failover_engine_request_stop.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_stop(const failover_engine *engine, uint32_t timeout_ms, failover_error **err);

// Begins to stop and returns at once. The only function that a signal handler may call. On NULL, and in a child of
// fork, nothing happens. Before the start it makes the start fail.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API void failover_engine_request_stop(const failover_engine *engine);

// Frees an engine. One that runs is stopped first, for five seconds at most: call failover_engine_stop before. On a
// thread of the engine (a callback) it does not wait: the last of its threads to end frees what is left. In a child of
// fork it frees no memory, on purpose, and lets go of the lock on the state directory, which the child would hold
// beyond its parent's death: a program that forks and does not execute calls it there, for example by pthread_atfork.
// NULL is allowed.
//
// Thread: any, once, with no other call on it.
// Blocks: up to five seconds if it runs.
// In callback: yes.
// Ownership: takes the engine.
FAILOVER_API void failover_engine_free(failover_engine *engine);

// The present state of the engine and all services.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_status_free.
FAILOVER_API int32_t failover_engine_status(const failover_engine *engine, failover_status **out, failover_error **err);

// As failover_engine_status, for this service alone: the cost does not grow with the number of services.
//
// Errors: FAILOVER_INVALID_ARG for an unknown name.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_status_free.
FAILOVER_API int32_t failover_engine_status_of(const failover_engine *engine, const char *service,
                                               failover_status **out, failover_error **err);

// The next event, waiting for it up to timeout_ms (0: not at all; FAILOVER_FOREVER). The queue is bounded, and the
// engine never waits for it: a slow reader loses single observations and log lines first, and an event of kind
// FAILOVER_EVENT_OVERFLOW reports this.
//
// Errors: FAILOVER_EMPTY when none came in time or failover_engine_wake was called; FAILOVER_STATE after the last event
// of a stopped engine, and when the events go to a callback.
//
// Thread: any.
// Blocks: up to timeout_ms.
// In callback: not of the events; yes in a task function.
// Ownership: *out is the caller's, to be given to failover_event_free.
FAILOVER_API int32_t failover_engine_next_event(const failover_engine *engine, uint32_t timeout_ms,
                                                failover_event **out, failover_error **err);

// A file descriptor that is readable while an event waits, and for ever once the engine has stopped: for poll, epoll,
// or a loop of one's own. Take events with failover_engine_next_event and timeout 0 until it says FAILOVER_EMPTY.
//
// Errors: FAILOVER_STATE when the events go to a callback.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: the engine's, until it is freed: never read, write or close it.
FAILOVER_API int32_t failover_engine_event_fd(const failover_engine *engine, int *out, failover_error **err);

// Makes a waiting failover_engine_next_event return FAILOVER_EMPTY; if no call waits, the next one.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_wake(const failover_engine *engine, failover_error **err);

// Registers `callback` for every event. One thread of the engine calls it, one event at a time, in order, never under a
// lock. If it is registered before the start, it misses no event. Calling it again replaces the callback. The callback
// may call everything but failover_engine_stop, failover_engine_check_all, failover_engine_doctor,
// failover_engine_survived_xid, failover_engine_survived_lsn and failover_engine_next_event, and must not throw or
// longjmp. While it does not return, events pile up as for a slow reader of the queue, and a stop waits for it.
//
// Errors: FAILOVER_STATE when the events are taken by failover_engine_next_event or failover_engine_event_fd, and after
// the stop.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: userdata is the host's; userdata_free (may be NULL) is called exactly once: when the callback is replaced,
// when
//   the engine is freed, or here if this call fails.
FAILOVER_API int32_t failover_engine_on_event(const failover_engine *engine, failover_event_fn callback, void *userdata,
                                              failover_free_fn userdata_free, failover_error **err);

// Confirms the failover of `service` that waits for an operator.
//
// Errors of every command: FAILOVER_REJECTED (the message says why), FAILOVER_INVALID_ARG for an unknown name,
// FAILOVER_STATE when the engine does not run, FAILOVER_FAULTED, FAILOVER_TIMEOUT after ten seconds without an answer.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_confirm(const failover_engine *engine, const char *service, failover_error **err);

// Confirms every failover that waits for an operator.
//
// Errors: as for failover_engine_confirm.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_confirm_all(const failover_engine *engine, failover_error **err);

// Pauses one service, or with NULL all: the engine watches and decides nothing. A pause outlives a restart.
//
// Errors: as for failover_engine_confirm.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_pause(const failover_engine *engine, const char *service, failover_error **err);

// As failover_engine_pause, with a `reason` (one line of at most 500 characters, for status, events and journal; NULL:
// none) and with a time after which the pause ends by itself: `for_ms` from 1 to 2592000000 (30 days), or
// FAILOVER_FOREVER. Then an event of kind FAILOVER_EVENT_OPERATOR_COMMAND reports it, and the engine first observes
// everything again. The pause ends at that moment also after a restart. Another pause replaces reason and time.
//
// Errors: as for failover_engine_confirm. FAILOVER_INVALID_ARG also for a reason or a time out of bounds.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_pause_with(const failover_engine *engine, const char *service, const char *reason,
                                                uint32_t for_ms, failover_error **err);

// Ends the pause of one service, or with NULL of all. The engine first observes everything again.
//
// Errors: as for failover_engine_confirm.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_resume(const failover_engine *engine, const char *service, failover_error **err);

// Returns `service` from manual_intervention or failed_over to watching, and ends its cooldown.
//
// Errors: as for failover_engine_confirm.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_reset(const failover_engine *engine, const char *service, failover_error **err);

// Begins a failover of `service` now, from every state except during a failover. For a healthy primary of a database it
// needs an accepted loss: see failover_engine_switchover. To the server `to`, or with NULL to the best one, losing
// `accept_loss` bytes at most (FAILOVER_LOSS_CONFIGURED: nothing of a primary that lives, else the configured limit;
// 2^50 and more: any loss, also an unknown one). Returns when it has begun; events report the rest.
//
// Errors: as for failover_engine_confirm.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_force(const failover_engine *engine, const char *service, const char *to,
                                           uint64_t accept_loss, failover_error **err);

// As failover_engine_force, and writes the number of the failover that began to `generation`: that of its events, and
// of the status once it is over. Written with FAILOVER_OK alone.
//
// Errors: as for failover_engine_confirm. FAILOVER_NULL_ARG also for `generation`.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_force_with(const failover_engine *engine, const char *service, const char *to,
                                                uint64_t accept_loss, uint64_t *generation, failover_error **err);

// Lets a healthy primary of `service` hand over to the server `to`, or with NULL to the best standby. Nothing is waived
// and no committed row is lost: where it cannot be proven that the standby has the whole log, nobody is promoted and
// the primary is started again. `at_ms`: 0 begins it now; else it begins at that moment, in milliseconds since 1970,
// within the next 30 days. One whose moment passes while no engine runs is reported as missed and does not begin later.
// Writes the number of the failover that began to `generation`, or 0 for one that begins later; it may be NULL. Written
// with FAILOVER_OK alone.
//
// Errors: as for failover_engine_confirm. FAILOVER_REJECTED with everything that prevents it.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_switchover(const failover_engine *engine, const char *service, const char *to,
                                                uint64_t at_ms, uint64_t *generation, failover_error **err);

// Cancels the planned switchover of `service`.
//
// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also when none is planned.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_switchover_cancel(const failover_engine *engine, const char *service,
                                                       failover_error **err);

// Declares `server` of `service`, which takes writes, the primary: use it after FAILOVER_EVENT_OTHER_BRANCH. The engine
// promotes, stops and fences nothing, and moves the traffic to this server.
//
// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also while the server takes no writes, or another one takes
// them as well; FAILOVER_INVALID_ARG also for an unknown server.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_adopt(const failover_engine *engine, const char *service, const char *server,
                                           failover_error **err);

// No failover and no order promotes `server` of `service` from here on, until failover_engine_uncordon. The engine
// observes it as before, and its log counts. A cordon outlives restart and reload.
//
// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also while a failover is in flight; FAILOVER_INVALID_ARG
// also for an unknown server.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_cordon(const failover_engine *engine, const char *service, const char *server,
                                            failover_error **err);

// Ends a cordon: the engine may promote `server` of `service` again.
//
// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also when it is not cordoned; FAILOVER_INVALID_ARG also for
// an unknown server.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_uncordon(const failover_engine *engine, const char *service, const char *server,
                                              failover_error **err);

// Begins to bring `server` of `service`, a former primary that is stopped, back as a standby of the present primary: as
// it is where its log has nothing that the new primary lacks, else by pg_rewind, once for each failover. What only its
// log has is counted, reported (FAILOVER_EVENT_LOST_TRANSACTIONS) and kept before anything is changed.
// FAILOVER_EVENT_REJOIN_ENDED and the status report how it ends. With `dry_run` other than 0 it changes nothing: it
// only finds out what it would do and what prevents it.
//
// Errors: as for failover_engine_confirm. FAILOVER_REJECTED also while a failover is in flight, while the server runs
// or is the primary, and without SSH to both hosts; FAILOVER_INVALID_ARG also for an unknown server.
//
// Since: 0.2.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_rejoin(const failover_engine *engine, const char *service, const char *server,
                                            int32_t dry_run, failover_error **err);

// Begins to bring `server` of `service`, a former primary that is stopped, back as a standby by a new copy of the
// present primary's data. Its own configuration is kept, and its data directory under another name
// (FAILOVER_EVENT_OLD_DATA_KEPT). FAILOVER_EVENT_COPY_PROGRESS tells how far it is, FAILOVER_EVENT_REJOIN_ENDED and the
// status how it ends. With `dry_run` other than 0 nothing is changed: it is only found out what would be done and what
// stands in the way.
//
// Errors: as for failover_engine_rejoin.
//
// Since: 0.2.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_rebuild(const failover_engine *engine, const char *service, const char *server,
                                             int32_t dry_run, failover_error **err);

// Begins to make `server` of `service`, in whose data directory nothing is, a standby of the present primary by a first
// copy of its data. FAILOVER_EVENT_COPY_PROGRESS tells how far it is, FAILOVER_EVENT_REJOIN_ENDED and the status how it
// ends. With `dry_run` other than 0 nothing is changed: it is only found out what would be done and what stands in the
// way.
//
// Errors: as for failover_engine_rejoin.
//
// Since: 0.2.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_clone(const failover_engine *engine, const char *service, const char *server,
                                           int32_t dry_run, failover_error **err);

// Takes another configuration in JSON while the engine runs. Counters restart. A configuration with mistakes changes
// nothing. Register or offer before what its checks of kind "host" ask for.
//
// Errors: FAILOVER_CONFIG; FAILOVER_INVALID_ARG when a check asks for a function that nobody answers; FAILOVER_STATE
// when something differs that is fixed at start (state_dir) or the engine does not run; FAILOVER_REJECTED while a
// failover is in flight.
//
// Thread: any.
// Blocks: while files are read, and for milliseconds.
// In callback: yes.
// Ownership: config is copied.
FAILOVER_API int32_t failover_engine_reload(const failover_engine *engine, const char *config, size_t len,
                                            failover_error **err);

// As failover_engine_reload, from a file in TOML or JSON: what `failover run` reads at SIGHUP. A relative path is one
// of the process.
//
// Errors: as for failover_engine_reload; FAILOVER_CONFIG also when the file cannot be read.
//
// Thread: any.
// Blocks: while files are read, and for milliseconds.
// In callback: yes.
// Ownership: path is copied.
FAILOVER_API int32_t failover_engine_reload_from_file(const failover_engine *engine, const char *path,
                                                      failover_error **err);

// What kind of event it is: FAILOVER_EVENT_*. A newer library may have kinds that are not in this header: ignore or log
// them.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for NULL.
FAILOVER_API int32_t failover_event_kind(const failover_event *event);

// The word for a kind, such as "failover_completed", as in JSON and logs; "unknown" for any other number.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a static string.
FAILOVER_API const char *failover_event_kind_name(int32_t kind);

// The kind at a place in the list of all, from 0; 0, which is no kind, behind the last.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value.
FAILOVER_API int32_t failover_event_kind_at(size_t index);

// Its severity: FAILOVER_SEVERITY_*.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for NULL.
FAILOVER_API int32_t failover_event_severity(const failover_event *event);

// Its sequence number, strictly increasing from 1. A gap means that events were dropped; an event of kind
// FAILOVER_EVENT_OVERFLOW fills it.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for NULL and for the event of a task function.
FAILOVER_API uint64_t failover_event_seq(const failover_event *event);

// Wall-clock time in nanoseconds since 1970 (CLOCK_REALTIME), to a microsecond; for people only.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for NULL.
FAILOVER_API uint64_t failover_event_time_ns(const failover_event *event);

// Nanoseconds on the engine's monotonic clock, since the engine was made.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for NULL.
FAILOVER_API uint64_t failover_event_mono_ns(const failover_event *event);

// The number of the failover it belongs to, or of the service's last one; 0 before the first.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for NULL.
FAILOVER_API uint64_t failover_event_generation(const failover_event *event);

// The service it belongs to.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the event; NULL where there is none.
FAILOVER_API const char *failover_event_service(const failover_event *event);

// The server it belongs to.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the event; NULL where there is none.
FAILOVER_API const char *failover_event_server(const failover_event *event);

// The host of that server by configuration: a name, an address, or the folder of its UNIX socket, which begins with
// '/'.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the event; NULL where there is no server.
FAILOVER_API const char *failover_event_host(const failover_event *event);

// The port of that server by configuration.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 where there is no server.
FAILOVER_API uint16_t failover_event_port(const failover_event *event);

// One sentence for people.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the event; NULL for NULL.
FAILOVER_API const char *failover_event_message(const failover_event *event);

// The whole event as one JSON object: seq, time, mono_ns, generation, kind, severity, service, server, its host and
// port, message, and under "fields" the fields of its kind.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the event; NULL for NULL.
FAILOVER_API const char *failover_event_json(const failover_event *event);

// For FAILOVER_EVENT_TASK_CHECK and FAILOVER_EVENT_TASK_ACTION: the number for failover_task_complete. It is never
// reused.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for every other event.
FAILOVER_API uint64_t failover_event_task_id(const failover_event *event);

// For a task: the time that was left until its deadline when the event was made, in milliseconds. A later answer
// changes nothing.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for every other event.
FAILOVER_API uint64_t failover_event_deadline_ms(const failover_event *event);

// Another object for the same event, to keep it beyond a callback or to give it to another thread.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: the caller's, to be freed; NULL for NULL.
FAILOVER_API failover_event *failover_event_ref(const failover_event *event);

// Frees an event that was given out by failover_engine_next_event or failover_event_ref, never one of a callback. NULL
// is allowed.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: takes the event; its strings die with it.
FAILOVER_API void failover_event_free(failover_event *event);

// The whole status as one JSON object: the output of `failover status --json`.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the status; NULL for NULL.
FAILOVER_API const char *failover_status_json(const failover_status *status);

// Its numbers in Prometheus' text format, as `failover metrics` prints them; with `details` also what each server, each
// check and each circuit breaker says by itself.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the status; NULL for NULL.
FAILOVER_API const char *failover_status_metrics(const failover_status *status, bool details);

// How many services there are.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 for NULL and before the start.
FAILOVER_API size_t failover_status_service_count(const failover_status *status);

// The name of the service at a place, from 0, in the order of the configuration.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the status; NULL where there is none.
FAILOVER_API const char *failover_status_service(const failover_status *status, size_t index);

// The state of a service (NULL: the first): "normal", "degraded", "failing", "failover_in_progress", "failed_over" or
// "manual_intervention".
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the status; NULL where there is no such service.
FAILOVER_API const char *failover_status_state(const failover_status *status, const char *service);

// The name of the primary of a service (NULL: the first), once it is known.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the status; NULL where it is not known.
FAILOVER_API const char *failover_status_primary(const failover_status *status, const char *service);

// The host of the primary of a service (NULL: the first) by configuration: a name, an address, or the folder of its
// UNIX socket, which begins with '/'.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the status; NULL where the primary is not known.
FAILOVER_API const char *failover_status_primary_host(const failover_status *status, const char *service);

// The port of the primary of a service (NULL: the first) by configuration.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 where the primary is not known.
FAILOVER_API uint16_t failover_status_primary_port(const failover_status *status, const char *service);

// The number of the last failover of a service (NULL: the first); 0 before the first.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; 0 where there is no such service.
FAILOVER_API uint64_t failover_status_generation(const failover_status *status, const char *service);

// The health of the primary of a service (NULL: the first): "unknown", "healthy", "degraded" or "unhealthy".
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the status; NULL where there is no such service.
FAILOVER_API const char *failover_status_health(const failover_status *status, const char *service);

// True while a failover of a service (NULL: the first) would go through if its primary died now, as far as it can be
// known beforehand. failover_status_json says under "forecast" to whom and with what loss, or exactly why not.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; false where there is no such service.
FAILOVER_API bool failover_status_would_fail_over(const failover_status *status, const char *service);

// Frees a status. NULL is allowed.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: takes the status; its strings die with it.
FAILOVER_API void failover_status_free(failover_status *status);

// Every check once, and then whether a failover of each service would go through: what `failover check --json` prints
// (docs/STATUS.md, CheckSummary). Asks each server over SQL and its checks, each host over SSH, each load balancer, and
// who answers through the route. Works before the start and beside a running engine, and changes nothing. Checks that
// are registered (failover_engine_register_check) are asked; of those that are offered as events counts what was last
// answered, and before the start they are unknown. failover_report_passed: everything is up, and nothing would stop a
// failover.
//
// An engine runs one report at a time: a second call waits for the first. failover_engine_stop and
// failover_engine_request_stop end it.
//
// Errors: FAILOVER_TIMEOUT when timeout_ms was not enough for all of it, and there is no report: give it more, nothing
// goes on meanwhile; FAILOVER_STATE when the engine was stopped, also meanwhile; FAILOVER_REENTRANT on a thread of the
// engine; FAILOVER_SYSTEM.
//
// Thread: any but the engine's own.
// Blocks: up to timeout_ms; for seconds where servers or hosts do not answer.
// In callback: no.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_engine_check_all(const failover_engine *engine, uint32_t timeout_ms,
                                               failover_report **out, failover_error **err);

// What would hurt a failover of one service, why, and what mends it: what `failover doctor --json` prints
// (docs/STATUS.md, DoctorReport). It asks what failover_engine_check_all asks, of `service` alone, or with NULL of the
// one service that there is. failover_report_passed: nothing is blocking.
//
// Errors: as for failover_engine_check_all; FAILOVER_INVALID_ARG for an unknown name, and for NULL where there are
// several services.
//
// Thread: any but the engine's own.
// Blocks: up to timeout_ms; for seconds where servers or hosts do not answer.
// In callback: no.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_engine_doctor(const failover_engine *engine, const char *service, uint32_t timeout_ms,
                                            failover_report **out, failover_error **err);

// The preflight of a switchover of `service` to the server `to`, or with NULL to the best standby: what
// `failover switchover --dry-run --json` prints (docs/SWITCHOVER.md). Changes nothing. failover_report_passed: it would
// begin.
//
// Errors: as for failover_engine_confirm.
//
// Thread: any.
// Blocks: for milliseconds, ten seconds at most.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_engine_switchover_preflight(const failover_engine *engine, const char *service,
                                                          const char *to, failover_report **out, failover_error **err);

// Whether a commit of `service` whose answer nobody received survived the last failovers: what `failover survived
// --json` prints (docs/SURVIVED.md). xid: what pg_current_xact_id() said inside the transaction; timeline: the one on
// which it ran, or 0 where that is not known. failover_report_passed: it survived; read "survived" for the other two
// answers, "no" and "unknown".
//
// Errors: FAILOVER_INVALID_ARG for an unknown service, one that is no database, and a number that no transaction has;
// FAILOVER_STATE when the engine was never started; FAILOVER_REENTRANT on a thread of the engine; FAILOVER_SYSTEM.
//
// Since: 0.2.
//
// Thread: any but the engine's own.
// Blocks: for milliseconds; up to 5 s where the primary does not answer.
// In callback: no.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_engine_survived_xid(const failover_engine *engine, const char *service, uint64_t xid,
                                                  uint32_t timeline, failover_report **out, failover_error **err);

// The same of everything in the log before the position `lsn` ("0/3000148") of `timeline`.
//
// Errors: as for failover_engine_survived_xid; FAILOVER_INVALID_ARG also for a text that is no position.
//
// Since: 0.2.
//
// Thread: any but the engine's own.
// Blocks: for milliseconds; up to 5 s where the primary does not answer.
// In callback: no.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_engine_survived_lsn(const failover_engine *engine, const char *service, const char *lsn,
                                                  uint32_t timeline, failover_report **out, failover_error **err);

// The configuration in force, that of the last reload, with every default filled in: what `failover validate
// --print-effective --json` prints. Secrets are masked, or named by where they are found. failover_report_passed: true.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_engine_config(const failover_engine *engine, failover_report **out, failover_error **err);

// Everything that is wrong with a configuration in JSON of `len` bytes, and what it is warned of: what `failover
// validate --json` prints (docs/STATUS.md, Validation). A configuration with mistakes is no error of this call:
// failover_report_passed is false then.
//
// Errors: FAILOVER_INVALID_ARG when it is no UTF-8.
//
// Thread: any.
// Blocks: while files named by the configuration are read.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_report_free; config is copied.
FAILOVER_API int32_t failover_config_validate(const char *config, size_t len, failover_report **out,
                                              failover_error **err);

// As failover_config_validate, of a file in TOML or JSON. One that cannot be read is a mistake in the report.
//
// Errors: FAILOVER_INVALID_ARG when the path is no UTF-8.
//
// Thread: any.
// Blocks: while files are read.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_config_validate_from_file(const char *path, failover_report **out, failover_error **err);

// A configuration in JSON of `len` bytes with every default filled in, as failover_engine_config gives that of an
// engine.
//
// Errors: FAILOVER_CONFIG (failover_error_json tells every mistake at once), FAILOVER_INVALID_ARG.
//
// Thread: any.
// Blocks: while files named by the configuration are read.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_report_free; config is copied.
FAILOVER_API int32_t failover_config_effective(const char *config, size_t len, failover_report **out,
                                               failover_error **err);

// As failover_config_effective, of a file in TOML or JSON.
//
// Errors: as for failover_config_effective; FAILOVER_CONFIG also when the file cannot be read.
//
// Thread: any.
// Blocks: while files are read.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_config_effective_from_file(const char *path, failover_report **out, failover_error **err);

// Replays the record of a decision: what `failover replay --json` prints (docs/STATUS.md, ReplayReport). Engines leave
// a record of every failover that begins or is refused in evidence/ of their state_dir. failover_report_passed: this
// version comes to the same decision, bit for bit.
//
// Errors: FAILOVER_INVALID_ARG when the file cannot be read, or is no record that this version understands.
//
// Thread: any.
// Blocks: while the file is read, and for some milliseconds of work.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_report_free.
FAILOVER_API int32_t failover_replay(const char *path, failover_report **out, failover_error **err);

// The report as one JSON object; each function that gives one says which.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: borrowed from the report; NULL for NULL.
FAILOVER_API const char *failover_report_json(const failover_report *report);

// True if the report is good, as the exit code of the command line shows it. Each function that gives a report says
// what this means.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value; false for NULL.
FAILOVER_API bool failover_report_passed(const failover_report *report);

// Frees a report. NULL is allowed.
//
// Thread: one at a time.
// Blocks: no.
// In callback: yes.
// Ownership: takes the report; its text dies with it.
FAILOVER_API void failover_report_free(failover_report *report);

// Has checks of kind "host" called `name` (their "function", or their own name) answered by `function`. One that has
// not returned by the deadline is unknown, with an alarm that names it, and is not called again before it is back; it
// counts for nothing.
//
// Every name that checks ask for has to be registered or offered (failover_engine_offer_check) before the start, which
// fails otherwise. Once the engine runs, what a later configuration asks for can be registered for
// failover_engine_reload. The status has the names of the present one under "host_functions", also before the start.
//
// Errors: before the start FAILOVER_INVALID_ARG when no check has that name; then FAILOVER_STATE when the name is
// answered already, and after the stop.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: userdata is the host's; userdata_free (may be NULL) is called exactly once: when the function is replaced,
// when
//   the engine is freed, or here if this call fails.
FAILOVER_API int32_t failover_engine_register_check(const failover_engine *engine, const char *name,
                                                    failover_task_fn function, void *userdata,
                                                    failover_free_fn userdata_free, failover_error **err);

// As failover_engine_register_check, but each run of such a check is an event of kind FAILOVER_EVENT_TASK_CHECK, to be
// answered by failover_task_complete. One that is not answered by its deadline is unknown, and counts for nothing.
//
// Errors: as for failover_engine_register_check; offering again what was offered is none.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_offer_check(const failover_engine *engine, const char *name, failover_error **err);

// Has the step `step` of every service carried out by `function`: "promote" instead of the engine's own way; "fence"
// where fence.command would be asked, so it must cut power or volume; "pre_checks" before what is configured, and
// "route_out", "route_restore", "route_in" beside it. An action may be asked again with the same generation:
// (generation, step) is its idempotency key, and one with a lower generation than the highest seen must be refused.
//
// One that has not returned by its deadline (failover_event_deadline_ms) has failed: the failover_timeout of the
// service for "pre_checks" (usual: 120 s), fence.command_timeout for "fence" (10 s), promote.timeout for "promote" (60
// s), 3 s for the steps of the route, 0.2 s for "route_out" before a fence.
//
// Errors: FAILOVER_STATE once started; FAILOVER_INVALID_ARG for any other step.
//
// Thread: any, before the start.
// Blocks: no.
// In callback: yes.
// Ownership: as for failover_engine_register_check.
FAILOVER_API int32_t failover_engine_register_action(const failover_engine *engine, const char *step,
                                                     failover_task_fn function, void *userdata,
                                                     failover_free_fn userdata_free, failover_error **err);

// As failover_engine_register_action, but the step is an event of kind FAILOVER_EVENT_TASK_ACTION, to be answered by
// failover_task_complete.
//
// Errors: FAILOVER_STATE once started; FAILOVER_INVALID_ARG for any other step.
//
// Thread: any, before the start.
// Blocks: no.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_offer_action(const failover_engine *engine, const char *step,
                                                  failover_error **err);

// Answers a task: `result` is FAILOVER_TASK_*, `detail` one line of `len` bytes (NULL with 0: none). No answer by the
// deadline: a check is unknown, which counts for nothing; of an action the step failed.
//
// Errors: FAILOVER_UNKNOWN_TASK for a late, repeated or invented task: without any effect.
//
// Thread: any, at any time.
// Blocks: no.
// In callback: yes.
// Ownership: detail is copied.
FAILOVER_API int32_t failover_task_complete(const failover_engine *engine, uint64_t task_id, int32_t result,
                                            const char *detail, size_t len, failover_error **err);

// Reports how a call of the host program to `server` of `service` ended (FAILOVER_OUTCOME_*); server NULL is the
// primary. One more observer: a call that timed out, was refused or reset makes the engine look at once and stands for
// one observation of its own; served calls double what a failure needs to be believed. Neither decides alone. It may be
// called for every call: the engine counts reports, and evaluates them at most ten times a second.
//
// Errors: FAILOVER_INVALID_ARG for an unknown name or outcome, FAILOVER_STATE when the engine does not run.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_engine_report_outcome(const failover_engine *engine, const char *service,
                                                    const char *server, int32_t outcome, failover_error **err);

// Makes a closed breaker: it opens after `failure_threshold` failures in a row (usual: 5), permits nothing for
// `recovery_ms` milliseconds (usual: 30000), then `half_open_requests` requests (usual: 3); when all of those succeed
// it closes, and one that fails opens it again.
//
// Errors: FAILOVER_INVALID_ARG when one of them is 0.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: *out is the caller's, to be given to failover_breaker_free.
FAILOVER_API int32_t failover_breaker_new(uint32_t failure_threshold, uint32_t recovery_ms, uint32_t half_open_requests,
                                          failover_breaker **out, failover_error **err);

// Asks whether a request may be made now. With FAILOVER_OK it may: give `*token` to failover_breaker_settle afterwards,
// once. A half-open one that is not given back comes back after recovery_ms.
//
// Errors: FAILOVER_REJECTED (retriable): not now; failover_error_json has "retry_after_ms".
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value.
FAILOVER_API int32_t failover_breaker_permit(const failover_breaker *breaker, uint64_t *token, failover_error **err);

// Reports how a permitted request ended: FAILOVER_BREAKER_SUCCESS, _FAILURE or _CANCELLED. Unknown and late tokens have
// no effect.
//
// Errors: FAILOVER_INVALID_ARG for any other result.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API int32_t failover_breaker_settle(const failover_breaker *breaker, uint64_t token, int32_t result,
                                             failover_error **err);

// FAILOVER_BREAKER_CLOSED, _OPEN or _HALF_OPEN; 0 for NULL and in a child of fork.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: a plain value.
FAILOVER_API int32_t failover_breaker_state(const failover_breaker *breaker);

// Closes a breaker, because the program knows that something has changed. NULL is allowed.
//
// Thread: any.
// Blocks: no.
// In callback: yes.
// Ownership: nothing changes hands.
FAILOVER_API void failover_breaker_reset(const failover_breaker *breaker);

// Frees a breaker. NULL is allowed.
//
// Thread: any, once, with no other call on it.
// Blocks: no.
// In callback: yes.
// Ownership: takes the breaker.
FAILOVER_API void failover_breaker_free(failover_breaker *breaker);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FAILOVER_H */
