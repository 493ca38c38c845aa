//! A child process with a deadline: its own process group, bounded output, always reaped.
//!
//! What the child gets from us is fixed: the argument list as it is (no shell), an environment of [`INHERITED`] and what the
//! caller adds, standard input from bytes or empty, and signals as a shell would start it with. Its working directory is ours.
//!
//! Starting a program reads it from disk, and a file system that hangs cannot be interrupted: commands belong on threads that
//! nobody else waits for.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};

use crate::deadline::{Cancel, Deadline, Interrupted};

/// The variables of our own environment that a child sees, where they are set.
pub(crate) const INHERITED: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "TMPDIR"];

/// The search path where our own environment has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Kept of each output stream unless the caller says otherwise; the rest is read and thrown away, so the child never blocks on it.
pub(crate) const OUTPUT_LIMIT: usize = 64 * 1024;

/// Between SIGTERM and SIGKILL when the time is over.
pub(crate) const TERM_GRACE: Duration = Duration::from_millis(500);

/// How long the output is read on after the child itself has ended: what it wrote is there already, and a grandchild that
/// holds the pipe open is not waited for.
const DRAIN: Duration = Duration::from_millis(50);

/// After SIGKILL, how long the kernel may take to end the child (it does not while a disk hangs).
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at a child where the kernel has no descriptor for it to wait on.
const LOOK: Duration = Duration::from_millis(5);

/// A command to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Command {
    /// The program and its arguments. A program without a slash is looked for in `PATH`.
    pub argv: Vec<OsString>,
    /// Set in its environment, in addition to [`INHERITED`].
    pub env: Vec<(OsString, OsString)>,
    /// Its standard input; empty: `/dev/null`.
    pub stdin: Vec<u8>,
    /// Bytes kept of each output stream; zero: [`OUTPUT_LIMIT`].
    pub output_limit: usize,
}

/// What a finished child left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// How it ended.
    pub end: End,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
    /// More was written than is kept.
    pub truncated: bool,
}

/// How a child ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal, which was not ours.
    Signal(i32),
}

/// Why there is no end to report.
#[derive(Debug)]
pub(crate) enum Error {
    /// There was no time left, or the cancel signal was given before it was started: nothing has happened.
    NotBegun {
        /// The program.
        program: String,
        /// Which of the two.
        why: Interrupted,
    },
    /// It could not be started: nothing has happened.
    Start {
        /// The program.
        program: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The deadline passed or the cancel signal was given: the whole process group was told to end, then killed.
    Ended {
        /// The program.
        program: String,
        /// Which of the two.
        why: Interrupted,
        /// The beginning of what it had written by then, standard output before standard error.
        said: Vec<u8>,
        /// False: it did not even end on SIGKILL, and stays behind in the kernel.
        gone: bool,
    },
    /// It ran and ended, and its exit status is lost: the host program ignores SIGCHLD, or waits for children it does not know.
    StatusLost {
        /// The program.
        program: String,
    },
    /// Waiting for it failed.
    Wait {
        /// The program.
        program: String,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotBegun { program, why: Interrupted::TimedOut } => write!(f, "no time was left to run {program}"),
            Error::NotBegun { program, why: Interrupted::Cancelled } => write!(f, "cancelled before {program} was run"),
            Error::Start { program, source } => write!(f, "{program} could not be started: {source}"),
            Error::Ended { program, why, said, gone } => {
                let why = match why {
                    Interrupted::TimedOut => "was not done by its deadline and was ended",
                    Interrupted::Cancelled => "was cancelled and ended",
                };
                write!(f, "{program} {why}")?;
                if !gone {
                    f.write_str(", but is stuck in the kernel and did not end")?;
                }
                match first_line(said) {
                    line if line.is_empty() => Ok(()),
                    line => write!(f, "; it had said: {line}"),
                }
            }
            Error::StatusLost { program } => write!(
                f,
                "{program} ended and its exit status is lost (ECHILD): the host program ignores SIGCHLD or reaps children that \
                 are not its own"
            ),
            Error::Wait { program, source } => write!(f, "waiting for {program} failed: {source}"),
        }
    }
}

impl std::error::Error for Error {}

