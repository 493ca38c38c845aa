//! Hosts with an address and a cable of their own: network namespaces on a bridge, none of it visible to the machine. Needs root;
//! a lab removes its own when it ends, and its watchdog where it cannot.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use super::lab::Lab;
use super::process::context;

/// Where a server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    namespace: Option<String>,
    address: Ipv4Addr,
}

impl Host {
    /// The machine itself, on its loopback.
    pub fn local() -> Host {
        Host { namespace: None, address: Ipv4Addr::LOCALHOST }
    }

    /// The machine itself.
    pub fn is_local(&self) -> bool {
        self.namespace.is_none()
    }

    /// The namespace, where it has one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A port of it.
    pub fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), port)
    }
}

/// The hosts of a service: `lb` with the bridge and HAProxy on it, `engine`, and `db1`, `db2` and so on.
pub struct Network {
    names: String,
    hosts: Vec<String>,
}

/// Nobody has it.
const NO_CARD: &str = "02:00:00:00:00:01";

impl Network {
    /// Makes them, with so many databases, all within reach of each other.
    pub fn start(lab: &Lab, databases: usize) -> io::Result<Network> {
        let databases = (1..=databases).map(|number| format!("db{number}"));
        let hosts = ["lb", "engine"].map(str::to_owned).into_iter().chain(databases).collect();
        let network = Network { names: names(lab.dir()), hosts };
        for name in &network.hosts {
            ip(&["netns", "add", &network.namespace(name)])?;
            network.on(name, &["link", "set", "lo", "up"])?;
        }
        network.on("lb", &["link", "add", "bridge", "type", "bridge"])?;
        network.on("lb", &["address", "add", &format!("{}/24", network.host("lb").address), "dev", "bridge"])?;
        network.on("lb", &["link", "set", "bridge", "up"])?;
        for name in &network.hosts[1..] {
            let far = network.namespace(name);
            network.on("lb", &["link", "add", name, "type", "veth", "peer", "name", "cable", "netns", &far])?;
            network.on("lb", &["link", "set", name, "master", "bridge", "up"])?;
            network.on(name, &["address", "add", &format!("{}/24", network.host(name).address), "dev", "cable"])?;
            network.on(name, &["link", "set", "cable", "up"])?;
        }
        Ok(network)
    }

    /// Why this machine has no such network to give.
    pub fn impossible() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("network namespaces need root".to_owned());
        }
        let trial = format!("failover-trial-{}", std::process::id());
        let made = ip(&["netns", "add", &trial]);
        let bridge = made.and_then(|()| ip(&["-n", &trial, "link", "add", "bridge", "type", "bridge"]));
        let cable = bridge.and_then(|()| ip(&["-n", &trial, "link", "add", "near", "type", "veth", "peer", "name", "far"]));
        let _ = ip(&["netns", "del", &trial]);
        cable.err().map(|error| format!("no network namespaces here: {error}"))
    }

    /// A host by its name.
    pub fn host(&self, name: &str) -> Host {
        // From the block for benchmarks (RFC 2544), and nobody outside the namespaces sees it.
        let place = self.hosts.iter().position(|host| host == name).and_then(|place| u8::try_from(place + 1).ok());
        Host { namespace: Some(self.namespace(name)), address: Ipv4Addr::new(198, 18, 0, place.unwrap_or(0)) }
    }

    /// Pulls the cable of a host, or puts it back.
    pub fn unplug(&self, name: &str, unplugged: bool) -> io::Result<()> {
        self.on("lb", &["link", "set", name, if unplugged { "down" } else { "up" }])
    }

    /// Two hosts no longer reach each other, and everybody else still does: what one sends to the other arrives nowhere, in silence.
    pub fn separate(&self, one: &str, other: &str, separate: bool) -> io::Result<()> {
        for (from, to) in [(one, other), (other, one)] {
            let card = if from == "lb" { "bridge" } else { "cable" };
            let address = self.host(to).address.to_string();
            if separate {
                self.on(from, &["neigh", "replace", &address, "lladdr", NO_CARD, "nud", "permanent", "dev", card])?;
            } else {
                self.on(from, &["neigh", "del", &address, "dev", card])?;
            }
        }
        Ok(())
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.names)
    }

    fn on(&self, name: &str, words: &[&str]) -> io::Result<()> {
        let namespace = self.namespace(name);
        let mut all = vec!["-n", namespace.as_str()];
        all.extend_from_slice(words);
        ip(&all)
    }
}

/// Removes what a lab has made. Nothing of it runs any more.
pub fn remove(lab: &Path) {
    for name in left(lab) {
        let _ = ip(&["netns", "del", &name]);
    }
}

/// The namespaces of a lab that exist.
pub fn left(lab: &Path) -> Vec<String> {
    let names = names(lab);
    let all = fs::read_dir("/run/netns").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    all.filter(|name| name.starts_with(&names)).collect()
}

fn names(lab: &Path) -> String {
    format!("{}-", lab.file_name().unwrap_or_default().to_string_lossy())
}

fn ip(words: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| context(&error, "cannot run ip (apt-get install iproute2)"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
}
