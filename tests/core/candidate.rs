//! Whom to promote and what would be lost, by positions and moments: what the tests beside the code leave open.

use crate::world::{SYSTEM_ID, model, ms, postgres};
use failover_core::candidate::{
    ANY_LOSS, Candidate, Ended, Heard, Reference, SAMPLE_FRESH, Standing, View, Waiver, choose, is_complete,
};
use failover_core::id::ServerId;
use failover_core::model::PostgresModel;
use failover_core::refusal::CandidateRefusal;
use failover_core::sample::{Lsn, Receiver, Sample};
use failover_core::sync_set::{Acknowledging, Method, SyncRule};
use failover_core::time::{Mono, Span};

fn at(millis: u64) -> Mono {
    Mono::ZERO + ms(millis)
}

fn standby(position: u64) -> Sample {
    Sample {
        asked: at(1_000),
        in_recovery: true,
        system_id: SYSTEM_ID,
        timeline: 1,
        receive: Some(Lsn(position)),
        replay: Some(Lsn(position)),
        ..Sample::default()
    }
}

/// Seen at 0 with its log at 10,000, and served until 200 ms.
fn primary() -> Reference {
    Reference {
        system_id: SYSTEM_ID,
        timeline: 1,
        flush: Lsn(10_000),
        at: Mono::ZERO,
        lead: Span::ZERO,
        heard: None,
        growth: Some(0),
        ended: Ended::at(at(200)),
        exact: false,
        sync: None,
        sync_fresh: false,
        acknowledged_before: Lsn(0),
        acknowledged: Vec::new(),
        unpromised_before: Lsn(0),
    }
}

/// Commits wait for so many of db2, db3, …
fn promising(method: Method, required: u32, members: u16) -> Reference {
    let rule = SyncRule { method, required, names: vec!["a name".to_owned()], everybody: false };
    let members: Vec<ServerId> = (1..=members).map(ServerId).collect();
    let size = u32::try_from(members.len()).unwrap();
    Reference { sync: Some(Acknowledging { rule, size, members, only_written: false }), sync_fresh: true, ..primary() }
}

fn policy() -> PostgresModel {
    PostgresModel { max_lag_bytes: 1_000, ..postgres() }
}

struct Field {
    samples: Vec<Sample>,
    reference: Reference,
    policy: PostgresModel,
    waiver: Waiver,
    view: View,
}

impl Field {
    fn of(samples: &[Sample], reference: &Reference) -> Field {
        Field {
            samples: samples.to_vec(),
            reference: reference.clone(),
            policy: policy(),
            waiver: Waiver::default(),
            view: View::Decision,
        }
    }

    fn verdicts(&self, change: impl Fn(usize, &mut Standing<'_>)) -> Vec<Result<Candidate, CandidateRefusal>> {
        let mut servers = model(self.samples.len() + 1).services.remove(0).servers;
        let standings: Vec<Standing<'_>> = self
            .samples
            .iter()
            .zip(&mut servers[1..])
            .enumerate()
            .map(|(place, (sample, model))| {
                let mut standing = Standing {
                    login_refused: None,
                    server: ServerId(u16::try_from(place + 1).unwrap()),
                    model,
                    sample: Ok(sample),
                    timeline: sample.timeline,
                    settled: true,
                    was_streaming: true,
                    same_postmaster: true,
                    cordoned: false,
                    serves_nobody_new: false,
                    replay_stands: false,
                    salvage: Err(String::new()),
                    followers: 0,
                    refused: None,
                };
                change(place, &mut standing);
                standing
            })
            .collect();
        let verdicts = choose(&standings, Some(&self.reference), &self.policy, &self.waiver, self.view);
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn only(&self) -> Result<Option<u64>, &'static str> {
        code(&self.verdicts(|_, _| ())[0])
    }
}

fn code(verdict: &Result<Candidate, CandidateRefusal>) -> Result<Option<u64>, &'static str> {
    verdict.as_ref().map(|candidate| candidate.loss).map_err(CandidateRefusal::name)
}

