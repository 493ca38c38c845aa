//! Defaults that depend on other values: filled in once everything is read.

use std::path::PathBuf;

use super::check::Probe;
use super::model::{Root, Server, Service};
use super::pgpass::{self, Wanted};
use super::problem::Pointer;
use super::secret_source::SecretSource;
use super::setting::Reader;
use crate::secret::Secret;

/// The longest password file.
const LONGEST_PGPASS: u64 = 1 << 20;

/// Fills in what is derived.
pub(super) fn resolve(root: &mut Root, reader: &mut Reader<'_>) {
    root.control_socket.get_or_insert_with(|| root.state_dir.join("control.sock"));
    for (index, service) in root.services.iter_mut().enumerate() {
        let at = Pointer::root().key("services").index(index);
        // What a service gives its servers is not used by itself: without a server there is no line to look up.
        for (index, server) in service.servers.iter_mut().enumerate() {
            let at = at.key("servers").index(index);
            if let Some(ssh) = &mut server.ssh
                && ssh.host.is_none()
                && !server.host.starts_with('/')
            {
                ssh.host = Some(server.host.clone());
            }
            find_password(server, &at, reader);
        }
        fill_checks(service);
        fill_routes(service);
    }
}

fn fill_checks(service: &mut Service) {
    for check in &mut service.checks {
        match &mut check.probe {
            Probe::Tcp(probe) => {
                if let Some(server) = service.servers.iter().find(|server| server.name == check.server) {
                    if !server.host.starts_with('/') {
                        probe.host.get_or_insert_with(|| server.host.clone());
                    }
                    probe.port.get_or_insert(server.port);
                }
            }
            Probe::Host(probe) => {
                probe.function.get_or_insert_with(|| check.name.clone());
            }
            _ => {}
        }
    }
}

fn fill_routes(service: &mut Service) {
    for pgbouncer in &mut service.route.pgbouncer {
        for server in &service.servers {
            let place = || super::HostPort { host: server.host.clone(), port: server.port };
            pgbouncer.servers.entry(server.name.clone()).or_insert_with(place);
        }
    }
    for haproxy in &mut service.route.haproxy {
        for server in &service.servers {
            haproxy.servers.entry(server.name.clone()).or_insert_with(|| server.name.clone());
        }
    }
}

/// Looks up `pgpass` for one server.
fn find_password(server: &mut Server, at: &Pointer, reader: &mut Reader<'_>) {
    let Some(password) = &mut server.connection.password else { return };
    let SecretSource::Pgpass(named) = &password.source else { return };
    let at = at.key("connection").key("password");
    let path = match named {
        Some(path) => Some(path.clone()),
        None => default_file(reader),
    };
    let found = match path {
        None => Err(("there is no password file: neither PGPASSFILE nor HOME is set".to_owned(), "write its path".to_owned())),
        Some(path) => match reader.surroundings.file(&path, LONGEST_PGPASS) {
            Err(error) => Err((
                format!("the password file {} cannot be read: {error}", path.display()),
                "make the file, readable by the engine's user only".to_owned(),
            )),
            // libpq ignores such a file with a warning that nobody sees.
            Ok(content) if content.mode & 0o077 != 0 => Err((
                format!("the password file {} can be used by others (mode {:04o})", path.display(), content.mode),
                format!("chmod 600 {}", path.display()),
            )),
            Ok(content) => {
                let wanted = Wanted {
                    host: &server.host,
                    port: server.port,
                    database: &server.connection.database,
                    user: &server.connection.user,
                };
                pgpass::lookup(&String::from_utf8_lossy(&content.bytes), wanted).ok_or_else(|| {
                    (
                        format!("the password file {} has no line for this server", path.display()),
                        format!(
                            "add {}:{}:{}:{}:PASSWORD",
                            escaped(wanted.host),
                            wanted.port,
                            escaped(wanted.database),
                            escaped(wanted.user)
                        ),
                    )
                })
            }
        },
    };
    match found {
        Ok(text) => password.secret = Secret::new(text),
        Err((reason, remedy)) => reader.contradiction(&[at], reason, remedy),
    }
}

fn default_file(reader: &Reader<'_>) -> Option<PathBuf> {
    let named = reader.surroundings.variable("PGPASSFILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| reader.surroundings.variable("HOME").map(|home| PathBuf::from(home).join(".pgpass")))
}

fn escaped(field: &str) -> String {
    field.replace('\\', "\\\\").replace(':', "\\:")
}
