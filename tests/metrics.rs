//! The numbers: as Prometheus reads them, and after failovers of real servers.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::made::made;
use crate::support::lab::wait_until;
use crate::support::pair::{Pair, PairOptions};
use crate::support::prometheus;
use failover::{
    BreakerStatus, CheckStatus, Config, DelayBucket, DelayStatus, Engine, EventKind, FailoverStatus, ForecastStatus,
    MetricsStatus, PhaseStatus, ServerStatus, ServiceStatus, SpansStatus, Status, ThreadStatus, VerdictCounts, metrics_details,
    metrics_text,
};

const LONG: Duration = Duration::from_secs(60);

fn counts(list: &[(&str, u64)]) -> BTreeMap<String, u64> {
    list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn every_line_is_what_the_format_allows_also_with_names_that_are_not() {
    let spans = made!(SpansStatus { count: 2, mean_ms: Some(75.0), longest_ms: 100.0, last_ms: Some(50.0), sum_ms: 150.0 });
    let service = made!(ServiceStatus {
        name: "or\"de\\rs\n{x=\"1\"} 5".to_owned(),
        state: "failed_over".to_owned(),
        primary: Some("db2".to_owned()),
        generation: 2,
        forecast: made!(ForecastStatus { would_fail_over: true, loss_bytes: Some(72), ..ForecastStatus::default() }),
        cooldown_ms: 1_500,
        servers: vec![made!(ServerStatus {
            name: "db2".to_owned(),
            checks: vec![made!(CheckStatus {
                name: "db2/postgres".to_owned(),
                answers: made!(VerdictCounts { up: 7, impaired: 1, down: 2, unknown: 3 }),
                ..CheckStatus::default()
            })],
            ..ServerStatus::default()
        })],
        failover: Some(made!(FailoverStatus {
            outcome: "completed".to_owned(),
            total_ms: Some(210.5),
            loss_bytes: Some(0),
            phases: vec![made!(PhaseStatus { name: "confirm".to_owned(), took_ms: 50.25 })],
            ..FailoverStatus::default()
        })),
        metrics: made!(MetricsStatus {
            failovers: counts(&[("completed", 2), ("rolled_back", 1)]),
            verified: 2,
            success_rate: Some(2.0 / 3.0),
            mttd: spans,
            judged: counts(&[("justified", 2), ("false_positive", 1), ("unknown", 0)]),
            false_positive_rate: Some(1.0 / 3.0),
            refusals: counts(&[("cooldown", 4)]),
            ..MetricsStatus::default()
        }),
        ..ServiceStatus::default()
    });
    let breaker = made!(BreakerStatus {
        service: service.name.clone(),
        server: Some("db1".to_owned()),
        dependency: "ssh".to_owned(),
        state: "half_open".to_owned(),
        ..BreakerStatus::default()
    });
    let name = service.name.clone();
    let bucket = |le_ms, count| made!(DelayBucket { le_ms, count });
    let delays = made!(DelayStatus { count: 9, sum_us: 12_500, buckets: vec![bucket(1, 7), bucket(5, 8)] });
    let status = made!(Status {
        version: "0.1.0".to_owned(),
        services: vec![service],
        breakers: vec![breaker],
        threads: made!(ThreadStatus { start_delay: delays, ..ThreadStatus::default() }),
        ..Status::default()
    });
    let text = metrics_details(&status);
    let samples = prometheus::read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let of = |metric: &str, labels: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> = [("service", name.as_str())].iter().chain(labels).copied().collect();
        prometheus::value(&samples, metric, &all)
    };
    assert_eq!(of("failover_failovers_total", &[("outcome", "completed")]), Some(2.0));
    assert_eq!(of("failover_judged_total", &[("verdict", "justified")]), Some(2.0));
    assert_eq!(of("failover_false_positives_total", &[]), Some(1.0));
    assert_eq!(of("failover_refusals_total", &[("refusal", "cooldown")]), Some(4.0));
    assert_eq!(of("failover_checks_total", &[("verdict", "down")]), Some(2.0));
    let answers =
        |verdict| of("failover_check_answers_total", &[("server", "db2"), ("check", "db2/postgres"), ("verdict", verdict)]);
    assert_eq!([answers("up"), answers("unknown")], [Some(7.0), Some(3.0)]);
    assert_eq!(of("failover_detect_seconds_sum", &[]), Some(0.15));
    assert_eq!(of("failover_detect_seconds_count", &[]), Some(2.0));
    assert_eq!(of("failover_repair_seconds_count", &[]), Some(0.0));
    assert_eq!(of("failover_last_phase_seconds", &[("phase", "confirm")]), Some(0.050_25));
    assert_eq!(of("failover_last_seconds", &[]), Some(0.210_5));
    assert_eq!(of("failover_service_state", &[("state", "failed_over")]), Some(1.0));
    assert_eq!(of("failover_service_state", &[("state", "normal")]), None);
    assert_eq!(of("failover_primary", &[("server", "db2")]), Some(1.0));
    assert_eq!(of("failover_breakers_open", &[]), Some(1.0));
    assert_eq!(of("failover_forecast_ready", &[]), Some(1.0));
    assert_eq!(of("failover_forecast_loss_bytes", &[]), Some(72.0));
    assert_eq!(of("failover_breaker_state", &[("server", "db1"), ("dependency", "ssh")]), Some(1.0));
    assert_eq!(prometheus::parsed(&text), samples, "what Prometheus' own client reads is the same");
    assert_eq!(prometheus::parsed(&metrics_text(&status)), prometheus::read(&metrics_text(&status)).unwrap());
    let delay = |suffix: &str, labels: &[(&str, &str)]| {
        prometheus::value(&samples, &format!("failover_check_start_delay_seconds{suffix}"), labels)
    };
    let within: Vec<_> = ["0.001", "0.005", "+Inf"].iter().map(|bound| delay("_bucket", &[("le", bound)])).collect();
    assert_eq!(within, [Some(7.0), Some(8.0), Some(9.0)]);
    assert_eq!((delay("_sum", &[]), delay("_count", &[])), (Some(0.0125), Some(9.0)));
    // What cannot be said is not said.
    let nothing = made!(Status {
        services: vec![made!(ServiceStatus { name: "new".to_owned(), ..ServiceStatus::default() })],
        ..Status::default()
    });
    let samples = prometheus::read(&metrics_text(&nothing)).unwrap();
    for absent in
        ["failover_success_ratio", "failover_false_positive_ratio", "failover_forecast_loss_bytes", "failover_last_seconds"]
    {
        assert_eq!(prometheus::value(&samples, absent, &[]), None, "{absent}");
    }
}

