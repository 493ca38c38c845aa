//! One SSH connection: TCP, handshake, the host's key, and who we are.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};
use ssh2::{BlockDirections, ErrorCode, HashType, MethodType, Session};

use super::known_hosts::{Judgement, Known, base64};
use super::{SshErrorKind, SshTarget, Trouble};
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::secret::is_locked_key;
use crate::wire::resolve::Addresses;

/// libssh2's "ask again when the socket is ready".
const AGAIN: ErrorCode = ErrorCode::Session(-37);
/// Both sides know other algorithms, or their keys do not fit.
const KEY_EXCHANGE: ErrorCode = ErrorCode::Session(-5);
/// The account does not know the key, or nobody is let in by one.
const NOT_ACCEPTED: ErrorCode = ErrorCode::Session(-18);
/// The account knows the key, and the login by it was answered with a no.
const NOT_ENOUGH: ErrorCode = ErrorCode::Session(-19);
/// What tells whether a key is encrypted stands in the first lines of its file.
const KEY_HEAD: u64 = 4096;
const NOT_HERE: &str = "not accepted for this account";
const UNUSABLE: &str = "make every key file readable by the engine's user, put its public key into the account's authorized_keys, correct \
     the passphrase, and let the account in (not locked, a shell, AllowUsers); sshd's log has the reason";
/// A host that stopped answering at the TCP level is given up by the kernel after this.
const UNANSWERED: Duration = Duration::from_secs(10);

/// Why one way to log in did not work, and what mends that where it is no matter of keys and passwords.
struct Refusal {
    why: String,
    remedy: Option<&'static str>,
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal { why, remedy: None }
    }
}

impl Refusal {
    /// libssh2's words name neither an account that is locked nor a key that is not enough by itself.
    fn of(error: &ssh2::Error) -> Refusal {
        let (why, remedy) = match error.code() {
            // The server's answer did not come through; libssh2 gives it the code of a refusal.
            _ if error.message().starts_with("Waiting for ") => (
                "the server's answer is longer than can be read, or broken".to_owned(),
                Some("shorten the text that sshd shows before a login (Banner), or switch it off for this account (Match User)"),
            ),
            NOT_ACCEPTED => (NOT_HERE.to_owned(), None),
            NOT_ENOUGH => (
                "known there, and not enough to be let in".to_owned(),
                Some(
                    "let this key alone be enough for the account (AuthenticationMethods in sshd_config), or configure the further \
                     keys or the password that are asked for; where they are, see sshd's log for what it has against the signature",
                ),
            ),
            code => (format!("{} ({code})", error.message()), None),
        };
        Refusal { why, remedy }
    }
}

/// An authenticated connection in non-blocking mode.
pub(super) struct Connection {
    pub(super) session: Session,
    socket: TcpStream,
}

