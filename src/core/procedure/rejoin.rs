//! The steps by which an old primary comes back as a standby of the present one.
//!
//! Nothing is changed on it before its fence is proven again, and before what its log has that the new primary lacks is counted, journaled
//! and told. It never loses its guard, `standby.signal`, in a place where somebody could start it. A failover is not delayed by it: where
//! one begins it stops between two steps, and what it has done can be taken up again.

mod copy;

use serde::{Deserialize, Serialize};

use super::course::Course;
use super::task::Task;
use super::{Judge, Next, OnStop, Outcome, Phase, Procedure, Step, Table, When};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::id::{Generation, ServerId};
use crate::model::OnRejoin;
use crate::output::{Action, EndedHow, Failure, Report};
use crate::plan::End;
use crate::rejoin::{Divergence, RejoinEnded, RejoinHow, RejoinOutcome, RejoinStage, Rejoining, Rewound};
use crate::sample::{FenceLevel, Lsn, Position, Sample};
use crate::service::gate::Act;
use crate::service::{FRESH, Service, Surroundings};
use crate::time::{Mono, Span};
use crate::trigger::State;

/// So long a step may bring nothing new.
const PATIENCE: Span = Span::from_millis(120_000);
/// A rewind that copies nothing for so long is given up by the engine; it goes on by itself, and a later order looks how it ended.
const REWIND_PATIENCE: Span = Span::from_millis(3_600_000);
/// Between two looks at a rewind.
const LOOK_AGAIN: Span = Span::from_millis(500);
/// Between two looks at a standby that has been started.
const ASK_AGAIN: Span = Span::from_millis(100);
/// A try of a step that only asks.
const ONE_TRY: Span = Span::from_millis(20_000);
/// To read and copy a long log.
const LONG: Span = Span::from_millis(600_000);
/// Before a return that could not even be looked at begins by itself again: at first.
const SELDOM: Span = Span::from_millis(60_000);
/// So often a question that nobody answered is asked again.
const TRIES: u32 = 4;
/// So long the primary's own word is waited for.
const MEET: Span = Span::from_millis(30_000);

/// The steps of a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Who the primary is, and on which timeline, by its own word.
    Meet,
    /// The fence is proven again.
    Prove,
    /// The new primary writes a checkpoint, so that its control file names its timeline.
    Checkpoint,
    /// Where the new primary's timeline left the ones before.
    History,
    /// What the old log has behind that.
    Diverge,
    /// The new primary has the slot that it uses by its settings.
    Slot,
    /// That log is copied.
    Keep,
    /// `pg_rewind` is begun.
    Rewind,
    /// It is waited for.
    Watch,
    /// A rewind that was broken off gets its name back before a copy.
    Restore,
    /// How much a copy needs.
    Measure,
    /// What stands in its way.
    Find,
    /// It is begun.
    Copy,
    /// It is waited for.
    Copying,
    /// The fence is proven again before it takes the place of the data directory.
    ProveAgain,
    /// It takes that.
    Swap,
    /// The settings of a standby are written.
    Follow,
    /// It is started.
    Start,
    /// It streams, and has replayed what was there.
    Stream,
    Over,
}

impl Phase for Stage {
    const OVER: Stage = Stage::Over;
}

/// An old primary that comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejoin {
    course: Course<Stage>,
    server: ServerId,
    /// Whom it is to follow, and on which timeline.
    primary: ServerId,
    timeline: u32,
    system_id: u64,
    how: RejoinHow,
    /// An earlier engine may have started it.
    may_run: bool,
    /// Where an earlier engine was with it.
    resumes_at: Option<Stage>,
    /// Where the timelines before the primary's were left.
    switches: Vec<(u32, Lsn)>,
    divergence: Option<Divergence>,
    copy: copy::Copying,
    checkpointed: bool,
    /// What has to be replayed before it counts as a standby.
    marker: Option<Lsn>,
    /// Something was changed on it.
    touched: bool,
    /// What would be done, where only that is to be said.
    would: Option<String>,
}

/// Between two tries of a step, at most.
const PAUSE: Span = super::course::PAUSE;

/// What a host says that does not know how to reach the primary.
const NO_WAY: [&str; 3] = ["no_source", "unsafe_source", "inline_password"];

