//! Real parts for the examples in other languages: a PostgreSQL pair behind HAProxy and an sshd for each host, in a temporary
//! folder, gone when this program's input ends. It prints one line of JSON that says where everything is; then it obeys one command
//! a line, and answers each with one line, `ok` or `error: …`:
//!
//! `kill SERVER` (its postmaster, SIGKILL) · `stop SERVER` (a fast shutdown) · `freeze SERVER` (SIGSTOP, all processes) ·
//! `primary SERVER` (answers `yes` or `no`)

#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use serde_json::json;
use support::pair::{Pair, PairOptions, SERVICE};
use support::postgres::{PgServer, StopMode, WRITER_DATABASE, WRITER_ROLE};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    // Whoever interrupts the example interrupts its process group: the servers are ended when the input is.
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            support::interrupt();
        }
    })?;
    let options = PairOptions { fsync: false, synchronous: std::env::var_os("SYNC").is_some(), ..PairOptions::default() };
    let pair = Pair::start(&options, |next| eprintln!("lab: {next}"))?;
    pair.db1.wait_streaming("db2")?;
    let place = |server: &PgServer| json!({"name": server.name(), "host": "127.0.0.1", "port": server.port()});
    say(&json!({
        "config": pair.config,
        "service": SERVICE,
        "servers": [place(&pair.db1), place(&pair.db2)],
        "front": {"host": "127.0.0.1", "port": pair.haproxy.front()},
        "user": WRITER_ROLE,
        "database": WRITER_DATABASE,
    })
    .to_string())?;
    for line in io::stdin().lock().lines() {
        match obey(&pair, &line?) {
            Ok(answer) => say(answer)?,
            Err(error) => say(&format!("error: {error}"))?,
        }
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn obey(pair: &Pair, line: &str) -> io::Result<&'static str> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("\"{line}\" is no command of the lab"));
    let (command, name) = line.trim().split_once(' ').ok_or_else(unknown)?;
    let server = [&pair.db1, &pair.db2].into_iter().find(|server| server.name() == name).ok_or_else(unknown)?;
    match command {
        "kill" => server.kill_postmaster().map(|_| "ok"),
        "stop" => server.stop(StopMode::Fast).map(|()| "ok"),
        "freeze" => server.freeze().map(|_| "ok"),
        "primary" => server.is_primary().map(|yes| if yes { "yes" } else { "no" }),
        _ => Err(unknown()),
    }
}
