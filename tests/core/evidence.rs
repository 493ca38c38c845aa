//! From what was seen since the first bad sign to a class of failure, or to what is still missing: each rule at its limit.

use failover_core::evidence::{FailureClass, Limits, Suspicion, classify};
use failover_core::observation::{Close, CloseCause, DownCause, Finding, Impairment, Verdict};
use failover_core::output::Failure;
use failover_core::refusal::Refusal;
use failover_core::sample::{HostReport, LocalAnswer, ProcessState};
use failover_core::time::{Mono, Span};
use failover_core::traffic::Weight;

fn at(millis: u64) -> Mono {
    Mono::ZERO + Span::from_millis(millis)
}

fn limits() -> Limits {
    Limits {
        last_answer: at(0),
        outstanding_since: None,
        kept_open: false,
        ssh: true,
        hang_after: Span::from_millis(3_400),
        restart_grace: Span::from_millis(10_000),
        on_impaired: None,
        traffic: Weight::None,
    }
}

fn finding(verdict: Verdict) -> Finding {
    Finding { verdict, message: String::new(), began: at(0), latency: Span::ZERO, sample: None }
}

fn down(cause: DownCause) -> Finding {
    finding(Verdict::Down(cause))
}

fn impaired(impairment: Impairment) -> Finding {
    finding(Verdict::Impaired(impairment))
}

fn seen(times: usize, one: &Finding) -> Suspicion {
    let mut suspicion = Suspicion::new(at(1_000));
    (0..times).for_each(|_| suspicion.probe(at(1_000), one));
    suspicion
}

fn report(postmaster: ProcessState, others: u32, local_answer: LocalAnswer) -> HostReport {
    HostReport {
        asked: at(0),
        postmaster,
        others,
        stopped: 0,
        shm_attached: None,
        local_answer,
        stopped_by_order: false,
        holds: Vec::new(),
        message: String::new(),
    }
}

fn name(result: Result<FailureClass, Refusal>) -> &'static str {
    result.map_or_else(|refusal| refusal.name(), FailureClass::as_str)
}

/// Rule 101: two refusals are none, whatever the host says.
#[test]
fn a_death_takes_three_refusals_and_the_hosts_word() {
    for (times, expected) in [(1, "evidence_incomplete"), (2, "evidence_incomplete"), (3, "dead")] {
        let mut refused = seen(times, &down(DownCause::Refused));
        refused.host_replied(at(1_500), Ok(report(ProcessState::Gone, 0, LocalAnswer::NotAsked)));
        assert_eq!(name(classify(&refused, &limits(), at(2_000))), expected, "{times}");
    }
}

/// Rule 101: without the host's word, a session that lives on says that something in between refuses.
#[test]
fn without_ssh_an_open_session_contradicts_refusals() {
    let without = |kept_open| Limits { ssh: false, kept_open, ..limits() };
    let refused = seen(3, &down(DownCause::Refused));
    assert_eq!(name(classify(&refused, &without(true), at(2_000))), "evidence_incomplete");
    assert_eq!(name(classify(&refused, &without(false), at(2_000))), "dead");
}

/// Rules 84 and 93: what `pg_isready` gets on the host itself.
#[test]
fn a_server_that_rejects_on_its_own_host_starts_and_does_not_hang() {
    let silent = seen(2, &down(DownCause::AnswerTimedOut));
    let said = |local| {
        let mut suspicion = silent.clone();
        suspicion.host_replied(at(3_000), Ok(report(ProcessState::Running, 3, local)));
        classify(&suspicion, &limits(), at(9_000))
    };
    assert_eq!(said(LocalAnswer::Rejecting), Err(Refusal::Impaired { class: "starting" }));
    assert_eq!(said(LocalAnswer::Accepting), Err(Refusal::HostSaysServing));
    assert_eq!(said(LocalAnswer::Silent), Ok(FailureClass::Hung));
    assert_eq!(said(LocalAnswer::NotAsked), Ok(FailureClass::Hung));
}

