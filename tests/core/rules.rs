//! Rules of the decision that no scenario shows, because what they are about stands in no event: what an action was asked to do, what the
//! journal and the next engine are given, what a report comes to.

use crate::world::{Mode, Received, World, model, ms};
use failover_core::Core;
use failover_core::event::EventKind;
use failover_core::evidence::FailureClass;
use failover_core::id::{ServerId, ServiceId};
use failover_core::input::{Command, Facts, Input, SelfHealth};
use failover_core::knowledge::Knowledge;
use failover_core::model::Model;
use failover_core::observation::{CloseCause, Verdict};
use failover_core::output::{Action, Failure, Output, Record, Report};
use failover_core::reason::Reason;
use failover_core::refusal::{CandidateRefusal, Refusal};
use failover_core::sample::{
    FenceLevel, FenceReport, LocalAnswer, Lsn, ProcessState, Readiness, ReadinessFinding, Rung, RungName,
};
use failover_core::snapshot::ServiceSnapshot;
use failover_core::switchover::{PreflightLevel, SwitchoverOrder};
use failover_core::time::{Mono, Span};

fn warm_of(servers: usize) -> World {
    let mut world = World::new(model(servers));
    world.run(ms(2_500));
    world.survey();
    world.run(ms(500));
    world
}

fn warm() -> World {
    warm_of(2)
}

fn kill(world: &mut World) {
    world.nodes[0].mode = Mode::Refused;
    world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
    world.close(0, CloseCause::DeathHint, "FATAL 57P01 secure_read");
}

fn hang(world: &mut World) {
    world.nodes[0].mode = Mode::Silent;
    world.nodes[0].host = Some((ProcessState::Stopped, LocalAnswer::Silent));
}

fn service(world: &World) -> ServiceSnapshot {
    world.core.snapshot().services.remove(0)
}

fn story(world: &World) -> String {
    world.trace.join("\n")
}

/// The names of what would refuse a failover now.
fn refusals(world: &World) -> Vec<&'static str> {
    service(world).forecast.outcome.err().unwrap_or_default().iter().map(Refusal::name).collect()
}

/// What is said of the first standby.
fn standby(world: &World) -> Result<Option<u64>, &'static str> {
    let verdict = service(world).forecast.standbys.remove(0).1;
    verdict.map(|candidate| candidate.loss).map_err(|refusal: CandidateRefusal| refusal.name())
}

/// The outcome of the plan's present action, which the world did not carry out.
fn answer(world: &mut World, report: Report) {
    let (action, _, _) = service(world).plan.and_then(|plan| plan.course.action).expect("an action under way");
    world.feed(Input::ActionFinished { action, outcome: Ok(report) });
}

fn rung(name: RungName, ok: bool) -> Rung {
    Rung { name, ok, took: ms(1), note: "read-only file system".into() }
}

fn proven(rungs: Vec<Rung>) -> Report {
    let proof = "no process left".into();
    Report::Fence(FenceReport { level: FenceLevel::ProvenStopped, guard_placed: true, rungs, proof, end: None })
}

/// Until the fence is asked for, and so much longer.
fn at_the_fence(mut world: World, fail: impl Fn(&mut World), waits: Span) -> World {
    world.silent_actions.insert("fence".into());
    fail(&mut world);
    let fenced = |world: &World| world.actions.iter().any(|action| action.name() == "fence");
    for _ in 0..1_000 {
        if fenced(&world) {
            break;
        }
        world.run(ms(10));
    }
    assert!(fenced(&world), "{}", story(&world));
    world.run(waits);
    world
}

fn recorded(world: &World) -> Option<u64> {
    service(world).last_failover.and_then(|last| last.plan.chosen).and_then(|chosen| chosen.recorded_loss())
}

/// Rules 85 and 106: a hung primary may have gone on until its fence was proven; a dead one only where the fence found somebody.
#[test]
fn what_the_fence_found_decides_until_when_the_old_primary_counts() {
    let lost = |fail: fn(&mut World), rungs: Vec<RungName>| {
        let mut world = warm();
        world.write_rate = 100_000;
        world.run(ms(1_500));
        let mut world = at_the_fence(world, fail, ms(5_000));
        answer(&mut world, proven(rungs.into_iter().map(|name| rung(name, true)).collect()));
        world.run(ms(500));
        recorded(&world).unwrap_or_else(|| panic!("{}", story(&world)))
    };
    let found_nobody = lost(kill, vec![RungName::Guard, RungName::Proof]);
    let found_children = lost(kill, vec![RungName::Guard, RungName::KillChildren, RungName::Proof]);
    assert!(found_nobody < 50_000, "{found_nobody}");
    assert!(found_children > 450_000, "five seconds of writing more: {found_children}");
    let woken = lost(hang, vec![RungName::Guard, RungName::KillChildren, RungName::KillPostmaster, RungName::Proof]);
    assert!(woken > 750_000, "the silence, and five seconds more: {woken}");
}

/// Rule 20: the second highest of the last rates counts, so that a switch to the next segment is not taken for data.
#[test]
fn one_jump_to_the_next_segment_is_no_growth() {
    let jumps = |times: u32, bytes: u64| {
        let mut world = warm();
        world.write_rate = 0;
        world.run(ms(1_500));
        for _ in 0..times {
            for node in &mut world.nodes {
                node.lsn += bytes;
            }
            world.run(ms(200));
        }
        world.run(ms(20));
        kill(&mut world);
        world.run(ms(500));
        service(&world).last_failover.and_then(|last| last.plan.chosen).map(|chosen| chosen.loss)
    };
    assert_eq!(jumps(1, 20 << 20), Some(Some(0)));
    assert_eq!(jumps(3, 20 << 20), None, "they go on, and more than the limit may be missing");
}

