//! Commands over SSH, with one deadline over everything.
//!
//! A handshake costs 70 to 210 ms, a command over an open session 2 to 9 ms (rule 98): so each host keeps one session
//! open. The session runs in libssh2's non-blocking mode and every wait is a `poll` of our own, because libssh2's own
//! timeout starts anew with every call: a dripping server stretches it for ever.

mod connection;
pub(crate) mod known_hosts;
mod quote;

use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use ssh2::{BlockDirections, Channel, ErrorCode};

use self::connection::Connection;
pub(crate) use self::quote::command_line;
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::secret::Secret;
use crate::wire::resolve::Addresses;

/// What is kept of each output stream, in bytes; the rest is read and thrown away.
pub(crate) const LONGEST_OUTPUT: usize = 1024 * 1024;
/// How long a caller waits for the kept session while another one uses it, before it opens one for itself.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long the kept session may take to open a channel before it counts as dead.
const PROOF_OF_LIFE: Duration = Duration::from_secs(1);
/// How often a caller waiting behind another one looks at its cancel signal.
const GLANCE: Duration = Duration::from_millis(20);
const REQUEST_DENIED: ErrorCode = ErrorCode::Session(-22);

/// Whom to reach, as whom, and how the host proves who it is.
#[derive(Clone, Debug)]
pub(crate) struct SshTarget {
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
    /// Ask the agent named by `SSH_AUTH_SOCK` first. It must not need a person: a key added with `ssh-add -c` does.
    pub agent: bool,
    /// OpenSSH's `known_hosts` file. A host that is not in it is never talked to.
    pub known_hosts: PathBuf,
}

/// What a finished command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExecOutput {
    /// The exit code; `None` when a signal ended the command. A server that loses the code reports 0, so a caller that
    /// must be sure also looks for what the command prints last.
    pub code: Option<i32>,
    /// The signal that ended the command, without `SIG`: `KILL`, `TERM`.
    pub signal: Option<String>,
    /// Standard output, at most [`LONGEST_OUTPUT`] bytes.
    pub stdout: Vec<u8>,
    /// Standard error, at most [`LONGEST_OUTPUT`] bytes.
    pub stderr: Vec<u8>,
    /// One of them was longer than is kept.
    pub truncated: bool,
}

/// Why a command has no output to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ssh {at}: {message}")]
pub(crate) struct SshError {
    /// What kind of trouble.
    pub kind: SshErrorKind,
    /// `user@host:port`.
    pub at: String,
    /// One line for people. Never holds a secret.
    pub message: String,
    /// What mends it, where that is known.
    pub remedy: String,
    /// The command had been handed to the server: its effect is not known. `false`: it was certainly not run.
    pub sent: bool,
}

/// Kinds of SSH trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum SshErrorKind {
    /// The name has no known address.
    Resolve,
    /// No TCP connection.
    Connect,
    /// What answered does not speak SSH as we do.
    Handshake,
    /// The `known_hosts` file cannot be read.
    KnownHosts,
    /// The host is not in `known_hosts`.
    HostKeyUnknown,
    /// `known_hosts` has another key for the host.
    HostKeyMismatch,
    /// The host's key is marked as revoked.
    HostKeyRevoked,
    /// The server did not let us in.
    Authentication,
    /// The server would not run the command.
    Refused,
    /// The session broke, or the server said something it should not.
    Protocol,
    /// The deadline passed.
    TimedOut,
    /// Cancelled by us.
    Cancelled,
    /// An argument that no command line can hold.
    BadArgument,
    /// No descriptors or memory on our side.
    OwnResources,
}

impl SshErrorKind {}

/// An error before it knows where it happened.
#[derive(Debug)]
struct Trouble {
    kind: SshErrorKind,
    message: String,
    remedy: String,
    sent: bool,
}

impl Trouble {
    fn new(kind: SshErrorKind, message: impl Into<String>, remedy: impl Into<String>) -> Trouble {
        Trouble { kind, message: message.into(), remedy: remedy.into(), sent: false }
    }

    fn interrupted(why: Interrupted, doing: &str) -> Trouble {
        match why {
            Interrupted::TimedOut => Trouble::new(SshErrorKind::TimedOut, format!("the deadline passed: {doing}"), ""),
            Interrupted::Cancelled => Trouble::new(SshErrorKind::Cancelled, format!("cancelled: {doing}"), ""),
        }
    }

    fn after_sending(self) -> Trouble {
        Trouble { sent: true, ..self }
    }
}

