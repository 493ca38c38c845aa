//! What values must be together, once each of them alone is right.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::check::{Check, Probe};
use super::duration::written;
use super::load::{Load, MOST_WORKERS};
use super::model::{Dns, DnsProvider, DnsType, PromoteMethod, Root, Server, Service, Timing};
use super::node::quoted;
use super::problem::Pointer;
use super::setting::Reader;
use super::unknown::nearest;
use failover_core::model::{OnLoss, OnSalvage, OnSynchronous, Policy, Role, ServiceKind};
use failover_core::sample::FenceLevel;

/// `sockaddr_un.sun_path`, less its final zero.
const LONGEST_SOCKET: usize = 107;

/// Looks at everything that concerns more than one value.
pub(super) fn validate(root: &Root, reader: &mut Reader<'_>) {
    let at = Pointer::root();
    if let Some(socket) = &root.control_socket {
        let place = [at.key("control_socket"), at.key("state_dir")];
        socket_length(socket, &place, reader);
    }
    let services = at.key("services");
    unique(root.services.iter().map(|service| service.name.as_str()), &services, "name", "service", reader);
    for (index, service) in root.services.iter().enumerate() {
        validate_service(service, &services.index(index), reader);
    }
    super::dependencies::validate(root, &services, reader);
    super::notify::validate(root, reader);
    capacity(root, reader);
}

/// Secrets in a file that everybody may read.
pub(super) fn literals_in_file(mode: u32, reader: &mut Reader<'_>) {
    if mode & 0o004 == 0 {
        return;
    }
    for (path, place) in std::mem::take(&mut reader.literals) {
        reader.warning(super::Problem {
            path,
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            value: Some(super::secret_source::MASK.to_owned()),
            reason: format!("everybody on this machine can read this secret (the file's mode is {mode:04o})"),
            remedy: "chmod 600 the file, or write { env = \"NAME\" } or { file = \"/path\" }".to_owned(),
        });
    }
}

fn validate_service(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let servers = at.key("servers");
    unique(service.servers.iter().map(|server| server.name.as_str()), &servers, "name", "server", reader);
    for (index, server) in service.servers.iter().enumerate() {
        let at = servers.index(index);
        same_address(service, index, &servers, reader);
        connection(server, &at, reader);
        ssh(server, &at, reader);
    }
    checks(service, at, reader);
    match service.kind {
        ServiceKind::Postgres => {
            roles(service, at, reader);
            times(service, at, reader);
            promotion(service, at, reader);
            loss(service, at, reader);
            fence(service, at, reader);
            route(service, at, reader);
            only_of_applications(at, reader);
        }
        ServiceKind::Application => application(service, at, reader),
    }
    names(service, at, reader);
    let pre_checks = at.key("pre_checks");
    unique(service.pre_checks.iter().map(|check| check.name.as_str()), &pre_checks, "name", "pre-check", reader);
}

/// Names of one kind are there once.
fn unique<'n>(names: impl Iterator<Item = &'n str>, list: &Pointer, key: &str, what: &str, reader: &mut Reader<'_>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, name) in names.enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(first) = seen.get(name) {
            let reason = format!("another {what} is called \"{name}\" ({})", list.index(*first).text());
            reader.contradiction(&[list.index(index).key(key)], reason, "choose another name");
        } else {
            seen.insert(name, index);
        }
    }
}

