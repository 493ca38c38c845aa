//! An application that follows its database, on a real PostgreSQL pair and real load balancers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::web::get;
use crate::support::{Pair, PairOptions, Site, SiteOptions};
use failover::{Config, Engine, EngineEvent, EventKind, EventQueue};

const LONG: Duration = Duration::from_secs(90);

struct Both {
    site: Site,
    pair: Pair,
    config: PathBuf,
    /// What the command said, a line for each run.
    log: PathBuf,
}

impl Both {
    /// A pair and a site, and one configuration for both; `command` is a script that the application follows with.
    fn start(command: &str, with: bool) -> Both {
        let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
        let site = Site::start(&SiteOptions { balancers: 1, ..SiteOptions::default() }).unwrap();
        let log = site.lab.path("followed");
        let script = site.lab.write("repoint", format!("#!/bin/sh\nlog={}\n{command}\n", log.display()), 0o700).unwrap();
        let with = if with { "with = { db1 = \"app1\", db2 = \"app2\" }\n" } else { "" };
        let follows = format!("\n[services.follows]\nservice = \"orders\"\ncommand = [\"{}\"]\n{with}\n", script.display());
        let text = std::fs::read_to_string(&site.config).unwrap();
        let (_, application) = text.split_once("[[services]]").unwrap();
        let application = application.replacen("\n[services.trigger]", &format!("{follows}\n[services.trigger]"), 1);
        let whole = format!("{}\n[[services]]{application}", std::fs::read_to_string(&pair.config).unwrap());
        let config = pair.lab.write("both.toml", whole, 0o600).unwrap();
        Both { site, pair, config, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn assert_answers(&self, server: &str) {
        let front = self.site.balancers[0].front();
        assert_eq!(get(front, Duration::from_secs(5)).unwrap(), (200, server.to_owned()));
    }
}

struct Running {
    engine: Engine,
    queue: EventQueue,
    told: Mutex<Vec<Arc<EngineEvent>>>,
}

impl Running {
    fn start(both: &Both) -> Running {
        let config = Config::load(&both.config).unwrap_or_else(|errors| panic!("{errors}"));
        let engine = Engine::new(config).unwrap();
        let queue = engine.queue().unwrap();
        engine.start().unwrap();
        Running { engine, queue, told: Mutex::default() }
    }

    fn wait_ready(&self) {
        let until = Instant::now() + LONG;
        while !self.engine.status().services.iter().all(|service| {
            service.forecast.would_fail_over
                && service.state == "normal"
                && service.follows.as_ref().is_none_or(|follows| follows.followed.is_some())
        }) {
            assert!(Instant::now() < until, "never ready: {:#?}", self.engine.status());
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

    fn wait_followed(&self) {
        self.wait("it has followed", |event| event.message.starts_with("web has followed orders to"));
    }

    /// How often a failover of a service was begun.
    fn begun(&self, service: &str) -> usize {
        let told = self.told.lock().unwrap();
        told.iter().filter(|event| event.kind == EventKind::FailoverStarted && event.service.as_deref() == Some(service)).count()
    }

    fn primaries(&self) -> Vec<Option<String>> {
        self.engine.status().services.iter().map(|service| service.primary.clone()).collect()
    }
}

fn both_moved() -> Vec<Option<String>> {
    vec![Some("db2".to_owned()), Some("app2".to_owned())]
}

#[test]
fn an_application_follows_its_database_in_order_and_an_engine_that_comes_back_knows_it() {
    // The first time it fails, as if whom it tells were away.
    let command = "printf '%s ' $FAILOVER_SERVICE $FAILOVER_STEP $FAILOVER_FOLLOWED_SERVICE $FAILOVER_FOLLOWED_SERVER \
                   $FAILOVER_FOLLOWED_PORT $FAILOVER_GENERATION $FAILOVER_IDEMPOTENCY_KEY >> $log; echo >> $log\n\
                   test -e $log.again || { touch $log.again; echo nobody there; exit 3; }\necho told";
    let both = Both::start(command, true);
    let running = Running::start(&both);
    running.wait_ready();
    both.assert_answers("app1");
    both.pair.db1.kill_all();
    let failed =
        running.wait("the command fails", |event| event.kind == EventKind::StepFinished && event.fields["step"] == "follow");
    assert!(failed.message.contains("nobody there"), "{}", failed.message);
    let status = running.engine.status();
    let follows = status.services[1].follows.as_ref().unwrap();
    assert_eq!((follows.following.as_deref(), follows.service.as_str()), (Some("db2"), "orders"));
    running.wait_followed();
    let line = format!("web follow orders db2 {} 1 web/orders/1/follow/db2 \n", both.pair.db2.port());
    assert_eq!(both.log(), line.repeat(2));
    assert_eq!(running.primaries(), both_moved());
    both.assert_answers("app2");
    // In order: the database is verified, the command is done, the application moves.
    let told = running.told.lock().unwrap().clone();
    let at = |fits: &dyn Fn(&EngineEvent) -> bool| told.iter().position(|event| fits(event)).unwrap();
    let database = at(&|event| event.kind == EventKind::FailoverCompleted && event.service.as_deref() == Some("orders"));
    let command =
        at(&|event| event.kind == EventKind::StepFinished && event.fields["step"] == "follow" && event.fields["ok"] == true);
    let switch = at(&|event| event.kind == EventKind::FailoverStarted && event.service.as_deref() == Some("web"));
    assert!(database < command && command < switch, "{database} {command} {switch}");
    running.engine.stop(LONG).unwrap();
    drop(running);

    let again = Running::start(&both);
    let until = Instant::now() + LONG;
    while again.primaries() != both_moved() || again.engine.status().services[1].servers.iter().any(|one| one.health != "healthy")
    {
        assert!(Instant::now() < until, "never well: {:#?}", again.engine.status());
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = again.engine.status();
    let follows = status.services[1].follows.clone().unwrap();
    assert_eq!((follows.followed.as_deref(), follows.following), (Some("db2"), None));
    again.engine.stop(LONG).unwrap();
    assert_eq!(both.log().lines().count(), 2, "nothing is done twice");
}

#[test]
fn what_takes_both_at_once_is_handled_once() {
    let both = Both::start("echo told >> $log", false);
    let running = Running::start(&both);
    running.wait_ready();
    both.site.servers[0].kill();
    both.pair.db1.kill_all();
    let done = |service: &'static str| {
        move |event: &EngineEvent| event.kind == EventKind::FailoverCompleted && event.service.as_deref() == Some(service)
    };
    running.wait("the application moves", done("web"));
    assert_eq!(running.primaries(), both_moved());
    assert_eq!((running.begun("orders"), running.begun("web")), (1, 1));
    assert_eq!(both.log(), "told\n", "and the database came first");
    both.assert_answers("app2");
    running.engine.stop(LONG).unwrap();
}
