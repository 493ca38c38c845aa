//! HAProxy's runtime API: commands over its admin socket, replies read to the end, parsed by header.
//!
//! A line of commands joined by `;` goes over one connection, which HAProxy closes after the last reply. Each reply ends with an
//! empty line. A command that changed something answers with that empty line alone; everything else in its place is the reason
//! why it did not. Success is nevertheless only an intention: callers read the state back.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::io::Errno;

use super::resolve::Addresses;
use super::socket::{Stream, interrupted};
use crate::deadline::{Cancel, Deadline, Interrupted};

/// The most bytes of one answer that are read: `show stat` of some 6,000 servers.
pub(crate) const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// The most characters of HAProxy's own words that are quoted in a message.
const QUOTE_LIMIT: usize = 200;

/// Where an admin socket is (`stats socket ... level admin`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A UNIX socket.
    Unix(PathBuf),
    /// A TCP address. Whoever reaches it controls the HAProxy: loopback or a closed network only.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// The administrative state that `set server` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AdminState {
    /// Takes traffic when healthy.
    Ready,
    /// Takes no new sessions, keeps those it has.
    Drain,
    /// Takes nothing; HAProxy's own checks of it are stopped.
    Maint,
}

impl AdminState {
    /// The word of the runtime API.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            AdminState::Ready => "ready",
            AdminState::Drain => "drain",
            AdminState::Maint => "maint",
        }
    }
}

/// One command of the runtime API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// `show cli level`: answers at every level and changes nothing.
    ShowLevel,
    /// `show stat <backend> 4 -1`: the servers of one backend; of all proxies when `None`.
    ShowStat(Option<&'a str>),
    /// `show stat -1 2 -1`: every backend as a whole. By its name one could be hidden by a frontend that has the same.
    ShowBackends,
    /// `show servers state <backend>`.
    ShowServersState(&'a str),
    /// `set server <backend>/<server> state ...`.
    SetState {
        /// The backend.
        backend: &'a str,
        /// The server.
        server: &'a str,
        /// The state.
        state: AdminState,
    },
    /// `set server <backend>/<server> weight <n>`.
    SetWeight {
        /// The backend.
        backend: &'a str,
        /// The server.
        server: &'a str,
        /// 0 to 256; with 0 it takes no new traffic.
        weight: u32,
    },
    /// `set server <backend>/<server> health up`: up now, whatever HAProxy's last checks said; they go on.
    HealthUp {
        /// The backend.
        backend: &'a str,
        /// The server.
        server: &'a str,
    },
    /// `set server <backend>/<server> agent up`: the same for the agent check.
    AgentUp {
        /// The backend.
        backend: &'a str,
        /// The server.
        server: &'a str,
    },
    /// `shutdown sessions server <backend>/<server>`: ends every session it has.
    ShutdownSessions {
        /// The backend.
        backend: &'a str,
        /// The server.
        server: &'a str,
    },
}

impl Command<'_> {
    fn text(&self) -> Result<String, Error> {
        let of = |backend: &str, server: &str| -> Result<String, Error> {
            validate_name(backend).and_then(|()| validate_name(server)).map_err(Error::InvalidName)?;
            Ok(format!("{backend}/{server}"))
        };
        Ok(match self {
            Command::ShowLevel => "show cli level".to_owned(),
            Command::ShowStat(None) => "show stat -1 4 -1".to_owned(),
            Command::ShowBackends => "show stat -1 2 -1".to_owned(),
            Command::ShowStat(Some(backend)) => {
                validate_name(backend).map_err(Error::InvalidName)?;
                format!("show stat {backend} 4 -1")
            }
            Command::ShowServersState(backend) => {
                validate_name(backend).map_err(Error::InvalidName)?;
                format!("show servers state {backend}")
            }
            Command::SetState { backend, server, state } => {
                format!("set server {} state {}", of(backend, server)?, state.as_str())
            }
            Command::SetWeight { backend, server, weight } => {
                format!("set server {} weight {weight}", of(backend, server)?)
            }
            Command::HealthUp { backend, server } => format!("set server {} health up", of(backend, server)?),
            Command::AgentUp { backend, server } => format!("set server {} agent up", of(backend, server)?),
            Command::ShutdownSessions { backend, server } => format!("shutdown sessions server {}", of(backend, server)?),
        })
    }

    /// True for commands that change something; they answer with nothing when they did.
    #[must_use]
    pub(crate) fn changes(&self) -> bool {
        !matches!(self, Command::ShowLevel | Command::ShowStat(_) | Command::ShowBackends | Command::ShowServersState(_))
    }
}

