//! A receiver of notifications and its kinds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::headers::Headers;
use super::model::Root;
use super::node::{Node, quoted};
use super::problem::Pointer;
use super::rule::Rule;
use super::secret_source::{SecretSource, SourcedSecret};
use super::setting::Origin::{Required, Unset};
use super::setting::{
    Cases, Cursor, Field, Origin, Reader, Setting, Shape, Slot, Table, absent_table, fixed, read_table, settings, table_shape,
    words, write_table,
};
use super::unknown::nearest;
use failover_core::event::{EventKind, Severity};

/// Receivers at most: each has a thread.
const MOST: usize = 16;

/// A receiver of notifications.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Notify {
    /// Its name, unique in the file.
    pub name: String,
    /// How it is told.
    pub target: NotifyTarget,
    /// What it is told, and when.
    pub delivery: Delivery,
}

/// How a receiver is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NotifyTarget {
    /// An HTTP request with JSON.
    Webhook(Webhook),
    /// A mail.
    Email(Email),
    /// A command with JSON on its standard input.
    Command(NotifyCommand),
}

/// The kind of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyKind {
    /// An HTTP request with JSON.
    Webhook,
    /// A mail.
    Email,
    /// A command with JSON on its standard input.
    Command,
}

impl NotifyKind {
    /// The word in the configuration and in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NotifyKind::Webhook => "webhook",
            NotifyKind::Email => "email",
            NotifyKind::Command => "command",
        }
    }
}

impl NotifyTarget {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> NotifyKind {
        match self {
            NotifyTarget::Webhook(_) => NotifyKind::Webhook,
            NotifyTarget::Email(_) => NotifyKind::Email,
            NotifyTarget::Command(_) => NotifyKind::Command,
        }
    }
}

/// The form of a webhook's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyFormat {
    /// Our own.
    Json,
    /// Slack, and what takes the same.
    Slack,
    /// Microsoft Teams.
    Teams,
    /// PagerDuty's Events API, version 2.
    Pagerduty,
    /// Opsgenie's Alert API.
    Opsgenie,
    /// The API of Prometheus' Alertmanager, version 2.
    Alertmanager,
    /// ntfy.
    Ntfy,
}

/// How a mail is kept from being read on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmailTls {
    /// STARTTLS, and nothing is sent without it.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all.
    None,
}

/// The least severity that a receiver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifySeverity {
    /// Normal operation too.
    Info,
    /// What somebody should know.
    Warning,
    /// Only where somebody should come.
    Alarm,
}

impl NotifySeverity {
    /// The same as a severity of events.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            NotifySeverity::Info => Severity::Info,
            NotifySeverity::Warning => Severity::Warning,
            NotifySeverity::Alarm => Severity::Alarm,
        }
    }
}

