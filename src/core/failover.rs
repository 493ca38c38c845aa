//! Carrying out a plan: from each outcome to the next action, to the end, or back.

use super::candidate::{self, Candidate, Ended, View, Waiver};
use super::effects::{Effects, text, texts};
use super::event::{EventKind, Field, Severity};
use super::evidence::{FailureClass, Suspicion};
use super::handover::Handover;
use super::id::{Generation, ServerId};
use super::model::OnNoSyncStandby;
use super::output::{Action, EndedHow, Failure, FailureKind, Output, Record, Report};
use super::plan::{End, Phase, Plan, Settings, Times};
use super::reason::Reason;
use super::refusal::{CandidateRefusal, Refusal};
use super::sample::{FenceLevel, FenceReport, Lsn, Position, RouteInstance, RungName, Sample};
use super::service::{FRESH, LastFailover, LogTrack, STREAM_GRACE, Service};
use super::stats::{Mark, Need};
use super::time::{Mono, Span};
use super::trigger::State;

/// An action that is this late is given up: the executor has stopped answering.
const LATE: Span = Span::from_millis(1_000);

impl Service {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            kind: self.model.kind,
            handover: self.run.plan.as_ref().is_some_and(Plan::hands_over),
            pre_checks: self.model.pre_checks,
            routed: self.model.route.instances > 0,
            verify: self.model.route.verify,
        }
    }

    /// Begins a failover. Every guard has been passed, or waived by an operator.
    ///
    /// `handover`: of a primary that lives and is stopped in an orderly way.
    pub(super) fn start_plan(&mut self, reason: Reason, waiver: Waiver, handover: Option<Handover>, fx: &mut Effects) {
        let Some(old) = self.subject() else { return };
        assert!(self.run.plan.is_none(), "failover {} is in flight, and another one begins", self.durable.generation);
        // While the suspicion is there: what the host said meanwhile counts, not what the survey found before.
        let Some((require, host_silent)) = self.way_or_a_person(reason, fx) else { return };
        let is_dead = self.is_dead(fx.now);
        let forced = reason.is_ordered();
        let seen = self.kind().evidence_at_once(self, reason, &waiver, fx.now);
        let lived = self.lived_until(self.detection.suspicion.as_ref().map_or(fx.now, |suspicion| suspicion.since));
        let suspicion = self.detection.suspicion.take().unwrap_or_else(|| Suspicion::new(fx.now));
        self.durable.generation = Generation(self.durable.generation.0 + 1);
        self.run.confirmed_by_operator = false;
        self.run.held = false;
        if !reason.is_ordered() {
            self.run.began_at = Some(fx.now);
        }
        self.detection.awaiting = None;
        self.detection.refusal = None;
        self.durable.attention = None;
        let evidence = seen.unwrap_or_else(|| self.kind().evidence(self, (reason, require), &suspicion, &waiver, fx.now));
        let times = Times { detected: self.died_at(suspicion.since), lived, confirmed: fx.now, ..Times::default() };
        // What an earlier engine changed is undone with the rest, should it come to that.
        let before = self.run.begun.take();
        let lead = match &before {
            Some(before) => self.begun_lead(before, times.detected),
            None => Some(Span::ZERO),
        };
        // One that an earlier engine had begun was detected then, and counted.
        if !forced && before.is_none() {
            self.durable.stats.detect.add(fx.now.since(times.detected));
        }
        let plan = Plan {
            kind: self.model.kind,
            generation: self.durable.generation,
            reason,
            old,
            system_id: self.durable.cluster.system_id.unwrap_or_default(),
            old_timeline: self.log.as_ref().map_or(0, |log| log.timeline),
            phase: Plan::first(Settings { handover: handover.is_some(), ..self.settings() }),
            action: None,
            retry_at: None,
            repeat: None,
            told: Vec::new(),
            undo_until: fx.now,
            deadline: fx.now + self.model.trigger.failover_timeout,
            waiver,
            require,
            host_silent,
            fence: None,
            route_touched: before.as_ref().is_some_and(|before| before.route_touched),
            route_in_part: false,
            fence_tried: before.as_ref().is_some_and(|before| before.fence_tried),
            handover,
            chosen: None,
            refused: Vec::new(),
            unreached: Vec::new(),
            unverified: Vec::new(),
            stays: None,
            timeline: None,
            gate_opened: false,
            undoing: None,
            undo_failures: Vec::new(),
            warnings: Vec::new(),
            stop_asked: false,
            lives: false,
            nobody_left: is_dead,
            ended: is_dead.then_some(FailureClass::Dead).or(reason.class()).and_then(|class| suspicion.ended(class)),
            committed: None,
            proved_at: None,
            slept: false,
            resumed: false,
            times,
            lead,
            furthest: self.reference(Ended::at(times.detected)).and_then(|reference| reference.furthest(times.detected)),
            judgement: {
                let now = self.kind().judgement(reason, &suspicion);
                match &before {
                    Some(before) if !forced => before.judged_again(now),
                    _ => now,
                }
            },
            evidence: evidence.clone(),
        };
        self.journal_facts(fx);
        let begun = Box::new(self.begun_with(&plan));
        let generation = self.durable.generation;
        fx.push(Output::Journal(Record::Intent { service: self.id, generation, evidence: evidence.clone(), begun }));
        self.announce_plan(&plan, evidence, forced, fx);
        self.detection.window.clear();
        if host_silent {
            // A question that nobody answers must not stand before the plan.
            for (id, _, _) in self.background.errands.drain(..) {
                fx.push(Output::CancelAction(id));
            }
        }
        self.carry_on(plan);
        self.drive(fx);
    }

    /// From here on the plan is in flight: the only one of its service, and the last that it had.
    pub(super) fn carry_on(&mut self, plan: Plan) {
        assert!(self.run.plan.is_none(), "failover {} is in flight beside {}", self.durable.generation, plan.generation);
        assert!(
            plan.generation <= self.durable.generation,
            "failover {} comes after {}",
            plan.generation,
            self.durable.generation
        );
        self.run.plan = Some(plan);
    }

    /// The fence that is asked for, and whether the host is silent. A person is called where there is no way to fence.
    fn way_or_a_person(&mut self, reason: Reason, fx: &mut Effects) -> Option<(FenceLevel, bool)> {
        let silent = self.detection.suspicion.as_ref().is_some_and(Suspicion::host_is_silent);
        match self.kind().fence_way(self, reason, silent) {
            Ok(way) => Some(way),
            Err(refusal) => {
                let sentence = self.sentence(&refusal);
                self.tell_refusal(&refusal, fx);
                self.detection.refusal = Some(refusal);
                self.call_a_person(sentence, Vec::new(), fx);
                None
            }
        }
    }

    /// Says that the failure is confirmed and the failover begins.
    fn announce_plan(&mut self, plan: &Plan, evidence: Vec<String>, forced: bool, fx: &mut Effects) {
        let (reason, detected) = (plan.reason, plan.times.detected);
        self.become_state(State::FailoverInProgress, reason.sentence(), fx);
        let old_name = self.server_name(plan.old);
        fx.emit(
            EventKind::FailureConfirmed,
            Severity::Warning,
            self.about_server(plan.old),
            if forced {
                format!("{old_name} is to be replaced: {}", reason.sentence())
            } else {
                format!("{old_name} is {}, confirmed {} after the first bad sign", reason.word(), fx.now.since(detected))
            },
            vec![
                ("class", text(reason.word())),
                ("detect_ms", Field::Span(fx.now.since(detected))),
                ("evidence", texts(evidence.clone())),
            ],
        );
        fx.emit(
            EventKind::FailoverStarted,
            Severity::Warning,
            self.about_server(plan.old),
            format!("{}: failover {} away from {old_name} begins", self.model.name, plan.generation),
            vec![
                ("class", text(reason.word())),
                ("old_primary", text(old_name)),
                ("fence_required", Field::Int(u64::from(plan.require.number()))),
                ("evidence", texts(evidence)),
            ],
        );
    }

    /// The whole reasoning behind the decision, one line each, for the journal, the event and the report.
    pub(crate) fn evidence(
        &self,
        reason: Reason,
        suspicion: &Suspicion,
        require: FenceLevel,
        waiver: &Waiver,
        now: Mono,
    ) -> Vec<String> {
        let trigger = &self.model.trigger;
        let mut lines = suspicion.record();
        lines.push(format!(
            "class {}: {} refused and {} unanswered new connections since the last sign of life",
            reason.word(),
            suspicion.refused,
            suspicion.unanswered
        ));
        lines.push(format!(
            "thresholds: failure_threshold {} in {}, hang_after {}, restart_grace {}",
            trigger.failure_threshold, trigger.failure_window, trigger.hang_after, trigger.restart_grace
        ));
        lines.push(format!("required fence: level {}", require.number()));
        if let Some(log) = &self.log {
            lines.push(format!(
                "last known position of the primary: {} on timeline {}, sampled {} before the decision, {}{}",
                log.flush,
                log.timeline,
                now.since(log.at) + log.lead,
                log.growth().map_or_else(
                    || "nothing is known of how fast it grew".into(),
                    |growth| format!("growing by about {growth} bytes/s")
                ),
                if log.sync.named { ", synchronous replication" } else { "" }
            ));
        }
        // An order away from one that is gone is judged by its end, as the order was.
        let of = reason.class().or(suspicion.gone_since.map(|_| FailureClass::Dead));
        for (server, result) in self.examine_standbys(self.subject(), self.ended(of, suspicion, now), waiver, View::Guard, now) {
            let name = self.server_name(server);
            lines.push(match result {
                Ok(candidate) => format!("candidate {name}: {}", describe(&candidate)),
                Err(reason) => format!("candidate {name} refused: {}", reason.sentence()),
            });
        }
        lines
    }

    /// Moves the plan on as far as it goes without a new outcome.
    pub(super) fn drive(&mut self, fx: &mut Effects) {
        // Bounded: every pass either starts an action, waits, or moves to a later phase.
        for _ in 0..16 {
            if self.drive_once(fx) {
                return;
            }
        }
    }

    /// True when there is nothing to do until the next input.
    fn drive_once(&mut self, fx: &mut Effects) -> bool {
        let Some(plan) = &mut self.run.plan else { return true };
        if plan.phase == Phase::Over {
            // Done or undone: no stop and no time-out turns that round any more.
            self.end_without_action(fx);
            return false;
        }
        let past = plan.is_past_no_return();
        let goes_on = plan.goes_on_when_stopped();
        let undoing = plan.phase.is_undoing() || plan.undoing.is_some();
        let over = fx.now >= plan.deadline && !undoing;
        let stops = plan.stop_asked && !undoing && !goes_on;
        if let Some((id, action, deadline)) = plan.action.clone() {
            let timed_out = over && !past;
            if fx.now < deadline + LATE && !timed_out && !stops {
                return true;
            }
            fx.push(Output::CancelAction(id));
            plan.action = None;
            let why = if stops { "the engine is stopping" } else { "the deadline passed" };
            self.step_ended(&action, &Err(Failure::timed_out(why, "")), fx);
            self.advance(&action, Err(Failure::timed_out(why, "")), fx);
            return false;
        }
        if plan.stop_asked && goes_on && !undoing && plan.retry_at.is_some() {
            // Behind the promotion a stopping engine goes on while it gets on, and tries nothing a second time.
            if !past {
                self.undo("the engine is stopping".into(), fx);
                return false;
            }
            let why = format!("the engine is stopping; what was tried last did not work: {}", plan.warnings.join("; "));
            self.finish(End::Stuck { why }, fx);
            return false;
        }
        if plan.retry_at.is_some_and(|at| fx.now < at) && !over && !stops {
            if let Some(why) = plan.long_unverified(fx.now) {
                self.call_for_help(&why, fx);
            }
            return true;
        }
        plan.retry_at = None;
        if over {
            let mut why = format!("failover_timeout ({}) passed", self.model.trigger.failover_timeout);
            if let Some(repeat) = plan.repeated() {
                why = format!("{}; tried {} times until {why}", repeat.why, repeat.tries);
            }
            if past {
                self.finish(End::Stuck { why }, fx);
            } else if !self.kind().stays(self, &why, fx) {
                self.undo(why, fx);
            }
            return false;
        }
        if stops {
            self.undo("the engine is stopping".into(), fx);
            return false;
        }
        let Some((action, span)) = self.next_action() else {
            self.end_without_action(fx);
            return false;
        };
        self.begin_step(action, span, fx);
        true
    }

    /// The action of the present phase and its time limit.
    fn next_action(&self) -> Option<(Action, Span)> {
        let plan = self.run.plan.as_ref()?;
        let (postgres, route) = (&self.model.postgres, &self.model.route);
        let seconds = |n: u64| Span::from_millis(n * 1_000);
        let chosen = plan.chosen.map(|candidate| candidate.server);
        let (system_id, old_timeline) = (plan.system_id, plan.old_timeline);
        Some(match plan.phase {
            // Each has a deadline of its own; all of them, that of the failover.
            Phase::PreChecks => (Action::PreChecks, self.model.trigger.failover_timeout),
            // Where a stronger fence follows, sessions that HAProxy cannot end at once are ended with the server itself; and where none
            // is asked for, nobody waits for a proof.
            Phase::RouteOut if plan.require != FenceLevel::TrafficRemoved => {
                (Action::RouteOut { server: plan.old }, Span::from_millis(200).max(route.commands_out))
            }
            Phase::RouteOut => (Action::RouteOut { server: plan.old }, seconds(3).max(route.commands_out)),
            Phase::Fence if plan.require <= FenceLevel::TrafficRemoved => return None,
            Phase::Fence => (
                self.fence_action(plan.old, plan.require, plan.reason.is(FailureClass::Hung), plan.host_silent),
                self.model.fence.timeout,
            ),
            Phase::Choose => return self.kind().choice(self, plan),
            Phase::ProveAgain => {
                let view_confirmed = self.servers[usize::from(plan.old.0)].view_confirmed;
                (Action::ProveFence { server: plan.old, view_confirmed }, seconds(2))
            }
            Phase::Promote => (Action::Promote { server: chosen?, system_id, old_timeline }, postgres.promotion_timeout),
            Phase::FindOut => (Action::ReadRole { server: chosen? }, seconds(3)),
            Phase::VerifyData => (Action::VerifyData { server: chosen?, system_id, old_timeline }, seconds(5)),
            Phase::OpenSyncGate => (Action::OpenSyncGate { server: chosen? }, seconds(5)),
            Phase::RouteIn => (Action::RouteIn { server: chosen?, share: self.first_share() }, seconds(3).max(route.commands_in)),
            Phase::VerifyTraffic => return self.kind().look_through_route(plan),
            Phase::Checkpoint | Phase::StopServer | Phase::Receipt | Phase::LookAround | Phase::UndoStop => {
                return self.handover_action(plan);
            }
            Phase::UndoFence => (Action::FenceUndo { server: plan.old }, seconds(5)),
            Phase::UndoRoute => (self.kind().route_undo(plan.old), seconds(5).max(route.commands_in)),
            Phase::Over => return None,
        })
    }

    fn begin_step(&mut self, action: Action, span: Span, fx: &mut Effects) {
        let id = fx.action();
        let target = action.server().map_or_else(String::new, |server| self.server_name(server));
        let kind = self.kind();
        let Some(plan) = &mut self.run.plan else { return };
        let undoing = plan.phase.is_undoing();
        let past = plan.is_past_no_return();
        let mut deadline = fx.now + span;
        if !undoing {
            deadline = deadline.min(plan.deadline.max(fx.now + Span::from_millis(1)));
        }
        match action {
            Action::RouteOut { .. } => plan.route_touched = true,
            Action::RouteIn { .. } => {
                plan.route_touched = true;
                plan.times.entered.get_or_insert(fx.now);
            }
            Action::Fence { .. } => plan.fence_tried = true,
            Action::Promote { server, .. } => {
                plan.assert_fenced();
                plan.assert_no_other(server);
                assert!(plan.undoing.is_none(), "{server} is promoted while failover {} is undone", plan.generation);
            }
            Action::RouteRestore { .. } | Action::FenceUndo { .. } | Action::StartServer { .. } => {
                assert!(plan.committed.is_none(), "{action:?}, and a promotion may have begun");
            }
            Action::StopServer { .. } => {
                if let Some(handover) = &mut plan.handover {
                    handover.stop_tried = true;
                }
            }
            _ => {}
        }
        // Told is the first of equal tries.
        let is_told = plan.is_retry(action.server());
        let generation = plan.generation;
        // From here on the next engine has to know whom.
        let chosen = plan.chosen.filter(|_| kind.names_chosen(&action));
        plan.action = Some((id, action.clone(), deadline));
        plan.slept = false;
        if !is_told {
            self.tell_step(&action, &target, undoing, past, fx);
        }
        fx.push(Output::Journal(Record::StepBegun { service: self.id, generation, step: action.step(), target, chosen }));
        fx.push(Output::RunAction { id, service: self.id, generation, action, deadline });
    }

    fn tell_step(&self, action: &Action, target: &str, undoing: bool, past: bool, fx: &mut Effects) {
        if matches!(action, Action::Promote { .. }) {
            fx.emit(
                EventKind::PointOfNoReturn,
                Severity::Warning,
                self.about(),
                format!("{}: {target} is promoted; from here on nothing is undone", self.model.name),
                vec![("target", text(target))],
            );
        }
        fx.emit(
            EventKind::StepStarted,
            Severity::Info,
            self.about(),
            if target.is_empty() { action.name().to_owned() } else { format!("{} {target}", action.name()) },
            vec![
                ("step", text(action.name())),
                ("target", text(target)),
                ("undoing", Field::Bool(undoing)),
                ("past_no_return", Field::Bool(past)),
            ],
        );
    }

    fn end_without_action(&mut self, fx: &mut Effects) {
        let Some(plan) = &mut self.run.plan else { return };
        match plan.phase {
            Phase::Fence => {
                // Level 1: the route is the fence, and every instance has proven it. Where none is asked for, none is claimed.
                let (level, proof) = if plan.require == FenceLevel::TrafficRemoved && plan.route_touched {
                    (FenceLevel::TrafficRemoved, "the old primary was taken out of every instance of the route")
                } else {
                    (FenceLevel::None, "no fence is asked for: nothing proves that the old primary has stopped")
                };
                plan.fence = Some(FenceReport { level, guard_placed: false, rungs: Vec::new(), proof: proof.into(), end: None });
                plan.times.fenced = Some(fx.now);
                plan.phase = Phase::Choose;
            }
            Phase::Choose => self.kind().choose(self, fx),
            Phase::Over => {
                let end = match plan.undoing.clone() {
                    Some(why) => End::Undone { why, left: plan.undo_failures.clone() },
                    None => End::Completed,
                };
                self.finish(end, fx);
            }
            phase => {
                let why = format!("nothing to act on in {phase:?}");
                if plan.is_past_no_return() { self.finish(End::Stuck { why }, fx) } else { self.undo(why, fx) }
            }
        }
    }

    /// An action of the plan is back.
    pub(super) fn action_finished(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some((_, action, _)) = self.run.plan.as_mut().and_then(|plan| plan.action.take()) else { return };
        self.step_ended(&action, &outcome, fx);
        let again = self.run.plan.as_ref().and_then(|plan| plan.look_again(&action)).filter(|_| outcome.is_ok());
        if let (Some(plan), Some(phase)) = (&mut self.run.plan, again) {
            plan.phase = phase;
            if phase == Phase::Choose {
                plan.chosen = None;
            }
        } else {
            self.advance(&action, outcome, fx);
        }
        self.drive(fx);
    }

    fn step_ended(&mut self, action: &Action, outcome: &Result<Report, Failure>, fx: &mut Effects) {
        let target = action.server().map_or_else(String::new, |server| self.server_name(server));
        let (ok, message, mut fields) = match outcome {
            Ok(report) => self.describe_report(report),
            Err(failure) => {
                let message = if failure.remedy.is_empty() {
                    failure.message.clone()
                } else {
                    format!("{}; {}", failure.message, failure.remedy)
                };
                (false, message, vec![("failure", text(failure_word(failure.kind)))])
            }
        };
        let Some(plan) = &mut self.run.plan else { return };
        let (generation, news) = (plan.generation, plan.is_news(action.server(), ok, &message));
        let mut all =
            vec![("step", text(action.name())), ("target", text(&target)), ("ok", Field::Bool(ok)), ("detail", text(&message))];
        all.append(&mut fields);
        fx.push(Output::Journal(Record::StepEnded {
            service: self.id,
            generation,
            step: action.step(),
            ok,
            message: message.clone(),
        }));
        if !news {
            return;
        }
        fx.emit(
            EventKind::StepFinished,
            if ok { Severity::Info } else { Severity::Warning },
            self.about(),
            format!("{}{}{target}: {message}", action.name(), if target.is_empty() { "" } else { " " }),
            all,
        );
    }

    pub(super) fn describe_report(&self, report: &Report) -> (bool, String, Vec<(&'static str, Field)>) {
        match report {
            Report::TrafficInPart { message } | Report::TrafficFull { message } => (false, message.clone(), Vec::new()),
            Report::Done { message } | Report::Traffic { message } => (true, message.clone(), Vec::new()),
            Report::Host(word) | Report::HostShutDown { word, .. } => (true, word.message.clone(), Vec::new()),
            Report::Route(instances) => {
                let each: Vec<String> = instances
                    .iter()
                    .map(|instance| match &instance.result {
                        Ok(done) => format!("{}: {done}", instance.name),
                        Err(why) => format!("{} FAILED: {why}", instance.name),
                    })
                    .collect();
                (instances.iter().all(|instance| instance.result.is_ok()), each.join("; "), Vec::new())
            }
            Report::Fence(report) => {
                let rungs = report
                    .rungs
                    .iter()
                    .map(|rung| {
                        Field::Group(vec![
                            ("name", text(rung.name.word())),
                            ("ok", Field::Bool(rung.ok)),
                            ("took_ms", Field::Span(rung.took)),
                            ("note", text(&rung.note)),
                        ])
                    })
                    .collect();
                let met = self.run.plan.as_ref().is_none_or(|plan| report.level >= plan.require);
                (
                    met,
                    format!("level {} proven: {}", report.level.number(), report.proof),
                    vec![
                        ("fence_level", Field::Int(u64::from(report.level.number()))),
                        ("guard_placed", Field::Bool(report.guard_placed)),
                        ("rungs", Field::List(rungs)),
                        ("proof", text(&report.proof)),
                    ],
                )
            }
            Report::Positions(positions) => {
                let each: Vec<String> = positions
                    .iter()
                    .map(|position| match &position.sample {
                        Ok(sample) => format!(
                            "{} at {}{}",
                            self.server_name(position.server),
                            candidate::position(sample).map_or_else(|| "no position".to_owned(), |lsn| lsn.to_string()),
                            if position.settled { "" } else { " (still moving)" }
                        ),
                        Err(why) => format!("{} cannot be asked: {why}", self.server_name(position.server)),
                    })
                    .collect();
                (true, each.join("; "), Vec::new())
            }
            Report::History { timeline, .. } => (true, format!("the history of timeline {timeline}"), Vec::new()),
            Report::Receipt(receipt) => {
                let (ok, message) = self.describe_receipt(receipt);
                (ok, message, Vec::new())
            }
            Report::Promoted { timeline, flush, message } => {
                (true, message.clone(), vec![("timeline", Field::Int(u64::from(*timeline))), ("flush", text(flush.to_string()))])
            }
            Report::Role { in_recovery, timeline, .. } => (
                true,
                format!("{} on timeline {timeline}", if *in_recovery { "still in recovery" } else { "writable" }),
                Vec::new(),
            ),
            Report::Written { flush, commits, message } => {
                (true, message.clone(), vec![("flush", text(flush.to_string())), ("commits", Field::Bool(*commits))])
            }
        }
    }

    /// From an outcome to the next phase.
    fn advance(&mut self, action: &Action, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let settings = self.settings();
        let Some(plan) = &mut self.run.plan else { return };
        match (plan.phase, outcome) {
            (Phase::PreChecks, Ok(_)) => plan.phase = Plan::after_pre_checks(settings),
            (Phase::PreChecks, Err(failure)) => self.undo(format!("a pre-failover check failed: {}", failure.message), fx),
            (Phase::RouteOut, outcome) => self.route_left(outcome, fx),
            (Phase::Fence, outcome) => self.fenced(outcome, fx),
            (Phase::Choose, Ok(Report::Positions(positions))) => self.choose(&positions, fx),
            (Phase::Choose, Ok(_)) => self.undo("the positions came back as something else".into(), fx),
            (Phase::Choose, Err(failure)) => {
                plan.try_again(fx.now, format!("the standbys' positions could not be read: {}", failure.message));
            }
            (Phase::ProveAgain, outcome) => self.proven_again(outcome, fx),
            (Phase::Promote, outcome) => self.promoted(outcome, fx),
            (Phase::FindOut, outcome) => self.found_out(outcome, fx),
            (Phase::VerifyData, outcome) => self.written(outcome, fx),
            (Phase::OpenSyncGate, outcome) => {
                if let Err(failure) = outcome {
                    plan.warnings.push(format!("commits wait for a synchronous standby that is not there: {}", failure.message));
                    plan.phase = Plan::after_write(settings);
                } else {
                    plan.warnings.push(GATE_OPENED.into());
                    plan.phase = Phase::VerifyData;
                }
                plan.gate_opened = true;
            }
            (Phase::RouteIn, outcome) => self.route_entered(outcome, fx),
            (Phase::VerifyTraffic, outcome) => self.kind().looked_through_route(self, outcome, fx),
            (Phase::Checkpoint | Phase::StopServer | Phase::Receipt | Phase::LookAround | Phase::UndoStop, outcome) => {
                self.handover_advanced(outcome, fx);
            }
            (Phase::UndoFence, outcome) => {
                if compensated(plan, action, outcome, fx.now) {
                    plan.phase = plan.after_undo_fence();
                }
            }
            (Phase::UndoRoute, outcome) => {
                if compensated(plan, action, outcome, fx.now) {
                    plan.phase = Phase::Over;
                }
            }
            (Phase::Over, _) => {}
        }
    }

    fn route_left(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let (kind, settings) = (self.kind(), self.settings());
        let Some(plan) = &mut self.run.plan else { return };
        let failed = match outcome {
            Ok(Report::Route(instances)) => instances.iter().filter_map(RouteInstance::failure).collect(),
            Ok(_) => Vec::new(),
            Err(failure) => vec![failure.message],
        };
        let phase = Plan::after_route_out(settings);
        if kind.leaves_in_part() {
            if !failed.is_empty() {
                plan.warnings.push(format!("route_out: {}", failed.join("; ")));
            }
            plan.phase = phase;
            return;
        }
        if !failed.is_empty() {
            let what = failed.join("; ");
            if plan.require == FenceLevel::TrafficRemoved && phase == Phase::Fence {
                let why = format!("the route is the only fence and could not be proven closed: {what}");
                self.fence_again(why, fx);
                return;
            }
            plan.warnings.push(format!("route_out: {what}"));
        }
        plan.phase = phase;
    }

    fn fenced(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some(plan) = &mut self.run.plan else { return };
        match outcome {
            Ok(Report::Fence(report)) => {
                let enough = report.level >= plan.require;
                // All that the host can prove: only its power is missing.
                let all = report.level >= FenceLevel::ProvenStopped;
                if let Some(rung) = report.rungs.iter().find(|rung| rung.name == RungName::Guard && !rung.ok) {
                    plan.warnings.push(format!(
                        "the old primary has no guard ({}): whoever starts it starts a second primary; keep it stopped",
                        rung.note
                    ));
                }
                let what =
                    format!("fence level {} of {} is proven: {}", report.level.number(), plan.require.number(), report.proof);
                plan.fence = Some(report);
                if enough {
                    plan.times.fenced = Some(fx.now);
                    plan.proved_at = (!plan.slept).then_some(fx.now);
                    plan.phase = Phase::Choose;
                } else if all {
                    self.undo(format!("the old primary is not fenced: only {what}"), fx);
                } else {
                    self.fence_again(format!("the old primary is not fenced: only {what}"), fx);
                }
            }
            Ok(_) => self.undo("the fence answered with something else".into(), fx),
            Err(Failure { kind: FailureKind::Refused, message, .. }) => {
                self.undo(format!("the old primary is not fenced: {message}"), fx);
            }
            Err(failure) => self.fence_again(format!("the old primary is not fenced: {}", failure.message), fx),
        }
    }

    /// The fence is not proven: its host may be out of reach for a moment, or what was killed is still leaving. The primary of an order
    /// lives, and its clients wait: there it is tried once.
    fn fence_again(&mut self, why: String, fx: &mut Effects) {
        let Some(plan) = &mut self.run.plan else { return };
        if plan.reason.is_ordered() && !plan.nobody_left {
            self.undo(why, fx);
            return;
        }
        plan.try_again(fx.now, why);
        // If it serves after all, that shows before the next try.
        let old = plan.old;
        for (model, check) in self.model.checks.iter().zip(&mut self.checks) {
            if model.server == old.0 {
                check.slot.hasten(fx.now);
            }
        }
    }

    fn choose(&mut self, positions: &[Position], fx: &mut Effects) {
        self.heard_meanwhile(positions);
        if self.somebody_was_promoted(positions, fx) {
            return;
        }
        if let Some(server) = self.writes_meanwhile(positions, fx.now) {
            let why = format!("{} takes writes since its position was read", self.server_name(server));
            if let Some(plan) = &mut self.run.plan {
                plan.try_again(fx.now, why);
            }
            return;
        }
        let Some(plan) = &self.run.plan else { return };
        let ended = ended(plan);
        // A server that somebody started meanwhile may have written on behind the checkpoint of its shutdown: what was read when nothing
        // of it was left is what counts.
        let read = plan.fence.as_ref().and_then(|report| report.end);
        if read.is_some() || !fence_found_nothing(plan) {
            self.detection.log_end = plan.log_end().or(read);
        }
        let Some(plan) = &self.run.plan else { return };
        let reference = self.reference(ended);
        let samples = positions
            .iter()
            .map(|position| (position.server, position.sample.as_ref().map_err(Clone::clone), position.settled))
            .collect();
        let mut verdicts = self.choose_among(samples, reference.as_ref(), &plan.waiver, &plan.refused, View::Decision);
        if plan.committed.is_some() {
            let others = verdicts.iter_mut().filter(|(_, verdict)| *verdict == Err(CandidateRefusal::NotChosen));
            others.for_each(|(_, verdict)| *verdict = Err(CandidateRefusal::AnotherAsked));
        }
        let able: Vec<Candidate> = verdicts.iter().filter_map(|(_, verdict)| verdict.as_ref().ok().copied()).collect();
        let reasons: Vec<(ServerId, CandidateRefusal)> =
            verdicts.into_iter().filter_map(|(server, verdict)| verdict.err().map(|reason| (server, reason))).collect();
        let comes = self.a_standby_comes(positions, &reasons, fx.now);
        let refusal = Refusal::NoCandidate { reasons };
        let sentence = self.sentence(&refusal);
        let Some(plan) = &mut self.run.plan else { return };
        if let Some(best) = candidate::best(&able) {
            plan.chosen = Some(best);
            plan.assert_fenced();
            plan.assert_no_other(best.server);
            plan.phase = plan.before_promotion(fx.now);
            plan.evidence.push(format!("chosen after the fence: {}", describe(&best)));
        } else if comes {
            note_once(&mut plan.warnings, format!("waited for a standby: {sentence}"));
            plan.try_again(fx.now, sentence);
        } else if !plan.unreached.is_empty() {
            // No better one is there, and what was asked of these had no effect: they are asked again.
            let tried = std::mem::take(&mut plan.unreached);
            plan.refused.retain(|(server, _)| !tried.contains(server));
            plan.try_again(fx.now, sentence);
        } else {
            self.detection.refusal = Some(refusal);
            self.undo(sentence, fx);
        }
    }

    /// Nobody may be promoted yet, only because one that was there a moment ago is starting, or replays what it has: then it is waited
    /// for, as long as the failover may take.
    fn a_standby_comes(&self, positions: &[Position], reasons: &[(ServerId, CandidateRefusal)], now: Mono) -> bool {
        let wanted = reasons.iter().any(|(_, reason)| {
            matches!(reason, CandidateRefusal::QuorumUnanswered { .. } | CandidateRefusal::NotReadable { .. })
        });
        wanted
            && positions.iter().any(|position| match &position.sample {
                Ok(sample) => {
                    let held = sample.replay_paused || sample.delayed;
                    sample.in_recovery && !held && !(position.settled && candidate::is_complete(sample))
                }
                Err(_) => self.was_there(position.server, self.run.plan.as_ref().map_or(now, |plan| plan.times.confirmed)),
            })
    }

    /// A server that takes writes although nobody of ours promoted it: whoever did it has decided. It is followed if it alone
    /// continues what the old primary wrote; otherwise a person has to look. Nobody else is promoted, and nothing is given back to the
    /// old primary.
    pub(super) fn somebody_was_promoted(&mut self, positions: &[Position], fx: &mut Effects) -> bool {
        let Some(plan) = &self.run.plan else { return false };
        let writable: Vec<(ServerId, Sample)> = positions
            .iter()
            .filter_map(|position| Some((position.server, position.sample.as_ref().ok()?.clone())))
            .filter(|(_, sample)| !sample.in_recovery && sample.system_id == plan.system_id)
            .collect();
        let old_timeline = plan.old_timeline;
        match &writable[..] {
            [] => return false,
            [(server, sample)]
                if sample.timeline > old_timeline && self.is_ours(*server, sample, old_timeline, self.may_lack(*server)) =>
            {
                self.take_over_promoted(*server, sample, fx);
            }
            many => {
                let names: Vec<String> = many
                    .iter()
                    .map(|(server, sample)| format!("{} takes writes on timeline {}", self.server_name(*server), sample.timeline))
                    .collect();
                let why = format!("{}; nobody is promoted beside it, and the old primary stays fenced", names.join(", "));
                self.finish(End::Left { why }, fx);
            }
        }
        true
    }

    /// So much of the old primary's log may be missing on a server that somebody promoted: what a failover may lose, if nobody else had more
    /// when both were last seen to receive, and nothing if it took writes while the primary did.
    fn may_lack(&self, server: ServerId) -> u64 {
        let state = &self.servers[usize::from(server.0)];
        let (Some(own), Some(seen)) = (state.streamed, state.streamed_at) else { return 0 };
        // Where nobody knows how the log grew, a moment says nothing.
        let growth = self.log.as_ref().and_then(LogTrack::growth).unwrap_or(u64::MAX);
        let has_more = self.servers.iter().any(|other| {
            let (Some(theirs), Some(later)) = (other.streamed, other.streamed_at) else { return false };
            // Who was asked a moment later has what came in that moment.
            let gap = later.since(seen);
            let came = if gap <= STREAM_GRACE { growth.saturating_mul(gap.as_millis()) / 1_000 } else { 0 };
            theirs.timeline == own.timeline && theirs.position.bytes_after(own.position) > came
        });
        if state.other_branch || state.wrote_beside || has_more { 0 } else { self.model.postgres.max_lag_bytes }
    }

    /// A standby whose kept session said after the fence, and after its position was read, that it takes writes: somebody promoted it.
    fn writes_meanwhile(&self, positions: &[Position], now: Mono) -> Option<ServerId> {
        let plan = self.run.plan.as_ref()?;
        let asked_before = |server: ServerId| {
            let asked = positions.iter().find(|position| position.server == server)?.sample.as_ref().ok()?.asked;
            Some(asked)
        };
        self.server_ids().filter(|server| *server != plan.old).find(|server| {
            self.servers[usize::from(server.0)].sample.as_ref().is_some_and(|(at, sample)| {
                !sample.in_recovery
                    && sample.system_id == plan.system_id
                    && now.since(*at) < FRESH
                    && plan.times.fenced.is_none_or(|fenced| sample.asked > fenced)
                    && asked_before(*server).is_none_or(|asked| sample.asked > asked)
            })
        })
    }

    /// Goes on with a server that somebody else promoted, as if this failover had done it.
    fn take_over_promoted(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let name = self.server_name(server);
        let began = self.servers[usize::from(server.0)].streamed.map(|streamed| streamed.position).unwrap_or_default();
        let Some(plan) = &self.run.plan else { return };
        // The old primary may have gone on until it was fenced, or goes on.
        let ended = if plan.times.fenced.is_some() { ended(plan) } else { Ended::fenced(plan.times.lived, fx.now) };
        let reference = self.reference(ended);
        let furthest = reference.as_ref().and_then(|reference| reference.furthest(fx.now)).max(plan.furthest);
        let loss = furthest.map(|furthest| furthest.bytes_after(began));
        let unseen = reference.map(|reference| reference.unseen()).unwrap_or_default();
        let Some(plan) = &mut self.run.plan else { return };
        let line = format!("{name} takes writes on timeline {}: somebody else promoted it, and it is followed", sample.timeline);
        plan.evidence.push(line.clone());
        plan.warnings.push(line);
        let mut chosen = Candidate::chosen_before(server, began, loss, false);
        chosen.unseen = unseen;
        plan.chosen = Some(chosen);
        plan.committed = Some(server);
        plan.timeline = Some(sample.timeline);
        plan.times.promoted = Some(fx.now);
        plan.phase = Phase::VerifyData;
    }

    fn promoted(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let Some(plan) = &mut self.run.plan else { return };
        match outcome {
            Ok(Report::Promoted { timeline, .. }) => {
                plan.timeline = Some(timeline);
                plan.times.promoted = Some(fx.now);
                plan.phase = Phase::VerifyData;
            }
            // A request before this one may still take effect: this server and no other may be asked again.
            Err(failure) if failure.had_no_effect() && plan.committed.is_some() => {
                let why = format!("promote: {}", failure.message);
                note_once(&mut plan.warnings, why.clone());
                plan.phase = Phase::FindOut;
                plan.try_again(fx.now, why);
            }
            // Proven to have had no effect: the only failure after which another one may be tried (rules 37, 47).
            Err(failure) if failure.had_no_effect() => {
                if let Some(chosen) = plan.chosen.take() {
                    if failure.kind == FailureKind::NoEffect {
                        plan.unreached.push(chosen.server);
                    }
                    plan.refused.push((chosen.server, failure.message));
                }
                // Who is asked next has to have the whole log as well.
                plan.phase = if plan.hands_over() { Phase::Receipt } else { Phase::Choose };
            }
            outcome => {
                if let Err(failure) = outcome {
                    let remedy = if failure.remedy.is_empty() { String::new() } else { format!(" ({})", failure.remedy) };
                    note_once(&mut plan.warnings, format!("promote: {}{remedy}", failure.message));
                }
                plan.committed = plan.chosen.map(|chosen| chosen.server);
                plan.phase = Phase::FindOut;
                plan.retry_at = None;
            }
        }
    }

    /// The proof of the fence right before the promotion.
    fn proven_again(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let promoted = self.writes_meanwhile(&[], fx.now);
        let Some(plan) = &mut self.run.plan else { return };
        match outcome {
            Ok(Report::Fence(report)) if report.level >= plan.require => {
                plan.proved_at = Some(fx.now);
                plan.assert_fenced();
                if promoted.is_some() {
                    plan.chosen = None;
                    plan.phase = Phase::Choose;
                } else {
                    plan.phase = Phase::Promote;
                }
            }
            // Something runs there again, or nobody can say: the ladder is climbed once more.
            Ok(_) => plan.phase = Phase::Fence,
            Err(failure) => {
                note_once(&mut plan.warnings, format!("prove_fence: {}", failure.message));
                plan.phase = Phase::Fence;
            }
        }
        if plan.phase == Phase::Fence {
            plan.chosen = None;
            plan.try_again(fx.now, "the fence could not be proven again right before the promotion");
        }
    }

    fn found_out(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let settings = self.settings();
        let Some(plan) = &mut self.run.plan else { return };
        match outcome {
            Ok(Report::Role { in_recovery: false, timeline, system_id })
                if timeline > plan.old_timeline && system_id == plan.system_id =>
            {
                plan.timeline = Some(timeline);
                plan.times.promoted = Some(fx.now);
                plan.phase = Phase::VerifyData;
            }
            // The engine that was to ask for it ended; this server and no other may be asked again, behind a fresh fence.
            Ok(Report::Role { in_recovery: true, system_id, .. }) if plan.resumed && system_id == plan.system_id => {
                plan.waiver.to = plan.committed;
                plan.phase = if plan.hands_over() { Phase::Receipt } else { Plan::after_pre_checks(settings) };
            }
            Ok(_) => plan.try_again(fx.now, "whether the promotion took effect is not known: the server is still in recovery"),
            Err(failure) => {
                note_once(&mut plan.warnings, format!("find_out: {}", failure.message));
                plan.try_again(fx.now, format!("whether the promotion took effect is not known: {}", failure.message));
            }
        }
    }

    fn written(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let settings = self.settings();
        let open = self.model.postgres.on_no_sync_standby == OnNoSyncStandby::Async;
        let Some(plan) = &mut self.run.plan else { return };
        match outcome {
            Ok(Report::Written { commits, flush, .. }) => {
                if let Some((chosen, had)) = plan.went_back(flush) {
                    self.chosen_went_back(chosen, had, flush, fx);
                    return;
                }
                plan.times.written.get_or_insert(fx.now);
                if !commits && open && !plan.gate_opened {
                    plan.phase = Phase::OpenSyncGate;
                    return;
                }
                if !commits {
                    plan.warnings.push("ordinary commits wait for a synchronous standby (on_no_sync_standby)".into());
                }
                plan.phase = Plan::after_write(settings);
            }
            Ok(_) => plan.try_again(fx.now, "verify_data: an answer of another kind came"),
            Err(failure) => {
                note_once(&mut plan.warnings, format!("verify_data: {}", failure.message));
                plan.try_again(fx.now, format!("verify_data: {}", failure.message));
            }
        }
    }

    fn chosen_went_back(&mut self, chosen: ServerId, had: Lsn, flush: Lsn, fx: &mut Effects) {
        let why = format!(
            "{} writes at {flush}, and it had replayed the log up to {had} when it was chosen: this is not the data that was chosen; it gets no \
             traffic",
            self.server_name(chosen)
        );
        self.finish(End::Stuck { why }, fx);
    }

    fn route_entered(&mut self, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let (kind, settings) = (self.kind(), self.settings());
        let Some(plan) = &mut self.run.plan else { return };
        let failed: Vec<String> = match outcome {
            Ok(Report::Route(instances)) => {
                let failed: Vec<String> = instances.iter().filter_map(RouteInstance::failure).collect();
                if failed.len() < instances.len() {
                    plan.route_in_part = !failed.is_empty();
                    plan.times.routed = Some(fx.now);
                    for why in failed {
                        note_once(&mut plan.warnings, format!("route_in: {why}"));
                    }
                    if let Some(why) = plan.stays.clone() {
                        plan.taken_over();
                        self.finish(End::Stuck { why }, fx);
                        return;
                    }
                    plan.phase = Plan::after_route(settings);
                    if plan.phase == Phase::Over {
                        kind.entered(plan);
                    }
                    return;
                }
                failed
            }
            Ok(_) => vec!["the route answered with something else".into()],
            Err(failure) => vec![failure.message],
        };
        let failed = failed.join("; ");
        note_once(&mut plan.warnings, format!("route_in: {failed}"));
        if kind.enters_elsewhere(self, &format!("no instance of the route could send it the traffic: {failed}"), fx) {
            return;
        }
        if let Some(plan) = &mut self.run.plan {
            plan.try_again(fx.now, format!("route_in: {failed}"));
        }
    }

    /// Stops before the point of no return and undoes what was done, in reverse order.
    pub(super) fn undo(&mut self, why: String, fx: &mut Effects) {
        let Some(plan) = &mut self.run.plan else { return };
        if plan.undoing.is_some() {
            return;
        }
        if plan.committed.is_some() {
            // A promotion was begun, by this engine or an earlier one: it may still take effect, so nothing may be given back to the old
            // primary.
            self.finish(End::Stuck { why }, fx);
            return;
        }
        assert!(plan.committed.is_none(), "failover {} is undone, and a promotion may have begun", plan.generation);
        plan.turn_round(why.clone(), fx.now);
        fx.emit(
            EventKind::FailoverFailed,
            Severity::Alarm,
            self.about(),
            format!("{}: failover {} stops{}: {why}", self.model.name, self.durable.generation, self.kind().stops_before()),
            vec![("why", text(why)), ("promoted", Field::Bool(false))],
        );
    }

    /// The old primary answered a question that was asked after the decision, and nothing has touched it yet: it is left alone.
    pub(super) fn stop_before_the_fence(&mut self, server: ServerId, asked: Mono, how: &str, fx: &mut Effects) {
        let name = self.server_name(server);
        let Some(plan) = &mut self.run.plan else { return };
        if plan.old != server
            || !plan.is_untouched(asked)
            || !plan.kind.holds_data()
            || plan.reason.is_ordered()
            || asked < plan.times.confirmed
        {
            return;
        }
        plan.lives = true;
        if let Some((id, action, _)) = plan.action.take() {
            fx.push(Output::CancelAction(id));
            let why = format!("{name} answers again");
            self.step_ended(&action, &Err(Failure { kind: FailureKind::Cancelled, message: why, remedy: String::new() }), fx);
        }
        self.undo(format!("{name} answers again: {how}, and it is not fenced yet"), fx);
        self.drive(fx);
    }

    pub(super) fn finish(&mut self, end: End, fx: &mut Effects) {
        let Some(mut plan) = self.run.plan.take() else { return };
        assert!(
            plan.generation <= self.durable.generation,
            "failover {} ends after {} began",
            plan.generation,
            self.durable.generation
        );
        plan.times.ended = Some(fx.now);
        plan.action = None;
        let generation = plan.generation;
        let left = matches!(end, End::Left { .. });
        let (how, why) = match &end {
            End::Completed => (EndedHow::Completed, String::new()),
            End::Undone { why, left } if was_only_stopped(&plan, left) => (EndedHow::Stopped, why.clone()),
            End::Undone { why, .. } => (EndedHow::RolledBack, why.clone()),
            End::Stuck { why } | End::Left { why } => (EndedHow::ManualIntervention, why.clone()),
        };
        if plan.times.promoted.is_some() {
            // What it said before that is over, however silent it has been since.
            self.servers[usize::from(plan.old.0)].fenced_at = plan.times.fenced;
            self.take_over(&plan, fx);
        }
        self.durable.stats.ended(&plan, how);
        // To follow another service says nothing about this one.
        if plan.reason != Reason::Followed {
            self.durable.last_ended = Some(Mark { at: fx.now, lead: Span::ZERO });
        }
        self.run.last_failover = Some(LastFailover { plan: plan.clone(), how, why: why.clone() });
        self.server_ids().for_each(|server| self.look_again(server, fx));
        // Who is primary now, before the end of the failover: an engine that dies between the two looks again.
        self.journal_facts(fx);
        fx.push(Output::Journal(Record::Ended { service: self.id, generation, how }));
        match end {
            End::Completed => self.completed(&plan, fx),
            End::Undone { why, left } => self.undone(&plan, why, &left, fx),
            End::Stuck { why } | End::Left { why } => {
                let when = if left { "before it promoted anybody" } else { self.kind().stuck() };
                fx.emit(
                    EventKind::FailoverFailed,
                    Severity::Alarm,
                    self.about(),
                    format!("{}: failover {generation} stops {when}: {why}", self.model.name),
                    vec![
                        ("why", text(&why)),
                        ("promoted", Field::Bool(plan.times.promoted.is_some())),
                        ("warnings", texts(plan.warnings.clone())),
                    ],
                );
                let mut evidence = plan.evidence.clone();
                evidence.extend(plan.warnings.iter().cloned());
                self.call_a_person(why, evidence, fx);
            }
        }
        if how != EndedHow::Stopped && plan.judgement.need == Need::FalsePositive {
            self.tell_false_positive(fx);
        }
    }

    /// The promoted server is the primary from here on, whatever else went wrong.
    fn take_over(&mut self, plan: &Plan, fx: &mut Effects) {
        let Some(chosen) = plan.chosen else { return };
        self.durable.primary = Some(chosen.server);
        self.begin_ramp(chosen.server, fx.now);
        (self.asked_route, self.asked_last) = (None, Vec::new());
        self.durable.cluster.position = plan.timeline.map(|timeline| (timeline, chosen.position));
        self.log = None;
        self.detection.log_end = None;
        self.detection.suspicion = None;
        self.trouble.bad = None;
        self.trouble.failing = None;
        self.detection.window.clear();
        // To follow another service says nothing about this one: it may fail over by itself at once.
        if plan.reason != Reason::Followed {
            self.durable.cooldown_from = Some(Mark { at: fx.now, lead: Span::ZERO });
        }
        self.servers[usize::from(plan.old.0)].deposed = true;
        self.servers[usize::from(plan.old.0)].announced = None;
        self.servers[usize::from(chosen.server.0)].deposed = false;
        self.durable.cluster.deposed.remove(&plan.old);
        self.kind().deposed(self, plan);
        self.durable.cluster.deposed.remove(&chosen.server);
        self.durable.cluster.synchronous.clear();
        for state in &mut self.servers {
            state.streamed_at = None;
        }
        let proven_before = plan.resumed && plan.fence.is_none() && plan.require == FenceLevel::ProvenStopped;
        let handed_over = plan.handover.as_ref().is_some_and(|handover| handover.proven);
        if proven_before || handed_over || plan.fence_level() == FenceLevel::ProvenStopped {
            self.prove_later(plan.old, fx.now);
        }
    }

    fn completed(&mut self, plan: &Plan, fx: &mut Effects) {
        let Some(chosen) = plan.chosen else { return };
        let new = self.server_name(chosen.server);
        self.become_state(State::FailedOver, format!("{new} is the primary"), fx);
        self.names_follow(fx.now);
        let times = plan.times;
        let end = times.verified.or(times.routed).or(times.written).unwrap_or(fx.now);
        self.kind().completed(self, plan, &chosen, end, fx);
    }

    /// Says that a standby was promoted and has the traffic.
    pub(crate) fn tell_promoted(&self, plan: &Plan, chosen: &Candidate, end: Mono, fx: &mut Effects) {
        let (old, new) = (self.server_name(plan.old), self.server_name(chosen.server));
        let times = plan.times;
        let unseen = self.settings().verify && times.verified.is_none();
        fx.emit(
            EventKind::FailoverCompleted,
            Severity::Warning,
            self.about_server(chosen.server),
            format!(
                "{}: {new} has taken over from {old} within {} of the {}; {}{}",
                self.model.name,
                plan.since_first_bad(end),
                if plan.hands_over() { "order" } else { "first bad sign" },
                chosen.loss_sentence(),
                if unseen { "; who answers through the route was not seen: clients have taken every place" } else { "" }
            ),
            completed_fields(plan, chosen, old, new, fx.now),
        );
    }

    fn undone(&mut self, plan: &Plan, why: String, left: &[String], fx: &mut Effects) {
        let name = self.model.name.clone();
        let (severity, message) = if left.is_empty() {
            (Severity::Warning, format!("{name}: what failover {} had changed is undone", plan.generation))
        } else {
            (Severity::Alarm, format!("{name}: not everything could be undone: {}", left.join("; ")))
        };
        fx.emit(
            EventKind::RolledBack,
            severity,
            self.about(),
            message,
            vec![("why", text(&why)), ("left", texts(left.to_vec()))],
        );
        if plan.is_started_again() {
            // That it did not answer meanwhile was our own doing.
            self.detection.window.clear();
            (self.detection.log_end, self.trouble.failing, self.trouble.bad) = (None, None, None);
        }
        if was_only_stopped(plan, left) || plan.lives && left.is_empty() {
            self.become_state(State::Degraded, why, fx);
        } else {
            let mut evidence = plan.evidence.clone();
            evidence.extend(plan.warnings.iter().cloned());
            if plan.fence_level() >= FenceLevel::ProvenStopped && !plan.is_started_again() {
                evidence.push(format!(
                    "{} was stopped by the fence and stays stopped: start it, or reset",
                    self.server_name(plan.old)
                ));
            }
            self.call_a_person(why, evidence, fx);
        }
    }
}

