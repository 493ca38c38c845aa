//! What an operator can do about a check that is not up, and about a refusal: there the words stand in the core's tables.

use std::borrow::Cow;

use crate::wire::postgres::{ENDED_AT_START, WAITING_FOR_START, login};
use failover_core::event::{Event, EventKind, Field, Remedy, Severity};
use failover_core::model::CheckKind;
use failover_core::observation::{DownCause, Impairment, UnknownCause, Verdict};
use failover_core::refusal::{CandidateRefusal, Refusal};

/// What mends the refusal of that name; empty where the sentence says it, or only time can.
pub(super) fn of_refusal(name: &str, service: &str) -> String {
    Refusal::row(name).map_or_else(String::new, |row| row.remedy(service, ""))
}

/// What makes a standby fit to be promoted. `primary_in_recovery`: who is called the primary and is in recovery, and so is no reason to
/// give up one that takes writes.
pub(super) fn of_standby(refusal: &CandidateRefusal, service: &str, standby: &str, primary_in_recovery: Option<&str>) -> String {
    match (refusal, primary_in_recovery) {
        (CandidateRefusal::NotInRecovery, Some(primary)) => format!(
            "failover adopt {service} {standby}, if it is the right primary ({primary}, which is called that, is in recovery); or correct names or addresses that were exchanged in the configuration"
        ),
        _ => CandidateRefusal::row(refusal.name()).map_or_else(String::new, |row| row.remedy(service, standby)),
    }
}

/// What mends what an event tells; empty for good news, and where nothing is known. Beside no service its name is `SERVICE`.
pub(super) fn of_event(event: &Event, service: &str, server: &str) -> String {
    if event.severity <= Severity::Info {
        return String::new();
    }
    let field = |wanted: &str| event.fields.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let word = |wanted: &str| match field(wanted) {
        Some(Field::Text(word)) => word.as_str(),
        _ => "",
    };
    let own = word("remedy");
    if !own.is_empty() {
        return own.to_owned();
    }
    let service = if service.is_empty() { "SERVICE" } else { service };
    match event.kind.row().remedy {
        // It goes on by itself: what it lacks was told before.
        Remedy::Refusal(_) if field("automatic") == Some(&Field::Bool(true)) => String::new(),
        // The limit of the whole engine holds it up.
        Remedy::Refusal(_) if field("limit").is_some() => of_refusal("too_many_at_once", service),
        Remedy::Refusal(name) => of_refusal(name, service),
        Remedy::Text(text) => text.replace("{service}", service).replace("{server}", server),
        Remedy::Named => match (word("refusal"), word("reason"), word("code")) {
            ("", "", code) => of_refusal(code, service),
            ("", reason, _) => CandidateRefusal::row(reason).map_or_else(String::new, |row| row.remedy(service, server)),
            (refusal, ..) => of_refusal(refusal, service),
        },
        Remedy::No => String::new(),
    }
}

/// What mends what an event of the engine's own shell tells: it names nobody.
pub(super) fn of_kind(kind: EventKind, severity: Severity) -> Option<String> {
    match kind.row().remedy {
        Remedy::Text(text) if severity > Severity::Info => Some(text.to_owned()),
        _ => None,
    }
}

/// What runs at the start of every session failed.
const ENDED: &str = "mend what runs at the start of each session: a login event trigger (as a superuser with PGOPTIONS='-c event_triggers=off': \
    SELECT evtname FROM pg_event_trigger WHERE evtevent = 'login', then ALTER EVENT TRIGGER ... DISABLE, and connect to that database of the primary once), or session_preload_libraries \
    of the role, the database or the server; or a transaction_timeout of the server that is shorter than a login";
/// It may be what runs at the start of every session, or the whole server.
const WAITED: &str = "read the server's log, and look at the load of its host; where both are quiet, something waits at the start of each \
    session: a login event trigger (SELECT evtname FROM pg_event_trigger WHERE evtevent = 'login', then ALTER EVENT TRIGGER ... \
    DISABLE), or a library of session_preload_libraries";

/// One sentence; empty where nothing is known. PostgreSQL's own errors stand in the message with SQLSTATE and source routine,
/// which are never translated.
pub(crate) fn of_check(kind: CheckKind, verdict: &Verdict, message: &str) -> Cow<'static, str> {
    let refused = matches!(verdict, Verdict::Impaired(_)) && kind == CheckKind::Postgres;
    refused.then(|| login::remedy(message)).flatten().unwrap_or_else(|| known(kind, verdict, message).into())
}

