//! `failover events`.

use std::time::Instant;

use serde_json::Value;

use super::arguments::Events;
use super::client::Client;
use super::exit::{Code, Trouble};
use super::log::{message, paint};
use super::protocol::{DEADLINE, Line, Request};
use super::terminal::{Paint, Terminal, print};
use super::text::moment;

pub fn run(arguments: &Events, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let mut client = Client::connect(&arguments.daemon)?;
    client.send(&Request::Events {
        since: arguments.since,
        follow: arguments.follow,
        service: arguments.service.clone(),
        verbose: arguments.verbose,
    })?;
    let mut gaps = Gaps { told: arguments.verbose || json, last: None };
    loop {
        let until = (!arguments.follow).then(|| Instant::now() + DEADLINE);
        match client.line(until)? {
            Some(Line::Event(event)) => {
                if gaps.first(&event) {
                    let text = "failover: these numbers have gaps: --all shows single observations too";
                    eprintln!("{}", terminal.stderr(text, Paint::Faint));
                }
                let line = if json { event.to_string() } else { human(&event, terminal) };
                print(&format!("{line}\n"))?;
            }
            Some(Line::Gone(last)) => {
                let text = format!("failover: some events up to number {last} are no longer kept");
                eprintln!("{}", terminal.stderr(&text, Paint::Faint));
            }
            Some(Line::End) => return Ok(Code::Ok),
            Some(Line::Error(refused)) => return Err(refused.into()),
            Some(Line::Result(_)) => {
                return Err(Trouble::new(Code::Unreachable, "the daemon answered something else than events"));
            }
            None => return Err(Trouble::new(Code::Unreachable, "the daemon hung up before its last event")),
        }
    }
}

/// Notices the first number that is left out, so that nobody takes it for a loss.
struct Gaps {
    told: bool,
    last: Option<u64>,
}

impl Gaps {
    fn first(&mut self, event: &Value) -> bool {
        let number = event.get("seq").and_then(Value::as_u64);
        let gap = self.last.zip(number).is_some_and(|(last, number)| number > last + 1);
        self.last = number;
        let first = gap && !self.told;
        self.told |= gap;
        first
    }
}

/// One event as one line. Built from what the daemon sent, so that events of a newer daemon are shown too.
pub fn human(event: &Value, terminal: Terminal) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = event.get("seq").and_then(Value::as_u64).unwrap_or(0);
    let mut subject = text("service").to_owned();
    if !text("server").is_empty() {
        subject.push('/');
        subject.push_str(text("server"));
    }
    if !subject.is_empty() {
        subject.push(' ');
    }
    format!(
        "{} {} {} {subject}{}: {}",
        terminal.stdout(&format!("{number:>6}"), Paint::Faint),
        terminal.stdout(&moment(text("time")), Paint::Faint),
        terminal.stdout(&format!("{:7}", text("severity")), paint(text("severity"))),
        terminal.stdout(text("kind"), Paint::Strong),
        message(event.get("service").and_then(Value::as_str), text("message")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_gap_is_explained_once() {
        let told = |all: bool, numbers: &[u64]| -> Vec<bool> {
            let mut gaps = Gaps { told: all, last: None };
            numbers.iter().map(|seq| gaps.first(&json!({ "seq": seq }))).collect()
        };
        assert_eq!(told(false, &[7, 8, 11, 12, 20]), [false, false, true, false, false]);
        assert_eq!(told(true, &[7, 11]), [false, false]);
    }

    #[test]
    fn an_event_is_one_line() {
        let event = json!({
            "seq": 12, "time": "2026-01-02T03:04:05.000006Z", "kind": "state_changed", "severity": "warning",
            "service": "orders", "server": null, "message": "normal -> failing\nreally", "fields": {},
        });
        assert_eq!(
            human(&event, Terminal::default()),
            "    12 2026-01-02T03:04:05.000Z warning orders state_changed: normal -> failing\\nreally"
        );
        assert_eq!(human(&json!({}), Terminal::default()), "     0          : ");
    }
}
