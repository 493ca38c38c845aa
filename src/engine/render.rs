//! Events as the world sees them: with names, the wall clock and JSON.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use failover_core::event::{Event, EventKind, Field, Severity};
use failover_core::model::Model;
use failover_core::time::Span;

use super::remedy;
use crate::clock::Clock;

/// One event of the engine.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EngineEvent {
    /// Its place in the one order of events: strictly increasing from 1; a gap means events were dropped.
    pub seq: u64,
    /// Wall-clock time, RFC 3339 in UTC with microseconds; for people only.
    pub time: String,
    /// Nanoseconds on the engine's monotonic clock, since the engine was made.
    pub mono_ns: u64,
    /// The failover it belongs to, or the service's last one; 0 before the first.
    pub generation: u64,
    /// What happened.
    pub kind: EventKind,
    /// How loud it is.
    pub severity: Severity,
    /// The service, where it belongs to one.
    pub service: Option<String>,
    /// The server, where it belongs to one.
    pub server: Option<String>,
    /// The host of that server by configuration: a name, an address, or the folder of its UNIX socket, which begins with `/`.
    pub host: Option<String>,
    /// The port of that server by configuration.
    pub port: Option<u16>,
    /// One sentence for people.
    pub message: String,
    /// What mends what it tells, where something is to be mended and it is known.
    pub remedy: Option<String>,
    /// The same for machines.
    pub fields: Map<String, Value>,
}

impl EngineEvent {
    /// An event with nothing else in it: the engine fills the rest in, as do the tests of a program that takes events.
    #[must_use]
    pub fn blank(seq: u64, kind: EventKind, severity: Severity) -> EngineEvent {
        EngineEvent {
            seq,
            time: String::new(),
            mono_ns: 0,
            generation: 0,
            kind,
            severity,
            service: None,
            server: None,
            host: None,
            port: None,
            message: String::new(),
            remedy: None,
            fields: Map::new(),
        }
    }

    /// The event as one JSON object; `fields` is a member of its own, so that no field can hide a fixed key.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

impl Serialize for EngineEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let more = [self.host.is_some(), self.port.is_some(), self.remedy.is_some()].into_iter().filter(|there| *there).count();
        let mut out = serializer.serialize_struct("EngineEvent", 10 + more)?;
        out.serialize_field("seq", &self.seq)?;
        out.serialize_field("time", &self.time)?;
        out.serialize_field("mono_ns", &self.mono_ns)?;
        out.serialize_field("generation", &self.generation)?;
        out.serialize_field("kind", self.kind.as_str())?;
        out.serialize_field("severity", self.severity.as_str())?;
        out.serialize_field("service", &self.service)?;
        out.serialize_field("server", &self.server)?;
        if let Some(host) = &self.host {
            out.serialize_field("host", host)?;
        }
        if let Some(port) = &self.port {
            out.serialize_field("port", port)?;
        }
        out.serialize_field("message", &self.message)?;
        if let Some(remedy) = &self.remedy {
            out.serialize_field("remedy", remedy)?;
        }
        out.serialize_field("fields", &self.fields)?;
        out.end()
    }
}

/// Turns an event of the core into one for the world. `seq` is given by the event hub.
pub(crate) fn event(model: &Model, clock: &Clock, event: &Event) -> EngineEvent {
    let service = event.service.and_then(|id| model.services.get(usize::from(id.0)));
    let server = service.zip(event.server).and_then(|(service, id)| service.servers.get(usize::from(id.0)));
    let names = (service.map_or("", |service| &service.name), server.map_or("", |server| &server.name));
    let remedy = remedy::of_event(event, names.0, names.1);
    let mut fields = group(&event.fields);
    // It has a place of its own.
    fields.remove("remedy");
    EngineEvent {
        seq: 0,
        time: rfc3339(clock.wall(event.at)),
        mono_ns: event.at.as_nanos(),
        generation: event.generation.0,
        kind: event.kind,
        severity: event.severity,
        service: service.map(|service| service.name.clone()),
        server: server.map(|server| server.name.clone()),
        host: None,
        port: None,
        message: event.message.clone(),
        remedy: Some(remedy).filter(|remedy| !remedy.is_empty()),
        fields,
    }
}

/// A moment as RFC 3339 in UTC with microseconds.
pub(crate) fn rfc3339(at: std::time::SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let micros = at.nanosecond() / 1_000 * 1_000;
    // Only years beyond 9999 cannot be written, and a clock that far off is shown as it is.
    at.replace_nanosecond(micros).unwrap_or(at).format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

/// A span in milliseconds with three decimals.
pub(crate) fn millis(span: Span) -> f64 {
    // Exact below 285 years of microseconds.
    #[allow(clippy::cast_precision_loss)]
    let micros = (span.as_nanos() / 1_000) as f64;
    micros / 1_000.0
}

/// A field as JSON.
pub(crate) fn field(field: &Field) -> Value {
    match field {
        Field::Text(text) => Value::from(text.as_str()),
        Field::Int(number) => Value::from(*number),
        Field::Bool(yes) => Value::from(*yes),
        Field::Span(span) => Value::from(millis(*span)),
        Field::List(items) => Value::Array(items.iter().map(self::field).collect()),
        Field::Group(items) => Value::Object(group(items)),
    }
}

/// Named fields as a JSON object. A span's name ends in `_ms`.
pub(crate) fn group(fields: &[(&'static str, Field)]) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in fields {
        let name = match value {
            Field::Span(_) if !name.ends_with("_ms") => format!("{name}_ms"),
            _ => (*name).to_owned(),
        };
        map.insert(name, field(value));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_milliseconds_under_a_name_that_says_so() {
        let map = group(&[
            ("latency", Field::Span(Span::from_nanos(1_500_000))),
            ("wait_ms", Field::Span(Span::from_millis(2))),
            ("list", Field::List(vec![Field::Int(1), Field::Bool(true), Field::Group(vec![("a", Field::Text("b".into()))])])),
        ]);
        assert_eq!(Value::Object(map).to_string(), r#"{"latency_ms":1.5,"list":[1,true,{"a":"b"}],"wait_ms":2.0}"#);
    }

    #[test]
    fn the_wall_clock_is_rfc_3339_with_microseconds() {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_700_000_000_123_456_789);
        assert_eq!(rfc3339(at), "2023-11-14T22:13:20.123456Z");
    }
}
