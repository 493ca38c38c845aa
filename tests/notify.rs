//! Notifications: real receivers over HTTP and SMTP, and commands; those that are dead, drip, refuse or redirect; restarts; and what a
//! person is told of a whole failover, in order.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::support::certificate::self_signed;
use crate::support::lab::{free_port, wait_until};
use crate::support::receiver::{Manner, Receiver, Request};
use crate::support::{Lab, Process, Site, SiteOptions};
use failover::{Config, Engine, EventKind, EventQueue, NotifyStatus};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);
const WELL: Manner = Manner::Status(200, "ok");

/// An engine whose every order is told to these receivers.
fn text(state: &Path, receivers: &str) -> String {
    format!(
        "version = 1\nstate_dir = \"{}\"\n{receivers}\n[[services]]\nname = \"web\"\nkind = \"application\"\n\
         [[services.servers]]\nname = \"web1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\n\
         [[services.checks]]\nname = \"page\"\nserver = \"web1\"\nkind = \"scripted\"\nanswers = [\"up\"]\n",
        state.display()
    )
}

fn config(text: &str) -> Config {
    Config::parse_toml(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn started(text: &str) -> Engine {
    let engine = Engine::new(config(text)).unwrap();
    engine.start().unwrap();
    engine
}

/// A webhook that is told orders, and nothing else.
fn webhook(name: &str, url: &str, more: &str) -> String {
    format!(
        "[[notify]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{url}\"\nevents = [\"operator_command\"]\nseverity = \"info\"\n\
         group_window = \"0s\"\n{more}\n"
    )
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}/hook")
}

fn of<'s>(status: &'s [NotifyStatus], name: &str) -> &'s NotifyStatus {
    status.iter().find(|receiver| receiver.name == name).unwrap_or_else(|| panic!("no {name} in {status:?}"))
}

fn wait_status(engine: &Engine, what: &str, fits: impl Fn(&[NotifyStatus]) -> bool) -> Vec<NotifyStatus> {
    wait_until(what, LONG, || Ok(Some(engine.status().notify).filter(|status| fits(status))))
        .unwrap_or_else(|error| panic!("{error}: {:#?}", engine.status().notify))
}

/// Every event in these messages: whether it says that something is over, and the kind of what it is about.
fn told(requests: &[Request]) -> Vec<(bool, String, Value)> {
    let events = requests.iter().flat_map(|request| request.json()["events"].as_array().cloned().unwrap_or_default());
    let kind = |event: &Value| event["key"].as_str().and_then(|key| key.split('/').nth(2)).unwrap_or_default().to_owned();
    events.map(|event| (event["over"] == true, kind(&event), event)).collect()
}

