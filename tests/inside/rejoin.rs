//! The return of an old primary against real servers, over a real OpenSSH server: what only its log has is counted to the commit, kept, and
//! never lost; it is rewound once; and at no moment can a start of it make a second primary.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::action::ServiceActions;
use failover_core::id::Generation;
use failover_core::output::{Action, Failure, FailureKind, Report};
use failover_core::rejoin::{Divergence, Rewound};

use super::postgres_actions::{AMPLE, DB1, DB2, ample, cancel, system_id};
use super::salvage::{actions, control};
use super::support::lab::{mounting_impossible, wait_until};
use super::support::postgres::{PgServer, StopMode, bin_dir};
use super::support::process::{processes, signal_all};
use super::support::sshd::{Sshd, SshdOptions};
use super::support::{Lab, PgOptions};

/// Some packages have no programs for it.
pub(super) fn impossible() -> Option<String> {
    let missing = ["pg_waldump", "pg_rewind"].into_iter().find(|name| !bin_dir().unwrap().join(name).exists())?;
    Some(format!("there is no {missing} in {}", bin_dir().unwrap().display()))
}

/// The old primary db1, which is stopped and has its guard, and db2, which was promoted.
pub(super) struct Scene {
    pub(super) actions: ServiceActions,
    pub(super) db1: PgServer,
    pub(super) db2: PgServer,
    pub(super) system: u64,
    pub(super) sshd: Sshd,
    pub(super) lab: Lab,
}

pub(super) fn options(name: &str) -> PgOptions {
    PgOptions::quick(name).with("wal_keep_size = 256MB").with("wal_log_hints = on")
}

impl Scene {
    pub(super) fn start(first: &PgOptions) -> Scene {
        let lab = Lab::new().unwrap();
        let db1 = PgServer::primary(&lab, first).unwrap();
        db1.script(
            "CREATE TABLE t (i int);
             GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
             pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;",
        )
        .unwrap();
        let db2 = PgServer::standby_of(&db1, &options("db2")).unwrap();
        db2.wait_following(&db1).unwrap();
        let sshd = Sshd::start(&lab, &SshdOptions::new("hosts")).unwrap();
        let sources = lab.path("db1.sources");
        lab.write(&sources, format!("# of db1\ndb2 {}\n", db1.follower_conninfo(&db2).unwrap()), 0o600).unwrap();
        let sources = Some(sources.display().to_string());
        let controls = [control(&lab, &sshd, &db1, false, sources), control(&lab, &sshd, &db2, false, None)];
        let actions = actions(&db1, &db2, controls);
        let system = system_id(&db1);
        Scene { actions, db1, db2, system, sshd, lab }
    }

    /// So many commits that only db1 has; then all of it is killed, and db2 promoted.
    pub(super) fn diverged(commits: usize) -> Scene {
        let scene = Scene::start(&options("db1"));
        scene.diverge(commits);
        scene
    }

    pub(super) fn diverge(&self, commits: usize) {
        let deaf = self.db1.stop_sending_to(&self.db2).unwrap();
        let sql = format!("DO $$ BEGIN FOR i IN 1..{commits} LOOP INSERT INTO t VALUES (i); COMMIT; END LOOP; END $$");
        self.db1.query(&sql).unwrap();
        self.db1.kill_all();
        drop(deaf);
        self.promote();
    }

    pub(super) fn promote(&self) {
        self.lab.write(self.db1.data_dir().join("standby.signal"), "", 0o600).unwrap();
        self.db2.promote().unwrap();
        self.db2.query("INSERT INTO t VALUES (-1)").unwrap();
        self.db2.calm("CHECKPOINT").unwrap();
    }

    pub(super) fn perform(&self, action: &Action) -> Result<Report, Failure> {
        self.actions.perform(action, Generation(3), ample(), &cancel())
    }

