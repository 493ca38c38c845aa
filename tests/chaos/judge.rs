//! What must hold at the end of a run, by what the servers, HAProxy and the writers themselves show. What the engine says is only
//! held against that.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::plan::{Kind, Plan};
use crate::reason;
use crate::support::recording::{Attempt, Event, Outcome};
use crate::watch::{Saw, Seen};
use crate::world::Deed;

const SECOND: u64 = 1_000_000_000;
/// An inserted row and its commit take more than this in the log.
const ROW_BYTES: u64 = 100;
/// What was done longer ago is no reason for a failover any more.
const REMEMBERED: u64 = 20 * SECOND;

/// A refusal that the engine names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Its code.
    pub code: String,
    /// Its sentence.
    pub message: String,
}

/// How it ended.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// The engine came to rest.
    pub rested: bool,
    /// The state of the service, by the engine.
    pub state: String,
    /// It is paused.
    pub paused: bool,
    /// Why it is in that state, by the engine.
    pub reason: String,
    /// Why no failover would begin now, by the engine.
    pub refusals: Vec<Reason>,
    /// Rows arrive through the route, in new sessions.
    pub serves: bool,
    /// They do in a session that was there before.
    pub serves_kept: bool,
    /// To whom HAProxy sends new sessions.
    pub route: Option<Vec<String>>,
    /// What each server is.
    pub saw: Vec<Option<Saw>>,
    /// Processes of it are there.
    pub lives: Vec<bool>,
    /// The acknowledged rows that each of them lacks, where it can be asked.
    pub missing: Vec<Option<Vec<u64>>>,
    /// The servers of which the engine says that their checks fail.
    pub unhealthy: Vec<String>,
    /// Commits there wait for a standby.
    pub waits_for_standby: Vec<bool>,
    /// How engines ended that should not have.
    pub engine_ends: Vec<String>,
    /// What a log says of a panic.
    pub panicked: Option<String>,
    /// What the run has left behind.
    pub left: Vec<String>,
}

/// Everything that is known of a run.
pub struct Story<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// The servers' names and ports.
    pub servers: &'a [(String, u16)],
    /// What was done.
    pub deeds: &'a [Deed],
    /// What was seen.
    pub seen: &'a Seen,
    /// What the writers did: two through the route, one directly.
    pub attempts: &'a [Vec<Attempt>],
    /// What the engine said.
    pub events: &'a [Event],
    /// How it ended.
    pub end: &'a Ending,
}

/// What a judge says.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What must hold and does not: the rule's name, and what was seen.
    pub broken: Vec<(&'static str, String)>,
    /// What a reader has to judge.
    pub to_read: Vec<String>,
    /// Rows that were acknowledged and are missing where the traffic is.
    pub lost: usize,
    /// What the engine said of it.
    pub said: Option<String>,
    /// The longest time without a row through the route, in milliseconds.
    pub outage_ms: u64,
    /// In a word.
    pub outcome: String,
}

impl Story<'_> {
    fn place(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|(server, _)| server == name)
    }

    fn by_port(&self, port: u16) -> Option<usize> {
        self.servers.iter().position(|(_, own)| *own == port)
    }

    /// The rows that were acknowledged through the route, by the moment at which they were.
    fn through_the_route(&self) -> Vec<Attempt> {
        let mut rows: Vec<Attempt> = self.attempts.iter().take(2).flatten().copied().collect();
        rows.retain(|attempt| attempt.outcome == Outcome::Acknowledged);
        rows.sort_by_key(|attempt| attempt.done);
        rows
    }

    /// Events of a kind.
    pub fn told<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }

    /// A fault of such a kind was done.
    pub fn was_done(&self, fits: impl Fn(Kind) -> bool) -> bool {
        self.deeds.iter().any(|deed| !deed.over && deed.failed.is_none() && fits(deed.kind))
    }

    /// Such a fault held at some time between two moments. `server`: to this one, or to no single one.
    pub fn held(&self, server: usize, from: u64, until: u64, fits: impl Fn(Kind) -> bool) -> bool {
        let concerns = |deed: &&Deed| fits(deed.kind) && deed.server.is_none_or(|own| own == server);
        self.deeds.iter().filter(concerns).any(|deed| {
            let end = self
                .deeds
                .iter()
                .find(|other| other.over && other.kind == deed.kind && other.server == deed.server && other.at >= deed.at);
            deed.at <= until && !deed.over && end.is_none_or(|end| end.at >= from || deed.at >= from)
        })
    }

    /// The primaries that clients were to use: the first one, and whoever the engine made or found one.
    fn rightful(&self) -> Vec<usize> {
        let mut list = vec![0];
        for event in self
            .events
            .iter()
            .filter(|event| ["failover_completed", "primary_known", "point_of_no_return"].contains(&event.kind.as_str()))
        {
            let named = event.text("new_primary").or_else(|| event.text("primary")).or_else(|| event.text("target"));
            if let Some(place) = named.and_then(|name| self.place(name)).filter(|place| !list.contains(place)) {
                list.push(place);
            }
        }
        list
    }
}

