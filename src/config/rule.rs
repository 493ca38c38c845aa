//! What a value must be beyond its type: checked by the reader, stated by the schema and the reference.

use std::net::IpAddr;

use super::secret_source::MASK;

/// A limit on a value. On a list it holds for every item, except where it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Whatever the type allows; a text is one line.
    Any,
    /// An integer from the first to the second number.
    Range(u64, u64),
    /// A duration from the first to the second.
    Span(&'static str, &'static str),
    /// A size in bytes from the first to the second number.
    Bytes(u64, u64),
    /// A name of ours.
    Name,
    /// A name or address of a host, or a folder of UNIX sockets.
    Host,
    /// A host and a port.
    HostPort,
    /// An IP address and a port, where we listen.
    Listen,
    /// A user of a server; a password has a key of its own.
    User,
    /// An absolute path on another host.
    HostPath,
    /// An http or https URL without credentials.
    Url,
    /// A name that goes into HAProxy's line protocol.
    HaproxyName,
    /// A word without spaces.
    Word,
    /// One line.
    Line,
    /// Text that may have several lines.
    Prose,
    /// The list is a command: its first item an absolute path.
    Argv,
    /// The list has at least one item.
    NotEmpty,
}

/// The longest text.
const LONGEST: usize = 4096;

/// Why a text cannot stay, and what to write instead.
pub(super) type Objection = (String, String);

fn object<T>(reason: impl Into<String>, remedy: impl Into<String>) -> Result<T, Objection> {
    Err((reason.into(), remedy.into()))
}

impl Rule {
    /// Whether a text keeps the rule.
    pub(super) fn check_text(self, text: &str) -> Result<(), Objection> {
        if text.is_empty() {
            return object("this is empty", "write something, or leave the key out");
        }
        if text.len() > LONGEST {
            return object(format!("this is longer than {LONGEST} bytes"), "shorten it");
        }
        let breaks = matches!(self, Rule::Prose) && !text.contains('\0');
        if !breaks && text.chars().any(char::is_control) {
            return object("this has a control character", "remove it");
        }
        if text.contains("://") && text.contains(MASK) {
            return object(
                "this has the mask in it that stands for a secret in printed configurations, not the secret",
                "write the secret itself, or better a header or a file that has it",
            );
        }
        match self {
            Rule::Name => name(text),
            Rule::Host => host(text),
            Rule::HostPath => host_path(text),
            Rule::Url => url(text),
            Rule::HaproxyName => haproxy_name(text),
            Rule::Word if text.contains(char::is_whitespace) => object("this has a space", "remove it"),
            _ => Ok(()),
        }
    }

    /// The rule as a regular expression (ECMA 262), where it has one.
    pub(super) fn pattern(self) -> Option<&'static str> {
        match self {
            Rule::Name => Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"),
            Rule::HostPath => Some("^/"),
            Rule::Url => Some("^https?://"),
            Rule::HaproxyName => Some("^[A-Za-z0-9._:-]+$"),
            Rule::Word => Some("^\\S+$"),
            _ => None,
        }
    }
}

fn name(text: &str) -> Result<(), Objection> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if text.len() <= 63 && text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(allowed) {
        return Ok(());
    }
    object("this is no valid name", "use up to 63 letters, digits, '.', '_' and '-', and begin with a letter or digit")
}

/// Whether a text can be the name or address of a host.
pub(super) fn is_host_name(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
    };
    // An IPv6 zone (`fe80::1%eth0`) is part of the address.
    let address = bare.split_once('%').map_or(bare, |(address, _)| address);
    // A dot at the end makes the name a whole one.
    let name = text.strip_suffix('.').unwrap_or(text);
    // Numbers alone are an address or a slip of the pen.
    let numbers = name.contains('.') && name.split('.').all(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    address.parse::<IpAddr>().is_ok() || (text.len() <= 253 && !numbers && name.split('.').all(label))
}

fn host(text: &str) -> Result<(), Objection> {
    if text.starts_with('/') || is_host_name(text) {
        return Ok(());
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && is_host_name(name)
        && port.parse::<u16>().is_ok()
    {
        return object("the port has its own key", format!("write host = \"{name}\" and port = {port}"));
    }
    let (bare, remedy) = (text.trim(), |host: &str| format!("write host = \"{host}\""));
    if bare != text && is_host_name(bare) {
        return object("this has a blank at its begin or end", remedy(bare));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let name = place.rsplit_once(':').map_or(place, |(name, port)| if port.parse::<u16>().is_ok() { name } else { place });
        let host = if is_host_name(name) { name } else { "NAME" };
        return object(format!("this is a URL, and a host is written without {scheme}://"), remedy(host));
    }
    if text.split('.').rev().skip(1).any(str::is_empty) || text.ends_with("..") {
        return object("this has an empty label: two dots, or one at its begin", "remove the dot that is too much");
    }
    if text.split('.').all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit())) {
        return object("these are numbers, and no IPv4 address", "write four numbers from 0 to 255, or a name");
    }
    object("this is no host name or address", "write a name, an IPv4 or IPv6 address, or the folder of a UNIX socket")
}

fn host_path(text: &str) -> Result<(), Objection> {
    if !text.starts_with('/') {
        return object("this is no absolute path", "write a path that starts with '/'");
    }
    if text.split('/').any(|part| part == "..") {
        return object("this path goes up by '..'", "write the path it leads to");
    }
    Ok(())
}

fn url(text: &str) -> Result<(), Objection> {
    const REMEDY: &str = "write http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH";
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return object("this is no http or https URL", REMEDY);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return object(
            "a URL may hold no credentials: it is logged and shown",
            "write them as headers = { Authorization = { env = \"NAME\" } }",
        );
    }
    if text.contains(char::is_whitespace) || text.contains('#') {
        return object("a URL may hold no space and no fragment", REMEDY);
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if !is_host_name(host) {
        return object("the URL has no valid host", REMEDY);
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return object("the port of the URL is not from 1 to 65535", REMEDY);
    }
    Ok(())
}

fn haproxy_name(text: &str) -> Result<(), Objection> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | ':');
    if text.chars().all(allowed) {
        return Ok(());
    }
    object("this is no name that HAProxy knows", "use letters, digits, '-', '_', '.' and ':'")
}
