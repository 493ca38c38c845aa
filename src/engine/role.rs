//! The role endpoint: one thread that answers over HTTP whether a server is the active one, for load balancers and DNS health checkers
//! that have no other way to be told.
//!
//! `GET /SERVICE/SERVER` is answered with 200 only while the engine knows that this server has the traffic of its service; while it
//! does not know, or another one is taking over, with 503. So no two servers of a service are ever answered with 200. No client can
//! keep another one waiting: nobody is served in turn, requests are short, and each has a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::SendFlags;
use serde_json::json;

use super::Shell;
use super::error::EngineError;
use super::sync::{now, poll};
use super::threads::Duty;
use crate::core::Core;
use crate::wire::deadline::Cancel;

/// From accepting a client to the end of its answer.
const CLIENT: Duration = Duration::from_secs(2);
/// More at the same time are turned away; a health checker comes back.
const CLIENTS: usize = 128;
/// A longer request is none of a health checker's.
const REQUEST: usize = 4 * 1024;
/// So often it shows that it is alive.
const ROUND: Duration = Duration::from_secs(1);
/// A round that takes longer is named.
const SLOW: Duration = Duration::from_secs(10);
/// So long nobody is accepted after the system had no descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// One client, from its first byte to the end of its answer.
struct Client {
    stream: TcpStream,
    until: Instant,
    request: Vec<u8>,
    /// What is left of the answer.
    answer: Option<Vec<u8>>,
}

/// Listens where the configuration says.
///
/// # Errors
/// [`EngineError::System`] with the address and why not.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, EngineError> {
    let failed = |error| EngineError::system(format!("cannot listen on engine.role_endpoint {address}"), error);
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// The body of the thread; ends when cancelled.
pub(crate) fn run(shell: &Shell, listener: &TcpListener, duty: &Duty, cancel: &Cancel) {
    let mut clients: Vec<Client> = Vec::new();
    let mut paused_until = now();
    while !cancel.is_cancelled() {
        duty.begin(SLOW);
        let at = now();
        clients.retain(|client| client.until > at);
        let accepts = at >= paused_until;
        let ready = wait(listener, &clients, cancel, accepts, at);
        if cancel.is_cancelled() {
            break;
        }
        let mut ready = ready.into_iter();
        clients.retain_mut(|client| !ready.next().unwrap_or(false) || go_on(shell, client));
        if accepts && accept(listener, &mut clients).is_err() {
            paused_until = now() + EXHAUSTED;
        }
        duty.rest();
    }
}

/// Which clients can go on.
fn wait(listener: &TcpListener, clients: &[Client], cancel: &Cancel, accepts: bool, at: Instant) -> Vec<bool> {
    let mut fds: Vec<PollFd<'_>> = clients
        .iter()
        .map(|client| {
            let wanted = if client.answer.is_some() { PollFlags::OUT } else { PollFlags::IN };
            PollFd::from_borrowed_fd(client.stream.as_fd(), wanted)
        })
        .collect();
    fds.push(PollFd::from_borrowed_fd(cancel.as_fd(), PollFlags::IN));
    if accepts {
        fds.push(PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN));
    }
    let until = clients.iter().map(|client| client.until).min().unwrap_or(at + ROUND).min(at + ROUND);
    let span = if accepts { until.saturating_duration_since(at) } else { EXHAUSTED };
    let span = Timespec { tv_sec: i64::try_from(span.as_secs()).unwrap_or(1), tv_nsec: i64::from(span.subsec_nanos()) };
    match poll(&mut fds, Some(&span)) {
        Ok(_) => fds[..clients.len()].iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(_) => vec![false; clients.len()],
    }
}

