//! The outage as a writer sees it, over many faults, each in a fresh pair with default settings; beside it the floor of the same
//! run: a bare `pg_ctl promote` to the first write. And what an engine costs that has nothing to do. Prints numbers, asserts nothing.
//!
//! `KILLS=10 HANGS=5 FREEZES=50 RESTARTS=20 FLOORS=10 SALVAGES=10 IDLE=30 cargo bench --bench outage -- [--json]`

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::lab::wait_until;
use support::pair::{Pair, PairOptions};
use support::postgres::{WRITER_DATABASE, WRITER_ROLE};
use support::recording::Recording;
use support::scenario::{Fault, Scenario};
use support::session::Login;

const PHASES: [&str; 6] = ["detect", "confirm", "fence", "promote", "route", "verify"];

/// What the standby of a killed primary has not heard, with and without salvage: its sender stands still for so many milliseconds before.
const SALVAGES: &[(&str, Fault, bool, u64)] = &[
    ("kill, all heard, no salvage", Fault::Kill, false, 0),
    ("kill, all heard, salvage", Fault::Kill, true, 0),
    ("kill, 500 ms unheard, no salvage", Fault::Kill, false, 500),
    ("kill, 500 ms unheard, salvage", Fault::Kill, true, 500),
    ("hang, 500 ms unheard, no salvage", Fault::Hang, false, 500),
    ("hang, 500 ms unheard, salvage", Fault::Hang, true, 500),
];

fn main() -> ExitCode {
    let json = std::env::args().any(|argument| argument == "--json");
    if let Err(error) = interruptible() {
        eprintln!("outage: {error}");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(results) if json => {
            println!("{results:#}");
            ExitCode::SUCCESS
        }
        Ok(results) => {
            print!("{}", table(&results));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("outage: {error}");
            ExitCode::FAILURE
        }
    }
}

fn interruptible() -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            support::interrupt();
        }
    })?;
    Ok(())
}

