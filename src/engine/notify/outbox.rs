//! What one receiver has been told, and what it is still to be told: without a clock, a file or a socket. Moments are milliseconds since
//! 1970, and come from whoever asks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::notify::{Line, Message};
use crate::config::Delivery;
use crate::engine::render::EngineEvent;

use super::select;

/// Events that wait for a receiver at most.
pub(super) const WAITING: usize = 1_000;
/// Events that are remembered at most, so as not to tell them again and to tell their end.
const TOLD: usize = 2_000;
/// The pause after the first failure, and the longest one, in milliseconds.
const FIRST_PAUSE: u64 = 1_000;
const LAST_PAUSE: u64 = 300_000;
/// Attempts with a message that the receiver does not like: some nine minutes, for it may only seem so (a proxy in between, a setting that
/// somebody mends), and what comes behind it waits so long.
const REFUSALS: u32 = 10;

/// A change, as it is written to disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// It is to be told.
    Took(Took),
    /// It waits no longer: delivered, or given up.
    Gone(Gone),
    /// It was told before, and what waits does not say so.
    Told(Took),
    /// Its end is of no interest.
    Forgot(Forgot),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Took {
    pub(super) at: u64,
    pub(super) line: Line,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gone {
    pub(super) ids: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forgot {
    pub(super) key: String,
}

/// Why events are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    TooOld,
    Refused,
    QueueFull,
    Damaged,
}

impl Cause {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cause::TooOld => "too_old",
            Cause::Refused => "refused",
            Cause::QueueFull => "queue_full",
            Cause::Damaged => "damaged",
        }
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// This is to be sent now.
    Send(Message),
    /// Nothing before this moment.
    At(u64),
    /// Nothing.
    Nothing,
}

/// The queue of one receiver.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outbox {
    waiting: VecDeque<Took>,
    told: BTreeMap<String, Took>,
    /// So many at the front are one message, which was tried.
    trying: usize,
    /// Attempts with that message, and failures in a row with all.
    attempts: u32,
    refusals: u32,
    failures: u32,
    not_before: u64,
}

impl Outbox {
    /// What an event changes. `true`: it says what was told already.
    pub(super) fn offer(&self, delivery: &Delivery, name: &str, event: &EngineEvent, id: &str, now: u64) -> (Vec<Record>, bool) {
        let mut records = Vec::new();
        let ended = || self.told.values().filter(|told| told.line.ends && select::is_end(event, &told.line));
        for (number, told) in ended().enumerate() {
            records.push(if delivery.resolved {
                let line = select::over(&told.line, event, &format!("{id}-over-{number}"));
                Record::Took(Took { at: now, line })
            } else {
                Record::Forgot(Forgot { key: told.line.key.clone() })
            });
        }
        let mut repeated = false;
        if select::wants(delivery, name, event) {
            let line = select::line(event, id);
            let is_over = ended().any(|told| told.line.key == line.key);
            repeated = !is_over
                && self.told.get(&line.key).is_some_and(|told| now.saturating_sub(told.at) < millis(delivery.repeat_after));
            if !repeated {
                records.push(Record::Took(Took { at: now, line }));
            }
        }
        (records, repeated)
    }

