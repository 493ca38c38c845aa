//! From the evidence to a failover, or to the refusal that stands in its way.

use super::gate::{Act, Bar};
use super::{FRESH, STEADY, Service, Surroundings};
use crate::candidate::{self, Candidate, Ended, View, Waiver};
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Severity};
use crate::evidence::{FailureClass, Limits, Suspicion, classify};
use crate::id::ServerId;
use crate::model::{CheckKind, Policy};
use crate::observation::Impairment;
use crate::output::Output;
use crate::plan::Plan;
use crate::reason::Reason;
use crate::refusal::{CandidateRefusal, Refusal};
use crate::sample::FenceLevel;
use crate::static_word::Word;
use crate::time::{Mono, Span};
use crate::trigger::State;

/// So long a standby that is restarting, or replays what it has, is waited for before a person is called.
const AWAITED: Span = Span::from_millis(20_000);

/// Told beside the names of refusals: the survey was asked to look at the primary's host.
const LOOKED: Word = "a_look_at_the_host";

/// A service whose primary was never seen may still be starting: so long it is waited for before a person is called.
const NOBODY_SEEN: Span = Span::from_millis(30_000);

impl Service {
    /// Everything that follows from the present evidence. Harmless to call at any time.
    pub(crate) fn evaluate(&mut self, around: Surroundings, fx: &mut Effects) {
        if self.unread {
            return;
        }
        self.end_pause(fx);
        self.begin_planned(around, fx);
        // A sign of life: the next failure is another one.
        self.run.held &= self.trouble.bad.is_some();
        self.expire_tasks(fx);
        self.prove_again(fx);
        self.point_names(fx);
        self.repoint_standbys(fx);
        self.drop_left_slots(fx);
        self.restore_sync_names(fx);
        self.keep_sync_set(fx);
        self.climb(fx);
        self.drive_beside(fx);
        if self.run.plan.is_some() {
            self.drive::<Plan>(fx);
            return;
        }
        self.detection.window.slide(fx.now, self.model.trigger.failure_window);
        self.tell_other_engine(fx);
        self.notice_silence(fx);
        self.watch_readiness(around, fx);
        self.ask_host(fx);
        self.forget_two_primaries(fx.now);
        self.settle_begun(fx);
        self.follow(around, fx);
        if self.run.plan.is_some() {
            return;
        }
        match self.state {
            State::Normal | State::Degraded | State::Failing => self.evaluate_watching(around, fx),
            State::FailedOver => self.evaluate_failed_over(around, fx),
            State::ManualIntervention => self.end_call(fx),
            State::FailoverInProgress => {}
        }
    }

    /// A person was called because nobody could be promoted, or the primary could not be fenced, and nothing was changed. Once the primary has
    /// served for a while again, that is over: the next failure is another one.
    fn end_call(&mut self, fx: &mut Effects) {
        let serves = |server: ServerId| self.is_writable_now(server, fx.now) && self.servers[usize::from(server.0)].session_open;
        let well = self.detection.suspicion.is_none() && !self.two_primaries && self.durable.primary.is_some_and(serves);
        if !self.run.called_in_vain || !well {
            self.run.well_since = None;
            return;
        }
        let since = *self.run.well_since.get_or_insert(fx.now);
        if fx.now.since(since) >= STEADY {
            let primary = self.subject().map_or_else(String::new, |server| self.server_name(server));
            self.durable.attention = None;
            self.become_state(State::Normal, format!("{primary} serves again, and nothing had been changed"), fx);
            self.journal_facts(fx);
            self.start_over(fx);
        }
    }

    pub(super) fn forget_two_primaries(&mut self, now: Mono) {
        if self.two_primaries && self.server_ids().filter(|server| self.is_writable_now(*server, now)).count() < 2 {
            self.two_primaries = false;
        }
    }

