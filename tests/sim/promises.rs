//! Promises and reasons against the truth: what the record says of acknowledged rows, what the forecast said before a death, and why
//! a person was called.

use failover_core::event::{Event, Field};
use failover_core::knowledge::Knowledge;
use failover_core::model::OnLoss;
use failover_core::output::EndedHow;
use failover_core::refusal::{CandidateRefusal, Refusal};
use failover_core::sample::{Position, Sample, SyncCommit};
use failover_core::snapshot::{LastFailover, ServiceSnapshot};
use failover_core::time::{Mono, Span};
use failover_core::trigger::State;

use super::super::cluster::{Cluster, Process, SYSTEM_ID};
use super::super::invariants::Watch;
use super::super::replication::Rule;
use super::super::swarm::{Fault, Link, Moment};
use super::{Sim, ms, server_id};

/// For so long nothing may have changed for the engine to know everything: the survey has its turns.
const KNOWN: Span = Span::from_millis(12_000);

/// What one server told the engine about itself, as the engine may add it up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    pub at: Mono,
    flush: u64,
    /// The same as the present engine can know it: of what an earlier one heard, what it had left behind.
    known: u64,
    kept: u64,
    rates: [u64; 5],
    measured: (u64, Mono),
    writable: Option<Mono>,
    /// How far it said to be when the positions were read, as a standby of the old primary; and when.
    pub(super) told: Option<(u64, Mono)>,
    /// On which timeline it was last seen to stream, and when.
    streamed: Option<(u32, Mono)>,
    streamed_kept: Option<(u32, Mono)>,
}

impl Heard {
    fn sample(&mut self, asked: Mono, now: Mono, sample: &Sample) {
        self.writable = (!sample.in_recovery && sample.system_id == SYSTEM_ID).then_some(now);
        if sample.receiver.is_streaming() {
            self.streamed = Some((sample.timeline, asked));
        }
        let Some(flush) = sample.flush else { return };
        (self.at, self.flush, self.known) = (asked, flush.0, flush.0);
        let span = asked.since(self.measured.1);
        if span >= ms(50) {
            let rate = u128::from(flush.0.saturating_sub(self.measured.0)) * 1_000_000_000 / u128::from(span.as_nanos());
            self.rates.rotate_left(1);
            self.rates[4] = u64::try_from(rate).unwrap_or(u64::MAX);
            self.measured = (flush.0, asked);
        }
    }

    pub(super) fn has_streamed(&self, timeline: u32) -> bool {
        self.streamed.is_some_and(|(of, _)| of == timeline)
    }

    /// What it wrote between its last word and `end`, over what its growth had foretold.
    fn surprise(&self, acknowledged: u64, end: Mono) -> u64 {
        let mut rates = self.rates;
        rates.sort_unstable();
        let grown = u128::from(rates[3]) * u128::from(end.since(self.at).as_nanos()) / 1_000_000_000;
        let grown = u64::try_from(grown).unwrap_or(u64::MAX);
        acknowledged.saturating_sub(self.flush).saturating_sub(grown) + grown / 50 + 64
    }
}

/// The death of a primary, and what was foretold right before it.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub at: Mono,
    /// Whom the forecast named.
    pub promised: Option<usize>,
    /// Nothing had changed for long before it, and nothing has since: the promise has to be kept until then.
    pub due: Option<Mono>,
    /// The engine was away then, or has been since: nothing that it saw bounds what was acknowledged.
    pub away: bool,
}

fn flag(event: &Event, name: &str) -> bool {
    event.fields.iter().any(|(key, value)| *key == name && *value == Field::Bool(true))
}

fn number(event: &Event, name: &str) -> Option<u64> {
    event.fields.iter().find_map(|(key, value)| match value {
        Field::Int(value) if *key == name => Some(*value),
        _ => None,
    })
}