fn same_address(service: &Service, index: usize, servers: &Pointer, reader: &mut Reader<'_>) {
    let server = &service.servers[index];
    let earlier = &service.servers[..index];
    let at = servers.index(index);
    let neighbour = |same: &dyn Fn(&Server) -> bool| {
        earlier.iter().position(|other| !server.host.is_empty() && other.host == server.host && same(other))
    };
    if let Some(other) = neighbour(&|other| other.port == server.port) {
        let reason = format!("server \"{}\" has the same host and port", earlier[other].name);
        let places = [at.key("host"), at.key("port"), servers.index(other).key("port")];
        reader.contradiction(&places, reason, "write the address of the other server; two on one host differ by their port");
    }
    if let Some(other) = neighbour(&|other| server.data_dir.is_some() && other.data_dir == server.data_dir) {
        let reason = format!("server \"{}\" on the same host has the same data directory", earlier[other].name);
        reader.contradiction(&[at.key("data_dir")], reason, "write the data directory of this server");
    }
    let one_key = |other: &Server| match (&server.ssh, &other.ssh) {
        (Some(own), Some(theirs)) => {
            let login = |ssh: &super::model::Ssh| (ssh.host.clone(), ssh.port, ssh.user.clone(), ssh.keys.clone());
            own.wrapper && theirs.wrapper && login(own) == login(theirs)
        }
        _ => false,
    };
    if let Some(other) = neighbour(&one_key) {
        let reason = format!(
            "server \"{}\" is on the same host, and the forced command of one SSH key is pinned to one data directory",
            earlier[other].name
        );
        let remedy = "give each its own key (servers.ssh.keys) with its own --data-dir in authorized_keys; or wrapper = false, and data_dir for each";
        reader.contradiction(&[at.key("ssh").key("wrapper"), at.key("ssh").key("keys")], reason, remedy);
    }
    let namesake = |other: &Server| server.replication_name.is_some() && other.replication_name == server.replication_name;
    if let Some(other) = earlier.iter().position(namesake) {
        let reason = format!("server \"{}\" has the same replication name", earlier[other].name);
        let places = [at.key("replication_name"), servers.index(other).key("replication_name")];
        reader.contradiction(&places, reason, "give each standby its own application_name");
    }
}

fn connection(server: &Server, at: &Pointer, reader: &mut Reader<'_>) {
    let connection = at.key("connection");
    let (cert, key) = (connection.key("sslcert"), connection.key("sslkey"));
    match (&server.connection.sslcert, &server.connection.sslkey) {
        (Some(_), None) => reader.contradiction(&[cert, key], "a certificate needs its key", "add sslkey"),
        (None, Some(_)) => reader.contradiction(&[key, cert], "a key needs its certificate", "add sslcert"),
        _ => {}
    }
    if server.host.starts_with('/') {
        let socket = Path::new(&server.host).join(format!(".s.PGSQL.{}", server.port));
        socket_length(&socket, &[at.key("host")], reader);
    }
}

fn ssh(server: &Server, at: &Pointer, reader: &mut Reader<'_>) {
    if server.data_dir.as_deref().is_some_and(|dir| dir.trim_end_matches('/').is_empty()) {
        reader.contradiction(&[at.key("data_dir")], "this is no data directory", "write the directory that holds PG_VERSION");
    }
    let Some(ssh) = &server.ssh else { return };
    let place = at.key("ssh");
    // With the wrapper the data directory is pinned on the host, out of the engine's reach.
    if server.data_dir.is_none() && !ssh.wrapper && reader.sound(&place) {
        let reason =
            "the data directory is needed where SSH is used without the wrapper: the fence finds the server's processes by it";
        reader.contradiction(&[at.key("data_dir")], reason, "add data_dir, or wrapper = true, or ssh = false");
    }
    if ssh.host.is_none() {
        let reason = "the server's host is a folder of a UNIX socket, so SSH needs a host of its own";
        reader.contradiction(&[place.key("host"), at.key("host")], reason, "add ssh.host, or ssh = false");
    }
    if ssh.host.as_deref().is_some_and(|host| host.starts_with('/')) {
        reader.contradiction(&[place.key("host")], "SSH does not go over a UNIX socket", "write a name or an address");
    }
    if ssh.keys.is_empty() && ssh.password.is_none() && !ssh.agent {
        let places = [place.key("keys"), place.key("password"), place.key("agent")];
        let remedy = "add keys = [\"/path\"], password, or agent = true";
        if places.iter().all(|at| reader.sound(at)) {
            reader.contradiction(std::slice::from_ref(&place), "there is no way to log in over SSH", remedy);
        }
    }
    if ssh.passphrase.is_some() && ssh.keys.is_empty() {
        reader.caution(
            &[place.key("passphrase"), place.key("keys")],
            "a passphrase without keys is never used",
            "add keys, or remove it",
        );
    }
}

