//! Identifiers: small, typed, never reused.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// A service, by its place in the configuration.
    ServiceId(u16)
}
number! {
    /// A server of one service, by its place in that service.
    ServerId(u16)
}
number! {
    /// A check of one service, by its place in that service.
    CheckId(u16)
}
number! {
    /// One run of one check. A result that carries an old run is discarded.
    RunId(u64)
}
number! {
    /// One action handed to the executor. An outcome that carries an old id is discarded.
    ActionId(u64)
}
number! {
    /// Grows by one with every failover of a service; carried by every action, so that an actuator can refuse an old one.
    Generation(u64)
}
number! {
    /// The place of an event in the engine's one order of events: strictly increasing, a gap means events were dropped.
    Seq(u64)
}
