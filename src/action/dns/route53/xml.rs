//! The little XML that the API speaks: a document read into a tree, bounded, without entities of its own.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// Elements inside each other at most: the API's answers have six.
const DEPTH: usize = 32;

/// An element. Attributes and namespaces mean nothing here.
#[derive(Clone, Debug, Default)]
pub(super) struct Element {
    /// Its name, without a prefix.
    pub(super) name: String,
    /// The text directly in it, without blanks around it.
    pub(super) text: String,
    /// The elements in it.
    pub(super) children: Vec<Element>,
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// One line saying why it is none.
    pub(super) fn parse(bytes: &[u8]) -> Result<Element, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text in UTF-8".to_owned())?;
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Element> = Vec::new();
        let mut root = None;
        loop {
            let event = reader.read_event().map_err(|error| error.to_string())?;
            let closed = match event {
                Event::Start(start) => {
                    if open.len() == DEPTH {
                        return Err(format!("more than {DEPTH} elements inside each other"));
                    }
                    open.push(Element { name: start.local_name().as_ref().to_owned(), ..Element::default() });
                    None
                }
                Event::Empty(start) => Some(Element { name: start.local_name().as_ref().to_owned(), ..Element::default() }),
                Event::End(_) => open.pop(),
                Event::Text(text) => {
                    add(&mut open, &text)?;
                    None
                }
                Event::CData(text) => {
                    add(&mut open, &text)?;
                    None
                }
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                    match character {
                        Some(character) => add(&mut open, character.encode_utf8(&mut [0; 4]))?,
                        None => add(&mut open, resolve_predefined_entity(&reference).ok_or("an unknown entity")?)?,
                    }
                    None
                }
                Event::DocType(_) => return Err("a document type, which no answer has".to_owned()),
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => None,
            };
            if let Some(mut element) = closed {
                element.text.truncate(element.text.trim_end().len());
                element.text.drain(..element.text.len() - element.text.trim_start().len());
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None if root.is_none() => root = Some(element),
                    None => return Err("more than one document".to_owned()),
                }
            }
        }
        match root {
            Some(root) if open.is_empty() => Ok(root),
            _ => Err("it ends too early".to_owned()),
        }
    }

    /// The first child of that name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of that name; an empty one is none.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }
}

fn add(open: &mut [Element], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => {
            element.text.push_str(text);
            Ok(())
        }
        None if text.trim().is_empty() => Ok(()),
        None => Err("text outside of the document".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_tree() {
        let root = Element::parse(
            b"<?xml version=\"1.0\"?>\n<a xmlns=\"x\"><b> &lt;1&#x2e;<![CDATA[2&]]> </b><n:c xmlns:n=\"y\"/><b>3</b></a>\n",
        )
        .unwrap();
        assert_eq!((root.name.as_str(), root.children.len()), ("a", 3));
        assert_eq!(root.text_of("b"), Some("<1.2&"));
        assert!(root.child("c").is_some() && root.text_of("c").is_none());
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let deep = "<a>".repeat(DEPTH + 1);
        for wrong in [
            "",
            "   ",
            "hello",
            "<a>",
            "<a><b></a>",
            "<a/><b/>",
            "<a/>more",
            "<a>&unknown;</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a/>",
            "<a",
            &deep,
        ] {
            assert!(Element::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }
}
