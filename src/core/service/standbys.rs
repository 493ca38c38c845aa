//! Which standby could be promoted now, and telling the moment that changes.

use super::{FRESH, READINESS_HOLD, STREAM_GRACE, Service, Surroundings};
use crate::core::candidate::{self, Candidate, Reference, Standing, Waiver};
use crate::core::effects::{Effects, text, texts};
use crate::core::event::{EventKind, Severity};
use crate::core::evidence::FailureClass;
use crate::core::id::ServerId;
use crate::core::refusal::{CandidateRefusal, Refusal};
use crate::core::sample::{Readiness, Sample};
use crate::core::time::Mono;
use crate::core::trigger::State;

impl Service {
    pub(in crate::core) fn reference(&self, until: Mono) -> Option<Reference> {
        let log = self.log?;
        if let Some(end) = self.log_end.filter(|end| end.timeline == log.timeline) {
            // Read where it ended: nothing is estimated, and nothing was acknowledged behind it.
            return Some(Reference {
                system_id: self.system_id?,
                timeline: log.timeline,
                flush: end.at,
                at: until,
                growth: 0,
                until,
                synchronous: log.synchronous,
                acknowledged_before: log.acknowledged_before,
            });
        }
        Some(Reference {
            system_id: self.system_id?,
            timeline: log.timeline,
            flush: log.flush,
            at: log.at,
            growth: log.growth(),
            until,
            synchronous: log.synchronous,
            acknowledged_before: log.acknowledged_before,
        })
    }

    /// Examines every standby by its last samples: what would be promoted if the primary died now.
    pub(in crate::core) fn examine_standbys(
        &self,
        old: Option<ServerId>,
        until: Mono,
        waiver: &Waiver,
        now: Mono,
    ) -> Vec<(ServerId, Result<Candidate, CandidateRefusal>)> {
        if !self.is_postgres() {
            let others = self.server_ids().filter(|server| Some(*server) != old);
            return others.map(|server| (server, self.examine_application(server, waiver, &[], now))).collect();
        }
        let reference = self.reference(until);
        self.server_ids()
            .filter(|server| Some(*server) != old)
            .map(|server| {
                let state = &self.servers[usize::from(server.0)];
                let sample = match &state.sample {
                    Some((at, sample)) if now.since(*at) < FRESH && state.session_open => Ok(sample),
                    _ if state.deposed => Err("it was deposed and has not rejoined".to_owned()),
                    Some(_) => Err("it does not answer".to_owned()),
                    None => Err("it has not answered yet".to_owned()),
                };
                (server, self.examine(server, sample, reference.as_ref(), until, waiver, &[]))
            })
            .collect()
    }

    /// It was receiving when the primary was last alive.
    pub(super) fn was_streaming(&self, server: ServerId, lived: Mono) -> bool {
        self.servers[usize::from(server.0)].streamed_at.is_some_and(|at| at + STREAM_GRACE >= lived)
    }

    pub(in crate::core) fn examine(
        &self,
        server: ServerId,
        sample: Result<&Sample, String>,
        reference: Option<&Reference>,
        lived: Mono,
        waiver: &Waiver,
        refused: &[(ServerId, String)],
    ) -> Result<Candidate, CandidateRefusal> {
        let state = &self.servers[usize::from(server.0)];
        let standing = Standing {
            server,
            model: &self.model.servers[usize::from(server.0)],
            sample: sample.clone(),
            was_streaming: self.was_streaming(server, lived),
            was_synchronous: state.synchronous,
            refused: refused.iter().find(|(other, _)| *other == server).map(|(_, why)| why.as_str()),
        };
        let candidate = candidate::examine(&standing, reference, &self.model.postgres, waiver)?;
        // Also where nothing is known of the primary's log, as after a restart: an operator who accepts every loss does not accept
        // another cluster's data.
        let known = self.system_id.filter(|known| sample.is_ok_and(|sample| sample.system_id != *known));
        known.map_or(Ok(candidate), |_| Err(CandidateRefusal::OtherCluster))
    }

    /// What would keep this standby from becoming the primary although it is fit for it: code and sentence. That not every check
    /// has answered yet, nor the survey come, is left out: it passes within moments.
    fn also_in_the_way(&self, standby: ServerId, around: Surroundings, now: Mono) -> Vec<(String, String)> {
        let manual = (self.state == State::ManualIntervention).then_some(Refusal::ManualIntervention);
        let guard = self.guards(around, now).err().filter(|refusal| *refusal != Refusal::NotWarmedUp);
        let looked = self.subject().is_none_or(|server| self.servers[usize::from(server.0)].readiness.is_some());
        let fence = self.fence_way(FailureClass::Dead).err().filter(|_| looked && self.is_postgres());
        let refusals = manual.into_iter().chain(guard).chain(fence);
        let mut list: Vec<(String, String)> =
            refusals.map(|refusal| (refusal.name().to_owned(), self.sentence(&refusal))).collect();
        let surveyed = self.servers[usize::from(standby.0)].readiness.iter().flat_map(Readiness::all);
        let route = self.route.iter().chain(&self.asked_route).flat_map(|route| route.findings.iter().cloned());
        list.extend(surveyed.chain(route).filter(|found| found.blocking).map(|found| (found.code, found.message)));
        list
    }

    /// Announces each standby that becomes ready or stops being so, at that moment: also while the primary is suspected, for then it
    /// matters most. What the primary's own end does to a standby is not held against it.
    pub(in crate::core) fn watch_readiness(&mut self, around: Surroundings, fx: &mut Effects) {
        if !self.model.is_moved() || self.plan.is_some() || !self.primary_seen {
            return;
        }
        for (server, result) in self.examine_standbys(self.primary, self.died_at(fx.now), &Waiver::default(), fx.now) {
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
                if matches!(reason, CandidateRefusal::NotACandidate) && self.servers[at].announced.is_none() {
                    self.servers[at].announced = Some(verdict);
                    continue;
                }
                let passing = matches!(
                    reason,
                    CandidateRefusal::LossTooHigh { .. }
                        | CandidateRefusal::NotReadable { .. }
                        | CandidateRefusal::NotHealthy { .. }
                ) || self.servers[at].announced.is_none();
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

    pub(super) fn tell_readiness(
        &self,
        server: ServerId,
        verdict: &Result<(), CandidateRefusal>,
        around: Surroundings,
        fx: &mut Effects,
    ) {
        let name = self.server_name(server);
        let verb = if self.is_postgres() { "be promoted" } else { "take over" };
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
            Err(reason) => fx.emit(
                EventKind::StandbyNotReady,
                Severity::Alarm,
                self.about_server(server),
                format!("{name} could not {verb} now: {}", reason.sentence()),
                vec![("reason", text(reason.name())), ("detail", text(reason.sentence()))],
            ),
        }
    }
}