    /// The change itself. The same changes in the same order lead to the same state, also in the next engine.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Took(took) => {
                self.remember(took);
                self.waiting.push_back(took.clone());
            }
            Record::Told(took) => self.remember(took),
            Record::Forgot(Forgot { key }) => drop(self.told.remove(key)),
            Record::Gone(Gone { ids }) => {
                let trying = self.waiting.iter().take(self.trying).filter(|took| !ids.contains(&took.line.id)).count();
                self.waiting.retain(|took| !ids.contains(&took.line.id));
                if trying < self.trying {
                    self.trying = trying;
                    self.attempts = 0;
                    self.refusals = 0;
                }
            }
        }
    }

    fn remember(&mut self, took: &Took) {
        let key = &took.line.key;
        if took.line.over {
            self.told.remove(key);
            return;
        }
        let mut told = took.clone();
        // Of the event only the sentence is needed later.
        told.line.event.retain(|name, _| name == "message");
        self.told.insert(key.clone(), told);
        if self.told.len() > TOLD
            && let Some(oldest) =
                self.told.values().min_by_key(|told| (told.line.ends, told.at)).map(|told| told.line.key.clone())
        {
            self.told.remove(&oldest);
        }
    }

    /// What has to go so that what waits fits: of the least severity the oldest, but not what is being sent.
    pub(super) fn too_many(&self) -> Option<Gone> {
        let over = self.waiting.len().checked_sub(WAITING).filter(|over| *over > 0)?;
        let mut places: Vec<(usize, &Took)> = self.waiting.iter().enumerate().skip(self.trying).collect();
        places.sort_by_key(|(place, took)| (took.line.severity, *place));
        Some(Gone { ids: places.into_iter().take(over).map(|(_, took)| took.line.id.clone()).collect() })
    }

    /// What is to be done at this moment. What is to be sent stays the same message until it is delivered or given up.
    pub(super) fn next(&mut self, delivery: &Delivery, most: usize, now: u64) -> Next {
        let Some(first) = self.waiting.front() else { return Next::Nothing };
        if self.trying == 0 {
            let due = first.at.saturating_add(millis(delivery.group_window)).max(self.not_before);
            if due > now {
                return Next::At(due);
            }
            self.trying = self.waiting.len().min(most);
        } else if self.not_before > now {
            return Next::At(self.not_before);
        }
        Next::Send(Message { lines: self.waiting.iter().take(self.trying).map(|took| took.line.clone()).collect() })
    }

    /// Nothing is sent before this moment.
    pub(super) fn hold(&mut self, until: u64) {
        self.not_before = self.not_before.max(until);
    }

    /// What was being sent is delivered.
    pub(super) fn delivered(&mut self) -> Gone {
        self.failures = 0;
        self.not_before = 0;
        self.gone()
    }

    /// It is not. What is given up of it, if anything is. `random`: from 0 to 1.
    pub(super) fn failed(&mut self, delivery: &Delivery, refused: bool, now: u64, random: f64) -> Option<(Gone, Cause)> {
        self.attempts = self.attempts.saturating_add(1);
        self.refusals = if refused { self.refusals.saturating_add(1) } else { 0 };
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(pause(self.failures, random));
        if self.refusals >= REFUSALS {
            // The next one may be to its liking.
            self.not_before = now.saturating_add(FIRST_PAUSE);
            return Some((self.gone(), Cause::Refused));
        }
        let old = |took: &&Took| now.saturating_sub(took.at) > millis(delivery.retry_for);
        let ids: Vec<String> = self.waiting.iter().take(self.trying).filter(old).map(|took| took.line.id.clone()).collect();
        (!ids.is_empty()).then_some((Gone { ids }, Cause::TooOld))
    }

    fn gone(&self) -> Gone {
        Gone { ids: self.waiting.iter().take(self.trying).map(|took| took.line.id.clone()).collect() }
    }

    /// Events that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Attempts in a row that failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The changes that lead from nothing to this state.
    pub(super) fn records(&self) -> Vec<Record> {
        let waits = |told: &&Took| !self.waiting.iter().any(|took| took.line.id == told.line.id);
        let told = self.told.values().filter(waits).map(|told| Record::Told(told.clone()));
        told.chain(self.waiting.iter().map(|took| Record::Took(took.clone()))).collect()
    }

    /// What an earlier engine wrote may be dated by a clock that was wrong.
    pub(super) fn not_after(&mut self, now: u64) {
        for took in self.waiting.iter_mut().chain(self.told.values_mut()) {
            took.at = took.at.min(now);
        }
    }
}

