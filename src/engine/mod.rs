//! The shell: threads, sockets, clocks, files; no opinions.

pub mod clock;
pub mod watcher;
