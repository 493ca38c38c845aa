//! The role endpoint: a small HTTP server that tells load balancers and DNS health checkers who is active.
//!
//! `/SERVICE/SERVER` is 200 only while this engine knows that the server is the active one and serves, else 503 with the reason.
//! What is not known is not active: of one service there are never two answers of 200 that hold at the same time. Nothing can be changed through it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use serde_json::{Value, json};

use crate::deadline::{Cancel, Deadline};
use failover_core::health::Health;
use failover_core::id::ServerId;
use failover_core::plan::Phase;
use failover_core::snapshot::{ServerSnapshot, ServiceSnapshot, Snapshot};
use failover_core::trigger::State;

use super::Shell;
use super::error::EngineError;
use super::threads::Duty;

/// Threads that answer.
pub(super) const THREADS: usize = 2;
/// A connection is over by then, however its client drips.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest head of a request.
const HEAD: usize = 4096;
/// Connections of one thread; whoever comes then takes the place of the one that dawdles longest.
const CONNECTIONS: usize = 64;
/// What is read of one connection at most: a client that still sends while it is told that its request is too long.
const FLOOD: usize = 4 * HEAD;
/// A thread without a client comes round this often.
const IDLE: Duration = Duration::from_secs(10);
/// Longer than a turn that goes well.
const TURN: Duration = Duration::from_secs(20);
/// After a failed accept: the process has no descriptors left, and those of others come back.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

/// Listens, and answers nobody yet.
///
/// # Errors
/// [`EngineError::System`] naming the address and the setting.
pub(super) fn listen(address: SocketAddr) -> Result<(Vec<TcpListener>, SocketAddr), EngineError> {
    let failed = |error| EngineError::system(format!("cannot listen on {address} (engine.role_endpoint)"), error);
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let mut listeners = Vec::new();
    for _ in 1..THREADS {
        listeners.push(listener.try_clone().map_err(failed)?);
    }
    listeners.push(listener);
    Ok((listeners, bound))
}

/// The body of a thread; ends when cancelled. `trigger`: what the engine knows is old while that one does not come round.
pub(super) fn run(shell: &Shell, listener: &TcpListener, duty: &Duty, trigger: &Duty, cancel: &Cancel) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        duty.begin(TURN);
        accept(listener, &mut connections, cancel);
        let answer = |head: &[u8]| respond(head, &|path| look_up(shell, trigger, path));
        connections.retain_mut(|connection| !connection.deadline.is_over() && connection.go_on(&answer));
        let soonest = connections.iter().map(|connection| connection.deadline.remaining()).min().unwrap_or(IDLE);
        let waited: Vec<(BorrowedFd<'_>, PollFlags)> = std::iter::once((listener.as_fd(), PollFlags::IN))
            .chain(connections.iter().map(|connection| (connection.stream.as_fd(), connection.wanted())))
            .collect();
        duty.rest();
        if cancel.wait_for_any(&waited, Deadline::after(soonest)) {
            return;
        }
    }
}

