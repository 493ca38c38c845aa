//! `failover status`: how the services are, and what would happen if a primary died now.

use std::fmt::Write as _;

use failover::{
    FailoverStatus, FollowStatus, MetricsStatus, ReadinessStatus, ReasonStatus, RejoinStatus, SampleStatus, ServerStatus,
    ServiceStatus, Status,
};

use super::check::{one_finding, said, verdict_paint};
use super::client::Client;
use super::exit::{Code, Trouble};
use super::log::message;
use super::protocol::Request;
use super::receivers;
use super::terminal::{Cell, Paint, Terminal, print, print_json, table};
use super::text::{bytes, moment, printable, span, span_ms};
use super::{arguments, topology};

pub fn run(arguments: &arguments::Status, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let mut client = Client::connect(&arguments.daemon)?;
    if json {
        print_json(&client.ask(&Request::Status { service: arguments.service.clone() })?, terminal)?;
        return Ok(Code::Ok);
    }
    print(&human(&ask(&mut client, arguments.service.as_deref())?, arguments.evidence, terminal))?;
    Ok(Code::Ok)
}

/// The daemon's status.
pub fn ask(client: &mut Client, service: Option<&str>) -> Result<Status, Trouble> {
    let answer = client.ask(&Request::Status { service: service.map(str::to_owned) })?;
    serde_json::from_value(answer).map_err(|error| {
        Trouble::new(Code::Unreachable, format!("the daemon's status cannot be read: {error}"))
            .remedy("`failover --version` of the daemon and of this command must be the same; --json shows it as it is")
    })
}

/// One line for a service manager.
pub fn line(status: &Status) -> String {
    if let Some(fault) = &status.faulted {
        return format!("FAULTED, decisions are frozen: {}", printable(fault));
    }
    let services: Vec<String> = status
        .services
        .iter()
        .map(|service| {
            let primary = service.primary.as_deref().map_or_else(String::new, |primary| format!(", primary {primary}"));
            let paused = paused(service);
            let ready = if service.forecast.would_fail_over { "" } else { ", would not fail over" };
            format!("{}: {}{primary}{paused}{ready}", service.name, service.state)
        })
        .collect();
    services.join("; ")
}

/// No check of the primary says that it serves.
fn is_down(service: &ServiceStatus) -> bool {
    let primary = service.servers.iter().find(|server| Some(&server.name) == service.primary.as_ref());
    primary.is_some_and(|primary| primary.health == "unhealthy")
}

/// What would happen if the primary died now, in one sentence; where it is down, what happens.
pub fn forecast(service: &ServiceStatus) -> String {
    let forecast = &service.forecast;
    let is_application = service.kind == "application";
    let begin = match (is_down(service), is_application) {
        (true, _) => "The primary is down",
        (false, true) => "If the primary failed now",
        (false, false) => "If the primary died now",
    };
    if !forecast.would_fail_over {
        return if is_down(service) {
            format!("{begin}: it does NOT fail over")
        } else {
            format!("{begin}: it would NOT fail over")
        };
    }
    let candidate = forecast.candidate.as_deref().unwrap_or("a standby");
    let follow = forecast.names_ttl_s.map_or_else(String::new, |ttl| format!(", clients by name up to {ttl} s later"));
    if is_application {
        return format!("{begin}: {candidate} would take over{follow}");
    }
    let loss = forecast.loss.as_deref().map_or_else(String::new, |loss| format!("; {}", printable(loss)));
    let fence = forecast.fence_level.map_or_else(String::new, |level| format!(" (fence level {level})"));
    format!("{begin}: {candidate} would be promoted{fence}{follow}{loss}")
}

fn human(status: &Status, with_evidence: bool, terminal: Terminal) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "failover {} {} for {}; {}",
        status.version,
        status.engine,
        span_ms(status.uptime_ms),
        journal(status, terminal)
    );
    if let Some(fault) = &status.faulted {
        let _ =
            writeln!(text, "{}", terminal.stdout(&format!("FAULTED, decisions are frozen: {}", printable(fault)), Paint::Bad));
        text.push_str("  remedy: restart the daemon: the journal resumes where it stopped; report the fault\n");
    }
    if let Some(doubt) = &status.doubt {
        let _ =
            writeln!(text, "{}", terminal.stdout(&format!("In doubt about its own view: {}", printable(doubt)), Paint::Doubtful));
    }
    if status.threads.stuck > 0 {
        let _ = writeln!(
            text,
            "{}",
            terminal.stdout(
                &format!("{} of {} checker threads are stuck", status.threads.stuck, status.threads.workers),
                Paint::Doubtful
            )
        );
    }
    if !status.threads.overdue.is_empty() {
        let names: Vec<String> = status.threads.overdue.iter().map(|name| printable(name)).collect();
        let line = format!("Threads that have not come back in time: {}", names.join(", "));
        let _ = writeln!(text, "{}", terminal.stdout(&line, Paint::Doubtful));
    }
    text.push_str(&receivers::lines(&status.notify, terminal));
    for service in &status.services {
        text.push('\n');
        one_service(&mut text, service, with_evidence, terminal);
    }
    text
}

fn journal(status: &Status, terminal: Terminal) -> String {
    let journal = &status.journal;
    if journal.writable {
        format!("journal {}", journal.path)
    } else {
        let reason = journal.reason.as_deref().unwrap_or("no reason given");
        terminal.stdout(
            &format!("journal {} cannot be written ({}): no failover starts", journal.path, printable(reason)),
            Paint::Bad,
        )
    }
}

