//! Real clusters of three servers: which of two standbys may be promoted, what may be missing then, and what the record says of it.

mod support;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::cluster::{Cluster, ClusterOptions, Replication};
use support::lab::{mounting_impossible, wait_until};
use support::postgres::{PgServer, StopMode};
use support::recording::Event;
use support::replication::{Stopped, wait_unread};
use support::saturation::Saturation;
use support::trial::{Account, End, LONGEST, MIB, SELDOM_ASKED, Trial, acknowledged_by, assert_honest, lasts, turn};

/// A receiver whose sender stands still does not give up while a test lasts; a sender whose receiver does, soon enough to let a
/// server stop.
fn options(replication: Replication) -> ClusterOptions {
    let settings = ["wal_receiver_timeout = 30s", "wal_sender_timeout = 3s"].map(str::to_owned).to_vec();
    ClusterOptions { settings, ..ClusterOptions::new(replication) }
}

fn start(replication: Replication) -> Trial {
    Trial::start(&options(replication)).unwrap()
}

/// Nothing that was acknowledged is missing: the right one was promoted, or nobody and a person was called.
fn assert_whole(end: &End, account: &Account, right: &str) {
    let told = format!("{}\n{}", end.event().message, account.story);
    match account.lost() {
        Some(lost) => assert_eq!((lost, account.writable[0].as_str()), (0, right), "acknowledged rows lost, who serves; {told}"),
        None => assert!(matches!(end, End::Person(_)), "{told}"),
    }
}

// Who acknowledged, and who may be promoted (the quorum).

#[test]
fn two_members_that_change_places_between_two_samples_cost_no_acknowledged_row() {
    let _turn = turn();
    let seldom = ClusterOptions { config_tail: SELDOM_ASKED.to_owned(), ..options(Replication::Any) };
    let cluster = Cluster::start(&seldom, |_| {}).unwrap();
    cluster.log_questions().unwrap();
    let trial = Trial::with(cluster).unwrap();
    trial.change_places(|| (), |sender| assert_eq!(sender.sync_state, "quorum")).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db3");
}

/// `ANY 1 (db2,db3)`: db2 hears nothing, db3 acknowledges, and is restarted. Its startup process stands still in the middle of what
/// it has to replay, so that it answers, and with less than it has.
fn answers_half_replayed(trial: &Trial) -> (Stopped, Stopped) {
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    let much = "SELECT pg_logical_emit_message(false, 'lab', repeat('x', 1 << 20)) FROM generate_series(1, 60)";
    db1.query(&format!("SET synchronous_commit = local; {much}")).unwrap();
    db2.wait_following(db1).unwrap();
    db3.wait_following(db1).unwrap();
    let deaf = db1.stop_sending_to(db2).unwrap();
    for _ in 0..20 {
        trial.await_rows(50).unwrap();
        let end = db3.value("SELECT pg_last_wal_replay_lsn()").unwrap();
        db3.restart_at_once().unwrap();
        let mut session = wait_until("db3 answers", LONGEST, || Ok(db3.session().ok())).unwrap();
        let stopped = db3.stop_startup();
        if session.value(&format!("SELECT pg_last_wal_replay_lsn() < '{end}'"), LONGEST).unwrap() == "t" {
            trial
                .await_event("the engine is answered by db3", trial.now(), |event| {
                    event.kind == "observed" && event.server.as_deref() == Some("db3") && event.text("verdict") == Some("up")
                })
                .unwrap();
            return (deaf, stopped);
        }
        // It was quicker: once more.
        drop(stopped);
        db3.wait_following(db1).unwrap();
    }
    panic!("db3 had replayed everything each time\n{}", trial.story());
}

#[test]
fn a_member_that_acknowledged_and_was_restarted_just_before_the_death_still_counts() {
    let _turn = turn();
    let trial = start(Replication::Any);
    let half = answers_half_replayed(&trial);
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    drop(half);
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db3");
}

#[test]
fn a_member_that_acknowledged_and_recovers_while_the_primary_dies_still_counts() {
    let _turn = turn();
    let trial = start(Replication::Any);
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    let _deaf = db1.stop_sending_to(db2).unwrap();
    trial.await_rows(50).unwrap();
    db3.restart_at_once().unwrap();
    let from = trial.kill(db1);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, "db3");
}

// Equal names.

