//! The set of standbys that commits wait for follows who is well (`data.synchronous = "maintain"`).
//!
//! What is to be done follows from what is seen now and from what the journal says. Before a server hears of another set the journal has
//! whoever may acknowledge in either, and every decision counts both; the journal has the new one alone once that is in force, and
//! whoever is in it has all that others may have acknowledged before.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::gate::Act;
use super::{LogTrack, Service, Surroundings};
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Field, Severity};
use crate::id::ServerId;
use crate::kept_set::{KeptSet, SyncTarget, setting};
use crate::model::{OnNoSyncStandby, OnSynchronous};
use crate::output::{Action, Failure, Report};
use crate::procedure::task::Task;
use crate::sample::Sample;
use crate::snapshot::SyncSetSnapshot;
use crate::sync_set::{Acknowledging, Method, SyncRule, SyncSetting};
use crate::time::{Mono, Span};
use crate::trigger::State;

/// One that has streamed for so long is put in: one that comes and goes would be waited for again and again.
const STEADY_FOR: Span = Span::from_millis(2_000);
/// For so long a primary is looked at before its set is changed: its standbys have said how they are by then.
const LOOKED_FOR: Span = Span::from_millis(3_000);
/// The longest that it takes to change a setting.
const CHANGE: Span = Span::from_millis(5_000);
/// A value that was set shows in a sample within this.
const SEEN_WITHIN: Span = Span::from_millis(1_000);
/// Between two tries: the first pause, which doubles.
const AGAIN: Span = Span::from_millis(2_000);
/// And at most.
const SELDOM: Span = Span::from_millis(60_000);

/// What is seen of the standbys. Every engine sees it anew.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Keeping {
    /// Of which primary, and since when.
    of: Option<(ServerId, Mono)>,
    /// Each standby: whether it streams and answers, and since when.
    well: BTreeMap<ServerId, (bool, Mono)>,
    /// Those that stream, by the primary's own list, and since when.
    streams: BTreeMap<ServerId, Mono>,
    /// When the setting of a server is changed next at the earliest, and how often in a row that was of no use.
    again: BTreeMap<ServerId, (Mono, u32)>,
    /// What the setting of the primary was before the engine changed it last.
    before: String,
    /// This engine set this value on the primary, and the server has confirmed it then.
    done: Option<(String, Mono)>,
    /// Why nothing is changed; and why the last change did not work.
    pub(crate) hindrance: Option<String>,
    failed: Option<String>,
    /// Too few standbys are well: this many.
    short: Option<u32>,
    /// Told once for each.
    told: Option<String>,
}

/// What a setting says, by the servers that it names.
struct Named {
    rule: Option<SyncRule>,
    target: SyncTarget,
    /// Names of servers of ours that no server goes by now.
    unused: u32,
}

impl Service {
    /// Everything about the set that follows from the present evidence.
    pub(super) fn keep_sync_set(&mut self, fx: &mut Effects) {
        if !self.keeps_sync_set() {
            self.leave_sync_set(fx);
            return;
        }
        let Some(primary) = self.durable.primary.filter(|_| self.run.plan.is_none()) else { return };
        let Some(sample) = self.fresh_sample(primary, fx.now).filter(|_| self.is_writable_now(primary, fx.now)).cloned() else {
            return;
        };
        self.see_members(primary, &sample, fx.now);
        let watched = self.detection.suspicion.is_none() && self.state != State::Failing;
        let busy = self.is_at(|task| matches!(task, Task::SetSyncNames(_)));
        if !watched || busy || !self.may(Act::KeepSyncSet, fx.around, fx.now) {
            return;
        }
        let named = match self.named(primary, &sample) {
            Ok(named) => named,
            Err(why) => return self.keep_hands_off(primary, &sample, why, fx),
        };
        self.background.keeping.hindrance = None;
        self.confirm_sync_set(primary, &sample, &named, fx);
        if self.background.keeping.of.is_none_or(|(_, since)| fx.now.since(since) < LOOKED_FOR) {
            return;
        }
        self.notice_override(primary, &sample, &named, fx);
        let (target, there) = self.target(primary, &named, fx.now);
        self.tell_short(primary, there, fx);
        if !self.change_sync_set(primary, &sample, &named, &target, fx) {
            self.prepare_standbys(primary, &target, fx);
        }
    }

