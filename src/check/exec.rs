//! A check that asks a command: its exit code is the answer.
//!
//! Starting a program cannot be bounded (it is read from a disk that may hang), so this check belongs on the lane for child
//! processes, not on a checker.

use super::{Check, Context};
use crate::deadline::Interrupted;
use crate::wire::command::{Command, End, Error};
use failover_core::observation::{DownCause, Finding, Impairment, UnknownCause, Verdict};

use rustix::io::Errno;

/// A command whose exit code is the answer.
#[derive(Clone, Debug)]
pub(crate) struct ExecCheck {
    /// The command; its first line of output becomes the finding's message.
    pub command: Command,
    /// This exit code says: alive, but not serving. `None`: every code but 0 is a failure.
    pub impaired_exit_code: Option<i32>,
}

impl Check for ExecCheck {
    fn run(&self, context: &Context<'_>) -> Finding {
        let began = context.clock.now();
        let (verdict, message) = match self.command.run(context.deadline, context.cancel) {
            Ok(output) => {
                let verdict = match output.end {
                    End::Code(0) => Verdict::Up,
                    End::Code(code) if Some(code) == self.impaired_exit_code => Verdict::Impaired(Impairment::QueryRefused),
                    _ => Verdict::Down(DownCause::WrongAnswer),
                };
                let line = output.line();
                let end = output.end;
                (verdict, if line.is_empty() { end.to_string() } else { format!("{end}: {line}") })
            }
            Err(error) => (verdict_of(&error), error.to_string()),
        };
        context.finding(began, verdict, message, None)
    }
}

/// A command that ran and was too slow is a failure of what it asks; everything else is our own trouble.
fn verdict_of(error: &Error) -> Verdict {
    match error {
        Error::Ended { why: Interrupted::TimedOut, .. } => Verdict::Down(DownCause::AnswerTimedOut),
        Error::Ended { .. } | Error::NotBegun { why: Interrupted::Cancelled, .. } => {
            Verdict::Unknown(UnknownCause::NoAnswerFromHost)
        }
        Error::NotBegun { .. } => Verdict::Unknown(UnknownCause::OwnPause),
        Error::Start { source, .. } | Error::Wait { source, .. } => Verdict::Unknown(match source.raw_os_error() {
            Some(code) if own_resources().contains(&code) => UnknownCause::OwnResources,
            _ => UnknownCause::Internal,
        }),
        Error::StatusLost { .. } => Verdict::Unknown(UnknownCause::Internal),
    }
}

fn own_resources() -> [i32; 4] {
    [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error)
}
