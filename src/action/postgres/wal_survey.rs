//! The log that a server keeps, and where it archives it: what fills its disk, and what ends with a failover.

use super::survey::Findings;
use bytesize::ByteSize;
use failover_core::finding::FindingCode;

/// Columns for the survey's statement. A slot that is not in use and holds more than `max_wal_size` is `extended`, or worse. What a role may
/// not see is NULL (rule 92); whether a password can be read is asked without reading it.
pub(super) const COLUMNS: &str = "\
       pg_catalog.current_setting('archive_mode') AS archive_mode,
       pg_catalog.current_setting('archive_command') AS archive_command,
       pg_catalog.current_setting('archive_library', true) AS archive_library,
       (SELECT failed_count FROM pg_catalog.pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')) AS archive_failures,
       pg_catalog.current_setting('max_slot_wal_keep_size') AS slot_limit,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(slot_name, wal_status, pg_catalog.pg_wal_lsn_diff(
                 CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn)::bigint)
               ORDER BY slot_name)
          FROM pg_catalog.pg_replication_slots s
         WHERE NOT active AND wal_status <> 'reserved' AND (pg_catalog.to_jsonb(s) ->> 'synced') IS DISTINCT FROM 'true') AS slots_behind,
       (SELECT pg_catalog.regexp_replace(pg_catalog.replace(setting, $$''$$, pg_catalog.chr(1)), $$'[^']*'$$, 'q', 'g')
                 ~* ('(^|[[:space:]])(ssl)?password[[:space:]]*=[[:space:]]*[^[:space:]' || pg_catalog.chr(1) || ']')
               OR setting ~* '^postgres(ql)?://[^/@]*:[^/@]+@' OR setting ~* '^postgres(ql)?://.*[?&](ssl)?password=[^&]'
          FROM pg_catalog.pg_settings WHERE name = 'primary_conninfo') AS password_readable";

/// How a server archives its log.
pub(super) struct Archive<'a> {
    pub mode: &'a str,
    pub command: &'a str,
    pub library: &'a str,
}

impl Archive<'_> {
    /// `archive_command` shows as `(disabled)` where `archive_mode` is off.
    fn is_on(&self) -> bool {
        self.mode != "off" && (!self.command.is_empty() || !self.library.is_empty())
    }
}

/// What a server says of its log.
pub(super) struct Log<'a> {
    pub archive: Archive<'a>,
    /// For a standby: that of its primary.
    pub primary: Option<(&'a str, Archive<'a>)>,
    /// Failures since something was archived last.
    pub failures: Option<u64>,
    /// Segments that wait for the archive, where they are too many.
    pub waiting: Option<u64>,
    /// `[name, wal_status, bytes]` of each slot that is not in use and holds much; JSON.
    pub slots: Option<&'a str>,
    /// `max_slot_wal_keep_size`.
    pub slot_limit: &'a str,
    pub password_readable: bool,
}

pub(super) fn findings(found: &mut Findings<'_>, log: &Log<'_>) {
    archive(found, log);
    if let Some((name, primary)) = &log.primary {
        archive_after(found, &log.archive, name, primary);
    }
    slots(found, log);
    if log.password_readable {
        found.warn(
            FindingCode::ReplicationPasswordReadable,
            "primary_conninfo holds a password, and every member of pg_monitor can read it, the engine's role included",
            "write it into a password file of the server's account (mode 600), then ALTER SYSTEM SET primary_conninfo with passfile= in place \
             of password=, and SELECT pg_reload_conf()",
        );
    }
}

fn archive(found: &mut Findings<'_>, log: &Log<'_>) {
    if let Some(failures) = log.failures {
        found.warn(
            FindingCode::ArchiveFailing,
            &format!("the last attempt to archive WAL failed ({failures} failures so far): WAL piles up and a stop takes longer"),
            "read the server's log for the archive command's error",
        );
    }
    if let Some(waiting) = log.waiting {
        found.warn(
            FindingCode::ArchiveBacklog,
            &format!("{waiting} finished WAL files wait for the archive: archiving is slower than writing, or has stopped"),
            "SELECT * FROM pg_stat_archiver; then make archive_command quicker, or mend what it waits for",
        );
    }
}

/// What becomes of the archive once this standby is the primary.
fn archive_after(found: &mut Findings<'_>, ours: &Archive<'_>, name: &str, primary: &Archive<'_>) {
    if !primary.is_on() {
        return;
    }
    if !ours.is_on() {
        let (what, remedy) = if ours.mode == "off" {
            ("archive_mode is off", "set archive_command as on the primary, and ALTER SYSTEM SET archive_mode = on, then restart")
        } else {
            ("archive_command is empty", "set archive_command as on the primary, and SELECT pg_reload_conf()")
        };
        found.warn(
            FindingCode::ArchiveEnds,
            &format!("{what}, and {name} archives: after a failover to it nothing is archived, and a recovery from the archive ends there"),
            remedy,
        );
    } else if ours.mode == "always" && (ours.command, ours.library) == (primary.command, primary.library) {
        found.warn(
            FindingCode::ArchivedTwice,
            &format!(
                "archive_mode is always, and {name} archives the same files in the same way: the second one overwrites a file, or fails"
            ),
            "ALTER SYSTEM SET archive_mode = on, then restart",
        );
    }
}

/// Slots of nobody who reads: what they hold grows until the disk is full, or until they are of no use.
fn slots(found: &mut Findings<'_>, log: &Log<'_>) {
    let behind: Vec<(String, String, Option<u64>)> =
        log.slots.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for (slot, status, bytes) in behind {
        let drop = format!("SELECT pg_drop_replication_slot('{}')", slot.replace('\'', "''"));
        if status == "lost" {
            found.warn(
                FindingCode::SlotLost,
                &format!("replication slot {slot} is lost: the WAL that its standby needs next was removed"),
                format!("make that standby anew from a base backup; or, if there is none, {drop}"),
            );
            continue;
        }
        let held = bytes.map_or_else(|| "much".to_owned(), |bytes| ByteSize(bytes).display().iec().to_string());
        let limit = if log.slot_limit == "-1" {
            "no limit applies before the disk is full (max_slot_wal_keep_size is -1)".to_owned()
        } else {
            format!("at {} (max_slot_wal_keep_size) the slot is lost, and its standby cannot follow any more", log.slot_limit)
        };
        found.warn(
            FindingCode::SlotHoldsWal,
            &format!("replication slot {slot} is not in use and holds {held} of WAL, more than max_wal_size: {limit}"),
            format!("start the standby that uses it; or, if there is none, {drop}"),
        );
    }
}
