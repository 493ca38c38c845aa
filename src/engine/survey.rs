//! One thread that looks every few seconds at what a failover would need, and keeps the sessions open that it would use. It has
//! its own ways to servers and hosts, so it never waits behind a failover and never delays one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::action::application;
use crate::action::postgres::{Around, Surveyed};
use crate::action::server_identity::ServerIdentity;
use crate::deadline::{Cancel, Deadline};
use failover_core::event::{EventKind, Severity};
use failover_core::finding::FindingCode;
use failover_core::id::{ServerId, ServiceId};
use failover_core::input::Input;
use failover_core::model::{CheckKind, OnNewPrimary, OnSalvage, OnSynchronous, ServerModel, ServiceModel};
use failover_core::route::RouteSurvey;
use failover_core::sample::{HostReport, Readiness, ReadinessFinding, Source};
use failover_core::time::Mono;

use super::Shell;
use super::breaker::Permit;
use super::builder::{Parts, ServerPart, ServicePart};
use super::dependency::{Dependency, News, Way};
use super::round::of_names;
use super::threads::Duty;

/// Between the starts of two rounds.
const EVERY: Duration = Duration::from_secs(15);
/// Between two looks at what has changed meanwhile.
const AGAIN: Duration = Duration::from_secs(1);
/// For one question to one server, host or route.
pub(super) const QUESTION: Duration = Duration::from_secs(3);

/// Rounds between two looks at the names: who gives them out may count what he is asked.
const NAMES_EVERY: u32 = 4;

/// All questions about one server are over by then, twice over.
const SERVER: Duration = Duration::from_secs(40);

type Sink = dyn Fn(Input) + Send + Sync;

/// What was found when something could be asked.
#[derive(Default)]
struct Last {
    sql: BTreeMap<(ServiceId, ServerId), (Mono, Vec<ReadinessFinding>)>,
    /// Why a host could not be asked, and the finding about it.
    ssh: BTreeMap<(ServiceId, ServerId), (Mono, String, Vec<ReadinessFinding>)>,
    /// Names that cannot be read, and in how many rounds they are looked at again.
    names: BTreeMap<ServiceId, (u32, Vec<ReadinessFinding>)>,
}

/// The body of the thread; ends when cancelled.
pub(crate) fn run(shell: &Shell, duty: &Duty, cancel: &Cancel, sink: &Sink) {
    let mut last = Last::default();
    let mut next = Deadline::after(EVERY);
    // Out of turn: only these.
    let mut only: Option<BTreeSet<(ServiceId, ServerId)>> = None;
    loop {
        if only.is_none() {
            next = Deadline::after(EVERY);
            shell.unsurveyed.lock().clear();
        }
        let parts = shell.parts();
        shell.dependencies.configure(&parts.config);
        let primaries = shell.primaries();
        for (place, service) in parts.services.iter().enumerate() {
            let Ok(number) = u16::try_from(place) else { break };
            let primary = primaries.get(place).copied().flatten();
            duty.begin(SERVER * u32::try_from(service.servers.len() + 1).unwrap_or(u32::MAX));
            let (id, parts, only) = (ServiceId(number), &parts, only.as_ref());
            Round { shell, parts, id, service, primary, only, cancel, sink }.run(&mut last);
        }
        duty.rest();
        only = loop {
            if next.is_over() {
                break None;
            }
            if cancel.pause(next.remaining().min(AGAIN), Deadline::after(EVERY * 2)).is_err() {
                return;
            }
            let changed = std::mem::take(&mut *shell.unsurveyed.lock());
            if !changed.is_empty() {
                break Some(changed);
            }
        };
    }
}

/// A round over one service.
struct Round<'a> {
    shell: &'a Shell,
    parts: &'a Arc<Parts>,
    id: ServiceId,
    service: &'a ServicePart,
    primary: Option<ServerId>,
    /// Out of turn, and only these.
    only: Option<&'a BTreeSet<(ServiceId, ServerId)>>,
    cancel: &'a Cancel,
    sink: &'a Sink,
}