/// Whether a name can stand in a command: HAProxy's own rule for the names of proxies and servers.
///
/// # Errors
/// One line saying what is wrong with it.
pub(crate) fn validate_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("an empty name".to_owned());
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))) {
        None => Ok(()),
        Some(bad) => Err(format!("{name:?} holds {bad:?}; HAProxy's names are letters, digits, '-', '_', '.' and ':'")),
    }
}

/// What went wrong between us and one HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// A backend's or server's name cannot stand in a command; nothing was sent.
    InvalidName(String),
    /// The socket could not be connected to: nothing was sent.
    Connect {
        /// Which socket.
        endpoint: String,
        /// What kind of failure.
        why: ConnectError,
    },
    /// The deadline passed before the answer was complete.
    TimedOut {
        /// Which socket.
        endpoint: String,
        /// What was waited for.
        during: &'static str,
    },
    /// The cancel signal was given.
    Cancelled,
    /// The connection ended or broke before the answer was complete.
    Broken {
        /// Which socket.
        endpoint: String,
        /// How.
        how: String,
    },
    /// More than [`ANSWER_LIMIT`] bytes came.
    TooLong {
        /// Which socket.
        endpoint: String,
    },
    /// The answer is not one HAProxy gives.
    Garbage {
        /// Which socket.
        endpoint: String,
        /// What was expected, and what came.
        what: String,
    },
    /// The socket has not the level this needs.
    NotAdmin {
        /// Which socket.
        endpoint: String,
    },
    /// HAProxy refused a command.
    Refused {
        /// Which socket.
        endpoint: String,
        /// The command.
        command: String,
        /// HAProxy's words.
        reply: String,
    },
    /// The command was accepted, and the state read back is not the one that was asked for.
    NotProven {
        /// Which socket.
        endpoint: String,
        /// What was seen last.
        seen: String,
        /// What mends it; may be empty.
        remedy: String,
    },
}

