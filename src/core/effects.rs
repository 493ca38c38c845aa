//! What one step gathers: outputs in order, and the counters behind every identifier.

use super::event::{Event, EventKind, Field, Severity};
use super::id::{ActionId, Generation, RunId, Seq, ServerId, ServiceId};
use super::output::Output;
use super::time::Mono;
use serde::{Deserialize, Serialize};

/// The outputs of the step in hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// When the step runs.
    pub now: Mono,
    // Empty between two steps, and nothing is written down in the middle of one.
    #[serde(skip)]
    outputs: Vec<Output>,
    seq: u64,
    run: u64,
    action: u64,
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    /// Tells the world.
    pub fn emit(
        &mut self,
        kind: EventKind,
        severity: Severity,
        about: About,
        message: String,
        fields: Vec<(&'static str, Field)>,
    ) {
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
