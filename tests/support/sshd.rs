//! An OpenSSH server that only the lab's user can log in to, with a key made for it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lab::{Lab, free_port, wait_until};
use super::network::Host;
use super::process::{Process, sweep};

/// How a server is to be.
#[derive(Clone, Debug)]
pub struct SshdOptions {
    /// Its name: the database host it stands for.
    pub name: String,
    /// The key may only run this command.
    pub forced_command: Option<String>,
    /// More lines of sshd_config.
    pub settings: Vec<String>,
    /// Where it runs.
    pub host: Host,
}

impl SshdOptions {
    /// A key that may run anything.
    pub fn new(name: &str) -> SshdOptions {
        SshdOptions { name: name.to_owned(), forced_command: None, settings: Vec::new(), host: Host::local() }
    }
}

/// One running server.
pub struct Sshd {
    name: String,
    port: u16,
    user: String,
    key: PathBuf,
    host_key: String,
    known_hosts: PathBuf,
    config: PathBuf,
    host: Host,
    process: Process,
}

impl Drop for Sshd {
    /// With the server alone, its sessions would be orphans that nobody finds.
    fn drop(&mut self) {
        self.kill_all();
    }
}

const SHORT: Duration = Duration::from_secs(20);

impl Sshd {
    /// Starts a server. All servers of a lab share the client's key and the `known_hosts` file.
    pub fn start(lab: &Lab, options: &SshdOptions) -> io::Result<Sshd> {
        lab.folder("ssh")?;
        let port = free_port()?;
        let key = lab.path("ssh/client_key");
        if !key.exists() {
            keygen(lab, &key)?;
        }
        let own = |what: &str| lab.path(format!("ssh/{}_{what}", options.name));
        keygen(lab, &own("host_key"))?;
        let host_key = public_key(&own("host_key"))?;
        let restriction = options
            .forced_command
            .as_ref()
            .map(|command| format!("restrict,command=\"{}\" ", command.replace('"', "\\\"")))
            .unwrap_or_default();
        lab.write(own("authorized_keys"), format!("{restriction}{}\n", public_key(&key)?), 0o600)?;
        let address = options.host.address();
        let mut config = format!(
            "Port {port}\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\n",
            own("host_key").display(),
            own("authorized_keys").display()
        );
        config.push_str(CONFIG);
        for setting in &options.settings {
            config.push_str(setting);
            config.push('\n');
        }
        let config = lab.write(own("config"), config, 0o600)?;
        let process = run(lab, &options.host, &options.name, &config)?;
        let known_hosts = lab.path("ssh/known_hosts");
        let mut known = fs::read_to_string(&known_hosts).unwrap_or_default();
        let _ = writeln!(known, "[{address}]:{port} {host_key}");
        lab.write(&known_hosts, known, 0o600)?;
        let sshd = Sshd {
            name: options.name.clone(),
            port,
            user: lab.user().name.clone(),
            key,
            host_key,
            known_hosts,
            config,
            host: options.host.clone(),
            process,
        };
        sshd.wait_listening(lab, 0)?;
        Ok(sshd)
    }

    /// A namespace is not ours to connect into, so its own word has to do: what its log says from a place on.
    fn wait_listening(&self, lab: &Lab, from: usize) -> io::Result<()> {
        wait_until("sshd listens", SHORT, || {
            let log = fs::read_to_string(lab.log_path(&format!("sshd-{}", self.name))).unwrap_or_default();
            if let Some(status) = self.process.status() {
                return Err(io::Error::other(format!("sshd ended ({status}): {}", log.trim())));
            }
            Ok(log.get(from..).is_some_and(|news| news.contains("Server listening on")).then_some(()))
        })
    }

    /// Ends it with every session of it, and starts it again.
    pub fn restart(&mut self, lab: &Lab) -> io::Result<()> {
        self.kill_all();
        let from = fs::read_to_string(lab.log_path(&format!("sshd-{}", self.name))).unwrap_or_default().len();
        self.process = run(lab, &self.host, &self.name, &self.config)?;
        self.wait_listening(lab, from)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who may log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The client's private key.
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Its public host key, type and base64.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// The file with the host keys of all servers of this lab.
    pub fn known_hosts(&self) -> &Path {
        &self.known_hosts
    }

    /// The listening process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// SIGKILL of the server and of every session of it.
    pub fn kill_all(&self) {
        sweep(None, &BTreeSet::from([self.process.pid()]));
    }

    /// Runs a command by the OpenSSH client, to see what a user would see.
    pub fn client(&self, lab: &Lab, remote: &str) -> io::Result<String> {
        let mut command = lab.command("ssh");
        command.arg("-i").arg(&self.key).arg("-p").arg(self.port.to_string());
        command.args([
            "-F",
            "/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
        ]);
        command.arg(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        command.arg(format!("{}@127.0.0.1", self.user)).arg(remote);
        lab.run("ssh", command, SHORT)
    }
}

/// sshd insists on an absolute path, because it starts itself again for every connection.
fn run(lab: &Lab, host: &Host, name: &str, config: &Path) -> io::Result<Process> {
    let mut command = lab.command_on(host, sshd_program()?);
    command.args(["-D", "-e", "-f"]).arg(config);
    lab.spawn(&format!("sshd-{name}"), command)
}

fn sshd_program() -> io::Result<PathBuf> {
    let in_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]
        .into_iter()
        .chain(in_path)
        .map(|dir| dir.join("sshd"))
        .find(|path| path.is_absolute() && path.exists())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "sshd is not installed (apt-get install openssh-server)"))
}

/// Makes an ed25519 key pair without passphrase.
pub fn keygen(lab: &Lab, path: &Path) -> io::Result<()> {
    let mut command = lab.command("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "failover-lab", "-f"]).arg(path);
    lab.run("ssh-keygen", command, SHORT)?;
    Ok(())
}

fn public_key(private: &Path) -> io::Result<String> {
    let text = fs::read_to_string(private.with_extension("pub"))?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(kind), Some(key)) => Ok(format!("{kind} {key}")),
        _ => Err(io::Error::other(format!("{} holds no public key", private.display()))),
    }
}

const CONFIG: &str = "PidFile none
UsePAM no
StrictModes no
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserEnvironment no
AllowTcpForwarding no
X11Forwarding no
PrintMotd no
MaxStartups 200
LogLevel VERBOSE
";
