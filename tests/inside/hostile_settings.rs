//! Whatever is set for the engine's role, its database or the server: the engine's own sessions work.

use std::time::Duration;

use crate::action::postgres::traffic::Way;
use crate::action::postgres::{Cluster, Promotion};
use crate::check::postgres::PostgresCheck;
use crate::check::{Check, Context};
use crate::clock::Clock;
use crate::wire::postgres::{Endpoint, Error, Session, SessionSettings, Target, sample};
use crate::wire::resolve::Literals;
use failover_core::observation::Verdict;
use failover_core::output::Report;

use super::postgres_actions::{
    AMPLE, DB1, DB2, ample, around, cancel, cluster_of, engine_target, message, pair, positions, system_id,
};
use super::support::lab::wait_until;
use super::support::postgres::ENGINE_ROLE;
use super::support::{Lab, PgBouncer, PgOptions, PgServer};

/// Functions, views and an operator that stand in for the server's own, where they are found first.
const SHADOWS: &str = "\
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT NULL::boolean';
CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
CREATE FUNCTION evil.pg_current_wal_flush_lsn() RETURNS pg_lsn LANGUAGE sql AS 'SELECT NULL::pg_lsn';
CREATE FUNCTION evil.pg_backend_pid() RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''shadow''; END';
CREATE FUNCTION evil.pg_promote(boolean, integer DEFAULT 60) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE VIEW evil.pg_control_system AS SELECT 1 AS system_identifier;
CREATE VIEW evil.pg_settings AS SELECT NULL::text AS name, NULL::text AS setting, NULL::text AS source;
CREATE VIEW evil.pg_stat_activity AS SELECT NULL::text AS backend_type, 1 AS pid;
CREATE VIEW evil.pg_stat_wal_receiver AS SELECT 7 AS received_tli;
CREATE FUNCTION evil.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.never)";

/// A setting, a value that hurts, and whether a session without settings of its own is known to suffer from it.
const HOSTILE: &[(&str, &str, bool)] = &[
    ("search_path", "evil, pg_catalog", false),
    ("default_transaction_isolation", "serializable", true),
    ("default_transaction_deferrable", "on", false),
    ("default_transaction_read_only", "on", false),
    ("statement_timeout", "1ms", true),
    ("lock_timeout", "1ms", false),
    ("idle_in_transaction_session_timeout", "1ms", false),
    ("idle_session_timeout", "30ms", true),
    ("transaction_timeout", "1ms", true),
    ("exit_on_error", "on", false),
    ("row_security", "off", false),
    ("log_statement", "all", false),
    ("client_encoding", "LATIN1", false),
    ("client_min_messages", "debug5", false),
    ("\"DateStyle\"", "German, DMY", false),
    ("\"IntervalStyle\"", "iso_8601", false),
    ("\"TimeZone\"", "Pacific/Kiritimati", false),
    ("bytea_output", "escape", false),
    ("standard_conforming_strings", "off", false),
    ("quote_all_identifiers", "on", false),
    ("transform_null_equals", "on", false),
    ("extra_float_digits", "-15", false),
    ("jit_above_cost", "0", false),
    ("force_parallel_mode", "on", false),
    ("debug_parallel_query", "on", false),
    ("createrole_self_grant", "set, inherit", false),
    ("restrict_nonsystem_relation_kind", "view, foreign-table", false),
    ("work_mem", "64kB", false),
    ("track_activities", "off", false),
    ("session_replication_role", "replica", false),
    // Only where a role can have them.
    ("role", "app", false),
    ("local_preload_libraries", "there_is_no_such_library", true),
];

/// Where a setting is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Role,
    Database,
    RoleInDatabase,
    Server,
}

impl Place {
    fn takes(self, setting: &str) -> bool {
        match setting {
            "role" => matches!(self, Place::Role | Place::RoleInDatabase),
            // The server's own is a finding, and it binds its administrator too; a transaction_timeout of the server ends the login
            // itself, anybody's, before what a session sets is read.
            "default_transaction_read_only" | "local_preload_libraries" | "transaction_timeout" => self != Place::Server,
            _ => true,
        }
    }

