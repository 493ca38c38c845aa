//! Every way to have set it up wrong, on real servers: a named refusal and an alarm beforehand, and nothing promoted when it matters.
//! One at a time: two pairs side by side on two cores would be a test of the machine.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::support::engine::{Engine, Origin};
use crate::support::pair::{Pair, PairOptions};
use crate::support::postgres::{PgOptions, PgServer};
use crate::support::recording::Event;
use serde_json::Value;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn quick() -> PairOptions {
    PairOptions { fsync: false, ..PairOptions::default() }
}

fn line(event: &Event) -> String {
    format!("{:>9.3} {:<22} {}", Duration::from_nanos(event.at).as_secs_f64(), event.kind, event.message)
}

/// A pair whose configuration is changed before the engine starts.
fn misconfigured(change: impl FnOnce(&mut Pair) -> Vec<(String, String)>) -> (Pair, Engine) {
    let mut pair = Pair::start(&quick(), |_| ()).expect("a pair");
    let mut text = fs::read_to_string(&pair.config).expect("its configuration");
    for (from, to) in change(&mut pair) {
        assert!(text.contains(&from), "nothing to change: {from}");
        text = text.replacen(&from, &to, 1);
    }
    fs::write(&pair.config, text).expect("a writable configuration");
    let engine = pair.engine(Origin::now()).expect("an engine");
    (pair, engine)
}

/// Waits for an event that fits, and returns it.
fn event(engine: &Engine, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
    let until = Instant::now() + Duration::from_secs(45);
    let mut seen = 0;
    while Instant::now() < until {
        let more = engine.events_from(seen, Duration::from_millis(200));
        if let Some(event) = more.iter().find(|event| fits(event)) {
            return event.clone();
        }
        seen += more.len();
    }
    let log: Vec<String> = engine.events().iter().filter(|event| event.kind != "observed").map(line).collect();
    panic!("{what} did not come:\n{}\nlog: {}", log.join("\n"), engine.log_tail());
}

/// Waits until the status fits.
fn status(engine: &Engine, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(45);
    let mut last = Value::Null;
    while Instant::now() < until {
        if let Ok(status) = engine.status() {
            last = status["services"][0].clone();
            if fits(&last) {
                return last;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}: the status is {last:#}\nlog: {}", engine.log_tail());
}

fn refuses_with(service: &Value, code: &str) -> bool {
    let text = service["forecast"].to_string();
    service["forecast"]["would_fail_over"] == false && text.contains(code)
}

/// The primary dies; whatever the engine does, it calls a person and promotes nothing.
fn dies_in_vain(pair: &Pair, engine: &Engine) {
    pair.db1.kill_postmaster().expect("a dead postmaster");
    event(engine, "manual_intervention", |event| event.kind == "manual_intervention");
    assert!(!pair.db2.is_primary().expect("db2 answers"), "db2 was promoted");
    assert!(engine.events().iter().all(|event| event.kind != "point_of_no_return"));
    assert!(engine.stop(), "a clean stop: {}", engine.log_tail());
}

#[test]
fn a_wrong_password_is_alarmed_and_never_a_death() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|pair| {
        let path = pair.lab.path("failover.password");
        fs::write(path, "wrong\n").expect("a password file");
        Vec::new()
    });
    let seen =
        event(&engine, "an impaired check", |event| event.kind == "observed" && event.fields["reason"] == "authentication");
    assert!(!seen.message.contains("wrong"), "{}", seen.message);
    status(&engine, "no primary is known", |service| refuses_with(service, "no_primary_seen"));
    pair.db1.kill_postmaster().expect("a dead postmaster");
    event(&engine, "a refusal", |event| event.kind == "failover_refused" && event.fields["refusal"] == "no_primary_seen");
    assert!(!pair.db2.is_primary().expect("db2 answers"));
    assert!(engine.stop());
}

#[test]
fn a_wrong_host_key_leaves_no_fence_and_so_no_failover() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|pair| {
        // The other server's key under this one's name.
        let known = fs::read_to_string(pair.ssh1.known_hosts()).expect("known_hosts");
        let (own, other) = (format!("]:{} ", pair.ssh1.port()), format!("]:{} ", pair.ssh2.port()));
        let swapped = known.replace(&own, "]:0 ").replace(&other, &own).replace("]:0 ", &other);
        assert_ne!(known, swapped, "known_hosts: {known}");
        fs::write(pair.ssh1.known_hosts(), swapped).expect("known_hosts");
        Vec::new()
    });
    status(&engine, "the fence is unavailable", |service| refuses_with(service, "fence_unavailable"));
    dies_in_vain(&pair, &engine);
}