/// Rules 111 and 121: a position that still moves is no answer yet, and is waited for behind the fence.
#[test]
fn a_position_that_still_moves_is_waited_for() {
    let goes_on = |settled| {
        let mut world = World::new(model(2));
        "db2".clone_into(&mut world.sync_names);
        world.run(ms(2_500));
        world.survey();
        world.run(ms(700));
        world.silent_actions.insert("read_positions".into());
        kill(&mut world);
        world.run(ms(200));
        let sample = service(&world).servers[1].sample.clone().map(|(_, sample)| sample).ok_or_else(String::new);
        let position = failover_core::sample::Position { server: ServerId(1), sample, settled };
        answer(&mut world, Report::Positions(vec![position]));
        service(&world).plan.map(|plan| (plan.chosen.is_some(), plan.course.undoing.is_some(), plan.course.retry_at.is_some()))
    };
    assert_eq!(goes_on(false), Some((false, false, true)));
    assert_eq!(goes_on(true), Some((true, false, false)));
}

/// Rule 32: whoever starts a server without its guard starts a second primary.
#[test]
fn a_guard_that_could_not_be_placed_is_a_warning_in_the_record() {
    let mut world = at_the_fence(warm(), kill, ms(10));
    answer(&mut world, proven(vec![rung(RungName::Guard, false), rung(RungName::Proof, true)]));
    world.run(ms(500));
    let warnings = service(&world).last_failover.unwrap().plan.course.warnings;
    assert!(warnings.iter().any(|line| line.contains("no guard (read-only file system)")), "{warnings:?}");
    let mut world = at_the_fence(warm(), kill, ms(10));
    answer(&mut world, proven(vec![rung(RungName::Guard, true), rung(RungName::Proof, true)]));
    world.run(ms(500));
    assert_eq!(service(&world).last_failover.unwrap().plan.course.warnings, Vec::<String>::new());
}

/// Rule 87: what is stopped hears nothing.
#[test]
fn a_hung_server_is_fenced_without_being_asked_to_stop() {
    for (fail, expected) in [(hang as fn(&mut World), true), (kill, false)] {
        let world = at_the_fence(warm(), fail, ms(10));
        let asked = world.actions.iter().find_map(|action| match action {
            Action::Fence { hung, view_confirmed, .. } => Some((*hung, *view_confirmed)),
            _ => None,
        });
        assert_eq!(asked, Some((expected, true)));
    }
}

/// Rule 103: only an answer to a question from after the decision is one of a primary that lives.
#[test]
fn an_answer_to_a_question_from_before_the_decision_stops_nothing() {
    let answered = |asked_before: u64| {
        let mut world = warm();
        hang(&mut world);
        world.silent_actions.insert("route_out".into());
        assert!(world.run_until(EventKind::FailoverStarted, ms(10_000)));
        world.run(ms(100));
        let mut sample = service(&world).servers[0].sample.clone().unwrap().1;
        sample.asked = Mono::from_nanos(world.now.as_nanos() - asked_before * 1_000_000);
        world.feed(Input::SessionAnswered { service: ServiceId(0), server: ServerId(0), sample: Box::new(sample) });
        service(&world).plan.is_some_and(|plan| plan.lives)
    };
    assert!(answered(50));
    assert!(!answered(150));
}

/// Rule 11: the clock of the core stands still while the machine sleeps.
#[test]
fn what_was_seen_is_older_by_the_time_that_the_machine_slept() {
    let mut world = warm();
    assert!(standby(&world).is_ok());
    let slept = |span| SelfHealth { gap: ms(span), suspended: ms(span), journal_writable: true, ..SelfHealth::default() };
    let after = |span| {
        let mut core = world.core.clone();
        core.step(world.now, Input::SelfHealth(slept(span)));
        let standbys = core.snapshot().services.remove(0).forecast.standbys;
        standbys[0].1.as_ref().map(|candidate| candidate.away > Span::ZERO).map_err(CandidateRefusal::name)
    };
    assert_eq!(after(4_000), Ok(true));
    assert_eq!(after(6_000), Err("loss_unknown"));
    world.run(ms(10));
}

/// Rules 77 and 1: a check that does not come back is our own trouble, and nobody waits for it.
#[test]
fn a_check_of_ours_that_does_not_come_back_is_unknown_and_given_up() {
    let mut core = Core::new(model(2));
    let runs = |outputs: &[Output]| -> Vec<_> {
        let run = |output: &Output| match output {
            Output::RunCheck { run, .. } => Some(*run),
            _ => None,
        };
        outputs.iter().filter_map(run).collect()
    };
    let mut now = Mono::from_nanos(1);
    let first = runs(&core.step(now, Input::Tick));
    assert_eq!(first.len(), 2);
    let mut given_up = Vec::new();
    for _ in 0..400 {
        now = now + ms(10);
        given_up.extend(core.step(now, Input::Tick).into_iter().filter_map(|output| match output {
            Output::CancelRun(run) if first.contains(&run) => Some(run),
            _ => None,
        }));
    }
    assert_eq!(given_up, first);
    for check in &core.snapshot().services[0].checks {
        let last = check.last.as_ref().map(|(_, finding)| &finding.verdict);
        assert!(matches!(last, Some(Verdict::Unknown(_))), "{}: {last:?}", check.name);
    }
}

/// Rules 7 and 79: what waits for us when we come back is of no worth, and the pause is noticed before it is taken.
#[test]
fn what_was_in_flight_during_our_own_pause_is_dropped_unread() {
    let mut core = Core::new(model(2));
    let now = Mono::from_nanos(1);
    let runs: Vec<_> = core
        .step(now, Input::Tick)
        .into_iter()
        .filter_map(|output| match output {
            Output::RunCheck { run, .. } => Some(run),
            _ => None,
        })
        .collect();
    let verdict = Verdict::Down(failover_core::observation::DownCause::Refused);
    let began = now;
    let finding = failover_core::observation::Finding { verdict, message: "refused".into(), began, latency: ms(1), sample: None };
    let late = core.next_deadline() + ms(1_000);
    let outputs = core.step(late, Input::CheckFinished { run: runs[0], finding });
    let given_up: Vec<_> =
        outputs.iter().filter(|output| matches!(output, Output::CancelRun(run) if runs.contains(run))).collect();
    assert_eq!(given_up.len(), 2, "{outputs:?}");
    let service = core.snapshot().services.remove(0);
    assert_eq!(service.checks[0].verdicts, [0; 4], "it was not taken for an answer");
    assert!(service.recent_failures.is_empty());
}