impl Round<'_> {
    fn run(&self, last: &mut Last) {
        let mut looked = false;
        for (place, server) in self.service.servers.iter().enumerate() {
            let Ok(number) = u16::try_from(place) else { break };
            if self.only.is_some_and(|only| !only.contains(&(self.id, ServerId(number)))) {
                continue;
            }
            looked = true;
            if server.target.is_none() {
                continue;
            }
            if self.is_over() {
                return;
            }
            if !self.ask_server(ServerId(number), server, last) {
                return;
            }
        }
        if self.only.is_none() {
            self.ask_route(last);
        }
        if looked && self.service.actions.has_instances() {
            self.ask_instances();
        }
    }

    /// Nobody waits for more: the end, or other services.
    fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || self.shell.are_stale(self.parts)
    }

    fn dependency(&self, way: Way, server: Option<&str>) -> Dependency {
        let service = self.parts.model.services[usize::from(self.id.0)].name.clone();
        let dependency = Dependency { service, server: server.map(str::to_owned), way };
        if self.only.is_some() {
            self.shell.dependencies.changed(&dependency);
        }
        dependency
    }

    fn is_told(&self, about: &Dependency, permit: Permit, outcome: Result<(), String>) {
        tell(self.shell, about, self.shell.dependencies.report(about, permit, outcome));
    }

    /// What one server and its host say. `false`: it is over.
    fn ask_server(&self, id: ServerId, server: &ServerPart, last: &mut Last) -> bool {
        let asked = self.shell.clock.now();
        let model = &self.parts.model.services[usize::from(self.id.0)];
        let name = model.servers.get(usize::from(id.0)).map(|server| server.name.as_str());
        let (by_ssh, by_sql) = (self.dependency(Way::Ssh, name), self.dependency(Way::Sql, name));
        let place = (self.id, id);
        let mut earlier = Vec::new();
        let mut host = HostSaid::default();
        if has_host(server) {
            if let Some(permit) = self.shell.dependencies.permit(&by_ssh) {
                host = ask_host(server, Deadline::after(SERVER), self.cancel);
                if self.cancel.is_cancelled() {
                    return false;
                }
                let outcome = host.word.as_ref().map_or(Ok(()), |word| word.as_ref().map(drop).map_err(Clone::clone));
                match &outcome {
                    Ok(()) => drop(last.ssh.remove(&place)),
                    Err(why) => drop(last.ssh.insert(place, (asked, why.clone(), host.findings.clone()))),
                }
                self.is_told(&by_ssh, permit, outcome);
            } else if let Some((asked, why, found)) = last.ssh.get(&place) {
                // Left alone for a while: it is as it was found.
                host = HostSaid::silent(why.clone());
                earlier.extend(found.iter().map(|finding| (*asked, finding.clone())));
            }
        }
        // A server that cannot be asked is the checks' business: what was known of it stays until it can be asked again.
        let answer = self.shell.dependencies.permit(&by_sql).and_then(|permit| {
            let replay_stands = self.shell.replay_stands(self.id, id);
            let around = around(model, id, self.primary, replay_stands);
            let cluster = &self.service.actions.cluster;
            let answer = cluster.survey(id, around, Deadline::after(QUESTION), self.cancel);
            if self.cancel.is_cancelled() {
                return None;
            }
            self.is_told(&by_sql, permit, answer.as_ref().map(drop).map_err(|failure| failure.message.clone()));
            answer.ok()
        });
        if let Some(sql) = &answer {
            last.sql.insert(place, (asked, sql.findings.clone()));
        } else if let Some((asked, sql)) = last.sql.get(&place) {
            earlier.extend(sql.iter().map(|finding| (*asked, finding.clone())));
        }
        let switchover = answer.as_ref().and_then(|sql| sql.switchover.clone());
        let sources = host.sources.take();
        let (ssh, findings) = as_one(server, host, answer, Deadline::after(SERVER), self.cancel);
        if self.is_over() {
            return false;
        }
        let readiness = Readiness { asked, ssh, findings, earlier, switchover, sources };
        (self.sink)(Input::Surveyed { service: self.id, server: id, readiness });
        true
    }

    /// The instances of the route. Once something was moved, the watch over the route looks four times a second, and has no breaker.
    fn ask_instances(&self) {
        let route = self.dependency(Way::Route, None);
        let Some(permit) = self.shell.dependencies.permit(&route) else { return };
        let asked = self.shell.clock.now();
        let instances = self.service.actions.view_route(Deadline::after(QUESTION), self.cancel);
        if self.cancel.is_cancelled() {
            return;
        }
        let dead = instances.iter().all(|instance| instance.servers.is_err());
        let why = instances.iter().find_map(|instance| {
            instance.servers.as_ref().err().map(|trouble| format!("{}: {}", instance.name, trouble.message))
        });
        self.is_told(&route, permit, why.filter(|_| dead).map_or(Ok(()), Err));
        if !self.is_over() {
            (self.sink)(Input::RouteSurveyed { service: self.id, survey: RouteSurvey { asked, instances } });
        }
    }

    /// A client's way: who answers at the addresses of an application's route, and whether the names can be read.
    fn ask_route(&self, last: &mut Last) {
        let actions = &self.service.actions;
        if actions.verification.is_empty() && actions.names.is_empty() {
            return;
        }
        let asked = self.shell.clock.now();
        let mut findings = Vec::new();
        if !actions.verification.is_empty() {
            let seen = actions.who(Deadline::after(QUESTION), self.cancel);
            findings = application::findings_of(&seen, self.primary, &|id| actions.name_of(id));
        }
        if !actions.names.is_empty() {
            let (wait, found) = last.names.entry(self.id).or_default();
            if *wait == 0 {
                *found = of_names(&actions.names, actions.names_are_route, Deadline::after(SERVER), self.cancel);
                *wait = NAMES_EVERY;
            }
            *wait -= 1;
            findings.extend(found.iter().cloned());
        }
        if !self.is_over() {
            (self.sink)(Input::RouteAsked { service: self.id, primary: self.primary, asked, findings });
        }
    }
}

