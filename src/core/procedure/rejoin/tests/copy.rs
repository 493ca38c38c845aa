//! A server gets a new copy of the primary's data: every step fails in every way, the engine is killed at each, a swap is broken off between its
//! renames. Whatever happens, what was there is kept, only a whole copy is started, nothing is begun twice, and it ends.

use super::{FORK, NEW, OLD, SYSTEM, WRONGS, World, Wrong};
use crate::copy::{CopyOrder, CopyReport, CopyState, FoundCopy};
use crate::event::EventKind;
use crate::id::ServerId;
use crate::output::{Failure, FailureKind, Report};
use crate::rejoin::{RejoinHow, RejoinOutcome, RejoinStage, Rewound};
use crate::time::Span;

const STEPS: [&str; 12] = [
    "read_rewind",
    "prove_fence",
    "read_history",
    "read_divergence",
    "measure_data",
    "find_copy",
    "copy_data",
    "read_copy",
    "swap_data",
    "follow_primary",
    "start_standby",
    "read_positions",
];

/// What is at the place of the data directory and beside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    vacant: bool,
    /// The old directory has its name no more.
    renamed: bool,
    /// The copy is the data directory.
    swapped: bool,
    /// Looks until the copy is whole.
    copying: Option<u8>,
    whole: bool,
    failed: bool,
    begun: u32,
    /// A swap comes only so far as its first rename, so often.
    breaks: u32,
    /// It is started behind the engine's back when the copy is whole.
    meddled: bool,
    hindrance: Option<&'static str>,
    too_big: bool,
}

impl Place {
    /// What holds at any moment.
    pub(super) fn check(&self, runs: bool) {
        assert!(self.begun <= 1, "a copy is begun once: {self:?}");
        assert!(
            !self.swapped || self.whole && (self.vacant || self.renamed),
            "only a whole copy, and what was there is kept: {self:?}"
        );
        assert!(!runs || self.begun == 0 || self.swapped || self.meddled, "half a copy is never started: {self:?}");
    }

    fn state(&self) -> CopyState {
        match self.copying {
            _ if self.swapped => CopyState::Swapped,
            _ if self.failed => CopyState::Failed,
            _ if self.whole && self.renamed => CopyState::Swapping,
            _ if self.whole => CopyState::Done,
            Some(left) => CopyState::Running { done: u64::from(4 - left), all: 4 },
            None => CopyState::Not,
        }
    }
}

impl World {
    /// What the host does about a copy.
    pub(super) fn copy(&mut self, server: ServerId, order: &CopyOrder) -> Result<Report, Failure> {
        let (runs, slot) = (self.host.runs, self.host.slot.map(str::to_owned));
        let known = self.durable.as_ref().and_then(|durable| durable.rejoin.clone());
        let place = &mut self.host.copy;
        assert_eq!(server, if *order == CopyOrder::Measure { NEW } else { OLD });
        let report = match order {
            CopyOrder::Measure => {
                let hindrances = if place.too_big { vec!["tablespaces of the primary".to_owned()] } else { Vec::new() };
                CopyReport::Size { kib: 4096, hindrances }
            }
            CopyOrder::Find { primary, vacant, kib } => {
                assert_eq!((*primary, *vacant, *kib), (NEW, place.vacant, 4096));
                let hindrances = place.hindrance.iter().map(|why| (*why).to_owned()).collect();
                CopyReport::Found(FoundCopy { attempt: 1, state: place.state(), slot, hindrances })
            }
            CopyOrder::Begin { attempt, .. } => {
                let known = known.expect("it is journaled");
                assert_eq!(
                    (known.stage, known.attempt),
                    (RejoinStage::Copy, Some(*attempt)),
                    "the journal says so before it begins"
                );
                assert!(place.hindrance.is_none() && !place.too_big && !runs);
                // The host begins it once.
                if place.begun == 0 {
                    (place.begun, place.copying) = (1, Some(4));
                }
                CopyReport::Done { message: "begun".to_owned() }
            }
            CopyOrder::Read { .. } => {
                let state = place.state();
                match &mut place.copying {
                    Some(0) if !place.failed => {
                        (place.copying, place.whole) = (None, true);
                        if place.meddled {
                            self.host.runs = true;
                        }
                    }
                    Some(left) => *left -= 1,
                    None => {}
                }
                CopyReport::State { state, message: "as it is".to_owned() }
            }
            CopyOrder::Swap { system_id, timeline, .. } => {
                assert_eq!((*system_id, *timeline), (SYSTEM, 2));
                if !place.whole || runs {
                    return Err(Failure::refused("there is no whole copy, or it runs", ""));
                }
                place.renamed = !place.vacant;
                if place.breaks > 0 {
                    place.breaks -= 1;
                    return Err(Failure::unknown("it was broken off between two renames", ""));
                }
                place.swapped = true;
                // What is there now is the primary's.
                (self.host.ahead, self.host.broken) = (0, false);
                let kept = place.renamed.then(|| "/data.failover-old-1".to_owned());
                CopyReport::Swapped { kept, kib: Some(2048) }
            }
        };
        Ok(Report::Copy(report))
    }
}

