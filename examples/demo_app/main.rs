//! `make demo-app`: two application servers behind two HAProxy, a name server, and clients asking through both; the server with the
//! traffic suffers a fault, the engine does its work, and what the clients saw is measured and judged.
//!
//! `FAULT=kill|hang|errors|flap|lb|rollback`. `BASELINE=1`: the same fault with HAProxy's own checks and a backup server, at the same
//! intervals and without the engine, for comparison.

mod clients;
mod judge;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use clients::{Clients, Seen};
use judge::{Outcome, judge};
use support::engine::{Engine, Origin};
use support::network::Host;
use support::recording::Event;
use support::{Named, NamedOptions, Site, SiteOptions};

const SECRET: &str = "ZGVtby1vZi1saWJmYWlsb3Zlci1ub3QtYS1zZWNyZXQ=";
/// Clients ask for so long before anything happens, and after it is over.
const QUIET: Duration = Duration::from_secs(2);
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
    const ALL: [(&'static str, Fault); 6] = [
        ("kill", Fault::Kill),
        ("hang", Fault::Hang),
        ("errors", Fault::Errors),
        ("flap", Fault::Flap),
        ("lb", Fault::Lb),
        ("rollback", Fault::Rollback),
    ];

    fn named(word: &str) -> Option<Fault> {
        Fault::ALL.iter().find(|(name, _)| *name == word).map(|(_, fault)| *fault)
    }

    fn deed(self) -> &'static str {
        match self {
            Fault::Kill => "SIGKILL of app1",
            Fault::Hang => "SIGSTOP of app1",
            Fault::Errors => "app1 answers every request with status 500",
            Fault::Flap => "app1 answers with errors and well again, three times in a second",
            Fault::Lb => "SIGKILL of app1, and of lb2 while the traffic is moved",
            Fault::Rollback => "SIGKILL of app1, and app2 turns out to be somebody else",
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            eprintln!("demo-app: interrupted; everything it started is gone");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("demo-app: {error}");
            ExitCode::from(1)
        }
    }
}

fn run() -> io::Result<bool> {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let word = given("FAULT").unwrap_or_else(|| "kill".to_owned());
    let fault = Fault::named(&word).ok_or_else(|| {
        let known: Vec<&str> = Fault::ALL.iter().map(|(name, _)| *name).collect();
        io::Error::new(io::ErrorKind::InvalidInput, format!("FAULT={word} is not known; it is one of {}", known.join(", ")))
    })?;
    let baseline = given("BASELINE").is_some_and(|value| value != "0");
    interrupt_on_signals()?;
    heading(&format!("libfailover demo of an application: {}", fault.deed()));
    if baseline {
        println!("without the engine: HAProxy's own checks, and app2 as `backup`");
    }
    println!("starting two application servers, two HAProxy{} ...", if baseline { "" } else { ", BIND and the engine" });
    let words = if baseline { "check inter 200ms fastinter 25ms fall 3 rise 2" } else { "" };
    let options = SiteOptions { server_words: words.to_owned(), backup: baseline, ..SiteOptions::default() };
    let mut site = Site::start(&options)?;
    let lab = site.lab.dir().to_owned();
    let outcome = if baseline { without_engine(&mut site, fault)? } else { with_engine(&mut site, fault)? };
    let findings = judge(fault, baseline, &outcome);
    heading("what the clients saw");
    print!("{}", outcome.text());
    heading("judged");
    for finding in &findings {
        println!("  {} {}", paint(finding.ok), finding.text);
    }
    drop(site);
    let gone = !lab.exists();
    println!("  {} {}", paint(gone), if gone { "nothing is left running" } else { "something was left behind" });
    Ok(gone && findings.iter().all(|finding| finding.ok))
}

fn interrupt_on_signals() -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            support::interrupt();
        }
    })?;
    Ok(())
}

fn heading(text: &str) {
    if io::stdout().is_terminal() {
        println!("\n\x1b[1m{text}\x1b[0m");
    } else {
        println!("\n== {text}");
    }
}