/// What the survey of a server depends on beside the server.
pub(super) fn around(model: &ServiceModel, server: ServerId, primary: Option<ServerId>, replay_stands: bool) -> Around {
    Around {
        primary,
        candidates: model.servers.iter().filter(|server| server.candidate).count().saturating_sub(1),
        checks: checks_of(model, server),
        replay_stands,
        candidate: model.servers.get(usize::from(server.0)).is_some_and(|server| server.candidate),
        delay_allowed: model.postgres.allow_delayed,
        followers: model.postgres.followers == OnNewPrimary::Auto && model.servers.len() > 2,
        keeps_sync_set: model.postgres.sync.keep == OnSynchronous::Maintain,
        salvage: salvage(model, server),
    }
}

/// Whether salvage is required, where it is wanted and the hosts can be asked.
fn salvage(model: &ServiceModel, server: ServerId) -> Option<bool> {
    let own = usize::from(server.0);
    let reached = |at: &(usize, &ServerModel)| at.1.ssh && cfg!(feature = "ssh");
    let hosts: Vec<usize> = model.servers.iter().enumerate().filter(reached).map(|(at, _)| at).collect();
    let asked = hosts.contains(&own) && hosts.len() > 1;
    match model.postgres.salvage {
        OnSalvage::Off => None,
        OnSalvage::Auto => asked.then_some(false),
        OnSalvage::Require => Some(true),
    }
}

/// How many checks connect to this server as the engine's role.
fn checks_of(service: &ServiceModel, server: ServerId) -> usize {
    service.checks.iter().filter(|check| check.server == server.0 && check.kind == CheckKind::Postgres).count()
}

