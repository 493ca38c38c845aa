//! What the cluster still bears: after the death of the primary the death of its successor, and so on.
//!
//! Nothing is judged here. The facts are changed to what they would be after each failover, and the forecast is asked again.

use super::{FRESH, LogTrack, Service, Streamed, Surroundings};
use crate::candidate::{self, Candidate};
use crate::finding::FindingCode;
use crate::id::ServerId;
use crate::model::OnNewPrimary;
use crate::refusal::Refusal;
use crate::sample::{Lsn, Receiver, Replica, Sample};
use crate::time::{Mono, Span};
use crate::trigger::State;

impl Service {
    /// Who would take over at each death in turn, if every failover is over and its cooldown has passed before the next death. The first is the
    /// forecast. It ends with the first death that nobody would survive.
    pub(crate) fn tolerates(
        &self,
        first: &Result<Candidate, Vec<Refusal>>,
        around: Surroundings,
        now: Mono,
    ) -> Vec<Result<ServerId, Vec<Refusal>>> {
        let mut deaths = vec![first.clone().map(|candidate| candidate.server)];
        if !self.holds_data() {
            return deaths;
        }
        let mut next = first.clone();
        let mut world = None;
        while let Ok(candidate) = next {
            let before: &Service = world.as_ref().unwrap_or(self);
            let Some(after) = before.after_the_death(&candidate, now) else { break };
            next = after.forecast(around, now).outcome;
            deaths.push(next.clone().map(|candidate| candidate.server));
            if deaths.len() > self.servers.len() {
                break;
            }
            world = Some(after);
        }
        deaths
    }

    /// The same service when its primary is gone, this standby has its place, and the others follow it who can.
    fn after_the_death(&self, candidate: &Candidate, now: Mono) -> Option<Service> {
        let (old, next) = (self.subject()?, candidate.server);
        let log = self.log.as_ref()?;
        let timeline = log.timeline + 1;
        let at = candidate.position;
        let followers: Vec<ServerId> = self.server_ids().filter(|other| self.would_follow(*other, next, old, at, now)).collect();
        let mut world = self.clone();
        world.state = State::Normal;
        (world.detection, world.trouble) = Default::default();
        world.durable.primary = Some(next);
        world.durable.cluster.position = Some((timeline, at));
        world.durable.cluster.fork = Some((timeline, at));
        world.durable.cooldown_from = None;
        let gone = &mut world.servers[usize::from(old.0)];
        (gone.session_open, gone.sample, gone.deposed, gone.streamed_at) = (false, None, true, None);
        for follower in &followers {
            world.follows_on(*follower, timeline, at, now);
        }
        let replicas = followers.iter().map(|follower| world.replica_of(*follower, at)).collect();
        let state = &mut world.servers[usize::from(next.0)];
        let (_, sample) = state.sample.as_mut()?;
        *sample = as_primary(sample, timeline, at, replicas, now);
        let sample = sample.clone();
        state.sample = Some((now, sample.clone()));
        (state.streamed, state.streamed_at) = (None, None);
        // It is known as well as its predecessor's was: who acknowledges is seen for a while, and how fast it grows.
        let rates = log.rates;
        world.log = None;
        world.track_log(next, &sample, now);
        world.track_log(next, &sample, now);
        if let Some(LogTrack { rates: grows, .. }) = &mut world.log {
            *grows = rates;
        }
        Some(world)
    }

    /// It streams, and would be pointed to the new primary or hangs on it already.
    fn would_follow(&self, standby: ServerId, next: ServerId, old: ServerId, fork: Lsn, now: Mono) -> bool {
        let state = &self.servers[usize::from(standby.0)];
        let fresh = state.sample.as_ref().filter(|(at, _)| now.since(*at) < FRESH && state.session_open);
        let Some((_, sample)) = fresh.filter(|_| standby != next && standby != old && !state.deposed) else { return false };
        let streams = sample.in_recovery && sample.receiver.is_streaming();
        let behind = candidate::position(sample).is_some_and(|position| position <= fork);
        let prepared = state
            .readiness
            .iter()
            .all(|readiness| readiness.findings.iter().all(|finding| finding.code != FindingCode::RepointNotPrepared));
        streams && behind && prepared && self.model.postgres.followers == OnNewPrimary::Auto
    }

    fn follows_on(&mut self, follower: ServerId, timeline: u32, at: Lsn, now: Mono) {
        let state = &mut self.servers[usize::from(follower.0)];
        let Some((seen, sample)) = &mut state.sample else { return };
        let complete = candidate::is_complete(sample);
        (*seen, sample.asked, sample.timeline, sample.receive) = (now, now, timeline, Some(at));
        // What it received meanwhile it has replayed too, if it replays.
        if complete {
            sample.replay = Some(at);
        }
        if let Receiver::Seen { latest_end, last_message_age, .. } = &mut sample.receiver {
            (*latest_end, *last_message_age) = (Some(at), Span::ZERO);
        }
        state.streamed_at = Some(now);
        state.streamed = Some(Streamed { timeline, position: at, started: sample.started });
    }

    fn replica_of(&self, follower: ServerId, at: Lsn) -> Replica {
        let slot = self.servers[usize::from(follower.0)].sample.as_ref().and_then(|(_, sample)| match &sample.receiver {
            Receiver::Seen { slot, .. } => slot.clone(),
            _ => None,
        });
        let name = self.replication_name(follower);
        Replica {
            application_name: name,
            streaming: true,
            synchronous: false,
            flush: Some(at),
            slot,
            reply_age: Some(Span::ZERO),
        }
    }
}

/// What the standby would say as a primary: its settings stay what they are.
fn as_primary(standby: &Sample, timeline: u32, at: Lsn, replicas: Vec<Replica>, now: Mono) -> Sample {
    Sample {
        asked: now,
        in_recovery: false,
        timeline,
        flush: Some(at),
        receive: None,
        replay: None,
        receiver: Receiver::Absent,
        at_end: false,
        replay_conflict: false,
        replay_paused: false,
        delayed: false,
        replicas: Some(replicas),
        ..standby.clone()
    }
}
