//! Standbys that streamed from a former primary stream from the present one: `primary_conninfo` is changed, a slot created where one is
//! used, and the settings are loaded again, which also wakes a receiver that waits.
//!
//! Who is asked to do so looks at what is there first: a standby that streams already, or follows another standby, is left as it is. What
//! was changed stays: the former value leads to a server that is not the primary any more.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::alter_system::{alter_system, reload};
use super::conninfo::{Conninfo, Upstream};
use super::slot::{Holds, Made, create_where_absent};
use super::{Cluster, Place, Server, failure, interrupted, literal, quoted, untouched};
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::postgres::{Endpoint, Error, Rows, Session};
use failover_core::id::ServerId;
use failover_core::output::{Failure, Repointed, Report};
use failover_core::time::Span;

/// Between two looks at a receiver that is to stream.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What was seen last is told, so not all of the time is waited.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// The connection string is hidden without `pg_read_all_settings`. `allow_alter_system` came with PostgreSQL 17.
const STANDBY_SQL: &str = "\
SELECT pg_catalog.pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_id,
       pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') AS reads,
       CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') THEN pg_catalog.current_setting('primary_conninfo') END AS conninfo,
       (SELECT source FROM pg_catalog.pg_settings WHERE name = 'primary_conninfo') AS source,
       pg_catalog.current_setting('primary_slot_name') AS slot,
       pg_catalog.current_setting('allow_alter_system', true) AS alters,
       pg_catalog.has_function_privilege('pg_reload_conf()', 'EXECUTE') AS reloads,
       pg_catalog.current_setting('server_version_num') AS version,
       pg_catalog.current_setting('is_superuser') AS superuser,
       (SELECT rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user) AS replicates,
       current_user AS role";
const RIGHTS_SQL: &str = "\
SELECT pg_catalog.has_parameter_privilege('primary_conninfo', 'ALTER SYSTEM') AS conninfo,
       pg_catalog.has_parameter_privilege('primary_slot_name', 'ALTER SYSTEM') AS slot";
const RECEIVER_SQL: &str = "\
SELECT w.pid IS NOT NULL AS there, w.status AS status, w.received_tli AS timeline, w.sender_host AS host, w.sender_port AS port
  FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_stat_get_wal_receiver() w ON w.pid IS NOT NULL";

/// Whom to point where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub standbys: &'a [ServerId],
    pub primary: ServerId,
    pub system_id: u64,
    pub timeline: u32,
    /// Former primaries.
    pub former: &'a [ServerId],
}

/// Where a connection string leads.
#[derive(Debug, PartialEq, Eq)]
enum Leads {
    ToPrimary,
    ToFormer(String),
    /// To another configured server.
    ToStandby(String),
    /// To none of the configured servers.
    Elsewhere(String),
    Nowhere,
}

/// What a standby said of its way to the primary.
struct Said {
    rows: Rows,
    may_alter: bool,
    may_alter_slot: bool,
}

impl Said {
    fn get(&self, column: &str) -> &str {
        self.rows.get(0, column).unwrap_or_default()
    }

    fn is(&self, column: &str) -> bool {
        self.get(column) == "t"
    }

    fn role(&self) -> String {
        quoted(self.get("role"))
    }

    fn is_grantable(&self) -> bool {
        self.get("version").parse::<u32>().is_ok_and(|version| version >= 150_000)
    }
}

/// The receiver as it shows itself.
struct Receiver {
    streams: Option<u32>,
    words: String,
    hidden: bool,
}

