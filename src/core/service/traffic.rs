//! What the host program reports of its own calls, and load balancers of their clients'.

use super::Service;
use crate::effects::Effects;
use crate::id::ServerId;
use crate::model::CheckKind;
use crate::time::Mono;
use crate::traffic::{LOOK_AGAIN, Outcome, Weight};

impl Service {
    pub(crate) fn outcome_reported(&mut self, server: Option<ServerId>, outcome: Outcome, count: u32, fx: &mut Effects) {
        let Some(server) = server.or_else(|| self.subject()) else { return };
        let before = self.traffic_weight(fx.now);
        let Some(state) = self.servers.get_mut(usize::from(server.0)) else { return };
        state.traffic.report(fx.now, outcome, count);
        if !self.is_subject(server) || self.run.plan.is_some() {
            return;
        }
        let after = self.traffic_weight(fx.now);
        if before != after
            && let Some(suspicion) = &mut self.detection.suspicion
        {
            match after {
                Weight::Served => suspicion.note(fx.now, "the host program reports calls of its own that are served".into()),
                Weight::Failed(outcome) => {
                    suspicion.note(fx.now, format!("the host program reports calls of its own that fail: {}", outcome.as_str()));
                }
                Weight::None => {}
            }
        }
        if outcome.is_failure() {
            self.look_at_once(server, fx);
        }
    }

    /// A load balancer can be wrong about a server as the host program can: it makes us look, and has no say.
    pub(crate) fn route_errors(&mut self, server: ServerId, fx: &mut Effects) {
        if self.is_subject(server) && self.run.plan.is_none() {
            self.look_at_once(server, fx);
        }
    }

    /// Probes the primary now, as after the end of its kept session: what others saw is to be seen by ourselves.
    fn look_at_once(&mut self, server: ServerId, fx: &mut Effects) {
        let Some(state) = self.servers.get_mut(usize::from(server.0)) else { return };
        let traffic = &mut state.traffic;
        if traffic.looked_at.is_some_and(|at| fx.now.since(at) < LOOK_AGAIN) {
            return;
        }
        traffic.looked_at = Some(fx.now);
        for (model, check) in self.model.checks.iter().zip(&mut self.checks) {
            // A command may be dear: it keeps its own time.
            if model.server == server.0 && model.kind != CheckKind::Exec {
                check.slot.hasten(fx.now);
            }
        }
    }

    pub(crate) fn traffic_weight(&self, now: Mono) -> Weight {
        let since = self.detection.suspicion.as_ref().map_or(Mono::NEVER, |suspicion| suspicion.since);
        self.subject().map_or(Weight::None, |server| self.servers[usize::from(server.0)].traffic.weight(since, now))
    }
}
