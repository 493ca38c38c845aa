//! A PgBouncer in front of the service: its clients wait while the primary is replaced, and go on with the new one.
//!
//! Its admin console pauses and resumes, and shows what is in force; where a database points is a line of a file that it includes,
//! which the engine rewrites. So the engine runs on PgBouncer's machine. A console that accepted a command has promised something;
//! only what `SHOW DATABASES` says afterwards counts.
//!
//! Taken out means paused: new queries wait instead of failing. Sessions of the pooler with a server that is gone end by themselves;
//! those that hang on a host that is cut off are ended (`KILL`), and their clients with them, before the traffic goes on.

mod entries;
mod file;
pub(crate) mod gate;
pub(crate) mod keeper;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::entries::Origin;
use self::file::Place;
use self::keeper::Keeper;
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::postgres::{Error, Rows, Session, Target};
use crate::wire::resolve::Addresses;
use failover_core::output::Failure;
use failover_core::route::{GateTrouble, InstanceKind, InstanceTrouble, InstanceView, RouteState, ServerView, Unnamed};

/// `PAUSE` answers when no query runs any more: on a server that hangs, never. The pause holds all the same.
const PAUSE_FOR: Duration = Duration::from_millis(100);
/// Sessions with another server than the new one may take so long to end by themselves.
const LEFTOVER_GRACE: Duration = Duration::from_millis(500);
const WRITABLE: &str = "let the engine's user write the file and its folder, with a line for each database";
const IN_FORCE: &str = "RELOAD on its admin console; where that changes nothing, another line of its configuration counts";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// One PgBouncer.
pub(crate) struct Pooler {
    /// Its name in the configuration.
    pub name: String,
    /// Its admin console: the database `pgbouncer`.
    pub console: Target,
    /// Its databases that belong to the service.
    pub databases: Vec<String>,
    /// The file with their lines.
    pub file: PathBuf,
    /// Where it finds each of our servers.
    pub servers: BTreeMap<String, (String, u16)>,
    /// Where names become addresses.
    pub addresses: Arc<dyn Addresses>,
    /// What the databases were before the failover of this number.
    before: Mutex<(u64, Option<Before>)>,
    /// Holds the deadline of the gate while it is closed.
    keeper: Mutex<Option<Keeper>>,
}

#[derive(Clone, Debug)]
struct Before {
    /// Where each database pointed, in the order of the configuration.
    places: Vec<Place>,
    paused: bool,
}

/// One database as `SHOW DATABASES` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    place: Place,
    paused: bool,
    disabled: bool,
}

/// Why something was not done, and whether part of it may have been.
struct Fault {
    message: String,
    remedy: &'static str,
    ended: Option<Interrupted>,
    touched: bool,
}

/// One session with the console.
struct Console<'a> {
    pooler: &'a Pooler,
    session: Session,
    deadline: Deadline,
    cancel: &'a Cancel,
    touched: bool,
}

impl Pooler {
    /// One that was never asked.
    #[must_use]
    pub(crate) fn new(
        name: String,
        console: Target,
        databases: Vec<String>,
        file: PathBuf,
        servers: BTreeMap<String, (String, u16)>,
        addresses: Arc<dyn Addresses>,
    ) -> Pooler {
        Pooler { name, console, databases, file, servers, addresses, before: Mutex::new((0, None)), keeper: Mutex::new(None) }
    }