static TABLE: Table<Rejoin> = Table {
    steps: &[
        Step { without: meet, ..step(Stage::Meet, |_, _| None, |_, _, _, _| Next::To(Stage::Meet)) },
        step(Stage::Prove, prove, proven),
        Step {
            when: When::If(|_, run, _| !run.how.is_dry()),
            ..step(Stage::Checkpoint, |_, run| Some((Action::Checkpoint { server: run.primary }, LONG)), checkpointed)
        },
        step(Stage::History, read_history, history_read),
        step(Stage::Diverge, read_divergence, diverged),
        Step { when: When::If(|_, run, _| run.slot().is_some()), ..step(Stage::Slot, make_slot, slot_made) },
        Step { when: When::If(|_, run, _| run.is_to_rewind()), ..step(Stage::Keep, keep, kept) },
        Step { when: When::If(|_, run, _| run.is_to_rewind()), ..step(Stage::Rewind, rewind, rewind_begun) },
        Step {
            when: When::Sent,
            ..step(Stage::Watch, |_, run| Some((Action::ReadRewind { server: run.server }, ONE_TRY)), watched)
        },
        step(Stage::Follow, tell_to_follow, told_to_follow),
        step(Stage::Start, |_, run| Some((Action::StartStandby { server: run.server }, LONG)), started),
        step(Stage::Stream, ask_both, streams),
    ],
    no_return: Some(Stage::Rewind),
    goes_on: None,
    on_stop: OnStop::LeftToTheNext,
};

type Wanted = fn(&Service, &Rejoin) -> Option<(Action, Span)>;

/// A step that is always taken, and never undone.
const fn step(phase: Stage, action: Wanted, outcome: Judge<Rejoin>) -> Step<Rejoin> {
    Step { phase, when: When::Always, action, outcome, without: stopped_between, pause: PAUSE, undone_by: None }
}

/// Right after a failover its own word has not come yet.
fn meet(service: &mut Service, run: &mut Rejoin, fx: &mut Effects) -> Next<Stage> {
    if let Some(why) = service.rejoin_hindrance(run) {
        return refuse(why);
    }
    // Its own word, and not what was tracked of the log: that may be of the primary before.
    let said = service.servers[usize::from(run.primary.0)].sample.as_ref();
    let line = said.map(|(_, sample)| sample.timeline).filter(|timeline| *timeline > 0);
    match (service.durable.cluster.system_id, line) {
        (Some(system_id), Some(timeline)) if service.is_writable_now(run.primary, fx.now) => {
            (run.system_id, run.timeline) = (system_id, timeline);
            run.course.deadline = fx.now + PATIENCE.max(LONG);
            // What an earlier engine had begun goes on where it was.
            match run.resumes_at.take() {
                Some(stage) => Next::To(stage),
                None => Next::Onward,
            }
        }
        _ => Next::At(Stage::Meet, fx.now + ASK_AGAIN),
    }
}

fn prove(service: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let view_confirmed = service.servers[usize::from(run.server.0)].view_confirmed;
    Some((Action::ProveFence { server: run.server, view_confirmed }, ONE_TRY))
}

fn proven(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::Fence(report)) if report.level >= FenceLevel::ProvenStopped => run.onward(fx),
        Ok(Report::Fence(report)) => refuse(format!("it is not proven that no process of it is left: {}", report.proof)),
        other => run.ask_again(Stage::Prove, "the engine could not ask whether a process of it is left", other),
    }
}

/// Only a rewind needs it, and that is refused without it.
fn checkpointed(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(_) => run.checkpointed = true,
        Err(failure) => run.course.warn(format!("checkpoint: {}", failure.message)),
    }
    run.onward(fx)
}

fn read_history(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    Some((Action::ReadHistory { server: run.primary, timeline: run.timeline }, ONE_TRY))
}

fn history_read(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::History { timeline, switches }) if timeline == run.timeline => {
            run.switches = switches;
            run.onward(fx)
        }
        other => run.ask_again(Stage::History, "the history of the new primary's timeline could not be read", other),
    }
}

fn read_divergence(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let (server, primary, system_id, timeline) = (run.server, run.primary, run.system_id, run.timeline);
    Some((Action::ReadDivergence { server, primary, system_id, timeline, switches: run.switches.clone() }, LONG))
}

/// What is lost is journaled and told here, before anything is changed.
fn diverged(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    let divergence = match outcome {
        Ok(Report::Divergence(divergence)) => divergence,
        other => return run.ask_again(Stage::Diverge, "the engine could not read what its log has", other),
    };
    run.divergence = Some(divergence.clone());
    run.remember(RejoinStage::Look, service, fx);
    service.tell_lost(run.server, &divergence, fx);
    let obstacle = run.obstacle(&divergence);
    if run.how == RejoinHow::DryRun && obstacle.is_none() {
        let then = if divergence.needs_rewind() {
            "its log would be kept, and it would be rewound and started"
        } else {
            "it would be started as it is"
        };
        run.would = Some(format!("{}; {then}", divergence.sentence()));
        return Next::End(End::Completed);
    }
    match (obstacle, divergence.rewound) {
        (Some(why), _) => refuse(why),
        (None, Rewound::Running { .. }) => {
            run.touched = true;
            Next::To(Stage::Watch)
        }
        (None, _) => run.onward(fx),
    }
}

