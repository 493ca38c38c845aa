//! What can go wrong in a session, and what it says about the server (FAILOVER rules 2, 3 and 83).

use std::fmt;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;

use crate::wire::stream::{ConnectError, Fault, Stage};
use failover_core::observation::{CloseCause, DownCause, Impairment, UnknownCause, Verdict};

/// The most characters of a server's message that are kept.
const MESSAGE_MAX: usize = 300;

/// What stands behind the server's words where they ended a session that had just begun.
pub(crate) const ENDED_AT_START: &str = "it accepted the login, and ended the session before the first query";
/// What was waited for where a session did not begin in time.
pub(crate) const WAITING_FOR_START: &str = "waiting for the session to start";

/// An `ErrorResponse` or `NoticeResponse` of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, `WARNING`, …: never translated (field V).
    pub severity: String,
    /// The five characters of the SQLSTATE.
    pub sqlstate: String,
    /// The source routine that reported it (field R): what rule 83 judges by.
    pub routine: String,
    /// The server's words, in the server's language, one line, cut after 300 characters.
    pub message: String,
    /// It let us in and ended the session before that could be used: something that runs at the start of every session failed.
    pub at_start: bool,
}

impl ServerError {
    /// Reads the fields of an error or notice; what is missing stays empty.
    pub(crate) fn read(mut fields: ErrorFields<'_>) -> Result<ServerError, Error> {
        let mut error = ServerError::default();
        let mut translated_severity = String::new();
        while let Some(field) =
            fields.next().map_err(|_| Error::Protocol("an error message whose fields are cut off or overlong".into()))?
        {
            let value = || one_line(&String::from_utf8_lossy(field.value_bytes()), MESSAGE_MAX);
            match field.type_() {
                b'V' => error.severity = value(),
                b'S' => translated_severity = value(),
                b'C' => error.sqlstate = value(),
                b'M' => error.message = value(),
                b'R' => error.routine = value(),
                _ => {}
            }
        }
        if error.severity.is_empty() {
            error.severity = translated_severity;
        }
        Ok(error)
    }

    /// The postmaster's own answer where it cannot start a process: it has no SQLSTATE. It sends it for want of processes or memory alone.
    pub(crate) fn without_a_process(said: &str) -> ServerError {
        ServerError {
            severity: "FATAL".into(),
            sqlstate: "53000".into(),
            routine: "report_fork_failure_to_client".into(),
            message: one_line(said, MESSAGE_MAX),
            at_start: false,
        }
    }

    /// The same, said between the login and the first question. What the server itself has against a session there has codes of its own
    /// and is told by them; anything else comes from a login event trigger or a library that every session loads.
    pub(crate) fn at_start(mut self) -> ServerError {
        let of_its_own = self.routine == "CheckMyDatabase" || self.sqlstate == "3D000";
        let of_others = match self.verdict() {
            Verdict::Unknown(_) => true,
            Verdict::Impaired(Impairment::QueryRefused | Impairment::WriteBlocked) => !of_its_own,
            _ => false,
        };
        self.at_start = of_others;
        self
    }

