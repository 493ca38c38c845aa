//! The daemon's side of the control socket.
//!
//! One thread accepts, one thread per client answers, both bounded: a client that hangs, drips or talks nonsense costs its own
//! place for [`DEADLINE`] and nothing else.

mod wait;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use failover::{
    CloneOptions, CommandReply, CommitId, Engine, EngineError, ForceOptions, PauseOptions, ReasonStatus, RejoinOptions,
    SwitchoverOptions, on_behalf_of,
};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use serde_json::json;

use super::history::{Filter, History};
use super::protocol::{DEADLINE, Kind, Line, REQUEST_MAX, Refused, Request, result};
use super::socket::Listening;
use crate::made::made;

/// Clients that are served at the same time.
const CLIENTS: usize = 32;
/// How soon a follower that went away is noticed.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// After a reset every check is asked afresh, which is waited for this long.
const WARM_AGAIN: Duration = Duration::from_secs(2);
/// Bugs that the accepting thread lives through.
const BUGS: usize = 5;
/// Names of services that are told whoever asks for one that is not there.
const MOST_NAMES: usize = 50;
/// A client's thread needs little.
const STACK: usize = 512 * 1024;

/// The running control socket.
pub struct Control {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    // Last: its file goes when nobody is served any more.
    _listening: Arc<Listening>,
}

struct Shared {
    engine: Arc<Engine>,
    history: Arc<History>,
    stopping: AtomicBool,
    wake: rustix::fd::OwnedFd,
    clients: Mutex<BTreeMap<u64, UnixStream>>,
    /// Held by whoever makes an answer about everything.
    whole: Mutex<()>,
}

impl Control {
    /// Begins to serve.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn start(listening: Listening, engine: Arc<Engine>, history: Arc<History>) -> io::Result<Control> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        listening.listener.set_nonblocking(true)?;
        let (stopping, clients, whole) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { engine, history, stopping, wake, clients, whole });
        let listening = Arc::new(listening);
        let (mine, door) = (Arc::clone(&shared), Arc::clone(&listening));
        let acceptor = std::thread::Builder::new().name("control".to_owned()).stack_size(STACK).spawn(move || {
            // One bug must not take the engine's ears away; with more than a few of them they are gone, and that is said.
            for _ in 0..BUGS {
                if catch_unwind(AssertUnwindSafe(|| accept(&mine, &door))).is_ok() {
                    return;
                }
                log::error!("control socket: a bug was caught in the thread that accepts; conversations that were open are lost");
            }
            log::error!("control socket: too many bugs: it answers no more commands; the engine itself goes on");
        })?;
        Ok(Control { shared, acceptor: Some(acceptor), _listening: listening })
    }

    /// Ends all conversations. What was said before the call still reaches clients that read.
    pub fn stop(mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes());
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(shared: &Arc<Shared>, door: &Listening) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut number = 0u64;
    while !shared.stopping.load(Ordering::SeqCst) {
        let mut fds = [PollFd::new(&door.listener, PollFlags::IN), PollFd::new(&shared.wake, PollFlags::IN)];
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let stream = match door.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                // Out of descriptors: the connection stays in the backlog, so look again a little later.
                log::warn!("control socket: cannot accept: {error}");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        threads.retain(|thread| !thread.is_finished());
        let full = threads.len() >= CLIENTS;
        number += 1;
        let caller = match admit(&stream, full) {
            Ok(caller) => caller,
            Err(refused) => {
                let _ = send(&stream, &Line::Error(refused).encode(), Instant::now());
                continue;
            }
        };
        let handle = match stream.try_clone() {
            Ok(handle) => handle,
            Err(error) => {
                let error = EngineError::system("no descriptor for a client", error);
                log::warn!("control socket: {error}");
                continue;
            }
        };
        shared.clients.lock().insert(number, handle);
        let mine = Arc::clone(shared);
        let spawned = std::thread::Builder::new().name("control-client".to_owned()).stack_size(STACK).spawn(move || {
            // The connection's end is the client's own business. A bug must not leave the client waiting for an answer.
            let served = || on_behalf_of(&format!("uid {caller}"), || serve(&mine, &stream));
            if catch_unwind(AssertUnwindSafe(served)).is_err() {
                log::error!("control socket: a bug was caught while a client was answered");
            }
            mine.clients.lock().remove(&number);
        });
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                let error = EngineError::system("no thread for a client", error);
                log::warn!("control socket: {error}");
                shared.clients.lock().remove(&number);
            }
        }
    }
    // Clients that have not asked yet get no answer. Followers get a moment to take the last event before the connection closes.
    for stream in shared.clients.lock().values() {
        let _ = stream.shutdown(Shutdown::Read);
    }
    let until = Instant::now() + Duration::from_secs(2);
    while threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    for stream in shared.clients.lock().values() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Only the daemon's user and root are served. Says which user calls.