impl Drop for Connection {
    /// libssh2 says goodbye when a session is freed; on a dead socket it fails at once instead of waiting.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Connection {
    /// Connects, checks the host's key, logs in.
    pub(super) fn open(
        target: &SshTarget,
        addresses: &dyn Addresses,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Connection, Trouble> {
        has_a_way_in(target)?;
        let found = addresses
            .addresses(&target.host, target.port)
            .map_err(|message| Trouble::new(SshErrorKind::Resolve, message, "check the name, or configure an address"))?;
        let socket = connect(&found, deadline, cancel)?;
        let session = Session::new().map_err(|error| Trouble::new(SshErrorKind::OwnResources, error.message(), ""))?;
        session.set_blocking(false);
        let copy = socket.try_clone().map_err(|error| Trouble::new(SshErrorKind::OwnResources, error.to_string(), ""))?;
        let mut connection = Connection { session, socket };
        connection.session.set_tcp_stream(copy);
        let known = Known::read(&target.known_hosts, &target.host, target.port, &connection.session).map_err(|reason| {
            Trouble::new(
                SshErrorKind::KnownHosts,
                format!("cannot read {}: {reason}", target.known_hosts.display()),
                keyscan(target),
            )
        })?;
        connection.handshake(&known, deadline, cancel)?;
        connection.verify_host(target, &known)?;
        connection.log_in(target, deadline, cancel)?;
        Ok(connection)
    }

    /// True when the other side has closed the connection, or the kernel has given it up. Asks nobody and waits for nothing.
    pub(super) fn is_dead(&self) -> bool {
        let mut byte = [0];
        match self.socket.peek(&mut byte) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// Repeats a non-blocking call of libssh2 until it is through.
    pub(super) fn drive<T>(
        &self,
        doing: &str,
        deadline: Deadline,
        cancel: &Cancel,
        mut call: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, Trouble> {
        loop {
            match call() {
                Ok(value) => return Ok(value),
                Err(error) if error.code() == AGAIN => {
                    self.wait(deadline, cancel).map_err(|why| Trouble::interrupted(why, doing))?;
                }
                Err(error) => return Err(Trouble::new(SshErrorKind::Protocol, format!("{doing}: {}", error.message()), "")),
            }
        }
    }

    /// Waits until the socket is ready for what libssh2 wants next.
    pub(super) fn wait(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), Interrupted> {
        let wanted = match self.session.block_directions() {
            BlockDirections::Outbound => PollFlags::OUT,
            BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
            BlockDirections::Inbound | BlockDirections::None => PollFlags::IN,
        };
        cancel.wait_for(self.socket.as_fd(), wanted, deadline)
    }

    fn handshake(&mut self, known: &Known, deadline: Deadline, cancel: &Cancel) -> Result<(), Trouble> {
        let failed = |message: &str| {
            Trouble::new(
                SshErrorKind::Handshake,
                format!("the SSH handshake failed: {message}"),
                "correct the SSH host and port, and make sure that sshd listens there and still takes connections",
            )
        };
        let supported = self.session.supported_algs(MethodType::HostKey).map_err(|error| failed(error.message()))?;
        self.session.method_pref(MethodType::HostKey, &known.methods(&supported)).map_err(|error| failed(error.message()))?;
        loop {
            match self.session.handshake() {
                Ok(()) => return Ok(()),
                Err(error) if error.code() == AGAIN => {
                    self.wait(deadline, cancel).map_err(|why| Trouble::interrupted(why, "the SSH handshake"))?;
                }
                Err(error) if error.code() == KEY_EXCHANGE => return Err(self.nothing_in_common()),
                Err(error) => return Err(failed(error.message())),
            }
        }
    }

    fn nothing_in_common(&self) -> Trouble {
        let kinds = [
            ("KexAlgorithms", MethodType::Kex),
            ("HostKeyAlgorithms", MethodType::HostKey),
            ("Ciphers", MethodType::CryptCs),
            ("MACs", MethodType::MacCs),
        ];
        let ours: Vec<String> = kinds
            .into_iter()
            .map(|(word, kind)| format!("{word} {}", self.session.supported_algs(kind).unwrap_or_default().join(",")))
            .collect();
        let message = "the SSH handshake failed: the server has no algorithm in common with us";
        let remedy = format!("let sshd_config of that host allow one of each: {}", ours.join("; "));
        Trouble::new(SshErrorKind::Handshake, message, remedy)
    }

    fn verify_host(&self, target: &SshTarget, known: &Known) -> Result<(), Trouble> {
        let Some((key, _)) = self.session.host_key() else {
            return Err(Trouble::new(SshErrorKind::Handshake, "the server showed no host key", ""));
        };
        let kind = kind_of(key);
        let fingerprint = match self.session.host_key_hash(HashType::Sha256) {
            Some(hash) => format!("{kind} SHA256:{}", base64(hash)),
            None => kind,
        };
        let file = target.known_hosts.display();
        let name = listed_name(target);
        match known.judge(key) {
            Judgement::Trusted => Ok(()),
            Judgement::Unknown => Err(Trouble::new(
                SshErrorKind::HostKeyUnknown,
                format!("the host key is not known: {file} has no entry for {name}; the server shows {fingerprint}"),
                keyscan(target),
            )),
            Judgement::Mismatch(kinds) => Err(Trouble::new(
                SshErrorKind::HostKeyMismatch,
                format!(
                    "THE HOST KEY HAS CHANGED: {file} has another key ({}) for {name}; the server shows {fingerprint}",
                    kinds.join(", ")
                ),
                format!(
                    "somebody may be in between, or the host was reinstalled: find out on the host itself, then \
                     ssh-keygen -f {file} -R '{name}' and {}",
                    keyscan(target)
                ),
            )),
            Judgement::Revoked => Err(Trouble::new(
                SshErrorKind::HostKeyRevoked,
                format!("the host key is marked @revoked in {file}: {fingerprint}"),
                "give the host a new key",
            )),
        }
    }

    /// The agent, the keys, the password: in that order, as far as configured.
    fn log_in(&self, target: &SshTarget, deadline: Deadline, cancel: &Cancel) -> Result<(), Trouble> {
        let mut tried: Vec<String> = Vec::new();
        let mut special = None;
        let mut refused = |way: String, refusal: Refusal| {
            special = special.or(refusal.remedy);
            tried.push(format!("{way}: {}", refusal.why));
        };
        if target.agent {
            match self.by_agent(target, deadline, cancel)? {
                Ok(()) => return Ok(()),
                Err(reason) => refused("agent".to_owned(), reason),
            }
        }
        let passphrase = target.passphrase.as_ref().map(crate::secret::Secret::expose);
        for key in &target.keys {
            let name = key.display();
            let lock = match lock_of(key, passphrase) {
                Ok(lock) => lock,
                Err(reason) => {
                    refused(format!("key {name}"), reason);
                    continue;
                }
            };
            let call = || self.session.userauth_pubkey_file(&target.user, None, key, passphrase);
            match self.attempt(deadline, cancel, call)? {
                Ok(()) => return Ok(()),
                Err(Refusal { why, remedy: None }) if lock == Lock::Closed && why != NOT_HERE => {
                    // libssh2 takes what it reads with a wrong passphrase for a format that it does not know.
                    let why = format!("it is encrypted, and the passphrase does not open it: {why}");
                    refused(format!("key {name}"), why.into());
                }
                Err(reason) => refused(format!("key {name}"), reason),
            }
        }
        if let Some(password) = &target.password {
            match self.attempt(deadline, cancel, || self.session.userauth_password(&target.user, password.expose()))? {
                Ok(()) => return Ok(()),
                Err(reason) => refused("password".to_owned(), reason),
            }
        }
        let (message, remedy) = if tried.is_empty() {
            ("no way to log in is configured".to_owned(), "configure keys, agent or password")
        } else {
            (format!("login as {} was refused ({})", target.user, tried.join("; ")), special.unwrap_or(UNUSABLE))
        };
        Err(Trouble::new(SshErrorKind::Authentication, message, remedy))
    }

    /// One way to log in: through, refused with a reason, or interrupted.
    fn attempt(
        &self,
        deadline: Deadline,
        cancel: &Cancel,
        mut call: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<Result<(), Refusal>, Trouble> {
        loop {
            match call() {
                Ok(()) if self.session.authenticated() => return Ok(Ok(())),
                Ok(()) => return Ok(Err("the server asks for a further factor".to_owned().into())),
                Err(error) if error.code() == AGAIN => {
                    self.wait(deadline, cancel).map_err(|why| Trouble::interrupted(why, "logging in"))?;
                }
                Err(_) if self.is_dead() => {
                    return Err(Trouble::new(
                        SshErrorKind::Authentication,
                        "the server closed the connection during the login",
                        "configure fewer keys (MaxAuthTries), let the account log in, and read the server's log for its reason",
                    ));
                }
                Err(error) => return Ok(Err(Refusal::of(&error))),
            }
        }
    }

    fn by_agent(&self, target: &SshTarget, deadline: Deadline, cancel: &Cancel) -> Result<Result<(), Refusal>, Trouble> {
        let Some(path) = std::env::var_os("SSH_AUTH_SOCK") else {
            return Ok(Err("SSH_AUTH_SOCK is not set".to_owned().into()));
        };
        // libssh2 talks to the agent without a deadline, so one that is stuck has to be found out first.
        if let Err(reason) = agent_answers(Path::new(&path), deadline, cancel) {
            return Ok(Err(reason.into()));
        }
        let list = || {
            let mut agent = self.session.agent()?;
            agent.connect()?;
            agent.list_identities()?;
            let identities = agent.identities()?;
            Ok::<_, ssh2::Error>((agent, identities))
        };
        let (agent, identities) = match list() {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error.message().to_owned().into())),
        };
        let mut reason = Refusal::from("it holds no key".to_owned());
        for identity in identities {
            match self.attempt(deadline, cancel, || agent.userauth(&target.user, &identity))? {
                Ok(()) => return Ok(Ok(())),
                Err(refused) => reason = refused,
            }
        }
        Ok(Err(reason))
    }
}

/// Whether a key file opens with a passphrase alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Open,
    Closed,
}

/// Reads a key file as far as it tells whether it can be used.
fn lock_of(key: &Path, passphrase: Option<&str>) -> Result<Lock, Refusal> {
    let mut head = Vec::new();
    let read = std::fs::File::open(key).and_then(|file| file.take(KEY_HEAD).read_to_end(&mut head));
    if let Err(error) = read {
        return Err(error.to_string().into());
    }
    match (is_locked_key(&head), passphrase) {
        (false, _) => Ok(Lock::Open),
        (true, Some(_)) => Ok(Lock::Closed),
        (true, None) => Err(Refusal {
            why: "it is encrypted, and no passphrase is configured".to_owned(),
            remedy: Some(
                "set ssh.passphrase, or use a key without one that the forced command limits; ssh-keygen -p takes a passphrase away",
            ),
        }),
    }
}

/// Keys that nobody here can open, and no other way in: that is known before anybody is asked.
fn has_a_way_in(target: &SshTarget) -> Result<(), Trouble> {
    if target.agent || target.password.is_some() || target.keys.is_empty() {
        return Ok(());
    }
    let passphrase = target.passphrase.as_ref().map(crate::secret::Secret::expose);
    let mut tried = Vec::new();
    let mut remedy = None;
    for key in &target.keys {
        match lock_of(key, passphrase) {
            Ok(_) => return Ok(()),
            Err(refusal) => {
                remedy = remedy.or(refusal.remedy);
                tried.push(format!("key {}: {}", key.display(), refusal.why));
            }
        }
    }
    let message = format!("no key can be used, so {} was not asked ({})", target.host, tried.join("; "));
    Err(Trouble::new(SshErrorKind::Authentication, message, remedy.unwrap_or(UNUSABLE)))
}

/// Asks the agent for its keys, only to see whether it answers.
fn agent_answers(path: &Path, deadline: Deadline, cancel: &Cancel) -> Result<(), String> {
    const REQUEST_IDENTITIES: [u8; 5] = [0, 0, 0, 1, 11];
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(told)?;
    // A UNIX socket connects at once or not at all (EAGAIN: its queue is full).
    socket.set_nonblocking(true).map_err(told)?;
    socket.connect(&SockAddr::unix(path).map_err(told)?).map_err(told)?;
    let stream = UnixStream::from(std::os::fd::OwnedFd::from(socket));
    (&stream).write_all(&REQUEST_IDENTITIES).map_err(told)?;
    match cancel.wait_for(stream.as_fd(), PollFlags::IN, deadline.at_most(Duration::from_secs(2))) {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("{}: the agent does not answer", path.display())),
    }
}

