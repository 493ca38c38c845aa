//! The shell: threads, sockets, clocks, files. It makes no decisions. [`Engine`] is the whole public Rust API.

pub(crate) mod breaker;
pub(crate) mod builder;
pub(crate) mod caller;
mod checked;
mod delay;
mod dependency;
pub(crate) mod embedder;
pub(crate) mod error;
pub(crate) mod error_watch;
pub(crate) mod executor;
pub(crate) mod journal;
pub(crate) mod knowledge;
mod known_stats;
mod looks;
mod memory;
pub(crate) mod metrics;
pub(crate) mod notify;
mod overview;
pub(crate) mod pool;
pub(crate) mod queue;
mod ready;
pub(crate) mod record;
pub(crate) mod remedy;
pub(crate) mod render;
pub(crate) mod report;
pub(crate) mod resolver;
mod role;
mod room;
pub(crate) mod round;
pub(crate) mod route_watch;
pub(crate) mod status;
mod story;
pub(crate) mod survey;
pub(crate) mod survived;
pub(crate) mod threads;
pub(crate) mod topology;
mod traffic;
pub(crate) mod trigger;
pub(crate) mod watcher;
pub(crate) mod why;

#[cfg(all(test, shuttle))]
mod schedules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::check::embedder::HostFunction;
use crate::clock::Clock;
use crate::config::{Config, Notify, Service};
use crate::deadline::{Cancel, Deadline};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::sync::{self, Mutex, RwLock};
use failover_core::Core;
use failover_core::event::{Event, EventKind, Severity};
use failover_core::finding::FindingCode;
use failover_core::id::{ServerId, ServiceId};
use failover_core::input::{Command, Input};
use failover_core::output::Failure;
use failover_core::rejoin::RejoinHow;
use failover_core::switchover::SwitchoverOrder;
use failover_core::time::Span;
use failover_core::traffic::Outcome;

use builder::{Lane, Means, Parts};
use dependency::Dependencies;
use embedder::{EmbedderLane, Task};
use executor::Executor;
use journal::{Journal, StateLock};
use looks::Looks;
use notify::Notifier;
use pool::Pool;
use queue::Hub;
use record::Recorder;
use report::DoctorReport;
use resolver::Resolver;
use round::About;
use status::JournalStatus;
use story::Stories;
use threads::{Duty, Threads};
use trigger::{Lanes, Message, Trigger};
use watcher::Watcher;

pub use crate::check::embedder::{HostAnswer, HostCheck};
pub use embedder::{ActionAnswer, HostAction, TaskAnswer};
pub use error::EngineError;
pub use queue::EventQueue;
pub use render::EngineEvent;
pub(crate) use status::{CheckReport, NotifyTestStatus, ReadyReport, Status};
#[doc(hidden)]
pub use threads::panic_text;

/// The maximum number of messages that wait for the trigger thread. A sender blocks while the queue is full.
pub(crate) const INPUTS: usize = sync::bound(4096, 4);
/// The maximum number of threads for child processes of `exec` checks, and for functions of the host program.
const LANE: usize = 4;
/// If a callback of the host program takes longer than this for one event, the engine reports it by name.
const CALLBACK: Duration = Duration::from_secs(30);
/// How long an order of planned work waits for another look at the servers.
const FRESH_LOOK: Duration = Duration::from_secs(3);
/// How often it looks whether that has come.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a dropped engine waits for its threads.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// The result of a command. `Display` shows its message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommandReply {
    /// One sentence for people.
    pub message: String,
    /// The number of the failover that this command began, as in its events and in [`FailoverStatus`](crate::FailoverStatus).
    /// [`Engine::force`] and [`Engine::switchover`] begin one. A confirmation allows a failover to begin; its events show which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What was looked at before a switchover, in order; of every other command empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<PreflightStatus>,
}

impl fmt::Display for CommandReply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

/// The options of [`Engine::force`]: what the operator waives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForceOptions {
    /// The standby to promote. `None` means the best one.
    pub to: Option<String>,
    /// The maximum number of bytes that may be lost. `None` means the configured limit.
    pub accept_loss: Option<u64>,
}

/// The options of [`Engine::rejoin`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejoinOptions {
    /// Only find out what would be done, and what stands in the way. Nothing is changed.
    pub dry_run: bool,
    /// By a new copy of the primary's data instead: its own data directory is kept beside it, under another name.
    pub rebuild: bool,
}

/// The options of [`Engine::clone_server`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloneOptions {
    /// Only find out what would be done, and what stands in the way. Nothing is changed.
    pub dry_run: bool,
}

/// The options of [`Engine::switchover`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwitchoverOptions {
    /// The standby to promote. `None` means the best one.
    pub to: Option<String>,
    /// Only look: nothing is changed, and [`CommandReply::preflight`] says what was seen.
    pub dry_run: bool,
    /// Begin at this moment, at most [`LONGEST_PAUSE`] from now. `None` means now. If the engine does not run at that moment, the
    /// switchover is reported as missed and does not begin later.
    pub at: Option<SystemTime>,
}

/// One thing that was looked at before a switchover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PreflightStatus {
    /// A stable name.
    pub name: String,
    /// `ok`, `warning` or `refused`.
    pub level: String,
    /// What was seen.
    pub message: String,
    /// What mends it; empty where nothing has to be mended.
    pub remedy: String,
}

impl SwitchoverOptions {
    fn order(&self) -> Result<SwitchoverOrder, EngineError> {
        let wrong = |why: String| Err(EngineError::InvalidArgument(why));
        let Some(at) = self.at else {
            return Ok(if self.dry_run { SwitchoverOrder::Look } else { SwitchoverOrder::Begin });
        };
        if self.dry_run {
            return wrong("a dry run looks now: give it no moment".to_owned());
        }
        match at.duration_since(SystemTime::now()) {
            Ok(after) if after <= LONGEST_PAUSE => {
                let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                Ok(SwitchoverOrder::Plan { after: Span::from(after), at_ms })
            }
            Ok(_) => wrong("a planned switchover begins within 30 days".to_owned()),
            Err(_) => wrong("the moment of a planned switchover lies ahead".to_owned()),
        }
    }
}

/// The options of [`Engine::pause_with`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PauseOptions {
    /// The reason: one line of at most 500 characters. It appears in status, events and journal.
    pub reason: Option<String>,
    /// The duration after which the pause ends by itself, from a millisecond to [`LONGEST_PAUSE`]. `None` means that it lasts
    /// until it is resumed.
    pub lasts: Option<Duration>,
}

/// The maximum duration of a pause that ends by itself: 30 days.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The maximum number of characters in the reason of a pause.
const REASON: usize = 500;

impl PauseOptions {
    fn command(self) -> Result<Command, EngineError> {
        let wrong = |why: String| Err(EngineError::InvalidArgument(why));
        let PauseOptions { reason, lasts } = self;
        let reason = reason.filter(|reason| !reason.is_empty());
        if let Some(reason) = &reason
            && (reason.chars().count() > REASON || reason.chars().any(char::is_control))
        {
            return wrong(format!("the reason of a pause is one line of at most {REASON} characters"));
        }
        if let Some(lasts) = lasts.filter(|lasts| *lasts < Duration::from_millis(1) || *lasts > LONGEST_PAUSE) {
            return wrong(format!("a pause for {lasts:?}: it lasts from 1 ms to 30 days, or without a time until it is resumed"));
        }
        Ok(Command::Pause { reason, lasts: lasts.map(Span::from) })
    }
}

/// A failover engine. All methods may be called from any thread at any time, also from event callbacks unless noted.
///
/// Dropping a running engine stops it, which takes a few seconds at most. Threads do not survive `fork`. In a child process every
/// method that needs them returns an error, and dropping the engine there only releases the lock on the state directory.
pub struct Engine {
    shell: Arc<Shell>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Stopping,
    Stopped,
}

/// What all threads of an engine share.
pub(crate) struct Shell {
    pub(crate) clock: Clock,
    /// Whose it is: a child of fork has none of its threads.
    process: u32,
    /// From start to stop. Apart from what other threads lock, for a child of fork gives its copy back.
    state_lock: parking_lot::Mutex<Option<StateLock>>,
    pub(crate) hub: Hub,
    pub(crate) threads: Threads,
    pub(crate) notifier: Notifier,
    looks: Looks,
    pub(crate) resolver: Resolver,
    pub(crate) embedder: Arc<EmbedderLane>,
    /// `None` until the start.
    pub(crate) core: Mutex<Option<Core>>,
    pub(crate) pulse: knowledge::Pulse,
    parts: RwLock<Arc<Parts>>,
    life: Mutex<Life>,
    faulted: AtomicBool,
    fault: Mutex<Option<String>>,
    journal: Mutex<JournalStatus>,
    stories: Stories,
    /// The last failover of each service that an earlier engine carried out, by the journal.
    summaries: Mutex<BTreeMap<String, status::FailoverStatus>>,
    /// Servers that the survey is to look at before their turn.
    pub(crate) unsurveyed: Mutex<BTreeSet<(ServiceId, ServerId)>>,
    dependencies: Dependencies,
    reports: traffic::Reports,
    watcher: Mutex<Option<Arc<Watcher>>>,
    /// Where the role endpoint listens.
    role_endpoint: Mutex<Option<std::net::SocketAddr>>,
    #[cfg(test)]
    pub(crate) planted_panic: AtomicBool,
    #[cfg(test)]
    pub(crate) planted_trigger_panic: AtomicBool,
    /// Held by a test, it keeps the trigger thread from coming round.
    #[cfg(test)]
    pub(crate) planted_stall: Mutex<()>,
}