fn admit(stream: &UnixStream, full: bool) -> Result<u32, Refused> {
    stream.set_nonblocking(false).map_err(|error| Refused::new(Kind::Failed, error.to_string()))?;
    // Not by rustix: who calls from outside of our pid namespace has process number 0 here, which its type cannot hold.
    let caller = getsockopt(stream, PeerCredentials)
        .map_err(|error| Refused::new(Kind::Denied, format!("cannot tell who is calling: {error}")))?
        .uid();
    if caller != rustix::process::geteuid().as_raw() && caller != 0 {
        return Err(Refused::new(Kind::Denied, "only the user that runs the daemon, and root, may give it commands")
            .remedy("run the command as that user"));
    }
    if full {
        return Err(Refused::new(Kind::Busy, format!("the daemon serves {CLIENTS} clients already"))
            .remedy("end some of the `failover events --follow` that are open"));
    }
    Ok(caller)
}

fn serve(shared: &Shared, stream: &UnixStream) -> io::Result<()> {
    let mut pending = Vec::new();
    while !shared.stopping.load(Ordering::SeqCst) {
        let line = match read_line(stream, &mut pending, Instant::now() + DEADLINE)? {
            Read::Line(line) => line,
            Read::End => return Ok(()),
            Read::TooLong => {
                let refused = Refused::new(Kind::BadRequest, format!("a request is one line of at most {REQUEST_MAX} bytes"));
                return send(stream, &Line::Error(refused).encode(), Instant::now() + DEADLINE);
            }
        };
        let until = Instant::now() + DEADLINE;
        match serde_json::from_slice::<Request>(&line) {
            Err(error) => {
                let refused = Refused::new(Kind::BadRequest, format!("the line is no request: {error}"));
                // Whoever does not speak the protocol is not listened to any longer.
                return send(stream, &Line::Error(refused).encode(), until);
            }
            Ok(Request::Events { since, follow, service, verbose }) => {
                return follow_events(shared, stream, since, follow, &Filter { service, verbose });
            }
            Ok(Request::Force { service, to, accept_loss, wait: true }) => {
                let order = |engine: &Engine| engine.force(&service, made!(ForceOptions { to, accept_loss }));
                return wait::begun(shared, stream, &service, order);
            }
            Ok(Request::Switchover { service, to, wait: true, .. }) => {
                let order = |engine: &Engine| engine.switchover(&service, made!(SwitchoverOptions { to }));
                return wait::begun(shared, stream, &service, order);
            }
            Ok(Request::Rejoin { service, server, dry_run, rebuild, wait: true }) => {
                let order = |engine: &Engine| engine.rejoin(&service, &server, made!(RejoinOptions { dry_run, rebuild }));
                return wait::rejoin(shared, stream, &service, &server, order);
            }
            Ok(Request::Clone { service, server, dry_run, wait: true }) => {
                let order = |engine: &Engine| engine.clone_server(&service, &server, made!(CloneOptions { dry_run }));
                return wait::rejoin(shared, stream, &service, &server, order);
            }
            Ok(request) => {
                let line = match request {
                    Request::Status { service } => status(shared, service.as_deref()),
                    request => answer(&shared.engine, request).and_then(|value| result(&value)),
                };
                let line = line.unwrap_or_else(|refused| Line::Error(refused).encode());
                send(stream, &line, Instant::now() + DEADLINE)?;
            }
        }
    }
    Ok(())
}

/// What came from a client.
enum Read {
    Line(Vec<u8>),
    End,
    TooLong,
}

/// One line, whole and in time. `pending` keeps what came after it.
fn read_line(mut stream: &UnixStream, pending: &mut Vec<u8>, until: Instant) -> io::Result<Read> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let rest = pending.split_off(end + 1);
            let mut line = std::mem::replace(pending, rest);
            line.pop();
            return Ok(Read::Line(line));
        }
        if pending.len() > REQUEST_MAX {
            return Ok(Read::TooLong);
        }
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Read::End),
            Ok(count) => pending.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes all of it before `until`, but tries at least once.