fn make_slot(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    Some((Action::MakeSlot { server: run.primary, slot: run.slot()?.to_owned() }, ONE_TRY))
}

fn slot_made(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        // It is dropped when its server is a standby again (rule 201).
        Ok(Report::SlotMade { created: true, .. }) => {
            if let Some(slot) = run.slot().map(str::to_owned) {
                service.durable.cluster.slots.insert((run.primary, slot));
                service.journal_facts(fx);
            }
            run.onward(fx)
        }
        Ok(_) => run.onward(fx),
        other => run.ask_again(Stage::Slot, "the new primary has not the slot that it uses (primary_slot_name)", other),
    }
}

fn keep(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let divergence = run.divergence.as_ref()?;
    let (system_id, timeline, fork) = (run.system_id, divergence.timeline, divergence.fork);
    Some((Action::KeepLog { server: run.server, system_id, timeline, fork }, LONG))
}

fn kept(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(_) => run.onward(fx),
        other => run.ask_again(Stage::Keep, "its log could not be kept", other),
    }
}

/// From here on nobody begins one again: what is not known is looked at.
fn rewind(service: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let remembered = service.durable.rejoin.as_ref().is_some_and(|known| known.stage == RejoinStage::Rewind);
    remembered.then_some((Action::Rewind { server: run.server, primary: run.primary }, ONE_TRY))
}

fn rewind_begun(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Err(failure) if failure.had_no_effect() => refuse(format!("it was not rewound: {}", with_remedy(&failure))),
        // Whatever came of it shows.
        _ => {
            run.touched = true;
            run.course.deadline = fx.now + REWIND_PATIENCE;
            Next::To(Stage::Watch)
        }
    }
}

fn watched(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(Report::Rewind { state: Rewound::Running { done, all }, .. }) => {
            run.course.progressed(done, all, REWIND_PATIENCE, fx.now);
            Next::At(Stage::Watch, fx.now + LOOK_AGAIN)
        }
        Ok(Report::Rewind { state: Rewound::Done, .. }) => {
            if let Some(divergence) = &mut run.divergence {
                divergence.rewound = Rewound::Done;
            }
            run.remember(RejoinStage::Start, service, fx);
            run.course.deadline = fx.now + PATIENCE;
            Next::From(Stage::Follow)
        }
        Ok(Report::Rewind { state: Rewound::Not, .. }) => {
            refuse("the order to rewind it did not arrive: nothing was changed".to_owned())
        }
        Ok(Report::Rewind { state: Rewound::Failed, message }) => stuck(format!(
            "pg_rewind failed: {message}; the data directory keeps its guard and has to be rebuilt (failover rejoin --rebuild)"
        )),
        other => {
            let why = words(other);
            Next::Again(Stage::Watch, format!("the engine could not ask how far the rewind is: {why}"))
        }
    }
}

fn tell_to_follow(service: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let (server, primary) = (run.server, run.primary);
    let seen = service.servers[usize::from(server.0)].replicates_as.clone();
    let configured = service.server_model(server).and_then(|model| model.replication_name.clone());
    let alias = configured.or(seen).unwrap_or_else(|| service.server_name(server));
    Some((Action::FollowPrimary { server, primary, alias }, ONE_TRY))
}

fn told_to_follow(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(_) => {
            run.touched = true;
            run.remember(RejoinStage::Start, service, fx);
            run.onward(fx)
        }
        Err(_) if run.may_run => Next::To(Stage::Stream),
        other => {
            run.touched |= other.as_ref().is_err_and(|failure| !failure.had_no_effect());
            run.ask_again(Stage::Follow, "the engine could not tell it which server to follow", other)
        }
    }
}

fn started(_: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    match outcome {
        Ok(_) => run.onward(fx),
        // It may come up all the same: that shows.
        Err(failure) if !failure.had_no_effect() || run.may_run => {
            run.course.warn(format!("start_standby: {}", failure.message));
            run.onward(fx)
        }
        other => run.ask_again(Stage::Start, "it could not be started", other),
    }
}

