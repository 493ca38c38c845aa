//! Each finding over SQL on a real server: its state is made, the survey finds it, its remedy is carried out as it stands, and the finding is
//! gone. And what is found beforehand is what a failover meets.

use std::collections::BTreeSet;

use crate::action::postgres::{Around, Cluster, Promotion};
use failover_core::finding::{FindingCode, FindingGroup};
use failover_core::output::Report;
use failover_core::sample::ReadinessFinding;

use super::postgres_actions::{AMPLE, DB1, DB2, ample, around, cancel, cluster_of, message, pair, positions, system_id};
use super::support::lab::wait_until;
use super::support::postgres::ENGINE_ROLE;
use super::support::saturation::Clients;
use super::support::{Lab, PgOptions, PgServer};

fn found(cluster: &Cluster, on_standby: bool, code: FindingCode) -> Option<ReadinessFinding> {
    let server = if on_standby { DB2 } else { DB1 };
    let findings = cluster.survey(server, around(false), ample(), &cancel()).unwrap().findings;
    findings.into_iter().find(|finding| finding.code == code)
}

/// The statements of a remedy, and whether a restart ends it.
fn carry_out(server: &PgServer, remedy: &str) {
    let (statements, restart) = match remedy.split_once(", then restart") {
        Some((statements, _)) => (statements, true),
        None => (remedy, false),
    };
    for statement in statements.split("; ") {
        server.query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    if restart {
        server.restart().unwrap();
    }
}

/// A state, where its finding shows, and where its remedy is carried out.
struct State {
    code: FindingCode,
    /// Made on the primary, and on the standby.
    made: &'static [&'static str],
    made_on_standby: &'static [&'static str],
    shows_on_standby: bool,
    blocking: bool,
}

const fn on_primary(code: FindingCode, made: &'static [&'static str]) -> State {
    State { code, made, made_on_standby: &[], shows_on_standby: false, blocking: false }
}

const fn on_standby(code: FindingCode, made_on_standby: &'static [&'static str]) -> State {
    State { code, made: &[], made_on_standby, shows_on_standby: true, blocking: false }
}

const RELOAD: &str = "SELECT pg_reload_conf()";

const STATES: &[State] = &[
    State {
        blocking: true,
        ..on_primary(FindingCode::PromoteRightMissing, &["REVOKE EXECUTE ON FUNCTION pg_promote(boolean, integer) FROM failover"])
    },
    on_primary(FindingCode::ReloadRightMissing, &["REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM failover"]),
    on_primary(FindingCode::MonitorRightMissing, &["REVOKE pg_monitor FROM failover"]),
    on_primary(
        FindingCode::MonitorRightMissing,
        &["REVOKE pg_monitor FROM failover", "ALTER ROLE failover NOINHERIT", "GRANT pg_monitor TO failover"],
    ),
    on_standby(FindingCode::WalReceiverTimeoutLong, &["ALTER SYSTEM SET wal_receiver_timeout = '60s'", RELOAD]),
    State {
        blocking: true,
        ..on_primary(FindingCode::ReadOnlyByDefault, &["ALTER SYSTEM SET default_transaction_read_only = on", RELOAD])
    },
    on_primary(FindingCode::ReadOnlyByDefault, &["ALTER ROLE failover SET default_transaction_read_only = on"]),
    on_primary(
        FindingCode::ReadOnlyByDefault,
        &["ALTER ROLE failover IN DATABASE postgres SET default_transaction_read_only = on"],
    ),
    on_primary(FindingCode::FsyncOff, &["ALTER SYSTEM SET fsync = off", RELOAD]),
    on_primary(
        FindingCode::SyncCommitWaitsForNobody,
        &["ALTER SYSTEM SET synchronous_commit = local", "ALTER SYSTEM SET synchronous_standby_names = 'db2'", RELOAD],
    ),
    on_primary(
        FindingCode::SyncCommitOverridden,
        &[
            "ALTER SYSTEM SET synchronous_standby_names = 'db2'",
            RELOAD,
            "ALTER ROLE failover SET synchronous_commit = off",
            "ALTER DATABASE app SET synchronous_commit = local",
            "ALTER ROLE app IN DATABASE app SET synchronous_commit = off",
            "CREATE FUNCTION quick(integer) RETURNS void LANGUAGE sql SET synchronous_commit = off AS ''",
            "CREATE PROCEDURE quick(text) LANGUAGE sql SET synchronous_commit = off AS ''",
        ],
    ),
    on_primary(
        FindingCode::SyncGateRightMissing,
        &[
            "ALTER SYSTEM SET synchronous_standby_names = 'db2'",
            RELOAD,
            "REVOKE ALTER SYSTEM ON PARAMETER synchronous_standby_names FROM failover",
        ],
    ),
    on_standby(FindingCode::SalvageNotPrepared, &[]),
    State { blocking: true, ..on_standby(FindingCode::ReplayPaused, &["SELECT pg_wal_replay_pause()"]) },
    State { blocking: true, ..on_primary(FindingCode::ConnectionLimitLow, &["ALTER ROLE failover CONNECTION LIMIT 2"]) },
    on_primary(FindingCode::ConnectionLimitLow, &["ALTER ROLE failover CONNECTION LIMIT 4"]),
    on_primary(FindingCode::ConnectionLimitLow, &["ALTER DATABASE postgres CONNECTION LIMIT 3"]),
];

