//! A check whose answers are written down beforehand: for tests of the engine, and of bindings without a database.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Check, Context};
use crate::deadline::Interrupted;
use failover_core::observation::{DownCause, Finding, Impairment, UnknownCause, Verdict};

/// Gives its answers one for each run; the last one is repeated.
#[derive(Debug)]
pub(crate) struct ScriptedCheck {
    answers: Vec<Answer>,
    next: AtomicUsize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Says(Verdict, String),
    /// Answers only when the deadline has passed.
    Hangs,
}

const IMPAIRMENTS: [Impairment; 9] = [
    Impairment::Saturated,
    Impairment::Starting,
    Impairment::Recovering,
    Impairment::Stopping,
    Impairment::Authentication,
    Impairment::Tls,
    Impairment::QueryRefused,
    Impairment::WriteBlocked,
    Impairment::WrongRole,
];
const DOWN_CAUSES: [DownCause; 6] = [
    DownCause::Refused,
    DownCause::Reset,
    DownCause::ConnectTimedOut,
    DownCause::AnswerTimedOut,
    DownCause::HostUnreachable,
    DownCause::WrongAnswer,
];
const UNKNOWN_CAUSES: [UnknownCause; 7] = [
    UnknownCause::OwnResources,
    UnknownCause::NoRoute,
    UnknownCause::Resolver,
    UnknownCause::OwnPause,
    UnknownCause::NoAnswerFromHost,
    UnknownCause::Internal,
    UnknownCause::Unclassified,
];

impl ScriptedCheck {
    /// Reads answers: `up`, `impaired REASON`, `down REASON`, `unknown REASON`, each with `: message` behind it if wanted, or
    /// `hang`. The reasons are those of events and status; without one it is `saturated`, `refused` or `unclassified`.
    ///
    /// # Errors
    /// The answer that cannot be read, and what could stand there.
    pub(crate) fn new<S: AsRef<str>>(answers: &[S]) -> Result<ScriptedCheck, String> {
        let answers = answers.iter().map(|answer| parse(answer.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if answers.is_empty() {
            return Err("a scripted check needs at least one answer".to_owned());
        }
        Ok(ScriptedCheck { answers, next: AtomicUsize::new(0) })
    }
}

fn parse(text: &str) -> Result<Answer, String> {
    let (head, message) = text.split_once(':').unwrap_or((text, ""));
    let mut words = head.split_whitespace();
    let (word, reason) = (words.next().unwrap_or_default(), words.next());
    let wrong = |known: &[&str]| {
        let known = known.join(", ");
        Err(format!("\"{text}\" is no answer of a scripted check: expected one of {known}"))
    };
    if words.next().is_some() {
        return wrong(&["one word and at most one reason before the colon"]);
    }
    fn find<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str, reason: &str) -> Result<T, Vec<&'static str>> {
        all.iter().copied().find(|one| word(*one) == reason).ok_or_else(|| all.iter().map(|one| word(*one)).collect())
    }
    let verdict = match (word, reason) {
        ("hang", None) => return Ok(Answer::Hangs),
        ("up", None) => Verdict::Up,
        ("impaired", reason) => match find(&IMPAIRMENTS, Impairment::as_str, reason.unwrap_or("saturated")) {
            Ok(impairment) => Verdict::Impaired(impairment),
            Err(known) => return wrong(&known),
        },
        ("down", reason) => match find(&DOWN_CAUSES, DownCause::as_str, reason.unwrap_or("refused")) {
            Ok(cause) => Verdict::Down(cause),
            Err(known) => return wrong(&known),
        },
        ("unknown", reason) => match find(&UNKNOWN_CAUSES, UnknownCause::as_str, reason.unwrap_or("unclassified")) {
            Ok(cause) => Verdict::Unknown(cause),
            Err(known) => return wrong(&known),
        },
        _ => return wrong(&["up", "impaired REASON", "down REASON", "unknown REASON", "hang"]),
    };
    Ok(Answer::Says(verdict, message.trim().to_owned()))
}

impl Check for ScriptedCheck {
    fn run(&self, context: &Context<'_>) -> Finding {
        let began = context.clock.now();
        let place = self.next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |next| Some(next.saturating_add(1)));
        let place = place.unwrap_or(usize::MAX).min(self.answers.len() - 1);
        match &self.answers[place] {
            Answer::Says(verdict, message) => context.finding(began, verdict.clone(), message.clone(), None),
            Answer::Hangs => {
                let (verdict, message) = match context.cancel.pause(Duration::MAX, context.deadline) {
                    Err(Interrupted::Cancelled) => (Verdict::Unknown(UnknownCause::NoAnswerFromHost), "cancelled"),
                    _ => (Verdict::Down(DownCause::AnswerTimedOut), "no answer, as the script says"),
                };
                context.finding(began, verdict, message, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::deadline::{Cancel, Deadline};
    use crate::wire::resolve::Literals;

    fn run(check: &ScriptedCheck, deadline: Deadline) -> (Verdict, String) {
        let (cancel, clock) = (Cancel::new().unwrap(), Clock::start());
        let finding = check.run(&Context { deadline, cancel: &cancel, clock: &clock, sample: true, addresses: &Literals });
        (finding.verdict, finding.message)
    }

    #[test]
    fn answers_come_in_order_and_the_last_one_stays() {
        let script = ["up", "down reset: as planned", "impaired", "unknown own_pause", "hang"];
        let check = ScriptedCheck::new(&script).unwrap();
        let expect = |verdict, message: &str| {
            let long = Deadline::after(Duration::from_millis(1));
            assert_eq!(run(&check, long), (verdict, message.to_owned()));
        };
        expect(Verdict::Up, "");
        expect(Verdict::Down(DownCause::Reset), "as planned");
        expect(Verdict::Impaired(Impairment::Saturated), "");
        expect(Verdict::Unknown(UnknownCause::OwnPause), "");
        for _ in 0..2 {
            expect(Verdict::Down(DownCause::AnswerTimedOut), "no answer, as the script says");
        }
    }

    #[test]
    fn nonsense_names_what_could_stand_there() {
        for (text, expected) in [
            ("dwon", "up, impaired REASON"),
            ("down sideways", "refused, reset"),
            ("impaired x", "saturated"),
            ("up up", "expected one of up"),
            ("", "expected one of up"),
            ("down a b", "at most one reason"),
        ] {
            let error = ScriptedCheck::new(&[text]).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(ScriptedCheck::new::<&str>(&[]).is_err());
    }
}