fn known(kind: CheckKind, verdict: &Verdict, message: &str) -> &'static str {
    let said = |word: &str| message.contains(word);
    match verdict {
        Verdict::Impaired(Impairment::QueryRefused) if said(ENDED_AT_START) => ENDED,
        Verdict::Down(DownCause::AnswerTimedOut) | Verdict::Impaired(Impairment::NoNewSessions) if said(WAITING_FOR_START) => {
            WAITED
        }
        Verdict::Impaired(Impairment::Authentication) if kind == CheckKind::Postgres => {
            "set services.connection.password, and compare the role with the server's pg_hba.conf"
        }
        Verdict::Impaired(Impairment::Authentication) => "give the check the credentials that the server asks for",
        Verdict::Impaired(Impairment::QueryRefused) if said("3D000") => {
            "correct services.connection.database, or make that database on the primary"
        }
        Verdict::Impaired(Impairment::QueryRefused) if said("42501") => {
            "grant the engine's role the right with contrib/rights.sql"
        }
        Verdict::Impaired(Impairment::QueryRefused) => "correct the query of this check, or the rights of its role",
        Verdict::Impaired(Impairment::Tls) => {
            "give the trusted authority by sslrootcert, and connect by a name that the server's certificate holds"
        }
        Verdict::Impaired(Impairment::Saturated) => {
            if said("report_fork_failure_to_client") {
                "let the server's user have more processes, or its host more memory"
            } else {
                "free connection slots, or reserve some: reserved_connections, max_connections"
            }
        }
        // It waits for good: PostgreSQL says "not yet" where it will come.
        Verdict::Impaired(Impairment::Starting) if said("the database system is not accepting connections") => {
            "set hot_standby = on in its configuration and restart it: as it is, nobody can ask it"
        }
        Verdict::Impaired(Impairment::Starting | Impairment::Recovering) => "wait until the server accepts connections",
        Verdict::Impaired(Impairment::Stopping) => "start the server again once it has stopped",
        Verdict::Impaired(Impairment::WriteBlocked) => {
            "find out what blocks writes: synchronous_standby_names, a full disk, default_transaction_read_only"
        }
        Verdict::Impaired(Impairment::NoNewSessions) => {
            "look at the postmaster on the server's host (stopped, or held up?); failover force replaces the server"
        }
        Verdict::Impaired(Impairment::WrongRole) => {
            "promote it (SELECT pg_promote()), or let a standby take over: failover force"
        }
        Verdict::Down(DownCause::Refused) if kind == CheckKind::Postgres => {
            "start the server, correct host and port, and let it listen there (listen_addresses)"
        }
        Verdict::Down(DownCause::Refused) => "start what should listen there, or correct the address",
        Verdict::Down(DownCause::ConnectTimedOut | DownCause::HostUnreachable) => {
            "start the host, correct the address, and open the way to it in the firewalls"
        }
        Verdict::Down(DownCause::Reset | DownCause::AnswerTimedOut) => "read the server's log, and look at the load of its host",
        Verdict::Down(DownCause::WrongAnswer) if kind == CheckKind::Postgres => {
            "make sure that the address is that of a PostgreSQL server, and that the query of this check returns a row"
        }
        Verdict::Down(DownCause::WrongAnswer) => "compare what it answers with what the check expects",
        Verdict::Unknown(UnknownCause::Resolver) => "correct the name, or add it to the DNS or to /etc/hosts",
        Verdict::Unknown(UnknownCause::NoRoute) => "give this machine a route to that network",
        Verdict::Unknown(UnknownCause::OwnResources) => "raise this process's limits: descriptors (ulimit -n), memory, ports",
        Verdict::Unknown(UnknownCause::Internal) if said("No such file") || said("ermission denied") => {
            "put the file there, readable by the user who runs this"
        }
        Verdict::Unknown(UnknownCause::NoAnswerFromHost) => "run the program that answers this check",
        Verdict::Up | Verdict::Unknown(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use failover_core::id::{Generation, Seq};
    use failover_core::time::Mono;

    /// Names or addresses were exchanged: nobody is told to throw the data of the one that takes writes away.
    #[test]
    fn beside_a_primary_in_recovery_the_one_that_takes_writes_is_not_to_be_rebuilt() {
        let of = |primary| of_standby(&CandidateRefusal::NotInRecovery, "orders", "db2", primary);
        assert_eq!(of(None), "if another server is the primary, stop this one and rebuild it as a standby of that server");
        let adopt = of(Some("db1"));
        let begin =
            "failover adopt orders db2, if it is the right primary (db1, which is called that, is in recovery); or correct names";
        assert!(adopt.starts_with(begin) && !adopt.contains("rebuild"), "{adopt}");
    }

    /// No remedy has a hole in it, and a name stands where a name belongs.
    #[test]
    fn every_remedy_of_the_tables_is_whole() {
        for row in Refusal::TABLE.iter().chain(CandidateRefusal::TABLE) {
            let remedy = row.remedy("orders", "db2");
            assert!(!remedy.contains(['{', '}']), "{}: {remedy}", row.name);
            assert!(!row.means.is_empty() && row.means.ends_with('.'), "{}", row.name);
        }
        assert_eq!(of_refusal("paused", "orders"), "failover resume orders");
        assert_eq!(of_refusal("nothing", "orders"), "");
        let behind = CandidateRefusal::Behind { by: None, bytes: 96, limit: 0 };
        let lost = "if the primary is dead and you accept the loss: failover force orders --to db2 --accept-loss SIZE";
        assert!(of_standby(&behind, "orders", "db2", None).ends_with(lost));
    }

    #[test]
    fn an_event_brings_the_remedy_of_what_it_names() {
        let text = |text: &str| Field::Text(text.to_owned());
        let of = |kind: EventKind, severity, fields: Vec<(&'static str, Field)>| {
            let (seq, at, generation) = (Seq(1), Mono::ZERO, Generation(1));
            let event = Event {
                seq,
                at,
                kind,
                severity,
                service: None,
                server: None,
                generation,
                message: String::new(),
                fields,
                fact: None,
            };
            of_event(&event, "orders", "db2")
        };
        let alarm = Severity::Alarm;
        assert_eq!(of(EventKind::FailoverRefused, alarm, vec![("refusal", text("cooldown"))]), "wait, or failover reset orders");
        let replay = vec![("reason", text("replay_paused"))];
        assert_eq!(
            of(EventKind::StandbyNotReady, alarm, replay),
            "where the survey finds setting_lower_than_primary on db2: raise that setting and restart it, for a resume would shut it down; else SELECT pg_wal_replay_resume() on it"
        );
        let found = || vec![("code", text("fsync_off")), ("remedy", text("fsync = on"))];
        assert_eq!(of(EventKind::ReadinessChanged, Severity::Warning, found()), "fsync = on");
        assert_eq!(of(EventKind::ReadinessChanged, Severity::Info, found()), "", "it is over");
        assert_eq!(of(EventKind::AwaitingConfirmation, alarm, Vec::new()), "failover confirm orders");
        let many = of(EventKind::AwaitingConfirmation, alarm, vec![("limit", Field::Int(3))]);
        assert!(many.ends_with("failover confirm orders, or --all"), "{many}");
        let called = |automatic| of(EventKind::ManualIntervention, alarm, vec![("automatic", Field::Bool(automatic))]);
        assert!(called(false).ends_with("failover reset orders") && called(true).is_empty());
        assert!(of(EventKind::OtherBranch, alarm, Vec::new()).starts_with("failover adopt orders db2,"));
        assert_eq!(of(EventKind::HealthChanged, alarm, Vec::new()), "");
        // What the table names is there.
        for row in EventKind::TABLE {
            if let Remedy::Refusal(name) = row.remedy {
                assert!(Refusal::row(name).is_some_and(|row| !row.remedy.is_empty()), "{name}");
            }
        }
        assert!(of_kind(EventKind::Faulted, alarm).is_some() && of_kind(EventKind::Log, alarm).is_none());
    }

    #[test]
    fn a_remedy_is_an_order_and_no_question() {
        let login = Verdict::Impaired(Impairment::Authentication);
        let of = |verdict: &Verdict, message: &str| of_check(CheckKind::Postgres, verdict, message);
        assert!(of(&login, "FATAL 28P01 from auth_failed: wrong").starts_with("correct services.connection.password"));
        assert!(of(&login, "FATAL 28000 from ClientAuthentication: no entry").contains("pg_hba.conf"));
        assert!(of(&login, "FATAL 28000 from InitializeSessionUserId: no role").contains("rights.sql"));
        let refused = Verdict::Impaired(Impairment::QueryRefused);
        assert!(of(&refused, "FATAL 3D000 from InitPostgres: no database").contains("services.connection.database"));
        assert_eq!(of(&Verdict::Up, ""), "");
        let full = Verdict::Impaired(Impairment::Saturated);
        assert!(of(&full, "FATAL 53300 from ProcArrayAdd: sorry").contains("max_connections"));
        let limit = of(&full, "FATAL 53300 from InitializeSessionUserId: too many connections for role \"failover\"");
        assert_eq!(limit, "ALTER ROLE \"failover\" CONNECTION LIMIT -1");
    }
}
