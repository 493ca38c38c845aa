//! The steps by which a server gets a new copy of the primary's data: in the place of an old one, or where nothing is.
//!
//! The copy is made beside the data directory, and takes its place by renames when it is whole, of the cluster and of the primary's timeline.
//! What was there is kept. Until then nothing of the server is changed, so that every failure before leaves it as it was.

use super::{
    LONG, LOOK_AGAIN, ONE_TRY, PATIENCE, REWIND_PATIENCE, Rejoin, Stage, TRIES, ask_both, make_slot, meet, prove, refuse,
    slot_made, started, step, streams, stuck, tell_to_follow, told_to_follow, with_remedy, words,
};
use crate::copy::{CopyOrder, CopyReport, CopyState, FoundCopy};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::output::{Action, Failure, FailureKind, Report};
use crate::plan::End;
use crate::procedure::{Next, OnStop, Outcome, Step, Table, When};
use crate::rejoin::{RejoinEnded, RejoinHow, RejoinOutcome, RejoinStage, Rejoining, Rewound};
use crate::sample::FenceLevel;
use crate::service::Service;
use crate::time::Span;

pub(super) static COPY: Table<Rejoin> = Table {
    steps: &[
        Step { without: meet, ..step(Stage::Meet, |_, _| None, |_, _, _, _| Next::To(Stage::Meet)) },
        Step { when: When::If(|_, run, _| run.how == RejoinHow::Rebuild), ..step(Stage::Restore, restore, restored) },
        Step { when: When::If(|_, run, _| !run.how.is_vacant()), ..step(Stage::Prove, prove, super::proven) },
        Step { when: When::If(|_, run, _| !run.how.is_vacant()), ..step(Stage::History, super::read_history, history_read) },
        Step { when: When::If(|_, run, _| !run.switches.is_empty()), ..step(Stage::Diverge, super::read_divergence, diverged) },
        step(Stage::Measure, |_, run| Some((Action::Copy { server: run.primary, order: CopyOrder::Measure }, LONG)), measured),
        step(Stage::Find, find, found),
        Step { when: When::If(|_, run, _| run.slot().is_some()), ..step(Stage::Slot, make_slot, slot_made) },
        step(Stage::Copy, begin, begun),
        Step { when: When::Sent, ..step(Stage::Copying, read, copying) },
        Step { when: When::Sent, ..step(Stage::ProveAgain, prove, proven_again) },
        Step { when: When::Sent, ..step(Stage::Swap, swap, swapped) },
        step(Stage::Follow, tell_to_follow, told_to_follow),
        step(Stage::Start, |_, run| Some((Action::StartStandby { server: run.server }, LONG)), started),
        step(Stage::Stream, ask_both, streams),
    ],
    no_return: Some(Stage::Swap),
    goes_on: None,
    on_stop: OnStop::LeftToTheNext,
};

/// A tenth of a long copy is told.
const TENTHS: u64 = 10;
/// Looking at what is left of earlier copies, and how big it is.
const LOOKING: Span = Span::from_millis(60_000);

/// What is known of the copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Copying {
    /// What the primary's data need.
    kib: u64,
    /// What of them cannot be copied.
    hindrances: Vec<String>,
    /// What was found where it is to be.
    pub(super) found: FoundCopy,
    /// So many tenths were told.
    told: u64,
    /// How often its swap failed, and why the last time.
    failed: Option<(u32, Failure)>,
}

impl Copying {
    /// One that an earlier engine had begun.
    pub(super) fn resumed(attempt: u32) -> Copying {
        Copying { found: FoundCopy { attempt, ..FoundCopy::default() }, ..Copying::default() }
    }
}

/// A rewind that was broken off gets its guard and its name back.
fn restore(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    Some((Action::ReadRewind { server: run.server }, ONE_TRY))
}

fn restored(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::Rewind { state: Rewound::Running { .. }, .. }) => {
            refuse("it is being rewound: wait for that, or end pg_rewind on its host".to_owned())
        }
        Ok(Report::Rewind { .. }) => run.onward(fx),
        other => run.ask_again(Stage::Restore, "whether it is being rewound could not be asked", other),
    }
}

/// What cannot be compared is copied all the same: the old directory is kept.
fn history_read(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::History { timeline, switches }) if timeline == run.timeline => run.switches = switches,
        other => run.course.warn(format!("the history of the primary's timeline could not be read: {}", words(other))),
    }
    run.onward(fx)
}

