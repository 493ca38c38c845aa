//! The set of standbys that commits wait for, as the engine keeps it: what of it is in the journal before a server hears of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::ServerId;
use super::sync_set::{Acknowledging, Method, SyncRule};

/// Whoever may acknowledge a commit of this primary, and how few may be enough. It is never narrower than what is in force there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSet {
    /// The primary whose commits wait.
    pub primary: ServerId,
    /// So many acknowledge a commit at least, where it waits.
    pub required: u32,
    /// Whoever may.
    pub members: BTreeSet<ServerId>,
    /// So many more may, and are no configured servers: nobody can ask them.
    pub strangers: u32,
    /// Commits may wait for nobody: nothing is promised.
    pub open: bool,
    /// This value of `synchronous_standby_names` may come into force, and is not known to be; `None`: the set is in force.
    pub pending: Option<String>,
}

/// What the setting is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncTarget {
    /// Acknowledgements that a commit waits for; 0: none.
    pub required: u32,
    /// The standbys that may give them.
    pub members: BTreeSet<ServerId>,
}

impl KeptSet {
    /// Exactly this is in force.
    #[must_use]
    pub fn in_force(primary: ServerId, target: &SyncTarget) -> KeptSet {
        let open = target.required == 0;
        let members = if open { BTreeSet::new() } else { target.members.clone() };
        KeptSet { primary, required: target.required.max(1), members, strangers: 0, open, pending: None }
    }

    /// This one or the other is in force: whoever may acknowledge in one of them may, and the fewer acknowledgements are enough. So many
    /// of the whole have to answer that it is enough in each.
    #[must_use]
    pub fn or(&self, other: &KeptSet) -> KeptSet {
        let required = match (self.members.len(), other.members.len()) {
            (_, 0) => self.required,
            (0, _) => other.required,
            _ => self.required.min(other.required),
        };
        KeptSet {
            primary: self.primary,
            required,
            members: self.members.union(&other.members).copied().collect(),
            strangers: self.strangers.max(other.strangers),
            open: self.open || other.open,
            pending: None,
        }
    }

    /// What the primary's samples say, or this one: both count for a decision.
    #[must_use]
    pub fn joined(&self, seen: Option<&Acknowledging>) -> Option<Acknowledging> {
        if self.members.is_empty() {
            return seen.cloned();
        }
        let own = SyncRule { method: Method::Any, required: self.required, names: Vec::new(), everybody: false };
        let (rule, before, unknown, only_written) = match seen {
            Some(seen) => {
                let unknown = seen.size.saturating_sub(count(seen.members.len()));
                let rule = SyncRule { required: seen.rule.required.min(self.required), ..seen.rule.clone() };
                (rule, seen.members.clone(), unknown, seen.only_written)
            }
            None => (own, Vec::new(), 0, false),
        };
        let members: BTreeSet<ServerId> = self.members.iter().chain(&before).copied().collect();
        let size = count(members.len()).saturating_add(unknown.max(self.strangers));
        Some(Acknowledging { rule, size, members: members.into_iter().collect(), only_written })
    }

    /// The same with other server numbers. One that is gone may have acknowledged all the same.
    pub(crate) fn mapped(self, server: &dyn Fn(ServerId) -> Option<ServerId>) -> Option<KeptSet> {
        let members: BTreeSet<ServerId> = self.members.iter().copied().filter_map(server).collect();
        let gone = count(self.members.len().saturating_sub(members.len()));
        Some(KeptSet { primary: server(self.primary)?, members, strangers: self.strangers.saturating_add(gone), ..self })
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `synchronous_standby_names` that has any `required` of these names acknowledge; empty where none has to.
#[must_use]
pub fn setting(required: u32, names: &[String]) -> String {
    if required == 0 || names.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    format!("ANY {required} ({})", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync_set::SyncSetting;

    fn kept(required: u32, members: &[u16]) -> KeptSet {
        let members = members.iter().map(|server| ServerId(*server)).collect();
        KeptSet::in_force(ServerId(0), &SyncTarget { required, members })
    }

    fn seen(method: Method, required: u32, members: &[u16], size: u32) -> Acknowledging {
        let rule = SyncRule { method, required, names: Vec::new(), everybody: false };
        Acknowledging { rule, size, members: members.iter().map(|server| ServerId(*server)).collect(), only_written: false }
    }

    /// So many answers of the whole are enough in each of the two, whichever members give them.
    #[test]
    fn rule_218_who_is_enough_for_both_sets_is_enough_for_each() {
        let sets: Vec<(u32, Vec<u16>)> = (1..16_u16)
            .map(|bits| (1..=4).filter(|server| bits & (1 << (server - 1)) != 0).collect::<Vec<u16>>())
            .flat_map(|members| (1..=u32::try_from(members.len()).unwrap()).map(move |required| (required, members.clone())))
            .collect();
        for (required, members) in &sets {
            for (other, others) in &sets {
                let joined =
                    kept(*required, members).joined(Some(&seen(Method::Any, *other, others, count(others.len())))).unwrap();
                for answered in 0..16_u16 {
                    let of = |members: &[u16]| count(members.iter().filter(|one| answered & (1 << (**one - 1)) != 0).count());
                    let all: Vec<u16> = joined.members.iter().map(|server| server.0).collect();
                    let enough = of(&all) >= joined.needed();
                    let each = of(members) > count(members.len()) - required && of(others) > count(others.len()) - other;
                    assert!(!enough || each, "{required} of {members:?}, {other} of {others:?}, answered {answered:b}");
                }
            }
        }
    }

    #[test]
    fn rule_218_an_open_set_and_one_that_waits_are_both_counted() {
        let both = kept(0, &[]).or(&kept(2, &[1, 2]));
        assert_eq!((both.required, both.open, both.members.len()), (2, true, 2));
        assert_eq!(kept(2, &[1, 2]).or(&kept(1, &[2])).required, 1);
        assert_eq!(kept(0, &[]).joined(None), None);
        assert_eq!(kept(1, &[1, 2]).joined(None).map(|both| (both.size, both.needed())), Some((2, 2)));
        let first = kept(1, &[2]).joined(Some(&seen(Method::First, 1, &[1], 1))).unwrap();
        assert_eq!((first.size, first.needed()), (2, 2), "of the first ones anybody may have been");
    }

    #[test]
    fn a_member_that_is_not_configured_any_more_may_have_acknowledged() {
        let mapped = kept(1, &[1, 2]).mapped(&|server| (server.0 < 2).then_some(server)).unwrap();
        assert_eq!((mapped.members.len(), mapped.strangers), (1, 1));
        assert_eq!(mapped.joined(None).map(|both| both.needed()), Some(2));
    }

    #[test]
    fn the_setting_is_read_as_it_was_meant() {
        let names = ["db2".to_owned(), "odd \"one\", (2)".to_owned()];
        let SyncSetting::Rule(rule) = SyncSetting::parse(&setting(1, &names)) else { panic!("unreadable") };
        assert_eq!((rule.method, rule.required, rule.names), (Method::Any, 1, names.to_vec()));
        assert_eq!(setting(0, &names), "");
        assert_eq!(setting(1, &[]), "");
    }
}
