//! A DNS client that asks one server one question: over UDP, over TCP where UDP does not do, within one deadline.
//!
//! `getaddrinfo` cannot be told whom to ask and has no deadline; what the records of a service are is asked here, of each server by
//! itself. Messages are built and parsed by `domain`; sockets, waits and what is believed are ours. An answer counts only with the
//! id and the question of its request and from the address that was asked: the socket is connected, so the kernel drops everybody
//! else's. Id and port are unpredictable (the port is the kernel's choice). DNSSEC is not validated.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, OptRcode, Rcode as WireRcode, Rtype};
use domain::base::message_builder::AdditionalBuilder;
use domain::base::{Message, MessageBuilder, Name, ToName};
#[cfg(feature = "rfc2136")]
use domain::rdata::Ns;
use domain::rdata::{A, Aaaa, Cname, Soa};
use rustix::event::PollFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::record_set::{RecordSet, RecordType};
use super::socket::{Stream, interrupted};
use crate::deadline::{Cancel, Deadline, Interrupted};

/// What we take in one datagram: what passes every common path unfragmented.
pub(crate) const UDP_SIZE: u16 = 1232;
/// A request that is longer goes over TCP: what every server takes in one datagram.
const UDP_REQUEST: usize = 512;
/// A datagram that is longer than what we said we take is cut, and then not understood.
const BUFFER: usize = 4096;
/// Between a request and its first repetition at least and at most; each further pause is twice as long.
const FIRST_REPEAT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long UDP alone is heard before TCP gets its try, at most half of the time.
const UDP_ALONE: Duration = Duration::from_secs(2);
/// CNAMEs followed in one answer.
const CHAIN: usize = 16;
/// Records looked at in one answer.
const RECORDS: usize = 1000;

pub(crate) type DnsName = Name<Vec<u8>>;

/// Whether the name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rcode {
    /// `NOERROR`: it does, with a record of this type or without.
    NoError,
    /// `NXDOMAIN`: it does not.
    NxDomain,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What the name, or the name it is an alias of, holds; `None`: it does not exist, or has no record of this type. The TTL is
    /// what is left of it, the least where records differ.
    pub record: Option<RecordSet>,
    /// The server speaks for the zone, and not from memory.
    pub authoritative: bool,
    /// Whether the name exists.
    pub rcode: Rcode,
    /// The server that was asked.
    pub from: SocketAddr,
    /// Where CNAMEs led, with the final dot; `None`: there was none to follow.
    pub canonical: Option<String>,
    /// With `record: None`: for how many more seconds a resolver may go on saying so, where the answer tells.
    pub negative_ttl: Option<u32>,
}

