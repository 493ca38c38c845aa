//! The file with the entries of `[databases]` that a PgBouncer includes: where a database points is one line in it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A longer file is none of PgBouncer's.
pub(super) const LONGEST: u64 = 1024 * 1024;

/// Where a database points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Points databases to a place; everything else of the file stays. True when something had to be changed.
pub(super) fn point(path: &Path, databases: &[String], place: &Place) -> Result<bool, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{}: {what}: {error}", path.display());
    // Behind a link the link stays.
    let path = fs::canonicalize(path).map_err(|error| failed("cannot be found", &error))?;
    let mut file = File::open(&path).map_err(|error| failed("cannot be opened", &error))?;
    let known = file.metadata().map_err(|error| failed("cannot be looked at", &error))?;
    if !known.is_file() {
        return Err(failed("cannot be used", &"it is no regular file"));
    }
    let mut text = String::new();
    Read::by_ref(&mut file).take(LONGEST + 1).read_to_string(&mut text).map_err(|error| failed("cannot be read", &error))?;
    if text.len() as u64 > LONGEST {
        return Err(failed("cannot be used", &"it is longer than 1 MiB"));
    }
    let mut changed = text.clone();
    for database in databases {
        changed = pointed(&changed, database, place).map_err(|why| failed("cannot be used", &why))?;
    }
    if changed == text {
        return Ok(false);
    }
    replace(&path, &changed, &known).map_err(|error| failed("cannot be written", &error))?;
    Ok(true)
}

/// Whether it could be written, asked without writing it; and where each database points by its line, where that says it.
pub(super) fn probe(path: &Path, databases: &[String]) -> Result<Vec<Option<Place>>, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{}: {what}: {error}", path.display());
    let path = fs::canonicalize(path).map_err(|error| failed("cannot be found", &error))?;
    let file = File::open(&path).map_err(|error| failed("cannot be opened", &error))?;
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| failed("cannot be read", &error))?;
    let places = databases
        .iter()
        .map(|database| place_in(&text, database).map_err(|why| failed("cannot be used", &why)))
        .collect::<Result<_, _>>()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| failed("cannot be replaced, its folder is not writable", &error))?;
    let known = fs::metadata(&path).map_err(|error| failed("cannot be read", &error))?;
    if !stays_readable(&known, rustix::process::geteuid().as_raw(), &own_groups()) {
        let why = "give the file to the engine's user and one of its groups, or let everybody read it";
        return Err(failed(
            "cannot be replaced, its owner and group cannot be kept, and PgBouncer might not be able to read it",
            &why,
        ));
    }
    Ok(places)
}

fn own_groups() -> Vec<u32> {
    let others = rustix::process::getgroups().unwrap_or_default();
    others.into_iter().chain([rustix::process::getegid()]).map(rustix::process::Gid::as_raw).collect()
}

/// Who reads a file can read the one that replaces it: that one gets its owner and group, or everybody may read it.
fn stays_readable(known: &fs::Metadata, user: u32, groups: &[u32]) -> bool {
    let kept = user == 0 || known.uid() == user && groups.contains(&known.gid());
    kept || is_read_by_all(known)
}

fn is_read_by_all(known: &fs::Metadata) -> bool {
    known.mode() & 0o004 != 0
}

/// The working directory of the PgBouncer that wrote this file with its process; `None` where that is not to be seen.
pub(super) fn folder_of_process(file: &Path) -> Option<PathBuf> {
    // A relative one is in the very directory that is looked for.
    let file = Some(file).filter(|file| file.is_absolute())?;
    let mut text = String::new();
    File::open(file).ok()?.take(32).read_to_string(&mut text).ok()?;
    let pid: u32 = text.trim().parse().ok()?;
    // Another process may have got the number of one that is gone.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    if name.trim() != "pgbouncer" {
        return None;
    }
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// Where a database points by its line; `None` where that leaves the host or the port open.
fn place_in(text: &str, database: &str) -> Result<Option<Place>, String> {
    let (from, to) = line_of(text, database).ok_or_else(|| no_entry(database))?;
    let (_, settings) = text[from..to].split_once('=').unwrap_or_default();
    let settings = settings_of(settings).ok_or_else(|| not_understood(database))?;
    let value = |key: &str| settings.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| plain(value));
    let port = value("port").and_then(|port| port.parse().ok());
    Ok(value("host").zip(port).map(|(host, port)| Place { host, port }))
}

