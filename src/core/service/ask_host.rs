//! The suspect's host is asked about its processes.

use super::{FAST_FOR, Service};
use crate::effects::Effects;
use crate::event::{EventKind, Severity};
use crate::id::ServerId;
use crate::observation::Impairment;
use crate::output::{Failure, Report};
use crate::procedure::task::Task;
use crate::sample::{LocalAnswer, ProcessState};
use crate::time::Span;
use crate::trigger::State;

impl Service {
    pub(super) fn ask_host(&mut self, fx: &mut Effects) {
        let Some(subject) = self.subject() else { return };
        let Some(suspicion) = &self.detection.suspicion else { return };
        if !self.server_model(subject).is_some_and(|model| model.ssh)
            || self.servers[usize::from(subject.0)].foreign_host
            || self.state == State::ManualIntervention
            // Only of a shutdown that lasts, and of a server that answers nobody new, does the host know more than the server says.
            || suspicion.impaired.is_some_and(|(_, impairment)| !matches!(impairment, Impairment::NoNewSessions | Impairment::Stopping))
            || self.is_at(|task| matches!(task, Task::AskHost(server, _) if *server == subject))
        {
            return;
        }
        let now = fx.now;
        let silence = now.since(self.last_answer_of_subject());
        let silent = suspicion.refused == 0 && suspicion.close.is_none() && !suspicion.is_stopping();
        if silent && suspicion.impaired.is_none() && silence < Span::from_millis(800) {
            return;
        }
        let report = suspicion.report();
        let contradiction = suspicion.refused > 0 && report.is_some_and(|report| report.postmaster != ProcessState::Gone);
        // A postmaster that runs and is silent to us is asked on its own host; a stopped one could not answer there either.
        let ask_local = silent
            && report
                .is_some_and(|report| report.postmaster == ProcessState::Running && report.local_answer != LocalAnswer::Silent);
        let follow_up = ask_local && self.detection.host_asked.is_some_and(|(_, asked_locally)| !asked_locally);
        let age = now.since(suspicion.since);
        let again = if follow_up || contradiction && age < Span::from_millis(2_000) {
            Span::from_millis(50)
        } else if age < FAST_FOR {
            Span::from_millis(1_000)
        } else {
            Span::from_millis(5_000)
        };
        if self.detection.host_asked.is_some_and(|(at, _)| now.since(at) < again) {
            return;
        }
        self.detection.host_asked = Some((now, ask_local));
        self.begin_task(Task::AskHost(subject, ask_local), fx);
    }

    pub(crate) fn host_replied(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let mut log_end = None;
        let reply = match outcome {
            Ok(Report::Host(word)) => Ok(word),
            Ok(Report::HostShutDown { word, end }) => {
                log_end = Some(end);
                Ok(word)
            }
            Ok(_) => Err(Failure::unknown("the action returned an answer that does not fit it", "")),
            Err(failure) => Err(failure),
        };
        let message = match &reply {
            Ok(report) => format!("the host of {} says: {}", self.server_name(server), report.message),
            Err(failure) => format!("the host of {} could not be asked: {}", self.server_name(server), failure.message),
        };
        if !self.is_subject(server) {
            return;
        }
        let Some(suspicion) = &mut self.detection.suspicion else { return };
        if reply.is_ok() {
            self.detection.log_end = log_end;
        }
        if suspicion.host_replied(fx.now, reply) {
            fx.emit(EventKind::EvidenceGathered, Severity::Info, self.about_server(server), message, Vec::new());
        }
    }
}
