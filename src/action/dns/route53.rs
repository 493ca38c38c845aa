//! Record sets in Amazon Route 53, or whatever speaks its API, and the health checks beside them.
//!
//! A record is read before it is changed: what it already holds is not written again, and a record set that answers differently to
//! different clients (weighted, failover, latency, alias and the like) is refused, because it is not one value that follows the
//! active server. A change is one batch of one UPSERT or DELETE, and is over when Route 53 says `INSYNC`: every authoritative
//! server has it.
//!
//! Throttling, `PriorRequestNotComplete`, errors of the server's side and connections that fail are tried again, with pauses that
//! grow and are random, until the deadline. When the answer to a change is lost, the record itself is asked what became of it.
//! Signatures are AWS Signature Version 4; their credentials never show up in a message.

mod api;
mod credentials;
mod follow;
mod health;
mod place;
mod signature;
mod xml;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quick_xml::Writer;
use quick_xml::events::BytesText;
use ureq::http::Uri;

use self::api::{Account, NAMESPACE, Pauses, Trouble, Within};
pub(crate) use self::credentials::{CredentialsSource, Environment};
pub(crate) use self::follow::HealthChecks;
pub(crate) use self::health::{HealthCheck, HealthCheckSettings};
use self::place::Place;
use self::signature::encoded;
use self::xml::Element;
use super::{Record, RecordSet, RecordType};
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::http;
use crate::wire::resolve::Addresses;
use failover_core::output::{Failure, FailureKind};

/// Where Route 53 is.
const ENDPOINT: &str = "https://route53.amazonaws.com";
/// The elements of a record set that has one value for everybody.
const SIMPLE: [&str; 4] = ["Name", "Type", "TTL", "ResourceRecords"];
/// The longest TTL (RFC 2181, section 8).
const TTL_LIMIT: u32 = 0x7fff_ffff;

/// A record in a hosted zone, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Route53Target {
    /// The record's name, with or without its final dot, at most 255 bytes of ASCII.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
    /// The hosted zone's ID, with or without `/hostedzone/` in front.
    pub zone_id: String,
    /// `http://` or `https://`, host and port of another endpoint. `None`: Amazon's. Without TLS anybody on the way can forge
    /// answers.
    pub endpoint: Option<String>,
    /// The region that signatures are for. Route 53 is global and signs with `us-east-1`, but for some partitions of AWS.
    pub region: String,
    /// Who signs.
    pub credentials: CredentialsSource,
    /// Trust only the certificates in this PEM file. `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Wait until every authoritative server has a change.
    pub wait: bool,
    /// How long that may take, longer than 0. The deadline of the step bounds it too.
    pub insync_timeout: Duration,
    /// The longest pause between two looks, 100 ms to 60 s. The first ones follow sooner, from 0.2 s on.
    pub poll: Duration,
}

impl Route53Target {
    /// A record with the defaults: Amazon's endpoint, region `us-east-1`, the usual chain of credentials, wait up to 120 s for
    /// `INSYNC`, looking every 5 s.
    #[must_use]
    pub(crate) fn new(name: impl Into<String>, record_type: RecordType, zone_id: impl Into<String>) -> Route53Target {
        Route53Target {
            name: name.into(),
            record_type,
            zone_id: zone_id.into(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            credentials: CredentialsSource::Chain,
            ca_file: None,
            wait: true,
            insync_timeout: Duration::from_secs(120),
            poll: Duration::from_secs(5),
        }
    }
}

/// A record in Route 53. Thread-safe; every operation may be repeated.
pub(crate) struct Route53 {
    /// With its final dot, in small letters.
    name: String,
    kind: RecordType,
    zone: String,
    account: Account,
    wait: bool,
    insync_timeout: Duration,
    poll: Duration,
    /// The last change that was accepted and not seen `INSYNC` yet: what it made of the record, and its ID.
    pending: Mutex<Option<(Option<RecordSet>, String)>>,
    /// The zone's own name, once it was seen.
    apex: Mutex<Option<String>>,
}

impl fmt::Debug for Route53 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route53").field("record", &self.describe()).finish_non_exhaustive()
    }
}

/// What the record holds, as the API words it: a DELETE has to repeat that.
struct Seen {
    ttl: u32,
    words: Vec<String>,
    set: RecordSet,
}

/// How a change came to its end.
enum Settled<S> {
    /// There was nothing to change.
    Already,
    /// It was accepted with this answer.
    Done(Element),
    /// Its answer was lost, and it is there.
    Found(S),
}

