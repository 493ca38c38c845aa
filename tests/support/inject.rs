//! How each fault is done to real servers, and how its end is waited for.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use super::fault::Fault;
use super::network::Network;
use super::orphan::Orphans;
use super::postgres::{Frozen, PgServer, StopMode, WRITER_DATABASE, WRITER_ROLE};
use super::process::signal_all;
use super::recording::Event;
use super::saturation::Saturation;
use super::scenario::{LONGEST, News, Scenario};
use super::session::{Login, Session, SqlError};

const FREEZE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(10);
const PARTITION: Duration = Duration::from_secs(12);
const SATURATION: Duration = Duration::from_secs(8);

type Listen<'a> = &'a mut dyn FnMut(News);

/// Does it, and waits for what comes of it.
pub fn inject(run: &mut Scenario, fault: Fault, listen: Listen) -> io::Result<()> {
    match fault {
        Fault::Kill => {
            let at = run.pair.db1.kill_postmaster()?;
            run.struck(at, listen);
            run.await_failover(listen)
        }
        Fault::Hang => hang(run, listen),
        Fault::Freeze => freeze(run, listen),
        Fault::Restart => restart(run, listen),
        Fault::Stop => stop(run, listen),
        Fault::Terminate => terminate(run, listen),
        Fault::Crash => crash(run, listen),
        Fault::Saturate => saturate(run, listen),
        Fault::Postmaster => postmaster(run, listen),
        Fault::Clock => clock(run, listen),
        Fault::Standby => standby(run, listen),
        Fault::Flap => flap(run, listen),
        Fault::Partition => partition(run, listen),
        Fault::Isolate => {
            let at = Instant::now();
            network(run)?.unplug("db1", true)?;
            run.struck(at, listen);
            run.await_failover(listen)
        }
        Fault::Poweroff | Fault::PoweroffExclusive => {
            power_off(run, listen)?;
            run.await_failover(listen)
        }
        Fault::Orphan => orphan(run, listen),
        Fault::DiskFull => disk_full(run, listen),
        Fault::DiskFullCandidate => disk_full_candidate(run, listen),
        Fault::Slow => slow(run, listen),
        Fault::Engine => engine(run, "fence", listen),
        Fault::EngineLate => engine(run, "promote", listen),
        Fault::PoweroffUnproven => {
            power_off(run, listen)?;
            await_person(run, run.fault_at(), listen)
        }
    }
}

fn hang(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let frozen = run.pair.db1.freeze()?;
    run.struck(frozen.at, listen);
    run.await_failover(listen)?;
    wake_the_dead(run, &frozen, listen)
}

fn freeze(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let frozen = run.pair.db1.freeze()?;
    run.struck(frozen.at, listen);
    run.quiet(FREEZE.saturating_sub(frozen.at.elapsed()), listen)?;
    let over = run.writer.now();
    run.pair.db1.thaw(&frozen);
    run.over(over, "SIGCONT: db1 runs again", listen)
}

fn restart(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = Instant::now();
    run.struck(at, listen);
    let restart = run.pair.db1.begin_restart()?;
    while restart.is_running() && at.elapsed() < LONGEST {
        run.quiet(Duration::from_millis(10), listen)?;
    }
    let text = match restart.status() {
        Some(status) if status.success() => "pg_ctl says that db1 is back".to_owned(),
        status => format!("pg_ctl restart FAILED ({status:?}): {}", run.pair.db1.log_tail()),
    };
    run.over(run.writer.now(), &text, listen)
}

fn stop(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = Instant::now();
    run.struck(at, listen);
    run.pair.db1.stop(StopMode::Fast)?;
    run.note("pg_ctl says that db1 has stopped", listen);
    run.await_failover(listen)
}

fn terminate(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    const TIMES: usize = 5;
    let mut ended = 0;
    for time in 0..TIMES {
        let at = Instant::now();
        let count = run.pair.db1.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )?;
        ended += count.parse::<usize>().unwrap_or(0);
        if time == 0 {
            run.struck(at, listen);
        }
        run.quiet(Duration::from_millis(300), listen)?;
    }
    run.found(ended >= TIMES, format!("sessions ended by pg_terminate_backend: {ended}"));
    run.over(run.writer.now(), &format!("{ended} sessions were ended"), listen)
}

