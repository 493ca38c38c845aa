//! What the evidence since the first bad sign says about the primary: its failure class, or why there is none yet.

use super::observation::{Close, CloseCause, DownCause, Finding, Impairment, Verdict};
use super::output::Failure;
use super::refusal::Refusal;
use super::sample::{HostReport, LocalAnswer, ProcessState};
use super::time::{Mono, Span};
use super::traffic::{Outcome, Weight};
use super::words::UnknownWord;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Refused probes on new sockets that make a death, together with the host's word (rule 101).
pub const REFUSALS_FOR_DEATH: u32 = 3;
/// New connections without an answer that silence needs besides its time (rule 93).
pub const UNANSWERED_FOR_SILENCE: u32 = 2;
/// Lines kept for the record of one suspicion; more are counted, not kept.
const LINES: usize = 64;

/// What the evidence says happened to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureClass {
    /// The process is gone.
    Dead,
    /// It accepts and never answers; its host is alive.
    Hung,
    /// No answer at all, from the server or from its host.
    Unreachable,
    /// Impaired for longer than `on_impaired` allows.
    Unusable,
}

impl FailureClass {
    /// The word used in events and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureClass::Dead => "dead",
            FailureClass::Hung => "hung",
            FailureClass::Unreachable => "unreachable",
            FailureClass::Unusable => "unusable",
        }
    }
}

impl FromStr for FailureClass {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<FailureClass, UnknownWord> {
        use FailureClass::{Dead, Hung, Unreachable, Unusable};
        [Dead, Hung, Unreachable, Unusable].into_iter().find(|class| class.as_str() == word).ok_or(UnknownWord)
    }
}

/// The class that an impairment belongs to (rule 84).
#[must_use]
pub fn impaired_class(impairment: Impairment) -> &'static str {
    match impairment {
        Impairment::Saturated => "saturated",
        Impairment::Starting | Impairment::Recovering => "starting",
        Impairment::Stopping => "stopping",
        Impairment::Authentication | Impairment::Tls => "misconfigured",
        Impairment::QueryRefused | Impairment::WriteBlocked | Impairment::WrongRole => "unusable",
        Impairment::NoNewSessions => "no_new_sessions",
    }
}

/// What the primary's host had to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostReply {
    /// As it is written.
    Report(HostReport),
    /// It could not be asked.
    Silent {
        /// When that was known.
        at: Mono,
        /// Why.
        why: String,
        /// How often in a row.
        times: u32,
    },
}

/// Everything seen since the first bad sign about the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// The first bad sign.
    pub since: Mono,
    /// Refused or reset new connections since the last sign of life.
    pub refused: u32,
    /// New connections that were not answered in time since the last sign of life.
    pub unanswered: u32,
    /// How the kept session ended.
    pub close: Option<(Mono, Close)>,
    /// When a shutdown was announced, by the session or by 57P03.
    pub announced: Option<Mono>,
    /// Alive but not serving, and since when.
    pub impaired: Option<(Mono, Impairment)>,
    /// The host's last report.
    pub host: Option<HostReply>,
    /// Since then its host has said that none of its processes is left.
    pub gone_since: Option<Mono>,
    /// When its host last said that its postmaster runs.
    pub ran_at: Option<Mono>,
    /// When its host last could not be asked.
    pub host_unseen_at: Option<Mono>,
    /// Since then it has answered that it starts or recovers: nobody has a session.
    pub no_sessions_since: Option<Mono>,
    /// Failed observations of any check, for the window.
    lines: Vec<(Mono, String)>,
    more: u32,
}

impl Suspicion {
    /// Begins with the first bad sign.
    #[must_use]
    pub fn new(since: Mono) -> Suspicion {
        Suspicion {
            since,
            refused: 0,
            unanswered: 0,
            close: None,
            announced: None,
            impaired: None,
            host: None,
            gone_since: None,
            ran_at: None,
            host_unseen_at: None,
            no_sessions_since: None,
            lines: Vec::new(),
            more: 0,
        }
    }

