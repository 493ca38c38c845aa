//! What the lines of a backend say beside their state: what they follow, what their own check found, where they lead.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::{HaproxyTarget, Job};
use crate::wire::haproxy::{Command, Endpoint, StatRow};
use crate::wire::resolve::Addresses;
use failover_core::route::{Held, Misled, OwnCheck, ServerView};

/// Longer than any chain of `track` that a person writes; HAProxy itself refuses a ring.
const LONGEST_CHAIN: usize = 16;

/// A line as it was seen, with what only the whole route can judge.
pub(super) struct Line {
    pub view: ServerView,
    /// Where it leads.
    pub address: Option<SocketAddr>,
}

/// Every line of the instance, where something follows another line.
pub(super) fn followed(job: &Job<'_>, rows: &[&StatRow]) -> Vec<StatRow> {
    if rows.iter().all(|row| row.tracked.is_none()) {
        return Vec::new();
    }
    // What cannot be asked is no reason to fail: the line itself says the first that it follows.
    job.run(&[Command::ShowStat(None)]).ok().and_then(|replies| job.client.stat(&replies[0]).ok()).unwrap_or_default()
}

/// The chain of `track` that begins at `row`, and the row of its end where that is known.
pub(super) fn chain<'a>(row: &'a StatRow, all: &'a [StatRow]) -> (Vec<String>, Option<&'a StatRow>) {
    let (mut follows, mut last) = (Vec::new(), Some(row));
    while let Some(next) = last.and_then(|row| row.tracked.clone()).filter(|_| follows.len() < LONGEST_CHAIN) {
        last = all.iter().find(|row| path(row) == next);
        follows.push(next);
    }
    (follows, last)
}

fn path(row: &StatRow) -> String {
    format!("{}/{}", row.backend, row.server)
}

/// The check that holds a line down; `checked`: the line whose check it is.
pub(super) fn own_check(row: &StatRow, checked: Option<&StatRow>) -> Option<OwnCheck> {
    let checked = checked.filter(|_| row.is_down())?;
    let agent = checked.status.contains("agent");
    let look = if agent { &checked.agent } else { &checked.check };
    Some(OwnCheck { line: path(checked), agent, status: look.status.clone(), code: look.code, said: look.said.clone() })
}

/// The line belongs to another server of the route on the same instance: whose it is.
fn rival<'a>(targets: &'a [HaproxyTarget], here: &HaproxyTarget, server: &str, line: &str) -> Option<&'a str> {
    let of_this = |target: &&HaproxyTarget| target.endpoint == here.endpoint;
    let lines =
        targets.iter().filter(of_this).flat_map(|target| target.servers.iter().map(move |(ours, theirs)| (target, ours, theirs)));
    let mut owners =
        lines.filter(|(target, _, theirs)| line == format!("{}/{theirs}", target.backend)).map(|(_, ours, _)| ours.as_str());
    owners.find(|owner| *owner != server)
}

/// What holds a line of `server`, where it follows these: its own server's line in another backend of the route gets the traffic with it,
/// and holds nothing; another server's is taken out.
pub(super) fn judged(
    held: Option<Held>,
    targets: &[HaproxyTarget],
    here: &HaproxyTarget,
    server: &str,
    follows: &[String],
) -> Option<Held> {
    if let Some(other) = follows.iter().find(|line| rival(targets, here, server, line).is_some()) {
        return Some(Held::TracksRival(other.clone()));
    }
    let its_own = |line: &String| {
        targets.iter().any(|other| {
            let name = other.servers.get(server);
            other.endpoint == here.endpoint && name.is_some_and(|name| *line == format!("{}/{name}", other.backend))
        })
    };
    held.filter(|held| !matches!(held, Held::Tracks(tracked) if its_own(tracked)))
}

/// Marks each line whose address is another server's: by the configuration, or because a line of that server has it too.
pub(super) fn mark_misled(target: &HaproxyTarget, lines: &mut [Line], addresses: &dyn Addresses) {
    let places: BTreeMap<&str, Vec<SocketAddr>> = target
        .places
        .iter()
        .map(|(server, (host, port))| (server.as_str(), addresses.addresses(host, *port).unwrap_or_default()))
        .collect();
    let near = is_near(&target.endpoint);
    let known = |server: &str, address: &SocketAddr| {
        (near || !address.ip().is_loopback()) && places.get(server).is_some_and(|places| places.contains(address))
    };
    let all: Vec<(String, String, Option<SocketAddr>)> =
        lines.iter().map(|line| (line.view.server.clone(), line.view.name.clone(), line.address)).collect();
    for line in lines {
        let Some(address) = line.address.filter(|address| !known(&line.view.server, address)) else { continue };
        let owner = places.keys().find(|server| **server != line.view.server && known(server, &address));
        let twin = || all.iter().find(|(server, _, at)| *server != line.view.server && *at == Some(address));
        let misled = |server: &str, twin| Misled { address: address.to_string(), server: server.to_owned(), twin };
        line.view.misled = match owner {
            Some(owner) => Some(misled(owner, None)),
            None => twin().map(|(server, name, _)| misled(server, Some(format!("{}/{name}", target.backend)))),
        };
    }
}

/// It runs where the engine does: what is loopback for one is for the other.
fn is_near(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(_) => true,
        Endpoint::Tcp { host, .. } => host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::resolve::Literals;
    use failover_core::route::RouteState;

    /// 127.0.0.1 on the balancer's host is another machine than the engine's.
    #[test]
    fn loopback_of_another_host_says_nothing() {
        for (endpoint, address, misled) in [
            ("127.0.0.1", "127.0.0.1:5432", true),
            ("lb.example", "127.0.0.1:5432", false),
            ("lb.example", "10.0.0.1:5432", true),
        ] {
            let (host, _) = address.split_once(':').unwrap();
            let target = HaproxyTarget {
                name: "lb".to_owned(),
                endpoint: Endpoint::Tcp { host: endpoint.to_owned(), port: 1 },
                backend: "pg".to_owned(),
                servers: BTreeMap::new(),
                weight: None,
                ramped: false,
                places: BTreeMap::from([("db1".to_owned(), (host.to_owned(), 5432))]),
            };
            let view = ServerView::new("db2", "db2", RouteState::Maint);
            let mut lines = [Line { view, address: address.parse().ok() }];
            mark_misled(&target, &mut lines, &Literals);
            assert_eq!(lines[0].view.misled.is_some(), misled, "{endpoint} {address}");
        }
    }
}
