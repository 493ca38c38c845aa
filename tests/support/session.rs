//! A small SQL session whose every call has one deadline: the blocking clients wait for ever on a server that is stopped. It shares
//! no code with the library, so that what it measures and proves does not lean on what is being measured.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

/// The moment by which a call has to be over.
#[derive(Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn after(span: Duration) -> Deadline {
        Deadline(Instant::now() + span)
    }

    fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// The folder of the UNIX socket, and the port that names it.
    Unix(PathBuf, u16),
}

impl Address {
    /// A loopback port.
    pub fn loopback(port: u16) -> Address {
        Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Login {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The password, where the server wants one.
    pub password: Option<String>,
    /// The `application_name`.
    pub application: String,
}

impl Login {
    /// A login without password.
    pub fn new(user: &str, database: &str) -> Login {
        Login { user: user.to_owned(), database: database.to_owned(), password: None, application: "lab".to_owned() }
    }
}

/// Why a statement gave no result.
#[derive(Debug)]
pub enum SqlError {
    /// The server said so. `fatal`: and ended the session.
    Server {
        /// The SQLSTATE.
        code: String,
        /// Its words.
        message: String,
        /// The session is over.
        fatal: bool,
    },
    /// The other side closed the connection.
    Closed,
    /// The deadline passed.
    TimedOut,
    /// The operating system's words, or a broken protocol.
    Io(io::Error),
}

impl SqlError {
    /// The server refused the statement and the session goes on: it certainly did not commit.
    pub fn is_refusal(&self) -> bool {
        matches!(self, SqlError::Server { fatal: false, .. })
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlError::Server { code, message, .. } => write!(f, "{message} ({code})"),
            SqlError::Closed => f.write_str("connection closed by the other side"),
            SqlError::TimedOut => f.write_str("no answer in time"),
            SqlError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<SqlError> for io::Error {
    fn from(error: SqlError) -> io::Error {
        match error {
            SqlError::Io(error) => error,
            SqlError::TimedOut => io::Error::new(io::ErrorKind::TimedOut, error.to_string()),
            other => io::Error::other(other.to_string()),
        }
    }
}

impl From<io::Error> for SqlError {
    fn from(error: io::Error) -> SqlError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => SqlError::TimedOut,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => SqlError::Closed,
            _ => SqlError::Io(error),
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn arm(&self, deadline: Deadline) -> Result<(), SqlError> {
        let left = deadline.remaining();
        if left.is_zero() {
            return Err(SqlError::TimedOut);
        }
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))?,
            Stream::Unix(stream) => stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))?,
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, SqlError> {
        loop {
            self.arm(deadline)?;
            let count = match self {
                Stream::Tcp(stream) => stream.read(buffer),
                Stream::Unix(stream) => stream.read(buffer),
            };
            match count {
                // A process that was paused and goes on: a socket with a time-out says so (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => return Ok(count?),
            }
        }
    }

    /// Messages are small: a socket whose buffer does not take one is as good as dead, and its write time-out is the deadline.
    fn write(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), SqlError> {
        self.arm(deadline)?;
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes)?,
            Stream::Unix(stream) => stream.write_all(bytes)?,
        }
        Ok(())
    }
}

/// One authenticated connection.
pub struct Session {
    stream: Stream,
    buffer: Vec<u8>,
}

/// Rows as text; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

const LONGEST_MESSAGE: usize = 16 << 20;

