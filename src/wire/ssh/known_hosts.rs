//! OpenSSH's `known_hosts`: which keys a host may show, and which kinds of key to ask it for.

use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ssh2::{CheckResult, KnownHostFileKind, Session};

/// Longer files are refused: every line may cost a hash on every connection.
const LONGEST_FILE: u64 = 4 * 1024 * 1024;

/// Every kind of host key that is asked for, best first, as `known_hosts` calls it and as the handshake does.
const KINDS: [(&str, &[&str]); 5] = [
    ("ssh-ed25519", &["ssh-ed25519"]),
    ("ecdsa-sha2-nistp256", &["ecdsa-sha2-nistp256"]),
    ("ecdsa-sha2-nistp384", &["ecdsa-sha2-nistp384"]),
    ("ecdsa-sha2-nistp521", &["ecdsa-sha2-nistp521"]),
    ("ssh-rsa", &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]),
];

/// What the file knows about one host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    entries: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Listed under `[host]:port` (or under `host` for port 22), not merely under the bare name.
    exact: bool,
    revoked: bool,
    kind: String,
    /// Base64 without padding.
    key: String,
}

/// What the file says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is the host's.
    Trusted,
    /// It was revoked.
    Revoked,
    /// The host is known by other keys: their kinds.
    Mismatch(Vec<String>),
    /// The host is not in the file.
    Unknown,
}

impl Known {
    /// Reads what `path` has about a host.
    pub(super) fn read(path: &Path, host: &str, port: u16, session: &Session) -> Result<Known, String> {
        let mut text = Vec::new();
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        let length = file.take(LONGEST_FILE + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
        if length as u64 > LONGEST_FILE {
            return Err(format!("longer than {LONGEST_FILE} bytes"));
        }
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let mut known = Known::default();
        for line in String::from_utf8_lossy(&text).lines() {
            known.entries.extend(entry(line.trim(), &host, port, session));
        }
        Ok(known)
    }

    /// Judges a key the host showed.
    pub(super) fn judge(&self, key: &[u8]) -> Judgement {
        let key = base64(key);
        let same = |entry: &&Entry| entry.key == key;
        if self.entries.iter().filter(|entry| entry.revoked).any(|entry| entry.key == key) {
            return Judgement::Revoked;
        }
        if self.entries.iter().filter(|entry| !entry.revoked).find(same).is_some() {
            return Judgement::Trusted;
        }
        let mut kinds: Vec<String> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.exact && !entry.revoked) {
            if !kinds.contains(&entry.kind) {
                kinds.push(entry.kind.clone());
            }
        }
        if kinds.is_empty() { Judgement::Unknown } else { Judgement::Mismatch(kinds) }
    }

    /// The host key methods to offer: the kinds that are in the file first, or the server may show another of its keys,
    /// which could not be judged.
    pub(super) fn methods(&self, supported: &[&str]) -> String {
        let is_known = |kind: &str| self.entries.iter().any(|entry| !entry.revoked && entry.kind == kind);
        let (known, others): (Vec<_>, Vec<_>) = KINDS.iter().partition(|(kind, _)| is_known(kind));
        let methods: Vec<&str> = known
            .iter()
            .chain(&others)
            .flat_map(|(_, methods)| methods.iter().copied())
            .filter(|method| supported.contains(method))
            .collect();
        methods.join(",")
    }
}

/// A file as it may lie there, asked about a name, an address and another port.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(content: &[u8]) {
    let directory = crate::scratch::folder();
    let path = directory.join("known_hosts");
    if let (Ok(()), Ok(session)) = (std::fs::write(&path, content), Session::new()) {
        for (host, port) in [("db1", 22), ("[::1]", 22), ("127.0.0.1", 2222)] {
            if let Ok(known) = Known::read(&path, host, port, &session) {
                let _ = known.judge(content);
                let _ = known.methods(&["ssh-ed25519"]);
            }
        }
    }
    let _ = std::fs::remove_dir_all(directory);
}

/// Reads one line, if it is about the host.
fn entry(line: &str, host: &str, port: u16, session: &Session) -> Option<Entry> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_ascii_whitespace();
    let mut hosts = fields.next()?;
    let mut revoked = false;
    if hosts.starts_with('@') {
        // Certificates are never asked for, so an authority's key vouches for nothing here.
        if hosts != "@revoked" {
            return None;
        }
        revoked = true;
        hosts = fields.next()?;
    }
    let (kind, key) = (fields.next()?, fields.next()?);
    let bracketed = format!("[{host}]:{port}");
    let exact = if port == 22 { matches(hosts, host, session) } else { matches(hosts, &bracketed, session) };
    // As OpenSSH does: the bare name's key is accepted on another port too, but its absence is no mismatch.
    if !exact && (port == 22 || !matches(hosts, host, session)) {
        return None;
    }
    Some(Entry { exact, revoked, kind: kind.to_owned(), key: key.trim_end_matches('=').to_owned() })
}

