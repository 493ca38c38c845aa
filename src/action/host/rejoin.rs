//! The return of an old primary as a standby: what its log has that the new primary lacks, `pg_rewind`, and the settings of a standby.

use std::time::Duration;

use super::{Answer, HostControl, Log, nonsense};
use crate::deadline::{Cancel, Deadline};
use failover_core::id::Generation;
use failover_core::output::Failure;
use failover_core::rejoin::Rewound;
use failover_core::sample::Lsn;

/// What a stopped server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// Its cluster.
    pub(crate) system_id: u64,
    /// The highest timeline on which it has log.
    pub(crate) newest: u32,
    /// It was stopped as a standby, or was rewound: by its control file it is in recovery.
    pub(crate) as_standby: bool,
    /// The slot of its primary that it uses by its settings; empty for none.
    pub(crate) slot: String,
    /// What stands in the way of `pg_rewind`: a name and a sentence each.
    pub(crate) hindrances: Vec<String>,
    /// What became of an earlier one.
    pub(crate) rewound: Rewound,
}

/// What its log has behind a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Where it ends; at most the position where nothing follows.
    pub(crate) end: Lsn,
    /// Commits, where they could be counted.
    pub(crate) commits: Option<u64>,
    /// Transaction and time of the first commit, and of the last one.
    pub(crate) first: Option<String>,
    /// See `first`.
    pub(crate) last: Option<String>,
}

