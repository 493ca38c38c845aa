//! A check that sends an HTTP or HTTPS request and looks at status and body.
//!
//! `ureq` speaks HTTP; the sockets under it are ours, so every wait (connect, TLS, a dripping body, each redirect) shares the one
//! deadline of the run and ends when it is cancelled, and no name is resolved on the way. Redirects are followed here, not by
//! `ureq`: each hop needs an address from the resolver, and the configured headers must not travel to another origin.

use std::fmt::{self, Write as _};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use native_tls::TlsConnector;
use rustix::io::Errno;
use ureq::Body;
use ureq::http::header::{HeaderName, HeaderValue, LOCATION};
use ureq::http::uri::{Authority, Scheme};
use ureq::http::{Method, Request, Response, Uri};

use super::{Check, Context};
use crate::deadline::Interrupted;
use crate::secret::Secret;
use crate::wire::http::{self, DeadlineConnector, Phase, Trouble, Wire, host_and_port};
use failover_core::observation::{DownCause, Finding, Impairment, UnknownCause, Verdict};

/// Redirects that may be followed at most.
pub(crate) const REDIRECT_LIMIT: u32 = 10;

/// What to ask, and what the right answer is. Its `Debug` shows neither passwords nor header values.
#[derive(Clone)]
pub(crate) struct HttpParams {
    /// `http://` or `https://`. User and password in it are sent as basic authentication and never shown.
    pub url: String,
    /// `GET`, `HEAD`, `OPTIONS`, or `POST` with an empty body.
    pub method: String,
    /// Status codes of a healthy server.
    pub expected_status: Vec<u16>,
    /// A text that the body must contain.
    pub expected_body: Option<String>,
    /// A header that the answer must have, and its whole value.
    pub expected_header: Option<(String, String)>,
    /// Sent with the request, also after a redirect within the same origin, never to another one.
    pub headers: Vec<(String, Secret)>,
    /// Redirects followed at most, 0 to [`REDIRECT_LIMIT`]. One from HTTPS to HTTP is never followed.
    pub redirects: u32,
    /// Bytes of the body that are read at most; what lies beyond is neither read nor an error.
    pub body_limit: usize,
    /// Sent as `Host` and SNI, and checked against the certificate, in place of the URL's host. The connection still goes to the
    /// URL's host and port.
    pub server_name: Option<String>,
    /// Trust only the certificates in this PEM file. `None`: the system's.
    pub ca_file: Option<PathBuf>,
}

impl HttpParams {
    /// A `GET` of `url` with the defaults: status 200, 201 or 204, any body, 5 redirects, 1 MiB.
    #[must_use]
    pub(crate) fn new(url: impl Into<String>) -> HttpParams {
        HttpParams {
            url: url.into(),
            method: "GET".to_owned(),
            expected_status: vec![200, 201, 204],
            expected_body: None,
            expected_header: None,
            headers: Vec::new(),
            redirects: 5,
            body_limit: 1024 * 1024,
            server_name: None,
            ca_file: None,
        }
    }
}

impl fmt::Debug for HttpParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.parse().map_or_else(|_| "not a URL".to_owned(), |url| shown(&url));
        f.debug_struct("HttpParams").field("url", &url).field("method", &self.method).finish_non_exhaustive()
    }
}

/// An HTTP check, ready to run.
pub(crate) struct HttpCheck {
    params: HttpParams,
    /// The URL, with the server name in its authority if one is given.
    url: Uri,
    /// Where requests to the origin of `url` are sent.
    target: (String, u16),
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Built once: reading the system's certificates takes longer than most checks. Only where TLS is met.
    tls: OnceLock<Result<TlsConnector, String>>,
}

