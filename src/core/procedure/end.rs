//! How a failover ends.

use crate::candidate::Candidate;
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Field, Severity};
use crate::id::ServerId;
use crate::output::{EndedHow, Output, Record};
use crate::plan::{End, Plan};
use crate::reason::Reason;
use crate::sample::FenceLevel;
use crate::service::{LastFailover, Service};
use crate::stats::{Mark, Need};
use crate::time::{Mono, Span};
use crate::trigger::State;

impl Service {
    pub(crate) fn finish(&mut self, mut plan: Plan, end: End, fx: &mut Effects) {
        assert!(
            plan.course.generation <= self.durable.generation,
            "failover {} ends after {} began",
            plan.course.generation,
            self.durable.generation
        );
        plan.times.ended = Some(fx.now);
        plan.course.action = None;
        let generation = plan.course.generation;
        let left = matches!(end, End::Left { .. });
        let (how, why) = match &end {
            End::Completed => (EndedHow::Completed, String::new()),
            End::Undone { why, left } if was_only_stopped(&plan, left) => (EndedHow::Stopped, why.clone()),
            End::Undone { why, .. } => (EndedHow::RolledBack, why.clone()),
            End::Stuck { why } | End::Left { why } => (EndedHow::ManualIntervention, why.clone()),
        };
        if plan.times.promoted.is_some() {
            // What it said before that is over, however silent it has been since.
            self.servers[usize::from(plan.old.0)].fenced_at = plan.times.fenced;
            self.take_over(&plan, fx);
        }
        self.durable.stats.ended(&plan, how);
        // To follow another service says nothing about this one.
        if plan.reason != Reason::Followed {
            self.durable.last_ended = Some(Mark { at: fx.now, lead: Span::ZERO });
        }
        self.run.last_failover = Some(LastFailover { plan: plan.clone(), how, why: why.clone() });
        self.server_ids().for_each(|server| self.look_again(server, fx));
        self.empty_spools(&plan, fx);
        // Who is primary now, before the end of the failover: an engine that dies between the two looks again.
        self.journal_facts(fx);
        fx.push(Output::Journal(Record::Ended { service: self.id, generation, how }));
        match end {
            End::Completed => self.completed(&plan, fx),
            End::Undone { why, left } => self.undone(&plan, why, &left, fx),
            End::Stuck { why } | End::Left { why } => {
                let when = if left { "before it promoted anybody" } else { plan.takeover().stuck() };
                fx.emit(
                    EventKind::FailoverFailed,
                    Severity::Alarm,
                    self.about(),
                    format!("{}: failover {generation} stops {when}: {why}", self.model.name),
                    vec![
                        ("why", text(&why)),
                        ("promoted", Field::Bool(plan.times.promoted.is_some())),
                        ("warnings", texts(plan.course.warnings.clone())),
                    ],
                );
                let mut evidence = plan.course.evidence.clone();
                evidence.extend(plan.course.warnings.iter().cloned());
                self.call_a_person(why, evidence, fx);
            }
        }
        if how != EndedHow::Stopped && plan.judgement.need == Need::FalsePositive {
            self.tell_false_positive(fx);
        }
    }

    /// The promoted server is the primary from here on, whatever else went wrong.
    fn take_over(&mut self, plan: &Plan, fx: &mut Effects) {
        let Some(chosen) = plan.chosen else { return };
        self.durable.primary = Some(chosen.server);
        self.begin_ramp(chosen.server, fx.now);
        (self.asked_route, self.asked_last) = (None, Vec::new());
        self.remember_fork(plan);
        self.durable.cluster.position = plan.timeline.map(|timeline| (timeline, chosen.position));
        self.durable.cluster.handed_over.remove(&chosen.server);
        self.durable.cluster.fork = self.durable.cluster.position.filter(|_| self.holds_data());
        self.log = None;
        self.detection.log_end = None;
        self.detection.suspicion = None;
        self.trouble.bad = None;
        self.trouble.failing = None;
        self.detection.window.clear();
        // To follow another service, or planned work, says nothing about a failure: it may fail over by itself at once.
        if !matches!(plan.reason, Reason::Followed | Reason::Switchover) {
            self.durable.cooldown_from = Some(Mark { at: fx.now, lead: Span::ZERO });
        }
        self.servers[usize::from(plan.old.0)].deposed = true;
        self.servers[usize::from(plan.old.0)].announced = None;
        self.servers[usize::from(chosen.server.0)].deposed = false;
        self.durable.cluster.deposed.remove(&plan.old);
        plan.takeover().deposed(self, plan);
        self.durable.cluster.deposed.remove(&chosen.server);
        self.durable.cluster.synchronous.clear();
        for state in &mut self.servers {
            (state.streamed_at, state.unready_since) = (None, None);
        }
        for (standby, seen) in &plan.following {
            self.servers[usize::from(standby.0)].streamed_at = Some(*seen);
        }
        let proven_before = plan.course.resumed && plan.fence.is_none() && plan.require == FenceLevel::ProvenStopped;
        let handed_over = plan.handover.as_ref().is_some_and(|handover| handover.proven);
        if proven_before || handed_over || plan.fence_level() == FenceLevel::ProvenStopped {
            self.prove_later(plan.old, fx.now);
        }
    }

