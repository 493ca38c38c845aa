//! Durations, always with a unit.

use std::time::Duration;

use super::node::{Node, Value};
use super::rule::Rule;
use super::setting::{Reader, Setting, Shape, Slot};

/// A duration as it would be written: one number and a unit where that is exact, such as `1.5s`, else `1m 30s`.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    if duration.subsec_nanos().is_multiple_of(1_000_000) && (1_000..60_000).contains(&millis) && !millis.is_multiple_of(1_000) {
        return format!("{}.{}s", millis / 1_000, format!("{:03}", millis % 1_000).trim_end_matches('0'));
    }
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// Reads a duration with a unit.
pub(super) fn parse(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

impl Setting for Duration {
    fn shape(rule: Rule) -> Shape {
        Shape::Duration(rule)
    }

    fn blank() -> Duration {
        Duration::ZERO
    }

    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> Duration {
        const EXAMPLE: &str = "write a duration such as \"1s\", \"250ms\" or \"1m30s\"";
        let duration = match &slot.node().value {
            Value::Integer(number) => {
                let remedy = format!("write a unit, such as \"{number}s\" for seconds or \"{number}ms\" for milliseconds");
                reader.wrong(&slot, "a duration needs a unit", remedy);
                return Duration::blank();
            }
            Value::Text(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text != "0" => {
                let remedy = format!("write a unit, such as \"{text}s\" for seconds or \"{text}ms\" for milliseconds");
                reader.wrong(&slot, "a duration needs a unit", remedy);
                return Duration::blank();
            }
            Value::Text(text) => parse(text),
            _ => None,
        };
        let Some(duration) = duration else {
            reader.wrong(&slot, "this is no duration", EXAMPLE);
            return Duration::blank();
        };
        if let Rule::Span(least, most) = rule
            && !(parse(least)..=parse(most)).contains(&Some(duration))
        {
            reader.wrong(&slot, "this duration is out of range", format!("write a duration from {least} to {most}"));
        }
        duration
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(written(*self)))
    }
}
