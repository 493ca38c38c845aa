//! The numbers about failovers as the journal keeps them: servers by name, moments by the wall clock.

use serde::{Deserialize, Serialize};

use failover_core::id::{Generation, ServerId};
use failover_core::sample::Lsn;
use failover_core::stats::{Judged, Judgement, Mark, Spans, Stats};
use failover_core::time::{Mono, Span};

/// Numbers of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KnownStats {
    completed: u64,
    verified: u64,
    rolled_back: u64,
    manual_intervention: u64,
    stopped: u64,
    forced: u64,
    forced_completed: u64,
    planned: u64,
    planned_completed: u64,
    unverifiable: u64,
    detect: KnownSpans,
    repair: KnownSpans,
    justified: u64,
    false_positives: u64,
    unjudged: u64,
    last: Option<KnownJudged>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct KnownSpans {
    count: u64,
    sum_ns: u64,
    longest_ns: u64,
    last_ns: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownJudged {
    generation: u64,
    old: String,
    #[serde(flatten)]
    judgement: KnownJudgement,
    /// The first bad sign, in milliseconds of the wall clock.
    since_ms: u64,
    timeline: u32,
    #[serde(default)]
    furthest: Option<String>,
}

/// What is known of an old primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownJudgement {
    need: String,
    why: String,
    #[serde(default)]
    gone: bool,
}

impl KnownJudgement {
    pub(super) fn of(judgement: &Judgement) -> KnownJudgement {
        KnownJudgement { need: judgement.need.as_str().to_owned(), why: judgement.why.clone(), gone: judgement.gone }
    }

    /// `None` where a newer engine wrote words of its own.
    pub(super) fn read(&self) -> Option<Judgement> {
        Some(Judgement { need: self.need.parse().ok()?, why: self.why.clone(), gone: self.gone })
    }
}

impl KnownStats {
    pub(super) fn of(stats: &Stats, now_ms: u64, name: &dyn Fn(ServerId) -> Option<String>) -> KnownStats {
        KnownStats {
            completed: stats.completed,
            verified: stats.verified,
            rolled_back: stats.rolled_back,
            manual_intervention: stats.manual_intervention,
            stopped: stats.stopped,
            forced: stats.forced,
            forced_completed: stats.forced_completed,
            planned: stats.planned,
            planned_completed: stats.planned_completed,
            unverifiable: stats.unverifiable,
            detect: KnownSpans::of(stats.detect),
            repair: KnownSpans::of(stats.repair),
            justified: stats.justified,
            false_positives: stats.false_positives,
            unjudged: stats.unjudged,
            last: stats.last.as_ref().map(|last| KnownJudged {
                generation: last.generation.0,
                old: name(last.old).unwrap_or_default(),
                judgement: KnownJudgement::of(&last.judgement),
                // In whole seconds, so that the same numbers a moment later are the same.
                since_ms: now_ms.saturating_sub(last.since.lead.as_millis()) / 1_000 * 1_000,
                timeline: last.timeline,
                furthest: last.furthest.map(|position| position.to_string()),
            }),
        }
    }

    pub(super) fn read(&self, now_ms: u64, id: &dyn Fn(&String) -> Option<ServerId>) -> Stats {
        Stats {
            completed: self.completed,
            verified: self.verified,
            rolled_back: self.rolled_back,
            manual_intervention: self.manual_intervention,
            stopped: self.stopped,
            forced: self.forced,
            forced_completed: self.forced_completed,
            planned: self.planned,
            planned_completed: self.planned_completed,
            unverifiable: self.unverifiable,
            detect: self.detect.read(),
            repair: self.repair.read(),
            justified: self.justified,
            false_positives: self.false_positives,
            unjudged: self.unjudged,
            // Of a server that is not configured any more nothing will be heard.
            last: self.last.as_ref().and_then(|last| {
                Some(Judged {
                    generation: Generation(last.generation),
                    old: id(&last.old)?,
                    judgement: last.judgement.read()?,
                    since: Mark { at: Mono::ZERO, lead: Span::from_millis(now_ms.saturating_sub(last.since_ms)) },
                    timeline: last.timeline,
                    furthest: last.furthest.as_deref().and_then(Lsn::parse),
                })
            }),
        }
    }
}

impl KnownSpans {
    fn of(spans: Spans) -> KnownSpans {
        KnownSpans {
            count: spans.count,
            sum_ns: spans.sum.as_nanos(),
            longest_ns: spans.longest.as_nanos(),
            last_ns: spans.last.map(Span::as_nanos),
        }
    }

    fn read(&self) -> Spans {
        Spans {
            count: self.count,
            sum: Span::from_nanos(self.sum_ns),
            longest: Span::from_nanos(self.longest_ns),
            last: self.last_ns.map(Span::from_nanos),
        }
    }
}
