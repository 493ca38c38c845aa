//! Actions carried out by the operator's own commands: the fence of last resort, a promotion, the checks before a failover.
//!
//! A command learns what it is for from its environment, never from its arguments:
//!
//! | variable | value |
//! |---|---|
//! | `FAILOVER_SERVICE` | the service's name |
//! | `FAILOVER_SERVER` | the server's name |
//! | `FAILOVER_HOST`, `FAILOVER_PORT` | where that server is |
//! | `FAILOVER_GENERATION` | the number of this failover: a command can refuse one lower than it has seen |
//! | `FAILOVER_STEP` | `fence`, `promote`, `pre_checks`, `verify_traffic`, `route_in`, `route_out`, `route_restore`, `route_rollback`, `follow` |
//! | `FAILOVER_IDEMPOTENCY_KEY` | the same whenever the same step of the same failover is tried again |
//!
//! A command that follows another service has `FAILOVER_SERVICE`, `FAILOVER_STEP` and `FAILOVER_IDEMPOTENCY_KEY`, and of the other
//! service `FAILOVER_FOLLOWED_SERVICE`, `FAILOVER_FOLLOWED_SERVER`, `FAILOVER_FOLLOWED_HOST` and `FAILOVER_FOLLOWED_PORT` of its new
//! primary, and in `FAILOVER_GENERATION` the number of the failover that made it one.

use std::time::{Duration, Instant};

use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::command::{Command, End, Error, Output};
use failover_core::output::Failure;
use failover_core::sample::{FenceLevel, FenceReport, Rung, RungName};
use failover_core::time::Span;

/// What a command is run for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The service's name.
    pub service: String,
    /// The server's name.
    pub server: String,
    /// The server's host.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The failover it belongs to.
    pub generation: u64,
}

/// A configured check before a failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PreCheck {
    /// Its name in the configuration.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The longest it may take.
    pub timeout: Duration,
}

impl Subject {
    /// The value of `FAILOVER_IDEMPOTENCY_KEY` for a step.
    #[must_use]
    pub(crate) fn idempotency_key(&self, step: &str) -> String {
        format!("{}/{}/{step}/{}", self.service, self.generation, self.server)
    }

    fn command(&self, step: &str, argv: &[String]) -> Command {
        Command::new(argv)
            .env("FAILOVER_SERVICE", &self.service)
            .env("FAILOVER_SERVER", &self.server)
            .env("FAILOVER_HOST", &self.host)
            .env("FAILOVER_PORT", self.port.to_string())
            .env("FAILOVER_GENERATION", self.generation.to_string())
            .env("FAILOVER_STEP", step)
            .env("FAILOVER_IDEMPOTENCY_KEY", self.idempotency_key(step))
    }
}

/// Runs `fence.command`. Exit code 0 is its word that the server's power or volume is cut; anything else means: not fenced.
///
/// # Errors
/// When it did not end with exit code 0. Only a command that never started is proven to have done nothing.
pub(crate) fn fence(argv: &[String], subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Result<FenceReport, Failure> {
    let began = Instant::now();
    let output = run("fence.command", &subject.command("fence", argv), deadline, cancel)?;
    let note = said(&output);
    Ok(FenceReport {
        end: None,
        level: FenceLevel::PowerOff,
        guard_placed: false,
        rungs: vec![Rung { name: RungName::Command, ok: true, took: Span::from(began.elapsed()), note: note.clone() }],
        proof: format!("fence.command ended with exit code 0{}", tail(&note)),
    })
}

/// Runs the promotion command. Exit code 0 says that it has asked the standby to promote, and no more: whether the standby is
/// writable is read from the standby.
///
/// # Errors
/// When it did not end with exit code 0. Only a command that never started is proven to have done nothing.
pub(crate) fn promote(argv: &[String], subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
    let output = run("promote.command", &subject.command("promote", argv), deadline, cancel)?;
    Ok(format!("promote.command ended with exit code 0{}", tail(&said(&output))))
}

/// A command that moves traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteCommand {
    /// Its name in the configuration.
    pub name: String,
    /// Sends the traffic to a server.
    pub into: Vec<String>,
    /// Takes the traffic from a server; empty where nothing is done then.
    pub out: Vec<String>,
    /// The longest either may take.
    pub timeout: Duration,
}

