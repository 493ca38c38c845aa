//! Checks and sessions of a service: when they run, and what their answers say about the primary.

use super::gate::Act;
use super::{ASSERT_AGAIN, ASSERT_SELDOM, CheckState, FAST_FOR, IN_RECOVERY_FOR, RECENT, RecentFailure, STEADY, Service};
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Field, Severity};
use crate::evidence::{FailureClass, Suspicion, UNANSWERED_FOR_SILENCE};
use crate::health::Health;
use crate::id::{CheckId, Generation, RunId, ServerId};
use crate::model::{CheckKind, CheckModel};
use crate::observation::{Close, CloseCause, DownCause, Finding, Impairment, UnknownCause, Verdict};
use crate::output::{Failure, Output, Report};
use crate::procedure::task::Task;
use crate::route::{self, RouteReadiness, RouteSurvey};
use crate::sample::{ProcessState, Readiness, ReadinessFinding, RouteInstance, Sample};
use crate::schedule::{Jitter, Slot, pause};
use crate::time::{Mono, Span};
use crate::trigger::State;

impl Service {
    pub(super) fn is_fast(&self, model: &CheckModel, state: &CheckState, now: Mono) -> bool {
        if state.answers < model.success_threshold
            && state.last.as_ref().is_none_or(|(_, finding)| finding.verdict == Verdict::Up)
        {
            return true;
        }
        let suspected = self.is_subject(ServerId(model.server))
            && self.run.plan.is_none()
            && matches!(self.state, State::Normal | State::Degraded | State::Failing | State::FailedOver)
            && self.detection.suspicion.as_ref().is_some_and(|suspicion| now.since(suspicion.since) < FAST_FOR);
        suspected || state.counter.is_changing(model.success_threshold)
    }

    pub(crate) fn schedule(&mut self, doubt: bool, jitter: &mut Jitter, fx: &mut Effects) {
        let now = fx.now;
        let may_ask = self.may(Act::Ask, fx.around, now);
        for at in 0..self.checks.len() {
            let model = &self.model.checks[at];
            let check = CheckId(u16::try_from(at).unwrap_or(u16::MAX));
            let next = now + pause(model, false, doubt, jitter);
            let kind = model.kind;
            if let Some(flight) = self.checks[at].slot.expire(now, next) {
                fx.push(Output::CancelRun(flight.run));
                self.finish_check(check, &overdue(kind, flight.began, now), fx);
            }
            let model = &self.model.checks[at];
            let timeout = model.timeout;
            let sample = !self.servers[usize::from(model.server)].session_open;
            let state = &mut self.checks[at];
            if state.slot.is_due(now) && may_ask {
                let flight = state.slot.start(fx.run(), now, timeout);
                fx.push(Output::RunCheck { run: flight.run, service: self.id, check, sample, deadline: flight.deadline });
            }
        }
        if self.kind().keeps_sessions() {
            self.schedule_sessions(may_ask, fx);
        }
    }

    pub(super) fn schedule_sessions(&mut self, may_ask: bool, fx: &mut Effects) {
        let now = fx.now;
        for server in self.server_ids() {
            let timeout = self.session_timeout(server);
            let state = &mut self.servers[usize::from(server.0)];
            if let Some(flight) = state.session.expire(now, now + Span::from_millis(1_000)) {
                fx.push(Output::CancelRun(flight.run));
            }
            if !state.session_open && may_ask && state.session.is_due(now) {
                let flight = state.session.start(fx.run(), now, timeout);
                fx.push(Output::OpenSession { run: flight.run, service: self.id, server, deadline: flight.deadline });
            }
        }
    }

    pub(super) fn session_timeout(&self, server: ServerId) -> Span {
        self.model
            .checks
            .iter()
            .find(|check| check.server == server.0 && check.kind == CheckKind::Postgres)
            .map_or(Span::from_millis(1_500), |check| check.timeout)
    }

