//! What `failover check`, `doctor`, `validate` and `replay` find, asked of the library.

use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::support::queue::wait_for;
use failover::{
    CheckSummary, Config, DecisionRecord, DoctorReport, Engine, EngineError, EventKind, HostAnswer, TaskAnswer, Validation,
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(60);

/// An application whose one check is this, in TOML; and the beginning of another service.
fn config(state: &Path, check: &str) -> String {
    format!(
        r#"
version = 1
state_dir = "{}"
[[services]]
name = "web"
kind = "application"
[[services.servers]]
name = "web1"
role = "primary"
host = "127.0.0.1"
[[services.checks]]
name = "page"
server = "web1"
timeout = "30s"
{check}
"#,
        state.display()
    )
}

const OTHER: &str = r#"
[[services]]
name = "shop"
kind = "application"
[[services.servers]]
name = "shop1"
role = "primary"
host = "127.0.0.1"
[[services.checks]]
name = "door"
server = "shop1"
kind = "scripted"
answers = ["down"]
"#;

fn engine(text: &str) -> Engine {
    Engine::new(Config::parse_toml(text).unwrap_or_else(|errors| panic!("{errors}"))).unwrap()
}

/// A server that takes connections and never says a word, and what tells that somebody came.
fn silent() -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("kind = \"http\"\nurl = \"http://{}/\"", listener.local_addr().unwrap());
    let (came, comes) = channel();
    std::thread::spawn(move || {
        // Kept open until the test is over.
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            kept.push(stream);
            if came.send(()).is_err() {
                return;
            }
        }
    });
    (url, comes)
}

#[test]
fn the_summary_of_a_check_says_everything_by_service() {
    let state = tempfile::tempdir().unwrap();
    let engine = engine(&(config(state.path(), "kind = \"scripted\"\nanswers = [\"up\"]") + OTHER));
    let report = engine.check_all(LONG).unwrap();
    let summary = report.summary();
    assert!(!summary.all_up && !report.all_up(), "shop is down");
    let verdicts: Vec<(&str, &str)> =
        summary.checks.iter().map(|check| (check.service.as_str(), check.verdict.as_str())).collect();
    assert_eq!(verdicts, [("web", "up"), ("shop", "down")]);
    let value = serde_json::to_value(&summary).unwrap();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["all_up", "checks", "forecasts", "readiness", "ready"]);
    assert_eq!(serde_json::from_value::<CheckSummary>(value).unwrap(), summary);
    engine.stop(LONG).unwrap();
}

#[test]
fn a_finding_stands_beside_its_service_and_one_of_the_engine_beside_none() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let engine = engine(&config(&file, "kind = \"scripted\"\nanswers = [\"up\"]"));
    let report = engine.check_all(LONG).unwrap();
    let value = serde_json::to_value(report.summary()).unwrap();
    assert_eq!(value["ready"], json!(false), "{value}");
    assert_eq!((&value["readiness"][0]["service"], &value["readiness"][0]["code"]), (&Value::Null, &json!("state_dir_unusable")));
    let doctor = engine.doctor(None, LONG).unwrap();
    assert!(!doctor.ready && doctor.findings[0].code == "state_dir_unusable", "{doctor:?}");
}

#[test]
fn the_doctor_asks_the_one_service_that_is_named() {
    let state = tempfile::tempdir().unwrap();
    let engine = engine(&(config(state.path(), "kind = \"scripted\"\nanswers = [\"up\"]") + OTHER));
    for name in [None, Some("shopp")] {
        let Err(EngineError::InvalidArgument(why)) = engine.doctor(name, LONG) else { panic!("{name:?} was found") };
        assert!(why.ends_with("name one of: web, shop"), "{why}");
    }
    let shop = engine.doctor(Some("shop"), LONG).unwrap();
    let found = shop.findings.iter().find(|finding| finding.code == "check_not_up").unwrap();
    assert_eq!((shop.service.as_str(), shop.ready, found.server.as_deref()), ("shop", false, Some("shop1")));
    assert!(shop.forecast.is_none(), "nothing moves it: {shop:?}");
    let web = engine.doctor(Some("web"), LONG).unwrap();
    assert!(web.findings.iter().all(|finding| finding.code != "check_not_up"), "{web:?}");
    let value = serde_json::to_value(&web).unwrap();
    assert_eq!(serde_json::from_value::<DoctorReport>(value).unwrap(), web);
}