/// What begins at start and ends at stop.
struct Life {
    phase: Phase,
    started: Option<Instant>,
    inputs: Option<Sender<Message>>,
    lanes: Option<Lanes>,
    has_child_lane: bool,
    /// Numbers the threads that serve events.
    servers: usize,
}

/// What earlier engines left in the state directory.
struct Before {
    journal: Journal,
    seen: Result<Option<knowledge::Content>, String>,
    /// Where to leave more; `None`: not there.
    directory: Option<PathBuf>,
}

impl Before {
    fn open(state_dir: &Path) -> Result<(Option<StateLock>, Before), EngineError> {
        match StateLock::take(state_dir) {
            Ok(lock) => {
                let (journal, seen) = (Journal::open(state_dir), knowledge::load(state_dir));
                Ok((Some(lock), Before { journal, seen, directory: Some(state_dir.to_owned()) }))
            }
            Err(error @ EngineError::AlreadyRunning { .. }) => Err(error),
            // Without a lock there is no journal, and without a journal the engine observes and decides nothing.
            Err(error) => {
                let reason = format!("{error}; mend that, then restart the daemon, or make a new engine");
                let journal = Journal::read_only(state_dir, reason);
                Ok((None, Before { journal, seen: Ok(None), directory: None }))
            }
        }
    }
}

impl Engine {
    /// Creates an engine from the configuration and starts nothing: no thread, no file, no socket.
    ///
    /// # Errors
    /// [`EngineError::InvalidArgument`] for mistakes that only show when the parts of the configuration are combined.
    #[expect(clippy::needless_pass_by_value, reason = "the engine owns its configuration")]
    pub fn new(config: Config) -> Result<Engine, EngineError> {
        let clock = Clock::start();
        let resolver = Resolver::default();
        let embedder = Arc::new(EmbedderLane::default());
        let means = Means {
            clock,
            addresses: Arc::new(resolver.clone()),
            embedder: Arc::clone(&embedder),
            application_name: builder::application_name(&config),
        };
        let parts = builder::build(&config, &means)?;
        let journal =
            JournalStatus { path: config.state_dir.join("journal.jsonl").display().to_string(), ..JournalStatus::default() };
        let shell = Shell {
            process: std::process::id(),
            state_lock: parking_lot::Mutex::default(),
            clock,
            hub: Hub::new(clock),
            threads: Threads::default(),
            notifier: Notifier::new(),
            looks: Looks::default(),
            resolver,
            embedder,
            core: Mutex::new(None),
            pulse: knowledge::Pulse::default(),
            parts: RwLock::new(Arc::new(parts)),
            life: Mutex::new(Life {
                phase: Phase::New,
                started: None,
                inputs: None,
                lanes: None,
                has_child_lane: false,
                servers: 0,
            }),
            faulted: AtomicBool::new(false),
            fault: Mutex::new(None),
            journal: Mutex::new(journal),
            stories: Stories::default(),
            summaries: Mutex::default(),
            unsurveyed: Mutex::new(BTreeSet::new()),
            dependencies: Dependencies::new(clock),
            reports: traffic::Reports::default(),
            watcher: Mutex::new(None),
            role_endpoint: Mutex::new(None),
            #[cfg(test)]
            planted_panic: AtomicBool::new(false),
            #[cfg(test)]
            planted_trigger_panic: AtomicBool::new(false),
            #[cfg(test)]
            planted_stall: Mutex::new(()),
        };
        Ok(Engine { shell: Arc::new(shell) })
    }

    /// Locks the state directory, replays the journal, starts the threads and begins to watch. An engine starts once: after a
    /// stop, create a new one.
    ///
    /// # Errors
    /// [`EngineError::State`] if it was started before, [`EngineError::InvalidArgument`] if a check of kind `host` asks for a
    /// function that was neither registered nor offered, [`EngineError::AlreadyRunning`] if another engine holds the state
    /// directory, [`EngineError::System`] if threads cannot be created. A journal that cannot be read or written is no error
    /// here: the engine observes, starts no failover, and says why in events and status.
    pub fn start(&self) -> Result<(), EngineError> {
        let shell = &self.shell;
        let mut life = shell.life.lock();
        match life.phase {
            Phase::New => {}
            Phase::Running => return Err(EngineError::State("the engine is running already".to_owned())),
            Phase::Stopping | Phase::Stopped => {
                return Err(EngineError::State("the engine was stopped: make a new one".to_owned()));
            }
        }
        shell.are_all_answered(&shell.parts().config)?;
        // Registered functions are part of the parts from here on.
        let parts = Arc::new(shell.build(&shell.parts().config.clone())?);
        let state_dir = parts.config.state_dir.clone();
        let (lock, before) = Before::open(&state_dir)?;
        *shell.summaries.lock() = before.journal.summaries();
        if lock.is_some() {
            forget_finished(&parts, &before.journal);
        }
        shell.set_parts(Arc::clone(&parts));
        shell.resolver.learn(parts.hosts());
        let (sender, receiver) = bounded(INPUTS);
        let started = shell.start_threads(&parts, before, &sender, receiver);
        let lanes = match started {
            Ok(lanes) => lanes,
            Err(error) => {
                life.phase = Phase::Stopped;
                shell.resolver.close();
                shell.notifier.close();
                shell.hub.close();
                return Err(error);
            }
        };
        life.phase = Phase::Running;
        life.has_child_lane = parts.checks_on(Lane::Child) > 0;
        life.started = Some(sync::now());
        life.inputs = Some(sender);
        life.lanes = Some(lanes);
        *shell.state_lock.lock() = lock;
        Ok(())
    }

    /// Stops the engine. It undoes a failover before the point of no return. After the point of no return it finishes the present
    /// step. Then every thread ends. When `stop` returns `Ok`, no thread of the engine exists, no callback runs or will run, and
    /// `engine_stopped` was the last event. Stopping a stopped engine returns `Ok`. An engine that never ran becomes stopped.
    ///
    /// # Errors
    /// [`EngineError::Timeout`] if the engine is still stopping: call again to continue waiting. [`EngineError::Reentrant`] on a
    /// thread of the engine.
    pub fn stop(&self, timeout: Duration) -> Result<(), EngineError> {
        let shell = &self.shell;
        shell.is_here()?;
        if shell.is_own_thread() {
            return Err(EngineError::Reentrant);
        }
        let deadline = Deadline::after(timeout);
        shell.request_stop();
        match shell.threads.join(deadline).and_then(|()| shell.looks.join(deadline)) {
            Ok(()) => {
                let mut life = shell.life.lock();
                life.phase = Phase::Stopped;
                life.inputs = None;
                life.lanes = None;
                *shell.state_lock.lock() = None;
                Ok(())
            }
            Err(names) => Err(EngineError::Timeout(timeout, format!("{} still at work", names.join(", ")))),
        }
    }

    /// Begins to stop and returns at once. It is safe on every thread, also in callbacks. [`Engine::stop`] waits for the end.
    pub fn request_stop(&self) {
        self.shell.request_stop();
    }

    /// Loads another configuration: adds, removes and changes services. Counters restart: observations under the old
    /// configuration decide nothing. The functions that its checks of kind `host` ask for must exist by then:
    /// [`Engine::register_check`], [`Engine::offer_check`].
    ///
    /// # Errors
    /// [`EngineError::Rejected`] while a failover is in progress, and for other servers of a service while the journal cannot be
    /// written; [`EngineError::State`] if a setting differs that is fixed at start (`state_dir`, the first check of kind `exec`),
    /// or if the engine does not run; [`EngineError::InvalidArgument`]. After an error nothing has changed.
    #[expect(clippy::needless_pass_by_value, reason = "the engine owns its configuration")]
    pub fn reload(&self, config: Config) -> Result<(), EngineError> {
        let shell = &self.shell;
        let old = shell.parts();
        if config.state_dir != old.config.state_dir {
            return Err(EngineError::State("state_dir cannot change while the engine runs: restart it".to_owned()));
        }
        shell.are_all_answered(&config)?;
        let parts = Arc::new(shell.build(&config)?);
        if parts.checks_on(Lane::Child) > 0 && !shell.life.lock().has_child_lane {
            let why =
                "threads for child processes are made at start, and there was no check of kind exec then: restart the engine";
            return Err(EngineError::State(why.to_owned()));
        }
        let embedder = shell.embedder_lane(&parts)?;
        let answer = shell.ask(|reply| Message::Reload { parts: Arc::clone(&parts), embedder, reply })?;
        answer.map_err(EngineError::Rejected)?;
        shell.reports.forget();
        if let Err(error) = shell.notifier.configure(shell) {
            let message =
                format!("not all receivers of notifications are told what happens: {error}; reload the configuration once more");
            shell.say(EventKind::Log, Severity::Alarm, &message);
        }
        if parts.config.engine.workers != old.config.engine.workers {
            shell.say(
                EventKind::Log,
                Severity::Warning,
                "engine.workers is fixed at start: the new number counts after a restart",
            );
        }
        let checkers = shell.life.lock().lanes.as_ref().map_or(0, |lanes| lanes.check.numbers().workers);
        if let Some((severity @ Severity::Warning, message)) = parts.config.about_workers(usize::try_from(checkers).unwrap_or(0))
        {
            shell.say(EventKind::Log, severity, &message);
        }
        if parts.config.engine.role_endpoint != old.config.engine.role_endpoint {
            shell.say(
                EventKind::Log,
                Severity::Warning,
                "engine.role_endpoint is fixed at start: the new address counts after a restart",
            );
        }
        Ok(())
    }

