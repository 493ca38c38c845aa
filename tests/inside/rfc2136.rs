//! Signed updates to a real BIND, and to a fake server for what no real one does.
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::support::fake_dns::{Deed, FakeDns, Way, bare, is_update, relay};
use super::support::lab::{free_port, wait_until};
use super::support::{Lab, Named, NamedOptions};
use crate::action::dns::names::{self, Names};
use crate::action::dns::rfc2136::{Algorithm, FUDGE, Invalid, MAX_TTL, Rfc2136, Rfc2136Target, TsigKey};
use crate::action::dns::verify::{Asked, NameServer, Role, Verdict, verify};
use crate::action::dns::{Record, RecordSet, RecordType};
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::dns::ask;
use crate::wire::resolve::{Addresses, Literals};
use base64::Engine as _;
use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::A;
use domain::rdata::tsig::Time48;
use domain::tsig::{Key, ServerTransaction};
use failover_core::finding::FindingCode;
use failover_core::output::{Failure, FailureKind};

/// Longer than anything here takes: it ends a hung test.
const WATCHDOG: Duration = Duration::from_secs(60);
/// For what is never answered.
const SHORT: Duration = Duration::from_secs(4);
const NAME: &str = "app.example.test";
/// Two keys' secrets.
const SECRET: &str = "c2VjcmV0IG9mIGEga2V5IHRoYXQgaXMgb25seSB0ZXN0ZWQ=";
const OTHER: &str = "YW5vdGhlciBzZWNyZXQgb2YgYW5vdGhlciBrZXkgaGVyZS4=";

fn set(values: &[&str], ttl: u32) -> RecordSet {
    RecordSet { values: values.iter().map(|value| (*value).to_owned()).collect(), ttl }
}

fn at(address: SocketAddr) -> NameServer {
    NameServer { host: address.ip().to_string(), port: address.port() }
}

fn target(server: SocketAddr) -> Rfc2136Target {
    Rfc2136Target {
        server: at(server),
        zone: "example.test".to_owned(),
        name: NAME.to_owned(),
        record_type: RecordType::A,
        ttl: 30,
        key: TsigKey { name: "app-key".to_owned(), algorithm: Algorithm::HmacSha256, secret: Secret::new(SECRET) },
        fudge: FUDGE,
        secondaries: Vec::new(),
    }
}

fn record(target: Rfc2136Target) -> Rfc2136 {
    Rfc2136::new(target, Arc::new(Literals)).unwrap()
}

fn primary(name: &str) -> NamedOptions {
    NamedOptions::new(name).key("app-key", "hmac-sha256", SECRET).record("app 60 A 192.0.2.1")
}

fn read(record: &Rfc2136) -> Result<Option<RecordSet>, Failure> {
    record.read(Deadline::after(WATCHDOG), &Cancel::new().unwrap())
}

fn write(record: &Rfc2136, wanted: Option<&RecordSet>) -> Result<String, Failure> {
    write_within(record, wanted, WATCHDOG)
}

fn write_within(record: &Rfc2136, wanted: Option<&RecordSet>, span: Duration) -> Result<String, Failure> {
    let written = record.write(wanted, Deadline::after(span), &Cancel::new().unwrap());
    if let Err(failure) = &written {
        assert!(!failure.message.contains(SECRET) && !failure.remedy.is_empty(), "{failure:?}");
    }
    written
}

/// What everybody sees, asked without a key.
fn seen(server: SocketAddr, record_type: RecordType) -> Option<RecordSet> {
    ask(server, NAME, record_type, false, Deadline::after(WATCHDOG), &Cancel::new().unwrap()).unwrap().record
}

fn has_zone(server: SocketAddr) -> bool {
    let answer = ask(server, NAME, RecordType::A, false, Deadline::after(WATCHDOG), &Cancel::new().unwrap());
    answer.is_ok_and(|answer| answer.record.is_some())
}

/// How many updates it took.
fn updates(lab: &Lab, named: &Named) -> usize {
    named.log(lab).matches("updating zone").count()
}