/// True when the first field of a line is about `name`.
fn matches(hosts: &str, name: &str, session: &Session) -> bool {
    if hosts.starts_with('|') {
        return hashed(hosts, name, session);
    }
    let mut found = false;
    for pattern in hosts.split(',') {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            Some(unwanted) if glob(unwanted.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= glob(pattern.as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// Asks libssh2, which has the hash, whether a hashed name is `name`: a set with this one line either knows the name
/// (by whatever key) or does not.
fn hashed(hosts: &str, name: &str, session: &Session) -> bool {
    let Ok(mut one) = session.known_hosts() else { return false };
    // Any well-formed key will do: only the name is asked about.
    let line = format!("{hosts} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
    one.read_str(&line, KnownHostFileKind::OpenSSH).is_ok()
        && matches!(one.check(name, b"another key"), CheckResult::Match | CheckResult::Mismatch)
}

/// `*` and `?`, as in `known_hosts`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((back, from)) = star {
            p = back + 1;
            t = from + 1;
            star = Some((back, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// Base64 without padding, as OpenSSH prints fingerprints.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBv0RUqGhDrVRzbDwfUWmCuCcb9TKWDfyC7jd1DRqxsA";

    fn decode(text: &str) -> Vec<u8> {
        STANDARD_NO_PAD.decode(text).unwrap()
    }

    fn judge(file: &str, host: &str, port: u16) -> Judgement {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        std::fs::write(&path, file).unwrap();
        Known::read(&path, host, port, &Session::new().unwrap()).unwrap().judge(&decode(KEY))
    }

    #[test]
    fn names_ports_patterns_and_markers() {
        let other = KEY.replace('0', "1");
        let cases = [
            (format!("db1 ssh-ed25519 {KEY}"), "db1", 22, Judgement::Trusted),
            (format!("db1 ssh-ed25519 {KEY} a comment"), "DB1", 22, Judgement::Trusted),
            (format!("db1 ssh-ed25519 {KEY}"), "db1", 2222, Judgement::Trusted),
            (format!("[db1]:2222 ssh-ed25519 {KEY}"), "db1", 2222, Judgement::Trusted),
            (format!("[db1]:2222 ssh-ed25519 {KEY}"), "db1", 2223, Judgement::Unknown),
            (format!("[db1]:2222 ssh-ed25519 {KEY}"), "db1", 22, Judgement::Unknown),
            (format!("[::1]:2222 ssh-ed25519 {KEY}"), "[::1]", 2222, Judgement::Trusted),
            (format!("db1 ssh-ed25519 {other}"), "db1", 22, Judgement::Mismatch(vec!["ssh-ed25519".into()])),
            (format!("db1 ssh-ed25519 {other}"), "db1", 2222, Judgement::Unknown),
            (format!("db1 ssh-rsa {other}\ndb1 ssh-ed25519 {KEY}"), "db1", 22, Judgement::Trusted),
            (format!("*.net,!db9.net ssh-ed25519 {KEY}"), "db1.net", 22, Judgement::Trusted),
            (format!("*.net,!db9.net ssh-ed25519 {KEY}"), "db9.net", 22, Judgement::Unknown),
            (format!("@revoked * ssh-ed25519 {KEY}\ndb1 ssh-ed25519 {KEY}"), "db1", 22, Judgement::Revoked),
            (format!("@cert-authority * ssh-ed25519 {KEY}"), "db1", 22, Judgement::Unknown),
            ("db1 ssh-ed25519\n|1|x\n\u{0}\u{1}garbage\n|1||| a b".into(), "db1", 22, Judgement::Unknown),
        ];
        for (file, host, port, wanted) in cases {
            assert_eq!(judge(&file, host, port), wanted, "{host}:{port} in {file}");
        }
    }

    #[test]
    fn kinds_in_the_file_are_asked_for_first() {
        let entry = Entry { exact: true, revoked: false, kind: "ssh-rsa".into(), key: KEY.into() };
        let supported = ["ssh-ed25519", "ssh-rsa", "rsa-sha2-256"];
        assert_eq!(Known { entries: vec![entry] }.methods(&supported), "rsa-sha2-256,ssh-rsa,ssh-ed25519");
        assert_eq!(Known::default().methods(&supported), "ssh-ed25519,rsa-sha2-256,ssh-rsa");
    }

    #[test]
    fn stars_match_as_in_a_shell() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("a*b", "a--b", true),
            ("a*b", "a--c", false),
            ("?b", "ab", true),
            ("", "a", false),
            ("*a*", "bab", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
        }
    }
}