/// An old primary whose rewind failed.
fn ruined() -> World {
    let mut world = World::new(700);
    (world.host.broken, world.host.rewinds, world.host.kept) = (true, 1, true);
    world
}

/// A server where nothing is.
fn vacant() -> World {
    let mut world = World::new(0);
    world.host.copy.vacant = true;
    world
}

fn both() -> [(fn() -> World, RejoinHow); 2] {
    [(ruined, RejoinHow::Rebuild), (vacant, RejoinHow::Clone)]
}

/// Rules 227, 229.
#[test]
fn one_that_cannot_be_rewound_gets_a_new_copy_and_what_was_there_is_kept() {
    let mut world = ruined();
    world.order(RejoinHow::Rebuild);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    assert_eq!(
        world.steps[..7],
        ["read_rewind", "prove_fence", "read_history", "read_divergence", "measure_data", "find_copy", "copy_data"]
    );
    let swap = world.steps.iter().position(|step| *step == "swap_data").unwrap();
    assert_eq!(world.steps[swap - 1], "prove_fence", "proven again right before");
    assert!(world.host.copy.renamed && world.host.runs);
    assert!(world.told.contains(&EventKind::CopyProgress) && world.told.contains(&EventKind::OldDataKept));
    assert!(!world.steps.contains(&"rewind"));
}

/// It is kept, and its number is told all the same.
#[test]
fn what_only_the_old_log_has_is_told_before_it_is_rebuilt() {
    let mut world = World::new(700);
    world.order(RejoinHow::Rebuild);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    assert!(world.told.contains(&EventKind::LostTransactions) && !world.host.kept);
    let mut again = ruined();
    again.order(RejoinHow::Rebuild);
    assert_eq!(again.settle(), Some(RejoinOutcome::Completed));
    assert!(!again.told.contains(&EventKind::LostTransactions), "that was counted before its rewind");
}

/// Rule 232.
#[test]
fn where_nothing_is_a_server_comes_from_nothing_to_streaming() {
    let mut world = vacant();
    world.order(RejoinHow::Clone);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    assert_eq!(world.steps[..3], ["measure_data", "find_copy", "copy_data"]);
    assert!(world.host.runs && !world.host.copy.renamed && !world.told.contains(&EventKind::OldDataKept));
}

/// Rule 228.
#[test]
fn what_stands_in_the_way_is_said_before_anything_is_begun() {
    for (make, how) in both() {
        for too_big in [false, true] {
            let mut world = make();
            world.host.copy.hindrance = (!too_big).then_some("copy_full only 1 MiB is free");
            world.host.copy.too_big = too_big;
            world.order(how);
            assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
            assert!(world.host.copy.begun == 0 && !world.steps.contains(&"copy_data"), "{:?}", world.steps);
        }
    }
}

#[test]
fn a_dry_run_of_a_copy_changes_nothing() {
    for (make, how, steps) in [
        (
            ruined as fn() -> World,
            RejoinHow::DryRebuild,
            &["prove_fence", "read_history", "read_divergence", "measure_data", "find_copy"][..],
        ),
        (vacant, RejoinHow::DryClone, &["measure_data", "find_copy"][..]),
    ] {
        let mut world = make();
        world.order(how);
        assert_eq!(world.settle(), Some(RejoinOutcome::DryRun));
        assert_eq!(world.steps, steps);
        assert!(world.durable.as_ref().is_none_or(|durable| durable.rejoin.is_none()));
    }
}

/// Rule 229: a rewind that runs writes there.
#[test]
fn nothing_is_copied_beside_a_rewind_that_runs() {
    let mut world = World::new(700);
    (world.host.rewinding, world.host.rewinds, world.host.kept) = (Some(3), 1, true);
    world.order(RejoinHow::Rebuild);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert!(world.steps == ["read_rewind"] && world.host.copy.begun == 0);
}

/// Rule 229.
#[test]
fn one_that_was_started_meanwhile_is_not_replaced() {
    let mut world = World::new(0);
    world.host.copy.meddled = true;
    world.order(RejoinHow::Rebuild);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert!(!world.steps.contains(&"swap_data") && !world.host.copy.renamed);
}

/// Rule 230.
#[test]
fn a_copy_that_failed_is_never_used() {
    for (make, how) in both() {
        let mut world = make();
        world.host.copy.failed = true;
        world.host.copy.begun = 1;
        world.order(how);
        assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
        assert!(!world.host.runs && !world.host.copy.swapped && !world.steps.contains(&"swap_data"));
    }
}

/// Rule 231: the next try finishes it, in this engine as in the next one.
#[test]
fn a_swap_that_was_broken_off_is_finished_and_where_it_cannot_be_a_person_is_called() {
    let mut world = ruined();
    world.host.copy.breaks = 2;
    world.order(RejoinHow::Rebuild);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    let mut world = ruined();
    world.host.copy.breaks = u32::MAX;
    world.order(RejoinHow::Rebuild);
    assert_eq!(world.settle(), Some(RejoinOutcome::Failed));
    let last = world.core.services[0].background.last_rejoin.clone().unwrap();
    assert!(!world.host.runs && last.message.contains("has another name"), "{last:?}");
}

