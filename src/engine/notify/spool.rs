//! The queue of a receiver on disk: `notify/NAME.jsonl` in the state directory. Changes are appended and synced before anybody acts on
//! them; now and then the file is replaced by a shorter one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::engine::checked::{line_of, read_line};

use super::outbox::{Outbox, Record};

/// Changes in the file beside those that the state needs, before it is replaced.
const STALE: usize = 2_000;
/// The longest file that is read.
const LARGEST: u64 = 64 << 20;

/// The file of one receiver.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    file: Option<File>,
    /// Bytes that are whole.
    whole: u64,
    records: usize,
}

/// What an earlier engine left.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) outbox: Outbox,
    /// Lines that are damaged. The last line of a file that was being written is none: nobody acted on it.
    pub(super) damaged: usize,
}

impl Spool {
    /// Reads what is there, and opens it for more.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub(super) fn open(state_dir: &Path, name: &str) -> std::io::Result<(Spool, Left)> {
        let folder = state_dir.join("notify");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let path = folder.join(format!("{name}.jsonl"));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(LARGEST).read_to_end(&mut bytes)?;
        let (left, whole, records) = read(&bytes);
        if whole < bytes.len() as u64 {
            file.set_len(whole)?;
        }
        file.seek(SeekFrom::Start(whole))?;
        File::open(&folder)?.sync_all()?;
        Ok((Spool { path, file: Some(file), whole, records }, left))
    }

    /// Writes changes that `outbox` has taken already. After an error the next call writes everything anew.
    ///
    /// # Errors
    /// What the system says; the state in memory counts then.
    pub(super) fn write(&mut self, records: &[Record], outbox: &Outbox) -> std::io::Result<()> {
        let needed = outbox.records().len();
        if self.file.is_none() || self.records + records.len() > needed + STALE {
            return self.replace(outbox);
        }
        let outcome = self.append(records);
        if outcome.is_err() {
            self.file = None;
        }
        outcome
    }

    fn append(&mut self, records: &[Record]) -> std::io::Result<()> {
        let mut text = String::new();
        for record in records {
            text.push_str(&line_of(record)?);
        }
        let Some(file) = &mut self.file else { return Err(ErrorKind::NotFound.into()) };
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        self.whole += text.len() as u64;
        self.records += records.len();
        Ok(())
    }

    /// A file with the state alone takes the place of this one: whoever ends in between leaves the one or the other.
    fn replace(&mut self, outbox: &Outbox) -> std::io::Result<()> {
        self.file = None;
        let draft = self.path.with_extension("new");
        let records = outbox.records();
        let mut text = String::new();
        for record in &records {
            text.push_str(&line_of(record)?);
        }
        let write = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &self.path)?;
            if let Some(folder) = self.path.parent() {
                File::open(folder)?.sync_all()?;
            }
            Ok(file)
        };
        let file = write().inspect_err(|_| drop(std::fs::remove_file(&draft)))?;
        self.file = Some(file);
        self.whole = text.len() as u64;
        self.records = records.len();
        Ok(())
    }
}

