//! A service that follows another one: an application and its database. When the other one has a new primary, a command re-points
//! what has to know of it, and the traffic goes to the server that belongs beside it, in this order. The two triggers stay apart;
//! but while the other service is in trouble, the failures that it causes here are no reason to move anything.

use serde::{Deserialize, Serialize};

use super::gate::Act;
use super::{Service, Surroundings};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Fact, Severity};
use crate::health::Health;
use crate::id::{Generation, ServerId};
use crate::model::FollowModel;
use crate::output::{Action, EndedHow, Failure, Report, Step};
use crate::procedure::task::Task;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::time::{Mono, Span};
use crate::trigger::State;

/// The first pause between two tries; it doubles.
const PAUSE: Span = Span::from_millis(1_000);
/// The longest.
const LONGEST_PAUSE: Span = Span::from_millis(60_000);
/// How often it is looked again whether what stands in the way is gone.
const LOOK_AGAIN: Span = Span::from_millis(1_000);

/// How far a service is with following another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Follow {
    /// The one that is being followed.
    pub(crate) target: Option<Target>,
    /// A first bad sign was seen here: the other service is to be asked what it answers now.
    pub(crate) ask: bool,
}

/// A primary of the other service that is being followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) server: ServerId,
    /// The other service's failover that made it one.
    pub(crate) generation: Generation,
    next: Mono,
    tries: u32,
    /// The command has done its work, or there is none.
    commanded: bool,
    /// This service's last failover before the switch.
    own: Generation,
    /// The switch was begun for this.
    switching: bool,
    /// Why the last try did not work.
    pub(crate) why: Option<String>,
}

/// What a service that follows has to know of the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    primary: Option<ServerId>,
    generation: Generation,
    /// No failover of it is under way.
    at_rest: bool,
    troubled: bool,
    /// Every check of its primary has been asked since then.
    asked_since: Mono,
    /// So long an answer may take.
    patience: Span,
}

impl Followed {
    /// The same, only its checks have answered again.
    pub(crate) fn is_but_for_answers(&self, after: &Followed) -> bool {
        Followed { asked_since: after.asked_since, ..*self } == *after
    }
}

impl Service {
    /// What a service that follows this one has to know.
    pub(crate) fn as_followed(&self) -> Followed {
        let subject = self.subject();
        let of_subject =
            || self.model.checks.iter().zip(&self.checks).filter(move |(model, _)| Some(ServerId(model.server)) == subject);
        let unwell = subject.is_some_and(|server| matches!(self.server_health(server), Health::Degraded | Health::Unhealthy));
        let under_way = self.run.plan.is_some() || self.run.begun.is_some();
        Followed {
            primary: self.durable.primary.filter(|_| self.primary_seen),
            generation: self.durable.generation,
            at_rest: !under_way && !self.two_primaries,
            troubled: under_way
                || unwell
                || self.detection.suspicion.is_some()
                || matches!(self.state, State::Failing | State::FailoverInProgress),
            asked_since: of_subject()
                .map(|(_, check)| check.last.as_ref().map_or(Mono::ZERO, |(_, finding)| finding.began))
                .min()
                .unwrap_or(Mono::NEVER),
            patience: of_subject().map(|(model, _)| model.timeout).max().unwrap_or_default() + LOOK_AGAIN,
        }
    }

    /// Failures here may be the other service's: nothing is moved because of them while it is in trouble, or not yet followed, for
    /// no longer than `hold`.
    pub(crate) fn dependency_holds(&self, around: Surroundings, now: Mono) -> Result<(), Refusal> {
        let (Some(model), Some(other), Some(suspicion)) = (&self.model.follows, around.followed, &self.detection.suspicion)
        else {
            return Ok(());
        };
        let age = now.since(self.trouble.bad.unwrap_or(suspicion.since));
        if age >= model.hold {
            return Ok(());
        }
        let unfollowed =
            self.background.follow.target.is_some() || self.durable.followed.is_some() && other.primary != self.durable.followed;
        if other.troubled || unfollowed {
            return Err(Refusal::DependencyFailing { service: model.name.clone(), left: model.hold - age });
        }
        if other.asked_since < suspicion.since && age < other.patience {
            return Err(Refusal::EvidenceIncomplete { waiting_for: "what the service that it follows answers now" });
        }
        Ok(())
    }

