//! Child processes that are reaped as they end and killed when their guard goes, and what `/proc` says about others.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::lab::Watchdog;

/// A child in a process group of its own. A thread reaps it at once, so that it is never seen as a zombie.
pub struct Process {
    name: String,
    pid: i32,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    status: Mutex<Option<ExitStatus>>,
    ended: Condvar,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Process {
    /// Starts `command` in its own group and names it to the watchdog.
    pub fn spawn(name: &str, command: &mut Command, watchdog: &Arc<Watchdog>) -> io::Result<Process> {
        Ok(Process::spawn_with(name, command, watchdog)?.0)
    }

    /// As `spawn`, and hands out the child's pipes.
    pub fn spawn_with(name: &str, command: &mut Command, watchdog: &Arc<Watchdog>) -> io::Result<(Process, Pipes)> {
        let mut child = command.process_group(0).spawn().map_err(|error| context(&error, &format!("cannot start {name}")))?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        watchdog.add(pid);
        let pipes = Pipes { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() };
        let state = Arc::new(State::default());
        let (reaper_state, reaper_watchdog) = (Arc::clone(&state), Arc::clone(watchdog));
        std::thread::Builder::new()
            .name(format!("reaper-{name}"))
            .spawn(move || reap(child, pid, &reaper_state, &reaper_watchdog))?;
        Ok((Process { name: name.to_owned(), pid, state }, pipes))
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is its group's too.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.state.lock()
    }

    /// True while it runs.
    pub fn is_running(&self) -> bool {
        self.status().is_none()
    }

    /// Waits until it ends; `None` when it has not by then.
    pub fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + timeout;
        let mut status = self.state.lock();
        while status.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            status = match self.state.ended.wait_timeout(status, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        *status
    }

    /// Sends a signal to the process alone. Nothing happens once it has ended: its number may belong to somebody else.
    pub fn signal(&self, signal: Signal) {
        let status = self.state.lock();
        if let (None, Some(pid)) = (*status, Pid::from_raw(self.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Sends a signal to the whole group.
    pub fn signal_group(&self, signal: Signal) {
        let status = self.state.lock();
        if let (None, Some(pid)) = (*status, Pid::from_raw(self.pid)) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal_group(Signal::KILL);
        self.wait(Duration::from_secs(10));
    }
}

/// A child's pipes, where it was started with any.
pub struct Pipes {
    /// Its standard input.
    pub stdin: Option<std::process::ChildStdin>,
    /// Its standard output.
    pub stdout: Option<std::process::ChildStdout>,
    /// Its standard error.
    pub stderr: Option<std::process::ChildStderr>,
}

fn reap(mut child: Child, pid: i32, state: &State, watchdog: &Watchdog) {
    // Waits without reaping first: the number stays ours until the lock is held, so `signal` cannot hit a stranger.
    if let Some(pid) = Pid::from_raw(pid) {
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
    }
    let mut status = state.lock();
    *status = child.wait().ok();
    watchdog.remove(pid);
    state.ended.notify_all();
}

/// One process as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// The state letter: `R`, `S`, `D`, `T`, `Z`...
    pub state: char,
    /// Its command name.
    pub name: String,
    /// Its working directory, where it may be read.
    pub cwd: Option<PathBuf>,
}

impl Seen {
    /// Reads one process; `None` when it is gone.
    pub fn read(pid: i32) -> Option<Seen> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold blanks and brackets; the last closing bracket ends it.
        let (head, rest) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
        Some(Seen { pid, parent, group, state, name, cwd })
    }

    /// Works in `dir` or below it. A removed directory counts: its name is only marked as deleted.
    pub fn works_in(&self, dir: &Path) -> bool {
        self.cwd
            .as_deref()
            .is_some_and(|cwd| cwd.starts_with(dir) || cwd.to_string_lossy().starts_with(&format!("{}/", dir.display())))
    }
}

/// Every process of the machine that is not a zombie.
pub fn processes() -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Seen::read)
        .filter(|seen| seen.state != 'Z')
        .collect()
}

/// Processes that work in `dir`.
pub fn working_in(dir: &Path) -> Vec<Seen> {
    processes().into_iter().filter(|seen| seen.works_in(dir)).collect()
}

/// Sends `signal` to each of `pids`; those that are gone are none of our business.
pub fn signal_all(pids: impl IntoIterator<Item = i32>, signal: Signal) {
    for pid in pids.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Kills everything that works in `dir`, belongs to one of `groups`, or descends from such a process, until nothing is left.
pub fn sweep(dir: Option<&Path>, groups: &BTreeSet<i32>) {
    let ourselves = i32::try_from(std::process::id()).unwrap_or(0);
    for _ in 0..200 {
        let all = processes();
        let mut doomed: BTreeSet<i32> = all
            .iter()
            .filter(|seen| seen.pid != ourselves && (groups.contains(&seen.group) || dir.is_some_and(|dir| seen.works_in(dir))))
            .map(|seen| seen.pid)
            .collect();
        loop {
            let children: Vec<i32> = all
                .iter()
                .filter(|seen| doomed.contains(&seen.parent) && !doomed.contains(&seen.pid))
                .map(|seen| seen.pid)
                .collect();
            if children.is_empty() {
                break;
            }
            doomed.extend(children);
        }
        if doomed.is_empty() {
            return;
        }
        // KILL is heard by stopped processes too.
        signal_all(doomed, Signal::KILL);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes the segments of shared memory that killed postmasters below `dir` have left: the kernel has few of them.
pub fn remove_segments(dir: &Path) {
    let folders = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for file in folders.map(|folder| folder.path().join("postmaster.pid")) {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        // Its key, and its number.
        if let Some(id) = text.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = Command::new("ipcrm").args(["-m", id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// The same error with what was being done in front.
pub fn context(error: &io::Error, doing: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}
