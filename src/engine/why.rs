//! Why each finding and each refusal matters at failover time. What is wrong and what mends it depend on the server and stand in the
//! finding; this does not.

use failover_core::finding::FindingCode;
use failover_core::refusal::{CandidateRefusal, Refusal};

/// Why it matters: a clause for the code of a finding or of a refusal. It is empty if there is nothing to add.
#[must_use]
pub fn of(code: &str) -> &'static str {
    let refusal = || Refusal::row(code).or_else(|| CandidateRefusal::row(code)).map_or("", |row| row.why);
    code.parse().map_or_else(|_| refusal(), |code: FindingCode| code.row().why)
}
