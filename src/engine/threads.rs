//! Every thread of the engine: named, counted, waited for with a time limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::deadline::Deadline;

use super::error::EngineError;
use crate::sync::thread::{Builder, JoinHandle, ThreadId, current};
use crate::sync::{Condvar, Mutex, now};

/// Enough for TLS, SSH and JSON; the pages of a stack that are never touched cost nothing.
const STACK: usize = 512 * 1024;

/// The engine's threads. Clones share one register.
#[derive(Clone, Default)]
pub(crate) struct Threads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    alive: Vec<(ThreadId, String)>,
    handles: Vec<JoinHandle<()>>,
    /// What was thrown by a thread that should never end that way.
    panics: Vec<String>,
    duties: Vec<Duty>,
}

/// What a thread that goes round for ever says of itself, so that another one sees when it does not come round.
#[derive(Clone)]
pub(crate) struct Duty(Arc<Post>);

struct Post {
    name: String,
    /// Nothing that is observed, decided or done waits for it.
    is_aside: bool,
    /// By when it wants to be back; `None` while it waits for work.
    back_by: Mutex<Option<Instant>>,
}

impl Duty {
    /// Work begins that is over within `limit`, whatever happens.
    pub(crate) fn begin(&self, limit: Duration) {
        *self.0.back_by.lock() = Some(now() + limit);
    }

    /// The work is done, or the thread ends.
    pub(crate) fn rest(&self) {
        *self.0.back_by.lock() = None;
    }

    /// It should have been back by now.
    pub(crate) fn is_overdue(&self) -> bool {
        self.0.back_by.lock().is_some_and(|back_by| back_by <= now())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

impl Threads {
    /// Starts the thread `fo-<role>-<n>`.
    ///
    /// # Errors
    /// [`EngineError::System`] when the operating system has no thread left.
    pub(crate) fn spawn(&self, role: &str, n: usize, body: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
        let name = format!("fo-{role}-{n}");
        let shared = Arc::clone(&self.0);
        let _blocked = Blocked::new();
        // Held until the thread is in the register, so that nobody sees it run unregistered.
        let mut state = self.0.state.lock();
        let handle = Builder::new()
            .name(name.clone())
            .stack_size(STACK)
            .spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(body));
                let me = current().id();
                let mut state = shared.state.lock();
                state.alive.retain(|(id, _)| *id != me);
                if let Err(payload) = ended {
                    state.panics.push(panic_text(&*payload));
                }
                drop(state);
                shared.ended.notify_all();
            })
            .map_err(|error| EngineError::system(format!("cannot start thread {name}"), error))?;
        state.alive.push((handle.thread().id(), name));
        // A handle of a thread that ended by itself (a forwarder whose receiver is gone) is not kept for ever.
        state.handles.retain(|handle| !handle.is_finished());
        state.handles.push(handle);
        Ok(())
    }

    /// The duty of the thread `fo-<role>-<n>`. While it is overdue the engine doubts itself: what it sees or does is not all
    /// that it should.
    pub(crate) fn duty(&self, role: &str, n: usize) -> Duty {
        self.post(role, n, false)
    }

    /// The duty of a thread that is named when it is overdue, and is no reason for doubt. Event callbacks and the writer of
    /// decision records only tell what was decided: code of the host program or a slow disk must not hold back a failover.
    /// Nor must an outage of DNS: names that were resolved stay in use, and a check of one that never was is unknown by itself.
    pub(crate) fn aside_duty(&self, role: &str, n: usize) -> Duty {
        self.post(role, n, true)
    }

    fn post(&self, role: &str, n: usize, is_aside: bool) -> Duty {
        let duty = Duty(Arc::new(Post { name: format!("fo-{role}-{n}"), is_aside, back_by: Mutex::new(None) }));
        let mut state = self.0.state.lock();
        // Those of threads that are gone are held by nobody else.
        state.duties.retain(|duty| Arc::strong_count(&duty.0) > 1);
        state.duties.push(duty.clone());
        duty
    }

    /// The names of the threads that have not come back from their work in time, sorted.
    pub(crate) fn overdue(&self) -> Vec<String> {
        let duties = self.0.state.lock().duties.clone();
        let mut names: Vec<String> = duties.iter().filter(|duty| duty.is_overdue()).map(|duty| duty.name().to_owned()).collect();
        names.sort();
        names
    }

    /// How many of them are a reason for doubt.
    pub(crate) fn stuck_loops(&self) -> u32 {
        let duties = self.0.state.lock().duties.clone();
        let stuck = duties.iter().filter(|duty| !duty.0.is_aside && duty.is_overdue()).count();
        u32::try_from(stuck).unwrap_or(u32::MAX)
    }

    /// True on a thread of this engine.
    pub(crate) fn is_mine(&self) -> bool {
        let me = current().id();
        self.0.state.lock().alive.iter().any(|(id, _)| *id == me)
    }

    /// The names of the living threads, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.state.lock().alive.iter().map(|(_, name)| name.clone()).collect();
        names.sort();
        names
    }

    /// What threads threw that should never end that way.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.0.state.lock().panics.clone()
    }

    /// Waits until every thread has ended.
    ///
    /// # Errors
    /// The names of those that had not, at the deadline.
    pub(crate) fn join(&self, deadline: Deadline) -> Result<(), Vec<String>> {
        let handles = {
            let mut state = self.0.state.lock();
            while !state.alive.is_empty() {
                let timed_out;
                (state, timed_out) = self.0.ended.wait_until(state, deadline.instant());
                if timed_out && !state.alive.is_empty() {
                    return Err(state.alive.iter().map(|(_, name)| name.clone()).collect());
                }
            }
            std::mem::take(&mut state.handles)
        };
        for handle in handles {
            // It has left the register already: only its very last instructions are waited for.
            let _ = handle.join();
        }
        Ok(())
    }
}

