//! Where a secret comes from: the environment, a file, a password file, or the configuration itself.

use std::path::{Path, PathBuf};

use super::node::{Node, Value};
use super::rule::Rule;
use super::scalar::local_path;
use super::setting::{Reader, Setting, Shape, Slot};
use crate::secret::Secret;

/// What stands for a secret in everything that is shown.
pub(super) const MASK: &str = "********";
/// The longest file that holds a secret.
const LONGEST_FILE: u64 = 64 * 1024;

/// A secret and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcedSecret {
    /// The secret itself.
    pub secret: Secret,
    /// Its source.
    pub source: SecretSource,
}

/// The source of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretSource {
    /// The configuration itself.
    Literal,
    /// An environment variable.
    Env(String),
    /// A file. A final line end is dropped.
    File(PathBuf),
    /// A libpq password file: this one, or with `None` that of `PGPASSFILE`, else `~/.pgpass`.
    Pgpass(Option<PathBuf>),
}

/// Reads a secret; without `pgpass` where there is no server to look up. `None` when it was reported as wrong.
pub(super) fn read_secret(mut slot: Slot<'_>, reader: &mut Reader<'_>) -> Option<SourcedSecret> {
    const FORMS: &str = "write { env = \"NAME\" }, { file = \"/path\" }, { pgpass = true } or the text itself";
    slot.secret = true;
    match &slot.node().value {
        Value::Text(text) => {
            let secret = Secret::new(text.clone());
            if let Err(reason) = usable(text) {
                reader.wrong(&slot, format!("this secret cannot be used: {reason}"), FORMS);
                return None;
            }
            if text == MASK {
                let reason = "this is the mask that stands for a secret in printed configurations, not the secret";
                reader.wrong(&slot, reason, "write the secret, or where it is found");
                return None;
            }
            if is_placeholder(text) {
                let reason = "this is the secret as it stands: no variable is put in its place";
                reader.warn(&slot, reason, "write { env = \"NAME\" }");
            }
            reader.literals.push((slot.layers[0].at.text(), slot.node().place));
            Some(SourcedSecret { secret, source: SecretSource::Literal })
        }
        Value::Table(pairs) if pairs.len() == 1 => {
            let key = pairs[0].0.clone();
            if !["env", "file", "pgpass"].contains(&key.as_str()) {
                // Not told by its name, which may be the secret itself.
                reader.wrong(&slot, "no such place of a secret is known", "use one of: env, file, pgpass");
                return None;
            }
            let inner = slot.key(&key)?;
            read_source(&key, inner, reader)
        }
        _ => {
            reader.wrong(&slot, "this is no secret and no single place of one", FORMS);
            None
        }
    }
}

/// `${NAME}`, `$NAME`, `{{ NAME }}`, `%NAME%`: what a template would have replaced.
fn is_placeholder(text: &str) -> bool {
    let name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.- ".contains(c));
    let between = |open: &str, close: &str| text.strip_prefix(open).and_then(|text| text.strip_suffix(close)).is_some_and(name);
    let bare = text.strip_prefix('$').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    });
    bare || between("${", "}") || between("{{", "}}") || between("%", "%")
}

fn read_source(key: &str, mut slot: Slot<'_>, reader: &mut Reader<'_>) -> Option<SourcedSecret> {
    let written = slot.node().text().map(str::to_owned);
    match (key, written) {
        // The name of a variable, or of a file, is no secret and needed in the message. A secret that stands there by
        // mistake does not look like one.
        ("env", Some(name)) => {
            if name.is_empty() || name.contains(['=', '\0']) || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                reader.wrong(&slot, "this is no name of an environment variable", "write a name such as \"PGPASSWORD\"");
                return None;
            }
            slot.secret = false;
            let Some(text) = reader.surroundings.variable(&name) else {
                reader.wrong(&slot, "this environment variable is not set", "set it in the engine's environment");
                return None;
            };
            if let Err(reason) = usable(&text) {
                reader.wrong(&slot, format!("what this environment variable holds cannot be used: {reason}"), "set it anew");
                return None;
            }
            Some(SourcedSecret { secret: Secret::new(text), source: SecretSource::Env(name) })
        }
        ("file", Some(name)) => {
            let path = match local_path(&name, reader) {
                Ok(path) => path,
                Err((reason, remedy)) => {
                    reader.wrong(&slot, reason, remedy);
                    return None;
                }
            };
            slot.secret = false;
            let secret = read_file(&path, &slot, reader)?;
            Some(SourcedSecret { secret, source: SecretSource::File(path) })
        }
        ("pgpass", Some(name)) => match local_path(&name, reader) {
            Ok(path) => Some(SourcedSecret { secret: Secret::new(""), source: SecretSource::Pgpass(Some(path)) }),
            Err((reason, remedy)) => {
                reader.wrong(&slot, reason, remedy);
                None
            }
        },
        ("pgpass", None) if slot.node().value == Value::Bool(true) => {
            Some(SourcedSecret { secret: Secret::new(""), source: SecretSource::Pgpass(None) })
        }
        ("pgpass", None) => {
            reader.wrong(&slot, "this is no password file", "write true, or the path of the file in quotes");
            None
        }
        ("env" | "file", None) => {
            reader.wrong(&slot, "this must be a text in quotes", "write a text in quotes");
            None
        }
        _ => None,
    }
}

fn read_file(path: &Path, slot: &Slot<'_>, reader: &mut Reader<'_>) -> Option<Secret> {
    let content = match reader.surroundings.file(path, LONGEST_FILE) {
        Ok(content) => content,
        Err(error) => {
            let remedy = "make the file, readable by the engine's user";
            reader.wrong(slot, format!("this file cannot be read: {error}"), remedy);
            return None;
        }
    };
    if content.mode & 0o077 != 0 {
        let reason = format!("this file can be read by others than its owner (mode {:04o})", content.mode);
        reader.warn(slot, reason, "chmod 600");
    }
    let Ok(text) = String::from_utf8(content.bytes) else {
        reader.wrong(slot, "this file is not UTF-8 text", "write the secret as text into it");
        return None;
    };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if let Err(reason) = usable(text) {
        reader.wrong(
            slot,
            format!("what this file holds cannot be used: {reason}"),
            "write the secret, and nothing else, into it",
        );
        return None;
    }
    Some(Secret::new(text))
}

/// Whether a text can be a secret on every wire it may go over.
fn usable(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.chars().any(|character| matches!(character, '\0' | '\n' | '\r')) {
        return Err("it has more than one line");
    }
    if text.len() > 4096 { Err("it is longer than 4096 bytes") } else { Ok(()) }
}

impl Setting for SourcedSecret {
    fn shape(_rule: Rule) -> Shape {
        Shape::Secret
    }

    fn blank() -> SourcedSecret {
        SourcedSecret { secret: Secret::new(""), source: SecretSource::Literal }
    }

    fn read<'a>(slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> SourcedSecret {
        read_secret(slot, reader).unwrap_or_else(SourcedSecret::blank)
    }

    fn write(&self) -> Option<Node> {
        let source = |key: &str, node: Node| Node::from(vec![(key.to_owned(), node)]);
        Some(match &self.source {
            SecretSource::Literal => Node::from(MASK),
            SecretSource::Env(name) => source("env", Node::from(name.as_str())),
            SecretSource::File(path) => source("file", Node::from(path.display().to_string())),
            SecretSource::Pgpass(None) => source("pgpass", Node::from(true)),
            SecretSource::Pgpass(Some(path)) => source("pgpass", Node::from(path.display().to_string())),
        })
    }
}
