//! Every fault of the demo on real servers, through the command line, judged as the demo judges them.

mod support;

use std::time::Duration;

use support::pair::PairOptions;
use support::recording::Recording;
use support::scenario::{Fault, News, Scenario};
use support::trial::turn;

/// One fault from start to judgement. A failed judgement shows every event, because that is what one wants to see then.
/// `None` where the machine does not permit the fault.
fn suffer(fault: Fault, synchronous: bool) -> Option<Recording> {
    let _turn = turn();
    if let Some(why) = fault.impossible() {
        println!("skipped: {}: {why}", fault.as_str());
        return None;
    }
    let options = fault.set_up(PairOptions { synchronous, fsync: false, ..PairOptions::default() });
    let mut scenario = Scenario::start(&options, |_| {}).unwrap();
    let mut told = Vec::new();
    let mut listen = |news: News<'_>| match news {
        News::Event(event) => told.push(format!("{} {} {}", event.at, event.kind, event.message)),
        News::Note(at, words) => told.push(format!("{at} >>> {words}")),
    };
    scenario.quiet(Duration::from_secs(1), &mut listen).unwrap();
    scenario.suffer(fault, &mut listen).unwrap();
    let (run, _pair) = scenario.finish().unwrap();
    let wrong: Vec<&str> = run.findings.iter().filter(|finding| !finding.ok).map(|finding| finding.text.as_str()).collect();
    assert!(wrong.is_empty(), "{}: {wrong:#?}\n{}", fault.as_str(), told.join("\n"));
    Some(run)
}

#[test]
fn a_killed_primary_is_replaced() {
    let run = suffer(Fault::Kill, false).unwrap();
    assert!(!run.evidence().is_empty());
    for phase in ["detect", "confirm", "fence", "promote", "route", "verify"] {
        assert!(run.phase_nanos(phase).is_some(), "{phase}");
    }
}

#[test]
fn a_killed_primary_is_replaced_without_loss_where_replication_is_synchronous() {
    let run = suffer(Fault::Kill, true).unwrap();
    assert!(run.table.unwrap().missing.is_empty());
}

#[test]
fn a_hung_primary_is_killed_for_good_and_replaced() {
    suffer(Fault::Hang, false);
}

#[test]
fn a_short_freeze_changes_nothing() {
    suffer(Fault::Freeze, false);
}

#[test]
fn a_clean_restart_changes_nothing() {
    suffer(Fault::Restart, false);
}

#[test]
fn a_primary_that_is_stopped_and_stays_so_is_replaced_after_the_grace() {
    suffer(Fault::Stop, false);
}

#[test]
fn sessions_ended_by_an_administrator_change_nothing() {
    suffer(Fault::Terminate, false);
}

#[test]
fn crash_recovery_changes_nothing() {
    suffer(Fault::Crash, false);
}

#[test]
fn exhausted_slots_change_nothing() {
    suffer(Fault::Saturate, false);
}

#[test]
fn a_postmaster_that_hangs_alone_is_told_and_left_to_the_operator() {
    suffer(Fault::Postmaster, false);
}

#[test]
fn a_pause_of_the_engine_changes_nothing() {
    suffer(Fault::Clock, false);
}

#[test]
fn without_a_standby_a_person_is_called() {
    suffer(Fault::Standby, false);
}

#[test]
fn a_successor_that_dies_in_the_cooldown_is_not_replaced() {
    suffer(Fault::Flap, false);
}

#[test]
fn an_engine_cut_from_the_primary_alone_does_nothing() {
    suffer(Fault::Partition, false);
}

#[test]
fn a_primary_cut_from_everybody_is_replaced_once_its_power_is_off() {
    suffer(Fault::Isolate, false);
}

#[test]
fn a_host_without_power_is_replaced_by_the_word_of_the_fence_command() {
    suffer(Fault::Poweroff, false);
}

#[test]
fn a_host_without_power_and_without_proof_is_a_persons_to_judge() {
    suffer(Fault::PoweroffUnproven, false);
}

#[test]
fn a_host_without_power_is_replaced_where_the_route_is_the_only_way() {
    suffer(Fault::PoweroffExclusive, false);
}

#[test]
fn sessions_that_outlive_their_postmaster_are_ended_before_the_promotion() {
    suffer(Fault::Orphan, false);
}

#[test]
fn a_primary_whose_log_has_no_room_is_replaced() {
    suffer(Fault::DiskFull, false);
}

#[test]
fn a_standby_whose_log_has_no_room_is_known_before_it_is_needed() {
    suffer(Fault::DiskFullCandidate, false);
}

#[test]
fn a_slow_primary_stays() {
    suffer(Fault::Slow, false);
}

#[test]
fn an_engine_killed_at_the_fence_leaves_one_primary_at_most() {
    suffer(Fault::Engine, false);
}

#[test]
fn an_engine_killed_at_the_promotion_leaves_one_primary_at_most() {
    suffer(Fault::EngineLate, false);
}
