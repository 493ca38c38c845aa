//! Whose acknowledgements commits wait for, as the primary's samples show it.

use serde::{Deserialize, Serialize};

use super::Service;
use crate::core::id::ServerId;
use crate::core::sample::{Lsn, Receiver, Sample, SyncCommit};
use crate::core::sync_set::{Acknowledging, SyncRule, SyncSetting};
use crate::core::time::Mono;

/// The setting, as it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::core) struct SyncTrack {
    /// `synchronous_standby_names` is not empty.
    pub named: bool,
    /// Whose acknowledgements are waited for; `None`: nobody's, or it is not known.
    pub waits_for: Option<Acknowledging>,
    /// When the settings were loaded that say so.
    pub loaded: Option<i64>,
    /// In so many samples in a row.
    pub seen: u32,
    /// When the last of them was asked for.
    pub at: Mono,
    /// Before this setting others were waited for.
    pub after_others: bool,
    /// Where the log stood when this was seen first: up to here nothing is known of who acknowledged commits.
    pub unpromised_before: Lsn,
    /// The same where it is known that others may have done it.
    pub acknowledged_before: Lsn,
}

/// A new setting counts from the second sample that shows it: the servers' processes take it over one by one.
const SEEN_ENOUGH: u32 = 2;

impl SyncTrack {
    /// It can be relied on.
    pub(in crate::core) fn is_settled(&self) -> bool {
        self.seen >= SEEN_ENOUGH
    }

    /// The same after one more sample of the primary.
    fn next(&self, now: SyncTrack, flush: Lsn) -> SyncTrack {
        let same = self.seen > 0 && (self.named, &self.waits_for, self.loaded) == (now.named, &now.waits_for, now.loaded);
        let seen = if same { self.seen.saturating_add(1) } else { 1 };
        let unpromised_before = if seen <= SEEN_ENOUGH { flush } else { self.unpromised_before };
        // Others were waited for until now, or until a moment ago.
        let others = if same { self.after_others } else { self.waits_for.is_some() };
        let acknowledged_before = if seen <= SEEN_ENOUGH && others { flush } else { self.acknowledged_before };
        SyncTrack { seen, unpromised_before, acknowledged_before, after_others: others, ..now }
    }
}

impl Service {
    /// What a sample of the primary says about who acknowledges, after what was known before.
    pub(super) fn track_sync(&self, primary: ServerId, before: Option<&SyncTrack>, sample: &Sample, flush: Lsn) -> SyncTrack {
        let now = SyncTrack {
            named: !sample.sync_names.trim().is_empty(),
            waits_for: self.waits_for(primary, sample),
            loaded: sample.settings_loaded,
            at: sample.asked,
            ..SyncTrack::default()
        };
        before.unwrap_or(&SyncTrack::default()).next(now, flush)
    }

    fn waits_for(&self, primary: ServerId, sample: &Sample) -> Option<Acknowledging> {
        let rule = match SyncSetting::parse(&sample.sync_names) {
            SyncSetting::Empty => return None,
            SyncSetting::Rule(rule) => rule,
            SyncSetting::Unreadable => return Some(Acknowledging::unknown()),
        };
        if sample.sync_commit == SyncCommit::Local {
            return None;
        }
        let others = || self.server_ids().filter(|server| *server != primary);
        let own = self.replication_name(primary).to_lowercase();
        let is_named = |name: &str| rule.everybody || rule.names.iter().any(|named| named == name);
        let members: Vec<ServerId> = others().filter(|server| is_named(&self.replication_name(*server).to_lowercase())).collect();
        // Hidden is not absent (rule 92).
        let Some(connected) = connected(sample) else { return Some(Acknowledging::unknown()) };
        let used_by = |name: &str| {
            let servers = others().filter(|server| self.replication_name(*server).to_lowercase() == name).count();
            let rows = connected.iter().filter(|connected| *connected == name).count();
            (servers, rows)
        };
        let size = if rule.everybody {
            // Somebody who is not configured may acknowledge as well: then nothing is known of who has what.
            let foreign = connected.iter().any(|name| {
                let (servers, rows) = used_by(name);
                rows > servers
            });
            if foreign {
                return None;
            }
            members.len()
        } else {
            distinct(&rule)
                .map(|name| {
                    let (servers, rows) = used_by(name);
                    // The same list on every server names the primary too, and that acknowledges nothing to itself.
                    let absent = usize::from(name != own);
                    servers.max(rows).max(absent)
                })
                .sum()
        };
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Some(Acknowledging { rule, size, members, only_written: sample.sync_commit == SyncCommit::RemoteWrite })
    }

    /// Whose row in the primary's list of standbys says that it is synchronous. For the status: no name proves whose row it is.
    pub(super) fn show_sync_set(&mut self, primary: ServerId, sample: &Sample) {
        let Some(replicas) = &sample.replicas else { return };
        let others: Vec<ServerId> = self.server_ids().filter(|server| *server != primary).collect();
        for server in &others {
            let name = self.replication_name(*server).to_lowercase();
            let slot = self.servers[usize::from(server.0)].sample.as_ref().and_then(|(_, sample)| match &sample.receiver {
                Receiver::Seen { slot, .. } => slot.clone(),
                _ => None,
            });
            let alone = others.iter().filter(|other| self.replication_name(**other).to_lowercase() == name).count() == 1;
            let is_its = |replica: &&crate::core::sample::Replica| {
                let by_slot = slot.is_some() && replica.slot == slot;
                by_slot || (alone && replica.application_name.to_lowercase() == name)
            };
            let synchronous = replicas.iter().filter(is_its).any(|replica| replica.synchronous && replica.streaming);
            self.servers[usize::from(server.0)].synchronous = synchronous;
        }
    }

    /// The name by which a server replicates: as configured, as it was seen, or its own.
    pub(super) fn replication_name(&self, server: ServerId) -> String {
        let state = &self.servers[usize::from(server.0)];
        let model = &self.model.servers[usize::from(server.0)];
        model.replication_name.clone().or_else(|| state.replicates_as.clone()).unwrap_or_else(|| model.name.clone())
    }

    /// Keeps the name under which its receiver is seen.
    pub(super) fn note_replication_name(&mut self, server: ServerId, sample: &Sample) {
        if let Receiver::Seen { application_name: Some(name), .. } = &sample.receiver {
            let known = &mut self.servers[usize::from(server.0)].replicates_as;
            if known.as_ref() != Some(name) {
                *known = Some(name.clone());
            }
        }
    }
}

/// The names of those who are connected and acknowledge; `None` where the role may not see them.
fn connected(sample: &Sample) -> Option<Vec<String>> {
    let replicas = sample.replicas.as_ref()?;
    let acknowledges = replicas.iter().filter(|replica| replica.streaming && replica.flush.is_some());
    Some(acknowledges.map(|replica| replica.application_name.to_lowercase()).collect())
}

/// The names of a rule, each once.
fn distinct(rule: &SyncRule) -> impl Iterator<Item = &str> {
    let names = &rule.names;
    names.iter().enumerate().filter(|(at, name)| !names[..*at].contains(name)).map(|(_, name)| name.as_str())
}