/// Made elsewhere, with what makes it: or a person has to look for the remedy, and no statement is it.
const ELSEWHERE: &[FindingCode] = &[
    // a_version_that_is_too_old_blocks_and_one_that_is_newer_is_a_warning; a_server_that_is_too_old_is_refused_by_name, with a PostgreSQL 12
    FindingCode::VersionNotSupported,
    FindingCode::VersionNotTried,
    // the_survey_names_what_would_hurt
    FindingCode::LogicalSlots,
    FindingCode::SyncGate,
    // sync_survey::tests
    FindingCode::SyncNamesUnreadable,
    FindingCode::SyncByStrangers,
    FindingCode::ReplicationNamesEqual,
    FindingCode::SyncStandbyAbsent,
    // who_holds_a_replay_is_named_by_the_survey_and_by_the_promotion_and_the_remedy_ends_it
    FindingCode::ReplayHeld,
    // places_that_are_kept_and_closed_to_the_engine_are_told: PostgreSQL 16 and later
    FindingCode::ReservedPlacesClosed,
    // wire_postgres
    FindingCode::CertificateExpired,
    FindingCode::CertificateExpires,
    FindingCode::ClientCertificateExpires,
    // below
    FindingCode::NoPlaceLeft,
    FindingCode::SettingLowerThanPrimary,
    // Below, and their remedies are no statements, or only a part of them is.
    FindingCode::RewindImpossible,
    FindingCode::ArchiveFailing,
    FindingCode::ArchiveBacklog,
    FindingCode::ApplyDelayed,
    FindingCode::NotReceiving,
    FindingCode::ArchiveEnds,
    FindingCode::ArchivedTwice,
    FindingCode::SlotHoldsWal,
    FindingCode::SlotLost,
    FindingCode::ReplicationPasswordReadable,
    // repoint::what_would_stand_in_the_way_is_found_beforehand_and_ends_by_its_remedy
    FindingCode::RepointNotPrepared,
    // sync_set::what_would_keep_the_engine_from_it_is_found_beforehand_and_ends_by_its_remedy
    FindingCode::SyncSetNotPrepared,
];

#[test]
fn every_finding_over_sql_has_a_state() {
    let here: BTreeSet<FindingCode> = STATES.iter().map(|state| state.code).chain(ELSEWHERE.iter().copied()).collect();
    for row in FindingCode::TABLE.iter().filter(|row| row.group == FindingGroup::Server) {
        assert!(here.contains(&row.code), "{} has no state that shows it", row.code);
    }
}

