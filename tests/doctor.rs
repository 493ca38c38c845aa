//! `failover doctor` on real servers that have something to tell.

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use support::lab::wait_until;
use support::pair::{Pair, PairOptions};
use support::postgres::StopMode;

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
