//! `failover run` as the first process of a pid namespace, as in a container. The kernel makes the first process the parent of every
//! orphan, and only a parent can take a dead child off the list of processes. So the first process does nothing but that: the daemon
//! runs as its child, whose own children are nobody else's to wait for.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::{Code, Trouble};
use super::notify::Relay;
use super::terminal::Terminal;

/// Whether this is the first process of its namespace.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Runs this very command as a child, passes signals on to it, and waits for it and for every orphan. Ends as the child ends.
pub fn run(terminal: Terminal) -> ExitCode {
    run_child().unwrap_or_else(|error| {
        let trouble = Trouble::new(Code::Failed, format!("cannot run the daemon as a child of the first process: {error}"));
        trouble.print(terminal);
        trouble.code.into()
    })
}

fn run_child() -> std::io::Result<ExitCode> {
    // Before there is a child: a first process is sent no signal that it does not catch.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCHLD])?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_else(|_| name.clone().into());
    let mut command = Command::new(program);
    // A group of its own: what a terminal sends to ours comes by way of us, and not twice.
    command.arg0(name).args(arguments).process_group(0);
    // The service manager's watchdog is the daemon's to feed.
    command.env_remove("WATCHDOG_PID");
    let relay = Relay::of(&mut command)?;
    let daemon = Pid::from_child(&command.spawn()?);
    // What was made for the child is closed here: it is over when the child is.
    drop(command);
    for signal in signals.forever() {
        let passed = match signal {
            SIGTERM => Signal::TERM,
            SIGINT => Signal::INT,
            SIGHUP => Signal::HUP,
            _ => {
                if let Some(code) = reap(daemon)? {
                    if let Some(relay) = relay {
                        relay.finish();
                    }
                    return Ok(code);
                }
                continue;
            }
        };
        // One that has just ended is waited for next.
        let _ = kill_process(daemon, passed);
    }
    Ok(Code::Failed.into())
}

/// Takes every child that has ended off the list. How the daemon ended, if it did.
fn reap(daemon: Pid) -> std::io::Result<Option<ExitCode>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == daemon => return Ok(Some(code_of(status))),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// As a shell tells it.
fn code_of(status: WaitStatus) -> ExitCode {
    let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
