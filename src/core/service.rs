//! One service: its servers and checks as observed, its trigger, and the plan in flight.

use super::candidate::{self, Candidate, Reference, Standing, Waiver};
use super::doubt::DoubtCause;
use super::effects::{About, Effects, text, texts};
use super::event::{EventKind, Field, Severity};
use super::evidence::{FailureClass, Limits, Suspicion, classify, impaired_class};
use super::health::{Counter, Health};
use super::id::{ActionId, CheckId, Generation, RunId, ServerId, ServiceId};
use super::input::{Command, Facts};
use super::model::{CheckKind, CheckModel, Policy, Role, ServerModel, ServiceKind, ServiceModel};
use super::observation::{Close, CloseCause, DownCause, Finding, UnknownCause, Verdict};
use super::output::{Action, Failure, Output, Record, Report};
use super::plan::Plan;
use super::refusal::{CandidateRefusal, Refusal};
use super::sample::{FenceLevel, LocalAnswer, Lsn, ProcessState, Readiness, Receiver, RouteInstance, Sample};
use super::schedule::{Jitter, Slot, pause};
use super::time::{Mono, Span};
use super::trigger::{State, Window};

/// A sample older than this is no longer what a server says.
pub const FRESH: Span = Span::from_millis(3_000);
/// Fast probing of a suspect ends after this; a standing refusal is then watched at the normal interval.
const FAST_FOR: Span = Span::from_millis(20_000);
/// Recent failures kept for the status.
const RECENT: usize = 16;
/// A standby's lag above the limit must last this long to be an alarm: one sample in a burst is none.
const READINESS_HOLD: Span = Span::from_millis(1_000);
/// A standby counts as receiving if it did so at most this long before the primary's last sign of life: a receiver ends within
/// milliseconds of a kill, sometimes before our own session shows it.
const STREAM_GRACE: Span = Span::from_millis(1_000);
/// The proof of a fence is taken again this long after the failover (rule 86).
const PROVE_AGAIN: Span = Span::from_millis(1_000);
/// Deadline of one question to a host: a handshake and a command fit well.
const ASK_HOST: Span = Span::from_millis(2_000);

/// What is known of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckState {
    pub(super) slot: Slot,
    /// Its health by consecutive answers.
    pub counter: Counter,
    /// Its last answer and when it came.
    pub last: Option<(Mono, Finding)>,
    pub(super) answers: u32,
}

/// What is known of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    pub(super) session: Slot,
    /// A kept session is open and being watched.
    pub session_open: bool,
    /// The last answer that only a living server gives.
    pub last_answer: Option<Mono>,
    /// What it last said about itself, and when that came.
    pub sample: Option<(Mono, Sample)>,
    /// What the survey last found.
    pub readiness: Option<Readiness>,
    /// The host's view of its processes was confirmed while it lived.
    pub view_confirmed: bool,
    /// When it was last seen receiving from the primary.
    pub streamed_at: Option<Mono>,
    /// It was among those that acknowledge synchronous commits when the primary was last asked.
    pub synchronous: bool,
    /// It belongs to another cluster.
    pub wrong_cluster: bool,
    /// It is a former primary that was deposed by this engine.
    pub deposed: bool,
    /// Whether it could be promoted, as last announced.
    pub announced: Option<Result<(), CandidateRefusal>>,
    pub(super) unready_since: Option<Mono>,
    pub(super) progress: Option<Lsn>,
    pub(super) progress_at: Option<Mono>,
    pub(super) returned_at: Option<Mono>,
}

/// The primary's log as sampled while it lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogTrack {
    pub flush: Lsn,
    pub at: Mono,
    pub growth: u64,
    pub timeline: u32,
    pub synchronous: bool,
    /// Acknowledgements a synchronous commit waits for, and the size of the set it may come from.
    pub required: u32,
    pub set: u32,
}

/// Why an action outside a plan was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    AskHost(ServerId),
    ProveAgain(ServerId),
    TakeOut(ServerId),
    FenceAgain(ServerId),
}

/// One failed observation, for the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentFailure {
    /// When.
    pub at: Mono,
    /// Which check.
    pub check: CheckId,
    /// What it saw.
    pub message: String,
}

/// How the last failover ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailover {
    /// The plan as it stood at its end.
    pub plan: Plan,
    /// `completed`, `rolled_back` or `manual_intervention`.
    pub how: &'static str,
    /// Why, if it was not completed.
    pub why: String,
}

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) id: ServiceId,
    pub(super) model: ServiceModel,
    pub(super) checks: Vec<CheckState>,
    pub(super) servers: Vec<ServerState>,
    pub(super) state: State,
    pub(super) paused: bool,
    pub(super) stopping: bool,
    pub(super) primary: Option<ServerId>,
    pub(super) primary_seen: bool,
    pub(super) system_id: Option<u64>,
    pub(super) log: Option<LogTrack>,
    pub(super) suspicion: Option<Suspicion>,
    /// The first bad sign that no sign of life has followed: outlives a pause and a confirmation that timed out.
    pub(super) bad_since: Option<Mono>,
    pub(super) window: Window,
    pub(super) recent: std::collections::VecDeque<RecentFailure>,
    pub(super) refusal: Option<Refusal>,
    /// Refusals already told since the first bad sign: each is told once, however the evidence swings.
    pub(super) told: std::collections::BTreeSet<&'static str>,
    pub(super) awaiting: Option<(FailureClass, Mono)>,
    pub(super) confirmed_by_operator: bool,
    pub(super) plan: Option<Plan>,
    pub(super) generation: Generation,
    pub(super) last_failover: Option<LastFailover>,
    pub(super) cooldown_until: Mono,
    pub(super) manual_reason: Option<String>,
    pub(super) errands: Vec<(ActionId, Errand, Mono)>,
    pub(super) prove_at: Option<(Mono, ServerId)>,
    pub(super) host_asked: Option<Mono>,
    pub(super) route: Vec<RouteInstance>,
    pub(super) two_primaries: bool,
    pub(super) failover_age_at_start: Option<Span>,
}

/// What the rest of the core tells a service at every step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    pub doubt: Option<DoubtCause>,
    pub journal_writable: bool,
}

impl Service {
    pub(super) fn new(id: ServiceId, model: ServiceModel, now: Mono) -> Service {
        let checks = model
            .checks
            .iter()
            .map(|_| CheckState { slot: Slot::due_at(now), counter: Counter::default(), last: None, answers: 0 })
            .collect();
        let servers = model
            .servers
            .iter()
            .map(|_| ServerState {
                session: Slot::due_at(now),
                session_open: false,
                last_answer: None,
                sample: None,
                readiness: None,
                view_confirmed: false,
                streamed_at: None,
                synchronous: false,
                wrong_cluster: false,
                deposed: false,
                announced: None,
                unready_since: None,
                progress: None,
                progress_at: None,
                returned_at: None,
            })
            .collect();
        Service {
            id,
            model,
            checks,
            servers,
            state: State::Normal,
            paused: false,
            stopping: false,
            primary: None,
            primary_seen: false,
            system_id: None,
            log: None,
            suspicion: None,
            bad_since: None,
            window: Window::default(),
            recent: std::collections::VecDeque::new(),
            refusal: None,
            told: std::collections::BTreeSet::new(),
            awaiting: None,
            confirmed_by_operator: false,
            plan: None,
            generation: Generation::default(),
            last_failover: None,
            cooldown_until: Mono::ZERO,
            manual_reason: None,
            errands: Vec::new(),
            prove_at: None,
            host_asked: None,
            route: Vec::new(),
            two_primaries: false,
            failover_age_at_start: None,
        }
    }

    // ---- names and small questions -------------------------------------------------------------

    pub(super) fn about(&self) -> About {
        About { service: Some(self.id), server: None, generation: self.generation }
    }

    pub(super) fn about_server(&self, server: ServerId) -> About {
        About { server: Some(server), ..self.about() }
    }

    pub(super) fn server_name(&self, server: ServerId) -> String {
        self.model.servers.get(usize::from(server.0)).map_or_else(|| format!("server {server}"), |model| model.name.clone())
    }

    pub(super) fn sentence(&self, refusal: &Refusal) -> String {
        refusal.sentence(&|server| self.server_name(server))
    }

    fn is_postgres(&self) -> bool {
        self.model.kind == ServiceKind::Postgres
    }

