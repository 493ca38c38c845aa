//! What servers say about themselves: who is primary, how far its log is, who follows it.

use super::{FRESH, LogTrack, Service, Streamed};
use crate::candidate::{self, Heard, REPLAY_STANDS, SAMPLE_FRESH};
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Field, Severity};
use crate::id::{Generation, ServerId};
use crate::output::Output;
use crate::procedure::task::Task;
use crate::sample::{Lsn, Receiver, Sample};
use crate::time::{Mono, Span};
use crate::trigger::State;

/// What a standby received up to so long after the first bad sign may have been on its way before.
const SPEAKS_AFTER: Span = Span::from_millis(250);

impl Service {
    pub(super) fn sampled(&mut self, server: ServerId, sample: Sample, fx: &mut Effects) {
        let at = usize::from(server.0);
        if self.servers[at].sample.as_ref().is_some_and(|(_, before)| before.asked > sample.asked) {
            return;
        }
        let standing = |sample: &Sample| (sample.in_recovery, sample.receiver.is_streaming());
        if self.servers[at].sample.as_ref().is_none_or(|(_, before)| standing(before) != standing(&sample)) {
            self.look_again(server, fx);
        }
        if self.is_of_another_cluster(server, &sample, fx) {
            self.servers[at].sample = Some((fx.now, sample));
            return;
        }
        let since = &mut self.servers[at].in_recovery_since;
        *since = sample.in_recovery.then(|| since.unwrap_or(fx.now));
        self.watch_replay(server, &sample, fx);
        if sample.in_recovery {
            self.standby_sampled(server, &sample, fx);
        } else {
            self.writable_sampled(server, &sample, fx);
        }
        self.servers[at].sample = Some((fx.now, sample));
    }

    pub(super) fn is_of_another_cluster(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) -> bool {
        let wrong = self.durable.cluster.system_id.is_some_and(|known| known != sample.system_id);
        let state = &mut self.servers[usize::from(server.0)];
        if wrong && !state.wrong_cluster {
            fx.emit(
                EventKind::WrongCluster,
                Severity::Alarm,
                self.about_server(server),
                format!(
                    "{} belongs to another cluster: system identifier {}, expected {}",
                    self.server_name(server),
                    sample.system_id,
                    self.durable.cluster.system_id.unwrap_or_default()
                ),
                vec![
                    ("system_id", text(sample.system_id.to_string())),
                    ("expected", text(self.durable.cluster.system_id.unwrap_or_default().to_string())),
                ],
            );
        }
        self.servers[usize::from(server.0)].wrong_cluster = wrong;
        wrong
    }

    pub(super) fn writable_sampled(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        if self.run.plan.is_some() {
            return;
        }
        self.old_primary_said(server, sample, fx);
        match self.durable.primary {
            Some(primary) if primary == server => self.primary_sampled(server, sample, fx),
            Some(primary) => self.second_writable(primary, server, sample, fx),
            None if !self.may_adopt(server) => {}
            None => {
                let of_this_cluster = |other: ServerId| {
                    let seen = self.servers[usize::from(other.0)].sample.as_ref();
                    seen.is_some_and(|(_, seen)| seen.system_id == sample.system_id)
                };
                let rival = self
                    .server_ids()
                    .find(|other| *other != server && self.is_writable_now(*other, fx.now) && of_this_cluster(*other));
                if let Some(rival) = rival {
                    self.two_primaries(rival, server, fx);
                } else {
                    self.adopt_primary(server, sample, &self.why_not_the_hinted(server), fx);
                }
            }
        }
    }

    /// The configuration's role is the first hint: the server it names is waited for until it was seen, or did not answer.
    fn may_adopt(&self, server: ServerId) -> bool {
        let Some(hinted) = self.subject().filter(|hinted| *hinted != server) else { return true };
        self.servers[usize::from(hinted.0)].sample.is_some()
            || self
                .model
                .checks
                .iter()
                .zip(&self.checks)
                .any(|(model, state)| model.server == hinted.0 && state.answers >= model.success_threshold)
    }

