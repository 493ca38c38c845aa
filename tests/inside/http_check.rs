//! The HTTP check against servers that answer right, wrong, slowly, endlessly, half, or not at all.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::support::certificate::self_signed;
use crate::check::http::{HttpCheck, HttpParams};
use crate::check::{Check, Context};
use crate::clock::Clock;
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::resolve::Literals;
use failover_core::observation::{DownCause, Finding, Impairment, UnknownCause, Verdict};
use native_tls::{Identity, TlsAcceptor};
use socket2::{Domain, Socket, Type};

/// Longer than anything here takes: it ends a hung test.
const WATCHDOG: Duration = Duration::from_secs(30);
/// Short enough to wait for.
const SOON: Duration = Duration::from_millis(300);

fn run_until(check: &HttpCheck, span: Duration, cancel: &Cancel) -> Finding {
    let clock = Clock::start();
    check.run(&Context { deadline: Deadline::after(span), cancel, clock: &clock, sample: true, addresses: &Literals })
}

fn run(params: HttpParams, span: Duration) -> Finding {
    run_until(&HttpCheck::new(params).unwrap(), span, &Cancel::new().unwrap())
}

fn get(url: &str) -> Finding {
    run(HttpParams::new(url), WATCHDOG)
}

/// An answer with a length.
fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A stream to answer on: plain or TLS.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Reads a request's head; an empty one if the client is gone.
fn head(stream: &mut dyn Stream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

struct Server {
    port: u16,
    heads: Receiver<String>,
}

impl Server {
    /// Answers each connection on its own thread, after its request is read.
    fn start(reply: impl Fn(&str, &mut dyn Stream) + Send + Sync + Clone + 'static) -> Server {
        let (sender, heads) = channel();
        let port = listen(move |mut stream| {
            let head = head(&mut stream);
            let _ = sender.send(head.clone());
            reply(&head, &mut stream);
        });
        Server { port, heads }
    }

    fn says(text: impl Into<String>) -> Server {
        let text = text.into();
        Server::start(move |_, stream| drop(stream.write_all(text.as_bytes())))
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The next request's head.
    fn head(&self) -> String {
        self.heads.recv_timeout(WATCHDOG).unwrap()
    }
}

fn listen(handle: impl Fn(TcpStream) + Send + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(stream));
        }
    });
    port
}

#[test]
fn the_status_is_the_first_half_of_the_answer() {
    let wrong = Verdict::Down(DownCause::WrongAnswer);
    for (status, verdict) in [
        (200, Verdict::Up),
        (201, Verdict::Up),
        (202, wrong.clone()),
        (304, wrong.clone()),
        (401, Verdict::Impaired(Impairment::Authentication)),
        (403, Verdict::Impaired(Impairment::Authentication)),
        (404, wrong.clone()),
        (429, Verdict::Impaired(Impairment::Saturated)),
        (500, wrong.clone()),
        (503, wrong.clone()),
    ] {
        let finding = get(&Server::says(answer(status, "x")).url("/"));
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.message.contains(&status.to_string()), "{finding:?}");
    }
    assert_eq!(get(&Server::says("HTTP/1.1 204 No Content\r\n\r\n").url("/")).verdict, Verdict::Up);
    assert_eq!(get(&Server::says("HTTP/1.0 200 OK\r\n\r\nuntil the end").url("/")).verdict, Verdict::Up);
    let server = Server::says(answer(401, ""));
    let wanted = HttpParams { expected_status: vec![401], ..HttpParams::new(server.url("/")) };
    assert_eq!(run(wanted, WATCHDOG).verdict, Verdict::Up);
}

#[test]
fn the_body_is_the_second_half() {
    let with = |url: String, text: &str, limit| HttpParams {
        expected_body: Some(text.into()),
        body_limit: limit,
        ..HttpParams::new(url)
    };
    let server = Server::start(|_, stream| {
        // The text comes in two pieces, in chunks.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nxx\"stat\r\n");
        std::thread::sleep(Duration::from_millis(30));
        let _ = stream.write_all(b"8\r\nus\":\"ok\"\r\n0\r\n\r\n");
    });
    assert_eq!(run(with(server.url("/"), "\"status\":\"ok\"", 1 << 20), WATCHDOG).verdict, Verdict::Up);
    let finding = run(with(server.url("/"), "\"status\":\"bad\"", 1 << 20), WATCHDOG);
    assert_eq!(finding.verdict, Verdict::Down(DownCause::WrongAnswer), "{finding:?}");

    let late = Server::says(answer(200, &format!("{}needle", "x".repeat(1000))));
    assert_eq!(run(with(late.url("/"), "needle", 1006), WATCHDOG).verdict, Verdict::Up);
    let finding = run(with(late.url("/"), "needle", 1005), WATCHDOG);
    assert_eq!(finding.verdict, Verdict::Down(DownCause::WrongAnswer));
    assert!(finding.message.contains("as far as it was read"), "{finding:?}");

    // A stream that never ends, and has what is wanted at its beginning.
    let stream = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nready\n");
        let _ = stream.read(&mut [0]);
    });
    assert_eq!(run(with(stream.url("/"), "ready", 1 << 20), WATCHDOG).verdict, Verdict::Up);
}

