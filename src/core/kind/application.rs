//! An application: servers that hold no data. There is nothing to fence and nothing to lose, and what turns out wrong is undone;
//! but a failover that was not needed still hurts, so the failure is confirmed by fresh answers before anything is moved.

use super::{Examined, Kind};
use crate::candidate::{Candidate, Ended, View, Waiver};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Severity};
use crate::evidence::{FailureClass, Suspicion, impaired_class};
use crate::health::Health;
use crate::id::ServerId;
use crate::model::CheckModel;
use crate::observation::{DownCause, Finding, Verdict};
use crate::plan::{Intent, Takeover};
use crate::procedure::r#move::Move;
use crate::reason::Reason;
use crate::refusal::{CandidateRefusal, Refusal};
use crate::route::{InstanceView, sole_server};
use crate::sample::FenceLevel;
use crate::service::gate::Act;
use crate::service::{Service, Surroundings};
use crate::stats::Judgement;
use crate::time::Mono;
use crate::traffic::Weight;

pub(crate) struct Application;

impl Kind for Application {
    fn as_str(&self) -> &'static str {
        "application"
    }

    fn holds_data(&self) -> bool {
        false
    }

    fn keeps_sessions(&self) -> bool {
        false
    }

    fn moves_without_route(&self) -> bool {
        false
    }

    fn takes_over_by(&self) -> &'static str {
        "take over"
    }

    fn checked(&self, service: &mut Service, server: ServerId, fx: &mut Effects) {
        service.notice_active(server, fx);
    }

    fn primary_checked(&self, service: &mut Service, model: &CheckModel, finding: &Finding, fx: &mut Effects) {
        service.application_observed(model, finding, fx);
    }

    fn suspected(&self, service: &mut Service, now: Mono) {
        service.ask_everything(now);
    }

    fn confirming(&self, service: &mut Service, now: Mono) {
        service.ask_everything(now);
    }

    fn route_seen(&self, service: &mut Service, instances: &[InstanceView], fx: &mut Effects) {
        service.adopt_by_route(instances, fx);
    }

    fn serves(&self, service: &Service, server: ServerId, _: Mono) -> bool {
        service.application_is_well(server)
    }

    fn may_be_adopted(&self, service: &Service, server: ServerId) -> Result<(), String> {
        let (service, name) = (&service.model.name, service.server_name(server));
        Err(format!("{service}: an application has no primary to adopt; failover force {service} --to {name} moves it"))
    }

    fn silence_decides(&self, _: &Service, _: Mono) -> bool {
        false
    }

    fn failing(&self, service: &Service, now: Mono) -> Result<FailureClass, Refusal> {
        service.application_class(now)
    }

    fn failing_again(&self, service: &mut Service, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        service.trouble.failing.get_or_insert(now);
        let class = service.application_class(now)?;
        service.dependency_holds(around, now)?;
        Ok(class)
    }

    fn may_fail_over(&self, service: &Service, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        service.application_may_fail_over(around, now)
    }

    /// A standby that is well again a moment later may take over then: no data was at stake meanwhile.
    fn may_come(&self, _: &Service, _: &[(ServerId, CandidateRefusal)]) -> bool {
        true
    }

    fn fence_way(&self, _: &Service, _: Reason, _: bool) -> Result<(FenceLevel, bool), Refusal> {
        Ok((FenceLevel::None, false))
    }

    fn examine(&self, service: &Service, old: Option<ServerId>, _: Ended, waiver: &Waiver, _: View, now: Mono) -> Examined {
        let others = service.server_ids().filter(|server| Some(*server) != old);
        others.map(|server| (server, service.examine_application(server, waiver, &[], now))).collect()
    }

    fn takeover(&self) -> &'static dyn Takeover {
        &Move
    }

    fn evidence_at_once(&self, service: &Service, reason: Reason, waiver: &Waiver, now: Mono) -> Option<Vec<String>> {
        // An operator's word is no bad sign: who was well before it is well.
        (!reason.is_ordered()).then(|| service.application_evidence(reason, waiver, service.suspicion_record(), now))
    }

    fn evidence(
        &self,
        service: &Service,
        (reason, _): (Reason, FenceLevel),
        suspicion: &Suspicion,
        waiver: &Waiver,
        now: Mono,
    ) -> Vec<String> {
        service.application_evidence(reason, waiver, suspicion.record(), now)
    }

    fn judgement(&self, reason: Reason, _: &Suspicion) -> Judgement {
        Judgement::of_application(reason)
    }

    fn is_alive_again(&self, service: &Service, begun: &Intent) -> bool {
        service.application_is_well(begun.old)
    }
}

