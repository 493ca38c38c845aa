//! The report of the demo: everything that was recorded is in it, and it is a page of its own.

use crate::parts::text;
use crate::report;
use crate::support::recording::{Attempt, Event, FindingLine, Member, Outcome, Recording, Table};
use serde_json::{Value, json};

const MS: u64 = 1_000_000;
const FAULT: u64 = 4_000 * MS;

struct Told(Vec<Event>);

impl Told {
    fn tell(&mut self, at: u64, kind: &str, severity: &str, server: Option<&str>, message: &str, fields: Value) {
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        self.0.push(Event {
            at,
            seq: self.0.len() as u64 + 1,
            generation: u64::from(at > FAULT),
            kind: kind.to_owned(),
            severity: severity.to_owned(),
            server: server.map(str::to_owned),
            message: message.to_owned(),
            fields,
        });
    }

    fn probe(&mut self, at: u64, server: &str, verdict: &str, reason: &str, latency_ms: f64) {
        let message = format!("{server}/postgres {verdict}: {reason}");
        let fields =
            json!({"check": format!("{server}/postgres"), "verdict": verdict, "reason": reason, "latency_ms": latency_ms});
        self.tell(at, "observed", "debug", Some(server), &message, fields);
    }

    fn step(&mut self, from: u64, to: u64, step: &str, target: &str, detail: &str, more: Value) {
        self.tell(from, "step_started", "info", None, step, json!({"step": step, "target": target}));
        let Value::Object(mut fields) = more else { panic!("fields are an object") };
        fields.extend([
            ("step".into(), json!(step)),
            ("target".into(), json!(target)),
            ("ok".into(), json!(true)),
            ("detail".into(), json!(detail)),
        ]);
        self.tell(to, "step_finished", "info", None, &format!("{step} {target}: {detail}"), Value::Object(fields));
    }
}

/// What a run looks like: the times and texts of a real one, made by hand.
fn sample(fault: &str) -> Recording {
    let hung = fault == "hang";
    let fails_over = hung || fault == "kill";
    // When the engine is sure.
    let sure = FAULT + if hung { 3_437 * MS } else { 96 * MS };
    let back = if fails_over { sure + 182 * MS } else { FAULT + 3_004 * MS };
    let ended = back + 4_000 * MS;
    let mut attempts = Vec::new();
    let mut at = 300 * MS;
    let mut n = 0;
    while at < ended {
        n += 1;
        let down = (FAULT + 3 * MS..back).contains(&at);
        let first = down && attempts.last().is_some_and(|last: &Attempt| last.outcome == Outcome::Acknowledged);
        let silent = first || (down && (hung || fault == "freeze"));
        let outcome = match (down, silent) {
            (false, _) => Outcome::Acknowledged,
            (true, true) => Outcome::InDoubt,
            (true, false) => Outcome::NotSent,
        };
        let took = if down && (hung || fault == "freeze") { 1_000 * MS } else { MS + n % 7 * 210_000 };
        let port = if !down && at >= back && fails_over { 20002 } else { 20001 };
        attempts.push(Attempt { n, sent: at, done: at + took, outcome, port: if down { 0 } else { port } });
        at += took.max(5 * MS);
    }
    Recording {
        fault: fault.to_owned(),
        synchronous: false,
        began: "2026-11-23T01:15:00.123456Z".to_owned(),
        fault_at: FAULT,
        fault_over: (fault == "freeze").then_some(FAULT + 3_000 * MS),
        ended,
        servers: vec![Member { name: "db1".to_owned(), port: 20001 }, Member { name: "db2".to_owned(), port: 20002 }],
        attempts,
        events: told(fault, sure, ended).0,
        config: "# <failover.toml> & more\nversion = 1\n\n[[services]]\nname = \"orders\"\n".to_owned(),
        table: Some(Table {
            server: "db2".to_owned(),
            rows: 1201,
            missing: vec![739],
            in_doubt_present: vec![741],
            in_doubt_absent: vec![740],
            doubled: vec![],
        }),
        findings: vec![
            FindingLine { ok: true, text: "failovers begun: 1, completed: 1; wanted: one of each".to_owned() },
            FindingLine { ok: true, text: "rows acknowledged by db1 after the promotion began: 0".to_owned() },
        ],
        environment: vec![("PostgreSQL".to_owned(), "15.20 (Debian)".to_owned()), ("Processors".to_owned(), "2".to_owned())],
    }
}

