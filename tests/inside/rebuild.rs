//! A server gets a new copy of the primary's data, against real servers and a real OpenSSH server: what was there is kept, half a copy is never
//! used, and at no moment is there a directory that could be started as a second primary.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use failover_core::copy::{CopyOrder, CopyReport, CopyState, FoundCopy};
use failover_core::output::{Action, Failure, FailureKind, Report};

use super::postgres_actions::{AMPLE, DB1, DB2};
use super::rejoin::Scene;
use super::support::lab::{mounting_impossible, wait_until};
use super::support::postgres::{StopMode, bin_dir};
use super::support::process::{processes, signal_all};

impl Scene {
    /// db1 is stopped and has its guard, and db2 was promoted.
    fn stopped() -> Scene {
        let scene = Scene::start(&super::rejoin::options("db1"));
        scene.db1.stop(StopMode::Fast).unwrap();
        scene.promote();
        scene
    }

    fn copy(&self, order: CopyOrder) -> Result<CopyReport, Failure> {
        let server = if order == CopyOrder::Measure { DB2 } else { DB1 };
        match self.perform(&Action::Copy { server, order })? {
            Report::Copy(report) => Ok(report),
            other => panic!("{other:?}"),
        }
    }

    fn find(&self, vacant: bool, kib: u64) -> FoundCopy {
        match self.copy(CopyOrder::Find { primary: DB2, vacant, kib }).unwrap() {
            CopyReport::Found(found) => found,
            other => panic!("{other:?}"),
        }
    }

    fn begin(&self, vacant: bool) -> Result<CopyReport, Failure> {
        self.copy(CopyOrder::Begin { primary: DB2, vacant, attempt: 1, kib: 1024 })
    }

    fn copied(&self, vacant: bool) -> (CopyState, String) {
        match self.copy(CopyOrder::Read { vacant, attempt: 1 }).unwrap() {
            CopyReport::State { state, message } => (state, message),
            other => panic!("{other:?}"),
        }
    }

    fn is_copied(&self, vacant: bool) {
        let new = self.new_directory();
        wait_until("the copy is whole", AMPLE, || {
            // pg_control comes last: without it no server starts.
            assert!(!new.join("global/pg_control").exists() || new.join("standby.signal").exists(), "it has its guard first");
            let (state, message) = self.copied(vacant);
            assert!(!matches!(state, CopyState::Failed | CopyState::Not), "{state:?} {message}");
            Ok((state == CopyState::Done).then_some(()))
        })
        .unwrap();
    }

    fn swap(&self, vacant: bool) -> Result<CopyReport, Failure> {
        self.copy(CopyOrder::Swap { vacant, attempt: 1, system_id: self.system, timeline: 2 })
    }

    fn new_directory(&self) -> PathBuf {
        self.beside("failover-copy").join("1/data")
    }

    /// Its own settings, as a person would put them there.
    fn own_settings(&self, from: &Path) {
        self.lab.folder("db1.failover-conf").unwrap();
        let text = fs::read(from.join("postgresql.conf")).unwrap();
        self.lab.write("db1.failover-conf/postgresql.conf", text, 0o600).unwrap();
    }
}

/// Rules 227, 229, 230, 234.
#[test]
fn a_server_is_rebuilt_although_the_session_is_cut_and_what_was_there_is_kept() {
    let mut scene = Scene::diverged(50);
    let CopyReport::Size { kib, hindrances } = scene.copy(CopyOrder::Measure).unwrap() else { panic!("no size") };
    assert!(kib > 10_000 && hindrances.is_empty(), "{kib} {hindrances:?}");
    // A rewind that did not end well stands in the way of everything else.
    scene.lab.folder("db1.failover-keep/2").unwrap();
    scene.lab.write("db1.failover-keep/2/rewind.begun", "", 0o600).unwrap();
    let (before, own) = (scene.files(), fs::read_to_string(scene.db1.data_dir().join("postgresql.conf")).unwrap());
    let found = scene.find(false, kib);
    assert_eq!((found.attempt, found.state, found.hindrances.as_slice()), (1, CopyState::Not, &[][..]));
    scene.begin(false).unwrap();
    scene.sshd.kill_all();
    scene.sshd.restart(&scene.lab).unwrap();
    let again = scene.begin(false).unwrap();
    assert!(format!("{again:?}").contains("not begun again"), "{again:?}");
    scene.is_copied(false);
    assert_eq!(scene.files(), before, "until the swap nothing of it is changed");
    let found = scene.find(false, kib);
    assert_eq!((found.attempt, found.state), (1, CopyState::Done), "another order takes it up");
    let swapped = scene.swap(false).unwrap();
    let old = scene.beside("failover-old-1");
    let CopyReport::Swapped { kept: Some(kept), kib: Some(size) } = &swapped else { panic!("{swapped:?}") };
    assert!(Path::new(kept) == old && *size > 10_000 && old.join("standby.signal").exists(), "{swapped:?}");
    assert!(before.keys().all(|path| old.join(path.strip_prefix(scene.db1.data_dir()).unwrap()).exists()), "nothing is deleted");
    assert_eq!(scene.swap(false).unwrap(), swapped, "done again it finds that");
    assert!(scene.db1.data_dir().join("standby.signal").exists());
    scene.follow().unwrap();
    assert_eq!(fs::read_to_string(scene.db1.data_dir().join("postgresql.conf")).unwrap(), own);
    assert!(!fs::read_to_string(scene.db1.data_dir().join("postgresql.auto.conf")).unwrap().contains("password="));
    scene.starts_as_a_standby();
}

