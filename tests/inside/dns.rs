//! Questions to name servers: a real BIND, and a fake one for what no real one does.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::support::fake_dns::{Deed, FakeDns, Way, bare, relay};
use super::support::lab::free_port;
use super::support::{Lab, Named, NamedOptions};
use crate::action::dns::verify::{Asked, Role, Verdict, verify};
use crate::action::dns::{RecordSet, RecordType};
use crate::deadline::{Cancel, Deadline};
use crate::wire::dns::{Answer, Error, Rcode, ask};

/// Longer than anything here takes: it ends a hung test.
const WATCHDOG: Duration = Duration::from_secs(60);
/// For what is never answered.
const SHORT: Duration = Duration::from_millis(600);

fn question(server: SocketAddr, name: &str, record_type: RecordType, span: Duration) -> Result<Answer, Error> {
    ask(server, name, record_type, false, Deadline::after(span), &Cancel::new().unwrap())
}

fn set(values: &[&str], ttl: u32) -> RecordSet {
    RecordSet { values: values.iter().map(|value| (*value).to_owned()).collect(), ttl }
}

fn zone() -> NamedOptions {
    let mut options = NamedOptions::new("query")
        .record("one 60 A 192.0.2.1")
        .record("two 60 A 192.0.2.2")
        .record("two 60 A 192.0.2.1")
        .record("six 60 AAAA 2001:DB8::1")
        .record("alias 30 CNAME One")
        .record("away 30 CNAME www.example.org.")
        .record("part NS ns.part")
        .record("ns.part A 127.0.0.2");
    for number in 0..90 {
        options = options.record(&format!("many 60 A 192.0.2.{number}"));
    }
    options
}

#[test]
fn what_a_real_server_says() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &zone()).unwrap();
    let server = named.address();
    let asked = |name: &str, record_type| question(server, name, record_type, WATCHDOG).unwrap();

    let one = asked("ONE.example.test", RecordType::A);
    let expected = Answer {
        record: Some(set(&["192.0.2.1"], 60)),
        authoritative: true,
        rcode: Rcode::NoError,
        from: server,
        canonical: None,
        negative_ttl: None,
    };
    assert_eq!(one, expected);
    assert_eq!(asked("two.example.test.", RecordType::A).record, Some(set(&["192.0.2.1", "192.0.2.2"], 60)));
    assert_eq!(asked("six.example.test", RecordType::Aaaa).record, Some(set(&["2001:db8::1"], 60)));

    let nothing = asked("none.example.test", RecordType::A);
    assert_eq!((nothing.record, nothing.rcode, nothing.negative_ttl), (None, Rcode::NxDomain, Some(60)));
    let no_data = asked("one.example.test", RecordType::Aaaa);
    assert_eq!((no_data.record, no_data.rcode, no_data.negative_ttl), (None, Rcode::NoError, Some(60)));

    let alias = asked("alias.example.test", RecordType::A);
    assert_eq!((alias.record, alias.canonical.as_deref()), (Some(set(&["192.0.2.1"], 60)), Some("one.example.test.")));
    let itself = asked("alias.example.test", RecordType::Cname);
    assert_eq!((itself.record, itself.canonical), (Some(set(&["one.example.test."], 30)), None));
    let away = asked("away.example.test", RecordType::A);
    assert_eq!((away.record, away.canonical.as_deref()), (None, Some("www.example.org.")));

    // More than a datagram holds.
    let many = asked("many.example.test", RecordType::A).record.unwrap();
    assert_eq!(many.values.len(), 90);

    // Another server's part of the zone is none of this one's.
    let part = asked("x.part.example.test", RecordType::A);
    assert_eq!((part.record, part.authoritative), (None, false));
    assert!(matches!(question(server, "example.org", RecordType::A, WATCHDOG), Err(Error::Refused { .. })));
    let resolve = ask(server, "x.part.example.test", RecordType::A, true, Deadline::after(WATCHDOG), &Cancel::new().unwrap());
    assert!(matches!(resolve, Err(Error::NoRecursion { .. })), "{resolve:?}");
}