/// Who may have acknowledged a commit, by the names: nothing if somebody is named who is no configured standby.
fn members(cluster: &Cluster, old: usize, rule: &Rule) -> Option<Vec<usize>> {
    let all: Vec<usize> =
        (0..cluster.servers.len()).filter(|at| *at != old && rule.place(&cluster.servers[*at].called).is_some()).collect();
    // Whoever is not configured is a stranger to the engine, whatever it is called.
    let primary = &cluster.servers[old];
    let remembered = primary.strange.is_some_and(|strange| strange.loaded == primary.settings.loaded);
    let strange = cluster.stranger.is_some()
        // Where everybody counts, one that has gone may come back, as long as the settings are the same.
        || (remembered && rule.names.iter().any(|name| name == "*"))
        || all.iter().any(|at| *at >= cluster.configured)
        // The same list on every server names the primary too, and that acknowledges nothing to itself.
        || rule.names.iter().any(|name| {
            let is_its = |server: &usize| cluster.servers[*server].called.eq_ignore_ascii_case(name);
            name != "*" && !all.iter().chain([&old]).any(is_its)
        });
    (!strange).then_some(all)
}

/// The last failover was undone: the reason is that of its turn.
fn turned_last(seen: &ServiceSnapshot) -> bool {
    let undone = |last: &LastFailover| last.how == EndedHow::RolledBack && seen.manual_reason.as_ref() == Some(&last.why);
    seen.last_failover.as_ref().is_some_and(undone)
}

impl Sim {
    /// The engine leaves behind what it has seen until now.
    pub(super) fn keep(&mut self, knowledge: Vec<Option<Knowledge>>) {
        self.seen = (self.now, knowledge);
        self.heard.iter_mut().flatten().for_each(|heard| (heard.kept, heard.streamed_kept) = (heard.known, heard.streamed));
    }

    /// Another engine has no more than what was left behind.
    pub(super) fn forget(&mut self) {
        self.heard.iter_mut().flatten().for_each(|heard| (heard.known, heard.streamed) = (heard.kept, heard.streamed_kept));
    }

    pub(super) fn hear(&mut self, service: usize, server: usize, sample: &Sample) {
        let asked = self.world(sample.asked);
        let now = self.now;
        self.heard[service][server].sample(asked, now, sample);
    }

    pub(super) fn hear_positions(&mut self, service: usize, positions: &[Position]) {
        let writes = |position: &&Position| {
            position.sample.as_ref().is_ok_and(|sample| !sample.in_recovery && sample.system_id == SYSTEM_ID)
        };
        if positions.iter().any(|position| writes(&position)) {
            self.watch.exercise("never_two");
        }
        for position in positions {
            if let Ok(sample) = &position.sample {
                let writable = !sample.in_recovery && sample.system_id == SYSTEM_ID;
                let heard = &mut self.heard[service][usize::from(position.server.0)];
                heard.writable = writable.then_some(self.now);
                let standby = sample.in_recovery && sample.system_id == SYSTEM_ID;
                heard.told = sample.receive.max(sample.replay).filter(|_| standby).map(|lsn| (lsn.0, self.now));
            }
        }
    }

    /// A promotion is asked for: the engine had heard of nobody else who takes writes.
    pub(super) fn judge_promotion(&mut self, service: usize, target: usize, old: usize) {
        let cluster = &self.clusters[service];
        let rival = (0..cluster.servers.len()).find(|at| {
            let heard = self.heard[service][*at].writable.is_some_and(|when| self.now.since(when) < ms(10_000));
            // Behind an exclusive route that it has left nobody reaches it.
            *at != target && *at != old && heard && cluster.could_write(*at) && cluster.reached_by_clients(*at)
        });
        if let Some(rival) = rival.filter(|_| !cluster.lied) {
            let why = format!(
                "{} had said that it takes writes when {} was promoted",
                cluster.servers[rival].name, cluster.servers[target].name
            );
            self.watch.fail("never_two", why);
        }
        self.judge_the_choice(service, target, old);
        self.judge_whom_it_takes_along(service, target, old);
    }

    /// A promotion rests on nothing that was looked at before the engine slept: meanwhile a person may have started the old primary, or
    /// promoted another server.
    pub(super) fn judge_awake(&mut self, service: usize, generation: u64) {
        const NAME: &str = "what_was_seen_before_a_sleep_is_seen_again";
        let Some(woke) = self.woken.iter().copied().filter(|woke| *woke <= self.now).max() else { return };
        if self.clusters[service].lied || !self.watch.began_before(service, generation, woke) {
            return;
        }
        self.watch.exercise(NAME);
        let (proved, positioned) = (self.proved[service], self.positioned[service]);
        if self.watch.is_proven_stopped(service, generation) && proved < woke {
            let why = format!("the fence was proven at {proved:?}, and the engine slept until {woke:?}");
            self.watch.fail(NAME, why);
        } else if positioned < woke {
            let why = format!("the positions were read at {positioned:?}, and the engine slept until {woke:?}");
            self.watch.fail(NAME, why);
        }
    }

