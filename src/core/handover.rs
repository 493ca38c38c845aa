//! An ordered failover away from a primary that lives: what is known of its stop, and of who has received its whole log.

use super::id::ServerId;
use super::plan::Plan;
use super::sample::{LogEnd, Position};
use super::time::Mono;
use serde::{Deserialize, Serialize};

/// How far a primary that lived is with handing over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The standby that was the best one when it began.
    pub to: Option<ServerId>,
    /// The primary was asked to stop, or may have been.
    pub stop_tried: bool,
    /// Where its log ends.
    pub end: Option<LogEnd>,
    /// The receipt is not waited for any more: the primary is fenced, and a loss is judged as in any other failover.
    pub given_up: bool,
    /// A standby that has all of the log was chosen.
    pub proven: bool,
    /// Questions about the receipt without an answer.
    pub unanswered: u8,
    /// Until when it is tried to start the primary again.
    pub start_until: Option<Mono>,
    /// So often its start was asked for without success.
    #[serde(default)]
    pub starts: u32,
    /// It was started again.
    pub started: bool,
}

/// What became of a primary that was asked to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stopped {
    /// It was shut down in an orderly way: its log ends here, and no more can be written. Its processes may still be there.
    InOrder(LogEnd),
    /// No process is left, and it was not shut down in an orderly way.
    Crashed {
        /// What its control file says.
        state: String,
    },
    /// Its postmaster stands still, and hears nothing.
    Frozen,
    /// It is still on its way.
    NotYet {
        /// What its control file says.
        state: String,
    },
}

/// What became of an orderly stop, and how far the standbys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The primary.
    pub stopped: Stopped,
    /// The standbys.
    pub positions: Vec<Position>,
}

impl Plan {
    /// The old primary was asked to stop and was not started again since.
    #[must_use]
    pub fn is_stop_owed(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| handover.stop_tried && !handover.started)
    }

    /// The old primary lives and is being stopped in an orderly way.
    #[must_use]
    pub fn hands_over(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| !handover.given_up)
    }

    /// The old primary serves as it did before an order that was not carried out.
    pub(super) fn is_handed_back(&self, left: &[String]) -> bool {
        self.handover.is_some() && left.is_empty() && !self.is_stop_owed() && (self.fence.is_none() || self.is_started_again())
    }

    /// It was stopped, and started again.
    pub(super) fn is_started_again(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| handover.started)
    }

    /// Where the log of a primary ended that was stopped in an orderly way.
    pub(super) fn log_end(&self) -> Option<LogEnd> {
        self.handover.as_ref().and_then(|handover| handover.end)
    }
}