/// One host, with one session kept open. Thread-safe; a caller that finds the session in use for long opens one for
/// itself, so that no command waits behind a slow one.
pub(crate) struct SshHost {
    target: SshTarget,
    addresses: Arc<dyn Addresses>,
    slot: Mutex<Slot>,
    returned: Condvar,
}

struct Slot {
    kept: Option<Connection>,
    in_use: bool,
    /// [`SshHost::close`] was called while the session was in use.
    retire: bool,
}

/// The right to use the kept session, given back when dropped.
struct Lease<'a> {
    host: &'a SshHost,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut slot = self.host.slot.lock();
        slot.in_use = false;
        let retire = std::mem::take(&mut slot.retire);
        slot.kept = self.connection.take().filter(|_| !retire);
        drop(slot);
        self.host.returned.notify_one();
    }
}

impl SshHost {
    /// Connects to nothing yet.
    #[must_use]
    pub(crate) fn new(target: SshTarget, addresses: Arc<dyn Addresses>) -> SshHost {
        let slot = Mutex::new(Slot { kept: None, in_use: false, retire: false });
        SshHost { target, addresses, slot, returned: Condvar::new() }
    }

    /// The account and address, as errors show it: `user@host:port`.
    #[must_use]
    pub(crate) fn at(&self) -> String {
        format!("{}@{}:{}", self.target.user, self.target.host, self.target.port)
    }

    /// Runs a command, given as a list of arguments, in `/`, feeds it `stdin`, and waits until it ended.
    ///
    /// The remote side is bounded too: `timeout(1)` there ends the command soon after our deadline (whole seconds, rounded
    /// up; SIGKILL one second later). A command is never sent twice: the kept session is replaced only while the command
    /// has not been handed over.
    ///
    /// # Errors
    /// See [`SshErrorKind`]; [`SshError::sent`] tells whether the command may have had an effect.
    #[cfg(test)]
    pub(crate) fn exec(&self, argv: &[&str], stdin: &[u8], deadline: Deadline, cancel: &Cancel) -> Result<ExecOutput, SshError> {
        self.exec_behind(&[], argv, stdin, deadline, cancel, &mut |_| {})
    }

    /// As [`SshHost::exec`], with `before` (`sudo` and its options) in front of `timeout(1)`, so that this has the right to
    /// end what it started. Hands every piece of the standard output to `heard` as it comes.
    ///
    /// # Errors
    /// See [`SshErrorKind`]; [`SshError::sent`] tells whether the command may have had an effect.
    pub(crate) fn exec_behind(
        &self,
        before: &[&str],
        argv: &[&str],
        stdin: &[u8],
        deadline: Deadline,
        cancel: &Cancel,
        heard: &mut dyn FnMut(&[u8]),
    ) -> Result<ExecOutput, SshError> {
        let limit = whole_seconds(deadline).to_string();
        let list = [before, &["timeout", "-k", "1", &limit], argv].concat();
        let line = command_line(&list).ok_or_else(|| self.error(bad_argument()))?;
        // `exec`, so that a signal which ends the command is reported as such and not as the login shell's exit code;
        // `cd /`, so that the login shell does not itself sit in a data directory that is somebody's home.
        self.exec_line(&format!("cd / && exec {line}"), stdin, deadline, cancel, heard)
    }

    /// As [`SshHost::exec`] for an account whose key has a forced command: sends the arguments alone, because the forced
    /// command decides what they mean, and has to bound itself; feeds it `stdin`. Hands every piece of the standard output to `heard`
    /// as it comes.
    ///
    /// # Errors
    /// See [`SshErrorKind`]; [`SshError::sent`] tells whether the command may have had an effect.
    pub(crate) fn exec_forced(
        &self,
        argv: &[&str],
        stdin: &[u8],
        deadline: Deadline,
        cancel: &Cancel,
        heard: &mut dyn FnMut(&[u8]),
    ) -> Result<ExecOutput, SshError> {
        let line = command_line(argv).ok_or_else(|| self.error(bad_argument()))?;
        self.exec_line(&line, stdin, deadline, cancel, heard)
    }

    /// Opens the kept session if it is not open; if it is, proves that the server still answers on it, and answers what
    /// the server asked meanwhile. Call it every few seconds. Returns at once while a command is using the session.
    ///
    /// # Errors
    /// See [`SshErrorKind`]; the session is then closed and the next call tries again.
    pub(crate) fn keep_alive(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), SshError> {
        let Some(mut lease) = self.try_lease() else { return Ok(()) };
        let (connection, mut channel) = self.channel(&mut lease, deadline, cancel).map_err(|trouble| self.error(trouble))?;
        connection
            .drive("keeping the session alive", deadline, cancel, || channel.close())
            .map_err(|trouble| self.error(trouble))?;
        lease.connection = Some(connection);
        Ok(())
    }