#[test]
fn a_remedy_ends_what_it_is_shown_for() {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::new("db1")).unwrap();
    let db2 = PgServer::standby_of(&db1, &PgOptions::new("db2")).unwrap();
    let cluster = || cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    for State { code, made, made_on_standby, shows_on_standby, blocking } in STATES {
        for (server, statements) in [(&db1, made), (&db2, made_on_standby)] {
            for statement in *statements {
                server.query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
        let shown =
            wait_until(&format!("{code} {made:?}{made_on_standby:?}"), AMPLE, || Ok(found(&cluster(), *shows_on_standby, *code)));
        let shown = shown.unwrap();
        println!("{code}: {} | {}", shown.message, shown.remedy);
        assert_eq!(shown.blocking, *blocking, "{shown:?}");
        // As it stands, on the server that it names.
        carry_out(if *shows_on_standby { &db2 } else { &db1 }, &shown.remedy);
        let gone = || Ok(found(&cluster(), *shows_on_standby, *code).is_none().then_some(()));
        wait_until(&format!("{code} is gone after: {}", shown.remedy), AMPLE, gone).unwrap();
        for statement in ["ALTER SYSTEM RESET ALL", RELOAD] {
            db1.query(statement).unwrap();
        }
    }
}

/// PostgreSQL pauses replay by itself where a setting is too low, and shuts down when it is told to resume.
#[test]
fn a_standby_that_paused_itself_for_a_low_setting_is_not_told_to_resume() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let most: u32 = db1.value("SHOW max_connections").unwrap().parse().unwrap();
    db1.query(&format!("ALTER SYSTEM SET max_connections = {}", most + 50)).unwrap();
    db1.restart().unwrap();
    let paused = || Ok((db2.value("SELECT pg_is_wal_replay_paused()")? == "t").then_some(()));
    wait_until("it pauses itself", AMPLE, paused).unwrap();
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    let shown = found(&cluster, true, FindingCode::ReplayPaused).unwrap();
    println!("{} | {}", shown.message, shown.remedy);
    assert!(shown.blocking && shown.message.contains("shuts the server down"), "{shown:?}");
    assert!(found(&cluster, true, FindingCode::SettingLowerThanPrimary).is_some());
    carry_out(&db2, &shown.remedy);
    db2.wait_following(&db1).unwrap();
    for code in [FindingCode::ReplayPaused, FindingCode::SettingLowerThanPrimary] {
        assert_eq!(found(&cluster, true, code), None);
    }
}

/// A standby full of readers is promoted with the session that the survey has there; without one it is no promise.
#[test]
fn a_standby_full_of_readers_is_promoted_or_found_beforehand() {
    let lab = Lab::new().unwrap();
    let options = |name| PgOptions::quick(name).with("max_connections = 20");
    let db1 = PgServer::primary(&lab, &options("db1")).unwrap();
    let db2 = PgServer::standby_of(&db1, &options("db2")).unwrap();
    let (system, cluster) = (system_id(&db1), cluster_of(&[(DB1, &db1), (DB2, &db2)]));
    assert_eq!(found(&cluster, true, FindingCode::NoPlaceLeft), None);
    let _readers = Clients::take_all(&db2).unwrap();
    for _ in 0..3 {
        let shown = found(&cluster, true, FindingCode::NoPlaceLeft).expect("it is full");
        println!("{} | {}", shown.message, shown.remedy);
        assert!(!shown.blocking && shown.message.contains("53300"), "{shown:?}");
    }
    let blind = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    assert!(found(&blind, true, FindingCode::NoPlaceLeft).expect("nobody gets in").blocking);

    db1.kill_all();
    assert!(positions(&cluster, &[DB2])[0].sample.is_ok(), "the session that the survey has");
    assert!(positions(&blind, &[DB2])[0].sample.is_err(), "what was found is true");
    println!("{}", message(&cluster.promote(DB2, Promotion::Sql, system, 1, ample(), &cancel()).unwrap()));
    assert!(matches!(cluster.verify_data(DB2, system, 1, ample(), &cancel()), Ok(Report::Written { commits: true, .. })));
    cluster.open_sync_gate(DB2, ample(), &cancel()).unwrap();
}

/// Beside the watch, with one place for all that a failover does.
#[test]
fn a_role_with_few_sessions_is_found_beforehand_and_a_promotion_takes_one() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let (system, cluster) = (system_id(&db1), cluster_of(&[(DB1, &db1), (DB2, &db2)]));
    db1.query(&format!("ALTER ROLE {ENGINE_ROLE} CONNECTION LIMIT 1")).unwrap();
    db2.wait_following(&db1).unwrap();
    assert!(found(&cluster, false, FindingCode::ConnectionLimitLow).expect("a finding").blocking);
    db1.kill_all();
    assert!(positions(&cluster, &[DB2])[0].sample.is_ok());
    cluster.promote(DB2, Promotion::Sql, system, 1, ample(), &cancel()).unwrap();
    assert!(matches!(cluster.verify_data(DB2, system, 1, ample(), &cancel()), Ok(Report::Written { commits: true, .. })));
}

