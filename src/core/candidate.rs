//! Whom to promote, and what would be lost: judged by what was true before the death plus the position read after it.

use super::id::ServerId;
use super::model::{OnLoss, PostgresModel, ServerModel};
use super::refusal::CandidateRefusal;
use super::sample::{Lsn, Sample};
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// What is known of the primary's log from its last samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The cluster's identity.
    pub system_id: u64,
    /// The primary's timeline.
    pub timeline: u32,
    /// The furthest flushed position known, and when it was asked for.
    pub flush: Lsn,
    /// When that was.
    pub at: Mono,
    /// How fast it grew lately, in bytes per second.
    pub growth: u64,
    /// The primary wrote nothing acknowledged after this moment (its last sign of life or the first bad sign).
    pub until: Mono,
    /// Commits wait for the acknowledgement of a synchronous standby.
    pub synchronous: bool,
    /// Up to here they may have been acknowledged by others than those who acknowledge them now.
    pub acknowledged_before: Lsn,
}

/// A sample of the primary older than this at its death says nothing about the loss.
pub const SAMPLE_FRESH: Span = Span::from_millis(5_000);

impl Reference {
    /// The furthest position the primary can have reached when a standby was asked, and never later than its death: the sample
    /// plus the growth since (rule 20). For a standby asked before the death this is its lag at that moment; asked after it,
    /// what the death can have cost.
    #[must_use]
    pub fn furthest(&self, asked: Mono) -> Option<Lsn> {
        if self.until.since(self.at) > SAMPLE_FRESH {
            return None;
        }
        let when = asked.min(self.until);
        let grown = |span: Span| {
            let bytes = u128::from(self.growth) * u128::from(span.as_nanos()) / 1_000_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        Some(Lsn(if when >= self.at {
            self.flush.0.saturating_add(grown(when.since(self.at)))
        } else {
            self.flush.0.saturating_sub(grown(self.at.since(when)))
        }))
    }
}

/// What is known of a standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Which.
    pub server: ServerId,
    /// Its configuration.
    pub model: &'a ServerModel,
    /// What it said, or why it could not be asked.
    pub sample: Result<&'a Sample, String>,
    /// It was receiving from the primary while that lived.
    pub was_streaming: bool,
    /// It was among those that acknowledge synchronous commits while the primary lived.
    pub was_synchronous: bool,
    /// Its promotion was tried in this failover and had no effect.
    pub refused: Option<&'a str>,
}

/// A standby that may be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub server: ServerId,
    /// Its position: the further of received and replayed (rule 61).
    pub position: Lsn,
    /// Received and not yet replayed: delays the promotion, loses nothing.
    pub to_replay: u64,
    /// Bytes of log that the primary may have had and this one has not; `None`: not known.
    pub loss: Option<u64>,
    /// Every commit that was acknowledged while waiting for a standby is here.
    pub holds_acknowledged: bool,
    priority: u32,
}

impl Candidate {
    /// A server of an application: it holds no data, so nothing can be missing.
    #[must_use]
    pub fn of_application(server: ServerId, priority: u32) -> Candidate {
        Candidate { server, position: Lsn::default(), to_replay: 0, loss: Some(0), holds_acknowledged: false, priority }
    }

    /// One that an earlier engine chose, as the journal knows it.
    #[must_use]
    pub fn chosen_before(server: ServerId, position: Lsn, loss: Option<u64>, holds_acknowledged: bool) -> Candidate {
        Candidate { server, position, to_replay: 0, loss, holds_acknowledged, priority: 0 }
    }
}

/// What may be waived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Only this server.
    pub to: Option<ServerId>,
    /// At most this many bytes may be lost, instead of the configured limit.
    pub accept_loss: Option<u64>,
}

/// The position of a standby: the further of received and replayed, read in one statement (rule 61).
#[must_use]
pub fn position(sample: &Sample) -> Option<Lsn> {
    sample.receive.max(sample.replay)
}

