//! Whose acknowledgements commits wait for, as the primary's samples show it.

use serde::{Deserialize, Serialize};

use super::{FRESH, Service};
use crate::id::ServerId;
use crate::sample::{Lsn, Receiver, Sample, SyncCommit};
use crate::sync_set::{Acknowledging, SyncRule, SyncSetting};
use crate::time::Mono;

/// The setting, as it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SyncTrack {
    /// `synchronous_standby_names` is not empty.
    pub named: bool,
    /// Whose acknowledgements are waited for; `None`: nobody's, or it is not known.
    pub waits_for: Option<Acknowledging>,
    /// When the settings were loaded that say so.
    pub loaded: Option<i64>,
    /// A role or a database has commits that wait for nobody.
    #[serde(default)]
    pub overridden: bool,
    /// In so many samples in a row.
    pub seen: u32,
    /// When the last of them was asked for.
    pub at: Mono,
    /// Before this setting others were waited for.
    pub after_others: bool,
    /// Where the log stood when this was seen first: up to here nothing is known of who acknowledged commits.
    pub unpromised_before: Lsn,
    /// The same where it is known that others may have done it, or that somebody has acknowledged so much, whoever that is.
    pub acknowledged_before: Lsn,
    /// The same by the last samples, and when each had come: a standby's sample that is older may lack it.
    #[serde(skip)]
    pub acknowledged: Vec<(Mono, Lsn)>,
    /// So many samples in a row showed somebody who acknowledges under a name that no configured server has.
    #[serde(default)]
    pub strangers: u32,
}

/// A new setting counts from the second sample that shows it: the servers' processes take it over one by one.
const SEEN_ENOUGH: u32 = 2;

/// So many samples are told apart. One comes in a second, and a few more when somebody asks out of turn.
const TOLD_APART: usize = 16;

/// A standby's new name is known after its next sample; who has a strange one for longer is a stranger, and may come back at any moment.
const STRANGE_ENOUGH: u32 = 3;

impl SyncTrack {
    /// It can be relied on.
    pub(crate) fn is_settled(&self) -> bool {
        self.seen >= SEEN_ENOUGH
    }

    /// Up to here commits may have been acknowledged by others, by all that was seen.
    pub(crate) fn acknowledged_at_all(&self) -> Lsn {
        self.acknowledged.iter().map(|(_, lsn)| *lsn).fold(self.acknowledged_before, Lsn::max)
    }

    /// The same after one more sample of the primary.
    fn next(&self, now: SyncTrack, flush: Lsn, came: Mono) -> SyncTrack {
        let same = self.seen > 0 && (self.named, &self.waits_for, self.loaded) == (now.named, &now.waits_for, now.loaded);
        let seen = if same { self.seen.saturating_add(1) } else { 1 };
        let unpromised_before = if seen <= SEEN_ENOUGH { flush } else { self.unpromised_before };
        // Others were waited for until now, or until a moment ago.
        let others = if same { self.after_others } else { self.waits_for.is_some() };
        let changed = (seen <= SEEN_ENOUGH && others).then_some((came, flush));
        // What came before any sample that is still believed is the same for all.
        let (mut acknowledged, old): (Vec<_>, Vec<_>) =
            self.acknowledged.iter().partition(|(came, _)| now.at.since(*came) <= FRESH.times(2));
        let acknowledged_before = old.into_iter().map(|(_, lsn)| lsn).fold(self.acknowledged_before, Lsn::max);
        let last = if acknowledged.len() >= TOLD_APART { acknowledged.pop() } else { None };
        // A standby that was asked before that may have it by now.
        let most = last.into_iter().chain(changed).chain(now.acknowledged.iter().copied()).map(|(_, lsn)| lsn).max();
        acknowledged.extend(most.map(|lsn| (came, lsn)));
        SyncTrack { seen, unpromised_before, acknowledged_before, acknowledged, after_others: others, ..now }
    }
}

