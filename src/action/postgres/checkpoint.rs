//! A checkpoint of a primary that is about to be stopped: what it writes now, its stop need not write with nobody served.

use std::time::Instant;

use super::{Cluster, denied, failure, sqlstate, untouched};
use crate::deadline::{Cancel, Deadline};
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};
use failover_core::time::Span;

impl Cluster {
    /// Lets a primary write a checkpoint at once, and waits for it. Clients go on meanwhile.
    ///
    /// # Errors
    /// `NoEffect` where the role may not, or the server is no primary. A checkpoint that was not waited for does no harm.
    pub(crate) fn checkpoint(&self, server: ServerId, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let place = self.server(server)?;
        let name = &place.name;
        let (mut session, identity) =
            self.identified(server, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if identity.in_recovery {
            return Err(Failure::no_effect(format!("{name} is in recovery: it is {}", identity.describe()), ""));
        }
        let began = Instant::now();
        match session.query("CHECKPOINT", deadline, cancel) {
            Ok(_) => Ok(Report::Done { message: format!("written in {}", Span::from(began.elapsed())) }),
            Err(error) if sqlstate(&error) == Some("42501") => {
                let remedy = if identity.version >= 150_000 {
                    format!("GRANT pg_checkpoint TO {}", super::quoted(&identity.role))
                } else {
                    "before PostgreSQL 15 only a superuser may; the stop takes longer without it".to_owned()
                };
                Err(Failure { remedy, ..denied(name, "CHECKPOINT", &error) })
            }
            Err(error) => Err(failure(name, "CHECKPOINT", &error)),
        }
    }
}
