//! Every (state, input) pair: where one input leads from each state. The table is in `tests/core/table.txt`;
//! `UPDATE_EXPECT=1 cargo test --test core table` rewrites it.

use std::fmt::Write as _;

use crate::world::{Mode, World, model, ms};
use failover_core::event::EventKind;
use failover_core::id::{ActionId, RunId, ServerId, ServiceId};
use failover_core::input::{Command, Input, SelfHealth};
use failover_core::observation::{Close, CloseCause, DownCause, Finding, Impairment, UnknownCause, Verdict};
use failover_core::output::{Failure, Report};
use failover_core::route::{InstanceKind, InstanceTrouble, InstanceView, RouteSurvey};
use failover_core::sample::Readiness;
use failover_core::switchover::SwitchoverOrder;
use failover_core::time::Span;
use failover_core::traffic::Outcome;
use failover_core::trigger::State;

fn warm() -> World {
    let mut world = World::new(model(2));
    world.run(ms(2_500));
    world.survey();
    world.run(ms(500));
    world
}

fn die(world: &mut World) {
    world.nodes[0].mode = Mode::Refused;
    world.nodes[0].host = Some((failover_core::sample::ProcessState::Gone, failover_core::sample::LocalAnswer::Silent));
    world.close(0, CloseCause::DeathHint, "FATAL 57P01 secure_read");
}

fn in_state(state: State) -> World {
    let mut world = warm();
    match state {
        State::Normal => {}
        State::Degraded => {
            die(&mut world);
            world.run(ms(10));
        }
        State::Failing => {
            world.command(Command::pause());
            die(&mut world);
            world.run(ms(500));
        }
        State::FailoverInProgress => {
            world.silent_actions.insert("fence".into());
            die(&mut world);
            world.run(ms(500));
        }
        State::FailedOver => {
            die(&mut world);
            assert!(world.run_until(EventKind::FailoverCompleted, ms(5_000)));
            world.run(ms(2_000));
        }
        State::ManualIntervention => {
            world.nodes[1].writable = true;
            world.run(ms(1_000));
        }
    }
    assert_eq!(world.core.snapshot().services[0].state, state);
    world
}

fn finding(verdict: Verdict) -> Finding {
    Finding { verdict, message: "by the table".into(), began: failover_core::time::Mono::ZERO, latency: Span::ZERO, sample: None }
}