/// Why a question has no answer. Never the fault of the record: that it is not there is an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// This cannot be a name in the DNS; nothing was sent.
    #[error("\"{name}\" is no DNS name: {how}")]
    BadName {
        /// What was given.
        name: String,
        /// Why not.
        how: String,
    },
    /// The request could not be delivered: nobody listens there, or there is no way there.
    #[error("{server} cannot be reached: {how}")]
    Unreachable {
        /// Which server.
        server: SocketAddr,
        /// The operating system's words.
        how: String,
    },
    /// The deadline passed without an answer.
    #[error("{server} gave no answer: {how}")]
    NoAnswer {
        /// Which server.
        server: SocketAddr,
        /// What was tried, and what came instead.
        how: String,
    },
    /// The answer over UDP was not enough, and TCP does not work.
    #[error("{server}: {why}, and TCP fails: {how}")]
    NoTcp {
        /// Which server.
        server: SocketAddr,
        /// Why TCP is needed.
        why: &'static str,
        /// How TCP failed.
        how: String,
    },
    /// What came is no DNS, or contradicts itself.
    #[error("{server} gave an answer that cannot be understood: {how}")]
    Garbled {
        /// Which server.
        server: SocketAddr,
        /// What is wrong with it.
        how: String,
    },
    /// `SERVFAIL`: the server has no answer itself.
    #[error("{server} answers SERVFAIL for {name}")]
    ServerFailure {
        /// Which server.
        server: SocketAddr,
        /// The name it was asked for.
        name: String,
    },
    /// `REFUSED`: the server does not answer us.
    #[error("{server} refuses to answer for {name} (REFUSED)")]
    Refused {
        /// Which server.
        server: SocketAddr,
        /// The name it was asked for.
        name: String,
    },
    /// It was asked to resolve, and does not for us.
    #[error("{server} does not resolve names for us (no recursion)")]
    NoRecursion {
        /// Which server.
        server: SocketAddr,
    },
    /// Another error code.
    #[error("{server} answers {rcode} for {name}")]
    Rcode {
        /// Which server.
        server: SocketAddr,
        /// The code as the DNS calls it.
        rcode: String,
        /// The name it was asked for.
        name: String,
    },
    /// The cancel signal was given.
    #[error("cancelled while {server} was asked")]
    Cancelled {
        /// Which server.
        server: SocketAddr,
    },
    /// This machine has no descriptor or no randomness left.
    #[error("no DNS request can be made here: {how}")]
    Local {
        /// The operating system's words.
        how: String,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Error::BadName { .. } => {
                "correct the name: labels of 1 to 63 ASCII characters, at most 253 together, other scripts as xn--…"
            }
            Error::Unreachable { .. } => {
                "start the name server, or correct its address and port, or the route and firewall to it"
            }
            Error::NoAnswer { .. } => {
                "check that the name server runs, and that UDP and TCP to its port pass the firewalls both ways"
            }
            Error::NoTcp { .. } => "let TCP to the name server's port through: DNS needs it for what does not fit a datagram",
            Error::Garbled { .. } => {
                "check that the address and port are a DNS server's, and what changes the answers on the way"
            }
            Error::ServerFailure { .. } => {
                "look into the name server's log: the zone is not loaded or expired, or its own servers do not answer"
            }
            Error::Refused { .. } => {
                "allow queries from this host (BIND: allow-query, allow-recursion, the view), or ask another server"
            }
            Error::NoRecursion { .. } => "name a resolver that answers this host, or list the server as an authoritative one",
            Error::Rcode { .. } => "look into the name server's log",
            Error::Cancelled { .. } => "",
            Error::Local { .. } => "raise the limit of open files (ulimit -n, LimitNOFILE)",
        }
    }
}

/// Asks one server for the records of one type of a name. A request is repeated within the deadline; over TCP what is truncated, what
/// came garbled, and what UDP gave no answer to in 2 s or half of the time. CNAMEs are followed within the answer.
///
/// # Errors
/// [`Error`]: which server, what is wrong. A name or a record that is not there is no error.
pub(crate) fn ask(
    server: SocketAddr,
    name: &str,
    record_type: RecordType,
    recursion_desired: bool,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<Answer, Error> {
    let name = parse_name(name)?;
    let once = |edns| {
        let request = query(&name, record_type, recursion_desired, edns)?.finish();
        let mut exchange = Exchange::new(server, &request, deadline, cancel);
        exchange.run(&mut |message, over| interpret(server, &name, record_type, recursion_desired, message, over))?
    };
    match once(true) {
        // What is older than EDNS calls it a format error.
        Err(Error::Rcode { rcode, .. }) if matches!(rcode.as_str(), "FORMERR" | "NOTIMP" | "BADVERS") => once(false),
        outcome => outcome,
    }
}

/// A name in lower case, whether or not its final dot is written.
pub(crate) fn parse_name(text: &str) -> Result<DnsName, Error> {
    let bad = |how: String| Error::BadName { name: text.chars().take(300).collect(), how };
    if text.is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    let mut name = DnsName::vec_from_str(text).map_err(|error| bad(error.to_string()))?;
    name.make_canonical();
    Ok(name)
}

/// A name as a zone file shows it, with the final dot.
pub(crate) fn dotted(name: &DnsName) -> String {
    name.fmt_with_dot().to_string()
}

/// The value as a zone file shows it, in one spelling.
///
/// # Errors
/// Why it cannot be the value of a record of this type.
pub(crate) fn normalise(record_type: RecordType, value: &str) -> Result<String, String> {
    match record_type {
        RecordType::A => value
            .parse::<std::net::Ipv4Addr>()
            .map(|address| address.to_string())
            .map_err(|_| format!("\"{value}\" is no IPv4 address")),
        RecordType::Aaaa => value
            .parse::<std::net::Ipv6Addr>()
            .map(|address| address.to_string())
            .map_err(|_| format!("\"{value}\" is no IPv6 address")),
        RecordType::Cname => parse_name(value).map(|name| dotted(&name)).map_err(|error| error.to_string()),
    }
}

/// True when both hold the same values, however they are ordered and spelled. TTLs are not compared.
#[must_use]
pub(crate) fn same_values(record_type: RecordType, one: Option<&RecordSet>, other: Option<&RecordSet>) -> bool {
    let values = |set: Option<&RecordSet>| {
        let mut values: Vec<String> = set
            .iter()
            .flat_map(|set| &set.values)
            .map(|value| normalise(record_type, value).unwrap_or_else(|_| value.clone()))
            .collect();
        values.sort();
        values.dedup();
        values
    };
    values(one) == values(other)
}

pub(crate) fn rtype(record_type: RecordType) -> Rtype {
    match record_type {
        RecordType::A => Rtype::A,
        RecordType::Aaaa => Rtype::AAAA,
        RecordType::Cname => Rtype::CNAME,
    }
}

/// A number nobody can guess.
pub(crate) fn random_id() -> Result<u16, Error> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| Error::Local { how: error.to_string() })?;
    Ok(u16::from_ne_bytes(bytes))
}

