//! Files that the configuration names and that something else reads: keys, certificates, known hosts. What is missing is a
//! warning and no error, because a configuration may be looked at on another machine than its engine's.

use std::path::{Path, PathBuf};

use super::check::Probe;
use super::model::Root;
use super::problem::Pointer;
use super::setting::Reader;
use crate::secret::is_locked_key;

/// None of these files is longer.
const LONGEST: u64 = 16 << 20;

/// Warns of every file that cannot be read here.
pub(super) fn look(root: &Root, reader: &mut Reader<'_>) {
    let services = Pointer::root().key("services");
    for (index, service) in root.services.iter().enumerate() {
        let at = services.index(index);
        for (index, server) in service.servers.iter().enumerate() {
            let at = at.key("servers").index(index);
            let place = at.key("connection");
            let connection = &server.connection;
            for (key, what, path) in [
                ("sslrootcert", "root certificates", &connection.sslrootcert),
                ("sslcert", "client certificate", &connection.sslcert),
                ("sslkey", "client key", &connection.sslkey),
            ] {
                if let Some(path) = path {
                    readable(path, what, key == "sslkey", &[place.key(key)], reader);
                }
            }
            let Some(ssh) = &server.ssh else { continue };
            let place = at.key("ssh");
            for (index, key) in ssh.keys.iter().enumerate() {
                let keys = place.key("keys");
                let place = [keys.index(index), keys];
                readable(key, "SSH key", true, &place, reader);
                if ssh.passphrase.is_none() && !ssh.agent {
                    openable(key, &place, reader);
                }
            }
            readable(&ssh.known_hosts, "known_hosts file", false, &[place.key("known_hosts"), place], reader);
        }
        for (index, check) in service.checks.iter().enumerate() {
            if let Probe::Http(probe) = &check.probe
                && let Some(path) = &probe.ca_file
            {
                readable(path, "root certificates", false, &[at.key("checks").index(index).key("ca_file")], reader);
            }
        }
    }
}

/// Warns of a key that nobody can open without a passphrase.
fn openable(key: &Path, at: &[Pointer], reader: &mut Reader<'_>) {
    let found = in_home(key, reader);
    if reader.surroundings.file(&found, LONGEST).is_ok_and(|content| is_locked_key(&content.bytes)) {
        let reason = format!("the SSH key {} is encrypted, and there is no passphrase: nobody can use it", found.display());
        reader.caution(at, reason, "add ssh.passphrase, or use a key without one (ssh-keygen -p takes it away)");
    }
}

fn in_home(path: &Path, reader: &Reader<'_>) -> PathBuf {
    let home = path.strip_prefix("~").ok().zip(reader.surroundings.variable("HOME"));
    home.map_or_else(|| path.to_owned(), |(rest, home)| Path::new(&home).join(rest))
}

/// Warns unless it can be read here, and where it is `private` also if others can read it.
fn readable(path: &Path, what: &str, private: bool, at: &[Pointer], reader: &mut Reader<'_>) {
    if path.as_os_str().is_empty() {
        return;
    }
    let found = in_home(path, reader);
    match reader.surroundings.file(&found, LONGEST) {
        Err(error) => {
            let reason = format!("the {what} {} cannot be read here: {error}", found.display());
            reader.caution(at, reason, "put the file there, readable by the engine's user, on the machine where the engine runs");
        }
        Ok(content) if private && content.mode & 0o007 != 0 => {
            let reason = format!("everybody on this machine can use the {what} {} (mode {:04o})", found.display(), content.mode);
            reader.caution(at, reason, format!("chmod 600 {}", found.display()));
        }
        Ok(_) => {}
    }
}
