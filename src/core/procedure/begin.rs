//! How a failover begins.

use super::Procedure as _;
use super::course::Course;
use crate::candidate::{Candidate, Ended, View, Waiver};
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Field, Severity};
use crate::evidence::{FailureClass, Suspicion};
use crate::handover::Handover;
use crate::id::Generation;
use crate::output::{Output, Record};
use crate::plan::{Phase, Plan, Times};
use crate::reason::Reason;
use crate::sample::FenceLevel;
use crate::service::Service;
use crate::time::{Mono, Span};
use crate::trigger::State;

impl Service {
    /// Begins a failover. Every guard has been passed, or waived by an operator.
    ///
    /// `handover`: of a primary that lives and is stopped in an orderly way.
    pub(crate) fn start_plan(&mut self, reason: Reason, waiver: Waiver, handover: Option<Handover>, fx: &mut Effects) {
        let Some(old) = self.subject() else { return };
        assert!(self.run.plan.is_none(), "failover {} is in flight, and another one begins", self.durable.generation);
        // While the suspicion is there: what the host said meanwhile counts, not what the survey found before.
        let Some((require, host_silent)) = self.way_or_a_person(reason, fx) else { return };
        let is_dead = self.is_dead(fx.now);
        let forced = reason.is_ordered();
        let seen = self.kind().evidence_at_once(self, reason, &waiver, fx.now);
        let lived = self.lived_until(self.detection.suspicion.as_ref().map_or(fx.now, |suspicion| suspicion.since));
        let suspicion = self.detection.suspicion.take().unwrap_or_else(|| Suspicion::new(fx.now));
        self.durable.generation = Generation(self.durable.generation.0 + 1);
        self.run.confirmed_by_operator = false;
        self.run.held = false;
        if !reason.is_ordered() {
            self.run.began_at = Some(fx.now);
        }
        self.detection.awaiting = None;
        self.detection.refusal = None;
        self.durable.attention = None;
        let evidence = seen.unwrap_or_else(|| self.kind().evidence(self, (reason, require), &suspicion, &waiver, fx.now));
        let times = Times { detected: self.died_at(suspicion.since), lived, confirmed: fx.now, ..Times::default() };
        // What an earlier engine changed is undone with the rest, should it come to that.
        let before = self.run.begun.take();
        let lead = match &before {
            Some(before) => self.begun_lead(before, times.detected),
            None => Some(Span::ZERO),
        };
        // One that an earlier engine had begun was detected then, and counted.
        if !forced && before.is_none() {
            self.durable.stats.detect.add(fx.now.since(times.detected));
        }
        let course = Course::new(self.durable.generation, Phase::Over, self.model.trigger.failover_timeout, fx.now);
        let mut plan = Plan {
            system_id: self.durable.cluster.system_id.unwrap_or_default(),
            old_timeline: self.log.as_ref().map_or(0, |log| log.timeline),
            waiver,
            host_silent,
            route_touched: before.as_ref().is_some_and(|before| before.route_touched),
            fence_tried: before.as_ref().is_some_and(|before| before.fence_tried),
            handover,
            nobody_left: is_dead,
            ended: is_dead.then_some(FailureClass::Dead).or(reason.class()).and_then(|class| suspicion.ended(class)),
            times,
            lead,
            furthest: self.reference(Ended::at(times.detected)).and_then(|reference| reference.furthest(times.detected)),
            judgement: {
                let now = self.kind().judgement(reason, &suspicion);
                match &before {
                    Some(before) if !forced => before.judged_again(now),
                    _ => now,
                }
            },
            ..Plan::new(Course { evidence: evidence.clone(), ..course }, self.model.kind, reason, old, require)
        };
        plan.course.phase = plan.table().first(self, &plan, fx.now);
        self.journal_facts(fx);
        let begun = Box::new(self.begun_with(&plan));
        let generation = self.durable.generation;
        fx.push(Output::Journal(Record::Intent { service: self.id, generation, evidence: evidence.clone(), begun }));
        self.announce_plan(&plan, evidence, forced, fx);
        // Nobody waits for another set: the journal has whoever may acknowledge, whatever becomes of it.
        self.drop_tasks(|task| matches!(task, super::task::Task::SetSyncNames(_)), fx);
        self.detection.window.clear();
        if host_silent {
            // A question that nobody answers must not stand before the plan.
            self.drop_tasks(|_| true, fx);
        }
        self.carry_on(plan);
        self.drive::<Plan>(fx);
    }

