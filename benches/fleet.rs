//! One engine for 10, 100 and 1,000 applications: three HTTP checks a second each, answered by a real HAProxy, a tenth of the servers
//! silent. Prints processor, memory, how late checks begin, and how long one death among them goes unnoticed; asserts nothing.
//!
//! `FLEET=10,100,1000` services, `FLEET_SECONDS=20` of each.

use std::fmt::Write as _;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use failover::{Config, DelayStatus, Engine, Severity, metrics_text};

const LONG: Duration = Duration::from_secs(30);

/// A HAProxy that answers every request with 200, and is ended with this.
struct Haproxy {
    child: Child,
    port: u16,
}

impl Haproxy {
    fn start(folder: &Path) -> io::Result<Haproxy> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let file = folder.join("haproxy.cfg");
        let text = format!(
            "global\n    maxconn 4000\n    nbthread 1\ndefaults\n    mode http\n    timeout client 5s\n    timeout connect 5s\n    timeout server 5s\n\
             frontend fleet\n    bind 127.0.0.1:{port}\n    http-request return status 200\n"
        );
        std::fs::write(&file, text)?;
        let child =
            Command::new("haproxy").arg("-f").arg(&file).arg("-db").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let haproxy = Haproxy { child, port };
        let until = Instant::now() + LONG;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > until {
                return Err(io::Error::other("HAProxy does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(haproxy)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes every connection, and says nothing; or ends each at once, once it is told to die.
struct Silent {
    port: u16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Silent {
    fn start() -> io::Result<Silent> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            // As long as a check may take, and a little more.
            let mut kept = std::collections::VecDeque::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                kept.push_back(stream);
                if kept.len() > 2_000 {
                    kept.pop_front();
                }
            }
        });
        Ok(Silent { port, over, thread: Some(thread) })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `mortal`: the port of the primary of the last service.
fn config(state: &Path, services: usize, well: u16, silent: u16, mortal: u16) -> Config {
    let mut text = format!("version = 1\nstate_dir = \"{}\"\n", state.display());
    for number in 0..services {
        let _ = write!(text, "[[services]]\nname = \"web{number}\"\nkind = \"application\"\n");
        for place in 0..3 {
            let role = if place == 0 { "primary" } else { "standby" };
            let _ =
                write!(text, "[[services.servers]]\nname = \"s{place}\"\nrole = \"{role}\"\nhost = \"127.0.0.{}\"\n", place + 1);
        }
        for place in 0..3 {
            let last = number + 1 == services;
            let port = match place {
                0 if last => mortal,
                // Three of ten services have a standby that says nothing: a tenth of the servers.
                1 if number % 10 < 3 && !last => silent,
                _ => well,
            };
            let _ = write!(
                text,
                "[[services.checks]]\nname = \"c{place}\"\nserver = \"s{place}\"\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}/\"\n\
                 interval = \"1s\"\ntimeout = \"500ms\"\n"
            );
        }
    }
    Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Processor time of this process, and its memory in MB. HAProxy is another one; what is silent is one thread.
fn used() -> (Duration, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect::<Vec<_>>();
    let ticks: u64 = [11, 12].iter().filter_map(|at| after.get(*at)?.parse::<u64>().ok()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    (Duration::from_millis(ticks * 10), memory.unwrap_or_default() / 1024)
}

/// The bound below which so many of a hundred lie, of those that began between two looks.
fn within(before: &DelayStatus, after: &DelayStatus, percent: u64) -> String {
    let all = after.count - before.count;
    let at = |status: &DelayStatus, place: usize| status.buckets.get(place).map_or(0, |bucket| bucket.count);
    let found = (0..after.buckets.len()).find(|place| (at(after, *place) - at(before, *place)) * 100 >= all * percent);
    found.and_then(|place| after.buckets.get(place)).map_or("over".to_owned(), |bucket| format!("<= {}", bucket.le_ms))
}

fn measure(services: usize, seconds: u64) -> io::Result<String> {
    let folder = tempfile::tempdir()?;
    let (well, silent) = (Haproxy::start(folder.path())?, Silent::start()?);
    let mortal_folder = tempfile::tempdir()?;
    let mortal = Haproxy::start(mortal_folder.path())?;
    let config = config(&folder.path().join("state"), services, well.port, silent.port, mortal.port);
    let engine = Engine::new(config).map_err(io::Error::other)?;
    engine.start().map_err(io::Error::other)?;
    let name = format!("web{}", services - 1);
    // The first checks of all come at once: what it is like afterwards is of interest.
    std::thread::sleep(Duration::from_secs(5));
    let (before, delays, began) = (used(), engine.status().threads.start_delay, Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let took = began.elapsed();
    let (after, status) = (used(), engine.status());
    let copied = Instant::now();
    drop(engine.status());
    let copied = copied.elapsed();
    let now = &status.threads.start_delay;
    let share = after.0.saturating_sub(before.0).as_secs_f64() / took.as_secs_f64() * 100.0;
    let rate = f64::from(u32::try_from(now.count - delays.count).unwrap_or(u32::MAX)) / took.as_secs_f64();
    let scrape = metrics_text(&status).len() / 1024;
    // From here on only: single observations are not rendered for nobody.
    let queue = engine.queue().map_err(io::Error::other)?;
    let died = Instant::now();
    drop(mortal);
    let noticed = loop {
        let event = queue.next(LONG).ok_or_else(|| io::Error::other("nobody noticed the death"))?;
        if event.service.as_ref() == Some(&name) && event.severity >= Severity::Warning {
            break died.elapsed();
        }
    };
    engine.stop(LONG).map_err(io::Error::other)?;
    Ok(format!(
        "{services:>8} {rate:>9.0} {share:>8.1} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9.1} {:>9}",
        after.1,
        status.threads.workers,
        within(&delays, now, 50),
        within(&delays, now, 99),
        noticed.as_millis(),
        copied.as_secs_f64() * 1_000.0,
        scrape
    ))
}

fn main() -> io::Result<()> {
    let seconds = std::env::var("FLEET_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(20);
    let fleets = std::env::var("FLEET").unwrap_or_else(|_| "1,10,100,1000".to_owned());
    println!(
        "applications with three checks a second each, a tenth of the servers silent (aim at 1000: 50 % of a core, p99 <= 10 ms)"
    );
    println!(
        "{:>8} {:>9} {:>8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "services", "checks/s", "core, %", "MB", "threads", "p50, ms", "p99, ms", "seen, ms", "status, ms", "metrics, KB"
    );
    for services in fleets.split(',').filter_map(|services| services.trim().parse().ok()) {
        println!("{}", measure(services, seconds)?);
    }
    Ok(())
}
