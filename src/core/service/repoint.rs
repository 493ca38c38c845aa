//! After a failover: the standbys that streamed from the old primary stream from the new one.
//!
//! What is to be done follows from what is seen now, so a standby that was away during the failover, and an engine that was started later,
//! come to the same end: a standby that does not stream on the primary's timeline is tried until it does.

use serde::{Deserialize, Serialize};

use super::gate::Act;
use super::{Service, Surroundings};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::id::ServerId;
use crate::model::OnNewPrimary;
use crate::output::{Action, EndedHow, Failure, FailureKind, Repointed, Report};
use crate::procedure::task::Task;
use crate::sample::{Lsn, Receiver};
use crate::time::{Mono, Span};

/// So long a standby may take to stream, once its configuration is changed.
pub(crate) const STREAMS_WITHIN: Span = Span::from_millis(10_000);
/// One that is on the primary's timeline, and does not stream, may be about to: its receiver starts anew every `wal_retrieve_retry_interval`.
const MAY_COME_BACK: Span = Span::from_millis(15_000);
/// Between two tries: the first pause, which doubles.
const AGAIN: Span = Span::from_millis(5_000);
/// And at most.
const SELDOM: Span = Span::from_millis(300_000);

/// A standby that is not known to stream from the present primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftBehind {
    /// Which.
    pub server: ServerId,
    /// When it is tried next.
    pub due: Mono,
    /// How often it was tried.
    tries: u32,
    /// Why it was of no use, as it was told last.
    told: Option<String>,
}

/// Whether a standby is where it should be.
enum Standing {
    /// It streams on the primary's timeline, or is none of ours to change.
    Well,
    /// It does not stream there; it is waited for so long before anything is changed.
    LeftBehind(Span),
    /// It says nothing now: silence is no reason to change anything.
    Unknown,
}

impl LeftBehind {
    /// The next try comes later than the last one did.
    fn postpone(&mut self, now: Mono) {
        let pause = AGAIN.times(1 << self.tries.min(6)).min(SELDOM);
        self.tries = self.tries.saturating_add(1);
        self.due = now + pause;
    }
}

impl Service {
    /// Standbys that do not stream on the primary's timeline are pointed to it, one by one, as soon as that may be done.
    pub(crate) fn repoint_standbys(&mut self, fx: &mut Effects) {
        self.find_left_behind(fx.now);
        if self.background.left_behind.is_empty()
            || self.present_primary(fx.now).is_none()
            || !self.may(Act::Repoint, fx.around, fx.now)
        {
            return;
        }
        let due: Vec<ServerId> =
            self.background.left_behind.iter().filter(|left| fx.now >= left.due).map(|left| left.server).collect();
        for standby in due {
            let under_way = self.is_at(|task| matches!(task, Task::Repoint(other) if *other == standby));
            if let Some(left) = self.background.left_behind.iter_mut().find(|left| left.server == standby) {
                if under_way {
                    // It is looked at again when that may have come to its end: what stays due is looked at all the time.
                    left.due = fx.now + AGAIN;
                    continue;
                }
                left.postpone(fx.now + STREAMS_WITHIN);
            }
            if let Some(failure) = self.beyond_the_fork(standby, fx.now) {
                self.tell_not_repointed(standby, &failure, fx);
                continue;
            }
            if let Some((primary, _)) = self.present_primary(fx.now) {
                self.note_slots(primary, &[standby], fx);
            }
            self.begin_task(Task::Repoint(standby), fx);
        }
    }

    /// Who is to be tried, and who is not any more.
    fn find_left_behind(&mut self, now: Mono) {
        if self.model.postgres.followers == OnNewPrimary::Off || !self.holds_data() {
            self.background.left_behind.clear();
            return;
        }
        let Some((primary, timeline)) = self.present_primary(now).filter(|_| self.run.plan.is_none()) else { return };
        self.background.left_behind.retain(|left| left.server != primary);
        for standby in self.server_ids().filter(|server| *server != primary) {
            let at = self.background.left_behind.iter().position(|left| left.server == standby);
            match (self.standing(standby, timeline, now), at) {
                (Standing::LeftBehind(wait), None) => {
                    let left = LeftBehind { server: standby, due: now + wait, tries: 0, told: None };
                    self.background.left_behind.push(left);
                }
                (Standing::Well, Some(at)) => {
                    self.background.left_behind.remove(at);
                }
                _ => {}
            }
        }
    }

