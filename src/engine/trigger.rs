//! The one thread that asks the core and carries out what it says: receive, lock, step, unlock, then the outputs in order.
//! Nothing but `step` and a copy of the state ever runs under the lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::check::Context;
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::Session;
use crate::wire::resolve::Addresses;
use failover_core::Core;
use failover_core::event::{Event, EventKind, Field, Severity};
use failover_core::id::{CheckId, Generation, RunId, ServerId, ServiceId};
use failover_core::input::{Command, Facts, Input, SelfHealth};
use failover_core::model::ServiceModel;
use failover_core::observation::{Finding, UnknownCause};
use failover_core::output::{Action, Answer, Failure, Output, Record};
use failover_core::time::{Mono, Span};

use super::Shell;
use super::builder::{Lane, Parts};
use super::executor::{Executor, Task};
use super::journal::Journal;
use super::knowledge::{self, Content, Stamp};
use super::pool::{Job, JobKind, Pool};
use super::record::Recorder;
use super::status::{self, FailoverStatus};
use super::threads::{Duty, panic_text};
use super::watcher::Watcher;
use crate::clock::suspended;
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender};

/// Between two looks at how the shell itself is doing.
const HEALTH_EVERY: Span = Span::from_millis(1_000);
/// Waking up this much too late is told to the core at once.
const LATE: Span = Span::from_millis(250);
/// A round that takes longer is named: what it may wait for is the disk of the journal.
const ROUND: Duration = Duration::from_secs(5);
/// Bugs of its own it lives through.
const BUGS: usize = 3;
/// Different bugs of checks that are told.
const TOLD: usize = 64;
/// Messages taken in a row before the clock has its say.
const BATCH: usize = 256;
/// Changed keys that are named after a reload; more are counted.
const MOST_CHANGES: usize = 50;

/// What the trigger thread can be sent.
pub(crate) enum Message {
    /// For the core.
    Input(Input),
    /// An operator's command; the core's answer goes back.
    Command {
        service: Option<ServiceId>,
        command: Command,
        /// Who gave it, where that is known.
        by: Option<String>,
        reply: Sender<Result<Answer, String>>,
    },
    /// Another configuration, ready built.
    Reload {
        parts: Arc<Parts>,
        /// The lane for functions of the host program, which may be new.
        embedder: Option<Pool>,
        reply: Sender<Result<(), String>>,
    },
    /// Begin to stop.
    Stop,
}

/// The pools by lane.
#[derive(Clone)]
pub(crate) struct Lanes {
    pub(crate) check: Pool,
    pub(crate) child: Option<Pool>,
    pub(crate) embedder: Option<Pool>,
}

/// The trigger thread's own things.
pub(crate) struct Trigger {
    pub(crate) shell: Arc<Shell>,
    pub(crate) inputs: Receiver<Message>,
    pub(crate) sink: Arc<dyn Fn(Input) + Send + Sync>,
    pub(crate) journal: Journal,
    /// What was seen by an earlier engine, or before a reload; or why it is not believed.
    pub(crate) seen: Result<Option<Content>, String>,
    pub(crate) lanes: Lanes,
    pub(crate) executor: Executor,
    pub(crate) watcher: Arc<Watcher>,
    /// Ends the survey.
    pub(crate) survey: Cancel,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) duty: Duty,
    /// Dropped once the core knows what the journal knows.
    pub(crate) begun: Option<Sender<()>>,
    pub(crate) state: State,
}

/// What changes while it runs.
#[derive(Default)]
pub(crate) struct State {
    /// Inputs that arose here, before those that come from elsewhere.
    own: VecDeque<Input>,
    pending: BTreeMap<u64, Pending>,
    token: u64,
    /// Who gave the command of the step in hand.
    by: Option<String>,
    next_health: Mono,
    /// When another configuration was taken last.
    reloaded: Mono,
    /// What the core wants to be called at, from its last step.
    next_step: Mono,
    /// So much later the step in hand is.
    late: Duration,
    journal_was_writable: bool,
    /// Suspended time of the machine, when it was last looked at.
    suspended: Duration,
    stopping: bool,
    /// Threads that have not come back in time, as far as told.
    overdue: Vec<String>,
    /// Bugs that were told.
    bugs: BTreeSet<String>,
    /// It was told that there is no memory left.
    memory_short: bool,
    /// Failovers whose intent is not on disk, and why: they begin no step that needs one, in no later round either.
    unintended: BTreeMap<ServiceId, (Generation, String)>,
    /// Services whose last facts are not on disk, and why.
    unfacted: BTreeMap<ServiceId, String>,
}

struct Pending {
    reply: Sender<Result<Answer, String>>,
    /// The services whose unfinished business a person takes note of by this command.
    acknowledges: Vec<String>,
}

