//! A TCP proxy whose answers can be made late: what a server far away or out of breath looks like.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A running proxy. Its connections end with their peers.
pub struct Proxy {
    port: u16,
    delay: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens on a loopback port for a server.
    pub fn start(server: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", super::lab::free_port()?))?;
        let proxy = Proxy { port: listener.local_addr()?.port(), delay: Arc::default(), stop: Arc::default() };
        let (delay, stop) = (Arc::clone(&proxy.delay), Arc::clone(&proxy.stop));
        std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                // Whoever is refused behind us is refused by us: the connection just ends.
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) {
                    let _ = join(client, server, &delay);
                }
            }
        })?;
        Ok(proxy)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every answer comes so much later from now on.
    pub fn delay(&self, span: Duration) {
        self.delay.store(u64::try_from(span.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn join(client: TcpStream, server: TcpStream, delay: &Arc<AtomicU64>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (questions, answers) = ((client.try_clone()?, server.try_clone()?), (server, client));
    let delay = Arc::clone(delay);
    pass(questions, || Duration::ZERO)?;
    pass(answers, move || Duration::from_millis(delay.load(Ordering::SeqCst)))
}

fn pass((mut from, mut to): (TcpStream, TcpStream), delay: impl Fn() -> Duration + Send + 'static) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::Builder::new().name("proxy-in".to_owned()).spawn(move || {
        let mut buffer = [0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay(), buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    })?;
    std::thread::Builder::new().name("proxy-out".to_owned()).spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    })?;
    Ok(())
}