/// Rule 230.
#[test]
fn half_a_copy_is_never_used_and_is_named_by_the_next_order() {
    let scene = Scene::stopped();
    let before = scene.files();
    scene.begin(false).unwrap();
    let new = scene.new_directory();
    wait_until("there is something", AMPLE, || Ok(new.exists().then_some(()))).unwrap();
    let of = |name: &str| {
        let is = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(name)
        };
        processes().into_iter().map(|seen| seen.pid).filter(move |pid| is(*pid)).collect::<Vec<_>>()
    };
    let shown = scene.beside("failover-copy").join("1");
    signal_all(of(&shown.join("copy.sh").display().to_string()), Signal::KILL);
    signal_all(of(&new.display().to_string()), Signal::KILL);
    if shown.join("copy.code").exists() {
        println!("it had ended before: {:?}", scene.copied(false));
        return;
    }
    let (state, message) = scene.copied(false);
    assert!(state == CopyState::Failed && message.contains("broken off"), "{message}");
    assert!(format!("{:?}", scene.begin(false).unwrap()).contains("not begun again"));
    let refused = scene.swap(false).unwrap_err();
    assert!(refused.kind == FailureKind::Refused && refused.message.contains("no whole copy"), "{refused:?}");
    let found = scene.find(false, 1024);
    assert_eq!(found.attempt, 2);
    let path = shown.display().to_string();
    assert!(found.hindrances.iter().any(|why| why.starts_with("half_copy ") && why.contains(&path)), "{found:?}");
    assert_eq!(scene.files(), before);
}

/// Rule 228.
#[test]
fn what_cannot_be_copied_is_refused_by_name_and_nothing_is_touched() {
    let scene = Scene::stopped();
    let named = |found: &FoundCopy, name: &str| found.hindrances.iter().any(|why| why.starts_with(name));
    assert!(named(&scene.find(false, 1 << 40), "copy_full "));
    assert!(named(&scene.find(true, 1024), "not_empty "), "a clone is made where nothing is");
    let link = scene.db1.data_dir().join("pg_tblspc/16999");
    scene.lab.write(&link, "", 0o600).unwrap();
    assert!(named(&scene.find(false, 1024), "tablespaces "));
    let refused = scene.begin(false).unwrap_err();
    assert!(refused.kind == FailureKind::Refused && refused.message.contains("tablespaces"), "{refused:?}");
    fs::remove_file(link).unwrap();
    let (wal, elsewhere) = (scene.db1.data_dir().join("pg_wal"), scene.beside("wal"));
    fs::rename(&wal, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &wal).unwrap();
    assert!(named(&scene.find(false, 1024), "wal_link "));
    fs::remove_file(&wal).unwrap();
    fs::rename(&elsewhere, &wal).unwrap();
    let sources = scene.lab.path("db1.sources");
    let good = fs::read_to_string(&sources).unwrap();
    scene.lab.write(&sources, "db3 host=127.0.0.1\n", 0o600).unwrap();
    assert!(named(&scene.find(false, 1024), "no_source "));
    scene.lab.write(&sources, good, 0o600).unwrap();
    assert!(scene.find(false, 1024).hindrances.is_empty() && !scene.beside("failover-copy").exists());
    scene.db1.start().unwrap();
    let refused = scene.copy(CopyOrder::Find { primary: DB2, vacant: false, kib: 1024 }).unwrap_err();
    assert!(refused.had_no_effect() && refused.message.contains("may live"), "{refused:?}");
}

