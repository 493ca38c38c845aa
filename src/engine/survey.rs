//! One thread that looks every few seconds at what a failover would need, and keeps the sessions open that it would use. It has
//! its own ways to servers and hosts, so it never waits behind a failover and never delays one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::action::application;
use crate::action::server_identity::ServerIdentity;
use crate::deadline::{Cancel, Deadline};
use failover_core::event::{EventKind, Severity};
use failover_core::finding::FindingCode;
use failover_core::id::{ServerId, ServiceId};
use failover_core::input::Input;
use failover_core::route::RouteSurvey;
use failover_core::sample::{HostWord, Readiness, ReadinessFinding};
use failover_core::time::Mono;

use super::Shell;
use super::builder::{Parts, ServicePart};
use super::dependency::{Dependency, News, Way};
use super::round::unreadable;
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
            let turn = |server| only.as_ref().is_none_or(|only| only.contains(&(ServiceId(number), server)));
            let out_of_turn = only.is_some();
            survey_service(shell, &parts, ServiceId(number), service, primary, (&turn, out_of_turn), &mut last, cancel, sink);
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

#[expect(clippy::too_many_arguments, reason = "one call, and every part of it is another thing")]
fn survey_service(
    shell: &Shell,
    parts: &Arc<Parts>,
    id: ServiceId,
    service: &ServicePart,
    primary: Option<ServerId>,
    (turn, out_of_turn): (&dyn Fn(ServerId) -> bool, bool),
    last: &mut Last,
    cancel: &Cancel,
    sink: &Sink,
) {
    let model = &parts.model.services[usize::from(id.0)];
    let candidates = model.servers.iter().filter(|server| server.candidate).count().saturating_sub(1);
    let dependency =
        |way, server: Option<&str>| Dependency { service: model.name.clone(), server: server.map(str::to_owned), way };
    let mut looked = false;
    for (place, server) in service.servers.iter().enumerate() {
        let Ok(number) = u16::try_from(place) else { break };
        let server_id = ServerId(number);
        if !turn(server_id) {
            continue;
        }
        looked = true;
        if server.target.is_none() {
            continue;
        }
        if cancel.is_cancelled() || shell.are_stale(parts) {
            return;
        }
        let asked = shell.clock.now();
        let name = model.servers.get(place).map(|server| server.name.as_str());
        let (by_ssh, by_sql) = (dependency(Way::Ssh, name), dependency(Way::Sql, name));
        if out_of_turn {
            shell.dependencies.changed(&by_ssh);
            shell.dependencies.changed(&by_sql);
        }
        let mut findings = Vec::new();
        let mut earlier = Vec::new();
        let (mut ssh, mut shown) = (None, None);
        if has_host(server) {
            if let Some(permit) = shell.dependencies.permit(&by_ssh) {
                (ssh, shown) = ask_host(server, &mut findings, cancel);
                if cancel.is_cancelled() {
                    return;
                }
                let outcome = ssh.as_ref().map_or(Ok(()), |ssh| ssh.as_ref().map(drop).map_err(Clone::clone));
                match &outcome {
                    Ok(()) => drop(last.ssh.remove(&(id, server_id))),
                    Err(why) => drop(last.ssh.insert((id, server_id), (asked, why.clone(), findings.clone()))),
                }
                tell(shell, &by_ssh, shell.dependencies.report(&by_ssh, permit, outcome));
            } else if let Some((asked, why, found)) = last.ssh.get(&(id, server_id)) {
                // Left alone for a while: it is as it was found.
                ssh = Some(Err(why.clone()));
                earlier.extend(found.iter().map(|finding| (*asked, finding.clone())));
            }
        }
        // A server that cannot be asked is the checks' business: what was known of it stays until it can be asked again.
        let answer = shell.dependencies.permit(&by_sql).and_then(|permit| {
            let stands = shell.replay_stands(id, server_id);
            let cluster = &service.performer.cluster;
            let answer = cluster.survey(server_id, primary, candidates, stands, Deadline::after(QUESTION), cancel);
            if cancel.is_cancelled() {
                return None;
            }
            let outcome = answer.as_ref().map(drop).map_err(|failure| failure.message.clone());
            tell(shell, &by_sql, shell.dependencies.report(&by_sql, permit, outcome));
            answer.ok()
        });
        if let Some(sql) = answer {
            if differs(&sql.identity, ssh.as_ref(), shown.as_ref()).is_some() {
                // It may have been restarted between the two questions.
                findings.clear();
                (ssh, shown) = ask_host(server, &mut findings, cancel);
            }
            findings.extend(differs(&sql.identity, ssh.as_ref(), shown.as_ref()).map(|why| other_server(&why)));
            findings.extend(sql.findings.iter().cloned());
            last.sql.insert((id, server_id), (asked, sql.findings));
        } else if let Some((asked, sql)) = last.sql.get(&(id, server_id)) {
            earlier.extend(sql.iter().map(|finding| (*asked, finding.clone())));
        }
        findings.sort();
        findings.dedup();
        if cancel.is_cancelled() || shell.are_stale(parts) {
            return;
        }
        sink(Input::Surveyed { service: id, server: server_id, readiness: Readiness { asked, ssh, findings, earlier } });
    }
    if !out_of_turn {
        ask_route(shell, parts, id, service, primary, last, cancel, sink);
    }
    if looked && service.performer.has_instances() {
        let route = dependency(Way::Route, None);
        if out_of_turn {
            shell.dependencies.changed(&route);
        }
        // Once something was moved, the watch over the route looks four times a second, and has no breaker.
        let Some(permit) = shell.dependencies.permit(&route) else { return };
        let asked = shell.clock.now();
        let instances = service.performer.view_route(Deadline::after(QUESTION), cancel);
        if cancel.is_cancelled() {
            return;
        }
        let dead = instances.iter().all(|instance| instance.servers.is_err());
        let why = instances.iter().find_map(|instance| {
            instance.servers.as_ref().err().map(|trouble| format!("{}: {}", instance.name, trouble.message))
        });
        let outcome = why.filter(|_| dead).map_or(Ok(()), Err);
        tell(shell, &route, shell.dependencies.report(&route, permit, outcome));
        if !cancel.is_cancelled() && !shell.are_stale(parts) {
            sink(Input::RouteSurveyed { service: id, survey: RouteSurvey { asked, instances } });
        }
    }
}

