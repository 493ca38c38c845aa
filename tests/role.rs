//! The role endpoint: load balancers that ask the engine who is active, in front of an application and of PostgreSQL while each
//! is failed over, and clients that mean no good.

use crate::support;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::lab::{free_port, wait_until};
use crate::support::queue;
use crate::support::web::get;
use crate::support::{Lab, Pair, PairOptions, Site, SiteOptions};
use failover::{Config, Engine, EngineError, EventKind, EventQueue};

const LONG: Duration = Duration::from_secs(60);

/// Sends this and reads to the end.
fn ask(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LONG)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The code of the answer to a request for this path.
fn code(address: SocketAddr, method: &str, path: &str) -> u16 {
    let answer = ask(address, &format!("{method} {path} HTTP/1.1\r\nHost: role\r\n\r\n")).unwrap();
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no status line: {answer:?}"))
}

fn wait_code(address: SocketAddr, path: &str, wanted: u16) {
    wait_until(&format!("{wanted} of {path}"), LONG, || Ok((code(address, "GET", path) == wanted).then_some(()))).unwrap();
}

/// The role endpoint is set in the first lines of a configuration.
fn with_endpoint(text: &str, address: &str) -> String {
    text.replacen("\n[[services]]", &format!("\n[engine]\nrole_endpoint = \"{address}\"\n\n[[services]]"), 1)
}

fn started(text: &str) -> (Engine, EventQueue, SocketAddr) {
    let config = Config::parse_toml(text).unwrap_or_else(|errors| panic!("{errors}"));
    let engine = Engine::new(config).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let address = engine.status().role_endpoint.expect("it listens").parse().unwrap();
    (engine, queue, address)
}

/// An application whose one check is answered as said.
fn scripted(state: &std::path::Path, endpoint: &str) -> String {
    format!(
        "version = 1\nstate_dir = \"{}\"\n[engine]\nrole_endpoint = \"{endpoint}\"\n[[services]]\nname = \"web\"\n\
         kind = \"application\"\n[[services.servers]]\nname = \"web1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\nport = 81\n\
         [[services.servers]]\nname = \"web2\"\nrole = \"standby\"\nhost = \"127.0.0.1\"\nport = 82\n\
         [[services.checks]]\nname = \"page\"\nserver = \"web1\"\nkind = \"scripted\"\nanswers = [\"up\"]\ninterval = \"100ms\"\n\
         [[services.checks]]\nname = \"other\"\nserver = \"web2\"\nkind = \"scripted\"\nanswers = [\"up\"]\ninterval = \"100ms\"\n",
        state.display()
    )
}

fn wait_for(queue: &EventQueue, kind: EventKind) {
    queue::wait_for(queue, kind.as_str(), LONG, |event| event.kind == kind);
}

/// Asks about `new` and then about `old` until told to end: what `new` is told to be active before, `old` is not any more.
struct Poll {
    rounds: AtomicUsize,
    both: AtomicUsize,
    over: AtomicBool,
}

impl Poll {
    fn while_doing(address: SocketAddr, [old, new]: [&str; 2], work: impl FnOnce()) {
        let poll = Poll { rounds: AtomicUsize::new(0), both: AtomicUsize::new(0), over: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !poll.over.load(Ordering::SeqCst) {
                        let is_new = code(address, "GET", new) == 200;
                        let is_old = code(address, "GET", old) == 200;
                        poll.both.fetch_add(usize::from(is_new && is_old), Ordering::SeqCst);
                        poll.rounds.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            let end = OnDrop(&poll.over);
            work();
            drop(end);
        });
        assert!(poll.rounds.load(Ordering::SeqCst) > 0);
        assert_eq!(poll.both.load(Ordering::SeqCst), 0, "two were active at once");
    }
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An HAProxy that only asks the role endpoint whom to send its clients to.
fn asking_balancer(lab: &Lab, mode: &str, service: &str, role: SocketAddr, servers: &[(&str, u16)]) -> (support::Process, u16) {
    let front = free_port().unwrap();
    let mut text = format!(
        "global\n    maxconn 100\ndefaults\n    mode {mode}\n    timeout connect 2s\n    timeout client 30s\n    timeout server 30s\n\
         \nlisten asking\n    bind 127.0.0.1:{front}\n    option httpchk\n    timeout check 2s\n    default-server inter 100ms fall 1 rise 1 on-marked-down shutdown-sessions\n"
    );
    for (name, port) in servers {
        let _ = writeln!(text, "    server {name} 127.0.0.1:{port} check port {} addr {}", role.port(), role.ip());
    }
    // Each server has a path of its own, and a check has one path: the name of the server is the last part of it.
    let text = text.replacen(
        "    option httpchk\n",
        &format!("    option httpchk\n    http-check send meth OPTIONS uri-lf /{service}/%[srv_name]\n"),
        1,
    );
    let config = lab.write("asking.cfg", text, 0o600).unwrap();
    let mut command = lab.command("haproxy");
    command.arg("-db").arg("-f").arg(&config);
    (lab.spawn("asking", command).unwrap(), front)
}

#[test]
fn who_is_active_is_told_by_code_and_what_is_unknown_is_not() {
    let state = tempfile::tempdir().unwrap();
    let (engine, _queue, address) = started(&scripted(state.path(), "127.0.0.1:0"));
    wait_code(address, "/web/web1", 200);
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!((code(address, method, "/web/web1"), code(address, method, "/web/web2")), (200, 503), "{method}");
    }
    assert_eq!((code(address, "GET", "/"), code(address, "GET", "/web"), code(address, "GET", "/web/web1?x=1")), (200, 200, 200));
    assert_eq!(
        (code(address, "GET", "/nothing"), code(address, "GET", "/web/nobody"), code(address, "GET", "/web/web1/x")),
        (404, 404, 404)
    );
    assert_eq!((code(address, "POST", "/web/web1"), code(address, "get", "/web/web1")), (405, 400));
    let answer = ask(address, "GET /web/web2 HTTP/1.1\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&body["active"], &body["role"], &body["why"]),
        (&false.into(), &"standby".into(), &"another server is the primary".into())
    );
    engine.stop(LONG).unwrap();
    assert!(TcpStream::connect_timeout(&address, LONG).is_err(), "nobody listens after the stop");
}