fn ask_both(_: &Service, run: &Rejoin) -> Option<(Action, Span)> {
    let servers = vec![run.primary, run.server];
    Some((Action::ReadPositions { servers, settle: Span::ZERO }, Span::from_millis(3_000)))
}

/// It is a standby when it streams on the primary's timeline and has replayed what the primary had when it was asked first.
fn streams(service: &mut Service, run: &mut Rejoin, outcome: Outcome, fx: &mut Effects) -> Next<Stage> {
    let Ok(Report::Positions(positions)) = outcome else {
        return Next::Again(Stage::Stream, format!("the engine could not ask both servers: {}", words(outcome)));
    };
    let of = |server: ServerId| positions.iter().find(|position| position.server == server);
    let flush = of(run.primary).and_then(|position| position.sample.as_ref().ok()).and_then(|sample| sample.flush);
    run.marker = run.marker.or(flush);
    if let Some(sample) = of(run.server).and_then(|position| position.sample.as_ref().ok()).filter(|sample| receives(run, sample))
    {
        // Its session opens later, and the primary may die before that.
        service.note_streaming(run.server, sample, fx.now);
    }
    match missing(run, of(run.server)) {
        None => Next::Onward,
        Some(why) => {
            // What it has to replay may be long.
            if let Some(replay) = of(run.server).and_then(|position| position.sample.as_ref().ok()?.replay) {
                run.course.progressed(replay.0, run.marker.unwrap_or_default().0, LONG, fx.now);
            }
            run.course.try_again(Stage::Stream, why, ASK_AGAIN, fx.now);
            Next::At(Stage::Stream, fx.now + ASK_AGAIN)
        }
    }
}

/// It is seen to receive what the primary writes.
fn receives(run: &Rejoin, sample: &Sample) -> bool {
    sample.in_recovery && sample.system_id == run.system_id && sample.timeline == run.timeline && sample.receiver.is_streaming()
}

/// Why it is not a standby yet.
fn missing(run: &Rejoin, position: Option<&Position>) -> Option<String> {
    let sample = match position.map(|position| &position.sample) {
        Some(Ok(sample)) => sample,
        Some(Err(why)) => return Some(format!("it does not answer: {why}")),
        None => return Some("it was not asked".to_owned()),
    };
    let Some(marker) = run.marker else { return Some("the primary does not say where it is".to_owned()) };
    if !sample.in_recovery {
        return Some("it is not in recovery".to_owned());
    }
    if sample.system_id != run.system_id {
        return Some("it is of another cluster".to_owned());
    }
    if sample.timeline != run.timeline {
        return Some(format!("it is on timeline {}, and the primary on {}", sample.timeline, run.timeline));
    }
    let streaming = sample.receiver.is_streaming() || matches!(sample.receiver, crate::sample::Receiver::Hidden);
    if !streaming {
        return Some("it does not receive from the primary: see its log for primary_conninfo, pg_hba.conf and slots".to_owned());
    }
    (sample.replay < Some(marker)).then(|| format!("it has not replayed up to {marker}"))
}

/// Nothing was changed since the last thing that can be taken up again.
fn refuse(why: String) -> Next<Stage> {
    Next::End(End::Left { why })
}

fn stuck(why: String) -> Next<Stage> {
    Next::End(End::Stuck { why })
}

fn with_remedy(failure: &Failure) -> String {
    if failure.remedy.is_empty() { failure.message.clone() } else { format!("{} ({})", failure.message, failure.remedy) }
}

fn words(outcome: Outcome) -> String {
    outcome.err().map_or_else(|| "the action returned an answer that does not fit it".to_owned(), |failure| with_remedy(&failure))
}

/// Between two steps something came that is more important.
fn stopped_between(service: &mut Service, run: &mut Rejoin, _: &mut Effects) -> Next<Stage> {
    let why = service.rejoin_hindrance(run).unwrap_or_else(|| format!("nothing to act on in {:?}", run.course.phase));
    Next::End(if run.touched { End::Stuck { why } } else { End::Left { why } })
}

impl Procedure for Rejoin {
    type Phase = Stage;

    fn slot(service: &mut Service) -> &mut Option<Rejoin> {
        &mut service.background.rejoin
    }

    fn course(&self) -> &Course<Stage> {
        &self.course
    }

    fn course_mut(&mut self) -> &mut Course<Stage> {
        &mut self.course
    }

