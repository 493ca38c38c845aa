//! Lines of a real HAProxy that cannot lead to the promoted standby: each is a finding beforehand, and its remedy ends it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use failover_core::finding::FindingCode;
use failover_core::route::findings;
use failover_core::sample::ReadinessFinding;

use super::haproxy_route::{Backend, Haproxy, cancel, deadline, eventually, free_port, route};
use crate::action::route::{HaproxyTarget, Route};
use crate::deadline::Deadline;

/// A primary that takes the traffic, and what the test says of the standby.
struct Lines {
    haproxy: Haproxy,
    target: HaproxyTarget,
}

impl Lines {
    /// `second`: the standby's line; `more` goes behind the backend.
    fn start(first: &str, second: &str, more: &str) -> Lines {
        let servers = [format!("db1 {first}"), format!("db2 {second}")];
        let haproxy = Haproxy::start_with(|haproxy| format!("{}{more}", haproxy.config(&servers)));
        let target = haproxy.unix("one");
        Lines { haproxy, target }
    }

    fn route(&self) -> Route {
        route(vec![self.target.clone()])
    }

    fn found(&self) -> Vec<ReadinessFinding> {
        findings(&self.route().view(deadline(), &cancel()), Some("alpha"), |_| true, true)
    }

    fn codes(&self) -> Vec<(FindingCode, bool)> {
        self.found().into_iter().map(|finding| (finding.code, finding.blocking)).collect()
    }

    /// The one finding.
    fn only(&self, code: FindingCode, blocking: bool) -> ReadinessFinding {
        let mut found = self.found();
        assert_eq!(found.len(), 1, "{found:?}");
        let found = found.remove(0);
        println!("{}: {} | {}", found.code, found.message, found.remedy);
        assert_eq!((found.code, found.blocking), (code, blocking), "{found:?}");
        found
    }

    fn rewrite(&mut self, from: &str, to: &str) {
        let file = self.haproxy.path("haproxy.cfg");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        self.haproxy.restart();
    }
}

fn at(backend: &Backend) -> String {
    format!("127.0.0.1:{}", backend.port)
}

/// The failover takes out what the standby follows: it is well before, and held as soon as it is needed.
#[test]
fn a_standby_that_follows_the_primarys_line_blocks_while_all_is_well() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let chain = format!("backend other\n  server x {} track pg/db1\n", at(&alpha));
    let named = format!("backend read\n  server r1 {} check\n", at(&alpha));
    for (second, more) in [("track pg/db1", ""), ("track pg/db1 disabled", ""), ("track other/x disabled", chain.as_str())] {
        let mut lines = Lines::start(&format!("{} check", at(&alpha)), &format!("{} {second}", at(&beta)), more);
        let held: Vec<ReadinessFinding> =
            lines.found().into_iter().filter(|found| found.code == FindingCode::RouteServerHeld).collect();
        assert_eq!(held.len(), 1, "{second}: {:?}", lines.found());
        assert!(held[0].blocking && held[0].message.contains("follows") && held[0].message.contains("pg/db2"), "{held:?}");
        assert!(held[0].remedy.starts_with("take `track` off the line of pg/db2"), "{held:?}");
        let soon = Deadline::after(Duration::from_millis(700));
        let failure = lines.route().bring_in("beta", None, soon, &cancel()).unwrap_err();
        assert!(failure.remedy.contains("`track`") && !failure.remedy.contains("server pg/db1 state ready"), "{failure:?}");
        lines.rewrite(&format!(" {second}"), " disabled");
        assert_eq!(lines.codes(), []);
    }
    // The primary's line in another backend of the route.
    let lines = Lines::start(&at(&alpha), &format!("{} track read/r1 disabled", at(&beta)), &named);
    let read = HaproxyTarget {
        backend: "read".to_owned(),
        servers: BTreeMap::from([("alpha".to_owned(), "r1".to_owned())]),
        ..lines.haproxy.unix("read")
    };
    let both = route(vec![lines.target.clone(), read]);
    let found = findings(&both.view(deadline(), &cancel()), Some("alpha"), |_| true, true);
    assert!(
        found.iter().any(|found| found.code == FindingCode::RouteServerHeld && found.message.contains("read/r1")),
        "{found:?}"
    );
    assert_eq!(lines.codes(), [], "alone it follows a line that no failover touches");
}

