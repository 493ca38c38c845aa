//! A record set changed by dynamic update (RFC 2136), signed with a shared key (TSIG, RFC 8945): for BIND, Knot, PowerDNS and
//! others that take updates.
//!
//! One update deletes the record set and adds the new values: the server does both or neither, and twice is as good as once. There
//! is no prerequisite: it would turn the repetition of an update whose answer was lost into a refusal, and the value has to become the
//! wanted one whatever it was. What counts is what the server says afterwards: the record set is read before and after, signed too.
//!
//! A copy of an update whose answer is missing may still be under way, at most as long as its signature is valid (`fudge`). A write
//! that ends so is never called one without effect; whoever writes another value after it looks again later.
//!
//! A wildcard of the zone answers for a name that has no record of its own, and cannot be told from one: where there is one, what
//! is put back is a record of the name.
//!
//! Refusals of the key itself (BADKEY, BADSIG, BADTIME) carry no signature that we could check. They count only over TCP, where
//! nobody can slip one in from aside.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::base::iana::{Class, Opcode, Rcode, Rtype, TsigRcode};
use domain::base::message_builder::{AdditionalBuilder, PushError};
use domain::base::record::Ttl;
use domain::base::{Message, MessageBuilder, UnknownRecordData};
use domain::rdata::tsig::Time48;
use domain::rdata::{A, Aaaa, Cname, Tsig};
use domain::tsig::{ClientTransaction, Key, KeyName, ValidationError};

use super::verify::{Asked, NameServer, Role, Seen, verify};
use super::{Record, RecordSet, RecordType};
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::dns::{self, Answer, DnsName, Error, Exchange, Judged, Over, Place, dotted};
use crate::wire::resolve::Addresses;
use failover_core::output::{Failure, FailureKind};

/// The longest a record set may be kept: the DNS knows no more.
pub(crate) const MAX_TTL: u32 = i32::MAX.unsigned_abs();
/// Values of one record set: what fits a message with room to spare.
pub(crate) const MAX_VALUES: usize = 100;
/// Seconds two clocks may differ, as RFC 8945 recommends.
pub(crate) const FUDGE: u16 = 300;

/// Updates sent in one write, each followed by a look at what became of it.
const ROUNDS: u32 = 3;
/// How long a server that nobody listens for may take to come back, at most half of the deadline.
const RESTART: Duration = Duration::from_secs(3);
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at the other servers: doubled from the first to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// The question for a name's zone takes at most this of a server.
const ZONE: Duration = Duration::from_secs(2);
/// One look at the other servers takes at most this.
const LOOK: Duration = Duration::from_secs(5);