/// Nobody is there who could acknowledge commits, and they go on without.
const GATE_OPENED: &str = "synchronous_standby_names was emptied, because no standby could acknowledge commits: they wait for nobody until you \
                           set it again, once standbys follow the new primary";

fn completed_fields(plan: &Plan, chosen: &Candidate, old: String, new: String, now: Mono) -> Vec<(&'static str, Field)> {
    let times = plan.times;
    let span = |from: Option<Mono>, to: Option<Mono>| match (from, to) {
        (Some(from), Some(to)) => Field::Span(to.since(from)),
        _ => Field::Text(String::new()),
    };
    let end = times.verified.or(times.routed).or(times.written).unwrap_or(now);
    let mut fields = vec![
        ("old_primary", text(old)),
        ("new_primary", text(new)),
        ("class", text(plan.reason.word())),
        ("detected_at_ns", Field::Int(times.detected.as_nanos())),
        ("confirm_ms", Field::Span(times.confirmed.since(times.detected))),
        ("fence_ms", span(Some(times.confirmed), times.fenced)),
        ("promote_ms", span(times.fenced, times.promoted)),
        ("write_ms", span(times.promoted, times.written)),
        ("route_ms", span(times.written, times.routed)),
        ("verify_ms", span(times.routed.or(times.written), times.verified)),
        ("total_ms", Field::Span(plan.since_first_bad(end))),
        ("timeline", Field::Int(u64::from(plan.timeline.unwrap_or_default()))),
        ("fence_level", Field::Int(u64::from(plan.fence_level().number()))),
        ("position", text(chosen.position.to_string())),
        ("holds_acknowledged", Field::Bool(chosen.holds_acknowledged)),
        ("sync_gate_opened", Field::Bool(plan.gate_opened)),
        ("warnings", texts(plan.warnings.clone())),
        ("evidence", texts(plan.evidence.clone())),
    ];
    if let Some(loss) = chosen.recorded_loss() {
        fields.push(("loss_bytes", Field::Int(loss)));
        fields.push(("loss_exact", Field::Bool(chosen.exact)));
    }
    fields
}