impl Session {
    /// Connects and authenticates (trust, clear-text password or SCRAM).
    pub fn connect(address: &Address, login: &Login, timeout: Duration) -> Result<Session, SqlError> {
        let deadline = Deadline::after(timeout);
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, timeout.max(Duration::from_millis(1)))?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(folder, port) => {
                let path = socket_path(folder, *port);
                // Nothing in the standard library goes on after an interruption here.
                let stream = loop {
                    match UnixStream::connect(&path) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        other => break other?,
                    }
                };
                Stream::Unix(stream)
            }
        };
        let mut session = Session { stream, buffer: Vec::new() };
        session.start(login, deadline)?;
        Ok(session)
    }

    /// One or more statements by the simple protocol: the rows of all that returned any.
    pub fn query(&mut self, sql: &str, timeout: Duration) -> Result<Rows, SqlError> {
        let deadline = Deadline::after(timeout);
        let mut text = sql.as_bytes().to_vec();
        text.push(0);
        self.send(b'Q', &text, deadline)?;
        let mut rows = Rows::new();
        let mut refused = None;
        loop {
            let (tag, body) = self.receive(deadline)?;
            match tag {
                b'D' => rows.push(data_row(&body)?),
                b'E' => {
                    let error = server_error(&body);
                    if matches!(error, SqlError::Server { fatal: true, .. }) {
                        return Err(error);
                    }
                    refused = Some(error);
                }
                b'Z' => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// Sends a statement and waits for nothing.
    pub fn begin(&mut self, sql: &str) -> Result<(), SqlError> {
        let mut text = sql.as_bytes().to_vec();
        text.push(0);
        self.send(b'Q', &text, Deadline::after(Duration::from_secs(5)))
    }

    /// The next message of the server, whatever it is: its tag and its body.
    pub fn message(&mut self, timeout: Duration) -> Result<(u8, Vec<u8>), SqlError> {
        self.receive(Deadline::after(timeout))
    }

    /// The same connection, to write to from elsewhere.
    pub fn second_writer(&self) -> io::Result<TcpStream> {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_clone(),
            Stream::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The first column of the first row, empty when there is none.
    pub fn value(&mut self, sql: &str, timeout: Duration) -> Result<String, SqlError> {
        let rows = self.query(sql, timeout)?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten().unwrap_or_default())
    }

    fn start(&mut self, login: &Login, deadline: Deadline) -> Result<(), SqlError> {
        let mut body = 196_608u32.to_be_bytes().to_vec();
        for (key, value) in [
            ("user", login.user.as_str()),
            ("database", &login.database),
            ("application_name", &login.application),
            ("client_encoding", "UTF8"),
        ] {
            body.extend_from_slice(key.as_bytes());
            body.push(0);
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        let mut packet = length_of(body.len() + 4)?.to_vec();
        packet.extend_from_slice(&body);
        self.stream.write(&packet, deadline)?;
        let mut scram = None;
        loop {
            let (tag, body) = self.receive(deadline)?;
            match tag {
                b'R' => self.authenticate(&body, login, &mut scram, deadline)?,
                b'E' => return Err(server_error(&body)),
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    fn authenticate(
        &mut self,
        body: &[u8],
        login: &Login,
        scram: &mut Option<ScramSha256>,
        deadline: Deadline,
    ) -> Result<(), SqlError> {
        let password = || login.password.as_deref().ok_or_else(|| broken("the server wants a password"));
        let (kind, rest) = body.split_at_checked(4).ok_or_else(|| broken("short authentication message"))?;
        match kind {
            [0, 0, 0, 0] => Ok(()),
            [0, 0, 0, 3] => {
                let mut text = password()?.as_bytes().to_vec();
                text.push(0);
                self.send(b'p', &text, deadline)
            }
            [0, 0, 0, 10] => {
                let first = ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
                let mut answer = SCRAM_SHA_256.as_bytes().to_vec();
                answer.push(0);
                answer.extend_from_slice(&length_of(first.message().len())?);
                answer.extend_from_slice(first.message());
                *scram = Some(first);
                self.send(b'p', &answer, deadline)
            }
            [0, 0, 0, 11] => {
                let state = scram.as_mut().ok_or_else(|| broken("unexpected SASL message"))?;
                state.update(rest)?;
                let answer = state.message().to_vec();
                self.send(b'p', &answer, deadline)
            }
            [0, 0, 0, 12] => Ok(scram.as_mut().ok_or_else(|| broken("unexpected SASL message"))?.finish(rest)?),
            other => Err(broken(&format!("authentication method {other:?} is not spoken here"))),
        }
    }

    fn send(&mut self, tag: u8, body: &[u8], deadline: Deadline) -> Result<(), SqlError> {
        let mut packet = vec![tag];
        packet.extend_from_slice(&length_of(body.len() + 4)?);
        packet.extend_from_slice(body);
        self.stream.write(&packet, deadline)
    }

    fn receive(&mut self, deadline: Deadline) -> Result<(u8, Vec<u8>), SqlError> {
        loop {
            if let Some(length) = self.buffer.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes) {
                let end = 1 + usize::try_from(length).unwrap_or(usize::MAX).min(LONGEST_MESSAGE);
                if length < 4 || end > LONGEST_MESSAGE {
                    return Err(broken("a message of an impossible length"));
                }
                if self.buffer.len() >= end {
                    let message: Vec<u8> = self.buffer.drain(..end).collect();
                    return Ok((message[0], message[5..].to_vec()));
                }
            }
            let mut chunk = [0u8; 8192];
            match self.stream.read(&mut chunk, deadline)? {
                0 => return Err(SqlError::Closed),
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

/// The path of a server's UNIX socket.
pub fn socket_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

fn broken(what: &str) -> SqlError {
    SqlError::Io(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()))
}

fn length_of(bytes: usize) -> Result<[u8; 4], SqlError> {
    u32::try_from(bytes).map(u32::to_be_bytes).map_err(|_| broken("message too long"))
}

fn data_row(body: &[u8]) -> Result<Vec<Option<String>>, SqlError> {
    let short = || broken("short row");
    let (count, mut rest) = body.split_at_checked(2).ok_or_else(short)?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes([count[0], count[1]]) {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        rest = after;
        // -1 is NULL.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            row.push(None);
            continue;
        };
        let (value, after) = rest.split_at_checked(length).ok_or_else(short)?;
        rest = after;
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
    }
    Ok(row)
}

fn server_error(body: &[u8]) -> SqlError {
    let mut error = (String::new(), String::new(), String::new());
    for field in body.split(|byte| *byte == 0) {
        let Some((tag, text)) = field.split_first() else { continue };
        let text = String::from_utf8_lossy(text).into_owned();
        match tag {
            b'V' => error.0 = text,
            b'C' => error.1 = text,
            b'M' => error.2 = text,
            _ => {}
        }
    }
    SqlError::Server { code: error.1, message: error.2, fatal: error.0 != "ERROR" }
}
