//! Planned work: the primary hands over to a standby, and no committed row is lost. What is ordered, what was looked at before it begins, and
//! what closes the way of its clients meanwhile.

use super::id::ServerId;
use super::time::{Mono, Span};
use super::words::words;
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwitchoverOrder {
    /// To begin now.
    Begin,
    /// To say only what stands in its way.
    Look,
    /// To begin later.
    Plan {
        /// So long from now.
        after: Span,
        /// The moment of the wall clock, in milliseconds since 1970: for people and for the journal.
        at_ms: u64,
    },
    /// Not to begin what was planned.
    Cancel,
}

/// One that begins later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSwitchover {
    /// The standby to promote, or the best one.
    pub to: Option<ServerId>,
    /// When it begins; in a record [`Mono::ZERO`] is when that was written, or read.
    pub at: Mono,
    /// The same by the wall clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// That was over when an engine read it: it is told, and never begun.
    #[serde(default)]
    pub missed: bool,
}

impl PlannedSwitchover {
    /// The same with its moment counted by another clock.
    #[must_use]
    pub(super) fn counted(self, from: Mono, to: Mono) -> PlannedSwitchover {
        PlannedSwitchover { at: to + self.at.since(from), missed: self.missed || self.at < from, ..self }
    }
}

/// A moment that was missed by more than this is over: planned work does not begin when nobody expects it any more.
pub const PUNCTUAL: Span = Span::from_millis(5_000);

words! {
    /// What a line of the preflight means for the switchover.
    pub enum PreflightLevel {
        /// Nothing stands in the way.
        Ok = "ok",
        /// It goes through, and something is worth a look.
        Warning = "warning",
        /// It is refused.
        Refused = "refused",
    }
}

/// One thing that is looked at before a switchover.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreflightLine {
    /// A stable name: of a refusal its own, else what was looked at.
    pub name: &'static str,
    /// What it means.
    pub level: PreflightLevel,
    /// What was seen.
    pub message: String,
    /// What mends it; empty where nothing has to be mended.
    pub remedy: String,
}

words! {
    /// What happens where running transactions do not end within `switchover.pause_timeout`.
    pub enum OnPauseTimeout {
        /// The clients go on, and nothing has happened.
        Abort = "abort",
        /// The stop of the primary ends them.
        Cut = "cut",
        /// The clients go on for a moment, then it is tried again, within `failover_timeout`.
        Wait = "wait",
    }
}

/// The gate in front of the clients: a pooler that lets them wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateModel {
    /// So long running transactions may take to end.
    pub pause_timeout: Span,
    /// What happens where they do not.
    pub on_timeout: OnPauseTimeout,
}

/// What the survey saw of a server that only planned work asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchoverFacts {
    /// Logical replication slots of its own that are no copies of another server's.
    pub logical_slots: Vec<String>,
    /// Copies of the primary's logical slots that are ready to be used after a promotion (PostgreSQL 17).
    pub ready_slots: Vec<String>,
    /// Prepared transactions that are open.
    pub prepared: u64,
    /// `max_prepared_transactions`.
    pub max_prepared: u64,
    /// How long the oldest transaction of a client runs.
    pub oldest_transaction: Option<Span>,
    /// Sessions that are idle in a transaction.
    pub idle_in_transaction: u64,
    /// `wal_sender_timeout` is zero: a standby that hangs holds a shutdown for ever.
    pub senders_wait_for_ever: bool,
}
