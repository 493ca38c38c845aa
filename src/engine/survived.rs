//! Did a commit whose answer nobody received survive the last failovers?

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use failover_core::id::ServiceId;
use failover_core::sample::Lsn;
use failover_core::survival::{self, Because, Known, Present, Question, Survival, Verdict};

use super::builder::Parts;
use super::error::EngineError;
use super::{Engine, Shell};
use crate::deadline::{Cancel, Deadline};

/// So long the primary may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first number that PostgreSQL gives to a transaction.
const FIRST_XID: u64 = 3;

/// A commit, as its client remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitId {
    /// By its transaction: `pg_current_xact_id()`, asked inside the transaction.
    Xid {
        /// The number, with the epoch.
        xid: u64,
        /// The timeline on which it ran. Without it the answer is `unknown` as soon as the number may have been given out twice: for every
        /// transaction that was begun after the first failover of the cluster.
        timeline: Option<u32>,
    },
    /// By a position of the log, `0/3000148`: everything before it is asked about.
    Lsn {
        /// The position.
        lsn: String,
        /// Its timeline.
        timeline: u32,
    },
}

/// What [`Engine::survived`] found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Survived {
    /// The service.
    pub service: String,
    /// `yes`: it is on the present primary. `no`: it is not. `unknown`: that cannot be said.
    pub survived: String,
    /// Why: `committed`, `before_fork`, `written`; `rolled_back`, `behind_fork`; `in_progress`, `too_old`, `not_assigned`, `not_written`,
    /// `may_be_reused`, `fork_not_recorded`, `timeline_not_known`, `no_primary`, `changing`, `not_asked`.
    pub reason: String,
    /// The same in one sentence.
    pub message: String,
    /// The server that was asked: the primary; null where none is known.
    pub primary: Option<String>,
    /// The timeline on which it writes; null where it was not asked.
    pub timeline: Option<u32>,
    /// The change of the primary that decides; null where none does.
    pub fork: Option<SurvivedFork>,
}

/// A change of the primary, as the journal has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SurvivedFork {
    /// The timeline before.
    pub from: u32,
    /// The timeline that began.
    pub to: u32,
    /// Where the old one ends; null where that was not recorded.
    pub lsn: Option<String>,
    /// The next transaction number right before it; null where that was not recorded.
    pub next_xid: Option<u64>,
}

impl Engine {
    /// Whether a commit whose answer was never received survived the last failovers: by the forks in the journal, and by what the present
    /// primary says of the transaction. `yes` and `no` are certain as of now; whatever cannot be told apart is `unknown`. Changes nothing.
    ///
    /// # Errors
    /// [`EngineError::InvalidArgument`] for an unknown service, one that is no database, a number below 3, and a position that cannot be read.
    /// [`EngineError::State`] where the engine was never started, and in a child of fork. [`EngineError::Reentrant`] on a thread of the engine.
    pub fn survived(&self, service: &str, commit: &CommitId) -> Result<Survived, EngineError> {
        let shell = &self.shell;
        shell.is_here()?;
        if shell.is_own_thread() {
            return Err(EngineError::Reentrant);
        }
        let question = question(commit)?;
        let parts = shell.parts();
        let wrong = |what: &str| EngineError::InvalidArgument(format!("{what} \"{service}\""));
        let place = parts.model.services.iter().position(|model| model.name == service);
        let place = place.ok_or_else(|| wrong("there is no service"))?;
        if !parts.model.services[place].kind.holds_data() {
            return Err(wrong("no database, so no commits, has the service"));
        }
        let (before, present) = shell.ask_about(&parts, ServiceId(u16::try_from(place).unwrap_or(u16::MAX)), question)?;
        let part = parts.services.get(place);
        let name = before.primary.and_then(|primary| Some(part?.actions.name_of(primary)));
        let told = Told { service, question, primary: name, forks: before.forks, present };
        Ok(told.render())
    }
}

/// What is known beforehand, and what the primary said or why it said nothing.
type Asked = (Known, Result<Present, (Because, String)>);

impl Shell {
    fn known(&self, service: ServiceId) -> Result<Known, EngineError> {
        let known = self.core.lock().as_ref().map(|core| core.survival(service));
        known.ok_or_else(|| EngineError::State("the engine was not started".to_owned()))
    }