#[test]
fn what_is_scraped_grows_with_the_services_and_not_with_their_checks() {
    let fleet = |services: usize, servers: usize| {
        let check = |name: String| made!(CheckStatus { name, ..CheckStatus::default() });
        let server = |name: String| {
            let checks = vec![check(format!("{name}/http")), check(format!("{name}/tcp"))];
            made!(ServerStatus { name, checks, ..ServerStatus::default() })
        };
        let failovers =
            counts(&[("completed", 1_000), ("manual_intervention", 1_000), ("rolled_back", 1_000), ("stopped", 1_000)]);
        let judged = counts(&[("justified", 1_000), ("false_positive", 1_000), ("unknown", 1_000)]);
        let metrics = made!(MetricsStatus { failovers, judged, ..MetricsStatus::default() });
        let service = |number: usize| {
            made!(ServiceStatus {
                name: format!("application{number:03}"),
                state: "normal".to_owned(),
                primary: Some("server0".to_owned()),
                servers: (0..servers).map(|place| server(format!("server{place}"))).collect(),
                metrics: metrics.clone(),
                ..ServiceStatus::default()
            })
        };
        made!(Status { services: (0..services).map(service).collect(), ..Status::default() })
    };
    let size = |services, servers| metrics_text(&fleet(services, servers)).len();
    let of_each = (size(1_000, 3) - size(100, 3)) / 900;
    assert!(of_each <= 1_900, "{of_each} bytes for each service");
    assert_eq!(size(100, 3), size(100, 20));
    assert!(metrics_details(&fleet(100, 20)).len() > 4 * size(100, 20), "the details have them all");
}

