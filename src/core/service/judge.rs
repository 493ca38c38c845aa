//! Was the failover needed? What is seen of the old primary while it is replaced, and what it says when it is back.

use super::Service;
use crate::effects::{Effects, text};
use crate::event::{EventKind, Severity};
use crate::evidence::FailureClass;
use crate::id::ServerId;
use crate::plan::Plan;
use crate::sample::{Position, Sample};
use crate::stats::Need;
use crate::time::{Mono, Span};

impl Service {
    /// A server answered a question that was asked at `asked`. If it is the one that is being replaced, and not fenced yet, it was
    /// serving; unless it is a process that was started since.
    pub(super) fn seen_serving(&mut self, server: ServerId, asked: Mono, age: Option<Span>, how: &str, now: Mono) {
        let Some(plan) = &mut self.run.plan else { return };
        let detected = plan.times.detected;
        let started_since = match age {
            Some(age) => age < now.since(detected) + plan.lead.unwrap_or_default(),
            None => plan.reason.is(FailureClass::Dead),
        };
        if plan.old != server
            || plan.times.fenced.is_some()
            // An earlier engine had proven its fence.
            || (plan.course.resumed && plan.chosen.is_some())
            || plan.judgement.need.is_ordered()
            || plan.judgement.need == Need::FalsePositive
            || asked < detected
            || started_since
        {
            return;
        }
        plan.judgement.need = Need::FalsePositive;
        plan.judgement.why = format!("{how} {} after the first bad sign, before it was fenced", now.since(detected));
    }

    /// The standbys' positions after the fence: one that received more since it was first asked after the first bad sign heard it
    /// from a primary that went on. A dead one's last bytes may be on their way for longer, and its children write on (rule 85).
    pub(crate) fn heard_meanwhile(&self, plan: &mut Plan, positions: &[Position]) {
        // Of one that serves nobody new it was known that those who had a session wrote on.
        if plan.reason.is(FailureClass::Dead)
            || plan.reason.is(FailureClass::Unusable)
            || plan.judgement.need.is_ordered()
            || plan.course.resumed
        {
            return;
        }
        let timeline = plan.old_timeline;
        // What was carried to one from the old primary's disk is not what it heard.
        let own_doing = |server: &ServerId| plan.salvage.spooled.contains(server);
        let heard = positions.iter().filter(|position| !own_doing(&position.server)).find_map(|position| {
            let before = self.servers.get(usize::from(position.server.0))?.progress?;
            let sample = position.sample.as_ref().ok().filter(|sample| sample.in_recovery && sample.timeline == timeline)?;
            let after = sample.receive.filter(|after| *after > before)?;
            Some((position.server, before, after))
        });
        let Some((server, before, after)) = heard else { return };
        let name = self.server_name(server);
        plan.judgement.need = Need::FalsePositive;
        plan.judgement.why =
            format!("its log advanced after the first bad sign: {name} had received {before} then, and {after} at the fence");
    }

    /// A server that takes writes says how far its log is, and since when it runs.
    pub(super) fn old_primary_said(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        if self.durable.stats.old_primary_said(server, sample.flush, sample.timeline, sample.age, sample.asked) {
            self.journal_facts(fx);
            self.tell_false_positive(fx);
        }
    }

    pub(crate) fn tell_false_positive(&self, fx: &mut Effects) {
        let Some(last) = &self.durable.stats.last else { return };
        let (name, why) = (self.server_name(last.old), &last.judgement.why);
        fx.emit(
            EventKind::FalsePositive,
            Severity::Alarm,
            self.about_server(last.old),
            format!("{}: failover {} was not needed, {name} was serving: {why}", self.model.name, last.generation),
            vec![("old_primary", text(&name)), ("why", text(why))],
        );
    }
}
