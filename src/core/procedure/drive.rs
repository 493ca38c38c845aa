//! The driver of every procedure: from each outcome to the next action, to the end, or back.

use super::{Next, OnStop, Outcome, Phase, Procedure};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Fact, Field, Severity};
use crate::output::{Action, Failure, FailureKind, Output, Record, Report};
use crate::plan::End;
use crate::sample::RouteInstance;
use crate::service::Service;
use crate::time::Span;

/// An action that is this late is given up: the executor has stopped answering.
pub(crate) const LATE: Span = Span::from_millis(1_000);

/// Where a run is after one pass.
enum Pass<P> {
    /// Something changed: look again.
    On(P),
    /// There is nothing to do until the next input.
    Rests(P),
    Ended,
}

impl Service {
    /// Moves the run on as far as it goes without a new outcome.
    pub(crate) fn drive<P: Procedure>(&mut self, fx: &mut Effects) {
        // Bounded: every pass either starts an action, waits, or moves to a later step.
        for _ in 0..16 {
            let Some(run) = P::slot(self).take() else { return };
            match self.drive_once(run, fx) {
                Pass::On(run) => *P::slot(self) = Some(run),
                Pass::Rests(run) => {
                    *P::slot(self) = Some(run);
                    return;
                }
                Pass::Ended => return,
            }
        }
    }

    fn drive_once<P: Procedure>(&mut self, mut run: P, fx: &mut Effects) -> Pass<P> {
        let (table, course) = (run.table(), run.course_mut());
        if course.phase == P::Phase::OVER {
            // Done or undone: no stop and no time-out turns that round any more.
            let end = match course.undoing.clone() {
                Some(why) => End::Undone { why, left: course.undo_failures.clone() },
                None => End::Completed,
            };
            return self.go(run, Next::End(end), fx);
        }
        let (past, goes_on) = (table.is_past_no_return(course.phase), table.goes_on(course.phase));
        let undoing = course.undoing.is_some();
        let over = fx.now >= course.deadline && !undoing;
        let stops = course.stop_asked && !undoing && !goes_on;
        if stops && table.on_stop != OnStop::Undone {
            // The next engine takes it up where the durable state says.
            if let Some((id, ..)) = course.action.take() {
                fx.push(Output::CancelAction(id));
            }
            return Pass::Ended;
        }
        if let Some((id, action, deadline)) = course.action.clone() {
            let timed_out = over && !past;
            if fx.now < deadline + LATE && !timed_out && !stops {
                return Pass::Rests(run);
            }
            fx.push(Output::CancelAction(id));
            course.action = None;
            let why = if stops { "the engine is stopping" } else { "the deadline passed" };
            self.step_ended(&mut run, &action, &Err(Failure::timed_out(why, "")), fx);
            return self.judge(run, Err(Failure::timed_out(why, "")), fx);
        }
        if course.stop_asked && goes_on && !undoing && course.retry_at.is_some() {
            // Behind the promotion a stopping engine goes on while it gets on, and tries nothing a second time.
            if !past {
                return self.go(run, Next::Undo("the engine is stopping".into()), fx);
            }
            let why = format!("the engine is stopping; what was tried last did not work: {}", course.warnings.join("; "));
            return self.go(run, Next::End(End::Stuck { why }), fx);
        }
        if course.retry_at.is_some_and(|at| fx.now < at) && !over && !stops {
            run.waits(self, fx);
            return Pass::Rests(run);
        }
        course.retry_at = None;
        if over {
            let next = self.out_of_time(&mut run, past, fx);
            return self.go(run, next, fx);
        }
        if stops {
            return self.go(run, Next::Undo("the engine is stopping".into()), fx);
        }
        self.take_step(run, fx)
    }

    fn out_of_time<P: Procedure>(&mut self, run: &mut P, past: bool, fx: &mut Effects) -> Next<P::Phase> {
        let mut why = format!("{} passed", run.limit(self));
        if let Some(repeat) = run.course().repeated() {
            why = format!("{}; tried {} times until {why}", repeat.why, repeat.tries);
        }
        if past { Next::End(End::Stuck { why }) } else { run.out_of_time(self, why, fx) }
    }

    /// The present step, or compensation, is begun.
    fn take_step<P: Procedure>(&mut self, mut run: P, fx: &mut Effects) -> Pass<P> {
        let (table, phase) = (run.table(), run.course().phase);
        let hindered = run.hindered(self);
        if !hindered {
            run.enters(self, fx);
        }
        let (action, without) = match (table.step(phase), table.compensation(phase)) {
            (Some(step), _) => ((step.action)(self, &run), step.without),
            (None, Some(undo)) => ((undo.action)(self, &run), super::nothing as _),
            (None, None) => (None, super::nothing as _),
        };
        let Some((action, span)) = action.filter(|_| !hindered) else {
            let next = without(self, &mut run, fx);
            return self.go(run, next, fx);
        };
        self.begin_step(&mut run, action, span, fx);
        Pass::Rests(run)
    }

