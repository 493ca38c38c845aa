//! A text that cannot be printed.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// A password, passphrase or token. Its `Debug` and `Display` print `********`; it is never serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself. Call it only where it leaves for the wire; never put the result into a message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Whether a private key, in OpenSSH's form or in PEM, opens with a passphrase alone.
#[must_use]
pub(crate) fn is_locked_key(file: &[u8]) -> bool {
    /// `openssh-key-v1`, and `none` for the cipher, in base64 up to the last whole letter.
    const OPEN: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbm";
    let text = String::from_utf8_lossy(file);
    match text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----") {
        Some((_, body)) => {
            let body: String = body.chars().filter(|letter| !letter.is_whitespace()).take(OPEN.len()).collect();
            body.len() == OPEN.len() && body != OPEN
        }
        None => text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED"),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}
