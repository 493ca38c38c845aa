//! An application suffers a fault, with the engine or without it, and its clients write down what they got: for the demo, its tests and
//! the benchmark.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub mod clients;
pub mod judge;

use super::dig::dig;
use super::engine::{Engine, Origin};
use super::lab::{interrupted, wait_until};
use super::named::{Named, NamedOptions};
use super::network::Host;
use super::recording::Event;
use super::site::{Site, SiteOptions};
use clients::{Clients, Seen};
use judge::Outcome;

const SECRET: &str = "ZGVtby1vZi1saWJmYWlsb3Zlci1ub3QtYS1zZWNyZXQ=";
/// Clients ask for so long before anything happens, and after it is over.
pub const QUIET: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(60);

/// What is done to the server that has the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Hang,
    /// It answers every request with status 500.
    Errors,
    /// It answers with errors, and well again, three times in a second.
    Flap,
    /// SIGKILL, and one of the load balancers dies while the traffic is moved.
    Lb,
    /// SIGKILL, and the standby is not what it seems: it passes its check and answers as somebody else.
    Rollback,
}

impl Fault {
    /// Each with its word.
    pub const ALL: [(&'static str, Fault); 6] = [
        ("kill", Fault::Kill),
        ("hang", Fault::Hang),
        ("errors", Fault::Errors),
        ("flap", Fault::Flap),
        ("lb", Fault::Lb),
        ("rollback", Fault::Rollback),
    ];

    /// The fault of a word.
    pub fn named(word: &str) -> Option<Fault> {
        Fault::ALL.iter().find(|(name, _)| *name == word).map(|(_, fault)| *fault)
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        Fault::ALL.iter().find(|(_, fault)| *fault == self).map_or("", |(word, _)| word)
    }

    /// What is done, in words.
    pub fn deed(self) -> &'static str {
        match self {
            Fault::Kill => "SIGKILL of app1",
            Fault::Hang => "SIGSTOP of app1",
            Fault::Errors => "app1 answers every request with status 500",
            Fault::Flap => "app1 answers with errors and well again, three times in a second",
            Fault::Lb => "SIGKILL of app1, and of lb2 while the traffic is moved",
            Fault::Rollback => "app1 answers every request with 500, and app2 turns out to be somebody else",
        }
    }
}