#[test]
fn the_reader_of_the_format_is_strict() {
    let good = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c\\n\"} 1\n";
    assert_eq!(prometheus::read(good).unwrap()[0].labels["b"], "c\n");
    for (from, to) in [
        ("b=\"c\\n\"", "b=\"c\\x\""),
        ("b=\"c\\n\"", "b=\"c"),
        ("b=\"c\\n\"", "1b=\"c\""),
        ("b=\"c\\n\"", "b=\"c\",b=\"d\""),
        ("} 1\n", "} 1"),
        ("} 1\n", "} NaN\n"),
        ("} 1\n", "} -1\n"),
        ("} 1\n", "}  1\n"),
        ("} 1\n", "} 1\na_total{b=\"c\\n\"} 2\n"),
        ("TYPE a_total counter", "TYPE a_total gauge"),
        ("# HELP a_total x\n", ""),
        ("\na_total{", "\nb_total{"),
    ] {
        assert!(prometheus::read(&good.replacen(from, to, 1)).is_err(), "{from:?} -> {to:?}");
    }
}

fn ready(pair: &Pair) -> Engine {
    let engine = Engine::new(Config::load(&pair.config).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
    engine.start().unwrap();
    wait_until("a failover would go through", LONG, || Ok(engine.status().services[0].forecast.would_fail_over.then_some(())))
        .unwrap_or_else(|error| panic!("{error}: {:#?}", engine.status().services[0].forecast));
    engine
}

fn failed_over(engine: &Engine) -> MetricsStatus {
    let ended = || Ok((engine.status().services[0].state == "failed_over").then_some(()));
    wait_until("the failover", LONG, ended).unwrap_or_else(|error| panic!("{error}: {:#?}", engine.status().services[0]));
    engine.status().services.remove(0).metrics
}

#[test]
fn a_killed_primary_was_needed_and_the_numbers_outlive_the_engine() {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| ()).unwrap();
    let engine = ready(&pair);
    let before = engine.status().services.remove(0).metrics;
    assert_eq!((before.success_rate, before.mttd.count), (None, 0));
    pair.db1.kill_postmaster().unwrap();
    let metrics = failed_over(&engine);
    assert_eq!(metrics.failovers["completed"], 1);
    assert_eq!((metrics.verified, metrics.success_rate, metrics.false_positive_rate), (1, Some(1.0), Some(0.0)));
    let (detected, repaired) = (metrics.mttd.last_ms.unwrap(), metrics.mttr.last_ms.unwrap());
    assert!(0.0 < detected && detected < repaired, "{metrics:#?}");
    let failover = engine.status().services.remove(0).failover.unwrap();
    assert!((failover.total_ms.unwrap() - repaired).abs() < 1.0, "{failover:#?}");
    assert_eq!(metrics.judged, counts(&[("justified", 1), ("false_positive", 0), ("unknown", 0)]));
    assert!(metrics.last.as_ref().unwrap().why.contains("gone"), "{metrics:#?}");
    let text = engine.metrics_text();
    let samples = prometheus::read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let of = |name: &str, labels: &[(&str, &str)]| prometheus::value(&samples, name, labels);
    assert_eq!(of("failover_failovers_total", &[("service", "orders"), ("outcome", "completed")]), Some(1.0));
    assert_eq!(of("failover_repair_seconds_count", &[]), Some(1.0));
    assert_eq!(of("failover_primary", &[("server", "db2")]), Some(1.0));
    engine.stop(LONG).unwrap();

    let next = Engine::new(Config::load(&pair.config).unwrap()).unwrap();
    next.start().unwrap();
    let known = next.status().services.remove(0).metrics;
    assert_eq!((known.failovers, known.mttd, known.mttr), (metrics.failovers, metrics.mttd, metrics.mttr));
    assert_eq!((known.judged, known.last), (metrics.judged, metrics.last));
    next.stop(LONG).unwrap();
}

#[test]
fn a_hung_primary_was_alive_and_did_not_serve() {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| ()).unwrap();
    let engine = ready(&pair);
    pair.db1.freeze().unwrap();
    let metrics = failed_over(&engine);
    assert_eq!(metrics.judged, counts(&[("justified", 1), ("false_positive", 0), ("unknown", 0)]));
    assert!(metrics.last.as_ref().unwrap().why.contains("stopped"), "{metrics:#?}");
    assert!(metrics.mttd.last_ms.unwrap() > 3_000.0, "silence is a time: {metrics:#?}");
    engine.stop(LONG).unwrap();
}

