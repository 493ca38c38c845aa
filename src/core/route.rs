//! What the survey saw of the route, and what of it hurts: writes that land on a standby, a primary that gets none.

use super::finding::FindingCode;
use super::sample::ReadinessFinding;
use super::time::Mono;
use serde::{Deserialize, Serialize};

mod line;

pub use line::{Held, Misled, OwnCheck};

/// All instances of a service's route at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSurvey {
    /// When they were asked.
    pub asked: Mono,
    /// Each of them.
    pub instances: Vec<InstanceView>,
}

/// One instance of a route (a HAProxy).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its name in the configuration.
    pub name: String,
    /// The backend that holds the service's servers.
    pub backend: String,
    /// Its servers, or why they could not be seen or could not be changed.
    pub servers: Result<Vec<ServerView>, InstanceTrouble>,
    /// What it is.
    #[serde(default)]
    pub kind: InstanceKind,
    /// Of a pooler: why its clients could not wait while a primary hands over.
    #[serde(default)]
    pub gate: Vec<GateTrouble>,
    /// What takes sessions and is not named by the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unnamed: Vec<Unnamed>,
}

/// Why clients of a pooler could not wait while a primary hands over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GateTrouble {
    /// The pool of this database belongs to whole sessions.
    SessionMode(String),
    /// No program is there that lets them go on if the engine ends.
    NoKeeper,
}

/// A line of the backend, or a database of the pooler, that the route does not name and that takes sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unnamed {
    /// Its name there.
    pub name: String,
    /// The server to which it leads, by our name, where that is known.
    pub server: Option<String>,
}

/// What an instance of a route is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceKind {
    /// A HAProxy; its backend holds the servers.
    #[default]
    Haproxy,
    /// A PgBouncer; its databases point to one of the servers, and are paused while that drains.
    Pgbouncer,
}

/// Why an instance is of no use to a failover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceTrouble {
    /// It answered that it has no such backend.
    pub no_backend: bool,
    /// In one line.
    pub message: String,
    /// What mends it; may be empty.
    pub remedy: String,
}

/// One server as one instance shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// Our name of it.
    pub server: String,
    /// HAProxy's name of it.
    pub name: String,
    /// Whether it gets new sessions.
    pub state: RouteState,
    /// What keeps it out that an order to be ready does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The weight that it cannot be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<FixedWeight>,
    /// The instance's own check that holds it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<OwnCheck>,
    /// Its address is another server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misled: Option<Misled>,
    /// The most sessions that it takes at a time (`maxconn`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// It takes sessions only while no other line does (`backup`), whatever its state is now.
    #[serde(default)]
    pub backup: bool,
}

impl ServerView {
    /// A server with nothing to say but whether it gets new sessions.
    #[must_use]
    pub fn new(server: &str, name: &str, state: RouteState) -> ServerView {
        ServerView {
            server: server.to_owned(),
            name: name.to_owned(),
            state,
            held: None,
            fixed: None,
            check: None,
            misled: None,
            limit: None,
            backup: state == RouteState::Backup,
        }
    }
}

/// A weight that stays what it is in the instance's file, because the balance is a static one, and another one that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedWeight {
    /// The balance.
    pub balance: String,
    /// The weight that it has.
    pub has: u32,
    /// The one that is configured; `None`: one that grows (`weight_ramp`), or any but 0.
    pub wanted: Option<u32>,
}

/// Whether a server gets new sessions from an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteState {
    /// It does.
    Takes,
    /// It does once no other server takes any (`backup`).
    Backup,
    /// It is in maintenance.
    Maint,
    /// It keeps the sessions it has and gets no new ones.
    Drain,
    /// Its weight is 0.
    NoWeight,
    /// The instance's own check holds it down.
    Down,
    /// The instance does not know it.
    Missing,
}

/// What was found out about the route, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReadiness {
    /// When the instances were asked.
    pub asked: Mono,
    /// Each thing that hurts now or would at failover time, with its remedy.
    pub findings: Vec<ReadinessFinding>,
}

/// A server that is not the primary gets new sessions from an instance, or the primary is in maintenance there and nobody gets any:
/// which server, by our name (empty in the second case), and from whom.
#[must_use]
pub fn astray(instances: &[InstanceView], primary: &str) -> Option<(String, String)> {
    instances.iter().find_map(|instance| {
        let servers = instance.servers.as_ref().ok()?;
        let astray = servers.iter().find(|server| server.server != primary && serves(server, servers));
        let kept_out = servers.iter().any(|server| server.server == primary && server.state == RouteState::Maint);
        match astray {
            Some(astray) => Some((astray.server.clone(), instance.name.clone())),
            None => kept_out.then(|| (String::new(), instance.name.clone())),
        }
    })
}

