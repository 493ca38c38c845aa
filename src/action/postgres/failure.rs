//! Errors of a session as failures of an action.

use std::borrow::Cow;

use crate::deadline::Interrupted;
use crate::wire::postgres::{Error, login};
use failover_core::output::{Failure, FailureKind};

/// A failure before anything that could have an effect was sent, whatever the error.
pub(super) fn untouched(name: &str, error: &Error) -> Failure {
    Failure::no_effect(format!("{name}: {error}; nothing was changed there"), &*remedy(error))
}

/// A failure of a step whose effect is harmless or unknown.
pub(super) fn failure(name: &str, step: &str, error: &Error) -> Failure {
    let message = format!("{name}: {step} failed: {error}");
    let kind = if error.is_timeout() {
        FailureKind::TimedOut
    } else if error.is_cancelled() {
        FailureKind::Cancelled
    } else {
        FailureKind::Unknown
    };
    Failure { kind, message, remedy: remedy(error).into_owned() }
}

/// The server refused a function or command for want of a right.
pub(super) fn denied(name: &str, what: &str, error: &Error) -> Failure {
    Failure::no_effect(
        format!("{name} refused {what}: {error}; nothing was changed there"),
        "grant the role the right, see the least-privilege script",
    )
}

/// A pause of our own that ended early.
pub(super) fn interrupted(how: Interrupted, message: String, remedy: &str) -> Failure {
    match how {
        Interrupted::TimedOut => Failure::timed_out(message, remedy),
        Interrupted::Cancelled => Failure::cancelled(message),
    }
}

/// The code of the server's own refusal.
pub(super) fn sqlstate(error: &Error) -> Option<&str> {
    error.server().map(|said| said.sqlstate.as_str())
}

/// Every place of the server, of its database or of the role is taken (SQLSTATE `too_many_connections`).
pub(super) fn is_full(error: &Error) -> bool {
    sqlstate(error) == Some("53300")
}

/// Our role or our database has its own limit or bar, and the server says which: the statement that lifts it.
pub(super) fn bar(error: &Error) -> Option<Cow<'static, str>> {
    error.server().and_then(|said| login::remedy(&said.to_string()))
}

fn remedy(error: &Error) -> Cow<'static, str> {
    if let Some(remedy) = bar(error) {
        return remedy;
    }
    let remedy = match sqlstate(error) {
        Some(state) if state.starts_with("28") => "correct user, password or pg_hba.conf",
        Some("3D000") => "correct the database in the connection settings",
        Some("42501") => "grant the role the right, see the least-privilege script",
        Some("53300") => "raise max_connections or superuser_reserved_connections",
        Some("25006") => "look for default_transaction_read_only on server, role and database",
        _ => "",
    };
    remedy.into()
}

/// A role's name as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as an SQL literal, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_ends_where_its_text_does() {
        for (text, sql) in [("db2", "'db2'"), ("it's", "'it''s'"), (r"a\b'c", r"E'a\\b''c'"), ("", "''")] {
            assert_eq!(literal(text), sql, "{text}");
        }
    }
}