/// It cannot be promoted, whatever it has.
fn unfit(standing: &mut Standing<'_>) {
    standing.refused = Some("it did not become one");
}

/// Rule 106: what a prompt host takes to say that all is over refuses nobody, and stands in the record. Of what went on beside a host that was
/// silent for long nobody knows: it is held against the limit.
#[test]
fn the_limit_is_judged_by_the_death_and_the_record_by_the_last_moment() {
    let busy = |ended| Reference { growth: Some(1_000), ended, ..primary() };
    // 1,000 bytes a second: at its death 200 bytes are missing, when its host said so 2,200.
    let gone = |said| Ended::gone(at(200), at(said));
    let prompt = Field::of(&[Sample { asked: at(9_000), ..standby(10_000) }], &busy(gone(2_200)));
    assert_eq!(prompt.only(), Ok(Some(2_200)));
    let late = Field::of(&[Sample { asked: at(9_000), ..standby(10_000) }], &busy(gone(5_200)));
    assert_eq!(late.only(), Err("loss_too_high"));
    let fenced = Field::of(&[Sample { asked: at(9_000), ..standby(10_000) }], &busy(Ended::fenced(at(200), at(5_200))));
    assert_eq!(fenced.only(), Err("loss_too_high"));
    // What a person accepts is the whole of it.
    let accepting = |bytes| Waiver { accept_loss: Some(bytes), ..Waiver::default() };
    assert_eq!(Field { waiver: accepting(2_199), ..prompt }.only(), Err("loss_too_high"));
    assert_eq!(Field { waiver: accepting(5_200), ..late }.only(), Ok(Some(5_200)));
}

/// Rule 62: received decides the loss, replayed the delay.
#[test]
fn what_waits_for_replay_is_in_the_record_and_refuses_nobody() {
    let waits = Sample { replay: Some(Lsn(2_000)), ..standby(10_000) };
    let verdicts = Field::of(&[waits], &primary()).verdicts(|_, _| ());
    let candidate = verdicts[0].as_ref().unwrap();
    assert_eq!((candidate.loss, candidate.to_replay, candidate.position), (Some(0), 8_000, Lsn(10_000)));
    let ahead = Sample { receive: Some(Lsn(9_000)), replay: Some(Lsn(10_000)), ..standby(0) };
    let verdicts = Field::of(&[ahead], &primary()).verdicts(|_, _| ());
    assert_eq!(verdicts[0].as_ref().map(|candidate| (candidate.loss, candidate.to_replay)), Ok((Some(0), 0)));
}

/// Rule 160: what holds replay up is in the record, refuses nobody, and is nothing where there is nothing to replay.
#[test]
fn a_replay_that_is_held_is_told_and_refuses_nobody() {
    let held = |sample: Sample, stands: bool| {
        let verdicts = Field::of(&[sample], &primary()).verdicts(|_, standing| standing.replay_stands = stands);
        verdicts[0].as_ref().map(|candidate| candidate.held).map_err(CandidateRefusal::name)
    };
    let waits = Sample { replay: Some(Lsn(2_000)), ..standby(10_000) };
    assert_eq!(held(waits.clone(), false), Ok(false));
    assert_eq!(held(waits.clone(), true), Ok(true), "nobody sees why");
    assert_eq!(held(Sample { replay_conflict: true, ..waits }, false), Ok(true), "it says so");
    assert_eq!(held(Sample { replay_conflict: true, ..standby(10_000) }, true), Ok(false), "all is replayed");
}

/// Rule 64: an idle primary sends nothing, and a message may be old for that alone.
#[test]
fn how_long_ago_a_standby_heard_of_its_primary_is_no_lag() {
    let idle = Receiver::Seen {
        streaming: true,
        latest_end: Some(Lsn(10_000)),
        last_message_age: Span::from_millis(3_600_000),
        application_name: None,
        slot: None,
    };
    assert_eq!(Field::of(&[Sample { receiver: idle, ..standby(10_000) }], &primary()).only(), Ok(Some(0)));
}

