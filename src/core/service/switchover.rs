//! A switchover: what is looked at before it, the moment at which a planned one begins, and its beginning.
//!
//! The order, its dry run and the moment of a planned one ask the same function, [`Service::preflight`].

use super::gate::Act;
use super::operator::unremembered;
use super::{FRESH, LogTrack, Service, Surroundings};
use crate::candidate::{self, ANY_LOSS, Candidate, MUCH_TO_REPLAY, View, Waiver};
use crate::effects::{Effects, text};
use crate::event::{EventKind, Field, Severity};
use crate::finding::FindingCode;
use crate::handover::Handover;
use crate::id::ServerId;
use crate::plan::Plan;
use crate::reason::Reason;
use crate::refusal::{Refusal, SwitchoverRefusal};
use crate::sample::{Readiness, ReadinessFinding};
use crate::switchover::{
    OnPauseTimeout, PUNCTUAL, PlannedSwitchover, PreflightLevel, PreflightLine, SwitchoverFacts, SwitchoverOrder,
};
use crate::time::{Mono, Span};
use crate::trigger::State;

/// A standby that is further behind than this, and than the log grows in two seconds, may not have the rest in time.
const LAG: u64 = 16 << 20;
/// The log grows on between two looks at two servers.
const BETWEEN_LOOKS: Span = Span::from_millis(2_000);
/// A transaction that runs for this long will hardly end within the time that clients wait.
const LONG: Span = Span::from_millis(5_000);

/// What was looked at, and who would take over.
pub(crate) struct Preflight {
    service: String,
    pub(crate) lines: Vec<PreflightLine>,
    best: Option<Candidate>,
}

impl Preflight {
    fn line(&mut self, name: &'static str, level: PreflightLevel, message: String, remedy: impl Into<String>) {
        self.lines.push(PreflightLine { name, level, message, remedy: remedy.into() });
    }

    fn refuse(&mut self, refusal: &SwitchoverRefusal) {
        let remedy = SwitchoverRefusal::row(refusal.name()).map(|row| row.remedy(&self.service, "")).unwrap_or_default();
        self.line(refusal.name(), PreflightLevel::Refused, refusal.sentence(), remedy);
    }

    pub(super) fn ok(&mut self, name: &'static str, message: String) {
        self.line(name, PreflightLevel::Ok, message, "");
    }

    pub(super) fn warn(&mut self, name: &'static str, message: String, remedy: impl Into<String>) {
        self.line(name, PreflightLevel::Warning, message, remedy);
    }

