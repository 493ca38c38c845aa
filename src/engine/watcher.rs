//! One thread that watches every kept-open session.
//!
//! It pings each session with the sample query, one ping outstanding at a time, and reports answers and ends as inputs of the core.
//! An end is reported with what it says (rule 83), never as a verdict. Silence is not reported at all: the core
//! measures it from the last answer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

#[cfg(test)]
use super::threads::Threads;
use super::threads::{Blocked, Duty};
use crate::clock::Clock;
use crate::sync::thread::{Builder, JoinHandle, current};
use crate::sync::{Mutex, now, poll};
use crate::wire::postgres::{Error, Progress, SAMPLE_SQL, ServerError, Session, read_sample};
use failover_core::id::{ServerId, ServiceId};
use failover_core::input::Input;
use failover_core::observation::{Close, CloseCause};
use failover_core::time::Mono;

/// The longest time between two pings: positions must never be older than this when a primary dies.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);
/// The shortest time between two pings of one session.
const PING_MIN: Duration = Duration::from_millis(5);
/// No session is ever waited for: only whoever takes the news can make a round take longer.
const ROUND: Duration = Duration::from_secs(5);
/// The end of the stream shows as "readable" too; this makes a half-closed one show as well.
const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDHUP);

/// The thread that watches, and the way to talk to it.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    commands: Mutex<Vec<Command>>,
    wake: OwnedFd,
}

enum Command {
    Add(Box<Watch>),
    Remove(ServiceId, ServerId),
    #[cfg(test)]
    Pace(ServiceId, ServerId, Duration),
    Stop,
}

/// One session under watch.
struct Watch {
    service: ServiceId,
    server: ServerId,
    session: Session,
    interval: Duration,
    /// When the next ping is due, if the one before has been answered.
    due: Instant,
    /// When the outstanding ping was sent.
    asked: Option<Mono>,
    /// An unreadable sample was logged: once is enough.
    complained: bool,
}

impl Watcher {
    /// Starts the thread. `sink` is called on it and must not wait; it gets [`Input::SessionAnswered`] and
    /// [`Input::SessionClosed`], and nothing more for a session after its end.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    #[cfg(test)]
    pub(crate) fn start(clock: Clock, sink: impl Fn(Input) + Send + 'static) -> io::Result<Watcher> {
        Watcher::start_on_duty(clock, Threads::default().duty("watch", 0), sink)
    }

