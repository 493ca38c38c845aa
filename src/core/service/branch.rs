//! A server that takes writes and is not the primary: one of an older timeline, one that somebody promoted, or a copy that went its own way.
//!
//! A timeline's number proves nothing: a clone, or a backup that was restored to an earlier moment, has a higher one too (rule 70). A
//! server is followed only where it continues what the primary wrote, up to the last position known of it.

use super::gate::Act;
use super::{Service, Surroundings};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::id::{Generation, ServerId};
use crate::model::CheckKind;
use crate::output::{Failure, Report};
use crate::procedure::task::Task;
use crate::refusal::Refusal;
use crate::sample::{Lsn, Sample};
use crate::time::{Mono, Span};
use crate::trigger::State;

/// A history that could not be read is asked for again after this long.
const ASK_AGAIN: Span = Span::from_millis(5_000);

/// Whether a server continues the primary's log.
enum Branch {
    Ours,
    /// Why not.
    Other(String),
    /// Its history has to be read first.
    Unread,
}

impl Service {
    /// The primary's timeline, and how far it is known to have come: as seen, as an earlier engine left it, or where the promotion began.
    pub(crate) fn last_known(&self) -> Option<(u32, Lsn)> {
        let seen = |log: &super::LogTrack| (log.timeline, log.heard.map_or(log.flush, |heard| heard.end.max(log.flush)));
        self.log.as_ref().map(seen).or(self.durable.cluster.position)
    }

    pub(super) fn second_writable(&mut self, primary: ServerId, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let known = self.last_known();
        let ours = self.durable.cluster.deposed.get(&server).is_some_and(|on| sample.timeline <= *on);
        if ours && known.is_none_or(|(timeline, _)| sample.timeline < timeline) {
            self.old_primary_returned(server, sample, fx);
            return;
        }
        if known.is_some_and(|(timeline, _)| sample.timeline < timeline) {
            self.older_timeline(server, sample, fx);
            return;
        }
        if self.is_writable_now(primary, fx.now) {
            self.two_primaries(primary, server, fx);
            return;
        }
        let Some((timeline, _)) = known else {
            self.adopt_primary(server, sample, self.who_promoted(server), fx);
            return;
        };
        if sample.timeline == timeline && !self.primary_seen {
            self.adopt_primary(server, sample, "it takes writes on the timeline of the last primary", fx);
            return;
        }
        match self.branch_of(server, sample, timeline, fx.now) {
            Branch::Ours => self.adopt_primary(server, sample, self.who_promoted(server), fx),
            Branch::Other(why) => self.other_branch(server, sample, &why, fx),
            Branch::Unread => self.ask_history(server, sample.timeline, fx),
        }
    }

