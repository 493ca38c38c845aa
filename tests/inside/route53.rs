//! Records in Route 53 against moto's server, which keeps them and checks signatures, and against a small server for everything
//! that moto cannot be made to do.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::support;
use super::support::certificate::self_signed;
use super::support::cloud::{Answer, Asked};
use super::support::moto::wrongly_signed;
use super::support::{Cloud, Lab, Moto};
use crate::action::dns::names::{self, Names};
use crate::action::dns::route53::{CredentialsSource, Environment, HealthCheckSettings, Route53, Route53Target};
use crate::action::dns::{Record, RecordSet, RecordType};
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::resolve::Literals;
use failover_core::finding::FindingCode;
use failover_core::output::{Failure, FailureKind};
use native_tls::{Identity, TlsAcceptor};

/// Longer than anything here takes: it ends a hung test.
const WATCHDOG: Duration = Duration::from_secs(60);
/// Short enough to wait for.
const SOON: Duration = Duration::from_millis(700);

fn keys(id: &str, secret: &str) -> CredentialsSource {
    CredentialsSource::Keys { access_key_id: id.to_owned(), secret_access_key: Secret::new(secret), session_token: None }
}

fn target(name: &str, kind: RecordType, zone: &str, endpoint: &str) -> Route53Target {
    Route53Target {
        endpoint: Some(endpoint.to_owned()),
        credentials: keys("AKIDTEST", "geheim"),
        poll: Duration::from_millis(100),
        ..Route53Target::new(name, kind, zone)
    }
}

fn made(target: Route53Target) -> Route53 {
    Route53::new(target, Arc::new(Literals), Environment::default()).unwrap()
}

/// `app.example.com. A` of the zone `Z1` at a server.
fn app(cloud: &Cloud) -> Route53 {
    made(target("app.example.com", RecordType::A, "Z1", &cloud.url()))
}

fn set(values: &[&str], ttl: u32) -> RecordSet {
    RecordSet { values: values.iter().map(|value| (*value).to_owned()).collect(), ttl }
}

fn read(record: &Route53) -> Result<Option<RecordSet>, Failure> {
    record.read(Deadline::after(WATCHDOG), &Cancel::new().unwrap())
}

fn write_within(record: &Route53, wanted: Option<&RecordSet>, span: Duration) -> Result<String, Failure> {
    record.write(wanted, Deadline::after(span), &Cancel::new().unwrap())
}

fn write(record: &Route53, wanted: Option<&RecordSet>) -> Result<String, Failure> {
    write_within(record, wanted, WATCHDOG)
}

/// A list of record sets, `None` for an empty one.
fn list(sets: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
         <ResourceRecordSets>{sets}</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>1</MaxItems>\
         </ListResourceRecordSetsResponse>"
    );
    Answer::Whole(200, body)
}

fn record_set(name: &str, kind: &str, more: &str, value: &str) -> String {
    format!(
        "<ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type>{more}<TTL>60</TTL><ResourceRecords><ResourceRecord>\
         <Value>{value}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
    )
}

fn changed(response: &str, id: &str, status: &str) -> Answer {
    let body = format!(
        "<{response} xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeInfo><Id>/change/{id}</Id>\
         <Status>{status}</Status><SubmittedAt>2030-01-01T00:00:00Z</SubmittedAt></ChangeInfo></{response}>"
    );
    Answer::Whole(200, body)
}