    pub(crate) fn check_of_run(&self, run: RunId) -> Option<CheckId> {
        let at = self.checks.iter().position(|check| check.slot.flight().is_some_and(|flight| flight.run == run))?;
        u16::try_from(at).ok().map(CheckId)
    }

    pub(crate) fn session_of_run(&self, run: RunId) -> Option<ServerId> {
        self.server_ids()
            .find(|server| self.servers[usize::from(server.0)].session.flight().is_some_and(|flight| flight.run == run))
    }

    pub(crate) fn check_finished(
        &mut self,
        check: CheckId,
        run: RunId,
        finding: &Finding,
        jitter: &mut Jitter,
        doubt: bool,
        fx: &mut Effects,
    ) {
        let at = usize::from(check.0);
        self.finish_check(check, finding, fx);
        let fast = self.is_fast(&self.model.checks[at], &self.checks[at], fx.now);
        let due = fx.now + pause(&self.model.checks[at], fast, doubt, jitter);
        self.checks[at].slot.finish(run, due);
    }

    pub(super) fn finish_check(&mut self, check: CheckId, finding: &Finding, fx: &mut Effects) {
        let at = usize::from(check.0);
        let model = self.model.checks[at].clone();
        let server = ServerId(model.server);
        let impaired = self.beside_the_kept_session(check, finding).or_else(|| self.in_the_wrong_role(check, finding, fx.now));
        let finding = impaired.as_ref().unwrap_or(finding);
        let before = self.server_health(server);
        let state = &mut self.checks[at];
        state.counter.observe(&finding.verdict, model.failure_threshold, model.success_threshold);
        if !matches!(finding.verdict, Verdict::Unknown(_)) {
            state.answers = state.answers.saturating_add(1);
        }
        let verdict = match finding.verdict {
            Verdict::Up => 0,
            Verdict::Impaired(_) => 1,
            Verdict::Down(_) => 2,
            Verdict::Unknown(_) => 3,
        };
        state.verdicts[verdict] = state.verdicts[verdict].saturating_add(1);
        state.last = Some((fx.now, finding.clone()));
        self.tell_observed(&model, server, finding, fx);
        self.tell_health(server, before, finding, fx);
        if let Some(sample) = finding.sample.clone() {
            self.sampled(server, *sample, fx);
        }
        if model.kind == CheckKind::Postgres && finding.verdict == Verdict::Impaired(Impairment::Stopping) {
            self.end_session(server, fx);
        }
        if model.kind == CheckKind::Postgres && finding.verdict == Verdict::Up {
            let age = finding.sample.as_ref().and_then(|sample| sample.age);
            self.seen_serving(server, finding.began, age, "a new connection was served", fx.now);
            self.stop_before_the_fence(server, finding.began, "a new connection was served", fx);
        }
        self.kind().checked(self, server, fx);
        if self.is_subject(server) {
            self.subject_observed(check, &model, finding, fx);
        }
        // What the kept session answered is on record already, with its own time.
        let answered = finding.verdict.is_sign_of_life() && finding.verdict != Verdict::Impaired(Impairment::NoNewSessions);
        if model.kind == CheckKind::Postgres && answered {
            self.servers[usize::from(server.0)].last_answer = Some(fx.now);
            if !matches!(finding.verdict, Verdict::Impaired(Impairment::Starting | Impairment::Recovering)) {
                self.servers[usize::from(server.0)].served_at = Some(fx.now);
            }
        }
        if finding.verdict == Verdict::Up {
            self.servers[usize::from(server.0)].session.hasten(fx.now);
        }
    }