    fn table(&self) -> &'static Table<Rejoin> {
        if self.how.copies() { &copy::COPY } else { &TABLE }
    }

    fn is_recorded(&self) -> bool {
        false
    }

    fn hindered(&self, service: &Service) -> bool {
        service.rejoin_hindrance(self).is_some()
    }

    fn enters(&mut self, service: &mut Service, fx: &mut Effects) {
        if self.course.phase == Stage::Rewind {
            self.remember(RejoinStage::Rewind, service, fx);
        }
        if self.course.phase == Stage::Copy {
            self.remember(RejoinStage::Copy, service, fx);
        }
    }

    fn out_of_time(&mut self, _: &mut Service, why: String, _: &mut Effects) -> Next<Stage> {
        Next::End(if self.touched { End::Stuck { why } } else { End::Left { why } })
    }

    fn required_fence(&self) -> FenceLevel {
        FenceLevel::ProvenStopped
    }

    fn limit(&self, _: &Service) -> String {
        format!(
            "its patience ({})",
            if matches!(self.course.phase, Stage::Watch | Stage::Copying) { REWIND_PATIENCE } else { LONG }
        )
    }

    fn ended(self, service: &mut Service, end: End, fx: &mut Effects) {
        service.rejoin_ended(self, end, fx);
    }
}

impl Rejoin {
    /// The next step has its time.
    fn onward(&mut self, fx: &Effects) -> Next<Stage> {
        self.course.deadline = fx.now + PATIENCE.max(LONG);
        Next::Onward
    }

    /// A few times; a refusal for good is one at once.
    fn ask_again(&mut self, phase: Stage, what: &str, outcome: Outcome) -> Next<Stage> {
        let for_good = outcome.as_ref().is_err_and(|failure| failure.kind == crate::output::FailureKind::Refused);
        let tries = self.course.repeated().map_or(0, |repeat| repeat.tries);
        let why = format!("{what}: {}", words(outcome));
        if !for_good && tries < TRIES {
            return Next::Again(phase, why);
        }
        Next::End(if self.touched { End::Stuck { why } } else { End::Left { why } })
    }

    fn slot(&self) -> Option<&str> {
        let copied = if self.how.copies() { self.copy.found.slot.as_ref() } else { None };
        copied.or(self.divergence.as_ref().and_then(|known| known.slot.as_ref())).map(String::as_str)
    }

    fn is_to_rewind(&self) -> bool {
        self.divergence.as_ref().is_some_and(Divergence::needs_rewind)
    }

    /// Why it may not come back in the way that is left.
    fn obstacle(&self, divergence: &Divergence) -> Option<String> {
        let rebuild = "rebuild it as a new standby (failover rejoin --rebuild, docs/REJOIN.md)";
        if divergence.rewound == Rewound::Failed {
            let told = divergence.hindrances.iter().find_map(|why| why.strip_prefix("rewind_failed "));
            let way_out = told.unwrap_or(rebuild);
            return Some(format!("an earlier pg_rewind of it failed or its end is not known, and it is not repeated: {way_out}"));
        }
        if matches!(divergence.rewound, Rewound::Running { .. }) {
            return None;
        }
        let no_way = |why: &&String| NO_WAY.iter().any(|code| why.starts_with(code));
        if let Some(why) = divergence.hindrances.iter().find(no_way) {
            return Some(format!("the engine could not tell it which server to follow: {why}"));
        }
        if !divergence.needs_rewind() {
            return None;
        }
        if divergence.rewound == Rewound::Done {
            return Some(format!(
                "{}: it was rewound after this failover already, and that is not repeated: {rebuild}",
                divergence.sentence()
            ));
        }
        if self.how == RejoinHow::Clean {
            return Some(format!("{}: it has to be rewound, and the engine does this only by order", divergence.sentence()));
        }
        if let Some(first) = divergence.hindrances.first() {
            return Some(format!("it has to be rewound, and cannot be: {first}; {rebuild}"));
        }
        (!self.checkpointed).then(|| {
            let why = self.course.warnings.last().map_or("it was not asked", String::as_str);
            format!("it has to be rewound, and the new primary wrote no checkpoint before ({why})")
        })
    }

    fn remember(&self, stage: RejoinStage, service: &mut Service, fx: &mut Effects) {
        if self.how.is_dry() {
            return;
        }
        let (server, generation, how, divergence) = (self.server, self.course.generation, self.how, self.divergence.clone());
        let attempt = Some(self.copy.found.attempt).filter(|_| stage == RejoinStage::Copy);
        service.durable.rejoin = Some(Rejoining { server, generation, how, stage, divergence, attempt });
        service.journal_facts(fx);
    }
}