    pub(super) fn server_model(&self, server: ServerId) -> Option<&ServerModel> {
        self.model.servers.get(usize::from(server.0))
    }

    pub(super) fn server_ids(&self) -> impl Iterator<Item = ServerId> + use<> {
        (0..u16::try_from(self.model.servers.len()).unwrap_or(u16::MAX)).map(ServerId)
    }

    /// The server whose death would matter: the primary, or before one was seen the one the configuration names.
    pub(super) fn subject(&self) -> Option<ServerId> {
        self.primary.or_else(|| {
            self.model
                .servers
                .iter()
                .position(|server| server.role == Role::Primary)
                .and_then(|at| u16::try_from(at).ok())
                .map(ServerId)
        })
    }

    fn is_subject(&self, server: ServerId) -> bool {
        self.subject() == Some(server)
    }

    pub(super) fn server_health(&self, server: ServerId) -> Health {
        Health::of_server(
            self.model
                .checks
                .iter()
                .zip(&self.checks)
                .filter(|(model, _)| model.server == server.0)
                .map(|(_, state)| state.counter.health()),
        )
    }

    /// Silence, as opposed to refusal, of a server: for the doubt about our own side.
    pub(super) fn is_silent(&self, server: ServerId, now: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        let last_was_silence = self.model.checks.iter().zip(&self.checks).any(|(model, check)| {
            model.server == server.0 && check.last.as_ref().is_some_and(|(_, finding)| finding.verdict.is_silence())
        });
        let session_is_silent = state.session_open && state.last_answer.is_some_and(|at| now.since(at) > self.notice().times(2));
        last_was_silence || session_is_silent
    }

    /// A kept session that has not answered for this long raises a suspicion.
    fn notice(&self) -> Span {
        self.model.trigger.ping_interval.times(2) + Span::from_millis(100)
    }

    /// The moment after which the primary gave no sign of life, or `otherwise` if it lives.
    pub(super) fn died_at(&self, otherwise: Mono) -> Mono {
        self.bad_since.unwrap_or(otherwise)
    }

    fn is_warm(&self) -> bool {
        self.model.checks.iter().zip(&self.checks).all(|(model, state)| state.answers >= model.success_threshold)
    }

    pub(super) fn facts(&self, now: Mono) -> Facts {
        Facts {
            generation: self.generation,
            primary: self.primary,
            system_id: self.system_id,
            timeline: self.log.map(|log| log.timeline),
            flush: self.log.map(|log| log.flush),
            sync_set: self.server_ids().filter(|server| self.servers[usize::from(server.0)].synchronous).collect(),
            last_failover_age: self
                .last_failover
                .as_ref()
                .and_then(|last| last.plan.times.ended)
                .map(|ended| now.since(ended))
                .or_else(|| self.failover_age_at_start.map(|age| age + now.since(Mono::ZERO))),
            unfinished: None,
        }
    }

    pub(super) fn journal_facts(&self, fx: &mut Effects) {
        let facts = self.facts(fx.now);
        fx.push(Output::Journal(Record::Facts { service: self.id, facts }));
    }

    // ---- state ---------------------------------------------------------------------------------

    pub(super) fn become_state(&mut self, to: State, why: String, fx: &mut Effects) {
        if self.state == to {
            return;
        }
        assert!(self.state.followers().contains(&to), "impossible transition {} -> {}", self.state.word(), to.word());
        let from = self.state;
        self.state = to;
        let severity = match to {
            State::Normal | State::FailedOver => Severity::Info,
            State::Degraded | State::Failing | State::FailoverInProgress => Severity::Warning,
            State::ManualIntervention => Severity::Alarm,
        };
        fx.emit(
            EventKind::StateChanged,
            severity,
            self.about(),
            format!("{}: {} -> {} ({why})", self.model.name, from.word(), to.word()),
            vec![("from", text(from.word())), ("to", text(to.word())), ("why", text(why))],
        );
    }

    pub(super) fn call_a_person(&mut self, why: String, evidence: Vec<String>, fx: &mut Effects) {
        if self.state == State::ManualIntervention {
            return;
        }
        self.awaiting = None;
        self.manual_reason = Some(why.clone());
        self.become_state(State::ManualIntervention, why.clone(), fx);
        fx.emit(
            EventKind::ManualIntervention,
            Severity::Alarm,
            self.about(),
            format!("{}: a person has to look: {why}", self.model.name),
            vec![("why", text(why)), ("evidence", texts(evidence))],
        );
    }

    // ---- restoring and reloading ---------------------------------------------------------------

    pub(super) fn restore(&mut self, facts: Facts, fx: &mut Effects) {
        self.generation = facts.generation;
        self.primary = facts.primary.filter(|server| usize::from(server.0) < self.servers.len());
        self.system_id = facts.system_id;
        self.failover_age_at_start = facts.last_failover_age;
        if let Some(age) = facts.last_failover_age {
            self.cooldown_until = fx.now + (self.model.trigger.cooldown - age);
        }
        if let (Some(primary), Generation(1..)) = (self.primary, facts.generation) {
            // The configuration's hint names a server that was deposed: the promoted one is still the primary.
            for server in self.server_ids() {
                self.servers[usize::from(server.0)].deposed =
                    server != primary && self.server_model(server).is_some_and(|model| model.role == Role::Primary);
            }
        }
        if let Some(step) = facts.unfinished {
            self.call_a_person(
                format!("an engine ended in the middle of failover {} (last step begun: {step})", facts.generation),
                vec![format!("journal: step {step} of failover {} has no outcome", facts.generation)],
                fx,
            );
        }
    }

    /// Takes over what an earlier configuration of the same service knew.
    pub(super) fn inherit(&mut self, mut before: Service, fx: &mut Effects) {
        before.start_over(fx);
        self.servers = before.servers;
        for server in &mut self.servers {
            // Every session is opened anew: address, user and certificate may have changed.
            server.session_open = false;
            server.session = Slot::due_at(fx.now);
        }
        self.state = before.state;
        self.paused = before.paused;
        self.primary = before.primary;
        self.primary_seen = before.primary_seen;
        self.system_id = before.system_id;
        self.log = before.log;
        self.generation = before.generation;
        self.last_failover = before.last_failover;
        self.cooldown_until = before.cooldown_until;
        self.manual_reason = before.manual_reason;
        self.two_primaries = before.two_primaries;
        self.failover_age_at_start = before.failover_age_at_start;
    }

    /// Forgets every unconfirmed verdict: after our own pause, a resume or a reload (rules 7, 8).
    pub(super) fn start_over(&mut self, fx: &mut Effects) {
        self.told.clear();
        let now = fx.now;
        self.suspicion = None;
        self.window.clear();
        self.refusal = None;
        self.awaiting = None;
        self.host_asked = None;
        for check in &mut self.checks {
            if let Some(flight) = check.slot.abandon(now) {
                fx.push(Output::CancelRun(flight.run));
            }
            check.answers = 0;
        }
        for server in &mut self.servers {
            if server.last_answer.is_some() {
                server.last_answer = Some(now);
            }
        }
        if matches!(self.state, State::Failing | State::Degraded) {
            self.become_state(State::Normal, "counters restarted".into(), fx);
        }
    }

    // ---- scheduling ----------------------------------------------------------------------------

    fn is_fast(&self, model: &CheckModel, state: &CheckState, now: Mono) -> bool {
        if state.answers < model.success_threshold
            && state.last.as_ref().is_none_or(|(_, finding)| finding.verdict == Verdict::Up)
        {
            return true;
        }
        let suspected = self.is_subject(ServerId(model.server))
            && self.plan.is_none()
            && matches!(self.state, State::Normal | State::Degraded | State::Failing | State::FailedOver)
            && self.suspicion.as_ref().is_some_and(|suspicion| now.since(suspicion.since) < FAST_FOR);
        suspected || state.counter.is_changing(model.success_threshold)
    }

