//! Who answers through the route, and whether an ordinary commit goes through there (rules 43, 44).

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::identity::Identity;
use super::verify::{Commit, most_of, ordinary_commit, sync_settings};
use super::{Cluster, Server, bar, is_full, untouched};
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::postgres::{Endpoint, Error, Session, Target};
use crate::wire::resolve::Addresses;
use failover_core::finding::FindingCode;
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};
use failover_core::sample::ReadinessFinding;
use failover_core::time::Span;

/// Between two tries while the load balancer still closes or refuses.
const TRY_EVERY: Duration = Duration::from_millis(20);
/// One try: a black hole behind the route must not use up the time of the next try.
const TRY: Duration = Duration::from_secs(2);
/// Once one address is verified, the others get this long: a dead load balancer must not fail a failover, and must be reported.
const GRACE: Duration = Duration::from_secs(1);

/// What is left for the cross-check where no place is left for a look.
const CROSS_CHECK: Duration = Duration::from_secs(1);

/// What became of one address.
enum Outcome {
    /// The new primary answered and committed.
    Verified(String),
    /// Somebody else answered, or the new primary did not commit.
    Wrong(String),
    /// A server of another cluster answered: asking again cannot mend that (rule 69).
    Foreign(String),
    /// A PostgreSQL answered that it has no place left: it could not be asked who it is.
    Full(String),
    /// Nobody answered.
    Silent(String),
    Cancelled,
}

/// The way of the clients.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    /// Where it begins.
    pub endpoints: &'a [Endpoint],
    /// Where those are.
    pub addresses: &'a dyn Addresses,
    /// Who of the route says that all new sessions go to the server; or why that is not known.
    pub sends_all: &'a (dyn Fn(Deadline) -> Result<String, String> + Sync),
}