/// A value without its quotes.
fn plain(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => inner.replace("''", "'"),
        None => value.to_owned(),
    }
}

fn not_understood(database: &str) -> String {
    format!("the line of {database} cannot be understood")
}

fn no_entry(database: &str) -> String {
    format!("it has no line \"{database} = …\" in [databases]")
}

/// Whole or not at all, with the mode and owner that it had: PgBouncer may read it at any moment.
fn replace(path: &Path, text: &str, known: &fs::Metadata) -> std::io::Result<()> {
    let draft = draft_of(path);
    let written = || {
        // What an engine that died left there is nobody's.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        if file.metadata()?.uid() != known.uid() || file.metadata()?.gid() != known.gid() {
            match fchown(&file, Some(known.uid()), Some(known.gid())) {
                // Only root gives files away. What everybody may read PgBouncer reads from us, too.
                Err(error) if error.kind() == ErrorKind::PermissionDenied && is_read_by_all(known) => {}
                other => other?,
            }
        }
        file.set_permissions(fs::Permissions::from_mode(known.mode() & 0o7777))?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    written().inspect_err(|_| drop(fs::remove_file(&draft)))
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".failover");
    path.with_file_name(name)
}

/// The text with the host and port of one database changed.
fn pointed(text: &str, database: &str, place: &Place) -> Result<String, String> {
    let (from, to) = line_of(text, database).ok_or_else(|| no_entry(database))?;
    let line = &text[from..to];
    let (name, settings) = line.split_once('=').unwrap_or((line, ""));
    let mut seen = [false; 2];
    let mut words: Vec<String> = Vec::new();
    for (key, value) in settings_of(settings).ok_or_else(|| not_understood(database))? {
        let value = match key {
            "host" => {
                seen[0] = true;
                place.host.clone()
            }
            "port" => {
                seen[1] = true;
                place.port.to_string()
            }
            _ => value.to_owned(),
        };
        words.push(format!("{key}={value}"));
    }
    if !seen[1] {
        words.insert(0, format!("port={}", place.port));
    }
    if !seen[0] {
        words.insert(0, format!("host={}", place.host));
    }
    Ok(format!("{}{}= {}{}", &text[..from], name, words.join(" "), &text[to..]))
}

/// Where the line of a database is: in `[databases]`, or in no section at all, as in a file that is included there.
fn line_of(text: &str, database: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut inside = true;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        let trimmed = content.trim();
        if trimmed.starts_with('[') {
            inside = trimmed.eq_ignore_ascii_case("[databases]");
        } else if inside
            && !trimmed.starts_with([';', '#', '%'])
            && content.split_once('=').is_some_and(|(name, _)| unquoted(name.trim()) == database)
        {
            return Some((at, at + content.len()));
        }
        at += line.len();
    }
    None
}

pub(super) fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

/// `key=value` pairs, the values as they are written, quotes and all; `None` where that is not what they are.
fn settings_of(mut text: &str) -> Option<Vec<(&str, &str)>> {
    let mut pairs = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Some(pairs);
        }
        let (key, rest) = text.split_once('=')?;
        let key = key.trim();
        let rest = rest.trim_start();
        let end = if rest.starts_with('\'') { quoted_end(rest)? } else { rest.find(char::is_whitespace).unwrap_or(rest.len()) };
        if key.is_empty() || key.contains(char::is_whitespace) {
            return None;
        }
        pairs.push((key, &rest[..end]));
        text = &rest[end..];
    }
}

