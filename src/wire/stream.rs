//! A stream socket, TCP or Unix, on which no call can outlast one overall deadline.
//!
//! The socket is non-blocking throughout. While a [`Stream`] is *bounded* ([`Stream::bound`]) each read and write
//! re-reads the clock first, so a peer that drips one byte at a time gains nothing; while it is not, a call that would
//! wait returns `WouldBlock`, which is what a poll loop wants. TLS works over either.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::deadline::{Cancel, Deadline, Interrupted};
use failover_core::observation::{DownCause, UnknownCause, Verdict};

/// The longest wait for one address before the next is tried beside it. A SYN that was dropped on a full accept queue
/// is resent by the kernel only after a second, so a silent address gets a second attempt of ours after this time.
const STAGGER: Duration = Duration::from_millis(300);
/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// How long sent data may stay unacknowledged before the kernel gives a connection up (rule 72).
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Keepalive: the first probe after, between probes, and how many (rule 72). Needed beside the user timeout: each covers
/// what the other does not, idle connections and connections with data in flight.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// Between two attempts on a Unix socket whose queue is full: the kernel gives no event to wait for.
const UNIX_RETRY: Duration = Duration::from_millis(10);

/// What went wrong on a socket, as far as it matters for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody listens: `ECONNREFUSED`, or a Unix socket that does not exist.
    Refused,
    /// Reset, or closed before the exchange was complete.
    Reset,
    /// Our deadline passed, or the kernel gave up waiting.
    TimedOut,
    /// The network says that the host is not there.
    HostUnreachable,
    /// No route from here.
    NoRoute,
    /// We have no descriptors, memory or ports left.
    OwnResources,
    /// A local file or permission is in the way.
    Local,
    /// The cancel signal was given.
    Cancelled,
    /// An error in no table.
    Other,
}

/// When a fault happened: a time-out while connecting is another thing than one while waiting for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before the connection was made.
    Connecting,
    /// On an open connection.
    Connected,
}

impl Fault {
    /// The fault behind an error of the operating system or of a [`Stream`].
    #[must_use]
    pub(crate) fn of(error: &io::Error) -> Fault {
        if let Some(interrupted) = interruption(error) {
            return match interrupted {
                Interrupted::TimedOut => Fault::TimedOut,
                Interrupted::Cancelled => Fault::Cancelled,
            };
        }
        let Some(errno) = Errno::from_io_error(error) else {
            return match error.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::WriteZero => Fault::Reset,
                _ => Fault::Other,
            };
        };
        match errno {
            Errno::CONNREFUSED => Fault::Refused,
            Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED | Errno::NOTCONN | Errno::SHUTDOWN => Fault::Reset,
            Errno::TIMEDOUT => Fault::TimedOut,
            Errno::HOSTUNREACH | Errno::HOSTDOWN => Fault::HostUnreachable,
            // EPERM and EACCES on a connect are our own packet filter speaking.
            Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT | Errno::PERM | Errno::ACCESS => Fault::NoRoute,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL => Fault::OwnResources,
            _ => Fault::Other,
        }
    }

    /// The verdict that this fault supports at that stage (rules 2 and 3).
    #[must_use]
    pub(crate) fn verdict(self, stage: Stage) -> Verdict {
        match (self, stage) {
            (Fault::Refused, _) => Verdict::Down(DownCause::Refused),
            (Fault::Reset, _) => Verdict::Down(DownCause::Reset),
            (Fault::TimedOut, Stage::Connecting) => Verdict::Down(DownCause::ConnectTimedOut),
            (Fault::TimedOut, Stage::Connected) => Verdict::Down(DownCause::AnswerTimedOut),
            (Fault::HostUnreachable, _) => Verdict::Down(DownCause::HostUnreachable),
            (Fault::NoRoute, _) => Verdict::Unknown(UnknownCause::NoRoute),
            (Fault::OwnResources, _) => Verdict::Unknown(UnknownCause::OwnResources),
            (Fault::Local, _) => Verdict::Unknown(UnknownCause::Internal),
            (Fault::Cancelled, _) => Verdict::Unknown(UnknownCause::NoAnswerFromHost),
            (Fault::Other, _) => Verdict::Unknown(UnknownCause::Unclassified),
        }
    }

    /// How much a fault of one address says about a name with several: the highest wins. A silent address makes the
    /// whole name silent, because a refusal by another one is then no evidence about the server we want.
    fn weight(self, errno: Option<Errno>) -> u8 {
        match self {
            Fault::Cancelled => 9,
            // No address of ours in that family (IPv6 switched off): says nothing while another family has an answer.
            Fault::OwnResources if errno == Some(Errno::ADDRNOTAVAIL) => 1,
            Fault::OwnResources => 8,
            Fault::TimedOut => 7,
            Fault::HostUnreachable => 6,
            Fault::Reset => 5,
            Fault::Refused => 4,
            Fault::Local => 3,
            Fault::Other => 2,
            Fault::NoRoute => 0,
        }
    }
}

