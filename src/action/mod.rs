//! Effects on the world, each step idempotent.

#[cfg(feature = "ssh")]
pub mod host;
pub mod postgres;