    pub(crate) fn keeps_sync_set(&self) -> bool {
        self.model.postgres.sync.keep == OnSynchronous::Maintain && self.holds_data()
    }

    /// An administrator keeps the set: once nothing is under way, what is seen of it counts alone.
    fn leave_sync_set(&mut self, fx: &mut Effects) {
        let busy = self.is_at(|task| matches!(task, Task::SetSyncNames(_)));
        let settled = self.log.as_ref().is_some_and(|log| log.sync.is_settled() && log.lead == Span::ZERO);
        if self.durable.cluster.kept_set.is_some() && !busy && settled && self.is_sure_of_set() && self.run.plan.is_none() {
            self.durable.cluster.kept_set = None;
            self.background.keeping = Keeping::default();
            self.journal_facts(fx);
        }
    }

    /// No change is under way whose outcome is not known.
    fn is_sure_of_set(&self) -> bool {
        self.durable
            .cluster
            .kept_set
            .as_ref()
            .is_none_or(|kept| kept.pending.is_none() || self.durable.primary != Some(kept.primary))
    }

    /// Who streams from the primary, and since when.
    fn see_members(&mut self, primary: ServerId, sample: &Sample, now: Mono) {
        if self.background.keeping.of.is_none_or(|(of, _)| of != primary) {
            self.background.keeping = Keeping { of: Some((primary, now)), ..Keeping::default() };
        }
        for server in self.server_ids().filter(|server| *server != primary) {
            let streams = self.streams_alone(primary, server, sample);
            let well = streams && self.answers_as_standby(server, now);
            let keeping = &mut self.background.keeping;
            if streams {
                keeping.streams.entry(server).or_insert(now);
            } else {
                keeping.streams.remove(&server);
            }
            let before = keeping.well.get(&server).copied().filter(|(before, _)| *before == well);
            keeping.well.insert(server, before.unwrap_or((well, now)));
        }
    }

    /// The primary's list has one row of its name, which is no other server's, and that streams.
    fn streams_alone(&self, primary: ServerId, server: ServerId, sample: &Sample) -> bool {
        let name = self.replication_name(server);
        let twice = self.server_ids().any(|other| other != server && other != primary && self.replication_name(other) == name);
        let mut rows = sample.replicas.iter().flatten().filter(|row| row.application_name.to_lowercase() == name);
        let row = rows.next().filter(|_| rows.next().is_none());
        !twice && row.is_some_and(|row| row.streaming && row.flush.is_some() && !row.is_left(sample.flush))
    }

    /// It says itself that it is a standby of this cluster, and could be asked should the primary die.
    fn answers_as_standby(&self, server: ServerId, now: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        let said = self
            .fresh_sample(server, now)
            .is_some_and(|sample| sample.in_recovery && Some(sample.system_id) == self.durable.cluster.system_id);
        said && !state.deposed
    }

    /// What an acknowledgement of this one is worth: it may be promoted.
    fn may_be_member(&self, primary: ServerId, server: ServerId) -> bool {
        let model = &self.model.servers[usize::from(server.0)];
        server != primary && model.candidate && !self.durable.cordoned.contains(&server)
    }

    /// What a setting says, by the servers; or why the engine leaves it alone.
    fn named(&self, own: ServerId, sample: &Sample) -> Result<Named, String> {
        if sample.replicas.is_none() && !sample.in_recovery {
            return Err("the role may not see who receives (pg_stat_replication)".to_owned());
        }
        if let Some(name) = self.shared_name() {
            return Err(format!(
                "more than one server replicates under the name '{name}': whose acknowledgement it is cannot be told"
            ));
        }
        let rule = match SyncSetting::parse(&sample.sync_names) {
            SyncSetting::Empty => return Ok(Named { rule: None, target: SyncTarget::default(), unused: 0 }),
            SyncSetting::Rule(rule) => rule,
            SyncSetting::Unreadable => {
                return Err(format!("synchronous_standby_names is '{}', which cannot be read", sample.sync_names));
            }
        };
        let called = |server: ServerId| self.server_name(server).to_lowercase();
        let (mut members, mut unused) = (BTreeSet::new(), 0);
        for name in &rule.names {
            let by_use = self.server_ids().find(|server| *server != own && self.replication_name(*server) == *name);
            if let Some(server) = by_use {
                members.insert(server);
            } else if self.server_ids().any(|server| server != own && called(server) == *name) {
                // One of ours, by a name that it does not use now.
                unused += 1;
            } else if self.replication_name(own) != *name && called(own) != *name {
                return Err(format!("synchronous_standby_names names {name}, which is no server of the configuration"));
            }
        }
        let target = SyncTarget { required: rule.required, members };
        Ok(Named { rule: Some(rule), target, unused })
    }

