//! Text to a validated, immutable configuration.

pub mod secret;

/// The configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfigErrors {}

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("")
    }
}