/// Rule 20: a sample is worth something for five seconds, whoever took it.
#[test]
fn a_sample_counts_for_so_long_and_no_longer() {
    let aged = |lived: u64, lead| Reference { ended: Ended::at(at(lived)), lead, ..primary() };
    let fresh = SAMPLE_FRESH;
    let one = |reference: &Reference| Field::of(&[standby(10_000)], reference).only();
    assert_eq!(one(&aged(5_000, Span::ZERO)), Ok(Some(0)));
    assert_eq!(one(&aged(5_001, Span::ZERO)), Err("loss_unknown"));
    assert_eq!(one(&aged(0, fresh)), Ok(Some(0)));
    assert_eq!(one(&aged(1, fresh)), Err("loss_unknown"));
    // A loss that is not known is accepted by nobody who names a figure below all figures.
    let unknown = |bytes| Field {
        waiver: Waiver { accept_loss: Some(bytes), ..Waiver::default() },
        ..Field::of(&[standby(10_000)], &aged(5_001, Span::ZERO))
    };
    assert_eq!(unknown(ANY_LOSS - 1).only(), Err("loss_unknown"));
    assert_eq!(unknown(ANY_LOSS).only(), Ok(None));
    assert_eq!(ANY_LOSS, 1 << 50);
}

/// Rule 142: who names a server accepts nothing by it, also where too few have said how far they are.
#[test]
fn who_names_a_server_does_not_waive_the_answers_of_the_others() {
    let field = Field::of(&[standby(10_000), standby(10_000)], &promising(Method::Any, 1, 2));
    let to = |accept_loss| Waiver { to: Some(ServerId(1)), accept_loss };
    let silent = |place: usize, standing: &mut Standing<'_>| {
        if place == 1 {
            standing.sample = Err("no answer".into());
        }
    };
    assert_eq!(code(&Field { waiver: to(None), ..field }.verdicts(silent)[0]), Err("quorum_unanswered"));
    let field = Field::of(&[standby(10_000), standby(10_000)], &promising(Method::Any, 1, 2));
    assert_eq!(code(&Field { waiver: to(Some(0)), ..field }.verdicts(silent)[0]), Ok(Some(0)));
}

/// Rule 116: between two samples the first two of three that were connected can have been any of them.
#[test]
fn with_first_everybody_has_to_have_answered_whose_name_is_in_the_list() {
    let one_silent = |method| {
        let field = Field::of(&[standby(10_000), standby(9_000), standby(9_000)], &promising(method, 2, 3));
        let silent = |place: usize, standing: &mut Standing<'_>| {
            if place == 2 {
                standing.sample = Err("no answer".into());
            }
        };
        code(&field.verdicts(silent)[0])
    };
    assert_eq!(one_silent(Method::First), Err("quorum_unanswered"));
    assert_eq!(one_silent(Method::Any), Ok(Some(0)));
}

/// Rule 111: the three ways in which a position is all that a standby has, and the two that hold it back.
#[test]
fn a_position_is_complete_where_it_streamed_or_came_to_the_end() {
    let streamed = standby(1);
    let replayed = Sample { receive: None, at_end: true, ..standby(1) };
    assert!(is_complete(&streamed) && is_complete(&replayed));
    assert!(is_complete(&Sample { replay_paused: true, ..streamed.clone() }), "what it streamed is on its disk");
    for held in [
        Sample { at_end: false, ..replayed.clone() },
        Sample { replay_paused: true, ..replayed.clone() },
        Sample { delayed: true, ..replayed.clone() },
    ] {
        assert!(!is_complete(&held), "{held:?}");
    }
}

