//! Real parts for the examples in other languages, and for hands: PostgreSQL servers behind HAProxy and an sshd for each host, or
//! with the argument `application` two web servers behind two HAProxy, in a temporary folder, gone when this program's input ends.
//! It prints one line of JSON that says where everything is; then it obeys one command a line, and answers each with one line, `ok`
//! or `error: …`. `--help` names the commands and what the environment sets.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use support::cluster::{Cluster, ClusterOptions, Replication};
use support::pair::{Pair, PairOptions, SERVICE};
use support::postgres::{PgServer, StopMode, WRITER_DATABASE, WRITER_ROLE};
use support::{Haproxy, Site, SiteOptions, WebServer, web};

const HELP: &str = "\
lab                a PostgreSQL primary db1 with its standby db2 behind HAProxy
lab application    two web servers app1 and app2 behind two HAProxy

From the environment:
  SYNC=1           of a pair: commits wait for the standby
  SERVERS=3        so many databases, one of them the primary: db1, db2, db3 (2 to 5)
    SYNC=          whom their commits wait for: async (nobody, the default), any (ANY 1 of the others), first (FIRST 1 of them)
    NAMES=         distinct (the default), or equal: every standby replicates as `walreceiver`, which is PostgreSQL's default

It prints where everything is as one line of JSON. Then one command a line, each answered by one line, `ok` or `error: ...`:
  kill SERVER      SIGKILL; of a database its postmaster
  freeze SERVER    SIGSTOP of all processes
of databases:
  stop SERVER      a fast shutdown
  start SERVER     start it again as it was left
  restart SERVER   an immediate stop and a start: it comes back through recovery
  kill-all SERVER  SIGKILL of the postmaster and all its processes at once
  primary SERVER   answers `yes` or `no`
  promote SERVER   promote it by hand
  deafen SERVER    end its reception: it follows nobody
  follow SERVER UPSTREAM    make a running standby follow UPSTREAM
  rejoin SERVER UPSTREAM    make any server a standby of UPSTREAM, from a new copy where its log went another way
of web servers:
  errors SERVER    every answer has status 500 from now on
  answers          who answers through each HAProxy, or `-`

Everything is gone when the input ends.
";

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
        None => match std::env::var("SERVERS") {
            Ok(count) => lab_of_a_cluster(&count),
            Err(_) => lab_of_databases(),
        },
        Some("application") => lab_of_applications(),
        Some("--help" | "-h" | "help") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("\"{other}\" is no lab: application, --help, or nothing")))
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
    say(&places(&pair.config, &[&pair.db1, &pair.db2], &pair.haproxy))?;
    serve(|line| obey(&[&pair.db1, &pair.db2], line))
}

fn lab_of_a_cluster(servers: &str) -> io::Result<()> {
    let cluster = Cluster::start(&cluster_options(servers)?, |next| eprintln!("lab: {next}"))?;
    let servers: Vec<&PgServer> = cluster.servers.iter().collect();
    say(&places(&cluster.config, &servers, &cluster.haproxy))?;
    serve(|line| obey(&servers, line))
}

fn cluster_options(servers: &str) -> io::Result<ClusterOptions> {
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let given = |name: &str| std::env::var(name).unwrap_or_default();
    let count: usize = servers.parse().unwrap_or(0);
    if !(2..=5).contains(&count) {
        return Err(wrong(format!("SERVERS={servers} is not from 2 to 5")));
    }
    let sync = given("SYNC");
    let word = if sync.is_empty() { "async" } else { &sync };
    let replication = Replication::ALL.into_iter().find(|replication| replication.as_str() == word);
    let replication = replication.ok_or_else(|| wrong(format!("SYNC={sync} is none of async, any, first")))?;
    let equal_names = match given("NAMES").as_str() {
        "" | "distinct" => false,
        "equal" => true,
        other => return Err(wrong(format!("NAMES={other} is neither distinct nor equal"))),
    };
    Ok(ClusterOptions { standbys: count - 1, equal_names, ..ClusterOptions::new(replication) })
}

/// Where everything is, as one line.
fn places(config: &Path, servers: &[&PgServer], haproxy: &Haproxy) -> String {
    let place = |server: &&PgServer| json!({"name": server.name(), "host": "127.0.0.1", "port": server.port()});
    json!({
        "config": config,
        "service": SERVICE,
        "servers": servers.iter().map(place).collect::<Vec<_>>(),
        "front": {"host": "127.0.0.1", "port": haproxy.front()},
        "user": WRITER_ROLE,
        "database": WRITER_DATABASE,
    })
    .to_string()
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

fn obey(servers: &[&PgServer], line: &str) -> io::Result<String> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("\"{line}\" is no command of the lab"));
    let named = |name: &str| servers.iter().find(|server| server.name() == name).copied().ok_or_else(unknown);
    let words: Vec<&str> = line.split_whitespace().collect();
    let done = match words.as_slice() {
        ["kill", name] => named(name)?.kill_postmaster().map(|_| "ok"),
        ["kill-all", name] => {
            named(name)?.kill_all();
            Ok("ok")
        }
        ["stop", name] => named(name)?.stop(StopMode::Fast).map(|()| "ok"),
        ["start", name] => named(name)?.start().map(|()| "ok"),
        ["restart", name] => named(name)?.restart_at_once().map(|()| "ok"),
        ["freeze", name] => named(name)?.freeze().map(|_| "ok"),
        ["primary", name] => named(name)?.is_primary().map(|yes| if yes { "yes" } else { "no" }),
        ["promote", name] => named(name)?.promote().map(|()| "ok"),
        ["deafen", name] => named(name)?.end_reception().map(|()| "ok"),
        ["follow", name, upstream] => named(name)?.follow(named(upstream)?).map(|()| "ok"),
        ["rejoin", name, upstream] => named(name)?.rejoin(named(upstream)?).map(|_| "ok"),
        _ => Err(unknown()),
    };
    done.map(str::to_owned)
}
