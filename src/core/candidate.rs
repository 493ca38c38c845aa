//! Whom to promote, and what would be lost: judged by what was true before the death plus the position read after it.

use super::id::ServerId;
use super::model::{OnLoss, OnSalvage, PostgresModel, ServerModel};
use super::refusal::CandidateRefusal;
use super::salvage::Carried;
use super::sample::{Lsn, Sample};
use super::sync_set::Acknowledging;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

mod rank;

pub use rank::{Preference, best, runner_up};

/// What is known of the primary's log from its last samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The cluster's identity.
    pub system_id: u64,
    /// The primary's timeline.
    pub timeline: u32,
    /// The furthest flushed position known, and when it was asked for.
    pub flush: Lsn,
    /// When that was.
    pub at: Mono,
    /// It was so much longer ago: before this engine was started, or while its clock stood still.
    pub lead: Span,
    /// The furthest position that a standby was told by the primary. It may have been on its way for long.
    pub heard: Option<Heard>,
    /// How fast it grew lately, in bytes per second; `None`: it was seen too seldom.
    pub growth: Option<u64>,
    /// How long the primary went on.
    pub ended: Ended,
    /// `flush` was read where the log ended: nothing is estimated.
    pub exact: bool,
    /// Whose acknowledgement commits waited for; `None`: nobody's.
    pub sync: Option<Acknowledging>,
    /// That was seen in two samples in a row, the last one at most [`SYNC_FRESH`] before it died.
    pub sync_fresh: bool,
    /// Up to here commits may have been acknowledged by others than those who acknowledge them now.
    pub acknowledged_before: Lsn,
    /// The same by the primary's last samples, each for standbys that were asked after it had come.
    pub acknowledged: Vec<(Mono, Lsn)>,
    /// Up to here nothing is known of who acknowledged them.
    pub unpromised_before: Lsn,
}

/// What a standby was told by the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The end of the primary's log then.
    pub end: Lsn,
    /// When it heard that.
    pub at: Mono,
    /// It was so much longer ago: before this engine was started.
    pub lead: Span,
}

/// How long the primary went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// It was known to serve until then, the first bad sign or now: how old a sample was then says what it is worth.
    pub lived: Mono,
    /// By all signs it died then, or its fence was proven: no settings are loaded after that.
    pub died: Mono,
    /// What its sessions may have ended until then is held against a limit.
    pub limit: Mono,
    /// Nobody was told of a commit after that: its fence was proven, or it was found dead with nobody left.
    pub until: Mono,
}

impl Ended {
    /// It lives, and is judged as if it ended now.
    #[must_use]
    pub fn at(now: Mono) -> Ended {
        Ended { lived: now, died: now, limit: now, until: now }
    }

    /// Found dead: most likely it died at the first bad sign, and certainly it was gone later. Where its host was not heard for long, nothing
    /// says that its sessions did not go on meanwhile.
    #[must_use]
    pub fn gone(lived: Mono, gone: Mono) -> Ended {
        let limit = if gone.since(lived) <= HOST_PROMPT { lived } else { gone };
        Ended { lived, died: lived, limit, until: gone.max(lived) }
    }

    /// Its fence was proven at `fenced`.
    #[must_use]
    pub fn fenced(lived: Mono, fenced: Mono) -> Ended {
        Ended { lived, died: fenced, limit: fenced, until: fenced }
    }
}

/// Whoever accepts the loss of so much accepts every loss, also one that is not known.
pub const ANY_LOSS: u64 = 1 << 50;

/// A host that answers says within this whether a server is gone: its handshake, a command, and one more try.
const HOST_PROMPT: Span = Span::from_millis(2_000);

/// A sample of the primary older than this at its death says nothing about the loss.
pub const SAMPLE_FRESH: Span = Span::from_millis(5_000);

/// Replay that has not moved for so long while there is log to replay stands still.
pub const REPLAY_STANDS: Span = Span::from_millis(5_000);

/// So many bytes more to replay are a reason to prefer another one that has the same data: a segment, which takes a fraction of a second.
pub const MUCH_TO_REPLAY: u64 = 16 << 20;

/// So much at most is counted on to be carried over: four segments.
const MENDABLE: u64 = 64 << 20;

/// Who acknowledges has to have been seen at most this long before the last possible acknowledgement: an administrator may have changed
/// it since.
pub const SYNC_FRESH: Span = Span::from_millis(1_000);

impl Reference {
    /// So much may be acknowledged, as far as a standby that was asked at `asked` can have it.
    fn acknowledged(&self, asked: Mono) -> Lsn {
        let seen = self.acknowledged.iter().filter(|(came, _)| *came <= asked);
        seen.map(|(_, lsn)| *lsn).fold(self.acknowledged_before, Lsn::max)
    }

    /// The furthest position the primary can have reached when a standby was asked, and never later than its last acknowledgement: the
    /// sample plus the growth since (rule 20). For a standby asked before that this is its lag at that moment; asked after it,
    /// what the death can have cost.
    #[must_use]
    pub fn furthest(&self, asked: Mono) -> Option<Lsn> {
        self.reached(asked.min(self.ended.until))
    }

    /// As [`Reference::furthest`], if it died when all signs say. `None` also where its host was silent for long meanwhile, and nobody knows
    /// how the log grew.
    #[must_use]
    pub fn likely(&self, asked: Mono) -> Option<Lsn> {
        let guessed = self.growth.is_none() && !self.exact && self.ended.limit > self.ended.died;
        if guessed { None } else { self.reached(asked.min(self.ended.limit)) }
    }

    fn reached(&self, when: Mono) -> Option<Lsn> {
        if self.exact {
            return Some(self.flush);
        }
        let own = (self.flush, self.at, self.lead);
        let heard = self.heard.map(|heard| (heard.end, heard.at, heard.lead));
        [Some(own), heard].into_iter().flatten().filter_map(|(flush, at, lead)| self.grown(flush, at, lead, when)).max()
    }

    /// A position that was known, carried on to another moment; `None` where it is too old to say anything.
    fn grown(&self, flush: Lsn, at: Mono, lead: Span, when: Mono) -> Option<Lsn> {
        if self.ended.lived.since(at) + lead > SAMPLE_FRESH {
            return None;
        }
        // Of a log that was seen too seldom nothing is known of its growth: the record gives no figure then.
        let growth = self.growth.map_or(0, u128::from);
        let grown = |span: Span| u64::try_from(growth * u128::from(span.as_nanos()) / 1_000_000_000).unwrap_or(u64::MAX);
        Some(Lsn(if when >= at {
            flush.0.saturating_add(grown(when.since(at) + lead))
        } else {
            flush.0.saturating_sub(grown(at.since(when)))
        }))
    }

    /// For so long at its end nobody looked, or it is not known how the log grew before: there an estimate says little.
    #[must_use]
    pub fn away(&self) -> Span {
        match self.growth {
            _ if self.exact => Span::ZERO,
            Some(_) => self.lead,
            None => self.unseen().max(self.lead),
        }
    }