impl Trigger {
    /// The body of the thread. A bug in it freezes all decisions; what can still be done is to answer, to look after the other
    /// threads, and to stop.
    pub(crate) fn run(mut self) {
        let mut begins = true;
        for _ in 0..BUGS {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                if std::mem::take(&mut begins) {
                    self.begin();
                }
                self.go_round();
            }));
            let Err(payload) = outcome else { break };
            // Whoever waits for the start waits no longer.
            self.begun = None;
            let fault = panic_text(&*payload);
            self.shell.freeze(&fault);
            let message = format!("a bug was caught in the trigger thread, all decisions are frozen: {fault}");
            self.shell.say(EventKind::Faulted, Severity::Alarm, &message);
        }
        self.duty.rest();
        if !self.state.stopping {
            self.wait_for_stop();
        }
        self.end();
    }

    /// All that is left when even going round frozen fails: somebody has to end the other threads one day.
    fn wait_for_stop(&self) {
        while !self.shell.is_stopping() {
            match self.inputs.recv_deadline(self.shell.clock.deadline(self.shell.clock.now() + HEALTH_EVERY).instant()) {
                // Whoever asked hears that nobody answers.
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn go_round(&mut self) {
        loop {
            // The message may have found the channel full.
            if !self.state.stopping && self.shell.is_stopping() {
                self.take(Message::Stop);
            }
            if self.is_over() {
                break;
            }
            let planned = self.wake_at();
            let began = self.shell.clock.now();
            self.duty.rest();
            let message = match self.state.own.pop_front() {
                Some(input) => Some(Message::Input(input)),
                None => match self.inputs.recv_deadline(self.shell.clock.deadline(planned).instant()) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            self.duty.begin(ROUND);
            #[cfg(test)]
            assert!(
                !self.shell.planted_trigger_panic.swap(false, crate::sync::atomic::Ordering::SeqCst),
                "planted in the trigger"
            );
            #[cfg(test)]
            drop(self.shell.planted_stall.lock());
            // Before anything that waited meanwhile is believed.
            self.notice_pause(planned.max(began));
            for input in self.lanes.expire() {
                self.step(input);
            }
            if let Some(message) = message {
                self.take(message);
            }
            for _ in 0..BATCH {
                match self.state.own.pop_front().map(Message::Input).or_else(|| self.inputs.try_recv().ok()) {
                    Some(message) => self.take(message),
                    None => break,
                }
            }
            let now = self.shell.clock.now();
            if now >= self.state.next_health {
                self.look_after_itself(Span::ZERO, Span::ZERO);
            } else if now >= self.state.next_step {
                self.step(Input::Tick);
            }
        }
    }

    fn begin(&mut self) {
        self.state.suspended = suspended();
        self.state.journal_was_writable = true;
        self.shell.say(EventKind::EngineStarted, Severity::Info, "the engine runs");
        if let Some(note) = self.journal.note() {
            self.shell.say(EventKind::Log, Severity::Warning, note);
        }
        let earlier = matches!(self.seen, Ok(Some(_)));
        if let Some(note) = self.journal.nothing_found(earlier) {
            self.shell.say(EventKind::Log, if earlier { Severity::Warning } else { Severity::Info }, &note);
        }
        for warning in self.shell.parts().config.warnings() {
            self.shell.say(EventKind::Log, Severity::Warning, &format!("configuration: {warning}"));
        }
        let checkers = usize::try_from(self.lanes.check.numbers().workers).unwrap_or(0);
        if let Some((severity, message)) = self.shell.parts().config.about_workers(checkers) {
            self.shell.say(EventKind::Log, severity, &message);
        }
        if let Err(why) = &self.seen {
            self.shell.say(EventKind::Log, Severity::Warning, why);
        }
        self.report_journal();
        self.look_after_itself(Span::ZERO, Span::ZERO);
        self.restore(&[]);
        self.shell.pulse.is_restored();
        self.begun = None;
    }

    /// Tells the core what the journal knows of every service but those it knows already, and what was seen of it.
    fn restore(&mut self, known: &[String]) {
        let parts = self.shell.parts();
        for place in followers_first(&parts.model.services) {
            let (service, Ok(number)) = (&parts.model.services[place], u16::try_from(place)) else { continue };
            if known.contains(&service.name) {
                continue;
            }
            let facts = self.journal.facts(service, SystemTime::now());
            let seen = self.seen.as_ref().ok().and_then(Option::as_ref);
            let knowledge = seen.and_then(|seen| seen.of(service, &Stamp::now())).map(Box::new);
            if facts.is_some() || knowledge.is_some() {
                let facts = Facts { knowledge, ..facts.unwrap_or_default() };
                self.step(Input::Restored { service: ServiceId(number), facts: Box::new(facts) });
            }
        }
    }

    fn is_over(&self) -> bool {
        self.state.stopping && (self.shell.is_faulted() || self.shell.core.lock().as_ref().is_none_or(Core::is_quiet))
    }

    fn wake_at(&self) -> Mono {
        if self.shell.is_faulted() { self.state.next_health } else { self.state.next_step.min(self.state.next_health) }
    }

    // ---- input ---------------------------------------------------------------------------------

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(input) if self.is_stale(&input) => {}
            Message::Input(input) => self.step(input),
            Message::Command { service, command, by, reply } => {
                if let Some(fault) = self.shell.fault() {
                    let _ = reply.send(Err(fault));
                    return;
                }
                // Whoever ends it, or says who is the primary from here on, has seen what was unfinished.
                let acknowledged = matches!(command, Command::Reset | Command::Adopt { .. });
                let acknowledges = if acknowledged { self.names(service) } else { Vec::new() };
                self.state.token += 1;
                let token = self.state.token;
                self.state.pending.insert(token, Pending { reply, acknowledges });
                self.state.by = by;
                self.step(Input::Operator { service, command, token });
                self.state.by = None;
                // A step that did not answer never will.
                self.state.pending.remove(&token);
            }
            Message::Reload { parts, embedder, reply } => {
                self.lanes.embedder = self.lanes.embedder.take().or(embedder);
                let _ = reply.send(self.reload(&parts));
            }
            Message::Stop if self.state.stopping => {}
            Message::Stop => {
                self.state.stopping = true;
                self.step(Input::Operator { service: None, command: Command::Stop, token: 0 });
            }
        }
    }

    fn names(&self, service: Option<ServiceId>) -> Vec<String> {
        let parts = self.shell.parts();
        let wanted = |place: usize| service.is_none_or(|id| usize::from(id.0) == place);
        let services = parts.model.services.iter().enumerate().filter(|(place, _)| wanted(*place));
        services.map(|(_, service)| service.name.clone()).collect()
    }

    fn step(&mut self, input: Input) {
        let mut recorder = self.recorder.take();
        self.state.late = match self.state.next_step {
            Mono::ZERO => Duration::ZERO,
            planned => self.shell.clock.now().since(planned).into(),
        };
        let outputs = self.with_core(|core, now| {
            if let Some(recorder) = &mut recorder {
                recorder.note(core, now, &input);
            }
            core.step(now, input)
        });
        self.recorder = recorder;
        let outputs = outputs.unwrap_or_default();
        self.record(&outputs);
        self.carry_out(outputs);
    }

    /// Hands the record of a decision on to be written.
    fn record(&self, outputs: &[Output]) {
        let name = |service: u16| {
            let parts = self.shell.parts();
            parts.model.services.get(usize::from(service)).map_or_else(String::new, |service| service.name.clone())
        };
        if let Some(recorder) = &self.recorder
            && let Some(trouble) = recorder.look(&name, outputs, SystemTime::now())
        {
            self.shell.say(EventKind::Log, Severity::Warning, trouble);
        }
    }

    /// Runs a piece of the core under its lock. A panic freezes it for good, marked before anybody else can take the lock.
    fn with_core<T>(&mut self, run: impl FnOnce(&mut Core, Mono) -> T) -> Option<T> {
        if self.shell.is_faulted() {
            return None;
        }
        let mut guard = self.shell.core.lock();
        let core = guard.as_mut()?;
        let now = self.shell.clock.now();
        self.shell.pulse.step();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            assert!(!self.shell.planted_panic.swap(false, crate::sync::atomic::Ordering::SeqCst), "planted");
            run(core, now)
        }));
        match outcome {
            Ok(value) => {
                self.state.next_step = core.next_deadline();
                Some(value)
            }
            Err(payload) => {
                let fault = panic_text(&*payload);
                self.shell.freeze(&fault);
                drop(guard);
                let message = format!("a bug was caught in the decision core, all decisions are frozen: {fault}");
                self.shell.say(EventKind::Faulted, Severity::Alarm, &message);
                None
            }
        }
    }

    fn reload(&mut self, parts: &Arc<Parts>) -> Result<(), String> {
        if let Some(fault) = self.shell.fault() {
            return Err(fault);
        }
        if self.state.stopping {
            return Err("the engine is stopping".to_owned());
        }
        if !self.journal.is_writable() {
            // What could not be written until now is written now, or nothing that rests on it is taken.
            self.look_after_itself(Span::ZERO, Span::ZERO);
        }
        // A service that goes now may come back by the next reload.
        if let Some(newer) = knowledge::take(&self.shell) {
            let before = std::mem::replace(&mut self.seen, Ok(None)).ok().flatten().unwrap_or_default();
            self.seen = Ok(Some(before.renewed(newer)));
        }
        let old = self.shell.parts();
        let shell = Arc::clone(&self.shell);
        let take = |core: &mut Core, now| {
            // Under the lock of the core: whoever holds it sees services and the configuration that they have.
            core.reload(now, parts.model.clone()).inspect(|_| shell.set_parts(Arc::clone(parts)))
        };
        let mut outputs = self.with_core(take).ok_or_else(|| "the engine is faulted".to_owned())??;
        tell_changes(&mut outputs, old.config.changes(&parts.config), &old.config.without_route_in(&parts.config));
        if let Some(recorder) = &mut self.recorder {
            recorder.start_over();
        }
        // With other servers it is another service to the core.
        let is_kept = |service: &&ServiceModel| {
            let names = |model: &ServiceModel| model.servers.iter().map(|server| server.name.clone()).collect::<Vec<_>>();
            parts.model.services.iter().any(|new| new.name == service.name && names(new) == names(service))
        };
        let known: Vec<String> = old.model.services.iter().filter(is_kept).map(|service| service.name.clone()).collect();
        // What was asked under the old configuration has the old numbers: nothing of it may come back as something else.
        self.shell.resolver.learn(parts.hosts());
        self.state.reloaded = self.shell.clock.now();
        self.lanes.cancel_all();
        self.lanes.check.expect(parts.jobs());
        self.executor.expect(parts.acted_on());
        for (lane, pool) in [(Lane::Child, &self.lanes.child), (Lane::Host, &self.lanes.embedder)] {
            if let Some(pool) = pool {
                pool.expect(parts.checks_on(lane));
            }
        }
        for (service, part) in old.services.iter().enumerate() {
            for server in 0..part.servers.len() {
                if let (Ok(service), Ok(server)) = (u16::try_from(service), u16::try_from(server)) {
                    self.watcher.remove(ServiceId(service), ServerId(server));
                }
            }
        }
        self.carry_out(outputs);
        self.restore(&known);
        old.close();
        Ok(())
    }

    /// A fact from before the last reload: its numbers may mean other services and servers now.
    fn is_stale(&self, input: &Input) -> bool {
        match input {
            Input::SessionAnswered { sample, .. } => sample.asked < self.state.reloaded,
            Input::Surveyed { readiness, .. } => readiness.asked < self.state.reloaded,
            Input::RouteSurveyed { survey, .. } => survey.asked < self.state.reloaded,
            Input::RouteAsked { asked, .. } | Input::RouteErrors { asked, .. } => *asked < self.state.reloaded,
            _ => false,
        }
    }

    // ---- its own health ------------------------------------------------------------------------

    /// Time in which this process did not run: it woke up later than it had planned, or the machine was suspended.
    fn notice_pause(&mut self, planned: Mono) {
        let late = self.shell.clock.now().since(planned);
        let now_suspended = suspended();
        let suspended = Span::from(now_suspended.saturating_sub(self.state.suspended));
        let gap = late.max(suspended);
        // Short ones are added up until they are worth telling.
        if gap >= LATE {
            self.state.suspended = now_suspended;
            self.look_after_itself(gap, suspended);
        }
    }

    fn look_after_itself(&mut self, gap: Span, suspended: Span) {
        self.journal.look();
        if !self.journal.is_writable() {
            self.journal.retry(SystemTime::now());
            self.report_journal();
        }
        let mut panics = self.shell.threads.panics();
        if !self.watcher.is_running() {
            panics.push("the thread that watches sessions has ended".to_owned());
        }
        for panic in panics {
            if !self.shell.is_faulted() {
                self.shell.freeze(&panic);
                let message = format!("a thread of the engine ended by a bug, all decisions are frozen: {panic}");
                self.shell.say(EventKind::Faulted, Severity::Alarm, &message);
            }
        }
        self.state.next_health = self.shell.clock.now() + HEALTH_EVERY;
        self.tell_bugs();
        self.tell_memory();
        self.tell_overdue();
        let (stuck_workers, workers) = self.lanes.worst();
        let stuck_loops = self.shell.threads.stuck_loops();
        let health =
            SelfHealth { gap, suspended, stuck_workers, workers, stuck_loops, journal_writable: self.journal.is_writable() };
        self.step(Input::SelfHealth(health));
    }

    fn tell_bugs(&mut self) {
        for bug in self.lanes.all().flat_map(Pool::bugs).collect::<Vec<_>>() {
            // The same one again at every run of the check tells nothing new.
            if self.state.bugs.len() < TOLD && self.state.bugs.insert(bug.clone()) {
                self.shell.say(EventKind::Log, Severity::Alarm, &format!("{bug}; its answers are unknown until it is mended"));
            }
        }
        let trouble = self.executor.trouble().map(|why| format!("an action waits for the thread of another one: {why}"));
        if let Some(message) = trouble.filter(|_| self.state.bugs.len() < TOLD)
            && self.state.bugs.insert(message.clone())
        {
            let message = format!("{message}; raise the limit of threads (ulimit -u, TasksMax=)");
            self.shell.say(EventKind::Log, Severity::Alarm, &message);
        }
    }

    /// Says that memory is short before an allocation fails, which ends the process.
    fn tell_memory(&mut self) {
        let short = super::memory::is_short();
        if short && !self.state.memory_short {
            let message = "memory is short: the next allocation may fail, and that ends this process. Raise the limit of its memory \
                           (ulimit -v, MemoryMax=), or find out what else in this process takes it";
            self.shell.say(EventKind::Log, Severity::Alarm, message);
        } else if !short && self.state.memory_short {
            self.shell.say(EventKind::Log, Severity::Info, "memory is available again");
        }
        self.state.memory_short = short;
    }

    /// Says which threads do not come back, and which are back.
    fn tell_overdue(&mut self) {
        let overdue = self.shell.threads.overdue();
        for name in overdue.iter().filter(|name| !self.state.overdue.contains(name)) {
            let message = format!("the thread {name} does not respond in time: its work is not done meanwhile");
            self.shell.say(EventKind::Log, Severity::Alarm, &message);
        }
        for name in self.state.overdue.iter().filter(|name| !overdue.contains(name)) {
            self.shell.say(EventKind::Log, Severity::Info, &format!("the thread {name} is back at work"));
        }
        self.state.overdue = overdue;
    }

    /// Shows the state of the journal, and says why when it changes.
    fn report_journal(&mut self) {
        let writable = self.journal.is_writable();
        self.shell.show_journal(&self.journal);
        if writable != self.state.journal_was_writable {
            self.state.journal_was_writable = writable;
            let reason = self.journal.reason().unwrap_or("the journal can be written again").to_owned();
            let severity = if writable { Severity::Info } else { Severity::Alarm };
            self.shell.say(EventKind::Log, severity, &reason);
        }
    }

    // ---- output --------------------------------------------------------------------------------

    fn carry_out(&mut self, outputs: Vec<Output>) {
        if outputs.is_empty() {
            return;
        }
        let parts = self.shell.parts();
        // Services whose step is not on disk.
        let mut unwritten = BTreeMap::new();
        for output in outputs {
            match output {
                Output::Journal(record) => self.write(&parts, &record, &mut unwritten),
                Output::RunCheck { run, service, check, sample, deadline } => {
                    self.run_check(&parts, run, service, check, sample, deadline);
                }
                Output::OpenSession { run, service, server, deadline } => {
                    self.open_session(&parts, run, service, server, deadline);
                }
                Output::CloseSession { service, server } => {
                    self.watcher.remove(service, server);
                    if let Some(part) = parts.services.get(usize::from(service.0)) {
                        part.actions.cluster.let_go(server);
                    }
                }
                Output::CancelRun(run) => {
                    self.lanes.cancel(run);
                    self.shell.embedder.cancel(run);
                }
                Output::RunAction { id, service, generation, action, deadline } => {
                    if let Some(reason) = self.may_not_begin(&parts, service, generation, &action, &unwritten) {
                        let failure = Failure::no_effect(
                            format!("not begun, because it could not be written down before: {reason}"),
                            "make the state directory writable, with space left",
                        );
                        self.state.own.push_back(Input::ActionFinished { action: id, outcome: Err(failure) });
                    } else {
                        let deadline = self.shell.clock.deadline(deadline);
                        self.executor.submit(Task { id, service, generation, action, deadline });
                    }
                }
                Output::CancelAction(id) => self.executor.cancel(id),
                Output::Survey { service, server } => {
                    self.shell.unsurveyed.lock().insert((service, server));
                }
                Output::Emit(mut event) => {
                    name_caller(&mut event, self.state.by.as_deref());
                    self.shell.emit(&parts, &event);
                }
                Output::Reply { token, result } => {
                    if let Some(pending) = self.state.pending.remove(&token) {
                        if result.is_ok() {
                            for service in &pending.acknowledges {
                                self.journal.acknowledge(service, SystemTime::now());
                            }
                        }
                        let _ = pending.reply.send(result);
                    }
                }
            }
        }
    }

    /// Why an action is not begun: what it needs to have on disk is not there.
    ///
    /// A promotion needs the intent alone. It comes behind the proven fence: without it nobody serves, and whom it was to be is
    /// written as soon as anything is.
    fn may_not_begin(
        &self,
        parts: &Parts,
        service: ServiceId,
        generation: Generation,
        action: &Action,
        unwritten: &BTreeMap<ServiceId, String>,
    ) -> Option<String> {
        let lost = self.state.unintended.get(&service).filter(|(lost, _)| *lost == generation);
        // An application has nothing to promote: to send the traffic elsewhere is what it comes to.
        if let Some((_, reason)) = lost
            && (needs_record(action) || matches!(action, Action::RouteIn { .. }))
        {
            return Some(reason.clone());
        }
        // Whoever may acknowledge commits is in the journal before a server hears of it.
        if let Some(reason) = self.state.unfacted.get(&service).filter(|_| matches!(action, Action::SetSyncNames { .. })) {
            return Some(reason.clone());
        }
        let reason = unwritten.get(&service).filter(|_| needs_record(action))?;
        let name = parts.model.services.get(usize::from(service.0)).map_or("", |service| &service.name);
        if !matches!(action, Action::Promote { .. }) || !self.journal.holds_intent(name, generation) {
            return Some(reason.clone());
        }
        let message = format!("the promotion goes on without its record, which is written as soon as that is possible: {reason}");
        self.shell.say_about(EventKind::Log, Severity::Alarm, name, None, message, serde_json::Map::new());
        None
    }

    /// What the status shows of a failover that has just ended.
    fn ended(&self, parts: &Parts, service: ServiceId) -> Option<FailoverStatus> {
        let name = &parts.model.services.get(usize::from(service.0))?.name;
        let mut service = status::service(&self.shell.core, name, &parts.model, &self.shell.clock)?;
        self.shell.stories.complete(&self.shell.clock, std::slice::from_mut(&mut service));
        service.failover
    }

    fn write(&mut self, parts: &Parts, record: &Record, unwritten: &mut BTreeMap<ServiceId, String>) {
        let shown = match record {
            Record::Ended { service, .. } => self.ended(parts, *service),
            _ => None,
        };
        let written = self.journal.append_with(&parts.model, record, shown, SystemTime::now());
        match (record, written) {
            (Record::Intent { service, generation, .. }, Err(reason)) => {
                self.state.unintended.insert(*service, (*generation, reason));
            }
            (Record::StepBegun { service, .. }, Err(reason)) => {
                unwritten.insert(*service, reason);
            }
            (Record::Facts { service, .. }, Err(reason)) => {
                self.state.unfacted.insert(*service, reason);
            }
            (Record::Facts { service, .. }, Ok(())) => {
                self.state.unfacted.remove(service);
            }
            (Record::Intent { service, .. } | Record::Ended { service, .. }, _) => {
                self.state.unintended.remove(service);
            }
            _ => {}
        }
        let was = self.state.journal_was_writable;
        self.report_journal();
        if was != self.state.journal_was_writable {
            // The core hears of it before the next thing happens, not a second later.
            self.state.next_health = Mono::ZERO;
        }
    }

    fn run_check(&mut self, parts: &Arc<Parts>, run: RunId, service: ServiceId, check: CheckId, sample: bool, deadline: Mono) {
        let clock = self.shell.clock;
        let Some(part) = parts.service(service).and_then(|service| service.checks.get(usize::from(check.0))) else {
            let message = "there is no such check";
            self.state.own.push_back(JobKind::Check.lost(run, &clock, UnknownCause::Internal, message));
            return;
        };
        let mut deadline = clock.deadline(deadline);
        if part.lane == Lane::Host {
            // The lane gives a function up before the core does: the core would take its silence for the server's.
            deadline = crate::check::embedder::a_little_before(deadline);
        }
        if let Some(question) = &part.task {
            let question = crate::check::embedder::HostCheck { remaining: deadline.remaining(), ..question.clone() };
            self.shell.embedder.announce_check(run, clock.now(), question);
            return;
        }
        let known = parts.model.services.get(usize::from(service.0)).and_then(|known| known.checks.get(usize::from(check.0)));
        let name = known.map_or_else(String::new, |known| format!("check \"{}\"", known.name));
        let (check, addresses) = (Arc::clone(&part.check), self.shell.resolver.clone());
        let job = Job {
            run,
            kind: JobKind::Check,
            name,
            target: (service, part.server),
            deadline,
            late: self.state.late,
            work: Box::new(move |deadline, cancel| {
                let finding = check.run(&Context { deadline, cancel, clock: &clock, sample, addresses: &addresses });
                Input::CheckFinished { run, finding }
            }),
        };
        if let Some(pool) = self.lanes.of(part.lane) {
            pool.submit(job);
        } else {
            let message = "there is no thread for checks of this kind";
            self.state.own.push_back(JobKind::Check.lost(run, &clock, UnknownCause::Internal, message));
        }
    }

    fn open_session(&mut self, parts: &Arc<Parts>, run: RunId, service: ServiceId, server: ServerId, deadline: Mono) {
        let clock = self.shell.clock;
        let part = parts.service(service);
        let target = part.and_then(|part| part.servers.get(usize::from(server.0))?.target.clone());
        let (Some(part), Some(target)) = (part, target) else {
            let message = "there is no such server";
            self.state.own.push_back(JobKind::Session.lost(run, &clock, UnknownCause::Internal, message));
            return;
        };
        let (shell, parts) = (Arc::clone(&self.shell), Arc::clone(parts));
        let (watcher, sink) = (Arc::clone(&self.watcher), Arc::clone(&self.sink));
        let ping_interval = part.ping_interval;
        self.lanes.check.submit(Job {
            run,
            kind: JobKind::Session,
            name: format!("the kept session to {}", target.endpoint),
            target: (service, server),
            deadline: clock.deadline(deadline),
            late: Duration::ZERO,
            work: Box::new(move |deadline, cancel| {
                let began = clock.now();
                match Session::connect(&target, &shell.resolver as &dyn Addresses, deadline, cancel) {
                    Ok(_) if cancel.is_cancelled() => {
                        JobKind::Session.lost(run, &clock, UnknownCause::NoAnswerFromHost, "cancelled")
                    }
                    Ok(session) => {
                        // Said before the watcher can say anything about it.
                        sink(Input::SessionOpened { run });
                        // After a reload it would speak for a server that may be another one.
                        shell.while_current(&parts, || watcher.add(service, server, session, ping_interval));
                        Input::Tick
                    }
                    Err(error) => {
                        let latency = clock.now().since(began);
                        let (verdict, message) = (error.verdict(), format!("{}: {error}", target.endpoint));
                        let finding = Finding { verdict, message, began, latency, sample: None };
                        Input::SessionFailed { run, finding }
                    }
                }
            }),
        });
    }

    // ---- end -----------------------------------------------------------------------------------

    fn end(self) {
        let Trigger { shell, inputs, mut journal, lanes, executor, watcher, survey, state, recorder, .. } = self;
        drop(recorder);
        // From here on whoever wants to say something finds nobody, and does not wait.
        drop(inputs);
        survey.cancel();
        lanes.close();
        // One that a reload began, and was not told of any more.
        shell.close_lanes();
        executor.close();
        shell.embedder.close();
        shell.resolver.close();
        shell.notifier.close();
        watcher.stop();
        shell.parts().close();
        for pending in state.pending.into_values() {
            let _ = pending.reply.send(Err("the engine stopped".to_owned()));
        }
        if journal.owes() {
            journal.retry(SystemTime::now());
        }
        drop(journal);
        shell.say(EventKind::EngineStopped, Severity::Info, "the engine stopped");
        shell.hub.close();
    }
}