/// Why an admin socket could not be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// There is no such socket file.
    Missing,
    /// Nobody listens on it.
    Refused,
    /// This user may not open it.
    PermissionDenied,
    /// The name has no known address.
    Resolver(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidName(why) => write!(f, "invalid HAProxy name: {why}"),
            Error::Connect { endpoint, why } => match why {
                ConnectError::Missing => write!(f, "{endpoint}: no such socket"),
                ConnectError::Refused => write!(f, "{endpoint}: refused, no HAProxy listens there"),
                ConnectError::PermissionDenied => write!(f, "{endpoint}: this user may not open the socket"),
                ConnectError::Resolver(why) | ConnectError::Other(why) => write!(f, "{endpoint}: {why}"),
            },
            Error::TimedOut { endpoint, during } => write!(f, "{endpoint}: the deadline passed during {during}"),
            Error::Cancelled => f.write_str("cancelled"),
            Error::Broken { endpoint, how } => write!(f, "{endpoint}: {how}"),
            Error::TooLong { endpoint } => write!(f, "{endpoint}: an answer of more than {ANSWER_LIMIT} bytes"),
            Error::Garbage { endpoint, what } => write!(f, "{endpoint}: not an answer of HAProxy: {what}"),
            Error::NotAdmin { endpoint } => write!(f, "{endpoint}: permission denied, the socket has not level admin"),
            Error::Refused { endpoint, command, reply } => write!(f, "{endpoint}: \"{command}\" was answered: {reply}"),
            Error::NotProven { endpoint, seen, .. } => write!(f, "{endpoint}: accepted, but read back as {seen}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Asked again it would say the same, until somebody changes a configuration.
    #[must_use]
    pub(crate) fn is_for_good(&self) -> bool {
        matches!(self, Error::InvalidName(_) | Error::NotAdmin { .. } | Error::Refused { .. })
    }

    /// A weight between none and all was refused, because the balance of the backend is a static one (`static-rr`, a map-based hash).
    #[must_use]
    pub(crate) fn is_of_static_balance(&self) -> bool {
        matches!(self, Error::Refused { reply, .. } if reply.contains("static LB algorithm"))
    }

    /// The health of a server that follows another one (`track`) is not its own to set.
    #[must_use]
    pub(crate) fn is_of_tracking_server(&self) -> bool {
        matches!(self, Error::Refused { reply, .. } if reply.contains("on a tracking server"))
    }

    /// What to do about it; empty where nothing general can be said.
    #[must_use]
    pub(crate) fn remedy(&self) -> &str {
        match self {
            Error::InvalidName(_) => "correct the backend and server names of this route in the configuration",
            Error::Connect { why: ConnectError::Missing | ConnectError::Refused, .. } => {
                "start HAProxy, and compare the path or address with \"stats socket\" in its configuration"
            }
            Error::Connect { why: ConnectError::PermissionDenied, .. } => {
                "give this user the socket: \"stats socket PATH user USER mode 600 level admin\""
            }
            Error::NotAdmin { .. } => "add \"level admin\" to the \"stats socket\" line in HAProxy's configuration",
            Error::Refused { .. } => "compare the backend and server names with HAProxy's configuration",
            Error::Garbage { .. } | Error::TooLong { .. } => {
                "make sure that the address is HAProxy's \"stats socket\" and not a traffic port"
            }
            Error::Connect { .. } | Error::TimedOut { .. } | Error::Cancelled | Error::Broken { .. } => "",
            Error::NotProven { remedy, .. } => remedy,
        }
    }

    /// Proven to have changed nothing.
    #[must_use]
    pub(crate) fn without_effect(&self) -> bool {
        matches!(self, Error::InvalidName(_) | Error::Connect { .. } | Error::NotAdmin { .. } | Error::Refused { .. })
            || matches!(self, Error::TimedOut { during: "the connect", .. })
    }

    /// What a HAProxy in the middle of a reload looks like: worth a second try.
    #[must_use]
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Error::Broken { .. } | Error::Connect { why: ConnectError::Missing | ConnectError::Refused, .. })
    }
}

/// One HAProxy, to be spoken to until a deadline.
pub(crate) struct Client<'a> {
    /// Its admin socket.
    pub endpoint: &'a Endpoint,
    /// The last known addresses of names.
    pub addresses: &'a dyn Addresses,
    /// For all commands together.
    pub deadline: Deadline,
    /// Ends every wait.
    pub cancel: &'a Cancel,
}