/// It is found, with this in its remedy; what the remedy says is done, and it is gone.
fn ends(cluster: &Cluster, on_standby: bool, code: FindingCode, says: &str, mend: impl FnOnce(&ReadinessFinding)) {
    let shown = wait_until(&code.to_string(), AMPLE, || Ok(found(cluster, on_standby, code))).unwrap();
    println!("{code}: {} | {}", shown.message, shown.remedy);
    assert!(shown.remedy.contains(says), "{shown:?}");
    mend(&shown);
    wait_until(&format!("{code} is gone"), AMPLE, || Ok(found(cluster, on_standby, code).is_none().then_some(()))).unwrap();
}

fn all(server: &PgServer, statements: &[&str]) {
    for statement in statements {
        server.query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// So many files of the log are begun.
fn switch(server: &PgServer, files: usize) {
    for _ in 0..files {
        all(server, &["SELECT pg_logical_emit_message(false, 'test', 'x')", "SELECT pg_switch_wal()"]);
    }
}

#[test]
fn a_primary_that_could_not_be_rewound_is_told() {
    let lab = Lab::new().unwrap();
    let (db1, _db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1)]);
    carry_out(&db1, "ALTER SYSTEM SET wal_log_hints = off, then restart");
    ends(&cluster, false, FindingCode::RewindImpossible, "wal_log_hints", |shown| carry_out(&db1, &shown.remedy));
}

/// A delayed standby that may be promoted is told, until the configuration says that it may be all the same, or not at all.
#[test]
fn a_delayed_standby_is_told_where_it_may_be_promoted() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    all(&db2, &["ALTER SYSTEM SET recovery_min_apply_delay = '1h'", RELOAD]);
    let told = |candidate, delay_allowed| {
        let around = Around { candidate, delay_allowed, ..around(false) };
        let findings = cluster.survey(DB2, around, ample(), &cancel()).unwrap().findings;
        findings.into_iter().find(|finding| finding.code == FindingCode::ApplyDelayed)
    };
    let shown = wait_until("it is told", AMPLE, || Ok(told(true, false))).unwrap();
    assert!(shown.blocking && shown.remedy.contains("data.allow_delayed = true, or candidate = false"), "{shown:?}");
    assert_eq!([told(true, true), told(false, false)], [None, None]);
}

/// A standby has a command of its own: the remedy keeps it, and does not show it.
#[test]
fn a_restore_command_that_is_there_is_kept() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    carry_out(&db2, "ALTER SYSTEM SET restore_command = 'cp \"/it''s nowhere/%f\" \"%p\"', then restart the standby");
    ends(&cluster, true, FindingCode::SalvageNotPrepared, "in psql: ", |shown| {
        assert!(!shown.remedy.contains("nowhere"), "{shown:?}");
        let (script, restart) = match shown.remedy.split_once(", then restart") {
            Some((script, _)) => (script, true),
            None => (shown.remedy.as_str(), false),
        };
        db2.script(script.strip_prefix("in psql: ").unwrap()).unwrap();
        if restart {
            db2.restart().unwrap();
        }
    });
    let now = db2.value("SHOW restore_command").unwrap();
    assert_eq!(now, "cp \"/it's nowhere/%f\" \"%p\" || cp failover-spool/%f \"%p\"");
    // Who has a promise, or wants no salvage, is not told.
    all(&db2, &["ALTER SYSTEM RESET restore_command"]);
    db2.restart().unwrap();
    let told = |salvage| {
        let around = Around { salvage, ..around(false) };
        let findings = cluster.survey(DB2, around, ample(), &cancel()).unwrap().findings;
        findings.into_iter().find(|finding| finding.code == FindingCode::SalvageNotPrepared).map(|finding| finding.blocking)
    };
    assert_eq!([told(None), told(Some(false)), told(Some(true))], [None, Some(false), Some(true)]);
    all(&db1, &["ALTER SYSTEM SET synchronous_standby_names = 'db2'", RELOAD]);
    wait_until("the promise is seen", AMPLE, || Ok(told(Some(false)).is_none().then_some(()))).unwrap();
    assert_eq!(told(Some(true)), Some(true));
}

