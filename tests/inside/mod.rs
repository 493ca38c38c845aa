//! The library's insides, each against the real thing or against a server that misbehaves as no real one does: tests of the
//! library's own, because nobody else sees what they call.

#[path = "../support/mod.rs"]
mod support;

mod command;
mod dns;
mod haproxy_lines;
mod haproxy_route;
#[cfg(feature = "ssh")]
mod host_remedies;
mod hostile_logins;
mod hostile_settings;
mod http_check;
mod pgbouncer;
mod postgres_actions;
#[cfg(feature = "ssh")]
mod rebuild;
mod rejoin;
mod rejoin_recipe;
#[cfg(feature = "ssh")]
mod remedies;
mod repoint;
#[cfg(feature = "rfc2136")]
mod rfc2136;
#[cfg(feature = "route53")]
mod route53;
#[cfg(feature = "ssh")]
mod salvage;
#[cfg(feature = "ssh")]
mod ssh_host;
mod survey_remedies;
mod sync_set;
mod verify_remedies;
mod wire_postgres;

/// Runs one test of this program again in a process of its own: the command, without the rest of its arguments.
fn again(program: &mut std::process::Command, module: &str, test: &str) {
    let name = format!("{}::{test}", module.split_once("::").expect("a module of the crate").1);
    program.args([&*name, "--exact", "--test-threads=1", "--nocapture"]);
}