impl Output {
    /// The first line that says something, of standard error or else of standard output; for messages.
    #[must_use]
    pub(crate) fn line(&self) -> String {
        let line = first_line(&self.stderr);
        if line.is_empty() { first_line(&self.stdout) } else { line }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Code(code) => write!(f, "exit code {code}"),
            End::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The first line with something in it, bounded, without control characters.
fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(300).map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl Command {
    /// A command with these arguments, the program first.
    #[must_use]
    pub(crate) fn new<S: Into<OsString>>(argv: impl IntoIterator<Item = S>) -> Command {
        Command { argv: argv.into_iter().map(Into::into).collect(), ..Command::default() }
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Command {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The program, for messages. Arguments are left out: they may hold what is nobody's business.
    #[must_use]
    pub(crate) fn program(&self) -> String {
        self.argv.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Runs it to its end, at the latest until the deadline and a grace of [`TERM_GRACE`] for its farewell.
    ///
    /// Processes that it left behind in the background are not touched when it ends in time: starting a server is a fair thing
    /// for a command to do. When the time is over the whole process group goes.
    ///
    /// # Errors
    /// Every end but its own; see [`Error`].
    pub(crate) fn run(&self, deadline: Deadline, cancel: &Cancel) -> Result<Output, Error> {
        let program = self.program();
        if cancel.is_cancelled() || deadline.is_over() {
            let why = if cancel.is_cancelled() { Interrupted::Cancelled } else { Interrupted::TimedOut };
            return Err(Error::NotBegun { program, why });
        }
        let child = self.spawn().map_err(|source| Error::Start { program: program.clone(), source })?;
        let limit = if self.output_limit == 0 { OUTPUT_LIMIT } else { self.output_limit };
        Running::new(child, program, limit).and_then(|running| running.finish(deadline, cancel))
    }

    fn spawn(&self) -> io::Result<Child> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an empty argument list"));
        };
        // Looked up here, because the standard library starts a program given by its path the quick way, without a fork.
        let program = find(program)?;
        let mut command = match cleaner() {
            None => std::process::Command::new(program),
            Some(cleaner) => {
                let mut command = std::process::Command::new(cleaner);
                command.arg("--default-signal").arg("--").arg(program);
                command
            }
        };
        command.args(arguments).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()));
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::from(in_memory(&self.stdin)?) });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.spawn()
    }
}

/// The program that starts another one with no signal blocked or ignored, if this thread's own state makes that necessary.
///
/// A child inherits both from the thread that starts it, and an embedding program may well block signals in all of its threads;
/// its children would then not hear SIGTERM. Changing our own mask even for a moment could deliver a signal to this thread that
/// the host meant to read elsewhere, so the change is made in the child, by `env` of coreutils.
fn cleaner() -> Option<&'static str> {
    const ENV: &str = "/usr/bin/env";
    static ABLE: OnceLock<bool> = OnceLock::new();
    if !unusual_signals() {
        return None;
    }
    let able = *ABLE.get_or_init(|| {
        let trial = std::process::Command::new(ENV).args(["--default-signal", "--", "true"]).stderr(Stdio::null()).spawn();
        // Where SIGCHLD is ignored the status is lost; then judge by the documented option instead.
        trial.is_ok_and(|mut child| child.wait().map_or(true, |status| status.success()))
    });
    able.then_some(ENV)
}

/// A blocked signal, or an ignored SIGCHLD, SIGTERM or SIGINT, on this thread.
fn unusual_signals() -> bool {
    const WATCHED: u64 = 1 << (Signal::CHILD.as_raw() - 1) | 1 << (Signal::TERM.as_raw() - 1) | 1 << (Signal::INT.as_raw() - 1);
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/status") else { return false };
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        u64::from_str_radix(line.trim(), 16).unwrap_or(0)
    };
    set("SigBlk:") != 0 || set("SigIgn:") & WATCHED != 0
}

