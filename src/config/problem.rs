//! What is wrong with a configuration: where, with which value, why, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A JSON pointer (RFC 6901) to one value of the configuration, such as `/services/0/trigger/cooldown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pointer(String);

impl Pointer {
    /// The whole document.
    pub(super) fn root() -> Pointer {
        Pointer(String::new())
    }

    /// The value under `key`.
    pub(super) fn key(&self, key: &str) -> Pointer {
        Pointer(format!("{}/{}", self.0, key.replace('~', "~0").replace('/', "~1")))
    }

    /// The value at `index`.
    pub(super) fn index(&self, index: usize) -> Pointer {
        Pointer(format!("{}/{index}", self.0))
    }

    /// This pointer, and those of everything it lies in, up to the whole document.
    pub(super) fn with_ancestors(&self) -> impl Iterator<Item = Pointer> {
        std::iter::successors(Some(self.clone()), |at| at.0.rfind('/').map(|end| Pointer(at.0[..end].to_owned())))
    }

    /// The keys and indexes on the way down.
    pub(super) fn steps(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"))
    }

    /// The pointer as text; the whole document is `/`. Control characters, which a key may hold, are escaped.
    pub(super) fn text(&self) -> String {
        if self.0.is_empty() {
            return "/".to_owned();
        }
        let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        self.0.chars().map(escape).collect()
    }
}

/// One mistake in the configuration, or one warning.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// JSON pointer to the value, such as `/services/0/trigger/cooldown`; `/` is the whole document.
    pub path: String,
    /// The line in the file, from 1. In JSON it is known only for syntax errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in that line, from 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The value as it was read, shortened. It is absent if there is no value, and `********` if the value is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why it is wrong.
    pub reason: String,
    /// What to write or do instead.
    pub remedy: String,
}

impl fmt::Display for Problem {
    /// One line with place, value, reason and remedy. A mistake of the whole document has no place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path == "/" && self.line.is_none() && self.value.is_none() {
            return write!(f, "{}; {}", self.reason, self.remedy);
        }
        f.write_str(&self.path)?;
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, " (line {line}, column {column})")?,
            (Some(line), None) => write!(f, " (line {line})")?,
            _ => {}
        }
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}; {}", self.reason, self.remedy)
    }
}

/// All mistakes of a configuration. The list is never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConfigErrors {
    /// The file, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The errors, in the order of the document.
    pub errors: Vec<Problem>,
    /// The warnings: what looks wrong but would not stop the engine.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    /// One line for each error, under a line that counts them. Warnings are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(f, "{}: {count} {noun}", self.file.as_deref().unwrap_or("configuration"))?;
        for problem in &self.errors {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