impl Client<'_> {
    /// Sends commands over one connection and returns their replies in the same order.
    ///
    /// # Errors
    /// When the answer did not come whole, or when a command that changes something was refused. Then earlier commands of the
    /// same call may have had their effect, and so may later ones.
    #[cfg(test)]
    pub(crate) fn run(&self, commands: &[Command<'_>]) -> Result<Vec<String>, Error> {
        let replies = self.replies(commands)?;
        for (command, reply) in commands.iter().zip(&replies) {
            self.judge(command, reply)?;
        }
        Ok(replies)
    }

    /// As [`run`](Client::run), and leaves it to the caller to [`judge`](Client::judge) each reply.
    ///
    /// # Errors
    /// When the answer did not come whole.
    pub(crate) fn replies(&self, commands: &[Command<'_>]) -> Result<Vec<String>, Error> {
        let texts: Vec<String> = commands.iter().map(Command::text).collect::<Result<_, _>>()?;
        let answer = self.exchange(&texts.join(";"))?;
        let replies = split_replies(&answer, commands.len()).map_err(|how| match how {
            Incomplete::Cut if answer.is_empty() => self.broken("the connection was closed without an answer"),
            Incomplete::Cut => self.broken(format!("the connection was closed in the middle of the answer {}", quote(&answer))),
            Incomplete::Surplus => self.garbage(format!("more than one reply to a command: {}", quote(&answer))),
        })?;
        // `;` is not understood, or the line was given up at the first error: the last reply says why.
        if replies.len() < commands.len() {
            let last = replies.last().copied().unwrap_or_default();
            return Err(if last.starts_with("Permission denied") {
                Error::NotAdmin { endpoint: self.endpoint.to_string() }
            } else {
                self.garbage(format!(
                    "{} of {} commands answered, the last one by: {}",
                    replies.len(),
                    commands.len(),
                    quote(last)
                ))
            });
        }
        Ok(replies.into_iter().map(str::to_owned).collect())
    }

    /// What HAProxy's reply to a command means.
    ///
    /// # Errors
    /// [`Error::NotAdmin`] and [`Error::Refused`].
    pub(crate) fn judge(&self, command: &Command<'_>, reply: &str) -> Result<(), Error> {
        let reply = reply.trim();
        if reply.starts_with("Permission denied") {
            return Err(Error::NotAdmin { endpoint: self.endpoint.to_string() });
        }
        if command.changes() && !reply.is_empty() {
            return Err(self.refused(command, reply));
        }
        Ok(())
    }

    /// The servers of a backend, as `show stat` shows them in `reply`.
    ///
    /// # Errors
    /// When the reply is not such a table.
    pub(crate) fn stat(&self, reply: &str) -> Result<Vec<StatRow>, Error> {
        if reply.trim() == "No such proxy." {
            return Ok(Vec::new());
        }
        parse_stat(reply).map_err(|what| self.garbage(what))
    }

    /// The servers of a backend, as `show servers state` shows them in `reply`.
    ///
    /// # Errors
    /// When there is no such backend, or the reply is not such a table.
    pub(crate) fn servers_state(&self, command: &Command<'_>, reply: &str) -> Result<Vec<StateRow>, Error> {
        if reply.trim() == "Can't find backend." {
            return Err(self.refused(command, reply));
        }
        parse_servers_state(reply).map_err(|what| self.garbage(what))
    }

    fn refused(&self, command: &Command<'_>, reply: &str) -> Error {
        Error::Refused { endpoint: self.endpoint.to_string(), command: command.text().unwrap_or_default(), reply: quote(reply) }
    }

    fn garbage(&self, what: impl Into<String>) -> Error {
        Error::Garbage { endpoint: self.endpoint.to_string(), what: what.into() }
    }

    fn broken(&self, how: impl Into<String>) -> Error {
        Error::Broken { endpoint: self.endpoint.to_string(), how: how.into() }
    }

    fn exchange(&self, line: &str) -> Result<String, Error> {
        let mut stream = self.connect()?;
        stream.write_all(format!("{line}\n").as_bytes()).map_err(|error| self.failed(&error, "the question"))?;
        let mut answer = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match stream.read(&mut buffer).map_err(|error| self.failed(&error, "the answer"))? {
                0 => break,
                count => answer.extend_from_slice(&buffer[..count]),
            }
            if answer.len() > ANSWER_LIMIT {
                return Err(Error::TooLong { endpoint: self.endpoint.to_string() });
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn connect(&self) -> Result<Stream, Error> {
        let connected = match self.endpoint {
            Endpoint::Unix(path) => Stream::connect_unix(path, self.deadline, self.cancel),
            Endpoint::Tcp { host, port } => match self.addresses.addresses(host, *port) {
                Ok(addresses) if addresses.is_empty() => {
                    return Err(self.unconnected(ConnectError::Resolver(format!("{host} has no address"))));
                }
                Ok(addresses) => Stream::connect_any(&addresses, self.deadline, self.cancel),
                Err(why) => return Err(self.unconnected(ConnectError::Resolver(why))),
            },
        };
        connected.map_err(|error| {
            match interrupted(&error) {
                Some(Interrupted::TimedOut) => {
                    return Error::TimedOut { endpoint: self.endpoint.to_string(), during: "the connect" };
                }
                Some(Interrupted::Cancelled) => return Error::Cancelled,
                None => {}
            }
            self.unconnected(match error.kind() {
                io::ErrorKind::NotFound => ConnectError::Missing,
                io::ErrorKind::ConnectionRefused => ConnectError::Refused,
                io::ErrorKind::PermissionDenied => ConnectError::PermissionDenied,
                _ if error.raw_os_error() == Some(Errno::NOTSOCK.raw_os_error()) => ConnectError::Refused,
                _ => ConnectError::Other(error.to_string()),
            })
        })
    }

    fn unconnected(&self, why: ConnectError) -> Error {
        Error::Connect { endpoint: self.endpoint.to_string(), why }
    }

    fn failed(&self, error: &io::Error, during: &'static str) -> Error {
        match interrupted(error) {
            Some(Interrupted::TimedOut) => Error::TimedOut { endpoint: self.endpoint.to_string(), during },
            Some(Interrupted::Cancelled) => Error::Cancelled,
            None => self.broken(format!("the connection broke: {error}")),
        }
    }
}

/// HAProxy's words in one line, bounded, without control characters.
fn quote(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut quoted: String = line.chars().take(QUOTE_LIMIT).map(|c| if c.is_control() { '?' } else { c }).collect();
    if line.chars().nth(QUOTE_LIMIT).is_some() {
        quoted.push('…');
    }
    quoted
}

#[derive(Debug, PartialEq, Eq)]
enum Incomplete {
    /// The last reply has no end.
    Cut,
    /// Something is left after the last one.
    Surplus,
}

/// Cuts an answer into its replies, at most `count`. Each ends with an empty line; a reply of nothing is that line alone.
fn split_replies(answer: &str, count: usize) -> Result<Vec<&str>, Incomplete> {
    let mut rest = answer;
    let mut replies = Vec::with_capacity(count);
    while replies.len() < count {
        if let Some(after) = rest.strip_prefix('\n') {
            replies.push("");
            rest = after;
        } else if let Some(end) = rest.find("\n\n") {
            replies.push(&rest[..=end]);
            rest = &rest[end + 2..];
        } else if rest.is_empty() && !replies.is_empty() {
            return Ok(replies);
        } else {
            return Err(Incomplete::Cut);
        }
    }
    if rest.is_empty() { Ok(replies) } else { Err(Incomplete::Surplus) }
}

/// One server's line of `show stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatRow {
    /// `pxname`: the backend.
    pub backend: String,
    /// `svname`: the server.
    pub server: String,
    /// `status`: `UP`, `UP 1/3`, `DOWN`, `DOWN (agent)`, `MAINT`, `MAINT (via ..)`, `DRAIN`, `NOLB`, `no check`.
    pub status: String,
    /// `scur`: sessions it has now.
    pub sessions: u64,
    /// `weight`: the effective one, zero while down or drained in some versions.
    pub weight: Option<u32>,
    /// `bck`: takes sessions only while no other server does.
    pub backup: bool,
    /// `algo`: the balance of a backend as a whole.
    pub balance: Option<String>,
    /// `tracked`: the server that it follows, as `backend/server`.
    pub tracked: Option<String>,
    /// `slim`: the most sessions at a time (`maxconn`), where there is a limit.
    pub limit: Option<u32>,
    /// `addr`: where it leads, where HAProxy has an address for it.
    pub address: Option<SocketAddr>,
    /// `check_status`, `check_code` and `last_chk`: what its health check found last.
    pub check: LastCheck,
    /// The same of its agent check.
    pub agent: LastCheck,
    /// What went wrong between HAProxy and it since HAProxy was started: connections that failed (`econ`) and were tried again
    /// (`wretr`) or elsewhere (`wredis`), answers that broke off (`eresp`), and those with a status from 500 on (`hrsp_5xx`).
    pub errors: u64,
}

/// What a check of HAProxy found last; empty where there is none, and while the server is in maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastCheck {
    /// `L4OK`, `L4CON`, `L7STS`, with `* ` before it while another one is under way.
    pub status: String,
    /// The number that was answered.
    pub code: Option<u32>,
    /// HAProxy's words.
    pub said: String,
}

impl StatRow {
    /// Takes new sessions.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.status == "UP" || self.status.starts_with("UP ") || self.status == "no check"
    }

    /// Out of the route by an administrator.
    #[must_use]
    pub(crate) fn is_maint(&self) -> bool {
        self.status == "MAINT" || self.status.starts_with("MAINT ")
    }

    /// HAProxy's own checks or agent hold it down.
    #[must_use]
    pub(crate) fn is_down(&self) -> bool {
        self.status == "DOWN" || self.status.starts_with("DOWN ")
    }
}

