//! HTTP over our own sockets: `ureq` speaks it, every wait shares one deadline and ends when it is cancelled, and no name is
//! resolved on the way.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use native_tls::{Certificate, HandshakeError, TlsConnector, TlsStream};
use parking_lot::Mutex;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::header::{DATE, HeaderName, HeaderValue, LOCATION};
use ureq::http::uri::Scheme;
use ureq::http::{Method, Request};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use super::http_head::Head;
use super::resolve::Addresses;
use super::socket::{Stream, interrupted};
use crate::deadline::{Cancel, Deadline, Interrupted};

/// Bytes of a status line and headers together.
const HEADER_LIMIT: usize = 64 * 1024;

/// Bytes that are read at once, beside a head that needs more room. `ureq` takes 256 KiB for each request, and clears them.
const READ_ROOM: usize = 16 * 1024;
/// Bytes of a request beside its URL and the headers of the caller.
const REQUEST_ROOM: usize = 2 * 1024;

/// Bytes that headers take in a request.
pub(crate) fn room_of<'a>(headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> usize {
    headers.into_iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// An agent for one request over `connector`: no redirects, nothing kept, and not the environment's proxy. `longest`: bytes of the URL and
/// the caller's headers, or of the body if that is more.
pub(crate) fn agent(connector: DeadlineConnector, longest: usize) -> Agent {
    let config = Config::builder()
        .input_buffer_size(READ_ROOM)
        .output_buffer_size(longest.saturating_add(REQUEST_ROOM))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .max_response_header_size(HEADER_LIMIT)
        .user_agent(concat!("libfailover/", env!("CARGO_PKG_VERSION")))
        .proxy(None)
        .build();
    Agent::with_parts(config, connector, NoResolver)
}

/// TLS that trusts the system's certificates, or only those in a PEM file.
///
/// # Errors
/// One line saying what is wrong with the file or with the system's TLS.
pub(crate) fn tls(ca_file: Option<&Path>) -> Result<TlsConnector, String> {
    let mut builder = TlsConnector::builder();
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|error| format!("ca_file {}: {error}", path.display()))?;
        let certificates = Certificate::stack_from_pem(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(format!("ca_file {} holds no certificate in PEM form", path.display()));
        }
        builder.disable_built_in_roots(true);
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| format!("TLS cannot be set up: {error}"))
}

/// The host, without brackets, and the port of a URL.
///
/// # Errors
/// One line saying what it lacks. It never quotes the URL.
pub(crate) fn host_and_port(url: &Uri) -> Result<(String, u16), String> {
    let default = match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => 80,
        Some(scheme) if *scheme == Scheme::HTTPS => 443,
        _ => return Err("the URL does not begin with http:// or https://".to_owned()),
    };
    let host = url.host().unwrap_or_default();
    if host.is_empty() {
        return Err("the URL names no host".to_owned());
    }
    // What stands behind the host and is no port is not an error of the URL's grammar, and would be ignored.
    let named = url.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    if named.len() > host.len() && url.port_u16().is_none_or(|port| port == 0) {
        return Err("the URL's port is not a number from 1 to 65535".to_owned());
    }
    Ok((host.trim_matches(['[', ']']).to_owned(), url.port_u16().unwrap_or(default)))
}

/// What happened on the sockets of one request, as the transport saw it: `ureq` and TLS would blur it.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    state: Mutex<(Phase, Option<Trouble>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Connecting,
    Handshake,
    Talking,
    TalkingTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Ended(Interrupted),
    System(io::ErrorKind, Option<i32>),
    EndOfStream,
}

impl Wire {
    /// How far the request came, and what stopped it.
    pub(crate) fn seen(&self) -> (Phase, Option<Trouble>) {
        *self.state.lock()
    }

    fn enter(&self, phase: Phase) {
        self.state.lock().0 = phase;
    }

    fn note(&self, error: &io::Error) {
        let trouble = match interrupted(error) {
            Some(why) => Trouble::Ended(why),
            None => Trouble::System(error.kind(), error.raw_os_error()),
        };
        self.state.lock().1 = Some(trouble);
    }
}

