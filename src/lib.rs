//! Automatic failover as a library.
//!
//! A program links `failover` and passes a configuration. From then on the engine watches servers, decides when the primary has
//! failed, fences it, promotes a standby, moves the traffic, verifies the result, and reports what happened and why. It needs no
//! agent on the database hosts and no other cluster software. The same engine runs as a daemon: `failover run failover.toml`.
//!
//! This page describes the architecture. Start with [`Engine`] to embed the engine, and with [`Core`](failover_core::Core) to
//! understand it.
//!
//! # Bird's-eye view
//!
//! ```text
//!  schedule ──RunCheck──► checker pool ──finding──► crossbeam channel
//!                         watcher ──answers, closes──►   │
//!    operator commands, host program ───────────────────►▼
//!                             trigger thread: lock Mutex<Core>, step(now, input), unlock
//!                                                        │ outputs, in order
//!          ┌──────────────┬──────────────┬───────────────┴──────┐
//!          ▼              ▼              ▼                      ▼
//!    journal (first)  RunCheck back  RunAction ► executor   Event ► bounded queue ► receiver, callback
//! ```
//!
//! **The decision is a function.** [`Core::step`](failover_core::Core::step) takes a moment and an input and returns outputs. It
//! reads no clock and no socket, starts no thread, and writes no log. Every decision can be replayed, and the tests simulate it.
//! **The shell makes no decisions.** Threads, sockets, clocks and files are outside the core. The shell carries out the core's
//! outputs in order and reports the results.
//!
//! # Code map
//!
//! | module | what it is |
//! |---|---|
//! | [`failover_core`] | the decision: [`evidence`](failover_core::evidence) (failure classes), [`trigger`](failover_core::trigger) (states), [`candidate`](failover_core::candidate) (which standby to promote, and the loss), [`sync_set`](failover_core::sync_set) (the standbys whose acknowledgements commits wait for), [`durable`](failover_core::durable) (what the journal keeps across restart and reload), [`kind`](failover_core::kind) (differences between the kinds of service), [`knowledge`](failover_core::knowledge) (observations for the next engine), [`plan`](failover_core::plan) (the data of a failover in progress), `procedure` (tables of steps, and the driver that runs them), [`handover`](failover_core::handover) (the orderly stop of a primary that is alive), [`refusal`](failover_core::refusal) (every refusal by name), [`doubt`](failover_core::doubt) (whether the engine can trust its own view), [`schedule`](failover_core::schedule), [`health`](failover_core::health) |
//! | `sync`, `deadline`, `clock`, `secret` | the base: locks, threads and waits; one overall deadline; moments; a text that cannot be printed |
//! | `config` | parses text to a validated, immutable configuration; every error names its path |
//! | `wire` | sockets with one overall deadline, and the sessions over them: PostgreSQL, SSH, HAProxy, child processes |
//! | `check` | one file per kind of check; a trait with one method |
//! | `action` | effects: on a database host, over SQL, on HAProxy, by command; each idempotent |
//! | `engine` | the shell: pool, watcher, trigger thread, executor, survey, event queue, journal, notifications |
//! | `src/ffi` | the package `failover-capi`: the functions of `include/failover.h`. Each converts its arguments, calls one function of [`Engine`], and returns the result or the error |
//! | `src/cli` | the package `failover-cli`: the command line and daemon `failover`; it uses the library like any other program |
//!
//! A module uses only modules that are above it in this table. No two folders use each other. All modules are private: one block
//! of `lib.rs` lists what a program can name.
//!
//! # Invariants, many of them absences
//!
//! - `core` has no I/O, no thread, no clock, no log, no `HashMap`. Core types are never serialised for other programs: `engine`
//!   and `config` have their own wire types and convert. Only the record of a decision contains core types, for a replay by the
//!   same version.
//! - Only `step` and a clone of the state run under the engine's one mutex: no I/O, no callback, no logging, no JSON.
//! - Every act must pass one gate (`service/gate.rs` of the core). One table says which conditions apply to which act. An order
//!   waives only the soft conditions, by their type.
//! - `unknown` is never counted as `down`. If a check could not ask, only the age of the last observation changes.
//! - Nothing is promoted before the required fence is proven, and nothing is routed before a write is verified.
//! - From the promotion on nothing is undone. Before the promotion every step has a compensation; the engine runs them in reverse
//!   order.
//! - Every blocking call has one overall deadline and a cancel signal; every queue and loop has a bound.
//! - A panic freezes decisions and is reported. A frozen engine is safer than a wrong decision.
//! - A secret has a type that cannot be printed.
//! - There is no signal handler and no process-wide state. Only `failover-capi` has `unsafe` code, and every block says why it is
//!   sound.
//!
//! # The state of a service
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> normal
//!     normal --> degraded
//!     normal --> failing
//!     normal --> failover_in_progress
//!     normal --> manual_intervention
//!     degraded --> normal
//!     degraded --> failing
//!     degraded --> failover_in_progress
//!     degraded --> manual_intervention
//!     failing --> normal
//!     failing --> degraded
//!     failing --> failover_in_progress
//!     failing --> manual_intervention
//!     failover_in_progress --> failed_over
//!     failover_in_progress --> manual_intervention
//!     failover_in_progress --> degraded
//!     failed_over --> normal
//!     failed_over --> failover_in_progress
//!     failed_over --> manual_intervention
//!     manual_intervention --> normal
//!     manual_intervention --> failover_in_progress
//! ```
//!
//! `paused`, doubt and `faulted` are flags in addition to the state. `failing` is the confirmation: the threshold is reached, and
//! the engine collects fresh evidence at `fast_interval`. The confirmation ends when a class is established and every guard
//! passes, or a named refusal prevents the failover. A failover that was refused finally, stopped, or could not be undone ends in
//! `manual_intervention`. An operator leaves this state with `reset` or `force`. If only an answer is missing (of a standby or a
//! host), the engine calls a person and the service stays `failing`: it decides when the answer arrives. `failed_over` ends by
//! itself when the cooldown is over and a standby is ready.
//!
//! # How evidence is weighed
//!
//! | class | evidence | time |
//! |---|---|---|
//! | `dead` | the kept session closed or a connection was refused, then 3 new connections are refused, and the host reports that the postmaster is gone | about 0.1 s |
//! | `hung` | no probe gets an answer for `hang_after`, two new connections get no answer, and the host answers and does not report that the server serves | 3.4 s |
//! | `unreachable` | the same silence, and the host does not answer either | about 5 s |
//! | `unusable` | the server is impaired for longer than `on_impaired` | configured, default never |
//!
//! For an application the checks alone establish the class: `failure_threshold` failures in the window, and one more from a check
//! that began after them. Wrong answers are `unusable`.
//!
//! An announced shutdown gets `restart_grace`. Exhausted connection slots, a starting server, crash recovery, a wrong password
//! and TLS errors are `impaired`: the server is alive, and the engine raises an alarm and does not fail over. If the primary is
//! silent, a standby that still receives from it vetoes the failover. If it refuses connections, the report of the host that the
//! postmaster runs vetoes the failover.
//!
//! # The order of a failover
//!
//! confirm → journal the intent → take the old primary out of the route → fence it and prove that no process of its data
//! directory is left → read the standbys' positions until they stop moving → carry log that only the old primary's disk has to the
//! furthest standby (salvage) and read the positions again → choose → promote (the point of no return) → prove a
//! committed write on the new timeline → disable synchronous replication if no standby can acknowledge → route → verify through
//! the route which server answers → prove the fence once more.
//!
//! An application ([`failover_core::kind::ServiceKind::Application`]) has no data, so its plan is shorter and every step can be
//! undone: confirm → journal the intent → take the failed server out of the route, as far as that works → choose the standby by
//! its checks → route → verify through the route which server answers → complete. If the verification fails, the next standby
//! gets the traffic, or every server of every instance is restored.
//!
//! The other standbys of a database are pointed to the new primary behind the failover; where commits wait for them, before commits
//! would stop waiting (`service/repoint.rs` of the core). What is to be done follows from what is seen, so it needs no memory.
//!
//! DNS names (`action::dns`) follow after both kinds of failover and delay neither, unless they are the only route.
//!
//! A service may follow another one (`services.follows`): the core processes each service after the one that it follows, runs the
//! command for a new primary of that service, and switches the following service by the same plan.
//!
//! # On disk
//!
//! The journal is synced before anything that depends on it. An intent counts only if there is space for the rest of its
//! failover. Once the fence is proven, a promotion waits for no more records. Observations are not in the journal:
//! `knowledge.json` holds them with their age. It is replaced once a second, and nothing waits for it.
//!
//! # Threads
//!
//! The threads have names `fo-…`. All but the executors are fixed at start: checkers (one per check up to 64, or as many as the
//! checks keep busy), watcher (all kept-open sessions), trigger, executors (up to two per service that can fail over, 512 in all;
//! eight are kept, the others start when there is more to do and end after half a minute without work), role (two, if a role
//! endpoint is configured), notify and deliver (one that takes in what is to be told, and one for each receiver, if there are
//! receivers; nothing waits for them, and a bug in them freezes nothing), survey (readiness), errors (what load balancers count), knowledge (observations for the next engine),
//! resolver (names; `getaddrinfo` has no deadline), and lanes for child processes and host code. A report that a program asks for
//! ([`Engine::check_all`]) has threads of its own until it ends. Each thread with an endless loop
//! announces when it will be back, and the trigger thread names those that are overdue; the thread that watches the route does
//! the same for the trigger thread. A check that panics or does not release its thread is `unknown`, and an alarm names it. If
//! this is true of more than half of the engine's own checkers or commands, the engine doubts its own view. Code of the host
//! program causes no doubt: the engine trusts its own checks as before. A panic anywhere else freezes all decisions (`faulted`).
//! Locks, channels, threads and waits come from `sync`, so that tests can try their schedules. There is no async runtime. The
//! engine speaks the PostgreSQL protocol with `postgres-protocol` over sockets with a deadline, because a synchronous client can
//! be neither bounded nor dropped while its server is frozen.
//!
//! # Numbers
//!
//! [`failover_core::stats`] counts failovers and judges each by what its old primary shows then and later. The journal keeps the
//! numbers, and [`metrics_text`] renders them. [`failover_core::breaker`] is the circuit breaker, and [`CircuitBreaker`] offers
//! it to programs. The engine has one for each host, server and route that the survey asks. Checks, confirmation, fence,
//! promotion and the steps of the route have none: an earlier failure is no reason not to try now.
//!
//! # Roads not taken
//!
//! - The engine has no consensus protocol. There is one engine per service: a lock on the state directory ensures this, and the
//!   engine refuses when it sees another engine in `pg_stat_activity`.
//! - There is no agent on the database nodes: SQL, SSH and commands reach them.
//! - There is no thread-local last error, no callback from a worker thread, and no public struct with fields at the C boundary.