/// Every step goes wrong in every way, once and for ever.
#[test]
fn whatever_goes_wrong_with_a_copy_it_ends_and_is_safe() {
    for (make, how) in both() {
        for step in STEPS {
            for wrong in WRONGS {
                for times in [1, u32::MAX] {
                    let mut world = make();
                    world.wrong.insert(step, (wrong, times));
                    world.order(how);
                    let ended = world.settle();
                    let how = format!("{how:?} {step} {wrong:?} {times}: {ended:?} {:?}", world.host);
                    assert!(ended.is_some(), "{how}");
                    if ended == Some(RejoinOutcome::Completed) {
                        assert!(world.host.runs && world.host.follows && world.host.copy.swapped, "{how}");
                    }
                    if ended == Some(RejoinOutcome::Refused) {
                        assert!(!world.host.follows && !world.host.runs && !world.host.copy.swapped, "{how}");
                    }
                }
            }
        }
    }
}

/// The engine is killed at each step, before its effect and behind it: the next one goes on, or says why not.
#[test]
fn an_engine_that_is_killed_during_a_copy_is_followed_by_one_that_goes_on() {
    for (make, how) in both() {
        for step in STEPS {
            for with_effect in [false, true] {
                let mut world = make();
                world.kill = Some((step, with_effect));
                world.host.copy.breaks = u32::from(step == "swap_data" && with_effect && how == RejoinHow::Rebuild);
                world.order(how);
                let ended = world.settle();
                let how = format!("{how:?} {step} {with_effect}: {ended:?} {:?} {:?}", world.host, world.steps);
                let lost = step == "copy_data" && !with_effect;
                let expected = if lost { RejoinOutcome::Refused } else { RejoinOutcome::Completed };
                assert_eq!(ended, Some(expected), "{how}");
                assert_eq!(world.host.runs, !lost, "{how}");
            }
        }
    }
}

#[test]
fn a_stopping_engine_leaves_a_copy_to_the_next_one() {
    for (make, how) in both() {
        for step in STEPS {
            let mut world = make();
            world.stop_at = Some(step);
            world.order(how);
            world.until(Span::from_millis(60_000));
            assert!(world.core.services[0].background.rejoin.is_none(), "{step}");
            if let Some(durable) = world.durable.clone().filter(|durable| durable.rejoin.is_some()) {
                world.restart(durable);
                let ended = world.settle();
                assert!(world.host.runs && ended == Some(RejoinOutcome::Completed), "{step}: {ended:?} {:?}", world.steps);
            }
        }
    }
}

/// Between two engines somebody starts it: the order is over, and does not come back when the server stops one day.
#[test]
fn an_order_to_copy_ends_where_the_server_was_started() {
    for (make, how) in both() {
        let mut world = make();
        (world.host.broken, world.host.ahead) = (false, 0);
        world.stop_at = Some("read_copy");
        world.order(how);
        world.until(Span::from_millis(60_000));
        let durable = world.durable.clone().filter(|durable| durable.rejoin.is_some()).unwrap();
        (world.host.runs, world.host.copy.meddled) = (true, true);
        world.restart(durable);
        world.look();
        assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
        world.host.runs = false;
        world.until(Span::from_millis(600_000));
        assert!(!world.host.copy.swapped && !world.steps.contains(&"swap_data"), "{:?}", world.steps);
    }
}

/// A failover comes first: it stops between two steps, and the copy is not used by another order that finds it stale.
#[test]
fn a_change_of_the_primary_ends_a_copy_between_two_steps() {
    let mut world = ruined();
    world.order(RejoinHow::Rebuild);
    world.until(Span::from_millis(300));
    assert_eq!(world.host.copy.begun, 1);
    world.core.services[0].two_primaries = true;
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert!(!world.host.runs && !world.host.copy.swapped);
    world.ended.clear();
    world.core.services[0].two_primaries = false;
    world.order(RejoinHow::Rebuild);
    assert_eq!(world.settle(), Some(RejoinOutcome::Completed));
    assert_eq!(world.host.copy.begun, 1, "it went on meanwhile, and is taken up");
}

/// Rule 233: its own slot is there before the copy begins.
#[test]
fn the_slot_of_a_copy_is_made_before_it_begins() {
    let mut world = ruined();
    world.host.slot = Some("db1");
    world.wrong.insert("make_slot", (Wrong::Undone(FailureKind::NoEffect), u32::MAX));
    world.order(RejoinHow::Rebuild);
    assert_eq!(world.settle(), Some(RejoinOutcome::Refused));
    assert_eq!(world.host.copy.begun, 0);
}

#[test]
fn by_itself_no_server_gets_a_new_copy() {
    let mut world = ruined();
    world.core.services[0].model.postgres.rejoin = crate::model::OnRejoin::Auto;
    world.until(Span::from_millis(20 * 60_000));
    assert!(world.host.copy.begun == 0 && !world.steps.contains(&"find_copy"), "{:?}", world.steps);
    assert_eq!(world.host.rewound, matches!(Rewound::Done, Rewound::Not), "and it is not rewound again: {FORK}");
}
