//! An application behind load balancers: web servers, several HAProxy in front of them, and the engine's configuration for it.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use super::haproxy::{Haproxy, HaproxyOptions};
use super::lab::Lab;
use super::web::WebServer;

/// How a site is to be.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// Web servers; the first one has the traffic.
    pub servers: usize,
    /// Load balancers.
    pub balancers: usize,
    /// More words on each server line of HAProxy.
    pub server_words: String,
    /// All servers but the first are backups, where otherwise they are disabled.
    pub backup: bool,
    /// More lines of the service in the configuration, before its tables.
    pub service: String,
    /// Lines under `[services.trigger]`.
    pub trigger: String,
    /// Lines under `[services.route]`.
    pub route: String,
    /// Lines for each server.
    pub server: String,
    /// Lines for each check.
    pub check: String,
}

impl Default for SiteOptions {
    fn default() -> SiteOptions {
        SiteOptions {
            servers: 2,
            balancers: 2,
            server_words: String::new(),
            backup: false,
            service: String::new(),
            trigger: String::new(),
            route: String::new(),
            server: String::new(),
            check: "interval = \"200ms\"\ntimeout = \"500ms\"".to_owned(),
        }
    }
}

/// One running site.
pub struct Site {
    /// The load balancers, `lb1` and so on.
    pub balancers: Vec<Haproxy>,
    /// The web servers, `app1` and so on.
    pub servers: Vec<WebServer>,
    /// The engine's configuration.
    pub config: PathBuf,
    /// Its state directory.
    pub state: PathBuf,
    /// The folder of it all; the last one to go.
    pub lab: Lab,
}

impl Site {
    /// Starts everything but the engine.
    pub fn start(options: &SiteOptions) -> io::Result<Site> {
        let lab = Lab::new()?;
        let servers: Vec<WebServer> =
            (1..=options.servers).map(|n| WebServer::start(&lab, &format!("app{n}"))).collect::<io::Result<_>>()?;
        let ports: Vec<(&str, u16)> = servers.iter().map(|server| (server.name(), server.port())).collect();
        let balancers: Vec<Haproxy> = (1..=options.balancers)
            .map(|n| {
                let words = options.server_words.clone();
                let backup = options.backup;
                let options = HaproxyOptions { server_words: words, backup, ..HaproxyOptions::web(&format!("lb{n}")) };
                Haproxy::start(&lab, &options, &ports)
            })
            .collect::<io::Result<_>>()?;
        let state = lab.folder("state")?;
        let text = configuration(options, &state, &servers, &balancers);
        let config = lab.write("failover.toml", text, 0o600)?;
        Ok(Site { balancers, servers, config, state, lab })
    }

    /// State and weight of every server on every balancer that answers.
    pub fn wanted(&self) -> Vec<String> {
        let columns = ["status", "weight"].map(|column| self.servers.iter().map(move |server| (server.name(), column)));
        let columns: Vec<(&str, &str)> = columns.into_iter().flatten().collect();
        columns.into_iter().map(|(server, column)| format!("{server} {column} {:?}", self.shown(server, column))).collect()
    }

    /// A column of `show stat` about a server on every balancer.
    pub fn shown(&self, server: &str, column: &str) -> Vec<String> {
        self.balancers.iter().map(|balancer| balancer.stat(server, column).unwrap_or_else(|error| error.to_string())).collect()
    }
}

fn configuration(options: &SiteOptions, state: &std::path::Path, servers: &[WebServer], balancers: &[Haproxy]) -> String {
    let mut text = format!(
        "version = 1\nstate_dir = \"{}\"\n\n[[services]]\nname = \"web\"\nkind = \"application\"\n{}\n\n[services.trigger]\n{}\n",
        state.display(),
        options.service,
        options.trigger
    );
    let verify: Vec<String> = balancers.iter().map(|balancer| format!("\"127.0.0.1:{}\"", balancer.front())).collect();
    let _ = write!(
        text,
        "\n[services.route]\nverify = [{}]\n{}\n\n[services.route.identity]\nheader = \"X-Server\"\n",
        verify.join(", "),
        options.route
    );
    for balancer in balancers {
        let _ = write!(
            text,
            "\n[[services.route.haproxy]]\nname = \"{}\"\nsocket = \"{}\"\nbackend = \"web\"\n",
            balancer.name(),
            balancer.socket().display()
        );
    }
    for (place, server) in servers.iter().enumerate() {
        let role = if place == 0 { "primary" } else { "standby" };
        let _ = write!(
            text,
            "\n[[services.servers]]\nname = \"{}\"\nrole = \"{role}\"\nhost = \"127.0.0.1\"\nport = {}\n{}\n",
            server.name(),
            server.port(),
            options.server
        );
    }
    for server in servers {
        let _ = write!(
            text,
            "\n[[services.checks]]\nname = \"{0}-http\"\nserver = \"{0}\"\nkind = \"http\"\nurl = \"http://127.0.0.1:{1}/\"\n{2}\n",
            server.name(),
            server.port(),
            options.check
        );
    }
    text
}