    pub(super) fn notice_silence(&mut self, fx: &mut Effects) {
        let Some(subject) = self.subject() else { return };
        let state = &self.servers[usize::from(subject.0)];
        let Some(last) = state.last_answer.filter(|_| state.session_open) else { return };
        if self.detection.suspicion.is_none() && fx.now.since(last) > self.notice() {
            let since = last + self.model.trigger.ping_interval;
            self.suspect(since, fx);
            let silence = fx.now.since(last);
            if let Some(suspicion) = &mut self.detection.suspicion {
                suspicion.note(fx.now, format!("the kept session has not answered for {silence}"));
            }
        }
    }

    pub(super) fn threshold_met(&self, now: Mono) -> Result<(), Refusal> {
        let trigger = &self.model.trigger;
        let subject = self.subject();
        let impaired = self.detection.suspicion.as_ref().and_then(|suspicion| suspicion.impaired);
        let unusable = impaired.is_some_and(|(since, _)| trigger.on_impaired.is_some_and(|span| now.since(since) >= span));
        let failing = self
            .model
            .checks
            .iter()
            .zip(&self.checks)
            .filter(|(model, state)| {
                let failing = state.counter.failures() >= model.failure_threshold;
                Some(ServerId(model.server)) == subject && (failing || unusable && model.kind == CheckKind::Postgres)
            })
            .count();
        let failing = u32::try_from(failing).unwrap_or(u32::MAX);
        let of_subject = self.model.checks.iter().filter(|model| Some(ServerId(model.server)) == subject).count();
        let needed = match trigger.policy {
            Policy::Count => {
                let silent = self.kind().silence_decides(self, now);
                let proven = self.detection.suspicion.as_ref().is_some_and(|one| one.is_proven_dead(&self.limits(now)));
                let failures = self.detection.window.count();
                return if failures >= trigger.failure_threshold || silent || unusable || proven {
                    Ok(())
                } else {
                    Err(Refusal::ThresholdNotReached { failures, threshold: trigger.failure_threshold })
                };
            }
            Policy::All => u32::try_from(of_subject).unwrap_or(u32::MAX).max(1),
            Policy::Quorum(needed) => needed.max(1),
        };
        if failing >= needed { Ok(()) } else { Err(Refusal::PolicyNotMet { failing, needed }) }
    }

    pub(super) fn evaluate_watching(&mut self, around: Surroundings, fx: &mut Effects) {
        match self.threshold_met(fx.now) {
            Ok(()) => {
                self.begin_confirmation(fx);
                self.decide(around, fx);
            }
            Err(refusal) => {
                let unsteady = self.detection.unsteady_until.is_some_and(|until| fx.now < until) && self.state == State::Degraded;
                let troubled = self.detection.suspicion.is_some() || self.detection.window.count() > 0 || unsteady;
                match self.state {
                    State::Normal if troubled => {
                        self.become_state(State::Degraded, "the primary shows a first bad sign".into(), fx);
                    }
                    State::Normal => self.become_calm("", fx),
                    // A stopping engine asks nobody any more, so it cannot say that.
                    State::Degraded if !troubled && self.stopping => {}
                    State::Degraded if !troubled => self.come_to_rest(fx),
                    State::Failing if !troubled => self.become_calm("the failures are out of the window", fx),
                    State::Failing => self.become_state(State::Degraded, self.sentence(&refusal), fx),
                    _ => {}
                }
                match self.lasting_impairment(fx.now) {
                    Some(refusal) => self.refuse(refusal, fx),
                    None => self.detection.refusal = troubled.then_some(refusal),
                }
            }
        }
    }

    /// Nothing is suspected any more.
    fn come_to_rest(&mut self, fx: &mut Effects) {
        if !self.missing().is_empty() || !self.is_unsteady(fx.now) {
            self.become_calm("the primary answers and nothing is missing", fx);
        }
    }