    /// A new connection that is not answered while the kept session is: once, it was late; again and again, the server serves nobody new.
    /// Then, what that is; else the finding stands.
    fn beside_the_kept_session(&mut self, check: CheckId, finding: &Finding) -> Option<Finding> {
        let at = usize::from(check.0);
        let model = &self.model.checks[at];
        let server = &self.servers[usize::from(model.server)];
        let silent = matches!(finding.verdict, Verdict::Down(DownCause::ConnectTimedOut | DownCause::AnswerTimedOut));
        let lives = server.session_open && server.last_answer.is_some_and(|last| last > finding.began);
        let state = &mut self.checks[at];
        if model.kind != CheckKind::Postgres || matches!(finding.verdict, Verdict::Unknown(_)) {
            return None;
        }
        state.unserved = if silent && lives { state.unserved.saturating_add(1) } else { 0 };
        if state.unserved < UNANSWERED_FOR_SILENCE {
            return None;
        }
        let message =
            format!("the kept session answers, and {} new connections in a row did not: {}", state.unserved, finding.message);
        Some(Finding { verdict: Verdict::Impaired(Impairment::NoNewSessions), message, ..finding.clone() })
    }

    /// The primary answers, is in recovery and stays there, and nobody else takes writes: it serves as little as one that is down. Then, what
    /// that is; else the finding stands.
    fn in_the_wrong_role(&self, check: CheckId, finding: &Finding, now: Mono) -> Option<Finding> {
        let model = &self.model.checks[usize::from(check.0)];
        let server = ServerId(model.server);
        if model.kind != CheckKind::Postgres
            || finding.verdict != Verdict::Up
            || !self.is_subject(server)
            || self.run.plan.is_some()
        {
            return None;
        }
        let since = self.servers[usize::from(server.0)].in_recovery_since?;
        let other = self.server_ids().any(|other| self.is_writable_now(other, now));
        if now.since(since) < IN_RECOVERY_FOR || other {
            return None;
        }
        let message = "it is in recovery, and nobody takes writes".to_owned();
        Some(Finding { verdict: Verdict::Impaired(Impairment::WrongRole), message, ..finding.clone() })
    }

    /// New connections to it have not been answered for as long as makes a failure, while its kept session is.
    pub(super) fn serves_nobody_new(&self, server: ServerId) -> bool {
        self.model.checks.iter().zip(&self.checks).any(|(model, state)| {
            model.server == server.0 && state.unserved >= model.failure_threshold.max(UNANSWERED_FOR_SILENCE)
        })
    }

    /// What it said to the last new session of the engine, if that was a no to the login.
    pub(super) fn login_refused(&self, server: ServerId) -> Option<&str> {
        self.model.checks.iter().zip(&self.checks).find_map(|(model, state)| {
            let (_, finding) = state.last.as_ref().filter(|_| model.server == server.0 && model.kind == CheckKind::Postgres)?;
            (finding.verdict == Verdict::Impaired(Impairment::Authentication)).then_some(finding.message.as_str())
        })
    }

    /// What its checks last said of a server that never said how it stands.
    pub(super) fn said_instead(&self, server: ServerId) -> String {
        let last = self.model.checks.iter().zip(&self.checks).find_map(|(model, state)| {
            let (_, finding) = state.last.as_ref().filter(|_| model.server == server.0 && model.kind == CheckKind::Postgres)?;
            Some(finding.message.as_str())
        });
        match last {
            Some(said) => format!("it has not reported its state yet: {said}"),
            None => "it has not answered yet".to_owned(),
        }
    }

    pub(super) fn tell_observed(&self, model: &CheckModel, server: ServerId, finding: &Finding, fx: &mut Effects) {
        fx.emit(
            EventKind::Observed,
            Severity::Debug,
            self.about_server(server),
            format!("{} {}: {}", model.name, finding.verdict.as_str(), finding.message),
            vec![
                ("check", text(&model.name)),
                ("verdict", text(finding.verdict.as_str())),
                ("reason", text(finding.verdict.reason())),
                ("latency_ms", Field::Span(finding.latency)),
                ("detail", text(&finding.message)),
            ],
        );
    }

