//! TCP: does anybody take connections there?

use super::{Check, Context};
use crate::wire::stream::{Fault, Stage, connect_tcp};
use failover_core::observation::{Finding, UnknownCause, Verdict};

/// Connects to a port and closes at once. All addresses of the name are tried within the one deadline.
///
/// A connection that is reset the moment it is made counts as up: somebody took it. Whether that somebody serves is for the
/// checks that ask a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcpCheck {
    /// The host's name or literal address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Check for TcpCheck {
    fn run(&self, context: &Context<'_>) -> Finding {
        let began = context.clock.now();
        let (verdict, message) = match context.addresses.addresses(&self.host, self.port) {
            Err(message) => (Verdict::Unknown(UnknownCause::Resolver), message),
            Ok(addresses) => match connect_tcp(&addresses, context.deadline, context.cancel) {
                Ok((_, address)) => (Verdict::Up, format!("{address} takes connections")),
                Err(error) if error.fault == Fault::Reset => {
                    (Verdict::Up, format!("{}:{} took the connection and reset it at once", self.host, self.port))
                }
                Err(error) => (error.fault.verdict(Stage::Connecting), error.message),
            },
        };
        context.finding(began, verdict, message, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::deadline::{Cancel, Deadline};
    use crate::wire::resolve::{Addresses, Literals};
    use failover_core::observation::DownCause;
    use std::net::{SocketAddr, TcpListener};
    use std::time::Duration;

    struct Fixed(Vec<SocketAddr>);

    impl Addresses for Fixed {
        fn addresses(&self, _: &str, _: u16) -> Result<Vec<SocketAddr>, String> {
            Ok(self.0.clone())
        }
    }

    fn run(host: &str, port: u16, addresses: &dyn Addresses) -> Finding {
        let (cancel, clock) = (Cancel::new().unwrap(), Clock::start());
        let deadline = Deadline::after(Duration::from_secs(60));
        TcpCheck { host: host.into(), port }.run(&Context { deadline, cancel: &cancel, clock: &clock, sample: true, addresses })
    }

    #[test]
    fn both_families_are_reached_and_a_dead_port_is_refused() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(run(host, port, &Literals).verdict, Verdict::Up);
            drop(listener);
            let finding = run(host, port, &Literals);
            assert_eq!(finding.verdict, Verdict::Down(DownCause::Refused), "{}", finding.message);
        }
    }

    #[test]
    fn one_living_address_of_several_is_enough() {
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = Fixed(vec!["[::1]:1".parse().unwrap(), dead, alive.local_addr().unwrap()]);
        assert_eq!(run("db", 1, &addresses).verdict, Verdict::Up);
    }

    #[test]
    fn a_name_without_an_address_is_unknown() {
        assert_eq!(run("db.example", 5432, &Literals).verdict, Verdict::Unknown(UnknownCause::Resolver));
        assert_eq!(run("db.example", 5432, &Fixed(Vec::new())).verdict, Verdict::Unknown(UnknownCause::Unclassified));
    }
}
