//! An old primary comes back as a standby: what is known of its log, what it has that the new primary lacks, and how far its return is.

use super::id::{Generation, ServerId};
use super::sample::Lsn;
use serde::{Deserialize, Serialize};

/// What an old primary's log has behind the place where the new primary's timeline left it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The timeline that it wrote last.
    pub timeline: u32,
    /// Where the new primary's history left that timeline.
    pub fork: Lsn,
    /// Where its log ends.
    pub end: Lsn,
    /// Commits behind the fork: what stands in its log and not in the new primary's. `None`: they could not be counted.
    pub commits: Option<u64>,
    /// The first of them, and the last: transaction and time, in the words of `pg_waldump`.
    pub first: Option<String>,
    /// See `first`.
    pub last: Option<String>,
    /// Why `pg_rewind` could not be run on it, by name and in one sentence; empty: nothing stands in its way.
    pub hindrances: Vec<String>,
    /// The slot of its primary that it uses by its settings.
    pub slot: Option<String>,
    /// What became of `pg_rewind` after this failover.
    pub rewound: Rewound,
}

impl Divergence {
    /// Bytes of log behind the fork.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end.bytes_after(self.fork)
    }

    /// It has log that the new primary lacks: it cannot follow as it is.
    #[must_use]
    pub fn needs_rewind(&self) -> bool {
        self.bytes() > 0
    }

    /// For people: what would be lost of it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Divergence { fork, end, timeline, .. } = self;
        if *fork == Lsn(0) {
            return format!("it has followed timeline {timeline}, the primary's, and has nothing of its own there");
        }
        if self.bytes() == 0 {
            return format!(
                "its log ends at {end} and timeline {timeline} was left at {fork}: nothing of it is missing in the new primary"
            );
        }
        let commits = self.commits.map_or_else(|| "an unknown number of commits".to_owned(), super::salvage::counted);
        let when = match (&self.first, &self.last) {
            (Some(first), Some(last)) if first != last => format!(" (from {first} to {last})"),
            (Some(first), _) => format!(" ({first})"),
            _ => String::new(),
        };
        format!(
            "its log continues beyond {fork}, where timeline {timeline} was left, up to {end}: {} bytes with {commits}{when} that the new primary does not have",
            self.bytes()
        )
    }
}

/// What became of `pg_rewind`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rewound {
    /// It was not begun.
    #[default]
    Not,
    /// It is under way, so much of so much is copied.
    Running {
        /// Kilobytes, or 0.
        done: u64,
        /// Of so many, or 0.
        all: u64,
    },
    /// It ended well, and its server has its guard.
    Done,
    /// It ended with an error, or nobody knows how: the data directory has its guard, and is not used.
    Failed,
}

/// What was decided of a return before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejoinHow {
    /// Only where it can follow as it is.
    Clean,
    /// Also by `pg_rewind`, once a failover.
    Rewind,
    /// Only to say what would be done.
    DryRun,
    /// By a new copy of the primary's data, which takes the place of the old ones.
    Rebuild,
    /// Only to say what that would do.
    DryRebuild,
    /// By a first copy, where nothing is.
    Clone,
    /// Only to say what that would do.
    DryClone,
}

impl RejoinHow {
    /// Nothing is changed.
    #[must_use]
    pub fn is_dry(self) -> bool {
        matches!(self, RejoinHow::DryRun | RejoinHow::DryRebuild | RejoinHow::DryClone)
    }

    /// It gets a new copy.
    #[must_use]
    pub fn copies(self) -> bool {
        matches!(self, RejoinHow::Rebuild | RejoinHow::DryRebuild) || self.is_vacant()
    }

    /// Nothing is there before.
    #[must_use]
    pub fn is_vacant(self) -> bool {
        matches!(self, RejoinHow::Clone | RejoinHow::DryClone)
    }
}

/// How far a return is, where the next engine has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RejoinStage {
    /// Nothing is changed on the old primary: it is looked at.
    Look,
    /// `pg_rewind` was begun, or may have been: it is never begun again.
    Rewind,
    /// A copy was begun, or may have been: its host says how far it is.
    Copy,
    /// It can follow as it is: its settings are written, and it is started.
    Start,
}

/// What the next engine has to know of a return that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejoining {
    /// The old primary.
    pub server: ServerId,
    /// The failover after which it comes back.
    pub generation: Generation,
    /// How it may.
    pub how: RejoinHow,
    /// How far it is.
    pub stage: RejoinStage,
    /// What its log has that the new primary lacks, once it was read.
    pub divergence: Option<Divergence>,
    /// The number of its copy.
    pub attempt: Option<u32>,
}

/// How a return ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejoinEnded {
    /// The old primary.
    pub server: ServerId,
    /// `completed`, `refused`, `failed`, `dry_run`.
    pub outcome: RejoinOutcome,
    /// In one sentence.
    pub message: String,
    /// What its log had that the new primary lacks, if it was read.
    pub divergence: Option<Divergence>,
}

super::words::words! {
    /// How a return ended.
    pub enum RejoinOutcome {
        /// It streams from the present primary.
        Completed = "completed",
        /// It stays as it was: nothing was changed on it.
        Refused = "refused",
        /// Something was changed on it, and it does not stream. It keeps its guard.
        Failed = "failed",
        /// It was only to be said what would be done.
        DryRun = "dry_run",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_lost_is_said_with_its_numbers() {
        let equal = Divergence { timeline: 1, fork: Lsn(0x0300_0100), end: Lsn(0x0300_0100), ..Divergence::default() };
        assert!(!equal.needs_rewind() && equal.sentence().contains("nothing of it is missing"));
        let behind = Divergence { end: Lsn(0x0300_0000), ..equal.clone() };
        assert!(!behind.needs_rewind() && behind.bytes() == 0, "what it lacks it gets by following");
        let ahead = Divergence {
            end: Lsn(0x0300_0200),
            commits: Some(3),
            first: Some("xid 740 at 2026-01-01 00:00:00.1 UTC".to_owned()),
            last: Some("xid 742 at 2026-01-01 00:00:00.3 UTC".to_owned()),
            ..equal
        };
        let said = ahead.sentence();
        assert!(ahead.needs_rewind() && said.contains("256 bytes with 3 commits (from xid 740"), "{said}");
        assert!(Divergence::default().sentence().contains("has followed"));
    }
}