/// Rule 4: failures count for `failure_window`, however alive the primary was in between.
#[test]
fn failures_count_for_a_minute() {
    let counted_after = |between: u64| {
        let mut world = warm();
        let fails_until = |world: &mut World, times: usize| {
            world.nodes[0].mode = Mode::Refused;
            for _ in 0..2_000 {
                if service(world).recent_failures.len() >= times {
                    break;
                }
                world.run(ms(2));
            }
            world.nodes[0].mode = Mode::Impaired(failover_core::observation::Impairment::Saturated);
        };
        fails_until(&mut world, 2);
        world.run(ms(between));
        fails_until(&mut world, 3);
        service(&world).failures_in_window
    };
    assert_eq!(counted_after(50_000), 3);
    assert_eq!(counted_after(70_000), 1);
}

/// Rule 7: every check has to have answered twice.
#[test]
fn after_one_answer_of_a_check_nothing_is_decided() {
    let dies_after = |answers: u64| {
        let mut world = World::new(model(2));
        world.nodes[1].mode = Mode::Unknown;
        world.run(ms(2_500));
        world.survey();
        world.nodes[1].mode = Mode::Up;
        for _ in 0..2_000 {
            if service(&world).checks[1].verdicts[0] >= answers {
                break;
            }
            world.run(ms(2));
        }
        world.nodes[1].mode = Mode::Unknown;
        kill(&mut world);
        world.run(ms(200));
        story(&world).contains("not every check has answered often enough")
    };
    assert!(dies_after(1));
    assert!(!dies_after(2));
}

/// Rule 92: without the right to see it a receiver counts as receiving if it has received anything.
#[test]
fn a_receiver_that_is_hidden_counts_as_receiving() {
    let told = |receiver, receive: bool| {
        let mut world = World::new(model(2));
        world.nodes[1].streaming = false;
        world.run(ms(2_500));
        world.survey();
        world.run(ms(500));
        assert_eq!(standby(&world), Err("not_streaming"));
        let mut sample = service(&world).servers[1].sample.clone().unwrap().1;
        (sample.asked, sample.receiver) = (world.now, receiver);
        if !receive {
            sample.receive = None;
        }
        world.feed(Input::SessionAnswered { service: ServiceId(0), server: ServerId(1), sample: Box::new(sample) });
        standby(&world).is_ok()
    };
    use failover_core::sample::Receiver::{Absent, Hidden};
    assert!(told(Hidden, true));
    assert!(!told(Hidden, false), "it has received nothing");
    assert!(!told(Absent, true));
}

/// Rules 25 and 7.
#[test]
fn another_configuration_waits_for_the_failover_and_forgets_nothing() {
    let mut world = warm();
    world.nodes[0].mode = Mode::Refused;
    world.close(0, CloseCause::DeathHint, "end of stream");
    world.run(ms(500));
    let mut core = world.core.clone();
    let counted = |core: &Core| {
        let service = core.snapshot().services.remove(0);
        (service.failures_in_window, service.suspected_since.is_some())
    };
    assert!(counted(&core).0 > 0 && counted(&core).1, "{}", story(&world));
    assert_eq!(service(&world).state.as_str(), "failing");
    core.reload(world.now, model(2)).expect("no failover is in flight");
    assert_eq!(counted(&core), counted(&world.core), "what was suspected is suspected");
    assert_eq!(core.snapshot().services[0].state.as_str(), "failing");
    assert!(core.snapshot().services[0].primary_seen, "what was seen of the servers stays known");

    let mut world = warm();
    kill(&mut world);
    assert!(world.run_until(EventKind::FailoverStarted, ms(5_000)));
    let refused = world.core.reload(world.now, model(2)).expect_err("a failover is in flight");
    assert!(refused.contains("a failover of orders is in flight"), "{refused}");
    assert!(service(&world).plan.is_some());
}

/// Rule 83: who was served by a connection that was tried before the announcement has not come back.
#[test]
fn an_announced_stop_gets_its_grace_whatever_was_under_way() {
    // A connection takes 2 ms, and one begins every second.
    for offset in (0..1_000).step_by(2) {
        let mut world = warm();
        world.run(ms(offset));
        world.nodes[0].mode = Mode::Refused;
        world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
        world.close(0, CloseCause::Announced, "FATAL 57P01 ProcessInterrupts");
        assert!(!world.run_until(EventKind::FailoverStarted, ms(500)), "stopped after {offset} ms: {}", story(&world));
        let refusal = service(&world).refusal;
        assert!(matches!(refusal, Some(Refusal::RestartGrace { .. })), "stopped after {offset} ms: {}", story(&world));
    }
}

/// Rule 7: what the journal says of a service is older than what is known, as long as it cannot be written.
#[test]
fn other_servers_wait_for_a_journal_that_can_be_written() {
    let mut world = warm();
    let health = |journal_writable| SelfHealth { workers: 4, journal_writable, ..SelfHealth::default() };
    world.self_health(health(false));
    let before = format!("{:?}", world.core);
    let refused = world.core.reload(world.now, model(3)).expect_err("the journal is all that would be known");
    assert!(refused.contains("the journal cannot be written") && refused.contains("orders"), "{refused}");
    assert_eq!(format!("{:?}", world.core), before);
    world.core.reload(world.now, Model { services: Vec::new(), ..model(2) }).expect_err("it may come back by the next one");
    world.core.reload(world.now, model(2)).expect("nothing is asked of the journal");
    world.self_health(health(true));
    world.core.reload(world.now, model(3)).expect("what is known stands there");
}

