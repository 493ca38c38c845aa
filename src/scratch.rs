//! Folders for what the parsers read from files when they are given rubbish.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// A new folder, to be removed by who asked for it.
pub(crate) fn folder() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("failover-fuzz-{}-{number}", std::process::id()));
    let _ = std::fs::create_dir_all(&folder);
    folder
}
