//! The shell: threads, sockets, clocks, files; no opinions. [`Engine`] is the whole of the public Rust API.

pub mod clock;
pub mod error;
pub(crate) mod executor;
pub mod host;
pub(crate) mod journal;
pub(crate) mod pool;
pub mod queue;
pub mod render;
pub(crate) mod resolver;
pub mod status;
pub(crate) mod threads;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::config::Config;

pub use error::EngineError;
pub use host::{ActionAnswer, HostAction, HostAnswer, HostCheck, TaskAnswer};
pub use queue::EventQueue;
pub use render::EngineEvent;
pub use status::{CheckReport, Status};

/// What an operator waives with [`Engine::force`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForceOptions {
    /// The standby to promote; `None`: the best one.
    pub to: Option<String>,
    /// The most bytes that may be lost; `None`: the configured limit.
    pub accept_loss: Option<u64>,
}

/// A failover engine. All methods may be called from any thread at any time, also from event callbacks unless noted.
pub struct Engine {
    config: Config,
}

impl Engine {
    /// Validates the configuration and starts nothing: no thread, no file, no socket.
    ///
    /// # Errors
    /// [`EngineError::Config`].
    pub fn new(config: Config) -> Result<Engine, EngineError> {
        Ok(Engine { config })
    }

    /// Takes the state directory, replays the journal, starts the threads and begins to watch. An engine starts once: after a
    /// stop, make a new one.
    ///
    /// # Errors
    /// [`EngineError::State`] when it was started before, [`EngineError::AlreadyRunning`] when another engine holds the state
    /// directory, [`EngineError::System`] when threads cannot be made. A journal that cannot be read or written is no error
    /// here: the engine observes, starts no failover, and says why in events and status.
    pub fn start(&self) -> Result<(), EngineError> {
        let _ = &self.config;
        Err(EngineError::State("not built yet".to_owned()))
    }

    /// Stops: a failover before its point of no return is undone, one behind it finishes its step; then every thread ends.
    /// When it returns `Ok`, no thread of the engine exists, no callback runs or will run, and `engine_stopped` was the last
    /// event. Stopping a stopped engine is `Ok`; one that never ran becomes stopped.
    ///
    /// # Errors
    /// [`EngineError::Timeout`]: the engine is still stopping; call again to wait again. [`EngineError::Reentrant`] on a
    /// thread of the engine.
    pub fn stop(&self, timeout: Duration) -> Result<(), EngineError> {
        let _ = timeout;
        Ok(())
    }

    /// Begins to stop and returns at once; safe on every thread, also in callbacks. [`Engine::stop`] waits for the end.
    pub fn request_stop(&self) {}

    /// Takes another configuration: adds, removes and changes services. Threads stay as they are. Counters restart: what was
    /// observed under the old configuration decides nothing.
    ///
    /// # Errors
    /// [`EngineError::Config`], or [`EngineError::State`] while a failover is in flight, or when something differs that is
    /// fixed at start (`state_dir`). Nothing has changed then.
    pub fn reload(&self, config: Config) -> Result<(), EngineError> {
        let _ = config;
        Ok(())
    }

    /// The state of everything, at this moment. Never waits for more than a clone of the core's state.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// A new event queue of its own, with everything from now on (from the start, if called before it). See [`EventQueue`].
    ///
    /// # Errors
    /// [`EngineError::State`] with 32 consumers already there or after the stop, [`EngineError::System`] without descriptors.
    pub fn queue(&self) -> Result<EventQueue, EngineError> {
        Err(EngineError::State("not built yet".to_owned()))
    }

    /// Events as a bounded channel, served from a queue of its own by one thread: slow receivers lose single observations and
    /// log lines first (counted in `overflow` events), and never slow the engine down. Disconnected after the last event.
    pub fn events(&self) -> Receiver<Arc<EngineEvent>> {
        crossbeam_channel::bounded(0).1
    }

    /// Calls `f` for every event, one at a time, in order, on one thread of its own and never under a lock. `f` may call
    /// everything but [`Engine::stop`]. A panic in it is caught and logged.
    pub fn on_event(&self, f: impl Fn(&EngineEvent) + Send + 'static) {
        let _ = f;
    }

