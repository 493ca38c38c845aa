//! BIND with one zone: as primary that takes signed updates, as a secondary of such a one, or as a resolver before it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::lab::{Lab, free_port, wait_until};
use super::network::Host;
use super::process::Process;

/// The zone.
pub const ZONE: &str = "example.test";

const LONG: Duration = Duration::from_secs(30);

/// How a server is to be.
#[derive(Clone, Debug)]
pub struct NamedOptions {
    /// Its name: configuration, folder and log.
    pub name: String,
    /// Keys it knows: name, algorithm, secret in base64.
    pub keys: Vec<(String, String, String)>,
    /// Lines of the zone's `update-policy`.
    pub policy: Vec<String>,
    /// Records of the zone, beside SOA and NS.
    pub records: Vec<String>,
    /// A secondary of the server on this port.
    pub primary: Option<u16>,
    /// A resolver that asks the server on this port and remembers.
    pub forward: Option<u16>,
    /// Ports of secondaries on 127.0.0.1 that are told of every change.
    pub notify: Vec<u16>,
    /// A zone of its own below, with these records: its first label.
    pub below: Option<(String, Vec<String>)>,
    /// A port to be on, where it has to be known before.
    pub port: Option<u16>,
}

impl NamedOptions {
    /// A primary without keys and records.
    pub fn new(name: &str) -> NamedOptions {
        NamedOptions {
            name: name.to_owned(),
            keys: Vec::new(),
            policy: Vec::new(),
            records: Vec::new(),
            primary: None,
            forward: None,
            notify: Vec::new(),
            below: None,
            port: None,
        }
    }

    /// With a key that may change everything in the zone.
    #[must_use]
    pub fn key(mut self, name: &str, algorithm: &str, secret: &str) -> NamedOptions {
        self.policy.push(format!("grant {name} zonesub ANY;"));
        self.keys.push((name.to_owned(), algorithm.to_owned(), secret.to_owned()));
        self
    }

    /// With a record, as a zone file has it.
    #[must_use]
    pub fn record(mut self, line: &str) -> NamedOptions {
        self.records.push(line.to_owned());
        self
    }
}

/// One running server.
pub struct Named {
    name: String,
    port: u16,
    config: PathBuf,
    zone_folder: PathBuf,
    process: Process,
}

impl Named {
    /// Starts a server on 127.0.0.1 and waits until it answers.
    pub fn start(lab: &Lab, options: &NamedOptions) -> io::Result<Named> {
        let port = match options.port {
            Some(port) => port,
            None => free_port()?,
        };
        let folder = lab.folder(format!("named-{}", options.name))?;
        let zone_folder = lab.folder(format!("named-{}/zones", options.name))?;
        let zone_file = zone_folder.join("zone.db");
        let mut config = format!(
            "options {{\n    directory \"{}\";\n    listen-on port {port} {{ 127.0.0.1; }};\n    listen-on-v6 {{ none; }};\n",
            folder.display()
        );
        config.push_str(OPTIONS);
        let _ = writeln!(config, "    recursion {};", if options.forward.is_some() { "yes" } else { "no" });
        config.push_str("};\ncontrols { };\n");
        for (name, algorithm, secret) in &options.keys {
            let _ = writeln!(config, "key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};");
        }
        if let Some(port) = options.forward {
            let _ =
                writeln!(config, "zone \"{ZONE}\" {{ type forward; forward only; forwarders {{ 127.0.0.1 port {port}; }}; }};");
        } else if let Some(primary) = options.primary {
            let _ = writeln!(
                config,
                "zone \"{ZONE}\" {{ type secondary; file \"{}\"; primaries {{ 127.0.0.1 port {primary}; }}; }};",
                zone_file.display()
            );
        } else {
            let mut zone =
                format!("$ORIGIN {ZONE}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n");
            for record in &options.records {
                let _ = writeln!(zone, "{record}");
            }
            lab.write(&zone_file, zone, 0o600)?;
            let _ = writeln!(config, "zone \"{ZONE}\" {{\n    type primary;\n    file \"{}\";", zone_file.display());
            if !options.policy.is_empty() {
                let _ = writeln!(config, "    update-policy {{ {} }};", options.policy.join(" "));
            }
            if !options.notify.is_empty() {
                let ports: String = options.notify.iter().fold(String::new(), |mut text, port| {
                    let _ = write!(text, "127.0.0.1 port {port}; ");
                    text
                });
                let _ = writeln!(config, "    also-notify {{ {ports}}};");
            }
            config.push_str("};\n");
        }
        if let Some((label, records)) = &options.below {
            let file = zone_folder.join("below.db");
            let lines = records.join("\n");
            let zone = format!(
                "$ORIGIN {label}.{ZONE}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n{lines}\n"
            );
            lab.write(&file, zone, 0o600)?;
            let _ = writeln!(config, "zone \"{label}.{ZONE}\" {{ type primary; file \"{}\"; }};", file.display());
        }
        let config = lab.write(format!("named-{}.conf", options.name), config, 0o600)?;
        let process = run(lab, &options.name, &config)?;
        let named = Named { name: options.name.clone(), port, config, zone_folder, process };
        named.wait_running(lab, 1)?;
        Ok(named)
    }

