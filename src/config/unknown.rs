//! Keys that nobody reads.

use super::node::Node;
use super::setting::{Field, Layer, Reader, Shape, Slot, Table, TableShape};

/// The known word nearest to `text`, if one is near enough to be what was meant.
pub(super) fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let text = text.to_lowercase().replace('-', "_");
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    words
        .map(|word| (strsim::damerau_levenshtein(&text, &word.to_lowercase().replace('-', "_")), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Complains about every key of a written table that is no field of `T`, unless it starts with `x-`.
pub(super) fn report<T: Table>(own: &Layer<'_>, slot: &Slot<'_>, reader: &mut Reader<'_>) {
    let cases = T::cases();
    let mut known: Vec<&'static str> = T::fields().iter().map(|field| field.name).collect();
    let mut foreign: Vec<(&'static str, &'static str)> = Vec::new();
    if let Some(cases) = &cases {
        let chosen = own.node.get(cases.tag).and_then(Node::text);
        for (word, _, fields) in &cases.variants {
            for field in fields {
                if Some(*word) == chosen {
                    known.push(field.name);
                } else {
                    foreign.push((field.name, word));
                }
            }
        }
        // While the kind itself is wrong, nobody can say which keys belong to it.
        if !cases.variants.iter().any(|(word, _, _)| Some(*word) == chosen) {
            known.extend(foreign.iter().map(|(name, _)| *name));
        }
    }
    for (key, node) in own.node.table().unwrap_or_default() {
        if reader.full() {
            return;
        }
        if known.contains(&key.as_str()) || key.starts_with("x-") || (T::NAME == "Root" && key == "$schema") {
            continue;
        }
        let kinds: Vec<String> = foreign.iter().filter(|(name, _)| name == key).map(|(_, kind)| format!("\"{kind}\"")).collect();
        let (reason, remedy) = if !kinds.is_empty() {
            let what = if T::NAME == "Notify" { "a receiver" } else { "a check" };
            (format!("{what} of this kind has no such key"), format!("it belongs to kind {}: remove it", kinds.join(" or ")))
        } else if let Some(remedy) = upstairs(key, own, reader.has_headers()) {
            ("this key is unknown here".to_owned(), remedy)
        } else if let Some(word) = nearest(key, known.iter().copied()) {
            ("this key is unknown".to_owned(), format!("did you mean \"{word}\"?"))
        } else if let Some(home) = home_of(key, "", &super::model::Root::fields(), 0) {
            ("this key is unknown here".to_owned(), format!("it belongs into {home}"))
        } else {
            ("this key is unknown".to_owned(), format!("remove it, or use one of: {}", known.join(", ")))
        };
        // The value is not shown: a misspelt key may hold a password.
        let place = node.place;
        let problem = super::problem::Problem {
            path: own.at.key(key).text(),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            value: None,
            reason,
            remedy,
        };
        reader.bad.insert(slot.at.key(key));
        reader.error(problem);
    }
}

/// Where a table around this one has the key: in TOML a key belongs to the last header above it, which is easily forgotten.
fn upstairs(key: &str, own: &Layer<'_>, has_headers: bool) -> Option<String> {
    let steps: Vec<String> = own.at.steps().collect();
    // As a header names it: an item of a list is written in double brackets.
    let named = |steps: &[String]| -> String {
        let is_index = |step: &&String| step.parse::<usize>().is_ok();
        let names: Vec<&str> = steps.iter().filter(|step| !is_index(step)).map(String::as_str).collect();
        let names = names.join(".");
        if steps.last().as_ref().is_some_and(is_index) { format!("[[{names}]]") } else { format!("[{names}]") }
    };
    let mut around: Vec<(usize, Vec<Field>)> = vec![(0, super::model::Root::fields())];
    for (depth, step) in steps.iter().enumerate() {
        let Some((_, fields)) = around.last() else { break };
        if step.parse::<usize>().is_ok() {
            // An item of a list has the fields of the list's shape, which are there already.
            if let Some((at, _)) = around.last_mut() {
                *at = depth + 1;
            }
            continue;
        }
        let Some(table) = fields.iter().find(|field| field.name == *step).and_then(table_of) else { break };
        around.push((depth + 1, table.fields));
    }
    let knows = |fields: &[Field]| fields.iter().any(|field| field.name == key);
    let (depth, _) = around.iter().rev().find(|(depth, fields)| *depth < steps.len() && knows(fields))?;
    let home = match &steps[..*depth] {
        [] => "the top of the file".to_owned(),
        above => named(above),
    };
    let to = if has_headers { format!("above the {} header", named(&steps)) } else { "there".to_owned() };
    Some(format!("it belongs to {home}: move it {to}"))
}

/// What stands at this path, given without indices, is a list of tables.
pub(super) fn is_list_of_tables<'a>(steps: impl Iterator<Item = &'a str>) -> bool {
    let mut fields = super::model::Root::fields();
    let mut is_list = false;
    for step in steps {
        let Some(field) = fields.iter().find(|field| field.name == step) else { return false };
        is_list = matches!((field.shape)(field.rule), Shape::List(..));
        let Some(table) = table_of(field) else { return false };
        fields = table.fields;
    }
    is_list
}

/// The table that a field holds, alone or in a list.
fn table_of(field: &Field) -> Option<TableShape> {
    let mut shape = (field.shape)(field.rule);
    while let Shape::List(inner, _) = shape {
        shape = *inner;
    }
    if let Shape::Either(shapes) = shape {
        shape = shapes.into_iter().next()?;
    }
    match shape {
        Shape::Table(table) => Some(table),
        _ => None,
    }
}

/// The table in which a key would be at home: `services.trigger`.
fn home_of(key: &str, prefix: &str, fields: &[Field], depth: usize) -> Option<String> {
    const DEEPEST: usize = 6;
    if depth == 0 && fields.iter().any(|field| field.name == key) {
        return Some("the top of the file".to_owned());
    }
    for field in fields {
        if let Some(table) = table_of(field) {
            let path = if prefix.is_empty() { field.name.to_owned() } else { format!("{prefix}.{}", field.name) };
            if table.fields.iter().any(|field| field.name == key) {
                return Some(path);
            }
            if depth < DEEPEST
                && let Some(found) = home_of(key, &path, &table.fields, depth + 1)
            {
                return Some(found);
            }
        }
    }
    None
}