fn state_paint(state: &str) -> Paint {
    match state {
        "normal" => Paint::Good,
        "manual_intervention" | "failing" => Paint::Bad,
        _ => Paint::Doubtful,
    }
}

/// That it is, until when, and why.
fn paused(service: &ServiceStatus) -> String {
    if !service.paused {
        return String::new();
    }
    let pause = service.pause.clone().unwrap_or_default();
    let left = pause.left_ms.map_or_else(String::new, |left| format!(" for {} more", span_ms(left)));
    let reason = pause.reason.map_or_else(String::new, |reason| format!(" ({})", printable(&reason)));
    format!(", paused{left}{reason}")
}

fn one_service(text: &mut String, service: &ServiceStatus, with_evidence: bool, terminal: Terminal) {
    let paused = terminal.stdout(&paused(service), Paint::Doubtful);
    // "normal" is no promise: it says that the primary is well.
    let unready = service.state == "normal" && !service.forecast.would_fail_over && !service.paused;
    let (paint, unready) =
        if unready { (Paint::Doubtful, ", but not ready to fail over") } else { (state_paint(&service.state), "") };
    let _ = writeln!(
        text,
        "{} ({}): {} for {}{}{paused}",
        terminal.stdout(&service.name, Paint::Strong),
        service.kind,
        terminal.stdout(&service.state, paint),
        span_ms(service.state_age_ms),
        terminal.stdout(unready, Paint::Doubtful),
    );
    if !service.reason.is_empty() {
        let _ = writeln!(text, "  {}", printable(&service.reason));
    }
    for left in service.pause.iter().flat_map(|pause| &pause.withheld) {
        let line = format!("  Left undone while it is paused: {}", printable(&left.message));
        let _ = writeln!(text, "{}", terminal.stdout(&line, Paint::Doubtful));
    }
    waiting(text, service, terminal);
    let primary = service.primary.as_deref().unwrap_or("not known yet");
    let generation = if service.generation > 0 { format!(" (generation {})", service.generation) } else { String::new() };
    let weight = service.weight_percent.map_or_else(String::new, |share| format!(", {share} % of its weight so far"));
    let _ = writeln!(text, "  Primary: {}{generation}{weight}", terminal.stdout(primary, Paint::Strong));
    text.push_str(&servers(service, terminal));
    topology::tree(text, service, terminal);
    for server in &service.servers {
        for check in server.checks.iter().filter(|check| check.verdict.as_deref().is_some_and(|verdict| verdict != "up")) {
            let verdict = check.verdict.as_deref().unwrap_or_default();
            let line = format!("  {}: {verdict}, {}", check.name, said(&check.reason, &check.message));
            let _ = writeln!(text, "{}", terminal.stdout(&line, verdict_paint(verdict)));
            if !check.remedy.is_empty() {
                let _ = writeln!(text, "    {} {}", terminal.stdout("remedy:", Paint::Strong), printable(&check.remedy));
            }
        }
    }
    if service.failures > 0 {
        let class = service.class.as_deref().map_or_else(String::new, |class| format!("; the evidence says: {class}"));
        let noun = if service.failures == 1 { "observation" } else { "observations" };
        let _ = writeln!(
            text,
            "  {} failed {noun} of the primary (threshold {}){class}",
            service.failures, service.failure_threshold
        );
        for failure in service.recent_failures.iter().rev().take(3) {
            let _ = writeln!(text, "    {} {}: {}", moment(&failure.time), failure.check, said(&failure.cause, &failure.message));
        }
    }
    evidence(text, &service.evidence);
    one_forecast(text, service, terminal);
    topology::tolerance(text, service);
    if let Some(follows) = &service.follows {
        let _ = writeln!(text, "  {}", follow_line(follows));
    }
    if let Some(rejoin) = &service.rejoin {
        let _ = writeln!(text, "  {}", rejoin_line(rejoin));
    }
    if service.cooldown_ms > 0 {
        let _ = writeln!(text, "  Cooldown: {} left", span_ms(service.cooldown_ms));
    }
    if let Some(failover) = &service.failover {
        // While it is under way, what it rests on is news.
        let with_evidence = with_evidence || service.state == "failover_in_progress";
        one_failover(text, failover, with_evidence, terminal);
        if !with_evidence && !failover.evidence.is_empty() {
            let _ = writeln!(text, "    evidence: failover status {} --evidence", service.name);
        }
    }
    metrics(text, &service.metrics, terminal);
    readiness(text, &service.readiness, terminal);
}

/// What waits for a word, or for its moment.
fn waiting(text: &mut String, service: &ServiceStatus, terminal: Terminal) {
    if service.awaiting_confirmation {
        let left = service.confirmation_left_ms.map_or_else(String::new, |left| format!(" (for {} more)", span_ms(left)));
        let line = format!("  A failover waits for confirmation{left}: failover confirm {}", service.name);
        let _ = writeln!(text, "{}", terminal.stdout(&line, Paint::Bad));
    }
    if let Some(planned) = &service.planned_switchover {
        let to = planned.to.as_deref().unwrap_or("the best standby");
        let line = format!(
            "  A switchover to {} begins in {}, at {}: failover switchover {} --cancel takes it back",
            printable(to),
            span_ms(planned.left_ms),
            planned.at,
            service.name
        );
        let _ = writeln!(text, "{}", terminal.stdout(&line, Paint::Doubtful));
    }
}

