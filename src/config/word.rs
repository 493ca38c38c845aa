//! Settings that are a word or something else: `auto` or a number, `never` or a duration, a policy, a fence level.

use std::time::Duration;

use super::load::Load;
use super::node::{Node, Value};
use super::rule::Rule;
use super::scalar::read_integer;
use super::setting::{Reader, Setting, Shape, Slot};
use failover_core::model::Policy;
use failover_core::sample::FenceLevel;

/// Workers that every machine has room for.
pub(super) const FEW: usize = 64;

/// How many checks can run at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Workers {
    /// One per check, at most 64; more if so many checks would be running while a tenth of the servers is silent.
    Auto,
    /// Exactly this number.
    Exactly(u32),
}

impl Workers {
    /// The number of workers for this load; at least one. `most`: so many fit the machine.
    pub(crate) fn count(self, load: &Load, most: usize) -> usize {
        match self {
            Workers::Auto => load.checks.min(load.with_reserve().clamp(FEW, most.max(FEW))).max(1),
            Workers::Exactly(number) => usize::try_from(number).unwrap_or(FEW).max(1),
        }
    }
}

impl Setting for Workers {
    fn shape(rule: Rule) -> Shape {
        Shape::Either(vec![
            Shape::Words(&[("auto", "one per check, at most 64, or as many as the checks keep busy")]),
            Shape::Integer(rule),
        ])
    }

    fn blank() -> Workers {
        Workers::Auto
    }

    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> Workers {
        if slot.node().text() == Some("auto") {
            return Workers::Auto;
        }
        if let Value::Text(_) = slot.node().value {
            reader.wrong(&slot, "this must be \"auto\" or a number", "write \"auto\" or a number");
            return Workers::Auto;
        }
        read_integer(&slot, rule, reader).and_then(|number| u32::try_from(number).ok()).map_or(Workers::Auto, Workers::Exactly)
    }

    fn write(&self) -> Option<Node> {
        Some(match self {
            Workers::Auto => Node::from("auto"),
            Workers::Exactly(number) => Node::from(u64::from(*number)),
        })
    }
}

/// Whether a primary that is alive but not serving counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnImpaired {
    /// Never. The engine only raises an alarm.
    Never,
    /// After this duration.
    After(Duration),
}

impl Setting for OnImpaired {
    fn shape(rule: Rule) -> Shape {
        Shape::Either(vec![Shape::Words(&[("never", "alarm only")]), Shape::Duration(rule)])
    }

    fn blank() -> OnImpaired {
        OnImpaired::Never
    }

    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> OnImpaired {
        match slot.node().text() {
            Some("never") => OnImpaired::Never,
            _ => OnImpaired::After(Duration::read(slot, rule, reader)),
        }
    }

    fn write(&self) -> Option<Node> {
        match self {
            OnImpaired::Never => Some(Node::from("never")),
            OnImpaired::After(duration) => duration.write(),
        }
    }
}

impl Setting for Policy {
    fn shape(_rule: Rule) -> Shape {
        Shape::Either(vec![
            Shape::Words(&[
                ("count", "add up the failures of all checks"),
                ("all", "require that every check reaches its own threshold"),
            ]),
            Shape::Single("quorum", Box::new(Shape::Integer(Rule::Range(1, 1000)))),
        ])
    }

    fn blank() -> Policy {
        Policy::Count
    }

    fn read<'a>(slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> Policy {
        match (slot.node().text(), slot.node().table()) {
            (Some("count"), _) => Policy::Count,
            (Some("all"), _) => Policy::All,
            (_, Some([(key, _)])) if key == "quorum" => {
                let number = slot.key("quorum").and_then(|number| read_integer(&number, Rule::Range(1, 1000), reader));
                Policy::Quorum(number.and_then(|number| u32::try_from(number).ok()).unwrap_or(1))
            }
            _ => {
                reader.wrong(&slot, "this is no policy", "write \"count\", \"all\" or { quorum = NUMBER }");
                Policy::Count
            }
        }
    }

    fn write(&self) -> Option<Node> {
        Some(match self {
            Policy::Count => Node::from("count"),
            Policy::All => Node::from("all"),
            Policy::Quorum(number) => Node::from(vec![("quorum".to_owned(), Node::from(u64::from(*number)))]),
        })
    }
}

impl Setting for FenceLevel {
    fn shape(rule: Rule) -> Shape {
        Shape::Integer(rule)
    }

    fn blank() -> FenceLevel {
        FenceLevel::ProvenStopped
    }

    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> FenceLevel {
        match read_integer(&slot, rule, reader) {
            Some(0) => FenceLevel::None,
            Some(1) => FenceLevel::TrafficRemoved,
            Some(2) => FenceLevel::NoAcknowledgement,
            Some(4) => FenceLevel::PowerOff,
            _ => FenceLevel::ProvenStopped,
        }
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(u64::from(self.number())))
    }
}