fn inputs() -> Vec<(String, Input)> {
    const SERVICE: ServiceId = ServiceId(0);
    const NOWHERE: ServiceId = ServiceId(9);
    let mut all: Vec<(String, Input)> = vec![("tick".into(), Input::Tick)];
    for (name, verdict) in [
        ("up", Verdict::Up),
        ("impaired", Verdict::Impaired(Impairment::Saturated)),
        ("refused", Verdict::Down(DownCause::Refused)),
        ("unknown", Verdict::Unknown(UnknownCause::Internal)),
    ] {
        all.push((
            format!("check {name}, nobody's run"),
            Input::CheckFinished { run: RunId(999_999), finding: finding(verdict.clone()) },
        ));
        all.push((
            format!("session failed {name}, nobody's run"),
            Input::SessionFailed { run: RunId(999_999), finding: finding(verdict) },
        ));
    }
    all.push(("session opened, nobody's run".into(), Input::SessionOpened { run: RunId(999_999) }));
    for cause in
        [CloseCause::DeathHint, CloseCause::Announced, CloseCause::CrashRecovery, CloseCause::Unclassified, CloseCause::Ours]
    {
        for server in [0, 1, 77] {
            all.push((
                format!("session of server {server} closed: {}", cause.as_str()),
                Input::SessionClosed {
                    service: SERVICE,
                    server: ServerId(server),
                    close: Close { cause, message: "by the table".into() },
                },
            ));
        }
    }
    let readiness = Readiness {
        asked: failover_core::time::Mono::ZERO,
        ssh: None,
        findings: Vec::new(),
        earlier: Vec::new(),
        switchover: None,
        sources: None,
    };
    all.push(("surveyed".into(), Input::Surveyed { service: SERVICE, server: ServerId(0), readiness: readiness.clone() }));
    all.push(("surveyed nowhere".into(), Input::Surveyed { service: NOWHERE, server: ServerId(0), readiness }));
    let trouble = InstanceTrouble { no_backend: false, message: "gone".into(), remedy: "start it".into() };
    let broken = InstanceView {
        name: "lb1".into(),
        backend: "orders".into(),
        servers: Err(trouble),
        kind: InstanceKind::Haproxy,
        gate: Vec::new(),
        unnamed: Vec::new(),
    };
    let survey = RouteSurvey { asked: failover_core::time::Mono::ZERO, instances: vec![broken] };
    all.push(("route surveyed: broken".into(), Input::RouteSurveyed { service: SERVICE, survey }));
    let silent = failover_core::sample::ReadinessFinding {
        code: failover_core::finding::FindingCode::VerifyUnreachable,
        blocking: true,
        message: "nobody answers: by the table".into(),
        remedy: "start it".into(),
    };
    for (whose, primary) in [("nobody", None), ("server 0", Some(ServerId(0)))] {
        let asked = failover_core::time::Mono::ZERO;
        let findings = vec![silent.clone()];
        all.push((format!("route asked: {whose}"), Input::RouteAsked { service: SERVICE, primary, asked, findings }));
    }
    for server in [0, 1, 77] {
        let (server, asked) = (ServerId(server), failover_core::time::Mono::ZERO);
        all.push((format!("route errors of server {server}"), Input::RouteErrors { service: SERVICE, server, asked }));
    }
    for outcome in Outcome::ALL {
        for (whose, server) in [("the primary", None), ("server 1", Some(ServerId(1))), ("server 77", Some(ServerId(77)))] {
            all.push((
                format!("reported of {whose}: {}", outcome.as_str()),
                Input::OutcomeReported { service: SERVICE, server, outcome, count: 1 },
            ));
        }
    }
    all.push((
        "nobody's action succeeded".into(),
        Input::ActionFinished { action: ActionId(999_999), outcome: Ok(Report::Done { message: "late".into() }) },
    ));
    all.push((
        "nobody's action failed".into(),
        Input::ActionFinished { action: ActionId(999_999), outcome: Err(Failure::unknown("late", "")) },
    ));
    for command in [
        Command::Confirm,
        Command::pause(),
        Command::Resume,
        Command::Reset,
        Command::Force { to: None, accept_loss: None },
        Command::Force { to: Some(ServerId(0)), accept_loss: None },
        Command::Force { to: Some(ServerId(77)), accept_loss: Some(u64::MAX) },
        Command::Switchover { to: None, order: SwitchoverOrder::Begin },
        Command::Switchover { to: Some(ServerId(77)), order: SwitchoverOrder::Look },
        Command::Switchover { to: None, order: SwitchoverOrder::Plan { after: ms(1), at_ms: 0 } },
        Command::Switchover { to: None, order: SwitchoverOrder::Cancel },
        Command::Cordon { server: ServerId(1) },
        Command::Cordon { server: ServerId(77) },
        Command::Uncordon { server: ServerId(1) },
        Command::Stop,
    ] {
        let name = match &command {
            Command::Force { to: Some(to), .. } => format!("force to {to}"),
            Command::Switchover { order, .. } => format!("switchover {order:?}"),
            Command::Cordon { server } | Command::Uncordon { server } => format!("{} {server}", command.as_str()),
            other => other.as_str().to_owned(),
        };
        all.push((format!("operator {name}"), Input::Operator { service: None, command: command.clone(), token: 1 }));
        all.push((format!("operator {name}, no such service"), Input::Operator { service: Some(NOWHERE), command, token: 1 }));
    }
    let well = SelfHealth { journal_writable: true, ..SelfHealth::default() };
    all.push(("self: gap".into(), Input::SelfHealth(SelfHealth { gap: ms(5_000), ..well.clone() })));
    all.push(("self: stuck".into(), Input::SelfHealth(SelfHealth { stuck_workers: 2, workers: 2, ..well.clone() })));
    all.push(("self: stuck loop".into(), Input::SelfHealth(SelfHealth { stuck_loops: 1, ..well.clone() })));
    all.push(("self: journal unwritable".into(), Input::SelfHealth(SelfHealth { journal_writable: false, ..well.clone() })));
    all.push(("self: well".into(), Input::SelfHealth(well)));
    all.push(("restored nowhere".into(), Input::Restored { service: NOWHERE, facts: Box::default() }));
    all
}

