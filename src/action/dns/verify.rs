//! What the world gets to hear about a name: every server that speaks for it is asked, and resolvers if there are any to ask.

use std::fmt;
use std::net::SocketAddr;

use super::{RecordSet, RecordType};
use crate::deadline::{Cancel, Deadline};
use crate::wire::dns::{self, Answer, Error};
use crate::wire::resolve::Addresses;

/// Servers asked at the same time.
const AT_ONCE: usize = 16;
/// Addresses of one server that are tried.
const ADDRESSES: usize = 4;

/// Where a name server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameServer {
    /// A name, or an address.
    pub host: String,
    /// The port, 53 in general.
    pub port: u16,
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') && !self.host.starts_with('[') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl NameServer {
    /// Its known addresses, the first few of them.
    ///
    /// # Errors
    /// One line for people when its name has none.
    pub(crate) fn find(&self, addresses: &dyn Addresses) -> Result<Vec<SocketAddr>, String> {
        let mut known = addresses.addresses(&self.host, self.port)?;
        known.truncate(ADDRESSES);
        if known.is_empty() { Err(format!("{} has no known address", self.host)) } else { Ok(known) }
    }
}

/// What a server is asked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It speaks for the zone: it has to have the new value at once, with its TTL.
    Authoritative,
    /// It remembers what it was told: the old value is right until its TTL has passed.
    Resolver,
}

/// One server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What to call it.
    pub name: String,
    /// Its addresses: the first that answers speaks for it.
    pub addresses: Vec<SocketAddr>,
    /// What it is asked as.
    pub role: Role,
}

/// What one server made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It says what is expected.
    Expected,
    /// An authoritative server says something else, or with another TTL.
    Different {
        /// What it says; `None`: no such record.
        holds: Option<RecordSet>,
    },
    /// A resolver says something else from its memory.
    Remembered {
        /// What it says; `None`: no such record.
        holds: Option<RecordSet>,
        /// Seconds until it has to ask again; `None`: it does not say.
        ttl_left: Option<u32>,
    },
    /// A server that should speak for the zone does not.
    NotAuthoritative,
    /// It has no answer.
    Trouble(Error),
}

/// One server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What the server is called.
    pub name: String,
    /// What it was asked as.
    pub role: Role,
    /// What it made of it.
    pub verdict: Verdict,
}

impl Seen {
    /// It says what is expected.
    #[must_use]
    pub(crate) fn is_expected(&self) -> bool {
        self.verdict == Verdict::Expected
    }

    /// What to do where it does not; empty where nothing is to be done.
    #[must_use]
    pub(crate) fn remedy(&self) -> &'static str {
        match &self.verdict {
            Verdict::Expected | Verdict::Remembered { .. } => "",
            Verdict::Different { .. } => {
                "check the transfers of the zone to it (notify, allow-transfer, its serial), and who else changes the record"
            }
            Verdict::NotAuthoritative => "check that it serves the zone (loaded, not expired), or take it off the list",
            Verdict::Trouble(error) => error.remedy(),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = |holds: &Option<RecordSet>| holds.as_ref().map_or_else(|| "no such record".to_owned(), ToString::to_string);
        match &self.verdict {
            Verdict::Expected => write!(f, "{}: as expected", self.name),
            Verdict::Different { holds } => write!(f, "{}: {}", self.name, held(holds)),
            Verdict::Remembered { holds, ttl_left } => {
                let values = holds.as_ref().map_or_else(|| "no such record".to_owned(), |holds| holds.values.join(", "));
                match ttl_left {
                    Some(left) => write!(f, "{}: still {values}, for at most {left} s more", self.name),
                    None => write!(f, "{}: still {values}", self.name),
                }
            }
            Verdict::NotAuthoritative => write!(f, "{}: is not authoritative for the zone", self.name),
            Verdict::Trouble(error) => write!(f, "{}: {error}", self.name),
        }
    }
}

/// Asks every server, up to 16 at a time, what `name` holds, and compares. `expected: None`: no record of this type. The answers are
/// in the order of the servers. A server that does not answer costs up to the whole deadline, and only its own answer.
#[must_use]
pub(crate) fn verify(
    servers: &[Asked],
    name: &str,
    record_type: RecordType,
    expected: Option<&RecordSet>,
    deadline: Deadline,
    cancel: &Cancel,
) -> Vec<Seen> {
    let look = |server: &Asked| Seen {
        name: server.name.clone(),
        role: server.role,
        verdict: judge(server, record_type, expected, ask_any(server, name, record_type, deadline, cancel)),
    };
    if let [server] = servers {
        return vec![look(server)];
    }
    let mut seen = Vec::with_capacity(servers.len());
    for part in servers.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let look = &look;
            let started: Vec<_> = part
                .iter()
                .enumerate()
                .map(|(index, server)| {
                    std::thread::Builder::new().name(format!("fo-dns-{index}")).spawn_scoped(scope, move || look(server))
                })
                .collect();
            for (thread, server) in started.into_iter().zip(part) {
                seen.push(match thread.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(seen)) => seen,
                    Ok(Err(_)) => {
                        let how = "an internal error (panic)".to_owned();
                        Seen { name: server.name.clone(), role: server.role, verdict: Verdict::Trouble(Error::Local { how }) }
                    }
                    // No thread to be had: later is better than never.
                    Err(_) => look(server),
                });
            }
        });
    }
    seen
}

fn ask_any(server: &Asked, name: &str, record_type: RecordType, deadline: Deadline, cancel: &Cancel) -> Result<Answer, Error> {
    let mut last = Error::Local { how: format!("{} has no known address", server.name) };
    for (index, address) in server.addresses.iter().enumerate() {
        let others = index + 1 < server.addresses.len();
        let share = if others { deadline.at_most(deadline.remaining() / 2) } else { deadline };
        match dns::ask(*address, name, record_type, server.role == Role::Resolver, share, cancel) {
            Err(error @ (Error::Unreachable { .. } | Error::NoAnswer { .. })) => last = error,
            other => return other,
        }
    }
    Err(last)
}

fn judge(server: &Asked, record_type: RecordType, expected: Option<&RecordSet>, answer: Result<Answer, Error>) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Verdict::Trouble(error),
    };
    let same = dns::same_values(record_type, expected, answer.record.as_ref());
    match server.role {
        Role::Authoritative if !answer.authoritative => Verdict::NotAuthoritative,
        Role::Authoritative => {
            let same_ttl = expected.map(|set| set.ttl) == answer.record.as_ref().map(|set| set.ttl);
            // What an alias leads to has a TTL of its own.
            if same && (same_ttl || answer.canonical.is_some()) {
                Verdict::Expected
            } else {
                Verdict::Different { holds: answer.record }
            }
        }
        Role::Resolver if same => Verdict::Expected,
        Role::Resolver => {
            let ttl_left = answer.record.as_ref().map(|set| set.ttl).or(answer.negative_ttl);
            Verdict::Remembered { holds: answer.record, ttl_left }
        }
    }
}
