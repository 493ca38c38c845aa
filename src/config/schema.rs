//! The JSON Schema of the configuration, for editors and for checks before the engine sees it.

use super::model::Root;
use super::node::Node;
use super::rule::Rule;
use super::setting::{Cases, Field, Origin, Shape, Table, TableShape};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const DURATION: &str = "^(0|([0-9]+(\\.[0-9]+)?\\s*[A-Za-zµ]+\\s*)+)$";
const SIZE: &str = "^[0-9]+(\\.[0-9]+)?\\s*([KMGTPkmgtp]i?)?[Bb]?$";

type Pairs = Vec<(String, Node)>;

/// The schema as a tree.
pub(super) fn schema() -> Node {
    let mut definitions = Pairs::new();
    let mut out = vec![pair("$schema", DIALECT), pair("title", "Configuration of libfailover")];
    let mut body = object(TableShape { name: Root::NAME, doc: Root::DOC, fields: Root::fields(), cases: None }, &mut definitions);
    if let Some((_, properties)) = body.iter_mut().find(|(key, _)| key == "properties")
        && let super::node::Value::Table(pairs) = &mut properties.value
    {
        pairs.insert(0, ("$schema".to_owned(), Node::from(vec![pair("type", "string")])));
    }
    out.extend(body);
    definitions.sort_by(|left, right| left.0.cmp(&right.0));
    out.push(("$defs".to_owned(), Node::from(definitions)));
    Node::from(out)
}

/// A documentation comment as one paragraph.
pub(super) fn prose(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn pair(key: &str, node: impl Into<Node>) -> (String, Node) {
    (key.to_owned(), node.into())
}

fn object(table: TableShape, definitions: &mut Pairs) -> Pairs {
    let mut out = vec![pair("description", prose(table.doc))];
    match table.cases {
        None => out.extend(closed(&table.fields, None, definitions)),
        Some(Cases { tag, variants }) => {
            let variant = |(word, doc, fields): (&'static str, &'static str, Vec<Field>)| {
                let all: Vec<Field> = table.fields.iter().chain(&fields).cloned().collect();
                let mut case = vec![pair("description", prose(doc))];
                case.extend(closed(&all, Some((tag, word)), definitions));
                Node::from(case)
            };
            let cases: Vec<Node> = variants.into_iter().map(variant).collect();
            out.push(pair("oneOf", cases));
        }
    }
    out
}

/// An object with these fields and no others but `x-...`.
fn closed(fields: &[Field], tag: Option<(&str, &str)>, definitions: &mut Pairs) -> Pairs {
    let mut properties = Pairs::new();
    for field in fields {
        let mut property = match tag {
            Some((name, word)) if name == field.name => vec![pair("const", word)],
            _ => value((field.shape)(field.rule), definitions),
        };
        property.insert(0, pair("description", prose(field.doc)));
        if let Origin::Fixed(node) = &field.origin {
            property.push(("default".to_owned(), node.clone()));
        }
        properties.push(pair(field.name, property));
    }
    let required: Vec<Node> =
        fields.iter().filter(|field| matches!(field.origin, Origin::Required)).map(|field| Node::from(field.name)).collect();
    let mut out = vec![pair("type", "object"), pair("properties", properties)];
    if !required.is_empty() {
        out.push(pair("required", required));
    }
    out.push(pair("patternProperties", vec![pair("^x-", Node::from(true))]));
    out.push(pair("additionalProperties", false));
    out
}

fn value(shape: Shape, definitions: &mut Pairs) -> Pairs {
    match shape {
        Shape::Boolean => vec![pair("type", "boolean")],
        Shape::Exactly(flag) => vec![pair("const", flag)],
        Shape::Text(rule) => {
            let mut out = vec![pair("type", "string"), pair("minLength", 1)];
            out.extend(rule.pattern().map(|pattern| pair("pattern", pattern)));
            out
        }
        Shape::Integer(rule) => {
            let mut out = vec![pair("type", "integer")];
            if let Rule::Range(least, most) = rule {
                out.push(pair("minimum", least));
                out.push(pair("maximum", most));
            }
            out
        }
        Shape::Duration(_) => vec![pair("type", "string"), pair("pattern", DURATION), pair("examples", vec![Node::from("1.5s")])],
        Shape::Size(_) => {
            let text = Node::from(vec![pair("type", "string"), pair("pattern", SIZE)]);
            let bytes = Node::from(vec![pair("type", "integer"), pair("minimum", 0)]);
            vec![pair("anyOf", vec![text, bytes]), pair("examples", vec![Node::from("1MiB")])]
        }
        Shape::Words(words) => {
            let word = |(word, doc): &(&str, &str)| Node::from(vec![pair("const", *word), pair("description", *doc)]);
            vec![pair("oneOf", words.iter().map(word).collect::<Vec<_>>())]
        }
        Shape::List(item, _) => {
            vec![pair("type", "array"), pair("minItems", 1), pair("items", value(*item, definitions))]
        }
        Shape::Map(item) => vec![pair("type", "object"), pair("additionalProperties", value(*item, definitions))],
        Shape::Single(key, inner) => vec![
            pair("type", "object"),
            pair("properties", vec![pair(key, value(*inner, definitions))]),
            pair("required", vec![Node::from(key)]),
            pair("additionalProperties", false),
        ],
        Shape::Either(shapes) => {
            let either: Vec<Node> = shapes.into_iter().map(|shape| Node::from(value(shape, definitions))).collect();
            vec![pair("anyOf", either)]
        }
        Shape::Secret => {
            if !definitions.iter().any(|(name, _)| name == "Secret") {
                let secret = secret();
                definitions.push(pair("Secret", secret));
            }
            vec![pair("$ref", "#/$defs/Secret")]
        }
        Shape::Table(table) => {
            let name = table.name;
            if !definitions.iter().any(|(known, _)| known == name) {
                // First its name, so that nothing can describe it twice.
                definitions.push(pair(name, Pairs::new()));
                let object = object(table, definitions);
                if let Some(entry) = definitions.iter_mut().find(|(known, _)| known == name) {
                    entry.1 = Node::from(object);
                }
            }
            vec![pair("$ref", format!("#/$defs/{name}"))]
        }
    }
}

fn secret() -> Pairs {
    let text = || Node::from(vec![pair("type", "string"), pair("minLength", 1)]);
    let place = |key: &str, description: &str, inner: Node| {
        Node::from(vec![
            pair("description", description),
            pair("type", "object"),
            pair("properties", vec![(key.to_owned(), inner)]),
            pair("required", vec![Node::from(key)]),
            pair("additionalProperties", false),
        ])
    };
    let file_or_true = Node::from(vec![pair("anyOf", vec![Node::from(vec![pair("const", true)]), text()])]);
    vec![
        pair("description", "A secret, or its source."),
        pair(
            "anyOf",
            vec![
                text(),
                place("env", "The environment variable that holds the secret.", text()),
                place("file", "The file that holds the secret; a final line end is dropped.", text()),
                place("pgpass", "A libpq password file: this one, or the default one.", file_or_true),
            ],
        ),
    ]
}