#[test]
fn a_value_is_written_replaced_removed_and_restored() {
    let lab = Lab::new().unwrap();
    let mut named = Named::start(&lab, &primary("values")).unwrap();
    let app = record(target(named.address()));
    let before = read(&app).unwrap();
    assert_eq!(before, Some(set(&["192.0.2.1"], 60)));

    let wanted = app.record_set(&["192.0.2.9".to_owned()]).unwrap();
    assert_eq!(wanted, set(&["192.0.2.9"], 30));
    let said = write(&app, Some(&wanted)).unwrap();
    let where_to = format!("app.example.test. A at {}", named.address());
    assert_eq!(said, format!("{where_to}: 192.0.2.9 (TTL 30 s), was 192.0.2.1 (TTL 60 s)"));
    assert_eq!(read(&app).unwrap(), Some(wanted.clone()));
    assert_eq!(seen(named.address(), RecordType::A), Some(wanted.clone()));

    // What it holds is not written again.
    let taken = updates(&lab, &named);
    assert!(taken > 0);
    assert!(write(&app, Some(&wanted)).unwrap().ends_with("was there already"));
    assert_eq!(updates(&lab, &named), taken);

    // Several, in any order; a new TTL alone; another spelling.
    write(&app, Some(&set(&["192.0.2.3", "192.0.2.2", "192.0.2.3"], 30))).unwrap();
    assert_eq!(seen(named.address(), RecordType::A), Some(set(&["192.0.2.2", "192.0.2.3"], 30)));
    write(&app, Some(&set(&["192.0.2.2", "192.0.2.3"], 0))).unwrap();
    assert_eq!(seen(named.address(), RecordType::A), Some(set(&["192.0.2.2", "192.0.2.3"], 0)));

    // What was written outlives the server, and the next write needs no memory of ours.
    named.restart(&lab).unwrap();
    assert_eq!(read(&app).unwrap(), Some(set(&["192.0.2.2", "192.0.2.3"], 0)));
    write(&app, None).unwrap();
    assert_eq!((read(&app).unwrap(), seen(named.address(), RecordType::A)), (None, None));
    assert!(write(&app, None).unwrap().contains("no such record"));
    write(&app, before.as_ref()).unwrap();
    assert_eq!(seen(named.address(), RecordType::A), before);
}

#[test]
fn other_types_and_algorithms() {
    let lab = Lab::new().unwrap();
    let mut options = primary("types");
    let algorithms = [Algorithm::HmacSha1, Algorithm::HmacSha384, Algorithm::HmacSha512];
    for algorithm in algorithms {
        options = options.key(&format!("with-{}", algorithm.as_str()), algorithm.as_str(), OTHER);
    }
    let named = Named::start(&lab, &options).unwrap();
    let address = named.address();

    let six = record(Rfc2136Target { record_type: RecordType::Aaaa, ..target(address) });
    write(&six, Some(&set(&["2001:DB8:0::7"], 5))).unwrap();
    assert_eq!(seen(address, RecordType::Aaaa), Some(set(&["2001:db8::7"], 5)));
    assert!(seen(address, RecordType::A).is_some());

    for (number, algorithm) in algorithms.into_iter().enumerate() {
        let key = TsigKey { name: format!("with-{}", algorithm.as_str()), algorithm, secret: Secret::new(OTHER) };
        let app = record(Rfc2136Target { key, ..target(address) });
        write(&app, Some(&set(&[&format!("192.0.2.{}", 10 + number)], 30))).unwrap();
    }
    assert_eq!(seen(address, RecordType::A), Some(set(&["192.0.2.12"], 30)));

    // An alias stands alone: beside the addresses the server takes it and forgets it.
    let alias = record(Rfc2136Target { record_type: RecordType::Cname, ..target(address) });
    let failure = write(&alias, Some(&set(&["One.Example.org"], 30))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unknown);
    assert!(failure.message.contains("accepted the change and holds no such record"), "{failure:?}");
    write(&record(target(address)), None).unwrap();
    write(&six, None).unwrap();
    write(&alias, Some(&set(&["One.Example.org"], 30))).unwrap();
    assert_eq!(read(&alias).unwrap(), Some(set(&["one.example.org."], 30)));
    let failure = write(&six, Some(&set(&["2001:db8::7"], 5))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect);
    assert!(failure.message.contains("alias (CNAME) of one.example.org."), "{failure:?}");
}

#[test]
fn many_values_go_over_tcp() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("many")).unwrap();
    let app = record(target(named.address()));
    let values: Vec<String> = (0..100).map(|number| format!("198.51.100.{number}")).collect();
    let wanted = app.record_set(&values).unwrap();
    write(&app, Some(&wanted)).unwrap();
    assert_eq!(read(&app).unwrap(), Some(wanted));
}

#[test]
fn udp_that_always_truncates() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("truncated")).unwrap();
    let real = named.address();
    let front = FakeDns::start(move |request, way| match way {
        Way::Udp => Deed::Reply(vec![bare(request, 0, true)]),
        Way::Tcp => Deed::Reply(vec![relay(real, request, way).unwrap()]),
    })
    .unwrap();
    let app = record(target(front.address()));
    write(&app, Some(&set(&["192.0.2.9"], 30))).unwrap();
    assert_eq!(seen(real, RecordType::A), Some(set(&["192.0.2.9"], 30)));
}