    pub(super) fn divergence(&self) -> Divergence {
        let Report::History { switches, .. } = self.perform(&Action::ReadHistory { server: DB2, timeline: 2 }).unwrap() else {
            panic!("no history");
        };
        let order = Action::ReadDivergence { server: DB1, primary: DB2, system_id: self.system, timeline: 2, switches };
        match self.perform(&order).unwrap() {
            Report::Divergence(divergence) => divergence,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn keep(&self) -> Result<Report, Failure> {
        let Divergence { timeline, fork, .. } = self.divergence();
        self.perform(&Action::KeepLog { server: DB1, system_id: self.system, timeline, fork })
    }

    pub(super) fn rewind(&self) -> Result<Report, Failure> {
        self.perform(&Action::Rewind { server: DB1, primary: DB2 })
    }

    pub(super) fn state(&self) -> (Rewound, String) {
        match self.perform(&Action::ReadRewind { server: DB1 }).unwrap() {
            Report::Rewind { state, message } => (state, message),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn rewinds(&self) {
        wait_until("the rewind ends", AMPLE, || {
            let (state, message) = self.state();
            assert_ne!(state, Rewound::Failed, "{message}");
            Ok((state == Rewound::Done).then_some(()))
        })
        .unwrap();
    }

    pub(super) fn follow(&self) -> Result<Report, Failure> {
        self.perform(&Action::FollowPrimary { server: DB1, primary: DB2, alias: "db1".to_owned() })
    }

    pub(super) fn starts_as_a_standby(&self) {
        self.perform(&Action::StartStandby { server: DB1 }).unwrap();
        self.db1.wait_following(&self.db2).unwrap();
        assert_eq!(self.db1.value("SELECT pg_is_in_recovery()").unwrap(), "t");
        let sum = "SELECT count(*), sum(i) FROM t";
        assert_eq!(format!("{:?}", self.db1.query(sum).unwrap()), format!("{:?}", self.db2.query(sum).unwrap()));
    }

    pub(super) fn beside(&self, what: &str) -> PathBuf {
        self.db1.data_dir().with_extension(what)
    }

    /// Everything in the data directory: what is changed shows.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.db1.data_dir().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let about = entry.metadata().unwrap();
                if about.is_dir() {
                    folders.push(entry.path());
                } else {
                    found.insert(entry.path(), (about.len(), about.modified().unwrap()));
                }
            }
        }
        found
    }
}

#[test]
fn every_commit_that_only_the_old_log_has_is_counted_and_nothing_is_touched() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let scene = Scene::diverged(220);
    let before = scene.files();
    let divergence = scene.divergence();
    assert_eq!((divergence.commits, divergence.timeline, divergence.hindrances.as_slice()), (Some(220), 1, &[][..]));
    assert!(divergence.needs_rewind() && divergence.first != divergence.last, "{divergence:?}");
    assert!(
        divergence.first.as_ref().is_some_and(|first| first.starts_with("xid ") && first.contains(" at 20")),
        "{divergence:?}"
    );
    assert_eq!(scene.files(), before);
    assert!(!scene.beside("failover-keep").exists());
}

#[test]
fn one_that_was_stopped_in_order_follows_as_it_is() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let scene = Scene::start(&options("db1"));
    scene.db1.query("INSERT INTO t VALUES (1)").unwrap();
    scene.db2.wait_following(&scene.db1).unwrap();
    scene.db1.stop(StopMode::Fast).unwrap();
    scene.promote();
    let divergence = scene.divergence();
    assert!(!divergence.needs_rewind() && divergence.commits == Some(0), "{divergence:?}");
    // As a fence leaves it: its guard is nobody's to take away afterwards.
    scene.lab.write(scene.db1.data_dir().join("failover.fenced"), "guard=placed\nfrozen=\ngeneration=3\n", 0o600).unwrap();
    scene.follow().unwrap();
    assert!(!scene.db1.data_dir().join("failover.fenced").exists() && scene.db1.data_dir().join("standby.signal").exists());
    scene.starts_as_a_standby();
    let again = scene.perform(&Action::FenceUndo { server: DB1 }).unwrap();
    assert!(scene.db1.data_dir().join("standby.signal").exists(), "{again:?}");
}

/// Its log is kept with every commit, its configuration is its own, and the session that began it does not matter.
#[test]
fn it_is_rewound_although_the_session_is_cut_and_keeps_log_and_configuration() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let mut scene = Scene::diverged(500);
    let own = fs::read_to_string(scene.db1.data_dir().join("postgresql.conf")).unwrap();
    scene.keep().unwrap();
    scene.rewind().unwrap();
    scene.sshd.kill_all();
    scene.sshd.restart(&scene.lab).unwrap();
    scene.rewinds();
    let again = scene.rewind().unwrap();
    assert!(format!("{again:?}").contains("not begun again"), "{again:?}");
    assert!(scene.divergence().rewound == Rewound::Done && !scene.divergence().needs_rewind());
    assert!(scene.db1.data_dir().join("standby.signal").exists() && !scene.beside("failover-rewind").exists());
    // A failover has interrupted that return: the one after it brings the configuration back.
    let order = Action::FollowPrimary { server: DB1, primary: DB2, alias: "db1".to_owned() };
    scene.actions.perform(&order, Generation(4), ample(), &cancel()).unwrap();
    assert_eq!(fs::read_to_string(scene.db1.data_dir().join("postgresql.conf")).unwrap(), own);
    scene.starts_as_a_standby();
    // What is kept still has all of it.
    let kept = scene.beside("failover-keep").join("3");
    let first =
        fs::read_dir(kept.join("wal")).unwrap().map(|entry| entry.unwrap().file_name()).filter(|name| name.len() == 24).min();
    let mut dump = scene.lab.command(bin_dir().unwrap().join("pg_waldump"));
    dump.arg("-r").arg("Transaction").arg(kept.join("wal").join(first.unwrap()));
    let output = dump.output().unwrap();
    let commits = String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("desc: COMMIT")).count();
    assert!(commits >= 500, "{commits} commits are kept");
}

