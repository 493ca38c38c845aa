//! Names that follow the active server, on a real name server: beside load balancers, and as the only route.

#![cfg(feature = "rfc2136")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use failover::action::dns::RecordType;
use failover::wire::deadline::{Cancel, Deadline};
use failover::wire::dns::ask;
use failover::{ActionAnswer, Config, Engine, EngineEvent, EventKind, EventQueue, HostAction};
use support::{Named, NamedOptions, Site, SiteOptions};

const LONG: Duration = Duration::from_secs(60);
const SECRET: &str = "bGliZmFpbG92ZXItdGVzdC1rZXktMDEyMzQ1Njc4OTA=";

/// What the name holds on a server: value and TTL.
fn held(server: SocketAddr) -> Option<(String, u32)> {
    let cancel = Cancel::new().unwrap();
    let answer = ask(server, "app.example.test", RecordType::A, false, Deadline::after(LONG), &cancel).unwrap();
    answer.record.map(|record| (record.values.join(","), record.ttl))
}

fn name_server(site: &Site) -> Named {
    let options = NamedOptions::new("ns").key("failover", "hmac-sha256", SECRET).record("app 77 A 192.0.2.1");
    Named::start(&site.lab, &options).unwrap()
}

/// The site's configuration with a name in front of the servers.
fn add_name(site: &Site, server: SocketAddr, more: &str) {
    let name = format!(
        "\n[[services.dns]]\nname = \"app.example.test\"\nprovider = \"rfc2136\"\nserver = \"{server}\"\nzone = \"example.test\"\n\
         key_name = \"failover\"\nkey_secret = \"{SECRET}\"\nttl = 30\nverify = [\"{server}\"]\n\
         values = {{ app1 = \"192.0.2.1\", app2 = \"192.0.2.2\" }}\n{more}\n"
    );
    let text = std::fs::read_to_string(&site.config).unwrap();
    std::fs::write(&site.config, text + &name).unwrap();
}

struct Running {
    engine: Engine,
    queue: EventQueue,
}

impl Running {
    fn start(site: &Site) -> Running {
        Running::started(Engine::new(Config::load(&site.config).unwrap_or_else(|errors| panic!("{errors}"))).unwrap())
    }