/// A client's way: who answers at the addresses of an application's route, and whether the names can be read.
#[expect(clippy::too_many_arguments, reason = "one call, and every part of it is another thing")]
fn ask_route(
    shell: &Shell,
    parts: &Arc<Parts>,
    id: ServiceId,
    service: &ServicePart,
    primary: Option<ServerId>,
    last: &mut Last,
    cancel: &Cancel,
    sink: &Sink,
) {
    let performer = &service.performer;
    if performer.verification.is_empty() && performer.names.is_empty() {
        return;
    }
    let asked = shell.clock.now();
    let mut findings = Vec::new();
    if !performer.verification.is_empty() {
        let seen = performer.who(Deadline::after(QUESTION), cancel);
        let name = |id: ServerId| performer.servers.get(usize::from(id.0)).map_or_else(String::new, |server| server.name.clone());
        findings = application::findings_of(&seen, primary, &name);
    }
    if !performer.names.is_empty() {
        let (wait, found) = last.names.entry(id).or_default();
        if *wait == 0 {
            *found = unreadable(performer.names.look(Deadline::after(QUESTION), cancel), performer.names_are_route);
            *wait = NAMES_EVERY;
        }
        *wait -= 1;
        findings.extend(found.iter().cloned());
    }
    if !cancel.is_cancelled() && !shell.are_stale(parts) {
        sink(Input::RouteAsked { service: id, primary, asked, findings });
    }
}

/// A breaker that opened, or closed again, is an event.
fn tell(shell: &Shell, about: &Dependency, news: Option<News>) {
    let Some(news) = news else { return };
    let severity = if news.open { Severity::Warning } else { Severity::Info };
    let mut fields = Map::new();
    fields.insert("dependency".to_owned(), Value::from(about.way.word()));
    fields.insert("open".to_owned(), Value::from(news.open));
    shell.say_about(EventKind::BreakerChanged, severity, &about.service, about.server.as_deref(), news.message, fields);
}

/// Which server a host shows in the data directory.
pub(super) type Shown = Option<ServerIdentity>;
type Word = Option<Result<HostWord, String>>;

/// Why what the host shows is not the server that answered over SQL.
pub(super) fn differs(
    sql: &ServerIdentity,
    word: Option<&Result<HostWord, String>>,
    shown: Option<&ServerIdentity>,
) -> Option<String> {
    let Some(Ok(_)) = word else { return None };
    match shown {
        Some(shown) => sql.differs(shown),
        None => Some("no server runs there, while this one answers".to_owned()),
    }
}

/// The finding about it.
pub(super) fn other_server(why: &str) -> ReadinessFinding {
    FindingCode::HostOtherServer.found(
        true,
        format!("the data directory on its host is not this server's: {why}. A fence there would stop somebody else and prove nothing"),
        "set host, data_dir and key of this server right: SHOW data_directory on it; with the wrapper --data-dir in authorized_keys",
    )
}

#[cfg(feature = "ssh")]
fn has_host(server: &super::builder::ServerPart) -> bool {
    server.survey.is_some()
}

#[cfg(not(feature = "ssh"))]
fn has_host(_: &super::builder::ServerPart) -> bool {
    false
}

#[cfg(feature = "ssh")]
pub(super) fn ask_host(
    server: &super::builder::ServerPart,
    findings: &mut Vec<ReadinessFinding>,
    cancel: &Cancel,
) -> (Word, Shown) {
    let Some(control) = server.survey.as_ref() else { return (None, None) };
    if let Some(ssh) = &server.action_ssh {
        // The session a failover will use: opened long before, and proven alive. What is wrong with it shows below as well.
        let _ = ssh.keep_alive(Deadline::after(QUESTION), cancel);
    }
    match control.readiness(Deadline::after(QUESTION), cancel) {
        Ok(mut said) => {
            findings.append(&mut said.findings);
            (Some(Ok(said.word)), said.shown)
        }
        Err(failure) => {
            let message = format!("its host cannot be asked over SSH, so it could not be fenced: {}", failure.message);
            findings.push(FindingCode::HostNotAsked.found(true, message, failure.remedy));
            (Some(Err(failure.message)), None)
        }
    }
}

#[cfg(not(feature = "ssh"))]
pub(super) fn ask_host(_: &super::builder::ServerPart, _: &mut Vec<ReadinessFinding>, _: &Cancel) -> (Word, Shown) {
    (None, None)
}
