//! Addresses of the form `host:port`.

use std::fmt;
use std::net::SocketAddr;

use super::node::Node;
use super::rule::{Rule, is_host_name};
use super::setting::{Reader, Setting, Shape, Slot};

/// A host and a port. An IPv6 address stands in brackets: `[::1]:5000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct HostPort {
    /// The name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn parse(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    is_host_name(bare).then(|| HostPort { host: bare.to_owned(), port })
}

impl Setting for HostPort {
    fn shape(_rule: Rule) -> Shape {
        Shape::Text(Rule::HostPort)
    }

    fn blank() -> HostPort {
        HostPort { host: String::new(), port: 0 }
    }

    fn read<'a>(slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> HostPort {
        slot.node().text().and_then(parse).unwrap_or_else(|| {
            reader.wrong(&slot, "this is no address of the form host:port", "write \"HOST:PORT\", or \"[IPv6]:PORT\"");
            HostPort::blank()
        })
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(self.to_string()))
    }
}

/// Where we listen ourselves.
impl Setting for SocketAddr {
    fn shape(_rule: Rule) -> Shape {
        Shape::Text(Rule::Listen)
    }

    fn blank() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn read<'a>(slot: Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> SocketAddr {
        slot.node().text().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let remedy = "write \"ADDRESS:PORT\" or \"[IPv6]:PORT\"; names are not resolved here";
            reader.wrong(&slot, "this is no IP address with a port", remedy);
            <SocketAddr as Setting>::blank()
        })
    }

    fn write(&self) -> Option<Node> {
        Some(Node::from(self.to_string()))
    }
}