    /// The status of the engine. The call waits no longer than a copy of a few services takes, and delays decisions no longer.
    /// Each service is shown as it was at one moment. Of a thousand services the last one is some milliseconds later than the
    /// first.
    pub fn status(&self) -> Status {
        overview::all(&self.shell)
    }

    /// The status with one service alone, its circuit breakers and its functions. The cost does not grow with the number of
    /// services.
    ///
    /// # Errors
    /// [`EngineError::InvalidArgument`] for an unknown service.
    pub fn status_of(&self, service: &str) -> Result<Status, EngineError> {
        if !self.shell.parts().config.services.iter().any(|known| known.name == service) {
            return Err(EngineError::InvalidArgument(format!("there is no service \"{service}\"")));
        }
        Ok(overview::of(&self.shell, service))
    }

    /// The metrics in Prometheus' text format: counters, gauges and the durations of rule 82.
    /// [`metrics_details`](crate::metrics_details) of a status has the metrics of each server, each check and each circuit
    /// breaker.
    pub fn metrics_text(&self) -> String {
        metrics::text(&self.status())
    }

    /// A new event queue with all events from now on (from the start, if called before it). See [`EventQueue`].
    ///
    /// # Errors
    /// [`EngineError::State`] if there are already 32 consumers, or after the stop; [`EngineError::System`] without descriptors.
    pub fn queue(&self) -> Result<EventQueue, EngineError> {
        self.shell.hub.subscribe(true)
    }

    /// Events as a bounded channel, which one thread serves from a queue of its own. Slow receivers first lose single
    /// observations and log lines (counted in `overflow` events), and never slow down the engine. The channel is disconnected
    /// after the last event, or at once if [`Engine::queue`] would fail.
    pub fn events(&self) -> Receiver<Arc<EngineEvent>> {
        // The second half is only used at the end, for what the queue still holds: the last event always finds its place.
        let (sender, receiver) = bounded(2 * queue::CAPACITY + 16);
        if let Ok(queue) = self.shell.hub.subscribe(false) {
            // Without a thread the sender is dropped, and the receiver is disconnected.
            let _ = self.shell.serve(move |_| forward(&queue, &sender));
        }
        receiver
    }

    /// Calls `f` for every event, one at a time, in order, on one thread of its own and never under a lock. `f` may call
    /// everything but [`Engine::stop`]. A panic in `f` is caught, reported by one `log` event and logged from then on. If a call
    /// of `f` does not return for 30 seconds, the engine reports it by name. Neither changes what the engine observes or decides.
    ///
    /// An `f` that owns the engine keeps it alive until it is stopped.
    ///
    /// # Errors
    /// As for [`Engine::queue`].
    pub fn on_event(&self, f: impl Fn(&EngineEvent) + Send + 'static) -> Result<(), EngineError> {
        let queue = self.shell.hub.subscribe(false)?;
        let shell = Arc::downgrade(&self.shell);
        self.shell.serve(move |duty| {
            let mut told = false;
            while let Some(event) = next(&queue) {
                duty.begin(CALLBACK);
                let outcome = catch_unwind(AssertUnwindSafe(|| f(&event)));
                duty.rest();
                let Err(payload) = outcome else { continue };
                let message = format!("an event callback panicked: {}", panic_text(&*payload));
                // Said once: a callback that panics at every event would be answered by one more.
                match shell.upgrade() {
                    Some(shell) if !std::mem::replace(&mut told, true) => {
                        shell.say(EventKind::Log, Severity::Alarm, &message);
                    }
                    _ => log::error!(target: "failover", "{message}"),
                }
            }
        })
    }

    /// Confirms the failover of `service` that waits for confirmation.
    ///
    /// # Errors
    /// [`EngineError::Rejected`] if none waits; [`EngineError::InvalidArgument`] for an unknown service. As for every command:
    /// [`EngineError::State`] if the engine does not run, [`EngineError::Faulted`].
    pub fn confirm(&self, service: &str) -> Result<CommandReply, EngineError> {
        self.shell.command(Some(service), Command::Confirm)
    }

    /// Confirms every failover that waits for confirmation.
    ///
    /// # Errors
    /// As for [`Engine::confirm`].
    pub fn confirm_all(&self) -> Result<CommandReply, EngineError> {
        self.shell.command(None, Command::Confirm)
    }

    /// Pauses one service, or all: the engine observes and decides nothing.
    ///
    /// # Errors
    /// As for [`Engine::confirm`].
    pub fn pause(&self, service: Option<&str>) -> Result<CommandReply, EngineError> {
        self.pause_with(service, PauseOptions::default())
    }

    /// Like [`Engine::pause`], with a reason, and with a duration after which the pause ends by itself. An event reports this
    /// end, and counters restart. Pausing again replaces both. After a restart, the end is a moment of the wall clock, and is
    /// never further away than the requested duration.
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; [`EngineError::InvalidArgument`] for what is out of the bounds of [`PauseOptions`].
    pub fn pause_with(&self, service: Option<&str>, options: PauseOptions) -> Result<CommandReply, EngineError> {
        self.shell.command(service, options.command()?)
    }

    /// Ends the pause. Counters restart.
    ///
    /// # Errors
    /// As for [`Engine::confirm`].
    pub fn resume(&self, service: Option<&str>) -> Result<CommandReply, EngineError> {
        self.shell.command(service, Command::Resume)
    }

    /// Leaves `manual_intervention` or `failed_over`.
    ///
    /// # Errors
    /// As for [`Engine::confirm`].
    pub fn reset(&self, service: &str) -> Result<CommandReply, EngineError> {
        self.shell.command(Some(service), Command::Reset)
    }

    /// Begins a failover now, from any state except a failover in progress. The record contains every waived safety check. The
    /// call returns with the number of the failover when it has begun. A healthy primary of a database is not forced away unless a
    /// loss is accepted: that is [`Engine::switchover`].
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; an unknown standby is [`EngineError::InvalidArgument`].
    pub fn force(&self, service: &str, options: ForceOptions) -> Result<CommandReply, EngineError> {
        let ForceOptions { to, accept_loss } = options;
        let to = to.map(|name| self.server_of(service, &name)).transpose()?;
        self.shell.command(Some(service), Command::Force { to, accept_loss })
    }

    /// Lets a healthy primary hand over to a standby, now or at a given moment. Nothing is waived and no committed row is lost: if the
    /// engine cannot prove that the standby has the whole log, it promotes nobody and starts the primary again. Begun now, the call
    /// returns with the number of the failover when it has begun.
    ///
    /// With [`SwitchoverOptions::dry_run`] nothing is changed: [`CommandReply::preflight`] has one line for everything that was
    /// looked at, and a line of level `refused` means that the switchover would not begin.
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; an unknown standby, and a moment that does not lie within the next 30 days, is
    /// [`EngineError::InvalidArgument`].
    pub fn switchover(&self, service: &str, options: SwitchoverOptions) -> Result<CommandReply, EngineError> {
        let order = options.order()?;
        let to = options.to.map(|name| self.server_of(service, &name)).transpose()?;
        if matches!(order, SwitchoverOrder::Begin | SwitchoverOrder::Look) {
            self.shell.look_afresh(service)?;
        }
        self.shell.command(Some(service), Command::Switchover { to, order })
    }

    /// Takes a planned switchover back.
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; [`EngineError::Rejected`] also if none is planned.
    pub fn cancel_switchover(&self, service: &str) -> Result<CommandReply, EngineError> {
        self.shell.command(Some(service), Command::Switchover { to: None, order: SwitchoverOrder::Cancel })
    }

    /// Declares a server that takes writes to be the primary. Use this if the engine cannot prove that the server continues the
    /// log of the last primary. Nothing is promoted, stopped or fenced, and the traffic follows the server.
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; an unknown server is [`EngineError::InvalidArgument`].
    pub fn adopt(&self, service: &str, server: &str) -> Result<CommandReply, EngineError> {
        let server = self.server_of(service, server)?;
        self.shell.command(Some(service), Command::Adopt { server })
    }

