//! Receivers of notifications: an HTTP server that answers as it is told and keeps what it heard, and a mail server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Answers with this status, and with this text.
    Status(u16, &'static str),
    /// Sends to another address with this status.
    Redirect(u16, String),
    /// Takes the request and never answers.
    Silent,
    /// Answers one byte at a time, without an end.
    Drips,
    /// The same without having been asked, as a mail server greets.
    Greets,
    /// Tells everything back that it hears, as an error.
    Echo,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line and the headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Request {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(line).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

#[derive(Default)]
struct Heard {
    requests: Mutex<Vec<Request>>,
    more: Condvar,
    over: AtomicBool,
}

/// An HTTP server on the loopback.
pub struct Receiver {
    port: u16,
    heard: Arc<Heard>,
    manner: Arc<Mutex<Manner>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one on a free port.
    pub fn start(manner: Manner) -> Receiver {
        Receiver::listen(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), manner)
    }

    /// Starts one on this port.
    pub fn start_on(port: u16, manner: Manner) -> io::Result<Receiver> {
        Ok(Receiver::listen(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?, manner))
    }

    fn listen(listener: TcpListener, manner: Manner) -> Receiver {
        let port = listener.local_addr().unwrap().port();
        let (heard, manner) = (Arc::<Heard>::default(), Arc::new(Mutex::new(manner)));
        let (ours, how) = (Arc::clone(&heard), Arc::clone(&manner));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ours.over.load(Ordering::SeqCst) {
                    return;
                }
                let (ours, manner) = (Arc::clone(&ours), how.lock().unwrap().clone());
                // Ends with its connection, or with the receiver.
                std::thread::spawn(move || drop(serve(stream, &manner, &ours)));
            }
        });
        Receiver { port, heard, manner, thread: Some(thread) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on it answers otherwise.
    pub fn becomes(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Everything that it heard.
    pub fn requests(&self) -> Vec<Request> {
        self.heard.requests.lock().unwrap().clone()
    }

    /// Waits until what it heard fits.
    pub fn wait(&self, what: &str, patience: Duration, fits: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let until = Instant::now() + patience;
        let mut requests = self.heard.requests.lock().unwrap();
        while !fits(&requests) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the receiver did not hear {what}: {requests:#?}");
            requests = self.heard.more.wait_timeout(requests, left).unwrap().0;
        }
        requests.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.heard.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(mut stream: TcpStream, manner: &Manner, heard: &Heard) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    if matches!(manner, Manner::Greets) {
        return drip(&mut stream, b"220-x", heard);
    }
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let (head, length) = loop {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let request = Request { head: head.clone(), body: String::new() };
            let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            bytes.drain(..end + 4);
            break (head, length);
        }
    };
    while bytes.len() < length {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
    let request = Request { head, body: String::from_utf8_lossy(&bytes).into_owned() };
    heard.requests.lock().unwrap().push(request.clone());
    heard.more.notify_all();
    answer(&mut stream, manner, &request, heard)
}

fn answer(stream: &mut TcpStream, manner: &Manner, request: &Request, heard: &Heard) -> io::Result<()> {
    let whole = |status: u16, headers: &str, body: &str| {
        format!("HTTP/1.1 {status} Told\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    match manner {
        Manner::Status(status, body) => stream.write_all(whole(*status, "", body).as_bytes()),
        Manner::Redirect(status, place) => stream.write_all(whole(*status, &format!("Location: {place}\r\n"), "").as_bytes()),
        Manner::Echo => {
            let told = format!("{} {}", request.head.replace("\r\n", " | "), request.body);
            stream.write_all(whole(500, "", &told).as_bytes())
        }
        Manner::Silent => {
            // Until the other side has had enough.
            loop {
                let has_gone = matches!(stream.read(&mut [0; 16]), Ok(0));
                if has_gone || heard.over.load(Ordering::SeqCst) {
                    break;
                }
            }
            Ok(())
        }
        Manner::Drips | Manner::Greets => drip(stream, b"HTTP/1.1 200 OK\r\n", heard),
    }
}

fn drip(stream: &mut TcpStream, begin: &[u8], heard: &Heard) -> io::Result<()> {
    stream.write_all(begin)?;
    while !heard.over.load(Ordering::SeqCst) {
        stream.write_all(b"x")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