/// Whether one standby may be promoted.
///
/// # Errors
/// The first reason against it.
pub fn examine(
    standing: &Standing<'_>,
    reference: Option<&Reference>,
    policy: &PostgresModel,
    waiver: &Waiver,
) -> Result<Candidate, CandidateRefusal> {
    if let Some(to) = waiver.to {
        if to != standing.server {
            return Err(CandidateRefusal::NotChosen);
        }
    } else if !standing.model.candidate {
        return Err(CandidateRefusal::NotACandidate);
    }
    if let Some(why) = standing.refused {
        return Err(CandidateRefusal::PromotionRefused { why: why.to_owned() });
    }
    let sample = standing.sample.as_ref().map_err(|why| CandidateRefusal::NotReadable { why: why.clone() })?;
    if let Some(reference) = reference
        && sample.system_id != reference.system_id
    {
        return Err(CandidateRefusal::OtherCluster);
    }
    if !sample.in_recovery {
        return Err(CandidateRefusal::NotInRecovery);
    }
    if let Some(reference) = reference
        && sample.timeline != reference.timeline
    {
        return Err(CandidateRefusal::OtherTimeline { timeline: sample.timeline, expected: reference.timeline });
    }
    if sample.replay_paused {
        return Err(CandidateRefusal::ReplayPaused);
    }
    if sample.delayed && !policy.allow_delayed {
        return Err(CandidateRefusal::Delayed);
    }
    let own = position(sample).ok_or(CandidateRefusal::NotReadable { why: "it has no position yet".into() })?;
    let accepts_any = policy.on_loss == OnLoss::Proceed || waiver.accept_loss == Some(u64::MAX);
    if !standing.was_streaming && !accepts_any {
        return Err(CandidateRefusal::NotStreaming);
    }
    let synchronous = reference.is_some_and(|reference| reference.synchronous);
    if synchronous && !standing.was_synchronous && !accepts_any && waiver.accept_loss.is_none() {
        return Err(CandidateRefusal::NotSynchronous);
    }
    let loss = reference.and_then(|reference| reference.furthest(sample.asked)).map(|furthest| furthest.bytes_after(own));
    // Who acknowledges promises nothing about what others had acknowledged before, until it has come that far.
    let behind = reference.map_or(0, |reference| reference.acknowledged_before.bytes_after(own));
    if synchronous && behind > 0 && !accepts_any && waiver.accept_loss.is_none() {
        return Err(CandidateRefusal::LossTooHigh { loss: behind, limit: 0 });
    }
    let holds_acknowledged = synchronous && standing.was_synchronous && behind == 0;
    let limit = waiver.accept_loss.unwrap_or(policy.max_lag_bytes);
    match loss {
        // What no client was told is no lost promise: the acknowledging standby holds every acknowledged commit.
        _ if holds_acknowledged || accepts_any => {}
        Some(loss) if loss > limit => return Err(CandidateRefusal::LossTooHigh { loss, limit }),
        Some(_) => {}
        None => return Err(CandidateRefusal::LossUnknown { why: "there is no fresh sample of the primary's position" }),
    }
    Ok(Candidate {
        server: standing.server,
        position: own,
        to_replay: sample.receive.unwrap_or_default().bytes_after(sample.replay.unwrap_or_default()),
        loss,
        holds_acknowledged,
        priority: standing.model.priority,
    })
}

