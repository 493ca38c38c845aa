//! What would hurt at failover time, asked while all is well (rules 23, 37, 65, 68, 89, 92, 94).

use super::held_replay::Holders;
use super::sync_survey;
use super::{Cluster, Server, quoted};
use crate::action::server_identity::ServerIdentity;
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Rows};
use failover_core::finding::FindingCode;
use failover_core::id::ServerId;
use failover_core::output::Failure;
use failover_core::sample::ReadinessFinding;

/// A receiver that stays quiet for longer hides a dead link from the confirmation (rule 65).
const RECEIVER_TIMEOUT_MS: u64 = 10_000;
/// Without the right to nudge, the stall of rule 89 lasts as long as this setting.
const RETRY_INTERVAL_MS: u64 = 500;
/// Settings that a standby must not have lower than its primary: recovery stops there, or the server does not start (rule 23).
const NOT_LOWER: [&str; 5] =
    ["max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction"];

/// A certificate with less than this left should have been renewed by now.
const CERTIFICATE_DAYS: i64 = 30;

const SURVEY_SQL: &str = "\
SELECT current_user AS role,
       (SELECT system_identifier FROM pg_control_system()) AS system_id,
       current_setting('port') AS port,
       (SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'checkpointer') AS checkpointer,
       current_setting('server_version_num') AS version,
       current_setting('is_superuser') AS superuser,
       pg_is_in_recovery() AS in_recovery,
       coalesce(has_function_privilege(to_regprocedure('pg_catalog.pg_promote(boolean,integer)'), 'EXECUTE'), false) AS promote,
       has_function_privilege('pg_reload_conf()', 'EXECUTE') AS reload,
       pg_has_role('pg_monitor', 'USAGE') AS monitor,
       CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS paused,
       (SELECT setting FROM pg_settings WHERE name = 'recovery_min_apply_delay') AS apply_delay,
       (SELECT setting FROM pg_settings WHERE name = 'wal_receiver_timeout') AS receiver_timeout,
       (SELECT setting FROM pg_settings WHERE name = 'wal_retrieve_retry_interval') AS retry_interval,
       (SELECT setting FROM pg_settings WHERE name = 'max_connections') AS max_connections,
       (SELECT setting FROM pg_settings WHERE name = 'max_worker_processes') AS max_worker_processes,
       (SELECT setting FROM pg_settings WHERE name = 'max_wal_senders') AS max_wal_senders,
       (SELECT setting FROM pg_settings WHERE name = 'max_prepared_transactions') AS max_prepared_transactions,
       (SELECT setting FROM pg_settings WHERE name = 'max_locks_per_transaction') AS max_locks_per_transaction,
       current_setting('synchronous_standby_names') AS sync_names,
       current_setting('fsync') AS fsync,
       current_setting('wal_log_hints') AS wal_log_hints,
       current_setting('data_checksums') AS data_checksums,
       current_setting('default_transaction_read_only') AS read_only,
       current_setting('archive_mode') AS archive_mode,
       current_setting('reserved_connections', true) AS reserved,
       pg_has_role(to_regrole('pg_use_reserved_connections'), 'USAGE') AS may_use_reserved,
       (SELECT failed_count FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')) AS archive_failures,
       (SELECT count(*) FROM pg_stat_wal_receiver) AS receivers,
       (SELECT string_agg(slot_name, ', ' ORDER BY slot_name) FROM pg_replication_slots WHERE slot_type = 'logical') AS logical_slots,
";

const GATE_RIGHT_SQL: &str = "SELECT has_parameter_privilege('synchronous_standby_names', 'ALTER SYSTEM') AS allowed";

/// What a server had to say in quiet times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surveyed {
    /// Each thing that would hurt at failover time.
    pub findings: Vec<ReadinessFinding>,
    /// Which server it is.
    pub identity: ServerIdentity,
}
/// How many finished segments wait for the archive; members of pg_monitor may ask.
const BACKLOG_SQL: &str = "SELECT count(*) AS waiting FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
/// More than these are no longer the ordinary few of a busy moment: 512 MiB at the default size.
const BACKLOG: u64 = 32;

/// What one server said.
struct Answer {
    rows: Rows,
    may_open_gate: bool,
    /// Segments that wait for the archive.
    backlog: Option<u64>,
    /// Of a standby whose replay stands: what keeps it, where that can be seen.
    holders: Option<Holders>,
    /// Seconds that the certificates have left, those of the server and our own.
    certificate: Option<i64>,
    own_certificate: Option<i64>,
}

impl Answer {
    fn get(&self, column: &str) -> Option<&str> {
        self.rows.get(0, column)
    }

    fn is(&self, column: &str) -> bool {
        self.get(column) == Some("t")
    }