/// One request to an API and its whole answer.
pub(crate) struct Exchange<'a> {
    /// Where names become addresses.
    pub(crate) addresses: &'a dyn Addresses,
    /// For `https://`. `None`: such a URL fails.
    pub(crate) tls: Option<&'a TlsConnector>,
    /// Ends it.
    pub(crate) deadline: Deadline,
    /// Ends it too.
    pub(crate) cancel: &'a Cancel,
    /// Bytes of the body at most; a longer one is an error.
    pub(crate) body_limit: usize,
}

/// What came back.
pub(crate) struct Reply {
    /// The status code. Redirects are not followed.
    pub(crate) status: u16,
    /// The `Date` header.
    #[cfg_attr(not(feature = "route53"), expect(dead_code))]
    pub(crate) date: Option<String>,
    /// The `Location` header.
    pub(crate) location: Option<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Why no whole answer came back.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// The request may have reached the server.
    #[cfg_attr(not(feature = "route53"), expect(dead_code))]
    pub(crate) sent: bool,
    /// One line for people.
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The cancel signal.
    Cancelled,
    /// The deadline.
    TimedOut,
    /// No address, no route, nobody there, or a connection that ended early.
    Unreachable,
    /// Certificates or protocol versions that do not fit.
    Tls,
    /// Not HTTP.
    Garbage,
    /// More than the limit.
    TooLong,
}

impl Exchange<'_> {
    /// Sends a request over a connection of its own and reads the answer.
    pub(crate) fn run(&self, request: Request<&[u8]>) -> Result<Reply, Fault> {
        let before = |kind, message| Fault { kind, sent: false, message };
        if self.cancel.is_cancelled() {
            return Err(before(FaultKind::Cancelled, "cancelled".to_owned()));
        }
        let (host, port) = host_and_port(request.uri()).map_err(|why| before(FaultKind::Garbage, why))?;
        let tls = match (request.uri().scheme() == Some(&Scheme::HTTPS), self.tls) {
            (true, Some(tls)) => Some(tls.clone()),
            (true, None) => return Err(before(FaultKind::Tls, "no TLS here".to_owned())),
            (false, _) => None,
        };
        let addresses = self.addresses.addresses(&host, port).map_err(|why| before(FaultKind::Unreachable, why))?;
        let wire = Arc::new(Wire::default());
        let connector = DeadlineConnector {
            addresses,
            tls,
            deadline: self.deadline,
            cancel: self.cancel.clone(),
            wire: Arc::clone(&wire),
            wanted: None,
        };
        let agent = agent(connector, room_of(request.headers()) + request.uri().to_string().len().max(request.body().len()));
        // A request with an empty body announces its length; one without any must not.
        let bare = matches!(*request.method(), Method::GET | Method::HEAD);
        let outcome = if bare { agent.run(request.map(|_| ())) } else { agent.run(request) };
        let response = outcome.map_err(|error| wire.fault(&error.to_string()))?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (date, location) = (header(DATE), header(LOCATION));
        let mut body = Vec::new();
        let limit = u64::try_from(self.body_limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = response.into_body().into_reader().take(limit).read_to_end(&mut body);
        if let Err(error) = read {
            return Err(wire.fault(&format!("status {status}, then {error}")));
        }
        if body.len() > self.body_limit {
            let message = format!("status {status} with more than {} bytes", self.body_limit);
            return Err(Fault { kind: FaultKind::TooLong, sent: true, message });
        }
        Ok(Reply { status, date, location, body })
    }
}

impl Wire {
    /// What a failed request means. `words` are the library's.
    fn fault(&self, words: &str) -> Fault {
        let (phase, trouble) = self.seen();
        let sent = matches!(phase, Phase::Talking | Phase::TalkingTls);
        let kind = match (phase, trouble) {
            (_, Some(Trouble::Ended(Interrupted::TimedOut))) => FaultKind::TimedOut,
            (_, Some(Trouble::Ended(Interrupted::Cancelled))) => FaultKind::Cancelled,
            (Phase::Connecting, _) | (_, Some(_)) => FaultKind::Unreachable,
            (Phase::Handshake, None) => FaultKind::Tls,
            (Phase::Talking | Phase::TalkingTls, None) => FaultKind::Garbage,
        };
        let message = match (kind, phase) {
            (FaultKind::Cancelled, _) => "cancelled".to_owned(),
            (FaultKind::TimedOut, Phase::Connecting) => "no connection in time".to_owned(),
            (FaultKind::TimedOut, _) => "no complete answer in time".to_owned(),
            (FaultKind::Tls, _) => format!("TLS: {words}"),
            _ => words.to_owned(),
        };
        let message = message.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Fault { kind, sent, message }
    }
}

