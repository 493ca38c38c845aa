//! Whose acknowledgements commits wait for, from the primary's samples to what would be said of each standby if it died now.

use crate::world::{Mode, Received, Row, World, model, ms};
use failover_core::candidate::Candidate;
use failover_core::observation::CloseCause;
use failover_core::refusal::CandidateRefusal;
use failover_core::sample::{LocalAnswer, Lsn, ProcessState, Readiness, ReadinessFinding, SyncCommit};

/// A primary whose commits wait for these; db2 is always a little behind, so that an estimate is no proof.
fn watched(servers: usize, names: &str) -> World {
    let mut world = World::new(model(servers));
    names.clone_into(&mut world.sync_names);
    world.run(ms(2_500));
    world.survey();
    world.run(ms(700));
    world
}

/// What is said of db2, db3, …: whether it holds every acknowledged commit, or the refusal.
fn told(world: &World) -> Vec<Result<bool, &'static str>> {
    let standbys = world.core.snapshot().services.remove(0).forecast.standbys;
    let word = |verdict: Result<Candidate, CandidateRefusal>| {
        verdict.map(|candidate| candidate.holds_acknowledged).map_err(|refusal| refusal.name())
    };
    standbys.into_iter().map(|(_, verdict)| word(verdict)).collect()
}

fn set(world: &mut World, names: &str) {
    names.clone_into(&mut world.sync_names);
}

/// One more sample of the primary.
fn next_sample(world: &mut World) {
    let next = world.nodes[0].next_ping;
    world.run(next.since(world.now));
}

/// Two samples of the primary come within this.
const TWO: u64 = 450;

#[test]
fn without_names_nothing_is_promised_and_with_them_it_is() {
    assert_eq!(told(&watched(2, "")), [Ok(false)]);
    assert_eq!(told(&watched(2, "db2")), [Ok(true)]);
    assert_eq!(told(&watched(3, "ANY 1 (db2, db3)")), [Ok(true); 2]);
    let is_named = |names| watched(2, names).core.snapshot().services[0].synchronous;
    assert_eq!(["", "  ", "db2"].map(is_named), [false, false, true]);
}

/// Rule 118.
#[test]
fn who_commits_locally_waits_for_nobody() {
    for (mode, holds) in [(SyncCommit::On, true), (SyncCommit::Local, false)] {
        let mut world = watched(2, "db2");
        world.sync_commit = mode;
        world.run(ms(1_000));
        assert_eq!(told(&world), [Ok(holds)], "{mode:?}");
    }
}

/// Rule 118: by the sample, long before a survey.
#[test]
fn a_role_that_waits_for_nobody_takes_the_promise_away_at_once() {
    for (weakest, holds) in [(None, true), (Some(SyncCommit::On), true), (Some(SyncCommit::Local), false)] {
        let mut world = watched(2, "db2");
        world.sync_commit_overridden = weakest;
        world.run(ms(1_000));
        assert_eq!(told(&world), [Ok(holds)], "{weakest:?}");
    }
}

/// Rule 118: what the survey finds.
#[test]
fn a_role_that_waits_for_nobody_takes_the_promise_away() {
    let mut world = watched(2, "db2");
    let finding = ReadinessFinding {
        code: failover_core::finding::FindingCode::SyncCommitOverridden,
        blocking: false,
        message: "a role commits locally".into(),
        remedy: "let it wait".into(),
    };
    let readiness =
        Readiness { asked: world.now, ssh: None, findings: vec![finding], earlier: Vec::new(), switchover: None, sources: None };
    world.feed(failover_core::input::Input::Surveyed {
        service: failover_core::id::ServiceId(0),
        server: failover_core::id::ServerId(0),
        readiness,
    });
    assert_eq!(told(&world), [Ok(false)]);
}

/// Rule 63.
#[test]
fn what_was_only_written_is_there_while_the_postmaster_lives() {
    for (mode, restarted, expected) in [
        (SyncCommit::RemoteWrite, false, Ok(true)),
        (SyncCommit::RemoteWrite, true, Err("quorum_unanswered")),
        (SyncCommit::On, true, Ok(true)),
    ] {
        let mut world = watched(2, "db2");
        // Also where only a role has it so.
        (world.sync_commit, world.sync_commit_overridden) = (mode.min(SyncCommit::On), Some(mode));
        world.run(ms(1_000));
        if restarted {
            // Its receiver is not back yet, and it has come to the end of what it has.
            world.nodes[1].started = Some(world.now);
            world.nodes[1].streaming = false;
            world.nodes[1].receive = Received::Nothing;
            world.nodes[1].at_end = true;
            world.run(ms(300));
        }
        assert_eq!(told(&world), [expected], "{mode:?} {restarted}");
    }
}

/// Rule 114: the processes of a server take a new setting over one by one.
#[test]
fn a_new_setting_counts_from_its_second_sample() {
    let mut world = watched(2, "");
    set(&mut world, "db2");
    next_sample(&mut world);
    assert_eq!(told(&world), [Ok(false)], "seen once");
    next_sample(&mut world);
    next_sample(&mut world);
    assert_eq!(told(&world), [Ok(true)], "seen twice, and the standby was asked after that");
}