    fn number(&self, column: &str) -> Option<u64> {
        self.get(column)?.parse().ok()
    }
}

impl Cluster {
    /// Each thing on `server` that would hurt at failover time: missing rights, settings, slots. With `primary`, also what can only be
    /// seen by comparing the two. `replay_stands`: its replay has not moved for some seconds, by its samples. Changes nothing. Codes are
    /// stable names.
    ///
    /// # Errors
    /// When `server` cannot be asked. A primary that cannot be asked is left out: the checks report it.
    pub(crate) fn survey(
        &self,
        server: ServerId,
        primary: Option<ServerId>,
        candidates: usize,
        replay_stands: bool,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Surveyed, Failure> {
        let place = self.server(server)?;
        let answer =
            self.ask_survey(place, replay_stands, deadline, cancel).map_err(|error| super::untouched(&place.name, &error))?;
        let primary = match primary.filter(|primary| *primary != server) {
            Some(primary) => {
                let place = self.server(primary)?;
                self.ask_survey(place, false, deadline, cancel).ok().map(|answer| (place.name.as_str(), answer))
            }
            None => None,
        };
        let primary = primary.as_ref().map(|(name, answer)| (*name, answer));
        let identity = ServerIdentity {
            system_id: answer.number("system_id"),
            port: answer.number("port").and_then(|port| u16::try_from(port).ok()),
            checkpointer: answer.number("checkpointer").and_then(|pid| u32::try_from(pid).ok()),
        };
        Ok(Surveyed {
            findings: findings(
                &place.name,
                &answer,
                primary,
                (candidates, self.servers.len().saturating_sub(1)),
                self.promotes_by_sql,
            ),
            identity,
        })
    }

    /// On a session of its own: a survey may run beside a failover and must not take its kept sessions away.
    fn ask_survey(&self, place: &Server, replay_stands: bool, deadline: Deadline, cancel: &Cancel) -> Result<Answer, Error> {
        let mut session = self.connect(&place.target, deadline, cancel)?;
        let rows = session.query(&format!("{SURVEY_SQL}{}", sync_survey::COLUMNS), deadline, cancel)?;
        let number = |column: &str| rows.get(0, column).and_then(|value| value.parse::<u32>().ok());
        // Before PostgreSQL 15 the right cannot be granted, and the function that asks about it does not exist.
        let may_open_gate = rows.get(0, "superuser") == Some("on")
            || number("version").is_some_and(|version| version >= 150_000)
                && session.query(GATE_RIGHT_SQL, deadline, cancel)?.get(0, "allowed") == Some("t");
        let archives = rows.get(0, "archive_mode").is_some_and(|mode| mode != "off") && rows.get(0, "monitor") == Some("t");
        // Before PostgreSQL 12 there is no such function: nothing is said then.
        let backlog = if archives {
            let answer = session.query(BACKLOG_SQL, deadline, cancel);
            answer.ok().and_then(|rows| rows.get(0, "waiting")?.parse().ok())
        } else {
            None
        };
        let holders = if replay_stands { Holders::read(&mut session, deadline, cancel)? } else { None };
        let certificate = session.certificate_left();
        let own_certificate = certificate.and_then(|_| place.target.tls.client_certificate_left());
        Ok(Answer { rows, may_open_gate, backlog, holders, certificate, own_certificate })
    }
}

pub(super) struct Findings<'a> {
    name: &'a str,
    list: Vec<ReadinessFinding>,
}

#[cfg(test)]
impl<'a> Findings<'a> {
    pub(super) fn of(name: &'a str) -> Findings<'a> {
        Findings { name, list: Vec::new() }
    }

    pub(super) fn into_list(self) -> Vec<ReadinessFinding> {
        self.list
    }
}

impl Findings<'_> {
    fn blocking(&mut self, code: FindingCode, message: &str, remedy: impl Into<String>) {
        self.add(code, true, message, remedy.into());
    }

    pub(super) fn warn(&mut self, code: FindingCode, message: &str, remedy: impl Into<String>) {
        self.add(code, false, message, remedy.into());
    }

    fn add(&mut self, code: FindingCode, blocking: bool, message: &str, remedy: String) {
        self.list.push(code.found(blocking, format!("{}: {message}", self.name), remedy));
    }
}