fn crash(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let pid = run.pair.db1.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'writer' LIMIT 1")?;
    let pid: i32 = pid.parse().map_err(|_| io::Error::other("the writer has no backend"))?;
    let began = run.pair.db1.value(STARTED)?;
    let at = Instant::now();
    signal_all([pid], Signal::KILL);
    run.struck(at, listen);
    // Its shared memory was made anew: that is what a recovered server shows.
    while at.elapsed() < LONGEST && run.pair.db1.value(STARTED).is_ok_and(|now| now == began) {
        run.quiet(Duration::from_millis(5), listen)?;
    }
    while at.elapsed() < LONGEST && run.pair.db1.is_primary().is_err() {
        run.quiet(Duration::from_millis(5), listen)?;
    }
    run.over(run.writer.now(), "db1 has recovered", listen)
}

/// Changes with every crash recovery, where `pg_postmaster_start_time()` does not.
const STARTED: &str = "SELECT min(backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer'";

fn saturate(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = Instant::now();
    let mut saturation = Saturation::start(&run.pair.db1)?;
    run.struck(at, listen);
    while at.elapsed() < SATURATION {
        run.quiet(Duration::from_millis(50), listen)?;
        saturation.refill(&run.pair.db1);
    }
    let slots = saturation.slots();
    drop(saturation);
    run.saw("impaired", "an exhausted server");
    run.over(run.writer.now(), &format!("the {slots} sessions that took the slots are closed"), listen)
}

/// Whoever has a session is served on; the engine says what is wrong, and the operator decides.
fn postmaster(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let postmaster = run.pair.db1.postmaster_pid()?;
    let at = Instant::now();
    signal_all([postmaster], Signal::STOP);
    run.struck(at, listen);
    let since = run.fault_at();
    let said = |event: &Event| event.kind == "failover_refused" && event.message.contains("no_new_sessions");
    let alarmed = run.await_event(since, said, listen);
    let over = run.writer.now();
    signal_all([postmaster], Signal::CONT);
    let text = alarmed?.map_or_else(|| "NOTHING was said of it".to_owned(), |event| event.message);
    run.found(!text.starts_with("NOTHING"), text.clone());
    run.saw("impaired", "a server that lets nobody in");
    run.over(over, "SIGCONT: the postmaster runs again", listen)
}

fn clock(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = Instant::now();
    run.engine.process().signal(Signal::STOP);
    run.struck(at, listen);
    run.quiet(PAUSE, listen)?;
    let over = run.writer.now();
    run.engine.process().signal(Signal::CONT);
    run.over(over, "SIGCONT: the engine runs again", listen)?;
    let doubted = run.engine.events().iter().any(|event| event.kind == "doubt_raised" && event.at >= over);
    run.found(doubted, if doubted { "the engine doubted itself afterwards" } else { "the engine did NOT doubt itself" });
    Ok(())
}

fn standby(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = run.pair.db2.kill_postmaster()?;
    run.struck(at, listen);
    let alarmed = run.await_event(
        run.fault_at(),
        |event| event.kind == "standby_not_ready" && event.server.as_deref() == Some("db2") && event.severity != "info",
        listen,
    )?;
    let text = alarmed.as_ref().map_or_else(|| "nothing was said of the lost standby".to_owned(), |event| event.message.clone());
    run.found(alarmed.is_some(), format!("before the primary died: {text}"));
    run.pair.db1.kill_postmaster()?;
    let second = run.writer.now();
    run.note("SIGKILL of db1's postmaster", listen);
    await_person(run, second, listen)
}

fn flap(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = run.pair.db1.kill_postmaster()?;
    run.struck(at, listen);
    run.await_failover(listen)?;
    // The cooldown is to be the only thing in the way, so there is a standby again.
    let rebuilt = run.writer.now();
    run.pair.db1.rebuild_from(&run.pair.db2)?;
    run.note("db1 was rebuilt as a standby of db2", listen);
    let ready =
        run.await_event(rebuilt, |event| event.kind == "standby_ready" && event.server.as_deref() == Some("db1"), listen)?;
    run.found(ready.is_some(), "db1 could be promoted when db2 was killed");
    run.pair.db2.kill_postmaster()?;
    let second = run.writer.now();
    run.note("SIGKILL of db2's postmaster", listen);
    await_person(run, second, listen)
}

