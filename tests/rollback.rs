//! An application's failover with every step failing in turn: what has to go on goes on, and what has to go back goes back value by
//! value, also when the engine that began it was killed.

use crate::support;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::dig::dig;
use crate::support::engine::Origin;
use crate::support::meddler::{Step, Wrong};
use crate::support::network::Host;
use crate::support::web::get;
use crate::support::{Meddler, Named, NamedOptions, Site, SiteOptions};
use failover::{Config, Engine, EngineEvent, EventKind, EventQueue};

const LONG: Duration = Duration::from_secs(90);
const SECRET: &str = "bGliZmFpbG92ZXItdGVzdC1rZXktMDEyMzQ1Njc4OTA=";

/// How a failover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    RolledBack,
    /// Nobody was seen through the route, and the standby keeps the traffic.
    Kept,
}

/// A site whose servers have weights that nobody would guess, and what everything is then.
fn site(balancers: usize) -> (Site, Vec<String>) {
    let options = SiteOptions { balancers, route: "verify_timeout = \"300ms\"".to_owned(), ..SiteOptions::default() };
    let site = Site::start(&options).unwrap();
    for balancer in &site.balancers {
        // `show stat` shows the weight that was in force when a server was last up.
        for line in ["set weight web/app1 70", "enable server web/app2", "set weight web/app2 30", "disable server web/app2"] {
            balancer.command(line).unwrap();
        }
    }
    let before = site.wanted();
    (site, before)
}

fn edit(site: &Site, change: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(&site.config).unwrap();
    std::fs::write(&site.config, change(text)).unwrap();
}

struct Running {
    engine: Engine,
    queue: EventQueue,
}