fn checks(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let (list, servers) = (at.key("checks"), at.key("servers"));
    unique(service.checks.iter().map(|check| check.name.as_str()), &list, "name", "check", reader);
    let names = || service.servers.iter().map(|server| server.name.as_str());
    for (index, check) in service.checks.iter().enumerate() {
        let at = list.index(index);
        timing(&check.timing, &at, reader);
        if !check.server.is_empty() && service.server(&check.server).is_none() {
            unknown_server(&at.key("server"), &check.server, names(), reader);
            continue;
        }
        if let Probe::Tcp(probe) = &check.probe {
            if probe.host.is_none() && reader.sound(&at.key("server")) && !check.server.is_empty() {
                let reason = "the server's host is a folder of a UNIX socket, so this check needs a host of its own";
                reader.contradiction(&[at.key("host")], reason, "add host");
            }
            let server = service.server(&check.server).map(|(place, _)| place);
            if let (false, Some(server)) = (service.kind.holds_data(), server)
                && !reader.written(&at.key("port"))
                && !reader.written(&servers.index(server).key("port"))
            {
                reader.contradiction(&[at.key("port")], "nothing says which port to connect to", "add port");
            }
        }
    }
    if service.kind.holds_data() {
        for (index, server) in service.servers.iter().enumerate() {
            timing(&server.check.timing, &at.key("servers").index(index).key("check"), reader);
        }
    }
    if let Policy::Quorum(quorum) = service.trigger.policy {
        let checks = service.all_checks();
        for server in &service.servers {
            let count = checks.iter().filter(|check| check.server == server.name).count();
            if usize::try_from(quorum).is_ok_and(|quorum| quorum > count) && reader.sound(&list) {
                let noun = if count == 1 { "check" } else { "checks" };
                let reason = format!("server \"{}\" has only {count} {noun}, so this quorum is never reached", server.name);
                reader.contradiction(&[at.key("trigger").key("policy")], reason, "lower the quorum, or add checks");
                break;
            }
        }
    }
}

fn unknown_server<'n>(at: &Pointer, name: &str, names: impl Iterator<Item = &'n str> + Clone, reader: &mut Reader<'_>) {
    let remedy = match nearest(name, names.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("use one of: {}", names.collect::<Vec<_>>().join(", ")),
    };
    reader.contradiction(std::slice::from_ref(at), format!("the service has no server {}", quoted(name)), remedy);
}

fn timing(timing: &Timing, at: &Pointer, reader: &mut Reader<'_>) {
    if timing.fast_interval >= timing.interval {
        let (fast, slow) = (written(timing.fast_interval), written(timing.interval));
        let reason = format!("fast_interval ({fast}) is not shorter than interval ({slow})");
        reader.contradiction(&[at.key("fast_interval"), at.key("interval")], reason, "make it shorter");
    }
    if timing.timeout == Duration::from_secs(1) {
        let reason = "with a timeout of exactly 1 s every connection whose first packet is lost counts as failed: that is when it is \
                      sent again";
        reader.caution(&[at.key("timeout")], reason, "write \"1.5s\" or \"900ms\"");
    }
}

fn roles(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let list = at.key("servers");
    if !(0..service.servers.len()).all(|index| reader.sound(&list.index(index).key("role"))) || service.servers.is_empty() {
        return;
    }
    let of = |role: Role| service.servers.iter().enumerate().filter(move |(_, server)| server.role == role);
    let primaries: Vec<usize> = of(Role::Primary).map(|(index, _)| index).collect();
    match primaries[..] {
        [] => {
            reader.contradiction(
                std::slice::from_ref(&list),
                "no server has the role of the primary",
                "give one server role = \"primary\"",
            );
        }
        [_] => {}
        [first, second, ..] => {
            let reason = format!("server \"{}\" is the primary already", service.servers[first].name);
            reader.contradiction(&[list.index(second).key("role")], reason, "leave one server role = \"primary\"");
        }
    }
    if of(Role::Standby).next().is_none() && primaries.len() < 2 {
        reader.contradiction(std::slice::from_ref(&list), "there is no standby", "add a server with role = \"standby\"");
    } else if of(Role::Standby).all(|(_, server)| !server.candidate) && primaries.len() == 1 {
        reader.caution(&[list], "no standby may be promoted", "give one standby candidate = true");
    }
}

