//! Which faults have met: each pair of kinds that was there at the same time in one run. Two that never met were never tried together.

use std::collections::BTreeMap;

use failover_core::input::Command;

use super::swarm::{Change, Fault, Link};

/// Every kind of fault.
pub const KINDS: &[&str] = &[
    "kill",
    "orphans",
    "freeze",
    "power_off",
    "restart",
    "impair",
    "port",
    "reject",
    "host",
    "replication",
    "lag",
    "session_ends",
    "flaky",
    "resolver",
    "instance",
    "instance_restarts",
    "sleep",
    "suspend",
    "gap_told",
    "wall_clock",
    "stuck",
    "journal",
    "disk_full",
    "crash",
    "clean_stop",
    "stop",
    "executor",
    "reload",
    "reload_settings",
    "reload_servers",
    "pause",
    "timed_pause",
    "resume",
    "reset",
    "confirm",
    "force",
    "adopt",
    "cordon",
    "uncordon",
    "promoted_by_hand",
    "demoted_by_hand",
    "old_returns",
    "restored",
    "other_cluster",
    "delayed",
    "replay_paused",
    "hidden_receiver",
    "second_engine",
    "other_checks",
    "burst",
    "rejoin",
    "flicker",
    "rule",
    "commit",
    "stranger",
    "wake",
    "slow",
    "damaged",
    "surveyless",
];

/// What a fault is called here. One that waits for a step is none yet.
pub fn kind(fault: &Fault) -> Option<&'static str> {
    Some(match fault {
        Fault::Kill { orphans: true } => "orphans",
        Fault::Kill { .. } | Fault::KillIfPrimary => "kill",
        Fault::Freeze => "freeze",
        Fault::PowerOff => "power_off",
        Fault::Restart { .. } => "restart",
        Fault::Impair(_) => "impair",
        Fault::Port(Link::Reject) => "reject",
        Fault::Port(_) => "port",
        Fault::Host => "host",
        Fault::Replication => "replication",
        Fault::Lag(_) => "lag",
        Fault::SessionEnds(_) => "session_ends",
        Fault::Flaky(_) => "flaky",
        Fault::Resolver => "resolver",
        Fault::Instance => "instance",
        Fault::InstanceRestarts => "instance_restarts",
        Fault::Sleep => "sleep",
        Fault::Suspend => "suspend",
        Fault::GapTold => "gap_told",
        Fault::WallClock(_) => "wall_clock",
        Fault::Stuck => "stuck",
        Fault::Journal => "journal",
        Fault::DiskFull => "disk_full",
        Fault::Crash { .. } => "crash",
        Fault::CleanStop => "clean_stop",
        Fault::Executor(..) => "executor",
        Fault::Reload(Change::Nothing) => "reload",
        Fault::Reload(Change::Settings(_)) => "reload_settings",
        Fault::Reload(_) => "reload_servers",
        Fault::Operator(command) => of_command(command),
        Fault::PromotedElsewhere => "promoted_by_hand",
        Fault::Demoted => "demoted_by_hand",
        Fault::OldReturns => "old_returns",
        Fault::Restored => "restored",
        Fault::OtherCluster => "other_cluster",
        Fault::Delayed => "delayed",
        Fault::ReplayPaused => "replay_paused",
        Fault::HiddenReceiver => "hidden_receiver",
        Fault::SecondEngine => "second_engine",
        Fault::OtherChecks => "other_checks",
        Fault::Burst(_) => "burst",
        Fault::Rejoin => "rejoin",
        Fault::Flicker => "flicker",
        Fault::Rule(_) => "rule",
        Fault::Commit(_) => "commit",
        Fault::Stranger(_) => "stranger",
        Fault::Wake => "wake",
        Fault::Slow(_) => "slow",
        Fault::Damaged(_) => "damaged",
        Fault::Surveyless => "surveyless",
        // Those of salvage have courses of their own, so that the pairs go on meaning what they meant.
        Fault::Unreadable | Fault::SpoolTakes(_) | Fault::Before(..) | Fault::At(..) | Fault::After(..) => return None,
    })
}

fn of_command(command: &Command) -> &'static str {
    match command {
        Command::Pause { lasts: Some(_), .. } => "timed_pause",
        other => other.as_str(),
    }
}

/// How often each pair was seen together, in so many runs.
#[derive(Clone, Debug, Default)]
pub struct Meetings {
    pairs: BTreeMap<(&'static str, &'static str), u64>,
}

impl Meetings {
    /// The faults of one run: which, since when, until when.
    pub fn of<T: Copy + Ord>(faults: &[(&'static str, T, T)]) -> Meetings {
        let mut pairs = BTreeMap::new();
        for (at, (one, from, until)) in faults.iter().enumerate() {
            for (other, begins, ends) in &faults[at + 1..] {
                if one != other && begins <= until && from <= ends {
                    pairs.insert((*one.min(other), *one.max(other)), 1);
                }
            }
        }
        Meetings { pairs }
    }

    pub fn merge(&mut self, other: &Meetings) {
        for (pair, count) in &other.pairs {
            *self.pairs.entry(*pair).or_default() += count;
        }
    }

    /// Every pair that there is.
    pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        let others = |at: usize| KINDS[at + 1..].iter();
        KINDS.iter().enumerate().flat_map(move |(at, one)| others(at).map(move |other| (*one.min(other), *one.max(other))))
    }

    /// Those that never met.
    pub fn missing(&self) -> Vec<String> {
        Meetings::all().filter(|pair| !self.pairs.contains_key(pair)).map(|(one, other)| format!("{one} and {other}")).collect()
    }

    /// How many pairs met, of how many, and how often the rarest did.
    pub fn summary(&self) -> String {
        let (met, all) = (self.pairs.len(), Meetings::all().count());
        let rarest = self.pairs.iter().min_by_key(|(_, count)| **count);
        let rarest =
            rarest.map_or_else(String::new, |((one, other), count)| format!(", the rarest {one} and {other} in {count} runs"));
        format!("{met} of {all} pairs of faults met{rarest}")
    }
}
