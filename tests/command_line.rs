//! The command line as it is run, and engines in this process beside it: one program for all of these tests.

#![allow(clippy::too_many_lines, reason = "a table, or one story told from its beginning to its end")]

#[path = "../examples/report/mod.rs"]
mod parts;
#[path = "../examples/demo/report.rs"]
mod report;
#[cfg(feature = "rfc2136")]
#[path = "../examples/demo_app/report.rs"]
mod site_report;
mod support;

#[path = "../src/cli/made.rs"]
mod made;

mod cli;
#[cfg(feature = "rfc2136")]
mod demo_app;
mod demo_report;
mod doctor;
mod embedded;
mod held_stop;
mod metrics;
mod misconfigured;
#[cfg(feature = "rfc2136")]
mod names;
mod replay;
mod resume;
#[cfg(feature = "rfc2136")]
mod rollback;
mod runbook;
mod second_engine;
mod secrets;
mod shortage;
mod survived;
mod topology;
