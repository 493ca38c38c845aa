//! From a configuration to everything that acts on it: checks, connection targets, the actions of each service.

use std::collections::BTreeMap;
use std::path::Path;
#[cfg(feature = "ssh")]
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::action::application::{Identity, Verification};
use crate::action::command::{FollowCommand, PreCheck, RouteCommand};
use crate::action::dns::names::{Name, Names};
use crate::action::dns::verify::NameServer;
use crate::action::dns::{Companions, Record, RecordSet, RecordType};
use crate::action::memory::Memory;
use crate::action::pgbouncer::Pooler;
use crate::action::postgres::Cluster;
use crate::action::route::{HaproxyTarget, Route};
use crate::action::{EmbedderActions, Server as ActionServer, ServiceActions};
use crate::check::Check;
use crate::check::embedder::{HostCheck, HostFunctionCheck};
use crate::check::exec::ExecCheck;
use crate::check::http::{HttpCheck, HttpParams};
use crate::check::postgres::PostgresCheck;
use crate::check::scripted::ScriptedCheck;
use crate::check::tcp::TcpCheck;
use crate::config::{self, Config, DnsProvider, DnsType, HttpMethod, Probe, PromoteMethod};
use crate::wire::command::Command;
use crate::wire::haproxy;
use crate::wire::postgres::{Endpoint, KeptKeys, SessionSettings, SslMode, Target, Tls, TlsSettings};
use crate::wire::resolve::Addresses;
use failover_core::id::{ServerId, ServiceId};
use failover_core::model::{CheckKind, Model};
use failover_core::time::Span;

use super::embedder::EmbedderLane;
use super::error::EngineError;
use crate::clock::Clock;

#[cfg(feature = "ssh")]
use crate::action::host::{HostControl, HostParams};
#[cfg(feature = "ssh")]
use crate::wire::ssh::{SshHost, SshTarget};

/// Where a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// On the checkers.
    Pool,
    /// On the lane for child processes.
    Child,
    /// On the lane for host code, or as a task event.
    Host,
}

/// One check, ready to run.
pub(crate) struct CheckPart {
    pub(crate) server: ServerId,
    pub(crate) lane: Lane,
    pub(crate) check: Arc<dyn Check>,
    /// Of a check that is a task event: what the host program is asked.
    pub(crate) task: Option<HostCheck>,
}

/// One server, for its kept session and the survey.
pub(crate) struct ServerPart {
    /// `None` for a service that is not PostgreSQL.
    pub(crate) target: Option<Target>,
    /// The session that actions use; the survey only keeps it open.
    #[cfg(feature = "ssh")]
    pub(crate) action_ssh: Option<Arc<SshHost>>,
    /// The survey's own way to the host, so that neither waits for the other.
    #[cfg(feature = "ssh")]
    pub(crate) survey: Option<HostControl>,
    #[cfg(feature = "ssh")]
    survey_ssh: Option<Arc<SshHost>>,
}

#[cfg(feature = "ssh")]
impl ServerPart {
    fn close(&self) {
        self.action_ssh.iter().chain(&self.survey_ssh).for_each(|ssh| ssh.close());
    }
}

/// One service.
pub(crate) struct ServicePart {
    pub(crate) checks: Vec<CheckPart>,
    pub(crate) servers: Vec<ServerPart>,
    pub(crate) actions: ServiceActions,
    pub(crate) ping_interval: Duration,
}

/// Everything that acts on one configuration.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) model: Model,
    pub(crate) services: Vec<ServicePart>,
}

impl Parts {
    pub(crate) fn service(&self, id: ServiceId) -> Option<&ServicePart> {
        self.services.get(usize::from(id.0))
    }

    /// Ends the sessions that actions left open. Actions at work go on with theirs.
    pub(crate) fn close(&self) {
        for service in &self.services {
            service.actions.cluster.close();
            #[cfg(feature = "ssh")]
            for server in &service.servers {
                server.close();
            }
        }
    }

