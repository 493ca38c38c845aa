//! Effects on the world, each step idempotent.

pub mod command;
#[cfg(feature = "ssh")]
pub mod host;
pub mod postgres;
pub mod route;