/// Rule 115: a promise begins where its names were seen; what was written before was promised by nobody.
#[test]
fn a_promise_does_not_cover_what_was_written_before_it() {
    let mut world = watched(2, "");
    // It stands still from here on, and was streaming when the names came.
    world.write_rate = 0;
    let before = world.nodes[1].lsn;
    world.nodes[1].receive = Received::UpTo(before);
    world.nodes[1].replay = Some(before);
    world.nodes[1].row = Row::Replied(before, ms(10));
    world.write_rate = 20_000;
    world.run(ms(100));
    set(&mut world, "db2");
    world.run(ms(700));
    assert_eq!(told(&world), [Ok(false)], "as asynchronous, and within the limit");
}

/// Rule 115: who acknowledges now has to have what others acknowledged before, and that the names were cleared is believed.
#[test]
fn what_others_acknowledged_before_is_asked_of_those_who_do_now() {
    let mut world = watched(3, "db2");
    // db3 has stopped at some moment, and is named instead of db2.
    let stopped = world.nodes[2].lsn;
    world.nodes[2].receive = Received::UpTo(stopped);
    world.nodes[2].replay = Some(stopped);
    world.run(ms(400));
    set(&mut world, "db3");
    world.run(ms(700));
    assert_eq!(told(&world)[1], Err("behind"));
    set(&mut world, "");
    world.run(ms(700));
    assert_eq!(told(&world)[1], Ok(false), "nobody is named any more");
}

/// Rule 115: what others may have acknowledged counts also where nobody saw how far they were.
#[test]
fn what_others_may_have_acknowledged_before_is_asked_too() {
    let mut world = watched(3, "db2");
    world.nodes[1].row = Row::CatchesUp;
    world.run(ms(7_000));
    let stopped = world.nodes[2].lsn;
    world.nodes[2].receive = Received::UpTo(stopped);
    world.nodes[2].replay = Some(stopped);
    world.nodes[2].row = Row::Replied(stopped, ms(10));
    world.run(ms(400));
    set(&mut world, "db3");
    world.run(ms(700));
    assert_eq!(told(&world)[1], Err("behind"));
}

/// Rule 110: who is named counts, connected or not, and as often as the name is used.
#[test]
fn a_name_counts_as_often_as_it_is_used_and_once_where_it_is_not() {
    // Named, and not there: one of two has to be asked that cannot be.
    assert_eq!(told(&watched(2, "ANY 1 (db2, elsewhere)")), [Err("quorum_unanswered")]);
    // The list that every server has names the primary too.
    assert_eq!(told(&watched(2, "ANY 1 (db1, db2)")), [Ok(true)]);
    // Two servers of one name, and one of them is not there: the other alone says too little.
    let mut world = World::new({
        let mut model = model(3);
        for server in &mut model.services[0].servers[1..] {
            server.replication_name = Some("twin".into());
        }
        model
    });
    "ANY 1 (twin)".clone_into(&mut world.sync_names);
    world.run(ms(2_500));
    world.survey();
    world.run(ms(700));
    assert_eq!(told(&world), [Ok(true); 2]);
    world.nodes[2].mode = Mode::Refused;
    world.nodes[2].streaming = false;
    world.close(2, CloseCause::DeathHint, "end of stream");
    world.run(ms(TWO));
    assert_eq!(told(&world)[0], Err("quorum_unanswered"));
    // With * everybody counts who is configured.
    let mut world = watched(3, "ANY 1 (*)");
    assert_eq!(told(&world), [Ok(true); 2]);
    world.nodes[2].mode = Mode::Refused;
    world.nodes[2].streaming = false;
    world.close(2, CloseCause::DeathHint, "end of stream");
    world.run(ms(TWO));
    assert_eq!(told(&world)[0], Err("quorum_unanswered"));
}

/// Rules 66 and 117: one that catches up acknowledges nothing, so a stranger that does is no reason to doubt the others.
#[test]
fn with_a_star_a_stranger_takes_the_promise_away() {
    let mut world = watched(2, "ANY 1 (*)");
    world.strangers = vec!["report".into()];
    next_sample(&mut world);
    assert_eq!(told(&world), [Ok(false)], "seen once it may be the one that acknowledged");
    world.run(ms(TWO));
    assert_eq!(told(&world), [Ok(false)], "it may be the one that acknowledged");
    world.strangers.clear();
    world.run(ms(TWO));
    assert_eq!(told(&world), [Ok(false)], "kept until the settings are loaded anew");
    // Seen in two samples only it may have been a server whose new name was not known yet.
    let mut world = watched(2, "ANY 1 (*)");
    world.strangers = vec!["report".into()];
    world.run(ms(210));
    world.strangers.clear();
    world.run(ms(700));
    assert_eq!(told(&world), [Ok(true)]);
}