    pub(crate) fn is_writable_now(&self, server: ServerId, now: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        // What it said before it broke off, or refused, is not now.
        let over = self.subject() == Some(server)
            && self.detection.suspicion.as_ref().is_some_and(|suspicion| {
                let broke_off = |since: &crate::time::Mono| state.sample.as_ref().is_none_or(|(at, _)| at <= since);
                suspicion.refused > 0 || suspicion.close.as_ref().map(|(since, _)| since).is_some_and(broke_off)
            });
        // A refused connection after it: the server that said so is not there any more.
        let gone = state.sample.as_ref().is_some_and(|(at, _)| self.is_down_since(server, *at));
        !over
            && !gone
            && !state.wrong_cluster
            && state.sample.as_ref().is_some_and(|(at, sample)| !sample.in_recovery && now.since(*at) < FRESH)
    }

    pub(super) fn two_primaries(&mut self, one: ServerId, other: ServerId, fx: &mut Effects) {
        let message = format!("{} and {} both take writes; neither is stopped", self.server_name(one), self.server_name(other));
        for server in [one, other].into_iter().filter(|server| self.durable.primary != Some(*server)) {
            self.servers[usize::from(server.0)].wrote_beside = true;
        }
        if !std::mem::replace(&mut self.two_primaries, true) {
            fx.emit(
                EventKind::TwoPrimaries,
                Severity::Alarm,
                self.about(),
                message.clone(),
                vec![("servers", texts([self.server_name(one), self.server_name(other)]))],
            );
        }
        // Also after a reset, as long as it holds.
        self.call_a_person(message, Vec::new(), fx);
    }

    /// Journal and timeline prove which one is the old generation: that one is taken out and fenced again.
    pub(super) fn old_primary_returned(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let started_since = |at: Mono| sample.age.is_some_and(|age| sample.asked > at + age);
        let state = &mut self.servers[usize::from(server.0)];
        if state.returned_at.is_some_and(|at| fx.now.since(at) < Span::from_millis(5_000) && !started_since(at)) {
            return;
        }
        state.returned_at = Some(fx.now);
        if let Some(why) = self.nothing_changed(fx) {
            self.tell_returned(server, sample, &why, fx);
            return;
        }
        let state = &self.servers[usize::from(server.0)];
        // Fenced again, proven stopped, and answering all the same: the proof was about something else. Not so of one that was started since.
        let again = state.proven_again_at.filter(|at| sample.asked > *at && fx.now.since(*at) < Span::from_millis(10_000));
        let contradicted = again.is_some_and(|at| !started_since(at)) || state.foreign_host;
        let alone = again.is_some() && !self.durable.primary.is_some_and(|primary| self.is_writable_now(primary, fx.now));
        let hopeless = contradicted || alone;
        let done = if contradicted {
            "it is taken out of the route; what its host shows is not this server"
        } else if alone {
            "it is taken out of the route, and not fenced once more: nobody else takes writes"
        } else {
            "it is taken out of the route and fenced again"
        };
        self.tell_returned(server, sample, done, fx);
        if self.model.route.is_managed() {
            self.begin_task(Task::TakeOut(server), fx);
        }
        if let Some(primary) = self.durable.primary.filter(|_| hopeless) {
            if self.is_writable_now(primary, fx.now) {
                self.two_primaries(primary, server, fx);
            } else {
                let (old, new) = (self.server_name(server), self.server_name(primary));
                let why = format!(
                    "the old primary {old} takes writes again and cannot be kept stopped, and {new}, the primary, is not seen to take any"
                );
                self.call_a_person(why, Vec::new(), fx);
            }
            return;
        }
        self.begin_task(Task::FenceAgain(server), fx);
    }

    fn tell_returned(&self, server: ServerId, sample: &Sample, done: &str, fx: &mut Effects) {
        fx.emit(
            EventKind::OldPrimaryReturned,
            Severity::Alarm,
            self.about_server(server),
            format!("the old primary {} takes writes again on timeline {}: {done}", self.server_name(server), sample.timeline),
            vec![("timeline", Field::Int(u64::from(sample.timeline)))],
        );
    }

    /// It would take the place of a primary that was seen.
    pub(super) fn takes_over(&self, server: ServerId) -> bool {
        self.primary_seen && self.durable.primary.is_some_and(|before| before != server)
    }

