//! PostgreSQL sessions with a hard deadline: the protocol's messages over our own socket.
//!
//! The usual client library can neither be bounded on a stopped server nor be dropped without a wait. Here every call has one
//! overall deadline, memory is bounded whatever the peer sends, and dropping a [`Session`] never waits.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use bytes::{Buf, BytesMut};
use fallible_iterator::FallibleIterator;
use native_tls::TlsStream;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use postgres_protocol::message::backend::{DataRowBody, Message, RowDescriptionBody};
use postgres_protocol::message::frontend;
use rustix::event::PollFlags;

use super::resolve::Addresses;
use super::stream::{Fault, Stream, connect_tcp, connect_unix, plain};
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::secret::Secret;

mod error;
pub(crate) mod login;
mod sample;
mod scram;
mod settings;
mod startup;
mod tls;
pub(crate) mod version;

pub(crate) use error::{ENDED_AT_START, Error, ServerError, WAITING_FOR_START};
pub(crate) use sample::{SAMPLE_SQL, read_sample, sample};
pub(crate) use scram::KeptKeys;
use scram::{Binding, Exchange};
use settings::Level;
pub(crate) use settings::{OWN_SEARCH_PATH, SessionSettings};
pub(crate) use startup::StartupWait;
pub(crate) use tls::{SslMode, Tls, TlsSettings};

/// The longest message taken while a session is being made.
const STARTUP_MESSAGE_MAX: usize = 64 * 1024;
/// The longest text taken of a postmaster that cannot start a process.
const OLD_ERROR_MAX: usize = 1_000;
/// The longest message taken as part of an answer.
const MESSAGE_MAX: usize = 1024 * 1024;
/// The most bytes taken for one answer, or while a session is being made.
const EXCHANGE_MAX: usize = 4 * 1024 * 1024;
/// The most messages taken for one answer.
const MESSAGES_MAX: u32 = 20_000;
/// The most rows kept of one answer.
const ROWS_MAX: usize = 10_000;
/// The most server parameters kept.
const PARAMETERS_MAX: usize = 64;
/// Read from the socket at once.
const CHUNK: usize = 8 * 1024;
/// The most notices kept of one answer.
const NOTICES_MAX: usize = 16;

/// Whom to connect to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// The role.
    pub user: String,
    /// Its password, if the server asks for one.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// How much TLS, and with which certificates.
    pub tls: Tls,
    /// What the server shows as `application_name`: `libfailover/<instance>`.
    pub application_name: String,
    /// What was derived from the password for earlier sessions; to begin with the default.
    pub keys: KeptKeys,
    /// What its sessions set for themselves.
    pub settings: SessionSettings,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A name or address, and a port.
    Tcp {
        /// The host's name or literal address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket `.s.PGSQL.<port>`.
    Unix {
        /// The folder it lies in.
        directory: PathBuf,
        /// The port in its name.
        port: u16,
    },
}

impl Endpoint {
    /// The endpoint of a host as libpq reads it: one that starts with `/` is the folder of a Unix socket.
    #[must_use]
    pub(crate) fn new(host: &str, port: u16) -> Endpoint {
        if host.starts_with('/') {
            Endpoint::Unix { directory: PathBuf::from(host), port }
        } else {
            Endpoint::Tcp { host: host.to_owned(), port }
        }
    }
}

impl Endpoint {
    /// As [`Endpoint::new`] takes it.
    #[must_use]
    pub(crate) fn as_configured(&self) -> (String, u16) {
        match self {
            Endpoint::Tcp { host, port } => (host.clone(), *port),
            Endpoint::Unix { directory, port } => (directory.display().to_string(), *port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix { directory, port } => write!(f, "{}/.s.PGSQL.{port}", directory.display()),
        }
    }
}

/// The rows of a query, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// The value of a named column, or `None` where it is NULL or not there.
    #[must_use]
    pub(crate) fn get(&self, row: usize, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(place)?.as_deref()
    }

    /// The first value of the first row.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn first(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// True when there is no row.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Where a session went, for the cancel request that follows it.
#[derive(Clone, Debug)]
enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

impl Transport {
    fn stream(&self) -> &Stream {
        match self {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref(),
        }
    }