#[test]
fn every_state_and_input_lead_where_the_table_says() {
    let mut table = String::from("# state, input: the state after it, what it made the core say or do (sorted, once each)\n");
    for state in State::ALL {
        for (name, input) in inputs() {
            let mut world = in_state(*state);
            world.trace.clear();
            let outputs = world.core.step(world.now, input);
            let after = world.core.snapshot().services[0].state;
            assert!(after == *state || can_reach(*state, after), "{} -> {} by {name}", state.as_str(), after.as_str());
            let _ = writeln!(table, "{}, {name}: {}{}", state.as_str(), after.as_str(), said(&outputs));
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/core/table.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &table).expect("a writable table");
    }
    let expected = std::fs::read_to_string(&path).expect("the table");
    for (want, got) in expected.lines().zip(table.lines()) {
        assert_eq!(want, got);
    }
    assert_eq!(expected.lines().count(), table.lines().count());
}

/// One input may pass through several states, never along a way that the machine does not have.
fn can_reach(from: State, to: State) -> bool {
    let mut seen = vec![from];
    let mut at = 0;
    while at < seen.len() {
        for next in seen[at].followers() {
            if *next == to {
                return true;
            }
            if !seen.contains(next) {
                seen.push(*next);
            }
        }
        at += 1;
    }
    false
}

