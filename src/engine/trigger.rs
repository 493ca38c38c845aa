//! The one thread that asks the core and carries out what it says: receive, lock, step, unlock, then the outputs in order.
//! Nothing but `step` and a copy of the state ever runs under the lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::check::Context;
use crate::core::Core;
use crate::core::event::{EventKind, Field, Severity};
use crate::core::id::{CheckId, RunId, ServerId, ServiceId};
use crate::core::input::{Command, Input, SelfHealth};
use crate::core::observation::{Finding, UnknownCause};
use crate::core::output::{Action, Failure, Output, Record};
use crate::core::time::{Mono, Span};
use crate::wire::deadline::{Cancel, Deadline};
use crate::wire::postgres::Session;
use crate::wire::resolve::Addresses;

use super::Shell;
use super::builder::{Lane, Parts};
use super::executor::{Executor, Task};
use super::journal::Journal;
use super::pool::{Job, JobKind, Pool};
use super::record::Recorder;
use super::status::{self, FailoverStatus};
use super::sync::channel::{Receiver, RecvTimeoutError, Sender};
use super::threads::{Duty, panic_text};
use super::watcher::Watcher;

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
    Command { service: Option<ServiceId>, command: Command, reply: Sender<Result<String, String>> },
    /// Another configuration, ready built.
    Reload { parts: Arc<Parts>, reply: Sender<Result<(), String>> },
    /// Begin to stop.
    Stop,
}

/// The pools by lane.
#[derive(Clone)]
pub(crate) struct Lanes {
    pub(crate) check: Pool,
    pub(crate) child: Option<Pool>,
    pub(crate) host: Option<Pool>,
}

/// The trigger thread's own things.
pub(crate) struct Trigger {
    pub(crate) shell: Arc<Shell>,
    pub(crate) inputs: Receiver<Message>,
    pub(crate) sink: Arc<dyn Fn(Input) + Send + Sync>,
    pub(crate) journal: Journal,
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
    next_health: Mono,
    /// When another configuration was taken last.
    reloaded: Mono,
    /// What the core wants to be called at, from its last step.
    next_step: Mono,
    journal_was_writable: bool,
    /// Suspended time of the machine, when it was last looked at.
    suspended: Duration,
    stopping: bool,
    /// Threads that have not come back in time, as far as told.
    overdue: Vec<String>,
    /// Bugs that were told.
    bugs: BTreeSet<String>,
}