    pub(super) fn tell_health(&self, server: ServerId, before: Health, finding: &Finding, fx: &mut Effects) {
        let after = self.server_health(server);
        if before == after {
            return;
        }
        if after == Health::Healthy {
            self.look_again(server, fx);
        }
        let severity = match after {
            Health::Healthy | Health::Unknown => Severity::Info,
            Health::Degraded | Health::Unhealthy => Severity::Warning,
        };
        fx.emit(
            EventKind::HealthChanged,
            severity,
            self.about_server(server),
            format!(
                "{} is {} (was {}){}{}",
                self.server_name(server),
                after.as_str(),
                before.as_str(),
                if finding.message.is_empty() { "" } else { ": " },
                finding.message
            ),
            vec![("from", text(before.as_str())), ("to", text(after.as_str())), ("detail", text(&finding.message))],
        );
    }

    pub(super) fn subject_observed(&mut self, check: CheckId, model: &CheckModel, finding: &Finding, fx: &mut Effects) {
        if finding.verdict.is_silence() && self.last_answer_of_subject() > finding.began && model.kind == CheckKind::Postgres {
            // It has answered since this question was asked: an old silence says nothing about now.
            return;
        }
        match &finding.verdict {
            Verdict::Down(cause) => {
                self.detection.window.failed(fx.now, check.0);
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(RecentFailure { at: fx.now, check, cause: *cause, message: finding.message.clone() });
            }
            Verdict::Up => self.detection.window.forgive(check.0),
            Verdict::Impaired(_) | Verdict::Unknown(_) => {}
        }
        self.kind().primary_checked(self, model, finding, fx);
    }

    pub(crate) fn last_answer_of_subject(&self) -> Mono {
        self.subject().and_then(|server| self.servers[usize::from(server.0)].last_answer).unwrap_or(Mono::ZERO)
    }

    /// Everything about this service is asked at once: how the primary is, and who could take over.
    pub(crate) fn ask_everything(&mut self, now: Mono) {
        for check in &mut self.checks {
            check.slot.hasten(now);
        }
    }

    /// The first bad sign: from now on the primary is probed fast.
    pub(crate) fn suspect(&mut self, since: Mono, fx: &mut Effects) {
        if self.detection.suspicion.is_some() || self.run.plan.is_some() {
            return;
        }
        // Announced before a pause, and not back since: its grace runs on.
        let announced = self.trouble.leaving.take().filter(|_| self.trouble.bad.is_some());
        let mut suspicion = Suspicion::new(since);
        suspicion.announced = announced;
        self.detection.suspicion = Some(suspicion);
        self.trouble.bad.get_or_insert(since);
        self.detection.told.clear();
        self.detection.host_asked = None;
        self.background.follow.ask = self.model.follows.is_some();
        for server in &mut self.servers {
            server.progress = None;
            server.progress_at = None;
        }
        self.kind().suspected(self, fx.now);
    }

    /// The primary proved to be alive: nothing was done, and nothing will be.
    pub(crate) fn recovered(&mut self, how: &str, fx: &mut Effects) {
        self.trouble.bad = None;
        self.trouble.failing = None;
        let Some(suspicion) = self.detection.suspicion.take() else { return };
        self.server_ids().for_each(|server| self.look_again(server, fx));
        self.detection.window.clear();
        self.detection.refusal = None;
        self.detection.awaiting = None;
        self.run.confirmed_by_operator = false;
        if matches!(self.state, State::Failing) {
            let primary = self.subject().map_or_else(String::new, |server| self.server_name(server));
            fx.emit(
                EventKind::FailoverSuppressed,
                Severity::Info,
                self.about(),
                format!("{primary} is alive, no failover: {how} after {}", fx.now.since(suspicion.since)),
                vec![("why", text(how)), ("evidence", texts(suspicion.record()))],
            );
        }
        // Detection is not touched by this: the next bad sign is weighed as the first one was.
        let troubled = matches!(self.state, State::Failing | State::Degraded);
        if self.is_unsteady(fx.now) && troubled {
            self.become_state(State::Degraded, how.to_owned(), fx);
        } else if troubled {
            self.become_calm(how, fx);
        }
    }

    /// It would be well again now. Where it was so a moment ago already, it stays degraded for a while.
    pub(super) fn is_unsteady(&mut self, now: Mono) -> bool {
        let again = self.detection.recovered_at.replace(now).is_some_and(|before| now.since(before) < STEADY);
        self.detection.unsteady_until = again.then_some(now + STEADY);
        again
    }