    /// So long before its last possible acknowledgement it was seen last.
    #[must_use]
    pub fn unseen(&self) -> Span {
        let own = self.ended.until.since(self.at) + self.lead;
        match self.heard {
            _ if self.exact => Span::ZERO,
            Some(heard) if self.ended.lived.since(self.at) + self.lead > SAMPLE_FRESH => {
                (self.ended.until.since(heard.at) + heard.lead).min(own)
            }
            _ => own,
        }
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
    /// Its timeline: what it says, or what it streamed before its receiver ended, where its control file lags behind.
    pub timeline: u32,
    /// Its position rests: it was read twice.
    pub settled: bool,
    /// It was receiving from the primary when that was last seen.
    pub was_streaming: bool,
    /// Its postmaster is the one that it had when it last received.
    pub same_postmaster: bool,
    /// Its promotion was tried in this failover and had no effect.
    pub refused: Option<&'a str>,
    /// An operator cordoned it: nothing but that he takes it back makes it a candidate.
    pub cordoned: bool,
    /// It answers its kept session alone: its postmaster would not carry a promotion out.
    pub serves_nobody_new: bool,
    /// It lets the engine's role in no more: a promotion could not be asked for.
    pub login_refused: Option<&'a str>,
    /// Its replay has stood where it is for [`REPLAY_STANDS`], with log to replay.
    pub replay_stands: bool,
    /// What it lacks could be carried over from the old primary's disk; or why not. Asked about beforehand only.
    pub salvage: Result<(), String>,
    /// So many standbys stream from it.
    pub followers: u32,
}

impl Standing<'_> {
    /// When its sample was asked for.
    fn asked(&self) -> Mono {
        self.sample.as_ref().map_or(Mono::ZERO, |sample| sample.asked)
    }

    /// All that it has is known: an answer. Otherwise its position is what it has at least.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sample.as_ref().is_ok_and(|sample| self.settled && is_complete(sample))
    }
}

/// The position that a sample shows is all that the standby has: its receiver has streamed since the postmaster was started, so local
/// log had been replayed before, or replay has come to the end of the log and nothing holds it.
#[must_use]
pub fn is_complete(sample: &Sample) -> bool {
    sample.receive.is_some() || (sample.at_end && !sample.replay_paused && !sample.delayed)
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
    /// It had replayed the log up to here when it was asked: it cannot go back behind that. `None`: not asked by this engine.
    #[serde(default)]
    pub replayed: Option<Lsn>,
    /// Its replay does not move: sessions of the standby are in its way, or nobody knows what is. A promotion waits as long as that lasts.
    #[serde(default)]
    pub held: bool,
    /// Bytes of log that the primary may have had and this one has not; `None`: not known.
    pub loss: Option<u64>,
    /// `loss` is read, not estimated.
    #[serde(default)]
    pub exact: bool,
    /// The primary's log was not seen for this long at its end, which `loss` estimates.
    #[serde(default)]
    pub unseen: Span,
    /// For so long of that no engine looked, or how the log grew before is not known: `loss` says little about it.
    #[serde(default)]
    pub away: Span,
    /// Every commit that was acknowledged while waiting for a standby is here.
    pub holds_acknowledged: bool,
    /// Beforehand: what it lacks is carried over from the old primary's disk, while that can be read.
    #[serde(default)]
    pub mends: bool,
    /// What was carried over.
    #[serde(default)]
    pub carried: Option<Carried>,
    /// So many standbys stream from it, also by way of another one: they follow it without a change.
    #[serde(default)]
    pub followers: u32,
    priority: u32,
}

impl Candidate {
    /// A server of an application: it holds no data, so nothing can be missing.
    #[must_use]
    pub fn of_application(server: ServerId, priority: u32) -> Candidate {
        Candidate { loss: Some(0), exact: true, priority, ..Candidate::chosen_before(server, Lsn::default(), None, false) }
    }

    /// One that an earlier engine chose, as the journal knows it.
    #[must_use]
    pub fn chosen_before(server: ServerId, position: Lsn, loss: Option<u64>, holds_acknowledged: bool) -> Candidate {
        Candidate {
            server,
            position,
            to_replay: 0,
            replayed: None,
            held: false,
            loss,
            exact: false,
            unseen: Span::ZERO,
            away: Span::ZERO,
            holds_acknowledged,
            mends: false,
            carried: None,
            followers: 0,
            priority: 0,
        }
    }

    /// The same, with what was carried to it. `flushes`: as far as is known commits waited for the old primary's disk. A commit that did
    /// not is on no disk, and nothing proves it.
    #[must_use]
    pub fn with_carried(self, carried: Option<Carried>, flushes: bool) -> Candidate {
        Candidate { carried, holds_acknowledged: self.holds_acknowledged && (carried.is_none() || flushes), ..self }
    }

    /// `loss` as a record gives it. An estimate of nothing is no figure: 0 would read as a proof. Neither is one of a log that nobody
    /// looked at.
    #[must_use]
    pub fn recorded_loss(&self) -> Option<u64> {
        let proves = self.exact || self.holds_acknowledged || self.loss != Some(0);
        let recorded = self.loss.filter(|_| proves && self.away == Span::ZERO);
        assert!(recorded != Some(0) || self.exact || self.holds_acknowledged, "a loss of 0 is recorded, and nothing proves it");
        recorded
    }

    /// What may be missing, for people. Of one that an earlier engine chose it is not known how long the log was not seen.
    #[must_use]
    pub fn loss_sentence(&self) -> String {
        let missing = self.missing_sentence();
        let after = match self.carried {
            Some(carried) => carried.sentence(),
            None if self.mends => "; nothing that was flushed is lost while the old primary's disk can be read (salvage)".into(),
            None => String::new(),
        };
        missing + &after
    }

    fn missing_sentence(&self) -> String {
        let unseen = self.unseen;
        match self.loss {
            Some(0) if self.carried.is_some() => {
                "nothing that was flushed is missing: it has the log on the old primary's disk up to its end".into()
            }
            Some(0) if self.exact => "nothing is missing: it has the log up to its end".into(),
            _ if self.holds_acknowledged => {
                "no acknowledged commit can be missing of those that waited for a standby (synchronous)".into()
            }
            Some(bytes) if self.exact => format!("{bytes} bytes of log are missing"),
            Some(0) if self.away > Span::ZERO => {
                format!("how much may be missing is not known: nobody saw the last {unseen} of the log")
            }
            Some(bytes) if self.away > Span::ZERO => format!(
                "how much may be missing is not known: nobody saw the last {unseen} of the log (about {bytes} bytes, if it grew as before)"
            ),
            Some(0) if unseen == Span::ZERO => "no byte that was seen is missing".into(),
            Some(bytes) if unseen == Span::ZERO => format!("about {bytes} bytes of log may be missing"),
            Some(0) => format!("no byte that was seen is missing; the last {unseen} of the log were not seen"),
            Some(bytes) => format!("about {bytes} bytes of log may be missing; its last {unseen} were not seen"),
            None => "how much may be missing is not known".into(),
        }
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

/// What a standby has received and not yet replayed, in bytes.
#[must_use]
pub fn to_replay(sample: &Sample) -> u64 {
    sample.receive.unwrap_or_default().bytes_after(sample.replay.unwrap_or_default())
}

/// For what the standbys are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What would be promoted if the primary died now: it writes on, so positions move between the moments at which they are asked for,
    /// and what it writes next counts.
    Forecast,
    /// Whether a failover has somebody to promote: by the last words of before, or of a primary that may still live.
    Guard {
        /// No process of the primary is left, by its host's word: to end it costs nothing.
        gone: bool,
    },
    /// Whom to promote: positions that were read after the fence.
    Decision,
}

/// Each standby's verdict. Which one is promoted is [`best`] of those that may be.
///
/// One function for the forecast and for the decision.
#[must_use]
pub fn choose(
    standings: &[Standing<'_>],
    reference: Option<&Reference>,
    policy: &PostgresModel,
    waiver: &Waiver,
    view: View,
) -> Vec<(ServerId, Result<Candidate, CandidateRefusal>)> {
    let field = Field::new(standings, reference, policy, waiver, view);
    let weigh = |(one, own): (&_, &Result<Lsn, _>)| own.clone().and_then(|own| field.weigh(one, own));
    let weighed: Vec<_> = field.judged().map(weigh).collect();
    // The furthest has all that was acknowledged: nothing has to be carried over.
    let held = weighed.iter().flatten().any(|candidate| candidate.holds_acknowledged);
    // Beforehand that is no promise: with a host that is silent, or an engine that sleeps, nobody knows who acknowledged.
    let held =
        held && !(view == View::Forecast && field.is_salvage_required() && standings.iter().any(|one| one.salvage.is_err()));
    let salvaged = |((one, own), verdict)| (one, if held { verdict } else { field.with_salvage(one, own, verdict) });
    field.judged().zip(weighed).map(salvaged).map(|(one, verdict)| (one.server, verdict)).collect()
}

/// What counts for all standbys alike.
struct Field<'a> {
    standings: &'a [Standing<'a>],
    /// Of each, in the same order: what [`Field::fitness`] says.
    fit: Vec<Result<Lsn, CandidateRefusal>>,
    reference: Option<&'a Reference>,
    policy: &'a PostgresModel,
    waiver: &'a Waiver,
    view: View,
    /// Every loss is accepted.
    any_loss: bool,
    /// Of those who may have acknowledged, so many answered; `None`: nobody is waited for.
    answers: Option<Answers>,
    /// The furthest that one who was receiving has come.
    streamed: Option<Lsn>,
}