fn error(status: u16, code: &str) -> Answer {
    let body = format!(
        "<ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>said no</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    Answer::Whole(status, body)
}

/// What happens to one change on its way.
enum Turn {
    /// It is carried out, and this is the answer.
    Done(Answer),
    /// It is not.
    Not(Answer),
}

/// A zone with one record of type A. Each change takes the next of `turns`, later ones are carried out; each look at a change takes
/// the next of `states`, later ones are `INSYNC`.
fn zone(value: Option<&str>, turns: Vec<Turn>, states: &[&str]) -> Cloud {
    let value = Mutex::new(value.map(str::to_owned));
    let turns = Mutex::new(VecDeque::from(turns));
    let states: Mutex<VecDeque<String>> = Mutex::new(states.iter().map(|state| (*state).to_owned()).collect());
    Cloud::start(move |asked| {
        if asked.path.starts_with("/2013-04-01/change/") {
            let state = states.lock().unwrap().pop_front().unwrap_or_else(|| "INSYNC".to_owned());
            return changed("GetChangeResponse", "C1", &state);
        }
        if asked.method == "GET" {
            let value = value.lock().unwrap();
            return list(&value.as_ref().map_or(String::new(), |value| record_set("app.example.com.", "A", "", value)));
        }
        let turn = turns.lock().unwrap().pop_front();
        let done = turn.unwrap_or_else(|| Turn::Done(changed("ChangeResourceRecordSetsResponse", "C1", "PENDING")));
        match done {
            Turn::Not(answer) => answer,
            Turn::Done(answer) => {
                let wanted = asked.body.split_once("<Value>").and_then(|(_, rest)| rest.split_once('<'));
                *value.lock().unwrap() = wanted.filter(|_| asked.body.contains("UPSERT")).map(|(value, _)| value.to_owned());
                answer
            }
        }
    })
    .unwrap()
}

fn posts(cloud: &Cloud) -> usize {
    cloud.count("POST", "/")
}

#[test]
fn a_record_lives_its_life_in_moto() {
    let lab = Lab::new().unwrap();
    let moto = Moto::start(&lab).unwrap();
    let zone = moto.zone("example.com").unwrap();
    let url = format!("http://127.0.0.1:{}", moto.port());
    let record = made(target("app.example.com", RecordType::A, &format!("/hostedzone/{zone}"), &url));
    assert_eq!(read(&record).unwrap(), None);

    let first = set(&["10.0.0.1"], 60);
    let said = write(&record, Some(&first)).unwrap();
    assert!(said.ends_with("is 10.0.0.1 (TTL 60 s), on every authoritative server"), "{said}");
    assert_eq!(read(&record).unwrap(), Some(first.clone()));
    assert!(write(&record, Some(&first)).unwrap().ends_with("already"));

    // Failed over, and put back.
    let second = set(&["10.0.0.2", "10.0.0.3"], 30);
    write(&record, Some(&second)).unwrap();
    assert_eq!(read(&record).unwrap(), Some(second));
    write(&record, Some(&first)).unwrap();
    assert_eq!(read(&record).unwrap(), Some(first));

    // A name that sorts behind ours is not ours.
    let name = made(target("www.example.com", RecordType::Cname, &zone, &url));
    write(&name, Some(&set(&["web1.example.com."], 5))).unwrap();
    assert_eq!(read(&name).unwrap(), Some(set(&["web1.example.com."], 5)));
    let six = made(target("app.example.com", RecordType::Aaaa, &zone, &url));
    write(&six, Some(&set(&["2001:db8::1"], 5))).unwrap();
    assert_eq!(read(&six).unwrap(), Some(set(&["2001:db8::1"], 5)));
    assert_eq!(read(&made(target("b.example.com", RecordType::Cname, &zone, &url))).unwrap(), None);

    write(&record, None).unwrap();
    assert_eq!(read(&record).unwrap(), None);
    assert!(write(&record, None).unwrap().ends_with("has no record already"));
    assert!(read(&six).unwrap().is_some());

    let wrong = made(target("app.example.com", RecordType::A, "ZNOSUCHZONE", &url));
    let failure = write(&wrong, Some(&set(&["10.0.0.1"], 60))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect);
    assert!(failure.message.contains("NoSuchHostedZone") && failure.remedy.contains("zone_id"), "{failure:?}");

    let check = moto.health_check("10.0.0.1").unwrap();
    let (deadline, cancel) = (Deadline::after(WATCHDOG), Cancel::new().unwrap());
    let before = record.health_check(&check, deadline, &cancel).unwrap();
    assert_eq!((before.settings.failure_threshold, before.settings.port), (Some(3), Some(80)));
    let wanted = HealthCheckSettings {
        failure_threshold: Some(2),
        disabled: Some(true),
        ip_address: Some("10.0.0.2".parse().unwrap()),
        ..HealthCheckSettings::default()
    };
    record.update_health_check(&check, &wanted, deadline, &cancel).unwrap();
    let now = record.health_check(&check, deadline, &cancel).unwrap().settings;
    assert_eq!(
        (now.failure_threshold, now.disabled, now.ip_address, now.port),
        (Some(2), Some(true), wanted.ip_address, Some(80))
    );
    assert!(record.update_health_check(&check, &wanted, deadline, &cancel).unwrap().ends_with("already"));
    record.restore_health_check(&check, &before, deadline, &cancel).unwrap();
    let now = record.health_check(&check, deadline, &cancel).unwrap().settings;
    assert_eq!((now.failure_threshold, now.disabled, now.ip_address), (Some(3), Some(false), before.settings.ip_address));
    let failure = record.update_health_check("nosuchcheck", &wanted, deadline, &cancel).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect);
    assert!(failure.message.contains("NoSuchHealthCheck"), "{failure:?}");
}

