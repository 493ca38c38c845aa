//! Effects on the world, each step idempotent.
