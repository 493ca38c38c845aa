//! What would hurt at failover time, asked while all is well (rules 23, 37, 65, 68, 89, 92, 94).

use super::held_replay::Holders;
use super::set_where::{self, Settings};
use super::{Cluster, Server, is_full, quoted};
use super::{spool_survey, switchover_survey, sync_survey, wal_survey};
use crate::action::server_identity::ServerIdentity;
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::version::{self, Suitability};
use crate::wire::postgres::{Error, Rows, Session, login};
use failover_core::finding::FindingCode;
use failover_core::id::ServerId;
use failover_core::output::Failure;
use failover_core::sample::ReadinessFinding;
use failover_core::switchover::SwitchoverFacts;

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
       current_database() AS database,
       (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = session_user) AS role_limit,
       (SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database()) AS database_limit,
       (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_id,
       pg_catalog.current_setting('port') AS port,
       (SELECT pg_catalog.min(pid) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'checkpointer') AS checkpointer,
       pg_catalog.current_setting('server_version_num') AS version,
       pg_catalog.current_setting('is_superuser') AS superuser,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       coalesce(pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('pg_catalog.pg_promote(boolean,integer)'), 'EXECUTE'), false) AS promote,
       pg_catalog.has_function_privilege('pg_reload_conf()', 'EXECUTE') AS reload,
       pg_catalog.pg_has_role('pg_monitor', 'USAGE') AS monitor,
       pg_catalog.pg_has_role('pg_monitor', 'MEMBER') AS monitor_member,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END AS paused,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'recovery_min_apply_delay') AS apply_delay,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_retrieve_retry_interval') AS retry_interval,
       pg_catalog.current_setting('restore_command', true) AS restore_command,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_connections') AS max_connections,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_worker_processes') AS max_worker_processes,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_wal_senders') AS max_wal_senders,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_prepared_transactions') AS max_prepared_transactions,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_locks_per_transaction') AS max_locks_per_transaction,
       pg_catalog.current_setting('synchronous_standby_names') AS sync_names,
       pg_catalog.current_setting('data_checksums') AS data_checksums,
       pg_catalog.current_setting('reserved_connections', true) AS reserved,
       pg_catalog.pg_has_role(pg_catalog.to_regrole('pg_use_reserved_connections'), 'USAGE') AS may_use_reserved,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_wal_receiver) AS receivers,
       (SELECT pg_catalog.string_agg(slot_name, ', ' ORDER BY slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_type = 'logical') AS logical_slots,
";

const GATE_RIGHT_SQL: &str = "SELECT pg_catalog.has_parameter_privilege('synchronous_standby_names', 'ALTER SYSTEM') AS allowed";

/// What a server had to say in quiet times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surveyed {
    /// Each thing that would hurt at failover time.
    pub findings: Vec<ReadinessFinding>,
    /// Which server it is.
    pub identity: ServerIdentity,
    /// What planned work asks about; `None`: it was not asked.
    pub switchover: Option<SwitchoverFacts>,
}
/// How many finished segments wait for the archive; members of pg_monitor may ask.
const BACKLOG_SQL: &str =
    "SELECT pg_catalog.count(*) AS waiting FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
/// More than these are no longer the ordinary few of a busy moment: 512 MiB at the default size.
const BACKLOG: u64 = 32;

/// What the survey of a server depends on beside the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    /// The one that takes writes now.
    pub primary: Option<ServerId>,
    /// Standbys that may be promoted.
    pub candidates: usize,
    /// Checks of this server that connect to it.
    pub checks: usize,
    /// Its replay has not moved for some seconds, by its samples.
    pub replay_stands: bool,
    /// It may be promoted (`candidate`).
    pub candidate: bool,
    /// Also while it holds replay back (`data.allow_delayed`).
    pub delay_allowed: bool,
    /// Whether it would be pointed to another primary (`data.followers`): there is a third server.
    pub followers: bool,
    /// The engine keeps `synchronous_standby_names` (`data.synchronous`).
    pub keeps_sync_set: bool,
    /// Salvage is tried (`data.salvage`) where the hosts can be asked; `Some(true)`: it is required.
    pub salvage: Option<bool>,
}

