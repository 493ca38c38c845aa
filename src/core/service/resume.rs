//! A failover that an earlier engine began and did not end: finished, undone, or handed to a person, by what is seen now.
//!
//! Behind the point of no return it goes on: the chosen server is asked what became of it. Before that, nothing of what the earlier
//! engine saw is believed: if the primary proves to be alive, what was changed is undone; if its death is confirmed afresh, a new
//! failover begins from the start, its steps being idempotent; if neither becomes clear in time, a person is called.

use super::gate::Act;
use super::sync::SyncTrack;
use super::{LogTrack, Service};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::handover::Handover;
use crate::knowledge::Knowledge;
use crate::output::{EndedHow, Output, Record};
use crate::plan::{Course, Intent, Phase, Plan, Times};
use crate::procedure::Procedure as _;
use crate::reason::Reason;
use crate::time::{Mono, Span};
use crate::trigger::State;

impl Service {
    /// Takes over what an earlier engine saw of the servers, as old as it is: positions, who received, whose host was matched. Nothing that it
    /// decided.
    pub(super) fn recall(&mut self, knowledge: Knowledge, now: Mono) {
        self.durable.primary = Some(knowledge.primary);
        self.primary_seen = true;
        self.durable.cluster.system_id = Some(knowledge.system_id);
        self.log = Some(LogTrack {
            flush: knowledge.flush,
            at: now,
            lead: knowledge.age.max(knowledge.sync_age),
            rates: knowledge.rates,
            measured: (knowledge.flush, now),
            timeline: knowledge.timeline,
            heard: None,
            sync: SyncTrack { at: now, ..knowledge.sync },
        });
        for known in knowledge.servers {
            let Some(state) = self.servers.get_mut(usize::from(known.server.0)) else { continue };
            state.view_confirmed = known.view_confirmed;
            state.streamed_at = known.was_streaming.then_some(now);
            state.streamed = known.streamed;
            state.replicates_as = known.replicates_as;
        }
    }

    /// What the journal must know of a plan that begins.
    pub(crate) fn begun_with(&self, plan: &Plan) -> Intent {
        let until = plan.times.detected;
        Intent {
            generation: plan.course.generation,
            reason: plan.reason,
            old: plan.old,
            system_id: plan.system_id,
            old_timeline: plan.old_timeline,
            require: plan.require,
            furthest: plan.furthest,
            sync: self.log.as_ref().and_then(|log| log.sync.waits_for.clone()),
            acknowledged_before: self.log.as_ref().map(|log| log.sync.acknowledged_at_all()).unwrap_or_default(),
            streaming: self.server_ids().filter(|server| *server != plan.old && self.was_streaming(*server)).collect(),
            route_touched: plan.route_touched,
            fence_tried: plan.fence_tried,
            stop_tried: plan.is_stop_owed(),
            view_confirmed: self.servers[usize::from(plan.old.0)].view_confirmed,
            chosen: None,
            first_bad: plan.lead.map(|lead| plan.times.confirmed.since(until) + lead),
            judgement: Some(plan.judgement.clone()),
        }
    }

    /// Takes up what the journal knows of an unfinished failover.
    pub(super) fn take_up(&mut self, begun: Intent, fx: &mut Effects) {
        self.durable.primary = Some(begun.old);
        // The earlier engine had seen it: it would not have begun otherwise.
        self.primary_seen = true;
        self.durable.cluster.system_id = Some(begun.system_id).filter(|_| self.holds_data());
        // It was seen when the failover began, by an engine that has ended since: so much older it is. What is known besides is no older.
        let recalled = self.log.take().filter(|log| log.timeline == begun.old_timeline);
        let lead = begun.first_bad.unwrap_or(Span::from_nanos(u64::MAX));
        self.log = recalled.or_else(|| {
            begun.furthest.map(|flush| LogTrack {
                flush,
                at: fx.now,
                lead,
                rates: [None; 5],
                measured: (flush, fx.now),
                timeline: begun.old_timeline,
                heard: None,
                sync: SyncTrack {
                    named: begun.sync.is_some(),
                    waits_for: begun.sync.clone(),
                    seen: 2,
                    at: fx.now,
                    acknowledged_before: begun.acknowledged_before,
                    unpromised_before: begun.acknowledged_before,
                    ..SyncTrack::default()
                },
            })
        });
        for server in &begun.streaming {
            if let Some(state) = self.servers.get_mut(usize::from(server.0)) {
                state.streamed_at = Some(fx.now);
            }
        }
        if let Some(state) = self.servers.get_mut(usize::from(begun.old.0)) {
            state.view_confirmed = begun.view_confirmed;
        }
        self.trouble.bad = Some(fx.now);
        self.run.begun_at = fx.now;
        if begun.chosen.is_some() {
            let (what, phase) = self.kind().takeover().resumes_at();
            self.tell_resumed(what, &begun, fx);
            self.carry_on(self.plan_of(&begun, phase, None, fx));
            self.become_state(State::FailoverInProgress, "a failover of an earlier engine is carried on".into(), fx);
            return;
        }
        if begun.stop_tried {
            // Also while paused: it was well, and this engine's order took it away.
            let why = format!("the engine ended that had stopped {}", self.server_name(begun.old));
            self.tell_resumed("the old primary had been asked to stop, and nobody was promoted: it is started again", &begun, fx);
            self.carry_on(self.plan_of(&begun, Phase::LookAround, Some(why), fx));
            self.become_state(State::FailoverInProgress, "a failover of an earlier engine is undone".into(), fx);
            return;
        }
        if begun.reason == Reason::Switchover && begun.route_touched && !begun.fence_tried {
            // Its primary was well, and clients wait: nobody waits for a first look.
            self.tell_resumed("nothing was done to the old primary: its clients go on with it", &begun, fx);
            let mut plan = self.plan_of(&begun, Phase::Over, Some("the engine ended that had ordered it".to_owned()), fx);
            plan.course.phase = plan.table().owed(&plan, None);
            self.carry_on(plan);
            self.become_state(State::FailoverInProgress, "a switchover of an earlier engine is undone".into(), fx);
            return;
        }
        self.tell_resumed("no promotion had begun: the engine looks at the primary first", &begun, fx);
        self.run.begun_until = fx.now + self.model.trigger.failover_timeout;
        self.run.begun = Some(begun);
    }

