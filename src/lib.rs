//! Automatic failover as a library.
//!
//! A program links `failover`, hands it a configuration, and from then on the engine watches servers, decides when the primary
//! is really gone, fences it, promotes the standby, moves the traffic, verifies the result, and says what happened and why. No
//! agent on the database hosts, no cluster to run first. The same engine runs as a daemon: `failover run failover.toml`.
//!
//! This page is the architecture. Start with [`Engine`] to embed, with [`Core`](failover_core::Core) to understand.
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
//! **The decision is a function.** [`Core::step`](failover_core::Core::step) takes a moment and an input and returns outputs. It reads no
//! clock and no socket, starts no thread, writes no log. Whatever it decided can be replayed, and is simulated in the tests.
//! **The shell has no opinions.** Threads, sockets, clocks and files live outside the core, carry out its outputs in order and
//! report back.
//!
//! # Code map
//!
//! | module | what it is |
//! |---|---|
//! | [`failover_core`] | the decision: [`evidence`](failover_core::evidence) (failure classes), [`trigger`](failover_core::trigger) (states), [`candidate`](failover_core::candidate) (whom to promote, what would be lost), [`sync_set`](failover_core::sync_set) (whose acknowledgements commits wait for), [`durable`](failover_core::durable) (what survives a restart and a reload: the journal's fact), [`kind`](failover_core::kind) (what each kind of service does its own way), [`knowledge`](failover_core::knowledge) (what was seen, for the next engine), [`plan`](failover_core::plan) (what is known of a failover in flight), `procedure` (tables of steps, and the driver that carries out any of them), [`handover`](failover_core::handover) (a primary that lives is stopped in an orderly way), [`refusal`](failover_core::refusal) (every "no" by name), [`doubt`](failover_core::doubt) (may our own view be trusted), [`schedule`](failover_core::schedule), [`health`](failover_core::health) |
//! | `sync`, `deadline`, `clock`, `secret` | the floor: where locks, threads and waits come from; one overall deadline; moments; a text that cannot be printed |
//! | `config` | text to a validated, immutable configuration; every error names its path |
//! | `wire` | sockets with one overall deadline, and the sessions over them: PostgreSQL, SSH, HAProxy, child processes |
//! | `check` | one file per kind of check; a trait with one method |
//! | `action` | effects on the world: on a database host, over SQL, on HAProxy, by command; each idempotent |
//! | `engine` | the shell: pool, watcher, trigger thread, executor, survey, event queue, journal |
//! | `src/ffi` | the package `failover-capi`: the functions of `include/failover.h`, thin: arguments in, one call of [`Engine`], result or error out |
//! | `src/cli` | the package `failover-cli`: the command line and daemon `failover`; it uses the library as any program does |
//!
//! A module uses only those that stand above it here; no two folders use each other. All are private: what a program can name is one
//! block of `lib.rs`.
//!
//! # Invariants, many of them absences
//!
//! - `core` knows no I/O, no thread, no clock, no log, no `HashMap`; core types are never serialised for others: `engine` and
//!   `config` own their wire types and convert. Only the record of a decision holds them, for a replay by the same version.
//! - Only `step` and a clone of the state run under the engine's one mutex: no I/O, no callback, no logging, no JSON.
//! - Whoever acts asks one gate (`service/gate.rs` of the core): which bar holds for which act is one table, and an order waives the soft
//!   ones alone, by their type.
//! - `unknown` is never counted as `down`. What could not be asked changes nothing but its age.
//! - Nothing is promoted before the required fence is proven, and nothing is routed before a write is verified.
//! - From the promotion on nothing is undone; before it every step has a compensation, taken in reverse order.
//! - Every blocking call has one overall deadline and a cancel signal; every queue and loop has a bound.
//! - A panic freezes decisions and says so. Frozen beats wrong.
//! - A secret lives in a type that cannot be printed.
//! - No signal handler, no process-wide state; no `unsafe` but in `failover-capi`, where every block says why it is sound.
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
//! `paused`, doubt and `faulted` are flags beside the state. `failing` is the confirmation: the threshold is reached, fresh
//! evidence comes in at `fast_interval`, and either a class is established and every guard passes, or a named refusal stands in
//! the way. A failover that was refused for good, stopped, or could not be undone ends in `manual_intervention`, which an
//! operator leaves with `reset` or `force`. Where only an answer is missing (of a standby, of a host), a person is called and the service stays
//! `failing`: it decides when the answer comes. `failed_over` ends by itself when the cooldown is over and a standby is ready.
//!
//! # How evidence is weighed
//!
//! | class | what establishes it | time |
//! |---|---|---|
//! | `dead` | the kept session closed or a connection refused, then 3 refusals on new sockets and the host's word that the postmaster is gone | about 0.1 s |
//! | `hung` | no answer of any probe for `hang_after`, two new connections without an answer, the host answers and does not say that the server serves | 3.4 s |
//! | `unreachable` | the same silence, and the host cannot be asked either | about 5 s |
//! | `unusable` | impaired for longer than `on_impaired` | configured, default never |
//!
//! Of an application the checks alone establish the class: `failure_threshold` failures in the window, and one more that was asked after
//! them; wrong answers are `unusable`.
//!
//! An announced shutdown gets `restart_grace`. Exhausted slots, starting, crash recovery, a wrong password and TLS trouble are
//! `impaired`: alive, alarmed, not failed over. For silence a standby that goes on receiving vetoes; for a refusal the host's
//! word that the postmaster runs does.
//!
//! # The order of a failover
//!
//! confirm → journal the intent → take the old primary out of the route → fence it and prove that no process of its data
//! directory is left → read the standbys' positions until they stop moving → choose → promote (the point of no return) → prove a
//! committed write on the new timeline → open the gate of synchronous replication if nobody can acknowledge → route → verify
//! through the route who answers → prove the fence once more.
//!
//! An application ([`failover_core::kind::ServiceKind::Application`]) has no data, so its plan is shorter and everything in it can be undone:
//! confirm → journal the intent → take the failed server out of the route, as far as that works → choose the standby by its checks →
//! route → verify through the route who answers → complete; or the next standby; or every server of every instance as it was before.
//!
//! Names (`action::dns`) follow after either, in their own time, unless they are the only route.
//!
//! A service may follow another one (`services.follows`): the core looks at each service after the one that it follows, runs its command
//! for a new primary there, and switches it by the same plan.
//!
//! # On disk
//!
//! The journal is synced before anything that depends on it, and an intent counts only with room for the rest of its failover behind
//! it. Once the fence is proven, a promotion waits for no more records. What was *seen* is no journal: `knowledge.json` holds it with
//! its age, replaced once a second and never waited for.
//!
//! # Threads
//!
//! Named `fo-…` and fixed at start, but for executors: checkers (one per check up to 64, or as many as the checks keep busy), watcher (all
//! kept-open sessions), trigger, executors (up to two per service that can be moved, 512 in all; eight are kept, the others begin when there is more to
//! do and end after half a minute without work), role (two, where a role endpoint is configured), survey (readiness), errors (what load balancers count), knowledge (what was seen, for the next engine), resolver (names;
//! `getaddrinfo` has no deadline), and lanes for child processes and host code. A report that a program asks for
//! ([`Engine::check_all`]) has threads of its own, while it lasts. Each that goes round for ever says by when it will be back, and the
//! trigger thread names those that are not; the thread that watches the route does the same for the trigger thread. A check that panics or keeps its thread is `unknown` and alarmed by its name;
//! where that is true of more than half of our own checkers or commands, it is a doubt. Code of the host program is none: what our own
//! checks see is believed as before. A panic anywhere else freezes all decisions (`faulted`). Locks, channels, threads
//! and waits come from `sync`, so that tests can try their schedules. No async runtime. PostgreSQL is spoken by `postgres-protocol` over sockets with a deadline, because a synchronous client
//! can be neither bounded nor dropped while its server is frozen.
//!
//! # Numbers
//!
//! [`failover_core::stats`] counts failovers and judges each by what its old primary shows then and later; the journal keeps the numbers, and
//! [`metrics_text`] renders them. [`failover_core::breaker`] is the circuit breaker; [`CircuitBreaker`] offers it to programs. The engine has one
//! around each thing that the survey asks, and none around checks, confirmation, fence, promotion or the steps of the route: what
//! failed before is no reason not to try now.
//!
//! # Roads not taken
//!
//! - No consensus of our own: one engine per service, held to it by a lock on the state directory and by refusing when another
//!   engine is seen in `pg_stat_activity`.
//! - No agent on the database nodes: SQL, SSH and commands reach them.
//! - No thread-local last error, no callback from a worker thread, no public struct with fields at the C boundary.

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
        Breaker, Check, Config, ConfigErrors, Connection, Data, Dns, DnsProvider, DnsType, EngineSettings, ExecProbe, Fence,
        FileContent, Haproxy, Headers, HealthCheckOthers, HostPort, HostProbe, HttpMethod, HttpProbe, OnImpaired, Pgbouncer,
        PostgresCheck, PostgresProbe, PreCheck, Preset, Probe, Problem, Process, Promote, PromoteMethod, Root, Route,
        RouteCommand, ScriptedProbe, SecretSource, Server, Service, Size, SourcedSecret, Ssh, SslMode, Surroundings, TcpProbe,
        Timing, Trigger, TsigAlgorithm, Workers,
    },
    engine::breaker::{BreakerSettings, BreakerState, CircuitBreaker, Denied, Permit, Token},
    engine::caller::on_behalf_of,
    engine::record::{DecisionRecord, Replay},
    engine::report::{CheckSummary, DoctorReport, ReplayReport, ServiceFinding, ServiceForecast, Validation},
    engine::status::{
        BreakerStatus, CheckReport, CheckStatus, DelayBucket, DelayStatus, EventStatus, FailoverStatus, FailureStatus,
        FollowStatus, ForecastStatus, HostFunctionStatus, JournalStatus, JudgedStatus, MetricsStatus, PauseStatus, PhaseStatus,
        ReadinessStatus, ReadyReport, ReasonStatus, SampleStatus, ServerStatus, ServiceReadiness, ServiceStatus, SpansStatus,
        Status, StepStatus, ThreadStatus, TrafficStatus, VerdictCounts,
    },
    engine::{
        ActionAnswer, CommandReply, Engine, EngineError, EngineEvent, EventQueue, ForceOptions, HostAction, HostAnswer,
        HostCheck, LONGEST_PAUSE, PauseOptions, TaskAnswer, metrics::details as metrics_details, metrics::text as metrics_text,
        why::of as why,
    },
    failover_core::candidate::ANY_LOSS,
    failover_core::event::{EventKind, Severity},
    failover_core::finding::FindingCode,
    failover_core::traffic::Outcome,
    secret::Secret,
};

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
