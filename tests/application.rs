//! An application behind real load balancers: the traffic goes from a server that fails to one that is well, is asked who answers,
//! and goes back where that shows that it was wrong.

use crate::support;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::web::get;
use crate::support::{Site, SiteOptions};
use failover::{Config, Engine, EngineEvent, EventKind, EventQueue, ForceOptions};

const LONG: Duration = Duration::from_secs(60);

struct Running {
    engine: Engine,
    queue: EventQueue,
    told: std::sync::Mutex<Vec<Arc<EngineEvent>>>,
}

impl Running {
    fn start(site: &Site) -> Running {
        let config = Config::load(&site.config).unwrap_or_else(|errors| panic!("{errors}"));
        let engine = Engine::new(config).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        Running { engine, queue, told: std::sync::Mutex::default() }
    }

    fn wait_ready(&self) {
        let until = Instant::now() + LONG;
        loop {
            let status = self.engine.status();
            if status.services[0].forecast.would_fail_over && status.services[0].state == "normal" {
                return;
            }
            assert!(Instant::now() < until, "never ready: {:#?}", status.services[0]);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait(&self, what: &str, fits: impl Fn(&EngineEvent) -> bool) -> Arc<EngineEvent> {
        let until = Instant::now() + LONG;
        while Instant::now() < until {
            let Some(event) = self.queue.next(Duration::from_secs(1)) else { continue };
            if event.kind != EventKind::Observed && event.kind != EventKind::Log {
                self.told.lock().unwrap().push(Arc::clone(&event));
            }
            if fits(&event) {
                return event;
            }
        }
        let told = self.told.lock().unwrap();
        let lines: Vec<String> = told.iter().map(|event| format!("{} {}", event.kind.as_str(), event.message)).collect();
        panic!("{what} did not come:\n{}", lines.join("\n"));
    }

    fn wait_kind(&self, kind: EventKind) -> Arc<EngineEvent> {
        self.wait(kind.as_str(), |event| event.kind == kind)
    }

    /// The steps that ended so far: name, target, whether they did what they should.
    fn steps(&self) -> Vec<(String, String, bool)> {
        let word = |event: &EngineEvent, field: &str| event.fields[field].as_str().unwrap_or_default().to_owned();
        let told = self.told.lock().unwrap();
        let ended = told.iter().filter(|event| event.kind == EventKind::StepFinished);
        ended.map(|event| (word(event, "step"), word(event, "target"), event.fields["ok"] == true)).collect()
    }

    fn primary(&self) -> Option<String> {
        self.engine.status().services[0].primary.clone()
    }
}

fn steps(list: &[(&str, &str, bool)]) -> Vec<(String, String, bool)> {
    list.iter().map(|(step, target, ok)| ((*step).to_owned(), (*target).to_owned(), *ok)).collect()
}

/// Who answers through each load balancer.
fn answers(site: &Site) -> Vec<io::Result<(u16, String)>> {
    site.balancers.iter().map(|balancer| get(balancer.front(), Duration::from_secs(2))).collect()
}

fn assert_answers(site: &Site, server: &str) {
    for answer in answers(site) {
        assert_eq!(answer.unwrap(), (200, server.to_owned()));
    }
}

#[test]
fn a_killed_server_is_replaced_on_every_load_balancer() {
    let site = Site::start(&SiteOptions::default()).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    assert_eq!(running.primary().as_deref(), Some("app1"));
    assert_answers(&site, "app1");
    site.servers[0].kill();
    let done = running.wait_kind(EventKind::FailoverCompleted);
    assert_eq!(done.fields["new_primary"], "app2");
    assert_eq!(done.fields["class"], "dead");
    assert_eq!(done.fields["verified"], true);
    assert_eq!(
        running.steps(),
        steps(&[("route_out", "app1", true), ("route_in", "app2", true), ("verify_traffic", "app2", true)])
    );
    assert_answers(&site, "app2");
    assert_eq!(site.shown("app1", "status"), ["MAINT", "MAINT"]);
    let status = running.engine.status();
    assert_eq!((status.services[0].state.as_str(), status.services[0].primary.as_deref()), ("failed_over", Some("app2")));
    running.engine.stop(LONG).unwrap();
}

#[test]
fn the_weight_of_the_one_that_takes_over_grows_also_under_another_engine() {
    let options = SiteOptions { route: "weight_ramp = \"2s\"".to_owned(), ..SiteOptions::default() };
    let site = Site::start(&options).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    site.servers[0].kill();
    running.wait_kind(EventKind::FailoverCompleted);
    assert_answers(&site, "app2");
    let share = |event: &EngineEvent| event.fields.get("share_percent").and_then(serde_json::Value::as_u64);
    running.wait("the second step", |event| share(event) == Some(20));
    running.engine.stop(LONG).unwrap();
    drop(running);
    let again = Running::start(&site);
    let last = again.wait("the last step", |event| share(event) == Some(100));
    assert!(last.fields["failed"].as_array().is_some_and(Vec::is_empty), "{}", last.message);
    again.engine.stop(LONG).unwrap();
    drop(again);
    // It is over: the next engine has nothing to do.
    let third = Running::start(&site);
    third.wait("a sign of life of the new one", |event| {
        event.kind == EventKind::Observed && event.server.as_deref() == Some("app2")
    });
    third.engine.stop(LONG).unwrap();
    while let Some(event) = third.queue.next(Duration::ZERO) {
        assert!(share(&event).is_none(), "{}", event.message);
    }
    assert!(third.told.lock().unwrap().iter().all(|event| share(event).is_none()));
}

#[test]
fn a_server_that_answers_with_errors_or_hangs_is_replaced() {
    for (fault, class) in [("errors", "unusable"), ("hang", "hung")] {
        let site = Site::start(&SiteOptions::default()).unwrap();
        let running = Running::start(&site);
        running.wait_ready();
        let shown = running.engine.status().services[0].generation;
        if fault == "errors" {
            site.servers[0].answer_errors(true).unwrap();
        } else {
            site.servers[0].freeze(true);
        }
        let done = running.wait_kind(EventKind::FailoverCompleted);
        assert_eq!((done.fields["class"].as_str(), done.generation), (Some(class), shown + 1), "{}", done.message);
        assert_answers(&site, "app2");
        running.engine.stop(LONG).unwrap();
        site.servers[0].freeze(false);
    }
}

/// The next turn of its check is in ten minutes.
#[test]
fn errors_that_a_load_balancer_counts_make_the_engine_look_at_once() {
    for fault in ["kill", "errors"] {
        let check = "interval = \"10m\"\ntimeout = \"500ms\"".to_owned();
        let site = Site::start(&SiteOptions { check, ..SiteOptions::default() }).unwrap();
        let running = Running::start(&site);
        running.wait_ready();
        assert_answers(&site, "app1");
        match fault {
            "kill" => site.servers[0].kill(),
            _ => site.servers[0].answer_errors(true).unwrap(),
        }
        let until = Instant::now() + LONG;
        let told = loop {
            // Clients of one of them are enough.
            let _ = get(site.balancers[1].front(), Duration::from_secs(2));
            let told = running.queue.next(Duration::from_millis(50));
            if let Some(event) = told.filter(|event| event.kind == EventKind::FailoverCompleted) {
                break event;
            }
            assert!(Instant::now() < until, "{fault}: nobody looked: {:#?}", running.engine.status().services[0]);
        };
        assert_eq!(told.fields["new_primary"], "app2", "{fault}");
        assert_answers(&site, "app2");
        running.engine.stop(LONG).unwrap();
    }
}

#[test]
fn a_standby_that_turns_out_bad_is_taken_back_value_by_value() {
    let options = SiteOptions { route: "verify_timeout = \"500ms\"".to_owned(), ..SiteOptions::default() };
    let site = Site::start(&options).unwrap();
    for balancer in &site.balancers {
        // `show stat` shows the weight that was in force when a server was last up.
        for line in ["set weight web/app1 70", "enable server web/app2", "set weight web/app2 30", "disable server web/app2"] {
            balancer.command(line).unwrap();
        }
    }
    let look = |site: &Site| -> Vec<Vec<String>> {
        ["app1", "app2"].iter().flat_map(|server| ["status", "weight"].map(|column| site.shown(server, column))).collect()
    };
    let before = look(&site);
    let running = Running::start(&site);
    running.wait_ready();
    // Its own check asks for the status alone; through the route it says that it is somebody else.
    site.servers[1].call_itself(Some("stranger")).unwrap();
    site.servers[0].answer_errors(true).unwrap();
    let back = running.wait_kind(EventKind::RolledBack);
    assert_eq!(back.fields["left"], serde_json::json!([]), "{}", back.message);
    let person = running.wait_kind(EventKind::ManualIntervention);
    assert!(person.message.contains("stranger"), "{}", person.message);
    assert_eq!(look(&site), before);
    assert_eq!(running.primary().as_deref(), Some("app1"));
    let ended = running.steps();
    assert_eq!(ended.first(), Some(&("route_out".to_owned(), "app1".to_owned(), true)));
    assert_eq!(ended.last(), Some(&("route_rollback".to_owned(), "app1".to_owned(), true)));
    // Nothing is tried again by itself, and with the cause mended a person's word is enough.
    site.servers[1].call_itself(None).unwrap();
    site.servers[0].answer_errors(false).unwrap();
    running.engine.reset("web").unwrap();
    running.wait_ready();
    assert_answers(&site, "app1");
    running.engine.stop(LONG).unwrap();
}

#[test]
fn the_next_standby_is_tried_by_priority_and_health() {
    let options = SiteOptions { servers: 4, route: "verify_timeout = \"300ms\"".to_owned(), ..SiteOptions::default() };
    let site = Site::start(&options).unwrap();
    let text = std::fs::read_to_string(&site.config).unwrap();
    // app3 is wanted most and is sick, app4 is next and lies, app2 is left.
    let text = text.replace("name = \"app3\"\nrole", "name = \"app3\"\npriority = 300\nrole");
    let text = text.replace("name = \"app4\"\nrole", "name = \"app4\"\npriority = 200\nrole");
    std::fs::write(&site.config, text).unwrap();
    site.servers[2].answer_errors(true).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    assert_eq!(running.engine.status().services[0].forecast.candidate.as_deref(), Some("app4"));
    site.servers[3].call_itself(Some("stranger")).unwrap();
    site.servers[0].kill();
    let done = running.wait_kind(EventKind::FailoverCompleted);
    assert_eq!(done.fields["new_primary"], "app2");
    let ended = running.steps();
    assert!(ended.contains(&("route_in".to_owned(), "app4".to_owned(), true)), "{ended:?}");
    assert!(ended.iter().all(|(_, target, _)| target != "app3"), "{ended:?}");
    assert_answers(&site, "app2");
    assert_eq!(site.shown("app4", "status"), ["MAINT", "MAINT"]);
    running.engine.stop(LONG).unwrap();
}

#[test]
fn a_load_balancer_that_is_away_costs_a_warning_and_gets_the_wanted_state_when_it_is_back() {
    let mut site = Site::start(&SiteOptions::default()).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    site.balancers[1].process().signal(rustix::process::Signal::KILL);
    site.balancers[1].process().wait(LONG);
    site.servers[0].kill();
    let done = running.wait_kind(EventKind::FailoverCompleted);
    let warnings = done.fields["warnings"].to_string();
    assert!(warnings.contains("lb2") && !warnings.contains("lb1"), "{warnings}");
    assert_eq!(get(site.balancers[0].front(), LONG).unwrap(), (200, "app2".to_owned()));
    // Started again it has forgotten everything: app1, which is dead, has the traffic there.
    let lab = site.lab.clone();
    site.balancers[1].restart(&lab).unwrap();
    running.wait_kind(EventKind::RouteAsserted);
    running.wait("the end of it", |event| event.kind == EventKind::EvidenceGathered && event.message.contains("every instance"));
    assert_answers(&site, "app2");
    running.engine.stop(LONG).unwrap();
}

#[test]
fn two_services_that_fail_at_the_same_moment_do_not_wait_for_each_other() {
    let options = SiteOptions { balancers: 1, ..SiteOptions::default() };
    let (quick, slow) = (Site::start(&options).unwrap(), Site::start(&options).unwrap());
    // It ends when it is told to.
    let go = slow.lab.path("go");
    let script = format!("#!/bin/sh\nwhile ! test -e {}; do sleep 0.02; done\n", go.display());
    let command = slow.lab.write("slow", script, 0o700).unwrap();
    let text = std::fs::read_to_string(&slow.config).unwrap().replace("name = \"web\"", "name = \"slow\"");
    let (_, text) = text.split_once("[[services]]").unwrap();
    let text = format!(
        "{}\n[[services]]{text}\n[[services.route.command]]\nname = \"slow\"\ncommand = [\"{}\"]\ntimeout = \"60s\"\n",
        std::fs::read_to_string(&quick.config).unwrap(),
        command.display()
    );
    std::fs::write(&quick.config, text).unwrap();
    let running = Running::start(&quick);
    running.wait_ready();
    let until = Instant::now() + LONG;
    while !running.engine.status().services[1].forecast.would_fail_over {
        assert!(Instant::now() < until, "never ready: {:#?}", running.engine.status());
        std::thread::sleep(Duration::from_millis(20));
    }
    slow.servers[0].kill();
    running.wait("the slow one is under way", |event| {
        event.kind == EventKind::StepStarted && event.service.as_deref() == Some("slow") && event.fields["step"] == "route_in"
    });
    quick.servers[0].kill();
    let first = running.wait_kind(EventKind::FailoverCompleted);
    assert_eq!(first.service.as_deref(), Some("web"));
    assert_answers(&quick, "app2");
    std::fs::write(go, "").unwrap();
    let second = running.wait_kind(EventKind::FailoverCompleted);
    assert_eq!(second.service.as_deref(), Some("slow"));
    assert_answers(&slow, "app2");
    running.engine.stop(LONG).unwrap();
}

#[test]
fn an_operator_fails_back_and_a_second_failure_within_the_cooldown_calls_a_person() {
    let mut site = Site::start(&SiteOptions::default()).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    site.servers[0].kill();
    running.wait_kind(EventKind::FailoverCompleted);
    site.servers[0].restart().unwrap();
    running.wait("app1 is well", |event| event.kind == EventKind::StandbyReady && event.server.as_deref() == Some("app1"));
    // Never by itself.
    assert_eq!(running.primary().as_deref(), Some("app2"));
    let mut options = ForceOptions::default();
    options.to = Some("app1".to_owned());
    running.engine.force("web", options).unwrap();
    let done = running.wait_kind(EventKind::FailoverCompleted);
    assert_eq!((done.fields["new_primary"].as_str(), done.fields["class"].as_str()), (Some("app1"), Some("forced")));
    assert_answers(&site, "app1");
    site.servers[0].kill();
    let person = running.wait_kind(EventKind::ManualIntervention);
    assert!(person.message.contains("cooldown"), "{}", person.message);
    running.engine.stop(LONG).unwrap();
}

#[test]
fn without_a_healthy_standby_nothing_is_moved_until_there_is_one() {
    let mut site = Site::start(&SiteOptions::default()).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    site.servers[1].kill();
    running.wait("app2 is not ready", |event| event.kind == EventKind::StandbyNotReady);
    site.servers[0].kill();
    let refused = running.wait_kind(EventKind::FailoverRefused);
    assert_eq!(refused.fields["refusal"], "no_candidate", "{}", refused.message);
    assert_eq!(site.shown("app1", "status"), ["no check", "no check"]);
    site.servers[1].restart().unwrap();
    let done = running.wait_kind(EventKind::FailoverCompleted);
    assert_eq!(done.fields["new_primary"], "app2");
    assert_answers(&site, "app2");
    running.engine.stop(LONG).unwrap();
}

#[test]
fn an_engine_that_comes_back_knows_who_has_the_traffic() {
    let mut site = Site::start(&SiteOptions::default()).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    site.servers[0].kill();
    running.wait_kind(EventKind::FailoverCompleted);
    running.engine.stop(LONG).unwrap();
    drop(running);
    site.servers[0].restart().unwrap();
    let again = Running::start(&site);
    let until = Instant::now() + LONG;
    while again.engine.status().services[0].servers.iter().any(|server| server.health != "healthy") {
        assert!(Instant::now() < until, "never healthy: {:#?}", again.engine.status());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(again.primary().as_deref(), Some("app2"));
    assert_answers(&site, "app2");
    again.engine.stop(LONG).unwrap();
}

#[test]
fn commands_move_traffic_beside_the_load_balancers_and_one_that_fails_is_reported() {
    let command = |name: &str, path: &str, more: &str| {
        format!("\n[[services.route.command]]\nname = \"{name}\"\ncommand = [\"{path}\"]\n{more}")
    };
    let site = Site::start(&SiteOptions { balancers: 1, ..SiteOptions::default() }).unwrap();
    let script = |name: &str, text: &str| {
        let path = site.lab.write(name, format!("#!/bin/sh\n{text}\n"), 0o700).unwrap();
        path.display().to_string()
    };
    let log = site.lab.path("moved");
    let moves = script(
        "vip",
        &format!(
            "echo \"$FAILOVER_STEP $FAILOVER_SERVER $FAILOVER_PORT $FAILOVER_IDEMPOTENCY_KEY\" >> {}; echo moved to $FAILOVER_SERVER",
            log.display()
        ),
    );
    let (fails, hangs) = (script("fails", "echo no such address; exit 3"), script("hangs", "exec sleep 60"));
    let mut text = std::fs::read_to_string(&site.config).unwrap();
    text.push_str(&command("vip", &moves, &format!("out = [\"{moves}\"]\n")));
    text.push_str(&command("fails", &fails, ""));
    text.push_str(&command("hangs", &hangs, "timeout = \"300ms\"\n"));
    std::fs::write(&site.config, text).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    site.servers[0].kill();
    let done = running.wait_kind(EventKind::FailoverCompleted);
    let warnings = done.fields["warnings"].to_string();
    assert!(warnings.contains("no such address") && warnings.contains("fails") && warnings.contains("hangs"), "{warnings}");
    let told = std::fs::read_to_string(&log).unwrap();
    let ports: Vec<u16> = site.servers.iter().map(support::WebServer::port).collect();
    let expected = format!("route_out app1 {} web/1/route_out/app1\nroute_in app2 {} web/1/route_in/app2\n", ports[0], ports[1]);
    assert_eq!(told, expected);
    let moved = running.told.lock().unwrap().iter().any(|event| event.message.contains("vip: moved to app2"));
    assert!(moved, "its last line is shown");
    assert_answers(&site, "app2");
    running.engine.stop(LONG).unwrap();
}

#[test]
fn a_program_sees_for_itself_who_answers_where_nobody_speaks_http() {
    let options = SiteOptions { balancers: 1, route: "verify_timeout = \"300ms\"".to_owned(), ..SiteOptions::default() };
    let site = Site::start(&options).unwrap();
    let script =
        site.lab.write("look", "#!/bin/sh\ntest \"$FAILOVER_SERVER\" = app1 || { echo it is not; exit 1; }\n", 0o700).unwrap();
    let text = std::fs::read_to_string(&site.config).unwrap();
    let unwanted = |line: &&str| line.starts_with("verify = ") || line.contains("identity") || line.starts_with("header");
    let lines: Vec<&str> = text.lines().filter(|line| !unwanted(line)).collect();
    let text = format!("{}\n", lines.join("\n"));
    let text = text.replace("[services.route]\n", &format!("[services.route]\nverify_command = [\"{}\"]\n", script.display()));
    std::fs::write(&site.config, text).unwrap();
    let running = Running::start(&site);
    running.wait_ready();
    // Were it dead, the standby would keep the traffic.
    site.servers[0].answer_errors(true).unwrap();
    let back = running.wait_kind(EventKind::RolledBack);
    assert!(back.fields["why"].as_str().unwrap().contains("it is not"), "{:?}", back.fields);
    running.engine.stop(LONG).unwrap();
}

#[test]
fn a_slow_step_of_one_application_keeps_no_other_one_waiting() {
    let (slow, quick) = (Site::start(&SiteOptions::default()).unwrap(), Site::start(&SiteOptions::default()).unwrap());
    let (entered, gate) = (slow.lab.path("entered"), slow.lab.path("gate"));
    let script = format!("#!/bin/sh\ntouch {}\nwhile [ ! -e {} ]; do sleep 0.05; done\n", entered.display(), gate.display());
    let script = slow.lab.write("slow", script, 0o700).unwrap();
    let block = std::fs::read_to_string(&slow.config).unwrap();
    let block = &block[block.find("[[services]]").unwrap()..];
    let text = format!(
        "{}\n{}\n[[services.route.command]]\nname = \"vip\"\ncommand = [\"{}\"]\ntimeout = \"60s\"\n",
        std::fs::read_to_string(&quick.config).unwrap(),
        block.replacen("name = \"web\"", "name = \"slow\"", 1),
        script.display()
    );
    std::fs::write(&quick.config, text).unwrap();
    let running = Running::start(&quick);
    support::lab::wait_until("readiness", LONG, || {
        let status = running.engine.status();
        let ready = status.services.iter().all(|service| service.forecast.would_fail_over && service.state == "normal");
        Ok(ready.then_some(()))
    })
    .unwrap();
    slow.servers[0].kill();
    support::lab::wait_until("the slow step", LONG, || Ok(entered.exists().then_some(()))).unwrap();
    quick.servers[0].kill();
    let done = running.wait_kind(EventKind::FailoverCompleted);
    assert_eq!(done.service.as_deref(), Some("web"));
    assert_eq!(running.engine.status().services[1].state, "failover_in_progress", "its step is still under way");
    std::fs::write(&gate, "").unwrap();
    let done = running.wait_kind(EventKind::FailoverCompleted);
    assert_eq!(done.service.as_deref(), Some("slow"));
    running.engine.stop(LONG).unwrap();
}
