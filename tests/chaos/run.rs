//! Runs, one after the other or two at once, and what is printed of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::judge::{Story, Verdict, judge};
use crate::plan::Plan;
use crate::rest::{ending, rest};
use crate::support::network::{self, Network};
use crate::support::process::working_in;
use crate::support::recording::{Attempt, Event, Outcome};
use crate::support::{interrupt, interrupted, root};
use crate::watch::Seen;
use crate::world::{Deed, World};

/// What the environment wants.
struct Wish {
    runs: u64,
    first: u64,
    servers: Option<usize>,
    jobs: u64,
    /// Where the logs of failed runs are kept.
    folder: PathBuf,
    keep_all: bool,
    /// These faults instead of a seed's own.
    faults: Option<String>,
}

fn wish<T: FromStr>(name: &str) -> io::Result<Option<T>> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}={text} is no number")))
        }
        _ => Ok(None),
    }
}

impl Wish {
    fn read() -> io::Result<Wish> {
        let servers = wish("SERVERS")?;
        if servers.is_some_and(|count| !(2..=3).contains(&count)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "SERVERS is 2 or 3, or not set: both"));
        }
        let kept = std::env::var_os("KEEP").map(PathBuf::from);
        Ok(Wish {
            runs: wish("RUNS")?.unwrap_or(300),
            first: wish("SEED")?.unwrap_or(1),
            servers,
            jobs: wish("JOBS")?.unwrap_or(1).clamp(1, 8),
            keep_all: kept.is_some(),
            faults: std::env::var("FAULTS").ok().filter(|text| !text.is_empty()),
            folder: kept.unwrap_or_else(|| root().join("target/chaos")),
        })
    }

    fn plan(&self, number: u64) -> io::Result<Plan> {
        let plan = Plan::new(self.first + number, self.servers);
        let Some(text) = &self.faults else { return Ok(plan) };
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("FAULTS=\"{text}\" is no list of faults as it is printed"));
        plan.with_faults(text).ok_or_else(wrong)
    }
}

/// What is counted.
#[derive(Default)]
struct Counts {
    runs: u64,
    outcomes: BTreeMap<String, u64>,
    rules: BTreeMap<String, Vec<u64>>,
    to_read: Vec<(u64, String)>,
    lost_rows: usize,
}

/// All runs that the environment wants: the seeds that broke something, and what.
pub fn all() -> io::Result<BTreeMap<String, Vec<u64>>> {
    let wish = Wish::read()?;
    if let Some(why) = Network::impossible() {
        return Err(io::Error::other(why));
    }
    stop_on_signals()?;
    series(&wish)
}

/// Two short runs at once, which show that the program works; `None` where the machine does not permit them.
pub fn two() -> io::Result<Option<BTreeMap<String, Vec<u64>>>> {
    if let Some(why) = Network::impossible() {
        println!("skipped: {why}");
        return Ok(None);
    }
    let faults = Some("kill primary 0.30s, sshd-gone standby1 0.40s+0.50, reload 0.50s".to_owned());
    let folder = root().join("target/chaos");
    series(&Wish { runs: 2, first: 1, servers: None, jobs: 2, folder, keep_all: false, faults }).map(Some)
}

fn series(wish: &Wish) -> io::Result<BTreeMap<String, Vec<u64>>> {
    wish.plan(0)?;
    let (next, counts) = (AtomicU64::new(0), Mutex::new(Counts::default()));
    std::thread::scope(|scope| {
        for _ in 0..wish.jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= wish.runs || interrupted() {
                        break;
                    }
                    let Ok(plan) = wish.plan(number) else { break };
                    let result = one(&plan, wish);
                    if interrupted() {
                        // What it found is the interruption's.
                        break;
                    }
                    let mut counts = counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    println!("{}", count(&plan, &result, &mut counts));
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{}", table(&counts, &wish.folder));
    Ok(counts.rules)
}

/// Whoever interrupts it gets the table of what was run; nothing is left of what was running.
fn stop_on_signals() -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            interrupt();
        }
    })?;
    Ok(())
}

/// Counts a run, and tells of it in a line.
fn count(plan: &Plan, result: &io::Result<Verdict>, counts: &mut Counts) -> String {
    counts.runs += 1;
    let head = format!("seed {}: {}; {}", plan.seed, plan.cluster(), plan.told());
    let verdict = match result {
        Ok(verdict) => verdict,
        Err(error) => {
            counts.rules.entry("could_not_be_run".to_owned()).or_default().push(plan.seed);
            return format!("{head} | COULD NOT BE RUN: {error}");
        }
    };
    *counts.outcomes.entry(verdict.outcome.clone()).or_default() += 1;
    counts.lost_rows += verdict.lost;
    for (rule, _) in &verdict.broken {
        counts.rules.entry((*rule).to_owned()).or_default().push(plan.seed);
    }
    counts.to_read.extend(verdict.to_read.iter().map(|text| (plan.seed, text.clone())));
    let said = verdict.said.as_ref().map_or_else(String::new, |said| format!(" (said: {said})"));
    let mut line = format!("{head} | {} | outage {} ms, rows lost {}{said}", verdict.outcome, verdict.outage_ms, verdict.lost);
    for (rule, text) in &verdict.broken {
        let _ = write!(line, "\n    BROKEN {rule}: {text}");
    }
    for text in &verdict.to_read {
        let _ = write!(line, "\n    read: {text}");
    }
    line
}