/// Reading and writing fail in the same way, nothing is changed, and the message says this.
fn refused_with(named: &Named, app: &Rfc2136, words: &[&str], reading_too: bool) -> Failure {
    let failure = write(app, Some(&set(&["192.0.2.66"], 30))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
    for word in words {
        assert!(failure.message.contains(word), "{word}: {failure:?}");
    }
    if reading_too {
        assert_eq!(read(app).unwrap_err().message, failure.message);
    }
    assert_eq!(seen(named.address(), RecordType::A), Some(set(&["192.0.2.1"], 60)));
    failure
}

#[test]
fn every_refusal_of_a_real_server_has_a_name() {
    let lab = Lab::new().unwrap();
    let mut options = primary("refusals");
    options.keys.push(("weak".to_owned(), "hmac-sha256".to_owned(), OTHER.to_owned()));
    let named = Named::start(&lab, &options).unwrap();
    let usual = target(named.address());
    let key = |name: &str, algorithm, secret: &str| TsigKey { name: name.to_owned(), algorithm, secret: Secret::new(secret) };
    let with = |key: TsigKey| record(Rfc2136Target { key, ..usual.clone() });

    let app = with(key("app-key", Algorithm::HmacSha256, OTHER));
    refused_with(&named, &app, &["another secret", "app-key", "BADSIG"], true);
    let app = with(key("nobody", Algorithm::HmacSha256, SECRET));
    refused_with(&named, &app, &["does not know the key nobody with hmac-sha256 (BADKEY)"], true);
    let app = with(key("app-key", Algorithm::HmacSha512, SECRET));
    refused_with(&named, &app, &["app-key with hmac-sha512 (BADKEY)"], true);
    let app = with(key("weak", Algorithm::HmacSha256, OTHER));
    let failure = refused_with(&named, &app, &["refuses the change with the key weak (REFUSED)"], false);
    assert!(failure.remedy.contains("update-policy"));
    assert_eq!(read(&app).unwrap(), Some(set(&["192.0.2.1"], 60)));

    let app = record(Rfc2136Target { zone: NAME.to_owned(), ..usual.clone() });
    refused_with(&named, &app, &["not authoritative for the zone app.example.test. (NOTAUTH)"], false);
    let app = record(Rfc2136Target { zone: "test".to_owned(), ..usual.clone() });
    refused_with(&named, &app, &["not authoritative for the zone test. (NOTAUTH)"], false);
    let other = Rfc2136Target { zone: "example.org".to_owned(), name: "app.example.org".to_owned(), ..usual.clone() };
    refused_with(&named, &record(other), &["refuses to answer for app.example.org."], true);

    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let late = record(usual.clone()).with_signing_time(Box::new(move || now() - 100_000));
    refused_with(&named, &late, &["BADTIME", "this clock is 10000", "s behind the server's, 300 s are allowed"], false);
    let early = record(Rfc2136Target { fudge: 5, ..usual.clone() }).with_signing_time(Box::new(move || now() + 100_000));
    refused_with(&named, &early, &["BADTIME", "s ahead of the server's, 5 s are allowed"], false);
    // Not more than is allowed.
    let almost = record(usual).with_signing_time(Box::new(move || now() - 100));
    assert!(read(&almost).unwrap().is_some());
}

#[test]
fn another_server_than_the_primary() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("the-one")).unwrap();
    let usual = primary("resolving");
    let resolver = Named::start(&lab, &NamedOptions { forward: Some(named.port()), ..usual.clone() }).unwrap();
    let secondary = NamedOptions { name: "copy".to_owned(), primary: Some(named.port()), ..usual };
    let secondary = Named::start(&lab, &secondary).unwrap();
    wait_until("the secondary has the zone", WATCHDOG, || Ok(has_zone(secondary.address()).then_some(()))).unwrap();

    let app = record(target(resolver.address()));
    // Without recursion it tells nothing it does not hold; once somebody made it remember, it tells that.
    let recursing = ask(resolver.address(), NAME, RecordType::A, true, Deadline::after(WATCHDOG), &Cancel::new().unwrap());
    assert!(recursing.unwrap().record.is_some());
    refused_with(&named, &app, &["is not authoritative for the zone example.test."], true);
    let app = record(target(secondary.address()));
    let failure = refused_with(&named, &app, &["(REFUSED)"], false);
    assert!(failure.remedy.contains("the primary"), "{failure:?}");
}