    fn ask_about(&self, parts: &Arc<Parts>, service: ServiceId, question: Question) -> Result<Asked, EngineError> {
        let before = self.known(service)?;
        let Some(primary) = before.primary else { return Ok((before, Err((Because::NoPrimary, String::new())))) };
        if before.changing {
            return Ok((before, Err((Because::Changing, String::new()))));
        }
        let Some(part) = parts.service(service) else {
            return Ok((before, Err((Because::Changing, String::new()))));
        };
        let xid = match question {
            Question::Xid { xid, .. } => Some(xid),
            Question::Position { .. } => None,
        };
        let cancel = Cancel::new().map_err(|error| EngineError::system("cannot make a cancel signal", error))?;
        let said = match part.actions.cluster.survived(primary, xid, Deadline::after(PATIENCE), &cancel) {
            Ok(said) => said,
            Err(why) => return Ok((before, Err((Because::NotAsked, why)))),
        };
        // What was true when it was asked counts only if nobody else became the primary meanwhile.
        let after = self.known(service)?;
        if said.in_recovery || before.system_id != Some(said.system_id) || after != before || self.are_stale(parts) {
            return Ok((before, Err((Because::Changing, String::new()))));
        }
        Ok((before, Ok(said.present)))
    }
}

fn question(commit: &CommitId) -> Result<Question, EngineError> {
    match commit {
        CommitId::Xid { xid, .. } if *xid < FIRST_XID => {
            Err(EngineError::InvalidArgument(format!("no transaction has the number {xid}: take it from pg_current_xact_id()")))
        }
        CommitId::Xid { xid, timeline } => Ok(Question::Xid { xid: *xid, timeline: *timeline }),
        CommitId::Lsn { lsn, timeline } => match Lsn::parse(lsn) {
            Some(at) => Ok(Question::Position { at, timeline: *timeline }),
            None => Err(EngineError::InvalidArgument(format!("\"{lsn}\" is no position of the log: it looks like 0/3000148"))),
        },
    }
}

/// Everything that the answer is made of.
struct Told<'a> {
    service: &'a str,
    question: Question,
    primary: Option<String>,
    forks: Vec<survival::Fork>,
    present: Result<Present, (Because, String)>,
}

