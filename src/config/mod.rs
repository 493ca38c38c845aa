//! Text to a validated, immutable configuration.
//!
//! TOML and JSON have the same keys. A [`Config`] exists only if everything in it was found to be right; otherwise
//! [`ConfigErrors`] names every mistake at once, each with its path, value, reason and remedy.

mod address;
mod changes;
mod check;
mod convert;
mod dependencies;
mod duration;
mod files;
mod headers;
mod load;
mod model;
mod node;
mod notify;
pub(crate) mod pgpass;
mod preset;
mod problem;
mod reference;
mod render;
mod resolve;
mod rule;
mod scalar;
mod schema;
mod secret_source;
mod setting;
mod size;
mod surroundings;
mod syntax;
mod unknown;
mod url;
mod validate;
mod word;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

pub use address::HostPort;
pub use check::{Check, Probe};
pub use headers::Headers;
pub use model::{
    Breaker, Connection, Data, Dns, DnsProvider, DnsType, EngineSettings, ExecProbe, Fence, Haproxy, HealthCheckOthers,
    HostProbe, HttpMethod, HttpProbe, Pgbouncer, PostgresCheck, PostgresProbe, PreCheck, Preset, Promote, PromoteMethod, Root,
    Route, RouteCommand, ScriptedProbe, Server, Service, Ssh, SslMode, Switchover, TcpProbe, Timing, Trigger, TsigAlgorithm,
};
pub use notify::{
    Delivery, Email, EmailTls, Notify, NotifyCommand, NotifyFormat, NotifyKind, NotifySeverity, NotifyTarget, Webhook,
};
pub use problem::{ConfigErrors, Problem};
pub use secret_source::{SecretSource, SourcedSecret};
pub use size::Size;
pub use surroundings::{FileContent, Process, Surroundings};
pub use word::{OnImpaired, Workers};

use failover_core::event::Severity;
use load::Load;
use node::Node;
use problem::Pointer;
use rule::Rule;
use setting::{Layer, Reader, Setting, Slot};
use word::FEW;

/// A valid configuration: every value is in range, every default is filled in, every secret is found. Read its values as fields:
/// `config.services[0].trigger.cooldown`.
#[derive(Clone, PartialEq)]
pub struct Config {
    root: Root,
    warnings: Vec<Problem>,
}

impl fmt::Debug for Config {
    /// All values except the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl Deref for Config {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.root
    }
}