/// The pause after so many failures in a row: it doubles, and half of it is up to chance, so that not all come at once.
pub(super) fn pause(failures: u32, random: f64) -> u64 {
    let span = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_PAUSE);
    let chance = Duration::from_millis(span / 2).mul_f64(random.clamp(0.0, 1.0));
    span / 2 + millis(chance)
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use failover_core::event::{EventKind, Severity};
    use serde_json::{Map, Value};

    pub(in crate::engine::notify) fn event(
        kind: EventKind,
        severity: Severity,
        service: &str,
        fields: &[(&str, Value)],
    ) -> EngineEvent {
        let fields: Map<String, Value> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let service = Some(service.to_owned()).filter(|service| !service.is_empty());
        EngineEvent { service, fields, message: format!("{} happened", kind.as_str()), ..EngineEvent::blank(1, kind, severity) }
    }

    pub(in crate::engine::notify) fn delivery(more: &str) -> Delivery {
        let lines = format!("kind = \"command\"\ncommand = [\"/bin/true\"]\n{more}");
        crate::action::notify::tests::receiver(&lines).delivery
    }

    /// Offers an event and takes in what it changes: how many lines there are now, and whether it was told before.
    fn offer(outbox: &mut Outbox, delivery: &Delivery, event: &EngineEvent, now: u64) -> (usize, bool) {
        let (records, repeated) = outbox.offer(delivery, "one", event, &format!("id-{now}-{}", outbox.waiting()), now);
        for record in &records {
            outbox.apply(record);
        }
        (outbox.waiting(), repeated)
    }

    fn sent(outbox: &mut Outbox, delivery: &Delivery, now: u64) -> Vec<String> {
        match outbox.next(delivery, 100, now) {
            Next::Send(message) => {
                message.lines.iter().map(|line| format!("{}{}", if line.over { "over " } else { "" }, line.key)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn delivered(outbox: &mut Outbox) {
        let gone = outbox.delivered();
        outbox.apply(&Record::Gone(gone));
    }

    #[test]
    fn a_rack_of_forty_services_is_one_message_with_forty_lines() {
        let (mut outbox, delivery) = (Outbox::default(), delivery(""));
        for service in 0..40 {
            let started = event(EventKind::FailoverStarted, Severity::Warning, &format!("s{service}"), &[]);
            assert_eq!(outbox.next(&delivery, 100, 0), if service == 0 { Next::Nothing } else { Next::At(6_000) });
            offer(&mut outbox, &delivery, &started, 1_000 + service * 100);
        }
        assert_eq!(outbox.next(&delivery, 100, 5_999), Next::At(6_000), "the window begins with the first");
        assert_eq!(sent(&mut outbox, &delivery, 6_000).len(), 40);
        delivered(&mut outbox);
        assert_eq!(outbox.next(&delivery, 100, 6_001), Next::Nothing);
    }

    #[test]
    fn a_shortage_of_standbys_that_becomes_worse_is_news_and_its_end_is_told() {
        let (mut outbox, delivery) = (Outbox::default(), delivery(""));
        let short = |there: u32, short: bool| {
            let severity = if short { Severity::Alarm } else { Severity::Info };
            event(EventKind::SyncSetShort, severity, "orders", &[("there", there.into()), ("short", short.into())])
        };
        assert_eq!(offer(&mut outbox, &delivery, &short(1, true), 0), (1, false));
        assert_eq!(offer(&mut outbox, &delivery, &short(1, true), 10), (1, true));
        assert_eq!(offer(&mut outbox, &delivery, &short(0, true), 20), (2, false));
        sent(&mut outbox, &delivery, 60_000);
        delivered(&mut outbox);
        assert_eq!(offer(&mut outbox, &delivery, &short(2, false), 70_000), (2, false));
        let over = sent(&mut outbox, &delivery, 120_000);
        assert!(over.len() == 2 && over.iter().all(|line| line.starts_with("over orders//sync_set_short/")), "{over:?}");
        delivered(&mut outbox);
        assert_eq!(offer(&mut outbox, &delivery, &short(1, true), 130_000), (1, false), "it was over meanwhile");
    }

    #[test]
    fn what_is_being_sent_stays_the_same_message_until_it_is_there() {
        let (mut outbox, delivery) = (Outbox::default(), delivery("group_window = \"0s\""));
        offer(&mut outbox, &delivery, &event(EventKind::FailoverStarted, Severity::Warning, "web", &[]), 0);
        let first = sent(&mut outbox, &delivery, 0);
        offer(&mut outbox, &delivery, &event(EventKind::RolledBack, Severity::Warning, "web", &[]), 1);
        assert_eq!(outbox.failed(&delivery, false, 2, 1.0), None);
        assert_eq!(outbox.next(&delivery, 100, 3), Next::At(1_002));
        assert_eq!(sent(&mut outbox, &delivery, 1_002), first);
        delivered(&mut outbox);
        assert_eq!(sent(&mut outbox, &delivery, 1_003), ["web//rolled_back/"]);
    }

    #[test]
    fn the_same_is_not_told_again_until_it_was_over_or_long_ago() {
        let (mut outbox, delivery) = (Outbox::default(), delivery("repeat_after = \"10m\""));
        let not_ready = |reason: &str| {
            let of = event(EventKind::StandbyNotReady, Severity::Alarm, "web", &[("reason", Value::from(reason))]);
            EngineEvent { server: Some("web2".to_owned()), ..of }
        };
        let ready = EngineEvent { server: Some("web2".to_owned()), ..event(EventKind::StandbyReady, Severity::Info, "web", &[]) };
        assert_eq!(offer(&mut outbox, &delivery, &ready, 0), (0, false), "nothing was told that could be over");
        assert_eq!(offer(&mut outbox, &delivery, &not_ready("behind"), 1), (1, false));
        assert_eq!(offer(&mut outbox, &delivery, &not_ready("behind"), 599_999), (1, true));
        assert_eq!(offer(&mut outbox, &delivery, &not_ready("delayed"), 599_999), (2, false), "another reason");
        assert_eq!(offer(&mut outbox, &delivery, &ready, 600_000), (4, false), "both are over");
        assert_eq!(offer(&mut outbox, &delivery, &not_ready("behind"), 600_000), (5, false));
        assert_eq!(offer(&mut outbox, &delivery, &not_ready("behind"), 1_200_000), (6, false), "long ago");
        let keys = sent(&mut outbox, &delivery, 1_300_000);
        assert_eq!(keys[0], "web/web2/standby_not_ready/behind");
        assert_eq!(keys[2], "over web/web2/standby_not_ready/behind", "the same key as what began");
    }

    #[test]
    fn two_failovers_of_a_service_are_two_and_each_has_its_end() {
        let (mut outbox, delivery) = (Outbox::default(), delivery("group_window = \"0s\""));
        let of = |kind, generation| EngineEvent { generation, ..event(kind, Severity::Warning, "web", &[]) };
        let state = |to: &str| event(EventKind::StateChanged, Severity::Info, "web", &[("to", Value::from(to))]);
        for generation in [1, 2] {
            assert!(!offer(&mut outbox, &delivery, &of(EventKind::FailoverStarted, generation), generation).1);
            assert!(!offer(&mut outbox, &delivery, &of(EventKind::FailoverCompleted, generation), generation).1);
            offer(&mut outbox, &delivery, &state("failover_in_progress"), generation);
            offer(&mut outbox, &delivery, &state("failed_over"), generation);
        }
        let told = sent(&mut outbox, &delivery, 10);
        let wanted = [1, 2].map(|n| {
            [
                format!("web//failover_started/{n}"),
                format!("web//failover_completed/{n}"),
                format!("over web//failover_started/{n}"),
            ]
        });
        assert_eq!(told, wanted.concat());
    }

    #[test]
    fn filters_are_kinds_severity_services_and_not_ones_own_trouble() {
        let started = |service: &str| event(EventKind::FailoverStarted, Severity::Warning, service, &[]);
        let own = event(EventKind::NotifyLost, Severity::Alarm, "", &[("receiver", Value::from("one"))]);
        let others = event(EventKind::NotifyLost, Severity::Alarm, "", &[("receiver", Value::from("two"))]);
        let step = event(EventKind::StepFinished, Severity::Warning, "web", &[]);
        let log = |severity| event(EventKind::Log, severity, "", &[]);
        for (settings, of, wanted) in [
            ("", started("web"), true),
            ("severity = \"alarm\"", started("web"), false),
            ("services = [\"web\"]", started("web"), true),
            ("services = [\"web\"]", started("shop"), false),
            ("services = [\"web\"]", others.clone(), true),
            ("events = [\"failover_completed\"]", started("web"), false),
            ("", step.clone(), false),
            ("events = [\"step_finished\"]", step, true),
            ("", log(Severity::Warning), false),
            ("", log(Severity::Alarm), true),
            ("", own, false),
            ("", others, true),
            ("", event(EventKind::FailoverRefused, Severity::Warning, "web", &[]), true),
            ("", event(EventKind::FailoverSuppressed, Severity::Warning, "web", &[]), true),
        ] {
            let (delivery, mut outbox) = (delivery(settings), Outbox::default());
            assert_eq!(offer(&mut outbox, &delivery, &of, 1).0, usize::from(wanted), "{settings} {of:?}");
        }
    }

    #[test]
    fn whoever_wants_no_ends_hears_the_next_beginning() {
        let (mut outbox, delivery) = (Outbox::default(), delivery("resolved = false"));
        let doubt = event(EventKind::DoubtRaised, Severity::Alarm, "", &[("cause", Value::from("gap"))]);
        assert_eq!(offer(&mut outbox, &delivery, &doubt, 1), (1, false));
        assert_eq!(offer(&mut outbox, &delivery, &event(EventKind::DoubtCleared, Severity::Info, "", &[]), 2), (1, false));
        assert_eq!(offer(&mut outbox, &delivery, &doubt, 3), (2, false));
    }

    #[test]
    fn a_finding_is_over_when_its_code_is_and_of_two_balancers_the_right_one() {
        let (mut outbox, delivery) = (Outbox::default(), delivery("group_window = \"0s\""));
        let found = |message: &str| {
            let fields = [("code", Value::from("astray")), ("findings", Value::from(vec![message]))];
            EngineEvent {
                message: format!("web: {message}"),
                ..event(EventKind::ReadinessChanged, Severity::Alarm, "web", &fields)
            }
        };
        offer(&mut outbox, &delivery, &found("astray: lb1 sends elsewhere (mend it)"), 1);
        offer(&mut outbox, &delivery, &found("astray: lb2 sends elsewhere (mend it)"), 1);
        let fields = [("code", Value::from("astray")), ("ended", Value::from(vec!["astray: lb2 sends elsewhere"]))];
        offer(&mut outbox, &delivery, &event(EventKind::ReadinessChanged, Severity::Info, "web", &fields), 2);
        let told = sent(&mut outbox, &delivery, 3);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].starts_with("over ") && told[2].contains("lb2"), "{told:?}");
    }

    #[test]
    fn the_queue_is_bounded_and_alarms_stay_longest() {
        let (mut outbox, delivery) = (Outbox::default(), delivery(""));
        for number in 0..WAITING as u64 + 5 {
            let severity = if number == 3 { Severity::Alarm } else { Severity::Warning };
            let kind = EventKind::FailoverCompleted;
            offer(&mut outbox, &delivery, &EngineEvent { generation: number, ..event(kind, severity, "web", &[]) }, number);
        }
        let gone = outbox.too_many().unwrap();
        assert_eq!(gone.ids, ["id-0-0", "id-1-1", "id-2-2", "id-4-4", "id-5-5"]);
        outbox.apply(&Record::Gone(gone));
        assert_eq!((outbox.waiting(), outbox.too_many()), (WAITING, None));
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_chance_takes_half() {
        let most: Vec<u64> = (1..=10).map(|failures| pause(failures, 1.0)).collect();
        assert_eq!(most, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000]);
        assert_eq!((pause(1, 0.0), pause(3, 0.5), pause(u32::MAX, 1.0)), (500, 3_000, LAST_PAUSE));
    }

    #[test]
    fn what_is_too_old_or_refused_again_and_again_is_given_up_and_what_follows_is_not() {
        let (mut outbox, delivery) = (Outbox::default(), delivery("group_window = \"0s\"\nretry_for = \"1m\""));
        let of = |generation| EngineEvent { generation, ..event(EventKind::FailoverCompleted, Severity::Warning, "web", &[]) };
        offer(&mut outbox, &delivery, &of(1), 0);
        sent(&mut outbox, &delivery, 0);
        assert_eq!(outbox.failed(&delivery, false, 60_000, 1.0), None);
        offer(&mut outbox, &delivery, &of(2), 60_000);
        sent(&mut outbox, &delivery, 61_000);
        let (gone, cause) = outbox.failed(&delivery, false, 61_001, 1.0).unwrap();
        assert_eq!((gone.ids.len(), cause), (1, Cause::TooOld));
        outbox.apply(&Record::Gone(gone));
        let delivery = self::delivery("group_window = \"0s\"");
        let mut now = 70_000;
        for attempt in 1..=REFUSALS {
            assert_eq!(sent(&mut outbox, &delivery, now), ["web//failover_completed/2"]);
            let given_up = outbox.failed(&delivery, true, now, 1.0);
            assert_eq!(given_up.is_some(), attempt == REFUSALS);
            now += LAST_PAUSE;
            if let Some((gone, cause)) = given_up {
                assert_eq!(cause, Cause::Refused);
                outbox.apply(&Record::Gone(gone));
            }
        }
        assert_eq!(outbox.waiting(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_has_an_end_is_remembered_longest() {
        let (mut outbox, delivery) = (Outbox::default(), delivery(""));
        offer(&mut outbox, &delivery, &event(EventKind::ManualIntervention, Severity::Alarm, "web", &[]), 0);
        for generation in 1..=TOLD as u64 + 10 {
            let of = event(EventKind::FailoverCompleted, Severity::Warning, "web", &[]);
            offer(&mut outbox, &delivery, &EngineEvent { generation, ..of }, generation);
        }
        assert_eq!(outbox.told.len(), TOLD);
        assert!(outbox.told.contains_key("web//manual_intervention/"));
    }
}
