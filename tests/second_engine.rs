//! Two engines on two hosts watch the same pair: each sees the other's sessions on the servers, and neither fails over before one of
//! them is gone.

use std::time::Duration;

use crate::support::engine::{Engine, Origin};
use crate::support::lab::wait_until;
use crate::support::pair::{Pair, PairOptions};

const LONG: Duration = Duration::from_secs(60);

fn refused(engine: &Engine) -> bool {
    engine.events().iter().any(|event| event.kind == "failover_refused" && event.message.contains("another engine ("))
}

#[test]
fn two_engines_refuse_each_other_by_name_until_one_is_gone() {
    let pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
    let first = pair.engine(Origin::now()).unwrap();
    first.wait_ready(LONG).unwrap();

    // The same configuration on another host, as far as the servers can tell.
    let text = std::fs::read_to_string(&pair.config).unwrap();
    let elsewhere = pair.lab.folder("elsewhere").unwrap();
    let control = elsewhere.join("control.sock");
    let moved: String = text
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("state_dir", _)) => format!("state_dir = {:?}\n", elsewhere.display().to_string()),
            Some(("control_socket", _)) => format!("control_socket = {:?}\n", control.display().to_string()),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = pair.lab.write("elsewhere/failover.toml", moved, 0o600).unwrap();
    let second = Engine::start(&pair.lab, pair.db1.host(), &config, &control, Origin::now()).unwrap();
    // One that has just been started does not listen yet.
    let blocked = |engine: &Engine| engine.status().is_ok_and(|status| status.to_string().contains("second_engine"));
    wait_until("each engine sees the other", LONG, || Ok((blocked(&first) && blocked(&second)).then_some(())))
        .unwrap_or_else(|error| panic!("{error}\n{}\n---\n{}", first.story(), second.story()));

    pair.db1.kill_postmaster().unwrap();
    wait_until("both refuse", LONG, || Ok((refused(&first) && refused(&second)).then_some(())))
        .unwrap_or_else(|error| panic!("{error}\n{}\n---\n{}", first.story(), second.story()));
    assert!(!pair.db2.is_primary().unwrap());

    assert!(second.stop(), "{}", second.log_tail());
    wait_until("the one that is left fails over", LONG, || {
        Ok(first.events().iter().any(|event| event.kind == "failover_completed").then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", first.story()));
    assert!(pair.db2.is_primary().unwrap());
    assert!(!second.events().iter().any(|event| event.kind == "failover_started"), "{}", second.story());
    assert!(first.stop(), "{}", first.log_tail());
}
