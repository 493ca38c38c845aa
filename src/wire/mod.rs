//! Deadline sockets and the sessions over them.

pub mod deadline;
pub mod resolve;
#[cfg(feature = "ssh")]
pub mod ssh;
