//! An operator's pause: why, and until when.

use super::{Remark, Service};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::finding::FindingCode;
use crate::id::Generation;
use crate::sample::ReadinessFinding;
use crate::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// What is known of the pause that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why, in an operator's words.
    pub reason: Option<String>,
    /// For how long it was asked for; `None`: until it is resumed.
    pub lasts: Option<Span>,
    /// When it ends by itself.
    pub ends: Option<Mono>,
}

impl Pause {
    pub(super) fn begins(reason: Option<String>, lasts: Option<Span>, now: Mono) -> Pause {
        Pause { reason, lasts, ends: lasts.map(|lasts| now + lasts) }
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self, now: Mono) -> Option<Span> {
        self.ends.map(|ends| ends.since(now))
    }

    /// The same by another clock. None was ever asked for that is longer than it says.
    pub(crate) fn counted(self, from: Mono, to: Mono) -> Pause {
        let left = self.left(from).map(|left| self.lasts.map_or(left, |lasts| left.min(lasts)));
        Pause { ends: left.map(|left| to + left), ..self }
    }

    /// For how long it still holds and why, for people.
    pub(super) fn words(&self, now: Mono) -> String {
        let left = self.left(now).map_or_else(String::new, |left| format!(" for {left}"));
        format!("{left}{}", self.reason_words())
    }

    fn reason_words(&self) -> String {
        self.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
    }

    /// What is said of a refusal by it, with its reason.
    #[must_use]
    pub fn sentence(&self, sentence: &str) -> String {
        self.reason.as_ref().map_or_else(|| sentence.to_owned(), |reason| format!("{reason}: {sentence}"))
    }

    /// The clock stood still for so long.
    pub(super) fn was_suspended(&mut self, span: Span) {
        self.ends = self.ends.map(|ends| ends - span);
    }
}

impl Service {
    pub(crate) fn is_paused(&self) -> bool {
        self.durable.pause.is_some()
    }

    /// What is left undone because of the pause. A failover is not in it: that it would be refused stands with the refusals.
    pub(crate) fn withheld(&self, now: Mono) -> Vec<Remark> {
        let mut withheld = Vec::new();
        if !self.is_paused() {
            return withheld;
        }
        let mut leave = |code: &str, sentence: String| withheld.push(Remark { code: code.to_owned(), sentence });
        let primary = self.durable.primary.map_or_else(|| "the primary".to_owned(), |primary| self.server_name(primary));
        if let Some(begun) = &self.run.begun {
            leave(
                "unfinished_failover",
                format!("failover {}, which an earlier engine began, is not taken up", begun.generation),
            );
        }
        let astray =
            |finding: &&ReadinessFinding| [FindingCode::RouteToStandby, FindingCode::RoutePrimaryOut].contains(&finding.code);
        if self.durable.generation != Generation(0) || self.switched_by_hand {
            for finding in self.route.iter().flat_map(|route| &route.findings).filter(astray) {
                leave("route", format!("the traffic is not sent to {primary}: {}", finding.message));
            }
        }
        if self.background.names_due.is_some() && self.model.route.names.is_some() {
            leave("names", format!("the names are not pointed to {primary}"));
        }
        if self.background.ramp.is_some() {
            let share = self.growing_share(now).unwrap_or(100);
            leave("weight", format!("the weight of {primary} stays at {share} %"));
        }
        for server in self.server_ids().filter(|server| !self.is_subject(*server) && self.is_writable_now(*server, now)) {
            let name = self.server_name(server);
            leave(
                "old_primary",
                format!("{name} takes writes beside {primary}: it is neither taken out of the route nor fenced"),
            );
        }
        if let (Some(target), Some(model)) = (&self.background.follow.target, &self.model.follows) {
            leave("follow", format!("{} of {} is not followed", model.server_name(target.server), model.name));
        }
        withheld
    }

    /// Ends a pause whose time is over.
    pub(super) fn end_pause(&mut self, fx: &mut Effects) {
        let is_over = |pause: &mut Pause| pause.ends.is_some_and(|ends| fx.now >= ends);
        let Some(over) = self.durable.pause.take_if(is_over) else { return };
        self.journal_facts(fx);
        self.tell_pause_over(&over, fx);
        self.start_over(fx);
    }

    /// A pause that an earlier engine left goes on, or its time was over meanwhile.
    pub(super) fn restore_pause(&mut self, fx: &mut Effects) {
        let is_over = |pause: &mut Pause| pause.ends.is_some_and(|ends| ends <= fx.now);
        if let Some(over) = self.durable.pause.take_if(is_over) {
            self.tell_pause_over(&over, fx);
            self.journal_facts(fx);
        } else if let Some(pause) = &self.durable.pause {
            let words = pause.words(fx.now);
            let detail = format!("{}: still paused{words}, as before the engine was restarted", self.model.name);
            self.tell_order("pause", detail, fx);
        }
    }

    fn tell_pause_over(&self, over: &Pause, fx: &mut Effects) {
        let lasted = over.lasts.map_or_else(String::new, |lasts| format!(" of {lasts}"));
        let reason = over.reason_words();
        let detail =
            format!("{}: the pause{lasted}{reason} is over by itself; every check is asked afresh first", self.model.name);
        self.tell_order("resume", detail, fx);
    }

    /// What an operator's order of before comes to now.
    pub(super) fn tell_order(&self, command: &'static str, detail: String, fx: &mut Effects) {
        let fields = vec![("command", text(command)), ("accepted", Field::Bool(true)), ("detail", text(&detail))];
        fx.emit(EventKind::OperatorCommand, Severity::Warning, self.about(), detail, fields);
    }
}