    /// Prevents the promotion of `server` until [`Engine::uncordon`], by automatic failover, by [`Engine::force`] and by
    /// following another service. The engine observes the server as before, and what the server has of the log counts. The cordon
    /// survives restart and reload.
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; [`EngineError::Rejected`] also while a failover is in flight; an unknown server is
    /// [`EngineError::InvalidArgument`].
    pub fn cordon(&self, service: &str, server: &str) -> Result<CommandReply, EngineError> {
        let server = self.server_of(service, server)?;
        self.shell.command(Some(service), Command::Cordon { server })
    }

    /// Reverts [`Engine::cordon`].
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; an unknown server is [`EngineError::InvalidArgument`].
    pub fn uncordon(&self, service: &str, server: &str) -> Result<CommandReply, EngineError> {
        let server = self.server_of(service, server)?;
        self.shell.command(Some(service), Command::Uncordon { server })
    }

    /// Begins to bring `server`, a former primary that is stopped, back as a standby of the present primary: as it is where its log has
    /// nothing that the new primary lacks, else by `pg_rewind`, once for each failover, or with [`RejoinOptions::rebuild`] by a new copy. What
    /// it has is counted and reported before anything is changed (event `lost_transactions`). The call returns when it has begun;
    /// `rejoin_ended` and [`ServiceStatus::rejoin`](crate::ServiceStatus::rejoin) tell how it ends.
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; [`EngineError::Rejected`] also while a failover is in flight, while `server` runs or is the primary, and
    /// if there is no SSH to both hosts; an unknown server is [`EngineError::InvalidArgument`].
    #[allow(clippy::needless_pass_by_value, reason = "as the options of the other commands")]
    pub fn rejoin(&self, service: &str, server: &str, options: RejoinOptions) -> Result<CommandReply, EngineError> {
        let server = self.server_of(service, server)?;
        let how = match (options.rebuild, options.dry_run) {
            (false, false) => RejoinHow::Rewind,
            (false, true) => RejoinHow::DryRun,
            (true, false) => RejoinHow::Rebuild,
            (true, true) => RejoinHow::DryRebuild,
        };
        self.shell.command(Some(service), Command::Rejoin { server, how })
    }

    /// Begins to make `server`, in whose data directory nothing is, a standby of the present primary by a first copy of its data. The call
    /// returns when it has begun; `copy_progress`, `rejoin_ended` and [`ServiceStatus::rejoin`](crate::ServiceStatus::rejoin) tell how far it
    /// is and how it ends.
    ///
    /// # Errors
    /// As for [`Engine::rejoin`].
    #[allow(clippy::needless_pass_by_value, reason = "as the options of the other commands")]
    pub fn clone_server(&self, service: &str, server: &str, options: CloneOptions) -> Result<CommandReply, EngineError> {
        let server = self.server_of(service, server)?;
        let how = if options.dry_run { RejoinHow::DryClone } else { RejoinHow::Clone };
        self.shell.command(Some(service), Command::Rejoin { server, how })
    }

    fn server_of(&self, service: &str, name: &str) -> Result<ServerId, EngineError> {
        let parts = self.shell.parts();
        let known = parts.config.services.iter().find(|known| known.name == service);
        let known = known.ok_or_else(|| EngineError::InvalidArgument(format!("there is no service \"{service}\"")))?;
        let unknown = || EngineError::InvalidArgument(format!("{service} has no server \"{name}\""));
        known.server(name).and_then(|(place, _)| u16::try_from(place).ok()).map(ServerId).ok_or_else(unknown)
    }

    /// Registers `f` to answer checks of kind `host` called `name` (their `function`, or their own name). `f` runs on the
    /// engine's own host lane and never on a checker thread. If `f` panics or does not return by its deadline, the result is
    /// `unknown`, and an alarm is raised. `f` is not called again before it has returned.
    ///
    /// Every name that checks ask for must be registered or offered ([`Engine::offer_check`]) before the start; otherwise the
    /// engine does not start. While the engine runs, functions for a later configuration can be registered before
    /// [`Engine::reload`]. [`Status::host_functions`] has the names of the present configuration,
    /// [`Root::host_functions`](crate::Root::host_functions) those of any configuration.
    ///
    /// # Errors
    /// [`EngineError::InvalidArgument`] before the start, if no check has that name; [`EngineError::State`] after the start, if
    /// that name is answered already, and after the stop.
    pub fn register_check(
        &self,
        name: &str,
        f: impl Fn(&HostCheck) -> HostAnswer + Send + Sync + 'static,
    ) -> Result<(), EngineError> {
        self.answer_check(name, Some(Arc::new(f)))
    }

    /// Like [`Engine::register_check`], but each run is a `task_check` event that the program answers with
    /// [`Engine::complete_task`]. If it is not answered by its deadline, the result is `unknown`.
    ///
    /// # Errors
    /// As for [`Engine::register_check`]; offering the same name again is not an error.
    pub fn offer_check(&self, name: &str) -> Result<(), EngineError> {
        self.answer_check(name, None)
    }

    fn answer_check(&self, name: &str, function: Option<Arc<HostFunction>>) -> Result<(), EngineError> {
        let life = self.shell.life.lock();
        let before = self.shell.embedder.answered_by(name);
        match life.phase {
            Phase::New => {
                let known = self.shell.parts().config.host_functions();
                if !known.contains(name) {
                    let there = if known.is_empty() { "none".to_owned() } else { Vec::from_iter(known).join(", ") };
                    let message = format!("no check of kind host is called \"{name}\"; there is: {there}");
                    return Err(EngineError::InvalidArgument(message));
                }
            }
            Phase::Running if before == Some("tasks") && function.is_none() => return Ok(()),
            Phase::Running if before.is_some() => {
                let message = format!("\"{name}\" is answered already, and that is fixed at start");
                return Err(EngineError::State(message));
            }
            Phase::Running => {}
            Phase::Stopping | Phase::Stopped => return Err(EngineError::State("the engine was stopped".to_owned())),
        }
        self.shell.embedder.register_check(name, function);
        Ok(())
    }

    /// Registers `f` for the step `step` of every service. `promote`: `f` replaces the engine's own method. `fence`: `f` runs at
    /// the place of `fence.command`, so it must cut power or volume. `pre_checks`: `f` runs before the configured ones.
    /// `route_out`, `route_restore`, `route_in`: `f` runs in addition to the configured route, and an error counts as one failed
    /// instance of the route.
    ///
    /// # Errors
    /// [`EngineError::State`] once started; [`EngineError::InvalidArgument`] for any other step.
    pub fn register_action(
        &self,
        step: &str,
        f: impl Fn(&HostAction) -> ActionAnswer + Send + Sync + 'static,
    ) -> Result<(), EngineError> {
        let life = self.shell.life.lock();
        not_started(&life)?;
        self.shell.embedder.register_action(step, Some(Arc::new(f)))
    }

    /// Like [`Engine::register_action`], but the step is a `task_action` event that the program answers with
    /// [`Engine::complete_task`].
    ///
    /// # Errors
    /// As for [`Engine::register_action`].
    pub fn offer_action(&self, step: &str) -> Result<(), EngineError> {
        let life = self.shell.life.lock();
        not_started(&life)?;
        self.shell.embedder.register_action(step, None)
    }

    /// Answers a task from any thread.
    ///
    /// # Errors
    /// [`EngineError::UnknownTask`] for a late, repeated or invented task, [`EngineError::InvalidArgument`] for an answer of
    /// the other kind.
    pub fn complete_task(&self, task: u64, answer: TaskAnswer) -> Result<(), EngineError> {
        if let Some(input) = self.shell.embedder.complete(task, answer, &self.shell.clock)? {
            let sender = self.shell.life.lock().inputs.clone();
            if let Some(sender) = sender {
                let _ = sender.send(Message::Input(input));
            }
        }
        Ok(())
    }

    /// Reports how one of the host program's own calls to `server`, or to the primary, ended. The program is thus one more
    /// observer. A failed call makes the engine check at once, and counts as one observation. Successful calls double the number
    /// of failures that the engine needs. Neither decides alone. The program may report every call or only some, from any thread:
    /// the call never blocks, and the engine receives at most ten reports per second.
    ///
    /// # Errors
    /// [`EngineError::InvalidArgument`] for an unknown name, [`EngineError::State`] if the engine does not run.
    pub fn report_outcome(&self, service: &str, server: Option<&str>, outcome: Outcome) -> Result<(), EngineError> {
        self.shell.report_outcome(service, server, outcome)
    }

    /// Runs every check once, beside a started engine or without starting it, and changes nothing. The call ends at the latest
    /// with the timeout of the slowest check. Checks that are task events are `unknown` here, like every check that could not
    /// run.
    pub fn check_once(&self) -> Vec<CheckReport> {
        self.look_without_limit(false).checks
    }

    /// Like [`Engine::check_once`], and then asks once what the running engine surveys: the servers over SQL, their hosts over
    /// SSH, the route, and which server answers through it. It reports what would happen if a primary died now. It changes
    /// nothing, and ends some seconds after the slowest check. [`Engine::check_all`] has one
    /// deadline for all questions, and says when a stop ended it.
    pub fn check_ready(&self) -> ReadyReport {
        let mut report = self.look_without_limit(true);
        report.engine.extend(self.unusable_state());
        report
    }