/// Looks a program up as `execvp` does.
fn find(program: &OsStr) -> io::Result<OsString> {
    if program.as_encoded_bytes().contains(&b'/') {
        return if Path::new(program).metadata()?.is_file() && is_program(Path::new(program)) {
            Ok(program.to_owned())
        } else {
            Err(Errno::ACCESS.into())
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_program(file))
        .map(Into::into)
        .ok_or_else(|| Errno::NOENT.into())
}

fn is_program(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The child's standard input as a file in memory: unlike a pipe it never fills up, and a child that does not read it cannot
/// raise SIGPIPE in the host program.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// A started child and our ends of its pipes.
struct Running {
    child: Child,
    pid: Pid,
    program: String,
    /// Readable once the child has ended; `None` where the kernel has no such thing, then it is looked at again and again.
    exit: Option<OwnedFd>,
    stdout: Pipe<std::process::ChildStdout>,
    stderr: Pipe<std::process::ChildStderr>,
}

/// One output stream: what is kept of it, while it is open.
struct Pipe<R> {
    open: Option<R>,
    kept: Vec<u8>,
    limit: usize,
    truncated: bool,
}

impl<R: Read + AsFd> Pipe<R> {
    fn new(open: Option<R>, limit: usize) -> io::Result<Pipe<R>> {
        if let Some(pipe) = &open {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Pipe { open, kept: Vec::new(), limit, truncated: false })
    }

    /// Takes what is there, at most a few buffers so that a child that never stops writing does not keep us from the clock.
    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..4 {
            let Some(pipe) = &mut self.open else { return };
            match pipe.read(&mut buffer) {
                Ok(0) => self.open = None,
                Ok(count) => {
                    let room = self.limit.saturating_sub(self.kept.len()).min(count);
                    self.kept.extend_from_slice(&buffer[..room]);
                    self.truncated |= room < count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.open = None,
            }
        }
    }
}

impl Running {
    fn new(mut child: Child, program: String, limit: usize) -> Result<Running, Error> {
        let pid = Pid::from_child(&child);
        let pipes = Pipe::new(child.stdout.take(), limit).and_then(|out| Ok((out, Pipe::new(child.stderr.take(), limit)?)));
        match pipes {
            Ok((stdout, stderr)) => {
                let exit = pidfd_open(pid, PidfdFlags::empty()).ok();
                Ok(Running { child, pid, program, exit, stdout, stderr })
            }
            Err(source) => {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                Err(Error::Wait { program, source })
            }
        }
    }

    fn finish(mut self, deadline: Deadline, cancel: &Cancel) -> Result<Output, Error> {
        match self.serve(deadline, Some(cancel)) {
            Ok(()) => {}
            Err(why) => return Err(self.end(why)),
        }
        // It has ended and is not yet reaped. What it wrote before is in the pipes; read on while it flows, but not for long.
        let drain = deadline.at_most(DRAIN);
        while self.stdout.open.is_some() || self.stderr.open.is_some() {
            if self.serve_pipes(drain).is_err() {
                break;
            }
        }
        let program = self.program;
        match self.child.wait() {
            Ok(status) => Ok(Output {
                end: end_of(status),
                stdout: self.stdout.kept,
                stderr: self.stderr.kept,
                truncated: self.stdout.truncated || self.stderr.truncated,
            }),
            Err(error) if lost(&error) => Err(Error::StatusLost { program }),
            Err(source) => Err(Error::Wait { program, source }),
        }
    }

    /// Ends the whole group: asks, then kills, then reaps. Grandchildren that ignored the first are killed with the child.
    fn end(mut self, why: Interrupted) -> Error {
        let _ = kill_process_group(self.pid, Signal::TERM);
        // Cancelled too: the farewell is short and bounded.
        let polite = self.serve(Deadline::after(TERM_GRACE), None).is_ok();
        let _ = kill_process_group(self.pid, Signal::KILL);
        let gone = polite || self.serve(Deadline::after(KILL_PATIENCE), None).is_ok();
        self.stdout.read();
        self.stderr.read();
        if gone {
            let _ = self.child.wait();
        } else {
            reap_later(self.child);
        }
        let mut said = self.stdout.kept;
        said.extend_from_slice(&self.stderr.kept);
        Error::Ended { program: self.program, why, said, gone }
    }

    /// Moves bytes until the child has ended.
    fn serve(&mut self, deadline: Deadline, cancel: Option<&Cancel>) -> Result<(), Interrupted> {
        loop {
            if cancel.is_some_and(Cancel::is_cancelled) {
                return Err(Interrupted::Cancelled);
            }
            if self.has_ended() {
                return Ok(());
            }
            if deadline.is_over() {
                return Err(Interrupted::TimedOut);
            }
            let wait = if self.exit.is_some() { deadline.remaining() } else { deadline.remaining().min(LOOK) };
            self.wait_for_something(wait, cancel);
            self.move_bytes();
        }
    }

    /// Reads what is left after the end, until both pipes are closed or the deadline.
    fn serve_pipes(&mut self, deadline: Deadline) -> Result<(), Interrupted> {
        self.move_bytes();
        if self.stdout.open.is_none() && self.stderr.open.is_none() {
            return Ok(());
        }
        if deadline.is_over() {
            return Err(Interrupted::TimedOut);
        }
        let exit = self.exit.take();
        self.wait_for_something(deadline.remaining(), None);
        self.exit = exit;
        Ok(())
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), options) {
            Ok(status) => status.is_some(),
            Err(Errno::INTR) => false,
            // No such child: it was reaped behind our back, and its status with it.
            Err(_) => true,
        }
    }

    fn wait_for_something(&self, span: Duration, cancel: Option<&Cancel>) {
        let mut fds = Vec::with_capacity(5);
        fds.extend(self.exit.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(cancel.map(|cancel| PollFd::new(cancel, PollFlags::IN)));
        fds.extend(self.stdout.open.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(self.stderr.open.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let span =
            Timespec { tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(span.subsec_nanos()) };
        let _ = poll(&mut fds, Some(&span));
    }

    fn move_bytes(&mut self) {
        self.stdout.read();
        self.stderr.read();
    }
}

/// A child that even SIGKILL does not end sits in the kernel. Somebody has to take its status when it comes back.
fn reap_later(mut child: Child) {
    let waiter = std::thread::Builder::new().name("fo-reaper".to_owned()).stack_size(64 * 1024);
    let _ = waiter.spawn(move || child.wait());
}

fn lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::CHILD.raw_os_error())
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, Some(signal)) => End::Signal(signal),
        (None, None) => End::Signal(0),
    }
}
