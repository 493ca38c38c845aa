//! Real servers for the tests, the demo and the benchmarks: PostgreSQL, HAProxy, sshd and BIND on free loopback ports, in a
//! temporary folder, as an unprivileged user, ended whatever happens to the program that started them.
//!
//! Shared source, included by path; each program uses its part of it.
#![allow(dead_code, unused_imports, unreachable_pub)]

pub mod app;
pub mod certificate;
pub mod cloud;
pub mod cluster;
pub mod dig;
pub mod engine;
pub mod fake_dns;
pub mod fault;
pub mod haproxy;
pub mod inject;
pub mod judge;
pub mod lab;
pub mod meddler;
pub mod moto;
pub mod named;
pub mod network;
pub mod orphan;
pub mod pair;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod queue;
pub mod receiver;
pub mod recording;
pub mod replication;
pub mod saturation;
pub mod scenario;
pub mod service;
pub mod session;
pub mod site;
pub mod slow;
pub mod sshd;
pub mod trial;
pub mod web;
pub mod writer;

/// The folder of the project, whichever package includes this source.
pub fn root() -> std::path::PathBuf {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().find(|folder| folder.join("contrib/failover-host").exists()).unwrap_or(own).to_path_buf()
}

pub use cloud::Cloud;
pub use cluster::{Cluster, ClusterOptions};
pub use engine::Engine;
pub use fault::Fault;
pub use haproxy::{Haproxy, HaproxyOptions};
pub use lab::{Lab, interrupt, interrupted};
pub use meddler::Meddler;
pub use moto::Moto;
pub use named::{Named, NamedOptions};
pub use pair::{Pair, PairOptions};
pub use pgbouncer::PgBouncer;
pub use postgres::{PgOptions, PgServer, StopMode};
pub use process::Process;
pub use recording::Recording;
pub use scenario::{News, Scenario};
pub use session::{Session, SqlError};
pub use site::{Site, SiteOptions};
pub use sshd::{Sshd, SshdOptions};
pub use trial::{End, Trial};
pub use web::WebServer;
pub use writer::{Writer, WriterOptions};