impl Cluster {
    /// Connects through each address of the route, as the role and with the settings of `server`, and proves who answers: the same postmaster as a direct connection to `server` shows,
    /// not in recovery, on `timeline`, with an ordinary commit acknowledged. Nothing is written before the identity is proven.
    ///
    /// Tries again until the deadline while an address refuses, closes, or leads to another server of the same cluster. The addresses
    /// are asked at the same time; at least one has to be verified, and none may lead elsewhere. One that does not answer at all is
    /// named in the report.
    ///
    /// Where clients have taken every place, nobody can be asked who he is. [`Report::TrafficFull`] is the answer if the addresses say so to the
    /// end, `server` itself says the same to a direct connection, and the route says that it sends all sessions there.
    ///
    /// # Errors
    /// `NoEffect` when nobody or somebody else answers, with each address and what was found there. A server of another cluster ends
    /// the tries at once (rule 69).
    pub(crate) fn verify_traffic(
        &self,
        server: ServerId,
        system_id: u64,
        timeline: u32,
        way: Way<'_>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let Way { endpoints: route, addresses, .. } = way;
        let place = self.server(server)?;
        let name = &place.name;
        if route.is_empty() {
            return Err(Failure::no_effect("no address of the route to verify the traffic through", "set services.route.verify"));
        }
        let (mut session, direct) = self.identified(server, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if direct.system_id != system_id || direct.in_recovery || direct.timeline != timeline {
            return Err(Failure::no_effect(
                format!(
                    "{name} itself is {}, expected a primary of cluster {system_id} on timeline {timeline}",
                    direct.describe()
                ),
                "find out whether the promotion took place",
            ));
        }
        let (_, mode) = sync_settings(&mut session, deadline, cancel).map_err(|error| untouched(name, &error))?;
        self.keep(server, session);

        let asking = deadline.at_most(deadline.remaining().saturating_sub(CROSS_CHECK));
        let expected = Expected { addresses, name, direct: &direct, mode: &mode, first_verified: Mutex::new(None) };
        let outcomes: Vec<(String, Outcome)> = std::thread::scope(|scope| {
            let expected = &expected;
            let askers: Vec<_> = route
                .iter()
                .map(|endpoint| {
                    let target = Target { endpoint: endpoint.clone(), ..place.target.clone() };
                    let asker = std::thread::Builder::new()
                        .name("traffic".into())
                        .spawn_scoped(scope, move || ask_through(&target, expected, asking, cancel));
                    (endpoint.to_string(), asker)
                })
                .collect();
            askers
                .into_iter()
                .map(|(address, asker)| {
                    let outcome = match asker {
                        Ok(asker) => asker.join().unwrap_or_else(|_| Outcome::Silent("the asking thread panicked".to_owned())),
                        Err(error) => Outcome::Silent(format!("no thread to ask with: {error}")),
                    };
                    (address, outcome)
                })
                .collect()
        });
        let judged = judge(name, &outcomes);
        match judged {
            Err(failure) if all_full(&outcomes) => self.cross_check(place, &failure, way, deadline, cancel),
            judged => judged,
        }
    }

    /// Every place is taken behind the route: is it the new primary that has none left?
    fn cross_check(
        &self,
        place: &Server,
        failure: &Failure,
        way: Way<'_>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let name = &place.name;
        let also = |why: String| Failure { message: format!("{}; {why}", failure.message), ..failure.clone() };
        // With a place left there, either it has become free just now, or the route leads elsewhere: asking again tells.
        match self.connect(&place.target, deadline, cancel) {
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(also(format!("{name} itself answers: {error}"))),
            Ok(_) => return Err(also(format!("{name} itself has a connection slot left"))),
        }
        let route = (way.sends_all)(deadline).map_err(also)?;
        Ok(Report::TrafficFull {
            message: format!(
                "the route is open, and the engine could not log in through it to see which server answers: {}; {name} itself has no connection slot left either, and the load balancers report that all sessions go there ({route})",
                failure.message
            ),
        })
    }

    /// Asks once through each address of the route who answers there now, as the role of `server`, and changes nothing. `system_id`:
    /// of the cluster that should answer, where it is known.
    pub(crate) fn look_through(
        &self,
        server: ServerId,
        system_id: Option<u64>,
        (route, addresses): (&[Endpoint], &dyn Addresses),
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Vec<ReadinessFinding> {
        let Ok(place) = self.server(server) else { return Vec::new() };
        let look = |endpoint: &Endpoint| {
            let target = Target { endpoint: endpoint.clone(), ..place.target.clone() };
            let mut session = Session::connect(&target, addresses, deadline, cancel)?;
            Identity::read(&mut session, deadline, cancel)
        };
        let seen: Vec<Result<Identity, Error>> = std::thread::scope(|scope| {
            let look = &look;
            let askers: Vec<_> = route
                .iter()
                .map(|endpoint| std::thread::Builder::new().name("traffic".into()).spawn_scoped(scope, move || look(endpoint)))
                .collect();
            let own = |why: String| Err(Error::Local(why));
            askers
                .into_iter()
                .map(|asker| match asker {
                    Ok(asker) => asker.join().unwrap_or_else(|_| own("the asking thread panicked".to_owned())),
                    Err(error) => own(format!("no thread to ask with: {error}")),
                })
                .collect()
        });
        // As in `judge`: one address that leads to the primary is enough.
        let all_silent = seen.iter().all(Result::is_err);
        let finding = |code: FindingCode, blocking, message: String, remedy: &str| Some(code.found(blocking, message, remedy));
        let judged = route.iter().zip(seen).filter_map(|(address, seen)| match seen {
            Err(error) if is_full(&error) => finding(
                FindingCode::VerifyFull,
                false,
                format!("the server behind the route at {address} has no connection slot left, so the engine could not see which server answers after a failover: {error}"),
                &bar(&error).unwrap_or("end sessions, or raise max_connections; from PostgreSQL 16 on, reserved_connections reserves slots for members of pg_use_reserved_connections".into()),
            ),
            // The server's own words: the way is open, and the engine is not let in.
            Err(error @ (Error::Authentication(_) | Error::Server(_))) => finding(
                FindingCode::VerifyRefused,
                all_silent,
                format!("the server behind the route at {address} refuses the engine's login, so a failover could not be verified: {error}"),
                &bar(&error).unwrap_or("correct services.connection, or allow the engine's role from the load balancer's address (pg_hba.conf)".into()),
            ),
            Err(error) => finding(
                FindingCode::VerifyUnreachable,
                all_silent,
                format!("nobody answers through the route at {address}, so a failover could not be verified: {error}"),
                "start the load balancer, correct services.route.verify, and allow the engine's role from there (pg_hba.conf)",
            ),
            Ok(identity) if system_id.is_some_and(|known| known != identity.system_id) => finding(
                FindingCode::VerifyForeign,
                true,
                format!("the route at {address} leads to another cluster: {}", identity.describe()),
                "take that server out of the load balancer's configuration, or correct services.route.verify",
            ),
            Ok(identity) if identity.in_recovery => finding(
                FindingCode::VerifyStandby,
                false,
                format!("the route at {address} leads to a standby: {}", identity.describe()),
                "let the load balancer send connections to the primary only: its check must tell a standby from a primary",
            ),
            Ok(_) => None,
        });
        judged.collect()
    }
}

/// Asks through one address until the right server answers.
fn ask_through(target: &Target, expected: &Expected<'_>, deadline: Deadline, cancel: &Cancel) -> Outcome {
    let began = Instant::now();
    let mut tries = 0u32;
    let mut found: Option<Outcome> = None;
    loop {
        tries += 1;
        match ask_once(target, expected, deadline.at_most(TRY), cancel) {
            Outcome::Verified(text) => {
                expected.first_verified.lock().get_or_insert_with(Instant::now);
                let after =
                    if tries > 1 { format!(" (try {tries}, after {})", Span::from(began.elapsed())) } else { String::new() };
                return Outcome::Verified(text + &after);
            }
            outcome @ (Outcome::Foreign(_) | Outcome::Cancelled) => return outcome,
            outcome => {
                // A last try that the deadline cut short says less than the one before it.
                let outcome = match found.take() {
                    Some(before) if deadline.is_over() && matches!(outcome, Outcome::Silent(_)) => before,
                    _ => outcome,
                };
                let given_up = (*expected.first_verified.lock()).is_some_and(|at| at.elapsed() >= GRACE);
                match cancel.pause(TRY_EVERY, deadline) {
                    Ok(()) if !given_up => found = Some(outcome),
                    Err(Interrupted::Cancelled) => return Outcome::Cancelled,
                    Ok(()) | Err(Interrupted::TimedOut) => return outcome,
                }
            }
        }
    }
}

/// One connection, one question, and only if the answer is right one commit.
fn ask_once(target: &Target, expected: &Expected<'_>, deadline: Deadline, cancel: &Cancel) -> Outcome {
    let silent = |error: &Error| {
        if error.is_cancelled() {
            Outcome::Cancelled
        } else if is_full(error) {
            Outcome::Full(format!("a server answers that has no connection slot left: {error}"))
        } else {
            Outcome::Silent(format!("no answer: {error}"))
        }
    };
    let mut session = match Session::connect(target, expected.addresses, deadline, cancel) {
        Ok(session) => session,
        Err(error) => return silent(&error),
    };
    let identity = match Identity::read(&mut session, deadline, cancel) {
        Ok(identity) => identity,
        Err(error) => return silent(&error),
    };
    if identity.system_id != expected.direct.system_id {
        return Outcome::Foreign(format!("answered by {}, which is another cluster", identity.describe()));
    }
    if identity.in_recovery || identity.timeline != expected.direct.timeline || !identity.is_same_postmaster(expected.direct) {
        return Outcome::Wrong(format!(
            "answered by another server: {}, port {} of its own, started at another moment",
            identity.describe(),
            identity.port
        ));
    }
    if identity.read_only {
        return Outcome::Wrong(format!("answered by {}, where transactions are read-only", expected.name));
    }
    match ordinary_commit(&mut session, expected.mode, most_of(deadline), deadline, cancel) {
        Ok(Commit::Done) => Outcome::Verified(format!("answered by {}, a commit went through", expected.name)),
        Ok(Commit::Waits) => Outcome::Wrong(format!(
            "answered by {}, and an ordinary commit waits there, probably for a synchronous standby",
            expected.name
        )),
        Err(error) if error.is_cancelled() => Outcome::Cancelled,
        Err(error) => Outcome::Wrong(format!("answered by {}, and an ordinary commit failed: {error}", expected.name)),
    }
}

/// What the right answer looks like.
struct Expected<'a> {
    addresses: &'a dyn Addresses,
    name: &'a str,
    direct: &'a Identity,
    mode: &'a str,
    first_verified: Mutex<Option<Instant>>,
}

/// At least one address leads to the new primary, and none leads elsewhere.
fn judge(name: &str, outcomes: &[(String, Outcome)]) -> Result<Report, Failure> {
    let message = outcomes
        .iter()
        .map(|(address, outcome)| match outcome {
            Outcome::Verified(text)
            | Outcome::Wrong(text)
            | Outcome::Foreign(text)
            | Outcome::Full(text)
            | Outcome::Silent(text) => format!("{address}: {text}"),
            Outcome::Cancelled => format!("{address}: cancelled"),
        })
        .collect::<Vec<_>>()
        .join("; ");
    if outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Cancelled)) {
        return Err(Failure::cancelled(message));
    }
    let foreign = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Foreign(_)));
    let wrong = foreign || outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Wrong(_)));
    let verified = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Verified(_)));
    if foreign {
        Err(Failure::no_effect(
            message,
            "take that server out of the load balancer's configuration, or correct services.route.verify",
        ))
    } else if wrong {
        Err(Failure::no_effect(
            message,
            format!("look at what the route does with connections: all of them have to reach {name}"),
        ))
    } else if verified {
        Ok(Report::Traffic { message })
    } else if all_full(outcomes) {
        Err(Failure::no_effect(
            message,
            "make room for the engine: end sessions, or raise max_connections; from PostgreSQL 16 on, reserved_connections reserves slots for members of pg_use_reserved_connections",
        ))
    } else {
        Err(Failure::no_effect(message, "start the load balancer, and make sure that it has a server that is up"))
    }
}

