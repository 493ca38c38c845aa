//! The errors of the public API. There are few kinds, chosen by what the caller does next.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use crate::config::ConfigErrors;

/// The reason why a call of [`Engine`](super::Engine) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The configuration is invalid. Nothing was started or changed.
    #[error("{0}")]
    Config(ConfigErrors),
    /// An argument names something that does not exist or is out of range.
    #[error("{0}")]
    InvalidArgument(String),
    /// The call does not fit the engine's present state (started twice, not running, a failover in progress).
    #[error("{0}")]
    State(String),
    /// The decision core rejected the command. The message says why.
    #[error("{0}")]
    Rejected(String),
    /// The call would wait for the thread it runs on: use [`Engine::request_stop`](super::Engine::request_stop).
    #[error("called from a thread of the engine itself (an event callback or a host check): use request_stop there")]
    Reentrant,
    /// The call did not end in time, and the engine continues with it. Calling again waits again.
    #[error("not over after {0:?}: {1}")]
    Timeout(Duration, String),
    /// Another engine uses the same state directory.
    #[error("another engine{} holds {}: two engines on one service would act against each other; stop one of them; only an engine for other services gets a state_dir of its own",
        .pid.map_or_else(String::new, |pid| format!(" (process {pid})")), .path.display())]
    AlreadyRunning {
        /// The lock file.
        path: PathBuf,
        /// The process ID in the lock file.
        pid: Option<u32>,
    },
    /// The task was never issued, is already answered, or its deadline has passed.
    #[error("task {0} is not open: answered already, cancelled, or past its deadline")]
    UnknownTask(u64),
    /// A bug was detected, and decisions are frozen. Status and stop still work.
    #[error("the engine is faulted, decisions are frozen: {0}")]
    Faulted(String),
    /// The operating system refused something that the engine needs.
    #[error("{what}: {source}")]
    System {
        /// The attempted operation.
        what: String,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

/// What is short on this machine, and where its limit is raised, where the system's own words leave that open.
fn want_of(error: &std::io::Error) -> Option<&'static str> {
    match error.raw_os_error().map(Errno::from_raw_os_error)? {
        Errno::AGAIN | Errno::NOMEM => Some(
            " for want of processes or of memory (let this user have more: ulimit -u, ulimit -v, TasksMax= and MemoryMax= of the unit, or \
             the limits of the container)",
        ),
        Errno::MFILE | Errno::NFILE => {
            Some(" for want of file descriptors (let it have more: ulimit -n, LimitNOFILE= of the unit)")
        }
        _ => None,
    }
}

impl EngineError {
    /// True if the same call may succeed later although nothing was changed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, EngineError::Timeout(..) | EngineError::AlreadyRunning { .. } | EngineError::System { .. })
    }

    #[doc(hidden)]
    pub fn system(what: impl Into<String>, source: impl Into<std::io::Error>) -> EngineError {
        let (mut what, source) = (what.into(), source.into());
        if let Some(want) = want_of(&source) {
            what.push_str(want);
        }
        EngineError::System { what, source }
    }
}