/// Whose standby is never promoted is not kept from a failover by how that one is.
#[test]
fn what_is_wrong_with_a_standby_that_is_no_candidate_does_not_block() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    all(&db2, &["SELECT pg_wal_replay_pause()"]);
    let blocks = |candidate| {
        let around = Around { candidate, ..around(false) };
        let findings = cluster.survey(DB2, around, ample(), &cancel()).unwrap().findings;
        findings.into_iter().find(|finding| finding.code == FindingCode::ReplayPaused).map(|finding| finding.blocking)
    };
    assert_eq!([blocks(true), blocks(false)], [Some(true), Some(false)]);
}

#[test]
fn an_archive_that_fails_is_told_until_it_works() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    all(&db1, &["ALTER SYSTEM SET archive_command = 'false'"]);
    carry_out(&db1, "ALTER SYSTEM SET archive_mode = on, then restart");
    switch(&db1, 34);
    let mend = || {
        all(&db1, &["ALTER SYSTEM SET archive_command = 'true'", RELOAD]);
        switch(&db1, 1);
    };
    assert!(wait_until("a backlog", AMPLE, || Ok(found(&cluster, false, FindingCode::ArchiveBacklog))).is_ok());
    ends(&cluster, false, FindingCode::ArchiveFailing, "server's log", |_| mend());
    let gone = || Ok(found(&cluster, false, FindingCode::ArchiveBacklog).is_none().then_some(()));
    wait_until("the backlog is gone", AMPLE, gone).unwrap();
}

/// A standby that would archive nothing, and one that archives what its primary archives.
#[test]
fn the_archive_after_a_failover_is_told() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    assert_eq!(found(&cluster, true, FindingCode::ArchiveEnds), None, "the primary does not archive either");
    all(&db1, &["ALTER SYSTEM SET archive_command = 'true'"]);
    carry_out(&db1, "ALTER SYSTEM SET archive_mode = on, then restart");
    ends(&cluster, true, FindingCode::ArchiveEnds, "ALTER SYSTEM SET archive_mode = on, then restart", |shown| {
        all(&db2, &["ALTER SYSTEM SET archive_command = 'true'"]);
        carry_out(&db2, shown.remedy.split_once(", and ").unwrap().1);
    });
    all(&db2, &["ALTER SYSTEM SET archive_command = ''", RELOAD]);
    ends(&cluster, true, FindingCode::ArchiveEnds, "SELECT pg_reload_conf()", |_| {
        all(&db2, &["ALTER SYSTEM SET archive_command = 'true'", RELOAD]);
    });
    carry_out(&db2, "ALTER SYSTEM SET archive_mode = always, then restart");
    ends(&cluster, true, FindingCode::ArchivedTwice, "archive_mode = on", |shown| carry_out(&db2, &shown.remedy));
}

#[test]
fn a_standby_that_receives_nothing_is_told_until_it_receives() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    let conninfo = db2.value("SHOW primary_conninfo").unwrap();
    all(&db2, &["ALTER SYSTEM SET primary_conninfo = ''", RELOAD]);
    ends(&cluster, true, FindingCode::NotReceiving, "primary_conninfo", |_| {
        all(&db2, &[&format!("ALTER SYSTEM SET primary_conninfo = '{}'", conninfo.replace('\'', "''")), RELOAD]);
    });
}