    /// Different things that can be asked at the same moment: checks on the pool and kept sessions.
    pub(crate) fn jobs(&self) -> usize {
        let of = |service: &ServicePart| service.servers.iter().filter(|server| server.target.is_some()).count();
        self.checks_on(Lane::Pool) + self.services.iter().map(of).sum::<usize>()
    }

    /// How many services are failed over or follow another one.
    pub(crate) fn acted_on(&self) -> usize {
        self.model.services.iter().filter(|service| service.is_moved() || service.follows.is_some()).count()
    }

    /// How many checks run on a lane.
    pub(crate) fn checks_on(&self, lane: Lane) -> usize {
        self.services.iter().flat_map(|service| &service.checks).filter(|check| check.lane == lane).count()
    }

    /// Every host that may be a name.
    pub(crate) fn hosts(&self) -> Vec<&str> {
        let mut hosts = Vec::new();
        for service in &self.config.services {
            for server in &service.servers {
                hosts.push(server.host.as_str());
                hosts.extend(server.ssh.as_ref().and_then(|ssh| ssh.host.as_deref()));
            }
            hosts.extend(service.route.verify.iter().map(|address| address.host.as_str()));
            for pooler in &service.route.pgbouncer {
                hosts.push(pooler.host.as_str());
                hosts.extend(pooler.servers.values().map(|address| address.host.as_str()));
            }
            for name in &service.dns {
                let servers = name.server.iter().chain(&name.verify).chain(&name.resolvers);
                hosts.extend(servers.map(|address| address.host.as_str()));
                if name.provider == DnsProvider::Route53 {
                    hosts.push(name.endpoint.as_deref().map_or("route53.amazonaws.com", host_of));
                }
            }
            hosts.extend(service.route.haproxy.iter().filter_map(|haproxy| Some(haproxy.address.as_ref()?.host.as_str())));
        }
        hosts.retain(|host| !host.starts_with('/'));
        hosts
    }
}

/// What the parts are made with.
pub(crate) struct Means {
    pub(crate) clock: Clock,
    pub(crate) addresses: Arc<dyn Addresses>,
    pub(crate) embedder: Arc<EmbedderLane>,
    /// What servers show as our `application_name`.
    pub(crate) application_name: String,
}

/// The name by which servers know this engine: the same after a restart, another one for every other engine.
pub(crate) fn application_name(config: &Config) -> String {
    let instance = config.engine.instance.clone().unwrap_or_else(|| default_instance(&config.state_dir));
    format!("libfailover/{instance}")
}