    /// Follows the other service as far as it goes now.
    pub(super) fn follow(&mut self, around: Surroundings, fx: &mut Effects) {
        let Some(other) = around.followed else { return };
        let Some(primary) = other.primary.filter(|_| other.at_rest) else { return };
        if !self.may(Act::Follow, around, fx.now) {
            return;
        }
        let Some(followed) = self.durable.followed else {
            // At first contact what is there is taken for wanted.
            self.durable.followed = Some(primary);
            self.journal_facts(fx);
            return;
        };
        if self.background.follow.target.as_ref().is_none_or(|target| target.server != primary) {
            self.give_up_following(fx);
            if followed == primary {
                return;
            }
            self.begin_following(primary, other.generation, fx);
        }
        self.go_on_following(around, fx);
    }

    fn begin_following(&mut self, primary: ServerId, generation: Generation, fx: &mut Effects) {
        let Some(model) = &self.model.follows else { return };
        let (service, name) = (model.name.clone(), model.server_name(primary));
        self.background.follow.target = Some(Target {
            server: primary,
            generation,
            next: fx.now,
            tries: 0,
            commanded: !model.command,
            own: self.durable.generation,
            switching: false,
            why: None,
        });
        fx.emit(
            EventKind::EvidenceGathered,
            Severity::Info,
            self.about(),
            format!("{} follows {service}: {name} is the primary there now", self.model.name),
            vec![("follows", text(service)), ("primary", text(name))],
        );
    }

    /// Another one is to be followed, or none: whatever was under way for this one is not waited for.
    fn give_up_following(&mut self, fx: &mut Effects) {
        self.background.follow.target = None;
        self.drop_tasks(|task| matches!(task, Task::Follow(_)), fx);
    }

    fn go_on_following(&mut self, around: Surroundings, fx: &mut Effects) {
        let running = self.is_at(|task| matches!(task, Task::Follow(_)));
        let generation = self.durable.generation;
        let only_stopped = self.run.last_failover.as_ref().is_some_and(|last| last.how == EndedHow::Stopped);
        let Some(target) = self.background.follow.target.as_mut().filter(|target| !running && fx.now >= target.next) else {
            return;
        };
        if !target.commanded {
            self.run_follow_command(fx);
            return;
        }
        if target.switching && only_stopped {
            target.switching = false;
            target.own = generation;
        }
        // Moved by this, or by somebody who knew better meanwhile: its own trigger, an operator.
        let moved = target.own != generation;
        let wanted = target.server;
        let beside =
            self.model.follows.as_ref().and_then(|model| model.beside(wanted)).filter(|own| self.durable.primary != Some(*own));
        match beside {
            Some(own) if !moved => self.switch_beside(own, around, fx),
            _ => self.has_followed(wanted, fx),
        }
    }

    fn run_follow_command(&mut self, fx: &mut Effects) {
        let (Some(model), Some(target)) = (&self.model.follows, &mut self.background.follow.target) else { return };
        let (timeout, name) = (model.timeout, model.server_name(target.server));
        target.tries = target.tries.saturating_add(1);
        // Until it is back; then its outcome says when again.
        target.next = fx.now + timeout + LONGEST_PAUSE;
        let server = target.server;
        fx.emit_fact(
            Severity::Info,
            self.about(),
            format!("follow {name}"),
            Fact::StepStarted { step: Step::Follow, target: name, undoing: false, past_no_return: false },
            Vec::new(),
        );
        self.begin_task(Task::Follow(server), fx);
    }

    /// The command that makes this service follow, and how long it may take.
    pub(crate) fn follow_command(&self) -> Option<(Action, Span)> {
        let (model, target) = self.model.follows.as_ref().zip(self.background.follow.target.as_ref())?;
        let (service, server, generation) = (model.service, target.server, target.generation);
        Some((Action::Follow { service, server, generation }, model.timeout))
    }

