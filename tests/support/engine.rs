//! The engine as its users run it: the command line with a configuration file, watched through its events.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::lab::{Lab, interrupted, wait_until};
use super::network::Host;
use super::process::Process;
use super::recording::Event;

/// A running `failover run`.
pub struct Engine {
    lab: Lab,
    program: PathBuf,
    socket: PathBuf,
    process: Process,
    shared: Arc<Shared>,
    status_file: PathBuf,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Received>,
    more: Condvar,
}

#[derive(Default)]
struct Received {
    events: Vec<Event>,
    /// Lines that were not events.
    strange: Vec<String>,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One moment on both clocks, so that the engine's times can be put on our axis.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock at the same moment.
    pub wall: SystemTime,
}

impl Origin {
    /// Now.
    pub fn now() -> Origin {
        Origin { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// Nanoseconds since the origin of a moment on the monotonic clock.
    pub fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.instant).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The command line's program: `FAILOVER_BIN`, what cargo built for this target, or what stands beside us.
pub fn program() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("FAILOVER_BIN") {
        return Ok(PathBuf::from(path));
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_failover") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("failover"))
        .find(|path| path.is_file())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the program `failover` is not built (cargo build --bins)"))
}

impl Engine {
    /// Starts `failover run --json --verbose CONFIG`, with single observations among the events, as the lab's user.
    pub fn start(lab: &Lab, host: &Host, config: &Path, socket: &Path, origin: Origin) -> io::Result<Engine> {
        let copy = lab.path("bin/failover");
        Engine::start_program(&program()?, &copy, lab, host, config, socket, origin)
    }

    /// The same with another program: that of an earlier release. `copy`: where it lies in the lab.
    pub fn start_program(
        program: &Path,
        copy: &Path,
        lab: &Lab,
        host: &Host,
        config: &Path,
        socket: &Path,
        origin: Origin,
    ) -> io::Result<Engine> {
        lab.folder("bin")?;
        // Where we were built the lab's user may not be able to go.
        let source = program;
        let program = copy.to_owned();
        if !program.exists() {
            lab.copy_in(source, &program, 0o700)?;
        }
        let mut command = lab.command_on(host, &program);
        command.args(["run", "--json", "--verbose"]).arg(config).stdout(Stdio::piped()).stderr(lab.log("engine")?);
        for name in ["RUST_LOG", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let (process, pipes) = Process::spawn_with("failover", &mut command, lab.watchdog())?;
        let shared = Arc::new(Shared::default());
        let stdout = pipes.stdout.ok_or_else(|| io::Error::other("no pipe to the engine"))?;
        let mine = Arc::clone(&shared);
        std::thread::Builder::new().name("engine-events".to_owned()).spawn(move || receive(stdout, origin, &mine))?;
        let status_file = lab.path("status.json");
        Ok(Engine { lab: lab.clone(), program, socket: socket.to_owned(), process, shared, status_file })
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.shared.lock().events.clone()
    }

    /// Lines of its output that were not events.
    pub fn strange_lines(&self) -> Vec<String> {
        self.shared.lock().strange.clone()
    }

    /// The first event from place `from` on that fits. Panics with the story where none comes in time.
    pub fn first_event(&self, what: &str, within: Duration, from: usize, fits: impl Fn(&Event) -> bool) -> Event {
        let mut seen = from;
        let found = wait_until(what, within, || {
            let news = self.events_from(seen, Duration::from_millis(200));
            seen += news.len();
            Ok(news.into_iter().find(|event| fits(event)))
        });
        found.unwrap_or_else(|error| panic!("{error}\n{}", self.story()))
    }

    /// What it told, without single observations, and the end of its log.
    pub fn story(&self) -> String {
        let told = self.events().into_iter().filter(|event| event.kind != "observed");
        let told = told.map(|event| format!("{} {}", event.kind, event.message)).collect::<Vec<_>>().join("\n");
        format!("{told}\n{}", self.log_tail())
    }

    /// Events from place `from` on; waits for one if there is none yet.
    pub fn events_from(&self, from: usize, timeout: Duration) -> Vec<Event> {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        while state.events.len() <= from && !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || interrupted() {
                break;
            }
            state = match self.shared.more.wait_timeout(state, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        state.events.get(from..).map(<[Event]>::to_vec).unwrap_or_default()
    }

    /// The command line with these arguments, to its end; that it says no is an error.
    pub fn order(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = self.lab.command(&self.program);
        command.args(arguments).arg("--socket").arg(&self.socket);
        self.lab.run("failover", command, Duration::from_secs(10))
    }

    /// `failover status --json`.
    pub fn status(&self) -> io::Result<Value> {
        let text = self.order(&["status", "--json"])?;
        serde_json::from_str(&text).map_err(|error| io::Error::other(format!("status is not JSON ({error}): {text}")))
    }

    /// Waits until the engine says that a failover would go through if the primary died now.
    pub fn wait_ready(&self, timeout: Duration) -> io::Result<()> {
        let mut last = String::from("no answer yet");
        let ready = wait_until("the engine is ready", timeout, || {
            if let Some(status) = self.process.status() {
                return Err(io::Error::other(format!("the engine ended ({status}): {}", self.log_tail())));
            }
            std::thread::sleep(Duration::from_millis(100));
            match self.status() {
                Ok(status) => {
                    let service = &status["services"][0];
                    last = service["forecast"].to_string();
                    let ready = service["forecast"]["would_fail_over"] == true && service["state"] == "normal";
                    Ok(ready.then_some(()))
                }
                Err(error) => {
                    last = error.to_string();
                    Ok(None)
                }
            }
        });
        ready.map_err(|error| io::Error::new(error.kind(), format!("{error}; it last said: {last}; log: {}", self.log_tail())))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.lab.log_path("engine")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join(" | ")
    }

    /// SIGKILL, and takes its last events from the pipe.
    pub fn kill(&self) {
        self.process.signal_group(Signal::KILL);
        self.process.wait(Duration::from_secs(10));
        let until = Instant::now() + Duration::from_secs(5);
        while !self.shared.lock().ended && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and waits for a clean end. `false` when it had to be killed or ended with an error.
    pub fn stop(&self) -> bool {
        self.process.signal(Signal::TERM);
        let clean = self.process.wait(Duration::from_secs(20)).is_some_and(|status| status.success());
        self.process.signal_group(Signal::KILL);
        // The last events are in the pipe.
        let until = Instant::now() + Duration::from_secs(5);
        let mut state = self.shared.lock();
        while !state.ended && Instant::now() < until {
            state = match self.shared.more.wait_timeout(state, Duration::from_millis(100)) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        clean
    }
}

/// The events among the lines of an engine's output.
pub fn events_in(output: &str, origin: Origin) -> Vec<Event> {
    let mut offset = None;
    let values = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter_map(|value| parse(&value, origin, &mut offset)).collect()
}

fn receive(stdout: std::process::ChildStdout, origin: Origin, shared: &Shared) {
    const MOST_EVENTS: usize = 1_000_000;
    // The engine's clock against ours, from the first event: its wall-clock time is exact to the microsecond on this machine.
    let mut offset: Option<i128> = None;
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        let event = serde_json::from_str::<Value>(&line).ok().and_then(|value| parse(&value, origin, &mut offset));
        let mut state = shared.lock();
        match event {
            Some(event) if state.events.len() < MOST_EVENTS => state.events.push(event),
            None if state.strange.len() < 100 => state.strange.push(line),
            _ => {}
        }
        shared.more.notify_all();
    }
    shared.lock().ended = true;
    shared.more.notify_all();
}

fn parse(value: &Value, origin: Origin, offset: &mut Option<i128>) -> Option<Event> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let mono = i128::from(value.get("mono_ns")?.as_u64()?);
    let shift = if let Some(shift) = *offset {
        shift
    } else {
        let wall = OffsetDateTime::parse(&text("time")?, &Rfc3339).ok()?;
        *offset.insert((wall - OffsetDateTime::from(origin.wall)).whole_nanoseconds() - mono)
    };
    Some(Event {
        at: u64::try_from((mono + shift).max(0)).unwrap_or(u64::MAX),
        seq: value.get("seq")?.as_u64()?,
        generation: value.get("generation").and_then(Value::as_u64).unwrap_or(0),
        kind: text("kind")?,
        severity: text("severity").unwrap_or_default(),
        server: text("server"),
        message: text("message").unwrap_or_default(),
        fields: value.get("fields").and_then(Value::as_object).cloned().unwrap_or_else(Map::new),
    })
}
