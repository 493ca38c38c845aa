//! Every check once, and what the survey asks, without a running engine: `failover check`, and [`Engine::check_all`](super::Engine::check_all).

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crossbeam_channel::unbounded;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFlags, eventfd};

use crate::action::application::{self, Who};
use crate::action::dns::names::Names;
use crate::action::postgres::Surveyed;
use crate::check::Context;
use crate::deadline::{Cancel, Deadline};
use failover_core::Core;
use failover_core::durable::Durable;
use failover_core::finding::FindingCode;
use failover_core::id::{RunId, ServerId, ServiceId};
use failover_core::input::{Facts, Input, SelfHealth};
use failover_core::observation::{Finding, UnknownCause, Verdict};
use failover_core::output::Output;
use failover_core::route::RouteSurvey;
use failover_core::sample::{Readiness, ReadinessFinding, RouteInstance};
use failover_core::snapshot::ServiceSnapshot;
use failover_core::time::{Mono, Span};

use super::Shell;
use super::builder::{self, Means, Parts};
use super::error::EngineError;
use super::journal::Journal;
use super::looks::Look;
use super::pool::{Job, JobKind, Pool};
use super::ready;
use super::resolver::Resolver;
use super::status::{self, CheckReport, ReadyReport, ServiceReadiness};
use super::survey::{self, HostSaid, QUESTION};
use super::threads::{Blocked, panic_text};
use crate::clock::Clock;

/// Checks at the same moment.
const AT_ONCE: usize = 64;
/// After a check's own deadline it is waited for this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions of the survey at the same moment.
const ASKERS: usize = 16;

/// What is to be looked at.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    /// This service alone; `None`: every one.
    pub(super) service: Option<&'a str>,
    /// What the survey asks, too.
    pub(super) surveys: bool,
}

/// Looks once. What the look's deadline or cancel signal cut off is not told apart in the report: [`Look::was_whole`] says it.
///
/// # Errors
/// [`EngineError::InvalidArgument`] for an unknown service, and for what only shows when the parts are put together;
/// [`EngineError::System`] where something could not be asked: what is missing would look well.
pub(super) fn look(shell: &Shell, about: About<'_>, look: &Look) -> Result<ReadyReport, EngineError> {
    let resolver = Resolver::default();
    let means = Means {
        clock: shell.clock,
        addresses: Arc::new(resolver.clone()),
        embedder: Arc::clone(&shell.embedder),
        // Not the name of an engine: a running one must not take this for a rival.
        application_name: "failover check".to_owned(),
    };
    let old = shell.parts();
    let parts = match about.service {
        None => builder::build(&old.config, &means)?,
        Some(name) => {
            let unknown = || EngineError::InvalidArgument(format!("there is no service \"{name}\""));
            builder::build(&old.config.clone().only(name).ok_or_else(unknown)?, &means)?
        }
    };
    let all: Vec<(usize, usize)> = parts
        .services
        .iter()
        .enumerate()
        .flat_map(|(service, part)| (0..part.checks.len()).map(move |check| (service, check)))
        .collect();
    let (findings, why) = match run(shell.clock, &parts, &all, look, &resolver) {
        Ok(findings) => (as_last_answered(shell, &parts, &all, findings), "the check did not come back".to_owned()),
        Err(error) => (vec![None; all.len()], error.to_string()),
    };
    let report = |((service, check), finding): (&(usize, usize), &Option<Finding>)| {
        status::check_report(&parts.model.services[*service], *check, finding.as_ref(), &why, &shell.clock)
    };
    let checks: Vec<CheckReport> = all.iter().zip(&findings).map(report).collect();
    let asked = Asked { shell, parts: &parts, look, resolver: &resolver };
    let services = if about.surveys { forecast(&asked, &all, &findings, &checks) } else { Ok(Vec::new()) };
    parts.close();
    resolver.close();
    // A function of the host program may never come back; then its thread is left to it.
    let _ = look.threads.join(look.deadline.at_most(PATIENCE));
    Ok(ReadyReport { checks, services: services?, engine: Vec::new() })
}

