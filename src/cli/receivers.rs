//! `failover notify`: the receivers of notifications of a running daemon.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use failover::{NotifyStatus, NotifyTestStatus};
use serde_json::{Value, json};

use super::arguments::NotifyTest;
use super::client::Client;
use super::exit::{Code, Trouble};
use super::protocol::{DEADLINE, Line, Request};
use super::status;
use super::terminal::{Paint, Terminal, print, print_json};
use super::text::printable;

/// The longest `timeout` of a receiver, and some more: the daemon has its own deadline.
const PATIENCE: Duration = Duration::from_secs(125);

/// Sends a test message to one receiver, or to each in turn.
pub fn test(arguments: &NotifyTest, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let names = if let Some(name) = &arguments.receiver {
        vec![name.clone()]
    } else {
        let status = status::ask(&mut Client::connect(&arguments.daemon)?, None)?;
        status.notify.into_iter().map(|receiver| receiver.name).collect()
    };
    if names.is_empty() {
        return Err(Trouble::new(Code::Refused, "the daemon tells nobody what happens")
            .remedy("add a [[notify]] to its configuration, and reload it: docs/NOTIFY.md"));
    }
    let mut tested = Vec::new();
    for name in names {
        // One conversation each: the daemon does not wait for the next question as long as a receiver may take.
        let mut client = Client::connect(&arguments.daemon)?;
        let answer = ask(&mut client, name)?;
        let one: NotifyTestStatus = serde_json::from_value(answer.clone())
            .map_err(|error| Trouble::new(Code::Unreachable, format!("the daemon's answer cannot be read: {error}")))?;
        if !json {
            print(&said(&one, terminal))?;
        }
        tested.push((one.delivered, answer));
    }
    let all = tested.iter().all(|(delivered, _)| *delivered);
    if json {
        let receivers: Vec<Value> = tested.into_iter().map(|(_, answer)| answer).collect();
        print_json(&json!({ "delivered": all, "receivers": receivers }), terminal)?;
    }
    Ok(if all { Code::Ok } else { Code::NotUp })
}

fn ask(client: &mut Client, receiver: String) -> Result<Value, Trouble> {
    client.send(&Request::NotifyTest { receiver })?;
    match client.line(Some(Instant::now() + DEADLINE + PATIENCE))? {
        Some(Line::Result(value)) => Ok(value),
        Some(Line::Error(refused)) => Err(refused.into()),
        _ => Err(Trouble::new(Code::Unreachable, "the daemon went away before the receiver had answered")),
    }
}

fn said(one: &NotifyTestStatus, terminal: Terminal) -> String {
    let (word, paint) = if one.delivered { ("delivered", Paint::Good) } else { ("not delivered", Paint::Bad) };
    // Only for people: whole milliseconds will do.
    let took = Duration::try_from_secs_f64(one.took_ms.max(0.0) / 1_000.0).unwrap_or_default();
    format!(
        "{} ({}): {} in {} ms: {}\n",
        one.name,
        one.kind,
        terminal.stdout(word, paint),
        took.as_millis(),
        printable(&one.answer)
    )
}

/// The receivers in the status of everything.
pub fn lines(receivers: &[NotifyStatus], terminal: Terminal) -> String {
    let mut text = String::new();
    for receiver in receivers {
        let NotifyStatus { name, kind, waiting, delivered, given_up, failures, .. } = receiver;
        let mut line = format!("Notifications to {name} ({kind}): {delivered} events delivered, {waiting} waiting");
        if *given_up > 0 {
            let _ = write!(line, ", {given_up} given up");
        }
        let paint = if *failures > 0 {
            let _ = write!(line, "; the last {failures} attempts failed: {}", printable(&receiver.answer));
            Paint::Doubtful
        } else if *given_up > 0 {
            Paint::Doubtful
        } else {
            Paint::Faint
        };
        let _ = writeln!(text, "{}", terminal.stdout(&line, paint));
    }
    text
}