/// Takes in who waits. An error says that the system has nothing left for them.
fn accept(listener: &TcpListener, clients: &mut Vec<Client>) -> Result<(), ()> {
    for _ in 0..CLIENTS {
        match listener.accept() {
            Ok((stream, _)) => {
                // One that cannot be asked without waiting, or is one too many, is let go.
                if clients.len() < CLIENTS && stream.set_nonblocking(true).is_ok() {
                    let until = now() + CLIENT;
                    clients.push(Client { stream, until, request: Vec::new(), answer: None });
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(_) => return Err(()),
        }
    }
    Ok(())
}

/// False when nothing is left to do for a client.
fn go_on(shell: &Shell, client: &mut Client) -> bool {
    if client.answer.is_none() {
        let mut buffer = [0; 1024];
        match client.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => client.request.extend_from_slice(&buffer[..count]),
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
        let ends =
            client.request.windows(4).any(|four| four == b"\r\n\r\n") || client.request.windows(2).any(|two| two == b"\n\n");
        if !ends && client.request.len() <= REQUEST {
            return true;
        }
        client.answer = Some(if ends { answer(shell, &client.request) } else { too_long() });
    }
    let Some(rest) = &mut client.answer else { return false };
    while !rest.is_empty() {
        // A host program may not ignore SIGPIPE, and a library must not change that.
        match rustix::net::send(&client.stream, rest, SendFlags::NOSIGNAL) {
            Ok(sent) => drop(rest.drain(..sent)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
            Err(_) => return false,
        }
    }
    let _ = client.stream.flush();
    let _ = client.stream.shutdown(std::net::Shutdown::Write);
    // What was read is answered; what the client sends after that is nobody's.
    false
}

fn too_long() -> Vec<u8> {
    response(431, "Request Header Fields Too Large", &json!({ "error": "a request is 4 KiB at most" }), true, "")
}

fn answer(shell: &Shell, request: &[u8]) -> Vec<u8> {
    let line = request.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return response(400, "Bad Request", &json!({ "error": "this is no request of HTTP" }), true, "");
    };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return response(400, "Bad Request", &json!({ "error": "this is no request of HTTP/1" }), true, "");
    }
    let body = method != "HEAD";
    if !matches!(method, "GET" | "HEAD" | "OPTIONS") {
        let what = json!({ "error": "a role can only be asked for" });
        return response(405, "Method Not Allowed", &what, body, "Allow: GET, HEAD, OPTIONS\r\n");
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let (code, what) = role(shell, path);
    let reason = match code {
        200 => "OK",
        404 => "Not Found",
        _ => "Service Unavailable",
    };
    response(code, reason, &what, body, "")
}

/// What is known of a path: `/SERVICE/SERVER`, or `/SERVICE` for whether anybody is active.
fn role(shell: &Shell, path: &str) -> (u16, serde_json::Value) {
    let mut parts = path.trim_matches('/').split('/');
    let (service_name, server_name, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let unknown = |what: &str| (404, json!({ "error": what }));
    let snapshot = shell.core.lock().as_ref().map(Core::snapshot);
    let Some(service) = snapshot.and_then(|snapshot| snapshot.services.into_iter().find(|one| one.name == service_name)) else {
        return unknown("there is no such service: ask for /SERVICE/SERVER");
    };
    if more.is_some() {
        return unknown("ask for /SERVICE/SERVER");
    }
    let active = service.active.and_then(|id| service.servers.iter().find(|server| server.id == id)).map(|server| &server.name);
    let why = match (&active, service.plan.is_some(), service.two_primaries) {
        (Some(_), ..) => "",
        (None, _, true) => "two servers take writes",
        (None, true, _) => "a failover is under way",
        (None, ..) => "it is not known yet who has the traffic",
    };
    let Some(server_name) = server_name else {
        let code = if active.is_some() { 200 } else { 503 };
        return (code, json!({ "service": service.name, "active": active, "why": why }));
    };
    let Some(server) = service.servers.iter().find(|server| server.name == server_name) else {
        return unknown("the service has no such server");
    };
    let is_active = active.is_some_and(|name| *name == server.name);
    let role = if is_active { "active" } else { "not_active" };
    let why = if active.is_some() && !is_active { "another server has the traffic" } else { why };
    let code = if is_active { 200 } else { 503 };
    (code, json!({ "service": service.name, "server": server.name, "role": role, "active": active, "why": why }))
}

fn response(code: u16, reason: &str, what: &serde_json::Value, body: bool, more: &str) -> Vec<u8> {
    let text = format!("{what}\n");
    let head = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{more}\
         Connection: close\r\n\r\n",
        text.len()
    );
    if body { format!("{head}{text}").into_bytes() } else { head.into_bytes() }
}
