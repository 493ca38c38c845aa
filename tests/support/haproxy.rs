//! HAProxy in front of a pair, driven through its admin socket.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::lab::{Lab, free_port, wait_until};
use super::network::Host;
use super::process::Process;
use super::session::{Address, socket_path};

/// The backend that takes the writes.
pub const BACKEND: &str = "pg_write";

/// How an instance is to be.
#[derive(Clone, Debug)]
pub struct HaproxyOptions {
    /// Its name: configuration, socket and log.
    pub name: String,
    /// Also an admin socket on a loopback port.
    pub tcp_admin: bool,
    /// The level of the admin sockets: `admin`, `operator` or `user`.
    pub level: String,
    /// More words on each server line, such as `check inter 1s`.
    pub server_words: String,
    /// Where it runs.
    pub host: Host,
    /// The name of its backend.
    pub backend: String,
    /// `tcp` or `http`.
    pub mode: String,
    /// Servers but the first are backups instead of disabled.
    pub backup: bool,
}

impl HaproxyOptions {
    /// A UNIX socket of level admin; servers without checks of HAProxy's own, because the engine drives them.
    pub fn new(name: &str) -> HaproxyOptions {
        HaproxyOptions {
            name: name.to_owned(),
            tcp_admin: false,
            level: "admin".to_owned(),
            server_words: String::new(),
            host: Host::local(),
            backend: BACKEND.to_owned(),
            mode: "tcp".to_owned(),
            backup: false,
        }
    }

    /// In front of web servers.
    pub fn web(name: &str) -> HaproxyOptions {
        HaproxyOptions { backend: "web".to_owned(), mode: "http".to_owned(), ..HaproxyOptions::new(name) }
    }
}

/// One running instance.
pub struct Haproxy {
    name: String,
    front: u16,
    host: Host,
    sockets: PathBuf,
    socket: PathBuf,
    config: PathBuf,
    tcp_admin: Option<u16>,
    backend: String,
    process: Process,
}

impl Haproxy {
    /// Starts an instance. The first of `servers` (name and port) takes the traffic, the others are in maintenance.
    pub fn start(lab: &Lab, options: &HaproxyOptions, servers: &[(&str, u16)]) -> io::Result<Haproxy> {
        let servers: Vec<_> = servers.iter().map(|(name, port)| (*name, Host::local().port(*port))).collect();
        Haproxy::start_to(lab, options, &servers)
    }

    /// The same with servers on any host.
    pub fn start_to(lab: &Lab, options: &HaproxyOptions, servers: &[(&str, SocketAddr)]) -> io::Result<Haproxy> {
        let front = free_port()?;
        let tcp_admin = if options.tcp_admin { Some(free_port()?) } else { None };
        let sockets = lab.folder("sock")?;
        let socket = sockets.join(format!("{}.admin", options.name));
        let mut text = format!(
            "global\n    maxconn 500\n    stats socket {} mode 600 level {}\n    stats timeout 1m\n",
            socket.display(),
            options.level
        );
        if let Some(port) = tcp_admin {
            let _ = writeln!(text, "    stats socket ipv4@127.0.0.1:{port} level {}", options.level);
        }
        let _ = write!(text, "\ndefaults\n    mode {}\n", options.mode);
        text.push_str(DEFAULTS);
        let backend = &options.backend;
        let _ = writeln!(text, "\nfrontend writes\n    bind {}", options.host.port(front));
        if !options.host.is_local() {
            let _ = writeln!(text, "    bind unix@{} mode 600", socket_path(&sockets, front).display());
        }
        let _ = writeln!(text, "    default_backend {backend}\n\nbackend {backend}");
        if options.mode == "http" && options.server_words.contains("check") {
            text.push_str("    option httpchk GET /\n    timeout check 500ms\n");
        }
        for (place, (name, address)) in servers.iter().enumerate() {
            let disabled = match (place, options.backup) {
                (0, _) => "",
                (_, true) => " backup",
                (_, false) => " disabled",
            };
            let words = if options.server_words.is_empty() { String::new() } else { format!(" {}", options.server_words) };
            let _ = writeln!(text, "    server {name} {address}{words}{disabled}");
        }
        let config = lab.write(format!("{}.cfg", options.name), text, 0o600)?;
        let process = run(lab, &options.host, &options.name, &config)?;
        let haproxy = Haproxy {
            name: options.name.clone(),
            front,
            host: options.host.clone(),
            sockets,
            socket,
            config,
            tcp_admin,
            backend: options.backend.clone(),
            process,
        };
        haproxy.wait_answering(lab)?;
        Ok(haproxy)
    }