    fn completed(&mut self, plan: &Plan, fx: &mut Effects) {
        let Some(chosen) = plan.chosen else { return };
        let new = self.server_name(chosen.server);
        self.become_state(State::FailedOver, format!("{new} is the primary"), fx);
        self.names_follow(fx.now);
        let times = plan.times;
        let end = times.verified.or(times.routed).or(times.written).unwrap_or(fx.now);
        plan.takeover().completed(self, plan, &chosen, end, fx);
        self.repoint_standbys(fx);
        if plan.reason == Reason::Switchover {
            self.switchover_completed(plan, fx);
        }
    }

    /// Says that a standby was promoted and has the traffic.
    pub(crate) fn tell_promoted(&self, plan: &Plan, chosen: &Candidate, end: Mono, fx: &mut Effects) {
        let (old, new) = (self.server_name(plan.old), self.server_name(chosen.server));
        let times = plan.times;
        let unseen = self.model.route.verify && times.verified.is_none();
        fx.emit(
            EventKind::FailoverCompleted,
            Severity::Warning,
            self.about_server(chosen.server),
            format!(
                "{}: {new} has taken over from {old} within {} of the {}; {}{}",
                self.model.name,
                plan.since_first_bad(end),
                if plan.hands_over() { "order" } else { "first bad sign" },
                chosen.loss_sentence(),
                if unseen { "; the engine did not see who answers through the route: clients use all connections" } else { "" }
            ),
            completed_fields(plan, chosen, old, new, fx.now),
        );
    }

    /// Says that the traffic of an application was moved.
    pub(crate) fn tell_moved(&self, plan: &Plan, new: ServerId, end: Mono, fx: &mut Effects) {
        let (old, new_name) = (self.server_name(plan.old), self.server_name(new));
        let span = |from: Option<Mono>, to: Option<Mono>| match (from, to) {
            (Some(from), Some(to)) => Field::Span(to.since(from)),
            _ => Field::Text(String::new()),
        };
        let times = plan.times;
        let note = if plan.course.warnings.is_empty() { "" } else { "; some steps failed, see the warnings" };
        fx.emit(
            EventKind::FailoverCompleted,
            Severity::Warning,
            self.about_server(new),
            format!(
                "{}: {new_name} has taken over from {old} within {} of the first bad sign{note}",
                self.model.name,
                plan.since_first_bad(end)
            ),
            vec![
                ("old_primary", text(old)),
                ("new_primary", text(&new_name)),
                ("class", text(plan.reason.as_str())),
                ("detected_at_ns", Field::Int(times.detected.as_nanos())),
                ("confirm_ms", Field::Span(times.confirmed.since(times.detected))),
                ("route_ms", span(Some(times.confirmed), times.routed)),
                ("verify_ms", span(times.routed, times.verified)),
                ("total_ms", Field::Span(plan.since_first_bad(end))),
                ("verified", Field::Bool(times.verified.is_some())),
                ("warnings", texts(plan.course.warnings.clone())),
                ("evidence", texts(plan.course.evidence.clone())),
            ],
        );
    }

