//! Who signs: the usual chain of places where credentials are found.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use native_tls::TlsConnector;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use ureq::http::{HeaderValue, Method, Request, Uri};

use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::http::{Exchange, Fault, FaultKind, Reply, host_and_port};
use crate::wire::resolve::Addresses;

/// Credentials are renewed so long before they expire.
const AHEAD: Duration = Duration::from_secs(300);
/// One request to a container's or an instance's endpoint. They are on this machine: outside of a cloud nobody answers at all.
const ENDPOINT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Tries of such a request that met an error of the server's, a closed connection, or a name without an address yet.
const ENDPOINT_TRIES: u32 = 3;
const ENDPOINT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an answer with credentials, of a file with profiles, and of a file with a token.
const ANSWER_LIMIT: usize = 64 * 1024;
const FILE_LIMIT: u64 = 1024 * 1024;

const INSTANCE: &str = "http://169.254.169.254";
const INSTANCE_V6: &str = "http://[fd00:ec2::254]";
const CONTAINER: &str = "http://169.254.170.2";
/// Where a container's credentials may be fetched without TLS, besides this machine: addresses that never leave it.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// The variables of the environment that the chain reads.
const VARIABLES: [&str; 15] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "HOME",
];

/// Where the credentials come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CredentialsSource {
    /// The first of these that has any: the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`), the
    /// shared files (profile `AWS_PROFILE`, else `default`), the container's endpoint, the instance's endpoint (IMDSv2).
    #[default]
    Chain,
    /// This profile of the shared files, and nothing else. Only profiles with keys in them: no roles, processes or SSO.
    Profile(String),
    /// These keys, and nothing else.
    Keys {
        /// The access key's ID.
        access_key_id: String,
        /// The key itself.
        secret_access_key: Secret,
        /// With temporary keys: the token that belongs to them.
        session_token: Option<Secret>,
    },
}

/// The variables of the environment that the chain looks at, taken once. Its `Debug` shows names only.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, Secret>);

impl Environment {
    /// What the process has. Variables that are empty or not text are left out.
    #[must_use]
    pub(crate) fn of_process() -> Environment {
        Environment::from_variables(VARIABLES.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))))
    }

    /// These variables; names that the chain does not read are left out.
    #[must_use]
    pub(crate) fn from_variables<N: AsRef<str>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Environment {
        let variables = variables.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.into()));
        let known = variables.filter(|(name, value)| VARIABLES.contains(&name.as_str()) && !value.is_empty());
        Environment(known.map(|(name, value)| (name, Secret::new(value))).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(VARIABLES.contains(&name), "{name} is not among VARIABLES");
        self.0.get(name).map(Secret::expose)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn shared_file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        match self.get(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => self.get("HOME").map(|home| Path::new(home).join(".aws").join(name)),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A key that signs. Its `Debug` shows where it came from.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) key_id: String,
    pub(super) key: Secret,
    pub(super) token: Option<Secret>,
    expires: Option<SystemTime>,
    /// Where it was found, for people.
    pub(super) from: String,
}

impl Credentials {
    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now + AHEAD < expires)
    }

    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub(super) fn same_key(&self, other: &Credentials) -> bool {
        self.key_id == other.key_id && self.key == other.key && self.token == other.token
    }

    /// Keys of a configuration.
    #[cfg(test)]
    pub(super) fn example(key_id: &str, key: &str, token: Option<&str>) -> Credentials {
        credentials(key_id, key, token, "the configuration").unwrap()
    }

    /// Takes the key and the token out of a text that a server wrote.
    pub(super) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in [Some(&self.key), self.token.as_ref()].into_iter().flatten() {
            text = text.replace(secret.expose(), "********");
        }
        text
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credentials from {}", self.from)
    }
}

/// Why a source has no credentials.
#[derive(Debug)]
pub(super) enum Lack {
    /// The cancel signal was given.
    Cancelled,
    /// One line for people: every source that was tried, and what was wrong with it.
    Nothing(String),
}