fn times(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let trigger = at.key("trigger");
    let hang_after = service.trigger.hang_after;
    let own = |(index, server): (usize, &Server)| (at.key("servers").index(index).key("check"), server.check.timing.timeout);
    let further = |(index, check): (usize, &Check)| match check.probe {
        Probe::Postgres(_) => Some((at.key("checks").index(index), check.timing.timeout)),
        _ => None,
    };
    let probes = service.servers.iter().enumerate().map(own).chain(service.checks.iter().enumerate().filter_map(further));
    for (place, timeout) in probes {
        if timeout >= hang_after {
            let reason = format!("timeout ({}) is not shorter than hang_after ({})", written(timeout), written(hang_after));
            let remedy = "shorten the timeout or lengthen trigger.hang_after, so that several probes fall into it";
            reader.contradiction(&[place.key("timeout"), trigger.key("hang_after")], reason, remedy);
        }
    }
    let ping = service.trigger.ping_interval;
    if ping >= hang_after / 4 {
        let reason =
            format!("ping_interval ({}) is not shorter than a quarter of hang_after ({})", written(ping), written(hang_after));
        let remedy = "shorten it: silence must be told from one lost answer";
        reader.contradiction(&[trigger.key("ping_interval"), trigger.key("hang_after")], reason, remedy);
    }
    let steps = service.fence.timeout + service.promote.timeout;
    if steps >= service.trigger.failover_timeout {
        let reason = format!(
            "fence.timeout ({}) and promote.timeout ({}) together leave nothing of failover_timeout ({})",
            written(service.fence.timeout),
            written(service.promote.timeout),
            written(service.trigger.failover_timeout)
        );
        let places = [trigger.key("failover_timeout"), at.key("promote").key("timeout"), at.key("fence").key("timeout")];
        reader.contradiction(&places, reason, "lengthen failover_timeout, or shorten the others");
    }
    let slowest = service.servers.iter().map(|server| server.check.timing.timeout).max().unwrap_or_default();
    let needed = slowest.saturating_mul(service.trigger.failure_threshold);
    if needed > service.trigger.failure_window {
        let reason = format!(
            "{} failures by timeout ({} each) do not fit into failure_window ({})",
            service.trigger.failure_threshold,
            written(slowest),
            written(service.trigger.failure_window)
        );
        let places = [trigger.key("failure_window"), trigger.key("failure_threshold")];
        reader.caution(&places, reason, "lengthen the window, or lower the threshold");
    }
}

fn loss(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let data = at.key("data");
    if service.data.salvage == OnSalvage::Require && service.data.on_loss == OnLoss::Proceed {
        let reason = "on_loss = \"proceed\" promotes with any loss, and salvage = \"require\" with none";
        reader.contradiction(
            &[data.key("salvage"), data.key("on_loss")],
            reason,
            "write salvage = \"auto\", or on_loss = \"refuse\"",
        );
    }
    let standbys = service.servers.iter().filter(|server| server.candidate).count().saturating_sub(1);
    if service.data.synchronous == OnSynchronous::Maintain
        && usize::try_from(service.data.synchronous_count).unwrap_or(usize::MAX) > standbys
    {
        let count = service.data.synchronous_count;
        let reason = format!("commits would wait for {count} standbys, and {standbys} can be promoted (candidate)");
        reader.contradiction(&[data.key("synchronous_count")], reason, "lower synchronous_count, or add a standby");
    }
}

fn promotion(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let promote = at.key("promote");
    match service.promote.method {
        PromoteMethod::PgCtl => {
            for (index, server) in service.servers.iter().enumerate() {
                let ssh = at.key("servers").index(index).key("ssh");
                if server.candidate && server.ssh.is_none() && reader.sound(&ssh) {
                    let reason = format!("pg_ctl runs over SSH, and server \"{}\" has none", server.name);
                    reader.contradiction(&[promote.key("method")], reason, "add ssh, or write method = \"pg_promote\"");
                }
            }
        }
        PromoteMethod::Command if service.promote.command.is_empty() => {
            let places = [promote.key("command"), promote.key("method")];
            reader.contradiction(&places, "there is no command to promote with", "add promote.command");
        }
        PromoteMethod::PgPromote | PromoteMethod::Command => {}
    }
    if service.promote.method != PromoteMethod::Command && !service.promote.command.is_empty() {
        let places = [promote.key("command"), promote.key("method")];
        reader.caution(&places, "this command is not used", "write method = \"command\", or remove it");
    }
}