fn network(run: &Scenario) -> io::Result<&Network> {
    run.pair.network.as_ref().ok_or_else(|| io::Error::other("these hosts have no network of their own"))
}

fn partition(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = Instant::now();
    network(run)?.separate("engine", "db1", true)?;
    run.struck(at, listen);
    let vetoed = run.await_event(
        run.fault_at(),
        |event| event.kind == "failover_suppressed" && event.text("refusal") == Some("standby_sees_primary"),
        listen,
    )?;
    let text = vetoed.as_ref().map_or_else(|| "db2's word was not heard".to_owned(), |event| event.message.clone());
    run.found(vetoed.is_some(), text);
    run.quiet(PARTITION.saturating_sub(at.elapsed()), listen)?;
    let rows = run.writer.acknowledged_since(run.fault_at(), run.pair.db1.port());
    run.found(rows > 0, format!("rows acknowledged by db1 while the engine did not reach it: {rows}"));
    network(run)?.separate("engine", "db1", false)?;
    run.over(run.writer.now(), "the engine reaches db1 again", listen)
}

fn orphan(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let orphans = Orphans::start(&run.pair.db1)?;
    let at = run.pair.db1.kill_postmaster()?;
    run.struck(at, listen);
    run.await_failover(listen)?;
    let proven = run.engine.events().into_iter().find(|event| {
        event.at >= run.fault_at()
            && event.step() == Some("fence")
            && event.fields.get("fence_level").and_then(serde_json::Value::as_u64) >= Some(3)
    });
    let rows = orphans.end();
    let Some(proven) = proven else { return Ok(()) };
    let (killed, proven) = (run.wall(run.fault_at()), run.wall(proven.at));
    let after_death = rows.iter().filter(|row| row.at > killed).count();
    let late = rows.iter().filter(|row| row.at > proven).count();
    run.found(
        after_death > 0,
        format!("rows acknowledged by sessions of the dead postmaster: {after_death}; otherwise nothing was tried"),
    );
    run.found(late == 0, format!("rows acknowledged after the proof of the fence: {late}; wanted: 0"));
    run.orphaned = rows;
    Ok(())
}

/// Room for nothing more: neither for the next segment nor for a recovery.
fn disk_full(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = Instant::now();
    run.pair.db1.fill_wal_disk()?;
    run.struck(at, listen);
    // The segments that are there already are used up first.
    while at.elapsed() < LONGEST && run.pair.db1.switch_wal().is_ok() {
        run.quiet(Duration::from_millis(5), listen)?;
    }
    run.note(&format!("db1 says: {}", panic_line(&run.pair.db1)), listen);
    run.await_failover(listen)
}

fn disk_full_candidate(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = Instant::now();
    run.pair.db2.fill_wal_disk()?;
    run.struck(at, listen);
    let noticed =
        |event: &Event| event.kind == "standby_not_ready" && event.server.as_deref() == Some("db2") && event.severity != "info";
    let from = run.fault_at();
    while at.elapsed() < LONGEST && !run.engine.events().iter().any(|event| event.at >= from && noticed(event)) {
        run.pair.db1.switch_wal()?;
        run.quiet(Duration::from_millis(50), listen)?;
    }
    let alarmed = run.await_event(from, noticed, listen)?;
    let text = alarmed.as_ref().map_or_else(|| "nothing was said of the full standby".to_owned(), |event| event.message.clone());
    run.found(alarmed.is_some(), format!("before the primary died: {text}"));
    run.note(&format!("db2 says: {}", panic_line(&run.pair.db2)), listen);
    run.pair.db1.kill_postmaster()?;
    let second = run.writer.now();
    run.note("SIGKILL of db1's postmaster", listen);
    await_person(run, second, listen)
}

/// What a server wrote of its full disk.
fn panic_line(server: &PgServer) -> String {
    let log = server.log_tail();
    let line = log.split(" | ").find(|line| line.contains("No space left")).unwrap_or(&log);
    line.to_owned()
}

