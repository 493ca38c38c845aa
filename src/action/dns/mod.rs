//! Names that follow the active server: record sets on name servers that this engine may change.
//!
//! A changed record is routing, never a fence (rule 30), and a failed one never undoes a good promotion (rule 46): clients keep
//! what they have cached for as long as its TTL says.

pub mod names;
#[cfg(feature = "rfc2136")]
pub mod rfc2136;
#[cfg(feature = "route53")]
pub mod route53;
pub mod verify;

use std::fmt;

use crate::wire::deadline::{Cancel, Deadline};
use failover_core::output::Failure;
use failover_core::sample::RouteInstance;

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
}

impl RecordType {
    /// As it stands in a zone file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            RecordType::A => "A",
            RecordType::Aaaa => "AAAA",
            RecordType::Cname => "CNAME",
        }
    }
}

/// What a name holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// The values as a zone file shows them: addresses, or one name with its final dot. Never empty; the order means nothing.
    pub values: Vec<String>,
    /// How long resolvers may keep it, in seconds, 0 to 2^31 - 1.
    pub ttl: u32,
}

impl fmt::Display for RecordSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (TTL {} s)", self.values.join(", "), self.ttl)
    }
}

/// One record set on one name server. Thread-safe; every operation may be repeated.
pub trait Record: Send + Sync {
    /// What it is for people: `app.example.com. A at 10.0.0.53:53`.
    fn describe(&self) -> String;

    /// What it holds now, asked where it is changed; `None`: the name has no record of this type.
    ///
    /// # Errors
    /// Why it cannot be read. Nothing was changed.
    fn read(&self, deadline: Deadline, cancel: &Cancel) -> Result<Option<RecordSet>, Failure>;

    /// Makes it hold exactly this, `None` to remove it, and waits until every authoritative server has it. What it already
    /// holds is not written again. Answers one line for people.
    ///
    /// # Errors
    /// What failed, what to do, and whether an effect is excluded.
    fn write(&self, wanted: Option<&RecordSet>, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure>;
}

/// What is kept beside a name and follows the active server with it, such as health checks of the name's provider. Thread-safe;
/// every operation may be repeated. A failure never makes the name's own change a failed one.
pub trait Companions: Send + Sync {
    /// Another failover begins: what was before an earlier one is of the past.
    fn begin(&self);

    /// Makes them fit a server that is active from now on.
    fn follow(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance>;

    /// Makes them again what they were before this failover; those that this engine did not look at fit `server`.
    fn roll_back(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance>;

    /// Reads each and changes nothing.
    fn look(&self, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance>;
}
