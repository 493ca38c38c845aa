//! What differs between two configurations, as they are written with every default in force and secrets masked.

use super::node::{Node, Value};

/// One line for each value that was changed, added or removed, in the order of the old configuration.
pub(super) fn between(old: &Node, new: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", Some(old), Some(new), &mut lines);
    lines
}

fn compare(path: &str, old: Option<&Node>, new: Option<&Node>, lines: &mut Vec<String>) {
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (old, new) {
        (Some(old), Some(new)) if same(old, new) => {}
        (Some(old), Some(new)) => match (entries(old), entries(new)) {
            (Some(before), Some(after)) => {
                let find = |list: &[(String, Node)], name: &str| list.iter().position(|(other, _)| other == name);
                for (name, value) in &before {
                    compare(&inside(name), Some(value), find(&after, name).map(|at| &after[at].1), lines);
                }
                for (name, value) in after.iter().filter(|(name, _)| find(&before, name).is_none()) {
                    compare(&inside(name), None, Some(value), lines);
                }
            }
            _ => lines.push(format!("{path}: {} -> {}", shown(old), shown(new))),
        },
        (Some(old), None) => lines.push(format!("{path}: {} removed", shown(old))),
        (None, Some(new)) => lines.push(format!("{path}: {} added", shown(new))),
        (None, None) => {}
    }
}

/// Equal but for the places in the text.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Table(a), Value::Table(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((name, one), (key, other))| name == key && same(one, other))
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(one, other)| same(one, other)),
        (one, other) => one == other,
    }
}

/// The parts of a table, or of a list of tables that have names of their own.
fn entries(node: &Node) -> Option<Vec<(String, Node)>> {
    match &node.value {
        Value::Table(pairs) => Some(pairs.clone()),
        Value::List(items) if items.iter().all(|item| item.table().is_some()) => {
            let named = |(index, item): (usize, &Node)| {
                let name = item.get("name").and_then(Node::text).map_or_else(|| index.to_string(), str::to_owned);
                (name, item.clone())
            };
            Some(items.iter().enumerate().map(named).collect())
        }
        _ => None,
    }
}

/// A value in a few words. Lists of plain values are shown whole while they are short.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::List(items)
            if items.len() <= 4 && items.iter().all(|item| !matches!(item.value, Value::List(_) | Value::Table(_))) =>
        {
            format!("[{}]", items.iter().map(Node::shown).collect::<Vec<_>>().join(", "))
        }
        _ => node.shown(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const TEXT: &str = r#"
        version = 1
        [[services]]
        name = "orders"
        [services.connection]
        password = "tell-nobody"
        [[services.servers]]
        name = "db1"
        role = "primary"
        host = "10.0.0.1"
        [[services.servers]]
        name = "db2"
        host = "10.0.0.2"
    "#;

    fn changes(edit: impl Fn(&str) -> String) -> String {
        let config = |text: &str| Config::parse_toml(text).unwrap_or_else(|errors| panic!("{errors}"));
        config(TEXT).changes(&config(&edit(TEXT))).join("; ")
    }

    #[test]
    fn what_changed_is_named_and_secrets_are_not() {
        assert_eq!(changes(str::to_owned), "");
        assert_eq!(
            changes(|text| text.replace("10.0.0.2", "10.0.0.3")),
            "services.orders.servers.db2.host: \"10.0.0.2\" -> \"10.0.0.3\""
        );
        let cooldown =
            changes(|text| text.replace("[services.connection]", "[services.trigger]\ncooldown = \"1m\"\n[services.connection]"));
        assert!(cooldown.starts_with("services.orders.trigger.cooldown: ") && cooldown.contains("\"1m\""), "{cooldown}");
        let secret = changes(|text| text.replace("tell-nobody", "tell-no-one"));
        assert_eq!(secret, "services.orders: a secret");
        assert_eq!(
            changes(|text| text.replace("\"orders\"", "\"stock\"")),
            "services.orders: a table removed; services.stock: a table added"
        );
    }
}