/// What one server said.
struct Answer {
    rows: Rows,
    settings: Settings,
    /// It let no new session in: these are the words.
    full: Option<String>,
    /// What is to be said of its version.
    suits: Suitability,
    may_open_gate: bool,
    /// Segments that wait for the archive.
    backlog: Option<u64>,
    /// For a standby: the obstacles to pointing it to another primary, with their remedies.
    unpointable: Option<(String, String)>,
    /// Of a standby whose replay stands: what keeps it, where that can be seen.
    holders: Option<Holders>,
    /// What planned work asks about.
    switchover: SwitchoverFacts,
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

    /// The smallest limit on the sessions of our role, whose limit it is, and what lifts it. A superuser has none.
    fn limit(&self) -> Option<(u64, String, String)> {
        let limit = |column: &str, kind: &str, name: &str| {
            let (limit, name) = (self.number(column)?, quoted(self.get(name)?));
            Some((limit, format!("{kind} {name}"), format!("ALTER {} {name} CONNECTION LIMIT", kind.to_uppercase())))
        };
        if self.get("superuser") == Some("on") {
            return None;
        }
        [limit("role_limit", "role", "role"), limit("database_limit", "database", "database")].into_iter().flatten().min()
    }

    fn archive(&self) -> wal_survey::Archive<'_> {
        let text = |column: &str| self.get(column).unwrap_or_default();
        wal_survey::Archive { mode: text("archive_mode"), command: text("archive_command"), library: text("archive_library") }
    }

    fn is_limited(&self, needed: usize) -> bool {
        self.limit().is_some_and(|(limit, ..)| limit < needed as u64)
    }
}

