//! A check that the embedding program answers by a function.
//!
//! The function may take for ever: it runs on the lane for host code, and the core owns the deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Check, Context};
use crate::deadline::Deadline;
use failover_core::observation::{DownCause, Finding, Impairment, UnknownCause, Verdict};

/// A check the host program is asked to run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCheck {
    /// For [`Engine::complete_task`](crate::Engine::complete_task). Never reused.
    pub task: u64,
    /// The service.
    pub service: String,
    /// The server to ask.
    pub server: String,
    /// Its host by configuration.
    pub host: String,
    /// Its port by configuration.
    pub port: u16,
    /// The check's name.
    pub check: String,
    /// The name under which it is to be answered; the check's own name where the configuration gives no other.
    pub function: String,
    /// What is left of its deadline. The core owns the deadline: a later answer changes nothing.
    pub remaining: Duration,
}

/// What a host check found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostAnswer {
    /// It answered, and the answer was right.
    Up(String),
    /// It is proven to be alive, and does not serve.
    Impaired(String),
    /// It did not answer, or not as a healthy server does. Only this answer counts as a failure.
    Down(String),
    /// It could not be asked.
    Unknown(String),
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

/// What a host program registers.
pub(crate) type HostFunction = dyn Fn(&HostCheck) -> HostAnswer + Send + Sync;

/// A check answered by a function of the host program.
pub(crate) struct HostFunctionCheck {
    /// What the function is told; the time that is left is filled in for each run.
    pub question: HostCheck,
    /// The function; `None` when none was registered.
    pub function: Option<Arc<HostFunction>>,
    /// It was called and has not come back. Called again, it would take one thread of the lane after the other.
    pub is_out: AtomicBool,
}

/// Before a deadline, by a tenth of what is left, 25 ms at most: whoever keeps this one keeps that one for certain.
pub(crate) fn a_little_before(deadline: Deadline) -> Deadline {
    let left = deadline.remaining();
    deadline.at_most(left.saturating_sub((left / 10).min(Duration::from_millis(25))))
}

/// Says that the function is back, however it came back.
struct Back<'a>(&'a AtomicBool);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Check for HostFunctionCheck {
    fn run(&self, context: &Context<'_>) -> Finding {
        let began = context.clock.now();
        let (verdict, message) = if let Some(function) = &self.function {
            if self.is_out.swap(true, Ordering::SeqCst) {
                let message = format!("the function \"{}\" has not come back from its last call", self.question.function);
                return context.finding(began, Verdict::Unknown(UnknownCause::Internal), message, None);
            }
            let _back = Back(&self.is_out);
            let question = HostCheck { remaining: a_little_before(context.deadline).remaining(), ..self.question.clone() };
            function(&question).into_verdict()
        } else {
            let message = format!("the host program has registered no function \"{}\"", self.question.function);
            (Verdict::Unknown(UnknownCause::NoAnswerFromHost), message)
        };
        context.finding(began, verdict, message, None)
    }
}