impl Service {
    /// The one way in: an old primary begins to come back as a standby. The switchover ends by it in its clean mode.
    pub(crate) fn begin_rejoin(
        &mut self,
        server: ServerId,
        how: RejoinHow,
        why: &str,
        around: Surroundings,
        fx: &mut Effects,
    ) -> Result<String, String> {
        let (name, who) = (self.model.name.clone(), self.server_name(server));
        if usize::from(server.0) >= self.servers.len() {
            return Err(format!("{name} has no {who}"));
        }
        if let Some(run) = &self.background.rejoin {
            return Err(format!("{name}: {} is on its way back already", self.server_name(run.server)));
        }
        self.permit(Act::Rejoin, around, ": rejoin afterwards", fx)?;
        let primary = self.whom_to_follow(server).map_err(|why| format!("{name}: {why}"))?;
        let generation = self.durable.generation;
        let run = Rejoin::new(server, primary, how, generation, fx.now);
        run.remember(RejoinStage::Look, self, fx);
        self.tell_rejoin_begun(&run, why, fx);
        self.background.rejoin = Some(run);
        let dry = if how.is_dry() { ": nothing is changed" } else { "" };
        let what = if how.is_vacant() { "first copy" } else { "return" };
        Ok(format!("{name}: the {what} of {who} as a standby of {} has begun{dry}", self.server_name(primary)))
    }

    /// The primary that it would follow, or why it cannot.
    fn whom_to_follow(&self, server: ServerId) -> Result<ServerId, String> {
        let who = self.server_name(server);
        let Some(primary) = self.durable.primary else { return Err("no primary is known that it could follow".to_owned()) };
        let primary_name = self.server_name(primary);
        if primary == server {
            return Err(format!("{who} is the primary"));
        }
        if self.asked_for_promotion.is_some() {
            return Err("it is not known yet how a promotion ended".to_owned());
        }
        for (asked, what) in [(server, &who), (primary, &primary_name)] {
            if !self.server_model(asked).is_some_and(|model| model.ssh) {
                return Err(format!("no SSH to the host of {what} is configured (ssh, data_dir)"));
            }
        }
        if self.servers[usize::from(server.0)].session_open {
            return Err(format!("{who} runs: only a server that is stopped is brought back"));
        }
        Ok(primary)
    }

    /// What comes before a return that is under way.
    fn rejoin_hindrance(&self, run: &Rejoin) -> Option<String> {
        if self.run.plan.is_some() || self.run.begun.is_some() {
            return Some("a failover has begun, and comes first: rejoin afterwards".to_owned());
        }
        if self.durable.primary != Some(run.primary) {
            return Some("another server is the primary now: rejoin again".to_owned());
        }
        if self.two_primaries || self.rival().is_some() {
            return Some("another server takes writes beside the primary".to_owned());
        }
        None
    }

    /// What an earlier engine, or this one before a reload, had begun goes on where it was, once the primary takes writes again.
    pub(crate) fn resume_rejoin(&mut self, fx: &mut Effects) {
        let Some(known) = self.durable.rejoin.clone() else { return };
        if self.background.rejoin.is_some() || self.stopping || self.is_paused() || !self.may(Act::Rejoin, fx.around, fx.now) {
            return;
        }
        let Ok(primary) = self.whom_to_follow(known.server) else {
            self.forget_rejoin_of_one_that_runs(&known, fx);
            return;
        };
        let mut run = Rejoin::new(known.server, primary, known.how, known.generation, fx.now);
        run.course.resumed = true;
        run.touched = matches!(known.stage, RejoinStage::Rewind | RejoinStage::Start);
        run.may_run = known.stage == RejoinStage::Start;
        run.resumes_at = match known.stage {
            RejoinStage::Look => None,
            RejoinStage::Rewind => Some(Stage::Watch),
            RejoinStage::Copy => Some(Stage::Copying),
            RejoinStage::Start => Some(Stage::Follow),
        };
        run.divergence = known.divergence;
        run.copy = copy::Copying::resumed(known.attempt.unwrap_or_default());
        self.tell_rejoin_begun(&run, "an earlier engine had begun it", fx);
        self.background.rejoin = Some(run);
    }

