//! The summary on the terminal.

use std::fmt::Write as _;

use super::live::{Tone, paint};
use super::parts::text::span;
use super::support::recording::{Outcome, Recording};

/// A few dozen lines: times, rows, reasons, verdict.
pub fn of(run: &Recording, colours: bool) -> String {
    let mut page = String::new();
    let heading = |page: &mut String, words: &str| {
        let _ = writeln!(page, "\n== {words}");
    };
    if run.failed_over() {
        heading(&mut page, "times");
        let named = [
            ("detect", "from the fault to its first sign"),
            ("confirm", "until it was certain"),
            ("fence", "out of the route, every process proven gone"),
            ("promote", "positions read, promoted, writable"),
            ("route", "every HAProxy sends to the new primary"),
            ("verify", "a write on it, and one through the route"),
        ];
        for (name, what) in named {
            let took = run.phase_nanos(name).map_or_else(|| "–".to_owned(), span);
            let _ = writeln!(page, "{name:>10}  {took:>9}  {what}");
        }
        let level = run.fence_level().map_or_else(|| "none".to_owned(), |level| level.to_string());
        let _ = writeln!(page, "{:>10}  {level:>9}  the fence level that was proven (3: every process gone)", "level");
    }
    heading(&mut page, "the writer");
    match run.outage() {
        Some(gap) => {
            let more = if gap.closed { "" } else { "more than " };
            let _ = writeln!(
                page,
                "{:>10}  {more}{}  from the last acknowledged commit before to the first one after",
                "outage",
                span(gap.nanos())
            );
        }
        None => page.push_str("    outage  no commit was ever acknowledged\n"),
    }
    rows(&mut page, run);
    let evidence = run.evidence();
    if !evidence.is_empty() {
        heading(&mut page, "why the engine decided so");
        for line in evidence {
            let _ = writeln!(page, "  - {line}");
        }
    }
    heading(&mut page, "was it right?");
    for finding in &run.findings {
        let (tone, mark) = if finding.ok { (Tone::Good, "ok ") } else { (Tone::Bad, "BAD") };
        let _ = writeln!(page, "  {} {}", paint(colours, tone, mark), finding.text);
    }
    page
}

fn rows(page: &mut String, run: &Recording) {
    let count = |outcome: Outcome| run.attempts.iter().filter(|attempt| attempt.outcome == outcome).count();
    let mut line = |name: &str, count: usize, note: &str| {
        let _ = writeln!(page, "{name:>10}  {count:>9}  {note}");
    };
    line("rows", count(Outcome::Acknowledged), "acknowledged");
    if let Some(table) = &run.table {
        line("missing", table.missing.len(), &format!("acknowledged and not on {}{}", table.server, numbers(&table.missing)));
        let note = format!(
            "sent without an answer; {} of them are there: sent again blindly, these would be there twice",
            table.in_doubt_present.len()
        );
        line("in doubt", count(Outcome::InDoubt), &note);
        line("twice", table.doubled.len(), &format!("in the table more than once{}", numbers(&table.doubled)));
    } else {
        line("in doubt", count(Outcome::InDoubt), "sent without an answer; the table could not be read");
    }
}

fn numbers(list: &[u64]) -> String {
    const SHOWN: usize = 20;
    if list.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = list.iter().take(SHOWN).map(u64::to_string).collect();
    let more = if list.len() > SHOWN { format!(" and {} more", list.len() - SHOWN) } else { String::new() };
    format!(": {}{more}", shown.join(", "))
}