/// What is in a file, how many bytes of it are whole, and the number of its changes.
fn read(bytes: &[u8]) -> (Left, u64, usize) {
    let mut left = Left::default();
    let (mut whole, mut place, mut records) = (0, 0, 0);
    while let Some(end) = bytes[place..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[place..place + end];
        place += end + 1;
        match read_line::<Record>(line) {
            Ok(record) => {
                left.outbox.apply(&record);
                records += 1;
                whole = place;
            }
            // The last one may be torn in a way that leaves its end: not counted then.
            Err(_) if place == bytes.len() => {}
            Err(_) => left.damaged += 1,
        }
    }
    (left, whole as u64, records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::notify::outbox::Gone;
    use crate::engine::notify::outbox::tests::{delivery, event};
    use failover_core::event::{EventKind, Severity};

    /// What a failover changes, told to one receiver: three lines, two of which are delivered.
    fn history() -> Vec<Record> {
        let delivery = delivery("");
        let mut outbox = Outbox::default();
        let mut all = Vec::new();
        let started = event(EventKind::FailoverStarted, Severity::Warning, "web", &[]);
        let state = event(EventKind::StateChanged, Severity::Info, "web", &[("to", "failed_over".into())]);
        for (number, event) in [&started, &state, &started].into_iter().enumerate() {
            let (records, _) = outbox.offer(&delivery, "one", event, &format!("id{number}"), number as u64);
            for record in &records {
                outbox.apply(record);
            }
            all.extend(records);
        }
        all.push(Record::Gone(Gone { ids: vec!["id0".to_owned(), "id1-over-0".to_owned()] }));
        all
    }

    fn after(records: &[Record]) -> Outbox {
        let mut outbox = Outbox::default();
        for record in records {
            outbox.apply(record);
        }
        outbox
    }

    fn open(state: &Path) -> (Spool, Left) {
        Spool::open(state, "one").unwrap()
    }

    #[test]
    fn an_engine_that_is_killed_at_any_byte_leaves_every_change_before_it() {
        let state = tempfile::tempdir().unwrap();
        let history = history();
        assert_eq!(history.len(), 4);
        let mut outbox = Outbox::default();
        let (mut spool, _) = open(state.path());
        let mut ends = vec![0];
        for record in &history {
            outbox.apply(record);
            spool.write(std::slice::from_ref(record), &outbox).unwrap();
            ends.push(spool.whole);
        }
        let path = spool.path.clone();
        drop(spool);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut spool, left) = open(state.path());
            let written = ends.iter().rposition(|end| *end <= cut as u64).unwrap();
            assert_eq!((&left.outbox, left.damaged), (&after(&history[..written]), 0), "cut at {cut}");
            // What comes next is not lost behind what was torn.
            let mut outbox = left.outbox;
            let more = &history[3];
            outbox.apply(more);
            spool.write(std::slice::from_ref(more), &outbox).unwrap();
            assert_eq!(open(state.path()).1.outbox, outbox, "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_line_costs_itself_and_is_counted() {
        let state = tempfile::tempdir().unwrap();
        let history = history();
        let (mut spool, _) = open(state.path());
        spool.write(&history, &after(&history)).unwrap();
        let path = spool.path.clone();
        drop(spool);
        let mut bytes = std::fs::read(&path).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 60;
        bytes[second] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let left = open(state.path()).1;
        let others = [&history[..1], &history[2..]].concat();
        assert_eq!((left.outbox, left.damaged), (after(&others), 1));
    }

    #[test]
    fn the_file_is_replaced_before_it_grows_and_a_draft_that_was_left_counts_for_nothing() {
        let state = tempfile::tempdir().unwrap();
        let delivery = delivery("");
        let (mut spool, _) = open(state.path());
        let mut outbox = Outbox::default();
        let started = event(EventKind::FailoverStarted, Severity::Warning, "web", &[]);
        let mut largest = 0;
        for number in 0..STALE as u64 * 2 {
            let (mut records, _) = outbox.offer(&delivery, "one", &started, &format!("id{number}"), number * 4_000_000);
            records.push(Record::Gone(Gone { ids: vec![format!("id{number}")] }));
            for record in &records {
                outbox.apply(record);
            }
            // Without the disk's own time.
            if number % 100 == 0 || number > STALE as u64 {
                spool.write(&records, &outbox).unwrap();
            }
            largest = largest.max(spool.records);
        }
        assert!(largest <= STALE + 3, "{largest}");
        std::fs::write(spool.path.with_extension("new"), b"half a li").unwrap();
        assert_eq!(open(state.path()).1.outbox, outbox);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error_and_all_of_it_is_written_once_it_does() {
        let state = tempfile::tempdir().unwrap();
        let history = history();
        let (mut spool, _) = open(state.path());
        spool.write(&history[..1], &after(&history[..1])).unwrap();
        // A descriptor that cannot be written, as of a disk that is full.
        spool.file = Some(File::open(&spool.path).unwrap());
        assert!(spool.write(&history[1..2], &after(&history[..2])).is_err());
        spool.write(&history[2..], &after(&history)).unwrap();
        assert_eq!(open(state.path()).1.outbox, after(&history));
    }
}
