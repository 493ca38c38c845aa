//! Effects on the world, each step idempotent.

pub mod command;
pub mod route;