/// Rules 111 and 21: what is not complete is "at least so much", and that is enough for a veto.
#[test]
fn one_that_has_not_replayed_all_vetoes_with_what_is_seen_of_it() {
    let replaying = Sample { receive: None, ..standby(9_900) };
    let one = |own, reference: &Reference| {
        let field = Field::of(&[standby(own), replaying.clone()], reference);
        code(
            &field.verdicts(|place, standing| {
                if place == 1 {
                    unfit(standing);
                }
            })[0],
        )
    };
    assert_eq!(one(8_899, &primary()), Err("behind"), "1,001 bytes more");
    assert_eq!(one(9_000, &primary()), Ok(Some(1_000)));
    assert_eq!(one(9_899, &promising(Method::Any, 1, 1)), Ok(Some(101)), "no commit waits for it: the limit decides");
    assert_eq!(one(8_899, &promising(Method::Any, 1, 1)), Err("behind"));
}

/// Rules 69 and 19: another cluster's bytes are not more than ours.
#[test]
fn a_server_of_another_cluster_or_timeline_has_no_say() {
    for (foreign, refusal) in [
        (Sample { system_id: SYSTEM_ID + 1, ..standby(90_000) }, "other_cluster"),
        (Sample { timeline: 2, ..standby(90_000) }, "other_timeline"),
        (Sample { in_recovery: false, ..standby(90_000) }, "not_in_recovery"),
    ] {
        let verdicts = Field::of(&[standby(10_000), foreign.clone()], &primary()).verdicts(|_, _| ());
        assert_eq!((code(&verdicts[0]), code(&verdicts[1])), (Ok(Some(0)), Err(refusal)));
        // Nor is it one of those who have said how far they are.
        let verdicts = Field::of(&[standby(10_000), foreign], &promising(Method::Any, 1, 2)).verdicts(|_, _| ());
        assert_eq!(code(&verdicts[0]), Err("quorum_unanswered"));
    }
}

/// Rule 23: where its position alone shows that nothing is missing, nobody asks whether it was receiving.
#[test]
fn one_that_was_not_receiving_needs_a_position_that_speaks_for_it() {
    let deaf = |reference: &Reference, own| {
        let field = Field::of(&[standby(own), standby(9_000)], reference);
        code(&field.verdicts(|place, standing| standing.was_streaming = place == 1)[0])
    };
    assert_eq!(deaf(&primary(), 9_000), Err("not_streaming"), "no further than the one that was");
    assert_eq!(deaf(&primary(), 9_001), Ok(Some(999)));
    // Somebody else has what it lacks, and cannot be promoted: its position does not speak for it.
    let field = Field::of(&[standby(9_500), standby(9_600), standby(9_000)], &primary());
    let verdicts = field.verdicts(|place, standing| {
        standing.was_streaming = place == 2;
        if place == 1 {
            unfit(standing);
        }
    });
    assert_eq!(code(&verdicts[0]), Err("not_streaming"));
}

/// Rule 109: before a death, one that may acknowledge and cannot be promoted takes the promise away.
#[test]
fn what_a_member_may_get_before_the_chosen_one_is_foretold() {
    let promise = promising(Method::Any, 1, 2);
    let closed = |place: usize, standing: &mut Standing<'_>| {
        if place == 1 {
            unfit(standing);
        }
    };
    let forecast = |reference: &Reference| {
        let field = Field { view: View::Forecast, ..Field::of(&[standby(10_000), standby(10_000)], reference) };
        code(&field.verdicts(closed)[0])
    };
    assert_eq!(forecast(&promise), Err("may_be_behind"));
    let field = Field { view: View::Forecast, ..Field::of(&[standby(10_000), standby(10_000)], &promise) };
    assert_eq!(field.verdicts(closed)[0], Err(CandidateRefusal::MayBeBehind { by: "db3".into() }));
    assert_eq!(forecast(&promising(Method::Any, 2, 2)), Ok(Some(0)), "no commit without the chosen one");
    assert_eq!(forecast(&primary()), Ok(Some(0)), "nothing is promised");
    let decided = Field::of(&[standby(10_000), standby(10_000)], &promise);
    assert_eq!(code(&decided.verdicts(closed)[0]), Ok(Some(0)), "behind the fence nothing moves any more");
}