impl Running {
    fn start(site: &Site) -> Running {
        let engine = Engine::new(Config::load(&site.config).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        let until = Instant::now() + LONG;
        while !engine.status().services[0].forecast.would_fail_over {
            assert!(Instant::now() < until, "never ready: {:#?}", engine.status().services[0]);
            std::thread::sleep(Duration::from_millis(20));
        }
        Running { engine, queue }
    }

    fn end(&self) -> (End, Arc<EngineEvent>) {
        let until = Instant::now() + LONG;
        let mut told = Vec::new();
        while Instant::now() < until {
            let Some(event) = self.queue.next(Duration::from_secs(1)) else { continue };
            match event.kind {
                EventKind::FailoverCompleted => return (End::Completed, event),
                EventKind::RolledBack => return (End::RolledBack, event),
                EventKind::FailoverFailed if event.fields["promoted"] == true => return (End::Kept, event),
                EventKind::Observed => {}
                _ => told.push(format!("{} {}", event.kind.as_str(), event.message)),
            }
        }
        panic!("it did not end:\n{}", told.join("\n"));
    }
}

/// One step fails on the first so many of two load balancers.
fn a_step_fails(step: Step, wrong: Wrong, on: usize) {
    let case = format!("{step:?} {wrong:?} on {on}");
    let (site, before) = site(2);
    let mut meddlers = Vec::new();
    for balancer in site.balancers.iter().take(on) {
        let path = site.lab.path(format!("sock/{}.meddler", balancer.name()));
        meddlers.push(Meddler::start(&path, balancer.socket(), Some((step, wrong))).unwrap());
        edit(&site, |text| text.replace(&balancer.socket().display().to_string(), &path.display().to_string()));
    }
    let running = Running::start(&site);
    site.servers[0].answer_errors(true).unwrap();
    let (end, event) = running.end();
    // Disabling a server that failed is a courtesy; enabling the next one is not, where nobody does it.
    let expected = if step == Step::RouteIn && on == 2 { End::RolledBack } else { End::Completed };
    assert_eq!(end, expected, "{case}: {}", event.message);
    if end == End::RolledBack {
        assert_eq!(event.fields["left"], serde_json::json!([]), "{case}: {}", event.message);
        assert_eq!(site.wanted(), before, "{case}");
    } else {
        // Partial success is told as such: who did not, and no other.
        let warnings = event.fields["warnings"].to_string();
        for (place, balancer) in site.balancers.iter().enumerate() {
            assert_eq!(warnings.contains(balancer.name()), place < on, "{case}: {warnings}");
        }
        let whole = if step == Step::RouteOut { 0 } else { on };
        for balancer in site.balancers.iter().skip(whole) {
            assert_eq!(get(balancer.front(), LONG).unwrap(), (200, "app2".to_owned()), "{case}");
        }
    }
    running.engine.stop(LONG).unwrap();
}

#[test]
fn every_step_on_load_balancers_fails_in_turn() {
    let mut cases = Vec::new();
    for step in [Step::RouteOut, Step::RouteIn] {
        for wrong in [Wrong::Refused, Wrong::Hanging, Wrong::Garbage, Wrong::Denied] {
            cases.extend([1, 2].map(|on| (step, wrong, on)));
        }
    }
    // Some at a time: most of it is waiting.
    for few in cases.chunks(4) {
        std::thread::scope(|scope| {
            for (step, wrong, on) in few.iter().copied() {
                scope.spawn(move || a_step_fails(step, wrong, on));
            }
        });
    }
}

#[test]
fn a_standby_that_does_not_serve_through_the_route_is_taken_back() {
    for fault in ["is another", "hangs", "fails"] {
        let (site, before) = site(2);
        let running = match fault {
            "hangs" | "fails" => {
                let end = if fault == "hangs" { "exec sleep 60" } else { "echo not this one; exit 1" };
                let script = site.lab.write("look", format!("#!/bin/sh\n{end}\n"), 0o700).unwrap();
                edit(&site, |text| {
                    let unwanted =
                        |line: &&str| line.starts_with("verify = ") || line.contains("identity") || line.starts_with("header");
                    let lines: Vec<&str> = text.lines().filter(|line| !unwanted(line)).collect();
                    let route = format!("[services.route]\nverify_command = [\"{}\"]", script.display());
                    format!("{}\n", lines.join("\n")).replace("[services.route]", &route)
                });
                Running::start(&site)
            }
            _ => Running::start(&site),
        };
        // Its own check asks `/`; the way through the load balancers is another one.
        if fault == "is another" {
            site.servers[1].call_itself(Some("somebody else")).unwrap();
        }
        site.servers[0].answer_errors(true).unwrap();
        let (end, event) = running.end();
        assert_eq!(end, End::RolledBack, "{fault}: {}", event.message);
        assert_eq!(event.fields["left"], serde_json::json!([]), "{fault}");
        assert_eq!(site.wanted(), before, "{fault}");
        running.engine.stop(LONG).unwrap();
    }
}

#[test]
fn a_standby_that_is_well_keeps_the_traffic_of_a_server_that_is_dead() {
    for fault in ["is another", "fails"] {
        let (site, _) = site(2);
        if fault == "fails" {
            edit(&site, |text| text.replace("[services.route]", "[services.route]\nverify_command = [\"/bin/false\"]"));
        }
        let running = Running::start(&site);
        if fault == "is another" {
            site.servers[1].call_itself(Some("somebody else")).unwrap();
        }
        site.servers[0].kill();
        let (end, event) = running.end();
        assert_eq!(end, End::Kept, "{fault}: {}", event.message);
        assert!(event.message.contains("app1 is dead and the checks of app2 pass"), "{}", event.message);
        for balancer in &site.balancers {
            assert!(get(balancer.front(), LONG).is_ok_and(|(status, _)| status == 200), "{fault}");
        }
        let status = &running.engine.status().services[0];
        assert_eq!((status.primary.as_deref(), status.state.as_str()), (Some("app2"), "manual_intervention"), "{fault}");
        running.engine.stop(LONG).unwrap();
    }
}

/// What the name holds: value and TTL.
fn held(server: SocketAddr) -> Option<(String, u32)> {
    dig(server, "app.example.test").unwrap()
}

fn named(site: &Site) -> Named {
    let mut options = NamedOptions::new("ns").key("failover", "hmac-sha256", SECRET).record("app 77 A 192.0.2.1");
    // A key that may read and change nothing.
    options.keys.push(("reader".to_owned(), "hmac-sha256".to_owned(), SECRET.to_owned()));
    Named::start(&site.lab, &options).unwrap()
}

fn name(server: SocketAddr, secret: &str) -> String {
    format!(
        "\n[[services.dns]]\nname = \"app.example.test\"\nprovider = \"rfc2136\"\nserver = \"{server}\"\nzone = \"example.test\"\n\
         key_name = \"failover\"\nkey_secret = \"{secret}\"\nttl = 30\nverify = [\"{server}\"]\ntimeout = \"1s\"\n\
         values = {{ app1 = \"192.0.2.1\", app2 = \"192.0.2.2\" }}\n"
    )
}

/// A key that the name server does not know under this name.
const WRONG: &str = "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3I=";

#[test]
fn a_name_that_cannot_be_changed_undoes_nothing_beside_load_balancers_and_everything_alone() {
    for alone in [false, true] {
        for fault in ["wrong key", "not allowed", "away"] {
            let case = format!("{fault}, alone: {alone}");
            let (site, before) = site(usize::from(!alone));
            let mut named = named(&site);
            edit(&site, |mut text| {
                if alone {
                    let unwanted =
                        |line: &&str| line.starts_with("verify = []") || line.contains("identity") || line.starts_with("header");
                    let lines: Vec<&str> = text.lines().filter(|line| !unwanted(line)).collect();
                    text = format!("{}\n", lines.join("\n"));
                }
                let name = name(named.address(), if fault == "wrong key" { WRONG } else { SECRET });
                text + &if fault == "not allowed" { name.replace("\"failover\"", "\"reader\"") } else { name }
            });
            let running = Running::start(&site);
            let name_before = held(named.address());
            assert_eq!(name_before, Some(("192.0.2.1".to_owned(), 77)), "{case}");
            if fault == "away" {
                named.kill();
            }
            site.servers[0].answer_errors(true).unwrap();
            let (end, event) = running.end();
            assert_eq!(end, if alone { End::RolledBack } else { End::Completed }, "{case}: {}", event.message);
            if alone {
                assert_eq!(site.wanted(), before, "{case}");
                // What could be read and was refused is known to be as it was; what could not be read is not.
                let undone = event.message.contains("is undone");
                assert_eq!(undone, fault == "not allowed", "{case}: {}", event.message);
            } else {
                assert_eq!(get(site.balancers[0].front(), LONG).unwrap(), (200, "app2".to_owned()), "{case}");
            }
            running.engine.stop(LONG).unwrap();
            if fault == "away" {
                named.start_again(&site.lab).unwrap();
            }
            assert_eq!(held(named.address()), name_before, "{case}");
        }
    }
}

/// The engine as a process of its own, killed while it waits for the standby to be seen through the route.
fn killed_in_the_middle(site: &Site, seen: impl Fn() -> bool) -> support::Engine {
    let socket = site.lab.path("control.sock");
    edit(site, |text| text.replacen("version = 1\n", &format!("version = 1\ncontrol_socket = \"{}\"\n", socket.display()), 1));
    let start = || support::Engine::start(&site.lab, &Host::local(), &site.config, &socket, Origin::now()).unwrap();
    let engine = start();
    engine.wait_ready(LONG).unwrap();
    site.servers[0].answer_errors(true).unwrap();
    let until = Instant::now() + LONG;
    while !engine.events().iter().any(|event| event.kind == "step_started" && event.message.starts_with("verify_traffic"))
        || !seen()
    {
        assert!(Instant::now() < until, "it does not come to the verification: {}", engine.log_tail());
        std::thread::sleep(Duration::from_millis(5));
    }
    engine.kill();
    // So that the next one leaves it at going back.
    site.servers[0].answer_errors(false).unwrap();
    start()
}

fn wait_rolled_back(engine: &support::Engine) {
    let until = Instant::now() + LONG;
    loop {
        let events = engine.events();
        if let Some(event) = events.iter().find(|event| event.kind == "rolled_back") {
            assert!(event.message.contains("is undone"), "{}", event.message);
            return;
        }
        assert!(Instant::now() < until, "it was not rolled back: {}", engine.log_tail());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_engine_after_one_that_was_killed_knows_what_load_balancers_were() {
    let (site, before) = site(2);
    edit(&site, |text| text.replace("verify_timeout = \"300ms\"", "verify_timeout = \"5s\""));
    site.servers[1].call_itself(Some("stranger")).unwrap();
    let next = killed_in_the_middle(&site, || site.shown("app2", "status") != ["MAINT", "MAINT"]);
    assert_ne!(site.wanted(), before);
    wait_rolled_back(&next);
    assert_eq!(site.wanted(), before, "{}", next.log_tail());
    assert!(next.stop(), "{}", next.log_tail());
}

#[test]
fn the_engine_after_one_that_was_killed_knows_what_a_name_was() {
    let (site, _) = site(0);
    let named = named(&site);
    let script = site.lab.write("look", "#!/bin/sh\nexit 1\n", 0o700).unwrap();
    edit(&site, |text| {
        let unwanted = |line: &&str| line.starts_with("verify = []") || line.contains("identity") || line.starts_with("header");
        let lines: Vec<&str> = text.lines().filter(|line| !unwanted(line)).collect();
        let route = format!("[services.route]\nverify_command = [\"{}\"]", script.display());
        let text = format!("{}\n", lines.join("\n")).replace("[services.route]", &route);
        text.replace("verify_timeout = \"300ms\"", "verify_timeout = \"5s\"") + &name(named.address(), SECRET)
    });
    let before = held(named.address());
    let next = killed_in_the_middle(&site, || held(named.address()) == Some(("192.0.2.2".to_owned(), 30)));
    wait_rolled_back(&next);
    // The value and the TTL that were there, not those of the configuration.
    assert_eq!(held(named.address()), before);
    assert_eq!(before, Some(("192.0.2.1".to_owned(), 77)));
    assert!(next.stop(), "{}", next.log_tail());
}