/// A breaker that opened, or closed again, is an event.
fn tell(shell: &Shell, about: &Dependency, news: Option<News>) {
    let Some(news) = news else { return };
    let severity = if news.open { Severity::Warning } else { Severity::Info };
    let mut fields = Map::new();
    fields.insert("dependency".to_owned(), Value::from(about.way.as_str()));
    fields.insert("open".to_owned(), Value::from(news.open));
    shell.say_about(EventKind::BreakerChanged, severity, &about.service, about.server.as_deref(), news.message, fields);
}

/// What a host said of its server: its word, or why it could not be asked; which server it shows in the data directory; what would hurt.
#[derive(Default)]
pub(super) struct HostSaid {
    pub word: Option<Result<HostReport, String>>,
    shown: Option<ServerIdentity>,
    pub findings: Vec<ReadinessFinding>,
    /// How it reaches the other servers.
    pub sources: Option<Vec<Source>>,
}

impl HostSaid {
    /// It was not asked this time, and could not be asked when it last was.
    fn silent(why: String) -> HostSaid {
        HostSaid { word: Some(Err(why)), ..HostSaid::default() }
    }

    /// Why what it shows is not the server that answered over SQL.
    fn differs(&self, sql: &ServerIdentity) -> Option<String> {
        let Some(Ok(_)) = self.word else { return None };
        match &self.shown {
            Some(shown) => sql.differs(shown),
            None => Some("no server runs there, while this one answers".to_owned()),
        }
    }
}

/// What a server and its host said, as one: the host's word, and each thing that would hurt, once. Asks the host again where it showed
/// another server than the one that answered.
pub(super) fn as_one(
    server: &ServerPart,
    mut host: HostSaid,
    sql: Option<Surveyed>,
    deadline: Deadline,
    cancel: &Cancel,
) -> (Option<Result<HostReport, String>>, Vec<ReadinessFinding>) {
    if let Some(sql) = sql {
        if host.differs(&sql.identity).is_some() {
            // It may have been restarted between the two questions.
            host = ask_host(server, deadline, cancel);
        }
        let differs = host.differs(&sql.identity);
        host.findings.extend(differs.map(|why| other_server(&why)));
        host.findings.extend(sql.findings);
    }
    host.findings.sort();
    host.findings.dedup();
    (host.word, host.findings)
}

/// The finding that the host shows another server.
fn other_server(why: &str) -> ReadinessFinding {
    FindingCode::HostOtherServer.found(
        true,
        format!("the data directory on its host is not this server's: {why}. A fence there would stop somebody else and prove nothing"),
        "set host, data_dir and key of this server right: SHOW data_directory on it; with the wrapper --data-dir in authorized_keys",
    )
}

#[cfg(feature = "ssh")]
fn has_host(server: &ServerPart) -> bool {
    server.survey.is_some()
}

#[cfg(not(feature = "ssh"))]
fn has_host(_: &ServerPart) -> bool {
    false
}

#[cfg(feature = "ssh")]
pub(super) fn ask_host(server: &ServerPart, deadline: Deadline, cancel: &Cancel) -> HostSaid {
    let Some(control) = server.survey.as_ref() else { return HostSaid::default() };
    if let Some(ssh) = &server.action_ssh {
        // The session a failover will use: opened long before, and proven alive. What is wrong with it shows below as well.
        let _ = ssh.keep_alive(deadline.at_most(QUESTION), cancel);
    }
    match control.readiness(deadline.at_most(QUESTION), cancel) {
        Ok(said) => HostSaid { word: Some(Ok(said.report)), shown: said.shown, findings: said.findings, sources: said.sources },
        Err(failure) => {
            let message =
                format!("the engine cannot ask its host over SSH, so it could not fence the server: {}", failure.message);
            let findings = vec![FindingCode::HostNotAsked.found(true, message, failure.remedy)];
            HostSaid { word: Some(Err(failure.message)), findings, ..HostSaid::default() }
        }
    }
}

#[cfg(not(feature = "ssh"))]
pub(super) fn ask_host(_: &ServerPart, _: Deadline, _: &Cancel) -> HostSaid {
    HostSaid::default()
}