    /// Ends it hard and starts it again with the same configuration: whatever was said to it is forgotten.
    pub fn restart(&mut self, lab: &Lab) -> io::Result<()> {
        self.process.signal(Signal::KILL);
        self.process.wait(Duration::from_secs(20));
        self.process = run(lab, &self.host, &self.name, &self.config)?;
        self.wait_answering(lab)
    }

    fn wait_answering(&self, lab: &Lab) -> io::Result<()> {
        wait_until("HAProxy answers on its admin socket", Duration::from_secs(20), || {
            if let Some(status) = self.process.status() {
                let log = std::fs::read_to_string(lab.log_path(&self.name)).unwrap_or_default();
                return Err(io::Error::other(format!("HAProxy ended ({status}): {}", log.trim())));
            }
            Ok(self.command("show info").ok())
        })
        .map(drop)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where our own clients find the port for writes: in a namespace that is not ours, its UNIX socket.
    pub fn way_in(&self) -> Address {
        if self.host.is_local() { Address::loopback(self.front) } else { Address::Unix(self.sockets.clone(), self.front) }
    }

    /// The port for writes.
    pub fn front(&self) -> u16 {
        self.front
    }

    /// The admin socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The port of the admin socket over TCP, where there is one.
    pub fn tcp_admin(&self) -> Option<u16> {
        self.tcp_admin
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// One line to the admin socket; the whole answer.
    pub fn command(&self, line: &str) -> io::Result<String> {
        ask(&self.socket, line, Duration::from_secs(5))
    }

    /// One column of `show stat` for a server of the backend.
    pub fn stat(&self, server: &str, column: &str) -> io::Result<String> {
        let answer = self.command("show stat")?;
        let found = column_of(&answer, &self.backend, column)?.into_iter().find(|(name, _)| *name == server);
        found.map(|(_, value)| value.to_owned()).ok_or_else(|| io::Error::other(format!("no server {server} in `show stat`")))
    }
}

fn ask(socket: &Path, line: &str, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(line.as_bytes())?;
    stream.write_all(b"\n")?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The name of each server of a backend in `show stat`, and a column of it.
fn column_of<'a>(answer: &'a str, backend: &str, column: &str) -> io::Result<Vec<(&'a str, &'a str)>> {
    let mut lines = answer.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().trim_start_matches("# ").split(',').collect();
    let place = header.iter().position(|name| *name == column).ok_or_else(|| io::Error::other(format!("no column {column}")))?;
    let rows = lines.map(|line| line.split(',').collect::<Vec<&str>>()).filter(|row| row.first() == Some(&backend));
    let pairs = rows.filter_map(|row| Some((*row.get(1)?, *row.get(place)?)));
    Ok(pairs.filter(|(name, _)| *name != "BACKEND").collect())
}

/// The servers of a backend that are not in maintenance, by the admin socket of an instance.
pub fn open_servers(socket: &Path, backend: &str, patience: Duration) -> io::Result<Vec<String>> {
    let answer = ask(socket, "show stat", patience)?;
    let servers = column_of(&answer, backend, "status")?.into_iter();
    Ok(servers.filter(|(_, status)| !status.starts_with("MAINT")).map(|(name, _)| name.to_owned()).collect())
}

const DEFAULTS: &str =
    "    # A refused connection fails at once: the client tries again sooner than HAProxy's own turn-around of a second.
    retries 0
    timeout connect 2s
    timeout client 30m
    timeout server 30m
    # As in contrib/haproxy.cfg.
    timeout client-fin 1s
    timeout server-fin 1s
";

/// In the foreground and as one process (`-db`).
fn run(lab: &Lab, host: &Host, name: &str, config: &Path) -> io::Result<Process> {
    let mut command = lab.command_on(host, "haproxy");
    command.arg("-db").arg("-f").arg(config);
    lab.spawn(name, command)
}