fn fence(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let place = at.key("fence");
    let fence = &service.fence;
    let by_command = !fence.command.is_empty();
    if by_command && fence.command_timeout > fence.timeout {
        let reason = format!(
            "command_timeout ({}) is longer than the timeout of the whole fence ({})",
            written(fence.command_timeout),
            written(fence.timeout)
        );
        reader.contradiction(
            &[place.key("command_timeout"), place.key("timeout")],
            reason,
            "shorten it, or lengthen fence.timeout",
        );
    }
    let require = [place.key("require")];
    let routed = !service.route.haproxy.is_empty();
    match fence.require {
        FenceLevel::None => {
            let reason = "without a fence the old primary may go on taking writes beside the new one";
            reader.caution(&require, reason, "write require = 3");
        }
        FenceLevel::TrafficRemoved if !routed && !by_command => {
            reader.caution(
                &require,
                "level 1 cannot be reached: there is no managed route",
                "add route.haproxy or fence.command",
            );
        }
        FenceLevel::ProvenStopped if !by_command => {
            for (index, server) in service.servers.iter().enumerate().filter(|(_, server)| server.ssh.is_none()) {
                let level = fence.require.number();
                let reason = format!(
                    "level {level} cannot be proven of server \"{}\": it has no ssh, and there is no command",
                    server.name
                );
                let remedy = "add ssh or fence.command; until then, or without a step `fence` of the program that embeds the engine, its death ends in manual_intervention";
                let ssh = at.key("servers").index(index).key("ssh");
                reader.caution(&[place.key("require"), ssh], reason, remedy);
            }
        }
        FenceLevel::PowerOff if !by_command => {
            let remedy = "add fence.command; until then, or without a step `fence` of the program that embeds the engine, every death ends in manual_intervention";
            reader.caution(&require, "level 4 cannot be reached without a command", remedy);
        }
        _ => {}
    }
}

fn route(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let place = at.key("route");
    let list = place.key("haproxy");
    if service.route.weight_ramp.is_some() && service.route.haproxy.is_empty() {
        let reason = "only the weight of a server in HAProxy can grow, and there is none";
        reader.contradiction(&[place.key("weight_ramp"), list.clone()], reason, "add route.haproxy, or remove weight_ramp");
    }
    if service.route.exclusive && service.route.haproxy.is_empty() {
        let reason = "no route is managed, so it cannot be the only one";
        reader.contradiction(&[place.key("exclusive"), list.clone()], reason, "add route.haproxy, or remove exclusive");
    }
    unique(service.route.haproxy.iter().map(|haproxy| haproxy.name.as_str()), &list, "name", "HAProxy instance", reader);
    for (index, haproxy) in service.route.haproxy.iter().enumerate() {
        let at = list.index(index);
        let (socket, address) = (at.key("socket"), at.key("address"));
        match (&haproxy.socket, &haproxy.address) {
            (Some(_), Some(_)) => {
                reader.contradiction(&[address, socket], "an instance has one admin socket", "remove socket or address");
            }
            (None, None) if reader.sound(&socket) && reader.sound(&address) => {
                reader.contradiction(
                    std::slice::from_ref(&at),
                    "nothing says where its admin socket is",
                    "add socket = \"/path\" or address = \"host:port\"",
                );
            }
            (Some(path), None) => socket_length(path, &[socket], reader),
            _ => {}
        }
        let twin = service.route.haproxy[..index].iter().find(|other| {
            (other.socket.is_some(), other.address.is_some()) != (false, false)
                && (&other.socket, &other.address, &other.backend) == (&haproxy.socket, &haproxy.address, &haproxy.backend)
        });
        if let Some(twin) = twin {
            let reason = format!("instance \"{}\" is the same backend of the same process", twin.name);
            reader.contradiction(std::slice::from_ref(&at), reason, "remove one of them, or correct its socket");
        }
        let map = at.key("servers");
        let mut used: BTreeMap<&str, &str> = BTreeMap::new();
        for (ours, theirs) in &haproxy.servers {
            let at = map.key(ours);
            if service.server(ours).is_none() {
                unknown_server(&at, ours, service.servers.iter().map(|server| server.name.as_str()), reader);
            }
            if let Some(other) = used.insert(theirs, ours).filter(|_| !theirs.is_empty()) {
                let reason = format!("{} in HAProxy already stands for our server {}", quoted(theirs), quoted(other));
                reader.contradiction(&[at, map.clone()], reason, "write the name of this server in the backend");
            }
        }
    }
    let commands = place.key("command");
    unique(service.route.command.iter().map(|command| command.name.as_str()), &commands, "name", "route command", reader);
    // Rule 30: what a command moves is routing, and proves nothing about who still gets through.
    if !service.route.command.is_empty() && service.route.exclusive {
        let reason = "a command moves traffic and proves nothing, so it cannot be a part of the only way in";
        reader.contradiction(&[place.key("exclusive"), commands.clone()], reason, "remove exclusive, or the commands");
    }
    if !service.route.command.is_empty() && service.fence.require == FenceLevel::TrafficRemoved {
        let reason = "level 1 is proven by HAProxy alone: a command moves traffic and proves nothing";
        let places = [at.key("fence").key("require"), commands];
        reader.contradiction(&places, reason, "write require = 3, or remove the commands");
    }
    poolers(service, at, reader);
    let moved = !service.route.is_empty();
    if moved && service.route.verify.is_empty() {
        let reason = "without an address of the route nobody can verify that the traffic arrives";
        if service.route.verify_command.is_empty() {
            reader.caution(&[place.key("verify"), place], reason, "add route.verify = [\"HOST:PORT\"]");
        }
    }
}