/// A zone of its own below the configured one answers for the name: an update of the one above would change nothing that anybody sees.
#[test]
fn a_name_in_a_zone_below_is_told_beforehand() {
    let lab = Lab::new().unwrap();
    let below = Some(("sub".to_owned(), vec!["app 60 A 192.0.2.1".to_owned()]));
    let same = NamedOptions { below, ..primary("same").record("sub NS ns.sub").record("ns.sub A 127.0.0.1") };
    let same = Named::start(&lab, &same).unwrap();
    let away = Named::start(&lab, &primary("away").record("sub NS ns.elsewhere.test.")).unwrap();
    let look = |record: &Rfc2136| record.in_its_zone(Deadline::after(WATCHDOG), &Cancel::new().unwrap());
    for (named, name, whose) in [
        (&same, "app.sub.example.test", named_address(&same)),
        (&same, "sub.example.test", named_address(&same)),
        (&same, "other.deep.sub.example.test", named_address(&same)),
        (&away, "app.sub.example.test", "ns.elsewhere.test.".to_owned()),
        (&away, "sub.example.test", "ns.elsewhere.test.".to_owned()),
    ] {
        let inner = record(Rfc2136Target { name: name.to_owned(), ..target(named.address()) });
        let failure = look(&inner).unwrap_err();
        let words = format!("in the zone sub.example.test., for which {whose} is authoritative");
        assert!(failure.message.contains(&words) && failure.remedy.contains("set zone to that one"), "{name}: {failure:?}");
        // And where it was not asked before, the change that fails says the same.
        let failure = write(&inner, Some(&set(&["192.0.2.9"], 30))).unwrap_err();
        assert!(failure.message.contains(&words) && failure.remedy.contains("set zone to that one"), "{name}: {failure:?}");
    }
    for name in ["app.example.test", "nothing.example.test", "a.b.c.example.test", "example.test"] {
        look(&record(Rfc2136Target { name: name.to_owned(), ..target(away.address()) })).unwrap();
    }
}

/// What the survey finds of names: one in another zone, one whose server does not answer, one as it should be. Each ends by its remedy.
#[test]
fn a_name_that_a_failover_could_not_change_is_found_beforehand() {
    let lab = Lab::new().unwrap();
    let below = Some(("sub".to_owned(), vec!["app 60 A 192.0.2.1".to_owned()]));
    let options = NamedOptions { below, ..primary("both").record("sub NS ns.sub").record("ns.sub A 127.0.0.1") };
    let mut named = Named::start(&lab, &options).unwrap();
    let found = |target: &Rfc2136Target, are_route| {
        let names = Names::new(
            vec![names::Name {
                name: target.name.clone(),
                record_type: RecordType::A,
                record: Box::new(record(target.clone())),
                values: [("db1".to_owned(), set(&["192.0.2.1"], 60))].into(),
                authoritative: Vec::new(),
                zone: Vec::new(),
                resolvers: Vec::new(),
                companions: None,
                timeout: WATCHDOG,
            }],
            Arc::new(Literals),
        );
        crate::engine::round::of_names(&names, are_route, Deadline::after(WATCHDOG), &Cancel::new().unwrap())
    };
    let shown = |target: &Rfc2136Target, code: FindingCode, words: &str| {
        for are_route in [true, false] {
            let found = found(target, are_route);
            assert_eq!(found.iter().map(|one| (one.code, one.blocking)).collect::<Vec<_>>(), [(code, are_route)]);
            assert!(found[0].remedy.contains(words), "{found:?}");
        }
    };
    let usual = target(named.address());
    assert_eq!(found(&usual, true), []);

    let below = Rfc2136Target { name: "app.sub.example.test".to_owned(), ..usual.clone() };
    shown(&below, FindingCode::NameElsewhere, "set zone to that one");
    assert_eq!(found(&Rfc2136Target { zone: "sub.example.test".to_owned(), ..below }, true), []);

    named.kill();
    shown(&usual, FindingCode::NameUnreadable, "see that the provider can be reached from here");
    named.start_again(&lab).unwrap();
    assert_eq!(found(&usual, true), []);
}

fn named_address(named: &Named) -> String {
    at(named.address()).to_string()
}

#[test]
fn a_server_that_cannot_write_its_journal() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("full")).unwrap();
    let app = record(target(named.address()));
    let folder = named.zone_folder();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o500)).unwrap();
    let failure = write(&app, Some(&set(&["192.0.2.9"], 30))).unwrap_err();
    assert!(failure.message.contains("SERVFAIL") && failure.remedy.contains("journal"), "{failure:?}");
    // It answered, signed, and shows the old value.
    assert_eq!(failure.kind, FailureKind::NoEffect);
    assert_eq!(seen(named.address(), RecordType::A), Some(set(&["192.0.2.1"], 60)));
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    write(&app, Some(&set(&["192.0.2.9"], 30))).unwrap();
}

