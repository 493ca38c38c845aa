//! What the primary says of a transaction.

use super::{Cluster, sqlstate};
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Session};
use failover_core::id::ServerId;
use failover_core::survival::{Present, XactStatus};

/// What a server that was asked is, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// It takes no writes.
    pub in_recovery: bool,
    /// Of which cluster it is.
    pub system_id: u64,
    /// What it says.
    pub present: Present,
}

impl Cluster {
    /// Asks a server who it is, how far it has written, and what became of a transaction. All comes over one session: a server that is
    /// started anew, or demoted, ends it.
    ///
    /// # Errors
    /// Why it could not be asked before the deadline.
    pub(crate) fn survived(
        &self,
        server: ServerId,
        xid: Option<u64>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Said, String> {
        let place = self.server(server).map_err(|failure| failure.message)?;
        let asked = self.identified(server, place, deadline, cancel).and_then(|(mut session, identity)| {
            let xact = match xid.filter(|_| !identity.in_recovery) {
                Some(xid) => status_of(&mut session, xid, deadline, cancel)?,
                None => XactStatus::NotAsked,
            };
            self.keep(server, session);
            let present = Present { timeline: identity.timeline, flush: identity.flush.unwrap_or_default(), xact };
            Ok(Said { in_recovery: identity.in_recovery, system_id: identity.system_id, present })
        });
        asked.map_err(|error| format!("{} cannot be asked: {error}", place.name))
    }
}

fn status_of(session: &mut Session, xid: u64, deadline: Deadline, cancel: &Cancel) -> Result<XactStatus, Error> {
    let sql = format!("SELECT pg_catalog.pg_xact_status('{xid}'::pg_catalog.xid8) AS status");
    match session.query(&sql, deadline, cancel) {
        Ok(rows) => match rows.get(0, "status") {
            Some("committed") => Ok(XactStatus::Committed),
            Some("aborted") => Ok(XactStatus::Aborted),
            Some("in progress") => Ok(XactStatus::InProgress),
            None => Ok(XactStatus::TooOld),
            Some(other) => {
                Err(Error::Protocol(format!("pg_xact_status says \"{}\"", other.chars().take(40).collect::<String>())))
            }
        },
        // "transaction ID ... is in the future": invalid_parameter_value.
        Err(error) if sqlstate(&error) == Some("22023") => Ok(XactStatus::Future),
        Err(error) => Err(error),
    }
}
