//! Which standby could be promoted now, and telling the moment that changes.

use super::gate::Act;
use super::{FRESH, READINESS_HOLD, STREAM_GRACE, Service, Surroundings};
use crate::candidate::{self, Candidate, Ended, Reference, SYNC_FRESH, Standing, View, Waiver};
use crate::effects::{Effects, text, texts};
use crate::event::{EventKind, Severity};
use crate::evidence::FailureClass;
use crate::finding::FindingCode;
use crate::id::ServerId;
use crate::kind::Examined;
use crate::reason::Reason;
use crate::refusal::{CandidateRefusal, Refusal, of_deposed};
use crate::sample::{Readiness, Sample};
use crate::time::{Mono, Span};

/// A standby that answered this long ago may be restarting.
pub(super) const COMES_BACK: Span = Span::from_millis(10_000);
/// So long after a failover a standby that is not ready is held back for a moment, whatever the reason.
const SETTLES: Span = Span::from_millis(10_000);

impl Service {
    /// What is known of the log of a primary that ended so.
    pub(crate) fn reference(&self, ended: Ended) -> Option<Reference> {
        let log = self.log.as_ref()?;
        let known = self.detection.log_end.filter(|end| end.timeline == log.timeline);
        // Read where it ended: nothing is estimated, and nothing was acknowledged behind it.
        let (flush, at, lead) = known.map_or((log.flush, log.at, log.lead), |end| (end.at, ended.until, Span::ZERO));
        let sync = &log.sync;
        Some(Reference {
            system_id: self.durable.cluster.system_id?,
            timeline: log.timeline,
            flush,
            at,
            lead,
            heard: log.heard,
            growth: log.growth(),
            ended,
            exact: known.is_some(),
            sync: self.acknowledging(log),
            sync_fresh: sync.is_settled()
                && ended.died.since(sync.at) + log.lead <= SYNC_FRESH
                && self.is_kept_shut(log)
                && !self.is_overridden(),
            acknowledged_before: sync.acknowledged_before,
            acknowledged: sync.acknowledged.clone(),
            unpromised_before: sync.unpromised_before,
        })
    }

    /// A role, a database or a function has commits that wait for nobody, whatever the names say: by the sample or the survey.
    fn is_overridden(&self) -> bool {
        if self.log.as_ref().is_some_and(|log| log.sync.overridden) {
            return true;
        }
        let readiness = self.subject().and_then(|server| self.servers[usize::from(server.0)].readiness.as_ref());
        readiness
            .is_some_and(|readiness| readiness.findings.iter().any(|finding| finding.code == FindingCode::SyncCommitOverridden))
    }

    /// Examines every standby by what is known of it: who would take over if the primary died now.
    pub(crate) fn examine_standbys(&self, old: Option<ServerId>, end: Ended, waiver: &Waiver, view: View, now: Mono) -> Examined {
        self.kind().examine(self, old, end, waiver, view, now)
    }

    /// The same of a database, by the standbys' last samples.
    pub(crate) fn examine_by_samples(
        &self,
        old: Option<ServerId>,
        end: Ended,
        waiver: &Waiver,
        view: View,
        now: Mono,
    ) -> Examined {
        let others = self.server_ids().filter(|server| Some(*server) != old);
        let samples = others.map(|server| {
            let state = &self.servers[usize::from(server.0)];
            let sample = match &state.sample {
                Some((at, sample)) if now.since(*at) < FRESH && state.session_open => Ok(sample),
                _ if state.deposed => Err("it was deposed and has not rejoined".to_owned()),
                Some(_) => Err("it does not answer".to_owned()),
                None => Err(self.said_instead(server)),
            };
            (server, sample, true)
        });
        self.choose_among(samples.collect(), self.reference(end).as_ref(), waiver, &[], view)
    }

    /// A server that takes writes on a newer timeline continues what the primary wrote: it was seen to receive from it, and its postmaster is
    /// still the same one. A restored copy, or a clone, at its address is another postmaster.
    pub(crate) fn continues(&self, server: ServerId, sample: &Sample, timeline: u32) -> bool {
        self.servers[usize::from(server.0)].streamed.is_some_and(|streamed| {
            streamed.timeline == timeline && streamed.started.is_some() && streamed.started == sample.started
        })
    }

    /// It is starting, or has not replayed all that it has.
    pub(super) fn is_on_its_way(&self, server: ServerId, now: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        match &state.sample {
            Some((at, sample)) if now.since(*at) < FRESH && state.session_open => {
                sample.in_recovery && !sample.replay_paused && !sample.delayed && !candidate::is_complete(sample)
            }
            _ => self.was_there(server, now),
        }
    }

    /// It answered a moment ago, and may be back in one.
    pub(crate) fn was_there(&self, server: ServerId, now: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        !state.deposed && state.last_answer.is_some_and(|at| now.since(at) < COMES_BACK)
    }

