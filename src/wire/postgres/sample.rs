//! What a server says about itself, in one statement.

use super::{Error, Rows, Session};
use crate::core::sample::Sample;
use crate::core::time::Mono;
use crate::wire::deadline::{Cancel, Deadline};

/// One statement that answers on a primary and on a standby alike.
pub const SAMPLE_SQL: &str = "SELECT 1";

/// Asks a server about itself.
///
/// # Errors
/// As [`Session::query`].
pub fn sample(session: &mut Session, asked: Mono, deadline: Deadline, cancel: &Cancel) -> Result<Sample, Error> {
    read_sample(&session.query(SAMPLE_SQL, deadline, cancel)?, asked)
}

/// Reads the answer to [`SAMPLE_SQL`]; `asked` is when the question was sent.
///
/// # Errors
/// [`Error::Protocol`] when a value is missing or unreadable.
pub fn read_sample(rows: &Rows, asked: Mono) -> Result<Sample, Error> {
    let _ = (rows, asked);
    Err(Error::Protocol("not yet".into()))
}