/// Checks that the program answers when events ask for it cannot be asked here: of those counts what it last told the engine that runs.
fn as_last_answered(
    shell: &Shell,
    parts: &Parts,
    all: &[(usize, usize)],
    mut findings: Vec<Option<Finding>>,
) -> Vec<Option<Finding>> {
    let is_open = |finding: &&mut Option<Finding>| {
        finding.as_ref().is_some_and(|finding| finding.verdict == Verdict::Unknown(UnknownCause::NoAnswerFromHost))
    };
    for (place, finding) in findings.iter_mut().enumerate().filter(|(_, finding)| is_open(finding)) {
        let Some((service, check)) = all.get(place) else { continue };
        let model = &parts.model.services[*service];
        let snapshot = shell.core.lock().as_ref().map(|core| core.snapshot_of(&model.name));
        let seen = snapshot.and_then(|snapshot| snapshot.services.into_iter().next());
        let last = seen.and_then(|seen| seen.checks.into_iter().find(|seen| seen.name == model.checks[*check].name)?.last);
        if let Some((_, last)) = last {
            *finding = Some(Finding { began: shell.clock.now(), ..last });
        }
    }
    findings
}

/// Who is asked, and how.
struct Asked<'a> {
    shell: &'a Shell,
    parts: &'a Parts,
    look: &'a Look,
    resolver: &'a Resolver,
}

/// Asks what the survey asks, and lets a core of its own judge what was found: the forecast is that of the engine, not another one.
fn forecast(
    asked: &Asked<'_>,
    all: &[(usize, usize)],
    findings: &[Option<Finding>],
    checks: &[CheckReport],
) -> Result<Vec<ServiceReadiness>, EngineError> {
    let Asked { shell, parts, look, .. } = *asked;
    // Our own engine may be running, and is no rival.
    let own = builder::application_name(&parts.config);
    let own = own.strip_prefix("libfailover/").unwrap_or(&own);
    let findings: Vec<Option<Finding>> = findings
        .iter()
        .map(|finding| {
            let mut finding = finding.clone();
            if let Some(sample) = finding.as_mut().and_then(|finding| finding.sample.as_mut()) {
                sample.other_engines.retain(|name| name != own);
            }
            finding
        })
        .collect();
    let answers = Answers { all, findings: &findings };
    let mut asked = ask(asked, &answers)?;
    let mut core = watched_once(shell, parts, &answers);
    let mut through: Vec<Vec<ReadinessFinding>> = vec![Vec::new(); parts.services.len()];
    let now = shell.clock.now();
    for (place, part) in parts.services.iter().enumerate() {
        let Ok(number) = u16::try_from(place) else { break };
        let service = ServiceId(number);
        for server in 0..part.servers.len() {
            let Ok(number) = u16::try_from(server) else { break };
            let (mut host, mut sql) = (HostSaid::default(), None);
            for answer in asked.iter_mut().filter(|answer| answer.0 == place) {
                match &mut answer.1 {
                    Answer::Host(about, said) if *about == server => host = std::mem::take(said),
                    Answer::Sql(about, said) if *about == server => sql = said.take(),
                    _ => {}
                }
            }
            let switchover = sql.as_ref().and_then(|sql| sql.switchover.clone());
            let sources = host.sources.take();
            let (ssh, findings) = survey::as_one(&part.servers[server], host, sql, look.deadline, &look.cancel);
            let readiness = Readiness { asked: now, ssh, findings, earlier: Vec::new(), switchover, sources };
            core.step(now, Input::Surveyed { service, server: ServerId(number), readiness });
        }
        let mut who_answers = Vec::new();
        for answer in asked.iter_mut().filter(|answer| answer.0 == place) {
            match &mut answer.1 {
                Answer::Route(survey) => {
                    core.step(now, Input::RouteSurveyed { service, survey: survey.clone() });
                }
                Answer::Through(told) | Answer::Names(told) => through[place].append(told),
                Answer::Who(seen) => who_answers = std::mem::take(seen),
                Answer::Host(..) | Answer::Sql(..) => {}
            }
        }
        let primary = core.primaries().get(place).copied().flatten();
        through[place].extend(application::findings_of(&who_answers, primary, &|id| part.actions.name_of(id)));
    }
    let mut snapshot = core.snapshot();
    snapshot.services.iter_mut().for_each(as_of_the_look);
    let services = status::services(&snapshot, &parts.model, &shell.clock);
    let moved = |place: &usize| parts.model.services[*place].is_moved();
    let judged = services.into_iter().zip(through).enumerate().filter(|(place, _)| moved(place));
    let reports = judged
        .map(|(_, (service, through))| {
            let mut findings = service.readiness;
            findings.extend(through.into_iter().map(|found| status::readiness(None, 0, &found)));
            findings.sort_by_key(|finding| !finding.blocking);
            ready::service((service.name, service.kind), service.forecast, findings, checks)
        })
        .collect();
    Ok(reports)
}

