//! The end of a dead primary's log, carried over to a standby: with asynchronous replication what only the old primary's disk has.

use super::sample::Lsn;
use serde::{Deserialize, Serialize};

/// What became of carrying the end of an old primary's log to a standby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salvaged {
    /// Where the old server's log ends: behind its last valid record.
    pub end: Lsn,
    /// So many bytes the standby lacked; 0 where nothing is missing.
    pub missing: u64,
    /// So many of them the standby has replayed. Equal to `missing` where nothing is lost.
    pub salvaged: u64,
    /// The commits in the salvaged part, where they could be counted.
    pub commits: Option<u64>,
    /// What the standby has replayed now.
    pub replayed: Lsn,
    /// Why not all of it was carried over: what and where. `None` where nothing is left.
    pub failed: Option<String>,
}

impl Salvaged {
    /// What the standby still lacks.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.missing.saturating_sub(self.salvaged)
    }
}