    fn stream_mut(&mut self) -> &mut Stream {
        match self {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_mut(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.read(buffer),
            // A server that dies does not say good-bye in TLS either: the library calls that an error, we an end.
            Transport::Tls(stream) => match stream.read(buffer) {
                Err(error) if error.kind() != ErrorKind::WouldBlock && stream.get_ref().has_ended() => Ok(0),
                other => other,
            },
        }
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.write(buffer),
            Transport::Tls(stream) => stream.write(buffer),
        }
    }

    fn certificate_left(&self) -> Option<i64> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => tls::peer_certificate_left(stream),
        }
    }

    fn tls_server_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.tls_server_end_point().ok().flatten(),
        }
    }
}

/// How one attempt to connect deals with TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Off,
    IfOffered,
    Demanded,
}

/// One step of an answer.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A notice came.
    Notice(ServerError),
    /// The answer is complete: the rows of the last statement that returned any, or the first error.
    Complete(Result<Rows, ServerError>),
}

/// An answer on its way.
#[derive(Debug, Default)]
struct Reply {
    rows: Rows,
    error: Option<ServerError>,
}

/// One authenticated connection.
///
/// An ERROR of the server leaves it usable. So does a time-out: the next query first takes the rest of the late answer, within
/// its own deadline. Everything else breaks it. Dropping it says good-bye if that needs no wait.
#[derive(Debug)]
pub(crate) struct Session {
    transport: Transport,
    incoming: BytesMut,
    outgoing: BytesMut,
    reply: Option<Reply>,
    notices: Vec<ServerError>,
    broken: Option<String>,
    bytes_left: usize,
    messages_left: u32,
    message_max: usize,
    parameters: BTreeMap<String, String>,
    key: Option<(i32, i32)>,
    peer: Peer,
}

impl Session {
    /// Seconds that the server's certificate has left, negative once it has expired; `None` without TLS.
    #[must_use]
    pub(crate) fn certificate_left(&self) -> Option<i64> {
        self.transport.certificate_left()
    }

