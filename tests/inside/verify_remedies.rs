//! What a look through the route finds, against a real HAProxy before real servers: each remedy is carried out, and the finding is gone.

use std::fs;

use failover_core::finding::FindingCode;
use failover_core::sample::ReadinessFinding;

use super::haproxy_route::Haproxy;
use super::postgres_actions::{AMPLE, DB1, ample, cancel, cluster_of, system_id};
use super::support::lab::wait_until;
use super::support::postgres::ENGINE_ROLE;
use super::support::saturation::Clients;
use super::support::{Lab, PgOptions, PgServer};
use crate::action::postgres::Cluster;
use crate::wire::postgres::Endpoint;
use crate::wire::resolve::Literals;

/// The way that clients take.
struct Way<'a> {
    cluster: &'a Cluster,
    system_id: u64,
    haproxy: Haproxy,
}

impl Way<'_> {
    fn found(&self) -> Vec<ReadinessFinding> {
        let at = [Endpoint::new("127.0.0.1", self.haproxy.front)];
        self.cluster.look_through(DB1, Some(self.system_id), (&at, &Literals), ample(), &cancel())
    }

    fn shown(&self, code: FindingCode, words: &str) {
        let found = self.found();
        assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), [code], "{found:?}");
        println!("{code}: {} | {}", found[0].message, found[0].remedy);
        assert!(found[0].remedy.contains(words), "{found:?}");
    }

    fn gone(&self) {
        let gone = || Ok(self.found().is_empty().then_some(()));
        wait_until("the finding is gone", AMPLE, gone).unwrap();
    }

    /// It reads its file with the line of another server.
    fn leads_to(&mut self, from: u16, to: u16) {
        let file = self.haproxy.path("haproxy.cfg");
        let text = fs::read_to_string(&file).unwrap();
        let (from, to) = (format!("db1 127.0.0.1:{from}"), format!("db1 127.0.0.1:{to}"));
        assert!(text.contains(&from), "{text}");
        fs::write(&file, text.replace(&from, &to)).unwrap();
        self.haproxy.restart();
    }
}

#[test]
fn what_is_said_of_the_way_through_the_route_ends_it() {
    let lab = Lab::new().unwrap();
    let options = |name| PgOptions::quick(name).with("max_connections = 20");
    let db1 = PgServer::primary(&lab, &options("db1")).unwrap();
    let db2 = PgServer::standby_of(&db1, &options("db2")).unwrap();
    let stranger = PgServer::primary(&lab, &PgOptions { own_identity: true, ..PgOptions::quick("stranger") }).unwrap();
    stranger.query(&format!("ALTER ROLE {ENGINE_ROLE} PASSWORD '{}'", db1.secrets().engine)).unwrap();
    let cluster = cluster_of(&[(DB1, &db1)]);
    let haproxy = Haproxy::start(&[format!("db1 127.0.0.1:{}", db1.port()), "db2 127.0.0.1:1 disabled".to_owned()]);
    let mut way = Way { cluster: &cluster, system_id: system_id(&db1), haproxy };
    way.gone();

    way.leads_to(db1.port(), stranger.port());
    way.shown(FindingCode::VerifyForeign, "take that server out of the load balancer's configuration");
    way.leads_to(stranger.port(), db2.port());
    way.shown(FindingCode::VerifyStandby, "let the load balancer send connections to the primary only");
    way.leads_to(db2.port(), db1.port());
    way.gone();

    way.haproxy.kill();
    way.shown(FindingCode::VerifyUnreachable, "start the load balancer");
    way.haproxy.restart();
    way.gone();

    let clients = Clients::take_all(&db1).unwrap();
    way.shown(FindingCode::VerifyFull, "end sessions");
    drop(clients);
    way.gone();

    // The server keeps the address of the load balancer out.
    let file = db1.data_dir().join("pg_hba.conf");
    let lines = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("host all {ENGINE_ROLE} 127.0.0.1/32 reject\n{lines}")).unwrap();
    db1.calm("SELECT pg_catalog.pg_reload_conf()").unwrap();
    let refused = || Ok((!way.found().is_empty()).then_some(()));
    wait_until("the file is read", AMPLE, refused).unwrap();
    way.shown(
        FindingCode::VerifyRefused,
        "add a line for this role, database and address to the server's pg_hba.conf, and reload it",
    );
    fs::write(&file, lines).unwrap();
    db1.calm("SELECT pg_catalog.pg_reload_conf()").unwrap();
    way.gone();
}