/// How failovers went so far, once there was one.
fn metrics(text: &mut String, metrics: &MetricsStatus, terminal: Terminal) {
    let ended: Vec<String> = [
        ("completed", "completed"),
        ("rolled_back", "rolled back"),
        ("manual_intervention", "left to a person"),
        ("stopped", "only stopped"),
    ]
    .iter()
    .filter_map(|(outcome, words)| Some((words, *metrics.failovers.get(*outcome)?)))
    .filter(|(_, count)| *count > 0)
    .map(|(words, count)| format!("{count} {words}"))
    .collect();
    if ended.is_empty() {
        return;
    }
    let _ = write!(text, "  Failovers: {}", ended.join(", "));
    if metrics.forced > 0 {
        let _ = write!(text, ", {} of them forced", metrics.forced);
    }
    match metrics.switchovers {
        0 => {}
        1 => text.push_str(", 1 of them a switchover"),
        count => {
            let _ = write!(text, ", {count} of them switchovers");
        }
    }
    for (name, spans) in [("MTTD", &metrics.mttd), ("MTTR", &metrics.mttr)] {
        if let Some(mean) = spans.mean_ms {
            let _ = write!(text, "; {name} {}", span(mean));
        }
    }
    if let Some(rate) = metrics.success_rate {
        let _ = write!(text, "; success {:.0} %", rate * 100.0);
    }
    if let Some(rate) = metrics.false_positive_rate {
        let _ = write!(text, "; false positives {:.0} %", rate * 100.0);
    }
    text.push('\n');
    if let Some(last) = metrics.last.as_ref().filter(|last| !["forced", "planned"].contains(&last.verdict.as_str())) {
        let (words, paint) = match last.verdict.as_str() {
            "justified" => ("was needed", Paint::Good),
            "false_positive" => ("was NOT needed", Paint::Bad),
            _ => ("may or may not have been needed", Paint::Doubtful),
        };
        let words = terminal.stdout(&format!("failover {} {words}", last.generation), paint);
        let _ = writeln!(text, "    {words}: of {}: {}", last.old_primary, printable(&last.why));
    }
}

fn servers(service: &ServiceStatus, terminal: Terminal) -> String {
    let holds_data = service.holds_data();
    let rows = service.servers.iter().map(|server| {
        let health = match server.health.as_str() {
            "healthy" => Paint::Good,
            "unhealthy" => Paint::Bad,
            _ => Paint::Doubtful,
        };
        let mut role = role(server);
        for (flag, word) in [
            (server.deposed && holds_data, ", deposed"),
            (server.fenced, ", fenced"),
            (server.synchronous, ", sync"),
            (server.cordoned, ", cordoned"),
        ] {
            if flag {
                role.push_str(word);
            }
        }
        let mut row =
            vec![Cell::new(&server.name), Cell::new(role), Cell::painted(&server.health, health), Cell::new(last_check(server))];
        if holds_data {
            row.extend(replication(server).map(Cell::new));
        }
        row
    });
    let header: &[&str] = if holds_data {
        &["server", "role", "health", "last check", "timeline", "position", "behind"]
    } else {
        &["server", "role", "health", "last check"]
    };
    table(header, rows.collect(), 2, terminal)
}

/// The role, and of a server that does not answer what it was last seen as.
fn role(server: &ServerStatus) -> String {
    match &server.last_role {
        Some(_) if server.role == "primary" => "primary, not answering".to_owned(),
        Some(last) => format!("not answering, last seen {last}"),
        None => server.role.clone(),
    }
}

fn last_check(server: &ServerStatus) -> String {
    let answered = server.checks.iter().filter(|check| check.verdict.is_some());
    answered.min_by_key(|check| check.age_ms).map_or_else(
        || "none yet".to_owned(),
        |check| {
            let verdict = check.verdict.as_deref().unwrap_or_default();
            format!("{verdict} in {}, {} ago", span(check.latency_ms), span_ms(check.age_ms))
        },
    )
}

fn replication(server: &ServerStatus) -> [String; 3] {
    let Some(sample) = &server.sample else { return [String::from("-"), String::from("-"), String::from("-")] };
    let position = if sample.in_recovery { sample.receive.as_ref().or(sample.replay.as_ref()) } else { sample.flush.as_ref() };
    let behind = match (sample.in_recovery, sample.lag_bytes) {
        (false, _) => "-".to_owned(),
        (true, Some(lag)) => format!("{}, {}{}", bytes(lag), sample.receiver.replace('_', " "), to_replay(sample)),
        (true, None) => format!("unknown, {}{}", sample.receiver.replace('_', " "), to_replay(sample)),
    };
    [sample.timeline.to_string(), position.cloned().unwrap_or_else(|| "-".to_owned()), behind]
}

/// What a promotion would have to replay first.
fn to_replay(sample: &SampleStatus) -> String {
    let left = sample.to_replay_bytes.filter(|left| *left > 0);
    left.map_or_else(String::new, |left| format!(", {} to replay", bytes(left)))
}