/// Rules 7 and 25: servers have other numbers where the configuration lists them in another order, or has fewer.
#[test]
fn a_refusal_is_of_the_same_servers_after_a_reload() {
    let mut other = model(3);
    other.services[0].servers[1].candidate = false;
    let mut world = World::new(other.clone());
    world.run(ms(2_500));
    world.survey();
    world.nodes[2].delayed = true;
    world.run(ms(3_000));
    kill(&mut world);
    assert!(world.run_until(EventKind::FailoverRefused, ms(30_000)), "{}", story(&world));
    let refused = |core: &Core| {
        let service = core.snapshot().services.remove(0);
        let Some(Refusal::NoCandidate { reasons }) = service.refusal else { return None };
        let name = |server: ServerId| service.servers[usize::from(server.0)].name.clone();
        Some(reasons.iter().map(|(server, reason)| (name(*server), reason.name())).collect::<Vec<_>>())
    };
    let delayed = ("db3".to_owned(), "delayed");
    assert_eq!(refused(&world.core), Some(vec![("db2".into(), "not_a_candidate"), delayed.clone()]), "{}", story(&world));
    let mut core = world.core.clone();
    other.services[0].servers.swap(1, 2);
    core.reload(world.now, other.clone()).expect("no failover is in flight");
    assert_eq!(refused(&core), Some(vec![delayed.clone(), ("db2".into(), "not_a_candidate")]));
    other.services[0].servers.pop();
    other.services[0].checks.pop();
    core.reload(world.now, other).expect("no failover is in flight");
    assert_eq!(refused(&core), Some(vec![delayed]), "db2 is no server of it any more");
}

/// Rule 22: others acknowledged up to the primary's last word. A standby that was asked before it came may have that by now.
#[test]
fn a_standby_is_not_behind_what_was_said_after_it_was_asked() {
    let mut world = warm();
    world.sync_names = "ANY 1 (db2)".into();
    world.strangers = vec!["db2".into()];
    // Between two samples of the standby.
    world.run(ms(6_100));
    assert_eq!(standby(&world), Err("quorum_unanswered"), "{}", story(&world));
    world.strangers.clear();
    let mut sample = service(&world).servers[0].sample.clone().unwrap().1;
    let end = world.nodes[0].lsn + 50_000;
    (world.nodes[0].lsn, world.nodes[1].lsn) = (end, end);
    (sample.asked, sample.flush, sample.replicas) = (world.now, Some(Lsn(end)), Some(Vec::new()));
    world.feed(Input::SessionAnswered { service: ServiceId(0), server: ServerId(0), sample: Box::new(sample) });
    kill(&mut world);
    assert!(world.run_until(EventKind::FailoverCompleted, ms(5_000)), "{}", story(&world));
}

/// Rule 141.
#[test]
fn the_record_of_an_order_says_what_it_waived() {
    let mut world = warm();
    world.command(Command::pause());
    world.command(Command::Force { to: None, accept_loss: Some(1_000) });
    let evidence = service(&world).plan.expect("it goes on").course.evidence.join("\n");
    assert!(evidence.contains("waived: paused") && evidence.contains("waived: the loss limit, up to 1000 bytes"), "{evidence}");
}

/// Rule 141.
#[test]
fn the_record_of_an_order_names_every_guard_that_it_waived() {
    let mut world = warm();
    world.command(Command::pause());
    world.self_health(SelfHealth { stuck_workers: 2, workers: 2, journal_writable: true, ..SelfHealth::default() });
    world.command(Command::Force { to: None, accept_loss: Some(1_000) });
    let evidence = service(&world).plan.expect("it goes on").course.evidence.join("\n");
    assert!(evidence.contains("waived: paused") && evidence.contains("waived: doubt"), "{evidence}");
}

/// Rule 213.
#[test]
fn a_switchover_waives_nothing() {
    let refused = |spoil: fn(&mut World)| {
        let mut world = warm();
        spoil(&mut world);
        world.command(Command::Switchover { to: None, order: SwitchoverOrder::Look });
        let lines = world.answer.take().expect("it is answered").preflight;
        let refused = lines.into_iter().filter(|line| line.level == PreflightLevel::Refused);
        refused.map(|line| line.name).collect::<Vec<_>>()
    };
    assert_eq!(refused(|_| ()), [""; 0]);
    assert_eq!(refused(|world| world.command(Command::pause())), [""; 0], "an operator's order is one during a pause, too");
    let stuck = |world: &mut World| {
        world.self_health(SelfHealth { stuck_workers: 2, workers: 2, journal_writable: true, ..SelfHealth::default() });
    };
    assert_eq!(refused(stuck), ["doubt"]);
    let full = |world: &mut World| world.self_health(SelfHealth { workers: 2, journal_writable: false, ..SelfHealth::default() });
    assert_eq!(refused(full), ["journal_unwritable"]);
    assert_eq!(refused(|world| world.nodes[0].mode = Mode::Silent), [""; 0], "nothing was seen of it yet");
    let dying = refused(|world| {
        kill(world);
        world.run(ms(20));
    });
    assert!(!dying.is_empty(), "{dying:?}");
}

#[test]
fn an_order_says_which_failover_it_began_and_no_other_command_does() {
    let mut world = warm();
    let said = |world: &mut World, command: Command| {
        world.command(command);
        world.answer.take().expect("it is carried out").generation
    };
    assert_eq!(said(&mut world, Command::pause()), None);
    assert_eq!(said(&mut world, Command::Resume), None);
    world.run(ms(2_000));
    let first = said(&mut world, Command::Switchover { to: None, order: SwitchoverOrder::Begin });
    let began =
        |world: &World| world.events.iter().rfind(|event| event.kind == EventKind::FailoverStarted).map(|event| event.generation);
    assert!(first.is_some() && first == began(&world), "{first:?}\n{}", story(&world));
    // A second order is rejected while the first one goes on, and what is said of that has no number.
    world.command(Command::Switchover { to: None, order: SwitchoverOrder::Begin });
    assert_eq!(world.answer, None);
    assert!(world.run_until(EventKind::FailoverCompleted, ms(10_000)), "{}", story(&world));
    assert_eq!(said(&mut world, Command::Reset), None, "the one that is over did not begin by this");
}