    fn of(self) -> String {
        match self {
            Place::Role => format!("ROLE {ENGINE_ROLE}"),
            Place::Database => "DATABASE postgres".to_owned(),
            Place::RoleInDatabase => format!("ROLE {ENGINE_ROLE} IN DATABASE postgres"),
            Place::Server => "SYSTEM".to_owned(),
        }
    }
}

/// Sets or resets, on both servers; this session's own settings are those of nobody.
fn alter(db1: &PgServer, db2: &PgServer, place: Place, setting: &str, value: Option<&str>) {
    let end = match value {
        Some(value) if setting == "search_path" => format!("SET {setting} = {value}"),
        Some(value) => format!("SET {setting} = '{value}'"),
        None => format!("RESET {setting}"),
    };
    let sql = format!("ALTER {} {end}", place.of());
    if place != Place::Server {
        db1.calm(&sql).unwrap();
        let at = db1.calm("SELECT pg_catalog.pg_current_wal_flush_lsn()").unwrap();
        let replayed = format!("SELECT pg_catalog.pg_last_wal_replay_lsn() >= '{at}'");
        wait_until("db2 has replayed it", AMPLE, || Ok((db2.calm(&replayed)? == "t").then_some(()))).unwrap();
        return;
    }
    for server in [db1, db2] {
        let loaded = "SELECT pg_catalog.pg_conf_load_time()";
        let before = server.calm(loaded).unwrap();
        server.calm(&sql).unwrap();
        server.calm("SELECT pg_catalog.pg_reload_conf()").unwrap();
        wait_until("it is read", AMPLE, || Ok((server.calm(loaded)? != before).then_some(()))).unwrap();
    }
}

fn bare(server: &PgServer) -> Target {
    Target { settings: SessionSettings::nothing(), ..engine_target(server, server.port()) }
}

/// What the watch does with a session: it asks, is idle, and asks again.
fn watch(target: &Target) -> Result<(), Error> {
    let mut session = Session::connect(target, &Literals, ample(), &cancel())?;
    let first = sample(&mut session, Clock::start().now(), ample(), &cancel())?;
    std::thread::sleep(Duration::from_millis(60));
    let second = sample(&mut session, Clock::start().now(), ample(), &cancel())?;
    assert_eq!((first.system_id, first.timeline), (second.system_id, 1));
    Ok(())
}

fn codes(cluster: &Cluster) -> Vec<String> {
    let of = |server| cluster.survey(server, around(true), ample(), &cancel()).unwrap().findings;
    [DB1, DB2].into_iter().flat_map(of).map(|finding| finding.code.to_string()).collect()
}

/// All that the engine does while all is well, and what it does after a promotion that changes nothing.
fn works(cluster: &Cluster, db1: &PgServer, db2: &PgServer, system: u64) -> Vec<String> {
    for server in [db1, db2] {
        watch(&engine_target(server, server.port())).unwrap_or_else(|error| panic!("the watch of {}: {error}", server.name()));
        for query in ["SELECT 1", "SELECT 2"] {
            let check = PostgresCheck::new(engine_target(server, server.port()), query.to_owned(), true);
            let (clock, cancel) = (Clock::start(), cancel());
            let finding =
                check.run(&Context { deadline: ample(), cancel: &cancel, clock: &clock, sample: true, addresses: &Literals });
            assert!(finding.verdict == Verdict::Up && finding.sample.is_some(), "{}: {}", server.name(), finding.message);
        }
    }
    let read = positions(cluster, &[DB2]);
    assert!(read[0].sample.is_ok(), "{read:?}");
    cluster.verify_data(DB1, system, 0, ample(), &cancel()).unwrap();
    traffic(cluster, db1, system, 1);
    codes(cluster)
}

fn traffic(cluster: &Cluster, server: &PgServer, system: u64, timeline: u32) {
    through(cluster, server, server.port(), system, timeline);
}

fn through(cluster: &Cluster, server: &PgServer, port: u16, system: u64, timeline: u32) {
    let sends_all = |_| Err("nobody is asked".to_owned());
    let way = Way { endpoints: &[Endpoint::new("127.0.0.1", port)], addresses: &Literals, sends_all: &sends_all };
    let id = if server.name() == "db1" { DB1 } else { DB2 };
    let report = cluster.verify_traffic(id, system, timeline, way, ample(), &cancel()).unwrap();
    assert!(matches!(report, Report::Traffic { .. }), "{report:?}");
}

