//! Password files of libpq.

/// A file as it may lie there.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(content: &str) {
    let _ = lookup(content, Wanted { host: "db1", port: 5432, database: "postgres", user: "failover" });
}

/// What a line of the file must match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that matches, by libpq's rules: fields `host:port:database:user:password`, a field that
/// is exactly `*` matches everything, a backslash takes the next character as it is, lines that start with `#` are comments.
pub(super) fn lookup(file: &str, wanted: Wanted<'_>) -> Option<String> {
    // libpq looks up the default socket folder as `localhost`; which one is the default is a choice of the packagers.
    let default_folder = matches!(wanted.host, "/tmp" | "/var/run/postgresql" | "/run/postgresql");
    let port = wanted.port.to_string();
    let line_for = |host: &str| {
        file.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let rest = [host, &port, wanted.database, wanted.user].into_iter().try_fold(line, match_field)?;
            let password = unescape(rest.strip_suffix('\r').unwrap_or(rest));
            (!password.is_empty()).then_some(password)
        })
    };
    line_for(wanted.host).or_else(|| if default_folder { line_for("localhost") } else { None })
}

/// The rest of the line behind its first field, if that matches.
fn match_field<'l>(line: &'l str, wanted: &str) -> Option<&'l str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut wanted = wanted.chars();
    let mut characters = line.char_indices();
    while let Some((index, character)) = characters.next() {
        let character = match character {
            ':' => return if wanted.next().is_none() { line.get(index + 1..) } else { None },
            '\\' => characters.next()?.1,
            other => other,
        };
        if wanted.next() != Some(character) {
            return None;
        }
    }
    None
}

/// The field up to the next colon, backslashes resolved.
fn unescape(field: &str) -> String {
    let mut out = String::new();
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' => break,
            '\\' => out.push(characters.next().unwrap_or('\\')),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Wanted, lookup};

    const FILE: &str = concat!(
        "# db1:5432:*:*:commented\n",
        "db1:5432:postgres:failover:plain\n",
        "db1:5433:*:failover:star\r\n",
        "a\\:b:*:*:*:colon\\:and\\\\slash\n",
        "::1:5432:*:*:never\n",
        "\\:\\:1:5432:*:*:six\n",
        "localhost:5432:*:*:socket\n",
        "*x:*:*:*:nostar\n",
        "tail:*:*:*:first:rest\n",
        "empty:*:*:*:\n",
        "empty:*:*:*:second\n",
        "short:5432:postgres\n",
        "*:*:*:guest:wild\n",
    );

    fn password(host: &str, port: u16, user: &str) -> Option<String> {
        lookup(FILE, Wanted { host, port, database: "postgres", user })
    }

    #[test]
    fn lines_match_as_in_libpq() {
        let cases = [
            ("db1", 5432, "failover", Some("plain")),
            ("db1", 5432, "other", None),
            ("db1", 5433, "failover", Some("star")),
            ("a:b", 1, "x", Some("colon:and\\slash")),
            ("::1", 5432, "x", Some("six")),
            ("/var/run/postgresql", 5432, "x", Some("socket")),
            ("/other/folder", 5432, "x", None),
            ("anything", 1, "x", None),
            ("*x", 1, "x", Some("nostar")),
            ("tail", 1, "x", Some("first")),
            ("empty", 1, "x", Some("second")),
            ("short", 5432, "x", None),
            ("db", 5432, "failover", None),
            ("db12", 5432, "failover", None),
            ("anything", 9, "guest", Some("wild")),
        ];
        for (host, port, user, wanted) in cases {
            assert_eq!(password(host, port, user).as_deref(), wanted, "{host}:{port} as {user}");
        }
    }
}