    fn begin_step<P: Procedure>(&mut self, run: &mut P, action: Action, span: Span, fx: &mut Effects) {
        let id = fx.action();
        let target = action.server().map_or_else(String::new, |server| self.server_name(server));
        let (table, course) = (run.table(), run.course());
        let (phase, undoing) = (course.phase, course.undoing.is_some());
        let past = table.is_past_no_return(phase);
        let mut deadline = fx.now + span;
        if !undoing {
            deadline = deadline.min(course.deadline.max(fx.now + Span::from_millis(1)));
        }
        run.begins(&action, fx.now);
        // From here on the next engine has to know whom.
        let chosen = run.names_chosen(&action);
        let course = run.course_mut();
        // Told is the first of equal tries.
        let is_told = course.is_retry(action.server());
        let generation = course.generation;
        course.action = Some((id, action.clone(), deadline));
        course.slept = false;
        if !run.is_recorded() {
            fx.push(Output::RunAction { id, service: self.id, generation, action, deadline });
            return;
        }
        if !is_told {
            self.tell_step(&action, &target, undoing, past, table.no_return == Some(phase), fx);
        }
        fx.push(Output::Journal(Record::StepBegun { service: self.id, generation, step: action.step(), target, chosen }));
        fx.push(Output::RunAction { id, service: self.id, generation, action, deadline });
    }

    fn tell_step(&self, action: &Action, target: &str, undoing: bool, past: bool, turn: bool, fx: &mut Effects) {
        if turn {
            fx.emit(
                EventKind::PointOfNoReturn,
                Severity::Warning,
                self.about(),
                format!("{}: {target} is promoted; from here on nothing is undone", self.model.name),
                vec![("target", text(target))],
            );
        }
        fx.emit_fact(
            Severity::Info,
            self.about(),
            if target.is_empty() { action.name().to_owned() } else { format!("{} {target}", action.name()) },
            Fact::StepStarted { step: action.step(), target: target.to_owned(), undoing, past_no_return: past },
            Vec::new(),
        );
    }

    /// An action of the run is back.
    pub(crate) fn action_finished<P: Procedure>(&mut self, outcome: Outcome, fx: &mut Effects) {
        let Some(mut run) = P::slot(self).take() else { return };
        let Some((_, action, _)) = run.course_mut().action.take() else {
            *P::slot(self) = Some(run);
            return;
        };
        self.step_ended(&mut run, &action, &outcome, fx);
        let again = if outcome.is_ok() { run.look_again(&action) } else { None };
        let pass = match again {
            Some(phase) => self.go(run, Next::To(phase), fx),
            None => self.judge(run, outcome, fx),
        };
        if let Pass::On(run) | Pass::Rests(run) = pass {
            *P::slot(self) = Some(run);
        }
        self.drive::<P>(fx);
    }

    fn step_ended<P: Procedure>(&mut self, run: &mut P, action: &Action, outcome: &Outcome, fx: &mut Effects) {
        let target = action.server().map_or_else(String::new, |server| self.server_name(server));
        let (ok, message, more) = match outcome {
            Ok(report) => self.describe_report(report, run.required_fence()),
            Err(failure) => {
                let message = if failure.remedy.is_empty() {
                    failure.message.clone()
                } else {
                    format!("{}; {}", failure.message, failure.remedy)
                };
                let more = vec![("failure", text(failure_word(failure.kind))), ("remedy", text(&failure.remedy))];
                (false, message, more)
            }
        };
        let is_recorded = run.is_recorded();
        let course = run.course_mut();
        let (generation, news) = (course.generation, course.is_news(action.server(), ok, &message));
        if !is_recorded {
            if news {
                self.tell_beside(action, ok, message, fx);
            }
            return;
        }
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
        fx.emit_fact(
            if ok { Severity::Info } else { Severity::Warning },
            self.about(),
            format!("{}{}{target}: {message}", action.name(), if target.is_empty() { "" } else { " " }),
            Fact::StepFinished { step: action.step(), target, ok, detail: message },
            more,
        );
    }