/// A PgBouncer holds clients back and proves nothing about who else gets through.
fn poolers(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let place = at.key("route");
    let list = place.key("pgbouncer");
    let all = &service.route.pgbouncer;
    unique(all.iter().map(|pooler| pooler.name.as_str()), &list, "name", "PgBouncer", reader);
    if all.is_empty() {
        return;
    }
    if !service.kind.holds_data() {
        reader.contradiction(&[list], "a PgBouncer stands before databases", "remove it, or write kind = \"postgres\"");
        return;
    }
    if service.route.exclusive {
        let reason = "a PgBouncer pauses and proves nothing, so it cannot be a part of the only way in";
        reader.contradiction(&[place.key("exclusive"), list.clone()], reason, "remove exclusive, or the PgBouncer");
    }
    if service.fence.require == FenceLevel::TrafficRemoved {
        let reason = "level 1 is proven by HAProxy alone: a PgBouncer pauses and proves nothing";
        reader.contradiction(
            &[at.key("fence").key("require"), list.clone()],
            reason,
            "write require = 3, or remove the PgBouncer",
        );
    }
    for (index, pooler) in all.iter().enumerate() {
        let one = list.index(index);
        if pooler.databases.is_empty() && reader.sound(&one.key("databases")) {
            reader.contradiction(&[one.key("databases")], "no database of it is named", "write databases = [\"NAME\"]");
        }
        if pooler.databases.iter().any(|database| matches!(database.as_str(), "*" | "pgbouncer")) {
            let reason = "this is no database of its own in PgBouncer";
            reader.contradiction(&[one.key("databases")], reason, "name each database, with a line of its own in the file");
        }
        for ours in pooler.servers.keys().filter(|ours| service.server(ours).is_none()) {
            unknown_server(
                &one.key("servers").key(ours),
                ours,
                service.servers.iter().map(|server| server.name.as_str()),
                reader,
            );
        }
        let twin = all[..index].iter().find(|other| {
            (&other.host, other.port) == (&pooler.host, pooler.port)
                && other.databases.iter().any(|database| pooler.databases.contains(database))
        });
        if let Some(twin) = twin {
            let reason = format!("\"{}\" moves the same database of the same PgBouncer", twin.name);
            reader.contradiction(std::slice::from_ref(&one), reason, "remove one of them, or correct its port");
        }
    }
}

/// What says how an application shows who answers has no meaning where the server is asked by SQL.
fn only_of_applications(at: &Pointer, reader: &mut Reader<'_>) {
    for key in ["identity", "verify_command", "verify_timeout"] {
        let place = at.key("route").key(key);
        if reader.written(&place) {
            reader.caution(&[place], "this has no effect: a database is asked by SQL who it is", "remove it");
        }
    }
}

