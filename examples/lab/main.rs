//! Real parts for the examples in other languages: a PostgreSQL pair behind HAProxy and an sshd for each host, or with the argument
//! `application` two web servers behind two HAProxy, in a temporary folder, gone when this program's input ends. It prints one line of
//! JSON that says where everything is; then it obeys one command a line, and answers each with one line, `ok` or `error: …`:
//!
//! `kill SERVER` (SIGKILL; of a database its postmaster) · `freeze SERVER` (SIGSTOP, all processes)
//!
//! of databases: `stop SERVER` (a fast shutdown) · `primary SERVER` (answers `yes` or `no`)
//!
//! of web servers: `errors SERVER` (every answer has status 500 from now on) · `answers` (who answers through each HAProxy, or `-`)

#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use support::pair::{Pair, PairOptions, SERVICE};
use support::postgres::{PgServer, StopMode, WRITER_DATABASE, WRITER_ROLE};
use support::{Haproxy, Site, SiteOptions, WebServer, web};

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
    match std::env::args().nth(1).as_deref() {
        None => lab_of_databases(),
        Some("application") => lab_of_applications(),
        Some(other) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("\"{other}\" is no lab: application, or nothing")))
        }
    }
}

fn lab_of_applications() -> io::Result<()> {
    let site = Site::start(&SiteOptions::default())?;
    let place = |server: &WebServer| json!({"name": server.name(), "host": "127.0.0.1", "port": server.port()});
    let front = |balancer: &Haproxy| json!({"name": balancer.name(), "host": "127.0.0.1", "port": balancer.front()});
    say(&json!({
        "config": site.config,
        "service": "web",
        "servers": site.servers.iter().map(place).collect::<Vec<_>>(),
        "fronts": site.balancers.iter().map(front).collect::<Vec<_>>(),
    })
    .to_string())?;
    serve(|line| obey_of_applications(&site, line))
}

fn obey_of_applications(site: &Site, line: &str) -> io::Result<String> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("\"{line}\" is no command of this lab"));
    if line.trim() == "answers" {
        let who = |balancer: &Haproxy| match web::get(balancer.front(), Duration::from_secs(5)) {
            Ok((200, server)) => server,
            _ => "-".to_owned(),
        };
        return Ok(site.balancers.iter().map(who).collect::<Vec<_>>().join(" "));
    }
    let (command, name) = line.trim().split_once(' ').ok_or_else(unknown)?;
    let server = site.servers.iter().find(|server| server.name() == name).ok_or_else(unknown)?;
    match command {
        "kill" => server.kill(),
        "freeze" => server.freeze(true),
        "errors" => server.answer_errors(true)?,
        _ => return Err(unknown()),
    }
    Ok("ok".to_owned())
}

fn lab_of_databases() -> io::Result<()> {
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
    serve(|line| obey(&pair, line))
}

/// Obeys until the input ends.
fn serve(mut obey: impl FnMut(&str) -> io::Result<String>) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        match obey(&line?) {
            Ok(answer) => say(&answer)?,
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

fn obey(pair: &Pair, line: &str) -> io::Result<String> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("\"{line}\" is no command of the lab"));
    let (command, name) = line.trim().split_once(' ').ok_or_else(unknown)?;
    let server = [&pair.db1, &pair.db2].into_iter().find(|server| server.name() == name).ok_or_else(unknown)?;
    let done = match command {
        "kill" => server.kill_postmaster().map(|_| "ok"),
        "stop" => server.stop(StopMode::Fast).map(|()| "ok"),
        "freeze" => server.freeze().map(|_| "ok"),
        "primary" => server.is_primary().map(|yes| if yes { "yes" } else { "no" }),
        _ => Err(unknown()),
    };
    done.map(str::to_owned)
}
