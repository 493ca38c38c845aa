//! What a switchover leaves behind itself, looked at before it: the old primary's way back, the other standbys' way to the new primary, and the
//! names that commits wait for. Nothing of it can cost a row, so it stops no order; an operator who reads "ok" must not be left with one server.

use super::Service;
use super::switchover::Preflight;
use crate::finding::FindingCode;
use crate::id::ServerId;
use crate::model::{OnNewPrimary, OnNoSyncStandby};
use crate::sample::Readiness;
use crate::sync_set::SyncSetting;

/// Where a host's file of sources and its lines are described.
const HOW: &str = "docs/REJOIN.md, \"What a host needs\"; `failover rejoin --dry-run` shows the same later";

impl Service {
    pub(super) fn look_at_aftermath(&self, primary: ServerId, target: ServerId, found: &mut Preflight) {
        self.look_at_way_back(primary, target, found);
        let followers: Vec<ServerId> = self.server_ids().filter(|server| *server != primary && *server != target).collect();
        let able: Vec<ServerId> =
            followers.into_iter().filter(|follower| self.look_at_follower(*follower, target, found)).collect();
        self.look_at_names(target, &able, found);
    }

    /// The old primary's host has to know how it reaches the new one.
    fn look_at_way_back(&self, primary: ServerId, target: ServerId, found: &mut Preflight) {
        let (old, new) = (self.server_name(primary), self.server_name(target));
        let stays = format!("{old} would stay stopped after the switchover");
        if !self.server_model(target).is_some_and(|model| model.ssh) {
            let message = format!("{stays}: no SSH to the host of {new} is configured");
            return found.warn("way_back", message, "configure ssh and data_dir for it");
        }
        let readiness = self.servers[usize::from(primary.0)].readiness.as_ref();
        let Some(sources) = readiness.and_then(|readiness| readiness.sources.as_ref()) else {
            let message =
                format!("how the host of {old} reaches {new} is not known: it was not asked yet, or its failover-host is older");
            return found.warn(
                "way_back",
                message,
                "wait a moment, then look again; or install the present contrib/failover-host",
            );
        };
        let line = sources.iter().find(|source| source.server == new || source.server.is_empty());
        match line.map(|source| source.trouble.as_deref()) {
            Some(None) => {
                found.ok("way_back", format!("the host of {old} knows how it reaches {new}; {old} comes back as a standby"));
            }
            Some(Some(trouble)) => found.warn("way_back", format!("{stays}: {trouble}"), HOW),
            None => found.warn("way_back", format!("{stays}: its source file has no line for {new}"), HOW),
        }
    }

    /// Whether this standby can be expected to stream from the new primary.
    fn look_at_follower(&self, follower: ServerId, target: ServerId, found: &mut Preflight) -> bool {
        let (name, new) = (self.server_name(follower), self.server_name(target));
        let state = &self.servers[usize::from(follower.0)];
        if self.model.postgres.followers == OnNewPrimary::Off {
            let message = format!("{name} would not follow {new}: data.followers is off");
            found.warn(
                "followers",
                message,
                "change its primary_conninfo after the switchover, or set data.followers = \"auto\"",
            );
            return false;
        }
        if !state.session_open {
            let message = format!("{name} does not answer: it follows {new} only when it is back");
            found.warn("followers", message, "start it, or look at its log");
            return false;
        }
        let findings = state.readiness.iter().flat_map(Readiness::all);
        if let Some(finding) = findings.into_iter().find(|finding| finding.code == FindingCode::RepointNotPrepared) {
            found.warn("followers", format!("{name} would not follow {new}: {}", finding.message), finding.remedy);
            return false;
        }
        found.ok("followers", format!("{name} follows {new}"));
        true
    }

    /// The new primary has settings of its own, and commits wait for those whom they name. The old primary is back too late to count.
    fn look_at_names(&self, target: ServerId, followers: &[ServerId], found: &mut Preflight) {
        let sample = self.servers[usize::from(target.0)].sample.as_ref();
        let names = sample.map(|(_, sample)| sample.sync_names.trim().to_owned()).unwrap_or_default();
        let SyncSetting::Rule(rule) = SyncSetting::parse(&names) else { return };
        let there = followers.iter().filter(|follower| rule.has(&self.replication_name(**follower))).count();
        let new = self.server_name(target);
        if there >= usize::try_from(rule.required).unwrap_or(usize::MAX) {
            return found.ok("sync_names", format!("enough standbys of {new} can acknowledge commits ({names})"));
        }
        let (message, remedy) = match self.model.postgres.on_no_sync_standby {
            OnNoSyncStandby::Async => (
                format!(
                    "synchronous_standby_names of {new} ({names}) would be emptied: commits wait for nobody until enough standbys stream"
                ),
                "nothing is lost by the switchover; a death of the new primary before that can lose commits",
            ),
            OnNoSyncStandby::Block => (
                format!(
                    "commits on {new} would wait until enough standbys of {names} stream (data.on_no_sync_standby = \"block\")"
                ),
                "name standbys that follow, or accept the pause",
            ),
        };
        found.warn("sync_names", message, remedy);
    }
}