/// TCP to the first address that answers; each gets its share of what is left of the deadline.
fn connect(addresses: &[SocketAddr], deadline: Deadline, cancel: &Cancel) -> Result<TcpStream, Trouble> {
    let mut reasons: Vec<String> = Vec::new();
    let mut over = None;
    for (place, address) in addresses.iter().enumerate() {
        let shares = u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
        let share = deadline.at_most(deadline.remaining() / shares);
        match connect_one(*address, share, cancel) {
            Ok(stream) => return Ok(stream),
            Err(ConnectError::Interrupted(Interrupted::Cancelled)) => {
                return Err(Trouble::interrupted(Interrupted::Cancelled, "connecting"));
            }
            Err(ConnectError::Interrupted(why)) => {
                over = Some(why);
                reasons.push(format!("{address}: no answer"));
            }
            Err(ConnectError::Io(error)) => reasons.push(format!("{address}: {error}")),
        }
    }
    if reasons.is_empty() {
        return Err(Trouble::new(SshErrorKind::Resolve, "the name has no address", ""));
    }
    let message = format!("cannot connect ({})", reasons.join("; "));
    let kind = if over.is_some() { SshErrorKind::TimedOut } else { SshErrorKind::Connect };
    Err(Trouble::new(
        kind,
        message,
        "start the host and its sshd, correct the SSH host and port, and open the way to it in the firewalls",
    ))
}

