//! Who streams from whom, what each server is doing, and what the cluster still bears, as it is shown.

use failover_core::candidate::to_replay;
use failover_core::id::ServerId;
use failover_core::plan::Plan;
use failover_core::sample::{Receiver, Sample};
use failover_core::snapshot::{ServerSnapshot, ServiceSnapshot};
use failover_core::streams::{Child, Slot};
use failover_core::time::Mono;
use serde::{Deserialize, Serialize};

/// A server in the tree of who streams from whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopologyStatus {
    /// The server.
    pub server: String,
    /// The server from which it receives; null for a primary, and where that is not known.
    pub upstream: Option<String>,
    /// What its receiver is connected to, `host:port`, by its own word; null where that is not known.
    pub upstream_address: Option<String>,
    /// How many servers are between it and the top of its tree; the list has each server behind the one from which it receives.
    pub depth: u32,
    /// `primary`, `writable` (takes writes, and is not the primary), `streaming`, `not_streaming`, `hidden` (the role may not see it) or `unknown` (it does not answer).
    pub replication: String,
    /// `sync`, `quorum`, `potential` or `async`, by the list of the server from which it receives; null where that is not known.
    pub sync_state: Option<String>,
    /// Its timeline; null while it does not answer.
    pub timeline: Option<u32>,
    /// Bytes behind the primary's last known position; null where that is not known.
    pub lag_bytes: Option<u64>,
    /// The time after which it has replayed what was written, in milliseconds, as the server measures it from which it receives; null where that is not known.
    pub lag_ms: Option<u64>,
    /// What it is doing now, for people; null if nothing but its work.
    pub doing: Option<String>,
    /// Time since it last answered, in milliseconds; null if it never did.
    pub seen_ms: Option<u64>,
    /// Its replication slots; null where they are not known.
    pub slots: Option<Vec<SlotStatus>>,
}

/// A replication slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlotStatus {
    /// Its name.
    pub name: String,
    /// `physical` or `logical`.
    pub kind: String,
    /// True if somebody uses it.
    pub active: bool,
    /// Bytes of log that it holds; null if it holds none, or where that is not known.
    pub held_bytes: Option<u64>,
    /// `reserved`, `extended`, `unreserved` or `lost`; null if it holds no log.
    pub wal_status: Option<String>,
}

/// What would happen at one more death, when the failover after the one before it is over, the others follow and the cooldown has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeathStatus {
    /// How many primaries have died then.
    pub deaths: u32,
    /// The standby that would take over; null if nobody would.
    pub candidate: Option<String>,
    /// One sentence for people.
    pub message: String,
}

/// What a server that comes back does, in order.
const RETURN: [&str; 9] = [
    "proving_fence",
    "writing_checkpoint",
    "reading_history",
    "reading_log",
    "keeping_log",
    "rewinding",
    "writing_settings",
    "starting",
    "catching_up",
];
/// Less than this to replay is no news.
const MUCH: u64 = 1 << 20;

/// The servers of a database. `answers`: whether a server has answered lately.
pub(super) fn of(service: &ServiceSnapshot, answers: &dyn Fn(&ServerSnapshot) -> bool, now: Mono) -> Vec<TopologyStatus> {
    if !service.kind.holds_data() {
        return Vec::new();
    }
    let mut list = service.servers.iter().map(|server| one(service, server, answers(server), now)).collect();
    arrange(&mut list);
    list
}

fn one(service: &ServiceSnapshot, server: &ServerSnapshot, answers: bool, now: Mono) -> TopologyStatus {
    let seen_ms = server.last_answer.map(|at| now.since(at).as_millis());
    let doing = doing(service, server, answers, seen_ms);
    let base = TopologyStatus { server: server.name.clone(), doing, seen_ms, ..TopologyStatus::default() };
    // What it said before it fell silent is not what it is now.
    let Some((_, sample)) = server.sample.as_ref().filter(|_| answers) else {
        return TopologyStatus { replication: "unknown".to_owned(), ..base };
    };
    let replication = match &sample.receiver {
        _ if !sample.in_recovery && service.primary == Some(server.id) => "primary",
        _ if !sample.in_recovery => "writable",
        Receiver::Seen { streaming: true, .. } => "streaming",
        Receiver::Hidden => "hidden",
        _ => "not_streaming",
    };
    let row = row_of(service, server, sample);
    let address = sample.streams.upstream.as_ref().filter(|_| replication == "streaming");
    let position = service.position.map(|(flush, _, _)| flush).filter(|_| sample.in_recovery);
    TopologyStatus {
        upstream: row.map(|(upstream, _)| upstream.name.clone()),
        upstream_address: address
            .map(|(host, port)| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }),
        replication: replication.to_owned(),
        sync_state: row.and_then(|(_, child)| child.sync_state.clone()),
        timeline: Some(sample.timeline),
        lag_bytes: position.zip(sample.receive).map(|(primary, receive)| primary.bytes_after(receive)),
        lag_ms: row.and_then(|(_, child)| child.replay_lag).map(failover_core::time::Span::as_millis),
        slots: sample.streams.slots.as_ref().map(|slots| slots.iter().map(slot).collect()),
        ..base
    }
}

