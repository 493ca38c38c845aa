//! Whether a commit whose answer nobody received is on the present primary.
//!
//! A line of timelines keeps what came before each fork and nothing of what the former primary wrote behind it. A transaction's number says on
//! which side of a fork it was begun, as long as the number was not given out again behind the fork. What cannot be told apart is unknown.

use serde::{Deserialize, Serialize};

use super::id::ServerId;
use super::sample::Lsn;

/// How many forks are remembered. A line that is longer is known from its younger end only.
pub const FORKS: usize = 32;

/// What a promotion showed about the place at which the new timeline leaves the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forked {
    /// Where the old timeline ends for this line; `None`: it could not be read.
    pub at: Option<Lsn>,
    /// The next transaction number that the server would have given out while it was still a standby: a smaller one belongs to the old
    /// timeline. It may have replayed more before the fork.
    pub next_before: Option<u64>,
    /// The next one when it was seen to take writes: this one and those behind it were not in the log before the fork. It may have given out
    /// some of the smaller ones itself.
    pub next_after: Option<u64>,
}

/// A change of the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The timeline before; where the change was not ours, the youngest that was known.
    pub from: u32,
    /// The timeline that began.
    pub to: u32,
    /// What the promotion showed; `None`: the engine did not promote the server, and where it left which timeline is not known.
    pub seen: Option<Forked>,
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A transaction, by the number that `pg_current_xact_id()` gave its client.
    Xid {
        /// The number, with the epoch.
        xid: u64,
        /// The timeline on which it ran, where the client knows it.
        timeline: Option<u32>,
    },
    /// A position of the log: everything before it.
    Position {
        /// The position.
        at: Lsn,
        /// Its timeline.
        timeline: u32,
    },
}

/// What the present primary says of a transaction (`pg_xact_status`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum XactStatus {
    /// It was not asked.
    #[default]
    NotAsked,
    /// Committed.
    Committed,
    /// Aborted, or neither committed nor running.
    Aborted,
    /// It runs, or is prepared.
    InProgress,
    /// It is too old to say.
    TooOld,
    /// No transaction has this number yet.
    Future,
}

/// What the present primary said, in one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The timeline on which it writes.
    pub timeline: u32,
    /// How far its log is on the disk.
    pub flush: Lsn,
    /// What it says of the transaction that is asked about.
    pub xact: XactStatus,
}

super::words::words! {
    /// The answer.
    pub enum Survival {
        /// It is on the present primary.
        Yes = "yes",
        /// It is not.
        No = "no",
        /// Nobody can say.
        Unknown = "unknown",
    }
}

super::words::words! {
    /// Why that is the answer.
    pub enum Because {
        /// The present primary has the transaction as committed.
        Committed = "committed",
        /// It was rolled back, or was open at a fork and ended with it.
        RolledBack = "rolled_back",
        /// Nothing of it was in the log before the fork.
        BehindFork = "behind_fork",
        /// The position is before the fork.
        BeforeFork = "before_fork",
        /// The present primary has written that far on this timeline.
        Written = "written",
        /// The present primary has not written that far on this timeline.
        NotWritten = "not_written",
        /// The transaction runs, or is prepared.
        InProgress = "in_progress",
        /// The transaction is too old for `pg_xact_status`.
        TooOld = "too_old",
        /// The present primary has given this number to nobody yet.
        NotAssigned = "not_assigned",
        /// The number may have been given out again behind a fork.
        MayBeReused = "may_be_reused",
        /// The journal does not have what a fork's promotion showed.
        ForkNotRecorded = "fork_not_recorded",
        /// The timeline does not lead to the present one, as far as the journal knows.
        TimelineNotKnown = "timeline_not_known",
        /// No primary is known.
        NoPrimary = "no_primary",
        /// A failover is in progress, or another one became the primary meanwhile.
        Changing = "changing",
        /// The primary could not be asked.
        NotAsked = "not_asked",
    }
}

/// The answer, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The answer.
    pub survival: Survival,
    /// Why.
    pub because: Because,
    /// The fork that decides, where one does.
    pub fork: Option<Fork>,
}

impl Verdict {
    fn new(survival: Survival, because: Because) -> Verdict {
        Verdict { survival, because, fork: None }
    }

    /// Nobody can say.
    #[must_use]
    pub fn unknown(because: Because) -> Verdict {
        Verdict::new(Survival::Unknown, because)
    }

    fn at(self, fork: Fork) -> Verdict {
        Verdict { fork: Some(fork), ..self }
    }
}

/// What the engine knows of a service, for the question whether a commit survived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The primary.
    pub primary: Option<ServerId>,
    /// Of which cluster.
    pub system_id: Option<u64>,
    /// Every change of the primary that is remembered, oldest first.
    pub forks: Vec<Fork>,
    /// A failover is in progress, or two servers take writes.
    pub changing: bool,
}

