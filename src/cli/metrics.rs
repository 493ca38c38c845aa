//! `failover metrics`: the numbers of a running daemon.

use failover::{metrics_details, metrics_text};
use serde_json::json;

use super::arguments;
use super::client::Client;
use super::exit::{Code, Trouble};
use super::status;
use super::terminal::{Terminal, print, print_json};

pub fn run(arguments: &arguments::Metrics, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let status = status::ask(&mut Client::connect(&arguments.daemon)?, arguments.service.as_deref())?;
    if json {
        let services: Vec<_> = status
            .services
            .iter()
            .map(|service| json!({ "name": service.name, "metrics": service.metrics, "checks": checks(service) }))
            .collect();
        print_json(&json!({ "services": services, "breakers": status.breakers }), terminal)?;
    } else {
        print(&if arguments.details { metrics_details(&status) } else { metrics_text(&status) })?;
    }
    Ok(Code::Ok)
}

fn checks(service: &failover::ServiceStatus) -> Vec<serde_json::Value> {
    let of_servers = service.servers.iter().flat_map(|server| server.checks.iter().map(move |check| (server, check)));
    of_servers.map(|(server, check)| json!({ "server": server.name, "check": check.name, "answers": check.answers })).collect()
}