fn slot(slot: &Slot) -> SlotStatus {
    SlotStatus {
        name: slot.name.clone(),
        kind: slot.kind.clone(),
        active: slot.active,
        held_bytes: slot.held,
        wal_status: slot.wal_status.clone(),
    }
}

/// The server whose list shows it, and its row there: by its slot, or by a name that nobody else has.
fn row_of<'a>(service: &'a ServiceSnapshot, server: &ServerSnapshot, sample: &Sample) -> Option<(&'a ServerSnapshot, &'a Child)> {
    let Receiver::Seen { streaming: true, application_name, slot, .. } = &sample.receiver else { return None };
    let name = application_name.as_deref().unwrap_or(&server.name);
    let others = || service.servers.iter().filter(|other| other.id != server.id);
    let same_name = |other: &ServerSnapshot| {
        other.sample.as_ref().is_some_and(|(_, sample)| match &sample.receiver {
            Receiver::Seen { application_name, .. } => application_name.as_deref() == Some(name),
            _ => false,
        })
    };
    let alone = !others().any(same_name);
    let is_its = |child: &&Child| slot.is_some() && child.slot == *slot || alone && child.application_name == name;
    let mut rows = others().filter_map(|other| {
        let (_, sample) = other.sample.as_ref()?;
        Some((other, sample.streams.children.iter().flatten().find(is_its)?))
    });
    // A sender that has not noticed yet that its receiver went elsewhere makes two of it.
    let found = rows.next()?;
    rows.next().is_none().then_some(found)
}

fn doing(service: &ServiceSnapshot, server: &ServerSnapshot, answers: bool, seen_ms: Option<u64>) -> Option<String> {
    if let Some(run) = service.rejoin.as_ref().filter(|run| run.server == server.id) {
        let percent = run.progress.filter(|(_, all)| *all > 0).map(|(done, all)| done.saturating_mul(100) / all);
        let percent = percent.map_or_else(String::new, |percent| format!(" {percent} %"));
        let step = RETURN.iter().position(|known| *known == run.doing).map(|at| format!(", step {} of {}", at + 1, RETURN.len()));
        return Some(format!("{}{percent}{}", run.doing.replace('_', " "), step.unwrap_or_default()));
    }
    if let Some(words) = service.plan.as_ref().and_then(|plan| in_failover(plan, server.id)) {
        return Some(words.to_owned());
    }
    let silent = || match seen_ms {
        Some(seen) => format!("not seen for {} s", seen / 1_000),
        None => "never seen".to_owned(),
    };
    if server.deposed {
        let fenced = service.last_failover.as_ref().is_some_and(|last| last.plan.old == server.id && last.plan.fence.is_some());
        let state = if fenced { "fenced" } else { "deposed" };
        return Some(if answers { state.to_owned() } else { format!("{state}, {}", silent()) });
    }
    let Some((_, sample)) = server.sample.as_ref().filter(|_| answers) else {
        return (!answers).then(silent);
    };
    if !sample.in_recovery {
        return None;
    }
    if sample.replay_paused {
        return Some("replay paused".to_owned());
    }
    (to_replay(sample) >= MUCH).then(|| "replaying".to_owned())
}

fn in_failover(plan: &Plan, server: ServerId) -> Option<&'static str> {
    if server == plan.old {
        return Some(match (&plan.fence, &plan.handover) {
            (Some(_), _) => "fenced",
            (None, Some(_)) => "handing over",
            (None, None) => "being fenced",
        });
    }
    plan.chosen.filter(|chosen| chosen.server == server)?;
    Some(if plan.times.promoted.is_some() { "taking over" } else { "about to be promoted" })
}

/// Puts each server behind the one from which it receives, and counts how deep it is. Who receives from nobody that is known comes first, the
/// primary before the others.
pub(super) fn arrange(list: &mut Vec<TopologyStatus>) {
    let mut left = std::mem::take(list);
    let known: Vec<String> = left.iter().map(|node| node.server.clone()).collect();
    let is_top = |node: &TopologyStatus| node.upstream.as_ref().is_none_or(|upstream| !known.contains(upstream));
    let mut tops: Vec<TopologyStatus> = Vec::new();
    let mut at = 0;
    while at < left.len() {
        if is_top(&left[at]) {
            tops.push(left.remove(at));
        } else {
            at += 1;
        }
    }
    tops.sort_by_key(|node| node.replication != "primary");
    for top in tops {
        below(top, 0, &mut left, list);
    }
    // Servers that receive from each other in a circle have no top.
    list.extend(left.into_iter().map(|node| TopologyStatus { depth: 0, ..node }));
}