#[test]
fn away_and_back_and_silent() {
    let lab = Lab::new().unwrap();
    let mut named = Named::start(&lab, &primary("away")).unwrap();
    let app = record(target(named.address()));
    let wanted = set(&["192.0.2.9"], 30);

    named.freeze().unwrap();
    let failure = write_within(&app, Some(&wanted), SHORT).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
    assert!(failure.message.contains("gave no answer"), "{failure:?}");
    named.thaw();
    named.kill();
    let failure = write_within(&app, Some(&wanted), SHORT).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoEffect, "{failure:?}");
    assert!(failure.message.contains("cannot be reached"), "{failure:?}");

    named.start_again(&lab).unwrap();
    write(&app, Some(&wanted)).unwrap();
    assert_eq!(seen(named.address(), RecordType::A), Some(wanted));

    let cancel = Cancel::new().unwrap();
    named.freeze().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| app.write(None, Deadline::after(Duration::from_secs(600)), &cancel));
        cancel.cancel();
        assert_eq!(writer.join().unwrap().unwrap_err().kind, FailureKind::Cancelled);
    });
}

#[test]
fn a_server_that_comes_back_meanwhile() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("back")).unwrap();
    let (real, address) = (named.address(), SocketAddr::from(([127, 0, 0, 1], free_port().unwrap())));
    // Nobody listens there when the first question goes out; somebody does when the second is signed.
    let front = parking_lot::Mutex::new((0, None));
    let app = record(target(address)).with_signing_time(Box::new(move || {
        let mut front = front.lock();
        front.0 += 1;
        if front.0 == 2 {
            let deed = move |request: &[u8], way| Deed::Reply(vec![relay(real, request, way).unwrap()]);
            front.1 = Some(FakeDns::start_on(address, true, deed).unwrap());
        }
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }));
    assert_eq!(read(&app).unwrap(), Some(set(&["192.0.2.1"], 60)));
}

#[test]
fn an_update_whose_answer_is_lost_is_found_by_reading() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("lost")).unwrap();
    let real = named.address();
    let front = FakeDns::start_with(false, move |request, way| {
        let reply = relay(real, request, way).unwrap();
        if is_update(request) { Deed::Silence } else { Deed::Reply(vec![reply]) }
    })
    .unwrap();
    let app = record(target(front.address()));
    let wanted = set(&["192.0.2.9"], 30);
    let said = write_within(&app, Some(&wanted), SHORT).unwrap();
    assert!(said.contains("its answer was lost"), "{said}");
    assert_eq!(seen(real, RecordType::A), Some(wanted));
}

#[test]
fn an_update_that_is_lost_is_not_known_to_have_failed() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("gone")).unwrap();
    let real = named.address();
    let front = FakeDns::start_with(false, move |request, way| {
        if is_update(request) { Deed::Silence } else { Deed::Reply(vec![relay(real, request, way).unwrap()]) }
    })
    .unwrap();
    let app = record(target(front.address()));
    let failure = write_within(&app, Some(&set(&["192.0.2.9"], 30)), SHORT).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Unknown | FailureKind::TimedOut), "{failure:?}");
    assert!(failure.message.contains("gave no answer"), "{failure:?}");
    assert_eq!(seen(real, RecordType::A), Some(set(&["192.0.2.1"], 60)));

    // And after the update the server is gone for good.
    let gone = AtomicBool::new(false);
    let front = FakeDns::start_with(false, move |request, way| {
        if is_update(request) {
            gone.store(true, Ordering::SeqCst);
        }
        if gone.load(Ordering::SeqCst) { Deed::Silence } else { Deed::Reply(vec![relay(real, request, way).unwrap()]) }
    })
    .unwrap();
    let app = record(target(front.address()));
    let failure = write_within(&app, Some(&set(&["192.0.2.9"], 30)), SHORT).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");
    assert!(failure.message.contains("whether it was changed cannot be read"), "{failure:?}");
}