fn told(fault: &str, sure: u64, ended: u64) -> Told {
    let hung = fault == "hang";
    let fails_over = hung || fault == "kill";
    let mut told = Told(Vec::new());
    told.tell(200 * MS, "engine_started", "info", None, "the engine runs", json!({}));
    told.tell(260 * MS, "primary_known", "info", Some("db1"), "db1 is the primary of orders, timeline 1", json!({"timeline": 1}));
    told.tell(1_300 * MS, "standby_ready", "info", Some("db2"), "db2 can be promoted", json!({}));
    for second in 0..ended / (1_000 * MS) {
        let at = second * 1_000 * MS + 170 * MS;
        if at < FAULT {
            told.probe(at, "db1", "up", "", 3.1);
        }
        told.probe(at + 420 * MS, "db2", "up", "", 2.9);
    }
    if fault == "kill" {
        told.tell(
            FAULT + 9 * MS,
            "session_closed",
            "warning",
            Some("db1"),
            "db1 closed its kept session (death_hint): FATAL 57P01 secure_read",
            json!({"cause": "death_hint"}),
        );
    } else {
        for probe in 0..4 {
            told.probe(FAULT + 1_670 * MS + probe * 530 * MS, "db1", "down", "answer_timed_out", 1_500.0);
        }
    }
    told.tell(
        FAULT + 12 * MS,
        "state_changed",
        "warning",
        None,
        "orders: normal -> degraded (bad sign)",
        json!({"from": "normal", "to": "degraded"}),
    );
    if fault == "kill" {
        for (place, reason) in ["reset", "refused", "refused", "refused"].into_iter().enumerate() {
            told.probe(FAULT + 14 * MS + place as u64 * 26 * MS, "db1", "down", reason, 0.4);
        }
    }
    told.tell(
        sure - 80 * MS,
        "confirmation_started",
        "warning",
        None,
        "db1 seems to have failed: gathering fresh evidence",
        json!({"evidence": []}),
    );
    told.tell(
        sure - 70 * MS,
        "state_changed",
        "warning",
        None,
        "orders: degraded -> failing",
        json!({"from": "degraded", "to": "failing"}),
    );
    if !fails_over {
        told.tell(
            FAULT + 3_010 * MS,
            "failover_suppressed",
            "info",
            None,
            "db1 is alive, no failover: it answers again after 3010 ms",
            json!({"evidence": ["+0 ms: silent", "+3010 ms: up"]}),
        );
        told.tell(
            FAULT + 3_011 * MS,
            "state_changed",
            "info",
            None,
            "orders: failing -> normal",
            json!({"from": "failing", "to": "normal"}),
        );
        return told;
    }
    told.tell(
        sure - 40 * MS,
        "evidence_gathered",
        "info",
        Some("db1"),
        "the host of db1: postmaster gone, 3 other processes, 0 stopped",
        json!({}),
    );
    let evidence = json!([
        "+0 ms: the kept session of db1 was closed (FATAL 57P01, routine secure_read): a death hint",
        "+5 ms: db1/postgres down (refused): connection refused on 127.0.0.1:20001",
        "+61 ms: the host of db1 says: postmaster 4711 is gone; 3 orphans of it are left <not> yet",
        "the standby received nothing between two reads"
    ]);
    told.tell(
        sure,
        "failure_confirmed",
        "warning",
        Some("db1"),
        "db1 is dead, confirmed 87 ms after the first bad sign",
        json!({"class": "dead", "evidence": evidence}),
    );
    told.tell(
        sure + MS / 5,
        "failover_started",
        "warning",
        Some("db1"),
        "orders: failover 1 away from db1 begins",
        json!({"evidence": evidence}),
    );
    told.tell(
        sure + MS / 4,
        "state_changed",
        "warning",
        None,
        "orders: failing -> failover_in_progress",
        json!({"from": "failing", "to": "failover_in_progress"}),
    );
    told.step(sure + MS, sure + 8 * MS, "route_out", "db1", "haproxy: MAINT, 0 sessions", json!({}));
    let rungs = json!([
        {"name": "guard", "ok": true, "took_ms": 1.2, "note": "standby.signal placed"},
        {"name": "kill_children", "ok": true, "took_ms": 4.0, "note": "3 killed"},
        {"name": "proof", "ok": true, "took_ms": 2.0, "note": "no process, segment gone"}
    ]);
    told.step(
        sure + 8 * MS,
        sure + 32 * MS,
        "fence",
        "db1",
        "level 3 proven: no process works in the data directory",
        json!({"fence_level": 3, "rungs": rungs}),
    );
    told.step(sure + 32 * MS, sure + 55 * MS, "read_positions", "", "db2 at 0/3FFE1A8", json!({}));
    told.tell(
        sure + 55 * MS,
        "point_of_no_return",
        "warning",
        None,
        "orders: db2 is promoted; from here on nothing is undone",
        json!({"target": "db2"}),
    );
    told.step(sure + 55 * MS, sure + 148 * MS, "promote", "db2", "writable on timeline 2 after 4 looks", json!({"timeline": 2}));
    told.step(
        sure + 148 * MS,
        sure + 156 * MS,
        "verify_data",
        "db2",
        "flushed at 0/3FFE2C0, commits go through",
        json!({"commits": true}),
    );
    told.step(sure + 156 * MS, sure + 168 * MS, "route_in", "db2", "haproxy: UP, weight 1", json!({}));
    told.step(sure + 168 * MS, sure + 187 * MS, "verify_traffic", "db2", "127.0.0.1:20003 answers as db2", json!({}));
    told.tell(
        sure + 187 * MS,
        "failover_completed",
        "warning",
        Some("db2"),
        "orders: db2 has taken over from db1 within 274 ms of the first bad sign",
        json!({"fence_level": 3}),
    );
    told.tell(
        sure + 188 * MS,
        "state_changed",
        "warning",
        None,
        "orders: failover_in_progress -> failed_over",
        json!({"from": "failover_in_progress", "to": "failed_over"}),
    );
    told
}