#[test]
fn the_request_is_what_was_asked_for() {
    let server = Server::says(answer(200, ""));
    for method in ["GET", "HEAD", "OPTIONS", "POST"] {
        let finding = run(HttpParams { method: method.into(), ..HttpParams::new(server.url("/a/b?c=d")) }, WATCHDOG);
        assert_eq!(finding.verdict, Verdict::Up, "{method}: {finding:?}");
        let head = server.head();
        assert!(head.starts_with(&format!("{method} /a/b?c=d HTTP/1.1\r\n")), "{head}");
        assert!(head.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{head}");
        assert!(head.contains("user-agent: libfailover/"), "{head}");
    }
    let named = HttpParams {
        server_name: Some("app.example".into()),
        headers: vec![("X-Token".into(), Secret::new("geheim"))],
        ..HttpParams::new(format!("http://user:pass@127.0.0.1:{}/", server.port))
    };
    assert_eq!(run(named, WATCHDOG).verdict, Verdict::Up);
    let head = server.head();
    for line in ["host: app.example\r\n", "x-token: geheim\r\n", "authorization: Basic dXNlcjpwYXNz\r\n"] {
        assert!(head.contains(line), "{head}");
    }
}

#[test]
fn no_message_holds_a_credential() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redirects = Server::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /next?token=geheim\r\nContent-Length: 0\r\n\r\n"));
    });
    let wrong = Server::says(answer(500, "geheim"));
    let garbage = Server::says("geheim\r\n\r\n");
    for authority in [format!("127.0.0.1:{closed}"), format!("127.0.0.1:{}", redirects.port), "no.such.host".to_owned()]
        .into_iter()
        .chain([&wrong, &garbage].map(|server| format!("127.0.0.1:{}", server.port)))
    {
        let params = HttpParams {
            headers: vec![("X-Token".into(), Secret::new("geheim"))],
            ..HttpParams::new(format!("http://geheim:geheim@{authority}/?token=geheim"))
        };
        let finding = run(params, WATCHDOG);
        assert_ne!(finding.verdict, Verdict::Up);
        assert!(!finding.message.contains("geheim"), "{finding:?}");
    }
    for url in ["http://geheim:geheim@h:notaport/", "http://geheim:geheim@/", "geheim:geheim@h", "http://u:geh eim@h/"] {
        assert!(!HttpCheck::new(HttpParams::new(url)).err().unwrap().contains("geheim"));
    }
}

#[test]
fn redirects_are_followed_and_counted() {
    let server = Server::start(|head, stream| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let step: u32 = path.rsplit('/').next().and_then(|last| last.parse().ok()).unwrap_or(0);
        drop(stream.write_all(&match step {
            0 => answer(200, "arrived").into_bytes(),
            step => format!("HTTP/1.1 302 Found\r\nLocation: ../steps/{}\r\n\r\n", step - 1).into_bytes(),
        }));
    });
    let with = |steps: u32, redirects| HttpParams {
        redirects,
        expected_body: Some("arrived".into()),
        ..HttpParams::new(server.url(&format!("/steps/{steps}")))
    };
    for (steps, redirects, up) in [(0, 0, true), (5, 5, true), (6, 5, false), (1, 0, false), (10, 10, true)] {
        let finding = run(with(steps, redirects), WATCHDOG);
        assert_eq!(finding.verdict == Verdict::Up, up, "{steps} steps of {redirects}: {finding:?}");
        assert!(up || finding.message.contains("redirected more than"), "{finding:?}");
    }
    let round = Server::says("HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n");
    assert_eq!(get(&round.url("/")).verdict, Verdict::Down(DownCause::WrongAnswer));
    let nowhere = Server::says("HTTP/1.1 301 Moved\r\nLocation: gopher://x/\r\n\r\n");
    assert_eq!(get(&nowhere.url("/")).verdict, Verdict::Down(DownCause::WrongAnswer));
    // Wanted as it is, it is not followed.
    let wanted = HttpParams { expected_status: vec![301], ..HttpParams::new(round.url("/")) };
    assert_eq!(run(wanted, WATCHDOG).verdict, Verdict::Up);
}