/// Judges a run.
pub fn judge(story: &Story) -> Verdict {
    let mut verdict = Verdict { outage_ms: outage(story) / 1_000_000, outcome: outcome(story), ..Verdict::default() };
    one_at_a_time(story, &mut verdict);
    rows(story, &mut verdict);
    needed(story, &mut verdict);
    settled(story, &mut verdict);
    unharmed(story, &mut verdict);
    verdict
}

/// The longest time without an acknowledged row through the route.
fn outage(story: &Story) -> u64 {
    let rows = story.through_the_route();
    let ended = story.attempts.iter().take(2).flatten().map(|attempt| attempt.done).max().unwrap_or(0);
    let after = rows.iter().skip(1).map(|row| row.done).chain([ended]);
    rows.iter().zip(after).map(|(row, next)| next.saturating_sub(row.done)).max().unwrap_or(ended)
}

fn outcome(story: &Story) -> String {
    let completed: Vec<&str> = story.told("failover_completed").filter_map(|event| event.text("new_primary")).collect();
    let mut text = match completed.as_slice() {
        [] => "no failover".to_owned(),
        names => format!("failover to {}", names.join(", ")),
    };
    for (kind, word) in [("rolled_back", "rolled back"), ("manual_intervention", "person called")] {
        if story.told(kind).next().is_some() {
            text = format!("{text}, {word}");
        }
    }
    let serves = match (story.end.serves, story.end.serves_kept) {
        (true, _) => "serves",
        (false, true) => "serves old sessions",
        (false, false) => "does not serve",
    };
    let paused = if story.end.paused { " paused" } else { "" };
    format!("{text}; {}{paused}, {serves}", story.end.state)
}

/// Two servers never take rows through the route by turns.
fn one_at_a_time(story: &Story, verdict: &mut Verdict) {
    let rows = story.through_the_route();
    let mut first: BTreeMap<u16, u64> = BTreeMap::new();
    for row in &rows {
        first.entry(row.port).or_insert(row.done);
    }
    let mut order: Vec<(u64, u16)> = first.into_iter().map(|(port, at)| (at, port)).collect();
    order.sort_unstable();
    for pair in order.windows(2) {
        let (old, (since, new)) = (pair[0].1, pair[1]);
        let late = rows.iter().filter(|row| row.port == old && row.sent > since).count();
        if late > 0 {
            let name = |port: u16| story.by_port(port).map_or("?", |place| story.servers[place].0.as_str());
            verdict.broken.push((
                "two_primaries_through_the_route",
                format!("{late} rows by {} after the first one by {}", name(old), name(new)),
            ));
        }
    }
    if story.seen.two_writable() && !story.was_done(|kind| kind == Kind::Promote) {
        verdict
            .broken
            .push(("two_writable", "two servers took writes at the same moment, and no operator had promoted one".to_owned()));
    }
}

/// Every acknowledged row is where the traffic is, or the record of the failover says that so much may be missing.
fn rows(story: &Story, verdict: &mut Verdict) {
    let served = story.end.route.as_ref().and_then(|route| route.first()).and_then(|name| story.place(name));
    let Some((place, missing)) = served.and_then(|place| Some((place, story.end.missing[place].as_ref()?))) else { return };
    if story.end.saw[place] != Some(Saw::Writable) {
        return;
    }
    let rightful: Vec<u16> = story.rightful().into_iter().map(|place| story.servers[place].1).collect();
    let ours = |n: &u64| story.attempts.iter().flatten().any(|attempt| attempt.n == *n && rightful.contains(&attempt.port));
    let lost = missing.iter().filter(|n| ours(n)).count();
    verdict.lost = lost;
    let record = story.told("failover_completed").last();
    verdict.said = record.map(said);
    if lost == 0 {
        return;
    }
    let Some(record) = record else {
        let text = format!("{lost} acknowledged rows are missing on {}, and there was no failover", story.servers[place].0);
        if story.was_done(|kind| kind == Kind::Promote) {
            verdict.to_read.push(text);
        } else {
            verdict.broken.push(("lost_without_a_failover", text));
        }
        return;
    };
    let claims =
        ["no acknowledged commit can be missing", "nothing is missing"].iter().any(|words| record.message.contains(words));
    let holds = record.fields.get("holds_acknowledged").and_then(Value::as_bool) == Some(true);
    let bytes = record.fields.get("loss_bytes").and_then(Value::as_u64);
    if claims || holds {
        verdict.broken.push(("lost_beside_a_promise", format!("{lost} acknowledged rows are missing: {}", record.message)));
    } else if bytes.is_some_and(|bytes| bytes < lost as u64 * ROW_BYTES) {
        verdict.broken.push(("lost_more_than_said", format!("{lost} acknowledged rows are missing: {}", record.message)));
    }
}