/// A change of one thing.
struct Change<'a, S> {
    /// The thing, for people.
    what: String,
    /// Where the change is sent.
    path: String,
    read: &'a dyn Fn(Within<'_>) -> Result<S, Trouble>,
    /// It is as wanted.
    holds: &'a dyn Fn(&S) -> bool,
    /// The document that changes it.
    document: &'a dyn Fn(&S) -> std::io::Result<Vec<u8>>,
    /// Send it once even if it is as wanted.
    always: bool,
}

impl Route53 {
    /// Makes a record of its settings. Nothing is asked yet. `environment` is where the chain of credentials looks.
    ///
    /// # Errors
    /// One line saying which setting is wrong. It never quotes a secret.
    pub(crate) fn new(target: Route53Target, addresses: Arc<dyn Addresses>, environment: Environment) -> Result<Route53, String> {
        let zone = target.zone_id.trim_start_matches('/');
        let zone = zone.strip_prefix("hostedzone/").unwrap_or(zone);
        if zone.is_empty() || zone.len() > 32 || !zone.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("zone_id {:?} is not the ID of a hosted zone, such as Z0123456789ABC", target.zone_id));
        }
        let name = full_name(&target.name).ok_or_else(|| {
            format!("name {:?} is not a domain name in ASCII (write other letters in their xn-- form)", target.name)
        })?;
        if target.region.is_empty() || !target.region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(format!("region {:?} is not a region", target.region));
        }
        if target.insync_timeout.is_zero() {
            return Err("insync_timeout is 0; to not wait at all, set wait to false".to_owned());
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&target.poll) {
            return Err(format!("poll is {:?}, allowed are 100 ms to 60 s", target.poll));
        }
        let endpoint = target.endpoint.as_deref().unwrap_or(ENDPOINT);
        let wrong = |why: &str| format!("endpoint {why}");
        let url: Uri = endpoint.parse().map_err(|_| wrong("is not a URL"))?;
        http::host_and_port(&url).map_err(|why| wrong(&format!("is wrong: {why}")))?;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') || url.query().is_some() || !matches!(url.path(), "" | "/") || endpoint.contains('#') {
            return Err(wrong("has more than a scheme, a host and a port"));
        }
        // The chain may lead to an endpoint with TLS though this one has none.
        let tls = http::tls(target.ca_file.as_deref())?;
        let account = Account {
            base: format!("{}://{authority}", url.scheme_str().unwrap_or("https")),
            host: authority.to_owned(),
            region: target.region,
            source: target.credentials,
            environment,
            addresses,
            tls: Some(tls),
            kept: Mutex::new(None),
        };
        Ok(Route53 {
            name,
            kind: target.record_type,
            zone: zone.to_owned(),
            account,
            wait: target.wait,
            insync_timeout: target.insync_timeout,
            poll: target.poll,
            pending: Mutex::new(None),
            apex: Mutex::new(None),
        })
    }

    fn seen(&self, within: Within<'_>) -> Result<Option<Seen>, Trouble> {
        let Some(set) = self.record_set(&self.name, self.kind.as_str(), within)? else { return Ok(None) };
        if let Some(other) = set.children.iter().find(|child| !SIMPLE.contains(&child.name.as_str())) {
            return Err(Trouble::Request(format!(
                "it has {}, so it is not one value for everybody, and is left alone",
                shown(&other.name)
            )));
        }
        let words: Vec<String> = set
            .child("ResourceRecords")
            .map(|records| records.children.iter().filter_map(|record| record.text_of("Value")).map(str::to_owned).collect())
            .unwrap_or_default();
        let ttl = set.text_of("TTL").and_then(|ttl| ttl.parse().ok()).filter(|ttl| *ttl <= TTL_LIMIT);
        let (Some(ttl), false) = (ttl, words.is_empty()) else {
            return Err(Trouble::Garbage("a record set without a TTL or without values".to_owned()));
        };
        let values = words.iter().map(|word| self.value(word).unwrap_or_else(|| word.clone())).collect();
        Ok(Some(Seen { ttl, words, set: RecordSet { values, ttl } }))
    }

    /// The record set of the zone with this name and type; `None`: it has none.
    fn record_set(&self, name: &str, kind: &str, within: Within<'_>) -> Result<Option<Element>, Trouble> {
        let path = format!("/hostedzone/{}/rrset?maxitems=1&name={}&type={kind}", self.zone, encoded(name));
        let answer = self.account.ask(&path, within)?;
        let Some(sets) = answer.child("ResourceRecordSets") else {
            return Err(Trouble::Garbage(format!("{} without ResourceRecordSets", shown(&answer.name))));
        };
        // The list begins at the name or, where there is none, at the next one.
        let is_it = |set: &&Element| {
            set.text_of("Name").is_some_and(|found| unescaped(found) == unescaped(name)) && set.text_of("Type") == Some(kind)
        };
        Ok(sets.children.iter().find(is_it).cloned())
    }

    /// A value as a zone file shows it; `None`: not of this type.
    fn value(&self, word: &str) -> Option<String> {
        match self.kind {
            RecordType::A => word.parse::<Ipv4Addr>().ok().map(|ip| ip.to_string()),
            RecordType::Aaaa => word.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string()),
            RecordType::Cname => full_name(word),
        }
    }

    /// The same with its values in one form and order, to be compared.
    fn settled(&self, set: &RecordSet) -> Result<RecordSet, String> {
        if set.ttl > TTL_LIMIT {
            return Err(format!("a TTL of {} s is longer than {TTL_LIMIT} s", set.ttl));
        }
        if set.values.is_empty() || self.kind == RecordType::Cname && set.values.len() > 1 {
            return Err(format!("{} values for a record of type {}", set.values.len(), self.kind.as_str()));
        }
        let values: Option<Vec<String>> = set.values.iter().map(|value| self.value(value)).collect();
        let mut values = values.ok_or_else(|| format!("{set} is not of type {}", self.kind.as_str()))?;
        values.sort();
        values.dedup();
        Ok(RecordSet { values, ttl: set.ttl })
    }

    fn change(&self, wanted: Option<&RecordSet>, always: bool, within: Within<'_>) -> Result<Settled<Option<Seen>>, Failure> {
        let holds = |seen: &Option<Seen>| match (seen, wanted) {
            (None, None) => true,
            (Some(seen), Some(wanted)) => self.settled(&seen.set).is_ok_and(|set| set == *wanted),
            _ => false,
        };
        let document = |seen: &Option<Seen>| match (wanted, seen) {
            (Some(wanted), _) => self.batch("UPSERT", wanted.ttl, &wanted.values),
            (None, Some(seen)) => self.batch("DELETE", seen.ttl, &seen.words),
            (None, None) => Err(std::io::Error::other("there is nothing to delete")),
        };
        let change = Change {
            what: self.describe(),
            path: format!("/hostedzone/{}/rrset", self.zone),
            read: &|within| self.seen(within),
            holds: &holds,
            document: &document,
            always,
        };
        change.run(&self.account, within)
    }

    fn batch(&self, action: &str, ttl: u32, values: &[String]) -> std::io::Result<Vec<u8>> {
        document("ChangeResourceRecordSetsRequest", |writer| {
            inside(writer, "ChangeBatch", |writer| {
                leaf(writer, "Comment", "libfailover")?;
                inside(writer, "Changes", |writer| {
                    inside(writer, "Change", |writer| {
                        leaf(writer, "Action", action)?;
                        inside(writer, "ResourceRecordSet", |writer| {
                            leaf(writer, "Name", &self.name)?;
                            leaf(writer, "Type", self.kind.as_str())?;
                            leaf(writer, "TTL", &ttl.to_string())?;
                            inside(writer, "ResourceRecords", |writer| {
                                for value in values {
                                    inside(writer, "ResourceRecord", |writer| leaf(writer, "Value", value))?;
                                }
                                Ok(())
                            })
                        })
                    })
                })
            })
        })
    }

    /// Waits until every authoritative server has a change.
    fn until_in_sync(&self, id: &str, within: Within<'_>) -> Result<(), Failure> {
        let what = self.describe();
        let accepted = |why: &str| format!("Route 53 has accepted the change of {what}, but {why}");
        let remedy = "see in the zone whether the change is still pending, and allow more time (insync_timeout)";
        let within = Within { deadline: within.deadline.at_most(self.insync_timeout), ..within };
        let mut pauses = Pauses::of_looks(self.poll);
        loop {
            match self.account.ask(&format!("/change/{id}"), within) {
                Ok(answer) => {
                    let status = answer.child("ChangeInfo").and_then(|info| info.text_of("Status")).unwrap_or_default();
                    match status {
                        "INSYNC" => return Ok(()),
                        "PENDING" => {}
                        other => {
                            let why = format!("its state is {:?}", shown(other));
                            return Err(Failure::unknown(accepted(&why), remedy));
                        }
                    }
                }
                Err(Trouble::Cancelled) => return Err(Failure::cancelled(accepted("the wait for it was cancelled"))),
                Err(trouble) => {
                    let (why, remedy) = (accepted(&format!("cannot say how far it is: {trouble}")), trouble.remedy());
                    return Err(if trouble.passes() { Failure::timed_out(why, remedy) } else { Failure::unknown(why, remedy) });
                }
            }
            match pauses.wait(within) {
                Ok(()) => {}
                Err(Interrupted::Cancelled) => return Err(Failure::cancelled(accepted("the wait for it was cancelled"))),
                Err(Interrupted::TimedOut) => {
                    return Err(Failure::timed_out(accepted("not every authoritative server had it in time"), remedy));
                }
            }
        }
    }

    fn finish(&self, wanted: Option<&RecordSet>, id: &str, in_sync: bool, within: Within<'_>) -> Result<String, Failure> {
        let now = wanted.map_or_else(|| "is removed".to_owned(), |set| format!("is {set}"));
        if in_sync {
            *self.pending.lock() = None;
            return Ok(format!("{} {now}, on every authoritative server", self.describe()));
        }
        *self.pending.lock() = Some((wanted.cloned(), id.to_owned()));
        if !self.wait {
            return Ok(format!("{} {now}; the authoritative servers follow", self.describe()));
        }
        self.until_in_sync(id, within).inspect_err(|failure| {
            // It is not worth asking for again.
            if failure.kind == FailureKind::Unknown {
                *self.pending.lock() = None;
            }
        })?;
        *self.pending.lock() = None;
        Ok(format!("{} {now}, on every authoritative server", self.describe()))
    }
}

