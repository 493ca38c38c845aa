//! PostgreSQL servers on the wire, for fleets of which only a few real ones fit on a machine: whoever asks gets what a real server said to
//! the same question a moment ago. A process of its own, so that what it costs is not taken for the engine's.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::postgres::PgServer;
use crate::support::session::{Address, Login, Session, SqlError};

/// The first argument of the process.
pub const WORD: &str = "stand-in";
/// So long an answer is given again.
const FRESH: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);
/// A conversation needs little.
const STACK: usize = 128 * 1024;
/// Questions that are remembered.
const QUESTIONS: usize = 64;
const LONGEST: usize = 1 << 20;

const PROTOCOL: u32 = 196_608;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// The process, ended with this: one port for each real server that it stands in for.
pub struct StandIn {
    child: Child,
    pub ports: Vec<u16>,
}

impl StandIn {
    pub fn start(servers: &[&PgServer]) -> io::Result<StandIn> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(WORD);
        for server in servers {
            command.arg(server.socket_dir()).arg(server.port().to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
        if ports.len() != servers.len() {
            let _ = child.kill();
            return Err(io::Error::other("the stand-in did not start"));
        }
        Ok(StandIn { child, ports })
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of the process: serves until its stdin ends.
pub fn serve(arguments: &[String]) -> io::Result<()> {
    let mut ports = Vec::new();
    for server in arguments.chunks(2) {
        let [folder, port] = server else { return Err(io::Error::other("a folder and a port for each server")) };
        let real = Real { folder: PathBuf::from(folder), port: port.parse().map_err(io::Error::other)?, session: None };
        let answers = Arc::new(Answers { known: Mutex::default(), real: Mutex::new(real) });
        let listener = TcpListener::bind("127.0.0.1:0")?;
        ports.push(listener.local_addr()?.port().to_string());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answers = Arc::clone(&answers);
                let talk = move || drop(converse(stream, &answers));
                // Without a thread the connection is closed.
                let _ = std::thread::Builder::new().stack_size(STACK).spawn(talk);
            }
        });
    }
    println!("{}", ports.join(" "));
    io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}

/// The real server.
struct Real {
    folder: PathBuf,
    port: u16,
    session: Option<Session>,
}

impl Real {
    fn ask(&mut self, question: &str) -> io::Result<Vec<u8>> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => connect(&self.folder, self.port)?,
        };
        session.begin(question).map_err(|error| refused(&error))?;
        let mut answer = Vec::new();
        loop {
            let (tag, body) = session.message(PATIENCE).map_err(|error| refused(&error))?;
            message(&mut answer, tag, &body)?;
            if tag == b'Z' {
                self.session = Some(session);
                return Ok(answer);
            }
        }
    }
}

fn connect(folder: &Path, port: u16) -> io::Result<Session> {
    let login = Login::new("postgres", "postgres");
    Session::connect(&Address::Unix(folder.to_owned(), port), &login, PATIENCE).map_err(|error| refused(&error))
}

fn refused(error: &SqlError) -> io::Error {
    io::Error::other(format!("the real server: {error:?}"))
}

type Known = BTreeMap<String, (Instant, Arc<Vec<u8>>)>;

struct Answers {
    known: Mutex<Known>,
    real: Mutex<Real>,
}

impl Answers {
    fn known(&self, question: &str) -> Option<Arc<Vec<u8>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(question).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, answer)| Arc::clone(answer))
    }

    fn of(&self, question: &str) -> io::Result<Arc<Vec<u8>>> {
        if let Some(answer) = self.known(question) {
            return Ok(answer);
        }
        let mut real = self.real.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have asked meanwhile.
        if let Some(answer) = self.known(question) {
            return Ok(answer);
        }
        let answer = Arc::new(real.ask(question)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= QUESTIONS {
            known.clear();
        }
        known.insert(question.to_owned(), (Instant::now(), Arc::clone(&answer)));
        Ok(answer)
    }
}

fn message(to: &mut Vec<u8>, tag: u8, body: &[u8]) -> io::Result<()> {
    to.push(tag);
    to.extend(u32::try_from(body.len() + 4).map_err(io::Error::other)?.to_be_bytes());
    to.extend(body);
    Ok(())
}

fn length(stream: &mut TcpStream) -> io::Result<usize> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    length.checked_sub(4).filter(|length| *length <= LONGEST).ok_or_else(|| io::Error::other("no message"))
}

fn body(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length(stream)?];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn converse(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let packet = body(&mut stream)?;
        let code = packet.first_chunk().map_or(0, |code| u32::from_be_bytes(*code));
        match code {
            SSL | GSS => stream.write_all(b"N")?,
            PROTOCOL => break,
            _ => return Ok(()),
        }
    }
    let mut hello = Vec::new();
    message(&mut hello, b'R', &0_u32.to_be_bytes())?;
    for (name, value) in [("server_version", "15.0"), ("client_encoding", "UTF8"), ("standard_conforming_strings", "on")] {
        message(&mut hello, b'S', format!("{name}\0{value}\0").as_bytes())?;
    }
    message(&mut hello, b'K', &[0; 8])?;
    message(&mut hello, b'Z', b"I")?;
    stream.write_all(&hello)?;
    loop {
        let mut tag = [0];
        stream.read_exact(&mut tag)?;
        let body = body(&mut stream)?;
        if tag != *b"Q" {
            return Ok(());
        }
        let question = String::from_utf8_lossy(&body);
        stream.write_all(&answers.of(question.trim_end_matches('\0'))?)?;
    }
}