/// The socket under a request. Notes what went wrong on it.
#[derive(Debug)]
struct Tap {
    stream: Stream,
    wire: Arc<Wire>,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = self.stream.read(buffer);
        match &outcome {
            Ok(0) if !buffer.is_empty() => self.wire.state.lock().1 = Some(Trouble::EndOfStream),
            Ok(_) => {}
            Err(error) => self.wire.note(error),
        }
        outcome
    }
}

impl Write for Tap {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer).inspect_err(|error| self.wire.note(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Connects to addresses that are known already, with TLS where the URL wants it.
pub(crate) struct DeadlineConnector {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tls: Option<TlsConnector>,
    pub(crate) deadline: Deadline,
    pub(crate) cancel: Cancel,
    pub(crate) wire: Arc<Wire>,
    /// A header of the answer that is looked at.
    pub(crate) wanted: Option<String>,
}

impl fmt::Debug for DeadlineConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineConnector").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Connector for DeadlineConnector {
    type Out = DeadlineTransport;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<DeadlineTransport>, ureq::Error> {
        let stream =
            Stream::connect_any(&self.addresses, self.deadline, &self.cancel).inspect_err(|error| self.wire.note(error))?;
        let tap = Tap { stream, wire: Arc::clone(&self.wire) };
        let channel = match &self.tls {
            None => Channel::Plain(tap),
            Some(tls) => {
                self.wire.enter(Phase::Handshake);
                let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
                let session = tls.connect(host, tap).map_err(|error| match error {
                    HandshakeError::Failure(error) => ureq::Error::from(error),
                    // Our sockets wait by themselves, so TLS never sees one that would block.
                    HandshakeError::WouldBlock(_) => ureq::Error::Tls("the handshake stopped half way"),
                })?;
                Channel::Tls(Box::new(session))
            }
        };
        self.wire.enter(if self.tls.is_some() { Phase::TalkingTls } else { Phase::Talking });
        let output_room = details.config.output_buffer_size();
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), output_room);
        let head = Head::new(HEADER_LIMIT, self.wanted.as_deref());
        Ok(Some(DeadlineTransport { channel, buffers, output_room, head }))
    }
}

#[derive(Debug)]
enum Channel {
    Plain(Tap),
    Tls(Box<TlsStream<Tap>>),
}

/// `ureq`'s view of the socket. Its own time-outs are not used: the socket has the deadline.
#[derive(Debug)]
pub(crate) struct DeadlineTransport {
    channel: Channel,
    buffers: LazyBuffers,
    output_room: usize,
    head: Head,
}

impl DeadlineTransport {
    /// `ureq` reads a head when all of it is in its buffer.
    fn make_room_for_head(&mut self) {
        let wanted = self.head.waiting();
        if self.buffers.input_append_buf().len() >= wanted {
            return;
        }
        let before = self.buffers.input().to_vec();
        let mut larger = LazyBuffers::new(before.len() + wanted + READ_ROOM, self.output_room);
        larger.input_append_buf()[..before.len()].copy_from_slice(&before);
        larger.input_appended(before.len());
        self.buffers = larger;
    }
}

impl Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(stream) => stream.read(buffer),
            Channel::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Transport for DeadlineTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let output = &self.buffers.output()[..amount];
        match &mut self.channel {
            Channel::Plain(stream) => stream.write_all(output)?,
            Channel::Tls(stream) => stream.write_all(output)?,
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        loop {
            self.make_room_for_head();
            let input = self.buffers.input_append_buf();
            let count = if self.head.is_over() { self.channel.read(input)? } else { self.head.give(input) };
            if count > 0 || self.head.is_over() {
                self.buffers.input_appended(count);
                return Ok(count > 0);
            }
            let mut piece = [0; 4096];
            match self.channel.read(&mut piece)? {
                0 => self.head.finish(),
                count => self.head.take(&piece[..count]),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Never kept for another request.
        false
    }

    fn is_tls(&self) -> bool {
        matches!(self.channel, Channel::Tls(_))
    }
}

/// The connector has its addresses already; `ureq` only wants to see one.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(addresses)
    }
}
