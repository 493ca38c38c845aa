//! The slot of the new primary that a standby uses by its settings.

use super::{Cluster, denied, failure, sqlstate, untouched};
use crate::deadline::{Cancel, Deadline};
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};

impl Cluster {
    /// Makes a physical slot where there is none of that name. It holds no log before it is used: of one that never is nothing is left behind
    /// that fills a disk.
    ///
    /// # Errors
    /// `NoEffect` where the role may not, or the server is no primary.
    pub(crate) fn make_slot(&self, server: ServerId, slot: &str, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let place = self.server(server)?;
        let name = &place.name;
        let (mut session, identity) =
            self.identified(server, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if identity.in_recovery {
            return Err(Failure::no_effect(format!("{name} is in recovery: it is {}", identity.describe()), ""));
        }
        // Names of slots have no other characters.
        if slot.is_empty() || slot.len() > 63 || !slot.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(Failure::refused(format!("{slot:?} is no name of a slot"), "correct primary_slot_name"));
        }
        let sql = format!(
            "SELECT pg_catalog.pg_create_physical_replication_slot('{slot}', false) \
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = '{slot}')"
        );
        match session.query(&sql, deadline, cancel) {
            Ok(rows) => {
                self.keep(server, session);
                Ok(Report::SlotMade { created: !rows.rows.is_empty(), message: format!("{name} has the slot {slot}") })
            }
            Err(error) if sqlstate(&error) == Some("42501") => {
                let remedy =
                    format!("ALTER ROLE {} REPLICATION, or make the slot {slot} on {name}", super::quoted(&identity.role));
                Err(Failure { remedy, ..denied(name, "pg_create_physical_replication_slot", &error) })
            }
            Err(error) => Err(failure(name, "pg_create_physical_replication_slot", &error)),
        }
    }
}
