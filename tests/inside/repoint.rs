//! After a promotion: the other standbys stream from the new primary, on real servers.

use std::time::Duration;

use crate::action::postgres::{Around, Cluster, Promotion, Repoint};
use failover_core::finding::FindingCode;
use failover_core::id::ServerId;
use failover_core::output::{FailureKind, Repointed, Report};

use super::postgres_actions::{DB1, DB2, ample, around, cancel, cluster_of, system_id};
use super::support::lab::wait_until;
use super::support::postgres::StopMode;
use super::support::{Lab, PgOptions, PgServer};
use crate::deadline::Deadline;

const DB3: ServerId = ServerId(2);

fn await_that(what: &str, holds: impl Fn() -> bool) {
    wait_until(what, Duration::from_secs(20), || Ok(holds().then_some(()))).unwrap();
}

struct Scene {
    db1: PgServer,
    db2: PgServer,
    db3: PgServer,
    cluster: Cluster,
    system_id: u64,
    _lab: Lab,
}

/// A primary and two standbys that stream from it.
fn three() -> Scene {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let db2 = PgServer::standby_of(&db1, &PgOptions::quick("db2")).unwrap();
    let db3 = PgServer::standby_of(&db1, &PgOptions::quick("db3")).unwrap();
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2), (DB3, &db3)]);
    let system_id = system_id(&db1);
    Scene { db1, db2, db3, cluster, system_id, _lab: lab }
}

impl Scene {
    /// The primary dies, and db2 takes its place.
    fn fail_over(&self) {
        self.db1.kill_all();
        self.cluster.promote(DB2, Promotion::Sql, self.system_id, 1, ample(), &cancel()).unwrap();
    }

    fn repoint(&self, deadline: Deadline) -> Result<Repointed, failover_core::output::Failure> {
        let former = [DB1];
        let order = Repoint { standbys: &[DB3], primary: DB2, system_id: self.system_id, timeline: 2, former: &former };
        match self.cluster.repoint_standbys(order, deadline, &cancel()).unwrap() {
            Report::Repointed(mut each) => each.remove(0).1,
            other => panic!("{other:?}"),
        }
    }

    fn conninfo(&self) -> String {
        self.db3.value("SELECT current_setting('primary_conninfo')").unwrap()
    }

    /// What db2 commits arrives on db3.
    fn assert_follows(&self) {
        self.db2.query("CREATE TABLE after_the_failover (n int)").unwrap();
        await_that("db3 has the new table", || {
            self.db3.value("SELECT to_regclass('after_the_failover') IS NOT NULL").is_ok_and(|there| there == "t")
        });
    }
}

#[test]
fn the_other_standby_streams_from_the_promoted_one() {
    let scene = three();
    scene.fail_over();
    let before = scene.conninfo();
    let repointed = scene.repoint(ample()).unwrap();
    assert!(repointed.streams && repointed.changed && repointed.slot.is_none(), "{repointed:?}");
    scene.assert_follows();
    // Host and port, and nothing else.
    let port = |server: &PgServer| format!("port={}", server.port());
    let after = scene.conninfo();
    assert!(before.contains(&port(&scene.db1)) && after.contains(&port(&scene.db2)), "{before} -> {after}");
    for word in before.split(' ').filter(|word| !word.starts_with("port=")) {
        assert!(after.contains(word), "{word} is not in {after}");
    }
    // Once more, its work is done.
    let again = scene.repoint(ample()).unwrap();
    assert!(again.streams && !again.changed, "{again:?}");
    assert_eq!(scene.conninfo(), after);
}

#[test]
fn a_standby_of_the_promoted_one_is_left_as_it_is() {
    let scene = three();
    let cascading = scene.db3.follower_conninfo(&scene.db2).unwrap();
    scene.db3.set(&format!("primary_conninfo = '{cascading}'")).unwrap();
    scene.db3.query("ALTER SYSTEM RESET primary_conninfo").unwrap();
    scene.db3.query("SELECT pg_reload_conf()").unwrap();
    await_that("db3 streams from db2", || {
        scene.db2.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").is_ok_and(|count| count == "1")
    });
    let before = scene.conninfo();
    scene.fail_over();
    let repointed = scene.repoint(ample()).unwrap();
    assert!(repointed.streams && !repointed.changed, "{repointed:?}");
    assert_eq!(scene.conninfo(), before);
    scene.assert_follows();
}

