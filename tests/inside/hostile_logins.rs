//! What runs at the start of every session, and that the engine cannot switch off: login event triggers (from PostgreSQL 17 on) and
//! session_preload_libraries. Each that fails or waits is told by its check, with a remedy that ends it, and is never a death.

use std::borrow::Cow;
use std::time::Duration;

use crate::action::postgres::Cluster;
use crate::check::postgres::PostgresCheck;
use crate::check::{Check, Context};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::engine::remedy::of_check;
use crate::wire::postgres::{Endpoint, Session};
use crate::wire::resolve::Literals;
use failover_core::model::CheckKind;
use failover_core::observation::{DownCause, Finding, Impairment, Verdict};
use failover_core::sample::ReadinessFinding;

use super::postgres_actions::{AMPLE, DB1, ample, cancel, cluster_of, engine_target, pair};
use super::support::lab::wait_until;
use super::support::postgres::ENGINE_ROLE;
use super::support::{Lab, PgServer};

/// Short enough to wait for, and longer than a login takes.
const PATIENCE: Duration = Duration::from_secs(2);

fn ask(server: &PgServer, deadline: Deadline) -> Finding {
    let check = PostgresCheck::new(engine_target(server, server.port()), "SELECT 1".to_owned(), false);
    let (clock, cancel) = (Clock::start(), cancel());
    check.run(&Context { deadline, cancel: &cancel, clock: &clock, sample: true, addresses: &Literals })
}

fn remedy(found: &Finding) -> Cow<'static, str> {
    of_check(CheckKind::Postgres, &found.verdict, &found.message)
}

/// Waits until the standby has replayed all that the primary wrote.
fn replayed(db1: &PgServer, db2: &PgServer) {
    let at = db1.calm("SELECT pg_catalog.pg_current_wal_flush_lsn()").unwrap();
    let there = format!("SELECT pg_catalog.pg_last_wal_replay_lsn() >= '{at}'");
    wait_until("db2 has replayed it", AMPLE, || Ok((db2.calm(&there)? == "t").then_some(()))).unwrap();
}

/// What is asked through the route.
fn through(server: &PgServer, cluster: &Cluster) -> Vec<ReadinessFinding> {
    let at = [Endpoint::new("127.0.0.1", server.port())];
    cluster.look_through(DB1, None, (&at, &Literals), ample(), &cancel())
}

/// The last statement of a remedy, as it stands; of a query what it returns.
fn statement(server: &PgServer, remedy: &str) -> String {
    match remedy.split_once("run what this returns: ") {
        Some((_, query)) => server.calm(query.split(" -- ").next().unwrap()).unwrap(),
        None => remedy[remedy.rfind("ALTER ").unwrap_or_else(|| panic!("no statement: {remedy}"))..].to_owned(),
    }
}

/// The role is there, and the server does not let it in: the statement of the remedy does, of the check and of the look through the route.
#[test]
fn what_is_said_of_a_role_that_is_kept_out_lets_it_in() {
    let lab = Lab::new().unwrap();
    let (db1, _db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1)]);
    let held = Session::connect(&engine_target(&db1, db1.port()), &Literals, ample(), &cancel()).unwrap();
    let library = "SET session_preload_libraries = 'no such ''library'";
    for make in [
        format!("ALTER ROLE {ENGINE_ROLE} CONNECTION LIMIT 1"),
        "ALTER DATABASE postgres CONNECTION LIMIT 1".to_owned(),
        format!("ALTER ROLE {ENGINE_ROLE} VALID UNTIL '2001-01-01'"),
        format!("ALTER ROLE {ENGINE_ROLE} NOLOGIN"),
        format!("ALTER ROLE {ENGINE_ROLE} {library}"),
        format!("ALTER DATABASE postgres {library}"),
        format!("ALTER ROLE {ENGINE_ROLE} IN DATABASE postgres {library}"),
    ] {
        for by_route in [false, true] {
            db1.calm(&make).unwrap();
            let found = ask(&db1, ample());
            assert!(matches!(found.verdict, Verdict::Impaired(_)), "{make}: {}", found.message);
            let told = through(&db1, &cluster);
            assert_eq!(told.len(), 1, "{make}: {told:?}");
            let said = if by_route { told[0].remedy.clone() } else { remedy(&found).into_owned() };
            println!("{make}: {} | {said}", found.message);
            db1.calm(&statement(&db1, &said)).unwrap();
            assert_eq!(ask(&db1, ample()).verdict, Verdict::Up, "{make}: {said}");
            assert_eq!(through(&db1, &cluster), [], "{make}: {said}");
        }
    }
    drop(held);
}

/// Makes it, looks at both servers, ends it as the remedy says, and looks again. `told`: of the primary and of the standby.
fn one(servers: (&PgServer, &PgServer), make: &str, end: &str, told: [Option<Impairment>; 2], words: &str) {
    let (db1, db2) = servers;
    db1.calm(make).unwrap();
    replayed(db1, db2);
    for (server, wanted) in [db1, db2].into_iter().zip(told) {
        let found = ask(server, ample());
        let wanted = wanted.map_or(Verdict::Up, Verdict::Impaired);
        assert_eq!(found.verdict, wanted, "{make}: {}: {}", server.name(), found.message);
        if wanted != Verdict::Up {
            assert!(found.message.contains(words), "{make}: {}", found.message);
            assert!(remedy(&found).contains("session_preload_libraries"), "{make}: {}", remedy(&found));
            let of_library = make.contains("session_preload_libraries");
            let words = if of_library { "RESET session_preload_libraries" } else { "ALTER EVENT TRIGGER ... DISABLE," };
            assert!(remedy(&found).contains(words), "{make}: {}", remedy(&found));
        }
    }
    db1.calm(end).unwrap();
    replayed(db1, db2);
    lets_in(db1, db2, end);
}

