//! A new copy of another server's data: its size, what stands in its way, how far it is, and how it takes its place.

use super::rejoin::hex;
use super::{Answer, HostControl, nonsense};
use crate::deadline::{Cancel, Deadline};
use failover_core::copy::{CopyReport, CopyState, FoundCopy};
use failover_core::id::Generation;
use failover_core::output::Failure;

/// Which attempt, and whether nothing is to be there yet.
type Attempt = (bool, u32);

fn options((vacant, attempt): Attempt) -> Vec<String> {
    let mut options = vec!["--attempt".to_owned(), attempt.to_string()];
    if vacant {
        options.push("--vacant".to_owned());
    }
    options
}

impl HostControl {
    /// How much a copy of this server needs, and what of it cannot be copied. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be read. Never has an effect.
    pub(crate) fn size_of_copy(&self, deadline: Deadline, cancel: &Cancel) -> Result<CopyReport, Failure> {
        self.ask("size", &[], deadline, cancel)?.size_of_copy()
    }

    /// What stands in the way of a copy of the server `peer` here, and its number. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be read. Never has an effect.
    pub(crate) fn find_copy(
        &self,
        generation: Generation,
        peer: &str,
        vacant: bool,
        kib: u64,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<FoundCopy, Failure> {
        let (generation, peer, kib) = (generation.to_string(), hex(peer), kib.to_string());
        let mut options = vec!["--generation", &generation, "--peer", &peer, "--kib", &kib];
        if vacant {
            options.push("--vacant");
        }
        self.ask("copy-status", &options, deadline, cancel)?.found_copy()
    }

    /// Begins it; it goes on when the session ends. Once for each attempt, whatever became of it.
    ///
    /// # Errors
    /// When it was not begun, or it is not known.
    pub(crate) fn begin_copy(
        &self,
        generation: Generation,
        peer: &str,
        attempt: Attempt,
        kib: u64,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<String, Failure> {
        let mut options = options(attempt);
        options.extend(["--generation".to_owned(), generation.to_string(), "--peer".to_owned(), hex(peer)]);
        options.extend(["--kib".to_owned(), kib.to_string()]);
        self.ask("copy", &super::log::refs(&options), deadline, cancel)?.begun("pg_basebackup")
    }

    /// How far it is. Changes nothing.
    ///
    /// # Errors
    /// When the host could not be asked. Never has an effect.
    pub(crate) fn read_copy(
        &self,
        attempt: Attempt,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(CopyState, String), Failure> {
        let answer = self.ask("copy-status", &super::log::refs(&options(attempt)), deadline, cancel)?;
        let state = answer.copied()?;
        let message = match state {
            CopyState::Not => "it was not begun".to_owned(),
            CopyState::Running { .. } => "pg_basebackup runs".to_owned(),
            CopyState::Done => "the copy is whole".to_owned(),
            CopyState::Swapping => "the copy is about to take the place of the data directory".to_owned(),
            CopyState::Swapped => "the copy is the data directory".to_owned(),
            CopyState::Failed => super::readable(answer.value("said"), 400),
        };
        Ok((state, message))
    }

    /// Puts a whole copy in the place of the data directory. Done again it finds that.
    ///
    /// # Errors
    /// When it is not there; [`HostControl::read_copy`] says how far it came.
    pub(crate) fn swap_copy(
        &self,
        attempt: Attempt,
        system_id: u64,
        timeline: u32,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<CopyReport, Failure> {
        let mut options = options(attempt);
        options.extend(["--system-id".to_owned(), system_id.to_string(), "--timeline".to_owned(), timeline.to_string()]);
        self.ask("swap", &super::log::refs(&options), deadline, cancel)?.swapped()
    }
}

impl Answer {
    pub(super) fn size_of_copy(&self) -> Result<CopyReport, Failure> {
        let hindrances = self.all("hindrance").map(|text| super::readable(text, 300)).collect();
        Ok(CopyReport::Size { kib: self.number("kib")?, hindrances })
    }

    pub(super) fn found_copy(&self) -> Result<FoundCopy, Failure> {
        let readable = |text: &str| super::readable(text, 400);
        Ok(FoundCopy {
            attempt: self.number("attempt")?,
            state: self.copied()?,
            slot: Some(readable(self.value("slot"))).filter(|slot| !slot.is_empty()),
            hindrances: self.all("hindrance").map(readable).collect(),
        })
    }

    pub(super) fn copied(&self) -> Result<CopyState, Failure> {
        Ok(match self.value("copied") {
            "not" => CopyState::Not,
            "running" => CopyState::Running { done: self.number("done_kib")?, all: self.number("all_kib")? },
            "done" => CopyState::Done,
            "swapping" => CopyState::Swapping,
            "swapped" => CopyState::Swapped,
            "failed" => CopyState::Failed,
            other => return Err(nonsense(&format!("copied={other}"))),
        })
    }

    pub(super) fn swapped(&self) -> Result<CopyReport, Failure> {
        if self.value("swapped") != "1" {
            return Err(nonsense("no word of the swap"));
        }
        let kept = Some(super::readable(self.value("old"), 400)).filter(|kept| !kept.is_empty());
        Ok(CopyReport::Swapped { kept, kib: self.number("old_kib").ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::host::tests::answered as heard;

    #[test]
    fn what_is_said_of_a_copy_comes_whole_or_not_at_all() {
        let whole = "attempt=2\ncopied=not\ndone_kib=0\nall_kib=0\nslot=\nhindrance=root as root\n";
        let found = heard(whole).found_copy().unwrap();
        assert_eq!((found.attempt, found.state, found.slot, found.hindrances.len()), (2, CopyState::Not, None, 1));
        for line in ["attempt=2\n", "copied=not\n"] {
            assert!(heard(&whole.replace(line, "")).found_copy().is_err(), "without {line}");
        }
        let running = heard("copied=running\ndone_kib=5\nall_kib=9\n").copied();
        assert_eq!(running, Ok(CopyState::Running { done: 5, all: 9 }));
        assert!(heard("copied=magic\n").copied().is_err() && heard("copied=running\n").copied().is_err());
        assert!(heard("kib=\n").size_of_copy().is_err() && heard("old=/d\n").swapped().is_err());
        let kept = Some("/d.failover-old-1".to_owned());
        assert_eq!(heard("old=/d.failover-old-1\nold_kib=\nswapped=1\n").swapped(), Ok(CopyReport::Swapped { kept, kib: None }));
    }
}