#[test]
fn a_wrong_data_directory_leaves_no_fence_and_so_no_failover() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|pair| {
        let own = format!("data_dir = \"{}\"", pair.db1.data_dir().display());
        vec![(own, "data_dir = \"/nonexistent/data\"".to_owned()), ("wrapper = true".to_owned(), "wrapper = false".to_owned())]
    });
    let engine = engine;
    status(&engine, "the fence is unavailable", |service| refuses_with(service, "fence_unavailable"));
    dies_in_vain(&pair, &engine);
}

#[test]
fn a_host_that_shows_another_server_is_never_fenced() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|pair| {
        // Each server is looked for on the other's host: the forced command there pins the other's data directory.
        let (one, two) = (format!("port = {} }}", pair.ssh1.port()), format!("port = {} }}", pair.ssh2.port()));
        vec![(one.clone(), "port = 0 }".to_owned()), (two.clone(), one), ("port = 0 }".to_owned(), two)]
    });
    let service = status(&engine, "the fence is unavailable", |service| {
        refuses_with(service, "fence_unavailable") && service["readiness"].to_string().matches("host_other_server").count() == 2
    });
    let found = service["readiness"].as_array().unwrap().iter().find(|found| found["code"] == "host_other_server").unwrap();
    assert!(found["blocking"] == true && found["message"].as_str().unwrap().contains("the port is"), "{found}");
    // A hang is where it would hurt most: what the host shows as dead or alive is somebody else.
    let frozen = pair.db1.freeze().unwrap();
    event(&engine, "manual_intervention", |event| event.kind == "manual_intervention");
    let forced = std::process::Command::new(env!("CARGO_BIN_EXE_failover"))
        .args(["force", "orders", "--to", "db2", "--socket"])
        .arg(&pair.control)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&forced.stdout), String::from_utf8_lossy(&forced.stderr));
    event(&engine, "manual_intervention", |event| event.kind == "manual_intervention");
    pair.db1.thaw(&frozen);
    assert!(pair.db1.is_primary().unwrap(), "db1 was touched; {said}");
    assert!(!pair.db2.is_primary().unwrap(), "db2 was promoted; {said}");
    assert!(engine.events().iter().all(|event| event.kind != "point_of_no_return"), "{said}");
    assert!(engine.stop(), "a clean stop: {}", engine.log_tail());
}

#[test]
fn a_standby_of_another_cluster_is_alarmed_and_never_promoted() {
    let _alone = alone();
    let mut stranger = None;
    let (pair, engine) = misconfigured(|pair| {
        let other = PgServer::primary(&pair.lab, &PgOptions { own_identity: true, ..PgOptions::quick("stranger") })
            .expect("another cluster");
        other.script(&format!("ALTER ROLE failover PASSWORD '{}'", pair.db1.secrets().engine)).expect("the same password");
        let change = vec![(format!("port = {}", pair.db2.port()), format!("port = {}", other.port()))];
        stranger = Some(other);
        change
    });
    event(&engine, "wrong_cluster", |event| event.kind == "wrong_cluster" && event.server.as_deref() == Some("db2"));
    status(&engine, "no candidate", |service| refuses_with(service, "no_candidate"));
    dies_in_vain(&pair, &engine);
}

/// Settings of the engine's role that keep other sessions from a standby, and its limit: told beforehand, and no obstacle to a failover.
#[test]
fn settings_of_the_engines_role_and_few_sessions_stop_no_failover() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|pair| {
        for setting in [
            "SET default_transaction_isolation = 'serializable'",
            "SET statement_timeout = '1ms'",
            "SET idle_session_timeout = '50ms'",
            "SET search_path = public, pg_catalog",
            "SET default_transaction_read_only = on",
            "CONNECTION LIMIT 4",
        ] {
            pair.db1.query(&format!("ALTER ROLE failover {setting}")).expect("a setting");
        }
        Vec::new()
    });
    let service = status(&engine, "db2 would be promoted, and the limit is told", |service| {
        service["forecast"]["would_fail_over"] == true && service["readiness"].to_string().contains("connection_limit_low")
    });
    let found = service["readiness"].as_array().unwrap().iter().find(|found| found["code"] == "connection_limit_low").unwrap();
    assert_eq!(found["blocking"], false, "{found}");
    pair.db1.kill_postmaster().expect("a dead postmaster");
    event(&engine, "the failover is completed", |event| event.kind == "failover_completed");
    assert!(pair.db2.is_primary().expect("db2 answers"));
    assert!(engine.stop(), "a clean stop: {}", engine.log_tail());
}