#[test]
fn a_check_that_is_not_over_in_time_says_so_and_is_no_half_report() {
    let state = tempfile::tempdir().unwrap();
    let (check, _came) = silent();
    let engine = engine(&config(state.path(), &check));
    let outcome = engine.check_all(Duration::from_millis(50));
    assert!(matches!(&outcome, Err(error @ EngineError::Timeout(..)) if error.is_retriable()), "{outcome:?}");
    assert!(matches!(engine.check_all(Duration::ZERO), Err(EngineError::Timeout(..))));
    // Whoever asked of one service already is not told to ask of one.
    let doctor = engine.doctor(None, Duration::from_millis(50)).unwrap_err().to_string();
    assert!(outcome.unwrap_err().to_string().contains("one service alone (doctor)") && !doctor.contains("(doctor)"), "{doctor}");
    engine.stop(LONG).unwrap();
}

#[test]
fn a_stop_ends_a_check_and_no_other_one_begins() {
    let state = tempfile::tempdir().unwrap();
    let (check, came) = silent();
    for started in [false, true] {
        let engine = engine(&config(state.path(), &check));
        if started {
            engine.start().unwrap();
            came.recv_timeout(LONG).unwrap();
        }
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| engine.check_all(LONG * 60));
            let waits = scope.spawn(|| engine.doctor(None, LONG * 60).map(drop));
            came.recv_timeout(LONG).unwrap();
            engine.request_stop();
            assert!(matches!(looks.join().unwrap(), Err(EngineError::State(_))));
            assert!(matches!(waits.join().unwrap(), Err(EngineError::State(_))));
        });
        engine.stop(LONG).unwrap();
        assert!(matches!(engine.check_all(LONG), Err(EngineError::State(_))));
    }
}

#[test]
fn a_function_of_the_program_is_asked_and_may_not_ask_back() {
    let state = tempfile::tempdir().unwrap();
    let engine = Arc::new(engine(&config(state.path(), "kind = \"host\"")));
    assert!(engine.check_all(LONG).unwrap().all_up(), "nobody answers it here: that is no failure");
    let back: Arc<OnceLock<Weak<Engine>>> = Arc::default();
    back.set(Arc::downgrade(&engine)).unwrap();
    engine
        .register_check("page", move |_| {
            let engine = back.get().and_then(Weak::upgrade).unwrap();
            match (engine.check_all(LONG), engine.stop(LONG)) {
                (Err(EngineError::Reentrant), Err(EngineError::Reentrant)) => HostAnswer::Down("it says no".to_owned()),
                (check, stop) => HostAnswer::Unknown(format!("{check:?} {stop:?}")),
            }
        })
        .unwrap();
    let report = engine.check_all(LONG).unwrap();
    assert_eq!((report.checks[0].verdict.as_str(), report.checks[0].message.as_str()), ("down", "it says no"));
    engine.stop(LONG).unwrap();
}

#[test]
fn beside_a_running_engine_the_answer_to_a_task_counts_as_it_was_last_given() {
    let state = tempfile::tempdir().unwrap();
    let engine = engine(&config(state.path(), "kind = \"host\"\ninterval = \"50ms\""));
    engine.offer_check("page").unwrap();
    assert_eq!(engine.check_all(LONG).unwrap().checks[0].verdict, "unknown");
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    for (answer, verdict) in [(HostAnswer::Down("it says no".to_owned()), "down"), (HostAnswer::Up(String::new()), "up")] {
        // Before it has answered this one it is not asked again.
        let task = wait_for(&queue, "a task", LONG, |event| event.kind == EventKind::TaskCheck);
        engine.complete_task(task.fields["task_id"].as_u64().unwrap(), TaskAnswer::Check(answer)).unwrap();
        wait_for(&queue, "its answer", LONG, |event| event.kind == EventKind::Observed);
        let report = engine.check_all(LONG).unwrap();
        assert_eq!(report.checks[0].verdict, verdict);
        assert_eq!(report.all_up(), verdict == "up");
    }
    engine.stop(LONG).unwrap();
}

#[test]
fn a_stop_waits_for_a_function_that_a_check_called() {
    let state = tempfile::tempdir().unwrap();
    let engine = engine(&config(state.path(), "kind = \"host\""));
    let (called, is_called) = channel();
    let (release, released) = channel::<()>();
    let inside = std::sync::Mutex::new(released);
    engine
        .register_check("page", move |_| {
            let _ = called.send(());
            let _ = inside.lock().unwrap().recv();
            HostAnswer::Up(String::new())
        })
        .unwrap();
    assert!(matches!(engine.check_all(Duration::from_millis(50)), Err(EngineError::Timeout(..))));
    is_called.recv_timeout(LONG).unwrap();
    let stopped = engine.stop(Duration::ZERO);
    assert!(matches!(&stopped, Err(EngineError::Timeout(_, who)) if who.contains("fo-check")), "{stopped:?}");
    drop(release);
    engine.stop(LONG).unwrap();
}