impl Told<'_> {
    fn render(self) -> Survived {
        let verdict = match &self.present {
            Ok(present) => survival::answer(&self.forks, present, self.question),
            Err((because, _)) => Verdict::unknown(*because),
        };
        Survived {
            service: self.service.to_owned(),
            survived: verdict.survival.as_str().to_owned(),
            reason: verdict.because.as_str().to_owned(),
            message: self.sentence(&verdict),
            timeline: self.present.as_ref().ok().map(|present| present.timeline),
            fork: verdict.fork.map(|fork| SurvivedFork {
                from: fork.from,
                to: fork.to,
                lsn: fork.seen.and_then(|seen| seen.at).map(|at| at.to_string()),
                next_xid: fork.seen.and_then(|seen| seen.next_before),
            }),
            primary: self.primary,
        }
    }

    fn sentence(&self, verdict: &Verdict) -> String {
        let what = match self.question {
            Question::Xid { xid, timeline: Some(timeline) } => format!("transaction {xid} of timeline {timeline}"),
            Question::Xid { xid, timeline: None } => format!("transaction {xid}"),
            Question::Position { at, timeline } => format!("the log up to {at} of timeline {timeline}"),
        };
        let outcome = match verdict.survival {
            Survival::Yes => format!("{what} survived"),
            Survival::No => format!("{what} did not survive"),
            Survival::Unknown => format!("whether {what} survived is not known"),
        };
        format!("{outcome}: {}", self.why(verdict))
    }

    fn why(&self, verdict: &Verdict) -> String {
        let primary = self.primary.as_deref().unwrap_or("the primary");
        let fork = verdict.fork.map_or_else(
            || "a fork of its line".to_owned(),
            |fork| match fork.seen.and_then(|seen| seen.at) {
                Some(at) => format!("the fork from timeline {} to {} at {at}", fork.from, fork.to),
                None => format!("the fork from timeline {} to {}", fork.from, fork.to),
            },
        );
        match verdict.because {
            Because::Committed => format!("{primary} has it as committed"),
            Because::RolledBack => format!("{primary} has it as rolled back, or as open when its primary ended"),
            Because::BehindFork => format!("nothing of it was in the log before {fork}"),
            Because::BeforeFork => format!("it is before {fork}"),
            Because::Written => format!("{primary} has written this far on this timeline"),
            Because::NotWritten => format!("{primary} has not written this far on this timeline: a crash may have lost it"),
            Because::InProgress => format!("it still runs on {primary}, or is prepared (pg_prepared_xacts): ask again when it is over"),
            Because::TooOld => format!("it is too old: {primary} does not keep what became of it"),
            Because::NotAssigned => format!("{primary} has given this number to nobody yet"),
            Because::MayBeReused => match self.question {
                Question::Xid { timeline: None, .. } => {
                    format!("its number may have been given out again behind {fork}; with the timeline on which it ran this could be told (--timeline)")
                }
                _ => format!("its number is one of the few that {primary} may have given out itself right behind {fork}"),
            },
            Because::ForkNotRecorded => format!("what {fork} looked like is not in the journal: the engine did not see that promotion"),
            Because::TimelineNotKnown => {
                "how that timeline leads to the present one is not in the journal; without a timeline it has to go back to timeline 1".to_owned()
            }
            Because::NoPrimary => "no primary is known; ask again when there is one".to_owned(),
            Because::Changing => "the primary changes at this moment, or it is not clear who is the primary: ask again".to_owned(),
            Because::NotAsked => match &self.present {
                Err((_, why)) if !why.is_empty() => format!("{why}; ask again when it answers"),
                _ => format!("{primary} was not asked"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use failover_core::survival::{Fork, Forked, XactStatus};

    fn told(question: Question, present: Result<Present, (Because, String)>) -> Survived {
        let seen = Forked { at: Some(Lsn(0x300_0148)), next_before: Some(750), next_after: Some(750) };
        let forks = vec![Fork { from: 1, to: 2, seen: Some(seen) }];
        Told { service: "orders", question, primary: Some("db2".to_owned()), forks, present }.render()
    }

    fn present(xact: XactStatus) -> Present {
        Present { timeline: 2, flush: Lsn(0x400_0000), xact }
    }

    #[test]
    fn each_answer_says_why_and_what_to_do() {
        let xid = |xid, timeline| Question::Xid { xid, timeline };
        let yes = told(xid(742, Some(1)), Ok(present(XactStatus::Committed)));
        assert_eq!(yes.message, "transaction 742 of timeline 1 survived: db2 has it as committed");
        assert_eq!((yes.survived.as_str(), yes.reason.as_str(), yes.timeline), ("yes", "committed", Some(2)));
        let fork = yes.fork.unwrap();
        assert_eq!((fork.from, fork.to, fork.lsn.as_deref(), fork.next_xid), (1, 2, Some("0/3000148"), Some(750)));
        let no = told(xid(751, Some(1)), Ok(present(XactStatus::Committed)));
        assert_eq!(
            no.message,
            "transaction 751 of timeline 1 did not survive: nothing of it was in the log before the fork from timeline 1 to 2 at 0/3000148"
        );
        let unknown = told(xid(751, None), Ok(present(XactStatus::Committed)));
        assert_eq!((unknown.survived.as_str(), unknown.reason.as_str()), ("unknown", "may_be_reused"));
        let silent = told(xid(742, None), Err((Because::NotAsked, "db2 cannot be asked: refused".to_owned())));
        assert_eq!(
            silent.message,
            "whether transaction 742 survived is not known: db2 cannot be asked: refused; ask again when it answers"
        );
        assert_eq!(silent.timeline, None);
    }

    #[test]
    fn a_number_that_nobody_has_and_a_text_that_is_no_position_are_refused() {
        for commit in [
            CommitId::Xid { xid: 2, timeline: None },
            CommitId::Lsn { lsn: "742".to_owned(), timeline: 1 },
            CommitId::Lsn { lsn: String::new(), timeline: 1 },
        ] {
            assert!(matches!(question(&commit), Err(EngineError::InvalidArgument(_))), "{commit:?}");
        }
    }
}