impl Config {
    /// Reads TOML. Secrets come from the environment and the files of this process.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse_toml(text: &str) -> Result<Config, ConfigErrors> {
        Config::parse_toml_in(text, &Process)
    }

    /// Reads JSON. Secrets come from the environment and the files of this process.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse_json(text: &str) -> Result<Config, ConfigErrors> {
        Config::parse_json_in(text, &Process)
    }

    /// Like [`parse_toml`](Config::parse_toml), but the caller gives the source of secrets.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse_toml_in(text: &str, surroundings: &dyn Surroundings) -> Result<Config, ConfigErrors> {
        Config::build(syntax::toml(text), surroundings, None)
    }

    /// Like [`parse_json`](Config::parse_json), but the caller gives the source of secrets.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse_json_in(text: &str, surroundings: &dyn Surroundings) -> Result<Config, ConfigErrors> {
        Config::build(syntax::json(text), surroundings, None)
    }

    /// Reads a file. The name decides for `.toml` and `.json`; any other file is JSON if it begins with `{`.
    ///
    /// # Errors
    /// The file cannot be read, or it has mistakes (all are reported at once).
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        Config::load_in(path, &Process)
    }

    /// Like [`load`](Config::load), but the caller gives the source of files and secrets.
    ///
    /// # Errors
    /// The file cannot be read, or it has mistakes (all are reported at once).
    pub fn load_in(path: &Path, surroundings: &dyn Surroundings) -> Result<Config, ConfigErrors> {
        let name = path.display().to_string();
        let named = |mut errors: ConfigErrors| {
            errors.file = Some(name.clone());
            errors
        };
        let content = surroundings.file(path, syntax::LONGEST as u64).map_err(|error| {
            named(one_error(
                format!("{name}: the configuration cannot be read: {error}"),
                "give the path of a file that the engine may read",
            ))
        })?;
        let text = String::from_utf8(content.bytes).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
            let mut errors = one_error("the configuration is no UTF-8 text".to_owned(), "save it as UTF-8");
            errors.errors[0].line = Some(line);
            named(errors)
        })?;
        let braced = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
        let is_json = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => true,
            Some("toml") if braced => {
                return Err(named(one_error("this is JSON in a file named .toml".to_owned(), "name the file .json")));
            }
            Some("toml") => false,
            _ => braced,
        };
        let tree = if is_json { syntax::json(&text) } else { syntax::toml(&text) };
        Config::build(tree, surroundings, Some(content.mode)).map_err(named)
    }

    fn build(
        tree: Result<Node, Vec<Problem>>,
        surroundings: &dyn Surroundings,
        mode: Option<u32>,
    ) -> Result<Config, ConfigErrors> {
        let tree = match tree {
            Ok(tree) => tree,
            Err(errors) => return Err(ConfigErrors { file: None, errors, warnings: Vec::new() }),
        };
        let mut reader = Reader::new(surroundings, &tree, preset::layer(&tree));
        let at = Pointer::root();
        let layer = Layer { node: Cow::Borrowed(&tree), at: at.clone(), written: true };
        let slot = Slot { at, layers: vec![layer], home: tree.place, secret: false, required: true };
        let mut root = Root::read(slot, Rule::Any, &mut reader);
        resolve::resolve(&mut root, &mut reader);
        validate::validate(&root, &mut reader);
        files::look(&root, &mut reader);
        if let Some(mode) = mode {
            validate::literals_in_file(mode, &mut reader);
        }
        let Reader { mut errors, mut warnings, .. } = reader;
        for problems in [&mut errors, &mut warnings] {
            problems.sort_by_key(|problem| (problem.line, problem.column));
        }
        if errors.is_empty() { Ok(Config { root, warnings }) } else { Err(ConfigErrors { file: None, errors, warnings }) }
    }

    /// This configuration with only one of its services, and the warnings about that service and about the whole. `None` if there
    /// is no such service.
    #[must_use]
    pub fn only(mut self, service: &str) -> Option<Config> {
        let place = self.root.services.iter().position(|one| one.name == service)?;
        self.root.services = vec![self.root.services.swap_remove(place)];
        let own = format!("/services/{place}/");
        self.warnings.retain(|warning| !warning.path.starts_with("/services/") || warning.path.starts_with(&own));
        Some(self)
    }

    /// The differences in `new`, one line for each key: `services.orders.trigger.cooldown: "5m" -> "1m"`. Services, servers and
    /// other named items are compared by name. A changed secret is reported without its value. The list is empty if nothing
    /// differs.
    #[must_use]
    pub fn changes(&self, new: &Config) -> Vec<String> {
        let mut lines = changes::between(&setting::write_table(&self.root), &setting::write_table(&new.root));
        for service in &self.root.services {
            let same_name = new.root.services.iter().find(|other| other.name == service.name);
            if let Some(other) = same_name.filter(|other| *other != service) {
                let shown = |service: &Service| setting::write_table(service);
                if shown(service) == shown(other) {
                    lines.push(format!("services.{}: a secret", service.name));
                }
            }
        }
        for receiver in &self.root.notify {
            let same_name = new.root.notify.iter().find(|other| other.name == receiver.name);
            let shown = |receiver: &Notify| setting::write_table(receiver);
            if same_name.is_some_and(|other| other != receiver && shown(other) == shown(receiver)) {
                lines.push(format!("notify.{}: a secret", receiver.name));
            }
        }
        lines
    }

    /// Services that lose their route by the new configuration: a failover would no longer move their traffic.
    pub(crate) fn without_route_in(&self, new: &Config) -> Vec<String> {
        let is_moved = |service: &Service| !service.route.is_empty() || !service.dns.is_empty();
        let is_left = |service: &&Service| {
            let same_name = new.root.services.iter().find(|other| other.name == service.name);
            is_moved(service) && same_name.is_some_and(|other| !is_moved(other))
        };
        self.root.services.iter().filter(is_left).map(|service| service.name.clone()).collect()
    }

    /// Warnings: what looks wrong but does not stop the engine.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The effective configuration as TOML: every default is filled in, secrets are masked or shown by their source. Apart from
    /// masked secrets, the text can be parsed again and gives the same configuration.
    #[must_use]
    pub fn effective_toml(&self) -> String {
        render::toml(&self.effective())
    }

    /// Like [`effective_toml`](Config::effective_toml), as JSON.
    #[must_use]
    pub fn effective_json(&self) -> String {
        render::json(&self.effective())
    }

    fn effective(&self) -> node::Node {
        setting::write_table(&self.root).without_secrets_in_urls()
    }

    /// The JSON Schema of the configuration (draft 2020-12), as text. Committed as `docs/failover.schema.json`.
    #[must_use]
    pub fn json_schema() -> String {
        render::json(&schema::schema())
    }

    /// The reference of the configuration as Markdown. Committed as `docs/CONFIG.md`.
    #[must_use]
    pub fn reference() -> String {
        reference::markdown()
    }

    /// The number of threads for checks on this host.
    pub(crate) fn worker_threads(&self) -> usize {
        self.root.engine.workers.count(&Load::of(&self.root), load::room())
    }

    /// A warning about this number: if `auto` gives more than usual, or less than the checks need.
    pub(crate) fn about_workers(&self, there_are: usize) -> Option<(Severity, String)> {
        let load = Load::of(&self.root);
        let (checks, hanging, busy) = (load.checks, load.hanging, load.busy.ceil());
        let needs = format!("{checks} checks keep {busy:.0} threads busy while {hanging} of the servers do not answer");
        let wanted = self.root.engine.workers.count(&load, load::MOST_WORKERS);
        if wanted > there_are {
            let remedy = "set engine.workers and restart the engine, or use longer intervals or shorter timeouts";
            return Some((Severity::Warning, format!("{needs}, and there are {there_are}: {remedy}")));
        }
        let many = self.root.engine.workers == Workers::Auto && there_are > FEW;
        many.then(|| (Severity::Info, format!("there are {there_are} threads for checks (engine.workers = \"auto\"): {needs}")))
    }

    /// The UNIX socket on which the daemon takes commands.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.root.control_socket.clone().unwrap_or_else(|| self.root.state_dir.join("control.sock"))
    }
}

fn one_error(reason: String, remedy: &str) -> ConfigErrors {
    let problem =
        Problem { path: Pointer::root().text(), line: None, column: None, value: None, reason, remedy: remedy.to_owned() };
    ConfigErrors { file: None, errors: vec![problem], warnings: Vec::new() }
}
