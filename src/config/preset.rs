//! Sets of defaults.

use super::node::Node;

/// The defaults that the preset of a document puts in the place of ours. An unknown preset is reported by the reader.
pub(super) fn layer(document: &Node) -> Option<Node> {
    match document.get("preset").and_then(Node::text) {
        Some("original") => Some(original()),
        _ => None,
    }
}

/// The contract's `interval` and `timeout`, and everything that must not be shorter than they are.
pub(super) fn original() -> Node {
    let table = |pairs: &[(&str, &str)]| {
        Node::from(pairs.iter().map(|(key, text)| ((*key).to_owned(), Node::from(*text))).collect::<Vec<_>>())
    };
    let check_defaults = table(&[("interval", "10s"), ("fast_interval", "1s"), ("timeout", "5s")]);
    let trigger = table(&[("hang_after", "30s"), ("ping_interval", "1s")]);
    Node::from(vec![("check_defaults".to_owned(), check_defaults), ("trigger".to_owned(), trigger)])
}
