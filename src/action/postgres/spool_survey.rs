//! Whether a standby looks where salvage puts the end of a dead primary's log.

use super::survey::Findings;
use failover_core::finding::FindingCode;

/// What a `restore_command` has to hold; it is run in the data directory.
const SPOOL: &str = "failover-spool/%f";
/// The whole of one that does nothing else.
const COMMAND: &str = "cp failover-spool/%f \"%p\"";
/// From this version on the setting takes effect by a reload.
const BY_RELOAD: u64 = 140_000;

/// A standby, by its own word.
pub(super) struct Standby<'a> {
    /// `restore_command`, as it is in force.
    pub(super) command: &'a str,
    pub(super) version: u64,
}

/// `required`: nothing is promoted where salvage could not be tried.
pub(super) fn findings(found: &mut Findings<'_>, standby: &Standby<'_>, required: bool) {
    if standby.command.contains(SPOOL) {
        return;
    }
    let what =
        if standby.command.is_empty() { "restore_command is empty" } else { "restore_command does not look into failover-spool" };
    let then = if required { "and data.salvage requires it: a person would be called" } else { "so what it lacks would be lost" };
    found.add(
        FindingCode::SalvageNotPrepared,
        required,
        &format!("{what}: the end of a dead primary's log could not be given to this standby, {then}"),
        remedy(standby),
    );
}

/// As psql takes it. The command that is there is not shown: it may hold a secret.
fn remedy(standby: &Standby<'_>) -> String {
    let set = if standby.command.is_empty() {
        format!("ALTER SYSTEM SET restore_command = '{COMMAND}'")
    } else {
        format!(
            "SELECT format('ALTER SYSTEM SET restore_command = %L', current_setting('restore_command') || ' || {COMMAND}') \\gexec"
        )
    };
    match (standby.version >= BY_RELOAD, standby.command.is_empty()) {
        (true, true) => format!("{set}; SELECT pg_reload_conf()"),
        (true, false) => format!("in psql: {set} \\\\ SELECT pg_reload_conf();"),
        (false, true) => format!("{set}, then restart the standby"),
        (false, false) => format!("in psql: {set}, then restart the standby"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(command: &str, version: u64, required: bool) -> Option<(bool, String)> {
        let mut found = Findings::of("db2");
        findings(&mut found, &Standby { command, version }, required);
        found.into_list().pop().map(|finding| (finding.blocking, finding.remedy))
    }

    #[test]
    fn a_standby_that_looks_into_the_spool_is_prepared() {
        assert_eq!(told(COMMAND, 150_000, true), None);
        assert_eq!(told("wal-g fetch %f %p || cp failover-spool/%f \"%p\"", 150_000, true), None);
        let (blocking, remedy) = told("", 150_000, false).unwrap();
        assert!(!blocking && remedy.ends_with("'; SELECT pg_reload_conf()"), "{remedy}");
        assert!(told("", 150_000, true).unwrap().0);
    }

    #[test]
    fn one_before_14_is_restarted() {
        let (_, remedy) = told("", 130_023, false).unwrap();
        assert_eq!(remedy, "ALTER SYSTEM SET restore_command = 'cp failover-spool/%f \"%p\"', then restart the standby");
    }

    #[test]
    fn a_command_that_is_there_is_kept_and_not_shown() {
        for version in [130_000, 180_000] {
            let (_, remedy) = told("PGPASSWORD=geheim fetch %f %p", version, false).unwrap();
            assert!(remedy.contains("current_setting('restore_command') || ' || cp") && !remedy.contains("geheim"), "{remedy}");
        }
    }
}