/// What is wrong with the standby that acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Further {
    Well,
    /// Its receiver ended just before.
    Deaf,
    /// None of its processes says anything.
    Silent,
}

/// Both standbys are `walreceiver`; one acknowledges everything, the other hears nothing. Then the primary dies.
fn equal_names(replication: Replication, state: Further) {
    let _turn = turn();
    let trial = Trial::start(&ClusterOptions { equal_names: true, ..options(replication) }).unwrap();
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    let acknowledges = |server: &PgServer| ["sync", "quorum"].contains(&db1.sender_to(server).unwrap().sync_state.as_str());
    // The first one would be chosen where everything else is equal.
    let (further, behind) = if acknowledges(db3) { (db3, db2) } else { (db2, db3) };
    let _deaf = db1.stop_sending_to(behind).unwrap();
    trial.await_rows(200).unwrap();
    let frozen = match state {
        Further::Well => None,
        Further::Deaf => {
            further.end_reception().unwrap();
            None
        }
        Further::Silent => Some(further.freeze().unwrap()),
    };
    let from = trial.kill(db1);
    if let Some(frozen) = frozen {
        // Nobody else may be promoted, so it is waited for.
        let unread = |event: &Event| event.kind == "step_finished" && event.message.contains("cannot be asked");
        trial.await_event("its position cannot be read", from, unread).unwrap();
        further.thaw(&frozen);
    }
    let end = trial.end(from).unwrap();
    let right = further.name().to_owned();
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, &right);
    assert_eq!(end.promoted(), Some(right.as_str()), "all have answered; {}", account.story);
}

#[test]
fn of_equal_names_the_further_one_is_promoted() {
    equal_names(Replication::First, Further::Well);
}

#[test]
fn of_equal_names_the_further_one_is_promoted_also_when_its_reception_has_ended() {
    equal_names(Replication::Any, Further::Deaf);
}

#[test]
fn of_equal_names_the_one_behind_is_not_promoted_while_the_further_one_is_silent() {
    equal_names(Replication::First, Further::Silent);
}

// What was seen, and how long ago.

#[test]
fn a_setting_that_changed_unseen_is_no_promise() {
    let _turn = turn();
    // Sessions that are ended look like a shutdown, whose grace is of no interest here.
    let grace = "\n  [services.trigger]\n  restart_grace = \"1s\"\n".to_owned();
    let trial = Trial::start(&ClusterOptions { config_tail: grace, ..options(Replication::Any) }).unwrap();
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    let senders = [db2, db3].map(|standby| db1.sender_to(standby).unwrap().pid);
    let from = trial.now();
    let mut saturation = Saturation::start(db1).unwrap();
    trial
        .await_event("the engine is shut out", from, |event| {
            event.kind == "observed" && event.server.as_deref() == Some("db1") && event.text("verdict") == Some("impaired")
        })
        .unwrap();
    let _deaf = Stopped::stop(senders);
    saturation.query("ALTER SYSTEM SET synchronous_standby_names = ''").unwrap();
    saturation.query("SELECT pg_reload_conf()").unwrap();
    trial.await_rows(300).unwrap();
    let from = trial.kill(db1);
    drop(saturation);
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_honest(&end, &account, MIB);
}

#[test]
fn what_was_written_while_no_engine_looked_is_not_claimed_to_be_there() {
    let _turn = turn();
    let mut trial = start(Replication::Async);
    trial.end_engine(false);
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    let _deaf = [db2, db3].map(|standby| db1.stop_sending_to(standby).unwrap());
    trial.await_rows(300).unwrap();
    let from = trial.kill(db1);
    trial.start_engine().unwrap();
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_honest(&end, &account, MIB);
}

// A healthy synchronous pair.

/// Puts the rule for commits back that the failover has lifted, and waits until it holds.
fn restore_rule(primary: &PgServer) {
    primary.query("ALTER SYSTEM RESET synchronous_standby_names").unwrap();
    primary.query("SELECT pg_reload_conf()").unwrap();
    let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')";
    wait_until("commits wait for a standby again", LONGEST, || Ok((primary.value(sql)? != "0").then_some(()))).unwrap();
}