    /// What `failover check` does: every check once, and then everything that the running engine surveys, beside a started engine or
    /// without starting it. Functions that are registered for checks are called; of checks that are offered as events counts what was last
    /// answered, and before the start they are `unknown`. Changes nothing in the world. One at a time: another one is waited for. A stop ends it.
    ///
    /// # Errors
    /// [`EngineError::Timeout`] where `timeout` was not enough for all of it: half a report would look better than things are.
    /// [`EngineError::State`] where the engine was stopped, also meanwhile, and in a child of fork. [`EngineError::Reentrant`] on a thread of
    /// the engine, a callback or a function of the program: others wait for that. [`EngineError::System`].
    pub fn check_all(&self, timeout: Duration) -> Result<ReadyReport, EngineError> {
        self.look_within(None, timeout)
    }

    /// What `failover doctor` does: the same of one service, as findings alone, with the warnings about its configuration. `None`: the
    /// one service of the configuration.
    ///
    /// # Errors
    /// As of [`Engine::check_all`]; [`EngineError::InvalidArgument`] for an unknown service, and for `None` where there are several.
    pub fn doctor(&self, service: Option<&str>, timeout: Duration) -> Result<DoctorReport, EngineError> {
        let config = Arc::clone(&self.shell.parts());
        let names: Vec<&str> = config.config.services.iter().map(|service| service.name.as_str()).collect();
        let wrong = |what: String| EngineError::InvalidArgument(format!("{what}: name one of: {}", names.join(", ")));
        let name = match (service, names.as_slice()) {
            (Some(name), _) => name,
            (None, [one]) => one,
            (None, _) => return Err(wrong(format!("the configuration has {} services", names.len()))),
        };
        let only = config.config.clone().only(name).ok_or_else(|| wrong(format!("there is no service \"{name}\"")))?;
        let report = self.look_within(Some(name), timeout)?;
        Ok(report.into_doctor(name, only.warnings()))
    }

    /// Sends a test message now, beside what waits, to the receiver of notifications with this name, and says what it answered. It works
    /// before the start too. `None` stands for every receiver, one after the other.
    ///
    /// # Errors
    /// [`EngineError::InvalidArgument`] for an unknown name, and if there is no receiver. [`EngineError::State`] where the engine was stopped,
    /// and in a child of fork. [`EngineError::System`]. [`EngineError::Reentrant`] on a thread of the engine.
    pub fn notify_test(&self, receiver: Option<&str>) -> Result<Vec<NotifyTestStatus>, EngineError> {
        let shell = &self.shell;
        shell.is_here()?;
        if shell.is_own_thread() {
            return Err(EngineError::Reentrant);
        }
        let parts = shell.parts();
        let wanted: Vec<&Notify> =
            parts.config.notify.iter().filter(|known| receiver.is_none_or(|name| known.name == name)).collect();
        if wanted.is_empty() {
            let names: Vec<&str> = parts.config.notify.iter().map(|known| known.name.as_str()).collect();
            return Err(EngineError::InvalidArgument(match (receiver, &names[..]) {
                (_, []) => "nobody is told what happens: the configuration has no [[notify]]".to_owned(),
                (name, _) => format!("there is no receiver \"{}\"; there is: {}", name.unwrap_or_default(), names.join(", ")),
            }));
        }
        let look = shell.looks.begin(Deadline::after(Duration::MAX))?;
        let tested = notify::test_all(shell, &wanted, &look);
        shell.looks.end(&look);
        if look.cancel.is_cancelled() {
            return Err(EngineError::State("the engine was stopped meanwhile".to_owned()));
        }
        tested
    }

    /// The configuration in force: that of the last reload. [`Config::effective_json`] shows it with every default and without secrets.
    pub fn config(&self) -> Config {
        self.shell.parts().config.clone()
    }

    fn look_within(&self, service: Option<&str>, timeout: Duration) -> Result<ReadyReport, EngineError> {
        let shell = &self.shell;
        shell.is_here()?;
        if shell.is_own_thread() {
            return Err(EngineError::Reentrant);
        }
        let deadline = Deadline::after(timeout);
        let _turn = shell.looks.turn(deadline, timeout)?;
        let look = shell.looks.begin(deadline)?;
        let report = round::look(shell, About { service, surveys: true }, &look);
        shell.looks.end(&look);
        let mut report = report?;
        report.engine.extend(self.unusable_state());
        look.was_whole(service.is_none(), timeout)?;
        Ok(report)
    }

    /// A look that could not be taken is a finding: an empty report would say that all is well.
    fn look_without_limit(&self, surveys: bool) -> ReadyReport {
        let shell = &self.shell;
        let taken = shell.looks.begin(Deadline::after(Duration::MAX)).and_then(|look| {
            let report = round::look(shell, About { service: None, surveys }, &look);
            shell.looks.end(&look);
            report
        });
        taken.unwrap_or_else(|error| {
            let found =
                FindingCode::CheckNotUp.found(true, format!("nothing could be asked: {error}"), "mend that, and ask again");
            ReadyReport { engine: vec![status::readiness(None, 0, &found)], ..ReadyReport::default() }
        })
    }

    /// What keeps the engine from its state directory, as a finding.
    fn unusable_state(&self) -> Option<status::ReadinessStatus> {
        let (certain, message) = journal::probe(&self.shell.parts().config.state_dir).err()?;
        let remedy = "make it, owned by the user that runs the engine and with mode 0700 (the systemd unit makes /var/lib/failover), or set state_dir";
        Some(status::readiness(None, 0, &FindingCode::StateDirUnusable.found(certain, message, remedy)))
    }
}

/// Functions that the C interface needs beside the public API.
#[doc(hidden)]
impl Engine {
    pub fn clock(&self) -> Clock {
        self.shell.clock
    }

    pub fn is_own_thread(&self) -> bool {
        self.shell.is_own_thread()
    }

    /// A bug was caught: no decision is made any more.
    pub fn freeze(&self, fault: &str) {
        self.shell.freeze(fault);
    }

    /// Stops once `asked` returns, which it does on a thread of the engine.
    pub fn serve_stop(&self, asked: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
        let shell = Arc::clone(&self.shell);
        self.shell.threads.spawn("stop", 0, move || {
            asked();
            shell.request_stop();
        })
    }

    pub fn is_check_task(&self, task: u64) -> Result<bool, EngineError> {
        self.shell.embedder.is_check(task)
    }
}

impl Engine {
    /// In a child of fork: lets go of what the child holds of its parent's engine and nobody needs there, the lock on the state directory.
    /// Otherwise the next engine would be kept out for as long as the child lives.
    #[doc(hidden)]
    pub fn let_go(&self) {
        // A thread of the parent may have held it in the moment of the fork: then nobody ever gives it back here.
        if self.shell.is_here().is_err()
            && let Some(mut lock) = self.shell.state_lock.try_lock()
        {
            *lock = None;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.shell.is_here().is_err() {
            self.let_go();
            return;
        }
        self.shell.request_stop();
        // On a thread of the engine nobody can wait for it: the last thread out turns off the light.
        if !self.shell.is_own_thread() {
            let _ = self.stop(DROP_PATIENCE);
        }
    }
}

impl Shell {
    fn build(&self, config: &Config) -> Result<Parts, EngineError> {
        let means = Means {
            clock: self.clock,
            addresses: Arc::new(self.resolver.clone()),
            embedder: Arc::clone(&self.embedder),
            application_name: builder::application_name(config),
        };
        builder::build(config, &means)
    }

    /// No lane begins any more job.
    pub(crate) fn close_lanes(&self) {
        let lanes = self.life.lock().lanes.clone();
        if let Some(lanes) = lanes {
            lanes.close();
        }
    }

