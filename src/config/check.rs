//! A check and its kinds.

use super::model::{ExecProbe, HostProbe, HttpProbe, PostgresProbe, ScriptedProbe, TcpProbe, Timing};
use super::node::Node;
use super::rule::Rule;
use super::setting::{
    Cases, Cursor, Field, Origin, Reader, Setting, Shape, Slot, Table, absent_table, read_table, table_shape, words, write_table,
};
use failover_core::model::CheckKind;

/// A recurring probe of one server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Check {
    /// Its name, unique in the service.
    pub name: String,
    /// The name of the server that the check asks.
    pub server: String,
    /// What the check does.
    pub probe: Probe,
    /// When and how often it runs.
    pub timing: Timing,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Probe {
    /// A new connection, a query, an answer.
    Postgres(PostgresProbe),
    /// A connection is accepted.
    Tcp(TcpProbe),
    /// A request and the right answer.
    Http(HttpProbe),
    /// A command's exit code.
    Exec(ExecProbe),
    /// The program that embeds the engine answers.
    Host(HostProbe),
    /// Answers from a script.
    Scripted(ScriptedProbe),
}

impl Probe {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> CheckKind {
        match self {
            Probe::Postgres(_) => CheckKind::Postgres,
            Probe::Tcp(_) => CheckKind::Tcp,
            Probe::Http(_) => CheckKind::Http,
            Probe::Exec(_) => CheckKind::Exec,
            Probe::Host(_) => CheckKind::Host,
            Probe::Scripted(_) => CheckKind::Scripted,
        }
    }
}

words! {
    CheckKind {
        CheckKind::Postgres = "postgres", "opens a new PostgreSQL connection, sends a query, expects an answer";
        CheckKind::Tcp = "tcp", "expects that a TCP connection is accepted";
        CheckKind::Http = "http", "sends an HTTP request, expects the right answer";
        CheckKind::Exec = "exec", "runs a command, checks its exit code";
        CheckKind::Host = "host", "asks the program that embeds the engine";
        CheckKind::Scripted = "scripted", "takes its answers from a script, for tests";
    }
}

impl Table for Check {
    const NAME: &'static str = "Check";
    const DOC: &'static str =
        " A recurring probe of one server. Default of its timing, key by key: the service's `check_defaults`.\n";

    fn fields() -> Vec<Field> {
        let mut fields = vec![
            Field {
                name: "name",
                doc: " Its name, unique in the service.\n",
                origin: Origin::Required,
                rule: Rule::Name,
                shape: String::shape,
            },
            Field {
                name: "server",
                doc: " The name of the server that the check asks.\n",
                origin: Origin::Required,
                rule: Rule::Name,
                shape: String::shape,
            },
            Field {
                name: "kind",
                doc: " What the check does. Each kind has further keys.\n",
                origin: Origin::Required,
                rule: Rule::Any,
                shape: CheckKind::shape,
            },
        ];
        fields.extend(Timing::fields());
        fields
    }

    fn cases() -> Option<Cases> {
        Some(Cases {
            tag: "kind",
            variants: vec![
                ("postgres", PostgresProbe::DOC, PostgresProbe::fields()),
                ("tcp", TcpProbe::DOC, TcpProbe::fields()),
                ("http", HttpProbe::DOC, HttpProbe::fields()),
                ("exec", ExecProbe::DOC, ExecProbe::fields()),
                ("host", HostProbe::DOC, HostProbe::fields()),
                ("scripted", ScriptedProbe::DOC, ScriptedProbe::fields()),
            ],
        })
    }

    fn read_fields(cursor: &mut Cursor<'_, '_>) -> Check {
        let name = cursor.next();
        let server = cursor.next();
        let kind: CheckKind = cursor.next();
        let timing = Timing::read_fields(cursor);
        // With a wrong kind the keys of no kind are read: one mistake, one message.
        let known = !cursor.reader.bad.contains(&cursor.slot().at.key("kind"));
        let probe = match kind {
            _ if !known => Probe::Host(HostProbe::blank()),
            CheckKind::Postgres => Probe::Postgres(cursor.variant()),
            CheckKind::Tcp => Probe::Tcp(cursor.variant()),
            CheckKind::Http => Probe::Http(cursor.variant()),
            CheckKind::Exec => Probe::Exec(cursor.variant()),
            CheckKind::Host => Probe::Host(cursor.variant()),
            CheckKind::Scripted => Probe::Scripted(cursor.variant()),
        };
        Check { name, server, probe, timing }
    }

    fn write_fields(&self, out: &mut Vec<(String, Node)>) {
        out.push(("name".to_owned(), Node::from(self.name.as_str())));
        out.push(("server".to_owned(), Node::from(self.server.as_str())));
        out.extend(self.probe.kind().write().map(|kind| ("kind".to_owned(), kind)));
        match &self.probe {
            Probe::Postgres(probe) => probe.write_fields(out),
            Probe::Tcp(probe) => probe.write_fields(out),
            Probe::Http(probe) => probe.write_fields(out),
            Probe::Exec(probe) => probe.write_fields(out),
            Probe::Host(probe) => probe.write_fields(out),
            Probe::Scripted(probe) => probe.write_fields(out),
        }
        self.timing.write_fields(out);
    }
}

impl Setting for Check {
    fn shape(_rule: Rule) -> Shape {
        table_shape::<Check>()
    }

    fn blank() -> Check {
        Check { name: String::new(), server: String::new(), probe: Probe::Host(HostProbe::blank()), timing: Timing::blank() }
    }

    fn read<'a>(mut slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> Check {
        slot.layers.extend(reader.lent("check_defaults"));
        read_table(slot, reader)
    }

    fn absent<'a>(slot: &Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> Check {
        absent_table(slot, reader)
    }

    fn write(&self) -> Option<Node> {
        Some(write_table(self))
    }
}