/// An application: every server is watched; with a route it is failed over, without one it is watched only.
fn application(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let list = at.key("checks");
    for (index, server) in service.servers.iter().enumerate() {
        if !server.name.is_empty() && service.checks.iter().all(|check| check.server != server.name) && reader.sound(&list) {
            let reason = format!("nothing watches server \"{}\": an application has no implicit check", server.name);
            reader.contradiction(&[at.key("servers").index(index)], reason, "add a check of it");
        }
    }
    for key in ["promote", "data", "fence"] {
        let place = at.key(key);
        if reader.written(&place) {
            let reason = "this has no effect: an application holds no data, so nothing is promoted, lost or fenced";
            reader.caution(&[place], reason, "remove it");
        }
    }
    if service.route.is_empty() && service.dns.is_empty() {
        for key in ["route", "pre_checks"] {
            let place = at.key(key);
            if reader.written(&place) {
                let reason = "this has no effect by itself: without a route an application is watched, not failed over";
                reader.caution(
                    &[place],
                    reason,
                    "add route.haproxy, route.command or dns, or steps of the program that embeds the engine",
                );
            }
        }
        return;
    }
    roles(service, at, reader);
    route(service, at, reader);
    identity(service, at, reader);
    if service.route.exclusive {
        let place = at.key("route").key("exclusive");
        reader.caution(&[place], "this has no effect: an application is not fenced", "remove it");
    }
}

/// Names that follow the primary: each has what its provider needs, and a value for every server.
fn names(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let list = at.key("dns");
    let keys = service.dns.iter().map(|name| name.name.trim_end_matches('.')).collect::<Vec<_>>();
    for (index, name) in service.dns.iter().enumerate() {
        let at = list.index(index);
        let twin = (0..index)
            .find(|other| keys[*other].eq_ignore_ascii_case(keys[index]) && service.dns[*other].record_type == name.record_type);
        if twin.is_some() {
            reader.contradiction(&[at.key("name")], "another entry changes the same record", "remove one of them");
        }
        let needed: &[(&str, bool)] = match name.provider {
            DnsProvider::Route53 => &[("zone_id", name.zone_id.is_some())],
            DnsProvider::Rfc2136 => &[
                ("server", name.server.is_some()),
                ("zone", name.zone.is_some()),
                ("key_name", name.key_name.is_some()),
                ("key_secret", name.key_secret.is_some()),
            ],
        };
        for (key, there) in needed {
            if !there && reader.sound(&at.key(key)) && reader.sound(&at.key("provider")) {
                let reason = format!("this provider needs {key}");
                reader.contradiction(&[at.key(key), at.clone()], reason, format!("add {key}"));
            }
        }
        if name.access_key_id.is_some() != name.secret_access_key.is_some() {
            let places = [at.key("access_key_id"), at.key("secret_access_key")];
            reader.contradiction(&places, "a key has an ID and a secret", "write both, or neither");
        }
        for ours in name.values.keys().filter(|ours| service.server(ours).is_none()) {
            unknown_server(&at.key("values").key(ours), ours, service.servers.iter().map(|server| server.name.as_str()), reader);
        }
        health_checks(service, name, &at, reader);
        for server in service.servers.iter().filter(|server| server.candidate || server.role == Role::Primary) {
            let value = name.values.get(&server.name).unwrap_or(&server.host);
            let fits = match name.record_type {
                DnsType::A => value.parse::<std::net::Ipv4Addr>().is_ok(),
                DnsType::Aaaa => value.parse::<std::net::Ipv6Addr>().is_ok(),
                DnsType::Cname => value.parse::<std::net::IpAddr>().is_err() && !value.starts_with('/'),
            };
            if !fits && !server.name.is_empty() && !server.host.is_empty() {
                let reason =
                    format!("for server \"{}\" it would hold {}, which this type of record cannot", server.name, quoted(value));
                let remedy = format!("add values = {{ {} = \"…\" }}", server.name);
                reader.contradiction(&[at.key("values"), at.clone()], reason, remedy);
            }
        }
    }
    if service.names_are_route() && service.kind.holds_data() && service.fence.require == FenceLevel::TrafficRemoved {
        let reason = "level 1 is proven by HAProxy alone: a name is routing, and clients keep its old address";
        reader.contradiction(&[at.key("fence").key("require"), list], reason, "write require = 3");
    }
}