    fn undone(&mut self, plan: &Plan, why: String, left: &[String], fx: &mut Effects) {
        let name = self.model.name.clone();
        let (severity, message) = if left.is_empty() {
            (Severity::Warning, format!("{name}: what failover {} had changed is undone", plan.course.generation))
        } else {
            (Severity::Alarm, format!("{name}: not everything could be undone: {}", left.join("; ")))
        };
        fx.emit(
            EventKind::RolledBack,
            severity,
            self.about(),
            message,
            vec![("why", text(&why)), ("left", texts(left.to_vec()))],
        );
        if plan.is_started_again() {
            // That it did not answer meanwhile was our own doing.
            self.detection.window.clear();
            (self.detection.log_end, self.trouble.failing, self.trouble.bad) = (None, None, None);
            self.wake_standbys(fx);
        }
        if was_only_stopped(plan, left) || plan.lives && left.is_empty() {
            self.become_state(State::Degraded, why, fx);
        } else {
            let mut evidence = plan.course.evidence.clone();
            evidence.extend(plan.course.warnings.iter().cloned());
            if plan.fence_level() >= FenceLevel::ProvenStopped && !plan.is_started_again() {
                evidence.push(format!(
                    "{} was stopped by the fence and stays stopped: start it, or reset",
                    self.server_name(plan.old)
                ));
            }
            self.call_a_person(why, evidence, fx);
        }
    }
}

fn completed_fields(plan: &Plan, chosen: &Candidate, old: String, new: String, now: Mono) -> Vec<(&'static str, Field)> {
    let times = plan.times;
    let span = |from: Option<Mono>, to: Option<Mono>| match (from, to) {
        (Some(from), Some(to)) => Field::Span(to.since(from)),
        _ => Field::Text(String::new()),
    };
    let end = times.verified.or(times.routed).or(times.written).unwrap_or(now);
    let mut fields = vec![
        ("old_primary", text(old)),
        ("new_primary", text(new)),
        ("class", text(plan.reason.as_str())),
        ("detected_at_ns", Field::Int(times.detected.as_nanos())),
        ("confirm_ms", Field::Span(times.confirmed.since(times.detected))),
        ("fence_ms", span(Some(times.confirmed), times.fenced)),
        ("promote_ms", span(times.fenced, times.promoted)),
        ("write_ms", span(times.promoted, times.written)),
        ("route_ms", span(times.written, times.routed)),
        ("verify_ms", span(times.routed.or(times.written), times.verified)),
        ("total_ms", Field::Span(plan.since_first_bad(end))),
        ("timeline", Field::Int(u64::from(plan.timeline.unwrap_or_default()))),
        ("fence_level", Field::Int(u64::from(plan.fence_level().number()))),
        ("position", text(chosen.position.to_string())),
        ("holds_acknowledged", Field::Bool(chosen.holds_acknowledged)),
        ("sync_gate_opened", Field::Bool(plan.gate_opened)),
        ("warnings", texts(plan.course.warnings.clone())),
        ("evidence", texts(plan.course.evidence.clone())),
    ];
    fields.extend(salvage_fields(plan, chosen));
    if let Some(loss) = chosen.recorded_loss() {
        fields.push(("loss_bytes", Field::Int(loss)));
        fields.push(("loss_exact", Field::Bool(chosen.exact)));
    }
    fields
}

/// What came of carrying over what only the old primary had.
fn salvage_fields(plan: &Plan, chosen: &Candidate) -> Vec<(&'static str, Field)> {
    let mut fields = vec![("salvage", text(plan.salvage.word(chosen.server, chosen.carried, chosen.holds_acknowledged)))];
    if let Some(took) = plan.salvage.took {
        fields.push(("salvage_ms", Field::Span(took)));
    }
    if let Some(carried) = chosen.carried {
        fields.push(("missing_bytes", Field::Int(carried.missing)));
        fields.push(("salvaged_bytes", Field::Int(carried.salvaged)));
        fields.push(("still_missing_bytes", Field::Int(carried.left())));
        fields.extend(carried.commits.map(|commits| ("salvaged_commits", Field::Int(commits))));
    }
    fields
}

/// Undone without a trace because the engine stops, or because the primary lived when it came back, or lived all the time: the failure may
/// be decided afresh, by the next engine or by this one.
fn was_only_stopped(plan: &Plan, left: &[String]) -> bool {
    let untouched = plan.course.resumed && plan.fence.is_none() || plan.lives && !plan.fence_tried;
    plan.is_handed_back(left) || left.is_empty() && (plan.course.stop_asked || untouched)
}
