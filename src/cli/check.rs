//! `failover check`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use failover::{CheckReport, Config, Engine, FindingCode, ReadinessStatus, ServiceReadiness};
use serde_json::json;

use super::arguments::{Check, Doctor};
use super::exit::{Code, Trouble};
use super::log::message;
use super::socket::Listening;
use super::terminal::{Cell, Paint, Terminal, print, print_json, table};
use super::text::{count, printable, span, span_ms};

/// A person who waits longer is told for what.
const PATIENCE: Duration = Duration::from_secs(1);

pub fn run(arguments: &Check, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let config = Config::load(&arguments.config).map_err(Trouble::config)?;
    super::validate::warn(&config, terminal);
    let socket = config.control_socket();
    let engine = Engine::new(config)?;
    // Each question has its deadline, and a person at the terminal ends it when he likes.
    let mut report = with_progress(|| engine.check_all(Duration::MAX))?;
    report.engine.extend(unusable(&socket));
    if json {
        print_json(&json!(report.summary()), terminal)?;
    } else {
        print(&human(&report.checks, &report.services, &report.engine, terminal))?;
    }
    Ok(if report.all_up() && report.is_ready() { Code::Ok } else { Code::NotUp })
}

/// `failover doctor`: the same, of one service and as findings only.
pub fn doctor(arguments: &Doctor, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let config = Config::load(&arguments.config).map_err(Trouble::config)?;
    let names: Vec<String> = config.services.iter().map(|service| service.name.clone()).collect();
    let remedy = format!("name one of: {}", names.join(", "));
    let service = match (&arguments.service, names.as_slice()) {
        (Some(service), _) => service.clone(),
        (None, [one]) => one.clone(),
        (None, _) => {
            let what = format!("{} has {}", arguments.config.display(), count(names.len(), "service"));
            return Err(Trouble::new(Code::Config, what).remedy(remedy));
        }
    };
    if !names.contains(&service) {
        let what = format!("{} has no service {service:?}", arguments.config.display());
        return Err(Trouble::new(Code::Config, what).remedy(remedy));
    }
    let socket = config.control_socket();
    let engine = Engine::new(config)?;
    let mut report = with_progress(|| engine.doctor(Some(&service), Duration::MAX))?;
    report.add(unusable(&socket));
    if json {
        print_json(&json!(report), terminal)?;
    } else {
        let candidate = report.forecast.as_ref().and_then(|forecast| forecast.candidate.as_deref());
        let told = Told { service: &report.service, sentence: &report.sentence, candidate, findings: &report.findings };
        print(&of_service(&told, "doctor", terminal))?;
    }
    Ok(if report.ready { Code::Ok } else { Code::NotUp })
}

/// What would keep the daemon from its control socket, as a finding.
fn unusable(socket: &Path) -> Option<ReadinessStatus> {
    let (certain, trouble) = Listening::probe(socket).err()?;
    let remedy = trouble.advice().unwrap_or_default();
    Some(ReadinessStatus::found(FindingCode::ControlSocketUnusable, certain, trouble.what(), remedy))
}

/// Does it, and says on a terminal what is waited for when it takes long.
fn with_progress<T>(work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    let (done, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let teller = move || {
            if wait.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let mut stderr = std::io::stderr();
                // Nobody is left to be told that stderr is closed.
                let _ = write!(stderr, "asking the servers, their hosts and the route ...");
                let _ = stderr.flush();
                let _ = wait.recv();
                let _ = write!(stderr, "\r\x1b[K");
            }
        };
        let teller = std::thread::Builder::new().spawn_scoped(scope, teller);
        let answer = work();
        drop(done);
        if let Ok(teller) = teller {
            let _ = teller.join();
        }
        answer
    })
}

fn human(reports: &[CheckReport], services: &[ServiceReadiness], own: &[ReadinessStatus], terminal: Terminal) -> String {
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
    // What is mended by one deed is told once.
    let mut told: Vec<(&str, &str)> = Vec::new();
    for report in reports.iter().filter(|report| !report.remedy.is_empty()) {
        let trouble = (report.reason.as_str(), report.remedy.as_str());
        if told.contains(&trouble) {
            continue;
        }
        told.push(trouble);
        let same = reports.iter().filter(|other| (other.reason.as_str(), other.remedy.as_str()) == trouble);
        let checks: Vec<&str> = same.map(|other| other.check.as_str()).collect();
        let word = terminal.stdout("remedy:", Paint::Strong);
        let _ = writeln!(text, "{}: {}\n  {word} {}", checks.join(", "), report.reason, printable(&report.remedy));
    }
    let up = reports.iter().filter(|report| report.verdict == "up").count();
    let of_program = reports.iter().filter(|report| report.is_of_the_program()).count();
    let down = reports.len() - up - of_program;
    let verdict = if down == 0 { "all up".to_owned() } else { format!("{down} not up") };
    let _ = writeln!(text, "{}, {verdict}", count(reports.len() - of_program, "check"));
    if of_program > 0 {
        let _ = writeln!(
            text,
            "{} of kind host, not asked here: the program that embeds the engine answers",
            count(of_program, "check")
        );
    }
    if !own.is_empty() {
        text.push_str("\nthe engine itself:\n");
        for finding in own {
            one_finding(&mut text, finding, false, terminal);
        }
    }
    for service in services {
        text.push('\n');
        let told = Told {
            service: &service.service,
            sentence: &service.sentence,
            candidate: service.forecast.candidate.as_deref(),
            findings: &service.findings,
        };
        text.push_str(&of_service(&told, "readiness", terminal));
    }
    text
}

