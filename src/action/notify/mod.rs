//! Telling somebody what happened: a webhook, a mail, a command. One message, one attempt, one deadline; queue, retries and filters
//! are the engine's (`engine::notify`).

mod command;
#[cfg(feature = "email")]
mod email;
mod formats;
mod scrub;
mod webhook;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Notify, NotifyFormat, NotifyTarget};
use crate::deadline::{Cancel, Deadline};
use crate::wire::resolve::Addresses;
use failover_core::event::Severity;

use scrub::Scrubber;

/// Characters of a subject.
const SUBJECT: usize = 200;
/// Characters of one line.
const LINE: usize = 2_000;

/// One event, as a receiver is told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The same at every attempt, and of no other event of any engine: by it a receiver knows what it was told before.
    pub(crate) id: String,
    /// What it is about. What is over has the key of what began.
    pub(crate) key: String,
    /// It says that what has this key is over.
    pub(crate) over: bool,
    /// Its end will be told.
    pub(crate) ends: bool,
    /// Of what began.
    pub(crate) severity: Severity,
    /// Of what began.
    pub(crate) kind: String,
    /// What tells it from others of its kind.
    pub(crate) reason: String,
    pub(crate) service: Option<String>,
    pub(crate) server: Option<String>,
    /// The event itself.
    pub(crate) event: Map<String, Value>,
}

impl Line {
    fn text_of(&self, name: &str) -> &str {
        self.event.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// What happened, in a sentence.
    pub(crate) fn message(&self) -> &str {
        self.text_of("message")
    }

    /// When, RFC 3339.
    fn time(&self) -> &str {
        self.text_of("time")
    }

    fn remedy(&self) -> Option<&str> {
        self.event.get("remedy").and_then(Value::as_str)
    }

    /// The service and the server, where it is about one.
    fn about(&self) -> String {
        match (&self.service, &self.server) {
            (Some(service), Some(server)) => format!("{service}/{server}"),
            (Some(service), None) => service.clone(),
            _ => "engine".to_owned(),
        }
    }

    /// `alarm`, or `over`.
    fn word(&self) -> &'static str {
        if self.over { "over" } else { self.severity.as_str() }
    }

    /// For people, in one line.
    fn sentence(&self) -> String {
        cut(&format!("[{}] {}: {}: {}", self.word(), self.about(), self.kind, self.message()), LINE)
    }
}

/// What is sent at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// In order; at least one.
    pub(crate) lines: Vec<Line>,
}

impl Message {
    /// The same at every attempt.
    fn id(&self) -> &str {
        self.lines.first().map_or("", |line| &line.id)
    }

    /// Of its first event.
    fn time(&self) -> &str {
        self.lines.first().map_or("", Line::time)
    }

    fn severity(&self) -> Severity {
        let begun = self.lines.iter().filter(|line| !line.over).map(|line| line.severity);
        begun.max().unwrap_or(Severity::Info)
    }

    /// Everything in it is over.
    fn is_over(&self) -> bool {
        self.lines.iter().all(|line| line.over)
    }

    /// One line that says what it is about.
    fn subject(&self) -> String {
        let one_line = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        if let [line] = &self.lines[..] {
            return cut(&one_line(&line.sentence()), SUBJECT);
        }
        let word = if self.is_over() { "over" } else { self.severity().as_str() };
        let mut services: Vec<&str> = self.lines.iter().filter_map(|line| line.service.as_deref()).collect();
        services.sort_unstable();
        services.dedup();
        let about = match services[..] {
            [] => "engine".to_owned(),
            [one] => one.to_owned(),
            _ => format!("{} services", services.len()),
        };
        let mut kinds: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !kinds.contains(&line.kind.as_str()) {
                kinds.push(&line.kind);
            }
        }
        cut(&one_line(&format!("[{word}] {about}: {} events: {}", self.lines.len(), kinds.join(", "))), SUBJECT)
    }

    /// A line for each event, and below it what mends it.
    fn text(&self) -> String {
        let each = self.lines.iter().map(|line| match line.remedy().filter(|_| !line.over) {
            Some(remedy) => format!("{} {}\n  Remedy: {}", line.time(), line.sentence(), cut(remedy, LINE)),
            None => format!("{} {}", line.time(), line.sentence()),
        });
        each.collect::<Vec<_>>().join("\n")
    }

    /// The form of its own: what format `json` and commands get.
    fn json(&self) -> Value {
        let line = |line: &Line| {
            let mut event = line.event.clone();
            event.insert("id".to_owned(), Value::from(line.id.as_str()));
            event.insert("key".to_owned(), Value::from(line.key.as_str()));
            event.insert("over".to_owned(), Value::from(line.over));
            Value::Object(event)
        };
        serde_json::json!({
            "id": self.id(),
            "subject": self.subject(),
            "message": self.text(),
            "timestamp": self.time(),
            "severity": self.severity().as_str(),
            "over": self.is_over(),
            "event": self.lines.first().map(line),
            "events": self.lines.iter().map(line).collect::<Vec<_>>(),
        })
    }
}

/// The beginning of a text.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The receiver has it, and said this.
    Delivered(String),
    /// It has not, or nobody knows.
    Failed {
        /// For people; no secret is in it.
        why: String,
        /// It did not like the message itself: others may go through.
        refused: bool,
    },
    /// The engine stops.
    Cancelled,
}

