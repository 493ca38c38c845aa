//! Slots that the engine creates for standbys are written down before they are created: so one of whose creation no engine lived to hear is
//! known as well, and one that was there before is nobody's to drop (rule 252).

use super::Service;
use crate::effects::Effects;
use crate::id::ServerId;
use crate::output::{Failure, Repointed};

impl Service {
    /// Standbys are about to be pointed to this server, and a slot is created there for each that uses one. Where the server says that it has
    /// none of that name, the one that it gets is ours.
    pub(crate) fn note_slots(&mut self, primary: ServerId, standbys: &[ServerId], fx: &mut Effects) {
        self.background.noted_slots.retain(|(_, standby, _)| !standbys.contains(standby));
        let said = self.servers.get(usize::from(primary.0)).filter(|state| state.session_open);
        let said = said.and_then(|state| state.sample.as_ref()).filter(|(at, _)| fx.now.since(*at) < super::FRESH);
        let Some(there) = said.and_then(|(_, sample)| sample.slots.clone()) else { return };
        let mut news = false;
        for standby in standbys {
            let sample = self.servers.get(usize::from(standby.0)).and_then(|state| state.sample.as_ref());
            let Some(slot) = sample.and_then(|(_, sample)| sample.uses_slot.clone()) else { continue };
            if there.contains(&slot) || !self.durable.cluster.slots.insert((primary, slot.clone())) {
                continue;
            }
            self.background.noted_slots.push((primary, *standby, slot));
            news = true;
        }
        if news {
            self.journal_facts(fx);
        }
    }

    /// What came of it. A slot that was not created then is none of ours; where that is not known it stays written down.
    pub(crate) fn slot_created_or_not(
        &mut self,
        primary: ServerId,
        standby: ServerId,
        result: &Result<Repointed, Failure>,
        fx: &mut Effects,
    ) {
        let created = match result {
            Ok(repointed) => repointed.slot.clone(),
            Err(failure) if failure.had_no_effect() => None,
            Err(_) => return,
        };
        let noted = self.background.noted_slots.iter().position(|(on, of, _)| (*on, *of) == (primary, standby));
        let noted = noted.map(|at| self.background.noted_slots.remove(at).2).filter(|slot| created.as_ref() != Some(slot));
        let gone = noted.is_some_and(|slot| self.durable.cluster.slots.remove(&(primary, slot)));
        let new = created.is_some_and(|slot| self.durable.cluster.slots.insert((primary, slot)));
        if gone || new {
            self.journal_facts(fx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ServiceId;
    use crate::kind::ServiceKind;
    use crate::kind::tests::model;
    use crate::output::Output;
    use crate::sample::Sample;
    use crate::time::{Mono, Span};

    const DB1: ServerId = ServerId(0);
    const DB2: ServerId = ServerId(1);

    /// db1 is the primary, and said so long ago that it has these slots; db2 uses `db2_slot`.
    fn noted(slots: Option<&[&str]>, age: Span) -> (Service, Effects) {
        let now = Mono::ZERO + Span::from_millis(100_000);
        let mut service = Service::new(ServiceId(0), model(ServiceKind::Postgres).services.remove(0), Mono::ZERO);
        let slots = slots.map(|slots| slots.iter().map(|slot| (*slot).to_owned()).collect());
        let at = usize::from(DB1.0);
        service.servers[at].sample = Some((now - age, Sample { slots, ..Sample::default() }));
        service.servers[at].session_open = true;
        let uses_slot = Some("db2_slot".to_owned());
        service.servers[usize::from(DB2.0)].sample = Some((now, Sample { uses_slot, ..Sample::default() }));
        let mut fx = Effects::default();
        fx.now = now;
        service.note_slots(DB1, &[DB2], &mut fx);
        (service, fx)
    }

    fn ours(service: &Service) -> bool {
        service.durable.cluster.slots.contains(&(DB1, "db2_slot".to_owned()))
    }

    fn streams(slot: Option<&str>) -> Repointed {
        Repointed { streams: true, changed: true, slot: slot.map(str::to_owned), message: String::new() }
    }

    #[test]
    fn rule_252_a_slot_is_written_down_before_it_is_created() {
        let (service, mut fx) = noted(Some(&["other"]), Span::ZERO);
        assert!(ours(&service) && fx.take().iter().any(|output| matches!(output, Output::Journal(_))));
    }

    #[test]
    fn rule_252_what_was_there_before_or_is_not_known_is_not_ours() {
        assert!(!ours(&noted(Some(&["db2_slot"]), Span::ZERO).0), "somebody prepared it");
        assert!(!ours(&noted(None, Span::ZERO).0), "it does not say");
        assert!(!ours(&noted(Some(&[]), Span::from_millis(600_000)).0), "it said so long ago");
    }

    #[test]
    fn rule_252_what_came_of_it_decides_where_that_is_known() {
        let after = |result: &Result<Repointed, Failure>| {
            let (mut service, mut fx) = noted(Some(&[]), Span::ZERO);
            service.slot_created_or_not(DB1, DB2, result, &mut fx);
            ours(&service)
        };
        assert!(after(&Ok(streams(Some("db2_slot")))));
        assert!(!after(&Ok(streams(None))), "it was there by then, or could not be created");
        assert!(!after(&Err(Failure::refused("no right", ""))));
        assert!(after(&Err(Failure::unknown("cut", ""))), "it may be there");
        // Of an earlier try nobody knows: that a later one found it there says nothing against it.
        let (mut service, mut fx) = noted(Some(&[]), Span::ZERO);
        service.note_slots(DB1, &[DB2], &mut fx);
        service.slot_created_or_not(DB1, DB2, &Ok(streams(None)), &mut fx);
        assert!(ours(&service));
    }
}