/// There was one look: what it did not see of the log came after it, and is no reason to say that nothing is known.
fn as_of_the_look(service: &mut ServiceSnapshot) {
    let standbys = service.forecast.standbys.iter_mut().filter_map(|(_, judged)| judged.as_mut().ok());
    for candidate in standbys.chain(service.forecast.outcome.as_mut().ok()) {
        (candidate.unseen, candidate.away) = (Span::ZERO, Span::ZERO);
    }
}

/// What the checks found, and where it belongs.
struct Answers<'a> {
    all: &'a [(usize, usize)],
    findings: &'a [Option<Finding>],
}

impl<'a> Answers<'a> {
    fn of(&self, service: usize, check: usize) -> Option<&'a Finding> {
        let place = self.all.iter().position(|one| *one == (service, check))?;
        self.findings[place].as_ref()
    }

    /// The findings about one server that hold a sample.
    fn sampled(&self, parts: &Parts, service: usize, server: ServerId) -> Option<&'a Finding> {
        let checks = &parts.services[service].checks;
        let of_server = checks.iter().enumerate().filter(|(_, check)| check.server == server);
        of_server.filter_map(|(check, _)| self.of(service, check)).find(|finding| finding.sample.is_some())
    }
}

/// One question of the survey.
enum Question {
    Host(usize),
    Sql(usize, Option<ServerId>),
    Route,
    Through(ServerId, Option<u64>),
    Who,
    Names,
}

/// Its answer.
enum Answer {
    Host(usize, HostSaid),
    Sql(usize, Option<Surveyed>),
    Route(RouteSurvey),
    Through(Vec<ReadinessFinding>),
    Who(Vec<(String, Who)>),
    Names(Vec<ReadinessFinding>),
}

/// The questions of the survey.
fn questions(parts: &Parts, answers: &Answers<'_>) -> Vec<(usize, Question)> {
    let mut questions: Vec<(usize, Question)> = Vec::new();
    for (place, part) in parts.services.iter().enumerate() {
        let ids = (0..part.servers.len()).filter_map(|server| u16::try_from(server).ok().map(ServerId));
        let sample = |id: ServerId| answers.sampled(parts, place, id).and_then(|finding| finding.sample.as_ref());
        let primary = ids.clone().find(|id| sample(*id).is_some_and(|sample| !sample.in_recovery));
        for (server, _) in part.servers.iter().enumerate().filter(|(_, server)| server.target.is_some()) {
            questions.push((place, Question::Host(server)));
            questions.push((place, Question::Sql(server, primary)));
        }
        if part.actions.has_instances() {
            questions.push((place, Question::Route));
        }
        if !part.actions.verify.is_empty() {
            let system_id = primary.and_then(sample).map(|sample| sample.system_id);
            questions.push((place, Question::Through(primary.unwrap_or_default(), system_id)));
        }
        if !part.actions.verification.is_empty() {
            questions.push((place, Question::Who));
        }
        if !part.actions.names.is_empty() {
            questions.push((place, Question::Names));
        }
    }
    questions
}

/// Asks every question of the survey, some at a time, each with its own deadline and all with that of the look.
fn ask(asked: &Asked<'_>, answers: &Answers<'_>) -> Result<Vec<(usize, Answer)>, EngineError> {
    let Asked { shell, parts, look, resolver } = *asked;
    let questions = questions(parts, answers);
    let finished = Cancel::new().map_err(|error| EngineError::system("cannot make an event descriptor", error))?;
    let askers = questions.len().min(ASKERS);
    let (next, told, at_work) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(askers));
    let work = || {
        while let Some((place, question)) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
            if look.cancel.is_cancelled() || look.deadline.is_over() {
                break;
            }
            let answer = put(parts, *place, question, shell.clock.now(), look);
            told.lock().push((*place, answer));
        }
    };
    let asker = || {
        let _left = Left(&at_work, &finished);
        work();
    };
    let bug = std::thread::scope(|scope| {
        let begun: Vec<_> = {
            let _blocked = Blocked::new();
            let spawn = |_| std::thread::Builder::new().name("fo-look".into()).spawn_scoped(scope, asker).ok();
            (0..askers).filter_map(spawn).collect()
        };
        if begun.is_empty() {
            work();
        } else {
            // Those that there was no thread for are not waited for.
            (begun.len()..askers).for_each(|_| drop(Left(&at_work, &finished)));
            if look.cancel.wait_for(finished.as_fd(), PollFlags::IN, look.deadline).is_err() {
                // Whoever waits for a name waits no longer.
                resolver.close();
            }
        }
        let lost = begun.into_iter().filter_map(|asker| asker.join().err());
        lost.map(|payload| panic_text(&*payload)).last()
    });
    match bug {
        // Of this look alone: it freezes no decision.
        Some(bug) => Err(EngineError::system("a question of the survey ended by a bug", std::io::Error::other(bug))),
        None => Ok(told.into_inner()),
    }
}

