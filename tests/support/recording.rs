//! What a run leaves behind: every commit of the writer, every event of the engine, on one time axis.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use failover::{Config, Surroundings};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One run. All moments are nanoseconds after its beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// The fault's name.
    pub fault: String,
    /// Synchronous replication.
    pub synchronous: bool,
    /// When the run began: RFC 3339, UTC.
    pub began: String,
    /// When the fault was injected.
    pub fault_at: u64,
    /// When the fault was taken back (the thaw of a freeze, the end of a restart).
    pub fault_over: Option<u64>,
    /// When the recording ended.
    pub ended: u64,
    /// The servers, the first primary first.
    pub servers: Vec<Member>,
    /// What the writer did.
    pub attempts: Vec<Attempt>,
    /// What the engine said.
    pub events: Vec<Event>,
    /// The engine's configuration: [`shown_config`].
    pub config: String,
    /// What was found in the table at the end.
    pub table: Option<Table>,
    /// What else was looked at, and what was found.
    pub findings: Vec<FindingLine>,
    /// Where it ran: versions, kernel, processors.
    pub environment: Vec<(String, String)>,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
}

/// One row of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The row's number. Never used twice.
    pub n: u64,
    /// When it was sent, or when the connection for it was begun.
    pub sent: u64,
    /// When the answer, or the lack of one, was certain.
    pub done: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// The port of the server that acknowledged it.
    pub port: u16,
}

/// What came of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The commit was acknowledged.
    Acknowledged,
    /// Sent, no answer: it may have been committed.
    InDoubt,
    /// The server refused it.
    Refused,
    /// There was no connection to send it on.
    NotSent,
}

/// One event of the engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub at: u64,
    /// Its place in the engine's order.
    pub seq: u64,
    /// The failover it belongs to.
    pub generation: u64,
    /// What happened.
    pub kind: String,
    /// How loud.
    pub severity: String,
    /// The server it is about.
    pub server: Option<String>,
    /// One sentence.
    pub message: String,
    /// The same for machines.
    pub fields: Map<String, Value>,
}

/// What was found in the table at the end, on the server that is primary then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The server that was read.
    pub server: String,
    /// Rows in it.
    pub rows: u64,
    /// Acknowledged and not there.
    pub missing: Vec<u64>,
    /// In doubt and there: a client that blindly sends such a row again writes it twice.
    pub in_doubt_present: Vec<u64>,
    /// In doubt and not there.
    pub in_doubt_absent: Vec<u64>,
    /// There more than once.
    pub doubled: Vec<u64>,
}

/// One thing that was checked at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingLine {
    /// It is as it should be.
    pub ok: bool,
    /// What was looked at and found.
    pub text: String,
}

/// The longest time without an acknowledged commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last acknowledgement before it.
    pub from: u64,
    /// The first acknowledgement after it; the end of the recording where there was none.
    pub to: u64,
    /// There was one.
    pub closed: bool,
}

impl Gap {
    /// How long.
    pub fn nanos(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// Spans of the failover as the engine's events show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// The phases that were reached, in their order: `detect`, `confirm`, `fence`, `promote`, `route`, `verify`.
    pub spans: Vec<Phase>,
    /// The steps, in order of their beginning.
    pub steps: Vec<Step>,
    /// When the failover was complete.
    pub completed: Option<u64>,
}

/// One phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// When it began.
    pub from: u64,
    /// When it ended.
    pub to: u64,
}

impl Phase {
    /// How long it took.
    pub fn nanos(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// One step of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What it acted on.
    pub target: String,
    /// When it began.
    pub from: u64,
    /// When it ended; the end of the recording where it did not.
    pub to: u64,
    /// It did what it should; `None` when it did not end.
    pub ok: Option<bool>,
    /// What it said.
    pub message: String,
}

impl Event {
    /// A text in the fields.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// The step an event is about.
    pub fn step(&self) -> Option<&str> {
        self.text("step")
    }
}

impl Recording {
    /// Acknowledged rows, in order.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Acknowledged)
    }

    /// The name of the server on a port.
    pub fn server_on(&self, port: u16) -> &str {
        self.servers.iter().find(|member| member.port == port).map_or("?", |member| &member.name)
    }

    /// The longest gap between acknowledged commits that reaches past the fault. A gap that was over before it has other reasons.
    pub fn outage(&self) -> Option<Gap> {
        let mut acks: Vec<u64> = self.acknowledged().map(|attempt| attempt.done).collect();
        acks.sort_unstable();
        let last = *acks.last()?;
        let mut longest: Option<Gap> = None;
        let gaps = acks.windows(2).map(|pair| Gap { from: pair[0], to: pair[1], closed: true });
        for gap in gaps.chain([Gap { from: last, to: self.ended.max(last), closed: false }]) {
            if gap.to >= self.fault_at && longest.is_none_or(|known| gap.nanos() > known.nanos()) {
                longest = Some(gap);
            }
        }
        longest
    }

    /// The first event of a kind at or after the fault.
    pub fn first_after_fault(&self, kind: &str) -> Option<&Event> {
        self.events.iter().find(|event| event.kind == kind && event.at >= self.fault_at)
    }

    /// Whether a failover began after the fault.
    pub fn failed_over(&self) -> bool {
        self.first_after_fault("failover_started").is_some()
    }