    /// Decides about an unfinished failover that had not come to the promotion.
    pub(super) fn settle_begun(&mut self, fx: &mut Effects) {
        let Some(begun) = self.run.begun.clone().filter(|_| self.may(Act::TakeUp, fx.around, fx.now)) else { return };
        if self.durable.primary != Some(begun.old) {
            self.give_up_begun(&begun, "another server took over meanwhile", fx);
        } else if self.kind().is_alive_again(self, &begun) {
            self.run.begun = None;
            self.trouble.bad = None;
            self.undo_begun(&begun, fx);
        } else if fx.now >= self.run.begun_until {
            let why = format!("the primary neither proved to be alive nor dead within {}", self.model.trigger.failover_timeout);
            self.give_up_begun(&begun, &why, fx);
        }
    }

    fn undo_begun(&mut self, begun: &Intent, fx: &mut Effects) {
        let why = format!("{} is alive", self.server_name(begun.old));
        self.tell_resumed(&format!("{why}: what had been changed is undone"), begun, fx);
        let mut plan = self.plan_of(begun, Phase::Over, Some(why.clone()), fx);
        plan.course.phase = plan.table().owed(&plan, None);
        self.carry_on(plan);
        self.become_state(State::FailoverInProgress, format!("{why}: a failover of an earlier engine is undone"), fx);
        self.drive::<Plan>(fx);
    }

    fn give_up_begun(&mut self, begun: &Intent, why: &str, fx: &mut Effects) {
        self.run.begun = None;
        let how = EndedHow::ManualIntervention;
        self.durable.stats.given_up(begun, self.run.begun_at);
        fx.push(Output::Journal(Record::Ended { service: self.id, generation: begun.generation, how }));
        let mut left = vec![format!("journal: failover {} was begun, class {}", begun.generation, begun.reason.as_str())];
        if begun.route_touched {
            left.push(format!("{} was taken out of the route", self.server_name(begun.old)));
        }
        if begun.fence_tried {
            left.push(format!("the fence of {} was begun", self.server_name(begun.old)));
        }
        self.call_a_person(format!("failover {} of an earlier engine was not completed: {why}", begun.generation), left, fx);
    }

    fn plan_of(&self, begun: &Intent, phase: Phase, undoing: Option<String>, fx: &Effects) -> Plan {
        let course = Course::new(begun.generation, phase, self.model.trigger.failover_timeout, fx.now);
        let began = format!("failover {} was begun by an earlier engine, class {}", begun.generation, begun.reason.as_str());
        let course = Course {
            undoing,
            undo_until: fx.now + self.model.trigger.failover_timeout,
            resumed: true,
            evidence: vec![began],
            ..course
        };
        Plan {
            system_id: begun.system_id,
            old_timeline: begun.old_timeline,
            route_touched: begun.route_touched,
            fence_tried: begun.fence_tried,
            handover: begun.stop_tried.then(|| Handover {
                to: begun.chosen.map(|chosen| chosen.server),
                stop_tried: true,
                given_up: begun.fence_tried,
                ..Handover::default()
            }),
            chosen: begun.chosen,
            committed: begun.chosen.map(|chosen| chosen.server).filter(|_| self.holds_data()),
            times: Times { detected: fx.now, lived: fx.now, confirmed: fx.now, ..Times::default() },
            lead: self.begun_lead(begun, fx.now),
            furthest: begun.furthest,
            judgement: begun.judged(),
            ..Plan::new(course, self.model.kind, begun.reason, begun.old, begun.require)
        }
    }

    /// How long before `at` the first bad sign of an unfinished failover was.
    pub(crate) fn begun_lead(&self, begun: &Intent, at: Mono) -> Option<Span> {
        begun.first_bad.map(|age| age + at.since(self.run.begun_at))
    }

    fn tell_resumed(&self, what: &str, begun: &Intent, fx: &mut Effects) {
        fx.emit(
            EventKind::FailoverResumed,
            Severity::Warning,
            self.about_server(begun.old),
            format!("{}: failover {} was begun by an earlier engine; {what}", self.model.name, begun.generation),
            vec![
                ("class", text(begun.reason.as_str())),
                ("old_primary", text(self.server_name(begun.old))),
                ("promotion_begun", Field::Bool(begun.chosen.is_some())),
                ("detail", text(what)),
            ],
        );
    }
}