#[test]
fn headers_and_password_stay_within_the_origin() {
    let other = Server::says(answer(200, ""));
    let target = other.url("/there");
    let first = Server::start(move |head, stream| {
        let location = if head.starts_with("GET / ") { "/here" } else { &target };
        drop(stream.write_all(format!("HTTP/1.1 307 Moved\r\nLocation: {location}\r\n\r\n").as_bytes()));
    });
    let params = HttpParams {
        headers: vec![("X-Token".into(), Secret::new("geheim"))],
        ..HttpParams::new(format!("http://user:pass@127.0.0.1:{}/", first.port))
    };
    assert_eq!(run(params, WATCHDOG).verdict, Verdict::Up);
    assert!(first.head().contains("authorization:"));
    assert!(first.head().contains("x-token: geheim"));
    let stranger = other.head();
    assert!(
        stranger.starts_with("GET /there ") && !stranger.contains("geheim") && !stranger.contains("authorization"),
        "{stranger}"
    );
}

#[test]
fn slow_servers_end_at_the_deadline_however_they_are_slow() {
    let drip = |first: &'static str, then: &'static str| {
        Server::start(move |_, stream| {
            let _ = stream.write_all(first.as_bytes());
            while stream.write_all(then.as_bytes()).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let servers = [
        Server::start(|_, stream| drop(stream.read(&mut [0]))),
        drip("HTTP/1.1 200 OK\r\n", "X-Drip: drop\r\n"),
        drip("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "x"),
        drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        drip("HTTP/1.1 200 ", "O"),
    ];
    for (index, server) in servers.iter().enumerate() {
        let finding = run(HttpParams::new(server.url("/")), SOON);
        assert_eq!(finding.verdict, Verdict::Down(DownCause::AnswerTimedOut), "{index}: {finding:?}");
    }
    // A hop of a redirect gets no time of its own.
    let slow = servers[0].url("/");
    let first = Server::says(format!("HTTP/1.1 302 Found\r\nLocation: {slow}\r\n\r\n"));
    assert_eq!(run(HttpParams::new(first.url("/")), SOON).verdict, Verdict::Down(DownCause::AnswerTimedOut));
}

#[test]
fn endless_answers_are_read_up_to_the_limit() {
    let flood = |first: &'static str, then: &'static [u8]| {
        Server::start(move |_, stream| {
            let _ = stream.write_all(first.as_bytes());
            while stream.write_all(then).is_ok() {}
        })
    };
    let finding = get(&flood("HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 8192]).url("/"));
    assert_eq!(finding.verdict, Verdict::Up, "{finding:?}");
    let finding = get(&flood("HTTP/1.1 200 OK\r\n", b"X-Long: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").url("/"));
    assert_eq!(finding.verdict, Verdict::Down(DownCause::WrongAnswer), "{finding:?}");
    let finding = get(&flood("", &[b'x'; 8192]).url("/"));
    assert_eq!(finding.verdict, Verdict::Down(DownCause::WrongAnswer), "{finding:?}");
}

/// They are answers, however odd: a server that gives one is up.
#[test]
fn odd_answers_are_answers() {
    use std::fmt::Write as _;
    let many = (0..150).fold(String::new(), |mut text, number| {
        let _ = write!(text, "X-{number}: {number}\r\n");
        text
    });
    let wanted = HttpParams {
        expected_header: Some(("x-role".into(), "a b".into())),
        expected_body: Some("tail".into()),
        ..HttpParams::new(
            Server::says(format!("HTTP/1.1 200 OK\r\n{many}X-Role: a\r\n b\r\nContent-Length: 4\r\n\r\ntail")).url("/"),
        )
    };
    let finding = run(wanted, WATCHDOG);
    assert_eq!(finding.verdict, Verdict::Up, "{finding:?}");
    for (location, path) in [("/with space", "/with%20space"), ("/m\u{fc}ll", "/m%C3%BCll")] {
        let text = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let server = Server::start(move |head, stream| {
            let text = if head.contains(path) { answer(200, "") } else { text.clone() };
            drop(stream.write_all(text.as_bytes()));
        });
        let finding = get(&server.url("/"));
        assert_eq!(finding.verdict, Verdict::Up, "{finding:?}");
    }
}

#[test]
fn half_answers_and_garbage_are_failures_with_a_name() {
    for (text, cause) in [
        ("", DownCause::Reset),
        ("HTTP/1.1 200 O", DownCause::Reset),
        ("HTTP/1.1 200 OK\r\nContent-Le", DownCause::Reset),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", DownCause::Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", DownCause::Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a number\r\n", DownCause::WrongAnswer),
        ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", DownCause::WrongAnswer),
        ("HTTP/9.9 200 OK\r\n\r\n", DownCause::WrongAnswer),
        ("HTTP/1.1 99999 OK\r\n\r\n", DownCause::WrongAnswer),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", DownCause::WrongAnswer),
        ("\0\u{1}\u{2}\r\n\r\n", DownCause::WrongAnswer),
        ("<html>\r\n\r\n", DownCause::WrongAnswer),
    ] {
        let finding = get(&Server::says(text).url("/"));
        assert_eq!(finding.verdict, Verdict::Down(cause), "{text:?}: {finding:?}");
        assert!(!finding.message.chars().any(char::is_control), "{finding:?}");
    }
}

#[test]
fn a_connection_that_fails_says_how() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(get(&format!("http://127.0.0.1:{closed}/")).verdict, Verdict::Down(DownCause::Refused));

    let resets = listen(|stream| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(get(&format!("http://127.0.0.1:{resets}/")).verdict, Verdict::Down(DownCause::Reset));

    assert_eq!(get("http://app.example/").verdict, Verdict::Unknown(UnknownCause::Resolver));

    // A listener whose queue is full drops every further SYN.
    let hole = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    hole.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    hole.listen(0).unwrap();
    let address = hole.local_addr().unwrap();
    let stuffing: Vec<Socket> = (0..3)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
            let _ = socket.connect(&address);
            socket
        })
        .collect();
    let url = format!("http://127.0.0.1:{}/", address.as_socket().unwrap().port());
    let finding = run(HttpParams::new(url), SOON);
    assert_eq!(finding.verdict, Verdict::Down(DownCause::ConnectTimedOut), "{finding:?}");
    drop(stuffing);
}

#[test]
fn a_cancelled_check_says_nothing_about_the_server() {
    let server = Server::start(|_, stream| drop(stream.read(&mut [0])));
    let check = HttpCheck::new(HttpParams::new(server.url("/"))).unwrap();
    let cancel = Cancel::new().unwrap();
    let other = cancel.clone();
    let waiter = std::thread::spawn(move || run_until(&check, WATCHDOG, &other));
    server.head();
    cancel.cancel();
    assert_eq!(waiter.join().unwrap().verdict, Verdict::Unknown(UnknownCause::NoAnswerFromHost));
}

/// A certificate for `app.example` and 127.0.0.1 that signed itself, and its key, as PEM.
fn certificate() -> &'static (tempfile::TempDir, PathBuf, Identity) {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf, Identity)> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(folder.path(), "/CN=app.example", "DNS:app.example,IP:127.0.0.1");
        let identity = Identity::from_pkcs8(&std::fs::read(&certificate).unwrap(), &std::fs::read(&key).unwrap()).unwrap();
        (folder, certificate, identity)
    })
}

fn tls_server(reply: impl Fn(&str, &mut dyn Stream) + Send + Clone + 'static) -> u16 {
    let acceptor = TlsAcceptor::new(certificate().2.clone()).unwrap();
    listen(move |stream| {
        if let Ok(mut stream) = acceptor.accept(stream) {
            let head = head(&mut stream);
            reply(&head, &mut stream);
            let _ = stream.shutdown();
        }
    })
}

#[test]
fn tls_is_verified_and_its_trouble_is_not_the_servers_death() {
    let port = tls_server(|_, stream| drop(stream.write_all(answer(200, "secure").as_bytes())));
    let tls = Verdict::Impaired(Impairment::Tls);
    let ca = Some(certificate().1.clone());
    let url = format!("https://127.0.0.1:{port}/");

    let finding = get(&url);
    assert_eq!(finding.verdict, tls, "not trusted: {finding:?}");
    let trusted = HttpParams { ca_file: ca.clone(), expected_body: Some("secure".into()), ..HttpParams::new(&url) };
    let finding = run(trusted.clone(), WATCHDOG);
    assert_eq!(finding.verdict, Verdict::Up, "{finding:?}");
    let named = HttpParams { server_name: Some("app.example".into()), ..trusted.clone() };
    assert_eq!(run(named, WATCHDOG).verdict, Verdict::Up);
    let misnamed = HttpParams { server_name: Some("other.example".into()), ..trusted };
    assert_eq!(run(misnamed, WATCHDOG).verdict, tls);

    let plain = listen(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    });
    let finding = get(&format!("https://127.0.0.1:{plain}/"));
    assert_eq!(finding.verdict, tls, "no TLS there: {finding:?}");
}