    /// A step of what goes on beside failovers.
    fn tell_beside(&self, action: &Action, ok: bool, message: String, fx: &mut Effects) {
        let target = action.server().map_or_else(String::new, |server| self.server_name(server));
        fx.emit(
            EventKind::RejoinStep,
            if ok { Severity::Info } else { Severity::Warning },
            self.about(),
            format!("{} {target}: {message}", action.name()),
            vec![("step", text(action.name())), ("target", text(target)), ("ok", Field::Bool(ok)), ("detail", text(message))],
        );
    }

    /// What the outcome of the present step means.
    fn judge<P: Procedure>(&mut self, mut run: P, outcome: Outcome, fx: &mut Effects) -> Pass<P> {
        let (table, phase) = (run.table(), run.course().phase);
        let judge = table.step(phase).map(|step| step.outcome).or_else(|| table.compensation(phase).map(|undo| undo.outcome));
        let next = match judge {
            Some(judge) => judge(self, &mut run, outcome, fx),
            None => Next::To(phase),
        };
        self.go(run, next, fx)
    }

    /// Puts the run where it goes on.
    fn go<P: Procedure>(&mut self, mut run: P, next: Next<P::Phase>, fx: &mut Effects) -> Pass<P> {
        let (table, phase) = (run.table(), run.course().phase);
        match next {
            Next::Onward if run.course().undoing.is_some() => run.course_mut().phase = table.owed(&run, Some(phase)),
            Next::Onward => {
                let after = table.at(phase).map_or(usize::MAX, |at| at + 1);
                run.course_mut().phase = table.taken_from(after, self, &run, fx.now);
            }
            Next::To(phase) => run.course_mut().phase = phase,
            Next::From(phase) => {
                let at = table.at(phase).unwrap_or(usize::MAX);
                run.course_mut().phase = table.taken_from(at, self, &run, fx.now);
            }
            Next::At(phase, at) => {
                let course = run.course_mut();
                (course.phase, course.retry_at) = (phase, Some(at));
            }
            Next::Again(phase, why) => run.course_mut().try_again(phase, why, table.pause(phase), fx.now),
            Next::Undo(why) => {
                if let Some(end) = self.turn_round(&mut run, why, fx) {
                    run.ended(self, end, fx);
                    return Pass::Ended;
                }
            }
            Next::End(end) => {
                run.ended(self, end, fx);
                return Pass::Ended;
            }
        }
        Pass::On(run)
    }

    /// Stops before the point of no return and undoes what was done, in reverse order; or says how it ends instead.
    pub(crate) fn turn_round<P: Procedure>(&mut self, run: &mut P, why: String, fx: &mut Effects) -> Option<End> {
        if run.course().undoing.is_some() {
            return None;
        }
        if !run.may_turn_round() {
            return Some(End::Stuck { why });
        }
        let first = run.table().owed(run, None);
        run.course_mut().turn_round(why.clone(), first, fx.now);
        run.turns_round(self, &why, fx);
        None
    }

    /// What is under way is given up for a reason of its own, and undone.
    pub(crate) fn give_up<P: Procedure>(&mut self, failure: Failure, why: String, fx: &mut Effects) {
        let Some(mut run) = P::slot(self).take() else { return };
        if let Some((id, action, _)) = run.course_mut().action.take() {
            fx.push(Output::CancelAction(id));
            self.step_ended(&mut run, &action, &Err(failure), fx);
        }
        if let Pass::On(run) = self.go(run, Next::Undo(why), fx) {
            *P::slot(self) = Some(run);
        }
        self.drive::<P>(fx);
    }
}

/// A compensation is done, or given up: what did not work is noted then, and tried again before.
pub(crate) fn compensated<P: Procedure>(
    service: &mut Service,
    run: &mut P,
    outcome: Outcome,
    fx: &mut Effects,
) -> Next<P::Phase> {
    let undo = run.table().compensation(run.course().phase);
    let action = undo.and_then(|undo| (undo.action)(service, run));
    let name = action.map_or("undo", |(action, _)| action.name());
    let course = run.course_mut();
    let refused = outcome.as_ref().is_err_and(|failure| failure.kind == FailureKind::Refused);
    let failed: Vec<String> = match outcome {
        Ok(Report::Route(instances)) => {
            instances.iter().filter_map(RouteInstance::failure).map(|failure| format!("{name} on {failure}")).collect()
        }
        Ok(_) => Vec::new(),
        Err(failure) => vec![format!("{name}: {}", failure.message)],
    };
    if !failed.is_empty() && !refused && !course.stop_asked && fx.now < course.undo_until {
        return Next::Again(course.phase, failed.join("; "));
    }
    course.undo_failures.extend(failed);
    Next::Onward
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