    /// Alive and not serving for this long is an alarm of its own, though no reason to act.
    fn lasting_impairment(&self, now: Mono) -> Option<Refusal> {
        let suspicion = self.detection.suspicion.as_ref()?;
        let (since, impairment) = suspicion.impaired?;
        let refusal = classify(suspicion, &self.limits(now), now).err()?;
        if impairment == Impairment::NoNewSessions {
            // No restart looks like this: nothing is waited for.
            return self.serves_nobody_new(self.subject()?).then_some(refusal);
        }
        let grace = matches!(refusal, Refusal::RestartGrace { .. });
        (now.since(since) >= self.model.trigger.restart_grace && !grace).then_some(refusal)
    }

    pub(super) fn begin_confirmation(&mut self, fx: &mut Effects) {
        if self.state == State::Failing {
            return;
        }
        self.trouble.failing = Some(fx.now);
        self.kind().confirming(self, fx.now);
        self.become_state(State::Failing, "the failure threshold is reached".into(), fx);
        let evidence = self.suspicion_record();
        let primary = self.subject().map_or_else(String::new, |server| self.server_name(server));
        fx.emit(
            EventKind::ConfirmationStarted,
            Severity::Warning,
            self.about(),
            format!("{primary} seems to have failed: gathering fresh evidence"),
            vec![("evidence", texts(evidence))],
        );
    }

    pub(super) fn decide(&mut self, around: Surroundings, fx: &mut Effects) {
        match self.may_fail_over(around, fx.now) {
            Ok(class) => match self.within_limit(around, fx.now).and_then(|()| self.awaited_operator(class, fx)) {
                Ok(()) => self.start_plan(Reason::Failed(class), Waiver::default(), None, fx),
                Err(refusal) => self.refuse(refusal, fx),
            },
            Err(refusal) => self.refuse(refusal, fx),
        }
    }

    /// Every guard before an automatic failover, in the order in which a person would ask.
    pub(super) fn may_fail_over(&self, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        self.gate(Act::Weigh, around, now)?;
        self.kind().may_fail_over(self, around, now)
    }

    /// The class of the failure of a database, where no standby's word speaks against it.
    pub(crate) fn uncontradicted(&self, suspicion: &Suspicion, now: Mono) -> Result<FailureClass, Refusal> {
        let class = classify(suspicion, &self.limits(now), now)?;
        // Refusals alone may come from something in between. Only where the host has said that the postmaster is gone is a standby
        // that goes on receiving no contradiction: its children outlive it.
        let gone = class == FailureClass::Dead && suspicion.host_answers();
        if !gone
            && class != FailureClass::Unusable
            && let Some(server) = self.standby_sees_primary(now)
        {
            return Err(Refusal::StandbySeesPrimary { server });
        }
        if !gone && class == FailureClass::Dead && self.a_standby_has_yet_to_speak(suspicion.since, now) {
            return Err(Refusal::EvidenceIncomplete { waiting_for: "what the standbys see of the primary" });
        }
        Ok(class)
    }

    /// Nobody can be promoted now, and one that was there a moment ago may be in another: before the fence it costs nothing to wait.
    pub(crate) fn unless_one_comes(&self, refusal: Refusal, since: Mono, now: Mono) -> Refusal {
        let Refusal::NoCandidate { reasons } = &refusal else { return refusal };
        let awaited = now.since(since.max(self.afresh_since)) < AWAITED.min(self.model.trigger.failover_timeout);
        // It may be the new primary already: nobody is called before its history is read.
        let promoted = |(server, reason): &(ServerId, CandidateRefusal)| {
            *reason == CandidateRefusal::NotInRecovery && self.is_yet_unjudged(*server, now)
        };
        if awaited && reasons.iter().any(promoted) {
            return Refusal::EvidenceIncomplete { waiting_for: "whether a server that takes writes continues the primary's log" };
        }
        let wanted = reasons.iter().any(|(server, reason)| match reason {
            CandidateRefusal::NotReadable { .. } => self.was_there(*server, now),
            CandidateRefusal::QuorumUnanswered { .. } => {
                self.server_ids().any(|other| !self.is_subject(other) && self.is_on_its_way(other, now))
            }
            _ => false,
        });
        if wanted && awaited {
            return Refusal::EvidenceIncomplete { waiting_for: "a standby that is restarting, or replays what it has" };
        }
        refusal
    }

