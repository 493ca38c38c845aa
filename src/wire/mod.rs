//! Deadline sockets and the sessions over them.

pub mod command;
pub mod dns;
pub mod haproxy;
pub(crate) mod http;
pub mod postgres;
pub mod record_set;
pub mod resolve;
pub mod socket;
#[cfg(feature = "ssh")]
pub mod ssh;
pub mod stream;