impl HttpCheck {
    /// Makes a check of parameters.
    ///
    /// # Errors
    /// One line saying which parameter is wrong. It never quotes a header's value or the URL's password.
    pub(crate) fn new(params: HttpParams) -> Result<HttpCheck, String> {
        let given: Uri = params.url.parse().map_err(|_| "url is not a URL".to_owned())?;
        let (host, port) = host_and_port(&given)?;
        let url = match &params.server_name {
            None => given,
            Some(name) => with_authority(&given, name)?,
        };
        let method = match params.method.as_str() {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            "OPTIONS" => Method::OPTIONS,
            "POST" => Method::POST,
            other => return Err(format!("method {other:?} is not GET, HEAD, OPTIONS or POST")),
        };
        if method == Method::HEAD && params.expected_body.is_some() {
            return Err("expected_body is set, and the answer to HEAD has no body".to_owned());
        }
        if params.redirects > REDIRECT_LIMIT {
            return Err(format!("redirects is {}, at most {REDIRECT_LIMIT} are followed", params.redirects));
        }
        if params.expected_status.is_empty() {
            return Err("expected_status is empty, so no answer would be right".to_owned());
        }
        if let Some(status) = params.expected_status.iter().find(|status| !(100..=599).contains(*status)) {
            return Err(format!("expected_status has {status}, which is no status code"));
        }
        let headers = params.headers.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>()?;
        let check = HttpCheck { url, target: (host, port), method, headers, tls: OnceLock::new(), params };
        if check.url.scheme() == Some(&Scheme::HTTPS) || check.params.ca_file.is_some() {
            check.tls().map_err(str::to_owned)?;
        }
        Ok(check)
    }

    fn tls(&self) -> Result<&TlsConnector, &str> {
        let built = self.tls.get_or_init(|| http::tls(self.params.ca_file.as_deref()));
        built.as_ref().map_err(String::as_str)
    }