/// The best of the candidates: the most data first, then the priority, then the order of the configuration.
#[must_use]
pub fn best(candidates: &[Candidate]) -> Option<Candidate> {
    candidates.iter().copied().max_by(|a, b| {
        (a.holds_acknowledged, a.position, a.priority)
            .cmp(&(b.holds_acknowledged, b.position, b.priority))
            .then(b.server.cmp(&a.server))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::{OnNoSyncStandby, Role};
    use crate::core::sample::FenceLevel;

    fn policy() -> PostgresModel {
        PostgresModel {
            max_lag_bytes: 1000,
            on_loss: OnLoss::Refuse,
            fence_require: FenceLevel::ProvenStopped,
            route_exclusive: false,
            promotion_timeout: Span::from_millis(60_000),
            fence_timeout: Span::from_millis(10_000),
            on_no_sync_standby: OnNoSyncStandby::Async,
            allow_delayed: false,
        }
    }

    fn server() -> ServerModel {
        ServerModel {
            name: "db2".into(),
            role: Role::Standby,
            priority: 100,
            candidate: true,
            ssh: true,
            fence_command: false,
            replication_name: None,
        }
    }

    fn sample(receive: u64) -> Sample {
        Sample {
            asked: Mono::ZERO + Span::from_millis(1_000),
            in_recovery: true,
            system_id: 7,
            timeline: 1,
            receive: Some(Lsn(receive)),
            replay: Some(Lsn(receive)),
            ..Sample::default()
        }
    }

    fn reference() -> Reference {
        Reference {
            system_id: 7,
            timeline: 1,
            flush: Lsn(10_000),
            at: Mono::ZERO,
            growth: 0,
            until: Mono::ZERO + Span::from_millis(200),
            synchronous: false,
            acknowledged_before: Lsn::default(),
        }
    }

    fn examined(sample: &Sample, reference: &Reference, change: impl Fn(&mut Standing<'_>)) -> Result<Option<u64>, &'static str> {
        let model = server();
        let mut standing = Standing {
            server: ServerId(1),
            model: &model,
            sample: Ok(sample),
            was_streaming: true,
            was_synchronous: false,
            refused: None,
        };
        change(&mut standing);
        examine(&standing, Some(reference), &policy(), &Waiver::default())
            .map(|candidate| candidate.loss)
            .map_err(|refusal| refusal.name())
    }

    #[test]
    fn rule_20_loss_is_the_last_sample_plus_growth_minus_the_position() {
        assert_eq!(examined(&sample(10_000), &reference(), |_| ()), Ok(Some(0)));
        assert_eq!(examined(&sample(9_500), &reference(), |_| ()), Ok(Some(500)));
        assert_eq!(examined(&sample(8_999), &reference(), |_| ()), Err("loss_too_high"));
        assert_eq!(examined(&sample(12_000), &reference(), |_| ()), Ok(Some(0)));
        let growing = Reference { growth: 10_000, ..reference() };
        assert_eq!(examined(&sample(10_000), &growing, |_| ()), Err("loss_too_high"));
        assert_eq!(examined(&sample(11_500), &growing, |_| ()), Ok(Some(500)));
    }

    #[test]
    fn a_standby_asked_before_the_death_is_judged_by_its_lag_at_that_moment() {
        let growing =
            Reference { growth: 1_000_000, at: Mono::ZERO + Span::from_millis(150), flush: Lsn(160_000), ..reference() };
        let at = |millis| Sample { asked: Mono::ZERO + Span::from_millis(millis), ..sample(10_000) };
        assert_eq!(examined(&at(0), &growing, |_| ()), Ok(Some(0)));
        assert_eq!(examined(&at(1), &growing, |_| ()), Ok(Some(1_000)));
        assert_eq!(examined(&at(50), &growing, |_| ()), Err("loss_too_high"));
    }

    #[test]
    fn rule_20_an_old_sample_makes_the_loss_unknown_and_unknown_is_refused() {
        let old = Reference { until: Mono::ZERO + SAMPLE_FRESH + Span::from_millis(1), ..reference() };
        assert_eq!(examined(&sample(10_000), &old, |_| ()), Err("loss_unknown"));
    }

    #[test]
    fn rule_19_not_comparable_is_refused() {
        let base = sample(10_000);
        assert_eq!(examined(&Sample { in_recovery: false, ..base.clone() }, &reference(), |_| ()), Err("not_in_recovery"));
        assert_eq!(examined(&Sample { system_id: 8, ..base.clone() }, &reference(), |_| ()), Err("other_cluster"));
        assert_eq!(examined(&Sample { timeline: 2, ..base.clone() }, &reference(), |_| ()), Err("other_timeline"));
        assert_eq!(examined(&Sample { receive: None, replay: None, ..base.clone() }, &reference(), |_| ()), Err("not_readable"));
        assert_eq!(examined(&base, &reference(), |standing| standing.sample = Err("refused".into())), Err("not_readable"));
    }

    #[test]
    fn rule_23_a_standby_that_cannot_serve_is_refused() {
        let base = sample(10_000);
        assert_eq!(examined(&Sample { replay_paused: true, ..base.clone() }, &reference(), |_| ()), Err("replay_paused"));
        assert_eq!(examined(&Sample { delayed: true, ..base.clone() }, &reference(), |_| ()), Err("delayed"));
        assert_eq!(examined(&base, &reference(), |standing| standing.was_streaming = false), Err("not_streaming"));
        assert_eq!(examined(&base, &reference(), |standing| standing.refused = Some("no")), Err("promotion_refused"));
    }

    #[test]
    fn rule_22_only_an_acknowledging_standby_is_promoted_when_replication_is_synchronous() {
        let synchronous = Reference { synchronous: true, ..reference() };
        assert_eq!(examined(&sample(10_000), &synchronous, |_| ()), Err("not_synchronous"));
        assert_eq!(examined(&sample(1_000), &synchronous, |standing| standing.was_synchronous = true), Ok(Some(9_000)));
    }

    #[test]
    fn rule_22_who_acknowledges_now_has_to_have_what_others_acknowledged_before() {
        let changed = Reference { synchronous: true, acknowledged_before: Lsn(5_000), ..reference() };
        let member = |standing: &mut Standing<'_>| standing.was_synchronous = true;
        assert_eq!(examined(&sample(4_999), &changed, member), Err("loss_too_high"));
        assert_eq!(examined(&sample(5_000), &changed, member), Ok(Some(5_000)));
        let asynchronous = Reference { synchronous: false, ..changed };
        assert_eq!(examined(&sample(9_500), &asynchronous, |_| ()), Ok(Some(500)), "nobody promised anything");
    }

    #[test]
    fn rule_61_the_position_is_the_further_of_received_and_replayed() {
        let mut replayed = sample(5);
        replayed.replay = Some(Lsn(9));
        assert_eq!(position(&replayed), Some(Lsn(9)));
        replayed.receive = None;
        assert_eq!(position(&replayed), Some(Lsn(9)));
    }

    #[test]
    fn the_most_data_wins_then_the_priority_then_the_order() {
        let of = |server, position, priority| Candidate {
            server: ServerId(server),
            position: Lsn(position),
            to_replay: 0,
            loss: Some(0),
            holds_acknowledged: false,
            priority,
        };
        assert_eq!(best(&[of(1, 10, 1), of(2, 11, 0)]).map(|candidate| candidate.server), Some(ServerId(2)));
        assert_eq!(best(&[of(1, 10, 1), of(2, 10, 2)]).map(|candidate| candidate.server), Some(ServerId(2)));
        assert_eq!(best(&[of(1, 10, 1), of(2, 10, 1)]).map(|candidate| candidate.server), Some(ServerId(1)));
        assert_eq!(best(&[]), None);
    }
}
