//! Text to a validated, immutable configuration.

pub mod secret;