/// SIGKILL of the postmaster. `late`: the backend of the session that the engine keeps open answers its last question only now,
/// when no sender is left to be counted.
fn kill_postmaster(trial: &Trial, primary: &PgServer, late: bool) -> u64 {
    let stopped = late.then(|| {
        let backend = primary.kept_backend().unwrap();
        let stopped = Stopped::stop([backend]);
        // The question has to be there before the death is.
        wait_unread(backend).unwrap();
        stopped
    });
    let from = trial.now();
    primary.kill_postmaster().unwrap();
    wait_until("the senders are gone", LONGEST, || Ok((primary.senders_left() == 0).then_some(()))).unwrap();
    drop(stopped);
    from
}

/// A pair where commits wait for the standby.
fn synchronous_pair() -> Trial {
    Trial::start(&ClusterOptions { standbys: 1, ..options(Replication::First) }).unwrap()
}

#[test]
fn a_healthy_synchronous_pair_fails_over_when_the_last_answer_comes_late() {
    let _turn = turn();
    let trial = synchronous_pair();
    let from = kill_postmaster(&trial, trial.cluster.db(1), true);
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some("db2"), "{}\n{}", end.event().message, trial.story());
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "{}", account.story);
}

#[test]
fn a_healthy_synchronous_pair_fails_over_again_and_again() {
    let _turn = turn();
    let trial = synchronous_pair();
    let mut roles = [1, 2];
    for round in 0..3 {
        let [primary, standby] = roles.map(|number| trial.cluster.db(number));
        let from = kill_postmaster(&trial, primary, round == 2);
        let end = trial.end(from).unwrap();
        assert_eq!(end.promoted(), Some(standby.name()), "round {round}: {}\n{}", end.event().message, trial.story());
        primary.rejoin(standby).unwrap();
        restore_rule(standby);
        trial.ready_again().unwrap();
        roles.reverse();
    }
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "{}", account.story);
}

// The second failover, and timelines.

/// The primary dies, and the engine points the standby that was not promoted to the one that was.
fn first_failover(trial: &Trial) -> (&PgServer, &PgServer) {
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    let promoted = end.promoted().unwrap_or_else(|| panic!("nobody was promoted: {}", trial.story()));
    let (new, other) = match promoted {
        "db2" => (trial.cluster.db(2), trial.cluster.db(3)),
        _ => (trial.cluster.db(3), trial.cluster.db(2)),
    };
    let followed = other.wait_following(new);
    followed.map_err(|error| trial.explain(&error)).unwrap();
    trial.ready_again().unwrap();
    (new, other)
}

/// Commits wait for one of the others: it follows the new primary before they would stop waiting for it.
#[test]
fn commits_wait_for_the_other_standby_behind_a_failover_as_before_it() {
    let _turn = turn();
    let trial = start(Replication::Any);
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    let promoted = end.promoted().unwrap_or_else(|| panic!("nobody was promoted: {}", trial.story())).to_owned();
    let new = if promoted == "db2" { trial.cluster.db(2) } else { trial.cluster.db(3) };
    let names = new.value("SELECT current_setting('synchronous_standby_names')").unwrap();
    let waits = new.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'").unwrap();
    assert!(names.contains("ANY 1") && waits == "1", "names {names:?}, {waits} acknowledge\n{}", trial.story());
    assert!(!trial.story().contains("open_sync_gate"), "{}", trial.story());
    let (account, _cluster) = trial.account().unwrap();
    assert_whole(&end, &account, &promoted);
}

#[test]
fn a_second_failover_goes_through_as_promised() {
    let _turn = turn();
    let trial = start(Replication::Async);
    let (new, other) = first_failover(&trial);
    let from = trial.kill(new);
    let end = trial.end(from).unwrap();
    assert_eq!(end.promoted(), Some(other.name()), "{}\n{}", end.event().message, trial.story());
    let (account, _cluster) = trial.account().unwrap();
    assert_honest(&end, &account, MIB);
}

#[test]
fn an_order_after_a_failover_goes_through_or_leaves_the_primary_as_it_was() {
    let _turn = turn();
    let trial = start(Replication::Async);
    let (new, other) = first_failover(&trial);
    let (code, told) = trial.command(&["switchover", "orders", "--wait"]).unwrap();
    let serves = if code == 0 { other } else { new };
    let writable = wait_until("somebody takes writes", LONGEST, || {
        let names: Vec<&str> = trial.cluster.writable().iter().map(|server| server.name()).collect();
        Ok((!names.is_empty()).then_some(names))
    });
    let writable = writable.map_err(|error| trial.explain(&error)).unwrap();
    assert_eq!(writable, [serves.name()], "exit code {code}: {told}\n{}", trial.story());
}