    /// Whoever said that it has more than the chosen one, and more than may be lost, stands in the way, whether or not it may be promoted
    /// itself. Where commits waited for standbys all along, nothing may be lost of what is known.
    fn judge_the_choice(&mut self, service: usize, target: usize, old: usize) {
        let (cluster, policy) = (&self.clusters[service], &self.setup.model.services[service].postgres);
        let waived = policy.on_loss == OnLoss::Proceed || self.watch.accepts_loss(service);
        let Some((own, read)) = self.heard[service][target].told.filter(|(_, at)| self.now.since(*at) < ms(3_000)) else {
            return;
        };
        if waived || cluster.lied || cluster.meddled || self.watch.has_restarted() {
            return;
        }
        // What too few of those have for whom commits wait was not acknowledged.
        let rule = cluster.servers[old].settings.in_force().filter(|_| self.is_promised(service, old, self.now));
        let members = rule.and_then(|rule| members(cluster, old, rule)).unwrap_or_default();
        let further: Vec<(usize, u64)> = (0..cluster.servers.len())
            .filter_map(|at| {
                let (more, when) = self.heard[service][at].told?;
                let counts = at != target && at != old && when == read && more > own && cluster.has_followed(at, old);
                counts.then(|| (at, more - own))
            })
            .collect();
        let acknowledged = rule.is_some_and(|rule| {
            let have = further.iter().filter(|(at, _)| members.contains(at)).count();
            have >= rule.required.max(1)
        });
        let limit = if acknowledged { 0 } else { policy.max_lag_bytes };
        let counts = |at: usize| acknowledged || rule.is_none() || !members.contains(&at);
        if let Some((at, bytes)) = further.into_iter().find(|(at, bytes)| *bytes > limit && counts(*at)) {
            let (further, chosen) = (&cluster.servers[at].name, &cluster.servers[target].name);
            let why = format!("{further} had said that it has {bytes} bytes more than {chosen}, the limit is {limit}");
            self.watch.fail("candidate_within_max_lag", why);
        }
    }

    /// Commits have waited for configured standbys for so long before `end` that the engine knew it, and there is nobody else.
    fn is_promised(&self, service: usize, old: usize, end: Mono) -> bool {
        let primary = &self.clusters[service].servers[old];
        let in_force = primary.settings.in_force().is_some() && primary.promised_since + ms(12_000) < end;
        let strange = |moment: &(Mono, Moment)| matches!(moment.1.fault, Fault::Stranger(_));
        let rule_is_plain = primary.settings.in_force().is_some_and(|rule| members(&self.clusters[service], old, rule).is_some());
        let strange = self.setup.moments.iter().any(|moment| matches!(moment.fault, Fault::Stranger(_)))
            || self.moments.iter().any(strange);
        in_force && rule_is_plain && !strange
    }

