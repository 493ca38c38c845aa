//! What one run of a check, or one closed session, has to say about a server.

use super::sample::Sample;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// The four answers a check can give (FAILOVER rule 1). Only `Down` counts as a failure; `Unknown` never does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It answered, and the answer was right.
    Up,
    /// It is proven to be alive, and does not serve.
    Impaired(Impairment),
    /// It did not answer, or not as a healthy server answers.
    Down(DownCause),
    /// We could not ask.
    Unknown(UnknownCause),
}

/// Alive but not serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Impairment {
    /// Every connection slot is taken (SQLSTATE 53300 and its kin, HTTP 429).
    Saturated,
    /// The server is starting up (57P03).
    Starting,
    /// The server recovers from the crash of one of its processes (57P03 in recovery mode, 57P02).
    Recovering,
    /// The server announced that it is shutting down (57P03 while shutting down).
    Stopping,
    /// It answered, and would not let us in (SQLSTATE class 28, HTTP 401/403 where not expected).
    Authentication,
    /// It answered, and the TLS session could not be trusted or agreed upon.
    Tls,
    /// It let us in and then cancelled or refused the question (57014, missing right, missing database).
    QueryRefused,
    /// Reads work, the trivial write did not finish in time or was refused.
    WriteBlocked,
    /// It answers, but in the wrong role: a primary in recovery.
    WrongRole,
    /// The kept session is answered, and new connections are not: the postmaster hangs, or nothing is left for it to start a backend.
    NoNewSessions,
}

/// Why an answer counts as a failure. Refused and reset are evidence about the process, a time-out only about the path (rule 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DownCause {
    /// Connection refused: the host is there, nobody listens.
    Refused,
    /// The connection was reset or closed before the answer was complete.
    Reset,
    /// The TCP handshake was not answered in time.
    ConnectTimedOut,
    /// The connection was made, the answer did not come in time.
    AnswerTimedOut,
    /// The network says that the host is not there (EHOSTUNREACH).
    HostUnreachable,
    /// An answer came, and it is not one a healthy server gives.
    WrongAnswer,
}

/// Why we could not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UnknownCause {
    /// No file descriptors, memory or ports left on our side.
    OwnResources,
    /// No route from here (ENETUNREACH, no address of ours).
    NoRoute,
    /// The name did not resolve.
    Resolver,
    /// We ourselves were paused or too late.
    OwnPause,
    /// The host program gave no answer, or the task was cancelled.
    NoAnswerFromHost,
    /// The check itself failed (a bug, a panic, a broken local file).
    Internal,
    /// An error that is in no table (rule 2).
    Unclassified,
}

/// One finished run of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The answer.
    pub verdict: Verdict,
    /// One line for people: what was seen. Never holds a secret.
    pub message: String,
    /// When the question was begun.
    pub began: Mono,
    /// How long it took.
    pub latency: Span,
    /// What the server told about itself, where the check asks that.
    pub sample: Option<Box<Sample>>,
}

/// How a kept-open session ended (rule 83: by the error's routine, never by its message).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CloseCause {
    /// Bare end of stream, a reset, or 57P01 from routine `secure_read`: the process is probably gone.
    DeathHint,
    /// 57P01 from `ProcessInterrupts` or `quickdie`: a shutdown, or one session ended by an administrator.
    Announced,
    /// 57P02: another backend crashed and the server restarts its sessions.
    CrashRecovery,
    /// An error from a routine that is in no table: no grace, ask.
    Unclassified,
    /// We closed it ourselves (reconfiguration, protocol error): says nothing about the server.
    Ours,
}

/// The end of a kept-open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// What kind of end it was.
    pub cause: CloseCause,
    /// One line for people: severity, SQLSTATE and routine, or the operating system's words.
    pub message: String,
}

impl Verdict {
    /// True only for `Down`: the one answer that counts as a failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Verdict::Down(_))
    }

    /// True where the server itself spoke to us: `Up` and `Impaired`.
    #[must_use]
    pub fn is_sign_of_life(&self) -> bool {
        matches!(self, Verdict::Up | Verdict::Impaired(_))
    }

    /// True for failures that are silence: nothing came back, so the path may be to blame.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Verdict::Down(DownCause::ConnectTimedOut | DownCause::AnswerTimedOut | DownCause::HostUnreachable))
    }

    /// The word used in events, status and the command line.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Up => "up",
            Verdict::Impaired(_) => "impaired",
            Verdict::Down(_) => "down",
            Verdict::Unknown(_) => "unknown",
        }
    }

    /// The reason behind the word, empty for `Up`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Verdict::Up => "",
            Verdict::Impaired(impairment) => impairment.as_str(),
            Verdict::Down(cause) => cause.as_str(),
            Verdict::Unknown(cause) => cause.as_str(),
        }
    }
}

impl Impairment {
    /// A server that is stopping says so before it says anything of this kind.
    #[must_use]
    pub fn shows_no_stop(self) -> bool {
        matches!(self, Impairment::Saturated | Impairment::Authentication | Impairment::QueryRefused | Impairment::WriteBlocked)
    }

    /// The word used in events and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Impairment::Saturated => "saturated",
            Impairment::Starting => "starting",
            Impairment::Recovering => "recovering",
            Impairment::Stopping => "stopping",
            Impairment::Authentication => "authentication",
            Impairment::Tls => "tls",
            Impairment::QueryRefused => "query_refused",
            Impairment::WriteBlocked => "write_blocked",
            Impairment::WrongRole => "wrong_role",
            Impairment::NoNewSessions => "no_new_sessions",
        }
    }
}

impl DownCause {
    /// The word used in events and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DownCause::Refused => "refused",
            DownCause::Reset => "reset",
            DownCause::ConnectTimedOut => "connect_timed_out",
            DownCause::AnswerTimedOut => "answer_timed_out",
            DownCause::HostUnreachable => "host_unreachable",
            DownCause::WrongAnswer => "wrong_answer",
        }
    }
}

impl UnknownCause {
    /// The word used in events and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownCause::OwnResources => "own_resources",
            UnknownCause::NoRoute => "no_route",
            UnknownCause::Resolver => "resolver",
            UnknownCause::OwnPause => "own_pause",
            UnknownCause::NoAnswerFromHost => "no_answer_from_host",
            UnknownCause::Internal => "internal",
            UnknownCause::Unclassified => "unclassified",
        }
    }
}

impl CloseCause {
    /// The word used in events and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CloseCause::DeathHint => "death_hint",
            CloseCause::Announced => "announced",
            CloseCause::CrashRecovery => "crash_recovery",
            CloseCause::Unclassified => "unclassified",
            CloseCause::Ours => "ours",
        }
    }
}