/// The words of a record about what may be missing.
fn said(record: &Event) -> String {
    let holds = record.fields.get("holds_acknowledged").and_then(Value::as_bool) == Some(true);
    let bytes = record.fields.get("loss_bytes").and_then(Value::as_u64);
    match (holds, bytes) {
        (true, _) => "nothing acknowledged".to_owned(),
        (false, Some(bytes)) => format!("{bytes} bytes"),
        (false, None) => "unknown".to_owned(),
    }
}

/// No failover while the primary was there and could be reached.
fn needed(story: &Story, verdict: &mut Verdict) {
    for event in story.told("failover_started") {
        let Some(old) = event.text("old_primary").and_then(|name| story.place(name)) else { continue };
        let from = event.at.saturating_sub(REMEMBERED);
        let hurt = story.held(old, from, event.at, Kind::hurts);
        let served = story.seen.was_all_the_time(old, Saw::Writable, event.at.saturating_sub(5 * SECOND), event.at);
        // Neither we nor a standby could see it.
        let hidden = story.held(old, from, event.at, |kind| matches!(kind, Kind::CutEngine | Kind::CutEngineFromAll))
            && (0..story.servers.len()).any(|place| {
                story.held(place, from, event.at, |kind| kind == Kind::CutServers)
                    || place != old && story.held(place, from, event.at, Kind::hurts)
            });
        if served && !hurt && !hidden {
            verdict.broken.push(("needless", format!("{} was there all the time: {}", story.servers[old].0, event.message)));
        }
    }
    for event in story.told("false_positive") {
        verdict.to_read.push(format!("false_positive: {}", event.message));
    }
}

/// It came to rest, and it serves or says truly why not.
fn settled(story: &Story, verdict: &mut Verdict) {
    let end = story.end;
    if !end.rested {
        verdict.broken.push(("never_at_rest", format!("{}: {}", end.state, end.reason)));
        return;
    }
    let quiet = ["normal", "degraded", "failed_over"].contains(&end.state.as_str());
    if end.paused || end.serves && quiet {
        return;
    }
    let person = ["failing", "manual_intervention"].contains(&end.state.as_str());
    if end.serves && end.state == "failing" {
        verdict.broken.push(("failing_while_it_serves", end.reason.clone()));
    }
    if !end.serves && quiet {
        let waits = end.saw.iter().zip(&end.waits_for_standby).any(|(saw, waits)| *saw == Some(Saw::Writable) && *waits);
        let text = format!("{} and no row arrives: {}", end.state, end.reason);
        // Who is in goes on, and the engine's own kept session with them: a live primary is never deposed.
        let said = end.serves_kept && end.route.iter().flatten().any(|name| end.unhealthy.contains(name));
        if waits {
            verdict.to_read.push(format!("commits wait for a standby: {text}"));
        } else if said {
            verdict.to_read.push(format!("only sessions from before are served, and its checks fail: {}", end.state));
        } else if end.reason.is_empty() {
            verdict.broken.push(("not_served_and_not_said", text));
        } else {
            reason::check(story, verdict);
        }
    }
    if !person && !quiet {
        verdict.broken.push(("no_state", format!("the engine says nothing, or a state that is none: \"{}\"", end.state)));
    }
    if person {
        reason::check(story, verdict);
    }
}

