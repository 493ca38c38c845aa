//! Proof of a committed write on the new primary, and whether ordinary commits go through (rules 42, 94, 95).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::identity::Identity;
use super::{Cluster, failure, is_full, untouched};
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Session};
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};
use failover_core::sample::Lsn;
use failover_core::time::Span;

/// An ordinary commit that takes longer waits for a synchronous standby that is not there.
const ORDINARY_COMMIT: Duration = Duration::from_millis(300);
/// How an ordinary commit went.
pub(super) enum Commit {
    /// Acknowledged.
    Done,
    /// It did not end in its time, and was cancelled.
    Waits,
}

impl Cluster {
    /// Proves a durable write on the new primary without leaving anything behind, and finds out whether ordinary commits go through.
    ///
    /// The proof commits with `synchronous_commit = local`, because otherwise it could wait for ever for a standby (rule 42); a second
    /// connection sees the position flushed. The ordinary commit has its own short deadline inside `deadline`.
    ///
    /// # Errors
    /// `NoEffect` when the server is not the writable primary it should be or does not answer. The write changes nothing but the
    /// end of the WAL, so any failure may be followed by another try.
    pub(crate) fn verify_data(
        &self,
        server: ServerId,
        system_id: u64,
        old_timeline: u32,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let place = self.server(server)?;
        let name = &place.name;
        let (mut session, identity) =
            self.identified(server, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        expect_primary(name, &identity, system_id, old_timeline)?;
        let began = Instant::now();
        // A second connection: new clients get in, and what they see is what the first one was promised. It is opened during the write,
        // and looks after it. Where clients have taken every place there is none, and the first one looks: whether they reach this server is
        // for the route to prove (rule 162).
        let (written, second) = std::thread::scope(|scope| {
            let opening = std::thread::Builder::new()
                .name("verifying".to_owned())
                .spawn_scoped(scope, || self.connect(&place.target, deadline, cancel));
            let written = write_local(&mut session, deadline, cancel);
            let second = opening.ok().and_then(|opening| opening.join().ok());
            (written, second.unwrap_or_else(|| self.connect(&place.target, deadline, cancel)))
        });
        let written = written.map_err(|error| failure(name, "the verifying write", &error))?;
        let mut second = match second {
            Ok(second) => Some(second),
            Err(error) if is_full(&error) => None,
            Err(error) => return Err(failure(name, "a second connection", &error)),
        };
        let looking = second.as_mut().unwrap_or(&mut session);
        let seen = Identity::read(looking, deadline, cancel).map_err(|error| failure(name, "a second connection", &error))?;
        expect_primary(name, &seen, system_id, old_timeline)?;
        let Some(flush) = seen.flush.filter(|flush| *flush > written) else {
            return Err(Failure::unknown(
                format!(
                    "{name} acknowledged a commit behind {written}, but has flushed only up to {}",
                    seen.flush.unwrap_or_default()
                ),
                "check fsync and the storage of this server",
            ));
        };
        let mut message = format!(
            "{name} committed a write in {}, flushed up to {flush} on timeline {}",
            Span::from(began.elapsed()),
            seen.timeline
        );
        let (names, mode) =
            sync_settings(looking, deadline, cancel).map_err(|error| failure(name, "reading the settings", &error))?;
        let commits = if names.trim().is_empty() {
            true
        } else if !any_wal_sender(looking, deadline, cancel).map_err(|error| failure(name, "looking for standbys", &error))? {
            let _ = write!(
                message,
                "; no standby is attached, so ordinary commits would wait for one (synchronous_standby_names = '{names}')"
            );
            false
        } else {
            match ordinary_commit(&mut session, &mode, ORDINARY_COMMIT, deadline, cancel) {
                Ok(Commit::Done) => {
                    let _ = write!(message, "; ordinary commits go through (synchronous_standby_names = '{names}')");
                    true
                }
                Ok(Commit::Waits) => {
                    let _ = write!(
                        message,
                        "; ordinary commits wait for a synchronous standby (synchronous_standby_names = '{names}')"
                    );
                    false
                }
                Err(error) => return Err(failure(name, "an ordinary commit", &error)),
            }
        };
        self.keep(server, second.unwrap_or(session));
        Ok(Report::Written { flush, commits, message })
    }
}

/// Not in recovery, beyond the old timeline, in the right cluster, and not read-only.
fn expect_primary(name: &str, identity: &Identity, system_id: u64, old_timeline: u32) -> Result<(), Failure> {
    if identity.system_id != system_id {
        return Err(Failure::no_effect(
            format!("{name} belongs to another cluster: its system identifier is {}, expected {system_id}", identity.system_id),
            "correct the host and port of this server in the configuration",
        ));
    }
    if identity.in_recovery || identity.timeline <= old_timeline {
        return Err(Failure::no_effect(
            format!("{name} is {}, expected a primary beyond timeline {old_timeline}", identity.describe()),
            "find out whether the promotion took place",
        ));
    }
    if identity.read_only {
        return Err(Failure::no_effect(
            format!("{name} left recovery, but transactions are read-only there (default_transaction_read_only)"),
            "ALTER SYSTEM SET default_transaction_read_only = off; SELECT pg_reload_conf()",
        ));
    }
    Ok(())
}

/// A WAL message in a transaction of its own: durable when acknowledged, nothing left behind, any role may write it (rule 95).
fn write_sql(settings: &str) -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {settings}SELECT pg_catalog.pg_logical_emit_message(true, 'libfailover', \
         pg_catalog.concat(pg_catalog.pg_backend_pid(), ' ', pg_catalog.clock_timestamp())) AS written; COMMIT"
    )
}

