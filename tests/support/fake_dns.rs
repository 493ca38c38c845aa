//! A name server that does what no real one does, or stands before a real one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lab::free_port;

const LONG: Duration = Duration::from_secs(30);

/// By which way a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What to do with a request.
pub enum Deed {
    /// Send these, in this order.
    Reply(Vec<Vec<u8>>),
    /// Send this from another port.
    FromElsewhere(Vec<u8>),
    /// Nothing.
    Silence,
}

/// Such a server; it ends with its guard.
pub struct FakeDns {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl FakeDns {
    /// Over UDP and TCP.
    pub fn start(deed: impl Fn(&[u8], Way) -> Deed + Send + Sync + 'static) -> io::Result<FakeDns> {
        FakeDns::start_with(true, deed)
    }

    /// Over UDP, and over TCP where wanted: else nobody listens there.
    pub fn start_with(tcp: bool, deed: impl Fn(&[u8], Way) -> Deed + Send + Sync + 'static) -> io::Result<FakeDns> {
        FakeDns::start_on(SocketAddr::from(([127, 0, 0, 1], free_port()?)), tcp, deed)
    }

    /// On this address.
    pub fn start_on(
        address: SocketAddr,
        tcp: bool,
        deed: impl Fn(&[u8], Way) -> Deed + Send + Sync + 'static,
    ) -> io::Result<FakeDns> {
        let udp = UdpSocket::bind(address)?;
        let listener = if tcp { Some(TcpListener::bind(address)?) } else { None };
        let stop = Arc::new(AtomicBool::new(false));
        let deed = Arc::new(deed);
        let (mine, stopped) = (Arc::clone(&deed), Arc::clone(&stop));
        let mut threads = vec![std::thread::spawn(move || by_udp(&udp, &stopped, &*mine))];
        if let Some(listener) = listener {
            let stopped = Arc::clone(&stop);
            threads.push(std::thread::spawn(move || by_tcp(&listener, &stopped, &*deed)));
        }
        Ok(FakeDns { address, stop, threads })
    }

    /// Its address, the same for both.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(&[], self.address);
        }
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn by_udp(socket: &UdpSocket, stop: &AtomicBool, deed: &dyn Fn(&[u8], Way) -> Deed) {
    let mut buffer = vec![0; 65_535];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        match deed(&buffer[..length], Way::Udp) {
            Deed::Reply(replies) => {
                for reply in replies {
                    let _ = socket.send_to(&reply, client);
                }
            }
            Deed::FromElsewhere(reply) => {
                if let Ok(other) = UdpSocket::bind("127.0.0.1:0") {
                    let _ = other.send_to(&reply, client);
                }
            }
            Deed::Silence => {}
        }
    }
}

fn by_tcp(listener: &TcpListener, stop: &AtomicBool, deed: &dyn Fn(&[u8], Way) -> Deed) {
    for mut stream in listener.incoming().flatten() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let _ = stream.set_read_timeout(Some(LONG));
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut request).is_err() {
            continue;
        }
        if let Deed::Reply(replies) = deed(&request, Way::Tcp) {
            for reply in replies {
                let _ = stream.write_all(&framed(&reply));
            }
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), message].concat()
}

/// Hands a request to a real server by the same way, and its answer back.
pub fn relay(server: SocketAddr, request: &[u8], way: Way) -> io::Result<Vec<u8>> {
    match way {
        Way::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(LONG))?;
            socket.send_to(request, server)?;
            let mut buffer = vec![0; 65_535];
            let length = socket.recv(&mut buffer)?;
            buffer.truncate(length);
            Ok(buffer)
        }
        Way::Tcp => {
            let mut stream = TcpStream::connect(server)?;
            stream.set_read_timeout(Some(LONG))?;
            stream.write_all(&framed(request))?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut reply)?;
            Ok(reply)
        }
    }
}

/// True for a dynamic update.
pub fn is_update(request: &[u8]) -> bool {
    request.get(2).is_some_and(|flags| (flags >> 3) & 15 == 5)
}

/// A request as the head of an answer with this code: its question and nothing else.
pub fn bare(request: &[u8], rcode: u8, truncated: bool) -> Vec<u8> {
    let mut end = 12;
    while let Some(length) = request.get(end).copied().filter(|length| *length > 0) {
        end += usize::from(length) + 1;
    }
    let mut reply = request[..end + 5].to_vec();
    reply[2] |= 0x80;
    if truncated {
        reply[2] |= 0x02;
    }
    reply[3] = rcode;
    reply[6..12].fill(0);
    reply
}
