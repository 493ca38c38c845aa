//! The JSON that each kind of receiver accepts.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Line, Message, cut};
use crate::config::{NotifyFormat, Webhook};
use failover_core::event::Severity;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes of text for Teams, which takes 28 KB in all, and for Slack, which takes 40,000 characters.
const CHAT: usize = 16_000;
/// An alert that nobody ends is over by itself then: Alertmanager waits for a word of its end no longer.
const ENDS_LATE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What has no end is shown so long.
const SHOWN: Duration = Duration::from_secs(60 * 60);

/// A request.
pub(super) struct Post {
    pub(super) url: String,
    pub(super) body: Vec<u8>,
    /// An answer that there is nothing to close is a good one.
    pub(super) takes_conflict: bool,
}

/// The request for a message.
pub(super) fn post(webhook: &Webhook, message: &Message, now: SystemTime) -> Post {
    let mut url = webhook.url.secret.expose().to_owned();
    let mut takes_conflict = false;
    let body = match webhook.format {
        NotifyFormat::Json => message.json(),
        NotifyFormat::Slack => slack(message),
        NotifyFormat::Teams => teams(message),
        NotifyFormat::Alertmanager => alertmanager(message, now),
        NotifyFormat::Pagerduty => {
            let key = webhook.routing_key.as_ref().map_or("", |key| key.secret.expose());
            message.lines.first().map_or(Value::Null, |line| pagerduty(line, key))
        }
        NotifyFormat::Opsgenie => match message.lines.first() {
            Some(line) if line.over => {
                takes_conflict = true;
                url = format!("{}/{}/close?identifierType=alias", url.trim_end_matches('/'), alias(line));
                json!({ "source": "failover", "note": cut(line.message(), 1_000) })
            }
            Some(line) => opsgenie(line),
            None => Value::Null,
        },
        NotifyFormat::Ntfy => {
            let (base, topic) = topic(&url);
            let body = ntfy(message, topic);
            url = base;
            body
        }
    };
    Post { url, body: body.to_string().into_bytes(), takes_conflict }
}

/// Subject and lines, as many as fit; the others are counted.
fn lines_within(message: &Message, most: usize) -> Vec<String> {
    let mut shown = Vec::new();
    let mut room = most;
    for line in &message.lines {
        let text = match line.remedy().filter(|_| !line.over) {
            Some(remedy) => format!("{}\nRemedy: {}", line.sentence(), cut(remedy, 500)),
            None => line.sentence(),
        };
        let Some(left) = room.checked_sub(text.len()) else { break };
        room = left;
        shown.push(text);
    }
    let more = message.lines.len() - shown.len();
    if more > 0 {
        shown.push(format!("and {more} more: failover events"));
    }
    shown
}

fn slack(message: &Message) -> Value {
    let text = format!("*{}*\n{}", message.subject(), lines_within(message, CHAT).join("\n"));
    json!({ "text": text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;") })
}

fn teams(message: &Message) -> Value {
    let block = |text: &str, bold: bool| {
        let weight = if bold { "Bolder" } else { "Default" };
        json!({ "type": "TextBlock", "text": text, "wrap": true, "weight": weight })
    };
    let mut body = vec![block(&message.subject(), true)];
    body.extend(lines_within(message, CHAT).iter().map(|line| block(line, false)));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

fn pagerduty(line: &Line, routing_key: &str) -> Value {
    let action = if line.over { "resolve" } else { "trigger" };
    let severity = match line.severity {
        Severity::Alarm => "critical",
        Severity::Warning => "warning",
        Severity::Info | Severity::Debug => "info",
    };
    json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": alias(line),
        "payload": {
            "summary": cut(&line.sentence(), 1_000),
            "source": line.about(),
            "severity": severity,
            "timestamp": line.time(),
            "component": line.server,
            "group": line.service,
            "class": line.kind,
            "custom_details": line.event,
        },
    })
}

fn opsgenie(line: &Line) -> Value {
    let priority = match line.severity {
        Severity::Alarm => "P1",
        Severity::Warning => "P3",
        Severity::Info | Severity::Debug => "P5",
    };
    let remedy = line.remedy().map_or_else(String::new, |remedy| format!("\nRemedy: {remedy}"));
    json!({
        "message": cut(&line.sentence(), 125),
        "alias": alias(line),
        "description": cut(&format!("{}{remedy}", line.sentence()), 14_000),
        "source": "failover",
        "entity": line.about(),
        "priority": priority,
        "tags": ["failover", line.kind],
        "details": { "id": line.id, "time": line.time(), "kind": line.kind },
    })
}

fn alertmanager(message: &Message, now: SystemTime) -> Value {
    let at = |moment: SystemTime| OffsetDateTime::from(moment).format(&Rfc3339).unwrap_or_default();
    let alert = |line: &Line| {
        let mut labels = Map::new();
        let mut label = |name: &str, value: &str| drop(labels.insert(name.to_owned(), Value::from(value)));
        label("alertname", &format!("failover_{}", line.kind));
        label("severity", line.severity.as_str());
        label("key", &line.key);
        for (name, value) in [("service", &line.service), ("server", &line.server)] {
            if let Some(value) = value {
                label(name, value);
            }
        }
        let ends = match (line.over, line.ends) {
            (true, _) => now,
            (false, true) => now + ENDS_LATE,
            (false, false) => now + SHOWN,
        };
        let mut alert = json!({
            "labels": labels,
            "annotations": { "summary": line.message(), "remedy": line.remedy().unwrap_or_default() },
            "endsAt": at(ends),
        });
        if !line.over {
            alert["startsAt"] = Value::from(line.time());
        }
        alert
    };
    Value::Array(message.lines.iter().map(alert).collect())
}

fn ntfy(message: &Message, topic: &str) -> Value {
    let (priority, tag) = match message.severity() {
        _ if message.is_over() => (3, "white_check_mark"),
        Severity::Alarm => (5, "rotating_light"),
        Severity::Warning => (4, "warning"),
        Severity::Info | Severity::Debug => (3, "information_source"),
    };
    // Longer ones become an attachment.
    let text = lines_within(message, 3_500).join("\n");
    json!({ "topic": topic, "title": message.subject(), "message": text, "priority": priority, "tags": [tag] })
}

/// The place of the server and the topic in a URL.
fn topic(url: &str) -> (String, &str) {
    let (path, query) = url.split_once('?').map_or((url, ""), |(path, query)| (path, query));
    let (base, topic) = path.rsplit_once('/').unwrap_or((path, ""));
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    (format!("{base}/{query}"), topic)
}

/// The key in letters that stand in every URL, and not too long for anybody.
fn alias(line: &Line) -> String {
    let plain: String =
        line.key.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).take(80).collect();
    let sum = Sha256::digest(line.key.as_bytes());
    format!("failover-{plain}-{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}", sum[0], sum[1], sum[2], sum[3], sum[4], sum[5])
}
