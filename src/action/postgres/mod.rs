//! What is done to the servers of a PostgreSQL service over SQL: read positions, promote, verify, open the synchronous gate,
//! prove the traffic, survey what would hurt. FAILOVER rules 37 to 44, 60 to 71 and 89 to 97 are cited where the code follows them.
//!
//! Every call has one overall deadline and one cancel signal, and every failure says whether an effect is excluded. No SQL here is
//! built from anything but numbers and constants.

mod alter_system;
#[cfg(feature = "ssh")]
mod await_replay;
mod checkpoint;
mod conninfo;
mod failure;
mod fork;
mod held_replay;
mod identity;
mod positions;
mod promote;
mod repoint;
mod set_where;
mod slot;
mod spool_survey;
mod survey;
mod survived;
mod switchover_survey;
mod sync_gate;
mod sync_set;
mod sync_survey;
pub(crate) mod traffic;
mod verify;
mod wal_survey;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Session, Target};
use crate::wire::resolve::Addresses;
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};

use failure::{bar, denied, failure, interrupted, is_full, literal, quoted, sqlstate, untouched};
use identity::Identity;
pub(crate) use survey::{Around, Surveyed};

#[cfg(feature = "ssh")]
pub(crate) use await_replay::Replayed;
pub(crate) use promote::Promotion;
pub(crate) use repoint::Order as Repoint;
pub(crate) use sync_set::SyncOrder;

/// A session left over from one action serves the next one only for so long: a failover takes its steps in a few seconds.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// A kept session that has not answered by then is given up for a new one.
const KEPT_ANSWER: Duration = Duration::from_secs(1);

/// One server of the service, as the actions reach it.
#[derive(Clone)]
pub(crate) struct Server {
    /// Its name in the configuration.
    pub name: String,
    /// How it is connected to.
    pub target: Target,
    /// Where its standbys connect to.
    pub replication: Place,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A name, an address, or the folder of a Unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The servers of one PostgreSQL service, for the executor. Thread-safe.
///
/// A session that one action opened is kept for the next one on the same server, so that the promotion does not pay for a
/// connection that the reading of positions has already made.
pub(crate) struct Cluster {
    servers: BTreeMap<ServerId, Server>,
    addresses: Arc<dyn Addresses>,
    clock: Clock,
    kept: Mutex<BTreeMap<ServerId, Kept>>,
    /// The survey's session to each server, for the moment at which every other place there is taken.
    spare: Mutex<BTreeMap<ServerId, Session>>,
    /// Promotion calls `pg_promote()`.
    promotes_by_sql: bool,
}

struct Kept {
    session: Session,
    since: Instant,
}

impl Cluster {
    /// A cluster of these servers. Connects to nothing.
    #[must_use]
    pub(crate) fn new(servers: BTreeMap<ServerId, Server>, addresses: Arc<dyn Addresses>, clock: Clock) -> Cluster {
        Cluster { servers, addresses, clock, kept: Mutex::default(), spare: Mutex::default(), promotes_by_sql: true }
    }

    /// Promotion goes another way than by `pg_promote()`: the right to call it is not needed.
    #[must_use]
    pub(crate) fn promoted_otherwise(self) -> Cluster {
        Cluster { promotes_by_sql: false, ..self }
    }

    /// Closes the sessions that actions left open for later ones.
    pub(crate) fn close(&self) {
        self.kept.lock().clear();
        self.spare.lock().clear();
    }

    /// Closes what the survey holds of a server that shuts down: it may wait for its last session (rule 174).
    pub(crate) fn let_go(&self, server: ServerId) {
        self.spare.lock().remove(&server);
    }

    /// The role of a server, read without changing anything.
    ///
    /// # Errors
    /// When the server cannot be asked before the deadline. Nothing was changed.
    pub(crate) fn read_role(&self, server: ServerId, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let place = self.server(server)?;
        let (session, identity) =
            self.identified(server, place, deadline, cancel).map_err(|error| untouched(&place.name, &error))?;
        self.keep(server, session);
        Ok(Report::Role { in_recovery: identity.in_recovery, timeline: identity.timeline, system_id: identity.system_id })
    }

    fn server(&self, server: ServerId) -> Result<&Server, Failure> {
        self.servers.get(&server).ok_or_else(|| {
            Failure::no_effect(format!("server {server} is not in the configuration any more"), "reload the configuration")
        })
    }

    fn connect(&self, target: &Target, deadline: Deadline, cancel: &Cancel) -> Result<Session, Error> {
        Session::connect(target, self.addresses.as_ref(), deadline, cancel)
    }

    /// A new session; where every place of the server is taken, the one that the survey holds there.
    fn reach(&self, server: ServerId, place: &Server, deadline: Deadline, cancel: &Cancel) -> Result<Session, Error> {
        self.connect(&place.target, deadline, cancel).or_else(|error| {
            let spare = is_full(&error).then(|| self.spare.lock().remove(&server)).flatten();
            spare.ok_or(error)
        })
    }

    /// The kept session of a server if there is a fresh one.
    fn take_kept(&self, server: ServerId) -> Option<Session> {
        self.kept.lock().remove(&server).filter(|kept| kept.since.elapsed() < KEPT_FOR).map(|kept| kept.session)
    }

    /// Leaves a session whose last question was answered to the next action.
    fn keep(&self, server: ServerId, session: Session) {
        self.kept.lock().insert(server, Kept { session, since: Instant::now() });
    }

    /// A session that has just said who it is connected to: the kept one if it still answers, otherwise a new one.
    fn identified(
        &self,
        server: ServerId,
        place: &Server,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(Session, Identity), Error> {
        if let Some(mut session) = self.take_kept(server)
            && let Ok(identity) = Identity::read(&mut session, kept_part(deadline), cancel)
        {
            return Ok((session, identity));
        }
        let mut session = self.reach(server, place, deadline, cancel)?;
        let identity = Identity::read(&mut session, deadline, cancel)?;
        Ok((session, identity))
    }
}

/// A kept session may be silently dead (powered-off host, dropped flow): it gets a part of the time, not all of it.
fn kept_part(deadline: Deadline) -> Deadline {
    deadline.at_most(KEPT_ANSWER.min(deadline.remaining() / 4))
}