impl From<String> for Lack {
    fn from(why: String) -> Lack {
        Lack::Nothing(why)
    }
}

/// Looks for credentials.
pub(super) struct Finder<'a> {
    pub(super) source: &'a CredentialsSource,
    pub(super) environment: &'a Environment,
    pub(super) addresses: &'a dyn Addresses,
    pub(super) tls: Option<&'a TlsConnector>,
    pub(super) deadline: Deadline,
    pub(super) cancel: &'a Cancel,
}

impl Finder<'_> {
    /// The credentials of the first source that has any.
    pub(super) fn find(&self) -> Result<Credentials, Lack> {
        match self.source {
            CredentialsSource::Keys { access_key_id, secret_access_key, session_token } => {
                let from = "the configuration";
                Ok(credentials(access_key_id, secret_access_key.expose(), session_token.as_ref().map(Secret::expose), from)?)
            }
            CredentialsSource::Profile(name) => Ok(self.profile(name)?),
            CredentialsSource::Chain => self.chain(),
        }
    }

    fn chain(&self) -> Result<Credentials, Lack> {
        let mut tried = Vec::new();
        let profile = self.environment.get("AWS_PROFILE").unwrap_or("default");
        for source in ["environment", "shared files", "container", "instance"] {
            let found = match source {
                "environment" => self.variables().map_err(Lack::from),
                "shared files" => self.profile(profile).map_err(Lack::from),
                "container" => self.container(),
                _ => self.instance(),
            };
            match found {
                Ok(found) => return Ok(found),
                Err(Lack::Cancelled) => return Err(Lack::Cancelled),
                Err(Lack::Nothing(why)) => tried.push(format!("{source}: {why}")),
            }
        }
        if self.environment.get("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
            tried.push("web identity: AWS_WEB_IDENTITY_TOKEN_FILE is set, and is not supported".to_owned());
        }
        Err(Lack::Nothing(tried.join("; ")))
    }

    fn variables(&self) -> Result<Credentials, String> {
        let get = |name| self.environment.get(name);
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(key)) => credentials(id, key, get("AWS_SESSION_TOKEN"), "the environment"),
            (Some(_), None) => Err("AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY".to_owned()),
            (None, Some(_)) => Err("AWS_SECRET_ACCESS_KEY without AWS_ACCESS_KEY_ID".to_owned()),
            (None, None) => Err("AWS_ACCESS_KEY_ID is not set".to_owned()),
        }
    }

    fn profile(&self, name: &str) -> Result<Credentials, String> {
        let mut looked = Vec::new();
        for (variable, file, prefixed) in
            [("AWS_SHARED_CREDENTIALS_FILE", "credentials", false), ("AWS_CONFIG_FILE", "config", true)]
        {
            let Some(path) = self.environment.shared_file(variable, file) else {
                looked.push(format!("neither {variable} nor HOME is set"));
                continue;
            };
            let shown = path.display();
            let text = match read_file(&path) {
                Ok(text) => text,
                Err(why) => {
                    looked.push(format!("{shown}: {why}"));
                    continue;
                }
            };
            let Some(settings) = section(text.expose(), name, prefixed) else {
                looked.push(format!("{shown} has no profile \"{name}\""));
                continue;
            };
            let get = |key: &str| settings.get(key).map(Secret::expose).filter(|value| !value.is_empty());
            if let (Some(id), Some(key)) = (get("aws_access_key_id"), get("aws_secret_access_key")) {
                return credentials(id, key, get("aws_session_token"), &format!("profile \"{name}\" in {shown}"));
            }
            let other = ["role_arn", "credential_process", "sso_session", "sso_start_url", "web_identity_token_file"];
            looked.push(match other.iter().find(|key| settings.contains_key(**key)) {
                Some(key) => format!("profile \"{name}\" in {shown} has {key}, which is not supported, and no keys"),
                None => format!("profile \"{name}\" in {shown} lacks aws_access_key_id or aws_secret_access_key"),
            });
        }
        Err(looked.join(", "))
    }

    fn container(&self) -> Result<Credentials, Lack> {
        let get = |name| self.environment.get(name);
        let (variable, text) = match (get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            (Some(path), _) if !path.starts_with('/') => {
                return Err("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with /".to_owned().into());
            }
            (Some(path), _) => ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", format!("{CONTAINER}{path}")),
            (None, Some(url)) => ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.to_owned()),
            (None, None) => {
                return Err("no AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI".to_owned().into());
            }
        };
        let url: Uri = text.parse().map_err(|_| format!("{variable} makes no URL"))?;
        may_be_asked(&url).map_err(|why| format!("{variable}: {why}"))?;
        let token = match get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(path) => {
                let text =
                    read_file(Path::new(path)).map_err(|why| format!("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE {path}: {why}"))?;
                Some(Secret::new(text.expose().trim()))
            }
            None => get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::new),
        };
        let headers: Vec<(&'static str, &Secret)> = token.iter().map(|token| ("authorization", token)).collect();
        let reply = self.ask(&Method::GET, &url, &headers)?;
        Ok(answered(&reply, "the container's endpoint")?)
    }

    fn instance(&self) -> Result<Credentials, Lack> {
        if self.environment.is_true("AWS_EC2_METADATA_DISABLED") {
            return Err("AWS_EC2_METADATA_DISABLED is true".to_owned().into());
        }
        let base = match self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            Some(url) => url.trim_end_matches('/'),
            None => match self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") {
                Some(mode) if mode.eq_ignore_ascii_case("ipv6") => INSTANCE_V6,
                _ => INSTANCE,
            },
        };
        let url = |path: &str| -> Result<Uri, String> {
            format!("{base}{path}").parse().map_err(|_| "the endpoint of the instance is not a URL".to_owned())
        };
        let lifetime = Secret::new("21600");
        let token = self.ask(&Method::PUT, &url("/latest/api/token")?, &[("x-aws-ec2-metadata-token-ttl-seconds", &lifetime)])?;
        let token = Secret::new(line(&token)?);
        let headers = [("x-aws-ec2-metadata-token", &token)];
        let folder = "/latest/meta-data/iam/security-credentials/";
        let role = line(&self.ask(&Method::GET, &url(folder)?, &headers)?)?;
        if role.is_empty() || !role.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c)) {
            return Err("the instance has no role".to_owned().into());
        }
        let reply = self.ask(&Method::GET, &url(&format!("{folder}{role}"))?, &headers)?;
        Ok(answered(&reply, &format!("the instance's endpoint, role {role}"))?)
    }

    /// One request to an endpoint on this machine; the body of a 200.
    fn ask(&self, method: &Method, url: &Uri, headers: &[(&'static str, &Secret)]) -> Result<Reply, Lack> {
        let place = url.authority().map_or("", |authority| authority.as_str());
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = Request::builder().method(method.clone()).uri(url.clone()).header("connection", "close");
            for (name, value) in headers {
                let mut value =
                    HeaderValue::from_str(value.expose()).map_err(|_| format!("the value for {name} is not a header's"))?;
                value.set_sensitive(true);
                request = request.header(*name, value);
            }
            let request = request.body(&b""[..]).map_err(|error| error.to_string())?;
            let exchange = Exchange {
                addresses: self.addresses,
                tls: self.tls,
                deadline: self.deadline.at_most(ENDPOINT_TIMEOUT),
                cancel: self.cancel,
                body_limit: ANSWER_LIMIT,
            };
            let (again, why) = match exchange.run(request) {
                Ok(reply) if reply.status == 200 => return Ok(reply),
                Ok(reply) => {
                    (reply.status >= 500 || reply.status == 429, format!("{place} answered with status {}", reply.status))
                }
                Err(Fault { kind: FaultKind::Cancelled, .. }) => return Err(Lack::Cancelled),
                // Where a connection takes its time there is no endpoint.
                Err(Fault { kind, sent, message }) => {
                    let again = kind == FaultKind::Unreachable || sent && kind == FaultKind::TimedOut;
                    (again, format!("{place}: {message}"))
                }
            };
            if !again || tries == ENDPOINT_TRIES {
                return Err(Lack::Nothing(why));
            }
            if self.cancel.pause(ENDPOINT_PAUSE, self.deadline).is_err() {
                return Err(if self.cancel.is_cancelled() { Lack::Cancelled } else { Lack::Nothing(why) });
            }
        }
    }
}

