//! Who acknowledges, by the rule that the primary really uses, and whose log is whose: the names that standbys go by, the setting of
//! `synchronous_standby_names`, and the branches that promotions make.

use failover_core::sample::SyncCommit;

/// `synchronous_standby_names`, where it is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `FIRST`, else `ANY`.
    pub first: bool,
    pub required: usize,
    /// `*` is everybody.
    pub names: Vec<String>,
}

impl Rule {
    pub fn text(&self) -> String {
        let method = if self.first { "FIRST" } else { "ANY" };
        format!("{method} {} ({})", self.required, self.names.join(", "))
    }

    /// As the engine writes it: any so many of quoted names; `None`: empty.
    pub fn read(text: &str) -> Option<Rule> {
        let (required, names) = text.strip_prefix("ANY ")?.split_once(" (")?;
        let names = names.strip_suffix(')')?.split(", ").map(|name| name.trim_matches('"').to_owned()).collect();
        Some(Rule { first: false, required: required.parse().ok()?, names })
    }

    /// The place in the list, which is the priority with `FIRST`. Names are compared without regard to case.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|one| one == "*" || one.eq_ignore_ascii_case(name))
    }

    /// Up to where commits are acknowledged, by those that are connected and what they have flushed; `None`: too few are.
    pub fn acknowledged(&self, connected: &[(&str, u64)]) -> Option<u64> {
        let mut listed: Vec<(usize, u64)> =
            connected.iter().filter_map(|(name, flush)| Some((self.place(name)?, *flush))).collect();
        if self.first {
            listed.sort_by_key(|(place, _)| *place);
            listed.truncate(self.required);
            return (listed.len() == self.required).then(|| listed.iter().map(|(_, flush)| *flush).min()).flatten();
        }
        listed.sort_by_key(|(_, flush)| std::cmp::Reverse(*flush));
        listed.get(self.required - 1).map(|(_, flush)| *flush)
    }

    /// Which of those that are connected the primary calls `sync` or `quorum`.
    pub fn is_synchronous(&self, at: usize, connected: &[(&str, u64)]) -> bool {
        let Some(own) = self.place(connected[at].0) else { return false };
        let before = |(other, (name, _)): (usize, &(&str, u64))| {
            self.place(name).is_some_and(|place| (place, other) < (own, at)) && other != at
        };
        !self.first || connected.iter().enumerate().filter(|one| before(*one)).count() < self.required
    }
}

/// What one server's configuration says about its standbys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub rule: Option<Rule>,
    pub commit: SyncCommit,
    /// How often it was read: what `pg_conf_load_time()` tells apart.
    pub loaded: i64,
}

impl Settings {
    /// Commits wait for these.
    pub fn in_force(&self) -> Option<&Rule> {
        self.rule.as_ref().filter(|_| self.commit != SyncCommit::Local)
    }
}

/// A receiver that is no configured standby: it takes the log, says so, and cannot be promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    pub name: String,
}

/// What a primary had with a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strange {
    /// Which reading of the settings was in force.
    pub loaded: i64,
    /// How far the log went while commits could wait for it.
    pub acknowledges: u64,
}

/// The branch of the log that a server is on, and where the earlier ones were left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    pub number: u64,
    pub earlier: Vec<(u64, u64)>,
    /// The timelines that were left, and where: what the server's history file says.
    pub switches: Vec<(u32, u64)>,
}

impl Branch {
    /// What `other` has up to `lsn` is part of this one's log.
    pub fn holds(&self, other: &Branch, lsn: u64) -> bool {
        self.number == other.number || self.earlier.iter().any(|(number, fork)| *number == other.number && lsn <= *fork)
    }

    pub fn fork(&mut self, number: u64, timeline: u32, lsn: u64) {
        self.earlier.push((self.number, lsn));
        self.switches.push((timeline, lsn));
        self.number = number;
    }
}
