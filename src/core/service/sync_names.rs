//! What a failover changed and nobody else puts right: `synchronous_standby_names` that was cleared so that commits could go on, and slots
//! that were created for standbys which stream elsewhere now.

use super::gate::Act;
use super::{Service, Surroundings};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::id::ServerId;
use crate::output::{Action, Failure, Report};
use crate::procedure::task::Task;
use crate::sample::Sample;
use crate::sync_set::SyncSetting;
use crate::time::{Mono, Span};

/// As many standbys as commits are to wait for have streamed for so long: one that comes and goes would stop every commit.
const STEADY_FOR: Span = Span::from_millis(2_000);
/// The longest that it takes to change a setting.
const CHANGE: Span = Span::from_millis(5_000);
/// Between two tries.
const AGAIN: Span = Span::from_millis(30_000);

impl Service {
    /// The names are about to be cleared on this server: what they were outlives the engine from here on.
    pub(crate) fn note_sync_names(&mut self, server: ServerId, fx: &mut Effects) {
        let sample = self.servers[usize::from(server.0)].sample.as_ref();
        let Some((_, sample)) = sample.filter(|(_, sample)| !sample.sync_names.trim().is_empty()) else { return };
        self.durable.cluster.sync_names.insert(server, sample.sync_names.clone());
        self.journal_facts(fx);
    }

    /// Commits wait for standbys again, as soon as enough of them stream; and a server that is a standby now has its setting back before it is
    /// promoted the next time.
    pub(super) fn restore_sync_names(&mut self, fx: &mut Effects) {
        if self.durable.cluster.sync_names.is_empty() || self.run.plan.is_some() {
            return;
        }
        // Where the engine keeps the set, it sets one of its own.
        if self.keeps_sync_set() && self.background.keeping.hindrance.is_none() {
            return;
        }
        self.forget_sync_names(fx);
        let servers: Vec<ServerId> = self.durable.cluster.sync_names.keys().copied().collect();
        let met = servers.iter().any(|server| self.is_met(*server, fx.now));
        self.background.sync_met = if met { self.background.sync_met.or(Some(fx.now)) } else { None };
        if fx.now < self.background.tidy_after || !self.may(Act::Repoint, fx.around, fx.now) {
            return;
        }
        let steady = self.background.sync_met.is_some_and(|since| fx.now.since(since) >= STEADY_FOR);
        let due = servers.into_iter().find(|server| {
            let is_primary = self.durable.primary == Some(*server);
            if is_primary { steady && self.is_met(*server, fx.now) } else { self.is_standby_now(*server, fx.now) }
        });
        if let Some(server) = due.filter(|_| !self.is_at(|task| matches!(task, Task::RestoreSyncNames(_)))) {
            self.background.tidy_after = fx.now + CHANGE + AGAIN;
            self.begin_task(Task::RestoreSyncNames(server), fx);
        }
    }

    /// Somebody has set them since: that is what counts.
    fn forget_sync_names(&mut self, fx: &mut Effects) {
        let ended = self.run.last_failover.as_ref().and_then(|last| last.plan.times.ended).unwrap_or_default();
        let set = |server: &ServerId| {
            let sample = self.fresh_sample(*server, fx.now);
            sample.is_some_and(|sample| sample.asked > ended && !sample.sync_names.trim().is_empty())
        };
        let gone: Vec<ServerId> = self.durable.cluster.sync_names.keys().copied().filter(set).collect();
        if !gone.is_empty() && !self.is_at(|task| matches!(task, Task::RestoreSyncNames(_))) {
            self.durable.cluster.sync_names.retain(|server, _| !gone.contains(server));
            self.journal_facts(fx);
        }
    }

    pub(super) fn fresh_sample(&self, server: ServerId, now: Mono) -> Option<&Sample> {
        let state = self.servers.get(usize::from(server.0)).filter(|state| state.session_open)?;
        state.sample.as_ref().filter(|(at, _)| now.since(*at) < super::FRESH).map(|(_, sample)| sample)
    }

    fn is_standby_now(&self, server: ServerId, now: Mono) -> bool {
        let system_id = self.durable.cluster.system_id;
        self.fresh_sample(server, now).is_some_and(|sample| sample.in_recovery && Some(sample.system_id) == system_id)
    }

