//! What one step gathers: outputs in order, and the counters behind every identifier.

use super::damping::Damping;
use super::event::{Event, EventKind, Fact, Field, FieldKind, Severity};
use super::id::{ActionId, Generation, RunId, Seq, ServerId, ServiceId};
use super::output::Output;
use super::service::Surroundings;
use super::time::Mono;
use serde::{Deserialize, Serialize};

/// The outputs of the step in hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// When the step runs.
    pub now: Mono,
    /// What holds for every service then. Beside whom one fails over, and whom it follows, it is told when it is looked at.
    #[serde(skip)]
    pub(crate) around: Surroundings,
    // Empty between two steps, and nothing is written down in the middle of one.
    #[serde(skip)]
    outputs: Vec<Output>,
    #[serde(default)]
    damping: Damping,
    seq: u64,
    run: u64,
    action: u64,
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The service, if it is about one.
    pub service: Option<ServiceId>,
    /// The server, if it is about one.
    pub server: Option<ServerId>,
    /// The failover it belongs to.
    pub generation: Generation,
}

impl Effects {
    /// Adds an output.
    pub fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Takes the outputs of the step.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// So many outputs up to now, for [`Effects::told_since`].
    pub(super) fn mark(&self) -> usize {
        self.outputs.len()
    }

    /// More came since than questions.
    pub(super) fn told_since(&self, mark: usize) -> bool {
        let asks = |output: &Output| matches!(output, Output::RunCheck { .. } | Output::OpenSession { .. });
        self.outputs.iter().skip(mark).any(|output| !asks(output))
    }

    /// A run number never given before.
    pub fn run(&mut self) -> RunId {
        self.run += 1;
        RunId(self.run)
    }

    /// An action number never given before.
    pub fn action(&mut self) -> ActionId {
        self.action += 1;
        ActionId(self.action)
    }

    /// Tells the world, unless it was told the same a moment ago: then it is counted.
    pub fn emit(
        &mut self,
        kind: EventKind,
        severity: Severity,
        about: About,
        message: String,
        fields: Vec<(&'static str, Field)>,
    ) {
        if self.damping.passes(self.now, kind, severity, about, &message, &fields) {
            self.tell(kind, severity, about, message, fields, None);
        }
    }

    /// Tells the world a fact, with `more` fields behind its own. A fact is never held back.
    pub fn emit_fact(&mut self, severity: Severity, about: About, message: String, fact: Fact, more: Vec<(&'static str, Field)>) {
        let mut fields = fact.fields();
        fields.extend(more);
        self.tell(fact.kind(), severity, about, message, fields, Some(fact));
    }

    /// Tells what came again and again and has ended, or goes on for long; `all`: whatever was counted. Each belongs to the last failover
    /// of its service by now. What is `over` is not told: a standby that could be promoted, and was.
    pub fn tell_repeated(
        &mut self,
        all: bool,
        generation: impl Fn(ServiceId) -> Option<Generation>,
        over: impl Fn(EventKind, About) -> bool,
    ) {
        for due in self.damping.due(self.now, all) {
            if over(due.kind, due.about) {
                continue;
            }
            let generation = due.about.service.and_then(&generation).unwrap_or(due.about.generation);
            self.tell(due.kind, due.severity, About { generation, ..due.about }, due.message, due.fields, None);
        }
    }

    /// When that is due at the earliest.
    #[must_use]
    pub fn next_repeated(&self) -> Mono {
        self.damping.next()
    }

    fn tell(
        &mut self,
        kind: EventKind,
        severity: Severity,
        about: About,
        message: String,
        mut fields: Vec<(&'static str, Field)>,
        fact: Option<Fact>,
    ) {
        // A phase that was not reached has no time: what is no number is no milliseconds.
        fields.retain(|(name, value)| !name.ends_with("_ms") || FieldKind::Ms.holds(value));
        self.seq += 1;
        self.outputs.push(Output::Emit(Event {
            seq: Seq(self.seq),
            at: self.now,
            kind,
            severity,
            service: about.service,
            server: about.server,
            generation: about.generation,
            message,
            fields,
            fact,
        }));
    }
}

/// A text field.
pub fn text(value: impl Into<String>) -> Field {
    Field::Text(value.into())
}

/// A list of texts.
pub fn texts(values: impl IntoIterator<Item = String>) -> Field {
    Field::List(values.into_iter().map(Field::Text).collect())
}