/// A copy of the primary of some time ago, promoted by somebody for a look at it: a higher timeline of the same system.
fn with_clone() -> Trial {
    let cluster = Cluster::start(&options(Replication::Async), |_| {}).unwrap();
    cluster.db(3).promote().unwrap();
    cluster.db(3).stop(StopMode::Fast).unwrap();
    Trial::with(cluster).unwrap()
}

/// It takes writes, and the engine has seen that.
fn start_the_clone(trial: &Trial) {
    trial.cluster.db(3).start().unwrap();
    wait_until("the engine sees the clone", LONGEST, || {
        let status = trial.engine.status()?;
        Ok((status["services"][0]["servers"][2]["role"] == "writable").then_some(()))
    })
    .unwrap();
}

/// The engine does not take the clone for the primary, and no row goes there. Watched until another one has taken over, or for a
/// while.
fn assert_nothing_went_to_the_clone(trial: Trial, from: u64) {
    const WATCHED: Duration = Duration::from_secs(6);
    let taken = |event: &Event| event.kind == "primary_known" && event.server.as_deref() == Some("db3");
    trial.watch(from, WATCHED, |event| event.kind == "failover_completed" || taken(event));
    let adopted = trial.engine.events().into_iter().find(taken);
    assert!(adopted.is_none(), "{adopted:?}\n{}", trial.story());
    let (shown, port) = (trial.cluster.haproxy.stat("db3", "status").unwrap(), trial.cluster.db(3).port());
    let (account, _cluster) = trial.account().unwrap();
    let rows = acknowledged_by(&account.attempts, 0, port);
    assert_eq!((rows, shown.as_str()), (0, "MAINT"), "rows that the clone took, its place in the route; {}", account.story);
}

#[test]
fn a_clone_on_a_higher_timeline_is_not_followed_when_the_primary_dies() {
    let _turn = turn();
    let trial = with_clone();
    start_the_clone(&trial);
    trial.await_rows(40).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    assert_nothing_went_to_the_clone(trial, from);
}

#[test]
fn a_clone_on_a_higher_timeline_is_not_followed_by_an_engine_that_comes_back() {
    let _turn = turn();
    let mut trial = with_clone();
    trial.end_engine(true);
    trial.await_rows(40).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    trial.cluster.db(3).start().unwrap();
    trial.start_engine().unwrap();
    assert_nothing_went_to_the_clone(trial, from);
}

/// Nobody else is left, and a person says that the clone is the right one.
#[test]
fn a_clone_is_the_primary_where_an_operator_adopts_it() {
    let _turn = turn();
    let trial = with_clone();
    start_the_clone(&trial);
    let refused = |server: &str, why: &str| {
        let (code, told) = trial.command(&["adopt", "orders", server]).unwrap();
        assert!(code == 4 && told.contains(why), "adopt {server}: {code} {told}\n{}", trial.story());
    };
    refused("db1", "db1 is the primary already");
    refused("db2", "db2 does not take writes now");
    refused("db3", "db1 takes writes as well");
    trial.cluster.db(2).stop(StopMode::Fast).unwrap();
    let from = trial.kill(trial.cluster.db(1));
    let told = trial.await_event("the clone is told of", from, |event| event.kind == "other_branch").unwrap();
    assert!(told.message.contains("failover adopt orders db3"), "{}", told.message);
    assert_eq!(trial.cluster.haproxy.stat("db3", "status").unwrap(), "MAINT", "{}", trial.story());
    let from = trial.now();
    let (code, told) = trial.command(&["adopt", "orders", "db3"]).unwrap();
    assert_eq!(code, 0, "{told}\n{}", trial.story());
    trial
        .await_event("it is the primary", from, |event| event.kind == "primary_known" && event.server.as_deref() == Some("db3"))
        .unwrap();
    let shown = wait_until("the traffic follows", LONGEST, || {
        let shown = trial.cluster.haproxy.stat("db3", "status")?;
        Ok((shown != "MAINT").then_some(()))
    });
    shown.map_err(|error| trial.explain(&error)).unwrap();
    trial.await_rows(10).unwrap();
    let port = trial.cluster.db(3).port();
    let (account, _cluster) = trial.account().unwrap();
    assert!(acknowledged_by(&account.attempts, from, port) > 0, "no row went to the clone; {}", account.story);
}

