//! Planned work on a real cluster, under load: a primary that is well hands over, its clients wait in a real PgBouncer or come again through a
//! real HAProxy, and whatever ends in the middle, nobody loses a row and no client waits for ever.

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use support::cluster::{Cluster, ClusterOptions, Replication};
use support::lab::wait_until;
use support::pgbouncer::{ADMIN, PgBouncer};
use support::postgres::{WRITER_DATABASE, WRITER_ROLE};
use support::recording::{Attempt, Event, Outcome};
use support::session::{Address, Login, Session};
use support::trial::{LONGEST, Trial, turn};
use support::writer::{Writer, WriterOptions, compare};

/// A pair behind HAProxy and PgBouncer, one engine, a writer through HAProxy and four through PgBouncer.
struct Planned {
    writers: Vec<Writer>,
    pool: PgBouncer,
    trial: Trial,
}

/// How PgBouncer and the configuration are.
struct Setup<'a> {
    pool_mode: &'a str,
    settings: &'a str,
    writers: u64,
}

const POOLED: Setup<'static> = Setup { pool_mode: "transaction", settings: "", writers: 4 };

impl Planned {
    fn start(setup: &Setup<'_>) -> Planned {
        let options = ClusterOptions { standbys: 1, ..ClusterOptions::new(Replication::Async) };
        let cluster = Cluster::start(&options, |_| {}).unwrap();
        let pool =
            PgBouncer::start(&cluster.lab, "pool", &[WRITER_DATABASE], cluster.db(1).port(), &[(WRITER_ROLE, WRITER_ROLE)])
                .unwrap();
        pool.set_pool_mode(setup.pool_mode).unwrap();
        let mut text = std::fs::read_to_string(&cluster.config).unwrap();
        let _ = write!(
            text,
            "\n    [[services.route.pgbouncer]]\n    name = \"pool\"\n    port = {}\n    user = \"{ADMIN}\"\n    password = \"{}\"\n    \
             databases = [\"{WRITER_DATABASE}\"]\n    file = \"{}\"\n\n{}",
            pool.port(),
            pool.password(),
            pool.file().display(),
            setup.settings
        );
        std::fs::write(&cluster.config, text).unwrap();
        let trial = Trial::with(cluster).unwrap();
        let writer = |number: u64| {
            let options = WriterOptions {
                after: number * 1_000_000,
                timeout: Duration::from_secs(20),
                ..WriterOptions::to(Address::loopback(pool.port()))
            };
            Writer::start(options, std::time::Instant::now()).unwrap()
        };
        let planned = Planned { writers: (1..=setup.writers).map(writer).collect(), pool, trial };
        planned.await_rows(50);
        planned
    }

    /// Each writer through the pooler was acknowledged so many more rows.
    fn await_rows(&self, count: usize) {
        for writer in &self.writers {
            let before = writer.acknowledged().1;
            wait_until("the clients of the pooler go on", LONGEST, || {
                Ok((writer.acknowledged().1 >= before + count).then_some(()))
            })
            .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", self.pool.shown(), self.trial.story()));
        }
    }

    /// Rows that were acknowledged and are not on `db`, and what clients of the pooler saw that was no acknowledgement.
    fn end(self, db: usize) -> (usize, Vec<Attempt>) {
        let attempts: Vec<Attempt> = self.writers.into_iter().flat_map(Writer::stop).collect();
        let (account, cluster) = self.trial.account().unwrap();
        let serves = cluster.db(db);
        assert_eq!(account.writable, [serves.name()], "{}", account.story);
        let all: Vec<Attempt> = attempts.iter().chain(&account.attempts).copied().collect();
        let lost = compare(serves, &all).unwrap();
        assert!(lost.doubled.is_empty(), "{lost:?}");
        let errors = attempts.into_iter().filter(|attempt| attempt.outcome != Outcome::Acknowledged).collect();
        (lost.missing.len(), errors)
    }

    fn paused(&self) -> bool {
        self.pool.shown().is_ok_and(|shown| shown.iter().any(|database| database.ends_with(" 1")))
    }
}

fn begins(step: &'static str) -> impl Fn(&Event) -> bool {
    move |event| event.kind == "step_started" && event.step() == Some(step)
}