fn accept(listener: &TcpListener, connections: &mut Vec<Connection>, cancel: &Cancel) {
    // Bounded, so that nobody who comes again and again keeps the others from their answers.
    for _ in 0..CONNECTIONS {
        match listener.accept() {
            Ok((stream, _)) => {
                if stream.set_nonblocking(true).is_err() {
                    continue;
                }
                let _ = stream.set_nodelay(true);
                if connections.len() >= CONNECTIONS {
                    connections.remove(0);
                }
                connections.push(Connection::new(stream));
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => {
                let _ = cancel.pause(NO_DESCRIPTORS, Deadline::after(NO_DESCRIPTORS * 2));
                return;
            }
        }
    }
}

/// One client and one request of it.
struct Connection {
    stream: TcpStream,
    deadline: Deadline,
    read: Vec<u8>,
    /// The answer, and how much of it is sent.
    answer: Option<(Vec<u8>, usize)>,
    /// What was read after the head.
    ignored: usize,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        Connection { stream, deadline: Deadline::after(PATIENCE), read: Vec::new(), answer: None, ignored: 0 }
    }

    fn wanted(&self) -> PollFlags {
        match &self.answer {
            Some((answer, sent)) if *sent < answer.len() => PollFlags::OUT,
            _ => PollFlags::IN,
        }
    }

    /// Reads and writes what can be now. `false`: it is over.
    fn go_on(&mut self, respond: &dyn Fn(&[u8]) -> Vec<u8>) -> bool {
        while self.answer.is_none() {
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if let Some(end) = end_of_head(&self.read) {
                self.answer = Some((respond(&self.read[..end]), 0));
            } else if self.read.len() > HEAD {
                self.answer = Some((respond(&self.read), 0));
            }
        }
        let Some((answer, sent)) = &mut self.answer else { return true };
        while *sent < answer.len() {
            match self.stream.write(&answer[*sent..]) {
                Ok(0) => return false,
                Ok(count) => *sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if *sent == answer.len() {
                let _ = self.stream.shutdown(std::net::Shutdown::Write);
            }
        }
        self.drain()
    }

    /// A socket that is closed with unread input is reset, and the answer with it: the client closes first.
    fn drain(&mut self) -> bool {
        let mut buffer = [0; 1024];
        while self.ignored < FLOOD {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.ignored += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        false
    }
}

fn end_of_head(read: &[u8]) -> Option<usize> {
    let crlf = read.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4);
    crlf.or_else(|| read.windows(2).position(|bytes| bytes == b"\n\n").map(|at| at + 2)).filter(|end| *end <= HEAD)
}

/// The answer to a request: its head as it was read.
fn respond(head: &[u8], look_up: &dyn Fn(&str) -> (u16, Value)) -> Vec<u8> {
    let mut bodiless = false;
    let (code, body) = match request(head) {
        Err(code) => (code, json!({ "error": reason(code) })),
        Ok((method, path)) => {
            bodiless = method == "HEAD";
            if matches!(method, "GET" | "HEAD" | "OPTIONS") {
                look_up(path)
            } else {
                (405, json!({ "error": "only GET, HEAD and OPTIONS: nothing can be changed here" }))
            }
        }
    };
    let mut text = body.to_string();
    text.push('\n');
    let allow = if code == 405 { "Allow: GET, HEAD, OPTIONS\r\n" } else { "" };
    let mut answer = format!(
        "HTTP/1.1 {code} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{allow}Connection: close\r\n\r\n",
        reason(code),
        text.len()
    );
    if !bodiless {
        answer.push_str(&text);
    }
    answer.into_bytes()
}

/// Method and path of a request.
fn request(head: &[u8]) -> Result<(&str, &str), u16> {
    if end_of_head(head).is_none() {
        return Err(431);
    }
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| 400_u16)?.trim_end_matches('\r');
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some("HTTP/1.0" | "HTTP/1.1"), None)
            if !method.is_empty()
                && method.bytes().all(|byte| byte.is_ascii_uppercase())
                && target.starts_with('/')
                && target.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok((method, target.split('?').next().unwrap_or_default()))
        }
        _ => Err(400),
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    }
}

/// What is at a path.
fn look_up(shell: &Shell, trigger: &Duty, path: &str) -> (u16, Value) {
    let mut parts = path.trim_matches('/').split('/');
    let (name, member, rest) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let not_running = || (503, json!({ "error": "the engine is not running" }));
    if name.is_empty() {
        let names = shell.core.lock().as_ref().map(failover_core::Core::names);
        let Some(names) = names else { return not_running() };
        let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
        return (200, json!({ "services": names }));
    }
    // Load balancers ask for each server again and again: a copy of all would cost more with every service.
    let snapshot = shell.core.lock().as_ref().map(|core| core.snapshot_of(name));
    let Some(snapshot) = snapshot else { return not_running() };
    let blind = blindness(shell, trigger, &snapshot);
    let about = |service: &ServiceSnapshot, server: &ServerSnapshot| {
        let (active, role, why) = judge(service, server, blind.as_deref());
        let body = json!({ "service": service.name, "server": server.name, "active": active, "role": role, "why": why });
        (if active { 200 } else { 503 }, body)
    };
    let Some(service) = snapshot.services.first() else {
        return (404, json!({ "error": "there is no such service" }));
    };
    match (member, rest) {
        (None, _) => {
            let servers: Vec<Value> = service.servers.iter().map(|server| about(service, server).1).collect();
            (200, json!({ "service": service.name, "servers": servers }))
        }
        (Some(member), None) => match service.servers.iter().find(|server| server.name == member) {
            Some(server) => about(service, server),
            None => (404, json!({ "error": "the service has no such server" })),
        },
        _ => (404, json!({ "error": "write /SERVICE/SERVER" })),
    }
}