/// PostgreSQL 17 keeps everybody out of a standby whose database is still marked as one with login triggers; the next login on the
/// primary takes the mark away.
fn lets_in(db1: &PgServer, db2: &PgServer, end: &str) {
    let found = ask(db1, ample());
    assert_eq!(found.verdict, Verdict::Up, "{end}: {}", found.message);
    let is_in = || Ok((ask(db2, ample()).verdict == Verdict::Up).then_some(()));
    wait_until(&format!("the standby lets in again: {end}"), AMPLE, is_in).unwrap();
}

#[test]
fn a_library_that_no_session_can_load_is_named_by_the_check() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let no_library = lab.write("no_library.so", "this is none", 0o644).unwrap();
    let refused = [Some(Impairment::QueryRefused); 2];
    for place in
        [format!("ROLE {ENGINE_ROLE}"), "DATABASE postgres".to_owned(), format!("ROLE {ENGINE_ROLE} IN DATABASE postgres")]
    {
        for library in ["there_is_no_such_library", no_library.to_str().unwrap()] {
            let make = format!("ALTER {place} SET session_preload_libraries = '{library}'");
            let end = format!("ALTER {place} RESET session_preload_libraries");
            one((&db1, &db2), &make, &end, refused, library);
        }
    }
    // The server's own is read from its file by each server for itself.
    for server in [&db1, &db2] {
        let loaded = "SELECT pg_catalog.pg_conf_load_time()";
        let change = |sql: &str| {
            let before = server.calm(loaded).unwrap();
            server.calm(sql).unwrap();
            server.calm("SELECT pg_catalog.pg_reload_conf()").unwrap();
            wait_until("it is read", AMPLE, || Ok((server.calm(loaded)? != before).then_some(()))).unwrap();
        };
        change("ALTER SYSTEM SET session_preload_libraries = 'there_is_no_such_library'");
        let found = ask(server, ample());
        assert_eq!(found.verdict, Verdict::Impaired(Impairment::QueryRefused), "{}", found.message);
        assert!(remedy(&found).contains("if it returns nothing: ALTER SYSTEM RESET session_preload_libraries, then SELECT"));
        change("ALTER SYSTEM RESET session_preload_libraries");
        assert_eq!(ask(server, ample()).verdict, Verdict::Up);
    }
}

/// With the programs of PostgreSQL 17 or 18 in `FAILOVER_POSTGRES_BIN`: earlier ones know no such trigger.
#[test]
fn a_login_trigger_that_fails_or_waits_is_named_by_the_check() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    if db1.major().unwrap() < 17 {
        return;
    }
    let trigger = |name: &str, body: &str| {
        db1.calm(&format!(
            "CREATE FUNCTION public.{name}() RETURNS event_trigger LANGUAGE plpgsql AS $body$ BEGIN {body}; END $body$; \
             CREATE EVENT TRIGGER {name} ON login EXECUTE FUNCTION public.{name}(); ALTER EVENT TRIGGER {name} DISABLE"
        ))
        .unwrap();
    };
    db1.calm("CREATE TABLE public.logins (who text)").unwrap();
    db1.calm("GRANT INSERT ON public.logins TO PUBLIC").unwrap();
    trigger("raises", "RAISE EXCEPTION 'nobody gets in'");
    trigger("denies", "RAISE EXCEPTION 'not you' USING ERRCODE = '42501'");
    trigger("misses", "PERFORM 1 FROM public.there_is_no_such_table");
    trigger("divides", "PERFORM 1 / 0");
    // Only where it is no standby: it is seen before that one is promoted.
    trigger("writes", "INSERT INTO public.logins VALUES (session_user)");
    trigger("passes", "NULL");
    let refused = Some(Impairment::QueryRefused);
    for (name, told, words) in [
        ("raises", [refused; 2], "nobody gets in"),
        ("denies", [refused; 2], "not you"),
        ("misses", [refused; 2], "there_is_no_such_table"),
        ("divides", [refused; 2], "division by zero"),
        ("writes", [None, refused], "read-only transaction"),
        ("passes", [None; 2], ""),
    ] {
        let make = format!("ALTER EVENT TRIGGER {name} ENABLE ALWAYS");
        one((&db1, &db2), &make, &format!("ALTER EVENT TRIGGER {name} DISABLE"), told, words);
    }

    // One that waits is no answer in time, and the remedy leads to it.
    trigger("waits", "PERFORM pg_catalog.pg_sleep(600)");
    db1.calm("ALTER EVENT TRIGGER waits ENABLE ALWAYS").unwrap();
    replayed(&db1, &db2);
    for server in [&db1, &db2] {
        let found = ask(server, Deadline::after(PATIENCE));
        assert_eq!(found.verdict, Verdict::Down(DownCause::AnswerTimedOut), "{}", found.message);
        assert!(remedy(&found).contains("a login event trigger"), "{}: {}", found.message, remedy(&found));
    }
    db1.calm("ALTER EVENT TRIGGER waits DISABLE").unwrap();
    replayed(&db1, &db2);
    lets_in(&db1, &db2, "waits");
}