#[test]
fn a_hung_primary_that_wakes_before_its_fence_is_left_alone() {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| ()).unwrap();
    let engine = Engine::new(Config::load(&pair.config).unwrap()).unwrap();
    // The failover is held up before its first step, until the primary was seen to serve.
    engine.offer_action("pre_checks").unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    wait_until("ready", LONG, || Ok(engine.status().services[0].forecast.would_fail_over.then_some(()))).unwrap();
    let frozen = pair.db1.freeze().unwrap();
    let event = |wanted: EventKind, server: Option<&str>| {
        wait_until(wanted.as_str(), LONG, || {
            let event = queue.next(Duration::from_millis(200));
            Ok(event.filter(|event| event.kind == wanted && (server.is_none() || event.server.as_deref() == server)))
        })
        .unwrap()
    };
    let task = event(EventKind::TaskAction, None).fields["task_id"].as_u64().unwrap();
    pair.db1.thaw(&frozen);
    let told = event(EventKind::FailoverFailed, None);
    assert!(told.message.contains("db1 answers again"), "{}", told.message);
    event(EventKind::RolledBack, None);
    // Whatever the task says now, nobody waits for it any more.
    let _ = engine.complete_task(task, failover::TaskAnswer::Action(failover::ActionAnswer::Done("checked".into())));
    let status = &engine.status().services[0];
    assert_eq!((status.primary.as_deref(), status.state.as_str()), (Some("db1"), "normal"));
    assert!(pair.db1.is_primary().unwrap());
    engine.stop(LONG).unwrap();
}

#[test]
fn a_server_that_cannot_be_surveyed_is_left_alone_and_everybody_hears_of_it() {
    let state = tempfile::tempdir().unwrap();
    let text = format!(
        r#"
version = 1
state_dir = "{}"
engine.breaker.failure_threshold = 1
[[services]]
name = "orders"
[[services.servers]]
name = "db1"
role = "primary"
host = "127.0.0.1"
port = 1
[[services.servers]]
name = "db2"
host = "127.0.0.1"
port = 2
"#,
        state.path().display()
    );
    let engine = Engine::new(Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let mut told = BTreeMap::new();
    wait_until("both breakers", LONG, || {
        let event = queue.next(Duration::from_millis(200)).filter(|event| event.kind == EventKind::BreakerChanged);
        told.extend(event.map(|event| (event.server.clone(), event.message.clone())));
        Ok((told.len() == 2).then_some(()))
    })
    .unwrap();
    assert!(told.values().all(|message| message.contains("a failover asks it all the same")), "{told:?}");
    let status = engine.status();
    let states: Vec<(&str, &str)> =
        status.breakers.iter().map(|breaker| (breaker.dependency.as_str(), breaker.state.as_str())).collect();
    assert_eq!(states, [("sql", "open"), ("sql", "open")], "{:?}", status.breakers);
    let found = status.services[0].readiness.iter().filter(|finding| finding.code == "breaker_open");
    assert!(found.clone().count() == 2 && found.clone().all(|finding| !finding.blocking && !finding.remedy.is_empty()));
    let samples = prometheus::read(&engine.metrics_text()).unwrap();
    assert_eq!(prometheus::value(&samples, "failover_breakers_open", &[]), Some(2.0));
    let samples = prometheus::read(&metrics_details(&engine.status_of("orders").unwrap())).unwrap();
    assert_eq!(prometheus::value(&samples, "failover_breaker_state", &[("server", "db1")]), Some(2.0));
    // The checks go on all the while.
    let answers = || engine.status().services[0].servers[0].checks[0].answers.down;
    let so_far = answers();
    wait_until("another check", LONG, || Ok((answers() > so_far).then_some(()))).unwrap();
    engine.stop(LONG).unwrap();
}

/// In front of a server: takes every connection, and passes none on until it is mended.
struct Swallower {
    port: u16,
    mended: Arc<AtomicBool>,
}

impl Swallower {
    fn start(server: u16) -> Swallower {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mended = Arc::new(AtomicBool::new(false));
        let passes = Arc::clone(&mended);
        std::thread::spawn(move || {
            let mut swallowed = Vec::new();
            for client in listener.incoming().map_while(Result::ok) {
                if !passes.load(Ordering::SeqCst) {
                    swallowed.push(client);
                } else if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                    let ways = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                    for (mut from, mut to) in ways.into_iter().map(|(from, to)| (from.unwrap(), to.unwrap())) {
                        std::thread::spawn(move || {
                            let _ = io::copy(&mut from, &mut to);
                            let _ = to.shutdown(Shutdown::Both);
                        });
                    }
                }
            }
        });
        Swallower { port, mended }
    }
}