/// Why no connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectError {
    /// What kind of trouble.
    pub fault: Fault,
    /// Where and what, in one line.
    pub message: String,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}

/// Carried inside the `io::Error` of an interrupted call, also through a TLS library that knows nothing of it.
#[derive(Debug)]
struct Interruption(Interrupted);

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Interrupted::TimedOut => "no answer within the deadline",
            Interrupted::Cancelled => "cancelled",
        })
    }
}

impl std::error::Error for Interruption {}

impl From<Interruption> for io::Error {
    fn from(interruption: Interruption) -> io::Error {
        // Not `ErrorKind::Interrupted`: callers such as `read_exact` would try again for ever.
        let kind = if interruption.0 == Interrupted::TimedOut { ErrorKind::TimedOut } else { ErrorKind::Other };
        io::Error::new(kind, interruption)
    }
}

/// The deadline or cancel signal behind an error of a bounded [`Stream`], if that is what it was.
#[must_use]
pub(crate) fn interruption(error: &io::Error) -> Option<Interrupted> {
    error.get_ref()?.downcast_ref::<Interruption>().map(|interruption| interruption.0)
}

/// An open stream socket.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    bound: Option<(Deadline, Cancel)>,
    ended: bool,
}

impl Stream {
    fn new(socket: Socket) -> Stream {
        Stream { socket, bound: None, ended: false }
    }

    /// From now on reads and writes wait, until `deadline` at most or until `cancel` is given.
    pub(crate) fn bound(&mut self, deadline: Deadline, cancel: &Cancel) {
        self.bound = Some((deadline, cancel.clone()));
    }

    /// From now on reads and writes never wait: they return `WouldBlock` instead.
    pub(crate) fn unbound(&mut self) {
        self.bound = None;
    }

    /// True once the peer has closed its side. A TLS library reports that as one of its own errors; this is the fact.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Before each attempt: nothing may be tried once the deadline is over, even if data were ready.
    fn check(&self) -> io::Result<()> {
        match &self.bound {
            Some((_, cancel)) if cancel.is_cancelled() => Err(Interruption(Interrupted::Cancelled).into()),
            Some((deadline, _)) if deadline.is_over() => Err(Interruption(Interrupted::TimedOut).into()),
            _ => Ok(()),
        }
    }