/// One line about a candidate.
pub(super) fn describe(candidate: &Candidate) -> String {
    let held = if candidate.held { " and its replay does not move" } else { "" };
    format!("position {}, {} bytes to replay{held}, {}", candidate.position, candidate.to_replay, candidate.loss_sentence())
}

fn failure_word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::NoEffect => "no_effect",
        FailureKind::Refused => "refused",
        FailureKind::Unknown => "unknown",
        FailureKind::TimedOut => "timed_out",
        FailureKind::Cancelled => "cancelled",
    }
}

pub(super) fn note_once(list: &mut Vec<String>, line: String) {
    if list.len() < 64 && !list.contains(&line) {
        list.push(line);
    }
}

/// A compensation is done, or given up: what did not work is noted then, and tried again before.
fn compensated(plan: &mut Plan, action: &Action, outcome: Result<Report, Failure>, now: Mono) -> bool {
    let refused = outcome.as_ref().is_err_and(|failure| failure.kind == FailureKind::Refused);
    let failed: Vec<String> = match outcome {
        Ok(Report::Route(instances)) => {
            instances.iter().filter_map(RouteInstance::failure).map(|failure| format!("{} on {failure}", action.name())).collect()
        }
        Ok(_) => Vec::new(),
        Err(failure) => vec![format!("{}: {}", action.name(), failure.message)],
    };
    if !failed.is_empty() && !refused && !plan.stop_asked && now < plan.undo_until {
        plan.try_again(now, failed.join("; "));
        return false;
    }
    plan.undo_failures.extend(failed);
    true
}

