//! Everything that can reach the core.

use super::durable::Durable;
use super::id::{ActionId, RunId, ServerId, ServiceId};
use super::knowledge::Knowledge;
use super::observation::{Close, Finding};
use super::output::{Failure, Report};
use super::plan::Intent;
use super::rejoin::RejoinHow;
use super::route::RouteSurvey;
use super::sample::{Readiness, ReadinessFinding, Sample};
use super::switchover::SwitchoverOrder;
use super::time::{Mono, Span};
use super::traffic::Outcome;
use serde::{Deserialize, Serialize};

/// One input of [`Core::step`](super::Core::step).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Nothing happened but time. Harmless at any moment, as often as you like.
    Tick,
    /// A check is back.
    CheckFinished {
        /// The run it belongs to.
        run: RunId,
        /// What it found.
        finding: Finding,
    },
    /// A kept-open session is up and being watched.
    SessionOpened {
        /// The run given in [`Output::OpenSession`](super::output::Output::OpenSession).
        run: RunId,
    },
    /// A kept-open session could not be opened.
    SessionFailed {
        /// The run given in [`Output::OpenSession`](super::output::Output::OpenSession).
        run: RunId,
        /// What was found instead: counts like any new-connection probe.
        finding: Finding,
    },
    /// A kept-open session answered its ping.
    SessionAnswered {
        /// The service.
        service: ServiceId,
        /// The server.
        server: ServerId,
        /// What the server said about itself.
        sample: Box<Sample>,
    },
    /// A kept-open session ended.
    SessionClosed {
        /// The service.
        service: ServiceId,
        /// The server.
        server: ServerId,
        /// How.
        close: Close,
    },
    /// The survey looked at a server's host.
    Surveyed {
        /// The service.
        service: ServiceId,
        /// The server.
        server: ServerId,
        /// What it found.
        readiness: Readiness,
    },
    /// The survey looked at the route.
    RouteSurveyed {
        /// The service.
        service: ServiceId,
        /// What it found.
        survey: RouteSurvey,
    },
    /// The survey went a client's way: who answers at the addresses through which the traffic is verified, and whether the names of
    /// the service can be read.
    RouteAsked {
        /// The service.
        service: ServiceId,
        /// Who was the primary then.
        primary: Option<ServerId>,
        /// When it was asked.
        asked: Mono,
        /// What hurts.
        findings: Vec<ReadinessFinding>,
    },
    /// A load balancer counts errors with a server that it did not count before.
    RouteErrors {
        /// The service.
        service: ServiceId,
        /// The server.
        server: ServerId,
        /// When it was asked.
        asked: Mono,
    },
    /// The host program tells how calls of its own to a server ended.
    OutcomeReported {
        /// The service.
        service: ServiceId,
        /// The server; `None`: the primary.
        server: Option<ServerId>,
        /// How.
        outcome: Outcome,
        /// How many, since the last report of this outcome.
        count: u32,
    },
    /// An action is back.
    ActionFinished {
        /// Which one.
        action: ActionId,
        /// Its outcome. A failure says whether the effect is excluded or unknown.
        outcome: Result<Report, Failure>,
    },
    /// An operator or the host program speaks.
    Operator {
        /// The service, or `None` for all.
        service: Option<ServiceId>,
        /// What is wanted.
        command: Command,
        /// Comes back in [`Output::Reply`](super::output::Output::Reply).
        token: u64,
    },
    /// How the shell itself is doing.
    SelfHealth(SelfHealth),
    /// What the journal knew at start: given once, before the first tick.
    Restored {
        /// The service.
        service: ServiceId,
        /// The facts.
        facts: Box<Facts>,
    },
}

/// What an operator may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Yes to the failover that waits for it.
    Confirm,
    /// Observe, decide nothing.
    Pause {
        /// Why, for whoever looks later.
        reason: Option<String>,
        /// After so long it ends by itself; `None`: when it is resumed.
        lasts: Option<Span>,
    },
    /// End the pause: counters restart, observe before acting.
    Resume,
    /// Leave `manual_intervention` or `failed_over`.
    Reset,
    /// Fail over now, waiving what can be waived; every waived safety is in the record.
    Force {
        /// The standby to promote, or the best one.
        to: Option<ServerId>,
        /// The most bytes that may be lost; `None`: the configured limit.
        accept_loss: Option<u64>,
    },
    /// Let the primary hand over to a standby: nothing is waived, and nothing is lost.
    Switchover {
        /// The standby to promote, or the best one.
        to: Option<ServerId>,
        /// Now, later, or not at all.
        order: SwitchoverOrder,
    },
    /// This server, which takes writes, is the primary from here on.
    Adopt {
        /// Which.
        server: ServerId,
    },
    /// This server is no candidate for whatever moves the service, until it is uncordoned.
    Cordon {
        /// Which.
        server: ServerId,
    },
    /// This server, which was the primary and is stopped, or where nothing is yet, becomes a standby.
    Rejoin {
        /// Which.
        server: ServerId,
        /// How it may.
        how: RejoinHow,
    },
    /// It may be promoted again.
    Uncordon {
        /// Which.
        server: ServerId,
    },
    /// The engine is about to stop: before the point of no return undo, after it finish.
    Stop,
}

impl Command {
    /// A pause until it is resumed, for no reason that was given.
    #[must_use]
    pub fn pause() -> Command {
        Command::Pause { reason: None, lasts: None }
    }

    /// The word used in events.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Command::Confirm => "confirm",
            Command::Pause { .. } => "pause",
            Command::Resume => "resume",
            Command::Reset => "reset",
            Command::Force { .. } => "force",
            Command::Switchover { .. } => "switchover",
            Command::Adopt { .. } => "adopt",
            Command::Cordon { .. } => "cordon",
            Command::Uncordon { .. } => "uncordon",
            Command::Rejoin { .. } => "rejoin",
            Command::Stop => "stop",
        }
    }
}

/// How the shell itself is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfHealth {
    /// Time during which the whole process did not run (suspend, SIGSTOP, debugger), as the shell measured it.
    pub gap: Span,
    /// So much of it the clock of the core stood still (a suspended machine): what was seen before is that much older than it says.
    #[serde(default)]
    pub suspended: Span,
    /// Checker threads whose job is past its deadline and has not come back.
    pub stuck_workers: u32,
    /// All checker threads.
    pub workers: u32,
    /// Threads of the engine, other than checkers, that are past the time they gave themselves: survey, actions, watches.
    #[serde(default)]
    pub stuck_loops: u32,
    /// The journal can be written.
    pub journal_writable: bool,
}

/// What the journal, and the file of what was seen, tell of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What survives the engine.
    pub durable: Durable,
    /// The last failover did not complete and no operator has reset it: the step that had been begun when the engine ended, or how
    /// it ended.
    pub unfinished: Option<String>,
    /// The last failover was begun and neither completed nor undone: what the next engine takes up.
    pub begun: Option<Intent>,
    /// What an earlier engine saw, with its age; the journal itself holds none of it.
    pub knowledge: Option<Box<Knowledge>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_stuck_loops_were_counted_has_none() {
        let well = SelfHealth { workers: 2, journal_writable: true, ..SelfHealth::default() };
        let mut written = serde_json::to_value(&well).unwrap();
        written.as_object_mut().unwrap().remove("stuck_loops").unwrap();
        assert_eq!(serde_json::from_value::<SelfHealth>(written).unwrap(), well);
    }
}