    fn started(engine: Engine) -> Running {
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        let running = Running { engine, queue };
        let until = Instant::now() + LONG;
        while !running.engine.status().services[0].forecast.would_fail_over {
            assert!(Instant::now() < until, "never ready: {:#?}", running.engine.status().services[0]);
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    fn wait(&self, what: &str, fits: impl Fn(&EngineEvent) -> bool) -> Arc<EngineEvent> {
        let until = Instant::now() + LONG;
        let mut told = Vec::new();
        while Instant::now() < until {
            let Some(event) = self.queue.next(Duration::from_secs(1)) else { continue };
            if fits(&event) {
                return event;
            }
            if event.kind != EventKind::Observed {
                told.push(format!("{} {}", event.kind.word(), event.message));
            }
        }
        panic!("{what} did not come:\n{}", told.join("\n"));
    }
}

#[test]
fn a_name_follows_once_the_load_balancers_have_and_a_dead_name_server_holds_nobody_up() {
    let site = Site::start(&SiteOptions { balancers: 1, ..SiteOptions::default() }).unwrap();
    let mut named = name_server(&site);
    add_name(&site, named.address(), "timeout = \"2s\"");
    let running = Running::start(&site);
    let forecast = running.engine.status().services[0].forecast.clone();
    assert_eq!(forecast.names_ttl_s, Some(30));
    assert!(forecast.message.contains("at most 30 s later"), "{}", forecast.message);
    named.kill();
    site.servers[0].kill();
    let done = running.wait("the failover", |event| event.kind == EventKind::FailoverCompleted);
    assert_eq!(done.fields["warnings"], serde_json::json!([]), "{}", done.message);
    let failed = |event: &EngineEvent| event.kind == EventKind::EvidenceGathered && event.message.contains("not every name");
    let told = running.wait("what became of the name", failed);
    assert_eq!(told.severity.word(), "alarm");
    assert!(!told.message.contains(SECRET));
    // It is tried again until it works.
    named.start_again(&site.lab).unwrap();
    running.wait("the name", |event| event.message.contains("the names point to app2"));
    assert_eq!(held(named.address()), Some(("192.0.2.2".to_owned(), 30)));
    running.engine.stop(LONG).unwrap();
}

#[test]
fn a_programs_own_steps_are_asked_beside_names_too() {
    let site = Site::start(&SiteOptions { balancers: 0, ..SiteOptions::default() }).unwrap();
    let named = name_server(&site);
    add_name(&site, named.address(), "timeout = \"5s\"");
    let text = std::fs::read_to_string(&site.config).unwrap();
    let unwanted = |line: &&str| line.starts_with("verify = []") || line.contains("identity") || line.starts_with("header");
    let lines: Vec<&str> = text.lines().filter(|line| !unwanted(line)).collect();
    std::fs::write(&site.config, format!("{}\n", lines.join("\n"))).unwrap();
    let engine = Engine::new(Config::load(&site.config).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    for step in ["route_out", "route_in"] {
        let asked = Arc::clone(&asked);
        let own = move |action: &HostAction| {
            asked.lock().unwrap().push(format!("{} {}", action.step, action.server.as_deref().unwrap_or_default()));
            // What it cannot do keeps the names from nothing.
            ActionAnswer::NoEffect("not today".to_owned())
        };
        engine.register_action(step, own).unwrap();
    }
    let running = Running::started(engine);
    site.servers[0].kill();
    let done = running.wait("the failover", |event| event.kind == EventKind::FailoverCompleted);
    assert_eq!(held(named.address()), Some(("192.0.2.2".to_owned(), 30)));
    assert_eq!(*asked.lock().unwrap(), ["route_out app1", "route_in app2"]);
    let warnings = done.fields["warnings"].to_string();
    assert!(warnings.contains("host program") && warnings.contains("not today"), "{warnings}");
    running.engine.stop(LONG).unwrap();
}

#[test]
fn names_alone_are_a_route_and_go_back_value_by_value() {
    let site = Site::start(&SiteOptions { balancers: 0, ..SiteOptions::default() }).unwrap();
    let named = name_server(&site);
    add_name(&site, named.address(), "timeout = \"5s\"");
    // Nobody answers through an address here: the program says whether the standby is any good.
    let bad = site.lab.path("bad");
    let script = site.lab.write("look", format!("#!/bin/sh\ntest ! -e {}\n", bad.display()), 0o700).unwrap();
    let text = std::fs::read_to_string(&site.config).unwrap();
    let unwanted = |line: &&str| line.starts_with("verify = []") || line.contains("identity") || line.starts_with("header");
    let lines: Vec<&str> = text.lines().filter(|line| !unwanted(line)).collect();
    let route = format!("[services.route]\nverify_command = [\"{}\"]\nverify_timeout = \"300ms\"", script.display());
    std::fs::write(&site.config, format!("{}\n", lines.join("\n")).replace("[services.route]", &route)).unwrap();
    std::fs::write(&bad, "").unwrap();
    let running = Running::start(&site);
    let before = held(named.address());
    assert_eq!(before, Some(("192.0.2.1".to_owned(), 77)));
    site.servers[0].answer_errors(true).unwrap();
    let back = running.wait("the way back", |event| event.kind == EventKind::RolledBack);
    assert_eq!(back.fields["left"], serde_json::json!([]), "{}", back.message);
    // Also the TTL is the one that was.
    assert_eq!(held(named.address()), before);
    site.servers[0].answer_errors(false).unwrap();
    std::fs::remove_file(&bad).unwrap();
    running.wait("a person is called", |event| event.kind == EventKind::ManualIntervention);
    running.engine.reset("web").unwrap();
    let until = Instant::now() + LONG;
    while !running.engine.status().services[0].forecast.would_fail_over {
        assert!(Instant::now() < until, "never ready again");
        std::thread::sleep(Duration::from_millis(20));
    }
    site.servers[0].kill();
    let done = running.wait("the failover", |event| event.kind == EventKind::FailoverCompleted);
    assert_eq!(done.fields["verified"], true);
    assert_eq!(held(named.address()), Some(("192.0.2.2".to_owned(), 30)));
    assert_eq!(named.address().ip(), Ipv4Addr::LOCALHOST);
    running.engine.stop(LONG).unwrap();
}