/// Rule 130: an operator's word outlives the engine.
#[test]
fn an_ended_cooldown_is_over_for_the_next_engine_too() {
    let mut world = warm();
    kill(&mut world);
    assert!(world.run_until(EventKind::FailoverCompleted, ms(5_000)));
    world.run(ms(1_500));
    let cooldown = ms(300_000);
    assert!(world.journal.durable.recorded_age().is_some_and(|age| age < cooldown), "{:?}", world.journal.durable.recorded_age());
    assert_eq!(refusals(&world)[0], "cooldown");
    world.command(Command::Reset);
    assert!(
        world.journal.durable.recorded_age().is_some_and(|age| age >= cooldown),
        "{:?}",
        world.journal.durable.recorded_age()
    );
    world.last_failover_age = world.journal.durable.recorded_age();
    world.kill_engine();
    world.start_engine();
    world.run(ms(1_000));
    assert!(!refusals(&world).contains(&"cooldown"), "{}", story(&world));
}

/// Rule 213: planned work answers no failure.
#[test]
fn a_primary_that_dies_right_after_a_switchover_is_failed_over() {
    let dies_after = |first: fn(&mut World)| {
        let mut world = warm_of(3);
        first(&mut world);
        assert!(world.run_until(EventKind::FailoverCompleted, ms(10_000)), "{}", story(&world));
        // The third one was pointed to it.
        (world.nodes[2].timeline, world.nodes[2].streaming) = (world.nodes[1].timeline, true);
        world.run(ms(3_000));
        world.survey();
        world.run(ms(500));
        let cools_down = service(&world).cooldown_left > Span::ZERO;
        world.nodes[1].mode = Mode::Refused;
        world.nodes[1].host = Some((ProcessState::Gone, LocalAnswer::Silent));
        world.close(1, CloseCause::DeathHint, "FATAL 57P01 secure_read");
        let replaced = world.run_until(EventKind::FailoverCompleted, ms(10_000));
        assert!(replaced != cools_down, "{}", story(&world));
        (cools_down, replaced)
    };
    let switchover =
        |world: &mut World| world.command(Command::Switchover { to: Some(ServerId(1)), order: SwitchoverOrder::Begin });
    assert_eq!(dies_after(switchover), (false, true));
    assert_eq!(dies_after(kill), (true, false), "a failover begins one");
}

/// Rules 51 and 130.
#[test]
fn a_cooldown_lasts_as_long_as_is_configured_now() {
    let with = |cooldown: u64| {
        let mut model = model(2);
        model.services[0].trigger.cooldown = ms(cooldown);
        model
    };
    let left = |core: &Core| core.snapshot().services[0].cooldown_left;
    let mut world = World::new(with(1_000));
    world.run(ms(2_500));
    world.survey();
    world.run(ms(500));
    world.core.reload(world.now, with(300_000)).expect("no failover is in flight");
    assert_eq!(left(&world.core), ms(0), "there was none before");
    world.core.reload(world.now, with(1_000)).expect("no failover is in flight");
    world.run(ms(2_500));
    kill(&mut world);
    assert!(world.run_until(EventKind::FailoverCompleted, ms(5_000)), "{}", story(&world));
    let ended = world.now;
    for (after, configured, remains) in [(0, 1_000, 1_000), (400, 300_000, 299_600), (0, 1_000, 600), (2_000, 300_000, 297_600)] {
        world.run(ms(after));
        world.core.reload(world.now, with(configured)).expect("no failover is in flight");
        assert_eq!(left(&world.core), ms(remains), "{} after it, {configured} ms are configured", world.now.since(ended));
    }
    world.command(Command::Reset);
    world.core.reload(world.now, with(600_000)).expect("no failover is in flight");
    assert_eq!(left(&world.core), ms(0), "an operator has ended it");
}

/// Rule 143.
#[test]
fn a_pause_and_its_end_are_in_the_journal() {
    let mut world = warm();
    world.command(Command::pause());
    assert!(world.journal.durable.pause.is_some());
    world.command(Command::Resume);
    assert!(world.journal.durable.pause.is_none());
}

/// Rule 143: what was seen in a pause decides nothing when it ends.
#[test]
fn a_failure_in_a_pause_is_asked_about_afresh_when_it_ends() {
    let mut world = warm();
    world.command(Command::pause());
    kill(&mut world);
    world.run(ms(1_000));
    world.silent_actions.insert("ask_host".into());
    world.command(Command::Resume);
    assert_eq!((service(&world).state.as_str(), service(&world).failures_in_window), ("normal", 0));
    assert!(service(&world).suspected_since.is_none());
}

/// Rules 54 and 56: what the next engine needs to know of a failover that was begun.
#[test]
fn an_intent_says_who_streamed_who_acknowledged_and_whose_host_was_matched() {
    let mut world = World::new(model(3));
    "ANY 1 (db2, db3)".clone_into(&mut world.sync_names);
    world.run(ms(2_500));
    world.survey();
    world.nodes[2].streaming = false;
    world.run(ms(3_000));
    let acknowledged = world.nodes[1].lsn;
    kill(&mut world);
    assert!(world.run_until(EventKind::FailoverStarted, ms(5_000)), "{}", story(&world));
    let begun = world.journal.begun.clone().expect("an intent");
    assert_eq!((begun.old, begun.reason, begun.view_confirmed), (ServerId(0), Reason::Failed(FailureClass::Dead), true));
    assert_eq!(begun.streaming, [ServerId(1)]);
    let sync = begun.sync.as_ref().expect("whose acknowledgements commits waited for");
    assert_eq!((sync.size, &sync.members[..]), (2, &[ServerId(1), ServerId(2)][..]));
    assert!(acknowledged.abs_diff(begun.acknowledged_before.0) < 10_000, "{}", begun.acknowledged_before);
    assert!(begun.furthest.is_some_and(|furthest| furthest >= begun.acknowledged_before));
    // Whose promotion was begun is known before it is asked for.
    assert!(world.run_until(EventKind::PointOfNoReturn, ms(5_000)), "{}", story(&world));
    assert_eq!(world.journal.begun.unwrap().chosen.map(|chosen| chosen.server), Some(ServerId(1)));
}