/// Says when the last asker is done, however it ended.
struct Left<'a>(&'a AtomicUsize, &'a Cancel);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.1.cancel();
        }
    }
}

fn put(parts: &Parts, place: usize, question: &Question, asked: Mono, look: &Look) -> Answer {
    let part = &parts.services[place];
    let actions = &part.actions;
    let (deadline, cancel) = (look.deadline.at_most(QUESTION), &look.cancel);
    match question {
        Question::Host(server) => Answer::Host(*server, survey::ask_host(&part.servers[*server], look.deadline, cancel)),
        Question::Sql(server, primary) => {
            let id = ServerId(u16::try_from(*server).unwrap_or(u16::MAX));
            // A server that cannot be asked is the checks' business.
            let around = survey::around(&parts.model.services[place], id, *primary, false);
            let found = actions.cluster.survey(id, around, deadline, cancel).ok();
            Answer::Sql(*server, found)
        }
        Question::Route => Answer::Route(RouteSurvey { asked, instances: actions.view_route(deadline, cancel) }),
        Question::Who => Answer::Who(actions.who(deadline, cancel)),
        Question::Names => Answer::Names(of_names(&actions.names, actions.names_are_route, look.deadline, cancel)),
        Question::Through(server, system_id) => Answer::Through(actions.look_through(*server, *system_id, deadline, cancel)),
    }
}

/// Names that are in another zone than the configured one, and those that cannot be read.
pub(crate) fn of_names(names: &Names, are_route: bool, deadline: Deadline, cancel: &Cancel) -> Vec<ReadinessFinding> {
    let elsewhere = names.elsewhere(deadline.at_most(QUESTION), cancel);
    let mut looked = names.look(deadline.at_most(QUESTION), cancel);
    looked.retain(|instance| elsewhere.iter().all(|(name, _)| *name != instance.name));
    let mut found: Vec<ReadinessFinding> = elsewhere
        .into_iter()
        .map(|(_, failure)| FindingCode::NameElsewhere.found(are_route, failure.message, failure.remedy))
        .collect();
    found.extend(unreadable(looked, are_route));
    found
}

/// Names, and what is beside them, that cannot be read where they are changed.
fn unreadable(looked: Vec<RouteInstance>, are_route: bool) -> Vec<ReadinessFinding> {
    let found = looked.into_iter().filter_map(|instance| {
        let why = instance.result.err()?;
        Some(FindingCode::NameUnreadable.found(
            are_route,
            format!("{} cannot be read where it is changed: {why}", instance.name),
            "see that the provider can be reached from here, and that these credentials may read and change it",
        ))
    });
    found.collect()
}

/// A core that has heard each check once. One answer is all there will be, so it is enough here; what it wants done is not done.
/// What an operator told the engine of this state directory counts here too.
fn recall_orders(core: &mut Core, shell: &Shell, parts: &Parts) {
    let journal = Journal::read_only(&parts.config.state_dir, String::new());
    for (place, model) in parts.model.services.iter().enumerate() {
        let Ok(number) = u16::try_from(place) else { return };
        let Some(known) = journal.facts(model, SystemTime::now()).filter(|known| !known.durable.cordoned.is_empty()) else {
            continue;
        };
        let durable = Durable { cordoned: known.durable.cordoned, ..Durable::default() };
        let facts = Box::new(Facts { durable, ..Facts::default() });
        core.step(shell.clock.now(), Input::Restored { service: ServiceId(number), facts });
    }
}

