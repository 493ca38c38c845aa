//! Names that follow the active server: record sets on name servers that this engine may change.
//!
//! A changed record is routing, never a fence (rule 30), and a failed one never undoes a good promotion (rule 46): clients keep
//! what they have cached for as long as its TTL says.

pub(crate) mod names;
#[cfg(feature = "rfc2136")]
pub(crate) mod rfc2136;
#[cfg(feature = "route53")]
pub(crate) mod route53;
pub(crate) mod verify;

pub(crate) use crate::wire::record_set::{RecordSet, RecordType};

use crate::deadline::{Cancel, Deadline};
use failover_core::output::Failure;
use failover_core::sample::RouteInstance;

/// One record set on one name server. Thread-safe; every operation may be repeated.
pub(crate) trait Record: Send + Sync {
    /// What it is for people: `app.example.com. A at 10.0.0.53:53`.
    #[cfg_attr(not(any(feature = "route53", feature = "rfc2136")), allow(dead_code, reason = "no provider"))]
    fn describe(&self) -> String;

    /// What it holds now, asked where it is changed; `None`: the name has no record of this type.
    ///
    /// # Errors
    /// Why it cannot be read. Nothing was changed.
    fn read(&self, deadline: Deadline, cancel: &Cancel) -> Result<Option<RecordSet>, Failure>;

    /// Whether the name is in the zone where it would be changed, and not in one of its own below that. What cannot be asked is no error.
    ///
    /// # Errors
    /// Whose it is instead. Nothing was changed.
    fn in_its_zone(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), Failure> {
        let _ = (deadline, cancel);
        Ok(())
    }

    /// Makes it hold exactly this, `None` to remove it, and waits until every authoritative server has it. What it already
    /// holds is not written again. Answers one line for people.
    ///
    /// # Errors
    /// What failed, what to do, and whether an effect is excluded.
    fn write(&self, wanted: Option<&RecordSet>, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure>;
}

/// What is kept beside a name and follows the active server with it, such as health checks of the name's provider. Thread-safe;
/// every operation may be repeated. A failure never makes the name's own change a failed one.
pub(crate) trait Companions: Send + Sync {
    /// Another failover begins: what was before an earlier one is of the past.
    fn begin(&self);

    /// Makes them fit a server that is active from now on.
    fn follow(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance>;

    /// Makes them again what they were before this failover; those that this engine did not look at fit `server`.
    fn roll_back(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance>;

    /// Reads each and changes nothing.
    fn look(&self, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance>;
}
