//! What a name in the DNS holds.

use std::fmt;

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordType {
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
    #[cfg_attr(not(any(feature = "route53", feature = "rfc2136")), allow(dead_code, reason = "no provider"))]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            RecordType::A => "A",
            RecordType::Aaaa => "AAAA",
            RecordType::Cname => "CNAME",
        }
    }
}

/// What a name holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordSet {
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