/// Killed in the middle: it is never begun again, and what is left has its guard before it has its name.
#[test]
fn a_rewind_that_is_killed_leaves_nothing_that_could_be_started_as_a_primary() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let scene = Scene::diverged(300);
    scene.keep().unwrap();
    scene.rewind().unwrap();
    let away = scene.beside("failover-rewind");
    wait_until("it is renamed away", AMPLE, || Ok(away.exists().then_some(()))).unwrap();
    // The program that watches first, else it would still put things right.
    let of = |name: &str| {
        let is = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(name)
        };
        processes().into_iter().map(|seen| seen.pid).filter(move |pid| is(*pid)).collect::<Vec<_>>()
    };
    let shown = scene.lab.dir().display().to_string();
    signal_all(of(&format!("{shown}/db1.failover-keep/3/rewind.sh")), Signal::KILL);
    signal_all(of(&away.display().to_string()), Signal::KILL);
    if scene.db1.data_dir().exists() {
        println!("it had ended before: {:?}", scene.state());
        return;
    }
    assert!(scene.db1.start().is_err(), "nobody starts what has another name");
    let (state, message) = scene.state();
    assert_eq!(state, Rewound::Failed, "{message}");
    assert!(scene.db1.data_dir().join("standby.signal").exists() && !away.exists());
    assert!(format!("{:?}", scene.rewind().unwrap()).contains("not begun again"));
    let refused = scene.follow().unwrap_err();
    assert!(refused.kind == FailureKind::Refused && refused.message.contains("pg_rewind"), "{refused:?}");
    let divergence = scene.divergence();
    let mark = scene.beside("failover-keep").join("3/rewind.begun").display().to_string();
    assert_eq!(divergence.rewound, Rewound::Failed);
    assert!(divergence.hindrances[0].starts_with("rewind_failed ") && divergence.hindrances[0].contains(&mark), "{divergence:?}");
}

/// Both were promoted, each by somebody else: timelines of the same number, with logs of their own.
#[test]
fn who_was_a_primary_on_a_timeline_of_the_same_number_is_refused() {
    let scene = Scene::start(&options("db1"));
    scene.db1.stop(StopMode::Fast).unwrap();
    scene.lab.write(scene.db1.data_dir().join("standby.signal"), "", 0o600).unwrap();
    scene.db2.promote().unwrap();
    scene.db1.start().unwrap();
    scene.db1.promote().unwrap();
    scene.db1.query("INSERT INTO t VALUES (7)").unwrap();
    scene.db1.stop(StopMode::Fast).unwrap();
    scene.lab.write(scene.db1.data_dir().join("standby.signal"), "", 0o600).unwrap();
    let Report::History { switches, .. } = scene.perform(&Action::ReadHistory { server: DB2, timeline: 2 }).unwrap() else {
        panic!("no history");
    };
    let order = Action::ReadDivergence { server: DB1, primary: DB2, system_id: scene.system, timeline: 2, switches };
    let refused = scene.perform(&order).unwrap_err();
    assert!(refused.kind == FailureKind::Refused && refused.message.contains("was a primary on timeline 2"), "{refused:?}");
}

#[test]
fn without_hints_a_rewind_is_hindered_before_anything_is_touched() {
    if let Some(why) = impossible() {
        println!("skipped: {why}");
        return;
    }
    let scene = Scene::start(&PgOptions::quick("db1").with("wal_keep_size = 256MB").with("wal_log_hints = off"));
    scene.diverge(10);
    let before = scene.files();
    let divergence = scene.divergence();
    assert!(divergence.hindrances.iter().any(|why| why.starts_with("no_hints ")), "{divergence:?}");
    let refused = scene.rewind().unwrap_err();
    assert!(refused.had_no_effect() && refused.message.contains("not kept"), "{refused:?}");
    assert_eq!(scene.files(), before);
}

