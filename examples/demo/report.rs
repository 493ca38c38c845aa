//! The report: one HTML file without anything from outside, with the run as SVG.

use std::fmt::Write as _;

use serde_json::Value;

use super::parts::chart::{self, Words};
use super::parts::page::{Windows, environment, events, evidence, fill, findings, tile};
use super::parts::text::{ago, escape, span};
use super::support::fault::{Fault, Right};
use super::support::recording::{Gap, Outcome, Recording, plain};

/// A program that commits rows.
const COMMITS: Words = Words { actor: "writer", pace: "one row every 5 ms", many: "commits", one: "a commit", fence: true };

/// The whole page.
pub fn render(run: &Recording) -> String {
    let outage = run.outage();
    let windows = Windows::of(run, outage);
    let zoom = windows.zoom.map_or_else(String::new, |(from, to)| {
        format!("<section>\n<h2>From the confirmation on</h2>\n{}\n</section>", chart::detail(run, outage, (from, to), &COMMITS))
    });
    fill(
        include_str!("report.html"),
        &[
            ("title", escape(&headline(run))),
            ("style", include_str!("../report/report.css").trim_end().to_owned()),
            ("header", header(run)),
            ("tiles", tiles(run, outage)),
            ("overview", chart::overview(run, outage, windows.incident, &COMMITS)),
            ("legend", legend(run)),
            ("incident", chart::detail(run, outage, windows.incident, &COMMITS)),
            ("zoom", zoom),
            ("phases", phases(run, outage)),
            ("rows", rows(run)),
            ("findings", findings(&run.findings)),
            ("evidence", evidence(run)),
            ("fence", fence(run)),
            ("events", events(run)),
            ("config", escape(&run.config)),
            ("environment", environment(&run.environment)),
        ],
    )
}

fn headline(run: &Recording) -> String {
    let what = Fault::named(&run.fault).map_or(run.fault.as_str(), |fault| fault.past());
    let old = run.servers.first().map_or("the primary", |member| &member.name);
    let called = run.first_after_fault("manual_intervention").is_some();
    match run.first_after_fault("failover_completed") {
        Some(event) => {
            let after = if called { "; then a person was called" } else { "" };
            format!("{what}, and {} took over{after}", event.server.as_deref().unwrap_or("a standby"))
        }
        None if called => format!("{what}, and a person was called"),
        None if run.failed_over() => format!("{what}, and the failover did not complete"),
        None => format!("{what}, and {old} stayed the primary"),
    }
}

fn header(run: &Recording) -> String {
    let good = run.findings.iter().all(|finding| finding.ok);
    let (class, word) = if good { ("good", "as it should be") } else { ("bad", "not as it should be") };
    let replication = if run.synchronous { "synchronous" } else { "asynchronous" };
    format!(
        "<header>\n<p class=\"verdict {class}\">{word}</p>\n<h1>{}</h1>\n<p class=\"lead\">Fault: {} · {replication} replication · {} · a writer commits a numbered row every 5 ms through HAProxy</p>\n</header>",
        escape(&headline(run)),
        escape(&run.fault),
        escape(run.began.split('.').next().unwrap_or_default())
    )
}