impl HostControl {
    /// What this stopped server is, and whether it could be rewound with the data of the server `peer`. Refused while a process of it lives.
    /// Changes nothing.
    ///
    /// # Errors
    /// When it cannot be read. Never has an effect.
    pub(crate) fn stopped(
        &self,
        generation: Generation,
        peer: &str,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Stopped, Failure> {
        let options = ["--generation", &generation.to_string(), "--peer", &hex(peer)];
        self.ask("divergence", &options, deadline, cancel)?.stopped()
    }

    /// What the log of this stopped server has behind a position. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be read. Never has an effect.
    pub(crate) fn behind(&self, log: Log, fork: Lsn, deadline: Deadline, cancel: &Cancel) -> Result<Behind, Failure> {
        let options = super::log::position(log, fork);
        self.ask("divergence", &super::log::refs(&options), deadline, cancel)?.behind(fork)
    }

    /// Copies its log and its configuration to a folder beside the data directory; done again it finds them there. Says where.
    ///
    /// # Errors
    /// When they are not there, for example for want of space.
    pub(crate) fn keep(
        &self,
        generation: Generation,
        log: Log,
        fork: Lsn,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<String, Failure> {
        let mut options = super::log::position(log, fork);
        options.extend(["--generation".to_owned(), generation.to_string()]);
        let answer = self.ask("keep", &super::log::refs(&options), deadline, cancel)?;
        Ok(format!("log and configuration are in {} on {}", answer.value("kept"), self.ssh.at()))
    }

    /// Begins `pg_rewind`, which goes on when the session ends. Once for each failover, whatever became of it.
    ///
    /// # Errors
    /// When it was not begun, or it is not known.
    pub(crate) fn rewind(
        &self,
        generation: Generation,
        peer: &str,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<String, Failure> {
        let options = ["--generation", &generation.to_string(), "--peer", &hex(peer)];
        self.ask("rewind", &options, deadline, cancel)?.begun("pg_rewind")
    }

    /// How far `pg_rewind` is. One that was broken off gets its guard back, and its data directory its name.
    ///
    /// # Errors
    /// When the host could not be asked.
    pub(crate) fn rewind_status(
        &self,
        generation: Generation,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(Rewound, String), Failure> {
        let answer = self.ask("rewind-status", &["--generation", &generation.to_string()], deadline, cancel)?;
        let rewound = answer.rewound()?;
        let message = match rewound {
            Rewound::Not => "pg_rewind was not begun".to_owned(),
            Rewound::Running { done, all } if all > 0 => format!("pg_rewind has copied {done} of {all} kB"),
            Rewound::Running { .. } => "pg_rewind runs".to_owned(),
            Rewound::Done => "pg_rewind has ended well".to_owned(),
            Rewound::Failed => super::readable(answer.value("said"), 300),
        };
        Ok((rewound, message))
    }

    /// Gives a stopped server the settings of a standby of `peer`, which the host's own file says how to reach; `alias` is how it calls
    /// itself there, where that file does not say it. Its guard stays.
    ///
    /// # Errors
    /// When it does not have them.
    pub(crate) fn follow(
        &self,
        generation: Generation,
        peer: &str,
        alias: &str,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(), Failure> {
        let options = ["--generation", &generation.to_string(), "--peer", &hex(peer), "--as", &hex(alias)];
        self.ask("follow", &options, deadline, cancel).map(drop)
    }

    /// Starts a stopped server that has its guard, as a standby.
    ///
    /// # Errors
    /// When nothing was done, for example because a server runs there; when the start failed or it is not known.
    pub(crate) fn start_standby(&self, generation: Generation, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let wait = (deadline.remaining() / 2).min(Duration::from_secs(10)).as_millis().to_string();
        let options = ["--generation", &generation.to_string(), "--standby", "--start-ms", &wait];
        self.ask("start", &options, deadline, cancel)?.started(&self.ssh.at(), true)
    }
}

/// A request may hold lower-case letters, digits and blanks: so a name travels as digits.
pub(super) fn hex(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Answer {
    pub(super) fn stopped(&self) -> Result<Stopped, Failure> {
        let readable = |text: &str| super::readable(text, 300);
        Ok(Stopped {
            system_id: self.number("system_id")?,
            newest: self.number("newest")?,
            as_standby: matches!(self.value("state"), "shut down in recovery" | "in archive recovery"),
            slot: readable(self.value("slot")),
            hindrances: self.all("hindrance").map(|text| super::readable(text, 600)).collect(),
            rewound: self.rewound()?,
        })
    }

    pub(super) fn rewound(&self) -> Result<Rewound, Failure> {
        Ok(match self.value("rewound") {
            "not" => Rewound::Not,
            "running" => Rewound::Running { done: self.number("done_kib")?, all: self.number("all_kib")? },
            "done" => Rewound::Done,
            "failed" => Rewound::Failed,
            other => return Err(nonsense(&format!("rewound={other}"))),
        })
    }

    /// A program that goes on when the session ends, and is begun once.
    pub(super) fn begun(&self, program: &str) -> Result<String, Failure> {
        match self.value("begun") {
            "now" => Ok(format!("{program} has begun")),
            "earlier" => Ok(format!("{program} was begun before, and is not begun again")),
            other => Err(nonsense(&format!("begun={other}"))),
        }
    }

    pub(super) fn behind(&self, fork: Lsn) -> Result<Behind, Failure> {
        if self.value("follows") == "before" {
            return Ok(Behind { end: fork, commits: Some(0), first: None, last: None });
        }
        let tail = self.tail(fork)?;
        let mut told = self.all("commit").map(|text| super::readable(text, 120));
        let first = told.next();
        let last = told.last().or_else(|| first.clone());
        Ok(Behind { end: tail.end, commits: tail.commits, first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::host::tests::answered as heard;

    #[test]
    fn a_name_travels_as_digits() {
        assert_eq!(hex("db 1_Ä"), "64622031 5fc384".replace(' ', ""));
    }

    #[test]
    fn what_a_stopped_server_is_comes_whole_or_not_at_all() {
        let whole = "system_id=7\nnewest=1\nslot=db1\nhindrance=no_hints off\nrewound=not\ndone_kib=0\nall_kib=0\n";
        let stopped = heard(whole).stopped().unwrap();
        assert_eq!(
            (stopped.newest, stopped.slot.as_str(), stopped.hindrances.as_slice()),
            (1, "db1", &["no_hints off".to_owned()][..])
        );
        for line in ["system_id=7\n", "newest=1\n", "rewound=not\n"] {
            assert!(heard(&whole.replace(line, "")).stopped().is_err(), "without {line}");
        }
        let running = heard("rewound=running\ndone_kib=5\nall_kib=9\n").rewound();
        assert_eq!(running, Ok(Rewound::Running { done: 5, all: 9 }));
        assert!(heard("rewound=magic\n").rewound().is_err());
    }

    #[test]
    fn a_log_that_ends_before_the_fork_has_nothing_behind_it() {
        let fork = Lsn(0x0300_0100);
        let behind = heard("segment_size=16777216\nfollows=before\n").behind(fork).unwrap();
        assert_eq!((behind.end, behind.commits), (fork, Some(0)));
        let one = "segment_size=16777216\nfollows=1\npage_size=8192\nlast=0/3000148 34 Transaction COMMIT\nskipped=0\ncommits=1\nlimit=0/4000000\nstopped=invalid record length\ncommit=xid 740 at 2026-01-01 00:00:00.1 UTC\n";
        let behind = heard(one).behind(fork).unwrap();
        assert_eq!((behind.end, behind.commits), (Lsn(0x0300_0170), Some(1)));
        assert_eq!(behind.first, behind.last);
    }
}