    pub(crate) fn session_opened(&mut self, server: ServerId, run: RunId, fx: &mut Effects) {
        let state = &mut self.servers[usize::from(server.0)];
        if state.session.finish(run, Mono::NEVER) {
            state.session_open = true;
            state.last_answer = Some(fx.now);
            self.look_again(server, fx);
        }
    }

    pub(crate) fn session_failed(&mut self, server: ServerId, run: RunId, finding: &Finding, fx: &mut Effects) {
        let due = fx.now + Span::from_millis(1_000);
        if !self.servers[usize::from(server.0)].session.finish(run, due) {
            return;
        }
        if finding.verdict.is_sign_of_life() {
            self.servers[usize::from(server.0)].last_answer = Some(fx.now);
        }
        if self.is_subject(server)
            && self.run.plan.is_none()
            && matches!(finding.verdict, Verdict::Down(_) | Verdict::Impaired(_))
        {
            self.suspect(finding.began, fx);
            if let Some(suspicion) = &mut self.detection.suspicion {
                suspicion.probe(fx.now, finding);
            }
        }
    }

    pub(crate) fn session_answered(&mut self, server: ServerId, sample: Sample, fx: &mut Effects) {
        let Some(state) = self.servers.get_mut(usize::from(server.0)) else { return };
        state.last_answer = Some(fx.now);
        state.served_at = Some(fx.now);
        let asked = sample.asked;
        let age = sample.age;
        self.sampled(server, sample, fx);
        // A session that lives on proves no service where nobody else gets in.
        if self.run.plan.as_ref().is_some_and(|plan| !plan.reason.is(FailureClass::Unusable)) {
            self.seen_serving(server, asked, age, "the kept session was answered", fx.now);
            self.stop_before_the_fence(server, asked, "its kept session was answered", fx);
        }
        if self.is_subject(server) {
            self.detection.log_end = None;
            self.trouble.bad = self.trouble.bad.filter(|_| self.detection.suspicion.is_some());
            let only_silence = self.detection.suspicion.as_ref().is_some_and(|suspicion| {
                suspicion.refused == 0
                    && suspicion.close.is_none()
                    && suspicion.impaired.is_none()
                    && asked >= suspicion.since - self.notice()
            });
            if only_silence {
                self.recovered("the kept session answered", fx);
            }
        }
    }

    /// A server that shuts down waits for its sessions where it was asked to be smart about it: ours is not to be the last.
    fn end_session(&mut self, server: ServerId, fx: &mut Effects) {
        let state = &mut self.servers[usize::from(server.0)];
        if std::mem::replace(&mut state.session_open, false) {
            state.session = Slot::due_at(fx.now + Span::from_millis(1_000));
            fx.push(Output::CloseSession { service: self.id, server });
        }
    }

    pub(crate) fn session_closed(&mut self, server: ServerId, close: Close, fx: &mut Effects) {
        let Some(state) = self.servers.get_mut(usize::from(server.0)) else { return };
        if !state.session_open {
            return;
        }
        state.session_open = false;
        state.session = Slot::due_at(fx.now + Span::from_millis(1_000));
        if close.cause == CloseCause::Ours {
            return;
        }
        fx.emit(
            EventKind::SessionClosed,
            Severity::Warning,
            self.about_server(server),
            format!("{} closed its kept session ({}): {}", self.server_name(server), close.cause.as_str(), close.message),
            vec![("cause", text(close.cause.as_str())), ("detail", text(&close.message))],
        );
        for (model, check) in self.model.checks.iter().zip(&mut self.checks) {
            if model.server == server.0 && model.kind == CheckKind::Postgres {
                check.slot.hasten(fx.now);
                check.unserved = 0;
            }
        }
        if self.is_subject(server) && self.run.plan.is_none() {
            self.suspect(fx.now, fx);
            if let Some(suspicion) = &mut self.detection.suspicion {
                suspicion.closed(fx.now, close);
            }
        }
    }