    /// Every function that checks of kind `host` ask for is there, or the program answers their tasks.
    fn are_all_answered(&self, config: &Config) -> Result<(), EngineError> {
        let missing: Vec<String> =
            config.host_functions().into_iter().filter(|name| self.embedder.answered_by(name).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!(
            "checks of kind host ask for functions that nobody answers: {}; register each before (register_check), or offer it \
             (offer_check) and answer its tasks; `failover run` has none, use kind exec there",
            missing.join(", ")
        );
        Err(EngineError::InvalidArgument(message))
    }

    /// The lane for functions of the host program, begun now if these parts are the first that need one.
    fn embedder_lane(&self, parts: &Parts) -> Result<Option<Pool>, EngineError> {
        let mut life = self.life.lock();
        if life.phase != Phase::Running {
            return Ok(None);
        }
        let Life { inputs: Some(sender), lanes: Some(lanes), .. } = &mut *life else { return Ok(None) };
        if lanes.embedder.is_none() && self.embedder.functions() > 0 {
            let sender = sender.clone();
            let sink = move |input: Input| drop(sender.send(Message::Input(input)));
            lanes.embedder = Some(self.start_embedder_lane(parts, sink)?);
        }
        Ok(lanes.embedder.clone())
    }

    fn start_embedder_lane(&self, parts: &Parts, sink: impl Fn(Input) + Send + Sync + 'static) -> Result<Pool, EngineError> {
        let jobs = parts.checks_on(Lane::Host) + self.embedder.steps().len();
        let pool = Pool::start(&self.threads, "host", jobs.clamp(1, LANE), jobs, self.clock, sink)?;
        pool.distrust();
        Ok(pool)
    }

    fn start_threads(
        self: &Arc<Shell>,
        parts: &Arc<Parts>,
        before: Before,
        sender: &Sender<Message>,
        receiver: Receiver<Message>,
    ) -> Result<Lanes, EngineError> {
        *self.core.lock() = Some(Core::new(parts.model.clone()));
        let sink = {
            let sender = sender.clone();
            // Nobody listens only when the engine is stopping.
            Arc::new(move |input: Input| drop(sender.send(Message::Input(input)))) as Arc<dyn Fn(Input) + Send + Sync>
        };
        let pool = |role: &str, workers: usize, jobs: usize| {
            let sink = Arc::clone(&sink);
            Pool::start(&self.threads, role, workers, jobs, self.clock, move |input| sink(input))
        };
        let jobs = parts.jobs();
        let check = pool("check", parts.config.worker_threads(), jobs)?;
        let mut lanes = Lanes { check, child: None, embedder: None };
        let made = self.start_lanes(parts, &mut lanes, &pool, &sink);
        let begun = made.and_then(|()| self.start_the_rest(parts, before, &sink, receiver, &lanes));
        match begun {
            Ok(()) => Ok(lanes),
            Err(error) => {
                lanes.close();
                self.embedder.close();
                Err(error)
            }
        }
    }

    fn start_lanes(
        self: &Arc<Shell>,
        parts: &Parts,
        lanes: &mut Lanes,
        pool: &dyn Fn(&str, usize, usize) -> Result<Pool, EngineError>,
        sink: &Arc<dyn Fn(Input) + Send + Sync>,
    ) -> Result<(), EngineError> {
        let children = parts.checks_on(Lane::Child);
        if children > 0 {
            lanes.child = Some(pool("child", children.min(LANE), children)?);
        }
        if self.embedder.functions() > 0 {
            let sink = Arc::clone(sink);
            lanes.embedder = Some(self.start_embedder_lane(parts, move |input| sink(input))?);
        }
        let announcer = Arc::downgrade(self);
        let announce = move |task: &Task| {
            if let Some(shell) = announcer.upgrade() {
                shell.announce(task);
            }
        };
        self.embedder.open(lanes.embedder.clone(), Arc::new(announce));
        Ok(())
    }

    fn start_the_rest(
        self: &Arc<Shell>,
        parts: &Parts,
        before: Before,
        sink: &Arc<dyn Fn(Input) + Send + Sync>,
        receiver: Receiver<Message>,
        lanes: &Lanes,
    ) -> Result<(), EngineError> {
        let survey = Cancel::new().map_err(|error| EngineError::system("cannot make a cancel signal", error))?;
        let actions = Arc::clone(self);
        let perform = move |task: &executor::Task, cancel: &Cancel| {
            let parts = actions.parts();
            let gone = || Failure::no_effect("there is no such service any more", "");
            let service = parts.service(task.service).ok_or_else(gone)?;
            service.actions.perform(&task.action, task.generation, task.deadline, cancel)
        };
        let to_core = Arc::clone(sink);
        let executor = Executor::start(&self.threads, parts.acted_on(), Box::new(perform), move |input| to_core(input))?;
        let (begun, is_begun) = bounded(1);
        let begin = || {
            self.resolver.start(&self.threads)?;
            let to_core = Arc::clone(sink);
            let watcher = Watcher::start_on_duty(self.clock, self.threads.duty("watch", 0), move |input| to_core(input))
                .map_err(|error| EngineError::system("cannot start the watcher of sessions", error))?;
            let watcher = Arc::new(watcher);
            *self.watcher.lock() = Some(Arc::clone(&watcher));
            let (shell, to_core, cancel) = (Arc::clone(self), Arc::clone(sink), survey.clone());
            let duty = self.threads.duty("survey", 0);
            self.threads.spawn("survey", 0, move || survey::run(&shell, &duty, &cancel, &*to_core))?;
            let (shell, to_core, cancel) = (Arc::clone(self), Arc::clone(sink), survey.clone());
            let duties = (self.threads.duty("route", 0), self.threads.duty("trigger", 0));
            let trigger_duty = duties.1.clone();
            self.threads.spawn("route", 0, move || route_watch::run(&shell, &duties.0, &duties.1, &cancel, &*to_core))?;
            self.notifier.start(self, before.directory.clone())?;
            let recorder = self.start_asides(parts, before.directory, sink, &survey)?;
            if let Some(address) = parts.config.engine.role_endpoint {
                let bound = role::start(self, address, &trigger_duty, &survey)?;
                *self.role_endpoint.lock() = Some(bound);
                self.say(EventKind::Log, Severity::Info, &format!("the role endpoint listens on {bound}"));
            }
            let trigger = Trigger {
                recorder: Some(recorder),
                shell: Arc::clone(self),
                inputs: receiver,
                sink: Arc::clone(sink),
                journal: before.journal,
                seen: before.seen,
                lanes: lanes.clone(),
                executor: executor.clone(),
                watcher,
                survey: survey.clone(),
                duty: trigger_duty,
                begun: Some(begun),
                state: trigger::State::default(),
            };
            self.threads.spawn("trigger", 0, move || trigger.run())
        };
        begin().inspect_err(|_| {
            executor.close();
            survey.cancel();
        })?;
        // Nothing is ever sent: it ends when the thread lets go of its side. From then on the status knows the journal too.
        let _ = is_begun.recv();
        Ok(())
    }

    /// The threads that nothing decided or done waits for.
    fn start_asides(
        self: &Arc<Shell>,
        parts: &Parts,
        directory: Option<PathBuf>,
        sink: &Arc<dyn Fn(Input) + Send + Sync>,
        cancel: &Cancel,
    ) -> Result<Recorder, EngineError> {
        let (shell, to_core, ends) = (Arc::clone(self), Arc::clone(sink), cancel.clone());
        let duty = self.threads.aside_duty("errors", 0);
        self.threads.spawn("errors", 0, move || error_watch::run(&shell, &duty, &ends, &*to_core))?;
        let (shell, ends) = (Arc::clone(self), cancel.clone());
        let duty = self.threads.aside_duty("knowledge", 0);
        self.threads.spawn("knowledge", 0, move || knowledge::run(&shell, directory.as_deref(), &duty, &ends))?;
        let (recorder, records) = Recorder::new();
        let (shell, state) = (Arc::clone(self), parts.config.state_dir.clone());
        let duty = self.threads.aside_duty("record", 0);
        self.threads.spawn("record", 0, move || {
            record::write_all(&records, &state, &duty, &|what| shell.say(EventKind::Log, Severity::Warning, what));
        })?;
        Ok(recorder)
    }

    pub(crate) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.parts.read())
    }

    pub(crate) fn set_parts(&self, parts: Arc<Parts>) {
        *self.parts.write() = parts;
    }

    /// Another configuration is in force.
    pub(crate) fn are_stale(&self, parts: &Arc<Parts>) -> bool {
        !Arc::ptr_eq(&self.parts.read(), parts)
    }

    /// Runs `then` if these parts are still in force, and keeps them in force meanwhile.
    pub(crate) fn while_current(&self, parts: &Arc<Parts>, then: impl FnOnce()) {
        let current = self.parts.read();
        if Arc::ptr_eq(&current, parts) {
            then();
        }
    }

    /// The core and the configuration of its services, of one moment; `None` before the start.
    pub(crate) fn with_core<T>(&self, look: impl FnOnce(&Core, Arc<Parts>) -> T) -> Option<T> {
        let core = self.core.lock();
        core.as_ref().map(|core| look(core, self.parts()))
    }

    /// The primary of each service, as the core sees it.
    pub(crate) fn primaries(&self) -> Vec<Option<ServerId>> {
        self.core.lock().as_ref().map(Core::primaries).unwrap_or_default()
    }

    /// Has the survey ask the servers of a database once more, and waits for it, for a moment: a server that does not answer is as it was
    /// found last.
    fn look_afresh(&self, service: &str) -> Result<(), EngineError> {
        let parts = self.parts();
        let known = parts.model.services.iter().position(|known| known.name == service && known.kind.holds_data());
        let Some(id) = known.and_then(|place| u16::try_from(place).ok()).map(ServiceId) else { return Ok(()) };
        let began = self.clock.now();
        let surveyed = || self.core.lock().as_ref().map(|core| core.surveyed(id)).unwrap_or_default();
        // Of one that was never surveyed there is nothing to wait for: the engine has just been started, or has not seen it.
        let wanted: Vec<usize> = surveyed().iter().enumerate().filter(|(_, asked)| asked.is_some()).map(|(at, _)| at).collect();
        let servers = wanted.iter().filter_map(|at| u16::try_from(*at).ok()).map(|at| (id, ServerId(at)));
        self.unsurveyed.lock().extend(servers);
        let cancel = Cancel::new().map_err(|error| EngineError::system("cannot make a cancel signal", error))?;
        let until = Deadline::after(FRESH_LOOK);
        loop {
            let seen = surveyed();
            let is_fresh = |at: &usize| seen.get(*at).copied().flatten().is_some_and(|asked| asked >= began);
            if wanted.iter().all(is_fresh) || cancel.pause(LOOK_EVERY, until).is_err() {
                return Ok(());
            }
        }
    }