impl Answer {
    fn failed(why: impl Into<String>) -> Answer {
        Answer::Failed { why: why.into(), refused: false }
    }
}

/// Sends messages to one receiver.
pub(crate) struct Sender {
    receiver: Notify,
    addresses: Arc<dyn Addresses>,
    scrubber: Scrubber,
}

impl Sender {
    pub(crate) fn new(receiver: &Notify, addresses: Arc<dyn Addresses>) -> Sender {
        Sender { scrubber: Scrubber::of(&receiver.target), receiver: receiver.clone(), addresses }
    }

    /// The longest attempt.
    pub(crate) fn timeout(&self) -> Duration {
        self.receiver.delivery.timeout
    }

    /// How many events fit one message.
    pub(crate) fn most_lines(&self) -> usize {
        match &self.receiver.target {
            // They group by themselves, and each event has an end of its own.
            NotifyTarget::Webhook(webhook) if matches!(webhook.format, NotifyFormat::Pagerduty | NotifyFormat::Opsgenie) => 1,
            _ => 100,
        }
    }

    /// One attempt.
    pub(crate) fn send(&self, message: &Message, now: SystemTime, cancel: &Cancel) -> Answer {
        let within = Within { deadline: Deadline::after(self.timeout()), cancel, addresses: &*self.addresses };
        let answer = match &self.receiver.target {
            NotifyTarget::Webhook(webhook) => webhook::send(webhook, message, now, &within),
            #[cfg(feature = "email")]
            NotifyTarget::Email(email) => email::send(email, message, now, &within),
            #[cfg(not(feature = "email"))]
            NotifyTarget::Email(_) => Answer::failed("this build has no e-mail (feature email)"),
            NotifyTarget::Command(command) => command::send(&command.command, message, &within),
        };
        match answer {
            _ if cancel.is_cancelled() => Answer::Cancelled,
            Answer::Delivered(said) => Answer::Delivered(self.scrubber.clean(&said)),
            Answer::Failed { why, refused } => Answer::Failed { why: self.scrubber.clean(&why), refused },
            Answer::Cancelled => Answer::Cancelled,
        }
    }
}

/// What bounds an attempt, and where names become addresses.
struct Within<'a> {
    deadline: Deadline,
    cancel: &'a Cancel,
    addresses: &'a dyn Addresses,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A receiver of a configuration with one service, from the lines of its table.
    pub(crate) fn receiver(lines: &str) -> Notify {
        let text = format!(
            "version = 1\n[[notify]]\nname = \"one\"\n{lines}\n[[services]]\nname = \"web\"\nkind = \"application\"\n\
             [[services.servers]]\nname = \"web1\"\nhost = \"127.0.0.1\"\n\
             [[services.checks]]\nname = \"page\"\nserver = \"web1\"\nkind = \"scripted\"\nanswers = [\"up\"]\n"
        );
        let config = crate::config::Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"));
        config.notify[0].clone()
    }

    pub(crate) fn line(id: &str, service: &str, kind: &str, severity: Severity) -> Line {
        let event = json!({
            "seq": 1, "time": "2026-01-02T03:04:05Z", "kind": kind, "severity": severity.as_str(), "service": service,
            "message": format!("{service} has {kind}"), "remedy": "look at it", "fields": {},
        });
        let Value::Object(event) = event else { unreachable!() };
        Line {
            id: id.to_owned(),
            key: format!("{service}//{kind}/"),
            over: false,
            ends: true,
            severity,
            kind: kind.to_owned(),
            reason: String::new(),
            service: Some(service.to_owned()),
            server: None,
            event,
        }
    }

    #[test]
    fn one_event_is_its_own_subject_and_many_are_counted() {
        let one = Message { lines: vec![line("1", "orders", "failover_started", Severity::Warning)] };
        assert_eq!(one.subject(), "[warning] orders: failover_started: orders has failover_started");
        assert_eq!(
            one.text(),
            "2026-01-02T03:04:05Z [warning] orders: failover_started: orders has failover_started\n  Remedy: look at it"
        );
        let lines = (0..40).map(|n| line(&n.to_string(), &format!("s{n}"), "failover_started", Severity::Warning));
        let mut lines: Vec<Line> = lines.collect();
        lines.push(line("41", "s1", "manual_intervention", Severity::Alarm));
        let many = Message { lines };
        assert_eq!(many.subject(), "[alarm] 40 services: 41 events: failover_started, manual_intervention");
        assert_eq!(many.text().lines().filter(|line| line.contains("failover_started")).count(), 40);
    }

    #[test]
    fn what_is_over_is_no_alarm_any_more() {
        let mut over = line("1", "orders", "manual_intervention", Severity::Alarm);
        over.over = true;
        let message = Message { lines: vec![over.clone(), over] };
        assert_eq!(message.subject(), "[over] orders: 2 events: manual_intervention");
        assert_eq!((message.json()["severity"].as_str(), message.json()["over"].as_bool()), (Some("info"), Some(true)));
        assert!(!message.text().contains("Remedy"));
    }

    #[test]
    fn a_subject_is_one_short_line() {
        let mut long = line("1", "orders", "log", Severity::Alarm);
        long.event.insert("message".to_owned(), Value::from(format!("a\r\nBcc: x@y\n{}", "ü".repeat(5_000))));
        let subject = Message { lines: vec![long] }.subject();
        assert!(!subject.contains(['\r', '\n']) && subject.chars().count() == SUBJECT + 1, "{subject}");
    }
}
