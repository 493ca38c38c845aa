//! Actions outside a plan: asking the host, proving a fence again, fencing a primary that came back.

use super::gate::Act;
use super::{ASK_HOST, Errand, FAST_FOR, NAMES_AGAIN, PROVE_AGAIN, Service};
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Field, Severity};
use crate::id::ServerId;
use crate::observation::Impairment;
use crate::output::{Action, Failure, Output, Report};
use crate::sample::{FenceLevel, LocalAnswer, ProcessState, RouteInstance};
use crate::time::{Mono, Span};
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
            || self.background.errands.iter().any(|(_, errand, _)| *errand == Errand::AskHost(subject))
        {
            return;
        }
        let now = fx.now;
        let silence = now.since(self.last_answer_of_subject());
        let silent = suspicion.refused == 0 && suspicion.close.is_none() && !suspicion.is_stopping();
        if silent && suspicion.impaired.is_none() && silence < Span::from_millis(800) {
            return;
        }
        let word = suspicion.word();
        let contradiction = suspicion.refused > 0 && word.is_some_and(|word| word.postmaster != ProcessState::Gone);
        // A postmaster that runs and is silent to us is asked on its own host; a stopped one could not answer there either.
        let ask_local = silent
            && word.is_some_and(|word| word.postmaster == ProcessState::Running && word.local_answer != LocalAnswer::Silent);
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
        self.run_errand(Errand::AskHost(subject), Action::AskHost { server: subject, ask_local }, ASK_HOST, fx);
    }

    pub(crate) fn run_errand(&mut self, errand: Errand, action: Action, span: Span, fx: &mut Effects) {
        let id = fx.action();
        let deadline = fx.now + span;
        self.background.errands.push((id, errand, deadline));
        fx.push(Output::RunAction { id, service: self.id, generation: self.durable.generation, action, deadline });
    }

    pub(super) fn expire_errands(&mut self, fx: &mut Effects) {
        let late = Span::from_millis(1_000);
        while let Some(at) = self.background.errands.iter().position(|(_, _, deadline)| fx.now >= *deadline + late) {
            let (id, errand, _) = self.background.errands.remove(at);
            fx.push(Output::CancelAction(id));
            self.errand_finished(errand, Err(Failure::timed_out("the action did not come back by its deadline", "")), fx);
        }
    }

    pub(super) fn prove_again(&mut self, fx: &mut Effects) {
        let Some((at, server)) = self.background.prove_at else { return };
        if fx.now >= at && self.may(Act::ProveAgain, fx.around, fx.now) {
            self.background.prove_at = None;
            let view_confirmed = self.servers[usize::from(server.0)].view_confirmed;
            self.run_errand(
                Errand::ProveAgain(server),
                Action::ProveFence { server, view_confirmed },
                Span::from_millis(5_000),
                fx,
            );
        }
    }

    /// The names of the service are to point to the primary.
    pub(crate) fn names_follow(&mut self, now: Mono) {
        if self.model.route.names.is_some() {
            self.background.names_due = Some((now, 0));
        }
    }

    /// Names are a way to the primary beside another one: they follow once the failover is over, and hold nobody up (rule 46).
    pub(super) fn point_names(&mut self, fx: &mut Effects) {
        let (Some((at, tries)), Some(server), Some(span)) =
            (self.background.names_due, self.durable.primary, self.model.route.names)
        else {
            return;
        };
        if fx.now < at
            || !self.may(Act::PointNames, fx.around, fx.now)
            || self.background.errands.iter().any(|(_, errand, _)| matches!(errand, Errand::PointNames(_)))
        {
            return;
        }
        // Until it is back; then its outcome says when again.
        self.background.names_due = Some((at + span + NAMES_AGAIN, tries.saturating_add(1)));
        self.run_errand(Errand::PointNames(server), Action::PointNames { server }, span, fx);
    }

    fn names_pointed(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let (said, failed): (Vec<String>, Vec<String>) = match outcome {
            Ok(Report::Route(instances)) => {
                let failed = instances.iter().filter_map(RouteInstance::failure);
                let said =
                    instances.iter().filter_map(|one| one.result.as_ref().ok().map(|said| format!("{}: {said}", one.name)));
                (said.collect(), failed.collect())
            }
            Ok(_) => (Vec::new(), vec!["an answer of another kind came".into()]),
            Err(failure) => (Vec::new(), vec![failure.message]),
        };
        let name = self.server_name(server);
        let tries = self.background.names_due.map_or(0, |(_, tries)| tries);
        let (severity, message) = if failed.is_empty() {
            self.background.names_due =
                self.background.names_due.filter(|_| self.durable.primary != Some(server)).map(|_| (fx.now, 0));
            (Severity::Info, format!("the names point to {name}: {}", said.join("; ")))
        } else {
            self.background.names_due = Some((fx.now + NAMES_AGAIN, tries));
            // Told loudly once; it is tried until it works.
            let severity = if tries <= 1 { Severity::Alarm } else { Severity::Debug };
            (severity, format!("not every name points to {name}, tried again every {NAMES_AGAIN}: {}", failed.join("; ")))
        };
        fx.emit(EventKind::EvidenceGathered, severity, self.about_server(server), message, vec![("failed", texts(failed))]);
    }

    pub(crate) fn prove_later(&mut self, server: ServerId, now: Mono) {
        self.background.prove_at = Some((now + PROVE_AGAIN, server));
    }

    pub(crate) fn errand_finished(&mut self, errand: Errand, outcome: Result<Report, Failure>, fx: &mut Effects) {
        match (errand, outcome) {
            (Errand::AskHost(server), outcome) => self.host_replied(server, outcome, fx),
            // Its log has ended, so nothing hurts while the last of them go.
            (Errand::ProveAgain(server), Ok(Report::Fence(report)))
                if report.level < FenceLevel::ProvenStopped && self.is_still_leaving(server, fx.now) =>
            {
                self.prove_later(server, fx.now);
            }
            (Errand::ProveAgain(server) | Errand::FenceAgain(server), Ok(Report::Fence(report))) => {
                let holds = report.level >= FenceLevel::ProvenStopped;
                if holds && matches!(errand, Errand::FenceAgain(_)) {
                    self.servers[usize::from(server.0)].proven_again_at = Some(fx.now);
                }
                fx.emit(
                    EventKind::EvidenceGathered,
                    if holds { Severity::Info } else { Severity::Alarm },
                    self.about_server(server),
                    format!(
                        "the old primary {} {}: {}",
                        self.server_name(server),
                        if holds { "is still proven stopped" } else { "is NOT proven stopped any more" },
                        report.proof
                    ),
                    vec![("fence_level", Field::Int(u64::from(report.level.number()))), ("proof", text(report.proof))],
                );
            }
            (Errand::TakeOut(server), Ok(_)) => fx.emit(
                EventKind::EvidenceGathered,
                Severity::Info,
                self.about_server(server),
                format!("{} was taken out of the route again", self.server_name(server)),
                Vec::new(),
            ),
            (Errand::ReadHistory(server, timeline), outcome) => self.history_read(server, timeline, outcome, fx.now),
            (Errand::AssertRoute(server), outcome) => self.route_asserted(server, outcome, fx),
            (Errand::PointNames(server), outcome) => self.names_pointed(server, outcome, fx),
            (Errand::Climb(server, share), outcome) => self.climbed(server, share, outcome, fx),
            (Errand::Follow(server), outcome) => self.follow_commanded(server, outcome, fx),
            (Errand::ProveAgain(server) | Errand::FenceAgain(server) | Errand::TakeOut(server), outcome) => {
                let why = match outcome {
                    Err(failure) => failure.message,
                    Ok(_) => "an answer of another kind came".into(),
                };
                fx.emit(
                    EventKind::EvidenceGathered,
                    Severity::Alarm,
                    self.about_server(server),
                    format!("the old primary {} could not be looked at again: {why}", self.server_name(server)),
                    vec![("why", text(why))],
                );
            }
        }
    }

    fn route_asserted(&self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let failed: Vec<String> = match outcome {
            Ok(Report::Route(instances)) => instances.iter().filter_map(RouteInstance::failure).collect(),
            Ok(_) => vec!["an answer of another kind came".into()],
            Err(failure) => vec![failure.message],
        };
        let name = self.server_name(server);
        let (severity, message) = if failed.is_empty() {
            (Severity::Info, format!("every instance of the route gives its sessions to {name} again"))
        } else {
            (Severity::Alarm, format!("the traffic could not be sent to {name} again: {}", failed.join("; ")))
        };
        fx.emit(EventKind::EvidenceGathered, severity, self.about_server(server), message, vec![("failed", texts(failed))]);
    }

    pub(super) fn host_replied(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let mut log_end = None;
        let reply = match outcome {
            Ok(Report::Host(word)) => Ok(word),
            Ok(Report::HostShutDown { word, end }) => {
                log_end = Some(end);
                Ok(word)
            }
            Ok(_) => Err(Failure::unknown("an answer of another kind came", "")),
            Err(failure) => Err(failure),
        };
        let message = match &reply {
            Ok(word) => format!("the host of {} says: {}", self.server_name(server), word.message),
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

    pub(crate) fn fence_action(&self, server: ServerId, require: FenceLevel, hung: bool, unreachable: bool) -> Action {
        let view_confirmed = self.servers[usize::from(server.0)].view_confirmed;
        Action::Fence { server, require, hung, unreachable, view_confirmed }
    }
}