    /// The session is over after this.
    #[must_use]
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }

    /// The server says that it ends this session or all of them: a FATAL error, or one of the warnings that a dying
    /// backend sends as its last words (`quickdie`).
    #[must_use]
    pub(crate) fn ends_session(&self) -> bool {
        self.is_fatal() || (self.routine == "quickdie" || matches!(self.sqlstate.as_str(), "57P01" | "57P02"))
    }

    /// What a session that ended with these words says about the server (rule 83): judged by the routine, because the
    /// message is translated and a killed postmaster's children send 57P01 too.
    #[must_use]
    pub(crate) fn close_cause(&self) -> CloseCause {
        match (self.sqlstate.as_str(), self.routine.as_str()) {
            ("57P01", "secure_read") => CloseCause::DeathHint,
            ("57P01", "ProcessInterrupts" | "quickdie") => CloseCause::Announced,
            ("57P02", _) => CloseCause::CrashRecovery,
            _ => CloseCause::Unclassified,
        }
    }

    /// What this answer to a probe says about the server (rule 2).
    #[must_use]
    pub(crate) fn verdict(&self) -> Verdict {
        let impairment = match self.sqlstate.as_str() {
            _ if self.at_start => Impairment::QueryRefused,
            "57P01" => match self.close_cause() {
                CloseCause::DeathHint => return Verdict::Down(DownCause::Reset),
                _ => Impairment::Stopping,
            },
            "57P02" => Impairment::Recovering,
            "57P03" => self.not_now(),
            // Cancelled, or our database or our right to the question is missing: it let us in and refused the question.
            "57014" | "57P04" | "57P05" | "3D000" => Impairment::QueryRefused,
            "25006" => Impairment::WriteBlocked,
            state if state.starts_with("53") => Impairment::Saturated,
            state if state.starts_with("28") => Impairment::Authentication,
            state if state.starts_with("42") => Impairment::QueryRefused,
            _ => return Verdict::Unknown(UnknownCause::Unclassified),
        };
        Verdict::Impaired(impairment)
    }

    /// The kind of a 57P03. The three kinds differ in their message only, which follows the server's `lc_messages`: in
    /// another language than English all of them read as starting.
    fn not_now(&self) -> Impairment {
        if self.message.contains("shutting down") {
            Impairment::Stopping
        } else if self.message.contains("recovery mode") {
            Impairment::Recovering
        } else {
            Impairment::Starting
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity, self.sqlstate)?;
        if !self.routine.is_empty() {
            write!(f, " from {}", self.routine)?;
        }
        write!(f, ": {}", self.message)?;
        if self.at_start {
            write!(f, " ({ENDED_AT_START})")?;
        }
        Ok(())
    }
}

/// Why a session could not be made, or why it could not answer. One line each; never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The host's name has no known address.
    #[error("{0}")]
    Resolve(String),
    /// No connection was made.
    #[error("{0}")]
    Connect(ConnectError),
    /// The connection failed after it was made.
    #[error("{message}")]
    Connection {
        /// How.
        fault: Fault,
        /// While doing what, in one line.
        message: String,
    },
    /// The TLS session could not be agreed upon or trusted, or the server has no TLS where it is demanded.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server wants a proof of identity that we do not have, or gave a wrong one of its own.
    #[error("authentication: {0}")]
    Authentication(String),
    /// The server's own words.
    #[error("{0}")]
    Server(ServerError),
    /// Not what a PostgreSQL server says, or more of it than is sane.
    #[error("not a proper answer of a PostgreSQL server: {0}")]
    Protocol(String),
    /// Something on our own side: a file that cannot be read, a text that cannot be sent.
    #[error("{0}")]
    Local(String),
    /// The session was broken by an earlier error.
    #[error("the session is unusable since an earlier error: {0}")]
    Broken(String),
}

impl Error {
    /// What this says about the server (rule 2). TLS trouble is `impaired`: the server answered.
    #[must_use]
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Error::Resolve(_) => Verdict::Unknown(UnknownCause::Resolver),
            Error::Connect(error) => error.fault.verdict(Stage::Connecting),
            Error::Connection { fault, .. } => fault.verdict(Stage::Connected),
            Error::Tls(_) => Verdict::Impaired(Impairment::Tls),
            Error::Authentication(_) => Verdict::Impaired(Impairment::Authentication),
            Error::Server(error) => error.verdict(),
            Error::Protocol(_) => Verdict::Down(DownCause::WrongAnswer),
            Error::Local(_) | Error::Broken(_) => Verdict::Unknown(UnknownCause::Internal),
        }
    }

    /// What a kept session that ended like this says about the server (rule 83).
    #[must_use]
    pub(crate) fn close_cause(&self) -> CloseCause {
        match self {
            Error::Server(error) => error.close_cause(),
            Error::Connection { fault: Fault::Reset | Fault::Refused, .. } => CloseCause::DeathHint,
            Error::Connection { .. } | Error::Connect(_) | Error::Resolve(_) => CloseCause::Unclassified,
            Error::Tls(_) | Error::Authentication(_) | Error::Protocol(_) | Error::Local(_) | Error::Broken(_) => {
                CloseCause::Ours
            }
        }
    }

    /// The server's own words, where it spoke.
    #[must_use]
    pub(crate) fn server(&self) -> Option<&ServerError> {
        match self {
            Error::Server(error) => Some(error),
            _ => None,
        }
    }

    /// Our deadline passed, while connecting or while waiting for the answer.
    #[must_use]
    pub(crate) fn is_timeout(&self) -> bool {
        self.fault() == Some(Fault::TimedOut)
    }

    /// The cancel signal was given.
    #[must_use]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.fault() == Some(Fault::Cancelled)
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            Error::Connect(error) => Some(error.fault),
            Error::Connection { fault, .. } => Some(*fault),
            _ => None,
        }
    }
}

