//! Findings of host and route: the state is made, the finding is shown, its remedy is carried out as it stands, and the finding is gone.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use failover_core::finding::{FindingCode, FindingGroup};
use failover_core::sample::ReadinessFinding;

use super::haproxy_route::{Backend, Haproxy, found, route};
use super::ssh_host::{Server, Sshd, far, folder, host, never};
use crate::action::host::{HostControl, HostParams};
use crate::action::route::HaproxyTarget;
use crate::clock::Clock;

/// Whose remedy is carried out below.
const CARRIED_OUT: &[FindingCode] = &[
    FindingCode::HostNotAsked,
    FindingCode::HostDataDirNotWritable,
    FindingCode::HostRecoverySignal,
    FindingCode::HostFenceMarker,
    FindingCode::HostScriptOutdated,
    FindingCode::HostScriptNewer,
    FindingCode::HostPgCtlMissing,
    FindingCode::HostPgIsreadyMissing,
    FindingCode::HostPgWaldumpMissing,
    FindingCode::RouteNotReady,
    FindingCode::RouteBackendMissing,
    FindingCode::RouteServerMissing,
    FindingCode::RouteServerHeld,
    FindingCode::RouteWeightFixed,
    // haproxy_lines
    FindingCode::RouteAddressWrong,
    FindingCode::RouteCheckFails,
    FindingCode::RouteLimitLow,
    FindingCode::RouteLineUnnamed,
    FindingCode::RouteToStandby,
    FindingCode::RoutePrimaryOut,
    // verify_remedies, and hostile_logins
    FindingCode::VerifyUnreachable,
    FindingCode::VerifyFull,
    FindingCode::VerifyRefused,
    FindingCode::VerifyForeign,
    FindingCode::VerifyStandby,
    // host_remedies
    FindingCode::HostRootLogin,
    FindingCode::HostCannotSignal,
    FindingCode::HostSegmentHidden,
    FindingCode::HostTimeoutMissing,
    FindingCode::HostDiskNearlyFull,
    // tests/misconfigured.rs
    FindingCode::HostOtherServer,
    // tests/doctor.rs
    FindingCode::VerifyUnidentified,
    FindingCode::VerifyOtherServer,
    // rfc2136, and route53
    FindingCode::NameUnreadable,
    FindingCode::NameElsewhere,
    // pgbouncer
    FindingCode::PoolerSessionMode,
    FindingCode::GateKeeperMissing,
];

#[test]
fn every_finding_of_host_and_route_is_carried_out() {
    let known: BTreeSet<FindingCode> = CARRIED_OUT.iter().copied().collect();
    assert_eq!(known.len(), CARRIED_OUT.len(), "a code stands in the list once");
    for row in FindingCode::TABLE.iter().filter(|row| matches!(row.group, FindingGroup::Host | FindingGroup::Route)) {
        assert!(known.contains(&row.code), "{}: no test carries out its remedy", row.code);
    }
}

/// What is not found on the host, by the script that is sent and by the one that is installed there, whose own line counts: as after an
/// upgrade, the place that is named has nothing any more.
#[test]
fn what_is_said_of_a_program_that_is_missing_on_a_host_ends_it() {
    for wrapper in [false, true] {
        let (server, place) = (Server::start(), folder());
        // Where the programs of this version would be there is nothing.
        server.place("PG_VERSION", "99\n");
        let script = place.path().join("failover-host");
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/failover-host"), &script).unwrap();
        let installed = |bin_dir: &str| {
            let command = format!("{} --data-dir {} --bin-dir {bin_dir}", script.display(), server.data().display());
            if wrapper { format!("command=\"{command}\",restrict") } else { String::new() }
        };
        let sshd = Sshd::start(&installed("/nowhere"));
        let bin_dir = server.params().bin_dir.expect("the programs have a place");
        let control = |bin_dir: &str| {
            let params = HostParams { bin_dir: Some(bin_dir.to_owned()), wrapper, ..server.params() };
            HostControl::new(sshd.host(), params, Clock::start())
        };
        let words =
            if wrapper { "write --bin-dir and what pg_config --bindir says" } else { "set bin_dir to what pg_config --bindir" };
        let missing = [FindingCode::HostPgCtlMissing, FindingCode::HostPgIsreadyMissing, FindingCode::HostPgWaldumpMissing];
        for code in missing {
            host_shows(&control("/nowhere"), code, words);
        }
        if wrapper {
            assert!(of_host(&control(&bin_dir), FindingCode::HostPgCtlMissing).is_some(), "its own line counts");
            let keys = fs::read_to_string(sshd.path("authorized_keys")).unwrap();
            let changed = keys.replace("--bin-dir /nowhere", &format!("--bin-dir {bin_dir}"));
            assert_ne!(keys, changed);
            fs::write(sshd.path("authorized_keys"), changed).unwrap();
        }
        for code in missing {
            assert_eq!(of_host(&control(&bin_dir), code), None);
        }
    }
}