impl Service {
    /// What a sample of the primary says about who acknowledges, after what was known before.
    pub(super) fn track_sync(
        &self,
        primary: ServerId,
        before: Option<&SyncTrack>,
        sample: &Sample,
        flush: Lsn,
        now: Mono,
    ) -> SyncTrack {
        let waits_for = self.waits_for(primary, sample);
        let strangers = self.strangers(primary, before.filter(|before| before.loaded == sample.settings_loaded), sample);
        let everybody = waits_for.as_ref().is_some_and(|waits_for| waits_for.rule.everybody);
        let acknowledged = waits_for.as_ref().and_then(|waits_for| acknowledged(sample, &waits_for.rule));
        let seen = SyncTrack {
            named: !sample.sync_names.trim().is_empty(),
            // Where everybody counts, who came once may be the one who acknowledged last.
            waits_for: waits_for.filter(|_| !everybody || strangers < STRANGE_ENOUGH),
            loaded: sample.settings_loaded,
            overridden: sample.sync_commit_overridden == Some(SyncCommit::Local),
            at: sample.asked,
            acknowledged: acknowledged.map(|lsn| (now, lsn)).into_iter().collect(),
            strangers,
            ..SyncTrack::default()
        };
        before.unwrap_or(&SyncTrack::default()).next(seen, flush, now)
    }

    /// In how many samples in a row somebody acknowledged under a name that no server has; once that is enough it is kept until the settings
    /// are loaded anew. A server whose name was never seen may be the one.
    fn strangers(&self, primary: ServerId, before: Option<&SyncTrack>, sample: &Sample) -> u32 {
        let before = before.map_or(0, |before| before.strangers);
        if before >= STRANGE_ENOUGH {
            return before;
        }
        let others = || self.server_ids().filter(|server| *server != primary);
        let is_known = |server: ServerId| {
            let (model, state) = (&self.model.servers[usize::from(server.0)], &self.servers[usize::from(server.0)]);
            model.replication_name.is_some() || state.replicates_as.is_some()
        };
        let strange = |name: &String| !others().any(|server| self.replication_name(server) == *name);
        let seen = others().all(is_known) && connected(sample).is_some_and(|connected| connected.iter().any(strange));
        if seen { before + 1 } else { 0 }
    }