    pub(super) fn adopt_primary(&mut self, server: ServerId, sample: &Sample, why: &str, fx: &mut Effects) {
        if self.takes_over(server) {
            // Route and names follow whoever takes over from one that was seen.
            self.switched_by_hand = true;
            self.names_follow(fx.now);
            if self.run.plan.is_none() {
                self.durable.generation = Generation(self.durable.generation.0 + 1);
            }
            self.run.switched_in_call = self.state == State::ManualIntervention;
        }
        self.asked_for_promotion = None;
        self.remember_change(server, sample);
        self.durable.primary = Some(server);
        self.primary_seen = true;
        self.durable.cluster.system_id = Some(sample.system_id);
        self.durable.cluster.position = None;
        self.log = None;
        self.detection.log_end = None;
        self.detection.suspicion = None;
        self.trouble.bad = None;
        self.detection.window.clear();
        let state = &mut self.servers[usize::from(server.0)];
        state.deposed = false;
        state.other_branch = false;
        self.durable.cluster.deposed.remove(&server);
        for other in self.server_ids().filter(|other| *other != server) {
            if let Some((_, seen)) = self.servers[usize::from(other.0)].sample.clone() {
                self.is_of_another_cluster(other, &seen, fx);
            }
        }
        self.track_log(server, sample, fx.now);
        // Standbys are compared with it.
        self.server_ids().for_each(|server| self.look_again(server, fx));
        fx.emit(
            EventKind::PrimaryKnown,
            Severity::Info,
            self.about_server(server),
            format!("{} is the primary of {} ({why}), timeline {}", self.server_name(server), self.model.name, sample.timeline),
            vec![
                ("timeline", Field::Int(u64::from(sample.timeline))),
                ("system_id", text(sample.system_id.to_string())),
                ("why", text(why)),
            ],
        );
        self.journal_facts(fx);
    }

    /// In recovery, with all replayed that it has, the primary says where its log ends: it writes no more.
    fn log_rests(&mut self, sample: &Sample) {
        let Some(log) = self.log.as_mut().filter(|log| sample.at_end && log.timeline == sample.timeline) else { return };
        if let Some(end) = sample.replay.filter(|end| *end >= log.flush) {
            (log.flush, log.at, log.lead) = (end, sample.asked, Span::ZERO);
            (log.measured, log.rates) = ((end, sample.asked), [Some(0); 5]);
        }
    }

    pub(super) fn primary_sampled(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let news = !self.primary_seen
            || self.log.as_ref().is_none_or(|log| log.timeline != sample.timeline)
            || self.durable.cluster.system_id.is_none();
        let sync_before = self.durable.cluster.synchronous.clone();
        self.primary_seen = true;
        self.durable.cluster.system_id = Some(sample.system_id);
        self.servers[usize::from(server.0)].deposed = false;
        self.durable.cluster.deposed.remove(&server);
        self.track_log(server, sample, fx.now);
        self.show_sync_set(server, sample);
        let sync_changed = self.durable.cluster.synchronous != sync_before;
        if news {
            fx.emit(
                EventKind::PrimaryKnown,
                Severity::Info,
                self.about_server(server),
                format!("{} is the primary of {}, timeline {}", self.server_name(server), self.model.name, sample.timeline),
                vec![("timeline", Field::Int(u64::from(sample.timeline))), ("system_id", text(sample.system_id.to_string()))],
            );
        }
        if news || sync_changed {
            self.journal_facts(fx);
        }
    }

    pub(super) fn track_log(&mut self, primary: ServerId, sample: &Sample, now: Mono) {
        let Some(flush) = sample.flush else { return };
        let before = self.log.take().filter(|log| log.timeline == sample.timeline);
        let (rates, measured) = match &before {
            Some(log) if log.lead == Span::ZERO => log.measure(flush, sample.asked),
            // What an earlier engine saw has no moment on this clock: how the log grew shortly before still counts.
            Some(log) if log.lead <= SAMPLE_FRESH => (log.rates, (flush, sample.asked)),
            _ => ([None; 5], (flush, sample.asked)),
        };
        let sync = self.track_sync(primary, before.as_ref().map(|log| &log.sync), sample, flush, now);
        let (at, lead) = (sample.asked, Span::ZERO);
        let heard = before.and_then(|log| log.heard).filter(|heard| heard.end > flush);
        self.log = Some(LogTrack { flush, at, lead, rates, measured, timeline: sample.timeline, heard, sync });
    }