impl Record for Route53 {
    fn describe(&self) -> String {
        format!("{} {} in Route 53 zone {}", self.name, self.kind.as_str(), self.zone)
    }

    fn read(&self, deadline: Deadline, cancel: &Cancel) -> Result<Option<RecordSet>, Failure> {
        let seen = self.seen(Within { deadline, cancel }).map_err(|trouble| failed(&self.describe(), &trouble, false))?;
        Ok(seen.map(|seen| seen.set))
    }

    fn in_its_zone(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), Failure> {
        match self.place(Within { deadline, cancel }) {
            // What cannot be asked is told where the record is read.
            Ok(Place::Here) | Err(_) => Ok(()),
            Ok(Place::Delegated(zone, servers)) => Err(Failure::no_effect(
                format!("{}: the name is in the zone {zone}, for which {} is authoritative", self.describe(), servers.join(", ")),
                "set zone_id to the hosted zone of that one, with credentials that may change it; if it is not in Route 53, use \
                 the provider that its name servers belong to",
            )),
            Ok(Place::Outside) => Err(Failure::no_effect(
                format!("{}: the name is not in that hosted zone", self.describe()),
                "correct zone_id: the hosted zone whose name is the end of this name; or correct the name",
            )),
        }
    }

    fn write(&self, wanted: Option<&RecordSet>, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let within = Within { deadline, cancel };
        let wanted = wanted
            .map(|set| self.settled(set))
            .transpose()
            .map_err(|why| Failure::no_effect(format!("{}: {why}", self.describe()), "correct the values of the record"))?;
        let wanted = wanted.as_ref();
        let mut settled = self.change(wanted, false, within)?;
        if matches!(settled, Settled::Found(_)) && self.wait && wanted.is_some() {
            // Only the answer names the change that is waited for. The same once more changes nothing, and has an answer.
            settled = self.change(wanted, true, within).map_err(|failure| match failure.kind {
                FailureKind::NoEffect => Failure { kind: FailureKind::Unknown, ..failure },
                _ => failure,
            })?;
        }
        let holds = wanted.map_or_else(|| "has no record".to_owned(), |set| format!("holds {set}"));
        match settled {
            Settled::Already => {
                let pending = self.pending.lock().clone().filter(|(set, _)| self.wait && set.as_ref() == wanted);
                match pending {
                    Some((_, id)) => self.finish(wanted, &id, false, within),
                    None => Ok(format!("{} {holds} already", self.describe())),
                }
            }
            Settled::Found(_) => Ok(format!(
                "{} {holds}, read back because the answer was lost; the authoritative servers follow",
                self.describe()
            )),
            Settled::Done(answer) => {
                let info = answer.child("ChangeInfo");
                let id = info.and_then(|info| info.text_of("Id")).map(|id| id.rsplit('/').next().unwrap_or_default());
                let id = id.filter(|id| !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
                let in_sync = info.and_then(|info| info.text_of("Status")) == Some("INSYNC");
                match id {
                    Some(id) => self.finish(wanted, id, in_sync, within),
                    None => Err(Failure::unknown(
                        format!("{}: the answer to the change names no change", self.describe()),
                        "make sure that the endpoint is Route 53's, and that no proxy answers in its place",
                    )),
                }
            }
        }
    }
}

impl<S> Change<'_, S> {
    fn run(&self, account: &Account, within: Within<'_>) -> Result<Settled<S>, Failure> {
        let mut pauses = Pauses::of_tries();
        let mut state = (self.read)(within).map_err(|trouble| failed(&self.what, &trouble, false))?;
        let mut always = self.always;
        let mut doubt = false;
        loop {
            if (self.holds)(&state) && !always {
                return Ok(if doubt { Settled::Found(state) } else { Settled::Already });
            }
            let body =
                (self.document)(&state).map_err(|error| failed(&self.what, &Trouble::Request(error.to_string()), doubt))?;
            let trouble = match account.post(&self.path, &body, within) {
                Ok(answer) => return Ok(Settled::Done(answer)),
                Err(Trouble::Cancelled) => return Err(failed(&self.what, &Trouble::Cancelled, doubt)),
                Err(trouble) => trouble,
            };
            doubt |= trouble.leaves_doubt();
            // Somebody may have been quicker, or an earlier try of ours that seemed lost.
            let overtaken = trouble.is("HealthCheckVersionMismatch") || trouble.is("InvalidChangeBatch");
            let again = trouble.passes() || trouble.leaves_doubt() || trouble.is("HealthCheckVersionMismatch");
            if again {
                match pauses.wait(within) {
                    Ok(()) => {}
                    Err(Interrupted::Cancelled) => return Err(failed(&self.what, &Trouble::Cancelled, doubt)),
                    Err(Interrupted::TimedOut) => return Err(failed(&self.what, &trouble, doubt)),
                }
            }
            if trouble.leaves_doubt() || overtaken {
                always = false;
                state = match (self.read)(within) {
                    Ok(state) => state,
                    Err(Trouble::Cancelled) => return Err(failed(&self.what, &Trouble::Cancelled, doubt)),
                    // The first trouble is the one to know about.
                    Err(_) => return Err(failed(&self.what, &trouble, doubt)),
                };
            }
            let fits = overtaken && (self.holds)(&state);
            if !again && !fits {
                return Err(failed(&self.what, &trouble, doubt));
            }
        }
    }
}

