//! Deadline sockets and the sessions over them.

pub mod deadline;
pub mod postgres;
pub mod resolve;
pub mod stream;