    /// Adds a line to the record.
    pub fn note(&mut self, now: Mono, line: String) {
        if self.lines.len() < LINES {
            self.lines.push((now, line));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// The record, each line with its distance from the first bad sign.
    #[must_use]
    pub fn record(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().map(|(at, line)| format!("+{}: {line}", at.since(self.since))).collect();
        if self.more > 0 {
            lines.push(format!("and {} more observations of the same kinds", self.more));
        }
        lines
    }

    /// A new connection to the primary is back. The caller handles `Up`.
    pub fn probe(&mut self, now: Mono, finding: &Finding) {
        self.answer(now, "new connection", finding);
    }

    /// A check of the primary, called `what`, is back. The caller handles `Up`.
    pub fn answer(&mut self, now: Mono, what: &str, finding: &Finding) {
        match &finding.verdict {
            Verdict::Up => {}
            Verdict::Impaired(impairment) => {
                self.refused = 0;
                self.unanswered = 0;
                if self.impaired.is_none_or(|(_, before)| before != *impairment) {
                    let since = self.impaired.map_or(now, |(since, _)| since);
                    self.impaired = Some((since, *impairment));
                }
                if matches!(impairment, Impairment::Starting | Impairment::Recovering) {
                    self.no_sessions_since.get_or_insert(now);
                } else {
                    self.no_sessions_since = None;
                }
                if *impairment == Impairment::Stopping {
                    self.announced.get_or_insert(now);
                } else if impairment.shows_no_stop() && self.announced.is_some_and(|announced| finding.began >= announced) {
                    // One session was ended by an administrator, not all of them.
                    self.announced = None;
                }
            }
            Verdict::Down(cause) => {
                self.impaired = None;
                self.no_sessions_since = None;
                match cause {
                    DownCause::Refused | DownCause::Reset => self.refused = self.refused.saturating_add(1),
                    _ => self.unanswered = self.unanswered.saturating_add(1),
                }
            }
            Verdict::Unknown(_) => return,
        }
        if finding.verdict != Verdict::Up {
            self.note(now, format!("{what}: {} ({})", reason(&finding.verdict), finding.message));
        }
    }

    /// The kept session ended.
    pub fn closed(&mut self, now: Mono, close: Close) {
        self.note(now, format!("kept session closed: {} ({})", close.cause.as_str(), close.message));
        if close.cause == CloseCause::Announced {
            self.announced.get_or_insert(now);
        }
        self.close = Some((now, close));
    }

    /// The host answered, or could not be asked. True if that is news.
    pub fn host_replied(&mut self, now: Mono, reply: Result<HostReport, Failure>) -> bool {
        let said = |reply: &HostReply| match reply {
            HostReply::Report(report) => report.message.clone(),
            HostReply::Silent { why, .. } => why.clone(),
        };
        let before = self.host.as_ref().map(said);
        let news =
            before.as_deref() != Some(reply.as_ref().map_or_else(|failure| failure.message.as_str(), |report| &report.message));
        match reply {
            Ok(mut report) => {
                if let Some(before) = self.report()
                    && report.local_answer == LocalAnswer::NotAsked
                    && report.postmaster == before.postmaster
                {
                    report.local_answer = before.local_answer;
                }
                if news {
                    self.note(now, format!("host: {}", report.message));
                }
                if report.postmaster == ProcessState::Gone && report.others == 0 {
                    self.gone_since.get_or_insert(now);
                } else {
                    self.gone_since = None;
                }
                if report.postmaster != ProcessState::Gone {
                    self.ran_at = Some(now);
                }
                if report.stopped_by_order {
                    // Who is stopped may be on its way back: its own announcement can get lost on the way.
                    self.announced.get_or_insert(self.since);
                }
                self.host = Some(HostReply::Report(report));
            }
            Err(failure) => {
                let times = match &self.host {
                    Some(HostReply::Silent { times, .. }) => times.saturating_add(1),
                    _ => 1,
                };
                if news {
                    self.note(now, format!("host could not be asked: {}", failure.message));
                }
                self.gone_since = None;
                self.host_unseen_at = Some(now);
                self.host = Some(HostReply::Silent { at: now, why: failure.message, times });
            }
        }
        news
    }

    /// What the host said last, if it answered.
    #[must_use]
    pub fn report(&self) -> Option<&HostReport> {
        match &self.host {
            Some(HostReply::Report(report)) => Some(report),
            _ => None,
        }
    }

    /// A new connection that was tried at `asked` and served shows that nothing is wrong. What was announced since then is yet to come.
    #[must_use]
    pub fn is_ended_by(&self, asked: Mono) -> bool {
        (asked >= self.since || self.refused == 0) && self.announced.is_none_or(|announced| asked >= announced)
    }

    /// One refused connection, and its host has said since the first bad sign that it was killed and that nothing is left of it: more refusals
    /// would say no more. The fence proves it again. Not where the host program reports calls of its own that are served.
    #[must_use]
    pub fn is_proven_dead(&self, limits: &Limits) -> bool {
        let killed = |report: &HostReport| {
            report.postmaster == ProcessState::Gone
                && report.others == 0
                && report.shm_attached == Some(0)
                && report.asked >= self.since
        };
        // Who has removed its pid file has announced its stop by that.
        self.refused > 0
            && self.announced.is_none()
            && self.close.is_some()
            && self.report().is_some_and(killed)
            && limits.times() == 1
    }

    /// It is shutting down, as it says itself.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self.impaired, Some((_, Impairment::Stopping)))
    }

    /// The host could be asked at least once and answered.
    #[must_use]
    pub fn host_answers(&self) -> bool {
        self.report().is_some()
    }

    /// Since then nobody can have been told of a commit; `None`: that is not known before the fence.
    #[must_use]
    pub fn ended(&self, class: FailureClass) -> Option<Mono> {
        match class {
            FailureClass::Dead => self.gone_since,
            FailureClass::Unusable => self.no_sessions_since,
            _ => None,
        }
    }

    /// The host was asked twice in a row and did not answer.
    #[must_use]
    pub fn host_is_silent(&self) -> bool {
        matches!(self.host, Some(HostReply::Silent { times, .. }) if times >= 2)
    }
}

fn reason(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Up => "up",
        other => other.reason(),
    }
}