/// Rule 93: what was silent together with its host was not silent by itself.
#[test]
fn a_hang_is_timed_from_when_its_host_last_could_not_be_asked() {
    let mut suspicion = seen(2, &down(DownCause::ConnectTimedOut));
    suspicion.host_replied(at(4_000), Err(Failure::unknown("no answer", "")));
    suspicion.host_replied(at(4_100), Ok(report(ProcessState::Running, 3, LocalAnswer::NotAsked)));
    assert_eq!(name(classify(&suspicion, &limits(), at(7_399))), "evidence_incomplete");
    assert_eq!(name(classify(&suspicion, &limits(), at(7_400))), "hung");
    // A death is none of the way's.
    suspicion.host_replied(at(4_200), Ok(report(ProcessState::Gone, 0, LocalAnswer::NotAsked)));
    assert_eq!(name(classify(&suspicion, &limits(), at(4_200))), "dead");
}

/// Rule 83: a new connection that is told "shutting down" announces it as a session's last words do.
#[test]
fn a_shutdown_that_a_new_connection_is_told_of_begins_the_grace() {
    let mut suspicion = seen(1, &impaired(Impairment::Stopping));
    (0..3).for_each(|_| suspicion.probe(at(1_500), &down(DownCause::Refused)));
    suspicion.host_replied(at(1_500), Ok(report(ProcessState::Gone, 0, LocalAnswer::NotAsked)));
    assert_eq!(name(classify(&suspicion, &limits(), at(10_999))), "restart_grace");
    assert_eq!(name(classify(&suspicion, &limits(), at(11_000))), "dead");
    // Told again it begins no second one.
    let mut twice = seen(1, &impaired(Impairment::Stopping));
    twice.probe(at(5_000), &impaired(Impairment::Stopping));
    twice.closed(at(6_000), Close { cause: CloseCause::Announced, message: String::new() });
    assert_eq!(twice.announced, Some(at(1_000)));
}

/// Rule 84: the time of an impairment goes on while one becomes another.
#[test]
fn one_impairment_after_another_is_one_time() {
    let mut suspicion = seen(1, &impaired(Impairment::Starting));
    suspicion.probe(at(20_000), &impaired(Impairment::Saturated));
    let limits = Limits { on_impaired: Some(Span::from_millis(30_000)), ..limits() };
    assert_eq!(name(classify(&suspicion, &limits, at(30_999))), "impaired");
    assert_eq!(name(classify(&suspicion, &limits, at(31_000))), "unusable");
    // It was gone in between: that ends it.
    suspicion.probe(at(32_000), &down(DownCause::Refused));
    suspicion.probe(at(33_000), &impaired(Impairment::Starting));
    assert_eq!(name(classify(&suspicion, &limits, at(62_999))), "impaired");
    assert_eq!(name(classify(&suspicion, &limits, at(63_000))), "unusable");
}

/// Rules 84 and 101: who answers is not gone, and the row of refusals begins anew.
#[test]
fn an_answer_ends_a_row_of_refusals_and_of_silence() {
    let mut suspicion = seen(2, &down(DownCause::Refused));
    suspicion.probe(at(1_100), &down(DownCause::AnswerTimedOut));
    suspicion.probe(at(1_200), &impaired(Impairment::Saturated));
    suspicion.probe(at(1_300), &down(DownCause::Refused));
    suspicion.host_replied(at(1_300), Ok(report(ProcessState::Gone, 0, LocalAnswer::NotAsked)));
    assert_eq!((suspicion.refused, suspicion.unanswered), (1, 0));
    assert_eq!(name(classify(&suspicion, &limits(), at(9_000))), "evidence_incomplete");
}