fn slow(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    // The demo shows a minute; the tests several times the longest window of the engine.
    let span = if cfg!(test) { Duration::from_secs(15) } else { Duration::from_secs(60) };
    let delay = |run: &Scenario, span: Duration| {
        let proxy = run.pair.proxy.as_ref().ok_or_else(|| io::Error::other("there is no proxy"))?;
        proxy.delay(span);
        io::Result::Ok(())
    };
    let at = Instant::now();
    delay(run, Duration::from_millis(900))?;
    run.struck(at, listen);
    run.quiet(span, listen)?;
    let rows = run.writer.acknowledged_since(run.fault_at(), run.pair.db1.port());
    run.found(rows > 0, format!("rows acknowledged by db1 while it was slow: {rows}"));
    run.saw("down", "a server that answers too late");
    delay(run, Duration::ZERO)?;
    run.over(run.writer.now(), "db1 answers at once again", listen)
}

/// SIGKILL of the engine as a step begins, and a new one that finds the journal of the old one.
fn engine(run: &mut Scenario, step: &str, listen: Listen) -> io::Result<()> {
    let at = run.pair.db1.kill_postmaster()?;
    run.struck(at, listen);
    let begun = run.await_event(run.fault_at(), |event| event.kind == "step_started" && event.step() == Some(step), listen)?;
    run.found(begun.is_some(), format!("the failover had come to the step {step}"));
    run.replace_engine()?;
    run.note("SIGKILL of the engine, and it is started again", listen);
    // Of the new one: what the old one said is not among its events.
    let second = run.fault_at();
    let ended =
        |event: &Event| event.kind == "failover_completed" || event.kind == "manual_intervention" || event.kind == "rolled_back";
    run.await_event(second, ended, listen)?;
    run.quiet(Duration::from_secs(3), listen)
}

/// Everything on the host ends in the same moment, and its cable is dead: nothing is left to refuse a connection.
fn power_off(run: &mut Scenario, listen: Listen) -> io::Result<()> {
    let at = Instant::now();
    network(run)?.unplug("db1", true)?;
    run.pair.db1.kill_all();
    run.pair.ssh1.kill_all();
    run.struck(at, listen);
    Ok(())
}

/// Waits until a person is called, and long enough afterwards to see that nothing follows.
fn await_person(run: &mut Scenario, from: u64, listen: Listen) -> io::Result<()> {
    run.await_event(from, |event| event.kind == "manual_intervention", listen)?;
    run.quiet(Duration::from_secs(3), listen)
}

impl Scenario {
    /// The engine's probes of the primary came to this verdict; otherwise the fault was none.
    fn saw(&mut self, verdict: &str, what: &str) {
        let from = self.fault_at();
        let seen = self
            .engine
            .events()
            .iter()
            .filter(|event| event.at >= from && event.kind == "observed" && event.server.as_deref() == Some("db1"))
            .filter(|event| event.text("verdict") == Some(verdict))
            .count();
        self.found(seen > 0, format!("the engine's probes met {what} {seen} times"));
    }
}

/// What was stopped is continued: nothing of it may be there to write.
fn wake_the_dead(run: &mut Scenario, frozen: &Frozen, listen: Listen) -> io::Result<()> {
    let db1 = &run.pair.db1;
    let before = newest_write(db1.data_dir());
    let woken = db1.thaw(frozen);
    let stopped = frozen.pids.len();
    listen(News::Note(
        run.writer.now(),
        &format!("SIGCONT to the {stopped} stopped processes of db1: {woken} are left to hear it"),
    ));
    run.quiet(Duration::from_secs(1), listen)?;
    let db1 = &run.pair.db1;
    let login = Login::new(WRITER_ROLE, WRITER_DATABASE);
    let refused = match Session::connect(&db1.address(), &login, Duration::from_secs(1)) {
        Err(SqlError::Io(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        _ => false,
    };
    let still = newest_write(db1.data_dir()) == before;
    let ok = woken == 0 && refused && still && db1.processes().is_empty();
    let text = format!(
        "SIGCONT to the {stopped} processes that were stopped: {woken} still existed, db1 {}, its files {}",
        if refused { "refuses connections" } else { "DOES NOT REFUSE connections" },
        if still { "did not change" } else { "CHANGED" }
    );
    run.found(ok, text);
    Ok(())
}

/// The newest change of any file below a data directory.
fn newest_write(dir: &Path) -> Option<SystemTime> {
    let mut newest = None;
    let mut folders = vec![dir.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() && seen.insert(entry.path()) {
                folders.push(entry.path());
            }
            newest = newest.max(meta.modified().ok());
        }
    }
    newest
}
