//! How long the clients of an application are without an answer, and how many of their requests fail, with the engine and with HAProxy's
//! own checks and a backup server at the same intervals; both in the same run, in turn. Then the same kill with nobody who is told, and with
//! receivers of notifications that take every message and never answer, drip, or are not there.
//!
//! `APPLICATIONS=` of each (10). Prints medians and ranges; no number is judged.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use support::app::judge::Outcome;
use support::app::{Fault, QUIET, baseline, with_engine, without_engine};
use support::lab::free_port;
use support::receiver::{Manner, Receiver};
use support::{Site, SiteOptions};

/// As both sides are configured.
const BETWEEN_CHECKS: Duration = Duration::from_millis(200);

/// What a side lost in each of its runs.
#[derive(Default)]
struct Lost {
    /// Milliseconds.
    longest: Vec<f64>,
    failed: Vec<f64>,
}

impl Lost {
    fn add(&mut self, outcome: &Outcome) {
        let (failed, longest) = outcome.worst();
        self.longest.push(longest.unwrap_or(Duration::MAX).as_secs_f64() * 1_000.0);
        self.failed.push(f64::from(u32::try_from(failed).unwrap_or(u32::MAX)));
        self.longest.sort_by(f64::total_cmp);
        self.failed.sort_by(f64::total_cmp);
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn range(sorted: &[f64]) -> String {
    let ends = (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN));
    format!("{:.0} ({:.0}-{:.0})", median(sorted), ends.0, ends.1)
}

fn main() -> io::Result<()> {
    let runs: u32 = std::env::var("APPLICATIONS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(10);
    let terminal = io::stderr().is_terminal();
    println!("application: {runs} runs of each, medians and ranges over both clients of a run");
    println!("{:<8} {:<22} {:>24} {:>24} {:>8}", "fault", "", "longest without, ms", "requests failed", "ratio");
    for fault in [Fault::Kill, Fault::Hang, Fault::Errors] {
        let (mut engine, mut haproxy) = (Lost::default(), Lost::default());
        for run in 1..=runs {
            if terminal {
                eprint!("\r{}: {run} of {runs} ", fault.as_str());
            }
            // A fault waits for the next check: over all runs, it comes at every moment between two.
            let quiet = QUIET + BETWEEN_CHECKS * run / runs;
            haproxy.add(&without_engine(&Site::start(&baseline())?, fault, quiet)?);
            engine.add(&with_engine(&Site::start(&SiteOptions::default())?, fault, quiet, &mut |_| {})?);
        }
        if terminal {
            eprint!("\r{:20}\r", "");
        }
        let ratio = median(&engine.longest) / median(&haproxy.longest);
        println!(
            "{:<8} {:<22} {:>24} {:>24} {ratio:>8.2}",
            fault.as_str(),
            "the engine",
            range(&engine.longest),
            range(&engine.failed)
        );
        println!("{:<8} {:<22} {:>24} {:>24}", "", "HAProxy's own checks", range(&haproxy.longest), range(&haproxy.failed));
    }
    beside_dead_receivers(runs)
}

/// A kill with nobody who is told, and with receivers that do not take it.
fn beside_dead_receivers(runs: u32) -> io::Result<()> {
    let (silent, drips) = (Receiver::start(Manner::Silent), Receiver::start(Manner::Drips));
    let ports = [silent.port(), drips.port(), free_port()?];
    let (mut nobody, mut dead) = (Lost::default(), Lost::default());
    for run in 1..=runs {
        let quiet = QUIET + BETWEEN_CHECKS * run / runs;
        nobody.add(&with_engine(&Site::start(&SiteOptions::default())?, Fault::Kill, quiet, &mut |_| {})?);
        let site = Site::start(&SiteOptions::default())?;
        let mut receivers = String::new();
        for (place, port) in ports.iter().enumerate() {
            let _ = write!(
                receivers,
                "\n[[notify]]\nname = \"dead{place}\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/\"\n\
                 severity = \"info\"\ngroup_window = \"0s\"\n"
            );
        }
        let text = std::fs::read_to_string(&site.config)?.replacen("\n[[services]]", &format!("{receivers}\n[[services]]"), 1);
        site.lab.write("failover.toml", text, 0o600)?;
        dead.add(&with_engine(&site, Fault::Kill, quiet, &mut |_| {})?);
    }
    let ratio = median(&dead.longest) / median(&nobody.longest);
    println!("{:<8} {:<22} {:>24} {:>24} {ratio:>8.2}", "kill", "3 dead receivers", range(&dead.longest), range(&dead.failed));
    println!("{:<8} {:<22} {:>24} {:>24}", "", "nobody is told", range(&nobody.longest), range(&nobody.failed));
    Ok(())
}