#[test]
fn a_line_with_another_servers_address_blocks() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let mut lines = Lines::start(&at(&alpha), &format!("{} disabled", at(&alpha)), "");
    let found = lines.only(FindingCode::RouteAddressWrong, true);
    assert!(found.message.contains("pg/db2 has") && found.message.contains("the address of pg/db1 (alpha)"), "{found:?}");
    assert!(found.remedy.starts_with("write the address of beta on the line of pg/db2"), "{found:?}");
    lines.rewrite(&format!("db2 {}", at(&alpha)), &format!("db2 {}", at(&beta)));
    assert_eq!(lines.codes(), []);

    // Exchanged: only the configuration knows.
    let places = |lines: &mut Lines| {
        let place = |name: &str, backend: &Backend| (name.to_owned(), ("127.0.0.1".to_owned(), backend.port));
        lines.target.places = BTreeMap::from([place("alpha", &alpha), place("beta", &beta)]);
    };
    let mut lines = Lines::start(&at(&beta), &format!("{} disabled", at(&alpha)), "");
    assert_eq!(lines.codes(), []);
    places(&mut lines);
    assert_eq!(lines.codes(), [(FindingCode::RouteAddressWrong, true); 2], "{:?}", lines.found());
    // Of two equal lines the configuration tells which one is wrong.
    let mut lines = Lines::start(&at(&beta), &format!("{} disabled", at(&beta)), "");
    places(&mut lines);
    let found = lines.only(FindingCode::RouteAddressWrong, true);
    assert!(found.message.contains("pg/db1 has") && found.message.contains("the address of beta"), "{found:?}");
    // An address that is nobody's in the configuration is another way to the same server.
    let other = Backend::start("beta");
    let mut lines = Lines::start(&at(&alpha), &format!("{} disabled", at(&other)), "");
    places(&mut lines);
    assert_eq!(lines.codes(), []);
}

#[test]
fn a_check_that_gets_no_connection_blocks_and_one_that_asks_for_the_role_does_not() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (away, gone) = (Backend::start("HTTP/1.0 503 no\r\n\r"), Backend::start("HTTP/1.0 404 no\r\n\r"));
    let often = "inter 20ms fall 1";
    let http = |port: u16| (format!("check port {port} {often}"), "option httpchk GET /primary\n");
    let closed = free_port();
    for (words, option, shows) in [
        (format!("check port {closed} {often}"), "", Some((true, "L4CON"))),
        (http(gone.port).0, http(gone.port).1, Some((false, "L7STS 404"))),
        (http(away.port).0, http(away.port).1, None),
        (format!("check {often}"), "option tcp-check\n  tcp-check expect string f\n", Some((false, "L7"))),
        (format!("check {often} check-ssl verify none"), "", Some((true, "L6"))),
    ] {
        let first = at(&alpha);
        let mut lines = Lines::start(&first, &format!("{} {words}", at(&beta)), "");
        lines.rewrite("\nbackend pg\n", &format!("\nbackend pg\n  timeout check 300ms\n  {option}"));
        let view = || lines.route().view(deadline(), &cancel()).remove(0).servers.unwrap();
        eventually("the check fails", || view().iter().any(|server| server.check.is_some()));
        match shows {
            None => assert_eq!(lines.codes(), [], "{words}: {:?}", lines.found()),
            Some((blocking, status)) => {
                let found = lines.only(FindingCode::RouteCheckFails, blocking);
                assert!(found.message.contains(status) && found.message.contains("pg/db2"), "{found:?}");
            }
        }
        let of_a_server_that_is_down =
            findings(&lines.route().view(deadline(), &cancel()), Some("alpha"), |at| at == "alpha", true);
        assert_eq!(of_a_server_that_is_down, [], "then the check is right");
        if shows.is_some() {
            lines.rewrite(&format!(" {words}"), " disabled");
            assert_eq!(lines.codes(), []);
        }
    }
}