    /// The replay of this server has not moved for some seconds, while there is log to replay.
    pub(crate) fn replay_stands(&self, service: ServiceId, server: ServerId) -> bool {
        self.core.lock().as_ref().is_some_and(|core| core.replay_stands(service, server))
    }

    /// Whether the traffic of each service was ever moved by a failover.
    pub(crate) fn moved(&self) -> Vec<bool> {
        let generations = self.core.lock().as_ref().map(Core::generations);
        generations.unwrap_or_default().into_iter().map(|generation| generation.0 > 0).collect()
    }

    // ---- life ----------------------------------------------------------------------------------

    /// True on a thread of the engine, and of a look beside it.
    fn is_own_thread(&self) -> bool {
        self.threads.is_mine() || self.looks.is_mine()
    }

    pub(crate) fn request_stop(&self) {
        self.looks.close();
        let mut life = self.life.lock();
        match life.phase {
            Phase::New => {
                life.phase = Phase::Stopped;
                drop(life);
                self.hub.close();
            }
            Phase::Running => {
                life.phase = Phase::Stopping;
                let sender = life.inputs.clone();
                drop(life);
                if let Some(sender) = sender {
                    // A full channel means that the trigger thread is busy, and it looks at the phase as well.
                    let _ = sender.try_send(Message::Stop);
                }
            }
            Phase::Stopping | Phase::Stopped => {}
        }
    }

    /// A stop was asked for.
    pub(crate) fn is_stopping(&self) -> bool {
        self.life.lock().phase == Phase::Stopping
    }

    pub(crate) fn is_faulted(&self) -> bool {
        self.faulted.load(Ordering::SeqCst)
    }

    pub(crate) fn freeze(&self, fault: &str) {
        self.fault.lock().get_or_insert_with(|| fault.to_owned());
        self.faulted.store(true, Ordering::SeqCst);
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }

    pub(crate) fn show_journal(&self, journal: &Journal) {
        let status = JournalStatus {
            path: journal.path().display().to_string(),
            writable: journal.is_writable(),
            reason: journal.reason().map(str::to_owned),
            sequence: journal.sequence(),
        };
        *self.journal.lock() = status;
    }

    // ---- commands ------------------------------------------------------------------------------

    /// # Errors
    /// [`EngineError::State`] in a child of fork.
    fn is_here(&self) -> Result<(), EngineError> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let process = self.process;
        Err(EngineError::State(format!(
            "this engine belongs to process {process}: threads do not survive fork; make an engine after it"
        )))
    }

    fn ask<T>(&self, message: impl FnOnce(Sender<T>) -> Message) -> Result<T, EngineError> {
        self.is_here()?;
        if let Some(fault) = self.fault() {
            return Err(EngineError::Faulted(fault));
        }
        let sender = {
            let life = self.life.lock();
            match life.phase {
                Phase::Running => life.inputs.clone(),
                _ => None,
            }
        };
        let sender = sender.ok_or_else(|| EngineError::State("the engine is not running".to_owned()))?;
        let (reply, answer) = bounded(1);
        let deadline = trigger::command_deadline();
        let late = || EngineError::Timeout(Duration::from_secs(10), "the trigger thread did not answer".to_owned());
        // Nobody to ask is no reason to say that somebody was slow.
        let gone = || match self.fault() {
            Some(fault) => EngineError::Faulted(fault),
            None => EngineError::State("the engine stopped before it answered".to_owned()),
        };
        sender
            .send_deadline(message(reply), deadline.instant())
            .map_err(|error| if error.is_timeout() { late() } else { gone() })?;
        answer.recv_deadline(deadline.instant()).map_err(|error| if error.is_timeout() { late() } else { gone() })
    }

    fn report_outcome(&self, service: &str, server: Option<&str>, outcome: Outcome) -> Result<(), EngineError> {
        let Some(sender) = self.life.lock().inputs.clone() else {
            return Err(EngineError::State("the engine does not run".to_owned()));
        };
        let parts = self.parts();
        let number = |place: Option<usize>| place.and_then(|place| u16::try_from(place).ok());
        let place = parts.model.services.iter().position(|model| model.name == service);
        let (Some(id), Some(model)) = (number(place), place.and_then(|place| parts.model.services.get(place))) else {
            return Err(EngineError::InvalidArgument(format!("there is no service \"{service}\"")));
        };
        let server = match server {
            None => None,
            Some(name) => {
                let place = number(model.servers.iter().position(|server| server.name == name));
                Some(ServerId(
                    place
                        .ok_or_else(|| EngineError::InvalidArgument(format!("service \"{service}\" has no server \"{name}\"")))?,
                ))
            }
        };
        let key = (ServiceId(id), server, outcome);
        if let Some(count) = self.reports.count(key, self.clock.now()) {
            let input = Input::OutcomeReported { service: ServiceId(id), server, outcome, count };
            if sender.try_send(Message::Input(input)).is_err() {
                self.reports.put_back(key, count);
            }
        }
        Ok(())
    }

    fn command(&self, service: Option<&str>, command: Command) -> Result<CommandReply, EngineError> {
        let parts = self.parts();
        let service = match service {
            None => None,
            Some(name) => {
                let place = parts.model.services.iter().position(|service| service.name == name);
                let id = place.and_then(|place| u16::try_from(place).ok()).map(ServiceId);
                Some(id.ok_or_else(|| EngineError::InvalidArgument(format!("there is no service \"{name}\"")))?)
            }
        };
        let by = caller::present();
        let answer = self.ask(|reply| Message::Command { service, command, by, reply })?.map_err(EngineError::Rejected)?;
        let preflight = answer.preflight.into_iter().map(|line| PreflightStatus {
            name: line.name.to_owned(),
            level: line.level.as_str().to_owned(),
            message: line.message,
            remedy: line.remedy,
        });
        Ok(CommandReply {
            message: answer.message,
            generation: answer.generation.map(|generation| generation.0),
            preflight: preflight.collect(),
        })
    }

    // ---- events --------------------------------------------------------------------------------

    /// Publishes an event of the core.
    pub(crate) fn emit(&self, parts: &Parts, event: &Event) {
        if let Some(service) = event.service.and_then(|id| parts.model.services.get(usize::from(id.0))) {
            self.stories.note(&service.name, event);
        }
        // Single observations are most of all events: where nobody sees them they are not rendered.
        if event.severity == Severity::Debug && self.hub.is_deaf() && !log::log_enabled!(target: "failover", log::Level::Debug) {
            return;
        }
        let at = event.service.and_then(|id| parts.config.services.get(usize::from(id.0)));
        let event = render::event(&parts.model, &self.clock, event);
        self.publish(with_address(at, event));
    }

    /// Publishes an event of the shell.
    pub(crate) fn say(&self, kind: EventKind, severity: Severity, message: &str) {
        self.publish(self.event(kind, severity, message.to_owned(), Map::new()));
    }

    /// The same with fields.
    pub(crate) fn say_with(&self, kind: EventKind, severity: Severity, message: String, fields: Map<String, Value>) {
        self.publish(self.event(kind, severity, message, fields));
    }

    /// The same about a service or one of its servers.
    pub(crate) fn say_about(
        &self,
        kind: EventKind,
        severity: Severity,
        service: &str,
        server: Option<&str>,
        message: String,
        fields: Map<String, Value>,
    ) {
        let event = self.event(kind, severity, message, fields);
        let event = EngineEvent { service: Some(service.to_owned()), server: server.map(str::to_owned), ..event };
        let parts = self.parts();
        self.publish(with_address(parts.config.services.iter().find(|known| known.name == service), event));
    }

    fn event(&self, kind: EventKind, severity: Severity, message: String, fields: Map<String, Value>) -> EngineEvent {
        let now = self.clock.now();
        EngineEvent {
            time: render::rfc3339(self.clock.wall(now)),
            mono_ns: now.as_nanos(),
            message,
            remedy: remedy::of_kind(kind, severity),
            fields,
            ..EngineEvent::blank(0, kind, severity)
        }
    }

    fn publish(&self, event: EngineEvent) {
        if let Some(event) = self.hub.publish(event) {
            log_event(&event);
        }
    }

    /// Tells the host program about a task.
    fn announce(&self, task: &Task) {
        self.publish(match task {
            Task::Check(check) => embedder::check_event(check, &self.clock),
            Task::Action(action) => embedder::action_event(action, &self.clock),
        });
    }

    /// A thread that serves events to somebody.
    fn serve(&self, body: impl FnOnce(&Duty) + Send + 'static) -> Result<(), EngineError> {
        let number = {
            let mut life = self.life.lock();
            life.servers += 1;
            life.servers - 1
        };
        let duty = self.threads.aside_duty("event", number);
        self.threads.spawn("event", number, move || body(&duty))
    }
}