/// `text` without line breaks and control characters, cut after `length` characters.
pub(crate) fn one_line(text: &str, length: usize) -> String {
    let mut line: String = text.chars().take(length).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(length).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(sqlstate: &str, routine: &str, message: &str) -> ServerError {
        ServerError {
            severity: "FATAL".into(),
            sqlstate: sqlstate.into(),
            routine: routine.into(),
            message: message.into(),
            at_start: false,
        }
    }

    #[test]
    fn rule_2_every_sqlstate_has_its_verdict() {
        let table = [
            ("53300", "sorry, too many clients already", Verdict::Impaired(Impairment::Saturated)),
            ("53400", "", Verdict::Impaired(Impairment::Saturated)),
            ("57P03", "the database system is starting up", Verdict::Impaired(Impairment::Starting)),
            ("57P03", "the database system is not yet accepting connections", Verdict::Impaired(Impairment::Starting)),
            ("57P03", "das Datenbanksystem startet", Verdict::Impaired(Impairment::Starting)),
            ("57P03", "the database system is in recovery mode", Verdict::Impaired(Impairment::Recovering)),
            ("57P03", "the database system is shutting down", Verdict::Impaired(Impairment::Stopping)),
            ("28P01", "", Verdict::Impaired(Impairment::Authentication)),
            ("28000", "", Verdict::Impaired(Impairment::Authentication)),
            ("57014", "", Verdict::Impaired(Impairment::QueryRefused)),
            ("42501", "", Verdict::Impaired(Impairment::QueryRefused)),
            ("3D000", "", Verdict::Impaired(Impairment::QueryRefused)),
            ("57P01", "", Verdict::Impaired(Impairment::Stopping)),
            ("57P02", "", Verdict::Impaired(Impairment::Recovering)),
            ("XX000", "", Verdict::Unknown(UnknownCause::Unclassified)),
            ("", "", Verdict::Unknown(UnknownCause::Unclassified)),
        ];
        for (sqlstate, message, verdict) in table {
            assert_eq!(said(sqlstate, "ProcessStartupPacket", message).verdict(), verdict, "{sqlstate} {message}");
        }
        assert_eq!(said("57P01", "secure_read", "").verdict(), Verdict::Down(DownCause::Reset));
    }

    #[test]
    fn rule_83_a_close_is_judged_by_its_routine_never_by_its_message() {
        let table = [
            ("57P01", "secure_read", CloseCause::DeathHint),
            ("57P01", "ProcessInterrupts", CloseCause::Announced),
            ("57P01", "quickdie", CloseCause::Announced),
            ("57P01", "somewhere_else", CloseCause::Unclassified),
            ("57P01", "", CloseCause::Unclassified),
            ("57P02", "quickdie", CloseCause::CrashRecovery),
            ("57P05", "ProcessInterrupts", CloseCause::Unclassified),
        ];
        for (sqlstate, routine, cause) in table {
            assert_eq!(said(sqlstate, routine, "whatever").close_cause(), cause, "{sqlstate} {routine}");
        }
        let bare = Error::Connection { fault: Fault::Reset, message: String::new() };
        assert_eq!(bare.close_cause(), CloseCause::DeathHint);
        let silent = Error::Connection { fault: Fault::TimedOut, message: String::new() };
        assert_eq!(silent.close_cause(), CloseCause::Unclassified);
        assert_eq!(Error::Protocol(String::new()).close_cause(), CloseCause::Ours);
    }

    #[test]
    fn a_message_of_the_server_stays_on_one_short_line() {
        assert_eq!(one_line("a\nb\tc\u{7}", 300), "a b c");
        let cut = one_line(&"é".repeat(1000), 300);
        assert_eq!(cut.chars().count(), 301);
    }
}