#[test]
fn what_is_said_of_another_version_of_failover_host_ends_it() {
    let (server, place) = (Server::start(), folder());
    let script = place.path().join("failover-host");
    let own = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/failover-host")).unwrap();
    let install = |text: &str| {
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    };
    install(&own);
    let sshd = Sshd::start(&format!("command=\"{} --data-dir {}\",restrict", script.display(), server.data().display()));
    let control = || HostControl::new(sshd.host(), HostParams { wrapper: true, ..server.params() }, Clock::start());
    let version = own.lines().find(|line| line.starts_with("own_version=")).unwrap();
    for (other, code) in [("own_version=1", FindingCode::HostScriptOutdated), ("own_version=99", FindingCode::HostScriptNewer)] {
        install(&own.replace(version, other));
        host_shows(&control(), code, "install the failover-host of this");
        install(&own);
        assert_eq!(of_host(&control(), code), None);
    }
}

/// A HAProxy of its own, and what of its file a remedy changes.
struct Balancer {
    haproxy: Haproxy,
    target: HaproxyTarget,
}

impl Balancer {
    fn start(servers: &[String]) -> Balancer {
        Balancer::with(servers, "")
    }

    fn with(servers: &[String], more: &str) -> Balancer {
        let haproxy = Haproxy::start_with(|haproxy| haproxy.config(servers) + more);
        let target = haproxy.unix("one");
        Balancer { haproxy, target }
    }

    fn finding(&self, code: FindingCode) -> Option<ReadinessFinding> {
        found(&route(vec![self.target.clone()])).into_iter().find(|finding| finding.code == code)
    }

    fn shown(&self, code: FindingCode) -> String {
        let shown = self.finding(code).unwrap_or_else(|| panic!("{code} is not shown"));
        println!("{code}: {} | {}", shown.message, shown.remedy);
        shown.remedy
    }

    fn gone(&self, code: FindingCode) {
        assert_eq!(self.finding(code), None);
    }

    /// What a person types on the admin socket.
    fn say(&self, command: &str) {
        let mut socket = UnixStream::connect(self.haproxy.path("admin.sock")).unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.trim(), "", "{command}");
    }

    /// The command that a remedy has behind "on the admin socket of one:".
    fn obey(&self, remedy: &str) {
        let command = remedy.strip_prefix("on the admin socket of one: ").unwrap_or_else(|| panic!("no command: {remedy}"));
        self.say(command.split(';').next().unwrap());
    }

    /// At the end of the line of a server, and it reads that.
    fn append(&mut self, server: &str, word: &str) {
        let text = fs::read_to_string(self.haproxy.path("haproxy.cfg")).unwrap();
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("server {server} "))).unwrap().to_owned();
        self.rewrite(&line, &format!("{line}{word}"));
    }

    /// The line of its file that begins so becomes another one, and it reads that.
    fn rewrite(&mut self, from: &str, to: &str) {
        let file = self.haproxy.path("haproxy.cfg");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        self.haproxy.restart();
    }
}

fn lines(first: &str, second: &str) -> Vec<String> {
    let [alpha, beta] = [Backend::start("alpha"), Backend::start("beta")];
    vec![format!("db1 127.0.0.1:{}{first}", alpha.port), format!("db2 127.0.0.1:{}{second}", beta.port)]
}

#[test]
fn what_is_said_of_a_server_that_takes_sessions_or_none_ends_it() {
    let mut balancer = Balancer::start(&lines("", ""));
    let remedy = balancer.shown(FindingCode::RouteToStandby);
    balancer.obey(&remedy);
    balancer.gone(FindingCode::RouteToStandby);
    // "and write `disabled` on its server line, so that a restart keeps it out"
    assert!(remedy.contains("write `disabled` on its server line"), "{remedy}");
    balancer.haproxy.restart();
    assert!(balancer.finding(FindingCode::RouteToStandby).is_some(), "the half of it lasts until a restart");
    balancer.append("db2", " disabled");
    balancer.gone(FindingCode::RouteToStandby);

    for broken in ["set server pg/db1 state maint", "set server pg/db1 state drain", "set server pg/db1 weight 0"] {
        balancer.say(broken);
        let remedy = balancer.shown(FindingCode::RoutePrimaryOut);
        balancer.obey(&remedy);
        balancer.gone(FindingCode::RoutePrimaryOut);
    }

    let mut balancer = Balancer::start(&lines(" backup", ""));
    let remedy = balancer.shown(FindingCode::RoutePrimaryOut);
    assert_eq!(remedy, "take `backup` off the line of pg/db1");
    balancer.rewrite(" backup", "");
    balancer.gone(FindingCode::RoutePrimaryOut);
}