    /// The evidence shows the primary dead, whatever stands in the way of an automatic failover.
    pub(crate) fn is_dead(&self, now: Mono) -> bool {
        self.detection.suspicion.as_ref().is_some_and(|suspicion| self.shows_dead(suspicion, now))
    }

    /// What a suspicion has gathered shows the primary dead.
    pub(crate) fn shows_dead(&self, suspicion: &Suspicion, now: Mono) -> bool {
        matches!(classify(suspicion, &self.limits(now), now), Ok(FailureClass::Dead) | Err(Refusal::RestartGrace { .. }))
            && suspicion.gone_since.is_some()
    }

    pub(crate) fn limits(&self, now: Mono) -> Limits {
        let subject = self.subject();
        let outstanding = self
            .model
            .checks
            .iter()
            .zip(&self.checks)
            .filter(|(model, _)| Some(ServerId(model.server)) == subject && model.kind == CheckKind::Postgres)
            .find_map(|(_, state)| state.slot.flight())
            .map(|flight| flight.began);
        let state = subject.map(|server| &self.servers[usize::from(server.0)]);
        let trigger = &self.model.trigger;
        Limits {
            last_answer: self.last_answer_of_subject(),
            outstanding_since: outstanding,
            kept_open: state.is_some_and(|state| state.session_open),
            ssh: subject.and_then(|server| self.server_model(server)).is_some_and(|model| model.ssh)
                && state.is_some_and(|state| !state.foreign_host),
            hang_after: trigger.hang_after,
            restart_grace: trigger.restart_grace,
            on_impaired: trigger.on_impaired,
            traffic: self.traffic_weight(now),
        }
    }

    /// Another engine with sessions on a server that answers us: what a server said before it died does not count for ever.
    pub(super) fn second_engine(&self, now: Mono) -> Option<String> {
        self.servers
            .iter()
            .filter_map(|state| state.sample.as_ref())
            .filter(|(at, _)| now.since(*at) < FRESH)
            .find_map(|(_, sample)| sample.other_engines.first().cloned())
    }

    /// Two engines on one service refuse both: whoever runs one of them hears of it at that moment, not at the next failover.
    fn tell_other_engine(&mut self, fx: &mut Effects) {
        let seen = self.second_engine(fx.now);
        if seen == self.other_engine {
            return;
        }
        let (severity, message) = match (&seen, &self.other_engine) {
            (Some(name), _) => (
                Severity::Alarm,
                format!(
                    "second_engine: {}: another engine ({name}) watches this service: no failover while two do (stop one of them)",
                    self.model.name
                ),
            ),
            (None, Some(name)) => (
                Severity::Info,
                format!("{}: over: second_engine: the other engine ({name}) is not seen any more", self.model.name),
            ),
            (None, None) => return,
        };
        fx.emit(EventKind::ReadinessChanged, severity, self.about(), message, vec![("code", text("second_engine"))]);
        self.other_engine = seen;
    }

    /// Why the primary's host was of no help, in the words of the survey's last question: it may have answered with a no.
    pub(super) fn host_trouble(&self) -> String {
        let readiness = self.subject().and_then(|server| self.servers[usize::from(server.0)].readiness.as_ref());
        match readiness.and_then(|readiness| readiness.ssh.as_ref()) {
            Some(Err(said)) => format!("its host could not be asked over SSH ({said})"),
            _ => "its host does not answer over SSH".to_owned(),
        }
    }

