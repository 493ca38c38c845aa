//! Where the journal lies. A file that was deleted while it is open can be written for ever, and the next engine reads none of it.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Journal;

/// One file, whatever its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64, u64);

impl Place {
    /// What is there now; `None`: nothing.
    pub(super) fn at(path: &Path) -> Result<Option<Place>> {
        match std::fs::metadata(path) {
            Ok(there) => Ok(Some(Place::from(&there))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn of(file: &File) -> Result<Place> {
        Ok(Place::from(&file.metadata()?))
    }
}

impl From<&Metadata> for Place {
    fn from(of: &Metadata) -> Place {
        Place(of.dev(), of.ino())
    }
}

impl Journal {
    /// What was written is not where the next engine looks for it, or not all of it is.
    pub(super) fn is_displaced(&self) -> Result<bool> {
        if self.length == 0 {
            return Ok(false);
        }
        let path = self.path();
        Ok(Place::at(&path)? != self.place || std::fs::metadata(&path)?.len() < self.length)
    }

    /// Looks after its file: one that is gone is as good as one that cannot be written.
    pub(crate) fn look(&mut self) {
        if self.is_writable() && self.is_displaced().is_ok_and(|displaced| displaced) {
            self.broken = Some(format!("{} was deleted, replaced or cut off while the engine ran", self.path().display()));
        }
    }

    /// Writes all that is known anew, where the file was deleted or replaced and its directory is still the one that is locked: elsewhere a
    /// second engine may have begun.
    pub(super) fn renew(&mut self, now: std::time::SystemTime) -> Result<()> {
        if Place::at(&self.directory.join("lock"))? != self.lock {
            return Err(Error::other(
                "the state directory was deleted or replaced while the engine ran, and with it the lock that keeps a second engine out: put \
                 the old one back, or restart the engine, which then knows nothing of pauses, cordons and earlier failovers",
            ));
        }
        log::warn!(
            "{} was deleted, replaced or cut off while the engine ran: all that is known is written anew",
            self.path().display()
        );
        self.rotate(now)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Journal;
    use crate::engine::journal::StateLock;
    use crate::engine::journal::tests::{model, now, record};

    /// As an engine has it: locked, with something written, on a path that can be deleted as a whole.
    fn open(state: &std::path::Path) -> (StateLock, Journal) {
        let lock = StateLock::take(state).unwrap();
        let mut journal = Journal::open(state);
        journal.append(&model(), &record(7), now()).unwrap();
        (lock, journal)
    }

    fn generation(state: &std::path::Path) -> u64 {
        let again = Journal::open(state);
        assert!(again.is_writable(), "{:?}", again.reason());
        again.known["orders"].generation
    }

    #[test]
    fn a_deleted_journal_is_written_anew_with_all_that_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let (_lock, mut journal) = open(folder.path());
        fs::remove_file(journal.path()).unwrap();
        journal.look();
        assert!(journal.reason().unwrap().contains("was deleted, replaced or cut off"), "{:?}", journal.reason());
        journal.retry(now());
        assert!(journal.is_writable(), "{:?}", journal.reason());
        assert_eq!(generation(folder.path()), 7);
        // Between two looks the next record finds it out.
        fs::remove_file(journal.path()).unwrap();
        journal.append(&model(), &record(8), now()).unwrap();
        assert_eq!(generation(folder.path()), 8);
    }

    #[test]
    fn a_journal_that_was_cut_off_is_written_anew() {
        for left in [0, 10] {
            let folder = tempfile::tempdir().unwrap();
            let (_lock, mut journal) = open(folder.path());
            let cut = |path: &std::path::Path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(left).unwrap();
            cut(&journal.path());
            journal.look();
            assert!(!journal.is_writable());
            journal.retry(now());
            assert_eq!(generation(folder.path()), 7);
            cut(&journal.path());
            journal.append(&model(), &record(8), now()).unwrap();
            assert_eq!(generation(folder.path()), 8);
        }
    }

    #[test]
    fn a_replaced_journal_is_kept_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (_lock, mut journal) = open(folder.path());
        let copy = folder.path().join("copy");
        fs::write(&copy, "somebody's\n").unwrap();
        fs::rename(&copy, journal.path()).unwrap();
        journal.append(&model(), &record(8), now()).unwrap();
        assert_eq!(generation(folder.path()), 8);
        assert_eq!(fs::read_to_string(folder.path().join("journal.1.jsonl")).unwrap(), "somebody's\n");
    }

    /// With the directory goes the lock: nothing that is written there again counts until the next start.
    #[test]
    fn a_deleted_state_directory_is_told_and_nothing_is_said_to_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (_lock, mut journal) = open(&state);
        fs::remove_dir_all(&state).unwrap();
        for made_again in [false, true] {
            if made_again {
                let (_other, _) = open(&state);
            }
            let error = journal.append(&model(), &record(8), now()).unwrap_err();
            assert!(error.contains("restart the engine"), "{error}");
            journal.retry(now());
            assert!(!journal.is_writable());
        }
        assert_eq!(generation(&state), 7, "the other engine's");
    }

    /// What is made at the place of a file that was deleted after a failure begins with no zeros.
    #[test]
    fn after_a_failure_a_deleted_journal_is_whole_again() {
        let folder = tempfile::tempdir().unwrap();
        let (_lock, mut journal) = open(folder.path());
        journal.file = Some(fs::File::open(journal.path()).unwrap());
        journal.append(&model(), &record(8), now()).unwrap_err();
        fs::remove_file(journal.path()).unwrap();
        journal.retry(now());
        assert!(journal.is_writable(), "{:?}", journal.reason());
        assert_eq!(generation(folder.path()), 7);
    }
}