/// Reads the table of `show stat`, finding the columns by their names in the header.
///
/// # Errors
/// One line saying what is not as HAProxy writes it.
pub(crate) fn parse_stat(text: &str) -> Result<Vec<StatRow>, String> {
    let mut records = csv_records(text)?.into_iter();
    let mut header = records.next().ok_or("an empty table")?;
    match header.first_mut().and_then(|first| first.strip_prefix('#').map(|name| name.trim_start().to_owned())) {
        Some(name) => header[0] = name,
        None => return Err(format!("a table without the header \"# pxname,...\": {}", quote(text))),
    }
    let column =
        |name: &str| header.iter().position(|field| field == name).ok_or_else(|| format!("no column \"{name}\" in show stat"));
    let (backend, server, status, sessions) = (column("pxname")?, column("svname")?, column("status")?, column("scur")?);
    let (weight, backup, tracked) = (column("weight").ok(), column("bck").ok(), column("tracked").ok());
    let balance = column("algo").ok();
    let (limit, address) = (column("slim").ok(), column("addr").ok());
    let check = [column("check_status").ok(), column("check_code").ok(), column("last_chk").ok()];
    let agent = [column("agent_status").ok(), column("agent_code").ok(), column("last_agt").ok()];
    let errors: Vec<usize> =
        ["econ", "wretr", "wredis", "eresp", "hrsp_5xx"].iter().filter_map(|name| column(name).ok()).collect();
    records
        .filter(|record| record.len() > 1)
        .map(|record| {
            let field =
                |index: usize| record.get(index).ok_or_else(|| format!("a line of {} columns in show stat", record.len()));
            let sessions = field(sessions)?;
            Ok(StatRow {
                backend: field(backend)?.clone(),
                server: field(server)?.clone(),
                status: field(status)?.clone(),
                sessions: if sessions.is_empty() {
                    0
                } else {
                    sessions.parse().map_err(|_| format!("scur is {} in show stat", quote(sessions)))?
                },
                weight: weight.and_then(|index| record.get(index)).and_then(|text| text.parse().ok()),
                backup: backup.and_then(|index| record.get(index)).is_some_and(|text| text == "1"),
                balance: balance.and_then(|index| record.get(index)).filter(|text| !text.is_empty()).cloned(),
                tracked: tracked.and_then(|index| record.get(index)).filter(|text| !text.is_empty()).cloned(),
                limit: limit.and_then(|index| record.get(index)).and_then(|text| text.parse().ok()).filter(|limit| *limit > 0),
                address: address
                    .and_then(|index| record.get(index)?.parse::<SocketAddr>().ok())
                    .filter(|address| !address.ip().is_unspecified()),
                check: last_check(&record, check),
                agent: last_check(&record, agent),
                // Empty where they have no meaning, as statuses of TCP.
                errors: errors.iter().filter_map(|index| record.get(*index)?.parse::<u64>().ok()).fold(0, u64::saturating_add),
            })
        })
        .collect()
}