impl Cluster {
    /// Each thing on `server` that would hurt at failover time: missing rights, settings, slots. With a primary, also what can only be
    /// seen by comparing the two. Changes nothing. Codes are stable names.
    ///
    /// The session is kept until the next survey: where all places are taken when it matters, the steps of a failover have that one.
    ///
    /// # Errors
    /// When `server` cannot be asked. A primary that cannot be asked is left out: the checks report it.
    pub(crate) fn survey(
        &self,
        server: ServerId,
        around: Around,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Surveyed, Failure> {
        let place = self.server(server)?;
        let (session, full) = match self.survey_session(server, place, deadline, cancel) {
            Ok(pair) => pair,
            Err(error) if is_full(&error) && around.primary != Some(server) => {
                let mut found = Findings { name: &place.name, list: Vec::new() };
                no_place_finding(&mut found, &error.to_string(), true, around.candidate);
                return Ok(Surveyed { findings: found.list, identity: ServerIdentity::default(), switchover: None });
            }
            Err(error) => {
                // One that came into being while the server began to shut down.
                self.let_go(server);
                return Err(super::untouched(&place.name, &error));
            }
        };
        let suits = version::suitability(session.parameter("server_version").unwrap_or_default());
        if matches!(suits, Suitability::TooOld(_)) {
            // The questions are not for such a server.
            let mut found = Findings { name: &place.name, list: Vec::new() };
            version_finding(&mut found, &suits);
            return Ok(Surveyed { findings: found.list, identity: ServerIdentity::default(), switchover: None });
        }
        let (mut session, mut answer) = ask_survey(session, place, around.replay_stands, deadline, cancel)
            .map_err(|error| super::untouched(&place.name, &error))?;
        if let Some(primary) = around.primary.filter(|primary| around.followers && *primary != server) {
            answer.unpointable = self
                .repoint_hindrance((server, primary), &mut session, deadline, cancel)
                .map_err(|error| super::untouched(&place.name, &error))?;
        }
        answer.full = full;
        answer.suits = suits;
        if !answer.is_limited(needed(around.checks)) {
            self.spare.lock().insert(server, session);
        }
        let primary = match around.primary.filter(|primary| *primary != server) {
            Some(primary) => {
                let place = self.server(primary)?;
                let asked = self
                    .survey_session(primary, place, deadline, cancel)
                    .and_then(|(session, _)| ask_survey(session, place, false, deadline, cancel));
                asked.ok().map(|(session, answer)| {
                    if answer.full.is_some() {
                        self.spare.lock().insert(primary, session);
                    }
                    (place.name.as_str(), answer)
                })
            }
            None => None,
        };
        let identity = ServerIdentity {
            system_id: answer.number("system_id"),
            port: answer.number("port").and_then(|port| u16::try_from(port).ok()),
            checkpointer: answer.number("checkpointer").and_then(|pid| u32::try_from(pid).ok()),
        };
        let seen = Seen {
            name: &place.name,
            role: quoted(answer.get("role").unwrap_or_default()),
            answer: &answer,
            primary: primary.as_ref().map(|(name, answer)| (*name, answer)),
            around,
            standbys: self.servers.len().saturating_sub(1),
            by_sql: self.promotes_by_sql,
        };
        Ok(Surveyed { findings: seen.findings(), identity, switchover: Some(answer.switchover.clone()) })
    }

    /// A session of its own: a survey may run beside a failover and must not take its kept sessions away. A new one, so that a certificate
    /// or a rule that has changed is seen; where no new one gets in, that of the survey before, with the server's words.
    fn survey_session(
        &self,
        server: ServerId,
        place: &Server,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(Session, Option<String>), Error> {
        match self.connect(&place.target, deadline, cancel) {
            Ok(session) => Ok((session, None)),
            Err(error) if is_full(&error) => {
                let spare = self.spare.lock().remove(&server);
                spare.map(|session| (session, Some(error.to_string()))).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }
}

/// So many sessions at once the engine needs of a server with so many checks: the watch, the survey's, that of a failover's steps, the
/// checks, and one more to see that new ones get in.
fn needed(checks: usize) -> usize {
    4 + checks
}

/// With fewer the steps of a failover may find no place: the watch, one step, and a check beside them.
const LEAST: u64 = 3;

fn ask_survey(
    mut session: Session,
    place: &Server,
    replay_stands: bool,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<(Session, Answer), Error> {
    let rows = session.query(
        &format!("{SURVEY_SQL}{},\n{},\n{}", wal_survey::COLUMNS, sync_survey::COLUMNS, set_where::COLUMN),
        deadline,
        cancel,
    )?;
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
    let switchover = switchover_survey::read(&mut session, deadline, cancel)?;
    let certificate = session.certificate_left();
    let own_certificate = certificate.and_then(|_| place.target.tls.client_certificate_left());
    let text = |column: &str| rows.get(0, column).unwrap_or_default();
    let settings = Settings::parse(rows.get(0, "set_where"), text("role"), text("database"));
    Ok((
        session,
        Answer {
            rows,
            settings,
            full: None,
            suits: Suitability::Tried,
            may_open_gate,
            backlog,
            unpointable: None,
            holders,
            switchover,
            certificate,
            own_certificate,
        },
    ))
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

    pub(super) fn add(&mut self, code: FindingCode, blocking: bool, message: &str, remedy: String) {
        self.list.push(code.found(blocking, format!("{}: {message}", self.name), remedy));
    }
}

/// One server as the survey has seen it.
struct Seen<'a> {
    name: &'a str,
    /// The engine's role, for remedies.
    role: String,
    answer: &'a Answer,
    primary: Option<(&'a str, &'a Answer)>,
    around: Around,
    /// Configured servers but this one.
    standbys: usize,
    by_sql: bool,
}

impl Seen<'_> {
    fn findings(&self) -> Vec<ReadinessFinding> {
        let Seen { answer, .. } = self;
        let mut found = Findings { name: self.name, list: Vec::new() };
        version_finding(&mut found, &answer.suits);
        self.rights(&mut found);
        self.places(&mut found);
        self.settings(&mut found);
        self.log(&mut found);
        reserved_finding(&mut found, answer.number("reserved"), answer.get("may_use_reserved"), &self.role);
        certificate_findings(&mut found, answer);
        if let Some(slots) = answer.get("logical_slots").filter(|_| !answer.is("in_recovery")) {
            found.warn(
                FindingCode::LogicalSlots,
                &format!("logical replication slots ({slots}) do not follow a failover before PostgreSQL 17, and then only prepared ones: subscribers would break"),
                "with PostgreSQL 17: failover = true on the slots and sync_replication_slots = on; before: recreate the slots after a failover",
            );
        }
        self.sync_gate(&mut found);
        if answer.is("in_recovery") {
            standby_findings(&mut found, answer, self.primary, self.around);
        } else {
            self.synchronous(&mut found);
        }
        found.list
    }

    /// Rights: after a failover every server may be the one to promote or to open, so both roles are asked for all of them.
    fn rights(&self, found: &mut Findings<'_>) {
        let Seen { answer, role, .. } = self;
        if !answer.is("promote") {
            let why = if self.by_sql {
                format!("role {role} may not call pg_promote, so this server cannot be promoted over SQL")
            } else {
                format!("role {role} may not call pg_promote: promote.method does not need it, a change back to pg_promote would")
            };
            let remedy = format!("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO {role}");
            found.add(FindingCode::PromoteRightMissing, self.by_sql, &why, remedy);
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
                    "role {role} may not call pg_reload_conf, so a reload cannot wake a server that missed its promotion request{stall}"
                ),
                format!("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {role}"),
            );
        }
        if !answer.is("monitor") {
            // A membership keeps from PostgreSQL 16 on whether it is inherited; before that the role does.
            let (lacks, remedy) = match (answer.is("monitor_member"), answer.number("version")) {
                (false, _) => ("is no member of pg_monitor", format!("GRANT pg_monitor TO {role}")),
                (true, Some(..160_000)) => ("does not inherit the rights of pg_monitor", format!("ALTER ROLE {role} INHERIT")),
                (true, _) => {
                    ("does not inherit the rights of pg_monitor", format!("GRANT pg_monitor TO {role} WITH INHERIT TRUE"))
                }
            };
            found.warn(
                FindingCode::MonitorRightMissing,
                &format!("role {role} {lacks}: the WAL receiver's state and the startup process are hidden, so progress cannot be seen and promotion may be slower"),
                remedy,
            );
        }
    }

    /// Places for the engine's sessions.
    fn places(&self, found: &mut Findings<'_>) {
        if let Some(said) = &self.answer.full {
            no_place_finding(found, said, false, false);
        }
        let needed = needed(self.around.checks);
        // A limit came with the data, and is the same on all servers: told of the one that takes writes.
        if let Some((limit, whose, lift)) = self.answer.limit().filter(|_| !self.answer.is("in_recovery"))
            && limit < needed as u64
        {
            found.add(
                FindingCode::ConnectionLimitLow,
                limit < LEAST,
                &format!(
                    "{whose} may have {limit} sessions at once, and the engine needs up to {needed}: at failover time, sessions above the limit wait or fail"
                ),
                format!("{lift} {}", if whose.starts_with("role") { needed.to_string() } else { "-1".to_owned() }),
            );
        }
    }

    /// Settings of this server, whatever its role.
    fn settings(&self, found: &mut Findings<'_>) {
        let (answer, settings) = (self.answer, &self.answer.settings);
        let receiver = settings.get("wal_receiver_timeout");
        // A primary receives nothing: told of the standbys, whoever they are.
        if answer.is("in_recovery")
            && receiver.value.parse::<u64>().is_ok_and(|timeout| timeout == 0 || timeout > RECEIVER_TIMEOUT_MS)
        {
            let notices = if receiver.value == "0" {
                "never notices a dead connection to its primary"
            } else {
                "notices a dead connection to its primary only after that time"
            };
            found.warn(
                FindingCode::WalReceiverTimeoutLong,
                &format!("wal_receiver_timeout is {} ms: a standby {notices}", receiver.value),
                receiver.undo("'5s'"),
            );
        }
        let read_only = settings.get("default_transaction_read_only");
        // What came with the data was no other before a failover, and does not bind the engine: told of the one that takes writes.
        if read_only.value == "on" && !(read_only.is_of_the_data() && answer.is("in_recovery")) {
            let message = if read_only.is_of_the_data() {
                format!(
                    "default_transaction_read_only is on for {}: the engine's sessions override it, but it hides what the server itself has set for other roles",
                    read_only.place()
                )
            } else {
                format!("default_transaction_read_only is on for {}: a promoted server would refuse writes", read_only.place())
            };
            found.add(FindingCode::ReadOnlyByDefault, !read_only.is_of_the_data(), &message, read_only.undo("off"));
        }
        let fsync = settings.get("fsync");
        if fsync.value == "off" {
            found.warn(
                FindingCode::FsyncOff,
                "fsync is off: what it acknowledges does not survive a crash of its host",
                fsync.undo("on"),
            );
        }
        if settings.get("wal_log_hints").value == "off" && answer.get("data_checksums") == Some("off") {
            found.warn(
                FindingCode::RewindImpossible,
                "neither wal_log_hints nor data checksums are on: a former primary cannot be brought back by pg_rewind, only by a new copy",
                "ALTER SYSTEM SET wal_log_hints = on, then restart",
            );
        }
    }

    fn log(&self, found: &mut Findings<'_>) {
        let answer = self.answer;
        let log = wal_survey::Log {
            archive: answer.archive(),
            primary: self
                .primary
                .filter(|_| answer.is("in_recovery") && self.around.candidate)
                .map(|(name, primary)| (name, primary.archive())),
            failures: answer.number("archive_failures"),
            waiting: answer.backlog.filter(|waiting| *waiting > BACKLOG),
            slots: answer.get("slots_behind"),
            slot_limit: answer.get("slot_limit").unwrap_or("-1"),
            password_readable: answer.is("password_readable"),
        };
        wal_survey::findings(found, &log);
    }

    fn sync_names(&self) -> &str {
        self.answer.get("sync_names").unwrap_or_default().trim()
    }

    /// Whether commits would go through after a promotion.
    fn sync_gate(&self, found: &mut Findings<'_>) {
        let (answer, role, sync_names) = (self.answer, &self.role, self.sync_names());
        if self.around.keeps_sync_set {
            self.sync_set(found);
        }
        if sync_names.is_empty() {
            return;
        }
        if self.around.candidates < 2 {
            found.warn(
                FindingCode::SyncGate,
                &format!("synchronous_standby_names is '{sync_names}' and there is one standby: after its promotion commits wait until synchronous_standby_names is cleared"),
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
                &format!("role {role} may not clear synchronous_standby_names, so commits would still wait"),
                remedy,
            );
        }
    }

    /// Whether the engine could keep the set of standbys that commits wait for.
    fn sync_set(&self, found: &mut Findings<'_>) {
        let (answer, role) = (self.answer, &self.role);
        let (why, remedy) = if answer.get("alters") == Some("off") {
            ("the server allows no ALTER SYSTEM (allow_alter_system = off)".to_owned(), "set allow_alter_system = on".to_owned())
        } else if !answer.may_open_gate && answer.number("version").is_some_and(|version| version >= 150_000) {
            (
                format!("role {role} may not change synchronous_standby_names"),
                format!("GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO {role}"),
            )
        } else if !answer.may_open_gate {
            (
                format!("role {role} may not change synchronous_standby_names: before PostgreSQL 15 only a superuser may"),
                format!("ALTER ROLE {role} SUPERUSER, or data.synchronous = \"manual\""),
            )
        } else if answer.get("reload") == Some("f") {
            (format!("role {role} may not call pg_reload_conf"), format!("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {role}"))
        } else {
            return;
        };
        found.warn(
            FindingCode::SyncSetNotPrepared,
            &format!("{why}: the engine cannot keep the set of standbys that commits wait for (data.synchronous)"),
            remedy,
        );
    }

    /// Whose acknowledgement a primary waits for.
    fn synchronous(&self, found: &mut Findings<'_>) {
        let (answer, commit) = (self.answer, self.answer.settings.get("synchronous_commit"));
        let receivers = answer.get("receivers_by_name").and_then(|text| serde_json::from_str(text).ok());
        let told = sync_survey::Synchronous {
            names: self.sync_names(),
            // What is set for our own role or database says nothing about the others.
            commit: if commit.is_of_the_data() { "on" } else { commit.value },
            commit_undo: commit.undo("on"),
            overridden: answer.get("sync_commit_overridden"),
            functions: answer.get("sync_commit_functions"),
            undo: answer.get("sync_commit_undo"),
            // Nobody receives, or the role may not see who does.
            receivers: receivers.or_else(|| answer.is("monitor").then(Vec::new)),
            own: [self.name, answer.get("cluster_name").unwrap_or_default()],
            standbys: self.standbys,
        };
        sync_survey::findings(found, &told);
    }
}

/// `said`: the server's words. `blind`: the engine has no session either.
fn no_place_finding(found: &mut Findings<'_>, said: &str, blind: bool, candidate: bool) {
    let so = if blind {
        "so the engine can neither ask nor promote it"
    } else {
        "and the engine depends on the session that it has: if that one ends, it can neither ask nor promote this server"
    };
    found.add(
        FindingCode::NoPlaceLeft,
        blind && candidate,
        &format!("it has no connection slot left for the engine ({said}), {so}"),
        login::remedy(said).unwrap_or(
            "end sessions there, or raise max_connections; from PostgreSQL 16 on, reserved_connections reserves slots for members of pg_use_reserved_connections"
                .into(),
        )
        .into_owned(),
    );
}

/// Rule 187: too old is refused by name, too new is tried at the user's own risk.
fn version_finding(found: &mut Findings<'_>, suits: &Suitability) {
    match suits {
        Suitability::Tried => {}
        Suitability::TooOld(why) => {
            found.blocking(FindingCode::VersionNotSupported, why, "upgrade the server to a version that is supported");
        }
        Suitability::Untried(why) => {
            let remedy = "try a failover with it before you rely on it, or use a release of libfailover that was tried with it";
            found.warn(FindingCode::VersionNotTried, why, remedy);
        }
    }
}

/// From PostgreSQL 16 on places can be kept, and whoever keeps some means them for the like of us.
fn reserved_finding(found: &mut Findings<'_>, reserved: Option<u64>, may_use: Option<&str>, role: &str) {
    if reserved.is_some_and(|reserved| reserved > 0) && may_use == Some("f") {
        found.warn(
            FindingCode::ReservedPlacesClosed,
            &format!("role {role} may not use the connection slots that reserved_connections reserves: if clients use all others, the engine cannot connect"),
            format!("GRANT pg_use_reserved_connections TO {role} WITH INHERIT TRUE"),
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
fn standby_findings(found: &mut Findings<'_>, answer: &Answer, primary: Option<(&str, &Answer)>, around: Around) {
    let lower = lower_settings(answer, primary);
    if answer.get("paused") == Some("t") {
        paused_finding(found, &lower, primary.map(|(name, _)| name), around.candidate);
    }
    if let Some(delay) = answer.number("apply_delay").filter(|delay| *delay > 0 && around.candidate && !around.delay_allowed) {
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
    if let Some((why, remedy)) = &answer.unpointable {
        found.warn(
            FindingCode::RepointNotPrepared,
            &format!("{why}: after a failover it would not follow the new primary as it should"),
            remedy,
        );
    }
    if answer.number("receivers") == Some(0) {
        found.warn(
            FindingCode::NotReceiving,
            "no WAL receiver runs: it falls behind with every commit",
            if answer.number("apply_delay").is_some_and(|delay| delay > 0) {
                "after a start a delayed standby (recovery_min_apply_delay) receives nothing before it has replayed what it has: shorten the delay, or \
                 wait; else read its log, and check primary_conninfo and the primary's pg_hba.conf"
            } else {
                "read its log; check primary_conninfo and the primary's pg_hba.conf"
            },
        );
    }
    // Under a promise nothing that was acknowledged is missing.
    let asynchronous = primary.is_some_and(|(_, primary)| primary.get("sync_names").unwrap_or_default().trim().is_empty());
    if let Some(required) = around.salvage.filter(|required| around.candidate && (asynchronous || *required)) {
        let command = answer.get("restore_command").unwrap_or_default();
        let standby = spool_survey::Standby { command, version: answer.number("version").unwrap_or_default() };
        spool_survey::findings(found, &standby, required);
    }
    let primary_name = primary.map_or("the primary", |(name, _)| name);
    for Lower { setting, ours, theirs } in lower {
        found.add(
            FindingCode::SettingLowerThanPrimary,
            around.candidate,
            &format!("{setting} is {ours}, on {primary_name} {theirs}: replay stops, or the server cannot take the load"),
            format!("ALTER SYSTEM SET {setting} = {theirs}, then restart the standby"),
        );
    }
}

/// A setting that is lower than on the primary.
struct Lower {
    setting: &'static str,
    ours: u64,
    theirs: u64,
}

fn lower_settings(answer: &Answer, primary: Option<(&str, &Answer)>) -> Vec<Lower> {
    let Some((_, primary)) = primary else { return Vec::new() };
    let compare = |setting: &'static str| {
        let (ours, theirs) = (answer.number(setting)?, primary.number(setting)?);
        (ours < theirs).then_some(Lower { setting, ours, theirs })
    };
    NOT_LOWER.into_iter().filter_map(compare).collect()
}

/// PostgreSQL itself pauses replay where a setting is lower than on the primary, and a server that is told to resume then shuts down.
fn paused_finding(found: &mut Findings<'_>, lower: &[Lower], primary: Option<&str>, candidate: bool) {
    let code = FindingCode::ReplayPaused;
    if lower.is_empty() {
        let remedy = match primary {
            Some(_) => "SELECT pg_wal_replay_resume()",
            None => {
                "first compare max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions and \
                 max_locks_per_transaction with the primary's: where one is lower here, raise it and restart the standby, for a resume would \
                 shut it down; otherwise SELECT pg_wal_replay_resume()"
            }
        };
        found.add(
            code,
            candidate,
            "replay is paused: what it received is not yet visible, and somebody paused it for a reason",
            remedy.to_owned(),
        );
        return;
    }
    let named: Vec<&str> = lower.iter().map(|lower| lower.setting).collect();
    let raise: Vec<String> =
        lower.iter().map(|Lower { setting, theirs, .. }| format!("ALTER SYSTEM SET {setting} = {theirs}")).collect();
    found.add(
        code,
        candidate,
        &format!(
            "replay is paused, and {} lower than on {}: then PostgreSQL pauses it by itself, and shuts the server down if it is told to resume",
            if let [one] = named[..] { format!("{one} is") } else { format!("{} are", named.join(", ")) },
            primary.unwrap_or("the primary"),
        ),
        format!("{}, then restart the standby", raise.join("; ")),
    );
}

#[cfg(test)]
mod tests {
    use super::{Findings, reserved_finding, version_finding};
    use crate::wire::postgres::version::suitability;

    /// Rule 187.
    #[test]
    fn a_version_that_is_too_old_blocks_and_one_that_is_newer_is_a_warning() {
        let told = |version| {
            let mut found = Findings::of("db1");
            version_finding(&mut found, &suitability(version));
            found.into_list().pop().map(|finding| (finding.code.as_str(), finding.blocking, finding.message))
        };
        let old = "db1: PostgreSQL 12 is not supported; 13 to 18 are".to_owned();
        assert_eq!(told("12.22"), Some(("version_not_supported", true, old)));
        let later = "db1: this release was not tried with PostgreSQL 19; it was with 13 to 18".to_owned();
        assert_eq!(told("19.1"), Some(("version_not_tried", false, later)));
        assert_eq!([told("13.0"), told("18.6")], [None, None]);
    }

    #[test]
    fn places_that_are_kept_and_closed_to_the_engine_are_told() {
        let told = |reserved, may_use| {
            let mut found = Findings::of("db1");
            reserved_finding(&mut found, reserved, may_use, "failover");
            found.into_list().pop().map(|finding| finding.remedy)
        };
        assert_eq!(told(Some(2), Some("f")).as_deref(), Some("GRANT pg_use_reserved_connections TO failover WITH INHERIT TRUE"));
        assert_eq!([told(Some(2), Some("t")), told(Some(0), Some("f")), told(None, None)], [None, None, None]);
    }
}