    /// As [`Watcher::start`], with somebody who sees when it does not come round.
    pub(crate) fn start_on_duty(clock: Clock, duty: Duty, sink: impl Fn(Input) + Send + 'static) -> io::Result<Watcher> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { commands: Mutex::new(Vec::new()), wake });
        let inner = Arc::clone(&shared);
        let body = move || {
            run(&inner, clock, &duty, &sink);
            duty.rest();
        };
        let _blocked = Blocked::new();
        let thread = Builder::new().name("fo-watch-0".into()).stack_size(512 * 1024).spawn(body)?;
        Ok(Watcher { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Takes a session over and pings it at once, then every `ping_interval` (5 ms to 200 ms: shorter and longer ones are cut). A
    /// session of the same server that was watched before is dropped without a word.
    pub(crate) fn add(&self, service: ServiceId, server: ServerId, session: Session, ping_interval: Duration) {
        let watch = Watch { service, server, session, interval: pace(ping_interval), due: now(), asked: None, complained: false };
        self.shared.send(Command::Add(Box::new(watch)));
    }

    /// Drops a session without a word. An input about it that is already on its way may still arrive.
    pub(crate) fn remove(&self, service: ServiceId, server: ServerId) {
        self.shared.send(Command::Remove(service, server));
    }

    /// Changes the time between two pings of a session, within the limits of [`Watcher::add`].
    #[cfg(test)]
    pub(crate) fn set_pace(&self, service: ServiceId, server: ServerId, ping_interval: Duration) {
        self.shared.send(Command::Pace(service, server, ping_interval));
    }

    /// Ends the thread and drops every session; returns once it is gone. From the sink it returns at once.
    pub(crate) fn stop(&self) {
        self.shared.send(Command::Stop);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != current().id()
        {
            // A panic of the thread was caught and logged there.
            let _ = thread.join();
        }
    }

    /// False once the thread has ended.
    #[must_use]
    pub(crate) fn is_running(&self) -> bool {
        self.thread.lock().as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn send(&self, command: Command) {
        self.commands.lock().push(command);
        // Fails only when the counter is full, and then the thread is woken anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

fn pace(interval: Duration) -> Duration {
    interval.clamp(PING_MIN, SAMPLE_INTERVAL)
}

fn run(shared: &Shared, clock: Clock, duty: &Duty, sink: &dyn Fn(Input)) {
    let mut watches: Vec<Watch> = Vec::new();
    loop {
        duty.begin(ROUND);
        for command in std::mem::take(&mut *shared.commands.lock()) {
            match command {
                Command::Add(watch) => {
                    watches.retain(|other| !other.is(watch.service, watch.server));
                    watches.push(*watch);
                }
                Command::Remove(service, server) => watches.retain(|watch| !watch.is(service, server)),
                #[cfg(test)]
                Command::Pace(service, server, interval) => {
                    for watch in watches.iter_mut().filter(|watch| watch.is(service, server)) {
                        watch.set_interval(pace(interval));
                    }
                }
                Command::Stop => return,
            }
        }
        let now = now();
        let mut inputs = Vec::new();
        watches.retain_mut(|watch| !watch.is_due(now) || watch.attend(&mut inputs, |watch| watch.ping(now, clock)));
        deliver(&mut inputs, sink);
        duty.rest();
        let ready = wait(shared, &watches);
        duty.begin(ROUND);
        let mut place = 0;
        watches.retain_mut(|watch| {
            let is_ready = ready.get(place).copied().unwrap_or(false);
            place += 1;
            !is_ready || watch.attend(&mut inputs, |_| Ok(()))
        });
        deliver(&mut inputs, sink);
    }
}

fn deliver(inputs: &mut Vec<Input>, sink: &dyn Fn(Input)) {
    for input in inputs.drain(..) {
        if catch_unwind(AssertUnwindSafe(|| sink(input))).is_err() {
            log::error!("the receiver of session news panicked; one piece of news is lost");
        }
    }
}

/// Sleeps until a session has news, a ping is due or a command came. Says for each session whether it has news.
fn wait(shared: &Shared, watches: &[Watch]) -> Vec<bool> {
    let mut fds = Vec::with_capacity(watches.len() + 1);
    fds.push(PollFd::from_borrowed_fd(shared.wake.as_fd(), PollFlags::IN));
    for watch in watches {
        let wanted = if watch.session.has_unsent() { READABLE | PollFlags::OUT } else { READABLE };
        fds.push(PollFd::from_borrowed_fd(watch.session.as_fd(), wanted));
    }
    let due = watches.iter().filter(|watch| watch.asked.is_none()).map(|watch| watch.due).min();
    let timeout = due.and_then(|due| Timespec::try_from(due.saturating_duration_since(now())).ok());
    // An error is a signal of the host program: nobody has news then, and the loop comes back.
    let _ = poll(&mut fds, timeout.as_ref());
    if !fds[0].revents().is_empty() {
        let _ = rustix::io::read(&shared.wake, &mut [0u8; 8]);
    }
    fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect()
}

impl Watch {
    fn is(&self, service: ServiceId, server: ServerId) -> bool {
        self.service == service && self.server == server
    }

    #[cfg(test)]
    fn set_interval(&mut self, interval: Duration) {
        self.due = self.due.min(now() + interval);
        self.interval = interval;
    }

    /// Pings that are due within a tenth of their interval go out together: one wake-up instead of many.
    fn is_due(&self, now: Instant) -> bool {
        self.asked.is_none() && self.due <= now + self.interval / 10
    }

    fn ping(&mut self, now: Instant, clock: Clock) -> Result<(), Error> {
        self.due = now + self.interval;
        self.asked = Some(clock.now());
        self.session.begin(SAMPLE_SQL)
    }

    /// Does something with the session and takes whatever it has to say. `false`: it is over.
    fn attend(&mut self, inputs: &mut Vec<Input>, before: impl FnOnce(&mut Watch) -> Result<(), Error>) -> bool {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            before(self)?;
            self.listen(inputs)
        }));
        let close = match outcome {
            Ok(Ok(None)) => return true,
            Ok(Ok(Some(words))) => Close { cause: words.close_cause(), message: words.to_string() },
            Ok(Err(error)) => Close { cause: error.close_cause(), message: error.to_string() },
            Err(_) => Close { cause: CloseCause::Ours, message: "an internal error while watching this session".into() },
        };
        inputs.push(Input::SessionClosed { service: self.service, server: self.server, close });
        false
    }

    /// Takes all that is here. `Some`: the server says that it ends the session; its end of stream need not be waited for.
    fn listen(&mut self, inputs: &mut Vec<Input>) -> Result<Option<ServerError>, Error> {
        while let Some(progress) = self.session.progress()? {
            match progress {
                Progress::Notice(notice) if notice.ends_session() => return Ok(Some(notice)),
                Progress::Notice(_) => {}
                Progress::Complete(answer) => {
                    let Some(asked) = self.asked.take() else { continue };
                    match answer.map_err(Error::Server).and_then(|rows| read_sample(&rows, asked)) {
                        Ok(sample) => inputs.push(Input::SessionAnswered {
                            service: self.service,
                            server: self.server,
                            sample: Box::new(sample),
                        }),
                        // One refused question is no end: a standby that is being promoted between two functions of the
                        // statement refuses it once.
                        Err(error) if !self.complained => {
                            self.complained = true;
                            log::warn!("service {} server {}: the sample was not answered: {error}", self.service, self.server);
                        }
                        Err(_) => {}
                    }
                }
            }
        }
        Ok(None)
    }
}