    /// All that refuses it, in one sentence; `None`: nothing does.
    fn refusal(&self) -> Option<String> {
        let refused = self.lines.iter().filter(|line| line.level == PreflightLevel::Refused);
        let all: Vec<String> = refused
            .map(|line| match line.remedy.as_str() {
                "" => format!("{}: {}", line.name, line.message),
                remedy => format!("{}: {} ({remedy})", line.name, line.message),
            })
            .collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl Service {
    /// An order about a switchover.
    pub(super) fn switchover(
        &mut self,
        to: Option<ServerId>,
        order: SwitchoverOrder,
        around: Surroundings,
        fx: &mut Effects,
    ) -> Result<String, String> {
        let name = self.model.name.clone();
        match order {
            SwitchoverOrder::Look => Ok(match self.preflight(to, around, fx.now).refusal() {
                Some(why) => format!("{name}: a switchover would be refused: {why}"),
                None => format!("{name}: a switchover would begin"),
            }),
            SwitchoverOrder::Begin => self.begin_switchover(to, around, fx),
            SwitchoverOrder::Plan { after, at_ms } => {
                self.permit(Act::Cordon, around, "", fx)?;
                if to.is_some() && to == self.durable.primary {
                    return Err(format!("{name}: {} is the primary already", self.server_name(to.unwrap_or_default())));
                }
                let planned = PlannedSwitchover { to, at: fx.now + after, at_ms, missed: false };
                let before =
                    self.durable.planned.replace(planned).map_or("", |_| "; it replaces the one that was planned before");
                self.journal_facts(fx);
                Ok(format!(
                    "{name}: a switchover begins in {after}; `failover switchover {name} --cancel` takes it back{before}{}",
                    unremembered(around)
                ))
            }
            SwitchoverOrder::Cancel => {
                self.durable.planned.take().ok_or_else(|| format!("{name}: no switchover is planned"))?;
                self.journal_facts(fx);
                Ok(format!("{name}: the planned switchover is taken back{}", unremembered(around)))
            }
        }
    }

    fn begin_switchover(&mut self, to: Option<ServerId>, around: Surroundings, fx: &mut Effects) -> Result<String, String> {
        let name = self.model.name.clone();
        let preflight = self.preflight(to, around, fx.now);
        if let Some(why) = preflight.refusal() {
            return Err(format!("{name}: no switchover: {why}"));
        }
        let Some(best) = preflight.best else { return Err(format!("{name}: no switchover: there is no standby")) };
        // One that was planned has become this one.
        self.durable.planned = None;
        let handover = self.holds_data().then(|| Handover { to: Some(best.server), ..Handover::default() });
        self.start_plan(Reason::Switchover, Waiver { to, accept_loss: None }, handover, fx);
        let Some(plan) = &mut self.run.plan else { return Err(format!("{name}: no switchover has begun")) };
        let warned = preflight.lines.iter().filter(|line| line.level == PreflightLevel::Warning);
        plan.course.evidence.extend(warned.map(|line| format!("preflight: {}: {}", line.name, line.message)));
        Ok(format!("{name}: switchover {} to {} has begun", self.durable.generation, self.server_name(best.server)))
    }

    /// Begins what was planned, at its moment and no later.
    pub(super) fn begin_planned(&mut self, around: Surroundings, fx: &mut Effects) {
        let Some(planned) = self.durable.planned.filter(|planned| planned.missed || fx.now >= planned.at) else { return };
        if self.stopping {
            return;
        }
        self.durable.planned = None;
        self.journal_facts(fx);
        let late = fx.now.since(planned.at);
        let name = &self.model.name;
        let outcome = if planned.missed || late > PUNCTUAL {
            Err(format!("{name}: the planned switchover was missed: no engine ran at that moment. It does not begin later"))
        } else {
            self.begin_switchover(planned.to, around, fx)
        };
        let (accepted, detail) = outcome.map_or_else(|message| (false, message), |message| (true, message));
        let fields = vec![("command", text("switchover")), ("accepted", Field::Bool(accepted)), ("detail", text(&detail))];
        fx.emit(EventKind::OperatorCommand, Severity::Warning, self.about(), format!("planned: {detail}"), fields);
    }

    /// When a planned one has to be looked at.
    pub(super) fn next_planned(&self) -> Mono {
        self.durable.planned.filter(|_| !self.stopping && !self.unread).map_or(Mono::NEVER, |planned| planned.at)
    }

    /// A switchover is completed: the old primary, whose whole log the new one has, comes back as a standby, once no process of it is left.
    pub(crate) fn switchover_completed(&mut self, plan: &Plan, fx: &mut Effects) {
        if self.holds_data() {
            self.durable.cluster.handed_over.insert(plan.old);
            self.journal_facts(fx);
        }
    }

    /// Everything that is looked at before a switchover. Changes nothing.
    pub(crate) fn preflight(&self, to: Option<ServerId>, around: Surroundings, now: Mono) -> Preflight {
        let mut found = Preflight { service: self.model.name.clone(), lines: Vec::new(), best: None };
        for (_, refusal) in self.closed(Act::Switchover, around, now) {
            let remedy = Refusal::row(refusal.name()).map(|row| row.remedy(&self.model.name, "")).unwrap_or_default();
            found.line(refusal.name(), PreflightLevel::Refused, self.sentence(&refusal), remedy);
        }
        let Some(primary) = self.subject().filter(|_| found.lines.is_empty()) else {
            if found.lines.is_empty() {
                found.refuse(&SwitchoverRefusal::PrimaryNotHealthy { why: "no primary is known".into() });
            }
            return found;
        };
        self.look_at_primary(primary, &mut found, now);
        self.look_at_target(to, primary, &mut found, now);
        if self.holds_data() {
            let target = found.best.map(|best| best.server);
            self.look_at_data(primary, target, &mut found);
            if let Some(target) = target {
                self.look_at_aftermath(primary, target, &mut found);
            }
            self.look_at_gate(&mut found);
        }
        found
    }

    /// It serves, and its host can prove where its log ends.
    fn look_at_primary(&self, primary: ServerId, found: &mut Preflight, now: Mono) {
        let name = self.server_name(primary);
        if self.holds_data() && !self.is_healthy(now) {
            found.refuse(&SwitchoverRefusal::PrimaryNotHealthy { why: format!("{name} is not healthy") });
            return;
        }
        found.ok("primary", format!("{name} is the primary, and serves"));
        if !self.holds_data() {
            return;
        }
        match self.receipt_way() {
            Ok(()) => found.ok("host", format!("the host of {name} can stop it, and prove where its log ends")),
            Err(refusal) => {
                let remedy =
                    "make the primary's host reachable over SSH (`ssh`, `data_dir`); `failover doctor` says what is missing";
                // A switchover accepts no loss: that way out is not named.
                let message = match &refusal {
                    Refusal::ReceiptUnprovable { why } => {
                        format!("only its host can prove that a standby has its whole log: {why}")
                    }
                    other => self.sentence(other),
                };
                found.line(refusal.name(), PreflightLevel::Refused, message, remedy);
            }
        }
    }

    /// A database that takes writes, with no sign of a failure.
    pub(super) fn is_healthy(&self, now: Mono) -> bool {
        let watched = matches!(self.state, State::Normal | State::Degraded | State::FailedOver);
        let writable = self.subject().is_some_and(|server| self.is_writable_now(server, now));
        watched && writable && self.lives(now) && self.detection.suspicion.is_none()
    }

    fn look_at_target(&self, to: Option<ServerId>, primary: ServerId, found: &mut Preflight, now: Mono) {
        if to == Some(primary) {
            let refusal = SwitchoverRefusal::PrimaryAlready { server: self.server_name(primary) };
            return found.refuse(&refusal);
        }
        // How far it is behind is judged below, as what has still to be received: nothing is lost.
        let waiver = Waiver { to, accept_loss: Some(ANY_LOSS) };
        let examined = self.examine_standbys(Some(primary), self.ends_now(now), &waiver, View::Guard { gone: false }, now);
        let able: Vec<Candidate> = examined.iter().filter_map(|(_, verdict)| verdict.as_ref().ok().copied()).collect();
        // One that receives by way of another one only where it is the only one, or named.
        let direct: Vec<Candidate> = able.iter().filter(|one| !self.is_no_child(one.server, primary, now)).copied().collect();
        let Some(best) = candidate::best(&direct).or_else(|| candidate::best(&able)) else {
            let reasons = examined.into_iter().filter_map(|(server, verdict)| Some((server, verdict.err()?))).collect();
            let refusal = Refusal::NoCandidate { reasons };
            let remedy = Refusal::row(refusal.name()).map(|row| row.remedy(&self.model.name, "")).unwrap_or_default();
            found.line(refusal.name(), PreflightLevel::Refused, self.sentence(&refusal), remedy);
            return;
        };
        found.best = Some(best);
        let name = self.server_name(best.server);
        found.ok("standby", format!("{name} takes over"));
        if !self.holds_data() {
            return;
        }
        if self.is_no_child(best.server, primary, now) {
            found.refuse(&SwitchoverRefusal::NotDirect { server: name.clone(), primary: self.server_name(primary) });
        }
        let log = self.log.as_ref();
        let grown = log.and_then(LogTrack::growth).unwrap_or(0).saturating_mul(BETWEEN_LOOKS.as_millis()) / 1_000;
        let limit = LAG.saturating_add(grown);
        match log.map(|log| log.flush.bytes_after(best.position)) {
            Some(bytes) if bytes > limit => {
                found.refuse(&SwitchoverRefusal::LagTooHigh { server: name.clone(), bytes, limit });
            }
            Some(bytes) => found.ok("lag", format!("{name} has all but {bytes} bytes of the log")),
            None => found.refuse(&SwitchoverRefusal::PrimaryNotHealthy { why: "its log has not been seen yet".into() }),
        }
        if best.held {
            found.refuse(&SwitchoverRefusal::ReplayHeld { server: name });
        } else if best.to_replay > MUCH_TO_REPLAY {
            let message =
                format!("{name} has {} bytes to replay before it is promoted: the outage lasts as long", best.to_replay);
            found.warn("replay", message, "wait until it has replayed them");
        }
    }

    /// Its receiver is seen among those of another server, or of none that the primary has: it receives by way of another standby.
    fn is_no_child(&self, standby: ServerId, primary: ServerId, now: Mono) -> bool {
        let sample = self.servers[usize::from(primary.0)].sample.as_ref().filter(|(at, _)| now.since(*at) < FRESH);
        let Some(replicas) = sample.and_then(|(_, sample)| sample.replicas.as_ref()) else { return false };
        let name = self.replication_name(standby);
        !replicas.iter().any(|replica| replica.application_name.to_lowercase() == name)
    }

    fn surveyed_of(&self, server: ServerId) -> impl Iterator<Item = ReadinessFinding> {
        self.servers[usize::from(server.0)].readiness.iter().flat_map(Readiness::all)
    }

    fn facts_of(&self, server: ServerId) -> Option<&SwitchoverFacts> {
        self.servers[usize::from(server.0)].readiness.as_ref()?.switchover.as_ref()
    }

    /// What a promotion leaves behind, and what holds a stop.
    fn look_at_data(&self, primary: ServerId, target: Option<ServerId>, found: &mut Preflight) {
        let name = self.server_name(primary);
        if let Some(archive) = self.surveyed_of(primary).find(|finding| finding.code == FindingCode::ArchiveFailing) {
            found.warn("archiver", archive.message, archive.remedy);
        }
        if let Some(lower) = target.and_then(|target| {
            self.surveyed_of(target).find(|finding| finding.code == FindingCode::SettingLowerThanPrimary && finding.blocking)
        }) {
            found.line("setting_lower_than_primary", PreflightLevel::Refused, lower.message, lower.remedy);
        }
        let Some(facts) = self.facts_of(primary) else {
            found.warn(
                "survey",
                format!("{name} was not surveyed yet: slots, prepared and long transactions are not known"),
                "wait a moment, then look again",
            );
            return;
        };
        let target_facts = target.and_then(|target| self.facts_of(target));
        let ready = |slot: &&String| target_facts.is_some_and(|facts| facts.ready_slots.contains(slot));
        let (ready, lost): (Vec<&String>, Vec<&String>) = facts.logical_slots.iter().partition(ready);
        if !lost.is_empty() {
            let slots = lost.iter().map(|slot| slot.as_str()).collect::<Vec<_>>().join(", ");
            found.refuse(&SwitchoverRefusal::SlotsLost { server: name.clone(), slots });
        } else if !ready.is_empty() {
            found.ok("logical_slots", format!("{} logical slots are ready on the standby", ready.len()));
        }
        match target_facts.map(|facts| facts.max_prepared) {
            _ if facts.prepared == 0 => {}
            Some(room) if room >= facts.prepared => {
                found.ok("prepared_transactions", format!("{} prepared transactions go over to the standby", facts.prepared));
            }
            room => found.refuse(&SwitchoverRefusal::PreparedTransactions { open: facts.prepared, room: room.unwrap_or(0) }),
        }
        if facts.senders_wait_for_ever
            && self.servers[usize::from(primary.0)]
                .sample
                .as_ref()
                .is_some_and(|(_, sample)| sample.replicas.iter().flatten().any(|replica| replica.is_left(sample.flush)))
        {
            found.refuse(&SwitchoverRefusal::SenderHangs { server: name.clone() });
        }
        self.look_at_transactions(facts, &name, found);
    }

    fn look_at_transactions(&self, facts: &SwitchoverFacts, name: &str, found: &mut Preflight) {
        let Some(age) = facts.oldest_transaction.filter(|age| *age > LONG) else { return };
        let idle = if facts.idle_in_transaction > 0 {
            format!("; {} sessions are idle in a transaction", facts.idle_in_transaction)
        } else {
            String::new()
        };
        let so = match self.model.route.gate {
            Some(gate) if gate.on_timeout != OnPauseTimeout::Cut => {
                "the switchover waits for it, and is taken back if it does not end"
            }
            _ => "the stop of the primary ends it",
        };
        found.warn(
            "long_transactions",
            format!("the oldest transaction on {name} runs for {age}{idle}: {so}"),
            "end it, or order the switchover at another time (--at)",
        );
    }

    /// What lets clients wait instead of failing.
    fn look_at_gate(&self, found: &mut Preflight) {
        let Some(gate) = self.model.route.gate else {
            if self.model.route.is_managed() {
                found.warn(
                    "gate",
                    "no PgBouncer is in front of the service: each open session ends with one error".to_owned(),
                    "clients that reconnect go on with the new primary; docs/PGBOUNCER.md says how to put one in front",
                );
            }
            return;
        };
        let route = self.route.iter().flat_map(|route| &route.findings);
        if let Some(session) = route.into_iter().find(|finding| finding.code == FindingCode::PoolerSessionMode) {
            let (level, remedy) = if gate.on_timeout == OnPauseTimeout::Cut {
                (PreflightLevel::Warning, session.remedy.clone())
            } else {
                (PreflightLevel::Refused, format!("{}; or set services.switchover.on_pause_timeout = \"cut\"", session.remedy))
            };
            found.line("pooler_session_mode", level, session.message.clone(), remedy);
            return;
        }
        if let Some(missing) =
            self.route.iter().flat_map(|route| &route.findings).find(|one| one.code == FindingCode::GateKeeperMissing)
        {
            found.line("gate_keeper_missing", PreflightLevel::Refused, missing.message.clone(), missing.remedy.clone());
            return;
        }
        found.ok("gate", format!("clients wait in PgBouncer; running transactions have {} to end", gate.pause_timeout));
    }
}