#[derive(Clone, Copy)]
struct Answers {
    complete: u32,
    needed: u32,
    size: u32,
    required: u32,
}

impl<'a> Field<'a> {
    fn new(
        standings: &'a [Standing<'a>],
        reference: Option<&'a Reference>,
        policy: &'a PostgresModel,
        waiver: &'a Waiver,
        view: View,
    ) -> Field<'a> {
        let answers = reference.and_then(|reference| {
            let sync = reference.sync.as_ref()?;
            let complete = count(standings.iter().filter(|one| is_answer(one, reference, sync)));
            Some(Answers { complete, needed: sync.needed(), size: sync.size, required: sync.rule.required })
        });
        let streamed = standings
            .iter()
            .filter(|one| one.was_streaming && is_witness(one, reference))
            .filter_map(|one| one.sample.as_ref().ok().and_then(|sample| position(sample)))
            .max();
        let any_loss = policy.on_loss == OnLoss::Proceed || waiver.accept_loss.is_some_and(|bytes| bytes >= ANY_LOSS);
        let mut field = Field { standings, fit: Vec::new(), reference, policy, waiver, view, any_loss, answers, streamed };
        field.fit = standings.iter().map(|one| field.fitness(one)).collect();
        field
    }

    /// Each standby with its fitness.
    fn judged(&self) -> impl Iterator<Item = (&Standing<'a>, &Result<Lsn, CandidateRefusal>)> {
        self.standings.iter().zip(&self.fit)
    }

    /// Some loss was accepted.
    fn is_waived(&self) -> bool {
        self.any_loss || self.waiver.accept_loss.is_some()
    }

    /// Commits wait for somebody, and no loss was accepted.
    fn is_promised(&self) -> bool {
        self.answers.is_some() && !self.is_waived()
    }

    /// The limit where nothing is promised.
    fn accepted(&self) -> u64 {
        self.waiver.accept_loss.unwrap_or(self.policy.max_lag_bytes)
    }

    /// Enough of those who may have acknowledged a commit have said how far they are.
    fn is_answered(&self) -> bool {
        self.answers.is_some_and(|answers| answers.complete >= answers.needed)
    }

    /// Whether it could be promoted at all, and its position: what has nothing to do with the others.
    fn fitness(&self, one: &Standing<'_>) -> Result<Lsn, CandidateRefusal> {
        if let Some(to) = self.waiver.to {
            if to != one.server {
                return Err(CandidateRefusal::NotChosen);
            }
        } else if !one.model.candidate {
            return Err(CandidateRefusal::NotACandidate);
        }
        if one.cordoned {
            return Err(CandidateRefusal::Cordoned);
        }
        if let Some(why) = one.refused {
            return Err(CandidateRefusal::PromotionRefused { why: why.to_owned() });
        }
        let sample = one.sample.as_ref().map_err(|why| CandidateRefusal::NotReadable { why: why.clone() })?;
        if self.reference.is_some_and(|reference| sample.system_id != reference.system_id) {
            return Err(CandidateRefusal::OtherCluster);
        }
        if !sample.in_recovery {
            return Err(CandidateRefusal::NotInRecovery);
        }
        if one.serves_nobody_new {
            return Err(CandidateRefusal::NoNewSessions);
        }
        if let Some(why) = one.login_refused {
            return Err(CandidateRefusal::LoginRefused { why: why.to_owned() });
        }
        if let Some(reference) = self.reference.filter(|reference| one.timeline != reference.timeline) {
            return Err(CandidateRefusal::OtherTimeline { timeline: one.timeline, expected: reference.timeline });
        }
        if sample.replay_paused {
            return Err(CandidateRefusal::ReplayPaused);
        }
        if sample.delayed && !self.policy.allow_delayed {
            return Err(CandidateRefusal::Delayed);
        }
        position(sample).ok_or(CandidateRefusal::NotReadable { why: "it has no position yet".into() })
    }

    /// A fit standby among the others: what they have and it has not, and what the primary may have had.
    fn weigh(&self, one: &Standing<'_>, own: Lsn) -> Result<Candidate, CandidateRefusal> {
        let asked = one.asked();
        if self.has_all(one, own) {
            return Ok(self.candidate(one, own, Some(0), true));
        }
        let missing = self.ahead(one, own, |other| self.is_unfit(other)).map_or(0, |(_, bytes)| bytes);
        let waived = self.is_waived();
        if let Some(answers) = self.answers.filter(|_| !waived && !self.is_answered()) {
            return Err(CandidateRefusal::QuorumUnanswered {
                answered: answers.complete,
                required: answers.required,
                size: answers.size,
            });
        }
        // It has more than one that was receiving: whatever was seen of its receiver, it did receive.
        let furthest = self.streamed.is_some_and(|streamed| own > streamed);
        // An accepted loss is measured below, or it is not known there. Where the end of the log was read it is known.
        let ends = self.view == View::Decision && self.reference.is_some_and(|reference| reference.exact);
        if !one.was_streaming && !waived && !ends && !(missing == 0 && (self.is_answered() || furthest)) {
            return Err(CandidateRefusal::NotStreaming);
        }
        let promised = self.is_promised();
        let before = self.reference.map_or(0, |reference| reference.acknowledged(asked).bytes_after(own));
        if promised && before > 0 {
            return Err(CandidateRefusal::Behind { by: None, bytes: before, limit: 0 });
        }
        if promised
            && self.view == View::Forecast
            && !self.are_enough(Lsn::default())
            && let Some(by) = self.unfit_member()
        {
            return Err(CandidateRefusal::MayBeBehind { by });
        }
        if let Some((by, bytes, limit)) = self.veto(one, own)
            && bytes > limit
            && !self.any_loss
        {
            return Err(CandidateRefusal::Behind { by: Some(by), bytes, limit });
        }
        let has_most = self.ahead(one, own, |_| true).is_none();
        let covered = self.is_covered(own);
        let accepted = self.accepted();
        let lacks = |end: Lsn| end.bytes_after(own).max(missing);
        let loss = self.reference.and_then(|reference| reference.furthest(asked)).map(lacks);
        // What was forecast is decided: how long its host took to say that it is gone is no loss. What a person accepted is the whole of it.
        let likely = self.reference.and_then(|reference| reference.likely(asked)).map(lacks);
        match if self.waiver.accept_loss.is_some() { loss } else { likely } {
            // What no client was told is no lost promise.
            _ if covered || self.any_loss => {}
            Some(loss) if loss > accepted => return Err(CandidateRefusal::LossTooHigh { loss, limit: accepted }),
            Some(_) => {}
            None => return Err(CandidateRefusal::LossUnknown { why: "there is no fresh sample of the primary's position" }),
        }
        let exact = self.reference.is_some_and(|reference| reference.exact);
        // "Nothing is missing" is said only of what was read at the end, or where commits were seen to wait a moment before it.
        let fresh = self.reference.is_some_and(|reference| reference.sync.is_some() && reference.sync_fresh);
        assert!(!covered || fresh, "{} is said to have every acknowledged commit, and nobody knows who acknowledged", one.server);
        Ok(self.candidate(one, own, loss, covered && has_most || exact && loss == Some(0)))
    }

    fn candidate(&self, one: &Standing<'_>, own: Lsn, loss: Option<u64>, holds_acknowledged: bool) -> Candidate {
        let sample = one.sample.as_ref().ok();
        let to_replay = sample.map_or(0, |sample| to_replay(sample));
        let waits = one.replay_stands || sample.is_some_and(|sample| sample.replay_conflict);
        Candidate {
            server: one.server,
            position: own,
            replayed: sample.and_then(|sample| sample.replay),
            to_replay,
            held: waits && to_replay > 0,
            loss,
            // One that has not replayed all that it has lacks that much at most.
            exact: self.reference.is_some_and(|reference| reference.exact) && (loss == Some(0) || one.is_complete()),
            unseen: self.reference.map(Reference::unseen).unwrap_or_default(),
            away: self.reference.map(Reference::away).unwrap_or_default(),
            holds_acknowledged,
            mends: false,
            carried: None,
            followers: one.followers,
            priority: one.model.priority,
        }
    }

    /// The end of the log was read, and it has all of it: every commit is here, whoever acknowledged it.
    fn has_all(&self, one: &Standing<'_>, own: Lsn) -> bool {
        let ends = self.reference.is_some_and(|reference| reference.exact && own >= reference.flush);
        ends && self.view == View::Decision && self.ahead(one, own, |_| true).is_none()
    }

    /// Nobody is promoted who may lack something, and no loss was accepted.
    fn is_salvage_required(&self) -> bool {
        self.policy.salvage == OnSalvage::Require && self.waiver.accept_loss.is_none()
    }

    /// What is lacking may be carried over from the old primary's disk before the promotion: that counts beforehand. Behind the fence it was
    /// done, or it was not.
    fn with_salvage(
        &self,
        one: &Standing<'_>,
        own: &Result<Lsn, CandidateRefusal>,
        verdict: Result<Candidate, CandidateRefusal>,
    ) -> Result<Candidate, CandidateRefusal> {
        let required = self.is_salvage_required();
        match (verdict, &one.salvage) {
            (Ok(_), _) if required && self.view == View::Decision => Err(CandidateRefusal::NotSalvaged { why: String::new() }),
            (verdict, _) if self.view == View::Decision => verdict,
            (Ok(candidate), Ok(())) => Ok(Candidate { mends: true, ..candidate }),
            (Ok(_), Err(why)) if required => Err(CandidateRefusal::NotSalvaged { why: why.clone() }),
            (Err(reason), Ok(())) if reason.is_lack() => own.clone().and_then(|own| self.mended(one, own).ok_or(reason)),
            (verdict, _) => verdict,
        }
    }

    /// One that is refused for what it lacks, and to whom that much can be carried. A primary that may wake up is not killed for it.
    fn mended(&self, one: &Standing<'_>, own: Lsn) -> Option<Candidate> {
        let may = matches!(self.view, View::Forecast | View::Guard { gone: true });
        let lacks = self.reference?.furthest(one.asked())?.bytes_after(own);
        let enough = may && lacks <= MENDABLE;
        enough.then(|| Candidate { mends: true, ..self.candidate(one, own, Some(lacks), false) })
    }

    /// Of those who cannot be promoted themselves, the one that has more than may be missing: its name, how much, the limit.
    ///
    /// What one has of whom no commit waits was not acknowledged: it is measured as everywhere. So is what a member has, where too few
    /// have it for a commit to be acknowledged and the rule may have been another one.
    fn veto(&self, one: &Standing<'_>, own: Lsn) -> Option<(String, u64, u64)> {
        let outvoted = self.is_promised() && !self.are_enough(own);
        let limit = |limit| move |(by, bytes)| (by, bytes, limit);
        let by_member = self.ahead(one, own, |other| outvoted && self.is_member(other) && self.is_unfit(other)).map(limit(0));
        // What nobody was told of is no loss, where it is known that nobody was.
        let known = |other: &Standing<'_>| self.is_covered(own) && self.is_member(other);
        let measured = |other: &Standing<'_>| self.is_unfit(other) && !known(other);
        by_member.or_else(|| self.ahead(one, own, measured).map(limit(self.accepted())))
    }

    /// Of those who may have acknowledged a commit, enough have said how far they are, and have no more than `own` or can be promoted
    /// themselves: what is acknowledged is on one of those, or not beyond `own`.
    fn are_enough(&self, own: Lsn) -> bool {
        let Some((reference, sync)) = self.reference.and_then(|reference| Some((reference, reference.sync.as_ref()?))) else {
            return false;
        };
        let within =
            |one: &Standing<'_>| one.sample.as_ref().ok().and_then(|sample| position(sample)).is_some_and(|at| at <= own);
        let counts = |(one, fit): &(&Standing<'_>, &Result<Lsn, CandidateRefusal>)| {
            is_answer(one, reference, sync) && (fit.is_ok() || within(one))
        };
        count(self.judged().filter(counts)) >= sync.needed()
    }

    /// One of those who acknowledge and cannot be promoted: its name.
    fn unfit_member(&self) -> Option<String> {
        let unfit = |one: &&Standing<'_>| self.is_member(one) && self.is_unfit(one) && is_witness(one, self.reference);
        self.standings.iter().find(unfit).map(|one| one.model.name.clone())
    }

    /// It cannot be promoted itself, whatever it has. Whoever can be is in nobody's way: the furthest of them is chosen.
    fn is_unfit(&self, one: &Standing<'_>) -> bool {
        self.judged().any(|(other, fit)| one.server == other.server && fit.is_err())
    }

    /// Up to `own` it is known who acknowledged commits.
    fn is_covered(&self, own: Lsn) -> bool {
        let known = |reference: &Reference| reference.sync_fresh && own >= reference.unpromised_before;
        self.is_promised() && self.reference.is_some_and(known)
    }

    /// Commits wait for this standby.
    fn is_member(&self, one: &Standing<'_>) -> bool {
        let sync = self.reference.and_then(|reference| reference.sync.as_ref());
        sync.is_some_and(|sync| sync.members.contains(&one.server))
    }

    /// Of those who count, the one that has most of what this one lacks; and how much (rule 21).
    fn ahead(&self, one: &Standing<'_>, own: Lsn, counts: impl Fn(&Standing<'_>) -> bool) -> Option<(String, u64)> {
        let rests = one.sample.as_ref().is_ok_and(|sample| !sample.receiver.is_streaming());
        self.standings
            .iter()
            .filter(|other| other.server != one.server && is_witness(other, self.reference) && counts(other))
            .filter_map(|other| {
                let sample = other.sample.as_ref().ok()?;
                // While the primary writes, who is asked later has more.
                let comparable = self.view == View::Decision || sample.asked <= one.asked() || rests;
                let bytes = position(sample)?.bytes_after(own);
                (comparable && bytes > 0).then(|| (other.model.name.clone(), bytes))
            })
            .max_by_key(|(_, bytes)| *bytes)
    }
}

