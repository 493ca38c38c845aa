//! How it ends: the engine comes to rest, and what is where then.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::judge::{Ending, Reason};
use crate::support::interrupted;
use crate::support::recording::Attempt;
use crate::support::writer::compare;
use crate::watch::Saw;
use crate::world::World;

/// `failover_timeout`, and what a look at the world takes.
const BOUND: Duration = Duration::from_secs(150);
/// All is well for so long.
const WELL: Duration = Duration::from_secs(3);
/// Nothing changes for so long where all is not well: more than `restart_grace`.
const NOT_WELL: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(250);
/// A row within this is service.
const SERVES: u64 = 1_500_000_000;

/// How the engine came to rest.
pub struct Rest {
    /// What it says of the service.
    pub status: Value,
    /// It did so in time.
    pub rested: bool,
    /// Rows arrive through the route, in a new session.
    pub serves: bool,
    /// They do in a session that was there before.
    pub serves_kept: bool,
}

/// Waits until the engine comes to rest.
pub fn rest(world: &mut World) -> Rest {
    let began = Instant::now();
    let mut since = Instant::now();
    let mut last = (Value::Null, [false; 2]);
    let mut status = Value::Null;
    while began.elapsed() < BOUND && !interrupted() {
        world.note_unexpected_end();
        status = world
            .engine
            .as_ref()
            .and_then(|engine| engine.status().ok())
            .map_or(Value::Null, |status| status["services"][0].clone());
        let now = (outline(&status), serves(world));
        if now != last {
            since = Instant::now();
            last = now;
        }
        let state = status["state"].as_str().unwrap_or_default();
        let well = last.1[1] && ["normal", "degraded", "failed_over"].contains(&state);
        let still = state != "failover_in_progress" && since.elapsed() >= if well { WELL } else { NOT_WELL };
        if still {
            return Rest { status, rested: true, serves: last.1[1], serves_kept: last.1[0] };
        }
        std::thread::sleep(LOOK);
    }
    Rest { status, rested: false, serves: last.1[1], serves_kept: last.1[0] }
}

/// What has to stand still.
fn outline(status: &Value) -> Value {
    let codes: Vec<Value> = status["refusals"].as_array().into_iter().flatten().map(|reason| reason["code"].clone()).collect();
    serde_json::json!([status["state"], status["paused"], status["primary"], codes])
}

/// Rows arrive through the route: in the session that is kept, and in a new one.
fn serves(world: &World) -> [bool; 2] {
    let now = world.now();
    let lately = |writer: usize| {
        let last = world.writers.get(writer).and_then(|writer| writer.acknowledged().0);
        last.is_some_and(|last| now.saturating_sub(last) < SERVES)
    };
    [lately(0), lately(1)]
}

/// What is where, after the engine has come to rest.
pub fn ending(world: &World, rest: &Rest, attempts: &[Vec<Attempt>]) -> Ending {
    let (now, status) = (world.now(), &rest.status);
    let seen = world.watch.seen();
    let all: Vec<Attempt> = attempts.iter().flatten().copied().collect();
    let mut missing = Vec::new();
    let mut waits = Vec::new();
    for (place, server) in world.cluster.servers.iter().enumerate() {
        let there = seen.at(place, now).is_some_and(|saw| saw != Saw::Silent);
        missing.push(if there { compare(server, &all).ok().map(|table| table.missing) } else { None });
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        waits.push(there && server.value(waiting).is_ok_and(|count| count != "0"));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reasons = status["refusals"].as_array().into_iter().flatten();
    let servers = status["servers"].as_array().into_iter().flatten();
    Ending {
        rested: rest.rested,
        state: text(&status["state"]),
        paused: status["paused"] == true,
        reason: text(&status["reason"]),
        refusals: reasons.map(|reason| Reason { code: text(&reason["code"]), message: text(&reason["message"]) }).collect(),
        serves: rest.serves,
        serves_kept: rest.serves_kept,
        route: seen.routes.last().and_then(|route| route.to.clone()),
        saw: (0..world.cluster.servers.len()).map(|place| seen.at(place, now)).collect(),
        lives: world.cluster.servers.iter().map(|server| !server.processes().is_empty()).collect(),
        missing,
        unhealthy: servers.filter(|server| server["health"] == "unhealthy").map(|server| text(&server["name"])).collect(),
        waits_for_standby: waits,
        engine_ends: Vec::new(),
        panicked: None,
        left: Vec::new(),
    }
}
