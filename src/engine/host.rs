//! Checks and actions written by the embedding program.

use std::time::Duration;

use crate::core::observation::{DownCause, Impairment, UnknownCause, Verdict};
use crate::core::output::{Failure, Report};

/// A check the host program is asked to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCheck {
    /// For [`Engine::complete_task`](super::Engine::complete_task). Never reused.
    pub task: u64,
    /// The service.
    pub service: String,
    /// The server to ask.
    pub server: String,
    /// The check's name.
    pub check: String,
    /// What is left of its deadline. The core owns the deadline: a later answer changes nothing.
    pub remaining: Duration,
}

/// An action the host program is asked to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAction {
    /// For [`Engine::complete_task`](super::Engine::complete_task). Never reused.
    pub task: u64,
    /// The service.
    pub service: String,
    /// The server it acts on, where it is one.
    pub server: Option<String>,
    /// The step: `pre_checks`, `route_out`, `route_restore`, `fence`, `promote` or `route_in`.
    pub step: String,
    /// The failover it belongs to. With `step` it is the idempotency key: asked again with the same one, find the work done;
    /// asked with a lower one than the highest seen, refuse.
    pub generation: u64,
    /// What is left of its deadline.
    pub remaining: Duration,
}

/// What a host check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAnswer {
    /// It answered, and the answer was right.
    Up(String),
    /// It is alive, proven, but not serving.
    Impaired(String),
    /// It did not answer, or not as a healthy one answers. The only answer that counts as a failure.
    Down(String),
    /// It could not be asked.
    Unknown(String),
}

/// How a host action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionAnswer {
    /// It did its work, and that is proven: for `fence` this means power or volume cut (level 4).
    Done(String),
    /// Proven to have had no effect.
    NoEffect(String),
    /// It failed, and part of the effect may have happened.
    Unknown(String),
}

/// The answer to a task of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskAnswer {
    /// To a `task_check` event.
    Check(HostAnswer),
    /// To a `task_action` event.
    Action(ActionAnswer),
}

impl HostAnswer {
    /// As the core understands it.
    pub(crate) fn into_verdict(self) -> (Verdict, String) {
        match self {
            HostAnswer::Up(message) => (Verdict::Up, message),
            HostAnswer::Impaired(message) => (Verdict::Impaired(Impairment::QueryRefused), message),
            HostAnswer::Down(message) => (Verdict::Down(DownCause::WrongAnswer), message),
            HostAnswer::Unknown(message) => (Verdict::Unknown(UnknownCause::NoAnswerFromHost), message),
        }
    }
}

impl ActionAnswer {
    /// As the core understands it, for steps that need no more than "done".
    pub(crate) fn into_outcome(self) -> Result<Report, Failure> {
        match self {
            ActionAnswer::Done(message) => Ok(Report::Done { message }),
            ActionAnswer::NoEffect(message) => Err(Failure::no_effect(message, "see the host program's own action")),
            ActionAnswer::Unknown(message) => Err(Failure::unknown(message, "see the host program's own action")),
        }
    }
}