/// The event with the address of its server, which the core does not know.
fn with_address(service: Option<&Service>, event: EngineEvent) -> EngineEvent {
    let at = service.filter(|service| Some(&service.name) == event.service.as_ref());
    let server = at.and_then(|service| service.servers.iter().find(|server| Some(&server.name) == event.server.as_ref()));
    match server {
        Some(server) => EngineEvent { host: Some(server.host.clone()), port: Some(server.port), ..event },
        None => event,
    }
}

/// The next event; `None` after the last one.
fn next(queue: &EventQueue) -> Option<Arc<EngineEvent>> {
    loop {
        match queue.next(Duration::from_secs(3600)) {
            Some(event) => return Some(event),
            None if queue.is_over() => return None,
            None => {}
        }
    }
}

fn forward(queue: &EventQueue, sender: &Sender<Arc<EngineEvent>>) {
    while let Some(event) = next(queue) {
        // A channel that is half full has a receiver that is behind: let the queue decide what to drop. There is no signal for
        // "taken", and it is only waited for while there is something to wait for.
        while sender.len() >= queue::CAPACITY && !queue.is_closed() {
            sync::thread::sleep(Duration::from_millis(20));
        }
        if sender.try_send(event).is_err() {
            return;
        }
    }
}

fn log_event(event: &EngineEvent) {
    let level = match event.severity {
        Severity::Debug => log::Level::Debug,
        Severity::Info => log::Level::Info,
        Severity::Warning => log::Level::Warn,
        Severity::Alarm => log::Level::Error,
    };
    let about = match (&event.service, &event.server) {
        (Some(service), Some(server)) => format!("{service}/{server}: "),
        (Some(service), None) => format!("{service}: "),
        _ => String::new(),
    };
    log::log!(target: "failover", level, "{}: {about}{}", event.kind.as_str(), event.message);
}

fn not_started(life: &Life) -> Result<(), EngineError> {
    match life.phase {
        Phase::New => Ok(()),
        _ => Err(EngineError::State("this is only possible before the engine is started".to_owned())),
    }
}

/// What routes were before failovers that were finished is of the past.
fn forget_finished(parts: &Parts, journal: &Journal) {
    for (model, part) in parts.model.services.iter().zip(&parts.services) {
        let unfinished = journal.facts(model, SystemTime::now()).is_some_and(|facts| facts.begun.is_some());
        if let Some(memory) = part.actions.memory.as_ref().filter(|_| !unfinished) {
            memory.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use failover_core::model::{
        FenceModel, Model, OnLoss, OnNewPrimary, OnNoSyncStandby, OnSalvage, Policy, PostgresModel, Role, RouteModel,
        ServerModel, ServiceKind, ServiceModel, TriggerModel,
    };
    use failover_core::sample::FenceLevel;
    use failover_core::time::Span;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn watched(state: &std::path::Path) -> Config {
        let text = format!(
            "version = 1\nstate_dir = \"{}\"\n[[services]]\nname = \"web\"\nkind = \"application\"\n\
             [[services.servers]]\nname = \"web1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\n\
             [[services.checks]]\nname = \"page\"\nserver = \"web1\"\nkind = \"scripted\"\nanswers = [\"up\"]\n",
            state.display()
        );
        Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn a_bug_in_the_core_freezes_decisions_and_leaves_status_and_stop() {
        let state = tempfile::tempdir().unwrap();
        let engine = Engine::new(watched(state.path())).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        engine.shell.planted_panic.store(true, Ordering::SeqCst);
        loop {
            let event = queue.next(LONG).expect("an event");
            if event.kind == EventKind::Faulted {
                assert_eq!(event.severity, Severity::Alarm);
                break;
            }
        }
        assert_eq!(engine.status().faulted.as_deref(), Some("planted"));
        assert!(matches!(engine.pause(None), Err(EngineError::Faulted(_))));
        assert!(matches!(engine.reload(watched(state.path())), Err(EngineError::Faulted(_))));
        engine.stop(LONG).unwrap();
    }

    #[test]
    fn a_bug_in_the_trigger_thread_freezes_decisions_and_leaves_status_and_stop() {
        let state = tempfile::tempdir().unwrap();
        let engine = Engine::new(watched(state.path())).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        for _ in 0..2 {
            engine.shell.planted_trigger_panic.store(true, Ordering::SeqCst);
            loop {
                let event = queue.next(LONG).expect("an event");
                if event.kind == EventKind::Faulted {
                    assert_eq!(event.severity, Severity::Alarm);
                    break;
                }
            }
            assert_eq!(engine.status().faulted.as_deref(), Some("planted in the trigger"));
            assert!(matches!(engine.pause(None), Err(EngineError::Faulted(_))));
        }
        // The third one is the last it lives through.
        engine.shell.planted_trigger_panic.store(true, Ordering::SeqCst);
        while queue.next(LONG).expect("an event").kind != EventKind::Faulted {}
        engine.stop(LONG).unwrap();
    }

    #[test]
    fn a_trigger_thread_that_does_not_come_round_is_an_alarm_and_in_the_status() {
        let state = tempfile::tempdir().unwrap();
        let engine = Engine::new(watched(state.path())).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        let heard = |words: &str| while !queue.next(LONG).expect("an event").message.contains(words) {};
        // As when the disk of the journal does not answer.
        let stall = engine.shell.planted_stall.lock();
        heard("fo-trigger-0 does not respond");
        assert_eq!(engine.status().threads.overdue, ["fo-trigger-0"]);
        drop(stall);
        heard("fo-trigger-0 comes round again");
        assert!(engine.status().threads.overdue.is_empty());
        engine.stop(LONG).unwrap();
    }

    #[test]
    fn a_thread_that_does_not_come_back_is_an_alarm_until_it_does() {
        let state = tempfile::tempdir().unwrap();
        let engine = Engine::new(watched(state.path())).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        let heard = |words: &str| while !queue.next(LONG).expect("an event").message.contains(words) {};
        let stuck = engine.shell.threads.aside_duty("event", 9);
        stuck.begin(Duration::ZERO);
        heard("fo-event-9 does not respond");
        assert_eq!(engine.status().doubt, None, "it only tells others");
        stuck.rest();
        heard("fo-event-9 is back");
        engine.stop(LONG).unwrap();
    }

    #[test]
    fn a_thread_a_failover_needs_that_does_not_come_back_is_a_reason_for_doubt_until_it_does() {
        let state = tempfile::tempdir().unwrap();
        let engine = Engine::new(watched(state.path())).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        let stuck = engine.shell.threads.duty("act", 9);
        stuck.begin(Duration::ZERO);
        let heard = |wanted: EventKind| loop {
            let event = queue.next(LONG).expect("an event");
            if event.kind == wanted {
                return event;
            }
        };
        assert_eq!(heard(EventKind::DoubtRaised).fields["cause"], "stuck_workers");
        let status = engine.status();
        assert_eq!((status.doubt.as_deref(), status.threads.overdue), (Some("stuck_workers"), vec!["fo-act-9".to_owned()]));
        stuck.rest();
        heard(EventKind::DoubtCleared);
        engine.stop(LONG).unwrap();
    }

    /// A service `orders` with the servers `db1` and `db2` and no checks.
    pub(crate) fn two_servers() -> Model {
        let server = |name: &str, role| ServerModel {
            name: name.to_owned(),
            role,
            priority: 100,
            candidate: true,
            ssh: false,
            fence_command: false,
            replication_name: None,
        };
        Model {
            max_concurrent_failovers: None,
            seed: 0,
            services: vec![ServiceModel {
                name: "orders".to_owned(),
                kind: ServiceKind::Postgres,
                servers: vec![server("db1", Role::Primary), server("db2", Role::Standby)],
                checks: Vec::new(),
                trigger: TriggerModel {
                    failure_threshold: 3,
                    failure_window: Span::from_millis(60_000),
                    policy: Policy::Count,
                    cooldown: Span::from_millis(300_000),
                    require_confirmation: false,
                    confirm_timeout: Span::from_millis(300_000),
                    failover_timeout: Span::from_millis(120_000),
                    hang_after: Span::from_millis(3_400),
                    ping_interval: Span::from_millis(250),
                    restart_grace: Span::from_millis(10_000),
                    on_impaired: None,
                },
                fence: FenceModel { require: FenceLevel::ProvenStopped, timeout: Span::from_millis(10_000) },
                postgres: PostgresModel {
                    max_lag_bytes: 1 << 20,
                    on_loss: OnLoss::Refuse,
                    promotion_timeout: Span::from_millis(60_000),
                    on_no_sync_standby: OnNoSyncStandby::Async,
                    allow_delayed: false,
                    salvage: OnSalvage::Off,
                    salvage_timeout: Span::ZERO,
                    followers: OnNewPrimary::Off,
                    rejoin: failover_core::model::OnRejoin::Manual,
                    sync: failover_core::model::SyncModel::default(),
                },
                route: RouteModel::none(),
                pre_checks: false,
                follows: None,
            }],
        }
    }
}