#[test]
fn a_zone_that_is_not_loaded_is_named() {
    let lab = Lab::new().unwrap();
    let options = NamedOptions { primary: Some(free_port().unwrap()), ..NamedOptions::new("empty") };
    let named = Named::start(&lab, &options).unwrap();
    let error = question(named.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(matches!(error, Error::ServerFailure { .. }), "{error}");
    assert!(error.to_string().contains(&named.address().to_string()) && !error.remedy().is_empty());
}

#[test]
fn a_stopped_server_and_none_at_all() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &zone()).unwrap();
    named.freeze().unwrap();
    let silent = question(named.address(), "one.example.test", RecordType::A, SHORT).unwrap_err();
    assert!(matches!(silent, Error::NoAnswer { .. }), "{silent}");
    named.thaw();
    question(named.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap();
    named.kill();
    let away = question(named.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(matches!(away, Error::Unreachable { .. }), "{away}");
}

#[test]
fn a_stop_ends_a_wait_at_once() {
    let silent = FakeDns::start(|_, _| Deed::Silence).unwrap();
    let cancel = Cancel::new().unwrap();
    let (server, theirs) = (silent.address(), cancel.clone());
    let waiter = std::thread::spawn(move || {
        ask(server, "one.example.test", RecordType::A, false, Deadline::after(Duration::from_secs(600)), &theirs)
    });
    cancel.cancel();
    assert!(matches!(waiter.join().unwrap(), Err(Error::Cancelled { .. })));
}

#[test]
fn forged_answers_are_not_heard() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &zone()).unwrap();
    let real = named.address();
    let lie = |request: &[u8]| {
        let mut reply = bare(request, 3, false);
        reply[2] |= 0x04;
        reply
    };
    // Another id, another question, no answer but a question, too short for an id, another id and cut, and then the truth.
    let forger = FakeDns::start_with(false, move |request, way| {
        let mut id = lie(request);
        id[0] ^= 1;
        let mut other = lie(request);
        other[13] ^= 1;
        let short = vec![request[0] ^ 1, request[1], 0x84];
        Deed::Reply(vec![id, other, request.to_vec(), vec![request[0]], short, relay(real, request, way).unwrap()])
    })
    .unwrap();
    let answer = question(forger.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap();
    assert_eq!(answer.record, Some(set(&["192.0.2.1"], 60)));

    let elsewhere = FakeDns::start_with(false, move |request, _| Deed::FromElsewhere(lie(request))).unwrap();
    let unheard = question(elsewhere.address(), "one.example.test", RecordType::A, SHORT).unwrap_err();
    assert!(matches!(unheard, Error::NoAnswer { .. }), "{unheard}");
    let wrong = FakeDns::start_with(false, move |request, _| {
        let mut reply = lie(request);
        reply[1] ^= 255;
        Deed::Reply(vec![reply])
    })
    .unwrap();
    let unheard = question(wrong.address(), "one.example.test", RecordType::A, SHORT).unwrap_err();
    assert!(unheard.to_string().contains("did not belong to the request"), "{unheard}");
}