/// While the primary writes, who is asked later has more: only one that was asked no later, or that rests, is behind.
#[test]
fn positions_that_move_are_compared_by_when_they_were_asked() {
    let streaming =
        Receiver::Seen { streaming: true, latest_end: None, last_message_age: Span::ZERO, application_name: None, slot: None };
    let one = |view, receiver: &Receiver, asked| {
        let own = Sample { asked: at(1_000), receiver: receiver.clone(), ..standby(8_000) };
        let other = Sample { asked: at(asked), ..standby(9_900) };
        let field = Field { view, ..Field::of(&[own, other], &Reference { flush: Lsn(8_000), ..primary() }) };
        code(
            &field.verdicts(|place, standing| {
                if place == 1 {
                    unfit(standing);
                }
            })[0],
        )
    };
    assert_eq!(one(View::Guard { gone: false }, &streaming, 1_001), Ok(Some(0)));
    assert_eq!(one(View::Guard { gone: false }, &streaming, 1_000), Err("behind"));
    assert_eq!(one(View::Guard { gone: false }, &Receiver::Absent, 1_001), Err("behind"));
    assert_eq!(one(View::Decision, &streaming, 1_001), Err("behind"));
}

/// Rule 22: a figure that stands for a promise needs the promise up to the chosen one's position, and nobody further.
#[test]
fn a_promise_is_in_the_record_where_it_is_kept() {
    let holds = |reference: &Reference, samples: &[Sample]| {
        let verdicts = Field::of(samples, reference).verdicts(|_, _| ());
        verdicts[0].as_ref().map(|candidate| candidate.holds_acknowledged).map_err(CandidateRefusal::name)
    };
    let promise = promising(Method::Any, 1, 1);
    assert_eq!(holds(&promise, &[standby(9_500)]), Ok(true));
    assert_eq!(holds(&Reference { sync_fresh: false, ..promise.clone() }, &[standby(9_500)]), Ok(false));
    assert_eq!(holds(&Reference { unpromised_before: Lsn(9_501), ..promise.clone() }, &[standby(9_500)]), Ok(false));
    assert_eq!(holds(&promise, &[standby(9_500), standby(9_501)]), Ok(false), "somebody has more");
    // The end of the log was read: then it is exact, whoever was waited for.
    let read = Reference { exact: true, ..primary() };
    assert_eq!(holds(&read, &[standby(10_000)]), Ok(true));
    assert_eq!(holds(&read, &[standby(9_999)]), Ok(false));
}

/// What was read where the log ended is estimated by nobody, and how long nobody looked is of no matter then.
#[test]
fn a_record_says_for_how_long_nobody_looked() {
    let unseen = |reference: &Reference| {
        let verdicts = Field::of(&[Sample { asked: at(9_000), ..standby(10_000) }], reference).verdicts(|_, _| ());
        let candidate = verdicts[0].clone().unwrap();
        (candidate.unseen, candidate.away)
    };
    let away = Reference { lead: ms(300), ..primary() };
    assert_eq!(unseen(&primary()), (ms(200), Span::ZERO));
    assert_eq!(unseen(&away), (ms(500), ms(300)));
    assert_eq!(unseen(&Reference { exact: true, ..away }), (Span::ZERO, Span::ZERO));
    // Its own sample is too old; a standby heard of it later, and was asked by an engine before this one.
    let heard = Some(Heard { end: Lsn(10_000), at: at(8_900), lead: ms(50) });
    assert_eq!(unseen(&Reference { ended: Ended::at(at(9_000)), heard, ..primary() }), (ms(150), Span::ZERO));
    // Too old for having been seen by another engine.
    let heard = Some(Heard { end: Lsn(10_000), at: at(100), lead: Span::ZERO });
    assert_eq!(unseen(&Reference { lead: ms(6_000), heard, ..primary() }), (ms(100), ms(6_000)));
}