impl Lanes {
    fn of(&self, lane: Lane) -> Option<&Pool> {
        match lane {
            Lane::Pool => Some(&self.check),
            Lane::Child => self.child.as_ref(),
            Lane::Host => self.embedder.as_ref(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.check).chain(&self.child).chain(&self.embedder)
    }

    fn expire(&self) -> Vec<Input> {
        self.all().flat_map(Pool::expire).collect()
    }

    /// Threads whose job is past its deadline and has not come back.
    pub(crate) fn stuck(&self) -> u32 {
        self.all().map(|pool| pool.numbers().stuck).sum()
    }

    /// Of our own lane that is worst off: how many threads are stuck or kept by jobs that are ended by bugs, and how many there are.
    /// Code of the host program that does not come back is told by its name, and is no reason to doubt what our own checks see.
    fn worst(&self) -> (u32, u32) {
        let unfit = |pool: &Pool| {
            let numbers = pool.numbers();
            (numbers.stuck.saturating_add(numbers.broken).min(numbers.workers), numbers.workers)
        };
        let worse = |one: (u32, u32), other: (u32, u32)| {
            if u64::from(other.0) * u64::from(one.1) > u64::from(one.0) * u64::from(other.1) { other } else { one }
        };
        std::iter::once(&self.check).chain(&self.child).map(unfit).reduce(worse).unwrap_or_default()
    }

    fn cancel(&self, run: RunId) {
        self.all().for_each(|pool| pool.cancel(run));
    }

    fn cancel_all(&self) {
        self.all().for_each(Pool::cancel_all);
    }

    pub(crate) fn close(&self) {
        self.all().for_each(Pool::close);
    }
}

/// What may not happen without its record on disk, but see [`Trigger::may_not_begin`]. What comes after the point of no return goes on
/// without one: stopping there would make an outage longer and nothing safer. Questions change nothing.
fn needs_record(action: &Action) -> bool {
    matches!(
        action,
        Action::PreChecks
            | Action::CloseGate { .. }
            | Action::RouteOut { .. }
            | Action::StopServer { .. }
            | Action::Fence { .. }
            | Action::Promote { .. }
    )
}

/// The deadline of a command's answer: the trigger thread may be waiting for a slow disk.
pub(crate) fn command_deadline() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}
/// Adds to the event of a reload what is different. The core sees names and numbers only, not addresses and files.
fn tell_changes(outputs: &mut [Output], mut changes: Vec<String>, without_route: &[String]) {
    let more = changes.len().saturating_sub(MOST_CHANGES);
    changes.truncate(MOST_CHANGES);
    if more > 0 {
        changes.push(format!("and {more} more"));
    }
    let reloaded = outputs.iter_mut().find_map(|output| match output {
        Output::Emit(event) if event.kind == EventKind::ConfigReloaded => Some(event),
        _ => None,
    });
    if let Some(event) = reloaded {
        let what =
            if changes.is_empty() { "nothing is different".to_owned() } else { format!("changed: {}", changes.join("; ")) };
        event.message = format!("{}; {what}", event.message);
        event.fields.push(("changes", Field::List(changes.into_iter().map(Field::Text).collect())));
        if !without_route.is_empty() {
            let names = without_route.join(", ");
            event.message =
                format!("{}; no route is left of {names}: a failover would leave the clients where they are", event.message);
            event.severity = Severity::Warning;
        }
    }
}

