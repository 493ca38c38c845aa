//! Signed requests to the API, and what its answers mean.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use native_tls::TlsConnector;
use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use ureq::http::{HeaderValue, Method, Request, Uri};

use super::credentials::{Credentials, CredentialsSource, Environment, Finder, Lack};
use super::signature::{Scope, Signable, sign};
use super::xml::Element;
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::http::{Exchange, Fault, FaultKind, Reply};
use crate::wire::resolve::Addresses;

/// The namespace of every document.
pub(super) const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";
/// Before every path.
pub(super) const VERSION: &str = "/2013-04-01";
/// Bytes of an answer at most.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// One request at most, so that time is left to ask again, and to find out what became of it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two tries, doubled from the first to the last, of which a random part from half to all is waited.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// A clock that is off by five minutes makes every signature wrong.
const SKEW: i64 = 240;

/// An account at an endpoint.
pub(super) struct Account {
    /// Scheme, host and port.
    pub(super) base: String,
    /// What goes into `Host`.
    pub(super) host: String,
    pub(super) region: String,
    pub(super) source: CredentialsSource,
    pub(super) environment: Environment,
    pub(super) addresses: Arc<dyn Addresses>,
    pub(super) tls: Option<TlsConnector>,
    pub(super) kept: Mutex<Option<Credentials>>,
}

/// The time and the cancel signal of an operation.
#[derive(Clone, Copy)]
pub(super) struct Within<'a> {
    pub(super) deadline: Deadline,
    pub(super) cancel: &'a Cancel,
}

/// Why a request did not do its work.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The cancel signal.
    Cancelled,
    /// The time for this request.
    TimedOut { sent: bool, message: String },
    /// Nobody there, or a connection that ended early.
    Connection { sent: bool, message: String },
    /// TLS does not come about.
    Tls(String),
    /// An answer that is none.
    Garbage(String),
    /// No credentials.
    Credentials(String),
    /// It cannot be asked like this.
    Request(String),
    /// The API said no.
    Refused(Refusal),
}

/// The API's no.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    /// Its name, empty where the answer names none.
    pub(super) code: String,
    message: String,
    /// How far the clock here is behind the server's, in seconds, where that is too far.
    behind: Option<i64>,
    /// Where the credentials came from.
    from: String,
}

impl Trouble {
    /// Worth another try: it passes by itself.
    pub(super) fn passes(&self) -> bool {
        match self {
            Trouble::TimedOut { .. } | Trouble::Connection { .. } => true,
            Trouble::Refused(refusal) => {
                refusal.is_throttled() || refusal.code == "PriorRequestNotComplete" || refusal.status >= 500
            }
            _ => false,
        }
    }