    /// It was receiving when the primary was last seen alive.
    pub(crate) fn was_streaming(&self, server: ServerId) -> bool {
        let seen = self.log.as_ref().map(|log| log.at);
        self.servers[usize::from(server.0)].streamed_at.is_some_and(|at| seen.is_none_or(|seen| at + STREAM_GRACE >= seen))
    }

    /// Its timeline. Without a receiver a standby shows that of its control file, which is as old as its last restartpoint: where it has at
    /// least what it had streamed, it is where it was then.
    pub(crate) fn timeline_of(&self, server: ServerId, sample: &Sample) -> u32 {
        let Some(streamed) = self.servers[usize::from(server.0)].streamed else { return sample.timeline };
        let still_there =
            candidate::position(sample).is_some_and(|position| position >= streamed.position) || !candidate::is_complete(sample);
        if still_there && sample.in_recovery { sample.timeline.max(streamed.timeline) } else { sample.timeline }
    }

    /// Each standby's verdict, by what it says now or said last.
    pub(crate) fn choose_among(
        &self,
        samples: Vec<(ServerId, Result<&Sample, String>, bool)>,
        reference: Option<&Reference>,
        waiver: &Waiver,
        refused: &[(ServerId, String)],
        view: View,
    ) -> Vec<(ServerId, Result<Candidate, CandidateRefusal>)> {
        let told = samples.iter().filter_map(|(server, sample, _)| Some((*server, *sample.as_ref().ok()?))).collect();
        let standings: Vec<Standing<'_>> = samples
            .into_iter()
            .map(|(server, sample, settled)| {
                let state = &self.servers[usize::from(server.0)];
                let followers = self.followers_of(server, &told);
                let told = sample.as_ref().ok();
                Standing {
                    server,
                    model: &self.model.servers[usize::from(server.0)],
                    timeline: told.map_or(0, |sample| self.timeline_of(server, sample)),
                    settled,
                    was_streaming: self.was_streaming(server),
                    same_postmaster: told.is_some_and(|sample| {
                        state.streamed.is_some_and(|streamed| streamed.started.is_some() && streamed.started == sample.started)
                    }),
                    cordoned: self.durable.cordoned.contains(&server),
                    serves_nobody_new: self.serves_nobody_new(server),
                    login_refused: self.login_refused(server),
                    replay_stands: state.replay_stands
                        && told.is_some_and(|sample| sample.replay == state.replay_at.map(|(at, _)| at)),
                    salvage: told.map_or_else(|| Err(String::new()), |sample| self.salvage_way(server, sample, view)),
                    followers,
                    refused: refused.iter().find(|(other, _)| *other == server).map(|(_, why)| why.as_str()),
                    sample,
                }
            })
            .collect();
        let mut verdicts = candidate::choose(&standings, reference, &self.model.postgres, waiver, view);
        // Also where nothing is known of the primary's log, as after a restart: an operator who accepts every loss does not accept
        // another cluster's data.
        for ((_, verdict), standing) in verdicts.iter_mut().zip(&standings) {
            let other = standing
                .sample
                .as_ref()
                .is_ok_and(|sample| self.durable.cluster.system_id.is_some_and(|known| sample.system_id != known));
            if verdict.is_ok() && other {
                *verdict = Err(CandidateRefusal::OtherCluster);
            }
        }
        verdicts
    }

    /// What would keep this standby from becoming the primary although it is fit for it: code and sentence. That not every check
    /// has answered yet, nor the survey come, is left out: it passes within moments.
    fn also_in_the_way(&self, standby: ServerId, around: Surroundings, now: Mono) -> Vec<(String, String)> {
        let manual = self.gate(Act::Watch, around, now).err();
        let guard = self.gate(Act::FailOver, around, now).err().filter(|refusal| *refusal != Refusal::NotWarmedUp);
        let looked = self.subject().is_none_or(|server| self.servers[usize::from(server.0)].readiness.is_some());
        let fence = self.kind().fence_way(self, Reason::Failed(FailureClass::Dead), false).err().filter(|_| looked);
        let refusals = manual.into_iter().chain(guard).chain(fence);
        let mut list: Vec<(String, String)> =
            refusals.map(|refusal| (refusal.name().to_owned(), self.sentence(&refusal))).collect();
        list.extend(self.blocking_findings(standby).map(|(code, message)| (code.to_string(), message)));
        list
    }

    /// What the survey found that would keep a failover to this standby from its end.
    fn blocking_findings(&self, standby: ServerId) -> impl Iterator<Item = (FindingCode, String)> {
        let surveyed = self.servers[usize::from(standby.0)].readiness.iter().flat_map(Readiness::all);
        let route = self.route.iter().chain(&self.asked_route).flat_map(|route| route.findings.iter().cloned());
        surveyed.chain(route).filter(|found| found.blocking).map(|found| (found.code, found.message))
    }

    /// The same as reasons against a promise.
    pub(crate) fn hindrances(&self, standby: ServerId) -> Vec<Refusal> {
        self.blocking_findings(standby).map(|(code, message)| Refusal::NotReady { code, message }).collect()
    }