fn one_forecast(text: &mut String, service: &ServiceStatus, terminal: Terminal) {
    let paint = if service.forecast.would_fail_over { Paint::Good } else { Paint::Bad };
    let _ = writeln!(text, "  {}", terminal.stdout(&forecast(service), paint));
    if service.forecast.would_fail_over {
        for server in &service.servers {
            if let Some(reason) = &server.not_promotable {
                let what = service.takes_over_by();
                let line = format!("    {} could not {what}: {}", server.name, printable(&reason.message));
                let _ = writeln!(text, "{}", terminal.stdout(&line, Paint::Doubtful));
                remedy_line(text, &reason.remedy, terminal);
            }
        }
        return;
    }
    let mut told: Vec<String> = Vec::new();
    for reason in &service.forecast.reasons {
        let kind = without_names(service, &format!("{} {}", reason.code, reason.message));
        if told.contains(&kind) {
            continue;
        }
        let is_alike = |other: &&ReasonStatus| without_names(service, &format!("{} {}", other.code, other.message)) == kind;
        let alike = service.forecast.reasons.iter().filter(is_alike).count();
        told.push(kind);
        let times = if alike > 1 { format!(" ({alike} times alike)") } else { String::new() };
        let _ = writeln!(text, "    {}: {}{times}", reason.code, printable(&reason.message));
        remedy_line(text, &reason.remedy, terminal);
        if reason.code == "no_candidate" {
            standby_remedies(text, service, terminal);
        }
    }
}

/// What would make each standby fit to be promoted.
fn standby_remedies(text: &mut String, service: &ServiceStatus, terminal: Terminal) {
    for server in &service.servers {
        let Some(reason) = &server.not_promotable else { continue };
        if !reason.remedy.is_empty() {
            let word = terminal.stdout("remedy:", Paint::Strong);
            let _ = writeln!(text, "      {} {}: {word} {}", server.name, reason.code, printable(&reason.remedy));
        }
    }
}

fn remedy_line(text: &mut String, remedy: &str, terminal: Terminal) {
    if !remedy.is_empty() {
        let _ = writeln!(text, "      {} {}", terminal.stdout("remedy:", Paint::Strong), printable(remedy));
    }
}

/// What an old primary that comes back is doing, or how that ended.
fn rejoin_line(rejoin: &RejoinStatus) -> String {
    let server = printable(&rejoin.server);
    let lost = match (rejoin.lost_bytes, rejoin.lost_commits) {
        (None | Some(0), _) => String::new(),
        (Some(lost), None) => format!("; {} of its log are in no other", bytes(lost)),
        (Some(lost), Some(commits)) => format!("; {} of its log, with {commits} commits, are in no other", bytes(lost)),
    };
    match &rejoin.doing {
        Some(doing) => {
            let percent = rejoin.percent.map_or_else(String::new, |percent| format!(" {percent} %"));
            format!("Return of {server}: {}{percent}{lost}", printable(&doing.replace('_', " ")))
        }
        None => format!("Return of {server}: {}: {}{lost}", printable(&rejoin.outcome), printable(&rejoin.message)),
    }
}

/// How far a service is with following another one.
fn follow_line(follows: &FollowStatus) -> String {
    let service = printable(&follows.service);
    match (&follows.following, &follows.error, &follows.followed) {
        (Some(server), Some(why), _) => {
            format!("Follows {service}: not yet to {}, tried again: {}", printable(server), printable(why))
        }
        (Some(server), None, _) => format!("Follows {service}: on its way to {}", printable(server)),
        (None, _, Some(server)) => format!("Follows {service}: {} is the primary there", printable(server)),
        (None, _, None) => format!("Follows {service}: no primary was seen there yet"),
    }
}

/// How a failover ended, for people.
pub fn last_failover(failover: &FailoverStatus, terminal: Terminal) -> String {
    let mut text = String::new();
    one_failover(&mut text, failover, true, terminal);
    text
}

fn one_failover(text: &mut String, failover: &FailoverStatus, with_evidence: bool, terminal: Terminal) {
    let paint = match failover.outcome.as_str() {
        "completed" => Paint::Good,
        "manual_intervention" => Paint::Bad,
        _ => Paint::Doubtful,
    };
    let from = failover.from.as_deref().unwrap_or("unknown");
    let to = failover.to.as_deref().unwrap_or("nobody yet");
    let _ = write!(
        text,
        "  Last failover: generation {}, {}, {from} -> {to}, {}",
        failover.generation,
        moment(&failover.started),
        terminal.stdout(&failover.outcome, paint)
    );
    if let Some(total) = failover.total_ms {
        let _ = write!(text, " in {}", span(total));
    }
    if let Some(class) = &failover.class {
        let _ = write!(text, ", {class}");
    }
    if let Some(level) = failover.fence_level.filter(|level| *level > 0) {
        let _ = write!(text, ", fence level {level}");
    }
    // Without a promotion there is nothing that could be missing.
    if let Some(loss) = failover.loss.as_ref().filter(|_| failover.phases.iter().any(|phase| phase.name == "promote")) {
        let _ = write!(text, "; {}", printable(loss));
    }
    text.push('\n');
    if !failover.reason.is_empty() {
        let _ = writeln!(text, "    {}", terminal.stdout(&printable(&failover.reason), paint));
    }
    if !failover.phases.is_empty() {
        let phases: Vec<String> = failover.phases.iter().map(|phase| format!("{} {}", phase.name, span(phase.took_ms))).collect();
        let _ = writeln!(text, "    {}", phases.join(", "));
    }
    for step in failover.steps.iter().filter(|step| step.outcome != "ok") {
        let line = format!("    step {} {}: {}, {}", step.name, step.target, step.outcome, printable(&step.message));
        let _ = writeln!(text, "{}", line.trim_end_matches([',', ' ']));
    }
    if let Some(proof) = &failover.fence_proof {
        let _ = writeln!(text, "    fence: {}", printable(proof));
    }
    if with_evidence {
        evidence(text, &failover.evidence);
    }
    for line in &failover.warnings {
        let _ = writeln!(text, "    {}", terminal.stdout(&format!("warning: {}", printable(line)), Paint::Doubtful));
    }
    if let Some(why) = &failover.undone {
        let _ = writeln!(text, "    undone: {}", printable(why));
    }
    for line in &failover.not_undone {
        let _ = writeln!(text, "    {}", terminal.stdout(&format!("could not be undone: {}", printable(line)), Paint::Bad));
    }
}

