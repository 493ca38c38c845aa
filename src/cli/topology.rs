//! Who streams from whom, as a tree, and what the cluster still bears.

use std::fmt::Write as _;

use failover::{DeathStatus, ServiceStatus, TopologyStatus};

use super::terminal::{Cell, Paint, Terminal, table};
use super::text::{bytes, printable, span_ms};

/// The branches of a tree: to one that has others below it, to the last one, and past them.
struct Branches {
    next: &'static str,
    last: &'static str,
    past: &'static str,
}

const LINES: Branches = Branches { next: "├─ ", last: "└─ ", past: "│  " };
const ASCII: Branches = Branches { next: "|- ", last: "`- ", past: "|  " };

/// The locale says that its characters are those of UTF-8.
fn is_utf8(locale: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| locale(name).filter(|value| !value.is_empty()));
    set.is_some_and(|value| value.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

/// The servers as a tree; nothing where the daemon does not tell of one.
pub fn tree(text: &mut String, service: &ServiceStatus, terminal: Terminal) {
    if service.topology.len() < 2 {
        return;
    }
    let branches = if is_utf8(|name| std::env::var(name).ok()) { LINES } else { ASCII };
    text.push_str("  Who streams from whom:\n");
    let rows = (0..service.topology.len()).map(|at| row(&service.topology, at, &branches)).collect();
    text.push_str(&table(&["server", "replication", "timeline", "behind", "doing"], rows, 2, terminal));
    for node in &service.topology {
        for slot in node.slots.iter().flatten().filter(|slot| slot.held_bytes.is_some()) {
            let used = if slot.active { "in use" } else { "NOT in use" };
            let held = bytes(slot.held_bytes.unwrap_or_default());
            let state = slot.wal_status.as_deref().filter(|state| *state != "reserved");
            let state = state.map_or_else(String::new, |state| format!(", {}", printable(state)));
            let line = format!("  Slot {} on {}: {used}, holds {held} of log{state}", printable(&slot.name), node.server);
            let paint = if slot.active { Paint::Faint } else { Paint::Doubtful };
            let _ = writeln!(text, "{}", terminal.stdout(&line, paint));
        }
    }
}

fn row(list: &[TopologyStatus], at: usize, branches: &Branches) -> Vec<Cell> {
    let node = &list[at];
    let is_well = matches!(node.replication.as_str(), "primary" | "streaming");
    let mut replication = node.replication.replace('_', " ");
    let address = node.upstream_address.as_ref().filter(|_| node.upstream.is_none() && node.depth == 0);
    for more in [node.sync_state.as_ref(), address].into_iter().flatten() {
        let _ = write!(replication, ", {}", printable(more));
    }
    let behind = match (node.lag_bytes, node.lag_ms) {
        _ if node.replication == "primary" => "-".to_owned(),
        (None, None) => "unknown".to_owned(),
        (Some(lag), None) => bytes(lag),
        (lag, Some(time)) => format!("{}, {}", lag.map_or_else(|| "unknown".to_owned(), bytes), span_ms(time)),
    };
    let timeline = node.timeline.map_or_else(|| "unknown".to_owned(), |timeline| timeline.to_string());
    vec![
        Cell::new(format!("{}{}", branch(list, at, branches), node.server)),
        Cell::painted(replication, if is_well { Paint::Good } else { Paint::Doubtful }),
        Cell::new(timeline),
        Cell::new(behind),
        Cell::new(node.doing.as_deref().map_or_else(|| "-".to_owned(), printable)),
    ]
}

/// What stands before the name of a server: a line down for each one above it that has more below.
fn branch(list: &[TopologyStatus], at: usize, branches: &Branches) -> String {
    let depth = list[at].depth;
    // Another one on this level comes before the list goes up beyond it.
    let goes_on = |level: u32| {
        let next = list[at + 1..].iter().find(|node| node.depth <= level);
        next.is_some_and(|node| node.depth == level)
    };
    let mut text = String::new();
    for level in 1..depth {
        text.push_str(if goes_on(level) { branches.past } else { "   " });
    }
    if depth > 0 {
        text.push_str(if goes_on(depth) { branches.next } else { branches.last });
    }
    text
}

/// One more death, two, and so on.
pub fn tolerance(text: &mut String, service: &ServiceStatus) {
    let [first, rest @ ..] = service.tolerates.as_slice() else { return };
    if first.candidate.is_none() || rest.is_empty() {
        return;
    }
    let word = |death: &DeathStatus| {
        let who = death.candidate.as_ref().map_or_else(|| "nobody".to_owned(), |candidate| printable(candidate));
        format!("{}: {who}", death.deaths)
    };
    let deaths: Vec<String> = service.tolerates.iter().map(word).collect();
    let _ = writeln!(
        text,
        "  Who would take over, death after death (each once the failover before it has settled): {}",
        deaths.join(", ")
    );
    if let Some(last) = rest.last().filter(|last| last.candidate.is_none()) {
        let _ = writeln!(text, "    {}: {}", last.deaths, printable(&last.message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made::made;
    use failover::SlotStatus;

    fn node(server: &str, depth: u32) -> TopologyStatus {
        made!(TopologyStatus {
            server: server.into(),
            depth,
            replication: if depth == 0 { "primary".into() } else { "streaming".into() },
            timeline: Some(3),
            lag_bytes: (depth > 0).then_some(72),
        })
    }

    fn service() -> ServiceStatus {
        let silent = made!(TopologyStatus {
            server: "db5".into(),
            replication: "unknown".into(),
            doing: Some("not seen for 12 s".into()),
            seen_ms: Some(12_000),
        });
        let mut list = vec![node("db1", 0), node("db2", 1), node("db4", 2), node("db3", 1), silent];
        list[1].sync_state = Some("sync".into());
        list[1].lag_ms = Some(2);
        list[0].slots =
            Some(vec![made!(SlotStatus { name: "db9".into(), held_bytes: Some(1 << 24), wal_status: Some("extended".into()) })]);
        let tolerates = vec![
            made!(DeathStatus { deaths: 1, candidate: Some("db2".into()), message: "db2 would take over".into() }),
            made!(DeathStatus { deaths: 2, candidate: None, message: "nobody would take over: no standby can take over".into() }),
        ];
        made!(ServiceStatus { kind: "postgres".into(), topology: list, tolerates })
    }

    #[test]
    fn the_tree_shows_cascades_and_what_is_not_known() {
        let list = service().topology;
        let drawn = |branches: &Branches| (0..list.len()).map(|at| branch(&list, at, branches)).collect::<Vec<_>>();
        assert_eq!(drawn(&LINES), ["", "├─ ", "│  └─ ", "└─ ", ""]);
        assert_eq!(drawn(&ASCII), ["", "|- ", "|  `- ", "`- ", ""]);
        let mut text = String::new();
        tree(&mut text, &service(), Terminal::default());
        let silent = text.lines().find(|line| line.contains("db5")).unwrap();
        assert!(silent.contains("not seen for 12 s") && silent.matches("unknown").count() == 3, "{text}");
        assert!(text.contains("72 B, 2.0 ms") && text.contains("streaming, sync"), "{text}");
        assert!(text.contains("Slot db9 on db1: NOT in use, holds 16.0 MiB of log, extended"), "{text}");
    }

    #[test]
    fn the_next_deaths_are_told_until_nobody_is_left() {
        let mut text = String::new();
        tolerance(&mut text, &service());
        let expected = "  Who would take over, death after death (each once the failover before it has settled): 1: db2, 2: nobody\n    2: nobody \
                        would take over: no standby can take over\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn lines_are_drawn_only_where_the_locale_can() {
        let locale = |values: &'static [(&str, &str)]| {
            move |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        for (values, wanted) in [
            (&[("LANG", "de_DE.UTF-8")][..], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")], false),
            (&[("LC_ALL", ""), ("LANG", "de_DE.UTF-8")], true),
            (&[], false),
        ] {
            assert_eq!(is_utf8(locale(values)), wanted, "{values:?}");
        }
    }
}