#[test]
fn an_agent_and_the_check_of_another_line_are_told_too() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let agent = Backend::start("stopped");
    let words = format!("agent-check agent-port {} agent-inter 20ms", agent.port);
    let mut lines = Lines::start(&at(&alpha), &format!("{} {words}", at(&beta)), "");
    eventually("the agent speaks", || lines.codes() == [(FindingCode::RouteCheckFails, false)]);
    let found = lines.only(FindingCode::RouteCheckFails, false);
    assert!(found.message.contains("agent") && found.remedy.contains("`agent-check`"), "{found:?}");
    lines.rewrite(&format!(" {words}"), " disabled");
    assert_eq!(lines.codes(), []);

    let more = format!("backend other\n  server x {} check port {} inter 20ms fall 1\n", at(&beta), free_port());
    let mut lines = Lines::start(&at(&alpha), &format!("{} track other/x", at(&beta)), &more);
    eventually("the check fails", || lines.codes() == [(FindingCode::RouteCheckFails, true)]);
    let found = lines.only(FindingCode::RouteCheckFails, true);
    assert!(found.remedy.contains("on the line of other/x"), "{found:?}");
    // An order does not end it.
    let soon = Deadline::after(Duration::from_millis(700));
    assert!(lines.route().bring_in("beta", None, soon, &cancel()).is_err());
    lines.rewrite(&more, &format!("backend other\n  server x {} check disabled\n", at(&beta)));
    assert_eq!(lines.only(FindingCode::RouteServerHeld, true).code, FindingCode::RouteServerHeld);
}

#[test]
fn a_standby_that_takes_fewer_sessions_is_told() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    for (first, second, finds) in [
        ("", " maxconn 1", true),
        (" maxconn 50", " maxconn 49", true),
        (" maxconn 50", " maxconn 50", false),
        (" maxconn 5", "", false),
        ("", " maxconn 0", false),
    ] {
        let mut lines = Lines::start(&format!("{}{first}", at(&alpha)), &format!("{}{second} disabled", at(&beta)), "");
        if !finds {
            assert_eq!(lines.codes(), [], "{first}, {second}");
            continue;
        }
        let found = lines.only(FindingCode::RouteLimitLow, false);
        assert!(found.remedy.contains("write on the line of pg/db2 the maxconn of pg/db1"), "{found:?}");
        lines.rewrite(&format!("{second} disabled"), &format!("{first} disabled"));
        assert_eq!(lines.codes(), []);
    }
}

#[test]
fn a_line_that_the_route_does_not_name_is_told_and_blocks_beside_a_backup() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let third = format!("{} disabled\n  server old 127.0.0.1:{}", at(&beta), Backend::start("gamma").port);
    let mut lines = Lines::start(&at(&alpha), &third, "");
    let found = lines.only(FindingCode::RouteLineUnnamed, false);
    assert!(found.message.contains("pg/old") && found.remedy.contains("take pg/old out of backend pg"), "{found:?}");
    lines.rewrite("  server old ", "  server old-one ");
    lines.rewrite("\n  server old-one", "\n# server old-one");
    assert_eq!(lines.codes(), []);

    let mut lines = Lines::start(&at(&alpha), &third.replace(" disabled", " backup"), "");
    lines.only(FindingCode::RouteLineUnnamed, true);
    lines.rewrite("\n  server old", "\n# server old");
    assert_eq!(lines.codes(), []);
    // A page that says sorry serves only while nobody else does.
    let lines = Lines::start(&at(&alpha), &format!("{third} backup"), "");
    assert_eq!(lines.codes(), []);
}