/// Runs the command of a step of the route, if it has one for it. Exit code 0 is its word that it is done.
pub(crate) fn route(
    command: &RouteCommand,
    step: &str,
    subject: &Subject,
    deadline: Deadline,
    cancel: &Cancel,
) -> Option<Result<String, Failure>> {
    let argv = match step {
        "route_out" => &command.out,
        // Nothing was taken away, so there is nothing to give back.
        "route_restore" if command.out.is_empty() => return None,
        _ => &command.into,
    };
    if argv.is_empty() {
        return None;
    }
    let what = format!("route.command \"{}\"", command.name);
    let ran = run(&what, &subject.command(step, argv), deadline.at_most(command.timeout), cancel);
    Some(ran.map(|output| match said(&output) {
        said if said.is_empty() => "done".to_owned(),
        said => said,
    }))
}

/// What is run when the service that is followed has a new primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowCommand {
    /// The program and its arguments; empty where there is none.
    pub argv: Vec<String>,
    /// The service that is followed.
    pub service: String,
    /// Its servers by their places: name, host, port.
    pub servers: Vec<(String, String, u16)>,
}

/// Runs the command of a service that follows another one. Exit code 0 means that everything that has to know the new primary knows it.
///
/// # Errors
/// When it did not end with exit code 0, or there is no such server any more.
pub(crate) fn follow(
    follow: &FollowCommand,
    follower: &str,
    place: usize,
    generation: u64,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<String, Failure> {
    let Some((server, host, port)) = follow.servers.get(place) else {
        let message = format!("there is no server number {place} in {}", follow.service);
        return Err(Failure::no_effect(message, "the configuration was reloaded meanwhile: try again"));
    };
    let command = Command::new(&follow.argv)
        .env("FAILOVER_SERVICE", follower)
        .env("FAILOVER_STEP", "follow")
        .env("FAILOVER_GENERATION", generation.to_string())
        .env("FAILOVER_IDEMPOTENCY_KEY", format!("{follower}/{}/{generation}/follow/{server}", follow.service))
        .env("FAILOVER_FOLLOWED_SERVICE", &follow.service)
        .env("FAILOVER_FOLLOWED_SERVER", server)
        .env("FAILOVER_FOLLOWED_HOST", host)
        .env("FAILOVER_FOLLOWED_PORT", port.to_string());
    let output = run("follows.command", &command, deadline, cancel)?;
    Ok(format!("follows.command ended with exit code 0{}", tail(&said(&output))))
}

/// Runs `route.verify_command`. Exit code 0 is its word that this server answers through the route.
///
/// # Errors
/// When it did not end with exit code 0.
pub(crate) fn verify(argv: &[String], subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
    let output = run("route.verify_command", &subject.command("verify_traffic", argv), deadline, cancel)?;
    Ok(format!("route.verify_command ended with exit code 0{}", tail(&said(&output))))
}

/// Runs the configured checks one after the other, each within its own time. They are run before anything is changed.
///
/// # Errors
/// The first one that did not end with exit code 0, as a failure without effect.
pub(crate) fn pre_checks(checks: &[PreCheck], subject: &Subject, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
    for check in checks {
        let what = format!("pre-check \"{}\"", check.name);
        let command = subject.command("pre_checks", &check.argv);
        if let Err(failure) = run(&what, &command, deadline.at_most(check.timeout), cancel) {
            return Err(if cancel.is_cancelled() { failure } else { Failure::no_effect(failure.message, failure.remedy) });
        }
    }
    Ok(match checks.len() {
        0 => "no pre-checks are configured".to_owned(),
        count => format!("{count} pre-checks passed"),
    })
}

fn run(what: &str, command: &Command, deadline: Deadline, cancel: &Cancel) -> Result<Output, Failure> {
    let outcome = command.run(deadline, cancel);
    let error = match outcome {
        Ok(output) if output.end == End::Code(0) => return Ok(output),
        Ok(output) => {
            let message = format!("{what} ended with {}{}", output.end, tail(&said(&output)));
            return Err(Failure::unknown(message, "run the command by hand with the FAILOVER_ variables set, and see why"));
        }
        Err(error) => error,
    };
    let message = format!("{what}: {error}");
    Err(match error {
        Error::Start { .. } => Failure::no_effect(message, "make sure that the program exists and that this user may run it"),
        Error::NotBegun { why: Interrupted::TimedOut, .. } => Failure::no_effect(message, "allow the step more time"),
        Error::Ended { why: Interrupted::TimedOut, .. } => {
            Failure::timed_out(message, "allow the command more time, or make it quicker")
        }
        Error::NotBegun { .. } | Error::Ended { .. } => Failure::cancelled(message),
        Error::StatusLost { .. } => Failure::unknown(message, "leave SIGCHLD at its default in the host program"),
        Error::Wait { .. } => Failure::unknown(message, ""),
    })
}

fn said(output: &Output) -> String {
    output.line()
}

fn tail(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}
