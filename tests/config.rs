//! The configuration as its writers meet it: what is accepted, what every mistake is called, what is shown.

#![allow(clippy::needless_raw_string_hashes, reason = "UPDATE_EXPECT=1 writes them")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use expect_test::{Expect, expect, expect_file};
use failover::{Config, ConfigErrors, FileContent, OnImpaired, Probe, Problem, Process, SecretSource, Surroundings, Workers};
use failover_core::model::{CheckKind, OnLoss, OnSalvage, Policy};
use failover_core::sample::FenceLevel;
use failover_core::time::Span;
use proptest::prelude::*;

/// Variables and files of a test; examples are read from the disk.
#[derive(Default)]
struct World {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, (String, u32)>,
}

impl World {
    fn new() -> World {
        World::default().variable("HOME", "/home/op")
    }

    fn variable(mut self, name: &str, value: &str) -> World {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn with(mut self, path: &str, text: &str, mode: u32) -> World {
        self.files.insert(PathBuf::from(path), (text.to_owned(), mode));
        self
    }
}

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn file(&self, path: &Path, limit: u64) -> io::Result<FileContent> {
        match self.files.get(path) {
            Some((text, mode)) => Ok(FileContent { bytes: text.clone().into_bytes(), mode: *mode }),
            None if path.starts_with(env!("CARGO_MANIFEST_DIR")) => Process.file(path, limit),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}

/// A world in which every secret of the examples is found.
fn examples_world() -> World {
    World::new()
        .variable("FAILOVER_PGPASSWORD", "from-env")
        .variable("FAILOVER_KEY_PASSPHRASE", "from-env")
        .variable("SHOP_HEALTH_TOKEN", "Bearer from-env")
        .with("/home/op/.pgpass", "*:*:*:*:from-pgpass\n", 0o600)
        .with("/etc/failover/orders.password", "from-file\n", 0o600)
        .with("/etc/failover/pgbouncer.password", "from-file\n", 0o600)
        .with("/etc/failover/id_ed25519", "a key\n", 0o600)
        .with("/etc/failover/tsig.secret", "c2VjcmV0\n", 0o600)
        .with("/etc/failover/known_hosts", "db1 ssh-ed25519 AAAA\n", 0o644)
        .with("/etc/failover/ca.pem", "a certificate\n", 0o644)
}

/// Two servers and nothing wrong, except what `more` adds to the service.
fn pair(more: &str) -> String {
    format!(
        "version = 1\n[[services]]\nname = \"orders\"\nfence.command = [\"/bin/off\"]\n{more}\n\
         [[services.servers]]\nname = \"db1\"\nrole = \"primary\"\nhost = \"10.0.0.1\"\n\
         [[services.servers]]\nname = \"db2\"\nhost = \"10.0.0.2\"\n"
    )
}

fn list(errors: &[Problem], warnings: &[Problem]) -> String {
    let mut out = String::new();
    for (word, problems) in [("error", errors), ("warning", warnings)] {
        for problem in problems {
            writeln!(out, "{word}: {problem}").unwrap();
        }
    }
    out
}

/// Everything said about a text.
fn said_in(text: &str, world: &World) -> String {
    match Config::parse_toml_in(text, world) {
        Ok(config) => list(&[], config.warnings()),
        Err(ConfigErrors { errors, warnings, .. }) => list(&errors, &warnings),
    }
}

#[track_caller]
fn says(text: &str, expected: &Expect) {
    expected.assert_eq(&said_in(text, &World::new()));
}

fn good(text: &str) -> Config {
    Config::parse_toml_in(text, &World::new()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_pair_needs_only_names_and_addresses() {
    says(&pair(""), &expect![[""]]);
}

#[test]
fn defaults_are_the_settled_ones() {
    let config = good(&pair(""));
    let seconds = Duration::from_secs;
    let millis = Duration::from_millis;
    let service = &config.services[0];
    assert_eq!(config.state_dir, Path::new("/var/lib/failover"));
    assert_eq!(config.control_socket(), Path::new("/var/lib/failover/control.sock"));
    assert_eq!(config.engine.workers, Workers::Auto);
    let timing = &service.servers[1].check.timing;
    assert_eq!((timing.interval, timing.fast_interval, timing.timeout), (seconds(1), millis(25), millis(1500)));
    assert_eq!((timing.failure_threshold, timing.success_threshold), (3, 2));
    let trigger = &service.trigger;
    assert_eq!((trigger.failure_threshold, trigger.failure_window, trigger.policy), (3, seconds(60), Policy::Count));
    assert_eq!((trigger.cooldown, trigger.require_confirmation), (seconds(300), false));
    assert_eq!((trigger.confirm_timeout, trigger.failover_timeout), (seconds(300), seconds(120)));
    assert_eq!((trigger.hang_after, trigger.ping_interval), (millis(3400), millis(250)));
    assert_eq!((trigger.restart_grace, trigger.on_impaired), (seconds(10), OnImpaired::Never));
    assert_eq!(service.promote.timeout, seconds(60));
    assert_eq!((service.data.max_lag_bytes.bytes(), service.data.on_loss), (1_048_576, OnLoss::Refuse));
    assert_eq!((service.fence.require, service.fence.timeout), (FenceLevel::ProvenStopped, seconds(10)));
}

#[test]
fn the_preset_gives_the_contracts_figures() {
    let config = good(&format!("preset = \"original\"\n{}", pair("[services.check_defaults]\ntimeout = \"4s\"\n")));
    let timing = &config.services[0].servers[0].check.timing;
    assert_eq!((timing.interval, timing.timeout), (Duration::from_secs(10), Duration::from_secs(4)));
    assert_eq!(config.services[0].trigger.hang_after, Duration::from_secs(30));
    assert_eq!(config.services[0].trigger.cooldown, Duration::from_secs(300));
}

#[test]
fn what_is_nearer_wins_key_by_key() {
    let text = "version = 1
        [[services]]
        name = 'orders'
        connection = { user = 'watch', database = 'app', password = 'service-wide' }
        ssh = { keys = ['/k'], port = 2200, user = 'pg' }
        check_defaults = { interval = '2s', timeout = '900ms' }
        [[services.servers]]
        name = 'db1'
        role = 'primary'
        host = 'db1'
        data_dir = '/data'
        connection = { user = 'other' }
        ssh = { port = 22 }
        check = { timeout = '800ms', query = 'SELECT 2' }
        [[services.servers]]
        name = 'db2'
        host = 'db2'
        ssh = false
        [[services.checks]]
        name = 'port'
        server = 'db2'
        kind = 'tcp'
        interval = '3s'";
    let config = good(text);
    let service = &config.services[0];
    let (db1, db2) = (&service.servers[0], &service.servers[1]);
    assert_eq!((db1.connection.user.as_str(), db1.connection.database.as_str()), ("other", "app"));
    assert_eq!(db1.connection.password.as_ref().unwrap().secret.expose(), "service-wide");
    assert_eq!(db2.connection.user, "watch");
    let ssh = db1.ssh.as_ref().unwrap();
    assert_eq!((ssh.port, ssh.user.as_str(), ssh.host.as_deref()), (22, "pg", Some("db1")));
    assert!(db2.ssh.is_none());
    let checks = service.all_checks();
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["db1/postgres", "db2/postgres", "port"]);
    let millis = |index: usize| (checks[index].timing.interval.as_millis(), checks[index].timing.timeout.as_millis());
    assert_eq!([millis(0), millis(1), millis(2)], [(2000, 800), (2000, 900), (3000, 900)]);
    assert!(matches!(&checks[0].probe, Probe::Postgres(probe) if probe.query == "SELECT 2"));
    assert!(matches!(&checks[2].probe, Probe::Tcp(probe) if probe.host.as_deref() == Some("db2") && probe.port == Some(5432)));

    let model = config.model();
    let checks = &model.services[0].checks;
    assert_eq!(checks.iter().map(|check| check.server).collect::<Vec<_>>(), [0, 1, 1]);
    assert_eq!(checks[2].kind, CheckKind::Tcp);
    assert_eq!(checks[2].interval, Span::from_millis(3000));
    let servers: Vec<bool> = model.services[0].servers.iter().map(|server| server.ssh).collect();
    assert_eq!(servers, [true, false]);
}

#[test]
fn every_mistake_is_named_at_once() {
    let text = r#"
version = 2
preset = "orginal"
state_dir = "var"
colour = "red"
[engine]
workers = 0
[[services]]
name = "-orders"
kind = "database"
cooldown = "5m"
[services.check_defaults]
interval = 1
timeout = "1 parsec"
[services.trigger]
cooldwon = "300s"
failure_threshold = 0
failure_window = "60"
policy = { quorum = 0 }
on_impaired = "sometimes"
require_confirmation = "yes"
[services.data]
max_lag_bytes = "1 furlong"
[services.promote]
command = ["promote"]
[services.fence]
require = 5
command = []
[services.route]
verify = ["nowhere"]
haproxy = 1
[[services.servers]]
role = "master"
host = "db1:5432"
port = 70000
data_dir = "data"
[[services.servers]]
name = "db2"
host = "10.0.0.2"
connection = 5
"#;
    says(
        text,
        &expect![[r#"
            error: /version (line 2, column 1) = 2: this number is out of range; write 1
            error: /preset (line 3, column 1) = "orginal": this must be one of "original"; did you mean "original"?
            error: /state_dir (line 4, column 1) = "var": this is no absolute path; write a path that starts with '/' or '~/'
            error: /colour (line 5, column 1): this key is unknown; remove it, or use one of: version, preset, state_dir, control_socket, engine, notify, services
            error: /engine/workers (line 7, column 1) = 0: this number is out of range; write a number from 1 to 1024
            error: /services/0/name (line 9, column 1) = "-orders": this is no valid name; use up to 63 letters, digits, '.', '_' and '-', and begin with a letter or digit
            error: /services/0/kind (line 10, column 1) = "database": this must be one of "postgres", "application"; write one of them
            error: /services/0/cooldown (line 11, column 1): this key is unknown here; it belongs into services.trigger
            error: /services/0/check_defaults/interval (line 13, column 1) = 1: a duration needs a unit; write a unit, such as "1s" for seconds or "1ms" for milliseconds
            error: /services/0/check_defaults/timeout (line 14, column 1) = "1 parsec": this is no duration; write a duration such as "1s", "250ms" or "1m30s"
            error: /services/0/trigger/cooldwon (line 16, column 1): this key is unknown; did you mean "cooldown"?
            error: /services/0/trigger/failure_threshold (line 17, column 1) = 0: this number is out of range; write a number from 1 to 1000
            error: /services/0/trigger/failure_window (line 18, column 1) = "60": a duration needs a unit; write a unit, such as "60s" for seconds or "60ms" for milliseconds
            error: /services/0/trigger/policy/quorum (line 19, column 12) = 0: this number is out of range; write a number from 1 to 1000
            error: /services/0/trigger/on_impaired (line 20, column 1) = "sometimes": this is no duration; write a duration such as "1s", "250ms" or "1m30s"
            error: /services/0/trigger/require_confirmation (line 21, column 1) = "yes": this must be true or false; write true or false, without quotes
            error: /services/0/data/max_lag_bytes (line 23, column 1) = "1 furlong": this is no size; write a size such as "1MiB" or "64kB"
            error: /services/0/promote/command/0 (line 25, column 12) = "promote": a command must be an absolute path; write the whole path, such as "/usr/bin/true"; there is no shell and no search path
            error: /services/0/fence/require (line 27, column 1) = 5: this number is out of range; write a number from 0 to 4
            error: /services/0/fence/command (line 28, column 1) = []: this list is empty; write the program and its arguments
            error: /services/0/route/verify/0 (line 30, column 11) = "nowhere": this is no address of the form host:port; write "HOST:PORT", or "[IPv6]:PORT"
            error: /services/0/route/haproxy (line 31, column 1) = 1: this must be a list; write it in brackets: [ ... ]
            error: /services/0/servers/0/name (line 32, column 1): this is missing and has no default; add it
            error: /services/0/servers/0/role (line 33, column 1) = "master": this must be one of "primary", "standby"; write one of them
            error: /services/0/servers/0/host (line 34, column 1) = "db1:5432": the port has its own key; write host = "db1" and port = 5432
            error: /services/0/servers/0/port (line 35, column 1) = 70000: this number is out of range; write a number from 1 to 65535
            error: /services/0/servers/0/data_dir (line 36, column 1) = "data": this is no absolute path; write a path that starts with '/'
            error: /services/0/servers/1/connection (line 40, column 1) = 5: this must be a table; write a table with keys such as user, password, database
            warning: /services/0/promote/command (line 25, column 1): this command is not used; write method = "command", or remove it
        "#]],
    );
}

#[test]
fn a_service_of_postgres_is_one_primary_and_its_standbys() {
    let servers = |text: &str| format!("version = 1\n[[services]]\nname = \"s\"\nfence.command = [\"/bin/off\"]\n{text}");
    let server = |name: &str, role: &str, more: &str| {
        format!("[[services.servers]]\nname = \"{name}\"\nhost = \"{name}\"\nrole = \"{role}\"\n{more}\n")
    };
    let of = |parts: &[String]| servers(&parts.concat());
    says(
        &of(&[server("a", "primary", "")]),
        &expect![[r#"
        error: /services/0/servers (line 5, column 12): there is no standby; add a server with role = "standby"
    "#]],
    );
    let on_one_host = |name: &str, role: &str, port: u16| {
        server(name, role, &format!("port = {port}")).replace(&format!("host = \"{name}\""), "host = \"h\"")
    };
    says(
        &of(&[
            on_one_host("a", "primary", 5432),
            on_one_host("b", "standby", 5433),
            "[services.ssh]\nkeys = [\"/k\"]\nwrapper = true\n".to_owned(),
        ]),
        &expect![[r#"
            error: /services/0/ssh/wrapper (line 17, column 1) = true: server "a" is on the same host, and the forced command of one SSH key is pinned to one data directory; give each its own key (servers.ssh.keys) with its own --data-dir in authorized_keys; or wrapper = false, and data_dir for each
            warning: /services/0/ssh (line 15, column 11) = a table: the known_hosts file /home/op/.ssh/known_hosts cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
            warning: /services/0/ssh/keys (line 16, column 1): the SSH key /k cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
        "#]],
    );
    says(
        &of(&[server("a", "standby", ""), server("b", "standby", "")]),
        &expect![[r#"
        error: /services/0/servers (line 5, column 12): no server has the role of the primary; give one server role = "primary"
    "#]],
    );
    says(
        &of(&[server("a", "primary", ""), server("b", "primary", "")]),
        &expect![[r#"
        error: /services/0/servers/1/role (line 13, column 1) = "primary": server "a" is the primary already; leave one server role = "primary"
    "#]],
    );
    says(
        &of(&[server("a", "primary", ""), server("b", "standby", "candidate = false")]),
        &expect![[r#"
        warning: /services/0/servers (line 5, column 12): no standby may be promoted; give one standby candidate = true
    "#]],
    );
    says(
        &of(&[server("a", "primary", ""), server("a", "standby", "")]),
        &expect![[r#"
            error: /services/0/servers/1/name (line 11, column 1) = "a": another server is called "a" (/services/0/servers/0); choose another name
            error: /services/0/servers/1/host (line 12, column 1) = "a": server "a" has the same host and port; write the address of the other server; two on one host differ by their port
        "#]],
    );
    says(
        &of(&[server("a", "primary", "replication_name = \"x\""), server("b", "standby", "replication_name = \"x\"")]),
        &expect![[r#"
            error: /services/0/servers/1/replication_name (line 14, column 1) = "x": server "a" has the same replication name; give each standby its own application_name
        "#]],
    );
    says(
        &servers("servers = []"),
        &expect![[r#"
        error: /services/0/servers (line 5, column 1) = []: this list is empty; write at least one item
    "#]],
    );
    says(
        "version = 1\nservices = []",
        &expect![[r#"
        error: /services (line 2, column 1) = []: this list is empty; write at least one item
    "#]],
    );
    says(
        "[services]\nname = \"orders\"",
        &expect![[r#"
            error: /version (line 1, column 1): this is missing and has no default; add version = 1
            error: /services (line 1, column 2) = a table: this must be a list of tables; write its header in double brackets, once for each: [[services]]
        "#]],
    );
    says(
        "",
        &expect![[r#"
            error: /version (line 1, column 1): this is missing and has no default; add version = 1
            error: /services (line 1, column 1): this is missing and has no default; add it
        "#]],
    );
}

#[test]
fn names_are_unique_and_references_lead_somewhere() {
    let text = pair(
        r#"
[[services.checks]]
name = "web"
server = "bd1"
kind = "tcp"
[[services.checks]]
name = "web"
server = "elsewhere"
kind = "tcp"
[[services.pre_checks]]
name = "p"
command = ["/bin/true"]
[[services.pre_checks]]
name = "p"
command = ["/bin/true"]
[[services.route.haproxy]]
name = "lb"
socket = "/run/haproxy.sock"
backend = "b"
servers = { db1 = "x", db2 = "x", db3 = "y" }
[[services.route.haproxy]]
name = "lb"
socket = "/run/haproxy.sock"
backend = "b"
"#,
    );
    says(
        &text,
        &expect![[r#"
            error: /services/0/checks/0/server (line 8, column 1) = "bd1": the service has no server "bd1"; did you mean "db1"?
            error: /services/0/checks/1/name (line 11, column 1) = "web": another check is called "web" (/services/0/checks/0); choose another name
            error: /services/0/checks/1/server (line 12, column 1) = "elsewhere": the service has no server "elsewhere"; use one of: db1, db2
            error: /services/0/pre_checks/1/name (line 18, column 1) = "p": another pre-check is called "p" (/services/0/pre_checks/0); choose another name
            error: /services/0/route/haproxy/0/servers (line 24, column 1): "x" in HAProxy already stands for our server "db1"; write the name of this server in the backend
            error: /services/0/route/haproxy/0/servers/db3 (line 24, column 35): the service has no server "db3"; did you mean "db1"?
            error: /services/0/route/haproxy/1 (line 25, column 1): instance "lb" is the same backend of the same process; remove one of them, or correct its socket
            error: /services/0/route/haproxy/1/name (line 26, column 1) = "lb": another HAProxy instance is called "lb" (/services/0/route/haproxy/0); choose another name
            warning: /services/0/route (line 20, column 12): without an address of the route nobody can verify that the traffic arrives; add route.verify = ["HOST:PORT"]
        "#]],
    );
    let twice = format!("{}{}", pair(""), pair("").replace("version = 1", ""));
    says(
        &twice,
        &expect![[r#"
        error: /services/1/name (line 15, column 1) = "orders": another service is called "orders" (/services/0); choose another name
    "#]],
    );
}

#[test]
fn checks_have_the_keys_of_their_kind() {
    let check = |text: &str| pair(&format!("[[services.checks]]\nname = \"c\"\nserver = \"db1\"\n{text}"));
    says(
        &check("kind = \"tcp\"\nurl = \"http://x/\""),
        &expect![[r#"
        error: /services/0/checks/0/url (line 9, column 1): a check of this kind has no such key; it belongs to kind "http": remove it
    "#]],
    );
    says(
        &check("kind = \"htpp\"\nurl = \"http://x/\""),
        &expect![[r#"
        error: /services/0/checks/0/kind (line 8, column 1) = "htpp": this must be one of "postgres", "tcp", "http", "exec", "host", "scripted"; did you mean "http"?
    "#]],
    );
    says(
        &check("url = \"http://x/\""),
        &expect![[r#"
        error: /services/0/checks/0/kind (line 5, column 1): this is missing and has no default; add it
    "#]],
    );
    says(
        &check("kind = \"http\""),
        &expect![[r#"
        error: /services/0/checks/0/url (line 5, column 1): this is missing and has no default; add it
    "#]],
    );
    says(
        &check("kind = \"http\"\nurl = \"ftp://x/\""),
        &expect![[r#"
        error: /services/0/checks/0/url (line 9, column 1) = "ftp://x/": this is no http or https URL; write http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH
    "#]],
    );
    says(
        &check("kind = \"http\"\nurl = \"http://me:geheim@x/\""),
        &expect![[r#"
        error: /services/0/checks/0/url (line 9, column 1) = ********: a URL may hold no credentials: it is logged and shown; write them as headers = { Authorization = { env = "NAME" } }
    "#]],
    );
    says(
        &check("kind = \"http\"\nurl = \"http://x:0/\""),
        &expect![[r#"
        error: /services/0/checks/0/url (line 9, column 1) = "http://x:0/": the port of the URL is not from 1 to 65535; write http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH
    "#]],
    );
    says(
        &check("kind = \"http\"\nurl = \"http:///path\""),
        &expect![[r#"
        error: /services/0/checks/0/url (line 9, column 1) = "http:///path": the URL has no valid host; write http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH
    "#]],
    );
    says(
        &check("kind = \"http\"\nurl = \"http://[::1]:80/p?q=1\"\nexpect_status = [99]\nmethod = \"get\""),
        &expect![[r#"
            error: /services/0/checks/0/expect_status/0 (line 10, column 18) = 99: this number is out of range; write a number from 100 to 599
            error: /services/0/checks/0/method (line 11, column 1) = "get": this must be one of "GET", "HEAD", "POST", "OPTIONS"; did you mean "GET"?
        "#]],
    );
    says(
        &check("kind = \"http\"\nurl = \"http://x/\"\nheaders = { \"a b\" = \"c\", Cookie = 5 }"),
        &expect![[r#"
            error: /services/0/checks/0/headers (line 10, column 1) = ********: one of these is no name of a header; use letters, digits and '-'
            error: /services/0/checks/0/headers/Cookie (line 10, column 26) = ********: this is no secret and no single place of one; write { env = "NAME" }, { file = "/path" }, { pgpass = true } or the text itself
        "#]],
    );
    says(
        &check("kind = \"exec\"\ncommand = [\"true\"]"),
        &expect![[r#"
        error: /services/0/checks/0/command/0 (line 9, column 12) = "true": a command must be an absolute path; write the whole path, such as "/usr/bin/true"; there is no shell and no search path
    "#]],
    );
    says(
        &check("kind = \"exec\"\ncommand = \"/bin/true -x\""),
        &expect![[r#"
            error: /services/0/checks/0/command (line 9, column 1) = "/bin/true -x": this must be a list; write the program and each argument as an item: ["/usr/bin/program", "argument"]
        "#]],
    );
    says(
        &check("kind = \"exec\"\ncommand = []"),
        &expect![[r#"
        error: /services/0/checks/0/command (line 9, column 1) = []: this list is empty; write the program and its arguments
    "#]],
    );
    says(
        &check("kind = \"scripted\"\nanswers = []"),
        &expect![[r#"
        error: /services/0/checks/0/answers (line 9, column 1) = []: this list is empty; write at least one item
    "#]],
    );
    for (host, told) in [
        ("http://db1:5432/x", "write host = \\\"db1\\\""),
        ("postgres://me:geheim@db1", "write host = \\\"db1\\\""),
        (" db1", "write host = \\\"db1\\\""),
        ("db1..", "empty label"),
        (".db1", "empty label"),
        ("a..b", "empty label"),
        ("10.0.0", "no IPv4 address"),
        ("10.0.0.300", "no IPv4 address"),
    ] {
        let errors =
            Config::parse_toml_in(&check(&format!("kind = \"tcp\"\nhost = \"{host}\"")), &World::new()).unwrap_err().to_string();
        assert!(errors.contains(&told.replace("\\\"", "\"")) && !errors.contains("geheim"), "{host}: {errors}");
    }
    for host in ["db1.", "db1.example.com.", "[::1]", "fe80::1%eth0", "10.0.0.1", "1"] {
        let text = check(&format!("kind = \"tcp\"\nhost = \"{host}\""));
        assert!(Config::parse_toml_in(&text, &World::new()).is_ok(), "{host}");
    }
    says(
        &check("kind = \"tcp\"\nhost = \"a b\""),
        &expect![[r#"
        error: /services/0/checks/0/host (line 9, column 1) = "a b": this is no host name or address; write a name, an IPv4 or IPv6 address, or the folder of a UNIX socket
    "#]],
    );
    says(
        &check("kind = \"tcp\"\ntimeout = \"1s\""),
        &expect![[r#"
        warning: /services/0/checks/0/timeout (line 9, column 1) = "1s": with a timeout of exactly 1 s every connection whose first packet is lost counts as failed: that is when it is sent again; write "1.5s" or "900ms"
    "#]],
    );
}

#[test]
fn a_salvage_that_is_required_and_a_loss_that_is_accepted_contradict_each_other() {
    says(
        &pair("[services.data]\nsalvage = \"require\"\non_loss = \"proceed\""),
        &expect![[r#"
        error: /services/0/data/salvage (line 6, column 1) = "require": on_loss = "proceed" promotes with any loss, and salvage = "require" with none; write salvage = "auto", or on_loss = "refuse"
    "#]],
    );
    let config = good(&pair("[services.data]\nsalvage = \"require\"\nsalvage_timeout = \"700ms\""));
    let data = &config.services[0].data;
    assert_eq!((data.salvage, data.salvage_timeout), (OnSalvage::Require, Duration::from_millis(700)));
}

#[test]
fn times_fit_together() {
    let trigger = |text: &str| pair(&format!("[services.trigger]\n{text}"));
    says(
        &pair("check_defaults = { timeout = \"5s\" }"),
        &expect![[r#"
        error: /services/0/check_defaults/timeout (line 5, column 20) = "5s": timeout (5s) is not shorter than hang_after (3.4s); shorten the timeout or lengthen trigger.hang_after, so that several probes fall into it
    "#]],
    );
    says(
        &trigger("hang_after = \"1.2s\""),
        &expect![[r#"
        error: /services/0/trigger/hang_after (line 6, column 1) = "1.2s": timeout (1.5s) is not shorter than hang_after (1.2s); shorten the timeout or lengthen trigger.hang_after, so that several probes fall into it
    "#]],
    );
    says(
        &trigger("ping_interval = \"900ms\""),
        &expect![[r#"
        error: /services/0/trigger/ping_interval (line 6, column 1) = "900ms": ping_interval (900ms) is not shorter than a quarter of hang_after (3.4s); shorten it: silence must be told from one lost answer
    "#]],
    );
    says(
        &trigger("failover_timeout = \"70s\""),
        &expect![[r#"
        error: /services/0/trigger/failover_timeout (line 6, column 1) = "70s": fence.timeout (10s) and promote.timeout (1m) together leave nothing of failover_timeout (1m10s); lengthen failover_timeout, or shorten the others
    "#]],
    );
    says(
        &trigger("failure_window = \"4s\""),
        &expect![[r#"
        warning: /services/0/trigger/failure_window (line 6, column 1) = "4s": 3 failures by timeout (1.5s each) do not fit into failure_window (4s); lengthen the window, or lower the threshold
    "#]],
    );
    says(
        &pair("check_defaults = { interval = \"1s\", fast_interval = \"1s\" }"),
        &expect![[r#"
        error: /services/0/check_defaults/fast_interval (line 5, column 37) = "1s": fast_interval (1s) is not shorter than interval (1s); make it shorter
    "#]],
    );
    says(
        &pair("fence.command_timeout = \"11s\""),
        &expect![[r#"
        error: /services/0/fence/command_timeout (line 5, column 7) = "11s": command_timeout (11s) is longer than the timeout of the whole fence (10s); shorten it, or lengthen fence.timeout
    "#]],
    );
    says(
        &trigger("cooldown = \"8d\""),
        &expect![[r#"
        error: /services/0/trigger/cooldown (line 6, column 1) = "8d": this duration is out of range; write a duration from 0s to 7d
    "#]],
    );
    says(
        &trigger("policy = { quorum = 2 }"),
        &expect![[r#"
        error: /services/0/trigger/policy (line 6, column 1) = a table: server "db1" has only 1 check, so this quorum is never reached; lower the quorum, or add checks
    "#]],
    );
    says(
        &trigger("policy = { quorum = 1, of = 2 }"),
        &expect![[r#"
        error: /services/0/trigger/policy (line 6, column 1) = a table: this is no policy; write "count", "all" or { quorum = NUMBER }
    "#]],
    );
}

/// In TOML a key belongs to the last header above it.
#[test]
fn a_key_below_the_wrong_header_is_sent_back_up() {
    says(
        &pair(
            "[services.connection]\nuser = \"failover\"\nkind = \"postgres\"\n[[services.route.haproxy]]\nname = \"lb1\"\nsocket = \"/s\"\nbackend = \"b\"\nverify = []\n",
        ),
        &expect![[r#"
            error: /services/0/connection/kind (line 7, column 1): this key is unknown here; it belongs to [[services]]: move it above the [services.connection] header
            error: /services/0/route/haproxy/0/verify (line 12, column 1): this key is unknown here; it belongs to [services.route]: move it above the [[services.route.haproxy]] header
            warning: /services/0/route (line 8, column 12): without an address of the route nobody can verify that the traffic arrives; add route.verify = ["HOST:PORT"]
        "#]],
    );
    says(
        "version = 1\n[engine]\nworkers = 2\nstate_dir = \"/var/lib/failover\"\n",
        &expect![[r#"
        error: /services (line 1, column 1): this is missing and has no default; add it
        error: /engine/state_dir (line 4, column 1): this key is unknown here; it belongs to the top of the file: move it above the [engine] header
    "#]],
    );
    let json = r#"{ "version": 1, "services": [ { "name": "a", "connection": { "kind": "postgres" } } ] }"#;
    let errors = Config::parse_json_in(json, &World::new()).unwrap_err().errors;
    let unknown = errors.iter().find(|error| error.path == "/services/0/connection/kind").unwrap();
    assert_eq!(unknown.remedy, "it belongs to [[services]]: move it there");
}

#[test]
fn files_that_are_not_here_are_warnings() {
    says(
        &pair(
            "connection = { sslmode = \"verify-full\", sslrootcert = \"/keys/ca.pem\" }\n\
             ssh = { keys = [\"/keys/engine\", \"/etc/failover/id_ed25519\"], known_hosts = \"/keys/known_hosts\" }\n\
             check_defaults = { interval = \"2s\" }",
        ),
        &expect![[r#"
            error: /services/0/servers/0/data_dir (line 8, column 1): the data directory is needed where SSH is used without the wrapper: the fence finds the server's processes by it; add data_dir, or wrapper = true, or ssh = false
            error: /services/0/servers/1/data_dir (line 12, column 1): the data directory is needed where SSH is used without the wrapper: the fence finds the server's processes by it; add data_dir, or wrapper = true, or ssh = false
            warning: /services/0/connection/sslrootcert (line 5, column 41) = "/keys/ca.pem": the root certificates /keys/ca.pem cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
            warning: /services/0/ssh/keys (line 6, column 9): the SSH key /keys/engine cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
            warning: /services/0/ssh/keys (line 6, column 9): the SSH key /etc/failover/id_ed25519 cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
            warning: /services/0/ssh/known_hosts (line 6, column 62) = "/keys/known_hosts": the known_hosts file /keys/known_hosts cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
        "#]],
    );
}

#[test]
fn ssh_promotion_fence_and_route_have_what_they_need() {
    says(
        &pair("ssh = {}"),
        &expect![[r#"
            error: /services/0/ssh (line 5, column 1) = a table: there is no way to log in over SSH; add keys = ["/path"], password, or agent = true
            error: /services/0/servers/0/data_dir (line 6, column 1): the data directory is needed where SSH is used without the wrapper: the fence finds the server's processes by it; add data_dir, or wrapper = true, or ssh = false
            error: /services/0/servers/1/data_dir (line 10, column 1): the data directory is needed where SSH is used without the wrapper: the fence finds the server's processes by it; add data_dir, or wrapper = true, or ssh = false
            warning: /services/0/ssh (line 5, column 1) = a table: the known_hosts file /home/op/.ssh/known_hosts cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
        "#]],
    );
    says(
        &pair("ssh = { agent = true, known_hosts = \"known\", user = \"a b\" }"),
        &expect![[r#"
            error: /services/0/ssh/known_hosts (line 5, column 23) = "known": this is no absolute path; write a path that starts with '/' or '~/'
            error: /services/0/ssh/user (line 5, column 46) = "a b": this has a space; remove it
            error: /services/0/servers/0/data_dir (line 6, column 1): the data directory is needed where SSH is used without the wrapper: the fence finds the server's processes by it; add data_dir, or wrapper = true, or ssh = false
            error: /services/0/servers/1/data_dir (line 10, column 1): the data directory is needed where SSH is used without the wrapper: the fence finds the server's processes by it; add data_dir, or wrapper = true, or ssh = false
        "#]],
    );
    // With the wrapper it is pinned on the host.
    says(
        &pair("ssh = { agent = true, wrapper = true }"),
        &expect![[r#"
        warning: /services/0/ssh (line 5, column 1) = a table: the known_hosts file /home/op/.ssh/known_hosts cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
    "#]],
    );
    says(
        &pair("promote.method = \"pg_ctl\""),
        &expect![[r#"
        error: /services/0/promote/method (line 5, column 9) = "pg_ctl": pg_ctl runs over SSH, and server "db1" has none; add ssh, or write method = "pg_promote"
        error: /services/0/promote/method (line 5, column 9) = "pg_ctl": pg_ctl runs over SSH, and server "db2" has none; add ssh, or write method = "pg_promote"
    "#]],
    );
    says(
        &pair("promote.method = \"command\""),
        &expect![[r#"
        error: /services/0/promote/method (line 5, column 9) = "command": there is no command to promote with; add promote.command
    "#]],
    );
    says(
        &pair("promote.command = [\"/bin/promote\"]"),
        &expect![[r#"
        warning: /services/0/promote/command (line 5, column 9): this command is not used; write method = "command", or remove it
    "#]],
    );
    says(
        &pair("route.exclusive = true"),
        &expect![[r#"
        error: /services/0/route/exclusive (line 5, column 7) = true: no route is managed, so it cannot be the only one; add route.haproxy, or remove exclusive
    "#]],
    );
    says(
        &pair("fence.require = 0"),
        &expect![[r#"
        warning: /services/0/fence/require (line 5, column 7) = 0: without a fence the old primary may go on taking writes beside the new one; write require = 3
    "#]],
    );
    says(
        &pair("").replace("fence.command = [\"/bin/off\"]", ""),
        &expect![[r#"
            warning: /services/0/fence/require (line 2, column 1) = 3 (default): level 3 cannot be proven of server "db1": it has no ssh, and there is no command; add ssh or fence.command; until then, or without a step `fence` of the program that embeds the engine, its death ends in manual_intervention
            warning: /services/0/fence/require (line 2, column 1) = 3 (default): level 3 cannot be proven of server "db2": it has no ssh, and there is no command; add ssh or fence.command; until then, or without a step `fence` of the program that embeds the engine, its death ends in manual_intervention
        "#]],
    );
    says(
        &pair("").replace("fence.command = [\"/bin/off\"]", "fence.require = 4"),
        &expect![[r#"
            warning: /services/0/fence/require (line 4, column 7) = 4: level 4 cannot be reached without a command; add fence.command; until then, or without a step `fence` of the program that embeds the engine, every death ends in manual_intervention
        "#]],
    );
    says(
        &pair("").replace("fence.command = [\"/bin/off\"]", "fence.require = 1"),
        &expect![[r#"
        warning: /services/0/fence/require (line 4, column 7) = 1: level 1 cannot be reached: there is no managed route; add route.haproxy or fence.command
    "#]],
    );
    let haproxy = |text: &str| pair(&format!("route.verify = [\"lb:5000\"]\n[[services.route.haproxy]]\nname = \"lb\"\n{text}"));
    says(
        &haproxy("backend = \"b\""),
        &expect![[r#"
            error: /services/0/route/haproxy/0 (line 6, column 1): nothing says where its admin socket is; add socket = "/path" or address = "host:port"
        "#]],
    );
    says(
        &haproxy("backend = \"b\"\nsocket = \"/s\"\naddress = \"h:1\""),
        &expect![[r#"
        error: /services/0/route/haproxy/0/address (line 10, column 1) = "h:1": an instance has one admin socket; remove socket or address
    "#]],
    );
    says(
        &haproxy("backend = \"b;shutdown\"\nsocket = \"/s\"\nweight = 257"),
        &expect![[r#"
            error: /services/0/route/haproxy/0/backend (line 8, column 1) = "b;shutdown": this is no name that HAProxy knows; use letters, digits, '-', '_', '.' and ':'
            error: /services/0/route/haproxy/0/weight (line 10, column 1) = 257: this number is out of range; write a number from 1 to 256
        "#]],
    );
    says(
        &haproxy("backend = \"b\"\nsocket = \"/s\"\nservers = { db1 = \"a/b\" }"),
        &expect![[r#"
        error: /services/0/route/haproxy/0/servers/db1 (line 10, column 13) = "a/b": this is no name that HAProxy knows; use letters, digits, '-', '_', '.' and ':'
    "#]],
    );
    says(
        &haproxy("backend = \"b\\nc\"\naddress = \"[::1]:70000\""),
        &expect![[r#"
            error: /services/0/route/haproxy/0/backend (line 8, column 1) = "b\nc": this has a control character; remove it
            error: /services/0/route/haproxy/0/address (line 9, column 1) = "[::1]:70000": this is no address of the form host:port; write "HOST:PORT", or "[IPv6]:PORT"
        "#]],
    );
    says(
        &haproxy(&format!("backend = \"b\"\nsocket = \"/{}\"", "s".repeat(120))),
        &expect![[r#"
            error: /services/0/route/haproxy/0/socket (line 9, column 1) = "/sssssssssssssssssssssssssssssssssssssssssssssssssssssssssss...": the path of the UNIX socket would be 121 bytes long, and 107 is the most there can be; write a shorter path
        "#]],
    );
    says(
        &pair("connection = { sslcert = \"/c\" }"),
        &expect![[r#"
            error: /services/0/connection/sslcert (line 5, column 16) = "/c": a certificate needs its key; add sslkey
            warning: /services/0/connection/sslcert (line 5, column 16) = "/c": the client certificate /c cannot be read here: entity not found; put the file there, readable by the engine's user, on the machine where the engine runs
        "#]],
    );
}

#[test]
fn an_application_without_a_route_is_only_watched() {
    let text = r#"version = 1
[[services]]
name = "shop"
kind = "application"
fence.require = 3
[[services.servers]]
name = "web1"
host = "web1"
[[services.servers]]
name = "web2"
host = "/run/web2"
[[services.checks]]
name = "port"
server = "web2"
kind = "tcp"
"#;
    says(
        text,
        &expect![[r#"
            error: /services/0/servers/0 (line 6, column 1): nothing watches server "web1": an application has no implicit check; add a check of it
            error: /services/0/checks/0/host (line 12, column 1): the server's host is a folder of a UNIX socket, so this check needs a host of its own; add host
            error: /services/0/checks/0/port (line 12, column 1): nothing says which port to connect to; add port
            warning: /services/0/fence (line 5, column 1): this has no effect: an application holds no data, so nothing is promoted, lost or fenced; remove it
        "#]],
    );
}

/// An application with a route: `route` are lines of its tables.
fn application(route: &str) -> String {
    let mut text = format!("version = 1\n[[services]]\nname = \"shop\"\nkind = \"application\"\n{route}\n");
    for (at, role) in [(1, "primary"), (10, "standby")] {
        let _ = write!(text, "[[services.servers]]\nname = \"web{at}\"\nrole = \"{role}\"\nhost = \"web{at}\"\n");
    }
    for at in [1, 10] {
        let _ = write!(
            text,
            "[[services.checks]]\nname = \"c{at}\"\nserver = \"web{at}\"\nkind = \"http\"\nurl = \"http://web{at}/\"\n"
        );
    }
    text
}

#[test]
fn an_application_with_a_route_has_to_say_how_its_servers_show_who_they_are() {
    let haproxy = "[[services.route.haproxy]]\nname = \"lb1\"\nsocket = \"/run/lb1\"\nbackend = \"web\"\n";
    says(
        &application(&format!("route.verify = [\"lb1:80\"]\n{haproxy}")),
        &expect![[r#"
        error: /services/0/route/verify (line 5, column 7): nothing says how an answer shows which server gave it, and that somebody answers proves nothing; add [services.route.identity] with path, and header where it is not the body
    "#]],
    );
    says(
        &application(&format!("route.verify = [\"lb1:80\"]\nroute.identity = {{ path = \"health\" }}\n{haproxy}")),
        &expect![[r#"
        error: /services/0/route/identity (line 6, column 7): what shows "web1" ("web1") would also be found in an answer of "web10" ("web10"); give each server a value that is no part of another's
        error: /services/0/route/identity/path (line 6, column 20) = "health": a path begins with /; write "/health", for example
    "#]],
    );
    says(
        &application(&format!(
            "route.verify = [\"lb1:80\"]\nroute.exclusive = true\nroute.identity = {{ header = \"X-Server\", values = {{ web3 = \"x\" }} }}\n{haproxy}"
        )),
        &expect![[r#"
            error: /services/0/route/identity/values/web3 (line 7, column 52): the service has no server "web3"; did you mean "web1"?
            warning: /services/0/route/exclusive (line 6, column 7) = true: this has no effect: an application is not fenced; remove it
        "#]],
    );
    says(
        &application(haproxy),
        &expect![[r#"
        warning: /services/0/route (line 5, column 12): without an address of the route nobody can verify that the traffic arrives; add route.verify = ["HOST:PORT"]
    "#]],
    );
    let two = application(&format!("route.verify_command = [\"/bin/true\"]\n{haproxy}"))
        .replace("role = \"standby\"", "role = \"primary\"");
    says(
        &two,
        &expect![[r#"
        error: /services/0/servers/1/role (line 17, column 1) = "primary": server "web1" is the primary already; leave one server role = "primary"
    "#]],
    );
}

#[test]
fn a_pooler_stands_before_databases_and_is_no_fence() {
    let pooler =
        |more: &str| format!("[[services.route.pgbouncer]]\nname = \"pool\"\nfile = \"/etc/pgbouncer/db.ini\"\n{more}\n");
    let pair = "version = 1\n[[services]]\nname = \"orders\"\nroute.verify = [\"10.0.0.9:6432\"]\nfence.require = 0\n\
                [[services.servers]]\nname = \"db1\"\nrole = \"primary\"\nhost = \"10.0.0.1\"\n\
                [[services.servers]]\nname = \"db2\"\nhost = \"10.0.0.2\"\n";
    let mut heard = String::new();
    for text in [
        format!("{pair}{}", pooler("databases = [\"*\"]")),
        format!("{pair}{}", pooler("databases = []")),
        format!("{pair}{}", pooler("databases = [\"orders\"]\nservers = { db3 = \"10.0.0.3:5432\" }")),
        format!("{}{}", pair.replace("fence.require = 0", "route.exclusive = true"), pooler("databases = [\"orders\"]")),
        format!("{}{}", pair.replace("require = 0", "require = 1"), pooler("databases = [\"orders\"]")),
        format!("{pair}{0}{0}", pooler("databases = [\"orders\"]")),
        application(&pooler("databases = [\"orders\"]")),
    ] {
        heard.push_str(&Config::parse_toml(&text).expect_err(&text).to_string());
        heard.push('\n');
    }
    expect![[r#"
        configuration: 1 error
          /services/0/route/pgbouncer/0/databases (line 16, column 1): this is no database of its own in PgBouncer; name each database, with a line of its own in the file
        configuration: 1 error
          /services/0/route/pgbouncer/0/databases (line 16, column 1) = []: this list is empty; write at least one item
        configuration: 1 error
          /services/0/route/pgbouncer/0/servers/db3 (line 17, column 13): the service has no server "db3"; did you mean "db1"?
        configuration: 2 errors
          /services/0/route/exclusive (line 5, column 7) = true: no route is managed, so it cannot be the only one; add route.haproxy, or remove exclusive
          /services/0/route/exclusive (line 5, column 7) = true: a PgBouncer pauses and proves nothing, so it cannot be a part of the only way in; remove exclusive, or the PgBouncer
        configuration: 1 error
          /services/0/fence/require (line 5, column 7) = 1: level 1 is proven by HAProxy alone: a PgBouncer pauses and proves nothing; write require = 3, or remove the PgBouncer
        configuration: 2 errors
          /services/0/route/pgbouncer/1 (line 17, column 1): "pool" moves the same database of the same PgBouncer; remove one of them, or correct its port
          /services/0/route/pgbouncer/1/name (line 18, column 1) = "pool": another PgBouncer is called "pool" (/services/0/route/pgbouncer/0); choose another name
        configuration: 1 error
          /services/0/route/pgbouncer (line 5, column 18): a PgBouncer stands before databases; remove it, or write kind = "postgres"
    "#]].assert_eq(&heard);
    let config = Config::parse_toml(&format!("{pair}{}", pooler("databases = [\"orders\"]"))).unwrap();
    let servers: Vec<String> = config.services[0].route.pgbouncer[0].servers.values().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.1:5432", "10.0.0.2:5432"]);
}

#[test]
fn who_follows_whom_is_looked_at() {
    let haproxy = "route.haproxy = [{ name = \"lb1\", socket = \"/run/lb1\", backend = \"web\" }]\n\
                   route.verify = [\"lb1:80\"]\nroute.identity = { header = \"X\" }\n";
    let second = |name: &str, follows: &str| {
        application(&format!("{haproxy}{follows}")).replacen("\"shop\"", name, 1).replace("version = 1\n", "")
    };
    let two = |one: &str, other: &str| {
        format!("{}{}", application(&format!("{haproxy}{one}")), second("\"site\"", other).replace("/run/lb1", "/run/lb2"))
    };
    let command = "command = [\"/bin/true\"]";
    let mut heard = String::new();
    says(&two("", &format!("follows = {{ service = \"shop\", {command}, with = {{ web1 = \"web10\" }} }}\n")), &expect![""]);
    for follows in [
        "follows = { service = \"shop\" }\n".to_owned(),
        format!("follows = {{ service = \"shops\", {command} }}\n"),
        format!("follows = {{ service = \"site\", {command} }}\n"),
        "follows = { service = \"shop\", with = { web2 = \"web1\", web1 = \"app1\" } }\n".to_owned(),
        format!("follows = {{ service = \"shop\", {command}, hold = \"2h\" }}\n"),
    ] {
        let text = two("", &follows);
        let said = Config::parse_toml(&text).expect_err(&follows).to_string();
        heard.push_str(&said);
        heard.push('\n');
    }
    let circle = two(
        &format!("follows = {{ service = \"site\", {command} }}\n"),
        &format!("follows = {{ service = \"shop\", {command} }}\n"),
    );
    heard.push_str(&Config::parse_toml(&circle).expect_err("a circle").to_string());
    expect![[r#"
        configuration: 1 error
          /services/1/follows (line 33, column 1) = a table: it follows, and nothing is done then; add command = ["PROGRAM"], or with = { THEIRS = "OURS" }
        configuration: 1 error
          /services/1/follows/service (line 33, column 13) = "shops": there is no service "shops"; did you mean "shop"?
        configuration: 1 error
          /services/1/follows/service (line 33, column 13) = "site": services follow each other in a circle: site -> site; let the one that the others depend on follow nobody
        configuration: 2 errors
          /services/1/follows/with/web2 (line 33, column 40): service "shop" has no server "web2"; did you mean "web1"?
          /services/1/follows/with/web1 (line 33, column 55): service "site" has no server "app1"; use one of: web1, web10
        configuration: 1 error
          /services/1/follows/hold (line 33, column 56) = "2h": this duration is out of range; write a duration from 0s to 1h
        configuration: 1 error
          /services/0/follows/service (line 8, column 13) = "site": services follow each other in a circle: shop -> site -> shop; let the one that the others depend on follow nobody"#]].assert_eq(&heard);
}

#[test]
fn a_name_has_what_its_provider_needs_and_a_value_for_every_server() {
    let name = |more: &str| format!("[[services.dns]]\nname = \"app.example.com\"\n{more}\n");
    let zone = "provider = \"route53\"\nzone_id = \"Z1\"\nvalues = { web1 = \"10.0.0.1\", web10 = \"10.0.0.10\" }";
    says(
        &application(&format!("{}{}", name("provider = \"rfc2136\""), name("provider = \"route53\""))),
        &expect![[r#"
        error: /services/0/dns/0/server (line 5, column 1): this provider needs server; add server
        error: /services/0/dns/0/zone (line 5, column 1): this provider needs zone; add zone
        error: /services/0/dns/0/key_name (line 5, column 1): this provider needs key_name; add key_name
        error: /services/0/dns/0/key_secret (line 5, column 1): this provider needs key_secret; add key_secret
        error: /services/0/dns/0/values (line 5, column 1): for server "web1" it would hold "web1", which this type of record cannot; add values = { web1 = "…" }
        error: /services/0/dns/0/values (line 5, column 1): for server "web10" it would hold "web10", which this type of record cannot; add values = { web10 = "…" }
        error: /services/0/dns/1/zone_id (line 8, column 1): this provider needs zone_id; add zone_id
        error: /services/0/dns/1/values (line 8, column 1): for server "web1" it would hold "web1", which this type of record cannot; add values = { web1 = "…" }
        error: /services/0/dns/1/values (line 8, column 1): for server "web10" it would hold "web10", which this type of record cannot; add values = { web10 = "…" }
        error: /services/0/dns/1/name (line 9, column 1) = "app.example.com": another entry changes the same record; remove one of them
    "#]],
    );
    says(
        &application(&name(&format!("{zone}\naccess_key_id = \"AKIA\"\nttl = 100000"))),
        &expect![[r#"
        error: /services/0/dns/0/access_key_id (line 10, column 1) = "AKIA": a key has an ID and a secret; write both, or neither
        error: /services/0/dns/0/ttl (line 11, column 1) = 100000: this number is out of range; write a number from 0 to 86400
    "#]],
    );
    says(
        &application(&name(&zone.replace("\"10.0.0.10\"", "\"::1\", web3 = \"x\""))),
        &expect![[r#"
        error: /services/0/dns/0/values (line 9, column 1): for server "web10" it would hold "::1", which this type of record cannot; add values = { web10 = "…" }
        error: /services/0/dns/0/values/web3 (line 9, column 46): the service has no server "web3"; did you mean "web1"?
    "#]],
    );
    says(&application(&format!("route.verify_command = [\"/bin/true\"]\n{}", name(zone))), &expect![[r""]]);
    let checks = "health_checks = { web1 = \"a b\", web10 = \"x/y\", web3 = \"1\" }\nhealth_check_threshold = 11\nhealth_check_others = \"drop\"";
    says(
        &application(&name(&format!("{zone}\n{checks}"))),
        &expect![[r#"
        error: /services/0/dns/0/health_checks/web1 (line 10, column 19) = "a b": this has a space; remove it
        error: /services/0/dns/0/health_checks/web10 (line 10, column 33): this is no ID of a health check; write its 36 digits, letters and hyphens
        error: /services/0/dns/0/health_checks/web3 (line 10, column 48): the service has no server "web3"; did you mean "web1"?
        error: /services/0/dns/0/health_check_threshold (line 11, column 1) = 11: this number is out of range; write a number from 1 to 10
        error: /services/0/dns/0/health_check_others (line 12, column 1) = "drop": this must be one of "keep", "enable", "disable"; write one of them
    "#]],
    );
    let strange = "provider = \"rfc2136\"\nserver = \"10.0.0.53:53\"\nzone = \"example.com\"\nkey_name = \"k\"\nkey_secret = \"a2V5\"\n\
                   values = { web1 = \"10.0.0.1\", web10 = \"10.0.0.10\" }\nhealth_checks = { web1 = \"1\" }";
    says(
        &application(&name(strange)),
        &expect![[r#"
        error: /services/0/dns/0/health_checks (line 13, column 1): only route53 has health checks; remove them
    "#]],
    );
    let alone = pair("fence.require = 1\n").replacen(
        "[[services.servers]]",
        "[[services.dns]]\nname = \"db.example.com\"\nprovider = \"route53\"\nzone_id = \"Z1\"\n[[services.servers]]",
        1,
    );
    says(
        &alone,
        &expect![[r#"
        error: /services/0/fence/require (line 5, column 7) = 1: level 1 is proven by HAProxy alone: a name is routing, and clients keep its old address; write require = 3
    "#]],
    );
}

#[test]
fn a_command_moves_traffic_and_is_no_fence() {
    let command = "[[services.route.command]]\nname = \"vip\"\ncommand = [\"/usr/local/bin/vip\"]\n";
    let text = pair("route.exclusive = true\nroute.verify = [\"lb:1\"]\nfence.require = 1\n").replacen(
        "[[services.servers]]",
        &format!("{command}{command}[[services.servers]]"),
        1,
    );
    says(
        &text,
        &expect![[r#"
        error: /services/0/route/exclusive (line 5, column 7) = true: no route is managed, so it cannot be the only one; add route.haproxy, or remove exclusive
        error: /services/0/route/exclusive (line 5, column 7) = true: a command moves traffic and proves nothing, so it cannot be a part of the only way in; remove exclusive, or the commands
        error: /services/0/fence/require (line 7, column 7) = 1: level 1 is proven by HAProxy alone: a command moves traffic and proves nothing; write require = 3, or remove the commands
        error: /services/0/route/command/1/name (line 13, column 1) = "vip": another route command is called "vip" (/services/0/route/command/0); choose another name
    "#]],
    );
    says(
        &application(&format!("route.verify_command = [\"true\"]\n{command}")),
        &expect![[r#"
        error: /services/0/route/verify_command/0 (line 5, column 25) = "true": a command must be an absolute path; write the whole path, such as "/usr/bin/true"; there is no shell and no search path
    "#]],
    );
    let identity = pair("route.identity.path = \"/\"\n");
    says(
        &identity,
        &expect![[r#"
        warning: /services/0/route/identity (line 5, column 7): this has no effect: a database is asked by SQL who it is; remove it
    "#]],
    );
}

#[test]
fn a_pool_that_is_too_small_is_told_beforehand() {
    let mut text = "version = 1\nengine.workers = 1\n[[services]]\nname = \"shop\"\nkind = \"application\"\n".to_owned();
    for index in 0..30 {
        write!(text, "[[services.servers]]\nname = \"w{index}\"\nhost = \"w{index}\"\n").unwrap();
    }
    for index in 0..30 {
        write!(text, "[[services.checks]]\nname = \"c{index}\"\nserver = \"w{index}\"\nkind = \"tcp\"\nport = 80\n").unwrap();
    }
    says(
        &text,
        &expect![[r#"
        warning: /engine/workers (line 2, column 8) = 1: with 3 hanging servers the checks would keep 4 workers busy, and there are 1; raise workers (at most 30 are of use), or use longer intervals or shorter timeouts
    "#]],
    );
    says(&text.replace("engine.workers = 1", "engine.workers = 4"), &expect![[""]]);
}

#[test]
fn syntax_errors_have_a_place_and_show_no_line() {
    says(
        "version = 1\npassword = \"geheim\nname = 1 1",
        &expect![[r#"
        error: / (line 2, column 19): this is no TOML: invalid basic string, expected `"`; correct the line
        error: / (line 3, column 8): this is no TOML: string values must be quoted, expected literal string; correct the line
    "#]],
    );
    says(
        "version = 1\npassword = geheim",
        &expect![[r#"
        error: / (line 2, column 12): this is no TOML: string values must be quoted, expected literal string; correct the line
    "#]],
    );
    says(
        "[services]\nx = 1\n[services]\n",
        &expect![[r#"
            error: / (line 3, column 2): [services] is given twice, and single brackets are for one table; write its header in double brackets, once for each: [[services]]
        "#]],
    );
    says(
        "version = 1\nversion = 1",
        &expect![[r#"
            error: / (line 2, column 1): this key is given twice, first in line 1, column 1; remove one of them
        "#]],
    );
    says(
        "version = 2020-01-01",
        &expect![[r#"
        error: /version (line 1, column 1) = 2020-01-01: this must be a whole number; write 1
        error: /services (line 1, column 1): this is missing and has no default; add it
    "#]],
    );
    says(
        "version = 99999999999999999999999",
        &expect![[r#"
        error: /version (line 1, column 1) = 99999999999999999999999: this number is out of range; write 1
        error: /services (line 1, column 1): this is missing and has no default; add it
    "#]],
    );
    says(
        "version = inf",
        &expect![[r#"
        error: /version (line 1, column 1) = inf: this must be a whole number; write 1
        error: /services (line 1, column 1): this is missing and has no default; add it
    "#]],
    );
    let json = |text: &str| match Config::parse_json_in(text, &World::new()) {
        Ok(_) => "accepted".to_owned(),
        Err(errors) => errors.to_string(),
    };
    expect![[r#"
        configuration: 1 error
          / (line 1, column 38): this is no JSON: trailing comma; correct the line"#]]
    .assert_eq(&json("{\"version\": 1, \"password\": \"geheim\", }"));
    expect![[r#"
        configuration: 1 error
          /version (line 1, column 16): this key is given twice, first in line 1, column 2; remove one of them"#]]
    .assert_eq(&json("{\"version\": 1, \"version\": 1}"));
    expect![[r#"
        configuration: 1 error
          / = a list: this must be a table; write a table with keys such as version, preset, state_dir"#]]
    .assert_eq(&json("[1]"));
    expect![[r#"
        configuration: 1 error
          / = null: this must be a table; write a table with keys such as version, preset, state_dir"#]]
    .assert_eq(&json("null"));
    expect![[r#"
        configuration: 1 error
          / (line 1, column 1): this is no JSON: EOF while parsing a value; this is read as the text of a configuration in JSON; a file is loaded by its own function (Python: Path(...))"#]]
    .assert_eq(&json(""));
    expect![[r#"
        configuration: 1 error
          / (line 1, column 17): this is no JSON: number out of range; correct the line"#]]
    .assert_eq(&json("{\"version\": 1e999}"));
    expect![[r#"
        configuration: 5 errors
          /services/0 = 3: this must be a table; write a table with keys such as name, kind, connection
          /services/1 = null: this must be a table; write a table with keys such as name, kind, connection
          /services/2/name: this is missing and has no default; add it
          /services/2/servers/0 = []: this must be a table; write a table with keys such as name, role, host
          /version (line 1, column 2) = null: this must be a whole number; write 1"#]]
    .assert_eq(&json("{\"version\": null, \"services\": [3, null, {\"servers\": [[]]}]}"));
}

#[test]
fn absurd_input_is_refused_and_never_a_crash() {
    says(
        &format!("{}x = 1", "a.".repeat(400_000)),
        &expect![[r#"
        error: / (line 1, column 34): this is nested too deeply; write fewer levels
    "#]],
    );
    says(
        &format!("[{}x]", "a . ".repeat(200_000)),
        &expect![[r#"
        error: / (line 1, column 68): this is nested too deeply; write fewer levels
    "#]],
    );
    says(
        &format!("x = {}", "[".repeat(400_000)),
        &expect![[r#"
        error: / (line 1, column 21): this is nested too deeply; write fewer levels
    "#]],
    );
    says(
        &format!("x = {}", "{a=".repeat(200_000)),
        &expect![[r#"
        error: / (line 1, column 53): this is nested too deeply; write fewer levels
    "#]],
    );
    says(
        &format!("x = {}1{}", "[".repeat(15), "]".repeat(15)),
        &expect![[r#"
            error: /version (line 1, column 1): this is missing and has no default; add version = 1
            error: /services (line 1, column 1): this is missing and has no default; add it
            error: /x (line 1, column 1): this key is unknown; remove it, or use one of: version, preset, state_dir, control_socket, engine, notify, services
        "#]],
    );
    says(
        &"#".repeat(2_000_000),
        &expect![[r#"
            error: the configuration is longer than 1048576 bytes; split it between several engines
        "#]],
    );
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let errors = Config::parse_json_in(&deep, &World::new()).unwrap_err();
    expect![[r#"
        configuration: 1 error
          / (line 1, column 128): this is no JSON: recursion limit exceeded; correct the line"#]]
    .assert_eq(&errors.to_string());
    let many = format!("{{\"version\": 1, \"services\": [{}]}}", vec!["{}"; 100_000].join(","));
    let errors = Config::parse_json_in(&many, &World::new()).unwrap_err();
    expect![[r#"
        configuration: 1 error
          /services (line 1, column 16) = a list: this list has more than 1000 items; shorten it"#]]
    .assert_eq(&errors.to_string());
    let keys = (0..50_000).map(|index| format!("key{index} = 1")).collect::<Vec<_>>().join("\n");
    let errors = Config::parse_toml_in(&keys, &World::new()).unwrap_err();
    assert_eq!(errors.errors.len(), 200, "further errors are not kept");
}

#[test]
fn keys_of_ones_own_are_left_alone() {
    says(&pair("x-owner = \"team\"\n[services.x-notes]\nanything = [1, {}]"), &expect![[""]]);
}

#[test]
fn a_missing_secret_is_told_without_telling_a_secret() {
    let password = |text: &str| pair(&format!("connection = {{ password = {text} }}"));
    says(
        &password("{ env = \"NOT_SET\" }"),
        &expect![[r#"
        error: /services/0/connection/password/env (line 5, column 29) = "NOT_SET": this environment variable is not set; set it in the engine's environment
    "#]],
    );
    says(
        &password("{ env = \"not a name!\" }"),
        &expect![[r#"
        error: /services/0/connection/password/env (line 5, column 29) = ********: this is no name of an environment variable; write a name such as "PGPASSWORD"
    "#]],
    );
    says(
        &password("{ file = \"/missing\" }"),
        &expect![[r#"
        error: /services/0/connection/password/file (line 5, column 29) = "/missing": this file cannot be read: entity not found; make the file, readable by the engine's user
    "#]],
    );
    says(
        &password("{ file = \"relative\" }"),
        &expect![[r#"
        error: /services/0/connection/password/file (line 5, column 29) = ********: this is no absolute path; write a path that starts with '/' or '~/'
    "#]],
    );
    says(
        &password("{ pgpass = true }"),
        &expect![[r#"
        error: /services/0/connection/password (line 5, column 16): the password file /home/op/.pgpass cannot be read: entity not found; make the file, readable by the engine's user only
    "#]],
    );
    says(
        &password("{ pgpass = false }"),
        &expect![[r#"
        error: /services/0/connection/password/pgpass (line 5, column 29) = ********: this is no password file; write true, or the path of the file in quotes
    "#]],
    );
    says(
        &password("{ vault = \"geheim\" }"),
        &expect![[r#"
            error: /services/0/connection/password (line 5, column 16) = ********: no such place of a secret is known; use one of: env, file, pgpass
        "#]],
    );
    says(
        &password("{ env = \"A\", file = \"/b\" }"),
        &expect![[r#"
        error: /services/0/connection/password (line 5, column 16) = ********: this is no secret and no single place of one; write { env = "NAME" }, { file = "/path" }, { pgpass = true } or the text itself
    "#]],
    );
    says(
        &password("{}"),
        &expect![[r#"
        error: /services/0/connection/password (line 5, column 16) = ********: this is no secret and no single place of one; write { env = "NAME" }, { file = "/path" }, { pgpass = true } or the text itself
    "#]],
    );
    says(
        &password("\"\""),
        &expect![[r#"
            error: /services/0/connection/password (line 5, column 16) = ********: this secret cannot be used: it is empty; write { env = "NAME" }, { file = "/path" }, { pgpass = true } or the text itself
        "#]],
    );
    says(
        &password("\"********\""),
        &expect![[r#"
        error: /services/0/connection/password (line 5, column 16) = ********: this is the mask that stands for a secret in printed configurations, not the secret; write the secret, or where it is found
    "#]],
    );
    says(
        &password("12345"),
        &expect![[r#"
        error: /services/0/connection/password (line 5, column 16) = ********: this is no secret and no single place of one; write { env = "NAME" }, { file = "/path" }, { pgpass = true } or the text itself
    "#]],
    );
    says(
        &pair("connection = { pasword = \"geheim\" }"),
        &expect![[r#"
        error: /services/0/connection/pasword (line 5, column 16): this key is unknown; did you mean "password"?
    "#]],
    );
    says(
        &pair("connection = \"postgres://me:geheim@db1/app\""),
        &expect![[r#"
            error: /services/0/connection (line 5, column 1) = ********: this must be a table; write a table with keys such as user, password, database
        "#]],
    );
}

#[test]
fn secret_files_are_looked_at_closely() {
    let text = pair("connection = { password = { file = \"/secret\" } }");
    let say = |content: &str, mode: u32| said_in(&text, &World::new().with("/secret", content, mode));
    expect![[""]].assert_eq(&say("geheim\n", 0o600));
    expect![[r#"
        warning: /services/0/connection/password/file (line 5, column 29) = "/secret": this file can be read by others than its owner (mode 0640); chmod 600
    "#]].assert_eq(&say("geheim\n", 0o640));
    expect![[r#"
        error: /services/0/connection/password/file (line 5, column 29) = "/secret": what this file holds cannot be used: it is empty; write the secret, and nothing else, into it
    "#]].assert_eq(&say("\n", 0o600));
    expect![[r#"
        error: /services/0/connection/password/file (line 5, column 29) = "/secret": what this file holds cannot be used: it has more than one line; write the secret, and nothing else, into it
    "#]].assert_eq(&say("ge\nheim\n", 0o600));
    for content in ["geheim", "geheim\n", "geheim\r\n"] {
        let world = World::new().with("/secret", content, 0o600);
        let config = Config::parse_toml_in(&text, &world).unwrap();
        let password = config.services[0].servers[0].connection.password.clone().unwrap();
        assert_eq!(password.secret.expose(), "geheim");
        assert_eq!(password.source, SecretSource::File("/secret".into()));
    }
}

#[test]
fn password_files_give_each_server_its_own() {
    let text = pair("connection = { password = { pgpass = true }, user = \"me\" }");
    let file = "10.0.0.1:5432:postgres:me:first\n10.0.0.2:*:*:me:second\n";
    let world = World::new().with("/home/op/.pgpass", file, 0o600);
    let config = Config::parse_toml_in(&text, &world).unwrap();
    let secret = |index: usize| config.services[0].servers[index].connection.password.clone().unwrap().secret;
    assert_eq!((secret(0).expose(), secret(1).expose()), ("first", "second"));
    let elsewhere = World::new().variable("PGPASSFILE", "/etc/pgpass").with("/etc/pgpass", file, 0o600);
    assert!(Config::parse_toml_in(&text, &elsewhere).is_ok());
    expect![[r#"
        error: /services/0/connection/password (line 5, column 16): the password file /home/op/.pgpass can be used by others (mode 0644); chmod 600 /home/op/.pgpass
    "#]].assert_eq(&said_in(&text, &World::new().with("/home/op/.pgpass", file, 0o644)));
    expect![[r#"
        error: /services/0/connection/password (line 5, column 16): the password file /home/op/.pgpass has no line for this server; add 10.0.0.2:5432:postgres:me:PASSWORD
    "#]].assert_eq(&said_in(&text, &World::new().with("/home/op/.pgpass", "10.0.0.1:*:*:me:first\n", 0o600)));
}

/// A program that prints its configuration prints no password of a URL, however deep it stands.
#[test]
fn debug_shows_no_secret_of_a_url() {
    let more = "[[services.checks]]\nname = \"hook\"\nserver = \"db1\"\nkind = \"exec\"\ncommand = [\"/usr/bin/curl\", \"https://me:geheim@h/?token=geheim&full=1\"]\n";
    let config = Config::parse_toml_in(&pair(more), &World::new()).unwrap();
    let service = &config.services[0];
    for shown in [format!("{config:?}"), format!("{config:#?}"), format!("{service:?}"), format!("{:?}", service.checks)] {
        assert!(!shown.contains("geheim") && shown.contains("@h/?token=********&full=1"), "{shown}");
    }
}

#[test]
fn a_password_behind_the_user_is_a_warning_that_does_not_show_it() {
    let config = Config::parse_toml_in(&pair("connection = { user = \"me:geheim\" }"), &World::new()).unwrap();
    let warned = format!("{:?}", config.warnings());
    assert!(warned.contains("password = { env") && !warned.contains("geheim"), "{warned}");
    assert!(Config::parse_toml_in(&pair("connection = { user = \"me\" }"), &World::new()).unwrap().warnings().is_empty());
}

#[test]
fn a_list_of_tables_in_single_brackets_is_told_with_the_header_that_is_meant() {
    for (header, more) in [("services.servers", ""), ("services.checks", "kind = \"tcp\"\n"), ("services.route.haproxy", "")] {
        let one = format!("[{header}]\n{more}name = \"x\"\n");
        let text = format!("version = 1\n[[services]]\nname = \"orders\"\n{one}{one}");
        let errors = Config::parse_toml_in(&text, &World::new()).unwrap_err().to_string();
        assert!(errors.contains(&format!("[[{header}]]")) && errors.contains("given twice"), "{errors}");
        assert!(!errors.contains("this key is given twice"), "{errors}");
    }
    let errors = Config::parse_toml_in("version = 1\n[engine]\n[engine]\n", &World::new()).unwrap_err().to_string();
    assert!(errors.contains("first in line 2") && !errors.contains("[["), "{errors}");
}

#[test]
fn secrets_are_never_shown() {
    const SECRETS: [&str; 6] = ["geheim-1", "geheim-2", "geheim-3", "geheim-4", "geheim-5", "geheim-6"];
    let text = r#"
version = 1
[[services]]
name = "orders"
connection = { password = "geheim-1" }
ssh = { keys = ["/k"], passphrase = { env = "PHRASE" }, password = { file = "/secret" } }
[[services.servers]]
name = "db1"
role = "primary"
host = "db1"
data_dir = "/data"
[[services.servers]]
name = "db2"
host = "db2"
data_dir = "/data"
connection = { password = { pgpass = "/pgpass" } }
[[services.checks]]
name = "web"
server = "db1"
kind = "http"
url = "http://db1/"
headers = { Authorization = "geheim-5", X-Key = { env = "KEY" }, Accept = "text/html" }
"#;
    let world = World::new().variable("PHRASE", SECRETS[1]).variable("KEY", SECRETS[5]).with("/secret", SECRETS[2], 0o600).with(
        "/pgpass",
        "*:*:*:*:geheim-4",
        0o600,
    );
    let config = Config::parse_toml_in(text, &world).unwrap();
    let found = config.services[0].servers[1].connection.password.clone().unwrap();
    assert_eq!(found.secret.expose(), SECRETS[3]);
    let broken = Config::parse_toml_in(&format!("{text}interval = 1"), &world).unwrap_err();
    let shown = [
        format!("{config:?}"),
        format!("{config:#?}"),
        config.effective_toml(),
        config.effective_json(),
        format!("{:?}", config.warnings()),
        format!("{broken} {broken:?} {}", serde_json::to_string(&broken).unwrap()),
        format!("{:?}", config.model()),
    ];
    for shown in shown {
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
    }
    assert!(config.effective_toml().contains("text/html"), "a harmless header is shown");
}

/// That nobody can open a key is known before any host is asked.
#[test]
fn a_key_that_needs_a_passphrase_is_warned_of_without_one() {
    let text = |more: &str| {
        pair(&format!("ssh = {{ user = \"postgres\", wrapper = true, keys = [\"/k\"], known_hosts = \"/known\"{more} }}"))
    };
    let open = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n";
    let locked = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBcAddED4\n";
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n";
    let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFHDBOBgkq\n";
    for (key, more, warned) in [
        (open, "", false),
        ("-----BEGIN PRIVATE KEY-----\nMIIFHDBOBgkq\n", "", false),
        (locked, "", true),
        (pem, "", true),
        (pkcs8, "", true),
        (locked, ", passphrase = \"x\"", false),
        (locked, ", agent = true", false),
    ] {
        let world = World::new().with("/k", key, 0o600).with("/known", "db1 ssh-ed25519 AAAA\n", 0o644);
        let config = Config::parse_toml_in(&text(more), &world).unwrap();
        let warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings.iter().any(|one| one.contains("/k is encrypted, and there is no passphrase")),
            warned,
            "{key}{more}: {warnings:?}"
        );
    }
}

/// A URL is no place for a secret, and people put them there.
#[test]
fn secrets_in_urls_are_masked_wherever_the_configuration_is_printed() {
    let text = |token: &str| {
        format!(
            r#"
version = 1
[[services]]
name = "orders"
connection = {{ password = "x" }}
[[services.servers]]
name = "db1"
role = "primary"
host = "db1"
[[services.servers]]
name = "db2"
host = "db2"
[services.fence]
command = ["/usr/bin/curl", "-X", "POST", "https://operator:{token}@power/off?server=db1&key={token}"]
[[services.checks]]
name = "web"
server = "db1"
kind = "http"
url = "http://db1/health?level=3&access_token={token}"
"#
        )
    };
    let (one, other) = (good(&text("geheim-7")), good(&text("geheim-8")));
    for shown in [one.effective_toml(), one.effective_json()] {
        assert!(!shown.contains("geheim"), "{shown}");
        assert!(shown.contains("https://********@power/off?server=db1&key=********"), "{shown}");
        assert!(shown.contains("http://db1/health?level=3&access_token=********"), "{shown}");
    }
    // What is printed is not taken for the real one.
    let again = Config::parse_toml_in(&one.effective_toml(), &World::new()).unwrap_err().to_string();
    assert!(again.contains("the mask in it that stands for a secret"), "{again}");
    let changes = one.changes(&other).join("\n");
    assert!(changes.contains("checks.web.url") && !changes.contains("geheim"), "{changes}");
    let wrong = said_in(&text("geheim-9").replace("http://db1", "ftp://db1"), &World::new());
    assert!(wrong.contains("no http or https URL") && !wrong.contains("geheim"), "{wrong}");
}

#[test]
fn the_effective_configuration_says_the_same_when_read_again() {
    let world = examples_world();
    for path in examples() {
        let config = Config::load_in(&path, &world).unwrap_or_else(|errors| panic!("{errors}"));
        let again = |result: Result<Config, ConfigErrors>| result.unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
        let toml = again(Config::parse_toml_in(&config.effective_toml(), &world));
        let json = again(Config::parse_json_in(&config.effective_json(), &world));
        for read in [&toml, &json] {
            assert_eq!(**read, *config, "{}", path.display());
            assert_eq!(read.effective_toml(), config.effective_toml());
            assert_eq!(read.effective_json(), config.effective_json());
        }
    }
}

#[test]
fn the_effective_configuration_shows_every_default() {
    let text =
        pair("connection = { password = \"geheim\" }\nssh = { agent = true }\n").replace("host =", "data_dir = \"/d\"\nhost =");
    expect![[r#"
        version = 1
        state_dir = "/var/lib/failover"
        control_socket = "/var/lib/failover/control.sock"

        [engine]
        workers = "auto"
        seed = 0

        [engine.breaker]
        failure_threshold = 5
        recovery_timeout = "30s"
        half_open_requests = 3

        [[services]]
        name = "orders"
        kind = "postgres"
        follows = false

        [services.connection]
        user = "failover"
        password = "********"
        database = "postgres"
        sslmode = "prefer"

        [services.ssh]
        port = 22
        user = "postgres"
        known_hosts = "/home/op/.ssh/known_hosts"
        agent = true
        wrapper = false

        [services.check_defaults]
        interval = "1s"
        fast_interval = "25ms"
        timeout = "1.5s"
        failure_threshold = 3
        success_threshold = 2

        [[services.servers]]
        name = "db1"
        role = "primary"
        host = "10.0.0.1"
        port = 5432
        data_dir = "/d"
        priority = 100
        candidate = true

        [services.servers.connection]
        user = "failover"
        password = "********"
        database = "postgres"
        sslmode = "prefer"

        [services.servers.ssh]
        host = "10.0.0.1"
        port = 22
        user = "postgres"
        known_hosts = "/home/op/.ssh/known_hosts"
        agent = true
        wrapper = false

        [services.servers.check]
        query = "SELECT 1"
        write_probe = false
        interval = "1s"
        fast_interval = "25ms"
        timeout = "1.5s"
        failure_threshold = 3
        success_threshold = 2

        [[services.servers]]
        name = "db2"
        role = "standby"
        host = "10.0.0.2"
        port = 5432
        data_dir = "/d"
        priority = 100
        candidate = true

        [services.servers.connection]
        user = "failover"
        password = "********"
        database = "postgres"
        sslmode = "prefer"

        [services.servers.ssh]
        host = "10.0.0.2"
        port = 22
        user = "postgres"
        known_hosts = "/home/op/.ssh/known_hosts"
        agent = true
        wrapper = false

        [services.servers.check]
        query = "SELECT 1"
        write_probe = false
        interval = "1s"
        fast_interval = "25ms"
        timeout = "1.5s"
        failure_threshold = 3
        success_threshold = 2

        [services.trigger]
        failure_threshold = 3
        failure_window = "1m"
        policy = "count"
        cooldown = "5m"
        require_confirmation = false
        confirm_timeout = "5m"
        failover_timeout = "2m"
        hang_after = "3.4s"
        ping_interval = "250ms"
        restart_grace = "10s"
        on_impaired = "never"

        [services.promote]
        method = "pg_promote"
        timeout = "1m"

        [services.data]
        max_lag_bytes = "1MiB"
        on_loss = "refuse"
        on_no_sync_standby = "async"
        allow_delayed = false
        salvage = "auto"
        salvage_timeout = "2s"
        followers = "auto"
        synchronous = "manual"
        synchronous_count = 1
        synchronous_timeout = "5s"
        rejoin = "manual"

        [services.switchover]
        pause_timeout = "1s"
        on_pause_timeout = "abort"

        [services.fence]
        require = 3
        timeout = "10s"
        command = ["/bin/off"]
        command_timeout = "10s"

        [services.route]
        exclusive = false
        verify_timeout = "5s"

        [services.route.identity]
        path = "/"
        tls = false
        expect_status = [200, 201, 204]
    "#]]
    .assert_eq(&good(&text).effective_toml());
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config");
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5);
    paths
}

#[test]
fn the_examples_are_right() {
    let world = examples_world();
    let mut said = String::new();
    for path in examples() {
        let config = Config::load_in(&path, &world).unwrap_or_else(|errors| panic!("{errors}"));
        write!(said, "{}\n{}", path.file_name().unwrap().display(), list(&[], config.warnings())).unwrap();
    }
    expect![[r#"
        application.toml
        dns.toml
        fence-command.toml
        follows.toml
        minimal.toml
        warning: /services/0/fence/require (line 7, column 1) = 3 (default): level 3 cannot be proven of server "db1": it has no ssh, and there is no command; add ssh or fence.command; until then, or without a step `fence` of the program that embeds the engine, its death ends in manual_intervention
        warning: /services/0/fence/require (line 7, column 1) = 3 (default): level 3 cannot be proven of server "db2": it has no ssh, and there is no command; add ssh or fence.command; until then, or without a step `fence` of the program that embeds the engine, its death ends in manual_intervention
        pgbouncer.toml
        postgres-haproxy.json
        postgres-haproxy.toml
    "#]].assert_eq(&said);
}

#[test]
fn files_are_read_by_their_name_or_by_how_they_begin() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|errors| errors.to_string().replace(&folder.path().display().to_string(), "DIR"))
    };
    let toml = pair("");
    let json = good(&toml).effective_json();
    assert!(load("a.toml", toml.as_bytes()).is_ok());
    assert!(load("a.json", json.as_bytes()).is_ok());
    assert!(load("b.conf", format!("\u{feff} {json}").as_bytes()).is_ok());
    assert!(load("d.json", toml.as_bytes()).is_err());
    assert!(load("c.conf", format!("\u{feff}{toml}").as_bytes()).is_ok());
    expect![[r#"
        DIR/d.toml: 1 error
          this is JSON in a file named .toml; name the file .json"#]]
    .assert_eq(&load("d.toml", json.as_bytes()).unwrap_err());
    expect![[r#"
        DIR/e.toml: 1 error
          / (line 2): the configuration is no UTF-8 text; save it as UTF-8"#]]
    .assert_eq(&load("e.toml", b"a = 1\nb = '\xff'\n").unwrap_err());
    expect![[r#"
        DIR/f.toml: 1 error
          DIR/f.toml: the configuration cannot be read: it is longer than 1048576 bytes; give the path of a file that the engine may read"#]].assert_eq(&load("f.toml", &vec![b'#'; 1 << 21]).unwrap_err());
    expect![[r#"
        /does/not/exist.toml: 1 error
          /does/not/exist.toml: the configuration cannot be read: No such file or directory (os error 2); give the path of a file that the engine may read"#]].assert_eq(&Config::load(Path::new("/does/not/exist.toml")).unwrap_err().to_string());
    expect![[r#"
        /dev/zero: 1 error
          /dev/zero: the configuration cannot be read: it is no regular file; give the path of a file that the engine may read"#]]
    .assert_eq(&Config::load(Path::new("/dev/zero")).unwrap_err().to_string());
    expect![[r#"
        /: 1 error
          /: the configuration cannot be read: it is no regular file; give the path of a file that the engine may read"#]]
    .assert_eq(&Config::load(Path::new("/")).unwrap_err().to_string());
}

#[test]
fn a_fifo_in_the_place_of_a_file_does_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo.toml");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let errors = Config::load(&path).unwrap_err();
    assert!(errors.to_string().contains("it is no regular file"), "{errors}");
}

#[test]
fn secrets_in_a_file_for_everybody_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, pair("connection = { password = \"geheim\" }")).unwrap();
    let warned = |mode: u32| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        list(&[], Config::load(&path).unwrap().warnings())
    };
    expect![[""]].assert_eq(&warned(0o640));
    expect![[r#"
        warning: /services/0/connection/password (line 5, column 16) = ********: everybody on this machine can read this secret (the file's mode is 0644); chmod 600 the file, or write { env = "NAME" } or { file = "/path" }
    "#]].assert_eq(&warned(0o644));
}

#[test]
fn a_secret_that_a_template_was_to_fill_in_is_warned_of() {
    let warned = |secret: &str| {
        let config = Config::parse_toml(&pair(&format!("connection = {{ password = \"{secret}\" }}"))).unwrap();
        let warning = config.warnings().iter().find(|warning| warning.path.ends_with("/password")).cloned();
        warning.map(|warning| (warning.reason, warning.remedy, warning.value))
    };
    let told = (
        "this is the secret as it stands: no variable is put in its place".to_owned(),
        "write { env = \"NAME\" }".to_owned(),
        Some("********".to_owned()),
    );
    for secret in ["${DB_PASSWORD}", "$DB_PASSWORD", "{{ db_password }}", "%DB_PASSWORD%", "${db.password}"] {
        assert_eq!(warned(secret).as_ref(), Some(&told), "{secret}");
    }
    for secret in ["geheim", "$ecret", "a${b}", "100%", "%", "$", "${}"] {
        assert_eq!(warned(secret), None, "{secret}");
    }
}

/// Both places, in TOML and in JSON, in whatever table.
#[test]
fn a_key_that_is_given_twice_is_told_with_both_places() {
    let told = |errors: failover::ConfigErrors| {
        let twice = errors.errors.iter().find(|error| error.reason.contains("given twice")).cloned();
        let twice = twice.unwrap_or_else(|| panic!("{errors}"));
        (twice.line.unwrap(), twice.reason.split("first in ").nth(1).unwrap().to_owned())
    };
    let toml = |text: &str| told(Config::parse_toml(text).unwrap_err());
    assert_eq!(
        toml("version = 1\n[[services]]\nname = \"a\"\nservers = [{ name = \"x\" }]\nname = \"b\"\n"),
        (5, "line 3, column 1".to_owned())
    );
    assert_eq!(
        toml("[engine]\nworkers = 1\n[[services]]\nname = \"a\"\n[engine]\nworkers = 2\n"),
        (5, "line 1, column 2".to_owned())
    );
    assert_eq!(toml("\"version\" = 1\nversion = 1\n"), (2, "line 1, column 1".to_owned()));
    let json = "{ \"version\": 1,\n \"services\": [ { \"name\": \"a \\\" : b\",\n \"route\": {}, \"name\": \"b\" } ] }";
    assert_eq!(told(Config::parse_json(json).unwrap_err()), (3, "line 2, column 18".to_owned()));
}

#[test]
fn the_schema_and_the_reference_are_up_to_date() {
    expect_file!["../docs/failover.schema.json"].assert_eq(&Config::json_schema());
    expect_file!["../docs/CONFIG.md"].assert_eq(&Config::reference());
}

#[test]
fn the_schema_is_whole() {
    let schema: serde_json::Value = serde_json::from_str(&Config::json_schema()).unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    let text = schema.to_string();
    for part in text.split("#/$defs/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(definitions.contains_key(name), "{name} is not defined");
    }
    for (name, definition) in definitions {
        assert!(definition["description"].is_string(), "{name} is not described");
    }
}

/// Any JSON, with keys that the format knows now and then.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let schema: serde_json::Value = serde_json::from_str(&Config::json_schema()).unwrap();
    let mut keys = Vec::new();
    fn collect(value: &serde_json::Value, keys: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                if let Some(properties) = map.get("properties").and_then(|properties| properties.as_object()) {
                    keys.extend(properties.keys().cloned());
                }
                map.values().for_each(|value| collect(value, keys));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, keys)),
            _ => {}
        }
    }
    collect(&schema, &mut keys);
    keys.sort();
    keys.dedup();
    let key = prop_oneof![6 => proptest::sample::select(keys), 1 => any::<String>()];
    let words =
        ["1s", "1MiB", "postgres", "tcp", "http", "primary", "db1", "/path", "auto", "never", "a:1", "original", "********"];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        (0_u64..10).prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
        proptest::sample::select(words.to_vec()).prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(6, 200, 12, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            3 => proptest::collection::btree_map(key.clone(), inner, 0..12)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The example with one value replaced.
fn replaced(path: usize, value: serde_json::Value) -> serde_json::Value {
    fn walk<'v>(node: &'v mut serde_json::Value, left: &mut usize) -> Option<&'v mut serde_json::Value> {
        if *left == 0 {
            return Some(node);
        }
        *left -= 1;
        match node {
            serde_json::Value::Object(map) => map.values_mut().find_map(|inner| walk(inner, left)),
            serde_json::Value::Array(items) => items.iter_mut().find_map(|inner| walk(inner, left)),
            _ => None,
        }
    }
    let text = include_str!("../examples/config/postgres-haproxy.json");
    let mut tree = serde_json::from_str(text).unwrap();
    let mut left = path;
    if let Some(place) = walk(&mut tree, &mut left) {
        *place = value;
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = Config::parse_toml_in(&text, &World::new());
        let _ = Config::parse_json_in(&text, &World::new());
    }

    #[test]
    fn no_toml_like_text_makes_it_panic(text in r#"(version = 1\n)?([\[\]{}=.,"'# \nabx019_-]|services|name|servers|\[\[services\]\]\n){0,60}"#) {
        let _ = Config::parse_toml_in(&text, &World::new());
    }

    #[test]
    fn no_tree_makes_it_panic(tree in any_json()) {
        let _ = Config::parse_json_in(&tree.to_string(), &World::new());
    }

    #[test]
    fn one_wrong_value_is_told_at_its_place_or_accepted(path in 0_usize..40, value in any_json()) {
        let world = examples_world();
        match Config::parse_json_in(&replaced(path, value).to_string(), &world) {
            Ok(config) => {
                let again = Config::parse_json_in(&config.effective_json(), &world);
                // A literal secret is masked, and the mask is no secret.
                let masked = config.effective_json().contains("********");
                prop_assert!(masked || again.is_ok_and(|again| *again == *config));
            }
            Err(errors) => {
                prop_assert!(!errors.errors.is_empty());
                for problem in errors.errors {
                    prop_assert!(problem.path.starts_with('/') && !problem.reason.is_empty() && !problem.remedy.is_empty());
                }
            }
        }
    }
}

#[test]
fn the_role_endpoint_is_an_address_and_a_port() {
    let with = |address: &str| {
        application("").replacen("[[services]]", &format!("[engine]\nrole_endpoint = \"{address}\"\n[[services]]"), 1)
    };
    says(&with("127.0.0.1:0"), &expect![[r""]]);
    says(&with("[::1]:8008"), &expect![[r""]]);
    says(
        &with("localhost:8008"),
        &expect![[r#"
        error: /engine/role_endpoint (line 3, column 1) = "localhost:8008": this is no IP address with a port; write "ADDRESS:PORT" or "[IPv6]:PORT"; names are not resolved here
    "#]],
    );
    says(
        &with("127.0.0.1"),
        &expect![[r#"
        error: /engine/role_endpoint (line 3, column 1) = "127.0.0.1": this is no IP address with a port; write "ADDRESS:PORT" or "[IPv6]:PORT"; names are not resolved here
    "#]],
    );
}

#[test]
fn a_tenth_of_many_services_may_fail_over_at_once() {
    let limit = |services: usize, key: &str| {
        let service = |number: usize| {
            format!(
                "[[services]]\nname = \"s{number}\"\n[services.connection]\nuser = \"u\"\n\
                 [[services.servers]]\nname = \"a\"\nrole = \"primary\"\nhost = \"10.0.0.1\"\nport = {number}\n\
                 [[services.servers]]\nname = \"b\"\nhost = \"10.0.0.2\"\nport = {number}\n"
            )
        };
        let services: String = (1..=services).map(service).collect();
        let text = format!("version = 1\nstate_dir = \"/tmp\"\n[engine]\n{key}\n{services}");
        Config::parse_toml(&text).unwrap_or_else(|errors| panic!("{errors}")).model().max_concurrent_failovers
    };
    assert_eq!((limit(1, ""), limit(9, "")), (None, None));
    assert_eq!((limit(10, ""), limit(11, ""), limit(20, "")), (Some(1), Some(2), Some(2)));
    assert_eq!((limit(2, "max_concurrent_failovers = 1"), limit(20, "max_concurrent_failovers = 20")), (Some(1), Some(20)));
}
