//! Clients of the application: one for each load balancer, asking again and again, and writing down what they got.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::haproxy::Haproxy;
use super::super::web::get;

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(5);
/// A client's patience for one request.
const PATIENCE: Duration = Duration::from_secs(1);

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was sent.
    pub at: Instant,
    /// When its answer was there, or its failure clear.
    pub done: Instant,
    /// Who answered; `None`: an error, or nobody.
    pub server: Option<String>,
}

/// The clients, while they run.
pub struct Clients {
    began: Instant,
    stop: Arc<AtomicBool>,
    seen: Vec<Arc<Mutex<Vec<Seen>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// One for each load balancer.
    pub fn start(balancers: &[Haproxy]) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Clients { began: Instant::now(), stop, seen: Vec::new(), threads: Vec::new() };
        for balancer in balancers {
            let (port, stop, seen) = (balancer.front(), Arc::clone(&clients.stop), Arc::new(Mutex::new(Vec::new())));
            clients.seen.push(Arc::clone(&seen));
            clients.threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let at = Instant::now();
                    let answer = get(port, PATIENCE);
                    let server = answer.ok().filter(|(status, _)| *status == 200).map(|(_, server)| server);
                    lock(&seen).push(Seen { at, done: Instant::now(), server });
                    std::thread::sleep(PAUSE);
                }
            }));
        }
        clients
    }

    /// How long they have been asking.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The last request of each.
    pub fn last(&self) -> Vec<Option<Seen>> {
        self.seen.iter().map(|seen| lock(seen).last().cloned()).collect()
    }

    /// Ends them: every request of each, in order.
    pub fn stop(self) -> Vec<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.seen.iter().map(|seen| lock(seen).clone()).collect()
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
