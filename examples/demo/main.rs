//! `make demo`: a PostgreSQL pair behind HAProxy with a program writing through it; the primary suffers a fault, the engine does
//! its work, and everything that happened is shown.
//!
//! `FAULT=` one of the README's table, `SYNC=1`, `OUT=folder`. With a recording of an earlier run as its argument it only draws the
//! report again.

mod live;
#[path = "../report/mod.rs"]
mod parts;
mod report;
mod summary;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use support::pair::PairOptions;
use support::recording::Recording;
use support::scenario::{Fault, Scenario};

const QUIET: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            eprintln!("demo: interrupted; everything it started is gone");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::from(1)
        }
    }
}

fn run() -> io::Result<bool> {
    if let Some(path) = std::env::args_os().nth(1) {
        return redraw(Path::new(&path));
    }
    let choice = Choice::from_environment()?;
    interrupt_on_signals()?;
    let live = live::Live::new(io::stdout().is_terminal());
    live.heading(&format!(
        "libfailover demo: {} with {} replication",
        choice.fault.deed(),
        if choice.synchronous { "synchronous" } else { "asynchronous" }
    ));
    if let Some(why) = choice.fault.impossible() {
        let text = format!("FAULT={} cannot be shown on this machine: {why}", choice.fault.as_str());
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let options = choice.fault.set_up(PairOptions { synchronous: choice.synchronous, ..PairOptions::default() });
    let mut scenario = Scenario::start(&options, |next| live.progress(next)).inspect_err(|_| live.progress_failed())?;
    let lab = scenario.pair.lab.dir().to_owned();
    live.ready(&scenario);
    let mut told = live.timeline();
    scenario.quiet(QUIET, &mut |news| told.tell(&news, None))?;
    live.heading("timeline, in seconds from the fault");
    let outcome = scenario.suffer(choice.fault, &mut |news| told.tell(&news, Some(choice.fault)));
    // What was seen until an error is worth a report; an interruption is not.
    if let Err(error) = &outcome {
        if error.kind() == io::ErrorKind::Interrupted {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        eprintln!("demo: {error}");
    }
    let (recording, pair) = scenario.finish()?;
    let folder = choice.folder(&recording)?;
    save(&folder, &recording, &pair.lab)?;
    live.heading("stopping the servers");
    drop(pair);
    let mut recording = recording;
    recording.findings.push(nothing_left(&lab));
    fs::write(folder.join("recording.json"), serde_json::to_string(&recording)?)?;
    fs::write(folder.join("report.html"), report::render(&recording))?;
    let good = outcome.is_ok() && recording.findings.iter().all(|finding| finding.ok);
    print!("{}", summary::of(&recording, live.colours()));
    println!(
        "\nreport:  {}\nconfig:  {}\nlogs:    {}",
        shown(&folder, "report.html"),
        shown(&folder, "failover.toml"),
        shown(&folder, "log")
    );
    Ok(good)
}

/// What the environment asks for. `make` passes empty values for what was not given.
struct Choice {
    fault: Fault,
    synchronous: bool,
    out: Option<PathBuf>,
}

impl Choice {
    fn from_environment() -> io::Result<Choice> {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let fault = match given("FAULT") {
            None => Fault::Kill,
            Some(word) => Fault::named(&word).ok_or_else(|| {
                let known = Fault::ALL.map(Fault::as_str).join(", ");
                io::Error::new(io::ErrorKind::InvalidInput, format!("FAULT={word} is not known; it is one of {known}"))
            })?,
        };
        let synchronous = match given("SYNC").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(other) => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("SYNC={other} is neither 0 nor 1"))),
        };
        Ok(Choice { fault, synchronous, out: given("OUT").map(PathBuf::from) })
    }

    fn folder(&self, run: &Recording) -> io::Result<PathBuf> {
        let folder = self.out.clone().unwrap_or_else(|| {
            // 2026-11-23T01:15:00.123Z -> 20261123-011500
            let stamp: String = run.began.chars().take(19).filter(|letter| *letter != '-' && *letter != ':').collect();
            let sync = if self.synchronous { "-sync" } else { "" };
            Path::new("target/demo").join(format!("{}{sync}-{}", self.fault.as_str(), stamp.replace('T', "-")))
        });
        fs::create_dir_all(folder.join("log"))?;
        folder.canonicalize()
    }
}

/// Copies what a reader may want to open after the servers are gone.
fn save(folder: &Path, run: &Recording, lab: &support::Lab) -> io::Result<()> {
    fs::write(folder.join("failover.toml"), &run.config)?;
    for entry in fs::read_dir(lab.path("log"))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join("log").join(entry.file_name()))?;
    }
    fs::copy(lab.path("haproxy.cfg"), folder.join("haproxy.cfg"))?;
    Ok(())
}

fn nothing_left(lab: &Path) -> support::recording::FindingLine {
    let left = support::process::working_in(lab);
    let namespaces = support::network::left(lab);
    let ok = left.is_empty() && namespaces.is_empty() && !lab.exists();
    let text = if ok {
        "nothing was left running, and the temporary folder is gone".to_owned()
    } else {
        format!("left behind: {}, {namespaces:?} and {left:?}", lab.display())
    };
    support::recording::FindingLine { ok, text }
}

fn shown(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned)).unwrap_or(path).display().to_string()
}

/// Draws the report of a saved recording beside it.
fn redraw(path: &Path) -> io::Result<bool> {
    let run: Recording = serde_json::from_str(&fs::read_to_string(path)?)?;
    let page = path.with_file_name("report.html");
    fs::write(&page, report::render(&run))?;
    print!("{}", summary::of(&run, false));
    println!("\nreport:  {}", page.display());
    Ok(true)
}

/// The first signal ends every wait, so that all guards do their work; after a second one only the watchdog is left to do it.
fn interrupt_on_signals() -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut seen = 0;
        for _ in signals.forever() {
            seen += 1;
            support::interrupt();
            if seen > 1 {
                std::process::exit(130);
            }
        }
    })?;
    Ok(())
}