/// Rule 106: a postmaster's children go on acknowledging commits without it.
#[test]
fn nobody_is_left_only_where_the_children_are_gone_too() {
    let mut suspicion = seen(3, &down(DownCause::Refused));
    suspicion.host_replied(at(1_500), Ok(report(ProcessState::Gone, 2, LocalAnswer::NotAsked)));
    assert_eq!(suspicion.ended(FailureClass::Dead), None);
    suspicion.host_replied(at(2_500), Ok(report(ProcessState::Gone, 0, LocalAnswer::NotAsked)));
    assert_eq!(suspicion.ended(FailureClass::Dead), Some(at(2_500)));
    suspicion.host_replied(at(2_600), Ok(report(ProcessState::Gone, 0, LocalAnswer::NotAsked)));
    assert_eq!(suspicion.ended(FailureClass::Dead), Some(at(2_500)), "since then");
    // Somebody started it, or nobody can say any more.
    suspicion.host_replied(at(2_700), Ok(report(ProcessState::Running, 5, LocalAnswer::NotAsked)));
    assert_eq!(suspicion.ended(FailureClass::Dead), None);
    suspicion.host_replied(at(2_800), Ok(report(ProcessState::Gone, 0, LocalAnswer::NotAsked)));
    suspicion.host_replied(at(2_900), Err(Failure::timed_out("no answer", "")));
    assert_eq!(suspicion.ended(FailureClass::Dead), None);
    assert_eq!(suspicion.ended(FailureClass::Hung), None, "a class of its own says nothing of the end");
}

/// Rule 106: of a server that starts or recovers nobody has a session; of one whose slots are taken everybody has.
#[test]
fn an_unusable_server_has_ended_only_where_nobody_has_a_session() {
    let mut suspicion = seen(1, &impaired(Impairment::Recovering));
    assert_eq!(suspicion.ended(FailureClass::Unusable), Some(at(1_000)));
    suspicion.probe(at(2_000), &impaired(Impairment::Starting));
    assert_eq!(suspicion.ended(FailureClass::Unusable), Some(at(1_000)));
    suspicion.probe(at(3_000), &impaired(Impairment::Saturated));
    assert_eq!(suspicion.ended(FailureClass::Unusable), None);
    suspicion.probe(at(4_000), &impaired(Impairment::Recovering));
    suspicion.probe(at(5_000), &down(DownCause::Refused));
    assert_eq!(suspicion.ended(FailureClass::Unusable), None);
}

/// Rules 102 and 101: twice in a row, and an answer in between begins the count anew.
#[test]
fn a_host_is_silent_once_it_did_not_answer_twice_in_a_row() {
    let silence = || Err(Failure::timed_out("no answer", ""));
    let mut suspicion = seen(3, &down(DownCause::Refused));
    suspicion.host_replied(at(2_000), silence());
    assert_eq!(name(classify(&suspicion, &limits(), at(9_000))), "evidence_incomplete");
    suspicion.host_replied(at(3_000), Ok(report(ProcessState::Running, 0, LocalAnswer::NotAsked)));
    suspicion.host_replied(at(4_000), silence());
    assert!(!suspicion.host_is_silent());
    suspicion.host_replied(at(5_000), silence());
    assert!(suspicion.host_is_silent() && !suspicion.host_answers());
    assert_eq!(name(classify(&suspicion, &limits(), at(9_000))), "dead");
}

/// Rule 93: a connection under way counts once it has waited a moment, and what its own host said of it is kept.
#[test]
fn what_was_asked_locally_is_kept_while_the_postmaster_stays_as_it_is() {
    let mut suspicion = seen(2, &down(DownCause::AnswerTimedOut));
    suspicion.host_replied(at(2_000), Ok(report(ProcessState::Running, 0, LocalAnswer::Accepting)));
    suspicion.host_replied(at(2_100), Ok(report(ProcessState::Running, 0, LocalAnswer::NotAsked)));
    assert_eq!(classify(&suspicion, &limits(), at(9_000)), Err(Refusal::HostSaysServing));
    suspicion.host_replied(at(2_200), Ok(report(ProcessState::Stopped, 0, LocalAnswer::NotAsked)));
    assert_eq!(classify(&suspicion, &limits(), at(9_000)), Ok(FailureClass::Hung));
    let one = seen(1, &down(DownCause::AnswerTimedOut));
    let outstanding = |since| Limits { outstanding_since: Some(at(since)), ssh: false, ..limits() };
    assert_eq!(name(classify(&one, &outstanding(8_901), at(9_000))), "evidence_incomplete");
    assert_eq!(name(classify(&one, &outstanding(8_900), at(9_000))), "unreachable");
}