    pub(super) fn standby_sampled(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        self.servers[usize::from(server.0)].other_branch = false;
        self.servers[usize::from(server.0)].wrote_beside = false;
        let receiving = match &sample.receiver {
            Receiver::Seen { streaming, latest_end, last_message_age, .. } => {
                if let (Some(end), Some(log)) = (latest_end, &mut self.log)
                    && log.heard.is_none_or(|before| *end >= before.end)
                    && sample.timeline == log.timeline
                {
                    let lead = *last_message_age - sample.asked.since(Mono::ZERO);
                    log.heard = Some(Heard { end: *end, at: sample.asked - *last_message_age, lead });
                }
                *streaming
            }
            // Hidden is not down: that it has received anything at all is what can be seen (rule 92).
            Receiver::Hidden => sample.receive.is_some(),
            Receiver::Absent => false,
        };
        self.note_replication_name(server, sample);
        if receiving {
            self.note_streaming(server, sample, fx.now);
            self.notice_rejoin(server, sample, fx);
        }
        self.watch_progress(server, sample, fx);
        if self.durable.primary == Some(server) {
            self.log_rests(sample);
        }
        if self.durable.primary == Some(server) && self.run.plan.is_none() {
            // A primary in recovery: somebody switched roles, or started it as a standby. Who takes writes beside it is judged as anybody who does.
            // What one said whose session has ended since is no word of now.
            let other = self.server_ids().find(|other| {
                *other != server && self.servers[usize::from(other.0)].session_open && self.is_writable_now(*other, fx.now)
            });
            if let Some(other) = other
                && let Some((_, sample)) = self.servers[usize::from(other.0)].sample.clone()
            {
                self.second_writable(server, other, &sample, fx);
            }
        } else if self.durable.primary.is_none() && self.run.plan.is_none() && self.is_subject(server) {
            self.adopt_another(server, sample, fx);
        }
    }

    /// What it had while it received is remembered: behind the receiver's end its control file shows an older timeline.
    pub(crate) fn note_streaming(&mut self, server: ServerId, sample: &Sample, now: Mono) {
        let state = &mut self.servers[usize::from(server.0)];
        state.streamed_at = Some(now);
        if let Some(position) = candidate::position(sample).filter(|_| sample.receiver.is_streaming()) {
            state.streamed = Some(Streamed { timeline: sample.timeline, position, started: sample.started });
        }
    }

    /// The server that the configuration calls the primary is in recovery: whoever takes writes need not be waited for any more.
    fn adopt_another(&mut self, hinted: ServerId, said: &Sample, fx: &mut Effects) {
        let writable: Vec<ServerId> =
            self.server_ids().filter(|other| *other != hinted && self.is_writable_now(*other, fx.now)).collect();
        // Of two, neither is taken for the primary: that is an alarm of its own at their next words.
        let [other] = writable[..] else { return };
        let Some((_, sample)) = self.servers[usize::from(other.0)].sample.clone() else { return };
        if sample.system_id == said.system_id {
            self.adopt_primary(other, &sample, &self.why_not_the_hinted(other), fx);
        }
    }

    /// Why a server is taken for the primary that the configuration does not name.
    fn why_not_the_hinted(&self, server: ServerId) -> String {
        let name = |server| self.server_name(server);
        match self.subject().filter(|hinted| *hinted != server && self.durable.primary.is_none()) {
            Some(hinted) if self.servers[usize::from(hinted.0)].sample.as_ref().is_some_and(|(_, seen)| seen.in_recovery) => {
                format!("{} is configured as primary but is in recovery; {} takes writes", name(hinted), name(server))
            }
            _ => "it takes writes".into(),
        }
    }

    /// What is seen instead of a primary, where the configuration names one: empty where there is nothing to say.
    pub(crate) fn no_primary_because(&self) -> String {
        let Some(hinted) = self.subject() else { return String::new() };
        let sample = |server: ServerId| self.servers[usize::from(server.0)].sample.as_ref().map(|(_, sample)| sample);
        let Some(said) = sample(hinted).filter(|sample| sample.in_recovery) else { return String::new() };
        let name = self.server_name(hinted);
        let writable: Vec<ServerId> =
            self.server_ids().filter(|other| sample(*other).is_some_and(|sample| !sample.in_recovery)).collect();
        let others = match writable[..] {
            [] => "no server of this service takes writes".to_owned(),
            [other] if sample(other).is_some_and(|sample| sample.system_id != said.system_id) => {
                format!("{} takes writes, but belongs to another cluster", self.server_name(other))
            }
            [other] => format!("{} is writable", self.server_name(other)),
            _ => "more than one other server is writable".to_owned(),
        };
        format!("{name} is configured as primary but is in recovery; {others}")
    }