/// The test before going live sees what a failover would be refused for, although every check is up.
#[test]
fn check_finds_what_would_stop_a_failover() {
    let _alone = alone();
    let pair = Pair::start(&quick(), |_| ()).expect("a pair");
    let original = fs::read_to_string(&pair.config).expect("its configuration");
    let check = |changes: &[(String, String)], exit: i32| -> (Value, String) {
        let mut text = original.clone();
        for (from, to) in changes {
            assert!(text.contains(from), "nothing to change: {from}");
            text = text.replacen(from, to, 1);
        }
        let config = pair.lab.write("checked.toml", text, 0o600).expect("a configuration");
        let run = |arguments: &[&str]| {
            let output =
                std::process::Command::new(env!("CARGO_BIN_EXE_failover")).arg("check").args(arguments).arg(&config).output();
            let output = output.expect("failover check");
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(exit), "{stdout}{stderr}");
            stdout.into_owned()
        };
        (serde_json::from_str(&run(&["--json"])).expect("JSON"), run(&[]))
    };
    let blocking = |report: &Value| -> Vec<String> {
        let found = report["readiness"].as_array().expect("findings").iter().filter(|finding| finding["blocking"] == true);
        found
            .map(|finding| {
                assert_eq!(finding["service"], "orders");
                assert!(!finding["remedy"].as_str().unwrap().is_empty(), "{finding}");
                let server = finding["server"].as_str().unwrap_or("-");
                format!("{server} {}", finding["code"].as_str().unwrap())
            })
            .collect()
    };

    let (good, text) = check(&[], 0);
    assert_eq!((good["all_up"].clone(), good["ready"].clone()), (Value::Bool(true), Value::Bool(true)), "{good:#}");
    assert!(text.contains("readiness of orders: if the primary died now, db2 would be promoted"), "{text}");
    // What it looked at once it knows as of that look.
    assert!(!text.contains("not known") && !text.contains("saw") && !text.contains("were not seen"), "{text}");

    // Its own daemon runs beside it, and is no rival.
    let engine = pair.engine(Origin::now()).expect("an engine");
    engine.wait_ready(Duration::from_secs(60)).expect("ready");
    check(&[], 0);
    assert!(engine.stop());

    let ssh_gone = (format!("ssh = {{ port = {} }}", pair.ssh1.port()), "ssh = { port = 1 }".to_owned());
    let socket_gone = (pair.haproxy.socket().display().to_string(), "/nowhere/haproxy.sock".to_owned());
    let verify_gone = (format!("127.0.0.1:{}", pair.haproxy.front()), "127.0.0.1:1".to_owned());
    let (bad, text) = check(&[ssh_gone, socket_gone, verify_gone], 1);
    assert_eq!((bad["all_up"].clone(), bad["ready"].clone()), (Value::Bool(true), Value::Bool(false)), "{bad:#}");
    let found = blocking(&bad);
    for wanted in ["db1 host_not_asked", "- route_not_ready", "- verify_unreachable", "- fence_unavailable"] {
        assert!(found.iter().any(|one| one == wanted), "{wanted}: {found:?}");
    }
    assert!(
        text.contains("2 checks, all up\n")
            && text.contains("\nreadiness of orders: if the primary died now, a failover would be refused"),
        "{text}"
    );
    assert!(text.contains("    remedy: start the host and its sshd"), "{text}");

    let key_gone = (pair.ssh1.key().display().to_string(), "/nowhere/key".to_owned());
    let (bad, text) = check(&[key_gone], 1);
    assert!(blocking(&bad).contains(&"db1 host_not_asked".to_owned()), "{bad:#}");
    assert!(text.contains("remedy: make every key file readable"), "{text}");

    // Each server is looked for on the other's host. The remedy is what the configuration was.
    let (one, two) = (format!("port = {} }}", pair.ssh1.port()), format!("port = {} }}", pair.ssh2.port()));
    let (bad, text) = check(&[(one.clone(), "port = 0 }".to_owned()), (two.clone(), one), ("port = 0 }".to_owned(), two)], 1);
    for server in ["db1", "db2"] {
        assert!(blocking(&bad).contains(&format!("{server} host_other_server")), "{bad:#}");
    }
    assert!(text.contains("remedy: set host, data_dir and key of this server right"), "{text}");
    check(&[], 0);

    // Whatever is not up has its remedy, and a standby that cannot be promoted is seen.
    let (wrong, _) = check(&[("database = \"postgres\"".to_owned(), "database = \"nothing\"".to_owned())], 1);
    assert!(wrong["checks"][0]["remedy"].as_str().unwrap().contains("services.connection.database"), "{wrong:#}");
    fs::write(pair.lab.path("failover.password"), "wrong\n").expect("a password file");
    let (wrong, said) = check(&[], 1);
    assert!(wrong["checks"][0]["remedy"].as_str().unwrap().contains("services.connection.password"), "{wrong:#}");
    // One cause, told once: neither that nobody answers through the route, nor that no primary was seen.
    assert_eq!(blocking(&wrong), ["- login_refused"], "{wrong:#}");
    assert_eq!(said.matches("remedy: correct services.connection.password").count(), 2, "{said}");
    fs::write(pair.lab.path("failover.password"), format!("{}\n", pair.db1.secrets().engine)).expect("a password file");
    pair.db2.kill_postmaster().expect("a dead standby");
    let (alone, _) = check(&[], 1);
    assert!(blocking(&alone).contains(&"- no_candidate".to_owned()), "{alone:#}");
    assert!(alone["checks"][1]["remedy"].as_str().unwrap().starts_with("start the server"), "{alone:#}");
}

