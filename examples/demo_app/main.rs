//! `make demo-app`: two application servers behind two HAProxy, a name server, and clients asking through both; the server with the
//! traffic suffers a fault, the engine does its work, and what the clients saw is measured, judged and drawn.
//!
//! `FAULT=kill|hang|errors|flap|lb|rollback`, `OUT=folder`. `BASELINE=1`: first the same fault with HAProxy's own checks and a backup
//! server, at the same intervals and without the engine, for comparison in the same report.

#[path = "../report/mod.rs"]
mod parts;
mod report;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use report::{Page, Side};
use support::app::judge::{Outcome, judge};
use support::app::{Fault, News, QUIET, baseline, with_engine, without_engine};
use support::recording::{FindingLine, shown_config};
use support::scenario::environment;
use support::{Site, SiteOptions};

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
    interrupt_on_signals()?;
    heading(&format!("libfailover demo of an application: {}", fault.deed()));
    let before = if given("BASELINE").is_some_and(|value| value != "0") { Some(without(fault)?) } else { None };
    println!("starting two application servers, two HAProxy, BIND and the engine ...");
    let site = Site::start(&SiteOptions::default())?;
    let outcome = with_engine(&site, fault, QUIET, &mut tell)?;
    let mut findings = judge(&outcome, false);
    heading("what the clients saw");
    print!("{}", outcome.text());
    let folder = folder(given("OUT").map(PathBuf::from), &outcome)?;
    let config = shown_config(&site.config, &failover::Process)?;
    fs::write(folder.join("failover.toml"), &config)?;
    copy_logs(&site, &folder)?;
    findings.push(gone(site));
    let mut sides = vec![Side { title: "The engine", outcome: &outcome, findings: &findings }];
    if let Some((other, judged)) = &before {
        sides.push(Side { title: "HAProxy's own checks", outcome: other, findings: judged });
    }
    let page = Page { fault, sides, config: &config, environment: &environment() };
    fs::write(folder.join("report.html"), page.render())?;
    heading("judged");
    for finding in findings.iter().chain(before.iter().flat_map(|(_, judged)| judged)) {
        println!("  {} {}", paint(finding.ok), finding.text);
    }
    println!("\nreport:  {}", shown(&folder, "report.html"));
    Ok(findings.iter().all(|finding| finding.ok))
}

/// HAProxy's own run: its checks, and the other server as a backup.
fn without(fault: Fault) -> io::Result<(Outcome, Vec<FindingLine>)> {
    println!("first without the engine: HAProxy's own checks, and app2 as `backup` ...");
    let site = Site::start(&baseline())?;
    let outcome = without_engine(&site, fault, QUIET)?;
    print!("{}", outcome.text());
    let mut findings = judge(&outcome, true);
    findings.push(gone(site));
    Ok((outcome, findings))
}

fn tell(news: &News<'_>) {
    match news {
        News::Struck => heading("timeline, in seconds from the fault"),
        News::Event(event, after) => {
            #[expect(clippy::cast_precision_loss, reason = "seconds, for people")]
            let at = *after as f64 / 1e9;
            println!("  {at:>7.3}  {:<22} {}", event.kind, event.message);
        }
        News::Done(what) => println!("           {what}"),
    }
}

fn gone(site: Site) -> FindingLine {
    let lab = site.lab.dir().to_owned();
    drop(site);
    let left = support::process::working_in(&lab);
    let ok = left.is_empty() && !lab.exists();
    let text = if ok {
        "nothing was left running, and the temporary folder is gone".to_owned()
    } else {
        format!("left behind: {left:?}")
    };
    FindingLine { ok, text }
}

fn folder(out: Option<PathBuf>, outcome: &Outcome) -> io::Result<PathBuf> {
    let folder = out.unwrap_or_else(|| {
        // 2026-11-23T01:15:00.123Z -> 20261123-011500
        let stamp: String = outcome.when.chars().take(19).filter(|letter| *letter != '-' && *letter != ':').collect();
        Path::new("target/demo-app").join(format!("{}-{}", outcome.fault.as_str(), stamp.replace('T', "-")))
    });
    fs::create_dir_all(folder.join("log"))?;
    folder.canonicalize()
}

/// What a reader may want to open after the servers are gone.
fn copy_logs(site: &Site, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(site.lab.path("log"))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join("log").join(entry.file_name()))?;
    }
    Ok(())
}

fn shown(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned)).unwrap_or(path).display().to_string()
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