/// What the classification needs besides the suspicion.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// The last answer of any probe that only a living server gives.
    pub last_answer: Mono,
    /// A new connection is under way since this moment and has not been answered.
    pub outstanding_since: Option<Mono>,
    /// The kept session is still open.
    pub kept_open: bool,
    /// The host can be asked over SSH.
    pub ssh: bool,
    /// Silence of this length is a hang.
    pub hang_after: Span,
    /// For an announced shutdown.
    pub restart_grace: Span,
    /// An impairment of this length is a failure.
    pub on_impaired: Option<Span>,
    /// What the host program's own calls say.
    pub traffic: Weight,
}

impl Limits {
    /// Served calls of the host program double what is needed.
    fn times(&self) -> u32 {
        if self.traffic == Weight::Served { 2 } else { 1 }
    }
}

/// The failure class, or the reason why there is none (yet).
///
/// # Errors
/// The refusal that stands between the evidence and a class.
pub fn classify(suspicion: &Suspicion, limits: &Limits, now: Mono) -> Result<FailureClass, Refusal> {
    if let Some((since, impairment)) = suspicion.impaired {
        let answers_there = suspicion.report().is_some_and(|report| report.local_answer == LocalAnswer::Accepting);
        if impairment == Impairment::NoNewSessions && answers_there {
            return Err(Refusal::HostSaysServing);
        }
        let left = limits.on_impaired.map(|span| (since + span).since(now));
        return match impairment {
            Impairment::Stopping => held_or_not(suspicion, limits, left, now),
            _ if left == Some(Span::ZERO) => Ok(FailureClass::Unusable),
            _ => Err(Refusal::Impaired { class: impaired_class(impairment) }),
        };
    }
    if suspicion.refused > 0 {
        return dead_or_not(suspicion, limits, now);
    }
    silent_or_not(suspicion, limits, now)
}

/// A shutdown that does not come to its end is an impairment like any other, once its grace is over.
fn held_or_not(suspicion: &Suspicion, limits: &Limits, left: Option<Span>, now: Mono) -> Result<FailureClass, Refusal> {
    grace_is_over(suspicion, limits, now)?;
    if left == Some(Span::ZERO) {
        return Ok(FailureClass::Unusable);
    }
    Err(Refusal::ShutdownHeld { by: suspicion.report().map(|report| report.holds.clone()).unwrap_or_default(), left })
}

