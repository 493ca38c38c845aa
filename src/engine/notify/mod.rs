//! Notifications: who is told what happened, and how that is made sure of.
//!
//! ```text
//!  events ──► inbox ──► fo-notify: filter, same as before?, the end of what? ──► mailbox of each receiver (disk first)
//!                                                                                    │ a window later, as one message
//!                                                             fo-deliver of each receiver: breaker, attempt, back-off
//! ```
//!
//! Nothing that is observed, decided or done waits for any of this: the inbox is bounded and never waited for, each receiver has a thread
//! of its own, and a bug in one of these threads is caught there. What a mailbox took is on disk, so the next engine goes on with it: a
//! message comes at least once, and each event in it has an `id` that is the same every time.

mod inbox;
mod mailbox;
mod outbox;
mod select;
mod spool;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::action::notify::{Answer, Message, Sender};
use crate::config::Notify;
use crate::deadline::{Cancel, Deadline};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use failover_core::event::{EventKind, Severity};

use super::breaker::{BreakerSettings, CircuitBreaker};
use super::error::EngineError;
use super::looks::Look;
use super::render::{millis as millis_of, rfc3339};
use super::resolver::Resolver;
use super::status::{NotifyStatus, NotifyTestStatus};
use super::threads::{Duty, panic_text};
use super::{EngineEvent, Shell};

pub(crate) use inbox::Inbox;
use mailbox::{Loss, Mailbox, Outcome};
use outbox::{Next, millis};

/// A round of the thread that takes events in: its disk may be slow.
const ROUND: Duration = Duration::from_secs(10);
/// Beyond the time-out of an attempt.
const GRACE: Duration = Duration::from_secs(5);
/// Failures in a row after which the others are told.
const TROUBLE: u32 = 3;
/// The number of the thread that resolves the names of receivers; the other one has none but 0.
const RESOLVER: usize = 1;
/// Bugs that one of these threads lives through.
const BUGS: usize = 3;

/// The receivers of an engine.
pub(crate) struct Notifier {
    state: Mutex<State>,
    /// Apart from that of the servers: a name of a receiver that does not resolve keeps no other name waiting.
    resolver: Resolver,
    /// Tells the events of this engine from those of others.
    instance: String,
    threads: AtomicUsize,
}

#[derive(Default)]
struct State {
    receivers: Vec<Arc<Receiver>>,
    inbox: Option<Arc<Inbox>>,
    /// Where what waits is kept.
    directory: Option<PathBuf>,
    closed: bool,
}

/// One receiver under one configuration.
struct Receiver {
    settings: Notify,
    mailbox: Arc<Mailbox>,
    breaker: CircuitBreaker,
    cancel: Cancel,
}

