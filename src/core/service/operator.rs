//! What an operator may ask of a service.

use super::gate::Act;
use super::pause::Pause;
use super::{Service, Surroundings};
use crate::candidate::{ANY_LOSS, Waiver};
use crate::effects::Effects;
use crate::evidence::Suspicion;
use crate::handover::Handover;
use crate::id::{Generation, ServerId};
use crate::input::Command;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::time::Mono;
use crate::trigger::State;

impl Service {
    pub(crate) fn command(&mut self, command: &Command, around: Surroundings, fx: &mut Effects) -> Result<String, String> {
        let name = self.model.name.clone();
        match command {
            Command::Confirm => {
                if !self.waits_for_an_operator() {
                    return Err(format!("{name} does not wait for a confirmation"));
                }
                self.run.confirmed_by_operator = true;
                Ok(format!("{name}: confirmed"))
            }
            Command::Pause { reason, lasts } => {
                self.permit(Act::Pause, around, " and cannot be paused", fx)?;
                let pause = Pause::begins(reason.clone(), *lasts, fx.now);
                let words = pause.words(fx.now);
                self.durable.pause = Some(pause);
                self.detection.awaiting = None;
                self.journal_facts(fx);
                Ok(format!("{name}: paused{words}; it is observed, and nothing is decided{}", unremembered(around)))
            }
            Command::Resume => {
                if !self.is_paused() {
                    return Err(format!("{name} is not paused"));
                }
                self.durable.pause = None;
                self.journal_facts(fx);
                self.start_over(fx);
                Ok(format!("{name}: resumed; every check is asked afresh first{}", unremembered(around)))
            }
            Command::Reset => match self.state {
                State::ManualIntervention | State::FailedOver => {
                    self.durable.attention = None;
                    self.durable.cooldown_from = None;
                    self.dismiss_rivals(fx.now);
                    self.become_state(State::Normal, "an operator reset it".into(), fx);
                    self.journal_facts(fx);
                    self.start_over(fx);
                    Ok(format!("{name}: the engine watches again; the cooldown is over too{}", unremembered(around)))
                }
                state => match self.rival().filter(|rival| !self.is_writable_now(*rival, fx.now)) {
                    Some(rival) => {
                        self.dismiss_rivals(fx.now);
                        Ok(format!(
                            "{name}: the engine forgets the report that {} takes writes, until a new report says it",
                            self.server_name(rival)
                        ))
                    }
                    None => Err(format!("{name} is {}: there is nothing to reset", state.as_str())),
                },
            },
            Command::Force { to, accept_loss } => {
                self.begin_ordered(Reason::Forced, *to, *accept_loss, around, "an operator forced the failover", fx)
            }
            Command::Switchover { to, order } => self.switchover(*to, *order, around, fx),
            Command::Adopt { server } => self.adopt(*server, around, fx),
            Command::Cordon { server } => self.cordon(*server, around, fx),
            Command::Uncordon { server } => self.uncordon(*server, around, fx),
            Command::Rejoin { server, how } => self.begin_rejoin(*server, *how, "an operator ordered it", around, fx),
            Command::Stop => {
                self.stopping = true;
                self.stop_procedures();
                Ok(format!("{name}: stopping"))
            }
        }
    }

    /// Asks the gate; a refusal comes with what is said of this act during a failover.
    pub(crate) fn permit(&self, act: Act, around: Surroundings, in_flight: &str, fx: &Effects) -> Result<(), String> {
        self.gate(act, around, fx.now).map_err(|refusal| {
            let more = if refusal == Refusal::FailoverInFlight { in_flight } else { "" };
            format!("{}: {}{more}", self.model.name, self.sentence(&refusal))
        })
    }

    /// The number of the failover that began last, in flight or over.
    pub(crate) fn last_begun(&self) -> Option<Generation> {
        let over = || self.run.last_failover.as_ref().map(|last| last.plan.course.generation);
        self.run.plan.as_ref().map(|plan| plan.course.generation).or_else(over)
    }

    /// A failover waits for a yes.
    pub(crate) fn waits_for_an_operator(&self) -> bool {
        self.detection.awaiting.is_some() || self.run.held
    }

    /// From here on the server is no candidate. What is seen of it counts as before: its position, its acknowledgements, its word about
    /// the primary.
    fn cordon(&mut self, server: ServerId, around: Surroundings, fx: &mut Effects) -> Result<String, String> {
        let (name, who) = (self.model.name.clone(), self.server_name(server));
        if usize::from(server.0) >= self.servers.len() {
            return Err(format!("{name} has no {who}"));
        }
        self.permit(Act::Cordon, around, &format!(", and {who} may be the one that is promoted"), fx)?;
        if !self.durable.cordoned.insert(server) {
            return Ok(format!("{name}: {who} is already cordoned"));
        }
        self.journal_facts(fx);
        let is_primary = self.durable.primary == Some(server);
        let rest =
            if is_primary { "; it stays the primary now, and the engine does not promote it again after a failover" } else { "" };
        Ok(format!("{name}: {who} is cordoned: the engine observes it and never promotes it{rest}{}", unremembered(around)))
    }