/// Route 53 takes a record below a delegation, and nobody asks for it there: it has to be told before a failover counts on it.
#[test]
fn a_name_in_a_zone_below_a_hosted_zone_is_told_beforehand() {
    let lab = Lab::new().unwrap();
    let moto = Moto::start(&lab).unwrap();
    let zone = moto.zone("example.com").unwrap();
    moto.delegate(&zone, "sub.example.com", &["ns1.elsewhere.test.", "ns2.elsewhere.test."]).unwrap();
    moto.delegate(&zone, "deep.sub.example.com", &["ns.deep.test."]).unwrap();
    let url = format!("http://127.0.0.1:{}", moto.port());
    let look = |name: &str| {
        let record = made(target(name, RecordType::A, &zone, &url));
        // The second look knows the zone's name already.
        let looks = [0, 1].map(|_| record.in_its_zone(Deadline::after(WATCHDOG), &Cancel::new().unwrap()));
        assert_eq!(looks[0], looks[1], "{name}");
        looks.into_iter().next().unwrap()
    };
    for name in ["app.sub.example.com", "sub.example.com", "a.b.sub.example.com", "a.deep.sub.example.com"] {
        let failure = look(name).unwrap_err();
        let words =
            "the name is in the zone sub.example.com., for which ns1.elsewhere.test., ns2.elsewhere.test. is authoritative";
        assert!(failure.message.contains(words) && failure.remedy.contains("set zone_id"), "{name}: {failure:?}");
    }
    for name in ["app.example.com", "a.b.c.example.com", "*.example.com", "subway.example.com", "example.com"] {
        assert_eq!(look(name), Ok(()), "{name}");
    }
    let failure = look("app.example.org").unwrap_err();
    assert!(failure.message.contains("not in that hosted zone") && failure.remedy.contains("zone_id"), "{failure:?}");

    // What the survey makes of it, as the route and beside another.
    // The remedy: `zone_id` is that of the zone in which the name is.
    let below = moto.zone("sub.example.com").unwrap();
    for (name, zone, are_route, found) in [
        ("app.sub.example.com", &zone, true, vec![(FindingCode::NameElsewhere, true)]),
        ("app.sub.example.com", &zone, false, vec![(FindingCode::NameElsewhere, false)]),
        ("app.example.com", &zone, true, Vec::new()),
        ("app.sub.example.com", &below, true, Vec::new()),
    ] {
        let value = BTreeMap::from([("db1".to_owned(), set(&["192.0.2.1"], 60))]);
        let one = names::Name {
            name: name.to_owned(),
            record_type: RecordType::A,
            record: Box::new(made(target(name, RecordType::A, zone, &url))),
            values: value,
            authoritative: Vec::new(),
            zone: Vec::new(),
            resolvers: Vec::new(),
            companions: None,
            timeout: WATCHDOG,
        };
        let names = Names::new(vec![one], Arc::new(Literals));
        let findings = crate::engine::round::of_names(&names, are_route, Deadline::after(WATCHDOG), &Cancel::new().unwrap());
        assert_eq!(findings.iter().map(|one| (one.code, one.blocking)).collect::<Vec<_>>(), found, "{name}");
    }
}

/// What cannot be asked is no delegation: the look at the record itself says what is wrong.
#[test]
fn a_zone_that_does_not_answer_delegates_nothing() {
    let cloud = Cloud::start(|_| error(403, "AccessDenied")).unwrap();
    let record = app(&cloud);
    assert_eq!(record.in_its_zone(Deadline::after(WATCHDOG), &Cancel::new().unwrap()), Ok(()));
    assert_eq!(cloud.asked().len(), 1, "one refusal is enough");
}