fn last_check(record: &[String], [status, code, said]: [Option<usize>; 3]) -> LastCheck {
    let field = |index: Option<usize>| index.and_then(|index| record.get(index)).map(String::as_str).unwrap_or_default();
    LastCheck {
        status: field(status).trim_start_matches("* ").to_owned(),
        code: field(code).parse().ok(),
        said: quote(field(said).trim()),
    }
}

/// Comma separated records; a field in double quotes may hold commas, line ends and doubled quotes.
fn csv_records(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut field = String::new();
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    if quoted {
        return Err("a quote that is never closed".to_owned());
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    Ok(records)
}

/// One server's line of `show servers state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateRow {
    /// `be_name`.
    pub backend: String,
    /// `srv_name`.
    pub server: String,
    /// `srv_op_state`.
    pub operation: Operation,
    /// What the administrative bits of `srv_admin_state` add up to.
    pub admin: AdminState,
    /// The same without what it inherits from the server that it follows, and without the resolver's: what was set for it itself.
    pub own: AdminState,
    /// What of it `set server .. state ready` does not end.
    pub held: Option<Hold>,
    /// `srv_uweight`: the weight in force, 0 to 256.
    pub weight: u32,
    /// `srv_iweight`: the weight of HAProxy's configuration.
    pub initial_weight: u32,
}