/// A failure of an operation on `what`. `doubt`: something may have been changed.
fn failed(what: &str, trouble: &Trouble, doubt: bool) -> Failure {
    let kind = match trouble {
        Trouble::Cancelled => FailureKind::Cancelled,
        trouble if doubt && trouble.passes() => FailureKind::TimedOut,
        _ if doubt => FailureKind::Unknown,
        _ => FailureKind::NoEffect,
    };
    Failure { kind, message: format!("{what}: {trouble}"), remedy: trouble.remedy() }
}

/// A domain name with its final dot in small letters; `None`: it is none.
fn full_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_graphic());
    (name.len() <= 254 && name.split('.').all(labels)).then(|| format!("{}.", name.to_ascii_lowercase()))
}

/// A name without its `\052`, which Route 53 writes for everything but letters, digits, `-` and `_`.
fn unescaped(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match value {
            Some(value) if *first == b'\\' => {
                bytes.push(value.to_ascii_lowercase());
                rest = &after[3..];
            }
            _ => {
                bytes.push(first.to_ascii_lowercase());
                rest = after;
            }
        }
    }
    if bytes.last() != Some(&b'.') {
        bytes.push(b'.');
    }
    bytes
}

/// A word of the server's for a message.
fn shown(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(60).collect()
}

type Xml = Writer<Vec<u8>>;

