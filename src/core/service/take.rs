//! An input reaches the service that it is about.

use super::Service;
use crate::effects::Effects;
use crate::id::ActionId;
use crate::input::Input;
use crate::output::{Failure, Report};
use crate::schedule::Jitter;

impl Service {
    /// Takes an input that is about this service into account.
    pub(crate) fn take(&mut self, input: Input, jitter: &mut Jitter, doubt: bool, fx: &mut Effects) {
        match input {
            Input::CheckFinished { run, finding } => {
                if let Some(check) = self.check_of_run(run) {
                    self.check_finished(check, run, &finding, jitter, doubt, fx);
                }
            }
            Input::SessionOpened { run } => {
                if let Some(server) = self.session_of_run(run) {
                    self.session_opened(server, run, fx);
                }
            }
            Input::SessionFailed { run, finding } => {
                if let Some(server) = self.session_of_run(run) {
                    self.session_failed(server, run, &finding, fx);
                }
            }
            Input::SessionAnswered { server, sample, .. } => self.session_answered(server, *sample, fx),
            Input::SessionClosed { server, close, .. } => self.session_closed(server, close, fx),
            Input::Surveyed { server, readiness, .. } => self.surveyed(server, readiness, fx),
            Input::RouteSurveyed { survey, .. } => self.route_surveyed(&survey, fx),
            Input::RouteAsked { primary, asked, findings, .. } => self.route_asked(primary, asked, findings, fx),
            Input::RouteErrors { server, .. } => self.route_errors(server, fx),
            Input::OutcomeReported { server, outcome, count, .. } => self.outcome_reported(server, outcome, count, fx),
            Input::ActionFinished { action, outcome } => self.step_or_task_finished(action, outcome, fx),
            Input::Restored { facts, .. } => self.restore(*facts, fx),
            // Those are about no single service.
            Input::Tick | Input::Operator { .. } | Input::SelfHealth(_) => {}
        }
    }

    fn step_or_task_finished(&mut self, action: ActionId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some(outcome) = self.step_finished(action, outcome, fx) else { return };
        self.task_finished(action, outcome, fx);
    }
}