/// The one server that gets the sessions from every instance that can be seen, by our name.
#[must_use]
pub fn sole_server(instances: &[InstanceView]) -> Option<&str> {
    let mut sole = None;
    for servers in instances.iter().filter_map(|instance| instance.servers.as_ref().ok()) {
        let mut takes = servers.iter().filter(|server| server.state == RouteState::Takes);
        let (Some(one), None) = (takes.next(), takes.next()) else { return None };
        if sole.is_some_and(|sole| sole != one.server) {
            return None;
        }
        sole = Some(one.server.as_str());
    }
    sole
}

/// Backups get the sessions when nobody else takes any, and only then.
fn serves(server: &ServerView, all: &[ServerView]) -> bool {
    match server.state {
        RouteState::Takes => true,
        RouteState::Backup => all.iter().all(|server| server.state != RouteState::Takes),
        _ => false,
    }
}

/// What hurts, in the order of the instances. Without a primary nothing is said about who should get the sessions. A server that
/// only the instance's own check holds down is worth a word while it `answers` us. `databases`: the servers hold data.
#[must_use]
pub fn findings(
    instances: &[InstanceView],
    primary: Option<&str>,
    answers: impl Fn(&str) -> bool,
    databases: bool,
) -> Vec<ReadinessFinding> {
    instances.iter().flat_map(|instance| of_instance(instance, primary, &answers, databases)).collect()
}

fn of_instance(
    instance: &InstanceView,
    primary: Option<&str>,
    answers: impl Fn(&str) -> bool,
    databases: bool,
) -> Vec<ReadinessFinding> {
    let InstanceView { name, backend, servers, kind, gate, unnamed } = instance;
    let servers = match servers {
        Ok(servers) => servers,
        Err(trouble) => return vec![of_trouble(name, trouble)],
    };
    let mut found: Vec<ReadinessFinding> = servers.iter().filter_map(|server| missing(name, backend, server)).collect();
    let of_primary = servers.iter().find(|server| primary == Some(server.server.as_str()));
    let of_line = |server| line::findings(name, backend, server, of_primary, answers(&server.server));
    found.extend(servers.iter().filter(|server| server.state != RouteState::Missing).flat_map(of_line));
    found.extend(servers.iter().filter_map(|server| weight_fixed(name, backend, server)));
    found.extend(gate.iter().map(|trouble| no_gate(name, trouble)));
    let Some(primary) = primary else { return found };
    if *kind == InstanceKind::Pgbouncer {
        found.extend(of_pooler(name, backend, servers, primary));
        found.extend(line::of_databases(name, unnamed, primary));
        return found;
    }
    found.extend(unnamed.iter().map(|line| line::of_stranger(name, backend, &line.name, servers, primary)));
    found.extend(servers.iter().filter_map(|server| {
        let serves = serves(server, servers);
        if server.server == primary {
            (!serves).then(|| primary_out(name, backend, server, answers(primary)))?
        } else {
            serves.then(|| to_standby(name, backend, server, databases))
        }
    }));
    found
}

/// An instance that cannot be asked or changed.
fn of_trouble(name: &str, trouble: &InstanceTrouble) -> ReadinessFinding {
    let code = if trouble.no_backend { FindingCode::RouteBackendMissing } else { FindingCode::RouteNotReady };
    let message = format!("route instance {name}: a failover could not move its traffic: {}", trouble.message);
    let remedy = if trouble.remedy.is_empty() {
        "start it, and give the engine its admin socket or console".to_owned()
    } else {
        trouble.remedy.clone()
    };
    code.found(true, message, remedy)
}

/// Clients could not wait.
fn no_gate(name: &str, trouble: &GateTrouble) -> ReadinessFinding {
    match trouble {
        GateTrouble::SessionMode(database) => FindingCode::PoolerSessionMode.found(
            false,
            format!("route instance {name}: pool_mode of {database} is session: a switchover could not let its clients wait"),
            "set pool_mode = transaction for that database in PgBouncer",
        ),
        GateTrouble::NoKeeper => FindingCode::GateKeeperMissing.found(
            false,
            format!(
                "route instance {name}: no program could let its clients go on if the engine were killed during a switchover"
            ),
            "install the program failover where PATH of the engine finds it",
        ),
    }
}

/// No traffic could be moved to this server.
fn missing(name: &str, backend: &str, server: &ServerView) -> Option<ReadinessFinding> {
    (server.state == RouteState::Missing).then(|| {
        FindingCode::RouteServerMissing.found(
            true,
            format!(
                "route instance {name}: backend {backend} has no server {} ({}): no traffic can be moved to it",
                server.name, server.server
            ),
            format!("add the server to backend {backend} of {name}, or correct route.haproxy.servers"),
        )
    })
}