fn findings(
    name: &str,
    answer: &Answer,
    primary: Option<(&str, &Answer)>,
    (candidates, standbys): (usize, usize),
    by_sql: bool,
) -> Vec<ReadinessFinding> {
    let text = |column: &str| answer.get(column).unwrap_or_default();
    let role = quoted(text("role"));
    let mut found = Findings { name, list: Vec::new() };

    // Rights: after a failover every server may be the one to promote or to open, so both roles are asked for all of them.
    if !answer.is("promote") {
        let why = if by_sql {
            format!("role {role} may not call pg_promote, so this server cannot be promoted over SQL")
        } else {
            format!("role {role} may not call pg_promote: promote.method does not need it, a change back to pg_promote would")
        };
        let remedy = format!("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO {role}");
        found.add(FindingCode::PromoteRightMissing, by_sql, &why, remedy);
    }
    if !answer.is("reload") {
        let retry = answer.number("retry_interval").unwrap_or_default();
        let stall = if retry > RETRY_INTERVAL_MS {
            format!(", and a promotion can stall for {retry} ms (wal_retrieve_retry_interval)")
        } else {
            String::new()
        };
        found.warn(
            FindingCode::ReloadRightMissing,
            &format!(
                "role {role} may not call pg_reload_conf, so a server that overheard its promotion cannot be woken gently{stall}"
            ),
            format!("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {role}"),
        );
    }
    if !answer.is("monitor") {
        found.warn(
            FindingCode::MonitorRightMissing,
            &format!("role {role} is no member of pg_monitor: the WAL receiver's state and the startup process are hidden, so progress cannot be seen and promotion may be slower"),
            format!("GRANT pg_monitor TO {role}"),
        );
    }

    // A primary receives nothing: told of the standbys, whoever they are.
    if answer.is("in_recovery")
        && answer.number("receiver_timeout").is_some_and(|timeout| timeout == 0 || timeout > RECEIVER_TIMEOUT_MS)
    {
        found.warn(
            FindingCode::WalReceiverTimeoutLong,
            &format!(
                "wal_receiver_timeout is {} ms: a standby believes that long in a link that is dead",
                text("receiver_timeout")
            ),
            "ALTER SYSTEM SET wal_receiver_timeout = '5s'; SELECT pg_reload_conf()",
        );
    }
    // Settings of this server, whatever its role.
    if text("read_only") == "on" {
        found.blocking(
            FindingCode::ReadOnlyByDefault,
            "default_transaction_read_only is on: a promoted server would refuse writes",
            "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()",
        );
    }
    if text("fsync") == "off" {
        found.warn(
            FindingCode::FsyncOff,
            "fsync is off: what it acknowledges does not survive a crash of its host",
            "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()",
        );
    }
    if text("wal_log_hints") == "off" && text("data_checksums") == "off" {
        found.warn(
            FindingCode::RewindImpossible,
            "neither wal_log_hints nor data checksums are on: a former primary cannot be brought back by pg_rewind, only by a new copy",
            "ALTER SYSTEM SET wal_log_hints = on, then restart",
        );
    }
    if let Some(failures) = answer.number("archive_failures") {
        found.warn(
            FindingCode::ArchiveFailing,
            &format!("the last attempt to archive WAL failed ({failures} failures so far): WAL piles up and a stop takes longer"),
            "read the server's log for the archive command's error",
        );
    }
    if let Some(waiting) = answer.backlog.filter(|waiting| *waiting > BACKLOG) {
        found.warn(
            FindingCode::ArchiveBacklog,
            &format!("{waiting} finished WAL files wait for the archive: archiving is slower than writing, or stands still"),
            "SELECT * FROM pg_stat_archiver; then make archive_command quicker, or mend what it waits for",
        );
    }
    reserved_finding(&mut found, answer.number("reserved"), answer.get("may_use_reserved"), &role);
    certificate_findings(&mut found, answer);
    if let Some(slots) = answer.get("logical_slots").filter(|_| !answer.is("in_recovery")) {
        found.warn(
            FindingCode::LogicalSlots,
            &format!("logical replication slots ({slots}) do not follow a failover before PostgreSQL 17, and then only prepared ones: subscribers would break"),
            "with PostgreSQL 17: failover = true on the slots and sync_replication_slots = on; before: recreate the slots after a failover",
        );
    }
    let sync_names = text("sync_names").trim();
    if !sync_names.is_empty() {
        if candidates < 2 {
            found.warn(
                FindingCode::SyncGate,
                &format!("synchronous_standby_names is '{sync_names}' and there is one standby: after its promotion commits wait until the gate is opened"),
                "leave on_no_sync_standby = \"async\", or add a second standby",
            );
        }
        if !answer.may_open_gate {
            let remedy = if answer.number("version").is_some_and(|version| version >= 150_000) {
                format!("GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO {role}")
            } else {
                "before PostgreSQL 15 that needs a superuser: use on_no_sync_standby = \"block\", or clear it by hand after a failover".to_owned()
            };
            found.warn(
                FindingCode::SyncGateRightMissing,
                &format!("role {role} may not clear synchronous_standby_names, so commits would go on waiting"),
                remedy,
            );
        }
    }

    if answer.is("in_recovery") {
        standby_findings(&mut found, answer, primary);
    } else {
        let receivers = answer.get("receivers_by_name").and_then(|text| serde_json::from_str(text).ok());
        let told = sync_survey::Synchronous {
            names: sync_names,
            commit: text("sync_commit"),
            overridden: answer.get("sync_commit_overridden"),
            functions: answer.get("sync_commit_functions"),
            // Nobody receives, or the role may not see who does.
            receivers: receivers.or_else(|| answer.is("monitor").then(Vec::new)),
            own: [name, text("cluster_name")],
            standbys,
        };
        sync_survey::findings(&mut found, &told);
    }
    found.list
}