fn dead_or_not(suspicion: &Suspicion, limits: &Limits, now: Mono) -> Result<FailureClass, Refusal> {
    let theirs = matches!(limits.traffic, Weight::Failed(Outcome::Refused | Outcome::Reset));
    if suspicion.is_proven_dead(limits) {
        return Ok(FailureClass::Dead);
    }
    if suspicion.refused + u32::from(theirs) < REFUSALS_FOR_DEATH * limits.times() {
        return Err(Refusal::EvidenceIncomplete { waiting_for: "three refused connections in a row" });
    }
    grace_is_over(suspicion, limits, now)?;
    if !limits.ssh {
        // Without the host's word, a session that lives on is the better witness.
        return if limits.kept_open {
            Err(Refusal::EvidenceIncomplete { waiting_for: "the kept session to end" })
        } else {
            Ok(FailureClass::Dead)
        };
    }
    match &suspicion.host {
        Some(HostReply::Report(report)) => match report.postmaster {
            ProcessState::Gone => Ok(FailureClass::Dead),
            // A stopped postmaster still has its listening socket: what refuses here is something else.
            ProcessState::Running | ProcessState::Stopped | ProcessState::Uninterruptible => Err(Refusal::HostSaysRunning),
        },
        Some(HostReply::Silent { .. }) if suspicion.host_is_silent() => Ok(FailureClass::Dead),
        None | Some(HostReply::Silent { .. }) => Err(Refusal::EvidenceIncomplete { waiting_for: "the host's word" }),
    }
}

/// Who announced that it stops may be on its way back (rule 83).
fn grace_is_over(suspicion: &Suspicion, limits: &Limits, now: Mono) -> Result<(), Refusal> {
    match suspicion.announced.map(|announced| announced + limits.restart_grace) {
        Some(end) if now < end => Err(Refusal::RestartGrace { left: end.since(now) }),
        _ => Ok(()),
    }
}

