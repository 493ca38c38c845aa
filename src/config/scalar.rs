//! Settings of plain types: flags, numbers, texts, paths, and lists, maps and options of settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::node::{Node, Value};
use super::rule::Rule;
use super::setting::{Reader, Setting, Shape, Slot};

impl Setting for bool {
    fn shape(_rule: Rule) -> Shape {
        Shape::Boolean
    }

    fn blank() -> bool {
        false
    }

    fn read<'a>(slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> bool {
        if let Value::Bool(flag) = slot.node().value {
            return flag;
        }
        reader.wrong(&slot, "this must be true or false", "write true or false, without quotes");
        false
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(*self))
    }
}

macro_rules! integers {
    ($($type:ty),*) => { $(
        impl Setting for $type {
            fn shape(rule: Rule) -> Shape {
                Shape::Integer(match rule {
                    Rule::Range(..) => rule,
                    _ => Rule::Range(0, u64::from(<$type>::MAX)),
                })
            }

            fn blank() -> $type {
                0
            }

            fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> $type {
                read_integer(&slot, rule, reader).and_then(|number| <$type>::try_from(number).ok()).unwrap_or(0)
            }

            fn write(&self) -> Option<Node> {
                Some(Node::from(u64::from(*self)))
            }
        }
    )* };
}

integers!(u16, u32);

impl Setting for u64 {
    fn shape(_rule: Rule) -> Shape {
        // TOML knows no integer beyond 63 bits.
        Shape::Integer(Rule::Range(0, i64::MAX.unsigned_abs()))
    }

    fn blank() -> u64 {
        0
    }

    fn read<'a>(slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> u64 {
        read_integer(&slot, Rule::Range(0, i64::MAX.unsigned_abs()), reader).unwrap_or(0)
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(*self))
    }
}

/// Reads an integer within its range.
pub(super) fn read_integer(slot: &Slot<'_>, rule: Rule, reader: &mut Reader<'_>) -> Option<u64> {
    let (least, most) = if let Rule::Range(least, most) = rule { (least, most) } else { (0, u64::MAX) };
    let remedy = if least == most { format!("write {least}") } else { format!("write a number from {least} to {most}") };
    match slot.node().value {
        Value::Integer(number) => match u64::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => return Some(number),
            _ => reader.wrong(slot, "this number is out of range", remedy),
        },
        _ => reader.wrong(slot, "this must be a whole number", remedy),
    }
    None
}

impl Setting for String {
    fn shape(rule: Rule) -> Shape {
        Shape::Text(rule)
    }

    fn blank() -> String {
        String::new()
    }

    fn read<'a>(mut slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> String {
        let Some(text) = slot.node().text().map(str::to_owned) else {
            reader.wrong(&slot, "this must be a text", "write it in quotes");
            return String::new();
        };
        if let Err((reason, remedy)) = rule.check_text(&text) {
            // A URL that is refused may well be refused for the password in it.
            slot.secret |= matches!(rule, Rule::Url | Rule::Host) && text.contains('@');
            reader.wrong(&slot, reason, remedy);
        } else if rule == Rule::User && text.contains(':') {
            // PostgreSQL takes any name. What is behind the colon may be a password.
            slot.secret = true;
            reader.warn(
                &slot,
                "this has a ':': PostgreSQL takes all of it for the name, also what is meant as a password",
                "write the name alone, and the password as password = { env = \"NAME\" }",
            );
        }
        text
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(self.as_str()))
    }
}

impl Setting for PathBuf {
    fn shape(_rule: Rule) -> Shape {
        Shape::Text(Rule::HostPath)
    }

    fn blank() -> PathBuf {
        PathBuf::new()
    }

    fn read<'a>(slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> PathBuf {
        let Some(text) = slot.node().text().map(str::to_owned) else {
            reader.wrong(&slot, "this must be a path", "write it in quotes");
            return PathBuf::new();
        };
        match local_path(&text, reader) {
            Ok(path) => path,
            Err((reason, remedy)) => {
                reader.wrong(&slot, reason, remedy);
                PathBuf::new()
            }
        }
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(self.display().to_string()))
    }
}

/// A path on this machine: absolute, or in the home folder by `~/`.
pub(super) fn local_path(text: &str, reader: &Reader<'_>) -> Result<PathBuf, (String, String)> {
    Rule::Line.check_text(text)?;
    if let Some(rest) = text.strip_prefix("~/") {
        return match reader.surroundings.variable("HOME") {
            Some(home) if home.starts_with('/') => Ok(Path::new(&home).join(rest)),
            _ => Err(("there is no home folder (HOME is not set)".to_owned(), "write an absolute path".to_owned())),
        };
    }
    if !text.starts_with('/') {
        return Err(("this is no absolute path".to_owned(), "write a path that starts with '/' or '~/'".to_owned()));
    }
    Ok(PathBuf::from(text))
}

