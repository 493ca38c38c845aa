//! The tree as text: TOML and JSON, in the order of the tree.

use std::fmt::Write;

use super::node::{Node, Value, quoted};

/// The tree as JSON, indented by two spaces, with a line end at its end.
pub(super) fn json(node: &Node) -> String {
    let mut out = String::new();
    json_value(node, 0, &mut out);
    out.push('\n');
    out
}

fn json_value(node: &Node, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match &node.value {
        Value::List(items) if items.iter().all(is_scalar) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(&scalar(item, "null"));
            }
            out.push(']');
        }
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                line(depth + 1, out);
                json_value(item, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Value::Table(pairs) if pairs.is_empty() => out.push_str("{}"),
        Value::Table(pairs) => {
            out.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                line(depth + 1, out);
                out.push_str(&quoted(key));
                out.push_str(": ");
                json_value(value, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        _ => out.push_str(&scalar(node, "null")),
    }
}

/// The tree as TOML: plain values first, then tables, then lists of tables.
pub(super) fn toml(node: &Node) -> String {
    let mut out = String::new();
    toml_table(node.table().unwrap_or_default(), "", &mut out);
    out
}

fn toml_table(pairs: &[(String, Node)], path: &str, out: &mut String) {
    let inside = |key: &str| if path.is_empty() { toml_key(key) } else { format!("{path}.{}", toml_key(key)) };
    let (plain, nested): (Vec<_>, Vec<_>) = pairs.iter().partition(|(_, value)| inline(value).is_some());
    for (key, value) in plain {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{} = {}", toml_key(key), inline(value).unwrap_or_default());
    }
    for (key, value) in nested {
        let path = inside(key);
        match &value.value {
            Value::Table(pairs) => {
                let _ = writeln!(out, "\n[{path}]");
                toml_table(pairs, &path, out);
            }
            Value::List(items) => {
                for item in items {
                    let _ = writeln!(out, "\n[[{path}]]");
                    toml_table(item.table().unwrap_or_default(), &path, out);
                }
            }
            _ => {}
        }
    }
}

/// Tables that are one value in another form, and so stand on one line.
const FORMS: [&str; 4] = ["env", "file", "pgpass", "quorum"];

/// The value as it stands behind a `=`, if it is small enough for that.
pub(super) fn inline(node: &Node) -> Option<String> {
    match &node.value {
        Value::List(items) if items.iter().all(is_scalar) => {
            Some(format!("[{}]", items.iter().map(|item| scalar(item, "\"\"")).collect::<Vec<_>>().join(", ")))
        }
        Value::Table(pairs) if pairs.is_empty() => Some("{}".to_owned()),
        Value::Table(pairs) => match &pairs[..] {
            [(key, value)] if is_scalar(value) && FORMS.contains(&key.as_str()) => {
                Some(format!("{{ {} = {} }}", toml_key(key), scalar(value, "\"\"")))
            }
            _ => None,
        },
        Value::List(_) => None,
        _ => Some(scalar(node, "\"\"")),
    }
}

fn is_scalar(node: &Node) -> bool {
    !matches!(node.value, Value::List(_) | Value::Table(_))
}

fn scalar(node: &Node, null: &str) -> String {
    match &node.value {
        Value::Bool(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) | Value::Date(text) => quoted(text),
        Value::Null | Value::List(_) | Value::Table(_) => null.to_owned(),
    }
}

fn toml_key(key: &str) -> String {
    let bare =
        !key.is_empty() && key.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'));
    if bare { key.to_owned() } else { quoted(key) }
}