#[test]
fn a_verifying_server_accepts_the_signature_and_no_other() {
    let lab = Lab::new().unwrap();
    let moto = Moto::start(&lab).unwrap();
    let zone = moto.zone("example.com").unwrap();
    let (id, secret) = moto.user("engine").unwrap();
    moto.check_signatures().unwrap();
    // It finds every GET wrong, whoever signed it; so the looks are answered here, and the changes by moto.
    let port = moto.port();
    let front = Cloud::start(move |asked| match asked.path.contains("/change/") {
        _ if asked.method == "POST" => Answer::Of(port),
        true => changed("GetChangeResponse", "C1", "INSYNC"),
        false => list(""),
    })
    .unwrap();
    let record = |id: &str, secret: &str| {
        let target = target("app.example.com", RecordType::A, &zone, &front.url());
        made(Route53Target { credentials: keys(id, secret), ..target })
    };
    let wanted = set(&["10.0.0.1"], 60);
    write(&record(&id, &secret), Some(&wanted)).unwrap();
    assert_eq!(posts(&front), 1);
    for (id, secret, code) in [(&*id, "geheim", "SignatureDoesNotMatch"), ("AKIDNOBODY", &*secret, "InvalidClientTokenId")] {
        let failure = write(&record(id, secret), Some(&wanted)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
        assert!(failure.message.contains(code) && !failure.remedy.is_empty(), "{failure:?}");
        assert!(!format!("{failure:?}").contains(secret), "{failure:?}");
    }
}

/// moto judges changes alone; this judges every request of a record's whole life.
#[test]
fn every_request_is_signed_as_amazons_own_client_signs_it() {
    let lab = Lab::new().unwrap();
    let moto = Moto::start(&lab).unwrap();
    let zone_id = moto.zone("example.com").unwrap();
    let check = moto.health_check("10.0.0.1").unwrap();
    let port = moto.port();
    let front = Cloud::start(move |_: &Asked| Answer::Of(port)).unwrap();
    // What is different when it is quoted: a wildcard, and a key with a slash.
    for name in ["app.example.com", "*.example.com"] {
        let target = target(name, RecordType::A, &zone_id, &front.url());
        let record = made(Route53Target { credentials: keys("AKIDTEST", "ge/heim+="), ..target });
        write(&record, Some(&set(&["10.0.0.1"], 60))).unwrap();
        assert_eq!(read(&record).unwrap(), Some(set(&["10.0.0.1"], 60)), "{name}");
        let (far, never) = (Deadline::after(WATCHDOG), Cancel::new().unwrap());
        record.health_check(&check, far, &never).unwrap();
        write(&record, None).unwrap();
    }
    // moto has every change at once, so its state is asked of another.
    let pending = zone(None, Vec::new(), &["PENDING"]);
    let another = target("app.example.com", RecordType::A, "Z1", &pending.url());
    write(&made(Route53Target { credentials: keys("AKIDTEST", "ge/heim+="), ..another }), Some(&set(&["10.0.0.1"], 60))).unwrap();
    let asked = [front.asked(), pending.asked()].concat();
    for (method, path) in [("POST", "/"), ("GET", "/2013-04-01/hostedzone/"), ("GET", "/2013-04-01/healthcheck/")] {
        assert!(front.count(method, path) > 0, "{method} {path}");
    }
    assert!(pending.count("GET", "/2013-04-01/change/") > 0);
    assert_eq!(wrongly_signed(&asked, ("AKIDTEST", "ge/heim+=")).unwrap(), [""; 0]);
    assert_eq!(wrongly_signed(&asked, ("AKIDTEST", "another")).unwrap().len(), asked.len(), "the judge is awake");
}

#[test]
fn a_change_is_over_when_every_server_has_it() {
    let cloud = zone(None, Vec::new(), &["PENDING", "PENDING", "INSYNC"]);
    let record = app(&cloud);
    let said = write(&record, Some(&set(&["10.0.0.1"], 60))).unwrap();
    assert!(said.ends_with("on every authoritative server"), "{said}");
    assert_eq!((posts(&cloud), cloud.count("GET", "/2013-04-01/change/C1")), (1, 3));
    let asked = cloud.asked();
    assert_eq!(asked[0].path, "/2013-04-01/hostedzone/Z1/rrset?maxitems=1&name=app.example.com.&type=A");
    assert!(asked.iter().all(|asked| asked.header("authorization").contains("/us-east-1/route53/aws4_request")));
}

#[test]
fn a_change_that_stays_pending_is_waited_for_again() {
    let cloud = zone(None, Vec::new(), &vec!["PENDING"; 1000]);
    let record = made(Route53Target { insync_timeout: SOON, ..target("app.example.com", RecordType::A, "Z1", &cloud.url()) });
    let wanted = set(&["10.0.0.1"], 60);
    let failure = write(&record, Some(&wanted)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.message.contains("has accepted the change"), "{failure:?}");
    let looks = cloud.count("GET", "/2013-04-01/change/");
    write(&record, Some(&wanted)).unwrap_err();
    assert_eq!(posts(&cloud), 1, "it is there already");
    assert!(cloud.count("GET", "/2013-04-01/change/") > looks);

    let quick = made(Route53Target { wait: false, ..target("app.example.com", RecordType::A, "Z1", &cloud.url()) });
    let looks = cloud.count("GET", "/2013-04-01/change/");
    write(&quick, Some(&set(&["10.0.0.2"], 60))).unwrap();
    assert_eq!(cloud.count("GET", "/2013-04-01/change/"), looks);
}

#[test]
fn what_passes_by_itself_is_tried_again() {
    let cloud = zone(
        Some("10.0.0.9"),
        vec![
            Turn::Not(error(400, "Throttling")),
            Turn::Not(error(400, "PriorRequestNotComplete")),
            Turn::Not(error(503, "ServiceUnavailable")),
        ],
        &[],
    );
    write(&app(&cloud), Some(&set(&["10.0.0.1"], 60))).unwrap();
    assert_eq!(posts(&cloud), 4);
    assert_eq!(read(&app(&cloud)).unwrap(), Some(set(&["10.0.0.1"], 60)));
}

#[test]
fn a_change_throttled_until_the_deadline_had_no_effect() {
    let cloud = zone(None, (0..1000).map(|_| Turn::Not(error(400, "Throttling"))).collect(), &[]);
    let failure = write_within(&app(&cloud), Some(&set(&["10.0.0.1"], 60)), SOON).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect);
    assert!(failure.message.contains("Throttling") && failure.remedy.contains("five requests"), "{failure:?}");
}