fn credentials(id: &str, key: &str, token: Option<&str>, from: &str) -> Result<Credentials, String> {
    let text = |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    // The ID and the token travel in headers; nothing of the sort holds a blank.
    if !text(id) || id.contains(['/', ',']) || !text(key) || !token.is_none_or(text) {
        return Err(format!("{from} has an access key, a secret or a token that cannot be one"));
    }
    let (key, token) = (Secret::new(key), token.map(Secret::new));
    Ok(Credentials { key_id: id.to_owned(), key, token, expires: None, from: from.to_owned() })
}

/// An endpoint's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
    token: Option<Secret>,
    expiration: Option<String>,
}

fn answered(reply: &Reply, from: &str) -> Result<Credentials, String> {
    // The parser's words would quote the text.
    let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| format!("{from} answered something else than JSON"))?;
    if let Some(code) = answer.code.filter(|code| code != "Success") {
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
        return Err(format!("{from} says {code}"));
    }
    let (Some(id), Some(key)) = (answer.access_key_id, answer.secret_access_key) else {
        return Err(format!("{from} answered without AccessKeyId or SecretAccessKey"));
    };
    let expires = match answer.expiration {
        Some(moment) => Some(
            OffsetDateTime::parse(&moment, &Rfc3339)
                .map_err(|_| format!("{from} answered with an Expiration that is no moment"))?
                .into(),
        ),
        None => None,
    };
    let found = credentials(&id, key.expose(), answer.token.as_ref().map(Secret::expose), from)?;
    Ok(Credentials { expires, ..found })
}