    pub(crate) fn surveyed(&mut self, server: ServerId, readiness: Readiness, fx: &mut Effects) {
        let Some(state) = self.servers.get_mut(usize::from(server.0)) else { return };
        let foreign = readiness.is_of_another_server();
        if foreign {
            state.view_confirmed = false;
            state.foreign_host = true;
        } else if let Some(Ok(word)) = &readiness.ssh
            && word.postmaster != ProcessState::Gone
            && word.shm_attached.is_some_and(|attached| attached > 0)
        {
            state.view_confirmed = true;
            state.foreign_host = false;
        }
        let before = state.readiness.replace(readiness).map(|readiness| readiness.all()).unwrap_or_default();
        let after = state.readiness.as_ref().map(Readiness::all).unwrap_or_default();
        self.tell_findings(server, &before, &after, fx);
    }

    /// One event for each finding that is new or says something else now than other numbers, what would stop a failover first; then
    /// one for what is over. Each carries the whole list.
    fn tell_findings(&self, server: ServerId, before: &[ReadinessFinding], after: &[ReadinessFinding], fx: &mut Effects) {
        let name = self.server_name(server);
        let blocking_first = || after.iter().filter(|found| found.blocking).chain(after.iter().filter(|found| !found.blocking));
        let all: Vec<String> = blocking_first().map(sentence).collect();
        let mut tell = |severity, code: String, message: String, remedy: Option<&String>| {
            let mut fields = vec![("code", text(code)), ("findings", texts(all.clone()))];
            fields.extend(remedy.map(|remedy| ("remedy", text(remedy))));
            fx.emit(EventKind::ReadinessChanged, severity, self.about_server(server), message, fields);
        };
        let is_new = |found: &&ReadinessFinding| !before.iter().any(|earlier| says_the_same(earlier, found));
        for found in blocking_first().filter(is_new) {
            let severity = if found.blocking { Severity::Alarm } else { Severity::Warning };
            // The survey's messages may begin with the server's name themselves.
            let said = found.message.strip_prefix(&format!("{name}: ")).unwrap_or(&found.message);
            tell(
                severity,
                found.code.to_string(),
                format!("{name}: {}: {said} ({})", found.code, found.remedy),
                Some(&found.remedy),
            );
        }
        let mut over: Vec<&str> = before.iter().map(|found| found.code.as_str()).collect();
        over.retain(|code| after.iter().all(|found| found.code.as_str() != *code));
        over.dedup();
        if over.is_empty() {
            return;
        }
        let over = over.join(", ");
        let message =
            if after.is_empty() { format!("{name}: no finding is left (over: {over})") } else { format!("{name}: over: {over}") };
        tell(Severity::Info, over, message, None);
    }

    /// Judges the route by what is known of the servers. While a failover moves the traffic, what was seen is of no worth.
    pub(crate) fn route_surveyed(&mut self, survey: &RouteSurvey, fx: &mut Effects) {
        let moved = self.run.last_failover.as_ref().and_then(|last| last.plan.times.ended);
        if self.run.plan.is_some() || moved.is_some_and(|moved| survey.asked < moved) {
            return;
        }
        self.kind().route_seen(self, &survey.instances, fx);
        let primary = self.durable.primary.filter(|primary| self.primary_seen && !self.another_serves_for(*primary, fx.now));
        let name = primary.map(|primary| self.server_name(primary));
        let answers = |server: &str| {
            if name.as_deref() == Some(server) {
                return self.detection.suspicion.is_none();
            }
            self.server_ids().any(|id| self.server_name(id) == server && self.server_health(id) == Health::Healthy)
        };
        let after = route::findings(&survey.instances, name.as_deref(), answers, self.holds_data());
        let before = self.route.replace(RouteReadiness { asked: survey.asked, findings: after.clone() });
        self.tell_route(&before.map(|before| before.findings).unwrap_or_default(), &after, says_the_same, fx);
        if let Some(name) = name {
            self.assert_route(survey, &name, fx);
        }
    }