/// Every opened element is closed in order; returns the names of all elements.
fn assert_well_formed(page: &str) -> Vec<String> {
    const VOID: [&str; 1] = ["meta"];
    let mut open: Vec<&str> = Vec::new();
    let mut names = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, tail) = after.split_once('>').expect("a tag that is not closed");
        rest = tail;
        if tag.starts_with('!') {
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closing </{name}>");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        names.push(name.to_owned());
        if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    names
}

fn page_of(run: &Recording) -> String {
    let page = report::render(run);
    assert_well_formed(&page);
    // For people who want to look at it.
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{}.html", run.fault));
    std::fs::write(path, &page).unwrap();
    page
}

#[test]
fn a_failover_is_there_with_everything() {
    for fault in ["kill", "hang"] {
        let run = sample(fault);
        let page = page_of(&run);
        for event in &run.events {
            assert!(page.contains(&text::escape(&event.message)), "{}", event.message);
        }
        for line in run.evidence() {
            assert!(page.contains(&text::escape(&line)), "{line}");
        }
        for finding in &run.findings {
            assert!(page.contains(&finding.text));
        }
        for word in [
            "standby.signal placed",
            "numbers 739",
            "numbers 741",
            "&lt;failover.toml&gt; &amp; more",
            "15.20 (Debian)",
            "fence level",
        ] {
            assert!(page.contains(word), "{word}");
        }
        assert!(page.contains(&text::span(run.outage().unwrap().nanos())));
        assert_eq!(run.evidence().len(), 4);
        assert_eq!(run.fence_levels().iter().map(|(_, level)| *level).collect::<Vec<_>>(), [1, 3]);
    }
}

#[test]
fn a_long_wait_before_short_work_gets_a_drawing_of_its_own() {
    let drawings = |fault: &str| page_of(&sample(fault)).matches("role=\"img\"").count();
    assert_eq!((drawings("kill"), drawings("hang")), (2, 3));
}

#[test]
fn no_failover_is_a_report_too() {
    let run = sample("freeze");
    let page = page_of(&run);
    assert!(page.contains("stayed the primary") && page.contains("fault over") && page.contains("Nothing was fenced."));
    assert!(!run.failed_over());
}

#[test]
fn nothing_comes_from_outside_and_nothing_runs() {
    let page = page_of(&sample("kill"));
    for word in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn hostile_texts_stay_texts() {
    let mut run = sample("kill");
    let hostile = "</title><script>alert('x')</script> {{config}} \u{1b}[31m \"quoted\" & done";
    run.fault = hostile.to_owned();
    run.servers[0].name = hostile.to_owned();
    run.config = hostile.to_owned();
    run.findings[0].text = hostile.to_owned();
    run.environment[0] = (hostile.to_owned(), hostile.to_owned());
    for event in &mut run.events {
        event.message = hostile.to_owned();
        event.kind.push_str(if event.kind == "log" { hostile } else { "" });
    }
    let page = report::render(&run);
    assert!(!assert_well_formed(&page).contains(&"script".to_owned()));
    assert!(page.contains("&lt;script&gt;") && page.contains("{{config}}"));
}

#[test]
fn an_empty_recording_is_a_page() {
    let page = report::render(&Recording::default());
    assert_well_formed(&page);
    assert!(page.contains("no commit was acknowledged at all"));
}

#[test]
fn the_outage_is_the_longest_gap_that_reaches_past_the_fault() {
    let attempt = |n: u64, done: u64| Attempt { n, sent: done, done, outcome: Outcome::Acknowledged, port: 1 };
    let mut run = Recording { fault_at: 5_000, ended: 9_000, ..Recording::default() };
    // A longer gap before the fault has other reasons.
    run.attempts =
        [0, 3_000, 4_900, 6_000, 6_100, 9_000].into_iter().enumerate().map(|(n, done)| attempt(n as u64, done)).collect();
    let gap = run.outage().unwrap();
    assert_eq!((gap.from, gap.to, gap.closed), (6_100, 9_000, true));
    run.attempts.pop();
    let gap = run.outage().unwrap();
    assert_eq!((gap.from, gap.to, gap.closed), (6_100, 9_000, false));
}

#[test]
fn numbers_are_short() {
    let spans = [
        (640_000, "640 µs"),
        (4_260_000, "4.2 ms"),
        (412_900_000, "412 ms"),
        (3_437_000_000, "3.43 s"),
        (75_000_000_000, "1 min 15 s"),
    ];
    for (nanos, short) in spans {
        assert_eq!(text::span(nanos), short);
    }
    assert_eq!(text::ago(1_500 * MS, 2_000 * MS), "−0.500 s");
    assert_eq!(text::ago(2_012 * MS, 2_000 * MS), "+0.012 s");
}

#[test]
fn a_recording_survives_its_file() {
    let run = sample("hang");
    let back: Recording = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
    assert_eq!(back, run);
}
