//! What a configuration may look at outside of its own text: variables and files.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Where variables and files come from: the process, or a test.
pub trait Surroundings {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// A regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be opened or read, is no regular file, or is longer.
    fn file(&self, path: &Path, limit: u64) -> io::Result<FileContent>;
}

/// A file that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// The process: its environment and its files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path, limit: u64) -> io::Result<FileContent> {
        // Without O_NONBLOCK the opening of a FIFO waits for a writer that may never come.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits();
        let file = OpenOptions::new().read(true).custom_flags(nonblock.cast_signed()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other(format!("it is longer than {limit} bytes")));
        }
        Ok(FileContent { bytes, mode: metadata.mode() & 0o7777 })
    }
}
