//! What was seen of a service and must outlive the engine with its true age: read by the next engine at its start.
//!
//! The journal keeps what was decided, each record on disk before what follows from it. This keeps what was observed, written now and
//! then: how far the primary's log was, whose acknowledgements its commits waited for, and what each standby had received.

use super::Core;
use super::id::ServerId;
use super::sample::Lsn;
use super::service::Streamed;
use super::service::sync::SyncTrack;
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// What is known of one service. Every age is that at the moment of writing, or of reading once [`Knowledge::aged`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knowledge {
    /// The primary.
    pub primary: ServerId,
    /// The cluster's identity.
    pub system_id: u64,
    /// How long ago the primary's log was seen last.
    pub age: Span,
    pub(super) timeline: u32,
    pub(super) flush: Lsn,
    pub(super) rates: [Option<u64>; 5],
    pub(super) sync: SyncTrack,
    /// How long ago the setting of synchronous replication was seen last.
    pub(super) sync_age: Span,
    pub(super) servers: Vec<KnownServer>,
}

/// What is known of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownServer {
    pub server: ServerId,
    /// The host's view of its processes was confirmed.
    pub view_confirmed: bool,
    /// It was receiving when the primary was last seen.
    pub was_streaming: bool,
    pub streamed: Option<Streamed>,
    pub replicates_as: Option<String>,
}

impl Knowledge {
    /// The same, this much older.
    #[must_use]
    pub fn aged(self, by: Span) -> Knowledge {
        Knowledge { age: self.age + by, sync_age: self.sync_age + by, ..self }
    }

    /// The same with other server numbers; `None` where the primary is not among them. A server that is gone is forgotten; where it may
    /// have acknowledged commits it remains one that does not answer.
    #[must_use]
    pub fn mapped(mut self, id: &dyn Fn(ServerId) -> Option<ServerId>) -> Option<Knowledge> {
        self.primary = id(self.primary)?;
        if let Some(waits_for) = &mut self.sync.waits_for {
            waits_for.members = waits_for.members.iter().copied().filter_map(id).collect();
        }
        self.servers = std::mem::take(&mut self.servers)
            .into_iter()
            .filter_map(|known| Some(KnownServer { server: id(known.server)?, ..known }))
            .collect();
        Some(self)
    }

    /// Something else than positions and ages is different: worth keeping at once.
    #[must_use]
    pub fn is_news_after(&self, before: &Knowledge) -> bool {
        let facts = |known: &KnownServer| {
            let streamed = known.streamed.map(|streamed| (streamed.timeline, streamed.started));
            (known.server, known.view_confirmed, known.was_streaming, streamed, known.replicates_as.clone())
        };
        (self.primary, self.system_id, self.timeline) != (before.primary, before.system_id, before.timeline)
            || self.sync.waits_for != before.sync.waits_for
            || !self.servers.iter().map(facts).eq(before.servers.iter().map(facts))
    }

    /// Nothing but who was primary and how long ago it was seen: for tests of what keeps it.
    #[must_use]
    pub fn of_primary(primary: ServerId, system_id: u64, age: Span) -> Knowledge {
        Knowledge {
            primary,
            system_id,
            age,
            timeline: 1,
            flush: Lsn::default(),
            rates: [None; 5],
            sync: SyncTrack::default(),
            sync_age: age,
            servers: Vec::new(),
        }
    }
}

impl Core {
    /// The names of each service and of its servers, by their numbers.
    #[must_use]
    pub fn names(&self) -> Vec<(String, Vec<String>)> {
        let servers =
            |service: &super::service::Service| service.model.servers.iter().map(|server| server.name.clone()).collect();
        self.services.iter().map(|service| (service.model.name.clone(), servers(service))).collect()
    }

    /// What is known of each service; `None` where no primary was seen yet, or there is no data. Ages are relative to the moment of the last
    /// step.
    #[must_use]
    pub fn knowledge(&self) -> Vec<Option<Knowledge>> {
        self.services.iter().map(|service| service.knowledge(self.effects.now)).collect()
    }
}

impl super::service::Service {
    fn knowledge(&self, now: Mono) -> Option<Knowledge> {
        let log = self.log.as_ref().filter(|_| self.holds_data() && self.primary_seen)?;
        let servers = self.server_ids().map(|server| {
            let state = &self.servers[usize::from(server.0)];
            KnownServer {
                server,
                view_confirmed: state.view_confirmed,
                was_streaming: self.was_streaming(server),
                streamed: state.streamed,
                replicates_as: state.replicates_as.clone(),
            }
        });
        Some(Knowledge {
            primary: self.durable.primary?,
            system_id: self.durable.cluster.system_id?,
            age: now.since(log.at) + log.lead,
            timeline: log.timeline,
            flush: log.flush,
            rates: log.rates,
            sync: SyncTrack { at: Mono::ZERO, acknowledged_before: log.sync.acknowledged_at_all(), ..log.sync.clone() },
            sync_age: now.since(log.sync.at) + log.lead,
            servers: servers.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reload in another order names the same servers by other numbers.
    #[test]
    fn what_is_known_follows_its_server() {
        let streaming = |server, was_streaming| KnownServer {
            server: ServerId(server),
            view_confirmed: false,
            was_streaming,
            streamed: None,
            replicates_as: None,
        };
        let known = Knowledge {
            servers: vec![streaming(0, false), streaming(1, true)],
            ..Knowledge::of_primary(ServerId(0), 7, Span::ZERO)
        };
        let exchanged = known.clone().mapped(&|server| Some(ServerId(1 - server.0))).unwrap();
        assert_eq!(exchanged.primary, ServerId(1));
        assert_eq!(exchanged.servers, [streaming(1, false), streaming(0, true)]);
        assert!(
            known.clone().mapped(&|server| (server.0 > 0).then_some(server)).is_none(),
            "without its primary nothing is known"
        );
        assert!(exchanged.is_news_after(&known) && !known.is_news_after(&known.clone().aged(Span::from_millis(50))));
        let none = Knowledge { servers: vec![streaming(0, false), streaming(1, false)], ..known.clone() };
        assert!(none.is_news_after(&known), "one of them streams no more");
    }

    #[test]
    fn every_age_grows() {
        let known =
            Knowledge { sync_age: Span::from_millis(300), ..Knowledge::of_primary(ServerId(0), 7, Span::from_millis(100)) };
        let aged = known.aged(Span::from_millis(50));
        assert_eq!([aged.age, aged.sync_age].map(Span::as_millis), [150, 350]);
    }
}