    /// A promotion that was asked for by a failover may come after the failover has ended.
    fn who_promoted(&self, server: ServerId) -> &'static str {
        if self.asked_for_promotion == Some(server) {
            "the promotion that a failover asked it for came late"
        } else {
            "somebody else promoted it"
        }
    }

    /// It takes writes on a newer timeline, and whether that continues ours is not known yet.
    pub(super) fn is_yet_unjudged(&self, server: ServerId, now: Mono) -> bool {
        let newer = |sample: &Sample| self.last_known().is_some_and(|(timeline, _)| sample.timeline > timeline);
        let state = &self.servers[usize::from(server.0)];
        !state.other_branch && self.is_writable_now(server, now) && state.sample.as_ref().is_some_and(|(_, sample)| newer(sample))
    }

    /// Another server than the primary that said it takes writes, and has said or shown nothing else since: silence is no end of it.
    pub(crate) fn rival(&self) -> Option<ServerId> {
        self.server_ids().find(|server| self.is_rival(*server))
    }

    fn is_rival(&self, server: ServerId) -> bool {
        let state = &self.servers[usize::from(server.0)];
        let said = state.sample.as_ref().filter(|(_, sample)| !sample.in_recovery).map(|(at, _)| *at);
        let refuted = |said: Mono| self.is_fenced_since(server, said) || self.is_down_since(server, said);
        self.durable.primary != Some(server)
            && !state.wrong_cluster
            && !state.other_branch
            && said.is_some_and(|said| !refuted(said))
    }

    fn is_fenced_since(&self, server: ServerId, said: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        state.proven_again_at.max(state.fenced_at) >= Some(said)
    }

    /// A check of the database itself was answered by the host that nobody is there.
    pub(super) fn is_down_since(&self, server: ServerId, said: Mono) -> bool {
        self.model.checks.iter().zip(&self.checks).any(|(model, state)| {
            model.server == server.0
                && matches!(model.kind, CheckKind::Postgres | CheckKind::Tcp)
                && state
                    .last
                    .as_ref()
                    .is_some_and(|(at, finding)| *at >= said && finding.verdict.is_failure() && !finding.verdict.is_silence())
        })
    }

    /// A person has looked: what servers that do not answer once said of themselves holds nothing up. Those that do answer are rivals still.
    pub(super) fn dismiss_rivals(&mut self, now: Mono) {
        for server in self.server_ids() {
            if self.is_rival(server) && !self.is_writable_now(server, now) {
                self.servers[usize::from(server.0)].sample = None;
            }
        }
    }

    fn branch_of(&self, server: ServerId, sample: &Sample, timeline: u32, now: Mono) -> Branch {
        if sample.timeline == timeline {
            return Branch::Other(format!("it is on timeline {timeline} as the primary is, and is another server"));
        }
        if self.is_ours(server, sample, timeline, 0) {
            return Branch::Ours;
        }
        let ssh = self.server_model(server).is_some_and(|model| model.ssh);
        match &self.servers[usize::from(server.0)].history {
            Some((of, Ok(history))) if *of == sample.timeline => forked(history, timeline, self.furthest_of(timeline)),
            Some((of, Err((why, until)))) if *of == sample.timeline && (!ssh || now < *until) => {
                Branch::Other(format!("its history could not be read: {why}"))
            }
            _ if ssh => Branch::Unread,
            _ => Branch::Other("only SSH to the host can show how much of that it lacks, and no SSH is configured".into()),
        }
    }

    /// It was our own standby, is the same postmaster, and lacks no more than `lacks` of what is known of the log of `timeline`: it left at
    /// what it had received, or behind that.
    pub(crate) fn is_ours(&self, server: ServerId, sample: &Sample, timeline: u32, lacks: u64) -> bool {
        let received = self.servers[usize::from(server.0)].streamed.map(|streamed| streamed.position).unwrap_or_default();
        self.continues(server, sample, timeline) && self.furthest_of(timeline).bytes_after(received) <= lacks
    }

    /// How far a timeline is known to have come: what the primary said of it, or a standby received.
    fn furthest_of(&self, timeline: u32) -> Lsn {
        let said = self.last_known().filter(|(of, _)| *of == timeline).map(|(_, flush)| flush);
        let received = self.servers.iter().filter_map(|state| state.streamed).filter(|streamed| streamed.timeline == timeline);
        received.map(|streamed| streamed.position).chain(said).max().unwrap_or_default()
    }

    fn ask_history(&mut self, server: ServerId, timeline: u32, fx: &mut Effects) {
        let asked = self.is_at(|task| matches!(task, Task::ReadHistory(of, _) if *of == server));
        if !asked && self.may(Act::Ask, fx.around, fx.now) {
            self.begin_task(Task::ReadHistory(server, timeline), fx);
        }
    }

    /// The answer to a question about this timeline, which the server may have left meanwhile.
    pub(crate) fn history_read(&mut self, server: ServerId, timeline: u32, outcome: Result<Report, Failure>, now: Mono) {
        self.servers[usize::from(server.0)].history = Some(match outcome {
            Ok(Report::History { timeline, switches }) => (timeline, Ok(switches)),
            Ok(_) => (timeline, Err(("the action returned an answer that does not fit it".into(), now + ASK_AGAIN))),
            Err(failure) => (timeline, Err((failure.message, now + ASK_AGAIN))),
        });
    }

    /// Told once; a person has the way out.
    fn other_branch(&mut self, server: ServerId, sample: &Sample, why: &str, fx: &mut Effects) {
        if std::mem::replace(&mut self.servers[usize::from(server.0)].other_branch, true) {
            return;
        }
        let (name, service) = (self.server_name(server), &self.model.name);
        fx.emit(
            EventKind::OtherBranch,
            Severity::Alarm,
            self.about_server(server),
            format!(
                "{name} takes writes on timeline {}, which does not continue the log of {service}'s primary: {why}; it gets no traffic \
                 and is not followed (if it is the right one: failover adopt {service} {name})",
                sample.timeline
            ),
            vec![("timeline", Field::Int(u64::from(sample.timeline))), ("why", text(why))],
        );
    }

    /// It went on writing on a timeline that was left, and no failover of ours took it from there: that is no reason to stop it.
    fn older_timeline(&mut self, server: ServerId, sample: &Sample, fx: &mut Effects) {
        let state = &mut self.servers[usize::from(server.0)];
        if state.returned_at.is_some_and(|at| fx.now.since(at) < Span::from_millis(5_000)) {
            return;
        }
        state.returned_at = Some(fx.now);
        let routed = self.model.route.is_managed();
        let barred = self.nothing_changed(fx);
        let done = match (routed, &barred) {
            (_, Some(why)) => why,
            (true, None) => "it is taken out of the route",
            (false, None) => "nothing is touched",
        };
        fx.emit(
            EventKind::OldPrimaryReturned,
            Severity::Alarm,
            self.about_server(server),
            format!("{} takes writes on the older timeline {}: {done}", self.server_name(server), sample.timeline),
            vec![("timeline", Field::Int(u64::from(sample.timeline)))],
        );
        if routed && barred.is_none() {
            self.begin_task(Task::TakeOut(server), fx);
        }
        if let Some(primary) = self.durable.primary.filter(|primary| self.is_writable_now(*primary, fx.now)) {
            self.two_primaries(primary, server, fx);
        }
    }

    /// Why a server that takes writes beside the primary is left as it is.
    pub(super) fn nothing_changed(&self, fx: &Effects) -> Option<String> {
        Some(match self.gate(Act::StopReturned, fx.around, fx.now).err()? {
            Refusal::Paused => "nothing is changed while the service is paused".to_owned(),
            refusal => format!("nothing is changed: {}", self.sentence(&refusal)),
        })
    }

    /// An operator says that this server is the primary.
    pub(super) fn adopt(&mut self, server: ServerId, around: Surroundings, fx: &mut Effects) -> Result<String, String> {
        let (service, name) = (self.model.name.clone(), self.server_name(server));
        self.kind().may_be_adopted(self, server)?;
        self.permit(Act::Adopt, around, "", fx)?;
        if self.durable.primary == Some(server) && self.primary_seen && !self.run.switched_in_call {
            return Err(format!("{service}: {name} is the primary already"));
        }
        let sample = self.servers[usize::from(server.0)].sample.clone().filter(|_| self.is_writable_now(server, fx.now));
        let Some((_, sample)) = sample else {
            return Err(format!("{service}: {name} does not take writes now, as far as can be seen: promote it first"));
        };
        let rival = self.server_ids().find(|other| *other != server && self.is_writable_now(*other, fx.now));
        if let Some(rival) = rival {
            return Err(format!("{service}: {} takes writes as well: stop it first", self.server_name(rival)));
        }
        if let Some(former) = self.durable.primary.filter(|former| *former != server) {
            self.servers[usize::from(former.0)].deposed = true;
            self.servers[usize::from(former.0)].announced = None;
        }
        if !self.takes_over(server) {
            self.durable.generation = Generation(self.durable.generation.0 + 1);
        }
        self.durable.attention = None;
        self.two_primaries = false;
        self.run.begun = None;
        self.adopt_primary(server, &sample, "an operator adopted it", fx);
        if self.state != State::Normal {
            self.become_state(State::Normal, "an operator adopted another primary".into(), fx);
        }
        self.start_over(fx);
        Ok(format!("{service}: {name} is the primary from here on; the route follows it"))
    }
}

