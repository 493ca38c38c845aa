//! What is told again and again is told once, and then with a count.

use super::effects::About;
use super::event::{EventKind, Field, Severity};
use super::static_word::Word;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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

/// What was told lately. What is due, and what is forgotten, is found by its moment: no step looks through all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(crate) struct Damping {
    told: BTreeMap<Key, Told>,
    /// Those that have come again and were not told, by when that is due.
    waiting: BTreeSet<(Mono, Key)>,
    /// The others, by when they are forgotten.
    resting: BTreeSet<(Mono, Key)>,
}

/// As it is written down: the moments follow from it.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(with = "pairs")]
    told: BTreeMap<Key, Told>,
}

impl From<Damping> for Written {
    fn from(damping: Damping) -> Written {
        Written { told: damping.told }
    }
}

impl From<Written> for Damping {
    fn from(written: Written) -> Damping {
        let mut damping = Damping::default();
        for (key, told) in written.told {
            damping.keep(key, told);
        }
        damping
    }
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
        if let Some(mut told) = self.take(&key).filter(|told| told.severity.is_some() || now.since(told.last) < REPEATS_WITHIN) {
            let both = matches!(family, EventKind::ReadinessChanged | EventKind::StandbyNotReady);
            let as_it_comes = told.plainly < if both { 2 * AS_IT_COMES } else { AS_IT_COMES };
            told.last = now;
            if as_it_comes {
                (told.plainly, told.since) = (told.plainly + 1, now);
            } else {
                told.times += 1;
                (told.kind, told.severity, told.about) = (kind, Some(severity), about);
                message.clone_into(&mut told.message);
            }
            self.keep(key, told);
            return as_it_comes;
        }
        if self.told.len() >= KEYS {
            self.forget(now);
        }
        if self.told.len() < KEYS {
            let message = String::new();
            let told = Told { last: now, plainly: 1, since: now, times: 0, kind, severity: None, about, message, field };
            self.keep(key, told);
        }
        true
    }

    /// What has ended, or goes on for long, in the order of its last time; or all that was counted.
    pub(crate) fn due(&mut self, now: Mono, all: bool) -> Vec<Due> {
        let until = if all { Mono::NEVER } else { now };
        let mut due = Vec::new();
        while let Some((_, key)) = self.waiting.first().filter(|(moment, _)| *moment <= until).cloned() {
            let Some(mut told) = self.take(&key) else { break };
            let Some(severity) = told.severity.take() else { continue };
            let (times, span) = (told.times, told.last.since(told.since));
            // It is told when it has ended: the event's own time is later.
            let ago = now.since(told.last);
            let mut fields =
                vec![("repeated", Field::Int(times)), ("within_ms", Field::Span(span)), ("last_ago_ms", Field::Span(ago))];
            if !key.3.is_empty() {
                fields.insert(0, (told.field, Field::Text(key.3.clone())));
            }
            let again = if times == 1 { "once more".to_owned() } else { format!("{times} times more") };
            let message = format!("{} ({again} within {span}; the last time {ago} ago)", told.message);
            let one = Due { kind: told.kind, severity, about: told.about, message, fields };
            due.push(((told.last, key.clone()), one));
            (told.since, told.times) = (now, 0);
            self.keep(key, told);
        }
        if all {
            *self = Damping::default();
        } else if !due.is_empty() {
            self.forget(now);
        }
        due.sort_by(|(one, _), (other, _)| one.cmp(other));
        due.into_iter().map(|(_, due)| due).collect()
    }

    /// When something is due at the earliest.
    pub(crate) fn next(&self) -> Mono {
        self.waiting.first().map_or(Mono::NEVER, |(moment, _)| *moment)
    }

    fn take(&mut self, key: &Key) -> Option<Told> {
        let (key, told) = self.told.remove_entry(key)?;
        let moment = (told.moment(), key);
        if told.severity.is_some() {
            self.waiting.remove(&moment)
        } else {
            self.resting.remove(&moment)
        };
        Some(told)
    }

    fn keep(&mut self, key: Key, told: Told) {
        let moment = (told.moment(), key.clone());
        if told.severity.is_some() {
            self.waiting.insert(moment)
        } else {
            self.resting.insert(moment)
        };
        self.told.insert(key, told);
    }

    /// What did not come again in time, and is not to be told, is news the next time.
    fn forget(&mut self, now: Mono) {
        while let Some((_, key)) = self.resting.first().filter(|(moment, _)| *moment <= now).cloned() {
            self.take(&key);
        }
    }
}

