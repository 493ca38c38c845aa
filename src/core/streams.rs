//! Who replicates from whom, as the servers themselves show it: for people alone, nothing is decided by it.

use serde::{Deserialize, Serialize};

use super::time::Span;

/// What one server shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Host and port that its receiver is connected to; `None`: it has none, or the role may not see it.
    pub upstream: Option<(String, u16)>,
    /// Who receives from it; `None`: the role may not see that.
    pub children: Option<Vec<Child>>,
    /// Its slots; `None`: not known.
    pub slots: Option<Vec<Slot>>,
}

/// A row of `pg_stat_replication`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// `application_name`.
    pub application_name: String,
    /// The slot that its sender holds.
    pub slot: Option<String>,
    /// `sync_state`: `async`, `potential`, `sync` or `quorum`.
    pub sync_state: Option<String>,
    /// `replay_lag`; `None`: not measured lately.
    pub replay_lag: Option<Span>,
}

/// A replication slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// `physical` or `logical`.
    pub kind: String,
    /// Somebody uses it.
    pub active: bool,
    /// Bytes of log between its position and the end of the server's log; `None`: it holds none, or not known.
    pub held: Option<u64>,
    /// `wal_status`: `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
}