    /// A deposed primary that is in recovery, receives, and is on the present primary's timeline of the same cluster is a standby like
    /// any other. Should it ever take writes again, that is judged as of any other: two primaries, and nothing is touched.
    fn notice_rejoin(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let Some(primary) = self.durable.primary.filter(|primary| *primary != server && self.is_writable_now(*primary, fx.now))
        else {
            return;
        };
        let follows = self.durable.cluster.system_id == Some(sample.system_id)
            && self.log.as_ref().is_some_and(|log| log.timeline == sample.timeline);
        if !self.servers[usize::from(server.0)].deposed || !follows || self.run.plan.is_some() {
            return;
        }
        let state = &mut self.servers[usize::from(server.0)];
        state.deposed = false;
        state.proven_again_at = None;
        state.returned_at = None;
        self.durable.cluster.deposed.remove(&server);
        self.durable.cluster.handed_over.remove(&server);
        if self.background.prove_at.is_some_and(|(_, proven)| proven == server) {
            self.background.prove_at = None;
        }
        let (name, primary) = (self.server_name(server), self.server_name(primary));
        fx.emit(
            EventKind::EvidenceGathered,
            Severity::Info,
            self.about_server(server),
            format!("{name}, the old primary, has rejoined as a standby of {primary} on timeline {}", sample.timeline),
            vec![("timeline", Field::Int(u64::from(sample.timeline))), ("primary", text(primary))],
        );
        self.journal_facts(fx);
    }

    /// Replay that does not move while there is log to replay: the survey looks at once who is in its way, and again when that is over, also
    /// while this server is waited for in a failover. That it is paused or delayed on purpose has names of its own.
    fn watch_replay(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let on_purpose = sample.replay_paused || sample.delayed;
        // The end of a record that is not flushed yet may keep what came of it unreplayed for long: then it waits for log, and for nobody.
        let waits = sample.in_recovery && !on_purpose && !sample.at_end && candidate::to_replay(sample) > 0;
        let state = &mut self.servers[usize::from(server.0)];
        state.replay_pace.sampled(sample, waits);
        state.replay_at = sample.replay.filter(|_| waits).map(|at| match state.replay_at {
            Some((before, since)) if before == at => (at, since),
            _ => (at, fx.now),
        });
        let stands = state.replay_at.is_some_and(|(_, since)| fx.now.since(since) >= REPLAY_STANDS);
        if std::mem::replace(&mut state.replay_stands, stands) != stands {
            fx.push(Output::Survey { service: self.id, server });
        }
    }

    /// A standby that goes on receiving proves the primary alive (rules 4, 5, 91).
    pub(super) fn watch_progress(&mut self, server: ServerId, sample: &Sample, fx: &Effects) {
        let Some(suspicion) = &self.detection.suspicion else { return };
        let after = suspicion.since + SPEAKS_AFTER;
        if sample.asked < after {
            return;
        }
        let state = &mut self.servers[usize::from(server.0)];
        match (state.progress, sample.receive) {
            (Some(before), Some(received)) if received > before => {
                state.progress_at = Some(fx.now);
                state.progress = Some(received);
            }
            (None, received) => state.progress = received,
            _ => {}
        }
        if let Receiver::Seen { last_message_age, streaming: true, .. } = &sample.receiver
            && sample.asked - *last_message_age > after
        {
            state.progress_at = Some(fx.now);
        }
    }

    /// A standby was receiving when it was last asked, and that was too early to say anything about now. Waited for no longer than
    /// its next answers take.
    pub(super) fn a_standby_has_yet_to_speak(&self, since: Mono, now: Mono) -> bool {
        let pause = self.model.trigger.ping_interval;
        // Twice: that it goes on receiving shows from one answer to the next.
        let after = since + SPEAKS_AFTER + pause;
        now < after + pause.times(2)
            && self.server_ids().filter(|server| !self.is_subject(*server)).any(|server| {
                let state = &self.servers[usize::from(server.0)];
                let sample = state.sample.as_ref().map(|(_, sample)| sample).filter(|_| state.session_open);
                sample.is_some_and(|sample| sample.receiver.is_streaming() && sample.asked < after)
            })
    }

    pub(super) fn standby_sees_primary(&self, now: Mono) -> Option<ServerId> {
        self.server_ids().find(|server| {
            !self.is_subject(*server)
                && self.servers[usize::from(server.0)].progress_at.is_some_and(|at| now.since(at) < Span::from_millis(1_000))
        })
    }
}

/// A rate over less than this would measure the answers' delays and single pages, not the growth.
const RATE_SPAN: Span = Span::from_millis(50);