/// The text of a caught panic.
#[doc(hidden)]
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    text.lines().next().unwrap_or_default().to_owned()
}

/// While it lives, threads that are made block every signal but those of a fault of their own; then the caller's mask is back. The host
/// program's signals come to its own threads.
pub(super) struct Blocked(Option<SigSet>);

impl Blocked {
    pub(super) fn new() -> Blocked {
        let mut all = SigSet::all();
        // A thread that dies of its own fault must die of it: a blocked SIGSEGV would loop or end the process without a core.
        for own in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP] {
            all.remove(own);
        }
        Blocked(all.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok())
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = before.thread_set_mask();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Cancel;
    use std::time::Duration;

    #[test]
    fn a_thread_is_named_counted_and_waited_for() {
        let threads = Threads::default();
        let cancel = Cancel::new().unwrap();
        let (inside, seen) = (cancel.clone(), threads.clone());
        threads
            .spawn("test", 3, move || {
                assert!(seen.is_mine());
                let _ = inside.pause(Duration::from_secs(600), Deadline::after(Duration::from_secs(600)));
            })
            .unwrap();
        assert_eq!(threads.names(), ["fo-test-3"]);
        assert!(!threads.is_mine());
        assert_eq!(threads.join(Deadline::after(Duration::ZERO)), Err(vec!["fo-test-3".to_owned()]));
        cancel.cancel();
        threads.join(Deadline::after(Duration::from_secs(60))).unwrap();
        assert!(threads.names().is_empty());
    }

    #[test]
    fn a_thread_that_does_not_come_back_is_named_until_it_does() {
        let threads = Threads::default();
        let (duty, other) = (threads.duty("test", 1), threads.duty("test", 2));
        other.begin(Duration::from_secs(600));
        assert!(threads.overdue().is_empty());
        duty.begin(Duration::ZERO);
        assert_eq!(threads.overdue(), ["fo-test-1"]);
        duty.rest();
        assert!(threads.overdue().is_empty());
        duty.begin(Duration::ZERO);
        drop(duty);
        threads.duty("test", 3);
        assert!(threads.overdue().is_empty(), "a thread that is gone is not late");
    }

    #[test]
    fn who_only_tells_others_is_named_and_not_counted() {
        let threads = Threads::default();
        let (duty, aside) = (threads.duty("test", 1), threads.aside_duty("test", 2));
        aside.begin(Duration::ZERO);
        assert_eq!((threads.overdue().len(), threads.stuck_loops()), (1, 0));
        duty.begin(Duration::ZERO);
        assert_eq!((threads.overdue().len(), threads.stuck_loops()), (2, 1));
        duty.rest();
        assert_eq!(threads.stuck_loops(), 0);
    }

    #[test]
    fn a_panic_ends_the_thread_and_is_kept() {
        let threads = Threads::default();
        threads.spawn("test", 0, || panic!("planted")).unwrap();
        threads.join(Deadline::after(Duration::from_secs(60))).unwrap();
        assert_eq!(threads.panics(), ["planted"]);
    }
}
