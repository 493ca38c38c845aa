//! One setting of a server: changed by `ALTER SYSTEM`, then loaded.
//!
//! Two messages: `ALTER SYSTEM` refuses to run inside a transaction block, which a message of several statements is.

use super::promote::RELOAD_SQL;
use super::{denied, failure, literal};
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::Session;
use failover_core::output::Failure;

/// Writes the setting; the server goes on with the old value until its configuration is loaded.
///
/// # Errors
/// `NoEffect` with the server's own word that nothing was changed; else it may have been.
pub(super) fn alter_system(
    name: &str,
    (setting, value): (&str, &str),
    session: &mut Session,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let sql = format!("ALTER SYSTEM SET {setting} = {}", literal(value));
    let what = format!("ALTER SYSTEM SET {setting}");
    session.query(&sql, deadline, cancel).map(|_| ()).map_err(|error| match error.server() {
        Some(_) => denied(name, &what, &error),
        None => failure(name, &what, &error),
    })
}

/// Loads the configuration.
///
/// # Errors
/// When the server could not be told, or refuses.
pub(super) fn reload(name: &str, session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<(), Failure> {
    session.query(RELOAD_SQL, deadline, cancel).map(|_| ()).map_err(|error| failure(name, "pg_reload_conf", &error))
}