    /// Once a failover is over, where the configuration says so. One that could not be looked at is tried again with growing pauses; one that
    /// was looked at is not, until the next failover.
    pub(crate) fn rejoin_by_itself(&mut self, fx: &mut Effects) {
        let handed_over = &self.durable.cluster.handed_over;
        let how = match self.model.postgres.rejoin {
            OnRejoin::Manual if handed_over.is_empty() => return,
            OnRejoin::Manual | OnRejoin::Clean => RejoinHow::Clean,
            OnRejoin::Auto => RejoinHow::Rewind,
        };
        let idle = self.background.rejoin.is_none() && self.durable.rejoin.is_none() && self.background.prove_at.is_none();
        let calm =
            matches!(self.state, State::FailedOver | State::Normal | State::Degraded) && self.detection.suspicion.is_none();
        if !idle || !calm || self.is_paused() || !self.may(Act::RejoinAlone, fx.around, fx.now) {
            return;
        }
        // What became of the promotion is certain.
        let completed = self.run.last_failover.as_ref().is_none_or(|last| last.how == EndedHow::Completed);
        let served = self.durable.primary.is_some_and(|primary| self.is_writable_now(primary, fx.now));
        if !completed || !served || self.is_at(|task| matches!(task, Task::ProveAgain(_) | Task::FenceAgain(_))) {
            return;
        }
        let generation = self.durable.generation;
        let manual = self.model.postgres.rejoin == OnRejoin::Manual;
        let wanted = |server: &ServerId| !manual || handed_over.contains(server);
        let tried = |server: &ServerId| {
            let before = self.background.rejoin_again.get(server).filter(|(after, ..)| *after == generation);
            before.map_or((fx.now, 0), |(_, at, tries)| (*at, *tries))
        };
        // After a start of the engine one that has come back may not have been asked yet.
        let due = |server: &ServerId| self.is_warm() && !self.runs(*server, fx.now) && fx.now >= tried(server).0;
        let mut deposed = self.durable.cluster.deposed.keys().copied();
        let Some(server) = deposed.find(|server| due(server) && wanted(server)) else { return };
        let tries = tried(&server).1;
        let pause = SELDOM.times(1 << tries.min(6));
        self.background.rejoin_again.insert(server, (generation, fx.now + pause, tries.saturating_add(1)));
        // Why it may not begin says the order, where somebody gives one.
        let why = if handed_over.contains(&server) { "it has handed over" } else { "its failover is over (data.rejoin)" };
        let _ = self.begin_rejoin(server, how, why, fx.around, fx);
    }

    /// It answers, or did so a moment ago and after its fence.
    fn runs(&self, server: ServerId, now: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        let answered = state.last_answer.filter(|at| state.fenced_at.is_none_or(|fenced| *at > fenced));
        state.session_open || answered.is_some_and(|at| now.since(at) < FRESH)
    }

    /// It streams already: a start that was made before the engine ended went well.
    fn forget_rejoin_of_one_that_runs(&mut self, known: &Rejoining, fx: &mut Effects) {
        let state = &self.servers[usize::from(known.server.0)];
        if state.session_open && known.how.copies() && known.stage != RejoinStage::Start {
            self.forget_copy_of_one_that_runs(known, fx);
            return;
        }
        let is_back = state.session_open && !state.deposed && known.stage == RejoinStage::Start;
        if !is_back || self.durable.primary.is_none_or(|primary| !self.is_writable_now(primary, fx.now)) {
            return;
        }
        self.durable.rejoin = None;
        let message = format!("{} streams from the present primary again", self.server_name(known.server));
        let ended = RejoinEnded {
            server: known.server,
            outcome: RejoinOutcome::Completed,
            message,
            divergence: known.divergence.clone(),
        };
        self.tell_rejoin_ended(&ended, fx);
        self.background.last_rejoin = Some(ended);
        self.journal_facts(fx);
    }

    fn rejoin_ended(&mut self, run: Rejoin, end: End, fx: &mut Effects) {
        let (who, primary) = (self.server_name(run.server), self.server_name(run.primary));
        let (outcome, message) = match end {
            End::Completed => match run.would {
                Some(would) => (RejoinOutcome::DryRun, would),
                None => (RejoinOutcome::Completed, format!("{who} streams from {primary} on timeline {}", run.timeline)),
            },
            End::Left { why } | End::Undone { why, .. } => (RejoinOutcome::Refused, why),
            End::Stuck { why } => (RejoinOutcome::Failed, why),
        };
        let interrupted = self.run.plan.is_some() || self.run.begun.is_some() || self.durable.primary != Some(run.primary);
        let ended = RejoinEnded { server: run.server, outcome, message, divergence: run.divergence };
        // It was looked at, and no more can be done for it by itself: only another failover makes another case of it. What is missing may come.
        let rewind = ended.divergence.as_ref().is_some_and(Divergence::needs_rewind);
        if !interrupted && (rewind || outcome != RejoinOutcome::Refused) {
            self.background.rejoin_again.insert(ended.server, (self.durable.generation, Mono::NEVER, 0));
        }
        self.tell_rejoin_ended(&ended, fx);
        self.background.last_rejoin = Some(ended);
        if self.durable.rejoin.take().is_some() {
            self.journal_facts(fx);
        }
    }