/// Whether a history left `timeline` at the last position known of it, or behind that.
fn forked(history: &[(u32, Lsn)], timeline: u32, flush: Lsn) -> Branch {
    match history.iter().find(|(parent, _)| *parent == timeline) {
        Some((_, at)) if *at >= flush => Branch::Ours,
        Some((_, at)) => Branch::Other(format!(
            "it left timeline {timeline} at {at}, {} bytes before the last position known of it ({flush})",
            flush.bytes_after(*at)
        )),
        None => Branch::Other(format!("timeline {timeline} is not in its history")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ServiceId;
    use crate::kind::ServiceKind;
    use crate::kind::tests::model;
    use crate::service::Streamed;

    /// Whoever is followed has to have all of it: what was received of another timeline is none of it.
    #[test]
    fn a_timeline_has_come_as_far_as_anybody_had_of_it() {
        let mut service = Service::new(ServiceId(0), model(ServiceKind::Postgres).services.remove(0), Mono::ZERO);
        service.durable.cluster.position = Some((2, Lsn(500)));
        assert_eq!([service.furthest_of(2), service.furthest_of(1)], [Lsn(500), Lsn(0)]);
        service.servers[1].streamed = Some(Streamed { timeline: 2, position: Lsn(900), started: None });
        assert_eq!([service.furthest_of(2), service.furthest_of(1)], [Lsn(900), Lsn(0)]);
        service.servers[1].streamed = Some(Streamed { timeline: 1, position: Lsn(900), started: None });
        assert_eq!([service.furthest_of(2), service.furthest_of(1)], [Lsn(500), Lsn(900)]);
    }

    #[test]
    fn a_branch_is_ours_where_it_left_behind_what_is_known() {
        let history = [(1, Lsn(100)), (2, Lsn(500))];
        assert!(matches!(forked(&history, 2, Lsn(500)), Branch::Ours));
        assert!(matches!(forked(&history, 2, Lsn(499)), Branch::Ours));
        assert!(matches!(forked(&history, 2, Lsn(501)), Branch::Other(why) if why.contains("1 bytes before")));
        assert!(matches!(forked(&history, 3, Lsn(1)), Branch::Other(_)));
    }
}
