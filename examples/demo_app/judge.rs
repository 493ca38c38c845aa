//! What the clients saw, in numbers, and whether the right thing happened.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Fault;
use super::clients::Seen;
use super::support::recording::Event;

/// Everything that is known of a run.
pub struct Outcome {
    /// Every request, by load balancer.
    pub seen: Vec<Vec<Seen>>,
    /// The fault.
    pub began: Instant,
    /// What the engine said.
    pub events: Vec<Event>,
    /// The last request through each load balancer.
    pub held: Vec<Option<Seen>>,
    /// State and weight of every server on every load balancer, before and after.
    pub before: Vec<String>,
    /// After.
    pub after: Vec<String>,
    /// What the name holds at the end.
    pub name: String,
    /// The engine's status at the end.
    pub status: Value,
}

/// One line of the judgement.
pub struct Finding {
    /// It is as it should be.
    pub ok: bool,
    /// What was looked at.
    pub text: String,
}

impl Outcome {
    /// Nothing but the moment of the fault.
    pub fn empty(began: Instant) -> Outcome {
        Outcome {
            seen: Vec::new(),
            began,
            events: Vec::new(),
            held: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            name: String::new(),
            status: Value::Null,
        }
    }

    /// Requests that failed from the fault on, and the longest time without a good answer, of one load balancer.
    fn outage(&self, seen: &[Seen]) -> (usize, Option<Duration>) {
        let failed = seen.iter().filter(|one| one.at >= self.began && one.server.is_none()).count();
        let mut longest: Option<Duration> = None;
        let mut last = None;
        for good in seen.iter().filter(|one| one.server.is_some()) {
            if let Some(last) = last.filter(|_| good.done >= self.began) {
                longest = longest.max(Some(good.done.duration_since(last)));
            }
            last = Some(good.done);
        }
        (failed, longest)
    }

    /// The numbers, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (place, seen) in self.seen.iter().enumerate() {
            let (failed, longest) = self.outage(seen);
            let asked = seen.iter().filter(|one| one.at >= self.began).count();
            let longest = longest.map_or_else(
                || "no good answer since the fault".to_owned(),
                |longest| format!("longest time without a good answer {:.3} s", longest.as_secs_f64()),
            );
            let _ = writeln!(text, "  lb{}: {longest}, {failed} of {asked} requests failed since the fault", place + 1);
        }
        if !self.name.is_empty() {
            let _ = writeln!(text, "  app.example.test: {}", self.name);
        }
        text
    }

    fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }

    fn serves(&self, balancer: usize, server: &str) -> bool {
        self.held.get(balancer).and_then(Option::as_ref).is_some_and(|seen| seen.server.as_deref() == Some(server))
    }
}

/// Whether the right thing happened.
pub fn judge(fault: Fault, baseline: bool, outcome: &Outcome) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |ok: bool, text: String| findings.push(Finding { ok, text });
    if baseline {
        find(outcome.serves(0, "app2") || fault == Fault::Flap, "HAProxy's own checks sent the traffic to the backup".to_owned());
        return findings;
    }
    let (completed, state) = (outcome.count("failover_completed"), outcome.status["services"][0]["state"].clone());
    match fault {
        Fault::Kill | Fault::Hang | Fault::Errors => {
            find(completed == 1, format!("{completed} failover completed"));
            find(outcome.serves(0, "app2") && outcome.serves(1, "app2"), "app2 answers through both load balancers".to_owned());
            find(outcome.name == "192.0.2.2", format!("the name points to app2 ({})", outcome.name));
        }
        Fault::Flap => {
            find(completed <= 1, format!("{completed} failovers, at most one"));
            let serves = ["app1", "app2"].iter().any(|server| outcome.serves(0, server) && outcome.serves(1, server));
            find(serves, "one server answers through both load balancers".to_owned());
        }
        Fault::Lb => {
            find(completed == 1, format!("{completed} failover completed"));
            find(outcome.serves(0, "app2"), "app2 answers through the load balancer that is left".to_owned());
            let done = outcome.events.iter().find(|event| event.kind == "failover_completed");
            let warned = done.is_some_and(|event| event.fields["warnings"].to_string().contains("lb2"));
            find(warned, "what could not be done on the other one is reported".to_owned());
            find(outcome.name == "192.0.2.2", format!("the name points to app2 ({})", outcome.name));
        }
        Fault::Rollback => {
            find(completed == 0, format!("{completed} failovers completed, none should"));
            find(outcome.count("rolled_back") == 1, "it was rolled back once".to_owned());
            find(outcome.before == outcome.after, "state and weight of every server are what they were".to_owned());
            find(outcome.name == "192.0.2.1", format!("the name was left alone ({})", outcome.name));
            find(state == "manual_intervention", format!("a person is called ({state})"));
        }
    }
    findings
}