fn watched_once(shell: &Shell, parts: &Parts, answers: &Answers<'_>) -> Core {
    /// The first runs are spread over less than this.
    const SPREAD: Span = Span::from_millis(60_000);
    let mut model = parts.model.clone();
    model.services.iter_mut().flat_map(|service| &mut service.checks).for_each(|check| check.success_threshold = 1);
    let mut core = Core::new(model);
    recall_orders(&mut core, shell, parts);
    let mut now = shell.clock.now();
    let end = now + SPREAD;
    let mut heard = vec![false; answers.all.len()];
    let well = SelfHealth { journal_writable: true, ..SelfHealth::default() };
    let mut wanted: VecDeque<Output> = core.step(now, Input::SelfHealth(well)).into();
    loop {
        let Some(output) = wanted.pop_front() else {
            if heard.iter().all(|heard| *heard) {
                return core;
            }
            now = core.next_deadline().max(now);
            if now > end {
                return core;
            }
            let more = core.step(now, Input::Tick);
            if more.is_empty() && core.next_deadline() <= now {
                return core;
            }
            wanted.extend(more);
            continue;
        };
        let nothing = || Finding {
            verdict: Verdict::Unknown(UnknownCause::Internal),
            message: "it was not asked".to_owned(),
            began: now,
            latency: Span::ZERO,
            sample: None,
        };
        let input = match output {
            Output::RunCheck { run, service, check, .. } => {
                let (service, check) = (usize::from(service.0), usize::from(check.0));
                let place = answers.all.iter().position(|one| *one == (service, check));
                if let Some(first) = place.and_then(|place| heard.get_mut(place)) {
                    if *first {
                        continue;
                    }
                    *first = true;
                }
                Input::CheckFinished { run, finding: answers.of(service, check).cloned().unwrap_or_else(nothing) }
            }
            Output::OpenSession { run, service, server, .. } => {
                if answers.sampled(parts, usize::from(service.0), server).is_some() {
                    Input::SessionOpened { run }
                } else {
                    Input::SessionFailed { run, finding: nothing() }
                }
            }
            _ => continue,
        };
        wanted.extend(core.step(now, input));
    }
}

/// Rung with every answer of a check.
struct Bell(OwnedFd);

impl Bell {
    fn new() -> Result<Bell, EngineError> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        made.map(Bell).map_err(|error| EngineError::system("cannot make an event descriptor", error))
    }

    fn ring(&self) {
        // A full counter wakes as well.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Waits until it has been rung since the last wait. `false`: the deadline or the signal came first.
    fn wait(&self, deadline: Deadline, cancel: &Cancel) -> bool {
        let rung = cancel.wait_for(self.0.as_fd(), PollFlags::IN, deadline).is_ok();
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
        rung
    }
}

fn run(
    clock: Clock,
    parts: &Parts,
    all: &[(usize, usize)],
    look: &Look,
    resolver: &Resolver,
) -> Result<Vec<Option<Finding>>, EngineError> {
    resolver.learn(parts.hosts());
    resolver.start(&look.threads)?;
    // One answer for each check: bounded by their number.
    let (sender, receiver) = unbounded();
    let bell = Arc::new(Bell::new()?);
    let rung = Arc::clone(&bell);
    let sink = move |input| {
        drop(sender.send(input));
        rung.ring();
    };
    let workers = all.len().clamp(1, AT_ONCE);
    let pool = Pool::start(&look.threads, "check", workers, workers, clock, sink)?;
    let mut findings = vec![None; all.len()];
    for (round, batch) in all.chunks(AT_ONCE).enumerate() {
        if look.cancel.is_cancelled() || look.deadline.is_over() {
            break;
        }
        let first = round * AT_ONCE;
        let mut longest = Duration::ZERO;
        for (place, (service, check)) in batch.iter().enumerate() {
            let timeout = Duration::from(parts.model.services[*service].checks[*check].timeout);
            longest = longest.max(timeout);
            let run = RunId((first + place) as u64);
            let name = parts.model.services[*service].checks[*check].name.clone();
            let (check, addresses) = (Arc::clone(&parts.services[*service].checks[*check].check), resolver.clone());
            pool.submit(Job {
                run,
                kind: JobKind::Check,
                name,
                target: (ServiceId(0), ServerId(0)),
                deadline: look.deadline.at_most(timeout),
                late: Duration::ZERO,
                work: Box::new(move |deadline, cancel| {
                    let finding = check.run(&Context { deadline, cancel, clock: &clock, sample: true, addresses: &addresses });
                    Input::CheckFinished { run, finding }
                }),
            });
        }
        let patience = look.deadline.at_most(longest + PATIENCE);
        while findings[first..first + batch.len()].iter().any(Option::is_none) {
            let rung = bell.wait(patience, &look.cancel);
            for input in receiver.try_iter() {
                if let Input::CheckFinished { run, finding } = input
                    && let Some(place) = usize::try_from(run.0).ok().and_then(|place| findings.get_mut(place))
                {
                    *place = Some(finding);
                }
            }
            if !rung {
                break;
            }
        }
    }
    pool.close();
    Ok(findings)
}