#[test]
fn a_lost_answer_is_found_out_by_reading() {
    // Carried out, but the connection ends: the same once more has an answer.
    let cloud = zone(None, vec![Turn::Done(Answer::Raw(Vec::new()))], &[]);
    let said = write(&app(&cloud), Some(&set(&["10.0.0.1"], 60))).unwrap();
    assert!(said.ends_with("on every authoritative server"), "{said}");
    assert_eq!(posts(&cloud), 2);

    // The same of a removal, which cannot be repeated; and an answer that is none, and one that is cut off.
    for answer in [
        Answer::Raw(Vec::new()),
        Answer::Whole(200, "<not".to_owned()),
        Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<Change".to_vec()),
        Answer::Whole(200, " ".repeat(2 * 1024 * 1024)),
    ] {
        let cloud = zone(Some("10.0.0.1"), vec![Turn::Done(answer)], &[]);
        let said = write(&app(&cloud), None).unwrap();
        assert!(said.contains("read back because the answer was lost"), "{said}");
        assert_eq!(posts(&cloud), 1);
    }

    // Carried out, and silent: half of the time is left for the question what became of it.
    let cloud = zone(Some("10.0.0.1"), vec![Turn::Done(Answer::Silence)], &[]);
    write_within(&app(&cloud), None, 4 * SOON).unwrap();

    // Not carried out, and silent whenever asked: nobody knows.
    let cloud = zone(None, (0..100).map(|_| Turn::Not(Answer::Silence)).collect(), &[]);
    let failure = write_within(&app(&cloud), Some(&set(&["10.0.0.1"], 60)), 3 * SOON).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");

    // Not carried out the first time.
    let cloud = zone(None, vec![Turn::Not(Answer::Raw(Vec::new()))], &[]);
    write(&app(&cloud), Some(&set(&["10.0.0.1"], 60))).unwrap();
    assert_eq!(posts(&cloud), 2);
}

#[test]
fn what_does_not_pass_is_named_at_once() {
    for (status, code, remedy) in [
        (400, "InvalidChangeBatch", "another record"),
        (403, "AccessDenied", "ListResourceRecordSets"),
        (403, "SignatureDoesNotMatch", "secret access key"),
        (403, "InvalidClientTokenId", "access key's ID"),
        (403, "ExpiredToken", "renew"),
        (400, "SomethingNew", "reference"),
    ] {
        let cloud = zone(None, vec![Turn::Not(error(status, code))], &[]);
        let failure = write(&app(&cloud), Some(&set(&["10.0.0.1"], 60))).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
        assert!(failure.message.contains(code) && failure.remedy.contains(remedy), "{failure:?}");
        assert_eq!(posts(&cloud), 1);
    }
    // A server in the way: its redirect is not followed.
    let cloud = zone(
        None,
        vec![Turn::Not(Answer::Raw(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".to_vec()))],
        &[],
    );
    let failure = write(&app(&cloud), Some(&set(&["10.0.0.1"], 60))).unwrap_err();
    assert!(failure.message.contains("302"), "{failure:?}");
    let nonsense = write(&app(&cloud), Some(&set(&["::1"], 60))).unwrap_err();
    assert_eq!(nonsense.kind, FailureKind::NoEffect);
}

#[test]
fn an_answer_that_is_none_is_no_empty_record() {
    for (answer, word) in [
        (Answer::Whole(200, "<ListResourceRecordSetsResponse><Resource".to_owned()), "none"),
        (Answer::Whole(200, "<ListResourceRecordSetsResponse/>".to_owned()), "without ResourceRecordSets"),
        (Answer::Whole(200, String::new()), "none"),
        (Answer::Whole(200, "<html>Welcome</html>".to_owned()), "without ResourceRecordSets"),
        (Answer::Whole(200, " ".repeat(1024 * 1024 + 1)), "more than 1048576 bytes"),
        (Answer::Raw(b"hello\r\n\r\n".to_vec()), "none"),
        (list("<ResourceRecordSet><Name>app.example.com.</Name><Type>A</Type></ResourceRecordSet>"), "without a TTL"),
    ] {
        let answer = Mutex::new(Some(answer));
        let cloud = Cloud::start(move |_| answer.lock().unwrap().take().unwrap_or(Answer::Silence)).unwrap();
        let failure = read(&app(&cloud)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect);
        assert!(failure.message.contains(word), "{word}: {failure:?}");
    }
}

#[test]
fn only_a_record_with_one_value_for_everybody_is_touched() {
    for (more, word) in [
        ("<SetIdentifier>one</SetIdentifier><Weight>10</Weight>", "SetIdentifier"),
        ("<Failover>PRIMARY</Failover>", "Failover"),
        ("<AliasTarget><DNSName>x</DNSName></AliasTarget>", "AliasTarget"),
        ("<HealthCheckId>1</HealthCheckId>", "HealthCheckId"),
    ] {
        let sets = record_set("app.example.com.", "A", more, "10.0.0.1");
        let cloud = Cloud::start(move |_| list(&sets)).unwrap();
        let failure = write(&app(&cloud), Some(&set(&["10.0.0.2"], 60))).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect);
        assert!(failure.message.contains(word), "{failure:?}");
        assert_eq!(posts(&cloud), 0);
    }
    // What the list begins with may be the next name, or the next type.
    for next in [record_set("apq.example.com.", "A", "", "10.0.0.1"), record_set("app.example.com.", "AAAA", "", "::1")] {
        let cloud = Cloud::start(move |_| list(&next)).unwrap();
        assert_eq!(read(&app(&cloud)).unwrap(), None);
    }
    let star = record_set("\\052.example.com.", "A", "", "10.0.0.1");
    let cloud = Cloud::start(move |_| list(&star)).unwrap();
    let record = made(target("*.example.com", RecordType::A, "Z1", &cloud.url()));
    assert_eq!(read(&record).unwrap(), Some(set(&["10.0.0.1"], 60)));
    assert!(cloud.asked()[0].path.contains("name=%2A.example.com."));
}

#[test]
fn a_server_that_hangs_or_drips_costs_no_more_than_the_deadline() {
    for answer in [|| Answer::Silence, || Answer::Drip] {
        let cloud = Cloud::start(move |_: &Asked| answer()).unwrap();
        let failure = write_within(&app(&cloud), Some(&set(&["10.0.0.1"], 60)), SOON).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect, "nothing was sent but a question: {failure:?}");
        assert!(failure.message.contains("in time"), "{failure:?}");
    }
    // Nobody there.
    let port = support::lab::free_port().unwrap();
    let record = made(target("app.example.com", RecordType::A, "Z1", &format!("http://{}:{port}", Ipv4Addr::LOCALHOST)));
    let failure = write_within(&record, None, SOON).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect);
    assert!(failure.remedy.contains("reach the endpoint"), "{failure:?}");
    // A name without an address.
    let record = made(target("app.example.com", RecordType::A, "Z1", "https://route53.example.invalid"));
    let failure = write_within(&record, None, SOON).unwrap_err();
    assert!(failure.message.contains("route53.example.invalid"), "{failure:?}");
}

