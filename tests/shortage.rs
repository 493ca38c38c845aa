//! No process, no thread and no memory left: an error by its name at the start, an event by its name while the engine runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{Daemon, Place, WATCHDOG, program};

/// Nobody has this number, so nobody else's processes count.
const UID: u32 = 54_321;

fn prlimit(pid: u32, limit: &str) {
    assert!(Command::new("prlimit").arg(format!("--pid={pid}")).arg(limit).status().unwrap().success(), "{limit}");
}

/// How it ended, or `None` where it runs, though it may have no thread to answer with.
fn ended(child: &mut Child, place: &Place, said: &Path) -> Option<i32> {
    let end = Instant::now() + WATCHDOG;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            // Ended by a signal, as by an abort, it has none.
            return Some(status.code().unwrap_or(-1));
        }
        if place.ask(&["status"]).code == 0 {
            return None;
        }
        let said = fs::read_to_string(said).unwrap();
        if said.contains("no thread for a client") {
            assert!(said.contains("ulimit -u"), "{said}");
            return None;
        }
        assert!(Instant::now() < end, "neither ended nor up");
    }
}

#[test]
fn without_threads_the_daemon_says_which_one_it_could_not_start() {
    if !rustix::process::geteuid().is_root() {
        // The limit binds everybody but root, and only root can become somebody else.
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = place.folder.path().join("failover");
    fs::copy(program(), &copy).unwrap();
    for path in [place.folder.path(), &place.path(), &copy] {
        chown(path, Some(UID), Some(UID)).unwrap();
    }
    let said = place.folder.path().join("said");
    let mut refused = 0;
    for most in 1..100 {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={UID}")).args(["--clear-groups", "--", "prlimit"]).arg(format!("--nproc={most}"));
        command.arg("--").arg(&copy).arg("run").arg(place.path()).env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&said).unwrap());
        let mut child = command.spawn().unwrap();
        let code = ended(&mut child, &place, &said);
        let said = fs::read_to_string(&said).unwrap();
        assert!(!said.contains("panicked"), "{most}: {said}");
        let Some(code) = code else {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0), "{most}: {said}");
            assert!(refused > 8, "every thread of the start was refused once: {refused}");
            if !said.contains("no thread for a client") {
                return;
            }
            continue;
        };
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(code, 5, "{most}: {said}");
        assert!(last.contains("for want of processes or of memory") && last.contains("ulimit -u"), "{most}: {said}");
        assert!(
            last.contains("cannot start") || last.contains("cannot catch") || last.contains("cannot serve"),
            "{most}: {said}"
        );
        refused += 1;
    }
    panic!("it never started");
}

#[test]
fn memory_that_runs_short_is_told_before_an_allocation_fails() {
    let place = Place::new();
    let mut command = Command::new(program());
    // One heap for all threads: glibc reserves 64 MiB for each further one, and no limit is met in there.
    command.arg("run").arg(place.path()).env("MALLOC_ARENA_MAX", "1").env_remove("NOTIFY_SOCKET");
    let mut daemon = Daemon::start_with(&place, command);
    daemon.wait_for(&place);
    let pid = daemon.child.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().split(' ').next()?.parse::<u64>().ok());
    prlimit(pid, &format!("--as={}:", size.unwrap() * 1024 + 6 * 1024 * 1024));
    daemon.logged("memory is short: the next allocation may fail");
    assert!(daemon.log().contains("ulimit -v"), "{}", daemon.log());
    let events = place.ask(&["events", "--json"]).ends_with(0).stdout;
    assert!(events.lines().any(|line| line.contains("memory is short") && line.contains("\"alarm\"")), "{events}");
    prlimit(pid, "--as=unlimited:");
    daemon.logged("memory is available again");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
    assert_eq!(daemon.log().matches("memory is short").count(), 1, "told once: {}", daemon.log());
}
