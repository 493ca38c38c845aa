//! The gate of a switchover: the clients of a primary that is well wait in their pooler while it hands over. It is undone with the route, and
//! opened by the traffic's way in.

use super::{Next, Outcome};
use crate::effects::Effects;
use crate::output::{Action, Report};
use crate::plan::{Phase, Plan};
use crate::reason::Reason;
use crate::sample::RouteInstance;
use crate::service::Service;
use crate::switchover::OnPauseTimeout;
use crate::time::Span;

/// To tell every pooler, beside the time that transactions have to end.
const TOLD_WITHIN: Span = Span::from_millis(2_000);

impl Plan {
    /// Planned work, with poolers in front.
    pub(super) fn closes_gate(&self, service: &Service) -> bool {
        self.reason == Reason::Switchover && self.hands_over() && service.model.route.gate.is_some()
    }
}

pub(super) fn close_gate(service: &Service, plan: &Plan) -> Option<(Action, Span)> {
    let gate = service.model.route.gate?;
    let action = Action::CloseGate {
        server: plan.old,
        patience: gate.pause_timeout,
        keep: gate.on_timeout == OnPauseTimeout::Cut,
        hold: service.model.trigger.failover_timeout,
    };
    Some((action, gate.pause_timeout + TOLD_WITHIN))
}

pub(super) fn gate_closed(service: &mut Service, plan: &mut Plan, outcome: Outcome, _: &mut Effects) -> Next<Phase> {
    let (failed, running) = match outcome {
        Ok(Report::Gate { instances, running }) => {
            (instances.iter().filter_map(RouteInstance::failure).collect::<Vec<_>>(), running)
        }
        Ok(_) => (vec!["the action returned an answer that does not fit it".to_owned()], false),
        Err(failure) => (vec![failure.message], false),
    };
    if failed.is_empty() {
        return Next::Onward;
    }
    let why = format!("clients cannot wait: {}", failed.join("; "));
    match service.model.route.gate.map(|gate| gate.on_timeout).filter(|_| running) {
        Some(OnPauseTimeout::Cut) => {
            plan.course.warn(format!("close_gate: {}; the stop of the primary ends them", failed.join("; ")));
            Next::Onward
        }
        Some(OnPauseTimeout::Wait) => Next::Again(Phase::CloseGate, why),
        Some(OnPauseTimeout::Abort) | None => Next::Undo(why),
    }
}