/// How long the old primary went on: whatever it looked like, it may have gone on, or woken up, until its fence was proven (rule 85). One
/// that was found dead, with nobody left to end, acknowledged nothing after that was seen.
fn ended(plan: &Plan) -> Ended {
    let (lived, proven) = (plan.times.lived, plan.times.fenced.unwrap_or(plan.times.confirmed));
    // Where no ladder was climbed, its host's word is all there is.
    let nobody = fence_found_nothing(plan) || (plan.nobody_left && plan.fence_level() < FenceLevel::ProvenStopped);
    let stayed_so = plan.reason.is(FailureClass::Unusable) || nobody;
    plan.ended.filter(|_| stayed_so).map_or(Ended::fenced(lived, proven), |ended| Ended::gone(lived, ended))
}

/// The ladder was climbed, and there was no process to stop.
fn fence_found_nothing(plan: &Plan) -> bool {
    plan.fence.as_ref().is_some_and(|report| {
        report.level == FenceLevel::ProvenStopped
            && report.rungs.iter().all(|rung| matches!(rung.name, RungName::Guard | RungName::Proof))
    })
}

/// Undone without a trace because the engine stops, or because the primary lived when it came back, or lived all the time: the failure may
/// be decided afresh, by the next engine or by this one.
fn was_only_stopped(plan: &Plan, left: &[String]) -> bool {
    let untouched = plan.resumed && plan.fence.is_none() || plan.lives && !plan.fence_tried;
    plan.is_handed_back(left) || left.is_empty() && (plan.stop_asked || untouched)
}