    /// One request and the beginning of its answer.
    fn ask(&self, url: &Uri, method: &Method, context: &Context<'_>) -> Result<(Response<Body>, Arc<Wire>), Answer> {
        let internal = |why: String| Answer::new(Verdict::Unknown(UnknownCause::Internal), why);
        let (host, port) = if same_origin(url, &self.url) {
            self.target.clone()
        } else {
            host_and_port(url).map_err(|why| Answer::new(Verdict::Down(DownCause::WrongAnswer), why))?
        };
        let addresses =
            context.addresses.addresses(&host, port).map_err(|why| Answer::new(Verdict::Unknown(UnknownCause::Resolver), why))?;
        let tls = if url.scheme() == Some(&Scheme::HTTPS) {
            Some(self.tls().map_err(|why| internal(why.to_owned()))?.clone())
        } else {
            None
        };
        let wire = Arc::new(Wire::default());
        let connector = DeadlineConnector {
            addresses,
            tls,
            deadline: context.deadline,
            cancel: context.cancel.clone(),
            wire: Arc::clone(&wire),
            wanted: self.params.expected_header.as_ref().map(|(name, _)| name.clone()),
        };
        let headers = self.headers.iter().map(|(name, value)| (name, value));
        let agent = http::agent(connector, http::room_of(headers) + url.to_string().len());
        let mut request = Request::builder().method(method.clone()).uri(url.clone()).header("connection", "close");
        if same_origin(url, &self.url) {
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
        }
        let outcome = if *method == Method::POST {
            request.body(&b""[..]).map_err(ureq::Error::from).and_then(|request| agent.run(request))
        } else {
            request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request))
        };
        match outcome {
            Ok(response) => Ok((response, wire)),
            Err(error) => Err(judge(&wire, &error.to_string(), matches!(error, ureq::Error::Io(_)))),
        }
    }

    fn answer(&self, context: &Context<'_>) -> Answer {
        let wrong = |why: String| Answer::new(Verdict::Down(DownCause::WrongAnswer), why);
        let mut url = self.url.clone();
        let mut method = self.method.clone();
        let mut followed = 0;
        loop {
            let (response, wire) = match self.ask(&url, &method, context) {
                Ok(answered) => answered,
                Err(answer) => return answer.at(&url, &self.url),
            };
            let status = response.status().as_u16();
            let expected = self.params.expected_status.contains(&status);
            let location = response.headers().get(LOCATION).cloned();
            if let (false, 301 | 302 | 303 | 307 | 308, Some(location)) = (expected, status, location) {
                if followed == self.params.redirects {
                    return wrong(format!("{status}: redirected more than {followed} times")).at(&url, &self.url);
                }
                followed += 1;
                let next = match join(&url, &encoded(location.as_bytes())) {
                    Ok(next) => next,
                    Err(why) => return wrong(format!("{status} to a wrong place: {why}")).at(&url, &self.url),
                };
                if url.scheme() == Some(&Scheme::HTTPS) && next.scheme() != Some(&Scheme::HTTPS) {
                    return wrong(format!("{status} from HTTPS to {}", shown(&next))).at(&url, &self.url);
                }
                if status == 303 && method != Method::HEAD || matches!(status, 301 | 302) && method == Method::POST {
                    method = Method::GET;
                }
                url = next;
                continue;
            }
            let answer = match status {
                _ if expected => match self.missing_header(&response) {
                    Some(why) => wrong(format!("status {status}, {why}")),
                    None => self.body(response, &wire, status),
                },
                401 | 403 => Answer::new(Verdict::Impaired(Impairment::Authentication), format!("status {status}")),
                429 => Answer::new(Verdict::Impaired(Impairment::Saturated), format!("status {status}")),
                _ => wrong(format!("status {status}, expected {:?}", self.params.expected_status)),
            };
            return answer.at(&url, &self.url);
        }
    }

    /// Why the answer is not the one with the header that is expected.
    fn missing_header(&self, response: &Response<Body>) -> Option<String> {
        let (name, wanted) = self.params.expected_header.as_ref()?;
        let mut values = response.headers().get_all(name.as_str()).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        match values.next() {
            None => Some(format!("no header {name}, expected {wanted:?}")),
            Some(value) if value.trim() == wanted => None,
            Some(value) => {
                let short: String = value.chars().take(100).collect();
                Some(format!("header {name} is {short:?}, expected {wanted:?}"))
            }
        }
    }

    /// Reads the body up to the text that is wanted, its end, or the limit: half an answer is not a healthy one.
    fn body(&self, response: Response<Body>, wire: &Wire, status: u16) -> Answer {
        let wanted = self.params.expected_body.as_deref().unwrap_or_default().as_bytes();
        let mut reader = response.into_body().into_reader();
        let mut body = Vec::new();
        let mut buffer = [0; 16 * 1024];
        let limit = self.params.body_limit;
        while body.len() < limit {
            let room = buffer.len().min(limit - body.len());
            match reader.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(count) => {
                    // The text may lie across two reads.
                    let from = body.len().saturating_sub(wanted.len());
                    body.extend_from_slice(&buffer[..count]);
                    if !wanted.is_empty() && body[from..].windows(wanted.len()).any(|window| window == wanted) {
                        return Answer::new(Verdict::Up, format!("status {status}, expected text found"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let transport = error.get_ref().is_none_or(|inner| !inner.is::<ureq::Error>());
                    return judge(wire, &format!("status {status}, then {error}"), transport);
                }
            }
        }
        if wanted.is_empty() {
            return Answer::new(Verdict::Up, format!("status {status}"));
        }
        let cut = if body.len() >= limit { " (as far as it was read)" } else { "" };
        Answer::new(
            Verdict::Down(DownCause::WrongAnswer),
            format!("status {status}, expected text not in the body of {} bytes{cut}", body.len()),
        )
    }
}

impl Check for HttpCheck {
    fn run(&self, context: &Context<'_>) -> Finding {
        let began = context.clock.now();
        let Answer { verdict, message } = self.answer(context);
        context.finding(began, verdict, message, None)
    }
}

struct Answer {
    verdict: Verdict,
    message: String,
}

impl Answer {
    fn new(verdict: Verdict, message: impl Into<String>) -> Answer {
        Answer { verdict, message: message.into() }
    }

    /// Says where it was met, if that is not where the check began.
    fn at(mut self, url: &Uri, first: &Uri) -> Answer {
        if url != first {
            self.message = format!("{} (after redirects, at {})", self.message, shown(url));
        }
        self
    }
}

fn header(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), String> {
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not the name of a header"))?;
    if matches!(key.as_str(), "host" | "connection" | "content-length" | "transfer-encoding") {
        return Err(format!("the header {name} is set by the check itself; a host is named by server_name"));
    }
    let mut value = HeaderValue::from_str(value.expose()).map_err(|_| format!("the value of the header {name} is not text"))?;
    value.set_sensitive(true);
    Ok((key, value))
}

fn with_authority(url: &Uri, name: &str) -> Result<Uri, String> {
    let wrong = || format!("server_name {name:?} is not a host name");
    let user = url.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user, _)| user);
    let authority = user.map_or_else(|| name.to_owned(), |user| format!("{user}@{name}"));
    let plain: Authority = name.parse().map_err(|_| wrong())?;
    if plain.as_str().contains('@') || plain.host().is_empty() {
        return Err(wrong());
    }
    let mut parts = url.clone().into_parts();
    parts.authority = Some(authority.parse().map_err(|_| wrong())?);
    let url = Uri::from_parts(parts).map_err(|_| wrong())?;
    host_and_port(&url).map_err(|_| wrong())?;
    Ok(url)
}