fn write_local(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<Lsn, Error> {
    let rows = session.query(&write_sql("SET LOCAL synchronous_commit = local; "), deadline, cancel)?;
    rows.get(0, "written")
        .and_then(Lsn::parse)
        .ok_or_else(|| Error::Protocol("no position in the answer to the verifying write".into()))
}

/// `synchronous_standby_names` and `synchronous_commit` as a new session sees them.
pub(super) fn sync_settings(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<(String, String), Error> {
    let sql = "SELECT pg_catalog.current_setting('synchronous_standby_names') AS names, pg_catalog.current_setting('synchronous_commit') AS mode";
    let rows = session.query(sql, deadline, cancel)?;
    Ok((rows.get(0, "names").unwrap_or_default().to_owned(), rows.get(0, "mode").unwrap_or_default().to_owned()))
}

/// Whether any standby is attached: without one, a commit that waits for a standby need not be tried to know that it waits.
fn any_wal_sender(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<bool, Error> {
    let sql = "SELECT pg_catalog.count(*) > 0 AS attached FROM pg_catalog.pg_stat_get_wal_senders()";
    Ok(session.query(sql, deadline, cancel)?.get(0, "attached") == Some("t"))
}

/// A commit as clients make it, given `within` inside the overall deadline. `mode` is the session's own `synchronous_commit`: one that
/// waits for nobody would prove nothing about the others.
///
/// After [`Commit::Waits`] the session must not be used any more. `statement_timeout` does not bound this wait (rule 94), and a
/// cancelled one answers "committed": only the deadline tells the difference.
pub(super) fn ordinary_commit(
    session: &mut Session,
    mode: &str,
    within: Duration,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<Commit, Error> {
    let settings = if matches!(mode, "off" | "local") { "SET LOCAL synchronous_commit = on; " } else { "" };
    match session.query(&write_sql(settings), deadline.at_most(within), cancel) {
        Ok(_) => Ok(Commit::Done),
        // Cut short by the overall deadline it proves nothing.
        Err(error) if error.is_timeout() && !deadline.is_over() => {
            // Without it the backend would wait on for nobody. Whether it was heard changes no verdict.
            let _ = session.cancel_query(deadline, cancel);
            Ok(Commit::Waits)
        }
        Err(error) => Err(error),
    }
}

/// What is left of a deadline, less a part for the cancel request of a commit that waits.
pub(super) fn most_of(deadline: Deadline) -> Duration {
    deadline.remaining().mul_f64(0.8)
}
