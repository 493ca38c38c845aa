//! Names that follow the active server, on a real name server: beside load balancers, and as the only route.

use crate::support;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::dig::dig;
use crate::support::lab::free_port;
use crate::support::queue;
use crate::support::{Named, NamedOptions, Site, SiteOptions};
use failover::{ActionAnswer, Config, Engine, EngineEvent, EventKind, EventQueue, HostAction};

const LONG: Duration = Duration::from_secs(60);
const SECRET: &str = "bGliZmFpbG92ZXItdGVzdC1rZXktMDEyMzQ1Njc4OTA=";

/// What the name holds on a server: value and TTL.
fn held(server: SocketAddr) -> Option<(String, u32)> {
    dig(server, "app.example.test").unwrap()
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
        queue::wait_for(&self.queue, what, LONG, fits)
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
    assert_eq!(told.severity.as_str(), "alarm");
    assert!(!told.message.contains(SECRET));
    // It is tried again until it works.
    named.start_again(&site.lab).unwrap();
    running.wait("the name", |event| event.message.contains("the names point to app2"));
    assert_eq!(held(named.address()), Some(("192.0.2.2".to_owned(), 30)));
    running.engine.stop(LONG).unwrap();
}

/// Listens on an address of the loopback and passes everybody on to a port of 127.0.0.1.
fn relay(address: Ipv4Addr, port: u16, to: u16) {
    let listener = TcpListener::bind((address, port)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
            let halves = (client.try_clone().unwrap(), server.try_clone().unwrap());
            for (mut from, mut to) in [(client, server), (halves.1, halves.0)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
}

#[test]
fn who_answers_is_asked_through_the_name_as_its_zone_has_it_now() {
    let site = Site::start(&SiteOptions { balancers: 0, ..SiteOptions::default() }).unwrap();
    let port = free_port().unwrap();
    let places = [Ipv4Addr::new(127, 0, 0, 11), Ipv4Addr::new(127, 0, 0, 12)];
    for (place, server) in places.iter().zip(&site.servers) {
        relay(*place, port, server.port());
    }
    let options = NamedOptions::new("ns").key("failover", "hmac-sha256", SECRET).record("app 77 A 127.0.0.11");
    let named = Named::start(&site.lab, &options).unwrap();
    add_name(&site, named.address(), "timeout = \"5s\"");
    let text = std::fs::read_to_string(&site.config).unwrap();
    // No resolver of this machine knows the name: only the zone's own server can have told.
    let text = text
        .replace("verify = []", &format!("verify = [\"app.example.test:{port}\"]\nverify_timeout = \"300ms\""))
        .replace("192.0.2.1", "127.0.0.11")
        .replace("192.0.2.2", "127.0.0.12");
    std::fs::write(&site.config, text).unwrap();
    let looked = std::process::Command::new(env!("CARGO_BIN_EXE_failover")).arg("check").arg(&site.config).output().unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stdout));
    site.servers[1].call_itself(Some("stranger")).unwrap();
    let running = Running::start(&site);
    site.servers[0].answer_errors(true).unwrap();
    let back = running.wait("the way back", |event| event.kind == EventKind::RolledBack);
    assert!(back.fields["why"].to_string().contains("stranger"), "{}", back.fields["why"]);
    assert_eq!(held(named.address()), Some(("127.0.0.11".to_owned(), 77)));
    running.wait("a person is called", |event| event.kind == EventKind::ManualIntervention);
    site.servers[1].call_itself(None).unwrap();
    running.engine.reset("web").unwrap();
    let seen = running.wait("who answers", |event| {
        event.kind == EventKind::StepFinished && event.fields["step"] == "verify_traffic" && event.fields["ok"] == true
    });
    assert!(seen.message.contains(&format!("app2 through the route: app.example.test:{port}")), "{}", seen.message);
    running.wait("the failover", |event| event.kind == EventKind::FailoverCompleted);
    running.engine.stop(LONG).unwrap();
}