#[test]
fn garbage_is_named_and_tcp_gets_a_try() {
    let broken = |request: &[u8]| {
        let mut reply = bare(request, 0, false);
        // Records are promised and none come.
        reply[7] = 9;
        reply
    };
    let garbage = FakeDns::start(move |request, _| Deed::Reply(vec![broken(request)])).unwrap();
    let error = question(garbage.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(matches!(error, Error::Garbled { .. }), "{error}");
    // An alias of itself.
    let circle = FakeDns::start(|request, _| {
        let mut reply = bare(request, 0, false);
        reply[7] = 1;
        reply.extend_from_slice(&[0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 30, 0, 2, 0xC0, 12]);
        Deed::Reply(vec![reply])
    })
    .unwrap();
    let error = question(circle.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(matches!(&error, Error::Garbled { how, .. } if how.contains("circle")), "{error}");
    let short = FakeDns::start_with(false, |request, _| Deed::Reply(vec![request[..5].to_vec()])).unwrap();
    let error = question(short.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(matches!(error, Error::Garbled { .. }), "{error}");

    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &zone()).unwrap();
    let real = named.address();
    let by_tcp_alone = move |udp: fn(&[u8]) -> Deed| {
        FakeDns::start(move |request, way| match way {
            Way::Udp => udp(request),
            Way::Tcp => Deed::Reply(vec![relay(real, request, way).unwrap()]),
        })
        .unwrap()
    };
    let truncated = by_tcp_alone(|request| Deed::Reply(vec![bare(request, 0, true)]));
    let garbled = by_tcp_alone(|request| Deed::Reply(vec![request[..4].to_vec()]));
    let silent = by_tcp_alone(|_| Deed::Silence);
    for (front, span) in [(truncated, WATCHDOG), (garbled, WATCHDOG), (silent, Duration::from_secs(4))] {
        let answer = question(front.address(), "one.example.test", RecordType::A, span).unwrap();
        assert_eq!(answer.record, Some(set(&["192.0.2.1"], 60)));
    }

    let no_tcp = FakeDns::start_with(false, |request, _| Deed::Reply(vec![bare(request, 0, true)])).unwrap();
    let error = question(no_tcp.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(matches!(error, Error::NoTcp { .. }), "{error}");
    let always = FakeDns::start(|request, _| Deed::Reply(vec![bare(request, 0, true)])).unwrap();
    let error = question(always.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(matches!(error, Error::Garbled { .. }), "{error}");
    let closing = FakeDns::start(|request, way| match way {
        Way::Udp => Deed::Reply(vec![bare(request, 0, true)]),
        Way::Tcp => Deed::Silence,
    })
    .unwrap();
    let error = question(closing.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(error.to_string().contains("closed before the answer was complete"), "{error}");
}

#[test]
fn a_lost_datagram_is_sent_again() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &zone()).unwrap();
    let real = named.address();
    let seen = std::sync::atomic::AtomicU32::new(0);
    let lossy = FakeDns::start_with(false, move |request, way| {
        if seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
            return Deed::Silence;
        }
        Deed::Reply(vec![relay(real, request, way).unwrap()])
    })
    .unwrap();
    assert!(question(lossy.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap().record.is_some());
}

#[test]
fn a_server_from_before_edns_is_asked_without() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &zone()).unwrap();
    let real = named.address();
    let old = FakeDns::start_with(false, move |request, way| {
        let records = request[11];
        Deed::Reply(vec![if records > 0 { bare(request, 1, false) } else { relay(real, request, way).unwrap() }])
    })
    .unwrap();
    assert!(question(old.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap().record.is_some());
    let never = FakeDns::start_with(false, |request, _| Deed::Reply(vec![bare(request, 1, false)])).unwrap();
    let error = question(never.address(), "one.example.test", RecordType::A, WATCHDOG).unwrap_err();
    assert!(matches!(&error, Error::Rcode { rcode, .. } if rcode == "FORMERR"), "{error}");
}

#[test]
fn what_is_no_name_is_not_sent() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    for name in ["", "two..dots", &"long".repeat(20), &"a.".repeat(200), "ümlaut.example"] {
        let error = question(nobody.local_addr().unwrap(), name, RecordType::A, WATCHDOG).unwrap_err();
        assert!(matches!(error, Error::BadName { .. }), "{error}");
    }
}

#[test]
fn every_server_is_asked_and_judged_by_its_role() {
    let lab = Lab::new().unwrap();
    let named = Named::start(&lab, &zone()).unwrap();
    let real = named.address();
    // A resolver with a memory: it is not authoritative for the zone, it resolves, and 17 s are left.
    let memory = FakeDns::start_with(false, move |request, way| {
        let mut reply = relay(real, request, way).unwrap();
        reply[2] &= !0x04;
        reply[3] |= 0x80;
        if let Some(ttl) = reply.windows(4).position(|bytes| bytes == [0, 0, 0, 60]) {
            reply[ttl + 3] = 17;
        }
        Deed::Reply(vec![reply])
    })
    .unwrap();
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let server = |name: &str, address, role| Asked { name: name.to_owned(), addresses: vec![address], role };
    let mut servers = vec![
        server("ns1", real, Role::Authoritative),
        server("lame", memory.address(), Role::Authoritative),
        server("resolver", memory.address(), Role::Resolver),
        server("away", nobody, Role::Authoritative),
        // Its first address is gone.
        Asked { addresses: vec![nobody, real], ..server("ns2", real, Role::Authoritative) },
    ];
    let look = |servers: &[Asked], expected: Option<&RecordSet>| {
        let seen =
            verify(servers, "one.example.test", RecordType::A, expected, Deadline::after(WATCHDOG), &Cancel::new().unwrap());
        assert_eq!(
            seen.iter().map(|seen| &seen.name).collect::<Vec<_>>(),
            servers.iter().map(|server| &server.name).collect::<Vec<_>>()
        );
        seen
    };
    let held = set(&["192.0.2.1"], 60);
    let seen = look(&servers, Some(&held));
    assert_eq!(seen.iter().map(word).collect::<Vec<_>>(), ["expected", "lame", "expected", "trouble", "expected"]);
    let other = set(&["192.0.2.9"], 60);
    let seen = look(&servers, Some(&other));
    assert_eq!(seen[0].verdict, Verdict::Different { holds: Some(held.clone()) });
    assert_eq!(seen[2].verdict, Verdict::Remembered { holds: Some(set(&["192.0.2.1"], 17)), ttl_left: Some(17) });
    assert_eq!(seen[2].to_string(), "resolver: still 192.0.2.1, for at most 17 s more");
    assert!(seen[3].to_string().contains("cannot be reached") && !seen[3].remedy().is_empty());
    // The same values with another TTL are not the same on a server that speaks for the zone.
    assert!(!look(&servers[..1], Some(&set(&["192.0.2.1"], 61)))[0].is_expected());
    assert!(!look(&servers[..1], None)[0].is_expected());
    // More than are asked at once.
    servers = (0..40).map(|number| server(&format!("ns{number}"), real, Role::Authoritative)).collect();
    assert!(look(&servers, Some(&held)).iter().all(crate::action::dns::verify::Seen::is_expected));
}

fn word(seen: &crate::action::dns::verify::Seen) -> &'static str {
    match seen.verdict {
        Verdict::Expected => "expected",
        Verdict::Different { .. } => "different",
        Verdict::Remembered { .. } => "remembered",
        Verdict::NotAuthoritative => "lame",
        Verdict::Trouble(_) => "trouble",
    }
}