#[test]
fn a_host_that_swallows_connections_and_a_route_that_is_gone_are_left_alone_until_they_are_mended() {
    let mut pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| ()).unwrap();
    let gate = Swallower::start(pair.ssh1.port());
    let known = std::fs::read_to_string(pair.ssh1.known_hosts()).unwrap();
    let known = format!("{known}[127.0.0.1]:{} {}\n", gate.port, pair.ssh1.host_key());
    pair.lab.write(pair.ssh1.known_hosts(), known, 0o600).unwrap();
    let text = std::fs::read_to_string(&pair.config).unwrap();
    let direct = format!("ssh = {{ port = {} }}", pair.ssh1.port());
    assert!(text.contains(&direct), "{text}");
    let text = text.replace(&direct, &format!("ssh = {{ port = {} }}", gate.port)).replacen(
        "version = 1\n",
        "version = 1\nengine.breaker = { failure_threshold = 1, recovery_timeout = \"1s\", half_open_requests = 1 }\n",
        1,
    );
    pair.haproxy.process().signal(rustix::process::Signal::KILL);
    pair.haproxy.process().wait(LONG).expect("a killed process ends");
    std::fs::remove_file(pair.haproxy.socket()).unwrap();

    let engine = Engine::new(Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    let told = |open: bool| {
        let mut told = BTreeMap::new();
        let all = wait_until("both breakers", LONG, || {
            let event = queue.next(Duration::from_millis(200)).filter(|event| event.kind == EventKind::BreakerChanged);
            let news = event.filter(|event| event.fields["open"] == open);
            told.extend(news.map(|event| (event.fields["dependency"].as_str().unwrap().to_owned(), event)));
            Ok((told.len() == 2).then_some(()))
        });
        all.unwrap_or_else(|error| panic!("{error}: {told:#?}\n{:#?}", engine.status().breakers));
        told
    };
    let state = |way: &str, server: Option<&str>| {
        let status = engine.status();
        let found = status.breakers.iter().find(|one| one.dependency == way && one.server.as_deref() == server);
        found.map(|breaker| breaker.state.clone()).unwrap_or_default()
    };
    let findings = || -> Vec<(Option<String>, String)> {
        let found = engine.status().services.remove(0).readiness.into_iter().filter(|finding| finding.code == "breaker_open");
        found.map(|finding| (finding.server, finding.message)).collect()
    };
    let opened = told(true);
    assert_eq!(opened.keys().collect::<Vec<_>>(), ["route", "ssh"]);
    assert_eq!(opened["ssh"].server.as_deref(), Some("db1"));
    assert!(
        opened
            .values()
            .all(|event| event.severity.as_str() == "warning" && event.message.contains("a failover asks it all the same"))
    );
    wait_until("both findings", LONG, || {
        let found = findings();
        let of = |server: Option<&str>| found.iter().any(|(about, _)| about.as_deref() == server);
        Ok((of(Some("db1")) && of(None)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}", engine.status().breakers));
    assert_eq!((state("sql", Some("db1")), state("ssh", Some("db2"))), ("closed".to_owned(), "closed".to_owned()));
    // Nothing is mended before they are half-open: one trial that fails opens them again, and the next one is due.
    for (way, server) in [("ssh", Some("db1")), ("route", None)] {
        wait_until("half-open", LONG, || Ok((state(way, server) == "half_open").then_some(()))).unwrap();
    }
    assert!(!engine.status().services[0].forecast.would_fail_over);

    gate.mended.store(true, Ordering::SeqCst);
    pair.haproxy.restart(&pair.lab).unwrap();
    let closed = told(false);
    assert!(closed.values().all(|event| event.severity.as_str() == "info" && event.message.contains("is surveyed as before")));
    assert_eq!((state("ssh", Some("db1")), state("route", None)), ("closed".to_owned(), "closed".to_owned()));
    assert_eq!(findings(), []);
    wait_until("ready", LONG, || Ok(engine.status().services[0].forecast.would_fail_over.then_some(())))
        .unwrap_or_else(|error| panic!("{error}: {:#?}", engine.status().services[0].forecast));
    engine.stop(LONG).unwrap();
}