fn said(outputs: &[failover_core::output::Output]) -> String {
    use failover_core::output::Output;
    let mut words: Vec<String> = outputs
        .iter()
        .map(|output| match output {
            Output::Emit(event) => event.kind.as_str().to_owned(),
            Output::RunAction { action, .. } => format!("action {}", action.name()),
            Output::RunCheck { .. } => "run check".into(),
            Output::OpenSession { .. } => "open session".into(),
            Output::CloseSession { .. } => "close session".into(),
            Output::CancelRun(_) => "cancel run".into(),
            Output::Survey { .. } => "survey".into(),
            Output::CancelAction(_) => "cancel action".into(),
            Output::Journal(_) => "journal".into(),
            Output::Reply { result, .. } => {
                if result.is_ok() {
                    "accepted".into()
                } else {
                    "rejected".into()
                }
            }
        })
        .collect();
    words.sort();
    words.dedup();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

/// What the core says about one survey of the standby.
fn told(world: &mut World, findings: &[(&str, bool)]) -> String {
    let finding = |(code, blocking): &(&str, bool)| failover_core::sample::ReadinessFinding {
        code: code.parse().unwrap(),
        blocking: *blocking,
        message: format!("db2: about {code}"),
        remedy: "mend it".into(),
    };
    surveyed(world, findings.iter().map(finding).collect())
}

fn surveyed(world: &mut World, findings: Vec<failover_core::sample::ReadinessFinding>) -> String {
    let readiness = Readiness { asked: world.now, ssh: None, findings, earlier: Vec::new(), switchover: None, sources: None };
    let outputs = world.core.step(world.now, Input::Surveyed { service: ServiceId(0), server: ServerId(1), readiness });
    let mut text = String::new();
    for output in outputs {
        if let failover_core::output::Output::Emit(event) = output {
            let _ = writeln!(text, "{} {}: {}", event.severity.as_str(), event.kind.as_str(), event.message);
        }
    }
    text
}

/// Rule 157: the status has the newest.
#[test]
fn a_finding_in_which_other_numbers_stand_now_is_not_told_again() {
    let mut world = warm();
    let mut free = |blocking, message: &str| {
        let (code, remedy) = (failover_core::finding::FindingCode::HostDiskNearlyFull, "free some".into());
        let finding = failover_core::sample::ReadinessFinding { code, blocking, message: message.into(), remedy };
        let text = surveyed(&mut world, vec![finding.clone()]);
        let shown = world.core.snapshot().services.remove(0).servers.remove(1).readiness.unwrap().findings;
        assert_eq!(shown, [finding]);
        text
    };
    let said = |severity: &str, message: &str| {
        format!("{severity} readiness_changed: db2: host_disk_nearly_full: {message} (free some)\n")
    };
    assert_eq!(free(false, "25342 MiB (7 %) of 0/3000060 left"), said("warning", "25342 MiB (7 %) of 0/3000060 left"));
    assert_eq!(free(false, "25341.5 MiB (6 %) of 0/A000060 left"), "");
    // Names are no numbers.
    assert_eq!(free(false, "25341 MiB (6 %) of db3 left"), said("warning", "25341 MiB (6 %) of db3 left"));
    assert_eq!(free(false, "25341 MiB (6 %) of db4 left"), said("warning", "25341 MiB (6 %) of db4 left"));
    assert_eq!(free(true, "0 MiB (0 %) of db4 left"), said("alarm", "0 MiB (0 %) of db4 left"));
}

#[test]
fn what_blocks_a_failover_is_told_first_and_everything_by_itself() {
    let mut world = warm();
    let all = [("archive_failing", false), ("promote_right_missing", true), ("rewind_impossible", false)];
    expect_test::expect![[r"
        alarm readiness_changed: db2: promote_right_missing: about promote_right_missing (mend it)
        warning readiness_changed: db2: archive_failing: about archive_failing (mend it)
        warning readiness_changed: db2: rewind_impossible: about rewind_impossible (mend it)
    "]]
    .assert_eq(&told(&mut world, &all));
    assert_eq!(told(&mut world, &all), "");
    expect_test::expect![[r"
        warning readiness_changed: db2: fsync_off: about fsync_off (mend it)
        info readiness_changed: db2: over: archive_failing, promote_right_missing
    "]]
    .assert_eq(&told(&mut world, &[("fsync_off", false), ("rewind_impossible", false)]));
    expect_test::expect![[r"
        info readiness_changed: db2: no finding is left (over: fsync_off, rewind_impossible)
    "]]
    .assert_eq(&told(&mut world, &[]));
}

/// A standby that is fit is not announced as if a failover would go through when something else blocks it.
#[test]
fn a_ready_standby_is_no_promise_while_something_else_blocks() {
    let mut world = World::new(model(2));
    let trouble = InstanceTrouble { no_backend: false, message: "no such socket".into(), remedy: "start it".into() };
    let broken = InstanceView {
        name: "lb1".into(),
        backend: "orders".into(),
        servers: Err(trouble),
        kind: InstanceKind::Haproxy,
        gate: Vec::new(),
        unnamed: Vec::new(),
    };
    let survey = RouteSurvey { asked: world.now, instances: vec![broken] };
    world.feed(Input::RouteSurveyed { service: ServiceId(0), survey });
    assert!(world.run_until(EventKind::StandbyReady, ms(5_000)));
    let ready = world.events.iter().find(|event| event.kind == EventKind::StandbyReady).unwrap();
    let head = "db2 itself could be promoted, but this stands in the way of a failover: ";
    assert!(ready.message.starts_with(head) && ready.message.ends_with("no such socket"), "{}", ready.message);
}