    fn uncordon(&mut self, server: ServerId, around: Surroundings, fx: &mut Effects) -> Result<String, String> {
        let (name, who) = (self.model.name.clone(), self.server_name(server));
        if !self.durable.cordoned.remove(&server) {
            return Err(format!("{name}: {who} is not cordoned"));
        }
        self.journal_facts(fx);
        Ok(format!("{name}: {who} may be promoted again{}", unremembered(around)))
    }

    /// Begins a failover that no failure asks for, for an order's reason: every guard that can be waived is, and `why` is in its evidence.
    pub(super) fn begin_ordered(
        &mut self,
        reason: Reason,
        to: Option<ServerId>,
        accept_loss: Option<u64>,
        around: Surroundings,
        why: &str,
        fx: &mut Effects,
    ) -> Result<String, String> {
        let name = self.model.name.clone();
        self.permit(Act::Order, around, " already", fx)?;
        if to.is_some() && to == self.durable.primary {
            return Err(format!("{name}: {} is the primary already", self.server_name(to.unwrap_or_default())));
        }
        self.permit(Act::Replace, around, "", fx)?;
        let waiver = Waiver { to, accept_loss };
        // What is received of a primary that is stopped in an orderly way is proven then: nobody is behind before.
        let receipt = self.lives(fx.now).then(|| self.receipt_way());
        let asked = match receipt {
            Some(Ok(())) => Waiver { to, accept_loss: Some(ANY_LOSS) },
            _ => waiver,
        };
        let best = self
            .some_candidate(self.ends_now(fx.now), &asked, fx.now)
            .map_err(|refusal| format!("{name}: {}", self.sentence(&refusal)))?;
        // Nothing is begun that could not be fenced: a primary that is well goes on as it is.
        let silent = self.detection.suspicion.as_ref().is_some_and(Suspicion::host_is_silent);
        self.kind().fence_way(self, reason, silent).map_err(|refusal| format!("{name}: {}", self.sentence(&refusal)))?;
        let healthy = reason == Reason::Forced && accept_loss.is_none() && self.is_healthy(fx.now);
        let handover = match receipt {
            Some(Ok(())) if healthy => {
                return Err(format!("{name}: {}", self.sentence(&Refusal::HandOver { service: name.clone() })));
            }
            Some(Ok(())) => Some(Handover { to: Some(best.server), ..Handover::default() }),
            // What may be missing was accepted.
            Some(Err(_)) if accept_loss.is_some() => None,
            Some(Err(refusal)) => return Err(format!("{name}: {}", self.sentence(&refusal))),
            None => None,
        };
        let waived = self.waived(around, fx.now).into_iter();
        let mut waived: Vec<String> = waived.map(|(_, refusal)| format!("waived: {}", refusal.name())).collect();
        if let Some(bytes) = accept_loss {
            waived.push(format!("waived: the loss limit, up to {bytes} bytes are accepted"));
        }
        if self.detection.suspicion.is_none() {
            self.detection.suspicion = Some(Suspicion::new(fx.now));
        }
        if let Some(suspicion) = &mut self.detection.suspicion {
            suspicion.note(fx.now, why.to_owned());
            for line in waived {
                suspicion.note(fx.now, line);
            }
        }
        self.start_plan(reason, waiver, handover, fx);
        Ok(format!("{name}: failover {} has begun", self.durable.generation))
    }

    /// The primary of a database gives signs of life: it may acknowledge commits now.
    pub(super) fn lives(&self, now: Mono) -> bool {
        let Some(subject) = self.subject().filter(|_| self.holds_data() && !self.is_dead(now)) else { return false };
        let answered = self.servers[usize::from(subject.0)].last_answer;
        self.detection.suspicion.is_none() || answered.is_some_and(|at| now.since(at) <= self.notice())
    }

    /// Whether its host can stop the primary in an orderly way, and prove where its log ends.
    pub(super) fn receipt_way(&self) -> Result<(), Refusal> {
        let Some(subject) = self.subject() else { return Err(Refusal::NoPrimarySeen) };
        let state = &self.servers[usize::from(subject.0)];
        let silent = self.detection.suspicion.as_ref().is_some_and(Suspicion::host_is_silent)
            || state.readiness.as_ref().is_some_and(|readiness| matches!(readiness.ssh, Some(Err(_))));
        let why = if !self.server_model(subject).is_some_and(|model| model.ssh) {
            "no SSH to its host is configured (ssh, data_dir)"
        } else if state.foreign_host {
            "the data directory on its host is another server's"
        } else if silent {
            return Err(Refusal::ReceiptUnprovable { why: self.host_trouble() });
        } else if !state.view_confirmed {
            "the processes on its host were not matched with this server yet"
        } else {
            return Ok(());
        };
        Err(Refusal::ReceiptUnprovable { why: why.into() })
    }
}

/// What is missing from a command's effect while the journal cannot be written.
pub(super) fn unremembered(around: Surroundings) -> &'static str {
    if around.journal_writable { "" } else { " (the journal cannot be written: a restart of the engine would forget this)" }
}
