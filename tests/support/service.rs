//! The engine's configuration for a service of PostgreSQL servers behind HAProxy, and the command its key may run on their hosts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::haproxy::{BACKEND, Haproxy};
use super::lab::Lab;
use super::postgres::{ENGINE_ROLE, PgServer, bin_dir};
use super::sshd::Sshd;

/// The name of the service.
pub const SERVICE: &str = "orders";

/// A server of the service.
pub struct Member<'a> {
    /// The server.
    pub server: &'a PgServer,
    /// Where the engine reaches it.
    pub port: u16,
    /// Its host.
    pub ssh: &'a Sshd,
}

/// What the configuration is made of; the first member is the primary.
pub struct Service<'a> {
    /// The folder of it all.
    pub lab: &'a Lab,
    /// The control socket.
    pub control: &'a Path,
    /// The file with the engine's password.
    pub password: &'a Path,
    /// The servers.
    pub members: &'a [Member<'a>],
    /// In front of them.
    pub haproxy: &'a Haproxy,
    /// `max_lag_bytes`.
    pub max_lag: &'a str,
    /// `route.exclusive`.
    pub exclusive: bool,
}

impl Service<'_> {
    /// The text of the configuration file. Tables of the service may follow it.
    pub fn text(&self) -> io::Result<String> {
        let ssh = self.members.first().ok_or_else(|| io::Error::other("a service without servers"))?.ssh;
        let standbys = match self.members.len() {
            2 => "one streaming standby".to_owned(),
            count => format!("{} streaming standbys", count - 1),
        };
        let servers: Vec<String> = self.members.iter().enumerate().map(|(place, member)| server(member, place)).collect();
        Ok(format!(
            r#"# failover run failover.toml
#
# An ordinary configuration: one PostgreSQL primary with {standbys} behind HAProxy. What is not written here has its
# default; `failover validate --print-effective failover.toml` shows them all.
version = 1
state_dir = {state}            # the journal: what was decided and done
control_socket = {control}     # for `failover status` and its like

[[services]]
name = "{SERVICE}"
kind = "postgres"

  # How the engine asks the servers. The role has the rights of contrib/rights.sql and no more.
  [services.connection]
  user = "{ENGINE_ROLE}"
  database = "postgres"
  password = {{ file = {password} }}
  sslmode = "disable"          # loopback; across a network: "verify-full"

  # How it reaches the hosts: to prove that the old primary is gone before the standby is promoted.
  [services.ssh]
  user = {user}
  keys = [{key}]
  known_hosts = {known}
  wrapper = {wrapper}

{servers}  [services.data]
  max_lag_bytes = {max_lag}       # a standby further behind is not promoted
  on_no_sync_standby = "async" # with synchronous replication: let commits through when nobody is left to acknowledge them

  # After a failover an ordinary commit is tried through these addresses before it counts as complete.
  [services.route]
  verify = ["{front}"]{exclusive}

    [[services.route.haproxy]]
    name = "{haproxy}"
    socket = {socket}
    backend = "{BACKEND}"
"#,
            state = quoted(&self.lab.path("state")),
            control = quoted(self.control),
            password = quoted(self.password),
            user = quote(ssh.user()),
            key = quoted(ssh.key()),
            known = quoted(ssh.known_hosts()),
            wrapper = shipped_wrapper().exists(),
            servers = servers.concat(),
            front = self.haproxy.host().port(self.haproxy.front()),
            max_lag = quote(self.max_lag),
            exclusive =
                if self.exclusive { "\n  exclusive = true            # no client has another way to the servers" } else { "" },
            haproxy = self.haproxy.name(),
            socket = quoted(self.haproxy.socket()),
        ))
    }
}

fn server(member: &Member, place: usize) -> String {
    let server = member.server;
    format!(
        "  [[services.servers]]\n  name = {}\n  role = {}\n  host = {}\n  port = {}\n  data_dir = {}\n  ssh = {{ port = {} }}\n\n",
        quote(server.name()),
        quote(if place == 0 { "primary" } else { "standby" }),
        quote(&server.host().address().to_string()),
        member.port,
        quoted(server.data_dir()),
        member.ssh.port()
    )
}

fn shipped_wrapper() -> PathBuf {
    super::root().join("contrib/failover-host")
}

/// The shipped wrapper for the key of the engine, told which server it is for.
pub fn forced_command(lab: &Lab, server: &PgServer) -> io::Result<Option<String>> {
    let shipped = shipped_wrapper();
    if !shipped.exists() {
        return Ok(None);
    }
    let wrapper = lab.path("bin/failover-host");
    lab.folder("bin")?;
    if !wrapper.exists() {
        lab.write(&wrapper, fs::read(&shipped)?, 0o700)?;
    }
    Ok(Some(format!("{} --data-dir {} --bin-dir {}", wrapper.display(), server.data_dir().display(), bin_dir()?.display())))
}

fn quoted(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// The power of a host, as `fence.command`: whoever runs on it ends at once.
pub fn power_switch(lab: &Lab) -> io::Result<String> {
    lab.folder("bin")?;
    let script = include_str!("power-off.sh").replace("@LAB@", &lab.dir().to_string_lossy());
    let switch = lab.write("bin/power-off", script, 0o700)?;
    Ok(format!(
        "\n  # Cuts the power of the host in FAILOVER_SERVER; exit code 0 says that it is certainly off.\n  [services.fence]\n  command = [{}]\n",
        quoted(&switch)
    ))
}

/// A text as TOML's basic string; JSON's escapes are a part of TOML's.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