/// Who follows another service knows what it had followed before the other one's primary is known again: else it would take what is there
/// for the beginning, and write that into the journal before it has read it.
fn followers_first(services: &[ServiceModel]) -> Vec<usize> {
    let next = |place: usize| {
        let follows = services[place].follows.as_ref()?;
        services.iter().position(|service| service.name == follows.name)
    };
    // Bounded: a circle is refused with the configuration.
    let depth = |place| std::iter::successors(Some(place), |place| next(*place)).take(services.len() + 1).count();
    let mut order: Vec<usize> = (0..services.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(depth(*place)));
    order
}

/// An operator's command tells who gave it.
fn name_caller(event: &mut Event, by: Option<&str>) {
    let Some(by) = by.filter(|_| event.kind == EventKind::OperatorCommand) else { return };
    event.message = format!("{} (ordered by {by})", event.message);
    event.fields.push(("by", Field::Text(by.to_owned())));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::{Engine, Threads};
    use crate::sync::channel::bounded;
    use failover_core::candidate::Candidate;
    use failover_core::evidence::FailureClass;
    use failover_core::id::ActionId;
    use failover_core::model::FollowModel;
    use failover_core::output::{EndedHow, Step};
    use failover_core::output::{FailureKind, Report};
    use failover_core::plan::Intent;
    use failover_core::reason::Reason;
    use failover_core::sample::{FenceLevel, Lsn};

    const ORDERS: ServiceId = ServiceId(0);
    const LONG: Duration = Duration::from_secs(60);

    /// A trigger thread's things without the thread, and the actions that its executor was given.
    struct Bench {
        trigger: Trigger,
        begun: Receiver<&'static str>,
        threads: Threads,
        state: tempfile::TempDir,
    }

    fn bench() -> Bench {
        bench_of(1, "user = \"nobody\"")
    }

    /// With a primary at this port of the loopback, and how the engine connects to it.
    fn bench_of(port: u16, connection: &str) -> Bench {
        let state = tempfile::tempdir().unwrap();
        let text = format!(
            "version = 1\nstate_dir = \"{}\"\n[[services]]\nname = \"orders\"\n[services.connection]\n{connection}\n\
             [[services.servers]]\nname = \"db1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             [[services.servers]]\nname = \"db2\"\nhost = \"127.0.0.1\"\nport = 2\n",
            state.path().display()
        );
        let config = Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"));
        let shell = Arc::clone(&Engine::new(config).unwrap().shell);
        let threads = shell.threads.clone();
        let (sender, begun) = bounded(64);
        let perform = move |task: &Task, _: &Cancel| {
            let _ = sender.send(task.action.name());
            Ok(Report::Done { message: String::new() })
        };
        let (_, inputs) = bounded(1);
        let trigger = Trigger {
            inputs,
            sink: Arc::new(|_| {}),
            journal: Journal::open(state.path()),
            seen: Ok(None),
            lanes: Lanes {
                check: Pool::start(&threads, "check", 1, 1, shell.clock, |_| {}).unwrap(),
                child: None,
                embedder: None,
            },
            executor: Executor::start(&threads, 1, Box::new(perform), |_| {}).unwrap(),
            watcher: Arc::new(Watcher::start(shell.clock, |_| {}).unwrap()),
            survey: Cancel::new().unwrap(),
            recorder: None,
            duty: threads.duty("trigger", 0),
            begun: None,
            state: State { journal_was_writable: true, ..State::default() },
            shell,
        };
        Bench { trigger, begun, threads, state }
    }

    impl Bench {
        fn intend(&mut self, generation: u64) {
            let begun = Intent {
                generation: Generation(generation),
                reason: Reason::Failed(FailureClass::Dead),
                old: ServerId(0),
                system_id: 7,
                old_timeline: 1,
                require: FenceLevel::ProvenStopped,
                furthest: None,
                sync: None,
                acknowledged_before: Lsn(0),
                streaming: Vec::new(),
                route_touched: false,
                fence_tried: false,
                stop_tried: false,
                view_confirmed: true,
                chosen: None,
                first_bad: None,
                judgement: None,
            };
            let (service, generation, evidence) = (ORDERS, Generation(generation), Vec::new());
            let intent = Record::Intent { service, generation, evidence, begun: Box::new(begun) };
            self.trigger.carry_out(vec![Output::Journal(intent)]);
        }

        /// The action is begun; otherwise its failure is what the core hears.
        fn begins(&mut self, generation: u64, action: Action) -> bool {
            let chosen = matches!(action, Action::Promote { .. } | Action::RouteIn { .. })
                .then(|| Candidate::chosen_before(ServerId(1), Lsn(1), None, false));
            let (service, generation, step) = (ORDERS, Generation(generation), action.step());
            let record = Record::StepBegun { service, generation, step, target: String::new(), chosen };
            let deadline = self.trigger.shell.clock.now() + Span::from_millis(60_000);
            self.trigger.state.own.clear();
            self.trigger.carry_out(vec![
                Output::Journal(record),
                Output::RunAction { id: ActionId(1), service, generation, action, deadline },
            ]);
            let refused = matches!(
                self.trigger.state.own.pop_front(),
                Some(Input::ActionFinished { outcome: Err(Failure { kind: FailureKind::NoEffect, .. }), .. })
            );
            if refused {
                return false;
            }
            assert_eq!(self.begun.recv_deadline(Deadline::after(LONG).instant()).unwrap(), step.as_str());
            true
        }

        fn end(self) -> tempfile::TempDir {
            self.trigger.end();
            self.threads.join(Deadline::after(LONG)).unwrap();
            self.state
        }
    }

    fn fence() -> Action {
        let server = ServerId(0);
        Action::Fence { server, require: FenceLevel::ProvenStopped, hung: false, unreachable: false, view_confirmed: true }
    }

    fn promote() -> Action {
        Action::Promote { server: ServerId(1), system_id: 7, old_timeline: 1 }
    }

    fn out() -> Action {
        Action::RouteOut { server: ServerId(0) }
    }

    fn route_in() -> Action {
        Action::RouteIn { server: ServerId(1), share: None }
    }

    /// Surveys the primary at this port, which `connection` lets in, and closes the session of its checks: what is there after the survey, and
    /// after the end.
    #[cfg(not(shuttle))]
    pub(crate) fn after_survey_and_close(port: u16, connection: &str, surveyed: impl FnOnce(), closed: impl FnOnce()) {
        let mut bench = bench_of(port, connection);
        let around = crate::action::postgres::Around {
            followers: false,
            keeps_sync_set: false,
            primary: Some(ServerId(0)),
            candidates: 1,
            checks: 1,
            replay_stands: false,
            candidate: true,
            delay_allowed: false,
            salvage: None,
        };
        let parts = bench.trigger.shell.parts();
        let cluster = &parts.services[0].actions.cluster;
        cluster.survey(ServerId(0), around, Deadline::after(LONG), &Cancel::new().unwrap()).unwrap();
        surveyed();
        bench.trigger.carry_out(vec![Output::CloseSession { service: ORDERS, server: ServerId(0) }]);
        closed();
        bench.end();
    }

    #[test]
    fn who_follows_comes_before_whom_it_follows() {
        let service = |name: &str, follows: Option<&str>| ServiceModel {
            name: name.to_owned(),
            follows: follows.map(|name| FollowModel {
                service: ServiceId(0),
                name: name.to_owned(),
                servers: Vec::new(),
                command: false,
                timeout: Span::ZERO,
                with: Vec::new(),
                hold: Span::ZERO,
            }),
            ..crate::engine::tests::two_servers().services.remove(0)
        };
        let services = [service("orders", None), service("web", Some("orders")), service("mail", Some("web"))];
        assert_eq!(followers_first(&services), [2, 1, 0]);
        assert_eq!(followers_first(&services[..1]), [0]);
    }

    #[test]
    fn a_promotion_behind_an_intent_on_disk_does_not_wait_for_its_record() {
        let mut bench = bench();
        bench.intend(1);
        for action in [Action::PreChecks, out(), fence()] {
            bench.trigger.journal.fail_next();
            assert!(!bench.begins(1, action.clone()), "{action:?}");
            assert!(!bench.trigger.journal.is_writable());
            assert!(bench.begins(1, action));
        }
        bench.trigger.journal.fail_next();
        assert!(bench.begins(1, promote()));
        assert!(bench.trigger.journal.owes());
        let after = Action::VerifyData { server: ServerId(1), system_id: 7, old_timeline: 1 };
        for action in [after, route_in()] {
            bench.trigger.journal.fail_next();
            assert!(bench.begins(1, action));
        }
        let facts = |bench: &Bench| {
            let parts = bench.trigger.shell.parts();
            Journal::read_only(&parts.config.state_dir, String::new()).facts(&parts.model.services[0], SystemTime::now()).unwrap()
        };
        assert!(facts(&bench).begun.unwrap().chosen.is_none());
        // Whatever is written next, whom it was to be comes first.
        let (service, generation) = (ORDERS, Generation(1));
        let end = Record::StepEnded { service, generation, step: Step::Promote, ok: true, message: String::new() };
        bench.trigger.carry_out(vec![Output::Journal(end)]);
        assert_eq!(facts(&bench).begun.unwrap().chosen.map(|chosen| chosen.server), Some(ServerId(1)));
        assert!(!bench.trigger.journal.owes());
        bench.end();
    }

    #[test]
    fn what_was_owed_is_written_before_the_engine_ends() {
        let mut bench = bench();
        bench.intend(1);
        bench.trigger.journal.fail_next();
        assert!(bench.begins(1, promote()));
        let parts = bench.trigger.shell.parts();
        let _state = bench.end();
        let journal = Journal::read_only(&parts.config.state_dir, String::new());
        let begun = journal.facts(&parts.model.services[0], SystemTime::now()).unwrap().begun.unwrap();
        assert!(begun.chosen.is_some());
    }

    #[test]
    fn a_failover_whose_intent_is_not_on_disk_does_nothing_in_any_step() {
        let mut bench = bench();
        bench.trigger.journal.fail_next();
        bench.intend(1);
        // The records of its steps would find a place again.
        for action in [Action::PreChecks, out(), fence(), promote(), route_in()] {
            assert!(!bench.begins(1, action.clone()), "{action:?}");
        }
        assert!(bench.begins(1, Action::FenceUndo { server: ServerId(0) }));
        let (service, generation) = (ORDERS, Generation(1));
        bench.trigger.carry_out(vec![Output::Journal(Record::Ended { service, generation, how: EndedHow::RolledBack })]);
        bench.intend(2);
        assert!(bench.begins(2, fence()) && bench.begins(2, promote()));
        bench.end();
    }
}
