//! What is shown while it happens: plain lines, with colours on a terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use super::parts::text::ago;
use super::support::recording::Event;
use super::support::scenario::{Fault, News, Scenario};

/// How lines are shown.
pub struct Live {
    colours: bool,
    began: Instant,
}

/// The colour of a line.
#[derive(Clone, Copy)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Less important.
    Faint,
    /// Good.
    Good,
    /// Somebody should know.
    Warning,
    /// Bad.
    Bad,
    /// What we did.
    Ours,
}

/// Wraps a text in a colour.
pub fn paint(colours: bool, tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Faint => "2",
        Tone::Good => "32",
        Tone::Warning => "33",
        Tone::Bad => "31;1",
        Tone::Ours => "35;1",
    };
    if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

impl Live {
    /// With or without colours.
    pub fn new(terminal: bool) -> Live {
        Live { colours: terminal && std::env::var_os("NO_COLOR").is_none(), began: Instant::now() }
    }

    /// Whether colours are wanted.
    pub fn colours(&self) -> bool {
        self.colours
    }

    /// A line that begins a part.
    pub fn heading(&self, text: &str) {
        let text = format!("== {text}");
        println!("\n{}", if self.colours { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text });
    }

    /// What is started next.
    pub fn progress(&self, next: &str) {
        println!("{:>6.1} s  starting {next}", self.began.elapsed().as_secs_f64());
    }

    /// The last thing that was named did not start.
    pub fn progress_failed(&self) {
        println!("{}", paint(self.colours, Tone::Bad, "          … failed"));
    }

    /// Everything stands.
    pub fn ready(&self, scenario: &Scenario) {
        let pair = &scenario.pair;
        println!("{:>6.1} s  ready: if db1 died now, the engine would promote db2", self.began.elapsed().as_secs_f64());
        let line = format!(
            "          db1 {} · db2 {} · writes go to {} · all of it below {}",
            pair.db1.host().port(pair.db1.port()),
            pair.db2.host().port(pair.db2.port()),
            pair.haproxy.host().port(pair.haproxy.front()),
            pair.lab.dir().display()
        );
        println!("{}", paint(self.colours, Tone::Faint, &line));
    }

    /// Shows events.
    pub fn timeline(&self) -> Timeline {
        Timeline { colours: self.colours, fault: None, fault_at: 0, failed: BTreeMap::new() }
    }
}

/// Shows the events of a run, the uninteresting ones left out.
pub struct Timeline {
    colours: bool,
    fault: Option<Fault>,
    fault_at: u64,
    /// Failed probes shown so far, by check: a hundred equal lines tell no more than a few.
    failed: BTreeMap<String, usize>,
}

const EQUAL_LINES: usize = 4;

impl Timeline {
    /// One piece of news. `fault` is given from the moment the fault is injected.
    pub fn tell(&mut self, news: &News<'_>, fault: Option<Fault>) {
        match news {
            News::Note(at, words) => {
                if self.fault.is_none() && fault.is_some() {
                    self.fault = fault;
                    self.fault_at = *at;
                }
                self.line(*at, Tone::Ours, ">>>", words);
            }
            News::Event(event) => self.event(event),
        }
    }

    fn event(&mut self, event: &Event) {
        let Some(tone) = self.tone(event) else { return };
        // Until the fault there is nothing to count from.
        if self.fault.is_none() {
            return;
        }
        self.line(event.at, tone, &event.kind, &event.message);
    }

    fn line(&self, at: u64, tone: Tone, kind: &str, words: &str) {
        let text = format!("{:>10}  {kind:<21} {words}", ago(at, self.fault_at));
        println!("{}", paint(self.colours, tone, &text));
        let _ = std::io::stdout().flush();
    }

    fn tone(&mut self, event: &Event) -> Option<Tone> {
        match event.kind.as_str() {
            "observed" => {
                if event.text("verdict") == Some("up") {
                    return None;
                }
                let shown = self.failed.entry(format!("{:?} {:?}", event.server, event.text("reason"))).or_default();
                *shown += 1;
                (*shown <= EQUAL_LINES).then_some(Tone::Faint)
            }
            // Its end says more.
            "step_started" | "log" | "task_check" | "task_action" => None,
            "failover_completed" | "standby_ready" | "doubt_cleared" => Some(Tone::Good),
            _ => Some(match event.severity.as_str() {
                "alarm" => Tone::Bad,
                "warning" => Tone::Warning,
                "debug" => Tone::Faint,
                _ => Tone::Plain,
            }),
        }
    }
}