/// The first line of a short answer.
fn line(reply: &Reply) -> Result<String, String> {
    let text = std::str::from_utf8(&reply.body).map_err(|_| "the endpoint answered something else than text".to_owned())?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Credentials travel in the clear only where they do not leave the machine.
fn may_be_asked(url: &Uri) -> Result<(), String> {
    let (host, _) = host_and_port(url)?;
    let loopback = host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if url.scheme_str() == Some("https") || loopback || CONTAINER_HOSTS.contains(&host.as_str()) {
        return Ok(());
    }
    Err(format!("without TLS only this machine and {} are asked", CONTAINER_HOSTS.join(", ")))
}

/// A small regular file: whatever else has that name might never end.
fn read_file(path: &Path) -> Result<Secret, String> {
    let name = |error: std::io::Error| error.to_string();
    if !std::fs::metadata(path).map_err(name)?.is_file() {
        return Err("not a file".to_owned());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(name)?;
    file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(name)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(format!("more than {FILE_LIMIT} bytes"));
    }
    Ok(Secret::new(text))
}

/// The settings of a profile in a shared file. In `config`, a section is called `profile NAME`, but for `default`.
fn section(text: &str, profile: &str, prefixed: bool) -> Option<BTreeMap<String, Secret>> {
    let mut found: Option<BTreeMap<String, Secret>> = None;
    let mut inside = false;
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) || line.trim().is_empty() {
            continue;
        }
        if let Some(rest) = line.trim().strip_prefix('[') {
            let title = rest.split(']').next().unwrap_or_default().trim();
            let plain = title.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t'])).map(str::trim);
            inside = match plain {
                Some(name) => prefixed && name.trim_matches('"') == profile,
                None => title == profile && (!prefixed || profile == "default"),
            };
            if inside && found.is_none() {
                found = Some(BTreeMap::new());
            }
            continue;
        }
        // What is indented belongs to the setting above it.
        if !inside || line.starts_with([' ', '\t']) {
            continue;
        }
        if let (Some((key, value)), Some(settings)) = (line.split_once('='), found.as_mut()) {
            let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min().unwrap_or(value.len());
            settings.insert(key.trim().to_ascii_lowercase(), Secret::new(value[..end].trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::resolve::Literals;

    const LONG: Duration = Duration::from_secs(30);

    fn look(source: &CredentialsSource, environment: &Environment) -> Result<Credentials, String> {
        let cancel = Cancel::new().unwrap();
        let finder =
            Finder { source, environment, addresses: &Literals, tls: None, deadline: Deadline::after(LONG), cancel: &cancel };
        finder.find().map_err(|lack| match lack {
            Lack::Cancelled => "cancelled".to_owned(),
            Lack::Nothing(why) => why,
        })
    }

    fn shared(credentials: &str, config: &str) -> (tempfile::TempDir, Vec<(String, String)>) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        let variables = vec![
            ("HOME".to_owned(), home.path().display().to_string()),
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "TRUE".to_owned()),
        ];
        (home, variables)
    }

    fn with(variables: &[(String, String)], more: &[(&str, &str)]) -> Environment {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Environment::from_variables(variables.iter().cloned().chain(more))
    }

    const CREDENTIALS: &str = "\
# keys
[default]
aws_access_key_id = AKIDDEFAULT
aws_secret_access_key=geheim/1+=  ; not part of it
[ops]
AWS_ACCESS_KEY_ID=AKIDOPS
aws_secret_access_key = geheim2
aws_session_token = token2==
";
    const CONFIG: &str = "\
[default]
region = eu-central-1
[profile conf]
aws_access_key_id = AKIDCONF
s3 =
  aws_access_key_id = nested
aws_secret_access_key = geheim3
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
[ops]
aws_access_key_id = wrong
";

    #[test]
    fn the_environment_comes_before_the_files_and_a_profile_before_the_default() {
        let (_home, base) = shared(CREDENTIALS, CONFIG);
        let keys = [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "geheim0"), ("AWS_SESSION_TOKEN", "token0")];
        let found = look(&CredentialsSource::Chain, &with(&base, &keys)).unwrap();
        assert_eq!((found.key_id.as_str(), found.key.expose(), found.from.as_str()), ("AKIDENV", "geheim0", "the environment"));
        assert_eq!(found.token, Some(Secret::new("token0")));

        let found = look(&CredentialsSource::Chain, &with(&base, &[])).unwrap();
        assert_eq!((found.key_id.as_str(), found.key.expose()), ("AKIDDEFAULT", "geheim/1+="));
        assert!(found.token.is_none() && found.from.starts_with("profile \"default\" in /"));

        let found = look(&CredentialsSource::Chain, &with(&base, &[("AWS_PROFILE", "ops")])).unwrap();
        assert_eq!((found.key_id.as_str(), found.token), ("AKIDOPS", Some(Secret::new("token2=="))));

        let found = look(&CredentialsSource::Profile("conf".to_owned()), &with(&base, &keys)).unwrap();
        assert_eq!((found.key_id.as_str(), found.key.expose()), ("AKIDCONF", "geheim3"));
    }

    #[test]
    fn the_files_may_be_elsewhere() {
        let (home, base) = shared("", "");
        let path = home.path().join("elsewhere");
        std::fs::write(&path, CREDENTIALS).unwrap();
        let environment = with(&base, &[("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap())]);
        assert_eq!(look(&CredentialsSource::Chain, &environment).unwrap().key_id, "AKIDDEFAULT");
        std::fs::write(&path, CONFIG).unwrap();
        let environment = with(&base, &[("AWS_CONFIG_FILE", path.to_str().unwrap())]);
        assert_eq!(look(&CredentialsSource::Profile("conf".to_owned()), &environment).unwrap().key_id, "AKIDCONF");
    }

    #[test]
    fn every_source_that_was_tried_says_why() {
        let (home, base) = shared("[other]\n", CONFIG);
        let why = look(&CredentialsSource::Chain, &with(&base, &[("AWS_ACCESS_KEY_ID", "AKID")])).unwrap_err();
        for part in [
            "environment: AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY",
            "/.aws/credentials has no profile \"default\"",
            "profile \"default\" in ",
            "lacks aws_access_key_id or aws_secret_access_key",
            "container: no AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "instance: AWS_EC2_METADATA_DISABLED is true",
        ] {
            assert!(why.contains(part), "{part}: {why}");
        }
        let why = look(&CredentialsSource::Profile("role".to_owned()), &with(&base, &[])).unwrap_err();
        assert!(why.contains("has role_arn, which is not supported"), "{why}");
        let environment = with(&base, &[("AWS_SHARED_CREDENTIALS_FILE", home.path().to_str().unwrap())]);
        let why = look(&CredentialsSource::Profile("ops".to_owned()), &environment).unwrap_err();
        assert!(why.contains("not a file"), "{why}");
        let why = look(&CredentialsSource::Profile("ops".to_owned()), &Environment::default()).unwrap_err();
        assert!(why.contains("neither AWS_SHARED_CREDENTIALS_FILE nor HOME is set"), "{why}");
    }

    #[test]
    fn a_container_is_asked_in_the_clear_only_on_this_machine() {
        for (url, allowed) in [
            ("http://127.0.0.1:1/x", true),
            ("http://[::1]/x", true),
            ("http://localhost/x", true),
            ("http://169.254.170.2/x", true),
            ("http://169.254.170.23/x", true),
            ("http://[fd00:ec2::23]/x", true),
            ("https://example.com/x", true),
            ("http://example.com/x", false),
            ("http://169.254.169.254/x", false),
            ("http://127.0.0.1.example.com/x", false),
            ("http://localhost@example.com/x", false),
        ] {
            assert_eq!(may_be_asked(&url.parse().unwrap()).is_ok(), allowed, "{url}");
        }
        let environment =
            Environment::from_variables([("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@example.com/x"), ("HOME", "/nowhere")]);
        let why = look(&CredentialsSource::Chain, &with(&[], &[("AWS_EC2_METADATA_DISABLED", "true")])).unwrap_err();
        assert!(why.contains("container"), "{why}");
        assert!(format!("{environment:?}").contains("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"));
    }

    #[test]
    fn nothing_that_is_printed_holds_a_secret() {
        let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "geheim"), ("AWS_SESSION_TOKEN", "losung")];
        let environment = Environment::from_variables(keys);
        let found = look(&CredentialsSource::Chain, &environment).unwrap();
        let source = CredentialsSource::Keys {
            access_key_id: "AKID".to_owned(),
            secret_access_key: Secret::new("geheim"),
            session_token: Some(Secret::new("losung")),
        };
        let printed = format!("{environment:?} {found:?} {source:?} {}", found.scrub("a geheim b losung c"));
        assert!(!printed.contains("geheim") && !printed.contains("losung"), "{printed}");
    }

    #[test]
    fn an_answer_with_a_moment_expires() {
        let body =
            br#"{"Code":"Success","AccessKeyId":"AKID","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T00:00:00Z"}"#;
        let reply = Reply { status: 200, date: None, location: None, body: body.to_vec() };
        let found = answered(&reply, "x").unwrap();
        let expires = SystemTime::from(OffsetDateTime::parse("2030-01-01T00:00:00Z", &Rfc3339).unwrap());
        assert!(found.is_fresh(expires - AHEAD - LONG) && !found.is_fresh(expires - AHEAD) && !found.is_over(expires - LONG));
        assert!(found.is_over(expires));
        for wrong in ["{", "{}", r#"{"Code":"AssumeRoleUnauthorizedAccess"}"#, r#"{"AccessKeyId":"a b","SecretAccessKey":"s"}"#] {
            let reply = Reply { status: 200, date: None, location: None, body: wrong.as_bytes().to_vec() };
            assert!(answered(&reply, "x").is_err(), "{wrong}");
        }
    }
}