fn same_origin(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme()
        && match (host_and_port(one), host_and_port(other)) {
            (Ok((host, port)), Ok((other_host, other_port))) => port == other_port && host.eq_ignore_ascii_case(&other_host),
            _ => false,
        }
}

/// A URL for people: without user, password and query, which may hold credentials.
fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    let host = url.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let query = if url.query().is_some() { "?…" } else { "" };
    format!("{scheme}://{host}{}{query}", url.path())
}

/// A `Location` as servers write it: what has no place in a URL as it is, as a blank or the bytes of other letters, stands for its code.
fn encoded(location: &[u8]) -> String {
    let mut text = String::with_capacity(location.len());
    for byte in location.trim_ascii() {
        match byte {
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | ..0x20 | 0x7f.. => {
                let _ = write!(text, "%{byte:02X}");
            }
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

/// The URL that a `Location` names, seen from `base` (RFC 3986, section 5.2).
fn join(base: &Uri, location: &str) -> Result<Uri, String> {
    let location = location.split('#').next().unwrap_or_default().trim();
    let scheme = base.scheme_str().unwrap_or("http");
    // User and password stay behind unless the redirect names its own.
    let host = base.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let absolute = location.split_once("://").is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()));
    let text = if absolute {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.is_empty() {
        format!("{scheme}://{host}{}", base.path_and_query().map_or("/", |path| path.as_str()))
    } else if location.starts_with('?') {
        format!("{scheme}://{host}{}{location}", base.path())
    } else {
        let (path, query) = location.split_once('?').map_or((location, None), |(path, query)| (path, Some(query)));
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{path}")
        };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{host}{}{query}", without_dots(&path))
    };
    let url: Uri = text.parse().map_err(|_| "not a URL".to_owned())?;
    host_and_port(&url)?;
    Ok(url)
}

/// Takes `.` and `..` out of an absolute path.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// What a failed request means. `words` are the library's; `transport` says that it blames the connection, not the answer.
fn judge(wire: &Wire, words: &str, transport: bool) -> Answer {
    let (phase, trouble) = wire.seen();
    let timed_out = if phase == Phase::Connecting { DownCause::ConnectTimedOut } else { DownCause::AnswerTimedOut };
    let verdict = match (phase, trouble) {
        (_, Some(Trouble::Ended(Interrupted::TimedOut))) => Verdict::Down(timed_out),
        (_, Some(Trouble::Ended(Interrupted::Cancelled))) => Verdict::Unknown(UnknownCause::NoAnswerFromHost),
        (_, Some(Trouble::System(kind, code))) => of_system(kind, code, timed_out),
        (Phase::Connecting, _) => Verdict::Unknown(UnknownCause::Unclassified),
        (_, Some(Trouble::EndOfStream)) => Verdict::Down(DownCause::Reset),
        (Phase::Handshake, None) => Verdict::Impaired(Impairment::Tls),
        // A TLS alert in place of an answer: the server wants a certificate of ours, for example.
        (Phase::TalkingTls, None) if transport => Verdict::Impaired(Impairment::Tls),
        (Phase::Talking | Phase::TalkingTls, None) => Verdict::Down(DownCause::WrongAnswer),
    };
    let message = match verdict {
        Verdict::Down(DownCause::ConnectTimedOut) => "no connection by the deadline".to_owned(),
        Verdict::Down(DownCause::AnswerTimedOut) => "no complete answer by the deadline".to_owned(),
        Verdict::Down(DownCause::Reset) => format!("the connection ended before the answer was complete: {words}"),
        Verdict::Impaired(Impairment::Tls) => format!("TLS: {words}"),
        _ => words.to_owned(),
    };
    Answer::new(verdict, message.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>())
}

fn of_system(kind: io::ErrorKind, code: Option<i32>, timed_out: DownCause) -> Verdict {
    let is = |errnos: &[Errno]| code.is_some_and(|code| errnos.iter().any(|errno| errno.raw_os_error() == code));
    match kind {
        io::ErrorKind::ConnectionRefused => Verdict::Down(DownCause::Refused),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            Verdict::Down(DownCause::Reset)
        }
        io::ErrorKind::TimedOut => Verdict::Down(timed_out),
        io::ErrorKind::HostUnreachable => Verdict::Down(DownCause::HostUnreachable),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => Verdict::Unknown(UnknownCause::NoRoute),
        _ if is(&[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL, Errno::AGAIN]) => {
            Verdict::Unknown(UnknownCause::OwnResources)
        }
        _ if is(&[Errno::AFNOSUPPORT]) => Verdict::Unknown(UnknownCause::NoRoute),
        _ => Verdict::Unknown(UnknownCause::Unclassified),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_as_rfc_3986_says() {
        let base: Uri = "http://user:pw@h:81/a/b/c?x=1".parse().unwrap();
        for (location, expected) in [
            ("http://other/z", "http://other/z"),
            ("https://h/z?q#frag", "https://h/z?q"),
            ("//other:8080/z", "http://other:8080/z"),
            ("/z", "http://h:81/z"),
            ("/z/../y/./", "http://h:81/y/"),
            ("z", "http://h:81/a/b/z"),
            ("../z", "http://h:81/a/z"),
            ("../../../../z", "http://h:81/z"),
            ("..", "http://h:81/a/"),
            ("?y=2", "http://h:81/a/b/c?y=2"),
            ("", "http://h:81/a/b/c?x=1"),
            ("z?to=http://elsewhere/", "http://h:81/a/b/z?to=http://elsewhere/"),
        ] {
            assert_eq!(join(&base, location).map(|url| url.to_string()), Ok(expected.to_owned()), "{location}");
        }
        for location in ["ftp://h/z", "http://", "http:///z", "javascript://h"] {
            assert!(join(&base, location).is_err(), "{location}");
        }
    }

    #[test]
    fn a_location_may_hold_what_has_no_place_in_a_url() {
        for (location, expected) in [
            ("/with space", "/with%20space"),
            (" /müll?a=ö ", "/m%C3%BCll?a=%C3%B6"),
            ("/a%20b", "/a%20b"),
            ("/{a}|\"", "/%7Ba%7D%7C%22"),
        ] {
            assert_eq!(encoded(location.as_bytes()), expected);
        }
        assert_eq!(encoded(b"/\xfc"), "/%FC");
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_credential() {
        let url: Uri = "https://user:geheim@h:444/status?token=geheim".parse().unwrap();
        assert_eq!(shown(&url), "https://h:444/status?…");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin: Uri = "http://h/a".parse().unwrap();
        for (other, same) in [
            ("http://H:80/b", true),
            ("http://u@h/", true),
            ("https://h/a", false),
            ("http://h:81/a", false),
            ("http://i/a", false),
        ] {
            assert_eq!(same_origin(&origin, &other.parse().unwrap()), same, "{other}");
        }
    }
}