    /// The primary, which takes writes by its own fresh word, and its timeline.
    fn present_primary(&self, now: Mono) -> Option<(ServerId, u32)> {
        let primary = self.durable.primary?;
        // One that was promoted a moment ago has not said it again yet.
        let just_promoted = self.run.last_failover.as_ref().filter(|last| {
            let plan = &last.plan;
            let ended = plan.times.ended.is_some_and(|ended| now.since(ended) < super::FRESH);
            ended && last.how == EndedHow::Completed && plan.chosen.is_some_and(|chosen| chosen.server == primary)
        });
        if let Some(timeline) = just_promoted.and_then(|last| last.plan.timeline) {
            return Some((primary, timeline));
        }
        // Nor has one that was started again: it was asked whether it takes writes.
        if let Some(last) = self.run.last_failover.as_ref().filter(|_| self.was_started_again(now))
            && last.plan.old == primary
        {
            return Some((primary, last.plan.old_timeline));
        }
        let state = self.servers.get(usize::from(primary.0)).filter(|state| state.session_open)?;
        let sample = state.sample.as_ref().filter(|_| self.is_writable_now(primary, now));
        Some((primary, sample.map(|(_, sample)| sample.timeline)?))
    }

    /// What an order had stopped was started again a moment ago.
    fn was_started_again(&self, now: Mono) -> bool {
        self.run.last_failover.as_ref().is_some_and(|last| {
            let ended = last.plan.times.ended.is_some_and(|ended| now.since(ended) < super::FRESH);
            ended && last.plan.is_started_again() && self.durable.primary == Some(last.plan.old)
        })
    }

    fn standing(&self, standby: ServerId, timeline: u32, now: Mono) -> Standing {
        let state = &self.servers[usize::from(standby.0)];
        let fresh = |at: Mono| now.since(at) < super::FRESH && state.session_open;
        let Some((_, sample)) = state.sample.as_ref().filter(|(at, _)| fresh(*at)) else { return Standing::Unknown };
        if state.deposed || !sample.in_recovery || self.durable.cluster.system_id != Some(sample.system_id) {
            return Standing::Well;
        }
        let own = self.timeline_of(standby, sample).max(sample.timeline);
        match &sample.receiver {
            // What is hidden is not absent (rule 92).
            Receiver::Hidden => Standing::Unknown,
            Receiver::Seen { streaming: true, .. } if own >= timeline => Standing::Well,
            // It was seen to stream since it said that.
            _ if state.streamed_at.is_some_and(|seen| seen > sample.asked) => Standing::Well,
            _ if own < timeline => Standing::LeftBehind(Span::ZERO),
            // Its receiver ended with the primary, and sleeps.
            _ if self.was_started_again(now) => Standing::LeftBehind(Span::ZERO),
            _ => Standing::LeftBehind(MAY_COME_BACK),
        }
    }

    /// A standby that has replayed beyond the position at which the promoted one left the old timeline can follow it never.
    fn beyond_the_fork(&self, standby: ServerId, now: Mono) -> Option<Failure> {
        let (primary, (timeline, fork)) = (self.durable.primary?, self.durable.cluster.fork?);
        let (_, sample) = self.servers[usize::from(standby.0)].sample.as_ref()?;
        let (_, now_on) = self.present_primary(now)?;
        let replayed = sample.replay.filter(|_| sample.timeline < timeline && now_on == timeline)?;
        (replayed > fork).then(|| diverged(&self.server_name(standby), &self.server_name(primary), replayed, fork))
    }

    /// The action that points these standbys to the present primary. `old`: the one that was primary last.
    pub(crate) fn repoint_action(
        &self,
        standbys: Vec<ServerId>,
        primary: ServerId,
        old: ServerId,
        timeline: u32,
    ) -> Option<Action> {
        let is_former = |server: &ServerId| *server == old || self.servers[usize::from(server.0)].deposed;
        let former = self.server_ids().filter(|server| *server != primary).filter(is_former).collect();
        let system_id = self.durable.cluster.system_id?;
        Some(Action::RepointStandbys { standbys, primary, system_id, timeline, former })
    }