/// A request for the records of a name, open at its end for a signature.
pub(crate) fn query(
    name: &DnsName,
    record_type: RecordType,
    recursion_desired: bool,
    edns: bool,
) -> Result<AdditionalBuilder<Vec<u8>>, Error> {
    request(name, rtype(record_type), recursion_desired, edns)
}

#[cfg(feature = "rfc2136")]
/// A request for the zone that a name is in.
pub(crate) fn zone_query(name: &DnsName) -> Result<AdditionalBuilder<Vec<u8>>, Error> {
    request(name, Rtype::SOA, false, true)
}

fn request(name: &DnsName, kind: Rtype, recursion_desired: bool, edns: bool) -> Result<AdditionalBuilder<Vec<u8>>, Error> {
    let full = |how: domain::base::message_builder::PushError| Error::Local { how: how.to_string() };
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(random_id()?);
    builder.header_mut().set_rd(recursion_desired);
    let mut builder = builder.question();
    builder.push((name, kind)).map_err(full)?;
    let mut builder = builder.additional();
    if edns {
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(UDP_SIZE);
                Ok(())
            })
            .map_err(full)?;
    }
    Ok(builder)
}

/// By which way a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
}

/// What a message is worth that has the id and the question of its request.
pub(crate) enum Judged<T> {
    /// It is the answer.
    Take(T),
    /// The same is to be asked over TCP, and why.
    ByTcp(&'static str),
    /// It cannot be understood.
    Garbage(String),
}

/// One request and its answer.
pub(crate) struct Exchange<'a> {
    server: SocketAddr,
    request: &'a [u8],
    deadline: Deadline,
    cancel: &'a Cancel,
    /// Copies of the request that may have arrived and were not answered.
    pub(crate) unanswered: u32,
    /// Messages that were none of ours.
    strangers: u32,
    garbage: Option<String>,
}