    /// The end of a failover says what may be missing: more than that is not.
    pub(super) fn judge_record(&mut self, service: usize, event: &Event) {
        let cluster = &self.clusters[service];
        let Some(promotion) = cluster.promoted else { return };
        if self.moved_alive[service] {
            self.watch.exercise("moving_a_primary_that_is_well_loses_nothing");
        }
        let disturbed = cluster.lied || cluster.returned || promotion.rival || cluster.servers.iter().any(|one| one.by_hand);
        if disturbed || event.server != Some(server_id(promotion.server)) || promotion.missing == 0 {
            return;
        }
        let name = &cluster.servers[promotion.server].name;
        let missing = promotion.missing;
        self.watch.exercise("an_acknowledged_commit_is_on_the_promoted_server_or_the_record_said_it_may_be_missing");
        let unseen = promotion.settings_changed + ms(1_000) > promotion.acknowledged_at;
        let surprise = self.heard[service][promotion.old].surprise(promotion.acknowledged, promotion.acknowledged_at);
        let rule = "an_acknowledged_commit_is_on_the_promoted_server_or_the_record_said_it_may_be_missing";
        if flag(event, "holds_acknowledged") {
            if !unseen {
                self.watch.fail(rule, format!("{missing} acknowledged bytes are not on {name}, which holds every one it says"));
            }
        } else if let Some(said) = number(event, "loss_bytes")
            && missing > said.saturating_add(surprise)
        {
            let why =
                format!("{missing} acknowledged bytes are not on {name}, at most {said} it says ({surprise} could surprise)");
            self.watch.fail(rule, why);
        } else if !["not seen", "not known", "missing"].iter().any(|word| event.message.contains(word)) {
            self.watch
                .fail(rule, format!("{missing} acknowledged bytes are not on {name}, and the record says: {}", event.message));
        }
        let policy = &self.setup.model.services[service].postgres;
        let accepted = policy.on_loss == OnLoss::Proceed || self.watch.accepts_loss(service) || self.watch.has_restarted();
        let awake = self.deaths[service].as_ref().is_none_or(|death| !death.away);
        let changed = promotion.settings_changed;
        let seen = changed == Mono::ZERO || self.heard[service][promotion.old].at > changed + ms(2_000);
        let known = self.is_promised(service, promotion.old, promotion.acknowledged_at) && awake && seen;
        if known && !accepted && !cluster.meddled {
            let why = format!("{missing} acknowledged bytes are not on {name}, and commits had waited for standbys all along");
            self.watch.fail("candidate_within_max_lag", why);
        }
        let policy = &self.setup.model.services[service].postgres;
        if self.moved_alive[service] && policy.on_loss == OnLoss::Refuse {
            let why = format!("{missing} acknowledged bytes of a primary that was well are not on {name}");
            self.watch.fail("moving_a_primary_that_is_well_loses_nothing", why);
        }
    }

    /// A server that somebody promoted is followed by itself only if it has everything that the old primary had said of its log.
    pub(super) fn judge_followed(&mut self, service: usize, event: &Event) {
        let cluster = &self.clusters[service];
        let Some(promotion) = cluster.promoted.filter(|promotion| event.server == Some(server_id(promotion.server))) else {
            return;
        };
        let server = &cluster.servers[promotion.server];
        let Some((_, left)) = server.branch.switches.last() else { return };
        let said = self.heard[service][promotion.old].known;
        if server.by_hand && event.message.contains("somebody else promoted it") {
            self.watch.exercise("who_is_followed_lacks_nothing_that_was_seen");
        }
        if server.by_hand && event.message.contains("somebody else promoted it") && said > *left {
            let why = format!("{} is followed, which lacks {} bytes that its primary had", server.name, said - left);
            self.watch.fail("who_is_followed_lacks_nothing_that_was_seen", why);
        }
    }

    /// A failover begins: an ordered one away from a primary that is well may lose nothing that nobody accepted.
    pub(super) fn note_start(&mut self, service: usize, event: &Event) {
        let cluster = &self.clusters[service];
        let Some(old) = event.server.map(|server| usize::from(server.0)) else { return };
        let ordered = |value: &Field| ["forced", "switchover"].iter().any(|class| *value == Field::Text((*class).into()));
        let forced = event.fields.iter().any(|(key, value)| *key == "class" && ordered(value));
        let well = cluster.is_writable(old) && cluster.servers[old].process == Process::Running;
        self.adopted[service] = None;
        self.moved_alive[service] = forced && well && !self.watch.accepts_loss(service);
    }