    /// Which fence level is to be reached, and whether only a command can reach it. `unreachable`: its host is out of reach.
    pub(crate) fn fence_way(&self, unreachable: bool) -> Result<(FenceLevel, bool), Refusal> {
        let Some(model) = self.subject().and_then(|server| self.server_model(server)) else {
            return Err(Refusal::NoPrimarySeen);
        };
        let require = self.model.fence.require;
        // While nothing is suspected, the survey's last look says whether the host would answer.
        let surveyed_silent = self.detection.suspicion.is_none()
            && self
                .subject()
                .and_then(|server| self.servers[usize::from(server.0)].readiness.as_ref())
                .is_some_and(|readiness| matches!(readiness.ssh, Some(Err(_))));
        let foreign = self.subject().is_some_and(|server| self.servers[usize::from(server.0)].foreign_host);
        // Processes that were never matched with the server that answered over SQL may be somebody else's; and where its own were
        // never seen, seeing none proves nothing.
        let unmatched = self.subject().is_some_and(|server| !self.servers[usize::from(server.0)].view_confirmed);
        let unlooked = self.subject().is_some_and(|server| self.servers[usize::from(server.0)].readiness.is_none());
        let silent = surveyed_silent || self.detection.suspicion.as_ref().is_some_and(Suspicion::host_is_silent);
        let host_silent = unreachable || foreign || unmatched || !model.ssh || silent;
        if require <= FenceLevel::TrafficRemoved {
            return Ok((require, host_silent));
        }
        if !host_silent {
            return Ok((require, false));
        }
        if model.fence_command {
            return Ok((FenceLevel::PowerOff, true));
        }
        if self.model.route.exclusive && self.model.route.is_managed() {
            return Ok((FenceLevel::TrafficRemoved, true));
        }
        let why = if foreign {
            "the data directory on its host is another server's; there is no fence.command, and route.exclusive is not declared"
        } else if !model.ssh {
            "no SSH to its host is configured; there is no fence.command, and route.exclusive is not declared"
        } else if !silent && unmatched && unlooked {
            "its host has not been looked at yet; there is no fence.command, and route.exclusive is not declared"
        } else if !silent && unmatched {
            "the processes on its host were never matched with this server while it answered; there is no fence.command, and route.exclusive is not declared"
        } else {
            let why = self.host_trouble();
            return Err(Refusal::FenceUnavailable {
                why: format!("{why}; there is no fence.command, and route.exclusive is not declared"),
            });
        };
        Err(Refusal::FenceUnavailable { why: why.into() })
    }

    /// How long the primary went on: one that is not known to have ended may acknowledge commits up to its fence.
    pub(crate) fn ended(&self, class: Option<FailureClass>, suspicion: &Suspicion, now: Mono) -> Ended {
        let lived = self.lived_until(suspicion.since);
        if suspicion.is_stopping() && self.detection.log_end.is_some() {
            // Nobody was told of a commit that is not before the end of its log, which was read.
            return Ended::gone(lived, now);
        }
        class.and_then(|class| suspicion.ended(class)).map_or(Ended::fenced(lived, now), |ended| Ended::gone(lived, ended))
    }

    pub(crate) fn some_candidate(&self, ended: Ended, waiver: &Waiver, now: Mono) -> Result<Candidate, Refusal> {
        let view = View::Guard { gone: self.is_dead(now) };
        let examined = self.examine_standbys(self.subject(), ended, waiver, view, now);
        let candidates: Vec<Candidate> = examined.iter().filter_map(|(_, result)| result.as_ref().ok().copied()).collect();
        candidate::best(&candidates).ok_or_else(|| Refusal::NoCandidate {
            reasons: examined.into_iter().filter_map(|(server, result)| result.err().map(|reason| (server, reason))).collect(),
        })
    }