enum Heard<T> {
    Answer(T),
    ByTcp(&'static str),
    Garbage(String),
    Silence,
    Undeliverable(io::Error),
}

enum TcpFault {
    Connect(io::Error),
    Broken(io::Error),
    Garbage(String),
}

impl fmt::Display for TcpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TcpFault::Connect(error) | TcpFault::Broken(error) => error.fmt(f),
            TcpFault::Garbage(how) => f.write_str(how),
        }
    }
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(server: SocketAddr, request: &'a [u8], deadline: Deadline, cancel: &'a Cancel) -> Exchange<'a> {
        Exchange { server, request, deadline, cancel, unanswered: 0, strangers: 0, garbage: None }
    }

    /// Sends the request and hears until `judge` takes a message. `judge` sees what has the id and the question of the request.
    pub(crate) fn run<T>(&mut self, judge: &mut dyn FnMut(&[u8], Over) -> Judged<T>) -> Result<T, Error> {
        let server = self.server;
        let deadline = self.deadline;
        let mut why_tcp = None;
        let mut undeliverable = None;
        let mut socket = None;
        if self.request.len() <= UDP_REQUEST {
            match self.open() {
                Ok(opened) => match self.by_udp(&opened, deadline.at_most(UDP_ALONE.min(deadline.remaining() / 2)), judge)? {
                    Heard::Answer(answer) => return Ok(answer),
                    Heard::ByTcp(why) => why_tcp = Some(why),
                    Heard::Garbage(how) => self.garbage = Some(how),
                    Heard::Silence => socket = Some(opened),
                    Heard::Undeliverable(error) => undeliverable = Some(error),
                },
                Err(error) if is_local(&error) => return Err(Error::Local { how: error.to_string() }),
                Err(error) => undeliverable = Some(error),
            }
        }
        let fault = match self.by_tcp(judge) {
            Ok(answer) => return Ok(answer),
            Err(TcpFault::Connect(error) | TcpFault::Broken(error))
                if interrupted(&error) == Some(Interrupted::Cancelled) || self.cancel.is_cancelled() =>
            {
                return Err(Error::Cancelled { server });
            }
            Err(TcpFault::Connect(error)) if is_local(&error) => return Err(Error::Local { how: error.to_string() }),
            Err(fault) => fault,
        };
        // No TCP there, and the datagrams went somewhere: the rest of the time is theirs.
        if let (Some(socket), TcpFault::Connect(_)) = (&socket, &fault) {
            match self.by_udp(socket, deadline, judge)? {
                Heard::Answer(answer) => return Ok(answer),
                Heard::ByTcp(why) => why_tcp = Some(why),
                Heard::Garbage(how) => self.garbage = Some(how),
                Heard::Silence => {}
                Heard::Undeliverable(error) => undeliverable = Some(error),
            }
        }
        Err(self.verdict(why_tcp, undeliverable.as_ref(), &fault))
    }

    /// Everything failed: what to call it.
    fn verdict(&self, why_tcp: Option<&'static str>, undeliverable: Option<&io::Error>, fault: &TcpFault) -> Error {
        let server = self.server;
        let timed_out = matches!(fault, TcpFault::Connect(error) | TcpFault::Broken(error) if interrupted(error).is_some());
        let over_tcp = if timed_out { "no answer".to_owned() } else { fault.to_string() };
        if let Some(why) = why_tcp {
            return match fault {
                TcpFault::Garbage(how) => Error::Garbled { server, how: how.clone() },
                _ => Error::NoTcp { server, why, how: over_tcp },
            };
        }
        match (&self.garbage, fault) {
            (Some(how), TcpFault::Garbage(_)) | (None, TcpFault::Garbage(how)) => Error::Garbled { server, how: how.clone() },
            (Some(how), _) => Error::Garbled { server, how: format!("{how}; over TCP: {over_tcp}") },
            (None, fault) => {
                let udp = match (undeliverable, self.request.len() <= UDP_REQUEST) {
                    (Some(error), _) => format!("UDP: {error}; "),
                    (None, true) => "UDP: no answer; ".to_owned(),
                    (None, false) => String::new(),
                };
                let strangers = match self.strangers {
                    0 => String::new(),
                    count => format!("; {count} datagrams did not belong to the request (forged, or a broken server)"),
                };
                let how = format!("{udp}TCP: {over_tcp}{strangers}");
                let nobody = undeliverable.is_some() || self.request.len() > UDP_REQUEST;
                if nobody && !timed_out && matches!(fault, TcpFault::Connect(_)) {
                    Error::Unreachable { server, how }
                } else {
                    Error::NoAnswer { server, how }
                }
            }
        }
    }

    /// A datagram socket that hears the server alone, on a port of the kernel's choice.
    fn open(&self) -> io::Result<Socket> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(self.server), kind, Some(Protocol::UDP))?;
        socket.connect(&self.server.into())?;
        Ok(socket)
    }

    fn by_udp<T>(
        &mut self,
        socket: &Socket,
        until: Deadline,
        judge: &mut dyn FnMut(&[u8], Over) -> Judged<T>,
    ) -> Result<Heard<T>, Error> {
        let cancelled = Error::Cancelled { server: self.server };
        let mut buffer = vec![0; BUFFER];
        let mut pause = (until.remaining() / 8).clamp(FIRST_REPEAT.0, FIRST_REPEAT.1);
        loop {
            match socket.send(self.request) {
                Ok(_) => self.unanswered = self.unanswered.saturating_add(1),
                // The kernel's queue is full: as good as lost.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Ok(self.undelivered(error)),
            }
            let repeat = until.at_most(pause);
            pause = pause.saturating_mul(2);
            loop {
                match self.cancel.wait_for(socket.as_fd(), PollFlags::IN, repeat) {
                    Ok(()) => {}
                    Err(Interrupted::Cancelled) => return Err(cancelled),
                    Err(Interrupted::TimedOut) if until.is_over() => return Ok(Heard::Silence),
                    Err(Interrupted::TimedOut) => break,
                }
                let length = match (&*socket).read(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => continue,
                    Err(error) => return Ok(self.undelivered(error)),
                };
                let message = &buffer[..length];
                match belongs(self.request, message) {
                    Belongs::No => self.strangers = self.strangers.saturating_add(1),
                    Belongs::Broken(how) => return Ok(Heard::Garbage(how)),
                    Belongs::Yes => {
                        self.unanswered = self.unanswered.saturating_sub(1);
                        return Ok(match judge(message, Over::Udp) {
                            Judged::Take(answer) => Heard::Answer(answer),
                            Judged::ByTcp(why) => Heard::ByTcp(why),
                            Judged::Garbage(how) => Heard::Garbage(how),
                        });
                    }
                }
            }
        }
    }

    /// The system says that a datagram was not delivered.
    fn undelivered<T>(&mut self, error: io::Error) -> Heard<T> {
        self.unanswered = self.unanswered.saturating_sub(1);
        Heard::Undeliverable(error)
    }

    fn by_tcp<T>(&mut self, judge: &mut dyn FnMut(&[u8], Over) -> Judged<T>) -> Result<T, TcpFault> {
        let mut stream = Stream::connect_tcp(self.server, self.deadline, self.cancel).map_err(TcpFault::Connect)?;
        let length = u16::try_from(self.request.len()).map_err(|_| TcpFault::Garbage("the request is too long".to_owned()))?;
        let mut framed = Vec::with_capacity(self.request.len() + 2);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(self.request);
        self.unanswered = self.unanswered.saturating_add(1);
        stream.write_all(&framed).map_err(TcpFault::Broken)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).map_err(closed)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).map_err(closed)?;
        match belongs(self.request, &message) {
            Belongs::Yes => {}
            Belongs::No => return Err(TcpFault::Garbage("it belongs to another request".to_owned())),
            Belongs::Broken(how) => return Err(TcpFault::Garbage(how)),
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        match judge(&message, Over::Tcp) {
            Judged::Take(answer) => Ok(answer),
            Judged::ByTcp(_) => Err(TcpFault::Garbage("it is truncated over TCP".to_owned())),
            Judged::Garbage(how) => Err(TcpFault::Garbage(how)),
        }
    }
}