    /// A name by which more than one server replicates.
    fn shared_name(&self) -> Option<String> {
        let names: Vec<String> = self.server_ids().map(|server| self.replication_name(server)).collect();
        names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name.clone())
    }

    /// What the engine does not understand it does not change: what is seen counts alone.
    fn keep_hands_off(&mut self, primary: ServerId, sample: &Sample, why: String, fx: &mut Effects) {
        let settled = self.log.as_ref().is_some_and(|log| log.sync.is_settled());
        if settled && self.is_sure_of_set() && self.durable.cluster.kept_set.take().is_some() {
            self.journal_facts(fx);
        }
        let remedy = format!(
            "give each standby an application_name of its own, and name only servers of the configuration in synchronous_standby_names of {} \
             (now '{}'); or set data.synchronous = \"manual\"",
            self.server_name(primary),
            sample.sync_names
        );
        self.background.keeping.hindrance = Some(why.clone());
        self.tell_not_kept(primary, why, remedy, fx);
    }

    /// The set alone counts once it is in force, and whoever is in it has all that others may have acknowledged.
    fn confirm_sync_set(&mut self, primary: ServerId, sample: &Sample, named: &Named, fx: &mut Effects) {
        let Some(kept) = self.durable.cluster.kept_set.as_ref().filter(|kept| kept.primary == primary) else { return };
        let (Some(pending), Some((done, at))) = (&kept.pending, &self.background.keeping.done) else { return };
        let Some(log) = self.log.as_ref().filter(|log| log.sync.is_settled() && log.sync.at > *at) else { return };
        if pending != done || !is_same(done, &sample.sync_names) {
            return;
        }
        let before = log.sync.acknowledged_at_all();
        if named.target.members.iter().any(|member| self.flushed(*member, sample).is_none_or(|flush| flush < before)) {
            return;
        }
        let confirmed = KeptSet { strangers: named.unused, ..KeptSet::in_force(primary, &named.target) };
        self.durable.cluster.kept_set = Some(confirmed);
        self.journal_facts(fx);
    }

    fn flushed(&self, member: ServerId, sample: &Sample) -> Option<crate::sample::Lsn> {
        let name = self.replication_name(member);
        let rows = sample.replicas.iter().flatten();
        rows.filter(|row| row.application_name.to_lowercase() == name).find_map(|row| row.flush)
    }

    /// Somebody else has changed the setting: it is told, and set back.
    fn notice_override(&mut self, primary: ServerId, sample: &Sample, named: &Named, fx: &mut Effects) {
        let kept = self.durable.cluster.kept_set.as_ref().filter(|kept| kept.primary == primary && kept.pending.is_none());
        let Some(kept) = kept else { return };
        let open = named.rule.is_none();
        if (open && kept.open)
            || (open == kept.open && named.target.members == kept.members && named.target.required == kept.required)
        {
            return;
        }
        let (name, was) = (self.server_name(primary), kept.clone());
        let was = self.setting_of(&SyncTarget { required: if was.open { 0 } else { was.required }, members: was.members });
        let changed = format!("by hand: {}", sample.sync_names);
        if self.background.keeping.told.replace(changed.clone()) == Some(changed) {
            return;
        }
        fx.emit(
            EventKind::SyncSetChanged,
            Severity::Warning,
            self.about_server(primary),
            format!(
                "{name}: somebody changed synchronous_standby_names from '{was}' to '{}'; the engine keeps the set (data.synchronous), and sets it again",
                sample.sync_names
            ),
            vec![
                ("names", text(sample.sync_names.clone())),
                ("before", text(was)),
                ("by_others", Field::Bool(true)),
                ("away", texts([])),
            ],
        );
    }

    /// Who is to be in the set; and how many of them are well, or were a moment ago.
    fn target(&self, primary: ServerId, named: &Named, now: Mono) -> (SyncTarget, u32) {
        let (sync, keeping) = (self.model.postgres.sync, &self.background.keeping);
        let present = self.durable.cluster.kept_set.as_ref().filter(|kept| kept.primary == primary);
        let present: BTreeSet<ServerId> =
            present.map(|kept| kept.members.clone()).unwrap_or_default().union(&named.target.members).copied().collect();
        let stays = |server: &ServerId| match keeping.well.get(server) {
            Some((true, since)) => present.contains(server) || now.since(*since) >= STEADY_FOR,
            Some((false, since)) => present.contains(server) && now.since(*since) < sync.timeout,
            None => false,
        };
        let able = || self.server_ids().filter(|server| self.may_be_member(primary, *server));
        let mut members: BTreeSet<ServerId> = able().filter(stays).collect();
        let wanted = usize::try_from(sync.count).unwrap_or(usize::MAX);
        if members.len() < wanted {
            // One that acknowledges and that the engine cannot ask is better than nobody.
            let streams = |server: &ServerId| {
                let since = keeping.streams.get(server);
                since.is_some_and(|since| present.contains(server) || now.since(*since) >= STEADY_FOR)
            };
            members.extend(able().filter(streams));
        }
        let there = u32::try_from(members.len()).unwrap_or(u32::MAX);
        if there >= sync.count {
            return (SyncTarget { required: sync.count, members }, there);
        }
        if self.model.postgres.on_no_sync_standby == OnNoSyncStandby::Async {
            return (SyncTarget { required: there, members }, there);
        }
        members.extend(present.iter().copied().filter(|server| self.may_be_member(primary, *server)));
        if members.len() < wanted {
            members.extend(able());
        }
        (SyncTarget { required: sync.count, members }, there)
    }

    fn setting_of(&self, target: &SyncTarget) -> String {
        let names: Vec<String> = target.members.iter().map(|server| self.replication_name(*server)).collect();
        setting(target.required, &names)
    }

    /// Fewer standbys are well than commits are to wait for, or there are enough again.
    fn tell_short(&mut self, primary: ServerId, well: u32, fx: &mut Effects) {
        let wanted = self.model.postgres.sync.count;
        let short = (well < wanted).then_some(well);
        if std::mem::replace(&mut self.background.keeping.short, short) == short {
            return;
        }
        let name = self.server_name(primary);
        let blocks = self.model.postgres.on_no_sync_standby == OnNoSyncStandby::Block;
        let (severity, message) = match short {
            Some(_) if blocks => (
                Severity::Alarm,
                format!(
                    "{name}: {well} of {wanted} standbys can acknowledge commits; commits wait until enough stream (on_no_sync_standby)"
                ),
            ),
            Some(0) => (
                Severity::Alarm,
                format!(
                    "{name}: no standby can acknowledge commits; they wait for nobody until one streams (on_no_sync_standby)"
                ),
            ),
            Some(_) => (
                Severity::Alarm,
                format!("{name}: {well} of {wanted} standbys can acknowledge commits; commits wait for {well} until more stream"),
            ),
            None => (Severity::Info, format!("{name}: {well} standbys can acknowledge commits, which wait for {wanted}")),
        };
        fx.emit(
            EventKind::SyncSetShort,
            severity,
            self.about_server(primary),
            message,
            vec![
                ("there", Field::Int(u64::from(well))),
                ("wanted", Field::Int(u64::from(wanted))),
                ("short", Field::Bool(short.is_some())),
                ("commits_wait", Field::Bool(short.is_none() || blocks)),
            ],
        );
    }

    /// The primary gets another set, if it is to have one. True: something is begun, or waited for.
    fn change_sync_set(
        &mut self,
        primary: ServerId,
        sample: &Sample,
        named: &Named,
        target: &SyncTarget,
        fx: &mut Effects,
    ) -> bool {
        let names = self.setting_of(target);
        if names.is_empty() && target.required > 0 {
            // Nobody may be a member, and commits are to wait: an empty value would let them through.
            return false;
        }
        let before = self.durable.cluster.kept_set.clone().filter(|kept| kept.primary == primary);
        let pending = before.as_ref().and_then(|kept| kept.pending.clone());
        let set = self.background.keeping.done.as_ref().is_some_and(|(done, _)| is_same(done, &names));
        let rests = match &pending {
            // It is set, and waits for its confirmation; or an engine that has ended may have set anything.
            Some(pending) => is_same(pending, &names) && set && is_same(&names, &sample.sync_names),
            None => before.is_some() && is_same(&names, &sample.sync_names),
        };
        if rests {
            return pending.is_some();
        }
        if !self.is_due(primary, fx.now) {
            return true;
        }
        let seen = KeptSet { strangers: named.unused, ..KeptSet::in_force(primary, &named.target) };
        let next = KeptSet::in_force(primary, target);
        let both = before.map_or_else(|| seen.clone(), |before| before.or(&seen)).or(&next);
        self.durable.cluster.kept_set = Some(KeptSet { pending: Some(names), ..both });
        self.background.keeping.done = None;
        self.background.keeping.before.clone_from(&sample.sync_names);
        // Before the server hears of it, whoever may acknowledge is in the journal.
        self.journal_facts(fx);
        self.postpone(primary, fx.now);
        self.begin_task(Task::SetSyncNames(primary), fx);
        true
    }

    /// A standby has the set that it would need as a primary: from its promotion on its commits wait.
    fn prepare_standbys(&mut self, primary: ServerId, target: &SyncTarget, fx: &mut Effects) {
        let unprepared = |server: &ServerId| {
            let sample = self.fresh_sample(*server, fx.now).filter(|_| self.answers_as_standby(*server, fx.now));
            let known = sample.is_some_and(|sample| self.named(*server, sample).is_ok());
            let names = self.prepared_names(primary, *server, target);
            known
                && !names.is_empty()
                && self.is_due(*server, fx.now)
                && sample.is_some_and(|sample| !is_same(&names, &sample.sync_names))
        };
        let all: Vec<ServerId> = self.server_ids().filter(|server| self.may_be_member(primary, *server)).collect();
        if let Some(server) = all.into_iter().find(unprepared) {
            self.postpone(server, fx.now);
            self.begin_task(Task::SetSyncNames(server), fx);
        }
    }

    /// The set that a standby would need as a primary: those that are well, and where these are too few whoever may come.
    fn prepared_names(&self, primary: ServerId, server: ServerId, target: &SyncTarget) -> String {
        let count = self.model.postgres.sync.count;
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let mut members: BTreeSet<ServerId> = target.members.iter().copied().filter(|member| *member != server).collect();
        if members.len() < wanted {
            let others = self.server_ids().filter(|other| *other != server);
            members.extend(others.filter(|other| *other == primary || self.may_be_member(primary, *other)));
        }
        self.setting_of(&SyncTarget { required: count, members })
    }

    fn is_due(&self, server: ServerId, now: Mono) -> bool {
        self.background.keeping.again.get(&server).is_none_or(|(at, _)| now >= *at)
    }

    /// It is set: before anything else is, a sample shows it.
    fn looked_at_after(&mut self, server: ServerId, now: Mono) {
        self.background.keeping.again.insert(server, (now + SEEN_WITHIN, 0));
    }

    fn postpone(&mut self, server: ServerId, now: Mono) {
        let (at, tries) = self.background.keeping.again.entry(server).or_default();
        *at = now + CHANGE + AGAIN.times(1 << (*tries).min(5)).min(SELDOM);
        *tries = tries.saturating_add(1);
    }

    /// What is set, and on which server.
    pub(crate) fn set_sync_names_action(&self, server: ServerId, now: Mono) -> Option<(Action, Span)> {
        let system_id = self.durable.cluster.system_id?;
        let from = self.fresh_sample(server, now)?.sync_names.clone();
        let primary = self.durable.primary?;
        let names = if server == primary {
            self.durable.cluster.kept_set.as_ref()?.pending.clone()?
        } else {
            let named = self.named(primary, self.fresh_sample(primary, now)?).ok()?;
            self.prepared_names(primary, server, &self.target(primary, &named, now).0)
        };
        let standby = server != primary;
        Some((Action::SetSyncNames { server, system_id, standby, from, names }, CHANGE))
    }

    pub(crate) fn sync_names_set(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let is_primary = self.durable.primary == Some(server);
        match outcome {
            Ok(Report::Done { message }) if is_primary => self.sync_set_is_set(server, &message, fx),
            Ok(_) => self.looked_at_after(server, fx.now),
            Err(failure) if self.run.plan.is_some() || failure.kind == crate::output::FailureKind::Cancelled => {}
            // One that has just gone has its own events.
            Err(_) if !is_primary && !self.answers_as_standby(server, fx.now) => {}
            Err(failure) => {
                self.background.keeping.failed = Some(failure.message.clone());
                self.tell_not_kept(server, failure.message, failure.remedy, fx);
            }
        }
    }

    fn sync_set_is_set(&mut self, primary: ServerId, message: &str, fx: &mut Effects) {
        let kept = self.durable.cluster.kept_set.as_ref().filter(|kept| kept.primary == primary);
        let Some(names) = kept.and_then(|kept| kept.pending.clone()) else { return };
        let before = std::mem::take(&mut self.background.keeping.before);
        self.background.keeping.done = Some((names.clone(), fx.now));
        self.looked_at_after(primary, fx.now);
        (self.background.keeping.told, self.background.keeping.failed) = (None, None);
        if self.durable.cluster.sync_names.remove(&primary).is_some() {
            self.journal_facts(fx);
        }
        let wide = |names: &str| match SyncSetting::parse(names) {
            SyncSetting::Rule(rule) => rule.required,
            _ => 0,
        };
        let severity = if wide(&names) < wide(&before) { Severity::Warning } else { Severity::Info };
        let name = self.server_name(primary);
        let away: Vec<String> = self
            .background
            .keeping
            .well
            .iter()
            .filter(|(_, (well, _))| !well)
            .map(|(server, _)| self.server_name(*server))
            .collect();
        fx.emit(
            EventKind::SyncSetChanged,
            severity,
            self.about_server(primary),
            format!("{name}: {message}; it was '{before}'"),
            vec![("names", text(names)), ("before", text(before)), ("by_others", Field::Bool(false)), ("away", texts(away))],
        );
    }

    /// Told once for each reason; it is tried until it works.
    fn tell_not_kept(&mut self, server: ServerId, why: String, remedy: String, fx: &mut Effects) {
        if self.background.keeping.told.as_ref() == Some(&why) {
            return;
        }
        self.background.keeping.told = Some(why.clone());
        let name = self.server_name(server);
        fx.emit(
            EventKind::SyncSetNotKept,
            Severity::Alarm,
            self.about_server(server),
            format!("{name}: the engine cannot keep synchronous_standby_names: {why}"),
            vec![("why", text(why)), ("remedy", text(remedy))],
        );
    }

    /// The set for the status.
    pub(crate) fn shown_sync_set(&self) -> Option<SyncSetSnapshot> {
        let primary = self.durable.primary.filter(|_| self.keeps_sync_set())?;
        let kept = self.kept_of_primary();
        let names = self.servers[usize::from(primary.0)].sample.as_ref().map(|(_, sample)| sample.sync_names.clone());
        Some(SyncSetSnapshot {
            wanted: self.model.postgres.sync.count,
            names: names.unwrap_or_default(),
            members: kept.map(|kept| kept.members.iter().copied().collect()).unwrap_or_default(),
            short: self.background.keeping.short.is_some(),
            changing: kept.is_none_or(|kept| kept.pending.is_some()),
            problem: self.background.keeping.hindrance.clone().or_else(|| self.background.keeping.failed.clone()),
        })
    }

    /// Whoever may have acknowledged: by the samples, and by what the journal says of a change that is under way.
    pub(super) fn acknowledging(&self, log: &LogTrack) -> Option<Acknowledging> {
        let seen = log.sync.waits_for.as_ref();
        match self.kept_of_primary() {
            // Commits wait for their own disk alone, whatever the names say.
            Some(_) if log.sync.named && seen.is_none() => None,
            Some(kept) => kept.joined(seen),
            None => seen.cloned(),
        }
    }

    /// Commits were seen to wait, and no change that is under way lets them through.
    pub(super) fn is_kept_shut(&self, log: &LogTrack) -> bool {
        self.kept_of_primary().is_none_or(|kept| !kept.open && log.sync.waits_for.is_some())
    }

    fn kept_of_primary(&self) -> Option<&KeptSet> {
        self.durable.cluster.kept_set.as_ref().filter(|kept| self.durable.primary == Some(kept.primary))
    }

    /// When the set is looked at next, where it may be changed.
    pub(super) fn next_keep_sync(&self, around: Surroundings, now: Mono) -> Mono {
        if !self.keeps_sync_set() || self.run.plan.is_some() || !self.may(Act::KeepSyncSet, around, now) {
            return Mono::NEVER;
        }
        let keeping = &self.background.keeping;
        let timeout = self.model.postgres.sync.timeout;
        let seen = keeping.well.values().map(|(well, since)| *since + if *well { STEADY_FOR } else { timeout });
        let seen = seen.chain(keeping.streams.values().map(|since| *since + STEADY_FOR));
        let looked = keeping.of.map(|(_, since)| since + LOOKED_FOR);
        let again = keeping.again.values().map(|(at, _)| *at);
        seen.chain(again).chain(looked).filter(|at| *at > now).min().unwrap_or(Mono::NEVER)
    }
}