/// The longest list.
const MOST_ITEMS: usize = 1000;

impl<T: Setting> Setting for Vec<T> {
    fn shape(rule: Rule) -> Shape {
        Shape::List(Box::new(T::shape(item_rule(rule))), rule)
    }

    fn blank() -> Vec<T> {
        Vec::new()
    }

    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> Vec<T> {
        let Some(items) = slot.items() else {
            let of_tables = matches!(T::shape(item_rule(rule)), Shape::Table(_)) && slot.node().table().is_some();
            let header = slot.at.steps().filter(|step| step.parse::<usize>().is_err()).collect::<Vec<_>>().join(".");
            if of_tables && reader.has_headers() {
                reader.wrong(
                    &slot,
                    "this must be a list of tables",
                    format!("write its header in double brackets, once for each: [[{header}]]"),
                );
                return Vec::new();
            }
            let remedy = match rule {
                Rule::Argv => "write the program and each argument as an item: [\"/usr/bin/program\", \"argument\"]",
                _ => "write it in brackets: [ ... ]",
            };
            reader.wrong(&slot, "this must be a list", remedy);
            return Vec::new();
        };
        if items.is_empty() {
            let remedy = if rule == Rule::Argv { "write the program and its arguments" } else { "write at least one item" };
            reader.wrong(&slot, "this list is empty", remedy);
        }
        if items.len() > MOST_ITEMS {
            reader.wrong(&slot, format!("this list has more than {MOST_ITEMS} items"), "shorten it");
            return Vec::new();
        }
        if rule == Rule::Argv
            && let Some(first) = items.first()
            && first.node().text().is_some_and(|program| !program.starts_with('/'))
        {
            let remedy = "write the whole path, such as \"/usr/bin/true\"; there is no shell and no search path";
            reader.wrong(first, "a command must be an absolute path", remedy);
        }
        items.into_iter().map(|item| T::read(item, item_rule(rule), reader)).collect()
    }

    fn absent<'a>(slot: &Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> Vec<T> {
        if slot.required {
            reader.missing(slot);
        }
        let _ = rule;
        Vec::new()
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(self.iter().filter_map(T::write).collect::<Vec<Node>>()))
    }
}

fn item_rule(rule: Rule) -> Rule {
    match rule {
        // An argument may be anything a process can be given.
        Rule::Argv => Rule::Prose,
        Rule::NotEmpty => Rule::Any,
        other => other,
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn shape(rule: Rule) -> Shape {
        Shape::Map(Box::new(T::shape(rule)))
    }

    fn blank() -> BTreeMap<String, T> {
        BTreeMap::new()
    }

    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> BTreeMap<String, T> {
        let Some(pairs) = slot.node().table() else {
            reader.wrong(&slot, "this must be a table", "write { name = \"value\" }");
            return BTreeMap::new();
        };
        let keys: Vec<String> = pairs.iter().map(|(key, _)| key.clone()).collect();
        keys.into_iter()
            .filter_map(|key| {
                let value = slot.key(&key)?;
                Some((key, T::read(value, rule, reader)))
            })
            .collect()
    }

    fn absent<'a>(_slot: &Slot<'a>, _rule: Rule, _reader: &mut Reader<'a>) -> BTreeMap<String, T> {
        BTreeMap::new()
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(self.iter().filter_map(|(key, value)| Some((key.clone(), value.write()?))).collect::<Vec<_>>()))
    }
}

impl<T: Setting> Setting for Option<T> {
    fn shape(rule: Rule) -> Shape {
        if T::OFF { Shape::Either(vec![T::shape(rule), Shape::Exactly(false)]) } else { T::shape(rule) }
    }

    fn blank() -> Option<T> {
        None
    }

    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> Option<T> {
        let off = T::OFF && slot.node().value == Value::Bool(false);
        if off { None } else { Some(T::read(slot, rule, reader)) }
    }

    fn absent<'a>(_slot: &Slot<'a>, _rule: Rule, _reader: &mut Reader<'a>) -> Option<T> {
        None
    }

    fn write(&self) -> Option<Node> {
        match self {
            Some(value) => value.write(),
            None => T::OFF.then(|| Node::from(false)),
        }
    }
}
