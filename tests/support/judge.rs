//! What must be true at the end of a run: the demo, the tests and the benchmark ask the same.

use std::io;

use super::fault::{Fault, Right};
use super::recording::{FindingLine, Recording, Table};

/// What a server is at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers and takes writes.
    Primary,
    /// It answers and is in recovery.
    Standby,
    /// It does not answer.
    Down,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Standby => "standby",
            Role::Down => "down",
        }
    }
}

/// One line.
pub fn finding(ok: bool, text: impl Into<String>) -> FindingLine {
    FindingLine { ok, text: text.into() }
}

/// Everything that must be true, for this fault.
pub fn judge(fault: Fault, run: &Recording, roles: (Role, Role), unread: Option<&io::Error>) -> Vec<FindingLine> {
    let mut list = vec![finding(
        roles != (Role::Primary, Role::Primary),
        format!("at the end db1 is {}, db2 is {}", roles.0.as_str(), roles.1.as_str()),
    )];
    one_at_a_time(run, &mut list);
    match fault.right() {
        Right::Failover(level) => {
            one_failover(run, level, &mut list);
            list.push(finding(roles == (Role::Down, Role::Primary), "wanted: db1 down, db2 primary"));
        }
        Right::FailoverOnce => {
            one_failover(run, 3, &mut list);
            list.push(finding(roles.0 != Role::Primary && roles.1 == Role::Down, "wanted: db2 down, and db1 not promoted"));
            called(run, "cooldown", &mut list);
        }
        Right::FailoverOrPerson => {
            let completed = count(run, "failover_completed");
            list.push(finding(completed <= 1, format!("failovers completed: {completed}; wanted: at most one")));
            list.push(finding(roles.0 != Role::Primary, "wanted: db1 does not take writes"));
            if completed == 0 {
                called(run, "", &mut list);
            }
        }
        Right::Nothing => {
            let began = count(run, "failover_started");
            list.push(finding(began == 0, format!("failovers begun: {began}; wanted: none")));
            list.push(finding(roles == (Role::Primary, Role::Standby), "wanted: db1 primary, db2 standby"));
            let rows = acknowledged_by(run, 0, run.fault_over.unwrap_or(run.fault_at));
            list.push(finding(rows > 0, format!("rows acknowledged by db1 after the fault: {rows}")));
        }
        Right::Person => {
            let completed = count(run, "failover_completed");
            let promoted = count(run, "point_of_no_return");
            list.push(finding(
                completed + promoted == 0,
                format!("promotions begun: {promoted}, completed: {completed}; wanted: none"),
            ));
            list.push(finding(roles.1 != Role::Primary, "wanted: db2 not promoted"));
            called(run, "", &mut list);
        }
    }
    if fault == Fault::Stop {
        grace(run, &mut list);
    }
    rows(fault, run, unread, &mut list);
    list
}

fn count(run: &Recording, kind: &str) -> usize {
    run.events.iter().filter(|event| event.kind == kind && event.at >= run.fault_at).count()
}

fn acknowledged_by(run: &Recording, place: usize, after: u64) -> usize {
    let port = run.servers.get(place).map_or(0, |member| member.port);
    run.acknowledged().filter(|attempt| attempt.sent >= after && attempt.port == port).count()
}

/// The writer sends one row at a time, so a row acknowledged by the old primary after one by the new is a second primary.
fn one_at_a_time(run: &Recording, list: &mut Vec<FindingLine>) {
    let port = |place: usize| run.servers.get(place).map_or(0, |member| member.port);
    let first = run.acknowledged().find(|attempt| attempt.port == port(1)).map(|attempt| attempt.done);
    let late = first.map_or(0, |first| run.acknowledged().filter(|a| a.port == port(0) && a.done > first).count());
    let told = count(run, "two_primaries");
    let text = format!("rows acknowledged by db1 after the first one by db2: {late}; alarms of two primaries: {told}; wanted: 0");
    list.push(finding(late == 0 && told == 0, text));
}

fn one_failover(run: &Recording, wanted: u64, list: &mut Vec<FindingLine>) {
    let (began, completed) = (count(run, "failover_started"), count(run, "failover_completed"));
    list.push(finding(
        began == 1 && completed == 1,
        format!("failovers begun: {began}, completed: {completed}; wanted: one of each"),
    ));
    let level = run.fence_level();
    let text = level.map_or("none".to_owned(), |level| level.to_string());
    list.push(finding(
        level >= Some(wanted),
        format!("fence level proven before the promotion: {text}; wanted: at least {wanted}"),
    ));
    let rows = acknowledged_by(run, 1, run.fault_at);
    list.push(finding(rows > 0, format!("rows acknowledged by db2 through the route: {rows}")));
    if let Some(promoted) = run.first_after_fault("point_of_no_return") {
        let old = run.servers.first().map_or(0, |member| member.port);
        let late = run.acknowledged().filter(|attempt| attempt.done > promoted.at && attempt.port == old).count();
        list.push(finding(late == 0, format!("rows acknowledged by db1 after the promotion began: {late}")));
    }
}

/// A person was called, and told why in these words.
fn called(run: &Recording, words: &str, list: &mut Vec<FindingLine>) {
    match run.first_after_fault("manual_intervention") {
        Some(event) => list.push(finding(event.message.contains(words), format!("a person was called: {}", event.message))),
        None => list.push(finding(false, "nobody was called")),
    }
}

/// The grace of an announced shutdown, as the defaults have it, was waited for.
fn grace(run: &Recording, list: &mut Vec<FindingLine>) {
    const GRACE: u64 = 10_000_000_000;
    let began = run.first_after_fault("failover_started").map(|event| event.at - run.fault_at);
    let text = began.map_or("never".to_owned(), |nanos| format!("{} ms after the stop", nanos / 1_000_000));
    list.push(finding(began >= Some(GRACE), format!("the failover began {text}; wanted: not before the grace of 10 s")));
}

fn rows(fault: Fault, run: &Recording, unread: Option<&io::Error>, list: &mut Vec<FindingLine>) {
    match (&run.table, unread) {
        (Some(table), _) => {
            let must = run.synchronous || !fault.may_lose();
            list.push(finding(table.missing.is_empty() || !must, missing_sentence(table, must)));
            list.push(finding(table.doubled.is_empty(), format!("rows that are there twice: {}", table.doubled.len())));
        }
        // Where nobody may be left there is nobody to ask.
        (None, _) if matches!(fault.right(), Right::Person | Right::FailoverOnce | Right::FailoverOrPerson) => {}
        (None, error) => {
            let why = error.map_or_else(String::new, ToString::to_string);
            list.push(finding(false, format!("the table could not be read: {why}")));
        }
    }
}

fn missing_sentence(table: &Table, must: bool) -> String {
    let missing = table.missing.len();
    if must {
        format!("acknowledged rows missing on {}: {missing}; wanted: 0", table.server)
    } else {
        format!("acknowledged rows missing on {}: {missing} (asynchronous replication promises nothing here)", table.server)
    }
}