impl Service {
    /// A check of the primary is back.
    fn application_observed(&mut self, model: &CheckModel, finding: &Finding, fx: &mut Effects) {
        match finding.verdict {
            Verdict::Unknown(_) => {}
            Verdict::Up => {
                if self.detection.window.count() == 0 && self.every_check_of_subject_is_up() {
                    self.trouble.bad = None;
                    self.recovered("its checks pass again", fx);
                }
            }
            Verdict::Impaired(_) | Verdict::Down(_) => {
                self.suspect(finding.began, fx);
                if let Some(suspicion) = &mut self.detection.suspicion {
                    suspicion.answer(fx.now, &model.name, finding);
                }
            }
        }
    }

    fn every_check_of_subject_is_up(&self) -> bool {
        self.findings_of(self.subject()).all(|(_, last)| last.is_none_or(|(_, finding)| finding.verdict == Verdict::Up))
    }

    /// The checks of a server, each with its last answer.
    fn findings_of(&self, server: Option<ServerId>) -> impl Iterator<Item = (&CheckModel, Option<&(Mono, Finding)>)> {
        let of_server = move |(model, _): &(&CheckModel, _)| Some(ServerId(model.server)) == server;
        self.model.checks.iter().zip(self.checks.iter().map(|check| check.last.as_ref())).filter(of_server)
    }

    /// The server that has the traffic is known once it was seen to be well; a journal that says which one it was is believed.
    fn notice_active(&mut self, server: ServerId, fx: &mut Effects) {
        if self.primary_seen || !self.is_subject(server) || self.server_health(server) != Health::Healthy {
            return;
        }
        self.become_active(server, "its checks pass", fx);
    }

    /// At first contact the route knows better than the configuration who has the traffic.
    fn adopt_by_route(&mut self, instances: &[InstanceView], fx: &mut Effects) {
        if self.durable.primary.is_some() {
            return;
        }
        let named = sole_server(instances).map(str::to_owned);
        let server = named.and_then(|name| self.server_ids().find(|server| self.server_name(*server) == name));
        if let Some(server) = server {
            self.become_active(server, "the route gives it the sessions", fx);
        }
    }

    fn become_active(&mut self, server: ServerId, why: &str, fx: &mut Effects) {
        self.durable.primary = Some(server);
        self.primary_seen = true;
        let name = self.server_name(server);
        fx.emit(
            EventKind::PrimaryKnown,
            Severity::Info,
            self.about_server(server),
            format!("{}: {name} is the primary: {why}", self.model.name),
            vec![("primary", text(&name)), ("why", text(why))],
        );
        self.journal_facts(fx);
        self.look_again(server, fx);
    }

    /// The failure class that the checks show, confirmed: the primary failed once more after the threshold was reached. Silence has
    /// lasted for a whole time-out each time, so its threshold needs no more.
    fn application_class(&self, now: Mono) -> Result<FailureClass, Refusal> {
        let suspicion = self.detection.suspicion.as_ref().ok_or(Refusal::PrimaryHealthy)?;
        let mut causes = Vec::new();
        let mut confirmed = false;
        for (_, last) in self.findings_of(self.subject()) {
            let Some((_, finding)) = last else { continue };
            if let Verdict::Down(cause) = finding.verdict {
                causes.push(cause);
                confirmed |= finding.verdict.is_silence() || self.trouble.failing.is_some_and(|since| finding.began >= since);
            }
        }
        if causes.is_empty() {
            return match suspicion.impaired {
                Some((since, _)) if self.model.trigger.on_impaired.is_some_and(|span| now.since(since) >= span) => {
                    Ok(FailureClass::Unusable)
                }
                Some((_, impairment)) => Err(Refusal::Impaired { class: impaired_class(impairment) }),
                None => Err(Refusal::PrimaryHealthy),
            };
        }
        if !confirmed {
            return Err(Refusal::EvidenceIncomplete { waiting_for: "one more answer after the threshold" });
        }
        if self.traffic_weight(now) == Weight::Served
            && self.detection.window.count() < self.model.trigger.failure_threshold.saturating_mul(2)
        {
            return Err(Refusal::EvidenceIncomplete {
                waiting_for: "twice the failures, for the host program's own calls are served",
            });
        }
        Ok(class_of(&causes))
    }