    /// The primary dies now: what does the engine say would happen?
    pub(super) fn struck(&mut self, service: usize, server: usize) {
        // From here on it is a failover: nobody moves one that is well.
        self.moved_alive[service] &= server != self.watch.old_primary(service);
        let Some(core) = self.core.as_ref().filter(|_| self.now >= self.awake_at) else {
            self.deaths[service] = Some(Death { at: self.now, promised: None, due: None, away: true });
            return;
        };
        let snapshot = core.snapshot();
        let seen = &snapshot.services[service];
        if seen.primary != Some(server_id(server)) {
            return;
        }
        let quiet = self.is_undisturbed(service) && seen.state == State::Normal && !self.watch.is_stopping();
        let promised = seen.forecast.outcome.as_ref().ok().map(|candidate| usize::from(candidate.server.0));
        if promised.is_some() && seen.state == State::Normal {
            self.with_promise += 1;
        } else {
            self.without_promise += 1;
        }
        if self.told {
            self.note(format!("s{service} dies; the forecast is {:?}", seen.forecast.outcome));
        }
        let settings = &self.setup.model.services[service];
        let limit = settings.trigger.restart_grace + settings.trigger.failure_window.min(ms(15_000)) + ms(20_000);
        let due = (quiet && promised.is_some()).then(|| self.now + limit);
        if due.is_some() {
            self.watch.exercise("promise_kept");
        }
        self.deaths[service] = Some(Death { at: self.now, promised, due, away: false });
    }

    /// Nothing that the engine could not know: every fault is over, or has been there for long.
    pub(super) fn is_undisturbed(&self, service: usize) -> bool {
        let settings = &self.setup.model.services[service];
        let cluster = &self.clusters[service];
        let lag = cluster.servers.iter().map(|one| one.lag).max().unwrap_or(0);
        let (rate, limit) = (cluster.write_rate + cluster.burst + lag, settings.postgres.max_lag_bytes);
        self.now.since(self.disturbed_at) >= KNOWN
            && self.wrong.is_empty()
            && self.at_step.is_empty()
            && !self.stuck
            && !self.disk_full
            && self.journal_writable
            && !cluster.lied
            && !cluster.meddled
            && !settings.trigger.require_confirmation
            && cluster.servers.iter().all(|one| one.flaky == 0 && one.resolver && one.port == Link::Open)
            // One second of writing more than was known is not foretold.
            && limit >= rate
    }

    /// Something else changes: what was promised before a death is no promise any more, unless it is overdue.
    pub(super) fn disturb(&mut self) {
        self.settle_promises();
        self.disturbed_at = self.now;
        for death in self.deaths.iter_mut().flatten() {
            death.due = None;
        }
    }

    pub(super) fn settle_promises(&mut self) {
        for service in 0..self.deaths.len() {
            let Some(death) = &self.deaths[service] else { continue };
            let Some(due) = death.due.filter(|due| self.now >= *due) else { continue };
            let promised = death.promised.map(|at| self.clusters[service].servers[at].name.clone()).unwrap_or_default();
            let Some(core) = &self.core else { continue };
            let snapshot = core.snapshot();
            let seen = &snapshot.services[service];
            let why = format!(
                "{promised} would have been promoted, was said right before the death; {} after it: {}, {:?}, {:?}",
                self.now.since(due),
                seen.state.as_str(),
                seen.refusal,
                seen.manual_reason
            );
            self.watch.fail("promise_kept", why);
        }
    }

    /// A person is called: the reasons are true.
    pub(super) fn judge_person(&mut self, service: usize) {
        let Some(core) = &self.core else { return };
        let snapshot = core.snapshot();
        let seen = &snapshot.services[service];
        let cluster = &self.clusters[service];
        if cluster.lied || cluster.meddled || cluster.returned || cluster.servers.iter().any(|one| one.restored) {
            return;
        }
        if seen.manual_reason.as_ref().is_some_and(|why| why.contains("both take writes")) {
            let two = (0..cluster.servers.len()).filter(|at| self.now.since(cluster.servers[*at].open_at) < ms(4_000)).count();
            if two < 2 {
                let why = format!("{:?}, but {two} could", seen.manual_reason);
                self.watch.fail("a_person_only_with_a_reason_that_was_true", why);
            }
            return;
        }
        // What was true when the failover was turned round may have changed while it was undone.
        if self.turned[service] > Mono::ZERO && self.now.since(self.turned[service]) > ms(1_000) && turned_last(seen) {
            return;
        }
        let Some(refusal) = seen.refusal.clone() else { return };
        let Some(death) = self.deaths[service].clone() else { return };
        let Some(old) = seen.primary.map(|primary| usize::from(primary.0)) else { return };
        let untrue = self.untrue(service, old, &refusal, &death, seen);
        self.watch.exercise("a_person_only_with_a_reason_that_was_true");
        if let Some(why) = untrue {
            self.watch.fail("a_person_only_with_a_reason_that_was_true", why);
        } else if let Some(why) = self.known_before(service, &refusal, &death) {
            self.watch.fail("promise_kept", why);
        } else if death.due.is_some() {
            let why = format!("a person is called though a failover was promised and nothing else changed: {refusal:?}");
            self.watch.fail("promise_kept", why);
        }
    }

