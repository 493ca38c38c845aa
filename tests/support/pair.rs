//! A whole service: primary, standby, HAProxy, an sshd for each database host, and the engine's configuration for it.

use std::io;
use std::path::{Path, PathBuf};

use super::engine::{Engine, Origin};
use super::haproxy::{Haproxy, HaproxyOptions};
use super::lab::Lab;
use super::network::{Host, Network};
use super::postgres::{PgOptions, PgServer};
pub use super::service::SERVICE;
use super::service::{Member, Service, forced_command, power_switch};
use super::slow::Proxy;
use super::sshd::{Sshd, SshdOptions};
use super::writer::create_table;

/// Room for a few segments of 16 MiB.
const SMALL_WAL: u32 = 192;

/// How a pair is to be.
#[derive(Clone, Debug)]
pub struct PairOptions {
    /// Synchronous replication: each server names the other in `synchronous_standby_names`.
    pub synchronous: bool,
    /// As [`PgOptions::fsync`].
    pub fsync: bool,
    /// More lines of postgresql.conf on both.
    pub settings: Vec<String>,
    /// More of the service's configuration: TOML tables that follow those of the pair.
    pub config_tail: String,
    /// Each host in a network namespace of its own.
    pub network: bool,
    /// `fence.command` ends everything on a host: the switch of its power.
    pub power_switch: bool,
    /// `route.exclusive`.
    pub exclusive: bool,
    /// `max_lag_bytes`.
    pub max_lag: String,
    /// The server whose write-ahead log has a small file system.
    pub small_wal: Option<&'static str>,
    /// Clients and engine reach the primary through a proxy that can be slow.
    pub slow: bool,
}

impl Default for PairOptions {
    fn default() -> PairOptions {
        PairOptions {
            synchronous: false,
            fsync: true,
            settings: Vec::new(),
            config_tail: String::new(),
            network: false,
            power_switch: false,
            exclusive: false,
            max_lag: "1MiB".to_owned(),
            small_wal: None,
            slow: false,
        }
    }
}

/// The parts, in the order in which they are ended.
pub struct Pair {
    /// In front of both.
    pub haproxy: Haproxy,
    /// The host of `db1`.
    pub ssh1: Sshd,
    /// The host of `db2`.
    pub ssh2: Sshd,
    /// The primary.
    pub db1: PgServer,
    /// The standby.
    pub db2: PgServer,
    /// The engine's configuration file.
    pub config: PathBuf,
    /// The engine's control socket.
    pub control: PathBuf,
    /// The hosts, where they have a network.
    pub network: Option<Network>,
    /// In front of `db1`, where it can be slow.
    pub proxy: Option<Proxy>,
    /// The folder.
    pub lab: Lab,
}

impl Pair {
    /// Starts everything but the engine; `progress` is told what comes next.
    pub fn start(options: &PairOptions, mut progress: impl FnMut(&str)) -> io::Result<Pair> {
        let lab = Lab::new()?;
        let network = if options.network {
            progress("a network of four hosts");
            Some(Network::start(&lab, 2)?)
        } else {
            None
        };
        let host = |name: &str| network.as_ref().map_or_else(Host::local, |network| network.host(name));
        let base = |name: &str| PgOptions {
            fsync: options.fsync,
            settings: options.settings.clone(),
            host: host(name),
            small_wal: options.small_wal.filter(|server| *server == name).map(|_| SMALL_WAL),
            ..PgOptions::new(name)
        };
        progress("PostgreSQL primary db1");
        let db1 = PgServer::primary(&lab, &base("db1"))?;
        create_table(&db1)?;
        progress("PostgreSQL standby db2");
        // A standby inherits the rule for its time as a primary: then db1 has to acknowledge, which is what blocks commits
        // after a failover (rule 94).
        let standby = if options.synchronous { base("db2").synchronous_with("db1") } else { base("db2") };
        let db2 = PgServer::standby_of(&db1, &standby)?;
        if options.synchronous {
            db1.set("synchronous_standby_names = 'db2'")?;
            db1.wait_streaming("db2")?;
        }
        progress("HAProxy");
        let proxy = if options.slow { Some(Proxy::start(db1.host().port(db1.port()))?) } else { None };
        let mut servers = [&db1, &db2].map(|server| (server.name(), server.host().port(server.port())));
        if let Some(proxy) = &proxy {
            servers[0].1.set_port(proxy.port());
        }
        let haproxy = Haproxy::start_to(&lab, &HaproxyOptions { host: host("lb"), ..HaproxyOptions::new("haproxy") }, &servers)?;
        progress("an SSH server for each database host");
        let sshd = |server: &PgServer| {
            let forced_command = forced_command(&lab, server)?;
            let options = SshdOptions { forced_command, host: server.host().clone(), ..SshdOptions::new(server.name()) };
            Sshd::start(&lab, &options)
        };
        let (ssh1, ssh2) = (sshd(&db1)?, sshd(&db2)?);
        lab.folder("state")?;
        let control = lab.path("state/control.sock");
        let mut pair = Pair { haproxy, ssh1, ssh2, db1, db2, config: PathBuf::new(), control, network, proxy, lab };
        let password = pair.lab.write("failover.password", format!("{}\n", pair.db1.secrets().engine), 0o600)?;
        let mut text = pair.config_text(&password, options)?;
        if options.power_switch {
            text.push_str(&power_switch(&pair.lab)?);
        }
        text.push_str(&options.config_tail);
        pair.config = pair.lab.write("failover.toml", text, 0o600)?;
        Ok(pair)
    }

    /// Starts the engine with the pair's configuration.
    pub fn engine(&self, origin: Origin) -> io::Result<Engine> {
        let host = self.network.as_ref().map_or_else(Host::local, |network| network.host("engine"));
        Engine::start(&self.lab, &host, &self.config, &self.control, origin)
    }

    /// The same with the program of an earlier release.
    pub fn engine_of(&self, program: &Path, origin: Origin) -> io::Result<Engine> {
        let copy = self.lab.path("bin/failover-earlier");
        Engine::start_program(program, &copy, &self.lab, &Host::local(), &self.config, &self.control, origin)
    }

    fn config_text(&self, password: &Path, options: &PairOptions) -> io::Result<String> {
        let first = self.proxy.as_ref().map_or(self.db1.port(), Proxy::port);
        let members = [
            Member { server: &self.db1, port: first, ssh: &self.ssh1 },
            Member { server: &self.db2, port: self.db2.port(), ssh: &self.ssh2 },
        ];
        let service = Service {
            lab: &self.lab,
            control: &self.control,
            password,
            members: &members,
            haproxy: &self.haproxy,
            max_lag: &options.max_lag,
            exclusive: options.exclusive,
        };
        service.text()
    }
}
