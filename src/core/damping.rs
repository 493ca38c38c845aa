//! What is told again and again is told once, and then with a count.

use super::effects::About;
use super::event::{EventKind, Field, Severity};
use super::static_word::Word;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What comes back within this long of its last time is a repetition.
const REPEATS_WITHIN: Span = Span::from_millis(10_000);
/// So often it is told as it comes.
const AS_IT_COMES: u32 = 2;
/// One that does not end is told this often.
const TELL_AGAIN: Span = Span::from_millis(60_000);
/// Different things that are counted at a time; what comes beyond is told as it comes.
const KEYS: usize = 4_096;

/// What makes two events the same: kind, service, server, and the word that tells one of a kind from another. A loss and the return from it
/// are the same.
type Key = (EventKind, Option<u16>, Option<u16>, String);

/// One thing that was told, and how often it came again since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    last: Mono,
    /// How often it was told as it came, each within that time of the one before.
    plainly: u32,
    /// Since when its repetitions are counted, and how many there were.
    since: Mono,
    times: u64,
    /// What came last, and was not told.
    kind: EventKind,
    severity: Option<Severity>,
    about: About,
    message: String,
    #[serde(with = "super::static_word")]
    field: Word,
}

/// What was told lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Damping {
    #[serde(with = "pairs")]
    told: BTreeMap<Key, Told>,
    /// Of those, how many have come again and were not told: mostly none, and then there is nothing to look through at every step.
    #[serde(default)]
    waiting: usize,
}

/// An event that is due: what came again, how often, within how long.
pub(crate) struct Due {
    pub kind: EventKind,
    pub severity: Severity,
    pub about: About,
    pub message: String,
    pub fields: Vec<(&'static str, Field)>,
}

impl Damping {
    /// Whether an event is to be told now. One that is not is counted.
    pub(crate) fn passes(
        &mut self,
        now: Mono,
        kind: EventKind,
        severity: Severity,
        about: About,
        message: &str,
        fields: &[(&'static str, Field)],
    ) -> bool {
        let Some((family, field)) = family_of(kind) else { return true };
        let word = fields.iter().find_map(|(name, value)| match value {
            Field::Text(text) if *name == field => Some(text.clone()),
            _ => None,
        });
        let key = (family, about.service.map(|service| service.0), about.server.map(|server| server.0), word.unwrap_or_default());
        // What is counted and due in this very step is not forgotten: this time is one more.
        let repeats = |told: &&mut Told| told.severity.is_some() || now.since(told.last) < REPEATS_WITHIN;
        if let Some(told) = self.told.get_mut(&key).filter(repeats) {
            let both = matches!(family, EventKind::ReadinessChanged | EventKind::StandbyNotReady);
            let as_it_comes = told.plainly < if both { 2 * AS_IT_COMES } else { AS_IT_COMES };
            told.last = now;
            if as_it_comes {
                (told.plainly, told.since) = (told.plainly + 1, now);
            } else {
                told.times += 1;
                self.waiting += usize::from(told.severity.is_none());
                (told.kind, told.severity, told.about) = (kind, Some(severity), about);
                message.clone_into(&mut told.message);
            }
            return as_it_comes;
        }
        if self.told.len() >= KEYS {
            self.told.retain(|_, told| told.severity.is_some() || now.since(told.last) < REPEATS_WITHIN);
        }
        if self.told.len() < KEYS {
            let message = String::new();
            let told = Told { last: now, plainly: 1, since: now, times: 0, kind, severity: None, about, message, field };
            self.told.insert(key, told);
        }
        true
    }

    /// What has ended, or goes on for long, in the order of its last time; or all that was counted.
    pub(crate) fn due(&mut self, now: Mono, all: bool) -> Vec<Due> {
        if now < self.next() && !all {
            return Vec::new();
        }
        let mut due = Vec::new();
        for ((_, _, _, word), told) in &mut self.told {
            let Some(severity) = told.severity.filter(|_| all || told.is_due(now)) else { continue };
            let (times, span) = (told.times, told.last.since(told.since));
            let mut fields = vec![("repeated", Field::Int(times)), ("within_ms", Field::Span(span))];
            if !word.is_empty() {
                fields.insert(0, (told.field, Field::Text(word.clone())));
            }
            let again = if times == 1 { "once more".to_owned() } else { format!("{times} times more") };
            let message = format!("{} ({again} within {span})", told.message);
            due.push((told.last, Due { kind: told.kind, severity, about: told.about, message, fields }));
            (told.since, told.times, told.severity) = (now, 0, None);
            self.waiting -= 1;
        }
        self.told.retain(|_, told| !all && (told.severity.is_some() || now.since(told.last) < REPEATS_WITHIN));
        due.sort_by_key(|(last, _)| *last);
        due.into_iter().map(|(_, due)| due).collect()
    }

    /// When something is due at the earliest.
    pub(crate) fn next(&self) -> Mono {
        if self.waiting == 0 {
            return Mono::NEVER;
        }
        self.told.values().map(Told::next).min().unwrap_or(Mono::NEVER)
    }
}

impl Told {
    fn next(&self) -> Mono {
        if self.severity.is_none() {
            return Mono::NEVER;
        }
        (self.last + REPEATS_WITHIN).min(self.since + TELL_AGAIN)
    }

    fn is_due(&self, now: Mono) -> bool {
        now >= self.next()
    }
}

/// What is counted together, as a loss and the return from it, and the field that tells one from another; none: each event of the kind is told.
fn family_of(kind: EventKind) -> Option<(EventKind, &'static str)> {
    let field = match kind {
        EventKind::SessionClosed => "cause",
        EventKind::HealthChanged => "to",
        EventKind::ReadinessChanged => "code",
        EventKind::FailoverRefused | EventKind::FailoverSuppressed => "refusal",
        EventKind::ConfirmationStarted => "",
        EventKind::StandbyNotReady | EventKind::StandbyReady => return Some((EventKind::StandbyNotReady, "")),
        _ => return None,
    };
    Some((kind, field))
}

/// A map whose keys are no texts, as a list.
mod pairs {
    use super::{Key, Told};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(told: &BTreeMap<Key, Told>, serializer: S) -> Result<S::Ok, S::Error> {
        told.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Key, Told>, D::Error> {
        Ok(Vec::<(Key, Told)>::deserialize(deserializer)?.into_iter().collect())
    }
}