/// `srv_op_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Down, or out for maintenance.
    Stopped,
    /// Up, with the weight still growing.
    Starting,
    /// Up.
    Running,
    /// Up, takes no new sessions.
    Stopping,
}

/// What keeps a server out that no order about this server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Its name has no address.
    Resolution,
    /// The server that it follows is in maintenance or drained.
    Tracked,
}

/// Forced, inherited and resolver maintenance. 0x04 only records that the configuration began so, and 0x40 that the name was set.
const ADMIN_MAINT: u32 = 0x23;
/// Forced and inherited drain.
const ADMIN_DRAIN: u32 = 0x18;
/// Those of them that were set for the server itself.
const FORCED_MAINT: u32 = 0x01;
const FORCED_DRAIN: u32 = 0x08;
/// Those bits that stay whatever is set: maintenance by resolution, and inherited maintenance and drain.
const HELD_BY_RESOLUTION: u32 = 0x20;
const HELD_BY_TRACKED: u32 = 0x12;

fn state_of(bits: u32, maint: u32, drain: u32) -> AdminState {
    match bits {
        bits if bits & maint != 0 => AdminState::Maint,
        bits if bits & drain != 0 => AdminState::Drain,
        _ => AdminState::Ready,
    }
}

/// Reads the table of `show servers state`, finding the columns by their names in the header.
///
/// # Errors
/// One line saying what is not as HAProxy writes it.
pub(crate) fn parse_servers_state(text: &str) -> Result<Vec<StateRow>, String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    // The first line is the number of the format; the columns are named all the same, so any number will do.
    let header = lines
        .find_map(|line| line.strip_prefix('#'))
        .ok_or_else(|| format!("a table without the header \"# be_id ...\": {}", quote(text)))?;
    let header: Vec<&str> = header.split_whitespace().collect();
    let column = |name: &str| {
        header.iter().position(|field| *field == name).ok_or_else(|| format!("no column \"{name}\" in show servers state"))
    };
    let (backend, server) = (column("be_name")?, column("srv_name")?);
    let (operation, admin) = (column("srv_op_state")?, column("srv_admin_state")?);
    let (weight, initial) = (column("srv_uweight")?, column("srv_iweight")?);
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let field = |index: usize| {
                fields.get(index).copied().ok_or_else(|| format!("a line of {} columns in show servers state", fields.len()))
            };
            let number = |index: usize| {
                field(index)?
                    .parse::<u32>()
                    .map_err(|_| format!("{} is {} in show servers state", header[index], quote(fields[index])))
            };
            let bits = number(admin)?;
            Ok(StateRow {
                backend: field(backend)?.to_owned(),
                server: field(server)?.to_owned(),
                operation: match number(operation)? {
                    0 => Operation::Stopped,
                    1 => Operation::Starting,
                    2 => Operation::Running,
                    3 => Operation::Stopping,
                    other => return Err(format!("srv_op_state is {other} in show servers state")),
                },
                admin: state_of(bits, ADMIN_MAINT, ADMIN_DRAIN),
                own: state_of(bits, FORCED_MAINT, FORCED_DRAIN),
                held: if bits & HELD_BY_RESOLUTION != 0 {
                    Some(Hold::Resolution)
                } else if bits & HELD_BY_TRACKED != 0 {
                    Some(Hold::Tracked)
                } else {
                    None
                },
                weight: number(weight)?,
                initial_weight: number(initial)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_cut_at_empty_lines() {
        assert_eq!(split_replies("\n", 1), Ok(vec![""]));
        assert_eq!(split_replies("\n\nadmin\n\nUnknown\n  more\n\n", 4), Ok(vec!["", "", "admin\n", "Unknown\n  more\n"]));
        assert_eq!(split_replies("admin\n\n", 2), Ok(vec!["admin\n"]));
        assert_eq!(split_replies("", 1), Err(Incomplete::Cut));
        assert_eq!(split_replies("\nadm", 2), Err(Incomplete::Cut));
        assert_eq!(split_replies("a\n\nb\n\n", 1), Err(Incomplete::Surplus));
    }

    #[test]
    fn stat_is_read_by_header_whatever_the_order_and_the_quotes() {
        let text = "# svname,desc,scur,pxname,status\ndb1,\"a \"\"b\"\", c\nd\",3,pg,MAINT (via x/y)\n\n";
        let rows = parse_stat(text).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].backend.as_str(), rows[0].server.as_str(), rows[0].sessions), ("pg", "db1", 3));
        assert!(rows[0].is_maint() && !rows[0].is_up() && !rows[0].is_down());
        assert_eq!((rows[0].weight, rows[0].backup, rows[0].errors), (None, false, 0));
        let text = "# pxname,svname,status,scur,econ,eresp,wretr,hrsp_5xx\npg,db1,UP,0,1,,20,300\n";
        assert_eq!(parse_stat(text).unwrap()[0].errors, 321);
    }

    #[test]
    fn a_broken_table_is_an_error_with_a_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("pxname,svname\n", "without the header"),
            ("# pxname,svname,scur\n", "status"),
            ("# pxname,svname,scur,status\npg,db1,many,UP\n", "scur is many"),
            ("# pxname,svname,scur,status\npg,db1\n", "2 columns"),
            ("# pxname,svname,scur,status\npg,\"db1\n", "quote"),
        ] {
            let error = parse_stat(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        for (text, reason) in [
            ("1\n", "without the header"),
            ("1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight\n", "srv_iweight"),
            ("1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\npg db1 2\n", "3 columns"),
            ("1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\npg db1 9 0 1 1\n", "srv_op_state is 9"),
            (
                "1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\npg db1 2 -1 1 1\n",
                "srv_admin_state is -1",
            ),
        ] {
            let error = parse_servers_state(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn administrative_bits_add_up() {
        for (bits, admin, held) in [
            (0, AdminState::Ready, None),
            (4, AdminState::Ready, None),
            (0x40, AdminState::Ready, None),
            (1, AdminState::Maint, None),
            (2, AdminState::Maint, Some(Hold::Tracked)),
            (3, AdminState::Maint, Some(Hold::Tracked)),
            (0x20, AdminState::Maint, Some(Hold::Resolution)),
            (0x25, AdminState::Maint, Some(Hold::Resolution)),
            (9, AdminState::Maint, None),
            (8, AdminState::Drain, None),
            (0x10, AdminState::Drain, Some(Hold::Tracked)),
        ] {
            let text = format!("1\n# srv_admin_state srv_name be_name srv_iweight srv_uweight srv_op_state\n{bits} s b 2 1 0\n");
            let rows = parse_servers_state(&text).unwrap();
            assert_eq!((rows[0].admin, rows[0].held), (admin, held), "{bits}");
            let own = match bits & 9 {
                0 => AdminState::Ready,
                8 => AdminState::Drain,
                _ => AdminState::Maint,
            };
            assert_eq!(rows[0].own, own, "{bits}: what is inherited is not its own");
            assert_eq!((rows[0].weight, rows[0].initial_weight, rows[0].operation), (1, 2, Operation::Stopped));
        }
    }

    #[test]
    fn names_that_would_end_a_command_are_refused() {
        for bad in ["", "a b", "a;show", "a/b", "a\nb", "a\0", "ä", "#1", "a\\"] {
            assert!(validate_name(bad).is_err(), "{bad:?}");
        }
        for good in ["db1", "pg-write_2.x:5432"] {
            assert_eq!(validate_name(good), Ok(()));
        }
    }

    #[test]
    fn words_are_quoted_in_one_bounded_line() {
        assert_eq!(quote("No such server.\n\nmore"), "No such server.");
        assert_eq!(quote("a\u{1b}[31mb"), "a?[31mb");
        assert_eq!(quote(&"x".repeat(1_000)).chars().count(), QUOTE_LIMIT + 1);
    }
}
