//! The same surface, scheduled by shuttle. What waits for something untimed sleeps until it comes: a wake-up that gets lost is a
//! deadlock, and found. What waits with a time limit may be overtaken by the clock, if [`begin`] allows it: time then passes in
//! small random steps, whenever the scheduler likes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use shuttle::rand::RngCore;
pub(crate) use shuttle::sync::atomic;

thread_local! {
    // All threads of an execution are coroutines on one.
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static TIME_PASSES: Cell<bool> = const { Cell::new(true) };
}

/// Begins an execution at time zero. Without time, limits of time are never reached.
pub(crate) fn begin(time_passes: bool) {
    PASSED.set(Duration::ZERO);
    TIME_PASSES.set(time_passes);
}

/// The clock of the execution.
pub(crate) fn now() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now) + PASSED.get()
}

/// Less than `limit`.
pub(crate) fn any(limit: u64) -> u64 {
    shuttle::rand::thread_rng().next_u64() % limit
}

/// The clock moves in one of so many turns of those who wait with a limit. The threads of an engine are some twenty who do so all the time:
/// a faster clock passes the ten seconds of a command before the trigger thread, which gets a twentieth of the turns, has had its own.
const PACE: u64 = 64;

/// One turn of a wait with a limit. True: the limit was reached.
fn wait_a_little(until: Instant) -> bool {
    if TIME_PASSES.get() {
        if now() >= until {
            return true;
        }
        if any(PACE) == 0 {
            let step = Duration::from_millis(1 + any(100)).min(until.saturating_duration_since(now()));
            PASSED.set(PASSED.get() + step);
        }
    }
    shuttle::thread::yield_now();
    false
}

/// poll(2), of which only the scheduler's side is played: the descriptors are real.
pub(crate) fn poll(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> rustix::io::Result<usize> {
    let limit = timeout.map_or(Duration::from_secs(1_000_000), |limit| {
        let seconds = u64::try_from(limit.tv_sec).unwrap_or(0).min(1_000_000);
        Duration::new(seconds, u32::try_from(limit.tv_nsec).unwrap_or(0))
    });
    let until = now() + limit;
    loop {
        let ready = rustix::event::poll(fds, Some(&Timespec::default()))?;
        if ready > 0 || wait_a_little(until) {
            return Ok(ready);
        }
    }
}

pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a shuttle::sync::Mutex<T>,
    /// `None` only while its owner waits for a condition.
    guard: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: &self.0, guard: Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)) }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("held")
    }
}

/// Wakes in any order, and nobody but by a notification.
#[derive(Default)]
pub(crate) struct Condvar(shuttle::sync::Mutex<VecDeque<Arc<Waiter>>>);

struct Waiter {
    notified: atomic::AtomicBool,
    thread: shuttle::thread::Thread,
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar::default()
    }

    fn waiters(&self) -> shuttle::sync::MutexGuard<'_, VecDeque<Arc<Waiter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.sleep(&mut guard, None);
        guard
    }

    pub(crate) fn wait_until<'a, T>(&self, mut guard: MutexGuard<'a, T>, until: Instant) -> (MutexGuard<'a, T>, bool) {
        let timed_out = self.sleep(&mut guard, Some(until));
        (guard, timed_out)
    }

    fn sleep<T>(&self, guard: &mut MutexGuard<'_, T>, until: Option<Instant>) -> bool {
        let me = Arc::new(Waiter { notified: atomic::AtomicBool::new(false), thread: shuttle::thread::current() });
        self.waiters().push_back(Arc::clone(&me));
        drop(guard.guard.take());
        let mut timed_out = false;
        while !me.notified.load(atomic::Ordering::SeqCst) {
            match until {
                Some(until) if TIME_PASSES.get() => {
                    if wait_a_little(until) {
                        let mut waiters = self.waiters();
                        // Notified at the last moment: then that counts, or it would be lost to the others.
                        timed_out = !me.notified.load(atomic::Ordering::SeqCst);
                        waiters.retain(|other| !Arc::ptr_eq(other, &me));
                        break;
                    }
                }
                _ => shuttle::thread::park(),
            }
        }
        guard.guard = Some(guard.mutex.lock().unwrap_or_else(PoisonError::into_inner));
        timed_out
    }

    pub(crate) fn notify_one(&self) {
        let mut waiters = self.waiters();
        if !waiters.is_empty() {
            let place = usize::try_from(any(waiters.len() as u64)).expect("small");
            waiters.remove(place).expect("there").wake();
        }
    }

    pub(crate) fn notify_all(&self) {
        for waiter in self.waiters().drain(..) {
            waiter.wake();
        }
    }
}

impl Waiter {
    fn wake(&self) {
        self.notified.store(true, atomic::Ordering::SeqCst);
        self.thread.unpark();
    }
}

pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> RwLock<T> {
        RwLock(shuttle::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) mod thread {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    pub(crate) use shuttle::thread::{ThreadId, current, spawn, yield_now};

    pub(crate) fn sleep(span: Duration) {
        let until = super::now() + span;
        while !super::wait_a_little(until) {}
    }

    pub(crate) struct Builder(shuttle::thread::Builder);

    pub(crate) struct JoinHandle<T> {
        handle: shuttle::thread::JoinHandle<T>,
        finished: Arc<AtomicBool>,
    }

    impl Builder {
        pub(crate) fn new() -> Builder {
            Builder(shuttle::thread::Builder::new())
        }

        pub(crate) fn name(self, name: String) -> Builder {
            Builder(self.0.name(name))
        }

        pub(crate) fn stack_size(self, size: usize) -> Builder {
            Builder(self.0.stack_size(size))
        }

        pub(crate) fn spawn<T: Send + 'static>(
            self,
            body: impl FnOnce() -> T + Send + 'static,
        ) -> std::io::Result<JoinHandle<T>> {
            struct Finish(Arc<AtomicBool>);
            impl Drop for Finish {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::SeqCst);
                }
            }
            let finished = Arc::new(AtomicBool::new(false));
            let finish = Finish(Arc::clone(&finished));
            let handle = self.0.spawn(move || {
                let _finish = finish;
                body()
            })?;
            Ok(JoinHandle { handle, finished })
        }
    }

    impl<T> JoinHandle<T> {
        pub(crate) fn thread(&self) -> &shuttle::thread::Thread {
            self.handle.thread()
        }

        pub(crate) fn is_finished(&self) -> bool {
            self.finished.load(Ordering::SeqCst)
        }

        pub(crate) fn join(self) -> shuttle::thread::Result<T> {
            self.handle.join()
        }
    }
}

/// A channel of a lock and two conditions: a real one would block the only real thread.
pub(crate) mod channel {
    use std::collections::VecDeque;
    use std::fmt;
    use std::sync::Arc;
    use std::time::Instant;

    pub(crate) use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};

    use super::{Condvar, Mutex, now};

    struct Shared<T> {
        state: Mutex<State<T>>,
        filled: Condvar,
        emptied: Condvar,
        capacity: usize,
    }

    struct State<T> {
        queue: VecDeque<T>,
        senders: usize,
        receivers: usize,
    }

    pub(crate) struct Sender<T>(Arc<Shared<T>>);
    pub struct Receiver<T>(Arc<Shared<T>>);

    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let state = State { queue: VecDeque::new(), senders: 1, receivers: 1 };
        let shared = Arc::new(Shared { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new(), capacity });
        (Sender(Arc::clone(&shared)), Receiver(shared))
    }

    impl<T> Sender<T> {
        pub(crate) fn len(&self) -> usize {
            self.0.state.lock().queue.len()
        }

        pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
            self.put(value, None).map_err(|error| SendError(error.into_inner()))
        }

        pub(crate) fn send_deadline(&self, value: T, until: Instant) -> Result<(), SendTimeoutError<T>> {
            self.put(value, Some(until))
        }

        pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
            self.put(value, Some(now())).map_err(|error| match error {
                SendTimeoutError::Timeout(value) => TrySendError::Full(value),
                SendTimeoutError::Disconnected(value) => TrySendError::Disconnected(value),
            })
        }

        fn put(&self, value: T, until: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
            let mut state = self.0.state.lock();
            loop {
                if state.receivers == 0 {
                    return Err(SendTimeoutError::Disconnected(value));
                }
                if state.queue.len() < self.0.capacity {
                    state.queue.push_back(value);
                    self.0.filled.notify_one();
                    return Ok(());
                }
                match until {
                    Some(until) if until <= now() => return Err(SendTimeoutError::Timeout(value)),
                    Some(until) => (state, _) = self.0.emptied.wait_until(state, until),
                    None => state = self.0.emptied.wait(state),
                }
            }
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn recv(&self) -> Result<T, RecvError> {
            self.get(None).map_err(|_| RecvError)
        }

        pub(crate) fn recv_deadline(&self, until: Instant) -> Result<T, RecvTimeoutError> {
            self.get(Some(until))
        }

        pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
            self.get(Some(now())).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            })
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
            std::iter::from_fn(|| self.recv().ok())
        }

        fn get(&self, until: Option<Instant>) -> Result<T, RecvTimeoutError> {
            let mut state = self.0.state.lock();
            loop {
                if let Some(value) = state.queue.pop_front() {
                    self.0.emptied.notify_one();
                    return Ok(value);
                }
                if state.senders == 0 {
                    return Err(RecvTimeoutError::Disconnected);
                }
                match until {
                    Some(until) if until <= now() => return Err(RecvTimeoutError::Timeout),
                    Some(until) => (state, _) = self.0.filled.wait_until(state, until),
                    None => state = self.0.filled.wait(state),
                }
            }
        }
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Sender<T> {
            self.0.state.lock().senders += 1;
            Sender(Arc::clone(&self.0))
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.state.lock().senders -= 1;
            self.0.filled.notify_all();
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            let waiting = {
                let mut state = self.0.state.lock();
                state.receivers -= 1;
                std::mem::take(&mut state.queue)
            };
            self.0.emptied.notify_all();
            drop(waiting);
        }
    }

    impl<T> fmt::Debug for Sender<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Sender")
        }
    }
}