fn table(counts: &Counts, folder: &Path) -> String {
    let mut text = format!("\n{} runs, {} acknowledged rows lost\n", counts.runs, counts.lost_rows);
    let mut outcomes: Vec<(&String, &u64)> = counts.outcomes.iter().collect();
    outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (outcome, count) in outcomes {
        let _ = writeln!(text, "{count:>6}  {outcome}");
    }
    if !counts.to_read.is_empty() {
        let _ = writeln!(text, "for a reader:");
        for (seed, what) in &counts.to_read {
            let _ = writeln!(text, "  seed {seed}: {what}");
        }
    }
    if counts.rules.is_empty() {
        let _ = write!(text, "nothing is broken");
    } else {
        let _ = writeln!(text, "BROKEN; the logs are in {}", folder.display());
        for (rule, seeds) in &counts.rules {
            let _ = writeln!(text, "{:>6}  {rule}: seeds {seeds:?}", seeds.len());
        }
    }
    text
}

/// One run from a fresh cluster to its judgement. Nothing of it is left when this returns.
fn one(plan: &Plan, wish: &Wish) -> io::Result<Verdict> {
    let mut world = World::start(plan)?;
    world.suffer(plan);
    world.mend(plan);
    let rest = rest(&mut world);
    let attempts: Vec<Vec<Attempt>> = std::mem::take(&mut world.writers).into_iter().map(crate::support::Writer::stop).collect();
    let mut end = ending(&world, &rest, &attempts);
    world.stop_engine();
    end.engine_ends = std::mem::take(&mut world.engine_ends);
    let lab = world.cluster.lab.dir().to_owned();
    end.panicked = panic_in(&world.cluster.lab.log_path("engine"));
    let (seen, events, deeds) = (world.watch.seen(), world.events(), world.deeds.clone());
    let servers: Vec<(String, u16)> =
        world.cluster.servers.iter().map(|server| (server.name().to_owned(), server.port())).collect();
    let kept = wish.folder.join(plan.seed.to_string());
    let _ = fs::remove_dir_all(&kept);
    keep(&lab, &kept)?;
    drop(world);
    end.left = left(&lab);
    let story = Story { plan, servers: &servers, deeds: &deeds, seen: &seen, attempts: &attempts, events: &events, end: &end };
    let verdict = judge(&story);
    fs::write(kept.join("story.txt"), tell(&story, &verdict))?;
    fs::write(kept.join("status.json"), serde_json::to_string_pretty(&rest.status)?)?;
    if verdict.broken.is_empty() && verdict.to_read.is_empty() && !wish.keep_all {
        fs::remove_dir_all(&kept)?;
    }
    Ok(verdict)
}

fn panic_in(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().find(|line| line.contains("panicked")).map(str::to_owned)
}

/// Keeps the logs, the configuration and the engine's state.
fn keep(lab: &Path, folder: &Path) -> io::Result<()> {
    for part in ["log", "state"] {
        fs::create_dir_all(folder.join(part))?;
        for entry in fs::read_dir(lab.join(part))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), folder.join(part).join(entry.file_name()))?;
            }
        }
    }
    fs::copy(lab.join("failover.toml"), folder.join("failover.toml")).map(drop)
}

fn left(lab: &Path) -> Vec<String> {
    let processes = working_in(lab).into_iter().map(|seen| format!("process {} {}", seen.pid, seen.name));
    let namespaces = network::left(lab).into_iter().map(|name| format!("namespace {name}"));
    let folder = lab.exists().then(|| format!("folder {}", lab.display()));
    processes.chain(namespaces).chain(folder).collect()
}

/// Everything in the order of time.
fn tell(story: &Story, verdict: &Verdict) -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    let told = story.events.iter().filter(|event| event.kind != "observed");
    lines.extend(told.map(|event: &Event| (event.at, format!("{} {}", event.kind, event.message))));
    lines.extend(story.deeds.iter().map(|deed| (deed.at, deed_line(story, deed))));
    let Seen { glances, routes } = story.seen;
    lines.extend(
        glances.iter().map(|glance| (glance.at, format!("    {} is {}", story.servers[glance.server].0, glance.saw.as_str()))),
    );
    lines.extend(routes.iter().map(|route| (route.at, format!("    the route leads to {:?}", route.to))));
    for (writer, attempts) in ["kept", "fresh", "direct"].iter().zip(story.attempts) {
        lines.extend(changes(story, writer, attempts));
    }
    lines.sort();
    let mut text =
        format!("seed {}: {}; {}\n{verdict:#?}\n{:#?}\n\n", story.plan.seed, story.plan.cluster(), story.plan.told(), story.end);
    for (at, line) in lines {
        let _ = writeln!(text, "{:>8} ms {line}", at / 1_000_000);
    }
    text
}

fn deed_line(story: &Story, deed: &Deed) -> String {
    let server = deed.server.map_or("", |place| story.servers[place].0.as_str());
    let over = if deed.over { " is over" } else { "" };
    let failed = deed.failed.as_ref().map_or_else(String::new, |why| format!(": could not be done: {why}"));
    format!(">>> {} {server}{over}{failed}", deed.kind.as_str())
}

/// When a writer's luck changed.
fn changes(story: &Story, writer: &str, attempts: &[Attempt]) -> Vec<(u64, String)> {
    let mut last = None;
    let mut lines = Vec::new();
    for attempt in attempts {
        let now = (attempt.outcome, attempt.port);
        if last != Some(now) {
            last = Some(now);
            let server = story.servers.iter().find(|(_, port)| *port == attempt.port).map_or("", |(name, _)| name.as_str());
            let word = match attempt.outcome {
                Outcome::Acknowledged => "acknowledged by",
                Outcome::InDoubt => "in doubt",
                Outcome::Refused => "refused",
                Outcome::NotSent => "not sent",
            };
            lines.push((attempt.done, format!("    {writer} writer: row {} {word} {server}", attempt.n)));
        }
    }
    lines
}