    /// True while the kept session is open, as far as this side can know without asking.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        let slot = self.slot.lock();
        slot.in_use || slot.kept.as_ref().is_some_and(|connection| !connection.is_dead())
    }

    /// Ends the kept session; one in use ends with the command that uses it. Never waits.
    pub(crate) fn close(&self) {
        let mut slot = self.slot.lock();
        slot.retire = slot.in_use;
        let kept = slot.kept.take();
        drop(slot);
        drop(kept);
    }

    fn exec_line(
        &self,
        line: &str,
        stdin: &[u8],
        deadline: Deadline,
        cancel: &Cancel,
        heard: &mut dyn FnMut(&[u8]),
    ) -> Result<ExecOutput, SshError> {
        let mut run = || {
            if let Some(mut lease) = self.lease(deadline, cancel)? {
                let (connection, channel) = self.channel(&mut lease, deadline, cancel)?;
                let output = run_command(&connection, channel, line, stdin, deadline, cancel, heard)?;
                lease.connection = Some(connection);
                return Ok(output);
            }
            let connection = Connection::open(&self.target, self.addresses.as_ref(), deadline, cancel)?;
            let channel = open_channel(&connection, deadline, cancel)?;
            run_command(&connection, channel, line, stdin, deadline, cancel, heard)
        };
        run().map_err(|trouble| self.error(trouble))
    }

    fn error(&self, trouble: Trouble) -> SshError {
        let Trouble { kind, message, remedy, sent } = trouble;
        SshError { kind, at: self.at(), message, remedy, sent }
    }

    fn try_lease(&self) -> Option<Lease<'_>> {
        let mut slot = self.slot.lock();
        if slot.in_use {
            return None;
        }
        slot.in_use = true;
        let connection = slot.kept.take();
        drop(slot);
        Some(Lease { host: self, connection })
    }

    /// The kept session, or `None` when somebody else has used it for longer than we wait.
    fn lease(&self, deadline: Deadline, cancel: &Cancel) -> Result<Option<Lease<'_>>, Trouble> {
        let patience = deadline.at_most(PATIENCE);
        loop {
            if let Some(lease) = self.try_lease() {
                return Ok(Some(lease));
            }
            if cancel.is_cancelled() {
                return Err(Trouble::interrupted(Interrupted::Cancelled, "waiting for the session"));
            }
            if patience.is_over() {
                return Ok(None);
            }
            let mut slot = self.slot.lock();
            if slot.in_use {
                self.returned.wait_until(&mut slot, patience.at_most(GLANCE).instant());
            }
        }
    }

    /// A channel on the kept session, which is replaced if it turns out to be dead.
    fn channel(&self, lease: &mut Lease<'_>, deadline: Deadline, cancel: &Cancel) -> Result<(Connection, Channel), Trouble> {
        if let Some(kept) = lease.connection.take().filter(|kept| !kept.is_dead()) {
            let proof = deadline.at_most((deadline.remaining() / 2).min(PROOF_OF_LIFE));
            match open_channel(&kept, proof, cancel) {
                Ok(channel) => return Ok((kept, channel)),
                Err(trouble) if trouble.kind == SshErrorKind::Cancelled => return Err(trouble),
                // Nothing was sent on it: a new connection is safe.
                Err(_) => drop(kept),
            }
        }
        let fresh = Connection::open(&self.target, self.addresses.as_ref(), deadline, cancel)?;
        let channel = open_channel(&fresh, deadline, cancel)?;
        Ok((fresh, channel))
    }
}

impl std::fmt::Debug for SshHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshHost").field("at", &self.at()).finish_non_exhaustive()
    }
}

fn bad_argument() -> Trouble {
    Trouble::new(SshErrorKind::BadArgument, "an argument holds a NUL byte", "")
}

/// What is left of a deadline in whole seconds for `timeout(1)`, at least one.
pub(crate) fn whole_seconds(deadline: Deadline) -> u64 {
    deadline.remaining().as_millis().div_ceil(1000).clamp(1, 86_400) as u64
}

fn open_channel(connection: &Connection, deadline: Deadline, cancel: &Cancel) -> Result<Channel, Trouble> {
    connection.drive("opening a channel", deadline, cancel, || connection.session.channel_session())
}