    /// The same for one standby beside everything else.
    pub(crate) fn repoint_one(&self, standby: ServerId, now: Mono) -> Option<(Action, Span)> {
        let (primary, timeline) = self.present_primary(now)?;
        Some((self.repoint_action(vec![standby], primary, primary, timeline)?, STREAMS_WITHIN))
    }

    /// The primary was stopped and is started again: its standbys sleep before their next try, and commits may wait for them.
    pub(crate) fn wake_standbys(&mut self, fx: &mut Effects) {
        if self.model.postgres.followers == OnNewPrimary::Off || !self.holds_data() {
            return;
        }
        let answers = |server: &ServerId| {
            let state = &self.servers[usize::from(server.0)];
            let standby = state
                .sample
                .as_ref()
                .is_some_and(|(_, sample)| sample.in_recovery && self.durable.cluster.system_id == Some(sample.system_id));
            Some(*server) != self.durable.primary && state.session_open && !state.deposed && standby
        };
        let standbys: Vec<ServerId> = self.server_ids().filter(answers).collect();
        for standby in standbys {
            if !self.is_at(|task| *task == Task::Repoint(standby)) && self.may(Act::Repoint, fx.around, fx.now) {
                self.begin_task(Task::Repoint(standby), fx);
            }
        }
    }

    /// A task that pointed a standby to the primary is back.
    pub(crate) fn repointed(&mut self, standby: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let result = match outcome {
            Ok(Report::Repointed(each)) => each
                .into_iter()
                .find(|(server, _)| *server == standby)
                .map_or_else(|| Err(Failure::unknown("the action reported nothing about it", "")), |(_, result)| result),
            Ok(_) => Err(Failure::unknown("the action returned an answer that does not fit it", "")),
            Err(failure) => Err(failure),
        };
        if let Some(primary) = self.durable.primary {
            self.slot_created_or_not(primary, standby, &result, fx);
        }
        match result {
            Ok(repointed) => self.standby_repointed(self.durable.primary, standby, repointed, fx),
            Err(failure) if failure.kind == FailureKind::Cancelled => {}
            Err(failure) => self.tell_not_repointed(standby, &failure, fx),
        }
    }

    /// A standby was pointed to this primary, or is left as it is.
    pub(crate) fn standby_repointed(
        &mut self,
        primary: Option<ServerId>,
        standby: ServerId,
        repointed: Repointed,
        fx: &mut Effects,
    ) {
        let Some(primary) = primary else { return };
        if !repointed.streams {
            return;
        }
        // As good as a sample, should the primary die before the next one.
        self.servers[usize::from(standby.0)].streamed_at = Some(fx.now);
        // Its next sample says the same.
        if let Some(left) = self.background.left_behind.iter_mut().find(|left| left.server == standby) {
            (left.due, left.told, left.tries) = (fx.now + MAY_COME_BACK, None, 0);
        }
        if repointed.changed {
            let (name, primary) = (self.server_name(standby), self.server_name(primary));
            fx.emit(
                EventKind::StandbyRepointed,
                Severity::Info,
                self.about_server(standby),
                format!("{name} streams from {primary}: {}", repointed.message),
                vec![("primary", text(primary)), ("slot", text(repointed.slot.unwrap_or_default()))],
            );
        }
    }

    /// Told once for each reason; it is tried until it works.
    fn tell_not_repointed(&mut self, standby: ServerId, failure: &Failure, fx: &mut Effects) {
        let Some(primary) = self.durable.primary else { return };
        let Some(left) = self.background.left_behind.iter_mut().find(|left| left.server == standby) else { return };
        if left.told.as_ref() == Some(&failure.message) {
            return;
        }
        left.told = Some(failure.message.clone());
        let (name, primary) = (self.server_name(standby), self.server_name(primary));
        fx.emit(
            EventKind::StandbyNotRepointed,
            Severity::Alarm,
            self.about_server(standby),
            format!("{name} does not stream from {primary}, the new primary: {}", failure.message),
            vec![
                ("primary", text(primary)),
                ("why", text(&failure.message)),
                ("remedy", text(&failure.remedy)),
                ("again", Field::Bool(true)),
            ],
        );
    }