    fn wait(&self, wanted: PollFlags) -> io::Result<()> {
        match &self.bound {
            None => Err(ErrorKind::WouldBlock.into()),
            Some((deadline, cancel)) => {
                cancel.wait_for(self.socket.as_fd(), wanted, *deadline).map_err(|why| Interruption(why).into())
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.check()?;
            match self.socket.read(buffer) {
                Ok(0) if !buffer.is_empty() => {
                    self.ended = true;
                    return Ok(0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::IN)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            self.check()?;
            // A host program written in C may not ignore SIGPIPE, and a library must not change that.
            match rustix::net::send(&self.socket, buffer, SendFlags::NOSIGNAL) {
                Ok(sent) => return Ok(sent),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One connection attempt under way.
struct Attempt {
    socket: Socket,
    address: SocketAddr,
}

/// What the failed attempts add up to.
#[derive(Default)]
struct Failures {
    worst: Option<(u8, Fault)>,
    messages: Vec<String>,
}

impl Failures {
    fn add(&mut self, address: SocketAddr, error: &io::Error) {
        let fault = Fault::of(error);
        let weight = fault.weight(Errno::from_io_error(error));
        if self.worst.is_none_or(|(worst, _)| weight > worst) {
            self.worst = Some((weight, fault));
        }
        let message = format!("{address}: {}", plain(error));
        if !self.messages.contains(&message) {
            self.messages.push(message);
        }
    }

    fn into_error(self) -> ConnectError {
        let fault = self.worst.map_or(Fault::Other, |(_, fault)| fault);
        ConnectError { fault, message: format!("cannot connect to {}", self.messages.join("; ")) }
    }
}

/// Connects to the first of `addresses` that answers, all within one deadline.
///
/// They are tried in order; the next one is begun as soon as the one before has failed or has been silent for its part
/// of the deadline (300 ms at most), and every attempt goes on until one of them succeeds. A single silent
/// address is tried a second time. At most 16 addresses are tried.
///
/// # Errors
/// [`ConnectError`] with the fault that says most about the server.
pub(crate) fn connect_tcp(
    addresses: &[SocketAddr],
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<(Stream, SocketAddr), ConnectError> {
    let mut queue: VecDeque<SocketAddr> = addresses.iter().copied().take(ADDRESSES_MAX).collect();
    if queue.is_empty() {
        return Err(ConnectError { fault: Fault::Other, message: "no address to connect to".into() });
    }
    let parts = u32::try_from(queue.len()).unwrap_or(u32::MAX).saturating_add(1);
    let stagger = STAGGER.min(deadline.remaining() / parts);
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut failures = Failures::default();
    let mut repeated = false;
    let mut next_start = Instant::now();
    loop {
        if cancel.is_cancelled() {
            return Err(ConnectError { fault: Fault::Cancelled, message: "cancelled while connecting".into() });
        }
        if deadline.is_over() {
            for attempt in &attempts {
                failures.add(attempt.address, &Interruption(Interrupted::TimedOut).into());
            }
            for address in &queue {
                failures.add(*address, &Interruption(Interrupted::TimedOut).into());
            }
            return Err(failures.into_error());
        }
        if attempts.is_empty() || Instant::now() >= next_start {
            if queue.is_empty() && !repeated {
                repeated = true;
                queue.extend(attempts.iter().map(|attempt| attempt.address));
            }
            match queue.pop_front() {
                Some(address) => {
                    match begin(address) {
                        Ok(socket) => attempts.push(Attempt { socket, address }),
                        Err(error) => failures.add(address, &error),
                    }
                    next_start = Instant::now() + stagger;
                    continue;
                }
                None if attempts.is_empty() => return Err(failures.into_error()),
                None => next_start = deadline.instant(),
            }
        }
        await_any(&attempts, next_start, deadline, cancel);
        let mut pending = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            match progress(&attempt.socket) {
                Ok(true) => return Ok((Stream::new(attempt.socket), attempt.address)),
                Ok(false) => pending.push(attempt),
                Err(error) => failures.add(attempt.address, &error),
            }
        }
        attempts = pending;
    }
}

/// Starts a connection without waiting for it.
fn begin(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let (idle, interval, probes) = KEEPALIVE;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes))?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => Ok(socket),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) || error.kind() == ErrorKind::Interrupted => {
            Ok(socket)
        }
        Err(error) => Err(error),
    }
}

/// Waits until one of the attempts has news, until `until`, the deadline or the cancel signal.
fn await_any(attempts: &[Attempt], until: Instant, deadline: Deadline, cancel: &Cancel) {
    let left = until.saturating_duration_since(Instant::now()).min(deadline.remaining());
    let mut fds: Vec<PollFd<'_>> =
        attempts.iter().map(|attempt| PollFd::from_borrowed_fd(attempt.socket.as_fd(), PollFlags::OUT)).collect();
    fds.push(PollFd::from_borrowed_fd(cancel.as_fd(), PollFlags::IN));
    // An error here is a signal; the caller looks at every attempt anyway.
    let _ = poll(&mut fds, Timespec::try_from(left).ok().as_ref());
}

/// `true` when the connection is made, `false` while it is under way.
fn progress(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    let Ok(peer) = socket.peer_addr() else { return Ok(false) };
    // A probe of a dead port from the range of outgoing ports can meet itself (TCP simultaneous open).
    if socket.local_addr().is_ok_and(|own| own.as_socket() == peer.as_socket()) {
        return Err(Errno::CONNREFUSED.into());
    }
    Ok(true)
}

/// Connects to a Unix socket.
///
/// # Errors
/// [`ConnectError`]; a socket that does not exist counts as refused, as it does to every client.
pub(crate) fn connect_unix(path: &Path, deadline: Deadline, cancel: &Cancel) -> Result<Stream, ConnectError> {
    let failed = |fault: Fault, words: &dyn fmt::Display| ConnectError {
        fault,
        message: format!("cannot connect to {}: {words}", path.display()),
    };
    let address = SockAddr::unix(path).map_err(|error| failed(Fault::Local, &plain(&error)))?;
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|error| failed(Fault::of(&error), &plain(&error)))?;
        socket.set_nonblocking(true).map_err(|error| failed(Fault::Other, &plain(&error)))?;
        let Err(error) = socket.connect(&address) else { return Ok(Stream::new(socket)) };
        match Errno::from_io_error(&error) {
            // The queue of the listener is full: somebody listens and does not accept.
            Some(Errno::AGAIN) => match cancel.pause(UNIX_RETRY, deadline) {
                Ok(()) => {}
                Err(why) => {
                    let error = io::Error::from(Interruption(why));
                    return Err(failed(Fault::of(&error), &"its queue is full and nobody takes connections from it"));
                }
            },
            Some(Errno::INTR) if !deadline.is_over() => {}
            Some(Errno::NOENT) => return Err(failed(Fault::Refused, &"no such socket")),
            Some(Errno::ACCESS | Errno::PERM) => return Err(failed(Fault::Local, &"permission denied")),
            _ => return Err(failed(Fault::of(&error), &plain(&error))),
        }
    }
}

/// The operating system's words without the "(os error 111)" that tells nobody anything.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(200))
    }

    fn long() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    /// A port on which nobody listens.
    fn dead_address() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// A listener whose queue is full, so that the kernel drops every further SYN.
    fn black_hole() -> (Socket, Vec<TcpStream>, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            held.push(stream);
        }
        (socket, held, address)
    }

    #[test]
    fn a_refusal_is_told_apart_from_silence() {
        let cancel = Cancel::new().unwrap();
        let refused = connect_tcp(&[dead_address()], long(), &cancel).unwrap_err();
        assert_eq!(refused.fault, Fault::Refused, "{refused}");
        let (_listener, _held, address) = black_hole();
        let silent = connect_tcp(&[address], soon(), &cancel).unwrap_err();
        assert_eq!(silent.fault, Fault::TimedOut, "{silent}");
    }

    #[test]
    fn a_silent_address_does_not_keep_the_next_one_waiting() {
        let cancel = Cancel::new().unwrap();
        let (_listener, _held, silent) = black_hole();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_stream, address) = connect_tcp(&[silent, dead_address(), alive.local_addr().unwrap()], long(), &cancel).unwrap();
        assert_eq!(address, alive.local_addr().unwrap());
    }

    #[test]
    fn a_silent_address_weighs_more_than_a_refusing_one() {
        let cancel = Cancel::new().unwrap();
        let (_listener, _held, silent) = black_hole();
        let error = connect_tcp(&[dead_address(), silent], soon(), &cancel).unwrap_err();
        assert_eq!(error.fault, Fault::TimedOut, "{error}");
    }

    #[test]
    fn a_family_without_an_address_of_ours_does_not_hide_a_refusal() {
        let mut failures = Failures::default();
        let v6 = "[::1]:5432".parse().unwrap();
        let v4 = "127.0.0.1:5432".parse().unwrap();
        failures.add(v6, &Errno::ADDRNOTAVAIL.into());
        failures.add(v4, &Errno::CONNREFUSED.into());
        assert_eq!(failures.into_error().fault, Fault::Refused);
        let mut failures = Failures::default();
        failures.add(v4, &Errno::ADDRNOTAVAIL.into());
        failures.add(v6, &Errno::NETUNREACH.into());
        assert_eq!(failures.into_error().fault, Fault::OwnResources);
    }

    #[test]
    fn faults_of_the_operating_system_have_their_verdicts() {
        let verdict = |errno: Errno| Fault::of(&errno.into()).verdict(Stage::Connecting);
        assert_eq!(verdict(Errno::CONNREFUSED), Verdict::Down(DownCause::Refused));
        assert_eq!(verdict(Errno::CONNRESET), Verdict::Down(DownCause::Reset));
        assert_eq!(verdict(Errno::TIMEDOUT), Verdict::Down(DownCause::ConnectTimedOut));
        assert_eq!(verdict(Errno::HOSTUNREACH), Verdict::Down(DownCause::HostUnreachable));
        assert_eq!(verdict(Errno::NETUNREACH), Verdict::Unknown(UnknownCause::NoRoute));
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL] {
            assert_eq!(verdict(errno), Verdict::Unknown(UnknownCause::OwnResources));
        }
        assert_eq!(verdict(Errno::LOOP), Verdict::Unknown(UnknownCause::Unclassified));
        assert_eq!(Fault::TimedOut.verdict(Stage::Connected), Verdict::Down(DownCause::AnswerTimedOut));
    }

    #[test]
    fn a_dripping_peer_cannot_stretch_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dripper = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            while peer.write_all(b".").is_ok() {
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let cancel = Cancel::new().unwrap();
        let (mut stream, _) = connect_tcp(&[address], long(), &cancel).unwrap();
        stream.bound(soon(), &cancel);
        let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
        assert_eq!(interruption(&error), Some(Interrupted::TimedOut));
        drop(stream);
        dripper.join().unwrap();
    }

    /// Rule 72: a host without power says nothing, and the kernel gives up on it.
    #[test]
    fn the_silence_of_every_socket_is_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (stream, _) = connect_tcp(&[listener.local_addr().unwrap()], long(), &Cancel::new().unwrap()).unwrap();
        let socket = &stream.socket;
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(10)));
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(5));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(2));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    }

    #[test]
    fn a_cancel_ends_a_read_and_a_connect() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cancel = Cancel::new().unwrap();
        let (mut stream, _) = connect_tcp(&[listener.local_addr().unwrap()], long(), &cancel).unwrap();
        stream.bound(long(), &cancel);
        let other = cancel.clone();
        let reader = std::thread::spawn(move || stream.read(&mut [0; 8]).map_err(|error| Fault::of(&error)));
        other.cancel();
        assert_eq!(reader.join().unwrap(), Err(Fault::Cancelled));
        assert_eq!(connect_tcp(&[dead_address()], long(), &cancel).unwrap_err().fault, Fault::Cancelled);
    }

    #[test]
    fn an_unbound_stream_never_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cancel = Cancel::new().unwrap();
        let (mut stream, _) = connect_tcp(&[listener.local_addr().unwrap()], long(), &cancel).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_missing_or_abandoned_unix_socket_is_refused_and_a_full_one_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::new().unwrap();
        let path = folder.path().join("s");
        assert_eq!(connect_unix(&path, long(), &cancel).unwrap_err().fault, Fault::Refused);
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(connect_unix(&path, long(), &cancel).unwrap_err().fault, Fault::Refused);
        let full = folder.path().join("full");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&full).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let _held = connect_unix(&full, long(), &cancel).unwrap();
        assert_eq!(connect_unix(&full, soon(), &cancel).unwrap_err().fault, Fault::TimedOut);
        let endless = folder.path().join("x".repeat(200));
        assert_eq!(connect_unix(&endless, long(), &cancel).unwrap_err().fault, Fault::Local);
    }
}