    /// The command is back.
    pub(crate) fn follow_commanded(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let outcome = match outcome {
            Ok(Report::Done { message }) => Ok(message),
            Ok(_) => Err("the action returned an answer that does not fit it".to_owned()),
            Err(failure) if failure.remedy.is_empty() => Err(failure.message),
            Err(failure) => Err(format!("{}; {}", failure.message, failure.remedy)),
        };
        let Some(target) = self.background.follow.target.as_mut().filter(|target| target.server == server) else { return };
        let tries = target.tries;
        let again = pause(tries);
        let (ok, detail) = match outcome {
            Ok(said) => {
                target.commanded = true;
                target.tries = 0;
                target.next = fx.now;
                target.why = None;
                (true, said)
            }
            Err(why) => {
                target.next = fx.now + again;
                target.why = Some(why.clone());
                (false, format!("{why}; tried again in {again}"))
            }
        };
        let name = self.model.follows.as_ref().map_or_else(String::new, |model| model.server_name(server));
        fx.emit_fact(
            severity_of_try(ok, tries),
            self.about(),
            format!("follow {name}: {detail}"),
            Fact::StepFinished { step: Step::Follow, target: name, ok, detail },
            Vec::new(),
        );
    }

    /// Sends the traffic to the server that belongs beside the new primary of the other service.
    fn switch_beside(&mut self, own: ServerId, around: Surroundings, fx: &mut Effects) {
        let before = self.durable.generation;
        let why = match self.gate(Act::Switch, around, fx.now) {
            Ok(()) => {
                let note = self.reason_to_switch();
                self.begin_ordered(Reason::Followed, Some(own), None, around, &note, fx).err()
            }
            Err(refusal) => Some(self.sentence(&refusal)),
        };
        let Some(target) = &mut self.background.follow.target else { return };
        let Some(why) = why else {
            target.switching = true;
            target.own = before;
            target.why = None;
            return;
        };
        target.tries = target.tries.saturating_add(1);
        target.next = fx.now + pause(target.tries);
        let tries = target.tries;
        target.why = Some(why.clone());
        let (follower, name) = (self.model.name.clone(), self.server_name(own));
        fx.emit(
            EventKind::FailoverRefused,
            severity_of_try(false, tries),
            self.about_server(own),
            format!("{follower}: it cannot go to {name} yet, as it should to follow: {why}"),
            vec![("refusal", text("not_followed")), ("detail", text(why))],
        );
    }

    fn reason_to_switch(&self) -> String {
        let (Some(model), Some(target)) = (&self.model.follows, &self.background.follow.target) else { return String::new() };
        format!("follows {}: {} is the primary there now", model.name, model.server_name(target.server))
    }

    fn has_followed(&mut self, server: ServerId, fx: &mut Effects) {
        self.durable.followed = Some(server);
        self.background.follow.target = None;
        self.journal_facts(fx);
        let Some(model) = &self.model.follows else { return };
        let (service, name) = (model.name.clone(), model.server_name(server));
        fx.emit(
            EventKind::EvidenceGathered,
            Severity::Info,
            self.about(),
            format!("{} has followed {service} to {name}", self.model.name),
            vec![("follows", text(service)), ("followed", text(name))],
        );
    }

    /// How far an earlier configuration was with following the same other service.
    pub(super) fn inherited_follow(&self, before: &Service, now: Mono) -> Follow {
        let same = |other: &FollowModel, own: &FollowModel| own.name == other.name && own.servers == other.servers;
        if !before.model.follows.as_ref().zip(self.model.follows.as_ref()).is_some_and(|(other, own)| same(other, own)) {
            return Follow::default();
        }
        let mut follow = before.background.follow.clone();
        if let Some(target) = &mut follow.target {
            // What was under way for it has been let go.
            target.next = now;
        }
        follow
    }

    /// When it has to be looked at again even if no input comes.
    pub(super) fn next_follow(&self, around: Surroundings, now: Mono) -> Mono {
        match &self.background.follow.target {
            Some(target) if self.may(Act::Follow, around, now) => {
                if target.next > now {
                    target.next
                } else {
                    // What it waits for is another one's.
                    now + LOOK_AGAIN
                }
            }
            _ => Mono::NEVER,
        }
    }
}

fn pause(tries: u32) -> Span {
    PAUSE.times(1 << tries.saturating_sub(1).min(6)).min(LONGEST_PAUSE)
}

/// Told loudly once; it is tried until it works.
fn severity_of_try(ok: bool, tries: u32) -> Severity {
    match (ok, tries) {
        (true, _) => Severity::Info,
        (false, 0 | 1) => Severity::Alarm,
        (false, _) => Severity::Warning,
    }
}
