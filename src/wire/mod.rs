//! Deadline sockets and the sessions over them.

pub mod command;
pub mod deadline;
pub mod haproxy;
pub mod resolve;
#[cfg(feature = "ssh")]
pub mod ssh;
pub mod stream;