/// What is told of a service.
struct Told<'a> {
    service: &'a str,
    sentence: &'a str,
    candidate: Option<&'a str>,
    findings: &'a [ReadinessStatus],
}

/// Everything about the service, for people.
fn of_service(service: &Told<'_>, what: &str, terminal: Terminal) -> String {
    let mut text = String::new();
    let blocking = service.findings.iter().filter(|finding| finding.blocking).count();
    let paint = match (blocking, service.candidate) {
        (0, Some(_)) => Paint::Good,
        (0, None) => Paint::Doubtful,
        _ => Paint::Bad,
    };
    let _ = writeln!(text, "{what} of {}: {}", service.service, terminal.stdout(service.sentence, paint));
    for finding in service.findings {
        one_finding(&mut text, finding, false, terminal);
    }
    let more = if service.findings.is_empty() { "" } else { "; docs/TROUBLESHOOTING.md has each by its name" };
    let _ = writeln!(text, "{blocking} blocking, {}{more}", count(service.findings.len() - blocking, "warning"));
    text
}

/// One thing that would hurt at failover time, why it would and its remedy each on a line of its own; `dated`: and when it was seen.
pub fn one_finding(text: &mut String, finding: &ReadinessStatus, dated: bool, terminal: Terminal) {
    let (word, paint) = if finding.blocking { ("blocking", Paint::Bad) } else { ("warning", Paint::Doubtful) };
    let subject = finding.server.as_deref().map_or_else(String::new, |server| format!("{server} "));
    let said = message(finding.server.as_deref(), &finding.message);
    let seen = if dated { format!(" (seen {} ago)", span_ms(finding.asked_ms)) } else { String::new() };
    let _ = writeln!(text, "  {} {subject}{}: {said}{seen}", terminal.stdout(word, paint), finding.code);
    if !finding.why.is_empty() {
        let _ = writeln!(text, "    {} {}", terminal.stdout("why:", Paint::Strong), printable(&finding.why));
    }
    if !finding.remedy.is_empty() {
        let _ = writeln!(text, "    {} {}", terminal.stdout("remedy:", Paint::Strong), printable(&finding.remedy));
    }
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
    use crate::made::made;
    use expect_test::expect;

    fn report(server: &str, verdict: &str, reason: &str, message: &str, remedy: &str) -> CheckReport {
        made!(CheckReport {
            service: "orders".into(),
            server: server.into(),
            check: format!("{server}/postgres"),
            kind: "postgres".into(),
            verdict: verdict.into(),
            reason: reason.into(),
            message: message.into(),
            remedy: remedy.into(),
            latency_ms: 1.25,
            sample: None,
        })
    }

    #[test]
    fn a_report_for_people() {
        let reports = [
            report("db1", "up", "", "primary on timeline 1", ""),
            report("db2", "down", "refused", "127.0.0.1:5433: connection refused", "start the server"),
        ];
        let finding = |server: Option<&str>, code: &str, blocking| {
            made!(ReadinessStatus {
                server: server.map(str::to_owned),
                code: code.into(),
                blocking,
                message: format!("about {code}"),
                why: "it hurts".into(),
                remedy: "mend it".into(),
                asked_ms: 0,
            })
        };
        let refused = "if the primary died now, a failover would be refused or fail";
        let service = made!(ServiceReadiness {
            service: "orders".into(),
            kind: "postgres".to_owned(),
            sentence: refused.to_owned(),
            findings: vec![finding(Some("db1"), "host_not_asked", true), finding(Some("db2"), "fsync_off", false)],
        });
        expect![[r"
            service  server  check         verdict  took    what it said
            orders   db1     db1/postgres  up       1.2 ms  primary on timeline 1
            orders   db2     db2/postgres  down     1.2 ms  refused: 127.0.0.1:5433: connection refused
            db2/postgres: refused
              remedy: start the server
            2 checks, 1 not up

            readiness of orders: if the primary died now, a failover would be refused or fail
              blocking db1 host_not_asked: about host_not_asked
                why: it hurts
                remedy: mend it
              warning db2 fsync_off: about fsync_off
                why: it hurts
                remedy: mend it
            1 blocking, 1 warning; docs/TROUBLESHOOTING.md has each by its name
        "]]
        .assert_eq(&human(&reports, &[service], &[], Terminal::default()));
        let ready = made!(ServiceReadiness {
            service: "orders".into(),
            sentence: "if the primary died now, db2 would be promoted; about 72 bytes of log may be missing; its last 197 ms were not seen".into(),
            ..Default::default()
        });
        expect![[r"
            service  server  check         verdict  took    what it said
            orders   db1     db1/postgres  up       1.2 ms  primary on timeline 1
            1 check, all up

            readiness of orders: if the primary died now, db2 would be promoted; about 72 bytes of log may be missing; its last 197 ms were not seen
            0 blocking, 0 warnings
        "]]
        .assert_eq(&human(&reports[..1], &[ready], &[], Terminal::default()));
    }
}