fn closed(error: io::Error) -> TcpFault {
    TcpFault::Broken(if error.kind() == io::ErrorKind::UnexpectedEof {
        io::Error::new(error.kind(), "the connection was closed before the answer was complete")
    } else {
        error
    })
}

/// Not the network's or the server's fault.
fn is_local(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

enum Belongs {
    Yes,
    No,
    Broken(String),
}

/// Whether a message answers a request: id, direction, opcode and question. Only what has the id can be more than a stranger.
fn belongs(request: &[u8], message: &[u8]) -> Belongs {
    let (Ok(request), Some(id)) = (Message::from_slice(request), message.first_chunk::<2>()) else {
        return Belongs::No;
    };
    if u16::from_be_bytes(*id) != request.header().id() {
        return Belongs::No;
    }
    let Ok(message) = Message::from_slice(message) else {
        return Belongs::Broken(format!("{} bytes are too few", message.len()));
    };
    let header = message.header();
    if !header.qr() || header.opcode() != request.header().opcode() {
        return Belongs::No;
    }
    if message.is_answer(request) {
        return Belongs::Yes;
    }
    // A server that did not understand the question, or did not read it, need not repeat it, nor need anybody repeat an update.
    let empty_means_yes =
        header.opcode() == Opcode::UPDATE || !matches!(header.rcode(), WireRcode::NOERROR | WireRcode::NXDOMAIN);
    if message.header_counts().qdcount() == 0 && empty_means_yes {
        return Belongs::Yes;
    }
    match message.question().collect::<Result<Vec<_>, _>>() {
        Ok(_) => Belongs::No,
        Err(error) => Belongs::Broken(error.to_string()),
    }
}

/// The code of an answer as the DNS calls it, the part in EDNS included.
pub(crate) fn rcode_word(message: &Message<[u8]>) -> String {
    match message.opt_rcode() {
        // The same number means something else in a signature.
        OptRcode::BADVERS => "BADVERS".to_owned(),
        code => code.to_mnemonic_str().map_or_else(|| format!("error code {}", code.to_int()), str::to_owned),
    }
}

#[cfg(feature = "rfc2136")]
/// Where a server says that a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this zone, which it speaks for.
    Zone(DnsName),
    /// In this zone, which it has given away to these name servers.
    Delegated(DnsName, Vec<String>),
}