/// A weight that a failover wants to give and cannot.
fn weight_fixed(name: &str, backend: &str, server: &ServerView) -> Option<ReadinessFinding> {
    let FixedWeight { balance, has, wanted } = server.fixed.as_ref()?;
    let path = format!("{backend}/{}", server.name);
    if *has == 0 {
        return Some(FindingCode::RouteWeightFixed.found(
            true,
            format!("route instance {name}: {path} has weight 0 in HAProxy's file, and `balance {balance}` lets no other be set: it would take no traffic"),
            format!("write a weight of at least 1 on the line of {path}, and keep it out by `disabled`"),
        ));
    }
    let wish = wanted.map_or_else(|| "one that grows (weight_ramp)".to_owned(), |wanted| wanted.to_string());
    Some(FindingCode::RouteWeightFixed.found(
        false,
        format!(
            "route instance {name}: {path} keeps weight {has} under `balance {balance}`, unless its hash is a consistent one: it cannot be given {wish}; the traffic moves all the same"
        ),
        format!("write that weight on the line of {path} and take it out of the route here, or balance {backend} by roundrobin, leastconn or with `hash-type consistent`"),
    ))
}

fn to_standby(name: &str, backend: &str, server: &ServerView, databases: bool) -> ReadinessFinding {
    let path = format!("{backend}/{}", server.name);
    FindingCode::RouteToStandby.found(
        false,
        format!(
            "route instance {name}: {path} takes new sessions, and {} is not the primary{}",
            server.server,
            if databases { ": what is written there fails" } else { "" }
        ),
        format!(
            "on the admin socket of {name}: disable server {path}; and write `disabled` on its server line, so that a restart keeps it out"
        ),
    )
}

/// Why no new session reaches the primary, where that is worth a word.
fn primary_out(name: &str, backend: &str, server: &ServerView, answers: bool) -> Option<ReadinessFinding> {
    let path = format!("{backend}/{}", server.name);
    let ready = || match &server.held {
        Some(held) => held.remedy(name, &path),
        None => format!("on the admin socket of {name}: set server {path} state ready"),
    };
    let (why, remedy) = match server.state {
        RouteState::Maint => ("is in maintenance", ready()),
        RouteState::Drain => ("is draining", ready()),
        RouteState::NoWeight => ("has weight 0", format!("on the admin socket of {name}: set server {path} weight 100")),
        RouteState::Down if answers => (
            "is held down by HAProxy's own check, though it answers us",
            format!("see why {name}'s check of {path} fails, or do without one"),
        ),
        RouteState::Backup => {
            ("is a backup, and another server takes the sessions", format!("take `backup` off the line of {path}"))
        }
        RouteState::Takes | RouteState::Down | RouteState::Missing => return None,
    };
    let check = server.check.as_ref().filter(|_| server.state == RouteState::Down).map(OwnCheck::words);
    let cause = server.held.as_ref().map(Held::what).or(check).map(|cause| format!(" ({cause})")).unwrap_or_default();
    Some(FindingCode::RoutePrimaryOut.found(
        false,
        format!("route instance {name}: {path}, the primary, {why}{cause}: no new session reaches it"),
        remedy,
    ))
}