fn document(name: &str, content: impl FnOnce(&mut Xml) -> std::io::Result<()>) -> std::io::Result<Vec<u8>> {
    let mut writer = Writer::new(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec());
    writer.create_element(name).with_attribute(("xmlns", NAMESPACE)).write_inner_content(content)?;
    Ok(writer.into_inner())
}

fn inside(writer: &mut Xml, name: &str, content: impl FnOnce(&mut Xml) -> std::io::Result<()>) -> std::io::Result<()> {
    writer.create_element(name).write_inner_content(content).map(drop)
}

fn leaf(writer: &mut Xml, name: &str, text: &str) -> std::io::Result<()> {
    writer.create_element(name).write_text_content(BytesText::new(text)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::resolve::Literals;

    fn made(change: impl FnOnce(&mut Route53Target)) -> Result<Route53, String> {
        let mut target = Route53Target::new("App.example.com", RecordType::A, "/hostedzone/Z123");
        change(&mut target);
        Route53::new(target, Arc::new(Literals), Environment::default())
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        assert_eq!(made(|_| ()).unwrap().describe(), "app.example.com. A in Route 53 zone Z123");
        assert_eq!(made(|target| target.zone_id = "Z9".to_owned()).unwrap().zone, "Z9");
        type Case = (&'static str, fn(&mut Route53Target));
        let cases: [Case; 14] = [
            ("zone_id", |target| target.zone_id = String::new()),
            ("zone_id", |target| target.zone_id = "/hostedzone/../x".to_owned()),
            ("name", |target| target.name = "a..b".to_owned()),
            ("name", |target| target.name = "a b".to_owned()),
            ("name", |target| target.name = "ä.de".to_owned()),
            ("name", |target| target.name = "a.".repeat(128)),
            ("region", |target| target.region = "us/east".to_owned()),
            ("insync_timeout", |target| target.insync_timeout = Duration::ZERO),
            ("poll", |target| target.poll = Duration::ZERO),
            ("endpoint", |target| target.endpoint = Some("example.com".to_owned())),
            ("endpoint", |target| target.endpoint = Some("https://u:geheim@example.com".to_owned())),
            ("endpoint", |target| target.endpoint = Some("https://example.com/?x".to_owned())),
            ("endpoint", |target| target.endpoint = Some("https://example.com:0".to_owned())),
            ("ca_file", |target| target.ca_file = Some("/nowhere".into())),
        ];
        for (setting, change) in cases {
            let why = made(change).expect_err(setting);
            assert!(why.starts_with(setting) && !why.contains("geheim"), "{setting}: {why}");
        }
    }

    #[test]
    fn names_are_compared_as_route_53_writes_them() {
        assert_eq!(unescaped("\\052.Example.com."), unescaped("*.example.com"));
        assert_eq!(unescaped("a\\"), b"a\\.");
        assert_ne!(unescaped("a.example.com"), unescaped("b.example.com"));
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        let record = |kind| made(|target| target.record_type = kind).unwrap();
        let set = |values: &[&str], ttl| RecordSet { values: values.iter().map(|value| (*value).to_owned()).collect(), ttl };
        let six = record(RecordType::Aaaa);
        assert_eq!(six.settled(&set(&["2001:DB8::0:1", "::1"], 5)), six.settled(&set(&["::1", "2001:db8::1", "::1"], 5)));
        assert_ne!(six.settled(&set(&["::1"], 5)), six.settled(&set(&["::1"], 6)));
        let name = record(RecordType::Cname);
        assert_eq!(name.settled(&set(&["Web1.example.com"], 0)), name.settled(&set(&["web1.example.com."], 0)));
        for (kind, wrong) in [
            (RecordType::A, set(&[], 5)),
            (RecordType::A, set(&["::1"], 5)),
            (RecordType::A, set(&["10.0.0.1"], TTL_LIMIT + 1)),
            (RecordType::Aaaa, set(&["10.0.0.1"], 5)),
            (RecordType::Cname, set(&["a.", "b."], 5)),
            (RecordType::Cname, set(&["a b"], 5)),
        ] {
            assert!(record(kind).settled(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_batch_is_one_escaped_change() {
        let record = made(|target| target.name = "a<b.example.com".to_owned()).unwrap();
        let text = String::from_utf8(record.batch("UPSERT", 60, &["10.0.0.1".to_owned()]).unwrap()).unwrap();
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ChangeResourceRecordSetsRequest \
             xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Comment>libfailover</Comment><Changes><Change>\
             <Action>UPSERT</Action><ResourceRecordSet><Name>a&lt;b.example.com.</Name><Type>A</Type><TTL>60</TTL>\
             <ResourceRecords><ResourceRecord><Value>10.0.0.1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>\
             </Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
        );
    }
}