    /// Connects and authenticates, all addresses and all attempts within one deadline.
    ///
    /// # Errors
    /// Every [`Error`]; [`Error::verdict`] says what it means.
    pub(crate) fn connect(
        target: &Target,
        addresses: &dyn Addresses,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Session, Error> {
        let (settings, endpoint) = (&target.settings, target.endpoint.to_string());
        let mut level = settings.level(&endpoint);
        loop {
            let error = match Session::connect_at(target, level, addresses, deadline, cancel) {
                Ok(mut session) => {
                    if let Some(sql) = settings.taken(&endpoint, level, session.parameter("server_version")) {
                        session.query(&sql, deadline, cancel)?;
                    }
                    return Ok(session);
                }
                Err(error) => error,
            };
            // Each refusal takes the level down: this ends.
            let lower = error.server().and_then(|said| SessionSettings::refused(level, said));
            level = lower.ok_or(error)?;
        }
    }

    /// With the settings of one level.
    fn connect_at(
        target: &Target,
        level: Level,
        addresses: &dyn Addresses,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Session, Error> {
        let (places, attempts): (_, &[Encryption]) = match &target.endpoint {
            Endpoint::Unix { .. } => (Vec::new(), &[Encryption::Off]),
            Endpoint::Tcp { host, port } => {
                let places = addresses.addresses(host, *port).map_err(Error::Resolve)?;
                let attempts: &[Encryption] = match target.tls.mode() {
                    SslMode::Disable => &[Encryption::Off],
                    SslMode::Allow => &[Encryption::Off, Encryption::Demanded],
                    SslMode::Prefer => &[Encryption::IfOffered, Encryption::Off],
                    SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Demanded],
                };
                (places, attempts)
            }
        };
        let mut first_error = None;
        for encryption in attempts {
            match Session::attempt(target, level, &places, *encryption, deadline, cancel) {
                Ok(session) => return Ok(session),
                // Only what the other way could mend is tried the other way: a broken handshake, or a rule of pg_hba.conf.
                Err(error) if matches!(&error, Error::Tls(_)) || error.server().is_some_and(|said| said.sqlstate == "28000") => {
                    first_error.get_or_insert(error);
                }
                // Where the second way fails for another reason than the first, the server's state has changed: newest wins.
                Err(error) => return Err(error),
            }
        }
        Err(first_error.unwrap_or_else(|| Error::Local("no way to connect was tried".into())))
    }

    fn attempt(
        target: &Target,
        level: Level,
        places: &[SocketAddr],
        encryption: Encryption,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Session, Error> {
        let (mut stream, peer) = match &target.endpoint {
            Endpoint::Tcp { .. } => {
                let (stream, address) = connect_tcp(places, deadline, cancel).map_err(Error::Connect)?;
                (stream, Peer::Tcp(address))
            }
            Endpoint::Unix { directory, port } => {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                (connect_unix(&path, deadline, cancel).map_err(Error::Connect)?, Peer::Unix(path))
            }
        };
        stream.bound(deadline, cancel);
        let transport = match &target.endpoint {
            Endpoint::Tcp { host, .. } if encryption != Encryption::Off => {
                encrypt(stream, host, &target.tls, encryption == Encryption::Demanded)?
            }
            _ => Transport::Plain(stream),
        };
        let mut session = Session {
            transport,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            reply: None,
            notices: Vec::new(),
            broken: None,
            bytes_left: EXCHANGE_MAX,
            messages_left: MESSAGES_MAX,
            message_max: STARTUP_MESSAGE_MAX,
            parameters: BTreeMap::new(),
            key: None,
            peer,
        };
        session.transport.stream_mut().unbound();
        session.start(target, level, deadline, cancel)?;
        session.message_max = MESSAGE_MAX;
        Ok(session)
    }

    /// From the startup message to the first `ReadyForQuery`.
    fn start(&mut self, target: &Target, level: Level, deadline: Deadline, cancel: &Cancel) -> Result<(), Error> {
        let parameters = [
            ("user", target.user.as_str()),
            ("database", target.database.as_str()),
            ("application_name", target.application_name.as_str()),
        ];
        let settings = target.settings.parameters(level);
        frontend::startup_message(parameters.into_iter().chain(settings), &mut self.outgoing).map_err(unsendable)?;
        self.authenticate(target, deadline, cancel)?;
        loop {
            match self.message(deadline, cancel, WAITING_FOR_START)? {
                Message::BackendKeyData(body) => self.key = Some((body.process_id(), body.secret_key())),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(Error::Server(ServerError::read(body.fields())?.at_start())),
                other => self.aside(&other)?,
            }
        }
    }

    fn authenticate(&mut self, target: &Target, deadline: Deadline, cancel: &Cancel) -> Result<(), Error> {
        const DOING: &str = "authenticating";
        let password = || {
            target.password.as_ref().ok_or_else(|| {
                Error::Authentication(format!("the server asks for the password of \"{}\" and none is configured", target.user))
            })
        };
        let mut scram: Option<Exchange> = None;
        // A server says that we are in together with its next words: behind the last proof everything is the session's start.
        let mut doing = DOING;
        loop {
            match self.message(deadline, cancel, doing)? {
                // A server that knows no verifier of ours must not be able to skip its proof.
                Message::AuthenticationOk if scram.as_ref().is_some_and(|exchange| !exchange.is_proven) => {
                    return Err(Error::Authentication("the server did not prove that it knows the password".into()));
                }
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(password()?.expose().as_bytes(), &mut self.outgoing).map_err(unsendable)?;
                    doing = WAITING_FOR_START;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(target.user.as_bytes(), password()?.expose().as_bytes(), body.salt());
                    frontend::password_message(hash.as_bytes(), &mut self.outgoing).map_err(unsendable)?;
                    doing = WAITING_FOR_START;
                }
                Message::AuthenticationSasl(body) => {
                    let (mut plain, mut plus) = (false, false);
                    let mut mechanisms = body.mechanisms();
                    while let Some(mechanism) = mechanisms.next().map_err(|error| garbled(&error))? {
                        plain |= mechanism == SCRAM_SHA_256;
                        plus |= mechanism == SCRAM_SHA_256_PLUS;
                    }
                    let (mechanism, binding) = match (self.transport.tls_server_end_point(), plus, plain) {
                        (Some(hash), true, _) => (SCRAM_SHA_256_PLUS, Binding::EndPoint(hash)),
                        (Some(_), false, true) => (SCRAM_SHA_256, Binding::NotOffered),
                        (None, _, true) => (SCRAM_SHA_256, Binding::Impossible),
                        _ => return Err(Error::Authentication("the server offers only methods that are not supported".into())),
                    };
                    password()?;
                    let exchange = Exchange::new(binding).map_err(Error::Local)?;
                    let first = exchange.first();
                    frontend::sasl_initial_response(mechanism, first.as_bytes(), &mut self.outgoing).map_err(unsendable)?;
                    scram = Some(exchange);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let exchange = scram.as_mut().ok_or_else(|| Error::Protocol("a SASL answer out of turn".into()))?;
                    let answer = exchange.answer(body.data(), password()?, &target.keys).map_err(|error| unproven(&error))?;
                    frontend::sasl_response(answer.as_bytes(), &mut self.outgoing).map_err(unsendable)?;
                    doing = WAITING_FOR_START;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let exchange = scram.as_mut().ok_or_else(|| Error::Protocol("a SASL answer out of turn".into()))?;
                    exchange.finish(body.data()).map_err(|error| unproven(&error))?;
                }
                Message::AuthenticationGss
                | Message::AuthenticationSspi
                | Message::AuthenticationKerberosV5
                | Message::AuthenticationScmCredential => {
                    return Err(Error::Authentication(
                        "the server demands GSSAPI, SSPI or another method that is not supported; use SCRAM, a client certificate or peer".into(),
                    ));
                }
                Message::ErrorResponse(body) => return Err(Error::Server(ServerError::read(body.fields())?)),
                other => self.aside(&other)?,
            }
        }
    }

    /// Runs one or several statements in one go (simple query protocol) and returns the rows of the last one that returned
    /// any. At most 10,000 rows and 4 MiB.
    ///
    /// # Errors
    /// [`Error::Server`] with the first error of the statements; after it, and after a time-out, the session is still usable.
    /// After every other error it is not.
    pub(crate) fn query(&mut self, sql: &str, deadline: Deadline, cancel: &Cancel) -> Result<Rows, Error> {
        while self.is_busy() {
            self.wait_progress(deadline, cancel, "waiting for the late answer to an earlier query")?;
        }
        self.begin(sql)?;
        loop {
            if let Progress::Complete(answer) = self.wait_progress(deadline, cancel, "waiting for the answer")? {
                return answer.map_err(Error::Server);
            }
        }
    }

    /// Asks the server to cancel what this session is running, over a connection of its own. Returns once the server has
    /// taken the request; the outcome shows in the session.
    ///
    /// # Errors
    /// When the request could not be delivered.
    pub(crate) fn cancel_query(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), Error> {
        let (process, secret) = self.key.ok_or_else(|| Error::Local("the server gave no key to cancel with".into()))?;
        let mut stream = match &self.peer {
            Peer::Tcp(address) => connect_tcp(&[*address], deadline, cancel).map_err(Error::Connect)?.0,
            Peer::Unix(path) => connect_unix(path, deadline, cancel).map_err(Error::Connect)?,
        };
        stream.bound(deadline, cancel);
        let mut request = BytesMut::new();
        frontend::cancel_request(process, secret, &mut request);
        stream.write_all(&request).map_err(|error| broken_off(&error, "sending a cancel request"))?;
        // The server closes without a word once it has acted.
        match stream.read(&mut [0; 1]) {
            Ok(_) => Ok(()),
            Err(error) if Fault::of(&error) == Fault::Reset => Ok(()),
            Err(error) => Err(broken_off(&error, "waiting for a cancel request to be taken")),
        }
    }

    /// A parameter that the server reported, for example `server_version`.
    #[must_use]
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The process id of the server's process behind this session.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn process_id(&self) -> Option<i32> {
        self.key.map(|(process, _)| process)
    }