/// Where a PgBouncer's clients come out, if that is not the primary.
fn of_pooler(name: &str, databases: &str, servers: &[ServerView], primary: &str) -> Option<ReadinessFinding> {
    let state = |server: &ServerView| (server.server == primary, server.state);
    if servers.iter().any(|server| state(server) == (true, RouteState::Takes)) {
        return None;
    }
    if servers.iter().any(|server| state(server) == (true, RouteState::Drain)) {
        let message = format!("route instance {name}: {databases} is paused or disabled: its clients wait");
        return Some(FindingCode::RoutePrimaryOut.found(
            false,
            message,
            format!("on the admin console of {name}: RESUME or ENABLE {databases}"),
        ));
    }
    let remedy = format!("write the primary's host and port into the file of {name}, and RELOAD on its admin console");
    let other = servers.iter().find(|server| matches!(server.state, RouteState::Takes | RouteState::Drain));
    Some(match other {
        Some(other) => FindingCode::RouteToStandby.found(
            false,
            format!(
                "route instance {name}: {databases} points to {}, which is not the primary: what is written there fails",
                other.server
            ),
            remedy,
        ),
        None => FindingCode::RoutePrimaryOut.found(
            false,
            format!("route instance {name}: {databases} points to none of the servers alone"),
            remedy,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_has_its_own_words() {
        use RouteState::{Drain, Maint, Takes};
        for (db1, db2, expected) in [
            (Takes, Maint, None),
            (Drain, Maint, Some(("route_primary_out", "paused"))),
            (Maint, Takes, Some(("route_to_standby", "points to db2"))),
            (Maint, Drain, Some(("route_to_standby", "points to db2"))),
            (Maint, Maint, Some(("route_primary_out", "none of the servers"))),
        ] {
            let view = InstanceView { kind: InstanceKind::Pgbouncer, ..instance(&[("db1", db1), ("db2", db2)]) };
            let found = findings(&[view], Some("db1"), |_| true, true);
            let found = found.first().map(|found| (found.code.as_str(), found.message.as_str()));
            assert_eq!(found.map(|(code, _)| code), expected.map(|(code, _)| code), "{db1:?} {db2:?}");
            assert!(found.zip(expected).is_none_or(|((_, said), (_, word))| said.contains(word)), "{found:?}");
        }
    }

    fn view(servers: Result<Vec<ServerView>, InstanceTrouble>) -> InstanceView {
        let (name, backend) = ("lb1".into(), "orders".into());
        InstanceView { name, backend, servers, kind: InstanceKind::Haproxy, gate: Vec::new(), unnamed: Vec::new() }
    }

    fn instance(states: &[(&str, RouteState)]) -> InstanceView {
        let servers = states.iter().map(|(server, state)| ServerView::new(server, &format!("pg-{server}"), *state));
        view(Ok(servers.collect()))
    }

    fn codes(states: &[(&str, RouteState)], primary: Option<&str>, answers: bool) -> Vec<String> {
        findings(&[instance(states)], primary, |_| answers, true).into_iter().map(|finding| finding.code.to_string()).collect()
    }

    #[test]
    fn why_clients_of_a_pooler_could_not_wait_is_told_and_blocks_no_failover() {
        let states = [("db1", RouteState::Takes), ("db2", RouteState::Maint)];
        let gate = vec![GateTrouble::SessionMode("app".into()), GateTrouble::NoKeeper];
        let view = InstanceView { kind: InstanceKind::Pgbouncer, gate, ..instance(&states) };
        let found = findings(&[view], Some("db1"), |_| true, true);
        assert_eq!(found.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["pooler_session_mode", "gate_keeper_missing"]);
        assert!(found.iter().all(|one| !one.blocking && one.code.is_of_planned_work() && !one.remedy.is_empty()), "{found:?}");
    }

    #[test]
    fn only_the_primary_may_take_sessions() {
        use RouteState::{Backup, Down, Drain, Maint, Missing, NoWeight, Takes};
        for (db1, db2, expected) in [
            (Takes, Maint, vec![]),
            (Takes, Drain, vec![]),
            (Takes, NoWeight, vec![]),
            (Takes, Down, vec![]),
            (Takes, Backup, vec![]),
            (Takes, Takes, vec!["route_to_standby"]),
            (Maint, Maint, vec!["route_primary_out"]),
            (Drain, Maint, vec!["route_primary_out"]),
            (NoWeight, Maint, vec!["route_primary_out"]),
            (Down, Maint, vec!["route_primary_out"]),
            (Maint, Takes, vec!["route_primary_out", "route_to_standby"]),
            (Maint, Backup, vec!["route_primary_out", "route_to_standby"]),
            (Backup, Maint, vec![]),
            (Backup, Takes, vec!["route_primary_out", "route_to_standby"]),
            (Missing, Maint, vec!["route_server_missing"]),
            (Takes, Missing, vec!["route_server_missing"]),
        ] {
            assert_eq!(codes(&[("db1", db1), ("db2", db2)], Some("db1"), true), expected, "{db1:?} {db2:?}");
        }
    }

    #[test]
    fn a_primary_that_does_not_answer_is_rightly_held_down() {
        assert!(codes(&[("db1", RouteState::Down)], Some("db1"), false).is_empty());
    }

    #[test]
    fn without_a_primary_only_what_is_missing_is_told() {
        let both = [("db1", RouteState::Takes), ("db2", RouteState::Takes)];
        assert!(codes(&both, None, true).is_empty());
        assert_eq!(codes(&[("db1", RouteState::Missing)], None, true), ["route_server_missing"]);
    }

    #[test]
    fn findings_name_instance_backend_and_server_with_the_command_that_helps() {
        let found = findings(&[instance(&[("db1", RouteState::Takes), ("db2", RouteState::Takes)])], Some("db1"), |_| true, true);
        assert!(!found[0].blocking, "{found:?}");
        assert!(found[0].message.contains("lb1") && found[0].message.contains("orders/pg-db2"), "{found:?}");
        assert!(found[0].remedy.contains("disable server orders/pg-db2;"), "{found:?}");
    }

    #[test]
    fn an_instance_that_cannot_be_used_blocks() {
        for (no_backend, code) in [(false, "route_not_ready"), (true, "route_backend_missing")] {
            let trouble = InstanceTrouble { no_backend, message: "no such socket".into(), remedy: String::new() };
            let found = findings(&[view(Err(trouble))], Some("db1"), |_| true, true);
            assert_eq!((found[0].code.as_str(), found[0].blocking), (code, true));
            assert!(!found[0].remedy.is_empty());
        }
    }
}