impl Cluster {
    /// Points standbys to the present primary, all at the same time, and waits until each streams on its timeline.
    ///
    /// # Errors
    /// `NoEffect`: the primary cannot be asked, or is not the one that is meant. What came of each standby is in the report.
    pub(crate) fn repoint_standbys(&self, order: Order<'_>, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let primary = self.server(order.primary)?;
        let (session, identity) =
            self.identified(order.primary, primary, deadline, cancel).map_err(|error| untouched(&primary.name, &error))?;
        self.keep(order.primary, session);
        if identity.in_recovery || identity.system_id != order.system_id || identity.timeline != order.timeline {
            return Err(Failure::no_effect(
                format!(
                    "{} is {}, not the primary on timeline {}: no standby was changed",
                    primary.name,
                    identity.describe(),
                    order.timeline
                ),
                "look who takes writes (failover status)",
            ));
        }
        let places = order.standbys.iter().map(|standby| Ok((*standby, self.server(*standby)?)));
        let places = places.collect::<Result<Vec<_>, Failure>>()?;
        let each = std::thread::scope(|scope| {
            let workers: Vec<_> = places
                .into_iter()
                .map(|(standby, place)| {
                    let work = move || self.repoint(standby, place, primary, order, deadline, cancel);
                    (standby, std::thread::Builder::new().name(format!("repoint-{standby}")).spawn_scoped(scope, work))
                })
                .collect();
            let result = |worker: Result<std::thread::ScopedJoinHandle<'_, _>, std::io::Error>| match worker {
                Ok(worker) => worker.join().unwrap_or_else(|_| Err(Failure::unknown("the thread that did it panicked", ""))),
                Err(error) => Err(Failure::no_effect(format!("no thread to do it with: {error}"), "")),
            };
            workers.into_iter().map(|(standby, worker)| (standby, result(worker))).collect()
        });
        Ok(Report::Repointed(each))
    }

    fn repoint(
        &self,
        standby: ServerId,
        place: &Server,
        primary: &Server,
        order: Order<'_>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Repointed, Failure> {
        let name = &place.name;
        let began = Instant::now();
        let mut session = self.reach(standby, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        let said = ask(&mut session, deadline, cancel).map_err(|error| untouched(name, &error))?;
        let receiver = receiver(&mut session, deadline, cancel).map_err(|error| untouched(name, &error))?;
        is_our_standby(name, &said, order.system_id)?;
        if receiver.streams.is_some_and(|timeline| timeline >= order.timeline) {
            return Ok(Repointed { streams: true, changed: false, slot: None, message: receiver.words });
        }
        if receiver.hidden || !said.is("reads") {
            return Err(Failure::refused(
                format!("role {} may not see where {name} streams from; nothing was changed", said.role()),
                format!("GRANT pg_monitor TO {}", said.role()),
            ));
        }
        let conninfo = Conninfo::parse(said.get("conninfo")).map_err(|why| {
            Failure::refused(
                format!("primary_conninfo of {name} cannot be read ({why}); nothing was changed"),
                "write it as the PostgreSQL manual shows it (Connection Strings)",
            )
        })?;
        let leads = self.leads(standby, &conninfo, order);
        let slot = match &leads {
            Leads::ToStandby(other) => {
                let message = format!("{name} follows {other}, and stays with it");
                return Ok(Repointed { streams: false, changed: false, slot: None, message });
            }
            // It lives by its archive, or is not to follow anybody.
            Leads::Nowhere => {
                let message = format!("primary_conninfo of {name} names no host: the engine does not change it");
                return Ok(Repointed { streams: false, changed: false, slot: None, message });
            }
            Leads::Elsewhere(_) => {
                wake(name, &said, &mut session, deadline, cancel)?;
                Slot::default()
            }
            Leads::ToPrimary => {
                let slot = self.slot_of(&said, primary, order.primary, deadline, cancel)?;
                if slot.without.is_some() {
                    return Err(no_slot(name, &said, primary, slot));
                }
                wake(name, &said, &mut session, deadline, cancel)?;
                slot
            }
            Leads::ToFormer(_) => {
                may_be_changed(name, &said, &conninfo)?;
                self.point(name, (order.primary, primary), (&said, &conninfo), &mut session, deadline, cancel)?
            }
        };
        let changed = matches!(leads, Leads::ToFormer(_)) || slot.created.is_some();
        wait_until_it_streams(name, primary, &leads, &mut session, order.timeline, deadline, cancel)?;
        let without = slot.without.map_or_else(String::new, |why| format!("; without a slot: {why}"));
        let from = match leads {
            Leads::ToFormer(former) => format!("pointed away from {former}"),
            _ => "its primary_conninfo was left as it is".to_owned(),
        };
        let message = format!("{from}, it streams on timeline {} after {}{without}", order.timeline, Span::from(began.elapsed()));
        Ok(Repointed { streams: true, changed, slot: slot.created, message })
    }

    /// Where a connection string leads, by the addresses of the configuration.
    fn leads(&self, standby: ServerId, conninfo: &Conninfo, order: Order<'_>) -> Leads {
        let upstreams = conninfo.upstreams();
        let is_any_to = |server: &Server| upstreams.iter().any(|upstream| self.is_to(upstream, server));
        let Some(first) = upstreams.first() else { return Leads::Nowhere };
        let others = || self.servers.iter().filter(|(id, _)| **id != standby);
        if others().any(|(id, server)| *id == order.primary && is_any_to(server)) {
            return Leads::ToPrimary;
        }
        let former = others().find(|(id, server)| order.former.contains(id) && is_any_to(server));
        if let Some((_, former)) = former {
            return Leads::ToFormer(former.name.clone());
        }
        match others().find(|(_, server)| is_any_to(server)) {
            Some((_, other)) => Leads::ToStandby(other.name.clone()),
            None => Leads::Elsewhere(format!("{}:{}", first.host, first.port)),
        }
    }

    /// It is the address of that server: for replication, or for the engine; by name, or by what the names stand for.
    fn is_to(&self, upstream: &Upstream, server: &Server) -> bool {
        let ips = |host: &str, port: u16| match host {
            "localhost" => vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])],
            host => {
                let known = self.addresses.addresses(host, port).unwrap_or_default();
                known.into_iter().map(|address| address.ip()).collect()
            }
        };
        let own = match &server.target.endpoint {
            Endpoint::Tcp { host, port } => Place { host: host.clone(), port: *port },
            Endpoint::Unix { directory, port } => Place { host: directory.display().to_string(), port: *port },
        };
        [&server.replication, &own].into_iter().any(|Place { host, port }| {
            let named = upstream.host.eq_ignore_ascii_case(host);
            let to = upstream.address.as_deref().unwrap_or(&upstream.host);
            *port == upstream.port && (named || ips(host, *port).iter().any(|ip| ips(to, *port).contains(ip)))
        })
    }

    /// Changes the setting, and loads it.
    fn point(
        &self,
        name: &str,
        (server, primary): (ServerId, &Server),
        (said, conninfo): (&Said, &Conninfo),
        session: &mut Session,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Slot, Failure> {
        let slot = self.slot_of(said, primary, server, deadline, cancel)?;
        if slot.without.is_some() {
            if !said.may_alter_slot {
                return Err(no_slot(name, said, primary, slot));
            }
            alter_system(name, ("primary_slot_name", ""), session, deadline, cancel)?;
        }
        let pointed = conninfo.pointed_to(&primary.replication.host, primary.replication.port);
        let changed = alter_system(name, ("primary_conninfo", &pointed.text()), session, deadline, cancel);
        // A slot that was created is an effect.
        changed.map_err(|failed| match &slot.created {
            Some(created) if failed.had_no_effect() => {
                Failure::unknown(format!("{}; {} has the new slot {created}", failed.message, primary.name), failed.remedy)
            }
            _ => failed,
        })?;
        reload(name, session, deadline, cancel)?;
        Ok(slot)
    }

    /// The slot that a standby uses, on its primary.
    fn slot_of(
        &self,
        said: &Said,
        primary: &Server,
        server: ServerId,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Slot, Failure> {
        let slot = said.get("slot");
        if slot.is_empty() {
            return Ok(Slot::default());
        }
        let mut session = self.reach(server, primary, deadline, cancel).map_err(|error| untouched(&primary.name, &error))?;
        let without = |why: String| Slot { created: None, without: Some(why) };
        match create_where_absent(&mut session, slot, Holds::FromNowOn, deadline, cancel) {
            Ok(Made::Created) => Ok(Slot { created: Some(slot.to_owned()), without: None }),
            Ok(Made::WasThere) => Ok(Slot::default()),
            Ok(Made::IsLogical) => Ok(without(format!("{} has a logical slot of this name", primary.name))),
            // A word of the server, as of a missing right, or of no slot left: a standby that streams without one is better than none.
            Err(error) if error.server().is_some() => Ok(without(format!("{}: {error}", primary.name))),
            Err(error) => Err(failure(&primary.name, "a slot for it", &error)),
        }
    }
}

/// The slot of a standby on its new primary.
#[derive(Debug, Default)]
struct Slot {
    /// Its name, where it was created.
    created: Option<String>,
    /// Why there is none, where one was wanted.
    without: Option<String>,
}

fn no_slot(name: &str, said: &Said, primary: &Server, slot: Slot) -> Failure {
    let wanted = said.get("slot");
    Failure::refused(
        format!(
            "{name} uses the slot {wanted}, which {} has not: {}; nothing was changed",
            primary.name,
            slot.without.unwrap_or_default()
        ),
        format!(
            "create it there: SELECT pg_create_physical_replication_slot({}); so that the engine can: ALTER ROLE {} REPLICATION",
            literal(wanted),
            said.role()
        ),
    )
}

fn ask(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<Said, Error> {
    let rows = session.query(STANDBY_SQL, deadline, cancel)?;
    let superuser = rows.get(0, "superuser") == Some("on");
    let mut said = Said { rows, may_alter: superuser, may_alter_slot: superuser };
    // Before PostgreSQL 15 the right cannot be granted, and the function that asks about it does not exist.
    if said.is_grantable() && !superuser {
        let rights = session.query(RIGHTS_SQL, deadline, cancel)?;
        said.may_alter = rights.get(0, "conninfo") == Some("t");
        said.may_alter_slot = rights.get(0, "slot") == Some("t");
    }
    Ok(said)
}

fn receiver(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<Receiver, Error> {
    let rows = session.query(RECEIVER_SQL, deadline, cancel)?;
    let get = |column: &str| rows.get(0, column);
    if get("there") != Some("t") {
        return Ok(Receiver { streams: None, words: "it has no WAL receiver".to_owned(), hidden: false });
    }
    let Some(status) = get("status") else {
        return Ok(Receiver { streams: None, words: "its WAL receiver is hidden".to_owned(), hidden: true });
    };
    let timeline = get("timeline").and_then(|timeline| timeline.parse().ok());
    let place = format!("{}:{}", get("host").unwrap_or_default(), get("port").unwrap_or_default());
    let words = format!("its WAL receiver is {status} from {place} on timeline {}", timeline.unwrap_or_default());
    Ok(Receiver { streams: timeline.filter(|_| status == "streaming"), words, hidden: false })
}

fn is_our_standby(name: &str, said: &Said, system_id: u64) -> Result<(), Failure> {
    // The view shows the unsigned number as a signed one.
    let is_ours = said.get("system_id").parse::<i64>().is_ok_and(|id| id.cast_unsigned() == system_id);
    if said.is("in_recovery") && is_ours {
        return Ok(());
    }
    Err(Failure::no_effect(
        format!("{name} is no standby of this cluster now; nothing was changed"),
        "look at it (failover status)",
    ))
}

/// Everything that stands in the way is found before anything is changed.
fn may_be_changed(name: &str, said: &Said, conninfo: &Conninfo) -> Result<(), Failure> {
    match hindrance(name, said, conninfo) {
        Some((what, remedy)) => Err(Failure::refused(format!("{what}; nothing was changed"), remedy)),
        None => Ok(()),
    }
}

/// What stands in the way of another `primary_conninfo`, and what mends it.
fn hindrance(name: &str, said: &Said, conninfo: &Conninfo) -> Option<(String, String)> {
    let role = said.role();
    if conninfo.has_password() {
        return Some((
            "primary_conninfo holds a password, which would go through SQL and the server's log".to_owned(),
            format!(
                "write the password into a password file of the account that runs {name}, and passfile= in place of password= in primary_conninfo"
            ),
        ));
    }
    if said.get("source") == "command line" {
        return Some((
            "primary_conninfo comes from the server's command line, which ALTER SYSTEM cannot override".to_owned(),
            "move the setting to postgresql.conf".to_owned(),
        ));
    }
    if said.get("alters") == "off" {
        return Some((
            "the server allows no ALTER SYSTEM (allow_alter_system = off)".to_owned(),
            "set allow_alter_system = on; or set primary_conninfo where its configuration is kept, after each failover, and data.followers = \"off\""
                .to_owned(),
        ));
    }
    if !said.is("reloads") {
        return Some((
            format!("role {role} may not call pg_reload_conf"),
            format!("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {role} (on the primary)"),
        ));
    }
    if said.may_alter {
        return None;
    }
    let remedy = if said.is_grantable() {
        format!("GRANT ALTER SYSTEM ON PARAMETER primary_conninfo, primary_slot_name TO {role} (on the primary)")
    } else {
        format!("before PostgreSQL 15 only a superuser may: ALTER ROLE {role} SUPERUSER, or data.followers = \"off\"")
    };
    Some((format!("role {role} may not change primary_conninfo"), remedy))
}

impl Cluster {
    /// Beforehand: why a standby could not be pointed to another primary, and what mends that. Changes nothing.
    pub(super) fn repoint_hindrance(
        &self,
        (standby, primary): (ServerId, ServerId),
        session: &mut Session,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Option<(String, String)>, Error> {
        let said = ask(session, deadline, cancel)?;
        // What is hidden has a finding of its own.
        if !said.is("in_recovery") || !said.is("reads") {
            return Ok(None);
        }
        let name = self.servers.get(&standby).map_or("", |server| server.name.as_str());
        let conninfo = match Conninfo::parse(said.get("conninfo")) {
            Ok(conninfo) => conninfo,
            Err(why) => {
                let remedy = "write it as the PostgreSQL manual shows it (Connection Strings)".to_owned();
                return Ok(Some((format!("primary_conninfo cannot be read ({why})"), remedy)));
            }
        };
        let order = Order { standbys: &[], primary, system_id: 0, timeline: 0, former: &[] };
        Ok(match self.leads(standby, &conninfo, order) {
            // It follows another standby, or nobody.
            Leads::ToStandby(_) | Leads::Nowhere => None,
            Leads::Elsewhere(place) => Some((
                format!("primary_conninfo leads to {place}, which is no server of the configuration"),
                "where that is an address of one of the servers, write it as its replication_host; where it leads to whoever is the primary, \
                 data.followers = \"off\" for this service"
                    .to_owned(),
            )),
            Leads::ToPrimary | Leads::ToFormer(_) => hindrance(name, &said, &conninfo).or_else(|| slot_hindrance(&said)),
        })
    }
}

/// A slot that the engine could not create on the next primary.
fn slot_hindrance(said: &Said) -> Option<(String, String)> {
    let slot = Some(said.get("slot")).filter(|slot| !slot.is_empty())?;
    let may = said.get("superuser") == "on" || said.is("replicates");
    let role = said.role();
    (!may).then(|| {
        (
            format!(
                "it uses the slot {slot}, and role {role} may not create one on another primary: it would follow without a slot"
            ),
            format!("ALTER ROLE {role} REPLICATION (on the primary)"),
        )
    })
}

/// A receiver that waits for its next try makes it at once.
fn wake(name: &str, said: &Said, session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<(), Failure> {
    if !said.is("reloads") {
        return Ok(());
    }
    reload(name, session, deadline, cancel)
}

fn wait_until_it_streams(
    name: &str,
    primary: &Server,
    leads: &Leads,
    session: &mut Session,
    wanted: u32,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let until = deadline.at_most(deadline.remaining().saturating_sub(LAST_WORDS));
    loop {
        let seen = receiver(session, deadline, cancel).map_err(|error| failure(name, "a look at its WAL receiver", &error))?;
        if seen.streams.is_some_and(|timeline| timeline >= wanted) {
            return Ok(());
        }
        if let Err(how) = cancel.pause(LOOK_EVERY, until) {
            return Err(does_not_stream(name, primary, leads, &seen.words, how));
        }
    }
}

fn does_not_stream(name: &str, primary: &Server, leads: &Leads, seen: &str, how: Interrupted) -> Failure {
    let to = &primary.name;
    let log = format!("read the log of {name}");
    let (message, remedy) = match leads {
        Leads::Elsewhere(place) => (
            format!("its primary_conninfo leads to {place}, which is no server of the configuration, and {seen}"),
            format!(
                "make {place} lead to {to}; or, where it is an address of one of the servers, write that as its replication_host"
            ),
        ),
        Leads::ToPrimary => (
            format!("its primary_conninfo leads to {to} already, and {seen}"),
            format!("{log}; its user needs a replication line in pg_hba.conf of {to}"),
        ),
        _ => (
            format!("its primary_conninfo leads to {to} now, and {seen}"),
            format!("{log}; its user needs a replication line in pg_hba.conf of {to}, and its password file an entry for it"),
        ),
    };
    interrupted(how, message, &remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::wire::postgres::{KeptKeys, SessionSettings, Target, Tls};
    use crate::wire::resolve::Literals;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const DB1: ServerId = ServerId(0);
    const DB2: ServerId = ServerId(1);
    const DB3: ServerId = ServerId(2);

    #[test]
    fn where_a_connection_string_leads() {
        let server = |name: &str, host: &str, port, replication: (&str, u16)| Server {
            name: name.to_owned(),
            target: Target {
                endpoint: Endpoint::new(host, port),
                user: "failover".to_owned(),
                password: None,
                database: "postgres".to_owned(),
                tls: Tls::disabled(),
                application_name: String::new(),
                keys: KeptKeys::default(),
                settings: SessionSettings::default(),
            },
            replication: Place { host: replication.0.to_owned(), port: replication.1 },
        };
        let servers = BTreeMap::from([
            (DB1, server("db1", "10.0.0.1", 5_432, ("10.1.0.1", 5_432))),
            (DB2, server("db2", "db2.example", 5_432, ("db2.example", 5_432))),
            (DB3, server("db3", "127.0.0.1", 6_000, ("127.0.0.1", 6_000))),
        ]);
        let cluster = Cluster::new(servers, Arc::new(Literals), Clock::start());
        let order = Order { standbys: &[DB3], primary: DB2, system_id: 1, timeline: 2, former: &[DB1] };
        let leads = |standby, text: &str| cluster.leads(standby, &Conninfo::parse(text).unwrap(), order);
        assert_eq!(leads(DB3, "host=10.0.0.1"), Leads::ToFormer("db1".to_owned()));
        assert_eq!(leads(DB3, "hostaddr=10.1.0.1 host=whatever"), Leads::ToFormer("db1".to_owned()));
        assert_eq!(leads(DB3, "host=DB2.example user=x"), Leads::ToPrimary);
        // The primary among others is enough.
        assert_eq!(leads(DB3, "host=10.0.0.1,db2.example"), Leads::ToPrimary);
        assert_eq!(leads(DB3, "host=10.0.0.1 port=5433"), Leads::Elsewhere("10.0.0.1:5433".to_owned()));
        assert_eq!(leads(DB3, "host=vip.example"), Leads::Elsewhere("vip.example:5432".to_owned()));
        assert_eq!(leads(DB3, "user=x"), Leads::Nowhere);
        assert_eq!(leads(DB1, "host=localhost port=6000"), Leads::ToStandby("db3".to_owned()));
        // Its own address is nobody else's.
        assert_eq!(leads(DB3, "host=127.0.0.1 port=6000"), Leads::Elsewhere("127.0.0.1:6000".to_owned()));
    }
}
