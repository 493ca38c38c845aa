//! Why a procedure was begun: a failure that was confirmed, or somebody's order.

use super::evidence::FailureClass;
use super::words::UnknownWord;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Why a procedure was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The primary failed in this way.
    Failed(FailureClass),
    /// An operator said so.
    Forced,
    /// An operator had the primary, which is well, hand over.
    Switchover,
    /// The service that it follows has a new primary.
    Followed,
}

impl FromStr for Reason {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Reason, UnknownWord> {
        let orders = [Reason::Forced, Reason::Switchover, Reason::Followed].into_iter().find(|reason| reason.as_str() == word);
        orders.map_or_else(|| word.parse().map(Reason::Failed), Ok)
    }
}

impl Reason {
    /// The word used in events, status and journal: of a failure, its class.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Failed(class) => class.as_str(),
            Reason::Forced => "forced",
            Reason::Switchover => "switchover",
            Reason::Followed => "followed",
        }
    }

    /// What happened, in a sentence.
    #[must_use]
    pub fn sentence(self) -> String {
        match self {
            Reason::Failed(class) => format!("the primary is {}", class.as_str()),
            Reason::Forced => "an operator forced the failover".to_owned(),
            Reason::Switchover => "an operator ordered a switchover".to_owned(),
            Reason::Followed => "the service that it follows has a new primary".to_owned(),
        }
    }

    /// The failure, where it is one.
    #[must_use]
    pub fn class(self) -> Option<FailureClass> {
        match self {
            Reason::Failed(class) => Some(class),
            Reason::Forced | Reason::Switchover | Reason::Followed => None,
        }
    }

    /// No failure of the server's own: it was to be replaced.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        self.class().is_none()
    }

    /// It failed in this way.
    #[must_use]
    pub fn is(self, class: FailureClass) -> bool {
        self.class() == Some(class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_word() {
        use FailureClass::{Dead, Hung, Unreachable, Unusable};
        let failures = [Dead, Hung, Unreachable, Unusable].map(Reason::Failed);
        for reason in failures.into_iter().chain([Reason::Forced, Reason::Switchover, Reason::Followed]) {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(reason.is_ordered(), reason.class().is_none());
        }
        assert_eq!("bored".parse::<Reason>(), Err(UnknownWord));
    }
}