#[test]
fn two_writable_servers_at_start_stop_everything() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|pair| {
        pair.db2.promote().expect("a second primary");
        Vec::new()
    });
    event(&engine, "two_primaries", |event| event.kind == "two_primaries");
    status(&engine, "manual intervention", |service| service["state"] == "manual_intervention");
    let reset = std::process::Command::new(env!("CARGO_BIN_EXE_failover"))
        .args(["reset", "orders", "--socket"])
        .arg(&pair.control)
        .output()
        .expect("failover reset");
    let said = String::from_utf8_lossy(&reset.stdout);
    assert!(said.contains("; still blocking: ") && said.contains("two_primaries: two servers take writes"), "{said}");
    pair.db1.kill_postmaster().expect("a dead postmaster");
    status(&engine, "still manual intervention", |service| service["servers"][0]["health"] == "unhealthy");
    assert!(engine.events().iter().all(|event| event.kind != "failover_started"));
    assert!(engine.stop());
}

#[test]
fn a_standby_too_far_behind_is_alarmed_and_not_promoted() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|_| Vec::new());
    engine.wait_ready(Duration::from_secs(60)).expect("ready");
    pair.db2.script("ALTER SYSTEM SET primary_conninfo = ''; SELECT pg_reload_conf()").expect("a standby without a receiver");
    event(&engine, "standby_not_ready", |event| event.kind == "standby_not_ready" && event.server.as_deref() == Some("db2"));
    pair.db1.script("CREATE TABLE much AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)").expect("much data");
    status(&engine, "no candidate", |service| refuses_with(service, "no_candidate"));
    dies_in_vain(&pair, &engine);
}

#[test]
fn a_lost_standby_is_an_alarm_at_that_moment() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|_| Vec::new());
    engine.wait_ready(Duration::from_secs(60)).expect("ready");
    pair.db2.kill_postmaster().expect("a dead standby");
    let alarm = event(&engine, "standby_not_ready", |event| event.kind == "standby_not_ready");
    assert_eq!(alarm.severity, "alarm");
    assert!(engine.stop());
}

