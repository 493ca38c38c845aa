//! TOML and JSON to the untyped tree, with bounds on size and depth.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::node::{Node, Place, Value};
use super::problem::{Pointer, Problem};

/// The longest configuration, in bytes.
pub(super) const LONGEST: usize = 1 << 20;
/// The deepest nesting; the format itself needs seven levels.
const DEEPEST: usize = 16;
/// After this many syntax errors the rest is noise.
const MOST_ERRORS: usize = 20;

/// Reads TOML.
pub(super) fn toml(text: &str) -> Result<Node, Vec<Problem>> {
    bounded(text)?;
    let places = Places::new(text);
    if let Some(at) = too_deep(text) {
        return Err(vec![problem(Some(places.at(at)), "this is nested too deeply", "write fewer levels")]);
    }
    // Also drops a byte order mark, as the parser does.
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // Only the parser's own words: its `Display` would show the line, and the line may hold a secret.
        let syntax = |error: &toml::de::Error| {
            let place = error.span().map(|span| places.at(span.start));
            if let Some(header) = error.span().and_then(|span| single_bracket(text, span.start)) {
                let remedy = format!("write its header in double brackets, once for each: [[{header}]]");
                return problem(place, &format!("[{header}] is given twice, and single brackets are for one table"), &remedy);
            }
            match error.span().filter(|_| error.message() == "duplicate key").and_then(|span| first_of(text, span)) {
                Some(first) => given_twice(place, places.at(first)),
                None => problem(place, &format!("this is no TOML: {}", error.message()), "correct the line"),
            }
        };
        let mut problems: Vec<Problem> = errors.iter().take(MOST_ERRORS).map(syntax).collect();
        // The keys below such a header stand in the first table again, and are no mistakes.
        if problems.iter().any(|problem| problem.remedy.contains("double brackets")) {
            problems.retain(|problem| problem.remedy.contains("double brackets") || !problem.reason.contains("given twice"));
        }
        return Err(problems);
    }
    let place = Some(Place { line: 1, column: 1 });
    let tree = Node { value: toml_table(document.get_ref(), &places), place };
    checked(tree)
}

/// The path of a header in single brackets around `at` that stands there for one of several tables.
fn single_bracket(text: &str, at: usize) -> Option<String> {
    let begin = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(begin..)?.lines().next()?.trim();
    let inner = line.strip_prefix('[').filter(|rest| !rest.starts_with('['))?;
    let steps: Vec<&str> = inner.split_once(']')?.0.split('.').map(str::trim).collect();
    super::unknown::is_list_of_tables(steps.iter().copied()).then(|| steps.join("."))
}

/// Where the key of that name was given first in the table in which it is given again. Found by its sibling: the text is read once more
/// with another name there.
fn first_of(text: &str, again: std::ops::Range<usize>) -> Option<usize> {
    const PROBE: &str = "failover-given-twice";
    let name = text.get(again.clone())?.trim_matches(['"', '\'']);
    let probed = format!("{}{PROBE}{}", text.get(..again.start)?, text.get(again.end..)?);
    let (document, _) = DeTable::parse_recoverable(&probed);
    let mut open = vec![document.get_ref()];
    while let Some(table) = open.pop() {
        if table.iter().any(|(key, _)| key.get_ref() == PROBE) {
            return table.iter().map(|(key, _)| key).find(|key| key.get_ref() == name).map(|key| key.span().start);
        }
        let mut values: Vec<&DeValue<'_>> = table.iter().map(|(_, value)| value.get_ref()).collect();
        while let Some(value) = values.pop() {
            match value {
                DeValue::Table(table) => open.push(table),
                DeValue::Array(items) => values.extend(items.iter().map(toml::Spanned::get_ref)),
                _ => {}
            }
        }
    }
    None
}

fn given_twice(place: Option<Place>, first: Place) -> Problem {
    let reason = format!("this key is given twice, first in line {}, column {}", first.line, first.column);
    problem(place, &reason, "remove one of them")
}

fn toml_table(table: &DeTable<'_>, places: &Places) -> Value {
    let mut pairs: Vec<_> = table.iter().map(|(key, value)| (key.span().start, key, value)).collect();
    pairs.sort_by_key(|(start, ..)| *start);
    let node = |(start, key, value): (usize, &toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
        let place = Some(places.at(start));
        (key.get_ref().clone().into_owned(), Node { value: toml_value(value.get_ref(), places), place })
    };
    Value::Table(pairs.into_iter().map(node).collect())
}

fn toml_value(value: &DeValue<'_>, places: &Places) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => {
            i128::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| Value::Float(f64::INFINITY), Value::Integer)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => {
            let item = |item: &toml::Spanned<DeValue<'_>>| Node {
                value: toml_value(item.get_ref(), places),
                place: Some(places.at(item.span().start)),
            };
            Value::List(items.iter().map(item).collect())
        }
        DeValue::Table(table) => toml_table(table, places),
    }
}