/// What a run tells while it runs.
pub enum News<'a> {
    /// The fault is injected.
    Struck,
    /// An event of the engine, so many nanoseconds after the fault.
    Event(&'a Event, i128),
    /// Something else that is done.
    Done(&'a str),
}

/// The options of a site for a run with HAProxy's own checks and a backup server, at the intervals of the engine's checks.
pub fn baseline() -> SiteOptions {
    let words = "check inter 200ms fastinter 25ms fall 3 rise 2".to_owned();
    SiteOptions { server_words: words, backup: true, ..SiteOptions::default() }
}

/// The fault with the engine, and with a name server. `quiet`: how long its clients ask before.
pub fn with_engine(site: &Site, fault: Fault, quiet: Duration, tell: &mut dyn FnMut(&News<'_>)) -> io::Result<Outcome> {
    let named =
        Named::start(&site.lab, &NamedOptions::new("ns").key("failover", "hmac-sha256", SECRET).record("app 60 A 192.0.2.1"))?;
    let name = format!(
        "\n[[services.dns]]\nname = \"app.example.test\"\nprovider = \"rfc2136\"\nserver = \"{0}\"\nzone = \"example.test\"\n\
         key_name = \"failover\"\nkey_secret = \"{SECRET}\"\nttl = 5\nverify = [\"{0}\"]\n\
         values = {{ app1 = \"192.0.2.1\", app2 = \"192.0.2.2\" }}\n",
        named.address()
    );
    let socket = site.lab.path("control.sock");
    let text = std::fs::read_to_string(&site.config)?;
    let text = text.replacen("version = 1\n", &format!("version = 1\ncontrol_socket = \"{}\"\n", socket.display()), 1);
    site.lab.write("failover.toml", text + &name, 0o600)?;
    let before = site.wanted();
    let origin = Origin::now();
    let engine = Engine::start(&site.lab, &Host::local(), &site.config, &socket, origin)?;
    engine.wait_ready(LONG)?;
    let clients = Clients::start(&site.balancers);
    wait_until("the quiet before", quiet * 2, || Ok((clients.age() >= quiet).then_some(())))?;
    if fault == Fault::Rollback {
        site.servers[1].call_itself(Some("stranger"))?;
    }
    let from = engine.events().len();
    let began = Instant::now();
    let struck = origin.nanos(began);
    tell(&News::Struck);
    strike(site, fault)?;
    let events = follow(&engine, site, fault, from, struck, tell)?;
    let held = end(&clients);
    let name = answer(&named);
    let after = site.wanted();
    let status = engine.status()?;
    engine.stop();
    Ok(Outcome { seen: clients.stop(), events, held, before, after, name, status, ..Outcome::empty(site, fault, origin, began) })
}

/// The same fault without the engine.
pub fn without_engine(site: &Site, fault: Fault, quiet: Duration) -> io::Result<Outcome> {
    let origin = Origin::now();
    let clients = Clients::start(&site.balancers);
    wait_until("the quiet before", quiet * 2, || Ok((clients.age() >= quiet).then_some(())))?;
    let began = Instant::now();
    strike(site, fault)?;
    wait_until("the end", Duration::from_secs(20), || Ok((began.elapsed() >= Duration::from_secs(8)).then_some(())))?;
    let held = end(&clients);
    Ok(Outcome { seen: clients.stop(), held, ..Outcome::empty(site, fault, origin, began) })
}

fn strike(site: &Site, fault: Fault) -> io::Result<()> {
    let primary = &site.servers[0];
    match fault {
        Fault::Kill | Fault::Lb => primary.kill(),
        Fault::Hang => primary.freeze(true),
        Fault::Errors | Fault::Rollback => primary.answer_errors(true)?,
        Fault::Flap => {
            for _ in 0..3 {
                primary.answer_errors(true)?;
                std::thread::sleep(Duration::from_millis(40));
                primary.answer_errors(false)?;
                std::thread::sleep(Duration::from_millis(290));
            }
        }
    }
    Ok(())
}

/// Hears what the engine says until the failover is over, or until it is clear that none comes.
fn follow(
    engine: &Engine,
    site: &Site,
    fault: Fault,
    from: usize,
    struck: u64,
    tell: &mut dyn FnMut(&News<'_>),
) -> io::Result<Vec<Event>> {
    let patience = if fault == Fault::Flap { Duration::from_secs(6) } else { LONG };
    let until = Instant::now() + patience;
    let mut all: Vec<Event> = Vec::new();
    let mut over = None;
    while Instant::now() < until && over.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(2)) {
        if interrupted() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        for event in engine.events_from(from + all.len(), Duration::from_millis(200)) {
            if event.kind != "observed" && event.kind != "log" {
                tell(&News::Event(&event, i128::from(event.at) - i128::from(struck)));
            }
            if fault == Fault::Lb && event.kind == "failover_started" {
                site.balancers[1].process().signal(Signal::KILL);
                tell(&News::Done("SIGKILL of lb2"));
            }
            if matches!(event.kind.as_str(), "failover_completed" | "manual_intervention") {
                over.get_or_insert_with(Instant::now);
            }
            all.push(event);
        }
    }
    Ok(all)
}

/// Who answers through each load balancer now, after the clients had some more time.
fn end(clients: &Clients) -> Vec<Option<Seen>> {
    let until = Instant::now() + QUIET;
    while Instant::now() < until && !interrupted() {
        std::thread::sleep(Duration::from_millis(20));
    }
    clients.last()
}

/// What the name holds.
fn answer(named: &Named) -> String {
    match dig(named.address(), "app.example.test") {
        Ok(held) => held.map_or_else(|| "nothing".to_owned(), |(value, _)| value),
        Err(error) => error.to_string(),
    }
}