impl Notifier {
    pub(super) fn new() -> Notifier {
        let mut random = [0; 8];
        if getrandom::fill(&mut random).is_err() {
            // The moment of the start will do where there is no chance.
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            random = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).to_ne_bytes();
        }
        let instance = format!("{:016x}", u64::from_be_bytes(random));
        Notifier { state: Mutex::default(), resolver: Resolver::default(), instance, threads: AtomicUsize::new(0) }
    }

    /// Takes up what an earlier engine left, and begins. `state_dir`: where what waits is kept; `None`: nowhere.
    ///
    /// # Errors
    /// [`EngineError::System`] when the system has no thread or descriptor left.
    pub(super) fn start(&self, shell: &Arc<Shell>, state_dir: Option<PathBuf>) -> Result<(), EngineError> {
        self.state.lock().directory = state_dir;
        self.configure(shell)
    }

    /// Makes the receivers those of the configuration in force. Who has the same settings as before goes on.
    ///
    /// # Errors
    /// As for [`Notifier::start`]; the receivers before the one that failed are there.
    pub(super) fn configure(&self, shell: &Arc<Shell>) -> Result<(), EngineError> {
        let parts = shell.parts();
        let breaker = BreakerSettings::from(&parts.config.engine.breaker);
        self.resolver.learn(parts.config.notified_hosts());
        let mut said = Vec::new();
        let outcome = {
            let mut state = self.state.lock();
            if state.closed {
                return Ok(());
            }
            let before = std::mem::take(&mut state.receivers);
            let mut made = Ok(());
            for settings in &parts.config.notify {
                let known = before.iter().find(|known| known.settings.name == settings.name);
                if let Some(same) = known.filter(|known| known.settings == *settings) {
                    state.receivers.push(Arc::clone(same));
                    continue;
                }
                let mailbox = known.map_or_else(
                    || {
                        let (mailbox, outcome) = Mailbox::open(state.directory.as_deref(), &settings.name, now_ms(shell));
                        said.push((settings.name.clone(), outcome));
                        Arc::new(mailbox)
                    },
                    |known| Arc::clone(&known.mailbox),
                );
                made = Receiver::begin(shell, settings, mailbox, breaker).map(|receiver| state.receivers.push(receiver));
                if made.is_err() {
                    break;
                }
            }
            // Whoever is not there any more, or is there in another form, sends nothing more.
            for old in before.iter().filter(|old| !state.receivers.iter().any(|new| Arc::ptr_eq(new, old))) {
                old.close();
            }
            made.and_then(|()| self.listen(shell, &mut state))
        };
        for (name, outcome) in said {
            tell(shell, &name, &outcome, "");
        }
        outcome
    }

    /// The thread that takes events in, once there is somebody to be told.
    fn listen(&self, shell: &Arc<Shell>, state: &mut State) -> Result<(), EngineError> {
        if state.inbox.is_some() || state.receivers.is_empty() {
            return Ok(());
        }
        let inbox = Arc::new(Inbox::default());
        self.resolver.start_as(&shell.threads, RESOLVER)?;
        let (mine, listening) = (Arc::clone(shell), Arc::clone(&inbox));
        let duty = shell.threads.aside_duty("notify", 0);
        shell.threads.spawn("notify", 0, move || {
            guarded(&mine, "takes in what is to be told", || take_in(&mine, &listening, &duty));
        })?;
        shell.hub.listen(&inbox);
        state.inbox = Some(inbox);
        Ok(())
    }

    /// Nothing more is sent. What still comes is kept for the next engine.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.resolver.close();
        for receiver in &state.receivers {
            receiver.close();
        }
    }

    /// Every receiver, for the status.
    pub(super) fn status(&self) -> Vec<NotifyStatus> {
        let receivers = self.state.lock().receivers.clone();
        receivers.iter().map(|receiver| receiver.status()).collect()
    }

    fn receivers(&self) -> Vec<Arc<Receiver>> {
        self.state.lock().receivers.clone()
    }
}

impl Receiver {
    fn begin(
        shell: &Arc<Shell>,
        settings: &Notify,
        mailbox: Arc<Mailbox>,
        breaker: BreakerSettings,
    ) -> Result<Arc<Receiver>, EngineError> {
        let cancel = Cancel::new().map_err(|error| EngineError::system("cannot make a cancel signal", error))?;
        let receiver = Receiver { settings: settings.clone(), mailbox, breaker: CircuitBreaker::new(breaker), cancel };
        let receiver = Arc::new(receiver);
        let number = shell.notifier.threads.fetch_add(1, Ordering::Relaxed);
        let duty = shell.threads.aside_duty("deliver", number);
        let (mine, shell_too) = (Arc::clone(&receiver), Arc::clone(shell));
        shell.threads.spawn("deliver", number, move || {
            guarded(&shell_too, &format!("tells {}", mine.settings.name), || deliver(&shell_too, &mine, &duty));
        })?;
        Ok(receiver)
    }

    fn close(&self) {
        self.cancel.cancel();
        self.mailbox.wake();
    }

    fn status(&self) -> NotifyStatus {
        let (numbers, waiting, failures) =
            self.mailbox.with(|state| (state.numbers.clone(), state.outbox.waiting(), state.outbox.failures()));
        NotifyStatus {
            name: self.settings.name.clone(),
            kind: self.settings.target.kind().as_str().to_owned(),
            waiting: u64::try_from(waiting).unwrap_or(u64::MAX),
            delivered: numbers.delivered,
            messages: numbers.messages,
            failed: numbers.failed,
            given_up: numbers.lost,
            repeated: numbers.repeated,
            failures,
            breaker: self.breaker.state().as_str().to_owned(),
            answer: numbers.answer,
            delivered_at: numbers.answered,
        }
    }
}

/// A bug in what only tells others freezes nothing: it is told, and the thread begins anew, a few times.
fn guarded(shell: &Shell, what: &str, body: impl Fn()) {
    for _ in 0..BUGS {
        let Err(payload) = catch_unwind(AssertUnwindSafe(&body)) else { return };
        let message = format!("a bug was caught in the thread that {what}: {}", panic_text(&*payload));
        shell.say(EventKind::Log, Severity::Alarm, &message);
    }
}