/// An engine that dies before its fence, and the next one, which knows this of it.
fn next_engine(change: impl Fn(&mut Facts)) -> World {
    let mut world = World::new(model(3));
    "ANY 1 (db2, db3)".clone_into(&mut world.sync_names);
    world.run(ms(2_500));
    world.survey();
    world.run(ms(700));
    world.dies_at = Some(world.deeds + 5);
    kill(&mut world);
    for node in &mut world.nodes {
        node.streaming = false;
    }
    world.run(ms(2_000));
    assert!(world.dead && world.journal.begun.is_some(), "{}", story(&world));
    change(&mut world.journal);
    world.start_engine();
    world.run(ms(1_000));
    world
}

/// Rules 54 and 108: who streamed and who acknowledged is known to the next engine, and as old as it is.
#[test]
fn the_next_engine_decides_by_what_the_intent_says() {
    let of = |world: &World| service(world).last_failover.map(|last| last.plan.chosen.is_some());
    assert_eq!(of(&next_engine(|_| ())), Some(true));
    // Nobody was waited for, and nobody was receiving.
    let world = next_engine(|facts| {
        let begun = facts.begun.as_mut().unwrap();
        (begun.sync, begun.streaming) = (None, Vec::new());
    });
    assert_eq!(of(&world), None, "{}", story(&world));
    // It was seen too long ago to say anything about the loss.
    let world = next_engine(|facts| {
        let begun = facts.begun.as_mut().unwrap();
        (begun.sync, begun.first_bad) = (None, Some(ms(6_000)));
    });
    assert!(story(&world).contains("it is not known how much could be lost"), "{}", story(&world));
    let world = next_engine(|facts| facts.begun.as_mut().unwrap().sync = None);
    assert_eq!(of(&world), Some(true), "{}", story(&world));
}

/// Rule 54: what is known of another timeline says nothing about the one that the failover is about.
#[test]
fn what_was_seen_of_another_timeline_is_not_taken_for_that_of_the_intent() {
    let knowledge = warm_of(3).core.knowledge().remove(0).expect("a primary was seen");
    let told = |timeline: u32| {
        let world = next_engine(|facts| {
            facts.knowledge = Some(Box::new(knowledge.clone()));
            facts.begun.as_mut().unwrap().old_timeline = timeline;
        });
        service(&world).last_failover.is_some()
    };
    assert!(told(1));
    assert!(!told(2), "nobody is known to be on that timeline");
}

/// Rule 54: between the two records an engine may die.
#[test]
fn who_is_primary_is_written_before_the_end_of_the_failover() {
    let mut world = warm();
    world.tape = Some((world.core.clone(), Vec::new()));
    kill(&mut world);
    assert!(world.run_until(EventKind::FailoverCompleted, ms(5_000)));
    let (mut core, tape) = world.tape.take().unwrap();
    let mut primary = None;
    for (now, input, _) in tape {
        for output in core.step(now, input) {
            match output {
                Output::Journal(Record::Facts { durable, .. }) => primary = durable.primary,
                Output::Journal(Record::Ended { .. }) => {
                    assert_eq!(primary, Some(ServerId(1)), "the last facts before the end");
                    return;
                }
                _ => {}
            }
        }
    }
    panic!("no end");
}

/// What an engine knew, given to the next one; and what is said of its standby once it answers.
fn recalled(change: impl Fn(&mut Facts, &mut World)) -> Result<Option<u64>, &'static str> {
    let mut world = warm();
    let knowledge: Knowledge = world.core.knowledge().remove(0).expect("a primary was seen");
    world.kill_engine();
    world.journal.knowledge = Some(Box::new(knowledge));
    world.nodes[0].mode = Mode::Refused;
    world.nodes[0].host = Some((ProcessState::Gone, LocalAnswer::Silent));
    world.nodes[1].streaming = false;
    let mut facts = world.journal.clone();
    change(&mut facts, &mut world);
    world.journal = facts;
    world.start_engine();
    world.run(ms(1_000));
    match service(&world).last_failover.and_then(|last| last.plan.chosen) {
        Some(chosen) => Ok(chosen.loss),
        None => standby(&world),
    }
}

/// Rule 56.
#[test]
fn an_engine_that_starts_after_the_death_decides_by_what_was_seen() {
    assert_eq!(recalled(|_, _| ()), Ok(Some(0)));
    assert_eq!(recalled(|facts, _| facts.knowledge = None), Err("not_streaming"));
    let aged =
        |by: Span| recalled(move |facts, _| facts.knowledge = facts.knowledge.take().map(|known| Box::new(known.aged(by))));
    assert!(aged(ms(4_000)).is_ok_and(|loss| loss.is_some_and(|loss| loss > 50_000)), "as old as it is: {:?}", aged(ms(4_000)));
    assert_eq!(aged(ms(6_000)), Err("loss_unknown"));
    // The journal knows a later primary than what was seen: that was seen before it.
    assert_eq!(recalled(|facts, _| facts.durable.primary = Some(ServerId(1))).err(), Some("not_readable"));
}