enum ConnectError {
    Interrupted(Interrupted),
    Io(std::io::Error),
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> ConnectError {
        ConnectError::Io(error)
    }
}

fn connect_one(address: SocketAddr, deadline: Deadline, cancel: &Cancel) -> Result<TcpStream, ConnectError> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Small packets that wait for an answer each: with Nagle's delay a command takes 44 ms instead of 2.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNANSWERED).with_interval(Duration::from_secs(2)))?;
    socket.set_tcp_user_timeout(Some(UNANSWERED))?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            cancel.wait_for(socket.as_fd(), PollFlags::OUT, deadline).map_err(ConnectError::Interrupted)?;
            if let Some(error) = socket.take_error()? {
                return Err(error.into());
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(socket.into())
}

/// `[host]:port`, or the bare host for port 22, as `known_hosts` lists it.
fn listed_name(target: &SshTarget) -> String {
    let host = target.host.trim_matches(['[', ']']);
    if target.port == 22 { host.to_owned() } else { format!("[{host}]:{}", target.port) }
}

fn keyscan(target: &SshTarget) -> String {
    format!(
        "ssh-keyscan -p {} {} >> {}, after comparing the fingerprint with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the host",
        target.port,
        target.host.trim_matches(['[', ']']),
        target.known_hosts.display()
    )
}

/// The kind of a key: the first text of its encoding.
fn kind_of(key: &[u8]) -> String {
    let kind = key.get(..4).and_then(|length| {
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let text = key.get(4..4usize.checked_add(usize::try_from(length).ok()?)?)?;
        let readable = text.len() <= 64 && text.iter().all(u8::is_ascii_graphic);
        readable.then(|| String::from_utf8_lossy(text).into_owned())
    });
    kind.unwrap_or_else(|| "a key of unknown kind".to_owned())
}