/// The first and the last lines: a long suspicion says the same many times. All of it is in the events and in the JSON.
fn evidence(text: &mut String, lines: &[String]) {
    const FIRST: usize = 3;
    const LAST: usize = 5;
    let lines = counted(lines);
    let left_out = lines.len().saturating_sub(FIRST + LAST);
    for (number, line) in lines.iter().enumerate() {
        if left_out > 1 && number == FIRST {
            let _ = writeln!(text, "    evidence: ... {left_out} more, see --json ...");
        }
        if left_out <= 1 || !(FIRST..FIRST + left_out).contains(&number) {
            let _ = writeln!(text, "    evidence: {}", printable(line));
        }
    }
}

/// Lines that say the same but for times are one line: the last of them, with how many there are.
fn counted(lines: &[String]) -> Vec<String> {
    let mut seen: Vec<(String, &String, usize)> = Vec::new();
    for line in lines {
        let kind = timeless(line);
        match seen.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, last, count)) => (*last, *count) = (line, *count + 1),
            None => seen.push((kind, line, 1)),
        }
    }
    let words = |(_, line, count): &(String, &String, usize)| match count {
        1 => (*line).clone(),
        _ => format!("{line} ({count} times, this is the last)"),
    };
    seen.iter().map(words).collect()
}

/// A line without its times: numbers before a unit of time. Names, ports and positions stay.
fn timeless(line: &str) -> String {
    const MARKS: [char; 5] = ['(', ')', ',', ';', ':'];
    let words: Vec<&str> = line.split(' ').collect();
    let is_time = |(at, word): (usize, &&str)| {
        let unit = words.get(at + 1).map(|unit| unit.trim_matches(MARKS));
        word.trim_matches(MARKS).parse::<f64>().is_ok() && matches!(unit, Some("ms" | "s" | "min" | "h"))
    };
    words.iter().enumerate().map(|(at, word)| if is_time((at, word)) { "0" } else { *word }).collect::<Vec<_>>().join(" ")
}

fn readiness(text: &mut String, findings: &[ReadinessStatus], terminal: Terminal) {
    if findings.is_empty() {
        return;
    }
    text.push_str("  Readiness:\n");
    for finding in together(findings) {
        let mut lines = String::new();
        one_finding(&mut lines, &finding, true, terminal);
        lines.lines().for_each(|line| text.extend(["  ", line, "\n"]));
    }
}

/// What is the same of several servers, as one finding about all of them.
fn together(findings: &[ReadinessStatus]) -> Vec<ReadinessStatus> {
    let said = |finding: &ReadinessStatus| message(finding.server.as_deref(), &finding.message);
    let mut kinds: Vec<ReadinessStatus> = Vec::new();
    for finding in findings {
        let same = |kind: &&mut ReadinessStatus| {
            kind.server.is_some()
                && finding.server.is_some()
                && (&kind.code, kind.blocking, &kind.message) == (&finding.code, finding.blocking, &said(finding))
                && kind.remedy == finding.remedy
        };
        if let Some(kind) = kinds.iter_mut().find(same) {
            let servers = [kind.server.as_deref(), finding.server.as_deref()];
            kind.server = Some(servers.into_iter().flatten().collect::<Vec<_>>().join(", "));
            kind.asked_ms = kind.asked_ms.max(finding.asked_ms);
        } else {
            let mut kind = finding.clone();
            kind.message = said(finding);
            kinds.push(kind);
        }
    }
    kinds
}