fn at_place(place: Place) {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    db1.script(SHADOWS).unwrap();
    db1.query(&format!("GRANT app TO {ENGINE_ROLE}")).unwrap();
    let system = system_id(&db1);
    let known = |setting: &str| {
        let sql = format!("SELECT count(*) FROM pg_settings WHERE name = '{}'", setting.trim_matches('"'));
        setting == "role" || db1.value(&sql).unwrap() == "1"
    };
    let hostile: Vec<_> = HOSTILE.iter().filter(|(setting, ..)| place.takes(setting) && known(setting)).collect();
    let well = works(&cluster_of(&[(DB1, &db1), (DB2, &db2)]), &db1, &db2, system);
    for (setting, value, hurts) in &hostile {
        alter(&db1, &db2, place, setting, Some(value));
        println!("{place:?} {setting} = {value}");
        let suffers =
            [&db1, &db2].into_iter().any(|server| std::panic::catch_unwind(|| watch(&bare(server)).is_err()).unwrap_or(true));
        assert!(suffers || !hurts, "a session that sets nothing does not notice {setting} = {value}");
        let mut found = works(&cluster_of(&[(DB1, &db1), (DB2, &db2)]), &db1, &db2, system);
        found.retain(|code| code != "read_only_by_default");
        assert_eq!(found, well, "{place:?} {setting} = {value}");
        alter(&db1, &db2, place, setting, None);
    }
    // All at once, and the worst moment.
    for (setting, value, _) in hostile.iter().filter(|(setting, ..)| *setting != "client_min_messages") {
        alter(&db1, &db2, place, setting, Some(value));
    }
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    db1.kill_all();
    assert!(positions(&cluster, &[DB2])[0].sample.is_ok());
    let report = cluster.promote(DB2, Promotion::Sql, system, 1, ample(), &cancel()).unwrap();
    println!("{}", message(&report));
    let report = cluster.verify_data(DB2, system, 1, ample(), &cancel()).unwrap();
    println!("{}", message(&report));
    traffic(&cluster, &db2, system, 2);
}

#[test]
fn nothing_that_is_set_for_the_role_keeps_the_engine_from_working() {
    at_place(Place::Role);
}

#[test]
fn nothing_that_is_set_for_the_database_keeps_the_engine_from_working() {
    at_place(Place::Database);
}

#[test]
fn nothing_that_is_set_for_the_role_in_the_database_keeps_the_engine_from_working() {
    at_place(Place::RoleInDatabase);
}

#[test]
fn nothing_that_is_set_for_the_server_keeps_the_engine_from_working() {
    at_place(Place::Server);
}

/// Through a pooler nothing can be set for a session, and what it asks and writes is right all the same.
#[test]
fn through_a_pooler_that_takes_no_settings_the_traffic_is_verified() {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    db1.script(SHADOWS).unwrap();
    let system = system_id(&db1);
    for (setting, value) in [("search_path", "evil, pg_catalog"), ("default_transaction_read_only", "on")] {
        let value = if setting == "search_path" { value.to_owned() } else { format!("'{value}'") };
        db1.calm(&format!("ALTER ROLE {ENGINE_ROLE} SET {setting} = {value}")).unwrap();
    }
    let logins = [(ENGINE_ROLE, db1.secrets().engine.as_str())];
    let pooler = PgBouncer::start(&lab, "pool", &["postgres"], db1.port(), &logins).unwrap();
    let target = Target { endpoint: Endpoint::new("127.0.0.1", pooler.port()), ..engine_target(&db1, db1.port()) };
    for _ in 0..2 {
        drop(Session::connect(&target, &Literals, ample(), &cancel()).unwrap());
    }
    let log = std::fs::read_to_string(lab.log_path("pool")).unwrap();
    let refusals = log.lines().filter(|line| line.contains("closing because: unsupported startup parameter")).count();
    assert_eq!(refusals, 1, "it is known from then on: {log}");
    let cluster = cluster_of(&[(DB1, &db1)]);
    through(&cluster, &db1, pooler.port(), system, 1);
}