struct Pending {
    reply: Sender<Result<String, String>>,
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
                !self.shell.planted_trigger_panic.swap(false, super::sync::atomic::Ordering::SeqCst),
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
                self.look_after_itself(Span::ZERO);
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
        for warning in self.shell.parts().config.warnings() {
            self.shell.say(EventKind::Log, Severity::Warning, &format!("configuration: {warning}"));
        }
        self.report_journal();
        self.look_after_itself(Span::ZERO);
        self.restore(&[]);
        self.begun = None;
    }

    /// Tells the core what the journal knows of every service but those it knows already.
    fn restore(&mut self, known: &[String]) {
        let parts = self.shell.parts();
        for (place, service) in parts.model.services.iter().enumerate() {
            let Ok(number) = u16::try_from(place) else { break };
            if known.contains(&service.name) {
                continue;
            }
            if let Some(facts) = self.journal.facts(service, SystemTime::now()) {
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
            Message::Command { service, command, reply } => {
                if let Some(fault) = self.shell.fault() {
                    let _ = reply.send(Err(fault));
                    return;
                }
                let acknowledges = if command == Command::Reset { self.names(service) } else { Vec::new() };
                self.state.token += 1;
                let token = self.state.token;
                self.state.pending.insert(token, Pending { reply, acknowledges });
                self.step(Input::Operator { service, command, token });
                // A step that did not answer never will.
                self.state.pending.remove(&token);
            }
            Message::Reload { parts, reply } => {
                let _ = reply.send(self.reload(parts));
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
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            assert!(!self.shell.planted_panic.swap(false, super::sync::atomic::Ordering::SeqCst), "planted");
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

    fn reload(&mut self, parts: Arc<Parts>) -> Result<(), String> {
        if let Some(fault) = self.shell.fault() {
            return Err(fault);
        }
        if self.state.stopping {
            return Err("the engine is stopping".to_owned());
        }
        let model = parts.model.clone();
        let mut outputs =
            self.with_core(|core, now| core.reload(now, model)).ok_or_else(|| "the engine is faulted".to_owned())??;
        tell_changes(&mut outputs, self.shell.parts().config.changes(&parts.config));
        if let Some(recorder) = &mut self.recorder {
            recorder.start_over();
        }
        // What was asked under the old configuration has the old numbers: nothing of it may come back as something else.
        let known = self.names(None);
        let old = self.shell.parts();
        self.shell.resolver.learn(parts.hosts());
        self.shell.set_parts(parts);
        self.state.reloaded = self.shell.clock.now();
        self.lanes.cancel_all();
        let now = self.shell.parts();
        self.lanes.check.expect(now.jobs());
        for (lane, pool) in [(Lane::Child, &self.lanes.child), (Lane::Host, &self.lanes.host)] {
            if let Some(pool) = pool {
                pool.expect(now.checks_on(lane));
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
        self.state.suspended = now_suspended;
        let gap = late.max(suspended);
        if gap >= LATE {
            self.look_after_itself(gap);
        }
    }

    fn look_after_itself(&mut self, gap: Span) {
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
        self.tell_overdue();
        let (stuck_workers, workers) = self.lanes.worst();
        let stuck_loops = self.shell.threads.stuck_loops();
        let health = SelfHealth { gap, stuck_workers, workers, stuck_loops, journal_writable: self.journal.is_writable() };
        self.step(Input::SelfHealth(health));
    }

    fn tell_bugs(&mut self) {
        for bug in self.lanes.all().flat_map(Pool::bugs).collect::<Vec<_>>() {
            // The same one again at every run of the check tells nothing new.
            if self.state.bugs.len() < TOLD && self.state.bugs.insert(bug.clone()) {
                self.shell.say(EventKind::Log, Severity::Alarm, &format!("{bug}; its answers are unknown until it is mended"));
            }
        }
    }

    /// Says which threads do not come back, and which are back.
    fn tell_overdue(&mut self) {
        let overdue = self.shell.threads.overdue();
        for name in overdue.iter().filter(|name| !self.state.overdue.contains(name)) {
            let message =
                format!("the thread {name} has not come back from its work in time: what it does is not done meanwhile");
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
        // Services whose intention is not on disk: nothing that needs it is done in this step.
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
                Output::CancelRun(run) => {
                    self.lanes.cancel(run);
                    self.shell.host.cancel(run);
                }
                Output::RunAction { id, service, generation, action, deadline } => {
                    if let (true, Some(reason)) = (needs_record(&action), unwritten.get(&service)) {
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
                Output::Emit(event) => self.shell.emit(&parts, &event),
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

    /// What the status shows of a failover that has just ended.
    fn ended(&self, parts: &Parts, service: ServiceId) -> Option<FailoverStatus> {
        let snapshot = self.shell.core.lock().as_ref().map(Core::snapshot)?;
        let mut services = status::services(&snapshot, &parts.model, &self.shell.clock);
        self.shell.stories.complete(&self.shell.clock, &mut services);
        services.into_iter().nth(usize::from(service.0))?.failover
    }

    fn write(&mut self, parts: &Parts, record: &Record, unwritten: &mut BTreeMap<ServiceId, String>) {
        let shown = match record {
            Record::Ended { service, .. } => self.ended(parts, *service),
            _ => None,
        };
        if let Err(reason) = self.journal.append_with(&parts.model, record, shown, SystemTime::now())
            && let Record::Intent { service, .. } | Record::StepBegun { service, .. } = record
        {
            unwritten.insert(*service, reason);
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
            deadline = crate::check::host::a_little_before(deadline);
        }
        if let Some(question) = &part.task {
            let question = super::host::HostCheck { remaining: deadline.remaining(), ..question.clone() };
            self.shell.host.announce_check(run, clock.now(), question);
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
        let Trigger { shell, inputs, journal, lanes, executor, watcher, survey, state, recorder, .. } = self;
        drop(recorder);
        // From here on whoever wants to say something finds nobody, and does not wait.
        drop(inputs);
        survey.cancel();
        lanes.close();
        executor.close();
        shell.host.close();
        shell.resolver.close();
        watcher.stop();
        shell.parts().close();
        for pending in state.pending.into_values() {
            let _ = pending.reply.send(Err("the engine stopped".to_owned()));
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
            Lane::Host => self.host.as_ref(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.check).chain(&self.child).chain(&self.host)
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

/// What may not happen without its record on disk. What comes after the point of no return goes on without one: stopping there
/// would make an outage longer and nothing safer. Questions change nothing.
fn needs_record(action: &Action) -> bool {
    matches!(
        action,
        Action::PreChecks | Action::RouteOut { .. } | Action::StopServer { .. } | Action::Fence { .. } | Action::Promote { .. }
    )
}

/// How long this machine has been suspended since it was booted.
fn suspended() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let monotonic = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(monotonic)
}

/// The deadline of a command's answer: the trigger thread may be waiting for a slow disk.
pub(crate) fn command_deadline() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}
/// Adds to the event of a reload what is different. The core sees names and numbers only, not addresses and files.
fn tell_changes(outputs: &mut [Output], mut changes: Vec<String>) {
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
    }
}