    /// Announces each standby that becomes ready or stops being so, at that moment: also while the primary is suspected, for then it
    /// matters most. What the primary's own end does to a standby is not held against it.
    pub(crate) fn watch_readiness(&mut self, around: Surroundings, fx: &mut Effects) {
        if !self.model.is_moved() || self.run.plan.is_some() || !self.primary_seen {
            return;
        }
        for (server, result) in
            self.examine_standbys(self.durable.primary, self.ended_by(fx.now), &Waiver::default(), View::Forecast, fx.now)
        {
            let at = usize::from(server.0);
            let verdict = result.map(|_| ());
            let same = match (&self.servers[at].announced, &verdict) {
                (Some(Ok(())), Ok(())) => true,
                (Some(Err(before)), Err(after)) => before.name() == after.name(),
                _ => false,
            };
            if same {
                self.servers[at].unready_since = None;
                continue;
            }
            if let Err(reason) = &verdict {
                let unwanted = matches!(reason, CandidateRefusal::NotACandidate) && self.servers[at].announced.is_none();
                let returns = matches!(reason, CandidateRefusal::NotReadable { .. }) && self.is_on_its_way_back(server);
                if unwanted || returns {
                    self.servers[at].announced = Some(verdict);
                    continue;
                }
                let passing = matches!(
                    reason,
                    CandidateRefusal::LossTooHigh { .. }
                        | CandidateRefusal::NotReadable { .. }
                        | CandidateRefusal::Behind { .. }
                        | CandidateRefusal::QuorumUnanswered { .. }
                        | CandidateRefusal::NotHealthy { .. }
                ) || self.servers[at].announced.is_none()
                    || (self.is_settling(fx.now) && waits_for_the_new_primary(reason));
                let since = *self.servers[at].unready_since.get_or_insert(fx.now);
                if passing && fx.now.since(since) < READINESS_HOLD {
                    continue;
                }
            }
            self.servers[at].unready_since = None;
            self.servers[at].announced = Some(verdict.clone());
            self.tell_readiness(server, &verdict, around, fx);
        }
    }

    /// A failover stopped it, or it handed over.
    fn is_stopped_old_primary(&self, server: ServerId) -> bool {
        let state = &self.servers[usize::from(server.0)];
        self.holds_data() && state.deposed && !state.session_open
    }

    /// It has handed over and is not back yet: that was ordered, and `rejoin_ended` says what comes of it.
    fn is_on_its_way_back(&self, server: ServerId) -> bool {
        self.is_stopped_old_primary(server) && self.durable.cluster.handed_over.contains(&server)
    }

    /// The other servers have to find the new primary first.
    fn is_settling(&self, now: Mono) -> bool {
        let ended = self.run.last_failover.as_ref().and_then(|last| last.plan.times.ended);
        ended.is_some_and(|ended| now.since(ended) < SETTLES)
    }

    pub(super) fn tell_readiness(
        &self,
        server: ServerId,
        verdict: &Result<(), CandidateRefusal>,
        around: Surroundings,
        fx: &mut Effects,
    ) {
        let name = self.server_name(server);
        let verb = self.kind().takes_over_by();
        match verdict {
            Ok(()) => {
                // The standby is one half of it: whoever reads this must not believe in a failover that would be refused.
                let (codes, why): (Vec<String>, Vec<String>) = self.also_in_the_way(server, around, fx.now).into_iter().unzip();
                let message = if why.is_empty() {
                    format!("{name} can {verb}")
                } else {
                    format!("{name} itself could {verb}, but this stands in the way of a failover: {}", why.join("; "))
                };
                let fields = vec![("blocked_by", texts(codes))];
                fx.emit(EventKind::StandbyReady, Severity::Info, self.about_server(server), message, fields);
            }
            Err(reason) => {
                let mut fields = vec![("reason", text(reason.name())), ("detail", text(reason.sentence()))];
                if matches!(reason, CandidateRefusal::NotReadable { .. }) && self.is_stopped_old_primary(server) {
                    let ssh = self.server_model(server).is_some_and(|model| model.ssh);
                    fields.push(("remedy", text(of_deposed(&self.model.name, &name, ssh))));
                }
                fx.emit(
                    EventKind::StandbyNotReady,
                    // What an operator did is no news to him.
                    if *reason == CandidateRefusal::Cordoned { Severity::Warning } else { Severity::Alarm },
                    self.about_server(server),
                    format!("{name} could not {verb} now: {}", reason.sentence()),
                    fields,
                );
            }
        }
    }
}

/// What a standby shows that has not found the new primary yet.
fn waits_for_the_new_primary(reason: &CandidateRefusal) -> bool {
    matches!(
        reason,
        CandidateRefusal::OtherTimeline { .. } | CandidateRefusal::NotStreaming | CandidateRefusal::LossUnknown { .. }
    )
}

#[cfg(test)]
mod tests;