#[test]
fn a_failover_is_told_in_order_and_so_is_its_end() {
    let site = Site::start(&SiteOptions::default()).unwrap();
    let receiver = Receiver::start(WELL);
    let text = std::fs::read_to_string(&site.config).unwrap();
    let hook = format!(
        "\n[[notify]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\ngroup_window = \"100ms\"\nsigning_secret = \"geheim\"\n\
         headers = {{ Authorization = \"Bearer losung\" }}\n[[services]]",
        local(receiver.port())
    );
    let engine = started(&text.replacen("\n[[services]]", &hook, 1));
    let ready = || Ok(engine.status().services[0].forecast.would_fail_over.then_some(()));
    wait_until("the engine is ready", LONG, ready).unwrap();
    site.servers[0].kill();
    let has = |requests: &[Request], over: bool, kind: &str| told(requests).iter().any(|(o, k, _)| *o == over && k == kind);
    let requests = receiver.wait("the end of the failover", LONG, |requests| {
        has(requests, false, "failover_completed") && has(requests, true, "failover_started")
    });
    let all = told(&requests);
    let place = |over: bool, kind: &str| {
        all.iter().position(|(o, k, _)| *o == over && k == kind).unwrap_or_else(|| panic!("no {kind}: {all:#?}"))
    };
    assert!(place(false, "failover_started") < place(false, "failover_completed"), "{all:#?}");
    assert!(place(false, "failover_started") < place(true, "failover_started"), "{all:#?}");
    let (_, _, begun) = &all[place(false, "failover_started")];
    let (_, _, over) = &all[place(true, "failover_started")];
    assert_eq!((&begun["key"], &begun["service"]), (&over["key"], &Value::from("web")));
    let (_, _, completed) = &all[place(false, "failover_completed")];
    assert_eq!(completed["fields"]["new_primary"], "app2");
    let mut ids: Vec<&str> = all.iter().map(|(_, _, event)| event["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "an id is there twice");
    for request in &requests {
        assert_eq!(request.header("authorization"), Some("Bearer losung"));
        assert_eq!(request.header("x-failover-id"), request.json()["id"].as_str());
        let signature = request.header("x-failover-signature").unwrap();
        let (time, sum) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).unwrap();
        assert_eq!(sum, hmac(&format!("{time}.{}", request.body)), "{signature}");
        let message = request.json();
        assert!(!message["subject"].as_str().unwrap().is_empty() && message["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(!request.body.contains("geheim") && !request.body.contains("losung"));
    }
    engine.stop(LONG).unwrap();
}

/// As any program computes it.
fn hmac(signed: &str) -> String {
    let script = "import hmac,sys;print(hmac.new(b'geheim',sys.argv[1].encode(),'sha256').hexdigest())";
    let output = std::process::Command::new("python3").args(["-c", script, signed]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_receiver_that_is_ill_harms_no_other_and_nobody_is_told_a_secret() {
    let state = tempfile::tempdir().unwrap();
    let good = Receiver::start(WELL);
    let elsewhere = Receiver::start(WELL);
    let near = Receiver::start(WELL);
    near.becomes(Manner::Redirect(307, "/hook".to_owned()));
    let ill = [
        ("silent", Receiver::start(Manner::Silent), "no complete answer in time"),
        ("drips", Receiver::start(Manner::Drips), "no complete answer in time"),
        ("errors", Receiver::start(Manner::Status(500, "not today")), "status 500: not today"),
        ("echo", Receiver::start(Manner::Echo), "status 500: POST ********"),
        ("away", Receiver::start(Manner::Redirect(307, local(elsewhere.port()))), "is not followed"),
        ("lost", Receiver::start(Manner::Redirect(302, "/other".to_owned())), "is not followed"),
        ("round", near, "redirected more than 3 times"),
    ];
    let nobody = free_port().unwrap();
    let secret = "headers = { Authorization = \"Bearer losungswort\" }\ntimeout = \"700ms\"";
    let mut receivers = webhook("good", &local(good.port()), secret);
    for (name, receiver, _) in &ill {
        receivers += &webhook(name, &format!("{}?token=geheimnis", local(receiver.port())), secret);
    }
    receivers += &webhook("nobody", &local(nobody), secret);
    let engine = started(&text(state.path(), &receivers));
    let queue = engine.queue().unwrap();
    engine.pause(None).unwrap();
    good.wait("the order", LONG, |requests| !requests.is_empty());
    let status = wait_status(&engine, "each of them has failed", |status| {
        status.iter().all(|receiver| receiver.name == "good" || receiver.failed > 0)
    });
    for (name, _, answer) in &ill {
        let of = of(&status, name);
        assert!(of.answer.contains(answer) && of.waiting == 1 && of.given_up == 0, "{of:?}");
    }
    assert!(of(&status, "nobody").answer.contains("refused"), "{status:?}");
    assert_eq!((of(&status, "good").delivered, of(&status, "good").failures), (1, 0));
    assert!(elsewhere.requests().is_empty(), "a redirect to another port was followed");
    // The others are told that one of them is ill.
    crate::support::queue::wait_for(&queue, "notify_state", LONG, |event| event.kind == EventKind::NotifyState);
    let seen = serde_json::to_string(&engine.status()).unwrap() + &engine.metrics_text() + &engine.config().effective_toml();
    assert!(!seen.contains("losungswort") && !seen.contains("geheimnis"), "{seen}");
    assert!(seen.contains("failover_notifications_waiting{receiver=\"drips\"} 1"), "{seen}");
    ill[2].1.becomes(WELL);
    wait_status(&engine, "who is well again is told", |status| of(status, "errors").delivered == 1);
    let requests = ill[2].1.requests();
    let ids: Vec<_> = requests.iter().map(|request| request.json()["id"].clone()).collect();
    assert!(ids.len() > 1 && ids.windows(2).all(|pair| pair[0] == pair[1]), "the same message at every attempt: {ids:?}");
    engine.stop(LONG).unwrap();
}

#[test]
fn a_stop_waits_for_no_receiver() {
    let state = tempfile::tempdir().unwrap();
    let (silent, drips) = (Receiver::start(Manner::Silent), Receiver::start(Manner::Drips));
    let receivers = webhook("silent", &local(silent.port()), "timeout = \"2m\"")
        + &webhook("drips", &local(drips.port()), "timeout = \"2m\"")
        + "[[notify]]\nname = \"sleeps\"\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"sleep 600 & sleep 600\"]\n\
           events = [\"operator_command\"]\nseverity = \"info\"\ngroup_window = \"0s\"\ntimeout = \"2m\"\n";
    let engine = started(&text(state.path(), &receivers));
    engine.pause(None).unwrap();
    silent.wait("the order", LONG, |requests| !requests.is_empty());
    drips.wait("the order", LONG, |requests| !requests.is_empty());
    // Half of the longest attempt: with no more than that it has not waited for one.
    engine.stop(LONG).unwrap();
    assert!(engine.status().threads.names.is_empty());
}

#[test]
fn what_waits_outlives_the_engine_that_took_it() {
    let (state, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port().unwrap();
    let receivers = webhook("hook", &local(port), "");
    let engine = started(&text(state.path(), &receivers));
    engine.pause(None).unwrap();
    engine.resume(None).unwrap();
    wait_status(&engine, "both wait", |status| of(status, "hook").waiting == 2);
    // What is on disk at this moment is what a killed engine would leave.
    std::fs::create_dir(copy.path().join("notify")).unwrap();
    std::fs::copy(state.path().join("notify/hook.jsonl"), copy.path().join("notify/hook.jsonl")).unwrap();
    engine.stop(LONG).unwrap();
    let mut all = Vec::new();
    for state in [&copy, &state] {
        let receiver = Receiver::start_on(port, WELL).unwrap();
        let engine = started(&text(state.path(), &receivers));
        let requests = receiver.wait("both orders", LONG, |requests| told(requests).len() == 2);
        wait_status(&engine, "none waits", |status| of(status, "hook").waiting == 0 && of(status, "hook").delivered == 2);
        engine.stop(LONG).unwrap();
        all.push(
            told(&requests)
                .into_iter()
                .map(|(_, _, event)| (event["id"].clone(), event["fields"]["command"].clone()))
                .collect::<Vec<_>>(),
        );
        let engine = started(&text(state.path(), &receivers));
        assert_eq!(of(&engine.status().notify, "hook").waiting, 0, "it was delivered");
        engine.stop(LONG).unwrap();
    }
    assert_eq!(all[0], all[1], "whoever is told twice knows it by the id");
    assert_eq!(all[0].iter().map(|(_, command)| command.as_str()).collect::<Vec<_>>(), [Some("pause"), Some("resume")]);
}

#[test]
fn a_reload_changes_receivers_and_keeps_what_waits() {
    let state = tempfile::tempdir().unwrap();
    let (first, second) = (Receiver::start(Manner::Status(503, "")), Receiver::start(WELL));
    let engine = started(&text(state.path(), &webhook("hook", &local(first.port()), "")));
    engine.pause(None).unwrap();
    first.wait("the order", LONG, |requests| !requests.is_empty());
    engine.reload(config(&text(state.path(), &webhook("hook", &local(second.port()), "")))).unwrap();
    let requests = second.wait("the order", LONG, |requests| !requests.is_empty());
    assert_eq!(requests[0].json()["id"], first.requests()[0].json()["id"]);
    engine.reload(config(&text(state.path(), ""))).unwrap();
    assert!(engine.status().notify.is_empty());
    wait_until("their threads end", LONG, || {
        Ok((!engine.status().threads.names.iter().any(|name| name.starts_with("fo-deliver"))).then_some(()))
    })
    .unwrap();
    engine.stop(LONG).unwrap();
}

#[test]
fn a_test_message_says_what_the_receiver_answers() {
    let state = tempfile::tempdir().unwrap();
    let (good, bad) = (Receiver::start(WELL), Receiver::start(Manner::Status(403, "who are you")));
    let receivers = webhook("good", &local(good.port()), "") + &webhook("bad", &local(bad.port()), "");
    let engine = Engine::new(config(&text(state.path(), &receivers))).unwrap();
    // Before the start too: a configuration is tried before it is used.
    let tested = engine.notify_test(None).unwrap();
    let said: Vec<_> = tested.iter().map(|one| (one.name.as_str(), one.delivered, one.answer.as_str())).collect();
    assert_eq!(said, [("good", true, "status 200: ok"), ("bad", false, "status 403: who are you")]);
    assert_eq!(told(&good.requests())[0].1, "notify_test");
    let wrong = engine.notify_test(Some("god")).unwrap_err().to_string();
    assert!(wrong.contains("there is no receiver \"god\"; there is: good, bad"), "{wrong}");
    engine.start().unwrap();
    let queue: EventQueue = engine.queue().unwrap();
    assert!(engine.notify_test(Some("good")).unwrap()[0].delivered);
    crate::support::queue::wait_for(&queue, "notify_test", LONG, |event| event.kind == EventKind::NotifyTest);
    engine.stop(LONG).unwrap();
    assert!(engine.notify_test(None).is_err());
}

#[test]
fn a_command_gets_the_message_and_is_ended_with_its_children() {
    let state = tempfile::tempdir().unwrap();
    let (seen, pid) = (state.path().join("seen"), state.path().join("pid"));
    let script = format!("cat > {0}.new; echo $FAILOVER_NOTIFY_SEVERITY >> {0}.new; mv {0}.new {0}; echo noted", seen.display());
    let stuck = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", pid.display());
    let command = |name: &str, script: &str, timeout: &str| {
        format!(
            "[[notify]]\nname = \"{name}\"\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\ntimeout = \"{timeout}\"\n\
             events = [\"operator_command\"]\nseverity = \"info\"\ngroup_window = \"0s\"\n"
        )
    };
    let receivers = command("note", &script, "30s") + &command("stuck", &stuck, "1s");
    let engine = started(&text(state.path(), &receivers));
    engine.pause(None).unwrap();
    let status = wait_status(&engine, "one is told and one is not", |status| {
        of(status, "note").delivered == 1 && of(status, "stuck").failed > 0
    });
    assert_eq!(of(&status, "note").answer, "exit code 0: noted");
    assert!(of(&status, "stuck").answer.contains("was not done by its deadline and was ended"), "{status:?}");
    let seen = std::fs::read_to_string(seen).unwrap();
    let message: Value = serde_json::from_str(seen.lines().next().unwrap()).unwrap();
    assert_eq!((message["event"]["fields"]["command"].as_str(), seen.lines().nth(1)), (Some("pause"), Some("info")));
    let child = std::fs::read_to_string(pid).unwrap();
    wait_until("the child of the command ends", LONG, || {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        Ok((state.is_empty() || state.contains(") Z ")).then_some(()))
    })
    .unwrap();
    engine.stop(LONG).unwrap();
}

/// A mail server of aiosmtpd, and the file that it writes mails into.
fn mail_server(lab: &Lab, name: &str, more: &[&str]) -> (Process, u16, std::path::PathBuf) {
    let script = lab.write("mail.py", include_str!("support/mail.py"), 0o644).unwrap();
    let (port, mails) = (free_port().unwrap(), lab.path(format!("{name}.mails")));
    let mut command = lab.command("/usr/bin/python3");
    command.arg(script).arg(port.to_string()).arg(&mails).args(more);
    let process = lab.spawn(name, command).unwrap();
    wait_until("the mail server listens", LONG, || {
        assert!(process.status().is_none(), "{}", std::fs::read_to_string(lab.log_path(name)).unwrap_or_default());
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
    })
    .unwrap();
    (process, port, mails)
}

#[test]
fn mails_go_to_a_real_mail_server_and_to_none_that_is_not_what_was_set() {
    let lab = Lab::new().unwrap();
    let state = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(state.path(), "/CN=localhost", "DNS:localhost,IP:127.0.0.1");
    // The server runs as another user.
    let certificate = lab.write("mail.cert", std::fs::read(certificate).unwrap(), 0o644).unwrap();
    let key = lab.write("mail.key", std::fs::read(key).unwrap(), 0o644).unwrap();
    let paths = [certificate.display().to_string(), key.display().to_string()];
    let (_safe, safe_port, safe_mails) = mail_server(&lab, "safe", &[&paths[0], &paths[1], "probe", "zauberwort"]);
    let (_plain, plain_port, plain_mails) = mail_server(&lab, "plain", &[]);
    let drips = Receiver::start(Manner::Greets);
    let mut receivers = String::new();
    let mut mail = |name: &str, port: u16, more: &str| {
        let _ = write!(
            receivers,
            "[[notify]]\nname = \"{name}\"\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {port}\nfrom = \"Wächter <failover@example.com>\"\n\
             to = [\"dba@example.com\", \"Boss <boss@example.com>\"]\nevents = [\"operator_command\"]\nseverity = \"info\"\n\
             group_window = \"0s\"\n{more}\n"
        );
    };
    let trusts = format!("ca_file = \"{}\"\nuser = \"probe\"\n", paths[0]);
    mail("safe", safe_port, &format!("{trusts}password = \"zauberwort\"\ntimeout = \"1m\""));
    mail("wrong_password", safe_port, &format!("{trusts}password = \"andereswort\"\ntimeout = \"1m\""));
    mail("untrusted", safe_port, "user = \"probe\"\npassword = \"zauberwort\"\ntimeout = \"1m\"");
    mail("plain", plain_port, "tls = \"none\"\ntimeout = \"1m\"");
    mail("no_starttls", plain_port, "timeout = \"1m\"");
    mail("drips", drips.port(), "tls = \"none\"\ntimeout = \"1s\"");
    let engine = started(&text(state.path(), &receivers));
    engine.pause_with(None, reason("Größenänderung")).unwrap();
    let status = wait_status(&engine, "two have it and the others do not", |status| {
        status.iter().all(|receiver| receiver.delivered == 1 || receiver.failed > 0)
    });
    for (name, answer) in [
        ("safe", "250 2.0.0 Taken"),
        ("plain", "250 2.0.0 Taken"),
        ("wrong_password", "AUTH: 535"),
        ("untrusted", "TLS: "),
        ("no_starttls", "offers no STARTTLS"),
        ("drips", "greeting: "),
    ] {
        let of = of(&status, name);
        assert!(of.answer.contains(answer) && !of.answer.contains("wort"), "{of:?}");
    }
    for (mails, tls, user) in [(safe_mails, true, Some("probe")), (plain_mails, false, None)] {
        let text = std::fs::read_to_string(mails).unwrap();
        assert_eq!(text.lines().count(), 1, "whoever may not send has sent: {text}");
        let mail: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((mail["tls"].as_bool(), mail["user"].as_str()), (Some(tls), user));
        assert_eq!(mail["to"], serde_json::json!(["dba@example.com", "boss@example.com"]));
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains("Subject: ") && text.contains("Message-ID: <") && text.contains("operator_command"), "{text}");
    }
    engine.stop(LONG).unwrap();
}

fn reason(text: &str) -> failover::PauseOptions {
    let mut options = failover::PauseOptions::default();
    options.reason = Some(text.to_owned());
    options
}
