//! A standby's `primary_conninfo`: where it leads, and the same pointed to another server.
//!
//! libpq reads two forms, keywords (`host=db1 user=repl`) and URIs (`postgresql://repl@db1/`); both are in the PostgreSQL manual, section
//! "Connection Strings". Of a keyword that is there twice the last one counts. It may hold a password: nothing here is printed by itself.

/// A connection string, as its keywords.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Conninfo {
    pairs: Vec<(String, String)>,
}

/// One of the servers that it may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    /// Its `host`; else its `hostaddr`.
    pub host: String,
    /// Its `hostaddr`, which is what is connected to where both are there.
    pub address: Option<String>,
    /// Its port.
    pub port: u16,
}

const DEFAULT_PORT: u16 = 5_432;

impl Conninfo {
    /// Reads either form.
    ///
    /// # Errors
    /// What cannot be read, without what it holds.
    pub(super) fn parse(text: &str) -> Result<Conninfo, String> {
        let text = text.trim();
        let uri = ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let pairs = match uri {
            Some(rest) => from_uri(rest)?,
            None => from_keywords(text)?,
        };
        Ok(Conninfo { pairs })
    }

    /// The value of a keyword.
    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(name, _)| name == keyword)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A password stands in it.
    pub(super) fn has_password(&self) -> bool {
        ["password", "sslpassword"].iter().any(|keyword| self.get(keyword).is_some())
    }

    /// The servers that it may connect to, in their order.
    pub(super) fn upstreams(&self) -> Vec<Upstream> {
        let list = |keyword| self.get(keyword).map(|value| value.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>());
        let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port").unwrap_or_default());
        let count = hosts.as_ref().or(addresses.as_ref()).map_or(0, Vec::len);
        let at = |list: &Option<Vec<String>>, place: usize| list.as_ref().and_then(|list| list.get(place)).cloned();
        (0..count)
            .filter_map(|place| {
                let address = at(&addresses, place).filter(|address| !address.is_empty());
                let host = at(&hosts, place).filter(|host| !host.is_empty()).or_else(|| address.clone())?;
                // One port stands for all.
                let port = ports.get(place).or(ports.first().filter(|_| ports.len() == 1));
                let port = port.and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT);
                Some(Upstream { host, address, port })
            })
            .collect()
    }

    /// The same to another server.
    pub(super) fn pointed_to(&self, host: &str, port: u16) -> Conninfo {
        let stays = |(keyword, _): &&(String, String)| !matches!(keyword.as_str(), "host" | "hostaddr" | "port");
        let place = [("host".to_owned(), host.to_owned()), ("port".to_owned(), port.to_string())];
        Conninfo { pairs: place.into_iter().chain(self.pairs.iter().filter(stays).cloned()).collect() }
    }

    /// As keywords, every value in quotes where that is needed.
    pub(super) fn text(&self) -> String {
        let pair = |(keyword, value): &(String, String)| {
            let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:,@%+".contains(c));
            if plain {
                format!("{keyword}={value}")
            } else {
                format!("{keyword}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
            }
        };
        self.pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
    }
}

fn from_keywords(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (keyword, after) = rest.split_once('=').ok_or("a keyword without a value")?;
        let keyword = keyword.trim();
        if keyword.is_empty() || keyword.contains(char::is_whitespace) {
            return Err("a keyword without a value".to_owned());
        }
        let (value, after) = value_of(after.trim_start())?;
        pairs.push((keyword.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// A value and what comes behind it: up to a blank, or in single quotes; `\` takes the next character as it is.
fn value_of(text: &str) -> Result<(String, &str), String> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices();
    if quoted {
        characters.next();
    }
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted { Err("a quote that is not closed".to_owned()) } else { Ok((value, "")) }
}

/// What stands behind the scheme: `[user[:password]@][host[:port],...][/database][?keyword=value&...]`.
fn from_uri(text: &str) -> Result<Vec<(String, String)>, String> {
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (place, database) = text.split_once('/').unwrap_or((text, ""));
    let (user, hosts) = place.rsplit_once('@').unwrap_or(("", place));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let mut pairs = Vec::new();
    let mut ports = Vec::new();
    let mut names = Vec::new();
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, port)) => (name, port.strip_prefix(':').unwrap_or_default()),
            None => host.rsplit_once(':').unwrap_or((host, "")),
        };
        names.push(decoded(name)?);
        ports.push(if port.is_empty() { DEFAULT_PORT.to_string() } else { port.to_owned() });
    }
    let given = [
        ("host", names.join(",")),
        ("port", ports.join(",")),
        ("user", decoded(user)?),
        ("password", decoded(password)?),
        ("dbname", decoded(database)?),
    ];
    pairs.extend(given.into_iter().filter(|(_, value)| !value.is_empty()).map(|(keyword, value)| (keyword.to_owned(), value)));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (keyword, value) = pair.split_once('=').ok_or("a keyword without a value")?;
        pairs.push((decoded(keyword)?, decoded(value)?));
    }
    Ok(pairs)
}

fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "a percent sign without two hexadecimal digits".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next()).ok_or_else(wrong)?, digit(rest.next()).ok_or_else(wrong)?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| "bytes that are no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Conninfo {
        Conninfo::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn both_forms_are_read_and_pointed_elsewhere() {
        let table = [
            ("host=db1 port=5433 user=repl", "host=db2 port=7 user=repl"),
            ("user=repl host = db1 passfile='/a b/c'", "host=db2 port=7 user=repl passfile='/a b/c'"),
            (r"host=db1 application_name='it\'s' options=a\ b", r"host=db2 port=7 application_name='it\'s' options='a b'"),
            (
                "host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2 target_session_attrs=primary",
                "host=db2 port=7 target_session_attrs=primary",
            ),
            (
                "postgresql://re%20pl@db1:5433/postgres?sslmode=require&application_name=db3",
                "host=db2 port=7 user='re pl' dbname=postgres sslmode=require application_name=db3",
            ),
            ("", "host=db2 port=7"),
        ];
        for (text, pointed) in table {
            assert_eq!(read(text).pointed_to("db2", 7).text(), pointed, "{text}");
            // What is written is read as the same.
            assert!(read(pointed).text() == pointed, "{pointed}");
        }
    }

    #[test]
    fn every_server_that_it_may_connect_to_is_found() {
        let upstream = |host: &str, address: Option<&str>, port| Upstream {
            host: host.to_owned(),
            address: address.map(str::to_owned),
            port,
        };
        let table = [
            ("host=db1", vec![upstream("db1", None, 5_432)]),
            ("hostaddr=10.0.0.1 port=1", vec![upstream("10.0.0.1", Some("10.0.0.1"), 1)]),
            ("host=a,b port=1,2", vec![upstream("a", None, 1), upstream("b", None, 2)]),
            ("host=a,b port=3", vec![upstream("a", None, 3), upstream("b", None, 3)]),
            ("host=old host=new", vec![upstream("new", None, 5_432)]),
            ("host=/run/postgresql port=5433", vec![upstream("/run/postgresql", None, 5_433)]),
            ("postgres://u:secret@[::1]:9,db2/", vec![upstream("::1", None, 9), upstream("db2", None, 5_432)]),
            ("user=repl", Vec::new()),
        ];
        for (text, upstreams) in table {
            assert_eq!(read(text).upstreams(), upstreams, "{text}");
        }
    }

    #[test]
    fn a_password_is_seen_in_either_form() {
        for (text, has) in [
            ("host=a password=x", true),
            ("host=a password=''", false),
            ("host=a sslpassword = x", true),
            ("host=a passfile=/p", false),
            ("postgresql://u:x@a/", true),
            ("postgresql://u@a/?password=x", true),
        ] {
            assert_eq!(read(text).has_password(), has, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_without_its_text() {
        for text in ["host", "host=a 'b", "password='secret", "host=a secret", "postgresql://a?secret", "postgresql://a%zz/"] {
            let why = Conninfo::parse(text).err().unwrap_or_else(|| panic!("{text} was read"));
            assert!(!why.contains("secret") && !why.is_empty(), "{text}: {why}");
        }
    }
}
