//! Who a server is, asked in one statement on one connection (rules 41, 44, 69, 96).

use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Rows, Session};
use failover_core::sample::Lsn;

/// The timeline of a primary is taken from the name of the segment it writes: `pg_control_checkpoint()` shows the old one until
/// the next checkpoint (rule 96). On a standby it is the receiver's, or the last restart point's where that is hidden.
const IDENTITY_SQL: &str = "\
SELECT pg_catalog.pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_id,
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END AS segment,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN GREATEST((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
            (SELECT pg_catalog.max(received_tli) FROM pg_catalog.pg_stat_wal_receiver)) END AS standby_timeline,
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn() END AS flush,
       CASE WHEN pg_catalog.current_setting('default_transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN
            (SELECT source OPERATOR(pg_catalog.<>) ALL ('{global,database,user,database user}')
               FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'default_transaction_read_only')
            ELSE false END AS read_only,
       pg_catalog.current_setting('server_version_num') AS version,
       extract(epoch FROM pg_catalog.pg_postmaster_start_time()) AS started,
       pg_catalog.current_setting('port') AS port,
       CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') THEN pg_catalog.current_setting('data_directory') END AS data_directory,
       pg_catalog.current_setting('cluster_name') AS cluster_name,
       current_user AS role";

/// What one answer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub in_recovery: bool,
    pub system_id: u64,
    pub timeline: u32,
    /// Only of a primary.
    pub flush: Option<Lsn>,
    /// The server lets nobody write who does not ask for it. What is set for a role or a database came with the data: it was no other before.
    pub read_only: bool,
    /// `server_version_num`, for example 150020.
    pub version: u32,
    /// When its postmaster started, as the server prints it: with the system identifier and the port it names one postmaster.
    pub started: String,
    pub port: String,
    /// Hidden without `pg_read_all_settings`.
    pub data_directory: Option<String>,
    pub cluster_name: String,
    /// The role we are connected as, for remedies.
    pub role: String,
}

impl Identity {
    pub(super) fn read(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<Identity, Error> {
        let rows = session.query(IDENTITY_SQL, deadline, cancel)?;
        Identity::parse(&rows).ok_or_else(|| Error::Protocol("the answer about the server's identity is incomplete".into()))
    }

    fn parse(rows: &Rows) -> Option<Identity> {
        let text = |name: &str| rows.get(0, name);
        let in_recovery = text("in_recovery")? == "t";
        let timeline = if in_recovery { text("standby_timeline")?.parse().ok()? } else { timeline_of_segment(text("segment")?)? };
        Some(Identity {
            in_recovery,
            // The view shows the unsigned number as a signed one.
            system_id: text("system_id")?.parse::<i64>().ok()?.cast_unsigned(),
            timeline,
            flush: text("flush").and_then(Lsn::parse),
            read_only: text("read_only")? == "t",
            version: text("version")?.parse().ok()?,
            started: text("started")?.to_owned(),
            port: text("port")?.to_owned(),
            data_directory: text("data_directory").map(str::to_owned),
            cluster_name: text("cluster_name").unwrap_or_default().to_owned(),
            role: text("role").unwrap_or_default().to_owned(),
        })
    }

    /// The same running postmaster gave both answers.
    pub(super) fn is_same_postmaster(&self, other: &Identity) -> bool {
        let same_directory = match (&self.data_directory, &other.data_directory) {
            (Some(one), Some(another)) => one == another,
            _ => true,
        };
        self.system_id == other.system_id && self.started == other.started && self.port == other.port && same_directory
    }

    /// One phrase for people.
    pub(super) fn describe(&self) -> String {
        let role = if self.in_recovery { "a standby" } else { "a primary" };
        format!("{role} of cluster {} on timeline {}", self.system_id, self.timeline)
    }
}

/// The timeline in the name of a WAL segment: its first eight hexadecimal digits.
fn timeline_of_segment(name: &str) -> Option<u32> {
    u32::from_str_radix(name.get(..8)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_name_begins_with_its_timeline_in_hexadecimal() {
        assert_eq!(timeline_of_segment("0000000200000000000000A3"), Some(2));
        assert_eq!(timeline_of_segment("0000001F0000000000000003"), Some(31));
        assert_eq!(timeline_of_segment("0000"), None);
        assert_eq!(timeline_of_segment("zzzzzzzz0000000000000003"), None);
    }
}
