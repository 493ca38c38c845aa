//! A service of one primary and any number of standbys, HAProxy, an sshd for each host, and the engine's configuration for it.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::engine::{Engine, Origin};
use super::haproxy::{Haproxy, HaproxyOptions};
use super::lab::Lab;
use super::network::{Host, Network};
use super::postgres::{ENGINE_ROLE, PgOptions, PgServer};
use super::service::{Member, Service, forced_command, power_switch};
use super::sshd::{Sshd, SshdOptions};
use super::writer::create_table;

/// The name under which every standby replicates that was given none.
const NO_NAME: &str = "walreceiver";

/// For whom commits wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// For nobody.
    Async,
    /// `ANY 1 (…)`: for any one of the others.
    Any,
    /// `FIRST 1 (…)`: for the first of the others that is there.
    First,
}

impl Replication {
    /// All of them.
    pub const ALL: [Replication; 3] = [Replication::Async, Replication::Any, Replication::First];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Replication::Async => "async",
            Replication::Any => "any",
            Replication::First => "first",
        }
    }
}

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many standbys: `db2`, `db3` and so on.
    pub standbys: usize,
    /// For whom commits wait, on every server.
    pub replication: Replication,
    /// No standby replicates under a name of its own.
    pub equal_names: bool,
    /// As [`PgOptions::fsync`].
    pub fsync: bool,
    /// `max_lag_bytes`.
    pub max_lag: String,
    /// More lines of postgresql.conf on all.
    pub settings: Vec<String>,
    /// More of the service's configuration: TOML tables.
    pub config_tail: String,
    /// `state_dir` has a file system of its own, of so many MiB.
    pub small_state: Option<u32>,
    /// The fence waits on the hosts while the file `hold` is in the lab's folder.
    pub fence_can_be_held: bool,
    /// Each host in a network namespace of its own.
    pub network: bool,
    /// `fence.command` ends everything on a host: the switch of its power.
    pub power_switch: bool,
    /// An old primary can be brought back: its host knows how to reach the others, and its key may rewind it.
    pub rejoin: bool,
}

impl ClusterOptions {
    /// Two standbys with names of their own, in a service that claims no durability.
    pub fn new(replication: Replication) -> ClusterOptions {
        ClusterOptions {
            standbys: 2,
            replication,
            equal_names: false,
            fsync: false,
            max_lag: "1MiB".to_owned(),
            settings: Vec::new(),
            config_tail: String::new(),
            small_state: None,
            fence_can_be_held: false,
            network: false,
            power_switch: false,
            rejoin: false,
        }
    }

    /// What one of so many servers writes into `synchronous_standby_names`.
    fn rule(&self, own: usize) -> Option<String> {
        let others = (0..=self.standbys).filter(|place| *place != own).map(name).collect::<Vec<_>>().join(", ");
        match (self.replication, self.equal_names) {
            (Replication::Async, _) => None,
            (Replication::Any, false) => Some(format!("ANY 1 ({others})")),
            (Replication::First, false) => Some(format!("FIRST 1 ({others})")),
            (Replication::Any, true) => Some(format!("ANY 1 ({NO_NAME})")),
            (Replication::First, true) => Some(NO_NAME.to_owned()),
        }
    }

    fn server(&self, place: usize, network: Option<&Network>) -> PgOptions {
        PgOptions {
            host: host(network, &name(place)),
            fsync: self.fsync,
            anonymous: self.equal_names,
            synchronous: self.rule(place),
            settings: self.settings.clone(),
            ..PgOptions::new(&name(place))
        }
    }
}

fn host(network: Option<&Network>, name: &str) -> Host {
    network.map_or_else(Host::local, |network| network.host(name))
}

fn name(place: usize) -> String {
    format!("db{}", place + 1)
}

/// The parts, in the order in which they are ended.
pub struct Cluster {
    /// In front of all.
    pub haproxy: Haproxy,
    /// The hosts, in the order of the servers.
    pub hosts: Vec<Sshd>,
    /// The servers; the first begins as the primary.
    pub servers: Vec<PgServer>,
    /// The engine's configuration file.
    pub config: PathBuf,
    /// The engine's control socket.
    pub control: PathBuf,
    /// The hosts, where they have a network.
    pub network: Option<Network>,
    /// The folder.
    pub lab: Lab,
}

impl Cluster {
    /// Starts everything but the engine; `progress` is told what comes next.
    pub fn start(options: &ClusterOptions, mut progress: impl FnMut(&str)) -> io::Result<Cluster> {
        let lab = Lab::new()?;
        let network = if options.network { Some(Network::start(&lab, options.standbys + 1)?) } else { None };
        let servers = start_servers(&lab, options, network.as_ref(), &mut progress)?;
        progress("HAProxy");
        let behind: Vec<_> = servers.iter().map(|server| (server.name(), server.host().port(server.port()))).collect();
        let balancer = HaproxyOptions { host: host(network.as_ref(), "lb"), ..HaproxyOptions::new("haproxy") };
        let haproxy = Haproxy::start_to(&lab, &balancer, &behind)?;
        progress("an SSH server for each database host");
        let hosts = servers.iter().map(|server| start_host(&lab, server, options)).collect::<io::Result<Vec<_>>>()?;
        match options.small_state {
            Some(size) => lab.mount("state", size)?,
            None => lab.folder("state")?,
        };
        if options.rejoin {
            write_sources(&lab, &servers)?;
        }
        let control = lab.path("state/control.sock");
        let mut cluster = Cluster { haproxy, hosts, servers, config: PathBuf::new(), control, network, lab };
        let password = cluster.lab.write("failover.password", format!("{}\n", cluster.db(1).secrets().engine), 0o600)?;
        let mut text = cluster.config_text(&password, options)?;
        if options.power_switch {
            text.push_str(&power_switch(&cluster.lab)?);
        }
        text.push_str(&options.config_tail);
        cluster.config = cluster.lab.write("failover.toml", text, 0o600)?;
        Ok(cluster)
    }

