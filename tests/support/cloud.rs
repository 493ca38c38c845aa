//! A small HTTP server whose every answer the test decides: for what a stand-in of the cloud cannot be made to do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, `POST`...
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The lines of the head after the first.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    raw: Vec<u8>,
}

impl Asked {
    /// A header's value, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// What to do with a request.
pub enum Answer {
    /// A status and a body.
    Whole(u16, String),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, until the client goes.
    Silence,
    /// A status, and a body that never ends, byte by byte.
    Drip,
    /// What the server on this loopback port says to the same bytes.
    Of(u16),
}

/// A running server.
pub struct Cloud {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

impl Cloud {
    /// Listens on a loopback port. `answer` is called once per request; a connection carries one.
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> io::Result<Cloud> {
        let listener = TcpListener::bind(("127.0.0.1", super::lab::free_port()?))?;
        let port = listener.local_addr()?.port();
        let cloud = Cloud { port, asked: Arc::default(), stop: Arc::default() };
        let (asked, stop) = (Arc::clone(&cloud.asked), Arc::clone(&cloud.stop));
        let answer = Arc::new(answer);
        std::thread::Builder::new().name("cloud".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                if let Ok(client) = client {
                    let _ = std::thread::Builder::new().name("cloud-client".to_owned()).spawn(move || {
                        let _ = serve(&client, &asked, &*answer);
                        let _ = client.shutdown(Shutdown::Both);
                    });
                }
            }
        })?;
        Ok(cloud)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request so far, in the order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests of this method had a path that begins so.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.method == method && asked.path.starts_with(path)).count()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(mut client: &TcpStream, asked: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Answer) -> io::Result<()> {
    let request = read(client)?;
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    match answer(&request) {
        Answer::Whole(status, body) => {
            write!(client, "HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        Answer::Raw(bytes) => client.write_all(&bytes),
        Answer::Silence => client.read_to_end(&mut Vec::new()).map(drop),
        Answer::Drip => {
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
            for _ in 0..100_000 {
                client.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        }
        Answer::Of(port) => {
            let mut server = TcpStream::connect(("127.0.0.1", port))?;
            server.write_all(&request.raw)?;
            io::copy(&mut server, &mut client).map(drop)
        }
    }
}

fn read(client: &TcpStream) -> io::Result<Asked> {
    let mut reader = BufReader::new(client);
    let mut raw = Vec::new();
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        raw.extend_from_slice(line.as_bytes());
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let mut words = lines.first().map_or("", String::as_str).split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
        .collect();
    let mut asked = Asked { method, path, headers, body: String::new(), raw };
    let length = asked.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.raw.extend_from_slice(&body);
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Ok(asked)
}