    /// The first thing the engine noticed of the fault.
    pub fn first_sign(&self) -> Option<&Event> {
        let primary = self.servers.first().map(|member| member.name.as_str());
        self.events.iter().filter(|event| event.at >= self.fault_at).find(|event| match event.kind.as_str() {
            "session_closed" => event.server.as_deref() == primary,
            "observed" => event.server.as_deref() == primary && event.text("verdict") != Some("up"),
            "state_changed" => event.text("from") == Some("normal"),
            "confirmation_started" | "failure_confirmed" | "failover_suppressed" | "failover_refused" => true,
            _ => false,
        })
    }

    /// The spans of the failover. Each phase after the confirmation lasts until the last of its steps has ended.
    pub fn phases(&self) -> Phases {
        let mut spans = Vec::new();
        let sign = self.first_sign().map(|event| event.at);
        let confirmed = self.first_after_fault("failure_confirmed").map(|event| event.at);
        if let Some(sign) = sign {
            spans.push(Phase { name: "detect", from: self.fault_at, to: sign });
        }
        if let (Some(from), Some(to)) = (sign, confirmed) {
            spans.push(Phase { name: "confirm", from, to });
        }
        let steps = self.steps();
        let parts: [(&str, &[&str]); 4] = [
            ("fence", &["pre_checks", "route_out", "fence"]),
            ("promote", &["prove_fence", "read_positions", "promote"]),
            ("route", &["route_in"]),
            ("verify", &["verify_data", "open_sync_gate", "verify_traffic"]),
        ];
        for (name, members) in parts {
            let ended = steps.iter().filter(|step| members.contains(&step.name.as_str()) && step.ok.is_some());
            // Data is verified before the route is changed and traffic after it: the phase is the time of its steps, not what
            // lies between them.
            let (from, to) = ended.fold((u64::MAX, 0), |(from, to), step| (from.min(step.from), to.max(step.to)));
            if to > 0 {
                spans.push(Phase { name, from, to });
            }
        }
        Phases { spans, steps, completed: self.first_after_fault("failover_completed").map(|event| event.at) }
    }

    /// How long a phase took; for `verify` the sum of its steps, because the route is changed between them.
    pub fn phase_nanos(&self, name: &str) -> Option<u64> {
        let phases = self.phases();
        if name == "verify" {
            let steps = phases.steps.iter().filter(|step| {
                step.ok.is_some() && ["verify_data", "open_sync_gate", "verify_traffic"].contains(&step.name.as_str())
            });
            let times: Vec<u64> = steps.map(|step| step.to - step.from).collect();
            return (!times.is_empty()).then(|| times.iter().sum());
        }
        phases.spans.iter().find(|phase| phase.name == name).map(Phase::nanos)
    }

    /// The steps after the fault, in order of their beginning.
    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for event in self.events.iter().filter(|event| event.at >= self.fault_at) {
            let Some(name) = event.step() else { continue };
            let target = event.text("target").unwrap_or_default();
            match event.kind.as_str() {
                "step_started" => steps.push(Step {
                    name: name.to_owned(),
                    target: target.to_owned(),
                    from: event.at,
                    to: self.ended,
                    ok: None,
                    message: String::new(),
                }),
                "step_finished" => {
                    let open =
                        steps.iter_mut().rev().find(|step| step.name == name && step.target == target && step.ok.is_none());
                    if let Some(step) = open {
                        step.to = event.at;
                        step.ok = Some(event.fields.get("ok").and_then(Value::as_bool).unwrap_or(true));
                        event.text("detail").unwrap_or(&event.message).clone_into(&mut step.message);
                    }
                }
                _ => {}
            }
        }
        steps
    }

    /// Every line of reasoning in the events that decided.
    pub fn evidence(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let deciding =
            ["failure_confirmed", "failover_started", "failover_suppressed", "failover_refused", "manual_intervention"];
        for event in self.events.iter().filter(|event| event.at >= self.fault_at && deciding.contains(&event.kind.as_str())) {
            if let Some(value) = event.fields.get("evidence") {
                flatten(value, &mut lines);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        lines.retain(|line| seen.insert(line.clone()));
        lines
    }

    /// The highest fence level that was proven for this failover.
    pub fn fence_level(&self) -> Option<u64> {
        self.fence_levels().into_iter().map(|(_, level)| level).max()
    }

    /// When which fence level was proven. Traffic removed from the route is level 1.
    pub fn fence_levels(&self) -> Vec<(u64, u64)> {
        let finished = self.events.iter().filter(|event| event.at >= self.fault_at && event.kind == "step_finished");
        finished
            .filter_map(|event| match (event.step()?, event.fields.get("fence_level").and_then(Value::as_u64)) {
                (_, Some(level)) => Some((event.at, level)),
                ("route_out", None) if event.fields.get("ok").and_then(Value::as_bool) == Some(true) => Some((event.at, 1)),
                _ => None,
            })
            .collect()
    }
}

/// A list or group of texts as lines.
fn flatten(value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, lines)),
        Value::Object(group) => {
            let parts: Vec<String> = group.iter().map(|(name, value)| format!("{name}: {}", plain(value))).collect();
            lines.push(parts.join(", "));
        }
        other => lines.push(plain(other)),
    }
}

/// A value without the quotes of JSON.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A moment as RFC 3339 in UTC.
pub fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

/// A configuration file as it may be shown: as it was written, with its comments. Where a secret stands in it: what is in force,
/// with the secret masked.
pub fn shown_config(path: &Path, surroundings: &dyn Surroundings) -> io::Result<String> {
    let config = Config::load_in(path, surroundings).map_err(|errors| io::Error::other(errors.to_string()))?;
    let in_force = config.effective_toml();
    if in_force.contains("********") { Ok(in_force) } else { fs::read_to_string(path) }
}