    /// Every guard before an automatic failover of an application.
    fn application_may_fail_over(&self, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        let class = self.application_class(now)?;
        self.dependency_holds(around, now)?;
        self.gate(Act::FailOver, around, now)?;
        match self.some_candidate(Ended::at(now), &Waiver::default(), now) {
            Ok(_) => Ok(class),
            Err(_) if self.a_server_was_not_asked_since(now) => {
                Err(Refusal::EvidenceIncomplete { waiting_for: "what the standbys answer now" })
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Nobody answers there now: no check of it has had an answer of any kind the last time, and one has failed often enough.
    pub(crate) fn is_dead_now(&self, server: ServerId, now: Mono) -> bool {
        let mut causes = Vec::new();
        for (check, last) in self.findings_of(Some(server)) {
            match last {
                Some((at, Finding { verdict: Verdict::Down(cause), .. })) if now.since(*at) <= check.stale_after() => {
                    causes.push(*cause);
                }
                _ => return false,
            }
        }
        self.server_health(server) == Health::Unhealthy && class_of(&causes) != FailureClass::Unusable
    }

    /// A standby that was well has not answered again since the first bad sign, and may still do so in time.
    fn a_server_was_not_asked_since(&self, now: Mono) -> bool {
        let Some(suspicion) = &self.detection.suspicion else { return false };
        self.model.checks.iter().zip(&self.checks).any(|(model, check)| {
            let waited = suspicion.since + model.timeout + model.timeout;
            Some(ServerId(model.server)) != self.subject()
                && self.server_health(ServerId(model.server)) == Health::Healthy
                && check.last.as_ref().is_none_or(|(_, finding)| finding.began < suspicion.since)
                && now < waited
        })
    }

    /// Whether a server of an application may get the traffic: every check of it passes, and has since the first bad sign.
    pub(crate) fn examine_application(
        &self,
        server: ServerId,
        waiver: &Waiver,
        refused: &[(ServerId, String)],
        now: Mono,
    ) -> Result<Candidate, CandidateRefusal> {
        let model = &self.model.servers[usize::from(server.0)];
        if let Some((_, why)) = refused.iter().find(|(other, _)| *other == server) {
            return Err(CandidateRefusal::SwitchFailed { why: why.clone() });
        }
        match waiver.to {
            Some(to) if to != server => return Err(CandidateRefusal::NotChosen),
            None if !model.candidate => return Err(CandidateRefusal::NotACandidate),
            _ if self.durable.cordoned.contains(&server) => return Err(CandidateRefusal::Cordoned),
            _ => {}
        }
        let since = self.detection.suspicion.as_ref().map_or(Mono::ZERO, |suspicion| suspicion.since);
        for (check, last) in self.findings_of(Some(server)) {
            let why = match last {
                None => Some("no answer yet".to_owned()),
                Some((_, finding)) if finding.verdict != Verdict::Up => Some(finding.message.clone()),
                Some((_, finding)) if finding.began < since => Some("no answer since the first bad sign".to_owned()),
                Some((at, _)) if now.since(*at) > check.stale_after() => Some("its last answer is too old".to_owned()),
                Some(_) => None,
            };
            if let Some(why) = why {
                return Err(CandidateRefusal::NotHealthy { why: format!("{}: {why}", check.name) });
            }
        }
        match self.server_health(server) {
            Health::Healthy => Ok(Candidate::of_application(server, model.priority)),
            health => Err(CandidateRefusal::NotHealthy { why: format!("it is {}", health.as_str()) }),
        }
    }

    /// The evidence behind the decision, one line each, after the lines of the suspicion.
    fn application_evidence(&self, reason: Reason, waiver: &Waiver, mut lines: Vec<String>, now: Mono) -> Vec<String> {
        let trigger = &self.model.trigger;
        lines.push(format!(
            "class {}: {} failed observations in the window of {}, threshold {}",
            reason.as_str(),
            self.detection.window.count(),
            trigger.failure_window,
            trigger.failure_threshold
        ));
        for (server, result) in self.examine_standbys(self.subject(), Ended::at(now), waiver, View::Guard { gone: false }, now) {
            let name = self.server_name(server);
            lines.push(match result {
                Ok(_) => format!("candidate {name}: every check passes"),
                Err(reason) => format!("candidate {name} refused: {}", reason.sentence()),
            });
        }
        lines
    }

    /// Its checks pass: what an earlier engine began because of it can be undone.
    fn application_is_well(&self, server: ServerId) -> bool {
        self.server_health(server) == Health::Healthy && self.detection.suspicion.is_none()
    }
}

fn class_of(causes: &[DownCause]) -> FailureClass {
    let all = |of: &[DownCause]| causes.iter().all(|cause| of.contains(cause));
    if all(&[DownCause::Refused, DownCause::Reset]) {
        FailureClass::Dead
    } else if all(&[DownCause::ConnectTimedOut, DownCause::HostUnreachable]) {
        FailureClass::Unreachable
    } else if all(&[DownCause::ConnectTimedOut, DownCause::HostUnreachable, DownCause::AnswerTimedOut]) {
        FailureClass::Hung
    } else {
        FailureClass::Unusable
    }
}