#[test]
fn every_secondary_has_it_before_a_write_is_done() {
    let lab = Lab::new().unwrap();
    let port = free_port().unwrap();
    let primary_port = free_port().unwrap();
    let options = NamedOptions { port: Some(primary_port), notify: vec![port], ..primary("first") };
    let named = Named::start(&lab, &options).unwrap();
    let options = NamedOptions { port: Some(port), primary: Some(primary_port), ..NamedOptions::new("second") };
    let secondary = Named::start(&lab, &options).unwrap();
    wait_until("the secondary has the zone", WATCHDOG, || Ok(has_zone(secondary.address()).then_some(()))).unwrap();
    let app = record(Rfc2136Target { secondaries: vec![at(secondary.address())], ..target(named.address()) });

    // It lags, and catches up.
    let wanted = set(&["192.0.2.9"], 30);
    secondary.freeze().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&app, Some(&wanted)));
        wait_until("the primary has it", WATCHDOG, || {
            Ok((seen(named.address(), RecordType::A).as_ref() == Some(&wanted)).then_some(()))
        })
        .unwrap();
        assert!(!writer.is_finished());
        secondary.thaw();
        let said = writer.join().unwrap().unwrap();
        assert!(said.ends_with("; the other server has it"), "{said}");
    });
    assert_eq!(seen(secondary.address(), RecordType::A), Some(wanted.clone()));

    // It has gone: the primary has the value, and the message says who has not.
    secondary.kill();
    let other = set(&["192.0.2.10"], 30);
    let failure = write_within(&app, Some(&other), SHORT).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");
    assert!(failure.message.contains(&format!("1 of 1 others not yet: {}", secondary.address())), "{failure:?}");
    assert_eq!(seen(named.address(), RecordType::A), Some(other));
    // A stale one is asked until the end.
    let stale = FakeDns::start_with(false, {
        let real = named.address();
        let known = parking_lot::Mutex::new(None::<Vec<u8>>);
        move |request, way| {
            let mut known = known.lock();
            let reply = known.get_or_insert_with(|| relay(real, request, way).unwrap());
            reply[..2].copy_from_slice(&request[..2]);
            Deed::Reply(vec![reply.clone()])
        }
    })
    .unwrap();
    assert_eq!(seen(stale.address(), RecordType::A), Some(set(&["192.0.2.10"], 30)));
    let app = record(Rfc2136Target { secondaries: vec![at(stale.address())], ..target(named.address()) });
    let failure = write_within(&app, Some(&wanted), SHORT).unwrap_err();
    assert!(failure.message.contains(": 192.0.2.10 (TTL 30 s)") && failure.remedy.contains("transfers"), "{failure:?}");
}

#[test]
fn a_resolver_remembers_until_its_time_is_over() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("source")).unwrap();
    let resolver = Named::start(&lab, &NamedOptions { forward: Some(named.port()), ..NamedOptions::new("resolver") }).unwrap();
    let servers = [
        Asked { name: "ns".to_owned(), addresses: vec![named.address()], role: Role::Authoritative },
        Asked { name: "resolver".to_owned(), addresses: vec![resolver.address()], role: Role::Resolver },
    ];
    let look = |record_type, expected: Option<&RecordSet>| {
        let seen = verify(&servers, NAME, record_type, expected, Deadline::after(WATCHDOG), &Cancel::new().unwrap());
        assert!(seen[0].is_expected(), "{}", seen[0]);
        seen[1].verdict.clone()
    };
    assert_eq!(look(RecordType::A, Some(&set(&["192.0.2.1"], 60))), Verdict::Expected);
    assert_eq!(look(RecordType::Aaaa, None), Verdict::Expected);
    let wanted = set(&["192.0.2.9"], 30);
    write(&record(target(named.address())), Some(&wanted)).unwrap();
    match look(RecordType::A, Some(&wanted)) {
        Verdict::Remembered { holds: Some(holds), ttl_left: Some(left) } => {
            assert_eq!(holds.values, ["192.0.2.1"]);
            assert!(left <= 60, "{left}");
        }
        other => panic!("{other:?}"),
    }
    // That there is none is remembered too.
    let six = record(Rfc2136Target { record_type: RecordType::Aaaa, ..target(named.address()) });
    let wanted = set(&["2001:db8::7"], 30);
    write(&six, Some(&wanted)).unwrap();
    match look(RecordType::Aaaa, Some(&wanted)) {
        Verdict::Remembered { holds: None, ttl_left: Some(left) } => assert!(left <= 60, "{left}"),
        other => panic!("{other:?}"),
    }
}

/// A name with two addresses, of which nobody is on the first.
struct Two(SocketAddr, SocketAddr);

impl Addresses for Two {
    fn addresses(&self, _: &str, _: u16) -> Result<Vec<SocketAddr>, String> {
        Ok(vec![self.0, self.1])
    }
}

#[test]
fn a_server_is_reached_by_any_of_its_addresses() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("two")).unwrap();
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let app = Rfc2136::new(target(named.address()), Arc::new(Two(nobody, named.address()))).unwrap();
    write(&app, Some(&set(&["192.0.2.9"], 30))).unwrap();
    assert_eq!(seen(named.address(), RecordType::A), Some(set(&["192.0.2.9"], 30)));
}

/// The key as the fake server knows it.
fn server_key(secret: &str) -> Key {
    let secret = base64::engine::general_purpose::STANDARD.decode(secret).unwrap();
    Key::new(domain::tsig::Algorithm::Sha256, &secret, "app-key".parse().unwrap(), None, None).unwrap()
}