    /// When a standby is tried next, where that may be done.
    pub(super) fn next_repoint(&self, around: Surroundings, now: Mono) -> Mono {
        let due = self.background.left_behind.iter().map(|left| left.due).min().unwrap_or(Mono::NEVER);
        let able = due < Mono::NEVER && self.present_primary(now).is_some() && self.may(Act::Repoint, around, now);
        if able { due } else { Mono::NEVER }
    }
}

fn diverged(name: &str, primary: &str, replayed: Lsn, fork: Lsn) -> Failure {
    Failure::refused(
        format!("it has replayed the old timeline up to {replayed}, and {primary} left that at {fork}: their logs have diverged"),
        format!(
            "rebuild {name} from {primary}: stop it; then `failover rejoin` with --rebuild makes a new copy, or pg_basebackup by hand (docs/FOLLOWERS.md)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ServiceId;
    use crate::kind::ServiceKind;
    use crate::kind::tests::model;
    use crate::sample::Sample;

    const DB1: ServerId = ServerId(0);
    const DB2: ServerId = ServerId(1);

    /// A primary on timeline 2 that has said so, and a standby that said this so long ago.
    fn looked(receiver: Receiver, timeline: u32, age: Span, session_open: bool) -> (Service, Effects) {
        let now = Mono::ZERO + Span::from_millis(100_000);
        let mut service = Service::new(ServiceId(0), model(ServiceKind::Postgres).services.remove(0), Mono::ZERO);
        service.model.postgres.followers = OnNewPrimary::Auto;
        (service.durable.primary, service.primary_seen) = (Some(DB1), true);
        service.durable.cluster.system_id = Some(7);
        let said = |asked, in_recovery, timeline, receiver| {
            Some((asked, Sample { asked, in_recovery, timeline, system_id: 7, receiver, ..Sample::default() }))
        };
        service.servers[usize::from(DB1.0)].sample = said(now, false, 2, Receiver::Absent);
        service.servers[usize::from(DB1.0)].session_open = true;
        service.servers[usize::from(DB2.0)].sample = said(now - age, true, timeline, receiver);
        service.servers[usize::from(DB2.0)].session_open = session_open;
        let mut fx = Effects::default();
        fx.now = now;
        service.repoint_standbys(&mut fx);
        (service, fx)
    }

    fn asked(receiver: Receiver, timeline: u32, age: Span, session_open: bool) -> bool {
        looked(receiver, timeline, age, session_open).0.is_at(|task| *task == Task::Repoint(DB2))
    }

    /// A step that hangs for longer than the next try is away is waited for, and not asked about without end.
    #[test]
    fn one_that_is_being_pointed_is_looked_at_later() {
        let (mut service, mut fx) = looked(Receiver::Absent, 1, Span::ZERO, true);
        fx.now = fx.now + Span::from_millis(60_000);
        service.servers.iter_mut().filter_map(|state| state.sample.as_mut()).for_each(|(at, _)| *at = fx.now);
        let next = |service: &Service, now| service.next_repoint(Surroundings::default(), now);
        assert!(next(&service, fx.now) <= fx.now, "it would be tried again");
        service.repoint_standbys(&mut fx);
        assert!(service.is_at(|task| *task == Task::Repoint(DB2)));
        let due = next(&service, fx.now);
        assert!(fx.now < due && due < Mono::NEVER, "{due:?}");
    }

    fn streams(streaming: bool) -> Receiver {
        Receiver::Seen { streaming, latest_end: None, last_message_age: Span::ZERO, application_name: None, slot: None }
    }

    #[test]
    fn what_is_hidden_or_silent_is_left_alone() {
        assert!(asked(Receiver::Absent, 1, Span::ZERO, true));
        // Of a standby that follows it, behind its primary.
        assert!(asked(streams(true), 1, Span::ZERO, true));
        assert!(!asked(Receiver::Hidden, 1, Span::ZERO, true), "hidden is not absent");
        assert!(!asked(Receiver::Absent, 1, Span::from_millis(60_000), true), "it said so a minute ago");
        assert!(!asked(Receiver::Absent, 1, Span::ZERO, false), "its session has ended");
        assert!(!asked(streams(true), 2, Span::ZERO, true), "it streams");
        assert!(!asked(streams(false), 2, Span::ZERO, true), "its receiver may be about to come back");
    }
}