/// A text without the names of the servers and without numbers: what says the same of others is alike.
fn without_names(service: &ServiceStatus, text: &str) -> String {
    let mut text = text.to_owned();
    for server in &service.servers {
        text = text.replace(&server.name, "");
    }
    text.retain(|c| !c.is_ascii_digit());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made::made;
    use expect_test::expect;
    use failover::{
        CheckStatus, FailureStatus, ForecastStatus, JournalStatus, JudgedStatus, PhaseStatus, ReasonStatus, SpansStatus,
        StepStatus, ThreadStatus, VerdictCounts,
    };

    fn check(server: &str, verdict: &str, reason: &str, message: &str) -> CheckStatus {
        made!(CheckStatus {
            name: format!("{server}/postgres"),
            kind: "postgres".into(),
            health: "healthy".into(),
            verdict: Some(verdict.into()),
            reason: reason.into(),
            message: message.into(),
            latency_ms: 0.8,
            age_ms: 210,
            failures: 0,
            answers: made!(VerdictCounts { up: 720, ..VerdictCounts::default() }),
        })
    }

    fn pair() -> ServiceStatus {
        let sample = |in_recovery: bool| {
            made!(SampleStatus {
                age_ms: 20,
                in_recovery,
                system_id: "7".into(),
                timeline: 3,
                flush: (!in_recovery).then(|| "0/5000148".into()),
                receive: in_recovery.then(|| "0/5000100".into()),
                replay: in_recovery.then(|| "0/5000100".into()),
                receiver: if in_recovery { "streaming".into() } else { "absent".into() },
                lag_bytes: in_recovery.then_some(72),
                to_replay_bytes: in_recovery.then_some(0),
                sync_names: String::new(),
            })
        };
        let server = |name: &str, role: &str| {
            made!(ServerStatus {
                name: name.into(),
                role: role.into(),
                configured_role: role.into(),
                health: "healthy".into(),
                session: true,
                fenced: false,
                checks: vec![check(name, "up", "", "fine")],
                sample: Some(sample(role == "standby")),
                ..ServerStatus::default()
            })
        };
        made!(ServiceStatus {
            name: "orders".into(),
            kind: "postgres".into(),
            state: "normal".into(),
            state_age_ms: 720_000,
            primary: Some("db1".into()),
            failure_threshold: 3,
            servers: vec![server("db1", "primary"), server("db2", "standby")],
            forecast: made!(ForecastStatus {
                would_fail_over: true,
                candidate: Some("db2".into()),
                loss_bytes: Some(72),
                loss: Some("about 72 bytes of log may be missing; its last 197 ms were not seen".into()),
                fence_level: Some(3),
                message: String::new(),
                reasons: Vec::new(),
                ..ForecastStatus::default()
            }),
            ..ServiceStatus::default()
        })
    }

    fn around(service: ServiceStatus) -> Status {
        made!(Status {
            version: "0.1.0".into(),
            engine: "running".into(),
            uptime_ms: 7_380_000,
            threads: made!(ThreadStatus { workers: 2, ..ThreadStatus::default() }),
            journal: made!(JournalStatus { path: "/var/lib/failover/journal".into(), writable: true, reason: None, sequence: 4 }),
            services: vec![service],
            ..Status::default()
        })
    }

    #[test]
    fn a_healthy_pair() {
        expect![[r"
            failover 0.1.0 running for 2 h 3 min; journal /var/lib/failover/journal

            orders (postgres): normal for 12 min
              Primary: db1
              server  role     health   last check                timeline  position   behind
              db1     primary  healthy  up in 0.8 ms, 210 ms ago  3         0/5000148  -
              db2     standby  healthy  up in 0.8 ms, 210 ms ago  3         0/5000100  72 B, streaming
              If the primary died now: db2 would be promoted (fence level 3); about 72 bytes of log may be missing; its last 197 ms were not seen
        "]]
        .assert_eq(&human(&around(pair()), false, Terminal::default()));
        assert_eq!(line(&around(pair())), "orders: normal, primary db1");
    }

    /// "normal" is what the primary is; that nobody could take its place is in the same line.
    #[test]
    fn a_pair_that_would_not_fail_over_says_so_in_its_heading() {
        let mut service = pair();
        service.forecast.would_fail_over = false;
        let heading = |service: &ServiceStatus| {
            let told = human(&around(service.clone()), false, Terminal::default());
            told.lines().find(|line| line.starts_with("orders (")).unwrap_or_default().to_owned()
        };
        assert_eq!(heading(&service), "orders (postgres): normal for 12 min, but not ready to fail over");
        service.paused = true;
        assert_eq!(heading(&service), "orders (postgres): normal for 12 min, paused");
        service.paused = false;
        service.state = "manual_intervention".into();
        assert_eq!(heading(&service), "orders (postgres): manual_intervention for 12 min");
    }

    /// What a promotion would have to replay first is seen before it.
    #[test]
    fn what_is_not_replayed_is_seen() {
        let mut service = pair();
        service.servers[1].sample.as_mut().unwrap().to_replay_bytes = Some(637_488);
        let told = human(&around(service), false, Terminal::default());
        assert!(told.contains("72 B, streaming, 622.5 KiB to replay\n"), "{told}");
    }

    /// A standby that could not be promoted has a remedy, whether another one could be or nobody.
    #[test]
    fn each_standby_has_its_remedy() {
        let mut service = pair();
        let why = "db3 has 96 bytes of log that it lacks, and cannot be promoted itself";
        let remedy = "make the other server fit to be promoted";
        let behind = made!(ReasonStatus { code: "behind".into(), message: why.into(), remedy: remedy.into() });
        service.servers[1].not_promotable = Some(behind);
        let told = human(&around(service.clone()), false, Terminal::default());
        assert!(told.contains(&format!("    db2 could not be promoted: {why}\n      remedy: {remedy}\n")), "{told}");
        let nobody = made!(ReasonStatus { code: "no_candidate".into(), message: "no standby can take over".into() });
        service.forecast = made!(ForecastStatus { would_fail_over: false, reasons: vec![nobody], ..ForecastStatus::default() });
        let told = human(&around(service), false, Terminal::default());
        assert!(told.contains(&format!("      db2 behind: remedy: {remedy}\n")), "{told}");
    }

    #[test]
    fn what_is_the_same_of_several_is_told_once() {
        let mut service = pair();
        service.servers[0].health = "unhealthy".into();
        service.forecast.would_fail_over = false;
        let reason = |server: &str, ago: u32| {
            made!(ReasonStatus {
                code: "not_ready".into(),
                message: format!("{server} was not seen for {ago} s"),
                remedy: "look".into()
            })
        };
        service.forecast.reasons = vec![reason("db1", 3), reason("db2", 14)];
        let finding = |server: &str| {
            made!(ReadinessStatus {
                server: Some(server.into()),
                code: "fsync_off".into(),
                message: format!("{server}: fsync is off"),
                remedy: "turn it on".into(),
                asked_ms: 1_000,
            })
        };
        service.readiness = vec![finding("db1"), finding("db2")];
        let text = human(&around(service.clone()), false, Terminal::default());
        expect![[r"
            ...
              The primary is down: it does NOT fail over
                not_ready: db1 was not seen for 3 s (2 times alike)
                  remedy: look
              Readiness:
                warning db1, db2 fsync_off: fsync is off (seen 1.0 s ago)
                  remedy: turn it on
        "]]
        .assert_eq(&format!("...\n{}", text.split_inclusive('\n').skip(7).collect::<String>()));
        // The evidence of a failover that is under way is shown, and of one that is over for whoever asks.
        service.failover = Some(made!(FailoverStatus { evidence: vec!["it is gone".into()] }));
        let shown =
            |service: &ServiceStatus, asked| human(&around(service.clone()), asked, Terminal::default()).contains("it is gone");
        assert!(!shown(&service, false) && shown(&service, true));
        service.state = "failover_in_progress".into();
        assert!(shown(&service, false));
    }

    #[test]
    fn everything_that_can_be_wrong() {
        let mut service = pair();
        service.state = "manual_intervention".into();
        service.reason = "the fence could not be proven".into();
        service.paused = true;
        service.generation = 2;
        service.failures = 2;
        service.class = Some("dead".into());
        service.recent_failures = vec![made!(FailureStatus {
            time: "2026-01-02T03:04:05.000006Z".into(),
            check: "db1/postgres".into(),
            server: "db1".into(),
            cause: "refused".into(),
            message: "127.0.0.1:5432: connection refused".into(),
        })];
        service.servers[0].health = "unhealthy".into();
        service.servers[0].fenced = true;
        service.servers[0].sample = None;
        service.servers[0].checks = vec![check("db1", "down", "refused", "127.0.0.1:5432: connection\x1b[2J refused")];
        service.servers[1].checks = Vec::new();
        service.forecast = made!(ForecastStatus {
            would_fail_over: false,
            reasons: vec![
                made!(ReasonStatus {
                    code: "paused".into(),
                    message: "paused by an operator".into(),
                    remedy: "failover resume orders".into(),
                }),
                made!(ReasonStatus { code: "not_warmed_up".into(), message: "not every check has answered".into() }),
            ],
            ..ForecastStatus::default()
        });
        service.cooldown_ms = 299_000;
        service.failover = Some(made!(FailoverStatus {
            generation: 2,
            started: "2026-01-02T03:04:05.000006Z".into(),
            outcome: "manual_intervention".into(),
            from: Some("db1".into()),
            to: None,
            class: Some("dead".into()),
            loss_bytes: None,
            fence_level: Some(1),
            total_ms: Some(10_412.0),
            phases: vec![
                made!(PhaseStatus { name: "detect".into(), took_ms: 4.0 }),
                made!(PhaseStatus { name: "confirm".into(), took_ms: 81.0 }),
            ],
            steps: vec![made!(StepStatus {
                name: "fence".into(),
                target: "db1".into(),
                outcome: "failed".into(),
                took_ms: Some(10_000.0),
                message: "a process is in state D".into(),
            })],
            evidence: vec!["the kept session was closed".into()],
            reason: "the fence could not be proven".into(),
            fence_proof: Some("two processes are left".into()),
            warnings: vec!["the route was out of reach".into()],
            undone: Some("the fence failed".into()),
            not_undone: vec!["haproxy lb1: connection refused".into()],
            ..FailoverStatus::default()
        }));
        let counts = |list: &[(&str, u64)]| list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let spans = |mean: f64| made!(SpansStatus { count: 2, mean_ms: Some(mean), ..SpansStatus::default() });
        service.metrics = made!(MetricsStatus {
            failovers: counts(&[("completed", 1), ("manual_intervention", 1), ("rolled_back", 0)]),
            forced: 1,
            success_rate: Some(2.0 / 3.0),
            false_positive_rate: Some(0.5),
            mttd: spans(81.0),
            mttr: spans(412.0),
            last: Some(made!(JudgedStatus {
                generation: 2,
                old_primary: "db1".into(),
                verdict: "false_positive".into(),
                why: "a new connection was served".into(),
            })),
            ..MetricsStatus::default()
        });
        service.readiness = vec![made!(ReadinessStatus {
            server: Some("db2".into()),
            code: "slow_receiver_timeout".into(),
            blocking: false,
            message: "db2: wal_receiver_timeout is 60 s".into(),
            why: "it hides a dead link".into(),
            remedy: "set it to 5 s".into(),
            asked_ms: 4_200,
        })];
        let mut status = around(service);
        status.doubt = Some("the engine itself was paused".into());
        status.journal.writable = false;
        status.journal.reason = Some("no space left on device".into());
        expect![[r"
            failover 0.1.0 running for 2 h 3 min; journal /var/lib/failover/journal cannot be written (no space left on device): no failover starts
            In doubt about its own view: the engine itself was paused

            orders (postgres): manual_intervention for 12 min, paused
              the fence could not be proven
              Primary: db1 (generation 2)
              server  role             health     last check                  timeline  position   behind
              db1     primary, fenced  unhealthy  down in 0.8 ms, 210 ms ago  -         -          -
              db2     standby          healthy    none yet                    3         0/5000100  72 B, streaming
              db1/postgres: down, refused: 127.0.0.1:5432: connection\u{1b}[2J refused
              2 failed observations of the primary (threshold 3); the evidence says: dead
                2026-01-02T03:04:05.000Z db1/postgres: refused: 127.0.0.1:5432: connection refused
              The primary is down: it does NOT fail over
                paused: paused by an operator
                  remedy: failover resume orders
                not_warmed_up: not every check has answered
              Cooldown: 4 min left
              Last failover: generation 2, 2026-01-02T03:04:05.000Z, db1 -> nobody yet, manual_intervention in 10.4 s, dead, fence level 1
                the fence could not be proven
                detect 4.0 ms, confirm 81 ms
                step fence db1: failed, a process is in state D
                fence: two processes are left
                warning: the route was out of reach
                undone: the fence failed
                could not be undone: haproxy lb1: connection refused
                evidence: failover status orders --evidence
              Failovers: 1 completed, 1 left to a person, 1 of them forced; MTTD 81 ms; MTTR 412 ms; success 67 %; false positives 50 %
                failover 2 was NOT needed: of db1: a new connection was served
              Readiness:
                warning db2 slow_receiver_timeout: wal_receiver_timeout is 60 s (seen 4.2 s ago)
                  why: it hides a dead link
                  remedy: set it to 5 s
        "]].assert_eq(&human(&status, false, Terminal::default()));
        assert_eq!(line(&status), "orders: manual_intervention, primary db1, paused, would not fail over");
    }

    #[test]
    fn an_application_has_words_of_its_own() {
        let mut service = pair();
        service.kind = "application".into();
        service.weight_percent = Some(30);
        service.servers[1].deposed = true;
        expect![[r"
            failover 0.1.0 running for 2 h 3 min; journal /var/lib/failover/journal

            orders (application): normal for 12 min
              Primary: db1, 30 % of its weight so far
              server  role     health   last check
              db1     primary  healthy  up in 0.8 ms, 210 ms ago
              db2     standby  healthy  up in 0.8 ms, 210 ms ago
              If the primary failed now: db2 would take over
        "]]
        .assert_eq(&human(&around(service), false, Terminal::default()));
    }

    #[test]
    fn who_does_not_answer_is_not_shown_as_what_he_was() {
        let mut server = pair().servers.remove(1);
        assert_eq!(role(&server), "standby");
        server.last_role = Some("writable".into());
        server.role = "unknown".into();
        assert_eq!(role(&server), "not answering, last seen writable");
        server.role = "primary".into();
        assert_eq!(role(&server), "primary, not answering");
    }

    #[test]
    fn long_evidence_is_shortened_in_the_middle() {
        let lines: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
        let shown = |count: usize| {
            let mut text = String::new();
            evidence(&mut text, &lines[..count]);
            text.lines().map(|line| line.trim_start_matches("    evidence: ").to_owned()).collect::<Vec<String>>().join(" ")
        };
        assert_eq!(shown(9), "1 2 3 4 5 6 7 8 9");
        assert_eq!(shown(20), "1 2 3 ... 12 more, see --json ... 16 17 18 19 20");
    }

    #[test]
    fn threads_that_do_not_come_back_are_named() {
        let mut status = around(pair());
        status.threads.stuck = 1;
        status.threads.overdue = vec!["fo-act-0".into(), "fo-survey-0".into()];
        let text = human(&status, false, Terminal::default());
        assert!(text.contains("1 of 2 checker threads are stuck\n"), "{text}");
        assert!(text.contains("Threads that have not come back in time: fo-act-0, fo-survey-0\n"), "{text}");
    }

    #[test]
    fn evidence_that_repeats_is_one_line_with_a_count() {
        let mut text = String::new();
        let lines = [
            "db1 refused after 0.3 ms",
            "db1 refused after 12 ms (late)",
            "db1 refused after 4 ms",
            "db2 refused after 4 ms",
            "port 1",
            "port 2",
        ];
        evidence(&mut text, &lines.map(str::to_owned));
        let lines: Vec<&str> = text.lines().map(|line| line.trim_start_matches("    evidence: ")).collect();
        assert_eq!(
            lines,
            [
                "db1 refused after 4 ms (2 times, this is the last)",
                "db1 refused after 12 ms (late)",
                "db2 refused after 4 ms",
                "port 1",
                "port 2"
            ]
        );
    }

    #[test]
    fn a_fault_is_the_first_thing_that_is_said() {
        let mut status = around(pair());
        status.faulted = Some("index out of bounds".into());
        assert_eq!(line(&status), "FAULTED, decisions are frozen: index out of bounds");
        assert!(human(&status, false, Terminal::default()).lines().nth(1).is_some_and(|line| line.starts_with("FAULTED")));
    }

    #[test]
    fn what_an_old_primary_is_doing_is_one_line() {
        let made = |doing: Option<&str>, percent, commits| {
            let mut rejoin = RejoinStatus::default();
            (rejoin.server, rejoin.outcome, rejoin.message) = ("db1".into(), "completed".into(), "db1 streams from db2".into());
            (rejoin.doing, rejoin.percent) = (doing.map(str::to_owned), percent);
            (rejoin.lost_bytes, rejoin.lost_commits) = (Some(2048), commits);
            rejoin_line(&rejoin)
        };
        assert_eq!(
            made(Some("rewinding"), Some(43), Some(7)),
            "Return of db1: rewinding 43 %; 2.0 KiB of its log, with 7 commits, are in no other"
        );
        assert_eq!(made(None, None, None), "Return of db1: completed: db1 streams from db2; 2.0 KiB of its log are in no other");
    }
}
