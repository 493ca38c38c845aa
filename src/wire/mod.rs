//! Deadline sockets and the sessions over them.

pub mod deadline;
pub mod postgres;
pub mod resolve;
#[cfg(feature = "ssh")]
pub mod ssh;
pub mod stream;