/// Behind the closing quote; two quotes are one inside.
fn quoted_end(text: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find('\'')? + 1;
        if !text[at..].starts_with('\'') {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { host: "10.0.0.2".to_owned(), port: 5433 }
    }

    #[test]
    fn only_host_and_port_of_one_line_change() {
        for (line, expected) in [
            ("orders = host=10.0.0.1 port=5432 dbname=orders", "orders = host=10.0.0.2 port=5433 dbname=orders"),
            ("orders=dbname=orders host=10.0.0.1", "orders= port=5433 dbname=orders host=10.0.0.2"),
            ("orders =", "orders = host=10.0.0.2 port=5433"),
            (
                "\"orders\" = host='10.0.0.1' password='it''s = so' port = 1",
                "\"orders\" = host=10.0.0.2 password='it''s = so' port=5433",
            ),
        ] {
            let text = format!("; ours\n[databases]\nreports = host=10.0.0.1\n{line}\n[pgbouncer]\norders = host=1\n");
            let changed = pointed(&text, "orders", &place()).unwrap();
            assert_eq!(changed, text.replace(&format!("\n{line}\n"), &format!("\n{expected}\n")), "{line}");
            assert_eq!(pointed(&changed, "orders", &place()).unwrap(), changed, "and once more nothing");
        }
        let included = "orders = host=10.0.0.1";
        assert_eq!(pointed(included, "orders", &place()).unwrap(), "orders = port=5433 host=10.0.0.2");
    }

    /// A file that nobody but its group may read does not become one that its group cannot read.
    #[test]
    fn a_file_whose_owner_cannot_be_kept_is_told_beforehand_unless_everybody_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("databases.ini");
        fs::write(&path, "[databases]\n").unwrap();
        let readable = |mode: u32, user: &dyn Fn(u32) -> u32, group: &dyn Fn(u32) -> u32| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let known = fs::metadata(&path).unwrap();
            stays_readable(&known, user(known.uid()), &[group(known.gid())])
        };
        let (own, other, root) = (&|id: u32| id, &|id: u32| id + 1, &|_: u32| 0);
        assert!(readable(0o640, own, own) && readable(0o640, root, other));
        assert!(!readable(0o640, other, own) && !readable(0o660, other, other));
        assert!(readable(0o644, other, other));
        assert_eq!(probe(&path, &[]), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_there_or_not_understood_is_named() {
        for text in ["", "[databases]\n;orders = host=1\n", "[users]\norders = host=1\n", "[databases]\n* = host=1\n"] {
            assert!(pointed(text, "orders", &place()).unwrap_err().contains("no line"), "{text:?}");
        }
        for line in ["orders = host", "orders = host='10", "orders = a b=c", "orders = ="] {
            assert!(pointed(line, "orders", &place()).unwrap_err().contains("understood"), "{line:?}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("databases.ini");
        let databases = ["orders".to_owned()];
        fs::write(&path, "orders = host=10.0.0.1 port=5432\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        // Left by an engine that died.
        fs::write(draft_of(&path), "half").unwrap();
        assert_eq!(point(&path, &databases, &place()), Ok(true));
        assert_eq!(point(&path, &databases, &place()), Ok(false));
        assert_eq!(fs::read_to_string(&path).unwrap(), "orders = host=10.0.0.2 port=5433\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert!(!draft_of(&path).exists());
        assert_eq!(probe(&path, &databases), Ok(vec![Some(place())]));
        fs::write(&path, "orders = host='10.0.0.2' port = '5433'\nreports = host=x\nbad = host\n").unwrap();
        assert_eq!(probe(&path, &["orders".to_owned(), "reports".to_owned()]), Ok(vec![Some(place()), None]));
        assert!(probe(&path, &["bad".to_owned()]).unwrap_err().contains("understood"));
        assert!(probe(&path, &["another".to_owned()]).unwrap_err().contains("no line"));
        assert!(point(&folder.path().join("other"), &databases, &place()).unwrap_err().contains("cannot be found"));
    }
}
