//! The role endpoint: who has the traffic, for those who can only ask by HTTP. Never two at once.

#[path = "support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use failover::{Config, Engine, EventKind, EventQueue};
use support::lab::free_port;
use support::{Pair, PairOptions, Site, SiteOptions};

const LONG: Duration = Duration::from_secs(90);

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// What comes back for these bytes.
fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port);
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    // It may end the connection while we still send.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn status(port: u16, path: &str) -> u16 {
    let answer = say(port, format!("GET {path} HTTP/1.1\r\nHost: engine\r\n\r\n").as_bytes());
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{path}: {answer:?}"))
}

/// Gives the configuration a role endpoint and starts the engine.
fn start(config: &std::path::Path) -> (Engine, EventQueue, u16) {
    let port = free_port().unwrap();
    let text = std::fs::read_to_string(config).unwrap();
    let text = text.replacen("\n[[services]]", &format!("\n[engine]\nrole_endpoint = \"127.0.0.1:{port}\"\n\n[[services]]"), 1);
    std::fs::write(config, text).unwrap();
    let engine = Engine::new(Config::load(config).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    (engine, queue, port)
}

fn until(what: &str, fits: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !fits() {
        assert!(Instant::now() < end, "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn wait(queue: &EventQueue, kind: EventKind) {
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        if queue.next(Duration::from_secs(1)).is_some_and(|event| event.kind == kind) {
            return;
        }
    }
    panic!("{} never came", kind.word());
}

/// Asks for two servers in turn, as long as it lives; counts how often both were the active one between two looks at the first.
struct Witness {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Witness {
    fn start(port: u16, service: &'static str, servers: [&'static str; 2]) -> Witness {
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (end, count) = (Arc::clone(&over), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let mut wrong = Vec::new();
            while !end.load(Ordering::SeqCst) {
                let ask = |server: &str| status(port, &format!("/{service}/{server}"));
                // Framed by itself, so that a change in between is seen as one.
                let seen = (ask(servers[0]), ask(servers[1]), ask(servers[0]));
                if seen == (200, 200, 200) {
                    wrong.push(format!("{seen:?}"));
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
            wrong
        });
        Witness { over, asked, thread: Some(thread) }
    }

    fn assert_never_both(mut self) {
        self.over.store(true, Ordering::SeqCst);
        let wrong = self.thread.take().unwrap().join().unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(self.asked.load(Ordering::SeqCst) > 10, "it asked all the time");
    }
}

#[test]
fn only_the_active_server_of_an_application_is_answered_with_200() {
    let site = Site::start(&SiteOptions::default()).unwrap();
    let (engine, queue, port) = start(&site.config);
    until("app1 is active", || status(port, "/web/app1") == 200 && engine.status().services[0].forecast.would_fail_over);
    assert_eq!((status(port, "/web/app2"), status(port, "/web")), (503, 200));
    let witness = Witness::start(port, "web", ["app1", "app2"]);
    site.servers[0].kill();
    wait(&queue, EventKind::FailoverCompleted);
    assert_eq!((status(port, "/web/app1"), status(port, "/web/app2")), (503, 200));
    witness.assert_never_both();
    let body = say(port, b"GET /web/app1?from=lb HTTP/1.0\r\n\r\n");
    assert!(body.contains("\"role\":\"not_active\"") && body.contains("another server has the traffic"), "{body}");
    engine.stop(LONG).unwrap();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "nobody answers for an engine that is stopped");
}

#[test]
fn the_old_primary_of_a_database_is_none_before_the_new_one_is() {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
    let (engine, queue, port) = start(&pair.config);
    until("db1 is active", || status(port, "/orders/db1") == 200 && engine.status().services[0].forecast.would_fail_over);
    let witness = Witness::start(port, "orders", ["db1", "db2"]);
    pair.db1.kill_all();
    wait(&queue, EventKind::PointOfNoReturn);
    assert_eq!(status(port, "/orders/db1"), 503);
    wait(&queue, EventKind::FailoverCompleted);
    assert_eq!((status(port, "/orders/db1"), status(port, "/orders/db2")), (503, 200));
    witness.assert_never_both();
    engine.stop(LONG).unwrap();
}

#[test]
fn nobody_keeps_others_waiting_and_rubbish_is_named() {
    let site = Site::start(&SiteOptions { balancers: 1, ..SiteOptions::default() }).unwrap();
    let (engine, _queue, port) = start(&site.config);
    until("app1 is active", || status(port, "/web/app1") == 200);
    // Connected and silent, and one that sends a byte now and then.
    let silent: Vec<TcpStream> = (0..40).map(|_| connect(port)).collect();
    let mut slow = connect(port);
    slow.write_all(b"GET /web/app1 HT").unwrap();
    for (request, code) in [
        (&b"GET /web/app1 HTTP/1.1\r\n\r\n"[..], "200"),
        (b"GET /web/app1 HTTP/1.0\n\n", "200"),
        (b"OPTIONS /web/app1 HTTP/1.1\r\n\r\n", "200"),
        (b"GET /web/app9 HTTP/1.1\r\n\r\n", "404"),
        (b"GET /shop/app1 HTTP/1.1\r\n\r\n", "404"),
        (b"GET / HTTP/1.1\r\n\r\n", "404"),
        (b"GET /web/app1/more HTTP/1.1\r\n\r\n", "404"),
        (b"POST /web/app1 HTTP/1.1\r\n\r\n", "405"),
        (b"GET /web/app1\r\n\r\n", "400"),
        (b"GET web HTTP/1.1\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "400"),
        (b"\r\n\r\n", "400"),
    ] {
        let answer = say(port, request);
        assert_eq!(answer.split(' ').nth(1), Some(code), "{:?}: {answer:?}", String::from_utf8_lossy(request));
    }
    let head = say(port, b"HEAD /web/app1 HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head:?}");
    let long = say(port, &[b'a'; 5_000]);
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431 "), "{long:?}");
    // Each has a deadline of its own: then it is let go.
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(rest.is_empty(), "half a request has no answer");
    for mut one in silent {
        assert_eq!(one.read(&mut [0; 1]).unwrap_or(0), 0);
    }
    engine.stop(LONG).unwrap();
}

#[test]
fn an_address_in_use_is_an_error_of_the_start() {
    let site = Site::start(&SiteOptions { balancers: 1, ..SiteOptions::default() }).unwrap();
    let (engine, _queue, port) = start(&site.config);
    let text = std::fs::read_to_string(&site.config).unwrap();
    let state = site.lab.folder("other-state").unwrap();
    let text = text.replacen(&site.state.display().to_string(), &state.display().to_string(), 1);
    let other = Engine::new(Config::parse_toml(&text).unwrap()).unwrap();
    let error = other.start().unwrap_err().to_string();
    assert!(error.contains(&format!("engine.role_endpoint 127.0.0.1:{port}")) && error.contains("in use"), "{error}");
    engine.stop(LONG).unwrap();
    let named = text.replace("role_endpoint = \"127.0.0.1:", "role_endpoint = \"localhost:");
    let error = Config::parse_toml(&named).unwrap_err().to_string();
    assert!(error.contains("/engine/role_endpoint") && error.contains("write an address"), "{error}");
}
