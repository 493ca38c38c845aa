//! The command line's side of the control socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::arguments::{CONFIG, Daemon, SOCKET};
use super::exit::{Code, Trouble};
use super::protocol::{ANSWER_MAX, DEADLINE, Line, Request};
use super::socket;

/// The path that an environment variable holds; an empty one is none.
fn named_by(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A conversation with the daemon.
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
    pending: Vec<u8>,
    /// Where in `pending` nothing is left to be searched for an end of line.
    searched: usize,
}

impl Client {
    /// Calls the daemon.
    pub fn connect(daemon: &Daemon) -> Result<Client, Trouble> {
        let (socket, config) = match (&daemon.socket, &daemon.config) {
            (None, None) => (named_by(SOCKET), named_by(CONFIG)),
            (socket, config) => (socket.clone(), config.clone()),
        };
        let path = socket::of(socket.as_deref(), config.as_deref())?;
        match socket::connect(&path, Instant::now() + DEADLINE) {
            Ok(stream) => Ok(Client { stream, path, pending: Vec::new(), searched: 0 }),
            Err(error) => {
                let what = format!("cannot reach the daemon at {}: {error}", path.display());
                let remedy = match error.kind() {
                    io::ErrorKind::PermissionDenied => "run the command as the user that runs the daemon, or as root",
                    _ => "start it with `failover run CONFIG`, or say where it listens with --socket PATH or --config CONFIG",
                };
                Err(Trouble::new(Code::Unreachable, what).remedy(remedy))
            }
        }
    }

    /// Asks, and waits for the whole answer.
    pub fn ask(&mut self, request: &Request) -> Result<Value, Trouble> {
        self.send(request)?;
        match self.line(Some(Instant::now() + DEADLINE))? {
            Some(Line::Result(value)) => Ok(value),
            Some(Line::Error(refused)) => Err(refused.into()),
            _ => Err(self.trouble("its answer is of another kind than the question")),
        }
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Request) -> Result<(), Trouble> {
        let mut text = serde_json::to_vec(request)
            .map_err(|error| Trouble::new(Code::Failed, format!("cannot write the request: {error}")))?;
        text.push(b'\n');
        let sent = self.stream.set_write_timeout(Some(DEADLINE)).and_then(|()| self.stream.write_all(&text));
        match sent {
            // A daemon that refuses to talk says why before it hangs up: that is read next.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(self.trouble(&error.to_string())),
            Ok(()) => Ok(()),
        }
    }

    /// The next line of the answer; `None` when the daemon has hung up. `until: None` waits as long as it takes.
    pub fn line(&mut self, until: Option<Instant>) -> Result<Option<Line>, Trouble> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(end) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(self.searched + end + 1);
                let line = std::mem::replace(&mut self.pending, rest);
                self.searched = 0;
                let line = serde_json::from_slice(&line);
                return line.map(Some).map_err(|error| self.trouble(&format!("its answer is not of this protocol ({error})")));
            }
            self.searched = self.pending.len();
            if self.pending.len() > ANSWER_MAX {
                return Err(self.trouble("its answer has no end of line"));
            }
            let patience = match until {
                None => None,
                Some(until) => match until.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => return Err(self.trouble("it did not answer in time")),
                    left => Some(left),
                },
            };
            let read = self.stream.set_read_timeout(patience).and_then(|()| self.stream.read(&mut buffer));
            match read {
                Ok(0) if self.pending.is_empty() => return Ok(None),
                Ok(0) => return Err(self.trouble("it closed the connection in the middle of an answer")),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(self.trouble("it did not answer in time"));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(self.trouble(&error.to_string())),
            }
        }
    }

    fn trouble(&self, what: &str) -> Trouble {
        Trouble::new(Code::Unreachable, format!("the daemon at {}: {what}", self.path.display()))
            .remedy("look at the daemon's log; `failover --version` of both must be the same")
    }
}
