//! Room on disk that is kept for the journal: a failover that was begun can be written down to its end on a disk that is full.
//!
//! Where the file system can, blocks are allocated behind the end of the journal, and its records go there. Where it cannot, a file
//! of real bytes lies beside the journal, and gives up as many of them as a record needs that found no place.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// Taken at a time, so that not every record asks for more.
const STRIDE: u64 = 32 * 1024;
/// What a record takes beside its own bytes, in blocks of the file system at most.
const BLOCKS: u64 = 2 * 4096;
/// The unit in which the system counts what a file takes.
const SECTOR: u64 = 512;

/// The room behind one journal.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// The file of real bytes.
    path: PathBuf,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    /// Up to this place in the journal's file, blocks are allocated.
    Allocated(u64),
    /// The file of real bytes is so long.
    Spare(u64),
}

impl Room {
    /// Nothing is kept yet.
    pub(super) fn new(directory: &Path) -> Room {
        Room { path: directory.join("journal.reserve"), way: Way::Allocated(0) }
    }

    /// As on a file system that allocates nothing ahead.
    #[cfg(test)]
    pub(super) fn without_allocation(directory: &Path) -> Room {
        Room { way: Way::Spare(0), ..Room::new(directory) }
    }

    /// The bytes that are kept behind a journal of this length.
    pub(super) fn left(&self, length: u64) -> u64 {
        match self.way {
            Way::Allocated(to) => to.saturating_sub(length),
            Way::Spare(spare) => spare,
        }
    }

    /// Keeps at least so many bytes behind a journal of this length. What is kept already stays kept, also on a full disk.
    ///
    /// # Errors
    /// Why there is less.
    pub(super) fn keep(&mut self, journal: &File, length: u64, least: u64) -> std::io::Result<()> {
        if self.left(length) >= least + STRIDE / 2 {
            return Ok(());
        }
        let all = self.take(journal, length, least + STRIDE);
        if all.is_ok() || self.left(length) >= least { Ok(()) } else { self.take(journal, length, least) }
    }

    fn take(&mut self, journal: &File, length: u64, wanted: u64) -> std::io::Result<()> {
        if let Way::Allocated(_) = self.way {
            match allocate(journal, length, wanted) {
                Ok(true) => {
                    self.way = Way::Allocated(length + wanted);
                    return Ok(());
                }
                Ok(false) => self.way = Way::Spare(std::fs::metadata(&self.path).map_or(0, |found| found.len())),
                Err(error) => return Err(error),
            }
        }
        let Way::Spare(spare) = self.way else { return Ok(()) };
        if spare < wanted {
            fill(&self.path, spare, wanted).inspect_err(|_| {
                // What was added may be half there.
                let kept = OpenOptions::new().write(true).open(&self.path).and_then(|file| file.set_len(spare));
                self.way = Way::Spare(if kept.is_ok() { spare } else { 0 });
            })?;
            self.way = Way::Spare(wanted);
        }
        Ok(())
    }

    /// The journal's file was cut to its length, and what was allocated behind it is gone.
    pub(super) fn was_cut(&mut self) {
        if let Way::Allocated(to) = &mut self.way {
            *to = 0;
        }
    }

    /// A record of so many bytes found no place: gives up room for it. True: it is worth another try.
    pub(super) fn give(&mut self, bytes: u64) -> bool {
        match self.way {
            // What was allocated should have been enough: this file system promises what it does not keep.
            Way::Allocated(_) => {
                self.way = Way::Spare(0);
                false
            }
            Way::Spare(0) => false,
            Way::Spare(spare) => {
                let left = spare.saturating_sub(bytes.next_multiple_of(BLOCKS) + BLOCKS);
                let cut = OpenOptions::new().write(true).open(&self.path).and_then(|file| file.set_len(left));
                self.way = Way::Spare(if cut.is_ok() { left } else { 0 });
                cut.is_ok()
            }
        }
    }
}

/// The disk, or what we may have of it, is full.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// False: this file system does not do that.
fn allocate(journal: &File, length: u64, wanted: u64) -> std::io::Result<bool> {
    match fallocate(journal, FallocateFlags::KEEP_SIZE, length, wanted) {
        Ok(()) => {}
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    // Some say yes and keep nothing.
    Ok(journal.metadata()?.blocks().saturating_mul(SECTOR) >= length + wanted)
}

/// Makes a file longer by bytes that no file system can make smaller.
fn fill(path: &Path, from: u64, to: u64) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_len(from)?;
    file.seek(SeekFrom::Start(from))?;
    let missing = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(missing + 32);
    let mut last = Sha256::digest(from.to_le_bytes());
    while bytes.len() < missing {
        bytes.extend_from_slice(&last);
        last = Sha256::digest(last);
    }
    file.write_all(&bytes[..missing])?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_on_the_disk_and_is_given_up_piece_by_piece() {
        let directory = tempfile::tempdir().unwrap();
        let journal = File::create(directory.path().join("journal")).unwrap();
        let taken = || std::fs::metadata(directory.path().join("journal.reserve")).map_or(0, |found| found.blocks() * SECTOR);
        for mut room in [Room::new(directory.path()), Room::without_allocation(directory.path())] {
            assert_eq!(room.left(0), 0);
            room.keep(&journal, 0, 100_000).unwrap();
            assert_eq!(room.left(0), 100_000 + STRIDE);
            assert!(journal.metadata().unwrap().blocks() * SECTOR + taken() >= room.left(0));
            assert_eq!(journal.metadata().unwrap().len(), 0);
            room.keep(&journal, 0, 100_000).unwrap();
            assert_eq!(room.left(0), 100_000 + STRIDE);
        }
        let mut room = Room::without_allocation(directory.path());
        room.keep(&journal, 0, 50_000).unwrap();
        let before = room.left(0);
        assert!(room.give(100));
        assert_eq!(room.left(0), before - 2 * BLOCKS);
        assert!(taken() <= before - BLOCKS);
        while room.give(20_000) {}
        assert_eq!(room.left(0), 0);
    }

    #[test]
    fn what_was_allocated_is_gone_with_a_cut() {
        let directory = tempfile::tempdir().unwrap();
        let journal = File::create(directory.path().join("journal")).unwrap();
        let mut room = Room::new(directory.path());
        room.keep(&journal, 0, 100_000).unwrap();
        room.was_cut();
        if matches!(room.way, Way::Allocated(_)) {
            assert_eq!(room.left(0), 0);
            room.keep(&journal, 0, 100_000).unwrap();
            assert_eq!(room.left(0), 100_000 + STRIDE);
        }
    }
}