/// A signed answer: to a question the old value, to an update a code.
fn signed(request: &[u8], rcode: Rcode, secret: &str, now: Time48) -> Vec<u8> {
    let mut message = Message::from_octets(request.to_vec()).unwrap();
    let transaction = ServerTransaction::request(&server_key(SECRET), &mut message, Time48::now()).ok().flatten().unwrap();
    let transaction = if secret == SECRET {
        transaction
    } else {
        // The same request, as one with the other secret would have signed it.
        let mut again = MessageBuilder::new_vec().question();
        again.push((Name::<Vec<u8>>::root_vec(), domain::base::iana::Rtype::SOA)).unwrap();
        let mut again = again.additional();
        domain::tsig::ClientTransaction::request(server_key(secret), &mut again, Time48::now()).unwrap();
        let mut again = Message::from_octets(again.finish()).unwrap();
        ServerTransaction::request(&server_key(secret), &mut again, Time48::now()).ok().flatten().unwrap()
    };
    let update = is_update(request);
    let mut answer = MessageBuilder::new_vec().start_answer(&message, if update { rcode } else { Rcode::NOERROR }).unwrap();
    answer.header_mut().set_aa(true);
    if !update {
        let name: Name<Vec<u8>> = NAME.parse().unwrap();
        answer.push((name, 60, A::new([192, 0, 2, 1].into()))).unwrap();
    }
    let mut answer = answer.additional();
    transaction.answer(&mut answer, now).unwrap();
    answer.finish()
}

fn write_to(front: &FakeDns) -> Failure {
    write(&record(target(front.address())), Some(&set(&["192.0.2.9"], 30))).unwrap_err()
}

#[test]
fn every_signed_code_has_a_name() {
    let codes = [
        (Rcode::NOTAUTH, "NOTAUTH", FailureKind::NoEffect),
        (Rcode::NOTZONE, "NOTZONE", FailureKind::NoEffect),
        (Rcode::REFUSED, "REFUSED", FailureKind::NoEffect),
        (Rcode::FORMERR, "FORMERR", FailureKind::NoEffect),
        (Rcode::NOTIMP, "NOTIMP", FailureKind::NoEffect),
        // Signed, every copy answered, and the old value still there.
        (Rcode::SERVFAIL, "SERVFAIL", FailureKind::NoEffect),
        (Rcode::YXDOMAIN, "YXDOMAIN", FailureKind::NoEffect),
    ];
    for (rcode, word, kind) in codes {
        let server =
            FakeDns::start_with(false, move |request, _| Deed::Reply(vec![signed(request, rcode, SECRET, Time48::now())]))
                .unwrap();
        let failure = write_to(&server);
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(word), "{failure:?}");
    }
    // It says that it did it, and holds what it held.
    let liar = FakeDns::start_with(false, |request, _| Deed::Reply(vec![signed(request, Rcode::NOERROR, SECRET, Time48::now())]))
        .unwrap();
    let failure = write_to(&liar);
    assert_eq!(failure.kind, FailureKind::Unknown);
    assert!(failure.message.contains("accepted the change and holds 192.0.2.1 (TTL 60 s)"), "{failure:?}");
}

#[test]
fn answers_without_a_valid_signature_are_not_believed() {
    let reading = |request: &[u8]| signed(request, Rcode::NOERROR, SECRET, Time48::now());
    // Success without a signature is none, by either way.
    let unsigned = FakeDns::start(move |request, _| {
        Deed::Reply(vec![if is_update(request) { bare(request, 0, false) } else { reading(request) }])
    })
    .unwrap();
    let failure = write_to(&unsigned);
    assert_eq!(failure.kind, FailureKind::Unknown, "{failure:?}");
    assert!(failure.message.contains("(NOERROR) is not signed"), "{failure:?}");
    // Nor is a refusal where it can be forged, and over TCP it is one.
    for (tcp, kind) in [(false, FailureKind::Unknown), (true, FailureKind::NoEffect)] {
        let server = FakeDns::start_with(tcp, move |request, _| {
            Deed::Reply(vec![if is_update(request) { bare(request, 5, false) } else { reading(request) }])
        })
        .unwrap();
        let failure = write_to(&server);
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains("(REFUSED) is not signed"), "{failure:?}");
    }
    // With another secret.
    let wrong = FakeDns::start(move |request, _| {
        Deed::Reply(vec![if is_update(request) {
            signed(request, Rcode::NOERROR, OTHER, Time48::now())
        } else {
            reading(request)
        }])
    })
    .unwrap();
    let failure = write_to(&wrong);
    assert_eq!(failure.kind, FailureKind::Unknown, "{failure:?}");
    assert!(failure.message.contains("not signed as it has to be"), "{failure:?}");
    // Signed for another time than this.
    let late = FakeDns::start(move |request, _| {
        let past = Time48::from_u64(1_000_000_000);
        Deed::Reply(vec![if is_update(request) { signed(request, Rcode::NOERROR, SECRET, past) } else { reading(request) }])
    })
    .unwrap();
    let failure = write_to(&late);
    assert_eq!(failure.kind, FailureKind::Unknown, "{failure:?}");
    assert!(failure.message.contains("more than 300 s away from this clock"), "{failure:?}");
    // And a server that knows no signatures at all is found out when it is read.
    let plain = FakeDns::start(|request, _| Deed::Reply(vec![bare(request, 0, false)])).unwrap();
    let failure = read(&record(target(plain.address()))).unwrap_err();
    assert!(failure.message.contains("is not signed") && failure.kind == FailureKind::NoEffect, "{failure:?}");
}