#[test]
fn a_source_with_a_password_or_that_others_may_write_is_refused_by_name() {
    let scene = Scene::start(&options("db1"));
    scene.db1.stop(StopMode::Fast).unwrap();
    scene.promote();
    let sources = scene.lab.path("db1.sources");
    let good = fs::read_to_string(&sources).unwrap();
    let cases = [
        ("db2 host=127.0.0.1 user=u password=secret\n".to_owned(), 0o600, "holds a password"),
        (good.clone(), 0o622, "can be written by others"),
        ("db3 host=127.0.0.1 user=u\n".to_owned(), 0o600, "has no line for db2"),
        ("db2 postgresql://u@127.0.0.1\n".to_owned(), 0o600, "is a URI"),
    ];
    for (text, mode, why) in cases {
        scene.lab.write(&sources, text, mode).unwrap();
        let refused = scene.follow().unwrap_err();
        assert!(refused.kind == FailureKind::Refused && refused.message.contains(why), "{why}: {refused:?}");
        assert!(!refused.message.contains("secret"));
        assert!(scene.divergence().hindrances.iter().any(|told| told.contains(why)), "{why}");
    }
    scene.lab.write(&sources, good, 0o600).unwrap();
    scene.follow().unwrap();
}

#[test]
fn a_log_for_which_there_is_no_room_is_not_kept_and_nothing_is_rewound() {
    if let Some(why) = impossible().or_else(mounting_impossible) {
        println!("skipped: {why}");
        return;
    }
    let scene = Scene::diverged(10);
    scene.lab.mount("db1.failover-keep", 4).unwrap();
    let before = scene.files();
    let refused = scene.keep().unwrap_err();
    assert!(refused.had_no_effect() && refused.message.contains("MiB are needed"), "{refused:?}");
    assert!(scene.rewind().unwrap_err().message.contains("not kept"));
    assert_eq!(scene.files(), before);
}

#[test]
fn while_a_process_of_it_lives_nothing_is_done() {
    let scene = Scene::start(&options("db1"));
    let order = Action::ReadDivergence { server: DB1, primary: DB2, system_id: scene.system, timeline: 2, switches: Vec::new() };
    let fork = failover_core::sample::Lsn(0x0300_0000);
    let keep = Action::KeepLog { server: DB1, system_id: scene.system, timeline: 1, fork };
    for order in [order, keep] {
        let refused = scene.perform(&order).unwrap_err();
        assert!(refused.had_no_effect() && refused.message.contains("may live"), "{refused:?}");
    }
    assert!(scene.follow().unwrap_err().message.contains("may live"));
    assert!(scene.db1.is_primary().unwrap());
}

/// What changes the files of a server is not in the default allowance of a key.
#[test]
fn a_key_changes_files_only_where_it_is_allowed_by_name() {
    let scene = Scene::start(&options("db1"));
    scene.db1.stop(StopMode::Fast).unwrap();
    let script = scene.lab.write("bin/failover-host", fs::read("contrib/failover-host").unwrap(), 0o700);
    let script = script.or_else(|_| {
        scene.lab.folder("bin")?;
        scene.lab.write("bin/failover-host", fs::read("contrib/failover-host").unwrap(), 0o700)
    });
    let script = script.unwrap();
    let ask = |request: &str, allow: &[&str]| {
        let mut command = scene.lab.command("sh");
        command.arg(&script).arg("--data-dir").arg(scene.db1.data_dir()).arg("--bin-dir").arg(bin_dir().unwrap()).args(allow);
        command.env("SSH_ORIGINAL_COMMAND", request);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    for verb in ["keep", "rewind", "follow", "copy", "swap"] {
        let request = format!("{verb} --generation 1");
        assert!(ask(&request, &[]).contains("error=refused"), "{verb}");
        assert!(!ask(&request, &["--allow", verb]).contains("error=refused"), "{verb}");
    }
    assert!(ask("divergence --generation 1", &[]).contains("newest=1"));
    assert!(ask("rewind-status --generation 1", &[]).contains("rewound=not"));
    let greedy = ask("follow --generation 1 --source-file /tmp/x --peer 646232", &["--allow", "follow"]);
    assert!(greedy.contains("error="), "the caller names no file: {greedy}");
}