fn default_instance(state_dir: &Path) -> String {
    let state_dir = std::fs::canonicalize(state_dir).unwrap_or_else(|_| state_dir.to_owned());
    let digest = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().filter(char::is_ascii_graphic).take(36).collect();
    // PostgreSQL cuts names at 63 bytes.
    format!("{host}-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
}

/// Makes the parts of a configuration. Connects to nothing and starts nothing.
///
/// # Errors
/// [`EngineError::InvalidArgument`] for what only becomes visible when the parts are put together.
pub(crate) fn build(config: &Config, means: &Means) -> Result<Parts, EngineError> {
    let mut model = config.model();
    let steps = means.embedder.steps();
    let mut services = Vec::new();
    for (service, model) in config.services.iter().zip(&mut model.services) {
        // What the host program carries out itself is there for the core as if it were configured.
        if steps.contains("fence") {
            model.servers.iter_mut().for_each(|server| server.fence_command = true);
        }
        if model.servers.iter().any(|server| server.fence_command) {
            model.fence.timeout = model.fence.timeout + Span::from(service.fence.command_timeout);
        }
        if ["route_out", "route_in"].iter().any(|step| steps.contains(*step)) {
            model.route.instances += 1;
        }
        model.pre_checks |= steps.contains("pre_checks");
        if !cfg!(feature = "ssh") {
            model.servers.iter_mut().for_each(|server| server.ssh = false);
        }
        services.push(service_part(config, service, means)?);
    }
    Ok(Parts { config: config.clone(), model, services })
}

fn service_part(config: &Config, service: &config::Service, means: &Means) -> Result<ServicePart, EngineError> {
    let holds_data = service.kind.holds_data();
    let mut servers = Vec::new();
    let mut action_servers = Vec::new();
    let mut cluster = BTreeMap::new();
    for (place, server) in service.servers.iter().enumerate() {
        let target = holds_data.then(|| target(server, Endpoint::new(&server.host, server.port), means));
        if let (Some(target), Ok(id)) = (&target, u16::try_from(place)) {
            let replication = crate::action::postgres::Place {
                host: server.replication_host.clone().unwrap_or_else(|| server.host.clone()),
                port: server.replication_port.unwrap_or(server.port),
            };
            let server = crate::action::postgres::Server { name: server.name.clone(), target: target.clone(), replication };
            cluster.insert(ServerId(id), server);
        }
        #[cfg(feature = "ssh")]
        let ssh = |server: &config::Server| {
            ssh_target(server).map(|target| Arc::new(SshHost::new(target, Arc::clone(&means.addresses))))
        };
        #[cfg(feature = "ssh")]
        let (action_ssh, survey_ssh) = (ssh(server), ssh(server));
        #[cfg(feature = "ssh")]
        let control = |ssh: &Arc<SshHost>| HostControl::new(Arc::clone(ssh), host_params(server), means.clock);
        action_servers.push(ActionServer {
            name: server.name.clone(),
            host: server.host.clone(),
            port: server.port,
            #[cfg(feature = "ssh")]
            control: action_ssh.as_ref().map(control),
        });
        servers.push(ServerPart {
            target,
            #[cfg(feature = "ssh")]
            survey: survey_ssh.as_ref().map(control),
            #[cfg(feature = "ssh")]
            action_ssh,
            #[cfg(feature = "ssh")]
            survey_ssh,
        });
    }
    let checks = service.all_checks().iter().map(|check| check_part(service, check, means)).collect::<Result<Vec<_>, _>>()?;
    let verify =
        if holds_data { service.route.verify.iter().map(|at| Endpoint::new(&at.host, at.port)).collect() } else { Vec::new() };
    let verification = if holds_data { Verification::default() } else { verification(service)? };
    let embedder: Arc<dyn EmbedderActions> = Arc::clone(&means.embedder) as Arc<dyn EmbedderActions>;
    let actions = ServiceActions {
        service: service.name.clone(),
        servers: action_servers,
        cluster: match (Cluster::new(cluster, Arc::clone(&means.addresses), means.clock), service.promote.method) {
            (cluster, PromoteMethod::PgPromote) => cluster,
            (cluster, PromoteMethod::PgCtl | PromoteMethod::Command) => cluster.promoted_otherwise(),
        },
        route: Route::new(
            service.route.haproxy.iter().map(|haproxy| haproxy_target(haproxy, service)).collect(),
            Arc::clone(&means.addresses),
        ),
        route_commands: service.route.command.iter().map(route_command).collect(),
        poolers: service.route.pgbouncer.iter().map(|pooler| self::pooler(pooler, means)).collect(),
        names: Names::new(
            service.dns.iter().map(|name| self::name(service, name, means)).collect::<Result<_, _>>()?,
            Arc::clone(&means.addresses),
        ),
        names_are_route: service.names_are_route(),
        memory: (!holds_data).then(|| Memory::new(&config.state_dir, &service.name)),
        verify,
        verification,
        addresses: Arc::clone(&means.addresses),
        clock: means.clock,
        promote: service.promote.method,
        promote_command: service.promote.command.clone(),
        fence_command: service.fence.command.clone(),
        fence_command_timeout: service.fence.command_timeout,
        pre_checks: service.pre_checks.iter().map(pre_check).collect(),
        follow: follow_command(config, service),
        embedder,
    };
    Ok(ServicePart { checks, servers, actions, ping_interval: service.trigger.ping_interval })
}

fn route_command(command: &config::RouteCommand) -> RouteCommand {
    RouteCommand { name: command.name.clone(), into: command.command.clone(), out: command.out.clone(), timeout: command.timeout }
}

fn pre_check(check: &config::PreCheck) -> PreCheck {
    PreCheck { name: check.name.clone(), argv: check.command.clone(), timeout: check.timeout }
}

/// What is run when the service that this one follows has a new primary.
fn follow_command(config: &Config, service: &config::Service) -> Option<FollowCommand> {
    let follows = service.follows.as_ref()?;
    let other = config.services.iter().find(|other| other.name == follows.service)?;
    let servers = other.servers.iter().map(|server| (server.name.clone(), server.host.clone(), server.port));
    Some(FollowCommand { argv: follows.command.clone(), service: other.name.clone(), servers: servers.collect() })
}

/// The host in a URL that was seen to be one.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// A name that follows the active server.
fn name(service: &config::Service, dns: &config::Dns, means: &Means) -> Result<Name, EngineError> {
    let record_type = match dns.record_type {
        DnsType::A => RecordType::A,
        DnsType::Aaaa => RecordType::Aaaa,
        DnsType::Cname => RecordType::Cname,
    };
    let values = service.servers.iter().map(|server| {
        let value = dns.values.get(&server.name).unwrap_or(&server.host).clone();
        (server.name.clone(), RecordSet { values: vec![value], ttl: dns.ttl })
    });
    let servers =
        |list: &[config::HostPort]| list.iter().map(|at| NameServer { host: at.host.clone(), port: at.port }).collect::<Vec<_>>();
    let wrong = |why: String| EngineError::InvalidArgument(format!("dns \"{}\" of {}: {why}", dns.name, service.name));
    Ok(Name {
        name: dns.name.clone(),
        record_type,
        record: match dns.provider {
            DnsProvider::Rfc2136 => rfc2136(dns, record_type, means).map_err(wrong)?,
            DnsProvider::Route53 => route53(dns, record_type, means).map_err(wrong)?,
        },
        values: values.collect(),
        companions: if dns.health_checks.is_empty() {
            None
        } else {
            Some(health_checks(dns, record_type, means).map_err(wrong)?)
        },
        authoritative: servers(&dns.verify),
        zone: servers(&dns.server.iter().chain(&dns.verify).cloned().collect::<Vec<_>>()),
        resolvers: servers(&dns.resolvers),
        timeout: dns.timeout,
    })
}

#[cfg(feature = "rfc2136")]
fn rfc2136(dns: &config::Dns, record_type: RecordType, means: &Means) -> Result<Box<dyn Record>, String> {
    use crate::action::dns::rfc2136::{Algorithm, FUDGE, Rfc2136, Rfc2136Target, TsigKey};
    use crate::config::TsigAlgorithm;
    let server = dns.server.as_ref().ok_or("it has no server")?;
    let secret = dns.key_secret.as_ref().ok_or("it has no key_secret")?;
    let target = Rfc2136Target {
        server: NameServer { host: server.host.clone(), port: server.port },
        zone: dns.zone.clone().unwrap_or_default(),
        name: dns.name.clone(),
        record_type,
        ttl: dns.ttl,
        key: TsigKey {
            name: dns.key_name.clone().unwrap_or_default(),
            algorithm: match dns.key_algorithm {
                TsigAlgorithm::Sha1 => Algorithm::HmacSha1,
                TsigAlgorithm::Sha256 => Algorithm::HmacSha256,
                TsigAlgorithm::Sha384 => Algorithm::HmacSha384,
                TsigAlgorithm::Sha512 => Algorithm::HmacSha512,
            },
            secret: secret.secret.clone(),
        },
        fudge: FUDGE,
        secondaries: Vec::new(),
    };
    let record = Rfc2136::new(target, Arc::clone(&means.addresses)).map_err(|invalid| invalid.to_string())?;
    Ok(Box::new(record))
}

#[cfg(not(feature = "rfc2136"))]
fn rfc2136(_: &config::Dns, _: RecordType, _: &Means) -> Result<Box<dyn Record>, String> {
    Err("this build has no RFC 2136 (feature rfc2136)".to_owned())
}

#[cfg(feature = "route53")]
fn route53(dns: &config::Dns, record_type: RecordType, means: &Means) -> Result<Box<dyn Record>, String> {
    Ok(Box::new(route53_record(dns, record_type, means)?))
}

#[cfg(feature = "route53")]
fn route53_record(
    dns: &config::Dns,
    record_type: RecordType,
    means: &Means,
) -> Result<crate::action::dns::route53::Route53, String> {
    use crate::action::dns::route53::{CredentialsSource, Environment, Route53, Route53Target};
    let credentials = match (&dns.access_key_id, &dns.secret_access_key, &dns.profile) {
        (Some(id), Some(key), _) => {
            CredentialsSource::Keys { access_key_id: id.clone(), secret_access_key: key.secret.clone(), session_token: None }
        }
        (_, _, Some(profile)) => CredentialsSource::Profile(profile.clone()),
        _ => CredentialsSource::Chain,
    };
    let target = Route53Target {
        endpoint: dns.endpoint.clone(),
        region: dns.region.clone(),
        credentials,
        insync_timeout: dns.timeout,
        ..Route53Target::new(&dns.name, record_type, dns.zone_id.as_deref().unwrap_or_default())
    };
    Route53::new(target, Arc::clone(&means.addresses), Environment::of_process())
}

/// The health checks that follow the active server with a name.
#[cfg(feature = "route53")]
fn health_checks(dns: &config::Dns, record_type: RecordType, means: &Means) -> Result<Box<dyn Companions>, String> {
    use crate::action::dns::route53::{HealthCheckSettings, HealthChecks};
    use crate::config::HealthCheckOthers;
    let active = HealthCheckSettings {
        failure_threshold: u8::try_from(dns.health_check_threshold).ok(),
        disabled: Some(!dns.health_check_enabled),
        ..HealthCheckSettings::default()
    };
    let disabled = match dns.health_check_others {
        HealthCheckOthers::Keep => None,
        HealthCheckOthers::Enable => Some(false),
        HealthCheckOthers::Disable => Some(true),
    };
    let inactive = HealthCheckSettings { disabled, ..HealthCheckSettings::default() };
    let account = route53_record(dns, record_type, means)?;
    Ok(Box::new(HealthChecks::new(account, dns.health_checks.clone(), active, inactive)))
}

#[cfg(not(feature = "route53"))]
fn health_checks(_: &config::Dns, _: RecordType, _: &Means) -> Result<Box<dyn Companions>, String> {
    Err("this build has no Route 53 (feature route53)".to_owned())
}

#[cfg(not(feature = "route53"))]
fn route53(_: &config::Dns, _: RecordType, _: &Means) -> Result<Box<dyn Record>, String> {
    Err("this build has no Route 53 (feature route53)".to_owned())
}

/// How the traffic of an application is verified.
fn verification(service: &config::Service) -> Result<Verification, EngineError> {
    let route = &service.route;
    let own = &route.identity;
    let mut values = BTreeMap::new();
    for (place, server) in service.servers.iter().enumerate() {
        if let Ok(id) = u16::try_from(place) {
            values.insert(ServerId(id), own.values.get(&server.name).unwrap_or(&server.name).clone());
        }
    }
    let params = HttpParams {
        expected_status: own.expect_status.clone(),
        redirects: 0,
        server_name: own.server_name.clone(),
        ca_file: own.ca_file.clone(),
        ..HttpParams::new("")
    };
    let scheme = if own.tls { "https" } else { "http" };
    let identity = Identity { scheme, path: own.path.clone(), params, header: own.header.clone(), values };
    let addresses: Vec<String> = route.verify.iter().map(ToString::to_string).collect();
    Verification::new(&addresses, &identity, route.verify_command.clone())
        .map_err(|why| EngineError::InvalidArgument(format!("route.verify of {}: {why}", service.name)))
}

/// A PgBouncer in front of the service.
fn pooler(own: &config::Pgbouncer, means: &Means) -> Pooler {
    let console = Target {
        endpoint: Endpoint::new(&own.host, own.port),
        user: own.user.clone(),
        password: own.password.as_ref().map(|password| password.secret.clone()),
        database: "pgbouncer".to_owned(),
        tls: Tls::new(TlsSettings { mode: ssl_mode(own.sslmode), ..TlsSettings::default() }),
        application_name: means.application_name.clone(),
        keys: KeptKeys::default(),
        settings: SessionSettings::nothing(),
    };
    let servers = own.servers.iter().map(|(server, at)| (server.clone(), (at.host.clone(), at.port))).collect();
    Pooler::new(own.name.clone(), console, own.databases.clone(), own.file.clone(), servers, Arc::clone(&means.addresses))
}

fn ssl_mode(mode: config::SslMode) -> SslMode {
    match mode {
        config::SslMode::Disable => SslMode::Disable,
        config::SslMode::Prefer => SslMode::Prefer,
        config::SslMode::Require => SslMode::Require,
        config::SslMode::VerifyCa => SslMode::VerifyCa,
        config::SslMode::VerifyFull => SslMode::VerifyFull,
    }
}

fn target(server: &config::Server, endpoint: Endpoint, means: &Means) -> Target {
    let connection = &server.connection;
    Target {
        endpoint,
        user: connection.user.clone(),
        password: connection.password.as_ref().map(|password| password.secret.clone()),
        database: connection.database.clone(),
        tls: Tls::new(TlsSettings {
            mode: ssl_mode(connection.sslmode),
            root_certificates: connection.sslrootcert.clone(),
            client_certificate: connection.sslcert.clone(),
            client_key: connection.sslkey.clone(),
        }),
        application_name: means.application_name.clone(),
        keys: KeptKeys::default(),
        settings: SessionSettings::default(),
    }
}

#[cfg(feature = "ssh")]
fn ssh_target(server: &config::Server) -> Option<SshTarget> {
    let ssh = server.ssh.as_ref()?;
    let secret = |secret: &Option<config::SourcedSecret>| secret.as_ref().map(|secret| secret.secret.clone());
    Some(SshTarget {
        host: ssh.host.clone().unwrap_or_else(|| server.host.clone()),
        port: ssh.port,
        user: ssh.user.clone(),
        keys: ssh.keys.iter().map(|key| at_home(key)).collect(),
        passphrase: secret(&ssh.passphrase),
        password: secret(&ssh.password),
        agent: ssh.agent,
        known_hosts: at_home(&ssh.known_hosts),
    })
}

#[cfg(feature = "ssh")]
fn host_params(server: &config::Server) -> HostParams {
    let ssh = server.ssh.as_ref();
    HostParams {
        data_dir: server.data_dir.clone().unwrap_or_default(),
        bin_dir: server.bin_dir.clone(),
        port: server.port,
        socket_dir: server.socket_dir.clone(),
        wrapper: ssh.is_some_and(|ssh| ssh.wrapper),
        sudo: ssh.map(|ssh| ssh.sudo.clone()).unwrap_or_default(),
        source_file: ssh.and_then(|ssh| ssh.source_file.clone()),
        start_command: ssh.map(|ssh| ssh.start_command.clone()).unwrap_or_default(),
    }
}

/// A path as a shell would read it: `~/` is the home of the engine's account.
#[cfg(feature = "ssh")]
fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn haproxy_target(haproxy: &config::Haproxy, service: &config::Service) -> HaproxyTarget {
    let endpoint = match (&haproxy.socket, &haproxy.address) {
        (None, Some(address)) => haproxy::Endpoint::Tcp { host: address.host.clone(), port: address.port },
        (socket, _) => haproxy::Endpoint::Unix(socket.clone().unwrap_or_default()),
    };
    HaproxyTarget {
        name: haproxy.name.clone(),
        endpoint,
        backend: haproxy.backend.clone(),
        servers: haproxy.servers.clone(),
        weight: haproxy.weight,
        ramped: service.route.weight_ramp.is_some(),
        places: service.servers.iter().map(|server| (server.name.clone(), (server.host.clone(), server.port))).collect(),
    }
}

fn check_part(service: &config::Service, check: &config::Check, means: &Means) -> Result<CheckPart, EngineError> {
    let wrong = |why: String| EngineError::InvalidArgument(format!("check \"{}\" of {}: {why}", check.name, service.name));
    let (place, server) = service.server(&check.server).ok_or_else(|| wrong("its server does not exist".to_owned()))?;
    let id = ServerId(u16::try_from(place).map_err(|_| wrong("too many servers".to_owned()))?);
    let mut task = None;
    let lane = match check.probe.kind() {
        CheckKind::Exec => Lane::Child,
        CheckKind::Host => Lane::Host,
        _ => Lane::Pool,
    };
    let part: Arc<dyn Check> = match &check.probe {
        Probe::Postgres(probe) => {
            let target = target(server, Endpoint::new(&server.host, server.port), means);
            Arc::new(PostgresCheck::new(target, probe.query.clone(), probe.write_probe))
        }
        Probe::Tcp(probe) => Arc::new(TcpCheck {
            host: probe.host.clone().unwrap_or_else(|| server.host.clone()),
            port: probe.port.unwrap_or(server.port),
        }),
        Probe::Http(probe) => Arc::new(HttpCheck::new(http_params(probe)).map_err(wrong)?),
        Probe::Exec(probe) => Arc::new(ExecCheck {
            command: Command::new(&probe.command)
                .env("FAILOVER_SERVICE", &service.name)
                .env("FAILOVER_SERVER", &server.name)
                .env("FAILOVER_HOST", &server.host)
                .env("FAILOVER_PORT", server.port.to_string()),
            impaired_exit_code: None,
        }),
        Probe::Host(probe) => {
            let name = probe.function.as_ref().unwrap_or(&check.name).clone();
            let function = means.embedder.function(&name);
            let question = HostCheck {
                task: 0,
                service: service.name.clone(),
                server: server.name.clone(),
                host: server.host.clone(),
                port: server.port,
                check: check.name.clone(),
                function: name,
                remaining: check.timing.timeout,
            };
            task = function.is_none().then(|| question.clone());
            Arc::new(HostFunctionCheck { question, function, is_out: AtomicBool::new(false) })
        }
        Probe::Scripted(probe) => Arc::new(ScriptedCheck::new(&probe.answers).map_err(wrong)?),
    };
    Ok(CheckPart { server: id, lane, check: part, task })
}

fn http_params(probe: &config::HttpProbe) -> HttpParams {
    HttpParams {
        url: probe.url.clone(),
        method: match probe.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
            HttpMethod::Post => "POST",
            HttpMethod::Options => "OPTIONS",
        }
        .to_owned(),
        expected_status: probe.expect_status.clone(),
        expected_body: probe.expect_body.clone(),
        expected_header: None,
        headers: probe.headers.0.iter().map(|(name, value)| (name.clone(), value.secret.clone())).collect(),
        redirects: probe.max_redirects,
        body_limit: usize::try_from(probe.max_body.bytes()).unwrap_or(usize::MAX),
        server_name: probe.server_name.clone(),
        ca_file: probe.ca_file.clone(),
    }
}
