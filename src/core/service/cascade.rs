//! Who streams from whom below a standby: so many follow it without a change once it is promoted.

use std::collections::BTreeMap;

use super::Service;
use crate::id::ServerId;
use crate::sample::Sample;

impl Service {
    /// How many standbys stream from this one, also by way of another one, by the lists that the servers themselves show. Where names are
    /// equal nobody can say whose row it is: then the rows count, and not what is below them.
    pub(super) fn followers_of(&self, server: ServerId, samples: &BTreeMap<ServerId, &Sample>) -> u32 {
        let mut below = vec![server];
        let (mut at, mut unnamed) = (0, 0);
        while let Some(upstream) = below.get(at).copied() {
            at += 1;
            let rows = samples.get(&upstream).and_then(|sample| sample.replicas.as_ref());
            let rows = rows.into_iter().flatten().filter(|row| row.streaming && !row.is_left(None));
            let mut names = BTreeMap::<String, usize>::new();
            rows.for_each(|row| *names.entry(row.application_name.to_lowercase()).or_default() += 1);
            for (name, rows) in names {
                let is_called = |other: &ServerId| *other != upstream && self.replication_name(*other) == name;
                let called: Vec<ServerId> = self.server_ids().filter(is_called).collect();
                match called.as_slice() {
                    [one] if below.contains(one) => {}
                    [one] => below.push(*one),
                    several => unnamed += rows.min(several.len()),
                }
            }
        }
        u32::try_from(below.len() - 1 + unnamed).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ServiceId;
    use crate::kind::ServiceKind;
    use crate::kind::tests::model;
    use crate::model::ServerModel;
    use crate::sample::Replica;
    use crate::time::{Mono, Span};

    fn lists(names: &[&str]) -> Sample {
        let row = |name: &&str| Replica { application_name: (*name).to_owned(), streaming: true, ..Replica::default() };
        Sample { in_recovery: true, replicas: Some(names.iter().map(row).collect()), ..Sample::default() }
    }

    /// db1 to db4, called so as standbys; what each lists.
    fn followers(called: &[&str], listed: &[Sample]) -> Vec<u32> {
        let mut service = Service::new(ServiceId(0), model(ServiceKind::Postgres).services.remove(0), Mono::ZERO);
        let one = service.model.servers[0].clone();
        let server =
            |name: &&str| ServerModel { name: (*name).to_owned(), replication_name: Some((*name).to_owned()), ..one.clone() };
        service.model.servers = called.iter().map(server).collect();
        let state = service.servers[0].clone();
        service.servers = called.iter().map(|_| state.clone()).collect();
        let ids: Vec<ServerId> = (0..).map(ServerId).take(called.len()).collect();
        let samples = ids.iter().copied().zip(listed).collect();
        ids.iter().map(|server| service.followers_of(*server, &samples)).collect()
    }

    #[test]
    fn rule_251_a_cascade_counts_whole_and_strangers_do_not() {
        let chain = [lists(&["db2"]), lists(&["DB3", "pg_receivewal"]), lists(&["db4"]), lists(&[])];
        assert_eq!(followers(&["db1", "db2", "db3", "db4"], &chain), [3, 2, 1, 0]);
        let circle = [lists(&["db2"]), lists(&["db1"])];
        assert_eq!(followers(&["db1", "db2"], &circle), [1, 1], "it ends");
    }

    #[test]
    fn rule_251_of_equal_names_the_rows_count() {
        let equal = ["walreceiver"; 4];
        let listed = [lists(&[]), lists(&["walreceiver"]), lists(&[]), lists(&[])];
        assert_eq!(followers(&equal, &listed), [0, 1, 0, 0]);
    }

    #[test]
    fn rule_251_who_has_left_or_is_not_seen_follows_nobody() {
        let mut left = lists(&["db3"]);
        left.replicas.iter_mut().flatten().for_each(|row| row.reply_age = Some(Span::from_millis(30_000)));
        let hidden = Sample { replicas: None, ..lists(&[]) };
        assert_eq!(followers(&["db1", "db2", "db3"], &[hidden, left, lists(&[])]), [0, 0, 0]);
    }
}
