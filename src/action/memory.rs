//! What an application's route was before a failover changed it, on disk before the first change: an engine that is killed in the
//! middle leaves its successor what to go back to, value by value.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A longer file is none of ours.
const LONGEST: u64 = 4 * 1024 * 1024;

/// State and weight of a server on an instance, by their names.
pub(crate) type RouteBefore = BTreeMap<String, BTreeMap<String, ServerBefore>>;
/// What each name held; `None`: nothing.
pub(crate) type NamesBefore = BTreeMap<String, Option<RecordBefore>>;

/// One server on one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerBefore {
    /// The administrative state, in HAProxy's word.
    pub state: String,
    /// 0 to 256.
    pub weight: u32,
}

/// One record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordBefore {
    /// As a zone file shows them.
    pub values: Vec<String>,
    /// In seconds.
    pub ttl: u32,
}

/// Everything that is remembered of one failover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Its number.
    pub generation: u64,
    /// The load balancers.
    pub route: RouteBefore,
    /// Names that are the only route.
    pub names: NamesBefore,
}

/// The file of one service.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    /// The failover whose values are on disk, or were taken from there.
    known: AtomicU64,
    /// All of it.
    whole: AtomicBool,
}

impl Memory {
    /// The memory of a service in a state directory; nothing is read yet.
    #[must_use]
    pub(crate) fn new(state_dir: &Path, service: &str) -> Memory {
        Memory { path: state_dir.join(format!("before-{service}.json")), known: AtomicU64::new(0), whole: AtomicBool::new(false) }
    }

    /// What is on disk is of this failover.
    #[must_use]
    pub(crate) fn knows(&self, generation: u64) -> bool {
        self.known.load(Ordering::Relaxed) == generation
    }

    /// There is nothing more to be known of this failover.
    #[must_use]
    pub(crate) fn knows_all(&self, generation: u64) -> bool {
        self.knows(generation) && self.whole.load(Ordering::Relaxed)
    }

    /// What an earlier engine left of this failover.
    #[must_use]
    pub(crate) fn recall(&self, generation: u64) -> Option<Found> {
        let mut text = String::new();
        File::open(&self.path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
        let found: Found = serde_json::from_str(&text).ok()?;
        (found.generation == generation).then(|| {
            // What it did not find out is half changed now.
            self.whole.store(true, Ordering::Relaxed);
            self.known.store(generation, Ordering::Relaxed);
            found
        })
    }

    /// The file is whole and synced, or as it was. `whole`: nothing more will be found out.
    ///
    /// # Errors
    /// Why it is not on disk, in one line.
    pub(crate) fn keep(&self, found: &Found, whole: bool) -> Result<(), String> {
        let draft = self.path.with_extension("new");
        let written = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&serde_json::to_vec(found)?)?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)?;
            File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        written().map_err(|error: std::io::Error| {
            // Half of it would only take room, and on a full disk from those who need it.
            let _ = fs::remove_file(&draft);
            format!("{} cannot be written: {error}", self.path.display())
        })?;
        self.whole.store(whole, Ordering::Relaxed);
        self.known.store(found.generation, Ordering::Relaxed);
        Ok(())
    }

    /// No failover was left unfinished: what is there is of the past. A journal that begins anew counts from 1 again.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_kept_of_this_failover_is_recalled() {
        let folder = tempfile::tempdir().unwrap();
        let server = ServerBefore { state: "ready".into(), weight: 70 };
        let record = RecordBefore { values: vec!["192.0.2.1".into()], ttl: 77 };
        let found = Found {
            generation: 3,
            route: BTreeMap::from([("lb1".to_owned(), BTreeMap::from([("app1".to_owned(), server)]))]),
            names: BTreeMap::from([("app.example.test".to_owned(), Some(record)), ("other".to_owned(), None)]),
        };
        let memory = Memory::new(folder.path(), "web");
        memory.keep(&found, false).unwrap();
        assert!(memory.knows(3) && !memory.knows(4) && !memory.knows_all(3));
        let next = Memory::new(folder.path(), "web");
        assert!(!next.knows(3));
        assert_eq!(next.recall(4), None);
        assert_eq!(next.recall(3), Some(found.clone()));
        assert!(next.knows_all(3));
        next.forget();
        assert_eq!(next.recall(3), None);
        fs::write(&memory.path, "{\"generation\":3").unwrap();
        assert_eq!(next.recall(3), None, "half a file is none");
        let nowhere = Memory::new(&folder.path().join("gone"), "web");
        assert!(nowhere.keep(&found, true).unwrap_err().contains("before-web.json cannot be written"));
    }
}