    fn tell_rejoin_begun(&self, run: &Rejoin, why: &str, fx: &mut Effects) {
        let (who, primary) = (self.server_name(run.server), self.server_name(run.primary));
        let dry = run.how.is_dry();
        let what = match run.how {
            RejoinHow::Rebuild | RejoinHow::DryRebuild => "gets a new copy of the data, as a standby",
            RejoinHow::Clone | RejoinHow::DryClone => "gets a first copy of the data, as a standby",
            RejoinHow::Clean | RejoinHow::Rewind | RejoinHow::DryRun => "returns as a standby",
        };
        fx.emit(
            EventKind::RejoinStarted,
            Severity::Info,
            self.about_server(run.server),
            format!("{who} {what} of {primary} ({why})"),
            vec![("primary", text(primary)), ("why", text(why)), ("dry_run", Field::Bool(dry))],
        );
    }

    /// The number that nobody else tells: what stands in the old log and not in the new primary's, acknowledged or not.
    fn tell_lost(&self, server: ServerId, divergence: &Divergence, fx: &mut Effects) {
        if divergence.bytes() == 0 {
            return;
        }
        let mut fields = vec![
            ("bytes", Field::Int(divergence.bytes())),
            ("timeline", Field::Int(u64::from(divergence.timeline))),
            ("fork", text(divergence.fork.to_string())),
            ("log_end", text(divergence.end.to_string())),
        ];
        fields.extend(divergence.commits.map(|commits| ("commits", Field::Int(commits))));
        fields.extend(divergence.first.as_ref().map(|first| ("first", text(first))));
        fields.extend(divergence.last.as_ref().map(|last| ("last", text(last))));
        let none = divergence.commits == Some(0);
        let severity = if none { Severity::Info } else { Severity::Alarm };
        let message = format!("{}: {}", self.server_name(server), divergence.sentence());
        fx.emit(EventKind::LostTransactions, severity, self.about_server(server), message, fields);
    }

    fn tell_rejoin_ended(&self, ended: &RejoinEnded, fx: &mut Effects) {
        let severity = match ended.outcome {
            RejoinOutcome::Completed | RejoinOutcome::DryRun => Severity::Info,
            RejoinOutcome::Refused => Severity::Warning,
            RejoinOutcome::Failed => Severity::Alarm,
        };
        fx.emit(
            EventKind::RejoinEnded,
            severity,
            self.about_server(ended.server),
            format!("the return of {}: {}: {}", self.server_name(ended.server), ended.outcome, ended.message),
            vec![("outcome", text(ended.outcome.as_str())), ("detail", text(&ended.message))],
        );
    }
}

impl Rejoin {
    fn new(server: ServerId, primary: ServerId, how: RejoinHow, generation: Generation, now: Mono) -> Rejoin {
        Rejoin {
            course: Course::new(generation, Stage::Meet, MEET, now),
            server,
            primary,
            timeline: 0,
            system_id: 0,
            how,
            may_run: false,
            resumes_at: None,
            switches: Vec::new(),
            divergence: None,
            copy: copy::Copying::default(),
            checkpointed: how.is_dry(),
            marker: None,
            touched: false,
            would: None,
        }
    }

    /// For the status: who, what it is doing, how far.
    pub(crate) fn doing(&self) -> (ServerId, &'static str, Option<(u64, u64)>, Option<&Divergence>) {
        let doing = match self.course.phase {
            Stage::Meet | Stage::Prove => "proving_fence",
            Stage::Checkpoint => "writing_checkpoint",
            Stage::History => "reading_history",
            Stage::Diverge => "reading_log",
            Stage::Slot | Stage::Keep => "keeping_log",
            Stage::Rewind | Stage::Watch => "rewinding",
            Stage::Restore | Stage::Measure | Stage::Find => "preparing_copy",
            Stage::Copy | Stage::Copying if self.how.is_vacant() => "cloning",
            Stage::Copy | Stage::Copying => "rebuilding",
            Stage::ProveAgain | Stage::Swap => "swapping",
            Stage::Follow => "writing_settings",
            Stage::Start => "starting",
            Stage::Stream | Stage::Over => "catching_up",
        };
        let progress = self.course.progress.filter(|_| matches!(self.course.phase, Stage::Watch | Stage::Copying));
        (self.server, doing, progress, self.divergence.as_ref())
    }
}

#[cfg(test)]
mod tests;
