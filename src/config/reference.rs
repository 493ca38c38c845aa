//! The reference of the configuration, `docs/CONFIG.md`, made from the declarations.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::model::Root;
use super::preset;
use super::render;
use super::rule::Rule;
use super::schema::prose;
use super::setting::{Cases, Field, Origin, Shape, Table, TableShape};
use super::size::Size;

const HEAD: &str = "\
# Configuration reference

<!-- Made from src/config/model.rs by `UPDATE_EXPECT=1 cargo test config`; do not edit. -->

The configuration is one file, in TOML or in JSON. Both formats have the same keys. `failover validate FILE` reports all mistakes at
once, each with its path, value, reason and remedy. `failover validate --print-effective FILE` shows the configuration with all defaults.
`docs/failover.schema.json` is the JSON Schema for editors. Examples are in `examples/config/`.

- **Durations** have a unit: `\"250ms\"`, `\"1.5s\"`, `\"1m30s\"`, `\"2h\"`. A bare number is an error.
- **Sizes** have a unit or are a number of bytes: `\"1MiB\"` is 1048576 bytes, `\"1MB\"` is 1000000.
- **Paths** are absolute or begin with `~/`.
- **Commands** are lists of arguments and begin with an absolute path. The engine uses no shell.
- **Unknown keys** are errors, except keys that begin with `x-`, which you can use freely.
- **Secrets** are `{ env = \"NAME\" }`, `{ file = \"/path\" }` (a final line end is dropped), `{ pgpass = true }` or
  `{ pgpass = \"/path\" }` (libpq's password file, by libpq's rules, mode 0600), or the text itself. The engine reads secrets together
  with the configuration. A new password therefore needs a reload; a new one in the environment needs a restart (`contrib/README.md`
  shows where to set it under systemd). Secrets are never shown: `--print-effective` prints `********` for a text.
- **Defaults from the service**: `connection`, `ssh` and `check_defaults` of a service apply to its servers and checks, key by
  key. A key of the server or check itself has precedence.
";

/// The whole page.
pub(super) fn markdown() -> String {
    let mut out = HEAD.to_owned();
    let root = TableShape { name: Root::NAME, doc: Root::DOC, fields: Root::fields(), cases: None };
    let mut done = BTreeSet::new();
    section("", false, root, &mut done, &mut out);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "\n## The preset `original`\n\nWith `preset = \"original\"` the defaults are:\n\n```toml\n{}```\n",
        render::toml(&preset::original())
            .replace("[check_defaults]", "[services.check_defaults]")
            .replace("[trigger]", "[services.trigger]")
            .trim_start()
    );
    out
}

fn section(path: &str, list: bool, table: TableShape, done: &mut BTreeSet<&'static str>, out: &mut String) {
    if !done.insert(table.name) {
        return;
    }
    let title = match (path, list) {
        ("", _) => "At the top".to_owned(),
        (path, true) => format!("`[[{path}]]`"),
        (path, false) => format!("`[{path}]`"),
    };
    let _ = writeln!(out, "\n## {title}\n\n{}\n", prose(table.doc));
    fields(path, &table.fields, out);
    if let Some(Cases { tag, variants }) = table.cases {
        for (word, doc, own) in variants {
            let _ = writeln!(out, "\n### `{tag} = \"{word}\"`\n\n{}\n", prose(doc));
            fields(path, &own, out);
        }
    }
    for field in table.fields {
        let inner = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        nested(&inner, false, (field.shape)(field.rule), done, out);
    }
}

fn nested(path: &str, list: bool, shape: Shape, done: &mut BTreeSet<&'static str>, out: &mut String) {
    match shape {
        Shape::Table(table) => section(path, list, table, done, out),
        Shape::List(item, _) => nested(path, true, *item, done, out),
        Shape::Either(shapes) => shapes.into_iter().for_each(|shape| nested(path, list, shape, done, out)),
        _ => {}
    }
}

fn fields(path: &str, fields: &[Field], out: &mut String) {
    out.push_str("| key | what | default | meaning |\n|---|---|---|---|\n");
    for field in fields {
        let shape = (field.shape)(field.rule);
        let mut meaning = prose(field.doc);
        let mut words = Vec::new();
        meanings(&shape, &mut words);
        if !words.is_empty() {
            let _ = write!(meaning, " ({})", words.join("; "));
        }
        let default = match &field.origin {
            Origin::Required => "*required*".to_owned(),
            Origin::Fixed(node) => format!("`{}`", render::inline(node).unwrap_or_default()),
            Origin::Inherited(name) => format!("the service's `{name}`"),
            Origin::Unset | Origin::Lent(_) => "–".to_owned(),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        let kind = cell(&describe(&shape, path, field.name));
        let _ = writeln!(out, "| `{}` | {kind} | {} | {} |", field.name, cell(&default), cell(&meaning));
    }
}

/// What the words of a shape mean, unless the field's own text says it.
fn meanings(shape: &Shape, out: &mut Vec<String>) {
    match shape {
        Shape::Words(words) if words.len() > 1 => out.extend(words.iter().map(|(word, doc)| format!("`{word}`: {doc}"))),
        _ => {}
    }
}

fn describe(shape: &Shape, path: &str, key: &str) -> String {
    match shape {
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::Exactly(flag) => format!("`{flag}`"),
        Shape::Text(rule) => match rule {
            Rule::Name => "a name: up to 63 letters, digits, `.`, `_`, `-`",
            Rule::Host => "a host name or address",
            Rule::HostPort => "`host:port`",
            Rule::Listen => "`address:port`",
            Rule::HostPath => "an absolute path",
            Rule::Url => "an http or https URL",
            Rule::HaproxyName => "a name in HAProxy: letters, digits, `-`, `_`, `.`, `:`",
            _ => "text",
        }
        .to_owned(),
        Shape::Integer(Rule::Range(least, most)) if least == most => format!("`{least}`"),
        Shape::Integer(Rule::Range(least, most)) if *most >= u64::from(u32::MAX) => format!("a number from {least}"),
        Shape::Integer(Rule::Range(least, most)) => format!("a number from {least} to {most}"),
        Shape::Integer(_) => "a number".to_owned(),
        Shape::Duration(Rule::Span(least, most)) => format!("a duration from {least} to {most}"),
        Shape::Duration(_) => "a duration".to_owned(),
        Shape::Size(Rule::Bytes(least, most)) => format!("a size from {} to {}", Size(*least), Size(*most)),
        Shape::Size(_) => "a size".to_owned(),
        Shape::Words(words) => words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::List(item, rule) => match (&**item, rule) {
            (Shape::Table(_), _) => "tables, see below".to_owned(),
            (_, Rule::Argv) => "a command".to_owned(),
            (item, _) => format!("a list, each {}", describe(item, path, key)),
        },
        Shape::Map(item) => format!("a table of names, each {}", describe(item, path, key)),
        Shape::Single(key, inner) => format!("`{{ {key} = ... }}` with {}", describe(inner, path, key)),
        Shape::Secret => "a secret".to_owned(),
        Shape::Table(_) if path == "services.servers" && matches!(key, "connection" | "ssh") => {
            format!("a table, as `[services.{key}]`")
        }
        Shape::Table(_) => "a table, see below".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(|shape| describe(shape, path, key)).collect::<Vec<_>>().join(" or "),
    }
}
