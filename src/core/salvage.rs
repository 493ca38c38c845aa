//! The end of a dead primary's log, carried over to a standby: with asynchronous replication what only the old primary's disk has.

use super::id::ServerId;
use super::refusal::CandidateRefusal;
use super::sample::{Lsn, Position};
use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// What became of carrying the end of an old primary's log to a standby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salvaged {
    /// Where the old server's log ends: behind its last valid record.
    pub end: Lsn,
    /// So many bytes the standby lacked; 0 where nothing is missing.
    pub missing: u64,
    /// So many of them the standby has replayed. Equal to `missing` where nothing is lost.
    pub salvaged: u64,
    /// The commits in the salvaged part, where they could be counted.
    pub commits: Option<u64>,
    /// What the standby has replayed now.
    pub replayed: Lsn,
    /// Why not all of it was carried over: what and where. `None` where nothing is left.
    pub failed: Option<String>,
}

impl Salvaged {
    /// What the standby still lacks.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.missing.saturating_sub(self.salvaged)
    }
}

/// What a standby that was chosen got from the old primary's disk, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Bytes of log that it lacked.
    pub missing: u64,
    /// Bytes of these that it has now.
    pub salvaged: u64,
    /// The commits in those, where they could be counted.
    pub commits: Option<u64>,
}

impl Carried {
    /// What is still missing.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.missing.saturating_sub(self.salvaged)
    }

    /// The end of a sentence about what is missing: nothing where nothing was carried over.
    #[must_use]
    pub fn sentence(&self) -> String {
        let commits = self.commits.map(|commits| format!(" with {}", counted(commits))).unwrap_or_default();
        match (self.missing, self.salvaged) {
            (0, _) => String::new(),
            (missing, 0) => format!("; of {missing} bytes that only the old primary had, none could be salvaged"),
            (missing, salvaged) if missing == salvaged => {
                format!("; {missing} bytes{commits} that only the old primary had were salvaged")
            }
            (missing, salvaged) => {
                format!("; of {missing} bytes that only the old primary had, {salvaged}{commits} were salvaged")
            }
        }
    }
}

/// How far a failover is with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salvage {
    /// The standby that gets the log, what it has, and how long it may take.
    pub target: Option<(ServerId, Lsn, Span)>,
    /// The positions by which it was chosen.
    pub positions: Vec<Position>,
    /// All tries together end here.
    pub until: Option<Mono>,
    /// Each standby that it was tried on since the fence was last proven, and what came of it.
    pub tried: Vec<(ServerId, Result<Salvaged, String>)>,
    /// Whose spool may hold something: also from before the fence was last proven.
    pub spooled: Vec<ServerId>,
    /// What came to whom before the fence was last proven: bytes, and commits where they could be counted.
    pub before: Vec<(ServerId, u64, Option<u64>)>,
    /// Why it is not tried.
    pub hindered: Option<String>,
    /// It is switched off.
    pub off: bool,
    /// When the present try began.
    pub began: Option<Mono>,
    /// How long all tries took.
    pub took: Option<Span>,
}

impl Salvage {
    /// Where the log of the old primary ends, once it was read.
    #[must_use]
    pub fn end(&self) -> Option<Lsn> {
        self.tried.iter().filter_map(|(_, what)| what.as_ref().ok()).map(|salvaged| salvaged.end).max()
    }

    /// What is left of the time for all tries.
    pub(crate) fn patience(&self, limit: Span, now: Mono) -> Span {
        self.until.map_or(limit, |until| until.since(now))
    }

    /// What came of it in one word, for the record of a standby to which that much was carried.
    #[must_use]
    pub fn word(&self, server: ServerId, carried: Option<Carried>, has_all: bool) -> &'static str {
        let came = self.tried.iter().any(|(tried, what)| *tried == server && what.as_ref().is_ok_and(|what| what.salvaged > 0));
        match carried {
            Some(Carried { missing: 0, .. }) => "nothing_missing",
            Some(carried) if carried.left() == 0 => "all",
            Some(carried) if carried.salvaged > 0 => "part",
            None if came => "part",
            _ if !self.tried.is_empty() => "failed",
            _ if self.off => "off",
            _ if has_all => "not_needed",
            _ => "not_tried",
        }
    }

    /// It was tried on this standby.
    #[must_use]
    pub fn is_tried(&self, server: ServerId) -> bool {
        self.tried.iter().any(|(tried, _)| *tried == server)
    }

    /// What was read is of before: it is asked about afresh.
    pub(crate) fn forget(&mut self) {
        let came =
            self.tried.iter().filter_map(|(server, what)| what.as_ref().ok().map(|what| (*server, what.salvaged, what.commits)));
        let mut before = std::mem::take(&mut self.before);
        before.extend(came.filter(|(_, bytes, _)| *bytes > 0));
        *self = Salvage { before, spooled: std::mem::take(&mut self.spooled), took: self.took, ..Salvage::default() };
    }

    /// What came of it for this standby, which lacks `left` bytes now.
    #[must_use]
    pub fn carried(&self, server: ServerId, left: Option<u64>) -> Option<Carried> {
        let own = self.tried.iter().filter(|(tried, _)| *tried == server).find_map(|(_, what)| what.as_ref().ok())?;
        let salvaged = own.missing.saturating_sub(left?);
        // What came later than the answer was not counted.
        let commits = own.commits.or((own.missing == 0).then_some(0)).filter(|_| salvaged == own.salvaged);
        let carried = Carried { missing: own.missing, salvaged, commits };
        let before = self.before.iter().filter(|(of, ..)| *of == server);
        Some(before.fold(carried, |sum, (_, bytes, commits)| Carried {
            missing: sum.missing + bytes,
            salvaged: sum.salvaged + bytes,
            commits: sum.commits.zip(*commits).map(|(one, other)| one + other),
        }))
    }

    /// Where somebody is refused because it was not done: why.
    pub(crate) fn explain(&self, reasons: &mut [(ServerId, CandidateRefusal)]) {
        for (server, reason) in reasons {
            if let CandidateRefusal::NotSalvaged { why } = reason {
                *why = self.why_not(*server);
            }
        }
    }

    /// Why what is missing could not be carried to this standby.
    fn why_not(&self, server: ServerId) -> String {
        let own = self.tried.iter().find(|(tried, _)| *tried == server).or(self.tried.first());
        match own {
            Some((_, Err(why) | Ok(Salvaged { failed: Some(why), .. }))) => why.clone(),
            Some((_, Ok(_))) => "not all of it was carried over".to_owned(),
            None => self.hindered.clone().unwrap_or_else(|| "it was not tried".to_owned()),
        }
    }
}

/// A number of commits, for people.
pub(crate) fn counted(commits: u64) -> String {
    if commits == 1 { "1 commit".to_owned() } else { format!("{commits} commits") }
}