    /// The notices and warnings that came with the last answer, at most 16.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn notices(&self) -> &[ServerError] {
        &self.notices
    }

    /// True while an answer is outstanding.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        self.reply.is_some()
    }

    /// True while something waits to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Queues a query; [`Session::progress`] sends it and takes the answer.
    pub(crate) fn begin(&mut self, sql: &str) -> Result<(), Error> {
        if let Some(why) = &self.broken {
            return Err(Error::Broken(why.clone()));
        }
        // An unsendable text leaves half a message behind: never in the buffer that is sent.
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(unsendable)?;
        self.outgoing.unsplit(message);
        self.reply = Some(Reply::default());
        self.notices.clear();
        self.bytes_left = EXCHANGE_MAX;
        self.messages_left = MESSAGES_MAX;
        Ok(())
    }

    /// Goes on with whatever is under way, without waiting. `None`: nothing more to be had now.
    pub(crate) fn progress(&mut self) -> Result<Option<Progress>, Error> {
        if let Some(why) = &self.broken {
            return Err(Error::Broken(why.clone()));
        }
        let result = self.progress_inner();
        if let Err(error) = &result {
            self.broken = Some(error.to_string());
        }
        result
    }

    fn progress_inner(&mut self) -> Result<Option<Progress>, Error> {
        let doing = if self.is_busy() { "waiting for the answer" } else { "idle" };
        while let Some(message) = self.try_message(doing)? {
            if let Some(progress) = self.take(message)? {
                return Ok(Some(progress));
            }
        }
        Ok(None)
    }

    /// Takes one message of an answer.
    fn take(&mut self, message: Message) -> Result<Option<Progress>, Error> {
        let message = match message {
            Message::NoticeResponse(body) => {
                let notice = ServerError::read(body.fields())?;
                self.note(notice.clone());
                return Ok(Some(Progress::Notice(notice)));
            }
            Message::ErrorResponse(body) => {
                let error = ServerError::read(body.fields())?;
                return match &mut self.reply {
                    Some(reply) if !error.is_fatal() => {
                        reply.error.get_or_insert(error);
                        Ok(None)
                    }
                    // Fatal, or out of the blue: these are its last words.
                    _ => Err(Error::Server(error)),
                };
            }
            Message::ReadyForQuery(_) => {
                return match self.reply.take() {
                    Some(Reply { error: Some(error), .. }) => Ok(Some(Progress::Complete(Err(error)))),
                    Some(Reply { rows, error: None }) => Ok(Some(Progress::Complete(Ok(rows)))),
                    None => Err(Error::Protocol("an answer that nobody asked for".into())),
                };
            }
            other => other,
        };
        match (&mut self.reply, message) {
            (Some(reply), Message::RowDescription(body)) => reply.rows = Rows { columns: columns(&body)?, rows: Vec::new() },
            (Some(reply), Message::DataRow(body)) => {
                if reply.rows.rows.len() >= ROWS_MAX {
                    return Err(Error::Protocol(format!("more than {ROWS_MAX} rows")));
                }
                reply.rows.rows.push(values(&body)?);
            }
            (Some(_), Message::CommandComplete(_) | Message::EmptyQueryResponse) => {}
            (_, message @ (Message::ParameterStatus(_) | Message::NotificationResponse(_))) => self.aside(&message)?,
            (_, message) => return Err(Error::Protocol(format!("{} out of turn", name(&message)))),
        }
        Ok(None)
    }

    /// A message that may come at any time.
    fn aside(&mut self, message: &Message) -> Result<(), Error> {
        match message {
            Message::ParameterStatus(body) => {
                let (name, value) = (body.name().map_err(|e| garbled(&e))?, body.value().map_err(|e| garbled(&e))?);
                if self.parameters.contains_key(name) || self.parameters.len() < PARAMETERS_MAX {
                    self.parameters.insert(error::one_line(name, 100), error::one_line(value, 300));
                }
                Ok(())
            }
            Message::NoticeResponse(body) => {
                let notice = ServerError::read(body.fields())?;
                self.note(notice);
                Ok(())
            }
            Message::NotificationResponse(_) => Ok(()),
            other => Err(Error::Protocol(format!("{} out of turn", name(other)))),
        }
    }

    fn note(&mut self, notice: ServerError) {
        // The last ones count: a dying server's last words are a warning.
        if self.notices.len() == NOTICES_MAX {
            self.notices.remove(0);
        }
        self.notices.push(notice);
    }

    /// Waits for the next step of an answer.
    fn wait_progress(&mut self, deadline: Deadline, cancel: &Cancel, doing: &str) -> Result<Progress, Error> {
        loop {
            check(deadline, cancel, doing)?;
            if let Some(progress) = self.progress()? {
                return Ok(progress);
            }
            self.wait(deadline, cancel, doing)?;
        }
    }

    /// Waits for the next message.
    fn message(&mut self, deadline: Deadline, cancel: &Cancel, doing: &str) -> Result<Message, Error> {
        loop {
            check(deadline, cancel, doing)?;
            if let Some(message) = self.try_message(doing)? {
                return Ok(message);
            }
            self.wait(deadline, cancel, doing)?;
        }
    }

    fn wait(&self, deadline: Deadline, cancel: &Cancel, doing: &str) -> Result<(), Error> {
        let wanted = if self.has_unsent() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        cancel.wait_for(self.as_fd(), wanted, deadline).map_err(|why| interrupted(why, doing))
    }

    /// Sends what is to be sent and returns the next message if it is here, without waiting. How much is read for one message is
    /// bounded, so the caller looks at the clock often enough.
    fn try_message(&mut self, doing: &str) -> Result<Option<Message>, Error> {
        // A server that is gone may have left its last words: read before a failed write is believed.
        let unsent = self.send_some();
        loop {
            if let Some(message) = self.parse()? {
                return Ok(Some(message));
            }
            match self.receive() {
                Ok(0) => return Err(self.end(doing)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return match unsent {
                        Err(error) => Err(self.last_words(broken_off(&error, doing))),
                        Ok(()) => Ok(None),
                    };
                }
                Err(error) => return Err(self.last_words(broken_off(&error, doing))),
            }
        }
    }

    fn send_some(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.transport.write(&self.outgoing) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => self.outgoing.advance(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut chunk = [0; CHUNK];
        let read = self.transport.read(&mut chunk)?;
        self.incoming.extend_from_slice(&chunk[..read]);
        Ok(read)
    }

    /// Takes one whole message out of what has been received. Its length is judged before anything is kept for it.
    fn parse(&mut self) -> Result<Option<Message>, Error> {
        let &[tag, a, b, c, d, ..] = &self.incoming[..] else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if !(4..=self.message_max).contains(&length) {
            if tag == b'E' && self.key.is_none() && self.messages_left == MESSAGES_MAX {
                return self.error_without_a_process();
            }
            return Err(Error::Protocol(format!("a message '{}' of {length} bytes", char::from(tag).escape_default())));
        }
        if self.incoming.len() <= length {
            return Ok(None);
        }
        self.bytes_left =
            self.bytes_left.checked_sub(length).ok_or_else(|| Error::Protocol(format!("more than {EXCHANGE_MAX} bytes")))?;
        self.messages_left =
            self.messages_left.checked_sub(1).ok_or_else(|| Error::Protocol(format!("more than {MESSAGES_MAX} messages")))?;
        Message::parse(&mut self.incoming).map_err(|error| garbled(&error))
    }

    /// A postmaster that cannot start a process answers itself, in the old form: 'E', a text and a zero byte.
    fn error_without_a_process(&self) -> Result<Option<Message>, Error> {
        let text = &self.incoming[1..];
        match text.iter().position(|byte| *byte == 0) {
            Some(end) => Err(Error::Server(ServerError::without_a_process(&String::from_utf8_lossy(&text[..end])))),
            None if text.len() > OLD_ERROR_MAX => Err(Error::Protocol("an error in the old form without an end".into())),
            None => Ok(None),
        }
    }

    /// The error for an end of stream.
    fn end(&self, doing: &str) -> Error {
        let half = if self.incoming.is_empty() { "" } else { " in the middle of a message" };
        self.last_words(Error::Connection {
            fault: Fault::Reset,
            message: format!("the server closed the connection{half} while {doing}"),
        })
    }

    /// A dying backend says why in a warning and closes: then that is the error.
    fn last_words(&self, error: Error) -> Error {
        match self.notices.last() {
            Some(notice) if notice.ends_session() => Error::Server(notice.clone()),
            _ => error,
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.stream().as_fd()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The socket never blocks; a server that takes nothing gets no good-bye.
        if self.broken.is_none() && self.outgoing.is_empty() {
            frontend::terminate(&mut self.outgoing);
            let _ = self.send_some();
        }
    }
}

/// Asks for TLS and shakes hands.
fn encrypt(mut stream: Stream, host: &str, tls: &Tls, demanded: bool) -> Result<Transport, Error> {
    const DOING: &str = "asking for TLS";
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).map_err(|error| broken_off(&error, DOING))?;
    // One byte and no more: what a stranger sent along with it must not be taken for the server's words inside TLS.
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => {
            Error::Connection { fault: Fault::Reset, message: format!("the server closed the connection while {DOING}") }
        }
        _ => broken_off(&error, DOING),
    })?;
    match answer[0] {
        b'S' => {
            let mut encrypted = tls.handshake(host, stream)?;
            encrypted.get_mut().unbound();
            Ok(Transport::Tls(Box::new(encrypted)))
        }
        b'N' if demanded => Err(Error::Tls("the server has no TLS and the configuration demands it (sslmode)".into())),
        b'N' => Ok(Transport::Plain(stream)),
        // Whatever text comes with it is not trusted: nobody has proven who he is.
        b'E' => Err(Error::Server(ServerError::without_a_process("the server could not start a process for the connection"))),
        other => Err(Error::Protocol(format!("'{}' in answer to the request for TLS", char::from(other).escape_default()))),
    }
}