#[test]
fn forged_refusals_do_not_stop_a_write() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &primary("forged")).unwrap();
    let real = named.address();
    let forged = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&forged);
    let front = FakeDns::start(move |request, way| {
        if way == Way::Tcp {
            return Deed::Reply(vec![relay(real, request, way).unwrap()]);
        }
        count.fetch_add(1, Ordering::SeqCst);
        Deed::Reply(vec![bare(request, 5, false)])
    })
    .unwrap();
    let app = record(target(front.address()));
    write(&app, Some(&set(&["192.0.2.9"], 30))).unwrap();
    assert!(forged.load(Ordering::SeqCst) >= 3);
    assert_eq!(seen(real, RecordType::A), Some(set(&["192.0.2.9"], 30)));
}

#[test]
fn garbage_for_an_answer_leaves_the_effect_unknown() {
    let server = FakeDns::start(|request, _| {
        Deed::Reply(vec![if is_update(request) {
            request[..7].to_vec()
        } else {
            signed(request, Rcode::NOERROR, SECRET, Time48::now())
        }])
    })
    .unwrap();
    let failure = write_to(&server);
    assert_eq!(failure.kind, FailureKind::Unknown, "{failure:?}");
    assert!(failure.message.contains("cannot be understood"), "{failure:?}");
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let usual = target(SocketAddr::from(([127, 0, 0, 1], 53)));
    let key = |secret: &str| TsigKey { secret: Secret::new(secret), ..usual.key.clone() };
    let wrong: Vec<(&str, Rfc2136Target)> = vec![
        ("zone", Rfc2136Target { zone: "two..dots".to_owned(), ..usual.clone() }),
        ("name", Rfc2136Target { name: String::new(), ..usual.clone() }),
        ("name", Rfc2136Target { name: "app.example.org".to_owned(), ..usual.clone() }),
        ("name", Rfc2136Target { name: "badexample.test".to_owned(), ..usual.clone() }),
        ("record_type", Rfc2136Target { name: "Example.Test.".to_owned(), record_type: RecordType::Cname, ..usual.clone() }),
        ("ttl", Rfc2136Target { ttl: MAX_TTL + 1, ..usual.clone() }),
        ("fudge", Rfc2136Target { fudge: 0, ..usual.clone() }),
        ("key.secret", Rfc2136Target { key: key("not base64!"), ..usual.clone() }),
        ("key.secret", Rfc2136Target { key: key(" "), ..usual.clone() }),
        ("key.name", Rfc2136Target { key: TsigKey { name: "two..dots".to_owned(), ..usual.key.clone() }, ..usual.clone() }),
    ];
    for (setting, target) in wrong {
        let invalid: Invalid = Rfc2136::new(target, Arc::new(Literals)).unwrap_err();
        assert_eq!(invalid.setting, setting, "{invalid}");
        assert!(!invalid.message.contains("not base64!"));
    }
    let app = record(usual.clone());
    assert!(!format!("{app:?}").contains(SECRET));
    let sets = [
        set(&[], 30),
        set(&["2001:db8::1"], 30),
        set(&["192.0.2.1"], MAX_TTL + 1),
        RecordSet { values: (0..101).map(|number| format!("192.0.2.{number}")).collect(), ttl: 30 },
    ];
    for wanted in sets {
        assert_eq!(write(&app, Some(&wanted)).unwrap_err().kind, FailureKind::NoEffect);
    }
    let alias = record(Rfc2136Target { record_type: RecordType::Cname, ..usual.clone() });
    assert!(write(&alias, Some(&set(&["a.example", "b.example"], 30))).unwrap_err().message.contains("one value"));
    let unknown = record(Rfc2136Target { server: NameServer { host: "ns.example".to_owned(), port: 53 }, ..usual });
    assert!(read(&unknown).unwrap_err().message.contains("not resolved here"));
    assert_eq!("hmac-sha512".parse(), Ok(Algorithm::HmacSha512));
    assert!("hmac-md5".parse::<Algorithm>().is_err());
}