impl Told {
    /// When its repetitions are told, or else when it is forgotten.
    fn moment(&self) -> Mono {
        let over = self.last + REPEATS_WITHIN;
        if self.severity.is_some() { over.min(self.since + TELL_AGAIN) } else { over }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ServerId, ServiceId};

    fn about(server: u16) -> About {
        About { service: Some(ServiceId(0)), server: Some(ServerId(server)), ..About::default() }
    }

    /// What is found by its moment is what a search through all of it finds.
    fn is_consistent(damping: &Damping) {
        let of = |waits: bool| -> BTreeSet<(Mono, Key)> {
            let those = damping.told.iter().filter(|(_, told)| told.severity.is_some() == waits);
            those.map(|(key, told)| (told.moment(), key.clone())).collect()
        };
        assert_eq!((&damping.waiting, &damping.resting), (&of(true), &of(false)));
        assert_eq!(&Damping::from(Written::from(damping.clone())), damping);
    }

    #[test]
    fn what_is_due_is_found_by_its_moment_and_survives_being_written_down() {
        let (mut damping, mut told, mut swallowed) = (Damping::default(), 0, 0);
        for step in 0..3_000_u64 {
            let now = Mono::ZERO + Span::from_millis(step * 97);
            let server = u16::try_from(if step % 3 == 0 { step % 7 } else { step * step % 211 }).unwrap();
            if damping.passes(now, EventKind::ConfirmationStarted, Severity::Warning, about(server), "again", &[]) {
                told += 1;
            } else {
                swallowed += 1;
            }
            let next = damping.next();
            let due = damping.due(now, false);
            assert_eq!(due.is_empty(), next > now);
            assert!(due.iter().all(|one| one.fields.iter().any(|(name, _)| *name == "repeated")));
            if step % 50 == 0 {
                is_consistent(&damping);
            }
        }
        assert!(told > 100 && swallowed > 100, "{told} {swallowed}");
        let counted: Vec<Mono> = damping.told.values().filter(|told| told.severity.is_some()).map(|told| told.last).collect();
        assert_eq!(damping.due(Mono::ZERO, true).len(), counted.len());
        assert_eq!((damping.told.len(), damping.next()), (0, Mono::NEVER));
    }

    #[test]
    fn what_is_old_makes_room_and_what_finds_none_is_told() {
        let mut damping = Damping::default();
        let mut passes =
            |now, server| damping.passes(now, EventKind::ConfirmationStarted, Severity::Warning, about(server), "", &[]);
        let keys = u16::try_from(KEYS).unwrap();
        assert!((0..keys + 5).all(|server| passes(Mono::ZERO, server)));
        // Those that found no room are not remembered, and told again.
        let again =
            |passes: &mut dyn FnMut(Mono, u16) -> bool, server| (0..4).map(|_| passes(Mono::ZERO, server)).collect::<Vec<_>>();
        assert_eq!(again(&mut passes, 0), [true, false, false, false]);
        assert_eq!(again(&mut passes, keys), [true; 4]);
        let later = Mono::ZERO + REPEATS_WITHIN;
        assert!(passes(later, keys) && passes(later, keys) && !passes(later, keys));
        assert_eq!(damping.told.len(), 2, "the one that waits, and this one");
        is_consistent(&damping);
    }
}