    pub(super) fn schedule(&mut self, doubt: bool, jitter: &mut Jitter, fx: &mut Effects) {
        let now = fx.now;
        for at in 0..self.checks.len() {
            let model = &self.model.checks[at];
            let check = CheckId(u16::try_from(at).unwrap_or(u16::MAX));
            let next = now + pause(model, false, doubt, jitter);
            let kind = model.kind;
            if let Some(flight) = self.checks[at].slot.expire(now, next) {
                fx.push(Output::CancelRun(flight.run));
                self.finish_check(check, &overdue(kind, flight.began, now), fx);
            }
            let timeout = self.model.checks[at].timeout;
            let state = &mut self.checks[at];
            if state.slot.is_due(now) && !self.stopping {
                let flight = state.slot.start(fx.run(), now, timeout);
                fx.push(Output::RunCheck { run: flight.run, service: self.id, check, deadline: flight.deadline });
            }
        }
        if self.is_postgres() {
            self.schedule_sessions(fx);
        }
    }

    fn schedule_sessions(&mut self, fx: &mut Effects) {
        let now = fx.now;
        for server in self.server_ids() {
            let timeout = self.session_timeout(server);
            let state = &mut self.servers[usize::from(server.0)];
            if let Some(flight) = state.session.expire(now, now + Span::from_millis(1_000)) {
                fx.push(Output::CancelRun(flight.run));
            }
            if !state.session_open && !self.stopping && state.session.is_due(now) {
                let flight = state.session.start(fx.run(), now, timeout);
                fx.push(Output::OpenSession { run: flight.run, service: self.id, server, deadline: flight.deadline });
            }
        }
    }

    fn session_timeout(&self, server: ServerId) -> Span {
        self.model
            .checks
            .iter()
            .find(|check| check.server == server.0 && check.kind == CheckKind::Postgres)
            .map_or(Span::from_millis(1_500), |check| check.timeout)
    }

    // ---- observations --------------------------------------------------------------------------

    pub(super) fn check_of_run(&self, run: RunId) -> Option<CheckId> {
        let at = self.checks.iter().position(|check| check.slot.flight().is_some_and(|flight| flight.run == run))?;
        u16::try_from(at).ok().map(CheckId)
    }

    pub(super) fn session_of_run(&self, run: RunId) -> Option<ServerId> {
        self.server_ids()
            .find(|server| self.servers[usize::from(server.0)].session.flight().is_some_and(|flight| flight.run == run))
    }

