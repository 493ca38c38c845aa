//! Lines for people and for the system's log.

use std::io::Write;
use std::sync::OnceLock;

use failover::{EngineEvent, Severity};

use super::terminal::{Paint, Terminal};
use super::text::{moment, printable};

/// Where the lines of the daemon go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// To a file or a person: with time and level.
    Plain,
    /// To the journal of systemd, which adds the time and reads the level from a prefix.
    Journal,
}

fn style() -> Style {
    static STYLE: OnceLock<Style> = OnceLock::new();
    *STYLE.get_or_init(|| {
        // systemd names the device and inode of the stream it gave us: only if stderr is still that one is the prefix for it.
        let stream = std::env::var("JOURNAL_STREAM").ok();
        let ours = rustix::fs::fstat(std::io::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino)).ok();
        if stream.is_some() && stream == ours { Style::Journal } else { Style::Plain }
    })
}

/// Sends the log lines of the program and its libraries to stderr; `RUST_LOG` chooses which. The engine tells its events to the
/// log too, as it does in every program; here they are shown from a queue, which a stderr that blocks cannot hold up.
struct Lines(env_logger::Logger);

/// Where the engine logs its events.
const EVENTS: &str = "failover";

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.target() != EVENTS && self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record) {
        if record.target() != EVENTS {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Begins to log to stderr.
pub fn start(terminal: Terminal) {
    let environment = env_logger::Env::default().default_filter_or("warn,failover=info");
    let mut builder = env_logger::Builder::from_env(environment);
    builder.format(move |out, record| {
        let severity = match record.level() {
            log::Level::Error => Severity::Alarm,
            log::Level::Warn => Severity::Warning,
            log::Level::Info => Severity::Info,
            log::Level::Debug | log::Level::Trace => Severity::Debug,
        };
        writeln!(out, "{}", line(&now(), severity, &printable(&record.args().to_string()), style(), terminal))
    });
    let logger = builder.build();
    let level = logger.filter();
    // Only a second logger in the same process is refused, and there is none.
    if log::set_boxed_logger(Box::new(Lines(logger))).is_ok() {
        log::set_max_level(level);
    }
}

fn now() -> String {
    time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// One event as a line of the log on stderr, without its end.
pub fn event(event: &EngineEvent, terminal: Terminal) -> String {
    line(&event.time, event.severity, &describe(event), style(), terminal)
}

/// What happened to whom, without time and level.
pub fn describe(event: &EngineEvent) -> String {
    let mut text = String::new();
    if let Some(service) = &event.service {
        text.push_str(service);
        if let Some(server) = &event.server {
            text.push('/');
            text.push_str(server);
        }
        text.push(' ');
    }
    text.push_str(event.kind.as_str());
    text.push_str(": ");
    text.push_str(&message(event.service.as_deref(), &event.message));
    text
}

/// A message about a subject whose name stands before it already.
pub fn message(subject: Option<&str>, message: &str) -> String {
    let short = subject.and_then(|subject| message.strip_prefix(subject)).and_then(|rest| rest.strip_prefix(": "));
    printable(short.unwrap_or(message))
}

/// The colour of a severity.
pub fn paint(severity: &str) -> Paint {
    match severity {
        "alarm" => Paint::Bad,
        "warning" => Paint::Doubtful,
        "debug" => Paint::Faint,
        _ => Paint::Good,
    }
}

fn line(time: &str, severity: Severity, text: &str, style: Style, terminal: Terminal) -> String {
    match style {
        Style::Journal => {
            let level = match severity {
                Severity::Alarm => 2,
                Severity::Warning => 4,
                Severity::Info => 6,
                Severity::Debug => 7,
            };
            format!("<{level}>{text}")
        }
        Style::Plain => {
            let word = terminal.stderr(&format!("{:7}", severity.as_str()), paint(severity.as_str()));
            format!("{} {word} {text}", moment(time))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_styles() {
        let terminal = Terminal::default();
        let time = "2026-01-02T03:04:05.000006Z";
        assert_eq!(line(time, Severity::Alarm, "gone", Style::Journal, terminal), "<2>gone");
        assert_eq!(line(time, Severity::Info, "here", Style::Plain, terminal), "2026-01-02T03:04:05.000Z info    here");
    }

    #[test]
    fn an_event_names_its_subject_and_shows_no_control_character() {
        let mut event = EngineEvent::blank(7, failover::EventKind::SessionClosed, Severity::Info);
        event.service = Some("orders".into());
        event.server = Some("db1".into());
        event.message = "orders: it said \x1b[31mbye".into();
        assert_eq!(describe(&event), "orders/db1 session_closed: it said \\u{1b}[31mbye");
    }
}
