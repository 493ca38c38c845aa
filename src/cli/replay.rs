//! `failover replay`: the core goes through a recorded decision again.

use std::fmt::Write as _;

use failover::DecisionRecord;
use serde_json::json;

use super::arguments::Replay;
use super::exit::{Code, Trouble};
use super::terminal::{Paint, Terminal, print, print_json};
use super::text::printable;

pub fn run(arguments: &Replay, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let record = DecisionRecord::load(&arguments.record).map_err(|error| Trouble::new(Code::Config, error))?;
    let replay = record.report();
    if json {
        print_json(&json!(replay), terminal)?;
    } else {
        let mut text = format!("{} {} ({}, version {})\n", record.time, record.service, record.kind, record.version);
        for event in &replay.events {
            let _ = writeln!(text, "  {}", printable(event));
        }
        let verdict = if replay.same {
            terminal.stdout("the same decision, bit for bit", Paint::Good)
        } else {
            terminal.stdout("another decision", Paint::Bad)
        };
        let _ = writeln!(text, "{} inputs over {} ms replayed: {verdict}", replay.inputs, replay.span_ms);
        for difference in &replay.differences {
            let _ = writeln!(text, "  {}", printable(difference));
        }
        print(&text)?;
    }
    Ok(if replay.same { Code::Ok } else { Code::NotUp })
}