/// Rule 117: by the setting's own list a stranger of that name is counted.
#[test]
fn a_stranger_of_a_name_that_is_named_is_one_that_never_answers() {
    let mut world = watched(2, "ANY 1 (db2)");
    world.strangers = vec!["db2".into()];
    world.run(ms(700));
    assert_eq!(told(&world), [Err("quorum_unanswered")]);
    // One that has left a sender behind is none: the sender does not know it yet.
    let mut world = watched(3, "ANY 1 (db2)");
    world.nodes[2].called = Some("db2".into());
    world.run(ms(700));
    assert_eq!(told(&world)[0], Ok(true), "both answer");
}

/// Rule 110: a sender that owes a reply for more than a second was left by its standby, and acknowledges nothing.
#[test]
fn a_sender_that_was_left_is_nobody() {
    let mut world = watched(2, "ANY 1 (*)");
    world.strangers.clear();
    let left = world.nodes[0].lsn - 1;
    // A second row of db2: its receiver broke off and came back, and the old sender has not noticed.
    let mut twin = world.nodes[1].clone();
    twin.row = Row::Replied(left, ms(1_500));
    twin.called = Some("db2".into());
    twin.session = false;
    world.nodes.push(twin);
    world.run(ms(700));
    assert_eq!(told(&world), [Ok(true)], "it was left");
    world.nodes[2].row = Row::Replied(left, ms(900));
    world.run(ms(700));
    assert_eq!(told(&world), [Ok(false)], "a row too many: somebody who is not configured may acknowledge");
    world.nodes[2].row = Row::CatchesUp;
    world.run(ms(700));
    assert_eq!(told(&world), [Ok(true)], "rule 66: it catches up");
}

/// Rules 66 and 112: so much is acknowledged as W of the streaming ones have flushed, whoever they are.
#[test]
fn what_enough_have_flushed_is_acknowledged_whoever_they_are() {
    let behind = |required: u32, row: Row| {
        let mut world = watched(3, &format!("ANY {required} (db2, db3)"));
        let stopped = world.nodes[1].lsn;
        world.nodes[1].receive = Received::UpTo(stopped);
        world.nodes[1].replay = Some(stopped);
        world.nodes[1].row = Row::Replied(stopped, ms(10));
        world.nodes[2].row = row;
        world.run(ms(700));
        told(&world)[0]
    };
    assert_eq!(behind(1, Row::Streams), Err("behind"), "db3 has acknowledged it");
    assert_eq!(behind(2, Row::Streams), Ok(false), "one alone acknowledges nothing");
    assert_eq!(behind(1, Row::CatchesUp), Ok(false), "one that catches up acknowledges nothing");
}

/// Rule 92: hidden is not absent.
#[test]
fn a_hidden_list_of_standbys_means_that_nobody_knows() {
    let mut world = watched(2, "db2");
    world.list_hidden = true;
    world.run(ms(700));
    assert_eq!(told(&world), [Err("quorum_unanswered")]);
}

/// Rule 117.
#[test]
fn a_setting_that_cannot_be_read_means_that_nobodys_answer_is_enough() {
    let mut world = watched(2, "db2");
    set(&mut world, "ANY nonsense (db2)");
    world.run(ms(700));
    assert_eq!(told(&world), [Err("quorum_unanswered")]);
}

/// Rule 113: a setting is believed for a second.
#[test]
fn a_setting_that_was_not_seen_for_a_second_before_the_death_is_no_promise() {
    let dies_after = |unseen: u64| {
        let mut world = watched(2, "db2");
        // It goes on, and tells us nothing for so long; then it is gone.
        world.nodes[0].next_ping = world.now + ms(60_000);
        world.run(ms(unseen));
        world.nodes[0].mode = Mode::Refused;
        world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
        world.nodes[1].streaming = false;
        world.close(0, CloseCause::DeathHint, "FATAL 57P01 secure_read");
        world.run(ms(20));
        told(&world)
    };
    assert_eq!(dies_after(300), [Ok(true)]);
    assert_eq!(dies_after(550), [Ok(true)]);
    assert_eq!(dies_after(1_600), [Ok(false)]);
}

/// Rule 112: for the status a row is a server's by its slot, or by a name that is used once.
#[test]
fn a_row_is_shown_with_the_server_that_has_its_slot() {
    let synchronous = |world: &World| -> Vec<bool> {
        world.core.snapshot().services[0].servers.iter().map(|server| server.synchronous).collect()
    };
    assert_eq!(synchronous(&watched(2, "db2")), [false, true]);
    assert_eq!(synchronous(&watched(3, "ANY 1 (db2, db3)")), [false, true, true]);
    let mut world = watched(3, "ANY 1 (twin)");
    for at in [1, 2] {
        world.nodes[at].called = Some("twin".into());
    }
    world.nodes[2].row = Row::CatchesUp;
    world.run(ms(700));
    assert_eq!(synchronous(&world), [false, false, false], "no name proves whose row it is");
    world.nodes[1].slot = Some("slot2".into());
    world.run(ms(700));
    assert_eq!(synchronous(&world), [false, true, false]);
    assert_eq!(Lsn(world.nodes[1].lsn), Lsn(world.nodes[0].lsn));
}
