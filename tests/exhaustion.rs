//! The engine runs out of descriptors, memory, disk or threads, on real servers where it could take that for their death: it must
//! not, it says what it lacks, and it goes on when it has it again.

mod support;

use std::process::Command;
use std::time::Duration;

use failover::{Config, Engine as Library, EngineEvent, EventKind};
use rustix::process::Signal;
use serde_json::Value;
use support::engine::{Engine, Origin};
use support::lab::{Lab, mounting_impossible, wait_until};
use support::pair::{Pair, PairOptions};
use support::recording::Event;
use support::trial::turn;

const LONG: Duration = Duration::from_secs(90);

fn start() -> Pair {
    Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap()
}

fn run(pair: &Pair) -> Engine {
    let engine = pair.engine(Origin::now()).unwrap();
    engine.wait_ready(LONG).unwrap();
    engine
}

/// The first event from place `from` on that fits.
fn wait_for(engine: &Engine, what: &str, from: usize, fits: impl Fn(&Event) -> bool) -> Event {
    engine.first_event(what, LONG, from, fits)
}

fn nothing_was_done(engine: &Engine) {
    let done = |event: &Event| event.kind == "failover_started" || event.kind == "step_started";
    assert!(!engine.events().iter().any(done), "{}", engine.story());
}

/// Changes a limit of the running engine, as prlimit(1) names it, and as the engine's own account: root need not be allowed to.
fn limit(pair: &Pair, pid: i32, words: &str) {
    let mut command = pair.lab.command("prlimit");
    let output = command.args(["--pid", &pid.to_string(), words]).output().expect("prlimit is there (util-linux)");
    assert!(output.status.success(), "prlimit {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Ends every session of the engine: it needs new ones.
fn end_sessions(pair: &Pair) {
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'libfailover/%'";
    for server in [&pair.db1, &pair.db2] {
        server.value(end).unwrap();
    }
}

fn is_observed(event: &Event, verdict: &str) -> bool {
    event.kind == "observed" && event.text("verdict") == Some(verdict)
}

#[test]
fn without_descriptors_checks_are_unknown_nothing_is_done_and_afterwards_all_is_as_before() {
    let _turn = turn();
    let pair = start();
    let engine = run(&pair);
    let from = engine.events().len();
    let pid = engine.process().pid();
    limit(&pair, pid, "--nofile=8:");
    end_sessions(&pair);
    let lacks = |event: &Event| is_observed(event, "unknown") && event.text("reason") == Some("own_resources");
    let mut seen = from;
    for _ in 0..10 {
        let before = seen;
        wait_until("an answer without descriptors", LONG, || {
            let news = engine.events_from(seen, Duration::from_millis(200));
            let found = news.iter().position(lacks);
            seen += found.map_or(news.len(), |place| place + 1);
            Ok(found)
        })
        .unwrap_or_else(|error| panic!("{error} after {} events\n{}", before - from, engine.story()));
    }
    let failed = |event: &&Event| is_observed(event, "down");
    assert_eq!(engine.events()[from..].iter().filter(failed).count(), 0, "{}", engine.story());
    nothing_was_done(&engine);
    limit(&pair, pid, "--nofile=1024:");
    wait_for(&engine, "a good answer", engine.events().len(), |event| is_observed(event, "up"));
    engine.wait_ready(LONG).unwrap();
    nothing_was_done(&engine);
    let from = engine.events().len();
    pair.db1.kill_postmaster().unwrap();
    wait_for(&engine, "failover_completed", from, |event| event.kind == "failover_completed");
    assert!(engine.stop(), "{}", engine.log_tail());
}

#[test]
fn without_memory_it_lives_or_ends_clearly_and_does_nothing_to_the_servers() {
    let _turn = turn();
    let pair = start();
    let engine = run(&pair);
    let pid = engine.process().pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap().trim().trim_end_matches(" kB");
    let size: u64 = size.parse().unwrap();
    limit(&pair, pid, &format!("--as={}:", size * 1024));
    let from = engine.events().len();
    end_sessions(&pair);
    let ended = wait_until("some answers, or an end", LONG, || {
        if let Some(ended) = engine.process().status() {
            return Ok(Some(Some(ended)));
        }
        let news = engine.events_from(from, Duration::from_millis(200));
        Ok((news.iter().filter(|event| event.kind == "observed").count() >= 20).then_some(None))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", engine.story()));
    nothing_was_done(&engine);
    if let Some(ended) = ended {
        assert!(!ended.success(), "{ended}");
        assert!(engine.log_tail().contains("memory"), "{ended}: {}", engine.log_tail());
        println!("it ended: {ended}: {}", engine.log_tail());
    } else {
        limit(&pair, pid, "--as=unlimited:");
        wait_for(&engine, "a good answer", engine.events().len(), |event| is_observed(event, "up"));
        engine.process().signal(Signal::TERM);
        engine.process().wait(LONG).expect("it stops");
    }
    let next = run(&pair);
    nothing_was_done(&next);
    assert_eq!(next.status().unwrap()["services"][0]["primary"], "db1");
    assert!(next.stop(), "{}", next.log_tail());
}

/// Fills a small file system to its last byte.
fn fill(place: &std::path::Path) -> std::path::PathBuf {
    use std::io::Write;
    let filler = place.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    for size in [4096, 512, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    filler
}

#[test]
fn a_full_state_directory_stops_a_failover_before_it_touches_anything() {
    if let Some(why) = mounting_impossible() {
        println!("SKIPPED: {why}");
        return;
    }
    let _turn = turn();
    let (pair, engine, filler) = with_a_full_state_directory();
    let writable = |wanted: bool| {
        wait_until("the status to tell of the journal", LONG, || {
            Ok((engine.status()?["journal"]["writable"] == Value::Bool(wanted)).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", engine.story()));
    };
    use_up(|| {
        for command in ["pause", "resume"] {
            let mut run = pair.lab.command(pair.lab.path("bin/failover"));
            run.args([command, "--socket"]).arg(&pair.control).output().unwrap();
        }
        engine.status().unwrap()["journal"]["writable"] == Value::Bool(true)
    });
    let from = engine.events().len();
    pair.db1.kill_postmaster().unwrap();
    let refused = wait_for(&engine, "the refusal", from, |event| event.kind == "failover_refused");
    assert!(refused.message.contains("journal"), "{}", refused.message);
    writable(false);
    assert!(!pair.db2.is_primary().unwrap(), "{}", engine.story());
    nothing_was_done(&engine);
    std::fs::remove_file(filler).unwrap();
    writable(true);
    wait_for(&engine, "failover_completed", from, |event| event.kind == "failover_completed");
    assert!(engine.stop(), "{}", engine.log_tail());
}

#[test]
fn a_state_directory_that_is_full_right_before_the_death_stops_nothing_that_was_kept_room_for() {
    if let Some(why) = mounting_impossible() {
        println!("SKIPPED: {why}");
        return;
    }
    let _turn = turn();
    let (pair, engine, filler) = with_a_full_state_directory();
    let from = engine.events().len();
    pair.db1.kill_postmaster().unwrap();
    wait_for(&engine, "failover_completed", from, |event| event.kind == "failover_completed");
    assert!(filler.exists() && pair.db2.is_primary().unwrap(), "{}", engine.story());
    // It is in the journal to its end: the next engine takes nothing up.
    assert!(engine.stop(), "{}", engine.log_tail());
    let next = pair.engine(Origin::now()).unwrap();
    let status = wait_until("the next engine to see db2", LONG, || {
        // It may not listen yet.
        let status = next.status().ok();
        Ok(status.filter(|status| status["services"][0]["servers"][1]["role"] == "primary"))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", next.story()));
    assert_eq!(status["services"][0]["generation"], 1, "{status}");
    assert!(!next.events().iter().any(|event| event.kind == "failover_resumed"), "{}", next.story());
    assert!(next.stop(), "{}", next.log_tail());
}

/// A pair and its engine, whose state directory is a file system of its own, and the file that fills it.
fn with_a_full_state_directory() -> (Pair, Engine, std::path::PathBuf) {
    let pair = start();
    let state = state_of(&pair);
    pair.lab.mount(&state, 1).unwrap();
    let engine = run(&pair);
    let filler = fill(&state);
    (pair, engine, filler)
}

fn state_of(pair: &Pair) -> std::path::PathBuf {
    let text = std::fs::read_to_string(&pair.config).unwrap();
    text.lines().find_map(|line| line.strip_prefix("state_dir = \"")?.split('"').next()).unwrap().into()
}

/// Uses up the journal's last block, which is there on a full disk too, and of what it keeps for a failover so much that there is not
/// enough left for one: nothing fits in any more, or nothing that begins one. `write` says whether the journal can still be written.
fn use_up(mut write: impl FnMut() -> bool) {
    let mut refusals = 0;
    while refusals < 12 {
        refusals = if write() { 0 } else { refusals + 1 };
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn quiet_config(state: &std::path::Path, workers: u32) -> String {
    format!(
        "version = 1\nstate_dir = \"{}\"\n[engine]\nworkers = {workers}\n[[services]]\nname = \"web\"\nkind = \"application\"\n\
         [[services.servers]]\nname = \"web1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\n[[services.checks]]\nname = \"page\"\n\
         server = \"web1\"\nkind = \"scripted\"\nanswers = [\"up\"]\n",
        state.display()
    )
}

fn mount(words: &[&str], place: &str) {
    let output = Command::new("mount").args(words).arg(place).output().expect("mount is there");
    assert!(output.status.success(), "mount {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_state_directory_that_fills_up_or_becomes_read_only_is_said_and_got_over() {
    if let Some(why) = mounting_impossible() {
        println!("SKIPPED: {why}");
        return;
    }
    // The lab unmounts what was mounted in it.
    let lab = Lab::new().unwrap();
    let state = lab.mount("state", 1).unwrap();
    let at = state.to_str().expect("a path of ours");
    let config = Config::parse_toml(&quiet_config(&state, 1)).unwrap_or_else(|errors| panic!("{errors}"));
    let engine = Library::new(config).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let heard = |words: &str, severity: &str| {
        let fits = |event: &EngineEvent| {
            event.kind == EventKind::Log && event.message.contains(words) && event.severity.as_str() == severity
        };
        let event = std::iter::from_fn(|| queue.next(LONG)).find(|event| fits(event));
        assert!(event.is_some(), "nothing about {words}");
    };
    let filler = fill(&state);
    // The commands are obeyed in memory; that they will be forgotten is what the alarm is about.
    let write = || {
        let _ = engine.pause(None);
        let _ = engine.resume(None);
        engine.status().journal.writable
    };
    use_up(write);
    heard("No space left", "alarm");
    let journal = engine.status().journal;
    assert!(!journal.writable && journal.reason.unwrap().contains("No space left"));
    std::fs::remove_file(filler).unwrap();
    heard("can be written again", "info");
    // What was heard may be about a short note that still fitted in.
    wait_until("the status to say so", LONG, || Ok(engine.status().journal.writable.then_some(()))).unwrap();
    fill(&state);
    use_up(write);
    heard("No space left", "alarm");
    // The lock is held open, so what is there cannot be made read-only; a view of it that lies over it can.
    mount(&["--bind", at], at);
    mount(&["-o", "remount,bind,ro"], at);
    wait_until("the status to say so", LONG, || {
        let reason = engine.status().journal.reason.unwrap_or_default();
        Ok(reason.contains("Read-only").then_some(()))
    })
    .unwrap();
    let output = Command::new("umount").arg(at).output().expect("umount is there");
    assert!(output.status.success(), "umount: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(state.join("filler")).unwrap();
    heard("can be written again", "info");
    engine.stop(LONG).unwrap();
}

#[test]
fn a_start_that_gets_no_thread_is_an_error_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("failover.toml");
    std::fs::write(&config, quiet_config(&dir.path().join("state"), 64)).unwrap();
    // What a process needs before its threads differs from machine to machine; 64 stacks are more than one step of this.
    let mut said = Vec::new();
    for mib in (8..400).step_by(8) {
        let limit = format!("--as={}", mib * 1024 * 1024);
        let run = [&limit, "timeout", "5", env!("CARGO_BIN_EXE_failover"), "run"];
        let output = Command::new("prlimit").args(run).arg(&config).output().expect("prlimit is there (util-linux)");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if text.contains("cannot start thread fo-") {
            assert!(!output.status.success());
            return;
        }
        // Once it runs for five seconds it has had enough of everything.
        assert_ne!(output.status.code(), Some(124), "it ran with {mib} MiB and was never short of threads alone: {said:#?}");
        said.push(format!("{mib} MiB: {} {}", output.status, text.lines().last().unwrap_or_default()));
    }
    panic!("{said:#?}");
}