/// Where keys or brackets nest deeper than any sane document. The parser bounds brackets but not dots, and a key of half a
/// million dots would end the process by a stack overflow.
fn too_deep(text: &str) -> Option<usize> {
    let mut dots = 0;
    let mut brackets = 0usize;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Whitespace
            | TokenKind::Atom
            | TokenKind::BasicString
            | TokenKind::LiteralString
            | TokenKind::MlBasicString
            | TokenKind::MlLiteralString => {}
            kind => {
                dots = 0;
                match kind {
                    TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => brackets += 1,
                    TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
            }
        }
        if dots > DEEPEST || brackets > DEEPEST {
            return Some(token.span().start());
        }
    }
    None
}

/// Reads JSON.
pub(super) fn json(text: &str) -> Result<Node, Vec<Problem>> {
    bounded(text)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_json::from_str::<Node>(text) {
        Ok(mut tree) => {
            place_keys(&mut tree, &mut json_keys(text).into_iter());
            checked(tree)
        }
        Err(error) => {
            let place = Place { line: error.line().max(1), column: error.column().max(1) };
            let words = error.to_string();
            let words = words.split(" at line ").next().unwrap_or_default();
            let remedy = if text.trim_start().starts_with(['{', '[']) {
                "correct the line"
            } else {
                "this is read as the text of a configuration in JSON; a file is loaded by its own function (Python: Path(...))"
            };
            Err(vec![problem(Some(place), &format!("this is no JSON: {words}"), remedy)])
        }
    }
}

/// Where each key of a JSON text stands, in their order. The parser does not tell; the text is known to be right.
fn json_keys(text: &str) -> Vec<Place> {
    let places = Places::new(text);
    let mut keys = Vec::new();
    let mut bytes = text.bytes().enumerate();
    while let Some((start, byte)) = bytes.next() {
        if byte != b'"' {
            continue;
        }
        while let Some((end, byte)) = bytes.next() {
            match byte {
                b'\\' => drop(bytes.next()),
                b'"' => {
                    if text.get(end + 1..).is_some_and(|rest| rest.trim_start().starts_with(':')) {
                        keys.push(places.at(start));
                    }
                    break;
                }
                _ => {}
            }
        }
    }
    keys
}

/// Gives each value the place of its key.
fn place_keys(node: &mut Node, keys: &mut impl Iterator<Item = Place>) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| place_keys(item, keys)),
        Value::Table(pairs) => {
            for (_, value) in pairs {
                value.place = keys.next();
                place_keys(value, keys);
            }
        }
        _ => {}
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        struct Tree;
        impl<'de> Visitor<'de> for Tree {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
                Ok(Value::Bool(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Integer(i128::from(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Integer(i128::from(number)))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(Value::Float(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = entries.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Value::Table(pairs))
            }
        }
        deserializer.deserialize_any(Tree).map(|value| Node { value, place: None })
    }
}

fn bounded(text: &str) -> Result<(), Vec<Problem>> {
    if text.len() > LONGEST {
        let reason = format!("the configuration is longer than {LONGEST} bytes");
        return Err(vec![problem(None, &reason, "split it between several engines")]);
    }
    Ok(())
}

/// Refuses what neither language forbids everywhere: keys given twice, and more levels than any configuration has.
fn checked(tree: Node) -> Result<Node, Vec<Problem>> {
    let mut problems = Vec::new();
    inspect(&tree, &Pointer::root(), 0, &mut problems);
    problems.truncate(MOST_ERRORS);
    if problems.is_empty() { Ok(tree) } else { Err(problems) }
}

fn inspect(node: &Node, at: &Pointer, depth: usize, problems: &mut Vec<Problem>) {
    let report = |at: &Pointer, reason: &str, remedy: &str| {
        let mut problem = problem(node.place, reason, remedy);
        problem.path = at.text();
        problem
    };
    if depth > DEEPEST {
        problems.push(report(at, "this is nested too deeply", "write fewer levels"));
        return;
    }
    match &node.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                inspect(item, &at.index(index), depth + 1, problems);
            }
        }
        Value::Table(pairs) => {
            let mut seen = std::collections::BTreeMap::new();
            for (key, value) in pairs {
                let first = *seen.entry(key).or_insert(value.place);
                if let Some(first) = first.filter(|_| first != value.place) {
                    let mut twice = given_twice(value.place, first);
                    twice.path = at.key(key).text();
                    problems.push(twice);
                }
                inspect(value, &at.key(key), depth + 1, problems);
            }
        }
        _ => {}
    }
}

fn problem(place: Option<Place>, reason: &str, remedy: &str) -> Problem {
    Problem {
        path: Pointer::root().text(),
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        value: None,
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// Byte offsets to lines and columns.
struct Places<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl Places<'_> {
    fn new(text: &str) -> Places<'_> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect();
        Places { text, starts }
    }

    fn at(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts[line - 1];
        // A line of a megabyte with a million keys would make this quadratic.
        let column = if offset - start > 1_000 {
            offset - start + 1
        } else {
            self.text.get(start..offset).map_or(offset - start, |head| head.chars().count()) + 1
        };
        Place { line, column }
    }
}