/// Rule 56: who was not receiving when the engine ended was not receiving.
#[test]
fn an_engine_that_starts_after_the_death_knows_who_was_not_receiving() {
    let mut world = warm();
    let stopped = world.nodes[1].lsn;
    world.nodes[1].streaming = false;
    world.nodes[1].receive = Received::UpTo(stopped);
    world.run(ms(2_000));
    let knowledge = world.core.knowledge().remove(0).map(Box::new);
    assert_eq!(recalled(|facts, _| facts.knowledge.clone_from(&knowledge)), Err("not_streaming"));
}

/// Rule 56: something else than a position is worth writing at once.
#[test]
fn that_another_standby_receives_is_news_and_a_position_is_none() {
    let mut world = warm_of(3);
    assert_eq!(world.core.names(), [("orders".to_owned(), ["db1", "db2", "db3"].map(str::to_owned).to_vec())]);
    let before = world.core.knowledge().remove(0).unwrap();
    world.run(ms(500));
    let later = world.core.knowledge().remove(0).unwrap();
    assert!(later != before && !later.is_news_after(&before));
    world.nodes[2].streaming = false;
    world.run(ms(2_500));
    let without = world.core.knowledge().remove(0).unwrap();
    assert!(without.is_news_after(&later));
    assert!(!without.clone().aged(ms(1_000)).is_news_after(&without));
}

/// Rule 124: what a host shows is believed once it was matched with the server, and by processes and memory both.
#[test]
fn a_host_is_fenced_only_where_it_was_matched_with_the_server() {
    let surveyed = |attached: Option<u32>, other_server: bool| {
        let mut world = World::new(model(2));
        world.run(ms(3_000));
        let finding = ReadinessFinding {
            code: failover_core::finding::FindingCode::HostOtherServer,
            blocking: true,
            message: "another server".into(),
            remedy: "correct data_dir".into(),
        };
        for (server, findings) in
            [(ServerId(0), Vec::new()), (ServerId(0), vec![finding].into_iter().filter(|_| other_server).collect())]
        {
            let word = failover_core::sample::HostReport {
                asked: world.now,
                postmaster: ProcessState::Running,
                others: 7,
                stopped: 0,
                shm_attached: attached,
                local_answer: LocalAnswer::NotAsked,
                stopped_by_order: false,
                holds: Vec::new(),
                message: "runs".into(),
            };
            let readiness = Readiness {
                asked: world.now,
                ssh: Some(Ok(word)),
                findings,
                earlier: Vec::new(),
                switchover: None,
                sources: None,
            };
            world.feed(Input::Surveyed { service: ServiceId(0), server, readiness });
        }
        let before = refusals(&world);
        kill(&mut world);
        world.run(ms(1_000));
        let asked = world.actions.iter().filter(|action| action.name() == "ask_host").count();
        (before, service(&world).last_failover.is_some(), asked > 0)
    };
    assert_eq!(surveyed(Some(8), false), (Vec::new(), true, true));
    assert_eq!(surveyed(Some(0), false), (vec!["fence_unavailable"], false, true));
    assert_eq!(surveyed(None, false), (vec!["fence_unavailable"], false, true));
    // Seen to be another server later: it is not asked any more either.
    assert_eq!(surveyed(Some(8), true), (vec!["fence_unavailable"], false, false));
}

/// Rules 100 and 109: a finding that would keep the standby from being promoted stands in the forecast, for as long as it is found.
#[test]
fn what_the_survey_found_on_the_standby_is_foretold() {
    let mut world = warm();
    world.run(ms(3_000));
    let finding = |blocking| ReadinessFinding {
        code: failover_core::finding::FindingCode::PromoteRightMissing,
        blocking,
        message: "it may not be promoted".into(),
        remedy: "grant it".into(),
    };
    assert_eq!(refusals(&world), Vec::<&str>::new());
    for (findings, expected) in
        [(vec![finding(false)], vec![]), (vec![finding(true)], vec!["not_ready"]), (Vec::new(), Vec::<&str>::new())]
    {
        let readiness = Readiness { asked: world.now, ssh: None, findings, earlier: Vec::new(), switchover: None, sources: None };
        world.feed(Input::Surveyed { service: ServiceId(0), server: ServerId(1), readiness });
        assert_eq!(refusals(&world), expected);
    }
}

/// Rules 10 and 24: it stands in the way, whatever else does.
#[test]
fn two_servers_that_take_writes_are_a_guard_of_their_own() {
    let mut world = warm();
    world.nodes[1].writable = true;
    world.nodes[1].streaming = false;
    world.run(ms(1_000));
    assert!(refusals(&world).contains(&"two_primaries"), "{:?}", refusals(&world));
    world.command(Command::Reset);
    world.run(ms(10));
    assert!(refusals(&world).contains(&"two_primaries"), "{:?}", refusals(&world));
}

/// Rule 23: who received until a moment before the primary's last sample was receiving.
#[test]
fn a_standby_that_stopped_receiving_is_refused_after_a_moment() {
    let mut world = warm();
    let stopped = world.nodes[1].lsn;
    world.nodes[1].streaming = false;
    world.nodes[1].receive = Received::UpTo(stopped);
    world.run(ms(800));
    assert!(standby(&world).is_ok());
    world.run(ms(800));
    assert_eq!(standby(&world), Err("not_streaming"));
}

/// Rule 128: a shutdown that does not end is ended, once it has had its time.
#[test]
fn a_start_that_is_held_up_by_a_shutdown_ends_it_after_four_tries() {
    let mut world = warm();
    world.deaf.insert(1);
    world.failing.insert("start_server".into(), Failure::unknown("it is still on its way down", ""));
    world.command(Command::Switchover { to: None, order: SwitchoverOrder::Begin });
    world.run(ms(30_000));
    let overdue: Vec<bool> = world
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::StartServer { overdue, .. } => Some(*overdue),
            _ => None,
        })
        .collect();
    assert_eq!(overdue[..6], [false, false, false, false, true, true]);
}