#[test]
fn the_endpoints_certificate_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path(), "/CN=route53.example", "IP:127.0.0.1");
    let identity = Identity::from_pkcs8(&std::fs::read(&certificate).unwrap(), &std::fs::read(&key).unwrap()).unwrap();
    let acceptor = TlsAcceptor::new(identity).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        // The first client does not trust us.
        assert!(acceptor.accept(listener.accept().unwrap().0).is_err());
        let mut stream = acceptor.accept(listener.accept().unwrap().0).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let Answer::Whole(_, body) = list("") else { return };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let _ = stream.shutdown();
    });
    let target = target("app.example.com", RecordType::A, "Z1", &endpoint);
    let failure = write(&made(target.clone()), Some(&set(&["10.0.0.1"], 60))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect);
    assert!(failure.message.contains("TLS") && failure.remedy.contains("ca_file"), "{failure:?}");
    assert_eq!(read(&made(Route53Target { ca_file: Some(certificate), ..target })).unwrap(), None);
    server.join().unwrap();
}

#[test]
fn a_stop_ends_every_wait() {
    // In the first look, in a change, and while it is pending.
    let places: [fn(&Asked) -> bool; 3] =
        [|asked| asked.method == "GET", |asked| asked.method == "POST", |asked| asked.path.contains("/change/")];
    for place in places {
        let (reached, arrival) = mpsc::channel();
        let reached = Mutex::new(reached);
        let cloud = Cloud::start(move |asked| {
            if place(asked) {
                let _ = reached.lock().unwrap().send(());
                Answer::Silence
            } else if asked.method == "POST" {
                changed("ChangeResourceRecordSetsResponse", "C1", "PENDING")
            } else {
                list("")
            }
        })
        .unwrap();
        let (record, cancel) = (app(&cloud), Cancel::new().unwrap());
        let stop = cancel.clone();
        let writer = std::thread::spawn(move || record.write(Some(&set(&["10.0.0.1"], 60)), Deadline::after(WATCHDOG), &cancel));
        arrival.recv_timeout(WATCHDOG).unwrap();
        stop.cancel();
        let failure = writer.join().unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Cancelled, "{failure:?}");
    }
    let cancel = Cancel::new().unwrap();
    cancel.cancel();
    let cloud = zone(None, Vec::new(), &[]);
    let failure = app(&cloud).write(None, Deadline::after(WATCHDOG), &cancel).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert!(cloud.asked().is_empty());
}