    pub(super) fn awaited_operator(&mut self, class: FailureClass, fx: &mut Effects) -> Result<(), Refusal> {
        if !self.model.trigger.require_confirmation || self.run.confirmed_by_operator {
            return Ok(());
        }
        let Some((_, until)) = self.detection.awaiting else {
            let until = fx.now + self.model.trigger.confirm_timeout;
            self.detection.awaiting = Some((class, until));
            let evidence = self.suspicion_record();
            fx.emit(
                EventKind::AwaitingConfirmation,
                Severity::Alarm,
                self.about(),
                format!(
                    "{}: the primary is {}; waiting {} for an operator: failover confirm {}",
                    self.model.name,
                    class.as_str(),
                    self.model.trigger.confirm_timeout,
                    self.model.name
                ),
                vec![("class", text(class.as_str())), ("evidence", texts(evidence))],
            );
            return Err(Refusal::AwaitingConfirmation { left: until.since(fx.now) });
        };
        if fx.now < until {
            return Err(Refusal::AwaitingConfirmation { left: until.since(fx.now) });
        }
        // Back to monitoring, with an alarm: the next round of evidence asks again.
        self.refuse(Refusal::ConfirmationTimedOut, fx);
        self.detection.awaiting = None;
        self.detection.suspicion = None;
        self.detection.window.clear();
        self.become_calm("nobody confirmed in time", fx);
        Err(Refusal::ConfirmationTimedOut)
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, fx: &mut Effects) {
        self.tell_refusal(&refusal, fx);
        let final_ = match &refusal {
            Refusal::NoCandidate { reasons } => !self.kind().may_come(self, reasons),
            Refusal::Cooldown { .. } => true,
            Refusal::FenceUnavailable { .. } => !self.may_be_fenced_later(fx),
            // Nothing that is waited for will change it.
            Refusal::NoPrimarySeen => self.trouble.failing.is_some_and(|since| fx.now.since(since) >= NOBODY_SEEN),
            _ => false,
        };
        let sentence = self.sentence(&refusal);
        let wanted = matches!(refusal, Refusal::NoCandidate { .. } | Refusal::FenceUnavailable { .. }) && self.holds_data();
        let waits = matches!(
            refusal,
            Refusal::AwaitingConfirmation { .. }
                | Refusal::TooManyAtOnce { .. }
                | Refusal::Stopping
                | Refusal::WatchedOnly
                | Refusal::Paused
        );
        self.detection.refusal = Some(refusal);
        if final_ {
            self.call_a_person(sentence, self.suspicion_record(), fx);
            self.run.called_in_vain = self.holds_data();
        } else if matches!(self.state, State::Failing | State::FailedOver)
            && !waits
            && (wanted || self.has_failed_for_long(fx.now))
        {
            self.call_for_help(&sentence, fx);
        }
    }

    /// What was seen since the first bad sign, one line each.
    pub(crate) fn suspicion_record(&self) -> Vec<String> {
        self.detection.suspicion.as_ref().map(Suspicion::record).unwrap_or_default()
    }

    /// What is missing for the fence is an answer of the host, or a first look at it: that may come.
    fn may_be_fenced_later(&mut self, fx: &mut Effects) -> bool {
        let Some(subject) = self.subject() else { return false };
        let state = &self.servers[usize::from(subject.0)];
        if !self.server_model(subject).is_some_and(|model| model.ssh) || state.foreign_host {
            return false;
        }
        let unlooked = state.readiness.is_none();
        let silent = self.detection.suspicion.as_ref().is_some_and(Suspicion::host_is_silent);
        if unlooked && self.detection.told.insert(LOOKED) {
            fx.push(Output::Survey { service: self.id, server: subject });
        }
        silent || unlooked
    }

    /// What keeps this standby from being promoted is that it cannot be asked, or that others cannot: that may change.
    pub(crate) fn may_pass(&self, server: ServerId, reason: &CandidateRefusal) -> bool {
        match reason {
            CandidateRefusal::NotReadable { .. } => !self.servers[usize::from(server.0)].deposed,
            CandidateRefusal::QuorumUnanswered { .. }
            | CandidateRefusal::NotSalvaged { .. }
            | CandidateRefusal::NoNewSessions
            | CandidateRefusal::LoginRefused { .. } => true,
            _ => false,
        }
    }

