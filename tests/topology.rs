//! The tree of who streams from whom, of a real cluster.

use serde_json::Value;

use super::support::cluster::{ClusterOptions, Replication};
use super::support::lab::wait_until;
use super::support::pair::SERVICE;
use super::support::trial::{LONGEST, Trial, turn};

/// The service, once it is as it should be.
fn await_status(trial: &Trial, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let seen = wait_until(what, LONGEST, || {
        let service = trial.engine.status()?["services"][0].clone();
        Ok(fits(&service).then_some(service))
    });
    seen.unwrap_or_else(|error| panic!("{error}: {}", trial.engine.status().map(|all| all.to_string()).unwrap_or_default()))
}

fn node<'a>(service: &'a Value, name: &str) -> &'a Value {
    let nodes = service["topology"].as_array().unwrap();
    nodes.iter().find(|node| node["server"] == name).unwrap_or_else(|| panic!("no {name} in {service}"))
}

/// Rules 241 and 242.
#[test]
fn a_cascade_its_slot_and_a_silent_server_are_seen_in_the_tree() {
    let _turn = turn();
    let trial = Trial::start(&ClusterOptions { fsync: true, ..ClusterOptions::new(Replication::Async) }).unwrap();
    let [db1, db2, db3] = [1, 2, 3].map(|number| trial.cluster.db(number));
    // Nobody can be fenced before its host was looked at: until then nobody would take over.
    let flat = await_status(&trial, "both stream from db1, and two may take over", |service| {
        let below = |name: &&str| node(service, name)["upstream"] == "db1" && node(service, name)["depth"] == 1;
        ["db2", "db3"].iter().all(below) && service["tolerates"].as_array().is_some_and(|deaths| deaths.len() == 3)
    });
    let both = flat["tolerates"].as_array().unwrap();
    assert!(both[0]["candidate"] == flat["forecast"]["candidate"] && both[1]["candidate"].is_string(), "{flat}");
    assert_ne!(both[0]["candidate"], both[1]["candidate"], "{flat}");
    assert!(both[2]["candidate"].is_null(), "{flat}");

    db1.query("SELECT pg_create_physical_replication_slot('forgotten', true)").unwrap();
    db3.follow(db2).unwrap();
    let cascade = await_status(&trial, "db3 streams from db2", |service| {
        node(service, "db3")["upstream"] == "db2"
            && node(service, "db1")["slots"].as_array().is_some_and(|slots| !slots.is_empty())
    });
    let names: Vec<&str> = cascade["topology"].as_array().unwrap().iter().filter_map(|node| node["server"].as_str()).collect();
    assert_eq!(names, ["db1", "db2", "db3"], "{cascade}");
    let (top, middle, leaf) = (node(&cascade, "db1"), node(&cascade, "db2"), node(&cascade, "db3"));
    assert_eq!((&top["replication"], &middle["sync_state"], &leaf["depth"]), (&"primary".into(), &"async".into(), &2.into()));
    assert!(leaf["lag_bytes"].is_u64() && leaf["timeline"] == 1, "{leaf}");
    let slot = &top["slots"][0];
    assert!(slot["name"] == "forgotten" && slot["active"] == false && slot["held_bytes"].is_u64(), "{top}");
    let (code, text) = trial.command(&["status", SERVICE]).unwrap();
    assert!(code == 0 && text.contains("Slot forgotten on db1: NOT in use"), "{text}");
    assert!(text.contains("`- db3") || text.contains("└─ db3"), "{text}");

    let frozen = db3.freeze().unwrap();
    let silent = await_status(&trial, "db3 is silent", |service| node(service, "db3")["replication"] == "unknown");
    db3.thaw(&frozen);
    let leaf = node(&silent, "db3");
    assert!(leaf["lag_bytes"].is_null() && leaf["timeline"].is_null() && leaf["seen_ms"].is_u64(), "{leaf}");
    assert!(leaf["doing"].as_str().is_some_and(|doing| doing.starts_with("not seen for")), "{leaf}");
    let _account = trial.account().unwrap();
}
