//! Deadline sockets and the sessions over them.

pub(crate) mod command;
pub(crate) mod dns;
pub(crate) mod haproxy;
pub(crate) mod http;
mod http_head;
pub(crate) mod postgres;
pub(crate) mod record_set;
pub(crate) mod resolve;
#[cfg(feature = "email")]
pub(crate) mod smtp;
pub(crate) mod socket;
#[cfg(feature = "ssh")]
pub(crate) mod ssh;
pub(crate) mod stream;