/// Why the engine as a whole does not know who is active.
fn blindness(shell: &Shell, trigger: &Duty, snapshot: &Snapshot) -> Option<String> {
    if shell.is_faulted() {
        return Some("a bug was caught, and decisions are frozen".to_owned());
    }
    if trigger.is_overdue() {
        return Some("the engine's decision thread does not respond, so its knowledge is old".to_owned());
    }
    snapshot.doubt.map(|cause| format!("the engine doubts its own view: {}", cause.as_str()))
}

/// Whether a server is the active one and serves, its role, and why.
fn judge(service: &ServiceSnapshot, server: &ServerSnapshot, blind: Option<&str>) -> (bool, &'static str, String) {
    let no = |role, why: &str| (false, role, why.to_owned());
    if let Some(why) = blind {
        return no("unknown", why);
    }
    if service.two_primaries {
        return no("unknown", "two servers take writes");
    }
    if let Some(plan) = &service.plan {
        let chosen = plan.chosen.is_some_and(|candidate| candidate.server == server.id);
        let has_taken_over =
            if plan.kind.holds_data() { plan.times.promoted.is_some() } else { plan.course.phase == Phase::VerifyTraffic };
        return match (server.id == plan.old, chosen && has_taken_over) {
            (true, _) => no("primary", "it is being replaced"),
            (_, true) => (true, "primary", "it has taken over".to_owned()),
            (_, false) if chosen => no("standby", "it is taking over, and has not yet"),
            _ => no("standby", "a failover to another server is under way"),
        };
    }
    let last = service.last_failover.as_ref().map(|last| &last.plan);
    let unsettled = service.state == State::ManualIntervention
        && last.is_some_and(|plan| plan.kind.holds_data() && plan.chosen.is_some() && plan.times.promoted.is_none());
    match service.primary {
        None => return no("unknown", "no primary was seen yet"),
        Some(primary) if primary != server.id => return no("standby", "another server is the primary"),
        Some(_) if !service.primary_seen => return no("unknown", "it was the primary, and was not seen since"),
        Some(_) if unsettled => {
            return no("unknown", "the last failover ended while it was not known whether a standby was promoted");
        }
        Some(_) => {}
    }
    if service.kind.holds_data()
        && let Err(why) = takes_writes(service, server)
    {
        return no("unknown", why);
    }
    match server.health {
        Health::Healthy | Health::Degraded => (true, "primary", "it is the primary, and serves".to_owned()),
        Health::Unhealthy => no("primary", "it is the primary, and does not serve"),
        Health::Unknown => no("primary", "its checks have not answered often enough yet"),
    }
}

/// What the server last said of itself, or the promotion that came after it.
fn takes_writes(service: &ServiceSnapshot, server: &ServerSnapshot) -> Result<(), &'static str> {
    let chosen = |id: Option<ServerId>| id == Some(server.id);
    let promoted = service
        .last_failover
        .as_ref()
        .map(|last| &last.plan)
        .filter(|plan| chosen(plan.chosen.map(|candidate| candidate.server)))
        .and_then(|plan| plan.times.promoted);
    match &server.sample {
        Some((at, sample)) if sample.in_recovery && promoted.is_none_or(|promoted| *at > promoted) => {
            Err("it is the primary, and says that it is in recovery")
        }
        None if promoted.is_none() => Err("the engine has not asked for its role yet"),
        _ => Ok(()),
    }
}