/// Two values of the setting let the same acknowledge.
fn is_same(one: &str, other: &str) -> bool {
    let read = |names: &str| match SyncSetting::parse(names) {
        SyncSetting::Empty => Some(None),
        SyncSetting::Unreadable => None,
        SyncSetting::Rule(rule) => {
            let names: BTreeSet<String> = rule.names.iter().cloned().collect();
            Some(Some((rule.method == Method::Any, rule.required, names)))
        }
    };
    read(one).is_some_and(|one| read(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ServiceId;
    use crate::kind::ServiceKind;
    use crate::kind::tests::model;
    use crate::sample::{Lsn, Replica};
    use crate::service::sync::SyncTrack;

    const DB1: ServerId = ServerId(0);
    const DB2: ServerId = ServerId(1);
    const NAMES: &str = "ANY 1 (\"db2\")";

    /// Others may have acknowledged up to 900; the one member has so much; this was set, and is in force.
    fn confirmed(flush: u64, set: &str, shown: &str, settled: bool) -> bool {
        let at = |ms| Mono::ZERO + Span::from_millis(ms);
        let mut service = Service::new(ServiceId(0), model(ServiceKind::Postgres).services.remove(0), Mono::ZERO);
        service.durable.primary = Some(DB1);
        service.model.servers[usize::from(DB2.0)].replication_name = Some("db2".into());
        let target = SyncTarget { required: 1, members: [DB2].into() };
        let kept = KeptSet { pending: Some(NAMES.into()), strangers: 1, ..KeptSet::in_force(DB1, &target) };
        service.durable.cluster.kept_set = Some(kept);
        service.background.keeping.done = Some((set.into(), at(1_000)));
        let sync =
            SyncTrack { seen: if settled { 2 } else { 1 }, at: at(2_000), acknowledged_before: Lsn(900), ..SyncTrack::default() };
        service.log = Some(LogTrack {
            flush: Lsn(1_000),
            at: at(2_000),
            lead: Span::ZERO,
            rates: [None; 5],
            measured: (Lsn(1_000), at(2_000)),
            timeline: 1,
            heard: None,
            sync,
        });
        let row = Replica { application_name: "db2".into(), streaming: true, flush: Some(Lsn(flush)), ..Replica::default() };
        let sample = Sample { sync_names: shown.into(), replicas: Some(vec![row]), ..Sample::default() };
        let named = Named { rule: None, target, unused: 0 };
        service.confirm_sync_set(DB1, &sample, &named, &mut Effects::default());
        service.durable.cluster.kept_set.is_some_and(|kept| kept.pending.is_none() && kept.strangers == 0)
    }

    #[test]
    fn rule_219_a_set_is_confirmed_by_what_is_seen() {
        assert!(confirmed(900, NAMES, "any 1 (DB2)", true));
        assert!(!confirmed(899, NAMES, NAMES, true), "it lacks what others have acknowledged");
        assert!(!confirmed(900, "", NAMES, true), "something else was set last");
        assert!(!confirmed(900, NAMES, "", true), "it is not in force");
        assert!(!confirmed(900, NAMES, NAMES, false), "one sample is not enough");
    }
}