settings! {
    /// What a receiver is told, and when.
    pub struct Delivery {
        /// The least severity of events that it is told.
        severity: NotifySeverity = fixed("warning");
        /// The kinds of events that it is told (`docs/EVENTS.md`). Default: what concerns a person, as `docs/NOTIFY.md` lists them.
        events: Vec<String> = Unset, Rule::Word;
        /// The services whose events it is told. Events of the engine itself are always told. Default: all services.
        services: Vec<String> = Unset, Rule::Name;
        /// Whether it is also told when something is over that it was told.
        resolved: bool = fixed(true);
        /// How long events are collected, from the first one on, before they are sent as one message.
        group_window: Duration = fixed("5s"), Rule::Span("0s", "10m");
        /// The same event about the same server is not told again within this time, unless it was over meanwhile.
        repeat_after: Duration = fixed("1h"), Rule::Span("1m", "7d");
        /// The deadline of one attempt to deliver a message.
        timeout: Duration = fixed("10s"), Rule::Span("100ms", "2m");
        /// How long the engine tries to deliver a message, with growing pauses. After that it gives the message up, and an alarm says so.
        retry_for: Duration = fixed("1d"), Rule::Span("1m", "30d");
    }

    /// The keys of a receiver of kind `webhook`: a POST request with JSON.
    pub struct Webhook {
        /// The URL of the request. It is treated as a secret, because with many providers whoever knows it can send messages. The engine follows
        /// a redirect (307, 308) only to the same scheme, host and port.
        url: SourcedSecret = Required;
        /// The form of the JSON.
        format: NotifyFormat = fixed("json");
        /// For `pagerduty`: the routing key (integration key) of the service.
        routing_key: Option<SourcedSecret> = Unset;
        /// The headers of the request. A value may be a secret from another source, like a password.
        headers: Headers = Unset;
        /// If it is set, the header `X-Failover-Signature: t=SECONDS,v1=HEX` proves who sent the message: HMAC-SHA256 with this secret over
        /// `SECONDS.BODY`, where SECONDS is the time since 1970.
        signing_secret: Option<SourcedSecret> = Unset;
        /// The file of trusted certificate authorities (PEM). Default: those of the system.
        ca_file: Option<PathBuf> = Unset;
    }

    /// The keys of a receiver of kind `email`: a mail over SMTP.
    pub struct Email {
        /// The mail server.
        host: String = Required, Rule::Host;
        /// Its port. Default: 587 with `starttls`, 465 with `tls`, 25 with `none`.
        port: Option<u16> = Unset, Rule::Range(1, 65_535);
        /// Whether to use TLS. A server that does not support what is set gets no mail.
        tls: EmailTls = fixed("starttls");
        /// The user for the login. Default: no login.
        user: Option<String> = Unset, Rule::Line;
        /// The password for the login.
        password: Option<SourcedSecret> = Unset;
        /// The sender, such as `failover@example.com` or `Failover <failover@example.com>`.
        from: String = Required, Rule::Line;
        /// The recipients.
        to: Vec<String> = Required, Rule::Line;
        /// The file of trusted certificate authorities (PEM). Default: those of the system.
        ca_file: Option<PathBuf> = Unset;
    }

    /// The keys of a receiver of kind `command`: a program that gets the JSON of format `json` on its standard input.
    pub struct NotifyCommand {
        /// The command, as a list of arguments; there is no shell. Exit code 0 means: delivered. At the deadline it is ended with all its
        /// children.
        command: Vec<String> = Required, Rule::Argv;
    }
}

words! {
    NotifyKind {
        NotifyKind::Webhook = "webhook", "sends an HTTP request with JSON";
        NotifyKind::Email = "email", "sends a mail over SMTP";
        NotifyKind::Command = "command", "runs a command with JSON on its standard input";
    }
    NotifyFormat {
        NotifyFormat::Json = "json", "subject, message, timestamp and the events";
        NotifyFormat::Slack = "slack", "an incoming webhook of Slack, Mattermost or Rocket.Chat";
        NotifyFormat::Teams = "teams", "a workflow of Microsoft Teams";
        NotifyFormat::Pagerduty = "pagerduty", "the Events API v2 of PagerDuty, which is told when something is over";
        NotifyFormat::Opsgenie = "opsgenie", "the Alert API of Opsgenie, which is told when something is over";
        NotifyFormat::Alertmanager = "alertmanager", "the API v2 of Alertmanager, which is told when something is over";
        NotifyFormat::Ntfy = "ntfy", "a topic of ntfy, the last part of the URL";
    }
    EmailTls {
        EmailTls::Starttls = "starttls", "STARTTLS, and nothing is sent without it";
        EmailTls::Tls = "tls", "TLS from the first byte";
        EmailTls::None = "none", "not at all: password and mail can be read on the way";
    }
    NotifySeverity {
        NotifySeverity::Info = "info", "normal operation too";
        NotifySeverity::Warning = "warning", "what somebody should know";
        NotifySeverity::Alarm = "alarm", "only where somebody should come";
    }
}

impl Table for Notify {
    const NAME: &'static str = "Notify";
    const DOC: &'static str = " A receiver of notifications. Nothing that the engine decides or does waits for one.\n";

    fn fields() -> Vec<Field> {
        let mut fields = vec![
            Field {
                name: "name",
                doc: " Its name, unique in the file.\n",
                origin: Origin::Required,
                rule: Rule::Name,
                shape: String::shape,
            },
            Field {
                name: "kind",
                doc: " How it is told. Each kind has further keys.\n",
                origin: Origin::Required,
                rule: Rule::Any,
                shape: NotifyKind::shape,
            },
        ];
        fields.extend(Delivery::fields());
        fields
    }

    fn cases() -> Option<Cases> {
        Some(Cases {
            tag: "kind",
            variants: vec![
                ("webhook", Webhook::DOC, Webhook::fields()),
                ("email", Email::DOC, Email::fields()),
                ("command", NotifyCommand::DOC, NotifyCommand::fields()),
            ],
        })
    }