/// What only its log has is told also where all of it is kept. What a rewind has left that did not end well was counted before that.
fn diverged(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::Divergence(divergence)) if divergence.rewound == Rewound::Not => {
            run.divergence = Some(divergence);
            run.remember(RejoinStage::Look, service, fx);
            if let Some(known) = &run.divergence {
                service.tell_lost(run.server, known, fx);
            }
        }
        Ok(_) => {}
        Err(failure) => run.course.warn(format!("what its log has could not be read: {}", failure.message)),
    }
    run.onward(fx)
}

fn measured(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::Copy(CopyReport::Size { kib, hindrances })) => {
            (run.copy.kib, run.copy.hindrances) = (kib, hindrances);
            run.onward(fx)
        }
        other => run.ask_again(Stage::Measure, "how big the primary is could not be asked", other),
    }
}

fn find(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let order = CopyOrder::Find { primary: run.primary, vacant: run.how.is_vacant(), kib: run.copy.kib };
    Some((Action::Copy { server: run.server, order }, LOOKING))
}

fn found(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    let found = match outcome {
        Ok(Report::Copy(CopyReport::Found(found))) => found,
        other => return run.ask_again(Stage::Find, "whether it can be copied could not be asked", other),
    };
    let hindrances: Vec<&str> = run.copy.hindrances.iter().chain(&found.hindrances).map(String::as_str).collect();
    if !hindrances.is_empty() {
        return refuse(format!("it cannot get a new copy: {}", hindrances.join("; ")));
    }
    let (mib, attempt) = (run.copy.kib.div_ceil(1024), found.attempt);
    let under_way = found.state != CopyState::Not;
    run.copy.found = found;
    if run.how.is_dry() {
        let old = if run.how.is_vacant() {
            String::new()
        } else {
            format!("; its own data directory would be kept as DIR.failover-old-{attempt}")
        };
        run.would = Some(format!("{mib} MiB would be copied from the primary, and it would be started{old}"));
        return Next::End(End::Completed);
    }
    if under_way {
        run.remember(RejoinStage::Copy, service, fx);
        return Next::To(Stage::Copying);
    }
    run.onward(fx)
}

/// From here on nobody begins it again: what is not known is looked at.
fn begin(service: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let attempt = run.copy.found.attempt;
    let known = service.durable.rejoin.as_ref();
    let remembered = known.is_some_and(|known| known.stage == RejoinStage::Copy && known.attempt == Some(attempt));
    let order = CopyOrder::Begin { primary: run.primary, vacant: run.how.is_vacant(), attempt, kib: run.copy.kib };
    remembered.then_some((Action::Copy { server: run.server, order }, ONE_TRY))
}

fn begun(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Err(failure) if failure.had_no_effect() => refuse(format!("it was not copied: {}", with_remedy(&failure))),
        // Whatever came of it shows.
        _ => {
            run.course.deadline = fx.now + REWIND_PATIENCE;
            Next::To(Stage::Copying)
        }
    }
}

fn read(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let order = CopyOrder::Read { vacant: run.how.is_vacant(), attempt: run.copy.found.attempt };
    Some((Action::Copy { server: run.server, order }, ONE_TRY))
}

fn copying(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    let (state, message) = match outcome {
        Ok(Report::Copy(CopyReport::State { state, message })) => (state, message),
        other => return Next::Again(Stage::Copying, format!("how far the copy is could not be asked: {}", words(other))),
    };
    if !matches!(state, CopyState::Running { .. } | CopyState::Not | CopyState::Failed) {
        run.course.deadline = fx.now + LONG;
    }
    match state {
        CopyState::Running { done, all } => {
            run.course.progressed(done, all, REWIND_PATIENCE, fx.now);
            service.tell_copied(run, done, all, fx);
            Next::At(Stage::Copying, fx.now + LOOK_AGAIN)
        }
        CopyState::Not => refuse("the order to copy did not arrive: nothing was changed".to_owned()),
        CopyState::Failed => refuse(format!("the copy was not made: {message}; nothing of the server was changed")),
        CopyState::Done => match run.untouched().gives_up_the_swap() {
            Some(why) => refuse(format!("{why}; the copy is not used, and nothing of the server was changed")),
            None if run.how.is_vacant() => Next::To(Stage::Swap),
            None => Next::To(Stage::ProveAgain),
        },
        // Nothing is at its place: there is nothing that could run.
        CopyState::Swapping => match run.gives_up_the_swap() {
            Some(why) => stuck(format!("{why}; its data directory has another name: see DIR.failover-copy and DIR.failover-old")),
            None => Next::To(Stage::Swap),
        },
        // Where the old directory is could not be heard, and that it is done is certain.
        CopyState::Swapped if run.gives_up_the_swap().is_some() => {
            run.touched = true;
            Next::From(Stage::Follow)
        }
        CopyState::Swapped => Next::To(Stage::Swap),
    }
}