#[test]
fn a_validation_has_every_mistake_and_every_warning() {
    let state = tempfile::tempdir().unwrap();
    let text = config(state.path(), "kind = \"scripted\"\nanswers = [\"up\"]");
    let good = Validation::of(&Config::parse_toml(&text), None);
    assert!(good.valid && good.file.is_none() && good.errors.is_empty(), "{good:?}");
    let bad = Validation::of(&Config::parse_toml("version = 1\nservces = 1\n"), Some("x.toml".to_owned()));
    assert!(!bad.valid && bad.errors.iter().any(|error| error.path == "/servces"), "{bad:?}");
    let value = serde_json::to_value(&bad).unwrap();
    assert_eq!(value["file"], "x.toml");
    assert_eq!(serde_json::from_value::<Validation>(value).unwrap(), bad);
}

#[test]
fn the_configuration_in_force_is_that_of_the_last_reload_and_shows_no_secret() {
    let state = tempfile::tempdir().unwrap();
    let database = |name: &str| {
        format!(
            "version = 1\nstate_dir = \"{}\"\n[[services]]\nname = \"{name}\"\n[services.connection]\nuser = \"probe\"\npassword = \"hunter-of-two\"\n\
             [[services.servers]]\nname = \"db1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\nport = 1\n[[services.servers]]\nname = \"db2\"\nhost = \"127.0.0.1\"\nport = 2\n",
            state.path().display()
        )
    };
    let engine = engine(&database("orders"));
    assert_eq!(engine.config().services[0].name, "orders");
    engine.start().unwrap();
    engine.reload(Config::parse_toml(&database("bills")).unwrap()).unwrap();
    let warned = Validation::of(&Config::parse_toml(&database("orders").replace("hunter-of-two", "${SECRET}")), None);
    assert!(warned.valid && !warned.warnings.is_empty(), "{warned:?}");
    let shown = engine.config().effective_json();
    assert!(shown.contains("\"bills\"") && shown.contains("\"sslmode\"") && !shown.contains("hunter-of-two"), "{shown}");
    let report = serde_json::to_string(&engine.check_all(LONG).unwrap().summary()).unwrap();
    let doctor = serde_json::to_string(&engine.doctor(None, LONG).unwrap()).unwrap();
    assert!(report.contains("check_not_up") || report.contains("\"refused\""), "{report}");
    assert!(!report.contains("hunter-of-two") && !doctor.contains("hunter-of-two"));
    engine.stop(LONG).unwrap();
}

#[test]
fn what_is_no_record_of_a_decision_is_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    std::fs::write(&path, "{}").unwrap();
    let error = DecisionRecord::load(&path).unwrap_err();
    assert!(error.contains("is no record of a decision"), "{error}");
}

#[test]
fn a_server_has_its_address_in_the_status_and_in_every_event_that_names_it() {
    let state = tempfile::tempdir().unwrap();
    let text = config(state.path(), "kind = \"host\"\ninterval = \"50ms\"").replace("host = \"127", "port = 8080\nhost = \"127");
    let engine = engine(&text);
    engine.offer_check("page").unwrap();
    let queue = engine.queue().unwrap();
    engine.start().unwrap();
    for kind in [EventKind::TaskCheck, EventKind::Observed] {
        let event = wait_for(&queue, kind.as_str(), LONG, |event| event.kind == kind);
        assert_eq!((event.server.as_deref(), event.host.as_deref(), event.port), (Some("web1"), Some("127.0.0.1"), Some(8080)));
        let value = event.to_json();
        assert_eq!((&value["host"], &value["port"]), (&json!("127.0.0.1"), &json!(8080)));
        if let Some(task) = event.fields.get("task_id").and_then(Value::as_u64) {
            engine.complete_task(task, TaskAnswer::Check(HostAnswer::Up(String::new()))).unwrap();
        }
    }
    let web1 = engine.status().services.remove(0).servers.remove(0);
    assert_eq!((web1.host.as_str(), web1.port), ("127.0.0.1", 8080));
    engine.stop(LONG).unwrap();
    let ended = wait_for(&queue, "the end", LONG, |event| event.kind == EventKind::EngineStopped);
    assert_eq!((ended.host.as_deref(), ended.to_json().get("host")), (None, None));
}