    /// A server's commits wait for its own disk, as far as its settings show: `synchronous_commit` is not `off`, for no role, database or
    /// function. What is not told apart (`local`) counts as `off`; what a single session sets nobody else can see.
    pub(crate) fn flushes_commits(&self, server: ServerId) -> bool {
        let sample = self.servers[usize::from(server.0)].sample.as_ref().map(|(_, sample)| sample);
        let local =
            |sample: &Sample| sample.sync_commit == SyncCommit::Local || sample.sync_commit_overridden == Some(SyncCommit::Local);
        !sample.is_some_and(local)
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
        let own = self.replication_name(primary);
        let members: Vec<ServerId> = others().filter(|server| rule.has(&self.replication_name(*server))).collect();
        // Hidden is not absent (rule 92).
        let Some(connected) = connected(sample) else { return Some(Acknowledging::unknown()) };
        let used_by = |name: &str| {
            let servers = others().filter(|server| self.replication_name(*server) == name).count();
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
        let weakest = sample.sync_commit_overridden.max(Some(sample.sync_commit));
        Some(Acknowledging { rule, size, members, only_written: weakest >= Some(SyncCommit::RemoteWrite) })
    }

    /// Whose row in the primary's list of standbys says that it is synchronous. For the status: no name proves whose row it is.
    pub(super) fn show_sync_set(&mut self, primary: ServerId, sample: &Sample) {
        let Some(replicas) = &sample.replicas else { return };
        let others: Vec<ServerId> = self.server_ids().filter(|server| *server != primary).collect();
        for server in &others {
            let name = self.replication_name(*server);
            let slot = self.servers[usize::from(server.0)].sample.as_ref().and_then(|(_, sample)| match &sample.receiver {
                Receiver::Seen { slot, .. } => slot.clone(),
                _ => None,
            });
            let alone = others.iter().filter(|other| self.replication_name(**other) == name).count() == 1;
            let is_its = |replica: &&crate::sample::Replica| {
                let by_slot = slot.is_some() && replica.slot == slot;
                by_slot || (alone && replica.application_name.to_lowercase() == name)
            };
            let synchronous = replicas.iter().filter(is_its).any(|replica| replica.synchronous && replica.streaming);
            if synchronous {
                self.durable.cluster.synchronous.insert(*server);
            } else {
                self.durable.cluster.synchronous.remove(server);
            }
        }
    }

    /// The name by which a server replicates, in lower case as the server compares it: as configured, as it was seen, or its own.
    pub(super) fn replication_name(&self, server: ServerId) -> String {
        let state = &self.servers[usize::from(server.0)];
        let model = &self.model.servers[usize::from(server.0)];
        let name = model.replication_name.as_ref().or(state.replicates_as.as_ref()).unwrap_or(&model.name);
        name.to_lowercase()
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
    let acknowledges =
        replicas.iter().filter(|replica| replica.streaming && replica.flush.is_some() && !replica.is_left(sample.flush));
    Some(acknowledges.map(|replica| replica.application_name.to_lowercase()).collect())
}

/// Up to where as many as commits wait for have the log on disk, by the primary's own list, whoever they are: so much may be acknowledged.
fn acknowledged(sample: &Sample, rule: &SyncRule) -> Option<Lsn> {
    let named = sample.replicas.iter().flatten().filter(|replica| replica.streaming);
    let named = named.filter(|replica| rule.has(&replica.application_name.to_lowercase()));
    let mut positions: Vec<Lsn> = named.filter_map(|replica| replica.flush).collect();
    positions.sort_unstable_by(|one, other| other.cmp(one));
    let required = usize::try_from(rule.required).ok()?;
    positions.get(required.checked_sub(1)?).copied()
}

/// The names of a rule, each once.
fn distinct(rule: &SyncRule) -> impl Iterator<Item = &str> {
    let names = &rule.names;
    names.iter().enumerate().filter(|(at, name)| !names[..*at].contains(name)).map(|(_, name)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ServiceId;
    use crate::kind::ServiceKind;
    use crate::kind::tests::model;
    use crate::time::Span;

    /// What is on no disk is carried over by nobody, and is not said to be.
    #[test]
    fn commits_that_wait_for_no_disk_are_told_from_those_that_do() {
        let flushes = |sync_commit, sync_commit_overridden| {
            let mut service = Service::new(ServiceId(0), model(ServiceKind::Postgres).services.remove(0), Mono::ZERO);
            service.servers[0].sample = Some((Mono::ZERO, Sample { sync_commit, sync_commit_overridden, ..Sample::default() }));
            service.flushes_commits(ServerId(0))
        };
        assert!(flushes(SyncCommit::On, None));
        assert!(flushes(SyncCommit::On, Some(SyncCommit::RemoteWrite)));
        assert!(!flushes(SyncCommit::Local, None));
        assert!(!flushes(SyncCommit::On, Some(SyncCommit::Local)), "one role has others");
    }

    /// Its samples are forgotten one by one, and what they showed is not.
    #[test]
    fn what_was_acknowledged_is_kept_when_its_samples_are_old() {
        let at = |ms| Mono::ZERO + Span::from_millis(ms);
        let shows = |ms, acknowledged: Option<u64>| SyncTrack {
            at: at(ms),
            acknowledged: acknowledged.map(|lsn| (at(ms), Lsn(lsn))).into_iter().collect(),
            ..SyncTrack::default()
        };
        let first = SyncTrack::default().next(shows(1_000, Some(500)), Lsn(500), at(1_000));
        assert_eq!((first.acknowledged_before, first.acknowledged_at_all()), (Lsn(0), Lsn(500)));
        let later = first.next(shows(60_000, None), Lsn(900), at(60_000));
        assert_eq!((later.acknowledged_before, later.acknowledged.len()), (Lsn(500), 0));
        let again = later.next(shows(61_000, None), Lsn(950), at(61_000));
        assert_eq!(again.acknowledged_before, Lsn(500));
    }
}