/// Starts the threads.
///
/// # Errors
/// [`EngineError::System`] when the address is taken, or the operating system has no thread left.
pub(super) fn start(shell: &Arc<Shell>, address: SocketAddr, trigger: &Duty, cancel: &Cancel) -> Result<SocketAddr, EngineError> {
    let (listeners, bound) = listen(address)?;
    for (n, listener) in listeners.into_iter().enumerate() {
        // Nothing that is observed or decided waits for it.
        let duty = shell.threads.aside_duty("role", n);
        let (own, trigger, cancel) = (Arc::clone(shell), trigger.clone(), cancel.clone());
        shell.threads.spawn("role", n, move || run(&own, &listener, &duty, &trigger, &cancel))?;
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use failover_core::sample::Sample;
    use failover_core::time::Mono;

    fn answered(request: &str) -> String {
        String::from_utf8(respond(request.as_bytes(), &|path| (200, json!({ "path": path })))).unwrap()
    }

    #[test]
    fn requests_are_answered_by_method_and_what_is_none_is_refused() {
        assert!(answered("GET /a/b?x=1 HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n{\"path\":\"/a/b\"}\n"));
        assert!(answered("OPTIONS /a/b HTTP/1.0\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(answered("HEAD / HTTP/1.1\r\n\r\n").ends_with("close\r\n\r\n"));
        assert!(answered("POST /a/b HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        for wrong in
            ["\r\n\r\n", "GET\r\n\r\n", "get / HTTP/1.1\n\n", "GET a HTTP/1.1\n\n", "GET / HTTP/2\n\n", "GET / x HTTP/1.1\n\n"]
        {
            assert!(answered(wrong).starts_with("HTTP/1.1 400 "), "{wrong:?}");
        }
        assert!(answered(&"x".repeat(HEAD + 1)).starts_with("HTTP/1.1 431 "));
    }

    fn database() -> ServiceSnapshot {
        let snapshot = failover_core::Core::new(crate::engine::tests::two_servers()).snapshot();
        let mut service = snapshot.services.into_iter().next().unwrap();
        service.primary = Some(ServerId(0));
        service.primary_seen = true;
        for (place, server) in service.servers.iter_mut().enumerate() {
            server.health = Health::Healthy;
            let sample = Sample { in_recovery: place > 0, system_id: 1, timeline: 1, ..Sample::default() };
            server.sample = Some((Mono::ZERO, sample));
        }
        service
    }

    fn active(service: &ServiceSnapshot, blind: Option<&str>) -> Vec<bool> {
        service.servers.iter().map(|server| judge(service, server, blind).0).collect()
    }

    #[test]
    fn only_what_is_known_is_active() {
        assert_eq!(active(&database(), None), [true, false]);
        assert_eq!(active(&database(), Some("in doubt")), [false, false]);
        type Change = fn(&mut ServiceSnapshot);
        let unknown: [(&str, Change); 7] = [
            ("two primaries", |service| service.two_primaries = true),
            ("no primary", |service| service.primary = None),
            ("by the journal only", |service| service.primary_seen = false),
            ("unhealthy", |service| service.servers[0].health = Health::Unhealthy),
            ("not asked often enough", |service| service.servers[0].health = Health::Unknown),
            ("not sampled", |service| service.servers[0].sample = None),
            ("in recovery", |service| {
                if let Some((_, sample)) = &mut service.servers[0].sample {
                    sample.in_recovery = true;
                }
            }),
        ];
        for (what, change) in unknown {
            let mut service = database();
            change(&mut service);
            assert_eq!(active(&service, None), [false, false], "{what}");
        }
        let mut service = database();
        service.servers[0].health = Health::Degraded;
        assert_eq!(active(&service, None), [true, false], "one failed check is no verdict");
    }
}