/// One of those who may have acknowledged a commit says all that it has.
fn is_answer(one: &Standing<'_>, reference: &Reference, sync: &Acknowledging) -> bool {
    let has_flushed = one.same_postmaster || !sync.only_written;
    sync.members.contains(&one.server) && is_witness(one, Some(reference)) && one.is_complete() && has_flushed
}

fn count<T>(those: impl Iterator<Item = T>) -> u32 {
    u32::try_from(those.count()).unwrap_or(u32::MAX)
}

/// What it says about its position can be compared with the others': it is of this cluster and on this timeline, candidate or not,
/// receiving or not.
fn is_witness(one: &Standing<'_>, reference: Option<&Reference>) -> bool {
    one.sample.as_ref().is_ok_and(|sample| {
        sample.in_recovery
            && position(sample).is_some()
            && reference.is_none_or(|reference| sample.system_id == reference.system_id && one.timeline == reference.timeline)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OnNoSyncStandby, Role};
    use crate::sync_set::{Method, SyncRule};

    fn policy() -> PostgresModel {
        PostgresModel {
            max_lag_bytes: 1000,
            on_loss: OnLoss::Refuse,
            promotion_timeout: Span::from_millis(60_000),
            on_no_sync_standby: OnNoSyncStandby::Async,
            allow_delayed: false,
            salvage: OnSalvage::Off,
            salvage_timeout: Span::ZERO,
            followers: crate::model::OnNewPrimary::Off,
            rejoin: crate::model::OnRejoin::Manual,
            sync: crate::model::SyncModel::default(),
        }
    }

    fn at(millis: u64) -> Mono {
        Mono::ZERO + Span::from_millis(millis)
    }

    fn server(name: &str) -> ServerModel {
        ServerModel {
            name: name.into(),
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
            asked: at(1_000),
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
            lead: Span::ZERO,
            growth: Some(0),
            ended: Ended::at(at(200)),
            exact: false,
            sync: None,
            sync_fresh: false,
            acknowledged_before: Lsn::default(),
            acknowledged: Vec::new(),
            unpromised_before: Lsn::default(),
            heard: None,
        }
    }

    /// Commits wait for so many of the servers with these numbers.
    fn synchronous(method: Method, required: u32, size: u32, members: &[u16]) -> Reference {
        let names = members.iter().map(|at| format!("db{}", at + 1)).collect();
        let rule = SyncRule { method, required, names, everybody: false };
        let members = members.iter().copied().map(ServerId).collect();
        let sync = Acknowledging { rule, size, members, only_written: false };
        Reference { sync: Some(sync), sync_fresh: true, ..reference() }
    }

    type Word = Result<(Option<u64>, bool), &'static str>;

    /// Standbys db2, db3, …, each as `change` leaves it; what is said of each: loss and promise, or the refusal.
    fn judged(
        samples: &[Sample],
        reference: &Reference,
        waiver: &Waiver,
        change: impl Fn(usize, &mut Standing<'_>),
    ) -> Vec<Word> {
        judged_by(&policy(), samples, reference, waiver, change)
    }

    fn judged_by(
        policy: &PostgresModel,
        samples: &[Sample],
        reference: &Reference,
        waiver: &Waiver,
        change: impl Fn(usize, &mut Standing<'_>),
    ) -> Vec<Word> {
        let models: Vec<ServerModel> = (0..samples.len()).map(|at| server(&format!("db{}", at + 2))).collect();
        let closed: Vec<ServerModel> = models.iter().map(|model| ServerModel { candidate: false, ..model.clone() }).collect();
        let standings: Vec<Standing<'_>> = samples
            .iter()
            .enumerate()
            .map(|(at, sample)| {
                let mut standing = Standing {
                    server: ServerId(u16::try_from(at + 1).unwrap()),
                    salvage: Err(String::new()),
                    ..standing(&models[at], sample)
                };
                change(at, &mut standing);
                if standing.refused == Some("candidate = false") {
                    standing.model = &closed[at];
                    standing.refused = None;
                }
                standing
            })
            .collect();
        choose(&standings, Some(reference), policy, waiver, View::Decision)
            .into_iter()
            .map(|(_, verdict)| {
                verdict.map(|candidate| (candidate.loss, candidate.holds_acknowledged)).map_err(|refusal| refusal.name())
            })
            .collect()
    }

    fn examined(sample: &Sample, reference: &Reference, change: impl Fn(&mut Standing<'_>)) -> Result<Option<u64>, &'static str> {
        let words = judged(std::slice::from_ref(sample), reference, &Waiver::default(), |_, standing| change(standing));
        words[0].map(|(loss, _)| loss)
    }

    #[test]
    fn rule_20_loss_is_the_last_sample_plus_growth_minus_the_position() {
        assert_eq!(examined(&sample(10_000), &reference(), |_| ()), Ok(Some(0)));
        assert_eq!(examined(&sample(9_500), &reference(), |_| ()), Ok(Some(500)));
        assert_eq!(examined(&sample(8_999), &reference(), |_| ()), Err("loss_too_high"));
        assert_eq!(examined(&sample(12_000), &reference(), |_| ()), Ok(Some(0)));
        let once = Reference { growth: None, ..reference() };
        assert_eq!(once.furthest(at(1_000)), Some(once.flush));
        assert_eq!(once.away(), once.ended.until.since(once.at), "nobody knows how it grew");
        assert_eq!(Reference { growth: Some(0), ..once }.away(), Span::ZERO);
        let growing = Reference { growth: Some(10_000), ..reference() };
        assert_eq!(examined(&sample(10_000), &growing, |_| ()), Err("loss_too_high"));
        assert_eq!(examined(&sample(11_500), &growing, |_| ()), Ok(Some(500)));
    }

    #[test]
    fn of_a_log_that_was_hardly_seen_nothing_is_known_where_the_host_was_silent_for_long() {
        let later = |millis| at(200) + HOST_PROMPT + Span::from_millis(millis);
        let once = |ended| Reference { growth: None, ended, ..reference() };
        let asked = Sample { asked: later(1_000), ..sample(10_000) };
        assert_eq!(examined(&asked, &once(Ended::gone(at(200), later(0))), |_| ()), Ok(Some(0)));
        assert_eq!(examined(&asked, &once(Ended::gone(at(200), later(1))), |_| ()), Err("loss_unknown"));
        // What an earlier engine began on a primary that hangs goes on.
        assert_eq!(examined(&asked, &once(Ended::fenced(at(200), later(1))), |_| ()), Ok(Some(0)));
        let seen = Reference { growth: Some(0), ..once(Ended::gone(at(200), later(1))) };
        assert_eq!(examined(&asked, &seen, |_| ()), Ok(Some(0)));
        let read = Reference { exact: true, ..once(Ended::gone(at(200), later(1))) };
        assert_eq!(examined(&asked, &read, |_| ()), Ok(Some(0)));
    }

    #[test]
    fn a_standby_asked_before_the_death_is_judged_by_its_lag_at_that_moment() {
        let growing = Reference { growth: Some(1_000_000), at: at(150), flush: Lsn(160_000), ..reference() };
        let asked = |millis| Sample { asked: at(millis), ..sample(10_000) };
        assert_eq!(examined(&asked(0), &growing, |_| ()), Ok(Some(0)));
        assert_eq!(examined(&asked(1), &growing, |_| ()), Ok(Some(1_000)));
        assert_eq!(examined(&asked(50), &growing, |_| ()), Err("loss_too_high"));
    }

    #[test]
    fn what_was_written_up_to_the_fence_counts_however_old_the_sign_of_the_failure_is() {
        let woken = Reference { growth: Some(100), ended: Ended::fenced(at(200), at(4_200)), ..reference() };
        assert_eq!(examined(&Sample { asked: at(5_000), ..sample(10_000) }, &woken, |_| ()), Ok(Some(420)));
    }

    fn heard(end: u64, millis: u64) -> Heard {
        Heard { end: Lsn(end), at: at(millis), lead: Span::ZERO }
    }

    #[test]
    fn what_a_standby_heard_of_the_primary_counts_and_makes_no_sample_younger() {
        let growing = Reference { growth: Some(10_000), heard: Some(heard(10_100, 190)), ..reference() };
        assert_eq!(growing.furthest(at(1_000)), Some(Lsn(12_000)), "the sample and the growth since say more");
        let told = Reference { heard: Some(heard(13_000, 190)), ..growing };
        assert_eq!(told.furthest(at(1_000)), Some(Lsn(13_100)));
        let blind = Reference {
            ended: Ended { died: at(200), ..Ended::at(at(9_000)) },
            heard: Some(heard(13_000, 8_900)),
            ..reference()
        };
        assert_eq!((blind.furthest(at(9_500)), blind.unseen()), (Some(Lsn(13_000)), Span::from_millis(100)));
    }

    #[test]
    fn rule_20_an_old_sample_makes_the_loss_unknown_and_unknown_is_refused() {
        let old = Reference {
            ended: Ended { lived: Mono::ZERO + SAMPLE_FRESH + Span::from_millis(1), ..reference().ended },
            ..reference()
        };
        assert_eq!(examined(&sample(10_000), &old, |_| ()), Err("loss_unknown"));
        let before_the_start = Reference { lead: SAMPLE_FRESH, ..reference() };
        assert_eq!(examined(&sample(10_000), &before_the_start, |_| ()), Err("loss_unknown"));
        let read_at_its_end = Reference { exact: true, ..old };
        assert_eq!(examined(&sample(10_000), &read_at_its_end, |_| ()), Ok(Some(0)));
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
    fn rule_23_one_that_was_not_receiving_is_promoted_where_what_it_lacks_is_accepted() {
        let silent = |_: usize, standing: &mut Standing<'_>| standing.was_streaming = false;
        let accepting = |bytes| Waiver { accept_loss: Some(bytes), ..Waiver::default() };
        let verdict = |waiver: &Waiver| judged(&[sample(9_000)], &reference(), waiver, silent);
        assert_eq!(verdict(&Waiver::default()), [Err("not_streaming")]);
        assert_eq!(verdict(&accepting(1_000)), [Ok((Some(1_000), false))]);
        assert_eq!(verdict(&accepting(999)), [Err("loss_too_high")]);
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
    fn rule_22_where_enough_of_those_who_acknowledge_answer_the_furthest_has_every_acknowledged_commit() {
        let any = synchronous(Method::Any, 1, 2, &[1, 2]);
        let both = judged(&[sample(9_500), sample(9_600)], &any, &Waiver::default(), |_, _| ());
        assert_eq!(both, [Ok((Some(500), false)), Ok((Some(400), true))]);
        let far = judged(&[sample(7_000), sample(8_000)], &any, &Waiver::default(), |_, _| ());
        assert_eq!(far[1], Ok((Some(2_000), true)), "beyond max_lag_bytes, and nobody was told of it");
        let silent = judged(&[sample(8_000), sample(9_000)], &any, &Waiver::default(), |at, standing| {
            if at == 1 {
                standing.sample = Err("refused".into());
            }
        });
        assert_eq!(silent, [Err("quorum_unanswered"), Err("not_readable")]);
    }

    #[test]
    fn rule_22_one_that_is_half_replayed_is_no_answer_and_vetoes() {
        let any = synchronous(Method::Any, 1, 2, &[1, 2]);
        let restarted = Sample { receive: None, ..sample(9_900) };
        let words = judged(&[sample(9_000), restarted.clone()], &any, &Waiver::default(), |_, _| ());
        assert_eq!(words, [Err("quorum_unanswered"); 2]);
        let at_its_end = Sample { at_end: true, ..restarted.clone() };
        let words = judged(&[sample(9_000), at_its_end], &any, &Waiver::default(), |_, _| ());
        assert_eq!(words[1], Ok((Some(100), true)));
        let paused = Sample { at_end: true, replay_paused: true, ..restarted };
        let words = judged(&[sample(9_500), paused], &reference(), &Waiver::default(), |_, _| ());
        assert_eq!(words, [Ok((Some(500), false)), Err("replay_paused")], "asynchronous: known loss within the limit");
    }

    #[test]
    fn rule_22_of_the_first_so_many_everybody_has_to_answer() {
        let first = synchronous(Method::First, 1, 3, &[1, 2, 3]);
        let all = [sample(9_000), sample(9_900), sample(9_100)];
        assert_eq!(judged(&all, &first, &Waiver::default(), |_, _| ())[1], Ok((Some(100), true)));
        let words = judged(&all, &first, &Waiver::default(), |at, standing| {
            if at == 2 {
                standing.settled = false;
            }
        });
        assert_eq!(words[1], Err("quorum_unanswered"));
        let any = synchronous(Method::Any, 2, 3, &[1, 2, 3]);
        let words = judged(&all, &any, &Waiver::default(), |at, standing| {
            if at == 2 {
                standing.settled = false;
            }
        });
        assert_eq!(words[1], Ok((Some(100), true)), "two of three say enough where two acknowledge");
    }

    #[test]
    fn rule_22_one_who_was_written_to_and_restarted_may_have_lost_it() {
        let mut written = synchronous(Method::Any, 1, 1, &[1]);
        if let Some(sync) = &mut written.sync {
            sync.only_written = true;
        }
        let promised = |same| judged(&[sample(9_900)], &written, &Waiver::default(), |_, one| one.same_postmaster = same);
        assert_eq!(promised(true), [Ok((Some(100), true))]);
        assert_eq!(promised(false), [Err("quorum_unanswered")]);
    }

    #[test]
    fn rule_22_who_acknowledges_is_believed_for_a_second_only() {
        let stale = Reference { sync_fresh: false, ..synchronous(Method::Any, 1, 1, &[1]) };
        assert_eq!(judged(&[sample(9_900)], &stale, &Waiver::default(), |_, _| ()), [Ok((Some(100), false))]);
        assert_eq!(judged(&[sample(1_000)], &stale, &Waiver::default(), |_, _| ()), [Err("loss_too_high")]);
    }

    #[test]
    fn rule_22_who_acknowledges_now_has_to_have_what_others_acknowledged_before() {
        let changed = Reference { acknowledged_before: Lsn(5_000), ..synchronous(Method::Any, 1, 1, &[1]) };
        assert_eq!(examined(&sample(4_999), &changed, |_| ()), Err("behind"));
        assert_eq!(examined(&sample(5_000), &changed, |_| ()), Ok(Some(5_000)));
        let began = Reference { unpromised_before: Lsn(9_600), ..synchronous(Method::Any, 1, 1, &[1]) };
        assert_eq!(judged(&[sample(9_599)], &began, &Waiver::default(), |_, _| ()), [Ok((Some(401), false))], "as asynchronous");
        assert_eq!(judged(&[sample(9_600)], &began, &Waiver::default(), |_, _| ()), [Ok((Some(400), true))]);
        let somebody = Reference { acknowledged: vec![(at(1_000), Lsn(5_000))], ..synchronous(Method::Any, 1, 1, &[1]) };
        assert_eq!(examined(&sample(4_999), &somebody, |_| ()), Err("behind"), "whoever that was");
        let later = Reference { acknowledged: vec![(at(1_001), Lsn(5_000))], ..somebody };
        assert_eq!(examined(&sample(4_999), &later, |_| ()), Ok(Some(5_001)), "it was asked before that was seen");
        let asynchronous = Reference { acknowledged_before: Lsn(9_900), ..reference() };
        assert_eq!(examined(&sample(9_500), &asynchronous, |_| ()), Ok(Some(500)), "nobody promised anything");
    }

    #[test]
    fn rule_21_one_that_is_further_and_cannot_be_promoted_vetoes() {
        let two = [sample(9_000), sample(9_900)];
        let closed = |at: usize, standing: &mut Standing<'_>| {
            if at == 1 {
                standing.refused = Some("candidate = false");
            }
        };
        let any = synchronous(Method::Any, 1, 2, &[1, 2]);
        assert_eq!(judged(&two, &any, &Waiver::default(), closed), [Err("behind"), Err("not_a_candidate")]);
        // Asynchronous: what is missing is known, and judged by the limit.
        assert_eq!(judged(&two, &reference(), &Waiver::default(), closed)[0], Ok((Some(1_000), false)));
        let limit = [sample(9_000), sample(10_000)];
        assert_eq!(
            judged(&limit, &reference(), &Waiver::default(), closed)[0],
            Ok((Some(1_000), false)),
            "as much as may be lost"
        );
        let far = [sample(8_000), sample(9_900)];
        assert_eq!(judged(&far, &reference(), &Waiver::default(), closed)[0], Err("behind"));
    }

    #[test]
    fn one_of_whom_no_commit_waits_vetoes_by_the_limit_and_takes_the_promise_away() {
        let closed = |at: usize, standing: &mut Standing<'_>| {
            if at == 1 {
                standing.refused = Some("candidate = false");
            }
        };
        let first = synchronous(Method::First, 1, 1, &[1]);
        let two = [sample(9_000), sample(9_900)];
        assert_eq!(
            judged(&two, &first, &Waiver::default(), closed)[0],
            Ok((Some(1_000), false)),
            "900 bytes that nobody was told of"
        );
        let far = [sample(8_000), sample(9_900)];
        assert_eq!(judged(&far, &first, &Waiver::default(), closed)[0], Err("behind"), "more than the limit");
        let even = [sample(9_000), sample(9_000)];
        assert_eq!(judged(&even, &first, &Waiver::default(), closed)[0], Ok((Some(1_000), true)));
    }

    #[test]
    fn rule_22_what_too_few_members_have_was_not_acknowledged() {
        let closed = |at: usize, standing: &mut Standing<'_>| {
            if at == 1 {
                standing.refused = Some("candidate = false");
            }
        };
        let both = synchronous(Method::Any, 2, 2, &[1, 2]);
        let two = [sample(7_000), sample(9_900)];
        assert_eq!(
            judged(&two, &both, &Waiver::default(), closed)[0],
            Ok((Some(3_000), false)),
            "db3 alone acknowledges nothing"
        );
        let stale = Reference { sync_fresh: false, ..both };
        assert_eq!(judged(&two, &stale, &Waiver::default(), closed)[0], Err("behind"), "the rule may have been another one");
        let three = [sample(9_000), sample(9_900), sample(9_500)];
        let two_of_three = synchronous(Method::Any, 2, 3, &[1, 2, 3]);
        let beside = |at: usize, standing: &mut Standing<'_>| {
            if at > 0 {
                standing.refused = Some("candidate = false");
            }
        };
        assert_eq!(judged(&three, &two_of_three, &Waiver::default(), beside)[0], Err("behind"), "two of them have more");
    }

    /// The sentence that a person reads before an order, and behind a failover.
    #[test]
    fn what_may_be_missing_is_said_in_one_way() {
        let of = |bytes| Candidate::chosen_before(ServerId(1), Lsn(1), Some(bytes), false);
        let (some, none) = (Span::from_millis(300), Span::ZERO);
        let said = |bytes, unseen, away| Candidate { unseen, away, ..of(bytes) }.loss_sentence();
        assert_eq!(said(0, none, none), "no byte that was seen is missing");
        assert_eq!(said(5, none, none), "about 5 bytes of log may be missing");
        assert_eq!(said(0, some, none), format!("no byte that was seen is missing; the last {some} of the log were not seen"));
        assert_eq!(said(5, some, none), format!("about 5 bytes of log may be missing; its last {some} were not seen"));
        let unknown = format!("how much may be missing is not known: nobody saw the last {some} of the log");
        assert_eq!(said(0, some, some), unknown);
        assert_eq!(said(5, some, some), format!("{unknown} (about 5 bytes, if it grew as before)"));
        assert!(Candidate { mends: true, ..of(5) }.loss_sentence().ends_with("can be read (salvage)"));
        let application = Candidate::of_application(ServerId(1), 7);
        assert_eq!((application.loss, application.exact, application.priority), (Some(0), true, 7));
    }

    #[test]
    fn an_estimate_of_nothing_is_no_figure_of_a_record() {
        let of = |loss| Candidate::chosen_before(ServerId(1), Lsn(1), Some(loss), false);
        let unseen = |loss| Candidate { unseen: Span::from_millis(300), ..of(loss) };
        assert_eq!([unseen(0).recorded_loss(), unseen(72).recorded_loss()], [None, Some(72)]);
        assert_eq!(unseen(0).loss_sentence(), "no byte that was seen is missing; the last 300 ms of the log were not seen");
        assert_eq!(Candidate { exact: true, ..of(0) }.recorded_loss(), Some(0));
        assert_eq!(Candidate { holds_acknowledged: true, ..unseen(0) }.recorded_loss(), Some(0));
        assert_eq!(Candidate { away: Span::from_millis(9_000), ..unseen(72) }.recorded_loss(), None);
    }

    #[test]
    fn rule_189_a_log_that_commits_did_not_wait_for_proves_nothing_about_them() {
        let all = Candidate { exact: true, ..Candidate::chosen_before(ServerId(1), Lsn(1), Some(0), true) };
        let carried = Some(Carried { missing: 40, salvaged: 40, commits: Some(1) });
        let held = |carried, flushes| all.with_carried(carried, flushes).holds_acknowledged;
        assert_eq!([held(carried, true), held(carried, false), held(None, false)], [true, false, true]);
        assert!(all.with_carried(carried, true).loss_sentence().starts_with("nothing that was flushed is missing"));
    }

    #[test]
    fn rule_21_an_operator_who_names_one_accepts_nothing_by_it() {
        let two = [sample(9_000), sample(9_900)];
        let to = |accept_loss| Waiver { to: Some(ServerId(1)), accept_loss };
        let any = synchronous(Method::Any, 1, 2, &[1, 2]);
        assert_eq!(judged(&two, &any, &to(None), |_, _| ())[0], Err("behind"));
        assert_eq!(judged(&two, &any, &to(Some(899)), |_, _| ())[0], Err("behind"));
        assert_eq!(judged(&two, &any, &to(Some(1_000)), |_, _| ())[0], Ok((Some(1_000), false)));
    }

    #[test]
    fn one_that_has_more_than_a_receiving_one_did_receive_whatever_was_seen() {
        let words = judged(&[sample(9_000), sample(9_900)], &reference(), &Waiver::default(), |at, standing| {
            standing.was_streaming = at == 0;
        });
        assert_eq!(words, [Ok((Some(1_000), false)), Ok((Some(100), false))]);
        let any = synchronous(Method::Any, 1, 2, &[1, 2]);
        let words = judged(&[sample(9_000), sample(9_900)], &any, &Waiver::default(), |_, standing| {
            standing.was_streaming = false;
        });
        assert_eq!(words[1], Ok((Some(100), true)), "all answered: the positions say it");
    }

    #[test]
    fn accepting_every_loss_never_prefers_the_one_behind() {
        let proceed = PostgresModel { on_loss: OnLoss::Proceed, ..policy() };
        let samples = [sample(1_000), sample(2_000)];
        let words = judged_by(&proceed, &samples, &reference(), &Waiver::default(), |_, _| ());
        assert!(words.iter().all(Result::is_ok));
        let of = |server, position| Candidate::chosen_before(ServerId(server), Lsn(position), None, server == 1);
        assert_eq!(best(&[of(1, 1_000), of(2, 2_000)]).unwrap().server, ServerId(2));
    }

    #[test]
    fn rule_189_who_has_all_of_a_log_whose_end_was_read_has_every_commit() {
        let read = Reference { exact: true, ..synchronous(Method::Any, 1, 2, &[1, 2]) };
        let silent = |at: usize, standing: &mut Standing<'_>| {
            standing.was_streaming = false;
            if at == 1 {
                standing.sample = Err("refused".into());
            }
        };
        let words = |own| judged(&[sample(own), sample(9_000)], &read, &Waiver::default(), silent);
        assert_eq!(words(10_000), [Ok((Some(0), true)), Err("not_readable")], "whoever acknowledged it");
        assert_eq!(words(9_999)[0], Err("quorum_unanswered"));
        let asynchronous = Reference { exact: true, ..reference() };
        let one = |own| judged(&[sample(own)], &asynchronous, &Waiver::default(), silent);
        assert_eq!(one(9_000), [Ok((Some(1_000), false))], "what it lacks is known, whatever was seen of its receiver");
        assert_eq!(one(8_999), [Err("loss_too_high")]);
    }

    #[test]
    fn rule_189_what_a_half_replayed_standby_lacks_of_an_end_that_was_read_is_an_estimate() {
        let read = Reference { exact: true, ..reference() };
        let exact = |receive, own| {
            let sample = Sample { receive, ..sample(own) };
            let model = server("db2");
            let standing = standing(&model, &sample);
            choose(&[standing], Some(&read), &policy(), &Waiver::default(), View::Decision)[0].1.clone().unwrap().exact
        };
        assert_eq!([exact(Some(Lsn(9_500)), 9_500), exact(None, 9_500), exact(None, 10_000)], [true, false, true]);
    }

    fn standing<'a>(model: &'a ServerModel, sample: &'a Sample) -> Standing<'a> {
        Standing {
            server: ServerId(1),
            model,
            sample: Ok(sample),
            timeline: sample.timeline,
            settled: true,
            was_streaming: true,
            same_postmaster: true,
            refused: None,
            cordoned: false,
            serves_nobody_new: false,
            login_refused: None,
            replay_stands: false,
            salvage: Ok(()),
            followers: 0,
        }
    }

    /// What is said beforehand of one that lacks so much, and could get it, or not.
    fn foretold(view: View, salvage: OnSalvage, lacks: u64, able: bool) -> Result<bool, &'static str> {
        let (model, end) = (server("db2"), 1 << 30);
        let sample = sample(end - lacks);
        let reference = Reference { flush: Lsn(end), ..reference() };
        let standing = Standing { salvage: if able { Ok(()) } else { Err("not prepared".into()) }, ..standing(&model, &sample) };
        let policy = PostgresModel { salvage, ..policy() };
        let verdicts = choose(&[standing], Some(&reference), &policy, &Waiver::default(), view);
        verdicts[0].1.as_ref().map(|candidate| candidate.mends).map_err(CandidateRefusal::name)
    }

    #[test]
    fn rule_191_so_much_at_most_is_counted_on_to_be_carried_over() {
        let said = |view, lacks| foretold(view, OnSalvage::Auto, lacks, true);
        let gone = View::Guard { gone: true };
        for view in [View::Forecast, gone] {
            assert_eq!([said(view, MENDABLE), said(view, MENDABLE + 1)], [Ok(true), Err("loss_too_high")]);
        }
        assert_eq!(said(View::Guard { gone: false }, 1_001), Err("loss_too_high"), "it may wake up");
        assert_eq!(said(View::Guard { gone: false }, 1_000), Ok(true), "within the limit");
        assert_eq!(said(View::Decision, 1_001), Err("loss_too_high"), "behind the fence it was done, or it was not");
        assert_eq!(foretold(gone, OnSalvage::Auto, 1_001, false), Err("loss_too_high"));
    }

    #[test]
    fn rule_190_where_salvage_is_required_nobody_is_counted_on_who_cannot_get_it() {
        let said = |view, able| foretold(view, OnSalvage::Require, 10, able);
        assert_eq!([said(View::Forecast, true), said(View::Forecast, false)], [Ok(true), Err("not_salvaged")]);
        let guard = View::Guard { gone: false };
        assert_eq!([said(guard, true), said(guard, false)], [Ok(true), Err("not_salvaged")]);
        assert_eq!(said(View::Decision, true), Err("not_salvaged"));
    }

    #[test]
    fn who_gets_what_is_missing_comes_before_who_has_more_now() {
        let of = |server, position, mends| Candidate {
            mends,
            ..Candidate::chosen_before(ServerId(server), Lsn(position), Some(9), false)
        };
        assert_eq!(best(&[of(1, 9, false), of(2, 5, true)]).unwrap().server, ServerId(2));
        assert_eq!(best(&[of(1, 9, true), of(2, 5, true)]).unwrap().server, ServerId(1));
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
            priority,
            ..Candidate::chosen_before(ServerId(server), Lsn(position), Some(0), false)
        };
        assert_eq!(best(&[of(0, 5, 100), of(1, 9, 1)]).unwrap().server, ServerId(1));
        assert_eq!(best(&[of(0, 9, 1), of(1, 9, 100)]).unwrap().server, ServerId(1));
        assert_eq!(best(&[of(1, 9, 100), of(2, 9, 100)]).unwrap().server, ServerId(1));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn of_equal_data_who_would_serve_sooner_is_promoted_whatever_the_priority() {
        let of = |server, position, to_replay, held| Candidate {
            to_replay,
            held,
            priority: u32::from(10 - server),
            ..Candidate::chosen_before(ServerId(server), Lsn(position), Some(0), false)
        };
        let best = |some: &[Candidate]| best(some).unwrap().server;
        assert_eq!(best(&[of(1, 9, 600_000, true), of(2, 9, 0, false)]), ServerId(2), "its replay is held");
        assert_eq!(best(&[of(1, 9, 600_000, false), of(2, 9, 0, false)]), ServerId(1), "it takes a moment: the priority counts");
        assert_eq!(best(&[of(1, 9, 1 << 30, false), of(2, 9, 1 << 20, false)]), ServerId(2), "it takes long");
        assert_eq!(best(&[of(1, 9, 600, true), of(2, 9, 1 << 30, false)]), ServerId(2), "that moves");
        assert_eq!(best(&[of(1, 10, 600, true), of(2, 9, 0, false)]), ServerId(1), "no byte is given up for that");
    }
}