    /// The request may have had its effect all the same.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Trouble::TimedOut { sent, .. } | Trouble::Connection { sent, .. } => *sent,
            Trouble::Refused(refusal) => refusal.status >= 500 && !refusal.is_throttled(),
            Trouble::Garbage(_) | Trouble::Cancelled => true,
            Trouble::Tls(_) | Trouble::Credentials(_) | Trouble::Request(_) => false,
        }
    }

    /// The API refused it with this code.
    pub(super) fn is(&self, code: &str) -> bool {
        matches!(self, Trouble::Refused(refusal) if refusal.code == code)
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> String {
        match self {
            Trouble::Cancelled => String::new(),
            Trouble::TimedOut { .. } | Trouble::Connection { .. } => {
                "let this host reach the endpoint of Route 53 over HTTPS, and allow the step more time".to_owned()
            }
            Trouble::Tls(_) => "correct the endpoint, or name the authority of its certificate in ca_file".to_owned(),
            Trouble::Garbage(_) => "make sure that the endpoint is Route 53's, and that no proxy answers in its place".to_owned(),
            Trouble::Credentials(_) => {
                "give one of the sources credentials that may change the zone, or name the profile to use".to_owned()
            }
            Trouble::Request(_) => "correct the settings of the record".to_owned(),
            Trouble::Refused(refusal) => refusal.remedy(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Cancelled => f.write_str("cancelled"),
            Trouble::TimedOut { message, .. } | Trouble::Connection { message, .. } | Trouble::Tls(message) => {
                f.write_str(message)
            }
            Trouble::Garbage(message) => write!(f, "the answer is none: {message}"),
            Trouble::Credentials(why) => write!(f, "no credentials ({why})"),
            Trouble::Request(why) => f.write_str(why),
            Trouble::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl Refusal {
    fn is_throttled(&self) -> bool {
        let codes =
            ["Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException"];
        self.status == 429 || codes.contains(&self.code.as_str())
    }

    /// Other credentials might be accepted.
    fn blames_credentials(&self) -> bool {
        let codes = ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"];
        self.status == 403 || self.status == 401 || codes.contains(&self.code.as_str())
    }

    fn remedy(&self) -> String {
        if self.behind.is_some() {
            return "set this host's clock right, and keep it right (NTP)".to_owned();
        }
        let words = match self.code.as_str() {
            "NoSuchHostedZone" => "correct zone_id, and use credentials of the account that has the zone",
            "InvalidChangeBatch" => {
                "make the name one of the zone's, and look for another record there, such as a CNAME, that excludes this one"
            }
            "InvalidInput" => "correct name, values and TTL of the record, or the settings of the health check",
            "NoSuchHealthCheck" => "correct the health check's ID, and use credentials of the account that has it",
            "HealthCheckVersionMismatch" => "see who else changes this health check all the time",
            "AccessDenied" | "AccessDeniedException" => {
                "allow these credentials route53:ListResourceRecordSets, ChangeResourceRecordSets and GetChange, and for health \
                 checks GetHealthCheck and UpdateHealthCheck"
            }
            "SignatureDoesNotMatch" => "correct the secret access key, the region and this host's clock",
            "InvalidClientTokenId" | "UnrecognizedClientException" | "MissingAuthenticationToken" => {
                "correct the access key's ID, and the session token if there is one"
            }
            "ExpiredToken" | "ExpiredTokenException" => "renew the temporary credentials, or use a source that renews them",
            "RequestTimeTooSkewed" | "RequestExpired" => "set this host's clock right, and keep it right (NTP)",
            "NoSuchChange" => "see in the zone whether the record is the wanted one",
            _ if self.is_throttled() => "see who else uses up the account's five requests a second, and allow the step more time",
            "PriorRequestNotComplete" => "allow the step more time: Route 53 has not finished an earlier change of the zone",
            _ if self.status >= 500 => "see the provider's status page, and allow the step more time",
            "" => "make sure that the endpoint is Route 53's, and that no proxy answers in its place",
            _ => "see the API's reference for this error",
        };
        words.to_owned()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            write!(f, "refused with status {}", self.status)?;
        } else {
            write!(f, "{}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if self.blames_credentials() {
            write!(f, " (credentials from {})", self.from)?;
        }
        if let Some(behind) = self.behind {
            let direction = if behind > 0 { "behind" } else { "ahead of" };
            write!(f, " (the clock here is {} s {direction} the server's)", behind.unsigned_abs())?;
        }
        Ok(())
    }
}

/// Pauses between tries.
pub(super) struct Pauses(Duration, Duration);

impl Pauses {
    /// Of a request that failed.
    pub(super) fn of_tries() -> Pauses {
        Pauses(FIRST_PAUSE, LAST_PAUSE)
    }

    /// Of looks at something that takes its time, the longest of which is `last`.
    pub(super) fn of_looks(last: Duration) -> Pauses {
        Pauses(FIRST_PAUSE.min(last), last)
    }

    /// Waits for the next one.
    pub(super) fn wait(&mut self, within: Within<'_>) -> Result<(), Interrupted> {
        let mut random = [0; 2];
        // Without a random number everybody waits the longest.
        let part = getrandom::fill(&mut random).map_or(1.0, |()| f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX));
        let span = self.0.mul_f64(0.5 + part / 2.0);
        self.0 = (self.0 * 2).min(self.1);
        within.cancel.pause(span, within.deadline)
    }
}

impl Account {
    /// Asks for something until the deadline, as long as what fails passes by itself.
    pub(super) fn ask(&self, path: &str, within: Within<'_>) -> Result<Element, Trouble> {
        let mut pauses = Pauses::of_tries();
        loop {
            let attempt = Within { deadline: within.deadline.at_most(REQUEST_TIMEOUT), ..within };
            let trouble = match self.call(&Method::GET, path, b"", attempt) {
                Ok(answer) => return Ok(answer),
                Err(trouble) if trouble.passes() => trouble,
                Err(trouble) => return Err(trouble),
            };
            match pauses.wait(within) {
                Ok(()) => {}
                Err(Interrupted::Cancelled) => return Err(Trouble::Cancelled),
                Err(Interrupted::TimedOut) => return Err(trouble),
            }
        }
    }

    /// Sends a change once. Half of the time is left to find out what became of it.
    pub(super) fn post(&self, path: &str, body: &[u8], within: Within<'_>) -> Result<Element, Trouble> {
        let share = (within.deadline.remaining() / 2).min(REQUEST_TIMEOUT);
        self.call(&Method::POST, path, body, Within { deadline: within.deadline.at_most(share), ..within })
    }

    /// One request, again with other credentials where these are refused and there are others.
    fn call(&self, method: &Method, path: &str, body: &[u8], within: Within<'_>) -> Result<Element, Trouble> {
        let credentials = self.credentials(within)?;
        let refusal = match self.send(method, path, body, &credentials, within) {
            Err(Trouble::Refused(refusal)) if refusal.blames_credentials() => refusal,
            other => return other,
        };
        match self.find(within) {
            Ok(others) if !others.same_key(&credentials) => self.send(method, path, body, &others, within),
            Err(Trouble::Cancelled) => Err(Trouble::Cancelled),
            _ => Err(Trouble::Refused(refusal)),
        }
    }

    fn credentials(&self, within: Within<'_>) -> Result<Credentials, Trouble> {
        let kept = self.kept.lock().clone();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_fresh(SystemTime::now())) {
            return Ok(kept.clone());
        }
        match (self.find(within), kept) {
            // They will do until they really expire.
            (Err(Trouble::Credentials(_)), Some(kept)) if !kept.is_over(SystemTime::now()) => Ok(kept),
            (found, _) => found,
        }
    }

    fn find(&self, within: Within<'_>) -> Result<Credentials, Trouble> {
        let finder = Finder {
            source: &self.source,
            environment: &self.environment,
            addresses: &*self.addresses,
            tls: self.tls.as_ref(),
            deadline: within.deadline,
            cancel: within.cancel,
        };
        let found = finder.find().map_err(|lack| match lack {
            Lack::Cancelled => Trouble::Cancelled,
            Lack::Nothing(why) => Trouble::Credentials(why),
        })?;
        *self.kept.lock() = Some(found.clone());
        Ok(found)
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        credentials: &Credentials,
        within: Within<'_>,
    ) -> Result<Element, Trouble> {
        let path = format!("{VERSION}{path}");
        let headers = if body.is_empty() { &[][..] } else { &[("content-type", "application/xml")] };
        let now = SystemTime::now();
        let scope = Scope { region: &self.region, service: "route53", now };
        let signable = Signable { method: method.as_str(), host: &self.host, path: &path, headers, body };
        let signed = sign(&signable, credentials, &scope);
        let uri: Uri =
            format!("{}{path}", self.base).parse().map_err(|_| Trouble::Request("the endpoint makes no URL".to_owned()))?;
        let mut request = Request::builder().method(method.clone()).uri(uri).header("connection", "close");
        let plain = [("host", &*self.host)].into_iter().chain(headers.iter().copied());
        for (name, value) in plain.chain(signed.iter().map(|(name, value)| (*name, value.as_str()))) {
            let mut value = HeaderValue::from_str(value).map_err(|_| Trouble::Request(format!("{name} is not a header's")))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| Trouble::Request(error.to_string()))?;
        let exchange = Exchange {
            addresses: &*self.addresses,
            tls: self.tls.as_ref(),
            deadline: within.deadline,
            cancel: within.cancel,
            body_limit: ANSWER_LIMIT,
        };
        let reply = exchange.run(request).map_err(|Fault { kind, sent, message }| match kind {
            FaultKind::Cancelled => Trouble::Cancelled,
            FaultKind::TimedOut => Trouble::TimedOut { sent, message },
            FaultKind::Unreachable => Trouble::Connection { sent, message },
            FaultKind::Tls => Trouble::Tls(message),
            FaultKind::Garbage | FaultKind::TooLong => Trouble::Garbage(message),
        })?;
        if (200..300).contains(&reply.status) {
            Element::parse(&reply.body).map_err(Trouble::Garbage)
        } else {
            Err(Trouble::Refused(refusal(&reply, credentials, now)))
        }
    }
}

fn refusal(reply: &Reply, credentials: &Credentials, now: SystemTime) -> Refusal {
    let root = Element::parse(&reply.body).unwrap_or_default();
    let error = root.child("Error").or_else(|| root.child("Errors").and_then(|errors| errors.child("Error")));
    let (code, message) = match error {
        Some(error) => (error.text_of("Code").unwrap_or_default(), error.text_of("Message").unwrap_or_default().to_owned()),
        // `InvalidChangeBatch` stands for itself, with one message per change.
        None if root.name == "InvalidChangeBatch" => {
            let messages = root.child("Messages").map_or(&root.children[..], |messages| &messages.children[..]);
            let messages: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
            (root.name.as_str(), messages.join("; "))
        }
        None => (root.text_of("Code").unwrap_or_default(), root.text_of("Message").unwrap_or_default().to_owned()),
    };
    let tidy =
        |text: &str, limit: usize| -> String { text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect() };
    // It shows what it would have signed, the session token included.
    let message = if code == "SignatureDoesNotMatch" { String::new() } else { credentials.scrub(&message) };
    let behind = reply
        .date
        .as_deref()
        .and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok())
        .map(|date| (date - OffsetDateTime::from(now)).whole_seconds())
        .filter(|behind| matches!(reply.status, 400..=403) && behind.abs() > SKEW);
    Refusal { status: reply.status, code: tidy(code, 80), message: tidy(&message, 300), behind, from: credentials.from.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, date: Option<&str>, body: &str) -> Refusal {
        let reply = Reply { status, date: date.map(str::to_owned), location: None, body: body.as_bytes().to_vec() };
        refusal(
            &reply,
            &Credentials::example("AKIDEXAMPLE", "geheim", Some("losung")),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160),
        )
    }

    #[test]
    fn a_refusal_is_read_in_all_its_forms() {
        let error =
            |code: &str| format!("<ErrorResponse><Error><Code>{code}</Code><Message>m &amp; n</Message></Error></ErrorResponse>");
        let no = refused(404, None, &error("NoSuchHostedZone"));
        assert_eq!(no.to_string(), "NoSuchHostedZone: m & n");
        let no = refused(
            400,
            None,
            "<InvalidChangeBatch xmlns='x'><Messages><Message>one</Message><Message>two</Message></Messages></InvalidChangeBatch>",
        );
        assert_eq!(no.to_string(), "InvalidChangeBatch: one; two");
        let no = refused(403, None, "<Response><Errors><Error><Code>AccessDenied</Code></Error></Errors></Response>");
        assert_eq!(no.to_string(), "AccessDenied (credentials from the configuration)");
        assert_eq!(refused(502, None, "<html>").to_string(), "refused with status 502");
        let trouble = |status, code: &str| Trouble::Refused(refused(status, None, &error(code)));
        for (status, code, passes, doubt) in [
            (400, "PriorRequestNotComplete", true, false),
            (400, "Throttling", true, false),
            (429, "", true, false),
            (503, "Throttling", true, false),
            (503, "ServiceUnavailable", true, true),
            (500, "InternalError", true, true),
            (400, "InvalidChangeBatch", false, false),
            (403, "AccessDenied", false, false),
            (409, "HealthCheckVersionMismatch", false, false),
        ] {
            let trouble = trouble(status, code);
            assert_eq!((trouble.passes(), trouble.leaves_doubt()), (passes, doubt), "{status} {code}");
            assert!(!trouble.remedy().is_empty());
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_named_and_no_secret_is_quoted() {
        let body = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>x-amz-security-token:losung</Message>\
                    </Error></ErrorResponse>";
        let no = refused(403, Some("Sun, 30 Aug 2015 12:46:00 GMT"), body);
        assert_eq!(
            no.to_string(),
            "SignatureDoesNotMatch (credentials from the configuration) (the clock here is 600 s behind the server's)"
        );
        assert!(no.remedy().contains("clock"));
        let body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>losung\n</Message></Error></ErrorResponse>";
        assert!(!refused(403, Some("Sun, 30 Aug 2015 12:38:00 GMT"), body).to_string().contains("losung"));
        assert!(refused(403, Some("Sun, 30 Aug 2015 12:38:00 GMT"), body).behind.is_none());
    }

    #[test]
    fn pauses_grow_up_to_the_last() {
        let cancel = Cancel::new().unwrap();
        let mut pauses = Pauses::of_looks(Duration::from_millis(3));
        for _ in 0..4 {
            pauses.wait(Within { deadline: Deadline::after(Duration::from_secs(60)), cancel: &cancel }).unwrap();
        }
        assert_eq!((pauses.0, pauses.1), (Duration::from_millis(3), Duration::from_millis(3)));
        let over = Within { deadline: Deadline::after(Duration::ZERO), cancel: &cancel };
        assert_eq!(Pauses::of_tries().wait(over), Err(Interrupted::TimedOut));
    }
}
