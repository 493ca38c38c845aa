//! Physical slots: one is created where a standby uses it, and dropped when nobody uses it any more.

#[cfg(feature = "ssh")]
use super::{denied, sqlstate};

use super::{Cluster, failure, literal, untouched};
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Session};
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};

/// Which log a new slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// All from now on: its standby connects within seconds, and a checkpoint may come in between.
    FromNowOn,
    /// None before it is used: of one that never is nothing is left behind that fills a disk.
    #[cfg(feature = "ssh")]
    OnceUsed,
}

/// What was found, or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Created,
    WasThere,
    /// The name belongs to a logical slot, which no standby can use.
    IsLogical,
}

/// Creates a physical slot where there is none of that name.
pub(super) fn create_where_absent(
    session: &mut Session,
    slot: &str,
    holds: Holds,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<Made, Error> {
    let slot = literal(slot);
    let there = format!("SELECT slot_type FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot}");
    if let Some(kind) = session.query(&there, deadline, cancel)?.get(0, "slot_type") {
        return Ok(if kind == "physical" { Made::WasThere } else { Made::IsLogical });
    }
    let at_once = holds == Holds::FromNowOn;
    let create = format!("SELECT pg_catalog.pg_create_physical_replication_slot({slot}, {at_once})");
    session.query(&create, deadline, cancel).map(|_| Made::Created)
}

impl Cluster {
    /// Makes a physical slot where there is none of that name. It holds no log before it is used.
    ///
    /// # Errors
    /// `NoEffect` where the role may not, or the server is no primary.
    #[cfg(feature = "ssh")]
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
        match create_where_absent(&mut session, slot, Holds::OnceUsed, deadline, cancel) {
            Ok(Made::IsLogical) => Err(Failure::refused(
                format!("{name} has a logical slot {slot}, which no standby can use; nothing was changed"),
                "give the standby another primary_slot_name",
            )),
            Ok(made) => {
                self.keep(server, session);
                Ok(Report::SlotMade { created: made == Made::Created, message: format!("{name} has the slot {slot}") })
            }
            Err(error) if sqlstate(&error) == Some("42501") => {
                let remedy =
                    format!("ALTER ROLE {} REPLICATION, or make the slot {slot} on {name}", super::quoted(&identity.role));
                Err(Failure { remedy, ..denied(name, "pg_create_physical_replication_slot", &error) })
            }
            Err(error) => Err(failure(name, "pg_create_physical_replication_slot", &error)),
        }
    }

    /// Drops a physical slot that nobody uses. One that is not there is dropped already.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses; `NoEffect` while somebody uses it.
    pub(crate) fn drop_slot(&self, server: ServerId, slot: &str, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let place = self.server(server)?;
        let name = &place.name;
        let mut session = self.reach(server, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        let drop = format!(
            "SELECT CASE WHEN active THEN 'used' ELSE pg_catalog.pg_drop_replication_slot(slot_name)::text END AS done \
             FROM pg_catalog.pg_replication_slots WHERE slot_name = {} AND slot_type = 'physical'",
            literal(slot)
        );
        let rows = session.query(&drop, deadline, cancel).map_err(|error| failure(name, "pg_drop_replication_slot", &error))?;
        if rows.get(0, "done") == Some("used") {
            return Err(Failure::no_effect(format!("{name}: slot {slot} is in use"), "it is dropped when nobody uses it"));
        }
        let message = if rows.rows.is_empty() { "it is gone" } else { "dropped" };
        Ok(Report::Done { message: format!("{name}: slot {slot}: {message}") })
    }
}