/// Remembers a fork; the oldest is forgotten where there are too many.
pub fn remember(forks: &mut Vec<Fork>, fork: Fork) {
    forks.push(fork);
    let surplus = forks.len().saturating_sub(FORKS);
    forks.drain(..surplus);
}

/// Rules 237 to 239: whether it survived, by the forks that are known, oldest first, and what the present primary says.
#[must_use]
pub fn answer(forks: &[Fork], present: &Present, question: Question) -> Verdict {
    let timeline = match question {
        Question::Xid { xid, timeline: None } => return by_number_alone(forks, present, xid),
        Question::Xid { timeline: Some(timeline), .. } | Question::Position { timeline, .. } => timeline,
    };
    let line = match line_from(forks, present.timeline, Some(timeline)) {
        Ok(line) => line,
        Err(verdict) => return verdict,
    };
    match (question, line.last()) {
        (Question::Xid { .. }, None) => by_status(&present.xact),
        (Question::Xid { xid, .. }, Some(fork)) => by_fork(*fork, xid, &present.xact),
        (Question::Position { at, .. }, None) if at <= present.flush => Verdict::new(Survival::Yes, Because::Written),
        (Question::Position { .. }, None) => Verdict::unknown(Because::NotWritten),
        (Question::Position { at, .. }, Some(fork)) => by_position(*fork, at),
    }
}

/// Without its timeline a number has to lie before every fork of the whole line: behind any of them it may have been given out twice.
fn by_number_alone(forks: &[Fork], present: &Present, xid: u64) -> Verdict {
    let line = match line_from(forks, present.timeline, None) {
        Ok(line) => line,
        Err(verdict) => return verdict,
    };
    for fork in line {
        match fork.seen.and_then(|seen| seen.next_before) {
            Some(next) if xid < next => {}
            Some(_) => return Verdict::unknown(Because::MayBeReused).at(fork),
            None => return Verdict::unknown(Because::ForkNotRecorded).at(fork),
        }
    }
    by_status(&present.xact)
}

/// By the fork at which the transaction's timeline was left.
fn by_fork(fork: Fork, xid: u64, xact: &XactStatus) -> Verdict {
    let seen = fork.seen.unwrap_or_default();
    match (seen.next_before, seen.next_after) {
        (Some(before), _) if xid < before => by_status(xact).at(fork),
        (_, Some(after)) if xid >= after => Verdict::new(Survival::No, Because::BehindFork).at(fork),
        (Some(_), Some(_)) => Verdict::unknown(Because::MayBeReused).at(fork),
        _ => Verdict::unknown(Because::ForkNotRecorded).at(fork),
    }
}

fn by_position(fork: Fork, at: Lsn) -> Verdict {
    match fork.seen.and_then(|seen| seen.at) {
        Some(end) if at <= end => Verdict::new(Survival::Yes, Because::BeforeFork).at(fork),
        Some(_) => Verdict::new(Survival::No, Because::BehindFork).at(fork),
        None => Verdict::unknown(Because::ForkNotRecorded).at(fork),
    }
}

fn by_status(xact: &XactStatus) -> Verdict {
    match xact {
        XactStatus::Committed => Verdict::new(Survival::Yes, Because::Committed),
        XactStatus::Aborted => Verdict::new(Survival::No, Because::RolledBack),
        XactStatus::InProgress => Verdict::unknown(Because::InProgress),
        XactStatus::TooOld => Verdict::unknown(Because::TooOld),
        XactStatus::Future => Verdict::unknown(Because::NotAssigned),
        XactStatus::NotAsked => Verdict::unknown(Because::NotAsked),
    }
}

/// The forks between the present timeline and this one, youngest first; with `None` back to the first timeline of the cluster.
fn line_from(forks: &[Fork], present: u32, wanted: Option<u32>) -> Result<Vec<Fork>, Verdict> {
    let wanted = wanted.unwrap_or(1);
    let mut line = Vec::new();
    let mut timeline = present;
    loop {
        let into: Vec<&Fork> = forks.iter().filter(|fork| fork.to == timeline).collect();
        // Two servers that were promoted to the same number: of which one somebody speaks is not known.
        if into.len() > 1 || into.iter().any(|fork| fork.to <= fork.from) {
            return Err(Verdict::unknown(Because::TimelineNotKnown));
        }
        if timeline == wanted {
            return Ok(line);
        }
        let Some(fork) = into.first() else { return Err(Verdict::unknown(Because::TimelineNotKnown)) };
        if fork.seen.is_none() {
            return Err(Verdict::unknown(Because::ForkNotRecorded).at(**fork));
        }
        line.push(**fork);
        timeline = fork.from;
    }
}

#[cfg(test)]
mod tests;
