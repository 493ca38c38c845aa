//! What an operator can do about a check that is not up.

use failover_core::model::CheckKind;
use failover_core::observation::{DownCause, Impairment, UnknownCause, Verdict};

/// One sentence; empty where nothing is known. PostgreSQL's own errors stand in the message with SQLSTATE and source routine,
/// which are never translated.
pub(super) fn of_check(kind: CheckKind, verdict: &Verdict, message: &str) -> &'static str {
    let said = |word: &str| message.contains(word);
    match verdict {
        Verdict::Impaired(Impairment::Authentication) if kind == CheckKind::Postgres => {
            if said("28P01") {
                "correct services.connection.password, or give the role that password: ALTER ROLE ... PASSWORD"
            } else if said("InitializeSessionUserId") {
                "make the role with contrib/rights.sql, or correct services.connection.user"
            } else if said("ClientAuthentication") {
                "add a line for this role, database and address to the server's pg_hba.conf and reload it"
            } else {
                "set services.connection.password, and compare the role with the server's pg_hba.conf"
            }
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
    }
}