fn health_check(version: u32, threshold: u32, more: &str) -> Answer {
    let body = format!(
        "<GetHealthCheckResponse><HealthCheck><Id>h-1</Id><CallerReference>x</CallerReference><HealthCheckConfig>\
         <IPAddress>10.0.0.1</IPAddress><Port>80</Port><Type>HTTP</Type>{more}<RequestInterval>10</RequestInterval>\
         <FailureThreshold>{threshold}</FailureThreshold></HealthCheckConfig><HealthCheckVersion>{version}</HealthCheckVersion>\
         </HealthCheck></GetHealthCheckResponse>"
    );
    Answer::Whole(200, body)
}

#[test]
fn a_health_check_is_changed_with_its_latest_version() {
    // Somebody else changes it twice between our look and our change.
    let (version, threshold) = (Mutex::new(4), Mutex::new(3));
    let cloud = Cloud::start(move |asked| {
        let (mut version, mut threshold) = (version.lock().unwrap(), threshold.lock().unwrap());
        if asked.method == "GET" {
            return health_check(*version, *threshold, "");
        }
        if *version < 6 {
            *version += 1;
            return error(409, "HealthCheckVersionMismatch");
        }
        assert!(asked.body.contains(&format!("<HealthCheckVersion>{}</HealthCheckVersion>", *version)), "{}", asked.body);
        (*version, *threshold) = (*version + 1, 2);
        health_check(*version, *threshold, "")
    })
    .unwrap();
    let (deadline, cancel) = (Deadline::after(WATCHDOG), Cancel::new().unwrap());
    let wanted = HealthCheckSettings { failure_threshold: Some(2), disabled: Some(false), ..HealthCheckSettings::default() };
    let said = app(&cloud).update_health_check("h-1", &wanted, deadline, &cancel).unwrap();
    assert!(said.ends_with("is changed"), "{said}");
    assert_eq!((posts(&cloud), cloud.count("GET", "/2013-04-01/healthcheck/h-1")), (3, 3));
    assert!(!cloud.asked().iter().any(|asked| asked.body.contains("Disabled")), "it is enabled already");
    let seen = app(&cloud).health_check("h-1", deadline, &cancel).unwrap();
    assert_eq!((seen.version, seen.settings.failure_threshold), (7, Some(2)));

    // For ever.
    let cloud = Cloud::start(|asked| match asked.method.as_str() {
        "GET" => health_check(1, 3, ""),
        _ => error(409, "HealthCheckVersionMismatch"),
    })
    .unwrap();
    let failure = app(&cloud).update_health_check("h-1", &wanted, Deadline::after(SOON), &cancel).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect);
    assert!(failure.message.contains("HealthCheckVersionMismatch"), "{failure:?}");

    // Put back: a name that it did not have is taken away.
    let cloud = Cloud::start(|asked| match asked.method.as_str() {
        "GET" => health_check(1, 3, "<FullyQualifiedDomainName>app.example.com</FullyQualifiedDomainName>"),
        _ => health_check(2, 3, ""),
    })
    .unwrap();
    let mut before = app(&cloud).health_check("h-1", deadline, &cancel).unwrap();
    before.settings.fully_qualified_domain_name = None;
    app(&cloud).restore_health_check("h-1", &before, deadline, &cancel).unwrap();
    let body = cloud.asked().last().unwrap().body.clone();
    assert!(body.contains("<ResettableElementName>FullyQualifiedDomainName<"), "{body}");
    for (settings, id) in [
        (HealthCheckSettings { failure_threshold: Some(11), ..HealthCheckSettings::default() }, "h-1"),
        (HealthCheckSettings::default(), "../x"),
    ] {
        let failure = app(&cloud).update_health_check(id, &settings, deadline, &cancel).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect);
    }
}

fn found(id: &str, more: &str) -> Answer {
    Answer::Whole(
        200,
        format!("{{\"Code\":\"Success\",\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"geheim\",\"Token\":\"losung\"{more}}}"),
    )
}

fn with_chain(cloud: &Cloud, variables: &[(&str, &str)]) -> Route53 {
    let target =
        Route53Target { credentials: CredentialsSource::Chain, ..target("app.example.com", RecordType::A, "Z1", &cloud.url()) };
    Route53::new(target, Arc::new(Literals), Environment::from_variables(variables.iter().copied())).unwrap()
}