fn columns(body: &RowDescriptionBody) -> Result<Vec<String>, Error> {
    let mut fields = body.fields();
    let mut columns = Vec::new();
    while let Some(field) = fields.next().map_err(|error| garbled(&error))? {
        columns.push(field.name().to_owned());
    }
    Ok(columns)
}

fn values(body: &DataRowBody) -> Result<Vec<Option<String>>, Error> {
    let mut ranges = body.ranges();
    let mut values = Vec::new();
    while let Some(range) = ranges.next().map_err(|error| garbled(&error))? {
        values.push(range.map(|range| String::from_utf8_lossy(&body.buffer()[range]).into_owned()));
    }
    Ok(values)
}

/// What a message is called in the protocol's documentation.
fn name(message: &Message) -> &'static str {
    match message {
        Message::AuthenticationOk => "AuthenticationOk",
        Message::BackendKeyData(_) => "BackendKeyData",
        Message::CommandComplete(_) => "CommandComplete",
        Message::CopyInResponse(_) => "CopyInResponse",
        Message::CopyOutResponse(_) => "CopyOutResponse",
        Message::CopyData(_) => "CopyData",
        Message::CopyDone => "CopyDone",
        Message::DataRow(_) => "DataRow",
        Message::EmptyQueryResponse => "EmptyQueryResponse",
        Message::ReadyForQuery(_) => "ReadyForQuery",
        Message::RowDescription(_) => "RowDescription",
        _ => "a message",
    }
}