    fn config_text(&self, password: &Path, options: &ClusterOptions) -> io::Result<String> {
        let pairs = self.servers.iter().zip(&self.hosts);
        let members: Vec<Member> = pairs.map(|(server, ssh)| Member { server, port: server.port(), ssh }).collect();
        let service = Service {
            lab: &self.lab,
            control: &self.control,
            password,
            members: &members,
            haproxy: &self.haproxy,
            max_lag: &options.max_lag,
            exclusive: false,
        };
        service.text()
    }

    /// Starts the engine with this configuration.
    pub fn engine(&self, origin: Origin) -> io::Result<Engine> {
        Engine::start(&self.lab, &host(self.network.as_ref(), "engine"), &self.config, &self.control, origin)
    }

    /// The server `db1`, `db2` and so on.
    ///
    /// # Panics
    /// Where there is no such server.
    pub fn db(&self, number: usize) -> &PgServer {
        &self.servers[number - 1]
    }

    /// The file that says how the host of this server reaches the others.
    pub fn sources_of(&self, number: usize) -> PathBuf {
        sources_of(&self.lab, self.db(number))
    }

    /// The server of that name.
    pub fn named(&self, name: &str) -> Option<&PgServer> {
        self.servers.iter().find(|server| server.name() == name)
    }

    /// Every server that answers and takes writes.
    pub fn writable(&self) -> Vec<&PgServer> {
        self.servers.iter().filter(|server| server.is_primary().is_ok_and(|yes| yes)).collect()
    }

    /// Makes the engine's questions countable from its next session on: `samples`.
    pub fn log_questions(&self) -> io::Result<()> {
        // One that waits for a standby would wait for the log, too.
        self.db(1).script(&format!("ALTER ROLE {ENGINE_ROLE} SET log_statement = 'all'"))?;
        Ok(())
    }

    /// How often the engine has asked a primary about its standbys.
    pub fn samples(&self, server: &PgServer) -> usize {
        let log = std::fs::read_to_string(self.lab.log_path(server.name())).unwrap_or_default();
        log.lines().filter(|line| line.contains("pg_stat_get_wal_senders() r")).count()
    }

    fn hold_file(&self) -> PathBuf {
        self.lab.path("hold")
    }

    /// From now on no fence comes to its end.
    pub fn hold_fence(&self) -> io::Result<()> {
        self.lab.write(self.hold_file(), "", 0o600).map(drop)
    }

    /// It does again.
    pub fn release_fence(&self) -> io::Result<()> {
        std::fs::remove_file(self.hold_file())
    }

    /// Fills the file system of `state_dir` to the last byte.
    pub fn fill_state(&self) -> io::Result<()> {
        super::lab::fill(&self.lab.path("state/filler"))
    }
}

fn start_servers(
    lab: &Lab,
    options: &ClusterOptions,
    network: Option<&Network>,
    progress: &mut impl FnMut(&str),
) -> io::Result<Vec<PgServer>> {
    progress("PostgreSQL primary db1");
    // Its rule for commits comes last: nobody is there yet to acknowledge the first ones.
    let db1 = PgServer::primary(lab, &PgOptions { synchronous: None, ..options.server(0, network) })?;
    create_table(&db1)?;
    let mut servers = vec![db1];
    for place in 1..=options.standbys {
        progress(&format!("PostgreSQL standby {}", name(place)));
        servers.push(PgServer::standby_of(&servers[0], &options.server(place, network))?);
    }
    if let Some(rule) = options.rule(0) {
        servers[0].set(&format!("synchronous_standby_names = '{rule}'"))?;
    }
    for standby in &servers[1..] {
        standby.wait_following(&servers[0])?;
    }
    Ok(servers)
}

/// What a key has to be allowed by name.
const REJOIN_VERBS: &str = "word,prove,ready,control,history,fence,undo,stop,start,promote,tail,segment,spool,unspool,divergence,keep,rewind,rewind-status,follow,size,copy,copy-status,swap";

fn sources_of(lab: &Lab, server: &PgServer) -> PathBuf {
    lab.path(format!("{}.sources", server.name()))
}

/// Each host knows how to reach each other server, and the role of replication may read what a rewind reads.
fn write_sources(lab: &Lab, servers: &[PgServer]) -> io::Result<()> {
    for server in servers {
        let mut text = "# NAME CONNINFO\n".to_owned();
        for other in servers.iter().filter(|other| other.name() != server.name()) {
            let _ = writeln!(text, "{} {}", other.name(), server.follower_conninfo(other)?);
        }
        lab.write(sources_of(lab, server), text, 0o600)?;
    }
    servers[0].script(
        "GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
         pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;",
    )?;
    Ok(())
}

fn start_host(lab: &Lab, server: &PgServer, options: &ClusterOptions) -> io::Result<Sshd> {
    let mut forced_command = forced_command(lab, server)?;
    if options.rejoin {
        let (sources, allowed) = (sources_of(lab, server), REJOIN_VERBS);
        forced_command = forced_command.map(|command| format!("{command} --source-file {} --allow {allowed}", sources.display()));
    }
    if options.fence_can_be_held {
        let gate = lab.write("bin/gate", include_str!("gate.sh"), 0o700)?;
        let hold = lab.path("hold");
        forced_command = forced_command.map(|command| format!("{} {} {command}", gate.display(), hold.display()));
    }
    Sshd::start(lab, &SshdOptions { forced_command, host: server.host().clone(), ..SshdOptions::new(server.name()) })
}
