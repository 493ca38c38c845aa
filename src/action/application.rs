//! Who answers for an application: asked through the route, by the way a client takes.

use std::collections::BTreeMap;

use crate::check::http::{HttpCheck, HttpParams};
use crate::check::{Check, Context};
use failover_core::finding::FindingCode;
use failover_core::id::ServerId;
use failover_core::observation::{DownCause, Finding, Verdict};
use failover_core::output::{Failure, Report};
use failover_core::sample::ReadinessFinding;

use super::command::{self, Subject};

/// Asks through the route of an application which server answers. The same question may be asked as often as one likes.
#[derive(Default)]
pub(crate) struct Verification {
    /// The addresses of the route, each with one request for every server: what it must answer to be that one.
    addresses: Vec<(String, BTreeMap<ServerId, HttpCheck>)>,
    /// A command that finds it out; empty where there is none.
    command: Vec<String>,
}

/// How an answer shows which server gave it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Requests of this URL scheme: `http` or `https`.
    pub scheme: &'static str,
    /// The path, beginning with `/`.
    pub path: String,
    /// What is common to all requests: status codes, names of TLS. Its URL is not used.
    pub params: HttpParams,
    /// The header that names the server; `None`: the body does.
    pub header: Option<String>,
    /// What each server calls itself there.
    pub values: BTreeMap<ServerId, String>,
}

/// What one address of the route says.
enum Seen {
    /// The right server serves there.
    Right,
    /// Nobody is there: a load balancer that is away carries no traffic to anybody.
    Away,
    /// An error or silence behind a load balancer that is there, or somebody else.
    Wrong,
}

/// Who answers at an address of the route.
pub(crate) enum Who {
    /// This server, by what it says of itself.
    Server(ServerId),
    /// Somebody who does not say who he is, or an error; what was said last.
    Unnamed(String),
    /// Nobody is there.
    Nobody(String),
}

/// What that means for a failover from `primary`. `name`: what a server is called.
#[must_use]
pub(crate) fn findings_of(
    seen: &[(String, Who)],
    primary: Option<ServerId>,
    name: &dyn Fn(ServerId) -> String,
) -> Vec<ReadinessFinding> {
    let all_silent = seen.iter().all(|(_, who)| matches!(who, Who::Nobody(_)));
    let finding = |code: FindingCode, blocking, message: String, remedy: &str| Some(code.found(blocking, message, remedy));
    let judged = seen.iter().filter_map(|(address, who)| match who {
        Who::Server(server) => primary.filter(|primary| primary != server).and_then(|primary| {
            finding(
                FindingCode::VerifyOtherServer,
                false,
                format!("the route at {address} is answered by {}, and {} is the primary", name(*server), name(primary)),
                "see which server the load balancer sends its clients to, and disable all but the primary there",
            )
        }),
        Who::Unnamed(said) => finding(
            FindingCode::VerifyUnidentified,
            true,
            format!("the route at {address} does not show which server answers, so a failover would be undone: {said}"),
            "ask the address by hand, and say in route.identity what an answer of each server looks like",
        ),
        Who::Nobody(why) => finding(
            FindingCode::VerifyUnreachable,
            all_silent,
            format!("nobody answers through the route at {address}, so a failover could not be verified: {why}"),
            "start the load balancer, or correct services.route.verify",
        ),
    });
    judged.collect()
}

impl Verification {
    /// Over these addresses (`host:port`), and by this command.
    ///
    /// # Errors
    /// One line when no request can be made of this.
    pub(crate) fn new(addresses: &[String], identity: &Identity, command: Vec<String>) -> Result<Verification, String> {
        let mut asked = Vec::new();
        for address in addresses {
            let mut requests = BTreeMap::new();
            for (server, value) in &identity.values {
                let mut params =
                    HttpParams { url: format!("{}://{address}{}", identity.scheme, identity.path), ..identity.params.clone() };
                match &identity.header {
                    Some(header) => params.expected_header = Some((header.clone(), value.clone())),
                    None => params.expected_body = Some(value.clone()),
                }
                requests.insert(*server, HttpCheck::new(params)?);
            }
            asked.push((address.clone(), requests));
        }
        Ok(Verification { addresses: asked, command })
    }

