//! Headers of an HTTP check.

use std::collections::BTreeMap;

use super::node::Node;
use super::rule::Rule;
use super::secret_source::{SecretSource, SourcedSecret, read_secret};
use super::setting::{Reader, Setting, Shape, Slot};
use crate::secret::Secret;

/// Headers by name. Every value is treated as a secret, because it can be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub BTreeMap<String, SourcedSecret>);

/// Headers that hold no secret. Their values are shown.
const HARMLESS: [&str; 9] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-type",
    "host",
    "origin",
    "user-agent",
];

fn harmless(name: &str) -> bool {
    HARMLESS.contains(&name.to_ascii_lowercase().as_str())
}

impl Setting for Headers {
    fn shape(_rule: Rule) -> Shape {
        Shape::Map(Box::new(Shape::Secret))
    }

    fn blank() -> Headers {
        Headers::default()
    }

    fn absent<'a>(_slot: &Slot<'a>, _rule: Rule, _reader: &mut Reader<'a>) -> Headers {
        Headers::default()
    }

    fn read<'a>(mut slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> Headers {
        slot.secret = true;
        let Some(pairs) = slot.node().table() else {
            reader.wrong(&slot, "this must be a table", "write { Name = \"value\" }");
            return Headers::default();
        };
        let names: Vec<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
        let mut headers = BTreeMap::new();
        for name in names {
            let Some(value) = slot.key(&name) else { continue };
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                // Not told by its name: a whole line, value and all, is easily put there.
                reader.wrong(&slot, "one of these is no name of a header", "use letters, digits and '-'");
                continue;
            }
            if let (true, Some(text)) = (harmless(&name), value.node().text()) {
                if text.chars().any(char::is_control) {
                    reader.wrong(&value, "this has a control character", "remove it");
                }
                headers.insert(name, SourcedSecret { secret: Secret::new(text), source: SecretSource::Literal });
            } else if let Some(secret) = read_secret(value, reader) {
                headers.insert(name, secret);
            }
        }
        Headers(headers)
    }

    fn write(&self) -> Option<Node> {
        let pair = |(name, value): (&String, &SourcedSecret)| {
            let shown = harmless(name) && value.source == SecretSource::Literal;
            let node = if shown { Node::from(value.secret.expose()) } else { value.write()? };
            Some((name.clone(), node))
        };
        Some(Node::from(self.0.iter().filter_map(pair).collect::<Vec<_>>()))
    }
}