fn now_ms(shell: &Shell) -> u64 {
    let now = shell.clock.wall(shell.clock.now()).duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    millis(now)
}

/// The body of the thread that takes events in; ends when no more come.
fn take_in(shell: &Arc<Shell>, inbox: &Inbox, duty: &Duty) {
    loop {
        duty.rest();
        let Some(taken) = inbox.take() else { return };
        duty.begin(ROUND);
        let instance = &shell.notifier.instance;
        let events: Vec<(String, &EngineEvent)> =
            taken.events.iter().map(|event| (format!("{instance}-{}", event.seq), &**event)).collect();
        for receiver in shell.notifier.receivers() {
            let outcome = receiver.mailbox.take_in(&receiver.settings.delivery, &events, now_ms(shell));
            tell(shell, &receiver.settings.name, &outcome, "");
        }
        if taken.dropped > 0 {
            let loss = Loss { events: usize::try_from(taken.dropped).unwrap_or(usize::MAX), cause: outbox::Cause::QueueFull };
            tell(shell, "", &Outcome { loss: Some(loss), disk: None }, "they came faster than the disk took them");
        }
    }
}

/// Says what has to be said of a change.
fn tell(shell: &Shell, name: &str, outcome: &Outcome, why: &str) {
    if let Some(Loss { events, cause }) = outcome.loss {
        let whom = if name.is_empty() { "the receivers of notifications".to_owned() } else { format!("the receiver {name}") };
        let because = match cause {
            outbox::Cause::TooOld => "it has not taken them for longer than retry_for".to_owned(),
            outbox::Cause::Refused => "it refused them again and again".to_owned(),
            outbox::Cause::QueueFull if why.is_empty() => format!("more than {} wait for it", outbox::WAITING),
            outbox::Cause::QueueFull => String::new(),
            outbox::Cause::Damaged => "its file in the state directory is damaged".to_owned(),
        };
        let because = [because.as_str(), why].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        let mut fields = Map::new();
        fields.insert("receiver".to_owned(), Value::from(name));
        fields.insert("events".to_owned(), Value::from(events));
        fields.insert("cause".to_owned(), Value::from(cause.as_str()));
        fields.insert("why".to_owned(), Value::from(because.as_str()));
        let message = format!("{events} events are not told to {whom}: {because}");
        shell.say_with(EventKind::NotifyLost, Severity::Alarm, message, fields);
    }
    match outcome.disk.as_deref() {
        None => {}
        Some("") => {
            let message = format!("what waits for the receiver {name} is kept on disk again");
            shell.say(EventKind::Log, Severity::Info, &message);
        }
        Some(error) => {
            let message = format!(
                "what waits for the receiver {name} cannot be kept on disk ({error}): it is told all the same, and lost if the engine ends \
                 before; mend the state directory"
            );
            shell.say(EventKind::Log, Severity::Warning, &message);
        }
    }
}

/// The body of a receiver's thread; ends when cancelled.
fn deliver(shell: &Arc<Shell>, receiver: &Receiver, duty: &Duty) {
    let Receiver { settings, mailbox, breaker, cancel } = receiver;
    let sender = Sender::new(settings, Arc::new(shell.notifier.resolver.clone()));
    let mut told = false;
    while !cancel.is_cancelled() {
        duty.rest();
        let now = now_ms(shell);
        let next = mailbox.with(|state| state.outbox.next(&settings.delivery, sender.most_lines(), now));
        let message = match next {
            Next::Send(message) => message,
            Next::At(moment) => {
                let until = Deadline::after(Duration::from_millis(moment.saturating_sub(now).max(1))).instant();
                mailbox.wait(Some(until), || cancel.is_cancelled(), |_| true);
                continue;
            }
            Next::Nothing => {
                mailbox.wait(None, || cancel.is_cancelled(), |state| state.outbox.waiting() == 0);
                continue;
            }
        };
        let permit = match breaker.permit() {
            Ok(permit) => permit,
            Err(denied) => {
                let until = now.saturating_add(denied.retry_after.as_millis().max(1));
                mailbox.with(|state| state.outbox.hold(until));
                continue;
            }
        };
        duty.begin(sender.timeout() + GRACE);
        let answer = sender.send(&message, shell.clock.wall(shell.clock.now()), cancel);
        match answer {
            Answer::Cancelled => return,
            Answer::Delivered(said) => {
                permit.success();
                let outcome = mailbox.delivered(&said, rfc3339(shell.clock.wall(shell.clock.now())));
                tell(shell, &settings.name, &outcome, "");
                if std::mem::take(&mut told) {
                    tell_state(shell, receiver, true, &said);
                }
            }
            Answer::Failed { why, refused } => {
                // It answers, and so is well: it only does not like this.
                permit.report(refused);
                let outcome = mailbox.failed(&settings.delivery, &why, refused, now_ms(shell), chance());
                tell(shell, &settings.name, &outcome, &why);
                let failures = mailbox.with(|state| state.outbox.failures());
                if failures >= TROUBLE && !std::mem::replace(&mut told, true) {
                    tell_state(shell, receiver, false, &why);
                }
            }
        }
    }
}

