//! A command that is told: the JSON of a message on its standard input.

use super::{Answer, Message, Within};
use crate::wire::command::{Command, End};

/// Runs it. Exit code 0 is its word that somebody was told. At the deadline it is ended with all its children.
pub(super) fn send(argv: &[String], message: &Message, within: &Within<'_>) -> Answer {
    let mut json = message.json().to_string().into_bytes();
    json.push(b'\n');
    let mut command = Command::new(argv)
        .env("FAILOVER_NOTIFY_ID", message.id())
        .env("FAILOVER_NOTIFY_SUBJECT", message.subject())
        .env("FAILOVER_NOTIFY_SEVERITY", message.severity().as_str());
    command.stdin = json;
    match command.run(within.deadline, within.cancel) {
        Err(error) => Answer::failed(error.to_string()),
        Ok(output) => match (output.end, output.line()) {
            (End::Code(0), said) if said.is_empty() => Answer::Delivered("exit code 0".to_owned()),
            (End::Code(0), said) => Answer::Delivered(format!("exit code 0: {said}")),
            (end, said) if said.is_empty() => Answer::failed(end.to_string()),
            (end, said) => Answer::failed(format!("{end}: {said}")),
        },
    }
}