/// The engine ended only when it was told to, and nothing is left.
fn unharmed(story: &Story, verdict: &mut Verdict) {
    for ended in &story.end.engine_ends {
        verdict.broken.push(("engine_ended", ended.clone()));
    }
    if let Some(line) = &story.end.panicked {
        verdict.broken.push(("panicked", line.clone()));
    }
    for event in story.told("faulted") {
        verdict.broken.push(("faulted", event.message.clone()));
    }
    for left in &story.end.left {
        verdict.broken.push(("left_behind", left.clone()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::watch::Glance;

    /// A run of a pair: db1 has port 1, db2 port 2.
    struct Run {
        plan: Plan,
        deeds: Vec<Deed>,
        seen: Seen,
        rows: Vec<Attempt>,
        events: Vec<Event>,
        end: Ending,
    }

    const FAILED_OVER_AT: u64 = 10 * SECOND;

    /// db1 is killed, db2 takes over, and says what may be missing.
    fn failed_over(message: &str, fields: &Value) -> Run {
        let row = |n: u64, port: u16, at: u64| Attempt { n, sent: at - 1, done: at, outcome: Outcome::Acknowledged, port };
        let glance = |at: u64, server: usize, saw: Saw| Glance { at, server, saw };
        let event = |at: u64, kind: &str, message: &str, fields: &Value| Event {
            at,
            kind: kind.to_owned(),
            message: message.to_owned(),
            fields: fields.as_object().cloned().unwrap_or_default(),
            ..Event::default()
        };
        Run {
            plan: Plan::new(1, Some(2)),
            deeds: vec![Deed { at: FAILED_OVER_AT - SECOND, kind: Kind::Kill, server: Some(0), over: false, failed: None }],
            seen: Seen {
                glances: vec![
                    glance(0, 0, Saw::Writable),
                    glance(0, 1, Saw::Recovery),
                    glance(FAILED_OVER_AT - SECOND, 0, Saw::Silent),
                    glance(FAILED_OVER_AT + SECOND, 1, Saw::Writable),
                ],
                routes: Vec::new(),
            },
            rows: vec![row(1, 1, SECOND), row(2, 1, 2 * SECOND), row(3, 2, 12 * SECOND), row(4, 2, 13 * SECOND)],
            events: vec![
                event(FAILED_OVER_AT, "failover_started", "begins", &json!({"old_primary": "db1"})),
                event(FAILED_OVER_AT + SECOND, "failover_completed", message, fields),
            ],
            end: Ending {
                rested: true,
                state: "failed_over".to_owned(),
                serves: true,
                serves_kept: true,
                route: Some(vec!["db2".to_owned()]),
                saw: vec![Some(Saw::Silent), Some(Saw::Writable)],
                lives: vec![false, true],
                missing: vec![None, Some(Vec::new())],
                waits_for_standby: vec![false; 2],
                ..Ending::default()
            },
        }
    }

    fn plain() -> Run {
        failed_over("no acknowledged commit can be missing", &json!({"new_primary": "db2", "holds_acknowledged": true}))
    }

    fn broken(run: &Run) -> Vec<&'static str> {
        let servers = [("db1".to_owned(), 1), ("db2".to_owned(), 2)];
        let attempts = vec![run.rows.clone()];
        let Run { plan, deeds, seen, events, end, .. } = run;
        let verdict = judge(&Story { plan, servers: &servers, deeds, seen, attempts: &attempts, events, end });
        verdict.broken.into_iter().map(|(rule, _)| rule).collect()
    }

    #[test]
    fn a_failover_that_keeps_its_word_breaks_nothing() {
        assert_eq!(broken(&plain()), [""; 0]);
    }

    #[test]
    fn a_lost_row_is_held_against_what_was_said() {
        let lost = |message: &str, fields: Value| {
            let mut run = failed_over(message, &fields);
            run.end.missing[1] = Some(vec![2]);
            broken(&run)
        };
        let to = "db2";
        assert_eq!(lost("nothing is missing", json!({"new_primary": to})), ["lost_beside_a_promise"]);
        assert_eq!(lost("", json!({"new_primary": to, "holds_acknowledged": true})), ["lost_beside_a_promise"]);
        assert_eq!(lost("", json!({"new_primary": to, "loss_bytes": 99})), ["lost_more_than_said"]);
        assert_eq!(lost("about 100 bytes", json!({"new_primary": to, "loss_bytes": 100})), [""; 0]);
        assert_eq!(lost("not known", json!({"new_primary": to})), [""; 0]);
    }

    #[test]
    fn a_row_by_the_old_primary_after_one_by_the_new_is_a_second_primary() {
        let mut run = plain();
        run.rows.push(Attempt { n: 5, sent: 13 * SECOND, done: 14 * SECOND, outcome: Outcome::Acknowledged, port: 1 });
        assert_eq!(broken(&run), ["two_primaries_through_the_route"]);
    }

    #[test]
    fn a_failover_away_from_a_primary_to_which_nothing_was_done_is_needless() {
        let mut run = plain();
        run.deeds.clear();
        run.seen.glances.retain(|glance| glance.saw != Saw::Silent && glance.server == 0);
        assert_eq!(broken(&run), ["needless"]);
    }

    #[test]
    fn who_does_not_serve_has_to_say_so_and_say_what_is_true() {
        let mut run = plain();
        run.end.serves = false;
        run.end.serves_kept = false;
        assert_eq!(broken(&run), ["not_served_and_not_said"]);
        run.end.state = "failing".to_owned();
        assert_eq!(broken(&run), ["no_reason"]);
        let refused = |code: &str| vec![Reason { code: code.to_owned(), message: String::new() }];
        run.end.refusals = refused("journal_unwritable");
        assert_eq!(broken(&run), ["untrue_reason"]);
        run.end.refusals = refused("cooldown");
        assert_eq!(broken(&run), [""; 0]);
        run.end.rested = false;
        assert_eq!(broken(&run), ["never_at_rest"]);
    }
}
