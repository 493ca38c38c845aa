//! `failover check`.

use failover::{CheckReport, Config, Engine};
use serde_json::json;

use super::arguments::Check;
use super::exit::{Code, Trouble};
use super::terminal::{Cell, Paint, Terminal, print, print_json, table};
use super::text::{count, printable, span};

pub fn run(arguments: &Check, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let config = Config::load(&arguments.config).map_err(Trouble::config)?;
    let reports = Engine::new(config)?.check_once();
    let up = reports.iter().filter(|report| report.verdict == "up").count();
    let all_up = up == reports.len();
    if json {
        print_json(&json!({ "all_up": all_up, "checks": reports }), terminal)?;
    } else {
        print(&human(&reports, terminal))?;
    }
    Ok(if all_up { Code::Ok } else { Code::NotUp })
}

fn human(reports: &[CheckReport], terminal: Terminal) -> String {
    let rows = reports.iter().map(|report| {
        vec![
            Cell::new(&report.service),
            Cell::new(&report.server),
            Cell::new(&report.check),
            Cell::painted(&report.verdict, verdict_paint(&report.verdict)),
            Cell::new(span(report.latency_ms)),
            Cell::new(said(&report.reason, &report.message)),
        ]
    });
    let mut text = table(&["service", "server", "check", "verdict", "took", "what it said"], rows.collect(), 0, terminal);
    let up = reports.iter().filter(|report| report.verdict == "up").count();
    let verdict = if up == reports.len() { "all up".to_owned() } else { format!("{} not up", reports.len() - up) };
    text.push_str(&count(reports.len(), "check"));
    text.push_str(", ");
    text.push_str(&verdict);
    text.push('\n');
    text
}

/// Reason and message, without saying the same twice.
pub fn said(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", message) => printable(message),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {}", printable(message)),
    }
}

/// The colour of a verdict.
pub fn verdict_paint(verdict: &str) -> Paint {
    match verdict {
        "up" => Paint::Good,
        "impaired" | "unknown" => Paint::Doubtful,
        _ => Paint::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_report_for_people() {
        let report = |server: &str, verdict: &str, reason: &str, message: &str| CheckReport {
            service: "orders".into(),
            server: server.into(),
            check: format!("{server}/postgres"),
            kind: "postgres".into(),
            verdict: verdict.into(),
            reason: reason.into(),
            message: message.into(),
            latency_ms: 1.25,
            sample: None,
        };
        let reports = [
            report("db1", "up", "", "primary on timeline 1"),
            report("db2", "down", "refused", "127.0.0.1:5433: connection refused"),
        ];
        expect![[r"
            service  server  check         verdict  took    what it said
            orders   db1     db1/postgres  up       1.2 ms  primary on timeline 1
            orders   db2     db2/postgres  down     1.2 ms  refused: 127.0.0.1:5433: connection refused
            2 checks, 1 not up
        "]]
        .assert_eq(&human(&reports, Terminal::default()));
    }
}