#[test]
fn without_haproxy_the_database_is_promoted_and_a_person_called() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|_| {
        vec![(
            "  [services.data]\n".to_owned(),
            "  [services.trigger]\n  failover_timeout = \"75s\"\n\n  [services.data]\n".to_owned(),
        )]
    });
    engine.wait_ready(Duration::from_secs(60)).expect("ready");
    pair.haproxy.process().signal(rustix::process::Signal::KILL);
    event(&engine, "the route is broken", |event| event.kind == "readiness_changed" && event.message.contains("could not move"));
    pair.db1.kill_postmaster().expect("a dead postmaster");
    event(&engine, "a failed route step", |event| {
        event.kind == "step_finished" && event.fields["step"] == "route_in" && event.fields["ok"] == false
    });
    assert!(pair.db2.is_primary().expect("db2 answers"));
    assert!(engine.events().iter().all(|event| event.kind != "failover_completed"));
    assert!(engine.stop());
}

#[test]
fn an_admin_socket_without_admin_level_is_named_beforehand() {
    let _alone = alone();
    let (_pair, engine) = misconfigured(|pair| {
        let config = fs::read_to_string(pair.haproxy.config()).expect("haproxy's configuration");
        assert!(config.contains("level admin"));
        let operator = pair.lab.write("operator.cfg", operator_level(&config), 0o644).expect("a configuration");
        pair.haproxy.process().signal(rustix::process::Signal::KILL);
        assert!(pair.haproxy.process().wait(Duration::from_secs(10)).is_some());
        let mut command = pair.lab.command("haproxy");
        command.arg("-f").arg(operator);
        let process = pair.lab.spawn("haproxy-operator", command).expect("haproxy");
        std::mem::forget(process); // ended with the lab, by its watchdog
        Vec::new()
    });
    event(&engine, "the route is broken", |event| event.kind == "readiness_changed" && event.message.contains("admin"));
    assert!(engine.stop());
}

fn operator_level(config: &str) -> String {
    config.replace("level admin", "level operator")
}

#[test]
fn a_route_that_gives_the_standby_writes_is_alarmed_until_it_is_mended() {
    let _alone = alone();
    let (pair, engine) = misconfigured(|_| Vec::new());
    engine.wait_ready(Duration::from_secs(60)).expect("ready");
    pair.haproxy.command("set server pg_write/db2 state ready").expect("both servers up");
    let alarm = event(&engine, "the standby takes writes", |event| {
        event.kind == "readiness_changed" && event.message.contains("route_to_standby")
    });
    assert_eq!(alarm.severity, "alarm", "{}", alarm.message);
    assert!(alarm.message.contains("haproxy") && alarm.message.contains("pg_write/db2"), "{}", alarm.message);
    let shown = status(&engine, "it is shown with its age", |service| {
        let list = service["readiness"].as_array().expect("a list");
        list.iter().any(|finding| finding["code"] == "route_to_standby" && finding["asked_ms"].is_u64())
    });
    assert_eq!(shown["forecast"]["would_fail_over"], true, "a failover would mend it: {shown:#}");

    pair.haproxy.command("disable server pg_write/db2").expect("the remedy");
    let over = event(&engine, "it is over", |event| {
        event.kind == "readiness_changed" && event.message.contains("over: route_to_standby")
    });
    assert_eq!(over.severity, "info");
    status(&engine, "it is gone", |service| !service["readiness"].to_string().contains("route_to_standby"));
    assert!(engine.stop());
}

#[test]
fn a_finding_shows_its_age_and_a_server_that_is_back_is_looked_at_again() {
    let _alone = alone();
    // Without fsync, so that there is something to find on each server.
    let (pair, engine) = misconfigured(|_| Vec::new());
    engine.wait_ready(Duration::from_secs(60)).expect("ready");
    let age = |service: &Value| {
        let list = service["readiness"].as_array().expect("a list");
        let finding = list.iter().find(|finding| finding["code"] == "fsync_off" && finding["server"] == "db2");
        finding.and_then(|finding| finding["asked_ms"].as_u64())
    };
    status(&engine, "found", |service| age(service).is_some());
    pair.db2.kill_postmaster().expect("a dead standby");
    // Longer than between two rounds: nobody has taken the old word for a new one.
    status(&engine, "it grows old", |service| age(service).is_some_and(|age| age > 12_000));
    pair.db2.start().expect("the standby again");
    status(&engine, "it is new again", |service| age(service).is_some_and(|age| age < 12_000));
    assert!(engine.stop());
}