/// Rule 231: the engine, or the host, ended between the two renames.
#[test]
fn a_swap_that_was_broken_off_between_its_renames_is_finished() {
    let scene = Scene::stopped();
    scene.begin(false).unwrap();
    scene.is_copied(false);
    let copy = scene.beside("failover-copy").join("1");
    scene.lab.write(copy.join("swapping"), "", 0o600).unwrap();
    fs::rename(scene.db1.data_dir(), scene.beside("failover-old-1")).unwrap();
    assert_eq!(scene.copied(false).0, CopyState::Swapping);
    assert!(scene.db1.start().is_err(), "nothing is there that could be started");
    let swapped = scene.swap(false).unwrap();
    assert!(matches!(&swapped, CopyReport::Swapped { kept: Some(_), .. }), "{swapped:?}");
    assert!(scene.db1.data_dir().join("standby.signal").exists() && scene.copied(false).0 == CopyState::Swapped);
}

/// Rule 231: a start in the middle of a copy is seen, and what runs is not replaced.
#[test]
fn a_server_that_was_started_meanwhile_keeps_its_place() {
    let scene = Scene::stopped();
    scene.begin(false).unwrap();
    scene.is_copied(false);
    scene.follow().unwrap();
    scene.db1.start().unwrap();
    let refused = scene.swap(false).unwrap_err();
    assert!(refused.message.contains("may live") && !scene.beside("failover-old-1").exists(), "{refused:?}");
    scene.db1.stop(StopMode::Fast).unwrap();
    let wrong = scene.copy(CopyOrder::Swap { vacant: false, attempt: 1, system_id: scene.system, timeline: 3 }).unwrap_err();
    assert!(wrong.message.contains("is of timeline 2"), "{wrong:?}");
    let other = scene.copy(CopyOrder::Swap { vacant: false, attempt: 1, system_id: 7, timeline: 2 }).unwrap_err();
    assert!(other.message.contains("not of 7") && !scene.beside("failover-old-1").exists(), "{other:?}");
    scene.swap(false).unwrap();
}

/// Rule 232.
#[test]
fn a_clone_comes_where_nothing_is_with_the_settings_that_lie_beside() {
    let scene = Scene::stopped();
    let elsewhere = scene.beside("gone");
    fs::rename(scene.db1.data_dir(), &elsewhere).unwrap();
    scene.own_settings(&elsewhere);
    assert_eq!(scene.find(true, 1024).hindrances, [""; 0], "absent");
    scene.lab.folder("db1").unwrap();
    assert_eq!(scene.find(true, 1024).hindrances, [""; 0], "empty");
    scene.begin(true).unwrap();
    scene.is_copied(true);
    scene.lab.write("db1/mine", "", 0o600).unwrap();
    let refused = scene.swap(true).unwrap_err();
    assert!(refused.kind == FailureKind::Refused && refused.message.contains("there is something in"), "{refused:?}");
    fs::remove_file(scene.db1.data_dir().join("mine")).unwrap();
    let swapped = scene.swap(true).unwrap();
    assert_eq!(swapped, CopyReport::Swapped { kept: None, kib: None });
    scene.follow().unwrap();
    scene.starts_as_a_standby();
}

/// Rule 230.
#[test]
fn a_disk_that_is_full_ends_the_copy_and_it_is_never_used() {
    if let Some(why) = mounting_impossible() {
        println!("skipped: {why}");
        return;
    }
    let scene = Scene::stopped();
    // More than there is room for, whoever is quicker.
    scene.db2.query("CREATE TABLE big AS SELECT g, repeat('x', 500) AS text FROM generate_series(1, 160000) g").unwrap();
    let small = scene.lab.mount("small", 72).unwrap();
    let ask = |words: &str| {
        let mut command = scene.lab.command("sh");
        command.arg(super::support::root().join("contrib/failover-host")).arg("--data-dir").arg(small.join("db3"));
        command.arg("--bin-dir").arg(bin_dir().unwrap()).arg("--source-file").arg(scene.lab.path("db1.sources"));
        command.args(words.split(' '));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let begun = ask("copy --vacant --attempt 1 --generation 3 --peer 646232 --kib 1");
    assert!(begun.contains("begun=now"), "{begun}");
    let ended = wait_until("it ends", AMPLE, || {
        let state = ask("copy-status --vacant --attempt 1");
        Ok(Some(state).filter(|state| !state.contains("copied=running")))
    })
    .unwrap();
    assert!(ended.contains("copied=failed") && ended.contains("No space left"), "{ended}");
    assert!(ask("swap --vacant --attempt 1 --system-id 7 --timeline 2").contains("error=no_copy"));
    assert!(!small.join("db3").exists());
}