#[test]
fn a_name_that_cannot_be_read_is_told_before_it_is_needed() {
    let site = Site::start(&SiteOptions::default()).unwrap();
    let named = name_server(&site);
    add_name(&site, named.address(), "timeout = \"5s\"");
    let text = std::fs::read_to_string(&site.config).unwrap();
    std::fs::write(&site.config, text.replace(SECRET, "YW5vdGhlciBzZWNyZXQgdGhhbiB0aGF0IG9uZQ==")).unwrap();
    let running = Running::start(&site);
    let told = running.wait("the finding", |event| {
        event.kind == EventKind::ReadinessChanged && event.fields.get("code").is_some_and(|code| code == "name_unreadable")
    });
    assert!(told.message.contains("app.example.test") && told.message.contains("BADSIG"), "{}", told.message);
    let status = running.engine.status();
    let known = status.services[0].readiness.iter().find(|finding| finding.code == "name_unreadable").unwrap();
    // Beside the load balancers it only follows.
    assert!(!known.blocking, "{known:?}");
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

/// A Route 53 with the name and a health check of each server, and what passes requests on to it.
#[cfg(feature = "route53")]
struct Amazon {
    moto: support::Moto,
    cloud: support::Cloud,
    checks: [String; 2],
    zone: String,
}

#[cfg(feature = "route53")]
impl Amazon {
    fn start(lab: &support::Lab) -> Amazon {
        use crate::support::cloud::Answer;
        let moto = support::Moto::start(lab).unwrap();
        let port = moto.port();
        let zone = moto.zone("example.test").unwrap();
        let checks = ["192.0.2.1", "192.0.2.2"].map(|ip| moto.health_check(ip).unwrap());
        moto.hold(&zone, "app.example.test", "192.0.2.1", 77).unwrap();
        // Somebody else was quicker, once.
        let overtaken = std::sync::atomic::AtomicBool::new(false);
        let cloud = support::Cloud::start(move |asked| {
            let changes = asked.method == "POST" && asked.path.starts_with("/2013-04-01/healthcheck/");
            if changes && !overtaken.swap(true, std::sync::atomic::Ordering::SeqCst) {
                let body = "<ErrorResponse><Error><Type>Sender</Type><Code>HealthCheckVersionMismatch</Code><Message>no</Message>\
                            </Error></ErrorResponse>";
                return Answer::Whole(409, body.to_owned());
            }
            Answer::Of(port)
        })
        .unwrap();
        Amazon { moto, cloud, checks, zone }
    }

    fn add_name(&self, site: &Site, checks: [&str; 2]) {
        let name = format!(
            "\n[[services.dns]]\nname = \"app.example.test\"\nprovider = \"route53\"\nendpoint = \"{}\"\nzone_id = \"{}\"\n\
             access_key_id = \"AKIDTEST\"\nsecret_access_key = \"geheim\"\nttl = 30\ntimeout = \"20s\"\n\
             values = {{ app1 = \"192.0.2.1\", app2 = \"192.0.2.2\" }}\n\
             health_checks = {{ app1 = \"{}\", app2 = \"{}\" }}\nhealth_check_others = \"disable\"\n",
            self.cloud.url(),
            self.zone,
            checks[0],
            checks[1]
        );
        let text = std::fs::read_to_string(&site.config).unwrap();
        std::fs::write(&site.config, text + &name).unwrap();
    }

    fn held(&self) -> (String, u32) {
        self.moto.held(&self.zone, "app.example.test").unwrap()
    }

    /// Threshold, and whether it is disabled, of each health check.
    fn shown(&self) -> [(u8, bool); 2] {
        self.checks.clone().map(|id| self.moto.health_check_settings(&id).unwrap())
    }
}

#[cfg(feature = "route53")]
#[test]
fn health_checks_follow_with_the_name_and_one_that_cannot_be_changed_is_told() {
    let site = Site::start(&SiteOptions { balancers: 1, ..SiteOptions::default() }).unwrap();
    let amazon = Amazon::start(&site.lab);
    amazon.add_name(&site, [&amazon.checks[0], &amazon.checks[1]]);
    let running = Running::start(&site);
    assert_eq!(amazon.shown(), [(3, false), (3, false)]);
    site.servers[0].kill();
    let done = running.wait("the failover", |event| event.kind == EventKind::FailoverCompleted);
    assert_eq!(done.fields["warnings"], serde_json::json!([]), "{}", done.message);
    running.wait("the name", |event| event.message.contains("the names point to app2"));
    assert_eq!(amazon.held(), ("192.0.2.2".to_owned(), 30));
    assert_eq!(amazon.shown(), [(3, true), (2, false)]);
    // Both, and one of them again with the version that was read anew.
    assert_eq!(amazon.cloud.count("POST", "/2013-04-01/healthcheck/"), 3);
    running.engine.stop(LONG).unwrap();

    let site = Site::start(&SiteOptions { balancers: 1, ..SiteOptions::default() }).unwrap();
    let amazon = Amazon::start(&site.lab);
    amazon.add_name(&site, [&amazon.checks[0], "nosuchcheck"]);
    let running = Running::start(&site);
    site.servers[0].kill();
    let told = running.wait("what became of the check", |event| event.message.contains("nosuchcheck"));
    assert!(told.message.contains("not every name") && told.message.contains("NoSuchHealthCheck"), "{}", told.message);
    assert_eq!(amazon.held(), ("192.0.2.2".to_owned(), 30), "the name moved all the same");
    assert_eq!(running.engine.status().services[0].primary.as_deref(), Some("app2"));
    running.engine.stop(LONG).unwrap();
}

#[cfg(feature = "route53")]
#[test]
fn health_checks_go_back_value_by_value_with_a_name_that_is_the_route() {
    let site = Site::start(&SiteOptions { balancers: 0, ..SiteOptions::default() }).unwrap();
    let amazon = Amazon::start(&site.lab);
    amazon.add_name(&site, [&amazon.checks[0], &amazon.checks[1]]);
    let script = site.lab.write("look", "#!/bin/sh\nexit 1\n", 0o700).unwrap();
    let text = std::fs::read_to_string(&site.config).unwrap();
    let unwanted = |line: &&str| line.starts_with("verify = []") || line.contains("identity") || line.starts_with("header");
    let lines: Vec<&str> = text.lines().filter(|line| !unwanted(line)).collect();
    let route = format!("[services.route]\nverify_command = [\"{}\"]\nverify_timeout = \"300ms\"", script.display());
    std::fs::write(&site.config, format!("{}\n", lines.join("\n")).replace("[services.route]", &route)).unwrap();
    let running = Running::start(&site);
    site.servers[0].answer_errors(true).unwrap();
    let back = running.wait("the way back", |event| event.kind == EventKind::RolledBack);
    assert_eq!(back.fields["left"], serde_json::json!([]), "{}", back.message);
    assert_eq!(amazon.held(), ("192.0.2.1".to_owned(), 77));
    assert_eq!(amazon.shown(), [(3, false), (3, false)]);
    assert!(amazon.cloud.count("POST", "/2013-04-01/healthcheck/") >= 5, "they were changed, and changed back");
    running.engine.stop(LONG).unwrap();
}