    /// The primary's own list has as many of those who were named as commits are to wait for.
    fn is_met(&self, server: ServerId, now: Mono) -> bool {
        let Some(sample) = self.fresh_sample(server, now).filter(|_| self.durable.primary == Some(server)) else { return false };
        let names = self.durable.cluster.sync_names.get(&server);
        let Some(SyncSetting::Rule(rule)) = names.map(|names| SyncSetting::parse(names)) else { return false };
        let replicas = sample.replicas.iter().flatten();
        let streams = replicas.filter(|replica| {
            replica.streaming && !replica.is_left(sample.flush) && rule.has(&replica.application_name.to_lowercase())
        });
        streams.count() >= usize::try_from(rule.required).unwrap_or(usize::MAX)
    }

    pub(crate) fn restore_action(&self, server: ServerId) -> Option<(Action, Span)> {
        let names = self.durable.cluster.sync_names.get(&server)?.clone();
        Some((Action::RestoreSyncNames { server, names }, CHANGE))
    }

    pub(crate) fn sync_names_restored(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let names = self.durable.cluster.sync_names.get(&server).cloned().unwrap_or_default();
        let name = self.server_name(server);
        let (severity, message, why, remedy) = match outcome {
            Ok(_) => {
                self.durable.cluster.sync_names.remove(&server);
                self.background.sync_met = None;
                self.background.tidy_after = fx.now;
                self.journal_facts(fx);
                let waits = if self.durable.primary == Some(server) {
                    "commits wait for its standbys again"
                } else {
                    "it is a standby now"
                };
                (
                    Severity::Info,
                    format!("{name}: synchronous_standby_names is {names} again; {waits}"),
                    String::new(),
                    String::new(),
                )
            }
            Err(failure) => {
                let message = format!("{name}: synchronous_standby_names is still empty, and was {names}: {}", failure.message);
                (Severity::Alarm, message, failure.message, failure.remedy)
            }
        };
        fx.emit(
            EventKind::SyncNamesRestored,
            severity,
            self.about_server(server),
            message,
            vec![("names", text(names)), ("restored", Field::Bool(why.is_empty())), ("why", text(why)), ("remedy", text(remedy))],
        );
    }

    /// A slot that was created on a primary which is a standby now holds its log for nobody.
    pub(super) fn drop_left_slots(&mut self, fx: &mut Effects) {
        if self.durable.cluster.slots.is_empty() || fx.now < self.background.tidy_after {
            return;
        }
        let busy = self.is_at(|task| matches!(task, Task::DropSlot(_)));
        let left = self.durable.cluster.slots.iter().map(|(server, _)| *server);
        let due = left.filter(|server| self.durable.primary != Some(*server)).find(|server| self.is_standby_now(*server, fx.now));
        if let Some(server) = due.filter(|_| !busy && self.may(Act::Repoint, fx.around, fx.now)) {
            self.background.tidy_after = fx.now + CHANGE + AGAIN;
            self.begin_task(Task::DropSlot(server), fx);
        }
    }

    pub(crate) fn drop_slot_action(&self, server: ServerId) -> Option<(Action, Span)> {
        let (_, slot) = self.durable.cluster.slots.iter().find(|(on, _)| *on == server)?.clone();
        Some((Action::DropSlot { server, slot }, CHANGE))
    }

    pub(crate) fn slot_dropped(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some((_, slot)) = self.durable.cluster.slots.iter().find(|(on, _)| *on == server).cloned() else { return };
        let name = self.server_name(server);
        let (severity, message, failed) = match outcome {
            Ok(_) => {
                self.durable.cluster.slots.remove(&(server, slot.clone()));
                self.background.tidy_after = fx.now;
                self.journal_facts(fx);
                (Severity::Info, format!("{name}: the slot {slot}, which the engine had created, is no longer there"), Vec::new())
            }
            Err(failure) => {
                let message = format!(
                    "{name}: no standby uses the slot {slot}, which retains log, and it could not be dropped: {}",
                    failure.message
                );
                // It may be used for long, by a standby of this one.
                let severity = if failure.had_no_effect() { Severity::Debug } else { Severity::Warning };
                (severity, message, vec![failure.message])
            }
        };
        fx.emit(
            EventKind::EvidenceGathered,
            severity,
            self.about_server(server),
            message,
            vec![("failed", crate::effects::texts(failed))],
        );
    }

    /// When the names may be put back.
    pub(super) fn next_sync_restore(&self, around: Surroundings, now: Mono) -> Mono {
        let Some(since) = self.background.sync_met.filter(|_| self.run.plan.is_none()) else { return Mono::NEVER };
        let at = (since + STEADY_FOR).max(self.background.tidy_after);
        if self.may(Act::Repoint, around, now) { at } else { Mono::NEVER }
    }
}