fn tiles(run: &Recording, outage: Option<Gap>) -> String {
    let count = |outcome: Outcome| run.attempts.iter().filter(|attempt| attempt.outcome == outcome).count().to_string();
    // Red is for what went wrong.
    let main = if run.findings.iter().all(|finding| finding.ok) { "main" } else { "main bad" };
    let mut list = match outage {
        Some(gap) if gap.closed => {
            tile(main, &span(gap.nanos()), "without an acknowledged commit: the outage as the writer saw it")
        }
        Some(gap) => {
            tile("main bad", &format!("> {}", span(gap.nanos())), "without an acknowledged commit, and it had not ended")
        }
        None => tile("main bad", "–", "no commit was acknowledged at all"),
    };
    list.push_str(&tile("", &count(Outcome::Acknowledged), "rows acknowledged"));
    list.push_str(&match &run.table {
        Some(table) => {
            let class = match table.missing.is_empty() {
                true => "calm",
                false if run.synchronous => "bad",
                false => "warn",
            };
            tile(class, &table.missing.len().to_string(), "acknowledged rows missing")
        }
        None => tile("bad", "?", "acknowledged rows missing"),
    });
    list.push_str(&tile("", &count(Outcome::InDoubt), "rows in doubt: sent, no answer"));
    let level = run.fence_level();
    if run.failed_over() {
        let wanted = match Fault::named(&run.fault).map(Fault::right) {
            Some(Right::Failover(wanted)) => wanted,
            _ => 3,
        };
        let class = if level >= Some(wanted) { "calm" } else { "bad" };
        list.push_str(&tile(class, &level.map_or_else(|| "–".to_owned(), |level| level.to_string()), "fence level proven"));
    } else {
        list.push_str(&tile("calm", "0", "failovers"));
    }
    let mut page = format!("<div class=\"tiles\">\n{list}</div>");
    if run.failed_over() {
        let named = [
            ("detect", "to notice"),
            ("confirm", "to be sure"),
            ("fence", "to fence"),
            ("promote", "to promote"),
            ("route", "to move the traffic"),
            ("verify", "to verify"),
        ];
        let phases =
            named.map(|(name, label)| tile("", &run.phase_nanos(name).map_or_else(|| "–".to_owned(), span), label)).concat();
        let _ = write!(page, "\n<div class=\"tiles\">\n{phases}</div>");
    }
    page
}

fn legend(run: &Recording) -> String {
    let mut list = String::new();
    let mut item = |drawing: &str, text: &str| {
        let _ = writeln!(list, "<li><svg viewBox=\"0 0 18 12\" aria-hidden=\"true\">{drawing}</svg>{}</li>", escape(text));
    };
    for (place, member) in run.servers.iter().enumerate() {
        let ticks = format!("<path class=\"ticks t{}\" d=\"M3 1v10M8 1v10M13 1v10\"/>", place.min(3));
        item(&ticks, &format!("commit acknowledged by {}", member.name));
    }
    item("<path class=\"ticks tbad\" d=\"M3 3v6M8 3v6M13 3v6\"/>", "row not acknowledged");
    for (class, text) in [
        ("up", "probe: up"),
        ("down", "probe: down"),
        ("impaired", "probe: alive, not serving"),
        ("unknown", "probe: could not ask"),
    ] {
        item(
            &format!(
                "<line class=\"probe s{class}\" x1=\"1\" y1=\"6\" x2=\"11\" y2=\"6\"/><circle class=\"{class}\" cx=\"12\" cy=\"6\" r=\"3.5\"/>"
            ),
            text,
        );
    }
    item("<path class=\"closed\" d=\"M5 2l8 8M13 2l-8 8\"/>", "kept session closed");
    item("<path class=\"host\" d=\"M9 1.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z\"/>", "word of a host, or other evidence");
    format!("<ul class=\"legend\">\n{list}</ul>")
}

fn phases(run: &Recording, outage: Option<Gap>) -> String {
    let found = run.phases();
    if !run.failed_over() {
        let text = match run.first_after_fault("failover_suppressed").or_else(|| run.first_after_fault("failover_refused")) {
            Some(event) => {
                format!("No failover. The engine, {} after the fault: {}", span(event.at - run.fault_at), event.message)
            }
            None if run.first_sign().is_none() => "No failover. The engine noticed nothing.".to_owned(),
            None => "No failover: the evidence did not become a verdict.".to_owned(),
        };
        return format!("<p>{}</p>", escape(&text));
    }
    let meaning = |name: &str| match name {
        "detect" => "from the fault to the first sign of it",
        "confirm" => "fresh evidence: new connections, the host's word",
        "fence" => "out of the route, every process proven gone",
        "promote" => "positions read, standby promoted, writable",
        "route" => "every HAProxy sends to the new primary",
        _ => "data on the new primary, traffic through the route",
    };
    let times: Vec<(&str, u64)> = ["detect", "confirm", "fence", "promote", "route", "verify"]
        .into_iter()
        .filter_map(|name| Some((name, run.phase_nanos(name)?)))
        .collect();
    let longest = times.iter().map(|(_, nanos)| *nanos).max().unwrap_or(1).max(1);
    let mut table =
        String::from("<div class=\"scroll\"><table>\n<tr><th>phase</th><th class=\"n\">took</th><th></th><th></th></tr>\n");
    for (name, nanos) in &times {
        let _ = writeln!(
            table,
            "<tr><td class=\"k\">{name}</td><td class=\"n\">{}</td><td class=\"meter\"><i style=\"width:{}%\"></i></td><td>{}</td></tr>",
            span(*nanos),
            (nanos * 100 / longest).max(1),
            meaning(name)
        );
    }
    if let Some(completed) = found.completed {
        let _ = writeln!(
            table,
            "<tr class=\"sum\"><td class=\"k\">fault to completed</td><td class=\"n\">{}</td><td></td><td></td></tr>",
            span(completed - run.fault_at)
        );
    }
    if let Some(gap) = outage {
        let _ = writeln!(
            table,
            "<tr class=\"sum\"><td class=\"k\">outage at the writer</td><td class=\"n\">{}</td><td></td><td>last commit before to first commit after</td></tr>",
            span(gap.nanos())
        );
    }
    table.push_str("</table></div>");
    table
}

