//! The engine's numbers in Prometheus' text format (version 0.0.4).
//!
//! All names begin with `failover_`; durations are in seconds, counters end in `_total`. What cannot be said is left out: no
//! sample, never a zero that means nothing. Counters about failovers outlive the engine in its journal; refusals, checks and events
//! begin at zero with each engine.
//!
//! What is scraped every few seconds is about services: it grows with their number and, but for the lag of each standby, not with that of
//! their servers and checks. What one server, one check and one breaker say are the details, for whoever asks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::status::{SpansStatus, Status, VerdictCounts};

/// One family of samples.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
    samples: Vec<Sample<'a>>,
}

struct Sample<'a> {
    suffix: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

impl<'a> Family<'a> {
    fn new(name: &'a str, kind: &'a str, help: &'a str) -> Family<'a> {
        Family { name, kind, help, samples: Vec::new() }
    }

    fn add(&mut self, labels: &[(&'a str, &str)], value: f64) {
        self.push("", labels, value);
    }

    fn summary(&mut self, labels: &[(&'a str, &str)], spans: &SpansStatus) {
        self.push("_sum", labels, spans.sum_ms / 1_000.0);
        self.push("_count", labels, number(spans.count));
    }

    fn push(&mut self, suffix: &'a str, labels: &[(&'a str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { suffix, labels, value });
    }

    fn write(&self, text: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        let _ = writeln!(text, "# HELP {} {}", self.name, self.help);
        let _ = writeln!(text, "# TYPE {} {}", self.name, self.kind);
        for Sample { suffix, labels, value } in &self.samples {
            let _ = write!(text, "{}{suffix}", self.name);
            for (place, (label, value)) in labels.iter().enumerate() {
                let _ = write!(text, "{}{label}=\"{}\"", if place == 0 { '{' } else { ',' }, escaped(value));
            }
            let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Exact up to 2^53: more is not counted.
#[expect(clippy::cast_precision_loss, reason = "the format knows no other numbers")]
fn number(count: u64) -> f64 {
    count as f64
}

fn count(number_of: usize) -> f64 {
    number(u64::try_from(number_of).unwrap_or(u64::MAX))
}

fn truth(it_is: bool) -> f64 {
    f64::from(u8::from(it_is))
}

/// The metrics of a status in Prometheus' text format, for the engine and each service in the status. The size grows by some 1.5
/// KB with each service, and not with the number of its checks.
#[must_use]
pub fn text(status: &Status) -> String {
    written(&[engine(status), services(status), failovers(status)])
}

/// Like [`metrics_text`](text), with the metrics of each server, each check and each circuit breaker in addition. For one
/// service, see [`Engine::status_of`](crate::Engine::status_of). For all services, call it only now and then.
#[must_use]
pub fn details(status: &Status) -> String {
    written(&[engine(status), services(status), failovers(status), servers(status)])
}

fn written(parts: &[Vec<Family<'_>>]) -> String {
    let mut text = String::new();
    for family in parts.iter().flatten() {
        family.write(&mut text);
    }
    text
}

fn engine(status: &Status) -> Vec<Family<'static>> {
    let one = |name, kind, help, value: f64| {
        let mut family = Family::new(name, kind, help);
        family.add(&[], value);
        family
    };
    let mut build = Family::new("failover_build_info", "gauge", "The version of the engine.");
    build.add(&[("version", &status.version)], 1.0);
    let mut delay = Family::new(
        "failover_check_start_delay_seconds",
        "histogram",
        "Time from the moment at which a check was due until a thread began it.",
    );
    let delays = &status.threads.start_delay;
    for bucket in &delays.buckets {
        let bound = (f64::from(bucket.le_ms) / 1_000.0).to_string();
        delay.push("_bucket", &[("le", &bound)], number(bucket.count));
    }
    delay.push("_bucket", &[("le", "+Inf")], number(delays.count));
    delay.push("_sum", &[], number(delays.sum_us) / 1_000_000.0);
    delay.push("_count", &[], number(delays.count));
    let mut families = vec![
        build,
        one("failover_uptime_seconds", "gauge", "Since the engine was started.", number(status.uptime_ms) / 1_000.0),
        one("failover_faulted", "gauge", "1 when a bug froze all decisions.", truth(status.faulted.is_some())),
        one("failover_doubt", "gauge", "1 while the engine does not trust its own view.", truth(status.doubt.is_some())),
        one(
            "failover_journal_writable",
            "gauge",
            "0 when the journal cannot be written, so that no failover starts.",
            truth(status.journal.writable),
        ),
        one(
            "failover_checkers_stuck",
            "gauge",
            "Checker threads whose job is past its deadline.",
            f64::from(status.threads.stuck),
        ),
        one("failover_events_total", "counter", "Events published since the start.", number(status.events.published)),
        one("failover_events_dropped_total", "counter", "Events that a consumer did not take.", number(status.events.dropped)),
        delay,
    ];
    families.extend(notifications(status));
    families
}

/// The receivers of notifications, where there are any.
fn notifications(status: &Status) -> Vec<Family<'static>> {
    let mut events = Family::new(
        "failover_notifications_total",
        "counter",
        "Events since the start by what became of them: delivered, given up, or told before.",
    );
    let mut attempts =
        Family::new("failover_notification_failures_total", "counter", "Attempts to deliver a message that failed.");
    let mut waiting = Family::new("failover_notifications_waiting", "gauge", "Events that wait to be told.");
    let mut down = Family::new("failover_notification_receiver_failing", "gauge", "1 while the last attempt failed.");
    for receiver in &status.notify {
        let name = [("receiver", receiver.name.as_str())];
        let outcomes = [("delivered", receiver.delivered), ("given_up", receiver.given_up), ("repeated", receiver.repeated)];
        for (outcome, count) in outcomes {
            events.add(&[name[0], ("outcome", outcome)], number(count));
        }
        attempts.add(&name, number(receiver.failed));
        waiting.add(&name, number(receiver.waiting));
        down.add(&name, truth(receiver.failures > 0));
    }
    vec![events, attempts, waiting, down]
}

fn services(status: &Status) -> Vec<Family<'static>> {
    let mut state =
        Family::new("failover_service_state", "gauge", "1 for the present state of a service; other states are absent.");
    let mut paused = Family::new("failover_service_paused", "gauge", "1 while an operator's pause holds.");
    let mut cordoned =
        Family::new("failover_cordoned_servers", "gauge", "Servers that an operator's cordon keeps from being promoted.");
    let mut primary = Family::new("failover_primary", "gauge", "1 for the primary; other servers are absent.");
    let mut ready =
        Family::new("failover_forecast_ready", "gauge", "1 if a failover would go through, were the primary to die now.");
    let mut loss = Family::new("failover_forecast_loss_bytes", "gauge", "The loss of that failover, if it can be estimated.");
    let mut lag = Family::new("failover_lag_bytes", "gauge", "Log of the primary that a standby has not received.");
    let mut cooldown = Family::new("failover_cooldown_seconds", "gauge", "What is left of the cooldown.");
    let mut findings = Family::new("failover_readiness_findings", "gauge", "Findings that would stop or hurt a failover.");
    let mut checks = Family::new("failover_checks_total", "counter", "Answers of all checks since the start, by verdict.");
    let mut breakers =
        Family::new("failover_breakers_open", "gauge", "Circuit breakers of the survey that are open or half-open.");
    let mut refusals = Family::new(
        "failover_refusals_total",
        "counter",
        "Refusals since the start by name, each counted once for each suspicion.",
    );
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for breaker in status.breakers.iter().filter(|breaker| breaker.state != "closed") {
        *open.entry(&breaker.service).or_default() += 1;
    }
    for service in &status.services {
        let name = [("service", service.name.as_str())];
        state.add(&[name[0], ("state", &service.state)], 1.0);
        paused.add(&name, truth(service.paused));
        ready.add(&name, truth(service.forecast.would_fail_over));
        if let Some(bytes) = service.forecast.loss_bytes {
            loss.add(&name, number(bytes));
        }
        cooldown.add(&name, number(service.cooldown_ms) / 1_000.0);
        for (word, blocking) in [("true", true), ("false", false)] {
            let found = service.readiness.iter().filter(|finding| finding.blocking == blocking).count();
            findings.add(&[name[0], ("blocking", word)], count(found));
        }
        breakers.add(&name, count(open.get(service.name.as_str()).copied().unwrap_or_default()));
        if let Some(server) = &service.primary {
            primary.add(&[name[0], ("server", server)], 1.0);
        }
        cordoned.add(&name, count(service.servers.iter().filter(|server| server.cordoned).count()));
        for server in &service.servers {
            if let Some(bytes) = server.sample.as_ref().and_then(|sample| sample.lag_bytes) {
                lag.add(&[name[0], ("server", &server.name)], number(bytes));
            }
        }
        let all = service.servers.iter().flat_map(|server| &server.checks).fold([0_u64; 4], |sums, check| {
            let each = verdicts(&check.answers).map(|(_, count)| count);
            std::array::from_fn(|place| sums[place].saturating_add(each[place]))
        });
        for ((verdict, _), count) in verdicts(&VerdictCounts::default()).into_iter().zip(all) {
            checks.add(&[name[0], ("verdict", verdict)], number(count));
        }
        for (refusal, count) in &service.metrics.refusals {
            refusals.add(&[name[0], ("refusal", refusal)], number(*count));
        }
    }
    vec![state, paused, cordoned, primary, ready, loss, lag, cooldown, findings, breakers, checks, refusals]
}

/// The details.
fn servers(status: &Status) -> Vec<Family<'static>> {
    let mut cordoned =
        Family::new("failover_server_cordoned", "gauge", "1 while an operator's cordon keeps a server from being promoted.");
    let mut checks = Family::new("failover_check_answers_total", "counter", "Answers of a check since the start, by verdict.");
    let mut breakers =
        Family::new("failover_breaker_state", "gauge", "A circuit breaker of the survey: 0 closed, 1 half-open, 2 open.");
    for service in &status.services {
        for server in &service.servers {
            let name = [("service", service.name.as_str()), ("server", server.name.as_str())];
            cordoned.add(&name, truth(server.cordoned));
            for check in &server.checks {
                for (verdict, count) in verdicts(&check.answers) {
                    checks.add(&[name[0], name[1], ("check", &check.name), ("verdict", verdict)], number(count));
                }
            }
        }
    }
    for breaker in &status.breakers {
        let state = match breaker.state.as_str() {
            "open" => 2.0,
            "half_open" => 1.0,
            _ => 0.0,
        };
        let server = breaker.server.as_deref().unwrap_or_default();
        breakers.add(&[("service", &breaker.service), ("server", server), ("dependency", &breaker.dependency)], state);
    }
    vec![cordoned, checks, breakers]
}

fn verdicts(counts: &VerdictCounts) -> [(&'static str, u64); 4] {
    [("up", counts.up), ("impaired", counts.impaired), ("down", counts.down), ("unknown", counts.unknown)]
}

fn failovers(status: &Status) -> Vec<Family<'static>> {
    let mut generation = Family::new("failover_generation", "gauge", "The number of the last failover.");
    let mut ended = Family::new("failover_failovers_total", "counter", "Failovers by how they ended.");
    let mut forced = Family::new("failover_forced_total", "counter", "Failovers that an operator forced, among them.");
    let mut planned = Family::new("failover_switchovers_total", "counter", "Switchovers, among them.");
    let mut verified =
        Family::new("failover_verified_total", "counter", "Failovers that completed with verified traffic, ordered ones apart.");
    let mut success = Family::new("failover_success_ratio", "gauge", "Verified failovers of all that ended, ordered ones apart.");
    let mut judged = Family::new("failover_judged_total", "counter", "Failovers by what is known of their old primary.");
    let mut needless =
        Family::new("failover_false_positives_total", "counter", "Failovers whose old primary was shown to have been serving.");
    let mut needless_rate =
        Family::new("failover_false_positive_ratio", "gauge", "False positives of all failovers, ordered ones apart.");
    let mut detect =
        Family::new("failover_detect_seconds", "summary", "From the first bad observation to the confirmation (MTTD).");
    let mut repair =
        Family::new("failover_repair_seconds", "summary", "From the first bad observation to verified traffic (MTTR).");
    let mut phases = Family::new("failover_last_phase_seconds", "gauge", "The phases of the last failover.");
    let mut total =
        Family::new("failover_last_seconds", "gauge", "The last failover, from the first bad observation to its end.");
    let mut loss = Family::new("failover_last_loss_bytes", "gauge", "The loss of the last failover, if it is known.");
    for service in &status.services {
        let name = [("service", service.name.as_str())];
        let metrics = &service.metrics;
        generation.add(&name, number(service.generation));
        for (outcome, count) in &metrics.failovers {
            ended.add(&[name[0], ("outcome", outcome)], number(*count));
        }
        forced.add(&name, number(metrics.forced));
        planned.add(&name, number(metrics.switchovers));
        verified.add(&name, number(metrics.verified));
        for (verdict, count) in &metrics.judged {
            judged.add(&[name[0], ("verdict", verdict)], number(*count));
        }
        needless.add(&name, number(metrics.judged.get("false_positive").copied().unwrap_or_default()));
        metrics.success_rate.into_iter().for_each(|rate| success.add(&name, rate));
        metrics.false_positive_rate.into_iter().for_each(|rate| needless_rate.add(&name, rate));
        detect.summary(&name, &metrics.mttd);
        repair.summary(&name, &metrics.mttr);
        if let Some(failover) = service.failover.as_ref().filter(|failover| failover.outcome != "in_progress") {
            for phase in &failover.phases {
                phases.add(&[name[0], ("phase", &phase.name)], phase.took_ms / 1_000.0);
            }
            failover.total_ms.into_iter().for_each(|took| total.add(&name, took / 1_000.0));
            failover.loss_bytes.into_iter().for_each(|bytes| loss.add(&name, number(bytes)));
        }
    }
    vec![
        generation,
        ended,
        forced,
        planned,
        verified,
        success,
        judged,
        needless,
        needless_rate,
        detect,
        repair,
        phases,
        total,
        loss,
    ]
}