#[test]
fn what_is_said_of_a_server_that_no_traffic_can_be_moved_to_ends_it() {
    let other = Backend::start("other");
    let more = format!("backend other\n  server x 127.0.0.1:{} check disabled\n", other.port);
    let balancer = Balancer::with(&lines("", " track other/x"), &more);
    let remedy = balancer.shown(FindingCode::RouteServerHeld);
    balancer.obey(&remedy);
    balancer.gone(FindingCode::RouteServerHeld);
    // The other way that is named.
    let mut balancer = Balancer::with(&lines("", " track other/x"), &more);
    assert!(balancer.shown(FindingCode::RouteServerHeld).contains("take `track` off the server line"));
    balancer.rewrite(" track other/x", " disabled");
    balancer.gone(FindingCode::RouteServerHeld);

    let mut balancer = Balancer::start(&lines("", " weight 0 disabled"));
    balancer.rewrite("\nbackend pg\n", "\nbackend pg\n  balance source\n");
    let remedy = balancer.shown(FindingCode::RouteWeightFixed);
    assert_eq!(remedy, "write a weight of at least 1 on the line of pg/db2, and keep it out by `disabled`");
    balancer.rewrite(" weight 0 disabled", " weight 1 disabled");
    balancer.gone(FindingCode::RouteWeightFixed);

    let mut balancer = Balancer::start(&lines("", " disabled"));
    balancer.target.servers.insert("gamma".to_owned(), "db3".to_owned());
    let remedy = balancer.shown(FindingCode::RouteServerMissing);
    assert!(remedy.starts_with("add the server to backend pg of one"), "{remedy}");
    balancer.rewrite("  server db2 ", "  server db3 127.0.0.1:1 disabled\n  server db2 ");
    balancer.gone(FindingCode::RouteServerMissing);

    let mut balancer = Balancer::start(&lines("", " disabled"));
    balancer.target.backend = "orders".to_owned();
    println!("{}", balancer.shown(FindingCode::RouteBackendMissing));
    balancer.target.backend = "pg".to_owned();
    balancer.gone(FindingCode::RouteBackendMissing);
}

#[test]
fn what_is_said_of_an_instance_that_cannot_be_asked_ends_it() {
    let mut balancer = Balancer::start(&lines("", " disabled"));
    balancer.haproxy.kill();
    let remedy = balancer.shown(FindingCode::RouteNotReady);
    assert!(remedy.contains("start"), "{remedy}");
    balancer.haproxy.launch();
    assert!(balancer.haproxy.wait_until_up());
    balancer.gone(FindingCode::RouteNotReady);

    balancer.rewrite("admin.sock mode 666 level admin", "admin.sock mode 666 level operator");
    let remedy = balancer.shown(FindingCode::RouteNotReady);
    assert!(remedy.contains("level admin"), "{remedy}");
    balancer.rewrite("admin.sock mode 666 level operator", "admin.sock mode 666 level admin");
    balancer.gone(FindingCode::RouteNotReady);
}

fn of_host(control: &HostControl, code: FindingCode) -> Option<ReadinessFinding> {
    control.readiness(far(), &never()).unwrap().findings.into_iter().find(|finding| finding.code == code)
}

fn host_shows(control: &HostControl, code: FindingCode, words: &str) {
    let shown = of_host(control, code).unwrap_or_else(|| panic!("{code} is not shown"));
    println!("{code}: {} | {}", shown.message, shown.remedy);
    assert!(shown.remedy.contains(words), "{shown:?}");
}

#[test]
fn what_is_said_of_a_host_ends_it() {
    let sshd = Sshd::start("");
    let server = Server::start();
    let control = server.control(&sshd.host());

    let signal = server.place("recovery.signal", "");
    host_shows(&control, FindingCode::HostRecoverySignal, "a standby needs standby.signal instead");
    fs::rename(&signal, server.data().join("standby.signal")).unwrap();
    assert_eq!(of_host(&control, FindingCode::HostRecoverySignal), None);

    let marker = server.place("failover.fenced", "");
    host_shows(&control, FindingCode::HostFenceMarker, "remove that file (and keep standby.signal)");
    fs::remove_file(marker).unwrap();
    assert_eq!(of_host(&control, FindingCode::HostFenceMarker), None);
    fs::remove_file(server.data().join("standby.signal")).unwrap();

    let mode = |mode| fs::set_permissions(server.data(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    host_shows(&control, FindingCode::HostDataDirNotWritable, "log in as the owner of the data directory");
    mode(0o700);
    assert_eq!(of_host(&control, FindingCode::HostDataDirNotWritable), None);

    // The command of the remedy, as it stands.
    fs::write(sshd.path("known_hosts"), "").unwrap();
    let stranger = server.control(&host(sshd.target()));
    let failure = stranger.readiness(far(), &never()).unwrap_err();
    println!("{}: {} | {}", FindingCode::HostNotAsked, failure.message, failure.remedy);
    let command = failure.remedy.split(", after comparing").next().unwrap();
    assert!(command.starts_with("ssh-keyscan "), "{failure:?}");
    assert!(Command::new("sh").arg("-c").arg(command).status().unwrap().success(), "{command}");
    stranger.readiness(far(), &never()).unwrap();
}