#[test]
fn a_tls_server_can_be_slow_or_gone_like_any_other() {
    let silent = listen(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    let finding = run(HttpParams::new(format!("https://127.0.0.1:{silent}/")), SOON);
    assert_eq!(finding.verdict, Verdict::Down(DownCause::AnswerTimedOut), "{finding:?}");

    let gone = listen(|mut stream| drop(stream.read(&mut [0; 1024])));
    let finding = get(&format!("https://127.0.0.1:{gone}/"));
    assert_eq!(finding.verdict, Verdict::Down(DownCause::Reset), "{finding:?}");

    let drips = tls_server(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let url = format!("https://127.0.0.1:{drips}/");
    let finding = run(HttpParams { ca_file: Some(certificate().1.clone()), ..HttpParams::new(url) }, SOON);
    assert_eq!(finding.verdict, Verdict::Down(DownCause::AnswerTimedOut), "{finding:?}");
}

#[test]
fn a_redirect_from_https_to_http_is_not_followed() {
    let plain = Server::says(answer(200, ""));
    let target = plain.url("/");
    let port = tls_server(move |_, stream| {
        drop(stream.write_all(format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n").as_bytes()));
    });
    let url = format!("https://127.0.0.1:{port}/");
    let finding = run(HttpParams { ca_file: Some(certificate().1.clone()), ..HttpParams::new(url) }, WATCHDOG);
    assert_eq!(finding.verdict, Verdict::Down(DownCause::WrongAnswer), "{finding:?}");
    assert!(finding.message.contains("from HTTPS to http://"), "{finding:?}");
}

#[test]
fn wrong_parameters_are_named() {
    let base = || HttpParams::new("http://127.0.0.1/");
    let secret = |name: &str, value: &str| vec![(name.to_owned(), Secret::new(value))];
    let cases = [
        (HttpParams::new("not a url"), "url"),
        (HttpParams::new("/path"), "http://"),
        (HttpParams::new("ftp://h/"), "http://"),
        (HttpParams::new("http://h:70000/"), "port"),
        (HttpParams::new("http://h:/"), "port"),
        (HttpParams::new("http://h:0/"), "port"),
        (HttpParams { server_name: Some("a:x".into()), ..base() }, "server_name"),
        (HttpParams { method: "DELETE".into(), ..base() }, "DELETE"),
        (HttpParams { expected_status: vec![], ..base() }, "expected_status"),
        (HttpParams { expected_status: vec![200, 99], ..base() }, "99"),
        (HttpParams { redirects: 11, ..base() }, "redirects"),
        (HttpParams { headers: secret("bad name", "x"), ..base() }, "bad name"),
        (HttpParams { headers: secret("X-Ok", "geheim\n"), ..base() }, "X-Ok"),
        (HttpParams { headers: secret("Host", "h"), ..base() }, "server_name"),
        (HttpParams { server_name: Some("a b".into()), ..base() }, "server_name"),
        (HttpParams { server_name: Some("u@h".into()), ..base() }, "server_name"),
        (HttpParams { method: "HEAD".into(), expected_body: Some("x".into()), ..base() }, "HEAD"),
        (HttpParams { ca_file: Some("/no/such/file".into()), ..base() }, "/no/such/file"),
        (HttpParams { ca_file: Some("/dev/null".into()), ..base() }, "no certificate"),
    ];
    for (params, words) in cases {
        let error = HttpCheck::new(params.clone()).err().unwrap_or_else(|| panic!("{params:?}"));
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("geheim"));
    }
    let hidden = HttpParams { headers: secret("X-Ok", "geheim"), ..HttpParams::new("http://u:geheim@h/?geheim") };
    assert!(!format!("{hidden:?}").contains("geheim"));
}