fn send(mut stream: &UnixStream, bytes: &[u8], until: Instant) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        let patience = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_write_timeout(Some(patience))?;
        match stream.write(&bytes[sent..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if sent < bytes.len() {
            left(until)?;
        }
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn follow_events(shared: &Shared, stream: &UnixStream, since: u64, follow: bool, filter: &Filter) -> io::Result<()> {
    let (mut next, mut told) = (since, since);
    loop {
        let patience = if follow { HEARTBEAT } else { Duration::ZERO };
        let batch = shared.history.after(next, filter, patience);
        let mut text = Vec::new();
        if let Some(gone) = batch.gone.filter(|gone| *gone > told) {
            text.extend(Line::Gone(gone).encode());
            told = gone;
        }
        for event in &batch.events {
            text.extend(Line::Event(event.to_json()).encode());
        }
        let moved = batch.next > next;
        next = batch.next;
        if batch.over || (!follow && !moved) {
            text.extend(Line::End.encode());
            return send(stream, &text, Instant::now() + DEADLINE);
        }
        send(stream, &text, Instant::now() + DEADLINE)?;
        if follow && !shared.stopping.load(Ordering::SeqCst) && gone_away(stream) {
            return Ok(());
        }
    }
}

/// The client has hung up. Whatever it sends here is not asked for and ends the conversation too.
fn gone_away(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::IN | PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// What stands in the way of a failover after a reset: a reset takes away the state, not its cause.
fn still_blocking(engine: &Engine, service: &str) -> Vec<ReasonStatus> {
    let until = Instant::now() + WARM_AGAIN;
    loop {
        let Some(service) = engine.status_of(service).ok().and_then(|mut status| status.services.pop()) else {
            return Vec::new();
        };
        let mut reasons = service.forecast.reasons;
        // It hides others while every check is asked afresh, which a reset begins with.
        let cold = reasons.iter().any(|reason| reason.code == "not_warmed_up");
        if cold && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        reasons.retain(|reason| !matches!(reason.code.as_str(), "not_warmed_up" | "watched_only"));
        let blocking = service.readiness.into_iter().filter(|finding| finding.blocking);
        reasons.extend(blocking.map(|finding| {
            made!(ReasonStatus {
                code: finding.code,
                message: match finding.server {
                    Some(server) => format!("{server}: {}", super::log::message(Some(&server), &finding.message)),
                    None => finding.message,
                },
                remedy: finding.remedy,
            })
        }));
        return reasons;
    }
}

fn after_reset(message: String, blocking: &[ReasonStatus]) -> serde_json::Value {
    let message = if blocking.is_empty() {
        message
    } else {
        let each: Vec<String> = blocking.iter().map(|reason| format!("{}: {}", reason.code, reason.message)).collect();
        format!("{message}; still blocking: {}", each.join("; "))
    };
    json!({ "message": message, "still_blocking": blocking })
}

/// The state of one service, or of everything: that one is made for one client at a time, so that many who ask at once do not fill the
/// memory.
fn status(shared: &Shared, service: Option<&str>) -> Result<Vec<u8>, Refused> {
    let Some(wanted) = service else {
        let _turn = shared.whole.lock();
        return result(&shared.engine.status());
    };
    let status = shared.engine.status_of(wanted).map_err(|_| {
        let status = shared.engine.status();
        let names: Vec<&str> = status.services.iter().map(|service| service.name.as_str()).collect();
        let more = if names.len() > MOST_NAMES { format!(", and {} more", names.len() - MOST_NAMES) } else { String::new() };
        let some = names.into_iter().take(MOST_NAMES).collect::<Vec<_>>().join(", ");
        Refused::new(Kind::NotFound, format!("there is no service {wanted:?}")).remedy(format!("the services are: {some}{more}"))
    })?;
    result(&status)
}

fn answer(engine: &Engine, request: Request) -> Result<serde_json::Value, Refused> {
    let said = |reply: CommandReply| json!(reply);
    match request {
        Request::Status { .. } | Request::Events { .. } => Err(Refused::new(Kind::BadRequest, "is answered by itself")),
        Request::Confirm { service } => Ok(said(engine.confirm(&service).map_err(nothing_to_do)?)),
        Request::ConfirmAll => Ok(said(engine.confirm_all().map_err(nothing_to_do)?)),
        Request::Pause { service, reason, for_ms } => {
            let options = made!(PauseOptions { reason, lasts: for_ms.map(Duration::from_millis) });
            Ok(said(engine.pause_with(service.as_deref(), options)?))
        }
        Request::Resume { service } => Ok(said(engine.resume(service.as_deref()).map_err(nothing_to_do)?)),
        Request::Reset { service } => {
            let reply = engine.reset(&service).map_err(nothing_to_do)?;
            Ok(after_reset(reply.message, &still_blocking(engine, &service)))
        }
        Request::Adopt { service, server } => Ok(said(engine.adopt(&service, &server)?)),
        Request::Cordon { service, server } => Ok(said(engine.cordon(&service, &server)?)),
        Request::Uncordon { service, server } => Ok(said(engine.uncordon(&service, &server).map_err(nothing_to_do)?)),
        Request::Rejoin { service, server, dry_run, rebuild, wait: false } => {
            Ok(said(engine.rejoin(&service, &server, made!(RejoinOptions { dry_run, rebuild }))?))
        }
        Request::Clone { service, server, dry_run, wait: false } => {
            Ok(said(engine.clone_server(&service, &server, made!(CloneOptions { dry_run }))?))
        }
        Request::Survived { service, xid, lsn, timeline } => {
            let commit = match (xid, lsn, timeline) {
                (Some(xid), None, timeline) => CommitId::Xid { xid, timeline },
                (None, Some(lsn), Some(timeline)) => CommitId::Lsn { lsn, timeline },
                _ => return Err(Refused::new(Kind::BadRequest, "either xid, or lsn with its timeline")),
            };
            Ok(json!(engine.survived(&service, &commit)?))
        }
        Request::Switchover { service, to, dry_run, at_ms, wait: false } => {
            let at = at_ms.map(|at| UNIX_EPOCH + Duration::from_millis(at));
            Ok(said(engine.switchover(&service, made!(SwitchoverOptions { to, dry_run, at }))?))
        }
        Request::NotifyTest { receiver } => {
            let tested = engine.notify_test(Some(&receiver)).map_err(|error| match error {
                EngineError::InvalidArgument(why) => Refused::new(Kind::NotFound, why),
                other => other.into(),
            })?;
            Ok(json!(tested.first()))
        }
        Request::CancelSwitchover { service } => Ok(said(engine.cancel_switchover(&service).map_err(nothing_to_do)?)),
        Request::Rejoin { wait: true, .. }
        | Request::Clone { wait: true, .. }
        | Request::Force { wait: true, .. }
        | Request::Switchover { wait: true, .. } => Err(Refused::new(Kind::BadRequest, "what is waited for is streamed")),
        Request::Force { service, to, accept_loss, wait: false } => {
            Ok(said(engine.force(&service, made!(ForceOptions { to, accept_loss }))?))
        }
    }
}

/// A command that is rejected because there is nothing to confirm, resume or reset: nothing stands in the way, and nothing is to be done.
fn nothing_to_do(error: EngineError) -> Refused {
    match error {
        EngineError::Rejected(_) => Refused::new(Kind::Refused, error.to_string()),
        _ => error.into(),
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Refused {
        let (kind, remedy) = match &error {
            EngineError::InvalidArgument(_) => (Kind::NotFound, Some("`failover status` names every service and server")),
            EngineError::Rejected(_) => (Kind::Refused, Some("`failover status` says what stands in the way")),
            EngineError::State(_) => (Kind::Refused, None),
            EngineError::Faulted(_) => (Kind::Failed, Some("restart the daemon: the journal resumes where it stopped")),
            _ => (Kind::Failed, None),
        };
        let refused = Refused::new(kind, error.to_string());
        match remedy {
            Some(remedy) => refused.remedy(remedy),
            None => refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_does_not_hide_what_is_still_in_the_way() {
        let reason = |code: &str| made!(ReasonStatus { code: code.into(), message: format!("about {code}") });
        let said = |blocking: &[ReasonStatus]| after_reset("orders: back to watching".into(), blocking);
        assert_eq!(said(&[]), json!({ "message": "orders: back to watching", "still_blocking": [] }));
        let both = said(&[reason("two_primaries"), reason("no_candidate")]);
        assert_eq!(
            both["message"],
            "orders: back to watching; still blocking: two_primaries: about two_primaries; no_candidate: about no_candidate"
        );
        assert_eq!(both["still_blocking"][1]["code"], "no_candidate");
    }
}
