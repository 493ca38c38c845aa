//! PostgreSQL: a new connection, a question, an answer.

use std::time::Duration;

use super::{Check, Context};
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::version::too_old;
use crate::wire::postgres::{Error, OWN_SEARCH_PATH, Rows, ServerError, Session, Target, sample};
use failover_core::observation::{DownCause, Finding, Impairment, Verdict};
use failover_core::sample::Sample;

/// A trivial transaction that reaches the WAL and leaves nothing behind (rule 95). `local`: it must not wait for a standby.
pub(crate) const WRITE_SQL: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = local; \
SELECT pg_catalog.pg_logical_emit_message(true, 'libfailover', 'probe'); COMMIT";
/// What is kept of the deadline to cancel a write that did not come back, so that stuck writes cannot pile up on the server.
const CANCEL_SHARE: u32 = 5;

/// What is asked where nothing else is configured.
const PLAIN_QUERY: &str = "SELECT 1";

/// Connects anew and asks; takes a sample of the server's state on the way where one is wanted, or a write depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresCheck {
    /// The server.
    pub target: Target,
    /// The question; its answer must have a row.
    pub query: String,
    /// Also commit this trivial write, where the server is not in recovery.
    pub write: Option<&'static str>,
}

impl PostgresCheck {
    /// The error with the address in front, unless it names the address itself.
    fn located(&self, error: &Error) -> String {
        let message = error.to_string();
        let at = self.target.endpoint.to_string();
        if message.contains(&at) { message } else { format!("{at}: {message}") }
    }

    /// A check that asks this question. One of a user's own may rely on the search path of the role.
    #[must_use]
    pub(crate) fn new(mut target: Target, query: String, write_probe: bool) -> PostgresCheck {
        if query != PLAIN_QUERY {
            target.settings = target.settings.keeping_search_path();
        }
        PostgresCheck { target, query, write: write_probe.then_some(WRITE_SQL) }
    }

    /// A check that asks [`PLAIN_QUERY`] and writes nothing.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn plain(target: Target) -> PostgresCheck {
        PostgresCheck::new(target, PLAIN_QUERY.to_owned(), false)
    }

    /// From here on nobody's function stands in for the server's own.
    fn own_search_path(&self, session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<Rows, Error> {
        if self.target.settings.keeps_search_path() {
            session.query(OWN_SEARCH_PATH, deadline, cancel)
        } else {
            Ok(Rows::default())
        }
    }

    fn ask(&self, context: &Context<'_>) -> (Verdict, String, Option<Sample>) {
        let (deadline, cancel) = (context.deadline, context.cancel);
        let mut session = match Session::connect(&self.target, context.addresses, deadline, cancel) {
            Ok(session) => session,
            Err(error) => return (error.verdict(), self.located(&error), None),
        };
        match session.query(&self.query, deadline, cancel) {
            Ok(rows) if !rows.is_empty() => {}
            Ok(_) => {
                let verdict = Verdict::Down(DownCause::WrongAnswer);
                return (verdict, "the query of this check returned no row".into(), None);
            }
            Err(error) => return (error.verdict(), format!("the query of this check failed: {error}"), None),
        }
        let version = session.parameter("server_version").unwrap_or("of unknown version").to_owned();
        if let Some(why) = too_old(&version) {
            return (Verdict::Up, format!("PostgreSQL {version} answers, but {why}"), None);
        }
        if !context.sample && self.write.is_none() {
            return (Verdict::Up, format!("PostgreSQL {version} answers"), None);
        }
        let own = self.own_search_path(&mut session, deadline, cancel);
        let sample = match own.and_then(|_| sample(&mut session, context.clock.now(), deadline, cancel)) {
            Ok(sample) => sample,
            // The question itself was answered; a missing right must not make a living server look dead.
            Err(error @ Error::Server(_)) if !is_over(&error) => {
                return (Verdict::Up, format!("PostgreSQL {version} answers, but not about its own state: {error}"), None);
            }
            Err(error) if matches!(error, Error::Protocol(_)) || error.is_timeout() => {
                return (Verdict::Up, format!("PostgreSQL {version} answers, but not about its own state: {error}"), None);
            }
            Err(error) => return (error.verdict(), format!("asking for its state: {error}"), None),
        };
        let message = describe(&version, &sample);
        if let Some(sql) = self.write.filter(|_| !sample.in_recovery) {
            if let Err((verdict, why)) = write(&mut session, sql, deadline, cancel) {
                return (verdict, format!("{message}; {why}"), Some(sample));
            }
            return (Verdict::Up, format!("{message}, writes"), Some(sample));
        }
        (Verdict::Up, message, Some(sample))
    }
}

impl Check for PostgresCheck {
    fn run(&self, context: &Context<'_>) -> Finding {
        let began = context.clock.now();
        let (verdict, message, sample) = self.ask(context);
        context.finding(began, verdict, message, sample)
    }
}

/// The write probe. Its own failure, after reads have worked, is `impaired`, never `down`.
fn write(session: &mut Session, sql: &str, deadline: Deadline, cancel: &Cancel) -> Result<(), (Verdict, String)> {
    let left = deadline.remaining();
    let part = deadline.at_most(left.saturating_sub(left / CANCEL_SHARE));
    match session.query(sql, part, cancel) {
        Ok(_) => Ok(()),
        Err(error) if error.is_timeout() => {
            let note = match session.cancel_query(deadline, cancel) {
                Ok(()) => "it was cancelled",
                Err(_) => "it could not be cancelled",
            };
            let waited = left.saturating_sub(deadline.remaining()).max(Duration::from_millis(1)).as_millis();
            Err((Verdict::Impaired(Impairment::WriteBlocked), format!("a trivial write did not finish in {waited} ms, {note}")))
        }
        Err(Error::Server(said)) if !said.is_fatal() => {
            Err((Verdict::Impaired(Impairment::WriteBlocked), format!("a trivial write was refused: {said}")))
        }
        Err(error) => Err((error.verdict(), format!("a trivial write failed: {error}"))),
    }
}

/// The error is the end of the session, not just of the question.
fn is_over(error: &Error) -> bool {
    error.server().is_some_and(ServerError::ends_session)
}

fn describe(version: &str, sample: &Sample) -> String {
    let (role, position) = if sample.in_recovery { ("standby", sample.replay) } else { ("primary", sample.flush) };
    let position = position.map(|at| format!(" at {at}")).unwrap_or_default();
    format!("PostgreSQL {version}, {role} on timeline {}{position}", sample.timeline)
}