/// Numbers in words: at most a few dozen, then how many more.
fn numbers(list: &[u64]) -> String {
    const SHOWN: usize = 60;
    let shown: Vec<String> = list.iter().take(SHOWN).map(u64::to_string).collect();
    let more = if list.len() > SHOWN { format!(" and {} more", list.len() - SHOWN) } else { String::new() };
    if shown.is_empty() { String::new() } else { format!("numbers {}{more}", shown.join(", ")) }
}

fn rows(run: &Recording) -> String {
    let count = |outcome: Outcome| run.attempts.iter().filter(|attempt| attempt.outcome == outcome).count();
    let mut table = String::from("<div class=\"scroll\"><table>\n");
    let mut row = |label: &str, count: usize, note: &str| {
        let _ = writeln!(
            table,
            "<tr><td class=\"k\">{}</td><td class=\"n\">{count}</td><td>{}</td></tr>",
            escape(label),
            escape(note)
        );
    };
    row("acknowledged", count(Outcome::Acknowledged), "");
    if let Some(found) = &run.table {
        row(&format!("acknowledged, missing on {}", found.server), found.missing.len(), &numbers(&found.missing));
        row("in doubt (sent, no answer)", count(Outcome::InDoubt), "");
        row(
            "– of these in the table",
            found.in_doubt_present.len(),
            &join(&numbers(&found.in_doubt_present), "a client that sends such a row again writes it twice"),
        );
        row("– of these not in the table", found.in_doubt_absent.len(), &numbers(&found.in_doubt_absent));
        row("in the table twice", found.doubled.len(), &numbers(&found.doubled));
        row("rows in the table", usize::try_from(found.rows).unwrap_or(usize::MAX), "");
    } else {
        row("in doubt (sent, no answer)", count(Outcome::InDoubt), "the table could not be read");
    }
    row("refused by the server", count(Outcome::Refused), "");
    row("not sent: no connection", count(Outcome::NotSent), "");
    table.push_str("</table></div>");
    table
}

fn join(one: &str, other: &str) -> String {
    if one.is_empty() { String::new() } else { format!("{one}; {other}") }
}

fn fence(run: &Recording) -> String {
    let reports = run.events.iter().filter(|event| event.at >= run.fault_at && event.fields.contains_key("rungs"));
    let mut table = String::new();
    for event in reports {
        let _ =
            writeln!(table, "<p>{}: {}</p>\n<div class=\"scroll\"><table>", ago(event.at, run.fault_at), escape(&event.message));
        for rung in event.fields.get("rungs").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| rung.get(name).map(plain).unwrap_or_default();
            let mark = if rung.get("ok") == Some(&Value::Bool(true)) { "✓" } else { "✗" };
            let _ = writeln!(
                table,
                "<tr><td>{mark} {}</td><td class=\"n\">{} ms</td><td>{}</td></tr>",
                escape(&text("name")),
                escape(&text("took_ms")),
                escape(&text("note"))
            );
        }
        table.push_str("</table></div>\n");
    }
    if table.is_empty() { "<p class=\"none\">Nothing was fenced.</p>".to_owned() } else { table }
}