    /// Says yes to the failover of `service` that waits for confirmation.
    ///
    /// # Errors
    /// [`EngineError::Rejected`] when none waits; [`EngineError::InvalidArgument`] for an unknown service. Like every command:
    /// [`EngineError::State`] when not running, [`EngineError::Faulted`].
    pub fn confirm(&self, service: &str) -> Result<String, EngineError> {
        let _ = service;
        Ok(String::new())
    }

    /// Observe, decide nothing: one service, or all.
    ///
    /// # Errors
    /// As for [`Engine::confirm`].
    pub fn pause(&self, service: Option<&str>) -> Result<String, EngineError> {
        let _ = service;
        Ok(String::new())
    }

    /// Ends the pause: counters restart.
    ///
    /// # Errors
    /// As for [`Engine::confirm`].
    pub fn resume(&self, service: Option<&str>) -> Result<String, EngineError> {
        let _ = service;
        Ok(String::new())
    }

    /// Leaves `manual_intervention` or `failed_over`.
    ///
    /// # Errors
    /// As for [`Engine::confirm`].
    pub fn reset(&self, service: &str) -> Result<String, EngineError> {
        let _ = service;
        Ok(String::new())
    }

    /// A failover now, from any state but one in flight; every safety that was waived is in the record.
    ///
    /// # Errors
    /// As for [`Engine::confirm`]; an unknown standby is [`EngineError::InvalidArgument`].
    pub fn force(&self, service: &str, options: ForceOptions) -> Result<String, EngineError> {
        let _ = (service, options);
        Ok(String::new())
    }

    /// Answers checks of kind `host` called `name` by `f`, on the engine's own host lane and never on a checker thread. Without
    /// it, such a check is a `task_check` event to be answered by [`Engine::complete_task`].
    ///
    /// # Errors
    /// [`EngineError::State`] once started; [`EngineError::InvalidArgument`] when no check has that name.
    pub fn register_check(
        &self,
        name: &str,
        f: impl Fn(&HostCheck) -> HostAnswer + Send + Sync + 'static,
    ) -> Result<(), EngineError> {
        let _ = (name, f);
        Ok(())
    }

    /// Carries out the step `step` of every service by `f` instead of the engine's own way: `pre_checks`, `route_out`,
    /// `route_restore`, `route_in`, `promote`, or `fence` (asked where `fence.command` would be: it must cut power or volume).
    ///
    /// # Errors
    /// [`EngineError::State`] once started; [`EngineError::InvalidArgument`] for any other step.
    pub fn register_action(
        &self,
        step: &str,
        f: impl Fn(&HostAction) -> ActionAnswer + Send + Sync + 'static,
    ) -> Result<(), EngineError> {
        let _ = (step, f);
        Ok(())
    }

    /// Like [`Engine::register_action`], but the step is a `task_action` event to be answered by [`Engine::complete_task`].
    ///
    /// # Errors
    /// As for [`Engine::register_action`].
    pub fn offer_action(&self, step: &str) -> Result<(), EngineError> {
        let _ = step;
        Ok(())
    }

    /// Answers a task from any thread.
    ///
    /// # Errors
    /// [`EngineError::UnknownTask`] for a late, repeated or invented task, [`EngineError::InvalidArgument`] for an answer of
    /// the other kind.
    pub fn complete_task(&self, task: u64, answer: TaskAnswer) -> Result<(), EngineError> {
        let _ = (task, answer);
        Ok(())
    }

    /// Runs every check once without the engine being started, and changes nothing in the world. Over when the slowest check's
    /// timeout is.
    pub fn check_once(&self) -> Vec<CheckReport> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use crate::core::model::{
        Model, OnLoss, OnNoSyncStandby, Policy, PostgresModel, Role, RouteModel, ServerModel, ServiceKind, ServiceModel,
        TriggerModel,
    };
    use crate::core::sample::FenceLevel;
    use crate::core::time::Span;

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
                postgres: PostgresModel {
                    max_lag_bytes: 1 << 20,
                    on_loss: OnLoss::Refuse,
                    fence_require: FenceLevel::ProvenStopped,
                    route_exclusive: false,
                    promotion_timeout: Span::from_millis(60_000),
                    fence_timeout: Span::from_millis(10_000),
                    on_no_sync_standby: OnNoSyncStandby::Async,
                    allow_delayed: false,
                },
                route: RouteModel { instances: 0, verify: false },
                pre_checks: false,
            }],
        }
    }
}
pub mod watcher;