    /// The primary has failed for as long as a failover may take, and none has begun.
    fn has_failed_for_long(&self, now: Mono) -> bool {
        self.trouble.failing.is_some_and(|since| now.since(since) >= self.model.trigger.failover_timeout)
    }

    /// The event of a refusal, once since the first bad sign.
    pub(crate) fn tell_refusal(&mut self, refusal: &Refusal, fx: &mut Effects) {
        let news = self.detection.told.insert(refusal.name());
        if news {
            let count = self.refusals.entry(refusal.name().to_owned()).or_default();
            *count = count.saturating_add(1);
        }
        if news && !matches!(refusal, Refusal::EvidenceIncomplete { .. } | Refusal::AwaitingConfirmation { .. }) {
            let (kind, severity) = match refusal {
                Refusal::HostSaysServing | Refusal::StandbySeesPrimary { .. } | Refusal::DatabaseAnswers => {
                    (EventKind::FailoverSuppressed, Severity::Warning)
                }
                Refusal::RestartGrace { .. } | Refusal::Stopping | Refusal::WatchedOnly | Refusal::DependencyFailing { .. } => {
                    (EventKind::FailoverRefused, Severity::Warning)
                }
                // One alarm is raised for all.
                Refusal::TooManyAtOnce { .. } => (EventKind::FailoverRefused, Severity::Warning),
                _ => (EventKind::FailoverRefused, Severity::Alarm),
            };
            let sentence = self.sentence(refusal);
            let message = format!("{}: no failover: {sentence}", self.model.name);
            let evidence = texts(self.suspicion_record());
            let fields = vec![("refusal", text(refusal.name())), ("detail", text(sentence)), ("evidence", evidence)];
            fx.emit(kind, severity, self.about(), message, fields);
        }
    }

    pub(super) fn evaluate_failed_over(&mut self, around: Surroundings, fx: &mut Effects) {
        if self.threshold_met(fx.now).is_ok() {
            if self.detection.suspicion.is_some() {
                let class = self.kind().failing_again(self, around, fx.now);
                let Some(suspicion) = &self.detection.suspicion else { return };
                match class {
                    Ok(class) => {
                        let ended = self.ended(Some(class), suspicion, fx.now);
                        let (bar, refusal) = self.closed(Act::FailOver, around, fx.now).next().unzip();
                        let refusal = refusal.or_else(|| self.some_candidate(ended, &Waiver::default(), fx.now).err());
                        if let Some(refusal) = refusal.clone().filter(|_| bar.is_some_and(Bar::passes)) {
                            // Whether the cooldown still stands in the way shows when that is over.
                            self.trouble.failing.get_or_insert(fx.now);
                            self.refuse(refusal, fx);
                            return;
                        }
                        let Some(refusal) = refusal else {
                            // The cooldown has ended since the first bad sign: this is a failure like any other.
                            self.become_state(State::Normal, "the cooldown is over and a standby is ready".into(), fx);
                            self.become_state(State::Degraded, "the primary shows a first bad sign".into(), fx);
                            self.evaluate_watching(around, fx);
                            return;
                        };
                        let sentence = format!("the new primary failed too: {}", self.sentence(&refusal));
                        let evidence = suspicion.record();
                        self.tell_refusal(&refusal, fx);
                        self.detection.refusal = Some(refusal);
                        self.call_a_person(sentence, evidence, fx);
                    }
                    Err(refusal) => self.refuse(refusal, fx),
                }
            }
            return;
        }
        let ready = self.some_candidate(Ended::at(fx.now), &Waiver::default(), fx.now).is_ok();
        if self.cooldown_left(fx.now) == Span::ZERO && ready && self.detection.suspicion.is_none() {
            self.become_state(State::Normal, "the cooldown is over and a standby is ready".into(), fx);
        }
    }
}
