//! Which of those that may be promoted is promoted, and why that one.

use std::cmp::Reverse;

use super::{Candidate, MUCH_TO_REPLAY};

/// Why one candidate comes before another one: the first difference in the order of [`best`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// What it lacks can be carried over to it.
    Mends,
    /// It has so many bytes of log more.
    Position(u64),
    /// Every acknowledged commit is known to be there.
    Promise,
    /// It takes writes sooner: less to replay, or its replay moves.
    Sooner,
    /// So many standbys follow it without a change, and so many follow the other one.
    Followers(u32, u32),
    /// Its priority is higher.
    Priority,
    /// It stands first in the configuration.
    Order,
}

/// Who would serve sooner: one whose replay moves, then one with less to replay.
fn sooner(one: &Candidate) -> impl Ord + use<> {
    (Reverse(one.held), Reverse(one.to_replay / MUCH_TO_REPLAY))
}

fn rank(one: &Candidate) -> impl Ord + use<> {
    // Whoever gets what is missing has the most.
    (one.mends, one.position, one.holds_acknowledged, sooner(one), one.followers, one.priority, Reverse(one.server))
}

/// The best of the candidates: the most data first, that which is carried over counted, then who would serve sooner, then whom more standbys
/// follow without a change (rule 251), then the priority, then the order of the configuration.
#[must_use]
pub fn best(candidates: &[Candidate]) -> Option<Candidate> {
    candidates.iter().copied().max_by_key(rank)
}

/// The one that comes after the best, and why it does. `None`: there is no other.
#[must_use]
pub fn runner_up(candidates: &[Candidate]) -> Option<(Candidate, Preference)> {
    let first = best(candidates)?;
    let others: Vec<Candidate> = candidates.iter().copied().filter(|one| one.server != first.server).collect();
    let second = best(&others)?;
    let why = if first.mends != second.mends {
        Preference::Mends
    } else if first.position != second.position {
        Preference::Position(first.position.bytes_after(second.position))
    } else if first.holds_acknowledged != second.holds_acknowledged {
        Preference::Promise
    } else if sooner(&first) != sooner(&second) {
        Preference::Sooner
    } else if first.followers != second.followers {
        Preference::Followers(first.followers, second.followers)
    } else if first.priority != second.priority {
        Preference::Priority
    } else {
        Preference::Order
    };
    Some((second, why))
}

impl Preference {
    /// For people; `other` is the name of the one that comes after.
    #[must_use]
    pub fn sentence(self, other: &str) -> String {
        let standbys = |count: u32| match count {
            0 => "no standby follows".to_owned(),
            1 => "1 standby follows".to_owned(),
            count => format!("{count} standbys follow"),
        };
        match self {
            Preference::Mends => format!("preferred to {other}: what it lacks can be carried over to it"),
            Preference::Position(bytes) => format!("preferred to {other}: it has {bytes} bytes of log more"),
            Preference::Promise => format!("preferred to {other}: it is known to have every acknowledged commit"),
            Preference::Sooner => format!("preferred to {other}: it has the same log, and can take writes sooner"),
            Preference::Followers(own, others) => format!(
                "preferred to {other}: it has the same log; {} it without a change, and {} {other}",
                standbys(own),
                standbys(others)
            ),
            Preference::Priority => format!("preferred to {other}: it has the same log, and a higher priority"),
            Preference::Order => {
                format!("preferred to {other}: it has the same log and the same priority, and stands first in the configuration")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ServerId;
    use crate::sample::Lsn;

    fn of(server: u16, position: u64) -> Candidate {
        Candidate::chosen_before(ServerId(server), Lsn(position), Some(0), false)
    }

    #[test]
    fn rule_251_of_equal_data_whom_more_standbys_follow_is_promoted_whatever_the_priority() {
        let upstream = Candidate { followers: 1, priority: 1, ..of(1, 9) };
        let below = Candidate { priority: 100, ..of(2, 9) };
        let both = [below, upstream];
        assert_eq!(best(&both).unwrap().server, ServerId(1));
        assert_eq!(runner_up(&both), Some((below, Preference::Followers(1, 0))));
        // Neither a byte nor a moment is given up for that.
        assert_eq!(best(&[Candidate { position: Lsn(10), ..below }, upstream]).unwrap().server, ServerId(2));
        let slow = Candidate { to_replay: 600, held: true, ..upstream };
        assert_eq!(best(&[below, slow]).unwrap().server, ServerId(2));
        let words = Preference::Followers(2, 0).sentence("db3");
        assert_eq!(
            words,
            "preferred to db3: it has the same log; 2 standbys follow it without a change, and no standby follows db3"
        );
    }

    #[test]
    fn the_reason_is_the_first_difference() {
        let why = |one: Candidate, other: Candidate| runner_up(&[one, other]).unwrap().1;
        assert_eq!(why(of(1, 9), of(2, 5)), Preference::Position(4));
        assert_eq!(why(Candidate { mends: true, ..of(2, 5) }, of(1, 9)), Preference::Mends);
        assert_eq!(why(Candidate { holds_acknowledged: true, ..of(2, 9) }, of(1, 9)), Preference::Promise);
        assert_eq!(why(of(2, 9), Candidate { held: true, to_replay: 9, ..of(1, 9) }), Preference::Sooner);
        assert_eq!(why(Candidate { priority: 7, ..of(2, 9) }, of(1, 9)), Preference::Priority);
        assert_eq!(why(of(2, 9), of(1, 9)), Preference::Order);
        assert_eq!(runner_up(&[of(1, 9)]), None);
    }
}