fn below(node: TopologyStatus, depth: u32, left: &mut Vec<TopologyStatus>, list: &mut Vec<TopologyStatus>) {
    let name = node.server.clone();
    list.push(TopologyStatus { depth, ..node });
    while let Some(at) = left.iter().position(|other| other.upstream.as_ref() == Some(&name)) {
        let child = left.remove(at);
        below(child, depth + 1, left, list);
    }
}

/// Where a receiver's own word names a configured server, that is the one, whatever the lists of senders say.
pub(super) fn by_address(list: &mut Vec<TopologyStatus>, addresses: &[(String, String)]) {
    for node in list.iter_mut() {
        let Some(address) = &node.upstream_address else { continue };
        let mut to = addresses.iter().filter(|(server, at)| at.eq_ignore_ascii_case(address) && *server != node.server);
        if let (Some((server, _)), None) = (to.next(), to.next()) {
            node.upstream = Some(server.clone());
        }
    }
    arrange(list);
}

#[cfg(test)]
mod tests {
    use super::*;
    use failover_core::sample::Lsn;
    use failover_core::streams::Streams;
    use failover_core::time::Span;

    fn node(server: &str, upstream: Option<&str>) -> TopologyStatus {
        let replication = if upstream.is_none() { "primary" } else { "streaming" };
        TopologyStatus {
            server: server.to_owned(),
            upstream: upstream.map(str::to_owned),
            replication: replication.to_owned(),
            ..TopologyStatus::default()
        }
    }

    fn shape(list: &[TopologyStatus]) -> Vec<(&str, u32)> {
        list.iter().map(|node| (node.server.as_str(), node.depth)).collect()
    }

    /// Rule 242.
    #[test]
    fn a_silent_server_has_no_numbers() {
        let snapshot = failover_core::Core::new(crate::engine::tests::two_servers()).snapshot();
        let mut service = snapshot.services.into_iter().next().unwrap();
        (service.kind, service.primary) = (failover_core::model::ServiceKind::Postgres, Some(ServerId(0)));
        service.position = Some((Lsn(500), 3, Mono::ZERO));
        for (place, server) in service.servers.iter_mut().enumerate() {
            let slot = Slot { name: "held".to_owned(), held: Some(7), ..Slot::default() };
            let streams = Streams { slots: Some(vec![slot]), ..Streams::default() };
            let sample = Sample { in_recovery: place > 0, timeline: 3, receive: Some(Lsn(500)), streams, ..Sample::default() };
            (server.sample, server.last_answer) = (Some((Mono::ZERO, sample)), Some(Mono::ZERO));
        }
        let now = Mono::ZERO + Span::from_millis(12_000);
        let here = of(&service, &|_| true, now);
        assert_eq!((here[1].lag_bytes, here[1].timeline, here[1].slots.as_ref().map(Vec::len)), (Some(0), Some(3), Some(1)));
        let gone = of(&service, &|_| false, now);
        for node in &gone {
            assert_eq!((node.replication.as_str(), node.timeline, node.lag_bytes), ("unknown", None, None), "{node:?}");
            assert_eq!((node.seen_ms, node.doing.as_deref()), (Some(12_000), Some("not seen for 12 s")));
            assert_eq!((&node.slots, &node.upstream), (&None, &None));
        }
    }

    #[test]
    fn each_server_stands_behind_the_one_from_which_it_receives() {
        let mut list = vec![node("db1", Some("db3")), node("db2", Some("db4")), node("db3", None), node("db4", Some("db3"))];
        arrange(&mut list);
        assert_eq!(shape(&list), [("db3", 0), ("db1", 1), ("db4", 1), ("db2", 2)]);
        arrange(&mut list);
        assert_eq!(shape(&list), [("db3", 0), ("db1", 1), ("db4", 1), ("db2", 2)]);
    }

    #[test]
    fn a_circle_and_an_unknown_upstream_lose_nobody() {
        let mut list = vec![node("db1", Some("db2")), node("db2", Some("db1")), node("db3", Some("elsewhere"))];
        arrange(&mut list);
        assert_eq!(shape(&list), [("db3", 0), ("db1", 0), ("db2", 0)]);
    }

    #[test]
    fn the_receivers_own_word_decides() {
        let mut list = vec![node("db1", None), node("db2", None), node("db3", Some("db1"))];
        list[2].upstream_address = Some("10.0.0.2:5432".to_owned());
        let addresses = [("db1".to_owned(), "10.0.0.1:5432".to_owned()), ("db2".to_owned(), "10.0.0.2:5432".to_owned())];
        by_address(&mut list, &addresses);
        assert_eq!(list.iter().find(|node| node.server == "db3").unwrap().upstream.as_deref(), Some("db2"));
    }
}