// The engine is away when it happens.

/// How the engine is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    Stopped,
    Killed,
    KilledAfterwards,
}

/// The primary dies around the engine's absence: the next one decides, and never waits for ever.
fn engine_away(away: Away) {
    let _turn = turn();
    let mut trial = start(Replication::Async);
    let from = if away == Away::KilledAfterwards {
        let from = trial.kill(trial.cluster.db(1));
        lasts(Instant::now(), Duration::from_millis(17));
        trial.end_engine(false);
        from
    } else {
        trial.end_engine(away == Away::Stopped);
        trial.kill(trial.cluster.db(1))
    };
    trial.start_engine().unwrap();
    let end = trial.end(from).unwrap();
    assert!(!matches!(end, End::RolledBack(_)), "{}", trial.story());
    assert!(!end.event().message.is_empty());
    let (account, _cluster) = trial.account().unwrap();
    assert_honest(&end, &account, MIB);
}

#[test]
fn a_primary_that_dies_while_the_engine_is_stopped_is_decided_on() {
    engine_away(Away::Stopped);
}

#[test]
fn a_primary_that_dies_while_a_killed_engine_is_away_is_decided_on() {
    engine_away(Away::Killed);
}

#[test]
fn a_primary_that_dies_right_before_the_engine_does_is_decided_on() {
    engine_away(Away::KilledAfterwards);
}

#[test]
fn a_primary_that_dies_while_the_engine_sleeps_is_replaced() {
    let _turn = turn();
    let trial = start(Replication::Async);
    let asleep = Instant::now();
    trial.engine.process().signal(Signal::STOP);
    lasts(asleep, Duration::from_secs(1));
    let from = trial.kill(trial.cluster.db(1));
    lasts(asleep, Duration::from_secs(2));
    trial.engine.process().signal(Signal::CONT);
    let end = trial.end(from).unwrap();
    assert!(matches!(end, End::Completed(_)), "{}\n{}", end.event().message, trial.story());
    let (account, _cluster) = trial.account().unwrap();
    assert_honest(&end, &account, MIB);
}

// What somebody else does, and what is not there.

#[test]
fn beside_a_server_promoted_by_hand_nobody_is_promoted() {
    let _turn = turn();
    let held = ClusterOptions { fence_can_be_held: true, ..options(Replication::Async) };
    let trial = Trial::start(&held).unwrap();
    trial.cluster.hold_fence().unwrap();
    let from = trial.kill(trial.cluster.db(1));
    trial.await_event("the fence begins", from, |event| event.kind == "step_started" && event.step() == Some("fence")).unwrap();
    trial.cluster.db(3).promote().unwrap();
    trial.cluster.release_fence().unwrap();
    // To go on with db3 as the primary is an end, too.
    let ends = ["failover_completed", "manual_intervention", "rolled_back"];
    let end = trial.await_event("an end", from, |event| {
        ends.contains(&event.kind.as_str()) || event.kind == "primary_known" && event.server.as_deref() == Some("db3")
    });
    let said = end.unwrap().message;
    // Nothing follows it.
    trial.watch(trial.now(), Duration::from_secs(1), |event| event.kind == "point_of_no_return");
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.writable, ["db3"], "{said}\n{}", account.story);
}

#[test]
fn a_full_state_dir_leaves_no_fenced_primary_without_a_successor() {
    let _turn = turn();
    if let Some(why) = mounting_impossible() {
        println!("skipped: {why}");
        return;
    }
    let small = ClusterOptions { small_state: Some(4), ..options(Replication::Async) };
    let trial = Trial::start(&small).unwrap();
    let db1 = trial.cluster.db(1);
    trial.cluster.fill_state().unwrap();
    let from = trial.now();
    let frozen = db1.freeze().unwrap();
    let end = trial.end(from);
    let left = db1.thaw(&frozen);
    let end = end.unwrap();
    if matches!(end, End::Completed(_)) {
        trial.await_rows(10).unwrap();
    } else {
        assert_eq!(left, frozen.pids.len(), "some of db1 was ended; {}\n{}", end.event().message, trial.story());
        assert!(matches!(end, End::Person(_)), "{}", trial.story());
        trial.await_rows(10).unwrap();
    }
    let (account, _cluster) = trial.account().unwrap();
    assert_honest(&end, &account, MIB);
}

