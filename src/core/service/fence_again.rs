//! After a failover: its fence is proven once more, and a deposed server that is back is fenced again.

use super::gate::Act;
use super::{PROVE_AGAIN, Service};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::id::ServerId;
use crate::output::{Action, Failure, Report};
use crate::procedure::task::Task;
use crate::sample::{FenceLevel, FenceReport};
use crate::time::Mono;

impl Service {
    pub(super) fn prove_again(&mut self, fx: &mut Effects) {
        let Some((at, server)) = self.background.prove_at else { return };
        if fx.now >= at && self.may(Act::ProveAgain, fx.around, fx.now) {
            self.background.prove_at = None;
            self.begin_task(Task::ProveAgain(server), fx);
        }
    }

    pub(crate) fn prove_later(&mut self, server: ServerId, now: Mono) {
        self.background.prove_at = Some((now + PROVE_AGAIN, server));
    }

    /// The proof of a failover's fence was taken once more.
    pub(crate) fn proven_once_more(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        match outcome {
            // Its log has ended, so nothing hurts while the last of them go.
            Ok(Report::Fence(report)) if report.level < FenceLevel::ProvenStopped && self.is_still_leaving(server, fx.now) => {
                self.prove_later(server, fx.now);
            }
            Ok(Report::Fence(report)) => self.tell_proof(server, report, fx),
            outcome => self.tell_not_looked(server, outcome, fx),
        }
    }

    /// A deposed server that was back was fenced again.
    pub(crate) fn fenced_again(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        match outcome {
            Ok(Report::Fence(report)) => {
                if report.level >= FenceLevel::ProvenStopped {
                    self.servers[usize::from(server.0)].proven_again_at = Some(fx.now);
                }
                self.tell_proof(server, report, fx);
            }
            outcome => self.tell_not_looked(server, outcome, fx),
        }
    }

    /// A server that wrote beside the primary has left the route, or not.
    pub(crate) fn taken_out_again(&self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        if outcome.is_err() {
            self.tell_not_looked(server, outcome, fx);
            return;
        }
        let message = format!("{} was taken out of the route again", self.server_name(server));
        fx.emit(EventKind::EvidenceGathered, Severity::Info, self.about_server(server), message, Vec::new());
    }

    fn tell_proof(&self, server: ServerId, report: FenceReport, fx: &mut Effects) {
        let holds = report.level >= FenceLevel::ProvenStopped;
        let how = if holds { "is still proven stopped" } else { "is NOT proven stopped any more" };
        fx.emit(
            EventKind::EvidenceGathered,
            if holds { Severity::Info } else { Severity::Alarm },
            self.about_server(server),
            format!("the old primary {} {how}: {}", self.server_name(server), report.proof),
            vec![("fence_level", Field::Int(u64::from(report.level.number()))), ("proof", text(report.proof))],
        );
    }

    fn tell_not_looked(&self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let why = outcome
            .err()
            .map_or_else(|| "the action returned an answer that does not fit it".to_owned(), |failure| failure.message);
        let message = format!("the old primary {} could not be looked at again: {why}", self.server_name(server));
        fx.emit(EventKind::EvidenceGathered, Severity::Alarm, self.about_server(server), message, vec![("why", text(why))]);
    }

    pub(crate) fn fence_action(&self, server: ServerId, require: FenceLevel, hung: bool, unreachable: bool) -> Action {
        let view_confirmed = self.servers[usize::from(server.0)].view_confirmed;
        Action::Fence { server, require, hung, unreachable, view_confirmed }
    }
}