/// Somebody answered that he has no place left, and nobody else was seen.
fn all_full(outcomes: &[(String, Outcome)]) -> bool {
    outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Full(_)))
        && outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Full(_) | Outcome::Silent(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(address: &str, outcome: Outcome) -> (String, Outcome) {
        (address.to_owned(), outcome)
    }

    #[test]
    fn one_verified_address_is_enough_where_another_is_silent() {
        let report =
            judge("db2", &[outcome("a:1", Outcome::Verified("yes".into())), outcome("b:1", Outcome::Silent("refused".into()))]);
        assert_eq!(report, Ok(Report::Traffic { message: "a:1: yes; b:1: refused".into() }));
    }

    #[test]
    fn one_address_that_leads_elsewhere_fails_it() {
        let report =
            judge("db2", &[outcome("a:1", Outcome::Verified("yes".into())), outcome("b:1", Outcome::Wrong("db1".into()))]);
        assert!(report.is_err());
    }

    /// Rule 162: a server that has no place left is no silence, and no proof; beside one that is wrong it is nothing.
    #[test]
    fn a_server_without_a_place_is_no_silence_and_no_proof() {
        let full = || outcome("a:1", Outcome::Full("53300".into()));
        let failure = judge("db2", &[full(), outcome("b:1", Outcome::Silent("refused".into()))]).unwrap_err();
        assert!(failure.remedy.contains("max_connections") && !failure.remedy.contains("load balancer"), "{failure:?}");
        assert!(judge("db2", &[full(), outcome("b:1", Outcome::Verified("yes".into()))]).is_ok());
        assert!(!all_full(&[full(), outcome("b:1", Outcome::Wrong("db1".into()))]));
        assert!(!all_full(&[outcome("b:1", Outcome::Silent("refused".into()))]));
    }

    #[test]
    fn silence_alone_is_no_proof() {
        assert!(judge("db2", &[outcome("a:1", Outcome::Silent("refused".into()))]).is_err());
    }
}
