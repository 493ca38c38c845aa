//! One engine for 10, 100 and 1,000 services. Applications: three HTTP checks a second each, answered by a real HAProxy. PostgreSQL: pairs,
//! some of them real, with HAProxy and sshd; beyond those a stand-in that gives a real server's answers. A tenth of the servers is silent.
//! Prints processor, memory, how late checks begin, and how long one death among them goes unnoticed, beside the same alone; asserts nothing.
//!
//! `FLEET=1,10,100,1000` services, `FLEET_SECONDS=20` of each, `FLEET_KINDS=application,postgres`, `FLEET_PAIRS=3` real pairs at most.

#[path = "fleet/stand_in.rs"]
mod stand_in;
#[path = "../tests/support/mod.rs"]
mod support;

use std::any::Any;
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
use rustix::process::{Pid, Signal, kill_process};
use stand_in::StandIn;
use support::pair::{Pair, PairOptions};

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

/// What is measured: a configuration, the service of which a server dies, and what goes on meanwhile.
struct Fleet {
    config: Config,
    mortal: String,
    kill: Box<dyn FnOnce()>,
    /// Ended with it, in this order.
    _parts: Vec<Box<dyn Any>>,
}

fn applications(services: usize) -> io::Result<Fleet> {
    let folder = tempfile::tempdir()?;
    let (well, silent) = (Haproxy::start(folder.path())?, Silent::start()?);
    let mortal_folder = tempfile::tempdir()?;
    let mortal = Haproxy::start(mortal_folder.path())?;
    let config = config(&folder.path().join("state"), services, well.port, silent.port, mortal.port);
    let kill = Box::new(move || drop(mortal));
    let parts: Vec<Box<dyn Any>> = vec![Box::new(well), Box::new(silent), Box::new((folder, mortal_folder))];
    Ok(Fleet { config, mortal: format!("web{}", services - 1), kill, _parts: parts })
}

/// Real pairs, the last of which loses its primary; and pairs that have the answers of the first.
fn databases(services: usize, pairs: usize) -> io::Result<Fleet> {
    let real = pairs.clamp(1, services);
    let start = |_| Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| ());
    let pairs = (0..real).map(start).collect::<io::Result<Vec<Pair>>>()?;
    let (first, last) = (&pairs[0], &pairs[real - 1]);
    let (state, silent) = (tempfile::tempdir()?, Silent::start()?);
    let stand_in = if services > real { Some(StandIn::start(&[&first.db1, &first.db2])?) } else { None };
    let mut text = format!("version = 1\nstate_dir = \"{}\"\n", state.path().display());
    for number in 0..services - real {
        let _ = write!(
            text,
            "[[services]]\nname = \"orders{number}\"\n[services.connection]\nuser = \"failover\"\nsslmode = \"disable\"\n"
        );
        let ports = stand_in.iter().flat_map(|stand_in| &stand_in.ports);
        for (place, port) in ports.enumerate() {
            let role = if place == 0 { "primary" } else { "standby" };
            // A standby of each fifth pair is a tenth of the servers.
            let port = if place == 1 && number % 5 == 0 { &silent.port } else { port };
            let name = place + 1;
            let _ = write!(
                text,
                "[[services.servers]]\nname = \"db{name}\"\nrole = \"{role}\"\nhost = \"127.0.0.1\"\nport = {port}\n"
            );
        }
    }
    for (number, pair) in pairs.iter().enumerate() {
        let own = std::fs::read_to_string(&pair.config)?;
        let service = own.split_once("[[services]]").ok_or_else(|| io::Error::other("a pair without a service"))?.1;
        let _ = write!(text, "[[services]]{}", service.replacen("\"orders\"", &format!("\"real{number}\""), 1));
    }
    let config = Config::parse_toml(&text).map_err(io::Error::other)?;
    let (pid, mortal) = (Pid::from_raw(last.db1.postmaster_pid()?), format!("real{}", real - 1));
    let kill = Box::new(move || {
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    });
    Ok(Fleet { config, mortal, kill, _parts: vec![Box::new(stand_in), Box::new(silent), Box::new(pairs), Box::new(state)] })
}

/// A row of the table.
fn measure(services: usize, seconds: u64, fleet: Fleet) -> io::Result<String> {
    let Fleet { config, mortal, kill, _parts } = fleet;
    let engine = Engine::new(config).map_err(io::Error::other)?;
    engine.start().map_err(io::Error::other)?;
    // The first checks of all come at once: what it is like afterwards is of interest.
    std::thread::sleep(Duration::from_secs(5));
    let (before, delays, began) = (used(), engine.status().threads.start_delay, Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let took = began.elapsed();
    let (after, status) = (used(), engine.status());
    let timed = |what: &dyn Fn()| {
        let began = Instant::now();
        what();
        began.elapsed().as_secs_f64() * 1_000.0
    };
    let (all, one) = (timed(&|| drop(engine.status())), timed(&|| drop(engine.status_of(&mortal))));
    let now = &status.threads.start_delay;
    let share = after.0.saturating_sub(before.0).as_secs_f64() / took.as_secs_f64() * 100.0;
    let rate = f64::from(u32::try_from(now.count - delays.count).unwrap_or(u32::MAX)) / took.as_secs_f64();
    let scrape = metrics_text(&status).len() / 1024;
    let threads = status.threads.alive;
    // Whether the whole of it is seen at all: a primary of each.
    let seen = status.services.iter().filter(|service| service.primary.is_some()).count();
    // From here on only: single observations are not rendered for nobody.
    let queue = engine.queue().map_err(io::Error::other)?;
    let died = Instant::now();
    kill();
    let noticed = loop {
        let event = queue.next(LONG).ok_or_else(|| io::Error::other("nobody noticed the death"))?;
        if event.service.as_ref() == Some(&mortal) && event.severity >= Severity::Warning {
            break died.elapsed();
        }
    };
    engine.stop(LONG).map_err(io::Error::other)?;
    let row = format!(
        "{services:>8} {seen:>9} {rate:>9.0} {share:>8.1} {:>6} {threads:>8} {:>8} {:>8} {:>8} {all:>9.1} {one:>9.1} {scrape:>9}",
        after.1,
        within(&delays, now, 50),
        within(&delays, now, 99),
        noticed.as_millis(),
    );
    Ok(row)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == stand_in::WORD) {
        return stand_in::serve(&arguments[1..]);
    }
    let text = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let (fleets, kinds) = (text("FLEET", "1,10,100,1000"), text("FLEET_KINDS", "application,postgres"));
    let pairs = usize::try_from(number("FLEET_PAIRS", 3)).unwrap_or(1);
    for kind in kinds.split(',') {
        let about = match kind {
            "application" => "applications with three checks a second each (aim at 1000: 50 % of a core, p99 <= 10 ms)",
            "postgres" => "PostgreSQL pairs",
            other => return Err(io::Error::other(format!("FLEET_KINDS: {other} is neither application nor postgres"))),
        };
        println!("{about}, a tenth of the servers silent");
        println!(
            "{:>8} {:>9} {:>9} {:>8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}",
            "services",
            "primaries",
            "checks/s",
            "core, %",
            "MB",
            "threads",
            "p50, ms",
            "p99, ms",
            "seen, ms",
            "status, ms",
            "of one",
            "metrics, KB"
        );
        for services in fleets.split(',').filter_map(|services| services.trim().parse().ok()).filter(|services| *services > 0) {
            let fleet = if kind == "postgres" { databases(services, pairs)? } else { applications(services)? };
            println!("{}", measure(services, number("FLEET_SECONDS", 20), fleet)?);
        }
    }
    Ok(())
}
