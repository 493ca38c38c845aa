//! SSH sessions with one deadline over everything.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::secret::Secret;
use crate::wire::deadline::{Cancel, Deadline};
use crate::wire::resolve::Addresses;

/// Whom to reach, as whom, and how the host proves who it is.
#[derive(Clone, Debug)]
pub struct SshTarget {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Login name.
    pub user: String,
    /// Private key files, tried in order.
    pub keys: Vec<PathBuf>,
    /// Opens the private keys.
    pub passphrase: Option<Secret>,
    /// Tried last.
    pub password: Option<Secret>,
    /// Ask the agent named by `SSH_AUTH_SOCK` first.
    pub agent: bool,
    /// OpenSSH's `known_hosts` file.
    pub known_hosts: PathBuf,
}

/// What a finished command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// The exit code; `None` when a signal ended the command.
    pub code: Option<i32>,
    /// The signal that ended the command, without `SIG`.
    pub signal: Option<String>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// One of them was longer than is kept.
    pub truncated: bool,
}

/// Why a command has no output to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct SshError {
    /// What kind of trouble.
    pub kind: SshErrorKind,
    /// `user@host:port`.
    pub at: String,
    /// One line for people.
    pub message: String,
    /// What mends it, where that is known.
    pub remedy: String,
    /// The command had been handed to the server: its effect is not known.
    pub sent: bool,
}

/// Kinds of SSH trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SshErrorKind {
    /// Not reached.
    Connect,
}

/// One host. Thread-safe.
pub struct SshHost {
    target: SshTarget,
    addresses: Arc<dyn Addresses>,
}

impl SshHost {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(target: SshTarget, addresses: Arc<dyn Addresses>) -> SshHost {
        SshHost { target, addresses }
    }

    /// Runs a command.
    ///
    /// # Errors
    /// See [`SshErrorKind`].
    pub fn exec(&self, argv: &[&str], stdin: &[u8], deadline: Deadline, cancel: &Cancel) -> Result<ExecOutput, SshError> {
        let _ = (&self.target, &self.addresses, argv, stdin, deadline, cancel);
        Err(SshError {
            kind: SshErrorKind::Connect,
            at: String::new(),
            message: String::new(),
            remedy: String::new(),
            sent: false,
        })
    }

    /// Opens the session if it is not open, and proves that it answers.
    ///
    /// # Errors
    /// See [`SshErrorKind`].
    pub fn keep_alive(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), SshError> {
        let _ = (deadline, cancel);
        Ok(())
    }

    /// True while the session is open, as far as this side knows.
    #[must_use]
    pub fn is_open(&self) -> bool {
        false
    }

    /// Ends the kept session.
    pub fn close(&self) {}
}