/// What a slot of nobody holds, with a limit and without one; and one that its limit has cost its place.
#[test]
fn a_slot_that_nobody_uses_is_told_until_it_is_dropped() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    let settings = ["min_wal_size = '32MB'", "max_wal_size = '32MB'", "wal_keep_size = 0"];
    for setting in settings {
        all(&db1, &[&format!("ALTER SYSTEM SET {setting}")]);
    }
    all(&db1, &[RELOAD, "SELECT pg_create_physical_replication_slot('gone', true)"]);
    assert_eq!(found(&cluster, false, FindingCode::SlotHoldsWal), None);
    switch(&db1, 5);
    let shown = wait_until("it is told", AMPLE, || Ok(found(&cluster, false, FindingCode::SlotHoldsWal))).unwrap();
    assert!(
        shown.message.contains("slot gone is not in use") && shown.message.contains("max_slot_wal_keep_size is -1"),
        "{shown:?}"
    );
    all(&db1, &["ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'", RELOAD]);
    let limited = || Ok(found(&cluster, false, FindingCode::SlotHoldsWal).filter(|shown| shown.message.contains("at 1GB")));
    wait_until("the limit is told", AMPLE, limited).unwrap();
    all(&db1, &["ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'", RELOAD]);
    switch(&db1, 5);
    all(&db1, &["CHECKPOINT"]);
    ends(&cluster, false, FindingCode::SlotLost, "base backup", |shown| {
        assert_eq!(found(&cluster, false, FindingCode::SlotHoldsWal), None, "each slot is told of once");
        all(&db1, &[shown.remedy.split_once("if there is none, ").unwrap().1]);
    });
}

#[test]
fn a_password_in_primary_conninfo_is_told_and_never_shown() {
    let lab = Lab::new().unwrap();
    let (db1, db2) = pair(&lab);
    let cluster = cluster_of(&[(DB1, &db1), (DB2, &db2)]);
    let own = db2.value("SHOW primary_conninfo").unwrap();
    let set = |conninfo: &str| {
        all(&db2, &[&format!("ALTER SYSTEM SET primary_conninfo = '{}'", conninfo.replace('\'', "''")), RELOAD]);
    };
    let without: Vec<&str> = own.split_whitespace().filter(|word| !word.starts_with("password=")).collect();
    let without = without.join(" ");
    for with in [
        "host=127.0.0.1 password = 'hunter two'",
        "host=127.0.0.1 sslpassword=hunter",
        "postgresql://rep:hunter@127.0.0.1/postgres",
        "postgresql://rep@127.0.0.1/?application_name=db2&password=hunter",
    ] {
        set(with);
        ends(&cluster, true, FindingCode::ReplicationPasswordReadable, "passfile=", |shown| {
            assert!(!format!("{shown:?}").contains("hunter"), "{shown:?}");
            set(&without);
        });
    }
    // No password, whatever it looks like.
    for innocent in ["host=127.0.0.1 application_name='db2 password=x'", "host=127.0.0.1 password='' passfile=/nowhere"] {
        set(innocent);
        let shown = || Ok((db2.value("SHOW primary_conninfo")? == innocent).then_some(()));
        wait_until("it is set", AMPLE, shown).unwrap();
        assert_eq!(found(&cluster, true, FindingCode::ReplicationPasswordReadable), None, "{innocent}");
    }
    set(&without);
    db2.wait_following(&db1).unwrap();
    // Hidden is not told, and no error.
    db1.query(&format!("REVOKE pg_monitor FROM {ENGINE_ROLE}")).unwrap();
    let sees = format!("SELECT pg_has_role('{ENGINE_ROLE}', 'pg_monitor', 'USAGE')");
    wait_until("it sees less", AMPLE, || Ok((db2.value(&sees)? == "f").then_some(()))).unwrap();
    set("host=127.0.0.1 password=hunter");
    wait_until("it is set", AMPLE, || Ok(db2.value("SHOW primary_conninfo")?.contains("hunter").then_some(()))).unwrap();
    assert_eq!(found(&cluster, true, FindingCode::ReplicationPasswordReadable), None);
}

/// A smart shutdown waits for the last session (rule 174).
#[test]
fn with_the_session_of_the_checks_that_of_the_survey_is_closed() {
    let lab = Lab::new().unwrap();
    let db1 = PgServer::primary(&lab, &PgOptions::quick("db1")).unwrap();
    let password = lab.write("failover.password", format!("{}\n", db1.secrets().engine), 0o600).unwrap();
    let login = format!("user = \"{ENGINE_ROLE}\"\npassword = {{ file = \"{}\" }}\nsslmode = \"disable\"", password.display());
    let ours = || db1.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'libfailover/%'");
    crate::engine::trigger::tests::after_survey_and_close(
        db1.port(),
        &login,
        || assert_eq!(ours().unwrap(), "1"),
        || wait_until("the session is closed", AMPLE, || Ok((ours()? == "0").then_some(()))).unwrap(),
    );
}