#[cfg(feature = "rfc2136")]
/// What an answer to [`zone_query`] says; nothing where it says neither.
pub(crate) fn place(message: &[u8]) -> Option<Place> {
    let message = Message::from_slice(message).ok()?;
    if !matches!(message.header().rcode(), WireRcode::NOERROR | WireRcode::NXDOMAIN) || message.header().tc() {
        return None;
    }
    let mut given: Option<(DnsName, Vec<String>)> = None;
    let records = message.answer().ok()?.chain(message.authority().ok()?);
    for record in records.take(RECORDS).map_while(Result::ok).filter(|record| record.class() == Class::IN) {
        let owner = lower(&record.owner());
        match record.rtype() {
            Rtype::SOA if message.header().aa() => return Some(Place::Zone(owner)),
            // Where the name leads is no matter of the name's zone.
            Rtype::CNAME => return None,
            Rtype::NS => {
                let server = record.to_record::<Ns<_>>().ok()??;
                let (_, servers) = given.get_or_insert_with(|| (owner, Vec::new()));
                servers.push(dotted(&lower(server.data().nsdname())));
            }
            _ => {}
        }
    }
    let (zone, servers) = given.filter(|_| !message.header().aa())?;
    Some(Place::Delegated(zone, servers))
}

struct Row {
    owner: DnsName,
    ttl: u32,
    value: Value,
}

enum Value {
    Address(String),
    Alias(DnsName),
}

/// What an answer says about a name.
pub(crate) fn interpret(
    server: SocketAddr,
    name: &DnsName,
    record_type: RecordType,
    recursion_desired: bool,
    message: &[u8],
    over: Over,
) -> Judged<Result<Answer, Error>> {
    let Ok(message) = Message::from_slice(message) else {
        return Judged::Garbage(format!("{} bytes are too few", message.len()));
    };
    let header = message.header();
    let asked = || dotted(name);
    let rcode = match header.rcode() {
        _ if message.opt_rcode().is_ext() => {
            return Judged::Take(Err(Error::Rcode { server, rcode: rcode_word(message), name: asked() }));
        }
        WireRcode::NOERROR => Rcode::NoError,
        WireRcode::NXDOMAIN => Rcode::NxDomain,
        WireRcode::SERVFAIL => return Judged::Take(Err(Error::ServerFailure { server, name: asked() })),
        WireRcode::REFUSED => return Judged::Take(Err(Error::Refused { server, name: asked() })),
        _ => return Judged::Take(Err(Error::Rcode { server, rcode: rcode_word(message), name: asked() })),
    };
    if header.tc() {
        return match over {
            Over::Udp => Judged::ByTcp("its answer over UDP is truncated"),
            Over::Tcp => Judged::Garbage("it is truncated over TCP".to_owned()),
        };
    }
    let rows = match rows(message, record_type) {
        Ok(rows) => rows,
        Err(how) => return Judged::Garbage(how),
    };
    let (owner, aliases) = match follow(name, record_type, &rows) {
        Ok(found) => found,
        Err(how) => return Judged::Garbage(how),
    };
    let mut ttl = None;
    let mut values = Vec::new();
    for row in rows.iter().filter(|row| row.owner == owner) {
        values.push(match (&row.value, record_type) {
            (Value::Address(address), _) => address.clone(),
            (Value::Alias(target), RecordType::Cname) => dotted(target),
            (Value::Alias(_), _) => continue,
        });
        ttl = Some(ttl.unwrap_or(u32::MAX).min(row.ttl));
    }
    values.sort();
    values.dedup();
    let record = ttl.map(|ttl| RecordSet { values, ttl });
    if record.is_none() && recursion_desired && !header.ra() && !header.aa() {
        return Judged::Take(Err(Error::NoRecursion { server }));
    }
    let negative_ttl = if record.is_none() { negative_ttl(message) } else { None };
    let canonical = (aliases > 0).then(|| dotted(&owner));
    Judged::Take(Ok(Answer { record, authoritative: header.aa(), rcode, from: server, canonical, negative_ttl }))
}