#[test]
fn expired_credentials_are_renewed_once() {
    let fetched = Mutex::new(0);
    let container = Cloud::start(move |asked| {
        assert_eq!(asked.header("authorization"), "ticket");
        let mut fetched = fetched.lock().unwrap();
        *fetched += 1;
        found(&format!("AKID{fetched}"), ",\"Expiration\":\"2999-01-01T00:00:00Z\"")
    })
    .unwrap();
    let cloud =
        Cloud::start(
            |asked| {
                if asked.header("authorization").contains("AKID1/") { error(403, "ExpiredToken") } else { list("") }
            },
        )
        .unwrap();
    let url = format!("{}/keys", container.url());
    let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "ticket")];
    let record = with_chain(&cloud, &variables);
    assert_eq!(read(&record).unwrap(), None);
    assert_eq!((container.count("GET", "/keys"), cloud.asked().len()), (2, 2));
    assert_eq!(cloud.asked()[1].header("x-amz-security-token"), "losung");
    // They are kept now.
    assert_eq!(read(&record).unwrap(), None);
    assert_eq!((container.count("GET", "/keys"), cloud.asked().len()), (2, 3));

    // All are refused: once is enough.
    let cloud = Cloud::start(|_| error(403, "ExpiredToken")).unwrap();
    let failure = read(&with_chain(&cloud, &variables)).unwrap_err();
    assert_eq!(cloud.asked().len(), 2);
    assert!(failure.message.contains("the container's endpoint") && !format!("{failure:?}").contains("losung"), "{failure:?}");
    // The same again would be refused again.
    let cloud = Cloud::start(|_| error(403, "ExpiredToken")).unwrap();
    read(&app(&cloud)).unwrap_err();
    assert_eq!(cloud.asked().len(), 1);
}

#[test]
fn credentials_about_to_expire_are_fetched_anew() {
    let container = Cloud::start(|_| found("AKID", ",\"Expiration\":\"2001-01-01T00:00:00Z\"")).unwrap();
    let cloud = Cloud::start(|_| list("")).unwrap();
    let lab = tempfile::tempdir().unwrap();
    let file = lab.path().join("token");
    std::fs::write(&file, "ticket2\n").unwrap();
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container.url()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let record = with_chain(&cloud, &variables);
    read(&record).unwrap();
    read(&record).unwrap();
    assert_eq!(container.asked().len(), 2);
    assert!(container.asked().iter().all(|asked| asked.header("authorization") == "ticket2"));
}

#[test]
fn an_instance_is_asked_with_a_token() {
    let stumbled = Mutex::new(false);
    let instance = Cloud::start(move |asked| {
        let folder = "/latest/meta-data/iam/security-credentials/";
        match (asked.method.as_str(), asked.path.as_str()) {
            ("PUT", "/latest/api/token") if asked.header("x-aws-ec2-metadata-token-ttl-seconds") == "21600" => {
                // It is tried again.
                let first = !std::mem::replace(&mut *stumbled.lock().unwrap(), true);
                if first { Answer::Whole(503, String::new()) } else { Answer::Whole(200, "admission".to_owned()) }
            }
            ("GET", _) if asked.header("x-aws-ec2-metadata-token") != "admission" => Answer::Whole(401, String::new()),
            ("GET", path) if path == folder => Answer::Whole(200, "engine-role".to_owned()),
            ("GET", path) if path == format!("{folder}engine-role") => {
                found("AKIDROLE", ",\"Expiration\":\"2999-01-01T00:00:00Z\"")
            }
            _ => Answer::Whole(404, String::new()),
        }
    })
    .unwrap();
    let cloud = Cloud::start(|_| list("")).unwrap();
    let record = with_chain(&cloud, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance.url())]);
    read(&record).unwrap();
    read(&record).unwrap();
    assert_eq!(instance.asked().len(), 4, "kept");
    assert!(cloud.asked()[0].header("authorization").contains("Credential=AKIDROLE/"));
}

#[test]
fn without_credentials_every_source_says_why() {
    let instance = Cloud::start(|_| Answer::Whole(404, String::new())).unwrap();
    let container = Cloud::start(|_| Answer::Whole(200, "{\"Token\":\"losung\"}".to_owned())).unwrap();
    let cloud = Cloud::start(|_| list("")).unwrap();
    let record = with_chain(
        &cloud,
        &[
            ("HOME", "/nowhere"),
            ("AWS_SECRET_ACCESS_KEY", "geheim"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance.url()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container.url()),
        ],
    );
    let failure = write(&record, None).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect);
    for part in [
        "environment: AWS_SECRET_ACCESS_KEY without AWS_ACCESS_KEY_ID",
        "shared files: /nowhere/.aws/credentials: No such file",
        "container: the container's endpoint answered without AccessKeyId",
        "answered with status 404",
    ] {
        assert!(failure.message.contains(part), "{part}: {failure:?}");
    }
    let shown = format!("{failure:?} {record:?}");
    assert!(!shown.contains("geheim") && !shown.contains("losung"), "{shown}");
    assert!(cloud.asked().is_empty());
    // One that is not this machine is not asked in the clear.
    let record =
        with_chain(&cloud, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/"), ("AWS_EC2_METADATA_DISABLED", "true")]);
    let failure = read(&record).unwrap_err();
    assert!(failure.message.contains("without TLS"), "{failure:?}");
}