/// Rule 35: a standby that is silent would hold up those that answer.
#[test]
fn the_receipt_is_asked_of_those_that_answer() {
    let mut world = warm_of(3);
    world.nodes[2].mode = Mode::Silent;
    world.nodes[2].streaming = false;
    world.close(2, CloseCause::Unclassified, "no answer");
    world.run(ms(100));
    world.command(Command::Switchover { to: None, order: SwitchoverOrder::Begin });
    world.run(ms(100));
    let asked = world.actions.iter().find_map(|action| match action {
        Action::ReadReceipt { standbys, .. } => Some(standbys.clone()),
        _ => None,
    });
    assert_eq!(asked, Some(vec![ServerId(1)]), "{}", story(&world));
}

/// Rule 107: where a log ended says nothing once its server is back.
#[test]
fn the_end_of_a_log_counts_until_its_server_gives_a_sign_of_life() {
    let mut world = warm();
    world.silent_actions.insert("ask_host".into());
    world.nodes[1].streaming = false;
    world.nodes[0].mode = Mode::Refused;
    world.close(0, CloseCause::Announced, "FATAL 57P01 ProcessInterrupts");
    world.run(ms(300));
    let end = failover_core::sample::LogEnd { at: Lsn(world.nodes[1].lsn), timeline: 1 };
    let word = failover_core::sample::HostReport {
        asked: world.now,
        postmaster: ProcessState::Gone,
        others: 0,
        stopped: 0,
        shm_attached: Some(0),
        local_answer: LocalAnswer::NotAsked,
        stopped_by_order: false,
        holds: Vec::new(),
        message: "stopped in an orderly way".into(),
    };
    // The first question to the host is the first action of all.
    let action = failover_core::id::ActionId(1);
    world.feed(Input::ActionFinished { action, outcome: Ok(Report::HostShutDown { word, end }) });
    let exact = |world: &World| {
        let standbys = service(world).forecast.standbys;
        standbys[0].1.as_ref().is_ok_and(|candidate| candidate.exact)
    };
    assert!(exact(&world), "{}", story(&world));
    // It is up again, and serves nobody yet.
    world.nodes[0].mode = Mode::Impaired(failover_core::observation::Impairment::Saturated);
    world.run(ms(1_100));
    assert!(!exact(&world), "{}", story(&world));
}

/// Rule 142: a loss that is accepted is accepted up to its figure.
#[test]
fn an_order_that_accepts_a_loss_accepts_no_more_of_a_dead_primary() {
    let forced = |bytes| {
        let mut world = warm();
        world.write_rate = 1_000_000;
        world.run(ms(1_500));
        world.command(Command::pause());
        world.nodes[1].streaming = false;
        let stopped = world.nodes[1].lsn;
        world.nodes[1].receive = Received::UpTo(stopped);
        world.run(ms(900));
        kill(&mut world);
        world.run(ms(200));
        world.command(Command::Force { to: Some(ServerId(1)), accept_loss: Some(bytes) });
        service(&world).plan.is_some()
    };
    assert!(forced(4_000_000));
    assert!(!forced(400_000));
}

/// An application of two servers, warm.
fn application() -> World {
    let mut model = model(2);
    let service = &mut model.services[0];
    service.kind = failover_core::model::ServiceKind::Application;
    for check in &mut service.checks {
        check.kind = failover_core::model::CheckKind::Http;
    }
    let mut world = World::new(model);
    world.run(ms(3_000));
    world
}

fn entered(world: &World) -> bool {
    world.actions.iter().any(|action| matches!(action, Action::RouteIn { .. }))
}

/// Rule 135: the failure has to show once more after the threshold.
#[test]
fn an_application_fails_once_more_after_its_threshold() {
    let mut world = application();
    let before = service(&world).checks[0].verdicts[2];
    world.nodes[0].mode = Mode::Refused;
    assert!(world.run_until(EventKind::FailoverStarted, ms(5_000)), "{}", story(&world));
    assert_eq!(service(&world).checks[0].verdicts[2] - before, 4);
}

/// Rule 135: a standby takes over by what it answers since the first bad sign, not by what it answered before.
#[test]
fn a_standby_of_an_application_has_to_have_answered_since_the_first_bad_sign() {
    let mut world = application();
    world.nodes[0].mode = Mode::Refused;
    world.nodes[1].mode = Mode::Silent;
    world.run(ms(1_200));
    assert!(!entered(&world), "{}", story(&world));
    world.nodes[1].mode = Mode::Up;
    world.run(ms(3_000));
    assert!(entered(&world), "{}", story(&world));
}

/// Rule 135: one that does not serve through the route is taken back.
#[test]
fn a_standby_that_does_not_serve_through_the_route_does_not_keep_the_traffic() {
    let mut world = application();
    for name in ["verify_traffic", "verify_service"] {
        world.failing.insert(name.into(), Failure::no_effect("somebody else answers", ""));
    }
    world.nodes[0].mode = Mode::Refused;
    world.run(ms(2_000));
    assert!(entered(&world), "{}", story(&world));
    // Were it well by its own checks, it would be better than the dead one.
    world.nodes[1].mode = Mode::Refused;
    world.run(ms(10_000));
    assert!(world.actions.iter().any(|action| matches!(action, Action::RouteRollback { .. })), "{}", story(&world));
    assert_eq!(service(&world).primary, Some(ServerId(0)));
}

/// Rule 173.
#[test]
fn a_reload_without_the_living_primary_is_refused() {
    let mut world = World::new(model(3));
    world.run(ms(3_000));
    let mut without = model(3);
    let service = &mut without.services[0];
    service.servers.remove(0);
    service.checks.retain(|check| check.server != 0);
    service.checks.iter_mut().for_each(|check| check.server -= 1);
    let refused = world.core.reload(world.now, without.clone()).expect_err("db1 takes writes");
    assert!(refused.contains("db1 is the primary of orders"), "{refused}");
    // One that is gone for good may be left out.
    kill(&mut world);
    world.run(ms(3_500));
    world.core.reload(world.now, without).expect("it is gone");
}