#[test]
fn an_address_in_use_is_a_named_error_and_another_address_waits_for_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let engine = Engine::new(Config::parse_toml(&scripted(state.path(), &address)).unwrap()).unwrap();
    let error = engine.start().unwrap_err();
    assert!(matches!(error, EngineError::System { .. }), "{error}");
    assert!(error.to_string().contains(&address) && error.to_string().contains("engine.role_endpoint"), "{error}");
    drop(engine);
    drop(taken);
    let (engine, queue, bound) = started(&scripted(state.path(), "127.0.0.1:0"));
    engine.reload(Config::parse_toml(&scripted(state.path(), &address)).unwrap()).unwrap();
    while !queue.next(LONG).expect("a warning").message.contains("engine.role_endpoint is fixed at start") {}
    wait_code(bound, "/web/web1", 200);
    engine.stop(LONG).unwrap();
}

#[test]
fn slow_rude_and_many_clients_keep_nobody_from_an_answer_nor_the_engine_from_its_stop() {
    let state = tempfile::tempdir().unwrap();
    let (engine, _queue, address) = started(&scripted(state.path(), "127.0.0.1:0"));
    wait_code(address, "/web/web1", 200);
    // More than there is room for, each with half a request.
    let mut slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect_timeout(&address, LONG).unwrap();
            let _ = stream.write_all(b"GET /web/web1 HTT");
            stream
        })
        .collect();
    assert_eq!(code(address, "GET", "/web/web1"), 200);
    for rude in ["\r\n\r\n", "GET\r\n\r\n", "\0\u{1}\u{2}\r\n\r\n", "GET http://x/ HTTP/1.1\r\n\r\n", "GET /\t HTTP/1.1\r\n\r\n"]
    {
        assert!(ask(address, rude).unwrap().starts_with("HTTP/1.1 400 "), "{rude:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(5000));
    assert!(ask(address, &long).unwrap().starts_with("HTTP/1.1 431 "));
    assert_eq!(code(address, "GET", "/web/web1"), 200);
    // Every half request is closed without being answered, when its time is over or its place is needed.
    for stream in &mut slow {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
    let _held: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect_timeout(&address, LONG).unwrap()).collect();
    engine.stop(LONG).unwrap();
}

#[test]
fn a_balancer_that_asks_follows_an_application_and_two_are_never_active() {
    let site = Site::start(&SiteOptions::default()).unwrap();
    let text = with_endpoint(&std::fs::read_to_string(&site.config).unwrap(), "127.0.0.1:0");
    let (engine, queue, address) = started(&text);
    let ports: Vec<(&str, u16)> = site.servers.iter().map(|server| (server.name(), server.port())).collect();
    let (_balancer, front) = asking_balancer(&site.lab, "http", "web", address, &ports);
    let answers = |who: &str| {
        wait_until(&format!("{who} through the balancer"), LONG, || {
            Ok(get(front, Duration::from_secs(2)).is_ok_and(|answer| answer == (200, who.to_owned())).then_some(()))
        })
        .unwrap();
    };
    answers("app1");
    assert_eq!((code(address, "GET", "/web/app1"), code(address, "GET", "/web/app2")), (200, 503));
    wait_until("readiness", LONG, || Ok(engine.status().services[0].forecast.would_fail_over.then_some(()))).unwrap();
    Poll::while_doing(address, ["/web/app1", "/web/app2"], || {
        site.servers[0].kill();
        wait_for(&queue, EventKind::FailoverCompleted);
        wait_code(address, "/web/app2", 200);
    });
    assert_eq!(code(address, "GET", "/web/app1"), 503);
    answers("app2");
    engine.stop(LONG).unwrap();
}

#[test]
fn a_balancer_that_asks_follows_a_database_and_two_are_never_active() {
    let pair = Pair::start(&PairOptions::default(), |_| {}).unwrap();
    let text = with_endpoint(&std::fs::read_to_string(&pair.config).unwrap(), "127.0.0.1:0");
    let (engine, queue, address) = started(&text);
    let service = engine.status().services[0].name.clone();
    let servers: Vec<String> = engine.status().services[0].servers.iter().map(|server| server.name.clone()).collect();
    let paths: Vec<String> = servers.iter().map(|server| format!("/{service}/{server}")).collect();
    wait_code(address, &paths[0], 200);
    assert_eq!(code(address, "GET", &paths[1]), 503);
    wait_until("readiness", LONG, || Ok(engine.status().services[0].forecast.would_fail_over.then_some(()))).unwrap();
    let ports: Vec<(&str, u16)> = servers.iter().map(String::as_str).zip([pair.db1.port(), pair.db2.port()]).collect();
    let (_balancer, front) = asking_balancer(&pair.lab, "tcp", &service, address, &ports);
    wait_until("a way through the balancer", LONG, || Ok(TcpStream::connect(("127.0.0.1", front)).ok().map(drop))).unwrap();
    Poll::while_doing(address, [&paths[0], &paths[1]], || {
        pair.db1.kill_all();
        wait_for(&queue, EventKind::FailoverCompleted);
        wait_code(address, &paths[1], 200);
    });
    assert_eq!(code(address, "GET", &paths[0]), 503);
    engine.stop(LONG).unwrap();
}
