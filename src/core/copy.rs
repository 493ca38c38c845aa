//! A new copy of the primary's data for one server: what stands in its way, how far it is, and how it takes the place of what was there.

use super::id::ServerId;
use super::output::Step;
use serde::{Deserialize, Serialize};

/// What a host is to do about a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyOrder {
    /// Say how much a copy of this primary needs, and what of it cannot be copied. Answer: [`CopyReport::Size`].
    Measure,
    /// Say what stands in the way of a copy, and what is left of earlier ones. Answer: [`CopyReport::Found`].
    Find {
        /// Whose data it would get.
        primary: ServerId,
        /// Nothing is to be there yet.
        vacant: bool,
        /// The size of those data.
        kib: u64,
    },
    /// Begin it, detached from the session that asks for it. Once for each attempt: asked again the host only says so. Answer:
    /// [`CopyReport::Done`].
    Begin {
        /// Whose data it gets.
        primary: ServerId,
        /// Nothing is to be there yet.
        vacant: bool,
        /// The number of the attempt.
        attempt: u32,
        /// The size of those data.
        kib: u64,
    },
    /// Read how far it is. Answer: [`CopyReport::State`].
    Read {
        /// Nothing was there.
        vacant: bool,
        /// The number of the attempt.
        attempt: u32,
    },
    /// Put it in the place of the data directory, which is kept under another name. Done again it finds that. Answer:
    /// [`CopyReport::Swapped`].
    Swap {
        /// Nothing was there.
        vacant: bool,
        /// The number of the attempt.
        attempt: u32,
        /// The cluster's identity.
        system_id: u64,
        /// The primary's timeline.
        timeline: u32,
    },
}

impl CopyOrder {
    /// Which step it is.
    #[must_use]
    pub fn step(&self) -> Step {
        match self {
            CopyOrder::Measure => Step::MeasureData,
            CopyOrder::Find { .. } => Step::FindCopy,
            CopyOrder::Begin { .. } => Step::CopyData,
            CopyOrder::Read { .. } => Step::ReadCopy,
            CopyOrder::Swap { .. } => Step::SwapData,
        }
    }
}

/// What a host says of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyReport {
    /// How much it needs.
    Size {
        /// Kilobytes, without the log.
        kib: u64,
        /// What cannot be copied: a name and a sentence each.
        hindrances: Vec<String>,
    },
    /// What there is.
    Found(FoundCopy),
    /// It is done.
    Done {
        /// One line for people.
        message: String,
    },
    /// How far it is.
    State {
        /// How far.
        state: CopyState,
        /// One line for people.
        message: String,
    },
    /// It is the data directory.
    Swapped {
        /// Where the directory is that was there before.
        kept: Option<String>,
        /// Its size, where that could be read.
        kib: Option<u64>,
    },
}

impl CopyReport {
    /// Whether it is as it should be, and one line about it.
    #[must_use]
    pub fn sentence(&self) -> (bool, String) {
        match self {
            CopyReport::Size { kib, .. } => (true, format!("a copy needs {} MiB", kib.div_ceil(1024))),
            CopyReport::Found(found) if found.hindrances.is_empty() => (true, format!("copy {} can be made", found.attempt)),
            CopyReport::Found(found) => (false, found.hindrances.join("; ")),
            CopyReport::Done { message } => (true, message.clone()),
            CopyReport::State { state, message } => (*state != CopyState::Failed, message.clone()),
            CopyReport::Swapped { kept: None, .. } => (true, "the copy is the data directory".to_owned()),
            CopyReport::Swapped { kept: Some(kept), kib } => {
                let size = kib.map_or_else(String::new, |kib| format!(" ({} MiB)", kib.div_ceil(1024)));
                (true, format!("the copy is the data directory; the old one is kept as {kept}{size}"))
            }
        }
    }
}

/// What is found before a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCopy {
    /// The number of the attempt: a new one, or that of a copy that is under way or whole.
    pub attempt: u32,
    /// How far that is.
    pub state: CopyState,
    /// The slot that the server uses by its settings.
    pub slot: Option<String>,
    /// What stands in the way: a name and a sentence each.
    pub hindrances: Vec<String>,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyState {
    /// It was not begun.
    #[default]
    Not,
    /// So much of so much is copied.
    Running {
        /// Kilobytes.
        done: u64,
        /// Of so many, or 0.
        all: u64,
    },
    /// It is whole, beside the data directory.
    Done,
    /// It is about to take the place of the data directory, where nothing is any more.
    Swapping,
    /// It is the data directory.
    Swapped,
    /// It ended with an error, or nobody knows how: it is never used.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_old_directory_is_and_how_big_is_said() {
        let swapped = CopyReport::Swapped { kept: Some("/d.failover-old-1".to_owned()), kib: Some(2049) };
        let (ok, said) = swapped.sentence();
        assert!(ok && said.contains("kept as /d.failover-old-1 (3 MiB)"), "{said}");
        let failed = CopyReport::State { state: CopyState::Failed, message: "no space".to_owned() };
        assert_eq!(failed.sentence(), (false, "no space".to_owned()));
    }
}