    /// Waits until it says for the `times`th time that it runs.
    fn wait_running(&self, lab: &Lab, times: usize) -> io::Result<()> {
        wait_until("named runs", LONG, || {
            let log = self.log(lab);
            if let Some(status) = self.process.status() {
                return Err(io::Error::other(format!("named ended ({status}): {}", log.trim())));
            }
            if log.contains("not loaded due to errors") {
                return Err(io::Error::other(format!("the zone is none: {}", log.trim())));
            }
            Ok((log.lines().filter(|line| line.trim_end().ends_with(" running")).count() >= times).then_some(()))
        })
    }

    /// Ends it hard and starts it again on the same port with the same files.
    pub fn restart(&mut self, lab: &Lab) -> io::Result<()> {
        self.kill();
        self.start_again(lab)
    }

    /// Starts it again on the same port with the same files.
    pub fn start_again(&mut self, lab: &Lab) -> io::Result<()> {
        let before = self.log(lab).lines().filter(|line| line.trim_end().ends_with(" running")).count();
        self.process = run(lab, &self.name, &self.config)?;
        self.wait_running(lab, before + 1)
    }

    /// Ends it hard.
    pub fn kill(&self) {
        self.process.signal(Signal::KILL);
        self.process.wait(LONG);
    }

    /// Stops every thread of it.
    pub fn freeze(&self) -> io::Result<()> {
        self.process.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.process.pid());
        wait_until("named stands still", LONG, || {
            for task in fs::read_dir(&tasks)?.flatten() {
                let stat = fs::read_to_string(task.path().join("stat"))?;
                // The name may hold blanks and brackets; the last closing bracket ends it.
                if !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        Host::local().port(self.port)
    }

    /// Where its zone and the journal of its changes are.
    pub fn zone_folder(&self) -> &PathBuf {
        &self.zone_folder
    }

    /// What it has said so far.
    pub fn log(&self, lab: &Lab) -> String {
        fs::read_to_string(lab.log_path(&format!("named-{}", self.name))).unwrap_or_default()
    }
}

/// Nothing of it may reach out into the world.
const OPTIONS: &str = "    pid-file none;
    lock-file none;
    empty-zones-enable no;
    dnssec-validation no;
    allow-query { any; };
    allow-transfer { any; };
    notify explicit;
    notify-delay 0;
    notify-rate 1000;
    serial-query-rate 1000;
    min-refresh-time 1;
    request-ixfr no;
    send-cookie no;
    answer-cookie no;
    tcp-listen-queue 10;
";

/// In the foreground, with its log on its standard error. From a copy: where AppArmor is, the program in its own place may read and
/// write nothing but the system's name server's files.
fn run(lab: &Lab, name: &str, config: &PathBuf) -> io::Result<Process> {
    let copy = lab.path("named");
    if !copy.exists() {
        lab.copy_in(&program()?, "named", 0o700)?;
    }
    let mut command = lab.command(copy);
    command.args(["-g", "-4", "-n", "1", "-c"]).arg(config);
    lab.spawn(&format!("named-{name}"), command)
}

fn program() -> io::Result<PathBuf> {
    let in_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]
        .into_iter()
        .chain(in_path)
        .map(|dir| dir.join("named"))
        .find(|path| path.exists())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "named is not installed (apt-get install bind9)"))
}
