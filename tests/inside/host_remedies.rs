//! What is found of a host whose login cannot do what a failover needs, or lacks something: the state is made, the remedy is carried out, and the
//! finding is gone. Such logins and hosts can only be made by root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use failover_core::finding::FindingCode;
use failover_core::sample::ReadinessFinding;

use super::ssh_host::{Server, Sshd, account, far, folder, give, host, is_root, never};
use crate::action::host::{HostControl, HostParams};
use crate::clock::Clock;
use crate::wire::ssh::SshTarget;

/// Why no such host can be made here.
fn impossible() -> Option<&'static str> {
    if !is_root() {
        return Some("only root can make such logins");
    }
    let mut trial = Command::new("unshare");
    let may = trial
        .args(["--mount", "--ipc", "--", "mount", "-t", "tmpfs", "none", "/mnt"])
        .status()
        .is_ok_and(|status| status.success());
    (!may).then_some("no namespace can be made here")
}

/// A server, what is installed on its host, and two ways in: an account that is locked in /etc/shadow has one of its own.
struct Scene {
    server: Server,
    root: Sshd,
    owner: Sshd,
    script: PathBuf,
    _place: tempfile::TempDir,
}

impl Scene {
    fn start() -> Scene {
        let (server, place) = (Server::start(), folder());
        let script = place.path().join("failover-host");
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/failover-host"), &script).unwrap();
        let scene = Scene { server, root: Sshd::start_by_root(""), owner: Sshd::start(""), script, _place: place };
        scene.install("");
        scene
    }

    /// `around`: what runs the installed script, in front of it on the line of `authorized_keys`.
    fn install(&self, around: &str) {
        let command = format!("{around} {} --data-dir {}", self.script.display(), self.server.data().display());
        for sshd in [&self.root, &self.owner] {
            let key = fs::read_to_string(sshd.path("key.pub")).unwrap();
            fs::write(sshd.path("authorized_keys"), format!("command=\"{}\",restrict {key}", command.trim())).unwrap();
        }
    }

    fn by(&self, target: SshTarget, code: FindingCode) -> Option<ReadinessFinding> {
        let params = HostParams { wrapper: true, ..self.server.params() };
        finding(&HostControl::new(host(target), params, Clock::start()), code)
    }

    fn by_root(&self, code: FindingCode) -> Option<ReadinessFinding> {
        self.by(SshTarget { user: "root".to_owned(), ..self.root.target() }, code)
    }

    fn by_owner(&self, code: FindingCode) -> Option<ReadinessFinding> {
        self.by(self.owner.target(), code)
    }

    fn shows(&self, code: FindingCode, words: &str) {
        shown(self.by_root(code), code, words);
    }
}

fn finding(control: &HostControl, code: FindingCode) -> Option<ReadinessFinding> {
    control.readiness(far(), &never()).unwrap().findings.into_iter().find(|finding| finding.code == code)
}

fn shown(found: Option<ReadinessFinding>, code: FindingCode, words: &str) {
    let found = found.unwrap_or_else(|| panic!("{code} is not shown"));
    println!("{code}: {} | {}", found.message, found.remedy);
    assert!(found.remedy.contains(words), "{found:?}");
}

#[test]
fn what_is_said_of_a_login_that_can_do_too_much_or_too_little_ends_it() {
    if let Some(why) = impossible() {
        return println!("skipped: {why}");
    }
    let scene = Scene::start();
    scene.shows(FindingCode::HostRootLogin, "log in as the owner of the data directory (usually postgres)");
    assert_eq!(scene.by_owner(FindingCode::HostRootLogin), None);

    // As in a container that takes this right from its root.
    scene.install("exec setpriv --bounding-set=-kill --inh-caps=-kill --");
    scene.shows(FindingCode::HostCannotSignal, "log in as the account that runs the server");
    scene.install("");
    assert_eq!(scene.by_owner(FindingCode::HostCannotSignal), None);
    // The other way that is named: what sudo does.
    let owner = account();
    scene.install(&format!("exec setpriv --reuid={owner} --regid={owner} --init-groups --"));
    assert_eq!(scene.by_root(FindingCode::HostCannotSignal), None);

    // A login that ends in another container than the server's.
    scene.install("exec unshare --ipc --");
    scene.shows(FindingCode::HostSegmentHidden, "log in on the host or container in which the server runs");
    scene.install("");
    assert_eq!(scene.by_owner(FindingCode::HostSegmentHidden), None);
}

#[test]
fn what_is_said_of_a_host_without_timeout_ends_it() {
    if let Some(why) = impossible() {
        return println!("skipped: {why}");
    }
    let scene = Scene::start();
    let without = scene.script.with_file_name("without-timeout");
    let line = "#!/bin/sh\nfor program in /usr/local/bin/timeout /usr/bin/timeout /bin/timeout; do\n\
                [ ! -e \"$program\" ] || mount --bind /dev/null \"$program\" || exit\ndone\nexec \"$@\"\n";
    fs::write(&without, line).unwrap();
    scene.install(&format!("exec unshare --mount -- sh {}", without.display()));
    scene.shows(FindingCode::HostTimeoutMissing, "install coreutils");
    scene.install("exec unshare --mount --");
    assert_eq!(scene.by_root(FindingCode::HostTimeoutMissing), None);
}

/// A file system of its own, until the end of the test.
struct Disk(PathBuf);

impl Disk {
    /// Of so many MiB, none of which is memory before it is written.
    fn mount(at: &Path, mib: u32) -> Disk {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"]).arg(at).status().unwrap();
        assert!(mount.success());
        give(at);
        Disk(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn what_is_said_of_a_disk_that_is_nearly_full_ends_it() {
    if let Some(why) = impossible() {
        return println!("skipped: {why}");
    }
    let folder = folder();
    let _disk = Disk::mount(folder.path(), 1200);
    let server = Server::start_in(folder);
    let sshd = Sshd::start("");
    let control = server.control(&sshd.host());
    assert_eq!(finding(&control, FindingCode::HostDiskNearlyFull), None);
    let big = server.place("big", "");
    let (size, path) = ("200M", big.as_os_str());
    assert!(Command::new("fallocate").args(["-l", size]).arg(path).status().unwrap().success());
    shown(finding(&control, FindingCode::HostDiskNearlyFull), FindingCode::HostDiskNearlyFull, "free some space");
    fs::remove_file(big).unwrap();
    assert_eq!(finding(&control, FindingCode::HostDiskNearlyFull), None);
}