    /// It is in recovery and another one takes writes, as where names or addresses were exchanged: who is to get the sessions is a person's
    /// to say.
    fn another_serves_for(&self, primary: ServerId, now: Mono) -> bool {
        let sample = self.servers[usize::from(primary.0)].sample.as_ref();
        sample.is_some_and(|(_, sample)| sample.in_recovery)
            && self.server_ids().any(|other| other != primary && self.is_writable_now(other, now))
    }

    /// What a client would see on its way, and what the names say. One look can fall into the moment before a failure shows, so it takes
    /// two in a row; and of a primary that is not well, its checks tell.
    pub(crate) fn route_asked(
        &mut self,
        primary: Option<ServerId>,
        asked: Mono,
        findings: Vec<ReadinessFinding>,
        fx: &mut Effects,
    ) {
        let moved = self.run.last_failover.as_ref().and_then(|last| last.plan.times.ended);
        let unwell = self.run.plan.is_some() || self.detection.suspicion.is_some() || self.state == State::ManualIntervention;
        if unwell || self.durable.primary != primary || moved.is_some_and(|moved| asked < moved) {
            self.asked_last.clear();
            return;
        }
        let last = std::mem::replace(&mut self.asked_last, findings);
        let was = |finding: &&ReadinessFinding| last.iter().any(|last| is_about_the_same(last, finding));
        let after: Vec<ReadinessFinding> = self.asked_last.iter().filter(was).cloned().collect();
        let before = self.asked_route.replace(RouteReadiness { asked, findings: after.clone() });
        self.tell_route(&before.map(|before| before.findings).unwrap_or_default(), &after, is_about_the_same, fx);
    }

    fn tell_route(
        &self,
        before: &[ReadinessFinding],
        after: &[ReadinessFinding],
        same: fn(&ReadinessFinding, &ReadinessFinding) -> bool,
        fx: &mut Effects,
    ) {
        let is_in = |list: &[ReadinessFinding], finding: &ReadinessFinding| list.iter().any(|other| same(other, finding));
        let mut began: Vec<&ReadinessFinding> = after.iter().filter(|finding| !is_in(before, finding)).collect();
        began.sort_by_key(|finding| !finding.blocking);
        for finding in began {
            // Clients may be hurt already, whether or not it would stand in the way of a failover.
            let message = format!("{}: {}", self.model.name, sentence(finding));
            let fields = vec![
                ("code", text(finding.code.as_str())),
                ("findings", texts([sentence(finding)])),
                ("remedy", text(&finding.remedy)),
            ];
            fx.emit(EventKind::ReadinessChanged, Severity::Alarm, self.about(), message, fields);
        }
        let ended = before.iter().filter(|finding| !is_in(after, finding));
        let (codes, ended): (Vec<&str>, Vec<String>) =
            ended.map(|finding| (finding.code.as_str(), format!("{}: {}", finding.code, finding.message))).unzip();
        if !ended.is_empty() {
            let message = format!("{}: over: {}", self.model.name, ended.join("; "));
            let fields = vec![("code", text(codes.join(", "))), ("ended", texts(ended))];
            fx.emit(EventKind::ReadinessChanged, Severity::Info, self.about(), message, fields);
        }
    }