/// Hands a command over and waits for its end. Both output streams share one flow-control window, so both have to be
/// read as they come: reading one to its end first blocks for ever on a command that fills the other.
fn run_command(
    connection: &Connection,
    mut channel: Channel,
    line: &str,
    stdin: &[u8],
    deadline: Deadline,
    cancel: &Cancel,
    heard: &mut dyn FnMut(&[u8]),
) -> Result<ExecOutput, Trouble> {
    start(connection, &mut channel, line, deadline, cancel)?;
    let mut exchange = || {
        let mut output = ExecOutput::default();
        let mut input = stdin;
        let mut input_ended = false;
        let mut errors = channel.stderr();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let mut moved = false;
            if !input.is_empty() {
                match patiently(connection, deadline, cancel, || channel.write(input))? {
                    Moved::Bytes(count) => {
                        input = &input[count..];
                        moved |= count > 0;
                    }
                    Moved::Nothing => {}
                    // It does not read on: what it prints tells why.
                    Moved::Failed(_) => input = &[],
                }
            }
            if input.is_empty() && !input_ended {
                let end = || channel.send_eof().map(|()| 0).map_err(std::io::Error::from);
                input_ended = !matches!(patiently(connection, deadline, cancel, end)?, Moved::Nothing);
            }
            match patiently(connection, deadline, cancel, || channel.read(&mut buffer))? {
                Moved::Bytes(count) => {
                    moved |= count > 0;
                    heard(&buffer[..count]);
                    keep(&mut output.stdout, &buffer[..count], &mut output.truncated);
                }
                Moved::Nothing => {}
                Moved::Failed(reason) => return Err(broken(&reason)),
            }
            match patiently(connection, deadline, cancel, || errors.read(&mut buffer))? {
                Moved::Bytes(count) => {
                    moved |= count > 0;
                    keep(&mut output.stderr, &buffer[..count], &mut output.truncated);
                }
                Moved::Nothing => {}
                Moved::Failed(reason) => return Err(broken(&reason)),
            }
            if channel.eof() {
                break;
            }
            if cancel.is_cancelled() {
                return Err(Trouble::interrupted(Interrupted::Cancelled, "running the command"));
            }
            if deadline.is_over() {
                return Err(Trouble::interrupted(Interrupted::TimedOut, "running the command"));
            }
            // What came in for one stream while the other was read is libssh2's already: the socket would wake nobody.
            if !moved && channel.read_window().available == 0 {
                connection.wait(deadline, cancel).map_err(|why| Trouble::interrupted(why, "running the command"))?;
            }
        }
        // The exit code or signal comes between the end of the output and the close.
        connection.drive("ending the command", deadline, cancel, || channel.close())?;
        connection.drive("ending the command", deadline, cancel, || channel.wait_close())?;
        // A command ended by a signal has no exit code, which libssh2 shows as 0.
        output.signal = channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
        if output.signal.is_none() {
            output.code = channel.exit_status().ok();
        }
        Ok(output)
    };
    exchange().map_err(Trouble::after_sending)
}

fn start(connection: &Connection, channel: &mut Channel, line: &str, deadline: Deadline, cancel: &Cancel) -> Result<(), Trouble> {
    let mut denied = false;
    let started = connection.drive("starting the command", deadline, cancel, || {
        channel.exec(line).inspect_err(|error| denied = error.code() == REQUEST_DENIED)
    });
    match started {
        Err(_) if denied => Err(Trouble::new(
            SshErrorKind::Refused,
            "the server refused to run a command",
            "may the account run commands? (ForceCommand, restrict, login shell)",
        )),
        other => other.map_err(Trouble::after_sending),
    }
}

enum Moved {
    Bytes(usize),
    Nothing,
    Failed(String),
}

/// One read or write. A packet that is half out must be finished by the very same call before any other may send, so
/// that case waits here.
fn patiently(
    connection: &Connection,
    deadline: Deadline,
    cancel: &Cancel,
    mut call: impl FnMut() -> std::io::Result<usize>,
) -> Result<Moved, Trouble> {
    loop {
        match call() {
            Ok(count) => return Ok(Moved::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => match connection.session.block_directions() {
                BlockDirections::Outbound | BlockDirections::Both => {
                    connection.wait(deadline, cancel).map_err(|why| Trouble::interrupted(why, "sending"))?;
                }
                BlockDirections::Inbound | BlockDirections::None => return Ok(Moved::Nothing),
            },
            Err(error) => return Ok(Moved::Failed(error.to_string())),
        }
    }
}

fn broken(reason: &str) -> Trouble {
    Trouble::new(SshErrorKind::Protocol, format!("the session broke while the command ran: {reason}"), "")
}

fn keep(kept: &mut Vec<u8>, more: &[u8], truncated: &mut bool) {
    let room = LONGEST_OUTPUT.saturating_sub(kept.len());
    kept.extend_from_slice(&more[..more.len().min(room)]);
    *truncated |= more.len() > room;
}