fn silent_or_not(suspicion: &Suspicion, limits: &Limits, now: Mono) -> Result<FailureClass, Refusal> {
    let long = |since: Mono| now.since(since) >= limits.hang_after.times(limits.times().into());
    if !long(limits.last_answer) {
        return Err(Refusal::EvidenceIncomplete { waiting_for: "silence of hang_after" });
    }
    let outstanding = limits.outstanding_since.is_some_and(|since| now.since(since) >= Span::from_millis(100));
    let theirs = matches!(limits.traffic, Weight::Failed(Outcome::Timeout));
    if suspicion.unanswered + u32::from(outstanding) + u32::from(theirs) < UNANSWERED_FOR_SILENCE * limits.times() {
        return Err(Refusal::EvidenceIncomplete { waiting_for: "two new connections without an answer" });
    }
    if !limits.ssh {
        return Ok(FailureClass::Unreachable);
    }
    match &suspicion.host {
        Some(HostReply::Report(report)) => match (report.postmaster, report.local_answer) {
            (ProcessState::Gone, _) => grace_is_over(suspicion, limits, now).map(|()| FailureClass::Dead),
            (_, LocalAnswer::Accepting) => Err(Refusal::HostSaysServing),
            (_, LocalAnswer::Rejecting) => Err(Refusal::Impaired { class: "starting" }),
            // The host was silent, too: until then the silence was that of the way to both.
            _ if suspicion.host_unseen_at.is_some_and(|unseen| !long(unseen)) => {
                Err(Refusal::EvidenceIncomplete { waiting_for: "silence of hang_after while the host answers" })
            }
            _ => Ok(FailureClass::Hung),
        },
        Some(HostReply::Silent { .. }) if suspicion.host_is_silent() => Ok(FailureClass::Unreachable),
        None | Some(HostReply::Silent { .. }) => Err(Refusal::EvidenceIncomplete { waiting_for: "the host's word" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: fn(u64) -> Mono = |millis| Mono::from_nanos(millis * 1_000_000);

    fn finding(verdict: Verdict) -> Finding {
        Finding { verdict, message: String::new(), began: Mono::ZERO, latency: Span::ZERO, sample: None }
    }

    fn limits(last_answer: u64, outstanding: Option<u64>) -> Limits {
        Limits {
            last_answer: T(last_answer),
            outstanding_since: outstanding.map(T),
            kept_open: false,
            ssh: true,
            hang_after: Span::from_millis(3400),
            restart_grace: Span::from_millis(10_000),
            on_impaired: None,
            traffic: Weight::None,
        }
    }

    fn report(postmaster: ProcessState, local_answer: LocalAnswer) -> HostReport {
        HostReport {
            asked: T(0),
            postmaster,
            others: 0,
            stopped: 0,
            shm_attached: None,
            local_answer,
            stopped_by_order: false,
            holds: Vec::new(),
            message: String::new(),
        }
    }

    fn refused(times: u32) -> Suspicion {
        let mut suspicion = Suspicion::new(T(1000));
        for _ in 0..times {
            suspicion.probe(T(1000), &finding(Verdict::Down(DownCause::Refused)));
        }
        suspicion
    }

    fn silent(times: u32) -> Suspicion {
        let mut suspicion = Suspicion::new(T(1000));
        for _ in 0..times {
            suspicion.probe(T(1000), &finding(Verdict::Down(DownCause::AnswerTimedOut)));
        }
        suspicion
    }

    fn name(result: Result<FailureClass, Refusal>) -> &'static str {
        match result {
            Ok(class) => class.as_str(),
            Err(refusal) => refusal.name(),
        }
    }

    #[test]
    fn rule_101_refused_three_times_and_the_host_says_gone_is_dead() {
        let mut suspicion = refused(3);
        assert_eq!(name(classify(&suspicion, &limits(990, None), T(1060))), "evidence_incomplete");
        suspicion.host_replied(T(1060), Ok(report(ProcessState::Gone, LocalAnswer::NotAsked)));
        assert_eq!(name(classify(&suspicion, &limits(990, None), T(1060))), "dead");
        assert_eq!(name(classify(&refused(2), &limits(990, None), T(1060))), "evidence_incomplete");
    }

    #[test]
    fn a_running_postmaster_behind_a_refusing_port_is_not_dead() {
        for state in [ProcessState::Running, ProcessState::Stopped, ProcessState::Uninterruptible] {
            let mut suspicion = refused(9);
            suspicion.host_replied(T(1060), Ok(report(state, LocalAnswer::NotAsked)));
            assert_eq!(name(classify(&suspicion, &limits(990, None), T(9000))), "host_says_running");
        }
    }

    #[test]
    fn rule_83_an_announced_shutdown_gets_the_restart_grace() {
        let mut suspicion = refused(9);
        suspicion.closed(T(1000), Close { cause: CloseCause::Announced, message: String::new() });
        suspicion.host_replied(T(1060), Ok(report(ProcessState::Gone, LocalAnswer::NotAsked)));
        assert_eq!(name(classify(&suspicion, &limits(990, None), T(10_999))), "restart_grace");
        assert_eq!(name(classify(&suspicion, &limits(990, None), T(11_000))), "dead");
    }

    #[test]
    fn rule_93_hung_is_a_time_with_two_unanswered_connections_and_a_living_host() {
        let mut suspicion = silent(1);
        suspicion.host_replied(T(3000), Ok(report(ProcessState::Stopped, LocalAnswer::Silent)));
        assert_eq!(name(classify(&suspicion, &limits(1000, Some(2600)), T(4399))), "evidence_incomplete");
        assert_eq!(name(classify(&suspicion, &limits(1000, Some(2600)), T(4400))), "hung");
        assert_eq!(name(classify(&suspicion, &limits(1000, None), T(4400))), "evidence_incomplete");
        assert_eq!(name(classify(&suspicion, &limits(1001, Some(2600)), T(4400))), "evidence_incomplete");
    }

    #[test]
    fn silence_with_a_serving_host_is_our_own_path() {
        let mut suspicion = silent(2);
        suspicion.host_replied(T(3000), Ok(report(ProcessState::Running, LocalAnswer::Accepting)));
        assert_eq!(name(classify(&suspicion, &limits(0, None), T(9000))), "host_says_serving");
    }

    #[test]
    fn rule_83_also_where_the_announced_one_is_silent_from_here_and_gone_for_its_host() {
        let mut suspicion = silent(2);
        suspicion.closed(T(1000), Close { cause: CloseCause::Announced, message: String::new() });
        suspicion.host_replied(T(1060), Ok(report(ProcessState::Gone, LocalAnswer::Silent)));
        assert_eq!(name(classify(&suspicion, &limits(0, None), T(10_999))), "restart_grace");
        assert_eq!(name(classify(&suspicion, &limits(0, None), T(11_000))), "dead");
    }

    #[test]
    fn silence_of_the_host_too_is_unreachable_and_only_after_it_was_asked_twice() {
        let mut suspicion = silent(2);
        let failure = || Err(Failure::timed_out("no answer", ""));
        assert_eq!(name(classify(&suspicion, &limits(0, None), T(9000))), "evidence_incomplete");
        suspicion.host_replied(T(2000), failure());
        assert_eq!(name(classify(&suspicion, &limits(0, None), T(9000))), "evidence_incomplete");
        suspicion.host_replied(T(3000), failure());
        assert_eq!(name(classify(&suspicion, &limits(0, None), T(9000))), "unreachable");
        assert_eq!(name(classify(&silent(2), &Limits { ssh: false, ..limits(0, None) }, T(9000))), "unreachable");
    }

    #[test]
    fn impaired_is_never_death_unless_configured() {
        for impairment in [Impairment::Saturated, Impairment::Starting, Impairment::Authentication, Impairment::Tls] {
            let mut suspicion = refused(9);
            suspicion.probe(T(2000), &finding(Verdict::Impaired(impairment)));
            assert_eq!(name(classify(&suspicion, &limits(0, None), T(600_000))), "impaired");
            let limits = Limits { on_impaired: Some(Span::from_millis(30_000)), ..limits(0, None) };
            assert_eq!(name(classify(&suspicion, &limits, T(31_999))), "impaired");
            assert_eq!(name(classify(&suspicion, &limits, T(32_000))), "unusable");
        }
    }

    #[test]
    fn the_host_programs_own_calls_are_one_observation_and_never_decisive_alone() {
        let with = |limits: Limits, traffic| Limits { traffic, ..limits };
        let host = |mut suspicion: Suspicion, postmaster| {
            suspicion.host_replied(T(1060), Ok(report(postmaster, LocalAnswer::Silent)));
            suspicion
        };
        let (failed, timed_out) = (Weight::Failed(Outcome::Refused), Weight::Failed(Outcome::Timeout));
        let dead = |times| host(refused(times), ProcessState::Gone);
        assert_eq!(name(classify(&dead(2), &with(limits(990, None), failed), T(1060))), "dead");
        assert_eq!(name(classify(&dead(1), &with(limits(990, None), failed), T(1060))), "evidence_incomplete");
        assert_eq!(name(classify(&dead(2), &with(limits(990, None), timed_out), T(1060))), "evidence_incomplete");
        assert_eq!(name(classify(&dead(5), &with(limits(990, None), Weight::Served), T(1060))), "evidence_incomplete");
        assert_eq!(name(classify(&dead(6), &with(limits(990, None), Weight::Served), T(1060))), "dead");

        let hung = |times| host(silent(times), ProcessState::Running);
        assert_eq!(name(classify(&hung(1), &with(limits(0, None), timed_out), T(3400))), "hung");
        assert_eq!(name(classify(&hung(0), &with(limits(0, None), timed_out), T(3400))), "evidence_incomplete");
        assert_eq!(name(classify(&hung(1), &with(limits(0, None), timed_out), T(3399))), "evidence_incomplete");
        assert_eq!(name(classify(&hung(4), &with(limits(0, None), Weight::Served), T(6799))), "evidence_incomplete");
        assert_eq!(name(classify(&hung(4), &with(limits(0, None), Weight::Served), T(6800))), "hung");
    }

    #[test]
    fn unknown_changes_nothing() {
        let mut suspicion = refused(2);
        let before = suspicion.clone();
        suspicion.probe(T(2000), &finding(Verdict::Unknown(super::super::observation::UnknownCause::Resolver)));
        assert_eq!(suspicion, before);
    }

    /// Rule 181.
    #[test]
    fn what_a_host_proves_needs_one_refusal() {
        let killed = HostReport { asked: T(1000), shm_attached: Some(0), ..report(ProcessState::Gone, LocalAnswer::NotAsked) };
        let dead = |times: u32, report: HostReport| {
            let mut suspicion = refused(times);
            suspicion.close = Some((T(1000), Close { cause: CloseCause::DeathHint, message: String::new() }));
            suspicion.host_replied(T(1010), Ok(report));
            suspicion.is_proven_dead(&limits(0, None))
        };
        assert!(dead(1, killed.clone()));
        assert!(!dead(0, killed.clone()), "nobody was refused");
        assert!(!dead(1, HostReport { shm_attached: None, ..killed.clone() }), "its memory may be there");
        assert!(!dead(1, HostReport { others: 1, ..killed.clone() }), "its children are there");
        assert!(!dead(1, HostReport { asked: T(999), ..killed.clone() }), "that was before");
        assert!(!dead(1, HostReport { stopped_by_order: true, ..killed }), "it may be on its way back");
    }
}