    fn read_fields(cursor: &mut Cursor<'_, '_>) -> Notify {
        let name = cursor.next();
        let kind: NotifyKind = cursor.next();
        let delivery = Delivery::read_fields(cursor);
        // With a wrong kind the keys of no kind are read: one mistake, one message.
        let known = !cursor.reader.bad.contains(&cursor.slot().at.key("kind"));
        let target = match kind {
            _ if !known => NotifyTarget::Command(NotifyCommand::blank()),
            NotifyKind::Webhook => NotifyTarget::Webhook(cursor.variant()),
            NotifyKind::Email => NotifyTarget::Email(cursor.variant()),
            NotifyKind::Command => NotifyTarget::Command(cursor.variant()),
        };
        Notify { name, target, delivery }
    }

    fn write_fields(&self, out: &mut Vec<(String, Node)>) {
        out.push(("name".to_owned(), Node::from(self.name.as_str())));
        out.extend(self.target.kind().write().map(|kind| ("kind".to_owned(), kind)));
        match &self.target {
            NotifyTarget::Webhook(webhook) => webhook.write_fields(out),
            NotifyTarget::Email(email) => email.write_fields(out),
            NotifyTarget::Command(command) => command.write_fields(out),
        }
        self.delivery.write_fields(out);
    }
}

impl Setting for Notify {
    fn shape(_rule: Rule) -> Shape {
        table_shape::<Notify>()
    }

    fn blank() -> Notify {
        let target = NotifyTarget::Command(NotifyCommand::blank());
        Notify { name: String::new(), target, delivery: Delivery::blank() }
    }

    fn read<'a>(slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> Notify {
        read_table(slot, reader)
    }

    fn absent<'a>(slot: &Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> Notify {
        absent_table(slot, reader)
    }

    fn write(&self) -> Option<Node> {
        Some(write_table(self))
    }
}

/// Looks at what concerns more than one value.
pub(super) fn validate(root: &Root, reader: &mut Reader<'_>) {
    let list = Pointer::root().key("notify");
    if root.notify.len() > MOST {
        let reason = format!("these are {} receivers, and {MOST} are the most", root.notify.len());
        reader.contradiction(std::slice::from_ref(&list), reason, "let one receiver pass the messages on");
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, receiver) in root.notify.iter().enumerate() {
        let at = list.index(index);
        if let Some(first) = seen.insert(&receiver.name, index).filter(|_| !receiver.name.is_empty()) {
            let reason = format!("another receiver is called \"{}\" ({})", receiver.name, list.index(first).text());
            reader.contradiction(&[at.key("name")], reason, "choose another name");
        }
        filters(root, receiver, &at, reader);
        match &receiver.target {
            NotifyTarget::Webhook(webhook) => self::webhook(webhook, &at, reader),
            NotifyTarget::Email(email) => self::email(email, &at, reader),
            NotifyTarget::Command(_) => {}
        }
    }
}