#[test]
fn what_stands_in_the_way_is_found_before_anything_is_changed() {
    let scene = three();
    scene.fail_over();
    let refused = |remedy: &str| {
        let before = scene.conninfo();
        let failure = scene.repoint(ample()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{failure:?}");
        assert!(failure.message.contains("nothing was changed") && failure.remedy.contains(remedy), "{failure:?}");
        assert!(!failure.message.contains("hunter2"), "{failure:?}");
        assert_eq!(scene.conninfo(), before);
    };
    let sane = scene.conninfo();
    let set = |conninfo: &str| {
        scene.db3.query(&format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'")).unwrap();
        scene.db3.query("SELECT pg_reload_conf()").unwrap();
        await_that("the setting is loaded", || scene.conninfo() == conninfo);
    };
    set(&format!("{sane} password=hunter2"));
    refused("passfile=");
    // One that names nobody lives by its archive, or is to follow nobody.
    set("user=x application_name=db3");
    let left = scene.repoint(ample()).unwrap();
    assert!(!left.streams && !left.changed && scene.conninfo() == "user=x application_name=db3", "{left:?}");
    set(&sane);
    // Rights come through replication: the new primary has them, and its standby not yet.
    scene.db2.query("REVOKE ALTER SYSTEM ON PARAMETER primary_conninfo FROM failover").unwrap();
    let failure = scene.repoint(ample());
    assert!(failure.is_ok(), "db3 does not know of it yet: {failure:?}");
    scene.assert_follows();
}

#[test]
fn a_slot_is_created_where_the_role_may_and_done_without_where_it_may_not() {
    for may in [true, false] {
        let scene = three();
        scene.db1.query("SELECT pg_create_physical_replication_slot('db3_slot')").unwrap();
        if may {
            scene.db1.query("ALTER ROLE failover REPLICATION").unwrap();
        }
        scene.db3.query("ALTER SYSTEM SET primary_slot_name = 'db3_slot'").unwrap();
        scene.db3.query("SELECT pg_reload_conf()").unwrap();
        let active = || scene.db1.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'db3_slot'");
        await_that("the slot is used", || active().is_ok_and(|active| active == "t"));
        // The rights have to be on the standbys as well.
        let known = || scene.db2.value("SELECT rolreplication FROM pg_roles WHERE rolname = 'failover'");
        let wanted = if may { "t" } else { "f" };
        await_that("db2 knows the role", || known().is_ok_and(|may| may == wanted));
        scene.fail_over();
        let repointed = scene.repoint(ample()).unwrap();
        assert!(repointed.streams && repointed.changed, "{repointed:?}");
        scene.assert_follows();
        let used = scene.db2.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'db3_slot' AND active").unwrap();
        if may {
            assert_eq!((repointed.slot.as_deref(), used.as_str()), (Some("db3_slot"), "1"), "{repointed:?}");
            // In use it stays; not in use it goes, and once more there is nothing to do.
            let used = scene.cluster.drop_slot(DB2, "db3_slot", ample(), &cancel()).unwrap_err();
            assert!(used.had_no_effect() && used.message.contains("in use"), "{used:?}");
            let there = || scene.db2.value("SELECT count(*) FROM pg_replication_slots").unwrap();
            assert_eq!(there(), "1");
            scene.db3.stop(StopMode::Fast).unwrap();
            await_that("the slot is left", || {
                scene.db2.value("SELECT NOT active FROM pg_replication_slots").is_ok_and(|left| left == "t")
            });
            scene.cluster.drop_slot(DB2, "db3_slot", ample(), &cancel()).unwrap();
            assert_eq!(there(), "0");
            scene.cluster.drop_slot(DB2, "db3_slot", ample(), &cancel()).unwrap();
        } else {
            assert_eq!((repointed.slot.as_deref(), used.as_str()), (None, "0"), "{repointed:?}");
            assert!(repointed.message.contains("without a slot"), "{repointed:?}");
        }
    }
}

#[test]
fn a_slot_that_the_primary_lacks_is_created_for_a_standby_that_leads_there_already() {
    let scene = three();
    scene.db3.query("ALTER SYSTEM SET primary_slot_name = 'db3_slot'").unwrap();
    scene.db3.query("SELECT pg_reload_conf()").unwrap();
    let streaming = || scene.db1.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'");
    await_that("db3 streams no more", || streaming().is_ok_and(|count| count == "1"));
    let repoint = || {
        let order = Repoint { standbys: &[DB3], primary: DB1, system_id: scene.system_id, timeline: 1, former: &[] };
        match scene.cluster.repoint_standbys(order, ample(), &cancel()).unwrap() {
            Report::Repointed(mut each) => each.remove(0).1,
            other => panic!("{other:?}"),
        }
    };
    let failure = repoint().unwrap_err();
    assert!(failure.had_no_effect() && failure.remedy.contains("pg_create_physical_replication_slot('db3_slot')"), "{failure:?}");
    scene.db1.query("ALTER ROLE failover REPLICATION").unwrap();
    let repointed = repoint().unwrap();
    assert_eq!((repointed.streams, repointed.slot.as_deref()), (true, Some("db3_slot")), "{repointed:?}");
    let again = repoint().unwrap();
    assert_eq!((again.streams, again.changed, again.slot), (true, false, None));
}

#[test]
fn one_that_is_ahead_of_the_promoted_one_is_told_and_not_taken_for_a_follower() {
    let scene = three();
    scene.db2.stop(StopMode::Fast).unwrap();
    scene.db1.query("CREATE TABLE only_db3_has_it (n int)").unwrap();
    await_that("db3 has it", || {
        scene.db3.value("SELECT to_regclass('only_db3_has_it') IS NOT NULL").is_ok_and(|there| there == "t")
    });
    scene.db1.kill_all();
    scene.db2.start().unwrap();
    scene.cluster.promote(DB2, Promotion::Sql, scene.system_id, 1, ample(), &cancel()).unwrap();
    let failure = scene.repoint(Deadline::after(Duration::from_secs(3))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");
    assert!(failure.message.contains("leads to db2 now") && failure.remedy.contains("log of db3"), "{failure:?}");
}

/// The finding of db3, beforehand: what it says, and its remedy.
fn beforehand(scene: &Scene) -> Option<(String, String)> {
    let around = Around { primary: Some(DB1), followers: true, ..around(false) };
    let surveyed = scene.cluster.survey(DB3, around, ample(), &cancel()).unwrap();
    let found = surveyed.findings.into_iter().find(|finding| finding.code == FindingCode::RepointNotPrepared);
    found.map(|finding| (finding.message, finding.remedy))
}

#[test]
fn what_would_stand_in_the_way_is_found_beforehand_and_ends_by_its_remedy() {
    let scene = three();
    assert_eq!(beforehand(&scene), None);
    let on_the_primary = |remedy: &str| remedy.strip_suffix(" (on the primary)").unwrap_or_else(|| panic!("{remedy}")).to_owned();
    let states = [
        ("REVOKE ALTER SYSTEM ON PARAMETER primary_conninfo FROM failover", None, "may not change primary_conninfo"),
        ("REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM failover", None, "may not call pg_reload_conf"),
        (
            "SELECT pg_create_physical_replication_slot('db3')",
            Some("ALTER SYSTEM SET primary_slot_name = 'db3'"),
            "uses the slot db3",
        ),
    ];
    for (on_db1, on_db3, says) in states {
        scene.db1.query(on_db1).unwrap();
        if let Some(statement) = on_db3 {
            scene.db3.query(statement).unwrap();
            scene.db3.query("SELECT pg_reload_conf()").unwrap();
        }
        await_that(says, || beforehand(&scene).is_some_and(|(message, _)| message.contains(says)));
        let (message, remedy) = beforehand(&scene).unwrap();
        println!("{message} | {remedy}");
        scene.db1.query(&on_the_primary(&remedy)).unwrap();
        await_that(&format!("it is gone after {remedy}"), || beforehand(&scene).is_none());
    }
    // What is no statement.
    let sane = scene.conninfo();
    let set = |conninfo: &str| {
        scene.db3.query(&format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'")).unwrap();
        scene.db3.query("SELECT pg_reload_conf()").unwrap();
    };
    for (conninfo, says) in [
        (format!("{sane} password=hunter2"), "holds a password"),
        (sane.replace("host=127.0.0.1", "host=127.0.0.9"), "no server of the configuration"),
        (format!("{sane} broken"), "cannot be read"),
    ] {
        set(&conninfo);
        await_that(says, || beforehand(&scene).is_some_and(|(message, _)| message.contains(says)));
        let (message, remedy) = beforehand(&scene).unwrap();
        assert!(!message.contains("hunter2") && !remedy.is_empty(), "{message} | {remedy}");
        set(&sane);
        await_that("it is gone", || beforehand(&scene).is_none());
    }
}

#[test]
fn nobody_is_pointed_to_a_server_that_is_not_the_primary() {
    let scene = three();
    let order = Repoint { standbys: &[DB3], primary: DB2, system_id: scene.system_id, timeline: 2, former: &[DB1] };
    let before = scene.conninfo();
    let failure = scene.cluster.repoint_standbys(order, ample(), &cancel()).unwrap_err();
    assert!(failure.had_no_effect() && failure.message.contains("no standby was changed"), "{failure:?}");
    assert_eq!(scene.conninfo(), before);
}

#[test]
fn names_that_were_cleared_are_put_back_and_those_that_somebody_set_stay() {
    let scene = three();
    let names = || scene.db1.value("SELECT current_setting('synchronous_standby_names')").unwrap();
    let put = |wanted: &str| scene.cluster.restore_sync_names(DB1, wanted, ample(), &cancel()).unwrap();
    put("ANY 1 (db2, \"db3\")");
    assert_eq!(names(), "ANY 1 (db2, \"db3\")");
    put("db2");
    assert_eq!(names(), "ANY 1 (db2, \"db3\")");
    scene.cluster.open_sync_gate(DB1, ample(), &cancel()).unwrap();
    assert_eq!(names(), "");
    put("FIRST 1 (db3)");
    assert_eq!(names(), "FIRST 1 (db3)");
}
