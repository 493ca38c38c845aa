//! The set of standbys that commits wait for, on a real server.

use crate::action::postgres::{Around, Cluster, SyncOrder};
use failover_core::finding::FindingCode;

use super::postgres_actions::{DB1, ample, around, cancel, cluster_of, system_id};
use super::support::{Lab, PgOptions, PgServer};

struct Scene {
    db1: PgServer,
    cluster: Cluster,
    system_id: u64,
    _lab: Lab,
}

fn one() -> Scene {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let cluster = cluster_of(&[(DB1, &db1)]);
    let system_id = system_id(&db1);
    Scene { db1, cluster, system_id, _lab: lab }
}

impl Scene {
    fn set(&self, from: &str, names: &str, standby: bool) -> Result<(), failover_core::output::Failure> {
        let order = SyncOrder { server: DB1, system_id: self.system_id, standby, from, names };
        self.cluster.set_sync_names(order, ample(), &cancel()).map(drop)
    }

    fn names(&self) -> String {
        self.db1.value("SELECT current_setting('synchronous_standby_names')").unwrap()
    }

    /// What `failover check` says beforehand, and its remedy.
    fn beforehand(&self) -> Option<(String, String)> {
        let around = Around { keeps_sync_set: true, ..around(false) };
        let surveyed = self.cluster.survey(DB1, around, ample(), &cancel()).unwrap();
        let found = surveyed.findings.into_iter().find(|finding| finding.code == FindingCode::SyncSetNotPrepared);
        found.map(|finding| (finding.message, finding.remedy))
    }
}

#[test]
fn the_names_are_set_where_they_are_still_what_was_seen_and_the_server_has_its_role() {
    let scene = one();
    let two = "ANY 1 (\"db2\", \"db3\")";
    scene.set("", two, false).unwrap();
    assert_eq!(scene.names(), two);
    // Once more: what was broken off may have left another value in the file.
    scene.set("", two, false).unwrap();
    let failure = scene.set("", "ANY 1 (\"db2\")", false).unwrap_err();
    assert!(failure.had_no_effect() && failure.message.contains("meanwhile"), "{failure:?}");
    let failure = scene.set(two, "", true).unwrap_err();
    assert!(failure.had_no_effect() && failure.message.contains("no standby"), "{failure:?}");
    assert_eq!(scene.names(), two);
    scene.set(two, "", false).unwrap();
    assert_eq!(scene.names(), "");
}

#[test]
fn what_would_keep_the_engine_from_it_is_found_beforehand_and_ends_by_its_remedy() {
    let scene = one();
    assert_eq!(scene.beforehand(), None);
    for taken in [
        "REVOKE ALTER SYSTEM ON PARAMETER synchronous_standby_names FROM failover",
        "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM failover",
    ] {
        scene.db1.query(taken).unwrap();
        let (message, remedy) = scene.beforehand().unwrap_or_else(|| panic!("nothing is found after {taken}"));
        let failure = scene.set("", "ANY 1 (\"db2\")", false).unwrap_err();
        assert!(failure.had_no_effect() && failure.remedy == remedy, "{failure:?}, beforehand {message}: {remedy}");
        scene.db1.query(&remedy).unwrap();
        assert_eq!(scene.beforehand(), None, "after {remedy}");
    }
    scene.set("", "ANY 1 (\"db2\")", false).unwrap();
}