fn filters(root: &Root, receiver: &Notify, at: &Pointer, reader: &mut Reader<'_>) {
    let kinds = || EventKind::ALL.iter().map(|kind| kind.as_str());
    for (index, event) in receiver.delivery.events.iter().enumerate().filter(|(_, event)| !event.is_empty()) {
        let place = [at.key("events").index(index), at.key("events")];
        if !kinds().any(|kind| kind == event) {
            let remedy = nearest(event, kinds())
                .map_or_else(|| "use a kind of docs/EVENTS.md".to_owned(), |near| format!("did you mean \"{near}\"?"));
            reader.contradiction(&place, format!("there is no event {}", quoted(event)), remedy);
        } else if [EventKind::Observed, EventKind::TaskCheck, EventKind::TaskAction].iter().any(|kind| kind.as_str() == event) {
            let reason = format!("{} is for programs: nobody is told it", quoted(event));
            reader.contradiction(&place, reason, "remove it");
        }
    }
    let services = || root.services.iter().map(|service| service.name.as_str());
    for (index, name) in receiver.delivery.services.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if !services().any(|service| service == name) {
            let remedy = nearest(name, services()).map_or_else(
                || format!("use one of: {}", services().take(20).collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            let place = [at.key("services").index(index), at.key("services")];
            reader.contradiction(&place, format!("there is no service {}", quoted(name)), remedy);
        }
    }
}

/// There is no server to look up in a password file.
fn no_password_file(secret: &SourcedSecret, at: &Pointer, reader: &mut Reader<'_>) {
    if matches!(secret.source, SecretSource::Pgpass(_)) {
        let reason = "a password file has no line for this";
        reader.contradiction(std::slice::from_ref(at), reason, "write { env = \"NAME\" } or { file = \"/path\" }");
    }
}

fn webhook(webhook: &Webhook, at: &Pointer, reader: &mut Reader<'_>) {
    let url = at.key("url");
    no_password_file(&webhook.url, &url, reader);
    let text = webhook.url.secret.expose();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && text.chars().all(|letter| letter.is_ascii_graphic())
        && !rest.is_some_and(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default().contains('@'));
    if !fits && !matches!(webhook.url.source, SecretSource::Pgpass(_)) {
        let remedy = "write https://HOST/PATH; put a user and a password into headers (Authorization)";
        reader.contradiction(std::slice::from_ref(&url), "this is no http or https URL without credentials", remedy);
    }
    for (name, value) in &webhook.headers.0 {
        no_password_file(value, &at.key("headers").key(name), reader);
    }
    if let Some(secret) = &webhook.signing_secret {
        no_password_file(secret, &at.key("signing_secret"), reader);
    }
    let place = [at.key("routing_key"), at.key("format")];
    match (&webhook.routing_key, webhook.format) {
        (Some(key), NotifyFormat::Pagerduty) => no_password_file(key, &place[0], reader),
        (None, NotifyFormat::Pagerduty) => {
            reader.contradiction(&place, "PagerDuty needs a routing key", "add routing_key, the integration key of the service");
        }
        (Some(_), _) => reader.contradiction(&place, "only format \"pagerduty\" has a routing key", "remove it"),
        (None, _) => {}
    }
    if webhook.format == NotifyFormat::Ntfy && rest.is_some_and(|rest| !rest.contains('/') || rest.ends_with('/')) {
        reader.contradiction(&[url, at.key("format")], "this URL has no topic", "write https://HOST/TOPIC");
    }
}

fn email(email: &Email, at: &Pointer, reader: &mut Reader<'_>) {
    let places = [at.key("user"), at.key("password")];
    match (&email.user, &email.password) {
        (Some(_), None) => reader.contradiction(&places, "a user needs a password", "add password"),
        (None, Some(_)) => reader.contradiction(&[places[1].clone()], "a password needs a user", "add user"),
        (Some(_), Some(password)) => {
            no_password_file(password, &places[1], reader);
            if email.tls == EmailTls::None {
                let reason = "the password can be read on the way to the mail server";
                reader.caution(&[at.key("tls"), places[1].clone()], reason, "write tls = \"starttls\" or \"tls\"");
            }
        }
        (None, None) => {}
    }
    if email.to.is_empty() {
        reader.contradiction(&[at.key("to")], "nobody gets this mail", "add a recipient");
    }
    let is_address = |text: &str| {
        let bare = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'));
        bare.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !bare.contains(' '))
    };
    for (index, to) in email.to.iter().enumerate().filter(|(_, to)| !to.is_empty() && !is_address(to)) {
        let place = [at.key("to").index(index), at.key("to")];
        reader.contradiction(&place, format!("{} is no mail address", quoted(to)), "write USER@HOST or NAME <USER@HOST>");
    }
    if !email.from.is_empty() && !is_address(&email.from) {
        let reason = format!("{} is no mail address", quoted(&email.from));
        reader.contradiction(&[at.key("from")], reason, "write USER@HOST or NAME <USER@HOST>");
    }
}

impl Root {
    /// Every host of a receiver that may be a name.
    pub(crate) fn notified_hosts(&self) -> Vec<&str> {
        let hosts = self.notify.iter().filter_map(|receiver| match &receiver.target {
            NotifyTarget::Webhook(webhook) => webhook.url.secret.expose().split_once("://").map(|(_, rest)| {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                match authority.strip_prefix('[') {
                    Some(rest) => rest.split(']').next().unwrap_or_default(),
                    None => authority.split(':').next().unwrap_or_default(),
                }
            }),
            NotifyTarget::Email(email) => Some(email.host.as_str()),
            NotifyTarget::Command(_) => None,
        });
        hosts.collect()
    }
}