/// Health checks beside a name: of a provider that has them, of servers that exist, by something that can be an ID.
fn health_checks(service: &Service, name: &Dns, at: &Pointer, reader: &mut Reader<'_>) {
    let place = at.key("health_checks");
    if name.provider != DnsProvider::Route53 && !name.health_checks.is_empty() && reader.sound(&at.key("provider")) {
        reader.contradiction(&[place, at.key("provider")], "only route53 has health checks", "remove them");
        return;
    }
    for (ours, id) in &name.health_checks {
        if service.server(ours).is_none() {
            unknown_server(&place.key(ours), ours, service.servers.iter().map(|server| server.name.as_str()), reader);
        }
        if id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            reader.contradiction(
                &[place.key(ours)],
                "this is no ID of a health check",
                "write its 36 digits, letters and hyphens",
            );
        }
    }
}

/// Whether an answer through the route can show which server gave it.
fn identity(service: &Service, at: &Pointer, reader: &mut Reader<'_>) {
    let route = at.key("route");
    let (place, verify) = (route.key("identity"), route.key("verify"));
    if !service.route.verify.is_empty() && !reader.written(&place) {
        let reason = "nothing says how an answer shows which server gave it, and that somebody answers proves nothing";
        reader.contradiction(
            &[verify, place],
            reason,
            "add [services.route.identity] with path, and header where it is not the body",
        );
        return;
    }
    let identity = &service.route.identity;
    if reader.written(&place) && service.route.verify.is_empty() {
        reader.caution(&[place.clone(), verify], "nobody is asked for this", "add route.verify = [\"HOST:PORT\"]");
    }
    if !identity.path.starts_with('/') {
        reader.contradiction(&[place.key("path")], "a path begins with /", "write \"/health\", for example");
    }
    let values = place.key("values");
    let called = |server: &Server| identity.values.get(&server.name).unwrap_or(&server.name).clone();
    for ours in identity.values.keys().filter(|ours| service.server(ours).is_none()) {
        unknown_server(&values.key(ours), ours, service.servers.iter().map(|server| server.name.as_str()), reader);
    }
    for (one, other) in service.servers.iter().flat_map(|one| service.servers.iter().map(move |other| (one, other))) {
        let (its, others) = (called(one), called(other));
        let mixed_up = if identity.header.is_some() { its == others } else { others.contains(&its) };
        if one.name != other.name && mixed_up && reader.written(&place) {
            let reason = format!(
                "what shows {} ({}) would also be found in an answer of {} ({})",
                quoted(&one.name),
                quoted(&its),
                quoted(&other.name),
                quoted(&others)
            );
            reader.contradiction(&[values, place], reason, "give each server a value that is no part of another's");
            return;
        }
    }
}

fn socket_length(path: &Path, at: &[Pointer], reader: &mut Reader<'_>) {
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET {
        let reason =
            format!("the path of the UNIX socket would be {length} bytes long, and {LONGEST_SOCKET} is the most there can be");
        reader.contradiction(at, reason, "write a shorter path");
    }
}

/// Whether the checks still run on time while a tenth of the servers, at least one, does not answer at all.
fn capacity(root: &Root, reader: &mut Reader<'_>) {
    let load = Load::of(root);
    let (count, hanging) = (load.checks, load.hanging);
    let workers = root.engine.workers.count(&load, MOST_WORKERS);
    let enough = u32::try_from(workers).is_ok_and(|workers| f64::from(workers) >= load.busy);
    if !enough && workers < count && reader.errors.is_empty() {
        let noun = if hanging == 1 { "server" } else { "servers" };
        let reason = format!(
            "with {hanging} hanging {noun} the checks would keep {:.0} workers busy, and there are {workers}",
            load.busy.ceil()
        );
        let at = Pointer::root().key("engine").key("workers");
        reader.caution(
            &[at],
            reason,
            format!("raise workers (at most {count} are of use), or use longer intervals or shorter timeouts"),
        );
    }
}