    /// From here on the plan is in flight: the only one of its service, and the last that it had.
    pub(crate) fn carry_on(&mut self, plan: Plan) {
        assert!(self.run.plan.is_none(), "failover {} is in flight beside {}", self.durable.generation, plan.course.generation);
        assert!(
            plan.course.generation <= self.durable.generation,
            "failover {} comes after {}",
            plan.course.generation,
            self.durable.generation
        );
        self.run.plan = Some(plan);
    }

    /// The fence that is asked for, and whether the host is silent. A person is called where there is no way to fence.
    fn way_or_a_person(&mut self, reason: Reason, fx: &mut Effects) -> Option<(FenceLevel, bool)> {
        let silent = self.detection.suspicion.as_ref().is_some_and(Suspicion::host_is_silent);
        match self.kind().fence_way(self, reason, silent) {
            Ok(way) => Some(way),
            Err(refusal) => {
                let sentence = self.sentence(&refusal);
                self.tell_refusal(&refusal, fx);
                self.detection.refusal = Some(refusal);
                self.call_a_person(sentence, Vec::new(), fx);
                None
            }
        }
    }

    /// Says that the failure is confirmed and the failover begins.
    fn announce_plan(&mut self, plan: &Plan, evidence: Vec<String>, forced: bool, fx: &mut Effects) {
        let (reason, detected) = (plan.reason, plan.times.detected);
        self.become_state(State::FailoverInProgress, reason.sentence(), fx);
        let old_name = self.server_name(plan.old);
        fx.emit(
            EventKind::FailureConfirmed,
            Severity::Warning,
            self.about_server(plan.old),
            if forced {
                format!("the failover replaces {old_name}: {}", reason.sentence())
            } else {
                format!("{old_name} is {}, confirmed {} after the first bad sign", reason.as_str(), fx.now.since(detected))
            },
            vec![
                ("class", text(reason.as_str())),
                ("detect_ms", Field::Span(fx.now.since(detected))),
                ("evidence", texts(evidence.clone())),
            ],
        );
        fx.emit(
            EventKind::FailoverStarted,
            Severity::Warning,
            self.about_server(plan.old),
            format!("{}: failover {} away from {old_name} begins", self.model.name, plan.course.generation),
            vec![
                ("class", text(reason.as_str())),
                ("old_primary", text(old_name)),
                ("fence_required", Field::Int(u64::from(plan.require.number()))),
                ("evidence", texts(evidence)),
            ],
        );
    }

    /// The whole reasoning behind the decision, one line each, for the journal, the event and the report.
    pub(crate) fn evidence(
        &self,
        reason: Reason,
        suspicion: &Suspicion,
        require: FenceLevel,
        waiver: &Waiver,
        now: Mono,
    ) -> Vec<String> {
        let trigger = &self.model.trigger;
        let mut lines = suspicion.record();
        lines.push(format!(
            "class {}: {} refused and {} unanswered new connections since the last sign of life",
            reason.as_str(),
            suspicion.refused,
            suspicion.unanswered
        ));
        lines.push(format!(
            "thresholds: failure_threshold {} in {}, hang_after {}, restart_grace {}",
            trigger.failure_threshold, trigger.failure_window, trigger.hang_after, trigger.restart_grace
        ));
        lines.push(format!("required fence: level {}", require.number()));
        if let Some(log) = &self.log {
            lines.push(format!(
                "last known position of the primary: {} on timeline {}, sampled {} before the decision, {}{}",
                log.flush,
                log.timeline,
                now.since(log.at) + log.lead,
                log.growth().map_or_else(
                    || "nothing is known of how fast it grew".into(),
                    |growth| format!("growing by about {growth} bytes/s")
                ),
                if log.sync.named { ", synchronous replication" } else { "" }
            ));
        }
        // An order away from one that is gone is judged by its end, as the order was.
        let of = reason.class().or(suspicion.gone_since.map(|_| FailureClass::Dead));
        let view = View::Guard { gone: self.shows_dead(suspicion, now) };
        for (server, result) in self.examine_standbys(self.subject(), self.ended(of, suspicion, now), waiver, view, now) {
            let name = self.server_name(server);
            lines.push(match result {
                Ok(candidate) => format!("candidate {name}: {}", describe(&candidate)),
                Err(reason) => format!("candidate {name} refused: {}", reason.sentence()),
            });
        }
        lines
    }
}

/// One line about a candidate.
pub(crate) fn describe(candidate: &Candidate) -> String {
    let held = if candidate.held { " and its replay does not move" } else { "" };
    format!("position {}, {} bytes to replay{held}, {}", candidate.position, candidate.to_replay, candidate.loss_sentence())
}
