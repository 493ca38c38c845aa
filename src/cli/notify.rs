//! Word to the service manager, where there is one (`NOTIFY_SOCKET`). Its absence is no trouble.
//!
//! A service manager takes word of a service's main process alone, unless it is told otherwise. In a container that is the first
//! process, and the daemon is its child: then the daemon's word goes through the first process, over the daemon's standard input.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use sd_notify::NotifyState;

/// Tells the daemon that its standard input leads to the first process.
const THROUGH_STDIN: &str = "FAILOVER_NOTIFY_STDIN";
/// A longer message is none of the daemon's.
const LONGEST: u64 = 64 * 1024;
/// For the last words of a daemon that has ended, while somebody else holds its standard input open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Whether somebody listens.
pub fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Says it.
pub fn notify(word: &[NotifyState<'_>]) {
    let told = match first_process() {
        Some(first) => {
            let lines: Vec<String> = word.iter().map(ToString::to_string).collect();
            (&mut &*first).write_all(format!("{}\0", lines.join("\n")).as_bytes())
        }
        None => sd_notify::notify(word),
    };
    if let Err(error) = told {
        log::debug!("the service manager cannot be told: {error}");
    }
}

/// Where the first process listens, if this is its daemon.
fn first_process() -> Option<&'static UnixStream> {
    static FIRST: OnceLock<Option<UnixStream>> = OnceLock::new();
    let find = || {
        std::env::var_os(THROUGH_STDIN)?;
        let stdin = std::io::stdin();
        // What a person left in the environment is no such socket.
        let peer = rustix::net::sockopt::socket_peercred(stdin.as_fd()).ok()?;
        if Some(peer.pid) != rustix::process::getppid() {
            return None;
        }
        let stream = UnixStream::from(stdin.as_fd().try_clone_to_owned().ok()?);
        // A first process that is stuck stops nothing.
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    };
    FIRST.get_or_init(find).as_ref()
}

/// In the first process: passes on what its daemon says.
pub struct Relay {
    over: Receiver<()>,
}

impl Relay {
    /// Makes a daemon that is about to be started speak through this process. `None`: nobody listens.
    pub fn of(daemon: &mut std::process::Command) -> std::io::Result<Option<Relay>> {
        if !is_managed() {
            return Ok(None);
        }
        let (ours, its) = UnixStream::pair()?;
        daemon.stdin(Stdio::from(OwnedFd::from(its))).env(THROUGH_STDIN, "1");
        let (alive, over) = bounded::<()>(0);
        std::thread::Builder::new().name("notify".to_owned()).spawn(move || {
            pass_on(ours);
            drop(alive);
        })?;
        Ok(Some(Relay { over }))
    }

    /// The daemon has ended: what it said last is passed on too.
    pub fn finish(self) {
        let _ = self.over.recv_timeout(LAST_WORDS);
    }
}

fn pass_on(from: UnixStream) {
    let mut reader = BufReader::new(from);
    let mut message = Vec::new();
    loop {
        message.clear();
        match (&mut reader).take(LONGEST).read_until(0, &mut message) {
            Ok(count) if count > 0 && message.pop() == Some(0) => {}
            _ => return,
        }
        if let Ok(text) = std::str::from_utf8(&message) {
            // The daemon goes on whether or not the service manager hears it.
            let _ = sd_notify::notify(&[NotifyState::Custom(text)]);
        }
    }
}
