//! `failover run`: the engine in the foreground, with signals, the control socket and the service manager.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use failover::{Config, Engine, EngineError, EventQueue, Severity, Status};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::Run;
use super::control::Control;
use super::exit::{Code, Trouble};
use super::history::History;
use super::notify::{is_managed, notify};
use super::socket::Listening;
use super::terminal::Terminal;
use super::{log as lines, status};

/// For one attempt to stop; repeated, with word to the service manager, until the engine is done.
const STOP_SLICE: Duration = Duration::from_secs(5);
/// On top of the longest failover.
const STOP_EXTRA: Duration = Duration::from_secs(30);
/// For the last events to be taken from our stdout.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often the status line of the service manager is looked at.
const TICK: Duration = Duration::from_secs(1);

pub fn run(arguments: &Run, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    lines::start(terminal);
    let config = load(&arguments.config)?;
    // Before anything is started: whoever asks for the end during the start gets it right after.
    let signals = catch_signals().map_err(|error| EngineError::system("cannot catch signals", error))?;
    let socket = config.control_socket();
    let patience = stop_patience(&config);
    let listening = Listening::bind(&socket)?;
    let engine = Arc::new(Engine::new(config)?);
    let history = Arc::new(History::default());
    let kept = keep(engine.queue()?, Arc::clone(&history))?;
    let printed = show(engine.queue()?, json, arguments.verbose, terminal)?;
    engine.start()?;
    let control = Control::start(listening, Arc::clone(&engine), history)
        .map_err(|error| EngineError::system("cannot serve the control socket", error))?;
    log::info!("running as process {}; commands on {}", std::process::id(), socket.display());
    notify(&[NotifyState::Ready]);
    let mut daemon = Daemon { engine, config: arguments.config.clone(), socket, patience, said: String::new() };
    daemon.watch(&signals);
    let ended = daemon.stop();
    // The last event is out: followers get it, then the door closes.
    wait(&kept);
    control.stop();
    wait(&printed);
    ended.map(|()| Code::Ok)
}

fn load(path: &Path) -> Result<Config, Trouble> {
    let config = Config::load(path).map_err(Trouble::config)?;
    for warning in config.warnings() {
        log::warn!("{}: {warning}", path.display());
    }
    Ok(config)
}

fn stop_patience(config: &Config) -> Duration {
    config.services.iter().map(|service| service.trigger.failover_timeout).max().unwrap_or_default() + STOP_EXTRA
}

/// The first SIGINT or SIGTERM comes through the channel, as does every SIGHUP; a second SIGINT or SIGTERM ends the process on
/// the spot, whatever its threads are doing: the journal holds what is needed to resume.
fn catch_signals() -> std::io::Result<Receiver<i32>> {
    let once = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&once))?;
        signal_hook::flag::register(signal, Arc::clone(&once))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (sender, receiver) = bounded(16);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // A full channel holds reloads that have not been done yet: one more adds nothing. An end is never dropped.
            let sent = if signal == SIGHUP { sender.try_send(signal).is_ok() } else { sender.send(signal).is_ok() };
            if !sent && signal != SIGHUP {
                return;
            }
        }
    })?;
    Ok(receiver)
}

struct Daemon {
    engine: Arc<Engine>,
    config: PathBuf,
    socket: PathBuf,
    patience: Duration,
    /// What the service manager was told last.
    said: String,
}

