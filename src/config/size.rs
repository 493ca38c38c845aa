//! Sizes in bytes.

use std::fmt;

use bytesize::ByteSize;

use super::node::{Node, Value};
use super::rule::Rule;
use super::setting::{Reader, Setting, Shape, Slot};

/// A size in bytes, written as `"1MiB"`, `"64 kB"` or a bare number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    /// The largest binary unit that shows it exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match UNITS.iter().find(|(_, shift)| self.0 > 0 && self.0.is_multiple_of(1 << shift)) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Setting for Size {
    fn shape(rule: Rule) -> Shape {
        Shape::Size(rule)
    }

    fn blank() -> Size {
        Size(0)
    }

    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> Size {
        let size = match &slot.node().value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::Text(text) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
            _ => None,
        };
        let Some(size) = size.map(Size) else {
            reader.wrong(&slot, "this is no size", "write a size such as \"1MiB\" or \"64kB\"");
            return Size::blank();
        };
        if let Rule::Bytes(least, most) = rule
            && !(least..=most).contains(&size.0)
        {
            let range = format!("from {} to {}", Size(least), Size(most));
            reader.wrong(&slot, "this size is out of range", format!("write a size {range}"));
        }
        size
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(self.to_string()))
    }
}