fn check(deadline: Deadline, cancel: &Cancel, doing: &str) -> Result<(), Error> {
    if cancel.is_cancelled() {
        Err(interrupted(Interrupted::Cancelled, doing))
    } else if deadline.is_over() {
        Err(interrupted(Interrupted::TimedOut, doing))
    } else {
        Ok(())
    }
}

fn interrupted(why: Interrupted, doing: &str) -> Error {
    match why {
        Interrupted::TimedOut => {
            Error::Connection { fault: Fault::TimedOut, message: format!("the deadline passed while {doing}") }
        }
        Interrupted::Cancelled => Error::Connection { fault: Fault::Cancelled, message: format!("cancelled while {doing}") },
    }
}

fn broken_off(error: &io::Error, doing: &str) -> Error {
    // After the handshake, an alert of the peer (a refused client certificate) is an error of the TLS library, without an errno.
    match Fault::of(error) {
        Fault::Other if error.raw_os_error().is_none() => Error::Tls(error::one_line(&error.to_string(), 200)),
        fault => Error::Connection { fault, message: format!("{} while {doing}", plain(error)) },
    }
}

fn garbled(error: &io::Error) -> Error {
    Error::Protocol(error::one_line(&error.to_string(), 200))
}

fn unproven(error: &str) -> Error {
    Error::Authentication(format!("the server could not prove that it knows the password ({})", error::one_line(error, 120)))
}

fn unsendable(_: io::Error) -> Error {
    Error::Local("a text with a NUL character, or too long a text, cannot be sent".into())
}