fn tell_state(shell: &Shell, receiver: &Receiver, delivers: bool, why: &str) {
    let name = &receiver.settings.name;
    let waiting = receiver.mailbox.with(|state| state.outbox.waiting());
    let mut fields = Map::new();
    fields.insert("receiver".to_owned(), Value::from(name.as_str()));
    fields.insert("delivers".to_owned(), Value::from(delivers));
    fields.insert("waiting".to_owned(), Value::from(waiting));
    fields.insert("why".to_owned(), Value::from(why));
    let (severity, message) = if delivers {
        (Severity::Info, format!("the receiver {name} takes notifications again"))
    } else {
        let waits = format!("{waiting} events wait for it and are tried again");
        (Severity::Warning, format!("the receiver {name} takes no notifications: {why}; {waits}"))
    };
    shell.say_with(EventKind::NotifyState, severity, message, fields);
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut random = [0; 2];
    // Without a random number everybody waits the longest.
    getrandom::fill(&mut random).map_or(1.0, |()| f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX))
}

/// Sends a test message to each of these, beside what waits for them.
///
/// # Errors
/// [`EngineError::System`] when the system has no thread left.
pub(super) fn test_all(shell: &Shell, wanted: &[&Notify], look: &Look) -> Result<Vec<NotifyTestStatus>, EngineError> {
    // Its own one: that of the engine runs from start to stop only.
    let resolver = Resolver::default();
    resolver.learn(shell.parts().config.notified_hosts());
    resolver.start(&look.threads)?;
    let mut tested = Vec::new();
    for settings in wanted.iter().take_while(|_| !look.cancel.is_cancelled()) {
        let status = test(shell, settings, look, &resolver);
        let mut fields = Map::new();
        fields.insert("receiver".to_owned(), Value::from(status.name.as_str()));
        fields.insert("delivered".to_owned(), Value::from(status.delivered));
        fields.insert("answer".to_owned(), Value::from(status.answer.as_str()));
        let (severity, word) =
            if status.delivered { (Severity::Info, "delivered") } else { (Severity::Warning, "not delivered") };
        let message = format!("the test message for the receiver {} is {word}: {}", status.name, status.answer);
        shell.say_with(EventKind::NotifyTest, severity, message, fields);
        tested.push(status);
    }
    resolver.close();
    let _ = look.threads.join(Deadline::after(GRACE));
    Ok(tested)
}

fn test(shell: &Shell, settings: &Notify, look: &Look, resolver: &Resolver) -> NotifyTestStatus {
    let name = &settings.name;
    let now = shell.clock.now();
    let wall = shell.clock.wall(now);
    let event = EngineEvent {
        time: rfc3339(wall),
        mono_ns: now.as_nanos(),
        message: format!("this is a test message for the receiver {name}: nothing has happened"),
        ..EngineEvent::blank(0, EventKind::NotifyTest, Severity::Info)
    };
    let id = format!("{}-test-{}", shell.notifier.instance, now.as_nanos());
    let message = Message { lines: vec![select::line(&event, &id)] };
    let (delivered, answer) = match Sender::new(settings, Arc::new(resolver.clone())).send(&message, wall, &look.cancel) {
        Answer::Delivered(said) => (true, said),
        Answer::Failed { why, .. } => (false, why),
        Answer::Cancelled => (false, "the engine was stopped".to_owned()),
    };
    let took_ms = millis_of(shell.clock.now().since(now));
    NotifyTestStatus { name: name.clone(), kind: settings.target.kind().as_str().to_owned(), delivered, answer, took_ms }
}