/// An order while both standbys are behind: nothing is lost, or it is refused and everything goes on as before.
fn ordered_behind<T>(trial: Trial, behind: T) -> (i32, String) {
    trial.await_rows(200).unwrap();
    let (code, told) = trial.command(&["switchover", "orders", "--wait"]).unwrap();
    drop(behind);
    if code != 0 {
        trial.await_rows(10).unwrap();
    }
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "exit code {code}: {told}\n{}", account.story);
    (code, told)
}

#[test]
fn an_order_with_slow_receivers_costs_no_acknowledged_row() {
    let _turn = turn();
    let trial = start(Replication::Async);
    // They rest for longer than a stop is waited for.
    let (rest, awake) = (Duration::from_secs(5), Duration::from_millis(20));
    let slow = [2, 3].map(|number| trial.cluster.db(number).slow_receiver(rest, awake).unwrap());
    ordered_behind(trial, slow);
}

#[test]
fn an_order_with_frozen_receivers_costs_no_acknowledged_row() {
    let _turn = turn();
    let trial = start(Replication::Async);
    let frozen = [2, 3].map(|number| trial.cluster.db(number).stop_receiver().unwrap());
    let (code, told) = ordered_behind(trial, frozen);
    // A sender to a receiver that stands still holds the end of the processes of db1, and it is back before they would have ended.
    assert_eq!(code, 1, "{told}");
    for said in ["db2: it has not received the last", "nobody is promoted, and db1 is started again"] {
        assert!(told.contains(said), "{said}: {told}");
    }
}

/// An archiver that has something to do holds the end of a server's processes, not that of its log.
#[test]
fn an_order_does_not_wait_for_a_slow_archiver() {
    let _turn = turn();
    // Longer than anything here is waited for.
    let archiver = ["archive_mode = on", "archive_command = 'sleep 120'"].map(str::to_owned);
    let mut slow = options(Replication::Async);
    slow.settings.extend(archiver);
    let trial = Trial::start(&slow).unwrap();
    trial.cluster.db(1).query("SELECT pg_switch_wal()").unwrap();
    trial.await_rows(50).unwrap();
    let (code, told) = trial.command(&["switchover", "orders", "--wait"]).unwrap();
    assert_eq!(code, 0, "{told}\n{}", trial.story());
    assert!(told.contains("nothing is missing"), "{told}");
    trial.await_rows(10).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "{told}\n{}", account.story);
}

#[test]
fn an_order_with_receivers_that_keep_up_is_carried_out_and_costs_nothing() {
    let _turn = turn();
    let trial = start(Replication::Async);
    trial.await_rows(200).unwrap();
    let (code, told) = trial.command(&["switchover", "orders", "--wait"]).unwrap();
    assert_eq!(code, 0, "{told}\n{}", trial.story());
    assert!(told.contains("nothing is missing"), "{told}");
    trial.await_rows(10).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!(account.lost(), Some(0), "{told}\n{}", account.story);
}

/// The engine ends, one way or the other, while it waits for a receipt that does not come: the primary that it stopped serves again.
fn ends_in_the_middle_of_an_order(clean: bool) {
    let _turn = turn();
    let mut trial = start(Replication::Async);
    let frozen = [2, 3].map(|number| trial.cluster.db(number).stop_receiver().unwrap());
    let from = trial.now();
    let (code, told) = trial.command(&["switchover", "orders"]).unwrap();
    assert_eq!(code, 0, "{told}");
    trial
        .await_event("the receipt is waited for", from, |event| {
            event.kind == "step_started" && event.step() == Some("read_receipt")
        })
        .unwrap();
    trial.end_engine(clean);
    if !clean {
        trial.start_engine().unwrap();
    }
    trial.await_rows(10).unwrap();
    drop(frozen);
    let (account, _cluster) = trial.account().unwrap();
    assert_eq!((account.lost(), account.writable[0].as_str()), (Some(0), "db1"), "{}", account.story);
}

#[test]
fn an_engine_that_is_killed_in_the_middle_of_an_order_takes_it_back_when_it_is_started() {
    ends_in_the_middle_of_an_order(false);
}

#[test]
fn an_engine_that_is_stopped_in_the_middle_of_an_order_takes_it_back() {
    ends_in_the_middle_of_an_order(true);
}