/// The records of an answer that matter here.
fn rows(message: &Message<[u8]>, record_type: RecordType) -> Result<Vec<Row>, String> {
    let broken = |error: domain::base::wire::ParseError| error.to_string();
    let mut rows = Vec::new();
    for (count, record) in message.answer().map_err(broken)?.enumerate() {
        if count >= RECORDS {
            return Err(format!("it has more than {RECORDS} records"));
        }
        let record = record.map_err(broken)?;
        if record.class() != Class::IN {
            continue;
        }
        let value = match (record.rtype(), record_type) {
            (Rtype::A, RecordType::A) => {
                record.to_record::<A>().map_err(broken)?.map(|record| Value::Address(record.data().addr().to_string()))
            }
            (Rtype::AAAA, RecordType::Aaaa) => {
                record.to_record::<Aaaa>().map_err(broken)?.map(|record| Value::Address(record.data().addr().to_string()))
            }
            (Rtype::CNAME, _) => {
                record.to_record::<Cname<_>>().map_err(broken)?.map(|record| Value::Alias(lower(record.data().cname())))
            }
            _ => None,
        };
        if let Some(value) = value {
            rows.push(Row { owner: lower(&record.owner()), ttl: seconds(record.ttl().as_secs()), value });
        }
    }
    Ok(rows)
}

/// Follows CNAMEs from the name to where they lead: there, and how many.
fn follow(name: &DnsName, record_type: RecordType, rows: &[Row]) -> Result<(DnsName, usize), String> {
    let mut owner = name.clone();
    for aliases in 0..=CHAIN {
        let alias = rows.iter().find_map(|row| match &row.value {
            Value::Alias(target) if row.owner == owner && record_type != RecordType::Cname => Some(target),
            _ => None,
        });
        match alias {
            None => return Ok((owner, aliases)),
            Some(target) => owner = target.clone(),
        }
    }
    Err(format!("its CNAMEs go round in a circle, or are more than {CHAIN}"))
}

fn lower(name: &impl ToName) -> DnsName {
    let mut name: DnsName = name.to_vec();
    name.make_canonical();
    name
}

/// The highest bit of a TTL means zero (RFC 2181).
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl }
}

fn negative_ttl(message: &Message<[u8]>) -> Option<u32> {
    let soa = message.authority().ok()?.limit_to_in::<Soa<_>>().take(RECORDS).find_map(Result::ok)?;
    Some(seconds(soa.ttl().as_secs()).min(seconds(soa.data().minimum().as_secs())))
}

/// Takes bytes for an answer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let server = SocketAddr::from(([127, 0, 0, 1], 53));
    let Ok(name) = parse_name("app.example.com") else { return };
    for record_type in [RecordType::A, RecordType::Aaaa, RecordType::Cname] {
        let Ok(request) = query(&name, record_type, true, true) else { return };
        let mut request = request.finish();
        if let Some(id) = bytes.first_chunk::<2>() {
            request[..2].copy_from_slice(id);
        }
        let _ = belongs(&request, bytes);
        let _ = interpret(server, &name, record_type, true, bytes, Over::Udp);
    }
}
