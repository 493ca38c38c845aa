//! Lines of JSON that carry their own checksum: what was torn or damaged on disk is told apart from what was written.
//!
//! A line begins with `"sum"`, the first half of the SHA-256 of all that follows it on the line.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Bytes of a line before what is checked: `{"sum":"` + 32 digits + `",`.
pub(super) const HEAD: usize = 8 + 32 + 2;

/// The line of a structure, with its end.
pub(super) fn line_of<T: Serialize>(body: &T) -> std::io::Result<String> {
    let json = serde_json::to_string(body)?;
    let rest = &json[1..];
    Ok(format!("{{\"sum\":\"{}\",{rest}\n", sum(rest.as_bytes())))
}

/// What a line without its end says.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    let foreign = || "is not a record of this engine".to_owned();
    let head = line.get(..HEAD).ok_or_else(foreign)?;
    let rest = &line[HEAD..];
    if !head.starts_with(b"{\"sum\":\"") || !head.ends_with(b"\",") {
        return Err(foreign());
    }
    if head[8..40] != *sum(rest).as_bytes() {
        return Err("does not match its checksum".to_owned());
    }
    let mut json = Vec::with_capacity(rest.len() + 1);
    json.push(b'{');
    json.extend_from_slice(rest);
    serde_json::from_slice(&json).map_err(|error| format!("is whole, but of a kind this version does not know: {error}"))
}

pub(super) fn sum(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)[..16].iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