    /// What a failover moved stays moved: a load balancer that was reloaded or restarted has forgotten it, and would give sessions
    /// to the old primary as soon as that is back. Before the first failover, or switch by hand, the operator's own configuration is what counts.
    fn assert_route(&mut self, survey: &RouteSurvey, primary: &str, fx: &mut Effects) {
        let serves = |server: &ServerId| self.kind().serves(self, *server, fx.now);
        let Some(server) = self.durable.primary.filter(serves) else { return };
        let astray = route::astray(&survey.instances, primary);
        if astray.is_none() {
            self.background.route_asserted_at = None;
            return;
        }
        let watching = matches!(self.state, State::Normal | State::Degraded | State::FailedOver) || self.run.switched_in_call;
        let at_work = self.is_at(|task| matches!(task, Task::AssertRoute(_)));
        if (self.durable.generation == Generation(0) && !self.switched_by_hand)
            || !watching
            || at_work
            || !self.may(Act::AssertRoute, fx.around, fx.now)
            || self.detection.suspicion.is_some()
            || self.background.route_asserted_at.is_some_and(|(at, tries)| fx.now.since(at) < assert_again(tries))
        {
            return;
        }
        let Some((astray, instance)) = astray else { return };
        self.background.route_asserted_at = Some((fx.now, self.background.route_asserted_at.map_or(0, |(_, tries)| tries + 1)));
        let message = match astray.as_str() {
            "" => {
                format!("{instance} keeps {primary} in maintenance, as before it became the primary: it gets the sessions again")
            }
            astray => format!(
                "{instance} gives sessions to {astray}, as before {primary} became the primary: they are sent to {primary} again"
            ),
        };
        fx.emit(
            EventKind::RouteAsserted,
            Severity::Warning,
            self.about_server(server),
            format!("{}: {message}", self.model.name),
            vec![("instance", text(instance)), ("astray", text(astray)), ("primary", text(primary))],
        );
        self.begin_task(Task::AssertRoute(server), fx);
    }

    pub(crate) fn route_asserted(&self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let failed: Vec<String> = match outcome {
            Ok(Report::Route(instances)) => instances.iter().filter_map(RouteInstance::failure).collect(),
            Ok(_) => vec!["the action returned an answer that does not fit it".into()],
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

    /// What the survey found out about a server may not be true any more. Its turn comes early only in quiet times: a failover
    /// needs the hosts, and the machine, for itself.
    pub(crate) fn look_again(&self, server: ServerId, fx: &mut Effects) {
        if self.run.plan.is_none() && self.detection.suspicion.is_none() {
            fx.push(Output::Survey { service: self.id, server });
        }
    }
}

/// What an instance refuses for good is not asked for every second.
fn assert_again(tries: u32) -> Span {
    ASSERT_AGAIN.times(1 << tries.min(6)).min(ASSERT_SELDOM)
}

/// What follows the colon is how it looked that time.
fn is_about_the_same(one: &ReadinessFinding, other: &ReadinessFinding) -> bool {
    let subject = |finding: &ReadinessFinding| finding.message.split(": ").next().map(str::to_owned);
    one.code == other.code && subject(one) == subject(other)
}

/// What is left in bytes or days changes all the time: the status has the newest.
fn says_the_same(one: &ReadinessFinding, other: &ReadinessFinding) -> bool {
    let same = |one: &str, other: &str| but_for_numbers(one).eq(but_for_numbers(other));
    one.code == other.code
        && one.blocking == other.blocking
        && same(&one.message, &other.message)
        && same(&one.remedy, &other.remedy)
}

/// The words of a text that do not begin with a digit: `db2` is a name, `0/3000060` is none.
fn but_for_numbers(text: &str) -> impl Iterator<Item = &str> {
    let is_number =
        |word: &&str| word.trim_start_matches(|c: char| !c.is_alphanumeric()).starts_with(|c: char| c.is_ascii_digit());
    text.split_whitespace().filter(move |word| !is_number(word))
}

fn sentence(finding: &ReadinessFinding) -> String {
    format!("{}: {} ({})", finding.code, finding.message, finding.remedy)
}

/// A run that did not come back by its deadline. Whoever keeps it, the host program or a thread of ours, the server was not heard.
fn overdue(kind: CheckKind, began: Mono, now: Mono) -> Finding {
    let (cause, message) = match kind {
        CheckKind::Host => (UnknownCause::NoAnswerFromHost, "the host program gave no answer in time"),
        _ => (UnknownCause::OwnResources, "the check did not come back by its deadline"),
    };
    Finding { verdict: Verdict::Unknown(cause), message: message.into(), began, latency: now.since(began), sample: None }
}
