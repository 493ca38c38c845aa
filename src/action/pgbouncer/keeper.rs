//! The keeper of a gate: a small process that lets the clients of a pooler go on if the engine does not.
//!
//! It is the program `failover` with one word, in a process group of its own, and hears on its standard input what it has to know, also
//! the password. When the engine ends, the kernel closes that pipe. As long as the primary was not asked to stop, clients go on at once
//! then; later at the gate's deadline: until then the next engine may have finished or undone what was begun.

use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Pooler, quoted};
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::postgres::{Endpoint, KeptKeys, Session, SessionSettings, SslMode, Target, Tls, TlsSettings};
use crate::wire::resolve::Addresses;

/// The command of the program that is the keeper.
pub(crate) const COMMAND: &str = "hold-gate";
/// The program, where it is not the engine's own.
const PROGRAM: &str = "failover";
/// So long it is tried to let clients go on.
const TRY_FOR: Duration = Duration::from_secs(60);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);
/// One try.
const ONE_TRY: Duration = Duration::from_secs(2);
/// One that was told to end does so at once.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// What it has to know, and no more.
#[derive(Serialize, Deserialize)]
struct Gate {
    host: String,
    port: u16,
    user: String,
    password: Option<String>,
    sslmode: SslMode,
    databases: Vec<String>,
    hold_ms: u64,
}

/// What the engine says later.
const STOPPING: &str = "stopping";
const OPEN: &str = "open";

/// Why there is none.
pub(super) struct NoKeeper {
    pub(super) why: String,
    pub(super) remedy: &'static str,
}

/// The child; dropped, it acts as if the engine had ended.
pub(super) struct Keeper {
    child: Child,
    told: ChildStdin,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("pid", &self.child.id()).finish_non_exhaustive()
    }
}

impl Keeper {
    fn tell(&mut self, word: &str) {
        // One that is gone has let the clients go on.
        let _ = writeln!(self.told, "{word}").and_then(|()| self.told.flush());
    }

    /// The clients go on: nothing is left to do.
    fn end(mut self) {
        self.tell(OPEN);
        let until = Instant::now() + ENDS_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Pooler {
    /// Starts the keeper of a gate that is about to be closed.
    pub(super) fn keep(&self, hold: Duration) -> Result<Keeper, NoKeeper> {
        let remedy = "install the program failover where PATH finds it: it lets clients go on if the engine is killed";
        let program = program()
            .ok_or_else(|| NoKeeper { why: "no program is there that could hold the gate's deadline".into(), remedy })?;
        let failed =
            |error: std::io::Error| NoKeeper { why: format!("{} cannot be started: {error}", program.display()), remedy };
        let mut child = Command::new(&program)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let told = child.stdin.take().ok_or_else(|| failed(std::io::Error::other("it has no standard input")))?;
        let mut keeper = Keeper { child, told };
        let (host, port) = self.console.endpoint.as_configured();
        let gate = Gate {
            host,
            port,
            user: self.console.user.clone(),
            password: self.console.password.as_ref().map(|password| password.expose().to_owned()),
            sslmode: self.console.tls.mode(),
            databases: self.databases.clone(),
            hold_ms: u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
        };
        let line = serde_json::to_string(&gate).map_err(|error| failed(error.into()))?;
        writeln!(keeper.told, "{line}").and_then(|()| keeper.told.flush()).map_err(failed)?;
        Ok(keeper)
    }

    /// From here on the clients may not go on before the deadline: their server is being stopped.
    pub(crate) fn is_stopping(&self) {
        if let Some(keeper) = self.keeper.lock().as_mut() {
            keeper.tell(STOPPING);
        }
    }

    /// The clients go on.
    pub(super) fn release(&self) {
        let keeper = self.keeper.lock().take();
        if let Some(keeper) = keeper {
            keeper.end();
        }
    }

    /// A program could hold the deadline of a gate.
    pub(super) fn has_keeper() -> bool {
        program().is_some()
    }
}

/// The engine's own program where that is `failover`, else the one that `PATH` finds.
fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok().filter(|own| own.file_name().is_some_and(|name| name == PROGRAM) && own.exists());
    own.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|program| is_program(program))
    })
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The keeper's own work, in its own process: returns when the clients go on, or when that could not be done for a minute.
///
/// # Errors
/// What it could not understand or do.
pub fn hold_gate(mut input: impl BufRead + Send + 'static) -> Result<(), String> {
    let mut line = String::new();
    input.by_ref().take(1 << 20).read_line(&mut line).map_err(|error| format!("the gate cannot be read: {error}"))?;
    let gate: Gate = serde_json::from_str(&line).map_err(|error| format!("the gate is not understood: {error}"))?;
    let deadline = Instant::now() + Duration::from_millis(gate.hold_ms);
    let (says, heard) = channel();
    // Ends with the process.
    std::thread::Builder::new()
        .name("fo-gate".to_owned())
        .spawn(move || {
            for word in input.lines().map_while(Result::ok) {
                if says.send(word).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| format!("no thread can be started: {error}"))?;
    let mut stopping = false;
    loop {
        match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(word) if word == OPEN => return Ok(()),
            Ok(word) => stopping |= word == STOPPING,
            Err(RecvTimeoutError::Disconnected) if stopping => {
                std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
                break;
            }
            Err(_) => break,
        }
    }
    let until = Instant::now() + TRY_FOR;
    loop {
        match open(&gate) {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() >= until => return Err(why),
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

/// As the system resolves names. This process waits for nobody else.
struct System;

impl Addresses for System {
    fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        (host, port).to_socket_addrs().map(Iterator::collect).map_err(|error| format!("{host}: {error}"))
    }
}

/// Resumes what is paused.
fn open(gate: &Gate) -> Result<(), String> {
    let deadline = Deadline::after(ONE_TRY);
    let cancel = Cancel::new().map_err(|error| error.to_string())?;
    let console = Target {
        endpoint: Endpoint::new(&gate.host, gate.port),
        user: gate.user.clone(),
        password: gate.password.clone().map(Secret::new),
        database: "pgbouncer".to_owned(),
        tls: Tls::new(TlsSettings { mode: gate.sslmode, ..TlsSettings::default() }),
        application_name: "libfailover/gate".to_owned(),
        keys: KeptKeys::default(),
        settings: SessionSettings::nothing(),
    };
    let mut session = Session::connect(&console, &System, deadline, &cancel).map_err(|error| error.to_string())?;
    let rows = session.query("SHOW DATABASES", deadline, &cancel).map_err(|error| error.to_string())?;
    for row in 0..rows.len() {
        let Some(name) = rows.get(row, "name").filter(|name| gate.databases.iter().any(|own| own == name)) else { continue };
        if rows.get(row, "paused").is_some_and(|paused| paused != "0") {
            session.query(&format!("RESUME {}", quoted(name)), deadline, &cancel).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
