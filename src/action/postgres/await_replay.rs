//! Waits until a standby has replayed its log up to a position, and lets it look for more meanwhile.

use std::time::{Duration, Instant};

use super::held_replay::Holders;
use super::promote::RELOAD_SQL;
use super::{Cluster, Server, kept_part};
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Session, StartupWait};
use failover_core::id::ServerId;
use failover_core::sample::Lsn;

/// Between two looks, and after one that failed.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const RECONNECT_EVERY: Duration = Duration::from_millis(25);
/// No single question may eat the deadline.
const QUESTION: Duration = Duration::from_secs(1);
/// Between two reloads of a startup process that is not seen at work: it sleeps until one comes.
const RELOAD_EVERY: Duration = Duration::from_millis(75);
/// A WAL receiver that is there so long, while replay stands, keeps the startup process from looking elsewhere.
const RECEIVER_HOLDS: Duration = Duration::from_millis(250);

/// Replay was not paused when the salvage began: a paused standby is no candidate. PostgreSQL 14 and later pause by themselves where the log
/// says that a setting of the primary was raised; 13 shuts down.
const PAUSED: &str = "its replay is paused; PostgreSQL does this by itself where the log raises max_connections, max_worker_processes, \
                      max_wal_senders, max_prepared_transactions or max_locks_per_transaction above the setting of the standby: raise it \
                      there and restart the standby";

const LOOK_SQL: &str = "\
SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_id, pg_catalog.pg_is_in_recovery() AS in_recovery, \
CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() END AS replay, \
CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() END AS paused, \
(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'walreceiver') AS receivers, \
(SELECT wait_event_type || '.' || wait_event FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'startup') AS startup_wait";

/// How far a standby got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Up to here, as last seen; `None`: it never said.
    pub(crate) at: Option<Lsn>,
    /// Why it is not where it should be.
    pub(crate) why: Option<String>,
}

struct Look {
    replay: Lsn,
    paused: bool,
    receiver: bool,
    wait: Option<String>,
}

impl Look {
    fn take(session: &mut Session, system_id: u64, deadline: Deadline, cancel: &Cancel) -> Result<Look, Error> {
        let rows = session.query(LOOK_SQL, deadline.at_most(QUESTION), cancel)?;
        if rows.get(0, "system_id").and_then(|id| id.parse().ok()) != Some(system_id) {
            return Err(Error::Protocol("a server of another cluster answers now".to_owned()));
        }
        if rows.get(0, "in_recovery") != Some("t") {
            return Err(Error::Protocol("it is no standby any more".to_owned()));
        }
        let replay = rows.get(0, "replay").and_then(Lsn::parse);
        Ok(Look {
            replay: replay.ok_or_else(|| Error::Protocol("it does not say what it has replayed".to_owned()))?,
            paused: rows.get(0, "paused") == Some("t"),
            receiver: rows.get(0, "receivers").is_some_and(|count| count != "0"),
            wait: rows.get(0, "startup_wait").map(str::to_owned),
        })
    }

    fn wait(&self) -> Option<StartupWait<'_>> {
        self.wait.as_deref().map(StartupWait::parse)
    }
}

impl Cluster {
    /// Waits until `server` has replayed up to `end`. `wake` is called where a WAL receiver that gets nothing keeps it from going on. Says how
    /// far it got, also where the deadline came first.
    pub(crate) fn await_replay(
        &self,
        server: ServerId,
        system_id: u64,
        end: Lsn,
        wake: &mut dyn FnMut(),
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Replayed {
        let place = match self.server(server) {
            Ok(place) => place,
            Err(failure) => return Replayed { at: None, why: Some(failure.message) },
        };
        let mut seen = Replayed::default();
        let mut session: Option<Session> = None;
        let mut moved = Instant::now();
        let mut reloaded: Option<Instant> = None;
        loop {
            let look = self.look(server, place, system_id, &mut session, deadline, cancel);
            let pause = match look {
                Ok(look) if look.replay >= end => {
                    if let Some(session) = session {
                        self.keep(server, session);
                    }
                    return Replayed { at: Some(look.replay), why: None };
                }
                Ok(look) => {
                    if seen.at != Some(look.replay) {
                        moved = Instant::now();
                    }
                    let holders = session.as_mut().filter(|_| look.wait().is_some_and(|wait| wait.is_conflict()));
                    let held = holders.and_then(|session| Holders::read(session, deadline.at_most(QUESTION), cancel).ok()?);
                    seen = Replayed { at: Some(look.replay), why: Some(stands(&look, held.as_ref())) };
                    // One that is seen at work needs none.
                    let asleep = look.wait().is_none_or(|wait| wait.is_for_log());
                    if asleep && reloaded.is_none_or(|at| at.elapsed() >= RELOAD_EVERY) {
                        reloaded = Some(Instant::now());
                        // What matters is what the next look sees.
                        let _ = session.as_mut().map(|session| session.query(RELOAD_SQL, deadline.at_most(QUESTION), cancel));
                    }
                    if look.receiver && moved.elapsed() >= RECEIVER_HOLDS {
                        moved = Instant::now();
                        wake();
                    }
                    LOOK_EVERY
                }
                // A last look that the deadline cut short says less than the one before it.
                Err(error) if error.is_timeout() && deadline.is_over() => LOOK_EVERY,
                Err(error) => {
                    session = None;
                    seen.why = Some(format!("{}: {error}", place.name));
                    RECONNECT_EVERY
                }
            };
            if cancel.pause(pause, deadline).is_err() {
                return seen;
            }
        }
    }

    fn look(
        &self,
        server: ServerId,
        place: &Server,
        system_id: u64,
        session: &mut Option<Session>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Look, Error> {
        if let Some(session) = session {
            return Look::take(session, system_id, deadline, cancel);
        }
        if let Some(mut kept) = self.take_kept(server)
            && let Ok(look) = Look::take(&mut kept, system_id, kept_part(deadline), cancel)
        {
            *session = Some(kept);
            return Ok(look);
        }
        let mut fresh = self.reach(server, place, deadline.at_most(QUESTION), cancel)?;
        let look = Look::take(&mut fresh, system_id, deadline, cancel)?;
        *session = Some(fresh);
        Ok(look)
    }
}

/// Why it is not further.
fn stands(look: &Look, held: Option<&Holders>) -> String {
    let why = match (held, look.receiver) {
        _ if look.paused => PAUSED.to_owned(),
        (Some(held), _) => held.sentence(),
        (None, true) => "its WAL receiver goes on waiting for log that does not arrive".to_owned(),
        (None, false) => look.wait().map_or_else(
            || "its startup process is busy, or this role cannot see it".to_owned(),
            |wait| format!("its startup process waits for {}", wait.event),
        ),
    };
    format!("it has replayed up to {} so far: {why}", look.replay)
}
