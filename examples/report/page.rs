//! Tables and texts that every report has.

use std::fmt::Write as _;

use super::support::recording::{Event, FindingLine, Gap, Recording};
use super::text::{ago, escape};

/// Puts texts at the places of a template. One pass, so that a text with braces in it stays as it is.
pub fn fill(template: &str, texts: &[(&str, String)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, tail)) = after.split_once("}}") else { break };
        if let Some((_, text)) = texts.iter().find(|(known, _)| *known == name) {
            page.push_str(text);
        }
        rest = tail;
    }
    page.push_str(rest);
    page
}

/// What is looked at closely.
pub struct Windows {
    /// From shortly before the fault until all is over.
    pub incident: (u64, u64),
    /// The work alone, where it was short against the wait before it.
    pub zoom: Option<(u64, u64)>,
}

impl Windows {
    /// Of a run and its outage.
    pub fn of(run: &Recording, outage: Option<Gap>) -> Windows {
        let phases = run.phases();
        let last = phases
            .steps
            .iter()
            .map(|step| step.to)
            .chain(phases.completed)
            .chain(run.fault_over)
            .chain(outage.map(|gap| gap.to))
            .max();
        let end = last.unwrap_or(run.ended).min(run.ended).max(run.fault_at);
        let first = outage.map_or(run.fault_at, |gap| gap.from.min(run.fault_at));
        let around = |from: u64, to: u64| {
            let pad = ((to - from) / 10).max(40_000_000);
            (from.saturating_sub(pad), (to + pad).min(run.ended.max(to)))
        };
        let incident = around(first, end.max(first));
        // Where the wait was long and the work was short, the work would be a smear at the right edge.
        let confirmed = run.first_after_fault("failure_confirmed").map(|event| event.at);
        let zoom = confirmed.filter(|at| end > *at && (end - at) * 3 < incident.1 - incident.0).map(|at| around(at, end));
        Windows { incident, zoom }
    }
}

/// A number with what it is.
pub fn tile(class: &str, number: &str, label: &str) -> String {
    format!("<div class=\"tile {class}\"><b>{}</b><span>{}</span></div>\n", escape(number), escape(label))
}

/// What was judged.
pub fn findings(all: &[FindingLine]) -> String {
    let mut list = String::from("<ul class=\"checks\">\n");
    for finding in all {
        let _ = writeln!(list, "<li class=\"{}\">{}</li>", if finding.ok { "ok" } else { "no" }, escape(&finding.text));
    }
    list.push_str("</ul>");
    list
}

/// The engine's reasons.
pub fn evidence(run: &Recording) -> String {
    let lines = run.evidence();
    if lines.is_empty() {
        return "<p class=\"none\">There was nothing to decide.</p>".to_owned();
    }
    let mut list = String::from("<ol class=\"evidence\">\n");
    for line in lines {
        let _ = writeln!(list, "<li>{}</li>", escape(&line));
    }
    list.push_str("</ol>");
    list
}

/// Everything that the engine said.
pub fn events(run: &Recording) -> String {
    let row = |event: &Event| {
        let severity = match event.severity.as_str() {
            known @ ("debug" | "warning" | "alarm") => known,
            _ => "info",
        };
        format!(
            "<tr class=\"{severity}\"><td class=\"n\">{}</td><td class=\"kind\">{}</td><td>{}</td><td>{}</td></tr>\n",
            ago(event.at, run.fault_at),
            escape(&event.kind),
            escape(event.server.as_deref().unwrap_or_default()),
            escape(&event.message)
        )
    };
    let table = |rows: String| {
        format!(
            "<div class=\"scroll\"><table class=\"events\">\n<tr><th class=\"n\">from the fault</th><th>kind</th><th>server</th><th>message</th></tr>\n{rows}</table></div>"
        )
    };
    let (single, other): (Vec<&Event>, Vec<&Event>) = run.events.iter().partition(|event| event.kind == "observed");
    let mut page = table(other.into_iter().map(row).collect());
    if !single.is_empty() {
        let count = single.len();
        let rows = table(single.into_iter().map(row).collect());
        let _ = write!(page, "\n<details><summary>{count} single observations</summary>{rows}</details>");
    }
    page
}

/// Where it ran.
pub fn environment(all: &[(String, String)]) -> String {
    let mut table = String::from("<div class=\"scroll\"><table>\n");
    for (name, value) in all {
        let _ = writeln!(table, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    }
    table.push_str("</table></div>");
    table
}