/// It may have been started since.
fn proven_again(_: &mut Service, run: &mut Rejoin, outcome: Outcome, _: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::Fence(report)) if report.level >= FenceLevel::ProvenStopped => Next::To(Stage::Swap),
        Ok(Report::Fence(report)) => refuse(format!("it is not proven that no process of it is left: {}", report.proof)),
        other => run.ask_again(Stage::ProveAgain, "whether a process of it is left could not be asked", other),
    }
}

fn swap(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let (vacant, attempt, system_id, timeline) = (run.how.is_vacant(), run.copy.found.attempt, run.system_id, run.timeline);
    Some((Action::Copy { server: run.server, order: CopyOrder::Swap { vacant, attempt, system_id, timeline } }, LONG))
}

fn swapped(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::Copy(CopyReport::Swapped { kept, kib })) => {
            run.touched = true;
            run.course.deadline = fx.now + PATIENCE;
            if let Some(kept) = kept {
                service.tell_kept(run, &kept, kib, fx);
            }
            Next::From(Stage::Follow)
        }
        // Whatever came of it shows.
        Err(failure) => {
            let times = run.copy.failed.as_ref().map_or(0, |(times, _)| *times) + 1;
            run.touched |= !failure.had_no_effect();
            run.copy.failed = Some((times, failure));
            Next::At(Stage::Copying, fx.now + LOOK_AGAIN)
        }
        other => Next::Again(Stage::Swap, words(other)),
    }
}

impl Rejoin {
    /// Its copy is beside the data directory: a swap that failed has not begun.
    fn untouched(&mut self) -> &Rejoin {
        self.touched = false;
        self
    }

    /// Why its swap is not tried again.
    fn gives_up_the_swap(&self) -> Option<String> {
        let (times, failure) = self.copy.failed.as_ref()?;
        let for_good = failure.kind == FailureKind::Refused || *times > TRIES;
        for_good.then(|| format!("the copy could not take the place of the data directory: {}", with_remedy(failure)))
    }
}

impl Service {
    /// Somebody has started it meanwhile: when it stops one day, no copy of today is to take its place.
    pub(super) fn forget_copy_of_one_that_runs(&mut self, known: &Rejoining, fx: &mut Effects) {
        self.durable.rejoin = None;
        let message = format!("{} was started meanwhile: its copy is not used", self.server_name(known.server));
        let (server, divergence) = (known.server, known.divergence.clone());
        let ended = RejoinEnded { server, outcome: RejoinOutcome::Refused, message, divergence };
        self.tell_rejoin_ended(&ended, fx);
        self.background.last_rejoin = Some(ended);
        self.journal_facts(fx);
    }

    fn tell_copied(&self, run: &mut Rejoin, done: u64, all: u64, fx: &mut Effects) {
        let Some(tenths) = done.saturating_mul(TENTHS).checked_div(all) else { return };
        if tenths <= run.copy.told {
            return;
        }
        run.copy.told = tenths;
        let percent = (done.saturating_mul(100) / all).min(100);
        let what = if run.how.is_vacant() { "cloning" } else { "rebuilding" };
        fx.emit(
            EventKind::CopyProgress,
            Severity::Info,
            self.about_server(run.server),
            format!("{what} {}: {percent} % of {} MiB", self.server_name(run.server), all.div_ceil(1024)),
            vec![
                ("percent", Field::Int(percent)),
                ("bytes", Field::Int(done.saturating_mul(1024))),
                ("of_bytes", Field::Int(all.saturating_mul(1024))),
            ],
        );
    }

    fn tell_kept(&self, run: &Rejoin, kept: &str, kib: Option<u64>, fx: &mut Effects) {
        let size = kib.map_or_else(|| "of unknown size".to_owned(), |kib| format!("{} MiB", kib.div_ceil(1024)));
        let mut fields = vec![("path", text(kept))];
        fields.extend(kib.map(|kib| ("bytes", Field::Int(kib.saturating_mul(1024)))));
        fx.emit(
            EventKind::OldDataKept,
            Severity::Warning,
            self.about_server(run.server),
            format!("the old data directory of {} is kept as {kept} on its host ({size})", self.server_name(run.server)),
            fields,
        );
    }
}
