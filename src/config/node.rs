//! The configuration as a tree of untyped values that remember their place in the text.

use std::borrow::Cow;
use std::fmt::Write;

use super::secret_source::MASK;
use super::url::without_secrets;

/// A place in the text, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and its place, where that is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Option<Place>,
}

/// What TOML and JSON can say. Tables keep the order of the text, and keys that were given twice.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Date(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    /// The value under `key` of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The pairs of a table.
    pub(super) fn table(&self) -> Option<&[(String, Node)]> {
        match &self.value {
            Value::Table(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same with what is secret in every URL masked.
    pub(super) fn without_secrets_in_urls(self) -> Node {
        let value = match self.value {
            Value::Text(text) => Value::Text(without_secrets(&text).into_owned()),
            Value::List(items) => Value::List(items.into_iter().map(Node::without_secrets_in_urls).collect()),
            Value::Table(pairs) => {
                Value::Table(pairs.into_iter().map(|(key, value)| (key, value.without_secrets_in_urls())).collect())
            }
            other => other,
        };
        Node { value, ..self }
    }

    /// The value for an error message: scalars shortened to 60 characters, of the rest only what it is, because what it
    /// holds may be secret.
    pub(super) fn shown(&self) -> String {
        const LONGEST: usize = 60;
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => flag.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Date(text) => text.clone(),
            Value::Text(text) => {
                let text = without_secrets(text);
                let text = without_password(&text);
                if text.chars().count() <= LONGEST {
                    return quoted(&text);
                }
                let head: String = text.chars().take(LONGEST).collect();
                quoted(&format!("{head}..."))
            }
            Value::List(items) if items.is_empty() => "[]".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }
}

/// A text with what may be a password in it masked: a connection string or a URL is easily put where a host name belongs.
fn without_password(text: &str) -> Cow<'_, str> {
    const MARKS: [&str; 7] = ["password", "passwd", "passphrase", "pwd", "secret", "token", "authorization"];
    // ASCII only: the places in the text stay the same.
    let lower = text.to_ascii_lowercase();
    let marked = MARKS.iter().filter_map(|mark| {
        let end = lower.find(mark)? + mark.len();
        let sign =
            lower[end..].find(|character: char| character != ' ').filter(|at| lower[end + at..].starts_with(['=', ':']))?;
        Some(end + sign + 1)
    });
    let head = marked.min();
    let kept = &text[..head.unwrap_or(text.len())];
    let tail = if head.is_some() { MASK } else { "" };
    match (kept.find("://"), kept.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => Cow::Owned(format!("{}{MASK}{}{tail}", &kept[..scheme + 3], &kept[at..])),
        _ if tail.is_empty() => Cow::Borrowed(text),
        _ => Cow::Owned(format!("{kept}{tail}")),
    }
}

/// A text in quotes that is both a JSON string and a TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                let mut units = [0; 2];
                for unit in control.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

impl From<&str> for Node {
    fn from(text: &str) -> Node {
        Node::from(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Node {
        Node { value: Value::Text(text), place: None }
    }
}

impl From<i32> for Node {
    fn from(number: i32) -> Node {
        Node { value: Value::Integer(i128::from(number)), place: None }
    }
}

impl From<u64> for Node {
    fn from(number: u64) -> Node {
        Node { value: Value::Integer(i128::from(number)), place: None }
    }
}

impl From<bool> for Node {
    fn from(flag: bool) -> Node {
        Node { value: Value::Bool(flag), place: None }
    }
}

impl From<Vec<Node>> for Node {
    fn from(items: Vec<Node>) -> Node {
        Node { value: Value::List(items), place: None }
    }
}

impl<const N: usize> From<[i32; N]> for Node {
    fn from(numbers: [i32; N]) -> Node {
        Node::from(numbers.into_iter().map(Node::from).collect::<Vec<Node>>())
    }
}

impl From<Vec<(String, Node)>> for Node {
    fn from(pairs: Vec<(String, Node)>) -> Node {
        Node { value: Value::Table(pairs), place: None }
    }
}