    pub(super) fn check_finished(
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

    fn finish_check(&mut self, check: CheckId, finding: &Finding, fx: &mut Effects) {
        let at = usize::from(check.0);
        let model = self.model.checks[at].clone();
        let server = ServerId(model.server);
        let before = self.server_health(server);
        let state = &mut self.checks[at];
        state.counter.observe(&finding.verdict, model.failure_threshold, model.success_threshold);
        if !matches!(finding.verdict, Verdict::Unknown(_)) {
            state.answers = state.answers.saturating_add(1);
        }
        state.last = Some((fx.now, finding.clone()));
        self.tell_observed(&model, server, finding, fx);
        self.tell_health(server, before, finding, fx);
        if let Some(sample) = finding.sample.clone() {
            self.sampled(server, *sample, fx);
        }
        if self.is_subject(server) {
            self.subject_observed(check, &model, finding, fx);
        }
        if model.kind == CheckKind::Postgres && finding.verdict.is_sign_of_life() {
            self.servers[usize::from(server.0)].last_answer = Some(fx.now);
        }
        if finding.verdict == Verdict::Up {
            self.servers[usize::from(server.0)].session.hasten(fx.now);
        }
    }

    fn tell_observed(&self, model: &CheckModel, server: ServerId, finding: &Finding, fx: &mut Effects) {
        fx.emit(
            EventKind::Observed,
            Severity::Debug,
            self.about_server(server),
            format!("{} {}: {}", model.name, finding.verdict.word(), finding.message),
            vec![
                ("check", text(&model.name)),
                ("verdict", text(finding.verdict.word())),
                ("reason", text(finding.verdict.reason())),
                ("latency_ms", Field::Span(finding.latency)),
                ("detail", text(&finding.message)),
            ],
        );
    }

    fn tell_health(&self, server: ServerId, before: Health, finding: &Finding, fx: &mut Effects) {
        let after = self.server_health(server);
        if before == after {
            return;
        }
        let severity = match after {
            Health::Healthy | Health::Unknown => Severity::Info,
            Health::Degraded | Health::Unhealthy => Severity::Warning,
        };
        fx.emit(
            EventKind::HealthChanged,
            severity,
            self.about_server(server),
            format!("{} is {} (was {}): {}", self.server_name(server), after.word(), before.word(), finding.message),
            vec![("from", text(before.word())), ("to", text(after.word())), ("detail", text(&finding.message))],
        );
    }

    fn subject_observed(&mut self, check: CheckId, model: &CheckModel, finding: &Finding, fx: &mut Effects) {
        if finding.verdict.is_silence() && self.last_answer_of_subject() > finding.began && model.kind == CheckKind::Postgres {
            // It has answered since this question was asked: an old silence says nothing about now.
            return;
        }
        match &finding.verdict {
            Verdict::Down(_) => {
                self.window.failed(fx.now, check.0);
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(RecentFailure { at: fx.now, check, message: finding.message.clone() });
            }
            Verdict::Up => self.window.forgive(check.0),
            Verdict::Impaired(_) | Verdict::Unknown(_) => {}
        }
        if model.kind != CheckKind::Postgres {
            return;
        }
        match &finding.verdict {
            Verdict::Up => {
                self.bad_since = self.bad_since.filter(|_| self.suspicion.is_some());
                let fresh =
                    self.suspicion.as_ref().is_some_and(|suspicion| finding.began >= suspicion.since || suspicion.refused == 0);
                if fresh {
                    self.recovered("a new connection is served", fx);
                }
            }
            Verdict::Unknown(_) => {}
            Verdict::Impaired(_) | Verdict::Down(_) => {
                self.suspect(finding.began.max(self.last_answer_of_subject()), fx);
                if let Some(suspicion) = &mut self.suspicion {
                    suspicion.probe(fx.now, finding);
                }
            }
        }
    }

    fn last_answer_of_subject(&self) -> Mono {
        self.subject().and_then(|server| self.servers[usize::from(server.0)].last_answer).unwrap_or(Mono::ZERO)
    }

    /// The first bad sign: from now on the primary is probed fast.
    fn suspect(&mut self, since: Mono, fx: &mut Effects) {
        if self.suspicion.is_some() || self.plan.is_some() {
            return;
        }
        self.suspicion = Some(Suspicion::new(since));
        self.bad_since.get_or_insert(since);
        self.told.clear();
        self.host_asked = None;
        for server in &mut self.servers {
            server.progress = None;
            server.progress_at = None;
        }
        let Some(subject) = self.subject() else { return };
        for (model, check) in self.model.checks.iter().zip(&mut self.checks) {
            if model.server == subject.0 && matches!(model.kind, CheckKind::Postgres | CheckKind::Tcp) {
                check.slot.hasten(fx.now);
            }
        }
    }

    /// The primary proved to be alive: nothing was done, and nothing will be.
    fn recovered(&mut self, how: &str, fx: &mut Effects) {
        self.bad_since = None;
        let Some(suspicion) = self.suspicion.take() else { return };
        self.window.clear();
        self.refusal = None;
        self.awaiting = None;
        self.confirmed_by_operator = false;
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
        if matches!(self.state, State::Failing | State::Degraded) {
            self.become_state(State::Normal, how.to_owned(), fx);
        }
    }

    pub(super) fn session_opened(&mut self, server: ServerId, run: RunId, fx: &mut Effects) {
        let state = &mut self.servers[usize::from(server.0)];
        if state.session.finish(run, Mono::NEVER) {
            state.session_open = true;
            state.last_answer = Some(fx.now);
        }
    }

    pub(super) fn session_failed(&mut self, server: ServerId, run: RunId, finding: &Finding, fx: &mut Effects) {
        let due = fx.now + Span::from_millis(1_000);
        if !self.servers[usize::from(server.0)].session.finish(run, due) {
            return;
        }
        if finding.verdict.is_sign_of_life() {
            self.servers[usize::from(server.0)].last_answer = Some(fx.now);
        }
        if self.is_subject(server) && self.plan.is_none() && matches!(finding.verdict, Verdict::Down(_) | Verdict::Impaired(_)) {
            self.suspect(finding.began, fx);
            if let Some(suspicion) = &mut self.suspicion {
                suspicion.probe(fx.now, finding);
            }
        }
    }

    pub(super) fn session_answered(&mut self, server: ServerId, sample: Sample, fx: &mut Effects) {
        let Some(state) = self.servers.get_mut(usize::from(server.0)) else { return };
        state.last_answer = Some(fx.now);
        let asked = sample.asked;
        self.sampled(server, sample, fx);
        if self.is_subject(server) {
            self.bad_since = self.bad_since.filter(|_| self.suspicion.is_some());
            let only_silence = self.suspicion.as_ref().is_some_and(|suspicion| {
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

    pub(super) fn session_closed(&mut self, server: ServerId, close: Close, fx: &mut Effects) {
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
            format!("{} closed its kept session ({}): {}", self.server_name(server), close.cause.word(), close.message),
            vec![("cause", text(close.cause.word())), ("detail", text(&close.message))],
        );
        for (model, check) in self.model.checks.iter().zip(&mut self.checks) {
            if model.server == server.0 && model.kind == CheckKind::Postgres {
                check.slot.hasten(fx.now);
            }
        }
        if self.is_subject(server) && self.plan.is_none() {
            self.suspect(fx.now, fx);
            if let Some(suspicion) = &mut self.suspicion {
                suspicion.closed(fx.now, close);
            }
        }
    }

    pub(super) fn surveyed(&mut self, server: ServerId, readiness: Readiness, fx: &mut Effects) {
        let Some(state) = self.servers.get_mut(usize::from(server.0)) else { return };
        if let Some(Ok(word)) = &readiness.ssh
            && word.postmaster == ProcessState::Running
        {
            state.view_confirmed = true;
        }
        let before = state.readiness.as_ref().map(|readiness| readiness.findings.clone()).unwrap_or_default();
        let changed = before != readiness.findings || state.readiness.is_none() && !readiness.findings.is_empty();
        let after = readiness.findings.clone();
        state.readiness = Some(readiness);
        if changed {
            let blocking = after.iter().any(|finding| finding.blocking);
            let list: Vec<String> =
                after.iter().map(|finding| format!("{}: {} ({})", finding.code, finding.message, finding.remedy)).collect();
            let message = if list.is_empty() {
                format!("{}: nothing stands in the way of a failover any more", self.server_name(server))
            } else {
                format!("{}: {}", self.server_name(server), list.join("; "))
            };
            let severity = if blocking {
                Severity::Alarm
            } else if after.is_empty() {
                Severity::Info
            } else {
                Severity::Warning
            };
            fx.emit(EventKind::ReadinessChanged, severity, self.about_server(server), message, vec![("findings", texts(list))]);
        }
    }

    pub(super) fn route_surveyed(&mut self, instances: Vec<RouteInstance>, fx: &mut Effects) {
        let broken = |list: &[RouteInstance]| -> Vec<String> {
            list.iter()
                .filter_map(|instance| instance.result.as_ref().err().map(|why| format!("{}: {why}", instance.name)))
                .collect()
        };
        let (before, after) = (broken(&self.route), broken(&instances));
        self.route = instances;
        if before != after {
            let (severity, message) = if after.is_empty() {
                (Severity::Info, format!("{}: every route instance is ready", self.model.name))
            } else {
                (Severity::Alarm, format!("{}: a failover could not move the traffic: {}", self.model.name, after.join("; ")))
            };
            fx.emit(EventKind::ReadinessChanged, severity, self.about(), message, vec![("findings", texts(after))]);
        }
    }

    // ---- samples -------------------------------------------------------------------------------

    fn sampled(&mut self, server: ServerId, sample: Sample, fx: &mut Effects) {
        let at = usize::from(server.0);
        if self.servers[at].sample.as_ref().is_some_and(|(_, before)| before.asked > sample.asked) {
            return;
        }
        if self.is_of_another_cluster(server, &sample, fx) {
            self.servers[at].sample = Some((fx.now, sample));
            return;
        }
        if sample.in_recovery {
            self.standby_sampled(server, &sample, fx);
        } else {
            self.writable_sampled(server, &sample, fx);
        }
        self.servers[at].sample = Some((fx.now, sample));
    }

    fn is_of_another_cluster(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) -> bool {
        let wrong = self.system_id.is_some_and(|known| known != sample.system_id);
        let state = &mut self.servers[usize::from(server.0)];
        if wrong && !state.wrong_cluster {
            fx.emit(
                EventKind::WrongCluster,
                Severity::Alarm,
                self.about_server(server),
                format!(
                    "{} belongs to another cluster: system identifier {}, expected {}",
                    self.server_name(server),
                    sample.system_id,
                    self.system_id.unwrap_or_default()
                ),
                vec![
                    ("system_id", text(sample.system_id.to_string())),
                    ("expected", text(self.system_id.unwrap_or_default().to_string())),
                ],
            );
        }
        self.servers[usize::from(server.0)].wrong_cluster = wrong;
        wrong
    }

    fn writable_sampled(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        if self.plan.is_some() {
            return;
        }
        match self.primary {
            Some(primary) if primary == server => self.primary_sampled(server, sample, fx),
            Some(primary) => self.second_writable(primary, server, sample, fx),
            None => {
                let rival = self.server_ids().find(|other| *other != server && self.is_writable_now(*other, fx.now));
                if let Some(rival) = rival {
                    self.two_primaries(rival, server, fx);
                } else {
                    self.adopt_primary(server, sample, "it takes writes", fx);
                }
            }
        }
    }

    fn is_writable_now(&self, server: ServerId, now: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        !state.wrong_cluster && state.sample.as_ref().is_some_and(|(at, sample)| !sample.in_recovery && now.since(*at) < FRESH)
    }

    fn second_writable(&mut self, primary: ServerId, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let known_timeline = self.log.map(|log| log.timeline);
        if self.servers[usize::from(server.0)].deposed && known_timeline.is_none_or(|known| sample.timeline < known) {
            self.old_primary_returned(server, sample, fx);
            return;
        }
        if self.is_writable_now(primary, fx.now) {
            self.two_primaries(primary, server, fx);
        } else if !self.primary_seen || known_timeline.is_none_or(|known| sample.timeline > known) {
            self.adopt_primary(server, sample, "somebody else promoted it", fx);
        }
    }

    fn two_primaries(&mut self, one: ServerId, other: ServerId, fx: &mut Effects) {
        if !self.two_primaries {
            self.two_primaries = true;
            let message =
                format!("{} and {} both take writes; nothing is touched", self.server_name(one), self.server_name(other));
            fx.emit(
                EventKind::TwoPrimaries,
                Severity::Alarm,
                self.about(),
                message.clone(),
                vec![("servers", texts([self.server_name(one), self.server_name(other)]))],
            );
            self.call_a_person(message, Vec::new(), fx);
        }
    }

    /// Journal and timeline prove which one is the old generation: that one is taken out and fenced again.
    fn old_primary_returned(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let state = &mut self.servers[usize::from(server.0)];
        if state.returned_at.is_some_and(|at| fx.now.since(at) < Span::from_millis(5_000)) {
            return;
        }
        state.returned_at = Some(fx.now);
        fx.emit(
            EventKind::OldPrimaryReturned,
            Severity::Alarm,
            self.about_server(server),
            format!(
                "the old primary {} takes writes again on timeline {}: it is taken out of the route and fenced again",
                self.server_name(server),
                sample.timeline
            ),
            vec![("timeline", Field::Int(u64::from(sample.timeline)))],
        );
        if self.model.route.instances > 0 {
            self.run_errand(Errand::TakeOut(server), Action::RouteOut { server }, Span::from_millis(3_000), fx);
        }
        let fence = self.fence_action(server, FenceLevel::ProvenStopped, false, false);
        self.run_errand(Errand::FenceAgain(server), fence, self.model.postgres.fence_timeout, fx);
    }

    fn adopt_primary(&mut self, server: ServerId, sample: &Sample, why: &str, fx: &mut Effects) {
        self.primary = Some(server);
        self.primary_seen = true;
        self.system_id = Some(sample.system_id);
        self.log = None;
        self.suspicion = None;
        self.bad_since = None;
        self.window.clear();
        for (at, state) in self.servers.iter_mut().enumerate() {
            if at == usize::from(server.0) {
                state.deposed = false;
            } else if let Some((_, other)) = &state.sample {
                state.wrong_cluster = other.system_id != sample.system_id;
            }
        }
        self.track_log(sample);
        fx.emit(
            EventKind::PrimaryKnown,
            Severity::Info,
            self.about_server(server),
            format!("{} is the primary of {} ({why}), timeline {}", self.server_name(server), self.model.name, sample.timeline),
            vec![
                ("timeline", Field::Int(u64::from(sample.timeline))),
                ("system_id", text(sample.system_id.to_string())),
                ("why", text(why)),
            ],
        );
        self.journal_facts(fx);
    }

    fn primary_sampled(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let news = !self.primary_seen || self.log.is_none_or(|log| log.timeline != sample.timeline) || self.system_id.is_none();
        let sync_before: Vec<bool> = self.servers.iter().map(|state| state.synchronous).collect();
        self.primary_seen = true;
        self.system_id = Some(sample.system_id);
        self.servers[usize::from(server.0)].deposed = false;
        self.track_log(sample);
        self.track_sync_set(server, sample);
        let sync_changed = self.servers.iter().map(|state| state.synchronous).ne(sync_before);
        if news {
            fx.emit(
                EventKind::PrimaryKnown,
                Severity::Info,
                self.about_server(server),
                format!("{} is the primary of {}, timeline {}", self.server_name(server), self.model.name, sample.timeline),
                vec![("timeline", Field::Int(u64::from(sample.timeline))), ("system_id", text(sample.system_id.to_string()))],
            );
        }
        if news || sync_changed {
            self.journal_facts(fx);
        }
    }

    fn track_log(&mut self, sample: &Sample) {
        let Some(flush) = sample.flush else { return };
        let mut growth = 0;
        if let Some(before) = self.log.filter(|log| log.timeline == sample.timeline) {
            let span = sample.asked.since(before.at).as_nanos().max(1);
            let rate = u128::from(flush.bytes_after(before.flush)) * 1_000_000_000 / u128::from(span);
            // The peak of the last second, fading: growth comes in bursts, and a bound must not be an average.
            growth = u64::try_from(rate).unwrap_or(u64::MAX).max(before.growth / 2);
        }
        let (required, set) = acknowledgements(sample);
        self.log = Some(LogTrack {
            flush,
            at: sample.asked,
            growth,
            timeline: sample.timeline,
            synchronous: !sample.sync_names.trim().is_empty(),
            required,
            set,
        });
    }

    fn track_sync_set(&mut self, primary: ServerId, sample: &Sample) {
        let Some(replicas) = &sample.replicas else { return };
        for server in self.server_ids() {
            if server == primary {
                continue;
            }
            let name = self.replication_name(server);
            let synchronous =
                replicas.iter().any(|replica| replica.application_name == name && replica.synchronous && replica.streaming);
            self.servers[usize::from(server.0)].synchronous = synchronous;
        }
    }

    fn replication_name(&self, server: ServerId) -> String {
        let state = &self.servers[usize::from(server.0)];
        let model = &self.model.servers[usize::from(server.0)];
        let seen = state.sample.as_ref().and_then(|(_, sample)| match &sample.receiver {
            Receiver::Seen { application_name, .. } => application_name.clone(),
            _ => None,
        });
        model.replication_name.clone().or(seen).unwrap_or_else(|| model.name.clone())
    }

    fn standby_sampled(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let receiving = match &sample.receiver {
            Receiver::Seen { streaming, latest_end, .. } => {
                if let (Some(end), Some(log)) = (latest_end, &mut self.log)
                    && *end > log.flush
                    && sample.timeline == log.timeline
                {
                    log.flush = *end;
                    log.at = sample.asked;
                }
                *streaming
            }
            // Hidden is not down: that it has received anything at all is what can be seen (rule 92).
            Receiver::Hidden => sample.receive.is_some(),
            Receiver::Absent => false,
        };
        if receiving {
            self.servers[usize::from(server.0)].streamed_at = Some(fx.now);
        }
        self.watch_progress(server, sample, fx);
        if self.primary == Some(server) && self.plan.is_none() {
            // A primary in recovery: somebody switched roles, or started it as a standby.
            let other = self.server_ids().find(|other| *other != server && self.is_writable_now(*other, fx.now));
            if let Some(other) = other
                && let Some((_, sample)) = self.servers[usize::from(other.0)].sample.clone()
            {
                self.adopt_primary(other, &sample, "the former primary is in recovery", fx);
            }
        }
    }

    /// A standby that goes on receiving proves the primary alive (rules 4, 5, 91).
    fn watch_progress(&mut self, server: ServerId, sample: &Sample, fx: &Effects) {
        let Some(suspicion) = &self.suspicion else { return };
        let after = suspicion.since + Span::from_millis(250);
        if sample.asked < after {
            return;
        }
        let state = &mut self.servers[usize::from(server.0)];
        match (state.progress, sample.receive) {
            (Some(before), Some(received)) if received > before => {
                state.progress_at = Some(fx.now);
                state.progress = Some(received);
            }
            (None, received) => state.progress = received,
            _ => {}
        }
        if let Receiver::Seen { last_message_age, streaming: true, .. } = &sample.receiver
            && sample.asked - *last_message_age > after
        {
            state.progress_at = Some(fx.now);
        }
    }

    fn standby_sees_primary(&self, now: Mono) -> Option<ServerId> {
        self.server_ids().find(|server| {
            !self.is_subject(*server)
                && self.servers[usize::from(server.0)].progress_at.is_some_and(|at| now.since(at) < Span::from_millis(1_000))
        })
    }

    // ---- candidates ----------------------------------------------------------------------------

    pub(super) fn reference(&self, until: Mono) -> Option<Reference> {
        let log = self.log?;
        Some(Reference {
            system_id: self.system_id?,
            timeline: log.timeline,
            flush: log.flush,
            at: log.at,
            growth: log.growth,
            until,
            synchronous: log.synchronous,
        })
    }

    /// Examines every standby by its last samples: what would be promoted if the primary died now.
    pub(super) fn examine_standbys(
        &self,
        old: Option<ServerId>,
        until: Mono,
        waiver: &Waiver,
        now: Mono,
    ) -> Vec<(ServerId, Result<Candidate, CandidateRefusal>)> {
        let reference = self.reference(until);
        self.server_ids()
            .filter(|server| Some(*server) != old)
            .map(|server| {
                let state = &self.servers[usize::from(server.0)];
                let sample = match &state.sample {
                    Some((at, sample)) if now.since(*at) < FRESH && state.session_open => Ok(sample),
                    _ if state.deposed => Err("it was deposed and has not rejoined".to_owned()),
                    Some(_) => Err("it does not answer".to_owned()),
                    None => Err("it has not answered yet".to_owned()),
                };
                (server, self.examine(server, sample, reference.as_ref(), until, waiver, &[]))
            })
            .collect()
    }

    pub(super) fn examine(
        &self,
        server: ServerId,
        sample: Result<&Sample, String>,
        reference: Option<&Reference>,
        lived: Mono,
        waiver: &Waiver,
        refused: &[(ServerId, String)],
    ) -> Result<Candidate, CandidateRefusal> {
        let state = &self.servers[usize::from(server.0)];
        let standing = Standing {
            server,
            model: &self.model.servers[usize::from(server.0)],
            sample,
            was_streaming: state.streamed_at.is_some_and(|at| at + STREAM_GRACE >= lived),
            was_synchronous: state.synchronous,
            refused: refused.iter().find(|(other, _)| *other == server).map(|(_, why)| why.as_str()),
        };
        candidate::examine(&standing, reference, &self.model.postgres, waiver)
    }

    /// Announces each standby that becomes ready or stops being so, at that moment.
    pub(super) fn watch_readiness(&mut self, fx: &mut Effects) {
        if !self.is_postgres() || self.plan.is_some() || self.suspicion.is_some() || !self.primary_seen {
            return;
        }
        for (server, result) in self.examine_standbys(self.primary, self.died_at(fx.now), &Waiver::default(), fx.now) {
            let at = usize::from(server.0);
            let verdict = result.map(|_| ());
            let same = match (&self.servers[at].announced, &verdict) {
                (Some(Ok(())), Ok(())) => true,
                (Some(Err(before)), Err(after)) => before.name() == after.name(),
                _ => false,
            };
            if same {
                self.servers[at].unready_since = None;
                continue;
            }
            if let Err(reason) = &verdict {
                if matches!(reason, CandidateRefusal::NotACandidate) && self.servers[at].announced.is_none() {
                    self.servers[at].announced = Some(verdict);
                    continue;
                }
                let passing = matches!(reason, CandidateRefusal::LossTooHigh { .. } | CandidateRefusal::NotReadable { .. })
                    || self.servers[at].announced.is_none();
                let since = *self.servers[at].unready_since.get_or_insert(fx.now);
                if passing && fx.now.since(since) < READINESS_HOLD {
                    continue;
                }
            }
            self.servers[at].unready_since = None;
            self.servers[at].announced = Some(verdict.clone());
            self.tell_readiness(server, &verdict, fx);
        }
    }

    fn tell_readiness(&self, server: ServerId, verdict: &Result<(), CandidateRefusal>, fx: &mut Effects) {
        let name = self.server_name(server);
        match verdict {
            Ok(()) => fx.emit(
                EventKind::StandbyReady,
                Severity::Info,
                self.about_server(server),
                format!("{name} can be promoted"),
                Vec::new(),
            ),
            Err(reason) => fx.emit(
                EventKind::StandbyNotReady,
                Severity::Alarm,
                self.about_server(server),
                format!("{name} could not be promoted now: {}", reason.sentence()),
                vec![("reason", text(reason.name())), ("detail", text(reason.sentence()))],
            ),
        }
    }

    // ---- evaluation ----------------------------------------------------------------------------

    /// Everything that follows from the present evidence. Harmless to call at any time.
    pub(super) fn evaluate(&mut self, around: Surroundings, fx: &mut Effects) {
        self.expire_errands(fx);
        self.prove_again(fx);
        if self.plan.is_some() {
            self.drive(fx);
            return;
        }
        self.window.slide(fx.now, self.model.trigger.failure_window);
        self.notice_silence(fx);
        self.watch_readiness(fx);
        self.ask_host(fx);
        self.forget_two_primaries(fx.now);
        match self.state {
            State::Normal | State::Degraded | State::Failing => self.evaluate_watching(around, fx),
            State::FailedOver => self.evaluate_failed_over(around, fx),
            State::FailoverInProgress | State::ManualIntervention => {}
        }
    }

    fn forget_two_primaries(&mut self, now: Mono) {
        if self.two_primaries && self.server_ids().filter(|server| self.is_writable_now(*server, now)).count() < 2 {
            self.two_primaries = false;
        }
    }

    fn notice_silence(&mut self, fx: &mut Effects) {
        let Some(subject) = self.subject() else { return };
        let state = &self.servers[usize::from(subject.0)];
        let Some(last) = state.last_answer.filter(|_| state.session_open) else { return };
        if self.suspicion.is_none() && fx.now.since(last) > self.notice() {
            let since = last + self.model.trigger.ping_interval;
            self.suspect(since, fx);
            let silence = fx.now.since(last);
            if let Some(suspicion) = &mut self.suspicion {
                suspicion.note(fx.now, format!("the kept session has not answered for {silence}"));
            }
        }
    }

    fn threshold_met(&self, now: Mono) -> Result<(), Refusal> {
        let trigger = &self.model.trigger;
        let subject = self.subject();
        let failing = self
            .model
            .checks
            .iter()
            .zip(&self.checks)
            .filter(|(model, state)| {
                Some(ServerId(model.server)) == subject && state.counter.failures() >= model.failure_threshold
            })
            .count();
        let failing = u32::try_from(failing).unwrap_or(u32::MAX);
        let of_subject = self.model.checks.iter().filter(|model| Some(ServerId(model.server)) == subject).count();
        let needed = match trigger.policy {
            Policy::Count => {
                // For silence a time decides, not a count (rule 93).
                let silent =
                    self.suspicion.as_ref().is_some_and(|suspicion| suspicion.refused == 0 && suspicion.impaired.is_none())
                        && now.since(self.last_answer_of_subject()) >= trigger.hang_after;
                let unusable = self
                    .suspicion
                    .as_ref()
                    .and_then(|suspicion| suspicion.impaired)
                    .is_some_and(|(since, _)| trigger.on_impaired.is_some_and(|span| now.since(since) >= span));
                let failures = self.window.count();
                return if failures >= trigger.failure_threshold || silent || unusable {
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

    fn evaluate_watching(&mut self, around: Surroundings, fx: &mut Effects) {
        match self.threshold_met(fx.now) {
            Ok(()) => {
                self.begin_confirmation(fx);
                self.decide(around, fx);
            }
            Err(refusal) => {
                let troubled = self.suspicion.is_some() || self.window.count() > 0;
                match self.state {
                    State::Normal if troubled => {
                        self.become_state(State::Degraded, "the primary shows a first bad sign".into(), fx);
                    }
                    State::Degraded if !troubled => self.become_state(State::Normal, "the primary answers".into(), fx),
                    State::Failing if !troubled => {
                        self.become_state(State::Normal, "the failures are out of the window".into(), fx);
                    }
                    State::Failing => self.become_state(State::Degraded, self.sentence(&refusal), fx),
                    _ => {}
                }
                let lasting = self.suspicion.as_ref().and_then(|suspicion| suspicion.impaired);
                match lasting {
                    // Alive and not serving for this long is an alarm of its own, though no reason to act.
                    Some((since, impairment)) if fx.now.since(since) >= self.model.trigger.restart_grace => {
                        self.refuse(Refusal::Impaired { class: impaired_class(impairment) }, fx);
                    }
                    _ => self.refusal = troubled.then_some(refusal),
                }
            }
        }
    }

    fn begin_confirmation(&mut self, fx: &mut Effects) {
        if self.state == State::Failing {
            return;
        }
        self.become_state(State::Failing, "the failure threshold is reached".into(), fx);
        let evidence = self.suspicion.as_ref().map(Suspicion::record).unwrap_or_default();
        let primary = self.subject().map_or_else(String::new, |server| self.server_name(server));
        fx.emit(
            EventKind::ConfirmationStarted,
            Severity::Warning,
            self.about(),
            format!("{primary} seems to have failed: gathering fresh evidence"),
            vec![("evidence", texts(evidence))],
        );
    }

    fn decide(&mut self, around: Surroundings, fx: &mut Effects) {
        match self.may_fail_over(around, fx.now) {
            Ok(class) => match self.awaited_operator(class, fx) {
                Ok(()) => self.start_plan(class, Waiver::default(), fx),
                Err(refusal) => self.refuse(refusal, fx),
            },
            Err(refusal) => self.refuse(refusal, fx),
        }
    }

    /// Every guard before an automatic failover, in the order in which a person would ask.
    fn may_fail_over(&self, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        if !self.is_postgres() {
            return Err(Refusal::WatchedOnly);
        }
        let suspicion = self.suspicion.as_ref().ok_or(Refusal::DatabaseAnswers)?;
        let class = classify(suspicion, &self.limits(), now)?;
        if matches!(class, FailureClass::Hung | FailureClass::Unreachable)
            && let Some(server) = self.standby_sees_primary(now)
        {
            return Err(Refusal::StandbySeesPrimary { server });
        }
        self.guards(around, now)?;
        self.fence_way(class)?;
        self.some_candidate(self.died_at(suspicion.since), &Waiver::default(), now)?;
        Ok(class)
    }

    pub(super) fn limits(&self) -> Limits {
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
            ssh: subject.and_then(|server| self.server_model(server)).is_some_and(|model| model.ssh),
            hang_after: trigger.hang_after,
            restart_grace: trigger.restart_grace,
            on_impaired: trigger.on_impaired,
        }
    }

    /// The guards that hold whatever the class of the failure.
    pub(super) fn guards(&self, around: Surroundings, now: Mono) -> Result<(), Refusal> {
        if self.two_primaries {
            return Err(Refusal::TwoPrimaries);
        }
        if self.paused {
            return Err(Refusal::Paused);
        }
        if let Some(cause) = around.doubt {
            return Err(Refusal::Doubt { cause });
        }
        if !self.primary_seen {
            return Err(Refusal::NoPrimarySeen);
        }
        if !self.is_warm() {
            return Err(Refusal::NotWarmedUp);
        }
        if !around.journal_writable {
            return Err(Refusal::JournalUnwritable);
        }
        if let Some(name) = self.second_engine() {
            return Err(Refusal::SecondEngine { name });
        }
        if now < self.cooldown_until {
            return Err(Refusal::Cooldown { left: self.cooldown_until.since(now) });
        }
        Ok(())
    }

    fn second_engine(&self) -> Option<String> {
        self.servers
            .iter()
            .filter_map(|state| state.sample.as_ref())
            .find_map(|(_, sample)| sample.other_engines.first().cloned())
    }

    /// Which fence level is to be reached, and whether only a command can reach it.
    pub(super) fn fence_way(&self, class: FailureClass) -> Result<(FenceLevel, bool), Refusal> {
        let Some(model) = self.subject().and_then(|server| self.server_model(server)) else {
            return Err(Refusal::NoPrimarySeen);
        };
        let policy = &self.model.postgres;
        let host_silent =
            class == FailureClass::Unreachable || !model.ssh || self.suspicion.as_ref().is_some_and(Suspicion::host_is_silent);
        if policy.fence_require <= FenceLevel::TrafficRemoved {
            return Ok((policy.fence_require, host_silent));
        }
        if !host_silent {
            return Ok((policy.fence_require, false));
        }
        if model.fence_command {
            return Ok((FenceLevel::PowerOff, true));
        }
        if policy.route_exclusive && self.model.route.instances > 0 {
            return Ok((FenceLevel::TrafficRemoved, true));
        }
        let why = if model.ssh {
            "its host does not answer over SSH; there is no fence.command, and route.exclusive is not declared"
        } else {
            "no SSH to its host is configured; there is no fence.command, and route.exclusive is not declared"
        };
        Err(Refusal::FenceUnavailable { why: why.into() })
    }

    fn some_candidate(&self, until: Mono, waiver: &Waiver, now: Mono) -> Result<Candidate, Refusal> {
        let examined = self.examine_standbys(self.subject(), until, waiver, now);
        let candidates: Vec<Candidate> = examined.iter().filter_map(|(_, result)| result.as_ref().ok().copied()).collect();
        candidate::best(&candidates).ok_or_else(|| Refusal::NoCandidate {
            reasons: examined.into_iter().filter_map(|(server, result)| result.err().map(|reason| (server, reason))).collect(),
        })
    }

    fn awaited_operator(&mut self, class: FailureClass, fx: &mut Effects) -> Result<(), Refusal> {
        if !self.model.trigger.require_confirmation || self.confirmed_by_operator {
            return Ok(());
        }
        let Some((_, until)) = self.awaiting else {
            let until = fx.now + self.model.trigger.confirm_timeout;
            self.awaiting = Some((class, until));
            let evidence = self.suspicion.as_ref().map(Suspicion::record).unwrap_or_default();
            fx.emit(
                EventKind::AwaitingConfirmation,
                Severity::Alarm,
                self.about(),
                format!(
                    "{}: the primary is {}; waiting {} for an operator: failover confirm {}",
                    self.model.name,
                    class.word(),
                    self.model.trigger.confirm_timeout,
                    self.model.name
                ),
                vec![("class", text(class.word())), ("evidence", texts(evidence))],
            );
            return Err(Refusal::AwaitingConfirmation { left: until.since(fx.now) });
        };
        if fx.now < until {
            return Err(Refusal::AwaitingConfirmation { left: until.since(fx.now) });
        }
        // Back to monitoring, with an alarm: the next round of evidence asks again.
        self.refuse(Refusal::ConfirmationTimedOut, fx);
        self.awaiting = None;
        self.suspicion = None;
        self.window.clear();
        self.become_state(State::Normal, "nobody confirmed in time".into(), fx);
        Err(Refusal::ConfirmationTimedOut)
    }

    fn refuse(&mut self, refusal: Refusal, fx: &mut Effects) {
        let news = self.told.insert(refusal.name());
        let final_ = matches!(refusal, Refusal::Cooldown { .. } | Refusal::FenceUnavailable { .. } | Refusal::NoCandidate { .. });
        let sentence = self.sentence(&refusal);
        let evidence = self.suspicion.as_ref().map(Suspicion::record).unwrap_or_default();
        if news && !matches!(refusal, Refusal::EvidenceIncomplete { .. } | Refusal::AwaitingConfirmation { .. }) {
            let (kind, severity) = match &refusal {
                Refusal::HostSaysServing | Refusal::StandbySeesPrimary { .. } | Refusal::DatabaseAnswers => {
                    (EventKind::FailoverSuppressed, Severity::Warning)
                }
                Refusal::RestartGrace { .. } | Refusal::Stopping | Refusal::WatchedOnly => {
                    (EventKind::FailoverRefused, Severity::Warning)
                }
                _ => (EventKind::FailoverRefused, Severity::Alarm),
            };
            fx.emit(
                kind,
                severity,
                self.about(),
                format!("{}: no failover: {sentence}", self.model.name),
                vec![("refusal", text(refusal.name())), ("detail", text(&sentence)), ("evidence", texts(evidence.clone()))],
            );
        }
        self.refusal = Some(refusal);
        if final_ {
            self.call_a_person(sentence, evidence, fx);
        }
    }

    fn evaluate_failed_over(&mut self, around: Surroundings, fx: &mut Effects) {
        if self.threshold_met(fx.now).is_ok() {
            if let Some(suspicion) = &self.suspicion {
                match classify(suspicion, &self.limits(), fx.now) {
                    Ok(_) => {
                        let refusal = self
                            .guards(around, fx.now)
                            .err()
                            .or_else(|| self.some_candidate(self.died_at(suspicion.since), &Waiver::default(), fx.now).err());
                        let refusal = refusal.unwrap_or(Refusal::NoCandidate { reasons: Vec::new() });
                        let sentence = format!("the new primary failed too: {}", self.sentence(&refusal));
                        let evidence = suspicion.record();
                        self.refusal = Some(refusal);
                        self.call_a_person(sentence, evidence, fx);
                    }
                    Err(refusal) => self.refusal = Some(refusal),
                }
            }
            return;
        }
        let ready = self.some_candidate(fx.now, &Waiver::default(), fx.now).is_ok();
        if fx.now >= self.cooldown_until && ready && self.suspicion.is_none() {
            self.become_state(State::Normal, "the cooldown is over and a standby is ready".into(), fx);
        }
    }

    // ---- errands: actions outside a plan -------------------------------------------------------

    fn ask_host(&mut self, fx: &mut Effects) {
        let Some(subject) = self.subject() else { return };
        let Some(suspicion) = &self.suspicion else { return };
        if !self.server_model(subject).is_some_and(|model| model.ssh)
            || self.state == State::ManualIntervention
            || suspicion.impaired.is_some()
            || self.errands.iter().any(|(_, errand, _)| *errand == Errand::AskHost(subject))
        {
            return;
        }
        let now = fx.now;
        let silence = now.since(self.last_answer_of_subject());
        let silent = suspicion.refused == 0 && suspicion.close.is_none();
        if silent && silence < Span::from_millis(800) {
            return;
        }
        let contradiction = suspicion.refused > 0 && suspicion.word().is_some_and(|word| word.postmaster != ProcessState::Gone);
        let age = now.since(suspicion.since);
        let again = if contradiction && age < Span::from_millis(2_000) {
            Span::from_millis(50)
        } else if age < FAST_FOR {
            Span::from_millis(1_000)
        } else {
            Span::from_millis(5_000)
        };
        if self.host_asked.is_some_and(|at| now.since(at) < again) {
            return;
        }
        self.host_asked = Some(now);
        // Asking the frozen server itself takes a second: once, then its silence is known and only its processes are looked at.
        let known_silent = suspicion.word().is_some_and(|word| word.local_answer == LocalAnswer::Silent);
        let ask_local = silent && !known_silent;
        self.run_errand(Errand::AskHost(subject), Action::AskHost { server: subject, ask_local }, ASK_HOST, fx);
    }

    pub(super) fn run_errand(&mut self, errand: Errand, action: Action, span: Span, fx: &mut Effects) {
        let id = fx.action();
        let deadline = fx.now + span;
        self.errands.push((id, errand, deadline));
        fx.push(Output::RunAction { id, service: self.id, generation: self.generation, action, deadline });
    }

    fn expire_errands(&mut self, fx: &mut Effects) {
        let late = Span::from_millis(1_000);
        while let Some(at) = self.errands.iter().position(|(_, _, deadline)| fx.now >= *deadline + late) {
            let (id, errand, _) = self.errands.remove(at);
            fx.push(Output::CancelAction(id));
            self.errand_finished(errand, Err(Failure::timed_out("the action did not come back by its deadline", "")), fx);
        }
    }

    fn prove_again(&mut self, fx: &mut Effects) {
        let Some((at, server)) = self.prove_at else { return };
        if fx.now >= at && self.plan.is_none() {
            self.prove_at = None;
            let view_confirmed = self.servers[usize::from(server.0)].view_confirmed;
            self.run_errand(
                Errand::ProveAgain(server),
                Action::ProveFence { server, view_confirmed },
                Span::from_millis(5_000),
                fx,
            );
        }
    }

    pub(super) fn prove_later(&mut self, server: ServerId, now: Mono) {
        self.prove_at = Some((now + PROVE_AGAIN, server));
    }

    pub(super) fn errand_finished(&mut self, errand: Errand, outcome: Result<Report, Failure>, fx: &mut Effects) {
        match (errand, outcome) {
            (Errand::AskHost(server), outcome) => self.host_replied(server, outcome, fx),
            (Errand::ProveAgain(server) | Errand::FenceAgain(server), Ok(Report::Fence(report))) => {
                let holds = report.level >= FenceLevel::ProvenStopped;
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

    fn host_replied(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let reply = match outcome {
            Ok(Report::Host(word)) => Ok(word),
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
        let Some(suspicion) = &mut self.suspicion else { return };
        if suspicion.host_replied(fx.now, reply) {
            fx.emit(EventKind::EvidenceGathered, Severity::Info, self.about_server(server), message, Vec::new());
        }
    }

    pub(super) fn fence_action(&self, server: ServerId, require: FenceLevel, hung: bool, unreachable: bool) -> Action {
        let view_confirmed = self.servers[usize::from(server.0)].view_confirmed;
        Action::Fence { server, require, hung, unreachable, view_confirmed }
    }

    // ---- operator ------------------------------------------------------------------------------

    pub(super) fn command(&mut self, command: &Command, around: Surroundings, fx: &mut Effects) -> Result<String, String> {
        let name = self.model.name.clone();
        match command {
            Command::Confirm => {
                if self.awaiting.is_none() {
                    return Err(format!("{name} does not wait for a confirmation"));
                }
                self.confirmed_by_operator = true;
                Ok(format!("{name}: confirmed"))
            }
            Command::Pause => {
                if self.plan.is_some() {
                    return Err(format!("{name}: a failover is in flight and cannot be paused"));
                }
                self.paused = true;
                self.awaiting = None;
                Ok(format!("{name}: paused; it is observed, and nothing is decided"))
            }
            Command::Resume => {
                if !self.paused {
                    return Err(format!("{name} is not paused"));
                }
                self.paused = false;
                self.start_over(fx);
                Ok(format!("{name}: resumed; every check is asked afresh first"))
            }
            Command::Reset => match self.state {
                State::ManualIntervention | State::FailedOver => {
                    self.manual_reason = None;
                    self.cooldown_until = fx.now;
                    self.become_state(State::Normal, "an operator reset it".into(), fx);
                    self.start_over(fx);
                    Ok(format!("{name}: back to watching; the cooldown is over too"))
                }
                state => Err(format!("{name} is {}: there is nothing to reset", state.word())),
            },
            Command::Force { to, accept_loss } => self.force(*to, *accept_loss, around, fx),
            Command::Stop => {
                self.stopping = true;
                if let Some(plan) = &mut self.plan {
                    plan.stop_asked = true;
                }
                Ok(format!("{name}: stopping"))
            }
        }
    }

    fn force(
        &mut self,
        to: Option<ServerId>,
        accept_loss: Option<u64>,
        around: Surroundings,
        fx: &mut Effects,
    ) -> Result<String, String> {
        let name = self.model.name.clone();
        if self.plan.is_some() {
            return Err(format!("{name}: a failover is in flight already"));
        }
        if !self.is_postgres() {
            return Err(format!("{name}: {}", self.sentence(&Refusal::WatchedOnly)));
        }
        if self.subject().is_none() || self.system_id.is_none() {
            return Err(format!("{name}: {}", self.sentence(&Refusal::NoPrimarySeen)));
        }
        if !around.journal_writable {
            return Err(format!("{name}: {}", self.sentence(&Refusal::JournalUnwritable)));
        }
        if to.is_some() && to == self.primary {
            return Err(format!("{name}: {} is the primary already", self.server_name(to.unwrap_or_default())));
        }
        let waiver = Waiver { to, accept_loss };
        self.some_candidate(fx.now, &waiver, fx.now).map_err(|refusal| format!("{name}: {}", self.sentence(&refusal)))?;
        let mut waived: Vec<String> =
            self.guards(around, fx.now).err().iter().map(|refusal| format!("waived: {}", refusal.name())).collect();
        if let Some(bytes) = accept_loss {
            waived.push(format!("waived: the loss limit, up to {bytes} bytes are accepted"));
        }
        if self.suspicion.is_none() {
            self.suspicion = Some(Suspicion::new(fx.now));
        }
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.note(fx.now, "an operator forced the failover".into());
            for line in waived {
                suspicion.note(fx.now, line);
            }
        }
        self.start_plan(FailureClass::Forced, waiver, fx);
        Ok(format!("{name}: failover {} has begun", self.generation))
    }

    // ---- wake-up -------------------------------------------------------------------------------

    /// When something has to happen here even if no input comes.
    pub(super) fn next(&self, now: Mono) -> Mono {
        let mut next = Mono::NEVER;
        for check in &self.checks {
            next = next.min(check.slot.next());
        }
        if self.is_postgres() {
            for state in &self.servers {
                if !state.session_open {
                    next = next.min(state.session.next());
                }
            }
        }
        if let Some(suspicion) = &self.suspicion {
            let fast = now.since(suspicion.since) < FAST_FOR && self.state != State::ManualIntervention;
            next = next.min(now + Span::from_millis(if fast { 20 } else { 500 }));
        } else if let Some(state) =
            self.subject().filter(|_| self.plan.is_none()).map(|server| &self.servers[usize::from(server.0)])
            && let Some(last) = state.last_answer.filter(|_| state.session_open)
        {
            next = next.min(last + self.notice() + Span::from_nanos(1));
        }
        if let Some(plan) = &self.plan {
            next = next.min(plan.deadline);
            if let Some((_, _, deadline)) = plan.action {
                next = next.min(deadline + Span::from_millis(1_000));
            }
            if let Some(retry) = plan.retry_at {
                next = next.min(retry);
            }
        }
        if let Some((at, _)) = self.prove_at {
            next = next.min(at);
        }
        for (_, _, deadline) in &self.errands {
            next = next.min(*deadline + Span::from_millis(1_000));
        }
        if let Some(at) = self.window.next(self.model.trigger.failure_window) {
            next = next.min(at);
        }
        if self.state == State::FailedOver && now < self.cooldown_until {
            next = next.min(self.cooldown_until);
        }
        next
    }
}

/// A run that did not come back by its deadline: for the host program that is a time-out, for our own checks our own trouble.
fn overdue(kind: CheckKind, began: Mono, now: Mono) -> Finding {
    let (verdict, message) = match kind {
        CheckKind::Host | CheckKind::Scripted => {
            (Verdict::Down(DownCause::AnswerTimedOut), "the host program gave no answer in time")
        }
        _ => (Verdict::Unknown(UnknownCause::OwnResources), "the check did not come back by its deadline"),
    };
    Finding { verdict, message: message.into(), began, latency: now.since(began), sample: None }
}

/// How many acknowledgements a synchronous commit waits for, and how many may give one (rule 21).
fn acknowledgements(sample: &Sample) -> (u32, u32) {
    let set = sample.replicas.as_ref().map_or(0, |replicas| replicas.iter().filter(|replica| replica.synchronous).count());
    let names = sample.sync_names.trim();
    let head = names.split('(').next().unwrap_or_default().to_ascii_uppercase();
    let required = if names.contains('(') {
        head.trim().trim_start_matches("ANY").trim_start_matches("FIRST").trim().parse().unwrap_or(1)
    } else {
        1
    };
    (required, u32::try_from(set).unwrap_or(u32::MAX))
}