    /// There is nothing to ask.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.command.is_empty()
    }

    /// The hosts of its addresses.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(|(address, _)| address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host))
    }

    /// Asks every address at the same time whether this server answers there. It does if at least one address says so and none says
    /// otherwise; an address where nobody is carries no traffic and is only told of. In part, where none says that it is another one.
    ///
    /// # Errors
    /// What was seen instead, address by address.
    pub(crate) fn verify(&self, server: ServerId, subject: &Subject, context: &Context<'_>) -> Result<Report, Failure> {
        let mut told = Vec::new();
        let (mut right, mut wrong) = (0, Vec::new());
        for (address, finding) in self.ask(server, context) {
            match judge(&finding.verdict) {
                Seen::Right => right += 1,
                Seen::Away => {}
                Seen::Wrong => wrong.push(address.to_owned()),
            }
            told.push(format!("{address}: {}", finding.message));
        }
        if wrong.is_empty() && !self.command.is_empty() {
            told.push(command::verify(&self.command, subject, context.deadline, context.cancel)?);
            right += 1;
        }
        let message = format!("{} through the route: {}", subject.server, told.join("; "));
        if right > 0 && wrong.is_empty() {
            return Ok(Report::Traffic { message });
        }
        if right > 0 && self.command.is_empty() && !wrong.iter().any(|address| self.another_serves(address, server, context)) {
            return Ok(Report::TrafficInPart { message });
        }
        if context.cancel.is_cancelled() {
            return Err(Failure::cancelled(message));
        }
        Err(Failure::no_effect(
            format!("the route does not answer with {message}"),
            "ask the address by hand; route.identity says what an answer of each server looks like",
        ))
    }

    /// Another server of the service answers there, as itself and well.
    fn another_serves(&self, address: &str, server: ServerId, context: &Context<'_>) -> bool {
        let requests = self.addresses.iter().find(|(own, _)| own == address).map(|(_, requests)| requests);
        let others = requests.into_iter().flatten().filter(|(other, _)| **other != server);
        others.map(|(_, request)| request.run(context)).any(|finding| finding.verdict == Verdict::Up)
    }

    /// Who answers at each address now. Changes nothing; the command is not asked, for it answers about a server that was chosen.
    #[must_use]
    pub(crate) fn who(&self, context: &Context<'_>) -> Vec<(String, Who)> {
        let look = |requests: &BTreeMap<ServerId, HttpCheck>| {
            let mut said = String::new();
            for (server, request) in requests {
                let finding = request.run(context);
                match judge(&finding.verdict) {
                    Seen::Right => return Who::Server(*server),
                    Seen::Away => return Who::Nobody(finding.message),
                    Seen::Wrong => said = finding.message,
                }
            }
            Who::Unnamed(said)
        };
        let look = &look;
        std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .addresses
                .iter()
                .enumerate()
                .map(|(at, (address, requests))| {
                    let thread = std::thread::Builder::new().name(format!("fo-verify-{at}"));
                    (address, requests, thread.spawn_scoped(scope, move || look(requests)))
                })
                .collect();
            asked
                .into_iter()
                .map(|(address, requests, thread)| {
                    let who = match thread {
                        Ok(thread) => thread.join().unwrap_or_else(|_| Who::Nobody("an internal error (panic)".to_owned())),
                        Err(_) => look(requests),
                    };
                    (address.clone(), who)
                })
                .collect()
        })
    }

    fn ask(&self, server: ServerId, context: &Context<'_>) -> Vec<(&str, Finding)> {
        let requests: Vec<(&str, &HttpCheck)> =
            self.addresses.iter().filter_map(|(address, requests)| Some((address.as_str(), requests.get(&server)?))).collect();
        if let [(address, request)] = requests[..] {
            return vec![(address, request.run(context))];
        }
        std::thread::scope(|scope| {
            let asked: Vec<_> = requests
                .iter()
                .enumerate()
                .map(|(at, (_, request))| {
                    let name = format!("fo-verify-{at}");
                    std::thread::Builder::new().name(name).spawn_scoped(scope, move || request.run(context))
                })
                .collect();
            let panicked = || {
                let verdict = Verdict::Down(DownCause::WrongAnswer);
                context.finding(context.clock.now(), verdict, "an internal error (panic)", None)
            };
            asked
                .into_iter()
                .zip(&requests)
                .map(|(thread, (address, request))| match thread {
                    Ok(thread) => (*address, thread.join().unwrap_or_else(|_| panicked())),
                    // No thread to be had: later is better than never.
                    Err(_) => (*address, request.run(context)),
                })
                .collect()
        })
    }
}

fn judge(verdict: &Verdict) -> Seen {
    match verdict {
        Verdict::Up => Seen::Right,
        Verdict::Down(DownCause::Refused | DownCause::ConnectTimedOut | DownCause::HostUnreachable) | Verdict::Unknown(_) => {
            Seen::Away
        }
        Verdict::Down(DownCause::Reset | DownCause::AnswerTimedOut | DownCause::WrongAnswer) | Verdict::Impaired(_) => {
            Seen::Wrong
        }
    }
}