fn paint(ok: bool) -> &'static str {
    match (ok, io::stdout().is_terminal()) {
        (true, true) => "\x1b[32mok\x1b[0m  ",
        (false, true) => "\x1b[31mBAD\x1b[0m ",
        (true, false) => "ok  ",
        (false, false) => "BAD ",
    }
}

fn with_engine(site: &mut Site, fault: Fault) -> io::Result<Outcome> {
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
    support::lab::wait_until("the quiet before", QUIET * 2, || Ok((clients.age() >= QUIET).then_some(())))?;
    if fault == Fault::Rollback {
        site.servers[1].call_itself(Some("stranger"))?;
    }
    let from = engine.events().len();
    let began = Instant::now();
    let struck = origin.nanos(began);
    heading("timeline, in seconds from the fault");
    strike(site, fault)?;
    let events = follow(&engine, site, fault, from, struck)?;
    let held = end(&clients, began);
    let name = answer(&named);
    let after = site.wanted();
    let status = engine.status()?;
    engine.stop();
    Ok(Outcome { seen: clients.stop(), began, events, held, before, after, name, status })
}

fn without_engine(site: &mut Site, fault: Fault) -> io::Result<Outcome> {
    let clients = Clients::start(&site.balancers);
    support::lab::wait_until("the quiet before", QUIET * 2, || Ok((clients.age() >= QUIET).then_some(())))?;
    let began = Instant::now();
    strike(site, fault)?;
    support::lab::wait_until("the end", Duration::from_secs(20), || {
        Ok((began.elapsed() >= Duration::from_secs(8)).then_some(()))
    })?;
    let held = end(&clients, began);
    Ok(Outcome { seen: clients.stop(), began, held, ..Outcome::empty(began) })
}

fn strike(site: &Site, fault: Fault) -> io::Result<()> {
    let primary = &site.servers[0];
    match fault {
        Fault::Kill | Fault::Lb | Fault::Rollback => primary.kill(),
        Fault::Hang => primary.freeze(true),
        Fault::Errors => primary.answer_errors(true)?,
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

/// Shows what the engine says until the failover is over, or until it is clear that none comes.
fn follow(engine: &Engine, site: &Site, fault: Fault, from: usize, struck: u64) -> io::Result<Vec<Event>> {
    let patience = if fault == Fault::Flap { Duration::from_secs(6) } else { LONG };
    let until = Instant::now() + patience;
    let mut all: Vec<Event> = Vec::new();
    let mut over = None;
    while Instant::now() < until && over.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(2)) {
        if support::interrupted() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        for event in engine.events_from(from + all.len(), Duration::from_millis(200)) {
            if event.kind != "observed" && event.kind != "log" {
                #[expect(clippy::cast_precision_loss, reason = "seconds, for people")]
                let at = (event.at as f64 - struck as f64) / 1e9;
                println!("  {at:>7.3}  {:<22} {}", event.kind, event.message);
            }
            if fault == Fault::Lb && event.kind == "failover_started" {
                site.balancers[1].process().signal(Signal::KILL);
                println!("           SIGKILL of lb2");
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
fn end(clients: &Clients, began: Instant) -> Vec<Option<Seen>> {
    let until = Instant::now() + QUIET;
    while Instant::now() < until && !support::interrupted() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = began;
    clients.last()
}

/// What the name holds.
fn answer(named: &Named) -> String {
    let deadline = failover::wire::deadline::Deadline::after(Duration::from_secs(5));
    let Ok(cancel) = failover::wire::deadline::Cancel::new() else { return "unknown".to_owned() };
    let kind = failover::action::dns::RecordType::A;
    match failover::wire::dns::ask(named.address(), "app.example.test", kind, false, deadline, &cancel) {
        Ok(answer) => answer.record.map_or_else(|| "nothing".to_owned(), |record| record.values.join(", ")),
        Err(error) => error.to_string(),
    }
}