#[test]
fn clients_of_pgbouncer_see_no_error_and_no_row_is_lost() {
    let _turn = turn();
    let planned = Planned::start(&POOLED);
    let (code, told) = planned.trial.command(&["switchover", "orders", "--dry-run"]).unwrap();
    assert!(code == 0 && told.contains("ok       gate: clients wait in PgBouncer"), "{code}: {told}");
    // The survey has read what planned work asks about, and nothing of it matters here.
    assert!(!told.contains("survey") && !told.contains("refused"), "{told}");
    let (code, told) = planned.trial.command(&["switchover", "orders", "--to", "db2", "--wait"]).unwrap();
    assert!(code == 0 && told.contains("nothing is missing"), "{code}: {told}\n{}", planned.trial.story());
    planned.await_rows(20);
    planned.trial.await_rows(10).unwrap();
    // Planned work is no failure: nobody is forced away from the new primary either.
    let (code, told) = planned.trial.command(&["force", "orders", "--yes"]).unwrap();
    assert_eq!(code, 4, "{told}");
    let (lost, errors) = planned.end(2);
    assert_eq!((lost, errors), (0, Vec::new()), "{told}");
}

#[test]
fn what_a_promotion_would_leave_behind_refuses_it_by_name() {
    let _turn = turn();
    let logical = ["wal_level = logical", "max_prepared_transactions = 5"].map(str::to_owned).to_vec();
    let options = ClusterOptions { standbys: 1, settings: logical, ..ClusterOptions::new(Replication::Async) };
    let trial = Trial::start(&options).unwrap();
    let look = || trial.command(&["switchover", "orders", "--dry-run"]).unwrap();
    let db1 = trial.cluster.db(1);
    db1.query("SELECT pg_create_logical_replication_slot('subscriber', 'pgoutput')").unwrap();
    db1.query("BEGIN; CREATE TABLE prepared_once (n int); PREPARE TRANSACTION 'once'").unwrap();
    let (code, told) = look();
    assert!(code == 1 && told.contains("refused  slots_lost: ") && told.contains("subscriber"), "{code}: {told}");
    assert!(told.contains("ok       prepared_transactions: 1 prepared"), "{told}");
    db1.query("SELECT pg_drop_replication_slot('subscriber')").unwrap();
    db1.query("ROLLBACK PREPARED 'once'").unwrap();
    let (code, told) = look();
    assert_eq!(code, 0, "{told}");
}

/// A client of the pooler that is in the middle of a transaction.
fn in_a_transaction(planned: &Planned) -> Session {
    let login = Login::new(WRITER_ROLE, WRITER_DATABASE);
    let mut session = Session::connect(&Address::loopback(planned.pool.port()), &login, LONGEST).unwrap();
    session.query("BEGIN; SELECT txid_current()", LONGEST).unwrap();
    session
}

#[test]
fn a_transaction_that_runs_on_takes_the_switchover_back_and_nobody_sees_an_error() {
    let _turn = turn();
    let planned = Planned::start(&POOLED);
    let mut session = in_a_transaction(&planned);
    let (code, told) = planned.trial.command(&["switchover", "orders", "--wait"]).unwrap();
    assert!(code == 1 && told.contains("still run after"), "{code}: {told}\n{}", planned.trial.story());
    planned.await_rows(20);
    session.query("COMMIT", LONGEST).unwrap();
    let (lost, errors) = planned.end(1);
    assert_eq!((lost, errors), (0, Vec::new()), "{told}");
}

#[test]
fn a_transaction_that_runs_on_is_cut_where_the_configuration_says_so() {
    let _turn = turn();
    let cut = "  [services.switchover]\n  pause_timeout = \"200ms\"\n  on_pause_timeout = \"cut\"\n";
    let planned = Planned::start(&Setup { settings: cut, ..POOLED });
    let mut session = in_a_transaction(&planned);
    let (code, told) = planned.trial.command(&["switchover", "orders", "--wait"]).unwrap();
    assert_eq!(code, 0, "{told}\n{}", planned.trial.story());
    session.query("COMMIT", LONGEST).unwrap_err();
    planned.await_rows(20);
    let (lost, errors) = planned.end(2);
    assert_eq!((lost, errors), (0, Vec::new()), "{told}");
}

