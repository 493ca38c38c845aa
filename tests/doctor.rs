//! `failover doctor` on real servers that have something to tell.

use crate::support;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::lab::wait_until;
use crate::support::pair::{Pair, PairOptions};
use crate::support::postgres::StopMode;
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

/// Runs it: whether it was content, and what it printed.
fn doctor(pair: &Pair, arguments: &[&str]) -> (bool, String) {
    let mut command = pair.lab.command(pair.lab.path("bin/failover"));
    command.args(["doctor", "--config"]).arg(&pair.config).args(arguments);
    match pair.lab.run("failover doctor", command, LONG) {
        Ok(text) => (true, text),
        Err(error) => (false, error.to_string()),
    }
}

fn findings(text: &str) -> Vec<Value> {
    let from = text.find('{').unwrap_or_else(|| panic!("no JSON: {text}"));
    let answer: Value = serde_json::from_str(&text[from..]).unwrap_or_else(|error| panic!("{error}: {text}"));
    answer["findings"].as_array().unwrap().clone()
}

#[test]
fn every_finding_says_what_why_and_what_mends_it() {
    let options = PairOptions {
        fsync: false,
        settings: vec![
            "archive_mode = on".to_owned(),
            "archive_command = 'false'".to_owned(),
            "wal_receiver_timeout = '60s'".to_owned(),
        ],
        ..PairOptions::default()
    };
    let mut pair = Pair::start(&options, |_| {}).unwrap();
    let lab = pair.lab.clone();
    lab.copy_in(&support::engine::program().unwrap(), lab.path("bin/failover"), 0o700).unwrap();
    let mut openssl = lab.command("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "5"]);
    openssl.args(["-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.crt"]);
    lab.run("openssl", openssl, LONG).unwrap();
    fs::set_permissions(lab.path("server.key"), Permissions::from_mode(0o600)).unwrap();
    for server in [&pair.db1, &pair.db2] {
        for (setting, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")] {
            server.set(&format!("{setting} = '{}'", lab.path(file).display())).unwrap();
        }
        server.set("ssl = on").unwrap();
        wait_until("TLS", LONG, || Ok((server.value("SHOW ssl")? == "on").then_some(()))).unwrap();
    }
    pair.db1.value("SELECT pg_switch_wal()").unwrap();
    // Behind a real one, which the archiver does not get past.
    for number in 0..40 {
        let name = format!("db1/pg_wal/archive_status/0000000100000099000000{number:02X}.ready");
        lab.write(name, "", 0o600).unwrap();
    }
    let text = fs::read_to_string(&pair.config).unwrap();
    pair.config = lab.write("doctor.toml", text.replace("sslmode = \"disable\"", "sslmode = \"require\""), 0o600).unwrap();
    fs::set_permissions(pair.ssh1.key(), Permissions::from_mode(0o604)).unwrap();

    let (content, text) = doctor(&pair, &["orders", "--json"]);
    let found = findings(&text);
    assert!(content, "nothing is blocking: {text}");
    for finding in &found {
        for part in ["code", "message", "why", "remedy"] {
            assert!(finding[part].as_str().is_some_and(|text| !text.is_empty()), "{part} of {finding}");
        }
    }
    let about = |server: Option<&str>, code: &str| {
        let fits = |finding: &&Value| finding["code"] == code && finding["server"].as_str() == server;
        found.iter().find(fits).unwrap_or_else(|| panic!("no {code} of {server:?}: {text}")).clone()
    };
    for server in ["db1", "db2"] {
        let message = about(Some(server), "certificate_expires")["message"].to_string();
        // Made for five days, a moment ago.
        assert!(message.contains("expires in 4 days") || message.contains("expires in 5 days"), "{message}");
    }
    // Of the one that receives, and of nobody else.
    about(Some("db2"), "wal_receiver_timeout_long");
    assert_eq!(text.matches("wal_receiver_timeout_long").count(), 1, "{text}");
    assert!(about(Some("db1"), "archive_backlog")["message"].as_str().unwrap().contains("finished WAL files wait"));
    let key = about(None, "configuration");
    assert!(key["message"].as_str().unwrap().contains("everybody on this machine can use the SSH key"), "{key}");

    let (content, text) = doctor(&pair, &["orders"]);
    assert!(content && text.starts_with("doctor of orders: if the primary died now, db2 would be promoted"), "{text}");
    let whys = text.lines().filter(|line| line.starts_with("    why: ")).count();
    assert_eq!(whys, text.lines().filter(|line| line.starts_with("    remedy: ")).count(), "{text}");
    assert_eq!(whys, found.len(), "{text}");

    let (content, text) = doctor(&pair, &["order"]);
    assert!(!content && text.contains("exit status: 2") && text.contains("name one of: orders"), "{text}");

    pair.db2.stop(StopMode::Fast).unwrap();
    let (content, text) = doctor(&pair, &["orders", "--json"]);
    assert!(!content && text.contains("exit status: 1"), "{text}");
    let blocking: Vec<Value> = findings(&text).into_iter().filter(|finding| finding["blocking"] == true).collect();
    let codes: Vec<&str> = blocking.iter().filter_map(|finding| finding["code"].as_str()).collect();
    assert!(codes.contains(&"check_not_up") && codes.contains(&"no_candidate"), "{codes:?}");
}

/// Rule 187. With the programs of PostgreSQL 12 in `FAILOVER_POSTGRES_BIN`: `make test-versions` has them.
#[test]
#[ignore = "needs a PostgreSQL 12: make test-versions"]
fn a_server_that_is_too_old_is_refused_by_name() {
    const WHY: &str = "PostgreSQL 12 is not supported; 13 to 18 are";
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
    assert!(pair.db1.value("SHOW server_version").unwrap().starts_with("12."));
    pair.lab.copy_in(&support::engine::program().unwrap(), pair.lab.path("bin/failover"), 0o700).unwrap();
    let (content, text) = doctor(&pair, &["orders", "--json"]);
    assert!(!content && text.contains("exit status: 1"), "{text}");
    let of = |server: &str| {
        let about = |finding: &Value| finding["server"] == server && finding["code"] == "version_not_supported";
        findings(&text).into_iter().find(about).unwrap_or_else(|| panic!("{server} is not refused: {text}"))
    };
    for server in ["db1", "db2"] {
        let finding = of(server);
        assert_eq!((&finding["blocking"], &finding["message"]), (&Value::from(true), &Value::from(format!("{server}: {WHY}"))));
    }
    let engine = pair.engine(support::engine::Origin::now()).unwrap();
    wait_until("the engine names the version", LONG, || {
        let Ok(status) = engine.status() else { return Ok(None) };
        let shown = status["services"][0]["readiness"].as_array().is_some_and(|list| {
            list.iter().filter(|finding| finding["code"] == "version_not_supported" && finding["blocking"] == true).count() == 2
        });
        Ok(shown.then_some(()))
    })
    .unwrap();
    println!("{}", engine.status().unwrap());
}

/// Runs `failover check` or `doctor` for an application.
fn asked(site: &support::Site, arguments: &[&str]) -> (bool, Value, String) {
    let program = site.lab.path("bin/failover");
    if !program.exists() {
        site.lab.folder("bin").unwrap();
        site.lab.copy_in(&support::engine::program().unwrap(), &program, 0o700).unwrap();
    }
    let run = |more: &[&str]| {
        let mut command = site.lab.command(&program);
        command.arg(arguments[0]);
        if arguments[0] == "doctor" {
            command.arg("--config");
        }
        command.arg(&site.config).args(&arguments[1..]).args(more);
        match site.lab.run("failover", command, LONG) {
            Ok(text) => (true, text),
            Err(error) => (false, error.to_string()),
        }
    };
    let (content, json) = run(&["--json"]);
    let from = json.find('{').unwrap_or_else(|| panic!("no JSON: {json}"));
    let mut values = serde_json::Deserializer::from_str(&json[from..]).into_iter::<Value>();
    let answer = values.next().unwrap().unwrap_or_else(|error| panic!("{error}: {json}"));
    let text = run(&[]).1;
    (content, answer, text)
}

#[test]
fn the_route_of_an_application_is_looked_at_as_closely_and_nothing_is_changed() {
    use crate::support::{Site, SiteOptions};
    let mut site = Site::start(&SiteOptions::default()).unwrap();
    let before = site.wanted();
    let (content, answer, text) = asked(&site, &["check"]);
    assert!(content && text.contains("if the primary died now, app2 would take over"), "{text}");
    assert_eq!(answer["readiness"], serde_json::json!([]), "{text}");
    assert_eq!(answer["forecasts"][0]["forecast"]["candidate"], "app2");

    // One load balancer sends its clients elsewhere, and the names cannot be read.
    site.balancers[1].command("enable server web/app2").unwrap();
    site.balancers[1].command("disable server web/app1").unwrap();
    let whole = fs::read_to_string(&site.config).unwrap();
    let nobody = support::lab::free_port().unwrap();
    let name = format!(
        "\n[[services.dns]]\nname = \"app.example.test\"\nprovider = \"rfc2136\"\nserver = \"127.0.0.1:{nobody}\"\n\
         zone = \"example.test\"\nkey_name = \"failover\"\nkey_secret = \"bGliZmFpbG92ZXI=\"\n\
         values = {{ app1 = \"192.0.2.1\", app2 = \"192.0.2.2\" }}\n"
    );
    fs::write(&site.config, whole.clone() + &name).unwrap();
    let (content, answer, text) = asked(&site, &["doctor", "web"]);
    let codes = |answer: &Value, list: &str| -> Vec<(String, bool)> {
        let one = |finding: &Value| {
            for part in ["message", "why", "remedy"] {
                assert!(finding[part].as_str().is_some_and(|text| !text.is_empty()), "{part} of {finding}");
            }
            (finding["code"].as_str().unwrap().to_owned(), finding["blocking"] == true)
        };
        let mut codes: Vec<_> = answer[list].as_array().unwrap().iter().map(one).collect();
        codes.retain(|(code, _)| code != "configuration");
        codes.sort();
        codes
    };
    let expected =
        |list: &[(&str, bool)]| list.iter().map(|(code, blocking)| ((*code).to_owned(), *blocking)).collect::<Vec<_>>();
    assert!(content, "nothing of it stops a failover: {text}");
    assert_eq!(
        codes(&answer, "findings"),
        expected(&[
            ("name_unreadable", false),
            ("route_primary_out", false),
            ("route_to_standby", false),
            ("verify_other_server", false)
        ]),
        "{text}"
    );
    // Each remedy is carried out, and its finding is gone.
    assert!(
        text.contains("see which server the load balancer sends its clients to, and disable all but the primary there"),
        "{text}"
    );
    site.balancers[1].command("enable server web/app1").unwrap();
    site.balancers[1].command("disable server web/app2").unwrap();
    let left = codes(&asked(&site, &["doctor", "web"]).1, "findings");
    assert_eq!(left, expected(&[("name_unreadable", false)]));
    fs::write(&site.config, &whole).unwrap();

    // Answers that do not say whose they are, and a server that no load balancer knows.
    fs::write(&site.config, whole.replace("header = \"X-Server\"", "header = \"X-Nothing\"")).unwrap();
    let (content, answer, text) = asked(&site, &["check"]);
    assert!(!content, "{text}");
    assert_eq!(codes(&answer, "readiness"), expected(&[("verify_unidentified", true), ("verify_unidentified", true)]), "{text}");
    assert!(text.contains("say in route.identity what an answer of each server looks like"), "{text}");
    fs::write(&site.config, &whole).unwrap();
    let (content, answer, text) = asked(&site, &["check"]);
    assert!(content && codes(&answer, "readiness").is_empty(), "{text}");
    let renamed = whole.replace("backend = \"web\"\n", "backend = \"web\"\nservers = { app2 = \"app9\" }\n");
    fs::write(&site.config, renamed).unwrap();
    let (content, answer, text) = asked(&site, &["check"]);
    assert!(!content, "{text}");
    assert_eq!(
        codes(&answer, "readiness"),
        expected(&[("route_server_missing", true), ("route_server_missing", true)]),
        "{text}"
    );
    fs::write(&site.config, &whole).unwrap();
    assert_eq!(site.wanted(), before, "nothing was changed");

    // A load balancer that is gone.
    drop(site.balancers.pop());
    let (content, answer, text) = asked(&site, &["check"]);
    assert!(!content, "{text}");
    assert_eq!(codes(&answer, "readiness"), expected(&[("route_not_ready", true), ("verify_unreachable", false)]), "{text}");
}
