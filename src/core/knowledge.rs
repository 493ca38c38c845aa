//! What was seen of a service and must outlive the engine with its true age: read by the next engine at its start.

use super::Core;
use super::id::ServerId;
use super::time::Span;
use serde::{Deserialize, Serialize};

/// What is known of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knowledge {
    /// The primary.
    pub primary: ServerId,
    /// The cluster's identity.
    pub system_id: u64,
    /// How long ago this was seen.
    pub age: Span,
}

impl Knowledge {
    /// The same, this much older.
    #[must_use]
    pub fn aged(self, by: Span) -> Knowledge {
        Knowledge { age: self.age + by, ..self }
    }

    /// The same with other server numbers; `None` where the primary is not among them.
    #[must_use]
    pub fn mapped(self, id: &dyn Fn(ServerId) -> Option<ServerId>) -> Option<Knowledge> {
        Some(Knowledge { primary: id(self.primary)?, ..self })
    }
}

impl Core {
    /// What is known of each service. Ages are relative to the moment of the last step.
    #[must_use]
    pub fn knowledge(&self) -> Vec<Option<Knowledge>> {
        let of = |service: &super::service::Service| {
            let system_id = service.system_id.unwrap_or_default();
            service.primary.map(|primary| Knowledge { primary, system_id, age: Span::ZERO })
        };
        self.services.iter().map(of).collect()
    }
}