#![cfg_attr(test, allow(clippy::too_many_lines, reason = "a table, or one story told from its beginning to its end"))]
#![forbid(unsafe_code)]
#![deny(unreachable_pub)]
// Under shuttle the tests of the insides, which use the rest, are not there.
#![cfg_attr(all(test, shuttle), allow(dead_code, unused_imports))]

mod action;
mod check;
mod clock;
mod config;
mod deadline;
mod engine;
mod secret;
mod sync;
mod wire;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(any(test, fuzzing))]
mod scratch;

// Everything that a program can name: all modules are private.
pub use {
    config::{
        Breaker, Check, Config, ConfigErrors, Connection, Data, Delivery, Dns, DnsProvider, DnsType, Email, EmailTls,
        EngineSettings, ExecProbe, Fence, FileContent, Haproxy, Headers, HealthCheckOthers, HostPort, HostProbe, HttpMethod,
        HttpProbe, Notify, NotifyCommand, NotifyFormat, NotifyKind, NotifySeverity, NotifyTarget, OnImpaired, Pgbouncer,
        PostgresCheck, PostgresProbe, PreCheck, Preset, Probe, Problem, Process, Promote, PromoteMethod, Root, Route,
        RouteCommand, ScriptedProbe, SecretSource, Server, Service, Size, SourcedSecret, Ssh, SslMode, Surroundings, Switchover,
        TcpProbe, Timing, Trigger, TsigAlgorithm, Webhook, Workers,
    },
    engine::breaker::{BreakerSettings, BreakerState, CircuitBreaker, Denied, Permit, Token},
    engine::caller::on_behalf_of,
    engine::record::{DecisionRecord, Replay},
    engine::report::{CheckSummary, DoctorReport, ReplayReport, ServiceFinding, ServiceForecast, Validation},
    engine::status::{
        BreakerStatus, CheckReport, CheckStatus, DeathStatus, DelayBucket, DelayStatus, EventStatus, FailoverStatus,
        FailureStatus, FollowStatus, ForecastStatus, HostFunctionStatus, JournalStatus, JudgedStatus, MetricsStatus,
        NotifyStatus, NotifyTestStatus, PauseStatus, PhaseStatus, PlannedSwitchoverStatus, ReadinessStatus, ReadyReport,
        ReasonStatus, RejoinStatus, SampleStatus, ServerStatus, ServiceReadiness, ServiceStatus, SlotStatus, SpansStatus, Status,
        StepStatus, SyncSetStatus, ThreadStatus, TopologyStatus, TrafficStatus, VerdictCounts,
    },
    engine::survived::{CommitId, Survived, SurvivedFork},
    engine::{
        ActionAnswer, CloneOptions, CommandReply, Engine, EngineError, EngineEvent, EventQueue, ForceOptions, HostAction,
        HostAnswer, HostCheck, LONGEST_PAUSE, PauseOptions, PreflightStatus, RejoinOptions, SwitchoverOptions, TaskAnswer,
        metrics::details as metrics_details, metrics::text as metrics_text, why::of as why,
    },
    failover_core::candidate::ANY_LOSS,
    failover_core::event::{EventKind, Severity},
    failover_core::finding::FindingCode,
    failover_core::traffic::Outcome,
    secret::Secret,
};

// What only the program `failover` needs.
#[doc(hidden)]
pub use action::pgbouncer::keeper::hold_gate;

// What only the C interface needs.
#[doc(hidden)]
pub use engine::{
    embedder::{action_event, check_event},
    panic_text,
};

// What the tests of the insides share with the other tests calls this library by its name.
#[cfg(all(test, not(shuttle)))]
extern crate self as failover;

#[cfg(all(test, not(shuttle)))]
#[path = "../tests/inside/mod.rs"]
mod tests;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So do those of the guide.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct Guide;