impl LogTrack {
    /// The rates and the start of the next one, after the primary said that it is at `flush`. Between its own words only: a
    /// standby that is asked a moment before it is a moment behind, and the two together would look like any rate at all.
    fn measure(&self, flush: Lsn, asked: Mono) -> ([Option<u64>; 5], (Lsn, Mono)) {
        let (before, at) = self.measured;
        let span = asked.since(at);
        if span < RATE_SPAN {
            return (self.rates, self.measured);
        }
        let rate = u128::from(written(before, flush)) * 1_000_000_000 / u128::from(span.as_nanos());
        let mut rates = self.rates;
        rates.rotate_left(1);
        rates[4] = Some(u64::try_from(rate).unwrap_or(u64::MAX));
        (rates, (flush, asked))
    }
}

/// PostgreSQL's default; other sizes are powers of two as well.
const SEGMENT: u64 = 16 << 20;

/// So little stands behind a boundary that the log was most likely switched to its next segment, as each base backup does twice.
const SWITCHED: u64 = 64 << 10;

/// The bytes that were written between two positions. The rest of a segment that was left is none.
fn written(before: Lsn, flush: Lsn) -> u64 {
    let boundary = flush.0 - flush.0 % SEGMENT;
    let switched = before.0 < boundary && boundary - before.0 < SEGMENT && flush.0 - boundary <= SWITCHED;
    if switched { flush.0 - boundary } else { flush.bytes_after(before) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> LogTrack {
        let start = Mono::from_nanos(0);
        LogTrack {
            flush: Lsn(0),
            at: start,
            rates: [None; 5],
            measured: (Lsn(0), start),
            timeline: 1,
            lead: Span::ZERO,
            heard: None,
            sync: super::super::sync::SyncTrack::default(),
        }
    }

    #[test]
    fn rule_20_the_growth_is_that_of_the_primarys_own_words_over_a_measurable_time() {
        let at = |micros: u64| Mono::from_nanos(micros * 1_000);
        let mut log = track();
        // 40 kB/s, sampled every 250 ms; each time a standby was asked 10 µs before and was one page behind.
        for n in 1..=10 {
            let (asked, flush) = (at(n * 250_000), Lsn(n * 10_000));
            (log.flush, log.at) = (Lsn(flush.0 - 8_192), at(n * 250_000 - 10));
            (log.rates, log.measured) = log.measure(flush, asked);
            // Asked again at once, with a page in between.
            (log.rates, log.measured) = log.measure(Lsn(flush.0 + 8_192), at(n * 250_000 + 1_000));
        }
        assert_eq!(log.growth(), Some(40_000));
    }

    #[test]
    fn rule_20_the_growth_of_a_log_is_known_by_three_rates() {
        let at = |millis: u64| Mono::from_nanos(millis * 1_000_000);
        let mut log = LogTrack { measured: (Lsn(0), at(0)), ..track() };
        assert_eq!(log.growth(), None);
        for (millis, flush, growth) in [(250, 100_000, None), (500, 150_000, None), (750, 200_000, Some(200_000))] {
            (log.rates, log.measured) = log.measure(Lsn(flush), at(millis));
            assert_eq!(log.growth(), growth, "{millis}");
        }
    }

    #[test]
    fn rule_20_what_is_left_of_a_segment_at_a_switch_was_not_written() {
        let segment = |n: u64, behind: u64| Lsn(n * SEGMENT + behind);
        assert_eq!(written(segment(3, 5_000), segment(4, 320)), 320);
        assert_eq!(written(segment(3, 0), segment(4, 320)), SEGMENT + 320, "a whole segment is data");
        assert_eq!(written(segment(3, 5_000), segment(4, 200_000)), SEGMENT + 195_000, "so much behind it is data");
        assert_eq!(written(segment(3, 5_000), segment(3, 320_000)), 315_000);
        // The two of a base backup within a second: neither is growth.
        let at = |millis: u64| Mono::from_nanos(millis * 1_000_000);
        let mut log = LogTrack { measured: (segment(3, 5_000), at(0)), ..track() };
        for (n, flush) in [segment(4, 320), segment(4, 600), segment(5, 280), segment(5, 280)].into_iter().enumerate() {
            (log.rates, log.measured) = log.measure(flush, at((n as u64 + 1) * 250));
        }
        assert!(log.growth().is_some_and(|growth| growth < 2_000), "{:?}", log.rates);
    }
}