/// How messages are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// `hmac-sha1`: for servers that know nothing newer.
    HmacSha1,
    /// `hmac-sha256`, which every server knows.
    #[default]
    HmacSha256,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha512`.
    HmacSha512,
}

impl Algorithm {
    /// As name servers call it.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Algorithm::HmacSha1 => "hmac-sha1",
            Algorithm::HmacSha256 => "hmac-sha256",
            Algorithm::HmacSha384 => "hmac-sha384",
            Algorithm::HmacSha512 => "hmac-sha512",
        }
    }

    fn wire(self) -> domain::tsig::Algorithm {
        match self {
            Algorithm::HmacSha1 => domain::tsig::Algorithm::Sha1,
            Algorithm::HmacSha256 => domain::tsig::Algorithm::Sha256,
            Algorithm::HmacSha384 => domain::tsig::Algorithm::Sha384,
            Algorithm::HmacSha512 => domain::tsig::Algorithm::Sha512,
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(word: &str) -> Result<Algorithm, String> {
        [Algorithm::HmacSha1, Algorithm::HmacSha256, Algorithm::HmacSha384, Algorithm::HmacSha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == word)
            .ok_or_else(|| format!("\"{word}\" is none of hmac-sha1, hmac-sha256, hmac-sha384, hmac-sha512"))
    }
}

/// The key that an update is signed with, as `tsig-keygen` makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TsigKey {
    /// Its name on both sides; the server finds the key by it.
    pub name: String,
    /// Its algorithm, the same on both sides.
    pub algorithm: Algorithm,
    /// The secret in base64.
    pub secret: Secret,
}

/// What to change, where, and with which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rfc2136Target {
    /// The primary name server of the zone: only that one takes updates.
    pub server: NameServer,
    /// The zone, such as `example.com`: what the server is primary of, not a part of it.
    pub zone: String,
    /// The full name of the record set, in the zone or the zone itself.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
    /// The TTL of what is written for a server that becomes active, in seconds, 0 to [`MAX_TTL`].
    pub ttl: u32,
    /// The key.
    pub key: TsigKey,
    /// Seconds that the server's clock may differ from ours, 1 to 65535; [`FUDGE`] in general. The server may allow less.
    pub fudge: u16,
    /// The other authoritative servers that must have a value before a write is done. Empty: the primary alone has to have it.
    pub secondaries: Vec<NameServer>,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub(crate) struct Invalid {
    /// The field of [`Rfc2136Target`], such as `key.secret`.
    pub setting: &'static str,
    /// What is wrong with it. Never holds the secret.
    pub message: String,
}

/// Seconds since 1970 for signatures.
pub(crate) type SigningTime = dyn Fn() -> u64 + Send + Sync;

/// One record set that is changed by signed updates.
pub(crate) struct Rfc2136 {
    target: Rfc2136Target,
    zone: DnsName,
    name: DnsName,
    key: Key,
    addresses: Arc<dyn Addresses>,
    time: Box<SigningTime>,
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rfc2136").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Rfc2136 {
    /// A record set; nothing is asked or changed yet. Names of servers are looked up in `addresses`.
    ///
    /// # Errors
    /// [`Invalid`]: the first setting that cannot be used.
    pub(crate) fn new(target: Rfc2136Target, addresses: Arc<dyn Addresses>) -> Result<Rfc2136, Invalid> {
        let invalid = |setting, message: String| Invalid { setting, message };
        let name = |setting, text: &str| dns::parse_name(text).map_err(|error| invalid(setting, error.to_string()));
        let (zone, record) = (name("zone", &target.zone)?, name("name", &target.name)?);
        if !record.ends_with(&zone) {
            return Err(invalid("name", format!("{} is not in the zone {}", dotted(&record), dotted(&zone))));
        }
        if target.record_type == RecordType::Cname && record == zone {
            return Err(invalid("record_type", "a zone itself cannot be an alias (CNAME): it has SOA and NS records".to_owned()));
        }
        if target.ttl > MAX_TTL {
            return Err(invalid("ttl", format!("{} s is more than {MAX_TTL} s", target.ttl)));
        }
        if target.fudge == 0 {
            return Err(invalid("fudge", "clocks differ by fractions of a second: write at least 1 s".to_owned()));
        }
        let secret = BASE64.decode(target.key.secret.expose().trim()).map_err(|_| {
            invalid("key.secret", "it is not base64; copy it from the server's key file without quotes".to_owned())
        })?;
        if secret.is_empty() {
            return Err(invalid("key.secret", "it is empty".to_owned()));
        }
        let key_name = name("key.name", &target.key.name)?;
        let key_name = KeyName::from_str(&key_name.to_string()).map_err(|error| invalid("key.name", error.to_string()))?;
        let key = Key::new(target.key.algorithm.wire(), &secret, key_name, None, None)
            .map_err(|error| invalid("key.algorithm", error.to_string()))?;
        let time = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(Rfc2136 { target, zone, name: record, key, addresses, time: Box::new(time) })
    }

    /// Signs by another clock than the system's.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn with_signing_time(self, time: Box<SigningTime>) -> Rfc2136 {
        Rfc2136 { time, ..self }
    }

    /// These values with the TTL of the target.
    ///
    /// # Errors
    /// [`Failure`] without effect: which value is none of this type.
    #[cfg(test)]
    pub(crate) fn record_set(&self, values: &[String]) -> Result<RecordSet, Failure> {
        self.normal(&RecordSet { values: values.to_vec(), ttl: self.target.ttl })
    }

    /// The values in one spelling and order.
    fn normal(&self, set: &RecordSet) -> Result<RecordSet, Failure> {
        let no = |how: String| Failure::no_effect(format!("{}: {how}", self.describe()), "correct the values of the record");
        let kind = self.target.record_type;
        let mut values = set
            .values
            .iter()
            .map(|value| dns::normalise(kind, value))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|how| no(format!("{how}, as an {} record needs", kind.as_str())))?;
        values.sort();
        values.dedup();
        if values.is_empty() {
            return Err(no("no value was given".to_owned()));
        }
        if values.len() > MAX_VALUES {
            return Err(no(format!("{} values are more than {MAX_VALUES}", values.len())));
        }
        if kind == RecordType::Cname && values.len() > 1 {
            return Err(no("a CNAME has one value".to_owned()));
        }
        if set.ttl > MAX_TTL {
            return Err(no(format!("a TTL of {} s is more than {MAX_TTL} s", set.ttl)));
        }
        Ok(RecordSet { values, ttl: set.ttl })
    }

    fn now(&self) -> Time48 {
        Time48::from_u64((self.time)() & 0xFFFF_FFFF_FFFF)
    }

    /// Signs a request, sends it, and checks the signature of what comes back.
    fn signed<T>(
        &self,
        server: SocketAddr,
        mut builder: AdditionalBuilder<Vec<u8>>,
        deadline: Deadline,
        cancel: &Cancel,
        read: impl Fn(&[u8], Over) -> Judged<T>,
    ) -> Sent<T> {
        let transaction =
            match ClientTransaction::request_with_fudge(self.key.clone(), &mut builder, self.now(), self.target.fudge) {
                Ok(transaction) => transaction,
                Err(error) => return Sent { outcome: Err(Error::Local { how: error.to_string() }), unanswered: 0, said: None },
            };
        let request = builder.finish();
        let mut said = None;
        let mut exchange = Exchange::new(server, &request, deadline, cancel);
        let outcome = exchange.run(&mut |bytes, over| {
            let Ok(mut message) = Message::from_octets(bytes.to_vec()) else {
                return Judged::Garbage(format!("{} bytes are too few", bytes.len()));
            };
            if message.header().tc() && over == Over::Udp {
                return Judged::ByTcp("its answer over UDP is truncated");
            }
            let complaint = complaint(&message);
            match transaction.answer(&mut message, self.now()) {
                Ok(()) => match read(message.as_slice(), over) {
                    Judged::Take(answer) => Judged::Take(Reply::Signed(answer)),
                    Judged::ByTcp(why) => Judged::ByTcp(why),
                    Judged::Garbage(how) => Judged::Garbage(how),
                },
                Err(error) => {
                    let distrust = Distrust { complaint, rcode: message.header().rcode(), error };
                    said = Some(distrust);
                    match over {
                        Over::Udp => Judged::ByTcp("its answer over UDP has no valid signature"),
                        Over::Tcp => Judged::Take(Reply::Distrusted(distrust)),
                    }
                }
            }
        });
        Sent { outcome, unanswered: exchange.unanswered, said }
    }

    /// What the primary holds now.
    fn ask(&self, server: SocketAddr, deadline: Deadline, cancel: &Cancel) -> Result<Answer, Trouble> {
        let kind = self.target.record_type;
        let request = dns::query(&self.name, kind, false, true).map_err(Trouble::Wire)?;
        let sent = self.signed(server, request, deadline, cancel, |message, over| {
            dns::interpret(server, &self.name, kind, false, message, over)
        });
        match sent.outcome {
            Ok(Reply::Signed(Ok(answer))) => Ok(answer),
            Ok(Reply::Distrusted(distrust)) => Err(Trouble::Distrust(distrust)),
            // TCP did not work, but what was said over UDP tells more.
            Err(Error::NoTcp { .. }) if sent.said.is_some() => Err(sent.said.map_or(Trouble::Mute, Trouble::Distrust)),
            Ok(Reply::Signed(Err(error))) | Err(error) => Err(Trouble::Wire(error)),
        }
    }

    /// What the primary holds, by the first of its addresses that answers. A server that is being restarted is waited for.
    fn look(&self, deadline: Deadline, cancel: &Cancel) -> Result<(SocketAddr, Option<RecordSet>), Failure> {
        let known = self.target.server.find(&*self.addresses).map_err(|how| {
            let remedy = "correct the name server's name, or give its address; names are looked up in the background";
            Failure::no_effect(format!("{}: {how}", self.describe()), remedy)
        })?;
        let patience = deadline.at_most(RESTART.min(deadline.remaining() / 2));
        loop {
            let mut last = Trouble::Mute;
            for (index, server) in known.iter().enumerate() {
                let others = index + 1 < known.len();
                let share = if others { deadline.at_most(deadline.remaining() / 2) } else { deadline };
                match self.ask(*server, share, cancel) {
                    Ok(answer) => return self.judge_reading(*server, answer).map(|set| (*server, set)),
                    Err(trouble @ Trouble::Wire(Error::Unreachable { .. } | Error::NoAnswer { .. })) => last = trouble,
                    Err(trouble) => return Err(self.failure(*server, &trouble)),
                }
            }
            let away = matches!(last, Trouble::Wire(Error::Unreachable { .. }));
            if !away || cancel.pause(RESTART_PAUSE, patience).is_err() {
                let server = known.last().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
                return Err(if cancel.is_cancelled() {
                    Failure::cancelled(format!("{}: cancelled", self.describe()))
                } else {
                    self.failure(server, &last)
                });
            }
        }
    }

    fn judge_reading(&self, server: SocketAddr, answer: Answer) -> Result<Option<RecordSet>, Failure> {
        if let Some(target) = answer.canonical {
            let message = format!(
                "{}: the name is an alias (CNAME) of {target}, and next to one there is no other record",
                self.describe()
            );
            let remedy = "remove the CNAME record, or configure the record type CNAME or another name";
            return Err(Failure::no_effect(message, remedy));
        }
        if !answer.authoritative {
            let message = format!("{}: {server} is not authoritative for the zone {}", self.describe(), dotted(&self.zone));
            return Err(Failure::no_effect(message, "name the primary name server of the zone, and check that it has loaded it"));
        }
        Ok(answer.record)
    }

    /// Where the primary says that the name is; nothing where it does not say it at once.
    fn place(&self, deadline: Deadline, cancel: &Cancel) -> Option<Place> {
        let servers = self.target.server.find(&*self.addresses).ok()?;
        servers.into_iter().find_map(|server| {
            let request = dns::zone_query(&self.name).ok()?;
            let share = deadline.at_most(ZONE.min(deadline.remaining() / 2));
            let sent = self.signed(server, request, share, cancel, |message, _| Judged::Take(dns::place(message)));
            match sent.outcome {
                Ok(Reply::Signed(place)) => place,
                _ => None,
            }
        })
    }

    /// A change that failed because the name is in another zone fails with that for its reason.
    fn because_of_the_zone(&self, failure: Failure, deadline: Deadline, cancel: &Cancel) -> Failure {
        match self.in_its_zone(deadline, cancel) {
            Err(why) => Failure { message: format!("{}; {}", why.message, failure.message), remedy: why.remedy, ..failure },
            Ok(()) => failure,
        }
    }

    /// One update. What it came to, and how many copies of it may still be under way.
    fn update(
        &self,
        server: SocketAddr,
        wanted: Option<&RecordSet>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> (Result<(), Trouble>, u32) {
        let request = match self.request(wanted) {
            Ok(request) => request,
            Err(error) => return (Err(Trouble::Wire(Error::Local { how: error.to_string() })), 0),
        };
        let sent = self.signed(server, request, deadline, cancel, |message, _| match Message::from_slice(message) {
            Ok(message) if message.header().rcode() == Rcode::NOERROR => Judged::Take(Ok(())),
            Ok(message) => Judged::Take(Err(message.header().rcode())),
            Err(_) => Judged::Garbage("it is too short".to_owned()),
        });
        // A copy that was answered without proof is as good as not answered.
        let unproven = sent.unanswered.max(1);
        match sent.outcome {
            Ok(Reply::Signed(Ok(()))) => (Ok(()), sent.unanswered),
            Ok(Reply::Signed(Err(rcode))) => (Err(Trouble::Refusal(rcode)), sent.unanswered),
            Ok(Reply::Distrusted(distrust)) => {
                (Err(Trouble::Distrust(distrust)), if distrust.is_refusal() { sent.unanswered } else { unproven })
            }
            Err(Error::NoTcp { .. }) if sent.said.is_some() => {
                (Err(sent.said.map_or(Trouble::Mute, Trouble::Distrust)), unproven)
            }
            Err(error) => (Err(Trouble::Wire(error)), sent.unanswered),
        }
    }

    /// The record set away, and the new one there.
    fn request(&self, wanted: Option<&RecordSet>) -> Result<AdditionalBuilder<Vec<u8>>, PushError> {
        let mut builder = MessageBuilder::new_vec();
        let id = dns::random_id().map_err(|_| PushError::ShortBuf)?;
        builder.header_mut().set_id(id);
        builder.header_mut().set_opcode(Opcode::UPDATE);
        let mut builder = builder.question();
        builder.push((&self.zone, Rtype::SOA))?;
        let mut builder = builder.authority();
        let kind = self.target.record_type;
        let nothing = UnknownRecordData::from_octets(dns::rtype(kind), [0_u8; 0]).map_err(|_| PushError::ShortBuf)?;
        builder.push((&self.name, Class::ANY, Ttl::from_secs(0), nothing))?;
        for value in wanted.iter().flat_map(|set| &set.values) {
            let ttl = Ttl::from_secs(wanted.map_or(0, |set| set.ttl));
            // Checked before: an unreadable value cannot come here.
            match kind {
                RecordType::A => {
                    let address = value.parse::<Ipv4Addr>().map_err(|_| PushError::ShortBuf)?;
                    builder.push((&self.name, Class::IN, ttl, A::new(address)))?;
                }
                RecordType::Aaaa => {
                    let address = value.parse::<Ipv6Addr>().map_err(|_| PushError::ShortBuf)?;
                    builder.push((&self.name, Class::IN, ttl, Aaaa::new(address)))?;
                }
                RecordType::Cname => {
                    let name = dns::parse_name(value).map_err(|_| PushError::ShortBuf)?;
                    builder.push((&self.name, Class::IN, ttl, Cname::new(name)))?;
                }
            }
        }
        Ok(builder.additional())
    }

    /// Updates until the primary holds it. Answers what it held before, and a remark.
    fn change(
        &self,
        wanted: Option<&RecordSet>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(Option<RecordSet>, &'static str), Failure> {
        let (mut server, before) = self.look(deadline, cancel)?;
        if before.as_ref() == wanted {
            return Ok((before, "was there already"));
        }
        // The first copy whose fate is not known makes every later failure one whose effect is not known.
        let mut adrift = 0;
        for round in 1..=ROUNDS {
            // Time is kept for finding out.
            let share = deadline.at_most(deadline.remaining() / 2);
            let (outcome, unanswered) = self.update(server, wanted, share, cancel);
            adrift += unanswered;
            if let Err(trouble) = &outcome
                && !trouble.may_pass()
            {
                let mut failure = self.failure(server, trouble);
                if adrift > 0 && failure.kind == FailureKind::NoEffect {
                    failure.kind = FailureKind::Unknown;
                }
                return Err(failure);
            }
            let found = match self.look(deadline, cancel) {
                Ok((answering, found)) => {
                    server = answering;
                    found
                }
                Err(failure) => return Err(self.not_found_out(server, &outcome, failure, deadline)),
            };
            match (&outcome, found.as_ref() == wanted) {
                (Ok(()), true) => return Ok((before, "")),
                (Err(_), true) => return Ok((before, "found by reading it, its answer was lost")),
                (Ok(()), false) => {
                    let message = format!(
                        "{}: {server} accepted the change and holds {}",
                        self.describe(),
                        found.as_ref().map_or_else(|| "no such record".to_owned(), ToString::to_string)
                    );
                    let remedy = "check who else changes the record, and for other records at the name that exclude it (CNAME)";
                    return Err(Failure::unknown(message, remedy));
                }
                (Err(trouble), false) => {
                    let again = round < ROUNDS && cancel.pause(RESTART_PAUSE, deadline).is_ok();
                    if !again {
                        let mut failure = self.failure(server, trouble);
                        if cancel.is_cancelled() {
                            failure = Failure::cancelled(failure.message);
                        } else if adrift > 0 {
                            failure.kind = if deadline.is_over() { FailureKind::TimedOut } else { FailureKind::Unknown };
                        } else {
                            // It answered every copy, and does not hold the new value.
                            failure.kind = FailureKind::NoEffect;
                        }
                        return Err(failure);
                    }
                }
            }
        }
        Err(Failure::unknown(format!("{}: not changed", self.describe()), "look into the name server's log"))
    }

    /// The update was sent, and what became of it cannot be read.
    fn not_found_out(&self, server: SocketAddr, outcome: &Result<(), Trouble>, looking: Failure, deadline: Deadline) -> Failure {
        if looking.kind == FailureKind::Cancelled {
            return looking;
        }
        match outcome {
            Ok(()) => Failure::unknown(
                format!("{server} accepted the change, and it cannot be read back: {}", looking.message),
                looking.remedy,
            ),
            Err(trouble) => {
                let sent = self.failure(server, trouble);
                let message = format!("{}; whether it was changed cannot be read: {}", sent.message, looking.message);
                if deadline.is_over() { Failure::timed_out(message, sent.remedy) } else { Failure::unknown(message, sent.remedy) }
            }
        }
    }

    /// Waits until every secondary has it. Answers how many.
    fn spread(&self, wanted: Option<&RecordSet>, deadline: Deadline, cancel: &Cancel) -> Result<usize, Failure> {
        if self.target.secondaries.is_empty() {
            return Ok(0);
        }
        let mut pause = LOOKS.0;
        let name = dotted(&self.name);
        loop {
            let servers: Vec<Asked> = self
                .target
                .secondaries
                .iter()
                .map(|server| Asked {
                    name: server.to_string(),
                    addresses: server.find(&*self.addresses).unwrap_or_default(),
                    role: Role::Authoritative,
                })
                .collect();
            let seen = verify(&servers, &name, self.target.record_type, wanted, deadline.at_most(LOOK), cancel);
            if seen.iter().all(Seen::is_expected) {
                return Ok(seen.len());
            }
            if cancel.pause(pause, deadline).is_err() {
                let behind: Vec<&Seen> = seen.iter().filter(|seen| !seen.is_expected()).collect();
                let each: Vec<String> = behind.iter().map(ToString::to_string).collect();
                let message = format!(
                    "{}: the primary has it, and {} of {} others not yet: {}",
                    self.describe(),
                    behind.len(),
                    seen.len(),
                    each.join("; ")
                );
                let remedy = behind.iter().map(|seen| seen.remedy()).find(|remedy| !remedy.is_empty()).unwrap_or_default();
                return Err(if cancel.is_cancelled() {
                    Failure::cancelled(message)
                } else {
                    Failure::timed_out(message, remedy)
                });
            }
            pause = (pause * 2).min(LOOKS.1);
        }
    }

    fn failure(&self, server: SocketAddr, trouble: &Trouble) -> Failure {
        let key = &self.target.key;
        let what = self.describe();
        let zone = dotted(&self.zone);
        let plain = |kind, message: String, remedy: &str| Failure {
            kind,
            message: format!("{what}: {message}"),
            remedy: remedy.to_owned(),
        };
        let no_effect = |message: String, remedy: &str| plain(FailureKind::NoEffect, message, remedy);
        match trouble {
            Trouble::Mute => no_effect(format!("{server} could not be asked"), "check the name server's address"),
            Trouble::Wire(Error::Cancelled { .. }) => Failure::cancelled(format!("{what}: cancelled")),
            Trouble::Wire(error) => no_effect(error.to_string(), error.remedy()),
            Trouble::Refusal(Rcode::NOTAUTH) => no_effect(
                format!("{server} is not authoritative for the zone {zone} (NOTAUTH)"),
                "correct the zone: what the server is primary of, neither a part of it nor what it is a part of; or the server",
            ),
            Trouble::Refusal(Rcode::NOTZONE) => no_effect(
                format!("{server} says that the name is not in its zone {zone} (NOTZONE)"),
                "correct the zone: the one that the name is in on this server",
            ),
            Trouble::Refusal(Rcode::REFUSED) => no_effect(
                format!("{server} refuses the change with the key {} (REFUSED)", key.name),
                "allow it on the server (BIND: update-policy { grant KEY name NAME TYPE; }; or allow-update), and send it to the primary",
            ),
            Trouble::Refusal(Rcode::FORMERR) => no_effect(
                format!("{server} does not understand the change (FORMERR)"),
                "look into the name server's log: it may not know dynamic updates",
            ),
            Trouble::Refusal(Rcode::NOTIMP) => no_effect(
                format!("{server} knows no dynamic updates (NOTIMP)"),
                "name a server that takes updates, or switch them on there",
            ),
            Trouble::Refusal(Rcode::SERVFAIL) => plain(
                FailureKind::Unknown,
                format!("{server} failed to change it (SERVFAIL)"),
                "look into the name server's log: may it write the zone's journal, and is there room on its disk?",
            ),
            Trouble::Refusal(rcode) => {
                plain(FailureKind::Unknown, format!("{server} answers {}", rcode_word(*rcode)), "look into the name server's log")
            }
            Trouble::Distrust(distrust) => {
                let (message, remedy) = self.distrusted(server, distrust);
                let kind = if distrust.is_refusal() { FailureKind::NoEffect } else { FailureKind::Unknown };
                plain(kind, message, remedy)
            }
        }
    }

    /// An answer whose signature is missing or wrong, for people.
    fn distrusted(&self, server: SocketAddr, distrust: &Distrust) -> (String, &'static str) {
        let key = &self.target.key;
        let (name, algorithm) = (&key.name, key.algorithm.as_str());
        match distrust.complaint {
            Some(Complaint { error: TsigRcode::BADKEY, .. }) => (
                format!("{server} does not know the key {name} with {algorithm} (BADKEY)"),
                "give the key the name and algorithm it has on the server, or add it there (BIND: key) and reload",
            ),
            Some(Complaint { error: TsigRcode::BADSIG | TsigRcode::BADTRUNC, .. }) => (
                format!("{server} has another secret for the key {name} with {algorithm} (BADSIG)"),
                "copy the key's secret from the server again",
            ),
            Some(Complaint { error: TsigRcode::BADTIME, skew, .. }) => {
                let by = match skew {
                    Some(seconds) if seconds < 0 => format!("this clock is {} s ahead of the server's", seconds.unsigned_abs()),
                    Some(seconds) => format!("this clock is {seconds} s behind the server's"),
                    None => "the clocks differ".to_owned(),
                };
                (
                    format!(
                        "{server} does not take a signature of this time (BADTIME): {by}, {} s are allowed",
                        self.target.fudge
                    ),
                    "set the clock of this host or of the name server (NTP)",
                )
            }
            _ if matches!(distrust.error, ValidationError::BadTime) => (
                format!("the answer of {server} is signed for a time more than {} s away from this clock", self.target.fudge),
                "set the clock of this host or of the name server (NTP)",
            ),
            Some(_) => (
                format!(
                    "the answer of {server} ({}) is not signed as it has to be: {}",
                    rcode_word(distrust.rcode),
                    distrust.error
                ),
                "check the key on both sides, and that nothing on the way changes the messages",
            ),
            None => (
                format!("the answer of {server} ({}) is not signed", rcode_word(distrust.rcode)),
                "check that it is the zone's name server, that it knows signatures (TSIG), and that nothing on the way answers for it",
            ),
        }
    }
}

impl Record for Rfc2136 {
    fn describe(&self) -> String {
        format!("{} {} at {}", dotted(&self.name), self.target.record_type.as_str(), self.target.server)
    }

    fn read(&self, deadline: Deadline, cancel: &Cancel) -> Result<Option<RecordSet>, Failure> {
        self.look(deadline, cancel).map(|(_, set)| set).map_err(harmless)
    }

    fn in_its_zone(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), Failure> {
        let (zone, whose) = match self.place(deadline, cancel) {
            Some(Place::Zone(zone)) if zone != self.zone => (zone, self.target.server.to_string()),
            Some(Place::Delegated(zone, servers)) => (zone, servers.join(", ")),
            _ => return Ok(()),
        };
        // One that only speaks for another part of the tree is told where the name is read.
        if !zone.ends_with(&self.zone) {
            return Ok(());
        }
        let message = format!(
            "{}: the name is in the zone {}, for which {whose} is authoritative, and not in {}",
            self.describe(),
            dotted(&zone),
            dotted(&self.zone)
        );
        Err(Failure::no_effect(message, "set zone to that one and server to its primary, with a key that may change it there"))
    }

    fn write(&self, wanted: Option<&RecordSet>, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let wanted = wanted.map(|set| self.normal(set)).transpose()?;
        let changed = self.change(wanted.as_ref(), deadline, cancel);
        let (before, remark) = changed.map_err(|failure| self.because_of_the_zone(failure, deadline, cancel))?;
        let others = self.spread(wanted.as_ref(), deadline, cancel)?;
        let held = |set: &Option<RecordSet>| set.as_ref().map_or_else(|| "no such record".to_owned(), ToString::to_string);
        let mut text = format!("{}: {}", self.describe(), held(&wanted));
        if before != wanted {
            text.push_str(", was ");
            text.push_str(&held(&before));
        }
        if !remark.is_empty() {
            text.push_str("; ");
            text.push_str(remark);
        }
        match others {
            0 => {}
            1 => text.push_str("; the other server has it"),
            _ => {
                let _ = write!(text, "; the {others} other servers have it");
            }
        }
        Ok(text)
    }
}

/// Reading changes nothing, however it ends.
fn harmless(failure: Failure) -> Failure {
    if failure.kind == FailureKind::Cancelled { failure } else { Failure { kind: FailureKind::NoEffect, ..failure } }
}

/// What became of a signed request.
struct Sent<T> {
    outcome: Result<Reply<T>, Error>,
    unanswered: u32,
    /// The last answer that was not to be believed.
    said: Option<Distrust>,
}

enum Reply<T> {
    Signed(T),
    Distrusted(Distrust),
}

/// An answer that is not signed as it has to be.
#[derive(Clone, Copy, Debug)]
struct Distrust {
    complaint: Option<Complaint>,
    rcode: Rcode,
    error: ValidationError,
}

impl Distrust {
    /// It says, by the way we asked for certainty, that nothing was done.
    fn is_refusal(&self) -> bool {
        matches!(self.rcode, Rcode::NOTAUTH | Rcode::REFUSED | Rcode::NOTIMP | Rcode::FORMERR | Rcode::NOTZONE)
            && !matches!(self.error, ValidationError::BadTime)
    }
}

/// What the server says about our signature.
#[derive(Clone, Copy, Debug)]
struct Complaint {
    error: TsigRcode,
    /// Seconds that the server's clock is ahead of ours.
    skew: Option<i64>,
}

enum Trouble {
    /// Nothing was heard or sent.
    Mute,
    Wire(Error),
    /// Signed.
    Refusal(Rcode),
    Distrust(Distrust),
}

impl Trouble {
    /// The effect is worth a look, and the same may work later.
    fn may_pass(&self) -> bool {
        match self {
            Trouble::Mute => false,
            Trouble::Wire(error) => !matches!(error, Error::Cancelled { .. } | Error::Local { .. } | Error::BadName { .. }),
            Trouble::Refusal(rcode) => {
                !matches!(*rcode, Rcode::NOTAUTH | Rcode::NOTZONE | Rcode::REFUSED | Rcode::FORMERR | Rcode::NOTIMP)
            }
            Trouble::Distrust(distrust) => !distrust.is_refusal(),
        }
    }
}

/// What the server says about our signature, believed or not.
fn complaint(message: &Message<Vec<u8>>) -> Option<Complaint> {
    let mut records = message.additional().ok()?.limit_to::<Tsig<_, _>>();
    let record = records.find_map(Result::ok)?;
    let tsig = record.data();
    let seconds = |time: Time48| {
        let bytes = time.into_octets();
        bytes.iter().fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte))
    };
    let skew = tsig.other_time().map(|theirs| seconds(theirs) - seconds(tsig.time_signed()));
    Some(Complaint { error: tsig.error(), skew })
}

fn rcode_word(rcode: Rcode) -> String {
    rcode.to_mnemonic_str().map_or_else(|| format!("error code {}", rcode.to_int()), str::to_owned)
}

/// Checks bytes as the answer to a signed question and as that to an update.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(name) = KeyName::from_str("app-key") else { return };
    let Ok(key) = Key::new(domain::tsig::Algorithm::Sha256, b"secret", name, None, None) else { return };
    let mut builder = MessageBuilder::new_vec().additional();
    let Ok(transaction) = ClientTransaction::request(key, &mut builder, Time48::from_u64(1)) else { return };
    if let Ok(mut message) = Message::from_octets(bytes.to_vec()) {
        let _ = complaint(&message);
        let _ = transaction.answer(&mut message, Time48::from_u64(1));
    }
}