    fn untrue(&self, service: usize, old: usize, refusal: &Refusal, death: &Death, _seen: &ServiceSnapshot) -> Option<String> {
        let cluster = &self.clusters[service];
        let settled = |at: Mono| self.now.since(at) >= ms(4_000) || at == Mono::ZERO;
        match refusal {
            Refusal::NoCandidate { reasons } => reasons.iter().find_map(|(server, reason)| {
                let at = usize::from(server.0);
                let told = format!("{} was refused: {reason:?}; but ", cluster.servers[at].name);
                self.untrue_of(service, old, at, reason, death).map(|truth| told + truth)
            }),
            Refusal::FenceUnavailable { why } => {
                let server = &cluster.servers[old];
                let reachable = self.setup.model.services[service].servers[old].ssh
                    && server.power
                    && server.host
                    && settled(server.host_shut_at)
                    && self.now.since(self.base) > KNOWN
                    && !server.cut
                    && server.powered_at + KNOWN < self.now;
                let asked = !self.wrong.contains_key("ask_host");
                // It died before this engine could look at its host while it lived.
                let unseen = death.at < self.base && why.contains("never matched");
                (reachable && asked && !unseen).then(|| format!("its host answers: {why}"))
            }
            _ => None,
        }
    }

    /// What is not true of a reason against one standby.
    fn untrue_of(&self, service: usize, old: usize, at: usize, reason: &CandidateRefusal, death: &Death) -> Option<&'static str> {
        let cluster = &self.clusters[service];
        let (server, primary) = (&cluster.servers[at], &cluster.servers[old]);
        let settled = self.now.since(server.changed_at) >= ms(4_000) || server.changed_at == Mono::ZERO;
        // What a primary that was impaired, or whose samples were damaged, did not say of its settings the engine cannot know.
        let said = primary.settings_changed == Mono::ZERO || self.heard[service][old].at > primary.settings_changed;
        let legible = primary.damaged_at == Mono::ZERO || primary.damaged_at + ms(3_000) < death.at;
        let open =
            self.now.since(server.port_shut_at.max(server.unwell_at)) >= ms(4_000) && self.now.since(self.base) > ms(8_000);
        let streamed = death.at.since(server.streamed_at) <= ms(50) && !server.hidden && open;
        let awake = self.now.since(self.awake_at) > ms(5_000);
        let promise = primary.settings.in_force().filter(|_| primary.settings_changed + ms(3_000) < death.at && said && legible);
        let members = promise.and_then(|rule| members(cluster, old, rule));
        // By which name the primary would replicate the engine knows only where it is configured.
        let model = &self.setup.model.services[service].servers[old];
        let own_is_known = model.replication_name.is_some() || model.name.eq_ignore_ascii_case(&primary.called);
        let members = members.filter(|_| own_is_known || promise.is_some_and(|rule| rule.place(&primary.called).is_none()));
        // Every one of them could be asked, and said how far it is.
        let complete = |members: &Vec<usize>| {
            members.iter().all(|one| {
                let one_server = &cluster.servers[*one];
                let open = self.now.since(one_server.port_shut_at.max(one_server.unwell_at)) >= ms(4_000);
                // What was only written is certain to be there while the postmaster lives that was seen to receive it.
                let receives = self.heard[service][*one].streamed.is_some_and(|(_, at)| at >= one_server.started);
                let same = primary.settings.commit != SyncCommit::RemoteWrite || receives;
                open && same
                    && cluster.speaks(*one)
                    && cluster.has_followed(*one, old)
                    && self.heard[service][*one].has_streamed(primary.timeline)
                    && one_server.system_id == SYSTEM_ID
                    && (one_server.received || cluster.is_at_end(*one, self.now))
            })
        };
        let whole = members.as_ref().is_some_and(complete);
        let furthest = (0..cluster.servers.len()).all(|other| {
            other == old || cluster.servers[other].lsn <= server.lsn || cluster.servers[other].system_id != SYSTEM_ID
        });
        let changed = primary.settings_changed.max(cluster.arranged_at);
        // A receiver that is no server of ours had more, and commits waited for its name.
        let stranger = primary.strange.is_some_and(|strange| strange.acknowledges > server.lsn);
        let untrue = match reason.name() {
            // It has to have been there for long enough to be seen.
            "not_streaming" => {
                let began = server.streams_since.max(server.unwell_at).max(server.port_shut_at);
                let seen = death.at.since(began) >= ms(1_500);
                (streamed && seen).then_some("it was, when the primary died")
            }
            // Where others were named before, the engine goes by the end of the log at that time.
            "behind" if matches!(reason, CandidateRefusal::Behind { by: None, .. }) && (stranger || changed > Mono::ZERO) => None,
            "behind" => (furthest && settled && open).then_some("nobody is further"),
            "other_timeline" => {
                let seen = self.heard[service][at].has_streamed(primary.timeline);
                (seen && cluster.has_followed(at, old)).then_some("it was seen to stream from the primary")
            }
            "not_readable" => (open && awake && settled && cluster.speaks(at)).then_some("it could be asked all the time"),
            "not_in_recovery" => (server.recovery && settled).then_some("it is in recovery"),
            "other_cluster" => (server.system_id == SYSTEM_ID && settled).then_some("it is not"),
            "replay_paused" => (!server.replay_paused && settled).then_some("it is not"),
            "delayed" => (!server.delayed && settled).then_some("it is not"),
            "not_a_candidate" => {
                self.setup.model.services[service].servers[at].candidate.then_some("the configuration says that it is one")
            }
            "quorum_unanswered" if self.is_changing(service) => None,
            "quorum_unanswered" => whole.then_some("all who are named answered"),
            "loss_too_high" | "loss_unknown" => {
                let holds = whole && furthest && primary.acknowledged <= server.lsn;
                let fresh = self.heard[service][old].at + ms(900) >= primary.acknowledged_at;
                let gone = primary.host && primary.power && self.setup.model.services[service].servers[old].ssh;
                (holds && fresh && streamed && gone && !death.away)
                    .then_some("all who are named answered, and it is the furthest")
            }
            _ => None,
        };
        untrue.filter(|_| self.now.since(self.base) > ms(8_000))
    }

    /// A refusal that names what was so, and was known, when the forecast was that all is well.
    fn known_before(&self, service: usize, refusal: &Refusal, death: &Death) -> Option<String> {
        let (promised, cluster) = (death.promised?, &self.clusters[service]);
        let server = &cluster.servers[promised];
        let Refusal::NoCandidate { reasons } = refusal else { return None };
        let (_, reason) = reasons.iter().find(|(server, _)| *server == server_id(promised))?;
        let before = server.changed_at + ms(4_000) < death.at;
        let fact = matches!(reason.name(), "not_a_candidate" | "delayed" | "replay_paused" | "other_cluster" | "other_timeline");
        (before && fact).then(|| format!("{} was promised, and is refused for what was so before: {reason:?}", server.name))
    }
}

/// Whom an operator made the primary is it, for this engine and the next, while it takes writes; and what was unfinished before is over.
pub(super) fn judge_adopted(watch: &mut Watch, cluster: &Cluster, adopted: Option<usize>, seen: &ServiceSnapshot) {
    const NAME: &str = "who_was_adopted_stays_the_primary";
    let Some(adopted) = adopted else { return };
    watch.exercise(NAME);
    let named = seen.primary.map(|primary| usize::from(primary.0));
    let name = &cluster.servers[adopted].name;
    if cluster.is_writable(adopted) && adopted < cluster.configured && named != Some(adopted) {
        watch.fail(NAME, format!("{name} was adopted, and {named:?} is called the primary"));
    }
    if let Some(why) = seen.manual_reason.as_ref().filter(|why| why.contains("was not completed")) {
        watch.fail(NAME, format!("{name} was adopted, and a person is called all the same: {why}"));
    }
}