#[test]
fn session_pools_are_refused_by_name() {
    let _turn = turn();
    // Whoever has a session keeps the pool.
    let planned = Planned::start(&Setup { pool_mode: "session", writers: 1, ..POOLED });
    let looked = wait_until("the survey has seen it", LONGEST, || {
        let (code, told) = planned.trial.command(&["switchover", "orders", "--dry-run"])?;
        Ok(told.contains("pooler_session_mode").then_some((code, told)))
    });
    let (code, told) = looked.unwrap();
    assert_eq!(code, 1, "{told}");
    let (code, told) = planned.trial.command(&["switchover", "orders"]).unwrap();
    assert!(code == 4 && told.contains("pool_mode = transaction"), "{code}: {told}");
    let (lost, errors) = planned.end(1);
    assert_eq!((lost, errors), (0, Vec::new()), "{told}");
}

/// SIGKILL of the engine while clients wait and nothing was done to the primary: a transaction keeps the gate from being closed.
fn killed_while_clients_wait() -> (Planned, Session) {
    let patient = "  [services.switchover]\n  pause_timeout = \"30s\"\n";
    let mut planned = Planned::start(&Setup { settings: patient, ..POOLED });
    let session = in_a_transaction(&planned);
    let from = planned.trial.now();
    let (code, told) = planned.trial.command(&["switchover", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    planned.trial.await_event("the gate closes", from, begins("close_gate")).unwrap();
    wait_until("clients wait", LONGEST, || Ok(planned.paused().then_some(()))).unwrap();
    planned.trial.end_engine(false);
    (planned, session)
}

#[test]
fn an_engine_that_is_killed_while_clients_wait_keeps_nobody_waiting_also_without_another_one() {
    let _turn = turn();
    let (planned, mut session) = killed_while_clients_wait();
    planned.await_rows(20);
    session.query("COMMIT", LONGEST).unwrap();
    let (lost, errors) = planned.end(1);
    assert_eq!((lost, errors), (0, Vec::new()));
}

#[test]
fn the_next_engine_finds_the_gate_in_its_journal_and_undoes_what_was_begun() {
    let _turn = turn();
    let (mut planned, mut session) = killed_while_clients_wait();
    let from = planned.trial.now();
    planned.trial.start_engine().unwrap();
    planned.trial.await_event("it is undone", from, |event| event.kind == "rolled_back").unwrap();
    planned.await_rows(20);
    session.query("COMMIT", LONGEST).unwrap();
    let (lost, errors) = planned.end(1);
    assert_eq!((lost, errors), (0, Vec::new()));
}

#[test]
fn an_engine_that_is_killed_as_it_promotes_is_followed_by_one_that_lets_the_clients_go_on() {
    let _turn = turn();
    let mut planned = Planned::start(&POOLED);
    let from = planned.trial.now();
    let (code, told) = planned.trial.command(&["switchover", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    planned.trial.await_event("the promotion begins", from, begins("promote")).unwrap();
    planned.trial.end_engine(false);
    planned.trial.start_engine().unwrap();
    planned.trial.await_event("it is over", from, |event| event.kind == "failover_completed").unwrap();
    planned.await_rows(20);
    let (lost, _) = planned.end(2);
    assert_eq!(lost, 0);
}

#[test]
fn a_planned_switchover_begins_at_its_moment_is_shown_before_and_can_be_taken_back() {
    let _turn = turn();
    let planned = Planned::start(&POOLED);
    let at = |seconds: i64| {
        let at = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        at.format(&time::format_description::well_known::Rfc3339).unwrap()
    };
    let (code, told) = planned.trial.command(&["switchover", "orders", "--at", &at(3_600)]).unwrap();
    assert_eq!(code, 0, "{told}");
    let (_, shown) = planned.trial.command(&["status", "orders"]).unwrap();
    assert!(shown.contains("A switchover to the best standby begins in"), "{shown}");
    let (code, told) = planned.trial.command(&["switchover", "orders", "--cancel"]).unwrap();
    assert_eq!(code, 0, "{told}");
    let from = planned.trial.now();
    let (code, told) = planned.trial.command(&["switchover", "orders", "--at", &at(2)]).unwrap();
    assert_eq!(code, 0, "{told}");
    planned.trial.await_event("it is completed", from, |event| event.kind == "failover_completed").unwrap();
    planned.await_rows(20);
    let (lost, errors) = planned.end(2);
    assert_eq!((lost, errors), (0, Vec::new()));
}