    /// Carries out one step of the route.
    ///
    /// # Errors
    /// What failed, what mends it, and whether an effect is excluded.
    pub(crate) fn step(
        &self,
        step: &str,
        server: &str,
        generation: u64,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<String, Failure> {
        self.remember_afresh(generation);
        let done = match step {
            "route_out" => self.with_console(deadline, cancel, |console| console.take_out(server)),
            "route_in" => self.with_console(deadline, cancel, |console| console.bring_in(server)),
            _ => self.with_console(deadline, cancel, |console| console.restore(server)),
        };
        if done.is_ok() && step != "route_out" {
            self.release();
        }
        done.map_err(|fault| fault.into_failure(&self.name))
    }

    /// What was before is what was before this failover.
    fn remember_afresh(&self, generation: u64) {
        let mut before = self.before.lock();
        if before.0 != generation {
            *before = (generation, None);
        }
    }

    /// Who gets the queries, as HAProxy's instances show it. Changes nothing.
    #[must_use]
    pub(crate) fn view(&self, deadline: Deadline, cancel: &Cancel) -> InstanceView {
        let mut gate = Vec::new();
        let looked = self.with_console(deadline, cancel, |console| {
            let shown = console.shown()?;
            console.must_be_admin(&shown)?;
            console.usable(&shown)?;
            gate.extend(console.session_pools()?.into_iter().map(GateTrouble::SessionMode));
            Ok((shown, console.unnamed()?))
        });
        if !Pooler::has_keeper() {
            gate.push(GateTrouble::NoKeeper);
        }
        let mut unnamed = Vec::new();
        let servers = looked
            .map(|(shown, others)| {
                unnamed = others;
                let state = |server: &String| match self.place_of(server) {
                    Some(place) if shown.iter().all(|one| self.same_place(&one.place, &place)) => {
                        if shown.iter().any(|one| one.paused || one.disabled) { RouteState::Drain } else { RouteState::Takes }
                    }
                    _ => RouteState::Maint,
                };
                let view = |server: &String| ServerView::new(server, server, state(server));
                self.servers.keys().map(view).collect()
            })
            .map_err(|fault| InstanceTrouble { no_backend: false, message: fault.message, remedy: fault.remedy.to_owned() });
        let (name, backend) = (self.name.clone(), self.databases.join(", "));
        InstanceView { name, backend, servers, kind: InstanceKind::Pgbouncer, gate, unnamed }
    }

    fn place_of(&self, server: &str) -> Option<Place> {
        self.servers.get(server).map(|(host, port)| Place { host: host.clone(), port: *port })
    }

    /// The same server, also where one is written as a name.
    fn same_place(&self, one: &Place, other: &Place) -> bool {
        one == other
            || one.port == other.port && self.address_of(one).is_some_and(|address| Some(address) == self.address_of(other))
    }

    /// Our name of the server at a place.
    fn server_at(&self, place: &Place) -> Option<String> {
        self.servers.keys().find(|server| self.place_of(server).is_some_and(|own| self.same_place(&own, place))).cloned()
    }

    fn address_of(&self, place: &Place) -> Option<std::net::SocketAddr> {
        self.addresses.addresses(&place.host, place.port).ok()?.first().copied()
    }

    fn with_console<T>(
        &self,
        deadline: Deadline,
        cancel: &Cancel,
        work: impl FnOnce(&mut Console<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let session = Session::connect(&self.console, &*self.addresses, deadline, cancel)
            .map_err(|error| fault_of(&error, "connecting to the admin console"))?;
        work(&mut Console { pooler: self, session, deadline, cancel, touched: false })
    }
}

impl std::fmt::Debug for Pooler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pooler").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Console<'_> {
    /// Pauses the databases that point to a server: what comes waits.
    fn take_out(&mut self, server: &str) -> Result<String, Fault> {
        let place = self.place(server)?;
        let mut now = self.remembered()?;
        let all = self.pooler.databases.clone();
        loop {
            let open = |shown: &Shown| !shown.paused && self.pooler.same_place(&shown.place, &place);
            let open: Vec<&String> = all.iter().zip(&now).filter(|(_, shown)| open(shown)).map(|(name, _)| name).collect();
            if open.is_empty() {
                break;
            }
            for database in open {
                self.pause(database)?;
            }
            now = self.shown()?;
            if now.iter().any(|one| !one.paused && self.pooler.same_place(&one.place, &place)) {
                self.pause_until("it goes on after PAUSE", "")?;
            }
        }
        let word = |(database, shown): (&String, &Shown)| {
            if self.pooler.same_place(&shown.place, &place) {
                format!("{database} is paused")
            } else {
                format!("{database} points to {}", shown.place)
            }
        };
        Ok(all.iter().zip(&now).map(word).collect::<Vec<_>>().join(", "))
    }

    /// Points every database to a server and lets the clients go on.
    fn bring_in(&mut self, server: &str) -> Result<String, Fault> {
        let place = self.place(server)?;
        let shown = self.remembered()?;
        self.must_be_admin(&shown)?;
        self.point(&vec![place.clone(); self.pooler.databases.len()])?;
        let killed = self.leave_others(&place)?;
        self.resume(false)?;
        let killed = if killed == 0 { String::new() } else { format!(", {killed} sessions on other servers ended") };
        Ok(format!("{} points to {place}{killed}", self.pooler.databases.join(", ")))
    }

    /// Everything as it was before this failover; where nothing is remembered, to this server.
    fn restore(&mut self, server: &str) -> Result<String, Fault> {
        let before = self.pooler.before.lock().1.clone();
        let Some(before) = before else { return self.bring_in(server) };
        let shown = self.shown()?;
        self.must_be_admin(&shown)?;
        self.point(&before.places)?;
        self.resume(before.paused)?;
        let places: Vec<String> = self
            .pooler
            .databases
            .iter()
            .zip(&before.places)
            .map(|(database, place)| format!("{database} points to {place}"))
            .collect();
        Ok(format!("{}, as before", places.join(", ")))
    }

    fn place(&self, server: &str) -> Result<Place, Fault> {
        self.pooler.place_of(server).ok_or_else(|| self.fault(format!("no address is configured for \"{server}\""), ""))
    }

    /// What is there now, kept as what was before if nothing is yet.
    fn remembered(&mut self) -> Result<Vec<Shown>, Fault> {
        let shown = self.shown()?;
        let before =
            Before { places: shown.iter().map(|one| one.place.clone()).collect(), paused: shown.iter().all(|one| one.paused) };
        self.pooler.before.lock().1.get_or_insert(before);
        Ok(shown)
    }

    /// The file could be changed, its lines are the ones that count, and they are in force.
    fn usable(&mut self, shown: &[Shown]) -> Result<(), Fault> {
        let pooler = self.pooler;
        let written = file::probe(&pooler.file, &pooler.databases).map_err(|why| self.fault(why, WRITABLE))?;
        self.guard()?;
        for ((database, written), shown) in pooler.databases.iter().zip(written).zip(shown) {
            let Some(written) = written.filter(|written| !pooler.same_place(written, &shown.place)) else { continue };
            let file = pooler.file.display();
            return Err(
                self.fault(format!("{database} points to {}, and to {written} by its line in {file}", shown.place), IN_FORCE)
            );
        }
        Ok(())
    }

    /// One line says where each database points, and it is in the file.
    fn guard(&mut self) -> Result<(), Fault> {
        let origin = self.origin();
        entries::guard(&origin, &self.pooler.file, &self.pooler.databases).map_err(|no| self.fault(no.why, no.remedy))
    }

    /// The file that it was started with and its working directory, where it says them.
    fn origin(&mut self) -> Origin {
        let Ok(rows) = self.run("SHOW CONFIG") else { return Origin::default() };
        let said = |key: &str| {
            let row = (0..rows.len()).find(|row| rows.get(*row, "key") == Some(key))?;
            rows.get(row, "value").filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let folder = said("pidfile").and_then(|file| file::folder_of_process(&file));
        Origin { main: said("conffile"), folder }
    }

    /// Writes the file, has it read, and looks whether it is in force.
    fn point(&mut self, places: &[Place]) -> Result<(), Fault> {
        let databases = self.pooler.databases.clone();
        if let Err(fault) = self.guard() {
            // Nobody can point it elsewhere with certainty. Where it points there already, its clients may go on.
            let there = self.shown()?.iter().zip(places).all(|(shown, place)| self.pooler.same_place(&shown.place, place));
            return if there { Ok(()) } else { Err(fault) };
        }
        for (database, place) in databases.iter().zip(places) {
            let written =
                file::point(&self.pooler.file, std::slice::from_ref(database), place).map_err(|why| self.fault(why, WRITABLE))?;
            self.touched |= written;
        }
        let mut told = false;
        loop {
            let shown = self.shown()?;
            let wrong = shown.iter().zip(places).find(|(shown, place)| !self.pooler.same_place(&shown.place, place));
            let Some((wrong, place)) = wrong else { break };
            let seen = format!("after RELOAD a database points to {} and not to {place}", wrong.place);
            if !told {
                self.run("RELOAD")?;
                told = true;
                continue;
            }
            self.pause_until(&seen, "does its pgbouncer.ini include that very file? (%include)")?;
        }
        for database in &databases {
            // Sessions with where it pointed before end when their client gives them back.
            self.run(&format!("RECONNECT {}", quoted(database)))?;
        }
        Ok(())
    }

    /// Sessions with other servers are to be gone before anybody goes on; how many had to be ended.
    fn leave_others(&mut self, place: &Place) -> Result<usize, Fault> {
        let grace = self.deadline.at_most(LEFTOVER_GRACE);
        loop {
            let others = self.sessions_elsewhere(place)?;
            if others.is_empty() {
                return Ok(0);
            }
            if !grace.is_over() && self.cancel.pause(LOOK, grace).is_ok() {
                continue;
            }
            let count = others.len();
            let mut databases: Vec<String> = others;
            databases.sort();
            databases.dedup();
            for database in databases {
                // It pauses too.
                self.run(&format!("KILL {}", quoted(&database)))?;
            }
            return Ok(count);
        }
    }

    /// The database of each session with another server.
    fn sessions_elsewhere(&mut self, place: &Place) -> Result<Vec<String>, Fault> {
        let rows = self.run("SHOW SERVERS")?;
        let mut found = Vec::new();
        for row in 0..rows.len() {
            let get = |column| rows.get(row, column).unwrap_or_default().to_owned();
            let (database, host, port) = (get("database"), get("addr"), get("port"));
            let there = Place { host, port: port.parse().unwrap_or_default() };
            if self.pooler.databases.contains(&database) && !self.pooler.same_place(&there, place) && there.host != "unix" {
                found.push(database);
            }
        }
        Ok(found)
    }

    fn resume(&mut self, paused: bool) -> Result<(), Fault> {
        let databases = self.pooler.databases.clone();
        for (database, shown) in databases.iter().zip(self.shown()?) {
            match (shown.paused, paused) {
                (true, false) => drop(self.run(&format!("RESUME {}", quoted(database)))?),
                (false, true) => self.pause(database)?,
                _ => {}
            }
        }
        if self.shown()?.iter().all(|shown| shown.paused == paused) {
            return Ok(());
        }
        Err(self.fault("PAUSE and RESUME had no effect", ""))
    }

    /// On a session of its own: a query that runs on keeps the answer back.
    fn pause(&mut self, database: &str) -> Result<(), Fault> {
        let deadline = self.deadline.at_most(PAUSE_FOR);
        let pooler = self.pooler;
        self.touched = true;
        let outcome = Session::connect(&pooler.console, &*pooler.addresses, self.deadline, self.cancel)
            .and_then(|mut session| session.query(&format!("PAUSE {}", quoted(database)), deadline, self.cancel));
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if interrupted(&error) == Some(Interrupted::TimedOut) && !self.deadline.is_over() => Ok(()),
            Err(error) => Err(self.about(&error, "PAUSE")),
        }
    }

    fn shown(&mut self) -> Result<Vec<Shown>, Fault> {
        let rows = self.run("SHOW DATABASES")?;
        let databases = self.pooler.databases.clone();
        databases
            .iter()
            .map(|database| {
                let row = (0..rows.len()).find(|row| rows.get(*row, "name") == Some(database));
                let Some(row) = row else {
                    let remedy = "add it to [databases] of PgBouncer, or correct route.pgbouncer.databases";
                    return Err(self.fault(format!("it has no database \"{database}\""), remedy));
                };
                let get = |column: &str| rows.get(row, column);
                let (Some(port), Some(paused)) = (get("port").and_then(|port| port.parse().ok()), get("paused")) else {
                    return Err(self.fault(
                        "SHOW DATABASES does not say where a database points",
                        "this is not the answer of a PgBouncer that the engine knows",
                    ));
                };
                Ok(Shown {
                    place: Place { host: get("host").unwrap_or_default().to_owned(), port },
                    paused: paused != "0",
                    disabled: get("disabled").is_some_and(|disabled| disabled != "0"),
                })
            })
            .collect()
    }

    /// The other databases that lead to our servers, as PgBouncer says: by their line, or by the sessions that it has for them.
    fn unnamed(&mut self) -> Result<Vec<Unnamed>, Fault> {
        let (databases, sessions) = (self.run("SHOW DATABASES")?, self.run("SHOW SERVERS")?);
        let place = |rows: &Rows, row, host: &str| {
            let port = rows.get(row, "port").and_then(|port| port.parse().ok()).unwrap_or_default();
            let hosts = rows.get(row, host).unwrap_or_default().split(',');
            hosts.map(|host| Place { host: host.trim().to_owned(), port }).collect::<Vec<_>>()
        };
        let at = |places: Vec<Place>| places.iter().find_map(|place| self.pooler.server_at(place));
        let mut found = Vec::new();
        for row in 0..databases.len() {
            let name = databases.get(row, "name").unwrap_or_default();
            let disabled = databases.get(row, "disabled").is_some_and(|disabled| disabled != "0");
            if disabled || self.pooler.databases.iter().any(|own| own == name) {
                continue;
            }
            let of_session = || {
                let of_it = (0..sessions.len()).filter(|row| sessions.get(*row, "database") == Some(name));
                of_it.into_iter().find_map(|row| at(place(&sessions, row, "addr")))
            };
            if let Some(server) = at(place(&databases, row, "host")).or_else(of_session) {
                found.push(Unnamed { name: name.to_owned(), server: Some(server) });
            }
        }
        Ok(found)
    }

    /// Only an administrator may change something: a name that is in `stats_users` alone sees everything. Enabling what is enabled
    /// changes nothing, and needs the right.
    fn must_be_admin(&mut self, shown: &[Shown]) -> Result<(), Fault> {
        let enabled = self.pooler.databases.iter().zip(shown).find(|(_, shown)| !shown.disabled);
        let Some((database, _)) = enabled else { return Ok(()) };
        let asked = self.session.query(&format!("ENABLE {}", quoted(database)), self.deadline, self.cancel);
        asked.map(drop).map_err(|error| self.about(&error, "ENABLE"))
    }

    fn run(&mut self, command: &str) -> Result<Rows, Fault> {
        let changes = !command.starts_with("SHOW");
        let outcome = self.session.query(command, self.deadline, self.cancel);
        self.touched |= changes && !matches!(outcome, Err(Error::Server(_)));
        let word = command.split(' ').next().unwrap_or(command).to_owned();
        outcome.map_err(|error| self.about(&error, &word))
    }

    fn pause_until(&mut self, seen: &str, remedy: &'static str) -> Result<(), Fault> {
        self.cancel.pause(LOOK, self.deadline).map_err(|why| Fault { ended: Some(why), ..self.fault(seen, remedy) })
    }

    fn about(&self, error: &Error, doing: &str) -> Fault {
        Fault { touched: self.touched, ..fault_of(error, doing) }
    }

    fn fault(&self, message: impl Into<String>, remedy: &'static str) -> Fault {
        Fault { message: message.into(), remedy, ended: None, touched: self.touched }
    }
}

impl Fault {
    fn into_failure(self, name: &str) -> Failure {
        let message = format!("pgbouncer {name}: {}", self.message);
        match self.ended {
            Some(Interrupted::Cancelled) => Failure::cancelled(message),
            _ if !self.touched => Failure::no_effect(message, self.remedy),
            Some(Interrupted::TimedOut) => Failure::timed_out(message, self.remedy),
            None => Failure::unknown(message, self.remedy),
        }
    }
}

fn fault_of(error: &Error, doing: &str) -> Fault {
    let remedy = match error {
        Error::Server(said) if said.message.contains("admin access") => "name the user in admin_users of pgbouncer.ini",
        Error::Server(said)
            if said.sqlstate.starts_with("28") || said.message.contains("password") || said.message.contains("auth") =>
        {
            "correct user and password of the admin console (route.pgbouncer)"
        }
        Error::Authentication(_) => "correct user and password of the admin console (route.pgbouncer)",
        Error::Connect(_) | Error::Resolve(_) => "start PgBouncer, or correct host and port of its admin console",
        _ => "",
    };
    Fault { message: format!("{doing}: {error}"), remedy, ended: interrupted(error), touched: false }
}

/// An identifier as the console reads it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn interrupted(error: &Error) -> Option<Interrupted> {
    let fault = match error {
        Error::Connect(error) => &error.fault,
        Error::Connection { fault, .. } => fault,
        _ => return None,
    };
    match fault {
        crate::wire::stream::Fault::TimedOut => Some(Interrupted::TimedOut),
        crate::wire::stream::Fault::Cancelled => Some(Interrupted::Cancelled),
        _ => None,
    }
}