/// From PostgreSQL 16 on places can be kept, and whoever keeps some means them for the like of us.
fn reserved_finding(found: &mut Findings<'_>, reserved: Option<u64>, may_use: Option<&str>, role: &str) {
    if reserved.is_some_and(|reserved| reserved > 0) && may_use == Some("f") {
        found.warn(
            FindingCode::ReservedPlacesClosed,
            &format!("role {role} may not use the places that reserved_connections keeps: where clients take all others, it does not get in"),
            format!("GRANT pg_use_reserved_connections TO {role}"),
        );
    }
}

/// Certificates that are at their end, or near it.
fn certificate_findings(found: &mut Findings<'_>, answer: &Answer) {
    let near = |left: Option<i64>| left.filter(|left| *left < CERTIFICATE_DAYS * 86_400);
    if let Some(left) = near(answer.certificate) {
        let remedy = "put a new certificate where ssl_cert_file and ssl_key_file point, then SELECT pg_reload_conf()";
        if left < 0 {
            found.warn(
                FindingCode::CertificateExpired,
                &format!("its TLS certificate expired {} days ago", -left / 86_400),
                remedy,
            );
        } else {
            found.warn(
                FindingCode::CertificateExpires,
                &format!("its TLS certificate expires in {} days", left / 86_400),
                remedy,
            );
        }
    }
    if let Some(left) = near(answer.own_certificate) {
        let when = if left < 0 { "has expired".to_owned() } else { format!("expires in {} days", left / 86_400) };
        found.warn(
            FindingCode::ClientCertificateExpires,
            &format!("the engine's own certificate for it (connection.sslcert) {when}"),
            "put a new certificate and key where connection.sslcert and sslkey point; they are read anew",
        );
    }
}

/// What matters only of a standby, and in comparison with its primary.
fn standby_findings(found: &mut Findings<'_>, answer: &Answer, primary: Option<(&str, &Answer)>) {
    if answer.get("paused") == Some("t") {
        found.blocking(
            FindingCode::ReplayPaused,
            "replay is paused: what it received is not yet visible, and somebody paused it for a reason",
            "SELECT pg_wal_replay_resume()",
        );
    }
    if let Some(delay) = answer.number("apply_delay").filter(|delay| *delay > 0) {
        found.blocking(
            FindingCode::ApplyDelayed,
            &format!("recovery_min_apply_delay is {delay} ms: a delayed standby is kept against mistakes, not for failover"),
            "set data.allow_delayed = true, or candidate = false for this server",
        );
    }
    if let Some(holders) = answer.holders.as_ref().filter(|holders| !holders.is_at_the_end()) {
        found.warn(
            FindingCode::ReplayHeld,
            &format!(
                "replay does not move, and there is log to replay: {}. A promotion waits until it has gone on",
                holders.sentence()
            ),
            holders.remedy(),
        );
    }
    if answer.number("receivers") == Some(0) {
        found.warn(
            FindingCode::NotReceiving,
            "no WAL receiver runs: it falls behind with every commit",
            "read its log; check primary_conninfo and the primary's pg_hba.conf",
        );
    }
    let Some((primary_name, primary)) = primary else { return };
    for setting in NOT_LOWER {
        let theirs = primary.number(setting);
        if let (Some(ours), Some(theirs)) = (answer.number(setting), theirs)
            && ours < theirs
        {
            found.blocking(
                FindingCode::SettingLowerThanPrimary,
                &format!("{setting} is {ours}, on {primary_name} {theirs}: replay stops, or the server cannot take the load"),
                format!("ALTER SYSTEM SET {setting} = {theirs}, then restart the standby"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Findings, reserved_finding};

    #[test]
    fn places_that_are_kept_and_closed_to_the_engine_are_told() {
        let told = |reserved, may_use| {
            let mut found = Findings::of("db1");
            reserved_finding(&mut found, reserved, may_use, "failover");
            found.into_list().pop().map(|finding| finding.remedy)
        };
        assert_eq!(told(Some(2), Some("f")).as_deref(), Some("GRANT pg_use_reserved_connections TO failover"));
        assert_eq!([told(Some(2), Some("t")), told(Some(0), Some("f")), told(None, None)], [None, None, None]);
    }
}