impl Daemon {
    /// Until a signal says stop.
    fn watch(&mut self, signals: &Receiver<i32>) {
        let managed = is_managed();
        let watchdog = sd_notify::watchdog_enabled().map(|period| period / 2);
        let tick = if managed { watchdog.map_or(TICK, |period| period.min(TICK)) } else { Duration::from_secs(3600) };
        loop {
            if managed {
                // The engine is locked while it is asked: one that hangs there is not alive.
                let status = self.engine.status();
                if watchdog.is_some() {
                    notify(&[NotifyState::Watchdog]);
                }
                self.say(&status);
            }
            match signals.recv_timeout(tick) {
                Ok(SIGHUP) => self.reload(),
                Ok(signal) => {
                    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                    log::info!("{name}: stopping; another one ends the process at once");
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A line for `systemctl status`.
    fn say(&mut self, status: &Status) {
        let text = status::line(status);
        if text != self.said {
            notify(&[NotifyState::Status(&text)]);
            self.said = text;
        }
    }

    fn reload(&mut self) {
        let mut word = vec![NotifyState::Reloading];
        word.extend(NotifyState::monotonic_usec_now().ok());
        notify(&word);
        log::info!("SIGHUP: reading {} again", self.config.display());
        match Config::load(&self.config) {
            Err(errors) => {
                for problem in &errors.errors {
                    log::error!("{}: {problem}", self.config.display());
                }
                log::error!("the configuration has errors and changes nothing: the engine goes on with the one it has");
            }
            Ok(config) => {
                for warning in config.warnings() {
                    log::warn!("{}: {warning}", self.config.display());
                }
                if config.control_socket() != self.socket {
                    log::warn!("control_socket stays {} until the next start", self.socket.display());
                }
                let patience = stop_patience(&config);
                match self.engine.reload(config) {
                    Ok(()) => {
                        self.patience = patience;
                        log::info!("the new configuration is in force");
                    }
                    Err(EngineError::Config(errors)) => {
                        for problem in &errors.errors {
                            log::error!("{}: {problem}", self.config.display());
                        }
                        log::error!("the configuration changes nothing: the engine goes on with the one it has");
                    }
                    Err(error) => log::error!("the configuration changes nothing: {error}"),
                }
            }
        }
        notify(&[NotifyState::Ready]);
    }

    fn stop(&self) -> Result<(), Trouble> {
        notify(&[NotifyState::Stopping]);
        let until = Instant::now() + self.patience;
        loop {
            match self.engine.stop(STOP_SLICE) {
                Ok(()) => return Ok(()),
                Err(EngineError::Timeout(_, what)) if Instant::now() < until => {
                    log::info!("still stopping: {what}");
                    let extension = u32::try_from((2 * STOP_SLICE).as_micros()).unwrap_or(u32::MAX);
                    notify(&[NotifyState::ExtendTimeoutUsec(extension), NotifyState::Watchdog]);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Runs `work` on a thread; the receiver is disconnected when it is over.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Receiver<()>, Trouble> {
    let (alive, over) = bounded(0);
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        work();
        drop(alive);
    });
    thread.map(|_| over).map_err(|error| EngineError::system(format!("cannot start the thread {name}"), error).into())
}

fn wait(over: &Receiver<()>) {
    let _ = over.recv_timeout(LAST_WORDS);
}

/// Takes every event into the history.
fn keep(queue: EventQueue, history: Arc<History>) -> Result<Receiver<()>, Trouble> {
    spawn("history", move || {
        while !queue.is_over() {
            if let Some(event) = queue.next(Duration::from_secs(3600)) {
                history.push(event);
            }
        }
        history.close();
    })
}

/// Shows every event: JSON on stdout, or lines on stderr.
fn show(queue: EventQueue, json: bool, verbose: bool, terminal: Terminal) -> Result<Receiver<()>, Trouble> {
    spawn("show", move || {
        while !queue.is_over() {
            let Some(event) = queue.next(Duration::from_secs(3600)) else { continue };
            let written = if json {
                let mut text = event.to_json().to_string();
                text.push('\n');
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
            } else if verbose || event.severity > Severity::Debug {
                std::io::stderr().lock().write_all(format!("{}\n", lines::event(&event, terminal)).as_bytes())
            } else {
                Ok(())
            };
            if let Err(error) = written {
                // The engine goes on: what it guards matters more than who is told. The control socket still has the events.
                log::warn!("events are not shown any more: {error}");
                return;
            }
        }
    })
}
