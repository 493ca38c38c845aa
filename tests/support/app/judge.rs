//! What the clients saw, in numbers, and whether the right thing happened.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::super::engine::Origin;
use super::super::recording::{Attempt, Event, FindingLine, Member, Outcome as Came, Recording, rfc3339};
use super::super::site::Site;
use super::Fault;
use super::clients::Seen;

/// Everything that is known of a run.
pub struct Outcome {
    /// What was done.
    pub fault: Fault,
    /// The beginning of the events' axis.
    pub origin: Origin,
    /// When the run began: RFC 3339, UTC.
    pub when: String,
    /// The servers and their ports.
    pub servers: Vec<Member>,
    /// The load balancers' names.
    pub balancers: Vec<String>,
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

impl Outcome {
    /// Nothing but the moment of the fault.
    pub fn empty(site: &Site, fault: Fault, origin: Origin, began: Instant) -> Outcome {
        let ran = SystemTime::now() - began.elapsed();
        Outcome {
            fault,
            origin,
            when: rfc3339(ran),
            servers: site.servers.iter().map(|one| Member { name: one.name().to_owned(), port: one.port() }).collect(),
            balancers: site.balancers.iter().map(|one| one.name().to_owned()).collect(),
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
        // Nor did one come after the last until the clients left.
        if let (Some(longest), Some(last), Some(end)) = (longest.as_mut(), last, seen.last()) {
            *longest = (*longest).max(end.done.duration_since(last));
        }
        (failed, longest)
    }

    /// Failed requests over all clients, and the longest time that any of them had no good answer.
    pub fn worst(&self) -> (usize, Option<Duration>) {
        let each: Vec<(usize, Option<Duration>)> = self.seen.iter().map(|seen| self.outage(seen)).collect();
        let longest = each.iter().map(|(_, longest)| *longest).reduce(|one, other| one.zip(other).map(|(a, b)| a.max(b)));
        (each.iter().map(|(failed, _)| failed).sum(), longest.flatten())
    }

    /// The run as the client of each load balancer saw it; what the engine said is with the first.
    pub fn recordings(&self) -> Vec<Recording> {
        let port = |name: &str| self.servers.iter().find(|server| server.name == name).map_or(0, |server| server.port);
        let attempt = |(n, seen): (usize, &Seen)| Attempt {
            n: n as u64,
            sent: self.origin.nanos(seen.at),
            done: self.origin.nanos(seen.done),
            outcome: if seen.server.is_some() { Came::Acknowledged } else { Came::Refused },
            port: seen.server.as_deref().map_or(0, port),
        };
        let of = |(place, seen): (usize, &Vec<Seen>)| Recording {
            fault: self.fault.as_str().to_owned(),
            began: self.when.clone(),
            fault_at: self.origin.nanos(self.began),
            ended: seen.last().map_or(0, |last| self.origin.nanos(last.done)),
            servers: self.servers.clone(),
            attempts: seen.iter().enumerate().map(attempt).collect(),
            events: if place == 0 { self.events.clone() } else { Vec::new() },
            ..Recording::default()
        };
        self.seen.iter().enumerate().map(of).collect()
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
            let _ = writeln!(text, "  {}: {longest}, {failed} of {asked} requests failed since the fault", self.balancers[place]);
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
pub fn judge(outcome: &Outcome, baseline: bool) -> Vec<FindingLine> {
    let fault = outcome.fault;
    let mut findings = Vec::new();
    let mut find = |ok: bool, text: String| findings.push(FindingLine { ok, text });
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