/// How often, by the environment.
fn times(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn run() -> io::Result<Value> {
    let kills = times("KILLS", 10);
    let mut results = serde_json::Map::new();
    results.insert("floor".to_owned(), floors(times("FLOORS", kills))?);
    for (fault, count) in [
        (Fault::Kill, kills),
        (Fault::Hang, times("HANGS", 5)),
        (Fault::Freeze, times("FREEZES", 50)),
        (Fault::Restart, times("RESTARTS", 20)),
    ] {
        results.insert(fault.as_str().to_owned(), faults(fault, count)?);
    }
    let salvages = times("SALVAGES", kills);
    for (name, fault, prepared, deaf) in SALVAGES {
        results.insert((*name).to_owned(), several(salvages, name, &|| salvage(*fault, *prepared, *deaf))?);
    }
    results.insert("idle".to_owned(), idle(times("IDLE", 30))?);
    Ok(Value::Object(results))
}

fn say(text: &str) {
    eprintln!("{text}");
}

/// The middle, and both ends, of measurements in milliseconds.
fn spread(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let Some((low, high)) = values.first().zip(values.last()) else { return Value::Null };
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
    json!({"n": values.len(), "median_ms": round(median), "low_ms": round(*low), "high_ms": round(*high)})
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn millis(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1_000.0
}

fn floors(count: usize) -> io::Result<Value> {
    let mut values = Vec::new();
    for number in 1..=count {
        let took = floor()?;
        say(&format!("floor {number}/{count}: {took:.1} ms"));
        values.push(took);
    }
    Ok(spread(values))
}

/// Milliseconds from `pg_ctl promote` to the first acknowledged write, on a session that is already open. The standby has
/// noticed before that its primary is gone, so that its start-up process does not sleep through the request (rule 89).
fn floor() -> io::Result<f64> {
    let pair = Pair::start(&PairOptions::default(), |_| {})?;
    let mut session = pair.db2.session_as(&Login::new(WRITER_ROLE, WRITER_DATABASE))?;
    pair.db1.kill_all();
    wait_until("the standby waits for WAL", Duration::from_secs(30), || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'RecoveryRetrieveRetryInterval'";
        Ok((pair.db2.value(sql)? == "1").then_some(()))
    })?;
    let mut command = pair.lab.command(support::postgres::bin_dir()?.join("pg_ctl"));
    command.arg("promote").arg("--no-wait").arg("-D").arg(pair.db2.data_dir()).stdout(Stdio::null());
    let began = Instant::now();
    let mut promotion = command.spawn()?;
    let end = wait_until("the first write", Duration::from_secs(30), || {
        loop {
            match session.query("INSERT INTO numbers VALUES (0)", Duration::from_secs(10)) {
                Ok(_) => return Ok(Some(Instant::now())),
                Err(error) if error.is_refusal() && began.elapsed() < Duration::from_secs(20) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
    });
    promotion.wait()?;
    Ok((end? - began).as_secs_f64() * 1_000.0)
}

fn faults(fault: Fault, count: usize) -> io::Result<Value> {
    several(count, fault.as_str(), &|| once(fault))
}

fn several(count: usize, name: &str, run_one: &dyn Fn() -> io::Result<Recording>) -> io::Result<Value> {
    let (mut outages, mut missing, mut failovers, mut right) = (Vec::new(), 0, 0, 0);
    let mut phases: Vec<Vec<f64>> = vec![Vec::new(); PHASES.len()];
    for number in 1..=count {
        let run = run_one()?;
        let outage = run.outage().map_or(f64::NAN, |gap| millis(gap.nanos()));
        let wrong: Vec<&str> = run.findings.iter().filter(|finding| !finding.ok).map(|finding| finding.text.as_str()).collect();
        say(&format!(
            "{name} {number}/{count}: {outage:.1} ms without a commit{}",
            if wrong.is_empty() { String::new() } else { format!("; WRONG: {}", wrong.join("; ")) }
        ));
        outages.push(outage);
        missing += run.table.as_ref().map_or(0, |table| table.missing.len());
        failovers += usize::from(run.failed_over());
        right += usize::from(wrong.is_empty());
        for (place, name) in PHASES.into_iter().enumerate() {
            phases[place].extend(run.phase_nanos(name).map(millis));
        }
    }
    let phases: serde_json::Map<String, Value> = PHASES
        .iter()
        .zip(phases)
        .map(|(name, values)| ((*name).to_owned(), spread(values)))
        .filter(|(_, value)| !value.is_null())
        .collect();
    Ok(
        json!({"outage": spread(outages), "runs": count, "as_expected": right, "failovers": failovers, "rows_missing": missing, "phases": phases}),
    )
}

fn once(fault: Fault) -> io::Result<Recording> {
    let mut scenario = Scenario::start(&PairOptions::default(), |_| {})?;
    scenario.quiet(Duration::from_secs(2), &mut |_| {})?;
    scenario.suffer(fault, &mut |_| {})?;
    Ok(scenario.finish()?.0)
}

/// A primary that dies or hangs after its standby has heard nothing for a while.
fn salvage(fault: Fault, prepared: bool, deaf_ms: u64) -> io::Result<Recording> {
    let settings = if prepared { vec![support::postgres::PREPARED.to_owned()] } else { Vec::new() };
    let mut scenario = Scenario::start(&PairOptions { settings, ..PairOptions::default() }, |_| {})?;
    scenario.quiet(Duration::from_secs(2), &mut |_| {})?;
    let deaf = if deaf_ms > 0 { Some(scenario.pair.db1.stop_sending_to(&scenario.pair.db2)?) } else { None };
    scenario.quiet(Duration::from_millis(deaf_ms), &mut |_| {})?;
    scenario.suffer(fault, &mut |_| {})?;
    drop(deaf);
    Ok(scenario.finish()?.0)
}

/// Processor time and memory of an engine that watches one healthy pair.
fn idle(seconds: usize) -> io::Result<Value> {
    if seconds == 0 {
        return Ok(Value::Null);
    }
    let mut scenario = Scenario::start(&PairOptions::default(), |_| {})?;
    let pid = scenario.engine.process().pid();
    scenario.quiet(Duration::from_secs(5), &mut |_| {})?;
    let before = processor_ticks(pid)?;
    let began = Instant::now();
    scenario.quiet(Duration::from_secs(seconds as u64), &mut |_| {})?;
    let spent = processor_ticks(pid)? - before;
    let share = spent / ticks_per_second() / began.elapsed().as_secs_f64() * 100.0;
    Ok(json!({"seconds": seconds, "processor_percent": (share * 100.0).round() / 100.0, "resident_mb": round(resident_mb(pid)?)}))
}

fn processor_ticks(pid: i32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime, the 14th and 15th field of the whole line.
    Ok(ticks(11) + ticks(12))
}

fn ticks_per_second() -> f64 {
    let output = Command::new("getconf").arg("CLK_TCK").output().ok();
    output.and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok()).unwrap_or(100.0)
}

fn resident_mb(pid: i32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0)
}

fn table(results: &Value) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{:<26} {:>4} {:>12} {:>12} {:>12}  {}\n", "milliseconds", "n", "median", "lowest", "highest", "");
    let mut line = |name: &str, spread: &Value, note: &str| {
        let number = |key: &str| spread[key].as_f64().map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
        let _ = writeln!(
            text,
            "{name:<26} {:>4} {:>12} {:>12} {:>12}  {note}",
            spread["n"].as_u64().unwrap_or(0),
            number("median_ms"),
            number("low_ms"),
            number("high_ms")
        );
    };
    line("floor: bare promotion", &results["floor"], "pg_ctl promote to the first write");
    for fault in ["kill", "hang", "freeze", "restart"].into_iter().chain(SALVAGES.iter().map(|(name, ..)| *name)) {
        let of = &results[fault];
        if of["runs"] == 0 {
            continue;
        }
        let note = format!(
            "failovers {} of {}; acknowledged rows missing {}; as expected {}",
            of["failovers"], of["runs"], of["rows_missing"], of["as_expected"]
        );
        line(&format!("outage: {fault}"), &of["outage"], &note);
        for name in PHASES.iter().filter(|name| of["phases"][**name].is_object()) {
            line(&format!("  {name}"), &of["phases"][*name], "");
        }
    }
    let idle = &results["idle"];
    if !idle.is_null() {
        let _ = writeln!(
            text,
            "idle engine, one pair: {} % of a processor, {} MB resident, over {} s",
            idle["processor_percent"], idle["resident_mb"], idle["seconds"]
        );
    }
    text
}
