//! The set of standbys that commits wait for gets another value, or why it could not.

use super::sync_gate::{LOOK_EVERY, check_rights};
use super::verify::sync_settings;
use super::{Cluster, denied, failure, literal, untouched};
use crate::deadline::{Cancel, Deadline};
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};

/// What a server is to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncOrder<'a> {
    pub server: ServerId,
    pub system_id: u64,
    /// It must be a standby, else a primary.
    pub standby: bool,
    /// The value that was seen.
    pub from: &'a str,
    pub names: &'a str,
}

impl Cluster {
    /// Sets `synchronous_standby_names`, reloads, and waits until a session that was there before has it. Also where it is in force already: a
    /// change that was broken off may have left another value in the file.
    ///
    /// # Errors
    /// `NoEffect` before anything was changed: a missing right, another role, a value that somebody has set meanwhile.
    pub(crate) fn set_sync_names(&self, order: SyncOrder<'_>, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let place = self.server(order.server)?;
        let name = &place.name;
        let (mut session, identity) =
            self.identified(order.server, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if identity.system_id != order.system_id || identity.in_recovery != order.standby {
            let role = if order.standby { "standby" } else { "primary" };
            return Err(Failure::no_effect(
                format!("{name} is no {role} of this cluster now; nothing was changed"),
                "look at it (failover status)",
            ));
        }
        let (before, _) = sync_settings(&mut session, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if before.trim() != order.from.trim() && before != order.names {
            return Err(Failure::no_effect(
                format!("synchronous_standby_names of {name} was set to '{before}' meanwhile; nothing was changed"),
                "leave it to the engine, or set data.synchronous = \"manual\"",
            ));
        }
        check_rights(name, &mut session, deadline, cancel)?;
        let alter = format!("ALTER SYSTEM SET synchronous_standby_names = {}", literal(order.names));
        // An error is the server's word that nothing was changed.
        session.query(&alter, deadline, cancel).map_err(|error| match error.server() {
            Some(_) => denied(name, "ALTER SYSTEM", &error),
            None => failure(name, "ALTER SYSTEM", &error),
        })?;
        session
            .query("SELECT pg_catalog.pg_reload_conf()", deadline, cancel)
            .map_err(|error| failure(name, "pg_reload_conf", &error))?;
        loop {
            let (now, _) =
                sync_settings(&mut session, deadline, cancel).map_err(|error| failure(name, "a look at it", &error))?;
            if now == order.names {
                self.keep(order.server, session);
                let message = if now.is_empty() {
                    "synchronous_standby_names is empty: commits wait for no standby".to_owned()
                } else {
                    format!("synchronous_standby_names is {now}")
                };
                return Ok(Report::Done { message });
            }
            if let Err(how) = cancel.pause(LOOK_EVERY, deadline) {
                let message = format!("{name} still shows synchronous_standby_names = '{now}' after a reload");
                let remedy = "it may be set on the server's command line, which ALTER SYSTEM cannot override";
                return Err(super::interrupted(how, message, remedy));
            }
        }
    }
}
