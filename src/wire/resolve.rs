//! Where names become addresses, without a wait.

use std::net::{IpAddr, SocketAddr};

/// The last known addresses of a name. Never blocks: `getaddrinfo` has no deadline, so the resolver thread asks it and
/// everybody else reads what it last got.
pub(crate) trait Addresses: Send + Sync {
    /// Every known address of `host`, in the resolver's order.
    ///
    /// # Errors
    /// One line for people when the name has no known address (yet).
    fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String>;
}

/// Understands literal IPv4 and IPv6 addresses and nothing else: for tests, and the first step of every implementation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Literals;

impl Addresses for Literals {
    fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        host.trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .map(|ip| vec![SocketAddr::new(ip, port)])
            .map_err(|_| format!("\"{host}\" is a name, not an address, and names are not resolved here"))
    }
}
