//! A byte stream over a non-blocking socket whose every wait shares one deadline and one cancel signal.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::deadline::{Cancel, Deadline, Interrupted};

/// A connected socket. Reads and writes return an error that [`interrupted`] recognises when the deadline given at the connect
/// passes or the cancel signal is given, however the other side drips.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    deadline: Deadline,
    cancel: Cancel,
}

/// Between two tries to connect to a UNIX socket whose queue is full: the kernel offers nothing to wait for.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

impl Stream {
    /// Connects to a TCP address.
    ///
    /// # Errors
    /// The operating system's, or one that [`interrupted`] recognises.
    pub(crate) fn connect_tcp(address: SocketAddr, deadline: Deadline, cancel: &Cancel) -> io::Result<Stream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
                cancel.wait_for(socket.as_fd(), PollFlags::OUT, deadline).map_err(Ended::error)?;
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        // A connect to a free port of our own ephemeral range can meet itself and succeed: nobody listens there.
        if socket.local_addr()?.as_socket() == Some(address) {
            return Err(Errno::CONNREFUSED.into());
        }
        Ok(Stream { socket, deadline, cancel: cancel.clone() })
    }

    /// Connects to the first of several addresses that answers. An address that stays silent uses up only its share of the
    /// time, half of what is left while there are others.
    ///
    /// # Errors
    /// The last address's error.
    pub(crate) fn connect_any(addresses: &[SocketAddr], deadline: Deadline, cancel: &Cancel) -> io::Result<Stream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for (index, address) in addresses.iter().enumerate() {
            let share = if index + 1 == addresses.len() { deadline } else { deadline.at_most(deadline.remaining() / 2) };
            match Stream::connect_tcp(*address, share, cancel) {
                Ok(stream) => return Ok(Stream { deadline, ..stream }),
                Err(error) if interrupted(&error) == Some(Interrupted::Cancelled) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to a UNIX socket.
    ///
    /// # Errors
    /// The operating system's, or one that [`interrupted`] recognises.
    pub(crate) fn connect_unix(path: &Path, deadline: Deadline, cancel: &Cancel) -> io::Result<Stream> {
        let address = SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        loop {
            match socket.connect(&address) {
                Ok(()) => return Ok(Stream { socket, deadline, cancel: cancel.clone() }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    cancel.pause(QUEUE_FULL_PAUSE, deadline).map_err(Ended::error)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wait(&self, wanted: PollFlags) -> io::Result<()> {
        self.cancel.wait_for(self.socket.as_fd(), wanted, self.deadline).map_err(Ended::error)
    }

    /// Between two operations that never had to wait, so that a fast endless stream ends at the deadline too.
    fn check(&self) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            Err(Ended::error(Interrupted::Cancelled))
        } else if self.deadline.is_over() {
            Err(Ended::error(Interrupted::TimedOut))
        } else {
            Ok(())
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        loop {
            match (&self.socket).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::IN)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.check()?;
        loop {
            // A host program in C keeps SIGPIPE's default: a closed connection must be an error, not its end.
            match send(&self.socket, buffer, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                other => return other.map_err(Into::into),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Our own end of a wait, carried inside an [`io::Error`] so that it survives a TLS or HTTP library in between.
#[derive(Debug)]
struct Ended(Interrupted);

impl Ended {
    fn error(why: Interrupted) -> io::Error {
        let kind = match why {
            Interrupted::TimedOut => io::ErrorKind::TimedOut,
            Interrupted::Cancelled => io::ErrorKind::Other,
        };
        io::Error::new(kind, Ended(why))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Interrupted::TimedOut => "the deadline passed",
            Interrupted::Cancelled => "cancelled",
        })
    }
}

impl std::error::Error for Ended {}

/// The deadline or the cancel signal behind an error, if it was one of those and not the operating system.
#[must_use]
pub(crate) fn interrupted(error: &io::Error) -> Option<Interrupted> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Ended>()).map(|ended| ended.0)
}
